//! The keeper: PID 1 of an instance. It is selfdock's own, so that the command is an ordinary
//! process; the kernel gives it the orphans, and ends the whole instance when it ends.
//!
//! It shares the supervisor's memory and nothing else, on a stack of its own, and cannot be
//! reached from inside. It is undumpable, as that memory is, from its first instruction to its
//! last, so that nobody can trace it or look into it. As PID 1 it is not stopped or killed by
//! any signal from inside (`pid_namespaces(7)`). Its root is an empty directory, since the lists
//! of mounts in `/proc/1` are open to all. It dies with the supervisor, and does not undo that.
//!
//! It has one more duty: it is in the supervisor's process group, and so a witness of what was
//! sent to the whole group, which the command has got then too.

use crate::advice::CROWDED;
use crate::creds::{self, Privileged};
use crate::error::{Error, OrFail, Result};
use crate::outcome::End;
use crate::process::is_stopped;
use crate::sys::{
    self, ALL_SIGNALS, Disposition, Moment, Stack, Whose, new, set_of,
    signal::{self, CHLD, CONT, KILL},
};
use crate::text::{Bytes, c_string};
use crate::usage::{Tally, Usage};
use alloc::boxed::Box;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, chdir, chroot, set_parent_process_death_signal};

/// The supervisor's handle of it.
pub struct Keeper {
    pid: Pid,
    /// It has been waited for: its PID may be another's.
    gone: Cell<bool>,
    /// What other children of the supervisor have used.
    strays: Cell<Usage>,
    shared: &'static Shared,
}

/// What the processes of selfdock that share a memory tell each other.
pub struct Shared {
    /// Not 0 while the supervisor lives: the kernel sees to that.
    supervisor: AtomicU32,
    /// The keeper is what it has to be.
    pub keeper: Gate,
    /// The supervisor has given up all privilege.
    pub unprivileged: Gate,
    /// The command is about to be executed: nothing of the instance is missing.
    complete: AtomicU32,
    /// What is used in the instance is to be told.
    counts: bool,
    /// The instance is to end, as soon as the keeper has waited for all that is in it.
    ending: AtomicU32,
    /// What building the instance took, of what its command will have used.
    pub building: Tally,
    /// What those used that the keeper has waited for.
    orphans: Tally,
    /// Signals that the keeper got, and the supervisor has not asked for: bit N-1 for signal N.
    seen: AtomicU64,
    /// How often the keeper was asked, and has answered, and one more; 0 when it is gone.
    answers: AtomicU32,
}

/// A tenth of a second.
const MOMENT: Moment = Moment { seconds: 0, nanoseconds: 100_000_000 };

/// Opens once, and then stays open.
#[derive(Default)]
pub struct Gate(AtomicU32);

impl Gate {
    const OPEN: u32 = 1;
    const AWAITED: u32 = 2;

    /// Opens it.
    pub fn open(&self) {
        if self.0.swap(Self::OPEN, Ordering::AcqRel) == Self::AWAITED {
            sys::wake(&self.0);
        }
    }

    /// Waits until it is open. Whoever should open it and ends instead takes the waiting process
    /// along: the keeper its namespace, and the supervisor the keeper.
    pub fn wait(&self) {
        let awaited = self.0.compare_exchange(0, Self::AWAITED, Ordering::AcqRel, Ordering::Acquire);
        if awaited == Err(Self::OPEN) {
            return;
        }
        while self.0.load(Ordering::Acquire) != Self::OPEN {
            // A wake-up that fails costs a moment, and not the instance.
            sys::sleep_while(&self.0, Self::AWAITED, Some(MOMENT));
        }
    }
}

impl Shared {
    /// Nothing of the instance is missing.
    pub fn complete(&self) {
        self.complete.store(1, Ordering::Release);
    }

    /// Whether something of the instance is missing.
    pub fn is_building(&self) -> bool {
        self.complete.load(Ordering::Acquire) == 0
    }

