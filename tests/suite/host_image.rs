//! host-image: An instance has only listed directories of the host's root filesystem, and no path leads to the rest.

use crate::support::{
    CANARY, Cmd, FILESYSTEMS, args, fixture, kernel, nested, on_a_host, on_a_host_over, scratch, selfdock,
};
use rstest::rstest;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

/// The entries of the root directory of an instance. This is the tests' own list.
const ROOT: [&str; 22] = [
    "bin", "boot", "dev", "etc", "gnu", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "nix",
    "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr",
];

/// The allowed directories below `/var`. This is the tests' own list.
const VAR: &str = "cache cache/apt cache/cracklib cache/dictionaries-common cache/dnf cache/fontconfig cache/man \
    cache/pkgfile cache/swcatalog cache/zypp db db/pkg db/repos db/xbps guix lib lib/GeoIP lib/alternatives lib/apt \
    lib/aspell lib/ca-certificates lib/chasen lib/chicken lib/clamav lib/command-not-found lib/dlocate lib/dnf \
    lib/dpkg lib/extrausers lib/gems lib/ghc lib/ghostscript lib/ieee-data lib/ispell lib/libreoffice lib/mecab \
    lib/mibs lib/misc lib/pacman lib/pkgtools lib/rpm lib/sgml-base lib/slib lib/sss lib/swcatalog lib/texmf lib/units \
    lib/usbutils lib/xjdic lock log mail run spool tmp";

/// The ways in which an instance gets its root directory.
#[derive(Clone, Copy, Debug)]
enum Made {
    Prepared,
    ForAMountPoint,
    Unprivileged,
    WithoutInstallation,
    Nested,
}

impl Made {
    const LIST: &str = "$PREFIX/lib/selfdock/root.list";

    /// The changes that root makes on the host for it, and the command line.
    fn on_host(self) -> (String, &'static str) {
        match self {
            Made::Prepared => (String::new(), "$SD run"),
            Made::ForAMountPoint => (String::new(), "$SD -m /usr/bin /newly/made run"),
            Made::Unprivileged => (String::new(), "$SD --unprivileged run"),
            Made::WithoutInstallation => (format!("rm .{}", Self::LIST), "$SD run"),
            Made::Nested => (String::new(), "$SD run $SD run"),
        }
    }
}

#[test]
fn the_root_directory_holds_what_is_listed_and_nothing_else() {
    let seen = Cmd::run(args!["ls", "-A", "/"]).ok();
    for name in seen.lines() {
        assert!(ROOT.contains(&name) || name == "var", "{seen}");
    }
    let seen = Cmd::run([]).sh("cd /var; for f in * */*; do test ! -e $f -a ! -L $f || echo $f; done").ok();
    for name in seen.lines() {
        assert!(VAR.split_whitespace().any(|known| known == name), "{seen}");
    }
}

/// M10: chroot only.
#[rstest]
fn directories_off_the_list_are_invisible(
    #[values(
        Made::Prepared,
        Made::ForAMountPoint,
        Made::Unprivileged,
        Made::WithoutInstallation,
        Made::Nested
    )]
    made: Made,
    #[values(
        "export/home/someone",
        "data",
        "home/someone",
        "root/of-root",
        "var/lib/private-of-a-service",
        "var/lib/sss/pipes/private",
        "var/snap",
        "var/spool/cron",
        "var/log",
        "var/tmp",
        "var/cache/service",
        "srv/www",
        "run/user",
        "snap/core",
        "mnt/disk"
    )]
    place: &str,
) {
    let (changes, run) = made.on_host();
    let changes = format!(
        "{changes}\nmkdir -p {place}; echo {CANARY} > {place}/f; chmod -R a+rX {place}; chmod a+x root"
    );
    let script = format!("me test -r /{place}/f || echo not there outside; me {run} cat /{place}/f");
    let ran = on_a_host(&changes, &script).output();
    assert!(ran.stderr.contains("No such file"), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout, "");
}

/// Nix and Guix have all programs in a store, and a link in /run to those of the system.
#[rstest]
#[case::nix("nix/store", "run", "/run/current-system", "sw")]
#[case::guix("gnu/store", "var/guix/profiles", "/var/guix/profiles/system", "profile")]
fn a_store_of_programs_is_shown(
    #[case] store: &str,
    #[case] above: &str,
    #[case] system: &str,
    #[case] profile: &str,
    #[values(Made::Unprivileged, Made::WithoutInstallation, Made::Nested)] made: Made,
) {
    let (changes, run) = made.on_host();
    let changes = format!("{changes}\n{}", include_str!("../programs/make_a_store.sh"));
    let script = format!("me env PATH=/run/current-system/{profile}/bin:$PATH {run} busybox-told echo here");
    let on_host = on_a_host(&changes, &script).env("STORE", store).env("ABOVE", above).env("SYSTEM", system);
    let seen = on_host.env("PROFILE", profile).env("BOX", fixture("busybox")).output();
    assert_eq!((&*seen.stdout, &*seen.stderr), ("here\n", ""));
}

