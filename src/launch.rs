//! The supervisor's side: from the start of the program to the exit status.

use crate::advice;
use crate::cli::{self, Request, Timeout};
use crate::command::{self, Command, current_directory};
use crate::containment::{Containment, Jobs};
use crate::creds::{self, Caller, Need, Privilege, Privileged};
use crate::descriptors::{close_descriptors, fill_standard_descriptors};
use crate::enter::{self, Join};
use crate::error::{self, Error, NOT_FOUND, OrEnd, OrFail, Result, Unsaid};
use crate::files;
use crate::handover::{self, Mode, Task};
use crate::installation::{Installation, OwnFile, Preparations, own_identity, own_program};
use crate::keeper::{Init, Keeper, Shared};
use crate::lifeline::{end_with_the_outer_supervisor, expect_end};
use crate::mount::find;
use crate::outcome::{self, Cause, End, Outcome};
use crate::report::Report;
use crate::sandbox::{self, Job};
use crate::stage::change_root;
use crate::supervise::Watch;
use crate::sys::{self, Duration, Instant, SignalSet, Stack, Start, namespace, signal};
use crate::text::Bytes;
use crate::usage::Usage;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, chroot, fchdir, getpid};

/// The start of the set-uid program.
pub fn main(start: &Start) -> ! {
    outcome::end(run_command_line(start))
}

/// Starts what is asked for, and ends this process with one line where that fails.
fn run_command_line(start: &Start) -> End {
    // start
    let mut placeholders = Vec::new();
    fill_standard_descriptors(&mut placeholders).or_end();
    let signals = sys::exchange_mask(sys::ALL_SIGNALS).or_fail("block signals").or_end();
    // shed
    let (caller, privilege) = creds::shed().or_end();
    end_with_the_outer_supervisor().or_end();
    // parse
    let mut args = Vec::new();
    for arg in start.args() {
        args.push(arg.to_bytes());
    }
    let Some(args) = args.leak().get(1..) else {
        Error::refused("start", "the list of arguments is empty").end()
    };
    let end = match cli::parse(args) {
        Ok(cli::Command::Version) if print_version(signals).or_end() => Ok(End::Exit(0)),
        Ok(cli::Command::Run(request)) => start_instance(&request, start, signals, caller, privilege),
        Ok(cli::Command::Enter(pid, request)) => {
            start_joiner(pid, &request, start, signals, caller, privilege)
        }
        Ok(cli::Command::Version) | Err(Unsaid) => hand_over(start, privilege, signals),
    };
    let end = end.unwrap_or_else(|error| End::Exit(error.report()));
    error::say_unsaid_message();
    end
}

/// Returns whether it could. If not, the second program tries again, and says why it cannot.
fn print_version(signals: SignalSet) -> Result<bool> {
    let print = || files::write(sys::standard(1), cli::VERSION).is_ok();
    with_signals(signals | signal::BY_WRITING, print)
}

/// Becomes the second program, which reports errors of the command line.
fn hand_over(start: &Start, privilege: Option<Privilege>, signals: SignalSet) -> Result<End> {
    let mode = if privilege.is_some() { Mode::SetUid } else { Mode::Unprivileged };
    if let Some(privilege) = privilege {
        privilege.hand_on()?;
    }
    handover::hand_over(start, Task::command_line(mode), signals).map(|never| match never {})
}

fn start_instance(
    request: &Request<'static>,
    start: &Start,
    signals: SignalSet,
    caller: Caller,
    privilege: Option<Privilege>,
) -> Result<End> {
    let (cwd, environment) = (current_directory(), start.environment());
    let Ok((plan, command)) = command::check::<Unsaid>(request, &environment, cwd) else {
        return hand_over(start, privilege, signals);
    };
    let installation = Installation::of_this_program();
    let read = || (open_files(request, signals), Preparations::read(installation, &plan.root));
    let (opened, prepared) = with_signals(signals, read)?;
    let (supervision, containment) = opened?;
    let by_its_path = |installation: &Installation| {
        start.file_name().is_some_and(|name| name.to_bytes() == installation.program())
    };
    let installed = installation.filter(by_its_path);
    let need = Need { network: request.own_network, ..Need::default() };
    let begin = || {
        let containment = check_stack(start).and(containment)?;
        let privileged = raise(privilege, need, request.unprivileged)?;
        let program = find_program(installed, request.no_nest, privileged.as_ref())?;
        let job = Job {
            caller,
            plan,
            command,
            prepared,
            home: command::home(&environment),
            program,
            hostname: request.hostname,
            containment,
            no_nest: request.no_nest,
            keep_fds: request.keep_fds.clone(),
            attended: supervision.report.as_ref().is_some_and(Report::is_attended),
        };
        spawn_and_supervise(job, privileged, need, &supervision)
    };
    let end = supervision.report_no_start(begin())?;
    if end == End::Exit(NOT_FOUND) && error::unsaid_message().is_some() {
        // The second program prints the message, with advice.
        let _ = handover::hand_over(start, Task::SAY_WHY_NOT_FOUND, signals);
    }
    Ok(end)
}

