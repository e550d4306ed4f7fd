//! What an instance takes from its host and what it does not, as tables. They are the installer's and the bench's
//! too, so that what is prepared and what is compared cannot differ from what is done.

use alloc::vec::Vec;

/// What an installation has below its prefix: the program, the second one, and what is selfdock's alone: the prepared
/// root directory, and the list of what is shown in it.
pub const PROGRAM: &str = "bin/selfdock";
/// The second program.
pub const ABOUT: &str = "lib/selfdock/selfdock-about";
/// What is selfdock's alone, which the installation makes.
#[allow(dead_code)]
pub const LIB: &str = "lib/selfdock";
/// The prepared root directory.
pub const ROOT: &str = "lib/selfdock/root";
/// The list of what is shown in it.
pub const LIST: &str = "lib/selfdock/root.list";

/// The capabilities that the installation gives the program's file, by their numbers, and that it keeps past the start.
/// capabilities(7)
pub const CAPABILITIES: [(u32, &str); 5] = [
    (8, "CAP_SETPCAP"),
    (12, "CAP_NET_ADMIN"),
    (18, "CAP_SYS_CHROOT"),
    (21, "CAP_SYS_ADMIN"),
    (40, "CAP_CHECKPOINT_RESTORE"),
];

/// All of them, as a set.
pub const fn capability_set() -> u64 {
    let (mut set, mut at) = (0, 0);
    while at < CAPABILITIES.len() {
        set |= 1 << CAPABILITIES[at].0;
        at += 1;
    }
    set
}

/// Directories that an instance of the host image has, empty: the host's are not shown. `proc`, `dev` and `tmp` are
/// made afresh; the rest is there for whoever looks.
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

/// What an instance of the host image shows of the host, where it is there: an allow list. What is not on it, or
/// below it, is not seen. Each directory with the names in it, and beside them who needs them; parents come first.
pub const SHOWN: &[(&str, &str)] = &[
    // The operating system; Nix and Guix, which keep all programs in a place of their own.
    ("/", "usr etc opt bin sbin lib lib32 lib64 libx32 nix gnu"),
    ("/run/", "current-system opengl-driver"),
    // Processors, nodes and memory of the machine, for lscpu, hwloc, OpenMP and the like.
    ("/sys/devices/", "system"),
    ("/var/", "guix"),
    // What Gentoo and Void know to be installed.
    ("/var/db/", "pkg repos xbps"),
    (
        "/var/lib/",
        concat!(
            // Names of users and realms on managed machines: sssd's, libnss-extrausers', libnss-db's.
            "sss/mc sss/pubconf extrausers misc ",
            // What package managers know to be installed: dpkg and apt, rpm and dnf, pacman, Slackware's.
            "dpkg apt rpm dnf pacman pkgtools ",
            // Links to programs of the same purpose, and certificates, on Fedora and SUSE.
            "alternatives ca-certificates ",
            // Data that programs are installed with: TeX's formats, dictionaries, packages of Haskell, Ruby and
            // Scheme, fonts, names of hardware, units, catalogues, signatures.
            "texmf aspell ispell mecab chasen xjdic ghc gems chicken slib ghostscript libreoffice usbutils ieee-data ",
            "mibs GeoIP units sgml-base clamav command-not-found dlocate swcatalog",
        ),
    ),
    ("/var/cache/", "apt dnf zypp pkgfile fontconfig man cracklib dictionaries-common swcatalog"),
];

/// Links of the host that an instance has too, though what they lead to is not shown.
pub const LINKED: &[&str] = &["var/run", "var/lock", "var/mail"];

/// What stands at a place on the host.
pub enum Seen {
    /// A symbolic link, and what it says.
    Link(Vec<u8>),
    /// Something else.
    Place,
    /// Nothing that can be reached.
    Nothing,
}

