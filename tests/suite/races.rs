//! races: Whatever is exchanged, reused or replaced meanwhile, nothing else is shown, entered or written.

use crate::support::{
    Cmd, Ran, args, children, command_of, fixture, host_mounts, on_a_host, scratch, selfdock, status_of,
    tree, wait_until,
};
use crate::volumes::user_image;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// For how long `cargo xtask torture races` has each test go on.
fn time() -> Option<Duration> {
    let seconds = std::env::var("SELFDOCK_RACE_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("seconds")))
}

/// Rounds of what depends on chance: so many, or for as long as is asked for.
pub fn rounds(short: usize) -> impl Iterator<Item = usize> {
    let (time, start) = (time(), Instant::now());
    (0..).take_while(move |round| time.map_or(*round < short, |time| start.elapsed() < time))
}

/// Does something while two names are exchanged over and over again.
fn while_exchanging(one: &Path, other: &Path, act: impl FnOnce()) {
    /// A panic must not leave the thread that exchanges.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE);
            }
        });
        let _stop = Stop(&stop);
        act();
    });
}

/// P4: source race.
#[rstest]
fn a_source_that_is_exchanged_meanwhile_never_reveals_a_closed_file(
    #[values("-m", "-v", "--root")] option: &str,
) {
    let dir = scratch();
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
    let image = user_image();
    fs::rename(image.keep(), &good).unwrap();
    symlink(fixture("p/pub"), &bad).unwrap();
    while_exchanging(&good, &bad, || {
        for _ in rounds(150) {
            let options = if option == "--root" {
                args![option, &good].to_vec()
            } else {
                args![option, &good, "/mnt"].to_vec()
            };
            // `output` looks for the canary.
            Cmd::run(options).sh("cat /canary /mnt/canary 2>/dev/null; true").output();
        }
    });
}

/// P5: destination escape. The caller exchanges a directory of the image for a link while it is gone through.
#[rstest]
fn a_place_that_is_exchanged_meanwhile_leads_nowhere_else(
    #[values("/proc", "/dev", "../../../../../../../../srv")] target: &str,
) {
    let (image, before) = (user_image(), host_mounts());
    let (place, link) = (image.path().join("place"), image.path().join("link"));
    fs::create_dir_all(place.join("sub")).unwrap();
    symlink(target, &link).unwrap();
    let mut started = 0;
    while_exchanging(&place, &link, || {
        for _ in rounds(100) {
            let words = args!["--root", image.path(), "-m", "/usr/bin", "/place/sub"];
            let ran = Cmd::run(words).sh("cat /proc/self/mountinfo").output();
            if ran.status.code() == Some(125) {
                // Whichever step met the exchange refuses.
                assert!(ran.stdout.is_empty() && ran.stderr.lines().count() == 1, "{}", ran.stderr);
                continue;
            }
            started += 1;
            for line in ran.ok().lines() {
                let at = line.split(' ').nth(4).unwrap();
                let is_usr = line.split(' ').nth(3).unwrap().ends_with("usr/bin");
                assert!(!is_usr || !(at.starts_with("/proc") || at.starts_with("/dev")), "{line}");
            }
        }
    });
    assert!(started > 0);
    assert_eq!(host_mounts(), before);
}

/// R1: report. Its directory is exchanged for another one.
#[test]
fn a_report_whose_directory_is_exchanged_meanwhile_is_whole_or_not_there() {
    let dir = scratch();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    for dir in [&one, &other] {
        fs::create_dir(dir).unwrap();
    }
    let mut whole = 0;
    for _ in rounds(100) {
        while_exchanging(&one, &other, || {
            let ran = Cmd::run(args!["--report", one.join("report")]).sh("exit 7").output().exits(7);
            assert!(ran.stderr.lines().count() <= 1, "{}", ran.stderr);
        });
        for dir in [&one, &other] {
            // What could not be written whole is empty.
            let text = fs::read_to_string(dir.join("report")).unwrap_or_default();
            let is_whole = text.starts_with("{\"version\":1,\"started\":true,") && text.ends_with("}\n");
            assert!(text.is_empty() || is_whole, "{text}");
            whole += usize::from(is_whole);
            let _ = fs::remove_file(dir.join("report"));
        }
    }
    assert!(whole > 0);
}

/// E4: check and use. A PID belongs to one instance, then to another, to another process, or to none.
#[test]
fn a_pid_that_is_used_again_meanwhile_enters_one_instance_and_no_other() {
    const REUSE: &str = include_str!("../programs/use_pid_again.py");
    const ENTER: &str = include_str!("../programs/enter_again.py");
    let changes =
        "mkdir -m 777 srv/own srv/own/a srv/own/b; echo a > srv/own/a/name; echo b > srv/own/b/name";
    let script = "unshare --pid --fork --mount-proc python3 -c \"$REUSE\"";
    let limit = time().unwrap_or_default() + Duration::from_secs(300);
    let seen = on_a_host(changes, script).env("REUSE", REUSE).env("ENTER", ENTER).within(limit).ok();
    let (mut used, mut entered) = (0, 0);
    for line in seen.lines() {
        let words: Vec<&str> = line.split('|').collect();
        match words[..] {
            ["entered", "0", "a a" | "b b", "0", ""] => entered += 1,
            ["entered", "125", "", "1", said] => assert!(said.starts_with("selfdock: "), "{line}"),
            // The command was killed with the instance, perhaps after it had printed.
            ["entered", "-9" | "137", "a a" | "b b" | "", "0", ""] => {}
            ["entered", ..] => panic!("{line}"),
            _ => used = line.strip_prefix("used ").unwrap().parse().unwrap(),
        }
    }
    assert!(used > 10 && entered > 0, "used {used}, entered {entered}");
}

