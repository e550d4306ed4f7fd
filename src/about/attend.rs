//! Limits of a whole instance that need a process beside it: `--output-limit`, and control groups (`group`).
//!
//! That process is the *attendant*. The second program starts it before it becomes selfdock again. It is a child of
//! the supervisor and has the caller's rights, but is in neither the instance nor the caller's session. It passes on
//! what the command prints, up to a limit, and kills the command at the next byte. At the end the attendant gets the
//! report, adds its own figures, writes the report to the caller's file, and ends. The supervisor waits for the
//! attendant. So the supervisor ends when all is written and the groups are removed ([`Report::Open`]). The end of the
//! attendant sends no signal to its parent, so no program takes the attendant for another child.
//!
//! Some instances start the second program in place of the command. The supervisor cannot know whether that program
//! has become the command. The attendant knows, and reports it ([`Unstarted`]).

use super::foreign::about_unit;
use super::front::{Line, Said};
use super::group::{self, Group};
use crate::cli::{Timeout, scaled, small};
use crate::creds;
use crate::descriptors::{check_descriptors, close_descriptors, is_placeholder, number_of, placeholder};
use crate::error::{Error, FAILED as EXIT_FAILED, OrFail, Result, TIMED_OUT, on};
use crate::files;
use crate::handover::About;
use crate::instance::Instance;
use crate::options::Id;
use crate::outcome::{Cause, End, Outcome};
use crate::process::{Process, has_ended};
use crate::report::{self, KILLED, LOST, Report, WCLONE};
use crate::sys::{
    self, Duration, Instant, SignalSet,
    signal::{BY_WRITING, ENDING, KILL},
};
use crate::text::{Bytes, decimal, join};
use crate::usage::Usage;
use alloc::string::String;
use alloc::vec::Vec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PIPE_BUF, PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal, waitpid};

/// The limits that the caller asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of output.
    output: Option<u64>,
    /// The limits of control groups.
    group: group::Limits,
}

impl Limits {
    /// Reads the options of a line. Of several options of one kind the last counts.
    pub fn of(line: &Line<'_>) -> Result<Self> {
        let mut all = Limits::default();
        for said in &line.options {
            let value = said.values[0];
            if said.opt.id == Id::OutputLimit {
                let what = on("option --output-limit {}", value);
                let refused = || about_unit(Error::refused(what, "not an amount, like 64M"), value);
                all.output = Some(scaled(value).ok_or_else(refused)?);
            }
            all.group.add(said.opt.id, value)?;
        }
        Ok(all)
    }

    /// Whether there is a limit.
    pub fn has_any(&self) -> bool {
        *self != Limits::default()
    }

    /// In words, for `--explain`.
    pub fn words(&self) -> Vec<String> {
        let output = self.output.map(|bytes| alloc::format!("output={bytes}"));
        output.into_iter().chain(self.group.words()).collect()
    }
}

