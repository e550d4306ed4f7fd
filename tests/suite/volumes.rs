//! volumes: A volume is exactly the file or directory that the caller named, on the path that the caller named.

use crate::support::{Cmd, args, bin, fixture, host_mounts, on_a_host, scratch, selfdock};
use crate::whole_instance::field;
use rstest::rstest;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// A root filesystem that belongs to the caller.
pub fn user_image() -> TempDir {
    let image = scratch();
    for name in ["bin", "dev", "etc", "mnt", "proc", "sys", "tmp"] {
        fs::create_dir(image.path().join(name)).unwrap();
    }
    crate::support::copy_program(fixture("busybox/bin/busybox"), image.path().join("bin/busybox"));
    for name in ["cat", "grep", "id", "ls", "sh", "touch", "true"] {
        symlink("busybox", image.path().join("bin").join(name)).unwrap();
    }
    image
}

/// A directory of the caller with a file in it.
pub fn marked(text: &str) -> TempDir {
    let dir = scratch();
    fs::write(dir.path().join("marker"), text).unwrap();
    dir
}

#[test]
fn a_volume_is_shared_in_both_directions() {
    let dir = marked("from outside");
    let seen =
        Cmd::run(args!["-v", dir.path(), "/mnt"]).sh("cat /mnt/marker; echo from inside > /mnt/new").ok();
    assert_eq!(seen, "from outside");
    assert_eq!(fs::read_to_string(dir.path().join("new")).unwrap(), "from inside\n");
}

#[test]
fn a_map_is_read_only() {
    let dir = marked("x");
    let ran = Cmd::run(args!["-m", dir.path(), "/mnt"]).sh("cat /mnt/marker; touch /mnt/new").output();
    assert_eq!(ran.stdout, "x");
    assert!(ran.stderr.contains("Read-only file system"));
}

#[test]
fn options_stand_before_or_after_the_word_run() {
    let dir = marked("x");
    for words in [args!["-v", dir.path(), "/mnt", "run"], args!["run", "-v", dir.path(), "/mnt"]] {
        assert_eq!(Cmd::new(words).arg("cat").arg("/mnt/marker").ok(), "x");
    }
}

#[test]
fn a_volume_in_a_foreign_image() {
    let dir = marked("x");
    let run = Cmd::run(args!["--root", fixture("busybox"), "-v", dir.path(), "/mnt", "cat", "/mnt/marker"]);
    assert_eq!(run.ok(), "x");
}

#[test]
fn a_file_is_a_volume_too() {
    let dir = marked("mine");
    let file = dir.path().join("marker");
    let run = Cmd::run(args!["-v", file, "/etc/hostname"]);
    assert_eq!(run.sh("cat /etc/hostname; echo new > /etc/hostname").ok(), "mine");
    assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
}

/// Docker's form, if no file has this name.
#[rstest]
#[case::volume("-v", "", true)]
#[case::by_its_long_name("--volume", "", true)]
#[case::of_ours("--vol", ":rw", true)]
#[case::labelled("-v", ":z", true)]
#[case::read_only("-v", ":ro", false)]
#[case::map("-m", "", false)]
#[case::map_by_its_long_name("--map", "", false)]
fn source_and_destination_stand_in_one_word_too(
    #[case] option: &str,
    #[case] mode: &str,
    #[case] writable: bool,
    #[values(&[][..], &["--unprivileged"])] how: &[&str],
) {
    let dir = scratch();
    let word = format!("{}:/mnt/a b{mode}", dir.path().display());
    let words = how.iter().map(Into::into).chain(args![option, word]);
    let seen =
        Cmd::run(words).sh("touch '/mnt/a b/new' 2>/dev/null && echo written; test -d '/mnt/a b'").ok();
    assert_eq!((seen == "written", dir.path().join("new").exists()), (writable, writable));
}

