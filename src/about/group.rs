//! Control groups of version 2: limits of the whole instance. They are set with the caller's own rights, in a group
//! that belongs to the caller. `cgroups(7)`, Documentation/admin-guide/cgroup-v2.rst
//!
//! The caller's group must be delegated to the caller. Otherwise systemd is asked for a delegated group. The group is
//! then split, since the kernel allows no processes in a group that has controllers for its subgroups:
//!
//! - `selfdock.rest` gets all processes of the group, and the attendant.
//! - `selfdock.PID` has the limits. Its subgroup `in` holds supervisor, keeper and command. The instance's cgroup
//!   namespace begins at `in`, which has no limit. So nothing inside can lift a limit.
//!
//! No process leaves the caller's own group. A group in use is locked. The next run removes groups that are left over.

use super::foreign::about_unit;
use super::front::program;
use super::outside::Said;
use crate::cli::scaled;
use crate::descriptors::number_of;
use crate::error::{Error, OrFail, Result, both, on};
use crate::files;
use crate::handover::About;
use crate::options::Id;
use crate::process::{LONGEST, pid_digits, read, words};
use crate::sys::{self, Duration, Pointers};
use crate::text::{Bytes, c_string, decimal, join, number};
use alloc::string::String;
use alloc::vec::Vec;
use rustix::event::{Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, FlockOperation, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, getpid, waitpid};

/// The limits that the caller asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of memory.
    memory: Option<u64>,
    /// The most processes and threads.
    pids: Option<u64>,
    /// The processor time, in hundredths of a processor.
    cpus: Option<u64>,
}

/// How many of the processes in the group are selfdock's.
const OWN: u64 = 2;

impl Limits {
    /// Takes an option, if it sets one of these limits.
    pub fn add(&mut self, id: Id, value: &[u8]) -> Result<()> {
        let positive = |number: Option<u64>| number.filter(|number| *number > 0);
        let (slot, taken, name, like) = match id {
            Id::Memory => {
                (&mut self.memory, scaled(value), "memory", "not an amount of more than 0, like 512M")
            }
            Id::Pids => (&mut self.pids, number(value, 10), "pids", "not a number of more than 0, like 64"),
            Id::Cpus => {
                (&mut self.cpus, hundredths(value), "cpus", "not a number of more than 0, like 2 or 0.5")
            }
            _ => return Ok(()),
        };
        let refused =
            || about_unit(Error::refused(both("option --{=} {}", name.as_bytes(), value), like), value);
        *slot = Some(positive(taken).filter(|number| *number < 1 << 62).ok_or_else(refused)?);
        Ok(())
    }

    /// One limit of each kind, with the option for it.
    pub fn kinds() -> [(&'static str, Self); 3] {
        let (none, one) = (Limits::default(), Some(1));
        [
            ("--memory", Limits { memory: one, ..none }),
            ("--pids", Limits { pids: one, ..none }),
            ("--cpus", Limits { cpus: one, ..none }),
        ]
    }

    /// Whether there is a limit.
    pub fn has_any(&self) -> bool {
        *self != Limits::default()
    }

    /// In words, for `--explain`.
    pub fn words(&self) -> Vec<String> {
        let parts = |hundredths: u64| alloc::format!("cpus={}.{:02}", hundredths / 100, hundredths % 100);
        let memory = self.memory.map(|bytes| alloc::format!("memory={bytes}"));
        let pids = self.pids.map(|count| alloc::format!("pids={count}"));
        memory.into_iter().chain(pids).chain(self.cpus.map(parts)).collect()
    }

    fn controllers(&self) -> impl Iterator<Item = &'static [u8]> {
        self.wanted().map(|(_, controller)| controller)
    }

    /// The names of the options, and the controllers that they need.
    fn wanted(&self) -> impl Iterator<Item = (&'static [u8], &'static [u8])> {
        let all: [(bool, &[u8], &[u8]); 3] = [
            (self.memory.is_some(), b"memory", b"memory"),
            (self.pids.is_some(), b"pids", b"pids"),
            (self.cpus.is_some(), b"cpus", b"cpu"),
        ];
        all.into_iter()
            .filter(|(is_wanted, ..)| *is_wanted)
            .map(|(_, option, controller)| (option, controller))
    }
}

