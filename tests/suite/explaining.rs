//! explaining: `--explain` and `doctor` say what would happen, and do nothing.

use crate::support::machine::Machine;
use crate::support::{Cmd, Terminal, about, args, fixture, has_scopes, on_a_host, scratch, selfdock};
use crate::volumes::user_image;
use rstest::rstest;
use std::collections::BTreeSet;

#[test]
fn the_plan_is_printed_and_nothing_is_done() {
    let dir = scratch();
    let run = Cmd::run(args![
        "--explain=all",
        "-v",
        dir.path(),
        "/mnt/x",
        "-t",
        "size=1M",
        "/opt",
        "--mask",
        "/etc/ssl"
    ]);
    let plan = run.sh("touch /mnt/x/ran").ok();
    assert!(!dir.path().join("ran").exists());
    let lines: Vec<Vec<&str>> = plan.lines().map(|line| line.split('\t').collect()).collect();
    let line = |kind: &str, dst: &str| {
        lines
            .iter()
            .find(|l| l[0] == kind && (dst.is_empty() || l.get(2) == Some(&dst)))
            .unwrap_or_else(|| panic!("{plan}"))
    };
    assert_eq!(line("mode", "")[1], "set-uid");
    assert_eq!(line("namespaces", "")[1], "mount pid ipc uts cgroup");
    assert_eq!(line("root", "'/'")[3], "ro,nosuid,noexec");
    assert_eq!(line("show", "'/usr'")[1..], ["'/usr'", "'/usr'", "ro,nosuid,nodev"]);
    assert_eq!(
        line("volume", "'/mnt/x'")[1..],
        [format!("'{}'", dir.path().display()), "'/mnt/x'".into(), "rw,nosuid,nodev".into()]
    );
    assert!(line("tmpfs", "'/opt'")[3].contains("size=1048576"));
    for (kind, dst) in
        [("show", "'/etc'"), ("mask", "'/etc/ssl'"), ("proc", "'/proc'"), ("device", "'/dev/null'")]
    {
        line(kind, dst);
    }
    assert_eq!(line("command", "")[1..], ["'sh'", "'-c'", "'touch /mnt/x/ran'"]);
}

#[test]
fn the_plan_lists_exactly_what_is_visible_of_the_host() {
    let plan = Cmd::run(args!["--explain=all", "true"]).ok();
    let of_plan = |kind: &'static str| -> Vec<&str> {
        let lines = plan.lines().filter(move |line| line.split('\t').next() == Some(kind));
        lines.filter_map(|line| line.split('\'').nth(3)).collect()
    };
    let (shown, links) = (of_plan("show"), of_plan("link"));
    assert!(shown.contains(&"/usr") && shown.contains(&"/etc"), "{plan}");
    let table = Cmd::run(args!["cat", "/proc/self/mountinfo"]).ok();
    let mounted: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    for place in &shown {
        assert!(mounted.contains(place), "{place} of the plan is not mounted: {table}");
    }
    let own = ["/", "/tmp", "/proc", "/dev/pts", "/dev/shm"];
    for place in mounted {
        let lies_in = |dir: &&str| place == *dir || place.starts_with(&format!("{dir}/"));
        assert!(own.contains(&place) || shown.iter().any(lies_in), "{place} is not in the plan: {plan}");
    }
    let test = links.iter().map(|link| format!("test -L {link} && ")).collect::<String>() + "echo all";
    assert_eq!(Cmd::run([]).sh(test).ok(), "all");
}

/// The plan is what is done: each mount of an instance is in the plan, with its attributes, and each mount of the
/// plan exists. The list of mounts does not show their order: a copy has its number since it was opened.
#[rstest]
#[case::the_host_image(args![])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::an_image(args!["--root", fixture("busybox")])]
#[case::an_image_that_knows_the_caller(args!["--root", image_that_knows_the_caller()])]
#[case::layers(args!["--root", fixture("busybox"), "--root", scratch().keep()])]
#[case::layers_that_know_the_caller(args!["--root", fixture("busybox"), "--root", image_that_knows_the_caller()])]
#[case::an_image_whose_etc_is_a_file(args!["--root", image_without_etc(b"x")])]
#[case::a_copy_of_one(args!["--overlay", image_without_etc(b"x"), "/"])]
#[case::a_layer_whose_etc_is_a_file(args!["--root", fixture("busybox"), "--root", image_without_etc(b"x")])]
#[case::an_image_without_etc(args!["--root", image_without_etc(b"")])]
#[case::layers_without_etc(args!["--root", image_without_etc(b""), "--root", scratch().keep()])]
#[case::mounts_of_the_caller(args!["-m", "/etc/passwd", "/mnt/deep/er", "-t", "size=1M", "/opt", "--mask", "/etc/ssl",
    "-v", scratch().keep(), "/new", "-t", "size=2M,mode=700", "/dev/shm/x", "--no-nest"])]
