//! Every way to start a command, and the oracle for each: the same command without selfdock.

use super::background::Background;
use super::cmd::{Cmd, args, instance, nested};
use super::job::{Job, Transcript};
use super::place;
use super::processes::command_of;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Mutex;
use tempfile::TempDir;

/// A way to start a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Without selfdock: the oracle.
    Plain,
    Run,
    /// With words that the second program rewrites.
    Expanded,
    Nested,
    Deep,
    Unprivileged,
    UnprivilegedInSetUid,
    SetUidInUnprivileged,
    Image,
    Build,
    NoNest,
    NoUserNamespaces,
    NoNetwork,
    NoFilter,
    Here,
    MadeMountPoint,
    NewSession,
    Enter,
    EnterUnprivileged,
    EnterNested,
}

/// Makes a test for every way. The first parameter is the way; others follow as in any test of rstest.
macro_rules! every_way {
    ($(#[$attribute:meta])* fn $name:ident($way:ident $(, $($other:tt)*)?) $body:block) => {
        $(#[$attribute])*
        #[case::run(Way::Run)]
        #[case::expanded(Way::Expanded)]
        #[case::nested(Way::Nested)]
        #[case::deep(Way::Deep)]
        #[case::unprivileged(Way::Unprivileged)]
        #[case::unprivileged_in_set_uid(Way::UnprivilegedInSetUid)]
        #[case::set_uid_in_unprivileged(Way::SetUidInUnprivileged)]
        #[case::image(Way::Image)]
        #[case::build(Way::Build)]
        #[case::no_nest(Way::NoNest)]
        #[case::no_user_namespaces(Way::NoUserNamespaces)]
        #[case::no_network(Way::NoNetwork)]
        #[case::no_filter(Way::NoFilter)]
        #[case::here(Way::Here)]
        #[case::made_mount_point(Way::MadeMountPoint)]
        #[case::new_session(Way::NewSession)]
        #[case::enter(Way::Enter)]
        #[case::enter_unprivileged(Way::EnterUnprivileged)]
        #[case::enter_nested(Way::EnterNested)]
        fn $name(#[case] $way: Way $(, $($other)*)?) $body
    };
}
pub(crate) use every_way;

/// The setting in which the command is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Without anything else.
    Bare,
    /// With a deadline that is not reached.
    Deadline,
    /// In the foreground of a terminal.
    Terminal,
}

/// A way to start a command, with its prerequisites. It can be used any number of times.
pub struct Start {
    way: Way,
    on_terminal: bool,
    /// The words before the command, without the options of the outermost selfdock.
    program: OsString,
    options: Vec<OsString>,
    words: Vec<OsString>,
    dir: TempDir,
    target: Option<Background>,
}

impl Way {
    pub fn start(self, setting: Setting) -> Start {
        let dir = place::scratch();
        let sd = place::selfdock();
        let target = self.target();
        let words: Vec<OsString> = match self {
            Way::Plain => Vec::new(),
            Way::Run | Way::Here => args!["run"].into(),
            Way::Expanded => args!["--pass", "PATH", "run"].into(),
            Way::Nested => args!["run", sd, "run"].into(),
            Way::Deep => args!["run"].into_iter().chain(nested(3, [])).collect(),
            Way::Unprivileged => args!["--unprivileged", "run"].into(),
            Way::UnprivilegedInSetUid => args!["run", sd, "--unprivileged", "run"].into(),
            Way::SetUidInUnprivileged => args!["--unprivileged", "run", sd, "run"].into(),
            Way::Image | Way::Build => {
                let verb = if self == Way::Image { "run" } else { "build" };
                args!["--root", place::fixture("debian"), "-m", place::fixture("bin"), "/home", verb].into()
            }
            Way::NoNest => args!["--no-nest", "run"].into(),
            Way::NoUserNamespaces => args!["--no-userns", "run"].into(),
            Way::NoNetwork => args!["--net", "none", "run"].into(),
            Way::NoFilter => args!["--seccomp", "none", "run"].into(),
            Way::MadeMountPoint => args!["-v", dir.path(), "/opt/made/deep", "run"].into(),
            Way::NewSession => args!["--new-session", "run"].into(),
            Way::Enter | Way::EnterUnprivileged => {
                args!["enter", target.as_ref().expect("an instance").pid().to_string()].into()
            }
            // The inner supervisor is the outer one's command.
            Way::EnterNested => {
                let outer = target.as_ref().expect("an instance").pid();
                args!["enter", command_of(outer).to_string()].into()
            }
        };
        let mut options: Vec<OsString> = Vec::new();
        if self == Way::Here {
            options.extend(args!["--here"]);
        }
        if setting == Setting::Deadline {
            options.extend(args!["--timeout", "1000"]);
        }
        // env(1) executes the command. Like selfdock it exits with 126 or 127 if it cannot.
        let program = if self == Way::Plain { "env".into() } else { place::selfdock().into() };
        if self == Way::Plain {
            options.clear();
        }
        Start { way: self, on_terminal: setting == Setting::Terminal, program, options, words, dir, target }
    }

    /// The instance to enter.
    fn target(self) -> Option<Background> {
        match self {
            Way::Enter => Some(instance([])),
            Way::EnterUnprivileged => Some(instance(args!["--unprivileged"])),
            Way::EnterNested => Some(instance(nested(1, []))),
            _ => None,
        }
    }
}

impl Start {
    pub fn way(&self) -> Way {
        self.way
    }

    /// The supervisor of the instance to enter.
    pub fn target(&self) -> Option<i32> {
        self.target.as_ref().map(Background::pid)
    }

    /// The words that start a command, with more options of the outermost selfdock.
    fn with(&self, options: &[OsString], command: &[OsString]) -> Vec<OsString> {
        let more = if self.way == Way::Plain { &[] } else { options };
        let parts = [std::slice::from_ref(&self.program), &self.options[..], more, &self.words, command];
        parts.concat()
    }

    /// Starts a command as a job.
    pub fn job(&self, command: &[OsString]) -> Job {
        self.job_with(&[], command)
    }

    /// Starts a command as a job, with more options of the outermost selfdock.
    pub fn job_with(&self, options: &[OsString], command: &[OsString]) -> Job {
        Job::start(&self.with(options, command), self.dir.path(), self.on_terminal)
    }

    /// A shell script, as a job.
    pub fn sh(&self, script: &str) -> Job {
        self.job(&args!["sh", "-c", script])
    }

    /// The probe, as a job.
    pub fn probe(&self, words: &[&str]) -> Job {
        let dir = match self.way {
            Way::Image | Way::Build => "/home".into(),
            _ => place::fixture("bin"),
        };
        let mut command = args![dir.join("probe")].to_vec();
        command.extend(words.iter().map(OsString::from));
        self.job(&command)
    }

    /// A command that reads and writes pipes to its end.
    pub fn pipe(&self, command: &[OsString]) -> Cmd {
        Cmd::program(self.with(&[], command)).current_dir(self.dir.path())
    }

    /// A directory of the caller's.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}

/// One cell of the matrix: checks that `transcript` returns the same for this way as without selfdock.
pub fn same_as_without(start: &Start, what: &str, transcript: impl Fn(&Start) -> Transcript) {
    let seen = transcript(start);
    assert_eq!(
        seen,
        without(start.on_terminal, what, transcript),
        "{what}, {:?}, and without selfdock",
        start.way
    );
}

/// The oracle's transcript. It is computed once and used for many ways.
fn without(on_terminal: bool, what: &str, transcript: impl Fn(&Start) -> Transcript) -> Transcript {
    static KNOWN: Mutex<BTreeMap<(bool, String), Transcript>> = Mutex::new(BTreeMap::new());
    let key = (on_terminal, what.to_owned());
    let known = KNOWN.lock().expect("no test panics with it").get(&key).cloned();
    known.unwrap_or_else(|| {
        let setting = if on_terminal { Setting::Terminal } else { Setting::Bare };
        let told = transcript(&Way::Plain.start(setting));
        assert_ne!(told, Transcript::default(), "{what}: nothing is seen without selfdock");
        KNOWN.lock().expect("no test panics with it").insert(key, told.clone());
        told
    })
}
