//! The system-call filter of an instance: nothing in it can push input into the terminal that
//! it shares with the caller, whose shell would execute it after the instance is gone. All
//! else is allowed. `ioctl_tty(2)`, seccomp(2).
#![forbid(unsafe_code)]

use crate::error::{OrFail, Result};
use crate::files;
use crate::sys::{self, Instruction};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

/// Simulates typing.
const TIOCSTI: u32 = 0x5412;
/// On a virtual console: pastes.
const TIOCLINUX: u32 = 0x541c;

// BPF_LD | BPF_W | BPF_ABS, BPF_ALU | BPF_AND | BPF_K, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

// Offsets in struct seccomp_data; of the second argument the low half, as the kernel takes an
// `unsigned int` there: a high half changes nothing.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT_1_LOW: u32 = 24;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;

const fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, yes: 0, no: 0, k: offset }
}

const fn equal(k: u32, yes: u8, no: u8) -> Instruction {
    Instruction { code: EQUAL, yes, no, k }
}

const fn give(k: u32) -> Instruction {
    Instruction { code: RETURN, yes: 0, no: 0, k }
}

/// `ioctl` is call 16 of x86-64, 514 of x32 (which sets bit 30) and 54 of i386.
const PROGRAM: [Instruction; 14] = [
    load(ARCHITECTURE),
    equal(AUDIT_ARCH_X86_64, 1, 0),
    equal(AUDIT_ARCH_I386, 4, 9),
    load(NUMBER),
    Instruction { code: AND, yes: 0, no: 0, k: !0x4000_0000 },
    equal(16, 3, 0),
    equal(514, 2, 5),
    load(NUMBER),
    equal(54, 0, 3),
    load(ARGUMENT_1_LOW),
    equal(TIOCSTI, 2, 0),
    equal(TIOCLINUX, 1, 0),
    give(ALLOW),
    give(EPERM),
];

/// Puts the filter in place. It needs `CAP_SYS_ADMIN`, or else `no_new_privs`, which would
/// end nesting.
pub fn protect_terminal() -> Result<()> {
    sys::filter(&PROGRAM).or_fail("protect the terminal")
}

/// Whether there is a terminal to protect. The kernel lets a process push input only into its
/// controlling terminal (`tiocsti()`, `drivers/tty/tty_io.c`). An instance that starts without
/// one can get another only from a terminal among the descriptors it is given, or from a
/// device that it is shown; its own pseudo-terminals are its own. The filter is a twentieth
/// of a spawn, and this question nearly nothing.
pub fn is_needed(keep: &[u32], devices: bool) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK;
    // Without a controlling terminal /dev/tty cannot be opened: ENXIO. tty(4)
    let controlling = !matches!(files::open(CWD, b"/dev/tty", flags), Err(Errno::NXIO));
    controlling || devices || [0, 1, 2].iter().chain(keep).any(|fd| sys::is_terminal(*fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel's machine does with it.
    fn run(number: u32, arch: u32, request: u64) -> u32 {
        let (mut at, mut a) = (0, 0);
        loop {
            let i = PROGRAM[at];
            at += 1;
            match i.code {
                LOAD => {
                    a = match i.k {
                        NUMBER => number,
                        ARCHITECTURE => arch,
                        ARGUMENT_1_LOW => u32::try_from(request & 0xffff_ffff).unwrap(),
                        _ => unreachable!(),
                    }
                }
                AND => a &= i.k,
                EQUAL => at += usize::from(if a == i.k { i.yes } else { i.no }),
                _ => return i.k,
            }
        }
    }

    #[test]
    fn pushing_input_is_refused_on_every_abi() {
        for request in [
            u64::from(TIOCSTI),
            u64::from(TIOCLINUX),
            u64::from(TIOCSTI) | 1 << 32,
            u64::from(TIOCSTI) | 1 << 63,
        ] {
            assert_eq!(run(16, AUDIT_ARCH_X86_64, request), EPERM);
            assert_eq!(run(0x4000_0000 | 0x202, AUDIT_ARCH_X86_64, request), EPERM);
            assert_eq!(run(0x4000_0000 | 0x10, AUDIT_ARCH_X86_64, request), EPERM);
            assert_eq!(run(54, AUDIT_ARCH_I386, request), EPERM);
        }
    }

    #[test]
    fn all_else_is_allowed() {
        for (number, arch) in [(16, AUDIT_ARCH_X86_64), (54, AUDIT_ARCH_I386)] {
            for request in [0x5401, 0x5411, 0x5413, 0x541b, 0x541d] {
                assert_eq!(run(number, arch, request), ALLOW);
            }
        }
        for number in [0, 1, 59, 17, 513, 515] {
            assert_eq!(run(number, AUDIT_ARCH_X86_64, u64::from(TIOCSTI)), ALLOW);
        }
    }
}
