//! nothing-left: When its first process ends, nothing of an instance is left.

use crate::support::{Cmd, args, host_mounts, nested, scratch, selfdock};
use rstest::rstest;
use std::fs;

#[test]
fn the_hosts_mount_table_is_as_before() {
    let dir = scratch();
    let before = host_mounts();
    for _ in 0..50 {
        Cmd::run(args!["-v", dir.path(), "/mnt", "-t", "-", "/srv", "true"]).ok();
    }
    let instance = Cmd::run(args!["-v", dir.path(), "/mnt"]).sh("echo up; exec cat").spawn();
    instance.line();
    assert_eq!(host_mounts(), before);
}

/// M4: propagation.
#[test]
fn a_directory_that_is_a_volume_can_be_removed_outside() {
    let dir = scratch();
    let sub = dir.path().join("sub");
    fs::create_dir(&sub).unwrap();
    let instance = Cmd::run(args!["-v", &sub, "/mnt"]).sh("echo up; exec cat").spawn();
    instance.line();
    fs::remove_dir(&sub).unwrap();
}

/// M4: propagation.
#[test]
fn every_mount_of_an_instance_is_private() {
    let table = Cmd::run(args!["cat", "/proc/self/mountinfo"]).ok();
    for line in table.lines() {
        assert!(!line.contains(" shared:") && !line.contains(" master:"), "{line}");
    }
}

/// M4: propagation.
#[test]
fn a_mount_inside_does_not_propagate_out() {
    let before = host_mounts();
    let mut instance =
        Cmd::run(args!["unshare", "-Urm"]).sh("mount -t tmpfs x /mnt && echo up; exec cat").spawn();
    assert_eq!(instance.line(), "up");
    assert_eq!(host_mounts(), before);
    instance.close();
    assert!(instance.wait().success());
}

#[rstest]
fn background_processes_end_with_the_command(#[values(0, 2)] depth: usize) {
    // `output` checks that no processes are left.
    let run = Cmd::run(nested(depth, []));
    run.sh("setsid sleep 1000 >/dev/null 2>&1 & (sleep 1000 >/dev/null 2>&1 &) ; true").ok();
}

#[test]
fn a_refusal_leaves_nothing() {
    let before = host_mounts();
    Cmd::run(args!["-v", "/etc", "/mnt", "-v", "/no/such/thing", "/srv", "true"]).refused("(ENOENT)");
    Cmd::run(args!["-t", "-", "/mnt", "no-such-command"]).output().exits(127);
    assert_eq!(host_mounts(), before);
}

#[test]
fn the_program_is_not_changed() {
    let before = fs::read(selfdock()).unwrap();
    let script = "echo x >> $SD; echo x >> /proc/1/exe; cp /bin/true $SD; rm -f $SD";
    let ran = Cmd::run([]).env("SD", selfdock()).sh(script).output();
    assert!(!ran.stderr.is_empty());
    assert!(before == fs::read(selfdock()).unwrap());
}