/// Compares everything: kinds, permissions, links and mount flags.
#[rstest]
fn the_root_directory_is_the_same_however_it_is_made(
    #[values(Made::Unprivileged, Made::WithoutInstallation, Made::Nested)] made: Made,
) {
    let script = "\
        find / \\( -path '/proc/*' -o -path '/dev/pts/*' -o -path '/usr*' -o -path '/etc*' -o -path '/opt*' \
                   -o -path '/var/*/*' \\) -prune -o -printf '%p %y %m %l\\n' | sort
        awk '$5 !~ /selfdock|^\\/dev|^\\/proc|^\\/$/ { print $5, $6 }' /proc/self/mountinfo | sort";
    let seen = |made: Made| {
        let (changes, run) = made.on_host();
        // The sizes of directories depend on the file system.
        on_a_host(&changes, &format!("me {run} sh -c \"$WHAT\"")).env("WHAT", script).ok()
    };
    let prepared = seen(Made::Prepared);
    assert!(prepared.contains("/dev/null c 666") && prepared.contains("/usr ro,nosuid,nodev"), "{prepared}");
    assert_eq!(prepared, seen(made));
}

/// M10: chroot only. The ways in which an attacker inside could reach what is below the root directory.
#[rstest]
#[case::by_the_parent_of_the_root("cd ../../../..; cat canary /../canary")]
#[case::by_a_chroot_within(concat!("unshare -Ur python3 -c '", include_str!("../programs/chroot_within.py"), "'"))]
#[case::by_unmounting(
    "unshare -Urm sh -c 'umount -l /; cat /canary; umount -l /usr; cat /usr/canary /canary'"
)]
#[case::by_unmounting_again_and_again(
    concat!("unshare -Urm python3 -c '", include_str!("../programs/unmount_root.py"), "'")
)]
#[case::by_another_root(
    "unshare -Urm sh -c 'mount -t tmpfs t /tmp; cd /tmp; mkdir old; pivot_root . old; cat old/canary
     umount -l old; cat /canary /../canary'"
)]
#[case::by_itself_as_root(
    "unshare -Urm sh -c 'mount --rbind / /tmp; cd /tmp; pivot_root . .; umount -l .; cat /canary canary'"
)]
#[case::by_a_copy(
    "unshare -Urm sh -c 'mount --rbind / /tmp; cat /tmp/canary; mount --bind / /mnt; cat /mnt/canary'"
)]
#[case::by_another_process("cat /proc/1/root/canary /proc/$$/root/canary /proc/$$/cwd/../canary")]
#[case::by_its_own_mount_namespace(
    "unshare -Ur nsenter --mount=/proc/self/ns/mnt cat /canary; nsenter --mount=/proc/self/ns/mnt cat /canary"
)]
fn nothing_leads_to_the_hosts_root(
    #[case] attack: &str,
    #[values("", "--unprivileged", "-m /usr/bin /newly/made")] options: &str,
) {
    let changes = format!("echo {CANARY} > canary");
    // First the test sees that it can be read outside.
    let script = format!("me cat /canary | wc -c; me $SD {options} run sh -c \"$ATTACK\"");
    let ran = on_a_host(&changes, &script).env("ATTACK", attack).output();
    assert!(ran.stdout.starts_with(&format!("{}\n", CANARY.len() + 1)), "{}", ran.stdout);
    assert!(!ran.stdout.contains(CANARY) && !ran.stderr.contains(CANARY));
}

/// The number of mounts, and the number of listed ones.
const TELL: &str = include_str!("../programs/count_told_mounts.py");

/// Otherwise each level would have the roots of all others below its own, and mounts would get slower.
#[test]
fn a_nested_instance_unmounts_the_old_root() {
    let below = |depth| {
        let words = args!["unshare", "-Urm", "python3", "-c", TELL];
        let seen = Cmd::run(crate::support::nested(depth, words)).ok();
        let (own, all) = seen.split_once(' ').unwrap();
        all.parse::<u32>().unwrap() - own.parse::<u32>().unwrap()
    };
    assert_eq!((below(1), below(3)), (below(0), below(0)));
}

/// For lscpu, hwloc and other programs that count processors. No other device and no control group is visible.
#[rstest]
fn processors_and_memory_of_sys_are_visible(#[values(0, 1)] depth: usize) {
    let words = nested(depth, args!["find", "/sys", "-mindepth", "1", "-maxdepth", "2"]);
    assert_eq!(Cmd::run(words).ok(), "/sys/devices\n/sys/devices/system");
    let table = "lscpu -p=CPU,CORE,SOCKET,NODE; cat /sys/devices/system/cpu/online";
    assert_eq!(
        Cmd::run(nested(depth, args!["sh", "-c", table])).ok(),
        Cmd::program(args!["sh", "-c", table]).ok()
    );
}

