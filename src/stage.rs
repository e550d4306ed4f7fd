//! An instance under construction: its root, its mount points, and the pieces of its own.
//!
//! A mount point that is missing in the image is made to exist without touching the image:
//! the directory it would lie in is covered by one of ours that shows the same entries, each
//! a bind of the original, and can get one more. The cost falls on the runs that need it.
#![forbid(unsafe_code)]

use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, both, on};
use crate::mount::{Detached, Identity, Kind, enter, find, identity, make_entry};
use crate::plan::{Tmpfs, components};
use crate::sys::{self, Reach, Tighten};
use alloc::format;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, StatVfsMountFlags};
use rustix::io::Errno;

/// How many entries a directory may have that is to get one more without being touched.
const MOST_ENTRIES: usize = 4096;

/// How many symbolic links are followed to a place where a mount point is to be made: the
/// kernel's own limit.
const MOST_LINKS: usize = 40;

/// The parts of the tmpfs of an instance, of which only pieces are shown.
pub mod piece {
    /// What `/tmp` shows.
    pub const TMP: &[u8] = b"tmp";
    /// What `/dev/shm` shows.
    pub const SHM: &[u8] = b"shm";
    /// What `/dev` shows.
    pub const DEV: &[u8] = b"dev";
    /// An empty directory: the cover of what is hidden.
    pub const EMPTY: &[u8] = b"empty";
    /// An empty file, likewise.
    pub const BLANK: &[u8] = b"blank";
}

/// An instance under construction.
pub struct Stage<'p> {
    privileged: &'p Privileged,
    /// Its root directory.
    root: OwnedFd,
    /// Whether missing mount points are made in the image, as far as the caller may.
    in_image: bool,
    /// Its tmpfs, attached on `/tmp` and writable there until the end.
    scratch: Option<OwnedFd>,
    /// An empty read-only directory, attached somewhere: what covers are copied from.
    cover: Option<OwnedFd>,
    /// Directories that can get entries although they are shown read-only: which, and how.
    growing: Vec<(Identity, OwnedFd)>,
    /// Filesystems that selfdock made, and the command may write to.
    own: Vec<u64>,
    /// The root directory, where it is one of ours: read-only only at the end.
    own_root: Option<OwnedFd>,
}

impl<'p> Stage<'p> {
    /// Starts from the root directory of this process, in a mount namespace of its own that
    /// nothing passes into or out of any more. `mount_namespaces(7)`.
    pub fn begin(privileged: &'p Privileged, in_image: bool) -> Result<Self> {
        const CHROOT: &str =
            "the root directory is a chroot and not a mount; bind it on itself first";
        let root = find(b"/", OFlags::DIRECTORY).or_fail("open '/'")?;
        sys::tighten(&root, Tighten::default().and_private(), Reach::Tree)
            .or_fail("make mounts private")
            .map_err(|e| e.hint_if(Errno::INVAL, CHROOT))?;
        let growing = Vec::new();
        let own = Vec::new();
        Ok(Stage {
            privileged,
            root,
            in_image,
            scratch: None,
            cover: None,
            growing,
            own,
            own_root: None,
        })
    }

