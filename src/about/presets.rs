//! Options that stand for other options. They read the environment and the file system with the caller's
//! rights.

use super::front::{Line, Said, is_pattern};
use super::overlay;
use crate::cli::variable_name;
use crate::command::{current_directory, home, variable};
use crate::error::{Error, OrFail, Result, both, on};
use crate::files;
use crate::handover::About;
use crate::options::{Id, Opt};
use crate::plan::components;
use crate::process::read;
use crate::text::{Bytes, join};
use alloc::collections::btree_map::{BTreeMap, Entry};
use alloc::vec::Vec;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

/// The tmpfs for `--home`: enough for what programs write to a home while they run.
const HOME: &[u8] = b"size=1G,nr_inodes=256k,mode=700";

/// Patterns of variables that usually hold secrets.
pub const SECRETS: &[&str] = &[
    "*TOKEN*",
    "*SECRET*",
    "*PASSWORD*",
    "*PASSWD*",
    "*PASSPHRASE*",
    "*API_KEY*",
    "*APIKEY*",
    "*ACCESS_KEY*",
    "*PRIVATE_KEY*",
    "*CREDENTIAL*",
    "*_PAT",
    "*_DSN",
    "DATABASE_URL",
];

/// The devices of graphics cards in `/dev`, and the parts of `/sys` where programs look them up.
const CARDS: &[&str] = &[
    "dri",
    "kfd",
    "dxg",
    "nvidiactl",
    "nvidia-modeset",
    "nvidia-uvm",
    "nvidia-uvm-tools",
    "nvidia0",
    "nvidia1",
    "nvidia2",
    "nvidia3",
];
const ABOUT_CARDS: &[&str] = &["/sys/dev/char", "/sys/devices", "/sys/class/drm", "/sys/bus/pci"];

/// Replaces options that stand for others by those others.
pub fn expanded<'a>(mut line: Line<'a>, about: &About) -> Result<Line<'a>> {
    let mut all = Vec::new();
    check_home(about, &line)?;
    for said in line.options {
        expand(about, said, &mut all)?;
    }
    line.options = variables(about, once(all));
    Ok(line)
}

/// Leaves out a volume or map that is requested again by another name of its source.
fn once<'a>(all: Vec<Said<'a>>) -> Vec<Said<'a>> {
    let here = if all.iter().any(|said| said.opt.id == Id::Here) { current_directory() } else { None };
    let of_here = here.and_then(|dir| Said::new(Id::Vol, [b".", dir]));
    let place = |said: &Said<'a>| components(said.values[1]).collect::<Vec<_>>().join(&b'/');
    // Only the first of a place counts: two different ones are refused.
    let mut first = BTreeMap::new();
    first.extend(of_here.iter().map(|said| (place(said), (said.opt.id, said.values[0]))));
    let is_same = |(id, src): (Id, &[u8]), (other_id, other_src): (Id, &[u8])| {
        id == other_id
            && overlay::real_path(src).is_some_and(|path| overlay::real_path(other_src) == Some(path))
    };
    let mut kept = Vec::new();
    for said in all {
        let is_again = matches!(said.opt.id, Id::Vol | Id::Map) && {
            let own = (said.opt.id, said.values[0]);
            match first.entry(place(&said)) {
                Entry::Vacant(entry) => {
                    entry.insert(own);
                    false
                }
                Entry::Occupied(entry) => is_same(*entry.get(), own),
            }
        };
        if !is_again {
            kept.push(said);
        }
    }
    kept
}

/// Refuses `--home` together with `--here` in the caller's home, since they contradict each other.
fn check_home(about: &About, line: &Line<'_>) -> Result<()> {
    let is_home = || home(&about.environment).is_some_and(|home| Some(home) == current_directory());
    if line.has(Id::Home) && line.has(Id::Here) && is_home() {
        let why = "the current directory is your home, and --here makes it a volume";
        return Err(Error::refused("option --home", why).hint("start selfdock in another directory"));
    }
    Ok(())
}

