//! Which descriptors are open, kept and closed.

use crate::error::{Fault, OrFail, Result, on};
use crate::sys;
use crate::text::decimal;
use alloc::vec::Vec;
use rustix::fd::OwnedFd;
use rustix::io::Errno;

/// Takes up descriptors 0 to 2 where they are closed, so that nothing opened later gets one
/// of these numbers and is then read or written for it. An epoll descriptor is opened
/// without a path, can be neither read nor written, and is closed again at exec: the command
/// finds its descriptors as the caller left them.
pub fn fill_standard_descriptors(placeholders: &mut Vec<OwnedFd>) -> Result<()> {
    for fd in 0..3 {
        if rustix::io::fcntl_getfd(sys::standard(fd)) == Err(Errno::BADF) {
            placeholders.push(placeholder().or_fail("fill a closed standard descriptor")?);
        }
    }
    Ok(())
}

/// A descriptor that is opened without a path and can be neither read nor written.
pub fn placeholder() -> rustix::io::Result<OwnedFd> {
    rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC)
}

/// A descriptor to keep must be open now, before selfdock opens any.
pub fn check_descriptors<E: Fault>(keep: &[u32]) -> Result<(), E> {
    for fd in keep {
        sys::is_open(*fd).map_err(|errno| E::failed(on("keep descriptor {=}", decimal(*fd)), errno))?;
    }
    Ok(())
}

/// Closes all descriptors from 3 on but those to keep.
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
