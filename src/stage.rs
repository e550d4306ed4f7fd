//! An instance under construction: its root directory, its mount points, and its own files and directories, which are
//! made in a tmpfs.
//!
//! A missing mount point is made without touching the image: its parent directory is covered by a new directory, in
//! which all entries of the old one are bound, and which gets one more. Only runs that need this pay for it.

use crate::creds::Privileged;
use crate::error::{Error, Operation, OrFail, Result, both, on};
use crate::files::{self, Kind, identity, make_entry, open_entry, open_in};
use crate::host::{self, Seen, lies_in};
use crate::layers::Layer;
use crate::mount::{self, Detached, INERT, MAP, jail, list, make_private, show_entry};
use crate::plan::{Tmpfs, components, is_in_shm};
use crate::sys::{self, Attributes, Reach, Tighten};
use crate::text::{Bytes, bound, decimal, join};
use alloc::vec::Vec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

bound! {
    /// The most entries of a directory that is covered in this way.
    MOST_ENTRIES = 4096,
    TOO_MANY_ENTRIES = "it has more than ", " entries"
}

/// What to do if the entries of a directory cannot be shown beside a new one.
const IN_THE_IMAGE: &str = "make the mount point in the image";

/// Where a link of a file of names may lead, on the host and in the instance: `/etc` itself, directories that show
/// what is installed, and those in which services of the host write such files.
pub const PLACES_OF_NAMES: [&[u8]; 6] = [b"/etc", b"/run", b"/mnt", b"/usr", b"/nix", b"/gnu"];

/// A directory in one of these that has other files: those of a session of the caller, such as keys.
pub const SESSIONS: &[u8] = b"/run/user";

/// The options of the tmpfs for a new root directory and for scratch files: it has room for names only.
const SCRATCH: Tmpfs = Tmpfs { size: 64 << 20, inodes: 65536, mode: 0o755 };

/// The old root directory.
pub struct Old {
    pub dir: OwnedFd,
    exchanged: bool,
}

/// An instance under construction.
pub struct Stage {
    /// The privilege, which only the stage holds while it exists.
    privileged: Privileged,
    /// The root directory of the instance.
    root: OwnedFd,
    /// Whether missing mount points are made in the image itself, with the caller's rights: `build`.
    in_image: bool,
    /// A tmpfs for files and directories of the instance's own. It is made when first needed, on `/proc`, where
    /// procfs covers it in the end. It is writable until then.
    scratch: Option<OwnedFd>,
    /// An empty read-only directory. Masks of directories are copies of it.
    empty: Option<OwnedFd>,
    /// How many masks of files there are so far. Each has a file of its own.
    file_covers: u32,
    /// The device numbers of file systems that selfdock made. Entries can be added to them if they are writable.
    own: Vec<u64>,
    /// Mounts that stay writable until the end, so that entries can be added; and where they are.
    unfinished: Vec<(OwnedFd, Bytes)>,
    /// The mount points of the caller so far, with links resolved.
    mount_points: Vec<Bytes>,
}

/// Whether entries can be added to a directory.
#[derive(PartialEq)]
enum Growth {
    Grows,
    ReadOnly,
    OfVolume,
}

