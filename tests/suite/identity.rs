//! identity: A command runs with the caller's user, groups and no capability, and owns what it makes.

use crate::faults::{older_kernel, strace_as_root};
use crate::support::machine::Machine;
use crate::support::{
    Cmd, args, children, command_of, copy_program, fixture, instance, keeper_of, kernel, nested,
    no_capability, on_a_host, own_status, scratch, selfdock, status_of, wait_until,
};
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;

const IDS: [&str; 4] = ["status", "Uid", "Gid", "Groups"];
const CAPABILITIES: [&str; 4] = ["CapInh", "CapPrm", "CapEff", "CapAmb"];

/// C2: incomplete drop.
#[rstest]
#[case::once(0)]
#[case::nested(1)]
#[case::deep(15)]
fn all_four_ids_and_the_groups_are_the_callers(#[case] depth: usize) {
    let inside = Cmd::run(nested(depth, [])).probe(&IDS).ok();
    assert_eq!(inside, own_status(&IDS[1..]));
}

/// C2: incomplete drop. Only ids of the user are given up, so a group must not be gained.
#[rstest]
#[case::set_gid("2755")]
#[case::set_uid_and_set_gid("6755")]
fn a_program_that_is_installed_set_gid_refuses(#[case] mode: &str) {
    let dir = scratch();
    let copy = dir.path().join("selfdock");
    copy_program(selfdock(), &copy);
    let script = "chown 0:0 \"$1\" && chmod $0 \"$1\"";
    Cmd::program(args![fixture("setuid/probe"), "as-root", "sh", "-c", script, mode, &copy]).ok();
    Cmd::program(args![&copy, "run", "true"]).refused("start: the program is installed set-gid");
}

/// What the processes of a command line set as their capabilities: those in effect, of those that stay permitted; and
/// when they read their ids back: `ids`. One line for each process, sorted, with `>` between its steps.
fn capability_steps(user: &str, launcher: &[OsString], words: &[OsString]) -> String {
    let dir = scratch();
    let file = dir.path().join("trace");
    let trace = args!["-u", user, "-e", "trace=capset,getresuid", "-e", "signal=none", "-o", &file];
    strace_as_root(
        launcher.iter().cloned(),
        trace,
        args![selfdock()].into_iter().chain(words.iter().cloned()),
    )
    .output();
    let text = fs::read_to_string(file).unwrap();
    let mut lines: Vec<String> = steps_of(&text).into_iter().map(|(_, steps)| steps.join(" > ")).collect();
    lines.sort();
    lines.join("\n")
}

/// The steps of each process of a trace, by its PID.
fn steps_of(trace: &str) -> Vec<(String, Vec<String>)> {
    let mut processes: Vec<(String, Vec<String>)> = Vec::new();
    let is_step = |line: &&str| line.contains("capset(") || line.contains("getresuid(");
    for line in trace.lines().filter(is_step) {
        let (pid, call) = line.split_once(' ').unwrap();
        let set = |name: &str| {
            let (_, set) = call.split_once(name).unwrap_or_default();
            let set = set.split([',', '}']).next().unwrap().to_lowercase();
            ["1<<cap_", "sys_", "checkpoint_"].iter().fold(set, |set, word| set.replace(word, ""))
        };
        let step = match ["effective=", "permitted=", "inheritable="].map(set) {
            _ if call.contains("getresuid(") => "ids".to_owned(),
            [effective, permitted, inheritable] if inheritable != "0" => {
                format!("{effective} of {permitted} and for others {inheritable}")
            }
            [effective, permitted, _] if effective == "0" && permitted == "0" => "none".to_owned(),
            [effective, permitted, _] if effective == permitted => format!("all of {permitted}"),
            [effective, permitted, _] => format!("{effective} of {permitted}"),
        };
        match processes.iter_mut().find(|(process, _)| process == pid) {
            Some((_, steps)) => {
                steps.push(step);
                // Files of the caller and of images are opened with none in effect, however many.
                if let [.., a, b, c, d] = &steps[..]
                    && (a, b) == (c, d)
                    && a != b
                    && b != "ids"
                    && a != "ids"
                {
                    steps.truncate(steps.len() - 2);
                }
            }
            None => processes.push((pid.to_owned(), vec![step])),
        }
    }
    processes
}

