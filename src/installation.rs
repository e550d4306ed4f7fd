//! What an installation has prepared for instances, below the prefix that it wrote into the program: the root
//! directory of the host image, ready made, and the list of what is shown in it. It saves making a dozen files and
//! as many mounts for each instance.

use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, on};
use crate::files::{self, Identity, Kind, identity};
use crate::host::{ABOUT, DEVICES, LIST, PROGRAM, ROOT};
use crate::mount::{DEVICE, Detached, MAP, OWN_FILE, find, is_mount};
use crate::plan::Root;
use crate::sys::{self, Attributes, Reach, Tighten};
use crate::text::{Bytes, c_string, join};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

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
        join(&[self.prefix, b"/", PROGRAM.as_bytes()])
    }

    /// Where the root directory of the host image is, or something in it.
    pub fn root(self, part: &[u8]) -> Bytes {
        join(&[self.prefix, b"/", ROOT.as_bytes(), part])
    }

    /// Where that list is.
    pub fn list_path(self) -> Bytes {
        join(&[self.prefix, b"/", LIST.as_bytes()])
    }

    /// The list of what the host image shows, as [`crate::host::entries`] reads it. To be read with no capability in
    /// effect, as an outer instance could show something else there.
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

    /// A copy of the prepared root directory, or of its `/dev`, without what may be mounted there. It must be root's,
    /// and writable to nobody else.
    pub fn copy(self, privileged: &Privileged, part: &[u8]) -> Option<Prepared> {
        let dir = open(self.root(part))?;
        if !is_roots(&rustix::fs::fstat(&dir).ok()?) {
            return None;
        }
        let null = if part.is_empty() { &b"dev/null"[..] } else { b"null" };
        if has_devices(&dir, null) {
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
        if !is_same || !has_devices(&outer, null) || !DEVICES.iter().all(|(name, ..)| is_free(name)) {
            return None;
        }
        let tree = Detached::copy_one(privileged, outer, b"", DEVICE).ok()?;
        Some(Prepared { tree, nested: true })
    }
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

/// A copy of what an installation has prepared.
pub struct Prepared {
    /// The copy.
    pub tree: Detached,
    /// It is of an outer instance's.
    pub nested: bool,
}

/// A directory, to which no link leads.
fn open(path: &[u8]) -> Option<OwnedFd> {
    files::open_path(CWD, path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS).ok()
}

/// Whether there are device nodes in this very mount, and they work: not where it is `nodev`, nor on a file system of a
/// user namespace; and a tool that copies or unpacks a root filesystem can have left them out.
fn has_devices(dir: &OwnedFd, null: &[u8]) -> bool {
    let rules = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let null = files::open_path(dir.as_fd(), null, OFlags::RDWR, rules).and_then(rustix::fs::fstat);
    null.is_ok_and(|stat| stat.st_rdev == rustix::fs::makedev(1, 3))
}

/// Root's, and writable to nobody else.
fn is_roots(stat: &Stat) -> bool {
    stat.st_uid == 0 && stat.st_mode & 0o022 == 0
}

/// How the program is found that is shown inside.
pub enum OwnFile {
    /// Where it was installed, and was started from by that very path.
    Installed(Bytes),
    /// Through its own `/proc` entry.
    Found(Program),
}

/// The running program: where it was started from, and its file.
pub struct Program {
    /// Its path for the caller.
    pub path: Bytes,
    /// Which file it is.
    pub identity: Identity,
    /// A mount of it, on which its set-uid bit counts still. Without privilege there is none
    /// yet, and the bit would not count.
    pub tree: Option<Detached>,
}

/// The running program itself, found through its own `/proc` entry, not by any name: so that
/// no other file can take its place and keep a set-uid bit inside.
pub fn own_program(privileged: Option<&Privileged>) -> Result<Option<Program>> {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    let failed = "find selfdock's own file";
    let proc = files::open(CWD, b"/proc", OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
    if rustix::fs::fstatfs(&proc).or_fail(failed)?.f_type != PROC_SUPER_MAGIC {
        return Err(Error::refused(failed, "/proc is not procfs"));
    }
    let look = || {
        let path = files::link_target(proc.as_fd(), b"self/exe")?;
        let file = files::open(proc.as_fd(), b"self/exe", OFlags::PATH)?;
        rustix::fs::fstat(&file).map(|stat| (path, file, stat))
    };
    let (path, file, stat) = look().or_fail(failed)?;
    if !path.starts_with(b"/") || stat.st_nlink == 0 {
        // Replaced by another version a moment ago, or outside of the root directory.
        return Ok(None);
    }
    let tree = match privileged {
        Some(privileged) => {
            Some(own_mount(privileged, &file, b"").or_fail(on("bind {} in the instance", path))?)
        }
        None => None,
    };
    Ok(Some(Program { path, identity: (stat.st_dev, stat.st_ino), tree }))
}

/// A mount of the program that is shown inside. Where it was installed it is that file, as root put it there; without
/// privilege it is found by its path, and must be the one that runs.
pub fn open_program(program: Option<OwnFile>, privileged: &Privileged) -> Result<Option<(Bytes, Detached)>> {
    let Program { path, identity: running, tree } = match program {
        None => return Ok(None),
        Some(OwnFile::Installed(path)) => {
            let tree = own_mount(privileged, CWD, path).or_fail(on("bind selfdock on {}", path))?;
            return Ok(Some((path, tree)));
        }
        Some(OwnFile::Found(program)) => program,
    };
    if let Some(tree) = tree {
        return Ok(Some((path, tree)));
    }
    let failed = on("bind selfdock on {}", path);
    let Ok(fd) = find(path, OFlags::empty()) else { return Ok(None) };
    if identity(&fd).or_fail(failed)? != running {
        return Ok(None);
    }
    Ok(Some((path, Detached::copy(privileged, fd, b"", MAP).or_fail(failed)?)))
}

/// A read-only mount of selfdock's file. Its set-uid bit counts there only if the file is beyond doubt: root's, and
/// writable to nobody else.
pub fn own_mount(privileged: &Privileged, dir: impl AsFd, path: &[u8]) -> rustix::io::Result<Detached> {
    let tree = Detached::copy(privileged, dir, path, OWN_FILE)?;
    let stat = rustix::fs::fstat(&tree.0)?;
    let is_file = FileType::from_raw_mode(stat.st_mode).is_file();
    if stat.st_uid != 0 || stat.st_mode & 0o022 != 0 || !is_file {
        sys::tighten(&tree.0, Tighten::to(Attributes::NOSUID), Reach::Tree)?;
    }
    Ok(tree)
}

/// The same beside selfdock, where cargo puts it.
const BESIDE: &[u8] = b"/selfdock-about";

/// The second place, seen from selfdock's own file.
pub fn beside(own: &[u8]) -> Bytes {
    join(&[files::parent(own), BESIDE])
}

/// The first of the two places that has a file. It must belong to whom selfdock belongs to,
/// and not be everyone's to write: in a directory that is, anyone could have put one beside.
pub fn second_program(own: &[u8]) -> Result<Bytes> {
    let places = [join(&[files::parent(files::parent(own)), b"/", ABOUT.as_bytes()]), beside(own)];
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

/// In another root filesystem, and where nothing is installed, the second program is not seen unless it is shown.
pub fn open_second(program: &[u8], privileged: &Privileged) -> Option<(Bytes, Detached)> {
    let file = find(second_program(program).ok()?, OFlags::empty()).ok()?;
    if Kind::of(&file).ok()? != Kind::File {
        return None;
    }
    let tree = Detached::copy(privileged, file, b"", MAP).ok()?;
    Some((beside(program), tree))
}
