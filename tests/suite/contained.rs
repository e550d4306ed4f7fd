//! contained: Nothing inside reaches the outside by signals, keys, sockets, priorities or process limits.

use crate::support::{
    CALLS, Cmd, Setting, Transcript, Way, args, bin, fixture, has_scopes, is_alive, nested, patient, python,
    scratch, selfdock, tree, wait_until,
};
use nix::sys::signal::Signal;
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A shell script that starts a command in an instance, and that must not be affected by the command. The command is
/// in `$@`.
fn calling(start: &str) -> [OsString; 4] {
    args!["sh", "-c", format!("{start} \"$@\"; echo alive after $?"), "sh"]
}

/// Runs a calling script, as a job.
fn calls(setting: Setting, start: &str, command: &[OsString]) -> Transcript {
    let sd = selfdock().display().to_string();
    let words = [&calling(&start.replace("SD", &sd))[..], command].concat();
    Way::Plain.start(setting).job(&words).transcript()
}

const WAYS: [&str; 4] = ["SD run", "SD run SD run", "SD --unprivileged run", "SD run SD --unprivileged run"];

// Signals.

/// S1: process group.
#[rstest]
#[case::kill_the_group("os.kill(0, 9)")]
#[case::kill_the_group_by_number("os.killpg(os.getpgrp(), 9)")]
#[case::kill_all("if os.fork(): os.kill(-1, 9); os.kill(0, 9)")]
#[case::kill_the_parent("os.getppid() and os.kill(os.getppid(), 9); os.kill(os.getpid(), 9)")]
#[case::hang_up_the_group("os.kill(0, 1)")]
fn a_signal_to_everyone_does_not_reach_the_caller(
    #[case] action: &str,
    #[values(0, 1, 2, 3)] way: usize,
    #[values(Setting::Bare, Setting::Terminal)] setting: Setting,
) {
    let transcript =
        calls(setting, WAYS[way], &python(&format!("libc.prctl(1, 0, 0, 0, 0)\n{action}\ntime.sleep(1000)")));
    let number = if action.contains(", 1)") { 1 } else { 9 };
    // A group that shares a terminal is only kept apart by Landlock: docs/where-it-runs.md.
    if matches!(setting, Setting::Terminal) && !action.contains("getppid") && !has_scopes() {
        assert_ne!(transcript.events, ["exited 0"], "{transcript:?}");
        return;
    }
    assert_eq!(transcript.events, ["exited 0"], "{transcript:?}");
    assert_eq!(transcript.output.last().unwrap(), &format!("alive after {}", 128 + number), "{transcript:?}");
}

/// The control: without selfdock the signal reaches the caller, so the test above can fail.
#[test]
fn without_selfdock_a_signal_to_the_group_reaches_the_caller() {
    let transcript = calls(Setting::Bare, "env", &python("os.kill(0, 9)"));
    assert_eq!(transcript, Transcript { events: vec!["signaled 9".into()], output: Vec::new() });
}

/// S3: a stop against the deadline.
#[rstest]
#[case::itself("signal.raise_signal(signal.SIGSTOP)")]
#[case::the_group("os.kill(0, signal.SIGSTOP)")]
#[case::the_group_from_another_one(
    "if os.fork(): time.sleep(0.05); os.kill(0, signal.SIGSTOP)\nelse: os.setpgid(0, 0); time.sleep(1000)"
)]
#[case::by_reading_in_the_background(
    "os.setpgid(0, 0) if os.getpid() != os.getsid(0) else 0\nos.kill(0, signal.SIGTTIN)"
)]
fn a_stop_does_not_delay_the_deadline(
    #[case] action: &str,
    #[values(0, 1, 2)] way: usize,
    #[values(Setting::Bare, Setting::Terminal)] setting: Setting,
) {
    let start = WAYS[way].replacen("SD", "SD --timeout 0.4", 1);
    let transcript = calls(setting, &start, &python(&format!("{action}\ntime.sleep(1000)")));
    assert_eq!(transcript.events, ["exited 0"], "{transcript:?}");
    assert_eq!(transcript.output, ["alive after 124"]);
}

