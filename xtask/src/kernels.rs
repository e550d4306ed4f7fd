//! `cargo xtask kernels`

mod systemd;
mod full;
mod qemu;
mod guest;
mod smoke;
mod fetch;
mod cpio;

pub use fetch::mirror;
pub use full::make_root;

use crate::cargo::Target;
use crate::run::{Context, Result, no_more, root, wants_help};
use fetch::Fetched;
use full::Guest;
use guest::Programs;
use qemu::{Outcome, Said};
use smoke::{CHECKS, Check, ROOTS};
use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Instant;

const HELP: &str = "\
Boot other kernels in qemu, and check what of selfdock depends on the kernel.

Usage: cargo xtask kernels [--kernel VERSION]... [--arch ARCH] [--image FILE] [--fetch]
                            [--root NAME] [--full | --systemd] [--only TEXT]...

  --kernel VERSION   boot only this kernel: 6.1, 6.12 or newest. These are the kernels of Debian's bookworm, trixie
                     and sid. For aarch64 there is also newest-16k, with pages of 16 KiB
  --arch ARCH        boot kernels for x86_64 or aarch64 (default: as this machine)
  --image FILE       boot the kernel in FILE, in place of the first of Debian's. It needs the options of that kernel,
                     and overlayfs built in
  --root NAME        boot only with this root filesystem: initramfs or mounted
  --full             run the whole suite, in a guest with a disk. This needs root, and takes hours
  --systemd          check the limits of an instance in a Debian where systemd is the first process. This needs root
  --only TEXT        run only the checks whose names contain TEXT. With --full TEXT chooses tests, as volumes:: does,
                     and the time of each part is printed
  --fetch            download newer packages first. Without this option the packages in target/kernels are used

Each kernel is booted twice: with the initramfs as its root filesystem, and with a mounted one. Each check runs as a
user, by the set-uid program and with --unprivileged, and as root. qemu runs without acceleration.

The kernels and a static busybox are packages of Debian. They come from the mirror that apt is set up with. qemu is in
the packages qemu-system-x86 and qemu-system-arm, which ci/setup.sh installs.
";

/// A kernel of Debian.
pub struct Kernel {
    /// Its name for `--kernel`.
    name: &'static str,
    pub release: &'static str,
    /// The package that depends on the newest kernel of its kind in the release.
    pub package: &'static str,
}

/// The data of an architecture.
pub struct Arch {
    pub target: Target,
    /// Debian's name of it.
    pub debian: &'static str,
    /// The kernels. The first is the oldest supported one.
    kernels: &'static [Kernel],
    /// The emulator, its package, and the emulated machine.
    pub qemu: &'static str,
    pub package: &'static str,
    pub machine: &'static [&'static str],
    pub console: &'static str,
    /// The numbers of system calls for the checks.
    pub calls: &'static [(&'static str, u32)],
}

