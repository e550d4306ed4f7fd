//! The table of commands and options. The parser, `--help`, the man page and the shell completions are made from it.
//! It is pure data: the harness includes this file, too.
//!
//! Commands and options have two classes. The plain ones belong to the set-uid program. It takes only `SYNTAX` and
//! `WORDS` from this file, which are computed at compile time and hold no text for users. All others belong to the
//! second program, which does what they say, or turns them into plain ones.

use Class::{Front, Plain};

/// The program that handles a command or an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The set-uid program.
    Plain,
    /// The second program alone.
    Front,
}

/// A command word: `selfdock run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// The words after it, for `--help`.
    pub usage: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// Its bit in [`Opt::verbs`].
    pub bit: u16,
    /// The program that handles it.
    pub class: Class,
}

/// `run`
pub const RUN: u16 = 1;

/// `build`
pub const BUILD: u16 = 2;
/// `enter`
pub const ENTER: u16 = 4;
/// `ps`
pub const PS: u16 = 8;
/// `doctor`
pub const DOCTOR: u16 = 16;
/// `each`
pub const EACH: u16 = 32;
/// `help`
pub const HELP: u16 = 64;
/// `version`
pub const VERSION: u16 = 128;
/// `changes`
pub const CHANGES: u16 = 256;
/// `profiles`
pub const PROFILES: u16 = 512;

/// Every command, in the order of `--help`.
#[rustfmt::skip]
pub const VERBS: &[Verb] = &[
    Verb { name: "run", usage: "[CMD [ARG...]]", bit: RUN, class: Plain,
           help: "run CMD (default: $SHELL) in a new instance" },
    Verb { name: "build", usage: "[CMD [ARG...]]", bit: BUILD, class: Plain,
           help: "run CMD with a writable root filesystem" },
    Verb { name: "enter", usage: "PID [CMD [ARG...]]", bit: ENTER, class: Plain,
           help: "run CMD in the instance that PID belongs to" },
    Verb { name: "each", usage: "CMD [ARG...]", bit: EACH, class: Front,
           help: "run CMD in an instance for each line of input" },
    Verb { name: "ps", usage: "", bit: PS, class: Front,
           help: "list your running instances" },
    Verb { name: "changes", usage: "DIR", bit: CHANGES, class: Front,
           help: "list what --changes DIR has kept" },
    Verb { name: "doctor", usage: "", bit: DOCTOR, class: Front,
           help: "check what works on this machine" },
    Verb { name: "profiles", usage: "", bit: PROFILES, class: Front,
           help: "list the profiles, which are used as @NAME" },
    Verb { name: "help", usage: "[WORD]", bit: HELP, class: Front,
           help: "show this help, or that of a command or option" },
    Verb { name: "version", usage: "", bit: VERSION, class: Front,
           help: "show the version" },
];

/// The groups of options in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Files and directories.
    Files,
    /// The process of the command.
    Process,
    /// Namespaces and privilege.
    Isolation,
    /// Limits.
    Limits,
    /// Options that stand for others, and those that few people need.
    More,
    /// A batch.
    Batch,
    /// About selfdock itself.
    General,
}

/// The groups with their headings.
pub const GROUPS: &[(Group, &str)] = &[
    (Group::Files, "Files"),
    (Group::Process, "Process"),
    (Group::Isolation, "Isolation"),
    (Group::Limits, "Limits"),
    (Group::More, "More options"),
    (Group::Batch, "Batch (each also takes the options of run)"),
    (Group::General, "General"),
];

/// Identifies an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Id {
    Root,
    Vol,
    Map,
    Tmpfs,
    Here,
    Dev,
    Mask,
    MaskIfExists,
    Chdir,
    Env,
    UnsetEnv,
    ClearEnv,
    KeepFd,
    Net,
    Hostname,
    NoNest,
    OwnCgroup,
    Unprivileged,
    Explain,
    NewSession,
    Seccomp,
    Abstract,
    NoUserns,
    Report,
    ReportRequired,
    Timeout,
    Rlimit,
    Jobs,
    Null,
    Group,
    Halt,
    Json,
    Overlay,
    Changes,
    FakeRoot,
    Proxy,
    Watch,
    Help,
    Version,
    Bind,
    BindRo,
    BindIfExists,
    BindRoIfExists,
    Home,
    Pass,
    NoSecrets,
    X11,
    Wayland,
    Dbus,
    Pulse,
    SshAgent,
    Gpu,
    OutputLimit,
    Memory,
    Pids,
    Cpus,
}

