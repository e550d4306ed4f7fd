//! The filters of x86-64, with x32, and of i386.

use super::Label::{
    Allow, Compat, Enosys, Eperm, Flags, High, HighCompat, IoUring, Ioctl, Kind, Next, Socket, Top, TopCompat,
};
use super::Line::{self, Above, At, Is, Keep, Load};
use super::{ARCHITECTURE, DEFAULT_END, NO_USER_NAMESPACES_END, NUMBER, chain};

/// The value of `arch` for i386. The kernel uses only one other here, for x86-64 and x32.
pub const AUDIT_ARCH_I386: u32 = 0x4000_0003;
/// The bit that x32 sets in the number of a call.
pub const X32: u32 = 0x4000_0000;

/// The default filter.
pub const DEFAULT: &[Line] = &chain::<{ NUMBERS.len() + DEFAULT_END.len() }>(NUMBERS, DEFAULT_END);

const NUMBERS: &[Line] = &[
    Load(ARCHITECTURE),
    Is(AUDIT_ARCH_I386, Compat, Next),
    // x86-64 and x32
    Load(NUMBER),
    Keep(!X32),
    Above(247, High, Next),
    Is(16, Ioctl, Next),
    Is(41, Socket, Allow),
    At(High),
    Above(323, Top, Next),
    Above(250, Next, Enosys), // add_key, request_key, keyctl
    Is(298, Eperm, Next),     // perf_event_open
    Is(321, Eperm, Next),     // bpf
    Is(323, Enosys, Allow),   // userfaultfd
    At(Compat),
    Load(NUMBER),
    Above(285, HighCompat, Next),
    Is(54, Ioctl, Allow), // socketcall(2) has its arguments in memory: no filter sees them
    At(HighCompat),
    Above(356, TopCompat, Next),
    Above(288, Next, Enosys), // add_key, request_key, keyctl
    Is(336, Eperm, Allow),    // perf_event_open
    At(TopCompat),
    Above(424, IoUring, Next),
    Is(357, Eperm, Next), // bpf
    Is(359, Socket, Next),
    Is(374, Enosys, Allow), // userfaultfd
    At(Top),
    Above(424, IoUring, Allow),
    // New calls have one number on every ABI.
    At(IoUring),
    Above(427, Next, Enosys), // io_uring_setup, io_uring_enter, io_uring_register
    Is(514, Ioctl, Allow),    // of x32; the others have no such number
];

/// The filter against user namespaces.
pub const NO_USER_NAMESPACES: &[Line] =
    &chain::<{ MAKERS.len() + NO_USER_NAMESPACES_END.len() }>(MAKERS, NO_USER_NAMESPACES_END);

const MAKERS: &[Line] = &[
    Load(ARCHITECTURE),
    Is(AUDIT_ARCH_I386, Compat, Next),
    // x86-64 and x32
    Load(NUMBER),
    Keep(!X32),
    Is(56, Flags, Next),    // clone
    Is(272, Flags, Next),   // unshare
    Is(308, Kind, Next),    // setns
    Is(435, Enosys, Allow), // clone3
    At(Compat),
    Load(NUMBER),
    Is(120, Flags, Next),
    Is(310, Flags, Next),
    Is(346, Kind, Next),
    Is(435, Enosys, Allow),
];
