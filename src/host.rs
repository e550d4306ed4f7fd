//! What an instance takes from its host and what it does not, as tables. They are the installer's and the bench's
//! too, so that what is prepared and what is compared cannot differ from what is done.
#![forbid(unsafe_code)]

use alloc::vec::Vec;

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
/// below it, is not seen. Who needs it stands beside it; parents come first.
pub const SHOWN: &[&str] = &[
    // The operating system.
    "usr",
    "etc",
    "opt",
    "bin",
    "sbin",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    // Nix and Guix, which keep all programs here.
    "nix",
    "gnu",
    "var/guix",
    "run/current-system",
    // What package managers know to be installed: dpkg and apt, rpm, pacman, Gentoo's, Void's, Slackware's.
    "var/lib/dpkg",
    "var/lib/apt",
    "var/lib/rpm",
    "var/lib/pacman",
    "var/db/pkg",
    "var/db/repos",
    "var/db/xbps",
    "var/lib/pkgtools",
    // Links to programs of the same purpose, and certificates, on Fedora and SUSE.
    "var/lib/alternatives",
    "var/lib/ca-certificates",
    // Data that programs are installed with: TeX's formats, dictionaries, packages of Haskell and Ruby, fonts, names of
    // hardware, what to install for a command.
    "var/lib/texmf",
    "var/lib/aspell",
    "var/lib/ispell",
    "var/lib/mecab",
    "var/lib/ghc",
    "var/lib/gems",
    "var/lib/ghostscript",
    "var/lib/libreoffice",
    "var/lib/usbutils",
    "var/lib/command-not-found",
    "var/cache/fontconfig",
    "var/cache/man",
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

/// What an instance shows of the host as it is: links, and the places to bind.
#[derive(Default)]
pub struct Shown {
    /// Absolute paths, and what the links there say.
    pub links: Vec<(Vec<u8>, Vec<u8>)>,
    /// Absolute paths without links in them, parents first.
    pub places: Vec<Vec<u8>>,
}

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

impl Shown {
    /// All of [`SHOWN`] and [`LINKED`]. `look` says what stands at an absolute path.
    pub fn of_host(look: &mut dyn FnMut(&[u8]) -> Seen) -> Self {
        let mut shown = Self::default();
        for name in SHOWN {
            shown.add(name.as_bytes(), look);
        }
        for name in LINKED {
            let path = [b"/", name.as_bytes()].concat();
            if let Seen::Link(target) = look(&path) {
                shown.add_link(path, target);
            }
        }
        shown
    }

    /// Shows what `path` leads to, and the links on the way. Says whether it is there.
    pub fn add(&mut self, path: &[u8], look: &mut dyn FnMut(&[u8]) -> Seen) -> bool {
        let parts = |path: &[u8]| -> Vec<Vec<u8>> {
            path.split(|b| *b == b'/').filter(|part| !part.is_empty()).rev().map(<[u8]>::to_vec).collect()
        };
        let (mut links, mut place, mut to_go) = (Vec::new(), Vec::new(), parts(path));
        while let Some(part) = to_go.pop() {
            match &*part {
                b"." => continue,
                b".." => {
                    place.truncate(place.iter().rposition(|b| *b == b'/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = [&*place, b"/", &*part].concat();
            match look(&next) {
                Seen::Nothing => return false,
                Seen::Place => place = next,
                Seen::Link(target) => {
                    if target.starts_with(b"/") {
                        place.clear();
                    }
                    to_go.extend(parts(&target));
                    links.push((next, target));
                    if links.len() > MOST_LINKS {
                        return false;
                    }
                }
            }
        }
        // A whole root directory is no part of one, and what is made afresh is not the host's.
        if place.is_empty() || ["/proc", "/dev", "/tmp"].iter().any(|own| lies_in(&place, own.as_bytes())) {
            return false;
        }
        for (at, target) in links {
            self.add_link(at, target);
        }
        if !self.places.iter().any(|shown| lies_in(&place, shown)) {
            self.places.push(place);
        }
        true
    }

    fn add_link(&mut self, at: Vec<u8>, target: Vec<u8>) {
        let known = self.links.iter().any(|(link, _)| *link == at);
        if !known && !self.places.iter().any(|shown| lies_in(&at, shown)) {
            self.links.push((at, target));
        }
    }

    /// As the installation writes it down: each place with a NUL at its end; each link as `>`, where it is, NUL, what
    /// it says, NUL.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (at, target) in &self.links {
            text.extend([b">", &**at, b"\0", target, b"\0"].concat());
        }
        for place in &self.places {
            text.extend([&**place, b"\0"].concat());
        }
        text
    }
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
}

/// Reads what [`Shown::to_text`] has written. What is cut short is left out.
pub fn entries(text: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut words = text.split_inclusive(|b| *b == 0).filter(|word| word.ends_with(b"\0"));
    core::iter::from_fn(move || match words.next()? {
        [b'>', at @ .., 0] => words.next().and_then(<[u8]>::split_last).map(|(_, to)| Entry::Link(at, to)),
        place => Some(Entry::Place(place)),
    })
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

    fn shown(path: &str, links: &[(&str, &str)]) -> Option<(usize, Vec<Vec<u8>>)> {
        let mut all = Shown { places: vec![b"/usr".to_vec()], ..Shown::default() };
        let found = all.add(path.as_bytes(), &mut host(links, &["/none"]));
        found.then_some((all.links.len(), all.places.split_off(1)))
    }

    #[test]
    fn a_merged_usr_is_shown_by_links() {
        let links = [("/bin", "usr/bin"), ("/lib64", "/usr/lib64"), ("/var/run", "/run")];
        let all = Shown::of_host(&mut host(&links, &["/nix", "/gnu", "/var/guix"]));
        let text = all.to_text();
        let entries: Vec<_> = entries(&text).collect();
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
    }

    #[test]
    fn a_list_that_is_cut_short_shows_less() {
        assert_eq!(entries(b"/usr\0/et").collect::<Vec<_>>(), [Entry::Place(b"/usr\0")]);
        assert_eq!(entries(b">/bin\0usr").count(), 0);
    }
}
