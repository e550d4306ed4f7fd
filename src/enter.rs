//! `enter`: another command in a running instance.
//!
//! The target process is pinned by a pidfd. Everything about it is read with the caller's rights, so the kernel's own
//! rule for tracing decides. Entering is safe because of what the instance is, not because of where it comes from.
//! There are two cases. Its namespaces belong to the caller's own user namespace: then only a privileged program
//! could make them, and no set-uid bit counts in it but selfdock's. Or they belong to a user namespace below: then
//! none of our privilege goes there. The joiner takes on the restrictions of the target, or is refused.

use crate::cli::{self, Filter};
use crate::command::Command;
use crate::containment::{Jobs, have_own_keys};
use crate::creds::{self, Caller, Privileged};
use crate::descriptors::close_descriptors;
use crate::error::{Error, OrFail, Result, on};
use crate::files::{self, Identity, identity};
use crate::instance::Instance;
use crate::keeper::Shared;
use crate::mount::find;
use crate::process::{self, Process, arguments, ends_within, field, has_ended, path, read, status};
use crate::stage::{change_root, refuse_jail};
use crate::sys::{self, Whose};
use crate::text::{Bytes, decimal, join, whole};
use crate::{filter, limits, mountinfo};
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::move_into_link_name_space;

/// A process of the instance to enter, with its namespaces and restrictions.
pub struct Target {
    root: OwnedFd,
    cwd: OwnedFd,
    spaces: Spaces,
    no_new_privs: bool,
    limits: limits::All,
    /// Its filters of system calls. All of them are ours.
    filters: Vec<OurFilter>,
    /// Its control group, if it differs from ours.
    group: Option<Bytes>,
}

/// All that the joiner needs.
pub struct Join {
    pub target: Target,
    /// The command to run.
    pub command: Command<'static>,
    /// The root directory of the supervisor. The joiner starts in another one.
    pub own_root: &'static OwnedFd,
    /// The process group and session of the command.
    pub jobs: Jobs,
    /// The descriptors of `--keep-fd`.
    pub keep_fds: Vec<u32>,
}

/// Finds the instance of a PID: the PID of its supervisor, or of any process in it. `program` is selfdock's own file,
/// which shows as the program of a supervisor in a user namespace of the caller's. With `own_group` the joiner stays in
/// our control group; otherwise this process joins that of the instance.
// Out of line: 196 bytes less than within its caller.
#[inline(never)]
pub fn find_target(
    pid: u32,
    caller: Caller,
    program: Identity,
    own_group: bool,
    privileged: bool,
) -> Result<Target> {
    let failed = on("enter {=}", decimal(pid));
    let refuse = |why| Err(Error::refused(failed, why));
    let ours = read(b"/proc/self/status");
    let here = ours.and_then(|text| Process::parse(rustix::process::getpid(), text));
    let (Some(ours), Some(here)) = (ours, here) else { return refuse("/proc cannot be read") };
    // Pinned: while the pidfd is open and the process lives, its PID belongs to no other process. So it is read
    // afterwards.
    let pin = |pid| pidfd_open(pid, PidfdFlags::empty());
    let named = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pinned_first = match named.map_or(Err(Errno::SRCH), pin) {
        // Without a process: a thread, or a process group.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return refuse("no such process"),
        pinned => pinned.or_fail(failed)?,
    };
    let Some(named) = named.and_then(Process::read) else { return refuse(HIDDEN) };
    let not_an_instance = || refuse(reason_for_none(&pinned_first));
    let around = |process| Instance::around(process, Some(program));
    let of_supervisor = Instance::of(named, Some(program));
    let Some(instance) = of_supervisor.or_else(|| around(named)) else { return not_an_instance() };
    let chosen = representative(named, &instance, program)?.pid;
    let pinned = pin(chosen).or_fail(failed)?;
    let Some(process) = Process::read(chosen) else { return refuse(ENDED) };
    // Its PID can have been another process's before. A child of a supervisor that is pinned is in its instance.
    let is_child = process.parent == Some(named.pid) && process.depth > named.depth;
    let instance = match of_supervisor.filter(|_| is_child) {
        None if chosen != named.pid => around(process),
        None => Some(instance),
        found => found,
    };
    let Some(instance) = instance else { return not_an_instance() };
    if let Some(why) = reason_against(&process, caller) {
        return refuse(why);
    }
    // The last reads may have been from another process with this PID, or have failed for that reason.
    let has_ended =
        |within| [&pinned, &pinned_first].iter().any(|pinned| ends_within(pinned, within) != Ok(false));
    if !can_be_seen(&process, &pinned, program) {
        return refuse(if has_ended(0) { ENDED } else { NOT_SEEN });
    }
    let expected = expected_filters(instance, here.depth, program);
    let examined = examine(process.pid, ours, expected, program, own_group);
    // A process that ends loses its namespaces and groups some time before.
    if has_ended(if examined.is_ok() { 0 } else { 10 }) {
        return refuse(ENDED);
    }
    let target = examined.map_err(|e| e.within(failed))?;
    if !privileged && !target.has_own_user_namespace() {
        return refuse("it needs privilege, and here is none; see 'selfdock doctor'");
    }
    target.join_group()?;
    Ok(target)
}

