//! whole-instance: A limit of the whole instance holds for all its processes together, and the report tells what
//! happened.
//!
//! The limits by control groups are checked by `cargo xtask kernels`, in machines that have these groups.

use crate::proxy::Echo;
use crate::races::rounds;
use crate::support::{Cmd, args, instance, scratch, second, selfdock, wait_until};
use nix::errno::Errno;
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// A field of a report, read by a real JSON reader.
pub fn field(report: &str, name: &str) -> String {
    let script = "import json, sys; x = json.load(sys.stdin)[sys.argv[1]]; print('null' if x is None else x)";
    Cmd::program(args!["python3", "-c", script, name]).stdin(report).ok()
}

/// `selfdock run` with a report, and what that says. The script's own standard error goes elsewhere.
fn told(options: &[&str], script: &str) -> (std::process::ExitStatus, String, String) {
    let dir = scratch();
    let file = dir.path().join("report");
    let words = args!["--report", &file].into_iter().chain(options.iter().map(Into::into));
    let ran = Cmd::run(words).sh(script).output();
    (ran.status, ran.stdout, fs::read_to_string(&file).unwrap())
}

#[rstest]
#[case::well("exit 0", &[], "OK")]
#[case::failed("exit 3", &[], "RE")]
#[case::killed("kill -SEGV $$", &[], "SG")]
#[case::late("sleep 100", &["--timeout", "0.2"], "TO")]
#[case::late_and_killed("trap '' TERM; while :; do sleep 0.1; done", &["--timeout", "0.2,0.1"], "TO")]
#[case::out_of_processor_time("while :; do :; done", &["--rlimit", "cpu=1"], "TO")]
#[case::a_file_that_grows("exec head -c 9999 /dev/zero >/tmp/x", &["--rlimit", "fsize=1k"], "OL")]
#[case::printed_too_much("exec yes", &["--output-limit", "1k"], "OL")]
#[case::never_started("", &["-m", "/usr", "/etc/passwd"], "XX")]
fn the_report_has_a_status_as_isolate_has_it(
    #[case] script: &str,
    #[case] options: &[&str],
    #[case] status: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let options: Vec<&str> = mode.split_whitespace().chain(options.iter().copied()).collect();
    let (_, _, report) = told(&options, script);
    assert_eq!(field(&report, "status"), status, "{report}");
}

/// The oracle is the same command with an ordinary pipe.
#[rstest]
#[case::of_one("seq 1000")]
#[case::of_both("for i in $(seq 300); do echo out $i; echo err $i >&2; done")]
#[case::of_children_that_stay_a_while("seq 500 & (seq 600; seq 700 >&2) & wait")]
#[case::of_an_orphan(
    "(sleep 0.2; echo late) & mkfifo /tmp/f$$; (echo x >/tmp/f$$ &); cat /tmp/f$$; wait; rm /tmp/f$$"
)]
#[case::as_much_as_it_may("head -c 1048576 /dev/zero")]
#[case::none("true")]
fn what_is_within_the_limit_is_printed_as_without_it(
    #[case] script: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let words = args!["--output-limit", "1M"].into_iter().chain(mode.split_whitespace().map(Into::into));
    let (with, without) =
        (Cmd::run(words).sh(script).output(), Cmd::program(args!["sh", "-c", script]).output());
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(Into::into).collect();
        lines.sort();
        lines
    };
    assert_eq!(with.status.code(), Some(0));
    assert_eq!(sorted(&with.stdout), sorted(&without.stdout));
    assert_eq!(sorted(&with.stderr), sorted(&without.stderr));
}

#[rstest]
#[case::for_good("exec yes")]
#[case::by_another("yes & sleep 1000")]
#[case::on_both("yes & exec yes >&2")]
#[case::and_ends_before_anybody_looks("head -c 4097 /dev/zero")]
#[case::with_every_signal_ignored("trap '' INT TERM PIPE HUP; while :; do echo 0123456789; done 2>/dev/null")]
#[case::by_a_nested_instance("$SELFDOCK run yes")]
fn beyond_the_limit_nothing_is_printed_and_the_command_is_killed(
    #[case] script: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let options: Vec<&str> = mode.split_whitespace().chain(["--output-limit", "4k"]).collect();
    let dir = scratch();
    let file = dir.path().join("report");
    let words = args!["--report", &file].into_iter().chain(options.iter().map(Into::into));
    let ran = Cmd::run(words).sh(script).output();
    let report = fs::read_to_string(&file).unwrap();
    assert_eq!(ran.status.signal(), Some(9), "{report}");
    assert_eq!(ran.stdout.len() + ran.stderr.len(), 4096, "{report}");
    let seen = ["exit", "signal", "ended_by", "status"].map(|name| field(&report, name));
    assert_eq!(seen, ["null", "9", "output", "OL"], "{report}");
    assert!(field(&report, "output_bytes").parse::<u64>().unwrap() > 4096, "{report}");
}

