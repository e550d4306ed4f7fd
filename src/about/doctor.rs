//! `selfdock doctor`: checks what works on this machine, and prints a line for each check. The exit status is 0 only
//! if `run` works. It tests this by starting selfdock, as any user would.

use super::group::{self, Limits};
use crate::containment::kernel_keeps_signals_inside;
use crate::creds;
use crate::descriptors::number_of;
use crate::error::{FAILED, OrFail, Quoted, Result};
use crate::files;
use crate::filter;
use crate::handover::{About, Mode};
use crate::host::{CAPABILITIES, Entry, entries};
use crate::host_root;
use crate::installation::{Installation, has_number_of_null};
use crate::lifeline::expect_end;
use crate::process;
use crate::procfs;
use crate::sys::{self, Instruction, Number, Pointers, namespace};
use crate::text::{c_string, decimal, number};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::fmt::Write as _;
use rustix::fd::AsFd;
use rustix::fs::{CWD, MemfdFlags, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, getpid};

/// The oldest kernel that has all that selfdock needs: it added `mount_setattr(2)`.
const OLDEST_KERNEL: (u32, u32) = (5, 12);
/// The first kernel that `cargo xtask kernels` boots.
const OLDEST_TESTED: (u32, u32) = (6, 1);

/// The maximum depth of nested PID namespaces. `pid_namespaces(7)`.
const DEEPEST: usize = 32;

/// Runs all checks. Each line is printed as soon as it is known, since a check can kill this process.
pub fn report(about: &About) -> Result<u8> {
    expect_end()?;
    print_line(&installation(about))?;
    print_line(&host_image(about)?)?;
    print_line(&kernel())?;
    for line in surroundings() {
        print_line(&line)?;
    }
    print_line(containment())?;
    print_line(filters())?;
    let unprivileged = Trial::make(about, &[c"--unprivileged", c"run"])?;
    print_line(&unprivileged_mode(about, &unprivileged))?;
    let run = Trial::make(about, &[c"run"])?;
    let mode = about.mode.text();
    if !run.is_working() {
        print_line(&format!("FAIL  run does not work in {mode} mode: {}{}", run.why(), cures(about)))?;
        return Ok(1);
    }
    let levels = levels(about)?;
    print_line(&format!("ok    run works in {mode} mode; instances nest {levels} levels deep from here"))?;
    // This needs a new root directory, which replaces the old one by pivot_root(2).
    let own_root = Trial::make(about, &[c"-t", c"-", c"/selfdock-doctor", c"run"])?;
    print_line(&if own_root.is_working() {
        "ok    mount points can be made in the root directory".into()
    } else {
        format!("FAIL  no mount point can be made in the root directory: {}", own_root.why())
    })?;
    if own_root.is_working() {
        print_line(&option(about, c"--fake-root", &[])?)?;
        print_line(&option(about, c"--net", &[c"user"])?)?;
    }
    for line in limits(about) {
        print_line(&line)?;
    }
    Ok(u8::from(!own_root.is_working()))
}

/// Whether an option works that needs programs of others.
fn option(about: &About, name: &'static CStr, values: &[&'static CStr]) -> Result<String> {
    let words = [&[name], values].concat();
    let said: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let said = said.join(" ");
    let trial = Trial::make(about, &[&words[..], &[c"run"]].concat())?;
    if trial.is_working() {
        return Ok(format!("ok    {said} works"));
    }
    // Programs that selfdock starts can have said something before.
    let lines: Vec<&str> = trial.why().lines().collect();
    let why = lines.join("; ").replace("selfdock: ", "").replace(&format!("option {said}: "), "");
    Ok(format!("note  {said} does not work: {why}"))
}

