//! Access to files by directory and name. The functions take bytes and descriptors and are not generic, which keeps
//! the program small. There is one function that makes a string for the kernel.

use crate::error::{Operation, OrFail};
use crate::text::{Bytes, c_string, decimal, join};
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, StatxFlags};
use rustix::io::{Errno, Result};

/// A copy of a descriptor, which is none of the standard ones and is closed at exec.
pub fn duplicate(fd: &impl AsFd) -> Result<OwnedFd> {
    const FIRST: i32 = 3;
    rustix::io::fcntl_dupfd_cloexec(fd, FIRST)
}

/// The name of a descriptor of this process. proc(5), `/proc/PID/fd`
pub fn name_of(fd: &impl AsRawFd) -> Bytes {
    join(&[b"/proc/self/fd/", decimal(fd.as_raw_fd().unsigned_abs())])
}

/// The path of an open file, without links in it, as far as it is visible here.
pub fn path_of(fd: &impl AsRawFd) -> Result<Bytes> {
    link_target(CWD, name_of(fd))
}

/// Opens a file; the descriptor is closed at exec. openat(2)
pub fn open(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::openat(dir, c_string(path)?, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o666))
}

/// How often a lookup is repeated that fails with EAGAIN.
const LOOKUPS: u32 = 1000;

