//! `each`: a batch, like xargs. Each line of standard input is an instance of its own, which the set-uid program makes
//! as for `run`: what is here reads the list, holds no privilege, and is trusted with nothing.
#![forbid(unsafe_code)]

use crate::about::About;
use crate::cli;
use crate::error::{Error, NOT_EXECUTABLE, NOT_FOUND, OrFail, Result, on, say};
use crate::files;
use crate::options::{ALIASES, Id, OPTIONS, Opt};
use crate::supervise::End;
use crate::sys::signal::{CHLD, HUP, INT, QUIT, TERM};
use crate::sys::{self, Disposition, Moment, Pointers, SignalSet, set_of};
use crate::text::{Bytes, c_string, decimal, join, number};
use alloc::vec::Vec;
use core::cell::Cell;
use getargs::{Arg, Options};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, MemfdFlags, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

/// What is asked for.
#[derive(Debug, Default)]
struct Batch<'a> {
    /// What is said to selfdock for each.
    options: Vec<&'a [u8]>,
    jobs: usize,
    nul: bool,
    group: bool,
    halt: bool,
    report: Option<&'a [u8]>,
    command: Vec<&'a [u8]>,
}

/// How many at a time at most.
const MOST_JOBS: usize = 4096;

impl<'a> Batch<'a> {
    fn parse(words: &'a [&'a [u8]]) -> Result<Self> {
        let position = Cell::new(0);
        let next = || words.get(position.replace(position.get() + 1)).copied();
        let mut options = Options::new(core::iter::from_fn(next));
        let mut batch = Batch { jobs: 1, ..Batch::default() };
        let mut is_named = false;
        while let Some(arg) =
            options.next_arg().map_err(|_| Error::refused("each", "an option takes no value"))?
        {
            let opt = match arg {
                Arg::Positional(_) if !is_named => {
                    is_named = true;
                    continue;
                }
                Arg::Positional(word) => {
                    batch.command.push(word);
                    batch.command.extend(core::iter::from_fn(next));
                    break;
                }
                Arg::Short(c) => OPTIONS.iter().find(|opt| opt.short.is_some_and(|s| s as u32 == c.into())),
                Arg::Long(name) => by_long(name),
            };
            let unknown = || Error::refused("each: an option", "unknown").hint("see 'selfdock --help'");
            let opt = opt.ok_or_else(unknown)?;
            let mut values = Vec::new();
            if !opt.values.is_empty() {
                let wants = |_| Error::refused(on("option --{=}", opt.long.as_bytes()), "wants a value");
                values.push(options.value().map_err(wants)?);
                if opt.values.len() > 1 && !(opt.id == Id::Env && values[0].contains(&b'=')) {
                    values.extend(next());
                }
            }
            batch.take(opt, &values)?;
        }
        batch.check()
    }

    fn take(&mut self, opt: &Opt, values: &[&'a [u8]]) -> Result<()> {
        match opt.id {
            Id::Jobs => {
                let many = number(values[0], 10).and_then(|many| usize::try_from(many).ok());
                let many = many.filter(|many| *many <= MOST_JOBS);
                self.jobs =
                    many.ok_or_else(|| Error::refused(on("option --jobs {}", values[0]), "not 0 to 4096"))?;
            }
            Id::Null => self.nul = true,
            Id::Group => self.group = true,
            Id::Halt => self.halt = true,
            Id::Report => self.report = Some(values[0]),
            _ => {
                self.options.push(join(&[b"--", opt.long.as_bytes()]));
                self.options.extend(values);
            }
        }
        Ok(())
    }

    /// What is wrong with the options of each is said once, and before anything is read.
    fn check(mut self) -> Result<Self> {
        if self.command.is_empty() {
            return Err(Error::refused("each", "no command is given").hint("selfdock each CMD {} < LIST"));
        }
        let words = [&*self.options, &[b"run", b"--", b"true"]].concat();
        match cli::parse(&words)? {
            cli::Command::Run(request) if request.explain => {
                return Err(
                    Error::refused("option --explain", "not for this command").hint("see it with run")
                );
            }
            _ => {}
        }
        if self.jobs == 0 {
            self.jobs =
                rustix::thread::sched_getaffinity(None).map_or(1, |cpus| cpus.count() as usize).max(1);
        }
        Ok(self)
    }
}

