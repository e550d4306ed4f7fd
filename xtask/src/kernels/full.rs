//! The whole suite in a guest with a disk. The guest is a Debian like that of this machine, with the packages of
//! ci/setup.sh, the project and the programs that were built.

use super::cpio::{Entry, Tree};
use super::fetch::{self, Fetched};
use super::{Arch, qemu};
use crate::cargo::{Built, build_release, build_tests};
use crate::run::{Context, Result, is_root, output, root, run};
use crate::suite::{self, Verdict};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The script that installs packages in the guest, as in CI.
const SETUP: &str = include_str!("../../../ci/setup.sh");

/// More packages that the guest needs: for modules, and for mmdebstrap's network.
const MORE: [&str; 3] = ["ca-certificates", "iproute2", "kmod"];

/// Without acceleration everything takes about twenty times as long as without the guest.
const PATIENCE: &str = "20";

/// How long a guest may print nothing. Its fixtures take minutes.
const SILENCE: Duration = Duration::from_secs(1800);

/// The modules that a kernel needs to find its disk.
const MODULES: [&str; 12] = [
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "crc16",
    "crc32c_generic",
    "libcrc32c",
    "mbcache",
    "jbd2",
    "ext4",
];

/// The first process in the initramfs. `@…@` are put in.
const INIT: &str = include_str!("disk_init.sh");

/// The first process on the disk. `@…@` are put in.
const GUEST: &str = include_str!("disk_guest.sh");

/// Puts the project, the built programs and the modules into the root filesystem, and makes a disk of it.
const FILL: &str = include_str!("disk_fill.sh");

/// What all guests have.
pub struct Guest {
    /// The root filesystem.
    dir: PathBuf,
    built: Built,
    filters: Vec<String>,
}

impl Guest {
    /// Makes it, or takes the root filesystem of the last time.
    pub fn prepare(arch: &Arch, filters: Vec<String>, anew: bool) -> Result<Self> {
        if !is_root() {
            return Err("--full makes a root filesystem with files of root's: run it as root".into());
        }
        if !arch.target.is_here() {
            return Err("--full takes what is built for this machine: it has no other --arch".into());
        }
        build_release()?;
        let built = build_tests()?;
        let dir = root().join("target/kernels").join(arch.debian).join("root");
        if anew || !dir.join("sbin").exists() {
            let (mirror, release) = fetch::mirror()?;
            make_root(&dir, &mirror, &release, &packages(), |_| Ok(()))?;
        }
        Ok(Self { dir, built, filters })
    }

    /// Runs the suite on a kernel, and says what failed.
    pub fn boot(&self, arch: &Arch, fetched: &Fetched, dir: &Path) -> Result<Vec<String>> {
        let disk = dir.join("disk");
        self.fill(fetched, &disk)?;
        let start = Instant::now();
        let machine = ["-m", "4096", "-nic", "user,model=virtio-net-pci"].map(str::to_owned);
        let machine = [&machine[..], &drive(&disk)].concat();
        let archive = initramfs(fetched, "", "/sbin/guest")?.archive();
        let lines = qemu::run(arch, fetched, &archive, dir, &machine, SILENCE)?;
        fs::remove_file(&disk).context(disk.display())?;
        let outcomes: Vec<suite::Outcome> = lines.iter().filter_map(|line| suite::outcome(line)).collect();
        let is_failed = |outcome: &&suite::Outcome| outcome.verdict == Verdict::Failed;
        let mut faults: Vec<String> =
            outcomes.iter().filter(is_failed).map(|outcome| format!("  {}", outcome.test)).collect();
        let release =
            lines.iter().find_map(|line| line.split_once("@@ kernel ")).map_or("?", |(_, name)| name);
        let (ended, failed) = (outcomes.len(), faults.len());
        let minutes = start.elapsed().as_secs_f32() / 60.0;
        println!("kernels: Linux {release}: {ended} tests of the suite, {failed} failed, {minutes:.0} min");
        let console = dir.join("console");
        print!("{}", table(&fs::read_to_string(&console).context(console.display())?));
        if !lines.iter().any(|line| line.contains("@@ status 0")) {
            faults.push(format!("the suite did not pass: see {}", dir.join("console").display()));
        }
        Ok(faults)
    }

    fn fill(&self, fetched: &Fetched, disk: &Path) -> Result {
        let project = root();
        let guest = GUEST.replace("@PROJECT@", &project.to_string_lossy());
        let guest = guest.replace("@PATIENCE@", PATIENCE).replace("@FILTERS@", &self.filters.join(" "));
        let file = self.dir.join("sbin/guest");
        fs::write(&file, guest).context(file.display())?;
        let toolchain = Path::new(env!("CARGO")).ancestors().nth(2).ok_or("cargo is in no directory")?;
        let xtask = std::env::current_exe().context("find the running program")?;
        let mut fill = Command::new("sh");
        fill.args(["-ec", FILL]).env("ROOT", &self.dir).env("PROJECT", &project).env("DISK", disk);
        fill.env("TOOLCHAIN", toolchain).env("XTASK", xtask).env("MODULES", &fetched.modules);
        fill.env("SUITE", &self.built.suite).env("PROBE", &self.built.probe);
        run(fill.env("TORTURE", &self.built.torture))
    }
}

