//! The model: what is at each path, as a tree of values. A bind replaces one subtree by a copy of another. The model
//! repeats the promises of README.md and ARCHITECTURE.md, without system calls and without code of selfdock: which
//! mounts there are and in which order, which mount points are made, where links lead, and what is refused.

use super::case::{DEVICES, Mount, Request, What};
use super::world::{NAMES, Tree, World};
use crate::support::selfdock;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    Missing,
    NoDirectory,
    Denied,
    TooManyLinks,
}

/// Why there is no instance.
#[derive(Debug)]
pub enum Stop {
    Refused(String, Option<Errno>),
    /// The result depends on something that the model does not know.
    Unknown,
}

type Result<T = ()> = std::result::Result<T, Stop>;

fn refuse<T>(why: impl Into<String>) -> Result<T> {
    Err(Stop::Refused(why.into(), None))
}

fn failed<T>(why: impl Into<String>, errno: Errno) -> Result<T> {
    Err(Stop::Refused(why.into(), Some(errno)))
}

/// The flags of a mount, and whether it is the instance's own.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    read_only: bool,
    no_exec: bool,
    /// A new file system of this instance. Mount points can be made in it while the instance is built.
    own: bool,
    /// Read-only after the instance is built.
    read_only_in_the_end: bool,
}

const READ_ONLY: Flags = Flags { read_only: true, no_exec: false, own: false, read_only_in_the_end: false };
/// A mount that only covers something.
const INERT: Flags = Flags { no_exec: true, ..READ_ONLY };
/// A tmpfs that the command can write to.
const TMPFS: Flags = Flags { read_only: false, own: true, ..READ_ONLY };
/// A new directory of the instance, for mount points.
const SCAFFOLD: Flags = Flags { read_only_in_the_end: true, ..TMPFS };

#[derive(Clone, Debug)]
enum Node {
    Dir(Dir),
    File { mode: u32, text: Text, flags: Flags },
    Link(String),
    Device,
}

#[derive(Clone, Debug)]
struct Dir {
    mode: u32,
    entries: BTreeMap<String, Node>,
    flags: Flags,
    /// Whether it can have entries that the model does not know.
    is_partial: bool,
    /// The same number at all paths where this directory is mounted.
    identity: usize,
}

#[derive(Clone, Debug)]
enum Text {
    Known(String),
    /// A file of the host, or a copy of one.
    OfHost,
    /// A file that names the caller.
    NamesCaller,
    /// selfdock's own programs.
    Program,
}

/// The names on a path, from the root on.
type Names = Vec<String>;

#[derive(Clone, Debug)]
pub struct View {
    root: Dir,
    /// Whether it is the host, or an instance of the host's root filesystem.
    pub is_of_host: bool,
    identities: usize,
}

fn split(path: &str) -> Vec<String> {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).map(String::from).collect()
}

fn split_path(path: &Path) -> Vec<String> {
    split(path.to_str().expect("a path in Unicode"))
}

impl Dir {
    fn may_search(&self) -> bool {
        self.mode & 0o100 != 0
    }

    fn may_list(&self) -> bool {
        self.mode & 0o400 != 0
    }

    fn may_change(&self) -> bool {
        self.mode & 0o300 == 0o300
    }

    fn get(&self, at: &[String]) -> Option<&Node> {
        let (name, rest) = at.split_first()?;
        match (self.entries.get(name)?, rest) {
            (found, []) => Some(found),
            (Node::Dir(dir), rest) => dir.get(rest),
            _ => None,
        }
    }

    fn dir(&self, at: &[String]) -> Option<&Dir> {
        match at {
            [] => Some(self),
            at => match self.get(at)? {
                Node::Dir(dir) => Some(dir),
                _ => None,
            },
        }
    }

    fn dir_mut(&mut self, at: &[String]) -> Option<&mut Dir> {
        match at.split_first() {
            None => Some(self),
            Some((name, rest)) => match self.entries.get_mut(name)? {
                Node::Dir(dir) => dir.dir_mut(rest),
                _ => None,
            },
        }
    }

    /// Puts a node at a path whose directory exists.
    fn put(&mut self, at: &[String], node: Node) {
        let (name, above) = at.split_last().expect("not the root");
        self.dir_mut(above).expect("a directory").entries.insert(name.clone(), node);
    }
}

impl Node {
    /// Adds an entry to a directory, everywhere that it is mounted.
    fn spread(&mut self, identity: usize, name: &str, entry: &Node) {
        if let Node::Dir(dir) = self {
            dir.spread(identity, name, entry);
        }
    }