fn by_long(name: &[u8]) -> Option<&'static Opt> {
    let alias = ALIASES.iter().find(|(word, _)| word.as_bytes() == name).map(|(_, id)| *id);
    OPTIONS.iter().find(|opt| opt.long.as_bytes() == name || alias == Some(opt.id))
}

/// The list, read as it comes.
struct List {
    room: Vec<u8>,
    start: usize,
    end: u8,
    is_over: bool,
}

/// As long as a line can be: a page less than what a word of a command can have. execve(2)
const LONGEST: usize = 31 * 4096;

impl List {
    fn new(nul: bool) -> Self {
        let end = if nul { 0 } else { b'\n' };
        List { room: Vec::with_capacity(LONGEST + 4096), start: 0, end, is_over: false }
    }

    /// The next line, if a whole one has been read. An empty one says nothing, but where lines end in NUL.
    fn ready(&mut self) -> Option<&[u8]> {
        loop {
            let (from, rest) = (self.start, &self.room[self.start..]);
            let length = match rest.iter().position(|byte| *byte == self.end) {
                Some(length) => length,
                None if self.is_over && !rest.is_empty() => rest.len(),
                None => return None,
            };
            self.start = (from + length + 1).min(self.room.len());
            if length > 0 || self.end == 0 {
                return Some(&self.room[from..from + length]);
            }
        }
    }

    /// Reads more of it.
    fn read(&mut self) -> Result<()> {
        self.room.drain(..self.start);
        self.start = 0;
        if self.room.len() > LONGEST {
            return Err(Error::refused("read the list", "a line is longer than a command can take"));
        }
        match rustix::io::read(sys::standard(0), rustix::buffer::spare_capacity(&mut self.room)) {
            Ok(0) => self.is_over = true,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::of("read the list", errno)),
        }
        Ok(())
    }
}

