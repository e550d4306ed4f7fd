//! What `run` would refuse while it builds the instance, with the same words. `sandbox`, `stage` and `report` refuse it
//! there. This module makes nothing. What it cannot tell without making something, it lets pass.

use super::{Explained, overlay};
use crate::advice::{DIRECTORY_ON_FILE, FILE_ON_DIRECTORY, NOT_SHOWN};
use crate::cli::may_be_descriptor;
use crate::command::Command;
use crate::error::{Error, OrFail, Result, both, on};
use crate::files::{self, Kind, may};
use crate::host::{EMPTY, Entry, entries, lies_in, places};
use crate::installation::{beside, second_program};
use crate::names::{GROUP, HOSTS, PASSWD, RESOLV};
use crate::plan::{Mount, Root, Source, components, is_in_shm};
use crate::report::{LINK_TO_FILE, Report, may_hold_descriptors};
use crate::stage::place_of_missing_name;
use crate::text::{Bytes, join, number};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags, fstatvfs};
use rustix::io::Errno;

/// What is at a path of the instance: a file outside, or an error. `None` if that cannot be told.
type Found = Option<rustix::io::Result<OwnedFd>>;

const IN_A_VOLUME: &str = "it would have to be made in a volume";

const NOTHING: Found = Some(Err(Errno::NOENT));

fn is_nothing(found: &Found) -> bool {
    matches!(found, Some(Err(Errno::NOENT)))
}

