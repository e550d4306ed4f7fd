//! `--init`: PID 1 of an instance, which waits for every process that is left to it. The
//! command is PID 2, and an ordinary process.
#![forbid(unsafe_code)]

use crate::command::Command;
use crate::error::{Error, OrFail, Result};
use crate::supervise::{End, Watch, after_signal};
use crate::sys::{self, Memory};
use rustix::fd::OwnedFd;

/// Starts the command and stays as PID 1 until it ends; then the kernel ends what is left.
/// Tells the supervisor through `status` how it ended, since PID 1 cannot end by a signal.
/// Runs after all privilege is given up.
pub fn run(command: &Command<'_>, status: &OwnedFd) -> Error {
    match watch(command, status) {
        Ok(end) => sys::exit(end),
        Err(error) => error,
    }
}

fn watch(command: &Command<'_>, status: &OwnedFd) -> Result<u8> {
    let child =
        sys::start_child(0, Memory::Shared, || command.exec().report()).or_fail("start the command")?;
    let end = Watch::new(child).and_reap().wait()?.end;
    let (raw, code) = match end {
        End::Exit(code) => (i32::from(code) << 8, code),
        End::Signal(signal) => (signal, after_signal(signal)),
    };
    // Without it the exit status says the same, less exactly.
    let _ = rustix::io::write(status, &raw.to_ne_bytes());
    Ok(code)
}