/// Without a command after them the set-uid program takes the next word as the destination.
#[rstest]
fn an_option_in_one_word_may_be_followed_by_anything(
    #[values(
        "--vol=DIR:/mnt/w",
        "--map=DIR:/mnt/w:ro",
        "--map DIR:/mnt/w",
        "--volume=DIR:/mnt/w",
        "-o DIR:/mnt/w"
    )]
    option: &str,
    #[values("ls /mnt/w", "-- ls /mnt/w", "-H run ls /mnt/w", "-C /mnt/w run ls", "sh -c ls<>/mnt/w")]
    rest: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let dir = scratch();
    std::fs::write(dir.path().join("found"), "").unwrap();
    let before = if rest.contains("run") { "" } else { "run" };
    let line = format!("{mode} {before} {option} {rest}").replace("DIR", &dir.path().display().to_string());
    let words = line.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace("<>", " "));
    assert_eq!(Cmd::new(words.map(Into::into)).current_dir(dir.path()).ok(), "found", "{line}");
}

/// Only `:ro` at the end of a DST is taken for a mode of Docker's.
#[rstest]
fn a_destination_with_a_colon_is_what_it_is_called(
    #[values(
        "/mnt/a:b",
        "/mnt/a:rw",
        "/mnt/a:rom",
        "/mnt/a:ro/",
        "/mnt/a:ro/b",
        "/mnt/a,ro",
        "/dev/shm/a:b"
    )]
    dst: &str,
    #[values("-v", "--vol", "-m")] option: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let dir = marked("x");
    let how = Some(mode).filter(|mode| !mode.is_empty()).map(Into::into);
    let (file, name) = (dir.path().join("marker"), dst.trim_end_matches('/'));
    for words in [
        args![option, dir.path(), dst, "cat", format!("{name}/marker")],
        args![option, file, dst, "cat", name],
    ] {
        assert_eq!(Cmd::run(how.iter().cloned().chain(words)).ok(), "x");
    }
}

/// A path that is named once, or twice, is no mistake.
#[test]
fn a_place_that_ends_like_a_mode_can_be_the_same_inside() {
    let dir = scratch();
    let path = dir.path().join("x:ro");
    fs::create_dir(&path).unwrap();
    for words in [&args!["-b", &path][..], &args!["-v", &path, &path]] {
        Cmd::run(words.iter().cloned().chain(args!["touch", path.join("new")])).ok();
        fs::remove_file(path.join("new")).unwrap();
    }
    Cmd::run(args!["-H", "touch", "new"]).current_dir(&path).ok();
}

#[test]
fn a_source_with_a_colon_is_what_it_is_called() {
    let dir = scratch();
    let source = dir.path().join("a:/mnt");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("file"), "found").unwrap();
    for option in ["-v", "--vol", "-m"] {
        assert_eq!(Cmd::run(args![option, &source, "/mnt", "cat", "/mnt/file"]).ok(), "found");
    }
    // Both programs take it as one path, even if it does not exist.
    for words in [&["--vol", "a:/b"][..], &["--vol=a:/b"]] {
        let words = || words.iter().map(Into::into).chain(args!["/mnt", "true"]);
        Cmd::run(words()).refused("open 'a:/b' to bind it on '/mnt'");
        Cmd::run(args!["--explain"].into_iter().chain(words())).refused("open 'a:/b' to bind it on '/mnt'");
    }
}

#[rstest]
#[case("/home/somebody/deep/below")]
#[case("/mnt/x")]
#[case("/run/x/y")]
#[case("/tmp/x/y")]
#[case("/var/tmp/x")]
fn a_mount_point_below_a_hidden_directory_is_made(#[case] dst: &str) {
    let dir = marked("x");
    let marker = format!("{dst}/marker");
    assert_eq!(Cmd::run(args!["-v", dir.path(), dst, "cat", &marker]).ok(), "x");
    let file = format!("{dst}/file");
    assert_eq!(Cmd::run(args!["-m", dir.path().join("marker"), &file, "cat", &file]).ok(), "x");
}

