//! What an installation has prepared for instances, below the prefix that it wrote into the program: the root
//! directory of the host image, ready made, and the list of what is shown in it. It saves making a dozen files and
//! as many mounts for each instance.
#![forbid(unsafe_code)]

use crate::creds::Privileged;
use crate::files;
use crate::host::DEVICES;
use crate::mount::{Detached, find, identity, is_mount};
use crate::sources::DEVICE;
use crate::sys;
use crate::text::{Bytes, join};
use rustix::fd::AsFd;
use rustix::fs::{CWD, FileType, OFlags, Stat, StatVfsMountFlags};

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
    pub fn copy(self, privileged: &Privileged, part: &[u8]) -> Option<Detached> {
        let tree = Detached::copy_one(privileged, CWD, self.root(part), DEVICE).ok()?;
        if !is_roots(&rustix::fs::fstat(&tree.0).ok()?) {
            return None;
        }
        if !rustix::fs::fstatvfs(&tree.0).ok()?.f_flag.contains(StatVfsMountFlags::NODEV) {
            return Some(tree);
        }
        // Seen from inside of an instance, where devices do not work on it. They do on the outer one's own, if that is
        // the same directory, and there is nothing mounted that covers one.
        let outer: &[u8] = if part.is_empty() { b"/" } else { part };
        let dev = find(b"/dev", OFlags::DIRECTORY).ok()?;
        let is_free = |name: &str| is_mount(dev.as_fd(), name.as_bytes()) == Ok(false);
        if files::which(outer) != identity(&tree.0) || !DEVICES.iter().all(|(name, ..)| is_free(name)) {
            return None;
        }
        Detached::copy_one(privileged, CWD, outer, DEVICE).ok()
    }
}

/// Root's, and writable to nobody else.
fn is_roots(stat: &Stat) -> bool {
    stat.st_uid == 0 && stat.st_mode & 0o022 == 0
}
