//! `torture faults`: makes each system call of selfdock fail, lie, wait or be the last one, one call at a time.

use crate::host::{files, keys_of, mounts};
use crate::modes::{MODES, Mode};
use crate::tracer::{self, How, Point, Ran, Run};
use crate::{Context, Result, Who, fixture, selfdock, start_as, told};
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The errors with which calls fail.
const ERRORS: [Errno; 13] = [
    Errno::EPERM,
    Errno::ENOMEM,
    Errno::EINTR,
    Errno::EAGAIN,
    Errno::ENOSYS,
    Errno::EINVAL,
    Errno::EBUSY,
    Errno::ENOSPC,
    Errno::EMFILE,
    Errno::EIO,
    Errno::ENOENT,
    Errno::ELOOP,
    Errno::ESRCH,
];

/// Calls that cannot fail.
const NEVER_FAIL: [&str; 9] =
    ["exit", "exit_group", "umask", "getpid", "getppid", "getpgid", "getsid", "setfsuid", "setfsgid"];

/// Calls that give up rights or close something off. They are also made to do nothing and report success.
const GIVE_UP: [&str; 7] =
    ["setresuid", "setresgid", "setfsuid", "setfsgid", "capset", "keyctl", "landlock_create_ruleset"];

/// selfdock does not check the success of these calls a second time. Only a filter of system calls could make the
/// kernel lie. A filter requires privilege, or `no_new_privs`, with which selfdock has no privilege. So nobody gains by
/// a lie, and a check would cost every start a system call. `PR_SET_SECCOMP` is 22, and `PR_SET_NO_NEW_PRIVS` is 38.
const BELIEVED: [&str; 5] = ["prctl-22", "prctl-38", "seccomp", "mount_setattr", "landlock_restrict_self"];

/// No command is started if one of these calls fails: they give up rights, read that back, or close something off.
const NEEDED: [&str; 10] = [
    "capset",
    "capget",
    "setresuid",
    "getresuid",
    "getresgid",
    "prctl-1",
    "prctl-4",
    "prctl-27",
    "prctl-28",
    "unshare",
];
/// Nor if these return another id than the user's.
const IDS: [&str; 2] = ["setfsuid", "setfsgid"];

/// If the kernel has no Landlock, or refuses it, there is no domain.
const LANDLOCK: [&str; 2] = ["landlock_create_ruleset", "landlock_restrict_self"];
/// A place that is gone, or has become a link, is not shown.
const GONE: [Errno; 3] = [Errno::ENOENT, Errno::ELOOP, Errno::ENOTDIR];

/// A place that cannot be looked at is not shown. If memory or descriptors have run out, building fails instead. A link
/// that cannot be read is not shown, whatever the reason.
const LOOKS: [&str; 3] = ["statx", "newfstatat", "fstat"];
const READS_LINKS: &str = "readlinkat";
const WANT: [Errno; 3] = [Errno::ENOMEM, Errno::EMFILE, Errno::EAGAIN];

/// `PR_SET_KEEPCAPS`. A caller can forbid it; then the instance is in unprivileged mode.
const KEEP_CAPS: &str = "prctl-8";
const IN_BOTH_MODES: [&str; 5] = ["Uid:", "CapPrm:", "CapEff:", "NoNewPrivs:", "Seccomp:"];

/// Calls that came after Linux 6.6.
const NEWER: [i64; 3] = [467, 457, 458];

/// How many calls of one name and process are tried, from the first on: in a full run, and in a short one.
const OFTEN: [usize; 2] = [100, 4];

struct Options {
    modes: Vec<&'static Mode>,
    call: Option<String>,
    at: Option<Point>,
    with: Option<String>,
    minutes: Option<f64>,
    from: usize,
    short: bool,
}