#[test]
fn the_order_on_the_command_line_does_not_matter() {
    let (outer, inner) = (marked("outer"), marked("inner"));
    fs::create_dir(outer.path().join("sub")).unwrap();
    let a = args!["-v", outer.path(), "/mnt"];
    let b = args!["-m", inner.path(), "/mnt/sub"];
    let read = |words: Vec<OsString>| Cmd::run(words).sh("cat /mnt/marker /mnt/sub/marker").ok();
    assert_eq!(read([a.clone(), b.clone()].concat()), "outerinner");
    assert_eq!(read([b, a].concat()), "outerinner");
}

#[test]
fn a_volume_includes_its_submounts() {
    let run = Cmd::run(args!["-m", fixture("flags"), "/mnt", "cat", "/mnt/sub/marker"]);
    assert_eq!(run.ok(), "submount");
}

/// M2: flags lost or shallow.
#[rstest]
fn a_volume_keeps_its_flags_and_gets_ours(#[values("-v", "-m")] option: &str) {
    let run = Cmd::run(args![option, fixture("flags"), "/srv/flags"]);
    let script = "grep ' /srv/flags' /proc/self/mountinfo; cp /bin/true /srv/flags/sub/p; /srv/flags/sub/p";
    let table = run.sh(script).output();
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        let flags: Vec<&str> = line.split(' ').nth(5).unwrap().split(',').collect();
        for flag in ["nosuid", "nodev", "noexec"].into_iter().chain((option == "-m").then_some("ro")) {
            assert!(flags.contains(&flag), "{flag} is missing: {line}");
        }
    }
    assert!(!table.status.success());
}

/// M2: flags lost or shallow.
#[test]
fn the_root_keeps_the_flags_of_its_mounts_and_gets_ours() {
    let name = fixture("flags").display().to_string();
    let table = Cmd::run(args!["grep", &name, "/proc/self/mountinfo"]).ok();
    assert_eq!(table.lines().count(), 2);
    for line in table.lines() {
        for flag in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(
                line.split(' ').nth(5).unwrap().split(',').any(|f| f == flag),
                "{flag} is missing: {line}"
            );
        }
    }
}

/// Two identical requests count as one.
#[test]
fn a_volume_may_be_named_again() {
    let dir = marked("x");
    let name = dir.path();
    let run =
        Cmd::run(args!["-H", "-v", name, name, "-m", name, "/mnt", "-m", name, "//mnt"]).current_dir(name);
    assert_eq!(run.sh("cat marker /mnt/marker; touch new").ok(), "xx");
}

#[rstest]
#[case::twice(&["-v", "DIR", "/mnt", "-m", "DIR", "/mnt"], "two different mounts are requested")]
#[case::twice_spelt_differently(&["-v", "DIR", "/mnt", "-m", "DIR", "//mnt/./"], "two different mounts are requested")]
#[case::a_volume_and_a_tmpfs(&["-v", "DIR", "/mnt", "-t", "-", "/mnt"], "two different mounts are requested")]
#[case::relative(&["-v", "DIR", "mnt"], "not an absolute path")]
#[case::empty_destination(&["-v", "DIR", ""], "not an absolute path")]
#[case::empty_source(&["-v", "", "/mnt"], "the source path is empty")]
#[case::dots(&["-v", "DIR", "/mnt/../etc"], "contains '..'")]
#[case::root(&["-v", "DIR", "/"], "the root directory cannot be a destination")]
#[case::absent_source(&["-v", "DIR/absent", "/mnt"], "(ENOENT)")]
#[case::file_on_directory(&["-v", "DIR/marker", "/etc"], "a file cannot be bound on a directory")]
#[case::directory_on_file(&["-v", "DIR", "/etc/passwd"], "a directory cannot be bound on a file")]
#[case::no_destination(&["-v", "DIR"], "needs SRC DST")]
fn a_volume_that_makes_no_sense_is_refused(#[case] options: &[&str], #[case] why: &str) {
    let dir = marked("x");
    let name = dir.path().display().to_string();
    Cmd::run(options.iter().map(|word| word.replace("DIR", &name).into())).refused(why);
}