/// The parts of the suite, from a console whose lines begin with their times. Tests run in the order of their names,
/// so a part took the time from the last test before it.
fn table(console: &str) -> String {
    let mut rows: Vec<(&str, usize, usize, f32)> = Vec::new();
    let mut before = None;
    for line in console.lines() {
        let Some((time, text)) = line.trim_start().split_once(' ') else { continue };
        let Ok(time) = time.parse::<f32>() else { continue };
        if text.starts_with("running ") {
            before = Some(time);
        }
        let Some(outcome) = suite::outcome(text) else { continue };
        let part = text["test ".len()..].split("::").next().unwrap_or_default();
        let at = rows.iter().position(|row| row.0 == part).unwrap_or(rows.len());
        if at == rows.len() {
            rows.push((part, 0, 0, 0.0));
        }
        rows[at].1 += 1;
        rows[at].2 += usize::from(outcome.verdict == Verdict::Failed);
        rows[at].3 += time - before.unwrap_or(time);
        before = Some(time);
    }
    let line = |(part, tests, failed, time): &(&str, usize, usize, f32)| {
        format!("{part:<22}{tests:>6}{failed:>8}{time:>8.0} s\n")
    };
    let head = format!("{:<22}{:>6}{:>8}{:>10}\n", "part", "tests", "failed", "time");
    head + &rows.iter().map(line).collect::<String>()
}

/// The packages that ci/setup.sh names, but the emulator.
fn packages() -> Vec<&'static str> {
    let block = |start: &str| {
        let lines = SETUP.lines().skip_while(move |line| !line.starts_with(start)).skip(1);
        let lines = lines.take_while(|line| *line != ")");
        lines
            .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
            .collect::<Vec<_>>()
    };
    let programs = block("declare -A programs=(").into_iter();
    let programs = programs.filter_map(|word| word.split_once('=').map(|(_, package)| package));
    let all = block("packages=(").into_iter().chain(programs).chain(MORE);
    all.filter(|package| !package.starts_with("qemu")).collect()
}

/// Makes the root filesystem of a Debian with these packages. `finish` adds to it.
pub fn make_root(
    dir: &Path,
    mirror: &str,
    release: &str,
    packages: &[&str],
    finish: impl FnOnce(&Path) -> Result,
) -> Result {
    println!("making a Debian {release} from {mirror} in {}", dir.display());
    let new = dir.with_extension("new");
    run(Command::new("rm").arg("-rf").arg(&new))?;
    fs::create_dir_all(&new).context(new.display())?;
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--mode=root", "--variant=minbase"]);
    make.args(fetch::PATIENCE.iter().flat_map(|option| ["--aptopt", option]));
    run(make.arg(format!("--include={}", packages.join(","))).arg(release).arg(&new).arg(mirror))?;
    finish(&new)?;
    run(Command::new("rm").arg("-rf").arg(dir))?;
    fs::rename(&new, dir).context(dir.display())
}

/// The options of the emulator for a disk.
pub fn drive(disk: &Path) -> [String; 2] {
    ["-drive".into(), format!("if=virtio,format=raw,cache=unsafe,file={}", disk.display())]
}

/// The initramfs, which brings the disk up. `fill` are commands that put files below /new, where the disk is. `first`
/// is the first process on the disk.
pub fn initramfs(fetched: &Fetched, fill: &str, first: &str) -> Result<Tree> {
    let mut tree = Tree::default();
    for name in ["proc", "sys", "dev", "new", "modules"] {
        tree.add(name, Entry::directory(0o755));
    }
    let busybox = fs::read(&fetched.busybox).context(fetched.busybox.display())?;
    tree.add("usr/bin/busybox", Entry::file(0o755, busybox));
    tree.add("init", Entry::file(0o755, INIT.replace("@FILL@", fill).replace("@FIRST@", first)));
    let files = output(Command::new("find").arg(&fetched.modules).args(["-name", "*.ko*"]))?;
    for file in files.lines() {
        let name = file.rsplit('/').next().unwrap_or_default().split('.').next().unwrap_or_default();
        if MODULES.contains(&name) {
            tree.add(&format!("modules/{name}"), Entry::file(0o644, module(file)?));
        }
    }
    Ok(tree)
}

/// A module as the kernel takes it: without compression.
fn module(file: &str) -> Result<Vec<u8>> {
    if !file.ends_with(".xz") {
        return fs::read(file).context(file);
    }
    let done = Command::new("xz").args(["-dc", file]).output().context("xz")?;
    if done.status.success() { Ok(done.stdout) } else { Err(format!("xz -dc {file}: {}", done.status)) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_time_of_each_part_is_counted() {
        let console = "   1.0 @@ kernel 6.1\n  10.0 running 3 tests\n  12.5 test a::one ... ok\n  \
                       14.0 test b::x ... FAILED\n  20.0 test a::two ... ok\n  21.0 test result: FAILED\n noise\n";
        let table = super::table(console);
        let rows: Vec<Vec<&str>> =
            table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows, [["a", "2", "0", "8", "s"], ["b", "1", "1", "2", "s"]]);
    }

    #[test]
    fn the_guest_has_what_ci_has_but_the_emulator() {
        let packages = super::packages();
        assert!(
            ["busybox-static", "strace", "zsh", "fish", "maven", "kmod"].iter().all(|p| packages.contains(p))
        );
        assert!(!packages.iter().any(|package| package.starts_with("qemu") || package.contains(['#', '='])));
    }
}
