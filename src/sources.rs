//! What the caller named, opened: once, with the caller's rights, before anything of the
//! instance covers it. What comes after works with these descriptors only.
#![forbid(unsafe_code)]

use crate::creds::Privileged;
use crate::dev::Dev;
use crate::error::{Error, OrEnd, OrFail, Result, both, on};
use crate::files;
use crate::handover;
use crate::host::DEVICES;
use crate::host_root::HostRoot;
use crate::installation::Installation;
use crate::mount::{Detached, Identity, Kind, attributes, find, identity};
use crate::names::{self, Names};
use crate::plan::{Mount, Plan, Root, What};
use crate::procfs::Hidden;
use crate::stage::{Layer, make_private};
use crate::sys::{self, Tighten};
use crate::text::{Bytes, join};
use alloc::vec::Vec;
use rustix::fd::AsFd;
use rustix::fs::{CWD, FileType, OFlags};
use rustix::io::Errno;

/// A device to show: its path below `/dev`.
pub struct Device {
    /// `null`, or `dri`.
    pub path: Bytes,
    /// A copy of its mount.
    pub tree: Detached,
    /// A device, or a directory of them.
    pub kind: Kind,
}

/// What the mount of a device gets on top of its own attributes.
pub const DEVICE: u64 = Tighten::RDONLY | Tighten::NOSUID | Tighten::NOEXEC;

/// The root filesystem, opened.
pub enum Image {
    /// The host's, or what is shown of it.
    Host(HostRoot),
    /// A copy of a directory.
    Tree(Detached),
    /// Directories to be laid over each other.
    Layers(Vec<Layer>),
}

/// What an installation has prepared, as far as it is read before anything is raised.
#[derive(Clone, Copy, Default)]
pub struct Shows {
    /// The installation.
    pub installation: Option<Installation>,
    /// What it shows of the host.
    pub list: Option<Bytes>,
}

impl Shows {
    /// Reads it. To be done with no capability in effect.
    pub fn read(installation: Option<Installation>, root: &Root<'_>) -> Self {
        let list = installation.filter(|_| *root == Root::Host).and_then(Installation::list);
        Shows { installation, list }
    }
}

/// Everything that an instance takes from the host.
pub struct Sources {
    /// The caller's current directory.
    pub here: Option<Identity>,
    /// A procfs of the instance's PID namespace, where it cannot be mounted in its place later: in
    /// another root filesystem, whose /proc need not be open to the caller; and in unprivileged
    /// mode, where the kernel gives one to a user namespace only while another can be seen; which may be
    /// the caller's own namespace, too.
    /// `mount_too_revealing()`, fs/namespace.c.
    pub proc: Option<Detached>,
    /// What the caller's hides.
    pub hidden: Hidden,
    /// The root filesystem.
    pub image: Image,
    /// For each mount of the plan; `None` where it needs nothing of the host.
    pub trees: Vec<Option<(Detached, Kind)>>,
    /// The usual devices.
    pub dev: Dev,
    /// Those that were asked for.
    pub devices: Vec<Device>,
    /// The second program, and where it goes: beside selfdock, where that is shown at a place of
    /// its own.
    pub second: Option<(Bytes, Detached)>,
    /// Where host and user names come from.
    pub names: Names,
}

impl Sources {
    /// Opens them, or ends the process.
    pub fn open(
        plan: &Plan<'_>,
        from: Shows,
        program: Option<&[u8]>,
        has_terminal: bool,
        privileged: &Privileged,
    ) -> Self {
        let here = files::which(b".").ok();
        if !plan.mounts.is_empty() || !plan.devices.is_empty() || plan.root != Root::Host {
            // A copy of a tree leaves out what is unbindable, and so shows what that covers. What is private is not.
            make_private(0).or_end();
        }
        let mut trees = Vec::with_capacity(plan.mounts.len());
        for mount in &plan.mounts {
            trees.push(open_mount(mount, privileged).or_end());
        }
        let mut devices = Vec::new();
        if has_terminal {
            devices.extend(own_terminal(privileged));
        }
        for path in &plan.devices {
            devices.push(other_device(path, privileged).or_end());
        }
        let image = open_image(plan, from, program, privileged).or_end();
        let dev = open_dev(&image, from.installation, privileged).or_end();
        let is_shown = plan.root == Root::Host && from.installation.is_some();
        let second = if is_shown { None } else { program.and_then(|path| open_second(path, privileged)) };
        let names = names::open(plan, privileged).or_end();
        let early =
            privileged.in_own_namespace || !matches!(&image, Image::Host(root) if root.keeps_the_old());
        let hidden = Hidden::look(privileged).or_end();
        let proc = if early { Some(hidden.fresh(privileged).or_end()) } else { None };
        Sources { here, proc, hidden, image, trees, dev, devices, second, names }
    }
}

