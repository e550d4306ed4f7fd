//! Runs a command line under ptrace(2), and makes one system call of one of its processes fail, lie, wait, or be the
//! last one.

use crate::host::{children, kill_descendants};
use crate::names::name;
use crate::{Context, Result, Who, start_as};
use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{Display, Formatter};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A system call of a run: its process, its name, and its number among the calls of that name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Point {
    /// The process, in the order of starts: 0 is the supervisor, 1 the keeper, 2 the command. `None` means all of them.
    pub process: Option<usize>,
    /// How many times the process has executed another program of selfdock.
    pub execs: usize,
    pub call: String,
    pub nth: usize,
}

impl Display for Point {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let process = self.process.map_or("all".to_owned(), |process| process.to_string());
        write!(f, "{process}.{}:{}:{}", self.execs, self.call, self.nth)
    }
}

impl Point {
    /// Reads what is printed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(':');
        let (process, execs) = words.next()?.split_once('.')?;
        let (call, nth) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        let process = if process == "all" { None } else { Some(process.parse().ok()?) };
        Some(Self { process, execs: execs.parse().ok()?, call, nth })
    }
}

/// What happens to the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// The call is skipped, and fails with this errno.
    Fails(Errno),
    /// The call is skipped, and returns 0.
    Lies,
    /// The process gets a signal before the call.
    Gets(Signal),
    /// The process waits until all others wait for it or have ended.
    Waits,
}

impl How {
    /// Reads what is printed.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "false-success" => Some(How::Lies),
            "wait" => Some(How::Waits),
            _ => match text.parse() {
                Ok(signal) => Some(How::Gets(signal)),
                Err(_) => (1..134).map(Errno::from_raw).find(|e| format!("{e:?}") == text).map(How::Fails),
            },
        }
    }
}

impl Display for How {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            How::Fails(errno) => write!(f, "{errno:?}"),
            How::Lies => write!(f, "false-success"),
            How::Gets(signal) => write!(f, "{signal}"),
            How::Waits => write!(f, "wait"),
        }
    }
}

/// A run to make.
pub struct Run<'a> {
    pub who: Who,
    pub words: &'a [OsString],
    /// These calls fail as on a kernel that lacks them.
    pub unknown: &'a [i64],
    pub env: &'a [(&'a str, OsString)],
    pub stdin: &'a str,
    /// The programs to trace. A process that executes another program is released.
    pub ours: &'a [PathBuf],
    /// A child of this process that does not belong to the run.
    pub bystander: Option<i32>,
}

/// The result of a run.
pub struct Ran {
    pub status: WaitStatus,
    pub stdout: String,
    pub stderr: String,
    /// The number of calls, by process, by the number of its programs so far, and by name.
    pub calls: BTreeMap<(usize, usize, String), usize>,
    /// The run did not end, or left processes.
    pub hung: Option<String>,
}

/// A traced process.
#[derive(Default)]
struct Traced {
    number: usize,
    execs: usize,
    counts: BTreeMap<(i64, u64), usize>,
    /// The result of a skipped call.
    result: Option<i64>,
}

/// How long a run may take, and how long its processes may live after its end.
const AT_MOST: Duration = Duration::from_secs(20);
const AFTERWARDS: Duration = Duration::from_secs(5);
/// After this time all other processes count as waiting.
const QUIET: Duration = Duration::from_millis(8);
const FIRST_PROGRAM: usize = 0;

struct Tracer<'a> {
    run: &'a Run<'a>,
    inject: Option<(&'a Point, How)>,
    first: Pid,
    end: Option<WaitStatus>,
    traced: BTreeMap<Pid, Traced>,
    born: usize,
    held: Option<(Pid, Instant)>,
    calls: BTreeMap<(usize, usize, String), usize>,
}

