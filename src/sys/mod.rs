//! Raw system calls, the start of the process, and its memory. Together with start.rs this is the only unsafe code.
//!
//! Each file has one subject. `arch` has what differs between processors.
//!
//! # Safety
//!
//! Every pointer for the kernel is a reference or a `CStr` of a function in these files, and is alive for the whole
//! call. The kernel refuses numbers that are out of range. Processes that share this memory ([`start_beside`]) are
//! like threads for Rust. Shared data is atomic, or was moved to one of them. Each of them has its own stack. There is
//! no thread-local data. System calls that rustix has with types are made through rustix.

mod entry;
mod libc;
mod confine;
mod memory;
mod mount;
mod process;
pub mod signal;
mod usage;
mod descriptor;
mod ids;
mod time;
mod arch;

pub use confine::*;
pub use descriptor::*;
pub use entry::*;
pub use ids::*;
pub use memory::*;
pub use mount::*;
pub use process::*;
pub use signal::{
    ALL_SIGNALS, Disposition, QUEUED, SignalSet, Taken, block_only, continue_group, dispose, exchange_mask,
    interrupted, kill, kill_all_others, let_groups_be_served, pending, queue, set_of, wait_signal,
};
pub use time::*;
pub use usage::*;

use arch::nr;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::{Errno, Result};

/// One system call.
///
/// # Safety
/// Each pointer argument must be valid for what the call does with it. The call must not change memory that Rust
/// uses in another way.
unsafe fn call(n: usize, a: [usize; 6]) -> Result<usize> {
    // SAFETY: the caller's promise.
    let out = unsafe { arch::call(n, a) };
    if out < 0 { Err(errno(out)) } else { Ok(out.unsigned_abs()) }
}

/// The error of a system call. Errnos are 1 to 4095, so the negated value fits.
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