/// Adds the options that one option stands for.
fn expand<'a>(about: &About, said: Said<'a>, all: &mut Vec<Said<'a>>) -> Result<()> {
    let mut preset = Preset { about, opt: said.opt, all };
    let path = said.values[0];
    match said.opt.id {
        Id::Mask | Id::MaskIfExists if !matches!(path, [] | [b'/', ..]) => {
            let here =
                current_directory().ok_or_else(|| preset.lacks("the current directory has no path"))?;
            preset.say(said.opt.id, [join(&[here, b"/", path]), b""]);
        }
        Id::Bind => preset.show(Id::Vol, path)?,
        Id::BindRo => preset.show(Id::Map, path)?,
        Id::BindIfExists if is_there(path) => preset.show(Id::Vol, path)?,
        Id::BindRoIfExists if is_there(path) => preset.show(Id::Map, path)?,
        Id::BindIfExists | Id::BindRoIfExists => {}
        Id::Changes if path.is_empty() => return Err(preset.lacks("the path is empty")),
        Id::Pass => {
            variable_name::<Error>(path)?;
            all.push(said);
        }
        Id::Home => preset.home(path)?,
        Id::X11 => preset.x11()?,
        Id::Wayland => {
            let name = preset.variable("WAYLAND_DISPLAY").unwrap_or(b"wayland-0");
            let socket = if name.starts_with(b"/") { name } else { preset.runtime(&[name])? };
            preset.show_socket(socket)?;
        }
        Id::Dbus => preset.dbus()?,
        Id::Pulse => preset.pulse()?,
        Id::SshAgent => {
            let socket =
                preset.variable("SSH_AUTH_SOCK").ok_or_else(|| preset.lacks("SSH_AUTH_SOCK is not set"))?;
            preset.show_socket(socket)?;
        }
        Id::Gpu => preset.gpu()?,
        _ => all.push(said),
    }
    Ok(())
}

/// An option that stands for others, while it is expanded.
struct Preset<'p, 'a> {
    about: &'p About,
    opt: &'static Opt,
    all: &'p mut Vec<Said<'a>>,
}

