//! Exact counts: system calls, mounts and page faults of one instance, on the standard host.

use super::contenders::Contender;
use super::job::{BUBBLEWRAP, FLOOR, Job, SELFDOCK};
use super::pace::{Limits, Size};
use super::site::Site;
use super::stats::Summary;
use super::table::Table;
use super::trace::{self, Calls};
use crate::run::Result;

/// Calls that make or change mounts.
const MOUNTING: [&str; 10] = [
    "fsconfig",
    "fsmount",
    "fsopen",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "pivot_root",
    "umount2",
];

/// The counts of one start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    pub system_calls: usize,
    /// The system calls for mounts.
    pub mount_calls: usize,
    /// Page faults of all its processes, including the command.
    pub page_faults: usize,
    /// The calls of each process, in the order of their births.
    pub processes: Vec<Calls>,
}

/// The number of runs for the smallest count: the random address of the stack causes a page fault now and then.
const RUNS: u32 = 40;
/// The number of traced runs. One of two processes may wait for the other, or not.
const TRACED: u32 = 10;

fn count(site: &Site, job: &Job) -> Result<Counts> {
    let total = |calls: &[Calls]| calls.iter().flat_map(Calls::values).sum::<usize>();
    let traced: Result<Vec<_>> = (0..TRACED).map(|_| trace::calls(site, job, &site.standard)).collect();
    // If sums are equal, the choice is always the same.
    let best = traced?.into_iter().min_by_key(|calls| (total(calls), calls.clone()));
    let best = best.ok_or("count: no run")?;
    let mounting = |calls: &Calls| MOUNTING.iter().filter_map(|name| calls.get(*name)).sum::<usize>();
    let limits = Limits { rounds: RUNS, milliseconds: 5000, root: Some(site.standard.clone()), cpu: None };
    let samples = site.time(&[(job, 1)], &limits)?;
    let faults = samples[0].iter().map(|sample| sample.faults).min().ok_or("count: no sample")?;
    Ok(Counts {
        system_calls: total(&best),
        mount_calls: best.iter().map(mounting).sum(),
        page_faults: faults as usize,
        processes: best,
    })
}

/// The counts of the trivial command.
pub fn of(site: &Site, contender: &Contender) -> Result<Counts> {
    count(site, &contender.job(site, &[&site.nothing]))
}

pub fn section(site: &Site, _: &Size) -> Result<Table> {
    let mut table = Table::new("counts", "What one instance takes, on a host of the usual shape", "number");
    for contender in [FLOOR, SELFDOCK, BUBBLEWRAP].map(Contender::named) {
        if !contender.is_here() {
            continue;
        }
        let counts = match of(site, contender) {
            Ok(counts) => counts,
            Err(error) => {
                table.notes.push(format!("{} does not work here: {error}", contender.name));
                continue;
            }
        };
        for (what, number) in [
            ("system calls", counts.system_calls),
            ("calls about mounts", counts.mount_calls),
            ("page faults", counts.page_faults),
            ("processes", counts.processes.len()),
        ] {
            table.add(what, contender.name, Summary::exactly(number as f64));
        }
        for (i, calls) in counts.processes.iter().enumerate() {
            let list: Vec<String> = calls.iter().map(|(name, times)| format!("{name} {times}")).collect();
            table.notes.push(format!("{}, process {}: {}", contender.name, i + 1, list.join(", ")));
        }
    }
    table.rows.sort_by_key(|row| {
        ["system calls", "calls about mounts", "page faults", "processes"]
            .iter()
            .position(|what| *what == row.case)
    });
    Ok(table)
}
