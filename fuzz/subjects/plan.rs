//! A plan. A mount comes after the mounts that it lies in, no mount is in a wrong place, none is lost, and `--explain`
//! shows the same mounts. This file says a second time which requests are refused, and what the others become.

use super::{Input, about, is_one_line};
use crate::about::attend::Limits;
use crate::about::explain;
use crate::about::front::Around;
use crate::cli::{self, Command, Request};
use crate::error::Error;
use crate::plan::{Mount, Plan, Source, Tmpfs, is_in_shm, make};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

const NAMES: [&str; 14] =
    ["a", "b", "a-b", "ab", "dev", "shm", "proc", "tmp", ".", "..", "", "pts", "null", "c"];
const SOURCES: [&str; 6] = ["/usr", "/", "/etc/passwd", "/none", "", "etc"];
const DIRECTORY: &str = "/usr";

/// A mount that the caller asks for.
enum MountRequest {
    Bind { src: &'static str, dst: String, writable: bool },
    Tmpfs { options: &'static str, dst: String },
    Mask { path: String, optional: bool },
    Device { path: String },
}

/// The expected plan: the mounts sorted by the names of their paths. So each comes after the mounts that it lies in.
#[derive(Default)]
struct Expected {
    mounts: BTreeMap<Vec<String>, Row>,
    devices: Vec<String>,
    shm: Option<String>,
}

/// A line of `--explain`.
type Row = [String; 4];

/// Makes a plan of a request.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (build, here) = (input.below(4) == 1, input.below(4) == 1);
    let roots: Vec<&str> =
        (0..[0, 1, 1, 2][input.below(4)]).map(|_| input.one_of(&["/usr", "/", "//", "/none"])).collect();
    let mut requested = Vec::new();
    while !input.is_over() {
        requested.push(mount_request(&mut input));
    }
    let words = words(&requested, &roots, here, build);
    let bytes: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    let Ok(Command::Run(request)) = cli::parse(&bytes) else { panic!("{words:?} is not understood") };
    let made = make::<Error>(&request, Some(DIRECTORY.as_bytes()));
    if here {
        requested.push(MountRequest::Bind { src: DIRECTORY, dst: DIRECTORY.into(), writable: true });
    }
    let expected = Expected::of(&requested).filter(|_| !build || !roots.is_empty());
    match (made, expected) {
        (Err(error), None) => is_one_line(&error),
        (Ok(plan), Some(expected)) => {
            compare(&plan, &expected, &words);
            explanation(&request, &requested, &roots, &expected, &words);
        }
        (made, expected) => panic!("{words:?}: {made:?}, and allowed: {}", expected.is_some()),
    }
}

fn mount_request(input: &mut Input<'_>) -> MountRequest {
    let kind = input.byte();
    let dst = path(input);
    match kind % 8 {
        0 | 1 => MountRequest::Bind { src: input.one_of(&SOURCES), dst, writable: kind & 1 == 0 },
        2 => MountRequest::Bind { src: SOURCES[0], dst, writable: kind & 8 == 0 },
        3 => MountRequest::Tmpfs {
            options: input.one_of(&["-", "size=1M", "mode=700,size=2k", "size=0", "uid=0"]),
            dst,
        },
        4 | 5 => MountRequest::Mask { path: dst, optional: kind & 1 == 0 },
        6 => MountRequest::Device { path: format!("/dev{dst}") },
        _ => MountRequest::Device { path: dst },
    }
}

fn path(input: &mut Input<'_>) -> String {
    let shape = input.byte();
    let start = if shape & 0x70 == 0x70 { "" } else { "/" };
    let names: Vec<&str> = (0..shape % 5).map(|_| input.one_of(&NAMES)).collect();
    format!("{start}{}", names.join("/"))
}

fn words(requested: &[MountRequest], roots: &[&str], here: bool, build: bool) -> Vec<String> {
    let mut words: Vec<String> = roots.iter().flat_map(|root| ["--root", root]).map(String::from).collect();
    for mount in requested {
        let said = match mount {
            MountRequest::Bind { src, dst, writable } => {
                [if *writable { "--vol" } else { "--map" }, src, dst]
            }
            MountRequest::Tmpfs { options, dst } => ["--tmpfs", options, dst],
            MountRequest::Mask { path, optional: false } => ["--mask", path, ""],
            MountRequest::Mask { path, optional: true } => ["--mask-if-exists", path, ""],
            MountRequest::Device { path } => ["--dev", path, ""],
        };
        let count =
            if matches!(mount, MountRequest::Bind { .. } | MountRequest::Tmpfs { .. }) { 3 } else { 2 };
        words.extend(said[..count].iter().map(ToString::to_string));
    }
    words.extend(here.then(|| "--here".into()));
    words.push(if build { "build" } else { "run" }.into());
    words
}

/// The names of an absolute path without `..`.
fn names(path: &str) -> Option<Vec<String>> {
    let names: Vec<String> =
        path.split('/').filter(|name| !matches!(*name, "" | ".")).map(String::from).collect();
    (path.starts_with('/') && !names.iter().any(|name| name == "..")).then_some(names)
}

/// How `--explain` shows the options of a tmpfs.
fn tmpfs(options: &str) -> Option<String> {
    let (size, mode) = match options {
        "-" => (64 << 20, "1777"),
        "size=1M" => (1 << 20, "1777"),
        "mode=700,size=2k" => (2 << 10, "700"),
        _ => return None,
    };
    Some(format!("rw,nosuid,nodev,size={size},nr_inodes=16384,mode={mode}"))
}

impl Expected {
    /// `None` if a mount is refused.
    fn of(requested: &[MountRequest]) -> Option<Self> {
        let mut all = Expected::default();
        for mount in requested {
            all.add(mount)?;
        }
        Some(all)
    }