const NOT_AN_INSTANCE: &str = "not an instance of selfdock, and not a process in one";

const ENDED: &str = "it has ended";

const HIDDEN: &str = "it has ended, or /proc hides it or its supervisor (hidepid)";

const NOT_SEEN: &str = "no process in it can be inspected: it holds another instance (enter that one: \
    'selfdock ps'), or a program that is undumpable or not readable (sh -c 'CMD; :' keeps a shell beside it, to enter)";

/// Why no instance was found for a process.
fn reason_for_none(pinned: &OwnedFd) -> &'static str {
    if has_ended(pinned) != Ok(false) {
        ENDED
    } else if Process::read(Pid::INIT).is_none() {
        // Everybody can read its status, but for the options of procfs.
        HIDDEN
    } else {
        NOT_AN_INSTANCE
    }
}

/// Why this process cannot be entered, as far as its `/proc/PID/status` tells.
fn reason_against(process: &Process, caller: Caller) -> Option<&'static str> {
    if process.ended {
        Some(ENDED)
    } else if process.ids != Some((caller.uid, caller.gid)) {
        Some("it is not yours")
    } else {
        None
    }
}

/// The process whose namespaces are entered: the named one, if it is in the instance and can be inspected. If a
/// supervisor or a hidden process was named, it is another process inside, if possible the command.
fn representative(named: Process, instance: &Instance, program: Identity) -> Result<Process> {
    let is_inside = named.depth >= instance.command.depth;
    if is_inside && can_stand_for_it(&named, program) {
        return Ok(named);
    }
    if can_stand_for_it(&instance.command, program) {
        return Ok(instance.command);
    }
    let all = process::all()?;
    let seen = instance.members(&all).find(|member| can_stand_for_it(member, program));
    Ok(seen.copied().unwrap_or(instance.command))
}

/// Whether a process can be inspected, and is not one of selfdock's own: a keeper, or the supervisor of an inner
/// instance. Such a one can be inspected if its instance has a user namespace of the caller's.
// Inlined, it takes 78 bytes more.
#[inline(never)]
fn can_stand_for_it(process: &Process, program: Identity) -> bool {
    process.program().is_some_and(|its| its != program)
}

/// Whether a process can be inspected. A command that has just started becomes so in a moment, and this waits for it.
fn can_be_seen(process: &Process, pinned: &OwnedFd, program: Identity) -> bool {
    const MILLISECONDS: usize = 100;
    for _ in 0..MILLISECONDS {
        if can_stand_for_it(process, program) {
            return true;
        }
        if ends_within(pinned, 1) != Ok(false) {
            break;
        }
    }
    can_stand_for_it(process, program)
}

