//! faults: Whatever fails, lies or is killed meanwhile, no right is gained and nothing is left.

use crate::support::machine::Machine;
use crate::support::{
    Cmd, args, bin, children, fixture, host_mounts, is_alive, kernel, prepared, scratch, selfdock, wait_until,
};
use crate::volumes::user_image;
use nix::sys::signal::{SigSet, Signal};
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Instant;

/// strace runs as root, since set-uid bits do not count under an unprivileged tracer. The program runs as the user of
/// the tests.
fn strace(options: impl IntoIterator<Item = OsString>, words: impl IntoIterator<Item = OsString>) -> Cmd {
    strace_under([], options, selfdock(), words)
}

/// strace of another program, with a launcher before strace.
fn strace_under(
    wrapper: impl IntoIterator<Item = OsString>,
    options: impl IntoIterator<Item = OsString>,
    program: impl Into<OsString>,
    words: impl IntoIterator<Item = OsString>,
) -> Cmd {
    let options = args!["-u", "tester"].into_iter().chain(options);
    strace_as_root(wrapper, options, [program.into()].into_iter().chain(words))
}

/// strace of a program that root starts, with a launcher before strace.
pub fn strace_as_root(
    wrapper: impl IntoIterator<Item = OsString>,
    options: impl IntoIterator<Item = OsString>,
    words: impl IntoIterator<Item = OsString>,
) -> Cmd {
    let start = args![fixture("setuid/probe"), "as-root"].into_iter().chain(wrapper);
    let strace = args!["strace", "-f", "-qq"].into_iter().chain(options);
    Cmd::program(start.chain(strace).chain(words))
}

/// Simulates a kernel without open_tree_attr, statmount and listmount, which came with Linux 6.15 and 6.8. Many
/// versions of strace do not know their names, so a filter of system calls returns ENOSYS for them.
pub fn older_kernel() -> Vec<OsString> {
    const OLDER_KERNEL: &str = include_str!("../programs/older_kernel.py");
    args!["python3", "-c", OLDER_KERNEL].into()
}

/// The system calls of `selfdock run nothing`, one on each line, in order.
fn trace(filter: &str) -> Vec<String> {
    let dir = scratch();
    let file = dir.path().join("trace");
    let options = args!["-e", format!("trace={filter}"), "-o", &file];
    strace_under(older_kernel(), options, selfdock(), args!["run", bin("nothing")]).ok();
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        // A call without a name is printed whatever the filter, and so is the end of the keeper. A call that another
        // process interrupts has two lines. The first has the arguments.
        .filter(|line| [" syscall_0x", " +++ ", "<... "].iter().all(|odd| !line.contains(odd)))
        .map(|line| line.split_once(' ').map_or(line, |(_, call)| call.trim_start()).to_owned())
        .collect()
}

/// The host's directories in an instance, from the list of the installation.
fn shown() -> Vec<String> {
    let list = fs::read(prepared("root.list")).unwrap();
    let words = String::from_utf8(list).unwrap();
    // A link is followed by its target, which is relative, or one of these.
    words.split('\0').filter(|word| word.starts_with('/')).map(str::to_owned).collect()
}

/// S4: keyrings. A command can use up its user's quota of keys. Then the filter must be in force.
#[rstest]
#[case::no_filter_of_keys(args!["--seccomp", "none", "--no-userns"], false)]
#[case::the_usual(args!["--no-userns"], true)]
fn a_joiner_without_a_keyring_needs_the_filter<const N: usize>(
    #[case] options: [OsString; N],
    #[case] works: bool,
) {
    let instance = crate::support::instance(options);
    let fault = args!["-e", "trace=keyctl", "-e", "inject=keyctl:error=EDQUOT", "-o", "/dev/null"];
    let words = args!["enter", "--own-cgroup", instance.pid().to_string(), "echo", "in"];
    let ran = strace(fault, words).output();
    assert_eq!(ran.status.success(), works, "{}", ran.stderr);
    assert!(works || ran.stderr.contains("make a session keyring"), "{}", ran.stderr);
}

