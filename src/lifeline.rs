//! Ties the end of a process to the end of another one.

use crate::error::{OrFail, Result};
use crate::sys::{self, Disposition, signal};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

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