/// Opens namespaces and directories of the target, and compares its restrictions with our own: `ours` is our
/// `/proc/PID/status`. `expected` are the filters that it should have.
fn examine(
    pid: Pid,
    ours: Bytes,
    expected: Option<Vec<OurFilter>>,
    program: Identity,
    own_group: bool,
) -> Result<Target> {
    // SECCOMP_MODE_STRICT, seccomp(2)
    const STRICT: u64 = 1;
    let refuse = |why| Err(Error::refused("examine the instance", why));
    let open = |what: &[u8]| {
        let path = path(pid, what);
        files::open(CWD, path, OFlags::PATH | OFlags::DIRECTORY).or_fail(on("open {}", path))
    };
    let spaces = Spaces::open(pid)?;

    let Some(theirs) = status(pid) else { return refuse("/proc cannot be read") };
    let number = |status: &[u8], name| field(status, name).and_then(whole).unwrap_or(0);
    let no_new_privs = number(theirs, "NoNewPrivs:") != 0;
    let filters = number(theirs, "Seccomp_filters:").saturating_sub(number(ours, "Seccomp_filters:"));
    let filters = usize::try_from(filters).unwrap_or(usize::MAX);
    if number(theirs, "Seccomp:") == STRICT
        || expected.as_ref().is_none_or(|expected| expected.len() != filters)
    {
        return refuse("it has a system-call filter that a joiner would lack");
    }
    if bounding(ours, spaces.user.is_some()) & !bounding(theirs, false) != 0 {
        return refuse("its capability bounding set is smaller than a joiner's");
    }
    if spaces.user.is_none() && !no_new_privs && !set_uid_bits_are_inert(pid, program)? {
        return refuse("set-uid programs would work in it");
    }
    let target = Target {
        root: open(b"root")?,
        cwd: open(b"cwd")?,
        no_new_privs,
        limits: limits::of(pid)?,
        filters: expected.unwrap_or_default(),
        group: if own_group { None } else { other_group(pid)? },
        spaces,
    };
    if !target.spaces.are_those_of(pid)? {
        return refuse("it has changed its namespaces in the meantime");
    }
    Ok(target)
}

/// The namespaces of the target that differ from ours. Each is opened once, and the same descriptor is examined and
/// joined.
struct Spaces {
    user: Option<OwnedFd>,
    process: OwnedFd,
    /// All others. The mount namespace comes last, since `/proc` is another one afterwards.
    rest: Vec<(&'static [u8], OwnedFd)>,
}

impl Spaces {
    fn open(pid: Pid) -> Result<Self> {
        let open = |kind: &[u8]| {
            let path = path(pid, join(&[b"ns/", kind]));
            files::open(CWD, path, OFlags::RDONLY).or_fail(on("open its {=} namespace", kind))
        };
        let other = |kind: &'static [u8]| {
            let (theirs, failed) = (open(kind)?, on("open its {=} namespace", kind));
            let ours = files::identity_of(join(&[b"/proc/self/ns/", kind])).or_fail(failed)?;
            Ok::<_, Error>(if identity(&theirs).or_fail(failed)? == ours { None } else { Some(theirs) })
        };
        let mut rest = Vec::new();
        for kind in [&b"ipc"[..], b"uts", b"cgroup", b"net", b"mnt"] {
            rest.extend(other(kind)?.map(|space| (kind, space)));
        }
        Ok(Spaces { user: other(b"user")?, process: open(b"pid")?, rest })
    }