/// M10: chroot only. If a lookup fails for lack of resources, or as the file system fails for now, the home does not
/// count as missing.
#[rstest]
#[case::by_the_set_uid_program("openat2", "run echo in")]
#[case::in_a_copy("openat2", "-o / / run echo in")]
fn a_home_that_cannot_be_looked_up_prevents_the_run(
    #[case] call: &str,
    #[case] words: &str,
    #[values("ENOMEM", "EMFILE", "ENFILE", "EAGAIN", "EIO", "ESTALE", "ETIMEDOUT")] errno: &str,
) {
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:error={errno}");
    let fault = args!["-f", "-P", "/opt/home-of-a-test", "-e", trace, "-e", inject, "-o", "/dev/null"];
    let words = words.split(' ').map(OsString::from);
    let ran = strace(fault, words).env("HOME", "/opt/home-of-a-test").output();
    assert!(
        ran.stderr.contains("hide '/opt/home-of-a-test'") && ran.stderr.contains(errno),
        "{}",
        ran.stderr
    );
    assert_eq!((ran.stdout.as_str(), ran.status.code()), ("", Some(125)));
}

/// F4: hung or foreign mounts, links where directories are. On the way to a home the kernel is asked for what it knows
/// already. From Linux 6.6 on, FUSE does not ask its server then in any case.
#[rstest]
fn on_the_way_to_a_home_no_file_system_is_asked(#[values(&[], &["--unprivileged"])] mode: &[&str]) {
    let dir = scratch();
    let file = dir.path().join("trace");
    let words = mode.iter().map(Into::into).chain(args!["run", bin("nothing")]);
    strace(args!["-e", "trace=statx", "-o", &file], words).env("HOME", "/opt/home-of-a-test/me").ok();
    let text = fs::read_to_string(file).unwrap();
    let calls: Vec<_> = text.lines().filter(|line| line.contains("\"opt/home-of-a-test")).collect();
    assert!(!calls.is_empty(), "{text}");
    assert!(calls.iter().all(|call| call.contains("AT_STATX_DONT_SYNC")), "{calls:?}");
}

/// F3: fault injection. A layer that cannot be listed because something has run out is not taken for a closed one, nor
/// one for which the rights to list it could not be given up or taken back.
#[rstest]
fn layers_that_cannot_be_listed_for_want_of_something_refuse(
    #[values(
        "openat:error=EMFILE",
        "openat:error=ENFILE",
        "openat:error=ENOMEM",
        "statx:error=ENOMEM",
        "capset:error=EPERM",
        "capget:error=EPERM"
    )]
    fault: &str,
) {
    let (one, two) = (scratch(), scratch());
    for (layer, name) in [(&one, "one"), (&two, "two")] {
        fs::create_dir_all(layer.path().join("shared")).unwrap();
        fs::create_dir_all(layer.path().join(name)).unwrap();
        fs::write(layer.path().join("shared").join(name), "").unwrap();
        fs::write(layer.path().join(name).join("f"), "").unwrap();
    }
    let layers = args!["--root", fixture("busybox"), "--root", one.path(), "--root", two.path()];
    let words = args!["run", "/bin/busybox", "ls", "-F", "/shared", "/one", "/two"];
    let words: Vec<OsString> = layers.into_iter().chain(words).collect();
    let all = Cmd::new(words.clone()).ok();
    assert_eq!(all, "/one:\nf\n\n/shared:\none\ntwo\n\n/two:\nf");
    let mut refused = 0;
    for when in 1..=60 {
        let inject = format!("inject={fault}:when={when}");
        let ran = strace(args!["-b", "execve", "-e", inject, "-o", "/dev/null"], words.clone()).output();
        if ran.stdout.is_empty() && ran.status.code() == Some(125) && ran.stderr.starts_with("selfdock: ") {
            refused += 1;
        } else {
            assert_eq!(ran.stdout.trim(), all, "{fault}:when={when}: {}", ran.stderr);
        }
    }
    assert!(refused > 3, "{refused}");
}

