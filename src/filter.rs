//! The system-call filters of an instance: programs of classic BPF, as data. seccomp(2).
//!
//! The default one is always on. It refuses what asks for no capability, so that an instance
//! could reach it, and what an instance has no business with:
//! - pushing input into the terminal that it shares with the caller, whose shell would execute
//!   it after the instance is gone (`ioctl_tty(2)`);
//! - keyrings, and sockets to the hypervisor (`AF_VSOCK`): no namespace of the instance holds them;
//! - `bpf`, `perf_event_open`, `userfaultfd` and `io_uring`: much of the kernel for everybody to
//!   attack, and programs do without.
//!
//! All else is allowed. ENOSYS tells a program that the kernel has no such call, so that it takes
//! another way; EPERM is what a kernel says that is set up to refuse the same.

use self::Label::{
    Allow, Eafnosupport, Enosys, Eperm, Flags, High, HighI386, I386, IoUring, Ioctl, Kind, Next, Socket, Top,
    TopI386,
};
use self::Line::{Above, Any, At, Give, Is, Keep, Load};
use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, on};
use crate::files;
use crate::sys::{self, Instruction};
use alloc::vec::Vec;
use rustix::fd::AsFd;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

/// Simulates typing.
const TIOCSTI: u32 = 0x5412;
/// On a virtual console: pastes.
const TIOCLINUX: u32 = 0x541c;
const AF_VSOCK: u32 = 40;
const CLONE_NEWUSER: u32 = 0x1000_0000;

// Offsets in struct seccomp_data; of an argument the low half, as the kernel takes no more of
// those that are looked at here: a high half changes nothing.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT_0: u32 = 16;
const ARGUMENT_1: u32 = 24;

/// The only other architecture that the kernel names here is that of x86-64 and x32.
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
/// The bit that x32 sets in the number of a call.
const X32: u32 = 0x4000_0000;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = errno(1);
const ENOSYS: u32 = errno(38);
const EAFNOSUPPORT: u32 = errno(97);

/// The default filter. What a filter costs is decided when it is loaded: the kernel then runs it
/// for each of some 470 numbers of x86-64 and of i386, and never asks it again about a call that
/// it allows whatever the arguments are (`seccomp_cache_prepare()`, `kernel/seccomp.c`). So what
/// counts is how many instructions an average number meets, and after that the length. Hence the
/// ABI is decided once, big ranges of allowed numbers leave early, small ones go through a chain,
/// and all share the returns. Measured: a filter of one instruction takes 0.6 of the time of this
/// one, a chain for all numbers 1.3. More ranges, or the number first and then the ABI, gain
/// nothing; a test for "at least" takes longer than one for "above".
const DEFAULT_LINES: &[Line] = &[
    Load(ARCHITECTURE),
    Is(AUDIT_ARCH_I386, I386, Next),
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
    At(I386),
    Load(NUMBER),
    Above(285, HighI386, Next),
    Is(54, Ioctl, Allow), // socketcall(2) has its arguments in memory: no filter sees them
    At(HighI386),
    Above(356, TopI386, Next),
    Above(288, Next, Enosys), // add_key, request_key, keyctl
    Is(336, Eperm, Allow),    // perf_event_open
    At(TopI386),
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
    At(Ioctl),
    Load(ARGUMENT_1),
    Is(TIOCSTI, Eperm, Next),
    Is(TIOCLINUX, Eperm, Allow),
    At(Socket),
    Load(ARGUMENT_0),
    Is(AF_VSOCK, Eafnosupport, Allow),
    At(Allow),
    Give(ALLOW),
    At(Eperm),
    Give(EPERM),
    At(Enosys),
    Give(ENOSYS),
    At(Eafnosupport),
    Give(EAFNOSUPPORT),
];
const DEFAULT: [Instruction; length(DEFAULT_LINES)] = assemble(DEFAULT_LINES);