/// M10: chroot only. No list shows the mounts of the host, and statmount(2) shows them only to a process with privilege
/// in the user namespace that made the mounts.
#[rstest]
fn the_mounts_of_the_host_are_not_listed(#[values("", "unshare -Ur")] wrapper: &str) {
    let table = Cmd::run(args!["cat", "/proc/self/mountinfo"]).ok();
    assert_eq!(table.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count(), 1, "{table}");
    for dir in ["/sys/fs", "/home", "/run", "/boot", "/mnt"] {
        assert!(!table.contains(&format!(" {dir} ")) && !table.contains(&format!(" {dir}/")), "{table}");
    }
    let ran = Cmd::run(wrapper.split_whitespace().map(Into::into)).arg("python3").arg("-c").arg(TELL).ok();
    let own = table.lines().count();
    // A kernel before 6.8 has no such call.
    assert!(ran == "0 0" || ran == format!("{own} {own}"), "{own} mounts are its own, and told: {ran}");
}

/// I10: prepared files that others change.
#[rstest]
#[case::a_list_that_others_can_write("chmod 666 .$PREFIX/lib/selfdock/root.list")]
#[case::a_list_of_somebody_elses("chown 61234 .$PREFIX/lib/selfdock/root.list")]
#[case::a_list_that_is_a_fifo(
    "rm .$PREFIX/lib/selfdock/root.list; mkfifo -m 644 .$PREFIX/lib/selfdock/root.list"
)]
fn a_list_that_does_not_belong_to_root_alone_is_not_used(#[case] fault: &str) {
    let changes = format!(
        "mkdir secret; echo {CANARY} > secret/f; mkdir .$PREFIX/lib/selfdock/root/secret
         printf '/secret\\0' >> .$PREFIX/lib/selfdock/root.list"
    );
    // That it works is seen first.
    assert_eq!(on_a_host(&changes, "me $SD run ls /secret | tr f F").ok(), "F");
    let seen = on_a_host(&format!("{changes}; {fault}"), "me $SD run ls /").ok();
    assert!(seen.contains("usr") && !seen.contains("secret"), "{seen}");
}

/// N1: nesting regains; I10: prepared files that others change. In an outer instance the caller can bind the root
/// directory in place of the prepared one. Then both are the same directory, and a copy without submounts would
/// uncover what its mounts cover.
#[rstest]
#[case::the_root("-m / $PREFIX/lib/selfdock/root")]
#[case::by_a_link("-m /made/up $PREFIX/lib/selfdock")]
fn a_forged_prepared_root_uncovers_nothing(#[case] forged: &str) {
    let changes = format!(
        "mkdir -p srv/cov home/x; echo {CANARY} > srv/cov/f; mount -t tmpfs t srv/cov; echo {CANARY} > home/x/f
         mkdir -p made/up; ln -s / made/up/root; cp .$PREFIX/lib/selfdock/root.list made/up; ln -s / made/root"
    );
    let script = format!(
        "for file in /srv/cov/f /home/x/f; do
           me $SD run --root /made/root {forged} -- $SD run sh -c \"ls /; cat $file\"
           me $SD run --root /made/root {forged} --mask /home/x -- $SD run sh -c \"cat $file\"
         done"
    );
    let ran = on_a_host(&changes, &script).output();
    assert!(ran.stdout.contains("usr") && !ran.stdout.contains(CANARY), "{}", ran.stdout);
}

/// M10: chroot only. chroot(2) confines only processes that have no other root directory, and an instance would have
/// one.
#[rstest]
#[case::run("$SD run")]
#[case::build("$SD --root / build")]
#[case::image("$SD run --root /")]
#[case::layers("$SD run --root / --root /usr")]
#[case::a_new_mount_point("$SD run -m /usr /new/ly")]
#[case::entering("$SD enter $PID")]
fn a_chroot_is_not_opened(
    #[case] words: &str,
    #[values("mount -t tmpfs j", ":")] root: &str,
    #[values("private", "rshared")] propagation: &str,
) {
    let changes = format!(
        "mkdir -p srv/jail; echo {CANARY} > srv/f; {root} srv/jail; cd srv/jail
         mkdir -p usr proc dev tmp etc .$PREFIX; cp -a ../../bin ../../lib ../../lib64 .
         for dir in usr proc dev; do mount --rbind ../../$dir $dir; done
         mount --bind ../..$PREFIX .$PREFIX; cd ../.."
    );
    let script = format!(
        "mount --make-{propagation} /
         setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups $SD run sleep 9 & PID=$!; sleep 0.2
         chroot /srv/jail setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups sh -c \
             'exec 3</; PID=$1; {words} sh -c \"cat /proc/self/root/../f; echo ran\"' sh $PID
         kill $PID"
    );
    let ran = on_a_host(&changes, &script).output();
    assert!(ran.stdout.is_empty() && ran.stderr.contains("the root directory is a chroot"), "{}", ran.stderr);
}

