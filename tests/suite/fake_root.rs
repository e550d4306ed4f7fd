//! fake-root: By subordinate ids a command is root for itself, and for nobody else.

use crate::proxy::Echo;
use crate::support::machine::{COUNT, FIRST, Machine};
use crate::support::{Cmd, FILESYSTEMS, args, fixture, on_a_host, scratch, selfdock};
use crate::whole_instance::field;
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;

#[rstest]
#[case::set_uid(args![])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::beside_another_process(args!["--output-limit", "1M"])]
#[case::another_image(args!["--root", fixture("busybox")])]
fn the_command_is_root_for_itself<const N: usize>(#[case] options: [OsString; N]) {
    let machine = Machine::new();
    let script = "id -u; id -g; touch /tmp/x; chown 5:7 /tmp/x; stat -c '%u %g' /tmp/x; \
                  grep -c CapEff.*1ffffffffff /proc/self/status; \
                  cat /proc/self/uid_map | while read a b c; do echo $a $b $c; done";
    let seen = machine.cmd(options.into_iter().chain(args!["--fake-root", "run", "sh", "-c", script])).ok();
    assert_eq!(seen, format!("0\n0\n5 7\n1\n0 0 1\n1 1 {COUNT}"));
}

/// /proc then does not show the command to the process that maps its ids. proc(5), `hidepid`
#[rstest]
#[case("mount -t proc -o hidepid=1 proc /proc")]
#[case("mount -t proc -o hidepid=2 proc /proc")]
#[case("mount -t proc -o hidepid=ptraceable proc /proc")]
fn a_proc_that_hides_processes_does_not_matter(
    #[case] change: &'static str,
    #[values(&[][..], &["--unprivileged"], &["--output-limit", "1M"])] options: &[&str],
) {
    let machine = Machine { change, ..Machine::new() };
    let words = options.iter().map(Into::into).chain(args!["--fake-root", "run", "id", "-u"]);
    assert_eq!(machine.cmd(words).ok(), "0");
    let told = machine.cmd(args!["doctor"]).output();
    let line = told.stdout.lines().find(|line| line.contains("--fake-root")).unwrap_or_default();
    assert!(line.starts_with("ok "), "{}", told.stdout);
}

/// The directories of root's programs are added, to the usual PATH as well, unless the caller has chosen a PATH.
#[rstest]
#[case::the_usual(args!["-u", "PATH"], args![], "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")]
#[case::empty(args!["PATH="], args![], "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin")]
#[case::taken_away(args!["PATH=/bin"], args!["-E", "PATH"], "none")]
#[case::chosen(args!["PATH=/bin"], args!["-e", "PATH", "/usr/bin:/bin"], "/usr/bin:/bin")]
#[case::another_variable(args!["PATH=/bin"], args!["-e", "PATHS", "x"], "/bin:/usr/local/sbin:/usr/sbin:/sbin")]
fn it_finds_programs_of_root<const A: usize, const B: usize>(
    #[case] outside: [OsString; A],
    #[case] options: [OsString; B],
    #[case] path: &str,
) {
    // A shell has its own PATH where there is none.
    const SCRIPT: &str = "/usr/bin/env | /bin/grep -q ^PATH= && echo $PATH || echo none";
    let machine = Machine::new();
    let words = machine.launcher().into_iter().chain(args!["/usr/bin/env"]).chain(outside);
    let words = words.chain(args![selfdock(), "--fake-root", "run"]).chain(options);
    assert_eq!(Cmd::program(words.chain(args!["/bin/bash", "-c", SCRIPT])).ok(), path);
}

#[test]
fn its_files_are_the_callers_and_those_of_subordinate_ids() {
    let (machine, tree) = (Machine::new(), scratch());
    let script = "touch own; touch other; chown 5:7 other; chmod 666 other";
    let run = |script| {
        machine.cmd(args!["--fake-root", "run", "-v", tree.path(), "/mnt/v", "-C", "/mnt/v"]).sh(script).ok()
    };
    run(script);
    let ids = |name: &str| fs::metadata(tree.path().join(name)).map(|meta| (meta.uid(), meta.gid())).unwrap();
    assert_eq!(ids("own"), (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()));
    // Id 1 is the first.
    assert_eq!(ids("other"), (FIRST + 4, FIRST + 6));
    run("rm other");
}

/// Root of the host is nobody there: neither its files nor the instance's mounts are in reach.
#[test]
fn it_has_no_right_that_the_caller_lacks() {
    let machine = Machine::new();
    let script = "cat /etc/shadow; echo x >> /etc/passwd; touch /usr/x; mount -t tmpfs x /mnt; mknod /tmp/d c 1 3; \
                  mount -o remount,rw /; chroot /usr/lib /nosuch; hostname x; umount /proc";
    let ran = machine.cmd(args!["--fake-root", "run", "sh", "-c", script]).output();
    assert_eq!(ran.stdout, "", "{}", ran.stderr);
    for line in ["/etc/shadow", "/etc/passwd", "/usr/x", "/mnt", "/tmp/d", "hostname", "/proc"] {
        assert!(ran.stderr.contains(line), "{line} in {}", ran.stderr);
    }
}

