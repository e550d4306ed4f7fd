//! The filters of aarch64, and of 32-bit ARM.

use super::Label::{
    Allow, Compat, Enosys, Eperm, Flags, High, HighCompat, IoUring, Ioctl, Kind, Next, Socket, Top,
};
use super::Line::{self, Above, At, Is, Load};
use super::{ARCHITECTURE, DEFAULT_END, NO_USER_NAMESPACES_END, NUMBER, chain};

/// The value of `arch` for 32-bit ARM. The kernel uses only one other here, for aarch64.
pub const AUDIT_ARCH_ARM: u32 = 0x4000_0028;

/// The default filter.
pub const DEFAULT: &[Line] = &chain::<{ NUMBERS.len() + DEFAULT_END.len() }>(NUMBERS, DEFAULT_END);

const NUMBERS: &[Line] = &[
    Load(ARCHITECTURE),
    Is(AUDIT_ARCH_ARM, Compat, Next),
    // aarch64
    Load(NUMBER),
    Above(219, High, Next),
    Above(216, Enosys, Next), // add_key, request_key, keyctl
    Is(29, Ioctl, Next),
    Is(198, Socket, Allow),
    At(High),
    Above(282, Top, Next),
    Is(241, Eperm, Next),   // perf_event_open
    Is(280, Eperm, Next),   // bpf
    Is(282, Enosys, Allow), // userfaultfd
    At(Compat),
    Load(NUMBER),
    Above(311, HighCompat, Next),
    Above(308, Enosys, Next), // add_key, request_key, keyctl
    Is(54, Ioctl, Next),
    Is(281, Socket, Allow),
    At(HighCompat),
    Above(388, Top, Next),
    Is(364, Eperm, Next),   // perf_event_open
    Is(386, Eperm, Next),   // bpf
    Is(388, Enosys, Allow), // userfaultfd
    At(Top),
    Above(424, IoUring, Allow),
    // New calls have one number on every ABI.
    At(IoUring),
    Above(427, Allow, Enosys), // io_uring_setup, io_uring_enter, io_uring_register
];

/// The filter against user namespaces.
pub const NO_USER_NAMESPACES: &[Line] =
    &chain::<{ MAKERS.len() + NO_USER_NAMESPACES_END.len() }>(MAKERS, NO_USER_NAMESPACES_END);

const MAKERS: &[Line] = &[
    Load(ARCHITECTURE),
    Is(AUDIT_ARCH_ARM, Compat, Next),
    // aarch64
    Load(NUMBER),
    Is(220, Flags, Next),   // clone
    Is(97, Flags, Next),    // unshare
    Is(268, Kind, Next),    // setns
    Is(435, Enosys, Allow), // clone3
    At(Compat),
    Load(NUMBER),
    Is(120, Flags, Next),
    Is(337, Flags, Next),
    Is(375, Kind, Next),
    Is(435, Enosys, Allow),
];
