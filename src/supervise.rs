//! The supervisor: it waits for the command, passes signals on, and ends as the command ends.
//! It holds no privilege, and no descriptor beyond the caller's first three unless an option
//! needs one.
//!
//! It has all signals blocked, from before the command exists to its own end, and takes them one
//! by one: there is no moment in which one could act on the supervisor itself. The command has
//! none blocked, from its first instruction on. So each is sent on, always, and acts there as on
//! any process: on the building of the instance by default, and later as the command wishes.
//! signal(7), `rt_sigtimedwait(2)`.

use crate::cli::Timeout;
use crate::containment::{Jobs, is_a_job};
use crate::error::{Error, KILLED_IN_TIME, OrFail, Result, TIMED_OUT};
use crate::keeper::Keeper;
use crate::outcome::{Cause, End, Outcome};
use crate::process::{Stock, field, is_stopped, status};
use crate::sys::{
    self, ALL_SIGNALS, Disposition, Moment, set_of,
    signal::{CHLD, CONT, KILL, STOP, TERM, TSTP, TTOU, URG, WINCH, XCPU, XFSZ},
};
use crate::text::number;
use crate::usage::Usage;
use rustix::io::Errno;
use rustix::process::{Pid, Resource, getpid};

/// What to watch.
pub struct Watch<'a> {
    command: Pid,
    /// Knows which signals the whole process group got.
    witness: &'a Keeper,
    /// It is the keeper of the command's instance, which is this supervisor's.
    own_instance: bool,
    /// The command has or will have a session of its own.
    has_own_session: bool,
    /// When to end the command, and then to kill it.
    deadline: Option<Moment>,
    /// What there was from the start: nothing stops the supervisor then.
    timeout: Option<Timeout>,
    /// It is to be told whether a limit ended the command.
    counts: bool,
    /// It was executed, as far as is known.
    started: bool,
    /// It could have been the limit of processor time that ended it.
    used_up: bool,
    timed_out: bool,
    killed: bool,
    /// The last signal to this process that could have ended the command.
    passed: Option<i32>,
    /// What SIGSTOP was sent for.
    stop: i32,
}

/// TSTP, TTIN, TTOU
const OF_JOBS: core::ops::RangeInclusive<i32> = TSTP..=TTOU;

/// How long the dead may take to be gone.
const PATIENCE: Moment = Moment { seconds: 5, nanoseconds: 0 };

/// Children that are waited for at a time, beside the command: others are then listened to.
const STRAYS: usize = 16;

impl<'a> Watch<'a> {
    /// Watches a command.
    pub fn new(command: Pid, witness: &'a Keeper, own_instance: bool, jobs: Jobs) -> Self {
        Watch {
            command,
            witness,
            own_instance,
            has_own_session: jobs == Jobs::Own,
            deadline: None,
            timeout: None,
            counts: false,
            started: true,
            used_up: false,
            timed_out: false,
            killed: false,
            passed: None,
            stop: STOP,
        }
    }

    /// Ends the command after this time.
    pub fn for_at_most(self, timeout: Option<Timeout>) -> Result<Self> {
        let Some(Timeout { time, .. }) = timeout else { return Ok(self) };
        let deadline = Some(sys::now().or_fail("read the clock")?.plus(time));
        Ok(Watch { deadline, timeout, ..self })
    }

    /// Finds out whether a limit ended the command.
    #[must_use]
    pub fn counting(self, counts: bool) -> Self {
        Watch { counts, ..self }
    }

