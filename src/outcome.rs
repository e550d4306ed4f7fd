//! How a command ended, and who ended it; and how this process ends in the same way.

use crate::sys::{self, ALL_SIGNALS, Disposition, set_of};
use crate::usage::Usage;
use rustix::process::getpid;

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exit(u8),
    /// This signal ended it.
    Signal(i32),
}

impl End {
    /// From a wait status; `None` for a process that only stopped.
    pub fn of(status: i32) -> Option<Self> {
        match status & SIGNAL {
            0 => Some(End::Exit(u8::try_from(second_byte(status)).unwrap_or(u8::MAX))),
            STOPPED => None,
            signal => Some(End::Signal(signal)),
        }
    }
}

/// The signal that stopped a process, from what wait(2) gives.
pub fn stopped_by(status: i32) -> i32 {
    second_byte(status)
}

fn second_byte(status: i32) -> i32 {
    status >> 8 & 0xff
}

/// Who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The command itself, or another process of the instance.
    Command,
    /// A signal that was sent to the supervisor.
    Signal,
    /// `--timeout`
    Timeout,
    /// A limit of setrlimit(2), by its name.
    Limit(&'static str),
}

/// The outcome of a command.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Who ended it.
    pub cause: Cause,
    /// Whether it was executed.
    pub started: bool,
    /// Its resource usage.
    pub usage: Usage,
}

/// The bits of a wait status that have the signal, and what they hold if a process only stopped. wait(2)
const SIGNAL: i32 = 0x7f;
const STOPPED: i32 = 0x7f;

/// The exit status that shells and nested instances use for a signal.
pub fn after_signal(signal: i32) -> u8 {
    const BY_SIGNAL: u8 = 128;
    BY_SIGNAL | u8::try_from(signal).unwrap_or(127)
}

/// Ends this process as the command ended. The first process of a PID namespace, as in a container, cannot end by a
/// signal, and returns the status that shells use.
pub fn end(end: End) -> ! {
    match end {
        End::Exit(status) => sys::exit(status),
        End::Signal(signal) => {
            // The command has left its own core file, if any.
            let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
            let _ = sys::dispose(signal, Disposition::Default);
            let _ = sys::kill(getpid(), signal);
            let _ = sys::block_only(ALL_SIGNALS & !set_of(signal));
            sys::exit(after_signal(signal))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_tells_exit_signal_and_stop() {
        assert_eq!(End::of(7 << 8), Some(End::Exit(7)));
        assert_eq!(End::of(15), Some(End::Signal(15)));
        assert_eq!(End::of(0x80 | 0xb), Some(End::Signal(11)));
        assert_eq!((End::of(19 << 8 | 0x7f), stopped_by(19 << 8 | 0x7f)), (None, 19));
    }
}
