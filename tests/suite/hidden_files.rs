use crate::support::{CANARY, Dock, FORBIDDEN, HIDDEN, args, fixture, nested, scratch};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// P1.
#[rstest]
fn a_source_behind_a_directory_that_the_caller_may_not_search_is_refused(
    #[values("p", "p710", "p705")] dir: &str,
    #[values("-m", "-v")] option: &str,
    #[values("pub", "pub/canary")] path: &str,
) {
    Dock::run(args![option, fixture(dir).join(path), "/mnt", "true"]).refused("(EACCES)");
}

/// P1.
#[rstest]
fn a_root_behind_a_directory_that_the_caller_may_not_search_is_refused(
    #[values("p", "p710", "p705")] dir: &str,
) {
    Dock::run(args!["--root", fixture(dir).join("pub"), "true"]).refused("(EACCES)");
}

/// P1.
#[rstest]
fn a_start_behind_a_directory_that_the_caller_may_not_search_is_refused(
    #[values("p", "p710", "p705")] dir: &str,
) {
    Dock::run(args!["-C", fixture(dir).join("pub"), "true"]).refused("(EACCES)");
}

/// P1.
#[rstest]
fn a_symlink_to_a_forbidden_directory_does_not_help(#[values("p", "p710", "p705")] dir: &str) {
    let own = scratch();
    symlink(fixture(dir), own.path().join("link")).unwrap();
    Dock::run(args!["-m", own.path().join("link/pub"), "/mnt", "true"]).refused("(EACCES)");
    Dock::run(args!["-m", own.path().join("link"), "/mnt", "ls", "/mnt/pub"]).output().refused_or(|ran| {
        assert!(!ran.status.success());
    });
}

#[test]
fn what_cannot_be_read_outside_cannot_be_read_inside() {
    for dir in FORBIDDEN {
        let path = fixture(dir).join("pub/canary");
        assert!(fs::read_to_string(&path).is_err(), "the fixture {dir} can be read outside");
        let ran = Dock::run(args!["cat", path]).output();
        assert!(!ran.status.success());
    }
}

/// P2.
#[rstest]
#[case::source(&["-m", "PATH", "/mnt"])]
#[case::root(&["--root", "PATH"])]
#[case::start(&["-C", "PATH"])]
#[case::mask(&["--mask", "PATH"])]
fn an_error_does_not_tell_whether_a_hidden_path_exists(
    #[case] options: &[&str],
    #[values("p", "p710", "p705")] dir: &str,
) {
    let answer = |name: &str| {
        let path = fixture(dir).join(name);
        let words =
            options.iter().map(|word| if *word == "PATH" { path.clone().into() } else { word.into() });
        let ran = Dock::run(words.chain(args!["true"])).output();
        (ran.status.code(), ran.stderr.replace(name, "NAME"))
    };
    assert_eq!(answer("pub"), answer("pun"));
}

/// P3.
#[rstest]
fn a_magic_link_is_no_source(
    #[values(
        "/proc/1/cwd",
        "/proc/1/root",
        "/proc/1/exe",
        "/proc/self/cwd",
        "/proc/self/root",
        "/proc/self/fd/0"
    )]
    link: &str,
    #[values("-m", "--root", "-C")] option: &str,
) {
    let target: &[&str] = if option == "-m" { &["/mnt"] } else { &[] };
    let words = args![option, link].into_iter().chain(target.iter().map(Into::into));
    Dock::run(words.chain(args!["true"])).refused("");
}

#[rstest]
fn a_directory_of_other_files_is_empty_inside(
    #[values("/home", "/root", "/run", "/tmp", "/var/tmp", "/mnt", "/media", "/srv", "/sys", "/boot")]
    dir: &str,
    #[values(0, 1)] depth: usize,
) {
    assert!(HIDDEN.contains(&dir));
    if !Path::new(dir).exists() {
        return;
    }
    assert_eq!(Dock::run(nested(depth, args!["ls", "-A", dir])).ok(), "");
}