    /// Waits for the command, with all signals blocked. Children come in turn with other signals
    /// and with the deadline, however many of them end.
    pub fn wait(mut self) -> Result<Outcome> {
        let mut set = ALL_SIGNALS;
        loop {
            let left = self.time_left()?;
            if left == Some(Moment::default()) {
                match self.time_is_up()? {
                    Some(outcome) => return Ok(outcome),
                    None => continue,
                }
            }
            let only_others = set != ALL_SIGNALS;
            let limit = if only_others { Some(Moment::default()) } else { left };
            match sys::wait_signal(core::mem::replace(&mut set, ALL_SIGNALS), limit) {
                Ok(sys::Taken { signal: CHLD, code }) => {
                    if let Some(outcome) = self.look()? {
                        return Ok(outcome);
                    }
                    if code <= 0 {
                        // From a process; the kernel's own may have come together with it.
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

    fn time_left(&self) -> Result<Option<Moment>> {
        let Some(deadline) = self.deadline else { return Ok(None) };
        Ok(Some(deadline.minus(sys::now().or_fail("read the clock")?)))
    }

    /// First SIGTERM, as `kill(1)` would send it; after the grace SIGKILL, to all of the instance; and
    /// in the end nothing more is waited for: a debugger may hold the dead command.
    fn time_is_up(&mut self) -> Result<Option<Outcome>> {
        if self.killed {
            return Ok(Some(self.outcome(End::Signal(KILL), Usage::default())));
        }
        let until = |time| sys::now().or_fail("read the clock").map(|now| Some(now.plus(time)));
        if self.timed_out {
            self.deadline = until(PATIENCE)?;
            self.killed = true;
            if self.own_instance {
                self.witness.kill().or_fail("end the instance")?;
            }
            self.send(KILL)?;
            return Ok(None);
        }
        self.deadline = until(self.timeout.map_or(PATIENCE, |timeout| timeout.grace))?;
        self.timed_out = true;
        self.send(TERM)?;
        // A stopped command could not even end.
        self.send(CONT)?;
        Ok(None)
    }

    /// What became of the command: `None` while it lives.
    fn look(&mut self) -> Result<Option<Outcome>> {
        if self.counts {
            // As long as it can be asked.
            self.take_stock();
        }
        for turn in 0..=STRAYS {
            let whom = (turn == 0).then_some(self.command);
            match sys::wait(whom) {
                Ok(Some((pid, status, usage))) if pid == self.command => match End::of(status) {
                    Some(end) => return Ok(Some(self.outcome(end, usage))),
                    None => self.stop_likewise(status >> 8 & 0xff)?,
                },
                // `CLONE_PARENT` makes children of the supervisor. One that is left is a process still.
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
            // As timeout(1) has it.
            _ if self.timed_out => {
                (End::Exit(if self.killed { KILLED_IN_TIME } else { TIMED_OUT }), Cause::Timeout)
            }
            End::Signal(signal) if self.passed == Some(signal) => (end, Cause::Signal),
            // At the soft limit of processor time, and at the hard one. setrlimit(2)
            End::Signal(XCPU) => (end, Cause::Limit("cpu")),
            End::Signal(KILL) if self.used_up => (end, Cause::Limit("cpu")),
            End::Signal(XFSZ) => (end, Cause::Limit("fsize")),
            _ => (end, Cause::Command),
        };
        Outcome { end, cause, started: self.started, usage }
    }

    fn take_stock(&mut self) {
        let limit = sys::limit(Some(self.command), Resource::Cpu as usize, None);
        let (Ok([soft, hard]), Some(stock)) = (limit, Stock::of(self.command)) else { return };
        self.started = stock.executed;
        // The kernel counts ticks for the limit, and tells how long it really was, which can be much less on a busy
        // machine. But it sends SIGXCPU first, if there is a second for that, and this one did not end by it.
        let could_go_on = || soft == hard || self.is_cared_for(XCPU);
        self.used_up = stock.ended && stock.time >= hard.saturating_mul(50) && could_go_on();
    }

    /// Stops this process by the signal that stopped the command, so that a shell takes the job
    /// for stopped. With a deadline that is kept instead, and without a shell nobody would notice.
    fn stop_likewise(&mut self, signal: i32) -> Result<()> {
        let failed = "stop with the command";
        let wanted = core::mem::replace(&mut self.stop, STOP);
        let signal = if signal == STOP { wanted } else { signal };
        if self.timeout.is_some() || !is_a_job() {
            return Ok(());
        }
        // A stop would take it away.
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
            // Blocked, so it is pending. A SIGCONT takes it back from here on, whenever that comes;
            // one that came before has continued the command, and then it is taken back here.
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
        // Only SIGCONT ends a stop. It may be pending no more: another stop takes it away.
        take_back(CONT);
        self.pass_on(CONT)
    }

    /// Has a signal act on the command, if it was not sent there as well: a terminal and
    /// `kill -PGID` send to a whole process group.
    fn pass_on(&mut self, signal: i32) -> Result<()> {
        // By default all others end a process.
        if !matches!(signal, CHLD | CONT | STOP..=TTOU | URG | WINCH) {
            self.passed = Some(signal);
        }
        // Past a deadline nobody is asked who could be kept from answering.
        if !self.timed_out && self.is_together() && self.witness.saw(signal, self.time_left()?) {
            return Ok(());
        }
        let leads = self.has_own_session || leads_a_session(self.command);
        if OF_JOBS.contains(&signal) && leads && !self.is_cared_for(signal) {
            // These stop no process that leads a session, as nobody in it could continue it. Here
            // whoever sent the signal can.
            self.stop = signal;
            return self.send(STOP);
        }
        self.send(signal)
    }

    /// Whether the command handles, ignores or blocks a signal; what builds it only ignores what the
    /// caller did. `proc_pid_status(5)`
    fn is_cared_for(&self, signal: i32) -> bool {
        let text = status(self.command).unwrap_or_default();
        let set = |name| field(text, name).and_then(|set| number(set, 16)).unwrap_or(0);
        let others = if self.witness.is_building() { 0 } else { set("SigBlk:") | set("SigCgt:") };
        (set("SigIgn:") | others) & set_of(signal) != 0
    }

    /// Whether the command is in this process's group, and gets what is sent to that.
    fn is_together(&self) -> bool {
        sys::group_of(Some(self.command)) == sys::group_of(None)
    }

    /// It has not been waited for, so the PID is still the command's.
    fn send(&self, signal: i32) -> Result<()> {
        match sys::kill(self.command, signal) {
            // It ended meanwhile, or took other ids; the next wait tells.
            Ok(()) | Err(Errno::SRCH | Errno::PERM) => Ok(()),
            Err(errno) => Err(Error::of("pass on a signal", errno)),
        }
    }
}

/// Takes a signal that waits for this process, if it does.
fn take_back(signal: i32) -> bool {
    sys::wait_signal(set_of(signal), Some(Moment::default())).is_ok()
}

fn leads_a_session(pid: Pid) -> bool {
    sys::session_of(Some(pid)).is_ok_and(|session| i32::try_from(session) == Ok(pid.as_raw_nonzero().get()))
}
