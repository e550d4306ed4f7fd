//! each: Each line of a list is a command in an instance of its own, and the status is that of xargs.

use crate::support::{Cmd, Terminal, args, scratch, status_of, wait_until};
use crate::whole_instance::field;
use nix::sys::signal::Signal;
use rstest::rstest;
use std::fs;

/// `selfdock each ...`, with a list on standard input.
fn each(list: &str, words: &[&str]) -> Cmd {
    Cmd::new(args!["each"].into_iter().chain(words.iter().map(Into::into))).stdin(list)
}

#[rstest]
#[case::in_its_place("a b\nc\n", &["echo", "x{}y{}", "{}"], "xa bya b a b\nxcyc c")]
#[case::at_the_end("a b\nc\n", &["printf", "[%s]"], "[a b][c]")]
#[case::without_a_last_newline("a\nb", &["echo"], "a\nb")]
#[case::of_empty_lines("\n\na\n\n", &["echo"], "a")]
#[case::with_nul("a\nb\0\0c", &["-0", "printf", "[%s]"], "[a\nb][][c]")]
#[case::of_what_looks_like_an_option("-n\n", &["printf", "%s"], "-n")]
#[case::of_nothing("", &["echo"], "")]
#[case::several_at_a_time("1\n2\n3\n", &["-j3", "--group", "sh", "-c", "sleep 0.$((9 - 3 * {})); echo {}"], "3\n2\n1")]
#[case::as_many_as_cpus("1\n", &["-j", "0", "echo"], "1")]
fn each_line_is_a_command(#[case] list: &str, #[case] words: &[&str], #[case] said: &str) {
    assert_eq!(each(list, words).ok(), said);
}

#[test]
fn each_line_has_its_own_instance() {
    let script = "test ! -e /tmp/x && touch /tmp/x; ls /proc | grep -c '^[0-9]'; cat";
    let seen = each("1\n2\n3\n", &["sh", "-c", script]).ok();
    // The keeper, the shell, ls and grep; and no process of another line.
    let counts: Vec<&str> = seen.lines().collect();
    assert_eq!(counts.len(), 3, "{seen}");
    assert!(counts.iter().all(|count| count.parse::<u32>().unwrap() <= 4), "{seen}");
}

#[rstest]
#[case::before(&["-t", "size=8M", "/mnt", "-e", "A=b", "--net", "none"], &[])]
#[case::after(&[], &["-t", "size=8M", "/mnt", "-e", "A", "b", "-n", "none"])]
fn each_takes_the_options_of_run(#[case] before: &[&str], #[case] after: &[&str]) {
    let script =
        "df -m --output=size /mnt | tail -1; echo $A; ls /sys/class/net 2>/dev/null; wc -l < /proc/net/dev";
    let words: Vec<&str> = [before, &["each"], after, &["sh", "-c", script]].concat();
    let seen = Cmd::new(words.iter().map(Into::into)).stdin("1\n").ok();
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(words, ["8", "b", "3"], "{seen}");
}

#[test]
fn with_group_the_outputs_of_commands_are_not_mixed() {
    let list: String = (0..8).map(|n| format!("{n}\n")).collect();
    let script = "for i in $(seq 50); do echo out {}; echo err {} >&2; done";
    let ran = each(&list, &["-j", "4", "--group", "sh", "-c", script]).output();
    for said in [&ran.stdout, &ran.stderr] {
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 400);
        assert!(lines.chunks(50).all(|chunk| chunk.iter().all(|line| *line == chunk[0])), "{said}");
    }
}

#[rstest]
#[case::all_well("true", 0)]
#[case::one_failed("exit $(({} == 2))", 123)]
#[case::killed("kill -9 $$", 125)]
#[case::said_255("exit 255", 124)]
fn the_status_is_that_of_xargs(#[case] script: &str, #[case] status: i32) {
    let script = script.replace("{}", "$0");
    each("1\n2\n3\n", &["sh", "-c", &script, "{}"]).output().exits(status);
    let xargs = args!["xargs", "-I", "{}", "sh", "-c", &script, "{}"];
    // xargs ends when a command is killed.
    let ran = Cmd::program(xargs).stdin("1\n2\n3\n").output();
    assert_eq!(ran.status.code(), Some(status));
}