#[case::without_a_network(args!["--root", fixture("busybox"), "--net", "none"])]
#[case::an_image_unprivileged(args!["--unprivileged", "--root", fixture("busybox")])]
#[case::a_copy(args!["--overlay", scratch().keep(), "/mnt/c", "-m", "/etc/passwd", "/mnt/p"])]
#[case::a_copy_of_an_image(args!["--overlay", fixture("debian"), "/"])]
#[case::limits_and_a_filter(args!["--seccomp", "none", "--rlimit", "nofile=64", "--new-session"])]
#[case::a_missing_mount_point(args!["-m", "/etc/passwd", "/newplace"])]
#[case::a_copy_of_the_host(args!["-o", "/", "/"])]
#[case::a_copy_and_a_map_of_its_source(args!["-o", "/usr/share/doc", "/mnt/c", "-m", "/usr/share/doc", "/mnt/d"])]
#[case::a_copy_of_the_host_with_other_sysfs(args!["-o", "/", "/", "-m", "/etc", "/sys/devices/system"])]
#[case::a_copy_of_the_host_without_sysfs(args!["-o", "/", "/", "--mask", "/sys/devices/system"])]
#[case::a_copy_of_the_host_with_a_mount_in_sysfs(args!["-o", "/", "/", "-t", "-", "/sys/devices/system/cpu"])]
#[case::a_writable_host(args!["--root", "/", "build"])]
#[case::a_writable_host_unprivileged(args!["--unprivileged", "--root", "/", "build"])]
#[case::a_writable_layer(args!["--root", fixture("busybox"), "--root", scratch().keep(), "build"])]
#[case::what_may_be_missing(args!["--mask-if-exists", "/no/such", "--mask-if-exists", "/etc/ssl", "--dev",
    "/dev/kmsg"])]
fn the_plan_matches_the_mounts_of_the_instance<const N: usize>(#[case] options: [std::ffi::OsString; N]) {
    let attributes = |text: &str| {
        let known = ["ro", "rw", "nosuid", "nodev", "noexec"];
        text.split(',').filter(|word| known.contains(word)).map(String::from).collect::<BTreeSet<_>>()
    };
    let (build, options): (Vec<_>, Vec<_>) = options.into_iter().partition(|word| word == "build");
    let verb = if build.is_empty() { "run" } else { "build" };
    let adds_devices = options.iter().any(|word| word == "--dev");
    let plan = Cmd::new(options.iter().cloned().chain(args!["--explain=all", verb, "true"])).ok();
    let kinds = [
        "root", "show", "hide", "tmpfs", "overlay", "volume", "map", "mask", "devpts", "proc", "program",
        "names", "dev",
    ];
    let is_mount = |row: &Vec<&str>| row.len() == 4 && row[0] != "link" && row[0] != "command";
    let rows: Vec<(&str, &str, _, &str)> = plan
        .lines()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .filter(is_mount)
        .map(|row| (row[0], row[2].trim_matches('\''), attributes(row[3]), row[1]))
        .collect();
    let table = Cmd::new(options.into_iter().chain(args![verb, "/bin/cat", "/proc/self/mountinfo"])).ok();
    let mounted: Vec<(&str, _)> = table
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .map(|line| (line[4], attributes(line[5])))
        .collect();
    for (kind, place, wanted, _) in rows.iter().filter(|row| kinds.contains(&row.0)) {
        // If it covers another mount, both are on the list. A directory with a mount in it is copied in parts.
        let in_parts = format!("{place}/");
        let is_there = |at: &str| at == *place || *kind == "overlay" && at.starts_with(&in_parts);
        let is = mounted.iter().any(|mount| is_there(mount.0) && mount.1 == *wanted);
        assert!(is, "{kind} {place} of the plan is not mounted so: {table}");
    }
    // In /proc, they cover parts of procfs, or procfs covers them.
    for (place, attributes) in mounted.iter().filter(|mount| !mount.0.starts_with("/proc/")) {
        let lies_in = |dir: &str| *place == dir || dir == "/" || place.starts_with(&format!("{dir}/"));
        let is_planned = rows.iter().any(|row| row.1 == *place);
        // A root directory of its own has no source, and shows nothing of the host.
        let can_hold = ["show", "volume", "map", "root", "layer", "overlay"];
        let holds = |kind: &str, source: &str| can_hold.contains(&kind) && source != "-";
        let is_of_the_host = rows.iter().any(|row| holds(row.0, row.3) && lies_in(row.1));
        // Nothing can be executed in a file of names, as opposed to an entry of the image.
        let is_of_names = place.starts_with("/etc/") && attributes.contains("noexec");
        // If a mount point was made, the other entries of its directory are mounts, too.
        let is_added_to = adds_devices && (*place == "/dev" || place.starts_with("/dev/"));
        assert!(
            is_planned || is_added_to || (is_of_the_host && !is_of_names),
            "{place} is not in the plan: {plan}"
        );
    }
}