    fn are_those_of(&self, pid: Pid) -> Result<bool> {
        let user = self.user.iter().map(|space| (&b"user"[..], space));
        let rest = self.rest.iter().map(|(kind, space)| (*kind, space));
        for (kind, space) in user.chain(rest).chain([(&b"pid"[..], &self.process)]) {
            let failed = on("open its {=} namespace", kind);
            let now = files::identity_of(path(pid, join(&[b"ns/", kind]))).or_fail(failed)?;
            if now != identity(space).or_fail(failed)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// One of our filters of system calls.
enum OurFilter {
    Default,
    NoUserNamespaces,
}

/// The filters of an instance and of those around it, as the command lines of their supervisors say. Nobody else can
/// change these. `None` if a filter is not ours, or unknown.
fn expected_filters(mut instance: Instance, depth: usize, program: Identity) -> Option<Vec<OurFilter>> {
    let mut filters = Vec::new();
    loop {
        let words = arguments(instance.supervisor.pid);
        let Ok(cli::Command::Run(request)) = cli::parse(words.get(1..).unwrap_or_default()) else {
            return None;
        };
        match request.filter() {
            Filter::Default => filters.push(OurFilter::Default),
            Filter::None => {}
            Filter::And(_) => return None,
        }
        if request.no_user_namespaces {
            filters.push(OurFilter::NoUserNamespaces);
        }
        if instance.supervisor.depth <= depth {
            return Some(filters);
        }
        instance = Instance::around(instance.supervisor, Some(program))?;
    }
}

/// The bounding set. It is empty here for a new user namespace, which starts with all capabilities.
fn bounding(status: &[u8], joins_user_namespace: bool) -> u64 {
    let set = field(status, "CapBnd:").and_then(|hex| crate::text::number(hex, 16)).unwrap_or(0);
    if joins_user_namespace { 0 } else { set }
}

/// Whether every mount is `nosuid`, except for selfdock's own file. proc(5), `mountinfo`.
fn set_uid_bits_are_inert(pid: Pid, program: Identity) -> Result<bool> {
    let text = read(path(pid, b"mountinfo"));
    let text = text.ok_or_else(|| Error::refused("read its mounts", "/proc cannot be read"))?;
    for line in mountinfo::lines(text) {
        if mountinfo::has(line.options, b"nosuid") {
            continue;
        }
        if files::identity_of(join(&[path(pid, b"root"), line.point])) != Ok(program) {
            return Ok(false);
        }
    }
    Ok(true)
}

const OWN_GROUP: &str = "--own-cgroup stays in your own control group";

/// The control group of a process, if it differs from ours. cgroups(7)
fn other_group(pid: Pid) -> Result<Option<Bytes>> {
    let theirs = read(path(pid, b"cgroup")).unwrap_or_default();
    group_to_join(theirs, read(b"/proc/self/cgroup").unwrap_or_default())
}

/// The control group to join, from the lists of both processes. The groups of cgroups(7) version 1 must be equal.
pub fn group_to_join(theirs: Bytes, ours: Bytes) -> Result<Option<Bytes>> {
    if theirs == ours {
        return Ok(None);
    }
    let lines = |text: Bytes| text.split(|b| *b == b'\n');
    let others = |text: Bytes| lines(text).filter(|line| !line.starts_with(b"0::"));
    match lines(theirs).find_map(|line| line.strip_prefix(b"0::")) {
        Some(group) if others(theirs).eq(others(ours)) => Ok(Some(group)),
        _ => Err(Error::refused("read its control groups", "they differ from yours, and cannot be joined")
            .hint(OWN_GROUP)),
    }
}

/// The namespaces of an instance with `--fake-root` belong to two user namespaces.
const NOT_JOINED: &str = "it has ended, or has another user namespace inside (--fake-root, unshare -U), or a policy \
    forbids it";

/// setns(2)
fn join_namespace(space: &OwnedFd, kind: &'static [u8]) -> Result<()> {
    move_into_link_name_space(space.as_fd(), None)
        .or_fail(on("enter its {=} namespace", kind))
        .map_err(|e| e.hint(NOT_JOINED))
}

impl Target {
    /// Whether the instance has its own user namespace.
    pub fn has_own_user_namespace(&self) -> bool {
        self.spaces.user.is_some()
    }

    /// Enters its user namespace, if it has one, and its PID namespace, for later children. setns(2)
    pub fn enter_first(&self, caller: Caller, privileged: Option<Privileged>) -> Result<Privileged> {
        if let Some(user) = &self.spaces.user {
            join_namespace(user, b"user")?;
        }
        join_namespace(&self.spaces.process, b"pid")?;
        match privileged {
            Some(privileged) => Ok(privileged),
            None => creds::joined_user_namespace(caller),
        }
    }

    /// Joins its control group, with the caller's rights.
    fn join_group(&self) -> Result<()> {
        let Some(group) = &self.group else { return Ok(()) };
        let path = join(&[b"/sys/fs/cgroup", group, b"/cgroup.procs"]);
        let failed = on("join its control group {}", group);
        let file = files::open(CWD, path, OFlags::WRONLY).or_fail(failed);
        let file = file.map_err(|e| e.hint(OWN_GROUP))?;
        rustix::io::write(&file, b"0").or_fail(failed).map(drop).map_err(|e| e.hint(OWN_GROUP))
    }

    /// Enters the other namespaces, its root directory and its current directory.
    fn enter_rest(&self, command: &Command<'_>, own_root: &OwnedFd) -> Result<()> {
        change_root(&self.root)?;
        refuse_jail(own_root, own_root)?;
        for (kind, space) in &self.spaces.rest {
            join_namespace(space, kind)?;
        }
        let root = find(b"/", OFlags::DIRECTORY).or_fail("open '/'")?;
        if identity(root.as_fd()).or_fail("examine '/'")?
            != identity(self.root.as_fd()).or_fail("examine its root directory")?
        {
            return Err(Error::refused(
                "enter the instance",
                "its process has another root directory than its mount namespace",
            ));
        }
        let dir = command.directory();
        let failed = on("enter {}", dir);
        let dir = if command.has_chosen_directory() {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            files::open_path(root.as_fd(), dir, flags, ResolveFlags::IN_ROOT).or_fail(failed)?
        } else {
            files::duplicate(&self.cwd).or_fail("open its current directory")?
        };
        rustix::process::fchdir(&dir).or_fail(failed)
    }
}

/// The joiner's side. Returns only on failure.
///
/// Processes inside can see the joiner. It stays undumpable until it executes the command, as the memory that it
/// shares with its supervisor is: nobody can trace or inspect it.
pub fn become_command(join: &Join, privileged: Privileged, shared: &Shared) -> Error {
    let joined = become_joiner(join, privileged, shared);
    // Part of a report alone, and of no use if it cannot be read.
    shared.building.set(&sys::usage(Whose::Own).unwrap_or_default());
    let failed = match joined {
        Ok(()) => join.command.exec(),
        Err(error) => error,
    };
    shared.give_up();
    failed
}

fn become_joiner(join: &Join, mut privileged: Privileged, shared: &Shared) -> Result<()> {
    shared.die_with_supervisor()?;
    sys::block_only(0).or_fail("unblock signals")?;
    join.jobs.separate()?;
    have_own_keys(join.target.filters.iter().any(|filter| matches!(filter, OurFilter::Default)))?;
    privileged.take_up(true)?;
    join.target.enter_rest(&join.command, join.own_root)?;
    for filter in &join.target.filters {
        match filter {
            OurFilter::Default => filter::install_default(&privileged)?,
            OurFilter::NoUserNamespaces => filter::forbid_user_namespaces(&privileged)?,
        }
    }
    shared.unprivileged.wait();
    close_descriptors(&join.keep_fds)?;
    privileged.relinquish()?;
    if join.target.no_new_privs {
        rustix::thread::set_no_new_privs(true).or_fail("forbid new privileges")?;
    }
    limits::take_on(&join.target.limits)
}