    /// Changes the flags of all mounts in it.
    fn change(&mut self, change: &impl Fn(&mut Flags)) {
        match self {
            Node::Link(_) | Node::Device => {}
            Node::File { flags, .. } => change(flags),
            Node::Dir(dir) => dir.change(change),
        }
    }
}

impl Dir {
    fn spread(&mut self, identity: usize, name: &str, entry: &Node) {
        if self.identity == identity && !self.entries.contains_key(name) {
            let mut entry = entry.clone();
            entry.change(&|flags| *flags = self.flags);
            self.entries.insert(name.into(), entry);
        }
        self.entries.values_mut().for_each(|node| node.spread(identity, name, entry));
    }

    fn change(&mut self, change: &impl Fn(&mut Flags)) {
        change(&mut self.flags);
        self.entries.values_mut().for_each(|node| node.change(change));
    }
}

fn tighten(flags: &mut Flags) {
    flags.read_only = true;
}

/// The flags that the next instance sees: no file system is its own.
fn end(flags: &mut Flags) {
    flags.read_only |= flags.read_only_in_the_end;
    (flags.own, flags.read_only_in_the_end) = (false, false);
}

impl View {
    fn new(mode: u32, flags: Flags) -> Self {
        let root = Dir { mode, entries: BTreeMap::new(), flags, is_partial: false, identity: 0 };
        View { root, is_of_host: false, identities: 1 }
    }

    fn new_dir(&mut self, mode: u32, flags: Flags) -> Dir {
        self.identities += 1;
        Dir { mode, entries: BTreeMap::new(), flags, is_partial: false, identity: self.identities }
    }

