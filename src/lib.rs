//! selfdock: runs a command in isolation, as its caller.
//!
//! # Theory of operation
//!
//! **Processes.** An instance has three of selfdock's, which share one memory until the last is
//! another program:
//! - The *supervisor* is the process that the caller started. It makes a PID namespace for its
//!   children, starts the other two, gives up all privilege, waits, passes signals on, and ends as
//!   the command ended. It stays in all namespaces of the caller's.
//! - The *keeper* is PID 1 of the instance. It holds nothing, sees nothing and cannot be reached from
//!   inside; when it ends the kernel ends the instance, and it ends with the supervisor.
//! - The *command* starts as the process that builds the instance, in all its other namespaces. Its
//!   PID inside is the supervisor's outside.
//!
//! `enter` starts a *joiner* in the namespaces of an instance, with a supervisor of its own, and a
//! memory of its own, as it can be seen from inside before it is the command.
//!
//! **Ids.** All of them have the caller's uid, gid and groups, from before the command line is
//! read. What selfdock has beyond its caller is `CAP_SYS_ADMIN` and what a request needs beside.
//! Without privilege the supervisor makes a user namespace that maps the caller's two ids, and has it
//! there.
//!
//! **Connections.** No pipes. The supervisor is the parent of both others, and has status, stops and
//! usage of the command from wait4(2). In the shared memory there are a few words
//! ([`keeper::Shared`]): that the supervisor lives, that the keeper is what it has to be, that the
//! supervisor holds no privilege. The command is not executed before all three.
//!
//! **Privilege timeline.** Every line of code runs in one of these rows.
//!
//! | row | holds | module |
//! |---|---|---|
//! | start | what the file grants | [`sys`], [`launch`] |
//! | shed | the caller, capabilities permitted and not in effect | [`creds`] |
//! | parse, plan | same | [`cli`], [`plan`], [`command`] |
//! | hand over | nothing; for what needs no privilege | [`handover`], then [`about`] |
//! | raise | `SYS_ADMIN` and what the request needs | [`launch`] |
//! | start the others | `SYS_CHROOT` and `CHECKPOINT_RESTORE` in effect | [`launch`] |
//! | supervise | nothing | [`supervise`] |
//! | keep | keeper: `SYS_CHROOT`, with `--net none` `SYS_ADMIN`, for one call each; then nothing | [`keeper`] |
//! | open | command: `SYS_ADMIN`; paths once, as the caller | [`containment`], [`sources`], [`names`] |
//! | build | same, and `SYS_CHROOT`; descriptors only | [`sandbox`], [`stage`] |
//! | drop, exec | nothing | [`creds`], [`command`] |
//!
//! What needs no privilege is not in the set-uid program: for help, `ps`, `doctor`, `each`, `--explain`
//! and a command line that it does not understand it gives up everything and becomes a second program,
//! `selfdock-about`.
//!
//! Any failed step means: no exec, status 125, one line, nothing left.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
// The documentation is made with private items.
#![allow(rustdoc::private_intra_doc_links)]

extern crate alloc;

// The second program, which holds nothing.
mod about;

// The set-uid program. Who acts.
mod launch;
mod enter;
mod sandbox;
mod handover;
mod supervise;
mod keeper;
mod containment;

// What an instance is made of.
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

// What is asked for.
mod command;
mod plan;
mod cli;
mod limits;
mod options;
mod host;

// What is told.
mod report;
mod outcome;
mod instance;
mod lifeline;
mod advice;
mod process;
mod mountinfo;

// The kernel.
mod descriptors;
mod files;
mod error;
mod text;
#[allow(unsafe_code)]
pub mod sys;
mod usage;

pub use about::main as about_main;
pub use error::{FAILED, panicked};
pub use launch::main as launch_main;