/// All output has arrived when selfdock ends.
#[test]
fn what_was_printed_to_a_file_is_there_at_the_end() {
    let dir = scratch();
    for _ in 0..20 {
        let script = "$SELFDOCK run --output-limit 1M seq 20000 >out; tail -1 out";
        assert_eq!(Cmd::program(args!["sh", "-c", script]).current_dir(dir.path()).ok(), "20000");
    }
}

/// A slow reader gets all that a pipe would have held, and selfdock does not wait for it.
#[test]
fn a_slow_reader_does_not_hold_the_end_up_and_loses_nothing() {
    let script = "mkfifo go; { $SELFDOCK run --timeout 1000 --output-limit 1M head -c 100000 /dev/zero; \
                  echo $? >status; echo >go; } | { read x <go; wc -c; }; cat status";
    let dir = scratch();
    assert_eq!(Cmd::program(args!["sh", "-c", script]).current_dir(dir.path()).ok(), "100000\n0");
}

/// The oracle is the same command without the limit: it cannot write either.
#[rstest]
#[case::output("exec echo hi >&-")]
#[case::errors("exec sh -c 'echo hi >&2' 2>&-")]
#[case::both("exec sh -c 'echo hi || echo hi >&2' >&- 2>&-")]
#[case::read_only("exec echo hi </dev/null >&0")]
fn a_descriptor_that_cannot_be_written_is_the_commands_as_it_is(
    #[case] script: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let script = |limit| script.replace("exec", &format!("exec $SELFDOCK run {mode} {limit}"));
    let run = |limit| Cmd::program(args!["sh", "-c", script(limit)]).output();
    let (with, without) = (run("--output-limit 1M"), run(""));
    assert_eq!(with.status, without.status, "{}", with.stderr);
    assert_ne!(with.status.code(), Some(0));
}

/// Output that nobody has read yet counts as well.
#[test]
fn what_waits_in_a_pipe_counts_before_the_end_is_told() {
    // If the user has many pipes, the kernel makes smaller ones. Then the command ends after the reader begins.
    let script = "mkfifo go; exec 3<>go; \
                  { $SELFDOCK run --output-limit 150000 --report report head -c 190000 /dev/zero; echo $? >status; \
                  echo >&3; } 2>/dev/null | { read -t 5 x <&3; wc -c; }; cat status";
    let dir = scratch();
    // What fits into two pipes and a buffer, and is beyond the limit: 64k go to the reader, 64k are held, 64k wait.
    assert_eq!(Cmd::program(args!["bash", "-c", script]).current_dir(dir.path()).ok(), "150000\n137");
    let report = fs::read_to_string(dir.path().join("report")).unwrap();
    assert_eq!(field(&report, "status"), "OL", "{report}");
}

/// The reader of the report need not wait for the reader of the output.
#[test]
fn the_report_ends_though_output_is_left() {
    let script = "mkfifo report read; exec 3<>read; \
                  { $SELFDOCK run --output-limit 1M --report report head -c 100000 /dev/zero; } | \
                  { read -t 5 x <&3; wc -c; } & cat report >text; echo >&3; wait; grep -c OK text";
    let dir = scratch();
    let run = Cmd::program(args!["bash", "-c", script]).current_dir(dir.path());
    assert_eq!(run.ok(), "100000\n1");
}

/// In an outer instance no process outlives the first one, so selfdock waits for the reader.
#[test]
fn output_is_not_lost_where_the_surroundings_end() {
    // If selfdock ended before the reader begins, the reader would get a line at once. There is no other event.
    let script = "mkfifo go; exec 3<>go; \
                  { $SELFDOCK run $SELFDOCK run --output-limit 1M head -c 100000 /dev/zero; echo >&3; } | \
                  { read -t 1 x <&3 && echo too early; wc -c; }";
    let dir = scratch();
    assert_eq!(Cmd::program(args!["bash", "-c", script]).current_dir(dir.path()).ok(), "100000");
}

