//! Prepares the root directory for instances without `--root`, which has no files of the host, and the list of the
//! host's directories in it.

use crate::host::{
    ALIAS, DEVICES, EMPTY, Entry, LIB, LINKS, LIST, PROGRAM, ROOT, Seen, Shown, entries, lies_in, places,
};
use crate::replace::{Source, check_parents, replace};
use crate::run::{Context, Result};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::Gid;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The directory in which an administrator names more directories.
const MORE: &str = "/etc/selfdock/root.d";

/// An entry of the prepared directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Directory,
    Link(PathBuf),
    File,
    Device(u32, u32),
}

/// Makes the directory and the list below `prefix`, for the present host. An existing directory is kept and
/// corrected, since instances run in it: first missing entries are made, then the list is replaced, and old entries
/// are removed last.
pub fn prepare(prefix: &Path) -> Result {
    let root = prefix.join(ROOT);
    fs::create_dir_all(&root).context(format_args!("make directory '{}'", root.display()))?;
    check_parents(&root)?;
    nothing_is_mounted_in(&root)?;
    fs::set_permissions(&root, Permissions::from_mode(0o755)).context(root.display())?;
    let list = list(prefix)?.0;
    let items = items(prefix, &list);
    if !shows(&list, prefix) {
        let prefix = prefix.display();
        eprintln!(
            "xtask: note: instances do not show {prefix}, so inside, selfdock lacks its second program: \
             '-m {prefix} {prefix}' shows it"
        );
    }
    if let Some(error) = lacks_devices(&root) {
        eprintln!(
            "xtask: note: no root directory is prepared (no device can be made: {error}); instances start more slowly"
        );
        return remove(prefix);
    }
    let in_use = is_in_use(&root)?;
    for (path, item) in &items {
        make(&root.join(path), item, in_use)?;
    }
    replace(&Source::Bytes(list), &prefix.join(LIST), 0o644, Gid::from_raw(0))?;
    if in_use { Ok(()) } else { remove_others(&root, Path::new(""), &items) }
}

fn shows(list: &[u8], path: &Path) -> bool {
    places(list).any(|place| lies_in(path.as_os_str().as_bytes(), place))
}

/// Whether an instance runs in the directory. A directory with a mount in another mount namespace can be removed, and
/// the mount goes with it.
fn is_in_use(root: &Path) -> Result<bool> {
    let processes = fs::read_dir("/proc").context("/proc")?;
    let mut lists = processes.flatten().filter_map(|process| mounts(&process.path().join("mountinfo")).ok());
    // The path within its file system, which may be mounted elsewhere.
    let name = root.strip_prefix("/").unwrap_or(root);
    Ok(lists.any(|list| list.iter().any(|mount| mount.root.ends_with(name) && mount.place == Path::new("/"))))
}

struct Mounted {
    root: PathBuf,
    place: PathBuf,
}

/// The mounts of a process, with unescaped paths. proc(5)
fn mounts(list: &Path) -> std::io::Result<Vec<Mounted>> {
    let text = fs::read(list)?;
    let field = |line: &[u8], n: usize| {
        let field = line.split(|byte| *byte == b' ').nth(n).unwrap_or_default();
        PathBuf::from(std::ffi::OsString::from_vec(unescape(field)))
    };
    let line = |line: &[u8]| Mounted { root: field(line, 3), place: field(line, 4) };
    Ok(text.split(|byte| *byte == b'\n').map(line).collect())
}

/// A backslash and three octal digits stand for a byte.
fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while let [first, rest @ ..] = text {
        let digits =
            rest.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(byte.unwrap_or(*first));
        text = if byte.is_some() { &rest[3..] } else { rest };
    }
    plain
}

/// Refuses a directory with mounts, since they are not ours.
fn nothing_is_mounted_in(root: &Path) -> Result {
    let mounts = mounts(Path::new("/proc/self/mountinfo")).context("/proc/self/mountinfo")?;
    match mounts.iter().find(|mount| mount.place.starts_with(root)) {
        Some(mount) => Err(format!("something is mounted at '{}'; unmount it first", mount.place.display())),
        None => Ok(()),
    }
}

/// Removes both, but keeps a directory in which instances run.
pub fn remove(prefix: &Path) -> Result {
    let (list, root) = (prefix.join(LIST), prefix.join(ROOT));
    report(&list, fs::remove_file(&list))?;
    nothing_is_mounted_in(&root)?;
    if is_in_use(&root)? {
        println!("kept {}, since instances run in it: uninstall again when they have ended", root.display());
        return Ok(());
    }
    report(&root, fs::remove_dir_all(&root))
}

