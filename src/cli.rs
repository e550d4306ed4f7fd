//! The command line: argv to [`Command`]. Pure: it asks the kernel nothing.
#![forbid(unsafe_code)]

use crate::error::{Error, Operation, Result, both, on};
use crate::options::{BUILD, DOCTOR, ALIASES, EXAMPLES, GROUPS, Id, OPTIONS, Opt, VERBS, Verb};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt::Write as _;
use getargs::{Arg, Options};

/// What the caller asks for.
#[derive(Debug)]
pub enum Command<'a> {
    /// `--help`
    Help,
    /// `--version`
    Version,
    /// `run` and `build`
    Run(Request<'a>),
    /// `doctor`
    Doctor,
}

/// Everything that was said about an instance and its command, in the order it was said.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// `build` instead of `run`
    pub build: bool,
    /// `--root`, once for each layer
    pub roots: Vec<&'a [u8]>,
    /// `-v -m -t --dev --mask`
    pub mounts: Vec<Wish<'a>>,
    /// `--here`
    pub here: bool,
    /// `-C`
    pub chdir: Option<&'a [u8]>,
    /// `-e -E --clear-env`
    pub env: Vec<EnvChange<'a>>,
    /// `--keep-fd`
    pub keep_fds: Vec<u32>,
    /// `--net none`
    pub own_network: bool,
    /// `--hostname`
    pub hostname: Option<&'a [u8]>,
    /// `--no-nest`
    pub no_nest: bool,
    /// `--unprivileged`
    pub unprivileged: bool,
    /// `--explain`
    pub explain: bool,
    /// CMD and its arguments; empty for a shell.
    pub command: Vec<&'a [u8]>,
}

/// A mount that the caller wishes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Wish<'a> {
    Bind { src: &'a [u8], dst: &'a [u8], writable: bool },
    Tmpfs { options: &'a [u8], dst: &'a [u8] },
    Device { path: &'a [u8] },
    Mask { path: &'a [u8] },
}

/// A change to the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvChange<'a> {
    /// Name and value.
    Set(&'a [u8], &'a [u8]),
    /// Name.
    Unset(&'a [u8]),
    /// All that was there before.
    Clear,
}

/// Reads the arguments that follow the program's name.
pub fn parse<'a>(args: &'a [&'a [u8]]) -> Result<Command<'a>> {
    // Shared with the iterator below, to take the second value of an option and the rest.
    let position = Cell::new(0);
    let next = || args.get(position.replace(position.get() + 1)).copied();
    let mut options = Options::new(core::iter::from_fn(next));
    let mut request = Request::default();
    let mut verb: Option<&Verb> = None;
    let mut seen: Vec<&Opt> = Vec::new();

    while let Some(arg) = options.next_arg().map_err(|_| superfluous(&args[position.get() - 1]))? {
        let opt = match arg {
            Arg::Short(c) => by_short(c)?,
            Arg::Long(name) => by_long(name)?,
            // After `--` the word is a command of its own, not one of ours.
            Arg::Positional(word) if verb.is_none() && !options.opts_ended() => {
                verb = Some(by_name(word)?);
                continue;
            }
            Arg::Positional(word) => {
                request.command.push(word);
                request.command.extend(core::iter::from_fn(next));
                break;
            }
        };
        let (mut first, mut second): (&[u8], &[u8]) = (b"", b"");
        if !opt.values.is_empty() {
            first = options.value().map_err(|_| wants(opt))?;
            if opt.values.len() > 1 && !(opt.id == Id::Env && first.contains(&b'=')) {
                second = next().ok_or_else(|| wants(opt))?;
            }
        }
        match opt.id {
            Id::Help => return Ok(Command::Help),
            Id::Version => return Ok(Command::Version),
            _ => apply(&mut request, opt, first, second)?,
        }
        seen.push(opt);
    }

    let Some(verb) = verb else {
        return Err(Error::plain("no command given; try 'selfdock run sh', or 'selfdock --help'"));
    };
    if let Some(opt) = seen.iter().find(|opt| opt.verbs & verb.bit == 0) {
        return Err(Error::refused(named(opt), "not for this command").hint("see 'selfdock --help'"));
    }
    match verb.bit {
        DOCTOR if !request.command.is_empty() => Err(Error::refused("doctor", "takes no arguments")),
        DOCTOR => Ok(Command::Doctor),
        _ => {
            request.build = verb.bit == BUILD;
            Ok(Command::Run(request))
        }
    }
}

fn apply<'a>(r: &mut Request<'a>, opt: &Opt, first: &'a [u8], second: &'a [u8]) -> Result<()> {
    match opt.id {
        Id::Root => r.roots.push(first),
        Id::Vol => r.mounts.push(Wish::Bind { src: first, dst: second, writable: true }),
        Id::Map => r.mounts.push(Wish::Bind { src: first, dst: second, writable: false }),
        Id::Tmpfs => r.mounts.push(Wish::Tmpfs { options: first, dst: second }),
        Id::Dev => r.mounts.push(Wish::Device { path: first }),
        Id::Mask => r.mounts.push(Wish::Mask { path: first }),
        Id::Here => r.here = true,
        Id::Chdir => once(&mut r.chdir, opt, first)?,
        Id::Env => r.env.push(assignment(first, second)?),
        Id::UnsetEnv => r.env.push(EnvChange::Unset(variable(first)?)),
        Id::ClearEnv => r.env.push(EnvChange::Clear),
        Id::KeepFd => r.keep_fds.push(number(opt, first)?),
        Id::Net => r.own_network = network(first)?,
        Id::Hostname => once(&mut r.hostname, opt, hostname(first)?)?,
        Id::NoNest => r.no_nest = true,
        Id::Unprivileged => r.unprivileged = true,
        Id::Explain => r.explain = true,
        Id::Help | Id::Version => {}
    }
    Ok(())
}

fn by_name(word: &[u8]) -> Result<&'static Verb> {
    VERBS.iter().find(|verb| verb.name.as_bytes() == word).ok_or_else(|| {
        Error::refused(on("command {}", word), "unknown").hint("to run a program: selfdock run PROGRAM")
    })
}