/// Another program can keep the output of a command open as long as it likes.
#[rstest]
#[case::alone("", "run")]
#[case::of_a_batch("", "each")]
#[case::in_an_instance("$SELFDOCK run -H", "run")]
#[case::of_a_batch_in_an_instance("$SELFDOCK run -H", "each")]
fn whoever_keeps_the_output_does_not_hold_the_end_up(
    #[case] outer: &str,
    #[case] verb: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let script = format!(
        "echo 1 >list; exec {outer} python3 -c \"$HOLD\" sh -c 'exec <list; exec $SELFDOCK {mode} {verb} -v . /mnt/x \
         --output-limit 1k --report report python3 -c \"$SEND\" /mnt/x/hold'"
    );
    let dir = scratch();
    let run = Cmd::program(args!["sh", "-c", script]).current_dir(dir.path()).within(Duration::from_secs(20));
    let (hold, send) =
        (include_str!("../programs/hold_output.py"), include_str!("../programs/send_output.py"));
    assert_eq!(run.env("HOLD", hold).env("SEND", send).ok(), "sent\nstatus 0, 0 left");
    let report = if verb == "each" { "report/1.json" } else { "report" };
    let report = fs::read_to_string(dir.path().join(report)).unwrap();
    assert_eq!(["status", "output_bytes"].map(|name| field(&report, name)), ["OK", "5"], "{report}");
}

/// A program that executes selfdock can have children, which are no part of the instance.
#[rstest]
fn another_child_of_the_caller_is_not_the_attendant(
    #[values("", "--unprivileged")] mode: &str,
    #[values("", "1")] apart: &str,
) {
    const PROGRAM: &str = include_str!("../programs/have_another_child.py");
    let words = args!["python3", "-c", PROGRAM, selfdock()];
    let ran = Cmd::program(words.into_iter().chain(mode.split_whitespace().map(Into::into)));
    let ran = ran.env("APART", apart).output();
    assert_eq!(ran.stderr, "");
    assert!(ran.stdout.starts_with("0 {") && ran.stdout.contains("\"status\":\"OK\""), "{}", ran.stdout);
}

/// Their usage does not count as the command's.
#[rstest]
fn the_report_does_not_count_other_children_of_the_caller(
    #[values("", "--unprivileged")] mode: &str,
    #[values("", "--output-limit 1k")] limit: &str,
) {
    // The command reads to the end of the other child.
    let script = format!(
        "mkfifo end; python3 -c \"$USE\" 1 >end & exec $SELFDOCK {mode} {limit} -m end /mnt/end --report report \
         run cat /mnt/end"
    );
    let dir = scratch();
    let burn = include_str!("../programs/use_processor.py");
    Cmd::program(args!["sh", "-c", script]).env("USE", burn).current_dir(dir.path()).ok();
    let report = fs::read_to_string(dir.path().join("report")).unwrap();
    let used = ["user_seconds", "system_seconds"].map(|name| field(&report, name).parse::<f64>().unwrap());
    assert!(used.iter().sum::<f64>() < 0.5, "{report}");
}

/// A filter that nobody writes holds the supervisor up, before it can write a report.
#[test]
fn an_end_before_the_start_is_told_as_one() {
    let dir = scratch();
    let script = "mkfifo filter; exec $SELFDOCK --output-limit 1M --report report --seccomp filter run true";
    let mut running = Cmd::program(args!["sh", "-c", script]).current_dir(dir.path()).spawn();
    let (filter, mut held) = (dir.path().join("filter"), None);
    wait_until("the supervisor waits for the filter", || {
        held = fs::OpenOptions::new()
            .write(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open(&filter)
            .ok();
        held.is_some()
    });
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.wait().signal(), Some(15));
    // The attendant writes it when the supervisor has ended.
    let read = || fs::read_to_string(dir.path().join("report")).unwrap();
    wait_until("the report is written", || !read().is_empty());
    let seen = ["started", "exit", "signal", "status"].map(|name| field(&read(), name));
    assert_eq!(seen, ["False", "null", "null", "XX"], "{}", read());
}