/// No user namespace is made, and none joined by its kind. Of clone3(2) the flags are in memory:
/// without it a C library takes clone(2).
const NO_USER_NAMESPACES_LINES: &[Line] = &[
    Load(ARCHITECTURE),
    Is(AUDIT_ARCH_I386, I386, Next),
    // x86-64 and x32
    Load(NUMBER),
    Keep(!X32),
    Is(56, Flags, Next),    // clone
    Is(272, Flags, Next),   // unshare
    Is(308, Kind, Next),    // setns
    Is(435, Enosys, Allow), // clone3
    At(I386),
    Load(NUMBER),
    Is(120, Flags, Next),
    Is(310, Flags, Next),
    Is(346, Kind, Next),
    Is(435, Enosys, Allow),
    At(Flags),
    Load(ARGUMENT_0),
    Any(CLONE_NEWUSER, Eperm, Allow),
    At(Kind),
    Load(ARGUMENT_1),
    Any(CLONE_NEWUSER, Eperm, Allow),
    At(Allow),
    Give(ALLOW),
    At(Eperm),
    Give(EPERM),
    At(Enosys),
    Give(ENOSYS),
];
const NO_USER_NAMESPACES: [Instruction; length(NO_USER_NAMESPACES_LINES)] =
    assemble(NO_USER_NAMESPACES_LINES);

/// Puts the default filter in place. It needs `CAP_SYS_ADMIN`, or else `no_new_privs`, which
/// would end nesting.
pub fn install_default(_: &Privileged) -> Result<()> {
    sys::filter(&DEFAULT).or_fail("filter system calls")
}

/// Refuses user namespaces from here on. It needs the same.
pub fn forbid_user_namespaces(_: &Privileged) -> Result<()> {
    sys::filter(&NO_USER_NAMESPACES).or_fail("forbid user namespaces")
}

/// A program of the caller's, for a process with `no_new_privs`.
pub fn install(program: &[Instruction]) -> Result<()> {
    let hint = "it is not a filter for seccomp(2), or too long with those that are in force";
    sys::filter(program)
        .or_fail("filter system calls by --seccomp")
        .map_err(|e| e.hint_if(Errno::INVAL, hint))
}

/// Reads a program from a file: instructions as the kernel has them, as `seccomp_export_bpf(3)`
/// writes them.
pub fn read(path: &[u8]) -> Result<&'static [Instruction]> {
    /// `BPF_MAXINSNS`
    const MOST: usize = 4096;
    const SIZE: usize = size_of::<Instruction>();
    let failed = on("read the filter {}", path);
    let file = files::open(CWD, path, OFlags::RDONLY | OFlags::NOCTTY).or_fail(failed)?;
    let bytes = files::read(file.as_fd(), 1024, MOST * SIZE).or_fail(failed)?;
    let (chunks, rest) = bytes.as_chunks::<SIZE>();
    if chunks.is_empty() || !rest.is_empty() {
        return Err(Error::refused(failed, "not a program of instructions of 8 bytes each")
            .hint("seccomp_export_bpf(3) writes one"));
    }
    let mut program = Vec::with_capacity(chunks.len());
    for [a, b, yes, no, k @ ..] in chunks {
        let (code, k) = (u16::from_ne_bytes([*a, *b]), u32::from_ne_bytes(*k));
        program.push(Instruction { code, yes: *yes, no: *no, k });
    }
    Ok(program.leak())
}

/// A line of a program: an instruction that jumps to labels, or a label.
#[derive(Clone, Copy)]
enum Line {
    /// Names the instruction below.
    At(Label),
    /// Loads what is at this offset of `struct seccomp_data`.
    Load(u32),
    /// Keeps these bits of what is loaded.
    Keep(u32),
    /// Whether that is this number: where to go on if so, and if not.
    Is(u32, Label, Label),
    /// Whether it is greater.
    Above(u32, Label, Label),
    /// Whether it has any of these bits.
    Any(u32, Label, Label),
    /// Ends with this answer.
    Give(u32),
}

/// A place further down.
#[derive(Clone, Copy)]
enum Label {
    /// The line below.
    Next,
    High,
    Top,
    I386,
    HighI386,
    TopI386,
    IoUring,
    Ioctl,
    Socket,
    Flags,
    Kind,
    Allow,
    Eperm,
    Enosys,
    Eafnosupport,
}

// BPF_LD | BPF_W | BPF_ABS, BPF_ALU | BPF_AND | BPF_K, BPF_JMP | BPF_JEQ | BPF_K, the same with
// BPF_JGT and BPF_JSET, BPF_RET | BPF_K
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const ANY: u16 = 0x45;
const RETURN: u16 = 0x06;

