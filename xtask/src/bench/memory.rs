//! The memory of an idle instance, beyond its command.
//!
//! `MemAvailable` is not usable: freed pages stay on lists of the CPUs for seconds, and are missing there. So this
//! adds up the memory in use while many instances run: small objects, stacks and page tables of the kernel, and
//! memory of processes. All counts are of the whole machine, since the counts of processes include shared memory
//! twice. `proc_meminfo(5)`

use super::contenders::Contender;
use super::job::{BUBBLEWRAP, FLOOR, Job, PLAIN, SELFDOCK};
use super::machine::field;
use super::pace::Size;
use super::site::Site;
use super::stats::Summary;
use super::table::Table;
use crate::run::{Context, Result};
use std::fs;
use std::time::Duration;

/// The kernel's counts in /proc/meminfo, and their names.
const COUNTS: [(&str, &str); 6] = [
    ("Slab", "small objects of the kernel"),
    ("KernelStack", "stacks of the kernel"),
    ("PageTables", "page tables"),
    ("Percpu", "memory for each CPU"),
    ("Shmem", "pages of tmpfs"),
    ("AnonPages", "memory of processes"),
];

/// The name of the sum in the table.
pub const ALL: &str = "in all";

/// Kilobytes, in the order of `COUNTS`.
type Use = [f64; COUNTS.len()];

pub fn section(site: &Site, size: &Size) -> Result<Table> {
    let mut table = Table::new("memory", "Memory of an idle instance, beyond its command's", "kB");
    let (count, rounds) = if size.quick { (300, 3) } else { (600, 5) };
    let contenders = [PLAIN, FLOOR, SELFDOCK, BUBBLEWRAP].map(Contender::named);
    let jobs: Vec<Job> = contenders
        .iter()
        .filter(|contender| contender.is_here())
        .map(|contender| contender.job(site, &[&site.idle]))
        .collect();
    let mut found: Vec<Vec<Use>> = vec![Vec::new(); jobs.len()];
    for _ in 0..rounds {
        for (job, found) in jobs.iter().zip(&mut found) {
            found.push(held_by(site, job, count)?);
        }
    }
    let column = |uses: &[Use], i: usize| Summary::of(uses.iter().map(|one| one[i]).collect());
    let plain: Vec<f64> = (0..COUNTS.len()).filter_map(|i| Some(column(&found[0], i)?.median)).collect();
    for (job, found) in jobs.iter().zip(&found).skip(1) {
        let beyond = |one: &Use| one.iter().zip(&plain).map(|(held, plain)| held - plain).sum();
        let all = Summary::of(found.iter().map(beyond).collect());
        all.into_iter().for_each(|all| table.add(ALL, &job.who, all));
    }
    for (i, (_, name)) in COUNTS.iter().enumerate() {
        for (job, found) in jobs.iter().zip(&found).skip(1) {
            let part = Summary::of(found.iter().map(|one| one[i] - plain[i]).collect());
            part.into_iter().for_each(|part| table.add(*name, &job.who, part));
        }
    }
    let plain: f64 = plain.iter().sum();
    table.notes.push(format!("the command alone, the smallest possible process: {plain:.1} kB"));
    Ok(table)
}

/// The memory of each of many idle jobs.
fn held_by(site: &Site, job: &Job, count: usize) -> Result<Use> {
    give_back();
    let before = kernel()?;
    let held = site.hold(job, count)?;
    let after = kernel()?;
    held.end().context(&job.who)?;
    let mut each = [0.0; COUNTS.len()];
    for (i, (before, after)) in before.iter().zip(after).enumerate() {
        each[i] = (after - before) / count as f64;
    }
    Ok(each)
}

/// Memory of ended processes is freed a moment later, and the kernel keeps pages of small objects until it is asked.
/// slabinfo(5).
fn give_back() {
    std::thread::sleep(Duration::from_millis(500));
    for cache in fs::read_dir("/sys/kernel/slab").into_iter().flatten().flatten() {
        // Not every kernel has this file; without it the figures vary more.
        let _ = fs::write(cache.path().join("shrink"), "1");
    }
    std::thread::sleep(Duration::from_millis(100));
}

fn kernel() -> Result<Vec<f64>> {
    // Flushes the counts of single CPUs. Some kernels warn about it, but do it.
    let _ = fs::write("/proc/sys/vm/stat_refresh", "1");
    COUNTS.iter().map(|(name, _)| kilobytes(name)).collect()
}

fn kilobytes(name: &str) -> Result<f64> {
    let text = field("/proc/meminfo", name).unwrap_or_default();
    text.trim_end_matches(" kB").parse::<f64>().context(format_args!("{name} in /proc/meminfo"))
}
