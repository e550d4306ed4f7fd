//! The sections, in the order of the output.

use super::contenders::{CONTENDERS, Contender, bubblewrap};
use super::job::{BUBBLEWRAP, FLOOR, Job, PLAIN, SELFDOCK, words};
use super::pace::{Held, Limits, Size, read_samples};
use super::site::Site;
use super::stats::Summary;
use super::table::Table;
use super::{counts, machine, memory};
use crate::run::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::Path;

/// The function that measures a section.
pub type Section = (&'static str, fn(&Site, &Size) -> Result<Table>);

pub const SECTIONS: &[Section] = &[
    ("spawn", spawn),
    ("host-mounts", host_mounts),
    ("volumes", volumes),
    ("depth", depth),
    ("alive", alive),
    ("parallel", parallel),
    ("options", options),
    ("enter", enter),
    ("memory", memory::section),
    ("counts", counts::section),
];

/// The trivial command on one CPU and on all. The goals refer to these cases.
pub const TRIVIAL: &str = "trivial command, all CPUs";

fn spawn(site: &Site, size: &Size) -> Result<Table> {
    let mut table = Table::new("spawn", "One instance, from start to end", "µs");
    let python = Path::new("/usr/bin/python3");
    let last_cpu = machine::cpus()?.last().copied();
    let mut commands =
        vec![("trivial command", vec![site.nothing.as_str()]), ("/bin/true", vec!["/bin/true"])];
    if python.exists() {
        commands.push(("python3 -c 0", vec!["/usr/bin/python3", "-c", "0"]));
    }
    for (i, (name, command)) in commands.iter().enumerate() {
        // A contender's own image has only the trivial command.
        let jobs: Vec<Job> = CONTENDERS
            .iter()
            .filter(|contender| contender.is_here() && (i == 0 || !contender.own_image))
            .map(|contender| contender.job(site, command))
            .collect();
        for (place, cpu) in [("all CPUs", None), ("one CPU", last_cpu)] {
            let limits = Limits { cpu, ..size.limits() };
            let case = format!("{name}, {place}");
            let rows = site.compare(&case, &jobs, &limits, &mut table.notes)?;
            table.rows.extend(rows);
        }
    }
    Ok(table)
}

/// A figure for each number, for a chart.
fn over(site: &Site, size: &Size, table: &mut Table, number: usize, of: &str, jobs: &[Job]) -> Result<()> {
    let mut rows = site.compare(&format!("{number} {of}"), jobs, &size.limits(), &mut table.notes)?;
    rows.iter_mut().for_each(|row| row.x = Some(number as f64));
    table.rows.extend(rows);
    Ok(())
}

fn jobs_of(site: &Site, names: &[&str]) -> Vec<Job> {
    let contenders = names.iter().map(|name| Contender::named(name)).filter(|contender| contender.is_here());
    contenders.map(|contender| contender.job(site, &[&site.nothing])).collect()
}

fn host_mounts(site: &Site, size: &Size) -> Result<Table> {
    let mut table = Table::new("host-mounts", "One instance, with so many mounts more on the host", "µs");
    let dir = site.scratch.join("mounts");
    for number in [0, 100, 1000] {
        let more = HostMounts::make(&dir, number)?;
        over(
            site,
            size,
            &mut table,
            number,
            "mounts",
            &jobs_of(site, &[PLAIN, FLOOR, SELFDOCK, BUBBLEWRAP]),
        )?;
        drop(more);
    }
    for who in [FLOOR, SELFDOCK, BUBBLEWRAP] {
        let cost = a_mount(&table, who);
        table.notes.extend(cost.map(|cost| format!("{who}: {cost:.2} µs a mount")));
    }
    Ok(table)
}

/// The cost of each additional mount on the host.
pub fn a_mount(table: &Table, who: &str) -> Option<f64> {
    Some((table.median("1000 mounts", who)? - table.median("0 mounts", who)?) / 1000.0)
}

/// Mounts that are gone when this is dropped.
struct HostMounts<'a>(&'a Path);

