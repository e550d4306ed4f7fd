//! `/proc` of an instance: a new procfs, which shows no more than the caller's does.
//!
//! The kernel ensures this for user namespaces (`mount_too_revealing()`, fs/namespace.c), but not for privileged
//! processes. So what a container or a service manager has mounted over parts of the caller's `/proc` is mounted over
//! the new one, too, and the options `hidepid=` and `subset=` are inherited.
//!
//! For an ordinary user nothing more is masked: the permissions of `kcore`, `timer_list` and `sysrq-trigger` suffice.
//! In another root filesystem a mask would make the kernel refuse a procfs to user namespaces in the instance. A
//! caller with uid 0 owns these files. For it everything is read-only except the entries of processes, and files
//! without use for it are covered.

use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, on};
use crate::files::{self, each_entry, open_in};
use crate::installation::has_number_of_null;
use crate::mount::{self, DEVICE, Detached, INERT, MAP, PROC, find, make_private};
use crate::mountinfo::{self, Line, has};
use crate::process::{LONGEST, kernel_version, read};
use crate::sys::{self, Attributes, Number};
use crate::text::{Bytes, c_string, decimal, join};
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags, ResolveFlags};
use rustix::io::Errno;

/// More mounts than a `/proc` has anywhere.
const MOST_COVERS: usize = 256;

/// The files (`false`) and directories (`true`) that are covered for uid 0: memory, keys, timers, devices, switches.
const NO_USE: [(&str, bool); 8] = [
    ("kcore", false),
    ("keys", false),
    ("key-users", false),
    ("timer_list", false),
    ("latency_stats", false),
    ("sysrq-trigger", false),
    ("acpi", true),
    ("scsi", true),
];

/// Whether something is mounted in the caller's `/proc`, as in containers. Then the kernel allows no other procfs in a
/// user namespace.
pub fn is_covered() -> bool {
    let list = read(b"/proc/self/mountinfo").unwrap_or_default();
    mountinfo::lines(list).any(|line| {
        line.point
            .strip_prefix(b"/proc")
            .is_some_and(|path| path.starts_with(b"/") && !is_over_nothing(path, line.kind))
    })
}

/// What the caller's `/proc` hides.
#[derive(Default)]
pub struct Hidden {
    /// Mount options for procfs, separated by commas.
    options: Bytes,
    covers: Vec<Cover>,
}

/// A mount below `/proc`.
struct Cover {
    /// Its path after `/proc`, with a slash at the start.
    path: Bytes,
    /// A copy of the mount; `None` if it only makes the same file read-only.
    tree: Option<Detached>,
}

impl Hidden {
    /// Reads what the caller's `/proc` hides.
    pub fn read(privileged: &Privileged) -> Result<Self> {
        const PROC_ROOT_INO: u64 = 1;
        let failed = "mount on '/proc'";
        let proc = find(b"/proc", OFlags::DIRECTORY).or_fail(failed)?;
        let place = sys::place_of(&proc, Number::Unique).or_fail(failed)?;
        // The owner of an outer image could have bound a part of another procfs there.
        if !files::is_procfs(&proc).or_fail(failed)? || place.inode != PROC_ROOT_INO {
            return Err(Error::refused(failed, "/proc outside is not a procfs"));
        }
        // This takes three system calls; the list of mounts is long.
        if let Some(options) = place.mount.and_then(options_of_free) {
            return Ok(Hidden { options: inherited(&options), covers: Vec::new() });
        }
        // The covering mounts are copied, which works for unbindable mounts only if they are private.
        make_private(Attributes::NONE)?;
        let read = || {
            let list = files::open(proc.as_fd(), b"self/mountinfo", OFlags::RDONLY)?;
            files::read(list.as_fd(), 4096, LONGEST)
        };
        let list = privileged.without(read)?.or_fail("read the list of mounts")?;
        let number = sys::place_of(&proc, Number::Current).or_fail(failed)?.mount.map(decimal);
        let own = mountinfo::lines(list).find(|line| Some(line.number) == number && line.point == b"/proc");
        let own = own.ok_or_else(|| Error::refused(failed, "/proc outside is not a mount"))?;
        of_mounts(list, &own, &proc, privileged)
    }