    /// The parts of the host that matter for a case.
    pub fn of_host(world: &World, trees: &[(&'static str, Tree)]) -> Self {
        let mut host = View::new(0o755, Flags::default());
        (host.is_of_host, host.root.is_partial) = (true, true);
        for path in ["/etc/resolv.conf", "/etc/hosts", "/etc/passwd", "/etc/group"] {
            host.extend_by_file(path);
        }
        for path in DEVICES {
            if fs::metadata(path).is_ok_and(|about| about.file_type().is_char_device()) {
                host.put_partial(&split(path), Node::Device);
            }
        }
        let program = Node::File { mode: 0o555, text: Text::Program, flags: Flags::default() };
        host.put_partial(&split_path(&selfdock()), program);
        let mut dir = host.new_dir(0o755, Flags::default());
        for (name, tree) in trees {
            let node = host.of_tree(name, tree);
            dir.entries.insert((*name).into(), node);
        }
        host.put_partial(&split_path(world.path()), Node::Dir(dir));
        host
    }

    /// Adds a file of the host that does not belong to the caller.
    fn extend_by_file(&mut self, path: &str) {
        let Ok(about) = fs::metadata(path) else { return };
        let lines = fs::read_to_string(path).unwrap_or_default();
        let ids = [nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw()].map(|id| id.to_string());
        let is_named = |line: &str| line.split(':').nth(2).is_some_and(|id| ids.iter().any(|own| own == id));
        let text = if lines.lines().any(is_named) { Text::NamesCaller } else { Text::OfHost };
        let mode = (about.mode() & 0o5) << 6;
        self.put_partial(&split(path), Node::File { mode, text, flags: Flags::default() });
    }

    /// Puts a node into directories whose other entries are not known.
    fn put_partial(&mut self, at: &[String], node: Node) {
        for length in 1..at.len() {
            if self.root.get(&at[..length]).is_none() {
                let mut dir = self.new_dir(0o755, self.root.flags);
                dir.is_partial = true;
                self.root.put(&at[..length], Node::Dir(dir));
            }
        }
        self.root.put(at, node);
    }

    fn of_tree(&mut self, path: &str, tree: &Tree) -> Node {
        let flags = Flags::default();
        match tree {
            Tree::Link(target) => Node::Link((*target).into()),
            Tree::File { mode } => Node::File { mode: *mode, text: Text::Known(path.into()), flags },
            Tree::Dir { mode, entries } => {
                let mut dir = self.new_dir(*mode, flags);
                for (name, tree) in entries {
                    let node = self.of_tree(&format!("{path}/{name}"), tree);
                    dir.entries.insert((*name).into(), node);
                }
                Node::Dir(dir)
            }
        }
    }

    // ---- paths ------------------------------------------------------------------------------

    /// Where a path leads if links are followed. No link leads out of the root.
    fn walk(&self, path: &str) -> Result<std::result::Result<Names, Errno>> {
        let (mut at, mut links): (Names, _) = (Vec::new(), 0);
        let mut to_go = split(path);
        to_go.reverse();
        while let Some(name) = to_go.pop() {
            let Some(dir) = self.root.dir(&at) else { return Ok(Err(Errno::NoDirectory)) };
            if !dir.may_search() {
                return Ok(Err(Errno::Denied));
            }
            if name == ".." {
                at.pop();
                continue;
            }
            match dir.entries.get(&name) {
                None if dir.is_partial && !self.is_surely_missing(&at, &name) => return Err(Stop::Unknown),
                None => return Ok(Err(Errno::Missing)),
                Some(Node::Link(_)) if links == 40 => return Ok(Err(Errno::TooManyLinks)),
                Some(Node::Link(target)) => {
                    links += 1;
                    if target.starts_with('/') {
                        at.clear();
                    }
                    to_go.extend(split(target).into_iter().rev());
                }
                Some(_) => at.push(name),
            }
        }
        Ok(Ok(at))
    }

    /// Whether no host has this entry. No root directory of a host has the names of the cases, and devices are known.
    fn is_surely_missing(&self, at: &[String], name: &str) -> bool {
        match at {
            [] => NAMES.contains(&name),
            [dev] => dev == "dev" && DEVICES.contains(&&*format!("/dev/{name}")),
            _ => false,
        }
    }

    /// Whether a path exists if no link is followed.
    fn literally(&self, at: &[String]) -> Result<std::result::Result<(), Errno>> {
        for length in 0..at.len() {
            let Some(dir) = self.root.dir(&at[..length]) else { return Ok(Err(Errno::NoDirectory)) };
            if !dir.may_search() {
                return Ok(Err(Errno::Denied));
            }
            match dir.entries.get(&at[length]) {
                None if dir.is_partial && !self.is_surely_missing(&at[..length], &at[length]) => {
                    return Err(Stop::Unknown);
                }
                None => return Ok(Err(Errno::Missing)),
                Some(Node::Link(_)) => return Ok(Err(Errno::TooManyLinks)),
                Some(_) => {}
            }
        }
        Ok(Ok(()))
    }

    /// The path after links are followed as far as it exists: where a missing mount point would be made.
    fn meant(&self, path: &str) -> Result<std::result::Result<Names, Errno>> {
        let (mut at, mut links): (Names, _) = (Vec::new(), 0);
        let mut to_go = split(path);
        to_go.reverse();
        while let Some(name) = to_go.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            at.push(name);
            match self.literally(&at)? {
                Err(Errno::Denied) => return Ok(Err(Errno::Denied)),
                Err(Errno::TooManyLinks) => {
                    let Some(Node::Link(target)) = self.root.get(&at) else {
                        unreachable!("the way has no link")
                    };
                    links += 1;
                    if links > 40 {
                        return Ok(Err(Errno::TooManyLinks));
                    }
                    at.pop();
                    if target.starts_with('/') {
                        at.clear();
                    }
                    to_go.extend(split(target).into_iter().rev());
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(Ok(at))
    }

    // ---- paths for a case -------------------------------------------------------------------

    /// All paths that exist here.
    pub fn places(&self) -> Vec<String> {
        self.places_in("")
    }

    /// All paths that exist below a directory, relative to it.
    pub fn places_in(&self, top: &str) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(dir) = self.root.dir(&split(top)) {
            list(dir, "", &mut all);
        }
        all
    }

    pub fn is_there(&self, path: &str) -> bool {
        matches!(self.walk(path), Ok(Ok(_)))
    }

    pub fn is_directory(&self, path: &str) -> bool {
        matches!(self.walk(path), Ok(Ok(at)) if self.root.dir(&at).is_some())
    }

    pub fn can_execute(&self, path: &Path) -> bool {
        let found = self.walk(path.to_str().expect("a path"));
        matches!(found, Ok(Ok(at)) if matches!(self.root.get(&at), Some(Node::File { mode, .. }) if mode & 0o100 != 0))
    }

    // ---- instances ----------------------------------------------------------------------------

    /// The view of an instance that is started here.
    pub fn instance(&self, request: &Request) -> Result<View> {
        let (mounts, shm) = plan(&request.mounts)?;
        let mut sources = Vec::new();
        for mount in &mounts {
            let What::Bind { src, writable } = &mount.what else {
                sources.push(None);
                continue;
            };
            let at = self.walk(src)?.or_else(|errno| failed(format!("source {src}: {errno:?}"), errno))?;
            let mut node = match self.root.get(&at) {
                Some(node) => node.clone(),
                None => return Err(Stop::Unknown),
            };
            if is_partial(&node) {
                return Err(Stop::Unknown);
            }
            if !writable {
                node.change(&tighten);
            }
            sources.push(Some(node));
        }
        let devices = request.mounts.iter().filter(|mount| mount.what == What::Device);
        let devices: Vec<Names> = devices.map(|mount| split(&mount.dst)).collect();
        for at in &devices {
            let path = format!("/{}", at.join("/"));
            self.walk(&path)?.or_else(|errno| failed(format!("device {path}: {errno:?}"), errno))?;
        }
        let view = self.root_of(request)?;
        let mut stage =
            Stage { view, outer: self, request, destinations: Vec::new(), names: Vec::new(), sources };
        stage.build(&mounts, &devices, shm)?;
        stage.view.root.change(&end);
        Ok(stage.view)
    }

    fn root_of(&self, request: &Request) -> Result<View> {
        let mut dirs = Vec::new();
        for root in &request.roots {
            let at = self.walk(root)?.or_else(|errno| failed(format!("root {root}: {errno:?}"), errno))?;
            let Some(dir) = self.root.dir(&at) else { return refuse(format!("root {root} is no directory")) };
            if is_partial(&Node::Dir(dir.clone())) {
                return Err(Stop::Unknown);
            }
            let mut dir = dir.clone();
            if !request.build || dirs.len() + 1 < request.roots.len() {
                dir.change(&tighten);
            }
            dirs.push(dir);
        }
        let identities = self.identities;
        match dirs.len() {
            0 => Ok(self.host_image()),
            1 => {
                let root = dirs.remove(0);
                if !root.may_search() {
                    return failed("the root cannot be entered", Errno::Denied);
                }
                Ok(View { root, is_of_host: false, identities })
            }
            _ => {
                let mut view = View { identities, ..View::new(0o755, SCAFFOLD) };
                view.root.identity = identities + 1;
                view.identities += 1;
                dirs.reverse();
                let entries = view.lay(&dirs.iter().collect::<Vec<_>>())?;
                view.root.entries = entries;
                Ok(view)
            }
        }
    }

    /// The image of the host, as far as it is known here. Everything else is missing or empty.
    fn host_image(&self) -> View {
        let mut image = View::new(0o755, READ_ONLY);
        image.identities = self.identities + 1;
        image.root.identity = self.identities + 1;
        (image.is_of_host, image.root.is_partial) = (true, true);
        for name in ["home", "root", "run", "mnt", "media", "srv", "boot", "tmp", "proc", "dev"] {
            let mut dir = image.new_dir(0o755, READ_ONLY);
            dir.is_partial = name == "run";
            image.root.entries.insert(name.into(), Node::Dir(dir));
        }
        for name in ["usr", "etc", "opt"] {
            if let Some(node) = self.root.entries.get(name) {
                let mut node = node.clone();
                node.change(&tighten);
                image.root.entries.insert(name.into(), node);
            }
        }
        image
    }

    /// The entries of directories that lie over each other, the first on top.
    fn lay(&mut self, layers: &[&Dir]) -> Result<BTreeMap<String, Node>> {
        let mut all: BTreeMap<String, Node> = BTreeMap::new();
        for (at, layer) in layers.iter().enumerate() {
            if !(layer.may_list() && layer.may_search()) {
                return failed("a layer cannot be listed", Errno::Denied);
            }
            for (name, node) in &layer.entries {
                if all.contains_key(name) {
                    continue;
                }
                let mut below = Vec::new();
                for other in &layers[at..] {
                    if !other.may_search() {
                        return failed("a layer cannot be searched", Errno::Denied);
                    }
                    match other.entries.get(name) {
                        Some(Node::Dir(dir)) => below.push(dir),
                        Some(_) => break,
                        None => {}
                    }
                }
                let node = match filled(&below)[..] {
                    [] => node.clone(),
                    [one] => Node::Dir(one.clone()),
                    ref several => {
                        let mut dir = self.new_dir(0o755, SCAFFOLD);
                        dir.entries = self.lay(several)?;
                        Node::Dir(dir)
                    }
                };
                all.insert(name.clone(), node);
            }
        }
        Ok(all)
    }
}

/// Of the directories with one name in several layers, those whose entries are shown.
fn filled<'d>(dirs: &[&'d Dir]) -> Vec<&'d Dir> {
    if dirs.len() < 2 {
        return dirs.to_vec();
    }
    let mut all: Vec<&Dir> = Vec::new();
    for dir in dirs {
        // A directory that the caller may not list is shown alone, or not at all.
        if !(dir.may_list() && dir.may_search()) {
            if all.is_empty() {
                all.push(dir);
            }
            break;
        }
        if !dir.entries.is_empty() {
            all.push(dir);
        }
    }
    if all.is_empty() { vec![dirs[0]] } else { all }
}

