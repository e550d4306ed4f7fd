//! hidden-files: Files that the caller may not read stay unreadable, and the caller's own files stay outside.

use crate::support::{CANARY, Cmd, FORBIDDEN, HIDDEN, args, fixture, nested, on_a_host, scratch};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

/// P1: unsearchable parents.
#[rstest]
fn a_source_behind_a_directory_that_the_caller_may_not_search_is_refused(
    #[values("p", "p710", "p705")] dir: &str,
    #[values("-m", "-v")] option: &str,
    #[values("pub", "pub/canary")] path: &str,
) {
    Cmd::run(args![option, fixture(dir).join(path), "/mnt", "true"]).refused("(EACCES)");
}

/// P1: unsearchable parents.
#[rstest]
fn a_root_behind_a_directory_that_the_caller_may_not_search_is_refused(
    #[values("p", "p710", "p705")] dir: &str,
) {
    Cmd::run(args!["--root", fixture(dir).join("pub"), "true"]).refused("(EACCES)");
}

/// P1: unsearchable parents.
#[rstest]
fn a_start_behind_a_directory_that_the_caller_may_not_search_is_refused(
    #[values("p", "p710", "p705")] dir: &str,
) {
    Cmd::run(args!["-C", fixture(dir).join("pub"), "true"]).refused("(EACCES)");
}

/// P1: unsearchable parents.
#[rstest]
fn a_symlink_to_a_forbidden_directory_does_not_help(#[values("p", "p710", "p705")] dir: &str) {
    let own = scratch();
    symlink(fixture(dir), own.path().join("link")).unwrap();
    Cmd::run(args!["-m", own.path().join("link/pub"), "/mnt", "true"]).refused("(EACCES)");
    Cmd::run(args!["-m", own.path().join("link"), "/mnt", "ls", "/mnt/pub"]).output().refused_or(|ran| {
        assert!(!ran.status.success());
    });
}

/// It is there, and cannot be hidden.
#[test]
fn a_link_to_the_root_directory_is_not_passed_over() {
    let image = crate::volumes::user_image();
    symlink("/", image.path().join("all")).unwrap();
    for option in ["--mask", "--mask-if-exists"] {
        Cmd::run(args!["--root", image.path(), option, "/all", "true"]).refused("a link leads to /");
    }
}

#[test]
fn what_cannot_be_read_outside_cannot_be_read_inside() {
    for dir in FORBIDDEN {
        let path = fixture(dir).join("pub/canary");
        assert!(fs::read_to_string(&path).is_err(), "the fixture {dir} can be read outside");
        let ran = Cmd::run(args!["cat", path]).output();
        assert!(!ran.status.success());
    }
}

/// P2: existence oracle.
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
        let ran = Cmd::run(words.chain(args!["true"])).output();
        (ran.status.code(), ran.stderr.replace(name, "NAME"))
    };
    assert_eq!(answer("pub"), answer("pun"));
}

/// P3: magic links.
#[rstest]
fn a_magic_link_cannot_be_a_source(
    #[values(
        "/proc/1/cwd",
        "/proc/1/root",
        "/proc/1/exe",
        "/proc/self/cwd",
        "/proc/self/root",
        "/proc/thread-self/fd/0"
    )]
    link: &str,
    #[values("-m", "--root", "-C")] option: &str,
) {
    let target: &[&str] = if option == "-m" { &["/mnt"] } else { &[] };
    let words = args![option, link].into_iter().chain(target.iter().map(Into::into));
    // The kernel refuses the links of another process to the caller. selfdock itself follows no such link.
    let why = if link.contains("self") { "(ELOOP)" } else { "(EACCES)" };
    Cmd::run(words.chain(args!["true"])).refused(why);
}

#[rstest]
fn a_directory_of_other_files_is_empty_inside(
    #[values("/home", "/root", "/run", "/tmp", "/var/tmp", "/mnt", "/media", "/srv", "/boot")] dir: &str,
    #[values(0, 1)] depth: usize,
) {
    assert!(HIDDEN.contains(&dir));
    if !Path::new(dir).exists() {
        return;
    }
    assert_eq!(Cmd::run(nested(depth, args!["ls", "-A", dir])).ok(), "");
}

