//! restricted-callers: A restriction of the caller prevents a run only if there is no other way, and the message
//! names it.

use crate::support::{Cmd, args, fixture, nested, on_a_host, scratch, selfdock};
use rstest::rstest;
use std::ffi::OsString;

/// The program that installs a filter of system calls.
const FILTERED: &str = include_str!("../programs/filtered.py");

/// Runs `LAUNCHER` as root. `UID GID` in it stand for this user.
fn as_root(launcher: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    args![fixture("setuid/probe"), "as-root"].into_iter().chain(launcher).collect()
}

/// Runs under a filter with these answers, without `no_new_privs`, like the filter of a container.
fn filtered(rules: &str, selfdock: impl IntoIterator<Item = OsString>) -> Cmd {
    let (uid, gid) = (nix::unistd::getuid().to_string(), nix::unistd::getgid().to_string());
    Cmd::under(as_root(args!["python3", "-c", FILTERED, rules, uid, gid]), selfdock)
}

/// `setpriv OPTIONS selfdock ARGS`, as this user.
fn bounded(set: &str, selfdock: impl IntoIterator<Item = OsString>) -> Cmd {
    let (uid, gid) = (nix::unistd::getuid().to_string(), nix::unistd::getgid().to_string());
    let launcher = args!["setpriv", "--bounding-set", set, "--reuid", uid, "--regid", gid, "--clear-groups"];
    Cmd::under(as_root(launcher), selfdock)
}

/// A caller that has locked its securebits is not refused, and its command has no capability. capabilities(7)
#[rstest]
#[case::a_user("61234")]
#[case::root("0")]
fn no_securebits_refuse_a_run(#[case] uid: &str, #[values("", "--unprivileged")] mode: &str) {
    const SCRIPT: &str = include_str!("../programs/with_securebits.py");
    let words = format!("{mode} run grep -E ^Cap(Prm|Eff|Amb): /proc/self/status");
    let words = words.split(' ').filter(|word| !word.is_empty()).map(OsString::from);
    let uid = if uid == "0" { uid.to_owned() } else { nix::unistd::getuid().to_string() };
    let launcher = as_root(args!["python3", "-c", SCRIPT, selfdock(), uid]);
    let told = Cmd::program(launcher.into_iter().chain(words)).ok();
    let none = "0".repeat(16);
    let all = (0..16).chain(32..48).filter(|bits| uid != "0" || mode.is_empty() || bits & 1 == 0);
    let expected: Vec<String> =
        all.map(|bits| format!("{bits}  CapPrm: {none} CapEff: {none} CapAmb: {none}")).collect();
    assert_eq!(told, expected.join("\n"));
}

/// C1: capabilities, securebits. The kernel clears securebits in a new user namespace. So a command has none in
/// unprivileged mode. If a user has locked KEEP_CAPS (32) without NO_SETUID_FIXUP (4), selfdock cannot keep its
/// privilege and uses that mode as well. Root inside has the bits that end its rights. user_namespaces(7)
#[rstest]
#[case::a_user("61234")]
#[case::root("0")]
fn a_command_has_the_callers_securebits(#[case] uid: &str, #[values("", "--unprivileged")] mode: &str) {
    const SCRIPT: &str = include_str!("../programs/with_securebits.py");
    const ASK: &str = "import ctypes; print(ctypes.CDLL(None).prctl(27))";
    let is_root = uid == "0";
    let uid = if is_root { uid.to_owned() } else { nix::unistd::getuid().to_string() };
    let words = args![mode, "run", "python3", "-c", ASK].into_iter().filter(|word| !word.is_empty());
    let launcher = as_root(args!["python3", "-c", SCRIPT, selfdock(), uid]);
    let told = Cmd::program(launcher.into_iter().chain(words)).ok();
    let all = (0..16).chain(32..48).filter(|bits| !is_root || mode.is_empty() || bits & 1 == 0);
    let inside = |bits: u32| match (is_root, mode.is_empty()) {
        (true, true) if bits & 3 != 2 => bits | 3,
        (true, _) => 3,
        (false, true) if bits & 36 != 32 => bits,
        (false, _) => 0,
    };
    let expected: Vec<String> = all.map(|bits| format!("{bits}  {}", inside(bits))).collect();
    assert_eq!(told, expected.join("\n"));
}

