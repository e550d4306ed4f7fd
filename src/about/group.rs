//! Control groups, version 2: limits of the whole instance, set by the caller alone in a group that is the caller's.
//! `cgroups(7)`, Documentation/admin-guide/cgroup-v2.rst
//!
//! The group that the caller is in has to be delegated to the caller: by whoever made it, or by systemd, which is asked
//! for one. Then it is split, since a group with controllers holds no processes itself:
//!
//! - `selfdock.rest` has all that was in it, and the attendant.
//! - `selfdock.PID` has the limits. In it, `in` has supervisor, keeper and command. The instance's cgroup namespace
//!   begins at `in`, where there is no limit that could be lifted.
//!
//! No process leaves the caller's own group. One that is left is removed by the next run: whoever uses it holds a lock
//! on it.

use super::front::program;
use crate::cli::scaled;
use crate::descriptors::number_of;
use crate::error::{Error, OrFail, Result, both, on};
use crate::files;
use crate::handover::About;
use crate::options::Id;
use crate::process::{read, shown, words};
use crate::sys::{self, Duration, Pointers};
use crate::text::{Bytes, c_string, decimal, join, number};
use alloc::string::String;
use alloc::vec::Vec;
use rustix::event::{Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, FlockOperation, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, getpid, waitpid};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    memory: Option<u64>,
    /// Processes and threads.
    pids: Option<u64>,
    /// Hundredths of a processor.
    cpus: Option<u64>,
}

/// How many of the processes in the group are selfdock's.
const OWN: u64 = 2;

impl Limits {
    /// Takes an option, if it is one of these.
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
        let refused = || Error::refused(both("option --{=} {}", name.as_bytes(), value), like);
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

