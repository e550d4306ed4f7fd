//! Stands hold what is made around an instance: copies, the data of descriptors, a configuration of the resolver. Each
//! is a tmpfs on an empty directory of the host, in the mount namespace of this process. What an option shows of the
//! host must have none of them in it: whatever the command writes there would be lost.

use super::silent::is_silent;
use crate::creds::Privileged;
use crate::error::{Context, Error, OrFail, Result, on};
use crate::files;
use crate::handover::About;
use crate::host::lies_in;
use crate::installation::Installation;
use crate::mount::{Detached, VOLUME};
use crate::plan::Tmpfs;
use crate::text::{Bytes, c_string, join};
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::mount::{UnmountFlags, unmount};

/// Directories that can hold a stand. They are usually empty, and not part of the image.
const PLACES: &[&[u8]] = &[b"/mnt", b"/srv", b"/media", b"/home", b"/boot"];

/// Where the host's root directory is shown without the stands. `ps` knows it by this name.
pub const BARE_HOST: &[u8] = b"/.selfdock-host";

/// The stands of this process.
pub struct Stands<'a> {
    about: &'a About,
    /// Paths that options name: what they show, or what is written there, would be in the stand.
    used: Vec<Bytes>,
    made: Vec<(Bytes, OwnedFd)>,
}

impl<'a> Stands<'a> {
    /// None yet. `used` are paths without links that options name.
    pub fn new(about: &'a About, used: Vec<Bytes>) -> Self {
        Stands { about, used, made: Vec::new() }
    }

    /// Mounts a tmpfs on an empty directory that no option names. Returns its path and its root. `why` says what an
    /// error is about.
    pub fn make(
        &mut self,
        privileged: &Privileged,
        room: &Tmpfs,
        failed: impl Context + Copy,
        why: &'static str,
    ) -> Result<(Bytes, OwnedFd)> {
        let (path, place) = self.free_place(failed, why)?;
        let stand = Detached::tmpfs(privileged, room)?.attach(privileged, &place).or_fail(failed)?;
        self.made.push((path, files::duplicate(&stand).or_fail(failed)?));
        Ok((path, stand))
    }

    /// Finds a directory that is empty for the caller, so that a mount on it hides nothing.
    fn free_place(&self, failed: impl Context, why: &'static str) -> Result<(Bytes, OwnedFd)> {
        let own = Installation::around(self.about.program.to_bytes()).root(b"/mnt");
        // The root directory has every place in it, and [`Self::bare_host`] is shown instead.
        let is_free = |path: &Bytes| !self.used.iter().any(|used| lies_in(used, path) || lies_in(path, used));
        let open = |path: Bytes| {
            let place =
                files::open_path(CWD, path, OFlags::PATH | OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS)
                    .ok()?;
            let full = || Error::refused("look", "it is not empty");
            let is_empty =
                files::each_entry(place.as_fd(), on("list {}", path), &mut |_| Err(full())).is_ok();
            is_empty.then_some((path, place))
        };
        let mut places = PLACES.iter().copied().chain([own]).filter(is_free);
        let found = places.find_map(|path| if is_silent(CWD, path) { None } else { open(path) });
        found.ok_or_else(|| Error::refused(failed, why).hint("an empty /mnt is enough"))
    }

    /// Another mount of the root directory, from which the stands are unmounted. Returns its path. `None` if there are
    /// no stands.
    pub fn bare_host(
        &self,
        privileged: &Privileged,
        root: &OwnedFd,
        failed: impl Context + Copy,
    ) -> Result<Option<Bytes>> {
        let Some((path, stand)) = self.made.first() else { return Ok(None) };
        let name = &BARE_HOST[1..];
        files::make_directory(stand.as_fd(), name, 0o755).or_fail(failed)?;
        let at = files::open(stand.as_fd(), name, OFlags::PATH).or_fail(failed)?;
        let tree = Detached::copy(privileged, root, b"", VOLUME).or_fail(failed)?;
        tree.attach(privileged, &at).or_fail(failed)?;
        let host = join(&[path, BARE_HOST]);
        for (stand, _) in &self.made {
            let place = c_string(join(&[host, stand])).or_fail(failed)?;
            unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).or_fail(failed)?;
        }
        Ok(Some(host))
    }
}