/// Which limits of a whole instance can be set here, a line for all of which the same can be said.
fn limits(about: &About) -> Vec<String> {
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, limits) in Limits::kinds() {
        let verdict = match group::can_limit(about, &limits) {
            Ok(true) => "can be used: your control group is delegated to you".into(),
            Ok(false) => "can be used if your systemd gives selfdock a control group".into(),
            Err(error) => {
                let why = format!("{error}").replace(&format!("option {name}: "), "");
                format!("cannot be used: {why}")
            }
        };
        match all.last_mut().filter(|(_, last)| *last == verdict) {
            Some((names, _)) => {
                names.push_str(", ");
                names.push_str(name);
            }
            None => all.push((name.into(), verdict)),
        }
    }
    let mark = |verdict: &str| if verdict.starts_with("cannot") { "note " } else { "ok   " };
    all.into_iter().map(|(names, verdict)| format!("{} {names} {verdict}", mark(&verdict))).collect()
}

fn print_line(line: &str) -> Result<()> {
    super::print(format!("{line}\n").as_bytes())
}

/// The result of starting selfdock.
struct Trial {
    status: u8,
    /// What it printed on standard error.
    words: String,
}

/// The most bytes to read from a trial.
const MOST_WORDS: usize = 64 << 10;

impl Trial {
    /// `selfdock OPTIONS selfdock --version`
    fn make(about: &About, options: &[&'static CStr]) -> Result<Self> {
        let words = [&[about.program], options, &[c"-C", c"/", about.program, c"--version"]].concat();
        Self::start(about, &words)
    }

    fn start(about: &About, words: &[&'static CStr]) -> Result<Self> {
        let failed = "try selfdock";
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).or_fail(failed)?;
        // The version. Where there is no /dev/null, a file in memory takes it.
        let nowhere = rustix::fs::memfd_create(c"nowhere", MemfdFlags::CLOEXEC).or_fail(failed)?;
        let (argv, envp) = (Pointers::new(words), Pointers::new(&about.environment));
        let child = sys::start_child(0, || {
            if sys::redirect(number_of(&nowhere), 1).is_ok() && sys::redirect(number_of(&writer), 2).is_ok() {
                let _ = sys::execve(about.program, &argv, &envp);
            }
            FAILED
        });
        let child = child.or_fail(failed)?;
        drop(writer);
        let words = files::read(reader.as_fd(), 1024, MOST_WORDS).or_fail(failed)?;
        let mut words: String = String::from_utf8_lossy(words).into();
        // The advice to run doctor is useless in doctor.
        for advice in
            [": 'selfdock doctor' says why", "; 'selfdock doctor' says why", ": 'selfdock doctor' says which"]
        {
            words = words.replace(advice, "");
        }
        Ok(Trial { status: status_of(child), words: words.trim().into() })
    }

    fn is_working(&self) -> bool {
        self.status == 0
    }

    /// The reason, without the name of the program.
    fn why(&self) -> &str {
        let words = self.words.strip_prefix("selfdock: ").unwrap_or(&self.words);
        if words.is_empty() { "it was killed, perhaps by a filter of system calls" } else { words }
    }
}

/// How many instances can be nested from here, if one works. It starts instances one inside the other until one
/// fails. Each started instance writes a report to the same descriptor.
fn levels(about: &About) -> Result<usize> {
    let failed = "try to nest";
    let (reader, writer) = pipe_with(PipeFlags::empty()).or_fail(failed)?;
    let fd = c_string(decimal(number_of(&writer))).or_fail(failed)?;
    let mut words = Vec::new();
    for _ in 0..=DEEPEST {
        words.extend([about.program, c"--report", fd, c"--keep-fd", fd, c"-C", c"/", c"run"]);
    }
    words.extend([about.program, c"--version"]);
    Trial::start(about, &words)?;
    drop(writer);
    let reports = files::read(reader.as_fd(), 1 << 14, files::PIPE).or_fail(failed)?;
    let started = b"\"started\":true";
    Ok(reports.windows(started.len()).filter(|part| part == started).count().clamp(1, DEEPEST))
}

/// The set-uid bit of a mode. inode(7)
const SET_UID: u32 = 0o4000;

/// How the program is installed; if it has no privilege, why not.
fn installation(about: &About) -> String {
    let path = Quoted(about.program.to_bytes());
    if about.mode == Mode::SetUid {
        let where_ = if is_own_user_namespace() { ", and has privilege in this user namespace" } else { "" };
        if files::lstat(CWD, path.0).is_ok_and(|stat| stat.st_mode & SET_UID == 0) {
            let has_own = rustix::fs::getxattr(path.0, "security.capability", &mut [0u8; 64][..]).is_ok();
            return if has_own {
                format!(
                    "ok    {path} has privilege by its file capabilities, without the set-uid bit; 'setcap -r' \
                     takes them away"
                )
            } else {
                format!("ok    {path} has your own privilege{where_}")
            };
        }
        return format!("ok    {path} is installed set-uid root{where_}");
    }
    let why = why_not_privileged(path.0).map_or_else(what_is_missing, String::from);
    format!("note  {path} has no privilege: {why}")
}

/// Whether this process is in another user namespace than the initial one. `user_namespaces(7)`
fn is_own_user_namespace() -> bool {
    let map = process::read(b"/proc/self/uid_map").unwrap_or(b"0 0 4294967295");
    !process::words(map).eq([&b"0"[..], b"0", b"4294967295"])
}

/// The capabilities that the bounding set lacks.
fn what_is_missing() -> String {
    let status = process::status(getpid()).unwrap_or_default();
    let bounding = process::field(status, "CapBnd:").and_then(|set| number(set, 16)).unwrap_or(u64::MAX);
    let missing: Vec<&str> =
        CAPABILITIES.iter().filter(|(bit, _)| bounding & 1 << bit == 0).map(|(_, name)| *name).collect();
    if missing.is_empty() {
        return "this process may not gain privilege".into();
    }
    let names = missing.join(", ");
    format!(
        "the bounding set lacks {names}; in a container: --cap-add SYS_ADMIN,NET_ADMIN,CHECKPOINT_RESTORE"
    )
}

/// Whether the prepared root directory matches the host.
fn host_image(about: &About) -> Result<String> {
    let again = "'cargo xtask install' prepares it again";
    let installation = Installation::around(about.program.to_bytes());
    let Some(list) = installation.list() else {
        let is_there = files::lstat(CWD, installation.list_path()).is_ok();
        let why = if is_there {
            "its list does not belong to root here, or others can write to it"
        } else {
            "'cargo xtask install' prepares one"
        };
        return Ok(format!("note  no root directory is prepared, so instances start more slowly; {why}"));
    };
    if !has_device(installation.root(b"/dev/null")) {
        return Ok(format!(
            "note  the prepared root directory has no devices, so instances start more slowly; {again}"
        ));
    }
    let is_gone = |place: &[u8]| files::link_target(CWD, place) == Err(Errno::NOENT);
    let known: Vec<Entry<'_>> = entries(list).collect();
    let new = entries(host_root::look_up()?)
        .filter(|entry| !known.contains(entry))
        .map(|entry| (entry, "not shown"));
    let gone = entries(list).filter(|entry| matches!(entry, Entry::Place([place @ .., _]) if is_gone(place)));
    let changes: Vec<(Entry<'_>, &str)> = new.chain(gone.map(|entry| (entry, "gone"))).collect();
    if changes.is_empty() {
        return Ok("ok    the prepared root directory matches the host".into());
    }
    let mut out = String::from("note  the host has changed since selfdock was installed:");
    for (entry, change) in changes {
        let (Entry::Place([path @ .., _]) | Entry::Link(path, _)) = entry else { continue };
        let _ = write!(out, " {} is {change};", Quoted(path));
    }
    let _ = write!(out, " {again}");
    Ok(out)
}

/// Whether this is the device /dev/null. Inside an instance it need not work.
fn has_device(null: &[u8]) -> bool {
    files::lstat(CWD, null).is_ok_and(|stat| has_number_of_null(&stat))
}

fn why_not_privileged(path: &[u8]) -> Option<&'static str> {
    if rustix::thread::no_new_privs().unwrap_or(false) {
        return Some("no_new_privs is set for this process");
    }
    let stat = rustix::fs::stat(path).ok()?;
    if stat.st_mode & 0o4000 == 0 {
        return Some("it is not set-uid; install it with: cargo xtask install");
    }
    if stat.st_uid != 0 {
        return Some("it is set-uid, but does not belong to root; install it with: cargo xtask install");
    }
    if rustix::fs::statvfs(path).ok()?.f_flag.contains(StatVfsMountFlags::NOSUID) {
        return Some(
            "it is set-uid, but on a file system mounted nosuid; install it elsewhere with --prefix",
        );
    }
    None
}

fn kernel() -> String {
    let dotted = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    let name = rustix::system::uname();
    let release = String::from_utf8_lossy(name.release().to_bytes());
    let version = process::kernel_version();
    let (verdict, what) = if version >= OLDEST_TESTED {
        ("ok   ", format!("{} and later are tested", dotted(OLDEST_TESTED)))
    } else if version >= OLDEST_KERNEL {
        ("note ", format!("older than the tested kernels, {} and later", dotted(OLDEST_TESTED)))
    } else {
        ("FAIL ", format!("{} or later is needed", dotted(OLDEST_KERNEL)))
    };
    format!("{verdict} kernel {release} ({what})")
}

/// Restrictions of this process that can make selfdock fail: filters, a chroot, a security policy, limits of
/// namespaces, control groups.
fn surroundings() -> Vec<String> {
    let mut all = Vec::new();
    let note = |all: &mut Vec<String>, text: String| all.push(format!("note  {text}"));
    if is_filtered() {
        note(&mut all, "a filter of system calls is in force here (seccomp)".into());
    }
    if is_jail() {
        note(
            &mut all,
            "the root directory is a chroot, where selfdock cannot work; use pivot_root(2) instead of chroot(2)"
                .into(),
        );
    }
    let label = process::read(b"/proc/self/attr/current").unwrap_or_default();
    let label =
        String::from_utf8_lossy(label.trim_ascii_end().strip_suffix(b"\0").unwrap_or(label.trim_ascii_end()));
    if !matches!(&*label, "" | "unconfined" | "kernel") {
        note(&mut all, format!("a policy confines this process: {label} (AppArmor or SELinux)"));
    }
    for limit in limits_that_are_reached() {
        let or = if matches!(limit, "user" | "pid") { ", or 32 are nested" } else { "" };
        note(&mut all, format!("user.max_{limit}_namespaces is reached{or}"));
    }
    all.push(control_groups(process::read(b"/proc/self/cgroup").unwrap_or_default()));
    all
}

/// The limits of namespaces that are reached here. The kernel does not say which it was, so each kind is tried in a
/// user namespace of its own. namespaces(7)
fn limits_that_are_reached() -> Vec<&'static str> {
    const KINDS: [(u32, &str); 6] = [
        (namespace::MOUNT, "mnt"),
        (namespace::PID, "pid"),
        (namespace::IPC, "ipc"),
        (namespace::UTS, "uts"),
        (namespace::CGROUP, "cgroup"),
        (namespace::NETWORK, "net"),
    ];
    let is_reached = |kind: u32| can(|| sys::unshare(namespace::USER | kind) == Err(Errno::NOSPC));
    if is_reached(0) {
        return ["user"].into();
    }
    KINDS.iter().filter(|(kind, _)| is_reached(*kind)).map(|(_, name)| *name).collect()
}

