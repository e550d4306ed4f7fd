//! Errors, in one line: operation, object, reason; and the exit statuses.

use crate::text::{Bytes, decimal, digits, join};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use core::{fmt, ptr};
use rustix::io::Errno;

/// selfdock failed, and the command did not run.
pub const FAILED: u8 = 125;
/// The command was found and could not be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;
/// `--timeout` ended the command.
pub const TIMED_OUT: u8 = 124;
/// `--timeout` had to kill the command.
pub const KILLED_IN_TIME: u8 = 137;

/// `each` has the statuses of xargs(1). This one: a command failed.
pub const ONE_FAILED: u8 = 123;
/// A command returned [`GIVES_UP`].
pub const ONE_GAVE_UP: u8 = 124;
/// The status that xargs(1) tells from other failures.
pub const GIVES_UP: u8 = 255;
/// A signal killed a command.
pub const ONE_WAS_KILLED: u8 = 125;

/// The result of everything that can fail in selfdock.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// A failure, ready to be printed. It is one pointer, so that success stays cheap.
#[derive(Debug)]
pub struct Error(Box<Failure>);

#[derive(Debug)]
struct Failure {
    status: u8,
    what: Bytes,
    reason: Reason,
    hint: Option<&'static str>,
}

/// Why it failed.
#[derive(Clone, Copy, Debug)]
enum Reason {
    /// The kernel's reason.
    Errno(Errno),
    /// selfdock's reason; empty if the operation is the whole message.
    Words(&'static str),
}

/// What failed: an operation in words, with up to two objects. The text is made only on failure.
pub trait Context {
    /// The failure with a reason of the kernel.
    fn failed(self, errno: Errno) -> Error;
    /// The failure with a reason of selfdock.
    fn refused(self, why: &'static str) -> Error;
}

/// An operation on an object. It is small, so passing it is cheap.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// `{}` stands for an object in quotes, `{=}` for an object as it is.
    template: &'static str,
    object: &'a [u8],
}

/// An operation on two objects.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    template: &'static str,
    objects: [&'a [u8]; 2],
}

/// An operation on one object: `on("enter {}", dir)`.
pub fn on<'a>(template: &'static str, object: &'a [u8]) -> Operation<'a> {
    Operation { template, object }
}

/// An operation on two objects: `both("bind {} on {}", src, dst)`.
pub fn both<'a>(template: &'static str, first: &'a [u8], second: &'a [u8]) -> Pair<'a> {
    Pair { template, objects: [first, second] }
}

impl From<&'static str> for Operation<'_> {
    fn from(template: &'static str) -> Self {
        on(template, b"")
    }
}

impl Context for &'static str {
    #[cold]
    fn failed(self, errno: Errno) -> Error {
        Error::new(self, [b"", b""], Reason::Errno(errno))
    }

    #[cold]
    fn refused(self, why: &'static str) -> Error {
        Error::new(self, [b"", b""], Reason::Words(why))
    }
}

impl Context for Operation<'_> {
    #[cold]
    fn failed(self, errno: Errno) -> Error {
        Error::new(self.template, [self.object, b""], Reason::Errno(errno))
    }

    #[cold]
    fn refused(self, why: &'static str) -> Error {
        Error::new(self.template, [self.object, b""], Reason::Words(why))
    }
}

impl Context for Pair<'_> {
    #[cold]
    fn failed(self, errno: Errno) -> Error {
        Error::new(self.template, self.objects, Reason::Errno(errno))
    }

    #[cold]
    fn refused(self, why: &'static str) -> Error {
        Error::new(self.template, self.objects, Reason::Words(why))
    }
}