/// What the second program refuses, before and after it has opened the report.
#[rstest]
#[case::data("$REPORT -m /dev/fd/9 /mnt/x run true", "read '/dev/fd/9'")]
#[case::data_with_an_attendant("$REPORT --output-limit 1k -m /dev/fd/9 /mnt/x run true", "read '/dev/fd/9'")]
#[case::a_copy("$REPORT -o /no/such /mnt run true", "copy '/no/such'")]
#[case::a_copy_with_an_attendant("$REPORT --output-limit 1k -o /no/such /mnt run true", "copy '/no/such'")]
#[case::changes_of_nothing("$REPORT --changes /tmp/x run true", "there is no --overlay")]
#[case::a_proxy("$REPORT --net none --proxy /no/such run true", "--proxy '/no/such'")]
#[case::ids("$REPORT --fake-root --no-userns run true", "--no-userns")]
#[case::a_network("$REPORT --net user,tcp=0 run true", "--net 'user,tcp=0'")]
#[case::a_limit("$REPORT --pids 0 run true", "--pids '0'")]
#[case::a_wrong_line("$REPORT -m /etc etc run true", "'etc'")]
#[case::a_preset("$REPORT --x11 run true", "DISPLAY is not set")]
#[case::an_agent("$REPORT --ssh-agent run true", "SSH_AUTH_SOCK is not set")]
#[case::a_home("$REPORT --home run true", "HOME is not set")]
#[case::no_source("$REPORT -b missing run true", "'missing'")]
#[case::a_named_volume("$REPORT -v data:/x run true", "no named volumes")]
#[case::a_filter("$REPORT --seccomp /no/such run true", "read the filter '/no/such'")]
#[case::a_cut_filter("$REPORT --seccomp /etc/hostname run true", "not a BPF program of 8-byte instructions")]
#[case::a_filter_with_an_attendant("$REPORT --output-limit 1k --seccomp /no/such run true", "'/no/such'")]
#[case::a_filter_of_a_copy("$REPORT -o /usr/bin /mnt --seccomp /no/such run true", "'/no/such'")]
#[case::inside("-H run $SD $REPORT --fake-root --no-userns run true", "--no-userns")]
#[case::a_filter_inside("-H run $SD $REPORT --seccomp /no/such run true", "read the filter '/no/such'")]
#[case::a_small_stack("$REPORT run true; ulimit -s 100", "the stack limit is too small")]
#[case::a_small_stack_in_a_copy(
    "$REPORT -o /usr/bin /mnt run true; ulimit -s 100",
    "the stack limit is too small"
)]
fn the_report_tells_why_there_is_no_instance(
    #[case] line: &str,
    #[case] why: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let dir = scratch();
    // It replaces what an earlier run has left.
    let (line, before) = line.split_once("; ").unwrap_or((line, ":"));
    let script = format!("echo old >report; {before}; exec $SD {line} 9>&-");
    let run = Cmd::program(args!["bash", "-c", script]).env("REPORT", format!("--report report {mode}"));
    let run = ["HOME", "DISPLAY", "SSH_AUTH_SOCK"].iter().fold(run, |run, name| run.env(name, ""));
    let ran = run.env("SD", selfdock()).current_dir(dir.path()).refused(why);
    let report = fs::read_to_string(dir.path().join("report")).unwrap();
    let seen = ["started", "exit", "signal", "status"].map(|name| field(&report, name));
    assert_eq!(seen, ["False", "125", "null", "XX"], "{report}");
    assert_eq!(format!("selfdock: {}", field(&report, "error")), ran.stderr.trim_end());
}

/// It replaces what an earlier run has left.
#[rstest]
#[case::of_nobody("999999999", "no such process")]
#[case::of_another("1", "enter '1'")]
fn the_report_tells_why_an_instance_is_not_entered(#[case] pid: &str, #[case] why: &str) {
    let dir = scratch();
    let file = dir.path().join("report");
    fs::write(&file, "old").unwrap();
    let ran = Cmd::new(args!["--report", &file, "enter", pid, "true"]).output().exits(125);
    let report = fs::read_to_string(&file).unwrap();
    let seen = ["started", "exit", "signal", "status"].map(|name| field(&report, name));
    assert_eq!(seen, ["False", "125", "null", "XX"], "{report}");
    assert_eq!(format!("selfdock: {}", field(&report, "error")), ran.stderr.trim_end());
    assert!(ran.stderr.contains(&why.replace('\'', "")), "{}", ran.stderr);
}

