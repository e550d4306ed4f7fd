//! `each`: a batch, like xargs. Each line of standard input is run in an instance of its own. The set-uid program
//! makes each instance, as for `run`. This module reads the list and has no privilege.

use super::attend::{of_none, write_unless_ended};
use super::check_copies;
use super::data::{self, in_the_limit_of_a_file};
use super::foreign::hint;
use super::front::Line;
use crate::descriptors::{is_placeholder, number_of};
use crate::error::{
    Error, GIVES_UP, NOT_EXECUTABLE, NOT_FOUND, ONE_FAILED, ONE_GAVE_UP, ONE_WAS_KILLED, OrFail, Result, on,
};
use crate::handover::About;
use crate::options::{Id, Verb};
use crate::outcome::{End, after_signal};
use crate::sys::{
    self, Disposition, Duration, Instant, Pointers, SignalSet, set_of,
    signal::{CHLD, ENDING, PIPE, TERM, XFSZ},
};
use crate::text::{Bytes, bound, c_string, decimal, join, number};
use crate::{files, process, report};
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::mem::MaybeUninit;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, MemfdFlags, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;

/// The request for a batch.
#[derive(Debug, Default)]
struct Batch<'a> {
    /// The words of options that selfdock gets for each line.
    options: Vec<&'a [u8]>,
    jobs: usize,
    nul: bool,
    group: bool,
    halt: bool,
    report: Option<&'a [u8]>,
    command: Vec<&'a [u8]>,
}

bound! {
    /// The largest number of commands at a time.
    MOST_JOBS = 4096,
    NOT_JOBS = "not a number from 0 to ", ""
}

impl<'a> Batch<'a> {
    fn of(line: &Line<'a>) -> Result<Self> {
        let mut batch = Batch { jobs: jobs(line)?, command: line.command.clone(), ..Batch::default() };
        for said in &line.options {
            let value = said.values[0];
            match said.opt.id {
                Id::Jobs => {}
                Id::Null => batch.nul = true,
                Id::Group => batch.group = true,
                Id::Halt => batch.halt = true,
                Id::Report => batch.report = Some(value),
                _ => batch.options.extend(said.words()),
            }
        }
        Ok(batch)
    }
}

/// How many commands run at a time.
fn jobs(line: &Line<'_>) -> Result<usize> {
    let Some(value) = line.value(Id::Jobs) else { return Ok(1) };
    let many = number(value, 10).and_then(|many| usize::try_from(many).ok());
    match many.filter(|many| *many <= MOST_JOBS) {
        Some(0) => Ok(rustix::thread::sched_getaffinity(None).map_or(1, |cpus| cpus.count() as usize).max(1)),
        Some(many) => Ok(many),
        None if line.command.is_empty() => {
            Err(Error::refused(on("option --jobs: took {} as N", value), NOT_JOBS).hint("write --jobs N CMD"))
        }
        None => Err(Error::refused(on("option --jobs {}", value), NOT_JOBS)),
    }
}

/// The list of lines, read from standard input as they come.
pub struct List {
    room: Vec<u8>,
    start: usize,
    end: u8,
    is_over: bool,
}

/// The longest line: a page less than the longest word of a command. execve(2)
const LONGEST: usize = 31 * 4096;

impl List {
    /// An empty list. Its lines end with NUL, or else with a newline.
    pub fn new(nul: bool) -> Self {
        let end = if nul { 0 } else { b'\n' };
        List { room: Vec::with_capacity(LONGEST + 4096), start: 0, end, is_over: false }
    }