/// A fault in a request. In the second program it is an [`Error`] with its text. The set-uid program needs only the
/// fact, and then hands over. So it contains none of these texts.
pub trait Fault: Sized {
    /// An operation that the kernel refused.
    fn failed(what: impl Context, errno: Errno) -> Self;
    /// An operation that selfdock refuses.
    fn refused(what: impl Context, why: &'static str) -> Self;
    /// Adds advice.
    #[must_use]
    fn hint(self, hint: &'static str) -> Self;
}

impl Fault for Error {
    fn failed(what: impl Context, errno: Errno) -> Self {
        what.failed(errno)
    }

    fn refused(what: impl Context, why: &'static str) -> Self {
        what.refused(why)
    }

    fn hint(self, hint: &'static str) -> Self {
        Error::hint(self, hint)
    }
}

/// A fault without text, which the second program reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsaid;

impl Fault for Unsaid {
    fn failed(_: impl Context, _: Errno) -> Self {
        Unsaid
    }

    fn refused(_: impl Context, _: &'static str) -> Self {
        Unsaid
    }

    fn hint(self, _: &'static str) -> Self {
        Unsaid
    }
}

/// The text of an operation.
fn text(template: &str, objects: [&[u8]; 2]) -> Bytes {
    let mut out = Vec::new();
    let mut rest = template.as_bytes();
    for object in objects {
        let Some(at) = rest.iter().position(|b| *b == b'{') else {
            break;
        };
        out.extend_from_slice(&rest[..at]);
        if rest[at..].starts_with(b"{=}") {
            out.extend_from_slice(object);
            rest = &rest[at + 3..];
        } else {
            quote(&mut out, object);
            rest = &rest[at + 2..];
        }
    }
    out.extend_from_slice(rest);
    out.leak()
}

impl Error {
    fn new(template: &str, objects: [&[u8]; 2], reason: Reason) -> Self {
        Error(Box::new(Failure { status: FAILED, what: text(template, objects), reason, hint: None }))
    }

    /// An operation that the kernel refused: `bind '/a' on '/b'`.
    pub fn of(what: impl Context, errno: Errno) -> Self {
        what.failed(errno)
    }

    /// An operation that selfdock refuses, with the reason in words.
    pub fn refused(what: impl Context, why: &'static str) -> Self {
        what.refused(why)
    }

    /// An error with a complete message and no other reason.
    pub fn plain(what: impl Context) -> Self {
        what.refused("")
    }

    /// Adds advice: what to do, or what a misleading errno means here.
    #[must_use]
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.0.hint = Some(hint);
        self
    }

    /// Adds advice if the reason is `errno`.
    // Out of line: it is called in many places, and the program has 131 bytes less so.
    #[must_use]
    #[inline(never)]
    pub fn hint_if(self, errno: Errno, hint: &'static str) -> Self {
        if self.errno() == Some(errno) { self.hint(hint) } else { self }
    }

    /// Prefixes the larger operation that this one is a part of.
    #[must_use]
    pub fn within(mut self, whole: Operation<'_>) -> Self {
        self.0.what = join(&[text(whole.template, [whole.object, b""]), b": ", self.0.what]);
        self
    }

    /// Sets another exit status.
    #[must_use]
    pub fn status(mut self, status: u8) -> Self {
        self.0.status = status;
        self
    }

    /// The errno, if the kernel refused.
    pub fn errno(&self) -> Option<Errno> {
        match self.0.reason {
            Reason::Errno(e) => Some(e),
            Reason::Words(_) => None,
        }
    }

    /// Prints the message on standard error, in one write, and returns the exit status. A signal from this write
    /// (SIGPIPE, SIGXFSZ) does not change the status.
    /// While an instance is built, its supervisor prints it when the others have ended.
    pub fn report(&self) -> u8 {
        let _ = crate::sys::block_only(crate::sys::ALL_SIGNALS);
        if self.note() && !LATER.load(Ordering::Relaxed) {
            say_what_is_left();
        }
        self.0.status
    }

    /// Like [`Error::report`], for a failure that the first one has not caused: both are printed.
    pub fn report_as_well(&self) {
        if told().is_some() {
            say_error(self.message());
        } else {
            self.report();
        }
    }

    /// Like [`Error::report`], but prints nothing if the command was not found. The second program prints that, since
    /// it can search outside for the reason.
    pub fn report_unless_not_found(&self) -> u8 {
        if self.0.status != NOT_FOUND || self.errno() != Some(Errno::NOENT) {
            return self.report();
        }
        self.note();
        NOT_FOUND
    }

    /// Keeps the message, if it is the first. Several processes build an instance in one memory, and a failure in one
    /// soon causes failures in the others. Only the first is printed.
    fn note(&self) -> bool {
        let message = Box::leak(Box::new(self.message()));
        TOLD.compare_exchange(ptr::null_mut(), message, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Prints the message and ends the process.
    pub fn end(&self) -> ! {
        end(self)
    }

    /// The exit status.
    pub fn exit_status(&self) -> u8 {
        self.0.status
    }

    /// The text of the message.
    pub fn message(&self) -> Bytes {
        let reason = match self.0.reason {
            Reason::Errno(errno) => explained(errno),
            Reason::Words(why) => why.as_bytes(),
        };
        let before = |separator: &'static [u8], text: &[u8]| if text.is_empty() { b"" } else { separator };
        let hint = self.0.hint.unwrap_or(match *self.0 {
            Failure { reason: Reason::Errno(Errno::PERM), status: FAILED, .. } => POLICY,
            _ => "",
        });
        let hint = hint.as_bytes();
        join(&[self.0.what, before(b": ", reason), reason, before(b"; ", hint), hint])
    }
}

/// The advice for EPERM, if there is no better one.
const POLICY: &str = "a policy (Landlock, AppArmor, SELinux) or a filter of system calls forbids it";

/// The message of the first failure, from any process of selfdock that shares this memory.
static TOLD: AtomicPtr<Bytes> = AtomicPtr::new(ptr::null_mut());

/// Whether it was printed.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// The message of the first failure, if there was one.
pub fn told() -> Option<Bytes> {
    crate::sys::pointee(&TOLD)
}

/// The message, if it was not printed yet.
pub fn left_to_say() -> Option<Bytes> {
    if SHOWN.load(Ordering::Acquire) { None } else { told() }
}

/// Whether only the supervisor prints messages from here on, when the other processes have ended. A process that failed
/// could be killed before it has written its line: the end of the keeper kills the command.
pub fn leave_it_to_the_supervisor(yes: bool) {
    LATER.store(yes, Ordering::Relaxed);
}

/// Whether only the supervisor prints messages.
static LATER: AtomicBool = AtomicBool::new(false);

/// Prints a message of this program on standard error.
pub fn say_error(message: &[u8]) {
    say(crate::sys::standard(2), join(&[b"selfdock: ", message, b"\n"]));
}

/// Prints the message, if it was not printed yet.
pub fn say_what_is_left() {
    if let Some(message) = left_to_say() {
        say_error(message);
        SHOWN.store(true, Ordering::Release);
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(self.message()).unwrap_or("?"))
    }
}

/// Adds the operation to an errno.
pub trait OrFail<T> {
    /// `Err` becomes an [`Error`] about the operation.
    fn or_fail(self, what: impl Context) -> Result<T>;
}

impl<T> OrFail<T> for rustix::io::Result<T> {
    // Inlined, success is one comparison: half a kB less.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn or_fail(self, what: impl Context) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(errno) => Err(what.failed(errno)),
        }
    }
}