fn is_partial(node: &Node) -> bool {
    match node {
        Node::Dir(dir) => dir.is_partial || dir.entries.values().any(is_partial),
        _ => false,
    }
}

fn list(dir: &Dir, path: &str, all: &mut Vec<String>) {
    for (name, node) in &dir.entries {
        let path = format!("{path}/{name}");
        let is_own = path.starts_with("/proc") || path == "/dev" || matches!(node, Node::Device);
        if !is_partial(node) && !is_own {
            all.push(path.clone());
        }
        if let Node::Dir(dir) = node {
            list(dir, &path, all);
        }
    }
}

/// The requested mounts, each after the mounts in which it lies, and the permissions of /dev/shm.
fn plan(asked: &[Mount]) -> Result<(Vec<Mount>, u32)> {
    let mut shm = None;
    let mut all: BTreeMap<Names, Mount> = BTreeMap::new();
    for mount in asked.iter().filter(|mount| mount.what != What::Device) {
        let names = split(&mount.dst);
        if let (What::Tmpfs { mode }, true) = (&mount.what, names == ["dev", "shm"]) {
            if shm.replace(*mode).is_some_and(|before| before != *mode) {
                return refuse("/dev/shm is wanted twice");
            }
            continue;
        }
        match names.first().map(String::as_str) {
            None => return refuse("the root is no destination"),
            Some("proc") => return refuse("/proc is the instance's own"),
            Some("dev") if names.len() < 3 || names[1] != "shm" => {
                return refuse("/dev is the instance's own");
            }
            Some(_) => {}
        }
        let mount = Mount { dst: format!("/{}", names.join("/")), what: mount.what.clone() };
        if all.insert(names, mount.clone()).is_some_and(|before| before != mount) {
            return refuse(format!("{} is wanted twice", mount.dst));
        }
    }
    Ok((all.into_values().collect(), shm.unwrap_or(0o1777)))
}