/// The steps on a kernel before Linux 6.11: the process that builds reads the list of mounts, with none in effect.
fn on_an_older_kernel(line: &str) -> String {
    match line.split_once(" > ") {
        Some((first, rest)) if !first.contains("restore") && !rest.starts_with("0 of ") => {
            let set = first.strip_prefix("all of ").map(|set| format!("0 of {set} > {first} > "));
            format!("{first} > {}{rest}", set.unwrap_or_default())
        }
        _ => line.to_owned(),
    }
}

/// C1: capabilities, securebits; C7: unprivileged features in the set-uid program. The processes are the one that
/// builds, the supervisor and the keeper.
#[rstest]
#[case::run("tester", "", "", &[
    "all of chroot|admin > none > ids",
    "ids > ids > all of chroot|admin|restore > chroot|restore of chroot|admin|restore > none > ids",
    "none > ids",
])]
#[case::own_network("tester", "", "--net none", &[
    "all of net_admin|chroot|admin > none > ids",
    "all of net_admin|chroot|admin|restore > none > ids",
    "ids > ids > all of net_admin|chroot|admin|restore > chroot|restore of net_admin|chroot|admin|restore > \
     none > ids",
])]
#[case::image("tester", "", "--root IMAGE -m /usr /usr", &[
    "all of chroot|admin > 0 of chroot|admin > all of chroot|admin > none > ids",
    "ids > ids > all of chroot|admin|restore > chroot|restore of chroot|admin|restore > none > ids",
    "none > ids",
])]
#[case::unprivileged("tester", "", "--unprivileged", &[
    "all of chroot|admin > none > ids",
    "ids > ids > none > ids > all of chroot|admin|restore > chroot|restore of chroot|admin|restore > none > ids",
    "none > ids",
])]
#[case::without_enough("tester", "setpriv --bounding-set -checkpoint_restore", "", &[
    "all of chroot|admin > none > ids",
    "ids > ids > none > ids > all of chroot|admin|restore > chroot|restore of chroot|admin|restore > none > ids",
    "none > ids",
])]
#[case::overlay("tester", "", "-o / /", &[
    "all of chroot|admin > none > ids",
    "ids > ids > none > ids > none > ids > \
     all of chown|dac_override|fowner|fsetid|chroot|admin|restore > none > ids > ids > \
     all of chroot|admin|restore > chroot|restore of chroot|admin|restore > none > ids",
    "none > ids",
])]
#[case::root_overlay("root", "", "-o / /", &[
    "all of setpcap|chroot|admin > all of setpcap|chroot|admin > none > ids",
    "ids > 0 of setpcap|net_admin|chroot|admin|setfcap|restore > 0 of setfcap > ids > \
     0 of setpcap|net_admin|chroot|admin|setfcap|restore > 0 of setfcap > all of setfcap > ids > \
     all of chown|dac_override|fowner|fsetid|setpcap|chroot|admin|restore > none > ids > ids > \
     0 of setpcap|net_admin|chroot|admin|setfcap|restore > all of setpcap|chroot|admin|restore > \
     chroot|restore of setpcap|chroot|admin|restore > all of setpcap|chroot|admin|restore > none > ids",
    "none > ids",
])]
#[case::root_overlay_without_new_privileges("root", "setpriv --no-new-privs", "-o / /", &[
    "all of setpcap|chroot|admin > all of setpcap|chroot|admin > none > ids",
    "ids > 0 of setpcap|net_admin|chroot|admin|setfcap|restore > \
     0 of setpcap|net_admin|chroot|admin|setfcap|restore > ids > \
     0 of setpcap|net_admin|chroot|admin|setfcap|restore > 0 of setpcap|net_admin|chroot|admin|setfcap|restore > \
     all of setfcap > ids > all of chown|dac_override|fowner|fsetid|setpcap|chroot|admin|restore > \
     0 of chown|dac_override|fowner|fsetid|setpcap|chroot|admin|restore > ids > ids > \
     0 of setpcap|chroot|admin|restore > all of setpcap|chroot|admin|restore > \
     chroot|restore of setpcap|chroot|admin|restore > all of setpcap|chroot|admin|restore > none > ids",
    "none > ids",
])]
#[case::root("root", "", "", &[
    "all of setpcap|chroot|admin > all of setpcap|chroot|admin > none > ids",
    "ids > 0 of setpcap|net_admin|chroot|admin|setfcap|restore > all of setpcap|chroot|admin|restore > \
     chroot|restore of setpcap|chroot|admin|restore > all of setpcap|chroot|admin|restore > none > ids",
    "none > ids",
])]
#[case::root_unprivileged("root", "", "--unprivileged", &[
    "all of setpcap|chroot|admin > all of setpcap|chroot|admin > none > ids",
    "ids > 0 of setpcap|net_admin|chroot|admin|setfcap|restore > 0 of setfcap > all of setfcap > ids > \
     all of setpcap|chroot|admin|restore > chroot|restore of setpcap|chroot|admin|restore > \
     all of setpcap|chroot|admin|restore > none > ids",
    "none > ids",
])]
fn capabilities_are_given_up_step_by_step(
    #[case] user: &str,
    #[case] launcher: &str,
    #[case] options: &str,
    #[case] wanted: &[&str],
    #[values(false, true)] is_older: bool,
) {
    let words = options.split_whitespace().chain(["run", "true"]);
    let words = words.map(|word| if word == "IMAGE" { fixture("busybox").into() } else { word.into() });
    let mut wanted: Vec<String> = wanted.iter().map(|line| (*line).to_owned()).collect();
    let mut launcher: Vec<OsString> = launcher.split_whitespace().map(Into::into).collect();
    if is_older || kernel() < (6, 11) {
        launcher.splice(..0, older_kernel());
        wanted = wanted.iter().map(|line| on_an_older_kernel(line)).collect();
    }
    assert_eq!(capability_steps(user, &launcher, &words.collect::<Vec<_>>()), wanted.join("\n"));
}

