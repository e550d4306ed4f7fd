//! `--report`: how a command ended and what it used, as one JSON object. It is written completely or not at all.

use crate::descriptors::{is_placeholder, number_of};
use crate::error::{Error, FAILED, OrFail, Result, on};
use crate::files;
use crate::outcome::{Cause, End, Outcome};
use crate::sys::{self, Duration, signal::KILL};
use crate::text::{Bytes, c_string, decimal, digits, join, number};
use crate::usage::Of;
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};

/// The target of the report. It is opened with the caller's rights before the command starts.
pub enum Report {
    /// An existing file that is not regular, or a descriptor of the caller's.
    ///
    /// The PID is that of the child that attends the instance, if one does. It passes the report on, and its exit
    /// status says whether it could.
    Open(OwnedFd, Option<Pid>),
    /// A new file, which replaces an older one.
    File(File),
}

/// The exit status of an attendant that has killed the command, even if the command ended by itself just before. It is
/// no errno.
pub const KILLED: i32 = 255;

/// The exit status of an attendant that has lost output of the command, and has said so: selfdock has failed.
pub const LOST: i32 = 254;

/// A file that selfdock made. The command can write to it, remove or replace it; at the end it is selfdock's file
/// again.
pub struct File {
    dir: OwnedFd,
    /// The path of its directory.
    above: Bytes,
    name: Bytes,
    /// Its descriptor. `None` if the file system was full: there may be room at the end.
    open: Option<OwnedFd>,
}

/// Why a report does not go through a link.
pub const LINK_TO_FILE: &str = "a link to a file: name the file";

impl Report {
    /// Opens the target. A number is a descriptor. A required report must have room.
    pub fn open(target: &[u8], required: bool) -> Result<Self> {
        let failed = on("report to {}", target);
        let digits = target.strip_prefix(b"=").unwrap_or(target);
        if let Some(both) = number(digits, 10) {
            // With `=` the upper half is the PID of the attendant.
            let attendant = Pid::from_raw(((both >> 32) as u32).cast_signed());
            if attendant.is_some() && digits.len() == target.len() {
                return Err(Error::refused(failed, "not a descriptor: the number is too large"));
            }
            // The lower half.
            #[allow(clippy::cast_possible_truncation)]
            let fd = sys::duplicate(both as u32).or_fail(failed)?;
            // The caller has closed it.
            if is_placeholder(fd.as_fd()).or_fail(failed)? {
                return Err(Error::of(failed, Errno::BADF));
            }
            return Ok(Report::Open(fd, attendant));
        }
        let (above, name) = match target.iter().rposition(|b| *b == b'/') {
            Some(at) => (&target[..=at], &target[at + 1..]),
            None => (&b"."[..], target),
        };
        if matches!(name, [] | [b'.'] | [b'.', b'.'])
            || target.iter().all(|b| *b == b'-' || b.is_ascii_digit())
        {
            return Err(Error::refused(failed, "neither a file name nor a descriptor such as 1"));
        }
        let dir = files::open(CWD, above, OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
        match files::lstat(dir.as_fd(), name) {
            Ok(old) if !FileType::from_raw_mode(old.st_mode).is_file() => {
                let fd = files::open(dir.as_fd(), name, TO.union(OFlags::APPEND)).or_fail(failed)?;
                let stat = rustix::fs::fstat(&fd).or_fail(failed)?;
                // A command in a volume could have made a link to a file outside.
                if FileType::from_raw_mode(stat.st_mode).is_file() && !may_hold_descriptors(above) {
                    return Err(Error::refused(failed, LINK_TO_FILE));
                }
                return Ok(Report::Open(fd, None));
            }
            Ok(_) => remove(&dir, name).or_fail(failed)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::of(failed, errno)),
        }
        let file = match files::open(dir.as_fd(), name, NEW) {
            Err(Errno::NOSPC | Errno::DQUOT) if !required => None,
            other => Some(other.or_fail(failed)?),
        };
        Ok(Report::File(File { dir, above: join(&[above]), name: join(&[name]), open: file }))
    }

