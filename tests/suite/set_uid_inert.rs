//! set-uid-inert: No set-uid bit and no file capability has an effect, except on selfdock's own file.

use crate::support::{Cmd, args, bin, copy_program, fixture, on_a_host, scratch, selfdock};
use nix::unistd::getuid;
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn the_planted_programs_would_work_outside() {
    assert_eq!(Cmd::program(args![fixture("setuid/id"), "-u"]).ok(), "0");
    let capabilities = Cmd::program(args![fixture("filecap/probe"), "status", "CapEff"]).ok();
    assert_ne!(capabilities, "CapEff: 0000000000000000");
}

/// M3: set-uid in a user's tree.
#[rstest]
#[case::in_the_root(args![], fixture("setuid/id"))]
#[case::in_a_map(args!["-m", fixture("setuid"), "/mnt"], "/mnt/id")]
#[case::in_a_volume(args!["-v", fixture("setuid"), "/mnt"], "/mnt/id")]
#[case::as_a_volume(args!["-m", fixture("setuid/id"), "/mnt/id"], "/mnt/id")]
fn a_set_uid_program_has_no_effect<const N: usize>(
    #[case] options: [OsString; N],
    #[case] program: impl Into<OsString>,
    #[values(0, 1)] depth: usize,
) {
    let program = program.into();
    // Every level binds the volume again.
    let inner = (0..depth).flat_map(|_| {
        let passed = options.get(2).map(|dst| args!["-m", dst, dst]).into_iter().flatten();
        args![selfdock(), "run"].into_iter().chain(passed)
    });
    let inner: Vec<OsString> = inner.collect();
    let ran = Cmd::run(options.into_iter().chain(inner)).arg(program).arg("-u").ok();
    assert_eq!(ran, getuid().to_string());
}

/// M3: set-uid in a user's tree.
#[rstest]
#[case::set_uid(args![], fixture("setuid/probe"))]
#[case::file_capability(args![], fixture("filecap/probe"))]
#[case::file_capability_in_a_volume(args!["-v", fixture("filecap"), "/mnt"], "/mnt/probe")]
#[case::set_uid_in_an_image(args!["--root", fixture("busybox")], "/bin/setuid-probe")]
fn a_privileged_program_gets_no_capability<const N: usize>(
    #[case] options: [OsString; N],
    #[case] program: impl Into<OsString>,
) {
    let run = Cmd::run(options).arg(program.into());
    let seen = run.arg("status").arg("Uid").arg("CapPrm").arg("CapEff").ok();
    let uid = getuid();
    let none = "CapPrm: 0000000000000000\nCapEff: 0000000000000000";
    assert_eq!(seen, format!("Uid: {uid} {uid} {uid} {uid}\n{none}"));
}

/// M3: set-uid in a user's tree.
#[test]
fn su_under_a_forged_shadow_does_not_make_root() {
    let dir = scratch();
    let (passwd, shadow) = (dir.path().join("passwd"), dir.path().join("shadow"));
    fs::write(&passwd, "root::0:0:root:/:/bin/sh\n").unwrap();
    fs::write(&shadow, "root::1:0:99999:7:::\n").unwrap();
    let run = Cmd::run(args!["-m", passwd, "/etc/passwd", "-m", shadow, "/etc/shadow"]);
    let ran = run.sh("su root -c 'id -u'").output();
    assert!(!ran.stdout.contains('0'));
    assert!(!ran.status.success());
}

/// M3: set-uid in a user's tree.
#[test]
fn every_mount_is_nosuid_but_selfdocks_own_file() {
    let table = Cmd::run(args!["cat", "/proc/self/mountinfo"]).ok();
    let mut without = Vec::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if !fields[5].split(',').any(|flag| flag == "nosuid") {
            assert!(fields[5].split(',').any(|flag| flag == "ro"), "{line}");
            without.push(fields[4].to_owned());
        }
    }
    assert_eq!(without, [selfdock().to_string_lossy()]);
}

