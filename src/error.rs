//! What went wrong, in one line: operation, object, reason; and the exit status that says so.
#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Write as _};
use rustix::io::Errno;

/// selfdock could not do its part; the command did not run.
pub const FAILED: u8 = 125;
/// The command was found and could not be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;

/// The result of everything that can fail in selfdock.
pub type Result<T> = core::result::Result<T, Error>;

/// A failure, ready to be shown. One pointer, so that the way of success stays short.
#[derive(Debug)]
pub struct Error(Box<Failure>);

#[derive(Debug)]
struct Failure {
    status: u8,
    what: String,
    reason: Reason,
    hint: Option<&'static str>,
}

#[derive(Debug)]
enum Reason {
    Errno(Errno),
    /// None for a message that is whole without.
    Words(&'static str),
}

/// An operation and the objects it is about. Small to hand around; a text only on failure.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// Each `{}` stands for an object, quoted; each `{=}` for one as it is.
    template: &'static str,
    objects: [&'a [u8]; 2],
}

/// An operation on one object: `on("enter {}", dir)`.
pub fn on<'a>(template: &'static str, object: &'a [u8]) -> Operation<'a> {
    Operation { template, objects: [object, b""] }
}

/// An operation on two objects: `both("bind {} on {}", src, dst)`.
pub fn both<'a>(template: &'static str, first: &'a [u8], second: &'a [u8]) -> Operation<'a> {
    Operation { template, objects: [first, second] }
}

impl From<&'static str> for Operation<'_> {
    fn from(template: &'static str) -> Self {
        Operation { template, objects: [b"", b""] }
    }
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.template;
        for object in self.objects {
            let Some((before, after)) = rest.split_once('{') else {
                break;
            };
            f.write_str(before)?;
            match after.strip_prefix("=}") {
                Some(after) => {
                    rest = after;
                    f.write_str(core::str::from_utf8(object).unwrap_or("?"))?;
                }
                None => {
                    rest = after.trim_start_matches('}');
                    Quoted(object).fmt(f)?;
                }
            }
        }
        f.write_str(rest)
    }
}

impl Error {
    #[cold]
    #[inline(never)]
    fn kernel(what: &Operation<'_>, errno: Errno) -> Self {
        Error(Box::new(Failure {
            status: FAILED,
            what: alloc::format!("{what}"),
            reason: Reason::Errno(errno),
            hint: None,
        }))
    }

    #[cold]
    #[inline(never)]
    fn own(what: &Operation<'_>, why: &'static str) -> Self {
        Error(Box::new(Failure {
            status: FAILED,
            what: alloc::format!("{what}"),
            reason: Reason::Words(why),
            hint: None,
        }))
    }

    /// An operation that the kernel refused: `bind '/a' on '/b'`.
    pub fn of<'a>(what: impl Into<Operation<'a>>, errno: Errno) -> Self {
        Error::kernel(&what.into(), errno)
    }

    /// One that selfdock itself refuses, with the reason in words.
    pub fn refused<'a>(what: impl Into<Operation<'a>>, why: &'static str) -> Self {
        Error::own(&what.into(), why)
    }

    /// A whole message.
    pub fn plain<'a>(what: impl Into<Operation<'a>>) -> Self {
        Error::own(&what.into(), "")
    }

    /// The same with advice: what to do about it, or what a misleading errno means here.
    #[must_use]
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.0.hint = Some(hint);
        self
    }

    /// The same with advice if the reason is `errno`.
    #[must_use]
    #[inline(never)]
    pub fn hint_if(self, errno: Errno, hint: &'static str) -> Self {
        if self.errno() == Some(errno) { self.hint(hint) } else { self }
    }

    /// The same, as a part of a larger operation.
    #[must_use]
    pub fn about<'a>(mut self, whole: impl Into<Operation<'a>>) -> Self {
        self.0.what = alloc::format!("{}: {}", whole.into(), self.0.what);
        self
    }

    /// The same with another exit status.
    #[must_use]
    pub fn status(mut self, status: u8) -> Self {
        self.0.status = status;
        self
    }

    /// The errno behind it, if the kernel refused.
    pub fn errno(&self) -> Option<Errno> {
        match self.0.reason {
            Reason::Errno(e) => Some(e),
            Reason::Words(_) => None,
        }
    }

    /// Shows the message on standard error, in one write, and gives the exit status.
    pub fn report(&self) -> u8 {
        say(crate::sys::standard(2), &alloc::format!("selfdock: {self}\n"));
        self.0.status
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        match self.0.reason {
            Reason::Errno(errno) => write!(f, ": {}", Explained(errno))?,
            Reason::Words("") => {}
            Reason::Words(why) => write!(f, ": {why}")?,
        }
        match self.0.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Adds what was tried to a refusal of the kernel.
pub trait OrFail<T> {
    /// `Err` becomes an [`Error`] about the operation.
    fn or_fail<'a>(self, what: impl Into<Operation<'a>>) -> Result<T>;
}

impl<T> OrFail<T> for rustix::io::Result<T> {
    fn or_fail<'a>(self, what: impl Into<Operation<'a>>) -> Result<T> {
        self.map_err(|errno| Error::of(what, errno))
    }
}

/// Bytes of the caller, quoted: what does not print is escaped, so that a file name can
/// neither break the line nor drive a terminal.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('\'')?;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\'' | '\\' => write!(f, "\\{c}")?,
                    // Control characters, and those that reorder or hide text.
                    _ if c.is_control() || is_invisible(c) => write!(f, "{}", c.escape_default())?,
                    _ => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('\'')
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// An errno in words and by name.
struct Explained(Errno);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ERRNOS.iter().find(|(errno, ..)| *errno == self.0) {
            Some((_, name, words)) => write!(f, "{words} ({name})"),
            None => write!(f, "errno {}", self.0.raw_os_error()),
        }
    }
}