    fn add(&mut self, mount: &MountRequest) -> Option<()> {
        let quoted = |text: &str| format!("'{text}'");
        match mount {
            MountRequest::Device { path } => {
                let names = names(path)?;
                let of_instance = ["pts", "shm", "mqueue", "hugepages", "fd"];
                let [dev, first, ..] = &names[..] else { return None };
                if dev != "dev" || of_instance.contains(&first.as_str()) {
                    return None;
                }
                self.devices.push(names[1..].join("/"));
                Some(())
            }
            MountRequest::Tmpfs { options, dst }
                if names(dst).is_some_and(|names| names == ["dev", "shm"]) =>
            {
                let before = self.shm.replace(tmpfs(options)?);
                (before.is_none() || before == self.shm).then_some(())
            }
            MountRequest::Tmpfs { options, dst } => {
                let options = tmpfs(options)?;
                self.mount(dst, ["tmpfs".into(), "-".into(), String::new(), options])
            }
            MountRequest::Mask { path, optional } => {
                let kind = if *optional { "mask-if-exists" } else { "mask" };
                self.mount(path, [kind.into(), "-".into(), String::new(), "ro,nosuid,nodev,noexec".into()])
            }
            MountRequest::Bind { src: "", .. } => None,
            MountRequest::Bind { src, dst, writable } => {
                let (kind, flags) =
                    if *writable { ("volume", "rw,nosuid,nodev") } else { ("map", "ro,nosuid,nodev") };
                self.mount(dst, [kind.into(), quoted(src), String::new(), flags.into()])
            }
        }
    }

    fn mount(&mut self, dst: &str, mut row: Row) -> Option<()> {
        let names = names(dst)?;
        match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] | ["proc", ..] | ["dev"] | ["dev", "shm"] => return None,
            ["dev", second, ..] if second != "shm" => return None,
            _ => {}
        }
        row[2] = format!("'/{}'", names.join("/"));
        let before = self.mounts.insert(names, row.clone());
        before.is_none_or(|before| before == row).then_some(())
    }
}

