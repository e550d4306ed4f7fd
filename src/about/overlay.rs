//! `--overlay`: a writable copy of a directory or of the whole image, whose changes are discarded. The second program,
//! which has no privilege, makes a user namespace and a mount namespace (`around`). There it mounts the kernel's
//! overlay on the directory, and starts selfdock. So the overlay reads its layers with the caller's rights only,
//! whatever the mode of selfdock. `user_namespaces(7)`; Documentation/filesystems/overlayfs.rst
//!
//! The copy keeps the permissions of the directory, except for its top directory, which belongs to the caller. The
//! caller cannot change files of other users: a copy would have to belong to them. Nor files of other groups, even if
//! the caller is a member: the user namespace maps only the caller's first group. Directories that the caller may write
//! to belong to the caller in the copy, and all directories in a copy of an image. So files can be replaced and removed
//! there. See [`own`].

mod listing;
mod own;
mod progress;
mod silent;
mod stand;
mod used;

pub use self::listing::changes;
pub use self::stand::{BARE_HOST, Stands};
pub use self::used::Kept;

use self::progress::Progress;
use super::homes;
use crate::creds::{Caller, Privileged};
use crate::error::{Error, Operation, OrFail, Result, on};
use crate::files::{self, Identity, Kind};
use crate::handover::About;
use crate::host::{EMPTY, Entry, entries, is_sysfs, lies_in, places};
use crate::host_root;
use crate::installation::Installation;
use crate::mount::{Detached, MAP, VOLUME, find};
use crate::mountinfo;
use crate::names::{HOSTS, RESOLV};
use crate::plan::{Tmpfs, components};
use crate::process::read;
use crate::stage::place_of_missing_name;
use crate::sys;
use crate::text::{Bytes, c_string, decimal, join};
use alloc::vec::Vec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatVfsMountFlags, StatxFlags};
use rustix::io::Errno;

/// The tmpfs for changes that are not kept: large enough for a build.
pub const ROOM: Tmpfs = Tmpfs { size: 1 << 30, inodes: 1 << 18, mode: 0o755 };

/// This tmpfs with the caller's options. Without `nr_inodes` it keeps its own number of files, since an image has many
/// directories even if its files are small.
pub fn room(options: &[u8]) -> Result<Tmpfs> {
    let room = Tmpfs::parse::<Error>(options)?;
    let has = |name: &[u8]| options.split(|b| *b == b',').any(|option| option.starts_with(name));
    if has(b"mode=") {
        return Err(Error::refused(on("tmpfs options {}", options), "a copy takes no mode")
            .hint("it takes size= and nr_inodes="));
    }
    Ok(Tmpfs { inodes: if has(b"nr_inodes=") { room.inodes } else { ROOM.inodes }, mode: ROOM.mode, ..room })
}

/// The entries of a directory of changes: the changed files, a link to the original, and the kernel's work directory.
const CHANGED: &[u8] = b"changed";
/// How the path of the copy of an image begins below its place, for `ps`. The path of a root filesystem follows, and
/// then the same again for each layer over it. For the host image nothing follows.
pub const OF_IMAGE: &[u8] = b"/.selfdock-copy-of";
const ORIGIN: &[u8] = b"origin";
const WORK: &[u8] = b"work";

/// In the tmpfs of the copies: the lowest layer of a copy of an image, with the mount points that the image lacks. So
/// none is made among the changes.
const MOUNT_POINTS: &[u8] = b"mount-points";

/// The source of a copy.
#[derive(Clone, Debug)]
pub enum Source<'a> {
    /// A directory.
    Dir(&'a [u8]),
    /// What an instance of the host image shows of the host.
    Host,
    /// Root filesystems, the later over the earlier.
    Roots(Vec<&'a [u8]>),
}

impl Source<'_> {
    /// What is done for a copy of the host image, for errors.
    const OF_HOST: &'static str = "make a copy of the host image";
}

/// A copy.
#[derive(Clone, Debug)]
pub struct Copy<'a> {
    /// What is copied.
    pub source: Source<'a>,
    /// The tmpfs for changes, if they are not kept.
    pub room: Tmpfs,
}

impl<'a> Copy<'a> {
    /// The root filesystems that are copied as an image, if it is not that of the host.
    pub fn roots(&self) -> Option<&[&'a [u8]]> {
        match &self.source {
            Source::Roots(roots) => Some(roots),
            _ => None,
        }
    }

    /// Whether this directory alone is copied.
    pub fn is_of(&self, src: &[u8]) -> bool {
        matches!(self.source, Source::Dir(dir) if dir == src)
    }