    /// Whether somebody else reads while it is written, so that writing can block.
    pub fn is_read_meanwhile(&self) -> bool {
        matches!(self, Report::Open(..))
    }

    /// Whether the instance has an attendant.
    pub fn is_attended(&self) -> bool {
        matches!(self, Report::Open(_, Some(_)))
    }

    /// The descriptors that it needs.
    pub fn descriptors(&self) -> Vec<u32> {
        match self {
            Report::Open(fd, _) => alloc::vec![number_of(fd)],
            Report::File(report) => report.open.iter().chain([&report.dir]).map(number_of).collect(),
        }
    }

    /// Writes the report, completely or not at all. `error` is why the command never ran. Returns how selfdock is to
    /// end if the attendant decides that.
    pub fn write(&self, outcome: &Outcome, wall: Duration, error: Option<Bytes>) -> Result<Option<End>> {
        self.put(json(outcome, wall, error))
    }

    /// Writes a text in the same way.
    pub fn put(&self, text: &[u8]) -> Result<Option<End>> {
        match self {
            Report::Open(fd, attendant) => {
                let written = files::write(fd.as_fd(), text);
                written.and_then(|()| attendant.map_or(Ok(None), answer)).or_fail("write the report")
            }
            Report::File(report) => {
                let written = report.write(text).or_fail(on("write the report {}", report.name));
                let moved = "another directory has replaced its directory";
                written.map_err(|e| e.hint_if(Errno::STALE, moved)).map(|()| None)
            }
        }
    }
}

/// Waits for children that end without a signal, and for no others. wait(2), `__WCLONE`
pub const WCLONE: WaitOptions = WaitOptions::from_bits_retain(0x8000_0000);

/// Waits for the end of the attendant: it passes on the output and the report. The caller can have other children.
fn answer(attendant: Pid) -> rustix::io::Result<Option<End>> {
    let ended = rustix::process::waitpid(Some(attendant), WCLONE).ok().flatten();
    match ended.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(None),
        Some(KILLED) => Ok(Some(End::Signal(KILL))),
        Some(LOST) => Ok(Some(End::Exit(FAILED))),
        // It was killed: nobody reads.
        errno => Err(errno.map_or(Errno::PIPE, Errno::from_raw_os_error)),
    }
}

impl File {
    fn write(&self, text: &[u8]) -> rustix::io::Result<()> {
        // If the directory lies in a volume, the command can replace it.
        if files::identity_of(self.above)? != files::identity(&self.dir)? {
            return Err(Errno::STALE);
        }
        let named = files::lstat(self.dir.as_fd(), self.name).map(|stat| (stat.st_dev, stat.st_ino));
        match &self.open {
            Some(file) if named.is_ok() && named == files::identity(file) => fill(file, text),
            _ => {
                if named.is_ok() {
                    remove(&self.dir, self.name)?;
                }
                fill(&files::open(self.dir.as_fd(), self.name, NEW)?, text)
            }
        }
    }
}

const TO: OFlags = OFlags::WRONLY.union(OFlags::NOCTTY);
/// The flags to make a new report.
pub const NEW: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW);

/// Whether links in this directory are the kernel's, to open descriptors, or lead to those.
pub fn may_hold_descriptors(dir: &[u8]) -> bool {
    dir.starts_with(b"/dev/") || dir.starts_with(b"/proc/")
}

/// Removes a file. unlinkat(2)
pub fn remove(dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::unlinkat(dir, c_string(name)?, AtFlags::empty())
}

/// Replaces the content of the file. If the text does not fit, the file becomes empty.
fn fill(file: &OwnedFd, text: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::ftruncate(file, 0)?;
    files::write(file.as_fd(), text).inspect_err(|_| {
        let _ = rustix::fs::ftruncate(file, 0);
    })
}

