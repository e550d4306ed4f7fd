//! `--explain`: prints the steps that `run` would take, a line for each, in order. It does nothing else and has no
//! privilege. The order of the steps ([`STEPS`]) and the attributes of mounts are those that the command itself uses.

mod foresee;

use super::attend::Limits;
use super::front::Around;
use super::group;
use super::homes;
use super::overlay;
use crate::cli::{EnvChange, Filter, Request, may_be_descriptor};
use crate::command::{self, Command};
use crate::containment::Jobs;
use crate::error::{Error, OrFail, Quoted, Result, both, on};
use crate::files;
use crate::handover::{About, Mode};
use crate::host::{DEVICES, Entry, entries, is_sysfs, lies_in, places};
use crate::host_root::has_mount_points;
use crate::installation::{Installation, beside, second_program};
use crate::mount::{DEVICE, INERT, MAP, OWN_FILE, PROC, TERMINALS, VOLUME, find, of_files};
use crate::names::{self, GROUP, PASSWD};
use crate::plan::{Mount, Plan, Root, STEPS, Source, Step, Tmpfs, components, is_in_shm};
use crate::procfs;
use crate::sys::{self, Attributes, Duration, namespace};
use crate::text::{Bytes, decimal, join};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;
use rustix::fd::AsFd;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

/// The names of namespaces, as unshare(1) has them.
const NAMESPACES: [(u32, &str); 7] = [
    (namespace::MOUNT, "mount"),
    (namespace::PID, "pid"),
    (namespace::IPC, "ipc"),
    (namespace::UTS, "uts"),
    (namespace::CGROUP, "cgroup"),
    (namespace::NETWORK, "net"),
    (namespace::USER, "user"),
];

/// The fields of a line: the kind of step, and its objects.
pub type Row = Vec<String>;

/// The text: aligned on a terminal, otherwise with tabs. Fields from the caller are quoted as in error messages.
pub fn text(rows: &[Row]) -> String {
    lines(rows, sys::is_terminal(1))
}

/// The text, as rows of fields. The parts that every instance has are summarized in one row, unless `all` is set.
pub fn rows(
    about: &About,
    request: &Request<'_>,
    all: bool,
    around: &Around<'_>,
    limits: &Limits,
) -> Result<Vec<Row>> {
    let (plan, command) = &command::check(request, &about.environment, command::current_directory())?;
    if let Some(report) = request.report {
        foresee::foresee_report(report, request.report_required)?;
    }
    are_there(plan)?;
    let mode = if request.unprivileged || !around.is_nothing() { Mode::Unprivileged } else { about.mode };
    let list = match plan.root {
        Root::Host => overlay::list(about)?,
        Root::Dir(_) | Root::Layers(_) => b"",
    };
    let homes = if list.is_empty() { Vec::new() } else { homes::hidden(about, list)? };
    let prepared = Prepared::find(about, request, plan, mode, around)?;
    let explained = Explained { about, request, plan, mode, all, around, list, homes, prepared };
    explained.foresee(command)?;
    let mut rows = explained.who();
    for step in STEPS {
        rows.extend(explained.step(step));
    }
    rows.extend(limits.words().iter().map(|words| row(["limit all", words])));
    rows.extend(explained.rest(command));
    if !all {
        rows.push(row(["more", "--explain=all also lists what every instance has"]));
    }
    Ok(rows)
}

fn row<const N: usize>(fields: [&str; N]) -> Row {
    fields.map(String::from).to_vec()
}

/// A missing source is an error, as it is for `run`.
fn are_there(plan: &Plan<'_>) -> Result<()> {
    let is_there = |path: &[u8]| files::identity_of(path).map(drop);
    for Mount { dst, source } in &plan.mounts {
        if let Source::Bind { src, .. } = source {
            let found =
                if may_be_descriptor(src) { is_there(src) } else { find(src, OFlags::empty()).map(drop) };
            found.or_fail(both("open {} to bind it on {}", src, dst))?;
        }
    }
    let roots: &[&[u8]] = match &plan.root {
        Root::Host => &[],
        Root::Dir(dir) => &[dir],
        Root::Layers(dirs) => dirs,
    };
    for dir in roots {
        find(dir, OFlags::DIRECTORY).or_fail(on("use the root filesystem {}", dir))?;
    }
    for path in &plan.devices {
        let path = join(&[b"/dev/", path]);
        is_there(path).or_fail(on("bind the device {}", path))?;
    }
    Ok(())
}

