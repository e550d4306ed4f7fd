//! Descriptors that are open at the start, kept, and closed.

use crate::error::{Fault, OrFail, Result, on};
use crate::sys;
use crate::text::decimal;
use alloc::vec::Vec;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;

/// Opens placeholders for closed standard descriptors. Otherwise a file that is opened later would get one of these
/// numbers, and be read or written in its place. The placeholder is an epoll descriptor: it needs no path, can be
/// neither read nor written, and is closed at exec, so the command finds its descriptors as the caller left them.
pub fn fill_standard_descriptors(placeholders: &mut Vec<OwnedFd>) -> Result<()> {
    for fd in 0..3 {
        if rustix::io::fcntl_getfd(sys::standard(fd)) == Err(Errno::BADF) {
            placeholders.push(placeholder().or_fail("fill a closed standard descriptor")?);
        }
    }
    Ok(())
}

/// The number of a descriptor that is open.
pub fn number_of(fd: &impl AsRawFd) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// A descriptor that needs no path, and can be neither read nor written.
pub fn placeholder() -> rustix::io::Result<OwnedFd> {
    rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC)
}

/// Whether a descriptor may be a placeholder. It has no file type, as no other descriptor that programs read or write.
pub fn is_placeholder(fd: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    rustix::fs::fstat(fd).map(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Unknown)
}

/// Checks that descriptors to keep are open, before selfdock opens any.
pub fn check_descriptors<E: Fault>(keep: &[u32]) -> Result<(), E> {
    for fd in keep {
        sys::is_open(*fd).map_err(|errno| E::failed(on("keep descriptor {=}", decimal(*fd)), errno))?;
    }
    Ok(())
}

/// Closes all descriptors from 3 on, except those to keep.
pub fn close_descriptors(keep: &[u32]) -> Result<()> {
    let mut from = 3;
    while let Some(kept) = keep.iter().copied().filter(|fd| *fd >= from).min() {
        if kept > from {
            sys::close_range(from, kept - 1).or_fail("close descriptors")?;
        }
        from = kept + 1;
    }
    sys::close_range(from, u32::MAX).or_fail("close descriptors")
}