#[test]
fn the_callers_own_files_in_tmp_stay_outside() {
    let marker = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let ran = Dock::run(args!["cat", marker.path()]).output();
    assert!(!ran.status.success());
}

/// M1.
#[rstest]
#[case::in_the_root(args!["cat", fixture("covered/secret")])]
#[case::in_a_map(args!["-m", fixture("covered"), "/mnt", "cat", "/mnt/secret"])]
#[case::above_a_map(args!["-m", fixture(""), "/mnt", "cat", "/mnt/covered/secret"])]
#[case::in_a_volume(args!["-v", fixture(""), "/mnt", "cat", "/mnt/covered/secret"])]
#[case::in_an_image(args!["--root", fixture("busybox"), "cat", "/mnt/secret"])]
fn what_a_mount_covers_stays_covered<const N: usize>(#[case] words: [std::ffi::OsString; N]) {
    let ran = Dock::run(words).output();
    assert!(!ran.status.success());
    assert!(ran.stderr.contains("No such file"), "{}", ran.stderr);
}

/// M1.
#[rstest]
#[case::umount("umount $COVERED; cat $COVERED/secret")]
#[case::move_away("mkdir /tmp/d; mount --move $COVERED /tmp/d; cat $COVERED/secret")]
#[case::flat_bind("mkdir /tmp/d; mount --bind $FIXTURES /tmp/d; cat /tmp/d/covered/secret")]
#[case::umount_home("umount /home /mnt /srv; ls -A /home /mnt /srv | grep -v : | grep .")]
fn privilege_in_a_user_namespace_reveals_nothing(#[case] attack: &str) {
    let run = Dock::run(args!["unshare", "-Urm"]);
    let run = run.env("COVERED", fixture("covered")).env("FIXTURES", fixture(""));
    let ran = run.sh(attack).output();
    assert!(!ran.stdout.contains(CANARY));
    assert!(!ran.status.success());
}

/// M10.
#[test]
fn the_hosts_root_is_gone() {
    let table = Dock::run(args!["--root", fixture("busybox"), "cat", "/proc/self/mountinfo"]).ok();
    let roots = table.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count();
    assert_eq!(roots, 1, "{table}");
    let listing = Dock::run(args!["--no-nest", "--root", fixture("busybox")])
        .sh("ls /; cd ../../..; ls; ls /proc/$$/root/..")
        .ok();
    assert!(!listing.contains("opt") && listing.contains("etc"), "{listing}");
}

#[test]
fn a_mask_hides_a_file_and_a_directory() {
    let dir = scratch();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/inner"), CANARY).unwrap();
    fs::write(dir.path().join("file"), CANARY).unwrap();
    let run = Dock::run(args!["--mask", dir.path().join("file"), "--mask", dir.path().join("sub")]);
    let ran =
        run.arg("sh").arg("-c").arg(format!("cd {}; cat file; ls -A sub", dir.path().display())).output();
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_mask_in_a_volume_holds_for_the_instance_only() {
    let dir = scratch();
    fs::write(dir.path().join("file"), CANARY).unwrap();
    let ran = Dock::run(args!["-v", dir.path(), "/mnt", "--mask", "/mnt/file", "cat", "/mnt/file"]).output();
    assert_eq!(ran.stdout, "");
    assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), CANARY);
}

#[test]
fn a_mask_of_nothing_is_refused_unless_it_may_be() {
    for nothing in ["/etc/no-such-file", "/etc/passwd/below", "/no/such/directory"] {
        Dock::run(args!["--mask", nothing, "true"]).refused("--mask-if-exists");
        Dock::run(args!["--mask-if-exists", nothing, "true"]).ok();
    }
    let ran = Dock::run(args!["--mask-if-exists", "/etc/passwd", "cat", "/etc/passwd"]).output();
    assert_eq!(ran.stdout, "");
}
