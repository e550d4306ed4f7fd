//! The keeper: PID 1 of an instance. It is a process of selfdock, so the command is an ordinary process. The kernel
//! makes the keeper the parent of orphans, and ends the whole instance when the keeper ends.
//!
//! It shares the supervisor's memory and nothing else, has its own stack, and cannot be reached from inside. It is
//! undumpable, as that memory is, from its first instruction to its last, so nobody can trace or inspect it. As PID 1
//! it cannot be stopped or killed by a signal from inside (`pid_namespaces(7)`). Its root is an empty directory,
//! since everyone can read the lists of mounts in `/proc/1`. It dies with the supervisor: nothing clears its death
//! signal.
//!
//! It is also a witness of signals: it is in the supervisor's process group, so it knows which signals were sent to
//! the whole group and have reached the command already.

use crate::advice::{CROWDED, TOO_MANY};
use crate::creds::{self, Privileged};
use crate::error::{Error, OrFail, Result};
use crate::outcome::End;
use crate::process::is_stopped;
use crate::sys::{
    self, ALL_SIGNALS, Disposition, Duration, Stack, Whose, namespace, set_of,
    signal::{self, CHLD, CONT, KILL},
};
use crate::text::{Bytes, c_string};
use crate::usage::{Tally, Usage};
use alloc::boxed::Box;
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, chdir, chroot, set_parent_process_death_signal};

/// The supervisor's handle of the keeper.
pub struct Keeper {
    pid: Pid,
    /// Whether it has been waited for: then its PID may belong to another process.
    gone: Cell<bool>,
    /// The resource usage of other children of the supervisor.
    strays: Cell<Usage>,
    shared: &'static Shared,
}

/// What a keeper is for.
enum Role {
    /// To be PID 1 of an instance, and a witness of signals.
    Init(Init),
    /// To be a witness of signals alone.
    Witness,
}

/// What a keeper needs to become PID 1 of an instance.
pub struct Init {
    pub privileged: Privileged,
    /// It makes the network namespace of the instance.
    pub own_network: bool,
    /// An empty directory, which becomes its root directory.
    pub empty: Option<Bytes>,
}

/// The words by which the processes of selfdock inform each other. They share a memory.
pub struct Shared {
    /// Not 0 while the supervisor lives. The kernel clears it at its end.
    supervisor: AtomicU32,
    /// Opens when the keeper is ready.
    pub keeper: Gate,
    /// Opens when the supervisor has given up all privilege.
    pub unprivileged: Gate,
    /// Not 0 when the instance is complete, and the command is about to be executed.
    complete: AtomicU32,
    /// Whether resource usage is to be reported.
    counts: bool,
    /// Not 0 when the keeper is to end the instance and wait for all processes in it.
    ending: AtomicU32,
    /// The usage of building the instance, which is included in the command's.
    pub building: Tally,
    /// The usage of the orphans that the keeper has waited for.
    orphans: Tally,
    /// Signals that the keeper has got and the supervisor has not asked for: bit N-1 for signal N.
    seen: AtomicU64,
    /// The number of questions that the keeper has answered, plus 1; 0 when the keeper is gone.
    answers: AtomicU32,
}

/// A tenth of a second.
const MOMENT: Duration = Duration { seconds: 0, nanoseconds: 100_000_000 };

/// A gate that opens once, for processes that share a memory.
#[derive(Default)]
pub struct Gate(AtomicU32);

impl Gate {
    const OPEN: u32 = 1;
    const AWAITED: u32 = 2;

    /// Opens the gate.
    pub fn open(&self) {
        if self.0.swap(Self::OPEN, Ordering::AcqRel) == Self::AWAITED {
            sys::wake(&self.0);
        }
    }

    /// Waits until the gate is open. If the process that should open it ends instead, the waiting process ends too:
    /// the keeper's end ends its namespace, and the supervisor's end the keeper and a joiner.
    pub fn wait(&self) {
        let awaited = self.0.compare_exchange(0, Self::AWAITED, Ordering::AcqRel, Ordering::Acquire);
        if awaited == Err(Self::OPEN) {
            return;
        }
        while self.0.load(Ordering::Acquire) != Self::OPEN {
            // A lost wake-up costs a moment, and not the instance.
            sys::sleep_while(&self.0, Self::AWAITED, Some(MOMENT));
        }
    }
}

impl Shared {
    /// Says that the instance is complete.
    pub fn complete(&self) {
        self.complete.store(1, Ordering::Release);
    }

    /// Says that the command could not be executed.
    pub fn give_up(&self) {
        self.complete.store(0, Ordering::Release);
    }

    /// Whether the instance is still being built.
    pub fn is_building(&self) -> bool {
        self.complete.load(Ordering::Acquire) == 0
    }

    /// Notes the usage so far as that of building the instance. The process of the command calls this last of all.
    pub fn note_building(&self) -> Result<()> {
        if self.counts {
            self.building.set(&sys::usage(Whose::Own).or_fail("read the resource usage")?);
        }
        Ok(())
    }

