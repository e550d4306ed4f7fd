//! `/dev` of an instance: a few devices of the host's, own terminals, own shared memory.
#![forbid(unsafe_code)]

use crate::creds::Privileged;
use crate::error::{OrFail, Result, on};
use crate::files;
use crate::host::{DEVICES, LINKS};
use crate::mount::{self, Detached, Kind, find, identity, is_mount, make_entry};
use crate::plan::Tmpfs;
use crate::sources::{DEVICE, Device};
use crate::stage::Stage;
use crate::text::join;
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags, ResolveFlags, StatVfsMountFlags};

/// The `/dev` that an installation brings along, below its prefix: devices, links and two
/// places to mount on. It saves making a dozen files and as many mounts for each instance.
const PREPARED: &[u8] = b"/lib/selfdock/dev";

/// The piece of the instance's tmpfs from which `/dev` is put together.
const DEV: &[u8] = b"dev";

/// Where `/dev` comes from.
pub enum Dev {
    /// From the installation.
    Prepared(Detached),
    /// Put together, from these devices of the host's.
    Assembled(Vec<Device>),
}

/// The directory that an installation has prepared.
pub struct Prepared {
    dir: OwnedFd,
    /// It is seen from inside of an instance, where devices do not work on it.
    pub nested: bool,
}

impl Prepared {
    /// That of the program at `path`, whose prefix is two levels up. It must be root's, and
    /// writable to nobody else.
    pub fn find(path: &[u8]) -> Option<Self> {
        let place = join(&[files::parent(files::parent(path)), PREPARED]);
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let dir = files::place(CWD, place, flags, ResolveFlags::NO_SYMLINKS).ok()?;
        let stat = rustix::fs::fstat(&dir).ok()?;
        let nested = rustix::fs::fstatvfs(&dir).ok()?.f_flag.contains(StatVfsMountFlags::NODEV);
        (stat.st_uid == 0 && stat.st_mode & 0o022 == 0).then_some(Prepared { dir, nested })
    }

    /// An empty directory of root's: where terminals go in a `/dev`. Not what a caller may
    /// have mounted over it in an outer instance.
    pub fn empty(&self) -> Option<OwnedFd> {
        let rules = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        files::place(self.dir.as_fd(), b"pts", OFlags::PATH | OFlags::DIRECTORY, rules).ok()
    }

    /// A copy of it as a `/dev`.
    pub fn copy(&self, privileged: &Privileged) -> Option<Detached> {
        if self.nested {
            return self.copy_of_outer(privileged);
        }
        Detached::copy(privileged, &self.dir, b"", DEVICE).ok()
    }

    /// Inside of an instance devices work on the outer one's `/dev`, and that is copied if it
    /// is the prepared one. Without the mounts in it, of which terminals and shared memory are
    /// replaced; so there may be none that covers a device.
    fn copy_of_outer(&self, privileged: &Privileged) -> Option<Detached> {
        let dev = find(b"/dev", OFlags::DIRECTORY).ok()?;
        let is_free = |name: &str| is_mount(dev.as_fd(), name.as_bytes()) == Ok(false);
        let same = identity(&dev).ok()? == identity(&self.dir).ok()?;
        if same && DEVICES.iter().all(|(name, ..)| is_free(name)) {
            return Detached::copy_one(privileged, &dev, DEVICE).ok();
        }
        None
    }
}

/// Puts a `/dev` together at `target`, from a directory in the tmpfs of the instance.
fn assemble(
    stage: &mut Stage<'_>,
    privileged: &Privileged,
    target: &OwnedFd,
    devices: Vec<Device>,
) -> Result<OwnedFd> {
    let failed = "make '/dev'";
    let dir = stage.make_piece(DEV, Kind::Directory)?;
    let fill = || {
        make_entry(&dir, b"pts", Kind::Directory)?;
        make_entry(&dir, b"shm", Kind::Directory)?;
        for (link, target) in LINKS {
            files::make_link(target.as_bytes(), dir.as_fd(), link.as_bytes())?;
        }
        devices.iter().try_for_each(|device| make_entry(&dir, device.path, device.kind))
    };
    fill().or_fail(failed)?;
    let dev = stage.piece(DEV, DEVICE)?.attach(privileged, target).or_fail("mount on '/dev'")?;
    for device in devices {
        let failed = on("show the device {}", device.path);
        device.tree.attach_at(privileged, &dev, device.path).or_fail(failed)?;
    }
    Ok(dev)
}

/// Mounts it. `more` are the devices that the caller asks for.
pub fn mount(
    stage: &mut Stage<'_>,
    privileged: &Privileged,
    dev: Dev,
    more: Vec<Device>,
    shm: &Tmpfs,
) -> Result<()> {
    let target = stage.own_mount_point("/dev")?;
    let dev = match dev {
        Dev::Prepared(tree) => tree.attach(privileged, &target).or_fail("mount on '/dev'")?,
        Dev::Assembled(devices) => assemble(stage, privileged, &target, devices)?,
    };
    rustix::process::fchdir(&dev).or_fail("enter '/dev'")?;
    mount::devpts_on(privileged, c"pts").or_fail("mount on '/dev/pts'")?;
    mount::tmpfs_on(privileged, c"shm", shm).or_fail("mount on '/dev/shm'")?;
    for device in more {
        let path = join(&[b"/dev/", device.path]);
        let failed = on("show the device {}", path);
        let target = stage.mount_point(path, device.kind)?;
        device.tree.attach(privileged, target).or_fail(failed)?;
    }
    Ok(())
}
