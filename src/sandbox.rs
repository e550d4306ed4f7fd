//! The child's side: from a copy of the host's mounts to an instance, and into the command.
#![forbid(unsafe_code)]

use crate::command::Command;
use crate::creds::{Caller, Privileged};
use crate::error::{Error, OrFail, Result, both, on};
use crate::mount::{Detached, Identity, Kind, enter, find, identity, make_entry};
use crate::plan::{DEVICES, HIDDEN, Mount, Plan, Root, SYSTEM, Tmpfs, What, components};
use crate::stage::{Stage, piece};
use crate::sys::{self, Tighten};
use alloc::format;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

/// All that the child needs to know.
pub struct Job<'a> {
    /// Who calls.
    pub caller: Caller,
    /// The mounts.
    pub plan: Plan<'a>,
    /// What to run in the end, and where.
    pub command: Command<'a>,
    /// Ready when the supervisor is gone.
    pub life: OwnedFd,
    /// selfdock itself, to work inside as well.
    pub program: Option<Program>,
    /// A host name to set.
    pub hostname: Option<&'a [u8]>,
    /// There is a network namespace whose loopback is down.
    pub own_network: bool,
    /// No program inside may gain privilege.
    pub no_nest: bool,
    /// Descriptors to pass on beside 0, 1 and 2.
    pub keep_fds: Vec<u32>,
}

/// The running program: where it was started from, and a mount of it.
pub struct Program {
    /// Its path for the caller.
    pub path: Vec<u8>,
    /// Read-only, and set-uid still.
    pub tree: Detached,
}

/// What the caller's mounts show: opened as the caller, before anything covers it.
struct Sources {
    /// For each mount of the plan; `None` where it needs nothing of the host.
    trees: Vec<Option<(Detached, Kind)>>,
    root: Option<Detached>,
    devices: Vec<(Vec<u8>, Detached, Kind)>,
    /// The caller's current directory.
    here: Option<Identity>,
}

/// Builds the instance and becomes its command. Returns only if that fails.
pub fn run(job: Job<'_>, privileged: Privileged) -> Error {
    match build(job, privileged) {
        Ok(command) => command.exec(),
        Err(error) => error,
    }
}

fn build<'a>(mut job: Job<'a>, privileged: Privileged) -> Result<Command<'a>> {
    die_with_supervisor(&job.life)?;
    let umask = rustix::process::umask(Mode::empty());
    let mut stage = Stage::begin(&privileged, false)?;
    let sources = open_sources(&job, &privileged)?;

    set_root(&mut stage, &job, sources.root)?;
    stage.show_tmp(make_pieces(&privileged, &sources.devices)?)?;
    if job.plan.root == Root::Host {
        hide_directories(&mut stage)?;
    }
    mount_wishes(&mut stage, &privileged, &job.plan.mounts, sources.trees)?;
    mount_dev(
        &mut stage,
        &privileged,
        sources.devices,
        job.plan.shm.as_ref(),
    )?;
    mount_proc(&mut stage, &privileged)?;
    show_program(&mut stage, &privileged, job.program.take())?;
    name_host(job.hostname)?;
    if job.own_network {
        sys::loopback_up().or_fail("bring loopback up")?;
    }
    let start = start_directory(&stage, &job.command, sources.here)?;
    stage.finish()?;
    rustix::process::fchdir(&start).or_fail(on("enter {}", job.command.directory()))?;

    drop(start);
    rustix::process::umask(umask);
    close_descriptors(&job.keep_fds)?;
    privileged.relinquish()?;
    if job.no_nest {
        rustix::thread::set_no_new_privs(true).or_fail("forbid new privileges")?;
    }
    Ok(job.command)
}

/// Asks the kernel to kill this process, and with it the instance, when the supervisor is
/// gone. Privilege is only reduced from here on, which keeps the wish; `prctl(2)`,
/// `PR_SET_PDEATHSIG`. It may be gone already: then nobody would tell.
fn die_with_supervisor(life: &OwnedFd) -> Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let failed = "tie the instance to its supervisor";
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .or_fail(failed)?;
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut [PollFd::new(life, PollFlags::IN)], Some(&now)).or_fail(failed)? {
        0 => Ok(()),
        _ => Err(Error::refused(failed, "it is gone")),
    }
}

// ---- open ------------------------------------------------------------------------------------

