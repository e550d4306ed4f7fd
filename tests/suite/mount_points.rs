//! mount-points: A missing mount point appears beside the existing entries, and the image stays untouched.

use crate::support::{Cmd, FILESYSTEMS, args, fixture, on_a_host, selfdock};
use crate::volumes::{marked, user_image};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::symlink;

/// A directory with a marker in it.
fn volume() -> tempfile::TempDir {
    marked("here")
}

#[rstest]
#[case::below_the_root("/data")]
#[case::deep("/opt/a/b/c")]
#[case::below_a_hidden_directory("/home/somebody/project")]
#[case::beside_many_files("/usr/bin/new/place")]
#[case::through_a_link("/bin/new")]
#[case::in_etc("/etc/new/place")]
fn a_missing_directory_appears_beside_existing_entries(
    #[case] place: &str,
    #[values("-v", "-m")] option: &str,
) {
    let dir = volume();
    let parent = place.rsplit_once('/').unwrap().0;
    let existing = if parent.is_empty() { "/" } else { "/usr/bin" };
    let before = Cmd::run(args!["ls", "-A", existing]).ok();
    let run = Cmd::run(args![option, dir.path(), place]);
    let seen = run.sh(format!("cat {place}/marker; echo; ls -A {existing}")).ok();
    let (marker, names) = seen.split_once('\n').unwrap();
    assert_eq!(marker, "here");
    assert!(before.lines().all(|name| names.lines().any(|other| other == name)), "{names}");
}

#[test]
fn a_missing_file_appears() {
    let dir = volume();
    let run = Cmd::run(args!["-m", dir.path().join("marker"), "/etc/new/file"]);
    assert_eq!(run.sh("cat /etc/new/file; test -f /etc/passwd && echo ' beside'").ok(), "here beside");
}

#[test]
fn a_tmpfs_appears_where_a_link_means_that_passes_what_is_missing() {
    let image = user_image();
    symlink("none/../data", image.path().join("mnt/a")).unwrap();
    let run = Cmd::run(args!["--root", image.path(), "-t", "-", "/mnt/a", "-t", "-", "/mnt/data/below"]);
    assert_eq!(run.sh("touch /mnt/data/below/x /mnt/data/y && ls /mnt/data").ok(), "below\ny");
}

/// In a place of its own the directory is covered as any other is.
#[test]
fn a_mount_point_appears_in_a_copy_of_the_root_directory() {
    let image = user_image();
    let run = Cmd::run(args!["--root", image.path(), "-m", image.path(), "/mnt", "-t", "-", "/mnt/new"]);
    assert_eq!(run.sh("touch /mnt/new/x && ls /mnt/new && test -d /mnt/etc && test ! -e /new").ok(), "x");
    assert!(!image.path().join("new").exists());
}

#[test]
fn a_missing_tmpfs_appears() {
    let run = Cmd::run(args!["-t", "size=8M", "/srv/scratch", "-t", "-", "/new"]);
    assert_eq!(run.sh("touch /srv/scratch/x /new/y && ls /srv /new").ok(), "/new:\ny\n\n/srv:\nscratch");
}

#[test]
fn several_in_one_directory_appear() {
    let dir = volume();
    let words = ["/opt/one", "/opt/two/x", "/opt/two/y", "/three", "/four"];
    let options = words.iter().flat_map(|place| args!["-m", dir.path(), place]);
    let reads: Vec<String> = words.iter().map(|place| format!("cat {place}/marker")).collect();
    assert_eq!(Cmd::run(options).sh(reads.join("; ")).ok(), "here".repeat(5));
}

#[test]
fn a_dangling_link_is_followed_inside() {
    let image = user_image();
    symlink("../var/lib/data", image.path().join("mnt/link")).unwrap();
    let dir = volume();
    let run = Cmd::run(args!["--root", image.path(), "-v", dir.path(), "/mnt/link"]);
    assert_eq!(run.sh("cat /mnt/link/marker /var/lib/data/marker").ok(), "herehere");
    assert!(!image.path().join("var").exists());
}