/// The errnos that the calls of selfdock can give. errno(3).
const ERRNOS: &[(Errno, &str, &str)] = &[
    (Errno::PERM, "EPERM", "operation not permitted"),
    (Errno::NOENT, "ENOENT", "no such file or directory"),
    (Errno::SRCH, "ESRCH", "no such process"),
    (Errno::INTR, "EINTR", "interrupted"),
    (Errno::IO, "EIO", "input or output error"),
    (Errno::NXIO, "ENXIO", "no such device"),
    (Errno::TOOBIG, "E2BIG", "arguments and environment too long"),
    (Errno::NOEXEC, "ENOEXEC", "not an executable format"),
    (Errno::BADF, "EBADF", "file descriptor not open"),
    (Errno::CHILD, "ECHILD", "no child process"),
    (Errno::AGAIN, "EAGAIN", "resource temporarily unavailable"),
    (Errno::NOMEM, "ENOMEM", "out of memory"),
    (Errno::ACCESS, "EACCES", "permission denied"),
    (Errno::FAULT, "EFAULT", "bad address"),
    (Errno::BUSY, "EBUSY", "device or resource busy"),
    (Errno::EXIST, "EEXIST", "file exists"),
    (Errno::XDEV, "EXDEV", "leads through a magic link or out of its root"),
    (Errno::NODEV, "ENODEV", "no such device"),
    (Errno::NOTDIR, "ENOTDIR", "not a directory"),
    (Errno::ISDIR, "EISDIR", "is a directory"),
    (Errno::INVAL, "EINVAL", "invalid argument"),
    (Errno::NFILE, "ENFILE", "too many open files in the system"),
    (Errno::MFILE, "EMFILE", "too many open files"),
    (Errno::TXTBSY, "ETXTBSY", "being written to"),
    (Errno::FBIG, "EFBIG", "file too large"),
    (Errno::NOSPC, "ENOSPC", "no space left"),
    (Errno::ROFS, "EROFS", "read-only file system"),
    (Errno::MLINK, "EMLINK", "too many links"),
    (Errno::NAMETOOLONG, "ENAMETOOLONG", "file name too long"),
    (Errno::NOSYS, "ENOSYS", "not implemented by this kernel"),
    (Errno::LOOP, "ELOOP", "too many symbolic links, or a link where none is allowed"),
    (Errno::USERS, "EUSERS", "too many user namespaces"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP", "not supported"),
    (Errno::STALE, "ESTALE", "stale file handle"),
    (Errno::DQUOT, "EDQUOT", "disk quota exceeded"),
    (Errno::RANGE, "ERANGE", "out of range"),
];

/// Writes all of `text`; what cannot be written is lost, as there is nowhere to say so.
pub fn say(fd: rustix::fd::BorrowedFd<'_>, text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(fd, rest) {
            Ok(0) => return,
            Ok(n) => rest = &rest[n..],
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// The end, for the panic handler. A debug build says where and why; in a release the place and
/// words of every check that cannot fail would take a twentieth of the program.
pub fn panicked(info: &dyn fmt::Display) -> ! {
    // Out of memory comes here too, so the line is made in place.
    let mut line = Line { bytes: [0; 512], used: 0 };
    let _ = line.write_str("selfdock: internal error; please report it, with the command line");
    if cfg!(debug_assertions) {
        let _ = write!(line, ": {info}");
    }
    for byte in &mut line.bytes[..line.used] {
        if byte.is_ascii_control() {
            *byte = b' ';
        }
    }
    let _ = rustix::io::write(crate::sys::standard(2), &line.bytes[..line.used]);
    let _ = rustix::io::write(crate::sys::standard(2), b"\n");
    crate::sys::exit(FAILED)
}

/// A line of bounded length; what does not fit is cut off.
struct Line {
    bytes: [u8; 512],
    used: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = &mut self.bytes[self.used..];
        let n = room.len().min(s.len());
        room[..n].copy_from_slice(&s.as_bytes()[..n]);
        self.used += n;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_message_names_operation_object_and_reason() {
        let e = Error::of(both("bind {} on {}", b"/srv/x", b"/data"), Errno::ACCESS);
        assert_eq!(e.to_string(), "bind '/srv/x' on '/data': permission denied (EACCES)");
        assert_eq!(e.0.status, FAILED);
    }

    #[test]
    fn a_hint_follows_only_its_errno() {
        let e = || Error::of("start", Errno::NOSPC);
        assert!(e().hint_if(Errno::NOSPC, "nested too deep").to_string().ends_with("; nested too deep"));
        assert!(!e().hint_if(Errno::PERM, "x").to_string().contains(';'));
    }

    #[test]
    fn what_does_not_print_is_escaped() {
        let shown = Quoted(b"a\x1b[31m\nb\xff'\xe2\x80\xae").to_string();
        assert_eq!(shown, "'a\\u{1b}[31m\\nb\\xff\\'\\u{202e}'");
    }

    #[test]
    fn every_errno_of_the_table_has_its_own_line() {
        for (i, (errno, name, _)) in ERRNOS.iter().enumerate() {
            assert!(ERRNOS[..i].iter().all(|(e, n, _)| e != errno && n != name), "{name}");
        }
    }
}
