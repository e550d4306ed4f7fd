//! The parent's side, from the start to the exit status.
#![forbid(unsafe_code)]

use crate::cli::{self, Request};
use crate::command::Command;
use crate::creds::{self, Caller, Need, Privilege, Privileged};
use crate::enter::{self, Join};
use crate::error::{Error, OrEnd, OrFail, Result, on, say};
use crate::mount::Detached;
use crate::report::Report;
use crate::sandbox::{self, Job, Program};
use crate::supervise::{self, Watch};
use crate::sys::{self, Memory, Moment, SignalSet, Start, Tighten, new};
use crate::text::{Bytes, decimal};
use crate::{files, handover, plan, process};
use alloc::vec::Vec;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid};

/// Everything from the first instruction in Rust on.
pub fn main(start: &Start) -> ! {
    supervise::end(go(start))
}

/// SIGHUP, SIGINT and SIGTERM: what people and terminals end a process by.
const ENDING: SignalSet = 1 << 0 | 1 << 1 | 1 << 14;

fn go(start: &Start) -> supervise::End {
    // start
    let mut placeholders = Vec::new();
    fill_standard_descriptors(&mut placeholders).or_end();
    let signals = sys::exchange_mask(sys::ALL_SIGNALS).or_fail("block signals").or_end();
    // shed
    let (caller, privilege) = creds::shed().or_end();
    let first = getpid().is_init();
    if first {
        end_with_the_outer_instance().or_end();
    }
    // parse
    let mut args = Vec::new();
    for arg in start.args() {
        args.push(arg.to_bytes());
    }
    let Some(args) = args.get(1..) else {
        return Err(Error::refused("start", "there is not even a program name")).or_end();
    };
    match cli::parse(args).or_end() {
        cli::Command::Version => {
            say(sys::standard(1), concat!("selfdock ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
            supervise::End::Exit(0)
        }
        cli::Command::Run(request) if !request.explain => {
            let ending = if first { 0 } else { ENDING & !signals };
            run(&request, start, caller, privilege, ending)
        }
        cli::Command::Enter(pid, request) => enter(pid, &request, start, caller, privilege),
        _ => {
            let Err(error) = handover::hand_over(start, privilege, signals);
            sys::exit(error.report())
        }
    }
}

/// PID 1 is the command of an outer instance. Exec of a set-uid program cleared the wish that it
/// end with the outer supervisor, and so do changes of ids: it is renewed as soon as these are
/// done. What follows only reduces privilege, which keeps it. `prctl(2)`, `PR_SET_PDEATHSIG`
fn end_with_the_outer_instance() -> Result<()> {
    let signal = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(signal).or_fail("end with the outer instance")
}

/// Takes up descriptors 0 to 2 where they are closed, so that nothing opened later gets one
/// of these numbers and is then read or written for it. An epoll descriptor is opened
/// without a path, can be neither read nor written, and is closed again at exec: the command
/// finds its descriptors as the caller left them.
pub fn fill_standard_descriptors(placeholders: &mut Vec<OwnedFd>) -> Result<()> {
    for fd in 0..3 {
        if rustix::io::fcntl_getfd(sys::standard(fd)) == Err(Errno::BADF) {
            placeholders.push(placeholder().or_fail("fill a closed standard descriptor")?);
        }
    }
    Ok(())
}

/// A descriptor that is opened without a path and can be neither read nor written.
pub fn placeholder() -> rustix::io::Result<OwnedFd> {
    rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC)
}

fn run(
    request: &Request<'_>,
    start: &Start,
    caller: Caller,
    privilege: Option<Privilege>,
    ending: SignalSet,
) -> supervise::End {
    check_descriptors(&request.keep_fds).or_end();
    let cwd = current_directory();
    let job = Job {
        caller,
        plan: plan::make(request, cwd).or_end(),
        command: Command::new(request, &start.environment(), cwd).or_end(),
        life: Some(own_life().or_end()),
        program: None,
        hostname: request.hostname,
        need: Need { network: request.own_network, ..Need::default() },
        no_nest: request.no_nest,
        keep_fds: request.keep_fds.clone(),
        status: None,
    };
    let privileged = match privilege {
        Some(privilege) if request.unprivileged => {
            privilege.discard().or_end();
            None
        }
        privilege => privilege.map(|privilege| privilege.raise(job.need)).transpose().or_end(),
    };
    launch(job, privileged, &Care::new(request).or_end(), ending)
}

/// What the supervisor does beside waiting.
struct Care {
    timeout: Option<Moment>,
    report: Option<Report>,
    /// A pipe for the reaper's word, if there is to be one: what it reads, what it writes.
    init: Option<(OwnedFd, OwnedFd)>,
}

impl Care {
    fn new(request: &Request<'_>) -> Result<Self> {
        let report = request.report.map(Report::open).transpose()?;
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).or_fail("make a pipe");
        let init = if request.init { Some(pipe()?) } else { None };
        Ok(Care { timeout: request.timeout, report, init })
    }

    /// Waits for a command that was just started.
    fn supervise(&self, command: rustix::process::Pid) -> Result<supervise::End> {
        let started =
            if self.report.is_some() { sys::now().or_fail("read the clock")? } else { Moment::default() };
        let status = self.init.as_ref().map(|(reader, _)| reader.as_fd());
        let outcome = Watch::new(command).for_at_most(self.timeout)?.and_ask(status).wait()?;
        if let Some(report) = &self.report {
            report.write(&outcome, sys::now().or_fail("read the clock")?.minus(started))?;
        }
        Ok(outcome.end)
    }

    /// The descriptors that it needs.
    fn descriptors(&self) -> Vec<u32> {
        let report = self.report.as_ref().map(Report::fd);
        let status = self.init.as_ref().map(|(reader, _)| reader.as_fd());
        report.into_iter().chain(status).map(|fd| fd.as_raw_fd().unsigned_abs()).collect()
    }
}

