//! The files of an installation. Installs them as root, and verifies the result.

use crate::host::{ABOUT, LIB, PROGRAM};
use crate::replace::{CAPABILITIES, Source, capabilities, check_parents, replace};
use crate::run::{Context, Result};
use crate::{cargo, completions, elf, man, prepare};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Gid;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The prefix of an installation that names no other.
pub const PREFIX: &str = "/usr/local";

/// One file of an installation: where it comes from, where it goes below the prefix, and its mode.
pub struct Item {
    pub source: Source,
    pub dest: &'static str,
    pub mode: u32,
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

/// All that an installation in `prefix` has: [`items`], and files outside the prefix.
pub fn items_of(prefix: &Path) -> Vec<Item> {
    let mut items = items();
    items.extend(fish_of_the_system(prefix, Path::new(FISH_OF_THE_SYSTEM)));
    items
}

/// The directory of Debian's fish, which does not search below /usr/local.
const FISH_OF_THE_SYSTEM: &str = "/usr/share/fish/vendor_completions.d";

fn fish_of_the_system(prefix: &Path, dir: &Path) -> Option<Item> {
    let is_wanted = prefix == Path::new(PREFIX) && dir.is_dir();
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
    replace(&source, &prefix.join(PROGRAM), 0o4755, Gid::from_raw(0))
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
    fn the_readme_names_all_ready_profiles() {
        let names = PROFILES.map(|(path, _)| path.rsplit('/').next().unwrap());
        let readme = std::fs::read_to_string(crate::run::root().join("README.md")).unwrap();
        assert!(readme.contains(&format!("({})", names.join(", "))), "{names:?}");
    }

    #[test]
    fn fish_finds_its_completions_where_it_looks() {
        let dir = tempfile::tempdir().unwrap();
        let local = Path::new("/usr/local");
        let item = fish_of_the_system(local, dir.path()).unwrap();
        assert_eq!(local.join(item.dest), Path::new(FISH_OF_THE_SYSTEM).join("selfdock.fish"));
        assert!(fish_of_the_system(Path::new("/opt/other"), dir.path()).is_none());
        assert!(fish_of_the_system(local, &dir.path().join("absent")).is_none());
    }
}