/// Parses a number with at most two digits after a dot. Returns a hundred times the number.
fn hundredths(word: &[u8]) -> Option<u64> {
    let mut parts = word.splitn(2, |byte| *byte == b'.');
    let (whole, rest) = (parts.next()?, parts.next().unwrap_or(b"00"));
    let rest = match rest {
        [digit] => number(&[*digit, b'0'], 10)?,
        [_, _] => number(rest, 10)?,
        _ => return None,
    };
    number(whole, 10)?.checked_mul(100)?.checked_add(rest)
}

/// The group of an instance.
pub struct Group {
    /// The group above it.
    above: OwnedFd,
    name: Bytes,
    /// The group with the limits. It is locked as long as it is in use.
    dir: OwnedFd,
    /// The subgroup with the processes.
    inside: OwnedFd,
    /// The group in which this process was before.
    own: OwnedFd,
}

/// What the processes of a group have used.
pub struct Used {
    /// How many processes were killed because memory had run out.
    pub out_of_memory: u64,
    /// Fields of the report.
    pub figures: Vec<(&'static str, Bytes)>,
}

/// The directories where control groups of version 2 are mounted.
const MOUNTED: [&[u8]; 2] = [b"/sys/fs/cgroup", b"/sys/fs/cgroup/unified"];
const REST: &[u8] = b"selfdock.rest";
const PREFIX: &[u8] = b"selfdock.";
const INSIDE: &[u8] = b"in";
const PROCESSES: &[u8] = b"cgroup.procs";
const CONTROLLERS: &[u8] = b"cgroup.controllers";
const ENABLED: &[u8] = b"cgroup.subtree_control";

/// The operation in messages.
const FAILED: &str = "limit the instance by control groups";

/// Makes a group with these limits. This process is moved to a subgroup, since its own group is split.
pub fn make(about: &About, limits: &Limits) -> Result<Group> {
    let (path, dir) = match own_group(limits, None) {
        Ok(found) => found,
        Err(error) => match ask_systemd(about)? {
            Some(scope) => own_group(limits, Some(scope))?,
            None => return Err(error),
        },
    };
    remove_stale(&dir);
    split(&dir, limits).map_err(|error| error.within(on("in the control group {}", path)))?;
    let (_, own) = own_directory().ok_or_else(|| lacking(limits, b"", MOUNTED[0]))?;
    let group = Group::new(dir, own)?;
    if let Err(error) = group.limit(limits) {
        group.end(None);
        return Err(error);
    }
    Ok(group)
}

/// Whether these limits can be set here: in the caller's own group, or else in one for which the caller's systemd will
/// be asked. Nothing is made.
pub fn can_limit(about: &About, limits: &Limits) -> Result<bool> {
    match own_group(limits, None) {
        Ok(_) => Ok(true),
        Err(error) if busctl(about, own_path().unwrap_or_default()).is_none() => Err(error),
        Err(_) => Ok(false),
    }
}

/// The program by which the caller's systemd is asked, if it can be asked for a process in this group.
fn busctl(about: &About, path: &[u8]) -> Option<Bytes> {
    program(about, b"busctl").filter(|_| path.starts_with(slice(about)))
}

/// The group in which systemd keeps a user's processes.
fn slice(about: &About) -> Bytes {
    join(&[b"/user.slice/user-", decimal(about.caller.uid), b".slice/"])
}

/// The path of the caller's group in the hierarchy. cgroups(7), `/proc/PID/cgroup`
pub fn own_path() -> Option<Bytes> {
    let text = read(b"/proc/self/cgroup")?;
    text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))
}