/// The users of an image are those of the file in the image, wherever a link leads outside.
#[rstest]
#[case::an_image_that_lacks_the_caller("touch real", "1\n1\n")]
#[case::an_image_that_knows_the_caller("echo own:x:$ME:0::/:/bin/sh >real", "0\n0\n")]
fn users_of_an_image_are_looked_up_in_it(#[case] real: &str, #[case] planned_and_made: &str) {
    let changes = format!(
        "echo me:x:$ME:$MY_GROUP::/:/bin/sh >>etc/passwd; mkdir -p srv/img; cd srv/img; mkdir etc proc dev tmp usr opt
         for name in bin lib lib64; do ln -s usr/$name $name; done; ln -s /real etc/passwd; {real}; cd ../.."
    );
    let script = "run='--root /srv/img -m /usr /usr run'
                  me $SD --explain=all $run true | grep '^names' | grep -c passwd
                  me $SD $run cat /proc/self/mountinfo | grep -c ' /real '";
    assert_eq!(on_a_host(&changes, script).output().stdout, planned_and_made);
}

fn image_that_knows_the_caller() -> std::path::PathBuf {
    let image = user_image();
    let uid = nix::unistd::getuid();
    std::fs::write(image.path().join("etc/passwd"), format!("own:x:{uid}:0::/:/bin/sh\n")).unwrap();
    image.keep()
}

/// An image that has no directory /etc, but a file with this text, if there is one.
fn image_without_etc(text: &[u8]) -> std::path::PathBuf {
    let image = user_image().keep();
    std::fs::remove_dir(image.join("etc")).unwrap();
    if !text.is_empty() {
        std::fs::write(image.join("etc"), text).unwrap();
    }
    image
}

#[test]
fn the_plan_has_a_console_where_the_instance_has_one() {
    let script = "for option in --abstract --new-session; do
        $SELFDOCK --explain=all $option run true | grep -c /dev/console
        $SELFDOCK $option run cat /proc/self/mountinfo | grep -c /dev/console
    done";
    let mut terminal = Terminal::start(&["sh", "-c", script]);
    terminal.expect("1\r\n1\r\n0\r\n0\r\n");
}

/// By the path of the kernel, by the path of the shell, or in the root directory.
#[rstest]
#[case::shown("real/in", "-v $PWD/real $PWD/real", "$AT/real/in")]
#[case::at_the_path_of_the_shell("link/in", "-v $PWD/real $PWD/link", "$AT/link/in")]
#[case::of_a_part("link/in", "-v $PWD/real/in $PWD/link/in", "$AT/link/in")]
#[case::another_directory("link/in", "-t - $PWD/link/in", "/")]
#[case::not_shown("real/in", "", "/")]
#[case::the_root("/", "", "/")]
#[case::no_path_of_the_shell("real/in", "-e PWD=.", "/")]
#[case::shown_by_itself("/usr/lib", "", "/usr/lib")]
#[case::in_another_image("real/in", "--root $BOX", "/")]
#[case::in_a_layer_below_the_private_tmp("real/in", "--root $BOX --root /", "/")]
#[case::in_the_root_by_another_name("real/in", "--root /usr/..", "/")]
#[case::in_merged_layers("/opt", "--root $PWD/layer --root /", "/")]
#[case::in_the_layer_that_fills_it("/etc", "--root / --root $PWD/layer", "/etc")]
#[case::in_the_only_layer_that_has_it("/usr/lib", "--root / --root $PWD/layer", "/usr/lib")]
fn the_plan_says_where_the_command_starts(
    #[case] dir: &str,
    #[case] options: &str,
    #[case] starts: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let home = tempfile::tempdir_in("/tmp").unwrap();
    for dir in ["real/in", "layer/opt/x", "layer/etc"] {
        std::fs::create_dir_all(home.path().join(dir)).unwrap();
    }
    std::os::unix::fs::symlink("real", home.path().join("link")).unwrap();
    let script = format!(
        r#"set -- {mode} {options}
        cd {dir}
        $SELFDOCK "$@" run sh -c 'pwd -P'
        $SELFDOCK --explain "$@" run true | sed -n "s/^directory.'\([^']*\)'.*/\1/p""#
    );
    let ran = Cmd::program(args!["sh", "-c", script])
        .current_dir(home.path())
        .env("SELFDOCK", selfdock())
        .env("BOX", fixture("busybox"));
    let starts = starts.replace("$AT", &home.path().to_string_lossy());
    assert_eq!(ran.ok(), format!("{starts}\n{starts}"));
}

#[test]
fn the_plan_says_that_the_current_directory_is_gone() {
    let home = scratch();
    let script = "mkdir gone; cd gone; rmdir ../gone; $SELFDOCK --explain run true | grep ^directory";
    let told = Cmd::program(args!["sh", "-c", script]).current_dir(home.path()).env("SELFDOCK", selfdock());
    assert_eq!(told.ok(), "directory\t'/', since the current directory has no path");
}

