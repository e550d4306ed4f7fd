//! The ids of this process.

use super::{call, nr};
use core::ptr;
use rustix::io::Result;

/// Real, effective, saved and filesystem uid (`gid` for groups), as the kernel has them now.
/// getresuid(2), getresgid(2); setfsuid(2) with an impossible id only reads.
pub fn all_ids() -> Result<([u32; 4], [u32; 4])> {
    let read = |get: usize, fs: usize| {
        let mut ids = [u32::MAX; 4];
        let [r, e, s, _] = &mut ids;
        // SAFETY: three pointers to integers of this frame, written by the kernel.
        unsafe {
            call(
                get,
                [ptr::from_mut(r) as usize, ptr::from_mut(e) as usize, ptr::from_mut(s) as usize, 0, 0, 0],
            )
        }?;
        // SAFETY: no pointer involved. The id -1 is never valid, so nothing is set.
        let current = unsafe { call(fs, [u32::MAX as usize, 0, 0, 0, 0, 0]) }?;
        // A number that is no id is never equal to another one, so a comparison fails.
        ids[3] = u32::try_from(current).unwrap_or(u32::MAX);
        Ok(ids)
    };
    Ok((read(nr::GETRESUID, nr::SETFSUID)?, read(nr::GETRESGID, nr::SETFSGID)?))
}