/// M3: set-uid in a user's tree. A user who can write to the file could replace its content.
#[rstest]
#[case::to_its_group("chmod 4775 .$SD")]
#[case::to_others("chmod 4757 .$SD")]
#[case::to_its_owner(
    "chown $ME .$SD
     setcap cap_setpcap,cap_net_admin,cap_sys_chroot,cap_sys_admin,cap_checkpoint_restore+p .$SD"
)]
fn selfdocks_own_file_is_inert_if_others_can_write_to_it(
    #[case] fault: &str,
    #[values("", "ln $SD /usr/bin/sd; SD=/usr/bin/sd")] name: &str,
) {
    let script =
        format!("{name}\nme $SD run sh -c 'grep \" $0 \" /proc/self/mountinfo | cut -d \" \" -f 6' $SD");
    let is_inert = |changes: &str| on_a_host(changes, &script).ok().split(',').any(|flag| flag == "nosuid");
    assert!(!is_inert(""));
    assert!(is_inert(fault));
}

/// N3: own path.
#[rstest]
#[case::by_a_map(args!["-m", fixture("setuid/id"), selfdock()])]
#[case::by_a_volume(args!["-v", fixture("setuid/id"), selfdock()])]
#[case::with_its_directory(args!["-m", fixture("setuid"), selfdock().parent().unwrap()])]
fn a_file_at_selfdocks_place_is_inert<const N: usize>(#[case] options: [OsString; N]) {
    for program in ["selfdock", "id"] {
        let place = selfdock().with_file_name(program);
        let run = Cmd::run(options.clone().into_iter().chain(args![place, "-u"]));
        run.output().refused_or(|ran| assert_ne!(ran.stdout, "0\n"));
    }
}

/// N3: own path; I9: hard and symbolic links to selfdock.
#[test]
fn a_symlink_to_the_program_gives_no_other_file_privilege() {
    let dir = scratch();
    let link = dir.path().join("selfdock");
    symlink(selfdock(), &link).unwrap();
    let script = format!("{} -u", fixture("setuid/id").display());
    let ran = Cmd::program(args![link, "run", "sh", "-c", script]).output();
    ran.refused_or(|ran| assert_eq!(ran.ok(), getuid().to_string()));
}

/// I9: hard and symbolic links to selfdock. The link is in a directory of the caller, with a forged installation
/// beside it.
#[test]
fn a_hard_link_to_the_program_gives_no_other_file_privilege() {
    let dir = scratch();
    let lib = dir.path().join("lib/selfdock");
    fs::create_dir_all(lib.join("dev/pts")).unwrap();
    fs::create_dir(dir.path().join("bin")).unwrap();
    fs::write(lib.join("dev/null"), "mine").unwrap();
    let link = dir.path().join("bin/selfdock");
    // fs.protected_hardlinks forbids this to the caller.
    Cmd::program(args![fixture("setuid/probe"), "as-root", "ln", selfdock(), &link]).ok();
    let script = format!("{} -u; cat /dev/null; ls -A /home; echo end", fixture("setuid/id").display());
    let inside = args!["run", &link, "run", "sh", "-c", script];
    let ran = Cmd::program(args![&link].into_iter().chain(inside)).output();
    ran.refused_or(|ran| assert_eq!(ran.ok(), format!("{}\nend", getuid())));
    copy_program(bin("probe"), lib.join("selfdock-about"));
    Cmd::program(args![&link, "--help"]).refused("trusted");
}

/// N2: loader.
#[test]
fn selfdock_reads_nothing_of_an_image() {
    let image = crate::volumes::user_image();
    let mode = nix::sys::stat::Mode::S_IRWXU;
    // A process that opens one of these FIFOs waits for ever.
    for name in ["ld.so.preload", "ld.so.cache", "nsswitch.conf", "passwd", "group", "shadow", "localtime"] {
        nix::unistd::mkfifo(&image.path().join("etc").join(name), mode).unwrap();
    }
    fs::create_dir_all(image.path().join("usr")).unwrap();
    let link = image.path().join("usr/probe");
    crate::support::copy_program(fixture("bin/nothing"), &link);
    fs::set_permissions(&link, fs::Permissions::from_mode(0o755)).unwrap();
    Cmd::run(args!["--root", image.path(), "/usr/probe"]).ok();
    Cmd::run(args!["--root", image.path(), selfdock(), "run", "/usr/probe"]).ok();
}
