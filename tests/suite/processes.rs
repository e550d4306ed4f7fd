//! processes: An instance can see, signal and trace only its own processes.

use crate::support::{Background, Cmd, args, command_of, fixture, is_alive, scratch, wait_until};
use nix::sys::signal::Signal;
use rstest::rstest;
use std::fs;
use std::os::unix::fs::symlink;

/// A process of the same user, outside.
fn bystander() -> Background {
    let process = Cmd::program(args!["sh", "-c", "echo up; exec cat"]).spawn();
    process.line();
    process
}

/// K6: pid escape.
#[test]
fn the_command_sees_its_keeper_and_itself_alone() {
    let _other = bystander();
    let seen = Cmd::run([]).sh("echo $$; cd /proc; echo [0-9]*").ok();
    let (pid, all) = seen.split_once('\n').unwrap();
    assert_eq!(all, format!("1 {pid}"));
}

/// K6: pid escape.
#[test]
fn a_process_outside_cannot_be_seen_or_signalled() {
    let other = bystander();
    let pid = other.pid();
    let script =
        format!("kill -9 -1; kill -9 {pid} && echo sent; kill -0 {pid} && echo there; ls -d /proc/{pid}");
    let ran = Cmd::run([]).sh(script).output();
    assert_eq!(ran.stdout, "");
    assert!(is_alive(pid));
}

/// K6: pid escape.
#[test]
fn kill_of_everyone_reaches_the_instance_only() {
    let other = bystander();
    let instance = Cmd::run([]).sh("sleep 1000 & echo up; read line; kill -9 -1; wait; echo done").spawn();
    let mut instance = instance;
    instance.line();
    instance.write("go\n");
    assert_eq!(instance.line(), "done");
    assert!(instance.wait().success());
    assert!(is_alive(other.pid()));
}

/// K1: fake /proc.
#[rstest]
fn proc_cannot_be_a_destination(
    #[values("-v", "-m")] option: &str,
    #[values("/proc", "/proc/sys", "/proc/self/attr", "/")] dst: &str,
) {
    let fake = scratch();
    let why = if dst == "/" { "the root directory cannot be a destination" } else { "the instance's own" };
    Cmd::run(args![option, fake.path(), dst, "true"]).refused(why);
}

/// K1: fake /proc.
#[rstest]
#[case::absolute("/etc")]
#[case::relative("../../etc")]
#[case::dangling("nowhere")]
#[case::a_loop("proc")]
fn proc_of_an_image_is_never_a_link(#[case] target: &str) {
    let image = crate::volumes::user_image();
    fs::remove_dir(image.path().join("proc")).unwrap();
    symlink(target, image.path().join("proc")).unwrap();
    Cmd::run(args!["--root", image.path()]).sh("cat /proc/1/comm /proc/$$/comm").output().refused_or(|ran| {
        assert_eq!(ran.ok(), "keeper\nsh");
    });
}

#[test]
fn proc_shows_the_instance_in_a_foreign_image() {
    let seen = Cmd::run(args!["--root", fixture("busybox")]).sh("cat /proc/1/comm /proc/$$/comm; true").ok();
    assert_eq!(seen, "keeper\nsh");
}

#[test]
fn stop_and_continue_reach_the_command() {
    let instance = Cmd::run(args!["sh", "-c", "echo up; exec cat"]).spawn();
    instance.line();
    let command = command_of(instance.pid());
    let state = |pid: i32| crate::support::status_of(&pid.to_string(), &["State"]);
    instance.signal(Signal::SIGTSTP);
    wait_until("the command is stopped", || state(command).contains("stopped"));
    wait_until("the supervisor is stopped", || state(instance.pid()).contains("stopped"));
    instance.signal(Signal::SIGCONT);
    wait_until("the command goes on", || state(command).contains("sleeping"));
}
