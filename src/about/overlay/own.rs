//! Directories in the upper layer of an overlay, which belong to the caller and lie over directories of other users, or
//! of other groups.
//! The kernel merges both, and the merged directory belongs to the owner of the upper one. So files can be made,
//! replaced and removed there, as package managers do. Files are not merged. Files that package managers change in
//! place or rename are copied.

use super::progress::Progress;
use crate::creds::Caller;
use crate::files::{self, Identity};
use crate::host::lies_in;
use crate::mount::find;
use crate::names::RESOLV;
use crate::stage::place_of_missing_name;
use crate::text::{Bytes, c_string, join};
use alloc::vec::Vec;
use core::ffi::CStr;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, mknodat};
use rustix::io::{Errno, Result};

/// Directories whose files are all copied: the databases of package managers, and the configuration of the system.
const WRITTEN: &[&[u8]] = &[
    b"/etc",
    b"/var/lib/dpkg",
    b"/var/lib/rpm",
    b"/usr/lib/sysimage/rpm",
    b"/var/lib/pacman",
    b"/lib/apk/db",
];

/// Directories where empty files are copied. Most of these files are locks.
const STATE: &[&[u8]] = &[b"/etc", b"/var", b"/lib/apk"];

/// Directories that lie deeper are left as they are. Each level takes two descriptors.
const DEEPEST: usize = 100;

/// Stands for a path that is in none of these directories.
pub const ELSEWHERE: &[u8] = b"?";

/// What the kernel shows for an id that the user namespace does not map. proc(5), `/proc/sys/kernel/overflowgid`
const UNMAPPED: u32 = 65534;

/// Which directories are taken over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TakesOver {
    /// All that the caller can list.
    All,
    /// Those that the caller may write to, since nobody else may do more in a copy of a directory.
    Writable,
}

/// Whether the kernel could not copy directories of this one into the upper layer, since their user or group has no id
/// in the user namespace. A group can be one that the caller is a member of. The top directory and those in it are
/// examined. A root filesystem of another user counts, too.
pub fn is_of_others(dir: &OwnedFd, caller: Caller, takes: TakesOver) -> Result<bool> {
    let is_unmapped = |stat: &Stat| {
        stat.st_uid == UNMAPPED && caller.uid != UNMAPPED || stat.st_gid == UNMAPPED && caller.gid != UNMAPPED
    };
    let top = rustix::fs::fstat(dir)?;
    if takes == TakesOver::Writable && !may_write(dir) {
        return Ok(false);
    }
    if is_unmapped(&top) || takes == TakesOver::All && top.st_uid != caller.uid {
        return Ok(true);
    }
    let mut found = false;
    // What cannot be listed is not taken over either.
    let _ = files::each_entry(dir.as_fd(), "list a layer".into(), &mut |name| {
        let stat = files::lstat(dir.as_fd(), name);
        found |= stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir() && is_unmapped(&stat));
        Ok(())
    });
    Ok(found)
}