impl Attendant {
    /// Makes pipes and groups for the instance whose supervisor this process becomes. `stands_in` says that the
    /// instance starts the second program in place of the command.
    pub fn new(
        about: &About,
        line: &Line<'_>,
        limits: Limits,
        timeout: Option<Timeout>,
        stands_in: bool,
    ) -> Result<Self> {
        // This must come first: a new descriptor could get the number of one that is not open.
        for said in line.options.iter().filter(|said| said.opt.id == Id::KeepFd) {
            check_descriptors::<Error>(small(said.values[0]).as_slice())?;
        }
        let required = line.has(Id::ReportRequired);
        let report = line.value(Id::Report).map(|target| Report::open(target, required)).transpose()?;
        let (from_report, to_report) = pipe_with(PipeFlags::CLOEXEC).or_fail(FAILED)?;
        let unstarted = stands_in.then(|| pipe_with(PipeFlags::CLOEXEC)).transpose().or_fail(FAILED)?;
        let (from_unstarted, to_unstarted) = unstarted.unzip();
        let mut streams = [Stream::of(1), Stream::of(2)];
        if limits.output.is_some() {
            for stream in streams.iter_mut().filter(|stream| is_written(stream.standard)) {
                let (from, to) = pipe_with(PipeFlags::CLOEXEC).or_fail(FAILED)?;
                // The command can take back what poll has told of.
                rustix::io::ioctl_fionbio(&from, true).or_fail(FAILED)?;
                (stream.from, stream.to) = (Some(from), Some(to));
            }
        }
        Ok(Attendant {
            program: files::identity_of(about.program.to_bytes()).ok(),
            supervisor: getpid(),
            started_as: None,
            supervisor_pidfd: pidfd_open(getpid(), PidfdFlags::empty()).or_fail(FAILED)?,
            from_report,
            to_report,
            from_unstarted,
            to_unstarted,
            why: Vec::new(),
            report,
            streams,
            limits,
            nothing: placeholder().or_fail(FAILED)?,
            is_reported: false,
            printed: 0,
            left: limits.output.unwrap_or(0),
            exceeded: false,
            tries: TRIES,
            started: sys::now().or_fail("read the clock")?,
            timeout: timeout.map(|timeout| timeout.time),
            // The group comes last: if a later step failed, the group would be left over.
            group: if limits.group.has_any() { Some(group::make(about, &limits.group)?) } else { None },
        })
    }

    /// The pipe for the message of a second program that could not become the command.
    pub fn unstarted(&self) -> Option<Unstarted<'_>> {
        self.to_unstarted.as_ref().map(Unstarted)
    }

    /// Reports why no instance is started, and removes the group again.
    pub fn give_up(mut self, error: &Error) {
        if let Some(pid) = self.started_as {
            let written = files::write(self.to_report.as_fd(), of_none(error));
            let _ = written.and_then(|()| waitpid(Some(pid), WCLONE));
            return;
        }
        if let Some(group) = self.group.take() {
            group.end(Some(self.supervisor));
        }
        if let Some(report) = self.report.take() {
            write_no_start(&report, error);
        }
    }

    /// Starts the attendant, as a child of this process, which becomes the supervisor. Adds what tells the supervisor
    /// of it to the line in plain options. The descriptors stay open until exec closes them.
    pub fn start(&mut self, line: &mut Line<'_>) -> Result<()> {
        let [out, err] = &self.streams;
        let duplicate = |fd: &OwnedFd| sys::duplicate_for_exec(number_of(fd)).or_fail(FAILED);
        let output = |stream: &Stream, standard| stream.to.as_ref().map_or(Ok(standard), duplicate);
        let report = duplicate(&self.to_report)?;
        let output = [output(out, 1)?, output(err, 2)?].map(|fd| Said::new(Id::KeepFd, [decimal(fd), b""]));
        let pid = sys::start_child_apart(|| self.attend()).or_fail(FAILED)?;
        self.started_as = Some(pid);
        if let Some(group) = &self.group {
            group.join()?;
        }
        let both = u64::from(pid.as_raw_nonzero().get().unsigned_abs()) << 32 | u64::from(report);
        let report = Said::new(Id::Report, [join(&[b"=", decimal(both)]), b""]);
        line.options.retain(|said| said.opt.id != Id::Report);
        // These options come before those of the caller.
        line.options.splice(..0, output.into_iter().chain([report]).flatten());
        Ok(())
    }
}

/// Writes the report that a line asks for, if there will be no instance and nobody has opened the report yet.
pub fn report_no_start(line: &Line<'_>, error: &Error) {
    let Some(report) = line.value(Id::Report).map(|target| Report::open(target, false)) else { return };
    match report {
        Ok(report) => write_no_start(&report, error),
        Err(other) if other.message() == error.message() => {}
        Err(other) => {
            error.report();
            other.report_as_well();
        }
    }
}

/// Says why there will be no instance, and writes it into the report. A reader may take long, and signals must be able
/// to end the wait.
fn write_no_start(report: &Report, error: &Error) {
    error.report();
    let _ = sys::block_only(BY_WRITING);
    if let Err(other) = report.put(of_none(error)) {
        other.report_as_well();
    }
}