fn by_short(c: u8) -> Result<&'static Opt> {
    let unknown = || Error::refused(on("option {}", &[b'-', c]), "unknown").hint("see 'selfdock --help'");
    OPTIONS.iter().find(|opt| opt.short.is_some_and(|s| s as u32 == u32::from(c))).ok_or_else(unknown)
}

fn by_long(name: &[u8]) -> Result<&'static Opt> {
    let alias = ALIASES.iter().find(|(word, _)| word.as_bytes() == name).map(|(_, id)| *id);
    OPTIONS.iter().find(|opt| opt.long.as_bytes() == name || alias == Some(opt.id)).ok_or_else(|| {
        let shown = [b"--", name].concat();
        Error::refused(on("option {}", &shown), "unknown").hint("see 'selfdock --help'")
    })
}

fn named(opt: &Opt) -> Operation<'static> {
    on("option --{=}", opt.long.as_bytes())
}

fn wants(opt: &Opt) -> Error {
    let values = format!("{}", Values(opt));
    Error::plain(both("option --{=}: wants {=}", opt.long.as_bytes(), values.as_bytes()))
}

fn superfluous(arg: &[u8]) -> Error {
    Error::refused(on("option {}", arg), "takes no value")
}

fn once<'a>(slot: &mut Option<&'a [u8]>, opt: &Opt, value: &'a [u8]) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::refused(named(opt), "given twice")),
    }
}

fn number(opt: &Opt, digits: &[u8]) -> Result<u32> {
    let parsed = core::str::from_utf8(digits).ok().filter(|s| s.bytes().all(|b| b.is_ascii_digit()));
    parsed.and_then(|s| s.parse().ok()).filter(|n| i32::try_from(*n).is_ok()).ok_or_else(|| {
        Error::refused(both("option --{=} {}", opt.long.as_bytes(), digits), "not a number that fits")
    })
}

fn assignment<'a>(first: &'a [u8], second: &'a [u8]) -> Result<EnvChange<'a>> {
    match first.iter().position(|b| *b == b'=') {
        Some(at) => Ok(EnvChange::Set(variable(&first[..at])?, &first[at + 1..])),
        None => Ok(EnvChange::Set(variable(first)?, second)),
    }
}

fn variable(name: &[u8]) -> Result<&[u8]> {
    if name.is_empty() || name.contains(&b'=') {
        return Err(Error::refused(on("variable {}", name), "not a name"));
    }
    Ok(name)
}

fn network(word: &[u8]) -> Result<bool> {
    match word {
        b"none" => Ok(true),
        b"host" => Ok(false),
        _ => Err(Error::refused(on("option --net {}", word), "neither 'none' nor 'host'")),
    }
}

