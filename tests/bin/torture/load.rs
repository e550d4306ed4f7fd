//! `torture load`: starts many instances, one after another and at once. Afterwards the host must hold no more than
//! before.

use crate::host::{children, files, kill_descendants, mounts};
use crate::{Context, Result, Who, fixture, selfdock, start_as};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

struct Options {
    spawns: Option<usize>,
    alive: usize,
    minutes: Option<f64>,
}

pub fn main(args: &[OsString]) -> Result {
    let options = options(args)?;
    set_child_subreaper(true).context("become the parent of orphans")?;
    // The kernel keeps what the first instances load and cache.
    spawn_many(200, None, &mut Vec::new())?;
    many_at_once(options.alive.min(50))?;
    let before = Counts::take()?;
    let start = Instant::now();
    let end = options.minutes.map(|minutes| start + Duration::from_secs_f64(minutes * 60.0));
    let mut tenths = Vec::new();
    let default = if end.is_some() { usize::MAX } else { 20_000 };
    let done = spawn_many(options.spawns.unwrap_or(default), end, &mut tenths)?;
    let took = start.elapsed().as_secs_f64();
    eprintln!("torture: {done} instances in {took:.0} s");
    many_at_once(options.alive)?;
    let more = before.what_is_more(done + options.alive)?;
    println!(
        "torture: {done} instances in {took:.0} s, {:.0} a second; {} at once",
        done as f64 / took,
        options.alive
    );
    println!("torture: median times of the tenths, in µs: {tenths:.0?}");
    let mut faults = more;
    faults.extend(slower(&tenths));
    for fault in &faults {
        println!("torture: {fault}");
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("{} findings", faults.len())) }
}

fn options(args: &[OsString]) -> Result<Options> {
    let mut options = Options { spawns: None, alive: 5_000, minutes: None };
    let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{name} takes a value"));
        match name.as_str() {
            "--spawns" => options.spawns = Some(value()?.parse().context(&name)?),
            "--alive" => options.alive = value()?.parse().context(&name)?,
            "--minutes" => options.minutes = Some(value()?.parse().context(&name)?),
            other => return Err(format!("unexpected argument '{other}'; see --help")),
        }
    }
    Ok(options)
}

/// The ways to start an instance, used in turns. The last ones take long to start or to end, and so come less often.
fn kinds() -> Result<Vec<Vec<OsString>>> {
    let (selfdock, nothing) = (selfdock()?, fixture("bin/nothing")?);
    let image = fixture("musl")?;
    let line = |words: &[&str], command: &[&OsString]| -> Vec<OsString> {
        let words = words.iter().map(OsString::from);
        let command = command.iter().map(|word| (*word).clone());
        std::iter::once(selfdock.clone().into()).chain(words).chain(command).collect()
    };
    let (own, nothing) = (selfdock.clone().into_os_string(), nothing.into_os_string());
    let plain = line(&["run"], &[&nothing]);
    let mut kinds = vec![plain; 12];
    kinds.push(line(&["--unprivileged", "run"], &[&nothing]));
    kinds.push(line(
        &["-m", "/usr/bin", "/mnt", "-t", "-", "/srv/t", "--mask", "/usr/share", "run"],
        &[&nothing],
    ));
    kinds.push(line(&["run"], &[&own, &"run".into(), &nothing]));
    let mut of_image = line(&["--root"], &[&image.into_os_string()]);
    of_image.extend(["run", "/bin/nothing"].map(OsString::from));
    kinds.push(of_image);
    kinds.push(line(&["--report", "/dev/null", "--timeout", "100", "run"], &[&nothing]));
    kinds.push(line(&["--net", "none", "run"], &[&nothing]));
    Ok(kinds)
}

/// Starts instances and waits for each, on all CPUs, until the number is reached or the time is up. Returns how many
/// there were, and the median time of the plain ones in each tenth.
fn spawn_many(count: usize, end: Option<Instant>, tenths: &mut Vec<f64>) -> Result<usize> {
    let (kinds, [uid, gid]) = (kinds()?, user()?);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let start = Instant::now();
    let one = |thread: usize| -> Result<Vec<(f64, f64)>> {
        let mut times = Vec::new();
        let mut done = 0;
        let mine = count.checked_div(threads).unwrap_or(count);
        while done < mine && end.is_none_or(|end| Instant::now() < end) {
            let words = &kinds[(done + thread) % kinds.len()];
            let begin = Instant::now();
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).current_dir("/").uid(uid).gid(gid).stdin(Stdio::null());
            let ran = command.stdout(Stdio::null()).output().context("start an instance")?;
            if !ran.status.success() || !ran.stderr.is_empty() {
                return Err(format!("{words:?}: {} {}", ran.status, String::from_utf8_lossy(&ran.stderr)));
            }
            if words.len() == 3 {
                times.push((begin.duration_since(start).as_secs_f64(), begin.elapsed().as_secs_f64() * 1e6));
            }
            done += 1;
        }
        times.push((f64::INFINITY, done as f64));
        Ok(times)
    };
    let all: Vec<Result<Vec<(f64, f64)>>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    });
    let all: Vec<(f64, f64)> = all.into_iter().collect::<Result<Vec<_>>>()?.concat();
    let (mut times, counts): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, _)| at.is_finite());
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    for part in times.chunks(times.len().div_ceil(10).max(1)) {
        let mut part: Vec<f64> = part.iter().map(|(_, took)| *took).collect();
        part.sort_by(f64::total_cmp);
        tenths.push(part[part.len() / 2]);
    }
    Ok(counts.into_iter().map(|(_, done)| done as usize).sum())
}