/// What the installation has prepared for this instance.
struct Prepared {
    /// Its root directory, with `/dev`.
    root: bool,
    /// A `/dev`.
    dev: bool,
}

impl Prepared {
    fn find(
        about: &About,
        request: &Request<'_>,
        plan: &Plan<'_>,
        mode: Mode,
        around: &Around<'_>,
    ) -> Result<Self> {
        let own = about.program.to_bytes();
        let installation = Installation::around(own);
        // It must belong to root. In a user namespace only root's processes can see that.
        if installation.list().is_none() || mode == Mode::Unprivileged && about.caller.uid != 0 {
            return Ok(Prepared { root: false, dev: false });
        }
        let is_possible = plan.root == Root::Host && !around.copies_root;
        let program = Some(own).filter(|own| !request.no_nest && *own != installation.program());
        let root = match installation.prepared(b"").filter(|_| is_possible) {
            Some((dir, _)) => has_mount_points(&dir, &plan.mounts, program)?,
            None => false,
        };
        Ok(Prepared { root, dev: installation.prepared(b"/dev").is_some() })
    }
}

/// All that the lines are made from.
struct Explained<'t> {
    about: &'t About,
    request: &'t Request<'t>,
    plan: &'t Plan<'t>,
    mode: Mode,
    all: bool,
    /// What is made around it.
    around: &'t Around<'t>,
    /// The directories of the host image.
    list: Bytes,
    /// The caller's homes that are hidden, if it is the host image.
    homes: Vec<Bytes>,
    prepared: Prepared,
}

