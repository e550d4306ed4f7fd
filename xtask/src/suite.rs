//! Runs the test binary as an unprivileged user, and reads what it reports.

use crate::properties::of_test;
use crate::run::{Context, Result};
use crate::stop::Stop;
use std::io::{BufRead, BufReader};
use std::num::NonZero;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// Who runs the tests.
#[derive(Clone, Copy)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

impl User {
    /// The user of the tests, if root starts the run.
    pub const NOBODY: Self = Self { uid: 61234, gid: 61234 };
    /// The user of the tests of mutants. A mutant may end all processes of its user, so nobody else is this one.
    pub const OF_MUTANTS: Self = Self { uid: 61237, gid: 61237 };
    /// The one supplementary group.
    pub const EXTRA_GROUP: u32 = 61235;

    /// Reads UID:GID.
    pub fn parse(text: &str) -> Result<Self> {
        let (uid, gid) = text.split_once(':').ok_or("not UID:GID")?;
        Ok(Self { uid: uid.parse().context("UID")?, gid: gid.parse().context("GID")? })
    }
}

pub struct Suite {
    pub program: PathBuf,
    pub user: User,
    pub env: Vec<(&'static str, PathBuf)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    Ignored,
}

pub struct Outcome {
    pub test: String,
    pub verdict: Verdict,
    /// The lines that it printed, if it failed.
    pub said: Vec<String>,
}

impl Suite {
    /// The names of the tests that one of the filters selects; of all, if there is none.
    pub fn list(&self, filters: &[String]) -> Result<Vec<String>> {
        let others = self.list_ignored(filters)?;
        let mut names = self.names(&[], filters)?;
        names.retain(|name| !others.contains(name));
        Ok(names)
    }

    /// The names of the selected tests that are marked as ignored. Another command than `install-test` runs them.
    pub fn list_ignored(&self, filters: &[String]) -> Result<Vec<String>> {
        self.names(&["--ignored"], filters)
    }

    fn names(&self, options: &[&str], filters: &[String]) -> Result<Vec<String>> {
        let mut command = self.command();
        command.args(["--list", "--format", "terse"]).args(options).args(filters);
        let listing = crate::run::output(&mut command)?;
        let names = listing.lines().filter_map(|line| line.strip_suffix(": test"));
        Ok(names.map(str::to_owned).collect())
    }

    /// Runs the tests in parallel. Those that measure run alone and last.
    pub fn run(&self, tests: Vec<String>, stop: &Stop) -> Result<Vec<Outcome>> {
        let (alone, others): (Vec<_>, Vec<_>) =
            tests.into_iter().partition(|test| of_test(test).is_some_and(|property| property.alone));
        // Many tests wait: three at a time keep a processor busy.
        let cpus = available_parallelism().map_or(1, NonZero::get);
        let mut outcomes = self.pass(others, &(3 * cpus).to_string(), stop)?;
        outcomes.extend(self.pass(alone, "1", stop)?);
        Ok(outcomes)
    }

    /// Runs the tests one after another.
    pub fn one_by_one(&self, tests: Vec<String>, stop: &Stop) -> Result<Vec<Outcome>> {
        self.pass(tests, "1", stop)
    }