pub fn main(args: &[OsString]) -> Result {
    let options = options(args)?;
    set_child_subreaper(true).context("become the parent of orphans")?;
    let listener = Outside::new()?;
    let start = Instant::now();
    let (mut found, mut tried, mut skipped) = (0, 0, 0);
    let end = options.minutes.map(|minutes| start + Duration::from_secs_f64(minutes * 60.0));
    for mode in &options.modes {
        let mut sweep = Sweep::new(mode, &listener.name)?;
        sweep.most = if options.at.is_some() { usize::MAX } else { 3 };
        let all = sweep.places(&options);
        let mut done = 0;
        for (point, how) in &all {
            if skipped < options.from {
                skipped += 1;
                continue;
            }
            if end.is_some_and(|end| Instant::now() > end) {
                let next = options.from + tried;
                eprintln!("torture: the time is up; `--from {next}` goes on from here");
                return verdict(found, tried, start);
            }
            if let Some(what) = sweep.try_one(point, *how)? {
                let line = format!("--mode {} --at {point} --with {how}", mode.name);
                println!("cargo xtask torture faults {line}\n    {what}");
                found += 1;
            }
            tried += 1;
            done += 1;
            if done % 500 == 0 {
                eprintln!("torture: {}: {done} of {}, {found} findings", mode.name, all.len());
            }
        }
        if let Some(what) = sweep.end()? {
            println!("cargo xtask torture faults --mode {}\n    {what}", mode.name);
            found += 1;
        }
        let took = start.elapsed().as_secs();
        eprintln!("torture: {}: {done} tried after {took} s, {found} findings", mode.name);
    }
    verdict(found, tried, start)
}

/// `inject PLACE HOW PROGRAM ARG...`: runs the program as the tester, with this injection, and ends as it ends.
pub fn inject(args: &[OsString]) -> Result {
    let [at, how, words @ ..] = args else { return Err("inject PLACE HOW PROGRAM".to_owned()) };
    let point = Point::parse(&at.to_string_lossy()).ok_or("not a place")?;
    let how = How::parse(&how.to_string_lossy()).ok_or("not a fault")?;
    set_child_subreaper(true).context("become the parent of orphans")?;
    let run =
        Run { who: Who::Tester, words, unknown: &[], env: &[], stdin: "", ours: &ours()?, bystander: None };
    let ran = tracer::run(&run, Some((&point, how)))?;
    print!("{}", ran.stdout);
    eprint!("{}", ran.stderr);
    if let Some(who) = ran.hung {
        return Err(format!("somebody is left alive: {who}"));
    }
    match ran.status {
        WaitStatus::Exited(_, status) => std::process::exit(status),
        WaitStatus::Signaled(_, signal, _) => std::process::exit(128 + signal as i32),
        other => Err(format!("{other:?}")),
    }
}

/// The programs to trace.
fn ours() -> Result<Vec<PathBuf>> {
    let first = selfdock()?;
    let second = first.ancestors().nth(2).ok_or("no prefix")?.join("lib/selfdock/selfdock-about");
    Ok(vec![first, second])
}

fn verdict(found: usize, tried: usize, start: Instant) -> Result {
    println!("torture: {tried} faults in {} s, {found} findings", start.elapsed().as_secs());
    if found == 0 { Ok(()) } else { Err(format!("{found} findings")) }
}

fn options(args: &[OsString]) -> Result<Options> {
    let mut options = Options {
        modes: MODES.iter().collect(),
        call: None,
        at: None,
        with: None,
        minutes: None,
        from: 0,
        short: false,
    };
    let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{name} takes a value"));
        match name.as_str() {
            "--mode" => {
                let wanted = value()?;
                let known: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
                options.modes = MODES.iter().filter(|mode| mode.name == wanted).collect();
                if options.modes.is_empty() {
                    return Err(format!("--mode '{wanted}': one of {}", known.join(", ")));
                }
            }
            "--call" => options.call = Some(value()?),
            "--at" => options.at = Some(Point::parse(&value()?).ok_or("--at PROCESS.EXECS:CALL:NTH")?),
            "--with" => {
                let how = value()?;
                How::parse(&how)
                    .ok_or_else(|| format!("--with '{how}': an errno, a signal, false-success or wait"))?;
                options.with = Some(how);
            }
            "--minutes" => options.minutes = Some(value()?.parse().context(&name)?),
            "--from" => options.from = value()?.parse().context(&name)?,
            "--short" => options.short = true,
            other => return Err(format!("unexpected argument '{other}'; see --help")),
        }
    }
    Ok(options)
}

