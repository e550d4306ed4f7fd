//! Mounts: attributes, and queries.

use super::{call, fd_arg, nr};
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr;
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use rustix::io::{Errno, Result};

/// Attributes of a mount: `MOUNT_ATTR_*` of `mount_setattr(2)`, which are the same bits as `MS_*` of mount(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(u32);

impl Attributes {
    /// No additional attributes.
    pub const NONE: Self = Attributes(0);
    /// Read-only.
    pub const RDONLY: Self = Attributes(1);
    /// Set-uid bits and file capabilities have no effect.
    pub const NOSUID: Self = Attributes(2);
    /// Device files cannot be opened.
    pub const NODEV: Self = Attributes(4);
    /// No file can be executed.
    pub const NOEXEC: Self = Attributes(8);

    /// These attributes and others.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Attributes(self.0 | others.0)
    }

    /// As the kernel takes them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all the others are set.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }
}

/// Attributes to add to a mount. None can be cleared. `mount_setattr(2)`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tighten {
    set: u64,
    cleared: u64,
    /// `MS_PRIVATE` or 0.
    propagation: u64,
    userns: u64,
}

impl Tighten {
    /// Adds these attributes.
    pub const fn to(set: Attributes) -> Self {
        Tighten { set: set.0 as u64, cleared: 0, propagation: 0, userns: 0 }
    }

    /// Also makes the mount private: no mount or unmount propagates in or out (`MS_PRIVATE`).
    #[must_use]
    pub const fn and_private(self) -> Self {
        const MS_PRIVATE: u64 = 1 << 18;
        Tighten { propagation: MS_PRIVATE, ..self }
    }
}

/// Whether a change includes the submounts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The mount alone.
    One,
    /// The mount and all its submounts.
    Tree,
}

/// Adds attributes to the mount whose root `fd` is. `mount_setattr(2)`.
pub fn tighten(fd: impl AsFd, attributes: Tighten, reach: Reach) -> Result<()> {
    const AT_EMPTY_PATH: usize = 0x1000;
    const AT_RECURSIVE: usize = 0x8000;
    let flags = AT_EMPTY_PATH | if reach == Reach::Tree { AT_RECURSIVE } else { 0 };
    let size = size_of::<Tighten>();
    // SAFETY: an empty path and a struct of `size` bytes, both read only.
    unsafe {
        call(
            nr::MOUNT_SETATTR,
            [fd_arg(fd.as_fd()), c"".as_ptr() as usize, flags, ptr::from_ref(&attributes) as usize, size, 0],
        )
    }
    .map(drop)
}

/// `open_tree(2)` and `mount_setattr(2)` in one call, from Linux 6.15 on. The flags are those of the first.
pub fn open_tree_attr(dir: BorrowedFd<'_>, path: &CStr, flags: u32, attributes: Tighten) -> Result<OwnedFd> {
    let (place, size) = (ptr::from_ref(&attributes) as usize, size_of::<Tighten>());
    // SAFETY: a string and a struct of `size` bytes, both read only; the new descriptor
    // belongs to nobody else yet.
    unsafe {
        let a = [fd_arg(dir), path.as_ptr() as usize, flags as usize, place, size, 0];
        let tree = call(nr::OPEN_TREE_ATTR, a)?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(tree).map_err(|_| Errno::BADF)?))
    }
}

/// The place of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of its mount, if the kernel returns it.
    pub mount: Option<u64>,
    /// Its inode number.
    pub inode: u64,
    /// Whether it is the root of its mount.
    pub is_root: bool,
}

/// The two kinds of numbers of mounts.
#[derive(Clone, Copy)]
pub enum Number {
    /// Unique among the present mounts, as in `/proc/PID/mountinfo`.
    Current = 0x1000,
    /// Never used again: `STATX_MNT_ID_UNIQUE`, Linux 6.8.
    Unique = 0x4000,
}

/// Finds the place of an open file. statx(2)
pub fn place_of(fd: impl AsFd, number: Number) -> Result<Place> {
    let wanted = StatxFlags::from_bits_retain(number as u32);
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, wanted | StatxFlags::INO)?;
    let mount = Some(stat.stx_mnt_id).filter(|_| stat.stx_mask & wanted.bits() != 0);
    let is_root = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    Ok(Place { mount, inode: stat.stx_ino, is_root })
}

/// `struct mnt_id_req`
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    mount: u64,
    parameter: u64,
}

const SIZE: u32 = 24;
const _: () = assert!(size_of::<MountRequest>() == SIZE as usize);

/// Lists the numbers of the submounts of a mount, as many as there is room for. listmount(2)
pub fn mounts_below(mount: u64, room: &mut [u64]) -> Result<usize> {
    let request = MountRequest { size: SIZE, spare: 0, mount, parameter: 0 };
    // SAFETY: a request of the size that it says, and room for so many numbers, both for the call only.
    unsafe {
        call(nr::LISTMOUNT, [(&raw const request) as usize, room.as_mut_ptr() as usize, room.len(), 0, 0, 0])
    }
}

/// What the kernel returns for a mount.
pub struct MountInfo {
    /// The type of its file system.
    pub kind: Option<Vec<u8>>,
    /// Its mount point, from the root directory of this process.
    pub point: Option<Vec<u8>>,
    /// The options of its file system: from Linux 6.11 on, if it has any.
    pub options: Option<Vec<u8>>,
}

/// Reads the type, the mount point and the options of a mount. statmount(2), `struct statmount` of linux/mount.h
pub fn describe_mount(mount: u64) -> Result<MountInfo> {
    const POINT: u64 = 0x10;
    const KIND: u64 = 0x20;
    const OPTIONS: u64 = 0x80;
    // The texts follow 512 bytes of numbers. Some of these are offsets of texts.
    let mut answer = [0u8; 1024];
    let request = MountRequest { size: SIZE, spare: 0, mount, parameter: POINT | KIND | OPTIONS };
    // SAFETY: as above, and room for an answer of the size that is given.
    unsafe {
        let room = answer.as_mut_ptr() as usize;
        call(nr::STATMOUNT, [(&raw const request) as usize, room, answer.len(), 0, 0, 0])?;
    }
    let number =
        |at: usize| answer[at..at + 4].iter().rev().fold(0, |all, byte| all << 8 | usize::from(*byte));
    let mask = number(8) as u64;
    let text = |bit: u64, at: usize| {
        let text = answer.get(512 + number(at)..).filter(|_| mask & bit != 0)?;
        text.iter().position(|byte| *byte == 0).map(|end| text[..end].to_vec())
    };
    Ok(MountInfo { kind: text(KIND, 36), point: text(POINT, 108), options: text(OPTIONS, 4) })
}