/// Raises the privilege. With too little of it, or if none is wanted, the instance has a user namespace.
fn raise(privilege: Option<Privilege>, need: Need, unprivileged: bool) -> Result<Option<Privileged>> {
    match privilege {
        Some(privilege) if unprivileged || !privilege.suffices(need) => privilege.exchange().map(|()| None),
        Some(privilege) => privilege.raise(need).map(Some),
        None => Ok(None),
    }
}

/// selfdock's own file, to be shown inside. `installed` is what it was started from, if an installation put it there.
fn find_program(
    installed: Option<Installation>,
    no_nest: bool,
    privileged: Option<&Privileged>,
) -> Result<Option<OwnFile>> {
    match installed {
        _ if no_nest => Ok(None),
        Some(installed) if privileged.is_some() => Ok(Some(OwnFile::Installed(installed.program()))),
        _ => Ok(own_program(privileged)?.map(OwnFile::Found)),
    }
}

/// Runs `act` with the caller's signal mask. A file can be on a file system that does not answer; with all signals
/// blocked, nothing could end this process then.
fn with_signals<T>(signals: SignalSet, act: impl FnOnce() -> T) -> Result<T> {
    sys::block_only(signals).or_fail("unblock signals")?;
    let done = act();
    sys::block_only(sys::ALL_SIGNALS).or_fail("block signals")?;
    Ok(done)
}

/// Opens the files that the caller names for reading or writing, with the caller's rights. The report is the first: it
/// tells what fails later.
fn open_files(request: &Request<'_>, signals: SignalSet) -> Result<(Supervision, Result<Containment>)> {
    Ok((Supervision::new(request, signals)?, Containment::new(request)))
}

/// What the supervisor does besides waiting: timeout and report.
struct Supervision {
    timeout: Option<Timeout>,
    report: Option<Report>,
    /// `--report-required`
    required: bool,
    /// The caller's signal mask.
    signals: SignalSet,
    /// Whether the report was written, or could not be.
    reported: Cell<bool>,
}

impl Supervision {
    fn new(request: &Request<'_>, signals: SignalSet) -> Result<Self> {
        let open = |target| Report::open(target, request.report_required);
        let report = request.report.map(open).transpose()?;
        Ok(Supervision {
            signals,
            timeout: request.timeout,
            report,
            required: request.report_required,
            reported: Cell::new(false),
        })
    }

    /// Waits for a command that has just been started.
    fn supervise(&self, command: Pid, witness: &Keeper, own_instance: bool, jobs: Jobs) -> Result<Outcome> {
        let watch = Watch::new(command, witness, own_instance, jobs).counting(self.has_report());
        watch.for_at_most(self.timeout)?.wait()
    }

    /// Whether resource usage is needed.
    fn has_report(&self) -> bool {
        self.report.is_some()
    }

    /// The time of the start, if it is needed.
    fn start(&self) -> Result<Instant> {
        if self.has_report() { sys::now().or_fail("read the clock") } else { Ok(Instant::default()) }
    }

    /// Writes the report, and reports what failed after the end of the command. The status is still the command's,
    /// unless a report is required: a command can spoil the report, but cannot hide how it ended. `error` is why the
    /// command could not be executed.
    fn report_outcome(
        &self,
        outcome: &Outcome,
        started: Instant,
        ended: Result<()>,
        error: Option<Bytes>,
    ) -> Result<End> {
        self.reported.set(true);
        let report = |report: &Report| {
            let wall = sys::now().or_fail("read the clock")?.since(started);
            let none = (!outcome.started).then_some(&b"selfdock was ended before CMD was started"[..]);
            self.write(report, outcome, wall, error.or(none))
        };
        match self.report.as_ref().map_or(Ok(None), report) {
            Ok(Some(end)) => return Ok(end),
            Err(error) if self.required => {
                error.report_as_well();
                return Err(error);
            }
            written => {
                if let Err(error) = ended.and(written) {
                    error.report_as_well();
                }
            }
        }
        Ok(outcome.end)
    }