    /// What is done for it, for errors.
    fn failed(&self) -> Operation<'a> {
        match self.dirs().last() {
            Some(dir) if !matches!(self.source, Source::Host) => on("copy {}", dir),
            _ => Source::OF_HOST.into(),
        }
    }

    /// The directories that are copied. A later one lies over the earlier ones.
    fn dirs(&self) -> Vec<&'a [u8]> {
        match &self.source {
            Source::Dir(dir) => Vec::from([*dir]),
            Source::Host => Vec::from([&b"/"[..]]),
            Source::Roots(dirs) => dirs.clone(),
        }
    }
}

/// Refuses copies that cannot be made, and changes that cannot be kept, before anything is made.
pub fn check(about: &About, copies: &[Copy<'_>], changes: Option<&[u8]>) -> Result<()> {
    if changes.is_some() && copies.len() > 1 {
        return Err(Error::refused("option --changes", "it keeps the changes of one --overlay only"));
    }
    for dir in copies.iter().flat_map(Copy::dirs) {
        let opened = open(dir).or_fail(on("copy {}", dir))?;
        if files::is_procfs(&opened) == Ok(true) {
            return Err(Error::refused(on("copy {}", dir), "files of /proc cannot be copied"));
        }
    }
    match (changes, copies) {
        (Some(kept), [copy]) if lies_in_source(about, kept, copy)? => {
            Err(Error::refused(on("keep changes in {}", kept), "it lies in the directory that is copied"))
        }
        _ => Ok(()),
    }
}

/// Makes the directory of changes, and takes it for this run.
pub fn prepare<'a>(copies: &[Copy<'_>], changes: Option<&'a [u8]>) -> Result<Option<Kept<'a>>> {
    let (Some(kept), [copy]) = (changes, copies) else { return Ok(None) };
    let Some(dir) = copy.dirs().last().copied() else { return Ok(None) };
    let place = make_changes(kept).or_fail(on("keep changes in {}", kept)).map_err(want_of_rights)?;
    Kept::take(kept, &place, origin_of(dir)).map(Some)
}