/// K7: masked /proc. A container makes a path read-only and masks it, too.
#[rstest]
#[case::a_directory(
    "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; \
                     mount -t tmpfs -o ro none /proc/sys",
    "ls /proc/sys"
)]
#[case::a_file(
    "mount --bind /proc/meminfo /proc/meminfo; mount -o remount,bind,ro /proc/meminfo; \
                mount --bind /dev/null /proc/meminfo",
    "cat /proc/meminfo"
)]
fn what_is_read_only_and_masked_stays_masked(
    #[case] masks: &str,
    #[case] look: &str,
    #[values(1, 2)] depth: usize,
) {
    let levels = "$SD run ".repeat(depth);
    assert_eq!(on_a_host("", &format!("{masks}; me {levels} {look}")).ok(), "");
}

/// All tests search their output for the canary, so the canary must be in these files.
#[test]
fn the_canary_is_in_the_forbidden_files() {
    let words = args![fixture("setuid/probe"), "as-root", "grep", "-rlFs", CANARY, fixture("")];
    let found = Cmd::program(words).within(Duration::from_secs(300)).output().stdout;
    for dir in FORBIDDEN {
        assert!(found.lines().any(|file| file.contains(&format!("/{dir}/"))), "{dir}: {found}");
    }
    let seen = Cmd::run(args!["grep", "-rlFs", CANARY, fixture("")]);
    assert_eq!(seen.within(Duration::from_secs(300)).output().stdout, "");
}

#[test]
fn the_callers_own_files_in_tmp_stay_outside() {
    let marker = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let ran = Cmd::run(args!["cat", marker.path()]).output();
    assert!(!ran.status.success());
}

/// M1: what a mount covers.
#[rstest]
#[case::in_the_root(args!["cat", fixture("covered/secret")])]
#[case::in_a_map(args!["-m", fixture("covered"), "/mnt", "cat", "/mnt/secret"])]
#[case::above_a_map(args!["-m", fixture(""), "/mnt", "cat", "/mnt/covered/secret"])]
#[case::in_a_volume(args!["-v", fixture(""), "/mnt", "cat", "/mnt/covered/secret"])]
#[case::in_an_image(args!["--root", fixture("busybox"), "cat", "/mnt/secret"])]
fn what_a_mount_covers_stays_covered<const N: usize>(#[case] words: [std::ffi::OsString; N]) {
    let ran = Cmd::run(words).output();
    assert!(!ran.status.success());
    assert!(ran.stderr.contains("No such file"), "{}", ran.stderr);
}

/// M1: what a mount covers. A copy of a tree leaves out unbindable mounts, and before Linux 6.18 the kernel does not
/// report that.
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

/// M1: what a mount covers.
#[rstest]
#[case::umount("umount $COVERED; cat $COVERED/secret")]
#[case::move_away("mkdir /tmp/d; mount --move $COVERED /tmp/d; cat $COVERED/secret")]
#[case::flat_bind("mkdir /tmp/d; mount --bind $FIXTURES /tmp/d; cat /tmp/d/covered/secret")]
#[case::umount_home("umount /home /mnt /srv; ls -A /home /mnt /srv | grep -v : | grep .")]
fn privilege_in_a_user_namespace_reveals_nothing(#[case] attack: &str) {
    let run = Cmd::run(args!["unshare", "-Urm"]);
    let run = run.env("COVERED", fixture("covered")).env("FIXTURES", fixture(""));
    let ran = run.sh(attack).output();
    assert!(!ran.stdout.contains(CANARY));
    assert!(!ran.status.success());
}