/// An instance that is built.
struct Stage<'o> {
    view: View,
    outer: &'o View,
    request: &'o Request,
    /// The paths of the caller's mounts.
    destinations: Vec<Names>,
    /// The names that the root directory must have.
    names: Vec<String>,
    /// The source of each mount, if it is a bind.
    sources: Vec<Option<Node>>,
}

impl Stage<'_> {
    fn build(&mut self, mounts: &[Mount], devices: &[Names], shm: u32) -> Result {
        let is_foreign = !self.request.roots.is_empty();
        let own = split_path(&selfdock());
        let in_root = mounts.iter().filter(|mount| !matches!(mount.what, What::Mask { .. }));
        self.names = in_root.map(|mount| split(&mount.dst)[0].clone()).collect();
        if is_foreign {
            self.names.extend(["dev", "etc", "proc", "tmp"].map(String::from));
            self.names.push(own[0].clone());
            self.prepare_root()?;
        }
        self.tmp(is_foreign)?;
        if is_foreign && !self.request.build {
            self.names_of_host()?;
        }
        let in_shm = |mount: &Mount| mount.dst.starts_with("/dev/shm/");
        for (number, mount) in mounts.iter().enumerate().filter(|(_, mount)| !in_shm(mount)) {
            self.mount(mount, number)?;
        }
        let mut dev = self.view.new_dir(0o755, READ_ONLY);
        dev.is_partial = true;
        let shm = self.view.new_dir(shm, TMPFS);
        dev.entries.insert("shm".into(), Node::Dir(shm));
        self.own_file_system("dev", dev)?;
        for (number, mount) in mounts.iter().enumerate().filter(|(_, mount)| in_shm(mount)) {
            self.mount(mount, number)?;
        }
        for at in devices {
            self.view.root.put(at, Node::Device);
        }
        self.programs(&own, is_foreign)?;
        let mut proc = self.view.new_dir(0o555, READ_ONLY);
        proc.is_partial = true;
        self.own_file_system("proc", proc)
    }

    /// If the root directory lacks a name, the instance gets a new root directory with the same entries.
    fn prepare_root(&mut self) -> Result {
        let root = &self.view.root;
        let grows = !root.flags.read_only && (self.request.build || root.flags.own);
        if grows || self.names.iter().all(|name| root.entries.contains_key(name)) {
            return Ok(());
        }
        if !root.may_list() {
            return failed("the root cannot be listed", Errno::Denied);
        }
        let entries = self.view.root.entries.clone();
        self.view.root = self.view.new_dir(0o755, SCAFFOLD);
        self.view.root.entries = entries;
        Ok(())
    }

    fn tmp(&mut self, is_foreign: bool) -> Result {
        let at = if is_foreign { self.mount_point("/tmp", true)? } else { split("/tmp") };
        if at.is_empty() {
            return refuse("/tmp is the root");
        }
        if self.view.root.dir(&at).is_none() {
            return refuse("/tmp is no directory");
        }
        // A link over a missing name: the directory was made where the link leads, but nobody can follow the link.
        self.view.walk("/tmp")?.or_else(|errno| failed("/tmp", errno))?;
        let tmp = self.view.new_dir(0o1777, TMPFS);
        self.view.root.put(&at, Node::Dir(tmp));
        Ok(())
    }

    /// Host and user names resolve as outside, unless the image has something else at these paths.
    fn names_of_host(&mut self) -> Result {
        for path in ["/etc/resolv.conf", "/etc/hosts", "/etc/passwd", "/etc/group"] {
            let of_users = path.ends_with("passwd") || path.ends_with("group");
            let outside = match self.outer.walk(path)? {
                Ok(at) => self.outer.root.get(&at).cloned(),
                Err(_) => None,
            };
            let Some(Node::File { text, mode, .. }) = outside else { continue };
            let is_of_names = matches!(text, Text::NamesCaller);
            if of_users && !(is_of_names && self.image_lacks(path)?) {
                continue;
            }
            let found = self.view.walk(path)?;
            let at = match found {
                Ok(at) if matches!(self.view.root.get(&at), Some(Node::File { .. })) => at,
                Ok(_) => continue,
                Err(Errno::Missing) => match self.place_of_missing_name(path)? {
                    Some(at) => self.make(at, false)?,
                    None => continue,
                },
                Err(_) => continue,
            };
            let file = if of_users {
                Node::File { mode: 0o444, text: Text::NamesCaller, flags: INERT }
            } else {
                Node::File { mode, text, flags: INERT }
            };
            self.view.root.put(&at, file);
        }
        Ok(())
    }

    /// Where a missing file of names is made: at its path, or where a link leads in `/run` or `/mnt`.
    fn place_of_missing_name(&self, path: &str) -> Result<Option<Names>> {
        let Ok(at) = self.view.meant(path)? else { return Ok(None) };
        if at == split(path) {
            return Ok(Some(at));
        }
        let Some(top) = at.first().filter(|top| ["etc", "run", "mnt"].contains(&top.as_str())) else {
            return Ok(None);
        };
        let has_top = self.view.literally(std::slice::from_ref(top))?.is_ok();
        Ok(has_top.then_some(at))
    }

    /// Whether the image's file is missing, or can be read and does not name the caller.
    fn image_lacks(&self, path: &str) -> Result<bool> {
        Ok(match self.view.walk(path)? {
            Err(errno) => errno == Errno::Missing,
            Ok(at) => match self.view.root.get(&at) {
                Some(Node::File { mode, text: Text::Known(_), .. }) => mode & 0o400 != 0,
                _ => false,
            },
        })
    }

    fn mount(&mut self, mount: &Mount, number: usize) -> Result {
        match &mount.what {
            What::Mask { optional } => {
                let Some(at) = self.destination(&mount.dst, None)? else {
                    return if *optional {
                        Ok(())
                    } else {
                        failed(format!("{} is not there", mount.dst), Errno::Missing)
                    };
                };
                self.prepare_scratch()?;
                let is_dir = self.view.root.dir(&at).is_some();
                let node = if is_dir {
                    Node::Dir(self.view.new_dir(0o755, INERT))
                } else {
                    Node::File { mode: 0o444, text: Text::Known(String::new()), flags: INERT }
                };
                self.view.root.put(&at, node);
            }
            What::Tmpfs { mode } => {
                let at = self.destination(&mount.dst, Some(true))?.expect("a kind is given");
                if self.view.root.dir(&at).is_none() {
                    return refuse(format!("a tmpfs on the file {}", mount.dst));
                }
                let dir = self.view.new_dir(*mode, TMPFS);
                self.view.root.put(&at, Node::Dir(dir));
            }
            What::Device => unreachable!("none of the plan"),
            What::Bind { .. } => {
                let is_dir = matches!(self.sources[number], Some(Node::Dir(_)));
                let at = self.destination(&mount.dst, Some(is_dir))?.expect("a kind is given");
                if self.view.root.dir(&at).is_some() != is_dir {
                    return refuse(format!("a file on a directory, or the reverse: {}", mount.dst));
                }
                // A mount point that was made in the image is also in the source, if the source is of the image.
                let source = self.sources[number].clone().expect("it was opened");
                self.view.root.put(&at, source);
            }
        }
        Ok(())
    }

    /// The place of a mount of the caller. If `directory` is given, a missing one is made, as a directory or file.
    fn destination(&mut self, path: &str, directory: Option<bool>) -> Result<Option<Names>> {
        let there = self.view.literally(&split(path))?;
        let at = match there {
            Ok(()) => split(path),
            Err(_) => self.view.meant(path)?.or_else(|errno| failed(format!("{path}: {errno:?}"), errno))?,
        };
        let in_shm = |at: &[String]| at.len() > 2 && at[0] == "dev" && at[1] == "shm";
        if at.first().is_some_and(|name| name == "proc" || name == "dev")
            && !(in_shm(&at) && in_shm(&split(path)))
        {
            return refuse(format!("{path} leads into what is the instance's own"));
        }
        if self.destinations.iter().any(|other| other.starts_with(&at)) {
            return refuse(format!("{path} leads above another mount"));
        }
        self.destinations.push(at.clone());
        match (self.view.literally(&at)?, directory) {
            _ if at.is_empty() => refuse(format!("{path} leads to the root")),
            (Ok(()), _) => Ok(Some(at)),
            (Err(Errno::Missing), Some(directory)) => self.make(at, directory).map(Some),
            (Err(Errno::Missing | Errno::NoDirectory), None) => Ok(None),
            (Err(errno), _) => failed(format!("{path}: {errno:?}"), errno),
        }
    }

    /// The place of a mount of the instance itself. Links of the image are followed.
    fn mount_point(&mut self, path: &str, directory: bool) -> Result<Names> {
        match self.view.walk(path)? {
            Ok(at) => Ok(at),
            Err(Errno::Missing) => {
                let at = self.view.meant(path)?.or_else(|errno| failed(path, errno))?;
                self.make(at, directory)
            }
            Err(errno) => failed(format!("{path}: {errno:?}"), errno),
        }
    }

    /// Makes a missing mount point, without a change to the image or to files of the caller.
    fn make(&mut self, at: Names, directory: bool) -> Result<Names> {
        let mut length = at.len();
        loop {
            let Some(above) = length.checked_sub(1) else { return refuse("the root is no mount point") };
            length = above;
            match self.view.literally(&at[..length])? {
                Err(Errno::Missing) => {}
                Err(errno) => return failed(format!("make {at:?}: {errno:?}"), errno),
                Ok(()) => break,
            }
        }
        let (above, missing) = at.split_at(length);
        let Some(dir) = self.view.root.dir(above).cloned() else {
            return failed(format!("{above:?} is no directory"), Errno::NoDirectory);
        };
        if dir.flags.read_only && !above.is_empty() {
            self.prepare_scratch()?;
        }
        // It can have got an entry.
        let dir = self.view.root.dir(above).expect("a directory").clone();
        if dir.flags.read_only {
            if above.is_empty() && self.view.is_of_host {
                // Whether an entry can be added to the root directory depends on how the root directory was made.
                if !self.names.contains(&missing[0]) {
                    return Err(Stop::Unknown);
                }
            } else if above.is_empty() {
                return refuse("a link leads to what is missing in the root");
            } else {
                if !dir.may_list() {
                    return failed(format!("{above:?} cannot be listed"), Errno::Denied);
                }
                let mut cover = self.view.new_dir(0o755, SCAFFOLD);
                (cover.entries, cover.is_partial) = (dir.entries, dir.is_partial);
                self.view.root.put(above, Node::Dir(cover));
            }
        } else if !self.request.build && !dir.flags.own {
            return refuse(format!("{at:?} would have to be made in a volume"));
        }
        for end in length + 1..=at.len() {
            let dir = self.view.root.dir(&at[..end - 1]).expect("just made");
            let (flags, identity) = (dir.flags, dir.identity);
            if !dir.may_change() && !dir.is_partial {
                return failed(format!("{at:?} cannot be made"), Errno::Denied);
            }
            let node = if end < at.len() || directory {
                Node::Dir(self.view.new_dir(0o755, flags))
            } else {
                Node::File { mode: 0o444, text: Text::Known(String::new()), flags }
            };
            self.view.root.put(&at[..end], node.clone());
            self.view.root.spread(identity, &at[end - 1], &node);
            self.sources.iter_mut().flatten().for_each(|source| source.spread(identity, &at[end - 1], &node));
        }
        Ok(at)
    }

    /// Mounts a file system in the root directory.
    fn own_file_system(&mut self, name: &str, dir: Dir) -> Result {
        let at = self.own_mount_point(name)?;
        self.view.root.put(&at, Node::Dir(dir));
        Ok(())
    }

    /// A directory in the root directory. It must not be a link.
    fn own_mount_point(&mut self, name: &str) -> Result<Names> {
        let at = vec![name.to_owned()];
        match self.view.literally(&at)? {
            Ok(()) if self.view.root.dir(&at).is_some() => Ok(at),
            Err(Errno::Missing) => self.make(at, true),
            _ => refuse(format!("/{name} is no directory")),
        }
    }

    /// selfdock makes its own files and directories in a tmpfs that lies on `/proc` until procfs covers it. `build`
    /// makes `/proc` in the image for it, if it is missing. A directory of the image that is copied later shows it.
    fn prepare_scratch(&mut self) -> Result {
        self.own_mount_point("proc").map(drop)
    }

    /// selfdock's own file at its path, if the image has that path, and the second program beside it.
    fn programs(&mut self, own: &[String], is_foreign: bool) -> Result {
        let path = format!("/{}", own.join("/"));
        let is_missing = |view: &View, path: &str| Ok::<_, Stop>(view.walk(path)? == Err(Errno::Missing));
        let program = Node::File { mode: 0o555, text: Text::Program, flags: READ_ONLY };
        if self.request.build && is_missing(&self.view, &path)? {
            return Ok(());
        }
        match self.mount_point(&path, false) {
            Err(Stop::Refused(_, Some(Errno::NoDirectory))) => return Ok(()),
            Ok(at) if self.view.root.dir(&at).is_some() => return Ok(()),
            Ok(at) => self.view.root.put(&at, program.clone()),
            Err(stop) => return Err(stop),
        }
        let beside = path.replace("/bin/selfdock", "/bin/selfdock-about");
        if is_foreign && !self.request.build && is_missing(&self.view, &beside)? {
            let at = self.mount_point(&beside, false)?;
            self.view.root.put(&at, program);
        }
        Ok(())
    }
}

