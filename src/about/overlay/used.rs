//! One run at a time uses a directory of changes. Two overlays with the same upper layer would break each other: the
//! second one clears the first one's work directory. Documentation/filesystems/overlayfs.rst, "Sharing and copying
//! layers".
//!
//! A lock says that a run uses the directory. It has to live as long as the copy, and selfdock closes all descriptors.
//! So a process outside holds the lock. It waits for the end of the supervisor, and then until the kernel has unmounted
//! the copy: the kernel tells that to a watch on it. So a killed run leaves no lock. flock(2), inotify(7), `IN_UNMOUNT`

use super::super::outside::{stand_apart, start_orphan};
use super::{LITERALLY, ORIGIN, Room, WORK, open, want_of_rights};
use crate::descriptors::number_of;
use crate::error::{Error, Operation, OrFail, Result, on};
use crate::files::{self, Identity};
use crate::process::read;
use crate::sys::{self, Duration};
use crate::text::{Bytes, c_string, decimal, join, number};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, inotify};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};

/// A directory of changes that this run uses.
pub struct Kept<'a> {
    /// Its path, which another process may give to another directory.
    dir: &'a [u8],
    /// The absolute path of what is copied.
    origin: Bytes,
    /// Whether it had no changes before.
    pub is_new: bool,
    /// The directory that is locked.
    locked: Identity,
    /// Watches the copies. A kernel can be without watches; then the end of the supervisor counts.
    watch: Option<OwnedFd>,
}

/// The permissions of the directory that is locked. Who can open it can lock it, and then nobody could use it.
pub const MODE: Mode = Mode::RWXU;

/// How long to wait for the end of a run. The kernel unmounts a copy some milliseconds after the end of its instance.
const PATIENCE: Duration = Duration { seconds: 2, nanoseconds: 0 };

impl<'a> Kept<'a> {
    /// Takes a directory of changes for the instance whose supervisor this process becomes.
    pub fn take(dir: &'a [u8], place: &OwnedFd, origin: Bytes) -> Result<Self> {
        let failed = on("keep changes in {}", dir);
        let lock = open_work(place, failed)?;
        is_new(place, origin, failed)?;
        let _ = rustix::fs::fchmod(&lock, MODE);
        let until = sys::now().or_fail("read the clock")?.plus(PATIENCE);
        // A file system without locks is used without one.
        while flock(&lock, FlockOperation::NonBlockingLockExclusive) == Err(Errno::AGAIN) {
            if until.left().or_fail("read the clock")? == Duration::default() {
                return Err(Error::refused(failed, "another run uses it"));
            }
            let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }));
        }
        // Another run could have made the link until now.
        let is_new = is_new(place, origin, failed)?;
        let watch = match inotify::init(inotify::CreateFlags::CLOEXEC) {
            Err(Errno::NOSYS) => None,
            watch => {
                Some(watch.or_fail(on("keep changes in {}: watch the copy", dir)).map_err(want_of_watches)?)
            }
        };
        let own_pidfd = pidfd_open(getpid(), PidfdFlags::empty()).or_fail(failed)?;
        let mut kept = alloc::vec![number_of(&lock), number_of(&own_pidfd)];
        kept.extend(watch.as_ref().map(number_of));
        let hold = || {
            while poll(&mut [PollFd::new(&own_pidfd, PollFlags::IN)], None) == Err(Errno::INTR) {}
            while let Some(watch) = watch.as_ref().filter(|watch| watches(watch)) {
                // One event at least is to come, when the kernel removes the watch.
                let _ = rustix::io::read(watch, &mut [0u8; 4096][..]);
            }
            0
        };
        let locked = files::identity(&lock).or_fail(failed)?;
        start_orphan("start the process that holds the changes", || stand_apart(&kept), hold)?;
        Ok(Kept { dir, origin, is_new, locked, watch })
    }

    /// Opens the directory in the mount namespace of this process. The lock counts for one directory, whatever has its
    /// path now.
    pub fn room(&self) -> Result<Room> {
        let failed = on("keep changes in {}", self.dir);
        let room = Room::of(open(self.dir).or_fail(failed)?)?;
        if files::identity(&room.works) != Ok(self.locked) {
            return Err(Error::refused(failed, "another directory has taken its place meanwhile"));
        }
        Ok(room)
    }

    /// The error for a directory on a file system that cannot have them, such as another overlay.
    pub fn refuse(&self) -> Error {
        Error::refused(
            on("keep changes in {}", self.dir),
            "its file system cannot hold the changes of a copy",
        )
        .hint("use a directory on another one, such as ext4, xfs, btrfs or tmpfs")
    }

    /// Marks the directory as one that has the changes of its source, once everything in it is prepared.
    pub fn mark(&self, room: &Room) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let failed = on("keep changes in {}", self.dir);
        let place = &room.dir;
        match files::make_link(self.origin, place.as_fd(), ORIGIN) {
            // Of another run, on a file system without locks.
            Err(Errno::EXIST) if files::link_target(place.as_fd(), ORIGIN) == Ok(self.origin) => Ok(()),
            made => made.or_fail(failed).map_err(want_of_rights),
        }
    }

    /// Notes that a copy uses the directory.
    pub fn holds(&self, copy: &OwnedFd) -> Result<()> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let top = join(&[files::name_of(copy), b"/."]);
        c_string(top)
            .and_then(|top| inotify::add_watch(watch, top, inotify::WatchFlags::DELETE_SELF))
            .or_fail(on("keep changes in {}: watch the copy", self.dir))
            .map(drop)
            .map_err(want_of_watches)
    }
}

