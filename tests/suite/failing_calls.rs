//! failing-calls: Whichever system call fails, a command gets exactly its instance, or is not started.

use crate::faults::{older_kernel, strace_as_root, tries};
use crate::support::{Dock, Ran, args, bin, fixture, host_mounts, instance, scratch, selfdock};
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;

/// Calls that cannot fail, and calls that strace itself waits for.
const NEVER_FAIL: [&str; 10] = [
    "execve",
    "exit",
    "exit_group",
    "umask",
    "getpid",
    "getppid",
    "getpgid",
    "getsid",
    "setfsuid",
    "setfsgid",
];

/// The highest number of times that one process makes each system call. `traced` runs a command after the words of
/// strace.
fn counts(traced: &dyn Fn(Vec<OsString>) -> Dock) -> BTreeMap<String, usize> {
    let dir = scratch();
    let file = dir.path().join("trace");
    traced(args!["-o", &file].into()).ok();
    let mut of_each = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap().lines().filter(|line| !line.contains("<... ")) {
        let (pid, call) = line.split_once(' ').unwrap_or_default();
        let name = call.trim_start().split_once('(').map_or("", |(name, _)| name);
        // strace cannot select calls without a name.
        if !name.is_empty() && !name.starts_with("syscall_") && !NEVER_FAIL.contains(&name) {
            *of_each.entry((name.to_owned(), pid.to_owned())).or_insert(0) += 1;
        }
    }
    let mut counts = BTreeMap::new();
    for ((name, _), count) in of_each {
        let most = counts.entry(name).or_insert(0);
        *most = count.max(*most);
    }
    counts
}

/// The namespaces of this process.
fn namespaces() -> Vec<OsString> {
    let kinds = ["user", "mnt", "pid", "ipc", "uts", "cgroup", "net"];
    kinds.map(|kind| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().into_os_string()).into()
}

/// What a portrait may lack if something failed: optional parts.
fn is_convenience(line: &str) -> bool {
    let places = ["/etc/resolv.conf", "/etc/hosts", "/etc/passwd", "/etc/group", "/dev/console"];
    let is_one = places.iter().any(|place| line.split(' ').any(|word| word == *place));
    is_one || line.contains("/bin/selfdock ro,nosuid") || line.contains("/selfdock-about ")
}

/// A mount of a part that is made in another way if the installation cannot be used: the root directory, `/dev` and
/// mounts in it. It is neither writable nor privileged in either way.
fn is_made_either_way(line: &str) -> bool {
    let words: Vec<&str> = line.split(' ').collect();
    let place = words.get(1).copied().unwrap_or_default();
    let is_mount = place.starts_with('/') && words.len() > 3 && words[2].starts_with("ro,nosuid,");
    let is_own = ["/", "/dev", "/srv", "/proc"].contains(&place);
    is_mount && (is_own || (place.starts_with("/dev/") && line.contains(",noexec,")))
}

/// The lines that every portrait must have. A layer that nobody may list is empty, which is no reason to refuse.
fn essence(lines: &[&str], is_layered: bool) -> BTreeSet<String> {
    let is_of_a_layer = |line: &str| is_layered && line.contains(" ro,nosuid,nodev,relatime ");
    let fixed = lines
        .iter()
        .filter(|line| !is_convenience(line) && !is_made_either_way(line) && !is_of_a_layer(line));
    fixed.map(|line| (*line).to_owned()).collect()
}

/// The fault of a run in which a call failed, if any. `lines` are the lines of a run without failures.
fn fault(ran: &Ran, lines: &[&str], is_layered: bool) -> Option<String> {
    let seen: Vec<&str> = ran.stdout.lines().collect();
    // strace reports a process that ends while it is traced.
    let lines_said = || ran.stderr.lines().filter(|line| !line.starts_with("strace: "));
    let said = lines_said().count();
    let is_told = said <= 2 && lines_said().all(|line| line.starts_with("selfdock: "));
    // The second program is not traced, and reports the error.
    let is_refusal =
        said > 0 && (seen.is_empty() || ran.status.code().is_some_and(|code| (125..=127).contains(&code)));
    let (has, should_have) = (essence(&seen, is_layered), essence(lines, is_layered));
    // The command ends with the supervisor. It may have printed its portrait before, or a part of it.
    let is_whole = match is_refusal {
        true => has.is_subset(&should_have),
        false => ran.status.success() && has == should_have,
    };
    let more: Vec<_> = has.difference(&should_have).take(3).collect();
    let less: Vec<_> = should_have.difference(&has).take(3).collect();
    let what = || format!("{} {:?} more {more:?} less {less:?}", ran.status, ran.stderr);
    (!is_told || !is_whole).then(what)
}

