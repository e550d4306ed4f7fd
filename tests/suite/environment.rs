//! environment: A command gets the caller's environment with exactly the requested changes.

use crate::support::{Cmd, args, bin, scratch};
use rstest::rstest;

/// All variables of a command, but for the one that tells the runs of the suite apart.
fn variables(cmd: Cmd) -> Vec<String> {
    let all = cmd.env("NAME", "outer").env("OTHER", "a b\nc").arg("/usr/bin/env").arg("-0").ok();
    let is_ours = |word: &&str| !word.starts_with("SELFDOCK_TEST_RUN=");
    let mut all: Vec<String> = all.split('\0').filter(is_ours).map(Into::into).collect();
    all.sort();
    all
}

#[test]
fn a_command_gets_the_callers_environment() {
    assert_eq!(variables(Cmd::run([])), variables(Cmd::program(args!["env"])));
}

#[rstest]
#[case::two_words(&["-e", "NAME", "value"], &["NAME=value"])]
#[case::one_word(&["-e", "NAME=value"], &["NAME=value"])]
#[case::long(&["--env", "NAME", "value"], &["NAME=value"])]
#[case::empty(&["-e", "NAME="], &["NAME="])]
#[case::equals_sign_in_value(&["-e", "NAME=a=b"], &["NAME=a=b"])]
#[case::last_wins(&["-e", "NAME=1", "-e", "NAME", "2"], &["NAME=1", "NAME=2"])]
#[case::unset(&["-E", "NAME"], &["-u", "NAME"])]
#[case::unset_and_set(&["-E", "NAME", "-e", "NAME=x"], &["-u", "NAME", "NAME=x"])]
#[case::set_and_unset(&["-e", "NAME=x", "-E", "NAME"], &["NAME=x", "env", "-u", "NAME"])]
#[case::cleared(&["--clear-env", "-e", "PATH=/bin"], &["-i", "PATH=/bin"])]
#[case::cleared_and_set(&["--clear-env", "-e", "PATH=/bin", "-e", "NAME=x"], &["-i", "PATH=/bin", "NAME=x"])]
#[case::unset_what_is_not_set(&["-E", "NO_SUCH_NAME"], &["-u", "NO_SUCH_NAME"])]
fn a_variable_is_what_env_makes_of_the_same(#[case] options: &[&str], #[case] of_env: &[&str]) {
    let seen = variables(Cmd::run(options.iter().map(Into::into)));
    let plain = args!["env"].into_iter().chain(of_env.iter().map(Into::into));
    assert_eq!(seen, variables(Cmd::program(plain)));
}

#[test]
fn a_cleared_environment_is_empty() {
    let run = Cmd::run(args!["--clear-env", "/usr/bin/env"]).env("NAME", "outer");
    assert_eq!(run.ok(), "");
}

#[rstest]
fn an_invalid_variable_name_is_refused(#[values("", "=", "=x", "A=B=")] name: &str) {
    if name == "A=B=" {
        Cmd::run(args!["-E", name, "true"]).refused("not a name");
    } else {
        Cmd::run(args!["-e", name, "x", "true"]).refused("not a name");
    }
}

/// I3: environment.
#[test]
fn no_variable_makes_selfdock_open_a_file() {
    let dir = scratch();
    let fifo = dir.path().join("fifo");
    // A process that opens this FIFO waits for ever.
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut run = Cmd::run(args![bin("nothing")]);
    for name in [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "GLIBC_TUNABLES",
        "TZ",
        "TMPDIR",
        "LOCPATH",
        "NLSPATH",
        "SHELL",
        "HOME",
        "PWD",
    ] {
        run = run.env(name, &fifo);
    }
    run.env("RUST_BACKTRACE", "1").env("LD_SHOW_AUXV", "1").ok();
}

#[test]
fn a_command_is_found_by_path() {
    let dir = scratch();
    crate::support::copy_program(bin("nothing"), dir.path().join("my-command"));
    Cmd::run(args!["my-command"]).env("PATH", dir.path()).ok();
}

#[test]
fn without_a_command_the_callers_shell_runs() {
    let script = "echo $0 $((6*7)); exit 3\n";
    let run = Cmd::run([]).env("SHELL", "/bin/sh").stdin(script).output();
    assert!(run.ends_as(&Cmd::program(args!["/bin/sh"]).stdin(script).output()).stdout.contains("42"));
    // An image may lack the caller's shell.
    let image = Cmd::run(args!["--root", crate::support::fixture("busybox")]).env("SHELL", "/usr/bin/zsh");
    assert_eq!(image.stdin("echo $((6*7))\n").ok(), "42");
    assert_eq!(Cmd::run(args!["-E", "SHELL"]).stdin("echo $((6*7))\n").ok(), "42");
}