    fn write(
        &self,
        report: &Report,
        outcome: &Outcome,
        wall: Duration,
        why: Option<Bytes>,
    ) -> Result<Option<End>> {
        let write = || report.write(outcome, wall, why);
        // A reader may take long; signals must be able to end the wait. Those of the write itself do not.
        let signals = self.signals | signal::BY_WRITING;
        if report.is_read_meanwhile() { with_signals(signals, write)? } else { write() }
    }

    /// Writes a report that says that the command never ran, if no report was written yet.
    fn report_no_start(&self, ended: Result<End>) -> Result<End> {
        let Some(report) = self.report.as_ref().filter(|_| !self.reported.get()) else { return ended };
        if let Err(error) = &ended {
            let (end, why) = (End::Exit(error.exit_status()), Some(error.message()));
            let outcome = Outcome { end, cause: Cause::Command, started: false, usage: Usage::default() };
            // The first failure is said first.
            error.report();
            error::say_unsaid_message();
            if let Err(second) = self.write(report, &outcome, Duration::default(), why) {
                second.report_as_well();
            }
        }
        ended
    }

    /// The descriptors that the supervisor needs.
    fn descriptors(&self) -> Vec<u32> {
        self.report.iter().flat_map(Report::descriptors).collect()
    }
}

/// Makes a PID namespace with a keeper, starts the command in it, gives up all privilege, waits, and ends the
/// instance.
fn spawn_and_supervise(
    job: Job<'static>,
    privileged: Option<Privileged>,
    need: Need,
    supervision: &Supervision,
) -> Result<End> {
    let empty = job.prepared.installation.map(|installation| installation.root(b"/mnt"));
    let (own, jobs) = (getpid(), job.containment.jobs);
    expect_end()?;
    let privileged = match privileged {
        Some(privileged) => {
            sys::unshare(namespace::PID)
                .or_fail("start the instance")
                .map_err(|e| advice::of_start(e, false))?;
            privileged
        }
        None => {
            creds::allow_to_map_root(job.caller)?;
            sys::unshare(namespace::PID | namespace::USER)
                .or_fail("start the instance")
                .map_err(|e| advice::of_start(e, true))?;
            creds::own_user_namespace(job.caller, need)?
        }
    };
    // What the caller has started before is no part of the instance. If there is anything of it, no child counts.
    let counts_strays = supervision.has_report() && matches!(sys::wait(None), Err(Errno::CHILD));
    let shared = Shared::new(supervision.has_report())?;
    privileged.set_aside()?;
    error::leave_it_to_the_supervisor();
    let own_network = job.plan.own_network;
    let keeper = Keeper::start(shared, Init { privileged: privileged.for_child(), own_network, empty })?;
    let started = supervision.start()?;
    // PID 1 is the keeper's, so a supervisor with PID 1 cannot give the command its PID.
    let pid = if own.is_init() { None } else { Some(own) };
    let command = start_command(job, privileged.for_child(), shared, pid)
        .and_then(|command| become_supervisor(privileged, supervision).map(|()| command));
    let outcome = command.and_then(|command| {
        forget_what_came_before(&keeper)?;
        shared.unprivileged.open();
        supervision.supervise(command, &keeper, true, jobs)
    });
    let kept = keeper.end();
    let by_filter = || Error::refused("build the instance", "a filter of system calls ended it");
    if let Ok(Some(signal::SYS)) = kept {
        return Err(by_filter());
    }
    let mut outcome = outcome?;
    if shared.is_building() {
        // The instance was never complete. The process that failed has reported it, or was killed.
        match (outcome.end, kept?.and_then(End::of)) {
            (End::Signal(_), Some(of_keeper @ End::Exit(1..))) => outcome.end = of_keeper,
            (End::Signal(signal::SYS), _) => return Err(by_filter()),
            (End::Signal(signal::SEGV), _) => {
                return Err(Error::refused("build the instance", "it ran out of stack")
                    .hint("'ulimit -s' shows the limit"));
            }
            _ => {}
        }
        (outcome.started, outcome.usage) = (false, Usage::default());
        return supervision.report_outcome(&outcome, started, Ok(()), error::first_message());
    }
    outcome.usage.take_off(&shared.building.get());
    outcome.usage.add(&keeper.others(counts_strays));
    // If the command could not be executed, its process has reported why.
    supervision.report_outcome(&outcome, started, kept.map(drop), error::first_message())
}

/// A signal to the process group from before the command started did not reach the command, but the witness has it.
/// fork(2) never happens in the middle of sending a signal to a group.
fn forget_what_came_before(witness: &Keeper) -> Result<()> {
    if sys::pending().or_fail("read pending signals")? & !sys::set_of(signal::CHLD) != 0 {
        witness.forget();
    }
    Ok(())
}