/// Whether the caller may make and remove entries in a directory.
fn may_write(dir: &OwnedFd) -> bool {
    files::may(dir.as_fd(), b".", Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Makes a directory in `into` for each directory in `from` that the caller can list, with the same permissions.
/// Directories that the caller may not list stay closed. Most errors are ignored: that entry then stays as it was. It
/// is an error if something has run out, such as room or descriptors: the next run would take the rest for complete.
/// `path` is the place of `from` in the image, or [`ELSEWHERE`]. The image can show a directory of `changes` by another
/// path. It is not copied into itself.
pub fn take_over(
    from: &OwnedFd,
    into: &OwnedFd,
    path: Bytes,
    takes: TakesOver,
    changes: &[Identity],
    progress: &Progress,
) -> Result<()> {
    // No recursion, since the limit of the stack may be low (`ulimit -s`).
    let (mut names, mut name) = (Names(Vec::new()), Vec::new());
    let mut buffer = Vec::with_capacity(8192);
    let mut levels = Vec::with_capacity(DEEPEST + 1);
    let top = Level { from: files::duplicate(from)?, into: files::duplicate(into)?, path, rest: 0 };
    take_over_files(&top, &mut buffer, &mut names)?;
    levels.push(top);
    while let Some(level) = levels.last() {
        if !names.pop(level.rest, &mut name) {
            levels.pop();
            continue;
        }
        match directory(&level.from, &level.into, &name, takes, changes) {
            Ok((from, into)) => {
                progress.step();
                let level = Level { from, into, path: below(level.path, &name), rest: names.0.len() };
                take_over_files(&level, &mut buffer, &mut names)?;
                if levels.len() < DEEPEST {
                    levels.push(level);
                } else {
                    names.0.truncate(level.rest);
                }
            }
            Err(Errno::ACCESS) if lies_in(level.path, b"/var") => take_away(&level.into, &name)?,
            Err(errno) => unless_out(Err(errno))?,
        }
    }
    Ok(())
}

/// A directory that is being taken over.
struct Level {
    from: OwnedFd,
    into: OwnedFd,
    /// Its place in the image.
    path: Bytes,
    /// How long the list of names was before those of its directories were added.
    rest: usize,
}

/// Names of directories that are still to be taken over, each with a zero at its end. Memory is never freed, so that
/// one list serves all levels.
struct Names(Vec<u8>);

impl Names {
    fn push(&mut self, name: &[u8]) {
        self.0.extend_from_slice(name);
        self.0.push(0);
    }

    /// Takes the last name, if it is one of those from `rest` on. `name` is replaced by it.
    fn pop(&mut self, rest: usize, name: &mut Vec<u8>) -> bool {
        let (end, start) = match self.0[rest..].split_last() {
            Some((_, names)) => {
                let at = names.iter().rposition(|b| *b == 0).map_or(0, |at| at + 1);
                (rest + names.len(), rest + at)
            }
            None => return false,
        };
        name.clear();
        name.extend_from_slice(&self.0[start..end]);
        self.0.truncate(start);
        true
    }
}

/// Takes over the files of a directory, and adds the names of its directories to the list.
fn take_over_files(level: &Level, buffer: &mut Vec<u8>, names: &mut Names) -> Result<()> {
    let Level { from, into, path, .. } = level;
    let list = match files::open(from.as_fd(), b".", OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(list) => list,
        Err(errno) => return unless_out(Err(errno)),
    };
    let is_written = WRITTEN.contains(path);
    let is_state = is_written || STATE.iter().any(|dir| lies_in(path, dir));
    let mut entries = RawDir::new(list.as_fd(), buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(errno) => return unless_out(Err(errno)),
        };
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        match entry.file_type() {
            FileType::Directory => names.push(name),
            FileType::RegularFile if is_written && is_closed(from, name) => take_away(into, name)?,
            FileType::RegularFile if is_written => copy(from, into, name)?,
            FileType::RegularFile if is_state => copy_if_empty(from, into, name)?,
            _ => {}
        }
    }
    Ok(())
}

/// Removes an entry from the copy: a directory of a service or a file of secrets that is closed to the caller. Programs
/// can then make a new one, or work without it.
fn take_away(into: &OwnedFd, name: &[u8]) -> Result<()> {
    let whiteout = |name| mknodat(into, name, FileType::CharacterDevice, Mode::empty(), 0);
    // If that fails for another reason, the entry stays closed.
    unless_out(c_string(name).and_then(whiteout))
}

/// Whether the caller may not read a file or directory. An empty file does not count.
pub fn is_closed(dir: &OwnedFd, path: &[u8]) -> bool {
    let is_empty = || files::lstat(dir.as_fd(), path).is_ok_and(|stat| stat.st_size == 0);
    files::may(dir.as_fd(), path, Access::READ_OK) == Err(Errno::ACCESS) && !is_empty()
}

/// The path of an entry, if it can lie in one of the directories above. Memory is never freed, and most entries lie
/// elsewhere.
fn below(path: Bytes, name: &[u8]) -> Bytes {
    if path == ELSEWHERE {
        return path;
    }
    let path = join(&[path, b"/", name]);
    let counts = |dir: &&&[u8]| lies_in(dir, path) || lies_in(path, dir);
    if WRITTEN.iter().chain(STATE).any(|dir| counts(&dir)) { path } else { ELSEWHERE }
}

fn directory(
    from: &OwnedFd,
    into: &OwnedFd,
    name: &[u8],
    takes: TakesOver,
    changes: &[Identity],
) -> Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let from = files::open(from.as_fd(), name, flags)?;
    let stat = rustix::fs::fstat(&from)?;
    if changes.contains(&(stat.st_dev, stat.st_ino)) {
        return Err(Errno::LOOP);
    }
    // In a sticky directory its owner may remove what belongs to others.
    let is_sticky = stat.st_mode & 0o1000 != 0 && stat.st_uid == UNMAPPED;
    if takes == TakesOver::Writable && (is_sticky || !may_write(&from)) {
        return Err(Errno::PERM);
    }
    let has_acl = is_acl(rustix::fs::fgetxattr(&from, ACL, &mut [0; 1]));
    let made = files::make_directory(into.as_fd(), name, permissions(&stat, has_acl, UNMAPPED) | 0o700);
    let into = match made {
        Ok(()) | Err(Errno::EXIST) => files::open(into.as_fd(), name, flags)?,
        Err(errno) => return Err(errno),
    };
    made.or(Ok(())).and_then(|()| permit(&into, &stat, has_acl)).map(|()| (from, into))
}