/// Opens the directory of a group, if this process is in that group.
fn find(path: &[u8]) -> Option<OwnedFd> {
    let own = pid_digits(getpid());
    MOUNTED.iter().find_map(|mounted| {
        let dir = files::open(CWD, join(&[mounted, path]), OFlags::PATH | OFlags::DIRECTORY).ok()?;
        let listed = content(&dir, PROCESSES)?;
        words(listed).any(|pid| pid == own).then_some(dir)
    })
}

/// The text of a file of a group.
fn content(dir: &OwnedFd, name: &[u8]) -> Option<Bytes> {
    let file = files::open(dir.as_fd(), name, OFlags::RDONLY).ok()?;
    files::read(file.as_fd(), 1024, LONGEST).ok()
}

/// Writes to a file of a group, in one system call.
fn set(dir: &OwnedFd, name: &[u8], text: &[u8]) -> rustix::io::Result<()> {
    let file = files::open(dir.as_fd(), name, OFlags::WRONLY)?;
    rustix::io::write(&file, text).map(drop)
}

/// Opens the directory of this process's group, and returns its path. If another run of selfdock splits the group
/// meanwhile, it moves this process to a subgroup. Then this function looks again.
fn own_directory() -> Option<(Bytes, OwnedFd)> {
    let mut path = own_path()?;
    loop {
        if let Some(dir) = find(path) {
            return Some((path, dir));
        }
        let now = own_path().filter(|now| *now != path)?;
        path = now;
    }
}

/// Finds the group to split: the group of this process, or the one above if that has been split already. `given` is
/// the name of the scope that systemd has made for this process. An error says why the group cannot be split.
fn own_group(limits: &Limits, given: Option<Bytes>) -> Result<(Bytes, OwnedFd)> {
    let (path, dir) = own_directory().ok_or_else(|| lacking(limits, b"", MOUNTED[0]))?;
    let (path, dir) = match path.strip_suffix(REST).and_then(|above| above.strip_suffix(b"/")) {
        Some(above) => {
            let dir = files::open(dir.as_fd(), b"..", OFlags::PATH | OFlags::DIRECTORY).or_fail(FAILED)?;
            (if above.is_empty() { &b"/"[..] } else { above }, dir)
        }
        None => (path, dir),
    };
    let refused = |why| Error::refused(both("{=}: the group {}", FAILED.as_bytes(), path), why);
    let available = content(&dir, CONTROLLERS).unwrap_or_default();
    if limits.controllers().any(|name| words(available).all(|other| other != name)) {
        return Err(lacking(limits, available, path));
    }
    let is_own = [&b"."[..], PROCESSES, ENABLED].iter().all(|name| {
        let flags = AtFlags::EACCESS;
        c_string(name).is_ok_and(|name| rustix::fs::accessat(&dir, name, Access::WRITE_OK, flags).is_ok())
    });
    let is_given = given.is_some_and(|name| path.ends_with(join(&[b"/", name])));
    if !is_own || !(is_given || is_left_by_systemd(path)) {
        let how = "start selfdock with 'systemd-run --user --scope -p Delegate=yes', or in a group that is \
                   delegated to you";
        return Err(refused("is not delegated to you").hint(how));
    }
    Ok((path, dir))
}

/// The error for a group without a controller that is needed.
fn lacking(limits: &Limits, available: &[u8], path: &[u8]) -> Error {
    let mut missing = limits.wanted().filter(|(_, name)| words(available).all(|other| other != *name));
    let (option, name) = missing.next().unwrap_or((b"memory", b"memory"));
    let what = both("option --{=}: find its controller in the control group {}", option, path);
    if files::identity_of(MOUNTED[0]).is_err() {
        return Error::refused(what, "no control groups are shown here")
            .hint("an instance shows none: give the option to the outer one");
    }
    if is_of_version_1(read(b"/proc/cgroups").unwrap_or_default(), name) {
        return Error::refused(what, "it belongs to control groups of version 1 on this machine")
            .hint("boot with cgroup_no_v1=all to move it to version 2");
    }
    Error::refused(what, "cgroup.controllers there does not list it").hint(
        "the group above has to enable it; 'systemd-run --user --scope -p Delegate=yes' makes a group that has it",
    )
}