/// A later mount would cover it, and nobody would notice.
#[rstest]
#[case::into_proc("/proc/self/mounts", "-m", "into /proc or /dev")]
#[case::into_dev("../dev/shm/x", "-m", "into /proc or /dev")]
#[case::onto_dev("/dev", "-m", "into /proc or /dev")]
#[case::onto_a_device("/dev/null", "-m", "into /proc or /dev")]
#[case::a_mask_of_proc("/proc", "--mask", "mask 'PLACE': a link leads to /, or into /proc or /dev")]
#[case::over_another("/etc/mine", "-m", "would cover another mount")]
#[case::a_mask_over_another("/etc", "--mask", "would cover another mount")]
fn a_link_to_a_path_that_is_covered_later_is_an_error(
    #[case] target: &str,
    #[case] option: &str,
    #[case] words: &str,
    #[values(true, false)] foreign: bool,
) {
    let (dir, image) = (volume(), user_image());
    let place = if foreign { "/mnt/zz" } else { "/opt/zz-link" };
    let source = dir.path().display();
    let source = if option == "-m" { format!("{source}") } else { String::new() };
    let other = format!("-m {} /etc/mine/x", dir.path().display());
    let root = if foreign { format!("--root {}", image.path().display()) } else { String::new() };
    let script = format!("me $SD {root} {other} {option} {source} {place} run cat /etc/mine/x/marker");
    let change = if foreign {
        symlink(target, image.path().join("mnt/zz")).unwrap();
        String::new()
    } else {
        format!("ln -s {target} .{place}")
    };
    on_a_host(&change, &script).refused(&words.replace("PLACE", place));
    // Without the link it is no error.
    let free = script.replace(&format!("{option} {source} {place}"), "");
    assert_eq!(on_a_host(&change, &free).ok(), "here");
}

#[test]
fn a_link_in_shared_memory_leads_to_no_device() {
    let dir = volume();
    symlink("/dev/pts", dir.path().join("link")).unwrap();
    let volume = args!["-v", dir.path(), "/dev/shm/v", "-m", dir.path()];
    let mounted =
        |place: &str| Cmd::run(volume.iter().cloned().chain(args![place, "cat", "/dev/shm/v/marker"]));
    mounted("/dev/shm/v/link")
        .refused("mount on '/dev/shm/v/link': a link leads to /, or into /proc or /dev");
    symlink("/dev/shm", dir.path().join("own")).unwrap();
    assert_eq!(mounted("/dev/shm/v/own/new").ok(), "here");
}

#[test]
fn entries_beside_a_mount_point_stay_read_only() {
    let dir = volume();
    let run = Cmd::run(args!["-v", dir.path(), "/opt/new", "-v", dir.path(), "/data"]);
    let ran = run.sh("touch /opt/x /x /data/x; touch /usr/bin/x").output();
    assert_eq!(ran.stderr.matches("Read-only file system").count(), 3, "{}", ran.stderr);
    assert!(dir.path().join("x").exists());
}

#[test]
fn missing_mount_points_appear_in_a_nested_instance_too() {
    let dir = volume();
    let inner =
        args![selfdock(), "run", "-v", "/data", "/opt/deeper/place", "cat", "/opt/deeper/place/marker"];
    assert_eq!(Cmd::run(args!["-v", dir.path(), "/data"].into_iter().chain(inner)).ok(), "here");
}

#[test]
fn no_mount_point_is_made_in_a_volume() {
    let (outer, inner) = (volume(), volume());
    let run = Cmd::run(args!["-v", outer.path(), "/mnt", "-v", inner.path(), "/mnt/sub", "true"]);
    run.refused("in a volume");
    assert!(!outer.path().join("sub").exists());
}

/// F2: tables.
#[test]
fn a_directory_that_is_too_large_is_refused() {
    let image = user_image();
    for n in 0..4100 {
        fs::write(image.path().join(format!("mnt/{n}")), "").unwrap();
    }
    let dir = volume();
    let run = Cmd::run(args!["--root", image.path(), "-v", dir.path(), "/mnt/new", "true"]);
    run.refused("4096");
    let existing =
        Cmd::run(args!["--root", image.path(), "-m", dir.path().join("marker"), "/mnt/7", "cat", "/mnt/7"]);
    assert_eq!(existing.ok(), "here");
}

