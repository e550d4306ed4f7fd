//! The place of the bench: a throwaway prefix with all measured programs, in its own mount namespace.

use super::image;
use super::job;
use crate::cargo::Bare;
use crate::host::{LIST, PROGRAM, ROOT};
use crate::place::place;
use crate::prefix::{Prefix, own_mounts};
use crate::prepare::list_of;
use crate::run::{Context, Result};
use crate::stop::Stop;
use crate::suite::User;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

pub struct Site {
    pub user: User,
    pub stop: Stop,
    pub pace: PathBuf,
    /// The directory.
    pub prefix: String,
    /// The programs, as on command lines.
    pub selfdock: String,
    pub floor: String,
    pub root: String,
    pub list: String,
    pub nothing: String,
    pub idle: String,
    /// A small root filesystem, for contenders that need one.
    pub image: String,
    /// The standard host, which is the same on every machine.
    pub standard: PathBuf,
    /// A directory for files.
    pub scratch: PathBuf,
    _mounts: Mounts,
    _prefix: Prefix,
}

/// Mounts below the prefix, which must be unmounted before it is removed.
struct Mounts(Vec<PathBuf>);

impl Drop for Mounts {
    fn drop(&mut self) {
        for place in &self.0 {
            let _ = umount2(place, MntFlags::MNT_DETACH);
        }
    }
}

impl Site {
    /// The command line of the floor, without its command.
    pub fn floor(&self) -> [&str; 3] {
        [&self.floor, &self.root, &self.list]
    }

    pub fn new(bare: &Bare, user: User, stop: Stop) -> Result<Self> {
        own_mounts()?;
        let prefix = Prefix::new(false)?;
        let dir = &prefix.path;
        place(dir, None)?;
        let program = |from: &Path, name: &str, mode: u32| -> Result<String> {
            let to = dir.join("bin").join(name);
            fs::copy(from, &to).context(from.display())?;
            chown(&to, Some(0), Some(if mode & 0o4000 == 0 { 0 } else { user.gid })).context(name)?;
            fs::set_permissions(&to, fs::Permissions::from_mode(mode)).context(name)?;
            Ok(to.display().to_string())
        };
        let pace = program(&bare.pace, "pace", 0o755)?.into();
        // It has more rights than its caller, so nobody else may start it.
        let floor = program(&bare.floor, "floor", 0o4750)?;
        let nothing = program(&bare.nothing, "nothing", 0o755)?;
        let idle = program(&bare.idle, "idle", 0o755)?;
        let image = dir.join("image");
        image::make(&image, Path::new(&nothing), Path::new(&idle))?;
        let scratch = dir.join("scratch");
        fs::create_dir(&scratch).context("scratch")?;
        let standard = dir.join("standard");
        let mounts = Mounts(vec![standard.clone(), scratch.clone()]);
        tmpfs(&scratch)?;
        standard_host(&standard, dir)?;
        one_name_more(&scratch, user)?;
        one_hierarchy()?;
        let name = |path: PathBuf| path.display().to_string();
        Ok(Self {
            user,
            stop,
            pace,
            prefix: name(dir.clone()),
            selfdock: name(dir.join(PROGRAM)),
            floor,
            root: name(dir.join(ROOT)),
            list: name(dir.join(LIST)),
            nothing,
            idle,
            image: name(image),
            standard,
            scratch,
            _mounts: mounts,
            _prefix: prefix,
        })
    }

    /// The command line of `selfdock run`.
    pub fn run(&self, options: &[&str], command: &[&str]) -> Vec<String> {
        let words = [&[self.selfdock.as_str(), "run"], options, command].concat();
        job::words(&words)
    }
}

fn tmpfs(place: &Path) -> Result {
    mount(Some("bench"), place, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).context(place.display())
}

/// Some contenders need a user name for their caller. Nobody outside this mount namespace sees it.
fn one_name_more(scratch: &Path, user: User) -> Result {
    let host = Path::new("/etc/passwd");
    let text = fs::read_to_string(host).context(host.display())?;
    let file = scratch.join("passwd");
    let line = format!("bench:x:{}:{}:Bench:/nowhere:/bin/sh\n", user.uid, user.gid);
    fs::write(&file, text + &line).context(file.display())?;
    mount(Some(&file), host, None::<&str>, MsFlags::MS_BIND, None::<&str>).context(host.display())
}

/// crun refuses a host with both versions of control groups. This mount namespace shows only the newer one.
fn one_hierarchy() -> Result {
    let place = Path::new("/sys/fs/cgroup");
    if !place.join("unified").exists() {
        return Ok(());
    }
    mount(Some("bench"), place, Some("cgroup2"), MsFlags::empty(), None::<&str>).context(place.display())
}

/// A standard host, so that counts do not depend on this machine: the usual directories, the machine's own programs,
/// and six mounts.
fn standard_host(root: &Path, prefix: &Path) -> Result {
    fs::create_dir(root).context(root.display())?;
    tmpfs(root)?;
    let inside = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let dirs = [
        "boot",
        "dev",
        "etc",
        "home",
        "media",
        "mnt",
        "opt",
        "proc",
        "root",
        "run",
        "srv",
        "sys",
        "tmp",
        "usr",
        "var/cache/fontconfig",
        "var/lib/dpkg",
        "var/tmp",
    ];
    for dir in dirs {
        fs::create_dir_all(root.join(dir)).context(dir)?;
    }
    fs::create_dir_all(inside(prefix)).context("the prefix")?;
    for link in ["bin", "lib", "lib64", "sbin"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(link)) {
            symlink(target, root.join(link)).context(link)?;
        }
    }
    for place in [Path::new("/usr"), Path::new("/dev"), Path::new("/proc"), prefix] {
        mount(Some(place), &inside(place), None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .context(place.display())?;
    }
    // The list of the installation is for the machine's own root.
    let (own, list) = (root.join("root.list"), inside(&prefix.join(LIST)));
    fs::write(&own, list_of(root)).context(own.display())?;
    mount(Some(&own), &list, None::<&str>, MsFlags::MS_BIND, None::<&str>).context(list.display())?;
    // Like on a host.
    mount(Some("devpts"), &root.join("dev/pts"), Some("devpts"), MsFlags::empty(), Some("ptmxmode=0666"))
        .context("devpts")
}