/// C1: capabilities, securebits; C7: unprivileged features in the set-uid program. What makes something around an
/// instance holds what that takes, and hands on no more than selfdock itself may hold.
#[rstest]
#[case::a_namespace_of_root(
    "--fake-root",
    "ids > ids > none > ids > none > ids > \
     all of chown|dac_override|fowner|fsetid|setgid|setuid|setpcap|chroot|admin|setfcap|restore > none > ids"
)]
#[case::a_network(
    "--net user",
    "ids > ids > none > ids > none > ids > \
     all of chown|dac_override|fowner|fsetid|net_admin|chroot|admin|restore > \
     KEPT of KEPT and for others KEPT > ids"
)]
fn around_an_instance_capabilities_are_given_up_step_by_step(#[case] options: &str, #[case] wanted: &str) {
    let (machine, dir) = (Machine::new(), scratch());
    let file = dir.path().join("trace");
    let trace = args!["-u", "tester", "-e", "trace=capset,getresuid", "-e", "signal=none", "-o", &file];
    let words = args![selfdock()].into_iter().chain(options.split(' ').map(Into::into));
    strace_as_root(machine.launcher_as(0), trace, words.chain(args!["run", "true"])).output().ok();
    // The others are those that serve it. selfdock itself follows in the same process.
    let first = steps_of(&fs::read_to_string(file).unwrap()).swap_remove(0).1.join(" > ");
    let wanted = wanted.replace("KEPT", "net_admin|chroot|admin|restore");
    assert!(first.starts_with(&(wanted.clone() + " > ids > ")), "{first}\n{wanted}");
}

