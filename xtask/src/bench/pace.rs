//! Lets `pace` start programs, and reads its results.

use super::job::{Job, SELFDOCK};
use super::site::Site;
use super::stats::Summary;
use super::table::Row;
use crate::run::{Context, Result, line};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// One start of a program.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub round: u32,
    /// Nanoseconds on the monotonic clock.
    pub start: u64,
    pub nanoseconds: u64,
    pub faults: u32,
}

/// How long and where to measure.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    pub rounds: u32,
    pub milliseconds: u64,
    pub cpu: Option<usize>,
    /// A root filesystem to measure in.
    pub root: Option<PathBuf>,
}

/// The amount of measurement.
pub struct Size {
    pub quick: bool,
    /// The time for one case.
    pub milliseconds: u64,
    pub rounds: u32,
}

impl Size {
    pub fn limits(&self) -> Limits {
        Limits { rounds: self.rounds, milliseconds: self.milliseconds, ..Limits::default() }
    }
}

/// The first rounds do not count, since caches fill.
const WARM_UP: u32 = 3;
/// A slow program is started less often, but at least this many times.
const FEWEST: u32 = 6;

impl Site {
    /// Starts the programs in turns, and returns a row for each. A program that does not work here is left out, and
    /// named in `notes`.
    pub fn compare(
        &self,
        case: &str,
        jobs: &[Job],
        limits: &Limits,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Row>> {
        let mut works = Vec::new();
        for job in jobs {
            match self.time(&[(job, 1)], &Limits { rounds: 2, ..limits.clone() }) {
                Ok(samples) => works.push((job, samples[0].iter().map(|s| s.nanoseconds).min().unwrap_or(1))),
                Err(_) if self.stop.requested() => return Err("interrupted".into()),
                Err(error) => notes.push(format!("{case}: {} does not work here: {error}", job.who)),
            }
        }
        let share = limits.milliseconds * 1_000_000 / (works.len().max(1) as u64);
        let turns: Vec<(&Job, u32)> = works
            .iter()
            .map(|(job, cost)| {
                let every = u64::from(limits.rounds) * cost / share.max(1) + 1;
                (*job, (every as u32).min((limits.rounds / FEWEST).max(1)))
            })
            .collect();
        let samples =
            self.time(&turns, &Limits { milliseconds: limits.milliseconds * 2, ..limits.clone() })?;
        Ok(rows(case, &turns, &samples))
    }

    /// Starts the programs in turns, each once in a number of rounds.
    pub fn time(&self, jobs: &[(&Job, u32)], limits: &Limits) -> Result<Vec<Vec<Sample>>> {
        let mut child = self.start_timing(jobs, limits)?;
        self.stop.guard(child.id());
        let samples = read_samples(&mut child, jobs.len());
        self.stop.release();
        if self.stop.requested() {
            return Err("interrupted".into());
        }
        samples
    }

    /// Starts what [`Self::time`] measures, without waiting for it.
    pub fn start_timing(&self, jobs: &[(&Job, u32)], limits: &Limits) -> Result<Child> {
        let mut command = self.pace();
        command.arg("time").arg(limits.rounds.to_string()).arg(limits.milliseconds.to_string());
        command.arg(limits.cpu.map_or_else(|| "-".into(), |cpu| cpu.to_string()));
        command.arg(limits.root.as_deref().unwrap_or(Path::new("-")));
        for (job, every) in jobs {
            command.arg("%").args(self.ids(job)).arg(every.to_string()).args(&job.argv);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.spawn().context(line(&command))
    }

    /// Starts many programs that stay.
    pub fn hold(&self, job: &Job, count: usize) -> Result<Held> {
        let mut command = self.pace();
        command.arg("hold").arg(count.to_string()).args(self.ids(job)).args(&job.argv);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().context(line(&command))?;
        let mut text = String::new();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout).read_line(&mut text).context("read what is held")?;
        let input = child.stdin.take();
        let mut held = Held { child, input, first: 0 };
        let first = text.strip_prefix("ready ").and_then(|pid| pid.trim().parse().ok());
        held.first = first.ok_or_else(|| format!("{count} of {} could not be started", job.who))?;
        Ok(held)
    }

    /// `pace`, with an environment that is always the same.
    pub fn pace(&self) -> Command {
        let mut command = Command::new(&self.pace);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8");
        command.current_dir("/");
        command
    }

    /// The ids of a program, for `pace`.
    pub fn ids(&self, job: &Job) -> [String; 2] {
        let (uid, gid) = if job.as_root { (0, 0) } else { (self.user.uid, self.user.gid) };
        [uid.to_string(), gid.to_string()]
    }
}

/// Programs that run until this is dropped.
pub struct Held {
    child: Child,
    input: Option<ChildStdin>,
    /// The first one's PID.
    pub first: i32,
}

impl Held {
    /// The last child of the first one.
    pub fn youngest_of_first(&self) -> Option<i32> {
        let pid = self.first;
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().next_back()?.parse().ok()
    }

    /// Ends them, and checks that all have ended.
    pub fn end(mut self) -> Result {
        self.input = None;
        let status = self.child.wait().context("wait for pace")?;
        if status.success() { Ok(()) } else { Err(format!("something was left of what idled: {status}")) }
    }
}

impl Drop for Held {
    /// `pace` ends them all when its input ends.
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Reads the output of `pace time`, program by program.
pub fn read_samples(child: &mut Child, programs: usize) -> Result<Vec<Vec<Sample>>> {
    let mut samples = vec![Vec::new(); programs];
    let mut text = String::new();
    let mut complaint = String::new();
    child.stdout.take().expect("stdout is a pipe").read_to_string(&mut text).context("read figures")?;
    let mut stderr = child.stderr.take().expect("stderr is a pipe");
    let _ = stderr.read_to_string(&mut complaint);
    let status = child.wait().context("wait for pace")?;
    if !status.success() {
        let last = complaint.lines().rfind(|line| !line.starts_with("pace: program"));
        return Err(last.unwrap_or_else(|| complaint.trim()).trim().to_owned());
    }
    for text in text.lines() {
        let numbers: Vec<u64> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [program, round, start, nanoseconds, faults] = numbers[..] else {
            return Err(format!("pace said '{text}'"));
        };
        let (round, faults) = (round as u32, faults as u32);
        samples[program as usize].push(Sample { round, start, nanoseconds, faults });
    }
    Ok(samples)
}

fn rows(case: &str, turns: &[(&Job, u32)], samples: &[Vec<Sample>]) -> Vec<Row> {
    let warm = |samples: &[Sample]| -> BTreeMap<u32, f64> {
        let warm_up = if samples.len() > 4 * FEWEST as usize { WARM_UP } else { 1 };
        let counted = samples.iter().filter(|sample| sample.round >= warm_up);
        counted.map(|sample| (sample.round, sample.nanoseconds as f64 / 1000.0)).collect()
    };
    let own = turns.iter().position(|(job, _)| job.who == SELFDOCK);
    let own = own.map(|own| warm(&samples[own]));
    let row = |(job, samples): (&Job, &Vec<Sample>)| {
        let samples = warm(samples);
        let pairs = own
            .iter()
            .flat_map(|own| samples.iter().filter_map(|(round, time)| own.get(round).map(|own| time / own)));
        let ratio = Summary::of(pairs.collect()).map(|ratios| ratios.median);
        let value = Summary::of(samples.values().copied().collect())?;
        Some(Row { case: case.to_owned(), x: None, who: job.who.clone(), value, ratio })
    };
    turns.iter().map(|(job, _)| *job).zip(samples).filter_map(row).collect()
}