/// F2: tables.
#[rstest]
fn too_many_mounts_are_refused(#[values(1025, 40_000)] many: usize) {
    let words = (0..many).flat_map(|n| args!["-m", "/etc", format!("/mnt/{n}")]);
    Cmd::run(words.chain(args!["true"])).refused("1024");
}

#[test]
fn a_thousand_mounts_are_not_too_many() {
    let words = (0..1000).flat_map(|n| args!["-m", fixture("bin"), format!("/mnt/{n}")]);
    let count = fs::read_dir(fixture("bin")).unwrap().count();
    assert_eq!(Cmd::run(words).sh("ls /mnt | wc -l; ls /mnt/999 | wc -l").ok(), format!("1000\n{count}"));
}

/// F4: hung or foreign mounts, links where directories are. File systems beside a requested mount point do not
/// prevent or delay a run.
#[rstest]
#[case::in_a_directory("/opt/x", "-t - /opt/x/new run", "/opt/x")]
#[case::in_the_root_of_an_image("/srv/img", "--root /srv/img -m /usr /usr -t - /new run", "")]
#[case::in_a_layer("/srv/img", "--root /srv/img --root /srv/more -m /usr /usr run", "")]
#[case::in_the_hosts_root("", "-t - /new run", "/opt")]
#[case::without_privilege("/opt/x", "--unprivileged -t - /opt/x/new run", "/opt/x")]
fn file_systems_beside_a_mount_point_do_not_matter(
    #[case] place: &str,
    #[case] words: &str,
    #[case] inside: &str,
) {
    let changes = "mkdir -p srv/more/new opt/fine srv/img; (cd srv/img; mkdir etc proc dev tmp usr opt)
         touch opt/fine/f opt/new; for name in bin lib lib64; do ln -s usr/$name srv/img/$name; done";
    let script = format!(
        "{FILESYSTEMS}
         filesystems '{place}'
         me timeout $LONG $SD {words} sh -c 'ls {inside}/fine; test -e {inside}/new && echo made'; echo $?
         kill $servers 2>/dev/null; umount -l '{place}/hung'"
    );
    let ran = on_a_host(changes, &script).output();
    assert_eq!(ran.stdout, "f\nmade\n0\n", "{}", ran.stderr);
}

/// F4: hung or foreign mounts, links where directories are. None delays a run that did not request it, wherever it is.
#[rstest]
fn a_hung_file_system_in_every_directory_holds_up_no_run(
    #[values("me", "")] who: &str,
    #[values(
        "run",
        "--unprivileged run",
        "run $SD run",
        "-t - /new run",
        "-t - /opt/new run",
        "-t - /usr/bin/new run",
        "-m /usr /mnt --mask /etc/hosts run",
        "--root / build"
    )]
    words: &str,
) {
    let script = format!("{FILESYSTEMS}{}", include_str!("../programs/hang_everywhere.sh"));
    let on_host = on_a_host("mkdir -p srv/x", &script).env("WHO", who).env("WORDS", words);
    let ran = on_host.output();
    assert_eq!(ran.stdout, "ran\n0\n", "{}", ran.stderr);
}

/// F4: hung or foreign mounts, links where directories are. An entry that disappears while its directory is read was
/// not requested.
#[rstest]
#[case::beside_a_mount_point("-t - /opt/busy/new run")]
#[case::in_a_layer("--root /opt/image --root /opt/other -m /usr /usr -m $PREFIX $PREFIX run")]
fn a_busy_directory_does_not_prevent_a_run(#[case] words: &str) {
    let changes = "mkdir -m 1777 opt/busy; mkdir -p opt/image opt/other/busy; chmod 1777 opt/image
         (cd opt/image; mkdir etc proc dev tmp usr opt; mkdir -m 1777 busy)
         for name in bin lib lib64; do ln -s usr/$name opt/image/$name; done
         touch opt/other/busy/x";
    let script = format!(
        "setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups timeout $LONG \
         python3 -c \"$CHANGE\" /opt/busy /opt/image/busy & busy=$!; sleep 0.6
         for i in $(seq 30); do me $SD {words} true || echo failed; done; kill $busy; wait; echo done"
    );
    let change = include_str!("../programs/change_directories.py");
    let ran = on_a_host(changes, &script).env("CHANGE", change).output();
    assert_eq!(ran.stdout, "done\n", "{}", ran.stderr);
}
