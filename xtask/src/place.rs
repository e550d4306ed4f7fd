//! Installs files as root, each one atomically, and verifies the result.

use crate::host::{ABOUT, LIB, PROGRAM, capability_set};
use crate::run::{Context, Result};
use crate::{cargo, completions, elf, man, prepare};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Uid, fchown};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use xattr::FileExt;

/// One file of an installation: where it comes from, where it goes below the prefix, and its mode.
pub struct Item {
    pub source: Source,
    pub dest: &'static str,
    pub mode: u32,
}

/// The source of a file of an installation.
pub enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// All files that `install` installs.
pub fn items() -> Vec<Item> {
    let text = |dest, text: String| Item { source: Source::Bytes(text.into()), dest, mode: 0o644 };
    let program = |name, dest, mode| Item { source: Source::File(cargo::release(name)), dest, mode };
    let mut items = vec![
        // The second program comes first, so that selfdock always finds it.
        program("selfdock-about", ABOUT, 0o755),
        program("selfdock", PROGRAM, 0o4755),
        text("share/man/man1/selfdock.1", man::page()),
        text("share/bash-completion/completions/selfdock", completions::bash()),
        text("share/zsh/site-functions/_selfdock", completions::zsh()),
        text("share/fish/vendor_completions.d/selfdock.fish", completions::fish()),
    ];
    items.extend(PROFILES.iter().map(|(dest, options)| text(dest, (*options).to_owned())));
    items
}

/// The same, and files outside the prefix.
pub fn items_of(prefix: &Path) -> Vec<Item> {
    let mut items = items();
    items.extend(fish_of_the_system(prefix, Path::new(FISH_OF_THE_SYSTEM)));
    items
}

/// The directory of Debian's fish, which does not search below /usr/local.
const FISH_OF_THE_SYSTEM: &str = "/usr/share/fish/vendor_completions.d";

fn fish_of_the_system(prefix: &Path, dir: &Path) -> Option<Item> {
    let is_wanted = prefix == Path::new(crate::install::PREFIX) && dir.is_dir();
    // An absolute path replaces the prefix.
    let dest = "/usr/share/fish/vendor_completions.d/selfdock.fish";
    is_wanted.then(|| Item { source: Source::Bytes(completions::fish().into()), dest, mode: 0o644 })
}

/// The profiles for common uses, which `@NAME` names.
const PROFILES: [(&str, &str); 8] = [
    ("share/selfdock/profiles/browser", include_str!("../../profiles/browser")),
    ("share/selfdock/profiles/cargo", include_str!("../../profiles/cargo")),
    ("share/selfdock/profiles/go", include_str!("../../profiles/go")),
    ("share/selfdock/profiles/judge", include_str!("../../profiles/judge")),
    ("share/selfdock/profiles/maven", include_str!("../../profiles/maven")),
    ("share/selfdock/profiles/npm", include_str!("../../profiles/npm")),
    ("share/selfdock/profiles/python", include_str!("../../profiles/python")),
    ("share/selfdock/profiles/x11", include_str!("../../profiles/x11")),
];

/// Installs all items below `prefix` and verifies them. With a group, only its members can start selfdock.
pub fn place(prefix: &Path, group: Option<Gid>) -> Result {
    fs::create_dir_all(prefix).context(format_args!("make directory '{}'", prefix.display()))?;
    // selfdock finds itself by a path without links.
    let prefix = &prefix.canonicalize().context(prefix.display())?;
    for dir in [prefix.as_path(), &prefix.join("bin"), &prefix.join(LIB)] {
        fs::create_dir_all(dir).context(format_args!("make directory '{}'", dir.display()))?;
        check_parents(dir)?;
    }
    prepare::prepare(prefix)?;
    for mut item in items_of(prefix) {
        if group.is_some() && item.mode & 0o4000 != 0 {
            item.mode &= !0o007;
        }
        let gid = group.filter(|_| item.mode & 0o4000 != 0).unwrap_or(Gid::from_raw(0));
        let dest = prefix.join(item.dest);
        let dir = dest.parent().expect("an item has a directory");
        fs::create_dir_all(dir).context(format_args!("make directory '{}'", dir.display()))?;
        check_parents(dir)?;
        let source = match &item.source {
            Source::File(path) if item.mode & 0o4000 != 0 => Source::Bytes(with_prefix(path, prefix)?),
            Source::File(path) => Source::File(path.clone()),
            Source::Bytes(bytes) => Source::Bytes(bytes.clone()),
        };
        replace(&source, &dest, item.mode, gid)?;
        verify(&dest, &item, gid)?;
    }
    Ok(())
}

/// Replaces the second program.
pub fn place_about(program: &Path, prefix: &Path) -> Result {
    replace(&Source::File(program.to_owned()), &prefix.join(ABOUT), 0o755, Gid::from_raw(0))
}