/// C3: ptrace window. The supervisor and the keeper share their memory with the process that builds. Nobody with the
/// same rights looks into it, neither the user nor a root without capabilities.
#[rstest]
#[case::user(args![])]
#[case::root(args![fixture("setuid/probe"), "as-root", "setpriv", "--bounding-set", "-all"])]
fn the_processes_of_selfdock_are_closed_to_their_user<const N: usize>(
    #[case] reader: [OsString; N],
    #[values("", "--unprivileged")] mode: &str,
) {
    // selfdock itself has root's capabilities.
    let words = reader.iter().take(2).cloned().chain(args![selfdock()]);
    let words = words.chain(mode.split_whitespace().map(Into::into)).chain(args!["run", "cat"]);
    let mut instance = Cmd::program(words).spawn().that_repeats();
    let read = |pid: i32| {
        let file = args!["cat", format!("/proc/{pid}/environ")];
        Cmd::program(reader.iter().cloned().chain(file)).output().stderr
    };
    let seen = [instance.pid(), keeper_of(instance.pid()), command_of(instance.pid())].map(read);
    // This test could not end a process of root.
    instance.close();
    let is_closed = seen.each_ref().map(|error| error.contains("Permission denied"));
    assert_eq!(is_closed, [true, true, false], "{seen:?}");
}

/// The second program is started without privilege; by root, with root's own alone, which it has at exec anyway.
#[rstest]
#[case::user("tester", "", "ids > ids > none > ids > none")]
#[case::root("root", "", "ids > 0 of KEPT > 0 of setfcap > ids > 0 of KEPT > 0 of setfcap")]
#[case::root_without_new_privileges(
    "root",
    "setpriv --no-new-privs",
    "ids > 0 of KEPT > 0 of KEPT > ids > 0 of KEPT > 0 of KEPT"
)]
fn capabilities_are_given_up_before_another_program_starts(
    #[case] user: &str,
    #[case] launcher: &str,
    #[case] wanted: &str,
) {
    let wanted = wanted.replace("KEPT", "setpcap|net_admin|chroot|admin|setfcap|restore");
    let launcher: Vec<OsString> = launcher.split_whitespace().map(Into::into).collect();
    assert_eq!(capability_steps(user, &launcher, &args!["--help"]), wanted);
}

#[rstest]
#[case::set_uid("", &[
    "all of chroot|admin > none > ids",
    "ids > ids > all of chroot|admin > chroot of chroot|admin > none > ids",
    "none",
])]
#[case::unprivileged("--unprivileged", &[
    "all of chroot|admin > none > ids",
    "ids > ids > none > ids > all of chroot|admin > chroot of chroot|admin > none > ids",
    "none",
])]
fn capabilities_of_a_joiner_are_given_up_step_by_step(#[case] options: &str, #[case] wanted: &[&str]) {
    let instance = instance(options.split_whitespace().map(Into::into));
    let words = args!["enter", instance.pid().to_string(), "true"];
    assert_eq!(capability_steps("tester", &[], &words), wanted.join("\n"));
}

/// C1: capabilities, securebits.
#[rstest]
#[case::once(0)]
#[case::nested(1)]
fn a_command_has_no_capability(#[case] depth: usize) {
    let inside = Cmd::run(nested(depth, [])).probe(&[&["status"], &CAPABILITIES[..]].concat()).ok();
    assert_eq!(inside, no_capability(&CAPABILITIES));
}

/// C1: capabilities, securebits.
#[rstest]
#[case::inherited(&["--inh-caps", "+net_raw"])]
#[case::ambient(&["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"])]
#[case::ids_that_do_not_drop_capabilities(&["--securebits", "+no_setuid_fixup"])]
#[case::ids_that_do_not_drop_capabilities_for_good(&["--securebits", "+no_setuid_fixup,+no_setuid_fixup_locked"])]
#[case::root_without_capabilities(&["--securebits", "+noroot"])]
fn a_command_does_not_get_the_callers_capabilities(#[case] options: &[&str]) {
    let launcher = args![fixture("filecap/setpriv")].into_iter().chain(options.iter().map(Into::into));
    let control = Cmd::program(launcher.clone().chain(args!["true"]));
    control.ok();
    let run = Cmd::under(launcher, args!["run"]).probe(&[&["status"], &CAPABILITIES[..]].concat());
    run.output().refused_or(|ran| assert_eq!(ran.ok(), no_capability(&CAPABILITIES)));
}

