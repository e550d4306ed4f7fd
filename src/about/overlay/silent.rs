//! File systems that another program or machine serves: FUSE, network file systems, autofs. They may never answer, and
//! nothing can end a process that waits for them. A copy needs answers, while an instance does not. So a process of its
//! own asks, and what has not answered in a second is left out.

use super::super::outside::stand_apart;
use crate::descriptors::number_of;
use crate::files;
use crate::mount::may_be_silent;
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal, waitpid};

/// How long a file system has to answer.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Whether such a file system is mounted there, and does not answer this caller.
pub fn is_silent(dir: BorrowedFd<'_>, path: &[u8]) -> bool {
    may_be_silent(dir, path) && !answers(dir, path)
}

/// Whether the caller can look at a file or directory. Does not wait for long.
fn answers(dir: BorrowedFd<'_>, path: &[u8]) -> bool {
    // Only a descriptor that is not a standard one stays open in the other process.
    let start: &[u8] = if path.starts_with(b"/") { b"/" } else { b"." };
    let Ok(from) = files::open(dir, start, OFlags::PATH) else { return false };
    let ask = || {
        let ask = || {
            let file = files::open(from.as_fd(), path, OFlags::PATH)?;
            rustix::fs::fstatfs(&file)?;
            rustix::fs::fstat(&file)
        };
        // Until it has an answer, nobody can end this process. It must hold no pipe of the caller.
        u8::from(!matches!(stand_apart(&[number_of(&from)]).map(|()| ask()), Ok(Ok(_))))
    };
    let asked = || {
        let child = sys::start_child_apart(ask)?;
        let child_pidfd = pidfd_open(child, PidfdFlags::empty())?;
        let ended = |limit| poll(&mut [PollFd::new(&child_pidfd, PollFlags::IN)], Some(limit)) == Ok(1);
        let has_ended = ended(&PATIENCE);
        if !has_ended {
            pidfd_send_signal(&child_pidfd, Signal::KILL)?;
            if !ended(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }) {
                return Ok(false);
            }
        }
        let status = waitpid(Some(child), crate::report::WCLONE)?;
        Ok::<_, Errno>(status.is_some_and(|(_, status)| status.exit_status() == Some(0)))
    };
    asked().unwrap_or(false)
}