// ---- what the probe should print ------------------------------------------------------------------

impl View {
    /// Paths for `probe look`, and the lines that it should print for them.
    pub fn told(&self) -> (String, String) {
        let (mut paths, mut lines) = (String::new(), String::new());
        tell(&self.root, "", true, &mut |how, path, line| {
            writeln!(paths, "{how}{path}").expect("a string");
            writeln!(lines, "{path} {line}").expect("a string");
        });
        (paths, lines)
    }
}

fn tell(dir: &Dir, path: &str, can_search: bool, say: &mut dyn FnMut(&str, &str, &str)) {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let mut names: Vec<&str> = dir.entries.keys().map(String::as_str).collect();
    if !dir.is_partial {
        names.extend(NAMES);
    }
    if path == "/dev" {
        names.extend(DEVICES.iter().filter_map(|path| path.strip_prefix("/dev/")));
    }
    names.sort_unstable();
    names.dedup();
    for name in names {
        let path = format!("{path}/{name}");
        let found = dir.entries.get(name);
        if !can_search {
            say("", &path, "EACCES");
            continue;
        }
        match found {
            None => say("", &path, "ENOENT"),
            Some(Node::Link(target)) => say("", &path, &format!("link {target}")),
            Some(Node::Device) => say("", &path, "device"),
            Some(Node::File { text: Text::Program, .. }) => {}
            Some(Node::File { mode, text, flags }) => {
                let write = yes(!flags.read_only && mode & 0o200 != 0);
                let execute = yes(!flags.no_exec && mode & 0o100 != 0);
                let (how, text) = match text {
                    Text::Known(text) if mode & 0o400 != 0 => ("", format!("{text:?}")),
                    Text::Known(_) => ("", "no".into()),
                    _ => ("part of ", "yes".into()),
                };
                say(how, &path, &format!("file read={text} write={write} execute={execute}"));
            }
            Some(Node::Dir(inner)) => {
                let write = yes(!inner.flags.read_only && inner.may_change());
                let names = inner.entries.keys().cloned().collect::<Vec<_>>().join(" ");
                let (how, read) = match inner {
                    Dir { is_partial: true, .. } => ("part of ", "yes".into()),
                    inner if inner.may_list() => ("", format!("{names:?}")),
                    _ => ("", "no".into()),
                };
                // Whether the caller can write to a directory of the host is not part of the model.
                if !inner.is_partial || inner.flags.read_only {
                    say(how, &path, &format!("dir read={read} write={write}"));
                }
                tell(inner, &path, inner.may_search(), say);
            }
        }
    }
}