/// A command line of bash, with selfdock, its mode and an image in variables.
fn bash(script: &str, mode: &str) -> Cmd {
    let cmd = Cmd::program(args!["bash", "-c", script]).env("SD", selfdock()).env("MODE", mode);
    cmd.env("BOX", fixture("busybox")).env("PROBE", bin("probe"))
}

/// bash names a pipe by a path: `<(CMD)`. The kernel can mount neither that nor a file without a name.
#[rstest]
#[case::of_bash("$SD $MODE run -m <(echo data) /mnt/x cat /mnt/x")]
#[case::by_another_path("$SD $MODE run -m /proc/self/fd/9 /mnt/x cat /mnt/x 9< <(echo data)")]
#[case::standard_input("echo data | $SD $MODE run -m /dev/stdin /mnt/x cat /mnt/x")]
#[case::a_file("f=$(mktemp); echo data >$f; $SD $MODE run -m /dev/fd/9 /mnt/x cat /mnt/x 9<$f; rm $f")]
#[case::of_a_slow_writer("$SD $MODE run -m <(echo -n da; sleep 0.2; echo ta) /mnt/x cat /mnt/x")]
#[case::no_descriptor("$SD $MODE run -m /proc/self/status /mnt/x grep -q Name: /mnt/x && echo data")]
#[case::on_a_file("$SD $MODE run -m <(echo data) /etc/passwd cat /etc/passwd")]
#[case::in_shared_memory("$SD $MODE run -m <(echo data) /dev/shm/x cat /dev/shm/x")]
#[case::in_an_image("$SD $MODE --root $BOX -m <(echo data) /etc/x run /bin/busybox cat /etc/x")]
#[case::in_one_word("$SD $MODE run -v <(echo data):/mnt/x:ro cat /mnt/x")]
#[case::of_two("$SD $MODE run -m <(printf da) /mnt/a -m <(echo ta) /mnt/b cat /mnt/a /mnt/b")]
#[case::twice(
    "$SD $MODE run -m /dev/fd/9 /mnt/a -m /dev/fd/9 /mnt/b cmp /mnt/a /mnt/b 9< <(echo data) && echo data"
)]
#[case::by_two_descriptors(
    "$SD $MODE run -m /dev/fd/9 /mnt/a -m /dev/fd/8 /mnt/b cmp /mnt/a /mnt/b 9< <(echo data) 8<&9 && echo data"
)]
#[case::of_a_pipe_whose_writer_is_gone(
    "mkfifo $DIR/f; exec 7<>$DIR/f 9<$DIR/f; echo data >&7; exec 7>&-; $SD $MODE run -m /dev/fd/9 /mnt/x cat /mnt/x"
)]
#[case::twice_in_a_batch(
    "echo 1 | $SD $MODE each -m /dev/fd/9 /mnt/a -m /dev/fd/9 /mnt/b sh -c 'cmp /mnt/a /mnt/b && cat /mnt/b' \
     9< <(echo data)"
)]
#[case::inside("$SD run bash -c \"$SD $MODE run -m <(echo data) /mnt/x cat /mnt/x\"")]
#[case::handed_on("$SD $MODE run -m <(echo data) /mnt/x $SD run -m /mnt/x /mnt/y cat /mnt/y")]
#[case::with_limits("$SD $MODE --output-limit 1k run -m <(echo data) /mnt/x cat /mnt/x")]
#[case::beside_a_copy("$SD $MODE -o / / run -m <(echo data) /mnt/x cat /mnt/x")]
#[case::in_a_batch(
    "printf '1\n2\n' | $SD $MODE each -m <(printf da) /mnt/x sh -c 'cat /mnt/x' | sed s/dada/data/"
)]
fn the_data_of_a_descriptor_is_a_file(#[case] script: &str, #[values("", "--unprivileged")] mode: &str) {
    let dir = scratch();
    assert_eq!(bash(script, mode).env("DIR", dir.path()).ok().trim_end(), "data");
}