impl<'a> Preset<'_, 'a> {
    fn say(&mut self, id: Id, values: [&'a [u8]; 2]) {
        self.all.extend(Said::new(id, values));
    }

    fn lacks(&self, why: &'static str) -> Error {
        Error::refused(on("option --{=}", self.opt.long.as_bytes()), why)
    }

    fn variable(&self, name: &str) -> Option<Bytes> {
        variable(&self.about.environment, name.as_bytes())
            .filter(|value| !value.is_empty())
            .map(|value| join(&[value]))
    }

    /// Binds a file on the same path inside.
    fn show(&mut self, id: Id, path: &'a [u8]) -> Result<()> {
        let place =
            absolute(path).map_err(|error| error.within(on("option --{=}", self.opt.long.as_bytes())))?;
        self.say(id, [path, place]);
        Ok(())
    }

    /// Binds a socket, which must exist, on the same path inside.
    fn show_socket(&mut self, path: &'a [u8]) -> Result<()> {
        files::identity_of(path)
            .or_fail(on("find {}", path))
            .map_err(|error| error.within(on("option --{=}", self.opt.long.as_bytes())))?;
        self.show(Id::Map, path)
    }

    fn home(&mut self, dir: &'a [u8]) -> Result<()> {
        let home = self.variable("HOME").filter(|home| home.starts_with(b"/"));
        let home = home.ok_or_else(|| self.lacks("HOME is not set to a path"))?;
        let is_file =
            |path| files::open(CWD, path, OFlags::PATH | OFlags::DIRECTORY).err() == Some(Errno::NOTDIR);
        let failed = |path| on("option --home: use {} as the home", path);
        if is_file(home) {
            return Err(Error::refused(failed(home), "HOME names a file").hint("set HOME to a directory"));
        }
        if is_file(dir) {
            return Err(Error::of(failed(dir), Errno::NOTDIR));
        }
        if dir.is_empty() {
            self.say(Id::Tmpfs, [HOME, home]);
        } else {
            self.say(Id::Vol, [dir, home]);
        }
        Ok(())
    }

    /// A path in `XDG_RUNTIME_DIR`, which holds the sockets of a login session.
    fn runtime(&self, names: &[&[u8]]) -> Result<Bytes> {
        let dir = self.variable("XDG_RUNTIME_DIR").ok_or_else(|| self.lacks("XDG_RUNTIME_DIR is not set"))?;
        Ok(names.iter().fold(dir, |path, name| join(&[path, b"/", name])))
    }

    /// Adds the socket of a local display, abstract sockets if the display has one, and the file of cookies. X(7)
    fn x11(&mut self) -> Result<()> {
        let display = self.variable("DISPLAY").ok_or_else(|| self.lacks("DISPLAY is not set"))?;
        let local = display.strip_prefix(b"unix").unwrap_or(display);
        let refuse =
            |why| Err(Error::refused(both("option --{=}: find the display {}", b"x11", display), why));
        if !display.contains(&b':') {
            return refuse("not of the form HOST:NUMBER");
        }
        if let Some(number) = local.strip_prefix(b":") {
            let number = number.split(|b| *b == b'.').next().unwrap_or_default();
            let socket = join(&[b"/tmp/.X11-unix/X", number]);
            let (has_file, is_abstract) = (is_there(socket), is_listening(socket));
            if has_file {
                self.show(Id::Map, socket)?;
            } else if is_abstract == Some(false) {
                return refuse("it has no socket in /tmp/.X11-unix, and no abstract one");
            }
            // Clients try the abstract socket first. If it exists and refuses them, they do not try the other.
            if is_abstract.unwrap_or(!has_file) {
                self.say(Id::Abstract, [b"", b""]);
            }
        }
        let of_home = || self.variable("HOME").map(|home| join(&[home, b"/.Xauthority"]));
        match self.variable("XAUTHORITY").or_else(of_home) {
            Some(cookies) if is_there(cookies) => self.show(Id::Map, cookies),
            _ => Ok(()),
        }
    }

    /// Adds the socket of the session bus. dbus-daemon(1)
    fn dbus(&mut self) -> Result<()> {
        let address = self.variable("DBUS_SESSION_BUS_ADDRESS");
        let Some(address) = address else {
            let lacks = || self.lacks("neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set");
            return self.show_socket(self.runtime(&[b"bus"]).map_err(|_| lacks())?);
        };
        let parts = address.split(|b| *b == b';').flat_map(|one| {
            let one = one.strip_prefix(b"unix:").unwrap_or_default();
            one.split(|b| *b == b',')
        });
        for part in parts {
            if let Some(path) = part.strip_prefix(b"path=") {
                return self.show_socket(path);
            }
            let name = part.strip_prefix(b"abstract=");
            // A name with % in it is encoded.
            if name.is_some_and(|name| name.contains(&b'%') || is_listening(name) != Some(false)) {
                self.say(Id::Abstract, [b"", b""]);
                return Ok(());
            }
        }
        Err(self.lacks("DBUS_SESSION_BUS_ADDRESS names no socket that exists"))
    }

    /// Adds the sockets of `PulseAudio` and `PipeWire`, and the cookie of `PulseAudio`.
    fn pulse(&mut self) -> Result<()> {
        let own = self.variable("PULSE_SERVER").and_then(|server| {
            let path = server.strip_prefix(b"unix:").unwrap_or(server);
            path.starts_with(b"/").then_some(path)
        });
        let sockets = match own {
            Some(path) => alloc::vec![path],
            None => alloc::vec![self.runtime(&[b"pulse", b"native"])?, self.runtime(&[b"pipewire-0"])?],
        };
        if !sockets.iter().any(|socket| is_there(socket)) {
            return self.show_socket(sockets[0]);
        }
        let of_home = || self.variable("HOME").map(|home| join(&[home, b"/.config/pulse/cookie"]));
        let cookie = self.variable("PULSE_COOKIE").or_else(of_home);
        for path in sockets.into_iter().chain(cookie).filter(|path| is_there(path)) {
            self.show(Id::Map, path)?;
        }
        Ok(())
    }

    fn gpu(&mut self) -> Result<()> {
        let devices: Vec<Bytes> = CARDS.iter().map(|name| join(&[b"/dev/", name.as_bytes()])).collect();
        if !devices.iter().any(|path| is_there(path)) {
            return Err(self.lacks("there is no graphics card in /dev"));
        }
        for path in devices.into_iter().filter(|path| is_there(path)) {
            self.say(Id::Dev, [path, b""]);
        }
        for path in ABOUT_CARDS.iter().map(|path| path.as_bytes()).filter(|path| is_there(path)) {
            self.say(Id::Map, [path, path]);
        }
        Ok(())
    }
}

