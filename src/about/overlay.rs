//! `--overlay`: a copy of a directory that is written to and thrown away. The second program, which holds nothing,
//! makes a user namespace and a mount namespace, lays the kernel's overlay over the directory there, and starts
//! selfdock in them: so the overlay interprets its layers with no more than the caller's rights, in whatever mode
//! selfdock works. `user_namespaces(7)`; Documentation/filesystems/overlayfs.rst
//!
//! What the directory's own permissions keep from the caller stays closed in the copy, but for its top directory, which
//! is the caller's there. A file of somebody else's cannot be changed: a copy of it would have to belong to them.

use crate::creds::{self, Caller, Need, Privileged};
use crate::error::{Error, OrFail, Result, on};
use crate::files;
use crate::mount::{Detached, VOLUME, make_private};
use crate::plan::Tmpfs;
use crate::sys::{self, Attributes, new};
use crate::text::{Bytes, decimal, join};
use alloc::string::String;
use alloc::vec::Vec;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags};
use rustix::io::Errno;

/// What is written to a copy, where it is not kept: room for a build.
const ROOM: Tmpfs = Tmpfs { size: 1 << 30, inodes: 1 << 18, mode: 0o755 };

/// In a directory of changes: what was changed, where from, and what the kernel works with.
const CHANGED: &[u8] = b"changed";
const ORIGIN: &[u8] = b"origin";
const WORK: &[u8] = b"work";

/// Lays an overlay over each of these directories, in namespaces of this process's own. What is written goes to memory,
/// or to a directory of `changes`. Nothing is held afterwards.
pub fn lay_over(caller: Caller, sources: &[&[u8]], changes: Option<&[u8]>) -> Result<()> {
    if changes.is_some() && sources.len() > 1 {
        return Err(Error::refused("option --changes", "it keeps the changes of one --overlay only"));
    }
    // What is wrong is said before anything is made.
    for source in sources {
        open(source).or_fail(on("copy {}", source))?;
    }
    if let Some(dir) = changes {
        make_changes(dir, sources[0])?;
    }
    creds::allow_to_map_root(caller)?;
    let none = "user namespaces are disabled here; 'selfdock doctor' says why";
    sys::unshare(new::USER | new::MOUNT)
        .or_fail("make a user namespace for --overlay")
        .map_err(|e| e.hint_if(Errno::PERM, none).hint_if(Errno::NOSPC, none))?;
    let privileged = creds::own_user_namespace(caller, Need { overlay: true, ..Need::default() })?;
    // To reach its own descriptors by their names. What it holds counts for what is the caller's alone.
    creds::become_dumpable()?;
    make_private(Attributes::NONE)?;
    for source in sources {
        lay_over_one(&privileged, source, changes)?;
    }
    // The current directory is what it was before, below the copy.
    if let Ok(path) = sys::getcwd() {
        let failed = "enter the copy";
        rustix::process::fchdir(open(&path).or_fail(failed)?).or_fail(failed)?;
    }
    privileged.relinquish()
}

fn open(dir: &[u8]) -> rustix::io::Result<OwnedFd> {
    files::open(CWD, dir, OFlags::PATH | OFlags::DIRECTORY)
}