#[test]
fn a_status_and_a_signal_are_the_commands() {
    let machine = Machine::new();
    for (script, status) in [("exit 3", 3), ("nosuch", 127), ("/etc/passwd", 126)] {
        machine.cmd(args!["--fake-root", "run", "sh", "-c", script]).output().exits(status);
    }
    machine.cmd(args!["--fake-root", "run", "nosuch"]).output().exits(127);
    machine.cmd(args!["--fake-root", "run", "sh", "-c", "kill -9 $$"]).output().dies_by(9);
}

#[test]
fn a_kept_descriptor_is_the_commands() {
    let machine = Machine::new();
    let script = r#"exec 3</etc/hostname 9</etc/passwd
        exec "$0" --fake-root --keep-fd 9 run sh -c 'head -c 4 <&9; cat <&3'"#;
    let words = machine.launcher().into_iter().chain(args!["bash", "-c", script, selfdock()]);
    let ran = Cmd::program(words).output();
    assert_eq!(ran.stdout, "root", "{}", ran.stderr);
    assert!(ran.stderr.contains("3: Bad file descriptor"), "{}", ran.stderr);
}

/// The oracle is the same run without `--fake-root`, where no other program is started first in place of the command.
#[rstest]
#[case::missing("nosuch")]
#[case::a_missing_path("/no/such")]
#[case::no_program("/etc/passwd")]
#[case::well("true")]
#[case::failed("false")]
fn the_report_tells_whether_the_command_was_started(#[case] command: &str) {
    let machine = Machine::new();
    let (dir, echo) = (scratch(), Echo::new());
    let run = |options: &[OsString]| {
        let file = dir.path().join("report");
        let words = options.iter().cloned().chain(args!["--report", &file, "run", command]);
        let ran = machine.cmd(words).output();
        let report = fs::read_to_string(&file).unwrap();
        let told = ["started", "exit", "signal", "ended_by", "status"].map(|name| field(&report, name));
        (ran.status.code(), told, field(&report, "error") == "null", ran.stderr.lines().count())
    };
    let plain = run(&[]);
    let proxy = args!["--net", "none", "--proxy", echo.socket];
    let root = args!["--fake-root"];
    assert_eq!(run(&root), plain);
    assert_eq!(run(&proxy), plain);
    assert_eq!(run(&[&proxy[..], &root].concat()), plain);
    // What selfdock says is no output of the command.
    assert_eq!(run(&[&args!["--output-limit", "0"][..], &proxy, &root].concat()), plain);
}

/// As package managers do: files of other ids, in a copy of a tree that is somebody else's.
#[test]
fn in_a_copy_of_an_image_it_owns_all_directories() {
    let machine = Machine::new();
    for image in [args!["-o", "/", "/"], args!["-o", fixture("debian"), "/"]] {
        let script = "mkdir /usr/tool && touch /usr/tool/x && chown 33:33 /usr/tool/x; \
                      stat -c '%u %g' /usr/tool/x; \
                      stat -c %u /bin/ /etc/";
        let words = image.into_iter().chain(args!["--fake-root", "run", "sh", "-c", script]);
        assert_eq!(machine.cmd(words).ok(), "33 33\n0\n0");
    }
}

#[test]
fn nothing_of_it_is_left() {
    let machine = Machine::new();
    let seen =
        machine.cmd(args!["--fake-root", "run", "sh", "-c", "ls /proc/self/fd; ls -d /proc/[0-9]*"]).ok();
    // 0, 1, 2 and that of ls; PID 1, and ls in the place of the shell.
    assert_eq!(seen.lines().count(), 4 + 2, "{seen}");
}

/// A mapper only says that it has mapped the ids.
#[test]
fn ids_that_were_not_mapped_are_noticed() {
    let change = "for name in newuidmap newgidmap; do mount --bind /bin/true /usr/bin/$name; done";
    let machine = Machine { change, ..Machine::new() };
    machine
        .cmd(args!["--fake-root", "run", "true"])
        .refused("become the caller: the ids are not the caller's, or were mapped to others");
}

#[test]
fn what_is_missing_is_said() {
    let machine = Machine::new();
    let words = args!["--fake-root", "run", "true"];
    fs::write(machine.dir.path().join("subuid"), "other:1:1\n").unwrap();
    machine
        .cmd(words.clone())
        .refused("read '/etc/subuid': it lists no ids for you; as root: usermod --add-subuids");
    machine.cmd(args!["--fake-root", "--no-userns", "run", "true"]).refused("--no-userns");
    // Inside no set-uid program works.
    let inner = args!["run", selfdock()].into_iter().chain(words);
    let machine = Machine::new();
    machine.cmd(inner).refused(
        "newuidmap is set-uid, and no set-uid bit counts here; in an instance only that of selfdock counts",
    );
}

