//! Kernels and busybox as Debian packages. apt downloads them with the settings of this machine, but with separate
//! lists.

use super::{Arch, Kernel};
use crate::run::{Context, Result, output};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The keys that sign the releases, from the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The options of apt for a mirror that does not answer. A mirror may be silent for 20 s.
pub const PATIENCE: [&str; 3] =
    ["Acquire::http::Timeout=20", "Acquire::https::Timeout=20", "Acquire::Retries=2"];

/// The time limit for one try of a slow download.
const AT_MOST: Duration = Duration::from_secs(120);
const TRIES: u32 = 3;

/// The files for a guest.
pub struct Fetched {
    pub kernel: PathBuf,
    pub busybox: PathBuf,
    /// The module for `--overlay`, which Debian's kernels do not include; compressed from 6.12 on.
    pub overlayfs: PathBuf,
    /// All modules, below a directory that is named by the kernel's release.
    pub modules: PathBuf,
}

impl Fetched {
    /// These files, with another kernel if one is given.
    pub fn with(self, kernel: Option<&Path>) -> Self {
        Self { kernel: kernel.map_or(self.kernel, Path::to_owned), ..self }
    }
}

impl Fetched {
    fn of(dir: &Path) -> Self {
        let [kernel, busybox, overlayfs, modules] =
            ["vmlinuz", "busybox", "overlay.ko", "modules"].map(|name| dir.join(name));
        Self { kernel, busybox, overlayfs, modules }
    }

    fn is_there(&self) -> bool {
        [&self.kernel, &self.busybox, &self.overlayfs, &self.modules].into_iter().all(|file| file.exists())
    }
}

/// A kernel of a release of Debian, and its busybox: from `dir`, if they are there already, or from the mirror. Where
/// newer ones cannot be downloaded, those of `dir` are taken.
pub fn fetch(arch: &Arch, kernel: &Kernel, dir: &Path, anew: bool) -> Result<Fetched> {
    let old = Fetched::of(dir);
    if old.is_there() && !anew {
        return Ok(old);
    }
    let new = dir.with_file_name(format!("{}.new", kernel.name));
    match fetch_into(arch, kernel, &new) {
        Err(error) if old.is_there() => {
            println!("kernels: {error}\nkernels: the packages of the last time are used");
            Ok(old)
        }
        Err(error) => Err(error),
        Ok(()) => {
            remove(dir)?;
            fs::rename(&new, dir).context(dir.display())?;
            Ok(Fetched::of(dir))
        }
    }
}

/// What a failed run has downloaded is used again.
fn fetch_into(arch: &Arch, kernel: &Kernel, dir: &Path) -> Result {
    let fetched = Fetched::of(dir);
    let apt = Apt::new(arch, kernel.release, &dir.join("apt"))?;
    println!(
        "kernels: fetching {} of {} for {} from {}",
        kernel.package, kernel.release, arch.debian, apt.mirror
    );
    apt.get(&["update"])?;
    let kernels = apt.kernel_packages(kernel.package)?;
    apt.download(kernels.iter().map(String::as_str).chain(["busybox-static"]))?;
    remove(&apt.dir.join("unpacked"))?;
    remove(&fetched.modules)?;
    fs::create_dir_all(apt.dir.join("unpacked")).context("unpacked")?;
    // It is in /boot; from Linux 7.1 on it is beside its modules.
    keep(&apt.unpack("*/vmlinuz*")?, &fetched.kernel)?;
    keep(&apt.unpack("*/overlayfs/overlay.ko*")?, &fetched.overlayfs)?;
    // It is in /bin in releases before the merged /usr.
    keep(&apt.unpack("*bin/busybox")?, &fetched.busybox)?;
    let modules = apt.unpack("*/modules/*")?;
    let modules = modules.iter().flat_map(|file| file.ancestors()).find(|dir| dir.ends_with("modules"));
    let modules = modules.ok_or("the packages hold no modules")?;
    fs::rename(modules, &fetched.modules).context("keep the modules")?;
    remove(&apt.dir)
}