    /// Whether there is one.
    pub fn any(&self) -> bool {
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

/// A number with at most two digits after a dot, times a hundred.
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

/// A group of an instance.
pub struct Group {
    /// That in which it lies.
    above: OwnedFd,
    name: Bytes,
    /// Where the limits are. It is locked as long as it is used.
    dir: OwnedFd,
    /// Where the processes are.
    inside: OwnedFd,
    /// Where this process was.
    own: OwnedFd,
}

/// What was used in a group.
pub struct Used {
    /// How often a process was killed since there was no memory.
    pub out_of_memory: u64,
    /// Fields of the report.
    pub figures: Vec<(&'static str, Bytes)>,
}

/// Where control groups are, and how their names begin here.
const MOUNTED: [&[u8]; 2] = [b"/sys/fs/cgroup", b"/sys/fs/cgroup/unified"];
const REST: &[u8] = b"selfdock.rest";
const PREFIX: &[u8] = b"selfdock.";
const INSIDE: &[u8] = b"in";
const PROCESSES: &[u8] = b"cgroup.procs";
const CONTROLLERS: &[u8] = b"cgroup.controllers";
const ENABLED: &[u8] = b"cgroup.subtree_control";

/// What a message is about.
const FAILED: &str = "limit the instance by control groups";

/// Makes a group with these limits. This process is put into another one for that, as its own is split.
pub fn make(about: &About, limits: &Limits) -> Result<Group> {
    let (path, dir) = match own_group(limits) {
        Ok(found) => found,
        Err(error) => {
            if !ask_systemd(about)? {
                return Err(error);
            }
            own_group(limits)?
        }
    };
    remove_stale(&dir);
    split(&dir, limits).map_err(|error| error.within(on("in the control group {}", path)))?;
    let own = own_path().and_then(find).ok_or_else(|| Error::refused(FAILED, "the own one is gone"))?;
    let group = Group::new(dir, own)?;
    group.limit(limits)?;
    Ok(group)
}

/// Whether these limits can be set here: in the caller's own group, or else in one for which the caller's systemd will
/// be asked. Nothing is made.
pub fn can_limit(about: &About, limits: &Limits) -> Result<bool> {
    match own_group(limits) {
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

/// Where the caller's group is in the hierarchy. cgroups(7), `/proc/PID/cgroup`
fn own_path() -> Option<Bytes> {
    let text = read(b"/proc/self/cgroup")?;
    text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))
}

/// The directory of a group, if it is the one that this process is in.
fn find(path: &[u8]) -> Option<OwnedFd> {
    let own = shown(getpid());
    MOUNTED.iter().find_map(|mounted| {
        let dir = files::open(CWD, join(&[mounted, path]), OFlags::PATH | OFlags::DIRECTORY).ok()?;
        let listed = content(&dir, PROCESSES)?;
        words(listed).any(|pid| pid == own).then_some(dir)
    })
}

/// A file of a group.
fn content(dir: &OwnedFd, name: &[u8]) -> Option<Bytes> {
    let file = files::open(dir.as_fd(), name, OFlags::RDONLY).ok()?;
    files::read(file.as_fd(), 1024, 1 << 24).ok()
}

/// Writes to a file of a group, in one go.
fn set(dir: &OwnedFd, name: &[u8], text: &[u8]) -> rustix::io::Result<()> {
    let file = files::open(dir.as_fd(), name, OFlags::WRONLY)?;
    rustix::io::write(&file, text).map(drop)
}

/// The group to split: that of this process, or the one above where it has been split. Where it cannot be, why.
fn own_group(limits: &Limits) -> Result<(Bytes, OwnedFd)> {
    let none = || lacking(limits, b"", MOUNTED[0]);
    let path = own_path().ok_or_else(none)?;
    let dir = find(path).ok_or_else(none)?;
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
    if !is_own || !is_left_by_systemd(path) {
        let how = "start it by 'systemd-run --user --scope -p Delegate=yes', or in a group that is yours";
        return Err(refused("is not delegated to you").hint(how));
    }
    Ok((path, dir))
}

/// The error for a group without a controller that is needed.
fn lacking(limits: &Limits, available: &[u8], path: &[u8]) -> Error {
    let mut missing = limits.wanted().filter(|(_, name)| words(available).all(|other| other != *name));
    let (option, name) = missing.next().unwrap_or((b"memory", b"memory"));
    let what = both("option --{=}: find its controller in the control group {}", option, path);
    if is_of_version_1(read(b"/proc/cgroups").unwrap_or_default(), name) {
        Error::refused(what, "control groups of version 1 hold it on this machine")
            .hint("after a boot with cgroup_no_v1=all version 2 has it")
    } else {
        Error::refused(what, "it is not in cgroup.controllers of version 2 there")
    }
}

/// Whether a hierarchy of version 1 has a controller, by what /proc/cgroups says. That of version 2 has the number 0.
/// cgroups(7)
fn is_of_version_1(list: &[u8], name: &[u8]) -> bool {
    list.split(|byte| *byte == b'\n').any(|line| {
        let mut fields = words(line);
        fields.next() == Some(name) && fields.next().is_some_and(|hierarchy| hierarchy != b"0")
    })
}

/// Whether the unit that a group belongs to is delegated, if it belongs to one: in all others systemd does as it likes.
/// systemd.resource-control(5), `Delegate=`
fn is_left_by_systemd(path: &[u8]) -> bool {
    let kinds = [&b".scope"[..], b".service", b".slice"];
    let mut path = path;
    while !kinds.iter().any(|kind| path.ends_with(kind)) {
        if path.len() <= 1 {
            return true;
        }
        path = files::parent(path);
    }
    // What is in this one belongs to the user's own systemd.
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

/// Limits that a group can have, and what each file says where there is none.
const FILES_OF_LIMITS: [(&[u8], &[u8]); 5] = [
    (b"memory.max", b"max"),
    (b"memory.high", b"max"),
    (b"memory.swap.max", b"max"),
    (b"pids.max", b"max"),
    (b"cpu.max", b"max 100000"),
];

/// Asks the caller's systemd for a scope that is delegated, and waits until this process is in it. Says whether it is;
/// not where a limit of the caller's own groups would not hold any more.
fn ask_systemd(about: &About) -> Result<bool> {
    let failed = "ask systemd for a control group";
    let Some(before) = own_path() else { return Ok(false) };
    let Some(busctl) = busctl(about, before) else { return Ok(false) };
    let mut path = before;
    while path.len() >= slice(about).len() {
        let dir =
            files::open(CWD, join(&[MOUNTED[0], path]), OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
        for (name, none) in FILES_OF_LIMITS {
            let text = content(&dir, name).unwrap_or(none);
            if text.strip_suffix(b"\n").unwrap_or(text) != none {
                let why = "it would be without a limit that your own group has";
                return Err(Error::refused(both("{=}: {}", failed.as_bytes(), path), why));
            }
        }
        path = files::parent(path);
    }
    let pid = shown(getpid());
    let name = join(&[b"selfdock-", pid, b".scope"]);
    let call: [&[u8]; 20] = [
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
    ];
    let mut words: Vec<&[u8]> = call.to_vec();
    words.extend([&b"s"[..], b"inactive-or-failed", b"0"]);
    let words = words.iter().map(|word| c_string(word)).collect::<core::result::Result<Vec<_>, _>>();
    let (words, file) = (words.or_fail(failed)?, c_string(busctl).or_fail(failed)?);
    let (argv, envp) = (Pointers::new(&words), Pointers::new(&about.environment));
    let child = sys::start_child(0, || {
        sys::execve(file, &argv, &envp);
        crate::error::FAILED
    });
    let ended = waitpid(Some(child.or_fail(failed)?), WaitOptions::empty()).or_fail(failed)?;
    if ended.and_then(|(_, status)| status.exit_status()) != Some(0) {
        return Err(Error::refused(failed, "busctl has failed, and said why"));
    }
    // The answer comes before the scope is there.
    let until = sys::now().or_fail("read the clock")?.plus(PATIENCE);
    while own_path() == Some(before) {
        if until.since(sys::now().or_fail("read the clock")?) == Duration::default() {
            return Err(Error::refused(failed, "none has come in time"));
        }
        let _ = poll(&mut [], Some(&MOMENT));
    }
    Ok(true)
}

/// How long systemd may take, and how long one waits before looking again.
const PATIENCE: Duration = Duration { seconds: 5, nanoseconds: 0 };
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Has a group give controllers to those in it. For that its processes go to one of their own.
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
            Err(errno) => return Err(Error::of(on("make {}", REST), errno)),
        }
        let rest =
            files::open(dir.as_fd(), REST, OFlags::PATH | OFlags::DIRECTORY).or_fail(on("open {}", REST))?;
        move_all(dir, &rest)?;
    }
    for name in missing {
        let failed = on("let limits of {=} be set", name);
        set(dir, ENABLED, join(&[b"+", name]))
            .or_fail(failed)
            .map_err(|error| error.hint_if(Errno::BUSY, "processes that cannot be moved are in it"))?;
    }
    Ok(())
}

/// Moves all processes of one group to another. Those that are made meanwhile, too.
fn move_all(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    const ROUNDS: usize = 100;
    for _ in 0..ROUNDS {
        let listed = content(from, PROCESSES).unwrap_or_default();
        if words(listed).next().is_none() {
            break;
        }
        for pid in words(listed) {
            match set(to, PROCESSES, pid) {
                // It has ended.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => return Err(Error::of(on("move process {=}", pid), errno)),
            }
        }
    }
    Ok(())
}

/// Removes what is left of instances whose attendants were killed. A group with processes stays, by the kernel's rule.
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

/// How often a group is looked at that still has processes: 10 s long.
const ENDINGS: usize = 2000;

/// How often a group is made that others remove, or have left.
const TRIES: u64 = 100;

impl Group {
    fn new(above: OwnedFd, own: OwnedFd) -> Result<Self> {
        let own_name = join(&[PREFIX, shown(getpid())]);
        let failed = on("make the control group {}", own_name);
        for again in 0..TRIES {
            // One can be left of an instance that had this PID, with its limits and what it has counted. If it cannot
            // be removed, there are processes in it.
            let name = if again == 0 { own_name } else { join(&[own_name, b"-", decimal(again)]) };
            match files::make_directory(above.as_fd(), name, 0o755) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(Error::of(failed, errno)),
            }
            // One that is not locked yet can be taken for stale, and removed.
            let Ok(dir) = files::open(above.as_fd(), name, OFlags::RDONLY | OFlags::DIRECTORY) else {
                continue;
            };
            rustix::fs::flock(&dir, FlockOperation::LockExclusive).or_fail(failed)?;
            if files::make_directory(dir.as_fd(), INSIDE, 0o755).is_err() {
                continue;
            }
            let inside =
                files::open(dir.as_fd(), INSIDE, OFlags::PATH | OFlags::DIRECTORY).or_fail(failed)?;
            return Ok(Group { above, name, dir, inside, own });
        }
        Err(Error::refused(failed, "others remove it, or are in it"))
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
            // What is said is all: nothing is put aside. There is no such file where there is no swap.
            match set(&self.dir, b"memory.swap.max", b"0") {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::of("set memory.swap.max", errno)),
            }
        }
        if let Some(pids) = limits.pids {
            put("pids.max", decimal(pids + OWN))?;
        }
        if let Some(cpus) = limits.cpus {
            // Of each tenth of a second.
            put("cpu.max", join(&[decimal(cpus * 1000), b" 100000"]))?;
        }
        Ok(())
    }

    /// Puts this process into it.
    pub fn join(&self) -> Result<()> {
        set(&self.inside, PROCESSES, b"0").or_fail(on("enter the control group {}", self.name))
    }

    /// Its descriptors.
    pub fn descriptors(&self) -> Vec<u32> {
        [&self.above, &self.dir, &self.inside, &self.own].into_iter().map(number_of).collect()
    }

    /// Ends it: nothing is in it any more but the supervisor, if that is still there, which goes back. Gives what was
    /// used.
    pub fn end(self, supervisor: Option<Pid>) -> Used {
        if let Some(pid) = supervisor {
            let _ = set(&self.own, PROCESSES, shown(pid));
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
        // Lines of a name and a number.
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
