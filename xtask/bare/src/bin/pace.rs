//! Starts programs in turns and measures their times, with little cost of its own: no libc, a few pages of memory,
//! children by vfork. It prints the results at the end, so that it wakes no reader meanwhile.
//!
//! `pace time ROUNDS MILLISECONDS CPU ROOT [% UID GID EVERY PROGRAM [ARG...]]...` starts each PROGRAM once a round,
//! or once in EVERY rounds, until ROUNDS are done or the time is over. It binds itself to CPU, and makes ROOT its
//! root filesystem; `-` stands for neither. It prints a line for each start: the program, the round, the start time
//! and the duration (both in nanoseconds), and the page faults of all its processes.
//!
//! `pace hold COUNT UID GID PROGRAM [ARG...]` starts COUNT programs. It prints `ready` and the PID of the first when
//! each has written a byte, and ends them and all their children when its input ends. It fails if something is left.
//!
//! `pace stop ROOT UID GID PROGRAM [ARG...]` lets its parent trace it, stops, and then executes PROGRAM.
//!
//! UID `0` stays root. Programs get no input, and only their errors are printed.
#![no_std]
#![no_main]

use bare::{Start, Text, at, call, exit, flags, must, nr, open, vfork};
use core::cell::UnsafeCell;
use core::ffi::CStr;

bare::start!(main);

const CLOEXEC: usize = 0x8_0000;
/// The descriptor of the original standard output.
const OUT: usize = 10;

fn main(start: &Start) -> ! {
    no_limits();
    match start.arg(1).to_bytes() {
        b"time" => time(start),
        b"hold" => hold(start),
        b"stop" => stop(start),
        _ => exit(124),
    }
}

/// One program to start.
#[derive(Clone, Copy)]
struct Job {
    uid: usize,
    gid: usize,
    /// Its arguments, closed by a null pointer.
    argv: *const *const u8,
    envp: *const *const u8,
    /// Its standard output.
    out: usize,
    /// Whether it gets its own process group.
    apart: bool,
}

impl Job {
    /// Reads a job from the arguments: the ids at `at`, the program at `program`.
    fn new(start: &Start, at: usize, program: usize, out: usize) -> Self {
        start.arg(program);
        // SAFETY: it exists, as just seen.
        let argv = unsafe { start.argv.add(program) }.cast_const();
        Job { uid: start.number(at), gid: start.number(at + 1), argv, envp: start.envp, out, apart: false }
    }

    /// Starts it.
    fn start(&self) -> usize {
        // SAFETY: the child only reads what the parent has.
        let child = unsafe { vfork(0, become_job, core::ptr::from_ref(self) as usize) };
        if child < 0 { fail(b"vfork", child.unsigned_abs()) } else { child.unsigned_abs() }
    }
}

/// The child, which becomes the program.
extern "C" fn become_job(job: usize) -> ! {
    // SAFETY: `Job::start` passed the address, and its process waits. Descriptors are the child's own.
    unsafe {
        let job = &*(job as *const Job);
        must(nr::DUP3, [job.out, 1, 0, 0, 0]);
        if job.apart {
            must(nr::SETPGID, [0; 5]);
        }
        become_user(job.uid, job.gid);
        let error = call(nr::EXECVE, [*job.argv as usize, job.argv as usize, job.envp as usize, 0, 0]);
        fail(b"execve", error.unsigned_abs())
    }
}

/// For good, with no other group.
fn become_user(uid: usize, gid: usize) {
    if uid != 0 {
        // SAFETY: an empty list of groups.
        unsafe {
            must(nr::SETGROUPS, [0, 0, 0, 0, 0]);
            must(nr::SETRESGID, [gid, gid, gid, 0, 0]);
            must(nr::SETRESUID, [uid, uid, uid, 0, 0]);
        }
    }
}

fn fail(what: &[u8], number: usize) -> ! {
    Text::new().string(b"pace: ").string(what).string(b": ").number(number).string(b"\n").write(2);
    exit(125)
}

// ---- time ----------------------------------------------------------------------------------

/// The measurement of one start.
#[derive(Clone, Copy)]
struct Sample {
    program: u32,
    round: u32,
    faults: u32,
    start: usize,
    nanoseconds: usize,
}

const MOST_SAMPLES: usize = 1 << 16;
const MOST_PROGRAMS: usize = 64;

struct Samples(UnsafeCell<[Sample; MOST_SAMPLES]>);

// SAFETY: the program has one thread.
unsafe impl Sync for Samples {}

static SAMPLES: Samples = Samples(UnsafeCell::new(
    [Sample { program: 0, round: 0, faults: 0, start: 0, nanoseconds: 0 }; MOST_SAMPLES],
));

