//! Descriptors and the current directory.

use super::{call, nr};
use alloc::vec::Vec;
use rustix::fd::{BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::{Errno, Result};

/// Closes every descriptor from `first` to `last`. `close_range(2)`.
pub fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: descriptors are numbers to the kernel. No owned descriptor is used again: the
    // callers are about to exec or keep none.
    unsafe { call(nr::CLOSE_RANGE, [first as usize, last as usize, 0, 0, 0, 0]) }.map(drop)
}

/// Whether a descriptor is open. fcntl(2), `F_GETFD`.
pub fn is_open(fd: u32) -> Result<()> {
    const F_GETFD: usize = 1;
    // SAFETY: a number, and nothing is written.
    unsafe { call(nr::FCNTL, [fd as usize, F_GETFD, 0, 0, 0, 0]) }.map(drop)
}

/// Whether a descriptor is a terminal. `ioctl_tty(2)`, `TCGETS`.
pub fn is_terminal(fd: u32) -> bool {
    const TCGETS: usize = 0x5401;
    // struct termios of the kernel is 36 bytes.
    let mut state = [0u8; 64];
    // SAFETY: the kernel writes at most the 36 bytes to this frame.
    unsafe { call(nr::IOCTL, [fd as usize, TCGETS, state.as_mut_ptr() as usize, 0, 0, 0]) }.is_ok()
}

/// The first descriptor that is not a standard one.
const FIRST: usize = 3;

/// Duplicates a descriptor, to one above the standard ones that is closed at exec. fcntl(2), `F_DUPFD_CLOEXEC`.
pub fn duplicate(fd: u32) -> Result<OwnedFd> {
    const F_DUPFD_CLOEXEC: usize = 1030;
    // SAFETY: two numbers; the new descriptor belongs to nobody else yet.
    unsafe {
        let new = call(nr::FCNTL, [fd as usize, F_DUPFD_CLOEXEC, FIRST, 0, 0, 0])?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(new).map_err(|_| Errno::BADF)?))
    }
}

/// Duplicates a descriptor so that it stays open at exec. Returns the number, from 3 on. fcntl(2), `F_DUPFD`
pub fn duplicate_for_exec(fd: u32) -> Result<u32> {
    const F_DUPFD: usize = 0;
    // SAFETY: two numbers; the new descriptor belongs to nobody else yet, and to nobody here.
    let new = unsafe { call(nr::FCNTL, [fd as usize, F_DUPFD, FIRST, 0, 0, 0]) }?;
    u32::try_from(new).map_err(|_| Errno::MFILE)
}

/// Makes a standard descriptor a duplicate of `from`, which is not a standard one. dup3(2).
pub fn redirect(from: u32, standard: u32) -> Result<()> {
    // SAFETY: two numbers. Nothing owns the standard descriptors.
    unsafe { call(nr::DUP3, [from as usize, standard.min(2) as usize, 0, 0, 0, 0]) }.map(drop)
}

/// The path of the current directory. getcwd(2).
pub fn getcwd() -> Result<Vec<u8>> {
    // Most paths are short. A buffer for the longest would touch one more page.
    let mut path = alloc::vec![0; 256];
    loop {
        // SAFETY: the kernel writes at most that many bytes, and says how many, NUL included.
        match unsafe { call(nr::GETCWD, [path.as_mut_ptr() as usize, path.len(), 0, 0, 0, 0]) } {
            Ok(n) => {
                path.truncate(n.saturating_sub(1));
                return Ok(path);
            }
            Err(Errno::RANGE) if path.len() < 65536 => path.resize(65536, 0),
            Err(errno) => return Err(errno),
        }
    }
}

/// One of the standard descriptors, 0 to 2.
pub fn standard(fd: i32) -> BorrowedFd<'static> {
    // SAFETY: the start filled 0 to 2 where they were closed, and nothing closes them.
    unsafe { BorrowedFd::borrow_raw(fd.clamp(0, 2)) }
}
