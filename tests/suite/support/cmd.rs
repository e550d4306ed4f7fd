//! Command lines, and how a test starts them.

use super::background::Background;
use super::processes::{MARK, patient};
use super::ran::Ran;
use super::{log, place};
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Arguments of mixed types: `args!["-v", dir.path(), "/mnt"]`.
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        [$(::std::ffi::OsString::from(::std::convert::AsRef::<::std::ffi::OsStr>::as_ref(&$arg))),*]
    };
}
pub(crate) use args;

/// A command line, not started yet: of selfdock or, to compare, of a program without it.
pub struct Cmd {
    command: Command,
    mark: String,
    timeout: Duration,
    stdin: Option<Vec<u8>>,
}

impl Cmd {
    /// `selfdock ARGS`.
    pub fn new(args: impl IntoIterator<Item = OsString>) -> Self {
        Self::under([], args)
    }

    /// `selfdock run ARGS`.
    pub fn run(args: impl IntoIterator<Item = OsString>) -> Self {
        Self::new(args!["run"].into_iter().chain(args))
    }

    /// `LAUNCHER selfdock ARGS`, for a launcher that changes what selfdock inherits.
    pub fn under(
        launcher: impl IntoIterator<Item = OsString>,
        args: impl IntoIterator<Item = OsString>,
    ) -> Self {
        let words = launcher.into_iter().chain([place::selfdock().into()]).chain(args);
        Self::program(words)
    }

    /// Any program without selfdock, watched in the same way.
    pub fn program(words: impl IntoIterator<Item = OsString>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        log::report_panics();
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().expect("a program"));
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // The process gets its own process group, as from a shell with job control.
        command.args(words).env(MARK, &mark).current_dir("/").process_group(0);
        Self { command, mark, timeout: patient(Duration::from_secs(60)), stdin: None }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Ends the command line with a shell and its script.
    pub fn sh(self, script: impl AsRef<OsStr>) -> Self {
        self.arg("sh").arg("-c").arg(script)
    }

    /// Ends the command line with the probe.
    pub fn probe(mut self, args: &[&str]) -> Self {
        self.command.arg(place::bin("probe")).args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Sets the time limit, for a run that does much.
    pub fn within(mut self, timeout: Duration) -> Self {
        self.timeout = patient(timeout);
        self
    }

    /// Runs it to its end.
    pub fn output(self) -> Ran {
        Ran::new(self.command, &self.mark, self.timeout, self.stdin.unwrap_or_default())
    }

    /// Runs it; it must succeed and have no complaint. Returns what it printed.
    pub fn ok(self) -> String {
        self.output().ok()
    }

    /// Runs it; selfdock must refuse, for a reason with these words in it.
    pub fn refused(self, words: &str) -> Ran {
        self.output().refused(words)
    }

    /// Starts it in the background.
    pub fn spawn(self) -> Background {
        Background::new(self.command, self.mark)
    }
}

/// `selfdock run`, repeated `depth` times, then the command: arguments for an outer `Cmd::run`.
pub fn nested(depth: usize, command: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let inner = args![place::selfdock(), "run"];
    let levels = std::iter::repeat_n(inner, depth).flatten();
    levels.chain(command).collect()
}

/// A running instance whose command is `cat`.
pub fn instance(options: impl IntoIterator<Item = OsString>) -> Background {
    Cmd::run(options.into_iter().chain(args!["cat"])).spawn().that_repeats()
}

/// A running instance of root.
pub fn instance_of_root() -> Background {
    let words = args![place::fixture("setuid/probe"), "as-root", place::selfdock(), "run", "cat"];
    Cmd::program(words).spawn().that_repeats()
}
