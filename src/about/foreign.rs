//! Hints for options and commands of other programs, and for misspelt names.

use crate::cli::scaled;
use crate::error::{Error, Quoted, both, on};
use crate::files;
use crate::options::{Id, OPTIONS, Opt, VERBS};
use crate::text::{Bytes, join, whole};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use rustix::fs::{CWD, OFlags};

/// Options of Docker, bubblewrap, firejail, isolate and xargs that selfdock does not have, each with a hint.
const OPTIONS_OF_OTHERS: &[(&str, &str)] = &[
    // What selfdock does without an option.
    ("--rm --remove", "not needed: nothing is left of an instance when its command ends"),
    ("-it -ti --interactive --tty", "not needed: a command always has your standard input and terminal"),
    ("-i", "not needed: a command always has your standard input; for that of a FILE write '<FILE'"),
    ("--init --as-pid-1", "not needed: PID 1 is always selfdock's"),
    (
        "--read-only --readonly --ro",
        "not needed: the root filesystem is always read-only; for a read-only DIR use '-B DIR'",
    ),
    ("--die-with-parent", "not needed: an instance always ends with selfdock"),
    (
        "--unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup --unshare-cgroup-try --ipc-namespace",
        "not needed: an instance always has its own",
    ),
    ("--pid --ipc --uts --cgroupns", "an instance always has its own, and cannot share those of the host"),
    ("--unshare-all", "not needed: an instance shares only the network, and '--net none' unshares that"),
    ("--unshare-net --no-net --no-network --nonet --offline", "use '--net none'"),
    ("--share-net", "not needed: the network is the host's unless you use '--net none'"),
    ("--unshare-user --unshare-user-try", "use '--unprivileged' if you need a user namespace"),
    ("--disable-userns", "use '--no-userns'"),
    ("--proc", "not needed: an instance always has its own /proc"),
    ("--mqueue", "an instance has no /dev/mqueue"),
    ("--private-tmp", "not needed: /tmp is always private; '-t size=1G /tmp' sets its size"),
    ("--private-dev", "not needed: /dev is always minimal; '--dev PATH' adds a device"),
    ("--noroot --nogroups", "not needed: a command has your user and groups, and never becomes root"),
    ("--noprofile --quiet --shell", "not needed: selfdock has nothing like it"),
    ("--cap-drop --caps --caps.drop --caps.keep", "not needed: no command has a capability"),
    ("--cap-add --privileged", "no command has a capability; by '--fake-root' it is root for itself"),
    ("--disable-mnt", "not needed: /mnt, /media and /run are not shown"),
    ("--tty-hack", "not needed: a command always has your terminal"),
    // What has another name here.
    ("--mount", "use '-v SRC DST', or '-m SRC DST' for read-only"),
    ("--ro-bind", "use '-m SRC DST'"),
    ("--ro-bind-try", "use '--bind-ro-if-exists PATH', or '-m SRC DST'"),
    ("--bind-try", "use '--bind-if-exists PATH', or '-v SRC DST'"),
    ("--bind-fd --ro-bind-fd", "use '-v /proc/self/fd/N DST', or -m"),
    ("--dev-bind --dev-bind-try --device", "use '--dev PATH'"),
    ("--dir", "mount points are made automatically; '-t - DIR' makes an empty directory"),
    ("--whitelist --read-write --rw", "use '-b DIR'"),
    ("--gpus", "use '--gpu'"),
    (
        "--nosound --no3d --nodbus",
        "not needed: an instance has no sound, bus or graphics card unless you ask for it",
    ),
    ("--env-file --profile --args", "use '@FILE', with an option on each line"),
    ("--blacklist", "use '--mask PATH'"),
    ("--overlay-tmpfs", "use '-o / /', a copy of the image whose changes are discarded"),
    ("--overlay-named", "use '-o / /' with '--changes DIR'"),
    ("--writable-etc --writable-var", "use '-o / /', a copy of the image that can be written to"),
    (
        "--private-etc --private-bin --private-lib --private-opt --private-srv",
        "'--mask PATH' hides a part of the host's; '--root DIR' shows files of yours instead",
    ),
    ("--keep-var-tmp", "use '-v /var/tmp /var/tmp'"),
    ("--noexec", "use '-m SRC DST' for a SRC on a mount that is noexec"),
    ("--trace --tracelog", "use 'selfdock run strace CMD'"),
    ("--debug", "use '--explain=all', which shows what would be done"),
    ("--netfilter", "'--net user' and '--proxy SOCKET' say what can be reached"),
    ("--apparmor", "the profile that your shell is in holds inside, too"),
    (
        "--private --private-home",
        "an instance has no home by default; '--home' makes an empty one, '--home=DIR' uses DIR",
    ),
    ("--workdir -w --cwd --private-cwd", "use '-C DIR'"),
    ("--network", "use '--net none', '--net user' or '--net host'"),
    ("--chroot -R", "use '--root DIR'"),
    (
        "--overlay-src --tmp-overlay --ro-overlay",
        "'--overlay SRC DST' is a writable copy; several '--root DIR' are layers",
    ),
    ("--setenv --env-set", "use '-e NAME VALUE'"),
    ("--unsetenv --rmenv", "use '-E NAME'"),
    ("--clearenv", "use '--clear-env'"),
    ("--nonewprivs --no-new-privs --security-opt", "use '--no-nest', or '--seccomp FILE' for a filter"),
    ("--seccomp-fd --add-seccomp-fd", "use '--seccomp FILE'"),
    ("--ulimit --rlimit-as --rlimit-cpu", "use '--rlimit NAME=VALUE', like as=1G"),
    ("--memory-swap", "not needed: with '--memory SIZE' nothing is swapped out"),
    ("--pids-limit", "use '--pids N'"),
    ("--rlimit-nofile --rlimit-nproc --rlimit-fsize", "use '--rlimit NAME=VALUE', like nofile=64"),
    ("--shm-size", "use '-t size=1G /dev/shm'"),
    ("--size --perms", "use '-t size=1G,mode=700 DST'"),
    ("--join", "use 'selfdock enter PID CMD'"),
    ("--list --tree", "use 'selfdock ps'"),
    ("-a --all", "'selfdock ps' lists all instances: nothing is left of one that has ended"),
    ("--info-fd --json-status-fd", "use '--report FD', and 'selfdock ps --json'"),
    ("--entrypoint", "write the command after 'run'"),
    ("-P", "for N commands at a time use '-j N'; the ports are the host's"),
    ("--max-procs", "use '-j N'"),
    ("-I -L --max-args --max-lines --replace", "each line is one command; {} stands for it"),
    ("-d --detach --background", "selfdock has no daemon; use '&', setsid or systemd-run"),
    // What selfdock cannot do.
    ("--name --cidfile", "an instance has no name, only a PID: see 'selfdock ps'"),
    ("--volumes-from", "name the volumes again, or keep the options in a file and use '@FILE'"),
    ("--stop-signal --stop-timeout", "'--timeout TIME,GRACE' sends SIGTERM, and SIGKILL after GRACE"),
    (
        "-p --publish --expose",
        "not needed: the network and its ports are the host's, unless you use '--net user,tcp=8080:80'",
    ),
    (
        "-u --user --uid --gid --userns --group-add --as-uid --as-gid",
        "a command always has your user and your groups, or is uid 0 for itself by '--fake-root'",
    ),
    (
        "--cpu-shares --cpuset-cpus --cgroup-parent",
        "use '--cpus N', or start selfdock with systemd-run or taskset",
    ),
    // Of isolate.
    ("--cg --cg-mem", "use '--memory SIZE'"),
    ("--cg-timing --no-cg-timing", "not needed: '--report FILE' counts the time of all processes"),
    ("--print-cg-root", "'selfdock doctor' says whether you have control groups"),
    ("-c", "use '-C DIR' for a directory, and 'selfdock run sh -c LINE' for a line of shell"),
    ("--no-default-dirs -D", "use '--root DIR', which shows only what is in DIR"),
    ("--special-files", "not needed: selfdock removes no files"),
    ("--verbose --silent -s", "not needed: selfdock prints only errors"),
    ("--mem", "use '--rlimit as=SIZE' for each process, or '--memory SIZE' for all together"),
    ("--processes", "use '--pids N'"),
    ("--stdin", "write '<FILE', as for any command"),
    ("--stdout --stderr --stderr-to-stdout", "write '>FILE', '2>FILE' or '2>&1', as for any command"),
    ("--stack -k", "use '--rlimit stack=SIZE'"),
    ("--open-files", "use '--rlimit nofile=N'"),
    ("--core", "use '--rlimit core=SIZE'"),
    ("--inherit-fds", "use '--keep-fd N'"),
    ("--fsize -f", "use '--rlimit fsize=SIZE', or '--output-limit SIZE' for what is printed"),
    ("--time", "use '--rlimit cpu=N'"),
    ("--wall-time --extra-time -x", "use '--timeout TIME[,GRACE]'"),
    ("--meta -M", "use '--report FILE', which has a status like that of isolate"),
    (
        "--quota -q --files",
        "use '-t size=SIZE,nr_inodes=N DST'; with '-o SRC DST' as well, DST is a copy of SRC with this room",
    ),
    ("--full-env", "not needed: a command has your environment unless you use '--clear-env'"),
    ("--box-id --run --cleanup --wait", "not needed: each run is a new instance, and nothing is left of it"),
    (
        "--restart --pull --platform --link --ip --dns --add-host --sysctl -l --label --label-file --oom-kill-disable \
         --oom-score-adj --health-cmd --log-driver --runtime --storage-opt --mac-address",
        "selfdock has nothing like it",
    ),
    (
        "--file --bind-data --ro-bind-data",
        "use '-m /dev/fd/N DST' for the data of a descriptor, or '-m <(CMD) DST'",
    ),
    ("--symlink --remount-ro", "put the file in a directory, and use '-m SRC DST'"),
];

