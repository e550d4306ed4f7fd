//! `/dev` of an instance: a few devices of the host, new terminals (devpts), and new shared memory.

use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, on};
use crate::files::{self, Kind, identity, make_entry};
use crate::host::{DEVICES, LINKS};
use crate::installation::Installation;
use crate::mount::{DEVICE, Detached, find};
use crate::stage::Stage;
use crate::sys;
use crate::text::{Bytes, join};
use alloc::vec::Vec;
use core::ffi::CStr;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags};

/// The directory in the instance's tmpfs from which `/dev` is made.
const DEV: &[u8] = b"dev";

/// A device to bind.
pub struct Device {
    /// Its path below `/dev`, like `null` or `dri`.
    pub path: Bytes,
    /// A copy of its mount.
    pub tree: Detached,
    /// A device, or a directory of them.
    pub kind: Kind,
}

/// The source of `/dev`.
pub enum Dev {
    /// In the prepared root directory.
    InRoot,
    /// The prepared one of the installation.
    Prepared(Detached),
    /// Made from these devices of the host.
    Assembled(Vec<Device>),
}

/// Makes a `/dev` from a directory in the instance's tmpfs, and binds the devices.
fn assemble(stage: &mut Stage, devices: Vec<Device>) -> Result<OwnedFd> {
    let target = stage.own_mount_point("/dev")?;
    let failed = "make '/dev'";
    let dir = stage.make_scratch(DEV, Kind::Directory)?;
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
    let dev =
        stage.copy_of_scratch(DEV, DEVICE)?.attach(stage.privileged(), target).or_fail("mount on '/dev'")?;
    for device in devices {
        let failed = on("bind the device {}", device.path);
        device.tree.attach_at(stage.privileged(), &dev, device.path).or_fail(failed)?;
    }
    Ok(dev)
}

/// The mount points of devpts and tmpfs in `/dev`. Outside the prepared root directory they are relative to `/dev`.
#[derive(Clone, Copy)]
pub struct Places {
    /// For devpts.
    pub pts: &'static CStr,
    /// For the tmpfs of shared memory.
    pub shm: &'static CStr,
}

impl Places {
    /// In the prepared root directory.
    pub const IN_ROOT: Self = Places { pts: c"/dev/pts", shm: c"/dev/shm" };
}

/// Mounts `/dev`. Unless it is in the prepared root directory, it is the current directory of this process
/// afterwards.
pub fn mount(stage: &mut Stage, dev: Dev) -> Result<Places> {
    let attach = |stage: &mut Stage, tree: Detached| {
        let target = stage.own_mount_point("/dev")?;
        tree.attach(stage.privileged(), &target).or_fail("mount on '/dev'")
    };
    let dev = match dev {
        Dev::InRoot => return Ok(Places::IN_ROOT),
        Dev::Prepared(tree) => attach(stage, tree)?,
        Dev::Assembled(devices) => assemble(stage, devices)?,
    };
    rustix::process::fchdir(&dev).or_fail("enter '/dev'")?;
    Ok(Places { pts: c"pts", shm: c"shm" })
}

/// Binds devices that the caller asks for.
pub fn show(stage: &mut Stage, devices: Vec<Device>) -> Result<()> {
    for device in devices {
        let path = join(&[b"/dev/", device.path]);
        let failed = on("bind the device {}", path);
        let target = stage.mount_point(path, device.kind)?;
        device.tree.attach(stage.privileged(), target).or_fail(failed)?;
    }
    Ok(())
}

fn usual_devices(privileged: &Privileged) -> Result<Vec<Device>> {
    let mut devices = Vec::with_capacity(DEVICES.len());
    for (name, major, minor) in DEVICES {
        devices.push(usual_device(name, rustix::fs::makedev(*major, *minor), privileged)?);
    }
    Ok(devices)
}

/// One of the devices that every instance has. Its device number is checked, so that nothing else can take its place.
fn usual_device(name: &'static str, number: u64, privileged: &Privileged) -> Result<Device> {
    let path = join(&[b"/dev/", name.as_bytes()]);
    let failed = on("bind the device {}", path);
    let tree = Detached::copy(privileged, CWD, path, DEVICE).or_fail(failed)?;
    let stat = rustix::fs::fstat(tree.as_fd()).or_fail(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != number {
        return Err(Error::refused(failed, "it is another device"));
    }
    Ok(Device { path: name.as_bytes(), tree, kind: Kind::File })
}

/// The terminal on standard input. It becomes `/dev/console` inside, so that programs find its name. In a nested
/// instance it has that name already. ttyname(3)
pub fn own_terminal(privileged: &Privileged) -> Option<Device> {
    // A descriptor opened with O_PATH allows no ioctl(2), so it is not recognized as a terminal.
    if !sys::is_terminal(0) {
        return None;
    }
    let stat = rustix::fs::fstat(sys::standard(0)).ok()?;
    for path in [files::link_target(CWD, b"/proc/self/fd/0").ok()?, b"/dev/console"] {
        let fd = find(path, OFlags::empty()).ok();
        if let Some(fd) = fd.filter(|fd| identity(fd) == Ok((stat.st_dev, stat.st_ino))) {
            let tree = Detached::copy(privileged, fd, b"", DEVICE).ok()?;
            return Some(Device { path: b"console", tree, kind: Kind::File });
        }
    }
    None
}

/// A device, a socket or a directory of them, that the caller asks for.
pub fn other_device(path: Bytes, privileged: &Privileged) -> Result<Device> {
    let full = join(&[b"/dev/", path]);
    let failed = on("bind the device {}", full);
    let fd = find(full, OFlags::empty()).or_fail(failed)?;
    let stat = rustix::fs::fstat(&fd).or_fail(failed)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Socket => Kind::File,
        _ => return Err(Error::refused(failed, "not a device, socket or directory")),
    };
    let tree = Detached::copy(privileged, &fd, b"", DEVICE).or_fail(failed)?;
    Ok(Device { path, tree, kind })
}

/// Opens the prepared `/dev`, or else the usual devices of the host.
pub fn open(installation: Option<Installation>, privileged: &Privileged) -> Result<Dev> {
    match installation.and_then(|installation| installation.copy(privileged, b"/dev")) {
        Some(prepared) => Ok(Dev::Prepared(prepared.tree)),
        None => usual_devices(privileged).map(Dev::Assembled),
    }
}
