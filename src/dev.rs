//! `/dev` of an instance: a few devices of the host's, own terminals, own shared memory.
#![forbid(unsafe_code)]

use crate::creds::Privileged;
use crate::error::{OrFail, Result, on};
use crate::files;
use crate::host::LINKS;
use crate::mount::{Detached, Kind, make_entry};
use crate::plan::Tmpfs;
use crate::sources::Device;
use crate::stage::{Stage, piece};
use crate::sys::{self, Reach, Tighten};
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags, ResolveFlags, StatVfsMountFlags};
use rustix::mount::MountAttrFlags;

/// The `/dev` that an installation brings along, below its prefix: devices, links and two
/// places to mount on. It saves making a dozen files and as many mounts for each instance.
const PREPARED: &[u8] = b"/lib/selfdock/dev";

/// Where `/dev` comes from.
pub enum Dev {
    /// From the installation.
    Prepared(Detached),
    /// Put together, from these devices of the host's.
    Assembled(Vec<Device>),
}

/// Finds the prepared `/dev` of the program at `path`, whose prefix is two levels up. It
/// must be root's, writable to nobody else, and on a mount where devices work: inside of an
/// instance none do, so there `/dev` is put together from what the outer one shows.
pub fn prepared(privileged: &Privileged, path: &[u8]) -> Option<Detached> {
    let up = |path: &[u8]| path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    let bin = &path[..up(path)];
    let place = [&bin[..up(bin)], PREPARED].concat();
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let dir = files::place(CWD, &place, flags, ResolveFlags::NO_SYMLINKS).ok()?;
    let stat = rustix::fs::fstat(&dir).ok()?;
    let works = !rustix::fs::fstatvfs(&dir).ok()?.f_flag.contains(StatVfsMountFlags::NODEV);
    if stat.st_uid != 0 || stat.st_mode & 0o022 != 0 || !works {
        return None;
    }
    let attributes = Tighten::RDONLY | Tighten::NOSUID | Tighten::NOEXEC;
    Detached::copy(privileged, &dir, b"").ok()?.tighten(privileged, attributes).ok()
}

/// Puts a `/dev` together at `target`, from a directory in the tmpfs of the instance.
fn assemble(
    stage: &Stage<'_>,
    privileged: &Privileged,
    target: &OwnedFd,
    devices: Vec<Device>,
) -> Result<OwnedFd> {
    let failed = "make '/dev'";
    let dir = stage.make_piece(piece::DEV, Kind::Directory)?;
    let fill = || {
        make_entry(&dir, b"pts", Kind::Directory)?;
        make_entry(&dir, b"shm", Kind::Directory)?;
        for (link, target) in LINKS {
            files::make_link(target.as_bytes(), dir.as_fd(), link.as_bytes())?;
        }
        devices.iter().try_for_each(|device| make_entry(&dir, &device.path, device.kind))
    };
    fill().or_fail(failed)?;
    let dev = stage.piece(piece::DEV)?.attach(privileged, target).or_fail("mount on '/dev'")?;
    for device in devices {
        let failed = on("show the device {}", &device.path);
        device.tree.attach_at(privileged, &dev, &device.path).or_fail(failed)?;
    }
    let attributes = Tighten::set(Tighten::RDONLY | Tighten::NOSUID | Tighten::NOEXEC);
    sys::tighten(&dev, attributes, Reach::Tree).or_fail("make '/dev' read-only")?;
    Ok(dev)
}

/// Mounts it. `more` are the devices that the caller asks for.
pub fn mount(
    stage: &mut Stage<'_>,
    privileged: &Privileged,
    dev: Dev,
    more: Vec<Device>,
    shm: Option<&Tmpfs>,
) -> Result<()> {
    let target = stage.own_mount_point("/dev")?;
    let dev = match dev {
        Dev::Prepared(tree) => tree.attach(privileged, &target).or_fail("mount on '/dev'")?,
        Dev::Assembled(devices) => assemble(stage, privileged, &target, devices)?,
    };
    let options = [("ptmxmode", "0666"), ("mode", "0620")];
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let pts = Detached::fresh(privileged, "devpts", &options, flags)?;
    pts.attach_at(privileged, &dev, b"pts").or_fail("mount on '/dev/pts'")?;
    let shm = match shm {
        Some(options) => Detached::tmpfs(privileged, options)?,
        None => stage.piece(piece::SHM)?,
    };
    shm.attach_at(privileged, &dev, b"shm").or_fail("mount on '/dev/shm'")?;
    for device in more {
        let path = [b"/dev/", &*device.path].concat();
        let failed = on("show the device {}", &path);
        let target = stage.mount_point(&path, device.kind)?;
        let tree = device.tree.tighten(privileged, Tighten::RDONLY | Tighten::NOSUID | Tighten::NOEXEC);
        tree.and_then(|tree| tree.attach(privileged, target)).or_fail(failed)?;
    }
    Ok(())
}