/// Replaces the installed selfdock by another program. It may have any size.
pub fn place_program(program: &Path, prefix: &Path) -> Result {
    let source = Source::Bytes(with_prefix(program, prefix)?);
    replace(&source, &prefix.join("bin/selfdock"), 0o4755, Gid::from_raw(0))
}

/// The mark before the prefix in the program. The size is for both.
const PREFIX_MARK: &[u8] = b"selfdock's prefix of installing:";
const PREFIX_ROOM: usize = 160;

/// The program as installed: with the prefix written into it, and without the parts that are not loaded.
pub fn with_prefix(program: &Path, prefix: &Path) -> Result<Vec<u8>> {
    let mut bytes = fs::read(program).context(program.display())?;
    let places: Vec<usize> = bytes
        .windows(PREFIX_MARK.len())
        .enumerate()
        .filter(|(_, w)| *w == PREFIX_MARK)
        .map(|(at, _)| at)
        .collect();
    let [at] = *places else {
        return Err(format!(
            "'{}' must have one place for its prefix, but has {}",
            program.display(),
            places.len()
        ));
    };
    let room = &mut bytes[at + PREFIX_MARK.len()..at + PREFIX_ROOM];
    let prefix = prefix.as_os_str().as_bytes();
    if prefix.len() >= room.len() {
        return Err(format!("the prefix is longer than {} bytes", room.len() - 1));
    }
    room.fill(0);
    room[..prefix.len()].copy_from_slice(prefix);
    let cut = elf::keep_what_is_loaded(&mut bytes);
    cut.map(|()| bytes).ok_or_else(|| format!("'{}' is not a 64-bit ELF file", program.display()))
}

/// The attribute for the capabilities of a file. xattr(7), capabilities(7).
const CAPABILITIES: &str = "security.capability";

/// The value of the attribute: the capabilities of the table, permitted and not effective. capabilities(7)
pub fn capabilities() -> Vec<u8> {
    const REVISION_2: u32 = 0x0200_0000;
    let permitted = capability_set();
    let [low, high] = [permitted as u32, (permitted >> 32) as u32];
    // Permitted and inheritable: the lower halves first.
    [REVISION_2, low, 0, high, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Limits the capabilities of the installed file. With file capabilities the set-uid bit gives no others
/// (capabilities(7)). So a caller with uid 0, whose instances take root's rights away, can nest. Some file systems do
/// not store them; selfdock works without.
fn limit_capabilities(program: &Path) -> Result {
    match xattr::set(program, CAPABILITIES, &capabilities()) {
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {
            eprintln!(
                "xtask: note: this file system stores no file capabilities, so instances of root cannot nest"
            );
            Ok(())
        }
        other => other.context(format_args!("set the capabilities of '{}'", program.display())),
    }
}

/// Copies `source` beside `dest` and renames it, so that nobody ever sees half a program, or one with a wrong owner.
pub fn replace(source: &Source, dest: &Path, mode: u32, gid: Gid) -> Result {
    let what = format!("install '{}'", dest.display());
    let dir = dest.parent().expect("a file has a directory");
    let mut file = tempfile::NamedTempFile::new_in(dir).context(&what)?;
    match source {
        Source::File(path) => {
            let mut from = fs::File::open(path).context(format_args!("open '{}'", path.display()))?;
            std::io::copy(&mut from, &mut file).map(drop)
        }
        Source::Bytes(bytes) => file.write_all(bytes),
    }
    .context(&what)?;
    // The owner is set first, since this clears the set-uid bit.
    fchown(file.as_file(), Some(Uid::from_raw(0)), Some(gid)).context(&what)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).context(&what)?;
    if mode & 0o4000 != 0 {
        limit_capabilities(file.path())?;
    }
    file.as_file().sync_all().context(&what)?;
    let old = Old::find(dest)?;
    file.persist(dest).context(&what)?;
    old.map_or(Ok(()), |old| old.disarm())
}

/// A file that is about to be replaced. It continues to exist while it is open, mounted, or has another name: an
/// instance has a mount of the selfdock that started it. So an old version would stay executable with privilege.
pub struct Old {
    file: fs::File,
    name: String,
}

impl Old {
    /// The regular file of this name, if there is one.
    pub fn find(path: &Path) -> Result<Option<Self>> {
        let name = format!("'{}'", path.display());
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() => {}
            _ => return Ok(None),
        }
        let file = fs::File::open(path).context(&name)?;
        Ok(Some(Self { file, name }))
    }

    /// Removes its set-uid bit and capabilities, by its descriptor.
    pub fn disarm(&self) -> Result {
        let mode = self.file.metadata().context(&self.name)?.mode();
        let harmless = Permissions::from_mode(mode & 0o777);
        self.file.set_permissions(harmless).context(format_args!("chmod the old {}", self.name))?;
        match self.file.remove_xattr(CAPABILITIES) {
            Err(error) if self.file.get_xattr(CAPABILITIES).unwrap_or_default().is_some() => {
                Err(format!("take the capabilities of the old {}: {error}", self.name))
            }
            _ => Ok(()),
        }
    }
}

