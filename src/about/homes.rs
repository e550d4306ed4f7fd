//! The caller's homes, which an instance of the host image hides. With `--fake-root`, and in a copy of the image, the
//! second program hides them. It finds them as the set-uid program does in an instance
//! ([`crate::stage::Stage::hide_of`]), so no lookup goes into a file system that need not answer.

use crate::command::home;
use crate::files;
use crate::handover::About;
use crate::host::{Seen, follow, homes, lies_in, places};
use crate::mount::may_be_silent;
use crate::text::{Bytes, c_string, decimal, join};
use alloc::vec::Vec;
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};
use rustix::io::Errno;

/// What an instance of the host image hides of the caller's homes: paths without links. `list` are the directories that
/// it shows.
pub fn hidden(about: &About, list: &[u8]) -> Vec<Bytes> {
    let variable = home(&about.environment).filter(|_| about.caller.uid != 0);
    let all = homes(list, decimal(about.caller.uid), variable);
    let found = all.iter().filter_map(|home| hidden_place(home, list));
    found.filter(|home| places(list).any(|place| lies_in(home, place))).collect()
}

/// The directory that is hidden for this home. `None` if nobody can reach the home, or if it belongs to another user.
fn hidden_place(home: &[u8], list: &[u8]) -> Option<Bytes> {
    let (mut silent, mut is_silent): (Bytes, bool) = (b"", false);
    let mut look = |at: &[u8]| {
        if !silent.is_empty() && lies_in(at, silent) {
            is_silent = true;
            return Seen::Nothing;
        }
        if may_be_silent(CWD, at) && !places(list).any(|place| place == at) {
            silent = join(&[at]);
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
    let at = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let stat = c_string(place).and_then(|path| statx(CWD, path, at, StatxFlags::UID | StatxFlags::TYPE));
    let own = rustix::process::getuid().as_raw();
    let is_dir = |mode: u16| FileType::from_raw_mode(mode.into()).is_dir();
    // Without an answer, the directory is taken for the caller's.
    stat.map_or(true, |stat| stat.stx_uid == own && is_dir(stat.stx_mode)).then_some(place)
}
