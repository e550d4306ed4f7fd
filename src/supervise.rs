//! The supervisor: it waits for the command, passes signals on, and ends as the command ends.
//! It holds no privilege, and no descriptor beyond the caller's first three unless an option
//! needs one.
//!
//! A command is PID 1 of its namespace, and the kernel shields PID 1 from signals that it does
//! not handle. What their default action would have been is done here, so that the command
//! seems an ordinary process. With `--init` a reaper of ours is PID 1, and watches the command
//! with this same code. `pid_namespaces(7)`, signal(7).
#![forbid(unsafe_code)]

use crate::error::{Error, OrFail, Result};
use crate::process::{Process, field, status};
use crate::sys::{self, ALL_SIGNALS, Moment, SignalSet, Usage};
use crate::text::{Bytes, c_string, decimal, join, number};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid};

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exit(u8),
    /// By this signal.
    Signal(i32),
}

impl End {
    /// From what wait(2) gives; `None` for a process that only stopped.
    fn of(status: i32) -> Option<Self> {
        match status & 0x7f {
            0 => Some(End::Exit(u8::try_from(status >> 8 & 0xff).unwrap_or(u8::MAX))),
            STOPPED => None,
            signal => Some(End::Signal(signal)),
        }
    }
}

/// Who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Itself, or what is in the instance.
    Command,
    /// A signal that was sent to the supervisor.
    Signal,
    /// `--timeout`
    Timeout,
}

/// What became of the command.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Who ended it.
    pub cause: Cause,
    /// What it used.
    pub usage: Usage,
}

/// What to watch.
pub struct Watch<'a> {
    command: Pid,
    /// This process is PID 1 of a namespace: signals cannot end or stop it.
    first: bool,
    /// Others may be left to this process to be waited for.
    reaper: bool,
    /// When to end the command, and then to kill it.
    deadline: Option<Moment>,
    timed_out: bool,
    killed: bool,
    /// Where a reaper tells how the command really ended.
    status: Option<BorrowedFd<'a>>,
    /// The last signal that could have ended the command, and whether its default action was
    /// done here.
    passed: Option<(i32, bool)>,
    /// The signal whose default action stopped the command.
    stopped_by: i32,
    /// This process was stopped, and is not any more.
    resumed: bool,
}

const STOPPED: i32 = 0x7f;
const KILL: i32 = 9;
const TERM: i32 = 15;
const CHLD: i32 = 17;
const CONT: i32 = 18;
const STOP: i32 = 19;
const SI_KERNEL: i32 = 128;

/// How long a command may take to end after the SIGTERM of `--timeout`.
const GRACE: Moment = Moment { seconds: 5, nanoseconds: 0 };

/// What a signal does to a process that has no handler for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    End,
    Stop,
    Nothing,
}

fn default_action(signal: i32) -> Action {
    match signal {
        // CHLD, CONT, URG, WINCH
        17 | 18 | 23 | 28 => Action::Nothing,
        // STOP, TSTP, TTIN, TTOU
        19..=22 => Action::Stop,
        _ => Action::End,
    }
}

/// Whether the terminal sends a signal to its whole foreground group: HUP, INT, QUIT, CONT,
/// TSTP, TTIN, TTOU, WINCH.
fn of_terminal(signal: i32) -> bool {
    matches!(signal, 1 | 2 | 3 | 18 | 20 | 21 | 22 | 28)
}

impl<'a> Watch<'a> {
    /// Watches a command.
    pub fn new(command: Pid) -> Self {
        Watch {
            command,
            first: getpid().is_init(),
            reaper: false,
            deadline: None,
            timed_out: false,
            killed: false,
            status: None,
            passed: None,
            stopped_by: STOP,
            resumed: false,
        }
    }

    /// Waits for other children too, which the command left behind.
    #[must_use]
    pub fn and_reap(self) -> Self {
        Watch { reaper: true, ..self }
    }

    /// Ends the command after this time.
    pub fn for_at_most(self, time: Option<Moment>) -> Result<Self> {
        let Some(time) = time else { return Ok(self) };
        Ok(Watch { deadline: Some(sys::now().or_fail("read the clock")?.plus(time)), ..self })
    }

    /// Asks a reaper how the command ended.
    #[must_use]
    pub fn and_ask(self, status: Option<BorrowedFd<'a>>) -> Self {
        Watch { status, ..self }
    }

