//! The man page, made from the table of options.

use crate::options::{Complete, DOCTOR, EACH, ENTER, EXAMPLES, GROUPS, Id, OPTIONS, Opt, PS, VERBS};
use std::fmt::Write as _;

/// When the text was last gone over.
const DATE: &str = "2026-11-29";

/// selfdock(1), in roff.
pub fn page() -> String {
    let mut out = format!(
        ".TH SELFDOCK 1 {DATE} \"selfdock {}\" \"User Commands\"\n.SH NAME\n\
         selfdock \\- run a command in isolation, as yourself\n.SH SYNOPSIS\n",
        env!("CARGO_PKG_VERSION")
    );
    for (number, verb) in VERBS.iter().enumerate() {
        out.push_str(if number > 0 { ".br\n" } else { "" });
        let _ =
            writeln!(out, ".B selfdock\n[\\fIOPTION\\fR...] \\fB{}\\fR {}", verb.name, escape(verb.usage));
    }
    out.push_str(include_str!("man/description.roff"));
    out.push_str(".SH COMMANDS\n");
    for verb in VERBS {
        let (name, usage, help) = (verb.name, escape(verb.usage), sentence(verb.help));
        let _ = write!(out, ".TP\n\\fB{name}\\fR {usage}\n{help}.\n{}", about_command(verb.bit));
    }
    out.push_str(
        ".SH OPTIONS\nOptions stand before or after the command word, up to CMD or \\-\\-. These options may be \
         repeated:\n\\-r, \\-v, \\-m, \\-t, \\-e, \\-E, \\-\\-dev, \\-\\-mask, \\-\\-keep\\-fd and \\-\\-rlimit.\n",
    );
    for (group, heading) in GROUPS {
        let _ = writeln!(out, ".SS {heading}");
        for option in OPTIONS.iter().filter(|option| option.group == *group) {
            let (names, help) = (names(option), sentence(option.help));
            let _ = write!(out, ".TP\n{names}\n{help}.\n{}", about_option(option.id));
        }
    }
    out.push_str(include_str!("man/details.roff"));
    out.push_str(".SH EXAMPLES\n");
    for (line, what) in EXAMPLES.iter().chain(MORE_EXAMPLES) {
        let _ = writeln!(out, ".TP\n\\fB{}\\fR\n{}.", escape(line), sentence(what));
    }
    out.push_str(include_str!("man/end.roff"));
    out
}

/// Beyond those of `--help`.
const MORE_EXAMPLES: &[(&str, &str)] = &[
    (
        "selfdock run -H --net none --timeout 10 --rlimit as=1G --report used.json ./solution",
        "judge a program",
    ),
    ("selfdock run -H -C sub make", "build in a directory of the current one"),
    ("selfdock build --root box sh", "change a root filesystem of your own"),
    ("selfdock --root base --root mine run sh", "with additions in a layer of their own"),
    ("selfdock enter 812 sh", "a shell in a running instance"),
];

/// More than `--help` has room for, in roff.
fn about_command(bit: u16) -> &'static str {
    match bit {
        PS => {
            "The columns are the PID of the instance, its age, how deep it is nested, the memory of all its\n\
             processes, its root filesystem and its command line.\n"
        }
        ENTER => {
            "PID may be that of selfdock, or of any process in the instance. The instance has to be yours. CMD is\n\
             restricted as the instance is, and ends with the instance.\n"
        }
        EACH => {
            "Lines are read from standard input; empty lines are left out. A line replaces each {} in CMD and its\n\
             arguments. Without any {} the line is the last argument. The options of \\fBrun\\fR hold for each\n\
             instance, and its standard input is empty. The options of \\fBeach\\fR itself follow the word. With\n\
             \\-\\-report DIR the report of line N is DIR/N.json; who can write to DIR can change it. With\n\
             \\-\\-group the output of a command is kept in memory, and shown when the command has ended: first\n\
             standard output, then standard error. The exit status is the highest of these: 0; 123 if a\n\
             command failed, also by \\-\\-timeout; 124 if a command said 255; 125 if a command was killed by a\n\
             signal; 126 and 127 if a command could not be run or found. Without \\-\\-halt the other commands\n\
             run all the same. After SIGKILL of selfdock, running commands go on to their end.\n"
        }
        DOCTOR => "The exit status is 0 if \\fBrun\\fR works.\n",
        _ => "",
    }
}

