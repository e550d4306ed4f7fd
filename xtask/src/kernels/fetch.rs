//! Kernels and busybox as Debian packages. apt downloads them with the settings of this machine, but with separate
//! lists.

use crate::kernels::{Arch, Kernel};
use crate::run::{Context, Result, output, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The keys that sign the releases, from the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

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
    /// The same with another kernel, if there is one.
    pub fn with(self, kernel: Option<&Path>) -> Self {
        Self { kernel: kernel.map_or(self.kernel, Path::to_owned), ..self }
    }
}

/// A kernel of a release of Debian, and its busybox: from `dir`, if they are there already, or from the mirror.
pub fn fetch(arch: &Arch, kernel: &Kernel, dir: &Path, anew: bool) -> Result<Fetched> {
    let [kernel_file, busybox, overlayfs, modules] =
        ["vmlinuz", "busybox", "overlay.ko", "modules"].map(|name| dir.join(name));
    let fetched = Fetched { kernel: kernel_file, busybox, overlayfs, modules };
    let all = [&fetched.kernel, &fetched.busybox, &fetched.overlayfs, &fetched.modules];
    let is_there = all.into_iter().all(|file| file.exists());
    if is_there && !anew {
        return Ok(fetched);
    }
    println!("kernels: fetching {} of {} for {}", kernel.package, kernel.release, arch.debian);
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("remove '{}': {error}", dir.display()));
        }
        _ => {}
    }
    let apt = Apt::new(arch, kernel.release, &dir.join("apt"))?;
    apt.get(&["update"])?;
    let kernels = apt.kernel_packages(kernel.package)?;
    apt.download(kernels.iter().map(String::as_str).chain(["busybox-static"]))?;
    // It is in /boot; from Linux 7.1 on it is beside its modules.
    keep(&apt.unpack("*/vmlinuz*")?, &fetched.kernel)?;
    keep(&apt.unpack("*/overlayfs/overlay.ko*")?, &fetched.overlayfs)?;
    // It is in /bin in releases before the merged /usr.
    keep(&apt.unpack("*bin/busybox")?, &fetched.busybox)?;
    let modules = apt.unpack("*/modules/*")?;
    let modules = modules.iter().flat_map(|file| file.ancestors()).find(|dir| dir.ends_with("modules"));
    let modules = modules.ok_or("the packages hold no modules")?;
    fs::rename(modules, &fetched.modules).context("keep the modules")?;
    fs::remove_dir_all(&apt.dir).context(apt.dir.display())?;
    Ok(fetched)
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
        let source = format!(
            "deb [arch={} signed-by={KEYRING} target=Packages] {} {release} main\n",
            arch.debian,
            mirror()?.0
        );
        fs::write(dir.join("sources.list"), source).context("sources.list")?;
        let at = |name: &str| dir.join(name).display().to_string();
        let options = vec![
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".into(),
            // apt must not read or change the packages of this machine.
            "Dir::State::status=/dev/null".into(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache={}", at("")),
            format!("APT::Architecture={}", arch.debian),
            format!("APT::Architectures::={}", arch.debian),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=3".into(),
            // The user of this run owns the directories; otherwise root's downloads would belong to another user.
            "APT::Sandbox::User=root".into(),
        ];
        Ok(Self { dir: dir.to_owned(), options })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.options.iter().flat_map(|option| ["-o", option]));
        command
    }

    fn get(&self, words: &[&str]) -> Result {
        let mut command = self.command("apt-get");
        run(command.arg("-qq").args(words).current_dir(self.dir.join("packages")))
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
    let missing = "apt knows no mirror of Debian: its kernels can be fetched on a Debian only";
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
