use crate::support::{Dock, HIDDEN, args, fixture, scratch};
use rstest::rstest;

/// Directories that hold mounts which may be writable: private ones, and /proc, whose own rules stay.
const PRIVATE: [&str; 3] = ["/tmp", "/dev", "/proc"];

#[rstest]
#[case::host_image(args![])]
#[case::foreign_image(args!["--root", fixture("busybox")])]
fn every_mount_is_read_only_but_the_private_ones<const N: usize>(#[case] options: [std::ffi::OsString; N]) {
    let table = Dock::run(options).arg("cat").arg("/proc/self/mountinfo").ok();
    for line in table.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (place, flags) = (fields[4], fields[5]);
        let private = PRIVATE.iter().any(|dir| place == *dir || place.starts_with(&format!("{dir}/")));
        assert!(private || flags.split(',').any(|flag| flag == "ro"), "writable: {line}");
    }
}

#[test]
fn a_directory_of_the_caller_on_the_root_is_read_only() {
    let dir = scratch();
    let ran = Dock::run([]).sh(format!("touch {}/x", dir.path().display())).output();
    assert!(!ran.status.success() && ran.stderr.contains("Read-only file system"));
    assert!(!dir.path().join("x").exists());
}

#[rstest]
fn a_hidden_directory_is_read_only(#[values("/home", "/run", "/mnt", "/srv", "/sys")] dir: &str) {
    assert!(HIDDEN.contains(&dir));
    let ran = Dock::run([]).sh(format!("touch {dir}/x")).output();
    assert!(!ran.status.success());
}

#[rstest]
#[case::host_image(args![])]
#[case::foreign_image(args!["--root", fixture("busybox")])]
fn tmp_is_writable_for_everyone_and_starts_empty<const N: usize>(#[case] options: [std::ffi::OsString; N]) {
    let listing = Dock::run(options).sh("ls -A /tmp; touch /tmp/x && stat -c %a /tmp").ok();
    assert_eq!(listing, "1777");
}

#[test]
fn tmp_is_private() {
    let marker = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let first = Dock::run([]).sh("touch /tmp/from-inside; echo up; exec cat").spawn();
    first.line();
    let second = Dock::run([]).sh("ls -A /tmp").ok();
    assert_eq!(second, "");
    assert!(!std::path::Path::new("/tmp/from-inside").exists());
    assert!(marker.path().exists());
}

#[test]
fn tmp_is_bounded() {
    let ran = Dock::run([]).sh("head -c 80M /dev/zero > /tmp/x").output();
    assert!(!ran.status.success() && ran.stderr.contains("No space left"));
}

/// M1.
#[rstest]
#[case::remount("mount -o remount,rw / 2>&1")]
#[case::remount_bind("mount -o remount,rw,bind / 2>&1")]
#[case::bind("mount --bind $DIR /tmp && touch /tmp/x")]
#[case::remount_of_a_bind(
    "mkdir /tmp/d; mount --bind $DIR /tmp/d && mount -o remount,rw,bind /tmp/d; touch /tmp/d/x"
)]
#[case::recursive_bind(
    "mkdir /tmp/d; mount --rbind / /tmp/d && mount -o remount,rw,bind /tmp/d; touch /tmp/d$DIR/x"
)]
fn privilege_in_a_user_namespace_does_not_make_it_writable(#[case] attack: &str) {
    let dir = scratch();
    Dock::run(args!["unshare", "-Urm", "true"]).ok();
    let script = format!("{attack}; touch $DIR/x");
    let run = Dock::run(args!["unshare", "-Urm"]).env("DIR", dir.path()).sh(script);
    assert!(!run.output().status.success());
    assert!(!dir.path().join("x").exists());
}
