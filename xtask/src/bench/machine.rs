//! The machine of the figures, and whether it is idle enough to measure.

use crate::run::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

/// The highest CPU usage of the machine before the measurement.
const MOST_BUSY: f64 = 0.15;

/// Refuses a busy machine.
pub fn must_be_quiet() -> Result {
    let before = ticks()?;
    std::thread::sleep(Duration::from_millis(300));
    let after = ticks()?;
    let (all, idle) = (after.0 - before.0, after.1 - before.1);
    let busy = 1.0 - idle as f64 / (all.max(1)) as f64;
    if busy > MOST_BUSY {
        let percent = busy * 100.0;
        return Err(format!("the machine is busy ({percent:.0} % of its CPUs): wait, or use --force"));
    }
    Ok(())
}

/// Clock ticks of all CPUs: all, and idle. proc(5), /proc/stat.
fn ticks() -> Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let first = text.lines().next().unwrap_or_default();
    let numbers: Vec<u64> = first.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let idle = numbers.get(3..5).map_or(0, |idle| idle.iter().sum());
    Ok((numbers.iter().take(8).sum(), idle))
}

/// The CPUs that this program may use.
pub fn cpus() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("find the CPUs")?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu) == Ok(true)).collect())
}

/// A field of a file like /proc/meminfo.
pub fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// A line and an object that describe the machine.
pub fn describe() -> Result<(String, Value)> {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".into());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's name")?;
    let kernel = kernel.trim();
    let cpus = cpus()?.len();
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("mounts")?.lines().count();
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let is_virtual = field("/proc/cpuinfo", "flags").is_some_and(|flags| flags.contains("hypervisor"));
    let kind = if is_virtual { "virtual machine" } else { "bare metal" };
    let load = fs::read_to_string("/proc/loadavg").context("load")?;
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let line = format!("{cpu}, {cpus} CPUs, {kind}, Linux {kernel}, {mounts} mounts, load {load}");
    let value = json!({ "cpu": cpu, "cpus": cpus, "virtual": is_virtual, "kernel": kernel,
        "mounts": mounts, "memory": memory, "load": load });
    Ok((line, value))
}
