//! Who ends with whom.

use crate::error::{Error, OrFail, Result};
use crate::process::has_ended;
use crate::sys::{self, Disposition, signal};
use rustix::fd::OwnedFd;
use rustix::process::{PidfdFlags, Signal, getpid, getppid, pidfd_open, set_parent_process_death_signal};

/// A process whose parent is outside of the PID namespace was started by `run` or `enter`, and ends
/// with its supervisor. Exec of a set-uid program undid that, and so do changes of ids: the wish is
/// renewed as soon as these are done. `prctl(2)`, `PR_SET_PDEATHSIG`
pub fn end_with_the_outer_supervisor() -> Result<()> {
    if getppid().is_some() {
        return Ok(());
    }
    let signal = Some(Signal::KILL);
    set_parent_process_death_signal(signal).or_fail("end with the outer supervisor")
}

/// An ignored SIGCHLD would be inherited, and the exit status lost.
pub fn expect_end() -> Result<()> {
    sys::dispose(signal::CHLD, Disposition::Default).or_fail("reset SIGCHLD")
}

/// Becomes ready when this process has ended.
pub fn own_life() -> Result<OwnedFd> {
    pidfd_open(getpid(), PidfdFlags::empty()).or_fail("watch the supervisor")
}

/// Asks the kernel to kill this process when the supervisor is gone. What is permitted is only
/// reduced from here on, which keeps the wish; `prctl(2)`,
/// `PR_SET_PDEATHSIG`. It may be gone already: then nobody would tell.
pub fn die_with_supervisor(life: &OwnedFd) -> Result<()> {
    let failed = "tie the joiner to its supervisor";
    let signal = Some(Signal::KILL);
    set_parent_process_death_signal(signal).or_fail(failed)?;
    if has_ended(life).or_fail(failed)? {
        return Err(Error::refused(failed, "it is gone"));
    }
    Ok(())
}
