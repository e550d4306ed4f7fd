//! selfdock
#![cfg_attr(not(test), no_std)]
extern crate alloc;
pub mod cli;
pub mod command;
pub mod creds;
pub mod error;
pub mod launch;
pub mod mount;
pub mod options;
pub mod plan;
pub mod sandbox;
pub mod stage;
pub mod supervise;
pub mod sys;
pub mod dev;
pub mod layers;
pub mod names;
pub mod sources;
pub mod doctor;
pub mod explain;
pub mod enter;
pub mod filter;
pub mod init;
pub mod limits;
pub mod process;
pub mod ps;
pub mod report;