/// What is hidden has the name that the plan gives it, whatever the name in HOME is.
#[rstest]
#[case::by_its_name("/opt/all/u", "$ME", "/", "'/opt/all/u'\n'/', since '/opt/all/u/d' is not shown")]
#[case::by_a_link("/opt/link", "$ME", "/", "'/opt/all/u'\n'/', since '/opt/all/u/d' is not shown")]
#[case::by_a_parent("/opt/all/../link", "$ME", "/", "'/opt/all/u'\n'/', since '/opt/all/u/d' is not shown")]
#[case::of_another_user("/opt/all/u", "0", "/opt/all/u/d", "'/opt/all/u/d'")]
fn the_plan_names_the_home_that_is_hidden(
    #[case] home: &str,
    #[case] owner: &str,
    #[case] starts: &str,
    #[case] plan: &str,
    #[values("", "--fake-root", "-o / /")] options: &str,
) {
    let ids = crate::fake_root::WITH_IDS;
    let changes = format!("mkdir -p opt/all/u/d; ln -s all/u opt/link; chown {owner} opt/all/u; {ids}");
    let script = format!(
        r#"cd /opt/link/d; HOME={home}; export HOME
        me $SD {options} run pwd
        me $SD --explain {options} run true | sed -n 's/^hide.-.\([^\t]*\)\t.*/\1/p; s/^directory.//p'"#
    );
    assert_eq!(on_a_host(&changes, &script).ok(), format!("{starts}\n{plan}"));
}

/// A copy of selfdock in a directory that is not shown.
#[test]
fn the_plan_of_a_build_has_no_program_that_the_host_image_lacks() {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let copy = dir.path().join("selfdock");
    crate::support::copy_program(selfdock(), &copy);
    crate::support::copy_program(about(), dir.path().join("selfdock-about"));
    let run = |words: &str| {
        let words = words.split(' ').map(std::ffi::OsString::from);
        Cmd::program([copy.clone().into_os_string()].into_iter().chain(words)).ok()
    };
    let mounts = run("--root / build cat /proc/self/mountinfo");
    assert!(!mounts.contains(&*copy.to_string_lossy()), "{mounts}");
    let plan = run("--explain=all --root / build true");
    assert!(!plan.contains("program\t"), "{plan}");
}

/// In a writable image selfdock makes no mount point for itself.
#[rstest]
#[case::without_selfdock(scratch().keep(), false)]
#[case::the_host(std::path::PathBuf::from("/"), true)]
fn the_plan_of_a_build_shows_selfdock_where_the_image_has_it(
    #[case] root: std::path::PathBuf,
    #[case] has: bool,
) {
    let plan = Cmd::new(args!["--explain=all", "--root", root, "build", "true"]).ok();
    assert_eq!(plan.lines().any(|line| line.starts_with("program\t")), has, "{plan}");
}

#[test]
fn the_plan_lists_settings_of_the_command_and_summarizes_the_rest() {
    let options =
        args!["--explain", "--timeout", "10,2", "--rlimit", "nofile=64", "--report", "/tmp/r", "-e", "A=b c"];
    let plan = Cmd::run(options).sh("true").ok();
    for line in [
        "timeout\tSIGTERM after 10 s, SIGKILL 2 s later",
        "limit\tnofile=64",
        "report\tto '/tmp/r'",
        "environment\tset 'A' to 'b c'",
    ] {
        assert!(plan.lines().any(|told| told == line), "{line}: {plan}");
    }
    assert!(!plan.contains("/dev/null") && plan.contains("--explain=all"), "{plan}");
}

#[rstest]
#[case::of_a_bind(args!["-m", "/no/such", "/x"], "open '/no/such' to bind it on '/x': no such file")]
#[case::of_a_root(args!["--root", "/no/such"], "use the root filesystem '/no/such': no such file")]
#[case::of_a_device(args!["--dev", "/dev/nosuch"], "bind the device '/dev/nosuch': no such file")]
#[case::of_a_filter(args!["--seccomp", "/no/such"], "'/no/such'")]
#[case::of_a_proxy(args!["--net", "none", "--proxy", "/no/such"], "option --proxy '/no/such': no such file")]
#[case::of_a_network(args!["--proxy", "/no/such"], "CMD could reach the network without it; add --net none")]
#[case::of_a_copy(args!["--changes", "/tmp"], "there is no --overlay")]
#[case::of_a_report_in_a_copy(args!["-o", "/usr", "/x", "--report", "/usr/r"], "it lies in a directory that is copied")]
#[case::of_a_volume_of_a_descriptor(args!["-v", "/dev/fd/0", "/x"], "nothing is written back to a descriptor")]
fn a_source_that_is_missing_is_an_error_of_the_plan<const N: usize>(
    #[case] options: [std::ffi::OsString; N],
    #[case] words: &str,
) {
    Cmd::new(options.into_iter().chain(args!["--explain", "run", "true"])).refused(words);
}

