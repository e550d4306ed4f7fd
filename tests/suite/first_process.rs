//! first-process: PID 1 is selfdock's keeper, and the command is an ordinary process with its supervisor's PID.

use crate::faults::strace_as_root;
use crate::support::{
    Cmd, args, fixture, is_alive, keeper_of, nested, patient, python, selfdock, tree, wait_until,
};
use nix::sys::signal::Signal;
use rstest::rstest;
use std::ffi::OsString;
use std::time::Duration;

#[rstest]
#[case::run(args![])]
#[case::nested(args![selfdock(), "run"])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::in_an_image(args!["--root", fixture("busybox")])]
fn pid_1_is_selfdocks_own<const N: usize>(#[case] words: [OsString; N]) {
    let seen = Cmd::run(words).sh("cat /proc/1/comm; grep -E '^(PPid|State)' /proc/1/status").ok();
    assert_eq!(seen.replace('\t', " "), "keeper\nState: S (sleeping)\nPPid: 0");
}

#[rstest]
fn no_zombie_remains(#[values(0, 1)] depth: usize) {
    let script = "(sleep 0 & exec true) ; (sh -c 'sleep 0.05 &') ; n=0; \
                  while ps -o stat= -A | grep -q Z && [ $n -lt 200 ]; do n=$((n + 1)); sleep 0.02; done; \
                  ps -o stat= -A | grep -c Z";
    assert_eq!(Cmd::run(nested(depth, [])).sh(script).output().stdout, "0\n");
}

/// An orphan becomes a child of the keeper. A command that waits for its own children does not see it.
#[test]
fn the_keeper_is_the_parent_of_orphans() {
    let script = "(sh -c 'until grep -q PPid:.1$ /proc/$$/status; do :; done; echo parent 1' &) ; read x";
    let mut instance = Cmd::run([]).sh(script).spawn();
    assert_eq!(instance.line(), "parent 1");
    instance.write("end\n");
    instance.wait();
}

/// K6: pid escape; C3: ptrace window.
#[rstest]
#[case::run(args![])]
#[case::nested(args![selfdock(), "run"])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::unprivileged_and_nested(args!["--unprivileged", selfdock(), "run"])]
#[case::no_filter(args!["--seccomp", "none"])]
#[case::no_network(args!["--net", "none"])]
fn no_signal_from_inside_reaches_the_keeper<const N: usize>(#[case] words: [OsString; N]) {
    let script =
        "for n in $(seq 1 64); do kill -$n 1 2>/dev/null; done; grep State /proc/1/status; echo up; read x";
    let mut instance = Cmd::run(words).arg("bash").arg("-c").arg(script).spawn();
    assert_eq!(instance.line(), "State:\tS (sleeping)");
    assert_eq!(instance.line(), "up");
    assert!(tree(instance.pid()).iter().all(|pid| is_alive(*pid)));
    instance.write("end\n");
    assert!(instance.wait().success());
}

const TRACE: &str = include_str!("../programs/trace_pid_1.py");

/// K6: pid escape; C3: ptrace window. As an ordinary caller, and as root.
#[rstest]
#[case::run(args![selfdock(), "run"])]
#[case::nested(args![selfdock(), "run", selfdock(), "run"])]
#[case::unprivileged(args![selfdock(), "--unprivileged", "run"])]
#[case::no_filter(args![selfdock(), "--seccomp", "none", "run"])]
#[case::no_network(args![selfdock(), "--net", "none", "run"])]
#[case::in_a_user_namespace(args![selfdock(), "run", "unshare", "-Ur"])]
#[case::as_root(args![fixture("setuid/probe"), "as-root", selfdock(), "run"])]
fn the_keeper_cannot_be_traced<const N: usize>(#[case] words: [OsString; N]) {
    let seen = Cmd::program(words.into_iter().chain(python(TRACE))).ok();
    for line in seen.lines() {
        let (action, result) = line.split_once(' ').unwrap();
        assert_eq!(result, "EPERM", "{action}: {seen}");
    }
    assert_eq!(seen.lines().count(), 7);
}

/// K6: pid escape; C3: ptrace window.
#[rstest]
#[case::run(args![selfdock(), "run"])]
#[case::nested(args![selfdock(), "run", selfdock(), "run"])]
#[case::unprivileged(args![selfdock(), "--unprivileged", "run"])]
#[case::no_filter(args![selfdock(), "--seccomp", "none", "run"])]
#[case::no_network(args![selfdock(), "--net", "none", "run"])]
#[case::in_a_user_namespace(args![selfdock(), "run", "unshare", "-Ur"])]
#[case::as_root(args![fixture("setuid/probe"), "as-root", selfdock(), "run"])]
fn the_keeper_reveals_nothing<const N: usize>(#[case] words: [OsString; N]) {
    let script = "cd /proc/1; for f in exe root cwd; do readlink $f && echo shown $f; done; \
                  for f in mem maps smaps environ auxv stack syscall io pagemap map_files/* fd/* fdinfo/* root/* cwd/* \
                  ns/mnt task/1/mem; do head -c 1 $f 2>/dev/null | grep -q . && echo shown $f; done; \
                  for f in mem loginuid uid_map; do (echo 0 > $f) 2>/dev/null && echo wrote $f; done; \
                  ls fd fdinfo map_files | grep -v ':$' | grep .; cat mounts mountinfo mountstats; echo end";
    let seen = Cmd::program(words.into_iter().chain(args!["bash", "-c", script])).output();
    assert_eq!(seen.stdout, "end\n");
}

