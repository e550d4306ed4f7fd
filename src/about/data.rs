//! `-m /dev/fd/N DST`, as bash writes `-m <(CMD) DST`: a read-only file with the data of a descriptor.
//!
//! The kernel cannot bind such a descriptor: a pipe and a memfd are in no mount namespace (EINVAL), and a deleted file
//! has no name (ENOENT). So this module reads the data, with the caller's rights, and writes it to a file in a tmpfs.
//! The tmpfs is in a mount namespace around the instance (`around`). So the data is on no disk. The kernel frees it
//! when the last process of the instance has ended.

use super::front::{Line, Said};
use super::overlay::Stands;
use crate::cli::{Timeout, may_be_descriptor, small};
use crate::command::current_directory;
use crate::creds::Privileged;
use crate::descriptors::is_placeholder;
use crate::error::{Error, OrFail, Result, TIMED_OUT, both};
use crate::files::{self, Identity};
use crate::mount::find;
use crate::options::Id;
use crate::plan::Tmpfs;
use crate::sys::{self, Duration, Instant, signal::XFSZ};
use crate::text::{Bytes, bound, decimal, digits, join};
use alloc::vec::Vec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, IntoRawFd};
use rustix::fs::{CWD, FileType, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;

bound! {
    /// The most data of one descriptor, in MiB.
    MOST_MIB = 64, TOO_MUCH = "it has more than ", " MiB"
}

/// The most bytes.
const MOST: usize = MOST_MIB << 20;

/// The data that was read.
#[derive(Default)]
pub struct Read(Vec<Data>);

/// The data of a descriptor.
struct Data {
    /// The indexes of the options that name the descriptor.
    places: Vec<usize>,
    number: u32,
    /// The pipe or socket that it leads to. Another descriptor that leads there would find nothing left.
    stream: Option<Identity>,
    text: Vec<u8>,
}

/// Refuses a descriptor as a volume.
pub fn check(line: &Line<'_>) -> Result<()> {
    let is_descriptor = |said: &&Said<'_>| said.opt.id == Id::Vol && number(said.values[0]).is_some();
    let Some(said) = line.options.iter().find(is_descriptor) else { return Ok(()) };
    let [src, dst] = said.values;
    let why = "nothing is written back to a descriptor";
    Err(Error::refused(both("bind {} on {}", src, dst), why)
        .hint("-m shows its data read-only; --keep-fd N passes it on"))
}

/// Reads the data of all such options. A timeout holds for reading and the command together, so what is left of it is
/// added to the line.
pub fn read(line: &mut Line<'_>, timeout: Option<Timeout>) -> Result<Read> {
    let now = sys::now().or_fail("read the clock")?;
    let until = timeout.map(|timeout| now.plus(timeout.time));
    let mut all: Vec<Data> = Vec::new();
    for (at, said) in line.options.iter().enumerate() {
        let [src, dst] = said.values;
        if matches!(said.opt.id, Id::Vol | Id::Map) && may_be_descriptor(src) {
            add(&mut all, at, src, dst, until)?;
        }
    }
    if let (Some(Timeout { grace, .. }), Some(until), false) = (timeout, until, all.is_empty()) {
        // A timeout of 0 would be no timeout.
        let least = Duration { seconds: 0, nanoseconds: 1 };
        let left = until.left().or_fail("read the clock")?.max(least);
        let left = join(&[seconds(left), b",", seconds(grace)]);
        line.options.extend(Said::new(Id::Timeout, [left, b""]));
    }
    Ok(Read(all))
}

fn seconds(time: Duration) -> Bytes {
    let nanoseconds = digits(time.nanoseconds.unsigned_abs(), 10, 9);
    join(&[decimal(time.seconds.unsigned_abs()), b".", nanoseconds])
}

/// Reads the data for a batch, and keeps it in memfds, so that each instance can read it again. Standard input is not
/// available: it has the list.
pub fn keep(line: &mut Line<'_>) -> Result<()> {
    if line.options.iter().any(|said| said.opt.id == Id::Map && number(said.values[0]) == Some(0)) {
        return Err(Error::refused("option --map '/dev/stdin'", "'selfdock each' reads its list there"));
    }
    // A timeout is for each command.
    for Data { places, text, .. } in read(line, None)?.0 {
        let failed = "keep the data of a descriptor";
        let held = match rustix::fs::memfd_create(c"data", MemfdFlags::NOEXEC_SEAL) {
            // Linux before 6.3 does not know the flag.
            Err(Errno::INVAL) => rustix::fs::memfd_create(c"data", MemfdFlags::empty()),
            made => made,
        };
        let held = held.or_fail(failed)?;
        files::write(held.as_fd(), &text).or_fail(failed)?;
        for at in places {
            line.options[at].values[0] = files::name_of(&held);
        }
        // The memfd must stay open at exec.
        let _ = held.into_raw_fd();
    }
    Ok(())
}

/// Runs `act`, which writes files. Beyond the limit for a file (`ulimit -f`) a write then returns EFBIG, and SIGXFSZ
/// does not end this process without a message. setrlimit(2)
pub fn in_the_limit_of_a_file<T>(act: impl FnOnce() -> Result<T>) -> Result<T> {
    let of_it = sys::set_of(XFSZ);
    let before = sys::exchange_mask(sys::ALL_SIGNALS).or_fail("block signals")?;
    sys::block_only(before | of_it).or_fail("block signals")?;
    let done = act();
    if before & of_it == 0 {
        // The signal of such a write must not be delivered later.
        let _ = sys::wait_signal(of_it, Some(Duration::default()));
    }
    sys::block_only(before).or_fail("unblock signals")?;
    done.map_err(|error| error.hint_if(Errno::FBIG, "'ulimit -f' shows the limit of a file"))
}

impl Read {
    /// Writes the data to files of a tmpfs in the mount namespace of this process, and puts their paths into `line`.
    pub fn show(self, privileged: &Privileged, stands: &mut Stands<'_>, line: &mut Line<'_>) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let failed = "make files with data of descriptors";
        // A file takes whole pages, of at most 64 KiB. The rest is for the tmpfs itself.
        let size: usize = self.0.iter().map(|data| data.text.len() + (128 << 10)).sum();
        let room = Tmpfs { size: size as u64, inodes: self.0.len() as u64 + 8, mode: 0o755 };
        let why = "no empty directory was found for them";
        let (path, room) = stands.make(privileged, &room, failed, why)?;
        for (number, Data { places, text, .. }) in (0u64..).zip(self.0) {
            let (name, flags) = (decimal(number), OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL);
            let file = files::open(room.as_fd(), name, flags).or_fail(failed)?;
            files::write(file.as_fd(), &text).or_fail(failed)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444)).or_fail(failed)?;
            for at in places {
                line.options[at].values[0] = join(&[path, b"/", name]);
            }
        }
        Ok(())
    }
}