impl Stage {
    /// Starts from the root directory of this process, in a new mount namespace. Makes all mounts private and adds
    /// `attributes` to each. Mounts that must stay without them must be copied before. `mount_namespaces(7)`.
    pub fn begin(privileged: Privileged, in_image: bool, attributes: Attributes) -> Result<Self> {
        let root = make_private(attributes)?;
        let (own, unfinished, mount_points) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Stage {
            privileged,
            root,
            in_image,
            scratch: None,
            empty: None,
            file_covers: 0,
            own,
            unfinished,
            mount_points,
        })
    }

    /// Opens a path in the instance. No link leads out of it. openat2(2), `RESOLVE_IN_ROOT`.
    pub fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        open_in(&self.root, path, flags)
    }

    // ---- the root directory --------------------------------------------------------------------

    /// Enters a root directory that covers the old one. The old one stays mounted below: see
    /// [`host_root`](crate::host_root). With `exchange` the two are exchanged, so that [`Stage::let_go`] can unmount
    /// the old one, which costs a grace period of the kernel. An initramfs cannot be exchanged. `pivot_root(2)`,
    /// notes
    pub fn enter_root(&mut self, root: OwnedFd, exchange: bool) -> Result<Old> {
        let failed = "change the root directory";
        change_root(&root)?;
        refuse_jail(&self.root, &root)?;
        let mut exchanged = false;
        if exchange {
            change_root(&self.root)?;
            rustix::process::fchdir(&root).or_fail(failed)?;
            match rustix::process::pivot_root(c".", c".") {
                // EPERM and ENOSYS come from a filter of system calls, such as Docker's.
                Err(Errno::INVAL | Errno::PERM | Errno::NOSYS) => change_root(&root)?,
                done => done.or_fail(failed).map(|()| exchanged = true)?,
            }
        }
        Ok(Old { dir: core::mem::replace(&mut self.root, root), exchanged })
    }

    /// Unmounts the old root directory, if it was exchanged.
    pub fn let_go(&mut self, old: Old) -> Result<()> {
        let failed = "unmount the old root directory";
        // The empty directory was in the old root directory.
        self.empty = None;
        if old.exchanged {
            rustix::process::fchdir(old.dir).or_fail(failed)?;
            rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH).or_fail(failed)?;
        }
        Ok(())
    }

    /// Attaches a tree on the root directory. It becomes visible by [`Stage::enter_root`].
    pub fn cover_root(&self, tree: Detached) -> Result<OwnedFd> {
        tree.attach_at(&self.privileged, CWD, b"/").or_fail("attach the root filesystem")
    }

    /// Replaces the root directory by a tree, and unmounts the old one.
    pub fn change_root(&mut self, tree: Detached) -> Result<()> {
        let root = self.cover_root(tree)?;
        self.leave_old_root(root)
    }

    fn leave_old_root(&mut self, root: OwnedFd) -> Result<()> {
        let old = self.enter_root(root, true)?;
        self.let_go(old)
    }

    /// If one of the names is missing in the root directory, makes a new root directory, in which the same entries
    /// are bound and more can be added.
    pub fn prepare_root<'n>(&mut self, names: impl Iterator<Item = &'n [u8]>) -> Result<()> {
        let mut last: &[u8] = b"";
        for name in names {
            // The names are sorted, so each is looked up once.
            if name != last {
                match files::lstat(self.root.as_fd(), name) {
                    Ok(_) => {}
                    Err(Errno::NOENT) => {
                        let growth = self.growth(&self.root).or_fail("examine the root directory")?;
                        return if growth == Growth::Grows { Ok(()) } else { self.make_own_root() };
                    }
                    Err(errno) => return Err(Error::of(on("look up {} in the root directory", name), errno)),
                }
            }
            last = name;
        }
        Ok(())
    }

    /// Whether entries can be added to a directory. In a volume they would be the caller's.
    fn growth(&self, dir: &OwnedFd) -> rustix::io::Result<Growth> {
        if rustix::fs::fstatvfs(dir)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Ok(Growth::ReadOnly);
        }
        let (device, _) = identity(dir)?;
        let grows = self.in_image || self.own.contains(&device);
        Ok(if grows { Growth::Grows } else { Growth::OfVolume })
    }

    fn make_own_root(&mut self) -> Result<()> {
        let root = self.begin_own_root()?;
        self.fill(&root, self.root.as_fd(), b"/")?;
        self.leave_old_root(root)
    }

    /// Attaches a new, empty root directory over the old one.
    pub fn begin_own_root(&mut self) -> Result<OwnedFd> {
        let root = self.cover_root(Detached::tmpfs(&self.privileged, &SCRATCH)?)?;
        self.own.push(identity(&root).or_fail("examine the root directory")?.0);
        self.unfinished.push((duplicate(&root)?, b"/"));
        Ok(root)
    }

    /// Gives the instance a root directory that merges several layers. A later layer lies over the earlier ones.
    pub fn stack_roots(&mut self, layers: &[Layer]) -> Result<()> {
        let root = self.begin_own_root()?;
        let layers: Vec<&Layer> = layers.iter().rev().collect();
        crate::layers::merge(&self.privileged, &root, &layers)?;
        self.leave_old_root(root)
    }

    // ---- files and directories of the instance's own -------------------------------------------

    /// Mounts a new tmpfs, which the command can write to.
    pub fn mount_tmpfs(&mut self, path: &[u8], options: &Tmpfs, target: OwnedFd) -> Result<()> {
        let failed = on("mount on {}", path);
        let (device, _) = match rustix::process::fchdir(&target) {
            Ok(()) => {
                mount::tmpfs_on(&self.privileged, c".", options).or_fail(failed)?;
                // The new mount is visible by its path only, which was resolved a moment ago. For a mount of the
                // caller's that is the place without links.
                files::identity_of(self.mount_points.last().unwrap_or(&path)).or_fail(failed)?
            }
            // The caller may not enter this directory, but may mount on it.
            Err(_) => {
                let tmpfs = Detached::tmpfs(&self.privileged, options)?;
                identity(tmpfs.attach(&self.privileged, target).or_fail(failed)?).or_fail(failed)?
            }
        };
        self.own.push(device);
        Ok(())
    }

    /// Notes that the file system at `path` is the instance's own, so entries can be added.
    pub fn own(&mut self, path: &[u8]) -> Result<()> {
        self.own.push(files::identity_of(path).or_fail(on("examine {}", path))?.0);
        Ok(())
    }

    /// Mounts a tmpfs on the `/tmp` of the host image. Only selfdock can have changed that directory.
    pub fn mount_tmp(&mut self) -> Result<()> {
        let failed = "mount on '/tmp'";
        mount::tmpfs_on(&self.privileged, c"/tmp", &Tmpfs::DEFAULT).or_fail(failed)?;
        self.own(b"/tmp")
    }

    /// The scratch tmpfs, and the privilege to copy from it. They are borrowed together, apart from the other fields.
    fn scratch(&mut self) -> Result<(BorrowedFd<'_>, &Privileged)> {
        let scratch = match self.scratch.take() {
            Some(scratch) => scratch,
            None => {
                let failed = "mount on '/proc'";
                let target = self.own_mount_point("/proc")?;
                let tmpfs = Detached::tmpfs(&self.privileged, &SCRATCH)?;
                let tmpfs = tmpfs.attach(&self.privileged, target).or_fail(failed)?;
                self.own.push(identity(&tmpfs).or_fail(failed)?.0);
                tmpfs
            }
        };
        Ok(((*self.scratch.insert(scratch)).as_fd(), &self.privileged))
    }

    /// Makes a file or directory in the scratch tmpfs, and opens it.
    pub fn make_scratch(&mut self, name: &[u8], kind: Kind) -> Result<OwnedFd> {
        let failed = on("make {} in the instance's tmpfs", name);
        let (scratch, _) = self.scratch()?;
        make_entry(scratch, name, kind).or_fail(failed)?;
        open_entry(scratch, name).or_fail(failed)
    }

    /// A copy of the mount of an entry of the scratch tmpfs, with these attributes added.
    pub fn copy_of_scratch(&mut self, name: &[u8], attributes: Attributes) -> Result<Detached> {
        let (scratch, privileged) = self.scratch()?;
        Detached::copy(privileged, scratch, name, attributes).or_fail(on("copy {}", name))
    }

    /// A copy of an empty read-only directory.
    fn copy_of_empty(&mut self, failed: Operation<'_>) -> Result<Detached> {
        let empty = match self.empty.take() {
            Some(empty) => empty,
            None => {
                let place = self.make_scratch(b"empty", Kind::Directory)?;
                let empty = self.copy_of_scratch(b"empty", INERT)?;
                empty.attach(&self.privileged, place).or_fail("make an empty directory")?
            }
        };
        let empty = self.empty.insert(empty);
        Detached::copy(&self.privileged, empty, b"", INERT).or_fail(failed)
    }

    /// Covers a directory or file of the instance by an empty, read-only one. Returns whether it exists.
    pub fn hide(&mut self, path: &[u8]) -> Result<bool> {
        let failed = on("mask {}", path);
        let target = match self.resolve_destination(path, failed)?.1 {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            found => found.or_fail(failed)?,
        };
        // The kernel refuses stat on the mount point of another user's FUSE. It is mostly a directory.
        let cover = match files::kind(target.as_fd(), b"") {
            Ok(FileType::Directory) | Err(_) => self.copy_of_empty(failed)?,
            Ok(_) => {
                let name = join(&[b"cover", decimal(self.file_covers)]);
                self.file_covers += 1;
                self.make_scratch(name, Kind::File)?;
                self.copy_of_scratch(name, INERT)?
            }
        };
        cover.attach(&self.privileged, target).or_fail(failed).map(|_| true)
    }

    /// Hides a directory of this owner, if it exists. A mount of the caller may cover it later.
    pub fn hide_of(&mut self, path: &[u8], list: &[u8], owner: u32) -> Result<()> {
        let failed = on("hide {}", path);
        if let Some((_, target)) = home_to_hide(&self.root, path, list, owner).or_fail(failed)? {
            self.copy_of_empty(failed)?.attach(&self.privileged, target).or_fail(failed)?;
        }
        Ok(())
    }

    /// Makes a read-only file with this text.
    pub fn text_file(&mut self, name: &[u8], text: &[u8]) -> Result<Detached> {
        let failed = on("make the file {}", name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = files::open(self.scratch()?.0, name, flags).or_fail(failed)?;
        files::write(file.as_fd(), text).or_fail(failed)?;
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o444)).or_fail(failed)?;
        self.copy_of_scratch(name, INERT)
    }

    /// Ends the construction: makes selfdock's own directories read-only.
    // Out of line: 49 bytes less.
    #[inline(never)]
    pub fn finish(self) -> Result<(OwnedFd, Privileged)> {
        if let Some(scratch) = &self.scratch {
            end_growth(scratch)?;
        }
        for (mount, _) in &self.unfinished {
            end_growth(mount)?;
        }
        Ok((self.root, self.privileged))
    }

    /// The privilege for the steps of building.
    pub fn privileged(&self) -> &Privileged {
        &self.privileged
    }

    /// Whether the image may be written to.
    pub fn is_writable(&self) -> bool {
        self.in_image
    }

    /// The root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    // ---- mount points ---------------------------------------------------------------------------

    /// Opens the mount point `path`, and makes it if it is missing.
    pub fn mount_point(&mut self, path: &[u8], kind: Kind) -> Result<OwnedFd> {
        match self.open(path, OFlags::empty()) {
            // If `path` is a dangling link, the mount point is made where it points to.
            Err(Errno::NOENT) => {
                let place =
                    follow(&self.root, path, &mut |_| false).or_fail(on("find {} in the instance", path))?;
                self.make_mount_point(place, kind)
            }
            other => other.or_fail(on("find {} in the instance", path)),
        }
    }

    /// Opens the mount point of an optional file, and makes it if it is missing. `None` if the image has something
    /// else at this path.
    pub fn place_of_name(&mut self, path: &[u8]) -> Result<Option<OwnedFd>> {
        match self.open(path, OFlags::empty()) {
            Ok(found) => Ok(Some(found).filter(|found| Kind::of(found) == Ok(Kind::File))),
            Err(Errno::NOENT) => match place_of_missing_name(&self.root, path) {
                Some(place) => self.make_mount_point(place, Kind::File).map(Some),
                None => Ok(None),
            },
            Err(_) => Ok(None),
        }
    }

    /// Opens the mount point of one of the instance's own file systems. It must not be a link.
    pub fn own_mount_point(&mut self, path: &str) -> Result<OwnedFd> {
        let failed = on("mount on {}", path.as_bytes());
        match self.open(path.as_bytes(), OFlags::DIRECTORY | OFlags::NOFOLLOW) {
            Err(Errno::NOENT) => self.mount_point(path.as_bytes(), Kind::Directory),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                Err(Error::refused(failed, "it is not a directory in the image"))
            }
            other => other.or_fail(failed),
        }
    }

    /// Opens the mount point for a mount of the caller. It is made if it is missing.
    pub fn open_destination(&mut self, path: &[u8], kind: Kind) -> Result<OwnedFd> {
        let failed = on("mount on {}", path);
        match self.resolve_destination(path, failed)? {
            (place, Err(Errno::NOENT)) => self.make_mount_point(place, kind),
            (_, found) => found.or_fail(failed),
        }
    }

    /// Notes that the caller mounts or hides something at `path`. Gives the path without links, and opens it if it
    /// exists. Links must not lead into a file system of the instance, which would cover the mount later, or above an
    /// earlier mount of the caller, which it would cover.
    fn resolve_destination(
        &mut self,
        path: &[u8],
        failed: Operation<'_>,
    ) -> Result<(Bytes, rustix::io::Result<OwnedFd>)> {
        let there = self.open_literally(path).ok();
        let place = if there.is_some() {
            join(&[path])
        } else {
            follow(&self.root, path, &mut |_| false).or_fail(failed)?
        };
        let is_of_instance = matches!(components(place).next(), None | Some(b"proc" | b"dev"));
        if is_of_instance && !(is_in_shm(path) && is_in_shm(place)) {
            let why = "a link leads to /, or into /proc or /dev";
            return Err(Error::refused(failed, why).hint("they are the instance's own"));
        }
        if self.mount_points.iter().any(|other| lies_in(other, place)) {
            let why = "through a link, it would cover another mount";
            return Err(Error::refused(failed, why).hint("give the path that the link leads to"));
        }
        self.mount_points.push(place);
        // From here on no link is followed, since it could lead elsewhere now.
        Ok((place, there.map_or_else(|| self.open_literally(place), Ok)))
    }

    /// Opens a path of the instance that has no links in it.
    fn open_literally(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        files::open_literally(&self.root, path)
    }

    /// `path` has no links in it.
    fn make_mount_point(&mut self, path: &[u8], kind: Kind) -> Result<OwnedFd> {
        let failed = on("make the mount point {}", path);
        let (dir, at) = self.deepest(path).or_fail(failed)?;
        let (above, below) = path.split_at(at);
        let missing: Vec<&[u8]> = components(below).collect();
        let dir = self.growing_directory(dir, above, path)?;
        grow(dir, &missing, kind).or_fail(failed)?;
        self.open_literally(path).or_fail(failed)
    }

    /// The deepest existing directory on the way to `path`, and the position of the rest.
    fn deepest(&self, path: &[u8]) -> rustix::io::Result<(OwnedFd, usize)> {
        let mut at = path.len();
        loop {
            at = path[..at].iter().rposition(|b| *b == b'/').unwrap_or(0);
            let above: &[u8] = if at == 0 { b"/" } else { &path[..at] };
            match self.open_literally(above) {
                Err(Errno::NOENT) if at > 0 => {}
                other => return other.map(|dir| (dir, at)),
            }
        }
    }

    /// A directory to which entries can be added: `dir` itself, or a cover of it. Files of the image and of the
    /// caller stay untouched. `above` is the path of `dir`.
    fn growing_directory(&mut self, dir: OwnedFd, above: &[u8], path: &[u8]) -> Result<OwnedFd> {
        let failed = on("make the mount point {}", path);
        match self.growth(&dir).or_fail(failed)? {
            Growth::Grows => Ok(dir),
            Growth::OfVolume => {
                let why = "it would have to be made in a volume";
                Err(Error::refused(failed, why).hint("make it there first"))
            }
            // Its directory can be bound in another place, too, where it can be covered.
            Growth::ReadOnly if above.is_empty() => {
                let why = "a link leads to a missing name in the root directory";
                Err(Error::refused(failed, why).hint("give the path that the link leads to"))
            }
            Growth::ReadOnly => self.cover_with_growing(&dir, above),
        }
    }

    /// Covers a directory of the image by a new one, in which its entries are bound.
    fn cover_with_growing(&mut self, dir: &OwnedFd, path: &[u8]) -> Result<OwnedFd> {
        let failed = on("bind the entries of {}", path);
        // Below this directory only copies will be visible. A copy of a writable mount would stay writable.
        for (mount, place) in &self.unfinished {
            if lies_in(place, path) {
                end_growth(mount)?;
            }
        }
        let name = join(&[b"d", decimal(self.unfinished.len() as u64)]);
        make_entry(self.scratch()?.0, name, Kind::Directory).or_fail(failed)?;
        let cover = self.copy_of_scratch(name, Attributes::NONE)?;
        let cover = cover.attach(&self.privileged, dir).or_fail(failed)?;
        self.fill(&cover, dir.as_fd(), path)?;
        self.unfinished.push((duplicate(&cover)?, join(&[path])));
        Ok(cover)
    }

    /// Adds the entries of `from` to a directory of ours. Links are copied, everything else is bound.
    fn fill(&self, into: &OwnedFd, from: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        let too_many = || {
            let what = on("make a mount point in {}", path);
            Error::refused(what, TOO_MANY_ENTRIES).hint(IN_THE_IMAGE)
        };
        let names = list(&self.privileged, from, on("list {}", path), MOST_ENTRIES, &too_many);
        for name in names.map_err(|e| e.hint_if(Errno::ACCESS, IN_THE_IMAGE))? {
            match show_entry(&self.privileged, into, from, name, Attributes::NONE) {
                // The entry was removed meanwhile.
                Err(Errno::NOENT) => {}
                shown => shown.or_fail(both("bind {} in {}", name, path))?,
            }
        }
        Ok(())
    }
}

