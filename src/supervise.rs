//! The supervisor: it waits for the command, passes signals on, and ends as the command ends.
//! It holds no privilege and no descriptor beyond the caller's first three.
#![forbid(unsafe_code)]

use crate::error::{OrFail, Result};
use crate::sys::{self, ALL_SIGNALS, SignalSet};
use alloc::format;
use core::mem::MaybeUninit;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

/// How the instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exit(u8),
    /// By this signal.
    Signal(i32),
}

/// What a signal does to a process that has no handler for it. signal(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Default {
    End,
    Stop,
    Nothing,
}

const KILL: i32 = 9;
const CHLD: i32 = 17;
const CONT: i32 = 18;
const STOP: i32 = 19;
const SI_KERNEL: i32 = 128;

fn default_action(signal: i32) -> Default {
    match signal {
        // CHLD, CONT, URG, WINCH
        17 | 18 | 23 | 28 => Default::Nothing,
        // STOP, TSTP, TTIN, TTOU
        19..=22 => Default::Stop,
        _ => Default::End,
    }
}

/// Waits for the command, with all signals blocked.
pub fn wait(command: Pid) -> Result<End> {
    let mut watch = Watch { command, ended_by: None, stopped_by: STOP };
    loop {
        match sys::wait_signal(ALL_SIGNALS, None) {
            Ok(taken) if taken.signal == CHLD => {
                if let Some(end) = watch.look()? {
                    return Ok(end);
                }
            }
            Ok(taken) => watch.pass_on(taken)?,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(crate::error::Error::of("wait for a signal", errno)),
        }
    }
}

struct Watch {
    command: Pid,
    /// The signal whose default action ended the command at our hands.
    ended_by: Option<i32>,
    /// The signal whose default action stopped it.
    stopped_by: i32,
}

impl Watch {
    /// What became of the command: `None` while it lives.
    fn look(&mut self) -> Result<Option<End>> {
        loop {
            let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
            let status = match rustix::process::waitpid(Some(self.command), options) {
                Ok(Some((_, status))) => status,
                Ok(None) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(crate::error::Error::of("wait for the command", errno)),
            };
            match self.end(status) {
                Some(end) => return Ok(Some(end)),
                None => self.stop_likewise()?,
            }
        }
    }

    fn end(&self, status: WaitStatus) -> Option<End> {
        if let Some(code) = status.exit_status() {
            return Some(End::Exit(u8::try_from(code & 0xff).unwrap_or(u8::MAX)));
        }
        let signal = status.terminating_signal()?;
        Some(End::Signal(self.ended_by.filter(|_| signal == KILL).unwrap_or(signal)))
    }

    /// Stops this process as the command was stopped, so that a shell takes the job for
    /// stopped; then continues the command. SIGCONT reaches a stopped process even blocked.
    fn stop_likewise(&mut self) -> Result<()> {
        end_by(self.stopped_by)?;
        self.stopped_by = STOP;
        self.send(CONT)
    }

    /// Has a signal act on the command as if it were an ordinary process. The kernel shields
    /// it, as PID 1 of its namespace, from signals that it does not handle; so their default
    /// action is done here. `pid_namespaces(7)`.
    fn pass_on(&mut self, taken: sys::Taken) -> Result<()> {
        let signal = taken.signal;
        if handled(self.command, signal) {
            // What the terminal sends goes to the whole foreground group, command included.
            let reached_both = taken.code == SI_KERNEL && self.in_our_group();
            return if reached_both { Ok(()) } else { self.send(signal) };
        }
        match default_action(signal) {
            Default::Nothing if signal == CONT => self.send(CONT),
            Default::Nothing => Ok(()),
            Default::Stop => {
                self.stopped_by = signal;
                self.send(STOP)
            }
            Default::End => {
                self.ended_by.get_or_insert(signal);
                self.send(KILL)
            }
        }
    }

    fn in_our_group(&self) -> bool {
        rustix::process::getpgid(Some(self.command)).ok() == Some(rustix::process::getpgrp())
    }

    /// It has not been waited for, so the PID is still the command's.
    fn send(&self, signal: i32) -> Result<()> {
        let Some(signal) = Signal::from_named_raw(signal) else {
            return Ok(());
        };
        match rustix::process::kill_process(self.command, signal) {
            // It ended meanwhile, or took other ids; the next wait tells.
            Ok(()) | Err(Errno::SRCH | Errno::PERM) => Ok(()),
            Err(errno) => Err(crate::error::Error::of("pass a signal on", errno)),
        }
    }
}

/// Whether a process handles, ignores or blocks a signal, as far as `/proc` tells. A process
/// that is being replaced or is gone counts as one that does not.
fn handled(pid: Pid, signal: i32) -> bool {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let Ok(file) = rustix::fs::openat(CWD, path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    else {
        return false;
    };
    let Ok((text, _)) = rustix::io::read(&file, &mut buffer) else {
        return false;
    };
    let set = ["SigBlk:", "SigIgn:", "SigCgt:"].iter().filter_map(|name| signal_set(text, name));
    set.fold(0, |all, one| all | one) & (1 << (signal - 1)) != 0
}

/// The set of signals on a line of `/proc/PID/status`. proc(5).
fn signal_set(status: &[u8], name: &str) -> Option<SignalSet> {
    let line = status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
    SignalSet::from_str_radix(core::str::from_utf8(line).ok()?.trim(), 16).ok()
}

/// Lets a signal have its default action on this process. Returns if it was a stop that is
/// over, or if the signal cannot act: on PID 1 of a namespace, say.
fn end_by(signal: i32) -> Result<()> {
    let failed = "end by a signal";
    if signal != KILL && signal != STOP {
        sys::default_disposition(signal).or_fail(failed)?;
    }
    if let Some(named) = Signal::from_named_raw(signal) {
        rustix::process::kill_process(rustix::process::getpid(), named).or_fail(failed)?;
    }
    sys::block_only(ALL_SIGNALS & !(1 << (signal - 1))).or_fail(failed)?;
    sys::block_only(ALL_SIGNALS).or_fail(failed)
}

/// Ends this process as the command ended.
pub fn end(end: End) -> ! {
    match end {
        End::Exit(status) => sys::exit(status),
        End::Signal(signal) => {
            let _ = end_by(signal);
            // Where a signal cannot end us, the status says it as shells do.
            sys::exit(128 | u8::try_from(signal).unwrap_or(127))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_sets_are_read_from_status() {
        let status = b"Name:\tx\nSigBlk:\t0000000000000002\nSigCgt:\tfffffffe7ffbfeff\n";
        assert_eq!(signal_set(status, "SigBlk:"), Some(2));
        assert_eq!(signal_set(status, "SigCgt:"), Some(0xffff_fffe_7ffb_feff));
        assert_eq!(signal_set(status, "SigIgn:"), None);
    }

    #[test]
    fn stop_signals_do_not_end_a_process() {
        assert_eq!(default_action(20), Default::Stop);
        assert_eq!(default_action(28), Default::Nothing);
        assert_eq!(default_action(15), Default::End);
    }
}