/// Whether there is an abstract socket of this name. `None` if the list cannot be read. proc(5), `/proc/net/unix`
fn is_listening(name: &[u8]) -> Option<bool> {
    let end = join(&[b" @", name]);
    read(b"/proc/net/unix").map(|list| list.split(|b| *b == b'\n').any(|line| line.ends_with(end)))
}

fn is_there(path: &[u8]) -> bool {
    files::identity_of(path).is_ok()
}

/// The absolute path, without `..`. If the last name is a link, the path is that of the link, as it is written.
fn absolute(path: &[u8]) -> Result<Bytes> {
    let is_whole = path.starts_with(b"/") && !path.split(|b| *b == b'/').any(|name| name == b"..");
    if is_whole {
        return Ok(join(&[path]));
    }
    let failed = on("open {}", path);
    let open = |path: &[u8]| files::open(CWD, path, OFlags::PATH).or_fail(failed);
    let file = open(path)?;
    let (above, name) = match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..=at], &path[at + 1..]),
        None => (&b"."[..], path),
    };
    if matches!(name, [] | [b'.'] | [b'.', b'.']) {
        return files::path_of(&file).or_fail(failed);
    }
    let above = files::path_of(&open(above)?).or_fail(failed)?;
    Ok(join(&[above.strip_suffix(b"/").unwrap_or(above), b"/", name]))
}

/// Turns options for the environment into plain ones: patterns become names, and `--pass` removes names from them.
fn variables<'a>(about: &About, options: Vec<Said<'a>>) -> Vec<Said<'a>> {
    let kept: Vec<&[u8]> =
        options.iter().filter(|said| said.opt.id == Id::Pass).map(|said| said.values[0]).collect();
    let is_kept = |name: &[u8]| kept.iter().any(|pattern| matches(pattern, name));
    let mut names = Vec::new();
    for entry in &about.environment {
        let name = entry.to_bytes().split(|b| *b == b'=').next().unwrap_or_default();
        names.push(join(&[name]));
    }
    let mut all = Vec::new();
    for said in options {
        let value = said.values[0];
        let is_out: &dyn Fn(&[u8]) -> bool = match said.opt.id {
            Id::Pass => continue,
            Id::UnsetEnv if is_pattern(value) => &|name| matches(value, name),
            Id::NoSecrets => &|name| {
                let upper = name.to_ascii_uppercase();
                SECRETS.iter().any(|pattern| matches(pattern.as_bytes(), &upper))
            },
            Id::ClearEnv if !kept.is_empty() => &|_| true,
            id => {
                if id == Id::Env {
                    names.push(join(&[value.split(|b| *b == b'=').next().unwrap_or_default()]));
                }
                all.push(said);
                continue;
            }
        };
        let mut out: Vec<Bytes> =
            names.iter().copied().filter(|name| is_out(name) && !is_kept(name)).collect();
        out.sort_unstable();
        out.dedup();
        all.extend(out.into_iter().filter_map(|name| Said::new(Id::UnsetEnv, [name, b""])));
    }
    all
}

