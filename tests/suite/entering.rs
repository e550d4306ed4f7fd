//! entering: A command can join only the caller's instances, and gets no more rights than they have.

use crate::faults::strace_as_root;
use crate::support::{
    Background, Cmd, args, children, command_of, fixture, instance, instance_of_root, is_alive, keeper_of,
    nested, on_a_host, scratch, selfdock, status_of, tree, wait_until,
};
use rstest::rstest;
use std::ffi::OsString;
use tempfile::TempDir;

/// `selfdock enter OPTIONS PID`; the command follows.
fn enter(options: impl IntoIterator<Item = OsString>, pid: i32) -> Cmd {
    Cmd::new(args!["enter"].into_iter().chain(options).chain(args![pid.to_string()]))
}

/// An instance of `cat` that these words start, as a shell takes them, in this directory.
fn started_by(words: &str, dir: &TempDir) -> Background {
    let start = Cmd::program(args!["sh", "-c", format!("exec {words} cat")]).env("SELFDOCK", selfdock());
    start.current_dir(dir.path()).spawn().that_repeats()
}

/// The caller has all capabilities over a user namespace of the caller's, and sees the program of the supervisor there.
#[rstest]
#[case::of_a_copy("$SELFDOCK -o . /mnt run")]
#[case::of_another_program("unshare --map-current-user $SELFDOCK run")]
#[case::of_both("unshare --map-current-user $SELFDOCK -o . /mnt run")]
fn an_instance_in_a_user_namespace_of_the_caller_can_be_entered(#[case] start: &str) {
    let dir = scratch();
    let instance = started_by(start, &dir);
    let own = nix::unistd::getuid().to_string();
    assert_eq!(Cmd::new(args!["enter", instance.pid().to_string(), "id", "-u"]).ok(), own);
}

/// Selfdock's own processes stand for no instance, also where they can be inspected.
#[rstest]
#[case::set_uid("$SELFDOCK run")]
#[case::with_a_user_namespace("$SELFDOCK -o . /mnt run")]
#[case::of_the_inner_one("$SELFDOCK run $SELFDOCK --unprivileged run")]
fn an_instance_that_holds_only_another_one_is_refused(#[case] start: &str) {
    let dir = scratch();
    let outer = started_by(&format!("{start} $SELFDOCK run"), &dir);
    enter([], outer.pid()).arg("true").refused("it holds another instance (enter that one");
}

#[rstest]
#[case::set_uid(args![])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::own_network(args!["--net", "none", "--hostname", "box"])]
#[case::image(args!["--root", fixture("busybox")])]
#[case::copy(args!["-o", "/etc/ssl", "/mnt"])]
fn a_command_joins_by_the_supervisor_or_any_process<const N: usize>(#[case] options: [OsString; N]) {
    let instance = instance(options);
    let (keeper, command) = (keeper_of(instance.pid()), command_of(instance.pid()));
    let namespaces = "for n in mnt pid ipc net uts user cgroup; do \
                      (readlink /proc/self/ns/$n; readlink /proc/$P/ns/$n) | uniq | wc -l; done";
    // One PID names the instance, inside and outside.
    let inside = instance.pid().to_string();
    for pid in [instance.pid(), command, keeper] {
        let seen = enter([], pid)
            .env("P", &inside)
            .sh(format!("{namespaces}; cat /proc/$P/cmdline | tr '\\0' ' '"))
            .ok();
        let (ones, first) = seen.rsplit_once('\n').unwrap();
        assert_eq!(ones.replace('\n', ""), "1111111", "{seen}");
        assert!(first.contains("cat"), "{first}");
    }
}