const ARCHES: &[Arch] = &[
    Arch {
        target: Target("x86_64"),
        debian: "amd64",
        kernels: &[
            Kernel { name: "6.1", release: "bookworm", package: "linux-image-cloud-amd64" },
            Kernel { name: "6.12", release: "trixie", package: "linux-image-cloud-amd64" },
            Kernel { name: "newest", release: "sid", package: "linux-image-cloud-amd64" },
        ],
        qemu: "qemu-system-x86_64",
        package: "qemu-system-x86",
        machine: &["-M", "q35", "-cpu", "max"],
        console: "ttyS0",
        calls: &[
            ("IOCTL", 16),
            ("SOCKET", 41),
            ("GETEUID", 107),
            ("SETXATTR", 188),
            ("ADD_KEY", 248),
            ("KEYCTL", 250),
            ("PERF_EVENT_OPEN", 298),
            ("BPF", 321),
            ("USERFAULTFD", 323),
            ("IO_URING_SETUP", 425),
        ],
    },
    Arch {
        target: Target("aarch64"),
        debian: "arm64",
        kernels: &[
            Kernel { name: "6.1", release: "bookworm", package: "linux-image-cloud-arm64" },
            Kernel { name: "6.12", release: "trixie", package: "linux-image-cloud-arm64" },
            Kernel { name: "newest", release: "sid", package: "linux-image-cloud-arm64" },
            Kernel { name: "newest-16k", release: "sid", package: "linux-image-arm64-16k" },
        ],
        qemu: "qemu-system-aarch64",
        package: "qemu-system-arm",
        // This processor has all page sizes.
        machine: &["-M", "virt", "-cpu", "neoverse-n1"],
        console: "ttyAMA0",
        calls: &[
            ("SETXATTR", 5),
            ("IOCTL", 29),
            ("GETEUID", 175),
            ("SOCKET", 198),
            ("ADD_KEY", 217),
            ("KEYCTL", 219),
            ("PERF_EVENT_OPEN", 241),
            ("BPF", 280),
            ("USERFAULTFD", 282),
            ("IO_URING_SETUP", 425),
        ],
    },
];

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    let arch: Option<String> = args.opt_value_from_str("--arch").context("--arch")?;
    let kernels: Vec<String> = args.values_from_str("--kernel").context("--kernel")?;
    let root_of_guest: Option<String> = args.opt_value_from_str("--root").context("--root")?;
    let image: Option<PathBuf> = args.opt_value_from_str("--image").context("--image")?;
    let full = args.contains("--full");
    let with_systemd = args.contains("--systemd");
    let only: Vec<String> = args.values_from_str("--only").context("--only")?;
    let anew = args.contains("--fetch");
    no_more(args)?;
    if full && with_systemd {
        return Err("--full and --systemd are two kinds of guest: take one".into());
    }
    if (full || with_systemd) && root_of_guest.is_some() {
        return Err("--root chooses a guest of the checks: leave it out with --full and --systemd".into());
    }
    if let Some(unknown) = root_of_guest.as_ref().filter(|name| !ROOTS.contains(&name.as_str())) {
        return Err(format!("--root '{unknown}': not one of {}", ROOTS.join(", ")));
    }
    let name = arch.unwrap_or_else(|| std::env::consts::ARCH.into());
    let arch = ARCHES.iter().find(|arch| arch.target.0 == name);
    let arch = arch.ok_or_else(|| format!("--arch '{name}': not one of x86_64, aarch64"))?;
    let is_known = |name: &str| arch.kernels.iter().any(|kernel| kernel.name == name);
    if let Some(unknown) = kernels.iter().find(|name| !is_known(name)) {
        let known: Vec<&str> = arch.kernels.iter().map(|kernel| kernel.name).collect();
        return Err(format!("--kernel '{unknown}': not one of {}", known.join(", ")));
    }
    let is_wanted = |kernel: &&Kernel| kernels.is_empty() || kernels.iter().any(|name| name == kernel.name);
    qemu::find(arch)?;
    if let Some(missing) = arch.target.lacks() {
        return Err(format!("nothing can be built for {name}: {missing}"));
    }
    let guest = match full {
        true => Some(Guest::prepare(arch, only.clone(), anew)?),
        false => None,
    };
    let programs = Programs { selfdock: arch.target.release()?, bare: arch.target.bare()? };
    // Whatever it is, it is booted once.
    let most = if image.is_some() { 1 } else { usize::MAX };
    let kernels: Vec<&Kernel> = arch.kernels.iter().filter(is_wanted).take(most).collect();
    let dir_of = |kernel: &Kernel| root().join("target/kernels").join(arch.debian).join(kernel.name);
    let fetch = |kernel: &&'static Kernel| -> Result<(&'static Kernel, Fetched)> {
        let fetched = fetch::fetch(arch, kernel, &dir_of(kernel), anew).context(kernel.name)?;
        Ok((*kernel, fetched.with(image.as_deref())))
    };
    let kernels = kernels.iter().map(fetch).collect::<Result<Vec<_>>>()?;
    let try_one = |kernel: &Kernel, fetched: &Fetched, root: &'static str| {
        let dir = dir_of(kernel);
        let faults = match &guest {
            Some(guest) => guest.boot(arch, fetched, &dir),
            None if with_systemd => systemd::boot(arch, kernel, fetched, &programs, &dir, &only, anew),
            None => boot(arch, fetched, &programs, &dir.join(format!("on-{root}")), root, &only),
        };
        faults.context(format_args!("kernel {}", kernel.name)).unwrap_or_else(|error| vec![error])
    };
    // The checks of a guest run one after the other, so a guest uses little more than one CPU. The suite uses two.
    let cpus = available_parallelism().map_or(1, NonZero::get);
    let at_once = if full { 1 } else { cpus };
    let is_chosen = |root: &&str| root_of_guest.as_ref().is_none_or(|name| name == root);
    let roots = if full || with_systemd { vec![""] } else { ROOTS.into_iter().filter(is_chosen).collect() };
    let guests: Vec<_> =
        kernels.iter().flat_map(|kernel| roots.iter().map(move |root| (kernel, *root))).collect();
    let failed = find_in_all(&guests, at_once, |((kernel, fetched), root)| {
        let faults = try_one(kernel, fetched, root);
        if faults.is_empty() {
            return None;
        }
        println!("{}", faults.join("\n"));
        Some(kernel.name)
    });
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("failed on kernel {}", failed.into_iter().collect::<Vec<_>>().join(", ")))
}

