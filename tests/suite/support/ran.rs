//! What came of a run, and what must be true of every run.

use super::background::marked;
use super::{CANARY, Dock, place, wait_until};
use std::cell::RefCell;
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Once;
use std::time::{Duration, Instant};

/// A run that has ended.
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    took: Duration,
}

thread_local! {
    /// The last runs of this test, for the report of a failure.
    static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Ran {
    pub(super) fn new(dock: Dock) -> Self {
        let (line, timeout, mark) = (format!("{:?}", dock.command), dock.timeout, dock.mark);
        let start = Instant::now();
        let mut command = assert_cmd::Command::from_std(dock.command);
        if let Some(text) = dock.stdin {
            command.write_stdin(text);
        }
        let done = command.timeout(timeout).output().unwrap_or_else(|error| panic!("{line}: {error}"));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let ran = Self {
            status: done.status,
            stdout: text(done.stdout),
            stderr: text(done.stderr),
            took: start.elapsed(),
        };
        log(&line, Some(&ran));
        assert!(ran.took < timeout, "it was still running after {timeout:?}");
        assert!(!ran.stdout.contains(CANARY) && !ran.stderr.contains(CANARY), "the canary was seen");
        wait_until("no process of the run is left", || marked(&mark).is_empty());
        ran
    }

    /// It succeeded with nothing to complain about.
    pub fn ok(&self) -> String {
        assert!(self.status.success() && self.stderr.is_empty(), "it did not succeed in silence");
        self.stdout.trim_end().to_owned()
    }

    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "exit status");
        self
    }

    pub fn dies_by(self, signal: i32) -> Self {
        assert_eq!(self.status.signal(), Some(signal), "the signal that ended it");
        self
    }

    /// selfdock refused: 125, nothing on stdout, one printable line on stderr, soon.
    pub fn refused(self, words: &str) -> Self {
        let ran = self.exits(125);
        assert_eq!(ran.stdout, "", "stdout of a refusal");
        assert!(ran.took < Duration::from_secs(5), "a refusal that took {:?}", ran.took);
        let line = ran.stderr.strip_suffix('\n').expect("a refusal is a line");
        assert!(line.starts_with("selfdock: "), "a refusal begins with the program's name");
        assert!(!line.chars().any(char::is_control), "a refusal is one printable line");
        assert!(line.contains(words), "the refusal does not say '{words}'");
        ran
    }

    /// selfdock refused, or the command did as it does when nothing is wrong: for what may be answered either way.
    pub fn refused_or(self, check: impl FnOnce(&Self)) {
        if self.status.code() == Some(125) {
            self.refused("");
        } else {
            check(&self);
        }
    }
}

/// Notes what is run, for the report of a failure.
pub(super) fn log(line: &str, ran: Option<&Ran>) {
    let mut text = format!("$ {line}\n");
    if let Some(ran) = ran {
        let (status, took) = (ran.status, ran.took);
        write!(text, "{status} after {took:?}\nstdout: {}\nstderr: {}\n", ran.stdout, ran.stderr)
            .expect("a string");
    }
    LOG.with_borrow_mut(|log| {
        log.push(text);
        let surplus = log.len().saturating_sub(3);
        log.drain(..surplus);
    });
}

/// A failing test says what it ran, as whom, what came of it, and among which mounts.
pub(super) fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            usual(panic);
            let log = LOG.with_borrow(|log| log.join("\n"));
            eprintln!("\nlast runs:\n{log}\nuser:\n{}\n\nmounts:\n{}", place::ids(), place::host_mounts());
        }));
    });
}