/// In another root filesystem, and where nothing is installed, the second program is not seen unless it is shown.
fn open_second(program: &[u8], privileged: &Privileged) -> Option<(Bytes, Detached)> {
    let file = find(handover::second_program(program).ok()?, OFlags::empty()).ok()?;
    if Kind::of(&file).ok()? != Kind::File {
        return None;
    }
    let tree = Detached::copy(privileged, file, b"", attributes(false)).ok()?;
    Some((handover::beside(program), tree))
}

fn open_mount(mount: &Mount<'_>, privileged: &Privileged) -> Result<Option<(Detached, Kind)>> {
    let What::Bind { src, writable } = mount.what else { return Ok(None) };
    let failed = both("bind {} on {}", src, mount.dst);
    let hint = "--keep-fd N passes a descriptor on";
    let fd = find(src, OFlags::empty()).or_fail(failed).map_err(|e| e.hint_if(Errno::LOOP, hint))?;
    let kind = Kind::of(&fd).or_fail(failed)?;
    let tree = Detached::copy(privileged, &fd, b"", attributes(writable)).or_fail(failed)?;
    Ok(Some((tree, kind)))
}

fn open_dev(image: &Image, installation: Option<Installation>, privileged: &Privileged) -> Result<Dev> {
    match image {
        Image::Host(root) if root.is_prepared() => return Ok(Dev::InRoot),
        _ => {}
    }
    match installation.and_then(|installation| installation.copy(privileged, b"/dev")) {
        Some(prepared) => Ok(Dev::Prepared(prepared.tree)),
        None => usual_devices(privileged).map(Dev::Assembled),
    }
}

fn open_image(
    plan: &Plan<'_>,
    from: Shows,
    program: Option<&[u8]>,
    privileged: &Privileged,
) -> Result<Image> {
    let open = |dir: &[u8]| find(dir, OFlags::DIRECTORY).or_fail(on("use the root filesystem {}", dir));
    match &plan.root {
        Root::Host => HostRoot::open(privileged, from, &plan.mounts, program).map(Image::Host),
        Root::Dir(dir) => {
            let failed = on("use the root filesystem {}", dir);
            let tree = Detached::copy(privileged, open(dir)?, b"", attributes(plan.writable));
            Ok(Image::Tree(tree.or_fail(failed)?))
        }
        Root::Layers(dirs) => {
            let mut layers = Vec::with_capacity(dirs.len());
            for (i, dir) in dirs.iter().enumerate() {
                let writable = plan.writable && i + 1 == dirs.len();
                layers.push(Layer { dir: open(dir)?, attributes: attributes(writable) });
            }
            Ok(Image::Layers(layers))
        }
    }
}

fn usual_devices(privileged: &Privileged) -> Result<Vec<Device>> {
    let mut devices = Vec::with_capacity(DEVICES.len());
    for (name, major, minor) in DEVICES {
        devices.push(usual_device(name, rustix::fs::makedev(*major, *minor), privileged)?);
    }
    Ok(devices)
}

/// One of the devices that every instance has. Its numbers are checked, so that nothing
/// else can stand in for it.
fn usual_device(name: &'static str, number: u64, privileged: &Privileged) -> Result<Device> {
    let path = join(&[b"/dev/", name.as_bytes()]);
    let failed = on("show the device {}", path);
    let tree = Detached::copy(privileged, CWD, path, DEVICE).or_fail(failed)?;
    let stat = rustix::fs::fstat(tree.0.as_fd()).or_fail(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != number {
        return Err(Error::refused(failed, "it is not that device"));
    }
    Ok(Device { path: name.as_bytes(), tree, kind: Kind::File })
}

/// The terminal that standard input is, to be `/dev/console` inside: there programs find its name. Within an instance
/// it has that name already. ttyname(3)
fn own_terminal(privileged: &Privileged) -> Option<Device> {
    // Of one that was opened for its place only nothing can be asked.
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

/// A device, a socket, or a directory of such, that the caller asks for.
fn other_device(path: Bytes, privileged: &Privileged) -> Result<Device> {
    let full = join(&[b"/dev/", path]);
    let failed = on("show the device {}", full);
    let fd = find(full, OFlags::empty()).or_fail(failed)?;
    let stat = rustix::fs::fstat(&fd).or_fail(failed)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Socket => Kind::File,
        _ => return Err(Error::refused(failed, "no device, socket or directory")),
    };
    let tree = Detached::copy(privileged, &fd, b"", DEVICE).or_fail(failed)?;
    Ok(Device { path, tree, kind })
}
