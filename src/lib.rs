//! selfdock: runs a command in isolation, as its caller.
//!
//! # Theory of operation
//!
//! **Processes.** The *supervisor* is the process that the caller started. It starts one child in
//! new namespaces, which builds the *instance* and becomes the *command*, PID 1 inside. With
//! `--init` the child stays as a reaper, and the command is PID 2. `enter` starts a *joiner* in
//! the namespaces of an instance, with a supervisor of its own.
//!
//! **Ids.** All of them have the caller's uid, gid and groups, from before the command line is
//! read. What selfdock has beyond its caller is `CAP_SYS_ADMIN` and what a request needs beside.
//! Without privilege the child has it in a user namespace that maps the caller's two ids.
//!
//! **Pipes.** None, but the one by which a reaper tells how the command ended. A child knows that
//! its supervisor lives by a pidfd.
//!
//! **Privilege timeline.** Every line of code runs in one of these rows.
//!
//! | row | holds | module |
//! |---|---|---|
//! | start | what the file grants | [`sys`], [`launch`] |
//! | shed | the caller, capabilities permitted and not in effect | [`creds`] |
//! | parse, plan | same | [`cli`], [`plan`], [`command`] |
//! | hand over | nothing; for what needs no privilege | [`handover`], then [`about`] |
//! | raise, clone | `SYS_ADMIN` and what the request needs | [`launch`] |
//! | supervise | nothing | [`supervise`] |
//! | open | child: `SYS_ADMIN`; paths once, as the caller | [`sources`], [`names`] |
//! | build | same; descriptors only | [`sandbox`], [`stage`] |
//! | drop, exec | nothing | [`creds`], [`command`] |
//!
//! What needs no privilege is not in the set-uid program: for help, `ps`, `doctor` and
//! `--explain` it gives up everything and becomes a second program, `selfdock-about`.
//!
//! Any failed step means: no exec, status 125, one line, nothing left.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

// What is asked for.
pub mod options;
pub mod cli;
pub mod plan;
pub mod host;
pub mod command;

// Who acts.
pub mod launch;
pub mod creds;
pub mod sandbox;
pub mod supervise;
pub mod init;
pub mod enter;
pub mod handover;

// What an instance is made of.
pub mod sources;
pub mod stage;
pub mod layers;
pub mod dev;
pub mod names;
pub mod mount;
pub mod files;
pub mod filter;
pub mod limits;

// What is told.
pub mod process;
pub mod report;
pub mod error;
pub mod text;

// The second program.
pub mod about;
pub mod help;
pub mod explain;
pub mod doctor;
pub mod ps;

// The kernel.
pub mod sys;