/// The time is for both together. The exit status is that of timeout(1).
#[rstest]
#[case::nothing_comes("exec sleep 1000", "0.3", "true", ["False", "TO"])]
#[case::too_much_of_it("sleep 1; echo data", "1.5", "sleep 1.4", ["True", "TO"])]
#[case::with_an_attendant("exec sleep 1000", "0.3 --output-limit 1k", "true", ["False", "TO"])]
fn a_timeout_holds_for_data_and_command(
    #[case] writer: &str,
    #[case] time: &str,
    #[case] command: &str,
    #[case] told: [&str; 2],
    #[values("", "--unprivileged")] mode: &str,
) {
    let dir = scratch();
    let script = format!(
        "exec 9< <({writer}); $SD $MODE --report report --timeout {time} run -m /dev/fd/9 /mnt/x {command}
         s=$?; kill $! 2>/dev/null; exit $s"
    );
    bash(&script, mode).current_dir(dir.path()).output().exits(124);
    let report = fs::read_to_string(dir.path().join("report")).unwrap();
    assert_eq!(["started", "status"].map(|name| field(&report, name)), told, "{report}");
}

#[rstest]
fn a_file_with_data_is_read_only_and_leaves_nothing(#[values("", "--unprivileged")] mode: &str) {
    let script = "$SD $MODE run -m <(echo data) /mnt/x sh -c 'echo x >/mnt/x; chmod 777 /mnt/x; rm -f /mnt/x; cat /mnt/x
                  stat -c %a-%s /mnt/x; '$PROBE' fds | cut -d \" \" -f 1' 2>/dev/null";
    assert_eq!(bash(script, mode).ok(), "data\n444-5\n0\n1\n2");
    let script = "$SD $MODE run -m <(head -c 64M /dev/zero) /mnt/x stat -c %s /mnt/x";
    assert_eq!(bash(script, mode).ok(), "67108864");
}

#[rstest]
#[case::not_open(
    "-m /dev/fd/9 /mnt/x 9>&-",
    "read '/dev/fd/9' to show it on '/mnt/x': file descriptor not open (EBADF)"
)]
#[case::closed("-m /dev/stdin /mnt/x <&-", "(EBADF)")]
#[case::no_number("-m /dev/fd/x /mnt/x", "(ENOENT)")]
#[case::below("-m /dev/fd/9/etc /mnt/x 9</", "(ENOENT)")]
#[case::a_directory("-m /dev/fd/9 /mnt/x 9</", "a directory is named by its own path")]
#[case::for_writing("-m /dev/fd/9 /mnt/x 9>/dev/null", "(EBADF)")]
#[case::too_much("-m <(head -c 64M /dev/zero; echo) /mnt/x", "it has more than 64 MiB")]
#[case::a_volume("-v <(echo data) /mnt/x", "nothing is written back to a descriptor")]
#[case::on_a_directory("-m <(echo data) /etc", "a file cannot be bound on a directory")]
fn data_that_cannot_be_shown_is_refused(
    #[case] words: &str,
    #[case] why: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    bash(&format!("$SD $MODE {words} run true"), mode).refused(why);
}