/// The report of an instance that was not made.
pub fn of_none(error: &Error) -> Bytes {
    let end = End::Exit(error.exit_status());
    let outcome = Outcome { end, cause: Cause::Command, started: false, usage: Usage::default() };
    let text = report::json(&outcome, Duration::default(), Some(error.message()));
    if error.exit_status() == TIMED_OUT { ended_by(text, "timeout", "TO") } else { text }
}

/// A pipe from the second program, which was started in place of the command, to the attendant. It gets the message of
/// an error. If it stays empty, the second program has become the command.
#[derive(Clone, Copy)]
pub struct Unstarted<'a>(&'a OwnedFd);

impl Unstarted<'_> {
    /// Keeps the pipe open in the instance. Returns the argument that tells the second program its number: `-` if there
    /// is no attendant.
    pub fn word(this: Option<Self>, plain: &mut Line<'_>) -> Result<Bytes> {
        let Some(Unstarted(write)) = this else { return Ok(b"-") };
        let number = decimal(sys::duplicate_for_exec(number_of(write)).or_fail(FAILED)?);
        plain.options.extend(Said::new(Id::KeepFd, [number, b""]));
        Ok(number)
    }

    /// In the second program: takes the pipe by its number, and closes it at that number. The command does not get it.
    pub fn take(word: &[u8]) -> Result<Option<OwnedFd>> {
        let Some(number) = small(word) else { return Ok(None) };
        let taken = sys::duplicate(number).or_fail(FAILED)?;
        sys::close_range(number, number).or_fail(FAILED)?;
        Ok(Some(taken))
    }

    /// In the second program: writes the message to the pipe, or prints it if there is none, and exits.
    pub fn end(fd: Option<&OwnedFd>, error: &Error) -> ! {
        // Without a reader, as after the attendant was killed, the write must fail and not raise SIGPIPE.
        let _ = sys::block_only(BY_WRITING);
        let left = fd.map(|fd| files::write(fd.as_fd(), error.message()));
        sys::exit(if left == Some(Ok(())) { error.exit_status() } else { error.report() })
    }
}

/// The operation in messages.
const FAILED: &str = "watch the limits of the instance";

/// Whether a standard descriptor can be written. If the caller has closed a descriptor, it is a placeholder here. Then
/// the command gets the error of its own write, as without a limit.
fn is_written(standard: i32) -> bool {
    let fd = sys::standard(standard);
    let is_open_for_it =
        |flags: OFlags| !(flags & OFlags::RWMODE).is_empty() && !flags.contains(OFlags::PATH);
    is_placeholder(fd) == Ok(false) && rustix::fs::fcntl_getfl(fd).is_ok_and(is_open_for_it)
}

/// Standard output or standard error of the command.
struct Stream {
    /// The end of the pipe that the attendant reads.
    from: Option<OwnedFd>,
    /// The end that the command writes to.
    to: Option<OwnedFd>,
    /// The standard descriptor to which the output goes.
    standard: i32,
    /// Output that was read. The first `gone` bytes have been passed on.
    held: Vec<u8>,
    gone: usize,
    /// Why output could not be passed on to a reader that is still there.
    lost: Option<Errno>,
}

/// How long to wait before looking again for a command that must be killed and has not started yet.
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// How many times the command is looked for, to kill it.
const TRIES: u32 = 200;

/// How long output of a command is passed on after its timeout.
const PATIENCE: Duration = Duration { seconds: 5, nanoseconds: 0 };

/// How much is read at a time: the size of a pipe.
const ROOM: usize = 64 << 10;

/// The longest message about a command that was not started. An argument has at most 128 KiB, and escaping makes it
/// four times as long. execve(2)
const LONGEST: usize = 1 << 20;

impl Stream {
    fn of(standard: i32) -> Self {
        Stream { from: None, to: None, standard, held: Vec::new(), gone: 0, lost: None }
    }

    fn is_held(&self) -> bool {
        self.gone < self.held.len()
    }

    fn is_over(&self) -> bool {
        self.from.is_none() && !self.is_held()
    }

