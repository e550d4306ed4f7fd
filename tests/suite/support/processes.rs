//! Processes as the host sees them, and functions that wait for them.

use super::place::{selfdock, status_of};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// The environment variable that marks the processes of one run.
pub(super) const MARK: &str = "SELFDOCK_TEST_RUN";

/// How long a test waits, which is longer on a machine that is emulated.
pub fn patient(time: Duration) -> Duration {
    let times = std::env::var("SELFDOCK_PATIENCE").ok().and_then(|times| times.parse().ok());
    time * times.unwrap_or(1)
}

/// The seconds that stand for one where programs have a limit of time: more on a machine that is emulated.
pub fn second() -> u64 {
    patient(Duration::from_secs(1)).as_secs()
}

/// How long a test waits for what must come.
pub(super) fn deadline() -> Duration {
    patient(Duration::from_secs(30))
}

/// Waits for a condition. It never waits a fixed time, since machines differ in speed.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < deadline(), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The children of a process, as the host sees them.
pub fn children(pid: i32) -> Vec<i32> {
    let is_child = |other: &i32| stat(*other).is_some_and(|fields| fields.get(1) == Some(&pid.to_string()));
    processes().filter(is_child).collect()
}

/// The command of a supervisor, which has a keeper beside it.
pub fn command_of(supervisor: i32) -> i32 {
    let commands: Vec<i32> = children(supervisor).into_iter().filter(|pid| !is_first(*pid)).collect();
    assert_eq!(commands.len(), 1, "{supervisor} has a keeper and a command: {commands:?}");
    commands[0]
}

/// Whether a process exists and has not ended. A process that is exiting holds no more resources. A keeper stays in
/// this state until the host's init has waited for the command.
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| is_running(&fields))
}

/// Whether a process is stopped.
pub fn is_stopped(pid: i32) -> bool {
    super::place::status_of(&pid.to_string(), &["State"]).starts_with("State: T")
}

/// Whether a process with these fields of `stat` has not ended.
fn is_running(fields: &[String]) -> bool {
    const EXITING: u32 = 4; // PF_EXITING, include/linux/sched.h
    let exiting = fields[6].parse::<u32>().is_ok_and(|flags| flags & EXITING != 0);
    fields[0] != "Z" && fields[0] != "X" && !exiting
}

/// A process and all its descendants, parents first.
pub fn tree(pid: i32) -> Vec<i32> {
    let mut all = vec![pid];
    let mut next = 0;
    while next < all.len() {
        let below = fs::read_to_string(format!("/proc/{0}/task/{0}/children", all[next])).unwrap_or_default();
        all.extend(below.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        next += 1;
    }
    all
}

/// Whether the process is PID 1 of its innermost PID namespace.
pub fn is_first(pid: i32) -> bool {
    let pids = status_of(&pid.to_string(), &["NSpid"]);
    pids.split(' ').count() > 2 && pids.ends_with(" 1")
}

/// PID 1 of the instance of a supervisor, by its PID here.
pub fn keeper_of(supervisor: i32) -> i32 {
    children(supervisor).into_iter().find(|pid| is_first(*pid)).expect("a keeper")
}

/// Whether a process is a supervisor or a keeper. Only the maker of their user namespace can inspect these.
pub fn is_own(pid: i32) -> bool {
    match fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(exe) => exe == selfdock(),
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// A set of signals in /proc/PID/status: bit N-1 for signal N.
pub(super) fn status_set(pid: i32, name: &str) -> u64 {
    let line = status_of(&pid.to_string(), &[name]);
    line.split(' ').nth(1).and_then(|set| u64::from_str_radix(set, 16).ok()).unwrap_or(0)
}

/// The processes of one run that have not ended: those with its mark, and those of its process group, since nobody
/// can inspect a supervisor or a keeper.
pub(super) fn left(mark: &str, group: i32) -> Vec<i32> {
    left_of(mark, &[(PROCESS_GROUP, group)])
}

/// The processes with a mark in their environment, or with one of these values in their `stat`.
pub(super) fn left_of(mark: &str, fields: &[(usize, i32)]) -> Vec<i32> {
    let entry = format!("{MARK}={mark}").into_bytes();
    let has_mark = |pid: i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == entry)
    };
    let user = nix::unistd::getuid().as_raw();
    let is_left = |pid: &i32| {
        let is_own = fs::metadata(format!("/proc/{pid}")).is_ok_and(|dir| dir.uid() == user);
        let Some(stat) = stat(*pid).filter(|stat| is_running(stat)) else { return false };
        fields.iter().any(|(field, value)| stat[*field] == value.to_string()) || is_own && has_mark(*pid)
    };
    processes().filter(is_left).collect()
}

/// Indices of fields of `stat`.
pub(super) const PROCESS_GROUP: usize = 2;
pub(super) const SESSION: usize = 3;

/// Ends processes that may have ended already.
pub(super) fn kill_all(pids: Vec<i32>) {
    for pid in pids {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The fields of /proc/PID/stat from the state on.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}