fn report(path: &Path, gone: std::io::Result<()>) -> Result {
    match gone {
        Ok(()) => println!("removed {}", path.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => println!("absent {}", path.display()),
        Err(error) => return Err(format!("remove '{}': {error}", path.display())),
    }
    Ok(())
}

/// The list of another root directory, without additions.
pub fn list_of(root: &Path) -> Vec<u8> {
    let inside = |path: &[u8]| root.join(OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path)));
    Shown::of_host(&mut |path| look(inside(path).as_os_str().as_bytes())).0
}

/// The entries and the list that `prepare` would make for a system, which `look` describes by path, without additions
/// and homes. Only root can change its files.
pub fn in_tree(prefix: &Path, look: &mut dyn FnMut(&[u8]) -> Seen) -> (BTreeMap<PathBuf, Item>, Vec<u8>) {
    let mut shown = Shown::of_host(look);
    shown.add(prefix.join(LIB).as_os_str().as_bytes(), look);
    shown.sort(&mut |_| true);
    (items(prefix, &shown.0), shown.0)
}

/// The most bytes of the list for homes. selfdock reads at most 64 kB of the list at each start.
const ROOM_FOR_HOMES: usize = 16 << 10;

/// The directories to bind: those of the table that exist, the administrator's, and selfdock's own.
fn list(prefix: &Path) -> Result<Shown> {
    let mut look = look;
    let mut shown = Shown::of_host(&mut look);
    for wanted in more(Path::new(MORE))? {
        let is_directory = fs::metadata(&wanted).is_ok_and(|meta| meta.is_dir());
        if !is_directory || !shown.add(wanted.as_os_str().as_bytes(), &mut look) {
            eprintln!(
                "xtask: warning: {MORE}: '{}' is not a directory that instances can have",
                wanted.display()
            );
        }
    }
    shown.add(prefix.join(LIB).as_os_str().as_bytes(), &mut look);
    shown.sort(&mut |place| is_closed(Path::new(OsStr::from_bytes(place))));
    for (link, target) in aliases() {
        let link = [&[ALIAS], link.as_os_str().as_bytes()].concat();
        shown.add_home(&link, target.as_os_str().as_bytes());
    }
    let room = shown.0.len() + ROOM_FOR_HOMES;
    for (uid, home) in homes() {
        shown.add_home(uid.to_string().as_bytes(), home.as_os_str().as_bytes());
        if shown.0.len() > room {
            eprintln!(
                "xtask: warning: too many users have a home in a visible directory; the others are hidden by HOME alone"
            );
            break;
        }
    }
    Ok(shown)
}

/// Whether only root can replace a directory.
fn is_closed(place: &Path) -> bool {
    place.ancestors().skip(1).all(|dir| fs::metadata(dir).is_ok_and(|meta| only_root_changes(&meta)))
}

/// The homes of ordinary users, from passwd(5).
fn homes() -> Vec<(u32, PathBuf)> {
    let users = fs::read("/etc/passwd").unwrap_or_else(|error| {
        eprintln!(
            "xtask: warning: /etc/passwd: {error}; homes in visible directories are hidden by HOME alone"
        );
        Vec::new()
    });
    let home = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        let uid = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let home = fs::canonicalize(OsStr::from_bytes(fields.nth(2)?)).ok()?;
        (uid != 0 && fs::metadata(&home).ok()?.uid() == uid).then_some((uid, home))
    };
    users.split(|byte| *byte == b'\n').filter_map(home).collect()
}

/// The links in the root directory through which homes can be named, with their targets.
fn aliases() -> Vec<(PathBuf, PathBuf)> {
    let entries = fs::read_dir("/").into_iter().flatten().flatten().map(|entry| entry.path());
    let links = entries.filter(|path| path.is_symlink());
    links.filter_map(|path| Some((path.clone(), fs::canonicalize(path).ok()?))).collect()
}

fn look(path: &[u8]) -> Seen {
    match fs::symlink_metadata(OsStr::from_bytes(path)) {
        // Other users who could make a link there would choose directories for all instances.
        Ok(meta) if meta.is_symlink() && !is_roots(path, &meta) => Seen::Nothing,
        Ok(meta) if meta.is_symlink() => fs::read_link(OsStr::from_bytes(path))
            .map_or(Seen::Nothing, |target| Seen::Link(target.into_os_string().into_vec())),
        Ok(_) => Seen::Place,
        Err(_) => Seen::Nothing,
    }
}

