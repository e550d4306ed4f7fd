//! The isolation properties of selfdock: what it promises, one sentence each.
//!
//! The tests of a property are the module of the same name, with `_` for `-`; a property without a passing test
//! fails the run.

/// What stands in the files that no test may read: the fixtures of xtask hold it, and the oracle looks for it.
pub const CANARY: &str = "canary-3f9c61d0-must-not-be-seen";

pub struct Property {
    pub name: &'static str,
    pub promise: &'static str,
    /// Its tests measure, so they run alone and not beside others.
    pub alone: bool,
}

const fn property(name: &'static str, promise: &'static str) -> Property {
    Property { name, promise, alone: false }
}

const fn measured(name: &'static str, promise: &'static str) -> Property {
    Property { name, promise, alone: true }
}

pub const PROPERTIES: &[Property] = &[
    property(
        "identity",
        "A command runs with the caller's user, groups and no capability, and owns what it makes.",
    ),
    property(
        "read-only-root",
        "Nothing of the root filesystem can be changed; the private /tmp is writable.",
    ),
    property(
        "hidden-files",
        "What the caller may not read stays unreadable, and the caller's own files stay outside.",
    ),
    property(
        "host-image",
        "Of the host's root filesystem an instance shows what is on a list, and nothing leads to the rest.",
    ),
    property("processes", "An instance sees, signals and traces no process but its own."),
    property("ipc", "Shared memory, semaphores and message queues are the instance's own."),
    property("devices", "An instance has a minimal /dev, and device nodes anywhere else do not work."),
    property(
        "set-uid-inert",
        "No set-uid program and no file capability has an effect, but selfdock itself.",
    ),
    property("volumes", "A volume shows exactly what the caller named, at the place the caller named."),
    property(
        "overlays",
        "What is written to a copy leaves its directory as it was, and shows and permits no more than that.",
    ),
    property("nesting-is-monotone", "An inner instance has at most what the outer one has."),
    property("nothing-left", "When its first process ends, nothing of an instance is left."),
    property(
        "inherited-state",
        "No descriptor, signal state or limit of the caller leaks into an instance or breaks it.",
    ),
    property(
        "restricted-callers",
        "What restricts a caller refuses a run only where nothing else is left, and is named then.",
    ),
    property(
        "contained",
        "Signals, keys, sockets, priorities and process limits: nothing inside reaches what is outside by them.",
    ),
    property(
        "one-life",
        "However it is started and whatever happens to it, a command lives and ends as without selfdock.",
    ),
    property("exit-status", "The status is the command's own, or 125, 126 or 127 where there is none."),
    property("environment", "A command gets the caller's environment with exactly the changes asked for."),
    property("network", "With `--net none` there is a loopback interface and nothing else."),
    property(
        "real-programs",
        "A shell, a compiler, an interpreter and a version control system work as outside.",
    ),
    property("recipes", "What the documents tell people to type does what they say."),
    property(
        "any-image",
        "Any directory that holds a root filesystem can be run from, and is never written to.",
    ),
    property(
        "mount-points",
        "A mount point that is missing appears, beside what is there, and nothing is touched.",
    ),
    property(
        "each",
        "Each line of a list is a command in an instance of its own, with a status as xargs has it.",
    ),
    property("layers", "Several root filesystems lie over each other, the later over the earlier."),
    property("build", "A root filesystem is written to only by `build`, and only as far as the caller may."),
    property(
        "unprivileged-mode",
        "Without privilege an instance is the same, in a user namespace of its own.",
    ),
    property("root-as-caller", "In an instance uid 0 has no right of root."),
    property(
        "entering",
        "A command can join an instance of the caller's, and nothing else, with nothing more.",
    ),
    property("listing", "`ps` lists the caller's instances, and theirs alone."),
    property("terminal", "An instance shares the terminal as any job does, and cannot type into it."),
    property(
        "first-process",
        "PID 1 is a keeper of selfdock's, and the command an ordinary process with the PID of its supervisor.",
    ),
    property("limits", "A command ends in time, within its limits, and what it used is told."),
    property("short-forms", "An option that stands for others does what these would do, typed out."),
    property(
        "profiles",
        "`@FILE` is the options in a file, read as the caller, and what is said replaces them.",
    ),
    property("handing-over", "What needs no privilege is done by a program that has none."),
    property("explaining", "`--explain` and `doctor` say what would happen, and do nothing."),
    property(
        "faults",
        "Whatever fails, lies, is exchanged or killed meanwhile: no right is gained and nothing is left.",
    ),
    // Alone, as it keeps all processors busy.
    measured(
        "failing-calls",
        "Whatever system call fails, a command has exactly what it should have, or is not started.",
    ),
    measured("spawn-rate", "Starting an instance costs little more than the system calls that it takes."),
    property("errors", "A refusal is one printable line that names operation, object and reason."),
    property("help", "`--help` and `--version` say what there is, and fit a screen."),
];

/// The property that a test belongs to, by the first module in its path.
pub fn of_test(test: &str) -> Option<&'static Property> {
    let module = test.split("::").next()?.replace('_', "-");
    PROPERTIES.iter().find(|property| property.name == module)
}
