//! Signals: those that selfdock knows by name, masks, waiting, sending. signal(7)

use super::time::Duration;
use super::{NULL, arch, as_register, call, nr};
use core::ptr;
use rustix::io::Result;
use rustix::process::Pid;

/// `SIGHUP`
pub const HUP: i32 = 1;
/// `SIGINT`
pub const INT: i32 = 2;
/// `SIGQUIT`
pub const QUIT: i32 = 3;
/// `SIGKILL`
pub const KILL: i32 = 9;
/// `SIGSEGV`
pub const SEGV: i32 = 11;
/// `SIGSYS`
pub const SYS: i32 = 31;
/// `SIGPIPE`
pub const PIPE: i32 = 13;
/// `SIGALRM`
pub const ALRM: i32 = 14;
/// `SIGTERM`
pub const TERM: i32 = 15;
/// `SIGXCPU`
pub const XCPU: i32 = 24;
/// `SIGXFSZ`
pub const XFSZ: i32 = 25;
/// `SIGCHLD`
pub const CHLD: i32 = 17;
/// `SIGCONT`
pub const CONT: i32 = 18;
/// `SIGSTOP`
pub const STOP: i32 = 19;
/// `SIGTSTP`
pub const TSTP: i32 = 20;
/// `SIGTTOU`
pub const TTOU: i32 = 22;
/// `SIGURG`
pub const URG: i32 = 23;
/// `SIGWINCH`
pub const WINCH: i32 = 28;
/// `SIGRTMAX`, which is taken last.
pub const LAST: i32 = 64;

/// A set of signals: bit N-1 is signal N. The kernel's `sigset_t`.
pub type SignalSet = u64;

/// Every signal there is.
pub const ALL_SIGNALS: SignalSet = !0;

/// The set with only this signal.
pub const fn set_of(signal: i32) -> SignalSet {
    1 << (signal - 1)
}

/// The signals of a write: to a pipe without a reader, beyond the limit for a file, and in the background to a terminal
/// that stops such writers. While they are blocked, the first two writes fail, and the third succeeds. `termios(3)`,
/// `TOSTOP`
pub const BY_WRITING: SignalSet = set_of(PIPE) | set_of(XFSZ) | set_of(TTOU);

/// The signals that users and service managers send to end a program.
pub const ENDING: SignalSet = set_of(HUP) | set_of(INT) | set_of(QUIT) | set_of(TERM);

/// Sets the mask of blocked signals. sigprocmask(2).
pub fn block_only(set: SignalSet) -> Result<()> {
    exchange_mask(set).map(drop)
}

/// Sets the mask, and returns the old one.
pub fn exchange_mask(set: SignalSet) -> Result<SignalSet> {
    const SIG_SETMASK: usize = 2;
    let mut before: SignalSet = 0;
    let (new, old) = (ptr::from_ref(&set) as usize, ptr::from_mut(&mut before) as usize);
    // SAFETY: reads eight bytes of this frame, and writes eight others.
    unsafe { call(nr::RT_SIGPROCMASK, [SIG_SETMASK, new, old, 8, 0, 0]) }?;
    Ok(before)
}

/// Runs `act` with SIGALRM unblocked, and sends SIGALRM to this process after a moment, again and again. The signal
/// does nothing, but ends a system call that waits: EINTR, or what was written so far. It is sent again because it can
/// come before the call. If there can be no timer, `act` may wait. So it may if the caller has set an alarm, which
/// passes to a new program, and ends this one. setitimer(2), alarm(2)
pub fn interrupted<T>(act: impl FnOnce() -> T) -> T {
    const SIG_UNBLOCK: usize = 1;
    /// Ten milliseconds.
    const MOMENT: usize = 10_000;
    extern "C" fn handle(_: i32) {}
    // struct itimerval: seconds and microseconds of the interval, and of the time to the first signal.
    let time = |new: [usize; 4]| {
        let mut old = [0; 4];
        // SAFETY: reads the 32 bytes of this frame, and writes 32 others. ITIMER_REAL is 0.
        let set =
            unsafe { call(nr::SETITIMER, [0, new.as_ptr() as usize, old.as_mut_ptr() as usize, 0, 0, 0]) };
        set.map(|_| old)
    };
    match time([0; 4]) {
        Ok([0, 0, 0, 0]) => {}
        Ok(alarm) => {
            let _ = time(alarm);
            return act();
        }
        Err(_) => return act(),
    }
    let [flags, restorer] = arch::after_handler();
    let exchange_action = |new: [usize; 4]| {
        let mut old = [0; 4];
        let (signal, new, old_at) = (as_register(ALRM), new.as_ptr() as usize, old.as_mut_ptr() as usize);
        // SAFETY: reads the 32 bytes of this frame, and writes 32 others. The handler changes nothing, and lives as
        // long as the program. It returns to `restorer`, which is code for that.
        unsafe { call(nr::RT_SIGACTION, [signal, new, old_at, 8, 0, 0]) }.map(|_| old)
    };
    let Ok(action) = exchange_action([handle as *const () as usize, flags, restorer, 0]) else {
        return act();
    };
    let (set, mut mask): (SignalSet, SignalSet) = (set_of(ALRM), 0);
    let (new, old) = (ptr::from_ref(&set) as usize, ptr::from_mut(&mut mask) as usize);
    // SAFETY: reads eight bytes of this frame, and writes eight others.
    let is_open = unsafe { call(nr::RT_SIGPROCMASK, [SIG_UNBLOCK, new, old, 8, 0, 0]) }.is_ok();
    let _ = time([0, MOMENT, 0, MOMENT]);
    let done = act();
    let _ = time([0; 4]);
    if is_open {
        let _ = block_only(mask);
    }
    let _ = exchange_action(action);
    done
}