    /// Passes on a part of the held output, as much as the reader has room for. Poll may say that there is room, and
    /// the write waits all the same: a terminal has room for less than one line, or somebody else writes to the same
    /// pipe. The caller uses the same open file, so `O_NONBLOCK` would be the caller's as well. Opening it again needs
    /// rights that the caller may lack, and can make another terminal. So the write is interrupted after a moment.
    fn write(&mut self) {
        let part = &self.held[self.gone..self.held.len().min(self.gone + PIPE_BUF)];
        match sys::interrupted(|| rustix::io::write(sys::standard(self.standard), part)) {
            Ok(count) => self.gone += count,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => {
                // The reader is gone, or the write failed. The pipe is closed, so the next write of the command fails.
                (self.from, self.gone) = (None, self.held.len());
                self.lost = self.lost.or((errno != Errno::PIPE).then_some(errno));
            }
        }
    }

    /// Makes sure that this process is no reader of the output. Without another reader nobody can read it any more. If
    /// the caller may not open it again, somebody may still come.
    fn give_up_reading(&mut self) {
        let fd = sys::standard(self.standard);
        match open_to_write_only(fd) {
            Ok(Some(opened)) => drop(sys::redirect(number_of(&opened), number_of(&fd))),
            Err(Errno::NXIO) => self.gone = self.held.len(),
            _ => {}
        }
    }

    /// Reads at most `most` bytes, and adds them to the held output. Returns how many.
    fn read(&mut self, most: usize) -> usize {
        let Some(from) = &self.from else { return 0 };
        if !self.is_held() {
            self.held.clear();
            self.gone = 0;
        }
        // The buffer is allocated once: a growing vector would leave its old buffers behind.
        self.held.reserve_exact(most);
        match rustix::io::read(from, rustix::buffer::spare_capacity(&mut self.held)) {
            Ok(0) => self.from = None,
            Ok(count) => return count,
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.from = None,
        }
        0
    }

    /// How much can be read without waiting.
    fn available(&self) -> u64 {
        self.from.as_ref().map_or(0, available)
    }
}

fn available(from: &OwnedFd) -> u64 {
    rustix::io::ioctl_fionread(from).unwrap_or(0)
}

/// The attendant, a process beside an instance.
pub struct Attendant {
    /// selfdock's own file, by which root recognizes processes of selfdock.
    program: Option<files::Identity>,
    supervisor: Pid,
    /// The PID of the attendant itself, once it is started.
    started_as: Option<Pid>,
    /// A pidfd of the supervisor.
    supervisor_pidfd: OwnedFd,
    from_report: OwnedFd,
    to_report: OwnedFd,
    /// The end of the pipe of [`Unstarted`] that the attendant reads, until all is read.
    from_unstarted: Option<OwnedFd>,
    /// The end that the second program writes to.
    to_unstarted: Option<OwnedFd>,
    /// The part of the message that has been read.
    why: Vec<u8>,
    report: Option<Report>,
    streams: [Stream; 2],
    limits: Limits,
    /// A descriptor that is never ready.
    nothing: OwnedFd,
    /// Whether the report has come, or will not come.
    is_reported: bool,
    /// How many bytes were printed.
    printed: u64,
    /// How many more bytes are allowed.
    left: u64,
    /// Whether the command has printed too much.
    exceeded: bool,
    /// How many more times the command is looked for, to kill it.
    tries: u32,
    group: Option<Group>,
    started: Instant,
    /// The time of `--timeout`.
    timeout: Option<Duration>,
}