/// E4: check and use. A process of an instance moves to new namespaces while it is joined.
#[test]
fn a_process_that_unshares_meanwhile_is_entered_whole_or_not_at_all() {
    const UNSHARES: &str = include_str!("../programs/unshare_meanwhile.py");
    let instance = Cmd::run(args!["python3", "-c", UNSHARES]).spawn();
    assert_eq!(instance.line(), "up");
    let command = command_of(instance.pid());
    let names = ["user", "mnt", "uts", "ipc"];
    let own = names.map(|name| fs::read_link(format!("/proc/{command}/ns/{name}")).unwrap());
    let script = "grep -E '^Cap(Prm|Eff)' /proc/self/status
                  for n in user mnt uts ipc; do readlink /proc/self/ns/$n; done";
    let (mut entered, mut child) = (0, command);
    for round in rounds(150) {
        // A child can live for two seconds, longer than all rounds take. So it is tried a few times, and ended.
        if round % 5 == 0 {
            let last = child;
            wait_until("it starts another process", || {
                if last != command {
                    let _ = kill(Pid::from_raw(last), Signal::SIGKILL);
                }
                child = tree(command).get(1).copied().unwrap_or(last);
                child != last
            });
        }
        let ran: Ran = Cmd::new(args!["enter", child.to_string()]).sh(script).output();
        match ran.status.code() {
            Some(0) => {
                entered += 1;
                let (caps, spaces): (Vec<&str>, Vec<&str>) =
                    ran.stdout.lines().partition(|line| line.starts_with("Cap"));
                assert!(caps.iter().all(|line| line.ends_with("\t0000000000000000")), "{}", ran.stdout);
                let same = spaces.iter().zip(&own).filter(|(seen, own)| Path::new(seen) == own.as_path());
                assert!(
                    spaces.len() == names.len() && [0, names.len()].contains(&same.count()),
                    "{}",
                    ran.stdout
                );
            }
            Some(125) => assert!(ran.stdout.is_empty() && ran.stderr.lines().count() == 1, "{}", ran.stderr),
            _ => panic!("{} {} {}", ran.status, ran.stdout, ran.stderr),
        }
    }
    assert!(entered > 0);
}

/// An installation replaces one file after the other. Whoever starts selfdock then has the old one or the new one.
#[test]
fn an_upgrade_meanwhile_breaks_no_start() {
    let script = include_str!("../programs/upgrade_meanwhile.sh");
    let limit = time().unwrap_or_default() + Duration::from_secs(300);
    assert_eq!(on_a_host("", script).within(limit).ok(), "done");
}

/// dpkg keeps a link to the old file while it replaces it. On an overlay, a lower file keeps its count of links.
#[rstest]
#[case::with_a_link("ln $SD $SD.old")]
#[case::on_an_overlay(":")]
#[case::without_a_link("cp -a $SD $SD.twice; mv $SD.twice $SD; exec 9< $SD")]
fn the_old_program_works_while_it_is_replaced(#[case] keep: &str) {
    let script = include_str!("../programs/replace_the_program.sh");
    assert_eq!(on_a_host("", script).env("KEEP", keep).ok(), "done");
}

/// C3: ptrace window.
#[test]
fn a_process_with_privilege_cannot_be_inspected() {
    let mut seen = 0;
    for round in rounds(150) {
        let mut command = std::process::Command::new(selfdock());
        let mut child = command.args(["run", "sleep", "5"]).process_group(0).spawn().unwrap();
        let start = Instant::now();
        let delay = Duration::from_micros((round as u64 * 7) % 900);
        while start.elapsed() < delay {
            std::hint::spin_loop();
        }
        let pid = child.id().cast_signed();
        // The whole group at once: the supervisor and what it has started.
        let _ = kill(Pid::from_raw(-pid), Signal::SIGSTOP);
        let mut all = vec![pid];
        all.extend(children(pid));
        for pid in all {
            let status = status_of(&pid.to_string(), &["CapPrm"]);
            if status.is_empty() || status == "CapPrm: 0000000000000000" {
                continue;
            }
            seen += 1;
            for name in ["mem", "fd", "root/", "cwd/", "exe", "environ"] {
                let path = format!("/proc/{pid}/{name}");
                let open = if name == "fd" {
                    fs::read_dir(&path).map(drop)
                } else {
                    fs::File::open(&path).map(drop)
                };
                assert!(open.is_err(), "{path} can be opened");
            }
        }
        // A stopped process does not notice the end of its parent, so the whole group is killed.
        kill(Pid::from_raw(-pid), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
    }
    assert!(seen > 10, "privilege was seen {seen} times only");
}

/// F1: killed half-way.
#[test]
fn kill_at_any_moment_leaves_nothing() {
    let before = host_mounts();
    for round in rounds(50) {
        let mut instance = Cmd::run(args!["sleep", "1000"]).spawn();
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros((round as u64 * 37) % 2000) {
            std::hint::spin_loop();
        }
        instance.signal(Signal::SIGKILL);
        assert_eq!(instance.wait().signal(), Some(9));
        instance.leaves_nothing();
    }
    assert_eq!(host_mounts(), before);
}
