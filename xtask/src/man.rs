//! The man page, made from the table of options.

use crate::options::{
    Complete, DOCTOR, EACH, ENTER, EXAMPLES, GROUPS, Id, OPTIONS, Opt, PS, REPEATABLE, VERBS,
};
use std::fmt::Write as _;

/// When the text was last checked.
const DATE: &str = "2026-11-30";

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
    let repeatable: Vec<String> =
        OPTIONS.iter().filter(|option| REPEATABLE.contains(&option.id)).map(shortest).collect();
    let _ = writeln!(
        out,
        ".SH OPTIONS\nOptions stand before or after the command word, up to CMD or \\-\\-. These options may be \
         repeated:\n{}.\nOf several values of any other option the last one counts.",
        repeatable.join(",\n")
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

/// Examples that `--help` does not have.
const MORE_EXAMPLES: &[(&str, &str)] = &[
    (
        "selfdock run -H --net none --timeout 10 --rlimit as=1G --report used.json ./solution",
        "run and judge a program",
    ),
    ("selfdock run -H -C sub make", "build in a subdirectory of the current directory"),
    ("selfdock build --root box sh", "write to a root filesystem of yours"),
    ("selfdock --root base --root mine run sh", "use a root filesystem with a second layer"),
    ("selfdock enter 812 sh", "start a shell in a running instance"),
];

/// Text for a command beyond its line of `--help`, in roff.
fn about_command(bit: u16) -> &'static str {
    match bit {
        PS => {
            "The columns are the PID of the instance, its age, its nesting level, the memory of all its\n\
             processes, its root filesystem and its command line.\n"
        }
        ENTER => {
            "PID is that of selfdock, or of any process in the instance. The instance must be yours. CMD has the\n\
             restrictions of the instance, and ends with it.\n"
        }
        EACH => {
            "\\fBeach\\fR reads the lines from standard input, and skips empty ones. A line replaces each {} in\n\
             CMD and its arguments. Without any {} the line is the last argument. The options of \\fBrun\\fR hold\n\
             for each instance. The standard input of CMD is empty. Options of \\fBeach\\fR itself follow this\n\
             word. With \\-\\-report DIR the report of line N is DIR/N.json. Everyone who can write to DIR can\n\
             change it. With \\-\\-group the output of a command is kept in memory, and printed when the command\n\
             has ended: first standard output, then standard error. If a signal ends a command, a line on stderr\n\
             names the line and the signal. EXIT STATUS says what \\fBeach\\fR returns.\n\
             Without \\-\\-halt the other commands still run if one fails. When nobody reads the output any more\n\
             and a command ends by SIGPIPE, no more commands start, and selfdock ends by SIGPIPE. If selfdock is\n\
             killed by SIGKILL, running commands continue to their end.\n"
        }
        DOCTOR => {
            "It also says whether \\-\\-fake\\-root, \\-\\-net user and the limits of a whole instance work, and what\n\
             is missing. The exit status is 0 if \\fBrun\\fR works.\n"
        }
        _ => "",
    }
}