#[test]
fn options_stand_before_and_after_the_pid() {
    let instance = instance([]);
    let pid = instance.pid().to_string();
    for words in [
        args!["enter", "-C", "/usr", "-e", "A=b", &pid].to_vec(),
        args!["enter", &pid, "-C", "/usr", "-e", "A", "b"].to_vec(),
        args!["-e", "A=b", "enter", &pid, "-C", "/usr", "--"].to_vec(),
    ] {
        let script = "echo $A; pwd; echo $0";
        assert_eq!(Cmd::new(words).sh(script).arg("-C").ok(), "b\n/usr\n-C");
    }
    Cmd::new(args!["enter", &pid, "--root", "/", "true"]).refused("not for this command");
}

/// Processes inside see a joiner before it is in the instance.
#[rstest]
fn a_joiner_shows_no_mounts_of_the_host(#[values(&[], &["--unprivileged"])] options: &[&str]) {
    let instance = instance(options.iter().map(OsString::from));
    // It stays for a while where it starts.
    let late = args!["-u", "tester", "-e", "trace=setsid", "-e", "inject=setsid:delay_enter=3000000"];
    let words = args![selfdock(), "enter", instance.pid().to_string(), "true"];
    let mut joining = strace_as_root([], late.into_iter().chain(args!["-o", "/dev/null"]), words).spawn();
    let script = "until grep -q selfdock /proc/[0-9]*/comm; do :; done
                  for list in /proc/[0-9]*/mountinfo; do cmp -s $list /proc/self/mountinfo || cat $list; done";
    assert_eq!(enter([], instance.pid()).sh(script).ok(), "");
    assert!(joining.wait().success());
}

/// E2: weaker joiner; C1: capabilities, securebits.
#[test]
fn the_joiner_has_what_the_target_has_and_no_more() {
    let wanted = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/$P/status";
    for options in [args![].as_slice(), &args!["--no-nest"], &args!["--unprivileged"]] {
        let instance = instance(options.iter().cloned());
        let target = enter([], instance.pid()).env("P", instance.pid().to_string()).sh(wanted).ok();
        let joiner = enter([], instance.pid()).env("P", "self").sh(wanted).ok();
        assert_eq!(joiner, target);
    }
}

#[test]
fn the_root_and_the_directory_are_the_targets() {
    let image = fixture("busybox");
    let instance = instance(args!["--root", &image, "-C", "/etc"]);
    assert_eq!(enter([], instance.pid()).sh("pwd; cat image").ok(), "/etc\nbusybox");
    assert_eq!(enter(args!["-C", "/usr"], instance.pid()).sh("pwd").ok(), "/usr");
    enter(args!["-C", "/nowhere"], instance.pid()).arg("true").refused("ENOENT");
    // A link of procfs can lead out of a root directory.
    enter(args!["-C", "/proc/self/root/usr"], instance.pid()).arg("true").refused("EXDEV");
}

/// E2: weaker joiner.
#[test]
fn the_joiner_has_no_more_than_the_limits_of_its_target() {
    let instance = instance(args!["--rlimit", "nofile=20", "--rlimit", "core=0"]);
    let script = "ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc; ulimit -Hf";
    let shell = |cmd: Cmd| cmd.arg("bash").arg("-c").arg(script).ok();
    assert_eq!(shell(enter([], instance.pid())), "20\n20\n0\n0\nunlimited");
    // The joiner's own limits may be lower, and stay so, also the soft ones.
    let soft = args!["sh", "-c", "ulimit -S -n 19; exec \"$0\" \"$@\""];
    let words = args!["enter", instance.pid().to_string(), "sh", "-c", "ulimit -S -n; ulimit -H -n"];
    assert_eq!(Cmd::under(soft, words).ok(), "19\n20");
    let lower = args!["sh", "-c", "ulimit -n 18; exec \"$0\" \"$@\""];
    let words = args!["enter", instance.pid().to_string(), "sh", "-c", "ulimit -n"];
    assert_eq!(Cmd::under(lower, words).ok(), "18");
    assert_eq!(enter(args!["--rlimit", "nofile=15"], instance.pid()).sh("ulimit -n").ok(), "15");
    enter(args!["--rlimit", "nofile=21"], instance.pid()).sh("true").refused("EPERM");
}