impl<'a> HostMounts<'a> {
    fn make(dir: &'a Path, number: usize) -> Result<Self> {
        fs::create_dir_all(dir).context(dir.display())?;
        mount(Some("bench"), dir, Some("tmpfs"), MsFlags::empty(), None::<&str>).context(dir.display())?;
        let made = Self(dir);
        for i in 1..number {
            let place = dir.join(i.to_string());
            fs::create_dir(&place).context(place.display())?;
            // They are mounts of another file system: a bind would be a peer of its parent, and each one would double
            // them all.
            let source = Some("/usr/bin");
            mount(source, &place, None::<&str>, MsFlags::MS_BIND, None::<&str>).context(place.display())?;
        }
        Ok(made)
    }
}

impl Drop for HostMounts<'_> {
    fn drop(&mut self) {
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}

fn volumes(site: &Site, size: &Size) -> Result<Table> {
    let mut table = Table::new("volumes", "One instance with volumes", "µs");
    for number in [0, 1, 10, 100] {
        let places: Vec<String> = (0..number).map(|i| format!("/tmp/{i}")).collect();
        let binds = |option: &'static str| -> Vec<&str> {
            places.iter().flat_map(|place| [option, "/usr/bin", place.as_str()]).collect()
        };
        let floor = [&site.floor()[..], &binds("-v")[..], &[&site.nothing]].concat();
        let mut jobs = vec![
            Job { who: FLOOR.into(), as_root: false, argv: words(&floor) },
            Job { who: SELFDOCK.into(), as_root: false, argv: site.run(&binds("--vol"), &[&site.nothing]) },
        ];
        let other = Contender::named(BUBBLEWRAP);
        if other.is_here() {
            jobs.push(other.job_of(bubblewrap(&binds("--bind"), &[&site.nothing])));
        }
        over(site, size, &mut table, number, "volumes", &jobs)?;
    }
    Ok(table)
}

/// All depths take turns, so that each is compared with one instance, pair by pair.
fn depth(site: &Site, size: &Size) -> Result<Table> {
    let mut table = Table::new("depth", "Instances inside of each other, all started anew", "µs");
    let mut jobs = Vec::new();
    let mut cases = Vec::new();
    for number in [1, 2, 8, 16, 30] {
        for name in [SELFDOCK, BUBBLEWRAP] {
            let contender = Contender::named(name);
            let nest = |command: Vec<String>, _| {
                let command: Vec<&str> = command.iter().map(String::as_str).collect();
                contender.job(site, &command).argv
            };
            let argv = (0..number).fold(words(&[&site.nothing]), nest);
            let who = if number == 1 { name.to_owned() } else { format!("{name} {number} deep") };
            if contender.is_here() {
                cases.push((who.clone(), number, name));
                jobs.push(Job { who, as_root: false, argv });
            }
        }
    }
    let mut limits = size.limits();
    limits.milliseconds *= 3;
    for mut row in site.compare("in turns", &jobs, &limits, &mut table.notes)? {
        let case = cases.iter().find(|(who, ..)| *who == row.who);
        if let Some((_, number, name)) = case {
            row.case = format!("{number} deep");
            row.x = Some(f64::from(*number));
            row.who = (*name).to_owned();
            table.rows.push(row);
        }
    }
    table.notes.push("here `× selfdock` is times one instance alone".into());
    Ok(table)
}

fn alive(site: &Site, size: &Size) -> Result<Table> {
    let mut table = Table::new("alive", "One instance more, while so many others idle", "µs");
    let idle = Job { who: SELFDOCK.into(), as_root: false, argv: site.run(&[], &[&site.idle]) };
    let most = if size.quick { 1000 } else { 5000 };
    for number in [0, 100, 1000, 5000].into_iter().filter(|number| *number <= most) {
        let held = if number > 0 { Some(site.hold(&idle, number)?) } else { None };
        over(site, size, &mut table, number, "alive", &jobs_of(site, &[PLAIN, FLOOR, SELFDOCK]))?;
        held.map_or(Ok(()), Held::end)?;
    }
    Ok(table)
}

