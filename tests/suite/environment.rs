//! environment: A command gets the caller's environment with exactly the requested changes.

use crate::support::{Dock, args, bin, scratch};
use rstest::rstest;

#[test]
fn a_command_gets_the_callers_environment() {
    let seen = Dock::run([]).env("SOME_VARIABLE", "a b").sh("echo \"$SOME_VARIABLE\"").ok();
    assert_eq!(seen, "a b");
}

#[rstest]
#[case::two_words(&["-e", "NAME", "value"], "value")]
#[case::one_word(&["-e", "NAME=value"], "value")]
#[case::long(&["--env", "NAME", "value"], "value")]
#[case::empty(&["-e", "NAME="], "")]
#[case::equals_sign_in_value(&["-e", "NAME=a=b"], "a=b")]
#[case::last_wins(&["-e", "NAME=1", "-e", "NAME", "2"], "2")]
#[case::unset(&["-E", "NAME"], "unset")]
#[case::unset_and_set(&["-E", "NAME", "-e", "NAME=x"], "x")]
#[case::set_and_unset(&["-e", "NAME=x", "-E", "NAME"], "unset")]
#[case::cleared(&["--clear-env", "-e", "PATH=/bin"], "unset")]
#[case::cleared_and_set(&["--clear-env", "-e", "PATH=/bin", "-e", "NAME=x"], "x")]
#[case::unset_what_is_not_set(&["-E", "NO_SUCH_NAME"], "outer")]
fn a_variable_has_the_value_that_the_options_set(#[case] options: &[&str], #[case] value: &str) {
    let run = Dock::run(options.iter().map(Into::into)).env("NAME", "outer");
    assert_eq!(run.sh("echo \"${NAME-unset}\"").ok(), value);
}

#[test]
fn a_cleared_environment_is_empty() {
    let run = Dock::run(args!["--clear-env", "/usr/bin/env"]).env("NAME", "outer");
    assert_eq!(run.ok(), "");
}

#[rstest]
fn an_invalid_variable_name_is_refused(#[values("", "=", "=x", "A=B=")] name: &str) {
    if name == "A=B=" {
        Dock::run(args!["-E", name, "true"]).refused("not a name");
    } else {
        Dock::run(args!["-e", name, "x", "true"]).refused("not a name");
    }
}

/// I3: environment.
#[test]
fn no_variable_makes_selfdock_open_a_file() {
    let dir = scratch();
    let fifo = dir.path().join("fifo");
    // A process that opens this FIFO waits for ever.
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut run = Dock::run(args![bin("nothing")]);
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
    ] {
        run = run.env(name, &fifo);
    }
    run.env("RUST_BACKTRACE", "1").env("LD_SHOW_AUXV", "1").ok();
}

#[test]
fn a_command_is_found_by_path() {
    let dir = scratch();
    crate::support::copy_program(bin("nothing"), dir.path().join("my-command"));
    Dock::run(args!["my-command"]).env("PATH", dir.path()).ok();
}

#[test]
fn without_a_command_the_callers_shell_runs() {
    assert_eq!(Dock::run([]).env("SHELL", "/bin/sh").stdin("echo $0 $((6*7))\n").ok(), "/bin/sh 42");
    // An image may lack the caller's shell.
    let image = Dock::run(args!["--root", crate::support::fixture("busybox")]).env("SHELL", "/usr/bin/zsh");
    assert_eq!(image.stdin("echo $((6*7))\n").ok(), "42");
    assert_eq!(Dock::run(args!["-E", "SHELL"]).stdin("echo $((6*7))\n").ok(), "42");
}