/// S2: an outlived deadline.
#[rstest]
#[case::run(args![], 0)]
#[case::nested(args![], 1)]
#[case::unprivileged(args!["--unprivileged"], 0)]
#[case::unprivileged_and_nested(args!["--unprivileged"], 2)]
fn a_command_that_clears_its_death_signal_still_ends_with_its_supervisor<const N: usize>(
    #[case] options: [OsString; N],
    #[case] depth: usize,
) {
    let inner = nested(depth, args![bin("probe"), "outlive"]);
    let mut instance = Cmd::run(options.into_iter().chain(inner)).spawn();
    assert_eq!(instance.line(), "up");
    let all = tree(instance.pid());
    assert_eq!(all.len(), 3 + 2 * depth, "{all:?}");
    instance.signal(Signal::SIGKILL);
    instance.wait();
    let start = Instant::now();
    wait_until("nothing is left", || !all.iter().any(|pid| is_alive(*pid)));
    assert!(start.elapsed() < patient(Duration::from_secs(5)));
    instance.leaves_nothing();
}

// Groups, sessions.

/// S1: process group. Afterwards the calling script has its old priorities.
#[rstest]
fn a_priority_of_a_process_group_stays_inside(#[values(0, 1, 2, 3)] way: usize) {
    let actions = python("call(141, 1, 0, 19); call(251, 2, 0, 3 << 13)");
    let sd = selfdock().display().to_string();
    let state = "echo $(nice) $(ionice -p $$)";
    let script = format!("{state}; {} \"$@\"; {state}", WAYS[way].replace("SD", &sd));
    let transcript = Way::Plain
        .start(Setting::Bare)
        .job(&[&args!["sh", "-c", script, "sh"][..], &actions].concat())
        .transcript();
    assert_eq!(transcript.output[0], transcript.output[1], "{transcript:?}");
    assert!(transcript.output[0].starts_with("0 "), "{transcript:?}");
}

/// The control: without selfdock the group is changed.
#[test]
fn without_selfdock_a_group_can_be_made_slow() {
    let words = [&args!["sh", "-c", "\"$@\"; nice", "sh"][..], &python("call(141, 1, 0, 19)")].concat();
    assert_eq!(Way::Plain.start(Setting::Bare).job(&words).transcript().output, ["19"]);
}

/// Whether the command has its own process group and session.
const OWNS: &str = include_str!("../programs/what_is_own.py");

/// S1: process group.
#[rstest]
#[case::no_terminal(Setting::Bare, "SD run", true, true)]
#[case::no_terminal_unprivileged(Setting::Bare, "SD --unprivileged run", true, true)]
#[case::no_terminal_nested(Setting::Bare, "SD run SD run", false, true)]
#[case::a_terminal(Setting::Terminal, "SD run", false, false)]
#[case::a_terminal_nested(Setting::Terminal, "SD run SD run", false, false)]
#[case::asked_for(Setting::Terminal, "SD --new-session run", true, true)]
#[case::asked_for_inside(Setting::Terminal, "SD run SD --new-session run", true, true)]
#[case::asked_for_outside(Setting::Terminal, "SD --new-session run SD run", false, true)]
fn without_a_terminal_no_process_outside_is_in_the_commands_group(
    #[case] setting: Setting,
    #[case] start: &str,
    #[case] session: bool,
    #[case] group: bool,
) {
    let word = |is: bool| if is { "True" } else { "False" };
    let terminal = if group { "ENXIO" } else { "terminal" };
    let expected = [
        format!("session {}", word(session)),
        format!("group {}", word(group)),
        terminal.into(),
        "alive after 0".into(),
    ];
    assert_eq!(calls(setting, start, &python(OWNS)).output, expected);
}

/// This is a job of a shell that controls jobs without a terminal: the session is the shell's.
#[test]
fn a_job_without_a_terminal_has_a_group_of_its_own() {
    let transcript = Way::Run.start(Setting::Bare).job(&python(OWNS)).transcript();
    assert_eq!(transcript.output, ["session False", "group True", "ENXIO"]);
    let transcript = Way::NewSession.start(Setting::Bare).job(&python(OWNS)).transcript();
    assert_eq!(transcript.output, ["session True", "group True", "ENXIO"]);
}