/// Without a watch another run could use the directory while this copy is still mounted. inotify(7)
fn want_of_watches(error: Error) -> Error {
    error
        .hint_if(Errno::MFILE, "fs.inotify.max_user_instances or the limit of open files is reached")
        .hint_if(Errno::NOSPC, "fs.inotify.max_user_watches is reached")
}

/// Whether a directory of changes has none yet. It is an error if it has those of another directory, or is none.
pub fn is_new(place: &OwnedFd, origin: Bytes, failed: Operation<'_>) -> Result<bool> {
    match files::link_target(place.as_fd(), ORIGIN) {
        Ok(known) if known == origin => Ok(false),
        Ok(_) | Err(Errno::INVAL) => Err(Error::refused(failed, "it has the changes of another directory")),
        Err(Errno::NOENT) => check_work(place, failed).map(|()| true),
        Err(errno) => Err(Error::of(failed, errno)),
    }
}

fn open_work(place: &OwnedFd, failed: Operation<'_>) -> Result<OwnedFd> {
    files::open_path(place.as_fd(), WORK, OFlags::RDONLY | OFlags::DIRECTORY, LITERALLY)
        .or_fail(failed)
        .map_err(|e| e.hint_if(Errno::LOOP, "selfdock follows no links in a directory of changes"))
}

/// Refuses a work directory that no run has made. One that was killed can have left numbers in it.
fn check_work(place: &OwnedFd, failed: Operation<'_>) -> Result<()> {
    let work = match open_work(place, failed) {
        Err(error) if error.errno() == Some(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    files::each_entry(work.as_fd(), failed, &mut |name| match number(name, 10) {
        Some(_) => Ok(()),
        None => Err(Error::refused(failed, "selfdock has not made what is in 'work'")
            .hint("use a directory that is new or empty")),
    })
}

/// Whether something is still watched. proc(5), `/proc/PID/fdinfo`
fn watches(watch: &OwnedFd) -> bool {
    let info = read(join(&[b"/proc/self/fdinfo/", decimal(number_of(watch))])).unwrap_or_default();
    info.split(|b| *b == b'\n').any(|line| line.starts_with(b"inotify "))
}
