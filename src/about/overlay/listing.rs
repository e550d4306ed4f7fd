//! `selfdock changes`: what is in a directory of changes, compared with the original.

use super::{CHANGED, ORIGIN, open, own};
use crate::error::{Error, Operation, OrFail, Quoted, Result, is_unprintable, on};
use crate::files;
use crate::text::{Bytes, join};
use alloc::string::String;
use alloc::vec::Vec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, FileType, OFlags, Stat};
use rustix::io::Errno;

/// The list of changes, a line for each path: `A` for added, `M` for modified, `D` for deleted, `?` for a directory
/// that the caller cannot read, and for a path that is too long.
pub fn changes(dir: &[u8]) -> Result<String> {
    let failed = on("read the changes in {}", dir);
    if dir.is_empty() {
        return Err(Error::refused(failed, "the path is empty"));
    }
    let opened = open(dir).or_fail(failed).map_err(no_changes)?;
    let origin = match files::link_target(opened.as_fd(), ORIGIN) {
        Err(Errno::NOENT | Errno::INVAL) => Err(Error::refused(failed, "no run has kept changes in it")),
        target => target.or_fail(failed),
    };
    let origin = origin.map_err(no_changes)?;
    let is_of_host = origin == b"/";
    let origin = open_original(origin)?;
    // A command can change the directories below this one, and not this one.
    let inherited = rustix::fs::fstat(&opened).or_fail(failed)?.st_mode & 0o2000;
    let mut list =
        List { dir, origin, is_of_host, changed: opened, inherited, rest: Vec::new(), lines: Vec::new() };
    list.rest.push(Changed { path: b"", was_there: true, hides: false });
    // No recursion, since the limit of the stack may be low (`ulimit -s`).
    while let Some(dir) = list.rest.pop() {
        list.list(dir)?;
    }
    list.lines.sort_by(|a, b| a[2..].cmp(&b[2..]));
    Ok(list.lines.concat())
}

/// Adds advice for a directory in which no changes are found.
fn no_changes(error: Error) -> Error {
    match error.errno() {
        Some(Errno::ACCESS) if rustix::process::geteuid().is_root() => {
            error.hint("selfdock gives up root's capabilities, too: the owner can list them")
        }
        None | Some(Errno::NOENT | Errno::NOTDIR) => error.hint("--changes DIR makes such a directory"),
        Some(_) => error,
    }
}

/// Opens the original. Without it each changed file would count as a new one.
fn open_original(dir: &[u8]) -> Result<OwnedFd> {
    let opened =
        open(dir).and_then(|opened| files::may(opened.as_fd(), b".", Access::EXEC_OK).map(|()| opened));
    let opened = opened.or_fail(on("compare the changes with {}", dir));
    opened.map_err(|e| e.hint("the changed files are in 'changed'"))
}

/// The names in a directory that is open for reading.
fn names_in(dir: BorrowedFd<'_>, failed: Operation<'_>) -> Result<Vec<Bytes>> {
    let mut names: Vec<Bytes> = Vec::new();
    files::each_of(dir, failed, &mut |name| {
        names.push(join(&[name]));
        Ok(())
    })?;
    Ok(names)
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}

/// Whether a directory of changes hides all that the original has in it: a command has removed the original, and made
/// the directory anew.
fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = [0; 1];
    rustix::fs::fgetxattr(dir, c"user.overlay.opaque", &mut value) == Ok(1) && value == *b"y"
}

struct List<'d> {
    /// The path of the directory of changes.
    dir: &'d [u8],
    origin: OwnedFd,
    /// Whether it is the host image. Not all directories of its copy have the permissions of the original.
    is_of_host: bool,
    changed: OwnedFd,
    /// The set-group-ID bit, if directories have got it from that they were made in. inode(7)
    inherited: u32,
    /// Directories that are still to be listed.
    rest: Vec<Changed>,
    lines: Vec<String>,
}

/// A directory of changes.
struct Changed {
    /// Its path below the top, with a slash before each name.
    path: Bytes,
    /// Whether the original has a directory there.
    was_there: bool,
    /// Whether it hides what the original has in it.
    hides: bool,
}