/// Whether a hierarchy of version 1 has a controller. `list` is the text of /proc/cgroups, where the hierarchy of
/// version 2 has the number 0. cgroups(7)
fn is_of_version_1(list: &[u8], name: &[u8]) -> bool {
    list.split(|byte| *byte == b'\n').any(|line| {
        let mut fields = words(line);
        fields.next() == Some(name) && fields.next().is_some_and(|hierarchy| hierarchy != b"0")
    })
}

/// Whether systemd leaves a group alone: the group belongs to no unit, or to a delegated one. systemd may change the
/// groups of all other units. Only the system's systemd marks delegated units. So a delegated unit of the user's own
/// systemd is not known here, and another scope is asked for. systemd.resource-control(5), `Delegate=`
fn is_left_by_systemd(path: &[u8]) -> bool {
    let kinds = [&b".scope"[..], b".service", b".slice"];
    let mut path = path;
    while !kinds.iter().any(|kind| path.ends_with(kind)) {
        if path.len() <= 1 {
            return true;
        }
        path = files::parent(path);
    }
    // The groups below user@UID.service belong to the user's own systemd.
    if path[files::parent(path).len()..].starts_with(b"/user@") {
        return false;
    }
    let mut value = [0; 1];
    let mut is_delegated = |name: &core::ffi::CStr| {
        let dir = c_string(join(&[MOUNTED[0], path]));
        dir.and_then(|dir| rustix::fs::getxattr(dir, name, &mut value)).is_ok() && value == *b"1"
    };
    is_delegated(c"user.delegate") || is_delegated(c"trusted.delegate")
}

const TASKS: &[u8] = b"pids.max";

/// The files of a group's limits, each with its text if there is no limit.
const FILES_OF_LIMITS: [(&[u8], &[u8]); 5] = [
    (b"memory.max", b"max"),
    (b"memory.high", b"max"),
    (b"memory.swap.max", b"max"),
    (TASKS, b"max"),
    (b"cpu.max", b"max 100000"),
];

/// The error if a limit of the group `path` would not hold in the scope.
fn lost(path: &[u8]) -> Error {
    let why = "the new group would lack a limit that your own group has";
    Error::refused(both("{=}: {}", ASKING.as_bytes(), path), why)
}

const ASKING: &str = "ask systemd for a control group";

/// Asks the caller's systemd for a delegated scope, and waits until this process is in it. Returns its name, or nothing
/// if systemd cannot be asked. It is an error if a limit of the caller's own groups would no longer hold in the scope.
fn ask_systemd(about: &About) -> Result<Option<Bytes>> {
    let Some(before) = own_path() else { return Ok(None) };
    let Some(busctl) = busctl(about, before) else { return Ok(None) };
    let tasks = tasks_in_groups_above(about, before)?;
    let name = start_scope(about, busctl)?;
    wait_for_another_group_than(before)?;
    // Each unit of a user's systemd has a limit of tasks (`DefaultTasksMax=`), and the scope as well.
    let given = own_directory().and_then(|(_, dir)| number(content(&dir, TASKS)?.trim_ascii_end(), 10));
    match tasks {
        Some(most) if given.is_none_or(|given| given > most) => Err(lost(before)),
        _ => Ok(Some(name)),
    }
}

/// The lowest limit of tasks of the caller's groups that will not be above the scope. Another limit there is an error.
fn tasks_in_groups_above(about: &About, own: Bytes) -> Result<Option<u64>> {
    // The user's systemd makes the scope below its own group. So what limits that group limits the scope too.
    let manager = join(&[slice(about), b"user@", decimal(about.caller.uid), b".service"]);
    let mut path = own;
    let mut tasks: Option<u64> = None;
    while path.len() >= slice(about).len() && path != manager {
        let dir =
            files::open(CWD, join(&[MOUNTED[0], path]), OFlags::PATH | OFlags::DIRECTORY).or_fail(ASKING)?;
        for (name, none) in FILES_OF_LIMITS {
            let text = content(&dir, name).unwrap_or(none).trim_ascii_end();
            match number(text, 10).filter(|_| name == TASKS) {
                Some(most) => tasks = Some(tasks.map_or(most, |other| other.min(most))),
                None if text == none => {}
                None => return Err(lost(path)),
            }
        }
        path = files::parent(path);
    }
    Ok(tasks)
}