/// Options of other programs that mean something else after these commands of selfdock, each with a hint.
const OPTIONS_AFTER: &[(&str, &str, &str)] = &[
    ("ps", "-q --quiet", "use 'selfdock ps --json'"),
    ("each", "-a --arg-file", "the list is standard input: selfdock each CMD < FILE"),
    ("each", "-k --keep-order", "use '--group', with the outputs in the order in which the commands end"),
    ("each", "--no-run-if-empty", "not needed: an empty list runs no command"),
    ("each", "-d --delimiter", "lines end in newline, or in NUL with '-0'"),
];

/// Commands of other programs, each with a hint.
const COMMANDS_OF_OTHERS: &[(&str, &str)] = &[
    ("exec attach join", "use 'selfdock enter PID CMD'"),
    ("list top container", "use 'selfdock ps'"),
    ("stats", "use 'selfdock ps --watch', or '--report FILE' for what a command has used"),
    ("inspect", "use 'selfdock ps --json', or '--explain' with 'run'"),
    ("cp", "use '-v DIR DIR': what is written there is outside, too"),
    ("commit diff", "'-o / / --changes DIR' keeps changes, and 'selfdock changes DIR' lists them"),
    ("wait", "'selfdock run' waits for its command; use 'wait PID' of the shell"),
    ("shell", "use 'selfdock run', which starts your shell"),
    ("info", "use 'selfdock doctor'"),
    ("volume", "selfdock has no named volumes; '-v DIR DST' shows any directory"),
    ("network", "use '--net none' or '--net user'"),
    ("pause unpause restart rename update port", "selfdock has nothing like it"),
    ("logs", "selfdock keeps no output: redirect that of 'selfdock run'"),
    ("stop rm kill", "use 'kill PID'; nothing is left of the instance"),
    (
        "pull images image push load save import export",
        "selfdock has no image store; '--root DIR' uses any directory",
    ),
    ("create start", "use 'selfdock run CMD'"),
    ("xargs parallel", "use 'selfdock each CMD < LIST'"),
];

