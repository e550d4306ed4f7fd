//! What people type who know other programs, and names that are nearly right.
#![forbid(unsafe_code)]

use crate::error::{Error, Quoted, on};
use crate::options::{OPTIONS, VERBS};
use crate::text::{Bytes, join};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Options of Docker, bubblewrap, firejail and xargs that are none here: their names, and what to say instead.
const OPTIONS_OF_OTHERS: &[(&str, &str)] = &[
    // What needs no option.
    ("--rm --remove", "nothing is left of an instance when its command ends: leave it out"),
    ("-i -it -ti --interactive --tty", "a command always has your standard input and terminal: leave it out"),
    ("--init --as-pid-1", "PID 1 is always selfdock's: leave it out"),
    ("--read-only", "the root filesystem is always read-only: leave it out; a read-only DIR: -B DIR"),
    ("--die-with-parent", "an instance always ends with selfdock: leave it out"),
    (
        "--unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup --unshare-cgroup-try --ipc-namespace",
        "an instance always has its own: leave it out",
    ),
    ("--unshare-all", "all is unshared but the network, which '--net none' does"),
    ("--unshare-net", "say '--net none'"),
    ("--share-net", "the network is the host's unless '--net none': leave it out"),
    ("--unshare-user --unshare-user-try", "say '--unprivileged', where it matters"),
    ("--disable-userns", "say '--no-userns'"),
    ("--proc", "/proc is always the instance's own: leave it out"),
    ("--mqueue", "an instance has no /dev/mqueue"),
    ("--private-tmp", "/tmp is always private: leave it out; '-t size=1G /tmp' gives it a size"),
    ("--private-dev", "/dev is always minimal: leave it out; '--dev PATH' shows a device"),
    ("--noroot --nogroups", "you are never root inside, and your groups stay: leave it out"),
    ("--noprofile --quiet --shell", "there is nothing of the kind to switch off: leave it out"),
    (
        "--cap-add --cap-drop --caps --caps.drop --caps.keep --privileged",
        "no command ever has a capability: leave it out",
    ),
    // What is called otherwise.
    ("--mount", "say '-v SRC DST', or read-only '-m SRC DST'"),
    ("--ro-bind --ro-bind-try", "say '-m SRC DST'"),
    ("--bind-try", "say '--bind-if-exists PATH', or '-v SRC DST'"),
    ("--bind-fd --ro-bind-fd", "say '-v /proc/self/fd/N DST', or -m"),
    ("--dev-bind --dev-bind-try --device", "say '--dev PATH'"),
    ("--dir", "places of mounts appear by themselves; '-t - DIR' makes an empty directory"),
    ("--whitelist --read-write", "say '-b DIR'"),
    ("--gpus", "say '--gpu'"),
    ("--nosound --no3d --nodbus", "an instance has none unless you say so: leave it out"),
    ("--env-file --profile --args", "say '@FILE', with an option on each line"),
    ("--blacklist", "say '--mask PATH'"),
    (
        "--private --private-home",
        "there is no home unless you say so: '--home' is a private one, '--home=DIR' a kept one",
    ),
    ("--workdir -w --cwd --private-cwd", "say '-C DIR'"),
    ("--network", "say '--net none' or '--net host'"),
    ("--chroot -R", "say '--root DIR'"),
    (
        "--overlay-src --tmp-overlay --ro-overlay",
        "--overlay SRC DST is a copy to write to; several '--root DIR' are layers",
    ),
    ("--setenv --env-set", "say '-e NAME VALUE'"),
    ("--unsetenv --rmenv", "say '-E NAME'"),
    ("--clearenv", "say '--clear-env'"),
    ("--nonewprivs --no-new-privs --security-opt", "say '--no-nest'; filters: '--seccomp FILE'"),
    ("--seccomp-fd --add-seccomp-fd", "say '--seccomp FILE'"),
    (
        "--ulimit --memory --memory-swap --pids-limit --rlimit-as --rlimit-cpu",
        "say '--rlimit NAME=VALUE', like as=1G",
    ),
    ("--rlimit-nofile --rlimit-nproc --rlimit-fsize", "say '--rlimit NAME=VALUE', like nofile=64"),
    ("--shm-size", "say '-t size=1G /dev/shm'"),
    ("--size --perms", "they are in OPTS: '-t size=1G,mode=700 DST'"),
    ("--join", "say 'selfdock enter PID CMD'"),
    ("--list --tree", "say 'selfdock ps'"),
    ("--info-fd --json-status-fd", "say '--report FD', and 'selfdock ps --json'"),
    ("--entrypoint", "CMD is what you write after 'run'"),
    ("-P --max-procs", "say '-j N'"),
    ("-I --max-args --replace", "each line is one command; {} stands for it"),
    ("-d --detach --background", "there is no daemon: start it with '&', setsid or systemd-run"),
    // What there is not.
    ("--name", "an instance has no name but its PID: see 'selfdock ps'"),
    ("-p --publish --expose", "ports are the host's, as the network is: leave it out"),
    ("-u --user --uid --gid --userns --group-add", "you stay who you are, inside and outside"),
    (
        "--cpus --cpu-shares --cpuset-cpus --cgroup-parent",
        "start it in a control group, by systemd-run, or use taskset",
    ),
    ("--restart --pull --platform --link --ip --dns --add-host", "there is nothing of the kind"),
    (
        "--symlink --file --bind-data --ro-bind-data --remount-ro",
        "put it in a directory, and say '-m SRC DST'",
    ),
];