/// The disposition of a signal. No handler is among them: [`interrupted`] has the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Disposition {
    /// `SIG_DFL`
    Default = 0,
    /// `SIG_IGN`
    Ignored = 1,
}

/// Sets the disposition of a signal. sigaction(2).
pub fn dispose(signal: i32, disposition: Disposition) -> Result<()> {
    // struct sigaction of the kernel: handler, flags, restorer, mask.
    let action = [disposition as usize, 0, 0, 0];
    // SAFETY: reads the 32 bytes of this frame; neither disposition is code.
    unsafe { call(nr::RT_SIGACTION, [as_register(signal), action.as_ptr() as usize, NULL, 8, 0, 0]) }
        .map(drop)
}

/// A signal that was taken from the queue.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    pub signal: i32,
    /// `si_code`: positive from the kernel, 0 by kill(2), [`QUEUED`] by [`queue`]. sigaction(2)
    pub code: i32,
}

/// `SI_QUEUE`
pub const QUEUED: i32 = -1;

/// Waits for one of the signals of `set`, which must be blocked. `rt_sigtimedwait(2)`.
pub fn wait_signal(set: SignalSet, timeout: Option<Duration>) -> Result<Taken> {
    // siginfo_t is 128 bytes: si_signo, si_errno, si_code.
    let mut info = [0i32; 32];
    let limit = timeout.as_ref().map_or(NULL, |t| ptr::from_ref(t) as usize);
    // SAFETY: reads eight bytes of the set and the timespec, and writes at most 128 bytes to
    // `info`; all are of this frame.
    unsafe {
        call(nr::RT_SIGTIMEDWAIT, [ptr::from_ref(&set) as usize, info.as_mut_ptr() as usize, limit, 8, 0, 0])
    }?;
    Ok(Taken { signal: info[0], code: info[2] })
}

/// The pending signals of this process. sigpending(2)
pub fn pending() -> Result<SignalSet> {
    let mut set: SignalSet = 0;
    // SAFETY: writes eight bytes of this frame.
    unsafe { call(nr::RT_SIGPENDING, [ptr::from_mut(&mut set) as usize, 8, 0, 0, 0, 0]) }?;
    Ok(set)
}

/// Sends a signal that can be distinguished from one of kill(2). `rt_sigqueueinfo(2)`
pub fn queue(pid: Pid, signal: i32) -> Result<()> {
    // siginfo_t: si_signo, si_errno, si_code. The rest is unused.
    let mut info = [0i32; 32];
    info[0] = signal;
    info[2] = QUEUED;
    let pid = as_register(pid.as_raw_nonzero().get());
    // SAFETY: reads the 128 bytes of this frame.
    unsafe { call(nr::RT_SIGQUEUEINFO, [pid, as_register(signal), info.as_ptr() as usize, 0, 0, 0]) }
        .map(drop)
}

/// Sends a signal, which may be a real-time one. kill(2).
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: two numbers. What the signal does to us is what it would do from anyone.
    unsafe { call(nr::KILL, [as_register(pid.as_raw_nonzero().get()), as_register(signal), 0, 0, 0, 0]) }
        .map(drop)
}

/// Sends SIGCONT to a process group ([`group_of`](super::group_of)); 0 is that of this process. kill(2)
pub fn continue_group(group: usize) -> Result<()> {
    // SAFETY: two numbers. SIGCONT ends no process.
    unsafe { call(nr::KILL, [group.wrapping_neg(), as_register(CONT), 0, 0, 0, 0]) }.map(drop)
}

/// Sends SIGKILL to every process in this PID namespace except its first and this one. Returns an error if there is
/// none. kill(2), with -1. A process that is just being made is not missed: fork checks for signals under the lock
/// that is held here (`copy_process()`).
pub fn kill_all_others() -> Result<()> {
    // SAFETY: two numbers.
    unsafe { call(nr::KILL, [usize::MAX, as_register(KILL), 0, 0, 0, 0]) }.map(drop)
}

/// Waits until no signal is being sent to a process group: all members have it, or none. `kill_something_info()`
/// holds `tasklist_lock` while it sends, and setpgid(2) takes this lock for writing, here for a process that does not
/// exist.
pub fn let_groups_be_served() {
    const NOBODY: i32 = i32::MAX;
    // SAFETY: two numbers. No PID is as large, so nothing is changed.
    let _ = unsafe { call(nr::SETPGID, [as_register(NOBODY), 1, 0, 0, 0, 0]) };
}