/// Tells the version of the control groups, by `/proc/PID/cgroup`. cgroups(7)
fn control_groups(list: &[u8]) -> String {
    let mut lines = list.split(|b| *b == b'\n').filter(|line| !line.is_empty()).peekable();
    if lines.peek().is_none() {
        return "note  no control groups are visible here".into();
    }
    let (second, first): (Vec<&[u8]>, Vec<&[u8]>) = lines.partition(|line| line.starts_with(b"0::"));
    let versions = match (first.is_empty(), second.is_empty()) {
        (true, _) => return "ok    control groups have version 2".into(),
        (false, true) => "version 1",
        (false, false) => "versions 1 and 2 side by side",
    };
    let advice = "'selfdock enter' joins no instance that is in others than you; 'enter --own-cgroup' does";
    format!("note  control groups have {versions}: {advice}")
}

/// Whether this process has a filter of system calls.
fn is_filtered() -> bool {
    // SECCOMP_MODE_FILTER, seccomp(2)
    const FILTER: &[u8] = b"2";
    let status = process::status(getpid()).unwrap_or_default();
    process::field(status, "Seccomp:").is_some_and(|mode| mode.trim_ascii() == FILTER)
}

/// Whether the root directory is not a mount, as after chroot(2).
fn is_jail() -> bool {
    let root = files::open(CWD, b"/", OFlags::PATH | OFlags::DIRECTORY);
    root.and_then(|root| sys::place_of(&root, Number::Current)).is_ok_and(|place| !place.is_root)
}

