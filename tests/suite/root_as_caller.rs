//! root-as-caller: In an instance uid 0 has none of root's rights.

use crate::support::{Cmd, about, args, fixture, scratch, selfdock};
use rstest::rstest;
use std::ffi::OsString;

/// `selfdock run`, started by root.
fn run(words: impl IntoIterator<Item = OsString>) -> Cmd {
    let start = args![fixture("setuid/probe"), "as-root", selfdock(), "run"];
    Cmd::program(start.into_iter().chain(words))
}

#[rstest]
#[case::once(args![])]
#[case::nested(args![selfdock(), "run"])]
#[case::in_an_image(args!["--root", fixture("busybox")])]
fn root_has_its_uid_and_no_capability<const N: usize>(#[case] words: [OsString; N]) {
    let seen = run(words).sh("id -u; grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f 2").ok();
    assert_eq!(seen, format!("0{}", "\n0000000000000000".repeat(4)));
}

/// C1: capabilities, securebits. Otherwise a program inside could get root's rights again.
#[rstest]
#[case::once(args![])]
#[case::nested(args![selfdock(), "run"])]
#[case::unprivileged(args!["--unprivileged"])]
fn the_rights_of_root_are_locked_away<const N: usize>(#[case] words: [OsString; N]) {
    let seen = run(words).sh("setpriv --dump | grep Securebits").ok();
    assert_eq!(seen, "Securebits: noroot,noroot_locked");
}

/// The second program maps uid 0 for it, and inside root has no right of root.
#[rstest]
#[case::of_a_directory("-o $DIR /mnt")]
#[case::of_the_image("-o / / -o $DIR /mnt")]
#[case::beside_data("-o $DIR /mnt -m /dev/stdin /mnt/new")]
#[case::without_a_network("-o $DIR /mnt --net none")]
fn root_has_a_copy_to_write_to(
    #[case] options: &str,
    #[values("", "--unprivileged")] mode: &str,
    #[values("", "cp $SD $ABOUT $DIR; SD=$DIR/selfdock", "SD=\"setpriv --no-new-privs $SD\"")]
    another_selfdock: &str,
) {
    const INSIDE: &str =
        "cat /mnt/f; echo new >/mnt/f; cat /mnt/f; id -u; grep CapEff: /proc/self/status | cut -f 2
                          setpriv --dump | grep Securebits";
    let script = format!(
        "DIR=$(mktemp -d); echo old >$DIR/f; touch $DIR/new; {another_selfdock}
         echo data | $SD {mode} {options} run sh -c \"$INSIDE\"; cat $DIR/f; rm -r $DIR"
    );
    let start = args![fixture("setuid/probe"), "as-root", "sh", "-c", script];
    let cmd = Cmd::program(start).env("SD", selfdock()).env("ABOUT", about());
    let seen = cmd.env("INSIDE", INSIDE).output();
    let expected = "old\nnew\n0\n0000000000000000\nSecurebits: noroot,noroot_locked\nold";
    assert_eq!((seen.stdout.trim_end(), &*seen.stderr), (expected, ""));
}

/// selfdock gives up the capabilities by which root can write everywhere.
#[rstest]
#[case::in_a_directory_of_theirs("new")]
#[case::a_directory_of_theirs("own")]
fn root_keeps_no_changes_among_files_of_others(#[case] name: &str) {
    let dir = scratch();
    std::fs::create_dir(dir.path().join("own")).unwrap();
    let kept = dir.path().join(name);
    let words =
        args![fixture("setuid/probe"), "as-root", selfdock(), "--changes", kept, "-o", "/etc", "/mnt/w"];
    let ran = Cmd::program(words.into_iter().chain(args!["run", "true"])).output();
    ran.refused("(EACCES); selfdock gives root no right over what belongs to other users");
}

/// K3: /proc/sys as root.
#[test]
fn every_setting_of_the_kernel_is_read_only() {
    let script = "n=0; for f in $(find /proc/sys /proc/sysrq-trigger /proc/irq /proc/bus /proc/fs -type f -perm /222 \
                  2>/dev/null); do n=$((n + 1)); if (: >> $f) 2>/dev/null; then echo $f; fi; done; echo tried $n";
    let seen = run([]).sh(script).ok();
    let tried: u32 =
        seen.strip_prefix("tried ").unwrap_or_else(|| panic!("writable: {seen}")).parse().unwrap();
    assert!(tried > 100, "{tried}");
}

/// K7: masked /proc.
#[rstest]
#[case::once(args![])]
#[case::in_an_image(args!["--root", fixture("busybox")])]
fn files_without_use_for_root_are_covered<const N: usize>(#[case] words: [OsString; N]) {
    let script = "cd /proc; cat kcore keys key-users timer_list latency_stats 2>/dev/null; ls -A acpi scsi 2>/dev/null \
                  | grep -v -e : -e '^$'; grep -c . cpuinfo | grep -x 0; test -e keys && echo there";
    assert_eq!(run(words).sh(script).ok(), "there");
}

/// K3: /proc/sys as root.
#[test]
fn the_core_pattern_cannot_be_set() {
    let ran = run([]).sh("echo '|/tmp/x' > /proc/sys/kernel/core_pattern").output();
    assert!(ran.stderr.contains("Read-only file system"), "{}", ran.stderr);
}

/// K4: control groups.
#[test]
fn control_groups_are_out_of_reach() {
    let ran =
        run([]).sh("ls -A /sys /sys/devices; find / -name release_agent -o -name cgroup.procs 2>/dev/null");
    assert_eq!(ran.output().stdout.trim(), "/sys:\ndevices\n\n/sys/devices:\nsystem");
    // Nobody can change the visible part of sysfs.
    let ran = run([]).sh("for f in $(find /sys -writable -type f); do echo 1 > $f; done").output();
    assert!(!ran.stderr.contains("Invalid"), "{}", ran.stderr);
}

/// This holds even if the rest of the host's root filesystem is writable.
#[test]
fn build_has_no_sysfs() {
    let words = args![
        fixture("setuid/probe"),
        "as-root",
        selfdock(),
        "--root",
        "/",
        "build",
        "ls",
        "-A",
        "/sys/devices/system"
    ];
    let ran = Cmd::program(words).output();
    assert_eq!(ran.stdout, "");
}

/// K5: executable overwritten.
#[test]
fn selfdock_cannot_be_overwritten() {
    let before = std::fs::read(selfdock()).unwrap();
    let script = "echo x > $0; echo x > /proc/1/exe; chmod 777 $0; rm -f $0; \
                  $0 run sh -c 'echo x > /proc/1/exe; echo x > $0' $0; true";
    run([]).sh(script).arg(selfdock()).output();
    run([]).sh(script).arg(selfdock()).output();
    assert_eq!(std::fs::read(selfdock()).unwrap(), before);
}

#[test]
fn the_root_filesystem_is_read_only_and_nothing_can_be_mounted() {
    let ran = run([]).sh("touch /x /usr/x; mount -t tmpfs x /mnt; umount /tmp; mknod /tmp/n c 1 1").output();
    assert_eq!(ran.stderr.matches("Read-only").count(), 2, "{}", ran.stderr);
    assert!(!ran.status.success());
}

#[test]
fn files_of_others_stay_closed() {
    let dir = scratch();
    std::fs::write(dir.path().join("mine"), "private").unwrap();
    std::fs::set_permissions(dir.path().join("mine"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let ran = run(args!["cat", dir.path().join("mine")]).output();
    assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
}