/// The calls that a filter can refuse without harm. keyctl(2), pivot_root(2), clone3(2), landlock_create_ruleset(2)
#[rstest]
#[case::keyrings("250,248,249")]
#[case::pivot_root("155")]
#[case::clone3("435")]
#[case::landlock("444,446")]
fn a_filter_that_refuses_optional_calls_does_not_prevent_a_run(
    #[case] calls: &str,
    #[values("1", "38")] errno: &str,
    #[values(0, 1, 2)] way: usize,
) {
    let ways = [
        args!["run", "echo", "here"].to_vec(),
        args!["--root", fixture("busybox"), "-t", "-", "/new", "run", "/bin/busybox", "echo", "here"]
            .to_vec(),
        nested(2, args!["echo", "here"]).into_iter().skip(1).collect(),
    ];
    assert_eq!(filtered(&format!("{errno}={calls}"), ways[way].clone()).ok(), "here");
}

/// mount(2), mount_setattr(2), move_mount(2), unshare(2), chroot(2), openat2(2), setns(2)
#[rstest]
fn a_message_says_that_a_filter_may_be_the_reason(
    #[values("165", "442,467", "429", "272", "161", "437")] calls: &str,
    #[values("1", "38")] errno: &str,
) {
    let run =
        filtered(&format!("{errno}={calls}"), args!["--root", fixture("busybox"), "run", "/bin/busybox"]);
    let words = if calls == "272" && errno == "1" { "selfdock doctor" } else { "filter of system calls" };
    run.refused(words);
}

#[rstest]
fn a_filter_that_kills_is_reported(#[values("444", "161", "165", "442")] calls: &str) {
    for _ in 0..5 {
        filtered(&format!("kill={calls}"), args!["run", "true"]).refused("a filter of system calls ended it");
    }
}

/// Capabilities that not every request needs, or that unprivileged mode does not need.
#[rstest]
fn a_smaller_bounding_set_does_not_prevent_a_run(
    #[values("-net_admin", "-checkpoint_restore", "-sys_chroot", "-sys_admin", "-setpcap")] set: &str,
    #[values(&[], &["--net", "none"])] options: &[&str],
) {
    let options: Vec<OsString> = options.iter().map(OsString::from).collect();
    let run = [options, args!["run", "echo", "here"].to_vec()].concat();
    assert_eq!(bounded(set, run).ok(), "here");
}

/// Some restrictions under which an instance works, and some under which none does.
#[rstest]
#[case::mount("1=165")]
#[case::no_mount_at_all("38=165,429,442")]
#[case::unshare("1=272")]
#[case::clone3("1=435")]
#[case::pivot_root("1=155")]
#[case::keyrings("1=250")]
#[case::landlock_kills("kill=444")]
#[case::chroot("1=161")]
#[case::openat2("38=437")]
fn the_doctor_says_ok_exactly_where_run_works(#[case] rules: &str) {
    let run = filtered(rules, args!["run", "true"]).output();
    let own_root = filtered(rules, args!["-t", "-", "/new", "run", "true"]).output();
    let doctor = filtered(rules, args!["doctor"]).output();
    let works = run.status.success() && own_root.status.success();
    assert_eq!(doctor.status.success(), works, "{}", doctor.stdout);
    assert!(doctor.stdout.contains("a filter of system calls is in force here"), "{}", doctor.stdout);
    let fails = doctor.stdout.lines().filter(|line| line.starts_with("FAIL")).count();
    assert_eq!(fails == 0, works, "{}", doctor.stdout);
    assert!(!doctor.stdout.contains("says why"), "{}", doctor.stdout);
}

#[test]
fn the_doctor_names_the_capabilities_that_are_missing() {
    let seen = bounded("-sys_admin,-sys_chroot", args!["doctor"]).ok();
    assert!(seen.contains("the bounding set lacks CAP_SYS_CHROOT, CAP_SYS_ADMIN;"), "{seen}");
}