fn remove(dir: &Path) -> Result {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("remove '{}': {error}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Runs a command that downloads. It is ended after a time, and tried again.
fn download(what: &str, command: &Command) -> Result {
    within(what, command, TRIES, AT_MOST)
}

fn within(what: &str, command: &Command, tries: u32, limit: Duration) -> Result {
    // Status of timeout(1).
    const TIMED_OUT: i32 = 124;
    let mut faults = Vec::new();
    for _ in 0..tries {
        // It ends with this program, however that ends.
        let mut limited = Command::new("setpriv");
        limited.args(["--pdeathsig", "TERM", "timeout", "--kill-after=5"]);
        limited.arg(limit.as_secs_f32().to_string()).arg(command.get_program()).args(command.get_args());
        if let Some(dir) = command.get_current_dir() {
            limited.current_dir(dir);
        }
        let status = limited.stdin(Stdio::null()).status().context("timeout")?;
        if status.success() {
            return Ok(());
        }
        let fault = match status.code() {
            Some(TIMED_OUT) => format!("it did not end in {} s", limit.as_secs_f32()),
            _ => status.to_string(),
        };
        println!("kernels: {what}: {fault}");
        faults.push(fault);
    }
    Err(format!("{what}: tried {tries} times: {}", faults.join("; ")))
}

fn keep(files: &[PathBuf], to: &Path) -> Result {
    let [file] = files else {
        return Err(format!("'{}': the packages hold {} files for it", to.display(), files.len()));
    };
    fs::rename(file, to).context(format_args!("keep '{}'", to.display()))
}

/// apt with its own lists and cache, for one release and one architecture.
struct Apt {
    dir: PathBuf,
    mirror: String,
    options: Vec<String>,
}

impl Apt {
    fn new(arch: &Arch, release: &str, dir: &Path) -> Result<Self> {
        for name in ["lists/partial", "archives/partial", "packages", "unpacked"] {
            fs::create_dir_all(dir.join(name)).context(dir.join(name).display())?;
        }
        if !Path::new(KEYRING).exists() {
            return Err(format!("'{KEYRING}' is missing: install debian-archive-keyring"));
        }
        let mirror = mirror()?.0;
        let source = format!(
            "deb [arch={} signed-by={KEYRING} target=Packages] {mirror} {release} main\n",
            arch.debian
        );
        fs::write(dir.join("sources.list"), source).context("sources.list")?;
        let at = |name: &str| dir.join(name).display().to_string();
        let mut options = vec![
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".into(),
            // apt must not read or change the packages of this machine.
            "Dir::State::status=/dev/null".into(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache={}", at("")),
            format!("APT::Architecture={}", arch.debian),
            format!("APT::Architectures::={}", arch.debian),
            "Acquire::Languages=none".into(),
            // The user of this run owns the directories; otherwise root's downloads would belong to another user.
            "APT::Sandbox::User=root".into(),
        ];
        options.extend(PATIENCE.map(str::to_owned));
        Ok(Self { dir: dir.to_owned(), mirror, options })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.options.iter().flat_map(|option| ["-o", option]));
        command
    }

    fn get(&self, words: &[&str]) -> Result {
        let mut command = self.command("apt-get");
        command.arg("-qq").args(words).current_dir(self.dir.join("packages"));
        download(&format!("apt-get {} from {}", words.join(" "), self.mirror), &command)
    }

    /// The package with the newest kernel of a release. From Linux 7.1 on the image and the modules are in two other
    /// packages; before, everything is in one package.
    fn kernel_packages(&self, name: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut next = vec![name.to_owned()];
        while let Some(package) = next.pop() {
            let needs = output(self.command("apt-cache").args(["depends", "--important", &package]))?;
            let needs = needs.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
            next.extend(needs.filter(|name| is_of_kernel(name)).map(str::to_owned));
            found.push(package);
        }
        Ok(found)
    }

    fn download<'a>(&self, packages: impl Iterator<Item = &'a str>) -> Result {
        self.get(&std::iter::once("download").chain(packages).collect::<Vec<_>>())
    }

    /// The files of all packages that a pattern matches.
    fn unpack(&self, pattern: &str) -> Result<Vec<PathBuf>> {
        let to = self.dir.join("unpacked");
        let mut found = Vec::new();
        for package in fs::read_dir(self.dir.join("packages")).context("packages")?.flatten() {
            let mut files = Command::new("dpkg-deb");
            files.arg("--fsys-tarfile").arg(package.path()).stdout(Stdio::piped());
            let mut files = files.spawn().context("dpkg-deb")?;
            let mut tar = Command::new("tar");
            tar.arg("-xvC").arg(&to).args(["--wildcards", pattern]);
            tar.stdin(files.stdout.take().expect("stdout is a pipe")).stderr(Stdio::null());
            // It fails if nothing matches, which does not matter for a single package.
            let names = tar.output().context("tar")?.stdout;
            files.wait().context("dpkg-deb")?;
            let names = String::from_utf8_lossy(&names).into_owned();
            found.extend(names.lines().map(|name| to.join(name)).filter(|path| is_file(path)));
        }
        Ok(found)
    }
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

fn is_of_kernel(package: &str) -> bool {
    ["linux-image-", "linux-binary-", "linux-modules-"].iter().any(|start| package.starts_with(start))
}

/// The Debian mirror of this machine, and its release.
pub fn mirror() -> Result<(String, String)> {
    let missing = "apt knows no mirror of Debian: this works on a Debian only";
    let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).ok_or(missing)?;
    let targets = output(
        Command::new("apt-get")
            .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"])
            .arg("Identifier: Packages"),
    )?;
    let is_debian = release.lines().any(|line| line == "ID=debian");
    let mirror = targets.lines().filter_map(|line| line.split_once(' ')).find(|(_, rest)| {
        is_debian && (*rest == format!("{name} main") || *rest == "stable main" || *rest == "sid main")
    });
    Ok((mirror.ok_or(missing)?.0.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_tried_again_and_ended() {
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("count");
        let script = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).current_dir(dir.path());
            command
        };
        let second = script("echo >>count; test $(grep -c '' count) -ge 2");
        assert_eq!(within("get it", &second, 3, Duration::from_secs(60)), Ok(()));
        assert_eq!(fs::read_to_string(&count).unwrap(), "\n\n");
        let silent = script("echo >>count; exec sleep 1000");
        let error = within("get it from there", &silent, 2, Duration::from_millis(100)).unwrap_err();
        assert_eq!(
            error,
            "get it from there: tried 2 times: it did not end in 0.1 s; it did not end in 0.1 s"
        );
        assert_eq!(fs::read_to_string(&count).unwrap(), "\n\n\n\n");
    }
}