/// M10: chroot only.
#[test]
fn the_hosts_root_is_gone() {
    let table = Cmd::run(args!["--root", fixture("busybox"), "cat", "/proc/self/mountinfo"]).ok();
    let roots = table.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count();
    assert_eq!(roots, 1, "{table}");
    let listing = Cmd::run(args!["--no-nest", "--root", fixture("busybox")])
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
    let run = Cmd::run(args!["--mask", dir.path().join("file"), "--mask", dir.path().join("sub")]);
    let ran =
        run.arg("sh").arg("-c").arg(format!("cd {}; cat file; ls -A sub", dir.path().display())).output();
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_mask_in_a_volume_holds_for_the_instance_only() {
    let dir = scratch();
    fs::write(dir.path().join("file"), CANARY).unwrap();
    let ran = Cmd::run(args!["-v", dir.path(), "/mnt", "--mask", "/mnt/file", "cat", "/mnt/file"]).output();
    assert_eq!(ran.stdout, "");
    assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), CANARY);
}

#[test]
fn masking_a_missing_path_is_refused_unless_allowed() {
    for nothing in ["/etc/no-such-file", "/etc/passwd/below", "/no/such/directory"] {
        let words = format!("mask '{nothing}': no such file or directory (ENOENT); --mask-if-exists accepts");
        Cmd::run(args!["--mask", nothing, "true"]).refused(&words);
        Cmd::run(args!["--mask-if-exists", nothing, "true"]).ok();
    }
    let ran = Cmd::run(args!["--mask-if-exists", "/etc/passwd", "cat", "/etc/passwd"]).output();
    assert_eq!(ran.stdout, "");
}

/// What a container or a service manager does to a /proc, how to test it, and the result.
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

/// K7: masked /proc.
#[rstest]
fn what_the_host_hides_in_its_proc_is_hidden(
    #[values(0, 1, 2, 3, 4, 5)] case: usize,
    #[values(
        "$SD run",
        "$SD run $SD run",
        "$SD --mask /usr/games run $SD run",
        "$SD --root $IMAGE run",
        "$SD -m /usr/bin /newly/made run"
    )]
    run: &str,
) {
    let (change, question, answer) = PROC[case];
    // The image's own tools, and the host's if it lacks them.
    let image = "$SD -m /usr /usr -m /lib /lib -m /lib64 /lib64 -m /etc/hostname /etc/hostname";
    let run = run.replace("$SD --root", &format!("{image} --root"));
    let ask = |change: &str| {
        let script = format!("me sh -c \"$ASK\"; me {run} sh -c \"$ASK\"");
        on_a_host(change, &script).env("ASK", question).env("IMAGE", fixture("busybox")).output().stdout
    };
    // The result is the same outside and inside, and differs on an ordinary host.
    assert_eq!(ask(change), format!("{answer}\n{answer}\n"));
    assert!(ask("").lines().all(|line| line != answer), "{}", ask(""));
}

/// K7: masked /proc. A mounted file of a process would be of another process inside.
#[test]
fn a_process_file_mounted_over_proc_is_refused() {
    let ran = on_a_host("mount --bind proc/self/status proc/version", "me $SD run true").output();
    assert!(ran.status.code() == Some(125) && ran.stderr.contains("of a process"), "{}", ran.stderr);
}

/// K1: fake /proc.
#[rstest]
fn without_a_procfs_outside_there_is_none_inside(
    #[values("", "mount -t tmpfs fake /proc; mkdir /proc/self; ln -s $SD /proc/self/exe;")] fake: &str,
    #[values("$SD run true", "$SD --unprivileged run true")] run: &str,
) {
    assert_eq!(on_a_host("", &format!("umount -l /proc; {fake} me {run}")).output().status.code(), Some(125));
}

/// A program that exchanges two names.
const EXCHANGE: &str = include_str!("../programs/exchange.py");

/// A directory of this test's user below /srv, with an image in `img`; and a program `exchange A B &` that exchanges
/// two names for ever.
const RACE: &str = include_str!("../programs/exchange_as_me.sh");

