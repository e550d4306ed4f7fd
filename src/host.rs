//! Tables of what an instance takes from its host. The installer and the bench use them, too, so that what is
//! prepared and measured cannot differ from what is done.

use alloc::vec::Vec;

/// The set-uid program, below the prefix of an installation.
pub const PROGRAM: &str = "bin/selfdock";
/// The second program.
pub const ABOUT: &str = "lib/selfdock/selfdock-about";
/// The directory of selfdock's own files.
#[allow(dead_code)]
pub const LIB: &str = "lib/selfdock";
/// The prepared root directory.
pub const ROOT: &str = "lib/selfdock/root";
/// The list of the host's directories in it.
pub const LIST: &str = "lib/selfdock/root.list";

/// The capabilities that the installation gives to the program's file, and that the program keeps past its start, by
/// their numbers. capabilities(7)
pub const CAPABILITIES: [(u32, &str); 5] = [
    (8, "CAP_SETPCAP"),
    (12, "CAP_NET_ADMIN"),
    (18, "CAP_SYS_CHROOT"),
    (21, "CAP_SYS_ADMIN"),
    (40, "CAP_CHECKPOINT_RESTORE"),
];

/// All of these, as a bit set.
pub const fn capability_set() -> u64 {
    let (mut set, mut at) = (0, 0);
    while at < CAPABILITIES.len() {
        set |= 1 << CAPABILITIES[at].0;
        at += 1;
    }
    set
}

/// Empty directories of an instance without `--root`. `proc`, `dev` and `tmp` become mount points. The others exist
/// because programs expect them.
pub const EMPTY: &[&str] = &[
    "proc",
    "dev",
    "tmp",
    "home",
    "root",
    "run",
    "mnt",
    "media",
    "srv",
    "sys",
    "boot",
    "var",
    "var/cache",
    "var/lib",
    "var/log",
    "var/spool",
    "var/tmp",
];

/// The directories of the host in an instance without `--root`, if they exist: an allow list. Nothing else of the
/// host is visible. Each entry is a directory and names in it, with a comment that says who needs them. Parents come
/// first.
pub const SHOWN: &[(&str, &str)] = &[
    // The operating system. Nix and Guix keep all programs in a directory of their own.
    ("/", "usr etc opt bin sbin lib lib32 lib64 libx32 nix gnu"),
    ("/run/", "current-system opengl-driver"),
    // Processors, nodes and memory of the machine, for lscpu, hwloc, OpenMP and the like.
    ("/sys/devices/", "system"),
    ("/var/", "guix"),
    // The package databases of Gentoo and Void.
    ("/var/db/", "pkg repos xbps"),
    (
        "/var/lib/",
        concat!(
            // Names of users and realms on managed machines: sssd's, libnss-extrausers', libnss-db's.
            "sss/mc sss/pubconf extrausers misc ",
            // Package databases: dpkg and apt, rpm and dnf, pacman, Slackware's.
            "dpkg apt rpm dnf pacman pkgtools ",
            // Links to alternative programs, and certificates, on Fedora and SUSE.
            "alternatives ca-certificates ",
            // Data of installed programs: TeX's formats, dictionaries, packages of Haskell, Ruby and Scheme, fonts,
            // names of hardware, units, catalogues, signatures.
            "texmf aspell ispell mecab chasen xjdic ghc gems chicken slib ghostscript libreoffice usbutils ieee-data ",
            "mibs GeoIP units sgml-base clamav command-not-found dlocate swcatalog",
        ),
    ),
    ("/var/cache/", "apt dnf zypp pkgfile fontconfig man cracklib dictionaries-common swcatalog"),
];

/// Links of the host that an instance has, too, although their targets are not visible.
pub const LINKED: &[&str] = &["var/run", "var/lock", "var/mail"];

/// What exists at a path of the host.
pub enum Seen {
    /// A symbolic link, with its target.
    Link(Vec<u8>),
    /// A file or directory.
    Place,
    /// Nothing that can be reached.
    Nothing,
}

/// The list of the host's directories in an instance, as the installation writes it. A directory to bind is an
/// absolute path without links, and a NUL. A link is `>`, its path, NUL, its target, NUL. Parents come first.
#[derive(Default)]
pub struct Shown(pub Vec<u8>);