    /// Asks the kernel to kill this process when the supervisor ends. Later changes only drop capabilities, which keeps
    /// the signal. `prctl(2)`, `PR_SET_PDEATHSIG`
    pub fn die_with_supervisor(&self) -> Result<()> {
        let failed = "tie a process to its supervisor";
        set_parent_process_death_signal(Some(Signal::KILL)).or_fail(failed)?;
        if self.supervisor.load(Ordering::Acquire) == 0 {
            // The supervisor was gone before prctl(2). The kernel clears this word before it tells children.
            return Err(Error::refused(failed, "it has ended"));
        }
        Ok(())
    }

    /// Made by the supervisor before it starts other processes. With `counts`, the usage of all processes in the
    /// instance is reported at the end.
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

/// The signal by which the supervisor asks the keeper. Signals are taken in the order of their numbers, and this is
/// the last one. So all signals before it have been taken when the keeper answers.
const QUESTION: i32 = signal::LAST;

/// How long to wait for an answer. It takes microseconds, unless somebody outside has stopped the keeper.
const PATIENCE: Duration = Duration { seconds: 1, nanoseconds: 0 };

/// When the keeper should have answered, if it is not stopped.
const SOON: Duration = Duration { seconds: 0, nanoseconds: 2_000_000 };

/// How long to wait for the end of the instance. Only a process that the kernel cannot end takes longer.
const LAST_PATIENCE: Duration = Duration { seconds: 2, nanoseconds: 0 };

impl Keeper {
    /// Starts the keeper as the first process of the new PID namespace of this process.
    pub fn start(shared: &'static Shared, init: Init) -> Result<Self> {
        let keep = move || Shared::keep(shared, Role::Init(init)).report();
        let pid =
            sys::start_beside(Stack::Keeper, None, keep).or_fail("start the keeper").map_err(crowded)?;
        Ok(Keeper { pid, gone: Cell::new(false), strays: Cell::default(), shared })
    }

    /// Starts a process that is only a witness of signals, for the command of `enter`, whose instance has a keeper.
    /// No capability may be in effect.
    pub fn witness(shared: &'static Shared) -> Result<Self> {
        // There is no instance to build.
        shared.complete();
        let keep = move || Shared::keep(shared, Role::Witness).report();
        let pid = sys::start_beside(Stack::Keeper, None, keep)
            .or_fail("start a witness of signals")
            .map_err(crowded)?;
        Ok(Keeper { pid, gone: Cell::new(false), strays: Cell::default(), shared })
    }

    /// Whether a signal to the supervisor was sent to its whole process group. A group gets a signal from its newest
    /// process to its oldest (`hlist_add_head_rcu()` in `attach_pid()`, kernel/pid.c), so the keeper has it already.
    /// It is asked for at most `limit`.
    pub fn has_seen(&self, signal: i32, limit: Option<Duration>) -> bool {
        let continued = self.ask(limit);
        let seen = self.shared.seen.load(Ordering::Acquire);
        // The supervisor has got these signals by now, since a group is served under one lock.
        sys::let_groups_be_served();
        let to_come = sys::pending().unwrap_or(ALL_SIGNALS) & !set_of(signal);
        self.shared.seen.fetch_and(!(seen & !to_come), Ordering::AcqRel);
        // A keeper that was stopped until now was stopped with its group. Then the SIGCONT to the supervisor was for
        // it alone.
        seen & set_of(signal) != 0 && !(continued && signal == CONT)
    }

    /// Forgets a signal that the supervisor has taken without asking.
    pub fn passed_over(&self, signal: i32) {
        self.ask(None);
        self.shared.seen.fetch_and(!set_of(signal), Ordering::AcqRel);
    }

    /// Forgets all signals so far: later ones of the supervisor are for it alone.
    pub fn forget(&self) {
        self.ask(None);
        self.shared.seen.store(0, Ordering::Release);
    }

    /// Waits until the keeper has noted all its signals so far. Returns whether the keeper was stopped and had to be
    /// continued.
    fn ask(&self, limit: Option<Duration>) -> bool {
        let before = self.shared.answers.load(Ordering::Acquire);
        let Ok(start) = sys::now() else { return false };
        if self.gone.get() || before == 0 || sys::queue(self.pid, QUESTION).is_err() {
            return false;
        }
        let limit = limit.filter(|limit| limit.seconds < PATIENCE.seconds).unwrap_or(PATIENCE);
        let mut stopped = false;
        while self.shared.answers.load(Ordering::Acquire) == before {
            let waited = sys::now().map_or(limit, |now| now.since(start));
            let left = limit.minus(waited);
            if left == Duration::default() {
                break;
            }
            // This is checked only when it does not answer, since the check takes memory, and a command can change
            // the size of a terminal as often as it likes.
            let soon = waited.minus(SOON) == Duration::default();
            stopped = stopped || (!soon && is_stopped(self.pid) && sys::kill(self.pid, CONT).is_ok());
            sys::sleep_while(&self.shared.answers, before, Some(if soon { SOON } else { left }));
        }
        stopped
    }

