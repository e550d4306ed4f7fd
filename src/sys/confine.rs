//! Restrictions that are no namespaces (filter, Landlock domain, keyring), and settings of new namespaces (host name,
//! loopback device).

use super::descriptor::close_range;
use super::{NULL, call, nr};
use core::ptr;
use rustix::io::{Errno, Result};

/// An instruction of a classic BPF program. The kernel's `sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The operation: a class, and what belongs to it.
    pub code: u16,
    /// The number of instructions to skip if a test is true.
    pub yes: u8,
    /// The number of instructions to skip if it is false.
    pub no: u8,
    /// The constant: an offset to load from, a value to compare with, or the answer.
    pub k: u32,
}

/// Filters the system calls of this process and its descendants, for good. seccomp(2), `PR_SET_SECCOMP`; the kernel
/// checks the program.
pub fn install_filter(program: &[Instruction]) -> Result<()> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    const PR_SET_SECCOMP: usize = 22;
    const SECCOMP_MODE_FILTER: usize = 2;
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let program = Program { length, instructions: program.as_ptr() };
    // SAFETY: the kernel reads `length` instructions of the slice. What it forbids later are
    // system calls; those return an error.
    unsafe {
        call(nr::PRCTL, [PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ptr::from_ref(&program) as usize, 0, 0, 0])
    }
    .map(drop)
}

/// The scopes of a Landlock domain. landlock(7), "Scope flags"
pub mod scope {
    /// Connections to abstract sockets.
    pub const ABSTRACT_SOCKETS: u64 = 1;
    pub const SIGNALS: u64 = 2;
}

/// Moves this process into a new Landlock domain, nested in its present one, with these scopes ([`scope`]). Needs
/// `CAP_SYS_ADMIN` in the user namespace of the process, or `no_new_privs`. `landlock_create_ruleset(2)`,
/// `landlock_restrict_self(2)`
pub fn enter_domain(scoped: u64) -> Result<()> {
    // struct landlock_ruleset_attr: handled accesses to files and to the network, scopes.
    let ruleset = [0, 0, scoped];
    let size = size_of_val(&ruleset);
    // SAFETY: the first call reads the 24 bytes of this frame; the others take a descriptor,
    // which is nobody else's.
    unsafe {
        let ruleset = call(nr::LANDLOCK_CREATE_RULESET, [ruleset.as_ptr() as usize, size, 0, 0, 0, 0])?;
        let done = call(nr::LANDLOCK_RESTRICT_SELF, [ruleset, 0, 0, 0, 0, 0]);
        let ruleset = u32::try_from(ruleset).unwrap_or(u32::MAX);
        close_range(ruleset, ruleset)?;
        done.map(drop)
    }
}

/// The Landlock ABI of the kernel; 0 for none. `landlock_create_ruleset(2)`
pub fn landlock_abi() -> usize {
    const VERSION: usize = 1;
    // SAFETY: no pointer; a flag asks for a number.
    unsafe { call(nr::LANDLOCK_CREATE_RULESET, [NULL, 0, VERSION, 0, 0, 0]) }.unwrap_or(0)
}

/// Gives this process a new, empty session keyring. `keyctl_join_session_keyring(3)`
pub fn new_session_keyring() -> Result<()> {
    const JOIN_SESSION_KEYRING: usize = 1;
    // SAFETY: no name, so no pointer.
    unsafe { call(nr::KEYCTL, [JOIN_SESSION_KEYRING, NULL, 0, 0, 0, 0]) }.map(drop)
}

/// Sets the host name of the UTS namespace. sethostname(2).
pub fn sethostname(name: &[u8]) -> Result<()> {
    // SAFETY: reads `len` bytes of the slice.
    unsafe { call(nr::SETHOSTNAME, [name.as_ptr() as usize, name.len(), 0, 0, 0, 0]) }.map(drop)
}

/// Brings up the loopback device of the network namespace. netdevice(7).
pub fn loopback_up() -> Result<()> {
    const AF_INET: usize = 2;
    const DGRAM_CLOEXEC: usize = 2 | 0o2_000_000;
    const SIOCSIFFLAGS: usize = 0x8914;
    const IFF_UP_RUNNING: u8 = 0x41;
    // struct ifreq: a name of 16 bytes, then a union of which the flags are the first two bytes.
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = IFF_UP_RUNNING;
    // SAFETY: no pointer in the first call; the second reads the 40 bytes of this frame.
    unsafe {
        let socket = call(nr::SOCKET, [AF_INET, DGRAM_CLOEXEC, 0, 0, 0, 0])?;
        call(nr::IOCTL, [socket, SIOCSIFFLAGS, request.as_ptr() as usize, 0, 0, 0])?;
        let socket = u32::try_from(socket).unwrap_or(u32::MAX);
        close_range(socket, socket)
    }
}