/// Resolves the links of a path inside a root directory, as far as the path exists. `stop` is called with each
/// place before a look at it, and can end this: `EXDEV`.
fn follow(root: &OwnedFd, path: &[u8], stop: &mut dyn FnMut(&[u8]) -> bool) -> rustix::io::Result<Bytes> {
    let mut failed = Errno::LOOP;
    let mut look = |place: &[u8]| {
        let target =
            if stop(place) { Err(Errno::XDEV) } else { files::link_target(root.as_fd(), &place[1..]) };
        match target {
            Ok(target) => Seen::Link(target.to_vec()),
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Seen::Place,
            Err(errno) => {
                failed = errno;
                Seen::Nothing
            }
        }
    };
    let place = host::follow(path, &mut look, &mut |_, _| {});
    place.map(|place| &*place.leak()).ok_or(failed)
}

/// The directory that is hidden for a home of this owner, and its path without links. `None` if nobody can reach the
/// home, or if it belongs to another user. No lookup goes into a file system that need not answer: if one is mounted in
/// a place of the list, and the path leads into it, all of it is hidden.
pub fn home_to_hide(
    root: &OwnedFd,
    path: &[u8],
    list: &[u8],
    owner: u32,
) -> rustix::io::Result<Option<(Bytes, OwnedFd)>> {
    let mut silent: Bytes = b"";
    let mut stop = |at: &[u8]| mount::is_in_silent(root.as_fd(), at, list, &mut silent);
    let place = follow(root, path, &mut stop);
    let is_silent = place == Err(Errno::XDEV);
    let place = if is_silent { Ok(silent) } else { place };
    match place.and_then(|place| Ok((place, files::open_literally(root, place)?))) {
        Ok(found) => Ok(Some(found).filter(|(_, dir)| is_silent || files::may_be_directory_of(dir, owner))),
        Err(errno) if files::is_absence(errno) => Ok(None),
        // The command could reach it later.
        Err(errno) => Err(errno),
    }
}

