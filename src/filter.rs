//! The system-call filters of an instance: programs of classic BPF, as data. seccomp(2).
//!
//! The default filter is on unless the caller switches it off. It refuses system calls that need no capability, so
//! that an instance could use them, and that an instance has no use for:
//! - Putting input into the terminal that it shares with the caller: the caller's shell would execute it after the
//!   instance is gone (`ioctl_tty(2)`).
//! - Keyrings, and sockets to the hypervisor (`AF_VSOCK`): no namespace of the instance contains them.
//! - `bpf`, `perf_event_open`, `userfaultfd` and `io_uring`: they let everybody attack much of the kernel, and
//!   programs work without them.
//!
//! Everything else is allowed. ENOSYS tells a program that the kernel has no such call, so the program uses another
//! one. EPERM is what a kernel returns that is configured to refuse the call.

#[cfg(any(target_arch = "aarch64", test))]
mod aarch64;
#[cfg(any(target_arch = "x86_64", test))]
mod x86_64;

use self::Label::{Allow, Eafnosupport, Enosys, Eperm, Flags, Ioctl, Kind, Next, Socket};
use self::Line::{Above, Any, At, Give, Is, Load};
#[cfg(target_arch = "aarch64")]
use self::aarch64 as abi;
#[cfg(target_arch = "x86_64")]
use self::x86_64 as abi;
use crate::creds::Privileged;
use crate::error::{Error, OrFail, Result, on};
use crate::files;
use crate::sys::{self, Instruction};
use alloc::vec::Vec;
use rustix::fd::AsFd;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

/// Puts a byte into the input of a terminal.
const TIOCSTI: u32 = 0x5412;
/// On a virtual console: pastes a selection.
const TIOCLINUX: u32 = 0x541c;
const AF_VSOCK: u32 = 40;
const CLONE_NEWUSER: u32 = 0x1000_0000;

// Offsets in struct seccomp_data. For an argument it is the low half, since the kernel ignores the high half of those
// that are checked here.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT_0: u32 = 16;
const ARGUMENT_1: u32 = 24;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = errno(1);
const ENOSYS: u32 = errno(38);
const EAFNOSUPPORT: u32 = errno(97);