impl Explained<'_> {
    /// Refuses mounts that cannot be made, and a directory in which the command cannot start.
    pub fn foresee(&self, command: &Command<'_>) -> Result<()> {
        self.foresee_root()?;
        let mounts = &self.plan.mounts;
        for (at, mount) in mounts.iter().enumerate().filter(|(_, mount)| !is_in_shm(mount.dst)) {
            self.foresee_mount(mount, &mounts[..at])?;
        }
        let own = self.about.program.to_bytes();
        let is_bound = self.plan.shows_second(self.is_installed()) && !self.plan.writable;
        let second = second_program(own).ok().filter(|_| is_bound).map(|_| beside(own));
        for program in [own].into_iter().chain(second).filter(|_| !self.request.no_nest) {
            if is_nothing(&self.look(program, mounts)) && self.would_grow_a_volume(program, mounts) {
                return Err(Error::refused(on("make the mount point {}", program), IN_A_VOLUME)
                    .hint("with --no-nest it is not needed"));
            }
        }
        if command.has_chosen_directory() { self.foresee_start(command.directory()) } else { Ok(()) }
    }

    /// Refuses a root filesystem that the caller may not enter. Where a copy is made, the caller has all rights over
    /// its own directories.
    fn foresee_root(&self) -> Result<()> {
        let Root::Dir(dir) = &self.plan.root else { return Ok(()) };
        let Ok(root) = files::open(CWD, dir, OFlags::PATH) else { return Ok(()) };
        let is_closed = may(root.as_fd(), b".", Access::EXEC_OK) == Err(Errno::ACCESS);
        if !is_closed || self.has_more_rights() {
            return Ok(());
        }
        if self.around.copies_root {
            let is_own = rustix::fs::fstat(&root).is_ok_and(|stat| stat.st_uid == self.about.caller.uid);
            return if is_own { Ok(()) } else { Err(Error::of(on("copy {}", dir), Errno::ACCESS)) };
        }
        Err(Error::of("change the root directory", Errno::ACCESS)
            .hint("you may not enter the root filesystem"))
    }

    /// Whether the caller may have more rights in the instance than here, as root has with ids of its own.
    fn has_more_rights(&self) -> bool {
        self.around.fake_root || self.about.caller.uid == 0
    }

    /// `before` are the mounts that are made earlier.
    fn foresee_mount(&self, Mount { dst, source }: &Mount<'_>, before: &[Mount<'_>]) -> Result<()> {
        let found = self.look(dst, before);
        let kind_is = |wanted| matches!(&found, Some(Ok(found)) if Kind::of(found) == Ok(wanted));
        match source {
            Source::Mask { optional: true } => Ok(()),
            Source::Mask { .. } => match found {
                Some(Err(Errno::NOENT | Errno::NOTDIR)) => Err(Error::of(on("mask {}", dst), Errno::NOENT)
                    .hint("--mask-if-exists accepts a missing path")),
                _ => Ok(()),
            },
            _ if matches!(found, Some(Err(Errno::NOTDIR))) => {
                Err(Error::of(on("mount on {}", dst), Errno::NOTDIR))
            }
            _ if is_nothing(&found) && self.would_grow_a_volume(dst, before) => {
                Err(Error::refused(on("make the mount point {}", dst), IN_A_VOLUME)
                    .hint("make it there first"))
            }
            Source::Bind { src, .. } => {
                let failed = both("bind {} on {}", src, dst);
                match files::open(CWD, src, OFlags::PATH).and_then(Kind::of) {
                    Ok(Kind::Directory) if kind_is(Kind::File) => {
                        Err(Error::of(failed, Errno::INVAL).hint(DIRECTORY_ON_FILE))
                    }
                    Ok(Kind::File) if kind_is(Kind::Directory) => {
                        Err(Error::of(failed, Errno::INVAL).hint(FILE_ON_DIRECTORY))
                    }
                    _ => Ok(()),
                }
            }
            Source::Tmpfs(_) if kind_is(Kind::File) => {
                Err(Error::of(on("mount on {}", dst), Errno::INVAL).hint(DIRECTORY_ON_FILE))
            }
            Source::Tmpfs(_) => Ok(()),
        }
    }

    /// Whether a mount point would have to be made in a volume, where it would be the caller's.
    fn would_grow_a_volume(&self, dst: &[u8], before: &[Mount<'_>]) -> bool {
        let Some(Mount { dst: place, source: Source::Bind { src, writable: true } }) = around(dst, before)
        else {
            return false;
        };
        // The deepest directory that is there. It can lie on a mount that is read-only.
        let mut rest = &dst[place.len()..];
        while !rest.is_empty() {
            rest = files::parent(rest);
            if let Some(Ok(dir)) = look_below(src, rest) {
                let is_read_only = |how: StatVfsMountFlags| how.contains(StatVfsMountFlags::RDONLY);
                // A copy is writable, whatever its source is.
                let is_copy = || overlay::is_in_copy(self.about, &self.around.copies, src);
                return !self.plan.writable
                    && fstatvfs(dir).is_ok_and(|stat| !is_read_only(stat.f_flag) || is_copy());
            }
        }
        false
    }

    fn foresee_start(&self, dir: &[u8]) -> Result<()> {
        let failed = on("enter {}", dir);
        let mut at: Bytes = b"";
        for name in components(dir).chain([&b"."[..]]) {
            if matches!(name, b".." | b".") {
                match self.foresee_directory(at) {
                    // Root of its own ids has more rights there.
                    Some(Err(Errno::ACCESS)) if self.around.fake_root => return Ok(()),
                    Some(Err(errno)) => return Err(Error::of(failed, errno).hint_if(Errno::NOENT, NOT_SHOWN)),
                    None if name == b".." && !at.is_empty() => return Ok(()),
                    _ => {}
                }
            }
            at = match name {
                b"." => at,
                b".." => files::parent(at),
                name => join(&[at, b"/", name]),
            };
        }
        Ok(())
    }

    /// Whether a directory can be entered; `None` if that cannot be told.
    fn foresee_directory(&self, path: &[u8]) -> Option<rustix::io::Result<()>> {
        let of_tmpfs = match around(path, &self.plan.mounts) {
            Some(Mount { dst, source: Source::Tmpfs(tmpfs) }) if *dst == path => Some(tmpfs),
            _ => Some(&self.plan.shm).filter(|_| path == b"/dev/shm"),
        };
        // A tmpfs belongs to the caller.
        if of_tmpfs.is_some_and(|tmpfs| tmpfs.mode & 0o100 == 0) && !self.has_more_rights() {
            return Some(Err(Errno::ACCESS));
        }
        let found = self.look(path, &self.plan.mounts)?;
        Some(found.and_then(|found| match Kind::of(&found)? {
            Kind::File => Err(Errno::NOTDIR),
            Kind::Directory => may(found.as_fd(), b".", Access::EXEC_OK),
        }))
    }

    /// Looks for a path of the instance, as it is after these mounts.
    fn look(&self, path: &[u8], mounts: &[Mount<'_>]) -> Found {
        // selfdock makes the way to a mount.
        let is_way = |place: &[u8]| place != path && lies_in(place, path);
        if path.is_empty()
            || mounts.iter().any(|mount| is_way(mount.dst))
            || is_way(self.about.program.to_bytes())
        {
            return None;
        }
        let Some(at) = mounts.iter().rposition(|mount| lies_in(path, mount.dst)) else {
            return self.look_in_image(path);
        };
        let Mount { dst, source } = &mounts[at];
        match source {
            Source::Bind { src, .. } if may_be_descriptor(src) || self.shows_changes() => None,
            Source::Bind { src, .. } => look_below(src, &path[dst.len()..]),
            Source::Tmpfs(_) if path != *dst => NOTHING,
            Source::Tmpfs(_) => None,
            // A mask is an empty directory or file, as what it hides.
            Source::Mask { .. } => match self.look(dst, &mounts[..at])? {
                Ok(hidden) if Kind::of(&hidden) == Ok(Kind::File) => {
                    Some(if path == *dst { Ok(hidden) } else { Err(Errno::NOTDIR) })
                }
                Ok(_) if path == *dst => None,
                Ok(_) => NOTHING,
                Err(errno) => Some(Err(errno)),
            },
        }
    }

    /// Whether changes of an earlier run may be shown.
    fn shows_changes(&self) -> bool {
        self.around.changes.is_some()
    }

    fn look_in_image(&self, path: &[u8]) -> Found {
        let first = components(path).next().unwrap_or_default();
        if matches!(first, b"proc" | b"dev" | b"sys") || self.shows_changes() {
            return None;
        }
        if first == b"tmp" {
            return if path == b"/tmp" { None } else { NOTHING };
        }
        let found = match &self.plan.root {
            Root::Host => return self.look_in_host(path),
            Root::Dir(dir) => look_below(dir, path),
            // A later layer lies over the earlier ones.
            Root::Layers(dirs) => {
                let mut found = dirs.iter().rev().map(|dir| look_below(dir, path));
                found.find(|found| !is_nothing(found)).unwrap_or(NOTHING)
            }
        };
        if is_nothing(&found) && self.may_make_name(path) { None } else { found }
    }

    /// Whether selfdock may make a file of names at this path of an image, or below it. It makes none in `build`, and
    /// in a copy of an image only those of hosts.
    fn may_make_name(&self, path: &[u8]) -> bool {
        let names: &[Bytes] = match (self.plan.writable, self.around.copies_root) {
            (_, true) => &[RESOLV, HOSTS],
            (true, false) => &[],
            (false, false) => &[RESOLV, HOSTS, PASSWD, GROUP],
        };
        let place = |name: &Bytes| match overlay::layer_of_name(self.image(), name) {
            Some(root) => place_of_missing_name(&root, name),
            None => Some(*name),
        };
        names.iter().filter_map(place).any(|place| lies_in(place, path))
    }

    fn look_in_host(&self, path: &[u8]) -> Found {
        if let Some(home) = self.homes.iter().find(|home| lies_in(path, home)) {
            return if path == *home { None } else { NOTHING };
        }
        if places(self.list).any(|place| lies_in(path, place)) {
            return look_below(b"/", path);
        }
        let is_link = |entry: Entry<'_>| matches!(entry, Entry::Link(at, _) if lies_in(path, at));
        let is_made = places(self.list).any(|place| lies_in(place, path))
            || entries(self.list).any(is_link)
            || EMPTY.iter().any(|name| name.as_bytes() == &path[1..])
            || overlay::real_path(RESOLV).is_some_and(|file| lies_in(file, path));
        if is_made { None } else { NOTHING }
    }
}

/// The mount in which a path lies.
fn around<'m, 'p>(path: &[u8], mounts: &'m [Mount<'p>]) -> Option<&'m Mount<'p>> {
    mounts.iter().rfind(|mount| lies_in(path, mount.dst))
}

