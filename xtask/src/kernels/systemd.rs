//! A guest whose first process is systemd, with a user's own systemd, for the limits that need both. It is a small
//! Debian on a disk. The initramfs puts selfdock and the checks on it.

use super::fetch::{self, Fetched};
use super::full::{self, drive, make_root};
use super::guest::{self, Programs};
use super::smoke::{Check, Mode, USER, check};
use super::{Arch, Kernel, judge, qemu};
use crate::host::Seen;
use crate::run::{Context, Result, is_root, root, run};
use Mode::{Root, SetUid};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PACKAGES: [&str; 5] = ["dbus", "dbus-user-session", "libpam-systemd", "login", "systemd"];

/// The place of selfdock and the checks. It is the only one.
const ROOT: &str = "systemd";

/// How long the guest may print nothing.
const SILENCE: Duration = Duration::from_secs(600);

/// Makes a user, whose systemd runs from the start, and a target that has what a login needs. `$ROOT` is the root
/// filesystem.
const FINISH: &str = include_str!("systemd_root.sh");

/// What the initramfs does with the disk.
const FILL: &str = "\
cp -a /usr/local/. /new/usr/local
cp -a /opt/checks /new/opt/checks";

/// Runs the checks, each in a session of its caller. The output of a check is printed when it has ended.
const ALL: &str = include_str!("systemd_all.sh");

const CHECKS: &[Check] = &[
    check(
        "a session",
        &[SetUid],
        "cat /proc/self/cgroup; systemctl --user is-system-running; selfdock doctor | grep -e --memory",
        |_| {
            "0::/user.slice/user-1000.slice/session-*.scope\nrunning\n\
             ok    --memory, --pids, --cpus can be used if your systemd gives selfdock a control group"
        },
    ),
    check(
        "systemd gives a group, and removes it",
        USER,
        include_str!("systemd_scope.sh"),
        |_| {
            "0::/\n/user.slice/user-1000.slice/user@1000.service/app.slice/selfdock-*.scope/selfdock.*/in\n\
             ActiveState=active\nDelegate=yes\n33554432\n18\n100000 100000\nkeeper\nselfdock\nsh\n0\n\"status\":\"OK\""
        },
    ),
    check(
        "memory",
        USER,
        "$S --memory 32M --report 1 run dd if=/dev/zero of=/dev/null bs=100M count=1; echo $?",
        |_| {
            "{*\"signal\":9,\"ended_by\":\"memory\",\"status\":\"MO\",*\"group_oom_kills\":1,*}\nKilled\n137"
        },
    ),
    check(
        "processes",
        USER,
        "$S --pids 8 --report 1 run sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 20 & done'",
        |_| "sh: *Cannot fork\n{*\"status\":\"RE\",*\"group_forks_refused\":1,*}\nstatus 2",
    ),
    check(
        "processors",
        USER,
        "$S --cpus 0.2 --report 1 run sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done' |
            grep -c 'group_throttled_seconds\":0.000000'",
        |_| "0\nstatus 1",
    ),
    check(
        "a batch",
        USER,
        "printf '1\\n2\\n3\\n' | $S each --memory 32M --pids 9 -j 2 echo | sort",
        |_| "1\n2\n3",
    ),
    check(
        "the supervisor is killed",
        USER,
        "mkfifo up; $S --memory 32M --report report -v $PWD /mnt run sh -c 'echo >/mnt/up; sleep 50' & read x <up
        kill -KILL $!; { wait $!; echo $?; } 2>/dev/null
        until grep -o '\"status\":\"XX\"' report; do sleep 0.1; done
        while systemctl --user --quiet is-active selfdock-$!.scope; do sleep 0.1; done
        find /sys/fs/cgroup -name 'selfdock*'",
        |_| "137\n\"status\":\"XX\"",
    ),
    check(
        // As a terminal of a desktop is.
        "a unit of the user's systemd",
        &[SetUid],
        "for unit in '--wait --pipe' --scope '--scope -p Delegate=yes'; do
            systemd-run --user --quiet $unit selfdock --memory 32M --report /home/work/report run echo well
            grep -o 'status.*group' report
        done",
        |_| "well\nstatus\":\"OK\",*group\nwell\nstatus\":\"OK\",*group\nwell\nstatus\":\"OK\",*group",
    ),
    check(
        "a unit of the user's systemd has a limit that the scope would lack",
        &[SetUid],
        "for limit in MemoryMax=64M TasksMax=10; do
            systemd-run --user --quiet --scope -p $limit selfdock --memory 32M run echo never
        done",
        |_| {
            "selfdock: ask systemd *.scope': the new group would lack a limit that your own group has\n\
             selfdock: ask systemd *.scope': the new group would lack a limit that your own group has\nstatus 125"
        },
    ),
    check("a session of root", &[Root], "$S --memory 32M --report 1 run echo well", |_| {
        "well\n{*\"status\":\"OK\",*\"group_oom_kills\":0,*}"
    }),
    check(
        "a unit of the system's systemd",
        &[Root],
        "as_user() { systemd-run --quiet --wait --collect --pipe --uid=user \"$@\" 2>&1; }
        as_user selfdock --memory 32M run echo never; echo $?
        as_user -p Delegate=yes selfdock --memory 32M run echo delegated
        as_user -E XDG_RUNTIME_DIR=/run/user/1000 \\
            systemd-run --user --quiet --scope -p Delegate=yes selfdock --memory 32M run echo as advised",
        |_| {
            "selfdock: *'/system.slice/run-*.service': is not delegated to you; \
             start selfdock with 'systemd-run --user --scope -p Delegate=yes', *\n125\ndelegated\nas advised"
        },
    ),
    check(
        "the user's systemd has ended",
        &[Root],
        "mkfifo -m 666 up end
        systemd-run --quiet --wait --collect --pipe --uid=user -p PAMName=login -E XDG_SESSION_CLASS=user sh -c '
            echo >/home/work/up; read x </home/work/end
            selfdock --memory 32M --report 1 run echo never; cat /proc/self/cgroup' & read x <up
        systemctl stop user@1000.service; echo >end; wait $!",
        |_| {
            "selfdock: ask systemd for a control group by '*busctl': Failed to connect to *bus*\n\
             {*\"started\":false,*\"exit\":125,*\"status\":\"XX\",*}\n0::/user.slice/user-1000.slice/session-*.scope"
        },
    ),
];