/// M10: chroot only. The caller's own home is hidden also in a visible directory, except for parts that the caller
/// requests.
#[rstest]
#[case::by_home("HOME=/opt/homes/me", "$SD run")]
#[case::by_home_that_is_untidy("HOME=//opt/./homes/me/", "$SD run")]
#[case::by_the_users_entry("HOME=/", "$SD run")]
#[case::by_home_that_is_a_link("HOME=/opt/homes/link", "$SD run")]
#[case::by_home_with_a_step_back("HOME=/opt/homes/other/../me", "$SD run")]
#[case::by_home_below_a_link_of_the_root("HOME=/link/me", "$SD run")]
#[case::nested("HOME=/opt/homes/me", "$SD run $SD run")]
#[case::with_a_new_mount_point("HOME=/opt/homes/me", "$SD -m /usr /new/ly run")]
#[case::without_privilege("HOME=/opt/homes/me", "$SD --unprivileged run")]
#[case::as_root_of_a_namespace("HOME=/opt/homes/me", "$SD --fake-root run")]
#[case::as_root_by_a_link("HOME=/opt/homes/link", "$SD --fake-root run")]
#[case::as_root_of_the_host_by_name("HOME=/opt/homes/me", "$SD --fake-root --root /./ run")]
#[case::as_root_in_build("HOME=/opt/homes/me", "$SD --fake-root --root / build")]
#[case::in_a_copy("HOME=/opt/homes/me", "$SD -o / / run")]
#[case::in_a_copy_with_a_step_back("HOME=/opt/homes/other/../me", "$SD -o / / run")]
#[case::in_a_copy_as_root("HOME=/opt/homes/me", "$SD -o / / --fake-root run")]
fn a_home_in_a_visible_directory_is_hidden(#[case] variable: &str, #[case] run: &str) {
    let script = format!(
        "export {variable}
         me {run} sh -c 'ls -A /opt/homes/me; cat /opt/homes/me/f /opt/homes/me/work/f; ls /opt/homes/other'
         cd /opt/homes/me/work; me {run} -H sh -c 'pwd; ls; ls -A /opt/homes/me'
         me {run} -v /opt/homes/me /opt/homes/me ls /opt/homes/me"
    );
    let run_twice = run.contains("run $SD");
    let script = if run_twice { script.replace("$SD run $SD run -", "$SD run -") } else { script };
    let changes = include_str!("../programs/make_homes.sh");
    let ran = on_a_host(changes, &script).env("VARIABLE", variable).env("CANARY", CANARY).output();
    assert_eq!(ran.stdout, "f\n/opt/homes/me/work\nf\nwork\nf\nwork\n", "{}", ran.stderr);
}

/// M10: chroot only. The kernel gives up the lookup of a path with `..` while anything is renamed. openat2(2), EAGAIN
#[rstest]
#[case::run("me", "$SD run")]
#[case::nested("me", "$SD run $SD run")]
#[case::without_privilege("me", "$SD --unprivileged run")]
#[case::with_a_new_mount_point("me", "$SD -m /usr /new/ly run")]
#[case::build("me", "$SD --root / build")]
#[case::of_root("", "$SD run")]
#[case::of_root_nested("", "$SD run $SD run")]
#[case::of_root_in_build("", "$SD --root / build")]
fn a_home_stays_hidden_while_others_rename(#[case] who: &str, #[case] run: &str) {
    let (dir, stop) = (scratch(), AtomicBool::new(false));
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    fs::write(&one, "").unwrap();
    // For root the home is the one on the list, since HOME could name anything that root owns.
    let changes = format!(
        "mkdir -p opt/a opt/me; echo {CANARY} > opt/me/f
         test -n '{who}' && chown -R $ME opt/me || printf '~0\\0%s\\0' $H >> .$PREFIX/lib/selfdock/root.list"
    );
    let home = format!("/opt/{}me", "a/../".repeat(3));
    let script = format!(
        "for _ in $(seq 40); do {who} env HOME=$H {run} ls -A /opt/me || echo refused; done; echo ran"
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&one, &other).and_then(|()| fs::rename(&other, &one)).unwrap();
            }
        });
        let ran = std::panic::catch_unwind(|| on_a_host(&changes, &script).env("H", &home).output());
        stop.store(true, Ordering::Relaxed);
        let ran = ran.unwrap();
        assert_eq!(ran.stdout, "ran\n", "{}", ran.stderr);
    });
}