/// Runs a command line, with or without an injection.
pub fn run(run: &Run<'_>, inject: Option<(&Point, How)>) -> Result<Ran> {
    let mut command = start_as("traced", run.who, run.words)?;
    command.envs(run.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Only the thread that starts a process can trace it.
    let mut child = command.spawn().context("start a traced process")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read to the end closes the pipe. That is no fault.
        let _ = std::io::Write::write_all(&mut stdin, run.stdin.as_bytes());
    }
    let first = Pid::from_raw(child.id().cast_signed());
    waitpid(first, None).context("wait for a traced process")?;
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(first, options).context("trace a process")?;
    ptrace::cont(first, None).context("trace a process")?;
    let mut tracer = Tracer {
        run,
        inject,
        first,
        end: None,
        traced: BTreeMap::from([(first, Traced::default())]),
        born: 1,
        held: None,
        calls: BTreeMap::new(),
    };
    let watchdog = Watchdog::start(run.bystander);
    tracer.trace(&watchdog)?;
    let hung = watchdog.stop();
    let text = |pipe: Option<&mut dyn Read>| {
        let mut bytes = Vec::new();
        pipe.map_or(Ok(0), |pipe| pipe.read_to_end(&mut bytes)).context("read a pipe")?;
        Ok::<_, String>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let Child { stdout, stderr, .. } = &mut child;
    let stdout = text(stdout.as_mut().map(|pipe| pipe as &mut dyn Read))?;
    let stderr = text(stderr.as_mut().map(|pipe| pipe as &mut dyn Read))?;
    let status = tracer.end.ok_or("it has no end")?;
    Ok(Ran { status, stdout, stderr, calls: tracer.calls, hung })
}

impl Tracer<'_> {
    /// Traces until the last process has ended.
    fn trace(&mut self, watchdog: &Watchdog) -> Result {
        loop {
            if self.end.is_some() && self.traced.is_empty() && self.others().is_empty() {
                return Ok(());
            }
            // The end of a process can be reported before its start. Then nothing more is reported.
            let wait = self.held.is_none() && self.end.is_none();
            let flags = WaitPidFlag::__WALL | if wait { WaitPidFlag::empty() } else { WaitPidFlag::WNOHANG };
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::StillAlive) => self.nothing_new(),
                Ok(status) => {
                    if let Some((_, since)) = &mut self.held {
                        *since = Instant::now();
                    }
                    self.take(status, watchdog);
                }
                Err(Errno::EINTR) => {}
                // The processes that still live were released, and are not children of this process yet.
                Err(Errno::ECHILD) => self.nothing_new(),
                Err(errno) => return Err(format!("wait for traced processes: {errno}")),
            }
        }
    }

    /// The children of this process that belong to the run.
    fn others(&self) -> Vec<i32> {
        children().into_iter().filter(|pid| Some(*pid) != self.run.bystander).collect()
    }

    fn nothing_new(&mut self) {
        self.traced.retain(|pid, _| fs::exists(format!("/proc/{pid}")).unwrap_or(true));
        match self.held {
            Some((pid, since)) if since.elapsed() > QUIET => {
                self.held = None;
                go_on(pid, None);
            }
            _ => std::thread::sleep(Duration::from_micros(200)),
        }
    }

    fn take(&mut self, status: WaitStatus, watchdog: &Watchdog) {
        let Some(pid) = status.pid() else { return };
        match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                self.traced.remove(&pid);
                self.held = self.held.filter(|(held, _)| *held != pid);
                if pid == self.first {
                    self.end = Some(status);
                    watchdog.ends_within(AFTERWARDS);
                }
            }
            WaitStatus::PtraceSyscall(_) => self.step(pid),
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) => self.became(pid),
            // A new process. An error means that the parent was killed.
            WaitStatus::PtraceEvent(..) => {
                if let Ok(child) = ptrace::getevent(pid) {
                    self.meet(Pid::from_raw(child as i32));
                }
                go_on(pid, None);
            }
            // The first stop of a new process. It may come before the report of its parent.
            WaitStatus::Stopped(_, Signal::SIGSTOP) => {
                self.meet(pid);
                go_on(pid, None);
            }
            WaitStatus::Stopped(_, signal) => go_on(pid, Some(signal)),
            _ => {}
        }
    }

    fn meet(&mut self, pid: Pid) {
        let number = self.born;
        if let std::collections::btree_map::Entry::Vacant(place) = self.traced.entry(pid) {
            place.insert(Traced { number, ..Traced::default() });
            self.born += 1;
        }
    }

    /// The process has executed another program. It is released if that is not selfdock's.
    fn became(&mut self, pid: Pid) {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        // In a nested instance the same path can be another file.
        let is_ours =
            self.run.ours.iter().any(|ours| program.ends_with(ours.strip_prefix("/").unwrap_or(ours)));
        if !is_ours {
            self.traced.remove(&pid);
            let _ = ptrace::detach(pid, None);
            return;
        }
        let begins = pid == self.first && self.born == 1 && self.calls.is_empty();
        if let Some(traced) = self.traced.get_mut(&pid) {
            traced.execs = if begins { FIRST_PROGRAM } else { traced.execs + 1 };
            traced.counts.clear();
            traced.result = None;
        }
        go_on(pid, None);
    }

    /// Handles a stop at the start or the end of a system call. An error means that the process was killed.
    fn step(&mut self, pid: Pid) {
        let info = ptrace::syscall_info(pid).map(|info| info.op);
        let (Ok(op), Ok(mut registers)) = (info, ptrace::getregs(pid)) else { return go_on(pid, None) };
        let Some(traced) = self.traced.get_mut(&pid) else { return go_on(pid, None) };
        if op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            if let Some(result) = traced.result.take() {
                registers.rax = result.cast_unsigned();
                let _ = ptrace::setregs(pid, registers);
            }
            return go_on(pid, None);
        }
        let number = registers.orig_rax.cast_signed();
        let kind = if number == libc::SYS_prctl { (number, registers.rdi) } else { (number, 0) };
        let nth = traced.counts.entry(kind).or_insert(0);
        *nth += 1;
        let (process, execs, nth) = (traced.number, traced.execs, *nth);
        let call = named(number, registers.rdi);
        let is_it = |point: &Point| {
            let is_process = point.process.is_none_or(|wanted| wanted == process);
            point.nth == nth && is_process && point.execs == execs && point.call == call
        };
        let how = self.inject.filter(|(point, _)| is_it(point)).map(|(_, how)| how);
        *self.calls.entry((process, execs, call)).or_insert(0) += 1;
        let unknown = self.run.unknown.contains(&number).then_some(How::Fails(Errno::ENOSYS));
        match how.or(unknown) {
            Some(How::Waits) => self.held = Some((pid, Instant::now())),
            Some(How::Gets(signal)) => {
                let _ = kill(pid, signal);
                go_on(pid, None);
            }
            Some(How::Fails(errno)) => self.leave_out(pid, registers, -i64::from(errno as i32)),
            Some(How::Lies) => self.leave_out(pid, registers, 0),
            None => go_on(pid, None),
        }
    }

    fn leave_out(&mut self, pid: Pid, mut registers: libc::user_regs_struct, result: i64) {
        registers.orig_rax = u64::MAX;
        if ptrace::setregs(pid, registers).is_ok()
            && let Some(traced) = self.traced.get_mut(&pid)
        {
            traced.result = Some(result);
        }
        go_on(pid, None);
    }
}

/// The name of a call, with the operation for prctl(2).
fn named(number: i64, first: u64) -> String {
    if number == libc::SYS_prctl { format!("prctl-{first}") } else { name(number).replace(' ', "-") }
}

/// Ignores the error if the process was killed meanwhile.
fn go_on(pid: Pid, signal: Option<Signal>) {
    let _ = ptrace::syscall(pid, signal);
}

/// Ends a run that takes too long.
struct Watchdog {
    state: Arc<Mutex<State>>,
}

struct State {
    deadline: Option<Instant>,
    found: Option<String>,
}

impl Watchdog {
    fn start(bystander: Option<i32>) -> Self {
        let state = State { deadline: Some(Instant::now() + AT_MOST), found: None };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(20));
                let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                match state.deadline {
                    None => return,
                    Some(deadline) if Instant::now() > deadline => {
                        let killed = kill_descendants(bystander);
                        state.found.get_or_insert(killed);
                    }
                    Some(_) => {}
                }
            }
        });
        Self { state }
    }

    fn ends_within(&self, limit: Duration) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).deadline = Some(Instant::now() + limit);
    }

    fn stop(self) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.deadline = None;
        state.found.take()
    }
}