/// Starts a delegated scope with this process in it, by this `busctl`. Returns its name.
fn start_scope(about: &About, busctl: Bytes) -> Result<Bytes> {
    let pid = pid_digits(getpid());
    let name = join(&[b"selfdock-", pid, b".scope"]);
    let words: [&[u8]; 23] = [
        b"busctl",
        b"--user",
        b"--quiet",
        b"call",
        b"org.freedesktop.systemd1",
        b"/org/freedesktop/systemd1",
        b"org.freedesktop.systemd1.Manager",
        b"StartTransientUnit",
        b"ssa(sv)a(sa(sv))",
        name,
        b"fail",
        b"3",
        b"Delegate",
        b"b",
        b"true",
        b"PIDs",
        b"au",
        b"1",
        pid,
        b"CollectMode",
        b"s",
        b"inactive-or-failed",
        b"0",
    ];
    let words = words.iter().map(|word| c_string(word)).collect::<core::result::Result<Vec<_>, _>>();
    let (words, file) = (words.or_fail(ASKING)?, c_string(busctl).or_fail(ASKING)?);
    let (argv, envp) = (Pointers::new(&words), Pointers::new(&about.environment));
    let said = Said::new(busctl).or_fail(ASKING)?;
    let child = sys::start_child(0, || {
        if said.listen().is_ok() {
            sys::execve(file, &argv, &envp);
        }
        crate::error::FAILED
    });
    let ended = waitpid(Some(child.or_fail(ASKING)?), WaitOptions::empty()).or_fail(ASKING)?;
    match ended.and_then(|(_, status)| status.exit_status()) {
        Some(0) => {
            said.pass_on();
            Ok(name)
        }
        _ => Err(said.error(both("{=} by {}", ASKING.as_bytes(), busctl))),
    }
}

/// Waits until this process is in another group: systemd answers before it has made the scope.
fn wait_for_another_group_than(before: Bytes) -> Result<()> {
    let until = sys::now().or_fail("read the clock")?.plus(PATIENCE);
    while own_path() == Some(before) {
        if until.since(sys::now().or_fail("read the clock")?) == Duration::default() {
            return Err(Error::refused(ASKING, "systemd made no group within 5 seconds"));
        }
        let _ = poll(&mut [], Some(&MOMENT));
    }
    Ok(())
}

/// How long systemd may take, and how long to wait before looking again.
const PATIENCE: Duration = Duration { seconds: 5, nanoseconds: 0 };
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Enables controllers for the subgroups of a group. Its processes are moved to a subgroup first.
fn split(dir: &OwnedFd, limits: &Limits) -> Result<()> {
    let enabled = content(dir, ENABLED).unwrap_or_default();
    let missing: Vec<&[u8]> =
        limits.controllers().filter(|name| words(enabled).all(|other| other != *name)).collect();
    // The root of all groups may hold processes, and has no type.
    let is_root = files::lstat(dir.as_fd(), b"cgroup.type").err() == Some(Errno::NOENT);
    let is_empty = content(dir, PROCESSES).is_none_or(|listed| words(listed).next().is_none());
    if !is_empty && !is_root {
        match files::make_directory(dir.as_fd(), REST, 0o755) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::of(on("make {}", REST), errno).hint_if(Errno::AGAIN, TOO_DEEP)),
        }
        let rest =
            files::open(dir.as_fd(), REST, OFlags::PATH | OFlags::DIRECTORY).or_fail(on("open {}", REST))?;
        move_all(dir, &rest)?;
    }
    for name in missing {
        let failed = on("enable the controller {=}", name);
        set(dir, ENABLED, join(&[b"+", name]))
            .or_fail(failed)
            .map_err(|error| error.hint_if(Errno::BUSY, "processes that cannot be moved are in it"))?;
    }
    Ok(())
}

