//! The caller's homes, which an instance of the host image hides. With `--fake-root`, and in a copy of the image, the
//! second program hides them. It finds them as the set-uid program does in an instance
//! ([`crate::stage::Stage::hide_of`]), so no lookup goes into a file system that need not answer.

use crate::command::home;
use crate::error::{OrFail, Result, on};
use crate::files::{self, is_absence, may_be_directory_of};
use crate::handover::About;
use crate::host::{Seen, follow, homes, lies_in, places};
use crate::mount::is_in_silent;
use crate::text::{Bytes, decimal};
use alloc::vec::Vec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

/// What an instance of the host image hides of the caller's homes: paths without links. `list` are the directories that
/// it shows.
pub fn hidden(about: &About, list: &[u8]) -> Result<Vec<Bytes>> {
    let variable = home(&about.environment).filter(|_| about.caller.uid != 0);
    let all = homes(list, decimal(about.caller.uid), variable);
    let root = files::open(CWD, b"/", OFlags::PATH).or_fail("open '/'")?;
    let mut found = Vec::new();
    for home in &all {
        found.extend(hidden_place(&root, home, list).or_fail(on("hide {}", home))?);
    }
    found.retain(|home| places(list).any(|place| lies_in(home, place)));
    Ok(found)
}

/// The directory that is hidden for this home. `None` if nobody can reach the home, or if it belongs to another user.
fn hidden_place(root: &OwnedFd, home: &[u8], list: &[u8]) -> rustix::io::Result<Option<Bytes>> {
    let (mut silent, mut is_silent): (Bytes, bool) = (b"", false);
    let mut failed = None;
    let mut look = |at: &[u8]| {
        if is_in_silent(root.as_fd(), at, list, &mut silent) {
            is_silent = true;
            return Seen::Nothing;
        }
        match files::link_target(CWD, at) {
            Ok(target) => Seen::Link(target.to_vec()),
            Err(Errno::INVAL) => Seen::Place,
            Err(errno) => {
                failed = Some(errno).filter(|errno| !is_absence(*errno));
                Seen::Nothing
            }
        }
    };
    let place = follow(home, &mut look, &mut |_, _| {});
    if is_silent {
        return Ok(Some(silent));
    }
    if let Some(errno) = failed {
        return Err(errno);
    }
    let Some(place) = place else { return Ok(None) };
    let own = rustix::process::getuid().as_raw();
    let opened = files::open(CWD, &place, OFlags::PATH | OFlags::NOFOLLOW);
    let is_own = opened.map_or(true, |home| may_be_directory_of(&home, own));
    Ok(is_own.then_some(place.leak()))
}