/// F4: hung or foreign mounts, links where directories are. A home in a file system that need not answer is not looked
/// up. All that is mounted there is hidden.
#[rstest]
fn a_home_in_a_file_system_that_does_not_answer_holds_up_no_run(
    #[values("hung/me", "hung/a/b", "link/me", "deep/me", "fine/../hung/me", "foreign/me", "dead/me")]
    home: &str,
    #[values("run", "run $SD run", "--unprivileged run", "-t - /new run", "--root / build")] words: &str,
) {
    let script = format!(
        "{FILESYSTEMS}
         filesystems /opt/x
         me timeout $LONG env HOME=/opt/x/{home} $SD {words} true; echo $?
         within() {{ me timeout $LONG env HOME=/opt/x/{home} $SD {words} sh -c \"$1\"; }}
         closed='ls -A /opt/x/foreign /opt/x/dead 2>&1'
         case {home} in
             foreign* | dead*) [ \"$(within \"$closed\")\" = \"$(me sh -c \"$closed\")\" ] && echo as outside ;;
             *) within 'cd /opt/x; echo *; ls -A hung link foreign dead 2>/dev/null | xargs' ;;
         esac
         kill $servers 2>/dev/null; umount -l /opt/x/hung"
    );
    let ran = on_a_host("mkdir -p opt/x; ln -s hung opt/x/link; ln -s hung/a opt/x/deep", &script).output();
    // The caller cannot access the other two, so nothing has to be hidden.
    let is_closed = home.starts_with("foreign") || home.starts_with("dead");
    let seen = if is_closed { "as outside\n" } else { "dead deep fine foreign hung link\nhung: link:\n" };
    assert_eq!(ran.stdout, format!("0\n{seen}"), "{}", ran.stderr);
}

/// As of systemd-resolved, of resolvconf (whose link goes through `/var/run`), and of WSL. The file is shown alone, and
/// only with the network of the host.
#[rstest]
#[case::in_run("../run/some/resolver", "$SD run", "it")]
#[case::through_another_link("/var/run/some/resolver", "$SD run", "it")]
#[case::in_mnt("/mnt/resolver", "$SD run", "it")]
#[case::nested("../run/some/resolver", "$SD run $SD run", "it")]
#[case::without_privilege("../run/some/resolver", "$SD --unprivileged run", "it")]
#[case::as_root_of_a_namespace("../run/some/resolver", "$SD --fake-root run", "it")]
#[case::in_a_copy("../run/some/resolver", "$SD -o / / run", "it")]
#[case::through_a_link_between("/run/link/resolver", "$SD run", "it")]
#[case::through_a_link_between_in_a_copy("/run/link/resolver", "$SD -o / / run", "it")]
#[case::through_a_link_between_in_kept_changes(
    "/run/link/resolver",
    "$SD -o / / --changes /tmp/kept/it run",
    "it"
)]
#[case::with_a_new_mount_point("../run/some/resolver", "$SD -m /usr /new/ly run", "it")]
#[case::beside_a_volume("../run/some/resolver", "$SD -m /usr /run/beside run", "it\nbeside")]
#[case::without_a_network("../run/some/resolver", "$SD --net none run", "")]
#[case::that_leads_elsewhere("/srv/resolver", "$SD run", "")]
fn a_resolver_behind_a_link_into_a_hidden_directory_is_shown(
    #[case] link: &str,
    #[case] run: &str,
    #[case] seen: &str,
) {
    let changes = format!(
        "mkdir -p run/some run/link tmp/kept var; ln -sfn /run var/run; ln -s ../some/resolver run/link
         mount -t tmpfs -o mode=777 t tmp/kept; rm -f etc/resolv.conf; ln -s {link} etc/resolv.conf
         for at in run/some/resolver mnt/resolver srv/resolver; do echo it >$at; done; touch run/some/beside
         for ids in subuid subgid; do echo $ME:200000:65536 >etc/$ids; done
         echo me:x:$ME:$MY_GROUP::/:/bin/sh >>etc/passwd"
    );
    let look = "cat /etc/resolv.conf 2>/dev/null; ls /run; ls /run/some 2>/dev/null | grep -v ^resolver$";
    let script = format!("me {run} sh -c '{look}' | grep -vx 'some\\|link'");
    assert_eq!(on_a_host(&changes, &script).output().stdout.trim_end(), seen);
}

/// It is in the host's `/etc`.
#[test]
fn a_resolver_that_is_no_link_takes_no_mount() {
    let script =
        "me $SD run sh -c 'cat /etc/resolv.conf; grep -c \" /etc/resolv.conf \" /proc/self/mountinfo'";
    let ran = on_a_host("rm -f etc/resolv.conf; echo it >etc/resolv.conf", script).output();
    assert_eq!(ran.stdout, "it\n0\n", "{}", ran.stderr);
}

/// The link goes through a directory of another user, who leads it to a hidden file, or to what is no regular file.
#[rstest]
fn a_resolver_that_another_user_leads_elsewhere_is_not_shown(
    #[values(
        "echo secret >home/secret; ln -s /home/secret",
        "mkdir -p run/user/1; echo secret >run/user/1/key; ln -s /run/user/1/key",
        "mkfifo"
    )]
    leads: &str,
    #[values("run", "--unprivileged run", "run $SD run", "--root /srv/img -m /usr /usr run")] words: &str,
) {
    let changes = format!(
        "mkdir -p run/svc home srv/img; {leads} run/svc/resolver; chown 65534 run/svc
         rm -f etc/resolv.conf; ln -s ../run/svc/resolver etc/resolv.conf
         cd srv/img; mkdir etc proc dev tmp usr opt; touch etc/resolv.conf
         for name in bin lib lib64; do ln -s usr/$name $name; done; cd ../.."
    );
    let look = "test -p /etc/resolv.conf && echo fifo || cat /etc/resolv.conf 2>/dev/null; echo looked";
    let script = format!("me $SD {words} sh -c '{look}'");
    assert_eq!(on_a_host(&changes, &script).ok(), "looked");
}