fn open_sources(job: &Job<'_>, privileged: &Privileged) -> Result<Sources> {
    let here = rustix::fs::stat(".")
        .ok()
        .map(|stat| (stat.st_dev, stat.st_ino));
    let trees = job
        .plan
        .mounts
        .iter()
        .map(|mount| open_source(mount, privileged))
        .collect::<Result<_>>()?;
    let root = match job.plan.root {
        Root::Host => None,
        Root::Dir(dir) => Some(open_root(dir, privileged)?),
    };
    let mut devices = Vec::with_capacity(DEVICES.len() + job.plan.devices.len());
    for (name, major, minor) in DEVICES {
        devices.push(usual_device(
            name,
            rustix::fs::makedev(*major, *minor),
            privileged,
        )?);
    }
    for path in &job.plan.devices {
        devices.push(other_device(path, privileged)?);
    }
    Ok(Sources {
        trees,
        root,
        devices,
        here,
    })
}

fn open_source(mount: &Mount<'_>, privileged: &Privileged) -> Result<Option<(Detached, Kind)>> {
    let What::Bind { src, writable } = mount.what else {
        return Ok(None);
    };
    let failed = both("bind {} on {}", src, &mount.dst);
    let fd = find(src, OFlags::empty()).or_fail(failed)?;
    let kind = Kind::of(&fd).or_fail(failed)?;
    let attributes = Tighten::NOSUID | Tighten::NODEV | if writable { 0 } else { Tighten::RDONLY };
    let tree = Detached::copy(privileged, &fd, b"")
        .or_fail(failed)
        .map_err(|e| {
            e.hint_if(
                Errno::INVAL,
                "a file system there is marked unbindable, or it is no file of the file system",
            )
        })?;
    Ok(Some((
        tree.tighten(privileged, attributes).or_fail(failed)?,
        kind,
    )))
}

fn open_root(dir: &[u8], privileged: &Privileged) -> Result<Detached> {
    let failed = on("use the root filesystem {}", dir);
    let fd = find(dir, OFlags::DIRECTORY).or_fail(failed)?;
    let tree = Detached::copy(privileged, &fd, b"").or_fail(failed)?;
    tree.tighten(
        privileged,
        Tighten::RDONLY | Tighten::NOSUID | Tighten::NODEV,
    )
    .or_fail(failed)
}

/// One of the devices that every instance has. Its numbers are checked, so that nothing
/// else can stand in for it.
fn usual_device(
    name: &str,
    number: u64,
    privileged: &Privileged,
) -> Result<(Vec<u8>, Detached, Kind)> {
    let path = format!("/dev/{name}");
    let failed = on("show the device {}", path.as_bytes());
    let tree = Detached::copy(privileged, CWD, path.as_bytes()).or_fail(failed)?;
    let stat = rustix::fs::fstat(&tree.0).or_fail(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != number
    {
        return Err(Error::refused(failed, "it is not that device"));
    }
    Ok((name.as_bytes().to_vec(), tree, Kind::File))
}

/// A device, or a directory of devices, that the caller asks for.
fn other_device(path: &[u8], privileged: &Privileged) -> Result<(Vec<u8>, Detached, Kind)> {
    let full = [b"/dev/", path].concat();
    let failed = on("show the device {}", &full);
    let fd = find(&full, OFlags::empty()).or_fail(failed)?;
    let stat = rustix::fs::fstat(&fd).or_fail(failed)?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::CharacterDevice | FileType::BlockDevice => Kind::File,
        _ => return Err(Error::refused(failed, "neither a device nor a directory")),
    };
    Ok((
        path.to_vec(),
        Detached::copy(privileged, &fd, b"").or_fail(failed)?,
        kind,
    ))
}

// ---- build -----------------------------------------------------------------------------------

fn set_root(stage: &mut Stage<'_>, job: &Job<'_>, tree: Option<Detached>) -> Result<()> {
    match tree {
        None => stage.keep_root(Tighten::RDONLY | Tighten::NOSUID | Tighten::NODEV)?,
        Some(tree) => {
            stage.change_root(tree)?;
            stage.prepare_root([&b"dev"[..], b"proc", b"tmp"].into_iter())?;
            if let Some(program) = &job.program {
                stage.prepare_root(components(&program.path).take(1))?;
            }
        }
    }
    stage.prepare_root(
        job.plan
            .mounts
            .iter()
            .filter(|m| m.what != What::Mask)
            .filter_map(|m| components(&m.dst).next()),
    )
}

/// The tmpfs of the instance, with the pieces that its mounts are made from.
fn make_pieces(privileged: &Privileged, devices: &[(Vec<u8>, Detached, Kind)]) -> Result<Detached> {
    let tmpfs = Detached::tmpfs(privileged, &Tmpfs::DEFAULT)?;
    fill_pieces(tmpfs.0.as_fd(), devices).or_fail("fill the instance's tmpfs")?;
    Ok(tmpfs)
}