    /// What the command has used so far is for the building of its instance: to be said by its process, last of all.
    pub fn note_building(&self) -> Result<()> {
        if self.counts {
            self.building.set(&sys::usage(Whose::Own).or_fail("read the resource usage")?);
        }
        Ok(())
    }

    /// To be made by the supervisor, before it starts anything. Where it counts, what all in the instance use is
    /// told in the end.
    pub fn new(counts: bool) -> Result<&'static Self> {
        let shared = Box::leak(Box::new(Shared {
            supervisor: AtomicU32::new(1),
            keeper: Gate::default(),
            unprivileged: Gate::default(),
            complete: AtomicU32::new(0),
            counts,
            ending: AtomicU32::new(0),
            building: Tally::default(),
            orphans: Tally::default(),
            seen: AtomicU64::new(0),
            answers: AtomicU32::new(1),
        }));
        sys::clear_at_end(&shared.supervisor).or_fail("watch the supervisor")?;
        Ok(shared)
    }
}

/// The question whether a signal was seen. Signals are taken in the order of their numbers, and
/// this is the last: what came before it has been taken when it is answered.
const QUESTION: i32 = signal::LAST;

/// How long an answer may take. It is a matter of microseconds, but for a keeper that somebody
/// outside has stopped.
const PATIENCE: Moment = Moment { seconds: 1, nanoseconds: 0 };

/// When it should have answered, if it can.
const SOON: Moment = Moment { seconds: 0, nanoseconds: 2_000_000 };

/// How long the end may take, but for a process that the kernel cannot end now.
const LAST_PATIENCE: Moment = Moment { seconds: 2, nanoseconds: 0 };

impl Keeper {
    /// Starts it as the first process of the PID namespace that this process has made.
    /// `empty` is a directory where nothing is.
    pub fn start(
        shared: &'static Shared,
        privileged: Privileged,
        own_network: bool,
        empty: Option<Bytes>,
    ) -> Result<Self> {
        let keep = move || Shared::keep(shared, Some(privileged), own_network, empty).report();
        let pid =
            sys::start_beside(Stack::Keeper, None, keep).or_fail("start the keeper").map_err(crowded)?;
        Ok(Keeper { pid, gone: Cell::new(false), strays: Cell::default(), shared })
    }

    /// A process that is only a witness: for the command of `enter`, whose instance has a keeper. To
    /// be started while nothing is in effect.
    pub fn witness(shared: &'static Shared) -> Result<Self> {
        // Nothing is built.
        shared.complete();
        let keep = move || Shared::keep(shared, None, false, None).report();
        let pid = sys::start_beside(Stack::Keeper, None, keep)
            .or_fail("start a witness of signals")
            .map_err(crowded)?;
        Ok(Keeper { pid, gone: Cell::new(false), strays: Cell::default(), shared })
    }

    /// Whether a signal that the supervisor got was sent to its process group. A group gets a
    /// signal from its newest process to its oldest (`hlist_add_head_rcu()` in `attach_pid()`,
    /// kernel/pid.c), so the keeper has it by then. It is asked for no longer than `limit`.
    pub fn saw(&self, signal: i32, limit: Option<Moment>) -> bool {
        let continued = self.ask(limit);
        let seen = self.shared.seen.load(Ordering::Acquire);
        // What it has seen the supervisor has by now, or has had: a group is served in one go.
        sys::let_groups_be_served();
        let to_come = sys::pending().unwrap_or(ALL_SIGNALS) & !set_of(signal);
        self.shared.seen.fetch_and(!(seen & !to_come), Ordering::AcqRel);
        // One that was stopped until now was stopped with the group, and what continued the
        // supervisor was for it alone.
        seen & set_of(signal) != 0 && !(continued && signal == CONT)
    }