    /// Waits for the command, with all signals blocked.
    pub fn wait(mut self) -> Result<Outcome> {
        loop {
            match sys::wait_signal(ALL_SIGNALS, self.time_left()?) {
                Ok(taken) if taken.signal == CHLD => {
                    self.listen(taken);
                    if let Some(outcome) = self.look()? {
                        return Ok(outcome);
                    }
                }
                Ok(taken) => self.pass_on(taken)?,
                Err(Errno::AGAIN) => self.time_is_up()?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::of("wait for a signal", errno)),
            }
        }
    }

    /// Where the command is a supervisor, PID 1 of an instance, it cannot end by the signal
    /// that ended its own command. It says so in its name, which can still be read since it
    /// has not been waited for. What a command could claim in that way hurts only itself.
    fn listen(&mut self, taken: sys::Taken) {
        const CLD_EXITED: i32 = 1;
        let ended = taken.code == CLD_EXITED && taken.pid == self.command.as_raw_nonzero().get();
        let signal = taken.status - 128;
        if ended && (1..=64).contains(&signal) && name(self.command) == Some(last_word(signal)) {
            self.passed = Some((signal, false));
        }
    }

    fn time_left(&self) -> Result<Option<Moment>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        Ok(Some(deadline.minus(sys::now().or_fail("read the clock")?)))
    }

    /// First SIGTERM, as `kill(1)` would send it; after the grace SIGKILL.
    fn time_is_up(&mut self) -> Result<()> {
        if self.timed_out {
            self.killed = true;
            self.deadline = None;
            return self.send(KILL);
        }
        self.timed_out = true;
        self.deadline = Some(sys::now().or_fail("read the clock")?.plus(GRACE));
        self.deliver(TERM)?;
        // A stopped command could not even end.
        self.send(CONT)
    }

    /// What became of the command: `None` while it lives.
    fn look(&mut self) -> Result<Option<Outcome>> {
        loop {
            let whom = if self.reaper { None } else { Some(self.command) };
            let (pid, status, usage) = match sys::wait(whom) {
                Ok(Some(found)) => found,
                Ok(None) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Error::of("wait for the command", errno)),
            };
            if pid != self.command {
                continue;
            }
            match End::of(status) {
                Some(end) => return Ok(Some(self.outcome(end, usage))),
                None => self.stop_likewise(status >> 8 & 0xff)?,
            }
        }
    }

    fn outcome(&self, end: End, usage: Usage) -> Outcome {
        let end = match self.passed {
            // Its default action was done by SIGKILL.
            Some((signal, true)) if end == End::Signal(KILL) => End::Signal(signal),
            // PID 1 cannot end itself by the signal that it was sent, and says so as shells do.
            Some((signal, _)) if end == End::Exit(after_signal(signal)) => End::Signal(signal),
            _ => self.told().unwrap_or(end),
        };
        let by_signal = self.passed.is_some_and(|(signal, _)| end == End::Signal(signal));
        match (self.timed_out, by_signal) {
            // As timeout(1) has it.
            (true, _) if self.killed => Outcome { end: End::Exit(137), cause: Cause::Timeout, usage },
            (true, _) => Outcome { end: End::Exit(124), cause: Cause::Timeout, usage },
            (false, true) => Outcome { end, cause: Cause::Signal, usage },
            (false, false) => Outcome { end, cause: Cause::Command, usage },
        }
    }

    /// What a reaper says of the command: the status as wait(2) gave it.
    fn told(&self) -> Option<End> {
        let mut status = [0; 4];
        match rustix::io::read(self.status?, &mut status) {
            Ok(4) => End::of(i32::from_ne_bytes(status)),
            _ => None,
        }
    }

    /// Stops this process as the command was stopped, so that a shell takes the job for
    /// stopped. The SIGCONT that ends this is then taken like any signal, and passed on.
    /// PID 1 cannot be stopped from inside: it has the process group stopped, to which the
    /// supervisor outside belongs.
    // Out of line, as the next one: seldom needed, and the loop that waits stays short.
    #[inline(never)]
    fn stop_likewise(&mut self, signal: i32) -> Result<()> {
        if self.first {
            let group = rustix::process::getpgrp();
            return rustix::process::kill_process_group(group, Signal::STOP)
                .or_fail("stop the process group");
        }
        let wanted = core::mem::replace(&mut self.stopped_by, STOP);
        act_by_default(if signal == STOP { wanted } else { signal })?;
        self.resumed = true;
        Ok(())
    }

    /// Has a signal act on the command as if it had been sent there.
    #[inline(never)]
    fn pass_on(&mut self, taken: sys::Taken) -> Result<()> {
        if taken.signal == CONT && core::mem::take(&mut self.resumed) && !stopped(self.command) {
            // What continued this process continued the command too: it went to the group.
            return Ok(());
        }
        let reached_both = taken.code == SI_KERNEL && of_terminal(taken.signal) && self.in_our_group();
        if reached_both && self.is_handled(taken.signal) {
            self.note(taken.signal, false);
            return Ok(());
        }
        self.deliver(taken.signal)
    }

    /// Notes a signal that could end the command.
    fn note(&mut self, signal: i32, by_us: bool) {
        if default_action(signal) == Action::End {
            self.passed = Some((signal, by_us));
        }
    }

    /// Sends a signal to the command, or does what its default action would be.
    fn deliver(&mut self, signal: i32) -> Result<()> {
        if self.is_handled(signal) {
            self.note(signal, false);
            return self.send(signal);
        }
        match default_action(signal) {
            Action::Nothing if signal == CONT => self.send(CONT),
            Action::Nothing => Ok(()),
            Action::Stop => {
                self.stopped_by = signal;
                self.send(STOP)
            }
            Action::End => {
                self.note(signal, true);
                self.send(KILL)
            }
        }
    }

    /// Whether the command takes care of a signal: an ordinary process in any case, and a
    /// reaper of ours.
    fn is_handled(&self, signal: i32) -> bool {
        self.reaper || self.status.is_some() || handled(self.command, signal)
    }

    fn in_our_group(&self) -> bool {
        rustix::process::getpgid(Some(self.command)).ok() == Some(rustix::process::getpgrp())
    }

    /// It has not been waited for, so the PID is still the command's.
    fn send(&self, signal: i32) -> Result<()> {
        match sys::kill(self.command, signal) {
            // It ended meanwhile, or took other ids; the next wait tells.
            Ok(()) | Err(Errno::SRCH | Errno::PERM) => Ok(()),
            Err(errno) => Err(Error::of("pass a signal on", errno)),
        }
    }
}