    /// Ends the keeper, and so all processes of the instance. If usage is counted, the keeper waits for each of them
    /// first.
    pub fn kill(&self) -> rustix::io::Result<()> {
        if self.gone.get() {
            return Ok(());
        }
        if !self.shared.counts {
            return self.kill_at_once();
        }
        self.shared.ending.store(1, Ordering::Release);
        // The keeper checks that word after each signal. SIGCONT needs no queue entry, which a command could use up,
        // and continues a keeper that somebody outside has stopped.
        sys::kill(self.pid, CONT)
    }

    fn kill_at_once(&self) -> rustix::io::Result<()> {
        sys::kill(self.pid, KILL)
    }

    /// The usage of processes that neither the command nor its children waited for. Valid at the end. `strays`: with
    /// that of children of the supervisor.
    pub fn others(&self, strays: bool) -> Usage {
        let mut all = self.shared.orphans.get();
        if strays {
            all.add(&self.strays.get());
        }
        all
    }

    /// Whether the instance is still being built.
    pub fn is_building(&self) -> bool {
        self.shared.is_building()
    }

    /// Notes that a child of the supervisor has been waited for, and its usage.
    pub fn note_end(&self, pid: Pid, usage: &Usage) {
        if pid == self.pid {
            self.gone.set(true);
        } else {
            let mut strays = self.strays.get();
            strays.add(usage);
            self.strays.set(strays);
        }
    }

    /// Ends the keeper and all processes of the instance, and waits for that. Returns the wait status, unless it was
    /// collected before.
    pub fn end(&self) -> Result<Option<i32>> {
        let failed = "end the instance";
        if self.gone.get() {
            return Ok(None);
        }
        // The keeper ends on this CPU, so that no other CPU must be interrupted: 3 % of a spawn. Only speed depends
        // on it.
        let _ = sys::stay_on_this_cpu(self.pid);
        self.kill().or_fail(failed)?;
        let (mut limit, mut left) = (None, MOMENT);
        loop {
            match sys::wait_signal(set_of(CHLD), Some(left)) {
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(Error::of(failed, errno)),
            }
            // The end of PID 1 is complete when all other processes are gone and have been waited for. Those made
            // with `CLONE_PARENT` are children of the supervisor.
            while let Some((pid, status, usage)) = sys::wait(None).or_fail(failed)? {
                if End::of(status).is_some() {
                    self.note_end(pid, &usage);
                }
                if self.gone.get() {
                    return Ok(Some(status));
                }
            }
            let now = sys::now().or_fail("read the clock")?;
            left = limit.get_or_insert(now.plus(LAST_PATIENCE)).since(now);
            if left == Duration::default() {
                let _ = self.kill_at_once();
                return Err(Error::refused(failed, "a process in it cannot end now")
                    .hint("it may wait for a device, a debugger or a stopped 'selfdock enter'"));
            }
        }
    }
}

fn crowded(error: Error) -> Error {
    error.hint_if(Errno::AGAIN, CROWDED)
}

impl Shared {
    /// The keeper's side, with all signals blocked. Returns only on failure.
    fn keep(&'static self, role: Role) -> Error {
        match self.become_keeper(role) {
            Ok(()) => self.witness(),
            Err(error) => error.hint_if(Errno::NOSPC, TOO_MANY),
        }
    }

    fn become_keeper(&'static self, role: Role) -> Result<()> {
        self.die_with_supervisor()?;
        let failed = "confine the keeper";
        // With another name, `killall selfdock` ends only supervisors.
        rustix::thread::set_name(c"keeper").or_fail(failed)?;
        sys::clear_at_end(&self.answers).or_fail(failed)?;
        if let Role::Init(Init { mut privileged, own_network, empty }) = role {
            if own_network {
                // /proc/1/net shows the network of PID 1.
                privileged.take_up(true)?;
                sys::unshare(namespace::NETWORK).or_fail(failed)?;
            }
            if empty.and_then(|dir| chroot(c_string(dir).ok()?).ok()).is_none() {
                // This directory is empty while no descriptor is open, and nothing is mounted below it.
                chroot(c"/proc/self/fdinfo").or_fail(failed)?;
            }
            chdir(c"/").or_fail(failed)?;
            privileged.renounce()?;
        } else {
            creds::hold_nothing()?;
        }
        // Its children are the orphans of the instance. With SIGCHLD ignored the kernel collects them.
        let of_orphans = if self.counts { Disposition::Default } else { Disposition::Ignored };
        sys::dispose(CHLD, of_orphans).or_fail(failed)?;
        // Also the standard descriptors: a reader of the command's pipe waits for its last writer.
        sys::close_range(0, u32::MAX).or_fail(failed)?;
        self.keeper.open();
        Ok(())
    }

    /// Waits for the orphans that have ended, and adds up their usage.
    fn reap(&self) {
        while let Ok(Some(_)) = sys::wait(None) {}
        if let Ok(used) = sys::usage(Whose::Children) {
            self.orphans.set(&used);
        }
    }

    /// Kills all other processes, waits for them, and ends. Children of a killed process become orphans in a moment.
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