/// Starts the child in its namespaces, gives up all privilege and waits.
fn launch(
    mut job: Job<'_>,
    privileged: Option<Privileged>,
    care: &Care,
    ending: SignalSet,
) -> supervise::End {
    if !job.no_nest {
        job.program = own_program(privileged.as_ref()).or_end();
    }
    job.status = care
        .init
        .as_ref()
        .map(|(_, writer)| sys::duplicate(writer.as_raw_fd().unsigned_abs()))
        .transpose()
        .or_fail("make a pipe")
        .or_end();
    let unprivileged = privileged.is_none();
    expect_end().or_end();
    // A reaper stays, and with shared memory the supervisor would wait for it here.
    let memory = if job.status.is_some() { Memory::Copied } else { Memory::Shared };
    let for_child = privileged.as_ref().map(Privileged::for_child);
    // This process stands still until the child is the command, which takes long where a source
    // is on a file system that does not answer. It can be ended then, and the child with it.
    sys::block_only(sys::ALL_SIGNALS & !ending).or_fail("unblock signals").or_end();
    let child =
        sys::start_child(namespaces(&job, unprivileged), memory, || sandbox::run(job, for_child).report())
            .or_fail("start the instance")
            .map_err(|e| explain_clone(e, unprivileged))
            .or_end();
    sys::block_only(sys::ALL_SIGNALS).or_fail("block signals").or_end();
    become_supervisor(privileged, care).or_end();
    care.supervise(child).or_end()
}

/// Starts a command in a running instance.
fn enter(
    pid: u32,
    request: &Request<'_>,
    start: &Start,
    caller: Caller,
    privilege: Option<Privilege>,
) -> supervise::End {
    check_descriptors(&request.keep_fds).or_end();
    creds::become_undumpable().or_end();
    let own = own_program(None)
        .and_then(|own| own.ok_or_else(|| Error::refused("find selfdock's own file", "it is gone")))
        .or_end();
    let join = Join {
        target: enter::find_target(pid, caller, own.identity).or_end(),
        command: Command::new(request, &start.environment(), None).or_end(),
        life: own_life().or_end(),
        keep_fds: request.keep_fds.clone(),
    };
    let care = Care::new(request).or_end();
    let need = Need { enter: true, ..Need::default() };
    let privileged = match privilege {
        Some(privilege) if join.target.own_user_namespace => {
            privilege.discard().or_end();
            None
        }
        Some(privilege) => Some(privilege.raise(need).or_end()),
        None if join.target.own_user_namespace => None,
        None => {
            let why = "selfdock has no privilege here, and the instance was made with it";
            return Err(Error::refused("enter", why).hint("see 'selfdock doctor'")).or_end();
        }
    };
    let privileged = join.target.enter_first(caller, privileged).or_end();
    if getpid().is_init() {
        // A move into another user namespace may have undone it.
        end_with_the_outer_instance().or_end();
    }
    expect_end().or_end();
    let for_child = privileged.for_child();
    // The joiner can be reached from inside before it is the command: it has memory of its own.
    let child = sys::start_child(0, Memory::Copied, || enter::run(&join, for_child).report())
        .or_fail("start a process in the instance")
        .map_err(|e| e.hint_if(Errno::NOMEM, "it has ended"))
        .or_end();
    become_supervisor(Some(privileged), &care).or_end();
    care.supervise(child).or_end()
}

