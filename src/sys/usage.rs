//! The resource usage of processes, from the kernel.

use super::{as_register, call, nr};
use crate::usage::Usage;
use core::ptr;
use rustix::io::Result;
use rustix::process::Pid;

/// The kernel's `struct rusage`. getrusage(2)
#[repr(C)]
#[derive(Default)]
struct RawUsage {
    /// Seconds and microseconds.
    user: [i64; 2],
    system: [i64; 2],
    peak: i64,
    _not_kept_1: [i64; 3],
    minor_faults: i64,
    major_faults: i64,
    _not_kept_2: [i64; 6],
    voluntary_switches: i64,
    involuntary_switches: i64,
}

impl RawUsage {
    fn to_usage(&self) -> Usage {
        let microseconds = |[whole, parts]: [i64; 2]| whole.saturating_mul(1_000_000).saturating_add(parts);
        Usage::new([
            microseconds(self.user),
            microseconds(self.system),
            self.minor_faults,
            self.major_faults,
            self.voluntary_switches,
            self.involuntary_switches,
            self.peak,
        ])
    }
}

/// Whose usage.
#[derive(Clone, Copy)]
pub enum Whose {
    /// `RUSAGE_SELF`
    Own,
    /// `RUSAGE_CHILDREN`: the children that were waited for, and those that they waited for.
    Children,
}

/// Reads the usage so far. getrusage(2)
pub fn usage(whose: Whose) -> Result<Usage> {
    let who = match whose {
        Whose::Own => 0,
        Whose::Children => usize::MAX,
    };
    let mut usage = RawUsage::default();
    // SAFETY: writes a struct rusage of 144 bytes, of this frame.
    unsafe { call(nr::GETRUSAGE, [who, ptr::from_mut(&mut usage) as usize, 0, 0, 0, 0]) }?;
    Ok(usage.to_usage())
}

/// Collects one child that ended or stopped, without waiting: this one, or any. Returns its PID, its wait status, and
/// its usage with that of its children. wait4(2).
pub fn wait(pid: Option<Pid>) -> Result<Option<(Pid, i32, Usage)>> {
    const WNOHANG_UNTRACED: usize = 1 | 2;
    let mut status = 0i32;
    let mut usage = RawUsage::default();
    let whom = pid.map_or(usize::MAX, |pid| as_register(pid.as_raw_nonzero().get()));
    // SAFETY: writes an int and a struct rusage of 144 bytes, both of this frame.
    let found = unsafe {
        call(
            nr::WAIT4,
            [
                whom,
                ptr::from_mut(&mut status) as usize,
                WNOHANG_UNTRACED,
                ptr::from_mut(&mut usage) as usize,
                0,
                0,
            ],
        )
    }?;
    Ok(i32::try_from(found).ok().and_then(Pid::from_raw).map(|pid| (pid, status, usage.to_usage())))
}
