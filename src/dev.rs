//! `/dev` of an instance: a few devices of the host's, own terminals, own shared memory.
#![forbid(unsafe_code)]

use crate::creds::Privileged;
use crate::error::{OrFail, Result, on};
use crate::files;
use crate::host::LINKS;
use crate::mount::{self, Detached, Kind, make_entry};
use crate::plan::Tmpfs;
use crate::sources::{DEVICE, Device};
use crate::stage::Stage;
use crate::text::join;
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};

/// The piece of the instance's tmpfs from which `/dev` is put together.
const DEV: &[u8] = b"dev";

/// Where `/dev` comes from.
pub enum Dev {
    /// In the prepared root directory.
    InRoot,
    /// From the installation.
    Prepared(Detached),
    /// Put together, from these devices of the host's.
    Assembled(Vec<Device>),
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
        make_entry(&dir, b"console", Kind::File)?;
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
    let attach = |stage: &mut Stage<'_>, tree: Detached| {
        let target = stage.own_mount_point("/dev")?;
        tree.attach(privileged, &target).or_fail("mount on '/dev'")
    };
    let (dev, pts, own_shm) = match dev {
        Dev::InRoot => (None, c"/dev/pts", c"/dev/shm"),
        Dev::Prepared(tree) => (Some(attach(stage, tree)?), c"pts", c"shm"),
        Dev::Assembled(devices) => {
            let target = stage.own_mount_point("/dev")?;
            (Some(assemble(stage, privileged, &target, devices)?), c"pts", c"shm")
        }
    };
    if let Some(dev) = &dev {
        rustix::process::fchdir(dev).or_fail("enter '/dev'")?;
    }
    mount::devpts_on(privileged, pts).or_fail("mount on '/dev/pts'")?;
    mount::tmpfs_on(privileged, own_shm, shm).or_fail("mount on '/dev/shm'")?;
    for device in more {
        let path = join(&[b"/dev/", device.path]);
        let failed = on("show the device {}", path);
        let target = stage.mount_point(path, device.kind)?;
        device.tree.attach(privileged, target).or_fail(failed)?;
    }
    Ok(())
}
