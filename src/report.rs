//! `--report`: what a command used, as one JSON object, written whole or not at all.
#![forbid(unsafe_code)]

use crate::error::{Error, OrFail, Result, on};
use crate::files;
use crate::process::shown;
use crate::supervise::{Cause, End, Outcome};
use crate::sys::Moment;
use crate::text::{Bytes, c_string, decimal, digits, join, number};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, OFlags};
use rustix::process::getpid;

/// Where it goes. A file is opened as the caller before the command starts: its directory,
/// since the file appears there at the end, in place of an older one.
pub enum Report {
    /// An open descriptor of the caller's.
    Descriptor(OwnedFd),
    /// A directory and the name in it.
    File(OwnedFd, Bytes),
}

impl Report {
    /// From the value of the option: a number is a descriptor.
    pub fn open(target: &[u8]) -> Result<Self> {
        let failed = on("report to {}", target);
        if target.iter().all(u8::is_ascii_digit) {
            let fd = number(target, 10).and_then(|fd| u32::try_from(fd).ok());
            let fd = fd.ok_or_else(|| Error::refused(failed, "not a descriptor, nor a file name"))?;
            return crate::sys::duplicate(fd).or_fail(failed).map(Report::Descriptor);
        }
        let (dir, name) = match target.iter().rposition(|b| *b == b'/') {
            Some(at) => (&target[..=at], &target[at + 1..]),
            None => (&b"."[..], target),
        };
        if name.is_empty() || name == b"." || name == b".." {
            return Err(Error::refused(failed, "not the name of a file"));
        }
        let dir = files::open(CWD, dir, OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
        rustix::fs::accessat(&dir, c".", Access::WRITE_OK, AtFlags::empty()).or_fail(failed)?;
        Ok(Report::File(dir, join(&[name])))
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Report::Descriptor(fd) | Report::File(fd, _) => fd.as_fd(),
        }
    }

    /// Writes it.
    // Out of line: few runs have a report, and all would have its frame.
    #[inline(never)]
    pub fn write(&self, outcome: &Outcome, wall: Moment) -> Result<()> {
        let text = json(outcome, wall);
        match self {
            Report::Descriptor(fd) => files::write(fd.as_fd(), text).or_fail("write the report"),
            Report::File(dir, name) => {
                // A name of our own beside it, and then a rename: no reader sees half of it.
                let own = join(&[b".selfdock-report.", shown(getpid())]);
                replace(dir, own, name, text).or_fail(on("write the report {}", name)).inspect_err(|_| {
                    let _ = c_string(own).and_then(|own| rustix::fs::unlinkat(dir, own, AtFlags::empty()));
                })
            }
        }
    }
}

fn replace(dir: &OwnedFd, own: &[u8], name: &[u8], text: &[u8]) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let file = files::open(dir.as_fd(), own, flags)?;
    files::write(file.as_fd(), text)?;
    rustix::fs::renameat(dir, c_string(own)?, dir, c_string(name)?)
}

fn json(outcome: &Outcome, wall: Moment) -> Bytes {
    let usage = &outcome.usage;
    let count = |number: i64| decimal(number.unsigned_abs());
    let seconds =
        |[whole, millionths]: [i64; 2]| join(&[count(whole), b".", digits(millionths.unsigned_abs(), 10, 6)]);
    let (exit, signal): (Bytes, Bytes) = match outcome.end {
        End::Exit(code) => (decimal(code), b"null"),
        End::Signal(signal) => (b"null", count(signal.into())),
    };
    let by: Bytes = match outcome.cause {
        Cause::Command => b"\"command\"",
        Cause::Signal => b"\"signal\"",
        Cause::Timeout => b"\"timeout\"",
    };
    let mut text: Bytes = b"{";
    let mut add = |name: &str, value: Bytes| {
        let comma: Bytes = if text.len() > 1 { b"," } else { b"" };
        text = join(&[text, comma, b"\"", name.as_bytes(), b"\":", value]);
    };
    add("exit", exit);
    add("signal", signal);
    add("ended_by", by);
    add("wall_seconds", seconds([wall.seconds, wall.nanoseconds / 1000]));
    add("user_seconds", seconds(usage.user));
    add("system_seconds", seconds(usage.system));
    add("peak_memory_kib", count(usage.peak));
    add("minor_faults", count(usage.minor_faults));
    add("major_faults", count(usage.major_faults));
    add("voluntary_switches", count(usage.voluntary_switches));
    add("involuntary_switches", count(usage.involuntary_switches));
    join(&[text, b"}\n"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Usage;

    #[test]
    fn the_report_is_one_line_of_json() {
        let usage = Usage { user: [1, 5], peak: 7, ..Usage::default() };
        let outcome = Outcome { end: End::Signal(9), cause: Cause::Timeout, usage };
        let text = json(&outcome, Moment { seconds: 2, nanoseconds: 345_678 });
        let text = core::str::from_utf8(text).unwrap();
        assert!(
            text.starts_with(
                "{\"exit\":null,\"signal\":9,\"ended_by\":\"timeout\",\"wall_seconds\":2.000345,"
            )
        );
        assert!(
            text.contains("\"user_seconds\":1.000005,") && text.ends_with("}\n") && text.lines().count() == 1
        );
    }
}