// Keys.

/// Runs a Python script outside that makes a session keyring and starts instances: `with_a_key.py`.
fn with_a_key(script: &str) -> String {
    const WITH_A_KEY: &str = include_str!("../programs/with_a_key.py");
    Cmd::program(args!["python3", "-c", WITH_A_KEY, selfdock(), CALLS, script]).ok()
}

const READ_KEY: &str = include_str!("../programs/read_key.py");

/// S4: keyrings.
#[test]
fn a_key_of_the_callers_session_is_out_of_reach() {
    let script = format!("read = {READ_KEY:?}\n{}", include_str!("../programs/read_key_everywhere.py"));
    let seen = with_a_key(&script);
    let lines: Vec<&str> = seen.lines().collect();
    assert!(lines[0].ends_with(" secret"), "outside it is in reach: {seen}");
    assert_eq!(lines[1..6], ["ENOSYS"; 5], "{seen}");
    // Without the filter the command also has a session keyring, and it is another one.
    assert_eq!(lines[6..], ["ENOKEY"; 2], "{seen}");
}

/// S4: keyrings.
#[test]
fn a_key_that_is_added_inside_is_not_outside() {
    let add = "print(call(248, b'user', b'behind', b'left', 4, -3))";
    let script = format!(
        "print(run([], {add:?}), run(['--unprivileged'], {add:?}))\n\
         print(isinstance(int(run(['--seccomp', 'none'], {add:?})), int))\n\
         print(call(249, b'user', b'behind', None, -3))"
    );
    assert_eq!(with_a_key(&script), "ENOSYS ENOSYS\nTrue\nENOKEY");
}

// Sockets.

#[rstest]
#[case::run(&[], "EPERM")]
#[case::nested(&["run", "SD"], "EPERM")]
#[case::unprivileged(&["--unprivileged"], "EPERM")]
#[case::asked_for(&["--abstract"], "connected")]
#[case::asked_for_unprivileged(&["--abstract", "--unprivileged"], "connected")]
#[case::asked_for_inside(&["run", "SD", "--abstract"], "EPERM")]
#[case::asked_for_outside(&["--abstract", "run", "SD"], "EPERM")]
#[case::asked_for_twice(&["--abstract", "run", "SD", "--abstract"], "connected")]
#[case::no_network(&["--net", "none"], "ECONNREFUSED")]
#[case::asked_for_without_a_network(&["--net", "none", "--abstract"], "ECONNREFUSED")]
fn abstract_sockets_of_the_host_are_reachable_only_on_request(
    #[case] options: &[&str],
    #[case] result: &str,
) {
    let name = format!("selfdock-test-{}-{}", std::process::id(), options.join(""));
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let connect = format!(
        "s = socket.socket(socket.AF_UNIX)\n\
         try: s.connect('\\0{name}'); print('connected')\n\
         except OSError as e: print(errno.errorcode[e.errno])"
    );
    let sd = selfdock();
    let options =
        options.iter().map(|word| if *word == "SD" { sd.clone().into() } else { OsString::from(word) });
    let words = options.chain(args!["run"]).chain(python(&connect));
    // Without Landlock's scopes they are the network's: docs/where-it-runs.md.
    let result = if result == "EPERM" && !has_scopes() { "connected" } else { result };
    assert_eq!(Cmd::new(words).ok(), result);
    assert_eq!(Cmd::program(python(&connect)).ok(), "connected");
}

#[test]
fn abstract_sockets_of_an_instance_work_inside() {
    let script = "a = socket.socket(socket.AF_UNIX); a.bind('\\0inside'); a.listen()\n\
                  b = socket.socket(socket.AF_UNIX); b.connect('\\0inside'); print('connected')";
    assert_eq!(Cmd::run(python(script)).ok(), "connected");
}

// System calls.

