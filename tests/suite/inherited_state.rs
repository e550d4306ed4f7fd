//! inherited-state: No descriptor, signal state or limit of the caller leaks into an instance or breaks it.

use crate::support::{
    Cmd, args, bin, children, fixture, is_alive, is_own, nested, scratch, selfdock, wait_until,
};
use nix::sys::signal::Signal;
use rstest::rstest;
use std::fs;

/// A shell command line that starts `selfdock run` with its arguments.
fn shell(script: &str) -> Cmd {
    Cmd::program(args!["bash", "-c", script]).env("SD", selfdock()).env("PROBE", bin("probe"))
}

/// I1: closed standard descriptors.
#[rstest]
fn a_closed_descriptor_stays_closed(
    #[values("", "<&-")] stdin: &str,
    #[values("", ">&-")] stdout: &str,
    #[values("", "2>&-")] stderr: &str,
    #[values(0, 1)] depth: usize,
) {
    let dir = scratch();
    let inner = if depth == 1 { "$SD run -v /mnt /mnt" } else { "" };
    let run = format!("$SD run -v $DIR /mnt {inner} $PROBE fds-to /mnt/fds {stdin} {stdout} {stderr}");
    shell(&run).env("DIR", dir.path()).ok();
    let seen = fs::read_to_string(dir.path().join("fds")).unwrap();
    let open: Vec<&str> = seen.lines().filter_map(|line| line.split(' ').next()).collect();
    let expected = [("0", stdin), ("1", stdout), ("2", stderr)];
    let expected: Vec<&str> =
        expected.iter().filter(|(_, closed)| closed.is_empty()).map(|(fd, _)| *fd).collect();
    assert_eq!(open, expected, "{seen}");
}

/// I1: closed standard descriptors. A caller can forge /dev in its own namespaces. selfdock opens no path in place of
/// a closed descriptor, so no message is written to a forged file.
#[rstest]
fn a_forged_dev_gets_no_output_of_closed_descriptors(
    #[values("", "<&-")] stdin: &str,
    #[values("", ">&-")] stdout: &str,
    #[values("", "2>&-")] stderr: &str,
) {
    let dir = scratch();
    let canary = dir.path().join("canary");
    fs::write(&canary, "as it was").unwrap();
    let forge = "for name in null zero full tty; do mount --bind $CANARY /dev/$name || exit; done";
    let run = format!("unshare -Urm bash -c '{forge}; exec $SD run true {stdin} {stdout} {stderr}'");
    shell(&run).env("CANARY", &canary).output().exits(125);
    assert_eq!(fs::read_to_string(&canary).unwrap(), "as it was");
}

