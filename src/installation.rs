//! What an installation has prepared for instances, below the prefix that it wrote into the program: the root
//! directory for instances without `--root`, and the list of the host's directories in it. This saves making a dozen
//! files and as many mounts for each instance.

use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, on};
use crate::files::{self, Identity, Kind, identity};
use crate::host::{ABOUT, DEVICES, LIST, NULL, PROGRAM, ROOT};
use crate::mount::{DEVICE, Detached, MAP, OWN_FILE, find, is_mount};
use crate::plan::Root;
use crate::sys::{self, Attributes, Reach, Tighten};
use crate::text::{Bytes, c_string, join};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// The largest list that is read. A list has a few hundred bytes, without an administrator's additions.
const MOST_BYTES: usize = 64 << 10;

/// An installation.
#[derive(Clone, Copy, Debug)]
pub struct Installation {
    prefix: Bytes,
}

impl Installation {
    /// The installation of this program, if it is installed. The prefix is part of the program, so it is as trusted
    /// as the program.
    pub fn of_this_program() -> Option<Self> {
        let prefix = sys::prefix();
        (!prefix.is_empty()).then_some(Self { prefix })
    }

    /// The installation around a program. Only for reports, not trusted.
    pub fn around(program: &[u8]) -> Self {
        Self { prefix: join(&[files::parent(files::parent(program))]) }
    }

    /// The path of the set-uid program.
    pub fn program(self) -> Bytes {
        join(&[self.prefix, b"/", PROGRAM.as_bytes()])
    }

    /// The path of the second program.
    pub fn second(self) -> Bytes {
        join(&[self.prefix, b"/", ABOUT.as_bytes()])
    }

    /// The directory of profiles for all users.
    pub fn profiles(self) -> Bytes {
        join(&[self.prefix, b"/share/selfdock/profiles"])
    }

    /// The path of the prepared root directory, or of something in it.
    pub fn root(self, part: &[u8]) -> Bytes {
        join(&[self.prefix, b"/", ROOT.as_bytes(), part])
    }

    /// The path of the list.
    pub fn list_path(self) -> Bytes {
        join(&[self.prefix, b"/", LIST.as_bytes()])
    }