/// Everything is opened in the mount namespace of its own: the kernel takes no layers from another.
fn lay_over_one(privileged: &Privileged, source: &[u8], changes: Option<&[u8]>) -> Result<()> {
    let failed = on("mount an overlay on {}", source);
    let lower = open(source).or_fail(failed)?;
    let room = match changes {
        Some(dir) => open(dir).or_fail(failed)?,
        None => {
            let room = Detached::tmpfs(privileged, &ROOM)?.attach(privileged, &lower).or_fail(failed)?;
            for name in [CHANGED, WORK] {
                files::make_directory(room.as_fd(), name, 0o755).or_fail(failed)?;
            }
            room
        }
    };
    let at = |fd: &OwnedFd, name: &[u8]| {
        join(&[b"/proc/self/fd/", decimal(fd.as_raw_fd().unsigned_abs()), b"/", name])
    };
    let (lowerdir, upperdir, workdir) = (at(&lower, b"."), at(&room, CHANGED), at(&room, WORK));
    let options =
        [(c"lowerdir", lowerdir), (c"upperdir", upperdir), (c"workdir", workdir), (c"userxattr", b"")];
    // What a mount in it covers must not show: the kernel refuses to take it alone.
    let mounts = "something is mounted in it, or its file system cannot be a layer; use another directory";
    let overlay = Detached::fresh(privileged, c"overlay", &options, VOLUME)
        .map_err(|e| e.about(failed).hint_if(Errno::INVAL, mounts))?;
    // Over the room, where that lies on the directory.
    let place = if changes.is_some() { &lower } else { &room };
    overlay.attach(privileged, place).or_fail(failed).map(drop)
}

/// Makes a directory of changes, or sees that there is one of the same directory.
fn make_changes(dir: &[u8], source: &[u8]) -> Result<()> {
    let failed = on("keep changes in {}", dir);
    let make = |dir: &[u8], name: &[u8]| match files::make_directory(CWD, join(&[dir, name]), 0o755) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Error::of(failed, errno)),
    };
    make(dir, b"")?;
    make(dir, join(&[b"/", CHANGED]))?;
    make(dir, join(&[b"/", WORK]))?;
    let opened = open(dir).or_fail(failed)?;
    let origin = match sys::getcwd() {
        Ok(cwd) if !source.starts_with(b"/") => join(&[&cwd, b"/", source]),
        _ => join(&[source]),
    };
    match files::make_link(origin, opened.as_fd(), ORIGIN) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) if files::link_target(opened.as_fd(), ORIGIN) == Ok(origin) => Ok(()),
        Err(Errno::EXIST) => Err(Error::refused(failed, "it has the changes of another directory")),
        Err(errno) => Err(Error::of(failed, errno)),
    }
}

/// What has changed, by a directory of changes: a line for each path, with `A` for what was added, `M` for what is
/// other than it was, `D` for what is gone.
pub fn changes(dir: &[u8]) -> Result<String> {
    let failed = on("read the changes in {}", dir);
    let opened = open(dir).or_fail(failed)?;
    let origin = files::link_target(opened.as_fd(), ORIGIN)
        .or_fail(failed)
        .map_err(|e| e.hint("--changes DIR makes such a directory"))?;
    let origin = open(origin).ok();
    let mut list = List { origin, changed: opened, lines: Vec::new() };
    list.walk(b"")?;
    list.lines.sort_by(|a, b| a[2..].cmp(&b[2..]));
    Ok(list.lines.concat())
}

struct List {
    origin: Option<OwnedFd>,
    changed: OwnedFd,
    lines: Vec<String>,
}

impl List {
    fn walk(&mut self, below: &[u8]) -> Result<()> {
        let dir = join(&[CHANGED, below]);
        let failed = on("list {}", dir);
        let opened =
            files::open(self.changed.as_fd(), dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW);
        let mut names: Vec<Bytes> = Vec::new();
        files::each_entry(opened.or_fail(failed)?.as_fd(), failed, &mut |name| {
            names.push(join(&[name]));
            Ok(())
        })?;
        for name in names {
            let path = join(&[below, b"/", name]);
            let stat = files::lstat(self.changed.as_fd(), join(&[CHANGED, path])).or_fail(failed)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let before = self.origin.as_ref().map(|origin| files::lstat(origin.as_fd(), &path[1..]));
            let was_there = matches!(before, Some(Ok(_)));
            // A whiteout: a device with the number 0.
            if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
                self.tell('D', path);
                continue;
            }
            if !kind.is_dir() || !was_there {
                self.tell(if was_there { 'M' } else { 'A' }, path);
            }
            if kind.is_dir() {
                self.walk(path)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, what: char, path: &[u8]) {
        self.lines.push(alloc::format!("{what} {}\n", String::from_utf8_lossy(&path[1..])));
    }
}