/// I1: closed standard descriptors.
#[rstest]
fn a_refusal_with_closed_descriptors_writes_into_nothing(
    #[values("<&-", ">&-", "2>&-", "<&- >&- 2>&-")] closed: &str,
) {
    let dir = scratch();
    let run = format!("$SD run -m {} /mnt -v $DIR /etc true {closed}", fixture("p/pub").display());
    shell(&run).env("DIR", dir.path()).output().exits(125);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// I2: descriptors; C4: descriptor theft.
#[rstest]
fn descriptors_do_not_leak(#[values(0, 1)] depth: usize) {
    let inner = if depth == 1 { "$SD run" } else { "" };
    let seen = shell(&format!("$SD run {inner} $PROBE fds 9</ 77</etc/passwd")).ok();
    let open: Vec<&str> = seen.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(open, ["0", "1", "2"], "{seen}");
}

/// I2: descriptors; C4: descriptor theft. The reader of a pipe waits for the last process that could write to it.
#[rstest]
fn no_process_of_selfdock_keeps_a_descriptor(#[values("run", "--unprivileged run", "enter")] words: &str) {
    let target = crate::support::instance([]);
    let words = words.replace("enter", &format!("enter {}", target.pid()));
    let script = format!("exec $SD {words} cat 9</ 77</etc/passwd");
    let mut run = shell(&script).spawn().that_repeats();
    let all = children(run.pid()).into_iter().chain([run.pid()]);
    let own: Vec<String> = all.filter(|pid| is_own(*pid)).map(|pid| pid.to_string()).collect();
    assert_eq!(own.len(), 2, "a supervisor, and a keeper or a witness");
    let list = "for pid; do ls /proc/$pid/fd; done | tr '\\n' ' '";
    let list = args![fixture("setuid/probe"), "as-root", "sh", "-c", list, "sh"];
    // A joiner's supervisor closes the last ones when its command runs already.
    wait_until("only the standard descriptors are open", || {
        Cmd::program(list.iter().cloned().chain(own.iter().map(Into::into))).ok() == "0 1 2"
    });
    run.close();
    run.wait();
}

/// I2: descriptors.
#[test]
fn a_requested_descriptor_is_passed_on() {
    let seen = shell("$SD run --keep-fd 9 cat /dev/fd/9 9<<<kept 8</").ok();
    assert_eq!(seen, "kept");
    let seen = shell("$SD run --keep-fd 9 $PROBE fds 8</ 9</etc 10</").ok();
    let open: Vec<&str> = seen.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(open, ["0", "1", "2", "9"], "{seen}");
}

/// I2: descriptors.
#[rstest]
fn a_descriptor_that_is_not_open_cannot_be_kept(#[values("9", "-1", "x", "99999999999", "")] number: &str) {
    let why = if number == "9" { "(EBADF)" } else { "not a descriptor number" };
    Cmd::run(args!["--keep-fd", number, "true"]).refused(why);
}

/// I4: argc 0.
#[test]
fn no_arguments_at_all_is_a_usage_error() {
    let ran = Cmd::program(args![bin("probe"), "no-argv", selfdock()]).output();
    ran.refused("no command given");
}

/// I5: signals, umask.
#[test]
fn signals_are_in_the_documented_state() {
    let launcher = args!["env", "--block-signal=TERM,INT,CHLD,USR1", "--ignore-signal=CHLD,HUP"];
    let seen = Cmd::under(launcher, args!["run"]).probe(&["status", "SigBlk", "SigIgn"]).ok();
    // No signal is blocked. SIGCHLD has its default. SIGHUP and other signals that the caller ignores stay ignored.
    // SIGPIPE is changed by the probe itself.
    let outside = args!["env", "--ignore-signal=HUP", bin("probe"), "status", "SigBlk", "SigIgn"];
    assert_eq!(seen, Cmd::program(outside).ok());
    assert!(seen.starts_with("SigBlk: 0000000000000000\n") && seen.ends_with("1001"), "{seen}");
}

/// I5: signals, umask.
#[test]
fn an_ignored_child_signal_does_not_lose_the_status() {
    let launcher = args!["env", "--ignore-signal=CHLD", "--block-signal=CHLD"];
    Cmd::under(launcher, args!["run"]).sh("exit 9").output().exits(9);
}

/// I5: signals, umask.
#[rstest]
#[case(0o022)]
#[case(0o077)]
#[case(0o777)]
fn the_umask_is_the_callers(#[case] mask: u32) {
    let seen = shell(&format!("umask {mask:04o}; $SD run -v /opt /mnt/new sh -c umask")).ok();
    assert_eq!(seen, format!("{mask:04o}"));
}

/// I5: signals, umask.
#[rstest]
fn an_instance_ends_with_a_killed_supervisor(#[values(0, 3)] depth: usize) {
    let mut instance = Cmd::run(nested(depth, [])).sh("sleep 1000 & echo up; exec sleep 1000").spawn();
    instance.line();
    let mut tree = vec![instance.pid()];
    let mut next = 0;
    while next < tree.len() {
        tree.extend(children(tree[next]));
        next += 1;
    }
    assert!(tree.len() >= depth + 3, "{tree:?}");
    instance.signal(Signal::SIGKILL);
    instance.wait();
    let start = std::time::Instant::now();
    wait_until("the instance is gone", || !tree.iter().any(|pid| is_alive(*pid)));
    assert!(start.elapsed().as_secs_f64() < 1.0);
}

/// I5: signals, umask. The same holds while a nested instance is being built.
#[test]
fn an_unfinished_instance_ends_with_a_killed_supervisor() {
    for _ in 0..40 {
        let mut outer = Cmd::run(nested(1, args!["sleep", "1000"])).spawn();
        let mut inside = Vec::new();
        wait_until("there is a nested instance", || {
            inside = children(outer.pid());
            let below: Vec<i32> = inside.iter().flat_map(|pid| children(*pid)).collect();
            inside.extend(&below);
            !below.is_empty()
        });
        outer.signal(Signal::SIGKILL);
        outer.wait();
        wait_until("both instances are gone", || !inside.iter().any(|pid| is_alive(*pid)));
    }
}

/// I5: signals, umask.
#[test]
fn a_caller_that_asked_to_die_with_its_parent_still_gets_an_instance() {
    Cmd::under(args!["setpriv", "--pdeathsig", "TERM"], args!["run", "true"]).ok();
}

/// I6: rlimits.
#[rstest]
#[case::fsize("--fsize=0")]
#[case::nofile("--nofile=3")]
#[case::nofile_few("--nofile=5")]
#[case::nofile_some("--nofile=8")]
#[case::nproc("--nproc=1")]
#[case::stack("--stack=8192")]
#[case::address_space("--as=1048576")]
#[case::address_space_tiny("--as=65536")]
#[case::data("--data=4096")]
#[case::cpu("--cpu=1")]
#[case::core("--core=0")]
#[case::sigpending("--sigpending=0")]
#[case::memlock("--memlock=0")]
fn a_small_limit_ends_in_an_instance_or_a_refusal(#[case] limit: &str) {
    let ran = Cmd::under(args!["prlimit", limit], args!["run", bin("nothing")]).output();
    // prlimit itself, or the kernel while loading selfdock, may fail first. Then selfdock has not run.
    assert!(ran.stdout.is_empty());
    if ran.status.code() == Some(125) {
        // The kernel's errno names the limit, except for the one that selfdock checks itself.
        ran.refused(if limit.contains("stack") { "the stack limit" } else { "(E" });
    }
}

/// I6: rlimits. The keeper and the command have their stacks below that of the supervisor.
#[rstest]
fn a_stack_without_room_for_three_processes_is_refused(
    #[values("run", "--unprivileged run", "enter")] words: &str,
) {
    let target = crate::support::instance([]);
    let words = words.replace("enter", &format!("enter {}", target.pid()));
    let words = words.split(' ').map(Into::into).chain(args!["true"]);
    Cmd::under(args!["prlimit", "--stack=98304"], words).refused("start: the stack limit is too small");
}

/// I6: rlimits.
#[test]
fn a_message_into_a_full_file_is_no_crash() {
    let dir = scratch();
    let run = "prlimit --fsize=0 $SD run -v /no/such/thing /mnt true 2> $DIR/log";
    let ran = shell(run).env("DIR", dir.path()).output();
    assert_eq!(ran.status.code(), Some(125));
    assert_eq!(fs::metadata(dir.path().join("log")).unwrap().len(), 0);
}
