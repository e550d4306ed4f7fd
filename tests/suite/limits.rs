//! limits: A command ends in time and within its limits, and its resource usage is reported.

use crate::support::{Cmd, args, on_a_host, scratch, selfdock, status_of};
use rstest::rstest;
use std::fs;
use std::os::unix::process::ExitStatusExt;

/// Reads a field of a report with a real JSON reader.
fn field(report: &str, name: &str) -> String {
    let script = format!("import json, sys; print(json.load(sys.stdin)[{name:?}])");
    Cmd::program(args!["python3", "-c", script]).stdin(report).ok()
}

#[rstest]
#[case::ends(args!["sleep", "1000"])]
#[case::needs_a_kill(args!["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])]
#[case::stopped(args!["sh", "-c", "kill -STOP $$ & sleep 1000"])]
fn a_command_ends_in_time_as_by_timeout<const N: usize>(#[case] words: [std::ffi::OsString; N]) {
    let ran = Cmd::run(args!["--timeout", "0.2"].into_iter().chain(words.clone())).output();
    let plain = Cmd::program(args!["timeout", "--kill-after=5", "0.2"].into_iter().chain(words)).output();
    // If timeout(1) has to kill the command, it kills itself as well. A shell shows that as 137.
    let status = |ran: &crate::support::Ran| ran.status.code().or(ran.status.signal().map(|by| 128 + by));
    assert_eq!(status(&ran), status(&plain));
}

#[rstest]
#[case::none("0.2,0", 137)]
#[case::long_enough("0.2,1m", 3)]
fn a_command_has_its_grace_after_a_timeout(#[case] timeout: &str, #[case] code: i32) {
    let slow = "trap 'sleep 0.3; touch /tmp/done; exit 3' TERM; while :; do sleep 0.01; done";
    let (started, run) = (std::time::Instant::now(), Cmd::run(args!["--timeout", timeout]).sh(slow).output());
    // The status is that of timeout(1), unless the command had to be killed.
    run.exits(if code == 3 { 124 } else { code });
    assert!(started.elapsed().as_secs() < 30);
}

#[rstest]
fn an_invalid_grace_is_refused(#[values("1,", "1,x", ",1", "0,1", "1,2,3")] time: &str) {
    Cmd::run(args!["--timeout", time, "true"]).refused("not a time");
}

#[test]
fn a_command_that_is_in_time_has_its_own_status() {
    let plain = Cmd::program(args!["timeout", "10m", "sh", "-c", "exit 5"]);
    Cmd::run(args!["--timeout", "10m"]).sh("exit 5").output().ends_as(&plain.output());
}

#[rstest]
fn an_invalid_time_is_refused(#[values("", "0", "-1", "x", "1w", "99999999999999999999")] time: &str) {
    Cmd::run(args!["--timeout", time, "true"]).refused("not a time");
}

#[rstest]
#[case("nofile=40", "--nofile=40:40")]
// SIGXCPU must come before SIGKILL.
#[case("cpu=7", "--cpu=7:8")]
#[case("core=0", "--core=0:0")]
#[case("as=1G", "--as=1073741824:1073741824")]
fn a_limit_is_as_by_prlimit(#[case] limit: &str, #[case] of_prlimit: &str) {
    let all = args!["bash", "-c", "ulimit -S -a; ulimit -H -a"];
    let plain = Cmd::program(args!["prlimit", of_prlimit].into_iter().chain(all.clone()));
    Cmd::run(args!["--rlimit", limit].into_iter().chain(all)).output().ends_as(&plain.output());
}

#[rstest]
#[case("nofile=4000000000", "option --rlimit 'nofile': above your hard limit; see 'ulimit -Ha'")]
#[case("nofile=unlimited", "above your hard limit")]
#[case("nofile", "NAME=VALUE")]
#[case("nofiles=3", "no such limit")]
#[case("nofile=x", "not an amount")]
fn an_invalid_limit_is_refused(#[case] limit: &str, #[case] words: &str) {
    Cmd::run(args!["--rlimit", limit, "true"]).refused(words);
}