    /// A new procfs, not attached yet.
    pub fn fresh(&self, privileged: &Privileged) -> Result<Detached> {
        let mut options = Vec::new();
        for option in self.options.split(|b| *b == b',').filter(|option| !option.is_empty()) {
            let at = option.iter().position(|b| *b == b'=').unwrap_or(0);
            // The group of `gid=` need not be mapped in a user namespace.
            if !(privileged.in_own_namespace && option.starts_with(b"gid=")) {
                let name = c_string(&option[..at]).or_fail("make a procfs")?;
                options.push((name, &option[at + 1..]));
            }
        }
        Detached::fresh(privileged, c"proc", &options, PROC).map_err(|e| {
            e.hint_if(
                Errno::PERM,
                "in a user namespace the kernel requires a /proc in which nothing is covered",
            )
        })
    }

    /// Mounts a new procfs on `name`.
    pub fn mount_on(&self, privileged: &Privileged, name: &core::ffi::CStr) -> rustix::io::Result<()> {
        mount::proc_on(privileged, name, c_string(self.options)?)
    }

    /// Whether nothing covers the caller's.
    pub fn is_uncovered(&self) -> bool {
        self.covers.is_empty()
    }

    /// Covers the instance's `/proc` as the caller's is covered. It uses the descriptor and no path: the owner of an
    /// image could exchange `/proc` meanwhile.
    pub fn cover(self, proc: &OwnedFd, privileged: &Privileged, of_root: bool) -> Result<()> {
        if of_root {
            make_read_only(proc, privileged)?;
            for (name, is_directory) in NO_USE {
                cover_for_root(proc, privileged, name.as_bytes(), is_directory)?;
            }
        }
        for Cover { path, tree } in self.covers {
            let place = join(&[b"/proc", path]);
            let failed = on("cover {}", place);
            let target = match open_in(proc, path, OFlags::empty()) {
                Ok(target) => target,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(errno) => return Err(Error::of(failed, errno)),
            };
            let tree = match tree {
                Some(tree) => tree,
                None => Detached::copy(privileged, &target, b"", Attributes::RDONLY).or_fail(failed)?,
            };
            tree.attach(privileged, target).or_fail(failed)?;
        }
        Ok(())
    }
}

/// What the list of mounts says of the caller's `/proc`, with copies of the mounts below it.
fn of_mounts(list: Bytes, own: &Line<'static>, proc: &OwnedFd, privileged: &Privileged) -> Result<Hidden> {
    let failed = "mount on '/proc'";
    let mut covers: Vec<Cover> = Vec::new();
    for line in mountinfo::lines(list) {
        // Mounts are selected by their parents, not by paths: the owner of an outer image can rename its /proc
        // meanwhile.
        if !mountinfo::is_below(list, &line, own.number) {
            continue;
        }
        let Some(path) = line.point.strip_prefix(b"/proc").filter(|path| path.starts_with(b"/")) else {
            return Err(Error::refused(failed, "/proc outside is not a mount"));
        };
        if is_of_a_process(path) || is_over_nothing(path, line.kind) {
            continue;
        }
        let is_itself = line.kind == b"proc" && line.root == path;
        // In a nested instance a file can have several read-only mounts. A read-only file may also be covered.
        let is_told = |other: &Cover| match other.tree {
            Some(_) => crate::host::lies_in(path, other.path),
            None => is_itself && other.path == path,
        };
        if covers.iter().any(is_told) {
            continue;
        }
        if covers.len() == MOST_COVERS {
            return Err(Error::refused(failed, "/proc outside has too many mounts"));
        }
        if is_itself && !has(line.options, b"ro") {
            continue;
        }
        if line.kind == b"proc" && is_of_a_process(line.root) {
            return Err(Error::refused(on("cover {}", line.point), "a file of a process is mounted there"));
        }
        let failed = on("cover {}", line.point);
        let copy = || copy_of_cover(proc, privileged, &path[1..]).or_fail(failed);
        let tree = if is_itself { None } else { Some(copy()?) };
        covers.push(Cover { path: join(&[path]), tree });
    }
    Ok(Hidden { options: inherited(own.super_options), covers })
}