/// An ignored SIGCHLD would be inherited, and the exit status lost.
pub fn expect_end() -> Result<()> {
    const SIGCHLD: i32 = 17;
    sys::default_disposition(SIGCHLD).or_fail("expect the end of the command")
}

/// Becomes ready when this process has ended.
fn own_life() -> Result<OwnedFd> {
    rustix::process::pidfd_open(getpid(), PidfdFlags::empty()).or_fail("watch the supervisor")
}

/// Gives up all privilege and every descriptor that is not needed. From here on this process
/// is nothing that its caller could not be, and can be looked at as any other.
fn become_supervisor(privileged: Option<Privileged>, care: &Care) -> Result<()> {
    if let Some(privileged) = privileged {
        privileged.relinquish()?;
    }
    sandbox::close_descriptors(&care.descriptors())?;
    creds::become_dumpable()
}

/// What the errnos of clone(2) mean where namespaces are made.
fn explain_clone(error: Error, unprivileged: bool) -> Error {
    let error = error.hint_if(Errno::AGAIN, "the limit of processes (ulimit -u), or of memory").hint_if(
        Errno::PERM,
        "selfdock is not installed set-uid root, and user namespaces are not for everyone here: see 'selfdock doctor'",
    );
    if unprivileged && user_namespaces_are_off() {
        return error
            .hint("user namespaces are switched off (user.max_user_namespaces): see 'selfdock doctor'");
    }
    let too_deep = "instances are nested as deep as the kernel allows: 32 levels";
    error.hint_if(Errno::NOSPC, too_deep).hint_if(Errno::USERS, too_deep)
}

fn user_namespaces_are_off() -> bool {
    process::read(b"/proc/sys/user/max_user_namespaces").is_some_and(|text| text.trim_ascii() == b"0")
}

fn namespaces(job: &Job<'_>, unprivileged: bool) -> u32 {
    let mut flags = new::MOUNT | new::PID | new::IPC;
    if job.hostname.is_some() {
        flags |= new::UTS;
    }
    if job.need.network {
        flags |= new::NETWORK;
    }
    if unprivileged {
        flags |= new::USER;
    }
    flags
}

/// A descriptor to keep must be open now, before selfdock opens any.
pub fn check_descriptors(keep: &[u32]) -> Result<()> {
    for fd in keep {
        sys::is_open(*fd).or_fail(on("keep descriptor {=}", decimal(*fd)))?;
    }
    Ok(())
}

/// The path of the current directory, if it has one.
pub fn current_directory() -> Option<Bytes> {
    let path: Bytes = sys::getcwd().ok()?.leak();
    // A directory outside of the root shows as `(unreachable)/...`. getcwd(2)
    path.starts_with(b"/").then_some(path)
}

/// The running program itself, found through its own `/proc` entry, not by any name: so that
/// no other file can take its place and keep a set-uid bit inside.
pub fn own_program(privileged: Option<&Privileged>) -> Result<Option<Program>> {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    let failed = "find selfdock's own file";
    let proc = files::open(CWD, b"/proc", OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
    if rustix::fs::fstatfs(&proc).or_fail(failed)?.f_type != PROC_SUPER_MAGIC {
        return Err(Error::refused(failed, "/proc is not procfs"));
    }
    let look = || {
        let path = files::link_target(proc.as_fd(), b"self/exe")?;
        let file = files::open(proc.as_fd(), b"self/exe", OFlags::PATH)?;
        rustix::fs::fstat(&file).map(|stat| (path, file, stat))
    };
    let (path, file, stat) = look().or_fail(failed)?;
    if !path.starts_with(b"/") || stat.st_nlink == 0 {
        // Replaced by another version a moment ago, or outside of the root directory.
        return Ok(None);
    }
    let tree = match privileged {
        Some(privileged) => Some(own_mount(privileged, &file, &stat).or_fail(on("show {} inside", path))?),
        None => None,
    };
    Ok(Some(Program { path, identity: (stat.st_dev, stat.st_ino), tree }))
}

/// A read-only mount of selfdock's file. Its set-uid bit counts there only if the file is
/// beyond doubt: root's, and writable to nobody else.
fn own_mount(
    privileged: &Privileged,
    file: &OwnedFd,
    stat: &rustix::fs::Stat,
) -> rustix::io::Result<Detached> {
    let trusted =
        stat.st_uid == 0 && stat.st_mode & 0o022 == 0 && FileType::from_raw_mode(stat.st_mode).is_file();
    let attributes = Tighten::RDONLY | Tighten::NODEV | if trusted { 0 } else { Tighten::NOSUID };
    Detached::copy(privileged, file, b"", attributes)
}