/// C1: capabilities, securebits.
#[test]
fn the_bounding_set_is_the_callers_and_securebits_are_clean() {
    let bounding = Cmd::run([]).probe(&["status", "CapBnd"]).ok();
    assert_eq!(bounding, own_status(&["CapBnd"]));
    let dump = Cmd::run(args!["setpriv", "--dump"]).ok();
    assert!(dump.contains("Securebits: [none]"), "{dump}");
}

/// C2: incomplete drop.
#[rstest]
#[case::once(0)]
#[case::nested(2)]
fn every_process_of_an_instance_is_the_caller_without_capabilities(#[case] depth: usize) {
    let instance = Cmd::run(nested(depth, [])).sh("echo up; exec cat").spawn();
    instance.line();
    let mut pid = instance.pid();
    for _ in 0..=depth + 1 {
        let process = pid.to_string();
        assert_eq!(status_of(&process, &IDS[1..]), own_status(&IDS[1..]), "process {pid}");
        // The command can be faster than the supervisor, which gives up its own rights after the start.
        wait_until("no process has a capability", || {
            status_of(&process, &CAPABILITIES) == no_capability(&CAPABILITIES)
        });
        let Some(child) = children(pid).first().copied() else { return };
        pid = child;
    }
}

#[test]
fn files_made_in_a_volume_belong_to_the_caller() {
    let dir = scratch();
    let script = "umask 022; cd $1; touch file; mkdir dir; ln -s x link; mkfifo fifo";
    Cmd::run(args!["-v", dir.path(), "/mnt"]).sh(script).arg("sh").arg("/mnt").ok();
    // The same is made by the same script without selfdock.
    let other = scratch();
    Cmd::program(args!["sh", "-c", script, "sh", other.path()]).ok();
    for name in ["file", "dir", "link", "fifo"] {
        let of = |dir: &tempfile::TempDir| fs::symlink_metadata(dir.path().join(name)).unwrap();
        let told = |made: fs::Metadata| (made.uid(), made.gid(), made.mode());
        assert_eq!(told(of(&dir)), told(of(&other)), "{name}");
    }
}

/// `cargo xtask install --group` gives the file these permissions.
#[test]
fn a_program_for_members_of_a_group_is_for_them_alone() {
    let changes = "chgrp 4711 .$SD; chmod 4750 .$SD";
    // setpriv(1) itself has root's rights until it executes something.
    let script =
        "run() { groups=$1; shift; setpriv --reuid=$ME --regid=$MY_GROUP $groups sh -c '\"$@\"' sh \"$@\"; }
        ask='id -G'
        run --groups=4711 $SD run sh -c \"$ask\"; run --groups=4711 $SD run $SD run sh -c 'echo nested'
        run --clear-groups $SD run true; echo $?";
    let ran = on_a_host(changes, script).output();
    let group = nix::unistd::getgid();
    assert!(ran.stdout.ends_with(&format!("{group} 4711\nnested\n126\n")), "{}{}", ran.stdout, ran.stderr);
}

/// The set-uid bit alone gives all capabilities. Only the usual ones stay permitted, from the start on.
#[test]
fn without_file_capabilities_the_set_uid_bit_gives_no_more() {
    let script =
        "strace -u tester -qq -e trace=capset -e signal=none -o /tmp/trace $SD --unprivileged run true
                  head -n 1 /tmp/trace";
    let changes = "setcap -r .$SD; echo tester:x:$ME:$MY_GROUP::/:/bin/sh >> etc/passwd";
    let first = on_a_host(changes, script).ok();
    assert!(first.contains("CAP_SYS_ADMIN") && !first.contains("CAP_SETFCAP"), "{first}");
}

/// Without the set-uid bit its file capabilities are still privilege.
#[test]
fn the_doctor_says_what_the_privilege_consists_of() {
    let doctor = |changes: &str| on_a_host(changes, "me $SD doctor | head -n 1").ok();
    assert!(doctor("").ends_with("is installed set-uid root"));
    assert!(doctor("chmod u-s .$SD").ends_with("without the set-uid bit; 'setcap -r' takes them away"));
    assert!(doctor("chmod u-s .$SD; setcap -r .$SD").contains("has no privilege"));
}
