//! ipc: Shared memory, semaphores and message queues are the instance's own.

use crate::support::{Cmd, args, bin, scratch};
use std::fs;
use std::path::PathBuf;

/// M6: shared memory, IPC.
#[test]
fn shared_memory_files_are_the_instances_own() {
    let marker = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    let inside = format!("/dev/shm/from-inside-{}", std::process::id());
    let listing = Cmd::run([]).sh(format!("ls -A /dev/shm; touch {inside} && echo made")).ok();
    assert_eq!(listing, "made");
    assert!(marker.path().exists() && !PathBuf::from(inside).exists());
}

/// M6: shared memory, IPC.
#[test]
fn system_v_objects_are_the_instances_own() {
    let rows = |table: &str| table.lines().filter(|line| line.starts_with("0x")).count();
    let made = Cmd::program(args!["ipcmk", "-M", "4096"]).ok();
    let id = made.rsplit(' ').next().unwrap().to_owned();
    let inside = Cmd::run([]).sh("ipcs -m; ipcmk -M 4096 >/dev/null; ipcmk -S 1 >/dev/null; ipcs -m").ok();
    let outside = Cmd::program(args!["ipcs", "-s", "-c"]).ok();
    Cmd::program(args!["ipcrm", "-m", &id]).ok();
    assert_eq!(rows(&inside), 1, "{inside}");
    let user = nix::unistd::getuid().to_string();
    assert!(!outside.contains(&user), "a semaphore of an instance is seen outside: {outside}");
}

/// M6: shared memory, IPC.
#[test]
fn message_queues_are_the_instances_own() {
    let outer = format!("/outer-{}", std::process::id());
    let inner = format!("/inner-{}", std::process::id());
    let queue = |verb: &str, name: &str| Cmd::program(args![bin("probe"), "queue", verb, name]).ok();
    assert_eq!(queue("make", &outer), "opened");
    let seen = Cmd::run([]).probe(&["queue", "open", &outer]).ok();
    let made = Cmd::run([]).probe(&["queue", "make", &inner]).ok();
    Cmd::program(args![bin("probe"), "queue", "remove", &outer]).ok();
    assert_eq!((seen.as_str(), made.as_str()), ("ENOENT", "opened"));
    assert_eq!(queue("open", &inner), "ENOENT");
}

#[test]
fn a_fifo_in_a_volume_still_connects() {
    let dir = scratch();
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = Cmd::run(args!["-v", dir.path(), "/mnt", "cat", "/mnt/fifo"]).spawn();
    fs::write(dir.path().join("fifo"), "through\n").unwrap();
    assert_eq!(reader.line(), "through");
}
