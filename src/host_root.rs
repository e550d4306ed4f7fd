//! The root directory of an instance without `--root`: a directory of selfdock's, in which an allow list of the
//! host's directories is bound. The installation prepares it. Without an installation, or if a mount point is missing
//! in the root, it is made in a tmpfs.
//!
//! The host's root directory stays mounted below, as the initramfs stays below every root. Nothing leads to it:
//! - The parent of a root directory is the root directory itself (`path_parent()`, fs/namei.c).
//! - A mount below the one at `/` has no path (`choose_mountpoint()`, fs/namei.c).
//! - Without privilege in the user namespace that made it, nobody can unmount what is above it (`lock_mnt_tree()`,
//!   fs/namespace.c).
//! - setns(2) goes to the topmost mount (`mntns_install()`, fs/namespace.c).

use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, on};
use crate::files::{self, Kind, make_entry};
use crate::host::{EMPTY, Entry, Seen, Shown, entries, homes, is_sysfs};
use crate::installation::{Preparations, Prepared};
use crate::mount::{self, Detached};
use crate::plan::{Mount, Source, components};
use crate::stage::Stage;
use crate::sys::Attributes;
use crate::text::{Bytes, decimal};
use core::ffi::CStr;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The sources of the root directory.
pub struct HostRoot {
    /// The prepared root directory, if it exists and has all mount points.
    prepared: Option<Prepared>,
    /// The list of directories to bind.
    list: Bytes,
}

impl HostRoot {
    /// Finds the prepared root directory and the list.
    pub fn open(
        privileged: &Privileged,
        preparations: Preparations,
        mounts: &[Mount<'_>],
        program: Option<&[u8]>,
    ) -> Result<Self> {
        let Preparations { installation: Some(installation), list: Some(list) } = preparations else {
            return Ok(HostRoot { prepared: None, list: look_up()? });
        };
        let mut prepared = installation.copy(privileged, b"");
        if let Some(Prepared { tree, .. }) = &prepared {
            // The mount point for the installed program is prepared, too.
            let program = program.filter(|path| *path != installation.program());
            if !has_mount_points(tree, mounts, program)? {
                prepared = None;
            }
        }
        Ok(HostRoot { prepared, list })
    }

    /// Whether the prepared root directory is used.
    pub fn is_prepared(&self) -> bool {
        self.prepared.is_some()
    }

    /// Whether the old root directory stays mounted below.
    pub fn keeps_the_old(&self) -> bool {
        self.prepared.as_ref().is_some_and(|prepared| !prepared.nested)
    }

    /// Makes it the root directory of the instance. The caller's home is hidden, if it lies in a directory of the
    /// list.
    pub fn show(self, stage: &mut Stage, caller: &Owner<'_>) -> Result<()> {
        // In a nested instance the owner of the outer one could have made links, so no link is followed.
        let mut is_closed = self.keeps_the_old();
        let old = match self.prepared {
            Some(Prepared { tree, nested }) => {
                let root = stage.cover_root(tree)?;
                // Otherwise each nesting level would add a root below, and mounts would get slower.
                stage.enter_root(root, nested)?
            }
            None => {
                let root = stage.begin_own_root()?;
                let old = stage.enter_root(root, true)?;
                make(stage, self.list)?;
                old
            }
        };
        if is_closed {
            rustix::process::fchdir(&old.dir).or_fail("change the root directory")?;
        }
        for entry in entries(self.list) {
            match entry {
                // In `build` sysfs is left out, since root could write there.
                Entry::Place(place) if stage.is_writable() && is_sysfs(place) => {}
                Entry::Place(place) => show(stage, &old.dir, place, is_closed)?,
                Entry::Open => is_closed = false,
                Entry::Link(..) | Entry::Home(..) => {}
            }
        }
        stage.let_go(old)?;
        for home in homes(self.list, decimal(caller.uid), caller.home) {
            stage.hide_of(&home, self.list, caller.uid)?;
        }
        Ok(())
    }
}

/// The user whose home is hidden.
pub struct Owner<'a> {
    pub uid: u32,
    /// The caller's `HOME`, if it is a path.
    pub home: Option<&'a [u8]>,
}