/// The links to the resolver's configuration can lead through a directory of another user, who points them there.
#[rstest]
#[case::in_the_home("$SD -o / / run", "/home/me")]
#[case::in_a_home_that_is_shown("$SD -o / / run", "/opt/home/me")]
#[case::in_a_home_in_a_place_of_names("$SD -o / / run", "/mnt/me")]
#[case::of_a_session("$SD -o / / run", "/run/user/7")]
#[case::in_kept_changes("$SD -o / / --changes /tmp/kept/it run", "/home/me")]
#[case::in_a_copy_of_an_image("$SD -o /opt/img / -m /usr /usr run", "/home/me")]
fn no_link_to_the_resolver_shows_a_file_of_the_caller_in_a_copy(#[case] run: &str, #[case] dir: &str) {
    let changes = format!(
        "mkdir -p run/service tmp/kept .{dir} opt/img/usr opt/img/etc; mount -t tmpfs -o mode=777 t tmp/kept
         for name in bin lib lib64; do ln -s usr/$name opt/img; done
         echo secret >.{dir}/file; chown -R $ME .{dir}; chmod 700 .{dir}
         ln -s {dir}/file run/service/resolver; ln -sf /run/service/resolver etc/resolv.conf"
    );
    let script = format!(
        "export HOME=/home/me; case {dir} in /run/*) ;; *) HOME={dir} ;; esac
         me {run} sh -c 'cat /etc/resolv.conf {dir}/file; echo ran' 2>/dev/null
         grep -rlx secret /tmp/kept"
    );
    assert_eq!(on_a_host(&changes, &script).output().stdout, "ran\n");
}

/// F4: hung or foreign mounts, links where directories are. What would be mounted on demand stays as it is.
#[rstest]
#[case::the_way_to_a_home("/opt/x", "run true")]
#[case::an_entry_of_an_image("/srv/img/x", "--root /srv/img -m /usr /usr -t - /new run true")]
fn nothing_is_demanded_of_an_automounter(#[case] place: &str, #[case] words: &str) {
    let changes = "mkdir -p opt/x srv/img; cd srv/img; mkdir x usr
                   for name in bin lib lib64; do ln -s usr/$name $name; done; cd ../..";
    let script = format!(
        "python3 -c \"$MOUNT_AUTOFS\" {place} /tmp/demands & server=$!
         until grep -q ' {place} .* autofs ' /proc/self/mountinfo; do sleep 0.05; done
         me timeout $LONG env HOME=/opt/x/me $SD {words}; echo $?
         cat /tmp/demands; umount -l {place}; kill $server"
    );
    let ran = on_a_host(changes, &script).output();
    assert_eq!(ran.stdout, "0\n", "{}", ran.stderr);
}

/// F4: hung or foreign mounts, links where directories are. FUSE of a block device need not answer either. Linux tells
/// that from 6.8 on.
#[rstest]
fn a_home_on_a_disk_that_a_program_serves_holds_up_no_run(
    #[values("run", "--unprivileged run", "--root / build")] words: &str,
) {
    let (limit, expected) = if kernel() >= (6, 8) { ("$LONG", "here\n0\n") } else { ("10", "124\n") };
    let script = format!(
        "{FILESYSTEMS}
         mkdir -p /opt/x/disk; truncate -s 1M /opt/x/blocks; device=$(losetup -f --show /opt/x/blocks)
         fuse /opt/x/disk ,allow_other,blksize=512 $device
         until grep -q ' - fuseblk ' /proc/self/mountinfo; do sleep 0.05; done
         me timeout {limit} env HOME=/opt/x/disk/me $SD {words} sh -c 'ls -A /opt/x/disk; echo here'; echo $?
         kill $servers; umount -l /opt/x/disk; losetup -d $device"
    );
    let ran = on_a_host("mkdir -p opt/x", &script).output();
    assert_eq!(ran.stdout, expected, "{}", ran.stderr);
}

/// F4: hung or foreign mounts, links where directories are. What an instance shows can be such a mount itself.
#[rstest]
fn a_shown_place_that_does_not_answer_holds_up_no_run(
    #[values("hung", "dead", "foreign")] what: &str,
    #[values("run", "--unprivileged run", "-t - /new run", "run $SD run", "-o / / run")] words: &str,
) {
    let script = format!(
        "{FILESYSTEMS}
         filesystems /srv/x
         mount --bind /srv/x/{what} /var/lib/misc
         me timeout $LONG $SD {words} echo ran; echo $?
         kill $servers 2>/dev/null; umount -l /var/lib/misc /srv/x/hung"
    );
    let ran = on_a_host("mkdir -p srv/x", &script).output();
    assert_eq!(ran.stdout, "ran\n0\n", "{}", ran.stderr);
}

/// A step back leads out of it again.
#[rstest]
fn a_home_beside_a_file_system_that_does_not_answer_is_hidden(
    #[values("run", "--unprivileged run")] words: &str,
) {
    let script = format!(
        "{FILESYSTEMS}
         filesystems /opt/x
         mkdir /opt/x/fine/me; echo {CANARY} >/opt/x/fine/me/f; chown $ME /opt/x/fine/me
         me timeout $LONG env HOME=/opt/x/hung/../fine/me $SD {words} sh -c 'ls -A /opt/x/fine/me; ls /opt/x/fine'
         echo $?
         kill $servers 2>/dev/null; umount -l /opt/x/hung"
    );
    let ran = on_a_host("mkdir -p opt/x", &script).output();
    assert_eq!(ran.stdout, "f\nme\n0\n", "{}", ran.stderr);
}