impl List<'_> {
    /// Lists a directory, and notes those in it.
    fn list(&mut self, Changed { path: below, was_there, hides }: Changed) -> Result<()> {
        let dir = join(&[CHANGED, below]);
        let path = join(&[self.dir, b"/", dir]);
        let failed = on("list {}", path);
        let opened =
            files::open(self.changed.as_fd(), dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW);
        // The directory belongs to a subordinate id, which is another user here. Or its path is longer than the kernel
        // takes, and than anybody wants to read.
        if matches!(opened, Err(Errno::ACCESS | Errno::NAMETOOLONG)) && !below.is_empty() {
            self.add_line('?', below);
            return Ok(());
        }
        let opened = opened.or_fail(failed)?;
        let hides = hides || is_opaque(&opened);
        let names = names_in(opened.as_fd(), failed)?;
        if hides && was_there {
            self.add_hidden(below, &names);
        }
        for name in names {
            self.list_entry(join(&[below, b"/", name]), was_there, hides, failed)?;
        }
        Ok(())
    }

    fn list_entry(
        &mut self,
        path: Bytes,
        of_original: bool,
        hides: bool,
        failed: Operation<'_>,
    ) -> Result<()> {
        let mut stat = match files::lstat(self.changed.as_fd(), join(&[CHANGED, path])) {
            Err(Errno::NAMETOOLONG) => {
                self.add_line('?', path);
                return Ok(());
            }
            stat => stat.or_fail(failed)?,
        };
        let origin = of_original.then_some(&self.origin);
        let before = origin.and_then(|origin| files::lstat(origin.as_fd(), &path[1..]).ok());
        if origin.is_some_and(|origin| own::is_same(&self.changed, CHANGED, origin, path)) {
            return Ok(());
        }
        // A whiteout is a device with the number 0.
        if FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0 {
            if !origin.is_some_and(|origin| own::is_closed(origin, &path[1..])) {
                self.add_line('D', path);
            }
            return Ok(());
        }
        let (is_dir, was_dir) = (is_directory(&stat), before.as_ref().is_some_and(is_directory));
        if is_dir {
            stat.st_mode &= !self.inherited;
        }
        let is_ours = self.is_of_host && stat.st_mode & 0o7777 == 0o755;
        let has_acl = || origin.is_some_and(|origin| own::has_acl(origin, &path[1..]));
        let is_unchanged = is_dir
            && was_dir
            && (is_ours || before.as_ref().is_some_and(|before| own::has_mode_of(&stat, before, has_acl)));
        if !is_unchanged {
            self.add_line(if before.is_some() { 'M' } else { 'A' }, path);
        }
        if is_dir {
            self.rest.push(Changed { path, was_there: was_dir, hides });
        }
        Ok(())
    }

    /// Adds what the original has in a directory and the copy does not show. `names` are those in the copy.
    fn add_hidden(&mut self, below: Bytes, names: &[Bytes]) {
        let failed = on("list {}", below);
        let path = join(&[b".", below]);
        let dir =
            files::open(self.origin.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW);
        // What cannot be listed was not seen by the command either.
        let hidden = dir.or_fail(failed).and_then(|dir| names_in(dir.as_fd(), failed)).unwrap_or_default();
        for name in hidden.iter().filter(|name| !names.contains(name)) {
            self.add_line('D', join(&[below, b"/", name]));
        }
    }

    /// Adds a line. A command has chosen the name. It is quoted if it has characters that control the terminal, or if
    /// it would look like a quoted name.
    fn add_line(&mut self, what: char, path: &[u8]) {
        let name = &path[1..];
        let is_plain = |text: &&str| !text.starts_with('\'') && !text.chars().any(is_unprintable);
        self.lines.push(match core::str::from_utf8(name).ok().filter(is_plain) {
            Some(name) => alloc::format!("{what} {name}\n"),
            None => alloc::format!("{what} {}\n", Quoted(name)),
        });
    }
}