/// An instance of an older selfdock from the same path still is an instance.
#[test]
fn an_instance_outlives_an_upgrade() {
    let script = "user=\"setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups\"
        $user $SD run sleep 9 & target=$!; sleep 0.2
        cp -a $SD $SD.new; mv $SD.new $SD
        $user $SD ps | grep -c \"^ *$target .*sleep 9\"; $user $SD enter $target echo entered
        kill $target; wait";
    assert_eq!(on_a_host("", script).output().stdout, "1\nentered\n");
}

/// E4: check and use. selfdock joins what it has examined. A target that changes its namespaces meanwhile is refused,
/// or not followed.
#[rstest]
#[case::while_it_is_examined("prlimit64:delay_enter=100000", "it has changed its namespaces in the meantime")]
#[case::before_its_namespaces_are_joined("setns:delay_enter=400000", "")]
fn a_target_that_changes_its_namespaces_is_not_followed(#[case] delay: &str, #[case] refusal: &str) {
    const GO: &str = include_str!("../programs/unshare_when_told.py");
    let changes = "mkdir -m 777 srv/own; mkfifo -m 666 srv/own/go";
    let script = include_str!("../programs/enter_while_it_changes.sh");
    let ran = on_a_host(changes, script).env("GO", GO).env("DELAY", delay).output();
    let expected = if refusal.is_empty() { "unshared 0\nsame\n" } else { "unshared 0\n" };
    assert!(ran.stdout == expected && ran.stderr.contains(refusal), "{}{}", ran.stdout, ran.stderr);
}

/// U1: old set-uid file; E2: weaker joiner. selfdock joins a control group if the caller may move to it. Otherwise the
/// caller decides.
#[rstest]
#[case::delegated("", "", "0::/")]
#[case::not_delegated("chown 0 own/cgroup.procs", "", "--own-cgroup stays")]
#[case::kept("", "--own-cgroup", "0::/../here")]
#[case::not_delegated_and_kept("chown 0 own/cgroup.procs", "--own-cgroup", "0::/../here")]
#[case::of_the_first_version(HYBRID, "", "--own-cgroup stays")]
#[case::of_the_first_version_and_kept(HYBRID, "--own-cgroup", "0::/../here")]
fn the_joiner_joins_the_control_group_of_its_target_or_says_why_not(
    #[case] change: &str,
    #[case] option: &str,
    #[case] seen: &str,
) {
    let changes = "umount -l sys; mount -t sysfs sys sys; mount -t cgroup2 cgroup2 sys/fs/cgroup";
    let script = include_str!("../programs/join_a_group.sh");
    let on_host = on_a_host(changes, script).env("CHANGE", change).env("OPTION", option);
    let ran = on_host.output();
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains(seen) && told.lines().count() == 1, "{told}");
    assert_eq!(seen.starts_with("0::"), told == format!("{seen}\n"), "{told}");
}

/// A version 1 hierarchy, in which the command is in another group than its joiner.
const HYBRID: &str = "
    for child in $(cat /proc/$target/task/$target/children); do
        (echo 9:name=systemd:/a/b; cat /proc/$child/cgroup) > /tmp/groups.$child
        mount --bind /tmp/groups.$child /proc/$child/cgroup
    done";

#[test]
fn the_report_of_a_joiner_tells_whether_its_command_started() {
    let instance = instance([]);
    let report = |word: &str| {
        let ran = enter(args!["--report", "2"], instance.pid()).arg(word).output();
        ran.stderr.lines().find(|line| line.starts_with('{')).unwrap().to_owned()
    };
    let seen = report("no-such-command");
    assert!(seen.contains("\"started\":false,\"error\":\"run 'no-such-command': no such file"), "{seen}");
    let seen = Cmd::program(args!["prlimit", "--nproc=0", selfdock(), "enter", "--report", "2"])
        .arg(instance.pid().to_string())
        .arg("true")
        .output()
        .exits(125);
    assert!(
        seen.stderr.contains("\"started\":false,\"error\":\"start a witness of signals: "),
        "{}",
        seen.stderr
    );
    let dir = scratch();
    enter(args!["--report", "here"], instance.pid()).arg("true").current_dir(dir.path()).ok();
    let seen = std::fs::read_to_string(dir.path().join("here")).unwrap();
    assert!(seen.contains("\"started\":true,\"error\":null,\"exit\":0"), "{seen}");
}