/// F4: hung or foreign mounts, links where directories are. Without statmount(2) a file system without a block device
/// counts as one that need not answer.
#[rstest]
fn a_home_that_does_not_answer_is_hidden_on_an_older_kernel(
    #[values("run", "--unprivileged run")] words: &str,
) {
    let script = format!(
        "{FILESYSTEMS}
         filesystems /opt/x
         python3 -c \"$OLDER_KERNEL\" setpriv --reuid=$ME --regid=$MY_GROUP --clear-groups \\
             timeout $LONG env HOME=/opt/x/hung/me $SD {words} sh -c 'ls -A /opt/x/hung; echo here'; echo $?
         kill $servers 2>/dev/null; umount -l /opt/x/hung"
    );
    let older_kernel = include_str!("../programs/older_kernel.py");
    let ran = on_a_host("mkdir -p opt/x", &script).env("OLDER_KERNEL", older_kernel).output();
    assert_eq!(ran.stdout, "here\n0\n", "{}", ran.stderr);
}

/// F3: fault injection. Either everything on the list is shown, or there is an error.
#[rstest]
fn no_place_is_left_out_for_want_of_memory(#[values("", "--unprivileged")] mode: &str) {
    let script = include_str!("../programs/list_without_memory.sh");
    let ran = on_a_host("rm .$PREFIX/lib/selfdock/root.list", script).env("MODE", mode).output();
    assert_eq!((&*ran.stdout, &*ran.stderr), ("refused\n", ""));
}

/// In a file system that the kernel serves alone, only the home is hidden. Linux tells that from 6.8 on.
#[rstest]
fn what_is_beside_a_home_on_a_mount_of_its_own_is_shown(#[values("run", "--unprivileged run")] words: &str) {
    let changes = format!(
        "mkdir -p opt/own; mount -t tmpfs own opt/own; mkdir opt/own/me opt/own/other; touch opt/own/other/f
         echo {CANARY} > opt/own/me/f; chown $ME opt/own/me"
    );
    let script =
        format!("me env HOME=/opt/own/me $SD {words} sh -c 'ls -A /opt/own/me /opt/own/other | xargs'");
    let ran = on_a_host(&changes, &script).output();
    let expected = if kernel() >= (6, 8) { "/opt/own/me: /opt/own/other: f\n" } else { "" };
    assert_eq!(ran.stdout.replace('\n', ""), expected.replace('\n', ""), "{}", ran.stderr);
}

/// The places of the list are shown, whatever is mounted there.
#[rstest]
fn what_is_beside_a_home_in_a_place_of_the_list_is_shown(#[values("run", "--unprivileged run")] words: &str) {
    let changes = format!(
        "mount -t ramfs place var/lib/dpkg; mkdir -p var/lib/dpkg/a/me var/lib/dpkg/a/other
         echo {CANARY} > var/lib/dpkg/a/me/f; touch var/lib/dpkg/a/other/f; chown $ME var/lib/dpkg/a/me"
    );
    let script =
        format!("me env HOME=/var/lib/dpkg/a/me $SD {words} ls -A /var/lib/dpkg/a/me /var/lib/dpkg/a/other");
    assert_eq!(on_a_host(&changes, &script).ok(), "/var/lib/dpkg/a/me:\n\n/var/lib/dpkg/a/other:\nf");
}

/// The directory of a program is not a home, and a directory of another user is not, either.
#[rstest]
fn what_is_no_home_is_not_hidden(
    #[values("/usr", "/opt", "/opt/theirs", "/usr/bin", "/", "", "x", "/opt/..")] home: &str,
) {
    let script = "me env HOME=$H $SD run sh -c 'test -e /usr/bin/env && test -e /opt/theirs/f && echo ok'";
    let ran = on_a_host("mkdir -p opt/theirs; touch opt/theirs/f", script).env("H", home).output();
    assert_eq!(ran.stdout, "ok\n", "{}", ran.stderr);
}

/// M10: chroot only. A directory on the list is bound from the path that it had when the list was made. A link that is
/// there now is not followed, if users other than root could have made it, or the caller in an outer instance.
#[rstest]
fn a_directory_that_has_become_a_link_is_empty(
    #[values("../../srv/secret", "/srv/secret", "../secret")] link: &str,
) {
    let changes = format!(
        "mkdir -p srv/secret var/secret; echo {CANARY} | tee srv/secret/f > var/secret/f
         mv var/lib/dpkg var/lib/old; ln -s {link} var/lib/dpkg
         (cd .$PREFIX/lib/selfdock; (printf '!\\0'; cat root.list) > new; mv new root.list)"
    );
    let ran = on_a_host(
        &changes,
        "me cat /var/lib/dpkg/f | wc -l; me $SD run sh -c 'cat /var/lib/dpkg/f; echo ran'",
    );
    assert_eq!(ran.output().stdout, "1\nran\n");
}

/// K1: fake /proc. A link in place of one of the instance's own mount points does not move it elsewhere.
#[test]
fn the_instances_own_mount_points_are_never_links() {
    let over = "mkdir other; ln -s other tmp; ln -s proc/../other nix";
    let script = "me $SD run sh -c 'test -d /proc/self && test ! -L /proc && test ! -L /tmp && touch /tmp/x && echo ok'
                  me $SD -t - /newly run sh -c 'test ! -L /proc && test ! -L /tmp && echo ok'; ls -A /other";
    assert_eq!(on_a_host_over(over, "", script).ok(), "ok\nok");
}

