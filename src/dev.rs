//! `/dev` of an instance: a few devices of the host's, own terminals, own shared memory.
#![forbid(unsafe_code)]

use crate::creds::Privileged;
use crate::error::{OrFail, Result, on};
use crate::files;
use crate::mount::{Detached, Kind, enter, make_entry};
use crate::plan::Tmpfs;
use crate::sources::Device;
use crate::stage::{Stage, piece};
use crate::sys::{self, Reach, Tighten};
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

/// Links that programs expect in `/dev`.
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes the entries of `/dev` in the tmpfs of the instance.
pub fn fill(root: &OwnedFd, devices: &[Device]) -> rustix::io::Result<()> {
    let dev = enter(root, piece::DEV)?;
    make_entry(&dev, b"pts", Kind::Directory)?;
    make_entry(&dev, b"shm", Kind::Directory)?;
    for (link, target) in LINKS {
        files::make_link(target.as_bytes(), dev.as_fd(), link.as_bytes())?;
    }
    for device in devices {
        make_path(&dev, &device.path, device.kind)?;
    }
    Ok(())
}

/// Makes a path below a directory of ours; what exists already is fine.
fn make_path(dir: &OwnedFd, path: &[u8], kind: Kind) -> rustix::io::Result<()> {
    let exists_is_fine = |made| if made == Err(Errno::EXIST) { Ok(()) } else { made };
    for (at, byte) in path.iter().enumerate() {
        if *byte == b'/' {
            exists_is_fine(make_entry(dir, &path[..at], Kind::Directory))?;
        }
    }
    exists_is_fine(make_entry(dir, path, kind))
}

/// Mounts it.
pub fn mount(
    stage: &mut Stage<'_>,
    privileged: &Privileged,
    devices: Vec<Device>,
    shm: Option<&Tmpfs>,
) -> Result<()> {
    let target = stage.own_mount_point("/dev")?;
    let dev = stage.piece(piece::DEV)?.attach(privileged, target).or_fail("mount on '/dev'")?;
    for device in devices {
        let failed = on("show the device {}", &device.path);
        device.tree.attach_at(privileged, &dev, &device.path).or_fail(failed)?;
    }
    let attributes = Tighten::set(Tighten::RDONLY | Tighten::NOSUID | Tighten::NOEXEC);
    sys::tighten(&dev, attributes, Reach::Tree).or_fail("make '/dev' read-only")?;

    let options = [("ptmxmode", "0666"), ("mode", "0620")];
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let pts = Detached::fresh(privileged, "devpts", &options, flags)?;
    pts.attach_at(privileged, &dev, b"pts").or_fail("mount on '/dev/pts'")?;
    let shm = match shm {
        Some(options) => Detached::tmpfs(privileged, options)?,
        None => stage.piece(piece::SHM)?,
    };
    shm.attach_at(privileged, &dev, b"shm").or_fail("mount on '/dev/shm'").map(drop)
}
