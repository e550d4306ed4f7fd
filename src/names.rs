//! Names in an instance: host names from the caller's resolver configuration, and the caller's own user and group
//! names. Another image has neither, and is not written to. Its files are covered by the host's, or by copies of its
//! own with the caller's entries added.
//!
//! The image's files are read as plain bytes, with the caller's rights.

use crate::creds::Privileged;
use crate::error::{OrFail, Result, on};
use crate::files;
use crate::host::lies_in;
use crate::mount::{Detached, INERT, find};
use crate::plan::{Plan, Root};
use crate::stage::{PLACES_OF_NAMES, SESSIONS, Stage};
use crate::text::{Bytes, decimal, join};
use alloc::vec::Vec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{getgid, getgroups, getuid};

/// A larger file of names is not copied, since the copy would cost memory in every instance.
const MOST_BYTES: usize = 1 << 20;

/// The files and lines that the host gives.
#[derive(Default)]
pub struct Names {
    /// Files of the host to bind in the instance.
    files: Vec<(&'static [u8], Detached)>,
    /// The caller's lines for `/etc/passwd` and `/etc/group` of an image.
    passwd: &'static [Entry],
    group: &'static [Entry],
}

/// A line of such a file, and the id in its third field.
pub struct Entry {
    id: Bytes,
    line: Bytes,
}

/// Opens the files and reads the lines. The host's own root needs only a resolver configuration that is a link into a
/// hidden directory.
pub fn open(plan: &Plan<'_>, privileged: &Privileged) -> Result<Names> {
    let mut names = Names::default();
    for path in of_hosts(plan) {
        names.add_file(path, privileged)?;
    }
    if has_own_users(plan) {
        (names.passwd, names.group) = privileged
            .without(|| (entries(PASSWD, &[decimal(getuid().as_raw())]), entries(GROUP, group_ids())))?;
    }
    Ok(names)
}

/// The files with names of hosts that are bound, if the host has them.
pub fn of_hosts(plan: &Plan<'_>) -> &'static [Bytes] {
    let resolves = !plan.own_network;
    match plan.root {
        Root::Host if resolves && files::link_target(CWD, RESOLV).is_ok() => &[RESOLV],
        Root::Dir(_) | Root::Layers(_) if resolves && !plan.writable => &[RESOLV, HOSTS],
        Root::Host | Root::Dir(_) | Root::Layers(_) => &[],
    }
}

/// Whether the instance has users of its own, to which the caller is added.
pub fn has_own_users(plan: &Plan<'_>) -> bool {
    plan.root != Root::Host && !plan.writable
}

/// The configuration of the resolver. resolv.conf(5)
pub const RESOLV: &[u8] = b"/etc/resolv.conf";
/// The names of hosts. hosts(5)
pub const HOSTS: &[u8] = b"/etc/hosts";
/// The users. passwd(5)
pub const PASSWD: &[u8] = b"/etc/passwd";
/// The groups. group(5)
pub const GROUP: &[u8] = b"/etc/group";

/// Opens a file of names of the host. If it is missing, or closed to the caller, it is left out. So is what is no
/// regular file, or lies elsewhere: a link can lead through the directory of another user, who can lead it to what is
/// hidden.
pub fn open_of_host(path: &[u8]) -> Option<OwnedFd> {
    let fd = find(path, OFlags::empty()).ok()?;
    let place = files::path_of(&fd).ok()?;
    let is_regular = FileType::from_raw_mode(rustix::fs::fstat(&fd).ok()?.st_mode).is_file();
    // The kernel tells there with which network it was started.
    let is_of_kernel = place.starts_with(b"/proc/") && place.ends_with(b"/net/pnp");
    let is_in_place = !lies_in(place, SESSIONS) && PLACES_OF_NAMES.iter().any(|dir| lies_in(place, dir));
    Some(fd).filter(|_| is_regular && (is_of_kernel || is_in_place))
}

/// The groups of this process.
pub fn group_ids() -> &'static [Bytes] {
    let mut ids = Vec::new();
    for gid in getgroups().unwrap_or_default() {
        ids.push(decimal(gid.as_raw()));
    }
    ids.push(decimal(getgid().as_raw()));
    ids.leak()
}

impl Names {
    fn add_file(&mut self, path: &'static [u8], privileged: &Privileged) -> Result<()> {
        if let Some(fd) = open_of_host(path) {
            let tree =
                Detached::copy(privileged, &fd, b"", INERT).or_fail(on("bind {} in the instance", path))?;
            self.files.push((path, tree));
        }
        Ok(())
    }

    /// Binds the files in the instance.
    pub fn show(self, stage: &mut Stage) -> Result<()> {
        for (path, tree) in self.files {
            bind(stage, path, tree)?;
        }
        add_entries(stage, PASSWD, self.passwd)?;
        add_entries(stage, GROUP, self.group)
    }
}

/// The lines with these ids, from a file of the host.
pub fn entries(path: &[u8], ids: &[Bytes]) -> &'static [Entry] {
    let text = files::open(CWD, path, READ).ok().and_then(|fd| read(&fd));
    let text = text.unwrap_or_default();
    let mut found: Vec<Entry> = Vec::new();
    for id in ids.iter().copied() {
        if found.iter().any(|entry| entry.id == id) {
            continue;
        }
        if let Some(line) = line_of(text, id) {
            found.push(Entry { id, line: own_part(path, line) });
        }
    }
    found.leak()
}