/// Whether reading the list would not wait.
fn can_be_read() -> bool {
    poll(&mut [PollFd::new(&sys::standard(0), PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
        .is_ok_and(|ready| ready > 0)
}

/// A place for an instance.
struct Slot {
    /// Its supervisor.
    pid: Option<Pid>,
    /// Where its output is kept until it has ended.
    kept: Option<[OwnedFd; 2]>,
}

impl Slot {
    fn new(group: bool) -> Result<Self> {
        let memory = || rustix::fs::memfd_create(c"output", MemfdFlags::CLOEXEC).or_fail("keep output");
        Ok(Slot { pid: None, kept: if group { Some([memory()?, memory()?]) } else { None } })
    }

    /// Shows what it has kept, and empties it.
    fn show(&self) -> Result<()> {
        for (number, kept) in (1..).zip(self.kept.iter().flatten()) {
            let failed = "show the output";
            rustix::fs::seek(kept, rustix::fs::SeekFrom::Start(0)).or_fail(failed)?;
            let mut buffer = [0; 4096];
            loop {
                match rustix::io::read(kept, &mut buffer) {
                    Ok(0) => break,
                    Ok(count) => files::write(sys::standard(number), &buffer[..count]).or_fail(failed)?,
                    Err(errno) => return Err(Error::of(failed, errno)),
                }
            }
            rustix::fs::ftruncate(kept, 0).or_fail(failed)?;
            rustix::fs::seek(kept, rustix::fs::SeekFrom::Start(0)).or_fail(failed)?;
        }
        Ok(())
    }
}

/// What came of it so far.
#[derive(Default)]
struct Tally {
    started: u64,
    ended: u64,
    failed: u64,
    /// As that of xargs(1): 0, 123 for a command that failed, 124 for one that said 255, 125 for one that was
    /// killed, 126 and 127 for one that could not be run. The highest.
    status: u8,
    /// No more are started.
    is_over: bool,
    /// The signal that was sent to end it all.
    signal: Option<i32>,
    shown: Moment,
}

/// Runs it. Gives the exit status.
pub fn run(about: &About, words: &[&[u8]]) -> Result<u8> {
    let batch = Batch::parse(words)?;
    if let Some(dir) = batch.report {
        match files::make_directory(CWD, dir, 0o777) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::of(on("make the directory {}", dir), errno)),
        }
    }
    sys::dispose(CHLD, Disposition::Default).or_fail("expect the end of commands")?;
    let awaited = [CHLD, HUP, INT, QUIT, TERM].iter().fold(0, |set, signal| set | set_of(*signal));
    let before = sys::exchange_mask(0).or_fail("block signals")?;
    sys::block_only(before | awaited).or_fail("block signals")?;
    let mut slots = Vec::new();
    for _ in 0..batch.jobs {
        slots.push(Slot::new(batch.group)?);
    }
    let (mut list, mut tally) = (List::new(batch.nul), Tally::default());
    loop {
        start_more(about, &batch, before, &mut slots, &mut list, &mut tally)?;
        let running = slots.iter().any(|slot| slot.pid.is_some());
        if !running && (tally.is_over || list.is_over) {
            break;
        }
        wait(before, awaited, running, &mut list, &slots, &mut tally)?;
        collect(&batch, &mut slots, &mut tally)?;
    }
    tally.clear();
    if let Some(signal) = tally.signal {
        crate::supervise::end(End::Signal(signal));
    }
    Ok(tally.status)
}

fn start_more(
    about: &About,
    batch: &Batch<'_>,
    mask: SignalSet,
    slots: &mut [Slot],
    list: &mut List,
    tally: &mut Tally,
) -> Result<()> {
    for slot in slots.iter_mut().filter(|slot| slot.pid.is_none()) {
        if tally.is_over {
            break;
        }
        while !list.is_over && !list.room[list.start..].contains(&list.end) && can_be_read() {
            list.read()?;
        }
        let Some(line) = list.ready() else { break };
        tally.started += 1;
        let job = tally.started;
        // It makes its words in a memory of its own, which is gone with it.
        let act = || Job { about, batch, slot, number: job, line, mask }.exec().report();
        slot.pid = Some(sys::start_child(0, act).or_fail("start an instance")?);
    }
    Ok(())
}

/// Waits for something to happen: the end of one, more of the list, or a signal to end it all.
fn wait(
    mask: SignalSet,
    awaited: SignalSet,
    running: bool,
    list: &mut List,
    slots: &[Slot],
    tally: &mut Tally,
) -> Result<()> {
    const MOMENT: Moment = Moment { seconds: 0, nanoseconds: 20_000_000 };
    if !running {
        // Nothing is to be ended but this.
        sys::block_only(mask).or_fail("unblock signals")?;
        let read = list.read();
        sys::block_only(mask | awaited).or_fail("block signals")?;
        return read;
    }
    let all_taken = slots.iter().all(|slot| slot.pid.is_some());
    let limit = if all_taken || list.is_over || tally.is_over { None } else { Some(MOMENT) };
    match sys::wait_signal(awaited, limit) {
        Ok(taken) if taken.signal == CHLD => {}
        Ok(taken) => {
            (tally.signal, tally.is_over) = (Some(taken.signal), true);
            // The kernel's own, from a terminal, has gone to all of them.
            for pid in slots.iter().filter_map(|slot| slot.pid).filter(|_| taken.code <= 0) {
                let _ = sys::kill(pid, taken.signal);
            }
        }
        Err(Errno::AGAIN | Errno::INTR) => {}
        Err(errno) => return Err(Error::of("wait for a signal", errno)),
    }
    Ok(())
}

/// Takes those that have ended.
fn collect(batch: &Batch<'_>, slots: &mut [Slot], tally: &mut Tally) -> Result<()> {
    loop {
        let (pid, end) = match sys::wait(None) {
            Ok(Some((pid, status, _))) => (pid, End::of(status)),
            Ok(None) | Err(Errno::CHILD) => return Ok(()),
            Err(errno) => return Err(Error::of("wait for an instance", errno)),
        };
        let (Some(end), Some(slot)) = (end, slots.iter_mut().find(|slot| slot.pid == Some(pid))) else {
            continue;
        };
        slot.pid = None;
        tally.clear();
        slot.show()?;
        tally.add(end, batch.halt)?;
    }
}

impl Tally {
    fn add(&mut self, end: End, halt: bool) -> Result<()> {
        let status = match end {
            End::Exit(0) => 0,
            End::Exit(NOT_FOUND) => NOT_FOUND,
            End::Exit(NOT_EXECUTABLE) => NOT_EXECUTABLE,
            End::Signal(_) => 125,
            End::Exit(255) => 124,
            End::Exit(_) => 123,
        };
        self.ended += 1;
        self.failed += u64::from(status != 0);
        self.status = self.status.max(status);
        self.is_over |= halt && status != 0;
        self.progress()
    }

    /// A line for whoever looks, a few times a second, where the output goes elsewhere.
    fn progress(&mut self) -> Result<()> {
        const PAUSE: Moment = Moment { seconds: 0, nanoseconds: 200_000_000 };
        let now = sys::now().or_fail("read the clock")?;
        if now.minus(self.shown.plus(PAUSE)) != Moment::default()
            && sys::is_terminal(2)
            && !sys::is_terminal(1)
        {
            self.shown = now;
            let [ended, failed] = [self.ended, self.failed].map(decimal);
            let running = decimal(self.started - self.ended);
            say(
                sys::standard(2),
                join(&[b"\r", ended, b" ended, ", failed, b" failed, ", running, b" running\x1b[K"]),
            );
        }
        Ok(())
    }

    fn clear(&self) {
        if self.shown != Moment::default() {
            say(sys::standard(2), b"\r\x1b[K");
        }
    }
}

/// One of them, in a process of its own.
struct Job<'a> {
    about: &'a About,
    batch: &'a Batch<'a>,
    slot: &'a Slot,
    number: u64,
    line: &'a [u8],
    mask: SignalSet,
}

