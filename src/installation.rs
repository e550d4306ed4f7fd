//! What an installation has prepared for instances, below the prefix that it wrote into the program: the root
//! directory of the host image, ready made, and the list of what is shown in it. It saves making a dozen files and
//! as many mounts for each instance.
#![forbid(unsafe_code)]

use crate::creds::Privileged;
use crate::files;
use crate::host::DEVICES;
use crate::mount::{Detached, identity, is_mount};
use crate::sources::DEVICE;
use crate::sys;
use crate::text::{Bytes, join};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags, ResolveFlags, Stat, StatVfsMountFlags};

/// The largest list that is read. It is a few hundred bytes, but for an administrator's additions.
const MOST_BYTES: usize = 64 << 10;

/// An installation.
#[derive(Clone, Copy, Debug)]
pub struct Installation {
    prefix: Bytes,
}

impl Installation {
    /// That of this program, if it is installed. The prefix is part of the program, and so to be trusted as that is.
    pub fn of_this_program() -> Option<Self> {
        let prefix = sys::prefix();
        (!prefix.is_empty()).then_some(Self { prefix })
    }

    /// That of the program at a path, wherever that is: to tell of it only.
    pub fn around(program: &[u8]) -> Self {
        Self { prefix: join(&[files::parent(files::parent(program))]) }
    }

    /// Where selfdock itself is.
    pub fn program(self) -> Bytes {
        join(&[self.prefix, b"/bin/selfdock"])
    }

    /// Where the root directory of the host image is, or something in it.
    pub fn root(self, part: &[u8]) -> Bytes {
        join(&[self.prefix, b"/lib/selfdock/root", part])
    }

    /// The list of what the host image shows, as [`crate::host::entries`] reads it. To be read with no capability in
    /// effect, as an outer instance could show something else there.
    pub fn list(self) -> Option<Bytes> {
        let path = join(&[self.prefix, b"/lib/selfdock/root.list"]);
        let file = files::open(CWD, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let size = usize::try_from(stat.st_size).ok().filter(|size| *size <= MOST_BYTES)?;
        if !is_roots(&stat) || !FileType::from_raw_mode(stat.st_mode).is_file() {
            return None;
        }
        files::read(file.as_fd(), size, MOST_BYTES).ok()
    }

    /// A copy of the prepared root directory, or of its `/dev`, without what may be mounted there. It must be root's,
    /// and writable to nobody else.
    pub fn copy(self, privileged: &Privileged, part: &[u8]) -> Option<Prepared> {
        let dir = open(self.root(part))?;
        if !is_roots(&rustix::fs::fstat(&dir).ok()?) {
            return None;
        }
        if takes_devices(&dir) {
            let tree = Detached::copy_one(privileged, dir, b"", DEVICE).ok()?;
            return Some(Prepared { tree, nested: false });
        }
        // Seen from inside of an instance, where devices do not work on it. They do on the outer one's own. It must be
        // the same directory; and a mount on which devices work, as a caller can show another at that place, and what
        // is mounted in it would be uncovered; and there may be nothing mounted that covers a device.
        let outer = open(if part.is_empty() { b"/" } else { part })?;
        let dev = open(b"/dev")?;
        let is_free = |name: &str| is_mount(dev.as_fd(), name.as_bytes()) == Ok(false);
        let is_same = identity(&outer).ok()? == identity(&dir).ok()?;
        if !is_same || !takes_devices(&outer) || !DEVICES.iter().all(|(name, ..)| is_free(name)) {
            return None;
        }
        let tree = Detached::copy_one(privileged, outer, b"", DEVICE).ok()?;
        Some(Prepared { tree, nested: true })
    }
}

/// A copy of what an installation has prepared.
pub struct Prepared {
    /// The copy.
    pub tree: Detached,
    /// It is of an outer instance's.
    pub nested: bool,
}

/// A directory, to which no link leads.
fn open(path: &[u8]) -> Option<OwnedFd> {
    files::place(CWD, path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS).ok()
}

/// Whether device nodes work there.
fn takes_devices(dir: &OwnedFd) -> bool {
    rustix::fs::fstatvfs(dir).is_ok_and(|about| !about.f_flag.contains(StatVfsMountFlags::NODEV))
}

/// Root's, and writable to nobody else.
fn is_roots(stat: &Stat) -> bool {
    stat.st_uid == 0 && stat.st_mode & 0o022 == 0
}