/// Ends the process on failure.
pub trait OrEnd<T> {
    /// The value. On failure prints the message, and exits with its status. Nothing is freed, since the kernel frees
    /// everything at the end of a process.
    fn or_end(self) -> T;
}

impl<T> OrEnd<T> for Result<T> {
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn or_end(self) -> T {
        self.unwrap_or_else(|error| end(&error))
    }
}

#[cold]
fn end(error: &Error) -> ! {
    crate::sys::exit(error.report())
}

/// Bytes of the caller, in quotes. Unprintable characters are escaped, so that a file name can neither break the line
/// nor control a terminal.
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        quote(&mut out, self.0);
        f.write_str(core::str::from_utf8(&out).unwrap_or("?"))
    }
}

fn quote(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'\'');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut buffer = [0; 4];
            out.extend_from_slice(match c {
                '\'' => b"\\'",
                '\\' => b"\\\\",
                '\n' => b"\\n",
                '\t' => b"\\t",
                // Control characters, and those that reorder or hide text.
                _ if is_unprintable(c) => join(&[b"\\u{", digits(c.into(), 16, 1), b"}"]),
                _ => c.encode_utf8(&mut buffer).as_bytes(),
            });
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(join(&[b"\\x", digits((*byte).into(), 16, 2)]));
        }
    }
    out.push(b'\'');
}