fn parallel(site: &Site, size: &Size) -> Result<Table> {
    let mut table = Table::new("parallel", "Instances a second, by so many spawners at once", "1/s");
    let milliseconds = size.milliseconds / 4;
    for number in 1..=2 * machine::cpus()?.len() {
        for job in jobs_of(site, &[PLAIN, FLOOR, SELFDOCK, BUBBLEWRAP]) {
            let limits = Limits { rounds: 60_000, milliseconds, ..Limits::default() };
            let started: Result<Vec<_>> =
                (0..number).map(|_| site.start_timing(&[(&job, 1)], &limits)).collect();
            let samples: Result<Vec<_>> = started?
                .iter_mut()
                .map(|child| read_samples(child, 1).map(|mut all| all.remove(0)))
                .collect();
            let rate = samples.and_then(|samples| rate(&samples).ok_or_else(|| "too few".into()));
            if site.stop.requested() {
                return Err("interrupted".into());
            }
            let who = job.who;
            match rate {
                Ok(rate) => table.add(format!("{number} spawners"), who, Summary::exactly(rate)),
                Err(error) => {
                    table.notes.push(format!("{number} spawners: {who} does not work here: {error}"))
                }
            }
            if let Some(row) = table.rows.last_mut() {
                row.x = Some(number as f64);
            }
        }
    }
    Ok(table)
}

/// The number of ends per second while all spawners ran.
fn rate(samples: &[Vec<super::pace::Sample>]) -> Option<f64> {
    let end = |sample: &super::pace::Sample| sample.start + sample.nanoseconds;
    let from = samples.iter().map(|all| all.first().map(|first| first.start)).max()??;
    let to = samples.iter().map(|all| all.last().map(end)).min()??;
    let inside = samples.iter().flatten().filter(|sample| sample.start >= from && end(sample) <= to).count();
    (to > from && inside > 0).then(|| inside as f64 * 1e9 / (to - from) as f64)
}

fn options(site: &Site, size: &Size) -> Result<Table> {
    let mut table = Table::new("options", "`selfdock run` with an option", "µs");
    let image = site.image.as_str();
    let cases: &[&[&str]] = &[
        &[],
        &["--no-nest"],
        &["--clear-env"],
        &["--hostname", "bench"],
        &["--tmpfs", "size=1m", "/tmp/t"],
        &["--vol", "/usr", "/usr/new"],
        &["--vol", "/usr", "/new"],
        &["--mask", "/etc/passwd"],
        &["--dev", "/dev/kmsg"],
        &["--new-session"],
        &["--no-userns"],
        &["--seccomp", "none"],
        &["--timeout", "60"],
        &["--rlimit", "nofile=100"],
        &["--net", "none"],
        &["--root", image],
        &["--root", image, "--root", image],
        &["--unprivileged"],
    ];
    let jobs: Vec<Job> = cases
        .iter()
        .map(|options| {
            let in_image = options.contains(&"--root");
            let command = if in_image { "/bin/nothing" } else { &site.nothing };
            let argv = site.run(options, &[command]);
            let shown = options.join(" ").replace(image, "DIR");
            let who = if options.is_empty() { SELFDOCK.into() } else { shown };
            Job { who, as_root: false, argv }
        })
        .collect();
    let mut limits = size.limits();
    limits.milliseconds *= 2;
    let rows = site.compare("all CPUs", &jobs, &limits, &mut table.notes)?;
    table.rows.extend(rows);
    Ok(table)
}

fn enter(site: &Site, size: &Size) -> Result<Table> {
    let mut table = Table::new("enter", "One command more in a running instance", "µs");
    let idle = Job { who: SELFDOCK.into(), as_root: false, argv: site.run(&[], &[&site.idle]) };
    let held = site.hold(&idle, 1)?;
    let inside = held.youngest_of_first().ok_or("an instance has no command")?.to_string();
    let supervisor = held.first.to_string();
    let enter = [site.selfdock.as_str(), "enter", &supervisor, &site.nothing];
    let nsenter = ["/usr/bin/nsenter", "--target", &inside, "--mount", "--pid", "--ipc", "--", &site.nothing];
    let run = Contender::named(SELFDOCK).job(site, &[&site.nothing]);
    let jobs = [
        run,
        Job { who: "selfdock enter".into(), as_root: false, argv: words(&enter) },
        Job { who: "nsenter, as root".into(), as_root: true, argv: words(&nsenter) },
    ];
    let rows = site.compare("all CPUs", &jobs, &size.limits(), &mut table.notes)?;
    held.end()?;
    table.rows.extend(rows);
    Ok(table)
}
