//! overlays: Changes to a copy leave its directory unchanged, and a copy permits no more than its directory.

use crate::support::{
    Cmd, FILESYSTEMS, Ran, Terminal, args, fixture, host_mounts, kernel, on_a_host, scratch, selfdock,
};
use nix::sys::signal::Signal;
use rstest::rstest;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// A tree with some files.
fn tree() -> TempDir {
    let dir = scratch();
    for (name, text) in [("kept", "1"), ("changed", "2"), ("gone", "3"), ("sub/deep", "4"), ("whole/x", "5")]
    {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn listing(dir: &TempDir) -> String {
    let script = "cd \"$0\"; find . -type f -exec head -v -n 9 {} + | sort; ls -lnAR .";
    Cmd::program(args!["sh", "-c", script, dir.path()]).ok()
}

/// Changes, removes and adds in the current directory.
const CHANGE: &str = "echo new > changed; rm gone; mkdir more; echo x > more/y; echo z > sub/deeper; rm -r whole; \
                      cat kept; cat changed; ls gone whole 2>/dev/null; ls more sub; true";
const CHANGED: &str = "1new\nmore:\ny\n\nsub:\ndeep\ndeeper";

/// Checks what [`CHANGE`] prints if its changes are discarded. Before Linux 6.6 a tmpfs has no attributes that a user
/// may set, and the kernel needs one to remove a directory of the original.
fn assert_changed(ran: &Ran) {
    if kernel() >= (6, 6) {
        assert_eq!(ran.ok(), CHANGED);
    } else {
        let is_kept = ran.stderr.contains("'whole': Input/output error");
        assert!(is_kept && ran.stdout.starts_with("1new\n"), "{} {}", ran.stdout, ran.stderr);
    }
}

#[rstest]
#[case::set_uid(args![])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::in_an_image(args!["--root", fixture("busybox")])]
fn changes_to_a_copy_are_discarded<const N: usize>(#[case] options: [OsString; N]) {
    let dir = tree();
    let (before, mounts) = (listing(&dir), host_mounts());
    let words = options.into_iter().chain(args!["-o", dir.path(), "/mnt/w", "-C", "/mnt/w", "run"]);
    assert_changed(&Cmd::new(words.chain(args!["sh", "-c", CHANGE])).output());
    assert_eq!((listing(&dir), host_mounts()), (before, mounts));
}

#[test]
fn the_plan_lists_an_overlay() {
    let plan = Cmd::new(args!["--explain", "-o", "/etc", "/mnt/w", "run", "true"]).ok();
    assert!(plan.contains("overlay\t'/etc'\t'/mnt/w'\trw,nosuid,nodev"), "{plan}");
}

#[test]
fn the_plan_says_which_volumes_are_in_a_copy() {
    let dir = tree();
    let (sub, whole) = (dir.path().join("sub"), dir.path().join("whole"));
    let words = args![
        "-o",
        dir.path(),
        "/mnt/w",
        "-v",
        &sub,
        "/mnt/v",
        "-m",
        &whole,
        "/mnt/m",
        "-m",
        "/etc",
        "/mnt/e"
    ];
    let plan = Cmd::new(args!["--explain"].into_iter().chain(words).chain(args!["run", "true"])).ok();
    let sub = format!("volume\t'{}' in the copy\t'/mnt/v'\trw", sub.display());
    let whole = format!("map\t'{}' in the copy\t'/mnt/m'\tro", whole.display());
    let other = "map\t'/etc'\t'/mnt/e'";
    assert!(plan.contains(&sub) && plan.contains(&whole) && plan.contains(other), "{plan}");
}

/// Whoever writes the report.
#[rstest]
fn a_report_in_a_copy_is_refused(
    #[values("--report DIR/sub/report", "--report DIR/kept", "--report-required --report DIR/report")] report: &str,
    #[values("", "--output-limit 9", "--fake-root")] option: &str,
    #[values("/mnt/w", "/")] place: &str,
) {
    let dir = tree();
    let report = report.replace("DIR", dir.path().to_str().unwrap());
    let options = report.split(' ').chain(option.split_whitespace()).map(OsString::from);
    let words = options.chain(args!["-o", dir.path(), place, "run", "true"]);
    Cmd::new(words)
        .refused("it lies in a directory that is copied; the copy is discarded; use a file elsewhere");
    let words = args!["--report", "1", "-o", dir.path(), "/mnt/w", "run", "true"];
    assert!(Cmd::new(words).ok().starts_with('{'));
}

#[test]
fn a_copy_can_be_on_the_path_of_its_directory() {
    let dir = tree();
    let before = listing(&dir);
    let words = args!["-o", ".", dir.path(), "-m", dir.path(), "/mnt/orig", "run", "sh", "-c"];
    let script = "pwd; echo new > changed; cat /mnt/orig/changed";
    let seen = Cmd::new(words).arg(script).current_dir(dir.path()).ok();
    // Every path in it refers to the copy.
    assert_eq!(seen, format!("{}\nnew", dir.path().display()));
    assert_eq!(listing(&dir), before);
}

/// Also if the directory that is copied has another path by then.
#[test]
fn the_current_directory_in_a_copied_one_is_the_copy() {
    let dir = tree();
    let before = listing(&dir);
    let script = "pwd; echo new >new; cat new deep ../kept; cat /mnt/w/sub/new";
    let seen = Cmd::new(args!["-H", "-o", "..", "/mnt/w", "run", "sh", "-c", script]);
    let seen = seen.current_dir(dir.path().join("sub")).output();
    let pwd = dir.path().join("sub").display().to_string();
    assert_eq!(seen.stdout, format!("{pwd}\nnew\n41new\n"), "{}", seen.stderr);
    assert_eq!(listing(&dir), before);
    let words = args!["-H", "-o", ".", dir.path(), "run", "true"];
    Cmd::new(words).current_dir(dir.path()).refused("two different mounts are requested there");
}

#[test]
fn changes_can_be_kept_and_listed() {
    let (dir, kept) = (tree(), scratch());
    let before = listing(&dir);
    let place = kept.path().join("changes");
    let run = |script: &str| {
        let words = args!["--changes", place, "-o", dir.path(), "/mnt/w", "-C", "/mnt/w", "run", "sh", "-c"];
        Cmd::new(words).arg(script).ok()
    };
    assert_eq!(run(CHANGE), CHANGED);
    let told = Cmd::new(args!["changes", place]).ok();
    assert_eq!(told, "M changed\nD gone\nA more\nA more/y\nA sub/deeper\nD whole");
    assert_eq!(run("chmod 700 sub && chmod 755 sub && chmod 700 sub; ls sub"), "deep\ndeeper");
    assert!(Cmd::new(args!["changes", place]).ok().contains("\nM sub\nA sub/deeper"));
    // Another run continues with these changes.
    assert_eq!(run("cat changed; rm more/y"), "new");
    assert!(Cmd::new(args!["changes", place]).ok().contains("A more\nM sub\nA sub/deeper"));
    assert_eq!(listing(&dir), before);
    let other = tree();
    let words = args!["--changes", place, "-o", other.path(), "/mnt/w", "run", "true"];
    Cmd::new(words).refused("it has the changes of another directory");
    // Nothing in it is closed to the caller.
    Cmd::program(args!["rm", "-r", place]).ok();
}

/// A second overlay with these changes would break the first one.
#[rstest]
fn one_run_at_a_time_uses_a_directory_of_changes(
    #[values(&[][..], &["--unprivileged"])] mode: &[&str],
    #[values("DIR", "/")] source: &str,
) {
    let (dir, kept) = (tree(), TempDir::new_in(std::env::var_os("HOME").expect("a home")).unwrap());
    let place = kept.path().join("changes");
    let at = if source == "/" { "/" } else { "/mnt/w" };
    let source = if source == "/" { Path::new("/") } else { dir.path() };
    let cmd = |command: &[&str]| {
        let words = mode.iter().map(Into::into).chain(args!["--changes", place, "-o", source, at, "run"]);
        Cmd::new(words.chain(command.iter().map(Into::into)))
    };
    let script = format!("cd {at}; mkdir new; echo up; read go; echo x >new/x && mv new newer && echo well");
    let mut first = cmd(&["sh", "-c", &script]).spawn();
    assert_eq!(first.line(), "up");
    let words = format!("keep changes in '{}': another run uses it", place.display());
    cmd(&["true"]).refused(&words);
    first.write("\n");
    assert_eq!(first.rest(), ["well"]);
    assert!(first.wait().success());
    assert!(Cmd::new(args!["changes", place]).ok().contains("A newer\nA newer/x"));
    // One after the other, and after one that was killed.
    for _ in 0..3 {
        cmd(&["true"]).ok();
    }
    let killed = cmd(&["cat"]).spawn().that_repeats();
    killed.signal(Signal::SIGKILL);
    cmd(&["true"]).ok();
}

/// Who can open the directory that is locked can lock it as well, and then no run could use it.
#[rstest]
fn nobody_else_can_lock_a_directory_of_changes(#[values("", "--unprivileged")] mode: &str) {
    let (dir, kept) = (tree(), TempDir::new_in(std::env::var_os("HOME").expect("a home")).unwrap());
    let script = format!(
        r#"umask 0; mkdir -p old/work; for changes in old new; do
               $SELFDOCK {mode} --changes $changes -o "$0" /mnt/w run true; stat -c %a $changes/work
           done"#
    );
    let cmd = Cmd::program(args!["sh", "-c", script, dir.path()]).current_dir(kept.path());
    assert_eq!(cmd.env("SELFDOCK", selfdock()).ok(), "700\n700");
}

/// The user of this directory chose its mode and put a file into it.
#[rstest]
#[case::without_a_mark(
    "echo mine >c/work/mine",
    "keep changes in 'c': selfdock has not made what is in 'work'"
)]
#[case::of_another("ln -s /usr c/origin", "it has the changes of another directory")]
fn a_directory_that_selfdock_did_not_make_stays_as_it_is(
    #[case] act: &str,
    #[case] why: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let (dir, kept) = (tree(), TempDir::new_in(std::env::var_os("HOME").expect("a home")).unwrap());
    let script = format!(
        r#"mkdir -p c/work; chmod 2775 c/work; {act}; $SELFDOCK {mode} --changes c -o "$0" /mnt/w run true
           stat -c %a c/work"#
    );
    let cmd = Cmd::program(args!["sh", "-c", script, dir.path()]).current_dir(kept.path());
    let ran = cmd.env("SELFDOCK", selfdock()).output();
    assert_eq!(ran.stdout, "2775\n");
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
}