/// The calls that the filter refuses, and two that it allows.
const REFUSED: &str = include_str!("../programs/refused_calls.py");

/// The answers of the filter.
const REFUSALS: &str = "\
add_key ENOSYS
request_key ENOSYS
keyctl ENOSYS
bpf EPERM
perf_event_open EPERM
userfaultfd ENOSYS
io_uring_setup ENOSYS
io_uring_enter ENOSYS
io_uring_register ENOSYS
vsock EAFNOSUPPORT
keyctl, x32 ENOSYS
getpid True
unix True";

/// S4: keyrings.
#[rstest]
#[case::run(args!["run"])]
#[case::asked_for(args!["--seccomp", "default", "run"])]
#[case::nested(args!["run", selfdock(), "run"])]
#[case::unprivileged(args!["--unprivileged", "run"])]
#[case::no_nest(args!["--no-nest", "run"])]
#[case::not_lifted_by_an_inner_one(args!["run", selfdock(), "--seccomp", "none", "run"])]
#[case::image(args!["--root", "/", "run"])]
fn calls_without_use_in_an_instance_are_refused<const N: usize>(#[case] words: [OsString; N]) {
    assert_eq!(Cmd::new(words.into_iter().chain(python(REFUSED))).ok(), REFUSALS);
}

#[test]
fn a_joiner_has_the_same_filter() {
    let instance = crate::support::instance([]);
    let enter = args!["enter", instance.pid().to_string()];
    assert_eq!(Cmd::new(enter.into_iter().chain(python(REFUSED))).ok(), REFUSALS);
}

#[rstest]
#[case::run(args!["--seccomp", "none", "run"])]
#[case::unprivileged(args!["--seccomp", "none", "--unprivileged", "run"])]
#[case::nested(args!["--seccomp", "none", "run", selfdock(), "--seccomp", "none", "run"])]
fn without_the_filter_these_calls_work_as_outside<const N: usize>(#[case] words: [OsString; N]) {
    let outside = Cmd::program(python(REFUSED)).ok();
    assert!(!outside.contains("add_key ENOSYS"), "this kernel has no keys: {outside}");
    let inside = Cmd::new(words.into_iter().chain(python(REFUSED))).ok();
    // The number of a keyring differs each time.
    let answers = |text: &str| {
        let line = |line: &str| {
            line.split_once(' ').unwrap().1.parse::<u64>().map_or(line.to_owned(), |_| "a number".into())
        };
        text.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(answers(&inside), answers(&outside));
}

/// Makes a system call by its number for 32-bit programs.
#[rstest]
#[case::add_key(286, 38)]
#[case::request_key(287, 38)]
#[case::keyctl(288, 38)]
#[case::bpf(357, 1)]
#[case::perf_event_open(336, 1)]
#[case::userfaultfd(374, 38)]
#[case::io_uring_setup(425, 38)]
fn a_call_of_a_32_bit_program_is_refused_too(#[case] number: u32, #[case] errno: i32) {
    let words = args![bin("compat"), number.to_string()];
    let outside = Cmd::program(words.clone()).output();
    if outside.status.code().is_none() {
        // This kernel runs no 32-bit programs, so there are none inside.
        assert!(Cmd::run(words).output().status.code().is_none());
        return;
    }
    // EPERM may also be the kernel's own answer.
    assert!(errno == 1 || outside.status.code() != Some(errno), "it is refused without selfdock");
    Cmd::run(words).output().exits(errno);
}

/// A program for `--seccomp`: getppid fails with EXDEV. Each instruction is code, two jumps, and a value. seccomp(2)
fn own_filter() -> Vec<u8> {
    const GETPPID: u32 = 110;
    const EXDEV: u32 = 18;
    let instruction = |code: u16, yes: u8, no: u8, value: u32| {
        [&code.to_le_bytes()[..], &[yes, no], &value.to_le_bytes()].concat()
    };
    [
        instruction(0x20, 0, 0, 0),                   // load the number of the call
        instruction(0x15, 0, 1, GETPPID),             // if it is getppid
        instruction(0x06, 0, 0, 0x0005_0000 | EXDEV), // SECCOMP_RET_ERRNO
        instruction(0x06, 0, 0, 0x7fff_0000),         // SECCOMP_RET_ALLOW
    ]
    .concat()
}

fn filter_file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = scratch();
    let file = dir.path().join("filter");
    fs::write(&file, bytes).unwrap();
    (dir, file)
}