/// Commands of others.
const COMMANDS_OF_OTHERS: &[(&str, &str)] = &[
    ("exec attach join", "say 'selfdock enter PID CMD'"),
    ("list top", "say 'selfdock ps'"),
    ("stop rm", "end the process: 'kill PID'; nothing else is left"),
    ("pull images push load", "there are no images: '--root DIR' runs from any directory"),
    ("create start", "say 'selfdock run CMD'"),
];

fn of_others(table: &[(&str, &'static str)], word: &[u8]) -> Option<&'static str> {
    let is_in = |names: &str| names.split(' ').any(|name| name.as_bytes() == word);
    table.iter().find(|(names, _)| is_in(names)).map(|(_, text)| *text)
}

/// About an option that is none. `word` is all of it, `name` the part that is not known: `--name` or `-n`.
pub fn unknown_option(word: &[u8], name: &[u8]) -> Error {
    let of_word = of_others(OPTIONS_OF_OTHERS, word).map(|text| (word, text));
    let (shown, hint) = match of_word.or_else(|| of_others(OPTIONS_OF_OTHERS, name).map(|text| (name, text)))
    {
        Some(found) => found,
        None => (name, nearest_option(name)),
    };
    Error::refused(on("option {}", shown), "unknown").hint(hint)
}

fn nearest_option(name: &[u8]) -> &'static str {
    let Some(name) = name.strip_prefix(b"--") else { return "see 'selfdock --help'" };
    let names = OPTIONS.iter().map(|opt| opt.long);
    match nearest(name, names) {
        Some(near) => hint(&[b"did you mean --", near.as_bytes(), b"?"]),
        None => "see 'selfdock --help'",
    }
}

/// About a command word that is none.
pub fn unknown_command(word: &[u8]) -> Error {
    let unknown = Error::refused(on("command {}", word), "unknown");
    if let Some(text) = of_others(COMMANDS_OF_OTHERS, word) {
        return unknown.hint(text);
    }
    let program = shown(word);
    let program = program.as_bytes();
    unknown.hint(match nearest(word, VERBS.iter().map(|verb| verb.name)) {
        Some(near) if near.len() > 2 => {
            hint(&[b"did you mean '", near.as_bytes(), b"'? to run a program: selfdock run ", program])
        }
        _ => hint(&[b"to run a program: selfdock run ", program]),
    })
}

/// A word as it would be typed: quoted where it holds anything unusual.
pub fn shown(word: &[u8]) -> String {
    let is_usual =
        !word.is_empty() && word.iter().all(|b| b.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(b));
    match core::str::from_utf8(word) {
        Ok(word) if is_usual => word.into(),
        _ => format!("{}", Quoted(word)),
    }
}

/// A hint that is put together.
pub fn hint(parts: &[&[u8]]) -> &'static str {
    core::str::from_utf8(join(parts)).unwrap_or("see 'selfdock --help'")
}

/// The name that is nearest, if one is near: a letter or two in it are others.
fn nearest(word: &[u8], names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let most = word.len().div_ceil(4).min(3);
    let near = names.map(|name| (distance(word, name.as_bytes()), name));
    near.filter(|(far, _)| *far <= most).min_by_key(|(far, _)| *far).map(|(_, name)| name)
}

/// How many letters have to be added, taken away, exchanged or swapped with the next to make one word of another.
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

/// What an option takes, as its help names it.
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
    fn a_name_that_is_nearly_right_is_found() {
        assert_eq!([distance(b"vol", b"vol"), distance(b"", b"ab"), distance(b"ab", b"ba")], [0, 2, 1]);
        let said = |word: &str| format!("{}", unknown_option(word.as_bytes(), word.as_bytes()));
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
    fn options_of_others_are_none_of_ours() {
        for (names, text) in OPTIONS_OF_OTHERS.iter().chain(COMMANDS_OF_OTHERS) {
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
