//! Raw system calls, the start of the process and its memory: with start.rs the only unsafe code.
//!
//! One file a subject, and in `arch` what the processor makes different.
//!
//! # Safety
//!
//! What the kernel reads or writes through a pointer here is a reference or a `CStr` of these
//! files' own functions, alive for the whole call; numbers out of range are the kernel's to
//! refuse. Processes that share this memory ([`start_beside`]) are to Rust what threads are:
//! what they share is atomic, or was moved to one of them; each has its own stack, and there is
//! no thread-local data. Calls that rustix types are made through rustix.

mod arch;
mod confine;
mod descriptor;
mod entry;
mod ids;
mod libc;
mod memory;
mod mount;
mod process;
pub mod signal;
mod time;
mod usage;

pub use confine::*;
pub use descriptor::*;
pub use entry::*;
pub use ids::*;
pub use memory::*;
pub use mount::*;
pub use process::*;
pub use signal::{
    ALL_SIGNALS, Disposition, QUEUED, SignalSet, Taken, block_only, dispose, exchange_mask, kill,
    kill_all_others, let_groups_be_served, pending, queue, set_of, wait_signal,
};
pub use time::*;
pub use usage::*;

use arch::nr;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::{Errno, Result};

/// One system call.
///
/// # Safety
/// Each argument that the kernel takes for a pointer must be valid for what the call does
/// with it, and the call must not change memory that Rust believes to own otherwise.
unsafe fn call(n: usize, a: [usize; 6]) -> Result<usize> {
    // SAFETY: the caller's promise.
    let out = unsafe { arch::call(n, a) };
    if out < 0 { Err(errno(out)) } else { Ok(out.unsigned_abs()) }
}

/// The error that a system call gave. Errnos are 1 to 4095, so the negated value fits.
fn errno(out: isize) -> Errno {
    Errno::from_raw_os_error(i32::try_from(-out).unwrap_or(i32::MAX))
}

const NULL: usize = 0;

/// An int as a register holds it, with its sign.
fn as_register(n: i32) -> usize {
    (n as isize).cast_unsigned()
}

fn fd_arg(fd: BorrowedFd<'_>) -> usize {
    as_register(fd.as_raw_fd())
}
