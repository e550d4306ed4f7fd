//! unprivileged-mode: Without privilege an instance is the same, in a user namespace of its own.

use crate::support::{Cmd, about, args, fixture, nested, on_a_host, scratch, selfdock};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// A copy of selfdock that belongs to the caller, as after `cargo install`.
pub fn own_copy() -> (TempDir, PathBuf) {
    let dir = scratch();
    let program = dir.path().join("selfdock");
    crate::support::copy_program(selfdock(), &program);
    crate::support::copy_program(about(), dir.path().join("selfdock-about"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (dir, program)
}

#[rstest]
#[case::asked_for(args!["--unprivileged"])]
fn the_ids_are_the_callers<const N: usize>(#[case] options: [std::ffi::OsString; N]) {
    let script = "id -u; id -g; grep Cap /proc/self/status | tr -s '\\t' ' '";
    let seen = Cmd::run(options).sh(script).ok();
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    let none = "CapInh: 0000000000000000\nCapPrm: 0000000000000000\nCapEff: 0000000000000000\n";
    assert!(seen.starts_with(&format!("{uid}\n{gid}\n{none}")), "{seen}");
}

/// C6: user namespace maps.
#[test]
fn only_the_callers_own_ids_are_mapped_and_groups_stay_as_they_are() {
    let script = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups | tr -s ' '";
    let seen = Cmd::run(args!["--unprivileged"]).sh(script).ok();
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    assert_eq!(
        seen.split_whitespace().collect::<Vec<_>>().join(" "),
        format!("{uid} {uid} 1 {gid} {gid} 1 deny")
    );
}

/// C6: user namespace maps.
#[rstest]
fn a_directory_that_is_closed_to_a_group_stays_closed(#[values("p", "p710", "p705")] dir: &str) {
    Cmd::run(args!["--unprivileged", "-m", fixture(dir).join("pub"), "/mnt", "true"]).refused("EACCES");
    let ran = Cmd::run(args!["--unprivileged", "cat", fixture(dir).join("pub/canary")]).output();
    assert!(ran.stderr.contains("Permission denied"), "{}", ran.stderr);
}

#[test]
fn a_copy_of_the_callers_own_works_and_nests() {
    let (_dir, program) = own_copy();
    let inner = args![&program, "run", &program, "run", &program, "run", "echo", "deep"];
    assert_eq!(Cmd::program(inner).ok(), "deep");
}

#[test]
fn a_copy_below_a_hidden_directory_nests() {
    let dir = TempDir::new_in("/tmp").unwrap();
    let program = dir.path().join("selfdock");
    crate::support::copy_program(selfdock(), &program);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(Cmd::program(args![&program, "run", &program, "run", "echo", "deep"]).ok(), "deep");
}

#[test]
fn both_modes_nest_in_each_other() {
    let (_dir, own) = own_copy();
    let set_uid = selfdock();
    assert_eq!(Cmd::program(args![&own, "run", &set_uid, "run", "echo", "in"]).ok(), "in");
    assert_eq!(Cmd::program(args![&set_uid, "run", &own, "run", "echo", "in"]).ok(), "in");
    assert_eq!(
        Cmd::run(args!["--unprivileged"].into_iter().chain(nested(3, args!["echo", "in"]))).ok(),
        "in"
    );
}

/// K5: executable overwritten.
#[test]
fn an_executable_of_the_callers_cannot_be_overwritten_from_inside() {
    let (dir, program) = own_copy();
    let before = fs::read(&program).unwrap();
    let script = "for f in /proc/*/exe $0; do echo x > $f; done 2>/dev/null; \
                  $0 run sh -c 'for f in /proc/*/exe $0; do echo x > $f; done 2>/dev/null' $0; \
                  rm -f $0 2>/dev/null; true";
    Cmd::program(args![&program, "run"]).sh(script).arg(&program).output();
    assert_eq!(fs::read(&program).unwrap(), before);
    drop(dir);
}

/// M1: what a mount covers; N1: nesting regains.
#[test]
fn nothing_hidden_or_read_only_is_regained() {
    let dir = scratch();
    let script =
        format!("touch {0}/x /usr/x /x; ls -A /home /root /mnt | grep -v : | grep .", dir.path().display());
    let ran = Cmd::run(args!["--unprivileged"]).sh(script).output();
    assert_eq!(ran.stdout, "");
    assert_eq!(ran.stderr.matches("Read-only").count(), 3, "{}", ran.stderr);
    let attack = "umount /home /tmp /proc; mount -o remount,rw /; mount -o remount,rw,bind /; touch /usr/x; \
                  ls -A /home | grep .";
    let ran = Cmd::run(args!["--unprivileged", "unshare", "-Urm"]).sh(attack).output();
    assert!(!ran.status.success(), "{}", ran.stdout);
}

/// K7: masked /proc. The kernel takes only a mapped group.
#[test]
fn a_group_that_sees_all_processes_outside_need_not_be_mapped() {
    let change = "mount -t proc -o hidepid=2,gid=77 proc proc";
    let ask = "run awk '$3 == \"proc\" { print $4 }' /proc/mounts";
    let seen = on_a_host(change, &format!("me $SD {ask}; me $SD --unprivileged {ask}")).ok();
    let options = |group: &str| format!("rw,nosuid,nodev,noexec,relatime{group},hidepid=invisible");
    assert_eq!(seen, [options(",gid=77"), options("")].join("\n"));
}

/// M3: set-uid in a user's tree.
#[test]
fn no_set_uid_bit_counts() {
    let seen = Cmd::run(args!["--unprivileged", fixture("setuid/id"), "-u"]).ok();
    assert_eq!(seen, nix::unistd::getuid().to_string());
}

#[test]
fn volumes_maps_and_images_work() {
    let dir = scratch();
    let run = Cmd::run(args!["--unprivileged", "-v", dir.path(), "/data/new", "-t", "-", "/opt/t"]);
    run.sh("touch /data/new/made /opt/t/x").ok();
    assert!(dir.path().join("made").exists());
    let seen =
        Cmd::run(args!["--unprivileged", "--root", fixture("busybox")]).sh("cat /etc/image; id -un").ok();
    assert_eq!(seen, format!("busybox\n{}", Cmd::program(args!["id", "-un"]).ok()));
    let net = Cmd::run(args!["--unprivileged", "--net", "none", "--hostname", "box"]);
    assert_eq!(net.sh("hostname; grep -c : /proc/net/dev").ok(), "box\n1");
}

/// C5: inherited no_new_privs.
#[test]
fn with_no_new_privs_selfdock_uses_unprivileged_mode() {
    let seen = Cmd::under(args!["setpriv", "--no-new-privs"], args!["run"])
        .sh("cat /proc/self/uid_map | wc -l")
        .ok();
    assert_eq!(seen, "1");
}

/// Root without `SYS_ADMIN`, as in many containers, or root in the user namespace of an ordinary user.
#[rstest]
#[case::of_a_container(
    "$AS_ROOT setpriv --bounding-set -all,+setfcap,+setpcap,+sys_chroot,+chown,+setuid,+setgid"
)]
#[case::of_a_user_namespace("unshare -r")]
#[case::with_all_capabilities("$AS_ROOT env")]
fn root_can_use_unprivileged_mode_too(
    #[case] launcher: &str,
    #[values("run", "--unprivileged run")] words: &str,
) {
    let script =
        format!("{launcher} $SELFDOCK {words} sh -c 'id -u; touch /tmp/x && grep Cap.*: /proc/self/status'");
    let as_root = format!("{} as-root", fixture("setuid/probe").display());
    let ran =
        Cmd::program(args!["sh", "-c", script]).env("AS_ROOT", as_root).env("SELFDOCK", selfdock()).output();
    let none = |set: &str| ran.stdout.contains(&format!("Cap{set}:\t0000000000000000\n"));
    assert!(ran.stdout.starts_with("0\n") && none("Eff") && none("Prm"), "{}{}", ran.stdout, ran.stderr);
}