/// F3: fault injection. A command gets exactly what it gets without failures, or does not start.
#[rstest]
#[case::host_image("", args!["run"])]
#[case::all_kinds_of_mounts("", args![
    "-m", "/usr/bin", "/mnt", "-m", "/usr/bin", "/srv/made/deep", "-t", "-", "/srv/t", "--mask", "/usr/share", "--mask",
    "/etc/hostname", "--dev", "/dev/kmsg", "run"
])]
#[case::image("", args!["--root", fixture("busybox"), "-m", bin("probe"), bin("probe"), "run"])]
#[case::layers("", args![
    "--root", fixture("busybox"), "--root", fixture("musl"), "-m", bin("probe"), bin("probe"), "run"
])]
#[case::build("", args!["--root", "/", "build"])]
#[case::unprivileged("", args!["--unprivileged", "run"])]
#[case::strict("", args![
    "--net", "none", "--no-nest", "--no-userns", "--hostname", "h", "--new-session", "--rlimit", "nofile=64",
    "--timeout", "100", "--report", "/dev/null", "run"
])]
#[case::of_root("root", args!["run"])]
#[case::entering("", args!["enter"])]
#[case::entering_unprivileged("unprivileged", args!["enter"])]
fn whichever_call_fails_a_command_has_exactly_its_instance_or_is_not_started<const N: usize>(
    #[case] who: &str,
    #[case] words: [OsString; N],
) {
    let before = host_mounts();
    let target = (words[0] == "enter").then(|| match who {
        "" => instance([]),
        _ => instance(args!["--unprivileged"]),
    });
    let mut words = [args![selfdock()].to_vec(), words.to_vec()].concat();
    words.extend(target.iter().map(|target| target.pid().to_string().into()));
    words.extend([args![bin("probe"), "portrait"].to_vec(), namespaces()].concat());
    let is_joiner = target.is_some();
    let is_layered = words.contains(&fixture("musl").into());
    // Calls of the command itself do not fail.
    let as_tester = args!["-u", "tester", "-b", "execve"];
    let traced = |options: Vec<OsString>| match who {
        "root" => {
            strace_as_root(older_kernel(), args!["-b", "execve"].into_iter().chain(options), words.clone())
        }
        // The joiner's own filter is not one of the instance.
        _ if is_joiner => strace_as_root([], as_tester.clone().into_iter().chain(options), words.clone()),
        _ => strace_as_root(older_kernel(), as_tester.clone().into_iter().chain(options), words.clone()),
    };
    let portrait = traced(args!["-o", "/dev/null"].into()).ok();
    let lines: Vec<&str> = portrait.lines().collect();
    let mut faults = Vec::new();
    for (name, count) in counts(&traced) {
        let errors = &ERRORS[..tries(1, ERRORS.len())];
        for (when, error) in (1..=count.min(tries(12, 100))).flat_map(|n| errors.iter().map(move |e| (n, e)))
        {
            let inject = format!("inject={name}:error={error}:when={when}");
            let run = || traced(args!["-e", &inject, "-e", "signal=none", "-o", "/dev/null"].into()).output();
            let ran = run();
            // Two processes that fail at the same time compete for the message.
            let ran = if ran.status.code() == Some(125) && ran.stderr.is_empty() { run() } else { ran };
            faults.extend(fault(&ran, &lines, is_layered).map(|what| format!("{inject}: {what}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(host_mounts(), before);
}

/// The errnos of a failing call. Short runs use only the first one.
const ERRORS: [&str; 13] = [
    "EPERM", "ENOMEM", "EINTR", "EAGAIN", "ENOSYS", "EINVAL", "EBUSY", "ENOSPC", "EMFILE", "EIO", "ENOENT",
    "ELOOP", "ESRCH",
];
