//! build: Only `build` writes to a root filesystem, and only with the caller's rights.

use crate::support::{Cmd, args, fixture, scratch, selfdock};
use crate::volumes::user_image;
use std::fs;

#[test]
fn a_root_filesystem_can_be_built_from_nothing() {
    let image = scratch();
    fs::create_dir(image.path().join("bin")).unwrap();
    crate::support::copy_program(fixture("busybox/bin/busybox"), image.path().join("bin/busybox"));
    let script = "/bin/busybox --install -s /bin && mkdir -p /etc /usr && echo built > /etc/motd";
    let build = Cmd::new(args!["build", "--root", image.path(), "/bin/busybox", "sh", "-c", script]);
    build.ok();
    assert_eq!(
        Cmd::run(args!["--root", image.path()]).sh("cat /etc/motd; touch /x || echo refused").output().stdout,
        "built\nrefused\n"
    );
}

#[test]
fn only_what_the_caller_may_write_is_written() {
    let ran = Cmd::new(args!["build", "--root", fixture("busybox")]).sh("touch /etc/x; touch /x").output();
    assert_eq!(ran.stderr.matches("Permission denied").count(), 2, "{}", ran.stderr);
}

/// What gives names to an image that only runs would be in the way here.
#[test]
fn files_of_names_are_its_own_and_can_be_written() {
    let image = user_image();
    let file = |name: &str| image.path().join("etc").join(name);
    for name in ["passwd", "group"] {
        fs::write(file(name), "root:x:0:0::/:/bin/sh\n").unwrap();
    }
    let script =
        "cat /etc/passwd /etc/group; for f in passwd group hosts resolv.conf; do echo new > /etc/$f; done";
    let seen = Cmd::new(args!["build", "--root", image.path()]).sh(script).ok();
    assert_eq!(seen, "root:x:0:0::/:/bin/sh\nroot:x:0:0::/:/bin/sh");
    for name in ["passwd", "group", "hosts", "resolv.conf"] {
        assert_eq!(fs::read_to_string(file(name)).unwrap(), "new\n", "{name}");
    }
}

/// M3: set-uid in a user's tree.
#[test]
fn set_uid_bits_and_devices_in_it_have_no_effect() {
    let image = user_image();
    let script = "grep -E '^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / ' /proc/self/mountinfo";
    let line = Cmd::new(args!["build", "--root", image.path()]).sh(script).ok();
    let flags = line.split(' ').nth(5).unwrap();
    assert!(flags.contains("rw") && flags.contains("nosuid") && flags.contains("nodev"), "{line}");
}

#[test]
fn the_hosts_own_root_must_be_named() {
    Cmd::new(args!["build", "true"]).refused("--root DIR");
    let ran = Cmd::new(args!["build", "--root", "/"]).sh("touch /usr/x; touch /home/x").output();
    assert!(ran.stderr.contains("Permission denied") && ran.stderr.contains("Read-only"), "{}", ran.stderr);
}

/// N1: nesting regains.
#[test]
fn in_a_read_only_instance_it_is_read_only() {
    let image = user_image();
    let inner = args![selfdock(), "build", "--root", "/", "touch", "/mnt/x"];
    let ran = Cmd::run(args!["--root", image.path()].into_iter().chain(inner)).output();
    assert!(ran.stderr.contains("Read-only file system"), "{}", ran.stderr);
    let dir = scratch();
    let inner = args![selfdock(), "build", "--root", "/mnt", "/bin/touch", "/x"];
    let ran = Cmd::run(args!["-m", dir.path(), "/mnt"].into_iter().chain(inner)).output();
    assert!(!ran.status.success());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
