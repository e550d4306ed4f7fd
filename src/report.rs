//! `--report`: what a command used, as one JSON object, written whole or not at all.
#![forbid(unsafe_code)]

use crate::error::{Error, OrFail, Result, on};
use crate::files;
use crate::supervise::{Cause, End, Outcome};
use crate::sys::Moment;
use alloc::format;
use alloc::string::String;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, OFlags};

/// Where it goes. A file is opened as the caller before the command starts: its directory,
/// since the file appears there at the end, in place of an older one.
pub enum Report {
    /// An open descriptor of the caller's.
    Descriptor(OwnedFd),
    /// A directory and the name in it.
    File(OwnedFd, alloc::vec::Vec<u8>),
}

impl Report {
    /// From the value of the option: a number is a descriptor.
    pub fn open(target: &[u8]) -> Result<Self> {
        let failed = on("report to {}", target);
        if target.iter().all(u8::is_ascii_digit) {
            let fd = core::str::from_utf8(target).ok().and_then(|n| n.parse().ok());
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
        rustix::fs::accessat(&dir, ".", Access::WRITE_OK, AtFlags::empty()).or_fail(failed)?;
        Ok(Report::File(dir, name.to_vec()))
    }

    /// Its descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Report::Descriptor(fd) | Report::File(fd, _) => fd.as_fd(),
        }
    }

    /// Writes it.
    pub fn write(&self, outcome: &Outcome, wall: Moment) -> Result<()> {
        let text = json(outcome, wall);
        match self {
            Report::Descriptor(fd) => files::write(fd.as_fd(), text.as_bytes()).or_fail("write the report"),
            Report::File(dir, name) => {
                // A name of our own beside it, and then a rename: no reader sees half of it.
                let own = format!(".selfdock-report.{}", rustix::process::getpid().as_raw_nonzero());
                replace(dir, &own, name, &text).or_fail(on("write the report {}", name)).inspect_err(|_| {
                    let _ = rustix::fs::unlinkat(dir, own.as_str(), AtFlags::empty());
                })
            }
        }
    }
}

fn replace(dir: &OwnedFd, own: &str, name: &[u8], text: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let file = files::open(dir.as_fd(), own.as_bytes(), flags)?;
    files::write(file.as_fd(), text.as_bytes())?;
    rustix::fs::renameat(dir, own, dir, name)
}

fn json(outcome: &Outcome, wall: Moment) -> String {
    let usage = &outcome.usage;
    let (exit, signal) = match outcome.end {
        End::Exit(code) => (format!("{code}"), String::from("null")),
        End::Signal(signal) => (String::from("null"), format!("{signal}")),
    };
    let by = match outcome.cause {
        Cause::Command => "command",
        Cause::Signal => "signal",
        Cause::Timeout => "timeout",
    };
    let seconds = |time: [i64; 2]| format!("{}.{:06}", time[0], time[1]);
    format!(
        "{{\"exit\":{exit},\"signal\":{signal},\"ended_by\":\"{by}\",\"wall_seconds\":{},\"user_seconds\":{},\
         \"system_seconds\":{},\"peak_memory_kib\":{},\"minor_faults\":{},\"major_faults\":{},\
         \"voluntary_switches\":{},\"involuntary_switches\":{}}}\n",
        seconds([wall.seconds, wall.nanoseconds / 1000]),
        seconds(usage.user),
        seconds(usage.system),
        usage.peak,
        usage.minor_faults,
        usage.major_faults,
        usage.voluntary_switches,
        usage.involuntary_switches,
    )
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