/// Files are often covered by /dev/null. Its copy must stay usable as a device, so that the file is empty and can be
/// opened.
fn copy_of_cover(proc: &OwnedFd, privileged: &Privileged, path: &[u8]) -> rustix::io::Result<Detached> {
    let place = files::open_path(proc.as_fd(), path, OFlags::PATH, ResolveFlags::NO_SYMLINKS)?;
    let stat = rustix::fs::fstat(&place)?;
    let is_null =
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && has_number_of_null(&stat);
    Detached::copy(privileged, place, b"", if is_null { DEVICE } else { MAP })
}

/// The options of a procfs that nothing covers, if the kernel can tell: from Linux 6.11 on.
fn options_of_free(mount: u64) -> Option<Vec<u8>> {
    let mut others = [0; 3];
    let count = sys::mounts_below(mount, &mut others).ok().filter(|count| *count < others.len())?;
    for other in &others[..count] {
        let info = sys::describe_mount(*other).ok()?;
        let (point, kind) = (info.point?, info.kind?);
        point.strip_prefix(b"/proc").filter(|path| is_over_nothing(path, &kind))?;
    }
    match sys::describe_mount(mount).ok()?.options {
        None if kernel_version() < (6, 11) => None,
        options => Some(options.unwrap_or_default()),
    }
}

/// Selects the options of a procfs that hide something, and the group that is exempt. `proc_show_options()`
fn inherited(options: &[u8]) -> Bytes {
    let mut all: Bytes = b"";
    for option in options.split(|b| *b == b',') {
        if [&b"hidepid="[..], b"subset=", b"gid="].iter().any(|name| option.starts_with(name)) {
            all = join(&[all, if all.is_empty() { b"" } else { b"," }, option]);
        }
    }
    all
}

/// Whether a path in procfs belongs to a process: the instance has other processes.
fn is_of_a_process(path: &[u8]) -> bool {
    let first = crate::plan::components(path).next().unwrap_or(b"");
    first == b"self" || first == b"thread-self" || first.first().is_some_and(u8::is_ascii_digit)
}

/// Whether a mount covers only an empty directory, which the kernel made for it.
fn is_over_nothing(path: &[u8], kind: &[u8]) -> bool {
    path == b"/sys/fs/binfmt_misc" && (kind == b"binfmt_misc" || kind == b"autofs")
}

/// Makes everything read-only except the entries of processes.
fn make_read_only(proc: &OwnedFd, privileged: &Privileged) -> Result<()> {
    each_entry(proc.as_fd(), "list '/proc'".into(), &mut |name| {
        let failed = on("make {} in '/proc' read-only", name);
        let stat = files::lstat(proc.as_fd(), name).or_fail(failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let could_be_written = kind.is_dir() || (kind.is_file() && stat.st_mode & 0o222 != 0);
        if is_of_a_process(name) || !could_be_written {
            return Ok(());
        }
        let tree = Detached::copy(privileged, proc, name, Attributes::RDONLY).or_fail(failed)?;
        tree.attach_at(privileged, proc, name).or_fail(failed).map(drop)
    })
}

/// Covers a file by the instance's /dev/null, or a directory by an empty file system.
fn cover_for_root(proc: &OwnedFd, privileged: &Privileged, name: &[u8], is_directory: bool) -> Result<()> {
    let failed = on("cover {} in '/proc'", name);
    match files::lstat(proc.as_fd(), name) {
        Ok(_) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Error::of(failed, errno)),
    }
    let cover = if is_directory {
        Detached::fresh(privileged, c"tmpfs", &[(c"size", b"4k")], INERT)?
    } else {
        Detached::copy(privileged, CWD, b"/dev/null", Attributes::RDONLY).or_fail(failed)?
    };
    cover.attach_at(privileged, proc, name).or_fail(failed).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_options_that_hide_are_inherited() {
        assert_eq!(inherited(b"rw"), b"");
        assert_eq!(
            inherited(b"rw,gid=30,hidepid=invisible,subset=pid"),
            b"gid=30,hidepid=invisible,subset=pid"
        );
        assert_eq!(inherited(b""), b"");
    }

    #[test]
    fn a_process_is_known_by_its_name() {
        for (path, is) in
            [("/1/fd", true), ("/self", true), ("self", true), ("/sys", false), ("/selfish", false)]
        {
            assert_eq!(is_of_a_process(path.as_bytes()), is, "{path}");
        }
    }
}