/// Whether an action works. It runs in a child process, since a filter may kill it.
fn can(act: impl FnOnce() -> bool) -> bool {
    sys::start_child(0, || u8::from(!act())).map(status_of) == Ok(0)
}

/// Whether Landlock keeps signals and abstract sockets inside, as no namespace does.
fn containment() -> &'static str {
    if can(kernel_keeps_signals_inside) {
        "ok    Landlock keeps signals and abstract sockets inside an instance"
    } else {
        "note  Landlock of Linux 6.12 is missing, or a filter refuses it: a command can reach abstract sockets of the \
         host's network and, with a terminal, signal its process group outside"
    }
}

/// Whether system calls can be filtered: installs a filter that allows everything.
fn filters() -> &'static str {
    const ALL: [Instruction; 1] = [Instruction { code: 0x06, yes: 0, no: 0, k: 0x7fff_0000 }];
    if can(|| rustix::thread::set_no_new_privs(true).is_ok() && filter::install(&ALL).is_ok()) {
        "ok    system calls are filtered"
    } else {
        "FAIL  system calls cannot be filtered here: the kernel lacks CONFIG_SECCOMP_FILTER, or a filter refuses more"
    }
}

fn unprivileged_mode(about: &About, trial: &Trial) -> String {
    if trial.is_working() {
        return "ok    unprivileged mode works too".into();
    }
    format!("note  unprivileged mode does not work: {}{}", trial.why(), cures(about))
}