/// I10: prepared files that others change. An owner other than root could change it under an instance.
#[rstest]
#[case::of_somebody_elses("chown 61234 .$PREFIX/lib/selfdock/root")]
#[case::that_others_can_write("chmod 777 .$PREFIX/lib/selfdock/root")]
fn a_root_directory_that_does_not_belong_to_root_alone_is_not_used(#[case] fault: &str) {
    let script = "me $SD run findmnt -no FSTYPE /";
    let before = on_a_host("", script).ok();
    assert!(before != "tmpfs", "{before}");
    assert_eq!(on_a_host(fault, script).ok(), "tmpfs");
}

/// I10: prepared files that others change. What root mounts in the prepared root directory stays outside.
#[rstest]
#[case::run("$SD run")]
#[case::nested("$SD run $SD run")]
#[case::with_a_new_mount_point("$SD -m /usr /new/ly run")]
fn a_mount_in_the_prepared_root_is_not_shown(#[case] run: &str) {
    let script = format!(
        "srv=$PREFIX/lib/selfdock/root/srv; mount -t tmpfs t $srv; touch $srv/seen; ls $srv
         me {run} sh -c 'ls -A /srv; ls -d /usr'"
    );
    assert_eq!(on_a_host("", &script).ok(), "seen\n/usr");
}

/// F4: hung or foreign mounts, links where directories are. Changes of the host since the installation do not prevent
/// a run.
#[rstest]
#[case::gone("rm -r opt-of-the-list")]
#[case::a_file("rmdir opt-of-the-list; touch opt-of-the-list")]
#[case::a_loop("rmdir opt-of-the-list; ln -s opt-of-the-list opt-of-the-list")]
#[case::closed("chmod 700 outer")]
#[case::no_place("rmdir .$PREFIX/lib/selfdock/root/opt-of-the-list")]
fn a_host_that_has_changed_is_no_reason_to_refuse(#[case] change: &str) {
    let changes = format!(
        "mkdir opt-of-the-list outer outer/inner; touch outer/inner/f
         cd .$PREFIX/lib/selfdock; mkdir -p root/opt-of-the-list root/outer/inner
         printf '/opt-of-the-list\\0/outer/inner\\0' >> root.list; cd - >/dev/null; {change}"
    );
    assert_eq!(on_a_host(&changes, "me $SD run echo works").ok(), "works");
}

/// F4: hung or foreign mounts, links where directories are. Users of firejail and bubblewrap reported links where a
/// host has directories.
#[rstest]
#[case::var_tmp("mkdir var; ln -s /tmp var/tmp", "")]
#[case::tmp("ln -s /var/tmp tmp", "")]
#[case::srv("ln -s /etc srv", "")]
#[case::a_loop("ln -s media media", "")]
#[case::into_a_closed_directory("mkdir -m 0 closed; ln -s /closed/x mnt", "")]
#[case::opt("", "mv opt data; ln -s data opt")]
fn links_on_the_host_neither_hide_nor_refuse(#[case] over: &str, #[case] change: &str) {
    let changes = format!("{change}\nchmod 1777 var/tmp 2>/dev/null || true");
    let script = "me $SD run sh -c 'echo hi > /tmp/x && cat /tmp/x && test -r /etc/passwd && echo there'";
    assert_eq!(on_a_host_over(over, &changes, script).ok(), "hi\nthere");
}

/// The caller's own home is hidden wherever it is, unless the caller binds its parent directory.
#[test]
fn a_home_is_invisible_wherever_it_is() {
    let changes =
        format!("mkdir -p export/home/me; echo {CANARY} > export/home/me/f; chown -R $ME export/home/me");
    let script = "HOME=/export/home/me me $SD run sh -c 'cd; cat f; ls -A /export'";
    let ran = on_a_host(&changes, script).output();
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_directory_of_the_caller_is_visible_on_request() {
    let dir = scratch();
    fs::write(dir.path().join("f"), "seen").unwrap();
    for place in ["/srv/data", "/scratch", "/var/lib/mine", "/run/mine", "/home/me/src"] {
        let run = Cmd::run(args!["-m", dir.path(), place]);
        assert_eq!(run.sh(format!("cat {place}/f")).ok(), "seen", "{place}");
    }
}

#[test]
fn an_instance_can_be_entered_and_seen_as_it_is() {
    let outer = crate::support::instance([]);
    let script = "ls -A / /home; cat /proc/self/mountinfo | cut -d' ' -f4-6";
    let inside = Cmd::new(args!["enter", outer.pid().to_string()]).sh(script).ok();
    assert_eq!(inside, Cmd::run([]).sh(script).ok());
    let nested =
        Cmd::new(args!["enter", outer.pid().to_string(), selfdock(), "run"]).sh("ls -A /home /mnt").ok();
    assert_eq!(nested, "/home:\n\n/mnt:");
}