/// How the shell completes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complete {
    /// Not at all.
    Nothing,
    /// A file or directory.
    File,
    /// A directory.
    Directory,
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of these names, and `=`.
    Assignments(&'static [&'static str]),
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its identity.
    pub id: Id,
    /// `-v`
    pub short: Option<char>,
    /// `--vol`
    pub long: &'static str,
    /// The names of its values in `--help`, with their completion.
    pub values: &'static [(&'static str, Complete)],
    /// What it does, in one line.
    pub help: &'static str,
    /// Its group in `--help`.
    pub group: Group,
    /// The commands that take it; 0 for all.
    pub verbs: u16,
    /// The program that handles it.
    pub class: Class,
}

const SRC: (&str, Complete) = ("SRC", Complete::File);
const DST: (&str, Complete) = ("DST", Complete::Directory);

/// The names of resource limits, for `--rlimit`.
pub const LIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "memlock",
    "msgqueue",
    "nofile",
    "nproc",
    "rss",
    "sigpending",
    "stack",
];

/// Every option, in the order of `--help`.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    Opt { id: Id::Root, short: Some('r'), long: "root", values: &[("DIR", Complete::Directory)],
          help: "root filesystem or layer (default: the host's)", group: Group::Files, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Vol, short: Some('v'), long: "vol", values: &[SRC, DST],
          help: "volume: bind SRC on DST, writable", group: Group::Files, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Map, short: Some('m'), long: "map", values: &[SRC, DST],
          help: "map: bind SRC on DST, read-only", group: Group::Files, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Bind, short: Some('b'), long: "bind", values: &[("PATH", Complete::File)],
          help: "volume: bind PATH on the same path, writable", group: Group::Files, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::BindRo, short: Some('B'), long: "bind-ro", values: &[("PATH", Complete::File)],
          help: "map: bind PATH on the same path, read-only", group: Group::Files, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Tmpfs, short: Some('t'), long: "tmpfs", values: &[("OPTS", Complete::Words(&["-", "size=", "nr_inodes=", "mode="])), DST],
          help: "private tmpfs; OPTS like size=1G, or - for none", group: Group::Files, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Here, short: Some('H'), long: "here", values: &[],
          help: "make the current directory a volume; start in it", group: Group::Files, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Dev, short: None, long: "dev", values: &[("PATH", Complete::File)],
          help: "add a device or socket in /dev, or a directory", group: Group::Files, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Mask, short: None, long: "mask", values: &[("PATH", Complete::File)],
          help: "hide a file or directory", group: Group::Files, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Chdir, short: Some('C'), long: "chdir", values: &[("DIR", Complete::Directory)],
          help: "start in DIR (default: the same directory, else /)", group: Group::Process, verbs: RUN | BUILD | ENTER, class: Plain },
    Opt { id: Id::Env, short: Some('e'), long: "env", values: &[("NAME", Complete::Nothing), ("VALUE", Complete::Nothing)],
          help: "set a variable; or write NAME=VALUE as one word", group: Group::Process, verbs: RUN | BUILD | ENTER, class: Plain },
    Opt { id: Id::UnsetEnv, short: Some('E'), long: "unset-env", values: &[("NAME", Complete::Nothing)],
          help: "remove a variable, or all that match 'AWS_*'", group: Group::Process, verbs: RUN | BUILD | ENTER, class: Plain },
    Opt { id: Id::ClearEnv, short: None, long: "clear-env", values: &[],
          help: "start from an empty environment", group: Group::Process, verbs: RUN | BUILD | ENTER, class: Plain },
    Opt { id: Id::KeepFd, short: None, long: "keep-fd", values: &[("N", Complete::Nothing)],
          help: "pass on descriptor N (default: only 0, 1 and 2)", group: Group::Process, verbs: RUN | BUILD | ENTER, class: Plain },
    Opt { id: Id::NewSession, short: None, long: "new-session", values: &[],
          help: "start a new session, without the terminal", group: Group::Process, verbs: RUN | BUILD | ENTER, class: Plain },
    Opt { id: Id::Timeout, short: None, long: "timeout", values: &[("TIME[,GRACE]", Complete::Nothing)],
          help: "end CMD after TIME, in seconds or like 10m", group: Group::Process, verbs: RUN | BUILD | ENTER, class: Plain },
    Opt { id: Id::Report, short: None, long: "report", values: &[("FILE|FD", Complete::File)],
          help: "when CMD has ended, write a report as JSON", group: Group::Process, verbs: RUN | BUILD | ENTER, class: Plain },
    Opt { id: Id::Net, short: Some('n'), long: "net", values: &[("none|host|user[,...]", Complete::Words(&["none", "host", "user"]))],
          help: "none: only loopback; user: a network by pasta", group: Group::Isolation, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Hostname, short: None, long: "hostname", values: &[("NAME", Complete::Nothing)],
          help: "set the host name to NAME", group: Group::Isolation, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::NoNest, short: None, long: "no-nest", values: &[],
          help: "no program inside gains privilege (no_new_privs)", group: Group::Isolation, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::NoUserns, short: None, long: "no-userns", values: &[],
          help: "no user namespace can be made inside", group: Group::Isolation, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Seccomp, short: None, long: "seccomp", values: &[("none|default|FILE", Complete::Words(&["none", "default"]))],
          help: "filter of system calls; FILE adds a second one", group: Group::Isolation, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Abstract, short: None, long: "abstract", values: &[],
          help: "reach the abstract sockets of the host's network", group: Group::Isolation, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::OwnCgroup, short: None, long: "own-cgroup", values: &[],
          help: "enter: stay in the control group of the caller", group: Group::Isolation, verbs: ENTER, class: Plain },
    Opt { id: Id::Unprivileged, short: None, long: "unprivileged", values: &[],
          help: "use a user namespace, even if installed set-uid", group: Group::Isolation, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::Rlimit, short: None, long: "rlimit", values: &[("NAME=VALUE", Complete::Assignments(LIMITS))],
          help: "lower a limit of setrlimit(2), like nofile=64", group: Group::Limits, verbs: RUN | BUILD | ENTER, class: Plain },
    Opt { id: Id::Memory, short: None, long: "memory", values: &[("SIZE", Complete::Nothing)],
          help: "limit the memory of all processes, like 512M", group: Group::Limits, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Pids, short: None, long: "pids", values: &[("N", Complete::Nothing)],
          help: "limit the number of processes and threads", group: Group::Limits, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Cpus, short: None, long: "cpus", values: &[("N", Complete::Nothing)],
          help: "limit all processes to N CPUs, like 2 or 0.5", group: Group::Limits, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::OutputLimit, short: None, long: "output-limit", values: &[("SIZE", Complete::Nothing)],
          help: "kill CMD when it has printed more than SIZE", group: Group::Limits, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Overlay, short: Some('o'), long: "overlay", values: &[SRC, DST],
          help: "copy of directory SRC; changes to it are discarded", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Changes, short: None, long: "changes", values: &[("DIR", Complete::Directory)],
          help: "keep the changes to the --overlay in DIR", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::FakeRoot, short: None, long: "fake-root", values: &[],
          help: "be uid 0 inside, by subordinate ids (for apt)", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Proxy, short: None, long: "proxy", values: &[("SOCKET", Complete::File)],
          help: "with --net none: HTTP by the proxy at SOCKET", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::MaskIfExists, short: None, long: "mask-if-exists", values: &[("PATH", Complete::File)],
          help: "--mask, if PATH exists", group: Group::More, verbs: RUN | BUILD, class: Plain },
    Opt { id: Id::ReportRequired, short: None, long: "report-required", values: &[],
          help: "fail if the report cannot be written", group: Group::More, verbs: RUN | BUILD | ENTER, class: Plain },
    Opt { id: Id::BindIfExists, short: None, long: "bind-if-exists", values: &[("PATH", Complete::File)],
          help: "--bind, if PATH exists", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::BindRoIfExists, short: None, long: "bind-ro-if-exists", values: &[("PATH", Complete::File)],
          help: "--bind-ro, if PATH exists", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Home, short: None, long: "home", values: &[],
          help: "empty writable home; --home=DIR: use DIR as home", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Pass, short: None, long: "pass", values: &[("NAME", Complete::Nothing)],
          help: "keep a variable when others are removed", group: Group::More, verbs: RUN | BUILD | ENTER, class: Front },
    Opt { id: Id::NoSecrets, short: None, long: "no-secrets", values: &[],
          help: "remove variables like *TOKEN* and *PASSWORD*", group: Group::More, verbs: RUN | BUILD | ENTER, class: Front },
    Opt { id: Id::X11, short: None, long: "x11", values: &[],
          help: "X display: CMD can see all keys and windows", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Wayland, short: None, long: "wayland", values: &[],
          help: "Wayland display: CMD can open windows", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Dbus, short: None, long: "dbus", values: &[],
          help: "session bus: CMD can start programs outside", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Pulse, short: None, long: "pulse", values: &[],
          help: "sound: CMD can hear the microphone", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::SshAgent, short: None, long: "ssh-agent", values: &[],
          help: "ssh agent: CMD can log in with your keys", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Gpu, short: None, long: "gpu", values: &[],
          help: "graphics cards, and /sys with all devices", group: Group::More, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Jobs, short: Some('j'), long: "jobs", values: &[("N", Complete::Nothing)],
          help: "run N at a time (default 1; 0: one for each CPU)", group: Group::Batch, verbs: EACH, class: Front },
    Opt { id: Id::Null, short: Some('0'), long: "null", values: &[],
          help: "lines end with NUL, as find -print0 writes them", group: Group::Batch, verbs: EACH, class: Front },
    Opt { id: Id::Group, short: None, long: "group", values: &[],
          help: "print the output of each command when it has ended", group: Group::Batch, verbs: EACH, class: Front },
    Opt { id: Id::Halt, short: None, long: "halt", values: &[],
          help: "start no more commands when one has failed", group: Group::Batch, verbs: EACH, class: Front },
    Opt { id: Id::Explain, short: None, long: "explain", values: &[],
          help: "print the plan (=all: each step), and do nothing", group: Group::General, verbs: RUN | BUILD, class: Front },
    Opt { id: Id::Json, short: None, long: "json", values: &[],
          help: "ps: print JSON", group: Group::General, verbs: PS, class: Front },
    Opt { id: Id::Watch, short: None, long: "watch", values: &[],
          help: "ps: repeat every second, until a signal ends it", group: Group::General, verbs: PS, class: Front },
    Opt { id: Id::Help, short: Some('h'), long: "help", values: &[],
          help: "show this help", group: Group::General, verbs: 0, class: Front },
    Opt { id: Id::Version, short: Some('V'), long: "version", values: &[],
          help: "show the version", group: Group::General, verbs: 0, class: Plain },
];