#[test]
fn the_environment_is_changed_as_for_run() {
    let instance = instance([]);
    let seen = enter(args!["--clear-env", "-e", "A=b"], instance.pid()).arg("/usr/bin/env").ok();
    assert_eq!(seen, "A=b");
}

#[rstest]
fn the_status_is_the_commands(#[values(0, 7, 255)] code: i32) {
    let instance = instance([]);
    for script in [&format!("exit {code}"), "kill -9 $$"] {
        let plain = Cmd::program(args!["sh", "-c", script]);
        enter([], instance.pid()).sh(script).output().ends_as(&plain.output());
    }
    let plain = Cmd::program(args!["env", "nowhere"]).output();
    assert_eq!(enter([], instance.pid()).arg("nowhere").output().status, plain.status);
}

#[test]
fn a_command_that_is_not_there_is_said_to_be_in_no_directory_of_path() {
    let instance = instance([]);
    let (joined, run) =
        (enter([], instance.pid()).arg("no-such").output(), Cmd::run(args!["no-such"]).output());
    assert_eq!(joined.stderr, run.stderr);
    assert!(
        joined.stderr.ends_with("(ENOENT); no directory of PATH in the instance has it\n"),
        "{}",
        joined.stderr
    );
}

#[test]
fn a_signal_to_the_joiners_supervisor_reaches_it() {
    let instance = instance([]);
    let mut joiner = enter([], instance.pid()).arg("cat").spawn().that_repeats();
    joiner.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&joiner.wait()), Some(15));
}

#[test]
fn a_joiner_ends_with_the_instance() {
    let mut instance = instance([]);
    let mut joiner = enter([], instance.pid()).arg("cat").spawn().that_repeats();
    instance.close();
    instance.wait();
    joiner.wait();
}

#[test]
fn an_inner_instance_can_be_entered_from_outside_and_from_inside() {
    let instance = instance(nested(1, []));
    let inner = command_of(instance.pid());
    let (named, command) = (instance.pid().to_string(), command_of(inner));
    for pid in [inner, command] {
        let seen = enter([], pid).env("P", &named).sh("echo /proc/[0-9]*; cat /proc/$P/comm").ok();
        assert_eq!((seen.matches("/proc/").count(), seen.ends_with("\ncat")), (3, true), "{seen}");
    }
    // The outer instance has only processes that nobody can inspect.
    enter([], instance.pid()).arg("true").refused("enter that");
    let script = "$SD run sleep 1000 & p=$!; until [ $($SD enter $p cat /proc/$p/comm 2>/dev/null)_ = sleep_ ]; \
                  do sleep 0.01; done; kill $p; echo entered";
    assert_eq!(Cmd::run([]).env("SD", selfdock()).sh(script).ok(), "entered");
}

/// E1: fake instance.
#[test]
fn a_process_that_is_in_no_instance_is_refused() {
    let shell = Cmd::program(args!["unshare", "-Urmpf", "--mount-proc", "cat"]).spawn().that_repeats();
    for pid in [shell.pid(), children(shell.pid())[0], std::process::id().cast_signed()] {
        enter([], pid).arg("true").refused("not an instance");
    }
    for pid in ["0", "-1", "4294967297", "x", ""] {
        Cmd::new(args!["enter", "--", pid, "true"]).refused("PID");
    }
    Cmd::new(args!["enter", "1", "true"]).refused("not an instance");
    Cmd::new(args!["enter", "2147483647", "true"]).refused("no such process");
    Cmd::new(args!["enter"]).refused("PID");
}