const fn errno(number: u32) -> u32 {
    0x0005_0000 | number
}

/// How many instructions the lines are.
const fn length(lines: &[Line]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < lines.len() {
        if !matches!(lines[at], At(_)) {
            count += 1;
        }
        at += 1;
    }
    count
}

/// How many instructions a jump at `from` skips. A label that is not below, or too far, does not
/// compile: the index is out of bounds, or the sum too big.
const fn skipped(lines: &[Line], from: usize, to: Label) -> u8 {
    if matches!(to, Next) {
        return 0;
    }
    let (mut at, mut count) = (from + 1, 0);
    loop {
        match lines[at] {
            At(label) if label as u8 == to as u8 => return count,
            At(_) => {}
            _ => count += 1,
        }
        at += 1;
    }
}

const fn assemble<const LENGTH: usize>(lines: &[Line]) -> [Instruction; LENGTH] {
    let mut program = [Instruction { code: RETURN, yes: 0, no: 0, k: ALLOW }; LENGTH];
    let (mut at, mut next) = (0, 0);
    while at < lines.len() {
        let (code, k, yes, no) = match lines[at] {
            At(_) => {
                at += 1;
                continue;
            }
            Load(offset) => (LOAD, offset, Next, Next),
            Keep(bits) => (AND, bits, Next, Next),
            Is(k, yes, no) => (EQUAL, k, yes, no),
            Above(k, yes, no) => (GREATER, k, yes, no),
            Any(k, yes, no) => (ANY, k, yes, no),
            Give(answer) => (RETURN, answer, Next, Next),
        };
        program[next] = Instruction { code, yes: skipped(lines, at, yes), no: skipped(lines, at, no), k };
        at += 1;
        next += 1;
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;

    /// What tells an ABI: the architecture, and what it adds to the number.
    type Abi = (u32, u32);
    const X86_64_ABI: Abi = (AUDIT_ARCH_X86_64, 0);
    const X32_ABI: Abi = (AUDIT_ARCH_X86_64, X32);
    const I386_ABI: Abi = (AUDIT_ARCH_I386, 0);
    const ABIS: [Abi; 3] = [X86_64_ABI, X32_ABI, I386_ABI];

    /// Numbers on x86-64, x32 and i386. asm/unistd.h
    type Numbers = [u32; 3];
    const IOCTL: Numbers = [16, 514, 54];
    const SOCKET: Numbers = [41, 41, 359];
    const CLONE: Numbers = [56, 56, 120];
    const UNSHARE: Numbers = [272, 272, 310];
    const SETNS: Numbers = [308, 308, 346];
    const CLONE3: Numbers = [435, 435, 435];
    const REFUSED: [(&str, Numbers, u32); 9] = [
        ("add_key", [248, 248, 286], ENOSYS),
        ("request_key", [249, 249, 287], ENOSYS),
        ("keyctl", [250, 250, 288], ENOSYS),
        ("perf_event_open", [298, 298, 336], EPERM),
        ("bpf", [321, 321, 357], EPERM),
        ("userfaultfd", [323, 323, 374], ENOSYS),
        ("io_uring_setup", [425, 425, 425], ENOSYS),
        ("io_uring_enter", [426, 426, 426], ENOSYS),
        ("io_uring_register", [427, 427, 427], ENOSYS),
    ];

    /// Arguments that the default filter refuses to whom it asks for them.
    const WORST: [u64; 2] = [AF_VSOCK as u64, TIOCSTI as u64];
    /// The same for the other one.
    const NEW_USER: [u64; 2] = [CLONE_NEWUSER as u64; 2];

    /// The answer, and how many instructions led to it, or to the first look at an argument.
    struct Outcome {
        answer: u32,
        steps: usize,
        looked: bool,
    }

    /// What the kernel's machine does with a program.
    fn run(program: &[Instruction], abi: Abi, number: u32, arguments: [u64; 2]) -> Outcome {
        let low = |argument: u64| u32::try_from(argument & 0xffff_ffff).unwrap();
        let (mut at, mut a, mut steps, mut looked) = (0, 0, 0, false);
        loop {
            let i = program[at];
            at += 1;
            looked |= i.code == LOAD && i.k != NUMBER && i.k != ARCHITECTURE;
            steps += usize::from(!looked);
            let jump = |holds: bool| usize::from(if holds { i.yes } else { i.no });
            match (i.code, i.k) {
                (LOAD, NUMBER) => a = number | abi.1,
                (LOAD, ARCHITECTURE) => a = abi.0,
                (LOAD, ARGUMENT_0) => a = low(arguments[0]),
                (LOAD, ARGUMENT_1) => a = low(arguments[1]),
                (AND, k) => a &= k,
                (EQUAL, k) => at += jump(a == k),
                (GREATER, k) => at += jump(a > k),
                (ANY, k) => at += jump(a & k != 0),
                (RETURN, answer) => return Outcome { answer, steps, looked },
                _ => unreachable!("{i:?}"),
            }
        }
    }

    fn answer(program: &[Instruction], abi: Abi, number: u32, arguments: [u64; 2]) -> u32 {
        run(program, abi, number, arguments).answer
    }

    fn on_every_abi(numbers: Numbers) -> impl Iterator<Item = (Abi, u32)> {
        ABIS.into_iter().zip(numbers)
    }

    /// All that an ABI has, and more than that: some numbers are of no ABI.
    fn numbers() -> impl Iterator<Item = u32> {
        let huge = [1 << 29, X32 - 1, X32 | 1 << 29, 1 << 31, 1 << 31 | 16, u32::MAX - 1, u32::MAX];
        (0..=600).chain(huge)
    }

    /// With a high half, too.
    fn every_half(argument: u32) -> [u64; 3] {
        let argument = u64::from(argument);
        [argument, argument | 1 << 32, argument | 1 << 63]
    }

    #[test]
    fn what_an_instance_has_no_business_with_is_refused_on_every_abi() {
        for (name, numbers, refusal) in REFUSED {
            for (abi, number) in on_every_abi(numbers) {
                for arguments in [[0, 0], [u64::MAX, u64::MAX], WORST] {
                    assert_eq!(answer(&DEFAULT, abi, number, arguments), refusal, "{name} {abi:x?}");
                }
            }
        }
    }

    #[test]
    fn pushing_input_is_refused_on_every_abi() {
        for request in [TIOCSTI, TIOCLINUX].into_iter().flat_map(every_half) {
            for (abi, number) in on_every_abi(IOCTL) {
                assert_eq!(answer(&DEFAULT, abi, number, [0, request]), EPERM, "{abi:x?} {request:x}");
            }
            // Before 5.4 the kernel took the number of x86-64 here, too.
            assert_eq!(answer(&DEFAULT, X32_ABI, IOCTL[0], [0, request]), EPERM);
        }
    }

    #[test]
    fn a_socket_to_the_hypervisor_is_refused_on_every_abi() {
        for family in every_half(AF_VSOCK) {
            for (abi, number) in on_every_abi(SOCKET) {
                assert_eq!(answer(&DEFAULT, abi, number, [family, 1]), EAFNOSUPPORT, "{abi:x?} {family:x}");
            }
        }
    }

    #[test]
    fn other_requests_are_allowed() {
        for request in (0..=0xffff).filter(|request| ![TIOCSTI, TIOCLINUX].contains(request)) {
            for (abi, number) in on_every_abi(IOCTL) {
                let arguments = [u64::from(TIOCSTI), u64::from(request)];
                assert_eq!(answer(&DEFAULT, abi, number, arguments), ALLOW, "{abi:x?} {request:x}");
            }
        }
    }

    #[test]
    fn other_families_are_allowed() {
        for family in (0..=100).chain([u32::MAX]).filter(|family| *family != AF_VSOCK) {
            for (abi, number) in on_every_abi(SOCKET) {
                let arguments = [u64::from(family), u64::from(AF_VSOCK)];
                assert_eq!(answer(&DEFAULT, abi, number, arguments), ALLOW, "{abi:x?} {family}");
            }
        }
    }

    /// What the default filter allows on the ABI whatever the arguments are. 514 it takes for
    /// `ioctl` on every ABI, and so it does the number of x86-64 on x32.
    fn allowed(which: usize) -> impl Iterator<Item = u32> {
        let known = REFUSED.map(|(_, numbers, _)| numbers[which]);
        let looks = [IOCTL[which], IOCTL[1], SOCKET[which], if which == 1 { IOCTL[0] } else { IOCTL[which] }];
        numbers().filter(move |number| !known.contains(number) && !looks.contains(number))
    }

    #[test]
    fn all_else_is_allowed() {
        for (which, abi) in ABIS.into_iter().enumerate() {
            for number in allowed(which) {
                assert_eq!(answer(&DEFAULT, abi, number, WORST), ALLOW, "{abi:x?} {number}");
            }
        }
        for number in numbers() {
            // The bit of x32 is nothing on i386.
            assert_eq!(answer(&DEFAULT, (AUDIT_ARCH_I386, X32), number, WORST), ALLOW, "{number}");
        }
    }

    #[test]
    fn the_kernel_never_asks_again_about_what_is_allowed_with_any_arguments() {
        for (which, abi) in ABIS.into_iter().enumerate() {
            for number in allowed(which) {
                assert!(!run(&DEFAULT, abi, number, WORST).looked, "{abi:x?} {number}");
            }
        }
    }

    /// More than that takes longer in every start.
    #[test]
    fn loading_the_default_filter_takes_no_more_steps_than_it_did() {
        let steps = |abi| (0..=466).map(|number| run(&DEFAULT, abi, number, [0, 0]).steps).sum::<usize>();
        // On average 8.63 and 7.14.
        assert!(steps(X86_64_ABI) <= 4032, "{}", steps(X86_64_ABI));
        assert!(steps(I386_ABI) <= 3333, "{}", steps(I386_ABI));
        assert!(DEFAULT.len() <= 34, "{}", DEFAULT.len());
    }

    #[test]
    fn no_user_namespace_is_made_on_any_abi() {
        for flag in [CLONE_NEWUSER, CLONE_NEWUSER | 0x0002_0011, u32::MAX].into_iter().flat_map(every_half) {
            for (abi, number) in on_every_abi(CLONE).chain(on_every_abi(UNSHARE)) {
                assert_eq!(answer(&NO_USER_NAMESPACES, abi, number, [flag, 0]), EPERM, "{abi:x?} {number}");
            }
        }
    }

    #[test]
    fn no_user_namespace_is_joined_by_its_kind_on_any_abi() {
        for kind in [CLONE_NEWUSER, CLONE_NEWUSER | 0x0002_0000].into_iter().flat_map(every_half) {
            for (abi, number) in on_every_abi(SETNS) {
                assert_eq!(answer(&NO_USER_NAMESPACES, abi, number, [0, kind]), EPERM, "{abi:x?} {kind:x}");
            }
        }
    }

    #[test]
    fn a_call_whose_flags_cannot_be_seen_is_as_if_the_kernel_did_not_have_it() {
        for (abi, number) in on_every_abi(CLONE3) {
            assert_eq!(answer(&NO_USER_NAMESPACES, abi, number, [0, 0]), ENOSYS, "{abi:x?}");
        }
    }

    #[test]
    fn other_namespaces_are_allowed() {
        let other = u64::from(!CLONE_NEWUSER);
        for flags in [0, 17, 0x0002_0000, other] {
            for (abi, number) in on_every_abi(CLONE).chain(on_every_abi(UNSHARE)) {
                let arguments = [flags, u64::from(CLONE_NEWUSER)];
                assert_eq!(answer(&NO_USER_NAMESPACES, abi, number, arguments), ALLOW, "{abi:x?} {number}");
            }
            for (abi, number) in on_every_abi(SETNS) {
                let arguments = [u64::from(CLONE_NEWUSER), flags];
                assert_eq!(answer(&NO_USER_NAMESPACES, abi, number, arguments), ALLOW, "{abi:x?} {number}");
            }
        }
    }

    #[test]
    fn all_but_user_namespaces_is_allowed() {
        for (which, abi) in ABIS.into_iter().enumerate() {
            let known = [CLONE, UNSHARE, SETNS, CLONE3].map(|numbers| numbers[which]);
            for number in numbers().filter(|number| !known.contains(number)) {
                assert_eq!(answer(&NO_USER_NAMESPACES, abi, number, NEW_USER), ALLOW, "{abi:x?} {number}");
            }
        }
    }
}