/// More than `--help` has room for, in roff.
fn about_option(id: Id) -> &'static str {
    match id {
        Id::Vol => "A file or a directory, with all that is mounted in it.\n",
        Id::Tmpfs => {
            "OPTS are size, nr_inodes and mode; numbers may end in k, M, G or T. Without them a tmpfs has 64 MiB, \n\
             16384 files and mode 1777. DST may be /tmp or /dev/shm.\n"
        }
        Id::Dev => "Not pts, shm, mqueue, hugepages and fd: an instance has its own of these, or none.\n",
        Id::Mask => "A path that is not there is an error.\n",
        Id::Bind => {
            "The place inside is the path, made absolute. \\-\\-bind\\-ro, \\-\\-bind\\-if\\-exists and\n\
             \\-\\-bind\\-ro\\-if\\-exists are like it.\n"
        }
        Id::UnsetEnv => "In NAME * stands for anything, and ? for one letter.\n",
        Id::Pass => {
            "NAME may be a pattern. It is kept when \\-\\-clear\\-env, \\-\\-no\\-secrets or a pattern of\n\
             \\-\\-unset\\-env removes others, wherever it is said. No value gets into a command line.\n"
        }
        Id::NoSecrets => {
            "Names that have TOKEN, SECRET, PASSWORD, PASSWD, PASSPHRASE, API_KEY, APIKEY, ACCESS_KEY, PRIVATE_KEY or\n\
             CREDENTIAL in them, in either case, or end in _PAT or _DSN, and DATABASE_URL.\n"
        }
        Id::Home => {
            "A tmpfs of a gigabyte on what HOME says, with mode 700. With =DIR it is DIR, as a volume. A\n\
             directory may also follow as a word, with a slash in it.\n"
        }
        Id::X11 => {
            "By DISPLAY: the socket in /tmp/.X11\\-unix, \\-\\-abstract where the display has such a one, and the\n\
             cookies of XAUTHORITY. X keeps no client from what others type and show.\n"
        }
        Id::Wayland => "The socket that WAYLAND_DISPLAY names in XDG_RUNTIME_DIR.\n",
        Id::Dbus => {
            "The socket of DBUS_SESSION_BUS_ADDRESS. Whoever reaches it can ask systemd to start a program\n\
             outside: the instance contains only what does not want out.\n"
        }
        Id::Pulse => "The sockets of PulseAudio and PipeWire, and the cookie of the former.\n",
        Id::SshAgent => "The socket of SSH_AUTH_SOCK. The keys themselves stay with the agent.\n",
        Id::Gpu => "What there is of /dev/dri, /dev/kfd, /dev/dxg and /dev/nvidia*.\n",
        Id::Chdir => "DIR is in the instance, and relative to the current directory.\n",
        Id::Timeout => {
            "TIME and GRACE are in seconds, or end in s, m, h or d. After TIME CMD gets SIGTERM. After GRACE, 5\n\
             seconds unless given, all in the instance get SIGKILL.\n"
        }
        Id::Rlimit => {
            "NAME is as, core, cpu, data, fsize, memlock, msgqueue, nofile, nproc, rss, sigpending or stack. VALUE is\n\
             unlimited or a number, which may end in k, M, G or T. Soft and hard limit are set, and never above\n\
             the hard limit of the caller. The hard limit of cpu is one second more, if the caller's allows that,\n\
             so that SIGXCPU comes before SIGKILL.\n"
        }
        Id::Report => {
            "A number is an open descriptor. A file is made anew and empty before CMD starts. It gets one line when\n\
             CMD has ended, whatever CMD did to the file. Devices, FIFOs and links are written to. The fields are\n\
             version (1); started; error, which is selfdock's message if CMD never ran; exit or signal; ended_by\n\
             (command; signal, if one was sent to selfdock; timeout; rlimit cpu or rlimit fsize); wall_seconds;\n\
             and of all processes of the instance user_seconds, system_seconds, peak_memory_kib (of the largest\n\
             process, in KiB), minor_faults, major_faults, voluntary_switches and involuntary_switches. The\n\
             building of the instance is not counted, nor are processes whose parent ignored SIGCHLD, of which\n\
             the kernel tells nobody. With enter, what CMD did not wait for is not counted either. If a file stays\n\
             empty, selfdock itself was killed, or was still opening what it was told to.\n"
        }
        Id::OwnCgroup => {
            "Without it CMD moves to the control group of the instance, and is refused if the caller may not do that.\n"
        }
        Id::ReportRequired => {
            "The status is then 125. Without this option the status is that of CMD, and a line on standard error says\n\
             what went wrong.\n"
        }
        Id::NoNest => "Then selfdock inside is in unprivileged mode.\n",
        Id::Explain => {
            "A line is a step, in order: what, source, destination, flags. On a terminal these are aligned; elsewhere\n\
             tabs separate them.\n"
        }
        Id::Hostname => "Up to 64 letters, digits, dots and dashes.\n",
        _ => "",
    }
}

