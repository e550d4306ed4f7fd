//! read-only-root: Nothing of the root filesystem can be changed; the private /tmp is writable.

use crate::support::{Cmd, HIDDEN, args, fixture, scratch, selfdock};
use rstest::rstest;

/// Directories with mounts that may be writable: private ones, and /proc, which has its own rules.
const PRIVATE: [&str; 3] = ["/tmp", "/dev", "/proc"];

#[rstest]
#[case::host_image(args![])]
#[case::foreign_image(args!["--root", fixture("busybox")])]
fn every_mount_is_read_only_but_the_private_ones<const N: usize>(#[case] options: [std::ffi::OsString; N]) {
    let table = Cmd::run(options).arg("cat").arg("/proc/self/mountinfo").ok();
    for line in table.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let (place, flags) = (fields[4], fields[5]);
        let private = PRIVATE.iter().any(|dir| place == *dir || place.starts_with(&format!("{dir}/")));
        assert!(private || flags.split(',').any(|flag| flag == "ro"), "writable: {line}");
    }
}

/// M2: flags lost or shallow. The flags that each kind of mount must have. A mount may have more, like the host's.
#[rstest]
#[case::host_image(args!["-m", "/usr/bin", "/mnt", "-m", "/usr/bin", "/srv/made/deep"], true)]
#[case::root_that_is_made(args!["-m", "/usr/bin", "/mnt", "-m", "/usr/bin", "/newly/made"], true)]
#[case::foreign_image(
    args!["--root", fixture("busybox"), "-m", "/usr/bin", "/mnt", "-m", "/usr/bin", "/usr/made"],
    true
)]
#[case::unprivileged(args!["--unprivileged", "-m", "/usr/bin", "/mnt", "-m", "/usr/bin", "/srv/made/deep"], false)]
fn every_mount_has_the_flags_of_its_kind<const N: usize>(
    #[case] options: [std::ffi::OsString; N],
    #[case] counts: bool,
) {
    let volume = scratch();
    let more = args![
        "--mask",
        "/etc/group",
        "--mask",
        "/usr/local",
        "-v",
        volume.path(),
        "/home/v",
        "-t",
        "-",
        "/home/t"
    ];
    let device = args!["--dev", "/dev/kmsg", "cat", "/proc/self/mountinfo"];
    let image = options[0] == "--root";
    let more = more.map(|word| if image && word == "/usr/local" { "/var".into() } else { word });
    let table = Cmd::run(options.into_iter().chain(more).chain(device)).ok();
    let own = selfdock();
    let mut inert = 0;
    let place = |line: &str| line.split(' ').nth(4).unwrap().to_owned();
    for (at, line) in table.lines().enumerate() {
        let (flags, kind) = (line.split(' ').nth(5).unwrap(), line.split_once(" - ").unwrap().1);
        let is_covered = table.lines().skip(at + 1).any(|other| place(other) == place(line));
        let place = &*place(line);
        let wanted = match place {
            place if own == *place && counts => "ro nodev",
            "/home/v" | "/home/t" | "/tmp" | "/dev/shm" if !kind.starts_with("none") => "nosuid nodev",
            "/dev/pts" => "nosuid noexec",
            "/etc/group" | "/usr/local" | "/var" | "/etc/resolv.conf" | "/etc/hosts" | "/proc/empty"
                if !is_covered =>
            {
                inert += 1;
                "ro nosuid nodev noexec"
            }
            "/proc" if kind.starts_with("proc ") => "nosuid nodev noexec",
            // These mounts have devices.
            "/" | "/dev" => "ro nosuid",
            place if place.starts_with("/dev/") => "ro nosuid noexec",
            _ => "ro nosuid nodev",
        };
        for flag in wanted.split(' ') {
            assert!(flags.split(',').any(|has| has == flag), "{flag} lacks: {line}");
        }
    }
    assert!(inert >= 2, "{table}");
}