/// Known reasons why user namespaces may not work here, and cures.
fn cures(about: &About) -> String {
    const SWITCHES: [(&[u8], &[u8], &str); 3] = [
        (b"/proc/sys/user/max_user_namespaces", b"0", "user.max_user_namespaces is 0"),
        (b"/proc/sys/kernel/unprivileged_userns_clone", b"0", "kernel.unprivileged_userns_clone is 0"),
        (
            b"/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            b"1",
            "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
        ),
    ];
    let mut all = String::new();
    let mut add = |why: &str| {
        all.push_str("; ");
        all.push_str(why);
    };
    for (path, value, why) in SWITCHES {
        if process::read(path).is_some_and(|text| text.trim_ascii() == value) {
            add(why);
        }
    }
    if is_filtered() {
        add("a filter may be the reason: --no-userns of an outer instance, that of Docker (--security-opt \
             seccomp=unconfined), RestrictNamespaces= in a unit");
    }
    if procfs::is_covered() {
        add("/proc is masked here: --security-opt systempaths=unconfined in Docker, unmask=ALL in podman");
    }
    if about.caller.uid == 0 && !can(creds::can_map_root) {
        add("uid 0 needs CAP_SETFCAP to make a user namespace");
    }
    all
}

fn status_of(pid: Pid) -> u8 {
    let status = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    let code = status.ok().flatten().and_then(|(_, status)| status.exit_status());
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

#[cfg(test)]
mod tests {
    use super::control_groups;

    #[test]
    fn control_groups_are_told_by_their_versions() {
        for (list, told) in [
            ("0::/user.slice\n", "have version 2"),
            ("9:name=systemd:/\n4:memory:/a\n0::/\n", "have versions 1 and 2"),
            ("9:name=systemd:/\n4:memory:/a\n", "have version 1:"),
            ("", "no control groups"),
        ] {
            let said = control_groups(list.as_bytes());
            assert!(said.contains(told), "{list}: {said}");
        }
    }
}