/// K1: fake /proc. selfdock covers parts of an instance's /proc without using its path, which the owner of an image
/// can exchange.
#[rstest]
#[case::what_is_hidden("me", "mount --bind /dev/null proc/cmdline", "grep -q . $p/cmdline && echo SEEN")]
#[case::what_root_must_not_change("", "", "(echo x > $p/sys/kernel/domainname) && echo SEEN")]
fn an_image_whose_proc_is_exchanged_meanwhile_uncovers_nothing(
    #[case] who: &str,
    #[case] hides: &str,
    #[case] look: &str,
) {
    let script = format!(
        "exchange /srv/own/img/proc /srv/own/img/p2 & sleep 0.6
         for i in $(seq 40); do
             {who} $SD run --root /srv/own/img -m /usr /usr sh -c 'for p in /proc /p2; do {look}; done; echo ran'
         done; kill $!"
    );
    let ran = on_a_host(&format!("{RACE}\n{hides}"), &script).env("EXCHANGE", EXCHANGE).output();
    assert!(ran.stdout.contains("ran") && !ran.stdout.contains("SEEN"), "{}", ran.stdout);
}

/// K1: fake /proc. The owner of an image can rename its /proc while an instance has a procfs there.
#[test]
fn a_part_of_a_procfs_is_not_taken_for_the_callers_own() {
    let script = "cd /srv/own; mkfifo -m 666 go ready
        me $SD run --root img -m /usr /usr -m $PREFIX $PREFIX -m /proc/fs /y -v /srv/own /tmp sh -c \
            'echo > /tmp/ready; read x < /tmp/go; $SELFDOCK run cat /proc/cmdline; echo $?' &
        read x < ready; mv img/proc img/p3; ln -s y img/proc; echo > go; wait";
    let changes = format!("{RACE}\nmount --bind /dev/null proc/cmdline; rmdir srv/own/img/p2");
    let ran = on_a_host(&changes, script).env("SELFDOCK", crate::support::selfdock()).output();
    assert_eq!(ran.stdout, "125\n", "{}", ran.stderr);
}

/// P5: destination escape. Links in a destination are followed once.
#[rstest]
#[case::into_the_instances_own("/dev/null", "-v /srv/own/f /mnt/link", "test -c /dev/null")]
#[case::over_another_mount("/etc", "-m /usr/share /etc -m /srv/own /mnt/link", "test -d /etc/doc")]
fn a_link_that_is_exchanged_meanwhile_leads_nowhere_else(
    #[case] leads_to: &str,
    #[case] mounts: &str,
    #[case] holds: &str,
) {
    let changes = format!(
        "{RACE}
         (cd srv/own; touch f; mkdir vol; ln -s /srv vol/link; ln -s {leads_to} vol/other; chown -hR $ME vol f)"
    );
    let script = format!(
        "test -c /dev/null && test -f /srv/own/f
         test {leads_to} = /dev/null && ln -sfn /etc/hostname /srv/own/vol/link
         exchange /srv/own/vol/link /srv/own/vol/other & sleep 0.6
         for i in $(seq 40); do
             me $SD run -v /srv/own/vol /mnt {mounts} sh -c '{holds} && echo held || echo LOST'
         done; kill $!"
    );
    let ran = on_a_host(&changes, &script).env("EXCHANGE", EXCHANGE).output();
    assert!(ran.stdout.contains("held") && !ran.stdout.contains("LOST"), "{}\n{}", ran.stdout, ran.stderr);
}

/// K1: fake /proc. The owner of an image can rename its /proc, so the paths of mounts can change at any time.
#[test]
fn a_proc_that_is_renamed_meanwhile_uncovers_nothing() {
    let script = include_str!("../programs/nest_while_proc_is_renamed.sh");
    let masks = "for name in version keys cpuinfo meminfo vmstat zoneinfo; do mount --bind /dev/null proc/$name; done";
    let inner = "(cd srv/own; mkdir -p inner; cp -a img/. inner; rmdir img/p2)";
    let changes = format!("{RACE}\n{masks}\n{inner}\nmkdir -p srv/own/img$PREFIX srv/own/inner$PREFIX");
    let rename = include_str!("../programs/rename_proc.py");
    let on_host = on_a_host(&changes, script).env("RENAME", rename);
    let ran = on_host.env("SELFDOCK", crate::support::selfdock()).output();
    assert!(ran.stdout.lines().all(|line| line == "ran"), "{}", ran.stdout);
    assert!(ran.stdout.lines().count() > 5, "{}", ran.stderr);
}
