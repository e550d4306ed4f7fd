//! An instance under construction: its root, its mount points, and the pieces of its own.
//!
//! A mount point that is missing in the image is made to exist without touching the image:
//! the directory it would lie in is covered by one of ours that shows the same entries, each
//! a bind of the original, and can get one more. The cost falls on the runs that need it.

use crate::creds::Privileged;
use crate::error::{Error, Operation, OrFail, Result, both, on};
use crate::files::{self, Kind, identity, make_entry, open_entry, open_in};
use crate::host::{self, Seen, lies_in};
use crate::layers::{Layer, MOST_BINDS};
use crate::mount::{self, Detached, INERT, MAP, jail, list, make_private, show_entry};
use crate::plan::{Tmpfs, components, is_in_shm};
use crate::sys::{self, Attributes, Reach, Tighten};
use crate::text::{Bytes, decimal, join};
use alloc::vec::Vec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, OFlags, ResolveFlags, StatVfsMountFlags, StatxFlags};
use rustix::io::Errno;

/// How many entries a directory may have that is to get one more without being touched.
const MOST_ENTRIES: usize = 4096;

/// The root directory of an instance, where it needs one of its own, and the tmpfs of other
/// pieces: room for names only.
const SCRATCH: Tmpfs = Tmpfs { size: 64 << 20, inodes: 65536, mode: 0o755 };

/// The root directory that was.
pub struct Old {
    /// It.
    pub dir: OwnedFd,
    exchanged: bool,
}

/// An instance under construction.
pub struct Stage {
    /// While there is a stage, nobody else has it.
    privileged: Privileged,
    /// Its root directory.
    root: OwnedFd,
    /// Whether missing mount points are made in the image, as far as the caller may.
    in_image: bool,
    /// A tmpfs for pieces of the instance's own, made when first needed: attached on `/proc`,
    /// where procfs covers it in the end, and writable until then.
    scratch: Option<OwnedFd>,
    /// An empty read-only directory, attached somewhere: what covers are copied from.
    cover: Option<OwnedFd>,
    covers: u32,
    /// Filesystems that selfdock made: entries can be added where they are writable.
    own: Vec<u64>,
    /// Mounts that are writable until the end, so that entries can be added.
    unfinished: Vec<OwnedFd>,
    /// Where the caller has something mounted, without links.
    wished: Vec<Bytes>,
}