/// Refusals first, each with words of its message, and then what is not refused.
#[rstest]
#[case::copy_of_a_file("-o D/file /mnt/x", "copy 'D/file': not a directory (ENOTDIR)")]
#[case::copy_of_nothing("-o D/no /mnt/x", "copy 'D/no': no such file")]
#[case::copy_of_proc("-o /proc/self /mnt/x", "files of /proc cannot be copied")]
#[case::changes_in_the_copy("-o D/dir /mnt/x --changes D/dir/new", "it lies in the directory that is copied")]
#[case::changes_as_the_copy("-o D/dir /mnt/x --changes D/dir", "it lies in the directory that is copied")]
#[case::changes_in_nothing("-o D/dir /mnt/x --changes D/no/new", "keep changes in 'D/no/new': no such file")]
#[case::changes_in_a_file("-o D/dir /mnt/x --changes D/file", "keep changes in 'D/file': not a directory")]
#[case::changes_in_closed(
    "-o D/dir /mnt/x --changes D/closed/new",
    "keep changes in 'D/closed/new': permission"
)]
#[case::changes_not_writable(
    "-o D/dir /mnt/x --changes D/readable",
    "keep changes in 'D/readable': permission"
)]
#[case::changes_of_another("-o D/dir /mnt/x --changes D/other", "it has the changes of another directory")]
#[case::changes_of_two("-o D/dir /mnt/x -o D/vol /mnt/y --changes D/new", "of one --overlay only")]
#[case::start_in_nothing(
    "-C /no/such",
    "(ENOENT); the instance has no such directory; -b shows one of the host"
)]
#[case::start_in_a_hidden_directory("-C /root/no", "enter '/root/no': no such file")]
#[case::start_in_a_file("-C /etc/passwd", "enter '/etc/passwd': not a directory (ENOTDIR)")]
#[case::start_below_a_file("-C /etc/passwd/x", "enter '/etc/passwd/x': not a directory (ENOTDIR)")]
#[case::start_in_tmp("-C /tmp/no", "enter '/tmp/no'")]
#[case::start_in_a_tmpfs("-t - /mnt/x -C /mnt/x/no", "enter '/mnt/x/no'")]
#[case::start_in_a_volume("-v D/vol /mnt/x -C /mnt/x/no", "enter '/mnt/x/no'")]
#[case::start_in_a_closed_directory("-v D D -C D/closed", "enter 'D/closed': permission denied")]
#[case::start_in_an_image("--root BOX -C /no", "enter '/no'")]
#[case::start_in_a_copy("-o D/dir /mnt/x -C /mnt/x/no", "enter '/mnt/x/no'")]
#[case::report_in_nothing("--report D/no/report", "report to 'D/no/report': no such file")]
#[case::report_in_a_file("--report D/file/report", "report to 'D/file/report': not a directory")]
#[case::report_to_a_directory("--report D/dir", "report to 'D/dir': is a directory (EISDIR)")]
#[case::report_in_a_closed_directory(
    "--report D/closed/report",
    "report to 'D/closed/report': permission denied"
)]
#[case::report_in_one_that_is_readable(
    "--report D/readable/report",
    "report to 'D/readable/report': permission"
)]
#[case::report_on_a_closed_one("--report D/link", "report to 'D/link': permission denied")]
#[case::report_behind_a_dangling_link("--report D/dangling", "report to 'D/dangling': no such file")]
#[case::report_to_no_descriptor("--report 77", "report to '77': file descriptor not open")]
#[case::report_without_a_name("--report D/dir/", "neither a file name")]
#[case::report_to_a_negative_number("--report -1", "neither a file name")]
#[case::place_in_a_volume(
    "-v D/vol /mnt/x -t - /mnt/x/no",
    "make the mount point '/mnt/x/no': it would have to be"
)]
#[case::place_deep_in_a_volume(
    "-v D/vol /mnt/x -m D/dir /mnt/x/sub/no/no",
    "make the mount point '/mnt/x/sub/no/no'"
)]
#[case::place_in_a_copy("-o D/vol /mnt/x -m D/dir /mnt/x/no", "make the mount point '/mnt/x/no'")]
#[case::place_of_selfdock("-v D/vol BIN/", "with --no-nest it is not needed")]
#[case::no_place_of_selfdock("-v D/vol BIN/ --no-nest", "")]
#[case::place_that_is_a_file("-v D/vol /mnt/x -m D/dir /mnt/x/file", "a directory cannot be bound on a file")]
#[case::place_that_is_a_directory(
    "-v D/vol /mnt/x -m D/file /mnt/x/sub",
    "a file cannot be bound on a directory"
)]
#[case::tmpfs_on_a_file(
    "-v D/vol /mnt/x -t - /mnt/x/file",
    "mount on '/mnt/x/file': invalid argument (EINVAL); a directory cannot be bound on a file"
)]
#[case::mask_of_nothing("--mask /etc/no", "mask '/etc/no': no such file")]
#[case::mask_in_a_volume("-v D/vol /mnt/x --mask /mnt/x/no", "mask '/mnt/x/no': no such file")]
#[case::mask_in_an_image("--root BOX --mask /bin/no", "mask '/bin/no': no such file")]
#[case::mask_of_no_name_in_an_image("--root BOX --mask /etc/no", "mask '/etc/no': no such file")]
#[case::mask_of_a_name_in_an_image("--root BOX --mask /etc/hosts", "")]
#[case::mask_below_a_mask("--mask /etc --mask /etc/passwd", "mask '/etc/passwd': no such file")]
#[case::mask_of_sysfs_in_a_copy("-o / / --mask /sys/devices/system", "")]
#[case::other_sysfs_in_a_copy("-o / / -m D/dir /sys/devices/system", "")]
#[case::start_below_a_mask("--mask /etc -C /etc/apt", "enter '/etc/apt': no such file")]
#[case::start_in_a_mask("--mask /etc -C /etc", "")]
#[case::start_in_a_masked_file("--mask /etc/passwd -C /etc/passwd", "enter '/etc/passwd': not a directory")]
#[case::start_below_a_masked_file("--mask /etc/passwd -C /etc/passwd/x", "enter '/etc/passwd/x': not a dir")]
#[case::start_in_a_closed_tmpfs("-t mode=77 /mnt/x -C /mnt/x", "enter '/mnt/x': permission denied")]
#[case::start_in_a_closed_shm("-t mode=0 /dev/shm -C /dev/shm", "enter '/dev/shm': permission denied")]
#[case::start_in_a_tmpfs_of_the_caller("-t mode=700 /mnt/x -C /mnt/x", "")]
#[case::root_that_is_a_file("--root D/file", "use the root filesystem 'D/file': not a directory (ENOTDIR)")]
#[case::layer_that_is_a_file("--root D/file --root BOX", "use the root filesystem 'D/file': not a directory")]
#[case::root_that_is_closed(
    "--root D/closed",
    "change the root directory: permission denied (EACCES); you may"
)]
#[case::link_of_the_kernel(
    "-m /proc/self/cwd /mnt/x",
    "open '/proc/self/cwd' to bind it on '/mnt/x': too many links"
)]
#[case::place_below_a_file("-v D/file /etc/passwd/x", "mount on '/etc/passwd/x': not a directory (ENOTDIR)")]
#[case::tmpfs_below_a_file("-t - /etc/passwd/x/y", "mount on '/etc/passwd/x/y': not a directory (ENOTDIR)")]
#[case::place_below_a_volume(
    "-v D/file /mnt/x -t - /mnt/x/y",
    "mount on '/mnt/x/y': not a directory (ENOTDIR)"
)]
#[case::place_in_a_copy_of_what_is_read_only(
    "-o /usr /usr -m D/dir /usr/share/newx",
    "point '/usr/share/newx': it"
)]
#[case::place_of_the_second_program(
    "--root BOX -v D/prog BIN/",
    "selfdock-about': it would have to be made in a"
)]
#[case::root_without_user_namespaces("--fake-root --no-userns", "it needs a user namespace")]
#[case::nothing_wrong("-v D/vol /mnt/x -m D/file /mnt/x/file -t - /mnt/x/sub -C /mnt/x/sub", "")]
#[case::a_map_that_grows("-m D/vol /mnt/x -t - /mnt/x/no/no -C /mnt/x/no", "")]
#[case::a_link_that_leads_away("-v D/vol /mnt/x -C /mnt/x/away", "")]
#[case::a_mount_behind_a_link("-v D/vol /mnt/x -m D/file /mnt/x/away/no", "")]
#[case::a_way_to_a_mount("-v D/vol /new/er/x -C /new/er", "")]
#[case::a_tmpfs_that_grows("-t - /mnt/x -m D/file /mnt/x/a/b -C /mnt/x/a", "")]
#[case::in_the_image("--root BOX -C /bin", "")]
#[case::in_its_tmp("--root BOX -C /tmp", "")]
#[case::a_layer("--root BOX --root D/vol -C /sub", "")]
#[case::what_instances_have("-C /dev/shm --mask-if-exists /etc/no", "")]
#[case::an_empty_directory("-C /home", "")]
#[case::the_root("-C /", "")]
#[case::unusual_words("-C //usr/./lib/", "")]
#[case::a_parent("-C /usr/lib/../share/..", "")]
#[case::a_parent_of_nothing("-C /usr/no/../lib", "enter '/usr/no/../lib': no such file")]
#[case::the_parent_of_a_file("-C /etc/passwd/..", "enter '/etc/passwd/..': not a directory")]
#[case::the_parent_of_a_link("-v D/vol /mnt/x -C /mnt/x/away/../usr", "")]
#[case::a_new_report("--report D/new-report", "")]
#[case::an_old_report("--report D/file", "")]
#[case::a_device("--report /dev/null", "")]
#[case::changes("-o D/dir /mnt/x --changes D/kept", "")]
fn the_plan_refuses_what_a_run_refuses(
    #[case] options: &str,
    #[case] words: &str,
    #[values("", "--unprivileged", "nested")] how: &str,
) {
    let dir = scratch();
    let at = dir.path().display().to_string();
    let script =
        "mkdir dir vol vol/sub closed readable other; touch file vol/file closed/file; ln -s /usr vol/away
        ln -s /no other/origin; ln -s nothing dangling; touch readonly; ln -s readonly link
        mkdir prog; touch prog/selfdock; chmod 0 closed; chmod 555 readable; chmod 444 readonly";
    Cmd::program(args!["sh", "-c", script]).current_dir(dir.path()).ok();
    let bin = selfdock().parent().unwrap().display().to_string();
    let box_ = fixture("busybox").display().to_string();
    let filled =
        |text: &str| text.replace("BOX", &box_).replace("BIN/", &bin).replace("D/", &format!("{at}/"));
    let word = |word: &str| if word == "D" { at.clone() } else { filled(word) };
    let run = |first: &str| {
        let outer =
            if how == "nested" { args![selfdock(), "run", "-b", &at, "-b", &box_].to_vec() } else { vec![] };
        let mode = how.strip_prefix("--").map(|_| how.into());
        let words: Vec<std::ffi::OsString> = options.split(' ').map(|text| word(text).into()).collect();
        let first = Some(first).filter(|first| !first.is_empty()).map(Into::into);
        let own = [selfdock().into()].into_iter().chain(first).chain(mode).chain(words);
        Cmd::program(outer.into_iter().chain(own).chain(args!["run", "/bin/true"])).output()
    };
    let (told, done) = (run("--explain"), run(""));
    Cmd::program(args!["chmod", "-R", "700", dir.path()]).ok();
    assert_eq!((told.status, &told.stderr), (done.status, &done.stderr), "{}", told.stdout);
    if words.is_empty() {
        done.exits(0);
    } else {
        done.refused(&filled(words));
    }
}