/// newuidmap knows by its own means who the caller is.
#[rstest]
fn what_newuidmap_refuses_is_said_in_one_line(#[values("", "--unprivileged")] mode: &str) {
    let machine = Machine::new();
    fs::write(machine.dir.path().join("subuid"), "other:5:1\n").unwrap();
    let words = mode.split_whitespace().map(OsString::from).chain(args!["--fake-root", "run", "true"]);
    let ran = machine
        .cmd(words)
        .env("USER", "other")
        .refused("newuidmap' outside: uid range [1-2) -> [5-6) not allowed");
    assert!(!ran.stderr.contains(": newuidmap: "), "{}", ran.stderr);
}

/// A file system that is asked for the home does not answer in time, and later it does.
#[rstest]
#[case::of_a_copy(&["-o", "/", "/"])]
#[case::of_the_host(&["--fake-root"])]
#[case::of_both(&["--fake-root", "-o", "/", "/"])]
fn a_home_that_answers_late_stays_hidden(#[case] options: &[&str]) {
    const LATE: &str = "inject=setsid:delay_enter=1500000";
    let (machine, home) = (Machine::new(), scratch());
    let secret = home.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let strace = args!["strace", "-qq", "-f", "-e", "trace=setsid", "-e", LATE, "-o", "/dev/null"];
    // Root's own strace leaves set-uid programs their privilege.
    let mut words = machine.launcher();
    words.splice(2..2, strace);
    let words = words.into_iter().chain([selfdock().into()]);
    let words = words.chain(options.iter().map(Into::into)).chain(args!["run", "cat", &secret]);
    let ran = Cmd::program(words).env("HOME", home.path()).output();
    assert!(ran.stdout.is_empty() && ran.stderr.contains("No such file"), "{} {}", ran.stdout, ran.stderr);
}

/// Gives the user of the tests subordinate ids, on a host of its own.
pub const WITH_IDS: &str = "echo tester:x:$ME:$MY_GROUP::/:/bin/sh >>etc/passwd
     for file in subuid subgid; do echo tester:700000:65536 >etc/$file; done";

/// F4: hung or foreign mounts, links where directories are. As without the options, a file system that a path of a home
/// leads into is hidden.
#[rstest]
#[case::the_mount_point("hung", "late", "secret\n")]
#[case::in_it("hung/me", "hung", "")]
#[case::by_a_link("link/me", "hung", "")]
#[case::of_another_user("foreign/me", "late", "secret\n")]
#[case::beside_it("hung/../late", "late", "")]
fn a_home_in_a_hung_file_system_holds_up_no_run(
    #[case] home: &str,
    #[case] place: &str,
    #[case] seen: &str,
    #[values("", "--fake-root", "--fake-root -o / /", "-o / /")] options: &str,
) {
    let script = format!(
        "{FILESYSTEMS}
         filesystems /opt/x
         ln -s /opt/x/hung /opt/x/link; mkdir /opt/x/late; touch /opt/x/late/secret; chown $ME /opt/x/late
         me env HOME=/opt/x/{home} timeout $LONG $SD {options} run ls -A /opt/x/{place}; echo $?
         kill $servers 2>/dev/null; umount -l /opt/x/hung"
    );
    let ran = on_a_host(&format!("mkdir -p opt/x; {WITH_IDS}"), &script).output();
    assert_eq!(ran.stdout, format!("{seen}0\n"), "{}", ran.stderr);
}

/// What the caller mounts on a directory above its home shows the home, as without these options.
#[rstest]
fn a_home_in_a_mount_of_the_caller_is_shown(
    #[values("", "--fake-root", "--fake-root -o / /", "-o / /")] options: &str,
    #[values("-v /opt/all /opt/all", "-m /opt/all/u /opt/all/u")] mount: &str,
) {
    let changes = format!("mkdir -p opt/all/u; touch opt/all/u/mine; chown -R $ME opt/all/u; {WITH_IDS}");
    let ls = "run ls -A /opt/all/u; echo $?";
    let script =
        format!("HOME=/opt/all/u; export HOME; me $SD {options} {mount} {ls}; me $SD {options} {ls}");
    assert_eq!(on_a_host(&changes, &script).output().stdout, "mine\n0\n0\n");
}

/// Its namespaces belong to two user namespaces, and the kernel lets nobody from outside into both.
#[rstest]
fn it_cannot_be_entered(#[values("", "--unprivileged")] mode: &str) {
    let machine = Machine::new();
    let options = [mode].into_iter().filter(|mode| !mode.is_empty()).map(OsString::from);
    let words = options.chain(args!["--fake-root", "run", "cat"]);
    let instance = machine.cmd(words).spawn().that_repeats();
    let why = "enter its pid namespace: operation not permitted (EPERM); it has ended, or has another user \
               namespace inside (--fake-root";
    let dir = scratch();
    let report = dir.path().join("report");
    let ran = Cmd::new(args!["--report", &report, "enter", instance.pid().to_string(), "true"]).refused(why);
    let report = fs::read_to_string(report).unwrap();
    assert_eq!(field(&report, "status"), "XX", "{report}");
    assert_eq!(format!("selfdock: {}\n", field(&report, "error")), ran.stderr);
}