/// Checks the directories above a set-uid program: a user who can write to one can replace the program or a link.
pub fn check_parents(dir: &Path) -> Result {
    if dir.canonicalize().context(dir.display())? != dir {
        return Err(format!("a link leads to '{}': name the directory itself", dir.display()));
    }
    for parent in dir.ancestors() {
        let meta = fs::metadata(parent).context(parent.display())?;
        let (mode, name) = (meta.mode(), parent.display());
        if meta.uid() != 0 {
            return Err(format!(
                "'{name}' belongs to uid {}, not to root: choose another --prefix",
                meta.uid()
            ));
        }
        let sticky = mode & 0o1000 != 0;
        if mode & 0o002 != 0 && !sticky {
            return Err(format!("'{name}' can be written by everyone: choose another --prefix"));
        }
        if mode & 0o020 != 0 && !sticky {
            // With an ACL these bits are the most that an entry can grant. acl(5)
            if xattr::get(parent, "system.posix_acl_access").unwrap_or_default().is_some() {
                return Err(format!("'{name}' can be written by users in its ACL: choose another --prefix"));
            }
            eprintln!("xtask: warning: group {} can write to '{name}', and so replace selfdock", meta.gid());
        }
    }
    Ok(())
}

/// Reads back owner, mode and type of a file. A program that is not set-uid must have no capabilities. The mount of a
/// set-uid program must honour set-uid bits.
fn verify(dest: &Path, item: &Item, gid: Gid) -> Result {
    let (name, mode) = (dest.display(), item.mode);
    let meta = fs::symlink_metadata(dest).context(&name)?;
    if !meta.is_file() || (meta.uid(), meta.gid()) != (0, gid.as_raw()) || meta.mode() & 0o7777 != mode {
        let (uid, gid, is) = (meta.uid(), meta.gid(), meta.mode() & 0o7777);
        return Err(format!("'{name}' is {uid}:{gid} {is:04o} and should be 0:{gid} {mode:04o}"));
    }
    if mode & 0o4000 == 0 {
        let privileged = xattr::get(dest, CAPABILITIES).unwrap_or_default().is_some();
        let fault = privileged.then(|| format!("'{name}' has capabilities, and should have none"));
        let checked = if mode & 0o111 == 0 { Ok(()) } else { elf::check(dest, usize::MAX) };
        return fault.map_or(checked, Err);
    }
    let given = xattr::get(dest, CAPABILITIES).unwrap_or_default();
    if given.is_some_and(|given| given != capabilities()) {
        return Err(format!("'{name}' has other capabilities than it was given"));
    }
    if is_nosuid(dest)? {
        return Err(format!(
            "'{name}' lies on a mount with nosuid, where set-uid has no effect: choose another --prefix"
        ));
    }
    elf::check(dest, elf::LARGEST)
}

pub fn is_nosuid(path: &Path) -> Result<bool> {
    let about = statvfs(path).context(format_args!("statvfs '{}'", path.display()))?;
    Ok(about.flags().contains(FsFlags::ST_NOSUID))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fish_finds_its_completions_where_it_looks() {
        let dir = tempfile::tempdir().unwrap();
        let local = Path::new("/usr/local");
        let item = fish_of_the_system(local, dir.path()).unwrap();
        assert_eq!(local.join(item.dest), Path::new(FISH_OF_THE_SYSTEM).join("selfdock.fish"));
        assert!(fish_of_the_system(Path::new("/opt/other"), dir.path()).is_none());
        assert!(fish_of_the_system(local, &dir.path().join("absent")).is_none());
    }

    #[test]
    fn a_directory_that_an_acl_opens_is_refused() {
        let dir = tempfile::tempdir_in("/root").or_else(|_| tempfile::tempdir()).unwrap();
        // Version 2; the owner, uid 4302, the group, the mask and all others. acl(5)
        let entries: [(u16, u16, u32); 5] =
            [(1, 7, u32::MAX), (2, 7, 4302), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)];
        let mut acl = 2u32.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            acl.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat().iter().chain(&id.to_le_bytes()));
        }
        xattr::set(dir.path(), "system.posix_acl_access", &acl).unwrap();
        let refusal = check_parents(dir.path()).unwrap_err();
        // A file that an ordinary user's test makes is refused because of its owner.
        assert!(refusal.contains("ACL") || refusal.contains("belongs to uid"), "{refusal}");
    }

    #[test]
    fn a_file_that_is_replaced_keeps_no_privilege_under_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let [name, other] = ["name", "other"].map(|name| dir.path().join(name));
        fs::write(&name, "old").unwrap();
        fs::set_permissions(&name, Permissions::from_mode(0o6755)).unwrap();
        fs::hard_link(&name, &other).unwrap();
        let old = Old::find(&name).unwrap().unwrap();
        fs::remove_file(&name).unwrap();
        old.disarm().unwrap();
        assert_eq!(fs::metadata(&other).unwrap().mode() & 0o7777, 0o755);
        assert!(Old::find(&name).unwrap().is_none());
    }
}