/// Starts the process that builds the instance and becomes its command.
fn start_command(
    job: Job<'static>,
    privileged: Privileged,
    shared: &'static Shared,
    pid: Option<Pid>,
) -> Result<Pid> {
    let unprivileged = privileged.in_own_namespace;
    let act = move || sandbox::become_command(job, privileged, shared).report_unless_not_found();
    sys::start_beside(Stack::Command, pid, act)
        .or_fail("start the instance")
        .map_err(|e| advice::of_start(e, unprivileged))
}

/// Starts a command in a running instance.
fn start_joiner(
    pid: u32,
    request: &Request<'static>,
    start: &Start,
    signals: SignalSet,
    caller: Caller,
    privilege: Option<Privilege>,
) -> Result<End> {
    let Ok(command) = Command::check::<Unsaid>(request, &start.environment(), None) else {
        return hand_over(start, privilege, signals);
    };
    let (supervision, containment) = with_signals(signals, || open_files(request, signals))??;
    let begin = || {
        creds::become_undumpable()?;
        check_stack(start)?;
        let own = own_identity()?;
        let target = enter::find_target(pid, caller, own, request.own_group, privilege.is_some())?;
        let own_root = find(b"/", OFlags::DIRECTORY).or_fail("open '/'")?;
        let (jobs, keep_fds) = (containment?.jobs, request.keep_fds.clone());
        let join = Join { target, command, own_root: Box::leak(Box::new(own_root)), jobs, keep_fds };
        join_and_supervise(join, caller, privilege, &supervision)
    };
    supervision.report_no_start(begin())
}

/// Starts the joiner, gives up all privilege, and waits.
fn join_and_supervise(
    join: Join,
    caller: Caller,
    privilege: Option<Privilege>,
    supervision: &Supervision,
) -> Result<End> {
    let (jobs, own_root) = (join.jobs, join.own_root);
    expect_end()?;
    // The processes in the instance are not this supervisor's to count.
    let shared = Shared::new(false)?;
    error::leave_it_to_the_supervisor();
    let witness = Keeper::witness(shared)?;
    let need = Need { enter: true, ..Need::default() };
    let privileged = match privilege {
        Some(privilege) if join.target.has_own_user_namespace() => {
            privilege.discard()?;
            None
        }
        Some(privilege) => Some(privilege.raise(need)?),
        None => None,
    };
    let privileged = join.target.enter_first(caller, privileged)?;
    privileged.set_aside()?;
    let for_child = privileged.for_child();
    let started = supervision.start()?;
    // A relative path of a report needs it. Where it cannot be opened, there is no such report.
    let here = files::open(CWD, b".", OFlags::PATH | OFlags::DIRECTORY);
    // Processes inside see the joiner, and can read its list of mounts. No mount lies below this directory.
    chroot(c"/proc/self/fdinfo").or_fail("hide the mounts of the joiner")?;
    let act = move || enter::become_command(&join, for_child, shared).report();
    let child = sys::start_beside(Stack::Command, None, act);
    change_root(own_root)?;
    match here {
        Err(errno) if !files::is_want(errno) => {}
        here => here.and_then(fchdir).or_fail("return to the current directory")?,
    }
    let child = child
        .or_fail("start a process in the instance")
        .map_err(|e| e.hint_if(Errno::NOMEM, "the instance has ended"))?;
    become_supervisor(privileged, supervision)?;
    forget_what_came_before(&witness)?;
    shared.unprivileged.open();
    let mut outcome = supervision.supervise(child, &witness, false, jobs)?;
    let ended = witness.end().map(drop);
    outcome.usage.take_off(&shared.building.get());
    error::say_unsaid_message();
    // The message may also be that of a witness who failed.
    let error = error::first_message().filter(|_| shared.is_building());
    supervision.report_outcome(&outcome, started, ended, error)
}

/// Gives up all privilege and every descriptor that is not needed. From here on this process has only its caller's
/// rights. It stays undumpable, since it shares its memory with the keeper, which is visible inside.
fn become_supervisor(privileged: Privileged, supervision: &Supervision) -> Result<()> {
    privileged.relinquish()?;
    close_descriptors(&supervision.descriptors())
}

/// Checks that the stacks of keeper and command have room below the supervisor's: [`Stack`].
fn check_stack(start: &Start) -> Result<()> {
    const NEEDED: usize = 128 << 10;
    let here = 0u8;
    let used = start.stack_in_use(core::ptr::from_ref(&here) as usize) as u64;
    match rustix::process::getrlimit(rustix::process::Resource::Stack).current {
        Some(limit) if limit < used + NEEDED as u64 => {
            Err(Error::refused("start", "the stack limit is too small").hint("'ulimit -s' shows the limit"))
        }
        _ => Ok(()),
    }
}