/// The text. Who attends an instance adds to it.
pub fn json(outcome: &Outcome, wall: Duration, error: Option<Bytes>) -> Bytes {
    let usage = &outcome.usage;
    let count = |number: i64| decimal(number.unsigned_abs());
    let seconds = |micros: i64| {
        let micros = micros.unsigned_abs();
        join(&[decimal(micros / 1_000_000), b".", digits(micros % 1_000_000, 10, 6)])
    };
    let (exit, signal): (Bytes, Bytes) = match outcome.end {
        End::Exit(code) => (decimal(code), b"null"),
        End::Signal(signal) => (b"null", count(signal.into())),
    };
    let by: Bytes = match outcome.cause {
        Cause::Command => b"\"command\"",
        Cause::Signal => b"\"signal\"",
        Cause::Timeout => b"\"timeout\"",
        Cause::Limit(name) => join(&[b"\"rlimit ", name.as_bytes(), b"\""]),
    };
    let mut text: Bytes = b"{";
    let mut add = |name: &str, value: Bytes| {
        let comma: Bytes = if text.len() > 1 { b"," } else { b"" };
        text = join(&[text, comma, b"\"", name.as_bytes(), b"\":", value]);
    };
    add("version", b"1");
    add("started", if error.is_some() { b"false" } else { b"true" });
    add("error", error.map_or(b"null", |text| join(&[b"\"", escaped(text), b"\""])));
    add("exit", exit);
    add("signal", signal);
    add("ended_by", by);
    add("status", join(&[b"\"", status_of(outcome, error.is_some()), b"\""]));
    add(
        "wall_seconds",
        seconds(wall.seconds.saturating_mul(1_000_000).saturating_add(wall.nanoseconds / 1000)),
    );
    add("user_seconds", seconds(usage.get(Of::User)));
    add("system_seconds", seconds(usage.get(Of::System)));
    add("peak_memory_kib", count(usage.get(Of::Peak)));
    add("minor_faults", count(usage.get(Of::MinorFaults)));
    add("major_faults", count(usage.get(Of::MajorFaults)));
    add("voluntary_switches", count(usage.get(Of::VoluntarySwitches)));
    add("involuntary_switches", count(usage.get(Of::InvoluntarySwitches)));
    join(&[text, b"}\n"])
}

/// The status in a word, as isolate(1) has it, and two more.
fn status_of(outcome: &Outcome, never_ran: bool) -> &'static [u8; 2] {
    match (outcome.cause, outcome.end) {
        _ if never_ran => b"XX",
        (Cause::Timeout | Cause::Limit("cpu"), _) => b"TO",
        (Cause::Limit(_), _) => b"OL",
        (_, End::Signal(_)) => b"SG",
        (_, End::Exit(0)) => b"OK",
        _ => b"RE",
    }
}

/// Escapes a message for a JSON string. All its bytes are printable.
pub fn escaped(text: &[u8]) -> Bytes {
    let mut all = Vec::with_capacity(text.len());
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            all.push(b'\\');
        }
        all.push(*byte);
    }
    all.leak()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;

    #[test]
    fn the_report_is_one_line_of_json() {
        let usage = Usage::new([1_000_005, 0, 0, 0, 0, 0, 7]);
        let outcome = Outcome { end: End::Signal(9), cause: Cause::Timeout, started: true, usage };
        let text = json(&outcome, Duration { seconds: 2, nanoseconds: 345_678 }, None);
        let text = core::str::from_utf8(text).unwrap();
        let start =
            r#"{"version":1,"started":true,"error":null,"exit":null,"signal":9,"ended_by":"timeout","#;
        assert!(text.starts_with(start) && text.contains("\"wall_seconds\":2.000345,"));
        assert!(
            text.contains("\"user_seconds\":1.000005,") && text.ends_with("}\n") && text.lines().count() == 1
        );
        let text = json(&outcome, Duration::default(), Some(b"run 'a\"b\\n': no"));
        let start = br#"{"version":1,"started":false,"error":"run 'a\"b\\n': no","exit""#;
        assert!(text.starts_with(start));
    }
}