    /// The list of the host's directories, for [`crate::host::entries`]. It must be read with no capability in
    /// effect, since an outer instance could have mounted another file there.
    pub fn list(self) -> Option<Bytes> {
        let file =
            files::open(CWD, self.list_path(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let size = usize::try_from(stat.st_size).ok().filter(|size| *size <= MOST_BYTES)?;
        if !is_roots(&stat) || !FileType::from_raw_mode(stat.st_mode).is_file() {
            return None;
        }
        files::read(file.as_fd(), size, MOST_BYTES).ok()
    }

    /// A copy of the prepared root directory or of its `/dev`, without submounts.
    pub fn copy(self, privileged: &Privileged, part: &[u8]) -> Option<Prepared> {
        let (dir, nested) = self.prepared(part)?;
        let tree = Detached::copy_one(privileged, dir, b"", DEVICE).ok()?;
        Some(Prepared { tree, nested })
    }

    /// The prepared root directory or its `/dev`, and whether it is an outer instance's. It must belong to root, and
    /// only root may be able to write to it.
    pub fn prepared(self, part: &[u8]) -> Option<(OwnedFd, bool)> {
        let dir = open(self.root(part))?;
        if !is_roots(&rustix::fs::fstat(&dir).ok()?) {
            return None;
        }
        let null = if part.is_empty() { &b"dev/null"[..] } else { b"null" };
        if has_devices(&dir, null) {
            return Some((dir, false));
        }
        // Inside an instance the prepared directory is on a mount where devices do not work. They work on the mount
        // of the outer instance. That must be the same directory, on a mount where devices work, since a caller can
        // mount another one at that path, whose submounts would be left out. Nothing may be mounted on a device.
        let outer = open(if part.is_empty() { b"/" } else { part })?;
        let dev = open(b"/dev")?;
        let is_free = |name: &str| is_mount(dev.as_fd(), name.as_bytes()) == Ok(false);
        let is_same = identity(&outer).ok()? == identity(&dir).ok()?;
        if !is_same || !has_devices(&outer, null) || !DEVICES.iter().all(|(name, ..)| is_free(name)) {
            return None;
        }
        Some((outer, true))
    }
}

/// What an installation has prepared for instances, as far as it is read before privilege is raised.
#[derive(Clone, Copy, Default)]
pub struct Preparations {
    pub installation: Option<Installation>,
    /// Its list of the host's directories.
    pub list: Option<Bytes>,
}

impl Preparations {
    /// Reads the list. No capability may be in effect.
    pub fn read(installation: Option<Installation>, root: &Root<'_>) -> Self {
        let list = installation.filter(|_| *root == Root::Host).and_then(Installation::list);
        Preparations { installation, list }
    }
}

/// A copy of a prepared directory.
pub struct Prepared {
    pub tree: Detached,
    /// It was copied from an outer instance.
    pub nested: bool,
}

/// Opens a directory by a path without links.
fn open(path: &[u8]) -> Option<OwnedFd> {
    files::open_path(CWD, path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS).ok()
}

/// Whether this mount has device nodes that work. They do not work on a `nodev` mount or on a file system of a user
/// namespace, and a tool that copies a root filesystem may have left them out.
fn has_devices(dir: &OwnedFd, null: &[u8]) -> bool {
    let rules = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let null = files::open_path(dir.as_fd(), null, OFlags::RDWR, rules).and_then(rustix::fs::fstat);
    null.is_ok_and(|stat| has_number_of_null(&stat))
}

/// Whether a device has the number of /dev/null.
pub fn has_number_of_null(stat: &Stat) -> bool {
    stat.st_rdev == rustix::fs::makedev(NULL.0, NULL.1)
}

/// Whether a file belongs to root, and only root can write to it.
fn is_roots(stat: &Stat) -> bool {
    stat.st_uid == 0 && stat.st_mode & 0o022 == 0
}

/// How the program is found that is bound inside.
pub enum OwnFile {
    /// At the path where it was installed, and by which it was started.
    Installed(Bytes),
    /// Through `/proc/self/exe`.
    Found(Program),
}

/// The running program.
pub struct Program {
    /// Its path for the caller.
    pub path: Bytes,
    /// Which file it is.
    pub identity: Identity,
    /// A mount on which its set-uid bit counts. Without privilege it is made later, and the bit does not count.
    pub tree: Option<Detached>,
}

/// The running program, found through `/proc/self/exe` and not by a path, so that no other file can take its place
/// and keep a set-uid bit inside. Nothing if it is at no path any more.
pub fn own_program(privileged: Option<&Privileged>) -> Result<Option<Program>> {
    let (path, file, identity) = own_file()?;
    if path.is_empty() {
        return Ok(None);
    }
    let tree = match privileged {
        Some(privileged) => {
            Some(own_mount(privileged, &file, b"").or_fail(on("bind {} in the instance", path))?)
        }
        None => None,
    };
    Ok(Some(Program { path, identity, tree }))
}

/// The identity of the running program's file, even if no path leads to it any more.
pub fn own_identity() -> Result<Identity> {
    own_file().map(|(.., identity)| identity)
}

/// The file of the running program. Its path is empty if it was replaced by another version, or is outside the root
/// directory.
fn own_file() -> Result<(Bytes, OwnedFd, Identity)> {
    let failed = "find selfdock's own file";
    let proc = files::open(CWD, b"/proc", OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
    if !files::is_procfs(&proc).or_fail(failed)? {
        return Err(Error::refused(failed, "/proc is not procfs"));
    }
    let look = || {
        let path = files::link_target(proc.as_fd(), b"self/exe")?;
        let file = files::open(proc.as_fd(), b"self/exe", OFlags::PATH)?;
        let stat = rustix::fs::fstat(&file)?;
        // A file that was replaced can have links: dpkg keeps one meanwhile, and overlayfs counts those of the lower
        // file. readlink of /proc/PID/exe, proc(5)
        let is_there = path.starts_with(b"/") && stat.st_nlink > 0 && !path.ends_with(b" (deleted)");
        Ok((if is_there { path } else { b"" }, file, (stat.st_dev, stat.st_ino)))
    };
    look().or_fail(failed)
}

/// The programs of selfdock that are bound inside.
#[derive(Default)]
pub struct Programs {
    /// selfdock's own file.
    pub own: Option<OpenProgram>,
    /// The second program, if it is not visible by itself.
    pub second: Option<OpenProgram>,
}

/// A program of selfdock, to be bound inside.
pub struct OpenProgram {
    /// Its path inside.
    pub path: Bytes,
    /// A copy of its mount.
    pub tree: Detached,
}

/// A mount of the program, to be bound inside. An installed program is the file at that path, which root put there.
/// Without privilege it is found by its path, and must be the running one.
pub fn open_program(program: Option<OwnFile>, privileged: &Privileged) -> Result<Option<OpenProgram>> {
    let Program { path, identity: running, tree } = match program {
        None => return Ok(None),
        Some(OwnFile::Installed(path)) => {
            let tree = own_mount(privileged, CWD, path).or_fail(on("bind selfdock on {}", path))?;
            return Ok(Some(OpenProgram { path, tree }));
        }
        Some(OwnFile::Found(program)) => program,
    };
    if let Some(tree) = tree {
        return Ok(Some(OpenProgram { path, tree }));
    }
    let failed = on("bind selfdock on {}", path);
    let Ok(fd) = find(path, OFlags::empty()) else { return Ok(None) };
    if identity(&fd).or_fail(failed)? != running {
        return Ok(None);
    }
    Ok(Some(OpenProgram { path, tree: Detached::copy(privileged, fd, b"", MAP).or_fail(failed)? }))
}

/// A read-only mount of selfdock's file. Its set-uid bit counts there only if the file belongs to root, and nobody
/// else can write to it.
pub fn own_mount(privileged: &Privileged, dir: impl AsFd, path: &[u8]) -> rustix::io::Result<Detached> {
    let tree = Detached::copy(privileged, dir, path, OWN_FILE)?;
    let stat = rustix::fs::fstat(tree.as_fd())?;
    let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
    if !is_roots(&stat) || !is_file {
        sys::tighten(tree.as_fd(), Tighten::to(Attributes::NOSUID), Reach::Tree)?;
    }
    Ok(tree)
}

/// The second program beside selfdock, where cargo puts it.
const BESIDE: &[u8] = b"/selfdock-about";

/// The path of the second program beside selfdock.
pub fn beside(own: &[u8]) -> Bytes {
    join(&[files::parent(own), BESIDE])
}

/// Finds the second program, in the installation or beside selfdock. It must have the same owner as selfdock and not
/// be world-writable: in a world-writable directory, anyone could have put a file beside selfdock.
pub fn second_program(own: &[u8]) -> Result<Bytes> {
    let places = [Installation::around(own).second(), beside(own)];
    for path in places {
        if let Ok(stat) = c_string(path).and_then(|path| rustix::fs::statat(CWD, path, AtFlags::empty())) {
            let failed = on("start {}", path);
            let owner = files::lstat(CWD, own).or_fail(failed)?.st_uid;
            if stat.st_uid != owner || stat.st_mode & 0o002 != 0 {
                return Err(Error::refused(
                    failed,
                    "not trusted: it has another owner than selfdock, or is world-writable",
                ));
            }
            return Ok(path);
        }
    }
    let usage = "'cargo xtask install' installs it; usage: selfdock run CMD";
    Err(Error::of(on("start {}", places[0]), Errno::NOENT).hint(usage))
}

/// Opens the second program, to be bound inside. It is needed in another root filesystem, and if selfdock is not
/// installed.
pub fn open_second(program: &[u8], privileged: &Privileged) -> Option<OpenProgram> {
    let file = find(second_program(program).ok()?, OFlags::empty()).ok()?;
    if Kind::of(&file).ok()? != Kind::File {
        return None;
    }
    let tree = Detached::copy(privileged, file, b"", MAP).ok()?;
    Some(OpenProgram { path: beside(program), tree })
}
