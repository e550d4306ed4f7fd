//! Mounts by file descriptor: find, clone, tighten, attach. No path is used twice, and no attribute is ever cleared.

use crate::creds::Privileged;
use crate::error::{Error, Operation, OrFail, Result, on};
use crate::files::{self, Kind, each_entry, make_entry};
use crate::host::{lies_in, places};
use crate::mountinfo;
use crate::plan::Tmpfs;
use crate::sys::{self, Attributes, Reach, Tighten};
use crate::text::{Bytes, c_string, decimal, join, octal};
use alloc::vec::Vec;
use core::ffi::CStr;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags};

/// A mount that is attached nowhere yet. Closing it ends it.
#[derive(Debug)]
pub struct Detached(OwnedFd);

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Opens what the caller names, with the caller's rights, once. Magic links of `/proc` are not followed: they lead to
/// files without a path. openat2(2).
pub fn find(path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    files::open_path(CWD, path, flags | OFlags::PATH, ResolveFlags::NO_MAGICLINKS)
}

impl Detached {
    /// A copy of the file or tree at `path` below `dir` (an empty path: `dir` itself). It includes all submounts, so
    /// that what they cover stays covered. All its mounts get these attributes in addition to their own, and become
    /// private. `open_tree(2)`.
    pub fn copy(_: &Privileged, dir: impl AsFd, path: &[u8], set: Attributes) -> rustix::io::Result<Self> {
        copy_tree(dir.as_fd(), path, Tighten::to(set).and_private(), Reach::Tree).map(Detached)
    }

    /// A copy without submounts: what they cover becomes visible. Otherwise it is like [`Self::copy`].
    pub fn copy_one(
        _: &Privileged,
        dir: impl AsFd,
        path: &[u8],
        set: Attributes,
    ) -> rustix::io::Result<Self> {
        copy_tree(dir.as_fd(), path, Tighten::to(set).and_private(), Reach::One).map(Detached)
    }

    /// A new file system of this type. `attributes` are those of its mount. fsopen(2).
    pub fn fresh(
        _: &Privileged,
        kind: &CStr,
        options: &[(&CStr, &[u8])],
        attributes: Attributes,
    ) -> Result<Self> {
        let attributes = MountAttrFlags::from_bits_retain(attributes.bits());
        let make = || {
            let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
            for (key, value) in options {
                match *value {
                    b"" => rustix::mount::fsconfig_set_flag(context.as_fd(), *key)?,
                    value => rustix::mount::fsconfig_set_string(context.as_fd(), *key, c_string(value)?)?,
                }
            }
            rustix::mount::fsconfig_create(context.as_fd())?;
            rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        };
        make().map(Detached).or_fail(on("make a {=}", kind.to_bytes()))
    }

    /// A new tmpfs.
    pub fn tmpfs(privileged: &Privileged, options: &Tmpfs) -> Result<Self> {
        let (size, inodes, mode) = values(options);
        let options = [(c"size", size), (c"nr_inodes", inodes), (c"mode", mode)];
        Detached::fresh(privileged, c"tmpfs", &options, VOLUME)
    }

    /// Attaches the mount on `target`, and returns its root. `move_mount(2)`.
    pub fn attach(self, privileged: &Privileged, target: impl AsFd) -> rustix::io::Result<OwnedFd> {
        self.attach_at(privileged, target, b"")
    }

    /// Attaches the mount on the entry `name` of a directory that only selfdock can change.
    pub fn attach_at(self, _: &Privileged, dir: impl AsFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        self.attach_in(dir.as_fd(), name)
    }

    fn attach_in(self, dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
        move_tree(self.0.as_fd(), dir, name)?;
        Ok(self.0)
    }
}

/// The attributes of a writable mount of files.
pub const VOLUME: Attributes = Attributes::NOSUID.and(Attributes::NODEV);
/// The attributes of a read-only mount of files.
pub const MAP: Attributes = VOLUME.and(Attributes::RDONLY);
/// The attributes of read-only files that are never executed: names, texts, covers.
pub const INERT: Attributes = MAP.and(Attributes::NOEXEC);
/// The attributes of selfdock's own file, the only mount on which a set-uid bit counts.
pub const OWN_FILE: Attributes = Attributes::RDONLY.and(Attributes::NODEV);

/// A procfs.
pub const PROC: Attributes = VOLUME.and(Attributes::NOEXEC);
/// A devpts.
pub const TERMINALS: Attributes = Attributes::NOSUID.and(Attributes::NOEXEC);

/// [`VOLUME`] or [`MAP`].
pub const fn of_files(writable: bool) -> Attributes {
    if writable { VOLUME } else { MAP }
}

/// The attributes that the mount of a device gets in addition to its own.
pub const DEVICE: Attributes = Attributes::RDONLY.and(Attributes::NOSUID).and(Attributes::NOEXEC);

fn values(options: &Tmpfs) -> (Bytes, Bytes, Bytes) {
    (decimal(options.size), decimal(options.inodes), octal(options.mode))
}

/// Mounts a new tmpfs on `name` in the current directory, or on `.`. This takes one call, where [`Detached::tmpfs`]
/// takes seven, but returns no descriptor. mount(2)
pub fn tmpfs_on(_: &Privileged, name: &CStr, options: &Tmpfs) -> rustix::io::Result<()> {
    let (size, inodes, mode) = values(options);
    let options = join(&[b"size=", size, b",nr_inodes=", inodes, b",mode=", mode]);
    fresh_on(c"tmpfs", name, VOLUME, c_string(options)?)
}