/// Whether a link belongs to root, in a directory in which only root can make another.
fn is_roots(path: &[u8], link: &fs::Metadata) -> bool {
    let dir = Path::new(OsStr::from_bytes(path)).parent().and_then(|dir| fs::metadata(dir).ok());
    link.uid() == 0 && dir.is_some_and(|dir| only_root_changes(&dir))
}

fn only_root_changes(meta: &fs::Metadata) -> bool {
    meta.uid() == 0 && meta.mode() & 0o022 == 0
}

/// The directories that an administrator names, one on each line, in files that belong to root and that only root can
/// write.
fn more(dir: &Path) -> Result<Vec<PathBuf>> {
    let theirs = |path: &Path| Err(format!("'{}' can be changed by others than root", path.display()));
    let files = match fs::read_dir(dir) {
        Ok(files) => files,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("read '{}': {error}", dir.display())),
    };
    if !only_root_changes(&fs::metadata(dir).context(dir.display())?) {
        return theirs(dir);
    }
    let mut paths = Vec::new();
    for file in files {
        paths.push(file.context(dir.display())?.path());
    }
    paths.sort();
    let mut wanted = Vec::new();
    for path in paths {
        let meta = fs::metadata(&path).context(path.display())?;
        if !only_root_changes(&meta) {
            return theirs(&path);
        }
        if !meta.is_file() {
            return Err(format!("'{}' is no regular file", path.display()));
        }
        for line in fs::read_to_string(&path).context(path.display())?.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if !line.starts_with('/') {
                return Err(format!("'{}': '{line}' is no absolute path", path.display()));
            }
            wanted.push(line.into());
        }
    }
    Ok(wanted)
}

/// The entries of the directory, by path, parents first.
fn items(prefix: &Path, list: &[u8]) -> BTreeMap<PathBuf, Item> {
    let mut all = BTreeMap::new();
    let mut add = |path: &Path, item: Item| {
        let path = path.strip_prefix("/").unwrap_or(path);
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            all.entry(above.to_owned()).or_insert(Item::Directory);
        }
        all.entry(path.to_owned()).or_insert(item);
    };
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
    for entry in entries(list) {
        match entry {
            Entry::Link(at, to) => add(&path(at), Item::Link(path(to))),
            Entry::Open | Entry::Home(..) => {}
            Entry::Place(place) => add(&path(place.strip_suffix(b"\0").unwrap_or(place)), Item::Directory),
        }
    }
    for name in EMPTY.iter().copied().chain(["dev/pts", "dev/shm"]) {
        add(Path::new(name), Item::Directory);
    }
    for (name, target) in LINKS.iter().copied() {
        add(&Path::new("dev").join(name), Item::Link(target.into()));
    }
    for (name, major, minor) in DEVICES.iter().copied() {
        add(&Path::new("dev").join(name), Item::Device(major, minor));
    }
    // For the caller's terminal.
    add(Path::new("dev/console"), Item::File);
    // The mount point for selfdock itself, if nothing else is there.
    let is_shown = |place: &[u8]| prefix.join("bin").starts_with(path(&place[..place.len() - 1]));
    if !entries(list).any(|entry| matches!(entry, Entry::Place(place) if is_shown(place))) {
        add(&prefix.join(PROGRAM), Item::File);
    }
    // If a link replaces a directory, the entries below it are elsewhere.
    let links: Vec<PathBuf> =
        all.iter().filter(|(_, item)| matches!(item, Item::Link(_))).map(|(path, _)| path.clone()).collect();
    all.retain(|path, _| !links.iter().any(|link| path != link && path.starts_with(link)));
    all
}

/// Makes an entry, unless it exists.
fn make(path: &Path, item: &Item, in_use: bool) -> Result {
    if is(path, item) {
        return Ok(());
    }
    let failed = format!("make '{}'", path.display());
    if in_use && fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        return Err(format!(
            "{failed}: something else is in its place, and instances are running; end them first"
        ));
    }
    remove_entry(path)?;
    match item {
        Item::Directory => fs::create_dir(path).context(&failed)?,
        Item::Link(target) => return symlink(target, path).context(&failed),
        Item::File => fs::write(path, "").context(&failed)?,
        Item::Device(major, minor) => {
            let device = makedev((*major).into(), (*minor).into());
            mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), device).context(&failed)?;
        }
    }
    fs::set_permissions(path, Permissions::from_mode(mode(item))).context(&failed)
}

fn mode(item: &Item) -> u32 {
    match item {
        Item::Directory => 0o755,
        Item::File => 0o444,
        Item::Device(..) => 0o666,
        Item::Link(_) => 0o777,
    }
}