fn fill_pieces(
    root: rustix::fd::BorrowedFd<'_>,
    devices: &[(Vec<u8>, Detached, Kind)],
) -> rustix::io::Result<()> {
    let sticky = Mode::from_raw_mode(0o1777);
    rustix::fs::mkdirat(root, piece::TMP, sticky)?;
    rustix::fs::mkdirat(root, piece::SHM, sticky)?;
    make_entry(root, piece::EMPTY, Kind::Directory)?;
    make_entry(root, piece::BLANK, Kind::File)?;
    make_entry(root, piece::DEV, Kind::Directory)?;
    let dev = enter(root, piece::DEV)?;
    for name in ["pts", "shm"] {
        make_entry(&dev, name.as_bytes(), Kind::Directory)?;
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        rustix::fs::symlinkat(target, &dev, link)?;
    }
    for (path, _, kind) in devices {
        make_path(&dev, path, *kind)?;
    }
    Ok(())
}

/// Makes a path below a directory of ours; what exists already is fine.
fn make_path(dir: &OwnedFd, path: &[u8], kind: Kind) -> rustix::io::Result<()> {
    let exists_is_fine = |made| {
        if made == Err(Errno::EXIST) {
            Ok(())
        } else {
            made
        }
    };
    for (at, byte) in path.iter().enumerate() {
        if *byte == b'/' {
            exists_is_fine(make_entry(dir, &path[..at], Kind::Directory))?;
        }
    }
    exists_is_fine(make_entry(dir, path, kind))
}

fn hide_directories(stage: &mut Stage<'_>) -> Result<()> {
    for name in HIDDEN.iter().filter(|name| **name != "tmp") {
        hide(stage, format!("/{name}").as_bytes(), OFlags::DIRECTORY)?;
    }
    for name in other_mounts(stage)? {
        hide(stage, &[b"/", &*name].concat(), OFlags::empty())?;
    }
    Ok(())
}

/// Hides what is there; what is not there is fine.
fn hide(stage: &mut Stage<'_>, path: &[u8], flags: OFlags) -> Result<()> {
    match stage.open(path, flags) {
        Ok(fd) => {
            let kind = Kind::of(&fd).or_fail(on("hide {}", path))?;
            stage.hide(&fd, path, kind)
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(errno) => Err(Error::of(on("hide {}", path), errno)),
    }
}

/// Names in the root directory, beyond the well-known, on which something is mounted.
fn other_mounts(stage: &Stage<'_>) -> Result<Vec<Vec<u8>>> {
    let failed = "look for mounts in '/'";
    let root = stage.open(b"/", OFlags::DIRECTORY).or_fail(failed)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let list = rustix::fs::openat(&root, ".", flags, Mode::empty()).or_fail(failed)?;
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(list, &mut buffer);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.or_fail(failed)?;
        let name = entry.file_name().to_bytes();
        let known = name == b"."
            || name == b".."
            || HIDDEN.iter().chain(SYSTEM).any(|k| k.as_bytes() == name);
        if known || entry.file_type() == FileType::Symlink {
            continue;
        }
        let at = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = rustix::fs::statx(&root, name, at, StatxFlags::empty()).or_fail(failed)?;
        if stat
            .stx_attributes
            .contains(rustix::fs::StatxAttributes::MOUNT_ROOT)
        {
            found.push(name.to_vec());
        }
    }
    Ok(found)
}