/// xargs does so, too, and ends there.
#[rstest]
fn a_signal_that_ends_a_command_is_told_with_its_line(
    #[values(&[][..], &["--group"], &["-j2"])] options: &[&str],
    #[values(("SEGV", 11), ("KILL", 9), ("PIPE", 13))] signal: (&str, i32),
) {
    let script = format!("test $0 != 2 || kill -{} $$; echo $0", signal.0);
    let words = [options, &["sh", "-c", &script]].concat();
    let ran = each("1\n\n2\n3\n", &words).output().exits(125);
    let said = format!("selfdock: line 2: the command was ended by signal {}\n", signal.1);
    // Several commands at a time print in any order.
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!((lines, &*ran.stderr), (vec!["1", "3"], &*said));
    let xargs =
        Cmd::program(args!["xargs", "-n1", "sh", "-c", &script]).stdin("1\n\n2\n3\n").output().exits(125);
    assert!(xargs.stderr.contains(&format!("terminated by signal {}", signal.1)), "{}", xargs.stderr);
}

#[test]
fn a_command_that_cannot_be_run_has_its_status() {
    each("1\n", &["no-such-command"]).output().exits(127);
    each("1\n", &["/etc/passwd"]).output().exits(126);
}

#[test]
fn with_halt_no_command_starts_after_a_failure() {
    let script = "echo {}; exit $(({} == 2))";
    assert_eq!(each("1\n2\n3\n4\n", &["--halt", "sh", "-c", script]).output().exits(123).stdout, "1\n2\n");
    assert_eq!(each("1\n2\n3\n4\n", &["sh", "-c", script]).output().exits(123).stdout, "1\n2\n3\n4\n");
}

#[test]
fn each_command_has_its_report() {
    let dir = scratch();
    let reports = dir.path().join("reports");
    let words = ["-j2", "--report", reports.to_str().unwrap(), "sh", "-c", "exit {}"];
    each("3\n4\n5\n", &words).output().exits(123);
    for (name, exit) in [("1", 3), ("2", 4), ("3", 5)] {
        let report = fs::read_to_string(reports.join(name).with_extension("json")).unwrap();
        assert!(report.contains(&format!("\"exit\":{exit},")), "{report}");
    }
    assert_eq!(fs::read_dir(&reports).unwrap().count(), 3);
}

#[rstest]
#[case::no_command(&[], "no command is given")]
#[case::a_list_of_parallel(&[":::", "a", "b"], "the list is standard input, and not behind :::")]
#[case::no_number(&["-j", "x", "true"], "not a number from 0 to 4096")]
#[case::a_command_that_became_a_number(&["-j", "true"], "option --jobs: took 'true' as N: not a number from 0 to 4096")]
#[case::no_value(&["-j"], "--jobs: needs N")]
#[case::unknown(&["--nope", "true"], "option --nope: unknown")]
#[case::a_value_too_many(&["--halt=x", "true"], "option --halt: takes no value")]
#[case::no_right(&["--report", "/usr", "true"], "(EACCES)")]
#[case::a_descriptor(
    &["--report", "3", "true"],
    "option --report '3': each writes a directory of reports; for a directory of this name write ./3"
)]
#[case::wrong(&["--net", "some", "true"], "not 'none', 'host' or 'user'")]
#[case::nothing_to_keep(&["--changes", "x", "true"], "option --changes 'x': there is no --overlay")]
#[case::nothing_to_copy(&["-o", "/no/such", "/x", "true"], "copy '/no/such': no such file or directory (ENOENT)")]
#[case::explained(&["--explain", "true"], "use --explain with run")]
#[case::no_directory(&["--report", "/no/such/dir", "true"], "(ENOENT)")]
fn errors_are_reported_before_the_list_is_read(#[case] words: &[&str], #[case] why: &str) {
    each("1\n2\n", words).refused(why);
}

/// It would wait for ever for what nobody wants to type.
#[test]
fn a_list_in_the_line_is_refused_on_a_terminal() {
    let mut terminal = Terminal::start(&["sh", "-c", "$SELFDOCK each echo ::: a b; echo ended-$?"]);
    terminal.expect("not behind :::");
    terminal.expect("ended-125");
    assert_eq!(each("c\n", &["echo", ":::", "a"]).ok(), "::: a c");
}

#[rstest]
#[case::too_long(&format!("1\n{}", "x".repeat(200_000)), "line 2 is longer than an argument may be (128 KiB)")]
#[case::of_find_print0("1\n\na\0b\0", "line 2 contains a NUL byte; add -0 for the output of find -print0")]
#[case::of_a_long_find(&"x\0".repeat(100_000), "line 1 contains a NUL byte; add -0")]
fn a_line_that_no_command_can_take_is_refused(#[case] list: &str, #[case] why: &str) {
    each(list, &["true"]).refused(&format!("read the list: {why}"));
}

#[rstest]
fn a_signal_ends_the_whole_batch(#[values(Signal::SIGTERM, Signal::SIGINT)] signal: Signal) {
    let list = "1\n".repeat(100);
    let mut batch = each("", &["-j", "3", "sleep", "100"]).spawn();
    batch.write(&list);
    wait_until("three have started", || crate::support::children(batch.pid()).len() == 3);
    batch.signal(signal);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&batch.wait()), Some(signal as i32));
    batch.leaves_nothing();
}