fn hostname(name: &[u8]) -> Result<&[u8]> {
    let fits = (1..=64).contains(&name.len());
    if fits && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'.') {
        return Ok(name);
    }
    let what = on("option --hostname {}", name);
    Err(Error::refused(what, "not a host name").hint("1 to 64 letters, digits, dots and dashes"))
}

/// `SRC DST`, as `--help` shows the values of an option.
struct Values<'a>(&'a Opt);

impl core::fmt::Display for Values<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for (i, (name, _)) in self.0.values.iter().enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// The text of `--help`.
pub fn help() -> String {
    let mut out = String::from("selfdock: run a command in isolation, as yourself, in no time\n\nUsage:\n");
    for verb in VERBS {
        let _ = writeln!(out, "  selfdock [OPTION...] {} {}\n      {}", verb.name, verb.usage, verb.help);
    }
    for (group, heading) in GROUPS {
        let _ = writeln!(out, "\n{heading}:");
        for opt in OPTIONS.iter().filter(|opt| opt.group == *group) {
            let short = opt.short.map_or(String::from("    "), |c| format!("-{c}, "));
            let left = format!("{short}--{} {}", opt.long, Values(opt));
            let _ = writeln!(out, "  {left:<27} {}", opt.help);
        }
    }
    out.push_str("\nExamples:\n");
    for (line, what) in EXAMPLES {
        let _ = writeln!(out, "  {line:<39} {what}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(args: &'a [&'a [u8]]) -> Request<'a> {
        match parse(args) {
            Ok(Command::Run(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(args: &[&str]) -> String {
        let args: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
        format!("{}", parse(&args).expect_err("accepted"))
    }

    #[test]
    fn options_stand_before_or_after_the_word_run() {
        let wish = Wish::Bind { src: b"/a", dst: b"/b", writable: true };
        assert_eq!(request(&[b"-v", b"/a", b"/b", b"run", b"sh"]).mounts, [wish]);
        assert_eq!(request(&[b"run", b"-v", b"/a", b"/b", b"sh"]).mounts, [wish]);
        assert_eq!(request(&[b"run", b"--vol=/a", b"/b", b"sh"]).mounts, [wish]);
        assert_eq!(request(&[b"run", b"-v/a", b"/b", b"sh"]).mounts, [wish]);
    }

    #[test]
    fn parsing_stops_at_the_command() {
        assert_eq!(request(&[b"run", b"ls", b"-v", b"--", b"x"]).command, [&b"ls"[..], b"-v", b"--", b"x"]);
        assert_eq!(request(&[b"run", b"--", b"-x", b"y"]).command, [&b"-x"[..], b"y"]);
        assert!(request(&[b"run"]).command.is_empty());
    }

    #[test]
    fn a_variable_is_one_word_or_two() {
        let set = EnvChange::Set(b"A", b"b=c");
        assert_eq!(request(&[b"run", b"-e", b"A=b=c", b"x"]).env, [set]);
        assert_eq!(request(&[b"run", b"-e", b"A", b"b=c", b"x"]).env, [set]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(refusal(&["sh"]).contains("selfdock run PROGRAM"));
        assert!(refusal(&[]).contains("selfdock run sh"));
        assert!(refusal(&["run", "--nope"]).contains("'--nope'"));
        assert!(refusal(&["run", "-v", "/a"]).contains("SRC DST"));
        assert!(refusal(&["run", "--here=x"]).contains("takes no value"));
        assert!(refusal(&["run", "-C", "/a", "-C", "/b"]).contains("twice"));
        assert!(refusal(&["run", "-e", "=x"]).contains("not a name"));
        assert!(refusal(&["run", "--keep-fd", "4294967297"]).contains("number"));
        assert!(refusal(&["run", "-n", "some"]).contains("neither"));
        assert!(
            refusal(&["--", "run"]).contains("no command") || refusal(&["--", "run"]).contains("unknown")
        );
    }

    #[test]
    fn help_fits_a_screen_and_names_every_option() {
        let text = help();
        assert!(text.lines().count() <= 60 && text.lines().all(|l| l.chars().count() <= 80), "{text}");
        assert!(OPTIONS.iter().all(|opt| text.contains(&format!("--{}", opt.long))));
    }

    #[test]
    fn no_two_options_share_a_name() {
        for (i, a) in OPTIONS.iter().enumerate() {
            for b in &OPTIONS[..i] {
                assert!(a.long != b.long && (a.short.is_none() || a.short != b.short) && a.id != b.id);
            }
        }
    }
}
