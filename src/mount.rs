//! Mounts by file descriptor: find, clone, tighten, attach. No path is used twice, and no
//! attribute is ever cleared.
#![forbid(unsafe_code)]

use crate::creds::Privileged;
use crate::error::{OrFail, Result, on};
use crate::files;
use crate::plan::Tmpfs;
use crate::sys::{self, Reach, Tighten};
use crate::text::{Bytes, c_string, decimal, join, octal};
use core::ffi::CStr;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags};

/// A mount that is attached nowhere yet. Closing it ends it.
#[derive(Debug)]
pub struct Detached(pub OwnedFd);

/// Finds what the caller names, with the caller's rights, once. Links of `/proc` that lead
/// to files without a path are not followed. openat2(2).
pub fn find(path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    files::place(CWD, path, flags | OFlags::PATH, ResolveFlags::NO_MAGICLINKS)
}

impl Detached {
    /// A copy of the file or tree at `path` below `dir` (an empty path: `dir` itself), with
    /// all mounts in it, so that nothing they cover shows. They get these attributes on top of
    /// their own, and nothing is mounted into them from outside any more. `open_tree(2)`.
    pub fn copy(_: &Privileged, dir: impl AsFd, path: &[u8], set: u64) -> rustix::io::Result<Self> {
        copy_tree(dir.as_fd(), path, Tighten::set(set).and_private(), Reach::Tree).map(Detached)
    }

    /// The same without the mounts in it: what lies under them shows.
    pub fn copy_one(_: &Privileged, dir: impl AsFd, path: &[u8], set: u64) -> rustix::io::Result<Self> {
        copy_tree(dir.as_fd(), path, Tighten::set(set).and_private(), Reach::One).map(Detached)
    }

    /// A fresh filesystem of this type. The attributes are those of its mount. fsopen(2).
    pub fn fresh(
        _: &Privileged,
        kind: &CStr,
        options: &[(&CStr, &[u8])],
        attributes: MountAttrFlags,
    ) -> Result<Self> {
        let make = || {
            let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
            for (key, value) in options {
                rustix::mount::fsconfig_set_string(context.as_fd(), *key, c_string(value)?)?;
            }
            rustix::mount::fsconfig_create(context.as_fd())?;
            rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        };
        make().map(Detached).or_fail(on("make a {=}", kind.to_bytes()))
    }

    /// A fresh tmpfs.
    pub fn tmpfs(privileged: &Privileged, options: &Tmpfs) -> Result<Self> {
        let (size, inodes, mode) = values(options);
        let options = [(c"size", size), (c"nr_inodes", inodes), (c"mode", mode)];
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        Detached::fresh(privileged, c"tmpfs", &options, attributes)
    }

    /// Attaches it on `target` and gives its root, now in place. `move_mount(2)`.
    pub fn attach(self, privileged: &Privileged, target: impl AsFd) -> rustix::io::Result<OwnedFd> {
        self.attach_at(privileged, target, b"")
    }

    /// Attaches it on the entry `name` of a directory that only selfdock can change.
    pub fn attach_at(self, _: &Privileged, dir: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        self.attach_in(dir.as_fd(), name)
    }

    #[inline(never)]
    fn attach_in(self, dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        move_tree(self.0.as_fd(), dir, name)?;
        Ok(self.0)
    }
}

/// What a mount of files gets in any case, and what it keeps if it may be written to.
pub fn attributes(writable: bool) -> u64 {
    Tighten::NOSUID | Tighten::NODEV | if writable { 0 } else { Tighten::RDONLY }
}

fn values(options: &Tmpfs) -> (Bytes, Bytes, Bytes) {
    let size = options.size.unwrap_or(64 << 20);
    let inodes = options.inodes.unwrap_or(16384);
    let mode = options.mode.unwrap_or(0o755);
    (decimal(size), decimal(inodes), octal(mode))
}

