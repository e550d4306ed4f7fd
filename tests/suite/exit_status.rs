//! exit-status: The exit status is the command's, or 125, 126 or 127 if the command did not run.

use crate::support::{Cmd, args, bin, copy_program, nested, scratch, selfdock};
use nix::sys::signal::Signal;
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;

#[rstest]
fn the_status_is_the_commands_own(
    #[values(0, 1, 2, 42, 125, 126, 127, 128, 143, 255)] code: i32,
    #[values(0, 2)] depth: usize,
) {
    let script = format!("exit {code}");
    Cmd::run(nested(depth, []))
        .sh(&script)
        .output()
        .ends_as(&Cmd::program(args!["sh", "-c", script]).output());
}

#[rstest]
#[case::bare_name("no-such-command", "(ENOENT)")]
#[case::path("/no/such/command", "(ENOENT)")]
#[case::not_executable("/etc/passwd", "(EACCES)\n")]
#[case::directory("/etc", "(EACCES); it is a directory\n")]
#[case::directory_behind_a_link("/proc/self/cwd", "(EACCES); it is a directory\n")]
fn a_command_that_cannot_start_has_the_status_that_env_gives(#[case] command: &str, #[case] errno: &str) {
    let ran = Cmd::run(args![command]).output();
    assert_eq!(ran.status, Cmd::program(args!["env", command]).output().status);
    assert!(
        ran.stderr.starts_with("selfdock: ") && ran.stderr.contains(errno) && ran.stderr.contains(command)
    );
    assert_eq!((ran.stderr.lines().count(), ran.stdout.as_str()), (1, ""));
}

#[test]
fn a_script_without_an_interpreter_says_so() {
    let dir = scratch();
    let script = dir.path().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    Cmd::program(args!["chmod", "755", &script]).ok();
    let ran = Cmd::run(args![&script]).output();
    assert!(matches!(ran.status.code(), Some(126 | 127)), "{}", ran.status);
    assert!(ran.stderr.contains("interpreter"), "{}", ran.stderr);
}

#[rstest]
fn a_command_that_a_signal_ends_ends_selfdock_by_the_same(#[values(0, 2)] depth: usize) {
    let crash = nested(depth, args![bin("crash")]);
    Cmd::run(crash)
        .output()
        .ends_as(&Cmd::program(args![bin("crash")]).output())
        .dies_by(Signal::SIGSEGV as i32);
}

#[rstest]
fn a_signal_to_selfdock_ends_the_command_as_if_it_were_sent_to_it(
    #[values(
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGPIPE
    )]
    signal: Signal,
    #[values(0, 2)] depth: usize,
) {
    let ended_by = |cmd: Cmd| {
        let mut cat = cmd.arg("cat").spawn().that_repeats();
        cat.signal(signal);
        cat.wait().signal()
    };
    assert_eq!(ended_by(Cmd::run(nested(depth, []))), ended_by(Cmd::program(args!["env"])));
}

#[rstest]
fn a_command_may_handle_a_signal_to_selfdock(#[values(0, 2)] depth: usize) {
    let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let run = Cmd::run(nested(depth, [])).sh(script);
    assert_eq!(after_a_signal(run), after_a_signal(Cmd::program(args!["sh", "-c", script])));
}

#[test]
fn an_ignored_signal_ends_nothing() {
    let script = "trap '' TERM; echo up; read line; exit 5";
    let run = Cmd::run([]).sh(script);
    assert_eq!(after_a_signal(run), after_a_signal(Cmd::program(args!["sh", "-c", script])));
}

/// How a script ends that says when it can take a SIGTERM, and may wait for a line afterwards.
fn after_a_signal(script: Cmd) -> Option<i32> {
    let mut script = script.spawn();
    script.line();
    script.signal(Signal::SIGTERM);
    script.write("go\n");
    script.wait().code()
}

#[test]
fn a_program_that_exists_only_outside_is_reported_so() {
    let ran = Cmd::run([]).current_dir("/tmp").arg("./program").output().exits(127);
    assert!(ran.stderr.contains("it does not exist outside either"), "{}", ran.stderr);
    let dir = scratch();
    let program = dir.path().join("my-program");
    copy_program(bin("nothing"), &program);
    let hint = format!("exists only outside: --tmpfs has something else on {}", dir.path().display());
    for depth in [0, 1] {
        let hide = args!["-t", "-", dir.path()].into_iter().chain(nested(depth, []));
        let command = |words: &[OsString]| {
            let words = hide.clone().chain(words.iter().cloned());
            Cmd::run(words).current_dir(dir.path()).env("PATH", dir.path()).output().exits(127).stderr
        };
        let said = [command(&args![&program]), command(&args!["my-program"])];
        // An inner selfdock sees only what its instance has.
        let expected: &str = if depth == 0 { &hint } else { "(ENOENT)" };
        assert!(said.iter().all(|said| said.contains(expected) && said.lines().count() == 1), "{said:?}");
        let said = command(&args!["./my-program"]);
        assert!(
            said.contains(if depth == 0 { "-H adds the current directory" } else { "(ENOENT)" }),
            "{said}"
        );
    }
}

