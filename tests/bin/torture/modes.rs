//! The ways to start a command. Everything that can fail is made to fail in each of them.

use crate::Who;

/// A way to start a command.
pub struct Mode {
    pub name: &'static str,
    pub who: Who,
    /// The words before the command. `SELFDOCK`, `PID` (of an instance) and the name of a fixture in braces are
    /// replaced.
    pub words: &'static [&'static str],
    /// The words that started the instance that is entered.
    pub target: Option<&'static [&'static str]>,
    /// As on Linux 6.6, which lacks `open_tree_attr`, `statmount` and `listmount`.
    pub older: bool,
    /// An entry of a layer that cannot be looked at is left out. The run is not refused for it.
    pub layered: bool,
    /// The processes to try, each from one of its programs on.
    pub from: fn(process: usize, execs: usize) -> bool,
    /// The number of commands.
    pub lines: usize,
}

const PLAIN: Mode = Mode {
    name: "",
    who: Who::Tester,
    words: &[],
    target: None,
    older: false,
    layered: false,
    from: |_, _| true,
    lines: 1,
};

/// The supervisor, keeper and command of a nested instance. The outer instance is tried in another mode.
fn inner(process: usize, execs: usize) -> bool {
    process > 2 || (process == 2 && execs > 0)
}

/// The second program only. What it starts is tried in other modes.
fn first(process: usize, _: usize) -> bool {
    process == 0
}

/// All ways.
pub const MODES: &[Mode] = &[
    Mode { name: "run", words: &["SELFDOCK", "run"], ..PLAIN },
    Mode { name: "older-kernel", words: &["SELFDOCK", "run"], older: true, ..PLAIN },
    Mode {
        name: "mounts",
        words: &[
            "SELFDOCK",
            "-m",
            "/usr/bin",
            "/mnt",
            "-m",
            "/usr/bin",
            "/srv/made/deep",
            "-t",
            "-",
            "/srv/t",
            "--mask",
            "/usr/share",
            "--mask",
            "/etc/hostname",
            "--dev",
            "/dev/kmsg",
            "-v",
            "SCRATCH",
            "/srv/v",
            "run",
        ],
        older: true,
        ..PLAIN
    },
    Mode {
        name: "image",
        words: &["SELFDOCK", "--root", "{busybox}", "-m", "{bin/probe}", "{bin/probe}", "run"],
        ..PLAIN
    },
    Mode {
        name: "layers",
        words: &[
            "SELFDOCK",
            "--root",
            "{busybox}",
            "--root",
            "{musl}",
            "-m",
            "{bin/probe}",
            "{bin/probe}",
            "run",
        ],
        layered: true,
        older: true,
        ..PLAIN
    },
    Mode { name: "build", words: &["SELFDOCK", "--root", "/", "build"], ..PLAIN },
    Mode { name: "unprivileged", words: &["SELFDOCK", "--unprivileged", "run"], ..PLAIN },
    Mode {
        name: "unprivileged-image",
        words: &[
            "SELFDOCK",
            "--unprivileged",
            "--root",
            "{busybox}",
            "-m",
            "{bin/probe}",
            "{bin/probe}",
            "run",
        ],
        ..PLAIN
    },
    Mode {
        name: "strict",
        words: &[
            "SELFDOCK",
            "--net",
            "none",
            "--no-nest",
            "--no-userns",
            "--hostname",
            "h",
            "--new-session",
            "--rlimit",
            "nofile=64",
            "--timeout",
            "100",
            "--report",
            "/dev/null",
            "run",
        ],
        older: true,
        ..PLAIN
    },
    Mode { name: "no-filter", words: &["SELFDOCK", "--seccomp", "none", "run"], ..PLAIN },
    Mode { name: "root", who: Who::Root, words: &["SELFDOCK", "run"], older: true, ..PLAIN },
    Mode {
        name: "root-image",
        who: Who::Root,
        words: &["SELFDOCK", "--root", "{busybox}", "-m", "{bin/probe}", "{bin/probe}", "run"],
        ..PLAIN
    },
    Mode {
        name: "root-unprivileged",
        who: Who::Root,
        words: &["SELFDOCK", "--unprivileged", "run"],
        ..PLAIN
    },
    Mode { name: "nested", words: &["SELFDOCK", "run", "SELFDOCK", "run"], from: inner, ..PLAIN },
    Mode {
        name: "nested-unprivileged",
        words: &["SELFDOCK", "--unprivileged", "run", "SELFDOCK", "run"],
        from: inner,
        ..PLAIN
    },
    Mode { name: "enter", words: &["SELFDOCK", "enter", "PID"], target: Some(&["run"]), ..PLAIN },
    Mode {
        name: "enter-unprivileged",
        words: &["SELFDOCK", "enter", "PID"],
        target: Some(&["--unprivileged", "run"]),
        ..PLAIN
    },
    Mode {
        name: "enter-strict",
        words: &["SELFDOCK", "enter", "PID"],
        target: Some(&["--no-nest", "--no-userns", "--net", "none", "--root", "/", "run"]),
        ..PLAIN
    },
    Mode {
        name: "root-enter",
        who: Who::Root,
        words: &["SELFDOCK", "enter", "PID"],
        target: Some(&["run"]),
        ..PLAIN
    },
    Mode { name: "each", words: &["SELFDOCK", "each", "-j", "1"], from: first, lines: 2, ..PLAIN },
];
