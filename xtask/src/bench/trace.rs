//! Counts system calls, process by process. ptrace(2).

use super::job::Job;
use super::names::name;
use super::site::Site;
use crate::run::{Context, Result, line};
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

/// The number of each call of one process.
pub type Calls = BTreeMap<String, usize>;

/// A process that is traced.
struct Traced {
    pid: Pid,
    /// Whether it is in a system call: then the next stop is its end.
    inside: bool,
    ended: bool,
    calls: Calls,
}

/// Runs a job once, and returns the calls of each of its processes, in the order of their births.
///
/// Everything runs on one CPU, where each process gets its turn. On two CPUs, one process could end before another
/// one, which waits for a busy CPU, makes its first call.
pub fn calls(site: &Site, job: &Job, root: &Path) -> Result<Vec<Calls>> {
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this).context("find the CPUs")?;
    let mut one = CpuSet::new();
    let first = (0..CpuSet::count()).find(|cpu| before.is_set(*cpu) == Ok(true)).unwrap_or(0);
    one.set(first).and_then(|()| sched_setaffinity(this, &one)).context("stay on one CPU")?;
    let calls = trace(site, job, root);
    sched_setaffinity(this, &before).context("leave the one CPU")?;
    calls
}

fn trace(site: &Site, job: &Job, root: &Path) -> Result<Vec<Calls>> {
    let mut command = site.pace();
    command.arg("stop").arg(root).args(site.ids(job)).args(&job.argv);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The thread that starts it must trace it.
    let child = command.spawn().context(line(&command))?;
    let first = Pid::from_raw(child.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    waitpid(first, None).context("wait for pace")?;
    ptrace::setoptions(first, options).context("trace pace")?;
    ptrace::syscall(first, None).context("trace pace")?;
    let mut all = vec![Traced::new(first)];
    let mut end = None;
    // Until the last process ends, which may be after the first one: nothing is left for the next run.
    while all.iter().any(|traced| !traced.ended) {
        let status = next(&all).context("wait for a traced process")?;
        let Some(pid) = status.pid() else { continue };
        let mut signal = None;
        match status {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {
                find(&mut all, pid).ended = true;
                if pid == first {
                    end = Some(status);
                }
                continue;
            }
            WaitStatus::PtraceSyscall(_) => find(&mut all, pid).step(),
            // Earlier calls are those of pace.
            WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC) if pid == first => {
                find(&mut all, pid).calls.clear();
            }
            // The birth of a process, in order. An error means that the parent was killed.
            WaitStatus::PtraceEvent(_, _, event) if event != libc::PTRACE_EVENT_EXEC => {
                if let Ok(child) = ptrace::getevent(pid) {
                    find(&mut all, Pid::from_raw(child as i32));
                }
            }
            // The first stop of a new process. It may come before the stop of its parent.
            WaitStatus::Stopped(_, Signal::SIGSTOP) => {
                find(&mut all, pid);
            }
            WaitStatus::Stopped(_, other) => signal = Some(other),
            _ => {}
        }
        // It may have been killed meanwhile.
        let _ = ptrace::syscall(pid, signal);
    }
    if end == Some(WaitStatus::Exited(first, 0)) {
        Ok(all.into_iter().map(|traced| traced.calls).collect())
    } else {
        Err(format!("{}: it ended with {end:?}", job.who))
    }
}

/// The next event, of the oldest process first, so that the order is nearly always the same. The kernel would return
/// the youngest first.
fn next(all: &[Traced]) -> nix::Result<WaitStatus> {
    let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    for traced in all.iter().filter(|traced| !traced.ended) {
        match waitpid(traced.pid, Some(flags | WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => {}
            status => return Ok(status),
        }
    }
    waitpid(None, Some(flags))
}

fn find(all: &mut Vec<Traced>, pid: Pid) -> &mut Traced {
    let at = all.iter().position(|traced| traced.pid == pid).unwrap_or(all.len());
    if at == all.len() {
        all.push(Traced::new(pid));
    }
    &mut all[at]
}

impl Traced {
    fn new(pid: Pid) -> Self {
        Self { pid, inside: false, ended: false, calls: Calls::new() }
    }

    /// Handles a stop at the beginning or the end of a system call. An error means that the process was killed.
    fn step(&mut self) {
        self.inside = !self.inside;
        if let Some(registers) = ptrace::getregs(self.pid).ok().filter(|_| self.inside) {
            *self.calls.entry(name(registers.orig_rax.cast_signed())).or_insert(0) += 1;
        }
    }
}
