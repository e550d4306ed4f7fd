//! any-image: Any directory with a root filesystem can be the root, and is never written to.

use crate::support::{Cmd, args, fixture, on_a_host, scratch, selfdock};
use crate::volumes::user_image;
use rstest::rstest;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// All names, kinds, sizes and times below a directory.
fn listing(dir: &Path) -> String {
    Cmd::program(args!["find", dir, "-printf", "%p %y %s %m %T@ %l\n"]).output().stdout
}

/// A mount on the root directory would not be seen by the command, and would keep others from joining it.
#[test]
fn a_tmp_that_leads_to_the_root_directory_is_refused() {
    let image = user_image();
    fs::remove_dir_all(image.path().join("tmp")).unwrap();
    symlink("/", image.path().join("tmp")).unwrap();
    Cmd::run(args!["--root", image.path(), "true"]).refused("leads to the root directory");
}

#[rstest]
#[case::busybox("busybox", "busybox uname", "Linux")]
#[case::debian("debian", "bash -c 'test -d /var/lib/dpkg && id -u'", "$ID")]
#[case::oci("bundle/rootfs", "cat /etc/image", "busybox")]
fn an_image_runs_and_is_left_as_it_was(#[case] image: &str, #[case] command: &str, #[case] says: &str) {
    let image = fixture(image);
    let says = says.replace("$ID", &nix::unistd::getuid().to_string());
    let before = listing(&image);
    assert_eq!(Cmd::run(args!["--root", &image]).sh(command).ok(), says);
    let inner = Cmd::run(args!["--root", &image, selfdock(), "run"]).sh(command).ok();
    assert_eq!(inner, says, "nested");
    assert_eq!(listing(&image), before);
}

/// Root filesystems of other kinds, each on a disk of its own. All are read-only; `build` writes to a subvolume.
#[rstest]
#[case::a_subvolume("subvol=image", true)]
#[case::below_the_subvolume_of_all("subvolid=5", true)]
#[case::a_snapshot_that_is_read_only("subvol=snapshot", false)]
#[case::a_compressed_image("", false)]
fn a_root_filesystem_is_of_any_kind(
    #[case] option: &str,
    #[case] writable: bool,
    #[values("", "--unprivileged")] mode: &str,
) {
    const DISK: &str = include_str!("../programs/mount_an_image.sh");
    let root = if option == "subvolid=5" { "/srv/fs/image" } else { "/srv/fs" };
    let run = |words: &str| {
        let script = format!("me $SD {mode} --root {root} {words}");
        on_a_host(DISK, &script).env("OPTION", option).env("BOX", fixture("busybox")).output()
    };
    let script = "'(echo x >/x) 2>/dev/null || echo closed; ls /usr/local/etc/new'";
    let ran = run(&format!("-m /etc/hostname /usr/local/etc/new run /bin/busybox sh -c {script}"));
    assert_eq!((&*ran.stdout, &*ran.stderr), ("closed\n/usr/local/etc/new\n", ""));
    let layered = run(&format!("--root {root} run /bin/busybox echo layered"));
    assert_eq!((&*layered.stdout, &*layered.stderr), ("layered\n", ""));
    let built = run("build /bin/busybox sh -c '/bin/busybox touch /built && echo built'");
    assert_eq!(built.stdout == "built\n", writable, "{} {}", built.stdout, built.stderr);
    assert!(writable || built.stderr.contains("Read-only file system"), "{}", built.stderr);
}

#[test]
fn an_image_with_another_c_library_runs() {
    assert_eq!(Cmd::run(args!["--root", fixture("musl"), "/bin/hello"]).ok(), "from musl");
}

#[test]
fn an_image_without_dev_proc_and_tmp_gets_them() {
    let image = scratch();
    fs::create_dir(image.path().join("bin")).unwrap();
    crate::support::copy_program(fixture("busybox/bin/busybox"), image.path().join("bin/busybox"));
    symlink("busybox", image.path().join("bin/sh")).unwrap();
    let script = "busybox test -c /dev/null && busybox test -d /proc/1 && busybox touch /tmp/x && echo all";
    assert_eq!(Cmd::run(args!["--root", image.path()]).sh(script).ok(), "all");
    let names: Vec<_> = fs::read_dir(image.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["bin"], "the image was written to");
}