/// Opens a path with rules for its resolution. The kernel gives up a path with `..` in it whenever somebody renames
/// or mounts something meanwhile, anywhere. openat2(2), EAGAIN
pub fn open_path(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags, rules: ResolveFlags) -> Result<OwnedFd> {
    let path = c_string(path)?;
    for _ in 0..LOOKUPS {
        match rustix::fs::openat2(dir, path, flags | OFlags::CLOEXEC, Mode::empty(), rules) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// The type of a procfs. statfs(2), `PROC_SUPER_MAGIC`
pub const PROCFS: i64 = 0x9fa0;

/// Whether a file lies in a procfs. fstatfs(2)
pub fn is_procfs(fd: &OwnedFd) -> Result<bool> {
    Ok(rustix::fs::fstatfs(fd)?.f_type == PROCFS)
}

/// Whether a call failed because something ran out. This says nothing about the file.
pub fn is_want(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

/// Whether a call failed because nothing can be reached at a path, and not because a file system failed for now.
pub fn is_absence(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG | Errno::NOTCONN
    )
}

/// Reads the status of a file, without following a link. fstatat(2)
pub fn lstat(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Stat> {
    rustix::fs::statat(dir, c_string(path)?, AtFlags::SYMLINK_NOFOLLOW)
}

/// The type of a file (with an empty name: of `dir` itself), without following a link, as the kernel has it cached. The
/// file system is not asked, since it could refuse or never answer. statx(2)
pub fn kind(dir: BorrowedFd<'_>, name: &[u8]) -> Result<FileType> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let stat = rustix::fs::statx(dir, c_string(name)?, flags | AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    Ok(FileType::from_raw_mode(stat.stx_mode.into()))
}

/// Whether the caller may do this with a file. `faccessat2(2)`
pub fn may(dir: BorrowedFd<'_>, path: &[u8], how: Access) -> Result<()> {
    rustix::fs::accessat(dir, c_string(path)?, how, AtFlags::empty())
}

/// Makes a directory. mkdirat(2)
pub fn make_directory(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<()> {
    rustix::fs::mkdirat(dir, c_string(name)?, Mode::from_raw_mode(mode))
}

/// Makes an empty file that nobody may write. mknodat(2)
pub fn make_file(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    rustix::fs::mknodat(dir, c_string(name)?, FileType::RegularFile, Mode::from_raw_mode(0o444), 0)
}

/// Makes a symbolic link. symlinkat(2)
pub fn make_link(target: &[u8], dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    rustix::fs::symlinkat(c_string(target)?, dir, c_string(name)?)
}

/// The directory part of an absolute path, without a slash at its end: empty for the root directory.
pub fn parent(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|b| *b == b'/').unwrap_or(0)]
}

/// The identity of the file that a path leads to. stat(2)
pub fn identity_of(path: &[u8]) -> Result<Identity> {
    rustix::fs::statat(CWD, c_string(path)?, AtFlags::empty()).map(|stat| (stat.st_dev, stat.st_ino))
}

/// The length of the longest path. limits.h
const PATH_MAX: usize = 4096;

/// The target of a symbolic link. readlinkat(2)
pub fn link_target(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Bytes> {
    // Most targets are short. A buffer for the longest would touch one more page of the stack.
    const SHORT: usize = 256;
    let path = c_string(path)?;
    let mut short = [MaybeUninit::<u8>::uninit(); SHORT];
    let (target, _) = rustix::fs::readlinkat_raw(dir, path, &mut short)?;
    if target.len() < SHORT {
        return Ok(join(&[target]));
    }
    let mut target = Vec::with_capacity(PATH_MAX + 1);
    rustix::fs::readlinkat_raw(dir, path, rustix::buffer::spare_capacity(&mut target))?;
    if target.len() > PATH_MAX { Err(Errno::NAMETOOLONG) } else { Ok(target.leak()) }
}

/// What a pipe holds, if nobody has changed that. pipe(7)
pub const PIPE: usize = 1 << 16;

/// Reads the rest of a file, which must not have more than `most` bytes. The first buffer has `expected` bytes.
pub fn read(fd: BorrowedFd<'_>, expected: usize, most: usize) -> Result<Bytes> {
    let mut text = Vec::with_capacity(expected);
    loop {
        text.reserve(1024);
        match rustix::io::read(fd, rustix::buffer::spare_capacity(&mut text)) {
            Ok(0) => return Ok(text.leak()),
            Ok(_) if text.len() > most => return Err(Errno::FBIG),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes the whole text. write(2)
pub fn write(fd: BorrowedFd<'_>, text: &[u8]) -> Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(fd, rest)?..];
    }
    Ok(())
}

/// The kind of a mount point, which depends on what is mounted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For a directory tree.
    Directory,
    /// For anything else.
    File,
}

impl Kind {
    /// The kind of an open file.
    pub fn of(fd: impl AsFd) -> Result<Self> {
        let stat = rustix::fs::fstat(fd)?;
        Ok(if FileType::from_raw_mode(stat.st_mode).is_dir() { Kind::Directory } else { Kind::File })
    }
}

/// Device and inode number.
pub type Identity = (u64, u64);

/// The identity of an open file.
pub fn identity(fd: impl AsFd) -> Result<Identity> {
    rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Makes an empty directory or file that everyone can read.
pub fn make_entry(dir: impl AsFd, name: &[u8], kind: Kind) -> Result<()> {
    match kind {
        Kind::Directory => make_directory(dir.as_fd(), name, 0o755),
        Kind::File => make_file(dir.as_fd(), name),
    }
}

/// Opens a directory entry that selfdock made.
pub fn open_entry(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    open(dir.as_fd(), name, OFlags::PATH | OFlags::NOFOLLOW)
}

/// Opens a path below the root directory of an instance: no link leads out of it. openat2(2), `RESOLVE_IN_ROOT`
pub fn open_in(root: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    open_path(root.as_fd(), path, flags | OFlags::PATH, resolve)
}

/// Opens a path below `root` with `O_PATH`. A link in it is an error.
pub fn open_literally(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd> {
    open_path(root.as_fd(), path, OFlags::PATH, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

/// Whether this is a directory of this owner. The file system is not asked, since it may not answer. Without an answer
/// it counts as one. statx(2)
pub fn may_be_directory_of(file: &OwnedFd, owner: u32) -> bool {
    let at = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let Ok(stat) = rustix::fs::statx(file, c"", at, StatxFlags::UID | StatxFlags::TYPE) else { return true };
    stat.stx_uid == owner && FileType::from_raw_mode(stat.stx_mode.into()).is_dir()
}

/// Calls `f` with each name in a directory.
pub fn each_entry(
    dir: BorrowedFd<'_>,
    failed: Operation<'_>,
    f: &mut dyn FnMut(&[u8]) -> crate::error::Result<()>,
) -> crate::error::Result<()> {
    let list = open(dir, b".", OFlags::RDONLY).or_fail(failed)?;
    each_of(list.as_fd(), failed, f)
}

/// Calls `f` with each name in a directory that is open for reading.
pub fn each_of(
    list: BorrowedFd<'_>,
    failed: Operation<'_>,
    f: &mut dyn FnMut(&[u8]) -> crate::error::Result<()>,
) -> crate::error::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(list, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.or_fail(failed)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            f(name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;
    use std::string::String;

    /// A directory of its own, removed in the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = std::format!("selfdock-{name}-{}", std::process::id());
            let place = std::env::temp_dir().join(name);
            fs::create_dir(&place).unwrap();
            Place(place)
        }

        fn open(&self, name: &str) -> OwnedFd {
            super::open(CWD, self.0.join(name).as_os_str().as_bytes(), OFlags::RDONLY).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// A pipe that nobody reads takes a part of a long text, and then nothing.
    #[test]
    fn what_the_first_write_leaves_is_written_as_well() {
        use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let room = fcntl_setpipe_size(&writer, 8192).unwrap();
        assert_eq!(write(writer.as_fd(), &std::vec![b'x'; room + 1]), Err(Errno::AGAIN));
        assert_eq!(rustix::io::read(&reader, &mut std::vec![0; room + 1]), Ok(room));
        assert_eq!(write(writer.as_fd(), b"all"), Ok(()));
    }

    #[test]
    fn a_link_is_read_as_long_as_it_is() {
        let place = Place::new("links");
        for length in [1, 255, 256, 257, 4095] {
            let target = "x".repeat(length);
            let name = std::format!("{length}");
            std::os::unix::fs::symlink(&target, place.0.join(&name)).unwrap();
            let read = link_target(place.open(".").as_fd(), name.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(read), target);
        }
    }

    #[test]
    fn a_link_is_looked_at_itself() {
        let place = Place::new("looks");
        for (name, target) in [("dir", "/"), ("file", "/proc/self/status"), ("nothing", "/no/such")] {
            std::os::unix::fs::symlink(target, place.0.join(name)).unwrap();
            let (dir, name) = (place.open("."), name.as_bytes());
            assert_eq!(kind(dir.as_fd(), name), Ok(FileType::Symlink));
            let stat = lstat(dir.as_fd(), name).unwrap();
            assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::Symlink);
            assert_eq!(open_entry(&dir, name).and_then(Kind::of), Ok(Kind::File));
        }
    }

    #[test]
    fn what_runs_out_says_nothing_about_a_file() {
        for errno in [Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(is_want(errno), "{errno}");
        }
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::LOOP, Errno::NOTDIR, Errno::PERM, Errno::IO] {
            assert!(!is_want(errno), "{errno}");
        }
    }

    #[test]
    fn a_file_is_read_as_far_as_it_may_be_long() {
        let place = Place::new("reads");
        for length in [0, 1, 1024, 5000] {
            let text = "y".repeat(length);
            fs::write(place.0.join("file"), &text).unwrap();
            for expected in [0, length, 9000] {
                assert_eq!(read(place.open("file").as_fd(), expected, length), Ok(text.as_bytes()));
                if length > 0 {
                    assert_eq!(read(place.open("file").as_fd(), expected, length - 1), Err(Errno::FBIG));
                }
            }
        }
        assert_eq!(read(place.open(".").as_fd(), 1, 1), Err(Errno::ISDIR));
    }

    #[test]
    fn a_directory_is_listed_without_its_dots() {
        let place = Place::new("lists");
        for name in [".x", "..y", "z"] {
            fs::write(place.0.join(name), "").unwrap();
        }
        let mut names = Vec::new();
        let mut note = |name: &[u8]| {
            names.push(CString::new(name).unwrap());
            Ok(())
        };
        each_entry(place.open(".").as_fd(), crate::error::on("list {}", b"it"), &mut note).unwrap();
        names.sort();
        assert_eq!(names, [c"..y", c".x", c"z"].map(CString::from));
    }

    #[test]
    fn what_is_made_is_no_more_open_than_it_needs_to_be() {
        use std::os::unix::fs::PermissionsExt;
        let place = Place::new("modes");
        let before = rustix::process::umask(Mode::empty());
        for (name, kind) in [(&b"dir"[..], Kind::Directory), (b"file", Kind::File)] {
            make_entry(place.open("."), name, kind).unwrap();
        }
        open(place.open(".").as_fd(), b"new", OFlags::CREATE | OFlags::WRONLY).unwrap();
        rustix::process::umask(before);
        let mode = |name: &str| fs::metadata(place.0.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(["dir", "file", "new"].map(mode), [0o755, 0o444, 0o666]);
    }
}