/// Text for an option beyond its line of `--help`, in roff.
fn about_option(id: Id) -> &'static str {
    match id {
        Id::Vol => {
            "SRC is a file or a directory. Everything that is mounted in it is bound, too. A DST that ends in :ro is\n\
             an error, since only SRC:DST:ro in one word is read\\-only. DST:ro/ is a path with that name.\n"
        }
        Id::Map => {
            "If SRC is /dev/fd/N, /proc/self/fd/N or /dev/stdin, DST is a file with what can be read there, at most\n\
             64 MiB. So bash's \\-m <(CMD) DST works. Several options may name the same descriptor. The file is on no\n\
             disk. The instance is in unprivileged mode.\n"
        }
        Id::Tmpfs => {
            "OPTS are size, nr_inodes and mode; numbers may end in k, M, G or T. By default a tmpfs has 64 MiB,\n\
             16384 files and mode 1777. DST may be /tmp or /dev/shm. For a copy (\\-\\-overlay) it says how much can\n\
             be written there. A copy takes no mode, and with \\-\\-changes none of these options.\n"
        }
        Id::Dev => "PATH cannot be pts, shm, mqueue, hugepages or fd in /dev.\n",
        Id::Mask => "A missing PATH is an error.\n",
        Id::Bind => {
            "The destination is PATH, made absolute. The same holds for \\-\\-bind\\-ro, \\-\\-bind\\-if\\-exists and\n\
             \\-\\-bind\\-ro\\-if\\-exists.\n"
        }
        Id::UnsetEnv => "In NAME, * matches any characters, and ? matches one.\n",
        Id::Pass => {
            "NAME may be a pattern. \\-\\-clear\\-env, \\-\\-no\\-secrets and patterns of \\-\\-unset\\-env do not\n\
             remove it, in whatever order the options stand. The value does not appear in a command line.\n"
        }
        Id::NoSecrets => {
            "It removes DATABASE_URL, names that end in _PAT or _DSN, and names that contain TOKEN, SECRET, PASSWORD,\n\
             PASSWD, PASSPHRASE, API_KEY, APIKEY, ACCESS_KEY, PRIVATE_KEY or CREDENTIAL. Case does not matter.\n"
        }
        Id::Home => {
            "The home is a tmpfs of 1 GiB with mode 700, mounted on the path in HOME. With =DIR it is DIR, as a\n\
             volume. DIR may also follow as a separate word with a slash in it.\n"
        }
        Id::X11 => {
            "It adds the socket of DISPLAY in /tmp/.X11\\-unix, the cookies of XAUTHORITY and, if the display has an\n\
             abstract socket, \\-\\-abstract. A local display without any socket is refused. X does not protect\n\
             clients from each other.\n"
        }
        Id::Wayland => "It adds the socket that WAYLAND_DISPLAY names in XDG_RUNTIME_DIR.\n",
        Id::Dbus => {
            "It adds the socket of DBUS_SESSION_BUS_ADDRESS. Through this socket a program can ask systemd to start\n\
             programs outside, so the instance does not contain a hostile program.\n"
        }
        Id::Pulse => "It adds the sockets of PulseAudio and PipeWire, and the cookie of PulseAudio.\n",
        Id::SshAgent => "It adds the socket of SSH_AUTH_SOCK. The keys themselves stay in the agent.\n",
        Id::Gpu => "It adds /dev/dri, /dev/kfd, /dev/dxg and /dev/nvidia*, as far as they exist.\n",
        Id::Chdir => {
            "DIR is a path in the instance. A relative DIR starts from the current directory; with enter it starts\n\
             from the root directory.\n"
        }
        Id::Timeout => {
            "TIME and GRACE are in seconds, or end in s, m, h or d. After TIME selfdock sends SIGTERM to CMD. After\n\
             GRACE (default: 5 seconds) it kills all processes of the instance by SIGKILL. TIME includes the time\n\
             to read what \\-\\-map takes from a descriptor.\n"
        }
        Id::Rlimit => {
            "NAME is as, core, cpu, data, fsize, memlock, msgqueue, nofile, nproc, rss, sigpending or stack. VALUE is\n\
             unlimited or a number, which may end in k, M, G or T. Both the soft and the hard limit are set. VALUE\n\
             cannot be above your hard limit. The hard limit of cpu is one second more, if yours allows that, so\n\
             that SIGXCPU comes before SIGKILL.\n"
        }
        Id::Report => {
            "A number is an open descriptor. A FILE is created, empty, before CMD starts, and an older file is\n\
             replaced. Devices, FIFOs and links to them are not replaced, but written to. A link to a file is\n\
             refused, since an earlier command could have made it. When CMD has ended, selfdock writes one line to\n\
             FILE. If CMD has put another file there, selfdock replaces it. CMD can prevent a report in a volume;\n\
             see \\-\\-report\\-required. REPORT lists the fields. The form =N is for the\n\
             programs of selfdock themselves.\n"
        }
        Id::Memory => {
            "SIZE may end in k, M, G or T. It is the limit of a control group, without swap. At the limit the kernel\n\
             kills a process of the instance. Your control group must be delegated to you. If it is not, selfdock\n\
             asks your systemd (by busctl) for a delegated group, unless CMD would escape a limit of your own group\n\
             there. If there is no such group, selfdock refuses to run CMD.\n"
        }
        Id::Pids => "The two processes of selfdock itself do not count. It needs what \\-\\-memory needs.\n",
        Id::Cpus => "A number with up to two digits after the point. It needs what \\-\\-memory needs.\n",
        Id::OutputLimit => {
            "CMD has pipes as its standard output and error. selfdock passes on SIZE bytes of both together. The next\n\
             byte kills CMD by SIGKILL, and selfdock ends in the same way. If output cannot be written, as on a full\n\
             disk, a line on standard error says so, and the exit status is 125. Output that nobody has read when\n\
             CMD ends is passed on by a process that outlives selfdock. No process outlives an instance, so inside\n\
             one selfdock itself waits for the reader: with \\-\\-timeout until TIME, but at least 5 seconds.\n"
        }
        Id::OwnCgroup => {
            "Without this option CMD joins the control group of the instance. If the caller may not do that,\n\
             enter fails.\n"
        }
        Id::ReportRequired => {
            "It needs \\-\\-report. If writing fails, the exit status is 125. Without this option it is that of CMD,\n\
             and a line on standard error says what went wrong.\n"
        }
        Id::NoNest => "With this option selfdock works inside in unprivileged mode only.\n",
        Id::Explain => {
            "A line for a mount has its kind, source, destination and flags. These lines stand in the order of the\n\
             steps. Other lines have a name and a text. On a terminal the columns are aligned; otherwise tabs\n\
             separate them.\n"
        }
        Id::Hostname => "NAME has up to 64 letters, digits, dots and dashes.\n",
        _ => "",
    }
}