    /// The supervisor has taken a signal without asking.
    pub fn passed_over(&self, signal: i32) {
        self.ask(None);
        self.shared.seen.fetch_and(!set_of(signal), Ordering::AcqRel);
    }

    /// Forgets what it saw: what the supervisor takes from here on is for it alone.
    pub fn forget(&self) {
        self.ask(None);
        self.shared.seen.store(0, Ordering::Release);
    }

    /// Returns when all signals that it has got so far are noted. Says whether it had to be
    /// continued for that.
    fn ask(&self, limit: Option<Moment>) -> bool {
        let before = self.shared.answers.load(Ordering::Acquire);
        let Ok(start) = sys::now() else { return false };
        if self.gone.get() || before == 0 || sys::queue(self.pid, QUESTION).is_err() {
            return false;
        }
        let limit = limit.filter(|limit| limit.seconds < PATIENCE.seconds).unwrap_or(PATIENCE);
        let mut stopped = false;
        while self.shared.answers.load(Ordering::Acquire) == before {
            let waited = sys::now().map_or(limit, |now| now.minus(start));
            let left = limit.minus(waited);
            if left == Moment::default() {
                break;
            }
            // Whether it is stopped is asked only when it does not answer: that takes memory, and a
            // terminal's size can be changed as often as a command likes.
            let soon = waited.minus(SOON) == Moment::default();
            stopped = stopped || (!soon && is_stopped(self.pid) && sys::kill(self.pid, CONT).is_ok());
            sys::sleep_while(&self.shared.answers, before, Some(if soon { SOON } else { left }));
        }
        stopped
    }

    /// Ends it, and so all that is in the instance. What counts what they use waits for each of them first.
    pub fn kill(&self) -> rustix::io::Result<()> {
        if self.gone.get() {
            return Ok(());
        }
        if !self.shared.counts {
            return self.kill_at_once();
        }
        self.shared.ending.store(1, Ordering::Release);
        // It looks at that after each signal. This one needs no room, which a command can use up, and continues a
        // keeper that somebody outside has stopped.
        sys::kill(self.pid, CONT)
    }

    fn kill_at_once(&self) -> rustix::io::Result<()> {
        sys::kill(self.pid, KILL)
    }

    /// What was used in the instance beside the command and what that waited for. To be asked at the end.
    pub fn others(&self) -> Usage {
        let mut all = self.shared.orphans.get();
        all.add(&self.strays.get());
        all
    }

    /// Whether the command is not there yet, but being built.
    pub fn is_building(&self) -> bool {
        self.shared.is_building()
    }

    /// To be told of each child of the supervisor that has been waited for, with what it used.
    pub fn note_end(&self, pid: Pid, usage: &Usage) {
        if pid == self.pid {
            self.gone.set(true);
        } else {
            let mut strays = self.strays.get();
            strays.add(usage);
            self.strays.set(strays);
        }
    }

    /// Ends it, and with it all that is left in the instance, and waits for that. Gives its status
    /// as wait(2) has it, unless that was given to somebody else.
    pub fn end(&self) -> Result<Option<i32>> {
        let failed = "end the instance";
        if self.gone.get() {
            return Ok(None);
        }
        // It ends where this process is, so that no other CPU has to be told: 3 % of a spawn.
        // Nothing depends on it.
        let _ = sys::stay_on_this_cpu(self.pid);
        self.kill().or_fail(failed)?;
        let (mut limit, mut left) = (None, MOMENT);
        loop {
            match sys::wait_signal(set_of(CHLD), Some(left)) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(Error::of(failed, errno)),
            }
            // The kernel lets a PID 1 go when all others are gone, and have been waited for: those
            // that `CLONE_PARENT` made are children of the supervisor.
            while let Some((pid, status, usage)) = sys::wait(None).or_fail(failed)? {
                if End::of(status).is_some() {
                    self.note_end(pid, &usage);
                }
                if self.gone.get() {
                    return Ok(Some(status));
                }
            }
            let now = sys::now().or_fail("read the clock")?;
            left = limit.get_or_insert(now.plus(LAST_PATIENCE)).minus(now);
            if left == Moment::default() {
                let _ = self.kill_at_once();
                return Err(Error::refused(failed, "a process in it cannot end now").hint(
                    "the machine is busy, or a debugger, a stopped 'selfdock enter' or a device holds it",
                ));
            }
        }
    }
}