#[rstest]
#[case::run(args![])]
#[case::unprivileged(args!["--unprivileged"])]
fn a_filter_of_the_callers_is_in_force<const N: usize>(#[case] options: [OsString; N]) {
    let (_dir, file) = filter_file(&own_filter());
    let script = "print(call(110), call(248, None, None, None, 0, 0), call(39) > 0)\n\
                  for line in open('/proc/self/status'):\n \
                  if line.startswith('NoNewPrivs'): print(line.split()[1])";
    let run = Cmd::run(options.into_iter().chain(args!["--seccomp", &file]).chain(python(script)));
    // selfdock's own filter is in force, too.
    assert_eq!(run.ok(), "EXDEV ENOSYS True\n1");
    assert_eq!(Cmd::run(python("print(call(110))")).ok(), "0", "without it");
}

#[rstest]
#[case::empty(Vec::new())]
#[case::half_an_instruction(own_filter()[..12].to_vec())]
#[case::a_byte_more([own_filter(), vec![0]].concat())]
#[case::huge(own_filter().repeat(2000))]
#[case::no_end(own_filter()[..8].to_vec())]
#[case::a_jump_out_of_it([&own_filter()[..10], &[200][..], &own_filter()[11..]].concat())]
#[case::text(b"#!/bin/sh\nexit 0".to_vec())]
fn a_file_that_is_not_a_filter_program_is_refused(#[case] bytes: Vec<u8>) {
    let (_dir, file) = filter_file(&bytes);
    Cmd::run(args!["--seccomp", &file]).sh("echo ran").refused("filter");
}

#[rstest]
#[case::missing("/no/such/filter", "ENOENT")]
#[case::a_directory("/etc", "EISDIR")]
#[case::endless("/dev/zero", "EFBIG")]
#[case::nameless("", "ENOENT")]
fn a_filter_that_cannot_be_read_is_refused(#[case] file: &str, #[case] words: &str) {
    Cmd::run(args!["--seccomp", file]).sh("echo ran").refused(words);
}

/// Like any other file that is read for a command.
#[test]
fn reading_a_filter_that_blocks_can_be_interrupted() {
    let dir = scratch();
    let pipe = dir.path().join("filter");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut run = Cmd::run(args!["--seccomp", &pipe, "true"]).spawn();
    run.signal(Signal::SIGTERM);
    run.wait();
    run.leaves_nothing();
}

/// selfdock does not read a file that the caller may not read.
#[test]
fn a_filter_that_the_caller_may_not_read_is_refused() {
    Cmd::run(args!["--seccomp", fixture("p/pub/canary")]).sh("echo ran").refused("EACCES");
}

// User namespaces.

#[rstest]
#[case::run(args!["--no-userns", "run"], false)]
#[case::inner(args!["run", selfdock(), "--no-userns", "run"], false)]
#[case::outer(args!["--no-userns", "run", selfdock(), "run"], false)]
#[case::unprivileged(args!["--unprivileged", "--no-userns", "run"], false)]
#[case::without_the_filter(args!["--no-userns", "--seccomp", "none", "run"], false)]
#[case::by_default(args!["run"], true)]
#[case::unprivileged_by_default(args!["--unprivileged", "run"], true)]
fn user_namespaces_can_be_forbidden<const N: usize>(#[case] words: [OsString; N], #[case] works: bool) {
    let make = include_str!("../programs/make_user_namespaces.py");
    let seen = Cmd::new(words.into_iter().chain(python(make))).ok();
    assert_eq!(seen, if works { "True\nTrue\nTrue" } else { "False\nFalse\nFalse" });
}

