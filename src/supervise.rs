//! The supervisor: it waits for the command, passes signals on, and ends as the command ended. It has no privilege,
//! and no descriptors except the caller's first three, unless an option needs one.
//!
//! It blocks all signals, from before the command exists to the end of the command, and takes them one by one. So no
//! signal acts on the supervisor itself, unless it has to wait for the reader of a report or a message. The command
//! blocks no signal, from its first instruction on. So each signal is passed on, and acts there as on any process:
//! first it ends the building of the instance, and later it does what the command has set. signal(7),
//! `rt_sigtimedwait(2)`.

use crate::cli::Timeout;
use crate::containment::{Jobs, is_a_job};
use crate::error::{Error, KILLED_IN_TIME, OrFail, Result, TIMED_OUT};
use crate::keeper::Keeper;
use crate::outcome::{Cause, End, Outcome, stopped_by};
use crate::process::{Stock, field, is_stopped, status};
use crate::sys::{
    self, ALL_SIGNALS, Disposition, Duration, Instant, set_of,
    signal::{CHLD, CONT, KILL, STOP, TERM, TSTP, TTOU, URG, WINCH, XCPU, XFSZ},
};
use crate::text::number;
use crate::usage::Usage;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, getpid};

/// The state of the wait for a command.
pub struct Watch<'a> {
    command: Pid,
    /// The keeper, which knows the signals to the whole process group.
    witness: &'a Keeper,
    /// Whether the keeper is PID 1 of the command's instance. With `enter` it is not.
    own_instance: bool,
    /// The command has or will have its own session.
    has_own_session: bool,
    /// With a deadline the supervisor never stops.
    deadline: Deadline,
    /// Whether a report needs to know if a limit ended the command.
    counts: bool,
    /// The command was executed, as far as is known.
    started: bool,
    /// The limit of processor time may have ended the command.
    used_up: bool,
    /// Whether there is such a limit, as far as is known.
    limited: bool,
    /// The last signal to this process that could have ended the command.
    last_signal: Option<i32>,
    /// The stop signal for which SIGSTOP was sent instead.
    stop: i32,
}

/// What happens next because of the `--timeout` option, and when.
#[derive(Clone, Copy)]
enum Deadline {
    /// There is no timeout.
    None,
    /// SIGTERM is sent to the command. The second time is the grace period.
    Term(Instant, Duration),
    /// All processes of the instance are killed.
    Kill(Instant),
    /// The supervisor stops waiting, since a debugger may hold the killed command.
    Leave(Instant),
}

/// TSTP, TTIN, TTOU
const OF_JOBS: core::ops::RangeInclusive<i32> = TSTP..=TTOU;

/// How long to wait for a killed command.
const PATIENCE: Duration = Duration { seconds: 5, nanoseconds: 0 };

/// How many other children to wait for at a time, before signals are handled again.
const STRAYS: usize = 16;

impl<'a> Watch<'a> {
    /// Starts to watch a command.
    pub fn new(command: Pid, witness: &'a Keeper, own_instance: bool, jobs: Jobs) -> Self {
        Watch {
            command,
            witness,
            own_instance,
            has_own_session: jobs == Jobs::Own,
            deadline: Deadline::None,
            counts: false,
            started: true,
            used_up: false,
            limited: true,
            last_signal: None,
            stop: STOP,
        }
    }

    /// Ends the command after this time.
    pub fn for_at_most(self, timeout: Option<Timeout>) -> Result<Self> {
        let Some(Timeout { time, grace }) = timeout else { return Ok(self) };
        Ok(Watch { deadline: Deadline::Term(after(time)?, grace), ..self })
    }

    /// With `counts`, finds out whether a limit ended the command.
    #[must_use]
    pub fn counting(self, counts: bool) -> Self {
        Watch { counts, ..self }
    }

    /// Waits for the command, with all signals blocked. SIGCHLD alternates with other signals and the deadline, so
    /// that many children cannot delay these.
    pub fn wait(mut self) -> Result<Outcome> {
        let mut set = ALL_SIGNALS;
        loop {
            let left = self.time_left()?;
            if left == Some(Duration::default()) {
                match self.time_is_up()? {
                    Some(outcome) => return Ok(outcome),
                    None => continue,
                }
            }
            let only_others = set != ALL_SIGNALS;
            let limit = if only_others { Some(Duration::default()) } else { left };
            match sys::wait_signal(core::mem::replace(&mut set, ALL_SIGNALS), limit) {
                Ok(sys::Taken { signal: CHLD, code }) => {
                    if let Some(outcome) = self.reap()? {
                        return Ok(outcome);
                    }
                    if code <= 0 {
                        // This one was sent by a process. One from the kernel may be merged with it.
                        self.pass_on(CHLD)?;
                    }
                    set = ALL_SIGNALS & !set_of(CHLD);
                }
                Ok(taken) => self.pass_on(taken.signal)?,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(Error::of("wait for a signal", errno)),
            }
        }
    }

