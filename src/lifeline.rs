//! Ties the end of a process to the end of another one.

use crate::error::{OrFail, Result};
use crate::process::has_ended;
use crate::sys::{self, Disposition, signal};
use rustix::fd::OwnedFd;
use rustix::process::{PidfdFlags, Signal, getpid, getppid, pidfd_open, set_parent_process_death_signal};

/// If the parent is outside the PID namespace, this process is the command of an outer `run` or `enter`, and must end
/// with the outer supervisor. exec of a set-uid program and changes of ids clear the parent-death signal, so it is
/// set again when the ids are final. `prctl(2)`, `PR_SET_PDEATHSIG`
pub fn end_with_the_outer_supervisor() -> Result<()> {
    if getppid().is_some() {
        return Ok(());
    }
    let signal = Some(Signal::KILL);
    set_parent_process_death_signal(signal).or_fail("end with the outer supervisor")
}

/// Resets SIGCHLD. If it were ignored, the exit status would be lost.
pub fn expect_end() -> Result<()> {
    sys::dispose(signal::CHLD, Disposition::Default).or_fail("reset SIGCHLD")
}

/// A pidfd of this process, the supervisor, which becomes ready when it has ended.
pub fn supervisor_pidfd() -> Result<OwnedFd> {
    pidfd_open(getpid(), PidfdFlags::empty()).or_fail("watch the supervisor")
}

/// Asks the kernel to kill this process when the supervisor ends. Later changes only drop capabilities, which keeps
/// the signal; `prctl(2)`, `PR_SET_PDEATHSIG`. If the supervisor has ended already, no signal comes. Returns whether it
/// is still there.
pub fn die_with_supervisor(supervisor: &OwnedFd) -> Result<bool> {
    let failed = "tie the joiner to its supervisor";
    let signal = Some(Signal::KILL);
    set_parent_process_death_signal(signal).or_fail(failed)?;
    Ok(!has_ended(supervisor).or_fail(failed)?)
}
