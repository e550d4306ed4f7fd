//! Replaces files as root, each one atomically, and takes the privilege of old ones away.

use crate::host::capability_set;
use crate::run::{Context, Result};
use nix::unistd::{Gid, Uid, fchown};
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use xattr::FileExt;

/// The source of a file.
pub enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// The attribute for the capabilities of a file. xattr(7), capabilities(7).
pub const CAPABILITIES: &str = "security.capability";

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

#[cfg(test)]
mod tests {
    use super::*;

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

    /// U1: old set-uid file.
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