#[rstest]
#[case("exit 7")]
#[case("kill -9 $$; sleep 9")]
fn the_report_tells_how_it_ended(#[case] script: &str) {
    let dir = scratch();
    let file = dir.path().join("report");
    Cmd::run(args!["--report", &file]).sh(script).output();
    let report = fs::read_to_string(&file).unwrap();
    let plain = Cmd::program(args!["sh", "-c", script]).output().status;
    let told = |number: Option<i32>| number.map_or("None".into(), |number| number.to_string());
    let seen = ["exit", "signal"].map(|name| field(&report, name));
    assert_eq!(seen, [plain.code(), plain.signal()].map(told), "{report}");
    assert_eq!(field(&report, "ended_by"), "command");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_report_has_time_and_memory() {
    let dir = scratch();
    let file = dir.path().join("report");
    fs::write(&file, "older").unwrap();
    // The script touches single pages, even if the kernel would use huge ones.
    let eat = include_str!("../programs/use_memory.py");
    Cmd::run(args!["--report", &file, "python3", "-c", eat]).ok();
    let report = fs::read_to_string(&file).unwrap();
    assert!(field(&report, "peak_memory_kib").parse::<u64>().unwrap() > 64 << 10, "{report}");
    assert!(field(&report, "minor_faults").parse::<u64>().unwrap() > 16_000, "{report}");
    assert!(field(&report, "wall_seconds").parse::<f64>().unwrap() > 0.0, "{report}");
    // The clock tick of the kernel decides which of the two gets the time of a page fault.
    let processor =
        ["user_seconds", "system_seconds"].map(|name| field(&report, name).parse::<f64>().unwrap());
    assert!(processor.iter().sum::<f64>() > 0.0, "{report}");
}

/// Uses half a second of processor time.
const BURN: &str = "exec python3 -c \"$USE\" 0.5";

/// A program that uses processor time.
const USE: &str = include_str!("../programs/use_processor.py");

/// The processor time in the report, for a script that starts `$BURN`.
fn processor_seconds(options: &[&str], script: &str) -> f64 {
    let run = Cmd::run(options.iter().map(Into::into).chain(args!["--report", "2"])).sh(script);
    let report = run.env("BURN", BURN).env("USE", USE).output().stderr;
    ["user_seconds", "system_seconds"].iter().map(|name| field(&report, name).parse::<f64>().unwrap()).sum()
}

/// R1: report.
#[rstest]
#[case::the_command(&[], r#"eval "$BURN""#)]
#[case::a_child_that_is_waited_for(&[], r#"sh -c "$BURN"; true"#)]
#[case::an_orphan(&[], r#"mkfifo /tmp/f; (sh -c 'exec 3>/tmp/f; eval "$BURN"' &); cat /tmp/f"#)]
#[case::a_child_of_an_orphan(&[], r#"mkfifo /tmp/f; (sh -c 'exec 3>/tmp/f; sh -c "$BURN"; true' &); cat /tmp/f"#)]
#[case::in_a_nested_instance(&[], r#"$SELFDOCK run sh -c "$BURN""#)]
#[case::what_is_killed_at_the_end(&[], r#"mkfifo /tmp/f; sh -c "$BURN stay" >/tmp/f & cat /tmp/f"#)]
#[case::an_orphan_that_is_killed_at_the_end(&[], r#"mkfifo /tmp/f; (sh -c "$BURN stay" >/tmp/f &); cat /tmp/f"#)]
#[case::what_is_killed_after_a_timeout(
    &["--timeout", "5,0"], "trap '' TERM; sh -c 'while :; do :; done' & while :; do sleep 0.1; done"
)]
#[case::without_privilege(&["--unprivileged"], r#"mkfifo /tmp/f; (sh -c "$BURN stay" >/tmp/f &); cat /tmp/f"#)]
fn the_report_counts_all_in_the_instance(#[case] options: &[&str], #[case] script: &str) {
    let told = processor_seconds(options, script);
    // On a busy machine a process that runs until it is killed gets less than one CPU.
    assert!(told > 0.2, "{told}");
}