/// Binds a directory below the current one and its submounts, with their attributes, on `target`. Links are followed.
/// mount(2)
pub fn bind_below(_: &Privileged, source: &CStr, target: &CStr) -> rustix::io::Result<()> {
    rustix::mount::mount_bind_recursive(source, target)
}

/// Mounts a new devpts on `name` in the current directory. mount(2)
pub fn devpts_on(_: &Privileged, name: &CStr) -> rustix::io::Result<()> {
    fresh_on(c"devpts", name, TERMINALS, c"ptmxmode=0666,mode=0620")
}

/// Mounts a new procfs on `name`. mount(2)
pub fn proc_on(_: &Privileged, name: &CStr, options: &CStr) -> rustix::io::Result<()> {
    fresh_on(c"proc", name, PROC, options)
}

fn fresh_on(kind: &CStr, name: &CStr, attributes: Attributes, options: &CStr) -> rustix::io::Result<()> {
    rustix::mount::mount(kind, name, kind, MountFlags::from_bits_retain(attributes.bits()), options)
}

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
    // The kernel is older than 6.15, or the copy fails for a reason that shows again.
    let tree = rustix::mount::open_tree(dir, path, flags)?;
    sys::tighten(&tree, attributes, reach)?;
    Ok(tree)
}

fn move_tree(tree: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if name.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    rustix::mount::move_mount(tree, c"", dir, c_string(name)?, flags)
}

/// Whether something is mounted on an entry of a directory, or on what a link there leads to.
pub fn is_mount(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<bool> {
    let stat = rustix::fs::statx(dir, c_string(name)?, AtFlags::empty(), StatxFlags::TYPE)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether an entry of a directory is the mount point of a file system that may never answer, since another program or
/// machine serves it. The kernel knows this without asking the file system. Such a file system has no block device, and
/// its type (from Linux 6.8 on) is none of those that the kernel serves alone. FUSE on a block device is one, too, but
/// counts as a disk before Linux 6.8. statx(2), statmount(2)
pub fn may_be_silent(dir: BorrowedFd<'_>, name: &[u8]) -> bool {
    const LOCAL: &[u8] = b"btrfs,zfs,tmpfs,overlay,bcachefs";
    let at = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let wanted = StatxFlags::from_bits_retain(sys::Number::Unique as u32);
    let Ok(stat) = c_string(name).and_then(|name| rustix::fs::statx(dir, name, at, wanted)) else {
        return false;
    };
    let kind = || sys::describe_mount(stat.stx_mnt_id).ok()?.kind;
    stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        && match (kind(), stat.stx_dev_major) {
            (Some(kind), 0) => !mountinfo::has(LOCAL, &kind),
            // FUSE on a block device.
            (Some(kind), _) => kind == b"fuseblk",
            (None, major) => major == 0,
        }
}

/// Whether a lookup that is at `at`, an absolute path below `root`, has gone into a file system that may never answer.
/// It is called with each place on the way. `silent` becomes the mount point of such a file system. The places of the
/// list are none.
pub fn is_in_silent(root: BorrowedFd<'_>, at: &[u8], list: &[u8], silent: &mut Bytes) -> bool {
    if !silent.is_empty() && lies_in(at, silent) {
        return true;
    }
    if may_be_silent(root, &at[1..]) && !places(list).any(|place| place == at) {
        *silent = join(&[at]);
    }
    false
}

/// Adds an entry of `from` to a directory of ours: a link is copied, everything else is bound, with these attributes
/// added.
pub fn show_entry(
    privileged: &Privileged,
    into: &OwnedFd,
    from: BorrowedFd<'_>,
    name: &[u8],
    attributes: Attributes,
) -> rustix::io::Result<()> {
    let found = files::kind(from, name);
    let kind = match found {
        Ok(FileType::Symlink) => {
            return files::make_link(files::link_target(from, name)?, into.as_fd(), name);
        }
        Err(errno) if errno == Errno::NOENT || files::is_want(errno) => return Err(errno),
        // The kernel refuses stat on the mount point of another user's FUSE. It is mostly a directory.
        Ok(FileType::Directory | FileType::Unknown) | Err(_) => Kind::Directory,
        Ok(_) => Kind::File,
    };
    make_entry(into, name, kind)?;
    let tree = Detached::copy(privileged, from, name, attributes);
    let shown = tree.and_then(|tree| tree.attach_at(privileged, into, name)).map(drop);
    if found.is_ok() { shown } else { Ok(()) }
}

/// Lists a directory that is not ours, with no capability in effect.
pub fn list(
    privileged: &Privileged,
    dir: BorrowedFd<'_>,
    failed: Operation<'_>,
    most: usize,
    too_many: &dyn Fn() -> Error,
) -> Result<Vec<Bytes>> {
    let mut names = Vec::new();
    privileged.without(|| {
        each_entry(dir, failed, &mut |name| {
            if names.len() == most {
                return Err(too_many());
            }
            names.push(join(&[name]));
            Ok(())
        })
    })??;
    Ok(names)
}

/// Makes all mounts private, adds these attributes, and opens the root directory.
pub fn make_private(attributes: Attributes) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let root = files::open_path(CWD, b"/", flags, ResolveFlags::NO_MAGICLINKS).or_fail("open '/'")?;
    sys::tighten(&root, Tighten::to(attributes).and_private(), Reach::Tree)
        .or_fail("make mounts private")
        .map_err(|e| if e.errno() == Some(Errno::INVAL) { jail() } else { e })?;
    Ok(root)
}

/// The error for a chroot as the root directory.
pub fn jail() -> Error {
    let why = "the root directory is a chroot, where selfdock cannot work";
    Error::refused("start", why).hint("use pivot_root(2) instead of chroot(2)")
}