/// The kernel would end a process without a word that does not expect it.
#[rstest]
#[case::data("exec $SD $MODE -m <(echo data) /mnt/x run true", "; 'ulimit -f' shows the limit of a file")]
#[case::data_of_a_batch(
    "echo 1 | exec $SD $MODE -m <(echo data) /mnt/x each true",
    "; 'ulimit -f' shows the limit of a file"
)]
#[case::a_copy("exec $SD $MODE -o / / run true", "; 'ulimit -f' shows the limit of a file")]
#[case::grouped_output("echo 1 | exec $SD $MODE each --group echo", "store the output")]
fn beyond_the_limit_of_a_file_there_is_a_message(
    #[case] script: &str,
    #[case] words: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let seen = bash(&format!("ulimit -f 0; {script}"), mode).refused("file too large (EFBIG)");
    assert!(seen.stderr.contains(words), "{}", seen.stderr);
}

/// The file is made in an empty directory of the host, which is hidden from selfdock then.
#[rstest]
#[case::a_volume("-v link /tmp/y", "sh -c 'echo >/tmp/y/f'")]
#[case::a_report("--report link/f", "true")]
#[case::a_report_by_another_path("--report /srv/../media/f", "true")]
fn a_file_with_data_hides_nothing_that_is_named(#[case] options: &str, #[case] command: &str) {
    let script =
        format!("cd /srv; me $SD {options} -m /dev/fd/9 /tmp/x run {command} 9</etc/passwd; ls /media");
    assert_eq!(on_a_host("touch mnt/full; chmod 777 media; ln -s /media srv/link", &script).ok(), "f");
}

#[test]
fn a_batch_has_its_list_on_standard_input() {
    bash("echo 1 | $SD each -m /dev/stdin /mnt/x true", "").refused("'selfdock each' reads its list there");
}

#[test]
fn the_errno_of_a_missing_source_is_named() {
    Cmd::run(args!["-v", "/no/such/thing", "/mnt", "true"]).refused("'/no/such/thing'").refused("(ENOENT)");
}

#[test]
fn a_name_may_hold_any_byte() {
    let parent = scratch();
    let dir = parent.path().join("a b\n\\\t'\"ü");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("marker"), "x").unwrap();
    let dst = OsString::from("/mnt/c d\n'");
    let mut file = dst.clone();
    file.push("/marker");
    assert_eq!(Cmd::run(args!["-v", dir, dst, "cat", file]).ok(), "x");
}

/// P5: destination escape.
#[rstest]
#[case::absolute("/etc")]
#[case::upwards("../../../../../etc")]
#[case::dangling("/no/such/thing")]
#[case::a_loop("NAME")]
fn a_link_in_an_image_leads_nowhere_else(
    #[case] target: &str,
    #[values("mnt", "dev", "proc", "tmp", "sys")] name: &str,
) {
    let (image, dir) = (user_image(), marked("x"));
    let target = target.replace("NAME", name);
    fs::remove_dir(image.path().join(name)).unwrap();
    symlink(target, image.path().join(name)).unwrap();
    let before = host_mounts();
    let run = Cmd::run(args!["--root", image.path(), "-v", dir.path(), "/mnt", "cat", "/mnt/marker"]);
    run.output().refused_or(|ran| assert_eq!(ran.ok(), "x"));
    assert_eq!(before, host_mounts());
    assert!(!std::path::Path::new("/etc/marker").exists());
}

/// P5: destination escape.
#[test]
fn a_link_in_an_image_is_followed_inside_it() {
    let (image, dir) = (user_image(), marked("x"));
    symlink("/etc", image.path().join("link")).unwrap();
    fs::create_dir(image.path().join("etc/below")).unwrap();
    let run =
        Cmd::run(args!["--root", image.path(), "-v", dir.path(), "/link/below", "cat", "/etc/below/marker"]);
    assert_eq!(run.ok(), "x");
}

#[test]
fn an_image_is_not_changed() {
    let image = user_image();
    let listing = || Cmd::program(args!["find", image.path(), "-printf", "%p %m %T@ %C@\n"]).ok();
    let before = listing();
    Cmd::run(args!["--root", image.path(), "sh", "-c", "touch /tmp/x; ls /"]).ok();
    assert_eq!(listing(), before);
}