/// What an instance shows of the host as it is, as the installation writes it down: each place to bind, an absolute
/// path without links in it and a NUL at its end; each link as `>`, where it is, NUL, what it says, NUL. Parents come
/// first.
#[derive(Default)]
pub struct Shown(pub Vec<u8>);

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// What an absolute path is when the links on the way are followed; `link` is told of each. None where nothing can be
/// reached, or there are too many links.
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
    /// All of [`SHOWN`] and [`LINKED`]. `look` says what stands at an absolute path.
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

    /// Shows what `path` leads to, and the links on the way. Says whether it is there.
    pub fn add(&mut self, path: &[u8], look: &mut dyn FnMut(&[u8]) -> Seen) -> bool {
        let mut links = Shown::default();
        let Some(place) = follow(path, look, &mut |at, target| links.add_link(at, target)) else {
            return false;
        };
        // A whole root directory is no part of one, and what is made afresh is not the host's.
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

    /// Whether a path is on the list, or lies in a place that is.
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

/// What only the installation does, which has this file in common with selfdock.
#[allow(dead_code)]
impl Shown {
    /// Puts the places first that only root can exchange, as `is_closed` says.
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

    /// Notes the home of a user, a number in digits, if it lies in a place and is none.
    pub fn add_home(&mut self, uid: &[u8], home: &[u8]) {
        if places(&self.0).any(|place| home != place && lies_in(home, place)) {
            self.0.extend([b"~", uid, b"\0", home, b"\0"].concat());
        }
    }
}

/// Whether a path is in what is every instance's own.
fn is_made_afresh(path: &[u8]) -> bool {
    let own: [&[u8]; 3] = [b"/proc", b"/dev", b"/tmp"];
    own.iter().any(|own| lies_in(path, own))
}

/// Whether a path is a directory or lies in it.
pub fn lies_in(path: &[u8], dir: &[u8]) -> bool {
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// A line of the list.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<'t> {
    /// A path, with a NUL at its end.
    Place(&'t [u8]),
    /// Where a link is, and what it says.
    Link(&'t [u8], &'t [u8]),
    /// The places that follow are in directories that others than root can change.
    Open,
    /// Whose home lies in a place, and where: a user's number in digits.
    Home(&'t [u8], &'t [u8]),
}

/// Reads such a list. What is cut short is left out.
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

/// How [`Entry::Open`] is written.
pub const OPEN: u8 = b'!';

/// The places of a list, without the NUL.
pub fn places(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    entries(list).filter_map(|entry| match entry {
        Entry::Place([place @ .., _]) => Some(place),
        _ => None,
    })
}

/// Stands for all users in a list: what lies below the first path is below the second, by a link of the host's.
pub const ALIAS: u8 = b'@';

/// The homes of a user that lie in what is shown: those on the list, and what the caller's `HOME` says. Nothing is
/// asked for it, as a home can be on a file system that does not answer.
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

/// Devices of the host that every instance has, with their numbers.
pub const DEVICES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

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

    /// A host with these links and nothing else but directories, or without what is listed as missing.
    fn host<'t>(links: &'t [(&str, &str)], missing: &'t [&str]) -> impl FnMut(&[u8]) -> Seen + use<'t> {
        |path| match links.iter().find(|(at, _)| at.as_bytes() == path) {
            Some((_, target)) => Seen::Link(target.as_bytes().to_vec()),
            None if missing.iter().any(|name| lies_in(path, name.as_bytes())) => Seen::Nothing,
            None => Seen::Place,
        }
    }

    /// How many links there are, and what they lead to, beside /usr.
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
    fn neither_the_root_nor_what_is_made_afresh_can_be_shown() {
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
        // A link at such a name is none inside.
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
    fn homes_are_those_that_lie_in_a_place() {
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
    fn a_list_that_is_cut_short_shows_less() {
        assert_eq!(entries(b"/usr\0/et").collect::<Vec<_>>(), [Entry::Place(b"/usr\0")]);
        assert_eq!(entries(b">/bin\0usr").count(), 0);
        assert_eq!(entries(b"~7\0/opt/x").count(), 0);
    }
}