/// The end of the default filter on every architecture: checks of arguments, and the answers.
const DEFAULT_END: &[Line] = &[
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

/// The end of the filter against user namespaces.
const NO_USER_NAMESPACES_END: &[Line] = &[
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

/// The default filter. Most of its cost is loading: the kernel then runs the filter for each of some 470 numbers of
/// both architectures, and never again for a call that it allows with any arguments (`seccomp_cache_prepare()`,
/// `kernel/seccomp.c`). So the number of instructions for an average number counts most, and then the length.
/// Therefore the ABI is checked once, large ranges of allowed numbers leave early, small ones go through a chain, and
/// all share the returns. Measured: a filter of one instruction takes 0.6 of the time of this one, a chain for all
/// numbers 1.3. More ranges, or checking the number before the ABI, gain nothing. A test for "at least" takes longer
/// than one for "above".
const DEFAULT: [Instruction; length(abi::DEFAULT)] = assemble(abi::DEFAULT);

/// The filter against user namespaces: none is made, and none is joined by its kind. The flags of clone3(2) are in
/// memory, where a filter cannot see them. If clone3 is refused, a C library uses clone(2).
const NO_USER_NAMESPACES: [Instruction; length(abi::NO_USER_NAMESPACES)] = assemble(abi::NO_USER_NAMESPACES);

/// Installs the default filter. This needs `CAP_SYS_ADMIN`, or else `no_new_privs`, which would prevent nesting.
pub fn install_default(_: &Privileged) -> Result<()> {
    sys::install_filter(&DEFAULT).or_fail("filter system calls")
}

/// Refuses user namespaces from here on. This needs the same.
pub fn forbid_user_namespaces(_: &Privileged) -> Result<()> {
    sys::install_filter(&NO_USER_NAMESPACES).or_fail("forbid user namespaces")
}

/// Installs a filter of the caller's, in a process with `no_new_privs`.
pub fn install(program: &[Instruction]) -> Result<()> {
    let hint = "it is not a filter for seccomp(2), or too long together with the filters in force";
    sys::install_filter(program)
        .or_fail("filter system calls with --seccomp")
        .map_err(|e| e.hint_if(Errno::INVAL, hint))
}

/// Reads a filter program from a file: instructions in the kernel's format, as `seccomp_export_bpf(3)` writes them.
pub fn read(path: &[u8]) -> Result<&'static [Instruction]> {
    /// `BPF_MAXINSNS`
    const MOST: usize = 4096;
    const SIZE: usize = size_of::<Instruction>();
    let failed = on("read the filter {}", path);
    let file = files::open(CWD, path, OFlags::RDONLY | OFlags::NOCTTY)
        .or_fail(failed)
        .map_err(|e| e.hint("if that is CMD, write --seccomp default CMD"))?;
    let bytes = files::read(file.as_fd(), 1024, MOST * SIZE).or_fail(failed)?;
    let (chunks, rest) = bytes.as_chunks::<SIZE>();
    if chunks.is_empty() || !rest.is_empty() {
        return Err(Error::refused(failed, "not a BPF program of 8-byte instructions")
            .hint("seccomp_export_bpf(3) writes one"));
    }
    let mut program = Vec::with_capacity(chunks.len());
    for [a, b, yes, no, k @ ..] in chunks {
        let (code, k) = (u16::from_ne_bytes([*a, *b]), u32::from_ne_bytes(*k));
        program.push(Instruction { code, yes: *yes, no: *no, k });
    }
    Ok(program.leak())
}

/// A line of a program: an instruction, whose jumps lead to labels, or a label.
#[derive(Clone, Copy)]
enum Line {
    /// Names the instruction below.
    At(Label),
    /// Loads the word at this offset of `struct seccomp_data`.
    Load(u32),
    /// Keeps these bits of the loaded word.
    #[cfg(any(target_arch = "x86_64", test))]
    Keep(u32),
    /// Whether the word equals this number: the label if so, and the label if not.
    Is(u32, Label, Label),
    /// Whether the word is greater.
    Above(u32, Label, Label),
    /// Whether the word has any of these bits.
    Any(u32, Label, Label),
    /// Ends with this answer.
    Give(u32),
}

/// The target of a jump, which lies further down.
#[derive(Clone, Copy)]
enum Label {
    /// The line below.
    Next,
    High,
    Top,
    Compat,
    HighCompat,
    #[cfg(any(target_arch = "x86_64", test))]
    TopCompat,
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
#[cfg(any(target_arch = "x86_64", test))]
const AND: u16 = 0x54;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const ANY: u16 = 0x45;
const RETURN: u16 = 0x06;

const fn errno(number: u32) -> u32 {
    0x0005_0000 | number
}

/// Concatenates the checks of numbers and the end.
const fn chain<const LENGTH: usize>(numbers: &[Line], end: &[Line]) -> [Line; LENGTH] {
    let (mut lines, mut at) = ([Give(ALLOW); LENGTH], 0);
    while at < LENGTH {
        lines[at] = if at < numbers.len() { numbers[at] } else { end[at - numbers.len()] };
        at += 1;
    }
    lines
}

/// The number of instructions in the lines.
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

/// The number of instructions that a jump at `from` skips. A label that is not below or too far away does not
/// compile: the index is out of bounds, or the sum overflows.
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
            #[cfg(any(target_arch = "x86_64", test))]
            Line::Keep(bits) => (AND, bits, Next, Next),
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

    /// What identifies an ABI: the architecture, and the bits that it adds to the number.
    type Abi = (u32, u32);
    /// The numbers of a system call on the ABIs of a machine. asm/unistd.h
    type Numbers = &'static [u32];

    const X32: u32 = x86_64::X32;

    /// A kind of machine, its filters, and the numbers of the calls that they check.
    struct Machine {
        default: &'static [Instruction],
        no_user_namespaces: &'static [Instruction],
        abis: &'static [Abi],
        ioctl: Numbers,
        socket: Numbers,
        clone: Numbers,
        unshare: Numbers,
        setns: Numbers,
        clone3: Numbers,
        refused: [(&'static str, Numbers, u32); 9],
        /// The most steps for loading the default filter, on each ABI of the kernel, and its length.
        steps: &'static [(u32, usize)],
        longest: usize,
    }

    const MACHINES: &[Machine] = &[
        Machine {
            default: &assemble::<{ length(x86_64::DEFAULT) }>(x86_64::DEFAULT),
            no_user_namespaces: &assemble::<{ length(x86_64::NO_USER_NAMESPACES) }>(
                x86_64::NO_USER_NAMESPACES,
            ),
            // x86-64, x32 and i386
            abis: &[(0xc000_003e, 0), (0xc000_003e, X32), (x86_64::AUDIT_ARCH_I386, 0)],
            ioctl: &[16, 514, 54],
            socket: &[41, 41, 359],
            clone: &[56, 56, 120],
            unshare: &[272, 272, 310],
            setns: &[308, 308, 346],
            clone3: &[435, 435, 435],
            refused: [
                ("add_key", &[248, 248, 286], ENOSYS),
                ("request_key", &[249, 249, 287], ENOSYS),
                ("keyctl", &[250, 250, 288], ENOSYS),
                ("perf_event_open", &[298, 298, 336], EPERM),
                ("bpf", &[321, 321, 357], EPERM),
                ("userfaultfd", &[323, 323, 374], ENOSYS),
                ("io_uring_setup", &[425, 425, 425], ENOSYS),
                ("io_uring_enter", &[426, 426, 426], ENOSYS),
                ("io_uring_register", &[427, 427, 427], ENOSYS),
            ],
            // The averages are 8.63 and 7.14.
            steps: &[(0xc000_003e, 4032), (x86_64::AUDIT_ARCH_I386, 3333)],
            longest: 34,
        },
        Machine {
            default: &assemble::<{ length(aarch64::DEFAULT) }>(aarch64::DEFAULT),
            no_user_namespaces: &assemble::<{ length(aarch64::NO_USER_NAMESPACES) }>(
                aarch64::NO_USER_NAMESPACES,
            ),
            // aarch64 and 32-bit ARM
            abis: &[(0xc000_00b7, 0), (aarch64::AUDIT_ARCH_ARM, 0)],
            ioctl: &[29, 54],
            socket: &[198, 281],
            clone: &[220, 120],
            unshare: &[97, 337],
            setns: &[268, 375],
            clone3: &[435, 435],
            refused: [
                ("add_key", &[217, 309], ENOSYS),
                ("request_key", &[218, 310], ENOSYS),
                ("keyctl", &[219, 311], ENOSYS),
                ("perf_event_open", &[241, 364], EPERM),
                ("bpf", &[280, 386], EPERM),
                ("userfaultfd", &[282, 388], ENOSYS),
                ("io_uring_setup", &[425, 425], ENOSYS),
                ("io_uring_enter", &[426, 426], ENOSYS),
                ("io_uring_register", &[427, 427], ENOSYS),
            ],
            // The averages are 7.81 and 8.06.
            steps: &[(0xc000_00b7, 3645), (aarch64::AUDIT_ARCH_ARM, 3765)],
            longest: 31,
        },
    ];

    /// Arguments that the default filter refuses, if it checks them.
    const WORST: [u64; 2] = [AF_VSOCK as u64, TIOCSTI as u64];
    /// Arguments that the filter against user namespaces refuses.
    const NEW_USER: [u64; 2] = [CLONE_NEWUSER as u64; 2];

    /// The answer of a filter, the number of instructions before it or before the first check of an argument, and
    /// whether there was one.
    struct Outcome {
        answer: u32,
        steps: usize,
        looked: bool,
    }

    /// Runs a program as the kernel does.
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

    impl Machine {
        fn on_every_abi(&self, numbers: Numbers) -> impl Iterator<Item = (Abi, u32)> {
            self.abis.iter().copied().zip(numbers.iter().copied())
        }

        fn default(&self, (abi, number): (Abi, u32), arguments: [u64; 2]) -> u32 {
            run(self.default, abi, number, arguments).answer
        }

        fn no_user_namespaces(&self, (abi, number): (Abi, u32), arguments: [u64; 2]) -> u32 {
            run(self.no_user_namespaces, abi, number, arguments).answer
        }

        /// The numbers that the default filter allows on an ABI with any arguments. It takes 514 for `ioctl` of x32
        /// on every ABI, and the number of x86-64 on x32.
        fn allowed(&self, which: usize) -> impl Iterator<Item = u32> {
            let known = self.refused.map(|(_, numbers, _)| numbers[which]);
            let mut looks = vec![self.ioctl[which], self.socket[which]];
            if self.abis.iter().any(|abi| abi.1 == X32) {
                looks.push(514);
            }
            if self.abis[which].1 == X32 {
                looks.push(self.ioctl[0]);
            }
            numbers().filter(move |number| !known.contains(number) && !looks.contains(number))
        }
    }

    /// All numbers of an ABI, and some that no ABI has.
    fn numbers() -> impl Iterator<Item = u32> {
        let huge = [1 << 29, X32 - 1, X32 | 1 << 29, 1 << 31, 1 << 31 | 16, u32::MAX - 1, u32::MAX];
        (0..=600).chain(huge)
    }

    /// The argument, with several high halves.
    fn every_half(argument: u32) -> [u64; 3] {
        let argument = u64::from(argument);
        [argument, argument | 1 << 32, argument | 1 << 63]
    }

    /// S4: keyrings.
    #[test]
    fn calls_without_use_in_an_instance_are_refused_on_every_abi() {
        for machine in MACHINES {
            for (name, numbers, refusal) in machine.refused {
                for call in machine.on_every_abi(numbers) {
                    for arguments in [[0, 0], [u64::MAX, u64::MAX], WORST] {
                        assert_eq!(machine.default(call, arguments), refusal, "{name} {call:x?}");
                    }
                }
            }
        }
    }

    /// I7: terminal.
    #[test]
    fn pushing_input_is_refused_on_every_abi() {
        for request in [TIOCSTI, TIOCLINUX].into_iter().flat_map(every_half) {
            for machine in MACHINES {
                for call in machine.on_every_abi(machine.ioctl) {
                    assert_eq!(machine.default(call, [0, request]), EPERM, "{call:x?} {request:x}");
                }
            }
            // Before 5.4 the kernel also took the number of x86-64 on x32.
            let x86 = &MACHINES[0];
            assert_eq!(x86.default((x86.abis[1], x86.ioctl[0]), [0, request]), EPERM);
        }
    }

    #[test]
    fn a_socket_to_the_hypervisor_is_refused_on_every_abi() {
        for machine in MACHINES {
            for family in every_half(AF_VSOCK) {
                for call in machine.on_every_abi(machine.socket) {
                    assert_eq!(machine.default(call, [family, 1]), EAFNOSUPPORT, "{call:x?} {family:x}");
                }
            }
        }
    }

    #[test]
    fn other_requests_are_allowed() {
        for machine in MACHINES {
            for request in (0..=0xffff).filter(|request| ![TIOCSTI, TIOCLINUX].contains(request)) {
                for call in machine.on_every_abi(machine.ioctl) {
                    let arguments = [u64::from(TIOCSTI), u64::from(request)];
                    assert_eq!(machine.default(call, arguments), ALLOW, "{call:x?} {request:x}");
                }
            }
        }
    }

    #[test]
    fn other_families_are_allowed() {
        for machine in MACHINES {
            for family in (0..=100).chain([u32::MAX]).filter(|family| *family != AF_VSOCK) {
                for call in machine.on_every_abi(machine.socket) {
                    let arguments = [u64::from(family), u64::from(AF_VSOCK)];
                    assert_eq!(machine.default(call, arguments), ALLOW, "{call:x?} {family}");
                }
            }
        }
    }

    #[test]
    fn all_other_calls_are_allowed() {
        for machine in MACHINES {
            for (which, abi) in machine.abis.iter().enumerate() {
                for number in machine.allowed(which) {
                    assert_eq!(machine.default((*abi, number), WORST), ALLOW, "{abi:x?} {number}");
                }
            }
        }
        for number in numbers() {
            // The bit of x32 has no meaning on i386.
            let call = ((x86_64::AUDIT_ARCH_I386, X32), number);
            assert_eq!(MACHINES[0].default(call, WORST), ALLOW, "{number}");
        }
    }

    #[test]
    fn calls_that_are_allowed_with_any_arguments_are_cached_by_the_kernel() {
        for machine in MACHINES {
            for (which, abi) in machine.abis.iter().enumerate() {
                for number in machine.allowed(which) {
                    assert!(!run(machine.default, *abi, number, WORST).looked, "{abi:x?} {number}");
                }
            }
        }
    }

    /// More steps would make every start slower.
    #[test]
    fn loading_the_default_filter_takes_no_more_steps_than_it_did() {
        for machine in MACHINES {
            for (architecture, most) in machine.steps {
                let step = |number| run(machine.default, (*architecture, 0), number, [0, 0]).steps;
                let steps = (0..=466).map(step).sum::<usize>();
                assert!(steps <= *most, "{architecture:x}: {steps}");
            }
            assert!(machine.default.len() <= machine.longest, "{}", machine.default.len());
        }
    }

    #[test]
    fn no_user_namespace_is_made_on_any_abi() {
        for machine in MACHINES {
            for flag in
                [CLONE_NEWUSER, CLONE_NEWUSER | 0x0002_0011, u32::MAX].into_iter().flat_map(every_half)
            {
                for call in machine.on_every_abi(machine.clone).chain(machine.on_every_abi(machine.unshare)) {
                    assert_eq!(machine.no_user_namespaces(call, [flag, 0]), EPERM, "{call:x?}");
                }
            }
        }
    }

    #[test]
    fn no_user_namespace_is_joined_by_its_kind_on_any_abi() {
        for machine in MACHINES {
            for kind in [CLONE_NEWUSER, CLONE_NEWUSER | 0x0002_0000].into_iter().flat_map(every_half) {
                for call in machine.on_every_abi(machine.setns) {
                    assert_eq!(machine.no_user_namespaces(call, [0, kind]), EPERM, "{call:x?} {kind:x}");
                }
            }
        }
    }

    #[test]
    fn a_call_whose_flags_are_in_memory_seems_missing_from_the_kernel() {
        for machine in MACHINES {
            for call in machine.on_every_abi(machine.clone3) {
                assert_eq!(machine.no_user_namespaces(call, [0, 0]), ENOSYS, "{call:x?}");
            }
        }
    }

    #[test]
    fn other_namespaces_are_allowed() {
        let other = u64::from(!CLONE_NEWUSER);
        for machine in MACHINES {
            for flags in [0, 17, 0x0002_0000, other] {
                let allowed = |call, arguments| {
                    assert_eq!(machine.no_user_namespaces(call, arguments), ALLOW, "{call:x?}");
                };
                for call in machine.on_every_abi(machine.clone).chain(machine.on_every_abi(machine.unshare)) {
                    allowed(call, [flags, u64::from(CLONE_NEWUSER)]);
                }
                for call in machine.on_every_abi(machine.setns) {
                    allowed(call, [u64::from(CLONE_NEWUSER), flags]);
                }
            }
        }
    }

    #[test]
    fn all_but_user_namespaces_is_allowed() {
        for machine in MACHINES {
            for (which, abi) in machine.abis.iter().enumerate() {
                let known = [machine.clone, machine.unshare, machine.setns, machine.clone3].map(|n| n[which]);
                for number in numbers().filter(|number| !known.contains(number)) {
                    assert_eq!(
                        machine.no_user_namespaces((*abi, number), NEW_USER),
                        ALLOW,
                        "{abi:x?} {number}"
                    );
                }
            }
        }
    }
}