/// Why device nodes cannot be made or used there, as in many containers, or on a mount with nodev.
fn lacks_devices(root: &Path) -> Option<String> {
    let node = root.join("dev.new");
    let _ = fs::remove_file(&node);
    let made = mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 3));
    let tried = made.map_err(|error| error.to_string());
    let tried = tried.and_then(|()| fs::File::open(&node).map(drop).map_err(|error| error.to_string()));
    let _ = fs::remove_file(&node);
    tried.err()
}

/// Whether the entry exists and belongs to root.
fn is(path: &Path, item: &Item) -> bool {
    let Ok(meta) = fs::symlink_metadata(path) else { return false };
    let kind = match item {
        Item::Directory => meta.is_dir(),
        Item::Link(target) => return fs::read_link(path).is_ok_and(|is| is == *target),
        Item::File => meta.is_file() && meta.len() == 0,
        Item::Device(major, minor) => {
            let device = makedev((*major).into(), (*minor).into());
            meta.file_type().is_char_device() && meta.rdev() == device
        }
    };
    kind && (meta.uid(), meta.gid()) == (0, 0) && meta.mode() & 0o7777 == mode(item)
}

fn remove_entry(path: &Path) -> Result {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.context(format_args!("remove '{}'", path.display()))
}

/// Removes other entries of the directory.
fn remove_others(root: &Path, dir: &Path, items: &BTreeMap<PathBuf, Item>) -> Result {
    let place = root.join(dir);
    for entry in fs::read_dir(&place).context(place.display())? {
        let name = dir.join(entry.context(place.display())?.file_name());
        match items.get(&name) {
            None => remove_entry(&root.join(&name))?,
            Some(Item::Directory) => remove_others(root, &name, items)?,
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_shown_by_a_directory_of_the_list_above_it() {
        let list = b"/usr\0>/bin\0usr/bin\0!\0/opt/of others\0";
        let shown = |path: &str| shows(list, Path::new(path));
        assert!(shown("/usr/local") && shown("/opt/of others"));
        assert!(!shown("/opt") && !shown("/usr2") && !shown("/bin/x"));
    }

    #[test]
    fn lines_of_an_administrator_are_read_and_others_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("10-site");
        fs::write(&file, "# comment\n\n  /scratch \n/sw\n").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        // An ordinary user's test cannot make a file that belongs to root.
        match more(dir.path()) {
            Ok(wanted) => assert_eq!(wanted, [Path::new("/scratch"), Path::new("/sw")]),
            Err(error) => assert!(error.contains("others than root"), "{error}"),
        }
        fs::set_permissions(&file, Permissions::from_mode(0o664)).unwrap();
        assert!(more(dir.path()).unwrap_err().contains("others than root"));
        assert!(more(&dir.path().join("none")).unwrap().is_empty());
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(more(dir.path()).unwrap_err().contains("others than root"));
    }

    #[test]
    fn a_link_that_others_than_root_could_make_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/usr", &link).unwrap();
        let seen = || look(link.as_os_str().as_bytes());
        // An ordinary user's test cannot make a file that belongs to root.
        let is_root = fs::symlink_metadata(&link).unwrap().uid() == 0;
        assert_eq!(matches!(seen(), Seen::Link(_)), is_root);
        fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(matches!(seen(), Seen::Nothing));
        assert!(matches!(look(b"/proc/self"), Seen::Link(_)));
    }

    #[test]
    fn escapes_of_the_kernel_are_undone() {
        assert_eq!(unescape(b"/my\\040tools\\134x\\04"), b"/my tools\\x\\04");
    }

    #[test]
    fn what_is_shown_has_a_place_and_so_has_selfdock() {
        let list = b">/bin\0usr/bin\0>/var\0data/var\0/usr\0/data/var/lib/dpkg\0";
        let items = items(Path::new("/srv/tools"), list);
        let has = |path: &str| items.get(Path::new(path)).cloned();
        assert_eq!(has("usr"), Some(Item::Directory));
        assert_eq!(has("data/var/lib"), Some(Item::Directory));
        assert_eq!(has("bin"), Some(Item::Link("usr/bin".into())));
        assert_eq!(has("srv/tools/bin/selfdock"), Some(Item::File));
        assert_eq!(has("dev/null"), Some(Item::Device(1, 3)));
        assert_eq!((has("var"), has("var/tmp")), (Some(Item::Link("data/var".into())), None));
        assert_eq!(super::items(Path::new("/usr/local"), b"/usr\0").get(Path::new("usr/local")), None);
    }
}