impl Job<'_> {
    /// Becomes selfdock. Returns only on failure.
    fn exec(&self) -> Error {
        match self.prepare() {
            Ok(words) => {
                let (argv, envp) = (Pointers::new(&words), Pointers::new(&self.about.environment));
                let errno = sys::execve(self.about.program, &argv, &envp);
                Error::of(on("start {}", self.about.program.to_bytes()), errno)
            }
            Err(error) => error,
        }
    }

    fn prepare(&self) -> Result<Vec<&'static core::ffi::CStr>> {
        let nothing = files::open(CWD, b"/dev/null", OFlags::RDONLY).or_fail("open '/dev/null'")?;
        sys::redirect(&nothing, 0).or_fail("give the list no more")?;
        for (number, kept) in (1u32..).zip(self.slot.kept.iter().flatten()) {
            sys::redirect(kept, number).or_fail("keep output")?;
        }
        let mut words: Vec<&[u8]> = alloc::vec![b"selfdock"];
        words.extend(&self.batch.options);
        if let Some(dir) = self.batch.report {
            words.extend([&b"--report"[..], join(&[dir, b"/", decimal(self.number), b".json"])]);
        }
        words.extend([&b"run"[..], b"--"]);
        let mut is_said = false;
        for word in &self.batch.command {
            let with_line = self.with_line(word);
            is_said |= with_line.is_some();
            words.push(with_line.unwrap_or(word));
        }
        if !is_said {
            words.push(self.line);
        }
        let mut all = Vec::with_capacity(words.len());
        for word in words {
            all.push(c_string(word).or_fail(on("argument {}", word))?);
        }
        sys::block_only(self.mask).or_fail("unblock signals")?;
        Ok(all)
    }

    /// A word with the line for each `{}` in it.
    fn with_line(&self, word: &[u8]) -> Option<Bytes> {
        let mut rest = word;
        let mut all = Vec::new();
        while let Some(at) = rest.windows(2).position(|two| two == b"{}") {
            all.extend_from_slice(&rest[..at]);
            all.extend_from_slice(self.line);
            rest = &rest[at + 2..];
        }
        if rest.len() == word.len() {
            return None;
        }
        all.extend_from_slice(rest);
        Some(all.leak())
    }
}
