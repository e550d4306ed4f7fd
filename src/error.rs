//! Errors, in one line: operation, object, reason; and the exit statuses.

use crate::errno::explained;
use crate::quote::quote;
pub use crate::quote::{Quoted, is_unprintable};
use crate::sys::signal::BY_WRITING;
use crate::text::{Bytes, join};
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
/// The status of a command after which xargs(1) starts no more commands.
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
    // Out of line: it is called in many places, and the program has 141 bytes less so.
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

    /// Prints the message on standard error, in one write, and returns the exit status.
    /// While an instance is built, its supervisor prints it when the others have ended.
    pub fn report(&self) -> u8 {
        if self.note() && !LATER.load(Ordering::Relaxed) {
            say_unsaid_message();
        }
        self.0.status
    }

    /// Like [`Error::report`], for a failure that the first one has not caused: both are printed.
    pub fn report_as_well(&self) {
        if first_message().is_some() {
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
        FIRST.compare_exchange(ptr::null_mut(), message, Ordering::AcqRel, Ordering::Relaxed).is_ok()
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
static FIRST: AtomicPtr<Bytes> = AtomicPtr::new(ptr::null_mut());

/// Whether it was printed.
static SAID: AtomicBool = AtomicBool::new(false);

/// The message of the first failure, if there was one.
pub fn first_message() -> Option<Bytes> {
    crate::sys::pointee(&FIRST)
}

/// The message, if it was not printed yet.
pub fn unsaid_message() -> Option<Bytes> {
    if SAID.load(Ordering::Acquire) { None } else { first_message() }
}

/// From here on only the supervisor prints messages, when the other processes have ended. A process that failed could
/// be killed before it has written its line: the end of the keeper kills the command.
pub fn leave_it_to_the_supervisor() {
    LATER.store(true, Ordering::Relaxed);
}

/// Whether only the supervisor prints messages.
static LATER: AtomicBool = AtomicBool::new(false);

/// Prints a message of this program on standard error. A reader may take long, so a signal may end this process from
/// here on. Those of the write itself do not: they would change the exit status.
pub fn say_error(message: &[u8]) {
    let _ = crate::sys::block_only(BY_WRITING);
    say(crate::sys::standard(2), join(&[b"selfdock: ", message, b"\n"]));
}

/// Prints the message, if it was not printed yet.
pub fn say_unsaid_message() {
    if let Some(message) = unsaid_message() {
        say_error(message);
        SAID.store(true, Ordering::Release);
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
}