/// Runs a function on each item, on so many at once, and returns what it has found.
fn find_in_all<T: Sync, F: Ord + Send>(
    items: &[T],
    at_once: usize,
    found: impl Fn(&T) -> Option<F> + Sync,
) -> BTreeSet<F> {
    let together = |some: &[T]| -> Vec<Option<F>> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = some.iter().map(|item| scope.spawn(|| found(item))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no guest panics")).collect()
        })
    };
    items.chunks(at_once).flat_map(together).flatten().collect()
}

/// Boots one kernel, and compares the output of its checks on one root directory with the expected one.
fn boot(
    arch: &Arch,
    fetched: &Fetched,
    programs: &Programs,
    dir: &Path,
    root: &'static str,
    only: &[String],
) -> Result<Vec<String>> {
    let start = Instant::now();
    fs::create_dir_all(dir).context(dir.display())?;
    let archive = guest::archive(arch, fetched, programs, root, only)?;
    let said = qemu::boot(arch, fetched, &archive, dir)?;
    let on = format!("Linux {} ({})", said.release, arch.target.0);
    Ok(judge(&said, CHECKS, only, root, &on, start, dir))
}

/// Compares the output of checks with the expected one. `on` names the system.
fn judge(
    said: &Said,
    checks: &[Check],
    only: &[String],
    root: &str,
    on: &str,
    start: Instant,
    dir: &Path,
) -> Vec<String> {
    let mut faults = Vec::new();
    for Outcome { number, at, printed } in &said.outcomes {
        let Some(check) = checks.get(*number) else { continue };
        let expected = (check.expected)(at);
        if !smoke::matches(expected, printed) {
            let (mode, name) = (at.mode.name(), check.name);
            faults.push(format!(
                "{on}, root {root}, {mode}: {name}\n  expected {expected:?}\n  printed  {printed:?}"
            ));
        }
    }
    let (ended, failed) = (said.outcomes.len(), faults.len());
    let checks = checks.iter().filter(|check| check.is_of(only));
    let wanted = checks.map(|check| check.modes.len()).sum::<usize>();
    if ended != wanted {
        faults.push(format!(
            "{on}, root {root}: {ended} of {wanted} checks ended; see {}",
            dir.join("console").display()
        ));
    }
    println!(
        "kernels: {on}, root {root}: {ended} checks, {failed} failed, {:.0} s",
        start.elapsed().as_secs_f32()
    );
    faults
}