/// Whether a name matches a pattern: `*` matches any characters, `?` matches one.
///
/// Where the rest does not match, only the last `*` is tried with more characters. Those before it match as few as
/// possible, which leaves the most to the rest. So the time is at most the product of both lengths.
fn matches(mut pattern: &[u8], mut name: &[u8]) -> bool {
    // What follows the last `*`, and the part of the name that is to match it.
    let mut last = None;
    loop {
        match (pattern, name) {
            ([b'*', rest @ ..], _) => {
                pattern = rest;
                last = Some((rest, name));
            }
            ([b'?', rest @ ..], [_, after @ ..]) => (pattern, name) = (rest, after),
            ([letter, rest @ ..], [same, after @ ..]) if letter == same => (pattern, name) = (rest, after),
            ([], []) => return true,
            _ => match last {
                Some((rest, [_, after @ ..])) => {
                    (pattern, name) = (rest, after);
                    last = Some((rest, after));
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::about::attend::Limits;
    use crate::creds::Caller;
    use crate::handover::Mode;
    use crate::options::{OPTIONS, REPEATABLE, RUN};
    use crate::plan::Tmpfs;
    use alloc::format;
    use alloc::string::String;

    #[test]
    fn a_home_has_as_much_room_as_a_copy() {
        let room = Tmpfs::parse::<Error>(HOME).unwrap();
        assert_eq!(room, Tmpfs { mode: 0o700, ..super::super::overlay::ROOM });
    }

    /// What these options of `run` come to.
    fn meaning(options: &[&'static [u8]]) -> Result<String> {
        let about = About {
            caller: Caller { uid: 1, gid: 1 },
            mode: Mode::SetUid,
            program: c"/usr/bin/selfdock",
            name: c"selfdock",
            environment: alloc::vec![c"A=1", c"B=2"],
        };
        let words = [&[&b"run"[..], b"--clear-env"], options].concat().leak();
        let line = expanded(Line::read(words, &|_| Ok(Vec::new()))?, &about)?;
        let (plain, around) = line.around()?;
        Ok(format!("{:?} {around:?} {:?}", plain.request(line.verb()?)?, Limits::of(&line)?))
    }

    #[test]
    fn the_table_says_which_options_may_be_repeated() {
        for opt in OPTIONS.iter().filter(|opt| !opt.values.is_empty() && opt.verbs & RUN != 0) {
            let [one, other]: [&[&[u8]]; 2] = match opt.id {
                Id::Vol | Id::Map | Id::Overlay => [&[b"/usr", b"/x"], &[b"/etc", b"/y"]],
                Id::Tmpfs => [&[b"-", b"/x"], &[b"-", b"/y"]],
                Id::Env => [&[b"A=3"], &[b"B=4"]],
                Id::UnsetEnv | Id::Pass | Id::Hostname => [&[b"A"], &[b"B"]],
                Id::Net => [&[b"none"], &[b"host"]],
                Id::Rlimit => [&[b"nofile=1"], &[b"core=1"]],
                Id::KeepFd | Id::Timeout | Id::Memory | Id::Pids | Id::Cpus | Id::OutputLimit => {
                    [&[b"3"], &[b"4"]]
                }
                _ => [&[b"/usr"], &[b"/etc"]],
            };
            let name: &[&[u8]] = &[join(&[b"--", opt.long.as_bytes()])];
            let (first, last) = ([name, one].concat(), [name, other].concat());
            let [both, first, last] = [&[&*first, &last].concat(), &first, &last].map(|all| meaning(all));
            let (first, last) = (first.unwrap(), last.unwrap());
            let is_repeatable = both.is_ok_and(|both| both != first && both != last);
            assert_eq!(is_repeatable, REPEATABLE.contains(&opt.id), "--{}", opt.long);
        }
    }

    #[test]
    fn a_pattern_stands_for_names() {
        for (pattern, name, is) in [
            ("AWS_*", "AWS_KEY", true),
            ("AWS_*", "AWS_", true),
            ("AWS_*", "XAWS_KEY", false),
            ("*TOKEN*", "GITHUB_TOKEN_2", true),
            ("A?C", "ABC", true),
            ("A?C", "AC", false),
            ("A", "AB", false),
            ("*", "", true),
            ("", "A", false),
            ("?*", "", false),
            ("A**B", "AB", true),
            ("*AB*ABC", "AABABABC", true),
            ("*AB*ABC", "AABC", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), is, "{pattern} {name}");
        }
    }

    /// Tried with each way to share out the name among the stars, this would take for ever.
    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let (pattern, name) = ("*A".repeat(30), "A".repeat(100));
        assert!(matches(pattern.as_bytes(), name.as_bytes()));
        assert!(!matches((pattern + "*B").as_bytes(), name.as_bytes()));
    }
}