/// E1: fake instance.
#[test]
fn an_instance_of_another_user_is_refused() {
    let mut other = instance_of_root();
    for pid in [other.pid(), children(other.pid()).first().copied().unwrap_or(1)] {
        enter([], pid).arg("true").refused("not yours");
    }
    other.close();
    other.wait();
}

/// E1: fake instance. Another user can make any number of PID namespaces. They do not slow a joiner down that looks for
/// an instance.
#[test]
fn the_pid_namespaces_of_other_users_are_not_looked_into() {
    let other = "echo $$; exec unshare -Urpf sh -c 'read line'";
    let root = args![fixture("setuid/probe"), "as-root", "setpriv", "--reuid=65534", "--clear-groups"];
    let mut other = Cmd::program(root.into_iter().chain(args!["sh", "-c", other])).spawn();
    let others = other.line();
    wait_until("unshare has a child", || !children(others.parse().unwrap()).is_empty());
    // These come later, so they are found later.
    let instance = instance([]);
    let mut inside = enter([], instance.pid()).sh("echo up; read line").spawn();
    assert_eq!(inside.line(), "up");

    // Its ancestor outside is not the supervisor of its instance. The other child waits outside.
    let is_inside = |pid: &i32| status_of(&pid.to_string(), &["NSpid"]).split(' ').count() > 2;
    let joined = children(inside.pid()).into_iter().find(is_inside).unwrap();
    let (dir, words) = (scratch(), args![selfdock(), "enter", joined.to_string(), "true"]);
    let file = dir.path().join("trace");
    strace_as_root([], args!["-u", "tester", "-e", "trace=openat,openat2", "-o", &file], words).ok();
    let trace = std::fs::read_to_string(&file).unwrap();
    let looked_into = |pid: &str| trace.contains(&format!("/proc/{pid}/task/"));
    assert!(looked_into(&instance.pid().to_string()), "{trace}");
    assert!(!looked_into(&others), "{trace}");
    other.close();
    inside.close();
    other.wait();
}

/// E1: fake instance.
#[test]
fn an_instance_that_has_ended_is_refused() {
    let mut instance = instance([]);
    let pid = instance.pid();
    instance.close();
    instance.wait();
    enter([], pid).arg("true").refused("no such process");
}

/// E3: handles into the target; C3: ptrace window.
#[test]
fn a_hostile_instance_gets_no_handle_from_a_joiner() {
    let hostile = "while :; do for p in /proc/[2-9]* /proc/[1-9][0-9]*; do \
                   for f in $p/fd/* $p/root/home/* $p/cwd/../home/*; do \
                   case $f in $p/fd/[3-9]*) [ -e $f ] && echo got $f $(readlink $f);; esac; \
                   done; done; done 2>/dev/null";
    let mut instance = Cmd::run(args!["sh", "-c", format!("echo up; {hostile}")]).spawn();
    assert_eq!(instance.line(), "up");
    for _ in 0..40 {
        enter([], instance.pid()).arg(fixture("bin/nothing")).ok();
    }
    instance.signal(nix::sys::signal::Signal::SIGKILL);
    instance.wait();
    assert_eq!(instance.rest(), Vec::<String>::new());
}