/// The options with values that may be repeated, since each one counts. Of all others only one counts.
pub const REPEATABLE: &[Id] = &[
    Id::Root,
    Id::Vol,
    Id::Map,
    Id::Bind,
    Id::BindRo,
    Id::Tmpfs,
    Id::Dev,
    Id::Mask,
    Id::Env,
    Id::UnsetEnv,
    Id::KeepFd,
    Id::Rlimit,
    Id::Overlay,
    Id::MaskIfExists,
    Id::BindIfExists,
    Id::BindRoIfExists,
    Id::Pass,
];

/// What the set-uid program needs to know of an option.
#[derive(Clone, Copy, Debug)]
pub struct Syntax {
    /// Its identity.
    pub id: Id,
    /// `-v`, or 0.
    pub short: u8,
    /// `--vol`
    pub long: &'static str,
    /// The number of its values.
    pub values: u8,
    /// The commands that take it.
    pub verbs: u16,
}

/// Makes something of each plain entry of a table. Iterators cannot be used in constants.
macro_rules! of_plain {
    ($kind:ty, $table:ident, $entry:ident => $made:expr) => {{
        const COUNT: usize = {
            let (mut count, mut at) = (0, 0);
            while at < $table.len() {
                count += matches!($table[at].class, Plain) as usize;
                at += 1;
            }
            count
        };
        const ALL: [$kind; COUNT] = {
            let $entry = &$table[0];
            let mut all = [$made; COUNT];
            let (mut from, mut to) = (0, 0);
            while from < $table.len() {
                let $entry = &$table[from];
                if matches!($entry.class, Plain) {
                    all[to] = $made;
                    to += 1;
                }
                from += 1;
            }
            all
        };
        &ALL
    }};
}

/// Every plain option.
pub static SYNTAX: &[Syntax] = of_plain!(Syntax, OPTIONS, opt => opt.syntax());

/// Every plain command with its bit.
pub static WORDS: &[(&str, u16)] = of_plain!((&str, u16), VERBS, verb => (verb.name, verb.bit));

impl Opt {
    const fn syntax(&self) -> Syntax {
        let short = match self.short {
            Some(letter) => letter as u8,
            None => 0,
        };
        let values = match self.values.len() {
            0 => 0,
            1 => 1,
            _ => 2,
        };
        Syntax { id: self.id, short, long: self.long, values, verbs: self.verbs }
    }
}

/// Other long names for options of the table.
pub const ALIASES: &[(&str, Id)] = &[("rootfs", Id::Root)];

/// Other long names that only the second program knows.
pub const FRONT_ALIASES: &[(&str, Id)] = &[("volume", Id::Vol)];

/// Examples for `--help` and the man page.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("selfdock run sh", "a shell that can change nothing"),
    ("selfdock run -H make", "build here; nothing else is writable"),
];