#[test]
fn without_user_namespaces_instances_nest_and_threads_start() {
    let inner = args!["--no-userns", "run", selfdock(), "run", selfdock(), "run"];
    let script = "import threading; t = threading.Thread(target=lambda: print('in')); t.start(); t.join()";
    assert_eq!(Cmd::new(inner.into_iter().chain(args!["python3", "-c", script])).ok(), "in");
    let ran = Cmd::run(args!["--no-userns", "unshare", "-Ur", "true"]).output();
    assert!(!ran.status.success() && ran.stderr.contains("unshare"), "{}", ran.stderr);
    Cmd::run(args!["unshare", "-Ur", "true"]).ok();
}

// Namespaces.

#[rstest]
#[case::run(args![])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::image(args!["--root", fixture("debian")])]
fn an_instance_has_its_own_namespaces_except_the_network<const N: usize>(#[case] options: [OsString; N]) {
    let read = |name: &str| format!("readlink /proc/self/ns/{name}; ");
    let script: String = ["mnt", "pid", "ipc", "uts", "cgroup", "net"].into_iter().map(read).collect();
    let outside = Cmd::program(args!["sh", "-c", &script]).ok();
    let inside = Cmd::run(options).sh(&script).ok();
    for (outer, inner) in outside.lines().zip(inside.lines()) {
        assert_eq!(outer == inner, outer.starts_with("net"), "{outer} outside, {inner} inside");
    }
    let nested =
        Cmd::run(args!["sh", "-c", format!("{script} {} run sh -c '{script}'", selfdock().display())]).ok();
    let lines: Vec<&str> = nested.lines().collect();
    assert!(lines[..5].iter().zip(&lines[6..11]).all(|(outer, inner)| outer != inner), "{nested}");
}

#[rstest]
#[case::run(args![])]
#[case::unprivileged(args!["--unprivileged"])]
fn the_names_of_the_hosts_control_groups_are_invisible_inside<const N: usize>(
    #[case] options: [OsString; N],
) {
    let groups = Cmd::run(options).arg("cat").arg("/proc/self/cgroup").ok();
    assert!(groups.lines().all(|line| line.ends_with(":/")), "{groups}");
}

// Limits.

/// It is not the user of the tests, whose processes come and go.
const LIMITED: &str = "61236";

/// The processes of that user.
fn limited_processes() -> usize {
    let all =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let of_user = |pid: &String| {
        let status = crate::support::status_of(pid, &["Uid", "State"]);
        status.contains(&format!("Uid: {LIMITED} "))
            && !status.contains("State: Z")
            && !status.contains("State: X")
    };
    all.filter(of_user).count()
}

/// S5: process limit. Starts instances until no more fit, nested ones first: these would exceed the limit by
/// themselves.
#[rstest]
#[case::nested(&[], &[])]
#[case::unprivileged_inside(&[], &["--unprivileged"])]
#[case::unprivileged(&["--unprivileged"], &[])]
fn the_callers_limit_of_processes_applies(#[case] outer: &[&str], #[case] inner: &[&str]) {
    // One case at a time, since they share the user.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    const FILL: &str = include_str!("../programs/fill_with_instances.py");
    let user = ["--reuid", LIMITED, "--regid", LIMITED, "--clear-groups", "env", "-C", "/"];
    let start = args![fixture("setuid/probe"), "as-root", "setpriv"].into_iter().chain(user.map(Into::into));
    let cmd = args![selfdock()].into_iter().chain(outer.iter().map(OsString::from));
    let words =
        start.chain(cmd).chain(args!["--rlimit", "nproc=12", "run", "python3", "-c", FILL, selfdock()]);
    let words = words.chain(inner.iter().map(OsString::from));
    let mut run = Cmd::program(words).spawn();
    let mut lines = vec![run.line()];
    while lines.last().is_some_and(|line| line != "end") {
        lines.push(run.line());
    }
    let count = limited_processes();
    run.write("end\n");
    run.wait();
    assert!(count <= 12, "{count} processes, {lines:?}");
    assert!(count >= 10, "{count} processes: the limit was not reached, {lines:?}");
}
