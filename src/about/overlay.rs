//! `--overlay`: a writable copy of a directory, whose changes are discarded. The second program, which has no
//! privilege, makes a user namespace and a mount namespace. There it mounts the kernel's overlay on the directory,
//! and starts selfdock. So the overlay reads its layers with the caller's rights only, whatever the mode of selfdock.
//! `user_namespaces(7)`; Documentation/filesystems/overlayfs.rst
//!
//! The copy keeps the permissions of the directory, except for its top directory, which belongs to the caller. The
//! caller cannot change files of other users: a copy would have to belong to them.

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

/// The tmpfs for changes that are not kept: large enough for a build.
const ROOM: Tmpfs = Tmpfs { size: 1 << 30, inodes: 1 << 18, mode: 0o755 };

/// The entries of a directory of changes: the changed files, a link to the original, and the kernel's work directory.
const CHANGED: &[u8] = b"changed";
const ORIGIN: &[u8] = b"origin";
const WORK: &[u8] = b"work";

/// Mounts an overlay on each of these directories, in new namespaces of this process. Changes go to a tmpfs, or to
/// the directory `changes`. Afterwards this process has no privilege.
pub fn lay_over(caller: Caller, sources: &[&[u8]], changes: Option<&[u8]>) -> Result<()> {
    if changes.is_some() && sources.len() > 1 {
        return Err(Error::refused("option --changes", "it keeps the changes of one --overlay only"));
    }
    // Errors are reported before anything is made.
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
    // A dumpable process can open its own descriptors in /proc. The capabilities count for the caller's own files
    // only.
    creds::become_dumpable()?;
    make_private(Attributes::NONE)?;
    for source in sources {
        lay_over_one(&privileged, source, changes)?;
    }
    // The current directory is still the original one, below the overlay: enter the copy.
    if let Ok(path) = sys::getcwd() {
        let failed = "enter the copy";
        rustix::process::fchdir(open(&path).or_fail(failed)?).or_fail(failed)?;
    }
    privileged.relinquish()
}

fn open(dir: &[u8]) -> rustix::io::Result<OwnedFd> {
    files::open(CWD, dir, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens all layers in the new mount namespace, since the kernel takes no layers of another one.
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
    // A submount would have to be left out, and what it covers would become visible: the kernel refuses that.
    let mounts = "something is mounted in it, or its file system cannot be a layer; use another directory";
    let overlay = Detached::fresh(privileged, c"overlay", &options, VOLUME)
        .map_err(|e| e.about(failed).hint_if(Errno::INVAL, mounts))?;
    // The tmpfs is mounted on the directory; the overlay goes on top of it.
    let place = if changes.is_some() { &lower } else { &room };
    overlay.attach(privileged, place).or_fail(failed).map(drop)
}

/// Makes a directory of changes, or checks that an existing one belongs to the same source.
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

/// The list of changes, a line for each path: `A` for added, `M` for modified, `D` for deleted.
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
            // A whiteout is a device with the number 0.
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