impl Stage {
    /// Starts from the root directory of this process, in a mount namespace of its own. Nothing
    /// passes into or out of its mounts any more, and they all get these attributes. What is
    /// to be without them must have been copied before. `mount_namespaces(7)`.
    pub fn begin(privileged: Privileged, in_image: bool, attributes: Attributes) -> Result<Self> {
        let root = make_private(attributes)?;
        let (own, unfinished, wished) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Stage {
            privileged,
            root,
            in_image,
            scratch: None,
            cover: None,
            covers: 0,
            own,
            unfinished,
            wished,
        })
    }

    /// Opens a path of the instance: no link leads out of it. openat2(2), `RESOLVE_IN_ROOT`.
    pub fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        open_in(&self.root, path, flags)
    }

    // ---- the root ---------------------------------------------------------------------------

    /// Goes into a root directory that covers the old one. That stays below: see [`host_root`](crate::host_root);
    /// or it is exchanged, so that [`Stage::let_go`] ends it, which costs a grace period of the kernel's. It cannot be
    /// if it is the initramfs. `pivot_root(2)`, notes
    pub fn go_into(&mut self, root: OwnedFd, exchange: bool) -> Result<Old> {
        let failed = "change the root directory";
        change_root(&root)?;
        refuse_jail(&self.root, &root)?;
        let mut exchanged = false;
        if exchange {
            change_root(&self.root)?;
            rustix::process::fchdir(&root).or_fail(failed)?;
            match rustix::process::pivot_root(c".", c".") {
                // Or a filter of system calls refuses it, as Docker's does.
                Err(Errno::INVAL | Errno::PERM | Errno::NOSYS) => change_root(&root)?,
                done => done.or_fail(failed).map(|()| exchanged = true)?,
            }
        }
        Ok(Old { dir: core::mem::replace(&mut self.root, root), exchanged })
    }

    /// Lets go of the old root, if it can be.
    pub fn let_go(&mut self, old: Old) -> Result<()> {
        let failed = "unmount the old root directory";
        // It was in the old one.
        self.cover = None;
        if old.exchanged {
            rustix::process::fchdir(old.dir).or_fail(failed)?;
            rustix::mount::unmount(c".", rustix::mount::UnmountFlags::DETACH).or_fail(failed)?;
        }
        Ok(())
    }

    /// Attaches a tree over the root directory, where it shows after [`Stage::go_into`].
    pub fn cover_root(&self, tree: Detached) -> Result<OwnedFd> {
        tree.attach_at(&self.privileged, CWD, b"/").or_fail("attach the root filesystem")
    }

    /// Puts a tree in the place of the root and lets go of the old one.
    pub fn change_root(&mut self, tree: Detached) -> Result<()> {
        let root = self.cover_root(tree)?;
        self.leave_old_root(root)
    }

    fn leave_old_root(&mut self, root: OwnedFd) -> Result<()> {
        let old = self.go_into(root, true)?;
        self.let_go(old)
    }

    /// Where one of the names is missing in the root directory, gives the instance a root
    /// directory of its own that shows the same entries and can get more.
    pub fn prepare_root<'n>(&mut self, names: impl Iterator<Item = &'n [u8]>) -> Result<()> {
        let mut last: &[u8] = b"";
        for name in names {
            // They come sorted, so this asks once for each.
            if name != last {
                match files::lstat(self.root.as_fd(), name) {
                    Ok(_) => {}
                    Err(Errno::NOENT) if self.root_grows()? => return Ok(()),
                    Err(Errno::NOENT) => return self.make_own_root(),
                    Err(errno) => return Err(Error::of(on("look up {} in the root directory", name), errno)),
                }
            }
            last = name;
        }
        Ok(())
    }

    /// Whether entries can be added to the root directory as it is.
    fn root_grows(&self) -> Result<bool> {
        let failed = "examine the root directory";
        let (device, _) = identity(&self.root).or_fail(failed)?;
        let writable = !is_read_only(&self.root).or_fail(failed)?;
        Ok(writable && (self.in_image || self.own.contains(&device)))
    }

    fn make_own_root(&mut self) -> Result<()> {
        let root = self.begin_own_root()?;
        self.fill(&root, self.root.as_fd(), b"/")?;
        self.leave_old_root(root)
    }

    /// Attaches a root directory of the instance's own over the old one.
    pub fn begin_own_root(&mut self) -> Result<OwnedFd> {
        let root = self.cover_root(Detached::tmpfs(&self.privileged, &SCRATCH)?)?;
        self.own.push(identity(&root).or_fail("examine the root directory")?.0);
        self.unfinished.push(duplicate(&root)?);
        Ok(root)
    }

    /// Gives the instance a root directory in which several trees are laid over each other,
    /// the later over the earlier.
    pub fn stack_roots(&mut self, layers: &[Layer]) -> Result<()> {
        let root = self.begin_own_root()?;
        let layers: Vec<&Layer> = layers.iter().rev().collect();
        crate::layers::merge(&self.privileged, &root, &layers, &mut { MOST_BINDS }, 0)?;
        self.leave_old_root(root)
    }

    // ---- the pieces -------------------------------------------------------------------------

    /// Mounts a fresh tmpfs for the command to write to.
    pub fn mount_tmpfs(&mut self, path: &[u8], options: &Tmpfs, target: OwnedFd) -> Result<()> {
        let failed = on("mount on {}", path);
        let (device, _) = match rustix::process::fchdir(&target) {
            Ok(()) => {
                mount::tmpfs_on(&self.privileged, c".", options).or_fail(failed)?;
                // It can be seen by its path only, which was resolved a moment ago.
                files::identity_of(path).or_fail(failed)?
            }
            // The caller may mount there, and may not go there.
            Err(_) => {
                let tmpfs = Detached::tmpfs(&self.privileged, options)?;
                identity(tmpfs.attach(&self.privileged, target).or_fail(failed)?).or_fail(failed)?
            }
        };
        self.own.push(device);
        Ok(())
    }

    /// What is mounted there is the instance's own: entries can be added.
    pub fn own(&mut self, path: &[u8]) -> Result<()> {
        self.own.push(files::identity_of(path).or_fail(on("examine {}", path))?.0);
        Ok(())
    }

    /// Mounts the `/tmp` of the host image, which is a directory that only selfdock can have changed.
    pub fn mount_tmp(&mut self) -> Result<()> {
        let failed = "mount on '/tmp'";
        mount::tmpfs_on(&self.privileged, c"/tmp", &Tmpfs::DEFAULT).or_fail(failed)?;
        self.own(b"/tmp")
    }

    /// The tmpfs of pieces, and what it takes to copy one: all else of the stage is borrowed meanwhile.
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

    /// Makes a piece of the tmpfs, and gives a way in.
    pub fn make_scratch(&mut self, name: &[u8], kind: Kind) -> Result<OwnedFd> {
        let failed = on("make {} in the instance's tmpfs", name);
        let (scratch, _) = self.scratch()?;
        make_entry(scratch, name, kind).or_fail(failed)?;
        open_entry(scratch, name).or_fail(failed)
    }

    /// A copy of a piece of the tmpfs, with these attributes added.
    pub fn copy_of_scratch(&mut self, name: &[u8], attributes: Attributes) -> Result<Detached> {
        let (scratch, privileged) = self.scratch()?;
        Detached::copy(privileged, scratch, name, attributes).or_fail(on("copy {}", name))
    }

    /// A copy of an empty directory that cannot be written to.
    fn copy_of_empty(&mut self, failed: Operation<'_>) -> Result<Detached> {
        let cover = match self.cover.take() {
            Some(cover) => cover,
            None => {
                let place = self.make_scratch(b"empty", Kind::Directory)?;
                let cover = self.copy_of_scratch(b"empty", INERT)?;
                cover.attach(&self.privileged, place).or_fail("make an empty directory")?
            }
        };
        let cover = self.cover.insert(cover);
        Detached::copy(&self.privileged, cover, b"", INERT).or_fail(failed)
    }

    /// Hides a directory or file of the instance behind an empty one that cannot be written.
    /// Says whether it is there.
    pub fn hide(&mut self, path: &[u8]) -> Result<bool> {
        let failed = on("hide {}", path);
        let Some(target) = self.wished_place(path, None, failed)? else { return Ok(false) };
        let cover = match Kind::of(&target).or_fail(failed)? {
            Kind::Directory => self.copy_of_empty(failed)?,
            Kind::File => {
                let name = join(&[b"cover", decimal(self.covers)]);
                self.covers += 1;
                self.make_scratch(name, Kind::File)?;
                self.copy_of_scratch(name, INERT)?
            }
        };
        cover.attach(&self.privileged, target).or_fail(failed).map(|_| true)
    }

    /// Hides a directory of this owner, if there is one. It is no wish, so a mount of the caller's may come over it.
    pub fn hide_of(&mut self, path: &[u8], owner: u32) -> Result<()> {
        let failed = on("hide {}", path);
        let target = match self.open(path, OFlags::empty()) {
            Ok(target) => target,
            Err(errno @ (Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
                return Err(Error::of(failed, errno));
            }
            // It is not there, or nobody can reach it.
            Err(_) => return Ok(()),
        };
        // No file system is asked. What does not answer is the caller's, by what we were told.
        let at = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let stat = rustix::fs::statx(&target, c"", at, StatxFlags::UID | StatxFlags::TYPE);
        let is_dir = |mode: u16| FileType::from_raw_mode(mode.into()).is_dir();
        if stat.map_or(true, |stat| stat.stx_uid == owner && is_dir(stat.stx_mode)) {
            self.copy_of_empty(failed)?.attach(&self.privileged, target).or_fail(failed)?;
        }
        Ok(())
    }

    /// A file with this text, which nobody can write.
    pub fn text_file(&mut self, name: &[u8], text: &[u8]) -> Result<Detached> {
        let failed = on("make the file {}", name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = files::open(self.scratch()?.0, name, flags).or_fail(failed)?;
        files::write(file.as_fd(), text).or_fail(failed)?;
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o444)).or_fail(failed)?;
        self.copy_of_scratch(name, INERT)
    }

    /// Ends the construction: what only selfdock wrote to is read-only from here on. Gives the root directory, and the
    /// privilege back.
    pub fn finish(self) -> Result<(OwnedFd, Privileged)> {
        let attributes = Tighten::to(MAP);
        for fd in self.scratch.iter().chain(&self.unfinished) {
            sys::tighten(fd, attributes, Reach::One)
                .or_fail("make the instance's own directories read-only")?;
        }
        Ok((self.root, self.privileged))
    }

    /// What the steps of building take.
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

    // ---- mount points -----------------------------------------------------------------------

    /// The place in the instance where something of this kind can be mounted. It is made to
    /// exist if it does not.
    pub fn mount_point(&mut self, path: &[u8], kind: Kind) -> Result<OwnedFd> {
        match self.open(path, OFlags::empty()) {
            // Where a link leads nowhere, it is made where that points to.
            Err(Errno::NOENT) => {
                let place = self.follow(path).or_fail(on("find {} in the instance", path))?;
                self.make_mount_point(place, kind)
            }
            other => other.or_fail(on("find {} in the instance", path)),
        }
    }

    /// The same for a file that is a convenience only: nothing where the image has something else in the way.
    pub fn place_of_name(&mut self, path: &[u8]) -> Result<Option<OwnedFd>> {
        match self.open(path, OFlags::empty()) {
            Ok(found) => Ok(Some(found).filter(|found| Kind::of(found) == Ok(Kind::File))),
            Err(_) if self.open_literally(path).err() == Some(Errno::NOENT) => {
                self.make_mount_point(path, Kind::File).map(Some)
            }
            Err(_) => Ok(None),
        }
    }

    /// The directory of an image where a filesystem of the instance goes: never a link.
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

    /// The place for what the caller wishes to have at `path`; made to exist if it does not, and if a kind is given.
    /// Links are followed, and must not lead to where it would be covered: by a file system of the instance's own,
    /// which comes later; nor may it cover what the caller has mounted before.
    pub fn wished_place(
        &mut self,
        path: &[u8],
        kind: Option<Kind>,
        failed: Operation<'_>,
    ) -> Result<Option<OwnedFd>> {
        let there = self.open_literally(path).ok();
        let place = if there.is_some() { join(&[path]) } else { self.follow(path).or_fail(failed)? };
        let is_of_instance = matches!(components(place).next(), Some(b"proc" | b"dev"));
        if is_of_instance && !(is_in_shm(path) && is_in_shm(place)) {
            let why = "a link leads into /proc or /dev";
            return Err(Error::refused(failed, why).hint("they are the instance's own"));
        }
        if self.wished.iter().any(|other| lies_in(other, place)) {
            let why = "through a link, it would cover another mount";
            return Err(Error::refused(failed, why).hint("give the path that the link leads to"));
        }
        self.wished.push(place);
        // From here on no link counts: it could lead elsewhere than it did a moment ago.
        let found = there.map_or_else(|| self.open_literally(place), Ok);
        match (found, kind) {
            (Err(Errno::NOENT), Some(kind)) => self.make_mount_point(place, kind).map(Some),
            (Err(Errno::NOENT | Errno::NOTDIR), None) => Ok(None),
            (other, _) => other.or_fail(failed).map(Some),
        }
    }

    /// Opens a path of the instance in which there is no link.
    fn open_literally(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let literal = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        files::open_path(self.root.as_fd(), path, OFlags::PATH, literal)
    }

    /// What a path is when the links on the way are followed inside the root, as far as there is anything.
    fn follow(&self, path: &[u8]) -> rustix::io::Result<Bytes> {
        let mut failed = Errno::LOOP;
        let mut look = |place: &[u8]| match files::link_target(self.root.as_fd(), &place[1..]) {
            Ok(target) => Seen::Link(target.to_vec()),
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Seen::Place,
            Err(errno) => {
                failed = errno;
                Seen::Nothing
            }
        };
        let place = host::follow(path, &mut look, &mut |_, _| {});
        place.map(|place| &*place.leak()).ok_or(failed)
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

    /// The deepest directory on the way to `path` that exists, and where the rest begins.
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

    /// A way to add entries to `dir`, found at `above`, without touching what is the image's
    /// or the caller's.
    fn growing_directory(&mut self, dir: OwnedFd, above: &[u8], path: &[u8]) -> Result<OwnedFd> {
        let failed = on("make the mount point {}", path);
        if is_read_only(&dir).or_fail(failed)? {
            if identity(&dir).or_fail(failed)? == identity(&self.root).or_fail(failed)? {
                let why = "a link leads to a missing name in the root directory";
                return Err(Error::refused(failed, why).hint("give the path that the link leads to"));
            }
            return self.cover_with_growing(&dir, above);
        }
        let (device, _) = identity(&dir).or_fail(failed)?;
        if self.in_image || self.own.contains(&device) {
            return Ok(dir);
        }
        Err(Error::refused(failed, "it would have to be made in a volume").hint("make it there first"))
    }

    /// Covers a directory of the image by one of ours that shows its entries.
    fn cover_with_growing(&mut self, dir: &OwnedFd, path: &[u8]) -> Result<OwnedFd> {
        let failed = on("bind the entries of {}", path);
        let name = join(&[b"d", decimal(self.unfinished.len() as u64)]);
        make_entry(self.scratch()?.0, name, Kind::Directory).or_fail(failed)?;
        let cover = self.copy_of_scratch(name, Attributes::NONE)?;
        let cover = cover.attach(&self.privileged, dir).or_fail(failed)?;
        self.fill(&cover, dir.as_fd(), path)?;
        self.unfinished.push(duplicate(&cover)?);
        Ok(cover)
    }

    /// Gives a directory of ours the entries of `from`: links are copied, all else is bound.
    fn fill(&self, into: &OwnedFd, from: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
        let too_many = || {
            let what = on("make a mount point in {}", path);
            Error::refused(what, "it has more than 4096 entries").hint("make the mount point in the image")
        };
        for name in list(&self.privileged, from, on("list {}", path), MOST_ENTRIES, &too_many)? {
            match show_entry(&self.privileged, into, from, name, Attributes::NONE) {
                // It went away while the others were shown.
                Err(Errno::NOENT) => {}
                shown => shown.or_fail(both("bind {} in {}", name, path))?,
            }
        }
        Ok(())
    }
}

