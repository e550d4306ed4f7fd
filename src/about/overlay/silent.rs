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

/// The exit statuses of the process that asks.
const THERE: u8 = 0;
const REFUSED: u8 = 1;
const NOT_ASKED: u8 = 2;

/// How long a file system has to answer.
const PATIENCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What a file system says about a file or directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The caller can look at it.
    There,
    /// It is not there, or the caller may not look at it.
    Refused,
    /// Nothing in time, or it could not be asked, or it does not work now.
    Nothing,
}

/// Whether such a file system is mounted there, and does not answer this caller.
pub fn is_silent(dir: BorrowedFd<'_>, path: &[u8]) -> bool {
    may_be_silent(dir, path) && answer(dir, path) != Answer::There
}

/// Asks for a file or directory without waiting for long.
pub fn answer(dir: BorrowedFd<'_>, path: &[u8]) -> Answer {
    // Only a descriptor that is not a standard one stays open in the other process.
    let start: &[u8] = if path.starts_with(b"/") { b"/" } else { b"." };
    let Ok(from) = files::open(dir, start, OFlags::PATH) else { return Answer::Nothing };
    let ask = || {
        let ask = || {
            let file = files::open(from.as_fd(), path, OFlags::PATH)?;
            rustix::fs::fstatfs(&file)?;
            rustix::fs::fstat(&file)
        };
        // Until it has an answer, nobody can end this process. It must hold no pipe of the caller.
        match stand_apart(&[number_of(&from)]).map(|()| ask()) {
            Ok(Ok(_)) => THERE,
            Ok(Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NOTCONN)) => REFUSED,
            Ok(Err(_)) | Err(_) => NOT_ASKED,
        }
    };
    let asked = || {
        let child = sys::start_child_apart(ask)?;
        let child_pidfd = pidfd_open(child, PidfdFlags::empty())?;
        let ended = |limit| poll(&mut [PollFd::new(&child_pidfd, PollFlags::IN)], Some(limit)) == Ok(1);
        let has_ended = ended(&PATIENCE);
        if !has_ended {
            pidfd_send_signal(&child_pidfd, Signal::KILL)?;
            if !ended(&Timespec { tv_sec: 0, tv_nsec: 100_000_000 }) {
                return Ok(Answer::Nothing);
            }
        }
        let status = waitpid(Some(child), crate::report::WCLONE)?;
        let status =
            status.and_then(|(_, status)| status.exit_status()).and_then(|status| status.try_into().ok());
        Ok::<_, Errno>(match status {
            Some(THERE) => Answer::There,
            Some(REFUSED) => Answer::Refused,
            _ => Answer::Nothing,
        })
    };
    asked().unwrap_or(Answer::Nothing)
}