/// I5: signals, umask. What a joiner starts ends with the joiner, also if it is set-uid: exec then clears the signal
/// for that.
#[test]
fn an_instance_in_an_instance_ends_with_a_killed_joiner() {
    let outer = instance([]);
    let joined = enter([], outer.pid()).arg(selfdock()).arg("run").arg("cat");
    let mut joiner = joined.spawn().that_repeats();
    let all = tree(joiner.pid());
    joiner.signal(nix::sys::signal::Signal::SIGKILL);
    joiner.wait();
    wait_until("nothing of the joiner is left", || !all.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn set_uid_programs_stay_inert_for_a_joiner() {
    let instance = instance([]);
    let seen = enter([], instance.pid()).arg(fixture("setuid/id")).arg("-u").ok();
    assert_eq!(seen, nix::unistd::getuid().to_string());
}

/// E2: weaker joiner. A level without a filter must not hide a filter that the joiner would lack.
#[test]
fn a_joiner_has_the_filters_of_its_target_below_a_level_without_a_filter() {
    let unfiltered = args!["--seccomp", "none", selfdock(), "--no-userns", "run"];
    let instance = crate::support::instance(unfiltered);
    let inner = command_of(instance.pid());
    enter([], inner).arg("true").ok();
    let ran = enter([], inner).sh("unshare -Ur true").output();
    assert!(ran.stderr.contains("not permitted"), "{}", ran.stderr);
    let dir = crate::support::scratch();
    std::fs::write(dir.path().join("filter"), [6, 0, 0, 0, 0, 0, 0xff, 0x7f]).unwrap();
    let words =
        args!["--seccomp", "none", "-m", dir.path(), "/mnt", selfdock(), "--seccomp", "/mnt/filter", "run"];
    let instance = crate::support::instance(words);
    enter([], command_of(instance.pid())).arg("true").refused("filter");
}

/// E2: weaker joiner. In strict mode a process has no filter that could be counted. seccomp(2)
#[test]
fn a_process_in_strict_mode_is_not_joined() {
    const STRICT: &str = "import ctypes; libc = ctypes.CDLL(None); room = ctypes.create_string_buffer(9)
libc.prctl(22, 1, 0, 0, 0) or libc.write(1, b'strict\\n', 7); libc.read(0, room, 1)";
    let instance = Cmd::run(args!["--seccomp", "none", "python3", "-c", STRICT]).spawn();
    assert_eq!(instance.line(), "strict");
    enter([], instance.pid()).arg("true").refused("it has a system-call filter that a joiner would lack");
}

/// E2: weaker joiner. The bounding set limits what a program with file capabilities gets at exec.
#[test]
fn a_joiner_that_could_have_more_capabilities_is_refused() {
    let smaller = args![fixture("filecap/setpriv"), "--bounding-set", "-net_raw"];
    let instance = Cmd::under(smaller.clone(), args!["run", "cat"]).spawn().that_repeats();
    let refusal = "its capability bounding set is smaller than a joiner's";
    enter([], instance.pid()).arg("true").refused(refusal);
    let words = args!["enter", instance.pid().to_string(), "echo", "in"];
    assert_eq!(Cmd::under(smaller, words).ok(), "in");
}

/// E2: weaker joiner. Root can have mounted something in the instance.
#[rstest]
#[case::refused("", false)]
#[case::nothing_gains_privilege_there("--no-nest", true)]
fn where_set_uid_programs_would_work_nobody_joins(#[case] option: &str, #[case] joins: bool) {
    let instance = instance(option.split_whitespace().map(Into::into));
    let command = command_of(instance.pid()).to_string();
    let mount = args!["nsenter", "-t", command, "-m", "mount", "-t", "tmpfs", "of-root", "/tmp"];
    Cmd::program(args![fixture("setuid/probe"), "as-root"].into_iter().chain(mount)).ok();
    let joined = enter([], instance.pid()).arg("echo").arg("in").output();
    match joins {
        true => assert_eq!(joined.ok(), "in"),
        false => drop(joined.refused("set-uid programs would work in it")),
    }
}

#[test]
fn a_prefix_may_have_a_space_in_its_name() {
    let changes =
        "mkdir -p 'opt/my tools/bin' 'opt/my tools/lib'; cp -a $PREFIX/bin/selfdock 'opt/my tools/bin'
                   cp -a $PREFIX/lib/selfdock 'opt/my tools/lib'";
    // Its supervisor is this process. It cannot be entered before its mounts are complete.
    let script = "S='/opt/my tools/bin/selfdock'
                  setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups \"$S\" run sleep 30 & pid=$!
                  until me \"$S\" enter $pid echo entered 2>/tmp/why; do sleep 0.05; done; kill $pid; wait";
    assert_eq!(on_a_host(changes, script).output().stdout, "entered\n");
}