#[rstest]
fn the_plan_refuses_a_closed_root_filesystem(
    #[values("run", "--explain")] how: &str,
    #[values(false, true)] is_copy: bool,
) {
    let (root, copy) = (fixture("p"), if is_copy { args!["-o", "/", "/"].to_vec() } else { Vec::new() });
    let words = args![how, "--root", &root].into_iter().chain(copy);
    let why =
        if is_copy { format!("copy '{}': permission", root.display()) } else { "you may not enter".into() };
    Cmd::new(words.chain(args![if how == "run" { "true" } else { "run" }])).refused(&why);
}

/// The oracle is the run.
#[rstest]
fn the_plan_refuses_mounts_in_the_place_of_selfdocks_own(
    #[values(
        "--net none --proxy /tmp/s -m /etc/passwd /dev/shm/selfdock-proxy",
        "--net none --proxy /tmp/s -m /etc/passwd /dev/shm/selfdock-about",
        "--fake-root --mask /dev/shm/selfdock-about"
    )]
    options: &str,
) {
    let script = format!(
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"/tmp/s\")'; chmod 666 /tmp/s
         for explain in '' --explain; do me $SD $explain {options} run echo never 2>&1; echo $?; done"
    );
    let ran = on_a_host(crate::fake_root::WITH_IDS, &script).ok();
    let place = options.split(' ').next_back().unwrap_or_default();
    let refused = format!("selfdock: mount on '{place}': two different mounts are requested there\n125\n");
    assert_eq!(ran + "\n", refused.repeat(2));
}

