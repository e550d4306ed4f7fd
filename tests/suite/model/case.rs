//! A case: trees, and a chain of instances that are made of them. The paths of a command line are chosen among those
//! that exist where it is started, so that few of them are missing.

use super::view::View;
use super::world::{self, NAMES, Tree, World};
use crate::support::args;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::ffi::OsString;

/// Devices that many machines have. An instance has them only on request.
pub const DEVICES: [&str; 4] = ["/dev/fuse", "/dev/kmsg", "/dev/kvm", "/dev/loop-control"];

#[derive(Clone, Debug)]
pub struct Case {
    pub trees: Vec<(&'static str, Tree)>,
    /// The instances, the outermost first.
    pub levels: Vec<Level>,
    /// The instance that `enter` joins from outside. The joiner starts the rest of the chain. `None` if nobody joins.
    pub enter: Option<u8>,
}

#[derive(Clone, Debug)]
pub struct Level {
    build: bool,
    unprivileged: bool,
    root: Root,
    mounts: Vec<MountRequest>,
}

#[derive(Clone, Debug)]
enum Root {
    Host,
    Image(u16),
    Layers(Vec<u16>),
}

#[derive(Clone, Debug)]
enum MountRequest {
    Bind { src: Source, dst: Place, writable: bool },
    Tmpfs { mode: u32, dst: Place },
    Mask { dst: Place, optional: bool },
    Device(&'static str),
}

#[derive(Clone, Debug)]
enum Source {
    /// One of the existing paths.
    There(u16),
    Named(Vec<&'static str>),
}

#[derive(Clone, Debug)]
enum Place {
    /// A path in the image, or a new name below it.
    There(u16, Option<&'static str>),
    /// A path below this directory.
    In(&'static str, Vec<&'static str>),
}

fn names() -> impl Strategy<Value = Vec<&'static str>> {
    vec(select(&NAMES[..]), 1..4)
}

fn place() -> impl Strategy<Value = Place> {
    let below = select(&["", "", "", "", "/tmp", "/dev/shm", "/home", "/srv", "/etc", "/mnt"][..]);
    prop_oneof![
        3 => (any::<u16>(), proptest::option::weighted(0.3, select(&NAMES[..])))
            .prop_map(|(which, name)| Place::There(which, name)),
        3 => (below, names()).prop_map(|(below, names)| Place::In(below, names)),
    ]
}

fn mount_request() -> impl Strategy<Value = MountRequest> {
    let source = prop_oneof![
        12 => any::<u16>().prop_map(Source::There),
        1 => names().prop_map(Source::Named),
    ];
    let mode = prop_oneof![3 => Just(0o1777), 1 => select(&[0o700, 0o755, 0o500, 0o000][..])];
    prop_oneof![
        5 => (source, place(), any::<bool>())
            .prop_map(|(src, dst, writable)| MountRequest::Bind { src, dst, writable }),
        2 => (mode, place()).prop_map(|(mode, dst)| MountRequest::Tmpfs { mode, dst }),
        2 => (place(), proptest::bool::weighted(0.8)).prop_map(|(dst, optional)| MountRequest::Mask { dst, optional }),
        1 => select(&DEVICES[..]).prop_map(MountRequest::Device),
    ]
}

fn level() -> impl Strategy<Value = Level> {
    let root = prop_oneof![
        3 => Just(Root::Host),
        3 => any::<u16>().prop_map(Root::Image),
        2 => vec(any::<u16>(), 2..4).prop_map(Root::Layers),
    ];
    (proptest::bool::weighted(0.2), proptest::bool::weighted(0.2), root, vec(mount_request(), 0..5))
        .prop_map(|(build, unprivileged, root, mounts)| Level { build, unprivileged, root, mounts })
}

pub fn any_case() -> impl Strategy<Value = Case> {
    let trees = (world::image(), world::image(), world::source(), world::source())
        .prop_map(|(i, j, s, t)| vec![("i", i), ("j", j), ("s", s), ("t", t)]);
    (trees, vec(level(), 1..4), proptest::option::weighted(0.3, any::<u8>()))
        .prop_map(|(trees, levels, enter)| Case { trees, levels, enter })
}

/// The options of a level.
pub struct Request {
    pub build: bool,
    pub unprivileged: bool,
    /// `None` for the host's root filesystem.
    pub roots: Vec<String>,
    pub mounts: Vec<Mount>,
}

#[derive(Clone, PartialEq)]
pub struct Mount {
    pub dst: String,
    pub what: What,
}

#[derive(Clone, PartialEq)]
pub enum What {
    Bind { src: String, writable: bool },
    Tmpfs { mode: u32 },
    Mask { optional: bool },
    Device,
}

impl Level {
    /// The options of this level if it is started in `view`.
    pub fn request(&self, view: &View, world: &World) -> Request {
        let there = view.places();
        let pick = |which: u16, all: &[String]| {
            (!all.is_empty()).then(|| all[usize::from(which) % all.len()].clone())
        };
        let images: Vec<String> = ["i", "j"].map(|name| format!("{}/{name}", world.path().display())).into();
        let directories: Vec<String> = there.iter().filter(|path| view.is_directory(path)).cloned().collect();
        let image = |which: u16| {
            let known: Vec<String> = images.iter().filter(|path| view.is_directory(path)).cloned().collect();
            // Mostly a tree that was made as an image.
            let all = if which % 8 < 6 && !known.is_empty() { known } else { directories.clone() };
            pick(which / 8, &all).unwrap_or("/a".into())
        };
        let mut roots = match &self.root {
            Root::Host if view.is_of_host && !self.build => Vec::new(),
            Root::Host => vec![image(0)],
            Root::Image(which) => vec![image(*which)],
            Root::Layers(all) => all.iter().map(|which| image(*which)).collect(),
        };
        roots.retain(|root| root != "/");
        if roots.is_empty() && !view.is_of_host {
            roots.push("/a".into());
        }
        let in_image = match &roots[..] {
            [] => there.clone(),
            roots => roots.iter().flat_map(|root| view.places_in(root)).collect(),
        };
        let place = |place: &Place| match place {
            Place::There(which, name) => {
                let at = pick(*which, &in_image).unwrap_or("/a".into());
                name.map_or(at.clone(), |name| format!("{at}/{name}"))
            }
            Place::In(below, names) => format!("{below}/{}", names.join("/")),
        };
        // Mostly a directory on a directory, and a file on a file.
        let is_directory = |dst: &str| {
            let tops = if roots.is_empty() { vec![String::new()] } else { roots.clone() };
            let top = tops.iter().find(|top| view.is_there(&format!("{top}{dst}")))?;
            Some(view.is_directory(&format!("{top}{dst}")))
        };
        let source = |source: &Source, dst: &str| match source {
            Source::There(which) => {
                let is_fit =
                    |path: &&String| is_directory(dst).is_none_or(|is| view.is_directory(path) == is);
                let fit: Vec<String> = there.iter().filter(is_fit).cloned().collect();
                let all = if which % 8 == 0 || fit.is_empty() { &there } else { &fit };
                pick(which / 8, all).unwrap_or("/a".into())
            }
            Source::Named(names) => format!("/{}", names.join("/")),
        };
        let mount = |request: &MountRequest| match request {
            MountRequest::Bind { src, dst, writable } => {
                let dst = place(dst);
                Mount { what: What::Bind { src: source(src, &dst), writable: *writable }, dst }
            }
            MountRequest::Tmpfs { mode, dst } => {
                let dst = place(dst);
                Mount { dst, what: What::Tmpfs { mode: *mode } }
            }
            MountRequest::Device(path) => Mount { dst: (*path).into(), what: What::Device },
            MountRequest::Mask { dst, optional } => {
                Mount { dst: place(dst), what: What::Mask { optional: *optional } }
            }
        };
        let mounts = self.mounts.iter().map(mount).collect();
        Request { build: self.build, unprivileged: self.unprivileged, roots, mounts }
    }
}

impl Request {
    /// The command word and the options.
    pub fn words(&self) -> Vec<OsString> {
        let mut words = args![if self.build { "build" } else { "run" }].to_vec();
        words.extend(self.unprivileged.then(|| "--unprivileged".into()));
        words.extend(self.roots.iter().flat_map(|root| args!["--root", root]));
        for Mount { dst, what } in &self.mounts {
            match what {
                What::Bind { src, writable: true } => words.extend(args!["--vol", src, dst]),
                What::Bind { src, writable: false } => words.extend(args!["--map", src, dst]),
                What::Tmpfs { mode } => words.extend(args!["--tmpfs", format!("mode={mode:o}"), dst]),
                What::Mask { optional: true } => words.extend(args!["--mask-if-exists", dst]),
                What::Device => words.extend(args!["--dev", dst]),
                What::Mask { optional: false } => words.extend(args!["--mask", dst]),
            }
        }
        words
    }
}