impl Attendant {
    /// The attendant's main loop. Returns its exit status: an answer to the supervisor.
    fn attend(&mut self) -> u8 {
        if let Err(error) = self.settle() {
            return error.report();
        }
        let mut text = Vec::new();
        let is_there = loop {
            let is_to_be_killed = self.exceeded && self.tries > 0;
            let [report, has_ended] = self.turn(is_to_be_killed.then_some(&MOMENT));
            if is_to_be_killed && !report && !has_ended {
                self.kill_command();
            }
            if report {
                text.reserve(ROOM);
                let read = rustix::io::read(&self.from_report, rustix::buffer::spare_capacity(&mut text));
                if text.ends_with(b"\n") {
                    break true;
                }
                if read == Ok(0) {
                    break false;
                }
            } else if has_ended {
                break false;
            }
        };
        self.is_reported = true;
        self.take_all();
        // No writer is alive. The supervisor can have the pipe open, but waits for this process.
        while self.from_unstarted.as_ref().is_some_and(|from| available(from) > 0) {
            self.learn_why();
        }
        let why = self.why.clone();
        self.speak(&why);
        while !self.is_over() && self.has_progressed() {}
        if let Some(error) = self.loss() {
            self.speak(error.message());
            while !self.is_over() && self.has_progressed() {}
        }
        let answer = self.write_report(is_there.then_some(text.leak()));
        // A reader of the report must see its end now, and not after the output.
        self.report = None;
        let _ = self.pass_on();
        answer
    }

    /// Reads what is left in the pipes, when all processes of the instance have ended. This output counts, even if
    /// nobody reads it. The end of a pipe may never come, since the command can have sent it to another program.
    fn take_all(&mut self) {
        for at in [0, 1] {
            // Output beyond the limit need not be held.
            let most = self.streams[at].available().min(self.left.saturating_add(1));
            if let Some(most) = usize::try_from(most).ok().filter(|most| *most > 0) {
                let count = self.streams[at].read(most);
                self.count(at, count);
            }
            self.streams[at].from = None;
        }
    }

    /// Adds a message of selfdock's to the output. It is no output of the command and does not count. Standard error
    /// can be full, so nobody waits until it is written.
    fn speak(&mut self, message: &[u8]) {
        if message.is_empty() || !is_written(2) {
            return;
        }
        let held = &mut self.streams[1].held;
        held.extend_from_slice(join(&[b"selfdock: ", message, b"\n"]));
    }

    /// The error if output of the command could not be written. The command wrote to a pipe, and could not see that.
    fn loss(&self) -> Option<Error> {
        let stream = self.streams.iter().find(|stream| stream.lost.is_some())?;
        let what =
            if stream.standard == 1 { "write the standard output" } else { "write the standard error" };
        stream.lost.map(|errno| Error::of(on(what, b""), errno))
    }