/// Images of Docker that people start most.
const IMAGES: &str = "alpine archlinux centos debian fedora mysql nginx postgres redis rockylinux ubuntu";

/// Advice if a command that nobody has is meant as an image of Docker: `ubuntu`, `NAME:TAG`, `docker.io/NAME`.
pub fn of_image(command: &[u8]) -> Option<&'static str> {
    let mut parts = command.rsplit(|b| *b == b'/');
    let (name, is_of_registry) =
        (parts.next()?, parts.next_back().is_some_and(|host| host.ends_with(b".io")));
    let mut words = name.split(|b| matches!(b, b':' | b'@'));
    let is_known = words.next().is_some_and(|name| IMAGES.split(' ').any(|known| known.as_bytes() == name));
    let is_tag =
        |tag: &[u8]| !tag.is_empty() && tag.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b));
    let is_digest = name.split(|b| *b == b'@').nth(1).is_none_or(|digest| digest.starts_with(b"sha256:"));
    let has_tag =
        words.next().is_some_and(is_tag) && is_digest && !matches!(command, [b'/' | b'.' | b':' | b'@', ..]);
    (is_known || has_tag || is_of_registry)
        .then_some("selfdock has no images: write CMD alone, with --root DIR for a root filesystem of yours")
}

fn of_others(table: &[(&str, &'static str)], word: &[u8]) -> Option<&'static str> {
    let is_in = |names: &str| names.split(' ').any(|name| name.as_bytes() == word);
    table.iter().find(|(names, _)| is_in(names)).map(|(_, text)| *text)
}

/// Options that mean different things in other programs, and the hint if the value says which program is meant.
fn of_value(name: &[u8], value: &[u8]) -> Option<&'static str> {
    match name {
        b"--dir" | b"-d" if value.contains(&b'=') => {
            Some("for IN=OUT use '-m OUT IN', or '-v OUT IN' for one that CMD can write to")
        }
        b"--ro-bind" if value == b"/" => Some(
            "not needed for '/ /': the host's root is shown read-only anyway, without homes; else use '-m SRC DST'",
        ),
        b"-w" if is_number(value) => Some("use '--timeout TIME[,GRACE]'"),
        b"-p" if is_number(value) => {
            Some("for a number of processes use '--pids N'; the ports are the host's")
        }
        _ => None,
    }
}

/// The error for an option with a value that another program's option of the same name takes, and this one cannot: that
/// of isolate, of Docker or, in a batch, of xargs.
pub fn of_same_name(opt: &Opt, [first, second]: [&[u8]; 2], is_batch: bool) -> Option<Error> {
    let word = typed(first);
    let word = word.as_bytes();
    let is_no_file = || files::lstat(CWD, first).is_err();
    let mut parts = first.splitn(2, |b| *b == b':');
    let docker = parts.next().map(|place| {
        let dst = parts.next().unwrap_or(b"-");
        (typed(place), typed(if dst.is_empty() { &b"DST"[..] } else { dst }))
    });
    let (why, form): (_, &[&[u8]]) = match opt.id {
        Id::Tmpfs if is_number(first) => {
            ("not options like size=1G", &[b"for a limit of time write --rlimit cpu=N, or --timeout ", word])
        }
        Id::Tmpfs if matches!(first, b"i" | b"-i" | b"-it" | b"--tty" | b"--interactive") => {
            ("not options like size=1G", &[b"a command always has your standard input and terminal"])
        }
        Id::Tmpfs if first.starts_with(b"/") => {
            let (place, options) = docker.as_ref()?;
            ("the options stand before DST", &[b"write --tmpfs ", options.as_bytes(), b" ", place.as_bytes()])
        }
        Id::Net if is_number(first) && is_batch => {
            ("not 'none', 'host' or 'user'", &[b"each line is one command; {} stands for it"])
        }
        Id::Net if is_number(first) => {
            ("not 'none', 'host' or 'user'", &[b"for a limit of open files write --rlimit nofile=", word])
        }
        Id::Bind if is_number(first) && is_no_file() => {
            ("no such file", &[b"selfdock has no numbered boxes: each run is a new instance"])
        }
        Id::UnsetEnv if first.contains(&b'=') => ("not a name", &[b"to set a variable write -e ", word]),
        // isolate counts memory in KiB. As bytes such a number would be too little for any program.
        Id::Map if is_number(first) && is_no_file() && !second.starts_with(b"/") => {
            let unit = if whole(first).is_some_and(|number| number < 4 << 20) { &b"K"[..] } else { b"" };
            ("no such file", &[b"for a limit of memory write --memory ", word, unit])
        }
        Id::Vol | Id::Map | Id::Overlay
            if first.contains(&b':') && is_no_file() && !second.starts_with(b"/") =>
        {
            let (place, dst) = docker.as_ref()?;
            ("DST is not an absolute path", &[b"write ", place.as_bytes(), b":/", dst.as_bytes()])
        }
        Id::Overlay if !second.starts_with(b"/") && is_no_directory(first) => {
            ("not a directory", &[b"for a file of output write >", word])
        }
        _ => return None,
    };
    let what = both("option --{=} {}", opt.long.as_bytes(), first);
    Some(Error::refused(what, why).hint(hint(form)))
}

fn is_no_directory(path: &[u8]) -> bool {
    files::open(CWD, path, OFlags::PATH | OFlags::DIRECTORY).is_err()
}

/// Whether a word is a number, with a fraction or without.
fn is_number(word: &[u8]) -> bool {
    let mut parts = word.splitn(2, |b| *b == b'.');
    parts.all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
}

/// The error for an unknown option after a command, if that is known. `word` is the whole word, `name` the unknown part
/// of it: `--name` or `-n`. `value` is what follows.
pub fn unknown_option(verb: Option<&[u8]>, word: &[u8], name: &[u8], value: Option<&[u8]>) -> Error {
    let of_name = |name| of_others(OPTIONS_OF_OTHERS, name).map(|text| (name, text));
    let of_value = value.and_then(|value| of_value(name, value)).map(|text| (name, text));
    let is_after = |(after, names, _): &&(&str, &str, &str)| {
        verb == Some(after.as_bytes()) && names.split(' ').any(|known| known.as_bytes() == name)
    };
    let of_verb = OPTIONS_AFTER.iter().find(is_after).map(|(.., text)| (name, *text));
    let (option, hint) = of_verb
        .or(of_value)
        .or_else(|| of_name(word))
        .or_else(|| of_name(name))
        .unwrap_or_else(|| (name, nearest_option(name)));
    Error::refused(on("option {=}", typed(option).as_bytes()), "unknown").hint(hint)
}

fn nearest_option(name: &[u8]) -> &'static str {
    let Some(name) = name.strip_prefix(b"--") else { return "see 'selfdock --help'" };
    let names = OPTIONS.iter().map(|opt| opt.long);
    match nearest(name, names) {
        Some(near) => hint(&[b"did you mean --", near.as_bytes(), b"?"]),
        None => "see 'selfdock --help'",
    }
}

/// The error for an unknown command word.
pub fn unknown_command(word: &[u8]) -> Error {
    let unknown = Error::refused(on("command {}", word), "unknown");
    if let Some(text) = of_others(COMMANDS_OF_OTHERS, word) {
        return unknown.hint(text);
    }
    let program = typed(word);
    let program = program.as_bytes();
    unknown.hint(match nearest(word, VERBS.iter().map(|verb| verb.name)) {
        Some(near) if near.len() > 2 => {
            hint(&[b"did you mean '", near.as_bytes(), b"'? to run a program: selfdock run ", program])
        }
        _ => hint(&[b"to run a program: selfdock run ", program]),
    })
}

/// A word as a user would type it: quoted if it has unusual characters.
pub fn typed(word: &[u8]) -> String {
    let is_usual =
        !word.is_empty() && word.iter().all(|b| b.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(b));
    match core::str::from_utf8(word) {
        Ok(word) if is_usual => word.into(),
        _ => format!("{}", Quoted(word)),
    }
}

/// The advice where `-e NAME` took the next word.
pub const ONE_WORD: &str = "write -e NAME=VALUE as one word";

/// Makes a hint of several parts.
pub fn hint(parts: &[&[u8]]) -> &'static str {
    core::str::from_utf8(join(parts)).unwrap_or("see 'selfdock --help'")
}