/// Whether a process handles, ignores or blocks a signal, as far as `/proc` tells; and whether
/// it is no PID 1 at all, so that the kernel does the default action. Another supervisor takes
/// every signal, which does not show: what it waits for counts as unblocked meanwhile. A
/// process that is gone counts as one that does not handle it.
fn handled(pid: Pid, signal: i32) -> bool {
    let Some(text) = status(pid) else { return false };
    let Some(process) = Process::parse(pid, text) else { return false };
    let mut set = 0;
    for name in ["SigBlk:", "SigIgn:", "SigCgt:"] {
        set |= signal_set(text, name).unwrap_or(0);
    }
    let ours = Process::read(getpid()).and_then(|own| own.program());
    !process.first || set & (1 << (signal - 1)) != 0 || (ours.is_some() && process.program() == ours)
}

/// The name under which a supervisor ends that could not end by a signal.
fn last_word(signal: i32) -> Bytes {
    join(&[b"selfdock=", decimal(signal.unsigned_abs())])
}

/// The name of a process, also of one that has ended.
fn name(pid: Pid) -> Option<Bytes> {
    status(pid).and_then(|text| field(text, "Name:"))
}

fn stopped(pid: Pid) -> bool {
    status(pid).is_some_and(|text| field(text, "State:").is_some_and(|state| state.starts_with(b"T")))
}

/// The signals on a line of `/proc/PID/status`. proc(5).
fn signal_set(status: &[u8], name: &str) -> Option<SignalSet> {
    number(field(status, name)?, 16)
}

/// Lets a signal have its default action on this process. Returns if it was a stop that is
/// over, or if the signal cannot act: on PID 1 of a namespace, say.
fn act_by_default(signal: i32) -> Result<()> {
    let failed = "end by a signal";
    if signal != KILL && signal != STOP {
        sys::default_disposition(signal).or_fail(failed)?;
    }
    sys::kill(getpid(), signal).or_fail(failed)?;
    sys::block_only(ALL_SIGNALS & !(1 << (signal - 1))).or_fail(failed)?;
    sys::block_only(ALL_SIGNALS).or_fail(failed)
}

/// The exit status that says what a signal would have said.
pub fn after_signal(signal: i32) -> u8 {
    128 | u8::try_from(signal).unwrap_or(127)
}

/// Ends this process as the command ended.
pub fn end(end: End) -> ! {
    match end {
        End::Exit(status) => sys::exit(status),
        End::Signal(signal) => {
            // The command has left its own core file, if any.
            let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
            let _ = act_by_default(signal);
            let _ = c_string(last_word(signal)).and_then(rustix::thread::set_name);
            sys::exit(after_signal(signal))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_sets_are_read_from_status() {
        let status = b"Name:\tx\nNSpid:\t812\t1\nSigBlk:\t0000000000000002\nSigCgt:\tfffffffe7ffbfeff\n";
        assert_eq!(signal_set(status, "SigBlk:"), Some(2));
        assert_eq!(signal_set(status, "SigCgt:"), Some(0xffff_fffe_7ffb_feff));
        assert_eq!(signal_set(status, "SigIgn:"), None);
        assert_eq!(field(status, "NSpid:"), Some(&b"812\t1"[..]));
    }

    #[test]
    fn stop_signals_do_not_end_a_process() {
        assert_eq!(default_action(20), Action::Stop);
        assert_eq!(default_action(28), Action::Nothing);
        assert_eq!(default_action(15), Action::End);
    }

    #[test]
    fn a_wait_status_tells_exit_signal_and_stop() {
        assert_eq!(End::of(7 << 8), Some(End::Exit(7)));
        assert_eq!(End::of(15), Some(End::Signal(15)));
        assert_eq!(End::of(0x80 | 0xb), Some(End::Signal(11)));
        assert_eq!(End::of(19 << 8 | 0x7f), None);
    }
}