impl Explained<'_> {
    fn who(&self) -> Vec<Row> {
        let of_mode = if self.mode == Mode::Unprivileged { namespace::USER } else { 0 };
        let of_pasta = if self.around.network.is_some() { namespace::NETWORK } else { 0 };
        let made = self.plan.namespaces() | namespace::PID | of_mode | of_pasta;
        let names = NAMESPACES.iter().filter(|(namespace, _)| made & namespace != 0);
        let namespaces = names.map(|(_, name)| *name).collect::<Vec<_>>().join(" ");
        let caller = self.about.caller;
        let ids = format!("uid={} gid={}", caller.uid, caller.gid);
        let around = self.around;
        let ids = if around.fake_root { "uid=0 gid=0, and your subordinate ids" } else { &ids };
        let mut rows = Vec::from([row(["mode", self.mode.text()]), row(["ids", ids])]);
        rows.push(row(["namespaces", &namespaces]));
        if around.network.is_some() {
            rows.push(row(["network", "an interface of its own, by pasta"]));
        }
        if let Some(dir) = around.changes {
            rows.push(row(["changes", &format!("kept in {}", quoted(dir))]));
        }
        if let Some(socket) = around.proxy {
            rows.push(row(["proxy", &quoted(socket)]));
        }
        rows
    }

    fn root(&self) -> Vec<Row> {
        let image = attributes(of_files(self.plan.writable));
        let layer = |kind: &str, dir: &[u8], image: &str| row([kind, &quoted(dir), "'/'", image]);
        match &self.plan.root {
            Root::Host => self.host_image(&image),
            Root::Dir(dir) if self.around.copies_root => Vec::from([layer("overlay", dir, &image)]),
            Root::Dir(dir) => Vec::from([layer("root", dir, &image)]),
            Root::Layers(dirs) => {
                let below = attributes(MAP);
                let last = dirs.len() - 1;
                let image = |at| if at == last { &image } else { &below };
                let layers = dirs.iter().enumerate().map(|(at, dir)| layer("layer", dir, image(at)));
                // The directory that they are merged in.
                let root = self.all.then(|| row(["root", "-", "'/'", &below]));
                root.into_iter().chain(layers).collect()
            }
        }
    }

    fn host_image(&self, image: &str) -> Vec<Row> {
        let list = self.list;
        let root = match (self.prepared.root, self.around.copies_root) {
            (true, _) => DEVICE,
            (false, true) => VOLUME,
            (false, false) => MAP,
        };
        let mut rows = Vec::from([row(["root", "-", "'/'", &attributes(root)])]);
        let mut places = Vec::new();
        let is_covered = |place: &[u8]| self.plan.mounts.iter().any(|mount| lies_in(place, mount.dst));
        let hides_sysfs = |place: &[u8]| {
            // What covers it in a copy is shown in its place.
            let in_copy = || is_covered(place.strip_suffix(b"\0").unwrap_or(place));
            if self.around.copies_root { in_copy() } else { self.plan.writable }
        };
        for entry in entries(list) {
            match entry {
                Entry::Place(place) if is_sysfs(place) && hides_sysfs(place) => {}
                Entry::Place([path @ .., _]) => {
                    places.push(String::from_utf8_lossy(path).into_owned());
                    let (kind, of) = match self.around.copies_root {
                        true if is_sysfs(path) => ("show", attributes(MAP)),
                        true => ("overlay", image.into()),
                        false => ("show", image.into()),
                    };
                    let path = quoted(path);
                    rows.push(row([kind, &path, &path, &of]));
                }
                Entry::Link(at, to) => rows.push(row(["link", &quoted(to), &quoted(at), "-"])),
                Entry::Place(_) | Entry::Open | Entry::Home(..) => {}
            }
        }
        if !self.all {
            let others = places.iter().filter(|place| place.starts_with("/var/")).count();
            places.retain(|place| !place.starts_with("/var/"));
            let copies = if self.around.copies_root { "copies of " } else { "" };
            let places = format!("{copies}the host's {}, and {others} directories of /var", places.join(" "));
            rows = Vec::from([row(["root", &places, "'/'", image])]);
        }
        let hide = |home: &Bytes| row(["hide", "-", &quoted(home), &attributes(INERT)]);
        rows.extend(self.homes.iter().map(hide));
        rows
    }

    fn step(&self, step: Step) -> Vec<Row> {
        let fresh = |kind: &str, path: &str, options: &str| Vec::from([row([kind, "-", path, options])]);
        match step {
            Step::Root => self.root(),
            Step::Tmp if self.all => fresh("tmpfs", "'/tmp'", &options(&Tmpfs::DEFAULT)),
            Step::Names => self.names(),
            Step::Mounts => self.mounts(false),
            Step::Dev if self.all => {
                let paths = DEVICES.iter().map(|(name, ..)| format!("'/dev/{name}'"));
                let devices = paths.map(|path| row(["device", &path, &path, &attributes(DEVICE)]));
                // The prepared root directory has a /dev already. Devices work on a prepared one, and not on one that
                // is made in a tmpfs.
                let dev = if self.prepared.dev { DEVICE } else { INERT };
                let is_own = (!self.prepared.root).then(|| row(["dev", "-", "'/dev'", &attributes(dev)]));
                is_own.into_iter().chain(devices).collect()
            }
            Step::Devpts if self.all => fresh("devpts", "'/dev/pts'", &attributes(TERMINALS)),
            Step::Shm if self.all || self.plan.shm != Tmpfs::DEFAULT => {
                fresh("tmpfs", "'/dev/shm'", &options(&self.plan.shm))
            }
            Step::InShm => self.mounts(true),
            Step::Devices => {
                // Programs find the name of their terminal by /dev/console.
                let terminal = files::link_target(CWD, b"/proc/self/fd/0");
                let jobs = Jobs::of_this_process(self.request.new_session);
                let is_shown = self.all && jobs == Jobs::Shared && sys::is_terminal(0);
                let terminal = terminal.ok().filter(|_| is_shown);
                let console = |path| row(["device", &quoted(path), "'/dev/console'", &attributes(DEVICE)]);
                let paths = self.plan.devices.iter().map(|path| quoted(join(&[b"/dev/", path])));
                let asked = paths.map(|path| row(["device", &path, &path, &attributes(DEVICE)]));
                terminal.map(console).into_iter().chain(asked).collect()
            }
            Step::Program => self.programs(),
            Step::Proc if self.all => {
                let mut rows = fresh("proc", "'/proc'", &attributes(PROC));
                if self.about.caller.uid == 0 {
                    rows.push(row([
                        "cover",
                        "all of /proc except processes is read-only, and some of it is empty",
                    ]));
                }
                if procfs::is_covered() {
                    rows.push(row(["cover", "what is covered in your /proc"]));
                }
                rows
            }
            Step::Tmp | Step::Dev | Step::Devpts | Step::Shm | Step::Proc => Vec::new(),
        }
    }

    /// Files for host and user names. An image gets the host's resolver files, and copies of its own user files with
    /// the caller added. The host's own root needs only a resolver configuration that is a link.
    fn names(&self) -> Vec<Row> {
        let line = |from: &str, path: &[u8]| row(["names", from, &quoted(path), &attributes(INERT)]);
        // These are maps on a copy of an image, which is writable.
        if self.around.copies_root && self.plan.root != Root::Host {
            let is_taken = |path: &[u8]| self.plan.mounts.iter().any(|mount| mount.dst == path);
            let maps = overlay::names_of_copy(self.about, self.image(), self.plan.own_network, is_taken);
            let map =
                |(_, path): &(Bytes, Bytes)| row(["map", &quoted(path), &quoted(path), &attributes(MAP)]);
            return maps.iter().map(map).collect();
        }
        // A copy of the host image has a copy of such a file, unless it lies in a hidden home.
        let may_show = homes::may_show_names(self.about, self.list);
        let may_show = |path: &&Bytes| {
            let real = overlay::real_path(path);
            !self.around.copies_root || may_show.as_ref().is_ok_and(|may_show| real.is_some_and(may_show))
        };
        let has_place =
            |path: &&Bytes| self.plan.root == Root::Host || overlay::has_place_of_name(self.image(), path);
        let of_hosts = names::of_hosts(self.plan).iter().filter(|path| names::open_of_host(path).is_some());
        let mut rows: Vec<Row> =
            of_hosts.filter(may_show).filter(has_place).map(|path| line(&quoted(path), path)).collect();
        let of_users: &[Bytes] = if names::has_own_users(self.plan) { &[PASSWD, GROUP] } else { &[] };
        let lacking = of_users.iter().filter(|path| self.lacks_a_name(path));
        rows.extend(lacking.filter(has_place).map(|path| line("-", path)));
        rows
    }

    /// The root filesystems of the image, a later one over the earlier ones.
    fn image(&self) -> &[&[u8]] {
        match &self.plan.root {
            Root::Host => &[],
            Root::Dir(dir) => core::slice::from_ref(dir),
            Root::Layers(dirs) => dirs,
        }
    }

    /// Whether a file of names of the image lacks the caller or one of the caller's groups, as the host names them.
    fn lacks_a_name(&self, path: &[u8]) -> bool {
        let ids: &[Bytes] = match path {
            _ if self.around.fake_root => &[b"0"],
            PASSWD => &[decimal(self.about.caller.uid)],
            _ => names::group_ids(),
        };
        let own = match overlay::layer_of_name(self.image(), path) {
            Some(root) => names::file_of(root.as_fd(), path),
            None => Some(&b""[..]),
        };
        own.is_some_and(|own| names::missing(own, names::entries(path, ids)).next().is_some())
    }

    fn mounts(&self, in_shm: bool) -> Vec<Row> {
        let of_step = self.plan.mounts.iter().filter(|mount| is_in_shm(mount.dst) == in_shm);
        let line = |Mount { dst, source }: &Mount<'_>| match source {
            Source::Bind { src, writable: true } if self.around.copies.iter().any(|copy| copy.is_of(src)) => {
                row(["overlay", &quoted(src), &quoted(dst), &attributes(VOLUME)])
            }
            // Every path in a directory that is copied means the copy.
            Source::Bind { src, writable } if overlay::is_in_copy(self.about, &self.around.copies, src) => {
                let kind = if *writable { "volume" } else { "map" };
                let of = attributes(of_files(*writable));
                row([kind, &format!("{} in the copy", quoted(src)), &quoted(dst), &of])
            }
            source => row_of(&quoted(dst), source),
        };
        of_step.map(line).collect()
    }

    fn is_installed(&self) -> bool {
        let installation = Installation::around(self.about.program.to_bytes());
        files::lstat(CWD, installation.list_path()).is_ok()
    }

    fn programs(&self) -> Vec<Row> {
        if self.request.no_nest {
            return Vec::new();
        }
        let own = self.about.program.to_bytes();
        let is_own = if self.mode == Mode::Unprivileged { MAP } else { OWN_FILE };
        let path = quoted(own);
        let mut rows = Vec::new();
        // No mount point is made in a writable image.
        let is_there = match &self.plan.root {
            Root::Host => places(self.list).any(|place| lies_in(own, place)),
            Root::Dir(dir) => is_in(dir, own),
            Root::Layers(dirs) => dirs.iter().any(|dir| is_in(dir, own)),
        };
        if !self.plan.writable || is_there {
            rows.push(row(["program", &path, &path, &attributes(is_own)]));
        }
        // With the host as the root, an installation's second program is visible already.
        let is_bound = self.plan.shows_second(self.is_installed()) && !self.plan.writable;
        if let Some(second) = second_program(own).ok().filter(|_| is_bound) {
            rows.push(row(["program", &quoted(second), &quoted(beside(own)), &attributes(MAP)]));
        }
        rows
    }

    /// Whether a path inside leads to the current directory, as far as mounts decide it.
    fn leads_to_the_directory(&self, path: &[u8]) -> bool {
        let covers = |mount: &&Mount<'_>| lies_in(path, mount.dst);
        let of_image = |dir: &[u8]| (join(&[dir]), join(&[dir, path]));
        let (below, outside) = match (self.plan.mounts.iter().rfind(covers), &self.plan.root) {
            _ if !path.starts_with(b"/") => return false,
            _ if components(path).next().is_none() => {
                return files::identity_of(b".").is_ok_and(|here| files::identity_of(b"/") == Ok(here));
            }
            _ if components(path).any(|name| name == b"..") => return false,
            (Some(Mount { dst, source: Source::Bind { src, .. } }), _) => {
                (join(&[src]), join(&[src, &path[dst.len()..]]))
            }
            (Some(_), _) => return false,
            // They are the instance's own.
            _ if matches!(components(path).next(), Some(b"tmp" | b"dev" | b"proc")) => return false,
            (None, Root::Host) => {
                let is_hidden = |path: &[u8]| self.homes.iter().any(|home| lies_in(path, home));
                let place = places(self.list).find(|place| lies_in(path, place));
                // The whole path is asked for only if that does not go into what is hidden.
                let is_free =
                    |_: &&[u8]| !is_hidden(path) && !overlay::real_path(path).is_some_and(is_hidden);
                let Some(place) = place.filter(is_free) else { return false };
                (join(&[place]), join(&[path]))
            }
            (None, Root::Dir(dir)) => of_image(dir),
            // In a copy the kernel merges the layers.
            (None, Root::Layers(_)) if self.around.copies_root => return false,
            (None, Root::Layers(dirs)) => match layer_that_shows(dirs, path) {
                Some(dir) => of_image(dir),
                None => return false,
            },
        };
        // A link in it can lead to what is not shown.
        let (below, whole) = (overlay::real_path(below), overlay::real_path(outside));
        below.zip(whole).is_some_and(|(below, whole)| below == b"/" || lies_in(whole, below))
            && files::identity_of(outside).is_ok_and(|there| files::identity_of(b".") == Ok(there))
    }

    /// The settings of the command itself.
    fn rest(&self, command: &Command<'_>) -> Vec<Row> {
        let mut rows = self.restrictions();
        rows.extend(self.context());
        rows.extend(self.control_group());
        rows.push(row(["directory", &self.directory(command)]));
        rows.push([String::from("command")].into_iter().chain(command.words().map(quoted)).collect());
        rows
    }

    /// What is forbidden to the command, and what it has of its own.
    fn restrictions(&self) -> Vec<Row> {
        let request = self.request;
        let mut rows = Vec::new();
        if let Some(name) = request.hostname {
            rows.push(row(["hostname", &quoted(name)]));
        }
        for (is, words) in [
            (request.no_nest, "no_new_privs"),
            (request.no_user_namespaces, "no user namespaces"),
            (request.new_session, "a session of its own"),
        ] {
            if is {
                rows.push(row(["restrict", words]));
            }
        }
        if request.abstract_sockets {
            rows.push(row(["allow", "abstract sockets of the host's network"]));
        }
        match request.filter() {
            Filter::Default if !self.all => {}
            Filter::Default => rows.push(row(["filter", "default"])),
            Filter::None => rows.push(row(["filter", "none"])),
            Filter::And(path) => rows.push(row(["filter", &format!("default, then {}", quoted(path))])),
        }
        rows
    }

    /// Environment, descriptors, limits, time and report.
    fn context(&self) -> Vec<Row> {
        let request = self.request;
        let mut rows = Vec::new();
        let mut add = |kind: &str, text: String| rows.push(row([kind, &text]));
        for change in &request.env {
            add(
                "environment",
                match change {
                    EnvChange::Set(name, value) => format!("set {} to {}", quoted(name), quoted(value)),
                    EnvChange::Unset(name) => format!("remove {}", quoted(name)),
                    EnvChange::Clear => "remove all variables".into(),
                },
            );
        }
        for fd in &request.keep_fds {
            add("descriptor", fd.to_string());
        }
        for (name, value) in &request.limits {
            let value = value.map_or("unlimited".into(), |value| value.to_string());
            add("limit", format!("{name}={value}"));
        }
        if let Some(timeout) = request.timeout {
            let (time, grace) = (seconds(timeout.time), seconds(timeout.grace));
            add("timeout", format!("SIGTERM after {time} s, SIGKILL {grace} s later"));
        }
        if let Some(report) = request.report {
            let required = if request.report_required { ", required" } else { "" };
            add("report", format!("to {}{required}", quoted(report)));
        }
        rows
    }

    /// How to show the limits of the caller's control group, which no instance has of itself. cgroups(7)
    fn control_group(&self) -> Option<Row> {
        const PLACE: &[u8] = b"/sys/fs/cgroup";
        let covers = |mount: &Mount<'_>| lies_in(PLACE, mount.dst) || lies_in(mount.dst, PLACE);
        if !self.all || self.plan.mounts.iter().any(covers) {
            return None;
        }
        let group = group::own_path()?;
        let dir = join(&[PLACE, group]);
        files::lstat(CWD, join(&[dir, b"/cgroup.procs"])).ok()?;
        let shows =
            format!("not shown; -m {} {} shows its limits", quoted(dir), String::from_utf8_lossy(PLACE));
        Some(row(["control group", &quoted(group), &shows]))
    }

    /// The directory in which the command starts.
    fn directory(&self, command: &Command<'_>) -> String {
        let dir = command.directory();
        let is_same = |path: &&[u8]| command.has_chosen_directory() || self.leads_to_the_directory(path);
        match [dir, command.shells_directory()].into_iter().find(is_same) {
            Some(path) => quoted(path),
            None if command::current_directory().is_none() => {
                "'/', since the current directory has no path".into()
            }
            None => format!("'/', since {} is not shown", quoted(dir)),
        }
    }
}