/// Only a root directory that is no mount is called a chroot.
#[rstest]
#[case::of_a_chroot("EINVAL", "the root directory is a chroot")]
#[case::of_something_else("ENOMEM", "make mounts private: out of memory (ENOMEM)")]
fn an_error_says_why_mounts_cannot_be_made_private(#[case] errno: &str, #[case] why: &str) {
    // Before Linux 6.15 this call also sets the attributes of what is copied, and before 6.8 it makes a copy of /proc
    // private.
    let here = if kernel() >= (6, 15) {
        1
    } else if kernel() >= (6, 8) {
        3
    } else {
        4
    };
    for (wrapper, when) in [(Vec::new(), here), (older_kernel(), 4)] {
        let inject = format!("inject=mount_setattr:error={errno}:when={when}");
        let fault = args!["-e", "trace=mount_setattr", "-e", inject, "-o", "/dev/null"];
        strace_under(wrapper, fault, selfdock(), args!["run", "true"]).output().refused(why);
    }
}

/// P5: destination escape. An entry that the kernel does not describe is an empty directory, and never what it leads
/// to. One that is gone is left out.
#[rstest]
#[case::closed("EACCES", "out\n")]
#[case::gone("ENOENT", "")]
fn a_link_that_cannot_be_looked_at_leads_nowhere(#[case] errno: &str, #[case] seen: &str) {
    let image = user_image();
    symlink("/bin", image.path().join("out")).unwrap();
    let fault = args!["-P", "out", "-e", "trace=statx", "-e", format!("inject=statx:error={errno}")];
    let words =
        args!["--root", image.path(), "-t", "-", "/new", "run", "sh", "-c", "ls / | grep out; ls -A /out/"];
    let ran = strace(fault.into_iter().chain(args!["-o", "/dev/null"]), words).output();
    assert_eq!(ran.stdout, seen, "{}", ran.stderr);
}

/// P6: staging path.
#[test]
fn no_path_is_opened_but_those_of_a_fixed_list() {
    let program = selfdock().display().to_string();
    let prepared = ["root", "root.list", "root/mnt"].map(|name| prepared(name).display().to_string());
    let shown = shown();
    for line in trace("open,openat,openat2,open_tree,mount,umount2,mkdir,creat,chdir,chroot") {
        let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        let path = strings[usize::from(line.starts_with("mount("))];
        let own = [
            "",
            "/",
            ".",
            "/proc",
            "self/mountinfo",
            "..",
            "/tmp",
            "/dev/pts",
            "/dev/shm",
            "/dev/tty",
            "/etc/resolv.conf",
        ];
        let below =
            line.contains("RESOLVE_BENEATH") && shown.iter().any(|known| *known == format!("/{path}"));
        // It is in the prepared root directory, opened by its descriptor.
        let null = path == "dev/null" && line.contains("RESOLVE_NO_XDEV|RESOLVE_NO_SYMLINKS");
        let known = below || null || shown.iter().chain(&prepared).any(|known| known == path);
        assert!(own.contains(&path) || path == program || known, "{line}");
    }
}

/// M9: filesystem types.
#[test]
fn only_harmless_kinds_of_filesystem_are_mounted() {
    let shown = shown();
    for line in trace("fsopen,mount") {
        let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        let below = strings.get(1).is_some_and(|target| target.strip_prefix('/') == Some(strings[0]));
        let bind = (strings[0] == "." || below)
            && shown.iter().any(|path| path == strings[1])
            && line.contains("NULL, MS_BIND|MS_REC, NULL");
        let kind = if line.starts_with("mount(") { strings.get(2) } else { strings.first() };
        assert!(bind || kind.is_some_and(|kind| ["tmpfs", "proc", "devpts"].contains(kind)), "{line}");
    }
}