/// The most similar name, if it differs in a few letters only.
fn nearest(word: &[u8], names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let most = word.len().div_ceil(4).min(3);
    let near = names.map(|name| (distance(word, name.as_bytes()), name));
    near.filter(|(far, _)| *far <= most).min_by_key(|(far, _)| *far).map(|(_, name)| name)
}

/// The edit distance of two words: the number of letters to insert, delete, replace or swap with the next one.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.iter().enumerate() {
        let mut row = alloc::vec![i + 1];
        for (j, other) in to.iter().enumerate() {
            let exchanged = last[j] + usize::from(letter != other);
            let mut least = exchanged.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i - 1] == *other && to[j - 1] == *letter {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = core::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

/// Adds advice to the error for an amount, if it has a unit as in other programs: `1GB`.
pub fn about_unit(error: Error, amount: &[u8]) -> Error {
    let bare = amount.strip_suffix(b"B").unwrap_or(amount);
    let bare = bare.strip_suffix(b"i").unwrap_or(bare);
    let is_known = bare != amount && scaled(bare).is_some_and(|number| number > 0);
    if is_known { error.hint(hint(&[b"write ", bare])) } else { error }
}

/// The values of an option, as its help names them, each after a space.
pub fn values(opt: &crate::options::Opt) -> Bytes {
    let mut values: Bytes = b"";
    for (name, _) in opt.values {
        values = join(&[values, b" ", name.as_bytes()]);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_recognized() {
        assert_eq!([distance(b"vol", b"vol"), distance(b"", b"ab"), distance(b"ab", b"ba")], [0, 2, 1]);
        let said = |word: &str| format!("{}", unknown_option(None, word.as_bytes(), word.as_bytes(), None));
        for (word, near) in [
            ("--vols", "--vol?"),
            ("--chidr", "--chdir?"),
            ("--time-out", "--timeout?"),
            ("--hostnam", "--hostname?"),
            ("--keepfd", "--keep-fd?"),
        ] {
            assert!(said(word).ends_with(&format!("did you mean {near}")), "{}", said(word));
        }
        assert!(said("--completely-else").ends_with("--help'"));
    }

    #[test]
    fn options_of_other_programs_are_not_ours() {
        let after = OPTIONS_AFTER.iter().map(|(_, names, text)| (names, text));
        let all = OPTIONS_OF_OTHERS.iter().chain(COMMANDS_OF_OTHERS).map(|(names, text)| (names, text));
        for (names, text) in all.chain(after) {
            assert!(!text.is_empty());
            for name in names.split(' ') {
                let ours = |opt: &crate::options::Opt| {
                    name == format!("--{}", opt.long) || opt.short.is_some_and(|c| name == format!("-{c}"))
                };
                assert!(!OPTIONS.iter().any(ours), "{name}");
                assert!(VERBS.iter().all(|verb| verb.name != name), "{name}");
            }
        }
    }
}