/// The paths that options name outside, without links, and the current directory. Nothing may be mounted there. If
/// there is no such file yet, it is the path of its directory.
pub fn named_outside(line: &Line<'_>) -> Vec<Bytes> {
    let real = |path: &[u8]| -> Option<Bytes> {
        let file = find(path, OFlags::empty()).or_else(|_| find(files::parent(path), OFlags::empty()));
        files::path_of(&file.ok()?).ok()
    };
    let is_outside = |said: &&Said<'_>| matches!(said.opt.id, Id::Vol | Id::Map | Id::Root | Id::Report);
    let named = line.options.iter().filter(is_outside).map(|said| said.values[0]);
    named.chain(current_directory()).filter_map(real).collect()
}

/// The descriptor that a path names.
fn number(path: &[u8]) -> Option<u32> {
    if path == b"/dev/stdin" {
        return Some(0);
    }
    small(path.strip_prefix(b"/dev/fd/").or_else(|| path.strip_prefix(b"/proc/self/fd/"))?)
}

/// Adds the data of a descriptor. Data that was read already is used again.
fn add(all: &mut Vec<Data>, at: usize, src: &[u8], dst: &[u8], until: Option<Instant>) -> Result<()> {
    let Some(number) = number(src) else {
        // The set-uid program does not follow such a link, and has the same error.
        let errno = if src.starts_with(b"/dev/") { Errno::NOENT } else { Errno::LOOP };
        return Err(Error::of(both("open {} to bind it on {}", src, dst), errno));
    };
    let failed = both("read {} to show it on {}", src, dst);
    let opened = (|| {
        let from = sys::duplicate(number)?;
        // A placeholder stands for a descriptor that the caller has closed.
        if is_placeholder(from.as_fd())? {
            return Err(Errno::BADF);
        }
        let stat = rustix::fs::fstat(&from)?;
        Ok((from, FileType::from_raw_mode(stat.st_mode), (stat.st_dev, stat.st_ino)))
    })();
    let (from, kind, identity) = opened.or_fail(failed)?;
    let stream = matches!(kind, FileType::Fifo | FileType::Socket).then_some(identity);
    let is_it = |data: &&mut Data| data.number == number || (stream.is_some() && data.stream == stream);
    if let Some(data) = all.iter_mut().find(is_it) {
        data.places.push(at);
        return Ok(());
    }
    // A regular file is read from its start, as cat(1) reads /dev/fd/N.
    let again = kind.is_file().then(|| files::open(CWD, files::name_of(&from), OFlags::RDONLY).ok());
    let from = again.flatten().unwrap_or(from);
    let text = rest_of(from.as_fd(), until).or_fail(failed).map_err(|error| match error.errno() {
        Some(Errno::FBIG) => Error::refused(failed, TOO_MUCH).hint("put it into a file"),
        Some(Errno::TIME) => Error::refused(failed, "the time of --timeout is over").status(TIMED_OUT),
        _ => error.hint_if(Errno::ISDIR, "a directory is named by its own path"),
    })?;
    all.push(Data { places: Vec::from([at]), number, stream, text });
    Ok(())
}

/// Reads to the end, at most until a point in time.
fn rest_of(from: BorrowedFd<'_>, until: Option<Instant>) -> rustix::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut must_wait = until.is_some();
    loop {
        if must_wait {
            let left = until.map(Instant::left).transpose()?.map(Timespec::from);
            match poll(&mut [PollFd::new(&from, PollFlags::IN)], left.as_ref()) {
                Ok(0) => return Err(Errno::TIME),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            }
        }
        text.reserve(64 << 10);
        match rustix::io::read(from, rustix::buffer::spare_capacity(&mut text)) {
            Ok(0) => return Ok(text),
            Ok(_) if text.len() > MOST => return Err(Errno::FBIG),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => must_wait = true,
            Err(errno) => return Err(errno),
        }
    }
}