/// A terminal can say that there is room, and then let a writer wait.
#[rstest]
#[case::output("1", "--group sh -c 'yes | head -c 200000'", "x")]
#[case::progress("2", "true", "x")]
fn a_signal_ends_a_batch_whose_terminal_nobody_reads(
    #[case] terminal: &str,
    #[case] line: &str,
    #[case] list: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let script = format!("echo {list} | exec python3 -c \"$PROGRAM\" '' $SELFDOCK {mode} each {line}");
    let cmd = Cmd::program(args!["sh", "-c", script]).env("TERMINAL", terminal);
    let cmd = cmd.env("PROGRAM", include_str!("../programs/end_while_unread.py"));
    assert_eq!(cmd.env("SELFDOCK", crate::support::selfdock()).ok(), "-15");
}

/// Also if the batch waits until somebody reads.
#[test]
fn commands_get_the_signals_that_the_batch_gets() {
    let dir = scratch();
    let script =
        "printf '1\\n2\\n' >list; mkfifo out; exec 3<>out; exec $SELFDOCK -b . each -j2 --group sh -c '
            test {} = 2 || exec head -c 100000 /dev/zero; trap \"echo INT >>got\" INT
            trap \"echo TERM >>got; exit\" TERM; touch up; while :; do sleep 0.05; done' <list >&3";
    let cmd = Cmd::program(args!["sh", "-c", script]).current_dir(dir.path());
    let mut batch = cmd.env("SELFDOCK", crate::support::selfdock()).spawn();
    let is_up = || dir.path().join("up").exists() && crate::support::children(batch.pid()).len() == 1;
    wait_until("one runs, and the other has ended", is_up);
    let got = || fs::read_to_string(dir.path().join("got")).unwrap_or_default();
    batch.signal(Signal::SIGINT);
    wait_until("it gets a signal", || !got().is_empty());
    batch.signal(Signal::SIGTERM);
    batch.wait();
    assert_eq!(got(), "INT\nTERM\n");
    batch.leaves_nothing();
}

/// Lines that have been run are forgotten, however long the list is.
#[test]
fn a_long_list_needs_no_more_memory() {
    let mut batch = Cmd::new(args!["each", "echo"]).spawn();
    let pid = batch.pid().to_string();
    let memory = || status_of(&pid, &["VmRSS"]).split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    let mut work = |count: usize| {
        for number in 0..count {
            batch.write(&format!("{number}\n"));
            assert_eq!(batch.line(), number.to_string());
        }
        memory()
    };
    let (before, after) = (work(50), work(1000));
    assert!(after < before + 256, "{before} kB before, {after} kB after");
    batch.close();
    assert!(batch.wait().success());
}

#[test]
fn a_report_says_why_the_command_of_a_line_is_not_started() {
    let dir = scratch();
    // Two such lines are too long for one argument.
    let cmd = each(&format!("{}\nwell\n", "x".repeat(100_000)), &["--report", "reports", "echo", "{}{}"]);
    let ran = cmd.current_dir(dir.path()).output().exits(123);
    assert_eq!(ran.stdout, "wellwell\n", "{}", ran.stderr);
    let report = fs::read_to_string(dir.path().join("reports/1.json")).unwrap();
    assert_eq!(format!("selfdock: {}\n", field(&report, "error")), ran.stderr);
    assert_eq!(field(&report, "status"), "XX");
}

/// R1: report. A command knows the name of the next report.
#[rstest]
#[case::a_link("ln -s ../precious reports/2.json")]
#[case::a_fifo("mkfifo reports/2.json")]
#[case::a_file("echo forged > reports/2.json; chmod 444 reports/2.json")]
#[case::another_directory("mv reports old; mkdir other; ln -s other reports")]
fn no_command_decides_where_a_report_goes(#[case] act: &str) {
    let dir = scratch();
    fs::create_dir(dir.path().join("work")).unwrap();
    fs::write(dir.path().join("precious"), "precious").unwrap();
    let act = format!("test {{}} = 2 || {{ {act}; }}");
    let words = ["-H", "--report", "reports", "sh", "-c", &act];
    let ran = each("1\n2\n", &words).current_dir(dir.path().join("work")).output();
    assert_eq!(ran.status.code(), Some(0), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(dir.path().join("precious")).unwrap(), "precious");
    let real = if act.contains("old") { "old" } else { "reports" };
    let report = fs::read_to_string(dir.path().join("work").join(real).join("2.json")).unwrap();
    assert!(report.starts_with("{\"version\"") && report.lines().count() == 1, "{report}");
}