    /// Passes on the rest of the output. The reader may take long, and the supervisor must not wait for that. So
    /// another process does it. In a PID namespace the end of the supervisor could end that process too, and the output
    /// would be lost; there the attendant itself goes on, as long as a timeout allows.
    fn pass_on(&mut self) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        let mut rest = || {
            // A signal may end this process. Output that cannot be written raises none.
            let _ = sys::block_only(BY_WRITING);
            for stream in &mut self.streams {
                stream.give_up_reading();
            }
            while !self.is_over() {
                self.turn(None);
            }
            0
        };
        if is_in_first_pid_namespace() && sys::start_child(0, &mut rest).is_ok() {
            return Ok(());
        }
        let least = sys::now().or_fail("read the clock")?.plus(PATIENCE);
        let until = self.timeout.map(|time| self.started.plus(time).max(least));
        while !self.is_over() {
            let left = until.map(Instant::left).transpose().or_fail("read the clock")?;
            if left == Some(Duration::default()) {
                break;
            }
            self.turn(left.map(Timespec::from).as_ref());
        }
        Ok(())
    }

    /// Whether the supervisor lives. Until somebody has waited for it, no other process gets its PID.
    fn has_supervisor(&self) -> bool {
        has_ended(&self.supervisor_pidfd) == Ok(false)
    }

    /// Gives up capabilities, blocks signals, leaves the session, and closes what the attendant does not need.
    fn settle(&self) -> Result<()> {
        creds::hold_nothing()?;
        sys::block_only(sys::ALL_SIGNALS).or_fail(FAILED)?;
        rustix::process::setsid().or_fail(FAILED)?;
        rustix::thread::set_name(c"attendant").or_fail(FAILED)?;
        for standard in 0..3 {
            let speaks = standard == 2 && self.from_unstarted.is_some();
            if standard == 0 || (self.limits.output.is_none() && !speaks) {
                sys::redirect(number_of(&self.nothing), standard).or_fail(FAILED)?;
            }
        }
        let own = [&self.nothing, &self.supervisor_pidfd, &self.from_report];
        let mut kept: Vec<u32> = own.into_iter().map(number_of).collect();
        kept.extend(self.streams.iter().filter_map(|stream| stream.from.as_ref()).map(number_of));
        kept.extend(self.from_unstarted.as_ref().map(number_of));
        kept.extend(self.report.iter().flat_map(Report::descriptors));
        kept.extend(self.group.iter().flat_map(Group::descriptors));
        close_descriptors(&kept)
    }

    fn is_over(&self) -> bool {
        self.streams.iter().all(Stream::is_over)
    }

    /// Reads and writes as much as possible without waiting. Returns whether that was anything.
    fn has_progressed(&mut self) -> bool {
        let before = self.streams.each_ref().map(|stream| (stream.from.is_some(), stream.gone));
        self.turn(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        before != self.streams.each_ref().map(|stream| (stream.from.is_some(), stream.gone))
    }

    /// Waits until something can be read or written, and does it. Returns whether the report can be read, and whether
    /// the supervisor has ended.
    fn turn(&mut self, limit: Option<&Timespec>) -> [bool; 2] {
        let standard = [1, 2].map(sys::standard);
        let wanted = |at: usize| {
            let stream = &self.streams[at];
            match &stream.from {
                _ if stream.is_held() => PollFd::from_borrowed_fd(standard[at], PollFlags::OUT),
                Some(from) => PollFd::new(from, PollFlags::IN),
                None => PollFd::new(&self.nothing, PollFlags::IN),
            }
        };
        let of_end = |fd| PollFd::new(if self.is_reported { &self.nothing } else { fd }, PollFlags::IN);
        let why = PollFd::new(self.from_unstarted.as_ref().unwrap_or(&self.nothing), PollFlags::IN);
        let mut all = [wanted(0), wanted(1), of_end(&self.from_report), of_end(&self.supervisor_pidfd), why];
        if poll(&mut all, limit).is_err() {
            return [false; 2];
        }
        let ready = all.map(|entry| !entry.revents().is_empty());
        for at in [0, 1] {
            if ready[at] && self.streams[at].is_held() {
                self.streams[at].write();
            } else if ready[at] {
                let count = self.streams[at].read(ROOM);
                self.count(at, count);
            }
        }
        if ready[4] {
            self.learn_why();
        }
        [ready[2], ready[3]]
    }

    /// Reads a part of the message about a command that was not started. The second program waits until the pipe has
    /// room for the rest.
    fn learn_why(&mut self) {
        let Some(from) = &self.from_unstarted else { return };
        self.why.reserve(ROOM);
        match rustix::io::read(from, rustix::buffer::spare_capacity(&mut self.why)) {
            Ok(1..) if self.why.len() < LONGEST => {}
            Err(Errno::INTR) => {}
            _ => self.from_unstarted = None,
        }
    }

    /// Counts the bytes that were read. Beyond the limit nothing is passed on, and the command is killed.
    fn count(&mut self, at: usize, count: usize) {
        let more = count as u64;
        self.printed = self.printed.saturating_add(more);
        if more > self.left {
            let beyond = usize::try_from(more - self.left).unwrap_or(usize::MAX);
            let held = &mut self.streams[at].held;
            held.truncate(held.len().saturating_sub(beyond));
            // The command is killed first: closing its pipes could end it in another way.
            self.exceeded = true;
            self.kill_command();
            for stream in &mut self.streams {
                stream.from = None;
            }
        }
        self.left = self.left.saturating_sub(more);
    }

    /// Kills the command by a pidfd, since another process could have its PID by now. After the pidfd is open, `/proc`
    /// must still name the same command, and the supervisor must still live. If there is no command, it has ended, and
    /// the report comes; or it has not started yet, and is killed at the next try.
    fn kill_command(&mut self) {
        if self.is_reported {
            return;
        }
        let command = || Some(Instance::of(Process::read(self.supervisor)?, self.program)?.command.pid);
        let pidfd = command().and_then(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)));
        let killed = match pidfd {
            Some((pid, pidfd)) if command() == Some(pid) && self.has_supervisor() => {
                pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
            }
            _ => false,
        };
        self.tries = if killed { 0 } else { self.tries.saturating_sub(1) };
        if !killed && self.tries == 0 {
            // /proc does not name the command. So the supervisor is killed, and with it the whole instance.
            let _ = pidfd_send_signal(&self.supervisor_pidfd, Signal::KILL);
        }
    }

    /// Makes a report if the supervisor has left none. If the command has run, the supervisor was killed. Otherwise the
    /// supervisor most likely failed before it had read the option.
    fn report_of_none(&self, has_run: bool) -> Bytes {
        let end = End::Signal(KILL);
        let outcome = Outcome { end, cause: Cause::Signal, started: has_run, usage: Usage::default() };
        let wall = sys::now().unwrap_or_default().since(self.started);
        let why = &b"selfdock ended without a report"[..];
        let text = report::json(&outcome, wall, (!has_run).then_some(why));
        if has_run { text } else { put(put(text, "signal", b"null"), "ended_by", b"null") }
    }

    /// Writes the report to the caller's file. Returns the exit status of the attendant, which tells the result to the
    /// supervisor.
    fn write_report(&mut self, text: Option<Bytes>) -> u8 {
        let supervisor = Some(self.supervisor).filter(|_| self.has_supervisor());
        let used = self.group.take().map(|group| group.end(supervisor));
        let out_of_memory = used.as_ref().is_some_and(|used| used.out_of_memory > 0);
        let has_run = self.printed > 0 || out_of_memory;
        let mut text = text.unwrap_or_else(|| self.report_of_none(has_run));
        if !self.why.is_empty() {
            let why = join(&[b"\"", report::escaped(&self.why), b"\""]);
            text = put(put(text, "started", b"false"), "error", why);
            text = put(text, "status", b"\"XX\"");
        }
        if self.exceeded {
            text = ended_by(text, "output", "OL");
        } else if out_of_memory
            && !has_field(text, "status", "\"OK\"")
            && !has_field(text, "status", "\"TO\"")
        {
            let by = if has_field(text, "signal", "9") { "memory" } else { "command" };
            text = ended_by(text, by, "MO");
        }
        let loss = self.loss().filter(|_| !self.exceeded);
        if let Some(error) = &loss {
            let why = join(&[b"\"", report::escaped(error.message()), b"\""]);
            text = put(put(text, "error", why), "status", b"\"XX\"");
            text = put(put(text, "exit", decimal(EXIT_FAILED)), "signal", b"null");
        }
        if self.limits.output.is_some() {
            text = with(text, "output_bytes", decimal(self.printed));
        }
        for (name, value) in used.iter().flat_map(|used| &used.figures) {
            text = with(text, name, value);
        }
        match self.report.as_mut().map_or(Ok(()), |report| put_unless_ended(report, text)) {
            written if loss.is_some() => {
                if let Err(error) = written {
                    self.speak(error.message());
                }
                u8::try_from(LOST).unwrap_or(u8::MAX)
            }
            Err(error) => {
                let errno = error.errno().unwrap_or(Errno::IO).raw_os_error();
                u8::try_from(errno).unwrap_or(u8::MAX - 1)
            }
            Ok(()) if self.exceeded => u8::try_from(KILLED).unwrap_or(u8::MAX),
            Ok(()) => 0,
        }
    }
}