    fn time_left(&self) -> Result<Option<Duration>> {
        match self.deadline {
            Deadline::None => Ok(None),
            Deadline::Term(at, _) | Deadline::Kill(at) | Deadline::Leave(at) => {
                Ok(Some(at.since(sys::now().or_fail("read the clock")?)))
            }
        }
    }

    /// Does what is due at the deadline, and sets the next one.
    fn time_is_up(&mut self) -> Result<Option<Outcome>> {
        match self.deadline {
            Deadline::None => {}
            Deadline::Term(_, grace) => {
                self.deadline = Deadline::Kill(after(grace)?);
                self.send(TERM)?;
                // A stopped command must be continued to handle SIGTERM.
                self.send(CONT)?;
            }
            Deadline::Kill(_) => {
                self.deadline = Deadline::Leave(after(PATIENCE)?);
                if self.own_instance {
                    self.witness.kill().or_fail("end the instance")?;
                }
                self.send(KILL)?;
            }
            Deadline::Leave(_) => return Ok(Some(self.outcome(End::Signal(KILL), Usage::default()))),
        }
        Ok(None)
    }

    /// Collects children. Returns the outcome of the command, or `None` while it lives.
    fn reap(&mut self) -> Result<Option<Outcome>> {
        if self.counts {
            // This works only until the command is waited for.
            self.take_stock();
        }
        for turn in 0..=STRAYS {
            let whom = (turn == 0).then_some(self.command);
            match sys::wait(whom) {
                Ok(Some((pid, status, usage))) if pid == self.command => match End::of(status) {
                    Some(end) => return Ok(Some(self.outcome(end, usage))),
                    None => self.stop_likewise(stopped_by(status))?,
                },
                // `CLONE_PARENT` makes a process of the instance a child of the supervisor.
                Ok(Some((pid, status, usage))) if End::of(status).is_some() => {
                    self.witness.note_end(pid, &usage);
                }
                Ok(None) if whom.is_none() => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::of("wait for the command", errno)),
            }
        }
        Ok(None)
    }

    fn outcome(&self, end: End, usage: Usage) -> Outcome {
        let (end, cause) = match end {
            // The same statuses as timeout(1).
            _ if matches!(self.deadline, Deadline::Kill(_)) => (End::Exit(TIMED_OUT), Cause::Timeout),
            _ if matches!(self.deadline, Deadline::Leave(_)) => (End::Exit(KILLED_IN_TIME), Cause::Timeout),
            End::Signal(signal) if self.last_signal == Some(signal) => (end, Cause::Signal),
            // Sent at the soft limit of processor time, and SIGKILL at the hard limit. setrlimit(2)
            End::Signal(XCPU) if self.limited => (end, Cause::Limit("cpu")),
            End::Signal(KILL) if self.used_up => (end, Cause::Limit("cpu")),
            End::Signal(XFSZ) => (end, Cause::Limit("fsize")),
            _ => (end, Cause::Command),
        };
        Outcome { end, cause, started: self.started, usage }
    }

    fn take_stock(&mut self) {
        // Half a second, in hundredths: the command has used at least half of its limit.
        const HALF: u64 = 50;
        let limit = sys::limit(Some(self.command), Resource::Cpu as usize, None);
        let (Ok([soft, hard]), Some(stock)) = (limit, Stock::of(self.command)) else { return };
        self.started = stock.executed;
        self.limited = soft != u64::MAX;
        // For the limit the kernel counts ticks, but it reports the exact time, which can be much less on a busy
        // machine. If there is a second between the limits, SIGXCPU comes first, so a command that did not handle it
        // would have ended by it.
        let could_go_on = || soft == hard || self.is_cared_for(XCPU);
        self.used_up = stock.ended && stock.time >= hard.saturating_mul(HALF) && could_go_on();
    }

    /// Stops this process by the signal that stopped the command, so that a shell sees the job as stopped. It does
    /// not stop with a deadline, which must be kept, or without a shell, since nobody would notice.
    fn stop_likewise(&mut self, signal: i32) -> Result<()> {
        let failed = "stop with the command";
        let wanted = core::mem::replace(&mut self.stop, STOP);
        let signal = if signal == STOP { wanted } else { signal };
        if !matches!(self.deadline, Deadline::None) || !is_a_job() {
            return Ok(());
        }
        // A stop would discard a pending SIGCONT.
        if take_back(CONT) {
            return self.pass_on(CONT);
        }
        if signal == STOP {
            if !is_stopped(self.command) {
                return Ok(());
            }
            sys::kill(getpid(), STOP).or_fail(failed)?;
        } else {
            sys::dispose(signal, Disposition::Default).or_fail(failed)?;
            // The signal is blocked, so it is pending. A later SIGCONT discards it. An earlier SIGCONT has continued
            // the command; then the signal is taken back here.
            sys::kill(getpid(), signal).or_fail(failed)?;
            if !is_stopped(self.command) {
                take_back(signal);
                if self.is_together() {
                    self.witness.passed_over(signal);
                }
                return Ok(());
            }
            sys::block_only(ALL_SIGNALS & !set_of(signal)).or_fail(failed)?;
            sys::block_only(ALL_SIGNALS).or_fail(failed)?;
        }
        // Only SIGCONT ends a stop. It need not be pending any more, since another stop discards it.
        take_back(CONT);
        self.pass_on(CONT)
    }

    /// Passes a signal on to the command, unless the command has it already: a terminal and `kill -PGID` send to a
    /// whole process group.
    fn pass_on(&mut self, signal: i32) -> Result<()> {
        // By default all other signals end a process.
        let ends = !matches!(signal, CHLD | CONT | STOP..=TTOU | URG | WINCH);
        if ends {
            self.last_signal = Some(signal);
        }
        // With a deadline this process did not stop, so no shell can continue a stopped command.
        let is_to_continue = ends && !matches!(self.deadline, Deadline::None) && is_stopped(self.command);
        // After the deadline the keeper is not asked, since it could be kept from answering.
        let is_past = matches!(self.deadline, Deadline::Kill(_) | Deadline::Leave(_));
        if !is_past && self.is_together() && self.witness.has_seen(signal, self.time_left()?) {
            return if is_to_continue { self.continue_group() } else { Ok(()) };
        }
        if is_to_continue {
            self.send(CONT)?;
        }
        let leads = self.has_own_session || leads_a_session(self.command);
        if OF_JOBS.contains(&signal) && leads && !self.is_cared_for(signal) {
            // The kernel does not stop a session leader by these signals, since nobody in its session could continue
            // it. Here the sender of the signal can, so SIGSTOP is sent instead.
            self.stop = signal;
            return self.send(STOP);
        }
        self.send(signal)
    }

    /// Whether the command handles, ignores or blocks a signal. The process that builds the instance only ignores
    /// what the caller ignored. `proc_pid_status(5)`
    fn is_cared_for(&self, signal: i32) -> bool {
        let text = status(self.command).unwrap_or_default();
        let set = |name| field(text, name).and_then(|set| number(set, 16)).unwrap_or(0);
        let others = if self.witness.is_building() { 0 } else { set("SigBlk:") | set("SigCgt:") };
        (set("SigIgn:") | others) & set_of(signal) != 0
    }

    /// Whether the command is in the process group of this process, and gets signals to the group.
    fn is_together(&self) -> bool {
        sys::group_of(Some(self.command)) == sys::group_of(None)
    }

    /// Continues all that a terminal has stopped, and has sent a signal now: a shell that goes on alone would wait for
    /// a child that does not.
    fn continue_group(&self) -> Result<()> {
        told(sys::group_of(Some(self.command)).and_then(sys::continue_group))
    }

    /// The command has not been waited for, so the PID is still its own.
    fn send(&self, signal: i32) -> Result<()> {
        told(sys::kill(self.command, signal))
    }
}

/// The result of kill(2).
fn told(sent: rustix::io::Result<()>) -> Result<()> {
    match sent {
        // The command has ended meanwhile, or has changed its ids. The next wait tells.
        Ok(()) | Err(Errno::SRCH | Errno::PERM) => Ok(()),
        Err(errno) => Err(Error::of("pass on a signal", errno)),
    }
}

/// The point in time that comes after this span.
fn after(span: Duration) -> Result<Instant> {
    Ok(sys::now().or_fail("read the clock")?.plus(span))
}

/// Takes a pending signal of this process. Returns whether it was pending.
fn take_back(signal: i32) -> bool {
    sys::wait_signal(set_of(signal), Some(Duration::default())).is_ok()
}

fn leads_a_session(pid: Pid) -> bool {
    sys::session_of(Some(pid)).is_ok_and(|session| i32::try_from(session) == Ok(pid.as_raw_nonzero().get()))
}