const ACL: &CStr = c"system.posix_acl_access";

fn is_acl(asked: Result<usize>) -> bool {
    !matches!(asked, Err(Errno::NODATA | Errno::NOTSUP))
}

/// Whether a file or directory has an ACL.
pub fn has_acl(dir: &OwnedFd, name: &[u8]) -> bool {
    let path = c_string(join(&[files::name_of(dir), b"/", name]));
    is_acl(path.and_then(|path| rustix::fs::lgetxattr(path, ACL, &mut [0; 1])))
}

/// The permissions of a copy that belongs to `group`. If the original belongs to another one, this group and others get
/// what the original gives to both its group and others: nobody knows who is in which group. An ACL is not copied, and
/// the group bits are its mask. acl(5)
fn permissions(original: &Stat, has_acl: bool, group: u32) -> u32 {
    let mode = original.st_mode & 0o1777;
    let both = mode & mode >> 3 & 7;
    match original.st_gid {
        _ if has_acl => mode & !0o77,
        same if same == group && same != UNMAPPED => mode,
        _ => mode & !0o77 | both << 3 | both,
    }
}

/// Whether a copy has permissions that it can have got when it was made.
pub fn has_mode_of(copy: &Stat, original: &Stat, has_acl: impl FnOnce() -> bool) -> bool {
    let owner = if FileType::from_raw_mode(original.st_mode).is_dir() { 0o700 } else { 0 };
    let (mode, same) = (copy.st_mode & 0o7777, original.st_mode & 0o7777);
    [same, same & 0o1777 | owner].contains(&mode)
        || mode == permissions(original, has_acl(), copy.st_gid) | owner
}

/// Gives a new copy all permissions of the original, if it belongs to the same group. It has those for another group.
fn permit(copy: &OwnedFd, original: &Stat, has_acl: bool) -> Result<()> {
    let mode = original.st_mode & 0o1777;
    if permissions(original, has_acl, UNMAPPED) == mode
        || permissions(original, has_acl, rustix::fs::fstat(copy)?.st_gid) != mode
    {
        return Ok(());
    }
    let is_dir = FileType::from_raw_mode(original.st_mode).is_dir();
    rustix::fs::fchmod(copy, Mode::from_raw_mode(if is_dir { mode | 0o700 } else { mode & 0o777 }))
}

/// Copies a file or a link, if the caller can read it. It is an error if something has run out: the copy would be cut
/// short, or missing.
pub fn copy(from: &OwnedFd, into: &OwnedFd, name: &[u8]) -> Result<()> {
    unless_out(match files::kind(from.as_fd(), name) {
        Ok(FileType::Symlink) => files::link_target(from.as_fd(), name)
            .and_then(|target| files::make_link(target, into.as_fd(), name)),
        Ok(FileType::RegularFile) => copy_file(from, name, into, name),
        other => other.map(drop),
    })
}

/// An error only if something has run out. If a copy fails for another reason, the original shows, or nothing.
pub fn unless_out(made: Result<()>) -> Result<()> {
    made.or_else(|errno| match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Err(errno),
        errno if files::is_want(errno) => Err(errno),
        _ => Ok(()),
    })
}

fn copy_if_empty(from: &OwnedFd, into: &OwnedFd, name: &[u8]) -> Result<()> {
    let copied = match files::lstat(from.as_fd(), name) {
        Ok(stat) if stat.st_size == 0 => new_empty_file(from, name, &stat, into, name),
        stat => stat.map(drop),
    };
    unless_out(copied)
}

/// Makes a file with the permissions of another one. No bit of the umask is set meanwhile.
fn new_file(into: &OwnedFd, name: &[u8], stat: &Stat, has_acl: bool, how: OFlags) -> Result<OwnedFd> {
    let mode = Mode::from_raw_mode(permissions(stat, has_acl, UNMAPPED) & 0o777);
    let file = rustix::fs::openat(into, c_string(name)?, OFlags::WRONLY | OFlags::CLOEXEC | how, mode)?;
    permit(&file, stat, has_acl).map(|()| file)
}