/// A newer kernel needs one call where an older one needs two.
#[test]
fn an_instance_is_the_same_on_an_older_kernel() {
    // Values that always differ are left out: mount IDs, device numbers and peer groups.
    let script = "awk '{ print $4, $5, $6, $9, $10 }' /proc/self/mountinfo";
    let words = args!["run", "-m", "/usr", "/mnt", "sh", "-c", script];
    let now = strace(args!["-o", "/dev/null"], words.clone()).ok();
    let then = strace_under(older_kernel(), args!["-o", "/dev/null"], selfdock(), words).ok();
    assert!(now.contains("/mnt ro,nosuid,nodev"), "{now}");
    assert_eq!(now, then);
}

/// C4: descriptor theft.
#[test]
fn nothing_is_open_when_the_ids_are_given_up() {
    let calls = trace("open,openat,openat2,socket,pidfd_open,epoll_create1,setresuid");
    let at = calls.iter().position(|call| call.starts_with("setresuid(")).expect("the ids are given up");
    assert_eq!(calls[..at], [] as [String; 0]);
}

/// K2: mask race.
#[test]
fn a_device_of_an_image_that_is_a_link_covers_nothing() {
    let image = user_image();
    symlink("/proc/sys", image.path().join("dev/null")).unwrap();
    let seen = Cmd::run(args!["--root", image.path()]).sh("ls -d /proc/sys/kernel; echo x > /dev/null").ok();
    assert_eq!(seen, "/proc/sys/kernel");
    Cmd::run(args!["--root", image.path(), "--mask", "/dev/null", "true"]).refused("own");
}

/// F3: fault injection; C2: incomplete drop.
#[rstest]
fn a_call_that_falsely_reports_dropped_rights_is_detected(
    #[values("setresuid", "capset")] name: &str,
    #[values(1, 2, 3, 4)] when: usize,
) {
    let inject = format!("inject={name}:retval=0:when={when}");
    let words = args!["run", bin("probe"), "status", "Uid", "CapPrm", "CapEff"];
    let ran = strace(args!["-e", inject, "-e", "signal=none", "-o", "/dev/null"], words).output();
    let uid = nix::unistd::getuid();
    let harmless =
        format!("Uid: {uid} {uid} {uid} {uid}\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\n");
    if ran.status.code() == Some(125) {
        // The supervisor detects this when the command has just started, and kills it.
        assert!(ran.stdout.is_empty() || ran.stdout == harmless);
        assert!(ran.stderr.lines().all(|line| line.starts_with("selfdock: ")));
    } else {
        assert_eq!(ran.ok() + "\n", harmless);
    }
}

/// C2: incomplete drop. The ids are read back from the kernel wherever they matter: by the supervisor after the
/// change, in a user namespace, and after everything is given up.
#[rstest]
#[case::when_they_were_changed(&[], 2)]
#[case::when_all_is_given_up(&[], 3)]
#[case::before_a_user_namespace(&["--unprivileged"], 2)]
#[case::in_a_user_namespace(&["--unprivileged"], 3)]
#[case::when_all_is_given_up_there(&["--unprivileged"], 4)]
fn ids_are_read_back(
    #[case] options: &[&str],
    #[case] when: usize,
    #[values("setfsuid", "setfsgid")] call: &str,
) {
    let inject = format!("inject={call}:retval=12345:when={when}");
    let words = options.iter().map(Into::into).chain(args!["run", bin("nothing")]);
    let ran = strace(args!["-e", inject, "-e", "signal=none", "-o", "/dev/null"], words).output();
    ran.refused("the ids are not the caller's");
}