fn time(start: &Start) -> ! {
    let rounds = start.number(2);
    let end = now() + start.number(3) * 1_000_000;
    // SAFETY: the one reference to them.
    let samples = unsafe { &mut *SAMPLES.0.get() };
    let silence = set_out_aside();
    pin(start.arg(4), start.number(4));
    change_root(start.arg(5));
    let mut jobs = [const { None }; MOST_PROGRAMS];
    let programs = read_jobs(start, silence, &mut jobs);
    let mut taken = 0;
    for round in 0..rounds {
        if taken + programs > MOST_SAMPLES || (round > 2 && now() > end) {
            break;
        }
        for (i, (job, every)) in jobs.iter().take(programs).flatten().enumerate() {
            if round % every == 0 {
                samples[taken] = measure(job, i, round);
                taken += 1;
            }
        }
    }
    for sample in &samples[..taken] {
        let mut text = Text::new();
        for number in [sample.program as usize, sample.round as usize, sample.start, sample.nanoseconds] {
            text.number(number).string(b" ");
        }
        text.number(sample.faults as usize).string(b"\n").write(OUT);
    }
    exit(0)
}

/// Reads the programs from the command line, and ends each list of arguments where the next begins.
fn read_jobs(start: &Start, out: usize, jobs: &mut [Option<(Job, usize)>]) -> usize {
    let mut programs = 0;
    for i in 6..start.argc {
        if start.arg(i) == c"%" && programs < jobs.len() {
            jobs[programs] = Some((Job::new(start, i + 1, i + 4, out), start.number(i + 3).max(1)));
            programs += 1;
        }
    }
    for i in 6..start.argc {
        if start.arg(i) == c"%" {
            // SAFETY: an argument of this program's own, which is not looked at again.
            unsafe { *start.argv.add(i) = core::ptr::null() };
        }
    }
    programs
}

#[allow(clippy::cast_possible_truncation)] // tens of thousands at most
fn measure(job: &Job, program: usize, round: usize) -> Sample {
    // `struct rusage`: minor faults are the ninth word.
    let mut usage = [0_usize; 18];
    let mut status = 0_u32;
    let start = now();
    let child = job.start();
    // SAFETY: both are this function's own, and as large as the call writes.
    unsafe { must(nr::WAIT4, [child, &raw mut status as usize, 0, &raw mut usage as usize, 0]) };
    let nanoseconds = now() - start;
    if status != 0 {
        Text::new().string(b"pace: program ").number(program).write(2);
        fail(b" ended with status", status as usize);
    }
    Sample { program: program as u32, round: round as u32, faults: usage[8] as u32, start, nanoseconds }
}

fn now() -> usize {
    const CLOCK_MONOTONIC: usize = 1;
    let mut time = [0_usize; 2];
    // SAFETY: `struct timespec` is two words.
    unsafe { must(nr::CLOCK_GETTIME, [CLOCK_MONOTONIC, &raw mut time as usize, 0, 0, 0]) };
    time[0] * 1_000_000_000 + time[1]
}

// ---- hold ----------------------------------------------------------------------------------

/// The time limit for an event, in seconds.
const PATIENCE: usize = 20;
const MOST_HELD: usize = 1 << 14;

struct Held(UnsafeCell<[u32; MOST_HELD]>);

// SAFETY: the program has one thread.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new([0; MOST_HELD]));

#[allow(clippy::cast_possible_truncation)] // PIDs
fn hold(start: &Start) -> ! {
    const PR_SET_CHILD_SUBREAPER: usize = 36;
    let count = start.number(2).min(MOST_HELD);
    // SAFETY: the one reference to them.
    let held = unsafe { &mut (&mut *HELD.0.get())[..count] };
    let mut pipe = [0_u32; 2];
    set_out_aside();
    // SAFETY: two descriptors are written. What a program leaves becomes this one's child.
    unsafe {
        must(nr::PIPE2, [&raw mut pipe as usize, CLOEXEC, 0, 0, 0]);
        must(nr::PRCTL, [PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0]);
    }
    let job = Job { apart: true, ..Job::new(start, 3, 5, pipe[1] as usize) };
    for pid in &mut *held {
        *pid = job.start() as u32;
    }
    // SAFETY: a descriptor of this function's own.
    unsafe { must(nr::CLOSE, [pipe[1] as usize, 0, 0, 0, 0]) };
    let reader = pipe[0] as usize;
    let all = count_bytes(reader, count) == count;
    if all {
        Text::new().string(b"ready ").number(held[0] as usize).string(b"\n").write(OUT);
        while read_some(0) > 0 {}
    }
    end(held);
    if all { exit(0) } else { fail(b"so many did not start", count) }
}