/// Refuses a directory of changes that [`prepare`] would refuse. Makes nothing, and does not wait for other runs.
pub fn foresee(copies: &[Copy<'_>], changes: Option<&[u8]>) -> Result<()> {
    let (Some(kept), [copy]) = (changes, copies) else { return Ok(()) };
    let Some(dir) = copy.dirs().last().copied() else { return Ok(()) };
    let failed = on("keep changes in {}", kept);
    let may_make =
        |dir: BorrowedFd<'_>, path: &[u8]| files::may(dir, path, Access::WRITE_OK | Access::EXEC_OK);
    let place = match open(kept) {
        Ok(place) => place,
        Err(Errno::NOENT) => {
            let above = kept.iter().rposition(|b| *b == b'/').map_or(&b"."[..], |at| &kept[..=at]);
            return may_make(CWD, above).or_fail(failed).map_err(want_of_rights);
        }
        Err(errno) => return Err(want_of_rights(Error::of(failed, errno))),
    };
    for name in [CHANGED, WORK] {
        if files::lstat(place.as_fd(), name).err() == Some(Errno::NOENT) {
            may_make(place.as_fd(), b".").or_fail(failed).map_err(want_of_rights)?;
        }
    }
    used::is_new(&place, origin_of(dir), failed).map(drop)
}

/// Refuses a report in a directory that is copied: it would be written into the copy, and nobody could read it. Its
/// target can be a descriptor.
pub fn check_report(about: &About, copies: &[Copy<'_>], report: Option<&[u8]>) -> Result<()> {
    let is_file =
        |report: &&[u8]| !report.strip_prefix(b"=").unwrap_or(report).iter().all(u8::is_ascii_digit);
    let Some(report) = report.filter(is_file) else { return Ok(()) };
    if is_in_copy(about, copies, report) {
        return Err(Error::refused(on("report to {}", report), "it lies in a directory that is copied")
            .hint("the copy is discarded; use a file elsewhere"));
    }
    Ok(())
}

/// Whether a path means the copy of a directory, since it lies in that. A copy of the host image is mounted elsewhere.
pub fn is_in_copy(about: &About, copies: &[Copy<'_>], path: &[u8]) -> bool {
    let is_over = |copy: &&Copy<'_>| !matches!(copy.source, Source::Host);
    copies.iter().filter(is_over).any(|copy| matches!(lies_in_source(about, path, copy), Ok(true)))
}

/// Whether a directory lies in what is copied, and so would be copied into itself. The directory need not exist yet.
fn lies_in_source(about: &About, dir: &[u8], copy: &Copy<'_>) -> Result<bool> {
    let name_at = dir.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let above: &[u8] = if name_at == 0 { b"." } else { &dir[..name_at] };
    let Some(dir) = real_path(dir).or_else(|| real_path(above)) else { return Ok(false) };
    Ok(match &copy.source {
        Source::Host => places(list(about)?).any(|place| lies_in(dir, place)),
        _ => copy.dirs().into_iter().filter_map(real_path).any(|source| lies_in(dir, source)),
    })
}

/// The path of a file or directory without links in it.
pub fn real_path(path: &[u8]) -> Option<Bytes> {
    files::path_of(&files::open(CWD, path, OFlags::PATH).ok()?).ok()
}

/// The host's files with names of hosts that a copy of an image gets, as an image that is read-only gets them. It gets
/// none that is taken, since the caller or the network of the instance has another one there. Returns the path of each
/// without links, and the one that the copy has it at.
pub fn names_of_copy(
    about: &About,
    image: &[&[u8]],
    own_network: bool,
    is_taken: impl Fn(&[u8]) -> bool,
) -> Vec<(Bytes, Bytes)> {
    let may_show = list(about).and_then(|list| homes::may_show_names(about, list));
    let real = |path: &Bytes| {
        let file = find(path, OFlags::empty()).ok().filter(|file| Kind::of(file) == Ok(Kind::File))?;
        let real = files::path_of(&file).ok()?;
        may_show.as_ref().is_ok_and(|may_show| may_show(real)).then_some(real)
    };
    let names = if own_network { &[][..] } else { &[RESOLV, HOSTS] };
    let free = names.iter().copied().filter(|path| !is_taken(path) && has_place_of_name(image, path));
    free.filter_map(|path| Some((real(&path)?, path))).collect()
}

/// Whether a file of names can be shown at a path of these layers. See `Stage::place_of_name`.
pub fn has_place_of_name(image: &[&[u8]], path: &[u8]) -> bool {
    let Some(root) = layer_of_name(image, path) else { return true };
    match files::open_in(&root, path, OFlags::empty()) {
        Ok(found) => Kind::of(&found) == Ok(Kind::File),
        Err(Errno::NOENT) => place_of_missing_name(&root, path).is_some(),
        Err(_) => false,
    }
}

/// The layer that decides what is at a path: the last one that has something there. `None` if none has.
pub fn layer_of_name(image: &[&[u8]], path: &[u8]) -> Option<OwnedFd> {
    let has = |dir: &&&[u8]| files::lstat(CWD, join(&[dir, path])).err() != Some(Errno::NOENT);
    image.iter().rev().find(has).and_then(|dir| open(dir).ok())
}

/// What an instance of the host image shows.
pub fn list(about: &About) -> Result<Bytes> {
    Installation::around(about.program.to_bytes()).list().map_or_else(host_root::look_up, Ok)
}

/// Mounts the copies in the mount namespace of this process. Returns the path of each, in a tmpfs of this process: no
/// other process can rename what is on the way. So whoever can rename a source or the directory of changes cannot
/// exchange the copy. The copy of a directory is mounted over its source as well. The copy of the host image is a root
/// filesystem of its own. `points` are mount points that a copy of another image needs.
pub fn lay_over(
    about: &About,
    caller: Caller,
    privileged: &Privileged,
    copies: &[Copy<'_>],
    changes: Option<&Kept<'_>>,
    points: &[(Bytes, Kind)],
    stands: &mut Stands<'_>,
) -> Result<Vec<Bytes>> {
    let mut paths = Vec::new();
    if copies.is_empty() {
        return Ok(paths);
    }
    let umask = rustix::process::umask(Mode::empty());
    let failed = copies.first().map_or("make a copy".into(), Copy::failed);
    // A place can have a whole path in it.
    let size = Tmpfs { size: 1 << 20, inodes: 4096 + copies.len() as u64, mode: 0o755 };
    let (path, stand) = stands.make(privileged, &size, failed, "no empty directory was found for it")?;
    let progress = Progress::new();
    for (number, copy) in (0u64..).zip(copies) {
        let failed = copy.failed();
        make(stand.as_fd(), decimal(number)).or_fail(failed)?;
        let place = below(&stand, decimal(number))?;
        let room = match changes {
            Some(kept) => kept.room()?,
            None => Room::of(make_room(privileged, &place, &copy.room).or_fail(failed)?)?,
        };
        let layer = Layer {
            privileged,
            caller,
            place,
            room,
            works: 0,
            mounts: Vec::new(),
            kept: changes,
            progress: &progress,
            copied: false,
            refused: false,
        };
        let place = join(&[path, b"/", decimal(number)]);
        let below = if matches!(copy.source, Source::Host) {
            layer.host(about)
        } else {
            layer.lay(copy, &stand, points)
        };
        paths.push(join(&[place, below?]));
    }
    rustix::process::umask(umask);
    Ok(paths)
}

/// Mounts a tmpfs on a directory, and makes the directories of an overlay in it.
fn make_room(privileged: &Privileged, place: &OwnedFd, size: &Tmpfs) -> rustix::io::Result<OwnedFd> {
    let room = Detached::tmpfs(privileged, size).map_err(|e| e.errno().unwrap_or(Errno::NOMEM))?;
    let room = room.attach(privileged, place)?;
    for name in [CHANGED, WORK] {
        make(room.as_fd(), name)?;
    }
    Ok(room)
}

/// The way from a directory down to the current one, if that lies in it: the same mount, whatever was renamed above it.
fn way_to_current(dir: &OwnedFd) -> Option<Bytes> {
    let is_it = |one: &OwnedFd| {
        let of = |fd: &OwnedFd| {
            let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
            let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted).ok()?;
            Some((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino, stat.stx_mnt_id))
        };
        of(one).is_some_and(|one| of(dir) == Some(one))
    };
    let path = sys::getcwd().ok()?;
    let names: Vec<&[u8]> = components(&path).collect();
    let (mut at, mut way): (OwnedFd, Bytes) = (open(b".").ok()?, b".");
    for name in names.into_iter().rev() {
        if is_it(&at) {
            return Some(way);
        }
        way = join(&[name, b"/", way]);
        at = files::open(at.as_fd(), b"..", OFlags::PATH | OFlags::DIRECTORY).ok()?;
    }
    is_it(&at).then_some(way)
}

/// Enters the copy, if the current directory lies in what is copied: it is still the original one.
fn enter(copy: &OwnedFd, way: &[u8]) -> Result<()> {
    let entered = files::open_path(copy.as_fd(), way, OFlags::PATH | OFlags::DIRECTORY, LITERALLY);
    match entered.and_then(rustix::process::fchdir) {
        // Root may not enter a directory of another user here. Then no path can begin there either.
        Ok(()) | Err(Errno::ACCESS) => Ok(()),
        Err(errno) => Err(Error::of("enter the copy", errno)),
    }
}

fn open(dir: &[u8]) -> rustix::io::Result<OwnedFd> {
    files::open(CWD, dir, OFlags::PATH | OFlags::DIRECTORY)
}

/// A directory for changes.
pub struct Room {
    dir: OwnedFd,
    /// It, and the directory in it that holds what is changed. The image can show both by other paths.
    identities: [Identity; 2],
    /// The directory in it that holds what is changed. It is opened once, like the next one.
    changed: OwnedFd,
    /// The directory in it that holds the work directories. It is the one that was locked.
    works: OwnedFd,
}

impl Room {
    fn of(dir: OwnedFd) -> Result<Self> {
        let (changed, works) = (below(&dir, CHANGED)?, below(&dir, WORK)?);
        let of = |dir: &OwnedFd| files::identity(dir).or_fail(KEEP);
        let identities = [of(&dir)?, of(&changed)?];
        Ok(Room { dir, identities, changed, works })
    }
}

/// A copy that is being made. Everything is opened in the new mount namespace, since the kernel takes no layers from
/// another one.
struct Layer<'l> {
    privileged: &'l Privileged,
    caller: Caller,
    /// The directory where the copy is mounted, for the options of the instance.
    place: OwnedFd,
    /// The directory for changes.
    room: Room,
    /// How many overlays use this directory.
    works: u32,
    /// What was mounted before the first overlay.
    mounts: Vec<Bytes>,
    /// The directory of changes, if they are kept.
    kept: Option<&'l Kept<'l>>,
    progress: &'l Progress,
    /// Whether a directory of the host image is copied, and whether one cannot be.
    copied: bool,
    refused: bool,
}

impl Layer<'_> {
    /// Mounts the copy in its place, and over the last of its directories. Returns its path below the place.
    fn lay(self, copy: &Copy<'_>, stand: &OwnedFd, points: &[(Bytes, Kind)]) -> Result<Bytes> {
        let failed = copy.failed();
        let mut layers = Vec::new();
        for dir in &copy.dirs() {
            layers.push(open(dir).or_fail(failed)?);
        }
        let Some(source) = layers.last() else { return Err(Error::of(failed, Errno::NOENT)) };
        let (room, way) = (&self.room, way_to_current(source));
        let is_image = matches!(copy.source, Source::Roots(_));
        for layer in layers.iter().filter(|_| self.is_new()) {
            let takes = if is_image { own::TakesOver::All } else { own::TakesOver::Writable };
            let path: Bytes = if is_image { b"" } else { own::ELSEWHERE };
            if own::is_of_others(layer, self.caller, takes).or_fail(failed)? {
                own::take_over(layer, &room.changed, path, takes, &room.identities, self.progress)
                    .or_fail(failed)
                    .map_err(|e| self.want_of_room(e))?;
            }
        }
        let work = self.work(room)?;
        let with_points =
            if is_image { with_mount_points(stand, &layers, points).or_fail(failed)? } else { None };
        let overlay = self.overlay(with_points.as_ref().unwrap_or(&layers), &room.changed, &work);
        if self.kept.is_some() {
            open_to_its_owner(&work);
        }
        let overlay = overlay.map_err(|errno| self.blame(failed, errno, &layers))?;
        // A room that is not kept is mounted on the place.
        let place = if self.kept.is_some() { &self.place } else { &room.dir };
        let (place, path) = if is_image {
            let path = path_of_copy(&layers).or_fail(failed)?;
            let made = make_all(place, path).or_fail(failed)?.ok_or(Errno::LOOP).or_fail(failed)?;
            (made.0, path)
        } else {
            (files::duplicate(place).or_fail(failed)?, &b""[..])
        };
        let overlay = overlay.attach(self.privileged, source).or_fail(failed)?;
        // Before Linux 6.15 only a mount that is attached can be copied.
        let again = Detached::copy_one(self.privileged, &overlay, b"", VOLUME).or_fail(failed)?;
        again.attach(self.privileged, &place).or_fail(failed)?;
        self.note(&overlay)?;
        if let Some(way) = way {
            enter(&overlay, way)?;
        }
        self.mark().map(|()| path)
    }

    /// Marks a directory of changes in which everything is prepared. A run that ends before this leaves a directory
    /// that counts as new.
    fn mark(&self) -> Result<()> {
        self.kept.map_or(Ok(()), |kept| kept.mark(&self.room))
    }

    /// Whether no run has prepared everything in the directory of changes. A run that was killed may have prepared a
    /// part of it, and no command has changed anything there.
    fn is_new(&self) -> bool {
        self.kept.is_none_or(|kept| kept.is_new)
    }

    /// The error for an overlay that the kernel has refused. If it is possible with changes on a tmpfs, the file system
    /// of the changes is at fault.
    fn blame(&self, failed: Operation<'_>, errno: Errno, layers: &[OwnedFd]) -> Error {
        let error = Error::of(failed, errno).hint_if(Errno::INVAL, MOUNTS);
        let Some(kept) = self.kept.filter(|_| errno == Errno::INVAL) else { return error };
        let is_possible = || {
            let room = Room::of(make_room(self.privileged, &self.place, &ROOM).or_fail(failed)?)?;
            let work = self.work(&room)?;
            self.overlay(layers, &room.changed, &work).or_fail(failed)
        };
        if is_possible().is_ok() { kept.refuse() } else { error }
    }

    /// Adds advice on how to give the copy of an image more room.
    fn want_of_room(&self, error: Error) -> Error {
        let is_kept = self.kept.is_some();
        let kept = "the disk of the directory of --changes is full";
        error.hint_if(Errno::NOSPC, if is_kept { kept } else { "'-t size=1G /' gives the copy more room" })
    }

    /// Notes a copy that has been mounted.
    fn note(&self, copy: &OwnedFd) -> Result<()> {
        self.kept.map_or(Ok(()), |kept| kept.holds(copy))
    }

    /// The work directory of the next overlay.
    fn work(&self, room: &Room) -> Result<OwnedFd> {
        let name = decimal(self.works);
        make(room.works.as_fd(), name).or_fail(KEEP)?;
        below(&room.works, name)
    }

    /// Makes an overlay of these layers, the later over the earlier. Changes go to the directory `upper`.
    fn overlay(&self, layers: &[OwnedFd], upper: &OwnedFd, work: &OwnedFd) -> rustix::io::Result<Detached> {
        let at = |fd: &OwnedFd| join(&[files::name_of(fd), b"/."]);
        let mut lower: Bytes = b"";
        for layer in layers.iter().rev() {
            lower = join(&[lower, if lower.is_empty() { b"" } else { b":" }, at(layer)]);
        }
        let (upper, work) = (at(upper), at(work));
        let options = [(c"lowerdir", lower), (c"upperdir", upper), (c"workdir", work), (c"userxattr", b"")];
        let overlay = Detached::fresh(self.privileged, c"overlay", &options, VOLUME)
            .map_err(|error| error.errno().unwrap_or(Errno::INVAL))?;
        // The kernel makes it read-only if it could not make its own directory.
        let is_writable = !rustix::fs::fstatvfs(&overlay)?.f_flag.contains(StatVfsMountFlags::RDONLY);
        if is_writable { Ok(overlay) } else { Err(Errno::NOSPC) }
    }

    /// Makes a root filesystem with a copy of each place that an instance of the host image shows, and nothing else of
    /// the host. Returns its path below the place of this copy.
    fn host(mut self, about: &About) -> Result<Bytes> {
        let failed = Source::OF_HOST;
        let list = list(about)?;
        self.mounts = mount_points();
        let root = files::duplicate(&self.room.changed).or_fail(failed)?;
        for entry in entries(list) {
            match entry {
                // It is shown as it is.
                Entry::Place(place) if is_sysfs(place) => {}
                Entry::Place([path @ .., _]) => self.show(&root, path)?,
                Entry::Link(at, target) => {
                    let name = &at[files::parent(at).len() + 1..];
                    if let Some((dir, _)) = make_all(&root, files::parent(at)).or_fail(failed)? {
                        // The link can exist since the last run.
                        let _ = files::make_link(target, dir.as_fd(), name);
                    }
                }
                Entry::Place(_) | Entry::Open | Entry::Home(..) => {}
            }
        }
        for name in EMPTY.iter().map(|name| name.as_bytes()) {
            // Whatever is mounted there is not asked, and is not shown.
            if matches!(files::kind(CWD, join(&[b"/", name])), Ok(FileType::Directory) | Err(Errno::ACCESS)) {
                make_all(&root, join(&[b"/", name])).or_fail(on("make the directory {}", name))?;
            }
        }
        // Without this everything would be read-only, and nothing kept.
        if self.refused && !self.copied {
            let no_layer = || Error::refused(failed, "no file system of it can be a layer");
            return Err(self.kept.map_or_else(no_layer, Kept::refuse));
        }
        let into = |dir: &[u8]| make_all(&root, dir)?.map(|made| made.0).ok_or(Errno::LOOP);
        own::copy_resolver(&root, homes::may_show_names(about, list)?, into)
            .or_fail(failed)
            .map_err(|e| self.want_of_room(e))?;
        if self.kept.is_none() {
            // A mount point for selfdock itself, if it lies in no place that is shown.
            let own = about.program.to_bytes();
            if let Ok(Some((dir, _))) = make_all(&root, files::parent(own)) {
                let _ = files::make_file(dir.as_fd(), &own[files::parent(own).len() + 1..]);
            }
        }
        let name = &OF_IMAGE[1..];
        if self.kept.is_none() {
            // Nobody else can reach this directory.
            let (from, to) =
                c_string(CHANGED).and_then(|from| Ok((from, c_string(name)?))).or_fail(failed)?;
            rustix::fs::renameat(&self.room.dir, from, &self.room.dir, to).or_fail(failed)?;
        } else {
            // By its descriptor: commands of other instances may rename what is on the way.
            make(self.place.as_fd(), name).or_fail(failed)?;
            let place = below(&self.place, name)?;
            let tree = Detached::copy(self.privileged, &root, b"", VOLUME).or_fail(failed)?;
            tree.attach(self.privileged, &place).or_fail(failed)?;
        }
        self.mark()?;
        Ok(OF_IMAGE)
    }

    /// Shows a copy of a directory of the host. The kernel refuses a directory with submounts as a layer, since what
    /// they cover would become visible. Such a directory is shown in parts: its files are copied, and each of its
    /// directories gets an overlay of its own.
    fn show(&mut self, root: &OwnedFd, path: &[u8]) -> Result<()> {
        let failed = on("show a copy of {}", path);
        if silent::is_silent(CWD, path) {
            // An instance shows the mount point without asking for what is mounted there. A copy cannot.
            return make_all(root, path).or_fail(failed).map(drop);
        }
        let rules = ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        // The directory is gone, or the caller may not enter it. It is then left out.
        let look = || files::open_path(CWD, path, flags, rules);
        let lower = match look() {
            Ok(lower) => lower,
            Err(errno) => return own::unless_out(Err(errno)).or_fail(failed),
        };
        // It can go away after that, too.
        let is_gone = || look().is_err();
        // The directory of changes is not copied into itself.
        if files::identity(&lower).is_ok_and(|identity| self.room.identities.contains(&identity)) {
            return Ok(());
        }
        let Some((upper, was_there)) = make_all(root, path).or_fail(failed)? else { return Ok(()) };
        if self.mounts.iter().any(|point| point != &path && lies_in(point, path)) {
            return self.show_parts(root, path, &lower, &upper, was_there);
        }
        self.works += 1;
        let work = self.work(&self.room)?;
        if !was_there || self.is_new() {
            let (takes, changes) = (own::TakesOver::All, &self.room.identities);
            own::take_over(&lower, &upper, join(&[path]), takes, changes, self.progress)
                .or_fail(failed)
                .map_err(|e| self.want_of_room(e))?;
        }
        let layers = [lower];
        let tree = self.overlay(&layers, &upper, &work);
        open_to_its_owner(&work);
        let tree = match tree {
            // The directory is closed to the caller, and stays empty here.
            Err(Errno::ACCESS) => return Ok(()),
            Err(Errno::NOENT) if is_gone() => return Ok(()),
            // A file system that cannot be a layer is shown unchanged.
            Err(Errno::INVAL) => {
                self.refused = true;
                let tree = match Detached::copy(self.privileged, layers[0].as_fd(), b"", MAP) {
                    Err(Errno::NOENT) if is_gone() => return Ok(()),
                    tree => tree.or_fail(failed)?,
                };
                return match tree.attach(self.privileged, &upper) {
                    Err(Errno::NOENT) if is_gone() => Ok(()),
                    shown => shown.or_fail(failed).map(drop),
                };
            }
            made => made.or_fail(failed)?,
        };
        self.copied = true;
        tree.attach(self.privileged, &upper).or_fail(failed).and_then(|copy| self.note(&copy))
    }

    fn show_parts(
        &mut self,
        root: &OwnedFd,
        path: &[u8],
        lower: &OwnedFd,
        upper: &OwnedFd,
        was_there: bool,
    ) -> Result<()> {
        let failed = on("show a copy of {}", path);
        let mut names: Vec<Bytes> = Vec::new();
        let listed = files::each_entry(lower.as_fd(), failed, &mut |name| {
            names.push(join(&[name]));
            Ok(())
        });
        if let Err(error) = listed {
            return own::unless_out(Err(error.errno().unwrap_or(Errno::ACCESS))).or_fail(failed);
        }
        for name in names {
            match files::kind(lower.as_fd(), name) {
                // The kernel tells nothing about the FUSE of another user.
                Ok(FileType::Directory) | Err(Errno::ACCESS) => self.show(root, join(&[path, b"/", name]))?,
                Ok(_) if silent::is_silent(lower.as_fd(), name) => {}
                Ok(_) if !was_there || self.is_new() => {
                    own::copy(lower, upper, name).or_fail(failed).map_err(|e| self.want_of_room(e))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The layers of an image over one that has the mount points that all of them lack. `None` if they lack none. One that
/// cannot be made here is made in the copy.
fn with_mount_points(
    stand: &OwnedFd,
    layers: &[OwnedFd],
    points: &[(Bytes, Kind)],
) -> rustix::io::Result<Option<Vec<OwnedFd>>> {
    let lacks = |layer: &OwnedFd, path: &[u8]| files::open_literally(layer, path).err() == Some(Errno::NOENT);
    let mut missing =
        points.iter().filter(|(path, _)| layers.iter().all(|layer| lacks(layer, path))).peekable();
    if missing.peek().is_none() {
        return Ok(None);
    }
    make(stand.as_fd(), MOUNT_POINTS)?;
    let lowest = files::open(stand.as_fd(), MOUNT_POINTS, OFlags::PATH | OFlags::DIRECTORY)?;
    for (path, kind) in missing {
        let above = files::parent(path);
        if let Ok(Some((dir, _))) = make_all(&lowest, above) {
            let _ = files::make_entry(&dir, &path[above.len() + 1..], *kind);
        }
    }
    let layers = layers.iter().map(files::duplicate).collect::<rustix::io::Result<Vec<OwnedFd>>>()?;
    Ok(Some([lowest].into_iter().chain(layers).collect()))
}

/// The mount points that a copy of an image needs: selfdock's own, and those of these files of names and mounts.
pub fn mount_points_of_copy(
    image: &[&[u8]],
    names: &[(Bytes, Bytes)],
    mounts: impl Iterator<Item = (Bytes, Kind)>,
) -> Vec<(Bytes, Kind)> {
    let place = |(_, path): &(Bytes, Bytes)| match layer_of_name(image, path) {
        Some(root) => place_of_missing_name(&root, path),
        None => Some(*path),
    };
    let own = [&b"/dev"[..], b"/proc", b"/tmp"].map(|path| (path, Kind::Directory));
    let names = names.iter().filter_map(place).map(|path| (path, Kind::File));
    own.into_iter().chain(names).chain(mounts).collect()
}

/// The path of the copy of an image below its place. It names all layers, unless it would be too long for a path.
fn path_of_copy(layers: &[OwnedFd]) -> rustix::io::Result<Bytes> {
    const LONG: usize = 2048;
    let mut path: Bytes = b"";
    for layer in layers {
        let name = files::path_of(layer)?;
        let name = if name == b"/" { b"" } else { name };
        path = join(&[if path.len() > LONG { b"" } else { path }, OF_IMAGE, name]);
    }
    Ok(path)
}

/// Says why root may not write there: selfdock gives up all capabilities.
fn want_of_rights(error: Error) -> Error {
    let is_root = rustix::process::getuid().is_root();
    let why =
        "selfdock gives root no right over what belongs to other users; use a directory that belongs to root";
    if is_root { error.hint_if(Errno::ACCESS, why) } else { error }
}

/// A submount would have to be left out, and what it covers would become visible: the kernel refuses that.
const MOUNTS: &str =
    "something is mounted in it, or its file system cannot be a layer; use another directory";

/// Makes a directory, unless it exists.
fn make(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    make_with_mode(dir, name, Mode::from_raw_mode(0o755))
}

fn make_with_mode(dir: BorrowedFd<'_>, name: &[u8], mode: Mode) -> rustix::io::Result<()> {
    match files::make_directory(dir, name, mode.as_raw_mode()) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

const KEEP: &str = "keep changes";

/// The rules for opening files in a directory of changes. A command has made its content. A link in it could lead to
/// files of the caller outside, which selfdock would then write to.
const LITERALLY: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Opens a directory that is an entry of another.
fn below(dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
    let opened = files::open_path(dir.as_fd(), name, OFlags::PATH | OFlags::DIRECTORY, LITERALLY);
    let failed = on("keep changes: open {}", name);
    opened
        .or_fail(failed)
        .map_err(|e| e.hint_if(Errno::LOOP, "selfdock follows no links in a directory of changes"))
}

/// The kernel makes a directory in the work directory of an overlay, which nobody may list: `rm -r` of the changes
/// would fail. It only looks names up there, with rights of its own, so the mode means nothing to it.
fn open_to_its_owner(work: &OwnedFd) {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    if let Ok(made) = files::open_path(work.as_fd(), WORK, flags, LITERALLY) {
        let _ = rustix::fs::chmodat(CWD, files::name_of(&made), Mode::RWXU, AtFlags::empty());
    }
}

/// Makes a directory with its parents. Returns it, and whether it existed. Returns `None` if the copy has a link or
/// file on the way: a command has put it there, and it stays.
fn make_all(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<Option<(OwnedFd, bool)>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let (mut dir, mut was_there) = (files::open_path(root.as_fd(), b".", flags, LITERALLY)?, true);
    for name in components(path) {
        was_there = match files::make_directory(dir.as_fd(), name, 0o755) {
            Ok(()) => false,
            Err(Errno::EXIST) => true,
            Err(errno) => return Err(errno),
        };
        dir = match files::open_path(dir.as_fd(), name, flags, LITERALLY) {
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(None),
            opened => opened?,
        };
    }
    Ok(Some((dir, was_there)))
}

/// Makes a directory in a copy of the image, with its parents.
pub fn make_directory(image: &[u8], path: &[u8]) -> rustix::io::Result<()> {
    make_all(&open(image)?, path).map(drop)
}

/// All mount points. The list is long, and reading it takes memory that is never freed.
fn mount_points() -> Vec<Bytes> {
    let list = read(b"/proc/self/mountinfo").unwrap_or_default();
    mountinfo::lines(list).map(|line| line.point).collect()
}

/// Makes a directory of changes, unless it exists. It is closed to others, since the directories above the original
/// can be.
fn make_changes(dir: &[u8]) -> rustix::io::Result<OwnedFd> {
    make_with_mode(CWD, dir, used::MODE)?;
    let opened = open(dir)?;
    make(opened.as_fd(), CHANGED)?;
    make_with_mode(opened.as_fd(), WORK, used::MODE).map(|()| opened)
}

/// The absolute path of what is copied.
fn origin_of(source: &[u8]) -> Bytes {
    match sys::getcwd() {
        Ok(cwd) if !source.starts_with(b"/") => join(&[&cwd, b"/", source]),
        _ => join(&[source]),
    }
}