/// The usage of building an instance with a hundred mounts is selfdock's own.
#[test]
fn the_report_leaves_out_what_selfdock_itself_has_used() {
    let faults = |mounts: usize| {
        let mounts = (0..mounts).flat_map(|i| args!["-t", "-", format!("/tmp/{i}")]);
        let ran = Cmd::run(args!["--report", "2"].into_iter().chain(mounts).chain(args!["true"])).output();
        field(&ran.stderr, "minor_faults").parse::<i64>().unwrap()
    };
    let (few, many) = (faults(0), faults(300));
    assert!((few - many).abs() <= 10, "{few} {many}");
}

#[rstest]
#[case::processor_time("cpu=1", "while :; do :; done", "24", "rlimit cpu")]
#[case::that_is_ignored("cpu=1", "trap '' XCPU; while :; do :; done", "9", "rlimit cpu")]
#[case::a_file_that_grows("fsize=1k", "exec head -c 9999 /dev/zero >/tmp/x", "25", "rlimit fsize")]
#[case::a_signal_of_its_own("cpu=1", "kill -9 $$", "9", "command")]
#[case::a_signal_like_that_of_a_limit("nofile=64", "kill -XCPU $$", "24", "command")]
#[case::of_children(
    "cpu=1",
    "sh -c 'while :; do :; done'; sh -c 'while :; do :; done'; kill -9 $$",
    "9",
    "command"
)]
fn the_report_says_which_limit_ended_a_command(
    #[case] limit: &str,
    #[case] script: &str,
    #[case] signal: &str,
    #[case] by: &str,
) {
    let report = Cmd::run(args!["--rlimit", limit, "--report", "2"]).sh(script).output().stderr;
    let report = report.lines().last().unwrap();
    assert_eq!(["signal", "ended_by"].map(|name| field(report, name)), [signal, by], "{report}");
}

/// If soft and hard limit are equal, the kernel sends SIGKILL at once.
#[test]
fn the_report_tells_of_the_callers_own_limit() {
    let limited = args!["bash", "-c", "ulimit -t 1; exec \"$0\" \"$@\""];
    let burn = args!["sh", "-c", "while :; do :; done"];
    let plain = Cmd::program(limited.clone().into_iter().chain(burn.clone())).output().status.signal();
    let run = Cmd::under(limited, args!["--report", "2", "run"].into_iter().chain(burn));
    let report = run.output().stderr;
    assert_eq!(field(&report, "signal").parse().ok(), plain, "{report}");
    assert_eq!(field(&report, "ended_by"), "rlimit cpu");
}

#[test]
fn the_report_tells_of_a_timeout_and_goes_to_a_descriptor() {
    let ran = Cmd::run(args!["--report", "2", "--timeout", "0.1", "sleep", "9"]).output().exits(124);
    assert_eq!(
        (field(&ran.stderr, "ended_by").as_str(), field(&ran.stderr, "exit").as_str()),
        ("timeout", "124")
    );
}

#[rstest]
#[case("/no/such/dir/report", "ENOENT")]
#[case("/usr/report", "EACCES")]
#[case("77", "EBADF")]
#[case("/tmp/", "neither a file name")]
#[case("-", "neither a file name nor a descriptor such as 1")]
#[case("4294967297", "not a descriptor: the number is too large")]
#[case("99999999999999999999", "neither a file name nor a descriptor such as 1")]
fn a_report_that_cannot_be_written_is_refused_before_the_command_runs(
    #[case] target: &str,
    #[case] words: &str,
) {
    Cmd::run(args!["--report", target]).sh("echo ran").refused(words);
}