/// A line for a group loses its members, which are not the instance's business.
pub fn own_part(path: &[u8], line: Bytes) -> Bytes {
    if path != GROUP {
        return line;
    }
    let mut fields = line.split(|b| *b == b':');
    let mut field = || fields.next().unwrap_or(b"");
    let (name, password, id) = (field(), field(), field());
    join(&[name, b":", password, b":", id, b":"])
}

/// The line whose third field is `id`. passwd(5), group(5).
pub fn line_of<'t>(text: &'t [u8], id: &[u8]) -> Option<&'t [u8]> {
    text.split(|b| *b == b'\n').find(|line| line.split(|b| *b == b':').nth(2) == Some(id))
}

/// Covers a file of the image by a copy with the entries that it lacks.
fn add_entries(stage: &mut Stage, path: &[u8], entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let own = stage.privileged().without(|| file_of(stage.root(), path))?;
    let Some(own) = own else { return Ok(()) };
    let mut text = own;
    for entry in missing(own, entries) {
        let end: Bytes = if text.is_empty() || text.ends_with(b"\n") { b"" } else { b"\n" };
        text = join(&[text, end, entry.line, b"\n"]);
    }
    if text.len() == own.len() {
        return Ok(());
    }
    let name = &path[files::parent(path).len() + 1..];
    let tree = stage.text_file(name, text)?;
    bind(stage, path, tree)
}

/// Binds a file in the instance, if there is a place for it.
fn bind(stage: &mut Stage, path: &[u8], tree: Detached) -> Result<()> {
    let Some(target) = stage.place_of_name(path)? else { return Ok(()) };
    tree.attach(stage.privileged(), target).or_fail(on("bind {} in the instance", path)).map(drop)
}

/// The file of an image. `None` if the image has something else at this path; that stays.
pub fn file_of(root: BorrowedFd<'_>, path: &[u8]) -> Option<Bytes> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match files::open_path(root, path, READ, resolve) {
        Ok(fd) => read(&fd),
        Err(Errno::NOENT) => Some(b""),
        Err(_) => None,
    }
}

/// The entries that a file lacks.
pub fn missing<'e>(own: &'e [u8], entries: &'e [Entry]) -> impl Iterator<Item = &'e Entry> {
    entries.iter().filter(|entry| line_of(own, entry.id).is_none())
}

/// Pseudo file systems of the kernel: proc, sys, debug, trace, security, cgroup (1 and 2), bpf, pstore, config,
/// efivar, selinux. `statfs(2)`, `linux/magic.h`
const PSEUDO: [i64; 12] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0x0027_e0eb,
    0x6367_7270,
    0xcafe_4a11,
    0x6165_676c,
    0x6265_6570,
    0xde5e_81e4,
    0xf97c_ff8c,
];

/// Opening does not wait for the writer of a FIFO or for a terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Reads a whole regular file of limited size. Files that the kernel generates are refused, since their size says
/// nothing.
fn read(fd: &OwnedFd) -> Option<Bytes> {
    let stat = rustix::fs::fstat(fd).ok()?;
    let size = usize::try_from(stat.st_size).ok().filter(|size| *size <= MOST_BYTES)?;
    let kind = rustix::fs::fstatfs(fd).ok()?.f_type;
    if !FileType::from_raw_mode(stat.st_mode).is_file() || PSEUDO.contains(&kind) {
        return None;
    }
    files::read(fd.as_fd(), size + 1024, MOST_BYTES).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_third_field_alone() {
        let text = b"root:x:0:0:root:/root:/bin/sh\n10:x:1:10::/:/bin/sh\nu:x:10:5::/home/u:/bin/sh";
        assert_eq!(line_of(text, b"10"), Some(&b"u:x:10:5::/home/u:/bin/sh"[..]));
        assert_eq!(line_of(text, b"1"), Some(&b"10:x:1:10::/:/bin/sh"[..]));
        assert_eq!(line_of(text, b"2"), None);
    }

    /// The kernel's header has all but that of configfs, which is in fs/configfs/mount.c.
    #[test]
    fn pseudo_file_systems_have_the_numbers_of_the_kernel() {
        const HEADER: &str = "/usr/include/linux/magic.h";
        let names = "PROC_SUPER SYSFS DEBUGFS TRACEFS SECURITYFS CGROUP_SUPER CGROUP2_SUPER BPF_FS PSTOREFS EFIVARFS \
            SELINUX";
        let header = std::fs::read_to_string(HEADER).unwrap_or_else(|error| panic!("{HEADER}: {error}"));
        let number = |name: &str| {
            let start = std::format!("#define {name}_MAGIC");
            let line = header.lines().find_map(|line| line.strip_prefix(start.as_str()));
            i64::from_str_radix(line.unwrap_or_else(|| panic!("{name}")).trim().trim_start_matches("0x"), 16)
        };
        let mut wanted: Vec<i64> = names.split_whitespace().map(|name| number(name).unwrap()).collect();
        wanted.push(0x6265_6570);
        wanted.sort_unstable();
        let mut listed = PSEUDO.to_vec();
        listed.sort_unstable();
        assert_eq!(listed, wanted);
    }

    #[test]
    fn a_group_shows_without_its_members() {
        assert_eq!(own_part(GROUP, b"staff:x:50:alice,bob"), b"staff:x:50:");
        assert_eq!(own_part(PASSWD, b"u:x:1:1::/:/bin/sh"), b"u:x:1:1::/:/bin/sh");
    }
}