#[test]
fn here_is_the_current_directory_and_writable() {
    let dir = scratch();
    let seen = Cmd::run(args!["--here"]).current_dir(dir.path()).sh("pwd; touch made").ok();
    assert_eq!(seen, dir.path().canonicalize().unwrap().display().to_string());
    assert!(dir.path().join("made").exists());
}

/// Some programs keep their work in /dev/shm. The rest of it belongs to the instance, and is gone afterwards.
#[rstest]
fn here_works_in_shared_memory(#[values(&[], &["--unprivileged"], &["--root"])] options: &[&str]) {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let image = fixture("busybox");
    let mut all: Vec<OsString> = options.iter().map(OsString::from).collect();
    if options == ["--root"] {
        all.push(image.into());
    }
    all.extend(args!["-m", "/etc/passwd", "/dev/shm/deep/er/names", "-H", "-t", "size=1M", "/dev/shm/more"]);
    let script = "pwd; echo made > file; cat /dev/shm/deep/er/names | head -n 1 | cut -c1-4; \
                  echo x > /dev/shm/more/x; echo x > /dev/shm/own; ls /dev/shm | wc -l";
    let run = Cmd::new(all).arg("run").arg("/bin/sh").arg("-c").arg(script).current_dir(dir.path());
    assert_eq!(run.ok(), format!("{}\nroot\n3", dir.path().display()));
    assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), "made\n");
    assert!(
        !std::path::Path::new("/dev/shm/own").exists() && !std::path::Path::new("/dev/shm/deep").exists()
    );
}

#[test]
fn here_works_below_a_hidden_directory() {
    let dir = tempfile::TempDir::new_in("/tmp").unwrap();
    let seen = Cmd::run(args!["-H"]).current_dir(dir.path()).sh("pwd; touch made").ok();
    assert_eq!(seen, dir.path().display().to_string());
    assert!(dir.path().join("made").exists());
}