/// No file of names is in a home, wherever that lies.
#[test]
fn the_plan_of_a_copy_has_the_resolver_that_the_copy_has() {
    let changes =
        "mkdir -p mnt/me mnt/other; for dir in me other; do echo nameserver 127.0.0.53 >mnt/$dir/resolv; done
                   chown -R $ME mnt/me";
    let script = "for dir in me other; do
             ln -sf /mnt/$dir/resolv /etc/resolv.conf
             HOME=/mnt/me me $SD -o / / run cat /etc/resolv.conf 2>/dev/null
             HOME=/mnt/me me $SD --explain -o / / run true | grep -c '^names.*/etc/resolv.conf'
         done";
    assert_eq!(on_a_host(changes, script).output().stdout, "0\nnameserver 127.0.0.53\n1\n");
}

#[test]
fn a_wrong_request_is_refused_when_it_is_explained_too() {
    Cmd::run(args!["--explain", "-v", "/a", "/proc/x", "true"]).refused("/proc");
}

/// The option that the plan names is tried as it stands there.
#[test]
fn the_plan_says_how_to_show_the_control_group() {
    let changes = "umount -l sys; mount -t sysfs sys sys; mount -t cgroup2 cgroup2 sys/fs/cgroup";
    let script = "
        plan=$(me $SD --explain=all run true | grep '^control group')
        option=${plan#*not shown; }
        option=${option% shows its limits}
        eval \"me $SD run $option cat /sys/fs/cgroup/cgroup.controllers\" | cmp - /sys/fs/cgroup$(
            sed -n s/^0:://p /proc/self/cgroup)/cgroup.controllers && echo shown
        eval \"me $SD --explain=all run $option true\" | grep -c '^control group'
        me $SD --explain run true | grep -c '^control group'";
    assert_eq!(on_a_host(changes, script).output().stdout, "shown\n0\n0\n");
}

#[test]
fn the_doctor_says_that_all_is_well() {
    let seen = Cmd::new(args!["doctor"]).ok();
    // A test cannot know the control groups of the machine, nor what else is installed.
    let of_others = ["note  control groups", "note  --"];
    let of_kernel = (!has_scopes()).then_some("note  Landlock of Linux 6.12 is missing");
    let is_note = |line: &str| of_others.into_iter().chain(of_kernel).any(|note| line.starts_with(note));
    let is_well = |line: &str| line.starts_with("ok ") || is_note(line);
    assert!(seen.lines().all(is_well), "{seen}");
    assert!(seen.contains("run works in set-uid mode; instances nest 32 levels deep"), "{seen}");
    let inside = Cmd::run(args![selfdock(), "doctor"]).ok();
    assert!(inside.contains("nest 31 levels deep"), "{inside}");
}

#[rstest]
#[case::something_new("mkdir nix", "'/nix' is not shown")]
#[case::something_gone("rm -rf var/cache/fontconfig; mkdir -p var/cache", "'/var/cache/fontconfig' is gone")]
#[case::a_new_link("ln -s usr/lib libx32", "'/libx32' is not shown")]
#[case::nothing_prepared("rm .$PREFIX/lib/selfdock/root.list", "no root directory is prepared")]
fn the_doctor_says_that_the_host_has_changed(#[case] change: &str, #[case] words: &str) {
    let prepare = "mkdir -p var/cache/fontconfig; grep -q fontconfig .$PREFIX/lib/selfdock/root.list || \
                   printf '/var/cache/fontconfig\\0' >> .$PREFIX/lib/selfdock/root.list";
    let seen = on_a_host(&format!("{prepare}; {change}"), "me $SD doctor | grep ^note").output().stdout;
    assert!(seen.contains(words) && seen.contains("cargo xtask install"), "{seen}");
}

#[test]
fn the_doctor_says_which_options_need_more() {
    let machine = Machine::new();
    let seen = machine.cmd(args!["doctor"]).ok();
    assert!(seen.contains("ok    --fake-root works\nok    --net user works\n"), "{seen}");
    for name in ["--memory", "--pids", "--cpus"] {
        assert_eq!(seen.matches(name).count(), 1, "{seen}");
    }
    std::fs::write(machine.dir.path().join("subuid"), "other:1:1\n").unwrap();
    let seen = machine.cmd(args!["doctor"]).env("PATH", "/usr/sbin:/nosuch").ok();
    for line in [
        "note  --fake-root does not work: read '/etc/subuid': it lists no ids for you; as root: usermod --add-subuids",
        "note  --net user does not work: find 'pasta': no directory of PATH has it; your distribution has it as",
    ] {
        assert!(seen.contains(line), "{line} is not in {seen}");
    }
}

#[test]
fn the_doctor_says_why_privilege_is_missing() {
    let seen = Cmd::under(args!["setpriv", "--no-new-privs"], args!["doctor"]).ok();
    assert!(
        seen.contains("no_new_privs is set") && seen.contains("run works in unprivileged mode"),
        "{seen}"
    );
    let dir = scratch();
    let copy = dir.path().join("selfdock");
    crate::support::copy_program(selfdock(), &copy);
    Cmd::program(args!["chmod", "755", &copy]).ok();
    crate::support::copy_program(about(), dir.path().join("selfdock-about"));
    assert!(Cmd::program(args![&copy, "doctor"]).ok().contains("not set-uid"), "not said");
}

#[test]
fn the_doctor_names_an_outer_instance_without_user_namespaces() {
    let ran = Cmd::run(args!["--no-nest", "--no-userns", selfdock(), "doctor"]).output().exits(1);
    assert!(
        ran.stdout.contains("a filter may be the reason: --no-userns of an outer instance"),
        "{}",
        ran.stdout
    );
}

#[test]
fn the_doctor_fails_where_nothing_works() {
    // It has no privilege, and a root directory in which the kernel allows no user namespace.
    let script = include_str!("../programs/doctor_in_an_image.py");
    let image = fixture("busybox");
    let ran =
        Cmd::program(args![fixture("setuid/probe"), "as-root", "python3", "-c", script, &image]).output();
    assert!(!ran.status.success());
}
