//! Reads processes from `/proc`. proc(5).

use crate::error::{OrFail, Result};
use crate::files::{self, Identity, each_entry};
use crate::text::{Bytes, decimal, join, whole};
use alloc::vec::Vec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::Pid;

/// A process, from its `/proc/PID/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its PID here.
    pub pid: Pid,
    /// Its parent's PID here; `None` if that is outside.
    pub parent: Option<Pid>,
    /// The number of PID namespaces in which it is visible, from that of `/proc` inwards.
    pub depth: usize,
    /// Its PID in the innermost PID namespace.
    pub inner: u32,
    /// Whether it is a zombie.
    pub ended: bool,
    /// Its uid and gid, if all four of each are equal.
    pub ids: Option<(u32, u32)>,
    /// Resident memory, KiB.
    pub memory: u64,
}

impl Process {
    /// Reads `/proc/PID/status`.
    pub fn read(pid: Pid) -> Option<Self> {
        Process::parse(pid, status(pid)?)
    }

    /// Parses the text of that file.
    pub fn parse(pid: Pid, text: &[u8]) -> Option<Self> {
        let pids = field(text, "NSpid:")?;
        let memory = field(text, "VmRSS:").and_then(|v| v.split(|b| *b == b' ').next()).and_then(whole);
        Some(Process {
            pid,
            parent: field(text, "PPid:").and_then(self::pid),
            depth: words(pids).count(),
            inner: words(pids).last().and_then(whole).and_then(|pid| u32::try_from(pid).ok())?,
            ended: field(text, "State:")
                .is_none_or(|state| state.starts_with(b"Z") || state.starts_with(b"X")),
            ids: same(field(text, "Uid:")?).zip(same(field(text, "Gid:")?)),
            memory: memory.unwrap_or(0),
        })
    }

    /// Whether it is PID 1 of its namespace.
    pub fn is_pid1(&self) -> bool {
        self.inner == 1
    }

    /// The file that it executes. Only its owner can read this, and only if it is dumpable.
    pub fn program(&self) -> Option<Identity> {
        files::identity_of(path(self.pid, b"exe")).ok()
    }

    /// Its children, where the kernel lists them.
    pub fn children(&self) -> Vec<Process> {
        let task = join(&[b"task/", pid_digits(self.pid), b"/children"]);
        let text = read(path(self.pid, task)).unwrap_or_default();
        let mut all = Vec::new();
        for pid in words(text).filter_map(pid) {
            all.extend(Process::read(pid));
        }
        all
    }
}

/// Every process that is visible here.
pub fn all() -> Result<Vec<Process>> {
    let failed = "list '/proc'";
    let proc = files::open(CWD, b"/proc", OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
    let mut all = Vec::new();
    each_entry(proc.as_fd(), failed.into(), &mut |name| {
        all.extend(pid(name).and_then(Process::read));
        Ok(())
    })?;
    Ok(all)
}

/// Whether the process of a pidfd has ended. The pidfd is readable then. `pidfd_open(2)`
pub fn has_ended(pidfd: &OwnedFd) -> rustix::io::Result<bool> {
    ends_within(pidfd, 0)
}

/// Whether it ends within some milliseconds, which must be less than 1000.
pub fn ends_within(pidfd: &OwnedFd, milliseconds: u16) -> rustix::io::Result<bool> {
    let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(milliseconds.min(999)) * 1_000_000 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit)).map(|ready| ready > 0)
}

/// The first two numbers of the kernel's release. uname(2)
pub fn kernel_version() -> (u32, u32) {
    let name = rustix::system::uname();
    let mut numbers = name.release().to_bytes().split(|b| !b.is_ascii_digit());
    let mut number = || numbers.next().and_then(whole).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    (number(), number())
}

/// More bytes than any file of `/proc` or of control groups has.
pub const LONGEST: usize = 1 << 24;

/// A whole file of `/proc`.
pub fn read(path: &[u8]) -> Option<Bytes> {
    let file = files::open(CWD, path, OFlags::RDONLY).ok()?;
    files::read(file.as_fd(), 2048, LONGEST).ok()
}

/// The text of `/proc/PID/status`.
pub fn status(pid: Pid) -> Option<Bytes> {
    read(path(pid, b"status"))
}

/// The words of the command line of a process.
pub fn arguments(pid: Pid) -> Vec<Bytes> {
    split(read(path(pid, b"cmdline")).unwrap_or_default())
}

/// Splits the text of `/proc/PID/cmdline`.
pub fn split(line: Bytes) -> Vec<Bytes> {
    line.strip_suffix(b"\0").unwrap_or(line).split(|b| *b == 0).collect()
}