/// It would be the start, which is never another directory without a word.
#[rstest]
fn here_is_refused_in_a_directory_that_the_caller_may_not_enter(
    #[values("", "--unprivileged", "--explain")] option: &str,
) {
    let dir = scratch();
    let script = format!("chmod 0 .; exec \"$0\" {option} -H run pwd");
    let words = args!["sh", "-c", script, selfdock()];
    let refused = Cmd::program(words).current_dir(dir.path());
    let path = dir.path().canonicalize().unwrap();
    refused.refused(&format!("enter '{}': permission denied (EACCES)", path.display()));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[rstest]
#[case::as_a_volume("-H")]
#[case::itself("-C .")]
#[case::below("-C sub")]
fn a_start_in_a_removed_directory_is_refused(
    #[case] start: &str,
    #[values("", "--unprivileged", "--explain")] option: &str,
) {
    let dir = scratch();
    let script = format!("mkdir gone; cd gone; rmdir ../gone; exec \"$0\" {option} {start} run pwd");
    let refused = Cmd::program(args!["sh", "-c", script, selfdock()]).current_dir(dir.path());
    refused.refused("the current directory has no path here");
}

#[test]
fn the_start_is_the_callers_directory_where_it_is_the_same() {
    let dir = scratch();
    let at = |path: &std::path::Path| Cmd::run(args!["pwd"]).current_dir(path).ok();
    assert_eq!(at(dir.path()), dir.path().display().to_string());
    let hidden = tempfile::TempDir::new_in("/tmp").unwrap();
    assert_eq!(at(hidden.path()), "/");
    assert_eq!(Cmd::run(args!["-C", "/etc", "pwd"]).ok(), "/etc");
}

#[rstest]
#[case::absent("/no/such/dir", "(ENOENT)")]
#[case::file("/etc/passwd", "(ENOTDIR)")]
#[case::empty("", "option --chdir: the path is empty")]
fn a_start_that_is_no_directory_is_refused(#[case] dir: &str, #[case] errno: &str) {
    Cmd::run(args!["-C", dir, "true"]).refused(errno);
}

#[rstest]
#[case("-", "1777")]
#[case("mode=700", "700")]
#[case("size=1M,mode=0755", "755")]
fn a_tmpfs_is_private_and_has_its_options(#[case] options: &str, #[case] mode: &str) {
    let run = Cmd::run(args!["-t", options, "/mnt", "stat", "-c", "%a", "/mnt"]);
    assert_eq!(run.ok(), mode);
}

/// The caller need not have access to the directory that the tmpfs covers.
#[test]
fn a_tmpfs_can_cover_a_directory_that_the_caller_may_not_enter() {
    let closed = fixture("p");
    let script = format!("touch {0}/x && ls {0}", closed.display());
    Cmd::run([]).sh(&script).output().exits(1);
    assert_eq!(Cmd::run(args!["-t", "-", &closed]).sh(script).ok(), "x");
    let mounts = Cmd::run(args!["-t", "-", &closed, "cat", "/proc/mounts"]).ok();
    let own = mounts.lines().find(|line| line.contains(&format!(" {} tmpfs ", closed.display())));
    assert!(own.is_some_and(|line| line.contains(" rw,nosuid,nodev,")), "{mounts}");
    let image = user_image();
    for name in ["tmp", "proc", "dev"] {
        fs::set_permissions(image.path().join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let script = "touch /tmp/x && cat /proc/1/comm > /dev/null && echo all";
    assert_eq!(Cmd::run(args!["--root", image.path()]).sh(script).ok(), "all");
}

#[test]
fn a_tmpfs_is_as_large_as_asked_for() {
    let script = "head -c 900k /dev/zero > /mnt/x && head -c 2M /dev/zero > /mnt/y";
    let ran = Cmd::run(args!["-t", "size=1M", "/mnt"]).sh(script).output();
    assert!(!ran.status.success() && ran.stderr.contains("No space left"));
}

/// M8: tmpfs options.
#[rstest]
fn an_option_of_tmpfs_that_is_not_on_the_list_is_refused(
    #[values(
        "uid=0",
        "gid=0",
        "mpol=bind:0",
        "huge=always",
        "size=18446744073709551616",
        "size=",
        "size=-1",
        "size=1M\n",
        "",
        "size",
        "mode=9",
        "mode=4777",
        "ro",
        "size=1M,",
        ",",
        "size=1M,uid=0",
        "nr_inodes=x",
        "context=x"
    )]
    options: &str,
) {
    Cmd::run(args!["-t", options, "/mnt", "true"]).refused("tmpfs option ");
}

#[test]
fn selfdocks_own_directory_as_a_volume_still_nests() {
    let dir = selfdock().parent().unwrap().to_owned();
    Cmd::run(args!["-m", &dir, &dir, selfdock(), "run", "true"]).ok();
}

/// One place by two names is one request.
#[rstest]
#[case("-H -b .")]
#[case("-H -v . $PWD")]
#[case("-v $PWD/. $PWD -H")]
#[case("-b sub -b ./sub")]
#[case("-v sub /mnt/x -v link /mnt//x/")]
#[case("-m sub /mnt/x -m $PWD/sub /mnt/x")]
fn a_place_may_be_requested_by_two_names(#[case] options: &str, #[values("", "--unprivileged")] mode: &str) {
    let dir = scratch();
    fs::create_dir(dir.path().join("sub")).unwrap();
    std::os::unix::fs::symlink("sub", dir.path().join("link")).unwrap();
    let run = |options: &str| {
        let script = format!("exec $SELFDOCK {mode} run {options} true");
        Cmd::program(args!["sh", "-c", script]).env("SELFDOCK", selfdock()).current_dir(dir.path())
    };
    run(options).ok();
    for other in ["-H -B .", "-v sub /mnt/x -v . /mnt/x", "-v sub /mnt/x -m link /mnt/x"] {
        run(other).refused("two different mounts are requested there");
    }
}