/// An abstract socket outside, which nothing inside may reach.
struct Outside {
    name: String,
}

impl Outside {
    fn new() -> Result<Self> {
        let name = format!("selfdock-torture-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).context("an abstract socket")?;
        let listener = UnixListener::bind_addr(&address).context("listen outside")?;
        // A connection that nobody accepts keeps the keyring of its maker.
        std::thread::spawn(move || listener.incoming().for_each(drop));
        Ok(Self { name })
    }
}

/// A way to start a command, and its result when nothing fails.
struct Sweep {
    mode: &'static Mode,
    words: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    stdin: String,
    ours: Vec<PathBuf>,
    target: Option<Target>,
    portrait: Vec<String>,
    calls: Vec<(Point, usize)>,
    mounts: RefCell<String>,
    files: BTreeMap<PathBuf, [u64; 6]>,
    keys: u64,
    uid: u32,
    /// The most lines of difference that are shown.
    most: usize,
}

impl Sweep {
    fn new(mode: &'static Mode, outside: &str) -> Result<Self> {
        let target = mode.target.map(|options| Target::start(mode.who, options)).transpose()?;
        let mut words = Vec::new();
        for word in mode.words {
            words.push(word_of(word, target.as_ref())?);
        }
        words.push(fixture("bin/probe")?.into());
        words.push("portrait".into());
        words.extend(namespaces()?);
        let uid = match mode.who {
            Who::Tester => std::env::var("SELFDOCK_USER").context("SELFDOCK_USER")?,
            Who::Root => "0".to_owned(),
        };
        let uid = uid.split(':').next().unwrap_or_default().parse().context("SELFDOCK_USER")?;
        let mut sweep = Sweep {
            mode,
            words,
            env: vec![("SELFDOCK_OUTSIDE", outside.into())],
            // `each` adds its line as an argument, which the probe takes for the name of a namespace.
            stdin: (0..mode.lines).map(|line| format!("{line}\n")).collect(),
            ours: ours()?,
            target,
            portrait: Vec::new(),
            calls: Vec::new(),
            mounts: RefCell::new(mounts()?),
            files: files()?,
            keys: 0,
            uid,
            most: 3,
        };
        let ran = sweep.run(None)?;
        if ran.status != WaitStatus::Exited(ran.status.pid().ok_or("no PID")?, 0) || !ran.stderr.is_empty() {
            return Err(format!("{}: it fails anyway: {:?} {}", mode.name, ran.status, ran.stderr));
        }
        sweep.portrait = ran.stdout.lines().map(str::to_owned).collect();
        for ((process, execs, call), count) in ran.calls {
            if (mode.from)(process, execs) {
                sweep.calls.push((Point { process: Some(process), execs, call, nth: 1 }, count));
            }
        }
        sweep.calls.extend(shared(&sweep.calls));
        let again = sweep.run(None)?;
        if let Some(what) = sweep.fault(&again, None) {
            return Err(format!("{}: it is not the same twice: {what}", mode.name));
        }
        sweep.keys = keys_of(uid)?;
        Ok(sweep)
    }

    fn run(&self, inject: Option<(&Point, How)>) -> Result<Ran> {
        let run = Run {
            who: self.mode.who,
            words: &self.words,
            unknown: if self.mode.older { &NEWER } else { &[] },
            env: &self.env,
            stdin: if self.mode.lines > 1 { &self.stdin } else { "" },
            ours: &self.ours,
            bystander: self.target.as_ref().map(|target| target.child.id().cast_signed()),
        };
        tracer::run(&run, inject)
    }

    /// All injections to try in this mode.
    fn places(&self, options: &Options) -> Vec<(Point, How)> {
        if let Some(point) = &options.at {
            let hows = hows(&point.call, true, 0, false);
            return hows
                .into_iter()
                .map(|how| (point.clone(), how))
                .filter(|p| is_wanted(p, options))
                .collect();
        }
        let mut all = Vec::new();
        for (at, (first, count)) in self.calls.iter().enumerate() {
            for nth in 1..=(*count).min(OFTEN[usize::from(options.short)]) {
                let point = Point { nth, ..first.clone() };
                let mut hows = hows(&point.call, !options.short, at + nth, true);
                hows.retain(|how| point.process.is_some() || matches!(how, How::Fails(_)));
                all.extend(hows.into_iter().map(|how| (point.clone(), how)));
            }
        }
        all.retain(|place| is_wanted(place, options));
        all
    }