/// A mount of the plan as `--explain` should show it.
fn row(mount: &Mount<'_>) -> Row {
    let text = |bytes: &[u8]| format!("'{}'", bytes.escape_ascii());
    let (kind, src, flags) = match &mount.source {
        Source::Bind { src, writable: true } => ("volume", text(src), "rw,nosuid,nodev".into()),
        Source::Bind { src, writable: false } => ("map", text(src), "ro,nosuid,nodev".into()),
        Source::Tmpfs(Tmpfs { size, inodes, mode }) => {
            ("tmpfs", "-".into(), format!("rw,nosuid,nodev,size={size},nr_inodes={inodes},mode={mode:o}"))
        }
        Source::Mask { optional: true } => ("mask-if-exists", "-".into(), "ro,nosuid,nodev,noexec".into()),
        Source::Mask { optional: false } => ("mask", "-".into(), "ro,nosuid,nodev,noexec".into()),
    };
    [kind.into(), src, text(mount.dst), flags]
}

fn compare(plan: &Plan<'_>, expected: &Expected, words: &[String]) {
    let made: Vec<Row> = plan.mounts.iter().map(row).collect();
    assert_eq!(made, expected.mounts.values().cloned().collect::<Vec<_>>(), "{words:?}");
    for (at, mount) in plan.mounts.iter().enumerate() {
        let below = [mount.dst, b"/"].concat();
        let is_early = plan.mounts[..at].iter().any(|before| before.dst.starts_with(&below));
        assert!(!is_early, "{words:?}: what lies in {:?} comes before it", mount.dst.escape_ascii());
    }
    let devices: Vec<String> = plan.devices.iter().map(|path| path.escape_ascii().to_string()).collect();
    assert_eq!(devices, expected.devices, "{words:?}");
}

/// Whether an error is one of those that an instance has when it is built.
fn is_of_a_mount(error: &Error) -> bool {
    let text = error.to_string();
    ["mask '", "make the mount point '", "bind '", "mount on '"].iter().any(|start| text.starts_with(start))
}

/// The rows of `--explain` are the mounts of the plan. Mounts in `/dev/shm` follow it. A missing source is reported.
fn explanation(
    request: &Request<'_>,
    requested: &[MountRequest],
    roots: &[&str],
    expected: &Expected,
    words: &[String],
) {
    let is_missing = |mount: &MountRequest| match mount {
        // This depends on the machine.
        MountRequest::Bind { src, .. } => *src == "/none" || *src == "etc",
        MountRequest::Device { path } => names(path).is_none_or(|names| names[1..] != ["null"]),
        _ => false,
    };
    // explain looks up the current directory by itself.
    if request.here || requested.iter().any(is_missing) || roots.contains(&"/none") {
        return;
    }
    let rows = explain::rows(&about(), request, true, &Around::default(), &Limits::default());
    let rows = match rows {
        Ok(rows) => rows,
        // Whether a mount can be made depends on what is in `/usr`, and on the mounts before it.
        Err(error) if is_of_a_mount(&error) => return is_one_line(&error),
        Err(error) => panic!("{words:?}: {error}"),
    };
    let told: Vec<Row> = rows
        .into_iter()
        .filter(|row| matches!(&*row[0], "volume" | "map" | "tmpfs" | "mask" | "mask-if-exists"))
        .map(|row| row.try_into().expect("four fields"))
        .collect();
    let fresh = |at: &str, flags: String| ["tmpfs".into(), "-".into(), format!("'{at}'"), flags];
    let default = || tmpfs("-").expect("the default");
    let own = |(_, row): (&Vec<String>, &Row)| row.clone();
    let (in_shm, others): (Vec<_>, Vec<_>) =
        expected.mounts.iter().partition(|(names, _)| is_in_shm(format!("/{}", names.join("/")).as_bytes()));
    let mut wanted = Vec::from([fresh("/tmp", default())]);
    wanted.extend(others.into_iter().map(own));
    wanted.push(fresh("/dev/shm", expected.shm.clone().unwrap_or_else(default)));
    wanted.extend(in_shm.into_iter().map(own));
    assert_eq!(told, wanted, "{words:?}");
}