fn user() -> Result<[u32; 2]> {
    let user = std::env::var("SELFDOCK_USER").context("SELFDOCK_USER")?;
    let ids: Vec<u32> = user.split(':').flat_map(str::parse).collect();
    ids.get(..2).and_then(|ids| ids.try_into().ok()).ok_or_else(|| format!("not UID:GID:GROUP: {user}"))
}

/// The last instances may take at most three times as long as the first. A shared machine varies by less. A cost that
/// grows with each instance grows by more.
fn slower(tenths: &[f64]) -> Option<String> {
    let (first, last) = (tenths.first()?, tenths.last()?);
    (*last > 3.0 * first)
        .then(|| format!("an instance took {first:.0} µs first, and {last:.0} µs in the end"))
}

/// Starts this number of instances at the same time. Half of them are asked to end, and half are killed.
fn many_at_once(count: usize) -> Result {
    let words = [selfdock()?.into(), "run".into(), fixture("bin/idle")?.into_os_string()];
    let mut supervisors = Vec::new();
    for _ in 0..count {
        let mut command = start_as("as", Who::Tester, &words)?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        supervisors.push(command.spawn().context("start an instance")?.id());
    }
    let start = Instant::now();
    let up = || idle_processes().len();
    while up() < count {
        if start.elapsed() > Duration::from_secs(60) {
            kill_descendants(None);
            return Err(format!("only {} of {count} instances are up after a minute", up()));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for (number, pid) in supervisors.iter().enumerate() {
        let signal = if number.is_multiple_of(2) { Signal::SIGTERM } else { Signal::SIGKILL };
        kill(Pid::from_raw(pid.cast_signed()), signal).context("end an instance")?;
    }
    wait_for_all()
}

/// The processes of the program that only waits.
fn idle_processes() -> Vec<i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "idle\n"))
        .collect()
}

/// Waits for all children, including adopted orphans.
fn wait_for_all() -> Result {
    let start = Instant::now();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if start.elapsed() > Duration::from_secs(60) => {
                return Err(format!("somebody is left alive: {}", kill_descendants(None)));
            }
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(5)),
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// What the host holds.
struct Counts {
    mounts: String,
    files: BTreeSet<std::path::PathBuf>,
    descriptors: usize,
    /// Counts of the whole machine: objects of the kernel by kind, pages of shared memory, open files, keys of the
    /// user.
    numbers: BTreeMap<String, u64>,
}

/// Only another run of the suite on this machine can have these at the same time.
const KEYS: &str = "keys of the user";

impl Counts {
    fn take() -> Result<Self> {
        Ok(Counts {
            mounts: mounts()?,
            files: files()?.into_keys().collect(),
            descriptors: fs::read_dir("/proc/self/fd").context("/proc/self/fd")?.count(),
            numbers: numbers()?,
        })
    }

    /// Describes what is left over. Nothing that belongs to this run may be left. A count of the whole machine may grow
    /// by 2000, for other programs and for the kernel's caches, and by one for each fourth instance. A leak would be
    /// one or more for each instance. Objects that the kernel frees late have a minute for that.
    fn what_is_more(&self, instances: usize) -> Result<Vec<String>> {
        let allowed = instances as u64 / 4 + 2000;
        let start = Instant::now();
        loop {
            // Caches that the kernel can free are no leak. drop_caches, 2: objects.
            fs::write("/proc/sys/vm/drop_caches", "2").context("drop caches")?;
            let now = Self::take()?;
            let mut more = Vec::new();
            for (name, count) in &now.numbers {
                let before = self.numbers.get(name).copied().unwrap_or(0);
                let allowed = if name == KEYS { 16 } else { allowed };
                if *count > before + allowed {
                    more.push(format!("{name}: {count}, and {before} before; {allowed} more are allowed"));
                }
            }
            if now.mounts != self.mounts {
                more.push("the host's mounts are not as before".to_owned());
            }
            if let Some(path) = now.files.difference(&self.files).next() {
                more.push(format!("{} is left", path.display()));
            }
            if now.descriptors > self.descriptors {
                more.push(format!("{} descriptors, and {} before", now.descriptors, self.descriptors));
            }
            if !children().is_empty() {
                more.push("a process is left".to_owned());
            }
            if more.is_empty() || start.elapsed() > Duration::from_secs(60) {
                return Ok(more);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// Objects of cached pages. The whole machine's files decide how many there are.
const OF_PAGE_CACHE: [&str; 2] = ["buffer_head", "radix_tree_node"];

fn numbers() -> Result<BTreeMap<String, u64>> {
    let slabs = fs::read_to_string("/proc/slabinfo").context("/proc/slabinfo")?;
    let mut numbers = BTreeMap::new();
    for line in slabs.lines().skip(2) {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(count)) = (words.next(), words.next())
            && !OF_PAGE_CACHE.contains(&name)
        {
            numbers.insert(format!("objects of {name}"), count.parse().context("/proc/slabinfo")?);
        }
    }
    let memory = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let shared = memory.lines().find_map(|line| line.strip_prefix("Shmem:"));
    let shared: u64 = shared.unwrap_or_default().trim_end_matches("kB").trim().parse().context("Shmem")?;
    numbers.insert("pages of tmpfs".to_owned(), shared / 4);
    let open = fs::read_to_string("/proc/sys/fs/file-nr").context("file-nr")?;
    let open = open.split_whitespace().next().unwrap_or_default().parse().context("file-nr")?;
    numbers.insert("open files".to_owned(), open);
    numbers.insert(KEYS.to_owned(), crate::host::keys_of(user()?[0])?);
    let processes = fs::read_dir("/proc").context("/proc")?.flatten();
    let processes =
        processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
    numbers.insert("processes".to_owned(), processes as u64);
    Ok(numbers)
}