/// The instance exists, and cannot be entered in this way.
#[rstest]
#[case::with_a_small_stack("ulimit -s 100; exec", "the stack limit is too small")]
#[case::without_privilege(
    "exec setpriv --no-new-privs",
    "it needs privilege, and here is none; see 'selfdock doctor'"
)]
fn the_report_tells_what_keeps_the_caller_from_entering(#[case] how: &str, #[case] why: &str) {
    let (dir, running) = (scratch(), instance([]));
    let script = format!("echo old >report; {how} \"$0\" --report report enter {} true", running.pid());
    let ran = Cmd::program(args!["bash", "-c", script, selfdock()]).current_dir(dir.path()).refused(why);
    let report = fs::read_to_string(dir.path().join("report")).unwrap();
    assert_eq!(format!("selfdock: {}", field(&report, "error")), ran.stderr.trim_end());
    assert_eq!(field(&report, "status"), "XX", "{report}");
}

/// The oracle is the same message where selfdock itself starts the command. The name has as many bytes as a word can
/// have, and is more than a pipe holds.
#[test]
fn a_long_message_is_told_once_and_is_all_in_the_report() {
    let (dir, echo, name) = (scratch(), Echo::new(), "x".repeat(130_000));
    let file = dir.path().join("report");
    let plain = Cmd::run(args![&name]).output().exits(127);
    let words = args!["--report", &file, "--net", "none", "--proxy", echo.socket, "run", name];
    let ran = Cmd::new(words).output().exits(127);
    assert!(ran.stderr == plain.stderr, "{} bytes, not {}", ran.stderr.len(), plain.stderr.len());
    let report = fs::read_to_string(&file).unwrap();
    assert!(format!("selfdock: {}\n", field(&report, "error")) == ran.stderr);
}

/// The oracle is the report where nobody passes it on. It is more than a pipe holds.
#[test]
fn a_long_report_is_the_same_where_it_is_passed_on() {
    let (dir, name) = (scratch(), format!("/{}", "x".repeat(70_000)));
    let [told, passed_on] = [args!["--net", "none"], args!["--output-limit", "10"]].map(|options| {
        let file = dir.path().join("report");
        let words = options.into_iter().chain(args!["--report", &file, "-C", &name, "run", "true"]);
        let ran = Cmd::new(words).output().exits(125);
        (ran.stderr, field(&fs::read_to_string(&file).unwrap(), "error"))
    });
    assert!(told == passed_on && told.1.len() > 70_000, "{} bytes, not {}", passed_on.1.len(), told.1.len());
}

/// A timeout holds all the same. Inside, the message is lost with the instance if nobody reads it.
#[rstest]
#[case::on_the_host("--proxy $SOCKET", "127\nselfdock: run 'nosuch'")]
#[case::inside("run -v $SOCKET /tmp/p $SD --proxy /tmp/p", "127")]
fn standard_error_that_nobody_reads_does_not_hold_the_end_up(#[case] line: &str, #[case] expected: &str) {
    const PROGRAM: &str = include_str!("../programs/with_full_errors.py");
    let echo = Echo::new();
    let script = format!(
        "exec python3 -c \"$PROGRAM\" $SD {line} --net none --timeout 1 --report /dev/null run nosuch"
    );
    let run = Cmd::program(args!["bash", "-c", script]).env("SD", selfdock()).env("PROGRAM", PROGRAM);
    let seen = run.env("SOCKET", &echo.socket).ok();
    assert!(seen.starts_with(expected), "{seen}");
}

/// A timeout holds, whatever becomes of the terminal. A terminal can say that there is room, and then let a writer
/// wait.
#[rstest]
#[case::unread("inner", "run", "yes")]
#[case::unread_input("outer", "run", "yes")]
#[case::stopped("stopped", "run", "python3 -c \"$STOP\"")]
#[case::of_a_batch("inner", "each", "yes")]
fn a_terminal_that_takes_nothing_does_not_hold_the_end_up(
    #[case] how: &str,
    #[case] verb: &str,
    #[case] command: &str,
    #[values("", "--unprivileged")] mode: &str,
    #[values("", "$SELFDOCK run -b .")] outer: &str,
) {
    let time = second();
    let script = format!(
        "echo x >list; exec python3 -c \"$PROGRAM\" {how} {outer} $SELFDOCK {mode} --timeout {time},1 \
         --report report --output-limit 1G {verb} {command} <list"
    );
    let dir = scratch();
    let (program, stop) =
        (include_str!("../programs/with_unread_terminal.py"), include_str!("../programs/stop_terminal.py"));
    let run = Cmd::program(args!["sh", "-c", script]).env("PROGRAM", program).env("STOP", stop);
    let ran = run.current_dir(dir.path()).within(Duration::from_secs(30)).ok();
    // In another instance no process is left.
    let left = if outer.is_empty() { "\nleft -15" } else { "" };
    assert_eq!(ran, format!("{}{left}", if verb == "each" { 123 } else { 124 }));
    let report = if verb == "each" { "report/1.json" } else { "report" };
    let report = fs::read_to_string(dir.path().join(report)).unwrap();
    assert_eq!(field(&report, "status"), "TO", "{report}");
}