/// Writes all of `text`. Once it has to wait, one of the signals `ending`, which are blocked, ends that: EINTR. A
/// terminal can let a writer wait although poll says that it has room.
pub fn write_unless_ended(fd: BorrowedFd<'_>, text: &[u8], ending: SignalSet) -> rustix::io::Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        match sys::interrupted(|| rustix::io::write(fd, rest)) {
            Ok(count) if count == rest.len() => break,
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [], Some(&MOMENT));
            }
            Err(errno) => return Err(errno),
        }
        if sys::pending()? & ending != 0 {
            return Err(Errno::INTR);
        }
    }
    Ok(())
}

/// Writes a report. Where nobody reads it, a signal ends that, and so does the end of the last reader.
fn put_unless_ended(report: &mut Report, text: &[u8]) -> Result<()> {
    let Report::Open(fd, None) = report else { return report.put(text).map(drop) };
    match open_to_write_only(fd.as_fd()) {
        Ok(Some(opened)) => *fd = opened,
        Err(Errno::NXIO) => return Err(Error::of("write the report", Errno::PIPE)),
        _ => {}
    }
    write_unless_ended(fd.as_fd(), text, ENDING).or_fail("write the report")
}

/// Opens a FIFO for writing only, which the caller has opened for both (`1<>FIFO`). Otherwise this process would be the
/// reader that it waits for. fifo(7)
fn open_to_write_only(fd: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    let is_fifo = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Fifo;
    let is_for_both = is_fifo && rustix::fs::fcntl_getfl(fd)? & OFlags::RWMODE == OFlags::RDWR;
    let open = || files::open(CWD, files::name_of(&fd), OFlags::WRONLY | OFlags::NONBLOCK);
    is_for_both.then(open).transpose()
}