    /// Runs the tests in parallel until one fails, and returns its name. They have mount and PID namespaces of their
    /// own: a mutant may leave mounts and processes, or signal whatever it sees. Tests that pass are removed from the
    /// list. `at_most` is the time limit for the end of the next one.
    pub fn first_failure(
        &self,
        tests: &mut Vec<String>,
        at_most: Duration,
        stop: &Stop,
    ) -> Result<Option<String>> {
        if tests.is_empty() || stop.requested() {
            return Ok(None);
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-c"]);
        let proc = "umount -l /proc && mount -t proc proc /proc";
        // The shell stays as PID 1, and waits for orphans.
        command.arg(format!("{proc} && mount --make-rshared / && \"$@\"; exit")).arg("sh").process_group(0);
        let suite = self.command();
        command.arg(suite.get_program()).args(suite.get_args()).current_dir("/");
        command.args(["--test-threads", "12", "--exact"]).args(&*tests);
        command.env_clear().envs(suite.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("start the suite")?;
        stop.guard(child.id());
        let lines = lines(child.stdout.take().expect("stdout is a pipe"));
        let (mut last, mut failed) = (Instant::now(), None);
        while failed.is_none() && !tests.is_empty() {
            let line = lines.recv_timeout(Duration::from_millis(500));
            match line.as_deref().map(outcome) {
                Ok(Some(Outcome { verdict: Verdict::Passed, test, .. })) => {
                    last = Instant::now();
                    tests.retain(|other| *other != test);
                }
                Ok(Some(other)) => failed = Some(other.test),
                Ok(None) => {}
                Err(RecvTimeoutError::Timeout) if last.elapsed() < at_most && !stop.requested() => {}
                Err(_) => failed = Some("the suite, which does not come to its end".into()),
            }
        }
        stop.release();
        child.wait().context("wait for the suite")?;
        Ok(failed)
    }

    /// One run of the test binary. A test that it does not report on has failed.
    fn pass(&self, tests: Vec<String>, threads: &str, stop: &Stop) -> Result<Vec<Outcome>> {
        if tests.is_empty() || stop.requested() {
            return Ok(Vec::new());
        }
        let mut command = self.command();
        command.args(["--test-threads", threads, "--include-ignored", "--exact"]).args(&tests);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("start the suite")?;
        stop.guard(child.id());
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut speaker: Option<usize> = None;
        let lines = lines(child.stdout.take().expect("stdout is a pipe"));
        loop {
            match lines.recv_timeout(Duration::from_millis(500)) {
                Ok(text) => {
                    println!("{text}");
                    outcomes.extend(outcome(&text));
                    if let Some(name) = heading(&text) {
                        speaker = outcomes.iter().position(|outcome| outcome.test == name);
                    } else if text == "failures:" {
                        speaker = None;
                    } else if let Some(index) = speaker {
                        outcomes[index].said.push(text);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                // The suite has ended, but a process that it started still holds the pipe.
                Err(RecvTimeoutError::Timeout)
                    if child.try_wait().context("wait for the suite")?.is_some() =>
                {
                    let test = "nothing_left::no_process_outlives_the_suite".to_owned();
                    println!("test {test} ... FAILED");
                    outcomes.push(Outcome { test, verdict: Verdict::Failed, said: Vec::new() });
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        let ended = child.wait().context("wait for the suite")?;
        stop.release();
        let silent: Vec<_> =
            tests.into_iter().filter(|test| outcomes.iter().all(|o| o.test != *test)).collect();
        if !silent.is_empty() {
            println!("xtask: the suite has ended before {} of its tests: {ended}", silent.len());
        }
        let failed = |test| Outcome { test, verdict: Verdict::Failed, said: Vec::new() };
        outcomes.extend(silent.into_iter().map(failed));
        Ok(outcomes)
    }

    /// The command of the suite: without privilege, with only the environment for the tests, and with the signals of
    /// a login shell: none blocked and none ignored. It leads a session without a terminal, and so a process group.
    fn command(&self) -> Command {
        let mut command = Command::new("setsid");
        command
            .arg("setpriv")
            .arg(format!("--reuid={}", self.user.uid))
            .arg(format!("--regid={}", self.user.gid))
            .arg(format!("--groups={}", User::EXTRA_GROUP))
            .args(["--inh-caps=-all", "--", "env", "--default-signal"])
            .arg(&self.program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir("/");
        command
    }
}

/// The lines that the suite prints, as they come.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for text in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            if send.send(text).is_err() {
                break;
            }
        }
    });
    lines
}

/// Reads a line of libtest: `test NAME ... ok`.
pub fn outcome(text: &str) -> Option<Outcome> {
    let (name, word) = text.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let verdict = match word {
        "ok" => Verdict::Passed,
        word if word.starts_with("ignored") => Verdict::Ignored,
        word if word.starts_with("FAILED") => Verdict::Failed,
        _ => return None,
    };
    let test = name.strip_suffix(" - should panic").unwrap_or(name).to_owned();
    Some(Outcome { test, verdict, said: Vec::new() })
}

/// Reads the line above what a failed test printed: `---- NAME stdout ----`.
fn heading(text: &str) -> Option<&str> {
    text.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_libtest_are_read() {
        let verdict = |text| outcome(text).map(|o| (o.test, o.verdict as u8));
        assert_eq!(verdict("test a::b ... ok"), Some(("a::b".into(), Verdict::Passed as u8)));
        assert_eq!(verdict("test a::b ... FAILED"), Some(("a::b".into(), Verdict::Failed as u8)));
        assert_eq!(verdict("test a::b ... ignored, later"), Some(("a::b".into(), Verdict::Ignored as u8)));
        assert_eq!(verdict("test result: ok. 3 passed"), None);
        assert_eq!(verdict("running 3 tests"), None);
    }
}