fn names(option: &Opt) -> String {
    let short = option.short.map_or(String::new(), |c| format!("\\fB\\-{c}\\fR, "));
    let values = option.values.iter().map(|(name, _)| format!(" \\fI{}\\fR", escape(name)));
    let values = values.collect::<Vec<_>>().concat();
    format!("{short}\\fB\\-\\-{}\\fR{values}", escape(option.long))
}

/// The name of an option that is quickest to type.
fn shortest(option: &Opt) -> String {
    option.short.map_or_else(|| escape(&format!("--{}", option.long)), |c| format!("\\-{c}"))
}

/// Escapes a text for roff: a dash becomes a minus.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq")
}

/// Begins with a capital letter, unless the first word is one that the user types.
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
    fn the_page_names_what_dev_cannot_take() {
        let plan = std::fs::read_to_string(crate::run::root().join("src/plan.rs")).unwrap();
        let (_, list) = plan.split_once("NOT_DEVICES: &[&str] = &[").unwrap();
        let names = list.split(']').next().unwrap().split(", ").map(|name| name.trim_matches('"'));
        let names: Vec<&str> = names.collect();
        let (last, others) = names.split_last().unwrap();
        let words = format!("PATH cannot be {} or {last} in /dev", others.join(", "));
        assert!(page().replace('\n', " ").contains(&words), "{words}");
    }

    #[test]
    fn the_page_names_all_limits_and_all_names_of_secrets() {
        let page = page().replace('\n', " ");
        let (last, others) = crate::options::LIMITS.split_last().unwrap();
        assert!(page.contains(&format!("NAME is {} or {last}.", others.join(", "))));

        let presets = std::fs::read_to_string(crate::run::root().join("src/about/presets.rs")).unwrap();
        let (_, list) = presets.split_once("SECRETS: &[&str] = &[").unwrap();
        let patterns = list.split(']').next().unwrap().split('"').skip(1).step_by(2);
        let (_, words) = page.split_once("It removes ").unwrap();
        let words = words.split(" Case does not matter").next().unwrap();
        let (exact, words) = words.split_once(", names that end in ").unwrap();
        let (ends, parts) = words.split_once(", and names that contain ").unwrap();
        for pattern in patterns {
            let place = match (pattern.starts_with('*'), pattern.ends_with('*')) {
                (false, false) => exact,
                (true, false) => ends,
                _ => parts,
            };
            let name = pattern.trim_matches('*');
            assert!(
                place.split(|c: char| c != '_' && !c.is_alphanumeric()).any(|word| word == name),
                "{name}"
            );
        }
    }

    #[test]
    fn no_line_begins_with_an_unknown_roff_request() {
        let known = [
            ".I", ".IR", ".BR", ".TH", ".SH", ".SS", ".TP", ".B", ".br", ".PP", ".IP", ".nf", ".fi", ".RS",
            ".RB", ".RE",
        ];
        for line in page().lines().filter(|line| line.starts_with(['.', '\''])) {
            assert!(known.contains(&line.split(' ').next().unwrap_or_default()), "{line}");
        }
    }
}