/// C2: incomplete drop. The call that fails is named, also where a later check would find the same. Only the first
/// process is traced: in the others another call would fail at the same number, and either message may come first.
#[rstest]
#[case::the_ids("tester", "setresuid", "become the caller")]
#[case::capabilities("tester", "capset", "set capabilities")]
#[case::the_flag_that_keeps_them("tester", "prctl", "stop keeping capabilities")]
#[case::the_rights_of_root("root", "prctl", "end the rights of root")]
fn what_cannot_be_given_up_is_named(#[case] user: &str, #[case] call: &str, #[case] what: &str) {
    let is_named = |when: u32| {
        let inject = format!("inject={call}:error=EPERM:when={when}");
        let strace = args!["strace", "-qq", "-u", user, "-e", inject, "-e", "signal=none", "-o", "/dev/null"];
        let start = args![fixture("setuid/probe"), "as-root"].into_iter().chain(strace);
        let ran = Cmd::program(start.chain(args![selfdock(), "run", bin("nothing")])).output();
        let is_it = ran.stderr.starts_with(&format!("selfdock: {what}: operation not permitted (EPERM)"));
        is_it && ran.status.code() == Some(125)
    };
    assert!((1..=12).any(is_named));
}

/// The calls of the first process in the first two programs: selfdock and the second program.
fn calls_of_first(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let first = text.split_once(' ').expect("a line").0;
    let of_first = text.lines().filter_map(|line| Some(line.strip_prefix(first)?.trim().to_owned()));
    let mut programs = 0;
    of_first
        .take_while(|call| {
            programs += usize::from(call.starts_with("execve("));
            programs <= 2
        })
        .collect()
}

/// C2: incomplete drop; C7: unprivileged features in the set-uid program. What makes something around an instance
/// gives up its rights before it starts selfdock there, or does not start it.
#[rstest]
#[case::a_copy("tester", "", "-o /etc/skel /srv")]
#[case::a_copy_of_root("root", "", "-o /etc/skel /srv")]
#[case::a_copy_of_root_without_new_privileges("root", "setpriv --no-new-privs", "-o /etc/skel /srv")]
#[case::a_namespace_of_root("tester", "", "--fake-root")]
#[case::a_network("tester", "", "--net user")]
fn nothing_starts_inside_what_cannot_give_up_its_rights(
    #[case] user: &str,
    #[case] launcher: &str,
    #[case] options: &str,
) {
    let (machine, dir) = (Machine::new(), scratch());
    let file = dir.path().join("trace");
    let run = |trace: &[OsString]| {
        let launcher = launcher.split_whitespace().map(OsString::from);
        let trace =
            args!["-u", user, "-e", "signal=none", "-o", &file].into_iter().chain(trace.iter().cloned());
        let words = args![selfdock()].into_iter().chain(options.split(' ').map(OsString::from));
        let words = words.chain(args!["run", bin("nothing")]);
        strace_as_root(machine.launcher_as(0).into_iter().chain(launcher), trace, words).output()
    };
    assert!(run(&args!["-e", "trace=capset,capget,getresuid,execve"]).status.success());
    let calls = calls_of_first(&file);
    for call in ["capset", "capget", "getresuid"] {
        let count = calls.iter().filter(|line| line.starts_with(&format!("{call}("))).count();
        assert!(count > 2, "{calls:?}");
        for when in 1..=count {
            let inject = format!("inject={call}:error=EPERM:when={when}");
            let ran = run(&args!["-e", format!("trace={call}"), "-e", inject]);
            assert_eq!(ran.status.code(), Some(125), "{call} {when} of {count}: {}", ran.stderr);
        }
    }
}

