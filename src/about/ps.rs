//! `selfdock ps`: lists the caller's instances, as `/proc` shows them here.

use super::{foreign, overlay};
use crate::cli::{self, Command, MountRequest, Request};
use crate::error::{FAILED, OrFail, Result, is_unprintable, say};
use crate::handover::About;
use crate::instance::{Instance, is_below};
use crate::lifeline::expect_end;
use crate::outcome::End;
use crate::plan::components;
use crate::process::{self, Process, after_name, arguments, path, read, words};
use crate::text::{Bytes, join, whole};
use crate::{files, mountinfo, sys};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use rustix::event::{Timespec, poll};
use rustix::fs::{CWD, FileType};
use rustix::process::{Pid, WaitOptions};

/// One instance.
struct Listed {
    supervisor: Pid,
    /// The PID of its command here. It differs from the PID inside, and other tools on the host need it.
    command: Pid,
    /// Seconds since it started.
    age: u64,
    /// The nesting level: 1 for an instance started from here, 2 for an instance inside that one.
    level: usize,
    /// Memory of all its processes, in KiB.
    memory: u64,
    /// The values of `--root`, or `/` for the host's. A later one lies over the earlier ones.
    roots: Vec<Bytes>,
    words: Vec<Bytes>,
}

const SECOND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Prints the table or JSON, once or every second until a signal ends it.
pub fn print_list(about: &About, json: bool, watch: bool) -> Result<End> {
    if !watch {
        return print_once(about, json, "").map(|()| End::Exit(0));
    }
    let clear = if sys::is_terminal(1) { "\x1b[H\x1b[2J" } else { "" };
    expect_end()?;
    loop {
        // A child does it, since its memory is freed when it ends; this program never frees memory.
        let act = || print_once(about, json, clear).map_or_else(|error| error.report(), |()| 0);
        let child = sys::start_child(0, act).or_fail("start a process")?;
        let status =
            rustix::process::waitpid(Some(child), WaitOptions::empty()).or_fail("wait for a process")?;
        match status.map(|(_, status)| (status.exit_status(), status.terminating_signal())) {
            Some((Some(0), _)) => {}
            // The reader has closed the pipe.
            Some((_, Some(signal))) => return Ok(End::Signal(signal)),
            _ => return Ok(End::Exit(FAILED)),
        }
        let _ = poll(&mut [], Some(&SECOND));
    }
}

fn print_once(about: &About, json: bool, before: &str) -> Result<()> {
    let text = format!("{before}{}", text(about, json)?);
    super::print(text.as_bytes())
}

/// The text: a table, or JSON.
fn text(about: &About, json: bool) -> Result<String> {
    let program = files::identity_of(about.program.to_bytes()).ok();
    let all = process::all()?;
    let here = all.iter().map(|process| process.depth).min().unwrap_or(1);
    let mut found = Vec::new();
    for keeper in all.iter().filter(|process| process.is_pid1() && process.depth > here && !process.ended) {
        let supervisor = keeper.parent.and_then(|pid| all.iter().copied().find(|process| process.pid == pid));
        let yours = |process: &Process| process.ids.is_some_and(|(owner, _)| owner == about.caller.uid);
        if let Some(instance) = supervisor.filter(yours).and_then(|process| Instance::of(process, program)) {
            found.push(describe(&instance, &all, here));
        }
    }
    if hides_processes() {
        let why = "selfdock: ps: /proc hides processes here (hidepid), so instances may be missing\n";
        say(sys::standard(2), why.as_bytes());
    }
    Ok(if json { as_json(&found) } else { as_table(&found) })
}

/// Whether /proc hides processes that the caller may not inspect, such as supervisors. proc(5)
fn hides_processes() -> bool {
    let list = read(b"/proc/self/mountinfo").unwrap_or_default();
    mountinfo::lines(list).filter(|mount| mount.point == b"/proc").any(|mount| {
        let hides =
            |option: &[u8]| option.strip_prefix(b"hidepid=").is_some_and(|how| how != b"0" && how != b"off");
        mount.super_options.split(|b| *b == b',').any(hides)
    })
}