#[rstest]
#[case::by_its_name("--mask /usr", "true", "/usr/bin/true exists only outside: --mask hides /usr")]
#[case::by_its_path(
    "--mask /usr/bin",
    "/usr/bin/true",
    "/usr/bin/true exists only outside: --mask hides /usr/bin"
)]
#[case::by_a_link("--mask /usr", "/bin/true", "/bin/true exists only outside: --mask hides /usr")]
#[case::by_a_tmpfs(
    "-t - /usr",
    "true",
    "/usr/bin/true exists only outside: --tmpfs has something else on /usr"
)]
#[case::by_what_a_link_leads_to(
    "-t - /bin",
    "true",
    "/usr/bin/true exists only outside: --tmpfs has something else on /bin"
)]
#[case::by_nothing("-e PATH=/nowhere", "true", "no directory of PATH in the instance has it")]
#[case::by_the_deepest("--mask /usr -t - /usr/bin", "true", "--tmpfs has something else on /usr/bin")]
fn an_option_that_hides_the_program_is_named(
    #[case] options: &str,
    #[case] command: &str,
    #[case] why: &str,
    #[values("", "--unprivileged", "run $SELFDOCK")] before: &str,
) {
    let script = format!("exec $SELFDOCK {before} {options} run {command}");
    let run = Cmd::program(args!["sh", "-c", script]).env("PATH", "/usr/bin:/bin");
    let ran = run.env("SELFDOCK", selfdock()).output().exits(127);
    assert!(ran.stderr.ends_with(&format!("{why}\n")) && ran.stderr.lines().count() == 1, "{}", ran.stderr);
}

#[test]
fn a_program_in_a_home_is_said_to_be_hidden() {
    let dir = scratch();
    copy_program(bin("nothing"), dir.path().join("my-program"));
    let run = Cmd::run(args!["my-program"]).env("PATH", dir.path()).env("HOME", dir.path());
    let ran = run.output().exits(127);
    let hint = format!("exists only outside; add it with -m {0} {0}\n", dir.path().display());
    assert!(ran.stderr.ends_with(&hint), "{}", ran.stderr);
}

/// As of execvp(3), which does not search for an empty name.
#[rstest]
#[case::set_uid(args!["run"])]
#[case::unprivileged(args!["--unprivileged", "run"])]
#[case::nested(args!["run", selfdock(), "run"])]
#[case::a_batch(args!["each"])]
fn an_empty_name_is_no_command<const N: usize>(#[case] words: [OsString; N]) {
    let ran = Cmd::new(words).arg("").stdin("1\n").output().exits(127);
    assert!(ran.stderr.contains("run '': no such file or directory (ENOENT)"), "{}", ran.stderr);
    Cmd::program(args!["env", ""]).output().exits(127);
}

#[test]
fn a_command_that_was_taken_as_a_value_is_noticed() {
    let ran = Cmd::run(args!["-e", "NAME", "echo", "no-such-command"]).output().exits(127);
    assert!(ran.stderr.contains("-e took echo as VALUE"), "{}", ran.stderr);
}

/// The second program reports it, if it exists.
#[test]
fn without_the_second_program_a_missing_command_is_reported_too() {
    let dir = scratch();
    let copy = dir.path().join("selfdock");
    copy_program(selfdock(), &copy);
    Cmd::program(args!["chmod", "755", &copy]).ok();
    let ran = Cmd::program(args![&copy, "run", "no-such-command"]).output().exits(127);
    let why = "no such file or directory (ENOENT); no directory of PATH in the instance has it";
    assert_eq!(ran.stderr, format!("selfdock: run 'no-such-command': {why}\n"));
}

/// The descriptor is closed in the supervisor by then, and the supervisor reports the reason.
#[test]
fn a_descriptor_that_is_kept_does_not_change_the_status() {
    let script = "exec 3< /etc/passwd; $SD --keep-fd 3 run no-such-command";
    let ran =
        Cmd::program(args!["bash", "-c", script]).env("SD", crate::support::selfdock()).output().exits(127);
    assert!(ran.stderr.contains("run 'no-such-command'"), "{}", ran.stderr);
}