#[test]
fn with_group_a_command_can_open_its_output_again() {
    let script = "echo a; echo b >/dev/stdout; echo c; echo d >&2; echo e >/dev/stderr";
    let ran = each("1\n", &["--group", "sh", "-c", script]).output();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("a\nb\nc\n", "d\ne\n"));
}

#[rstest]
#[case::a_full_output("echo x; sleep 50", "--group", ">/dev/full", "(ENOSPC)")]
#[case::a_long_line("test $0 = 0 || sleep 50", "-j3", "", "longer than")]
fn after_an_error_nothing_is_left(
    #[case] script: &str,
    #[case] option: &str,
    #[case] output: &str,
    #[case] why: &str,
) {
    let list =
        if why == "longer than" { "1\n2\n$(head -c 200000 /dev/zero | tr '\\0' a)\n" } else { "1\n2\n" };
    let line = format!(
        "printf '%s' \"{list}\" | $SELFDOCK each -j2 {option} sh -c 'test $0 != 1 || exit 0; {script}' {output}"
    );
    let line = line.replace("echo x; sleep", "sleep");
    let line = if output.is_empty() { line } else { line.replace("exit 0", "exec echo x") };
    // `output` checks that no processes are left.
    let ran = Cmd::program(args!["bash", "-c", line]).env("SELFDOCK", crate::support::selfdock()).output();
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
}

#[test]
fn an_ignored_signal_does_not_end_the_batch() {
    let ignoring = args!["env", "--ignore-signal=HUP,INT"];
    let mut batch = Cmd::under(ignoring, args!["each", "sleep"]).spawn();
    batch.write("0.5\n0\n");
    wait_until("one has started", || crate::support::children(batch.pid()).len() == 1);
    batch.signal(Signal::SIGHUP);
    batch.signal(Signal::SIGINT);
    batch.close();
    assert!(batch.wait().success());
}

/// As xargs, and every other program of a pipeline.
#[rstest]
#[case::one_at_a_time("")]
#[case::several("-j 3")]
#[case::grouped("--group")]
fn when_nobody_reads_no_more_commands_start(#[case] option: &str) {
    let dir = scratch();
    let line = format!(
        "seq 400 | $SELFDOCK -H each {option} sh -c 'echo {{}} >> started; echo {{}}' | head -n 1
         echo ${{PIPESTATUS[1]}}; wc -l < started"
    );
    let cmd = Cmd::program(args!["bash", "-c", line]).env("SELFDOCK", crate::support::selfdock());
    let seen = cmd.current_dir(dir.path()).ok();
    let said: Vec<&str> = seen.lines().collect();
    // 128 + SIGPIPE
    assert_eq!(said[1], "141", "{seen}");
    assert!(said[2].trim().parse::<u32>().unwrap() < 200, "{seen}");
}

/// The shell tells by its status what has ended its command.
#[test]
fn when_nobody_reads_what_a_shell_starts_no_more_commands_start() {
    let dir = scratch();
    let line = "seq 400 | $SELFDOCK -H each sh -c 'echo {} >> started; seq 99999; exit $?' | head -n 1
         echo ${PIPESTATUS[1]}; wc -l < started";
    let cmd = Cmd::program(args!["bash", "-c", line]).env("SELFDOCK", crate::support::selfdock());
    assert_eq!(cmd.current_dir(dir.path()).ok(), "1\n141\n1");
}

#[test]
fn a_closed_list_is_an_error() {
    let line = "exec $SELFDOCK each echo <&-";
    let ran = Cmd::program(args!["sh", "-c", line]).env("SELFDOCK", crate::support::selfdock()).output();
    ran.refused("read the list: file descriptor not open (EBADF)");
}

#[test]
fn help_and_version_are_those_of_selfdock() {
    assert_eq!(each("1\n2\n", &["--help", "x"]).ok(), Cmd::new(args!["help", "each"]).ok());
    assert_eq!(each("", &["--version"]).ok(), Cmd::new(args!["--version"]).ok());
}

/// However long the commands run.
#[test]
fn waiting_for_output_takes_no_memory() {
    let mut batch = Cmd::new(args!["each", "-j", "60", "--group", "sleep"]).spawn();
    let pid = batch.pid().to_string();
    let memory = || status_of(&pid, &["VmRSS"]).split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    let waits =
        || status_of(&pid, &["voluntary_ctxt_switches"]).split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    batch.write(&"1000\n".repeat(60));
    wait_until("all have started", || crate::support::children(batch.pid()).len() == 60);
    let (before, enough) = (memory(), waits() + 100);
    wait_until("it has waited a hundred times", || waits() >= enough);
    let after = memory();
    assert!(after < before + 128, "{before} kB before, {after} kB after");
    batch.signal(Signal::SIGTERM);
    batch.wait();
}