/// C1: capabilities, securebits. Root keeps more with `no_new_privs`, where an exec gives it nothing.
#[rstest]
#[case::before_the_second_program("--help")]
#[case::around_an_instance("-o /etc/skel /srv run true")]
fn root_that_cannot_ask_for_new_privileges_keeps_nothing(#[case] words: &str) {
    let dir = scratch();
    let file = dir.path().join("trace");
    let run = |inject: &[OsString]| {
        let words = args![selfdock()].into_iter().chain(words.split(' ').map(OsString::from));
        let trace = args!["-e", "trace=prctl,capset,execve", "-e", "signal=none", "-o", &file];
        let ran = strace_as_root([], trace.into_iter().chain(inject.iter().cloned()), words).output();
        // The calls of other processes fail as well.
        assert!(ran.status.success() || !inject.is_empty(), "{}", ran.stderr);
        calls_of_first(&file)
    };
    let all = run(&[]);
    let prctl = all.iter().filter(|call| call.starts_with("prctl("));
    let asking = prctl.enumerate().filter(|(_, call)| call.starts_with("prctl(PR_GET_NO_NEW_PRIVS"));
    let mut found = 0;
    for (at, _) in asking {
        let calls = run(&args!["-e", format!("inject=prctl:error=EINVAL:when={}", at + 1)]);
        let after = calls.iter().skip_while(|call| !call.starts_with("prctl(PR_GET_NO_NEW_PRIVS"));
        let mut after = after.skip_while(|call| !call.contains("(INJECTED)"));
        let Some(set) = after.find(|call| call.starts_with("capset(")) else { continue };
        let keeps_none = ["permitted=0,", "permitted=1<<CAP_SETFCAP,"].iter().any(|kept| set.contains(kept));
        assert!(set.contains("effective=0,") && keeps_none, "{calls:?}");
        found += 1;
    }
    assert!(found > 0, "{all:?}");
}

/// C1: capabilities, securebits. The same holds for the flags by which a process keeps capabilities, or gets root's
/// again.
#[rstest]
fn securebits_are_read_back(#[values("tester", "root")] user: &str) {
    const KEEP_CAPS: u32 = 16;
    let found = (1..=12).filter(|when| {
        let inject = format!("inject=prctl:retval={KEEP_CAPS}:when={when}");
        let options = args!["-u", user, "-e", inject, "-e", "signal=none", "-o", "/dev/null"];
        let ran = strace_as_root([], options, args![selfdock(), "run", bin("nothing")]).output();
        ran.status.code() == Some(125) && ran.stderr.contains("the kernel would still keep capabilities")
    });
    assert!(found.count() > 0);
}

/// C1: capabilities, securebits.
#[test]
fn rights_that_root_only_seems_to_lose_are_detected() {
    let found = (1..=12).filter(|when| {
        let inject = format!("inject=prctl:retval=0:when={when}");
        let options = args!["-e", inject, "-e", "signal=none", "-o", "/dev/null"];
        let script = "setpriv --dump | grep Securebits";
        let ran = strace_as_root([], options, args![selfdock(), "run", "sh", "-c", script]).output();
        match ran.status.code() {
            Some(125) => true,
            _ => {
                assert_eq!(ran.stdout, "Securebits: noroot,noroot_locked\n");
                false
            }
        }
    });
    assert!(found.count() > 0);
}

/// C1: capabilities, securebits. However slow the other processes of selfdock are, a command starts after they have
/// given up their rights. The last capset(2) of a supervisor gives up all. Only the keeper ignores a signal.
#[rstest]
#[case::supervisor("capset:when=3", "run")]
#[case::supervisor_in_a_user_namespace("capset:when=4", "--unprivileged run")]
#[case::supervisor_of_a_joiner("capset:when=3", "enter")]
#[case::keeper("rt_sigaction:when=1", "run")]
#[case::keeper_in_a_user_namespace("rt_sigaction:when=1", "--unprivileged run")]
fn a_command_waits_until_the_others_have_given_up_their_rights(#[case] slow: &str, #[case] words: &str) {
    let instance = crate::support::instance([]);
    let mut words: Vec<OsString> = words.split(' ').map(Into::into).collect();
    if words == ["enter"] {
        words.extend(args!["--own-cgroup", instance.pid().to_string()]);
    }
    let dir = scratch();
    let file = dir.path().join("trace");
    let delay = format!("inject={slow}:delay_enter=300000");
    let options = args!["-e", "trace=capset,execve,rt_sigaction,close_range", "-e", delay, "-o", &file];
    assert!(strace(options, words.into_iter().chain(args![bin("nothing")])).output().status.success());
    let text = fs::read_to_string(file).unwrap();
    let (supervisor, _) = text.split_once(' ').expect("a line");
    let last =
        |is_it: &dyn Fn(&str) -> bool| text.lines().collect::<Vec<_>>().iter().rposition(|line| is_it(line));
    let start = last(&|line| line.contains("execve(") && line.contains("nothing"));
    let end = match slow.starts_with("capset") {
        true => last(&|line| line.starts_with(supervisor) && line.contains("capset")),
        false => last(&|line| line.contains("close_range(0, 4294967295")),
    };
    assert!(end.is_some() && end < start, "{text}");
}