fn describe(instance: &Instance, all: &[Process], here: usize) -> Listed {
    let (supervisor, command, keeper) = (instance.supervisor.pid, instance.command.pid, instance.keeper.pid);
    let inside = |process: &&Process| is_below(process, &[command, keeper], all);
    Listed {
        supervisor,
        command,
        age: age(supervisor),
        level: instance.keeper.depth - here,
        memory: all.iter().filter(inside).map(|process| process.memory).sum(),
        roots: roots(&arguments(supervisor), command),
        words: command_line(supervisor, command),
    }
}

/// The words of the command. Before the command is executed it shares selfdock's memory, and shows selfdock's words;
/// while it is executed it shows none. Then they are taken from selfdock's.
fn command_line(supervisor: Pid, command: Pid) -> Vec<Bytes> {
    let (words, of_supervisor) = (arguments(command), arguments(supervisor));
    let is_known = words.iter().any(|word| !word.is_empty());
    if is_known && words != of_supervisor {
        return words;
    }
    match cli::parse(of_supervisor.get(1..).unwrap_or_default()) {
        Ok(Command::Run(request)) if !request.command.is_empty() => {
            request.command.iter().map(|w| join(&[w])).collect()
        }
        _ => words,
    }
}

/// The root filesystem, as the supervisor's command line names it. Relative paths are made absolute, if possible.
fn roots(supervisor: &[Bytes], command: Pid) -> Vec<Bytes> {
    let Ok(Command::Run(request)) = cli::parse(supervisor.get(1..).unwrap_or_default()) else {
        return Vec::from([&b"/"[..]]);
    };
    match request.roots[..] {
        [] => Vec::from([&b"/"[..]]),
        [one] if request.build && is_copy(one) => copied(one),
        _ => {
            let place = |told: &&[u8]| match told {
                told if told.ends_with(overlay::BARE_HOST) => b"/",
                [b'/', ..] => join(&[told]),
                _ => place_of_root(command, told, &request).unwrap_or_else(|| join(&[told])),
            };
            request.roots.iter().map(place).collect()
        }
    }
}

/// Whether this is the path of a copy of an image.
fn is_copy(path: &[u8]) -> bool {
    path.windows(overlay::OF_IMAGE.len()).any(|part| part == overlay::OF_IMAGE)
}

/// The root filesystems of which such a path is a copy.
fn copied(mut path: &[u8]) -> Vec<Bytes> {
    let mut all = Vec::new();
    let next = |path: &[u8]| path.windows(overlay::OF_IMAGE.len()).position(|part| part == overlay::OF_IMAGE);
    while let Some(at) = next(path) {
        path = &path[at + overlay::OF_IMAGE.len()..];
        let root = &path[..next(path).unwrap_or(path.len())];
        all.push(join(&[if root.is_empty() { b"/" } else { root }]));
    }
    all
}

/// Finds the absolute path of a relative root filesystem. It looks for a mount inside at its own path, and for the
/// same file system here. The path must end as the command line says. If that says nothing (`..`), all mounts of the
/// image must lie in one directory.
fn place_of_root(pid: Pid, named: &[u8], request: &Request<'_>) -> Option<Bytes> {
    let names: Vec<&[u8]> = components(named).collect();
    let known = names.iter().rposition(|name| *name == b"..").map_or(&names[..], |at| &names[at + 1..]);
    let end = known.iter().fold(&b""[..], |path, name| join(&[path, b"/", name]));
    let (theirs, ours) = (read(path(pid, b"mountinfo"))?, read(b"/proc/self/mountinfo")?);
    let without_slash = |path: Bytes| if path == b"/" { &b""[..] } else { path };
    let is_of_caller = |point: &[u8]| {
        let is_it = |dst: &[u8]| components(dst).eq(components(point));
        request.mounts.iter().any(|mount| matches!(mount, MountRequest::Bind { dst, .. } if is_it(dst)))
    };
    // The instance's own files and `/dev` are of the host.
    let is_of_image = |place: &[u8], point: &[u8]| {
        let is_directory = || files::kind(CWD, join(&[place, point])) == Ok(FileType::Directory);
        !end.is_empty() || (point != b"/dev" && is_directory())
    };
    let mut places = mountinfo::lines(theirs).filter_map(|inside| {
        let base = inside.root.strip_suffix(without_slash(inside.point))?;
        if is_of_caller(inside.point) {
            return None;
        }
        mountinfo::lines(ours).filter(|mount| mount.device == inside.device).find_map(|mount| {
            let below = base.strip_prefix(without_slash(mount.root))?;
            let place = join(&[without_slash(mount.point), below]);
            let fits = place.ends_with(end) && is_of_image(place, inside.point);
            (fits && files::identity_of(place).is_ok()).then_some(place)
        })
    });
    let first = places.next()?;
    (!end.is_empty() || places.all(|place| place == first)).then_some(first)
}