/// /proc is masked as in containers.
#[test]
fn the_doctor_says_that_a_masked_proc_ends_unprivileged_mode() {
    let script = "mount -t tmpfs none /proc/acpi || mount -t tmpfs none /proc/fs; \
                  setpriv --bounding-set -sys_admin --reuid=$ME --regid=$MY_GROUP --clear-groups $SD doctor";
    let run = on_a_host("", script).output();
    assert!(!run.status.success(), "{}", run.stdout);
    assert!(run.stdout.contains("systempaths=unconfined in Docker, unmask=ALL in podman"), "{}", run.stdout);
}

/// Root needs `SETFCAP` to map itself. The doctor says so if that is missing, and only then.
#[rstest]
#[case::has_it("-sys_admin", false)]
#[case::lacks_it("-sys_admin,-setfcap", true)]
fn the_doctor_says_what_root_needs_for_unprivileged_mode(#[case] set: &str, #[case] is_said: bool) {
    let script = format!(
        "mount -t tmpfs none /proc/acpi || mount -t tmpfs none /proc/fs; setpriv --bounding-set {set} $SD doctor"
    );
    let told = on_a_host("", &script).output().stdout;
    assert!(told.contains("systempaths=unconfined"), "{told}");
    assert_eq!(told.contains("; uid 0 needs CAP_SETFCAP to make a user namespace"), is_said, "{told}");
}

#[test]
fn root_that_cannot_map_itself_is_told_why() {
    let launcher = as_root(args!["setpriv", "--bounding-set", "-setfcap"]);
    Cmd::under(launcher, args!["--unprivileged", "run", "true"])
        .refused("uid 0 cannot be mapped without CAP_SETFCAP; other users can");
}

#[test]
fn root_without_new_privileges_can_do_all() {
    let root = |words: &[&str]| {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Cmd::under(as_root(args!["setpriv", "--no-new-privs"]), words)
    };
    assert_eq!(root(&["run", "echo", "here"]).ok(), "here");
    assert_eq!(root(&["each", "echo", "{}"]).stdin("one\ntwo\n").ok(), "one\ntwo");
    assert!(root(&["doctor"]).ok().contains("run works"), "doctor says otherwise");
}

/// Otherwise each level would inherit all read-only mounts of the levels above.
#[test]
fn root_nests_as_deep_as_anybody() {
    let words = nested(32, args!["echo", "here"]);
    assert_eq!(Cmd::program(as_root(words)).ok(), "here");
}

/// A tool that copies or unpacks a root filesystem can leave out device nodes, or make plain files instead.
#[rstest]
fn a_prepared_root_without_devices_is_not_used(
    #[values(
        "rm $D/null $D/urandom",
        "rm $D/null $D/urandom; : > $D/null; : > $D/urandom; chmod 666 $D/null $D/urandom"
    )]
    change: &str,
) {
    let script =
        "me $SD run sh -c 'head -c 4 /dev/urandom | wc -c; echo x > /dev/null; head -c1 /dev/null | wc -c'";
    let change = format!("D=.$PREFIX/lib/selfdock/root/dev; {change}");
    assert_eq!(on_a_host(&change, script).ok(), "4\n0");
}

/// selfdock's own file is optional: the image has no place for it.
#[rstest]
fn an_image_with_a_file_on_selfdocks_own_path_is_run(#[values("run", "build")] verb: &str) {
    let image = scratch();
    let box_path = image.path().join("busybox");
    crate::support::copy_program(fixture("busybox/bin/busybox"), &box_path);
    let top = selfdock().components().nth(1).expect("a path").as_os_str().to_owned();
    std::fs::write(image.path().join(top), "").expect("write a file");
    for dir in ["tmp", "proc", "dev", "etc"] {
        std::fs::create_dir(image.path().join(dir)).expect("make a directory");
    }
    let words = args!["--root", image.path(), verb, "/busybox", "echo", "here"];
    assert_eq!(Cmd::new(words).ok(), "here");
}