/// Moves all processes of one group to another, including those that start meanwhile.
fn move_all(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    const ROUNDS: usize = 100;
    for _ in 0..ROUNDS {
        let listed = content(from, PROCESSES).unwrap_or_default();
        if words(listed).next().is_none() {
            break;
        }
        for pid in words(listed) {
            match set(to, PROCESSES, pid) {
                // ESRCH: the process has ended.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(Error::of(on("move process {=}", pid), errno)),
            }
        }
    }
    Ok(())
}

/// Removes the groups of instances whose attendants were killed. The kernel does not remove a group with processes.
fn remove_stale(dir: &OwnedFd) {
    let mut names: Vec<Bytes> = Vec::new();
    let _ = files::each_entry(dir.as_fd(), FAILED.into(), &mut |name| {
        if name.starts_with(PREFIX) && name != REST {
            names.push(join(&[name]));
        }
        Ok(())
    });
    for name in names {
        let Ok(group) = files::open(dir.as_fd(), name, OFlags::RDONLY | OFlags::DIRECTORY) else { continue };
        if rustix::fs::flock(&group, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = remove(&group, INSIDE);
            let _ = remove(dir, name);
        }
    }
}

fn remove(dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::unlinkat(dir, c_string(name)?, AtFlags::REMOVEDIR)
}

/// How many times to look whether a group still has processes: for 10 s.
const ENDINGS: usize = 2000;

/// How many names to try, and how many times to make a group that another run removes.
const TRIES: u64 = 100;

/// The kernel's EAGAIN for a new group.
const TOO_DEEP: &str = "a group above allows no more groups (cgroup.max.depth, cgroup.max.descendants)";