fn crowded(error: Error) -> Error {
    error.hint_if(Errno::AGAIN, CROWDED)
}

impl Shared {
    /// The keeper's side, with all signals blocked. Returns only on failure.
    fn keep(&'static self, privileged: Option<Privileged>, own_network: bool, empty: Option<Bytes>) -> Error {
        match self.become_keeper(privileged, own_network, empty) {
            Ok(()) => self.witness(),
            Err(error) => error,
        }
    }

    fn become_keeper(
        &'static self,
        privileged: Option<Privileged>,
        own_network: bool,
        empty: Option<Bytes>,
    ) -> Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL)).or_fail("tie the keeper to its supervisor")?;
        if self.supervisor.load(Ordering::Acquire) == 0 {
            // It was gone before the wish. The word is cleared before children are told.
            sys::exit(crate::error::FAILED);
        }
        let failed = "confine the keeper";
        // Whoever ends all programs of selfdock's name means the supervisors.
        rustix::thread::set_name(c"keeper").or_fail(failed)?;
        sys::clear_at_end(&self.answers).or_fail(failed)?;
        if let Some(mut privileged) = privileged {
            if own_network {
                // /proc/1/net tells of the network of PID 1.
                privileged.take_up(true)?;
                sys::unshare(new::NETWORK).or_fail(failed)?;
            }
            if empty.and_then(|dir| chroot(c_string(dir).ok()?).ok()).is_none() {
                // It has no entries while no descriptor is open, and nothing is mounted below it.
                chroot(c"/proc/self/fdinfo").or_fail(failed)?;
            }
            chdir(c"/").or_fail(failed)?;
            privileged.renounce()?;
        } else {
            creds::hold_nothing()?;
        }
        // Its children are the orphans of the instance, which the kernel lets go of by itself then.
        let of_orphans = if self.counts { Disposition::Default } else { Disposition::Ignored };
        sys::dispose(CHLD, of_orphans).or_fail(failed)?;
        // Not even the standard ones: who reads from a pipe of the command's waits for its last writer.
        sys::close_range(0, u32::MAX).or_fail(failed)?;
        self.keeper.open();
        Ok(())
    }

    /// Waits for the orphans that have ended, and adds up what they used.
    fn reap(&self) {
        while let Ok(Some(_)) = sys::wait(None) {}
        if let Ok(used) = sys::usage(Whose::Children) {
            self.orphans.set(&used);
        }
    }

    /// Ends all others, waits for them, and ends. Whose parent is being killed is an orphan in a moment.
    fn end_all(&self) -> ! {
        while sys::kill_all_others().is_ok() {
            let _ = sys::wait_signal(set_of(CHLD), Some(SOON));
            self.reap();
        }
        sys::exit(0)
    }

    fn witness(&self) -> ! {
        loop {
            let taken = sys::wait_signal(ALL_SIGNALS, None);
            if self.ending.load(Ordering::Acquire) != 0 {
                self.end_all();
            }
            match taken {
                Ok(taken) if taken.signal == QUESTION && taken.code == sys::QUEUED => {
                    self.answers.fetch_add(1, Ordering::AcqRel);
                    sys::wake(&self.answers);
                }
                Ok(taken) => {
                    if self.counts && taken.signal == CHLD {
                        self.reap();
                    }
                    self.seen.fetch_or(set_of(taken.signal), Ordering::AcqRel);
                }
                Err(_) => {}
            }
        }
    }
}