/// Looks for a path below a directory or file outside. A link on the way could lead to another place of the instance.
fn look_below(dir: &[u8], path: &[u8]) -> Found {
    let rules = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let below = components(path).fold(&b"."[..], |path, name| join(&[path, b"/", name]));
    let found = files::open(CWD, dir, OFlags::PATH).and_then(|dir| match below {
        b"." => Ok(dir),
        below => files::open_path(dir.as_fd(), below, OFlags::PATH, rules),
    });
    match found {
        Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Some(found),
        Err(_) => None,
    }
}

/// Refuses a report that could not be opened. See [`Report::open`].
pub fn foresee_report(target: &[u8], required: bool) -> Result<()> {
    let failed = on("report to {}", target);
    let (above, name) = match target.iter().rposition(|b| *b == b'/') {
        Some(at) => (&target[..=at], &target[at + 1..]),
        None => (&b"."[..], target),
    };
    let is_descriptor = |text: &[u8]| number(text.strip_prefix(b"=").unwrap_or(text), 10).is_some();
    let is_no_name =
        matches!(name, [] | [b'.'] | [b'.', b'.']) || target.iter().all(|b| *b == b'-' || b.is_ascii_digit());
    if is_no_name || is_descriptor(target) {
        // It makes no file then.
        return Report::open(target, required).map(drop);
    }
    let dir = files::open(CWD, above, OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
    may_report(&dir, name).or_fail(failed)?;
    if !may_hold_descriptors(above) && is_link_to_file(&dir, name) {
        return Err(Error::refused(failed, LINK_TO_FILE));
    }
    Ok(())
}

fn is_link_to_file(dir: &OwnedFd, name: &[u8]) -> bool {
    let is_link = files::kind(dir.as_fd(), name) == Ok(FileType::Symlink);
    let target = files::open(dir.as_fd(), name, OFlags::PATH).and_then(|fd| files::kind(fd.as_fd(), b""));
    is_link && target == Ok(FileType::RegularFile)
}

fn may_report(dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    let old = match files::lstat(dir.as_fd(), name) {
        Err(Errno::NOENT) => None,
        old => Some(old?),
    };
    match old.map(|old| FileType::from_raw_mode(old.st_mode)) {
        // It is written as it is, wherever a link leads.
        Some(FileType::Directory) => Err(Errno::ISDIR),
        Some(FileType::Socket) => Err(Errno::NXIO),
        Some(kind) if kind != FileType::RegularFile => may(dir.as_fd(), name, Access::WRITE_OK),
        // It is replaced. In a sticky directory only its owner may do that, and the owner of the directory.
        _ => {
            may(dir.as_fd(), b".", Access::WRITE_OK | Access::EXEC_OK)?;
            let (own, above) = (rustix::process::getuid().as_raw(), rustix::fs::fstat(dir)?);
            let is_sticky = Mode::from_raw_mode(above.st_mode).contains(Mode::SVTX) && above.st_uid != own;
            if is_sticky && old.is_some_and(|old| old.st_uid != own) { Err(Errno::PERM) } else { Ok(()) }
        }
    }
}
