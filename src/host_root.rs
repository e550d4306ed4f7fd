//! The root directory of an instance of the host image: an allow list of the host's, shown in a directory that is
//! none of the host's. The installation has it ready; where there is none, or where it lacks a mount point in the
//! root, the same is made in a tmpfs.
//!
//! The host's root directory stays below, as the initramfs does below every root, and nothing leads there: the
//! parent of a root directory is itself, a mount below the one at `/` has no path, what is above it cannot be taken
//! away without privilege in the user namespace that made it, and setns(2) goes to the topmost. `path_parent()` and
//! `choose_mountpoint()`, `mntns_install()`, `lock_mnt_tree()`, fs/namei.c and fs/namespace.c

use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, on};
use crate::files::{self, Kind, make_entry};
use crate::host::{EMPTY, Entry, Seen, Shown, entries, homes};
use crate::installation::{Prepared, Shows};
use crate::mount::{self, Detached};
use crate::plan::{Mount, What, components};
use crate::stage::Stage;
use crate::text::{Bytes, decimal};
use core::ffi::CStr;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What the host image is made from.
pub struct HostRoot {
    /// The prepared root directory, if there is one that will do.
    prepared: Option<Prepared>,
    /// What to show in it.
    list: Bytes,
}

impl HostRoot {
    /// Finds it.
    pub fn open(
        privileged: &Privileged,
        from: Shows,
        mounts: &[Mount<'_>],
        program: Option<&[u8]>,
    ) -> Result<Self> {
        let Shows { installation: Some(installation), list: Some(list) } = from else {
            return Ok(HostRoot { prepared: None, list: look_up() });
        };
        let mut prepared = installation.copy(privileged, b"");
        if let Some(Prepared { tree, .. }) = &prepared {
            let wanted = mounts.iter().filter(|mount| !matches!(mount.what, What::Mask { .. }));
            // Its own place has been prepared as well.
            let program = program.filter(|path| *path != installation.program());
            let wanted = wanted.map(|mount| mount.dst).chain(program);
            if !has_all(tree, wanted)? {
                prepared = None;
            }
        }
        Ok(HostRoot { prepared, list })
    }

    /// Whether an installation has made it.
    pub fn is_prepared(&self) -> bool {
        self.prepared.is_some()
    }

    /// Whether the old root stays below it.
    pub fn keeps_the_old(&self) -> bool {
        self.prepared.as_ref().is_some_and(|prepared| !prepared.nested)
    }

    /// Makes it the root directory of the instance. The caller's home is out of sight also where it lies in a place.
    pub fn show(self, stage: &mut Stage, caller: &Owner<'_>) -> Result<()> {
        // Where an outer instance's owner could have put a link, none is followed.
        let mut is_closed = self.keeps_the_old();
        let old = match self.prepared {
            Some(Prepared { tree, nested }) => {
                let root = stage.cover_root(tree)?;
                // Level by level the roots below would become more, and each mount takes its time.
                stage.go_into(root, nested)?
            }
            None => {
                let root = stage.begin_own_root()?;
                let old = stage.go_into(root, true)?;
                make(stage, self.list)?;
                old
            }
        };
        if is_closed {
            rustix::process::fchdir(&old.dir).or_fail("change the root directory")?;
        }
        for entry in entries(self.list) {
            match entry {
                // The kernel's own files are nothing to build in, and root could write there.
                Entry::Place([b'/', b's', b'y', b's', b'/', ..]) if stage.is_writable() => {}
                Entry::Place(place) => show(stage.privileged(), &old.dir, place, is_closed)?,
                Entry::Open => is_closed = false,
                Entry::Link(..) | Entry::Home(..) => {}
            }
        }
        stage.let_go(old)?;
        for home in homes(self.list, decimal(caller.uid), caller.home) {
            stage.hide_of(&home, caller.uid)?;
        }
        Ok(())
    }
}

/// Whose home is to be hidden.
pub struct Owner<'a> {
    /// The caller.
    pub uid: u32,
    /// What the caller's `HOME` says, if it is a path.
    pub home: Option<&'a [u8]>,
}

/// What an installation would have put on its list.
pub fn look_up() -> Bytes {
    let mut look = |path: &[u8]| match files::link_target(CWD, path) {
        Ok(target) => Seen::Link(target.to_vec()),
        Err(Errno::INVAL) => Seen::Place,
        Err(_) => Seen::Nothing,
    };
    Shown::of_host(&mut look).0.leak()
}

/// Whether the first names of all these paths are there. They come sorted, so this asks once for each.
fn has_all<'n>(root: &Detached, paths: impl Iterator<Item = &'n [u8]>) -> Result<bool> {
    let mut last: &[u8] = b"";
    for name in paths.filter_map(|path| components(path).next()) {
        if name != last {
            match files::lstat(root.0.as_fd(), name) {
                Ok(_) => {}
                Err(Errno::NOENT) => return Ok(false),
                Err(errno) => return Err(Error::of(on("look up {} in the root directory", name), errno)),
            }
        }
        last = name;
    }
    Ok(true)
}

/// Makes in a tmpfs what an installation prepares in a directory, but for `/dev`, which is mounted.
fn make(stage: &Stage, list: Bytes) -> Result<()> {
    let root = stage.root();
    let directory = |path: &[u8]| match make_entry(root, path, Kind::Directory) {
        // A link to nowhere is in the way.
        Ok(()) | Err(Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(errno) => Err(Error::of(on("make the directory {}", path), errno)),
    };
    // These first: nothing that the list says can stand in their place.
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

/// Shows a place of the host, a path with a NUL at its end, where it was. It is looked up below the old root, without
/// any link, so that none leads elsewhere, unless only root could have put one there: that is one call in the place of
/// four, and a link of root's that leads through the root directory ends in the new one. What is mounted there has been
/// tightened, and stays so. Not a mistake where it is gone, or the caller may not go there: it is then as empty as the
/// installation made it.
fn show(privileged: &Privileged, old: &OwnedFd, place: &[u8], is_closed: bool) -> Result<()> {
    let (Ok(path), [b'/', name @ .., 0]) = (CStr::from_bytes_with_nul(place), place) else { return Ok(()) };
    let show = || {
        if is_closed {
            let below = crate::sys::c_str(&place[1..]).ok_or(Errno::INVAL)?;
            return mount::bind_below(privileged, below, path);
        }
        let rules = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        let dir = files::open_path(old.as_fd(), name, OFlags::PATH | OFlags::DIRECTORY, rules)?;
        rustix::process::fchdir(&dir)?;
        mount::bind_here(privileged, path)
    };
    match show() {
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => Ok(()),
        Err(errno) => Err(Error::of(on("bind {}", path.to_bytes()), errno)),
    }
}