/// The fields of `/proc/PID/stat` after the second, which is a name in parentheses and may hold
/// anything. `proc_pid_stat(5)`
pub fn after_name(stat: &[u8]) -> Option<&[u8]> {
    stat.iter().rposition(|b| *b == b')').map(|at| &stat[at + 1..])
}

/// Whether a process is stopped.
pub fn is_stopped(pid: Pid) -> bool {
    with_stat(pid, |after| after.starts_with(b" T")).unwrap_or(false)
}

/// What the kernel tells of a process until it is waited for, even after its end.
pub struct Stock {
    /// Whether it has ended.
    pub ended: bool,
    /// Whether it has executed another program.
    pub executed: bool,
    /// Its processor time without its children, in hundredths of a second.
    pub time: u64,
}

impl Stock {
    /// Reads it from `/proc/PID/stat`.
    pub fn of(pid: Pid) -> Option<Self> {
        /// `PF_FORKNOEXEC`, include/linux/sched.h
        const NOT_EXECUTED: u64 = 0x40;
        // state, flags, utime and stime: the fields 3, 9, 14 and 15, and the name is the second
        let read = |after: &[u8]| {
            let mut fields = words(after);
            let ended = words(after).next() == Some(b"Z");
            let flags = fields.nth(6).and_then(whole)?;
            let (user, system) = (fields.nth(4).and_then(whole)?, fields.next().and_then(whole)?);
            Some(Stock { ended, executed: flags & NOT_EXECUTED == 0, time: user.saturating_add(system) })
        };
        with_stat(pid, read).flatten()
    }
}

/// Reads the start of `/proc/PID/stat`, from what follows the name on.
fn with_stat<T>(pid: Pid, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
    // It allocates nothing, not even the path: a supervisor calls this for each signal, and memory is never freed.
    // The name has at most 64 bytes, and thirteen numbers at most 20 each.
    let mut start = [0; 512];
    let mut path = *b"/proc/0000000000/stat\0";
    let mut left = pid.as_raw_nonzero().get().unsigned_abs();
    for digit in path[6..16].iter_mut().rev() {
        // Leading zeros would not be a valid name. Additional slashes are ignored.
        *digit = if left > 0 { b'0' + (left % 10) as u8 } else { b'/' };
        left /= 10;
    }
    let path = crate::sys::c_str(&path)?;
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let count = rustix::io::read(file, &mut start).ok()?;
    after_name(&start[..count]).map(read)
}

/// `/proc/PID/...`
pub fn path(pid: Pid, what: &[u8]) -> Bytes {
    join(&[b"/proc/", pid_digits(pid), b"/", what])
}

/// A PID in digits.
pub fn pid_digits(pid: Pid) -> Bytes {
    decimal(pid.as_raw_nonzero().get().unsigned_abs())
}

/// The value of a field of `/proc/PID/status`.
pub fn field<'t>(status: &'t [u8], name: &str) -> Option<&'t [u8]> {
    status.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(name.as_bytes())).map(<[u8]>::trim_ascii)
}

/// The words of a line.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Parses a PID.
pub fn pid(digits: &[u8]) -> Option<Pid> {
    whole(digits).and_then(|n| i32::try_from(n).ok()).and_then(Pid::from_raw)
}

/// The id, if all four on the line are equal.
fn same(line: &[u8]) -> Option<u32> {
    let mut numbers = words(line).map(whole);
    let first = numbers.next()??;
    let all = (0..3).all(|_| numbers.next() == Some(Some(first)));
    u32::try_from(first).ok().filter(|_| all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] = b"Name:\tsh\nState:\tS (sleeping)\nPPid:\t7\nUid:\t5\t5\t5\t5\nGid:\t6\t6\t6\t6\n\
        NSpid:\t812\t1\nVmRSS:\t     640 kB\nCapBnd:\t000001ffffffffff\n";

    #[test]
    fn a_status_is_read() {
        let pid = Pid::from_raw(812).unwrap();
        let found = Process::parse(pid, STATUS).unwrap();
        assert_eq!((found.parent, found.depth, found.inner, found.is_pid1()), (Pid::from_raw(7), 2, 1, true));
        assert_eq!((found.ids, found.memory, found.ended), (Some((5, 6)), 640, false));
    }

    #[test]
    fn differing_ids_are_no_ids() {
        assert_eq!(same(b"5\t5\t0\t5"), None);
        assert_eq!(same(b"5\t5"), None);
        assert_eq!(same(b"5 5 5 5"), Some(5));
    }
}
