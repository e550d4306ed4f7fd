//! failing-calls: Whichever system call fails, a command gets exactly its instance, or is not started.

use crate::support::machine::Machine;
use crate::support::{Cmd, args, bin, fixture};
use rstest::rstest;
use std::time::Duration;

/// `torture` of root, which traces: set-uid bits do not count for a tracer without privilege.
fn torture(words: impl IntoIterator<Item = std::ffi::OsString>) -> Cmd {
    let start = args![fixture("setuid/probe"), "as-root", bin("torture")];
    Cmd::program(start.into_iter().chain(words)).within(Duration::from_secs(300))
}

/// F3: fault injection. A command is started with exactly what it has when nothing fails, or not at all; and nothing is
/// left. `cargo xtask torture faults` tries every errno.
#[rstest]
fn whichever_call_fails_a_command_has_exactly_its_instance_or_is_not_started(
    #[values(
        "run",
        "older-kernel",
        "mounts",
        "image",
        "layers",
        "build",
        "unprivileged",
        "unprivileged-image",
        "strict",
        "no-filter",
        "root",
        "root-image",
        "root-unprivileged",
        "nested",
        "nested-unprivileged",
        "enter",
        "enter-unprivileged",
        "enter-strict",
        "root-enter",
        "each"
    )]
    mode: &str,
) {
    let mut words = args!["faults", "--short", "--mode", mode].to_vec();
    // `cargo xtask mutants` names the calls whose failure a mutant ignores.
    if let Some(calls) = std::env::var_os("SELFDOCK_FAILING_CALLS") {
        words.extend(args!["--call", calls]);
    }
    let ran = torture(words).output();
    assert!(ran.status.success() && ran.stdout.contains(", 0 findings"), "{}{}", ran.stdout, ran.stderr);
}

/// F3: fault injection. A keeper that fails ends the command with it, which may be about to say why.
#[test]
fn a_line_that_its_process_could_not_write_is_written_by_the_supervisor() {
    let words = args!["inject", "2.0:write:1", "SIGKILL", crate::support::selfdock()];
    let ran = torture(words.into_iter().chain(args!["-m", "/no/such/place", "/mnt", "run", "true"])).output();
    let line = "selfdock: open '/no/such/place' to bind it on '/mnt': no such file or directory (ENOENT)\n";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", line));
}

/// F3: fault injection. The first three writes deny setgroups(2) and map the ids.
#[rstest]
#[case::denied(
    "EPERM",
    "operation not permitted (EPERM); a policy (Landlock, AppArmor, SELinux) or a filter of system calls forbids it"
)]
#[case::cut_short("false-success", "the write was cut short")]
fn a_user_namespace_without_its_ids_is_refused(
    #[case] how: &str,
    #[case] why: &str,
    #[values((1, "setgroups"), (2, "uid_map"), (3, "gid_map"))] (write, name): (usize, &str),
) {
    let words = args!["inject", format!("0.0:write:{write}"), how, crate::support::selfdock()];
    let ran = torture(words.into_iter().chain(args!["--unprivileged", "run", "true"])).output();
    assert_eq!(ran.stderr, format!("selfdock: map your ids in '/proc/self/{name}': {why}\n"));
}

/// C1: capabilities, securebits. What prctl(2) only says that it has done is read back.
#[test]
fn a_process_that_would_keep_its_capabilities_is_not_started() {
    let words = args!["inject", "0.0:prctl-8:2", "false-success", crate::support::selfdock(), "run", "true"];
    torture(words).output().refused("give up privilege: the kernel would still keep capabilities");
}

/// C2: incomplete drop. What makes a network around an instance starts selfdock there with the rights that it says, or
/// not at all. In the second program the third capset(2) hands them on.
#[test]
fn rights_that_cannot_be_handed_on_are_named() {
    let words = args![bin("torture"), "inject", "0.1:capset:3", "EPERM", crate::support::selfdock()];
    let machine = Machine::new();
    let words = machine.launcher_as(0).into_iter().chain(words).chain(args!["--net", "user", "run", "true"]);
    Cmd::program(words).output().refused("hand on capabilities: operation not permitted (EPERM)");
}