/// Directories that selfdock makes for an instance do not stay writable: directories with a new mount point, and the
/// root directory.
#[rstest]
fn directories_made_for_an_instance_end_up_read_only(
    #[values("/srv/made/deep", "/newly/made", "/usr/bin/made")] place: &str,
    #[values("--net", "--unprivileged")] option: &str,
) {
    let options = if option == "--net" { args![option, "host"].to_vec() } else { args![option].to_vec() };
    let script =
        "for dir in / /srv /srv/made /newly /usr/bin /proc/empty; do touch $dir/x && echo $dir; done";
    let ran = Cmd::run(options.into_iter().chain(args!["-m", "/usr/bin", place])).sh(script).output();
    assert_eq!(ran.stdout, "");
    let dir = place.rsplit_once('/').unwrap().0;
    assert!(ran.stderr.contains(&format!("'{dir}/x': Read-only file system")), "{}", ran.stderr);
}

/// A directory with a new mount point, of which a copy is made: for a mount point above it, or in /dev, for a device.
#[rstest]
fn a_copy_of_a_directory_made_for_an_instance_ends_up_read_only(
    #[values(true, false)] in_dev: bool,
    #[values("host", "image")] root: &str,
    #[values("--net=host", "--unprivileged")] mode: &str,
) {
    let dir = scratch();
    let image = crate::volumes::user_image();
    std::fs::create_dir_all(image.path().join("usr/bin")).unwrap();
    let mut options = args![mode].to_vec();
    if root == "image" {
        options.extend(args!["--root", image.path()]);
    }
    let made = if in_dev {
        options.extend(args!["-m", dir.path(), "/dev/shm/made", "-t", "-", "/dev/shm/made/new"]);
        options.extend(args!["--dev", "/dev/fuse"]);
        "/dev/shm/made"
    } else {
        options.extend(args!["-t", "-", "/usr/bin/new", "-m", dir.path(), "/usr/new"]);
        "/usr/bin"
    };
    let script = format!("test -d {made}/new && ! touch {made}/x");
    let ran = Cmd::run(options).sh(script).output();
    assert!(ran.status.success() && ran.stderr.contains("Read-only file system"), "{}", ran.stderr);
}

#[test]
fn a_directory_of_the_caller_on_the_root_is_read_only() {
    let dir = scratch();
    let ran = Cmd::run([]).sh(format!("touch {}/x", dir.path().display())).output();
    assert!(!ran.status.success() && ran.stderr.contains("Read-only file system"));
    assert!(!dir.path().join("x").exists());
}

#[rstest]
fn a_hidden_directory_is_read_only(#[values("/home", "/run", "/mnt", "/srv", "/sys")] dir: &str) {
    assert!(HIDDEN.contains(&dir));
    let ran = Cmd::run([]).sh(format!("touch {dir}/x")).output();
    assert!(!ran.status.success());
}

#[rstest]
#[case::host_image(args![])]
#[case::foreign_image(args!["--root", fixture("busybox")])]
fn tmp_is_writable_for_everyone_and_starts_empty<const N: usize>(#[case] options: [std::ffi::OsString; N]) {
    let listing = Cmd::run(options).sh("ls -A /tmp; touch /tmp/x && stat -c %a /tmp").ok();
    assert_eq!(listing, "1777");
}

#[test]
fn tmp_is_private() {
    let marker = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let first = Cmd::run([]).sh("touch /tmp/from-inside; echo up; exec cat").spawn();
    first.line();
    let second = Cmd::run([]).sh("ls -A /tmp").ok();
    assert_eq!(second, "");
    assert!(!std::path::Path::new("/tmp/from-inside").exists());
    assert!(marker.path().exists());
}

#[test]
fn tmp_is_bounded() {
    let ran = Cmd::run([]).sh("head -c 80M /dev/zero > /tmp/x").output();
    assert!(!ran.status.success() && ran.stderr.contains("No space left"));
}

/// M1: what a mount covers.
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
    Cmd::run(args!["unshare", "-Urm", "true"]).ok();
    let script = format!("{attack}; touch $DIR/x");
    let run = Cmd::run(args!["unshare", "-Urm"]).env("DIR", dir.path()).sh(script);
    assert!(!run.output().status.success());
    assert!(!dir.path().join("x").exists());
}