    /// The next line, if a whole one has been read. Empty lines are skipped, unless lines end with NUL.
    pub fn ready(&mut self) -> Option<&[u8]> {
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

    /// Reads more of the list. The next line has this number.
    pub fn read(&mut self, from: BorrowedFd<'_>, number: u64) -> Result<()> {
        self.room.drain(..self.start);
        self.start = 0;
        if self.room.len() > LONGEST {
            check_text(&self.room, number)?;
            let what = "read the list: line {=} is longer than an argument may be (128 KiB)";
            return Err(Error::plain(on(what, decimal(number))));
        }
        match rustix::io::read(from, rustix::buffer::spare_capacity(&mut self.room)) {
            Ok(0) => self.is_over = true,
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(Error::of("read the list", errno)),
        }
        Ok(())
    }
}

/// Refuses a NUL byte in a line, which could not be in an argument.
fn check_text(line: &[u8], number: u64) -> Result<()> {
    if line.contains(&0) {
        let what = on("read the list: line {=} contains a NUL byte", decimal(number));
        return Err(Error::plain(what).hint("add -0 for the output of find -print0"));
    }
    Ok(())
}

/// Whether the list can be read without waiting.
fn can_be_read() -> bool {
    poll(&mut [PollFd::new(&sys::standard(0), PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
        .is_ok_and(|ready| ready > 0)
}

/// Whether nobody reads standard output or standard error any more.
fn is_unread() -> bool {
    let outputs = [1, 2].map(sys::standard);
    let mut polled = outputs.each_ref().map(|output| PollFd::new(output, PollFlags::empty()));
    let asked = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    asked.is_ok() && polled.iter().any(|one| one.revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

/// A slot for a running instance.
#[derive(Default)]
struct Slot {
    /// Its supervisor.
    pid: Option<Pid>,
    /// The number of its line.
    number: u64,
    /// Its standard output and standard error, with `--group`.
    outputs: Option<[Output; 2]>,
}

/// The output of a command. It is read as it comes, and kept in a memfd, which can be freed.
struct Output {
    reader: OwnedFd,
    kept: OwnedFd,
}

impl Output {
    /// A new output, with the end that the command writes to.
    fn new() -> Result<(Self, OwnedFd)> {
        let failed = "store the output";
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).or_fail(failed)?;
        rustix::io::ioctl_fionbio(&reader, true).or_fail(failed)?;
        let kept = rustix::fs::memfd_create(c"output", MemfdFlags::CLOEXEC).or_fail(failed)?;
        Ok((Output { reader, kept }, writer))
    }

    /// Reads what the command has written so far.
    fn drain(&self) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&self.reader, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(count) => files::write(self.kept.as_fd(), &buffer[..count]).or_fail("store the output")?,
                Err(errno) => return Err(Error::of("store the output", errno)),
            }
        }
    }

    /// Writes all of it to a standard descriptor. A reader may take long. Then a signal to end the batch gives EINTR.
    fn print_to(&self, standard: i32, ending: SignalSet) -> Result<()> {
        let failed = "write the output";
        self.drain()?;
        rustix::fs::seek(&self.kept, rustix::fs::SeekFrom::Start(0)).or_fail(failed)?;
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(&self.kept, &mut buffer).or_fail(failed)? {
                0 => return Ok(()),
                count => {
                    write_unless_ended(sys::standard(standard), &buffer[..count], ending).or_fail(failed)?;
                }
            }
        }
    }
}

/// The results so far.
#[derive(Default)]
struct Tally {
    started: u64,
    ended: u64,
    failed: u64,
    /// The exit status, as that of xargs(1). The highest counts.
    status: u8,
    /// No more commands are started.
    is_over: bool,
    /// The signal that was sent to end the batch.
    signal: Option<i32>,
    /// The signals that end the batch.
    ending: SignalSet,
    shown: Instant,
}

/// Runs the batch and returns the exit status. An error in the options is reported once, before the list is read.
pub fn run(about: &About, line: &Line<'_>, verb: &Verb) -> Result<End> {
    check_command(line)?;
    line.check(verb, about)?;
    check_copies(about, &line.around()?.1)?;
    let mut line = line.clone();
    in_the_limit_of_a_file(|| data::keep(&mut line))?;
    let batch = Batch::of(&line)?;
    if let Some(kept) = line.value(Id::Changes).filter(|_| batch.jobs > 1) {
        return Err(Error::refused(on("option --changes {}", kept), "only one run at a time can use it")
            .hint("use -j 1"));
    }
    // A placeholder never becomes ready.
    if is_placeholder(sys::standard(0)) == Ok(true) {
        return Err(Error::of("read the list", Errno::BADF));
    }
    let reports = batch.report.map(report_directory).transpose()?;
    sys::dispose(CHLD, Disposition::Default).or_fail("reset SIGCHLD")?;
    let before = sys::exchange_mask(sys::ALL_SIGNALS).or_fail("block signals")?;
    // Signals that the caller ignores are not waited for: a blocked signal would be delivered although it is ignored.
    let ignored = process::status(rustix::process::getpid()).unwrap_or_default();
    let ignored = process::field(ignored, "SigIgn:").and_then(|set| number(set, 16)).unwrap_or(0);
    let awaited = (set_of(CHLD) | ENDING) & !ignored;
    // A write to a closed pipe, or beyond the limit for a file, returns an error. So these signals stay blocked.
    let masks = Masks { before, awaited, during: before | awaited | set_of(PIPE) | set_of(XFSZ) };
    sys::block_only(masks.during).or_fail("block signals")?;
    let mut work = Work {
        about,
        batch: &batch,
        reports,
        masks,
        slots: (0..batch.jobs).map(|_| Slot::default()).collect(),
        printed: epoll::create(epoll::CreateFlags::CLOEXEC).or_fail("wait for output")?,
        list: List::new(batch.nul),
        tally: Tally { ending: ENDING & !ignored, ..Tally::default() },
    };
    if let Err(error) = work.run_all().and_then(|()| work.tally.clear()) {
        work.end_all(&error);
        let _ = work.tally.clear();
        match error.errno() {
            Some(Errno::PIPE) => work.tally.signal = Some(PIPE),
            Some(Errno::INTR) if work.tally.signal.is_some() => {}
            _ => return Err(error),
        }
    }
    match work.tally.signal {
        Some(signal) => Ok(End::Signal(signal)),
        None => Ok(End::Exit(work.tally.status)),
    }
}

/// Refuses a batch without a command, which -j may have taken, and a list that stands in the line, as for GNU parallel.
/// A list on a terminal is not meant then.
fn check_command(line: &Line<'_>) -> Result<()> {
    jobs(line)?;
    let refuse = |why| Err(Error::refused("each", why).hint("selfdock each CMD {} < LIST"));
    match line.command.iter().position(|word| *word == b":::") {
        _ if line.command.is_empty() => refuse("no command is given"),
        Some(at) if at == 0 || sys::is_terminal(0) => {
            refuse("the list is standard input, and not behind :::")
        }
        _ => Ok(()),
    }
}

/// Opens the directory of reports, and makes it if it is missing. It is opened only once, since a command could
/// replace it by another directory. A number is a descriptor in other commands.
fn report_directory(dir: &[u8]) -> Result<OwnedFd> {
    if number(dir, 10).is_some() {
        let form = [b"for a directory of this name write ./", dir];
        return Err(Error::refused(on("option --report {}", dir), "each writes a directory of reports")
            .hint(hint(&form)));
    }
    match files::make_directory(CWD, dir, 0o777) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::of(on("make the directory {}", dir), errno)),
    }
    let failed = on("report to {}", dir);
    let fd = files::open(CWD, dir, OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
    files::may(fd.as_fd(), b".", rustix::fs::Access::WRITE_OK).or_fail(failed)?;
    Ok(fd)
}

