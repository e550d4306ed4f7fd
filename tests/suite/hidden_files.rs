use crate::support::{CANARY, Dock, FORBIDDEN, HIDDEN, args, fixture, nested, on_a_host, scratch};
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

/// M1. A copy of a tree has no unbindable mounts, and before Linux 6.18 the kernel does not say so.
#[rstest]
fn what_an_unbindable_mount_covers_stays_covered(
    #[values(
        "-m /srv /mnt run cat /mnt/u/f",
        "-v /srv/u /mnt run cat /mnt/f",
        "--root / -m /srv /mnt run cat /mnt/u/f"
    )]
    words: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let changes = format!(
        "mkdir -p srv/u; echo {CANARY} > srv/u/f; mount -t tmpfs t srv/u; touch srv/u/there
         mount --make-unbindable srv/u"
    );
    let script = format!("me $SD {mode} {}; me $SD {mode} {words}", words.replace("/f", "/there"));
    let ran = on_a_host(&changes, &script).output();
    assert!(ran.stderr.matches("No such file").count() == 1 && ran.stdout.is_empty(), "{}", ran.stderr);
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

/// What a container or a service manager does to a /proc, how that is seen, and what is seen of it then.
const PROC: [(&str, &str, &str); 6] = [
    ("mount --bind /dev/null proc/version", "wc -c < /proc/version", "0"),
    ("mount -t tmpfs -o ro,size=4k none proc/sys/kernel", "ls -A /proc/sys/kernel | wc -l", "0"),
    ("mount --bind etc/hostname proc/uptime", "cmp /proc/uptime /etc/hostname && echo same", "same"),
    ("mount -t proc -o subset=pid proc proc", "ls /proc | grep -vc '^[0-9]'", "2"),
    (
        "mount -t proc -o hidepid=2,gid=77 proc proc",
        "grep -c ' /proc .*gid=77,hidepid=invisible' /proc/mounts",
        "1",
    ),
    (
        "mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys",
        "grep ' /proc/sys ' /proc/mounts | grep -c ' ro,'",
        "1",
    ),
];

/// K7.
#[rstest]
fn what_the_host_hides_in_its_proc_is_hidden(
    #[values(0, 1, 2, 3, 4, 5)] case: usize,
    #[values("$SD run", "$SD run $SD run", "$SD --root $IMAGE run", "$SD -m /usr/bin /newly/made run")]
    run: &str,
) {
    let (change, question, answer) = PROC[case];
    // Its own tools, and the host's for what it has not.
    let image = "$SD -m /usr /usr -m /lib /lib -m /lib64 /lib64 -m /etc/hostname /etc/hostname";
    let run = run.replace("$SD --root", &format!("{image} --root"));
    let ask = |change: &str| {
        let script = format!("me sh -c \"$ASK\"; me {run} sh -c \"$ASK\"");
        on_a_host(change, &script).env("ASK", question).env("IMAGE", fixture("busybox")).output().stdout
    };
    // Outside, and inside; and not so on an ordinary host.
    assert_eq!(ask(change), format!("{answer}\n{answer}\n"));
    assert!(ask("").lines().all(|line| line != answer), "{}", ask(""));
}

/// K7. What is mounted there of a process would be of another one inside.
#[test]
fn something_of_a_process_over_proc_is_refused() {
    let ran = on_a_host("mount --bind proc/self/status proc/version", "me $SD run true").output();
    assert!(ran.status.code() == Some(125) && ran.stderr.contains("of a process"), "{}", ran.stderr);
}

/// K1.
#[rstest]
fn without_a_procfs_outside_there_is_none_inside(
    #[values("$SD run true", "$SD --unprivileged run true")] run: &str,
) {
    assert_eq!(on_a_host("", &format!("umount -l /proc; me {run}")).output().status.code(), Some(125));
}
