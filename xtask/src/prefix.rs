//! A throwaway prefix for an installation, and a mount namespace for its mounts.

use crate::fixtures;
use crate::place::is_nosuid;
use crate::run::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Makes a mount namespace for this run. The host does not see its mounts, and they are gone with the last process.
pub fn own_mounts() -> Result {
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("make its mounts private")?;
    // The mounts are shared, as on most machines, so that propagation out of an instance can be seen.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SHARED, None::<&str>)
        .context("make its mounts shared")
}

/// The throwaway prefix. It is removed when the run ends, however it ends.
pub struct Prefix {
    pub path: PathBuf,
    /// Removes the directory when dropped.
    _dir: Option<TempDir>,
}

impl Prefix {
    /// It is in a directory that instances have, on a mount that honours set-uid bits.
    pub fn new(keep: bool) -> Result<Self> {
        for parent in ["/opt", "/var/lib", "/usr/local"].map(Path::new) {
            if !parent.is_dir() || is_nosuid(parent)? {
                continue;
            }
            let dir = tempfile::Builder::new().prefix("selfdock-test.").tempdir_in(parent);
            let dir = dir.context(format_args!("make a directory in '{}'", parent.display()))?;
            std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755))
                .context("chmod the prefix")?;
            let path = dir.path().to_owned();
            if keep {
                println!("prefix: {}", dir.keep().display());
                return Ok(Self { path, _dir: None });
            }
            return Ok(Self { path, _dir: Some(dir) });
        }
        Err("cannot install set-uid here: /opt, /var/lib and /usr/local are missing or on nosuid mounts"
            .into())
    }
}

impl Drop for Prefix {
    /// Unmounts what is mounted in it, so that it can be removed.
    fn drop(&mut self) {
        for place in fixtures::MOUNTS {
            let _ = umount2(&self.path.join("fixtures").join(place), MntFlags::MNT_DETACH);
        }
    }
}