/// How long to wait for one event while another one is possible.
const MOMENT: Duration = Duration { seconds: 0, nanoseconds: 20_000_000 };

/// Sets of signals: the caller's mask, the signals to wait for, and the signals to block meanwhile.
#[derive(Clone, Copy)]
struct Masks {
    before: SignalSet,
    awaited: SignalSet,
    during: SignalSet,
}

/// A running batch.
struct Work<'a> {
    about: &'a About,
    batch: &'a Batch<'a>,
    reports: Option<OwnedFd>,
    masks: Masks,
    slots: Vec<Slot>,
    /// An epoll descriptor: ready when a command has written output.
    printed: OwnedFd,
    list: List,
    tally: Tally,
}

impl Work<'_> {
    fn run_all(&mut self) -> Result<()> {
        loop {
            self.start_more()?;
            let running = self.is_running();
            if !running && (self.tally.is_over || self.list.is_over) {
                return Ok(());
            }
            self.wait(running)?;
            self.collect()?;
        }
    }

    fn start_more(&mut self) -> Result<()> {
        for at in 0..self.slots.len() {
            if self.slots[at].pid.is_some() {
                continue;
            }
            if self.tally.is_over {
                break;
            }
            let list = &mut self.list;
            while !list.is_over && !list.room[list.start..].contains(&list.end) && can_be_read() {
                list.read(sys::standard(0), self.tally.started + 1)?;
            }
            let Some(line) = list.ready() else { break };
            self.tally.started += 1;
            check_text(line, self.tally.started)?;
            let mut writers = Vec::new();
            if self.batch.group {
                let ((out, to_out), (err, to_err)) = (Output::new()?, Output::new()?);
                for output in [&out, &err] {
                    let whose = epoll::EventData::new_u64(at as u64);
                    epoll::add(&self.printed, &output.reader, whose, epoll::EventFlags::IN)
                        .or_fail("wait for output")?;
                }
                writers.extend([to_out, to_err]);
                self.slots[at].outputs = Some([out, err]);
            }
            let (about, batch, mask, number) =
                (self.about, self.batch, self.masks.before, self.tally.started);
            let reports = self.reports.as_ref();
            // The child builds its words in its own memory, which is freed when it ends.
            let act = || Job { about, batch, reports, writers: &writers, number, line, mask }.exec().report();
            self.slots[at].pid = Some(sys::start_child(0, act).or_fail("start an instance")?);
            self.slots[at].number = number;
        }
        Ok(())
    }

    /// Waits for an event: the end of a command, output, more of the list, or a signal to end the batch.
    fn wait(&mut self, running: bool) -> Result<()> {
        if !running {
            // No command runs, so signals may end this process.
            sys::block_only(self.masks.before).or_fail("unblock signals")?;
            let ready = poll(&mut [PollFd::new(&sys::standard(0), PollFlags::IN)], None);
            sys::block_only(self.masks.during).or_fail("block signals")?;
            ready.or_fail("wait for the list")?;
            return self.list.read(sys::standard(0), self.tally.started + 1);
        }
        let all_taken = self.slots.iter().all(|slot| slot.pid.is_some());
        let mut limit =
            if all_taken || self.list.is_over || self.tally.is_over { None } else { Some(MOMENT) };
        if self.batch.group {
            self.wait_for_output()?;
            limit = Some(Duration::default());
        }
        self.take_signal(self.masks.awaited, limit)
    }

    /// Takes a signal. One that ends the batch is passed on to the commands.
    fn take_signal(&mut self, awaited: SignalSet, limit: Option<Duration>) -> Result<()> {
        match sys::wait_signal(awaited, limit) {
            Ok(taken) if taken.signal == CHLD => {}
            Ok(taken) => {
                (self.tally.signal, self.tally.is_over) = (Some(taken.signal), true);
                // A signal of the terminal (positive `si_code`) has reached all commands already.
                if taken.code <= 0 {
                    self.tell_all(taken.signal);
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(errno) => return Err(Error::of("wait for a signal", errno)),
        }
        Ok(())
    }

    /// Waits for output for a short time only, since the end of a process arrives as a signal. It uses no memory,
    /// since no memory is freed here.
    fn wait_for_output(&self) -> Result<()> {
        let mut events = [MaybeUninit::uninit(); 64];
        let ready = match epoll::wait(&self.printed, &mut events, Some(&MOMENT.into())) {
            Ok((ready, _)) => ready,
            Err(Errno::INTR) => return Ok(()),
            Err(errno) => return Err(Error::of("wait for output", errno)),
        };
        for event in ready {
            let at = usize::try_from(event.data.u64()).ok().and_then(|at| self.slots.get(at));
            at.and_then(|slot| slot.outputs.as_ref()).into_iter().flatten().try_for_each(Output::drain)?;
        }
        Ok(())
    }

    /// Collects the commands that have ended.
    fn collect(&mut self) -> Result<()> {
        loop {
            let (pid, end) = match sys::wait(None) {
                Ok(Some((pid, status, _))) => (pid, End::of(status)),
                Ok(None) | Err(Errno::CHILD) => return Ok(()),
                Err(errno) => return Err(Error::of("wait for an instance", errno)),
            };
            let slot = self.slots.iter_mut().find(|slot| slot.pid == Some(pid));
            let (Some(end), Some(slot)) = (end, slot) else { continue };
            slot.pid = None;
            let number = slot.number;
            if let Some(outputs) = slot.outputs.take() {
                self.tally.clear()?;
                let ending = self.tally.ending;
                (1..).zip(&outputs).try_for_each(|(number, output)| output.print_to(number, ending))?;
            }
            // xargs(1) starts no more either.
            let by_pipe = [End::Signal(PIPE), End::Exit(after_signal(PIPE))].contains(&end);
            if by_pipe && is_unread() {
                self.tally.signal.get_or_insert(PIPE);
                self.tally.is_over = true;
            }
            // What ends the whole batch is no news of one line.
            if let (End::Signal(signal), None) = (end, self.tally.signal) {
                self.tally.clear()?;
                self.tally.say_killed(number, signal)?;
            }
            self.tally.add(end, self.batch.halt)?;
        }
    }

    fn is_running(&self) -> bool {
        self.slots.iter().any(|slot| slot.pid.is_some())
    }

    fn tell_all(&self, signal: i32) {
        for pid in self.slots.iter().filter_map(|slot| slot.pid) {
            let _ = sys::kill(pid, signal);
        }
    }

    /// Ends the running commands after an error, and waits for them. If a signal has interrupted this process, the
    /// commands get that one.
    fn end_all(&mut self, error: &Error) {
        match error.errno() {
            Some(Errno::INTR) => drop(self.take_signal(self.tally.ending, Some(Duration::default()))),
            _ => self.tell_all(TERM),
        }
        while self.is_running() {
            match sys::wait(None) {
                Ok(Some((pid, status, _))) if End::of(status).is_some() => {
                    self.slots.retain(|slot| slot.pid != Some(pid));
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    for output in self.slots.iter().flat_map(|slot| slot.outputs.iter().flatten()) {
                        let _ = output.drain();
                    }
                    let _ = self.take_signal(self.masks.awaited, Some(MOMENT));
                }
                Err(_) => return,
            }
        }
    }
}

/// A short text on the stack.
struct ShortText {
    room: [u8; 80],
    length: usize,
}

impl core::fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.length + text.len();
        self.room.get_mut(self.length..end).ok_or(core::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl Tally {
    /// Prints on standard error. Only a signal that ends the batch counts as an error. After that nobody waits for a
    /// reader.
    fn say(&self, text: &[u8]) -> Result<()> {
        if self.signal.is_some() {
            let _ = sys::interrupted(|| rustix::io::write(sys::standard(2), text));
            return Ok(());
        }
        match write_unless_ended(sys::standard(2), text, self.ending) {
            Err(Errno::INTR) => Err(Error::of("write the standard error", Errno::INTR)),
            _ => Ok(()),
        }
    }

    /// Says that a signal ended a command, as xargs(1) does. It uses no memory, since no memory is freed here.
    fn say_killed(&self, number: u64, signal: i32) -> Result<()> {
        let mut line = ShortText { room: [0; 80], length: 0 };
        let _ = writeln!(line, "selfdock: line {number}: the command was ended by signal {signal}");
        self.say(&line.room[..line.length])
    }

    fn add(&mut self, end: End, halt: bool) -> Result<()> {
        let status = match end {
            End::Exit(0) => 0,
            End::Exit(NOT_FOUND) => NOT_FOUND,
            End::Exit(NOT_EXECUTABLE) => NOT_EXECUTABLE,
            End::Signal(_) => ONE_WAS_KILLED,
            End::Exit(GIVES_UP) => ONE_GAVE_UP,
            End::Exit(_) => ONE_FAILED,
        };
        self.ended += 1;
        self.failed += u64::from(status != 0);
        self.status = self.status.max(status);
        self.is_over |= halt && status != 0;
        self.progress()
    }

    /// Prints a line of progress a few times a second, if standard error is a terminal and standard output is not.
    fn progress(&mut self) -> Result<()> {
        const PAUSE: Duration = Duration { seconds: 0, nanoseconds: 200_000_000 };
        let now = sys::now().or_fail("read the clock")?;
        let is_time = now.since(self.shown.plus(PAUSE)) != Duration::default();
        if is_time && sys::is_terminal(2) && !sys::is_terminal(1) {
            self.shown = now;
            let [ended, failed] = [self.ended, self.failed].map(decimal);
            let running = decimal(self.started - self.ended);
            let line = [b"\r", ended, b" ended, ", failed, b" failed, ", running, b" running\x1b[K"];
            self.say(join(&line))?;
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        if self.shown == Instant::default() {
            return Ok(());
        }
        self.shown = Instant::default();
        self.say(b"\r\x1b[K")
    }
}

/// The command for one line, in its own process.
struct Job<'a> {
    about: &'a About,
    batch: &'a Batch<'a>,
    reports: Option<&'a OwnedFd>,
    writers: &'a [OwnedFd],
    number: u64,
    line: &'a [u8],
    mask: SignalSet,
}

impl Job<'_> {
    /// Becomes selfdock. Returns only on failure, which the report tells.
    fn exec(&self) -> Error {
        let mut report = None;
        let error = match self.prepare(&mut report) {
            Ok(words) => {
                let (argv, envp) = (Pointers::new(&words), Pointers::new(&self.about.environment));
                let errno = sys::execve(self.about.program, &argv, &envp);
                Error::of(on("start {}", self.about.program.to_bytes()), errno)
            }
            Err(error) => error,
        };
        if let Some(file) = report {
            let _ = files::write(file.as_fd(), of_none(&error));
        }
        error
    }

    /// The words for selfdock. Opens the report.
    fn prepare(&self, report: &mut Option<OwnedFd>) -> Result<Vec<&'static core::ffi::CStr>> {
        let nothing = files::open(CWD, b"/dev/null", OFlags::RDONLY).or_fail("open '/dev/null'")?;
        sys::redirect(number_of(&nothing), 0).or_fail("redirect standard input")?;
        for (number, writer) in (1..).zip(self.writers) {
            sys::redirect(number_of(writer), number).or_fail("store the output")?;
        }
        let mut words: Vec<&[u8]> = alloc::vec![b"selfdock"];
        words.extend(&self.batch.options);
        if let Some(dir) = self.reports {
            // The descriptor stays open for selfdock, which closes it.
            let file = report.insert(self.report(dir)?);
            words.extend([&b"--report"[..], decimal(number_of(file))]);
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

    /// Makes a new file for the report. A file that an earlier command put there is removed.
    fn report(&self, dir: &OwnedFd) -> Result<OwnedFd> {
        let name = join(&[decimal(self.number), b".json"]);
        let failed = on("report to {}", name);
        match report::remove(dir, name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::of(failed, errno)),
        }
        let file = files::open(dir.as_fd(), name, report::NEW).or_fail(failed)?;
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).or_fail(failed)?;
        Ok(file)
    }

    /// Replaces each `{}` in a word by the line. `None` if the word has no `{}`.
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