/// Where a missing file of names is made: at its path, or where a link leads in a directory of [`PLACES_OF_NAMES`].
/// `None` if there is no place for it.
pub fn place_of_missing_name(root: &OwnedFd, path: &[u8]) -> Option<Bytes> {
    let place = follow(root, path, &mut |_| false).ok()?;
    let has = |dir: &&[u8]| lies_in(place, dir) && files::open_literally(root, dir).is_ok();
    (place == path || PLACES_OF_NAMES.iter().any(has)).then_some(place)
}

/// Makes an open directory the root directory of this process. chroot(2)
pub fn change_root(dir: &OwnedFd) -> Result<()> {
    let changed = rustix::process::fchdir(dir).and_then(|()| rustix::process::chroot(c"."));
    changed.or_fail("change the root directory")
}

/// Refuses a chroot: a root directory of the caller with something above it. A chroot confines only processes that
/// have no other root directory. selfdock would be the first to give another one to a process with a descriptor of
/// it, or one that sees it in `/proc`. The kernel refuses user namespaces there for the same reason
/// (`current_chrooted()`). The caller of this function must have another root directory, which is not above `root`.
/// `top` is what covers it.
pub fn refuse_jail(root: &OwnedFd, top: &OwnedFd) -> Result<()> {
    let failed = "examine the parent of the root directory";
    let above = files::open(root.as_fd(), b"..", OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
    let place = |fd: &OwnedFd| sys::place_of(fd, sys::Number::Current).or_fail(failed);
    let (above, top) = (place(&above)?, place(top)?);
    if above == top && top.mount.is_some() && top.is_root { Ok(()) } else { Err(jail()) }
}

/// Makes the missing directories. The last name gets the given kind.
fn grow(mut dir: OwnedFd, names: &[&[u8]], kind: Kind) -> rustix::io::Result<()> {
    for (i, name) in names.iter().enumerate() {
        let last = i + 1 == names.len();
        make_entry(&dir, name, if last { kind } else { Kind::Directory })?;
        if !last {
            dir = open_entry(&dir, name)?;
        }
    }
    Ok(())
}

/// Makes a mount of the instance's own read-only.
fn end_growth(mount: &OwnedFd) -> Result<()> {
    let failed = "make the instance's own directories read-only";
    sys::tighten(mount, Tighten::to(MAP), Reach::One).or_fail(failed)
}

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd> {
    files::duplicate(fd).or_fail("duplicate a descriptor")
}