/// Seconds since a process started: field 22 of its `stat`, in hundredths since the start of
/// the machine.
fn age(pid: Pid) -> u64 {
    // The field's place after the name, which is the second one; and the hundredths.
    const STARTED: usize = 19;
    const TICKS: u64 = 100;
    let stat = read(path(pid, b"stat")).unwrap_or_default();
    let after = after_name(stat).unwrap_or(stat);
    let started = words(after).nth(STARTED).and_then(whole).unwrap_or(0) / TICKS;
    let uptime = read(b"/proc/uptime").unwrap_or_default();
    let now = uptime.split(|b| *b == b'.').next().and_then(whole).unwrap_or(0);
    now.saturating_sub(started)
}

/// Words as a user would type them.
fn typed(words: &[impl AsRef<[u8]>]) -> String {
    words.iter().map(|word| foreign::typed(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// Root filesystems that lie over each other, the last one on top: `/ + /srv/mine`.
fn layers(roots: &[Bytes]) -> String {
    roots.iter().map(|root| foreign::typed(root)).collect::<Vec<_>>().join(" + ")
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds / 3600 % 24),
    }
}

fn as_table(all: &[Listed]) -> String {
    let mut out = String::from("    PID     AGE LEVEL  MEMORY ROOT             COMMAND LINE\n");
    for one in all {
        let pid = one.supervisor.as_raw_nonzero();
        let (age, memory) = (span(one.age), format!("{}k", one.memory));
        let (root, line) = (layers(&one.roots), typed(&one.words));
        let _ = writeln!(out, "{pid:>7} {age:>7} {:>5} {memory:>7} {root:<16} {line}", one.level);
    }
    out
}

fn as_json(all: &[Listed]) -> String {
    let mut out = String::from("[");
    for (i, one) in all.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        let (pid, command) = (one.supervisor.as_raw_nonzero(), one.command.as_raw_nonzero());
        let _ = write!(
            out,
            "{comma}\n{{\"pid\":{pid},\"command_pid\":{command},\"age_seconds\":{},\"level\":{},\"memory_kib\":{},\
             \"root\":{},\"command\":[",
            one.age,
            one.level,
            one.memory,
            Json(&one.roots.join(&b" + "[..])),
        );
        for (i, word) in one.words.iter().enumerate() {
            let _ = write!(out, "{}{}", if i == 0 { "" } else { "," }, Json(word));
        }
        out.push_str("]}");
    }
    out.push_str(if all.is_empty() { "]\n" } else { "\n]\n" });
    out
}

/// A JSON string. Bytes that are not UTF-8 become the replacement character.
struct Json<'a>(&'a [u8]);

impl core::fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' | '\\' => write!(f, "\\{c}")?,
                    // The same characters are escaped as in the table. None of them is above U+FFFF.
                    _ if is_unprintable(c) => write!(f, "\\u{:04x}", c as u32)?,
                    _ => f.write_char(c)?,
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_char('\u{fffd}')?;
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::split;

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(format!("{}", Json(b"a\"\\\n\xff")), "\"a\\\"\\\\\\u000a\u{fffd}\"");
        assert_eq!(format!("{}", Json("\u{7f}\u{9b}\u{202e}é".as_bytes())), "\"\\u007f\\u009b\\u202eé\"");
    }

    #[test]
    fn unusual_words_are_quoted() {
        let words = [b"sh".to_vec(), b"-c".to_vec(), b"a b\n".to_vec(), Vec::new()];
        assert_eq!(typed(&words), "sh -c 'a b\\n' ''");
    }

    #[test]
    fn the_root_is_what_the_supervisor_was_told() {
        let own = rustix::process::getpid();
        let root = |words: &[Bytes], pid| layers(&roots(words, pid));
        assert_eq!(root(&split(b"selfdock\0--root\0/a\0run\0sh\0"), own), "/a");
        assert_eq!(root(&split(b"selfdock\0run\0sh\0"), own), "/");
        assert_eq!(root(&split(b"selfdock\0--root\0a\0--root\0/b\0run\0sh\0"), own), "a + /b");
    }
}