/// Who passes on what is left must not be the reader that it waits for.
#[rstest]
fn a_fifo_that_is_open_for_both_keeps_no_process(#[values("", "--unprivileged")] mode: &str) {
    let script = format!(
        "mkfifo fifo; $SELFDOCK {mode} --timeout 1,1 --output-limit 1M run head -c 300000 /dev/zero 1<>fifo; echo $?"
    );
    let dir = scratch();
    // `Cmd` checks that nothing is left. The end may take longer than the grace.
    let status = Cmd::program(args!["sh", "-c", script]).current_dir(dir.path()).ok();
    assert!(["124", "137"].contains(&&*status), "{status}");
}

/// The caller cannot open it again, so whoever passes on what is left stays its reader.
#[rstest]
fn output_to_a_fifo_that_is_closed_to_the_caller_is_not_lost(#[values("", "--unprivileged")] mode: &str) {
    let script = format!(
        "mkfifo fifo; exec 9<>fifo; chmod 0 fifo
         $SELFDOCK {mode} --output-limit 1M run head -c 100000 /dev/zero >&9 9<&-
         echo $?; timeout 9 head -c 100000 <&9 | wc -c"
    );
    let dir = scratch();
    let seen = Cmd::program(args!["sh", "-c", script]).current_dir(dir.path()).env("SELFDOCK", selfdock());
    assert_eq!(seen.ok(), "0\n100000");
}

/// Neither by a signal nor without a reader.
#[rstest]
fn a_report_that_nobody_reads_keeps_no_process(
    #[values(("signal", Errno::EINTR), ("close", Errno::EPIPE))] how: (&str, Errno),
    #[values("", "--unprivileged")] mode: &str,
) {
    let program = include_str!("../programs/leave_a_report.py");
    let script = format!(
        "exec python3 -c \"$PROGRAM\" {} $SELFDOCK {mode} --output-limit 1M --report 9 run true",
        how.0
    );
    let dir = scratch();
    let cmd = Cmd::program(args!["sh", "-c", script]).current_dir(dir.path()).env("PROGRAM", program);
    let seen = cmd.env("SELFDOCK", selfdock()).within(Duration::from_secs(30)).ok();
    assert_eq!(seen, format!("-15\n{}", how.1 as i32));
}