/// Whether a root filesystem has a file, as far as the caller can see.
fn is_in(dir: &[u8], path: &[u8]) -> bool {
    files::lstat(CWD, join(&[dir, path])).is_ok()
}

/// The layer whose directory an instance shows at a path. `None` if several fill it, or none has it. See
/// [`crate::layers`].
fn layer_that_shows<'d>(dirs: &[&'d [u8]], path: &[u8]) -> Option<&'d [u8]> {
    let mut layers: Vec<&[u8]> = dirs.iter().rev().copied().collect();
    let mut at: Bytes = b"";
    for name in components(path) {
        at = join(&[at, b"/", name]);
        let mut filled = Vec::new();
        let mut first = None;
        for dir in layers {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            match files::open(CWD, join(&[dir, at]), flags) {
                Ok(found) => {
                    first = first.or(Some(dir));
                    let full = || Error::refused("look", "it is not empty");
                    if files::each_of(found.as_fd(), "list a layer".into(), &mut |_| Err(full())).is_err() {
                        filled.push(dir);
                    }
                }
                Err(Errno::NOENT) => {}
                // Nothing is merged with a link, with a file, and with what the caller cannot list.
                Err(_) => {
                    filled.extend(Some(dir).filter(|_| first.is_none()));
                    break;
                }
            }
        }
        match *filled {
            [] => return first,
            [dir] => return Some(dir),
            _ => layers = filled,
        }
    }
    None
}