/// The list that an installation would write now.
pub fn look_up() -> Result<Bytes> {
    let mut want = None;
    let mut look = |path: &[u8]| match files::link_target(CWD, path) {
        Ok(target) => Seen::Link(target.to_vec()),
        Err(Errno::INVAL) => Seen::Place,
        Err(errno) => {
            // Without memory nothing is known.
            want = want.or(Some(errno).filter(|errno| files::is_want(*errno)));
            Seen::Nothing
        }
    };
    let list = Shown::of_host(&mut look).0.leak();
    want.map_or(Ok(list), |errno| Err(Error::of("look up a directory of the host", errno)))
}

/// Whether a root directory has the first components of all mount points. The mounts are sorted, so each name is looked
/// up once.
pub fn has_mount_points(root: impl AsFd, mounts: &[Mount<'_>], program: Option<&[u8]>) -> Result<bool> {
    let mut last: &[u8] = b"";
    let wanted = mounts.iter().filter(|mount| !matches!(mount.source, Source::Mask { .. }));
    let wanted = wanted.map(|mount| mount.dst).chain(program);
    for name in wanted.filter_map(|path| components(path).next()) {
        if name != last {
            match files::lstat(root.as_fd(), name) {
                Ok(_) => {}
                Err(Errno::NOENT) => return Ok(false),
                Err(errno) => return Err(Error::of(on("look up {} in the root directory", name), errno)),
            }
        }
        last = name;
    }
    Ok(true)
}

/// Makes in a tmpfs what an installation prepares in a directory, except for `/dev`, which is mounted later.
fn make(stage: &Stage, list: Bytes) -> Result<()> {
    let root = stage.root();
    let directory = |path: &[u8]| match make_entry(root, path, Kind::Directory) {
        // A dangling link is in the way.
        Ok(()) | Err(Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::of(on("make the directory {}", path), errno)),
    };
    // These are made first, so that no entry of the list takes their names.
    ["proc", "dev", "tmp"].iter().try_for_each(|name| directory(name.as_bytes()))?;
    for entry in entries(list) {
        let path = match entry {
            Entry::Place([path @ .., _]) | Entry::Link(path, _) => path,
            Entry::Place(_) | Entry::Open | Entry::Home(..) => continue,
        };
        for at in (1..path.len()).filter(|at| path[*at] == b'/') {
            directory(&path[1..at])?;
        }
        match entry {
            Entry::Place(_) | Entry::Open | Entry::Home(..) => {
                directory(path.strip_prefix(b"/").unwrap_or(path))?;
            }
            Entry::Link(_, target) => {
                match files::make_link(target, root, path.strip_prefix(b"/").unwrap_or(path)) {
                    Ok(()) | Err(Errno::EXIST | Errno::NOENT) => {}
                    Err(errno) => return Err(Error::of(on("make the link {}", path), errno)),
                }
            }
        }
    }
    EMPTY.iter().try_for_each(|name| directory(name.as_bytes()))
}

/// Binds a directory of the host on its own path. `place` ends with a NUL. The directory is looked up below the old
/// root directory, without following links, so that none leads elsewhere. Its file system is not asked, since it may
/// never answer. If only root can have made a link there (`is_closed`), links are followed: this takes one call instead
/// of five, and a link through the root directory leads into the new one. The mounts in it have been tightened, and
/// stay so. It is no error if the directory is missing, or lies in one that the caller may not enter: then it stays
/// empty, as the installation made it.
fn show(stage: &Stage, old: &OwnedFd, place: &[u8], is_closed: bool) -> Result<()> {
    let (Ok(path), [b'/', name @ .., 0]) = (CStr::from_bytes_with_nul(place), place) else { return Ok(()) };
    let privileged = stage.privileged();
    let show = || {
        if is_closed {
            let below = crate::sys::c_str(&place[1..]).ok_or(Errno::INVAL)?;
            return mount::bind_below(privileged, below, path);
        }
        let rules = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        let dir = files::open_path(old.as_fd(), name, OFlags::PATH | OFlags::DIRECTORY, rules)?;
        let tree = Detached::copy(privileged, &dir, b"", Attributes::NONE)?;
        tree.attach_at(privileged, stage.root(), name).map(drop)
    };
    match show() {
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => Ok(()),
        Err(errno) => Err(Error::of(on("bind {}", path.to_bytes()), errno)),
    }
}