impl Group {
    fn new(above: OwnedFd, own: OwnedFd) -> Result<Self> {
        let own_name = join(&[PREFIX, pid_digits(getpid())]);
        let failed = on("make the control group {}", own_name);
        for again in 0..TRIES {
            // An earlier instance whose supervisor had this PID can have left its group. Such a group has limits and
            // counts already, so it is not used again. `remove_stale` cannot remove it while processes are in it.
            let name = if again == 0 { own_name } else { join(&[own_name, b"-", decimal(again)]) };
            // Who can open it can lock it, and this process would wait.
            match files::make_directory(above.as_fd(), name, 0o711) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(Error::of(failed, errno).hint_if(Errno::AGAIN, TOO_DEEP)),
            }
            // Before the group is locked, another run can take it for a stale one and remove it.
            let Ok(dir) = files::open(above.as_fd(), name, OFlags::RDONLY | OFlags::DIRECTORY) else {
                continue;
            };
            let within = || {
                rustix::fs::flock(&dir, FlockOperation::LockExclusive)?;
                files::make_directory(dir.as_fd(), INSIDE, 0o755)?;
                files::open(dir.as_fd(), INSIDE, OFlags::PATH | OFlags::DIRECTORY)
            };
            match within() {
                Ok(inside) => return Ok(Group { above, name, dir, inside, own }),
                // Another run has removed it.
                Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => {
                    let _ = remove(&dir, INSIDE);
                    let _ = remove(&above, name);
                    return Err(Error::of(failed, errno).hint_if(Errno::AGAIN, TOO_DEEP));
                }
            }
        }
        Err(Error::refused(failed, "other runs of selfdock keep removing it, or use its name"))
    }

    fn limit(&self, limits: &Limits) -> Result<()> {
        let put = |name: &str, text: Bytes| {
            set(&self.dir, name.as_bytes(), text).or_fail(both(
                "set {=} of the control group {}",
                name.as_bytes(),
                self.name,
            ))
        };
        if let Some(memory) = limits.memory {
            put("memory.max", decimal(memory))?;
            // The limit includes swap, so there is no swap. A kernel without swap does not have this file.
            match set(&self.dir, b"memory.swap.max", b"0") {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::of("set memory.swap.max", errno)),
            }
        }
        if let Some(pids) = limits.pids {
            put("pids.max", decimal(pids + OWN))?;
        }
        if let Some(cpus) = limits.cpus {
            // Microseconds in each tenth of a second.
            put("cpu.max", join(&[decimal(cpus * 1000), b" 100000"]))?;
        }
        Ok(())
    }

    /// Moves this process into the group.
    pub fn join(&self) -> Result<()> {
        set(&self.inside, PROCESSES, b"0").or_fail(on("enter the control group {}", self.name))
    }

    /// The open descriptors of the group.
    pub fn descriptors(&self) -> Vec<u32> {
        [&self.above, &self.dir, &self.inside, &self.own].into_iter().map(number_of).collect()
    }

    /// Moves the supervisor back, if it still lives, and removes the group. Nothing else is in it any more. Returns
    /// what was used.
    pub fn end(self, supervisor: Option<Pid>) -> Used {
        if let Some(pid) = supervisor {
            let _ = set(&self.own, PROCESSES, pid_digits(pid));
        }
        // Where the supervisor was killed, the kernel ends the instance meanwhile.
        let mut tries = if supervisor.is_none() { ENDINGS } else { 0 };
        while remove(&self.dir, INSIDE) == Err(Errno::BUSY) && tries > 0 {
            tries -= 1;
            let _ = poll(&mut [], Some(&MOMENT));
        }
        let used = self.used();
        let _ = remove(&self.above, self.name);
        used
    }

    fn used(&self) -> Used {
        let figure = |file: &str| {
            content(&self.dir, file.as_bytes()).and_then(|text| number(text.trim_ascii_end(), 10))
        };
        // In these files each line has a name and a number.
        let line = |file: &str, name: &str| {
            let text = content(&self.dir, file.as_bytes())?;
            let mut lines = text.split(|byte| *byte == b'\n');
            lines.find_map(|line| number(line.strip_prefix(name.as_bytes())?.strip_prefix(b" ")?, 10))
        };
        let seconds = |micros: u64| {
            join(&[decimal(micros / 1_000_000), b".", crate::text::digits(micros % 1_000_000, 10, 6)])
        };
        let out_of_memory = line("memory.events", "oom_kill");
        let figures = [
            ("group_peak_memory_kib", figure("memory.peak").map(|bytes| decimal(bytes / 1024))),
            ("group_oom_kills", out_of_memory.map(decimal)),
            ("group_peak_pids", figure("pids.peak").map(|count| decimal(count.saturating_sub(OWN)))),
            ("group_forks_refused", line("pids.events", "max").map(decimal)),
            ("group_user_seconds", line("cpu.stat", "user_usec").map(seconds)),
            ("group_system_seconds", line("cpu.stat", "system_usec").map(seconds)),
            ("group_throttled_seconds", line("cpu.stat", "throttled_usec").map(seconds)),
        ];
        let figures = figures.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Used { out_of_memory: out_of_memory.unwrap_or(0), figures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_of_version_1_is_known() {
        let list = b"#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\nmemory\t4\t28\t1\npids\t0\t1\t1\n";
        let held = [&b"memory"[..], b"pids", b"cpu", b"cpuset"].map(|name| is_of_version_1(list, name));
        assert_eq!(held, [true, false, false, true]);
    }

    #[test]
    fn processors_are_counted_in_hundredths() {
        for (word, expected) in [
            ("2", Some(200)),
            ("0.5", Some(50)),
            ("1.25", Some(125)),
            ("0.01", Some(1)),
            ("", None),
            (".5", None),
        ] {
            assert_eq!(hundredths(word.as_bytes()), expected, "{word}");
        }
        for bad in ["1.", "1.234", "x", "-1", "1e3", "1..2"] {
            assert_eq!(hundredths(bad.as_bytes()), None, "{bad}");
        }
    }
}