/// Makes a directory that is open the root directory of this process. chroot(2)
pub fn change_root(dir: &OwnedFd) -> Result<()> {
    let changed = rustix::process::fchdir(dir).and_then(|()| rustix::process::chroot(c"."));
    changed.or_fail("change the root directory")
}

/// Refuses a jail: a root directory, of the caller's, above which there is something. It holds only those who have no
/// other root directory, and selfdock would be the first to give one to a process that has a descriptor of it, or sees
/// it in `/proc`. The kernel refuses user namespaces there for the same reason (`current_chrooted()`). To be called
/// from another root directory, which is not above it; `top` is what lies over it.
pub fn refuse_jail(root: &OwnedFd, top: &OwnedFd) -> Result<()> {
    let failed = "examine the parent of the root directory";
    let above = files::open(root.as_fd(), b"..", OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
    let place = |fd: &OwnedFd| sys::place_of(fd, sys::Number::Current).or_fail(failed);
    let (above, top) = (place(&above)?, place(top)?);
    if above == top && top.mount.is_some() && top.is_root { Ok(()) } else { Err(jail()) }
}

fn is_read_only(fd: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(rustix::fs::fstatvfs(fd)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Makes directories down to the last name, which becomes of the kind that is asked for.
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

fn duplicate(fd: &OwnedFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).or_fail("duplicate a descriptor")
}
