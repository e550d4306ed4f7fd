//! The caller's homes, which an instance of the host image hides. With `--fake-root`, and in a copy of the image, the
//! second program hides them. It finds them as the set-uid program does in an instance
//! ([`crate::stage::Stage::hide_of`]), so no lookup goes into a file system that need not answer.

use crate::command::home;
use crate::files::{self, may_be_directory_of};
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
pub fn hidden(about: &About, list: &[u8]) -> Vec<Bytes> {
    let variable = home(&about.environment).filter(|_| about.caller.uid != 0);
    let all = homes(list, decimal(about.caller.uid), variable);
    let Ok(root) = files::open(CWD, b"/", OFlags::PATH) else { return Vec::new() };
    let found = all.iter().filter_map(|home| hidden_place(&root, home, list));
    found.filter(|home| places(list).any(|place| lies_in(home, place))).collect()
}

/// The directory that is hidden for this home. `None` if nobody can reach the home, or if it belongs to another user.
fn hidden_place(root: &OwnedFd, home: &[u8], list: &[u8]) -> Option<Bytes> {
    let (mut silent, mut is_silent): (Bytes, bool) = (b"", false);
    let mut look = |at: &[u8]| {
        if is_in_silent(root.as_fd(), at, list, &mut silent) {
            is_silent = true;
            return Seen::Nothing;
        }
        match files::link_target(CWD, at) {
            Ok(target) => Seen::Link(target.to_vec()),
            Err(Errno::INVAL) => Seen::Place,
            Err(_) => Seen::Nothing,
        }
    };
    let place = follow(home, &mut look, &mut |_, _| {});
    if is_silent {
        return Some(silent);
    }
    let place: Bytes = place?.leak();
    let own = rustix::process::getuid().as_raw();
    let opened = files::open(CWD, place, OFlags::PATH | OFlags::NOFOLLOW);
    opened.map_or(true, |home| may_be_directory_of(&home, own)).then_some(place)
}