/// Whether a character controls a terminal, or reorders or hides text.
pub fn is_unprintable(c: char) -> bool {
    matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// An errno in words and by name.
fn explained(errno: Errno) -> Bytes {
    let number = decimal(errno.raw_os_error().unsigned_abs());
    for line in ERRNOS.split(|b| *b == b'\n') {
        let mut fields = line.splitn(3, |b| *b == b' ');
        if fields.next() == Some(number) {
            let (name, words) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
            return join(&[words, b" (", name, b")"]);
        }
    }
    join(&[b"errno ", number])
}

/// The errnos of the system calls of selfdock: number, name, words. errno(3). It is one text, since a table would
/// hold two addresses and two lengths for each.
const ERRNOS: &[u8] = b"\
1 EPERM operation not permitted
2 ENOENT no such file or directory
3 ESRCH no such process
4 EINTR interrupted
5 EIO input or output error
6 ENXIO no such device or address
7 E2BIG too many arguments
8 ENOEXEC not an executable format
9 EBADF file descriptor not open
11 EAGAIN resource temporarily unavailable
12 ENOMEM out of memory
13 EACCES permission denied
16 EBUSY device or resource busy
17 EEXIST file exists
18 EXDEV the path leads out of its root directory
19 ENODEV no such device
20 ENOTDIR not a directory
21 EISDIR is a directory
22 EINVAL invalid argument
23 ENFILE too many open files in the system
24 EMFILE too many open files
26 ETXTBSY the file is open for writing
27 EFBIG file too large
28 ENOSPC no space left
30 EROFS read-only file system
31 EMLINK too many links
36 ENAMETOOLONG file name too long
38 ENOSYS not in this kernel, or a filter of system calls refuses it
40 ELOOP too many links, or a link where none is allowed
87 EUSERS too many user namespaces
95 EOPNOTSUPP not supported
116 ESTALE stale file handle
122 EDQUOT disk quota exceeded
34 ERANGE out of range
32 EPIPE broken pipe
107 ENOTCONN the server of the file system is gone
110 ETIMEDOUT timed out
75 EOVERFLOW an id is not mapped in this user namespace; 'unshare --map-current-user' maps your ids";

/// Writes all of `text`. Errors are ignored, since there is no other place to report them.
pub fn say(fd: rustix::fd::BorrowedFd<'_>, text: &[u8]) {
    let mut rest = text;
    while !rest.is_empty() {
        match rustix::io::write(fd, rest) {
            Ok(0) => return,
            Ok(n) => rest = &rest[n..],
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Ends the process, for the panic handler. A debug build prints the reason. In a release, the positions and texts of
/// all checks would take a twentieth of the program. Out of memory ends here, too, so nothing is allocated.
pub fn panicked(info: &dyn fmt::Display) -> ! {
    say(crate::sys::standard(2), b"selfdock: internal error; please report it, with the command line\n");
    if cfg!(debug_assertions) {
        let _ = fmt::write(&mut Said, format_args!("{info}\n"));
    }
    crate::sys::exit(FAILED)
}

/// Standard error, for debug builds.
struct Said;

impl fmt::Write for Said {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        say(crate::sys::standard(2), s.as_bytes());
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
    fn unprintable_characters_are_escaped() {
        let shown = Quoted(b"a\x1b[31m\nb\xff'\xe2\x80\xae").to_string();
        assert_eq!(shown, "'a\\u{1b}[31m\\nb\\xff\\'\\u{202e}'");
    }

    #[test]
    fn every_errno_of_the_table_has_its_own_line() {
        let lines: Vec<Vec<&[u8]>> =
            ERRNOS.split(|b| *b == b'\n').map(|line| line.splitn(3, |b| *b == b' ').collect()).collect();
        for (i, line) in lines.iter().enumerate() {
            assert!(
                line[0].iter().all(u8::is_ascii_digit) && line[1].starts_with(b"E") && !line[2].is_empty()
            );
            assert!(lines[..i].iter().all(|other| other[0] != line[0] && other[1] != line[1]));
        }
        for (errno, name) in
            [(Errno::PERM, "(EPERM)"), (Errno::USERS, "(EUSERS)"), (Errno::STALE, "(ESTALE)")]
        {
            assert!(explained(errno).ends_with(name.as_bytes()));
        }
    }
}