/// P5: destination escape.
#[rstest]
fn a_link_of_an_image_never_leads_out(
    #[values("mnt", "dev", "proc", "tmp", "sys", "etc")] name: &str,
    #[values("/etc", "../../../../etc", "/proc/1/root/etc", "nowhere", "/nowhere/else", "loop")] target: &str,
) {
    let image = user_image();
    let place = image.path().join(name);
    fs::remove_dir(&place).unwrap();
    let target = if target == "loop" { name } else { target };
    symlink(target, &place).unwrap();
    let volume = scratch();
    fs::write(volume.path().join("marker"), "here").unwrap();
    let outside = listing(Path::new("/etc"));
    let run = Cmd::run(args!["--root", image.path(), "-v", volume.path(), "/mnt/v"]);
    let ran = run.sh("cat /mnt/v/marker; ls -d /etc/shadow /proc/1/exe /tmp").output();
    ran.refused_or(|ran| {
        assert!(!ran.stdout.contains("/etc/shadow"), "{}", ran.stdout);
    });
    assert_eq!(listing(Path::new("/etc")), outside);
}

#[test]
fn names_resolve_as_on_the_host() {
    let read = |options: &[&str]| {
        let image = fixture("busybox");
        let run = Cmd::run(args!["--root", &image].into_iter().chain(options.iter().map(Into::into)));
        run.sh("cat /etc/resolv.conf /etc/hosts 2>/dev/null").output().stdout
    };
    let hosts = fs::read_to_string("/etc/hosts").unwrap();
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(read(&[]), format!("{resolver}{hosts}"));
    assert_eq!(read(&["--net", "none"]), "");
}

#[test]
fn the_caller_has_a_name_and_the_images_own_names_stay() {
    let image = user_image();
    fs::write(image.path().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false")
        .unwrap();
    fs::write(image.path().join("etc/group"), "root:x:0:\n").unwrap();
    let seen = Cmd::run(args!["--root", image.path()]).sh("id -un; id -gn; cat /etc/passwd /etc/group").ok();
    let name = |option: &str| Cmd::program(args!["id", option]).ok();
    let (user, group) = (name("-un"), name("-gn"));
    assert!(seen.starts_with(&format!("{user}\n{group}\nroot:")), "{seen}");
    assert!(seen.contains(&format!("\ndaemon:x:1:1::/:/bin/false\n{user}:")), "{seen}");
    assert!(
        seen.contains("\nextra:x:61235:\n") || seen.ends_with("\nextra:x:61235:"),
        "members are shown: {seen}"
    );
}

#[test]
fn a_name_that_the_image_has_is_not_added_twice() {
    let image = user_image();
    let uid = nix::unistd::getuid();
    fs::write(image.path().join("etc/passwd"), format!("own:x:{uid}:0::/:/bin/sh\n")).unwrap();
    let seen = Cmd::run(args!["--root", image.path()]).sh("cat /etc/passwd").ok();
    assert_eq!(seen, format!("own:x:{uid}:0::/:/bin/sh"));
}

/// The group of a process can also be one of its supplementary groups.
#[test]
fn a_group_is_added_once() {
    let changes =
        "echo mine:x:$MY_GROUP: >>etc/group; mkdir -p srv/img; cd srv/img; mkdir etc proc dev tmp usr opt
                   for name in bin lib lib64; do ln -s usr/$name $name; done; cd ../..";
    let script = "setpriv --reuid=$ME --regid=$MY_GROUP --groups=$MY_GROUP \
                      $SD --root /srv/img -m /usr /usr run grep -c \":x:$MY_GROUP:\" /etc/group";
    assert_eq!(on_a_host(changes, script).ok(), "1");
}

/// A copy would cost memory in every instance.
#[rstest]
#[case::at_most(1 << 20, true)]
#[case::larger((1 << 20) + 1, false)]
fn a_file_of_names_has_the_callers_added_up_to_a_megabyte(#[case] size: usize, #[case] added: bool) {
    let image = user_image();
    let own = "#".repeat(size - 1) + "\n";
    fs::write(image.path().join("etc/passwd"), own).unwrap();
    let seen = Cmd::run(args!["--root", image.path()]).sh("wc -c < /etc/passwd; id -un").output();
    assert_eq!(!seen.stdout.starts_with(&format!("{size}\n")), added, "{}", seen.stdout);
    assert_eq!(seen.status.success(), added);
}

/// The root directory of the caller is opened, and not listed.
#[test]
fn in_a_root_directory_that_cannot_be_listed_selfdock_works() {
    use std::os::unix::fs::PermissionsExt;
    let image = user_image();
    let top = selfdock().components().nth(1).expect("a path").as_os_str().to_owned();
    fs::create_dir_all(image.path().join(top)).unwrap();
    fs::set_permissions(image.path(), fs::Permissions::from_mode(0o311)).unwrap();
    let run = Cmd::run(args!["--root", image.path(), selfdock(), "run"]).sh("echo here").output();
    fs::set_permissions(image.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(run.stdout.ends_with("here\n"), "{} {}", run.stdout, run.stderr);
}

#[test]
fn the_time_zone_of_an_image_is_left_alone() {
    let image = user_image();
    fs::write(image.path().join("etc/localtime"), "own").unwrap();
    assert_eq!(Cmd::run(args!["--root", image.path()]).sh("cat /etc/localtime").ok(), "own");
}

/// P8: confused deputy. Everyone can open `/proc/iomem`, but it shows more to a process with `CAP_SYS_ADMIN` in
/// effect.
#[rstest]
#[case::passwd("passwd")]
#[case::group("group")]
fn an_images_passwd_file_reveals_no_more_than_the_caller_may_read(#[case] name: &str) {
    let image = user_image();
    fs::write(image.path().join("etc").join(name), "").unwrap();
    let file = format!("/img/etc/{name}");
    let own = Cmd::program(args!["cat", "/proc/iomem"]).ok();
    assert!(own.contains("Kernel code"), "{own}");
    let outer = args!["-v", image.path(), "/img", "-m", "/proc/iomem", file, selfdock()];
    let inner = args!["--root", "/img", "run", "cat", format!("/etc/{name}")];
    assert_eq!(Cmd::run(outer.into_iter().chain(inner)).ok(), own);
}

/// As of an image with systemd-resolved. The link is followed in the image.
#[rstest]
#[case::run("mkdir run", "run")]
#[case::run_in_a_copy("mkdir run", "-o / / run")]
#[case::layers("mkdir run", "--root /srv/other run")]
#[case::without_privilege("mkdir run", "--unprivileged run")]
#[case::a_link_of_the_directory(
    "mkdir run var; rm etc/resolv.conf; ln -s ../run var/run; ln -s ../var/run/some/resolver etc/resolv.conf",
    "run"
)]
fn a_resolver_that_is_a_link_to_nothing_in_the_image_is_shown_there(
    #[case] change: &str,
    #[case] words: &str,
) {
    let changes = format!(
        "echo it >made; cat made >etc/resolv.conf || {{ rm etc/resolv.conf; mv made etc/resolv.conf; }}
         mkdir -p srv/other srv/img; cd srv/img; mkdir etc proc dev tmp usr opt
         for name in bin lib lib64; do ln -s usr/$name $name; done
         ln -s ../run/some/resolver etc/resolv.conf; {change}; cd ../.."
    );
    let script = format!("me $SD --root /srv/img -m /usr /usr {words} cat /etc/resolv.conf");
    assert_eq!(on_a_host(&changes, &script).ok(), "it");
}

