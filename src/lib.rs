//! selfdock: runs a command in isolation, as its caller.
//!
//! # Theory of operation
//!
//! **Processes.** selfdock has three processes for an instance. They share one memory until the command is executed:
//! - The *supervisor* is the process that the caller started. It makes a PID namespace for its children, starts the
//!   two other processes and gives up all privilege. Then it waits, passes signals on, and ends as the command ended.
//!   It stays in all namespaces of the caller.
//! - The *keeper* is PID 1 of the instance. It has no privilege, no open descriptor and an empty root directory, and
//!   nothing inside can reach it. When the keeper ends, the kernel ends the instance. The keeper ends with the
//!   supervisor.
//! - The *command* starts as the process that builds the instance. It is in all other namespaces of the instance. Its
//!   PID inside is the PID of the supervisor outside.
//!
//! `enter` starts a *joiner* in the namespaces of an instance. The joiner has its own supervisor, and shares the memory
//! of that one in the same way.
//!
//! **Ids.** All of these processes have the caller's uid, gid and groups, from before the command line is read.
//! Beyond the rights of its caller selfdock has `CAP_SYS_ADMIN`, and the other capabilities that the request needs.
//! Without privilege the supervisor makes a user namespace that maps the caller's two ids, and has the capabilities
//! there.
//!
//! **Connections.** There are no pipes. The supervisor is the parent of the two other processes. wait4(2) gives it
//! the status, the stops and the resource usage of the command. The shared memory has a few words
//! ([`keeper::Shared`]): that the supervisor lives, that the keeper is ready, and that the supervisor has no
//! privilege. The command is executed only after all three.
//!
//! **Privilege timeline.** Every line of code runs in one of these rows. ARCHITECTURE has the reasons.
//!
//! | row | holds | module |
//! |---|---|---|
//! | start | what the file grants | [`sys`], [`launch`] |
//! | shed | the caller's ids; capabilities permitted, none in effect | [`creds`] |
//! | parse, plan | same | [`cli`], [`plan`], [`command`], [`containment`] |
//! | hand over | nothing | [`handover`], then [`about`] |
//! | raise | `SYS_ADMIN` and what the request needs | [`launch`] |
//! | start the others | `SYS_CHROOT` and `CHECKPOINT_RESTORE` in effect | [`launch`] |
//! | supervise | nothing | [`supervise`] |
//! | keep | keeper: `SYS_CHROOT`, with `--net none` `SYS_ADMIN`, for one call each; then nothing | [`keeper`] |
//! | contain | command: `SYS_ADMIN`, and `NET_ADMIN` and `SETPCAP` if needed | [`containment`], [`sandbox`] |
//! | open | same; opens each path once, as the caller | [`sources`], [`names`] |
//! | build | same, and `SYS_CHROOT`; uses descriptors only | [`sandbox`], [`stage`] |
//! | drop | gives up the rest, and verifies that | [`creds`] |
//! | exec | nothing | [`command`] |
//!
//! A module without a row runs in the row of its caller.
//!
//! The set-uid program has no code for what needs no privilege. For help, `ps`, `doctor`, `each`, `--explain` and a
//! command line that it does not understand, it gives up everything and becomes a second program, `selfdock-about`.
//!
//! If any step fails, the command is not executed, the status is 125, one line says why, and nothing is left.
#![cfg_attr(not(any(test, fuzzing)), no_std)]
#![deny(unsafe_code)]
// The memory functions and the allocator stay unused: a fuzzer has a libc.
#![cfg_attr(fuzzing, allow(dead_code))]
// The documentation includes private items.
#![allow(rustdoc::private_intra_doc_links)]

extern crate alloc;

// What fuzzers and unit tests feed the other modules with. It is in no program.
#[cfg(any(test, fuzzing))]
#[path = "../fuzz/subjects/mod.rs"]
pub mod subjects;

// The second program. It has no privilege.
mod about;

// The set-uid program: its processes, from start to end.
mod launch;
mod enter;
mod sandbox;
mod handover;
mod supervise;
mod keeper;
mod containment;

// The parts of an instance.
mod sources;
mod host_root;
mod dev;
mod names;
mod procfs;
mod stage;
mod layers;
mod installation;
mod mount;
mod filter;
mod creds;

// The request.
mod command;
mod plan;
mod cli;
mod limits;
mod options;
mod host;

// Reports, and what `/proc` tells of processes.
mod report;
mod outcome;
mod instance;
mod lifeline;
mod advice;
mod process;
mod mountinfo;

// Descriptors, files, errors, and system calls.
mod descriptors;
mod files;
mod error;
mod errno;
mod quote;
mod text;
#[allow(unsafe_code)]
mod sys;
mod usage;

pub use about::main as about_main;
pub use about::memory::panicked as about_panicked;
pub use error::{FAILED, panicked};
pub use launch::main as launch_main;
pub use sys::{Start, exit, start};
