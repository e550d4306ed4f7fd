//! nesting-is-monotone: An inner instance has at most what the outer one has.

use crate::support::{Cmd, args, fixture, instance, nested, scratch, selfdock};
use rstest::rstest;
use std::ffi::OsString;
use std::fs;

#[rstest]
#[case(2)]
#[case(16)]
#[case(30)]
fn instances_nest(#[case] depth: usize) {
    let seen = Cmd::run(nested(depth - 1, args!["sh", "-c", "echo $PPID in $(id -u)"])).ok();
    assert_eq!(seen, format!("0 in {}", nix::unistd::getuid()));
}

/// N4: depth.
#[test]
fn beyond_the_kernels_limit_there_is_a_clear_refusal() {
    let ran = Cmd::run(nested(40, args!["true"])).refused("nest");
    assert!(ran.stderr.contains("32"), "{}", ran.stderr);
}

/// N4: depth.
#[test]
fn an_outer_instance_outlives_a_failed_inner_one() {
    let inner: Vec<String> =
        nested(40, args!["true"]).iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let script =
        format!("{} 2>/dev/null; echo $?; {} run echo usable", inner.join(" "), selfdock().display());
    assert_eq!(Cmd::run([]).sh(script).ok(), "125\nusable");
}

#[test]
fn a_level_adds_one_mount() {
    let mounts = |depth| Cmd::run(nested(depth, args!["cat", "/proc/self/mountinfo"])).ok().lines().count();
    let (first, second, third) = (mounts(0), mounts(1), mounts(2));
    // The mounts of selfdock's own file, one on the other.
    assert_eq!((second - first, third - second), (1, 1));
}

/// N1: nesting regains. Something is mounted on a device in an instance, as only the host's root could. A nested
/// instance shows neither that nor the device below it.
#[test]
fn a_device_that_is_covered_is_not_uncovered_inside() {
    let outer = instance([]);
    let inside = crate::support::command_of(outer.pid()).to_string();
    let nsenter = args![fixture("setuid/probe"), "as-root", "nsenter", "-t", &inside, "-m"];
    let nested = |words: &[&str]| {
        let enter = args!["enter", outer.pid().to_string(), selfdock(), "run"];
        Cmd::new(enter.into_iter().chain(words.iter().map(OsString::from)))
    };
    nested(&["cat", "/dev/null"]).ok();
    Cmd::program(nsenter.into_iter().chain(args!["mount", "--bind", "/etc/hostname", "/dev/null"])).ok();
    nested(&["cat", "/dev/null"]).refused("another device");
}

/// N1: nesting regains.
#[rstest]
fn read_only_stays_read_only(#[values(1, 2, 16)] depth: usize) {
    let dir = scratch();
    let script = format!("touch {}/x", dir.path().display());
    let ran = Cmd::run(nested(depth, [])).sh(script).output();
    assert!(ran.stderr.contains("Read-only file system"));
    assert!(!dir.path().join("x").exists());
}

/// N1: nesting regains.
#[rstest]
#[case::a_directory_of_the_root(args![], "DIR")]
#[case::a_map(args!["-m", "DIR", "/mnt"], "/mnt")]
#[case::a_map_elsewhere(args!["-m", "DIR", "/srv/deep"], "/srv")]
fn a_volume_of_something_read_only_is_read_only<const N: usize>(
    #[case] outer: [OsString; N],
    #[case] source: &str,
) {
    let dir = scratch();
    let name = dir.path().display().to_string();
    let outer = outer.map(|word| if word == "DIR" { dir.path().into() } else { word });
    let inner = args![selfdock(), "run", "-v", source.replace("DIR", &name), "/mnt"];
    let ran = Cmd::run(outer.into_iter().chain(inner)).sh("touch /mnt/x /mnt/deep/x").output();
    assert!(ran.stderr.contains("Read-only file system"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// N1: nesting regains.
#[rstest]
#[case::tmp("/tmp")]
#[case::home("/home")]
#[case::root("/")]
fn a_hidden_path_stays_hidden_in_a_nested_instance(#[case] map: &str) {
    let marker = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let inner = args![selfdock(), "run", "-m", map, "/mnt"];
    let name = marker.path().file_name().unwrap().to_string_lossy().into_owned();
    let script = format!("ls -A /mnt /mnt/tmp /mnt/home | grep -F {name}");
    let ran = Cmd::run(inner).sh(script).output();
    assert_eq!(ran.stdout, "");
}

#[rstest]
fn a_volume_can_be_passed_on(#[values(1, 2, 10)] depth: usize) {
    let dir = scratch();
    let level = args![selfdock(), "run", "-v", "/mnt", "/mnt"];
    let levels = std::iter::repeat_n(level, depth).flatten();
    Cmd::run(args!["-v", dir.path(), "/mnt"].into_iter().chain(levels)).sh("touch /mnt/x").ok();
    assert!(dir.path().join("x").exists());
}

#[test]
fn a_volume_that_is_not_passed_on_stays_outside() {
    let dir = scratch();
    fs::write(dir.path().join("marker"), "x").unwrap();
    let seen = Cmd::run(args!["-v", dir.path(), "/mnt", selfdock(), "run", "ls", "-A", "/mnt"]).ok();
    assert_eq!(seen, "");
}

#[test]
fn a_tmp_of_an_outer_instance_can_be_a_volume_of_an_inner_one() {
    let script = "mkdir /tmp/d; $SD run -v /tmp/d /mnt sh -c 'ls -A /tmp; touch /mnt/x'; ls /tmp/d";
    assert_eq!(Cmd::run([]).env("SD", selfdock()).sh(script).ok(), "x");
}

#[test]
fn a_mask_of_an_outer_instance_holds_in_an_inner_one() {
    let inner = args!["--mask", "/etc/passwd", selfdock(), "run"];
    assert_eq!(Cmd::run(inner.into_iter().chain(args!["cat", "/etc/passwd"])).output().stdout, "");
}

#[test]
fn no_nest_gives_privilege_to_nobody() {
    let seen = Cmd::run(args!["--no-nest"]).probe(&["status", "NoNewPrivs"]).ok();
    assert_eq!(seen, "NoNewPrivs: 1");
    // It runs without privilege in a user namespace, or not at all.
    let inner = Cmd::run(args!["--no-nest", selfdock(), "run"]).probe(&["status", "NoNewPrivs"]).output();
    inner.refused_or(|ran| assert_eq!(ran.ok(), "NoNewPrivs: 1"));
}

/// C5: inherited no_new_privs.
#[test]
fn without_new_privileges_there_is_a_clear_refusal() {
    Cmd::under(args!["setpriv", "--no-new-privs"], args!["run", "true"]).output().refused_or(|ran| {
        ran.ok();
    });
}

#[test]
fn an_inner_instance_ends_with_its_outer_one() {
    let script = "$SD run sleep 1000 & echo started";
    // `output` checks that no processes are left.
    Cmd::run([]).env("SD", selfdock()).sh(script).output().exits(0);
}