    fn try_one(&self, point: &Point, how: How) -> Result<Option<String>> {
        let ran = self.run(Some((point, how)))?;
        let fault = self.fault(&ran, Some((point, how)));
        Ok(fault.or(self.is_host_changed()?))
    }

    fn is_host_changed(&self) -> Result<Option<String>> {
        let now = mounts()?;
        let before = self.mounts.replace(now.clone());
        Ok((now != before).then(|| {
            let (before, after): (BTreeSet<_>, BTreeSet<_>) =
                (before.lines().collect(), now.lines().collect());
            format!("the host's mounts are not as before: {:?}", after.symmetric_difference(&before).next())
        }))
    }

    /// The state of the host that must be as before.
    fn end(mut self) -> Result<Option<String>> {
        if let Some(target) = self.target.take()
            && let Err(what) = target.end()
        {
            return Ok(Some(what));
        }
        let now = files()?;
        if let Some((path, _)) = self.files.iter().find(|(path, state)| now.get(*path) != Some(state)) {
            return Ok(Some(format!("{} is not as before", path.display())));
        }
        if let Some(path) = now.keys().find(|path| !self.files.contains_key(*path)) {
            return Ok(Some(format!("{} is left", path.display())));
        }
        // The kernel frees keys some time after their last use.
        let start = Instant::now();
        while keys_of(self.uid)? > self.keys {
            if start.elapsed() > Duration::from_secs(20) {
                return Ok(Some(format!("keys: {} were {}", keys_of(self.uid)?, self.keys)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(None)
    }

    /// Whether a command must not be started.
    fn is_needed(&self, point: &Point, how: How) -> bool {
        // The process that only waits beside a joiner can be missing.
        if self.mode.target.is_some() && point.process.is_none_or(|process| process == 1) {
            return false;
        }
        // A program first asks who has started it.
        let asks = point.nth == 1 && (point.process.is_none_or(|process| process == 0) || point.execs > 0);
        match how {
            How::Fails(_) => NEEDED.contains(&&*point.call),
            // Root's ids are 0, which a lie says, too.
            How::Lies => self.uid != 0 && IDS.contains(&&*point.call) && !asks,
            _ => false,
        }
    }

    /// The faults of a run.
    fn fault(&self, ran: &Ran, inject: Option<(&Point, How)>) -> Option<String> {
        if let Some(who) = &ran.hung {
            return Some(format!("somebody is left alive: {who}"));
        }
        let how = inject.map(|(_, how)| how);
        let seen: Vec<&str> = ran.stdout.lines().collect();
        let should: Vec<&str> = self.portrait.iter().map(String::as_str).collect();
        let said: Vec<&str> = ran.stderr.lines().collect();
        let is_told = said.len() <= 1 && said.iter().all(|line| line.starts_with("selfdock: "));
        let want = matches!(how, Some(How::Fails(errno)) if WANT.contains(&errno));
        let may_lack =
            (self.mode.layered && !want) || inject.is_some_and(|(point, how)| may_lack(point, how));
        let looks = inject.is_some_and(|(point, _)| LOOKS.contains(&point.call.as_str()));
        let is_gone = looks && matches!(how, Some(How::Fails(errno)) if GONE.contains(&errno));
        let essence = |lines: &[&str]| essence(lines, may_lack, is_gone);
        let (mut has, mut should_have) = (essence(&seen), essence(&should));
        if inject.is_some_and(|(point, how)| LANDLOCK.contains(&point.call.as_str()) && how != How::Lies) {
            for lines in [&mut has, &mut should_have] {
                lines.retain(|line| !line.starts_with("reaches an abstract socket"));
            }
        }
        let forbidden = |how| matches!(how, How::Fails(Errno::EPERM) | How::Lies);
        if inject.is_some_and(|(point, how)| point.call == KEEP_CAPS && forbidden(how)) {
            for lines in [&mut has, &mut should_have] {
                lines.retain(|line| IN_BOTH_MODES.iter().any(|name| line.starts_with(name)));
            }
        }
        if self.mode.lines > 1 && matches!(how, Some(How::Gets(_))) {
            // The parent is a shell that controls jobs, or it has just ended.
            for lines in [&mut has, &mut should_have] {
                lines.retain(|line| !line.starts_with("leads a session"));
            }
        }
        let is_success = matches!(ran.status, WaitStatus::Exited(_, 0));
        if is_success && inject.is_some_and(|(point, how)| self.is_needed(point, how)) {
            return Some("it goes on without this call".to_owned());
        }
        let is_refusal = match (ran.status, how) {
            // The command may have printed its portrait before the fault, or may print it just after.
            (WaitStatus::Exited(_, 125..=127), _) => !said.is_empty() || matches!(how, Some(How::Gets(_))),
            (WaitStatus::Signaled(_, signal, _), Some(How::Gets(sent))) => signal == sent,
            (WaitStatus::Exited(_, status), Some(How::Gets(sent))) => status == 128 + sent as i32,
            _ => false,
        };
        let is_whole = match is_success {
            true => has == should_have,
            false => is_refusal && has.is_subset(&should_have),
        };
        let more: Vec<_> = has.difference(&should_have).take(self.most).collect();
        let less: Vec<_> = should_have.difference(&has).take(self.most).collect();
        let what = || format!("{:?} {:?} more {more:?} less {less:?}", ran.status, ran.stderr);
        (!is_told || !is_whole).then(what)
    }
}

/// The calls that several processes make. They can fail in all of them at the same time.
fn shared(calls: &[(Point, usize)]) -> Vec<(Point, usize)> {
    let mut all: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
    for (point, count) in calls {
        all.entry((point.execs, &point.call)).or_default().push(*count);
    }
    let of_several = all.into_iter().filter(|(_, counts)| counts.len() > 1);
    let point = |execs, call: &str| Point { process: None, execs, call: call.to_owned(), nth: 1 };
    let most = |counts: Vec<usize>| counts.into_iter().max().unwrap_or(1);
    of_several.map(|((execs, call), counts)| (point(execs, call), most(counts))).collect()
}

/// Whether the instance may then show less.
fn may_lack(point: &Point, how: How) -> bool {
    let How::Fails(errno) = how else { return false };
    let looks = LOOKS.contains(&point.call.as_str());
    GONE.contains(&errno) || point.call == READS_LINKS || looks && !WANT.contains(&errno)
}

/// What is tried with a call: everything, or one thing in turn.
fn hows(call: &str, all: bool, turn: usize, usual: bool) -> Vec<How> {
    let mut hows = Vec::new();
    if !NEVER_FAIL.contains(&call) || !usual {
        let its_turn = |at: usize| all || at == 0 || (turn % 4 == 2 && at == turn % ERRORS.len());
        hows.extend((0..ERRORS.len()).filter(|at| its_turn(*at)).map(|at| How::Fails(ERRORS[at])));
    }
    if GIVE_UP.contains(&call) || (call.starts_with("prctl-") && !BELIEVED.contains(&call)) {
        hows.push(How::Lies);
    }
    if all || turn.is_multiple_of(4) {
        hows.push(How::Gets(Signal::SIGKILL));
    }
    if all || turn % 8 == 1 {
        hows.push(How::Gets(Signal::SIGTERM));
    }
    if all || turn % 8 == 3 {
        hows.push(How::Waits);
    }
    hows
}

fn is_wanted((point, how): &(Point, How), options: &Options) -> bool {
    // A name without an operation means each operation.
    let names = |call: &str| {
        point.call.strip_prefix(call).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    options.call.as_ref().is_none_or(|calls| calls.split(',').any(names))
        && options.with.as_ref().is_none_or(|with| *with == how.to_string())
}

/// A word of a mode.
fn word_of(word: &str, target: Option<&Target>) -> Result<OsString> {
    Ok(match (word, target) {
        ("SELFDOCK", _) => selfdock()?.into(),
        ("SCRATCH", _) => told("SELFDOCK_SCRATCH")?.into(),
        ("PID", Some(target)) => target.child.id().to_string().into(),
        _ => match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
            Some(name) => fixture(name)?.into(),
            None => word.into(),
        },
    })
}

/// The namespaces of this process.
fn namespaces() -> Result<Vec<OsString>> {
    let kinds = ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"];
    let link = |kind| fs::read_link(format!("/proc/self/ns/{kind}")).map(PathBuf::into_os_string);
    kinds.into_iter().map(link).collect::<std::io::Result<_>>().context("read the namespaces")
}

/// A running instance, whose command is `cat`.
struct Target {
    child: Child,
}

impl Target {
    fn start(who: Who, options: &[&str]) -> Result<Self> {
        let mut words = vec![selfdock()?.into()];
        words.extend(options.iter().map(OsString::from));
        words.push("cat".into());
        let mut command = start_as("as", who, &words)?;
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start an instance")?;
        Self::ask(&mut child)?;
        Ok(Self { child })
    }

    fn ask(child: &mut Child) -> Result {
        let (Some(stdin), Some(stdout)) = (&mut child.stdin, &mut child.stdout) else {
            return Err("an instance has no pipes".to_owned());
        };
        writeln!(stdin, "up").context("write to an instance")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("read from an instance")?;
        if line == "up\n" { Ok(()) } else { Err(format!("the instance says '{line}'")) }
    }

    /// Checks that the instance still lives, and ends it.
    fn end(mut self) -> Result {
        Self::ask(&mut self.child).context("the entered instance")?;
        self.child.stdin = None;
        let status = self.child.wait().context("the entered instance")?;
        if status.success() { Ok(()) } else { Err(format!("the entered instance: {status}")) }
    }
}

/// The lines that may be missing in a portrait while something fails. They are only conveniences.
fn is_convenience(line: &str) -> bool {
    let places = ["/etc/resolv.conf", "/etc/hosts", "/etc/passwd", "/etc/group", "/dev/console"];
    let is_one = places.iter().any(|place| line.split(' ').any(|word| word == *place));
    is_one || line.contains("/bin/selfdock ro,nosuid") || line.contains("/selfdock-about ")
}

/// A mount that is made in another way if the installation cannot be used: the root directory, `/dev`, and what grows
/// in them. Then, too, it must be read-only and give no privilege.
fn is_made_either_way(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let place = words.get(1).copied().unwrap_or_default();
    let is_mount = place.starts_with('/') && words.len() > 3 && words[2].starts_with("ro,nosuid,");
    let is_own = ["/", "/dev", "/srv", "/proc"].contains(&place);
    is_mount && (is_own || (place.starts_with("/dev/") && line.contains(",noexec,")))
}

/// The lines that a portrait must have in any case. A layer that cannot be listed is left out without a refusal. So is
/// a place that is gone.
fn essence(lines: &[&str], is_layered: bool, is_gone: bool) -> BTreeSet<String> {
    // The last is selfdock's own file: an upgrade may have replaced it.
    let entries = [" ro,nosuid,nodev,relatime ", " rw,nosuid,nodev,relatime ", " ro,nodev,relatime "];
    let is_entry = |line: &str| entries.iter().any(|flags| line.contains(flags));
    let is_list = |line: &str| ["/ [", "/dev [", "/dev/shm ["].iter().any(|start| line.starts_with(start));
    // What is not there needs no cover.
    let is_cover = |line: &str| is_gone && line.contains("/proc/") && line.contains(",noexec,relatime");
    let is_of_a_layer = |line: &str| is_cover(line) || is_layered && (is_entry(line) || is_list(line));
    let fixed = lines
        .iter()
        .filter(|line| !is_convenience(line) && !is_made_either_way(line) && !is_of_a_layer(line));
    fixed.map(|line| without_place_of_null(line)).collect()
}

/// A null device covers hidden files. It may be the host's or the installation's.
fn without_place_of_null(line: &str) -> String {
    match line.split_once(' ') {
        Some((root, mount)) if root.ends_with("/null") && mount.starts_with("/proc/") => {
            mount.rsplit_once(' ').unwrap_or_default().0.to_owned()
        }
        _ => line.to_owned(),
    }
}
