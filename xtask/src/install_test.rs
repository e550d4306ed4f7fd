//! `cargo xtask install-test`

use crate::cargo::{self, Built};
use crate::fixtures;
use crate::host::PROGRAM;
use crate::place::place;
use crate::prefix::{Prefix, own_mounts};
use crate::results::report;
use crate::run::{Context, Result, again_as_root, can_become_root, is_root, run, unexpected, wants_help};
use crate::stop::Stop;
use crate::suite::{Suite, User};
use std::ffi::OsString;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const HELP: &str = "\
Install selfdock into a throwaway prefix and run the suite against it, as a user without privilege.

Usage: cargo xtask install-test [FILTER...] [--keep] [--report FILE]

  FILTER          only tests whose name contains it: a property (hidden_files) or part of a test's name
  --keep          keep the prefix, and print its path
  --report FILE   write the table of properties as JSON, too

Root installs the program and prepares files that the tests must not reach. The tests themselves run without privilege:
as you, or as uid 61234 if root starts the run. They have one supplementary group, 61235.
The run ends with a table of properties, and fails if a property has no passing test. If a machine cannot run a test,
the test fails. ci/setup.sh installs what is needed.
";

/// The variable with the factor by which the tests wait longer, for emulated machines.
const PATIENCE: &str = "SELFDOCK_PATIENCE";

struct Options {
    filters: Vec<String>,
    keep: bool,
    report: Option<PathBuf>,
    /// The programs that an ordinary user has built, and that user.
    built: Option<(Built, User)>,
}

pub fn main(mut args: pico_args::Arguments) -> Result {
    if wants_help(&mut args, HELP) {
        return Ok(());
    }
    let options = options(args)?;
    let stop = Stop::watch()?;
    let (built, user) = match options.built {
        Some(built) => built,
        None => {
            can_become_root()?;
            cargo::build_release()?;
            let built = cargo::build_tests()?;
            if !is_root() {
                return as_root(&built, &options);
            }
            (built, User::NOBODY)
        }
    };
    own_mounts()?;
    let prefix = Prefix::new(options.keep)?;
    let home = home_of(user)?;
    let mut suite = set_up(&prefix.path, &built, user, home.path())?;
    if let Some(times) = std::env::var_os(PATIENCE) {
        suite.env.push((PATIENCE, times.into()));
    }
    let tests = suite.list(&options.filters)?;
    if tests.is_empty() {
        return Err("no test has such a name".into());
    }
    let outcomes = suite.run(tests, &stop)?;
    if stop.requested() {
        return Err("interrupted".into());
    }
    let result = report(&outcomes, !options.filters.is_empty(), options.report.as_deref());
    if let Some(file) = &options.report {
        chown(file, Some(user.uid), Some(user.gid)).context(file.display())?;
    }
    result
}

fn options(mut args: pico_args::Arguments) -> Result<Options> {
    let path = |text: &std::ffi::OsStr| Ok::<_, String>(PathBuf::from(text));
    let keep = args.contains("--keep");
    let report = args.opt_value_from_os_str("--report", path).context("--report")?;
    let report = report.map(std::path::absolute).transpose().context("--report")?;
    let built = match args.opt_value_from_fn("--as", User::parse).context("--as")? {
        None => None,
        Some(user) => Some((Built::take(&mut args)?, user)),
    };
    let words = args.finish();
    if let Some(option) = words.iter().find(|word| word.to_string_lossy().starts_with('-')) {
        return Err(unexpected(option));
    }
    let filters = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    Ok(Options { filters, keep, report, built })
}

/// Gives the built programs to root, who sets up the tests, runs them as the caller, and cleans up.
fn as_root(built: &Built, options: &Options) -> Result {
    let mut command = again_as_root()?;
    command.arg("install-test").args(options.keep.then_some("--keep"));
    command.arg("--as").arg(format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid()));
    command.args(built.words());
    if let Some(file) = &options.report {
        command.arg("--report").arg(file);
    }
    run(command.args(&options.filters))
}

/// Builds, becomes root, installs, and does something with that. `command` are the words of the subcommand.
pub fn with_installation(
    command: &[&str],
    help: &str,
    mut args: pico_args::Arguments,
    act: impl FnOnce(Suite, Vec<OsString>, &Stop) -> Result,
) -> Result {
    if wants_help(&mut args, help) {
        return Ok(());
    }
    let stop = Stop::watch()?;
    let (built, user) = match args.opt_value_from_fn("--as", User::parse).context("--as")? {
        Some(user) => (Built::take(&mut args)?, user),
        None => {
            can_become_root()?;
            cargo::build_release()?;
            let built = cargo::build_tests()?;
            if !is_root() {
                let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
                let mut again = again_as_root()?;
                again.args(command).args(["--as", &format!("{uid}:{gid}")]);
                return run(again.args(built.words()).args(args.finish()));
            }
            (built, User::NOBODY)
        }
    };
    own_mounts()?;
    let prefix = Prefix::new(false)?;
    let home = home_of(user)?;
    let suite = set_up(&prefix.path, &built, user, home.path())?;
    act(suite, args.finish(), &stop)
}

/// A home for the user, in a usual directory that instances do not contain.
pub fn home_of(user: User) -> Result<TempDir> {
    let home = tempfile::Builder::new().prefix("home-of-a-test.").tempdir().context("make a home")?;
    chown(home.path(), Some(user.uid), Some(user.gid)).context("chown the home")?;
    Ok(home)
}

/// Installs selfdock, and prepares the fixtures.
pub fn set_up(prefix: &Path, built: &Built, user: User, home: &Path) -> Result<Suite> {
    place(prefix, None)?;
    let fixtures = fixtures::prepare(prefix, built, user)?;
    let env = vec![
        ("SELFDOCK", prefix.join(PROGRAM)),
        ("SELFDOCK_FIXTURES", fixtures.dir),
        ("SELFDOCK_SCRATCH", fixtures.scratch),
        ("SELFDOCK_USER", format!("{}:{}:{}", user.uid, user.gid, User::EXTRA_GROUP).into()),
        ("HOME", home.to_owned()),
    ];
    Ok(Suite { program: fixtures.suite, user, env })
}
