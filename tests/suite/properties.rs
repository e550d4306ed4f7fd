//! The isolation properties of selfdock: its promises, one sentence each.
//!
//! The tests of a property are in the module of the same name, with `_` for `-`. A property without a passing test
//! fails the run.

/// The content of the files that no test may read. The fixtures of xtask write it, and the oracle searches for it.
pub const CANARY: &str = "canary-3f9c61d0-must-not-be-seen";

pub struct Property {
    pub name: &'static str,
    pub promise: &'static str,
    /// Its tests measure time, so they run alone.
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
        "Files that the caller may not read stay unreadable, and the caller's own files stay outside.",
    ),
    property(
        "host-image",
        "An instance has only listed directories of the host's root filesystem, and no path leads to the rest.",
    ),
    property("processes", "An instance can see, signal and trace only its own processes."),
    property("ipc", "Shared memory, semaphores and message queues are the instance's own."),
    property("devices", "An instance has a minimal /dev, and device nodes anywhere else do not work."),
    property(
        "set-uid-inert",
        "No set-uid bit and no file capability has an effect, except on selfdock's own file.",
    ),
    property(
        "volumes",
        "A volume is exactly the file or directory that the caller named, on the path that the caller named.",
    ),
    property(
        "overlays",
        "Changes to a copy leave its directory unchanged, and a copy permits no more than its directory.",
    ),
    property("fake-root", "By subordinate ids a command is root for itself, and for nobody else."),
    property(
        "model",
        "To any depth, what can be seen, read, written and executed at each path is what a plain model says.",
    ),
    property("nesting-is-monotone", "An inner instance has at most what the outer one has."),
    property("nothing-left", "When its first process ends, nothing of an instance is left."),
    property(
        "inherited-state",
        "No descriptor, signal state or limit of the caller leaks into an instance or breaks it.",
    ),
    property(
        "restricted-callers",
        "A restriction of the caller prevents a run only if there is no other way, and the message names it.",
    ),
    property(
        "contained",
        "Nothing inside reaches the outside by signals, keys, sockets, priorities or process limits.",
    ),
    property(
        "one-life",
        "However it is started and whatever happens to it, a command lives and ends as without selfdock.",
    ),
    property(
        "exit-status",
        "The exit status is the command's, or 125, 126 or 127 if the command did not run.",
    ),
    property("environment", "A command gets the caller's environment with exactly the requested changes."),
    property("network", "With `--net none` there is a loopback interface and nothing else."),
    property(
        "proxy",
        "Without a network, programs reach by a proxy's socket what the proxy leads to, and nothing else.",
    ),
    property(
        "user-network",
        "With `--net user` an instance reaches the outside, not the host's loopback, and cannot change that.",
    ),
    property(
        "real-programs",
        "A shell, a compiler, an interpreter and a version control system work as outside.",
    ),
    property("recipes", "The command lines in the documents do what the documents say."),
    property("any-image", "Any directory with a root filesystem can be the root, and is never written to."),
    property(
        "mount-points",
        "A missing mount point appears beside the existing entries, and the image stays untouched.",
    ),
    property(
        "each",
        "Each line of a list is a command in an instance of its own, and the status is that of xargs.",
    ),
    property(
        "layers",
        "Several root filesystems can be layers of one, and a later layer lies over the earlier ones.",
    ),
    property("build", "Only `build` writes to a root filesystem, and only with the caller's rights."),
    property(
        "unprivileged-mode",
        "Without privilege an instance is the same, in a user namespace of its own.",
    ),
    property("root-as-caller", "In an instance uid 0 has none of root's rights."),
    property(
        "entering",
        "A command can join only the caller's instances, and gets no more rights than they have.",
    ),
    property("listing", "`ps` lists the caller's instances, and no others."),
    property("terminal", "An instance shares the terminal as any job does, and cannot type into it."),
    property(
        "first-process",
        "PID 1 is selfdock's keeper, and the command is an ordinary process with its supervisor's PID.",
    ),
    property("limits", "A command ends in time and within its limits, and its resource usage is reported."),
    property(
        "whole-instance",
        "A limit of the whole instance holds for all its processes together, and the report tells what happened.",
    ),
    property("short-forms", "A short form does the same as the options that it stands for."),
    property(
        "profiles",
        "`@FILE` adds the options in a file, read as the caller, and the command line can replace them.",
    ),
    property("handing-over", "Everything that needs no privilege is done by a program that has none."),
    property("explaining", "`--explain` and `doctor` say what would happen, and do nothing."),
    property(
        "faults",
        "Whatever fails, lies or is killed meanwhile, no right is gained and nothing is left.",
    ),
    property(
        "races",
        "Whatever is exchanged, reused or replaced meanwhile, nothing else is shown, entered or written.",
    ),
    // It runs alone, since it keeps all processors busy.
    measured(
        "failing-calls",
        "Whichever system call fails, a command gets exactly its instance, or is not started.",
    ),
    measured("spawn-rate", "Starting an instance costs little more than the system calls that it needs."),
    property("errors", "A refusal is one printable line that names operation, object and reason."),
    property(
        "help",
        "`--help` names every command and option and fits a screen, and `--version` is one line.",
    ),
];

/// The property that a test belongs to, by the first module in its path.
pub fn of_test(test: &str) -> Option<&'static Property> {
    let module = test.split("::").next()?.replace('_', "-");
    PROPERTIES.iter().find(|property| property.name == module)
}