/// I5: signals, umask.
#[rstest]
fn the_keeper_ends_with_a_killed_supervisor(#[values(0, 2)] depth: usize) {
    let mut instance = Cmd::run(nested(depth, args!["cat"])).spawn().that_repeats();
    let all = tree(instance.pid());
    instance.signal(nix::sys::signal::Signal::SIGKILL);
    instance.wait();
    wait_until("nothing is left", || !all.iter().any(|pid| is_alive(*pid)));
}

/// I5: signals, umask. The supervisor can be killed before the keeper has asked to end with it.
#[test]
fn a_keeper_without_a_supervisor_from_its_start_on_ends() {
    let slow = args!["-u", "tester", "-e", "inject=prctl:delay_enter=300000:when=1", "-o", "/dev/null"];
    let mut traced = strace_as_root([], slow, args![selfdock(), "run", "sleep", "1000"]).spawn();
    let mut below = Vec::new();
    wait_until("there is a keeper", || {
        below = tree(traced.pid());
        below.len() > 2
    });
    let end = |pid: i32| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    end(below[1]).unwrap();
    let has_ended = std::panic::catch_unwind(|| wait_until("the keeper ends", || !is_alive(below[2])));
    // strace waits for the last process.
    let _ = end(below[2]);
    traced.wait();
    assert!(has_ended.is_ok());
}

/// It keeps no directory of its caller in use. Only root sees where it is.
#[rstest]
fn the_keeper_is_in_an_empty_root_directory(#[values("run", "--unprivileged run")] words: &str) {
    let run =
        Cmd::new(words.split(' ').map(Into::into)).arg("cat").current_dir("/usr").spawn().that_repeats();
    let look = "cd /proc/$0; stat -Lc %d:%i root cwd | uniq | wc -l; ls -A root/ cwd/ | grep -v :";
    let keeper = keeper_of(run.pid()).to_string();
    let seen = Cmd::program(args![fixture("setuid/probe"), "as-root", "sh", "-c", look, keeper]).output();
    assert_eq!(seen.stdout.trim(), "1", "{}", seen.stderr);
}

#[rstest]
#[case::set_uid(&[])]
#[case::unprivileged(&["--unprivileged"])]
#[case::build(&["build", "--root", "/"])]
fn the_command_has_the_pid_that_selfdock_has(#[case] options: &[&str]) {
    for script in ["exec \"$@\"", "exec \"$@\" \"$SELFDOCK\" run"] {
        let mut words: Vec<String> = options.iter().map(|word| (*word).to_owned()).collect();
        if !options.contains(&"build") {
            words.push("run".into());
        }
        let outer = Cmd::program(args![
            "sh",
            "-c",
            format!("echo $$; {script} sh -c 'echo $$ $PPID'"),
            "sh",
            selfdock()
        ]);
        let seen = words.iter().fold(outer, |cmd, word| cmd.arg(word)).env("SELFDOCK", selfdock()).ok();
        let (outside, inside) = seen.split_once('\n').unwrap();
        assert_eq!(inside, format!("{outside} 0"));
    }
}

/// As in a container, where selfdock is PID 1.
#[test]
fn where_selfdock_itself_is_pid_1_the_command_has_another() {
    let own = args!["unshare", "-Urpf", "--mount-proc", "--kill-child"];
    let seen = Cmd::program(own.into_iter().chain(args![selfdock(), "run", "sh", "-c", "echo $$"])).ok();
    assert_eq!(seen, "2");
}

/// C3: ptrace window.
#[rstest]
fn the_keeper_shows_only_the_network_of_the_instance(#[values(&[][..], &["--unprivileged"])] mode: &[&str]) {
    let script = "tail -n +3 /proc/1/net/dev | cut -d : -f 1 | tr -d ' '; tail -n +2 /proc/1/net/unix";
    let options = args!["--net", "none", "run"].into_iter().chain(mode.iter().map(Into::into));
    assert_eq!(Cmd::new(options).sh(script).ok(), "lo");
}

/// S2: an outlived deadline. Somebody outside can stop the keeper. It still exists then.
#[test]
fn a_keeper_that_was_stopped_still_ends_everything() {
    let mut instance = Cmd::run([]).sh("sleep 1000 >/dev/null & echo up; read line; exit 4").spawn();
    instance.line();
    let keeper = nix::unistd::Pid::from_raw(keeper_of(instance.pid()));
    for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
        nix::sys::signal::kill(keeper, signal).unwrap();
    }
    instance.write("go\n");
    assert_eq!(instance.wait().code(), Some(4));
    assert!(!is_alive(keeper.as_raw()));
    instance.leaves_nothing();
}

/// S3: A stop against the deadline. The kernel tells only the tracer that a traced process has died.
#[test]
fn a_traced_command_is_ended_in_time() {
    let script = "import time\nparent = os.getpid()\n\
        if not os.fork(): call(101, 0x4206, parent, 0, 0); time.sleep(1000)\n\
        time.sleep(1000)";
    let time = patient(Duration::from_millis(300)).as_secs_f32();
    let ran =
        Cmd::new(args!["--timeout", format!("{time:.1}"), "run"].into_iter().chain(python(script))).output();
    ran.exits(137);
}
