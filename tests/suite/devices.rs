//! devices: An instance has a minimal /dev, and device nodes anywhere else do not work.

use crate::support::{Cmd, args, bin, fixture, on_a_host, scratch};
use rstest::rstest;
use std::ffi::OsString;

/// M5: device nodes.
#[rstest]
#[case::in_the_root(args![], fixture("devices/null"))]
#[case::in_a_map(args!["-m", fixture("devices"), "/mnt"], "/mnt/null")]
#[case::in_a_volume(args!["-v", fixture("devices"), "/mnt"], "/mnt/null")]
#[case::as_a_volume(args!["-v", fixture("devices/null"), "/mnt/null"], "/mnt/null")]
#[case::in_an_image(args!["--root", fixture("busybox"), "-m", bin("probe"), "/home/probe"], "/etc/null")]
fn a_planted_device_node_does_not_work<const N: usize>(
    #[case] options: [OsString; N],
    #[case] node: impl Into<OsString>,
) {
    let control = Cmd::program(args![bin("probe"), "open", fixture("devices/null")]);
    assert_eq!(control.ok(), "opened");
    let inside = N > 0 && options[0] == "--root";
    let probe = if inside { "/home/probe".into() } else { bin("probe") };
    let ran = Cmd::run(options).arg(probe).arg("open").arg(node.into()).output();
    ran.refused_or(|ran| assert_eq!(ran.ok(), "EACCES"));
}

/// K2: mask race. A file in place of a device on the host must be that device: programs write secrets to /dev/null.
#[rstest]
#[case::another_device("mknod -m 666 other c 1 5")]
#[case::a_block_device("mknod -m 666 other b 1 3")]
#[case::a_file("touch other")]
fn another_device_in_place_of_a_usual_one_is_refused(#[case] other: &str) {
    let changes = |fault: &str| format!("rm -r .$PREFIX/lib/selfdock\n{fault}");
    // First the test sees that it works.
    on_a_host(&changes(""), "me $SD run true").ok();
    let ran =
        on_a_host(&changes(&format!("{other}; mount --bind other dev/null")), "me $SD run true").output();
    assert!(ran.stderr.contains("bind the device '/dev/null': it is another device"), "{}", ran.stderr);
}

#[rstest]
#[case::host_image(args![])]
#[case::foreign_image(args!["--root", fixture("busybox")])]
fn dev_is_minimal<const N: usize>(#[case] options: [OsString; N]) {
    let listing = Cmd::run(options).arg("ls").arg("-A").arg("/dev").ok();
    let usual = "console fd full null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(listing.split_whitespace().collect::<Vec<_>>().join(" "), usual);
}

#[test]
fn the_usual_devices_work() {
    let script = "echo x > /dev/null && head -c 4 /dev/zero | wc -c && head -c 8 /dev/urandom | wc -c \
                  && cat /dev/null && echo by-fd > /dev/stdout; cat /etc/hostname /etc/passwd > /dev/full";
    let ran = Cmd::run([]).sh(script).output();
    assert_eq!(ran.stdout, "4\n8\nby-fd\n");
    assert!(ran.stderr.contains("No space left"));
}

#[test]
fn dev_cannot_be_changed() {
    let ran = Cmd::run([]).sh("touch /dev/x || rm /dev/null || mknod /tmp/n c 1 3").output();
    assert!(!ran.status.success());
}

#[rstest]
fn dev_cannot_be_a_destination(#[values("/dev", "/dev/null", "/dev/pts", "/dev/new")] dst: &str) {
    let dir = scratch();
    Cmd::run(args!["-v", dir.path(), dst, "true"]).refused("the instance's own");
}

/// M7: devpts.
#[test]
fn terminals_are_the_instances_own() {
    let outside = nix::pty::openpty(None, None).unwrap();
    assert!(nix::unistd::ttyname(&outside.slave).unwrap().exists());
    assert_eq!(Cmd::run([]).sh("ls /dev/pts").ok(), "ptmx");
    assert_eq!(Cmd::run([]).probe(&["pty"]).ok(), "/dev/pts/0");
}

#[test]
fn a_requested_device_is_there() {
    let fuse = std::path::Path::new("/dev/fuse");
    let device = if fuse.exists() { "/dev/fuse" } else { "/dev/kmsg" };
    let listing = Cmd::run(args!["--dev", device, "ls", "-A", "/dev"]).ok();
    assert!(listing.lines().any(|name| device.ends_with(name)), "{listing}");
    let inside = Cmd::run(args!["--dev", device, "stat", "-c", "%t:%T %a", device]).ok();
    assert_eq!(inside, Cmd::program(args!["stat", "-c", "%t:%T %a", device]).ok());
}

#[rstest]
#[case::elsewhere("/etc/passwd", "must be below /dev")]
#[case::by_a_step_back("/dev/../etc/passwd", "contains '..'")]
#[case::absent("/dev/no-such", "(ENOENT)")]
fn only_what_is_in_dev_is_a_device(#[case] path: &str, #[case] why: &str) {
    Cmd::run(args!["--dev", path, "true"]).refused(why);
}

/// Like /dev/log, which is a socket or a link to one.
#[test]
fn a_socket_in_dev_can_be_requested() {
    let name = format!("selfdock-test.{}", std::process::id());
    let changes = format!(
        "umount -l dev; mount -t tmpfs d dev; mkdir dev/pts dev/shm var/sockets; ln -s /proc/self/fd dev/fd
         for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
             set -- $node; mknod -m 666 dev/$1 c $2 $3
         done; ln -s /var/sockets/{name} dev/log"
    );
    let script = format!(
        "umask 0; python3 -c \"$RECEIVE\" /var/sockets/{name} & until [ -S /var/sockets/{name} ]; do sleep 0.05; done
         me $SD --dev /dev/log run logger -d -u /dev/log one; wait"
    );
    let receive = include_str!("../programs/receive_datagram.py");
    let ran = on_a_host(&changes, &script).env("RECEIVE", receive).output();
    assert!(ran.stdout.contains("one"), "{}{}", ran.stdout, ran.stderr);
}