/// Mounts a fresh tmpfs on `name` in the current directory, or on that itself: `.`. One call,
/// where [`Detached::tmpfs`] takes seven and gives a descriptor. mount(2)
pub fn tmpfs_on(_: &Privileged, name: &CStr, options: &Tmpfs) -> rustix::io::Result<()> {
    let (size, inodes, mode) = values(options);
    let options = join(&[b"size=", size, b",nr_inodes=", inodes, b",mode=", mode]);
    fresh_on(c"tmpfs", name, MountFlags::NOSUID | MountFlags::NODEV, c_string(options)?)
}

/// Binds the current directory, with all mounts in it and each as it is, on `target`. mount(2)
pub fn bind_here(_: &Privileged, target: &CStr) -> rustix::io::Result<()> {
    rustix::mount::mount_bind_recursive(c".", target)
}

/// The same of a directory below the current one; links on the way are followed.
pub fn bind_below(_: &Privileged, source: &CStr, target: &CStr) -> rustix::io::Result<()> {
    rustix::mount::mount_bind_recursive(source, target)
}

/// Mounts a fresh devpts on `name` in the current directory. mount(2)
pub fn devpts_on(_: &Privileged, name: &CStr) -> rustix::io::Result<()> {
    fresh_on(c"devpts", name, MountFlags::NOSUID | MountFlags::NOEXEC, c"ptmxmode=0666,mode=0620")
}

/// Mounts a fresh procfs on `name`. mount(2)
pub fn proc_on(_: &Privileged, name: &CStr, options: &CStr) -> rustix::io::Result<()> {
    fresh_on(c"proc", name, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, options)
}

#[inline(never)]
fn fresh_on(kind: &CStr, name: &CStr, flags: MountFlags, options: &CStr) -> rustix::io::Result<()> {
    rustix::mount::mount(kind, name, kind, flags, options)
}

#[inline(never)]
fn copy_tree(
    dir: BorrowedFd<'_>,
    path: &[u8],
    attributes: Tighten,
    reach: Reach,
) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW
        | OpenTreeFlags::AT_NO_AUTOMOUNT;
    flags.set(OpenTreeFlags::AT_RECURSIVE, reach == Reach::Tree);
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    let path = c_string(path)?;
    if let Ok(tree) = sys::open_tree_attr(dir, path, flags.bits(), attributes) {
        return Ok(tree);
    }
    // A kernel before 6.15; or what fails now as well.
    let tree = rustix::mount::open_tree(dir, path, flags)?;
    sys::tighten(&tree, attributes, reach)?;
    Ok(tree)
}

#[inline(never)]
fn move_tree(tree: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if name.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    rustix::mount::move_mount(tree, c"", dir, c_string(name)?, flags)
}

/// The kind of a mount point: what it has to be depends on what comes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For a tree.
    Directory,
    /// For anything else.
    File,
}

impl Kind {
    /// What `fd` is.
    pub fn of(fd: impl AsFd) -> rustix::io::Result<Self> {
        let stat = rustix::fs::fstat(fd)?;
        Ok(if FileType::from_raw_mode(stat.st_mode).is_dir() { Kind::Directory } else { Kind::File })
    }
}

/// Device and inode number.
pub type Identity = (u64, u64);

/// Which file `fd` is.
pub fn identity(fd: impl AsFd) -> rustix::io::Result<Identity> {
    rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Whether something is mounted on an entry of a directory. Nothing can be on a link.
pub fn is_mount(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<bool> {
    let at = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(dir, c_string(name)?, at, StatxFlags::TYPE)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Makes an empty directory or file, with permissions for all to look in.
pub fn make_entry(dir: impl AsFd, name: &[u8], kind: Kind) -> rustix::io::Result<()> {
    match kind {
        Kind::Directory => files::make_directory(dir.as_fd(), name, 0o755),
        Kind::File => files::make_file(dir.as_fd(), name),
    }
}

/// Opens a directory entry that selfdock made.
pub fn enter(dir: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    files::open(dir.as_fd(), name, OFlags::PATH | OFlags::NOFOLLOW)
}