fn new_empty_file(from: &OwnedFd, source: &[u8], stat: &Stat, into: &OwnedFd, name: &[u8]) -> Result<()> {
    new_file(into, name, stat, has_acl(from, source), OFlags::CREATE | OFlags::EXCL).map(drop)
}

/// Copies a file. It gets its name when it is complete: a run can be killed meanwhile, and the next one takes a file
/// with this name for complete. open(2), `O_TMPFILE`
fn copy_file(from: &OwnedFd, source: &[u8], into: &OwnedFd, name: &[u8]) -> Result<()> {
    let stat = files::lstat(from.as_fd(), source)?;
    let opened = files::open(from.as_fd(), source, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK);
    let source = match opened {
        Err(_) if stat.st_size == 0 => return new_empty_file(from, source, &stat, into, name),
        opened => opened?,
    };
    let has_acl = is_acl(rustix::fs::fgetxattr(&source, ACL, &mut [0; 1]));
    let file = new_file(into, b".", &stat, has_acl, OFlags::TMPFILE)?;
    while rustix::fs::sendfile(&file, &source, None, 1 << 20)? > 0 {}
    let (unnamed, name) = (c_string(files::name_of(&file))?, c_string(name)?);
    rustix::fs::linkat(CWD, unnamed, into, name, AtFlags::SYMLINK_FOLLOW)
}

/// Copies the resolver's configuration, if it is a link to a file that is not shown. The copy is put where the link
/// ends in the root filesystem `root`: further links on the way may lie in directories that are not shown. `is_shown`
/// says whether the host's file at a path may be shown. `into` makes a directory in the copy.
pub fn copy_resolver(
    root: &OwnedFd,
    is_shown: impl Fn(&[u8]) -> bool,
    into: impl Fn(&[u8]) -> Result<OwnedFd>,
) -> Result<()> {
    let copy = || {
        let target = files::link_target(CWD, RESOLV)?;
        let path = files::path_of(&find(RESOLV, OFlags::empty())?)?;
        // A command can have changed the link.
        let is_same = files::link_target(root.as_fd(), &RESOLV[1..])? == target;
        let place = place_of_missing_name(root, RESOLV).filter(|_| is_same && is_shown(path));
        let place = place.ok_or(Errno::NOENT)?;
        // The owner of a directory on the way may change it meanwhile.
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let from = files::open_path(CWD, files::parent(path), flags, ResolveFlags::NO_SYMLINKS)?;
        let into = into(files::parent(place))?;
        let name = |path: Bytes| &path[files::parent(path).len() + 1..];
        match files::kind(from.as_fd(), name(path))? {
            FileType::RegularFile => copy_file(&from, name(path), &into, name(place)),
            _ => Err(Errno::INVAL),
        }
    };
    // On another failure there is no such file, or it is shown already.
    unless_out(copy())
}

/// Whether a file or link in a directory of changes is an unchanged copy of the original.
pub fn is_same(changed: &OwnedFd, below: &[u8], origin: &OwnedFd, path: &[u8]) -> bool {
    let here = join(&[below, path]);
    // A command that is still running can have put something else there.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let is_same = || -> Result<bool> {
        let (new, old) = (files::lstat(changed.as_fd(), here)?, files::lstat(origin.as_fd(), &path[1..])?);
        let is_alike = FileType::from_raw_mode(new.st_mode) == FileType::from_raw_mode(old.st_mode)
            && new.st_size == old.st_size
            && has_mode_of(&new, &old, || has_acl(origin, &path[1..]));
        match FileType::from_raw_mode(new.st_mode) {
            FileType::Symlink if is_alike => {
                Ok(files::link_target(changed.as_fd(), here)?
                    == files::link_target(origin.as_fd(), &path[1..])?)
            }
            FileType::RegularFile if is_alike && new.st_size == 0 => Ok(true),
            FileType::RegularFile if is_alike => has_same_content(
                files::open(changed.as_fd(), here, flags)?.as_fd(),
                files::open(origin.as_fd(), &path[1..], flags)?.as_fd(),
            ),
            _ => Ok(false),
        }
    };
    is_same().unwrap_or(false)
}

fn has_same_content(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool> {
    let (mut first, mut second) = ([0; 4096], [0; 4096]);
    loop {
        let count = rustix::io::read(one, &mut first)?;
        if count == 0 {
            return Ok(true);
        }
        let mut got = 0;
        while got < count {
            match rustix::io::read(other, &mut second[got..count])? {
                0 => return Ok(false),
                more => got += more,
            }
        }
        if first[..count] != second[..count] {
            return Ok(false);
        }
    }
}