/// C7: unprivileged features in the set-uid program; C2: incomplete drop.
#[rstest]
fn rights_that_cannot_be_dropped_are_not_handed_over(#[values("ps", "--help", "doctor")] word: &str) {
    let mut refusals = 0;
    for when in 1..=2 {
        let inject = format!("inject=capset:retval=0:when={when}");
        let options = args!["-e", inject, "-e", "signal=none", "-o", "/dev/null"];
        let ran = strace_under([], options, fixture("replaced/bin/selfdock"), args![word]).output();
        // Whichever call drops the privilege, the program that is started has none.
        if ran.status.code() == Some(125) {
            ran.refused("capabilities");
            refusals += 1;
        } else {
            assert!(ran.stdout.contains("CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"));
        }
    }
    assert!(refusals > 0);
}

/// I5: signals, umask; S6: first moments. Even a stopped supervisor can be ended meanwhile.
#[test]
fn a_signal_ends_what_is_still_being_built() {
    // Each entry of a directory that gets a mount point becomes a mount, so this takes long.
    let dirs: Vec<_> = (0..3).map(|_| scratch()).collect();
    for dir in &dirs {
        fs::write(dir.path().join("first"), "").unwrap();
        (0..4000)
            .for_each(|n| fs::hard_link(dir.path().join("first"), dir.path().join(n.to_string())).unwrap());
    }
    let slow = |options: &[&str]| {
        let maps = dirs.iter().flat_map(|dir| args!["-m", "/etc/hostname", dir.path().join("new")]);
        Cmd::run(options.iter().map(Into::into).chain(maps).chain(args!["true"]))
    };
    let takes = || {
        let start = Instant::now();
        slow(&[]).ok();
        start.elapsed()
    };
    let whole = takes();
    let signals = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
    // The harness blocks these signals, to clean up when they come; and blocked signals stay blocked.
    signals.into_iter().collect::<SigSet>().thread_unblock().unwrap();
    let options: [&[&str]; 2] = [&[], &["--report", "/dev/null"]];
    for (signal, options) in signals.into_iter().flat_map(|signal| options.map(|options| (signal, options))) {
        let ends = || {
            let mut building = slow(options).spawn();
            let mut inside = Vec::new();
            wait_until("an instance is being built", || {
                inside = children(building.pid());
                !inside.is_empty()
            });
            let start = Instant::now();
            building.signal(signal);
            assert_eq!(building.wait().signal(), Some(signal as i32));
            let took = start.elapsed();
            wait_until("the child is gone", || !is_alive(inside[0]));
            took
        };
        // A machine that is busy for a moment delays the end as well. A signal that waits for the end of the building
        // takes as long as that each time.
        let is_soon = (0..5).any(|_| ends() < whole.min(takes()) / 2);
        assert!(is_soon, "{signal}: five times more than half of {whole:?}");
    }
}

/// F1: killed half-way.
#[test]
fn a_kill_at_any_system_call_leaves_nothing() {
    let files = || {
        let names = fs::read_dir("/tmp").unwrap().flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().contains("selfdock")).collect::<Vec<_>>()
    };
    let before = (host_mounts(), files());
    let total = trace("all").len();
    let step = (total / 25).max(1);
    for when in (1..=total).step_by(step) {
        let inject = format!("inject=all:signal=KILL:when={when}");
        // `output` checks that no processes are left.
        strace(args!["-e", inject, "-e", "signal=none", "-o", "/dev/null"], args!["run", "sleep", "0"])
            .output();
    }
    assert_eq!((host_mounts(), files()), before);
}