/// The most links in a path, as in the kernel.
const MOST_LINKS: usize = 40;

/// Resolves the links in an absolute path. `link` is called for each. `None` if the path cannot be reached, or has
/// too many links.
pub fn follow(
    path: &[u8],
    look: &mut dyn FnMut(&[u8]) -> Seen,
    link: &mut dyn FnMut(&[u8], &[u8]),
) -> Option<Vec<u8>> {
    let (mut place, mut to_go, mut links) = (Vec::new(), path.to_vec(), 0);
    while let Some(start) = to_go.iter().position(|b| *b != b'/') {
        let end = to_go[start..].iter().position(|b| *b == b'/').map_or(to_go.len(), |length| start + length);
        let rest = to_go.split_off(end);
        match &to_go[start..] {
            b"." => {}
            b".." => place.truncate(place.iter().rposition(|b| *b == b'/').unwrap_or(0)),
            part => {
                let next = [&*place, b"/", part].concat();
                match look(&next) {
                    Seen::Nothing => return None,
                    Seen::Place => place = next,
                    Seen::Link(_) if links == MOST_LINKS => return None,
                    Seen::Link(target) => {
                        links += 1;
                        link(&next, &target);
                        if target.starts_with(b"/") {
                            place.clear();
                        }
                        to_go = [&*target, &*rest].concat();
                        continue;
                    }
                }
            }
        }
        to_go = rest;
    }
    Some(place)
}

impl Shown {
    /// The list for [`SHOWN`] and [`LINKED`]. `look` returns what exists at an absolute path.
    pub fn of_host(look: &mut dyn FnMut(&[u8]) -> Seen) -> Self {
        let mut shown = Self::default();
        for (dir, names) in SHOWN {
            for name in names.split(' ') {
                shown.add(&[dir.as_bytes(), name.as_bytes()].concat(), look);
            }
        }
        for name in LINKED {
            let path = [b"/", name.as_bytes()].concat();
            if let Seen::Link(target) = look(&path) {
                shown.add_link(&path, &target);
            }
        }
        shown
    }

    /// Adds the target of `path` to the list, and the links on the way. Returns whether it exists.
    pub fn add(&mut self, path: &[u8], look: &mut dyn FnMut(&[u8]) -> Seen) -> bool {
        let mut links = Shown::default();
        let Some(place) = follow(path, look, &mut |at, target| links.add_link(at, target)) else {
            return false;
        };
        // The root directory itself cannot be bound, and `/proc`, `/dev` and `/tmp` are the instance's own.
        if place.is_empty() || is_made_afresh(&place) {
            return false;
        }
        for entry in entries(&links.0) {
            if let Entry::Link(at, target) = entry {
                self.add_link(at, target);
            }
        }
        if !self.shows(&place) {
            self.0.extend([&*place, b"\0"].concat());
        }
        true
    }

    /// Whether a path is on the list, or lies in a directory that is.
    fn shows(&self, path: &[u8]) -> bool {
        entries(&self.0).any(|entry| match entry {
            Entry::Place(place) => place.split_last().is_some_and(|(_, place)| lies_in(path, place)),
            Entry::Link(at, _) => at == path,
            Entry::Open | Entry::Home(..) => false,
        })
    }

    fn add_link(&mut self, at: &[u8], target: &[u8]) {
        if !self.shows(at) && !is_made_afresh(at) {
            self.0.extend([b">", at, b"\0", target, b"\0"].concat());
        }
    }
}

/// For the installation, which includes this file.
#[allow(dead_code)]
impl Shown {
    /// Moves directories that only root can exchange, as `is_closed` says, to the front.
    pub fn sort(&mut self, is_closed: &mut dyn FnMut(&[u8]) -> bool) {
        let (mut closed, mut links, mut open) = (Vec::new(), Vec::new(), [OPEN, 0].to_vec());
        for entry in entries(&self.0) {
            match entry {
                Entry::Place(place) if is_closed(&place[..place.len() - 1]) => closed.extend(place),
                Entry::Place(place) => open.extend(place),
                Entry::Link(at, to) => links.extend([b">", at, b"\0", to, b"\0"].concat()),
                Entry::Open | Entry::Home(..) => {}
            }
        }
        self.0 = [closed, links, open].concat();
    }

