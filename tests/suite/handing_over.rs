//! handing-over: Everything that needs no privilege is done by a program that has none.

use crate::support::{Cmd, about, args, copy_program, fixture, no_capability, own_status, scratch, selfdock};
use crate::volumes::user_image;
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn replaced() -> OsString {
    fixture("replaced/bin/selfdock").into()
}

fn line<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).split_whitespace().collect()
}

/// C7: unprivileged features in the set-uid program.
#[rstest]
#[case::help(&["--help"])]
#[case::ps(&["ps", "--json"])]
#[case::doctor(&["doctor"])]
#[case::explain(&["--explain", "run", "true"])]
#[case::unknown_option(&["run", "--nope"])]
#[case::wrong_value(&["run", "--net", "some", "true"])]
#[case::wrong_mount(&["run", "-v", "/etc", "/proc/x", "true"])]
#[case::wrong_descriptor(&["run", "--keep-fd", "99", "true"])]
#[case::wrong_pid(&["enter", "0"])]
#[case::above_a_limit(&["enter", "--rlimit", "nofile=unlimited", "1"])]
fn the_second_program_has_no_privilege_at_all(
    #[case] words: &[&str],
    #[values(&[][..], &["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"])] caller: &[&str],
) {
    let launcher = args![fixture("filecap/setpriv")].into_iter().chain(caller.iter().map(Into::into));
    let words: Vec<OsString> = words.iter().map(Into::into).collect();
    let told = Cmd::program(launcher.chain([replaced()]).chain(words.clone())).ok();
    let none = no_capability(&["CapInh", "CapPrm", "CapEff"]);
    assert!(told.replace('\t', " ").contains(&none), "{told}");
    assert_eq!(line(&told, "CapAmb:"), ["0000000000000000"]);
    for name in ["Uid", "Gid", "Groups", "NoNewPrivs", "CapBnd"] {
        assert_eq!(
            line(&told, &format!("{name}:")).join(" "),
            own_status(&[name])[name.len() + 2..],
            "{name}"
        );
    }
    let seen: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("word ")).collect();
    let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
    assert_eq!(seen, [&["set-uid", replaced().to_str().unwrap()], &words[..]].concat());
}

/// C7: unprivileged features in the set-uid program.
#[test]
fn signals_descriptors_and_environment_are_as_the_caller_had_them() {
    let script = "exec env --block-signal=USR1 -i A=1 SELFDOCK_TEST_RUN=$SELFDOCK_TEST_RUN $0 ps 9</etc 2>&-";
    let told = Cmd::program(args!["bash", "-c", script, replaced()]).ok();
    let mask = |word: &str| u64::from_str_radix(word, 16).unwrap();
    let ours = mask(own_status(&["SigBlk"]).split(' ').next_back().unwrap());
    assert_eq!(mask(line(&told, "SigBlk:")[0]), ours | 1 << 9);
    assert!(told.contains("\nfd 9 /etc\n") && !told.contains("eventpoll"), "{told}");
    assert!(told.contains("\nvariable A\n") && !told.contains("\nvariable PATH\n"), "{told}");
}

/// C7: unprivileged features in the set-uid program. A line that the second program rewrites runs as if the plain
/// options had been typed.
#[rstest]
fn a_rewritten_command_line_runs_as_the_plain_one(#[values(&[][..], &["--unprivileged"])] how: &[&str]) {
    let script = "exec env --block-signal=USR1 --ignore-signal=USR2 -i A=1 PATH=/usr/bin:/bin \
                  SELFDOCK_TEST_RUN=$SELFDOCK_TEST_RUN \"$@\" 9</etc 2>&-";
    let look = "grep -E '^(Sig[BIC]|Cap|NoNew|Uid|Gid|Groups)' /proc/self/status; ulimit -a; cat /proc/mounts
                for fd in 0 1 2 9; do test -e /proc/self/fd/$fd && echo $fd; done; env | grep -v ^SELFDOCK";
    let seen = |words: &[&str]| {
        let program = args!["bash", "-c", script, "sh", selfdock()];
        let words = [how, words, &["--keep-fd", "9", "run", "sh", "-c", look]].concat();
        Cmd::program(program.into_iter().chain(words.iter().map(Into::into))).ok()
    };
    let plain = seen(&["-m", "/etc", "/mnt"]);
    assert!(plain.contains("\nA=1\n") && plain.contains("\n9\n"), "{plain}");
    // A caller of the suite may have ignored further signals.
    let without = args!["bash", "-c", script, "sh", "grep", "SigIgn", "/proc/self/status"];
    let ignored = Cmd::program(without).ok();
    assert!(ignored.ends_with("800") && plain.contains(&ignored), "{ignored}{plain}");
    assert_eq!(seen(&["-v", "/etc:/mnt:ro"]), plain);
    assert_eq!(Cmd::run(args!["-v", "/etc:/mnt", "sh", "-c", "exit 7"]).output().exits(7).stderr, "");
}

