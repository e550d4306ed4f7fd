//! The state of the host that a run must not change.

use crate::{Context, Result, told};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The children of this process, including those of other threads.
pub fn children() -> Vec<i32> {
    children_of("self")
}

fn children_of(pid: &str) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<i32>>()).collect()
}

/// Kills all descendants of this process except one, and returns a description of them.
pub fn kill_descendants(but: Option<i32>) -> String {
    let mut all: Vec<i32> = children().into_iter().filter(|pid| Some(*pid) != but).collect();
    let mut next = 0;
    while next < all.len() {
        all.extend(children_of(&all[next].to_string()));
        next += 1;
    }
    let describe = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let wanted = ["Name", "State", "Uid", "CapPrm"];
        let has = |line: &&str| line.split_once(':').is_some_and(|(name, _)| wanted.contains(&name));
        let lines: Vec<String> = status.lines().filter(has).map(|line| line.replace('\t', " ")).collect();
        format!("{pid}: {}", lines.join(", "))
    };
    let who: Vec<String> = all.iter().map(describe).collect();
    for pid in all {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    who.join("; ")
}

/// The mounts that this process sees.
pub fn mounts() -> Result<String> {
    fs::read_to_string("/proc/self/mountinfo").context("read the mounts")
}

/// The owner, the mode and the time of change of each file of selfdock below the installation, the scratch directory
/// and /tmp.
pub fn files() -> Result<BTreeMap<PathBuf, [u64; 6]>> {
    let mut all = BTreeMap::new();
    let program = crate::selfdock()?;
    let prefix = program.ancestors().nth(2).ok_or("no prefix")?;
    for dir in ["bin", "lib"] {
        list(&prefix.join(dir), &mut all)?;
    }
    list(&told("SELFDOCK_SCRATCH")?, &mut all)?;
    for entry in fs::read_dir("/tmp").context("/tmp")?.flatten() {
        if entry.file_name().to_string_lossy().contains("selfdock") {
            list(&entry.path(), &mut all)?;
        }
    }
    Ok(all)
}

fn list(path: &Path, all: &mut BTreeMap<PathBuf, [u64; 6]>) -> Result {
    let Ok(stat) = fs::symlink_metadata(path) else { return Ok(()) };
    let ids = [stat.uid().into(), stat.gid().into(), stat.mode().into()];
    let [uid, gid, mode] = ids;
    all.insert(path.to_owned(), [uid, gid, mode, stat.ino(), stat.size(), stat.ctime().cast_unsigned()]);
    if stat.is_dir() {
        for entry in fs::read_dir(path).context(path.display())?.flatten() {
            list(&entry.path(), all)?;
        }
    }
    Ok(())
}

/// How many keys a user has. proc_key-users(5)
pub fn keys_of(uid: u32) -> Result<u64> {
    let users = fs::read_to_string("/proc/key-users").context("/proc/key-users")?;
    let line = users.lines().find(|line| line.trim_start().split(':').next() == Some(&uid.to_string()));
    let count = line.and_then(|line| line.split_whitespace().nth(2)?.split('/').next()?.parse().ok());
    Ok(count.unwrap_or(0))
}