fn names(option: &Opt) -> String {
    let short = option.short.map_or(String::new(), |c| format!("\\fB\\-{c}\\fR, "));
    let values = option.values.iter().map(|(name, _)| format!(" \\fI{}\\fR", escape(name)));
    let values = values.collect::<Vec<_>>().concat();
    format!("{short}\\fB\\-\\-{}\\fR{values}", escape(option.long))
}

/// As text of a man page: a dash is a minus, and nothing else is special.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

/// With a capital letter, unless the first word is one to be typed.
fn sentence(text: &str) -> String {
    if text.split_once(':').is_some_and(|(word, _)| is_typed(word)) {
        return escape(text);
    }
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    escape(&(first + letters.as_str()))
}

fn is_typed(word: &str) -> bool {
    let mut values = OPTIONS.iter().flat_map(|option| option.values);
    VERBS.iter().any(|verb| verb.name == word)
        || values.any(|(_, complete)| matches!(complete, Complete::Words(words) if words.contains(&word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_and_command_is_on_the_page() {
        let page = page();
        for option in OPTIONS {
            assert!(page.contains(&names(option)), "--{}", option.long);
        }
        for verb in VERBS {
            assert!(page.contains(&format!("\\fB{}\\fR", verb.name)), "{}", verb.name);
        }
    }

    #[test]
    fn the_readme_lists_every_option_as_it_is() {
        let readme =
            std::fs::read_to_string(crate::run::root().join("README.md")).unwrap().replace("\\|", "|");
        for option in OPTIONS {
            let short = option.short.map_or(String::new(), |letter| format!("-{letter}, "));
            let values =
                option.values.iter().map(|(name, _)| format!(" {name}")).collect::<Vec<_>>().concat();
            let line = format!("`{short}--{}{values}`", option.long);
            assert!(readme.contains(&line), "{line}");
        }
    }

    #[test]
    fn no_line_begins_with_what_roff_would_take_for_a_request_of_its_own() {
        let known = [
            ".I", ".IR", ".BR", ".TH", ".SH", ".SS", ".TP", ".B", ".br", ".PP", ".IP", ".nf", ".fi", ".RS",
            ".RB", ".RE",
        ];
        for line in page().lines().filter(|line| line.starts_with(['.', '\''])) {
            assert!(known.contains(&line.split(' ').next().unwrap_or_default()), "{line}");
        }
    }
}