/// Runs the checks on a kernel, with the systemd of its release of Debian.
pub fn boot(
    arch: &Arch,
    kernel: &Kernel,
    fetched: &Fetched,
    programs: &Programs,
    dir: &Path,
    only: &[String],
    anew: bool,
) -> Result<Vec<String>> {
    if !is_root() {
        return Err("--systemd makes a root filesystem with files of root's: run it as root".into());
    }
    if !arch.target.is_here() {
        return Err("--systemd takes packages of this machine's architecture: it has no other --arch".into());
    }
    let system = root().join("target/kernels").join(arch.debian).join(format!("systemd-{}", kernel.release));
    if anew || !system.exists() {
        let finish = |new: &Path| run(Command::new("sh").args(["-ec", FINISH]).env("ROOT", new));
        make_root(&system, &fetch::mirror()?.0, kernel.release, &PACKAGES, finish)?;
    }
    let start = Instant::now();
    let disk = dir.join("disk");
    let mut make = Command::new("sh");
    make.args(["-ec", "rm -f \"$1\"; truncate -s 1G \"$1\"; mke2fs -q -t ext4 -d \"$0\" \"$1\""]);
    run(make.arg(&system).arg(&disk))?;
    let mut tree = full::initramfs(fetched, FILL, "/usr/lib/systemd/systemd")?;
    guest::checks(arch, &mut tree, programs, CHECKS, ALL, only)?;
    guest::installed(&mut tree, programs, &|path| match fs::symlink_metadata(system.join(path)) {
        Ok(meta) if meta.is_symlink() => fs::read_link(system.join(path))
            .map_or(Seen::Nothing, |target| Seen::Link(target.into_os_string().into_encoded_bytes())),
        Ok(_) => Seen::Place,
        Err(_) => Seen::Nothing,
    })?;
    let machine = ["-m", "1024", "-net", "none"].map(str::to_owned);
    let machine = [&machine[..], &drive(&disk)].concat();
    let lines = qemu::run(arch, fetched, &tree.archive(), dir, &machine, SILENCE)?;
    fs::remove_file(&disk).context(disk.display())?;
    let said = qemu::understand(&lines, &dir.join("console"))?;
    let version =
        lines.iter().find_map(|line| line.split_once("@@ systemd ")).map_or("systemd", |(_, name)| name);
    let on = format!("Linux {}, {version}", said.release);
    Ok(judge(&said, CHECKS, only, ROOT, &on, start, dir))
}