fn row_of(dst: &str, source: &Source<'_>) -> Row {
    match source {
        Source::Bind { src, writable: true } => row(["volume", &quoted(src), dst, &attributes(VOLUME)]),
        Source::Bind { src, writable: false } if may_be_descriptor(src) => {
            row(["data", &quoted(src), dst, &attributes(MAP)])
        }
        Source::Bind { src, writable: false } => row(["map", &quoted(src), dst, &attributes(MAP)]),
        Source::Tmpfs(tmpfs) => row(["tmpfs", "-", dst, &options(tmpfs)]),
        Source::Mask { optional } => {
            let kind = if *optional { "mask-if-exists" } else { "mask" };
            row([kind, "-", dst, &attributes(INERT)])
        }
    }
}

fn quoted(bytes: &[u8]) -> String {
    Quoted(bytes).to_string()
}

fn seconds(span: Duration) -> String {
    let text = format!("{}.{:09}", span.seconds, span.nanoseconds);
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// Attributes as mount(8) names them.
fn attributes(attributes: Attributes) -> String {
    let mut text = String::from(if attributes.has(Attributes::RDONLY) { "ro" } else { "rw" });
    for (one, name) in
        [(Attributes::NOSUID, ",nosuid"), (Attributes::NODEV, ",nodev"), (Attributes::NOEXEC, ",noexec")]
    {
        text += if attributes.has(one) { name } else { "" };
    }
    text
}

fn options(tmpfs: &Tmpfs) -> String {
    let Tmpfs { size, inodes, mode } = tmpfs;
    format!("{},size={size},nr_inodes={inodes},mode={mode:o}", attributes(VOLUME))
}

/// The rows as text, with columns or with tabs.
fn lines(rows: &[Row], aligned: bool) -> String {
    let width = |at: usize| {
        let fields = rows.iter().filter(|row| row.len() > at + 1 && row[0] != "command");
        fields.filter_map(|row| row.get(at)).map(|field| field.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..4).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (at, field) in row.iter().enumerate() {
            let is_last = at + 1 == row.len();
            let width =
                if is_last || (row[0] == "command" && at > 0) { 0 } else { widths.get(at).map_or(0, |w| *w) };
            match (aligned, is_last) {
                (true, false) => {
                    let _ = write!(text, "{field:width$} ");
                }
                (false, false) => {
                    let _ = write!(text, "{field}\t");
                }
                (_, true) => text += field,
            }
        }
        text.push('\n');
    }
    text
}