/// Ends all of them, and waits until nothing is left. Some launchers do not end with their commands, but none here
/// makes a process group of its own.
fn end(held: &[u32]) {
    const SIGKILL: usize = 9;
    // `struct itimerval`: an interval and the time up to the first, in seconds and microseconds each.
    let alarm = [0, 0, PATIENCE, 0];
    // SAFETY: one such structure. Each is a child of this process that has not been waited for, and leads a group.
    // If none ends for a long time, a signal ends this process.
    unsafe {
        for pid in held {
            call(nr::KILL, [(*pid as usize).wrapping_neg(), SIGKILL, 0, 0, 0]);
        }
        let mut some = 1;
        while some > 0 {
            must(nr::SETITIMER, [0, alarm.as_ptr() as usize, 0, 0, 0]);
            some = call(nr::WAIT4, [usize::MAX, 0, 0, 0, 0]);
        }
    }
}

/// Reads until this many bytes have come, or none has come for a long time.
fn count_bytes(fd: usize, wanted: usize) -> usize {
    const POLLIN: u64 = 1;
    let mut seen = 0;
    while seen < wanted {
        // `struct pollfd`: the descriptor, then what to wait for.
        let mut poll = fd as u64 | POLLIN << 32;
        let patience = [PATIENCE, 0];
        // SAFETY: one such struct, and a timespec.
        let ready = unsafe { call(nr::PPOLL, [&raw mut poll as usize, 1, patience.as_ptr() as usize, 0, 0]) };
        let some = if ready > 0 { read_some(fd) } else { 0 };
        if some == 0 {
            break;
        }
        seen += some;
    }
    seen
}

fn read_some(fd: usize) -> usize {
    let mut buffer = [0_u8; 256];
    // SAFETY: as many bytes as are there.
    let some = unsafe { call(nr::READ, [fd, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0]) };
    some.max(0).unsigned_abs()
}

// ---- stop ----------------------------------------------------------------------------------

fn stop(start: &Start) -> ! {
    const SIGSTOP: usize = 19;
    const PTRACE_TRACEME: usize = 0;
    change_root(start.arg(2));
    let job = Job::new(start, 3, 5, silence());
    // SAFETY: no pointers.
    unsafe {
        must(nr::PTRACE, [PTRACE_TRACEME, 0, 0, 0, 0]);
        let own = must(nr::GETPID, [0; 5]);
        must(nr::KILL, [own, SIGSTOP, 0, 0, 0]);
    }
    become_job(core::ptr::from_ref(&job) as usize)
}

// ---- surroundings --------------------------------------------------------------------------

/// A descriptor of /dev/null.
fn silence() -> usize {
    const RDWR: usize = 2;
    open(c"/dev/null", RDWR | CLOEXEC)
}

/// Keeps standard output for this program, and returns the one for the programs.
fn set_out_aside() -> usize {
    // SAFETY: no pointers.
    unsafe { must(nr::DUP3, [1, OUT, CLOEXEC, 0, 0]) };
    silence()
}

/// Raises the limit of processes, since one user runs thousands here.
fn no_limits() {
    const RLIMIT_NPROC: usize = 6;
    let limit = [usize::MAX; 2];
    // SAFETY: `struct rlimit` is two words. Where this is not allowed, the limit stays.
    unsafe { call(nr::PRLIMIT64, [0, RLIMIT_NPROC, limit.as_ptr() as usize, 0, 0]) };
}

fn pin(word: &CStr, cpu: usize) {
    if word == c"-" {
        return;
    }
    let mut set = [0_u64; 16];
    set[cpu / 64 % 16] = 1 << (cpu % 64);
    // SAFETY: a set of that size.
    unsafe { must(nr::SCHED_SETAFFINITY, [0, size_of_val(&set), set.as_ptr() as usize, 0, 0]) };
}

/// Makes a mount point the root directory, in a new mount namespace.
fn change_root(root: &CStr) {
    const REC_PRIVATE: usize = 0x4000 | 1 << 18;
    const DETACH: usize = 2;
    if root == c"-" {
        return;
    }
    let dot = at(c".");
    // SAFETY: strings.
    unsafe {
        must(nr::UNSHARE, [flags::CLONE_NEWNS, 0, 0, 0, 0]);
        must(nr::MOUNT, [0, at(c"/"), 0, REC_PRIVATE, 0]);
        must(nr::CHDIR, [at(root), 0, 0, 0, 0]);
        must(nr::PIVOT_ROOT, [dot, dot, 0, 0, 0]);
        must(nr::UMOUNT2, [dot, DETACH, 0, 0, 0]);
        must(nr::CHDIR, [at(c"/"), 0, 0, 0, 0]);
    }
}