/// What belongs to the caller and a supplementary group belongs to the first group in the copy. The oracle is what a
/// member of that group may do with the original.
#[rstest]
fn kept_changes_permit_others_no_more_than_their_original(#[values("", "--unprivileged")] mode: &str) {
    let changes = "cd opt; mkdir -p im/etc im/usr im/var; for dir in bin lib lib64; do ln -s usr/$dir im/$dir; done
         cd ..; ( cd opt/im; mkdir team mine other; echo x | tee etc/team etc/mine etc/acl etc/all >etc/odd; : >var/lock
         chown 0:4 team etc/* var/lock; chown $ME:$MY_GROUP mine etc/mine etc/acl
         chmod 2775 team mine; chmod 640 etc/team etc/mine; chmod 644 etc/all; chmod 664 etc/odd; chmod 660 var/lock
         # user::rw-, user:12345:r--, group::---, mask::r--, other::---
         python3 -c \"import os, struct; os.setxattr('etc/acl', 'system.posix_acl_access', struct.pack('<I', 2) +
             b''.join(struct.pack('<HHi', *e) for e in
                 [(1, 6, -1), (2, 4, 12345), (4, 0, -1), (16, 4, -1), (32, 0, -1)]))\" )
         mount -t tmpfs -o mode=1777 t tmp";
    let script = format!(
        "as() {{ setpriv --reuid=$ME --regid=$MY_GROUP --groups=$MY_GROUP,4 -- \"$@\"; }}
         as $SD {mode} -o / / -r /opt/im -m /usr /usr --changes /tmp/c run true; as $SD changes /tmp/c
         cd /tmp/c; stat -c %a . ; chmod 755 .; cd changed
         stat -c '%a %n' team mine etc/acl etc/all etc/mine etc/odd etc/team var/lock
         may() {{ setpriv --reuid=12346 --regid=$MY_GROUP --clear-groups -- find \"$@\" -type f -readable | sort; }}
         may etc; cd /opt/im; may etc"
    );
    let modes =
        "755 team\n775 mine\n600 etc/acl\n644 etc/all\n640 etc/mine\n644 etc/odd\n600 etc/team\n600 var/lock";
    let readable = "etc/all\netc/mine\netc/odd";
    let seen = on_a_host(changes, &script).ok();
    assert_eq!(seen, format!("700\n{modes}\n{readable}\n{readable}"));
}

/// The next run takes nothing for complete that a killed one has left.
#[test]
fn a_first_run_that_is_killed_leaves_nothing_half_made() {
    // Large directories would take long.
    let changes = "for dir in usr/share usr/include usr/src usr/lib/*; do
             case $dir in *-linux-gnu) ;; *) [ ! -d $dir ] || [ -L $dir ] || mount -t tmpfs t $dir ;; esac
         done; mkdir -p usr/share/x/y/z; mount -t tmpfs -o mode=1777 t tmp";
    let script = "
        list() {
            (cd /tmp/$1/changed; find . -path ./opt -prune -o -type d -printf '%y %m %p\\n' \\
                -o -printf '%y %m %s %l %p\\n' | sort) >/tmp/$1.list
        }
        run() { me \"$@\" $SD --changes /tmp/$dir -o / / run true; echo $?; }
        dir=whole; run env; list whole; dir=cut
        for moment in mkdirat:2 mkdirat:25 mkdirat:60 mknodat:1 sendfile:1 sendfile:20 fsmount:3; do
            call=${moment%:*}
            run strace -qq -f -o /dev/null -e trace=$call -e inject=$call:signal=KILL:when=${moment#*:}
            test ! -L /tmp/cut/origin && run env; list cut
            diff /tmp/whole.list /tmp/cut.list && grep -c '/etc/passwd$' /tmp/cut.list; rm -r /tmp/cut
        done";
    let ran = on_a_host(changes, script).output();
    assert_eq!(ran.stdout, format!("0\n{}", "137\n0\n1\n".repeat(7)), "{}", ran.stderr);
}

/// The next run would take what is there for complete.
#[rstest]
#[case::descriptors("ulimit -n 40", "too many open files (EMFILE)")]
#[case::inodes("mount -o remount,nr_inodes=300 /tmp/kept", "the disk of the directory of --changes is full")]
fn a_first_run_that_lacks_something_leaves_nothing_half_made(#[case] lack: &str, #[case] words: &str) {
    let changes = "mkdir -p opt/$(seq -s / 60)/end; chmod -R a+rX opt/1";
    let script = format!(
        "mkdir /tmp/kept; mount -t tmpfs -o mode=1777 t /tmp/kept
         ({lack}; me $SD --changes /tmp/kept/c -o / / run echo never; echo $?); test ! -L /tmp/kept/c/origin; echo $?
         mount -o remount,nr_inodes=0 /tmp/kept
         me $SD --changes /tmp/kept/c -o / / run touch /opt/$(seq -s / 60)/end/new; echo $?"
    );
    let ran = on_a_host(changes, &script).output();
    assert_eq!(ran.stdout, "125\n0\n0\n", "{}", ran.stderr);
    assert!(ran.stderr.contains(words) && ran.stderr.lines().count() == 1, "{}", ran.stderr);
}

/// The oracle is the run without a copy.
#[rstest]
#[case::below_a_hidden_home("")]
#[case::in_a_mount("-v . /opt/all/u/d")]
#[case::below_a_tmpfs("-t - /opt/all")]
#[case::below_a_mask("--mask /opt/all")]
fn a_copy_of_the_image_starts_where_the_image_does(
    #[case] options: &str,
    #[values("/opt/all/u", "/nosuch")] home: &str,
) {
    let script = format!(
        "cd /opt/all/u/d; HOME={home}; export HOME
         me $SD {options} run pwd; me $SD {options} -o / / run pwd"
    );
    let ran = on_a_host("mkdir -p opt/all/u/d; chown -R $ME opt/all", &script).ok();
    let (image, copy) = ran.split_once('\n').unwrap_or_default();
    assert_eq!(image, copy);
}

/// Another run could use the directory that is there now.
#[test]
fn changes_that_are_exchanged_meanwhile_are_refused() {
    let (dir, kept) = (tree(), scratch());
    // Without privilege, a process that is traced is stopped before it makes its namespaces.
    let script = r#"
        strace -qq -f -o /dev/null -e trace=unshare -e inject=unshare:signal=STOP:when=1 \
            $SELFDOCK --changes c -o "$0" /mnt/w run echo never & tracer=$!
        until pid=$(cat /proc/$tracer/task/$tracer/children) && test -d c/work && ! flock -n c/work true; do
            sleep 0.05
        done
        mv c/work c/before; $SELFDOCK --changes c -o "$0" /mnt/w run echo second
        while kill -CONT $pid 2>/dev/null; do sleep 0.05; done; wait $tracer; echo $?"#;
    let cmd = Cmd::program(args!["sh", "-c", script, dir.path()]);
    let ran = cmd.current_dir(kept.path()).env("SELFDOCK", selfdock()).output();
    let words = "selfdock: keep changes in 'c': another directory has taken its place meanwhile\n";
    assert_eq!((&*ran.stdout, &*ran.stderr), ("second\n125\n", words));
}

/// P6: staging path. Commands of another instance can rename what the caller names, while selfdock makes the copy and
/// after that.
#[rstest]
#[case::of_the_image(
    "--changes c -o / /",
    "mv c real; mkdir -p evil/work; ln -s ../other evil/changed; ln -s evil c"
)]
#[case::with_changes("--changes c -o e/x /mnt/w", "mv e/x e/z; mv e/y e/x")]
#[case::of_a_directory("-o e/x /mnt/w", "mv e/x e/z; mv e/y e/x")]
#[case::as_an_image("--root image -o / /", "mv image old; mv other image")]
fn a_copy_stays_the_one_that_was_made(#[case] options: &str, #[case] rename: &str) {
    let dir = TempDir::new_in(std::env::var_os("HOME").expect("a home")).unwrap();
    // The second call of umask is the one after the copy has been made.
    let script = format!(
        r#"mkdir -p e/x e/y image other; cp -r "$IMAGE/bin" image; cp -r "$IMAGE/bin" other; touch other/victim trace
           strace -qq -o trace -e trace=umask -e inject=umask:signal=STOP:when=2 \
               $SELFDOCK {options} run /bin/sh -c '
                   test ! -e /victim; echo $?; mkdir -p /mnt/w; echo new >/mnt/w/new
               ' & tracer=$!
           until grep -q 'stopped by SIGSTOP' trace; do kill -0 $tracer || exit; sleep 0.05; done
           pid=$(cat /proc/$tracer/task/$tracer/children)
           {rename}
           while kill -CONT $pid 2>/dev/null; do sleep 0.05; done; wait $tracer
           find . -name new | grep -v /changed/"#
    );
    let cmd = Cmd::program(args!["sh", "-c", script]).env("IMAGE", fixture("busybox"));
    let ran = cmd.current_dir(dir.path()).env("SELFDOCK", selfdock()).output();
    assert_eq!((&*ran.stdout, &*ran.stderr), ("0\n", ""));
}

/// F4: hung or foreign mounts, links where directories are. A copy of the image has an empty directory in their place.
#[rstest]
#[case::below_a_place("/opt/x")]
#[case::below_another("/usr/local/x")]
#[case::beside_the_places("/mnt")]
#[case::where_a_copy_could_be("/srv")]
fn file_systems_of_others_hold_up_no_copy(
    #[case] place: &str,
    #[values("", "--unprivileged")] mode: &str,
    #[values("me", "me env HOME=PLACE/hung/me")] who: &str,
) {
    let script = format!(
        "{FILESYSTEMS}
         filesystems {place}
         {who} timeout $LONG $SD {mode} -o / / run sh -c 'ls -A {place}/hung {place}/dead {place}/foreign | xargs'
         echo $?
         mkdir /tmp/kept; mount -t tmpfs -o mode=1777 t /tmp/kept
         {who} timeout $LONG $SD {mode} -o / / --changes /tmp/kept/here run true; echo $?
         kill $servers 2>/dev/null; umount -l {place}/hung"
    )
    .replace("PLACE", place);
    let ran = on_a_host(&format!("mkdir -p .{place}"), &script).output();
    let seen = match place {
        "/mnt" | "/srv" => "\n",
        _ => "PLACE/dead: PLACE/foreign: PLACE/hung:\n",
    };
    assert_eq!(ran.stdout, format!("{seen}0\n0\n").replace("PLACE", place), "{}", ran.stderr);
}

/// The directory in which a copy is made may be such a file system.
#[rstest]
fn no_hung_file_system_is_taken_for_an_empty_directory(
    #[values("-o / /", "-m /dev/fd/9 /tmp/x")] options: &str,
) {
    let script = format!(
        "{FILESYSTEMS}
         filesystems /opt/x; mount --bind /opt/x/hung /mnt; mount --bind /opt/x/hung /srv
         me timeout $LONG $SD {options} run echo ran 9</etc/passwd; echo $?
         kill $servers 2>/dev/null; umount -l /opt/x/hung"
    );
    let ran = on_a_host("mkdir -p opt/x", &script).output();
    assert_eq!(ran.stdout, "ran\n0\n", "{}", ran.stderr);
}

/// What is made around an instance is made in an empty directory. If there is no other, the installation has one.
#[rstest]
#[case::a_copy_of_the_image("-o / /", "it")]
#[case::data("-m /dev/fd/9 /tmp/x", "them")]
#[case::a_resolver("--net user", "it")]
fn what_is_made_around_an_instance_needs_an_empty_directory(#[case] options: &str, #[case] what: &str) {
    let fill = "for d in mnt srv media home boot; do mkdir -p $d && mount -t tmpfs t $d && touch $d/x; done
                rm -f etc/resolv.conf; echo nameserver 127.0.0.53 >etc/resolv.conf
                mknod -m 666 tun c 10 200; test ! -e dev/net/tun || mount --bind tun dev/net/tun";
    let script = format!(
        "mkdir /tmp/own && cp $SD ${{SD%/bin/*}}/lib/selfdock/selfdock-about /tmp/own && chmod 755 /tmp/own/*
         me /tmp/own/selfdock {options} run echo never 9</etc/passwd; exit $?"
    );
    let words = format!("no empty directory was found for {what}; an empty /mnt is enough");
    // pasta has something to say about this host, too.
    let ran = on_a_host(fill, &script).output().exits(125);
    assert!(ran.stdout.is_empty() && ran.stderr.contains(&words), "{}", ran.stderr);
}

/// The caller's own empty directory is left for the caller.
#[test]
fn what_is_made_around_an_instance_is_not_made_in_a_volume() {
    let changes = "rm -f etc/resolv.conf; echo nameserver 127.0.0.53 >etc/resolv.conf
                   for d in srv media home boot; do mkdir -p $d && mount -t tmpfs t $d && touch $d/x; done
                   mount -t tmpfs -o mode=777 t mnt
                   mknod -m 666 tun c 10 200; test ! -e dev/net/tun || mount --bind tun dev/net/tun";
    let script = "me $SD --net user -v /mnt /x run sh -c 'echo it >/x/new'; cat /mnt/new";
    let ran = on_a_host(changes, script).output();
    assert_eq!(ran.stdout, "it\n", "{}", ran.stderr);
}

/// Each empty directory of the host is as it is in an instance that shows all of the host, and what is written there
/// reaches the host.
#[rstest]
#[case::beside_a_copy("-o /opt/src /x")]
#[case::without_privilege("--unprivileged -o /opt/src /x")]
#[case::as_root_of_a_namespace("--fake-root -o /opt/src /x")]
#[case::beside_kept_changes("-o /opt/src /x --changes /opt/kept/it")]
#[case::in_a_copy_of_the_image("-o / /")]
#[case::beside_data("-m /dev/fd/9 /x")]
#[case::beside_data_and_a_copy("-m /dev/fd/9 /x/y -o /opt/src /x")]
#[case::beside_a_resolver("--net user")]
fn nothing_that_is_made_around_an_instance_is_seen_in_the_root_directory_of_the_host(#[case] options: &str) {
    let changes = "for d in mnt srv media home boot; do mkdir -p $d && mount -t tmpfs -o mode=777 t $d; done
                   mkdir -p opt/src opt/kept; echo old >opt/src/y; mount -t tmpfs -o mode=777 t opt/kept
                   chown -R $ME opt/src
                   rm -f etc/resolv.conf; echo nameserver 127.0.0.53 >etc/resolv.conf
                   for ids in subuid subgid; do echo $ME:200000:65536 >etc/$ids; done
                   echo me:x:$ME:$MY_GROUP::/:/bin/sh >>etc/passwd
                   mknod -m 666 tun c 10 200; test ! -e dev/net/tun || mount --bind tun dev/net/tun";
    let look = "for d in mnt srv media home boot; do ls -A /again/$d; echo it >/host/$d/out; done";
    let script = format!(
        "me $SD {options} -v / /host -m tmp/.. /again run sh -c '{look}' 9</etc/passwd
         cat /mnt/out /srv/out /media/out /home/out /boot/out"
    );
    let ran = on_a_host(changes, &script).output();
    assert_eq!(ran.stdout, "it\n".repeat(5), "{}", ran.stderr);
}

/// `/` can be the root filesystem by another name, or a layer. The oracle is the same root without the option.
#[rstest]
fn nothing_that_is_made_around_an_instance_is_seen_in_its_root_filesystem(
    #[values("-r / -r /opt/layer", "-r tmp/..", "-r /opt/link", "-r tmp/.. -r /opt/layer")] root: &str,
    #[values("-m /dev/fd/9 /opt/f", "-o /opt/src /opt/d", "--unprivileged -m /dev/fd/9 /opt/f")] option: &str,
) {
    let changes = "for d in mnt srv media home boot; do mkdir -p $d && mount -t tmpfs -o mode=777 t $d; done
                   mkdir -p opt/src opt/layer/new opt/d; touch opt/f; chown -R $ME opt/src; ln -s / opt/link";
    let script = format!(
        "look='ls -A /mnt /srv /media /home /boot | xargs'
         me $SD {root} {option} run sh -c \"$look\" 9</etc/passwd; me $SD {root} run sh -c \"$look\""
    );
    let ran = on_a_host(changes, &script).output();
    let looked = "/boot: /home: /media: /mnt: /srv:\n";
    assert_eq!(ran.stdout, format!("{looked}{looked}"), "{}", ran.stderr);
}

/// A copy is seen in the place of what was copied, also there.
#[test]
fn the_root_directory_of_the_host_shows_a_copy_in_the_place_of_its_source() {
    let script = "me $SD -v /opt/src /opt/src -m /opt/src /kept run $SD -o /opt/src /x -v / /host \
                  run sh -c 'echo new >/host/opt/src/y; cat /x/y; ls -A /host/mnt /host/srv | xargs'
                  cat /opt/src/y";
    let changes = "mkdir -p opt/src; echo old >opt/src/y; chown -R $ME:$MY_GROUP opt/src";
    let ran = on_a_host(changes, script).output();
    assert_eq!(ran.stdout, "new\n/host/mnt: /host/srv:\nold\n", "{}", ran.stderr);
}

/// As a link there, which stays, too.
#[rstest]
#[case::an_empty_directory("rmdir /media && echo it >/media", "cat /media", "it")]
#[case::a_fifo("rmdir /media && mkfifo /media", "test -p /media && echo it", "it")]
#[case::a_parent("mv /var /var.old && echo it >/var", "cat /var", "it")]
fn a_file_in_the_place_of_a_directory_stays_in_kept_changes(
    #[case] change: &str,
    #[case] look: &str,
    #[case] seen: &str,
) {
    let kept = TempDir::new_in(std::env::var_os("HOME").expect("a home")).expect("make a directory");
    let place = kept.path().join("changes");
    let run = |script: &str| Cmd::new(args!["-o", "/", "/", "--changes", place, "run", "sh", "-c", script]);
    run(change).ok();
    assert_eq!(run(look).ok(), seen);
}

/// Otherwise a second copy could use the directory while a process outside still has a file of the first one open.
#[rstest]
#[case::no_instance("instances", "fs.inotify.max_user_instances or the limit of open files is reached")]
#[case::no_watch("watches", "fs.inotify.max_user_watches is reached")]
fn changes_are_not_kept_in_a_directory_that_cannot_be_watched(#[case] what: &str, #[case] why: &str) {
    let script = format!(
        "mkdir /tmp/src; chown $ME /tmp/src; mount -t tmpfs -o mode=777 t /opt/kept
         me unshare -r sh -c 'echo 0 >/proc/sys/user/max_inotify_{what}
         exec $SD -o /tmp/src /x --changes /opt/kept/it run echo ran'; echo $?; ls /opt/kept/it/changed"
    );
    let ran = on_a_host("mkdir opt/kept", &script).output();
    assert_eq!(ran.stdout, "125\n", "{}", ran.stderr);
    assert!(ran.stderr.contains("watch the copy") && ran.stderr.contains(why), "{}", ran.stderr);
}

/// Also with a small stack.
#[test]
fn changes_deeper_than_a_path_can_be_are_listed() {
    let (dir, kept) = (scratch(), scratch());
    let place = kept.path().join("changes");
    let script = "import os\nos.chdir('/mnt/w')\nfor i in range(3000): os.mkdir('d'); os.chdir('d')\nopen('../x', 'w')";
    let words = args!["--changes", place, "-o", dir.path(), "/mnt/w", "run", "python3", "-c"];
    Cmd::new(words).arg(script).ok();
    fs::write(place.join("changed/other"), "").unwrap();
    let listed = Cmd::program(args!["sh", "-c", "ulimit -s 256; exec $SELFDOCK changes \"$0\"", place]);
    let told = listed.env("SELFDOCK", selfdock()).ok();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!((lines[0], lines[1], *lines.last().unwrap()), ("A d", "A d/d", "A other"));
    let unlisted: Vec<&&str> = lines.iter().filter(|line| line.starts_with("? d/d/")).collect();
    assert_eq!(unlisted.len(), 1, "{}", lines.len());
    Cmd::program(args!["rm", "-r", kept.path().join("changes")]).ok();
}

/// A command has chosen the names, and they are printed on the terminal.
#[test]
fn names_of_changes_cannot_pass_for_others() {
    let (dir, kept) = (scratch(), scratch());
    let place = kept.path().join("changes");
    let script =
        r#"cd /mnt/w; touch 'a b' "$(printf 'c\nD d')" "$(printf 'e\033[2J')" "$(printf 'f\377')" "'g'""#;
    Cmd::new(args!["--changes", place, "-o", dir.path(), "/mnt/w", "run", "sh", "-c", script]).ok();
    let told = Cmd::new(args!["changes", place]).ok();
    assert_eq!(
        told,
        r"A '\'g\''
A 'c\nD d'
A 'e\u{1b}[2J'
A 'f\xff'
A a b"
    );
}

#[test]
fn a_copy_shows_and_permits_no_more_than_its_directory() {
    let script = "id -u; /mnt/s/probe as-root id -u 2>/dev/null || echo inert; \
                  ls /mnt/e/ldconfig 2>/dev/null || echo closed; rm -r /mnt/e/ldconfig 2>/dev/null || echo kept; \
                  grep -c CapEff:.0000000000000000 /proc/self/status";
    let words =
        args!["-o", "/var/cache", "/mnt/e", "-o", fixture("setuid"), "/mnt/s", "run", "sh", "-c", script];
    let own = nix::unistd::getuid();
    assert_eq!(Cmd::new(words).ok(), format!("{own}\ninert\nclosed\nkept\n1"));
}

/// The kernel maps only one group of the caller. The oracle is the directory without selfdock.
#[rstest]
fn a_copy_can_be_written_to_where_a_supplementary_group_permits_it(
    #[values("$ME:4", "0:4", "0:$MY_GROUP")] owner: &str,
    #[values("opt/g", "opt/g/sub opt/g/own/deep")] whose: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let changes = format!(
        "mkdir -p opt/g/sub opt/g/own/deep opt/g/closed opt/g/sticky
         touch opt/g/f opt/g/sub/f opt/g/own/deep/f opt/g/sticky/f
         chown -R $ME:$MY_GROUP opt/g; chown -R {owner} {whose}; chown -R 0:0 opt/g/closed opt/g/sticky
         chmod -R g+w opt/g; chmod 2775 opt/g opt/g/sub; chmod 1777 opt/g/sticky
         cp -a opt/g opt/plain; cp -a opt/g opt/before"
    );
    // Before Linux 6.6 no directory of the original can be removed from a copy whose changes are discarded.
    let moved = if kernel() >= (6, 6) { "mv own/deep own/deeper" } else { "" };
    let change = format!(
        "cd $0; touch sub/new own/deep/new; echo x >sub/g; mv sub/g sub/f; rm own/deep/f
         touch closed/new 2>/dev/null || echo closed; {moved}
         rm -f sticky/f 2>/dev/null || echo sticky; find . | sort; cat sub/f"
    );
    let script = format!(
        "as() {{ setpriv --reuid=$ME --regid=$MY_GROUP --groups=$MY_GROUP,4 -- \"$@\"; }}
         as $SD {mode} -o /opt/g /y run sh -c '{change}' /y; echo ==; as sh -c '{change}' /opt/plain
         diff -r /opt/g /opt/before"
    );
    let ran = on_a_host(&changes, &script).ok();
    let (copy, plain) = ran.split_once("\n==\n").unwrap_or_default();
    assert_eq!(copy, plain);
    assert!(plain.starts_with("closed\nsticky\n") && plain.ends_with("x"), "{plain}");
}

/// Also in a copy of an image: selfdock makes mount points there.
#[rstest]
fn an_image_of_a_supplementary_group_can_be_copied(
    #[values("opt/im", "opt/im/*")] whose: &str,
    #[values("", "--unprivileged", "--fake-root")] mode: &str,
    #[values("-r /opt/im", "-r /usr/share/doc -r /opt/im")] root: &str,
) {
    let changes = format!(
        "mkdir -p opt/im/etc opt/im/usr; for dir in bin lib lib64; do ln -s usr/$dir opt/im/$dir; done
         chown $ME:$MY_GROUP opt/im; chown -R $ME:4 {whose}; {}",
        crate::fake_root::WITH_IDS
    );
    let script = format!(
        "setpriv --reuid=$ME --regid=$MY_GROUP --groups=$MY_GROUP,4 -- \
             $SD {mode} -o / / {root} -m /usr /usr run sh -c '
             echo new >/etc/new; cat /etc/new; test -s /etc/hosts; echo $?'"
    );
    assert_eq!(on_a_host(&changes, &script).ok(), "new\n0");
}

/// What the mount covers would become visible.
#[test]
fn a_directory_with_a_mount_in_it_is_not_copied() {
    Cmd::new(args!["-o", fixture(""), "/mnt/w", "run", "true"]).refused("something is mounted in it");
}

/// Makes changes in a copy of the host image, and prints what can be seen of them.
const IN_IMAGE: &str = "touch /new /usr/bin/new /var/lib/new; rm /usr/bin/env; ls /usr/bin/env 2>/dev/null; \
                        echo more >> /etc/hosts; tail -n 1 /etc/hosts; mkdir -p /var/lib/x/y; \
                        ls /new /usr/bin/new; id -u";

#[rstest]
#[case::set_uid(args![])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::nested(args!["run", selfdock()])]
fn the_whole_image_can_be_written_to_and_is_as_before<const N: usize>(#[case] before: [OsString; N]) {
    let (hosts, mounts) = (fs::read("/etc/hosts").unwrap(), host_mounts());
    let words = before.into_iter().chain(args!["-o", "/", "/", "run", "sh", "-c", IN_IMAGE]);
    let own = nix::unistd::getuid();
    assert_eq!(Cmd::new(words).ok(), format!("more\n/new\n/usr/bin/new\n{own}"));
    assert_eq!((fs::read("/etc/hosts").unwrap(), host_mounts()), (hosts, mounts));
    assert!(!std::path::Path::new("/usr/bin/new").exists() && std::path::Path::new("/usr/bin/env").exists());
}

/// A copy shows no file of other users that an ordinary instance would not show.
#[test]
fn a_copy_of_the_image_shows_no_more_than_the_image() {
    let script = "ls -A / /home /root /run /srv /mnt /media /boot /var /var/lib /var/log /var/cache /usr /etc 2>&1; \
                  for f in /etc/shadow /etc/ssl/private/* /root/.bashrc /var/log/*; do cat $f 2>/dev/null; done; true";
    let list = |words: &[OsString]| {
        let seen = Cmd::new(words.iter().cloned().chain(args!["run", "sh", "-c", script])).ok();
        seen.lines().map(String::from).collect::<Vec<_>>()
    };
    let ordinary = list(&args![]);
    for line in list(&args!["-o", "/", "/"]) {
        assert!(ordinary.contains(&line), "{line:?} is not in {ordinary:#?}");
    }
}

/// The kernel copies no file of other users into the upper layer: the copy would have to belong to them.
#[test]
fn a_file_of_another_owner_can_be_replaced_and_not_changed() {
    let script = "cd /usr/bin; LC_ALL=C; export LC_ALL; stat -c %U env; echo x >> env; mv env env2; ln env env3; \
                  chmod 700 env; cp env env4 && mv -f env4 env && stat -c %u env; stat -c %u .; rm env && ls env";
    let ran = Cmd::new(args!["-o", "/", "/", "run", "sh", "-c", format!("({script}) 2>&1; true")]).ok();
    let own = nix::unistd::getuid();
    let said: Vec<&str> = ran.lines().collect();
    for (at, what) in
        ["nobody", "cannot create env", "Value too large", "ot permitted", "ot permitted"].iter().enumerate()
    {
        assert!(said[at].contains(what), "{at}: {ran}");
    }
    assert_eq!(&said[5..7], [own.to_string(), own.to_string()], "{ran}");
    assert!(said[7].contains("No such file"), "{ran}");
}

/// A directory gets the set-group-ID bit from that it is made in. This is no change of a command.
#[rstest]
fn changes_of_the_image_can_be_kept_and_told(#[values(0o700, 0o2700)] mode: u32) {
    let kept = TempDir::new_in(std::env::var_os("HOME").expect("a home")).expect("make a directory");
    fs::set_permissions(kept.path(), Permissions::from_mode(mode)).expect("set the permissions");
    let place = kept.path().join("changes");
    let run =
        |script: &str| Cmd::new(args!["--changes", place, "-o", "/", "/", "run", "sh", "-c", script]).ok();
    run("echo more >> /etc/hosts; rm -r /usr/share/perl5; mkdir /new; touch /new/x");
    // Other tests change what is in /opt meanwhile.
    let changes = || {
        let told = Cmd::new(args!["changes", place]).ok();
        told.lines().filter(|line| !line.contains(" opt/")).collect::<Vec<_>>().join("\n")
    };
    let told = "M etc/hosts\nA new\nA new/x\nD usr/share/perl5";
    assert_eq!(changes(), told);
    // Removed files stay removed when the copy is used again.
    assert_eq!(run("ls /new; ls /usr/share/perl5 2>&1 | grep -c No.such; rm /new/x"), "x\n1");
    assert_eq!(changes(), "M etc/hosts\nA new\nD usr/share/perl5");
    let closed = Cmd::program(args!["find", place.join("work"), "!", "-perm", "-700"]).ok();
    assert_eq!(closed, "");
}

/// The set-group-ID bit of a directory can also be a change.
#[test]
fn a_set_group_id_bit_that_a_command_sets_is_listed() {
    let (dir, kept) = (tree(), scratch());
    let options = args!["-o", dir.path(), "/mnt", "--changes", kept.path(), "run"];
    Cmd::new(options.into_iter().chain(args!["chmod", "-R", "g+s", "/mnt"])).ok();
    let told = Cmd::new(args!["changes", kept.path()]).ok();
    assert!(told.lines().any(|line| line == "M sub"), "{told}");
}

/// Without the original each changed file would be listed as a new one, and no removed file at all.
#[test]
fn changes_are_not_listed_without_their_original() {
    let base = scratch();
    let at = |name: &str| base.path().join(name);
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("dir/file"), "1").unwrap();
    let run =
        Cmd::run(args!["-o", at("dir"), "/mnt", "--changes", at("kept"), "sh", "-c", "echo 2 > /mnt/file"]);
    run.ok();
    let changes = || Cmd::new(args!["changes", at("kept")]);
    let original = at("dir").canonicalize().unwrap();
    let refused =
        |why: &str| changes().refused(&format!("compare the changes with '{}': {why}", original.display()));
    fs::rename(at("dir"), at("moved")).unwrap();
    refused("no such file or directory (ENOENT); the changed files are in 'changed'");
    fs::rename(at("moved"), at("dir")).unwrap();
    let permit = |name: &str, mode| fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
    permit("dir", 0);
    refused("permission denied (EACCES)");
    permit("dir", 0o755);
    permit("kept/changed", 0);
    changes().refused(&format!("list '{}': permission denied (EACCES)", at("kept/changed").display()));
    permit("kept/changed", 0o700);
    assert_eq!(changes().ok(), "M file");
}

/// selfdock's own mount points are no changes, and what the command makes in their place is one. Without the host's
/// network an instance has no files for names of hosts.
#[rstest]
fn the_mount_points_of_a_copy_are_no_changes(
    #[values("", "--unprivileged")] mode: &str,
    #[values("--root IMAGE", "--root IMAGE --root LAYER")] root: &str,
) {
    let base = TempDir::new_in(std::env::var_os("HOME").expect("a home")).expect("make a directory");
    let at = base.path().display().to_string();
    let prepare = "mkdir -p image layer/x; for name in bin lib lib64; do ln -s usr/$name image; done";
    Cmd::program(args!["sh", "-c", prepare]).current_dir(base.path()).ok();
    let root = root.replace("IMAGE", &format!("{at}/image")).replace("LAYER", &format!("{at}/layer"));
    let run = |options: &str, script: &str| {
        let words = format!("{mode} {root} -o / / --changes {at}/changes -m /usr /usr {options} run");
        let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        Cmd::new(words).sh(script).ok()
    };
    let told = || Cmd::new(args!["changes", base.path().join("changes")]).ok();
    run("-m /etc/passwd /opt/deep/file -t - /srv/new", "test -s /etc/hosts && ls /dev/null /opt/deep/file");
    assert_eq!(told(), "");
    run("", "echo x >/new; echo y >/opt");
    assert_eq!(told(), "A new\nA opt");
    // Then they are seen, if selfdock had made them.
    assert_eq!(
        run("--net none", "ls -d /etc /srv 2>/dev/null; mkdir /etc; touch /etc/hosts; ls -A /etc"),
        "hosts"
    );
    assert_eq!(told(), "A etc\nA etc/hosts\nA new\nA opt");
    run("", "test -s /etc/hosts");
    assert_eq!(told(), "A etc\nA etc/hosts\nA new\nA opt");
}

/// Replaces each kind of file by another kind. Each change is told, and what the copy shows is what the same commands
/// leave without selfdock. `docs/recipes.md` applies it so.
#[rstest]
fn what_became_of_each_file_is_told_and_can_be_applied(
    #[values("", "--unprivileged")] mode: &str,
    #[values(false, true)] is_nested: bool,
) {
    const BECOME: &str =
        "rm -r whole; mkdir -p whole/sub; echo 1 > whole/sub/new; rm -r sub; ln -s kept sub; rm gone;
        mkdir gone; touch gone/x; rm link; mkdir link; touch link/x; rm -r dir; echo 2 > dir; ln kept hard
        mv changed moved; mkfifo pipe; chmod 600 kept; mkdir -m 700 more; rm -r deep/er; mkdir deep/er
        touch deep/er/b";
    let base = TempDir::new_in(std::env::var_os("HOME").expect("a home")).expect("make a directory");
    let (dir, place) = (base.path().join("dir"), base.path().join("changes"));
    let prepare = "mkdir -p dir/whole/sub dir/sub dir/dir dir/deep/er/est; cd dir; ln -s /etc link
        for file in kept changed gone whole/x whole/sub/old sub/x dir/x deep/er/a deep/er/est/c; do echo 0 > $file; done
        cp -a . ../plain; mkdir ../new";
    Cmd::program(args!["sh", "-e", "-c", prepare]).current_dir(base.path()).ok();
    let run = |options: &[&str], script: &str| {
        let outer = if is_nested { args![selfdock(), "-b", base.path(), "run"].to_vec() } else { Vec::new() };
        let mode = mode.split_whitespace().chain(options.iter().copied()).map(OsString::from);
        let own =
            args!["-o", &dir, "/mnt", "-C", "/mnt", "--changes", &place, "run", "sh", "-e", "-c", script];
        let words = outer.into_iter().chain([selfdock().into()]).chain(mode).chain(own);
        Cmd::program(words).current_dir(base.path()).ok()
    };
    run(&[], BECOME);
    Cmd::program(args!["sh", "-e", "-c", BECOME]).current_dir(base.path().join("plain")).ok();
    let told = Cmd::new(args!["changes", place]).ok();
    let wanted = "D changed,D deep/er/a,A deep/er/b,D deep/er/est,M dir,M gone,A gone/x,A hard,M kept,M link,A link/x,\
                  A more,A moved,A pipe,M sub,A whole/sub/new,D whole/sub/old,D whole/x";
    assert_eq!(told, wanted.replace(',', "\n"));
    run(&["-v", "new", "/srv"], "cp -a . /srv");
    // The top directory of a copy has a mode of its own.
    Cmd::program(args!["chmod", "--reference=dir", "new"]).current_dir(base.path()).ok();
    let list = |name: &str| {
        let script = "find . -printf '%P %y %m %n %l\\n' | sort; find . -type f | sort | xargs head -v";
        Cmd::program(args!["sh", "-c", script]).current_dir(base.path().join(name)).ok()
    };
    assert_eq!(list("new"), list("plain"));
}

/// The next run follows no link that a command made in the directory of changes.
#[test]
fn no_link_in_kept_changes_leads_outside() {
    let (kept, victim) = (TempDir::new_in(std::env::var_os("HOME").expect("a home")).unwrap(), scratch());
    let place = kept.path().join("changes");
    let run = |script: &str| Cmd::new(args!["--changes", place, "-o", "/", "/", "run", "sh", "-c", script]);
    let away = victim.path().display();
    run(&format!("mv /var /v; mkdir /var; ln -s {away} /var/lib; ln -s {away} /var/cache")).ok();
    // The command's own link is in the copy.
    assert_eq!(run("readlink /var/lib; ls -d /v/lib").ok(), format!("{away}\n/v/lib"));
    assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 0);
    for name in ["changed", "work"] {
        let (dir, moved) = (place.join(name), place.join("moved"));
        fs::rename(&dir, &moved).unwrap();
        std::os::unix::fs::symlink(victim.path(), &dir).unwrap();
        run("true").refused("selfdock follows no links in a directory of changes");
        fs::remove_file(&dir).unwrap();
        fs::rename(&moved, &dir).unwrap();
        assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 0);
    }
}

/// The kernel does not take a directory of an overlay for the changes of another one.
#[rstest]
fn a_directory_that_cannot_hold_changes_is_refused(
    #[values("/ /", "/usr/share/doc /mnt/x", "/usr/share/doc /")] copy: &str,
    #[values("", "--unprivileged")] mode: &str,
) {
    let dir = tree();
    let options = mode.split_whitespace().chain(["-o"]).chain(copy.split(' ')).map(OsString::from);
    let inner = args![selfdock()].into_iter().chain(options);
    let inner = inner.chain(args!["--changes", "/mnt/w/kept-changes", "run", "echo", "started"]);
    let ran = Cmd::run(args!["-o", dir.path(), "/mnt/w"].into_iter().chain(inner));
    ran.refused(
        "keep changes in '/mnt/w/kept-changes': its file system cannot hold the changes of a copy; use a",
    );
}

/// Also a copy of layers, and of a root filesystem that belongs to another user.
#[test]
fn a_root_filesystem_can_be_copied() {
    let (image, layer) = (fixture("debian"), scratch());
    fs::write(layer.path().join("layered"), "1").unwrap();
    let script = "ls /layered; touch /bin/new /new && ls /new /bin/new; cat /etc/resolv.conf";
    let before = fs::read_dir(image.join("bin")).unwrap().count();
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap();
    for words in [
        &args!["--root", image, "--root", layer.path(), "-o", "/", "/", "run"][..],
        &args!["--unprivileged", "-o", "/", "/", "--root", image, "--root", layer.path(), "run"],
    ] {
        let seen = Cmd::new(words.iter().cloned()).sh(script).ok();
        assert_eq!(seen, format!("/layered\n/bin/new\n/new\n{}", resolver.trim_end()));
    }
    let seen = Cmd::new(args!["-o", image, "/", "run"]).sh("touch /bin/new && ls /bin/new").ok();
    assert_eq!(seen, "/bin/new");
    assert_eq!(fs::read_dir(image.join("bin")).unwrap().count(), before);
    assert_eq!(fs::read_dir(layer.path()).unwrap().count(), 1);
}

#[test]
fn a_tmpfs_of_the_same_place_says_how_much_can_be_written() {
    let dir = tree();
    let script = "head -c 3M /dev/zero > big 2>/dev/null; stat -c %s big";
    for (place, options) in [("/mnt/w", args!["-o", dir.path(), "/mnt/w"]), ("/", args!["-o", "/", "/"])] {
        let words = options.into_iter().chain(args!["-t", "size=256M", place, "-C", place, "run"]);
        assert_eq!(Cmd::new(words).sh(script).ok(), (3 << 20).to_string());
    }
    let words = args!["-o", dir.path(), "/mnt/w", "-t", "size=1M", "/mnt/w", "-C", "/mnt/w", "run"];
    assert_eq!(Cmd::new(words).sh(script).ok(), (1 << 20).to_string());
}

/// Its directories are copied level by level, also with a small stack.
#[rstest]
fn a_deep_directory_of_somebody_holds_up_no_copy(
    #[values("", "--unprivileged")] mode: &str,
    #[values(256, 8192)] stack: u32,
) {
    let changes =
        r#"(cd opt; python3 -c 'import os; [(os.mkdir("d"), os.chdir("d")) for _ in range(3000)]')"#;
    let script = format!("ulimit -s {stack}; ulimit -n $(ulimit -Hn); me $SD {mode} -o / / run ls /opt/d/d");
    assert_eq!(on_a_host(changes, &script).ok(), "d");
}

/// One system call takes as long as the whole copy of a large image.
#[rstest]
#[case::discarded("")]
#[case::kept("--changes $PWD/changes")]
fn a_terminal_shows_the_progress_of_a_copy_that_takes_long(#[case] options: &str) {
    const SLOW: &str = "strace -qq -f -o /dev/null -e trace=mkdirat \
                        -e inject=mkdirat:delay_enter=1500000:when=9";
    let dir = TempDir::new_in("/tmp").unwrap();
    let (place, image) = (dir.path().display(), fixture("debian"));
    let run = format!("$SELFDOCK {options} -C / -o {} / run echo ran", image.display());
    let script = format!("cd {place}; {SLOW} {run}");
    let mut terminal = Terminal::start(&["sh", "-c", &script]);
    terminal.expect("\rselfdock: preparing the copy: ");
    terminal.expect(" directories\u{1b}[K");
    assert!(terminal.expect("ran").ends_with("\r\u{1b}[Kran"));
    assert!(terminal.wait().success());
    // Elsewhere nothing is said.
    let script = script.replace("/changes", "/others");
    assert_eq!(Cmd::program(args!["sh", "-c", script]).ok(), "ran");
}

/// Each directory beside a mount is copied by itself. The list of mounts grows with them.
#[test]
fn a_copy_does_not_read_the_list_of_mounts_for_each_directory() {
    let changes = "for n in $(seq 100); do mkdir -p opt/all/$n; done; mount -t tmpfs t opt/all/7";
    let script =
        "me strace -qq -f -e trace=openat $SD -o / / run echo ran 2>&1 | grep -c '/mountinfo\\|^ran'";
    let count: u32 = on_a_host(changes, script).ok().parse().unwrap();
    assert!((2..20).contains(&count), "{count}");
}

/// Otherwise they would be copied into themselves.
#[rstest]
fn changes_that_the_image_shows_elsewhere_are_left_out(#[values("tmp/c", "tmp/c/changed")] shown: &str) {
    let changes = format!(
        "mount -t tmpfs -o mode=1777 t tmp; mkdir -p tmp/c/changed tmp/c/work opt/again; chown -R $ME tmp/c
         mount --bind {shown} opt/again"
    );
    let script = "ulimit -n $(ulimit -Hn); me $SD -o / / --changes /tmp/c run echo ran
                  ls /tmp/c/changed/opt/again 2>/dev/null";
    assert_eq!(on_a_host(&changes, script).output().stdout, "ran\n");
}

/// Without room for its own directory the kernel would make the copy read-only.
#[test]
fn a_copy_without_room_is_refused() {
    let dir = tree();
    for files in 3..8 {
        let room = format!("nr_inodes={files}");
        let words =
            args!["-o", dir.path(), "/mnt/w", "-t", room, "/mnt/w", "-C", "/mnt/w", "run", "sh", "-c"];
        let ran = Cmd::new(words.into_iter().chain(args!["echo new > kept && echo written"])).output();
        assert!(
            ran.stdout == "written\n" || ran.stderr.contains("no space left (ENOSPC)"),
            "{files}: {}",
            ran.stderr
        );
    }
}

#[test]
fn in_a_copy_of_the_image_selfdock_works() {
    let inner = args![selfdock(), "run", "sh", "-c", "touch /usr/bin/new 2>/dev/null || echo read-only"];
    assert_eq!(Cmd::new(args!["-o", "/", "/", "run"].into_iter().chain(inner)).ok(), "read-only");
}

#[test]
fn overlays_work_nested() {
    let dir = tree();
    let before = listing(&dir);
    let inner = args![selfdock(), "-o", dir.path(), "/mnt/w", "-C", "/mnt/w", "run", "sh", "-c", CHANGE];
    assert_changed(&Cmd::run(args!["-v", dir.path(), dir.path()].into_iter().chain(inner)).output());
    assert_eq!(listing(&dir), before);
}

#[rstest]
#[case::missing(args!["-o", "/no/such", "/mnt/w"], "copy '/no/such': no such file")]
#[case::the_kernels(args!["-o", "/proc", "/mnt/w"], "copy '/proc': files of /proc cannot be copied")]
#[case::a_file(args!["-o", "/etc/passwd", "/mnt/w"], "copy '/etc/passwd': not a directory")]
#[case::closed(args!["-o", fixture("p"), "/mnt/w"], "permission denied")]
#[case::two_to_keep(args!["-o", "/etc", "/mnt/a", "-o", "/usr", "/mnt/b", "--changes", "/tmp/x"], "of one --overlay")]
#[case::nothing_to_keep(args!["--changes", "/tmp/x"], "there is no --overlay; add --overlay SRC DST")]
#[case::into_its_source(args!["-o", "/etc", "/mnt/w", "--changes", "/etc/changes"], "in the directory that is copied")]
#[case::into_itself(args!["-o", "/", "/", "--changes", "/opt/selfdock-changes"], "in the directory that is copied")]
#[case::two_images(args!["-o", "/", "/", "-o", "/etc", "/"], "given twice")]
#[case::two_names(args!["-o", "/etc", "/", "--root", "/usr"], "--root names another image; -o / / copies")]
#[case::a_volume_there(args!["-o", "/etc", "/mnt/w", "-v", "/etc", "/mnt/w"], "on '/mnt/w': two different mounts")]
#[case::a_volume_there_before(args!["-v", "/etc", "/mnt/w/", "-o", "/etc", "/mnt/w"], "two different mounts are")]
#[case::a_copy_there(args!["-o", "/etc", "/mnt/w", "-o", "/usr", "//mnt/w"], "two different mounts are requested")]
#[case::with_a_mode(args!["-o", "/etc", "/mnt/w", "-t", "size=1M,mode=700", "/mnt/w"], "a copy takes no mode; ")]
#[case::an_image_with_a_mode(args!["-o", "/", "/", "-t", "mode=700", "/"], "'mode=700': a copy takes no mode")]
#[case::two_sizes(
    args!["-o", "/etc", "/mnt/w", "-t", "size=1M", "/mnt/w", "-t", "size=2M", "/mnt/w/"],
    "mount on '/mnt/w/': two different mounts are requested there"
)]
#[case::a_size_of_what_is_kept(
    args!["-o", "/etc", "/mnt/w", "--changes", "/tmp/x", "-t", "size=1M", "/mnt/w"],
    "option --tmpfs 'size=1M' '/mnt/w': --changes keeps the changes of the copy, and no tmpfs; leave out"
)]
#[case::no_changes(
    args!["changes", "/etc"],
    "read the changes in '/etc': no run has kept changes in it; --changes DIR makes such a directory"
)]
fn what_cannot_be_copied_is_refused<const N: usize>(#[case] words: [OsString; N], #[case] why: &str) {
    let is_run = words[0] != *"changes";
    let run = Cmd::new(words);
    if is_run {
        run.arg("run").arg("true").refused(why)
    } else {
        run.refused(why)
    };
}

/// Root has no capability in the second program, so that all callers see the same.
#[rstest]
#[case::of_the_caller(&[], "permission denied (EACCES)\n")]
#[case::of_another_user(&["as-root"], "selfdock gives up root's capabilities, too: the owner can list them\n")]
fn closed_changes_are_not_taken_for_none(#[case] launcher: &[&str], #[case] end: &str) {
    let dir = scratch();
    let mode = if launcher.is_empty() { 0 } else { 0o700 };
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
    let start = launcher.iter().flat_map(|role| args![fixture("setuid/probe"), role]);
    let ran = Cmd::program(start.chain(args![selfdock(), "changes", dir.path()])).output().exits(125);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(ran.stderr.ends_with(end), "{}", ran.stderr);
}