#[test]
fn a_report_is_written_whole_or_not_at_all() {
    let dir = scratch();
    let file = dir.path().join("report");
    let mut instance = Cmd::run(args!["--report", &file, "cat"]).spawn().that_repeats();
    instance.signal(nix::sys::signal::Signal::SIGKILL);
    instance.wait();
    // The file was made before the command started, and nothing was written to it.
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[rstest]
#[case::no_such_command("no-such-command", "127", "no-such-command")]
#[case::no_program("/etc/passwd", "126", "EACCES")]
#[case::no_instance("-m /usr /etc/passwd true", "125", "cannot be bound on a file")]
#[case::no_source("-m /no/such /mnt true", "125", "/no/such")]
fn the_report_says_why_a_command_never_started(
    #[case] words: &str,
    #[case] exit: &str,
    #[case] why: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let dir = scratch();
    let file = dir.path().join("report");
    fs::write(&file, "older").unwrap();
    let words = mode.split_whitespace().chain(words.split(' ')).map(Into::into);
    Cmd::run(args!["--report", &file].into_iter().chain(words)).output();
    let report = fs::read_to_string(&file).unwrap();
    let seen = ["version", "started", "exit"].map(|name| field(&report, name));
    assert_eq!(seen, ["1", "False", exit], "{report}");
    assert!(field(&report, "error").contains(why), "{report}");
}

/// R1: report. The ways in which a command can attack a report in a volume.
#[rstest]
#[case::write("echo forged > r")]
#[case::write_and_close_the_directory("echo forged > r; chmod 555 .")]
#[case::append_and_take_the_right("echo forged >> r; chmod 0 r")]
#[case::replace("echo forged > x; mv x r")]
#[case::take_away("rm r")]
#[case::another_name("ln r x; echo forged > x")]
#[case::a_link("echo forged > x; ln -sf x r")]
#[case::a_fifo("rm r; mkfifo r")]
#[case::a_writer_that_stays("(while echo forged >> r; do :; done) & sleep 0.1")]
#[case::where_a_name_beside_it_is_taken("rm r; echo forged > r; touch .selfdock-report.$$")]
#[case::nothing("test ! -s r || exit 9")]
fn a_report_cannot_be_forged(#[case] script: &str) {
    let dir = scratch();
    let file = dir.path().join("r");
    fs::write(&file, "older").unwrap();
    let ran = Cmd::run(args!["-H", "--report", "r"]).current_dir(dir.path()).sh(format!("{script}; exit 7"));
    let ran = ran.output().exits(7);
    assert_eq!(ran.stderr, "");
    Cmd::program(args!["chmod", "-R", "u+rwX", dir.path()]).ok();
    let report = fs::read_to_string(&file).unwrap();
    assert!(!report.contains("forged") && report.lines().count() == 1, "{report}");
    assert_eq!(field(&report, "exit"), "7");
}

/// R1: report.
#[test]
fn a_report_that_nobody_reads_does_not_hide_how_a_command_ended() {
    let script = include_str!("../programs/report_to_nobody.py");
    let words = args!["python3", "-c", script, selfdock(), "--report", "3", "run", "sh", "-c", "exit 7"];
    assert_eq!(Cmd::program(words).ok(), "7 True");
}

/// R1: report.
#[test]
fn a_report_that_is_kept_from_being_written_does_not_hide_how_a_command_ended() {
    for (required, status) in [(None, 7), (Some("--report-required"), 125)] {
        let dir = scratch();
        let options = args!["-H", "--report", "r"].into_iter().chain(required.map(Into::into));
        let run = Cmd::run(options).current_dir(dir.path()).sh("rm r; mkdir -p r/x; exit 7");
        let ran = run.output().exits(status);
        assert!(ran.stderr.contains("write the report 'r'"), "{}", ran.stderr);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

/// R1: report. A command cannot hide it by replacing the directory.
#[test]
fn a_report_whose_directory_is_exchanged_is_reported_as_not_written() {
    for (required, status) in [(None, 7), (Some("--report-required"), 125)] {
        let dir = scratch();
        fs::create_dir(dir.path().join("d")).unwrap();
        let options = args!["-H", "--report", "d/r"].into_iter().chain(required.map(Into::into));
        let run = Cmd::run(options).current_dir(dir.path());
        let ran = run.sh("mv d e; mkdir d; echo forged > d/r; exit 7").output().exits(status);
        assert!(ran.stderr.contains("write the report 'r'") && ran.stderr.contains("another directory"));
    }
}

/// R1: report. A judge must be able to see the effects of an overloaded machine, or of itself.
#[rstest]
#[case::the_time("--timeout 0.000001", "", "timeout")]
#[case::a_signal("", "kill -TERM $(pgrep -P $!)", "signal")]
#[case::the_time_before_exec("--timeout 0.5", "", "timeout")]
fn a_command_that_never_started_was_ended_by_what_ended_the_building(
    #[case] options: &str,
    #[case] act: &str,
    #[case] by: &str,
) {
    let delay =
        if options.contains("0.5") { "execve:delay_enter=3000000" } else { "unshare:delay_enter=1000000" };
    let script = format!(
        "strace -qq -o /dev/null -f -e trace=execve,unshare -e inject={delay} \
             setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups $SD {options} --report 1 run true & sleep 0.3
         {act}
         wait"
    );
    let ran = on_a_host("", &script).output();
    let seen = ["started", "ended_by"].map(|name| field(&ran.stdout, name));
    assert_eq!(seen, ["False", by], "{}{}", ran.stdout, ran.stderr);
}

/// R1: report. Only a regular file is replaced.
#[rstest]
#[case::a_device("", "/dev/null", "test -c /dev/null")]
#[case::a_fifo("mkfifo -m 666 fifo; (timeout 5 cat fifo > said) &", "fifo", "test -p fifo")]
#[case::standard_error(
    "exec 2> said; echo before >&2",
    "/dev/stderr",
    "grep -q before said && sed -i 1d said"
)]
#[case::a_descriptor("exec 5> said", "/dev/fd/5", "true")]
fn a_report_replaces_only_files(#[case] before: &str, #[case] target: &str, #[case] after: &str) {
    let dir = scratch();
    let script = format!(
        "cd {}; exec 3>&1
{before}
$SD --report {target} run true; {after} && echo stays >&3; wait
         test {target} = /dev/null || grep -c '\"started\":true' said >&3",
        dir.path().display()
    );
    let seen =
        Cmd::program(args!["bash", "-c", script]).env("SD", crate::support::selfdock()).output().stdout;
    assert_eq!(seen, if target == "/dev/null" { "stays\n" } else { "stays\n1\n" });
}

/// R1: report. A command in a volume can leave a link in the place of the next report.
#[rstest]
fn a_report_does_not_follow_a_link_to_a_file(#[values("rep/next", "./rep/next")] report: &str) {
    let dir = scratch();
    let script = format!(
        "cd {}; mkdir rep; echo precious > victim
         $SD -v rep \"$PWD/rep\" run ln -s ../victim \"$PWD/rep/next\"
         $SD --report {report} run echo ran; echo $?
         $SD --explain --report {report} run echo ran; echo $?
         cat victim",
        dir.path().display()
    );
    let ran = Cmd::program(args!["bash", "-c", script]).env("SD", crate::support::selfdock()).output();
    assert_eq!(ran.stdout, "125\n125\nprecious\n", "{}", ran.stderr);
    let refusal = format!("selfdock: report to '{report}': a link to a file: name the file");
    assert!(
        ran.stderr.lines().count() == 2 && ran.stderr.lines().all(|line| line == refusal),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_closed_descriptor_is_refused_for_a_report() {
    let close = args!["sh", "-c", "exec \"$0\" \"$@\" >&-"];
    Cmd::under(close, args!["--report", "1", "run", "true"]).refused("EBADF");
}

#[test]
fn where_there_is_no_room_for_a_report_the_status_is_the_commands() {
    let changes = "mkdir tiny; mount -t tmpfs -o size=4k,nr_inodes=1,mode=1777 t tiny";
    let run = "run sh -c 'exit 7'; echo $?";
    let script = format!("me $SD --report /tiny/r {run}; me $SD --report /tiny/r --report-required {run}");
    let ran = on_a_host(changes, &script).output();
    assert_eq!(ran.stdout, "7\n125\n", "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("ENOSPC").count(), 2, "{}", ran.stderr);
}

/// Neither failure hides the other.
#[rstest]
#[case::no_command("--report /dev/full", "no-such-command", 127)]
#[case::no_command_and_required("--report /dev/full --report-required", "no-such-command", 125)]
#[case::no_program("--report /dev/full", "/etc/passwd", 126)]
#[case::no_instance("--report /dev/full -m /no/such /mnt", "true", 125)]
fn a_report_that_cannot_be_written_is_told_beside_why_there_is_no_command(
    #[case] options: &str,
    #[case] command: &str,
    #[case] status: i32,
    #[values("", "--unprivileged")] mode: &str,
) {
    let words = mode.split(' ').chain(options.split(' ')).filter(|word| !word.is_empty());
    let ran = Cmd::run(words.map(Into::into)).arg(command).output().exits(status);
    let about =
        ["ENOSPC", "no-such-command", "/etc/passwd", "/no/such"].map(|word| ran.stderr.matches(word).count());
    assert_eq!((about[0], about[1..].iter().sum(), ran.stderr.lines().count()), (1, 1, 2), "{}", ran.stderr);
}

/// R1: report. Events that a command can cause as often as it likes take no memory of the supervisor.
#[test]
fn the_supervisor_of_a_report_does_not_grow() {
    const STOPS: &str = include_str!("../programs/stop_and_continue.py");
    // With a deadline the supervisor does not stop with the command.
    let options = args!["--report", "/dev/null", "--timeout", "1h"];
    let mut instance = Cmd::run(options.into_iter().chain(args!["python3", "-c", STOPS])).spawn();
    let pid = instance.pid().to_string();
    let memory = || status_of(&pid, &["VmRSS"]).split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    assert_eq!(instance.line(), "up");
    let before = memory();
    instance.write("\n");
    assert_eq!(instance.line(), "done");
    let after = memory();
    assert!(after < before + 512, "{before} kB before, {after} kB after");
    instance.write("\n");
    instance.wait();
}

/// R1: report. A command that fills the signal queue loses no counts.
#[rstest]
#[case::of_the_keeper("prlimit --pid 1 --sigpending=0:0")]
#[case::of_the_user("prlimit --pid $$ --sigpending=0:0")]
fn the_report_counts_where_no_signal_can_be_queued(#[case] act: &str) {
    let told = processor_seconds(&[], &format!("{act}; (sh -c 'while :; do :; done' &); sleep 1.5"));
    assert!(told > 0.2, "{told}");
}

/// selfdock itself needs more for a copy of an image than for other instances.
#[rstest]
#[case::a_copy("-o / / run true")]
#[case::a_preset("--no-secrets -o / / run true")]
#[case::inside("run sh -c 'ulimit -v 900; exec $SELFDOCK -o / / run true'")]
fn too_little_memory_is_said(#[case] line: &str, #[values("", "--unprivileged")] mode: &str) {
    let limit = if line.contains("ulimit") { "" } else { "ulimit -v 900; " };
    let why = "out of memory (ENOMEM); raise 'ulimit -v', and limit only CMD by --rlimit as=SIZE\n";
    let ran = Cmd::program(args!["sh", "-c", format!("{limit}exec $SELFDOCK {mode} {line}")]).output();
    assert_eq!((ran.status.code(), ran.stderr), (Some(125), format!("selfdock: {why}")));
}