/// The command reads the pipe after the attendant has asked whether there is something in it. The attendant would wait
/// for more, and for ever.
#[test]
fn a_command_that_takes_its_output_back_does_not_hold_the_end_up() {
    let script = "exec python3 -c \"$HOLD\" strace -f -qq -o /dev/null -e trace=read \
         -e inject=read:delay_enter=20000 $SELFDOCK -v . /mnt/x --output-limit 1M run python3 -c \"$TAKE\" /mnt/x/hold";
    let dir = scratch();
    let run = Cmd::program(args!["sh", "-c", script]).current_dir(dir.path()).env("SELFDOCK", selfdock());
    let (hold, take) =
        (include_str!("../programs/hold_output.py"), include_str!("../programs/take_output_back.py"));
    let seen = run.env("HOLD", hold).env("TAKE", take).within(Duration::from_secs(30)).ok();
    assert_eq!(seen.trim_start_matches('x'), "status 0, 0 left");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_as_without_the_limit() {
    let script = "$SELFDOCK run --output-limit 1G yes | head -1; echo ${PIPESTATUS[0]}";
    assert_eq!(Cmd::program(args!["bash", "-c", script]).ok(), "y\n141");
}

/// The command writes to a pipe, and cannot see that its output does not arrive.
#[rstest]
#[case::at_the_end("echo hello", "/dev/full", "selfdock: write the standard output: no space left")]
#[case::of_much("exec yes", "/dev/full", "selfdock: write the standard output: no space left")]
#[case::errors("echo hello >&2", "/dev/full 2>&1", "")]
#[case::too_large("head -c 9000 /dev/zero", "file", "selfdock: write the standard output: file too large")]
fn output_that_cannot_be_written_is_a_failure(
    #[case] script: &str,
    #[case] target: &str,
    #[case] said: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let dir = scratch();
    let line = format!(
        "ulimit -f 8; exec $SELFDOCK run {mode} --output-limit 9G --report report sh -c \"$1\" > {target}"
    );
    let ran = Cmd::program(args!["sh", "-c", line, "sh", script]).current_dir(dir.path()).output().exits(125);
    assert!(
        ran.stderr.starts_with(said) && ran.stderr.lines().count() == usize::from(!said.is_empty()),
        "{}",
        ran.stderr
    );
    let report = fs::read_to_string(dir.path().join("report")).unwrap();
    let seen = ["started", "exit", "signal", "status"].map(|name| field(&report, name));
    assert_eq!(seen, ["True", "125", "null", "XX"], "{report}");
    assert!(field(&report, "error").starts_with("write the standard "), "{report}");
}

#[test]
fn a_message_of_selfdocks_is_no_output() {
    let run = Cmd::run(args!["--output-limit", "0", "no-such-command"]).output().exits(127);
    assert!(run.stderr.contains("no directory of PATH"), "{}", run.stderr);
    Cmd::run(args!["--output-limit", "0", "-m", "/no/such", "/mnt", "true"]).refused("/no/such");
}

#[rstest]
#[case::required("--report-required", 125)]
#[case::not_required("--unprivileged", 0)]
fn a_report_that_cannot_be_written_is_told(#[case] option: &str, #[case] status: i32) {
    let run = Cmd::run(args!["--output-limit", "1k", option, "--report", "/dev/full", "true"]).output();
    assert!(run.exits(status).stderr.contains("write the report: no space left"));
}

/// The attendant writes the report that a killed supervisor cannot write.
#[test]
fn a_killed_supervisor_is_reported() {
    let dir = scratch();
    let file = dir.path().join("report");
    let mut run = Cmd::run(args!["--output-limit", "1M", "--report", &file, "cat"]).spawn().that_repeats();
    run.signal(nix::sys::signal::Signal::SIGKILL);
    run.wait();
    run.leaves_nothing();
    let report = fs::read_to_string(&file).unwrap();
    assert_eq!(["signal", "status"].map(|name| field(&report, name)), ["9", "SG"], "{report}");
}

#[test]
fn the_attendant_is_no_part_of_the_instance() {
    let script = "set -- /proc/[0-9]*; echo $#; ls -l /proc/self/fd | grep -c ' -> '; id -u";
    let plain = Cmd::run(args![]).sh(script).ok();
    assert_eq!(Cmd::run(args!["--output-limit", "1k"]).sh(script).ok(), plain);
}

#[test]
fn each_line_of_a_batch_has_its_limit() {
    let words = args!["each", "--output-limit", "10", "sh", "-c", "head -c $0 /dev/zero | tr '\\0' x"];
    assert_eq!(Cmd::new(words).stdin("3\n99\n5\n").output().exits(125).stdout.len(), 3 + 10 + 5);
}

#[test]
fn explain_tells_of_limits() {
    let limits = args!["--memory", "1M", "--pids", "7", "--cpus", "0.5", "--output-limit", "1k"];
    let told = Cmd::run(args!["--explain"].into_iter().chain(limits).chain(args!["true"])).ok();
    for words in ["memory=1048576", "pids=7", "cpus=0.50", "output=1024"] {
        assert!(told.contains(&format!("limit all\t{words}")), "{told}");
    }
}

#[rstest]
#[case("--output-limit", "x", "not an amount")]
#[case("--output-limit", "", "not an amount")]
#[case("--output-limit", "1MB", "not an amount, like 64M; write 1M")]
#[case("--memory", "1GiB", "not an amount of more than 0, like 512M; write 1G")]
#[case("--memory", "0", "not an amount")]
#[case("--memory", "-1", "not an amount")]
#[case("--pids", "1k", "not a number")]
#[case("--pids", "0", "not a number")]
#[case("--cpus", "1.234", "not a number")]
#[case("--cpus", "0", "not a number")]
fn what_is_no_limit_is_refused(#[case] option: &str, #[case] value: &str, #[case] why: &str) {
    Cmd::run(args![option, value, "true"]).refused(why);
}

/// An instance shows no control groups, so limits cannot be set in it. Nothing is run without a requested limit.
#[rstest]
fn a_limit_that_cannot_be_is_refused(
    #[values("--memory", "--pids", "--cpus")] option: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let words = [selfdock().into()].into_iter().chain(mode.split_whitespace().map(OsString::from));
    let words = words.chain(args![option, "9", "run", "sh", "-c", "echo ran"]);
    Cmd::run(words).refused(&format!(
        "option {option}: find its controller in the control group '/sys/fs/cgroup': no control groups are \
                           shown here; an instance shows none: give the option to the outer one"
    ));
}

/// Hostile programs, the statuses that each may have, and its options beside those for all.
const HOSTILE: [(&str, &str, &[&str], &[&str]); 10] = [
    ("a fork bomb", "f() { f | f & f; }; f", &["RE", "TO", "OL"], &[]),
    (
        "memory over eight processes",
        "for i in 1 2 3 4 5 6 7 8; do (head -c 300m /dev/zero | tail -c 300m) & p=$!; done; wait $p",
        &["RE", "TO"],
        &[],
    ),
    ("disk", "cat /dev/zero > /tmp/1; cat /dev/zero > /tmp/2", &["RE"], &[]),
    ("one large file", "exec cat /dev/zero > /tmp/1", &["OL"], &["--rlimit", "fsize=1M"]),
    ("descriptors", "exec python3 -c 'f = [open(\"/dev/null\") for _ in range(9999)]'", &["RE"], &[]),
    ("a flood of output", "yes & exec yes >&2", &["OL"], &[]),
    ("a stop", "kill -STOP $$", &["TO"], &[]),
    ("a signal to its group", "kill -KILL 0; sleep 1000", &["SG"], &[]),
    (
        "a daemon",
        "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000' </dev/null >/dev/null 2>&1 &) ; exit 0",
        &["OK"],
        &[],
    ),
    ("SIGTERM ignored", "trap '' TERM; while :; do :; done", &["TO"], &[]),
];

/// A judge without control groups: 20 runs, or with `torture races` as many as fit into the time.
#[rstest]
fn a_hostile_program_ends_bounded_and_truly_told(#[values("", "--unprivileged")] mode: &str) {
    let time = second();
    let (timeout, longest) = (format!("{time},0.2"), 30 * time);
    let limits = [
        "--net",
        "none",
        "--new-session",
        "--no-userns",
        "--timeout",
        &timeout,
        "--output-limit",
        "64k",
        "--rlimit",
        "as=256M",
        "--rlimit",
        "nofile=64",
        "--rlimit",
        "core=0",
        "--rlimit",
        "cpu=5",
        "-t",
        "size=4M",
        "/tmp",
    ];
    for round in rounds(1) {
        for (name, script, allowed, more) in HOSTILE {
            let dir = scratch();
            let file = dir.path().join("report");
            let options = mode.split_whitespace().chain(limits).chain(more.iter().copied());
            let bomb = if name == "a fork bomb" { "200" } else { "2000" };
            let words = args!["--report", &file, "--rlimit", format!("nproc={bomb}")];
            let run = Cmd::run(words.into_iter().chain(options.map(Into::into))).sh(script);
            // After each run, `Cmd` checks that nothing is left.
            let ran = run.within(Duration::from_secs(60)).output();
            let report = fs::read_to_string(&file).unwrap();
            let status = field(&report, "status");
            assert!(allowed.contains(&&*status), "{name}, round {round}: {report}");
            assert!(ran.stdout.len() + ran.stderr.len() <= 64 << 10, "{name}");
            // The report agrees with what the caller sees.
            let seen = ran.status.code().map_or_else(|| "null".into(), |code| code.to_string());
            assert_eq!(field(&report, "exit"), seen, "{name}: {report}");
            assert!(
                field(&report, "wall_seconds").parse::<f64>().unwrap() < longest as f64,
                "{name}: {report}"
            );
        }
    }
}

/// The second program passes on two descriptors besides that of the report. If a caller writes the same options but has
/// no such descriptors, the command gets none of selfdock's own in their place.
#[rstest]
#[case::by_privilege("")]
#[case::without_privilege("--unprivileged")]
fn a_command_gets_no_descriptor_of_selfdocks_for_its_output(#[case] mode: &str) {
    let script = format!(
        "for n in 4 8 12; do eval \"exec $n>/dev/null\"; {} {mode} --report =$(($$ << 32 | n)) run readlink \
         /proc/self/fd/1 /proc/self/fd/2; echo $?; eval \"exec $n>&-\"; done",
        selfdock().display()
    );
    let ran = Cmd::program(args!["bash", "-c", script]).output();
    assert_eq!(ran.stdout, "125\n125\n125\n", "{}", ran.stderr);
    assert!(ran.stderr.contains("redirect the output of CMD: file descriptor not open"), "{}", ran.stderr);
}