fn mount_wishes(
    stage: &mut Stage<'_>,
    privileged: &Privileged,
    mounts: &[Mount<'_>],
    trees: Vec<Option<(Detached, Kind)>>,
) -> Result<()> {
    for (mount, tree) in mounts.iter().zip(trees) {
        let failed = match mount.what {
            What::Bind { src, .. } => both("bind {} on {}", src, &mount.dst),
            _ => on("mount on {}", &mount.dst),
        };
        match (&mount.what, tree) {
            (What::Mask, _) => hide(stage, &mount.dst, OFlags::empty())?,
            (What::Tmpfs(options), _) => {
                let target = stage.mount_point(&mount.dst, Kind::Directory)?;
                let fd = Detached::tmpfs(privileged, options)?
                    .attach(privileged, target)
                    .or_fail(failed)?;
                stage.note_own(&fd)?;
            }
            (What::Bind { .. }, Some((tree, kind))) => {
                let target = stage.mount_point(&mount.dst, kind)?;
                tree.attach(privileged, &target)
                    .or_fail(failed)
                    .map_err(|e| match kind {
                        Kind::Directory => {
                            e.hint_if(Errno::NOTDIR, "a directory cannot be bound on a file")
                        }
                        Kind::File => {
                            e.hint_if(Errno::NOTDIR, "a file cannot be bound on a directory")
                        }
                    })?;
            }
            (What::Bind { .. }, None) => {
                return Err(Error::refused(failed, "its source was not opened"));
            }
        }
    }
    Ok(())
}

/// The directory of an image where a filesystem of the instance goes: never a link.
fn own_mount_point(stage: &mut Stage<'_>, path: &str) -> Result<OwnedFd> {
    match stage.open(path.as_bytes(), OFlags::DIRECTORY | OFlags::NOFOLLOW) {
        Err(Errno::NOENT) => stage.mount_point(path.as_bytes(), Kind::Directory),
        Err(Errno::NOTDIR | Errno::LOOP) => Err(Error::refused(
            on("mount on {}", path.as_bytes()),
            "in the image it is not a directory",
        )),
        other => other.or_fail(on("mount on {}", path.as_bytes())),
    }
}

fn mount_dev(
    stage: &mut Stage<'_>,
    privileged: &Privileged,
    devices: Vec<(Vec<u8>, Detached, Kind)>,
    shm: Option<&Tmpfs>,
) -> Result<()> {
    let target = own_mount_point(stage, "/dev")?;
    let dev = stage
        .piece(piece::DEV)?
        .attach(privileged, target)
        .or_fail("mount on '/dev'")?;
    for (name, tree, _) in devices {
        tree.attach_at(privileged, &dev, &name)
            .or_fail(on("show the device {}", &name))?;
    }
    let attributes = Tighten::set(Tighten::RDONLY | Tighten::NOSUID | Tighten::NOEXEC);
    sys::tighten(&dev, attributes, sys::Reach::Tree).or_fail("make '/dev' read-only")?;
    let options = [("ptmxmode", "0666"), ("mode", "0620")];
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let pts = Detached::fresh(privileged, "devpts", &options, flags)?;
    pts.attach_at(privileged, &dev, b"pts")
        .or_fail("mount on '/dev/pts'")?;
    let shm = match shm {
        Some(options) => Detached::tmpfs(
            privileged,
            &Tmpfs {
                mode: options.mode.or(Some(0o1777)),
                ..options.clone()
            },
        )?,
        None => stage.piece(piece::SHM)?,
    };
    let shm = shm
        .attach_at(privileged, &dev, b"shm")
        .or_fail("mount on '/dev/shm'")?;
    drop(shm);
    Ok(())
}

fn mount_proc(stage: &mut Stage<'_>, privileged: &Privileged) -> Result<()> {
    let target = own_mount_point(stage, "/proc")?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let proc = Detached::fresh(privileged, "proc", &[], flags)?;
    proc.attach(privileged, target)
        .or_fail("mount on '/proc'")
        .map(drop)
}

/// selfdock itself, at the path it was started from: the one mount on which a set-uid bit
/// counts.
fn show_program(
    stage: &mut Stage<'_>,
    privileged: &Privileged,
    program: Option<Program>,
) -> Result<()> {
    let Some(program) = program else {
        return Ok(());
    };
    let failed = on("show selfdock at {}", &program.path);
    let target = stage
        .mount_point(&program.path, Kind::File)
        .map_err(|e| e.hint("--no-nest goes without"))?;
    program
        .tree
        .attach(privileged, target)
        .or_fail(failed)
        .map(drop)
}

fn name_host(name: Option<&[u8]>) -> Result<()> {
    match name {
        Some(name) => sys::sethostname(name).or_fail(on("set the host name {}", name)),
        None => Ok(()),
    }
}

/// Where the command starts: where the caller says; or in the caller's own directory, if it
/// is the same inside; or in the root.
fn start_directory(
    stage: &Stage<'_>,
    command: &Command<'_>,
    here: Option<Identity>,
) -> Result<OwnedFd> {
    if command.chosen_directory() {
        let dir = command.directory();
        return stage
            .open(dir, OFlags::DIRECTORY)
            .or_fail(on("enter {}", dir));
    }
    if let Ok(fd) = stage.open(command.directory(), OFlags::DIRECTORY)
        && here.is_some()
        && identity(&fd).ok() == here
    {
        return Ok(fd);
    }
    stage.open(b"/", OFlags::DIRECTORY).or_fail("enter '/'")
}

// ---- drop ------------------------------------------------------------------------------------

/// Closes all descriptors from 3 on but those to keep.
fn close_descriptors(keep: &[u32]) -> Result<()> {
    let mut from = 3;
    while let Some(kept) = keep.iter().copied().filter(|fd| *fd >= from).min() {
        if kept > from {
            sys::close_range(from, kept - 1).or_fail("close descriptors")?;
        }
        from = kept + 1;
    }
    sys::close_range(from, u32::MAX).or_fail("close descriptors")
}