/// Whether this process is in the first PID namespace. The kernel gives that one a fixed inode number.
/// `PROC_PID_INIT_INO`
fn is_in_first_pid_namespace() -> bool {
    const FIRST: u64 = 0xEFFF_FFFC;
    rustix::fs::stat(c"/proc/self/ns/pid").is_ok_and(|stat| stat.st_ino == FIRST)
}

/// The position of a field's value in a report. In a string every quote is escaped, so no string contains the key.
fn place(text: &[u8], name: &str) -> Option<core::ops::Range<usize>> {
    let key = join(&[b",\"", name.as_bytes(), b"\":"]);
    let start = text.windows(key.len()).position(|part| part == key)? + key.len();
    let end = text[start..].iter().position(|byte| matches!(byte, b',' | b'}'))?;
    Some(start..start + end)
}

fn has_field(text: &[u8], name: &str, value: &str) -> bool {
    place(text, name).is_some_and(|place| &text[place] == value.as_bytes())
}

/// Replaces the value of a field.
fn put(text: Bytes, name: &str, value: &[u8]) -> Bytes {
    let Some(place) = place(text, name) else { return text };
    join(&[&text[..place.start], value, &text[place.end..]])
}

/// Adds a field.
fn with(text: Bytes, name: &str, value: &[u8]) -> Bytes {
    let open = text.strip_suffix(b"}\n").unwrap_or(text);
    join(&[open, b",\"", name.as_bytes(), b"\":", value, b"}\n"])
}

/// Writes into a report that a limit of the whole instance has ended the command.
fn ended_by(text: Bytes, by: &str, status: &str) -> Bytes {
    let quoted = |word: &str| join(&[b"\"", word.as_bytes(), b"\""]);
    let text = if by == "output" { put(put(text, "exit", b"null"), "signal", b"9") } else { text };
    put(put(text, "ended_by", quoted(by)), "status", quoted(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_changed_and_added_to() {
        let text = b"{\"version\":1,\"error\":\"a,\\\"exit\\\":\",\"exit\":0,\"signal\":null,\
                     \"ended_by\":\"command\",\"status\":\"OK\"}\n";
        assert!(
            has_field(text, "status", "\"OK\"")
                && !has_field(text, "status", "\"RE\"")
                && !has_field(text, "no", "0")
        );
        let changed = with(ended_by(text, "output", "OL"), "output_bytes", b"7");
        let expected = b"{\"version\":1,\"error\":\"a,\\\"exit\\\":\",\"exit\":null,\"signal\":9,\
                         \"ended_by\":\"output\",\"status\":\"OL\",\"output_bytes\":7}\n";
        assert_eq!(changed, expected);
        let killed = ended_by(text, "command", "MO");
        assert!(has_field(killed, "exit", "0") && has_field(killed, "status", "\"MO\""));
    }
}