/// Names are optional: an image without a place for them, or with something unusual there, keeps what it has.
#[rstest]
#[case::no_etc("rmdir etc")]
#[case::a_file("rmdir etc; touch etc")]
#[case::a_closed_directory("chmod 700 etc")]
#[case::a_link_to_nowhere("ln -s /nowhere etc/passwd; ln -s /nowhere etc/resolv.conf")]
#[case::a_link_to_nowhere_in_run("ln -s /run/x etc/passwd; ln -s /run/x etc/resolv.conf")]
#[case::a_link_to_a_closed_directory("mkdir -m 0 run; ln -s /run/x etc/passwd; ln -s /run/x etc/resolv.conf")]
#[case::a_link_below_a_file("touch run; ln -s /run/x etc/passwd; ln -s /run/x etc/resolv.conf")]
#[case::a_loop("ln -s passwd etc/passwd; ln -s resolv.conf etc/resolv.conf")]
#[case::directories("mkdir etc/passwd etc/resolv.conf etc/hosts etc/group")]
#[case::fifos("mkfifo etc/passwd etc/resolv.conf etc/hosts")]
#[case::a_link_of_the_directory("rmdir etc; ln -s usr/share etc")]
#[case::closed_on_the_host("chmod 700 ../../etc")]
#[case::a_loop_on_the_host("ln -sf resolv.conf ../../etc/resolv.conf")]
#[case::a_directory_on_the_host(
    "rm -f ../../etc/resolv.conf ../../etc/hosts; mkdir ../../etc/resolv.conf ../../etc/hosts"
)]
#[case::a_file_of_procfs_on_the_host("ln -sf /proc/net/pnp ../../etc/resolv.conf")]
fn unusual_passwd_and_group_files_do_not_prevent_a_run(
    #[case] change: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let changes = format!(
        "mkdir -p srv/img; cd srv/img; mkdir etc proc dev tmp usr opt
         for name in bin lib lib64; do ln -s usr/$name $name; done; {change}; cd ../.."
    );
    let script = format!("me $SD {mode} --root /srv/img -m /usr /usr run echo works");
    assert_eq!(on_a_host(&changes, &script).ok(), "works");
}
