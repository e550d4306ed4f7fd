//! `cargo xtask torture faults`, `races`, `model` and `load`: what takes an installed selfdock.

use crate::install_test::with_installation;
use crate::run::{Context, Result, no_more};
use crate::suite::Verdict;
use pico_args::Arguments;
use std::process::Command;

const FAULTS: &str = "\
Make each system call of selfdock fail, one at a time, and see that no right is gained and nothing is left.

Usage: cargo xtask torture faults [OPTION...]

  --mode MODE     only this way to start a command: run, older-kernel, mounts, image, layers, build, unprivileged,
                  unprivileged-image, strict, no-filter, root, root-image, root-unprivileged, nested,
                  nested-unprivileged, enter, enter-unprivileged, enter-strict, root-enter, each
  --call NAMES    only these system calls: mount,capset. `prctl` means all its operations, `prctl-8` one.
  --with HOW      only this: an errno (ENOMEM), false-success, SIGKILL, SIGTERM, wait
  --at PLACE      only this call: PROCESS.EXECS:CALL:NTH. Process 0 is the supervisor, 1 the keeper, 2 the command.
                  EXECS is the number of times that it has executed another program of selfdock. NTH counts from 1.
  --short         one errno for each call, as the suite does
  --minutes N     end after N minutes, and print where to continue
  --from N        leave out the first N: continue an earlier run

A tracer stops selfdock at each system call, and changes one of them in a run. The call is skipped and fails with an
errno. Or it is skipped and reports success, although it should give up a right. Or a signal arrives. Or the process
waits until all others wait for it. Afterwards the command must have the same instance as without a fault, or selfdock
must have refused in one line. It must refuse if it cannot give up a right, or read its ids back. No process may be
left, and the host's mounts, files and keys must be as before. For each fault the command line that repeats it is
printed.
";

const RACES: &str = "\
Run the suite's module `races`, each test for minutes. Its hostile programs exchange sources, places, links and reports,
reuse PIDs, unshare namespaces, upgrade selfdock, and kill processes, while selfdock uses them.

Usage: cargo xtask torture races [FILTER] [--minutes N]

  FILTER          only tests with this in their name
  --minutes N     N minutes for all tests together (default 10)
";

const MODEL: &str = "\
Run random trees of instances, and compare what each shows and permits with what a plain model says.

Usage: cargo xtask torture model [--minutes N | --seed N]

  --minutes N     as many cases as fit into N minutes (default 10), others each time
  --seed N        only the case of this seed

A case that differs is made smaller, and printed with its seed. The run ends there.
";

const LOAD: &str = "\
Start many instances, one after another on all CPUs and then many at once, and count what is left.

Usage: cargo xtask torture load [OPTION...]

  --spawns N      N instances one after another (default 20000)
  --minutes N     as many instances one after another as fit into N minutes
  --alive N       N instances at once (default 5000): half of them are asked to end, and half are killed

Counted before and after: processes, mounts, files, descriptors, keys, pages of tmpfs, open files, and the objects of
the kernel by kind. Counts of the whole machine may grow by less than a quarter of the number of instances, since a leak
would be one or more for each instance. The last tenth may take three times as long as the first, since a cost that
grows with each instance would grow by more.
";

pub fn faults(args: Arguments) -> Result {
    as_root("faults", FAULTS, args)
}

pub fn load(args: Arguments) -> Result {
    as_root("load", LOAD, args)
}

/// Sets up a throwaway installation, and runs the search there, in a program that root runs.
fn as_root(kind: &str, help: &str, args: Arguments) -> Result {
    with_installation(&["torture", kind], help, args, |suite, words, stop| {
        let program = suite.program.with_file_name("fixtures/bin/torture");
        // No signal is blocked or ignored, as in a login shell: `Stop::watch` blocks some here.
        let mut command = Command::new("setsid");
        command
            .args(["--wait", "env", "--default-signal"])
            .arg(program)
            .arg(kind)
            .args(words)
            .current_dir("/");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(suite.env.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().context("start it")?;
        stop.guard(child.id());
        let status = child.wait().context("wait for it")?;
        if status.success() { Ok(()) } else { Err(format!("torture {kind}: {status}")) }
    })
}

/// A test of another module that also runs for as long as it is told.
const HOSTILE: &str = "whole_instance::a_hostile_program";

/// The tests of that module, one after another.
pub fn races(args: Arguments) -> Result {
    with_installation(&["torture", "races"], RACES, args, |mut suite, words, stop| {
        let mut args = Arguments::from_vec(words);
        let minutes: f64 = args.opt_value_from_str("--minutes").context("--minutes")?.unwrap_or(10.0);
        let filter = args.opt_free_from_str::<String>().context("FILTER")?;
        no_more(args)?;
        let mut tests = suite.list(&[])?;
        tests.retain(|test| test.starts_with("races::") || test.contains(HOSTILE));
        tests.retain(|test| filter.as_ref().is_none_or(|filter| test.contains(filter.as_str())));
        if tests.is_empty() {
            return Err("no test has such a name".into());
        }
        let seconds = (minutes * 60.0 / tests.len() as f64).ceil();
        suite.env.push(("SELFDOCK_RACE_SECONDS", seconds.to_string().into()));
        let outcomes = suite.one_by_one(tests, stop)?;
        let failed = outcomes.iter().filter(|outcome| outcome.verdict != Verdict::Passed).count();
        println!("torture: {} races, {seconds} s each, {failed} findings", outcomes.len());
        if failed == 0 { Ok(()) } else { Err(format!("{failed} findings")) }
    })
}

/// The tests of that module, for as long as is said or with one case.
pub fn model(args: Arguments) -> Result {
    with_installation(&["torture", "model"], MODEL, args, |mut suite, words, stop| {
        let mut args = Arguments::from_vec(words);
        let minutes: Option<u64> = args.opt_value_from_str("--minutes").context("--minutes")?;
        let seed: Option<u64> = args.opt_value_from_str("--seed").context("--seed")?;
        no_more(args)?;
        suite.env.push(match (minutes, seed) {
            (None, Some(seed)) => ("SELFDOCK_MODEL_SEED", seed.to_string().into()),
            (minutes, None) => ("SELFDOCK_MODEL_MINUTES", minutes.unwrap_or(10).to_string().into()),
            (Some(_), Some(_)) => return Err("--minutes and --seed exclude each other".into()),
        });
        let mut tests = suite.list(&[])?;
        tests.retain(|test| test.starts_with("model::"));
        let outcomes = suite.one_by_one(tests, stop)?;
        let differs = outcomes.iter().any(|outcome| outcome.verdict != Verdict::Passed);
        if differs { Err("an instance is not as the model says".into()) } else { Ok(()) }
    })
}