    /// Opens a path of the instance: no link leads out of it. openat2(2), `RESOLVE_IN_ROOT`.
    pub fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(
            &self.root,
            path,
            flags | OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        )
    }

    // ---- the root ---------------------------------------------------------------------------

    /// Keeps the host's tree where it is, tightened.
    pub fn keep_root(&self, attributes: u64) -> Result<()> {
        sys::tighten(&self.root, Tighten::set(attributes), Reach::Tree)
            .or_fail("make '/' read-only")
    }

    /// Puts a tree in the place of the root and lets go of the old one.
    pub fn change_root(&mut self, tree: Detached) -> Result<()> {
        let root = self.cover_root(tree)?;
        self.leave_old_root(root)
    }

    /// Attaches a tree over the root directory, where it shows after `leave_old_root`.
    fn cover_root(&self, tree: Detached) -> Result<OwnedFd> {
        tree.attach_at(self.privileged, CWD, b"/")
            .or_fail("attach the root filesystem")
    }

    /// Makes `root`, attached over the old one, the root directory. `pivot_root(2)`, notes.
    fn leave_old_root(&mut self, root: OwnedFd) -> Result<()> {
        rustix::process::fchdir(&root).or_fail("enter the root filesystem")?;
        rustix::process::pivot_root(".", ".").or_fail("change the root")?;
        rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)
            .or_fail("let go of the old root")?;
        self.root = root;
        Ok(())
    }

    /// Where one of the names is missing in the root directory, gives the instance a root
    /// directory of its own that shows the same entries and can get more.
    pub fn prepare_root<'n>(&mut self, names: impl Iterator<Item = &'n [u8]>) -> Result<()> {
        let mut last: &[u8] = b"";
        for name in names {
            // They come sorted, so this asks once for each.
            if name != last {
                match rustix::fs::statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(_) => {}
                    Err(Errno::NOENT) if self.in_image => {}
                    Err(Errno::NOENT) => return self.make_own_root(),
                    Err(errno) => return Err(Error::of(on("look up {} in the root", name), errno)),
                }
            }
            last = name;
        }
        Ok(())
    }

    fn make_own_root(&mut self) -> Result<()> {
        let root = self.cover_root(Detached::tmpfs(self.privileged, &Tmpfs::DEFAULT)?)?;
        self.fill(&root, &root, self.root.as_fd(), b"/")?;
        self.growing
            .push((identity(&root).or_fail("look at the root")?, again(&root)?));
        self.own_root = Some(again(&root)?);
        self.leave_old_root(root)
    }

    // ---- the pieces -------------------------------------------------------------------------

    /// Attaches the tmpfs of the instance on `/tmp` and shows its own /tmp there.
    pub fn show_tmp(&mut self, scratch: Detached) -> Result<()> {
        let target = self.mount_point(b"/tmp", Kind::Directory)?;
        let scratch = scratch
            .attach(self.privileged, &target)
            .or_fail("mount on '/tmp'")?;
        self.own
            .push(identity(&scratch).or_fail("look at '/tmp'")?.0);
        let tmp = Detached::copy(self.privileged, &scratch, piece::TMP).or_fail("make '/tmp'")?;
        tmp.attach(self.privileged, &scratch)
            .or_fail("mount on '/tmp'")?;
        self.scratch = Some(scratch);
        Ok(())
    }

    /// A copy of a piece of the tmpfs.
    pub fn piece(&self, name: &[u8]) -> Result<Detached> {
        let scratch = self
            .scratch
            .as_ref()
            .ok_or_else(|| Error::refused("make a piece", "there is no '/tmp' yet"))?;
        Detached::copy(self.privileged, scratch, name).or_fail(on("copy {}", name))
    }

    /// Hides a directory or file of the instance behind an empty one that cannot be written.
    pub fn hide(&mut self, target: &OwnedFd, path: &[u8], kind: Kind) -> Result<()> {
        let failed = on("hide {}", path);
        let attributes = Tighten::RDONLY | Tighten::NOEXEC;
        let cover = match (kind, &self.cover) {
            // A copy of a cover has its attributes.
            (Kind::Directory, Some(cover)) => {
                Detached::copy(self.privileged, cover, b"").or_fail(failed)?
            }
            (Kind::Directory, None) => self
                .piece(piece::EMPTY)?
                .tighten(self.privileged, attributes)
                .or_fail(failed)?,
            (Kind::File, _) => self
                .piece(piece::BLANK)?
                .tighten(self.privileged, attributes)
                .or_fail(failed)?,
        };
        let cover = cover.attach(self.privileged, target).or_fail(failed)?;
        if kind == Kind::Directory && self.cover.is_none() {
            self.cover = Some(cover);
        }
        Ok(())
    }

    /// Notes a filesystem that selfdock made for the command to write to.
    pub fn note_own(&mut self, fd: &OwnedFd) -> Result<()> {
        self.own.push(identity(fd).or_fail("look at a tmpfs")?.0);
        Ok(())
    }

    /// Ends the construction: what only selfdock wrote to is read-only from here on.
    pub fn finish(self) -> Result<OwnedFd> {
        let attributes = Tighten::set(Tighten::RDONLY | Tighten::NOSUID | Tighten::NODEV);
        for fd in self.scratch.iter().chain(&self.own_root) {
            sys::tighten(fd, attributes, Reach::One)
                .or_fail("make the instance's own directories read-only")?;
        }
        Ok(self.root)
    }

    // ---- mount points -----------------------------------------------------------------------

    /// The place in the instance where something of this kind can be mounted. It is made to
    /// exist if it does not.
    pub fn mount_point(&mut self, path: &[u8], kind: Kind) -> Result<OwnedFd> {
        match self.open(path, OFlags::empty()) {
            Err(Errno::NOENT) => self.make_mount_point(path, kind),
            other => other.or_fail(on("find {} in the instance", path)),
        }
    }

    fn make_mount_point(&mut self, path: &[u8], kind: Kind) -> Result<OwnedFd> {
        let failed = on("make the mount point {}", path);
        let mut wanted = path.to_vec();
        for _ in 0..MOST_LINKS {
            let (dir, at) = self.deepest(&wanted).or_fail(failed)?;
            let (above, below) = wanted.split_at(at);
            let missing: Vec<&[u8]> = components(below).collect();
            let Some(first) = missing.first() else {
                return Err(Error::of(failed, Errno::NOENT));
            };
            // A link that leads nowhere: the mount point is made where it points to.
            let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
            match rustix::fs::readlinkat_raw(&dir, *first, &mut buffer) {
                Ok((target, _)) => {
                    let start: &[u8] = if target.starts_with(b"/") { b"" } else { above };
                    let mut next = [start, b"/", &*target].concat();
                    for component in &missing[1..] {
                        next.push(b'/');
                        next.extend_from_slice(component);
                    }
                    wanted = next;
                    continue;
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::of(failed, errno)),
            }
            let dir = self.growing_directory(dir, above, path)?;
            return grow(dir, &missing, kind)
                .or_fail(failed)
                .and_then(|()| self.open(&wanted, OFlags::empty()).or_fail(failed));
        }
        Err(Error::of(failed, Errno::LOOP))
    }

    /// The deepest directory on the way to `path` that exists, and where the rest begins.
    fn deepest(&self, path: &[u8]) -> rustix::io::Result<(OwnedFd, usize)> {
        let mut at = path.len();
        loop {
            at = path[..at].iter().rposition(|b| *b == b'/').unwrap_or(0);
            let above: &[u8] = if at == 0 { b"/" } else { &path[..at] };
            match self.open(above, OFlags::DIRECTORY) {
                Err(Errno::NOENT) if at > 0 => {}
                other => return other.map(|dir| (dir, at)),
            }
        }
    }

    /// A way to add entries to `dir`, found at `above`, without touching what is the image's
    /// or the caller's.
    fn growing_directory(&mut self, dir: OwnedFd, above: &[u8], path: &[u8]) -> Result<OwnedFd> {
        let failed = on("make the mount point {}", path);
        let which = identity(&dir).or_fail(failed)?;
        if let Some((_, writable)) = self.growing.iter().find(|(known, _)| *known == which) {
            return again(writable);
        }
        let writable = !rustix::fs::fstatvfs(&dir)
            .or_fail(failed)?
            .f_flag
            .contains(StatVfsMountFlags::RDONLY);
        if writable && (self.in_image || self.own.contains(&which.0)) {
            return Ok(dir);
        }
        if writable {
            return Err(
                Error::refused(failed, "it would have to be made in a volume")
                    .hint("make it there first"),
            );
        }
        self.cover_with_growing(&dir, above)
    }

    /// Covers a directory of the image by one of ours that shows its entries.
    fn cover_with_growing(&mut self, dir: &OwnedFd, path: &[u8]) -> Result<OwnedFd> {
        let failed = on("show the entries of {}", path);
        let Some(scratch) = self.scratch.as_ref() else {
            return Err(Error::refused(failed, "there is no '/tmp' yet"));
        };
        let name = format!("d{}", self.growing.len());
        make_entry(scratch, name.as_bytes(), Kind::Directory).or_fail(failed)?;
        let writable = enter(scratch, name.as_bytes()).or_fail(failed)?;
        let shown = self
            .piece(name.as_bytes())?
            .attach(self.privileged, dir)
            .or_fail(failed)?;
        self.fill(&writable, &shown, dir.as_fd(), path)?;
        sys::tighten(&shown, Tighten::set(Tighten::RDONLY), Reach::One).or_fail(failed)?;
        self.growing
            .push((identity(&writable).or_fail(failed)?, again(&writable)?));
        Ok(writable)
    }

    /// Gives a directory of ours the entries of `from`: links are copied, all else is bound.
    fn fill(
        &self,
        writable: &OwnedFd,
        shown: &OwnedFd,
        from: BorrowedFd<'_>,
        path: &[u8],
    ) -> Result<()> {
        let failed = on("list {}", path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let list = rustix::fs::openat(from, ".", flags, Mode::empty()).or_fail(failed)?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut entries = RawDir::new(list, &mut buffer);
        let mut count = 0;
        while let Some(entry) = entries.next() {
            let entry = entry.or_fail(failed)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            count += 1;
            if count > MOST_ENTRIES {
                let what = on("make a mount point in {}", path);
                return Err(
                    Error::refused(what, "more than 4096 entries are there already")
                        .hint("make the mount point in the image"),
                );
            }
            self.fill_one(writable, shown, from, name).or_fail(both(
                "show {} in {}",
                name,
                path,
            ))?;
        }
        Ok(())
    }

    fn fill_one(
        &self,
        writable: &OwnedFd,
        shown: &OwnedFd,
        from: BorrowedFd<'_>,
        name: &[u8],
    ) -> rustix::io::Result<()> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
                let (target, _) = rustix::fs::readlinkat_raw(from, name, &mut buffer)?;
                return rustix::fs::symlinkat(&*target, writable, name);
            }
            FileType::Directory => Kind::Directory,
            _ => Kind::File,
        };
        make_entry(writable, name, kind)?;
        Detached::copy(self.privileged, from, name)?
            .attach_at(self.privileged, shown, name)
            .map(drop)
    }
}

/// Makes directories down to the last name, which becomes of the kind that is asked for.
fn grow(mut dir: OwnedFd, names: &[&[u8]], kind: Kind) -> rustix::io::Result<()> {
    for (i, name) in names.iter().enumerate() {
        let last = i + 1 == names.len();
        make_entry(&dir, name, if last { kind } else { Kind::Directory })?;
        if !last {
            dir = enter(&dir, name)?;
        }
    }
    Ok(())
}

fn again(fd: &OwnedFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).or_fail("duplicate a descriptor")
}