/// C7: unprivileged features in the set-uid program.
#[test]
fn the_second_program_is_installed_without_privilege() {
    let meta = fs::metadata(about()).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (0, 0, 0o755));
    assert_eq!(Cmd::program(args!["getcap", about()]).ok(), "");
    let control = Cmd::program(args!["getcap", selfdock()]).ok();
    assert!(control.contains("cap_sys_admin"), "{control}");
}

#[test]
fn a_missing_second_program_is_reported_with_a_remedy() {
    let dir = scratch();
    let copy = dir.path().join("selfdock");
    copy_program(selfdock(), &copy);
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let ran = Cmd::program(args![&copy, "--help"]).refused("selfdock-about");
    assert!(
        ran.stderr.contains("cargo xtask install") && ran.stderr.contains("usage: selfdock"),
        "{}",
        ran.stderr
    );
    // Everything else works without it.
    assert!(Cmd::program(args![&copy, "--version"]).ok().starts_with("selfdock "));
    Cmd::program(args![&copy, "walk"]).refused("usage: selfdock run CMD");
    copy_program(about(), dir.path().join("selfdock-about"));
    assert!(Cmd::program(args![&copy, "--help"]).ok().contains("Usage"));
}

#[test]
fn the_message_asks_for_proc_if_it_is_missing() {
    let start = args![fixture("setuid/probe"), "as-root", "unshare", "--mount", "sh", "-c"];
    let script = args!["umount -l /proc; exec \"$0\" doctor", selfdock()];
    Cmd::program(start.into_iter().chain(script)).refused("is /proc mounted?");
}

/// C7: unprivileged features in the set-uid program.
#[test]
fn a_second_program_of_somebody_else_is_not_started() {
    let image = user_image();
    let place = image.path().join(about().strip_prefix("/").unwrap());
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    copy_program(about(), &place);
    Cmd::run(args!["--root", image.path(), selfdock(), "--help"]).refused("trusted");
    let dir = scratch();
    let (copy, open) = (dir.path().join("selfdock"), dir.path().join("selfdock-about"));
    copy_program(selfdock(), &copy);
    copy_program(about(), &open);
    for (program, mode) in [(&copy, 0o755), (&open, 0o777)] {
        fs::set_permissions(program, fs::Permissions::from_mode(mode)).unwrap();
    }
    Cmd::program(args![&copy, "--help"]).refused("trusted");
}

#[test]
fn the_second_program_works_in_an_instance_too() {
    assert!(Cmd::run(args![selfdock(), "run", selfdock(), "--help"]).ok().contains("Usage"));
}

#[test]
fn in_another_root_filesystem_the_second_program_is_beside_selfdock() {
    let seen = |words: [&str; 1]| {
        let nested = args![selfdock()].into_iter().chain(words.iter().map(std::ffi::OsString::from));
        Cmd::run(args!["--root", fixture("busybox")].into_iter().chain(nested)).ok()
    };
    assert!(seen(["--help"]).contains("Usage"));
    assert!(seen(["doctor"]).contains("nest 31 levels deep"));
}

#[test]
fn the_second_program_does_nothing_by_itself() {
    Cmd::program(args![about()]).refused("selfdock");
    Cmd::program(args![about(), "ps"]).refused("selfdock");
    Cmd::program(args![about(), "set-uid", selfdock(), "run", "true"]).refused("selfdock");
}