    /// Adds the home of a user, if it lies in a directory of the list. `uid` is in digits.
    pub fn add_home(&mut self, uid: &[u8], home: &[u8]) {
        if places(&self.0).any(|place| home != place && lies_in(home, place)) {
            self.0.extend([b"~", uid, b"\0", home, b"\0"].concat());
        }
    }
}

/// Whether a path lies in a directory that every instance makes new.
fn is_made_afresh(path: &[u8]) -> bool {
    let own: [&[u8]; 3] = [b"/proc", b"/dev", b"/tmp"];
    own.iter().any(|own| lies_in(path, own))
}

/// Whether a path equals a directory or lies in it.
pub fn lies_in(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// An entry of the list.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<'t> {
    /// A directory to bind: its path, with a NUL at the end.
    Place(&'t [u8]),
    /// A link: its path, and its target.
    Link(&'t [u8], &'t [u8]),
    /// Users other than root can change the parents of the directories that follow.
    Open,
    /// A home that lies in a directory of the list: the uid in digits, and the path.
    Home(&'t [u8], &'t [u8]),
}

/// Whether a place of the list is the kernel's own. It is never writable, and never copied.
pub fn is_sysfs(place: &[u8]) -> bool {
    place.starts_with(b"/sys/")
}

/// Reads a list. An incomplete entry at the end is left out.
pub fn entries(text: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut words = text.split_inclusive(|b| *b == 0).filter(|word| word.ends_with(b"\0"));
    core::iter::from_fn(move || match words.next()? {
        [kind @ (b'>' | b'~'), first @ .., 0] => {
            let second = words.next().and_then(<[u8]>::split_last).map(|(_, second)| second)?;
            Some(if *kind == b'>' { Entry::Link(first, second) } else { Entry::Home(first, second) })
        }
        [OPEN, 0] => Some(Entry::Open),
        place => Some(Entry::Place(place)),
    })
}

/// The text of [`Entry::Open`].
pub const OPEN: u8 = b'!';

/// The directories to bind of a list, without the NUL.
pub fn places(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    entries(list).filter_map(|entry| match entry {
        Entry::Place([place @ .., _]) => Some(place),
        _ => None,
    })
}

/// Marks an entry for all users: by a link of the host, paths below the first path lie below the second one.
pub const ALIAS: u8 = b'@';

/// The homes of a user that lie in a directory of the list: those on the list, and the one in the caller's `HOME`.
/// The file system is not accessed, since a home may be on one that does not answer.
pub fn homes(list: &[u8], uid: &[u8], variable: Option<&[u8]>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut home = variable.unwrap_or_default().to_vec();
    for entry in entries(list) {
        match entry {
            Entry::Home(whose, path) if whose == uid => all.push(path.to_vec()),
            Entry::Home([ALIAS, link @ ..], target) if lies_in(&home, link) => {
                home = [target, &home[link.len()..]].concat();
            }
            _ => {}
        }
    }
    if places(list).any(|place| home != place && lies_in(&home, place)) {
        all.push(home);
    }
    all
}

/// The number of /dev/null.
pub const NULL: (u32, u32) = (1, 3);

/// The host's devices in every instance, with their numbers.
pub const DEVICES: &[(&str, u32, u32)] = &[
    ("null", NULL.0, NULL.1),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links that programs expect in `/dev`.
pub const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with these links, without the missing paths, and otherwise with directories only.
    fn host<'t>(links: &'t [(&str, &str)], missing: &'t [&str]) -> impl FnMut(&[u8]) -> Seen + use<'t> {
        |path| match links.iter().find(|(at, _)| at.as_bytes() == path) {
            Some((_, target)) => Seen::Link(target.as_bytes().to_vec()),
            None if missing.iter().any(|name| lies_in(path, name.as_bytes())) => Seen::Nothing,
            None => Seen::Place,
        }
    }

    /// The number of links, and their targets besides /usr.
    fn shown(path: &str, links: &[(&str, &str)]) -> Option<(usize, Vec<Vec<u8>>)> {
        let mut all = Shown(b"/usr\0".to_vec());
        if !all.add(path.as_bytes(), &mut host(links, &["/none"])) {
            return None;
        }
        let is_link = |entry: &Entry<'_>| matches!(entry, Entry::Link(..));
        let place = |entry| match entry {
            Entry::Place([place @ .., _]) => Some(place.to_vec()),
            _ => None,
        };
        let places = entries(&all.0).filter_map(place).skip(1).collect();
        Some((entries(&all.0).filter(is_link).count(), places))
    }

    #[test]
    fn a_merged_usr_is_shown_by_links() {
        let links = [("/bin", "usr/bin"), ("/lib64", "/usr/lib64"), ("/var/run", "/run")];
        let all = Shown::of_host(&mut host(&links, &["/nix", "/gnu", "/var/guix"]));
        let entries: Vec<_> = entries(&all.0).collect();
        for (at, to) in links {
            assert!(entries.contains(&Entry::Link(at.as_bytes(), to.as_bytes())), "{at}");
        }
        let is_shown = |path: &[u8]| entries.contains(&Entry::Place(path));
        assert!(is_shown(b"/usr\0") && is_shown(b"/lib\0") && is_shown(b"/var/lib/dpkg\0"));
        assert!(!is_shown(b"/bin\0") && !is_shown(b"/nix\0") && !is_shown(b"/run\0"));
    }

    #[test]
    fn a_link_is_shown_with_what_it_leads_to() {
        assert_eq!(shown("opt", &[("/opt", "data/opt")]), Some((1, vec![b"/data/opt".to_vec()])));
        assert_eq!(shown("/a/b", &[("/a", "/x/y"), ("/x/y/b", "../z")]), Some((2, vec![b"/x/z".to_vec()])));
        assert_eq!(shown("bin", &[("/bin", "usr/bin")]), Some((1, vec![])));
        assert_eq!(shown("/usr/lib/a", &[("/usr/lib/a", "b")]), Some((0, vec![])));
    }

    #[test]
    fn the_root_and_own_mount_points_cannot_be_on_the_list() {
        for (path, links) in [
            ("/", &[][..]),
            ("/proc/bus", &[]),
            ("/dev", &[]),
            ("/opt", &[("/opt", "/")]),
            ("/opt", &[("/opt", "../tmp/x")]),
            ("/opt", &[("/opt", "opt")]),
            ("/none/x", &[]),
        ] {
            assert_eq!(shown(path, links), None, "{path} {links:?}");
        }
        assert!(shown("/device", &[]).is_some());
        // A link in place of such a directory is left out.
        assert_eq!(shown("/proc/x", &[("/proc", "/srv")]), Some((0, vec![b"/srv/x".to_vec()])));
    }

    #[test]
    fn what_only_root_can_exchange_comes_first() {
        let mut all = Shown(b"/usr\0>/bin\0usr/bin\0/scratch/data\0/opt\0".to_vec());
        all.sort(&mut |place| !place.starts_with(b"/scratch"));
        assert_eq!(all.0, b"/usr\0/opt\0>/bin\0usr/bin\0!\0/scratch/data\0");
        assert_eq!(entries(&all.0).nth(3), Some(Entry::Open));
        assert_eq!(places(&all.0).count(), 3);
    }

    #[test]
    fn homes_are_those_in_a_directory_of_the_list() {
        let mut all = Shown(b"/usr\0/opt\0".to_vec());
        for (uid, home) in [("7", "/opt/h/x"), ("8", "/opt/h/y"), ("7", "/home/x"), ("7", "/opt")] {
            all.add_home(uid.as_bytes(), home.as_bytes());
        }
        all.0.extend(b"~@/homes\0/opt/h\0");
        let of = |variable| homes(&all.0, b"7", variable);
        assert_eq!(of(Some(b"/homes/z")), [&b"/opt/h/x"[..], b"/opt/h/z"]);
        assert_eq!(of(None), [b"/opt/h/x"]);
        assert_eq!(of(Some(b"/usr/home/x")), [&b"/opt/h/x"[..], b"/usr/home/x"]);
        assert_eq!(of(Some(b"/home/x")), of(Some(b"/usr")));
        assert!(shown("/usr/x", &[]).is_some() && places(&all.0).count() == 2);
    }

    #[test]
    fn an_incomplete_list_has_fewer_entries() {
        assert_eq!(entries(b"/usr\0/et").collect::<Vec<_>>(), [Entry::Place(b"/usr\0")]);
        assert_eq!(entries(b">/bin\0usr").count(), 0);
        assert_eq!(entries(b"~7\0/opt/x").count(), 0);
    }
}
