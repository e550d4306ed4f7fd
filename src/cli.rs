//! The command line: argv to [`Command`]. Pure: it asks the kernel nothing.

use crate::error::{Error, Operation, Result, both, on};
use crate::options::{ALIASES, BUILD, DOCTOR, EACH, ENTER, Id, LIMITS, PS, SYNTAX, Syntax, WORDS};
use crate::sys::Moment;
use crate::text::{self, Bytes, join};
use alloc::vec::Vec;
use core::cell::Cell;
use getargs::{Arg, Options};

/// What `--version` shows.
pub const VERSION: &[u8] = concat!("selfdock ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// What the caller asks for.
#[derive(Debug)]
pub enum Command<'a> {
    /// `--help`
    Help,
    /// `--version`
    Version,
    /// `run` and `build`
    Run(Request<'a>),
    /// `enter`, with the PID
    Enter(u32, Request<'a>),
    /// `ps`, as JSON or not
    Ps(bool),
    /// `doctor`
    Doctor,
    /// `each`, which reads its words itself
    Each,
}

/// Everything that was said about an instance and its command, in the order it was said.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// `build` instead of `run`
    pub build: bool,
    /// `--root`, once for each layer
    pub roots: Vec<&'a [u8]>,
    /// `-v -m -t --dev --mask --mask-if-exists`
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
    /// `--json`
    pub json: bool,
    /// `--seccomp`: a word, or the file of a program
    pub seccomp: Option<&'a [u8]>,
    /// `--new-session`
    pub new_session: bool,
    /// `--abstract`
    pub abstract_sockets: bool,
    /// `--no-userns`
    pub no_user_namespaces: bool,
    /// `--own-cgroup`
    pub own_group: bool,
    /// `--timeout`
    pub timeout: Option<Timeout>,
    /// `--rlimit`: which, and how much
    pub limits: Vec<(&'static str, Option<u64>)>,
    /// `--report`
    pub report: Option<&'a [u8]>,
    /// Without a report the status is not the command's.
    pub report_required: bool,
    /// CMD and its arguments; empty for a shell.
    pub command: Vec<&'a [u8]>,
}

/// How long a command may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// Until SIGTERM.
    pub time: Moment,
    /// From then on until SIGKILL.
    pub grace: Moment,
}

/// A mount that the caller wishes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Wish<'a> {
    Bind { src: &'a [u8], dst: &'a [u8], writable: bool },
    Tmpfs { options: &'a [u8], dst: &'a [u8] },
    Device { path: &'a [u8] },
    Mask { path: &'a [u8], optional: bool },
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
    let mut verb: Option<(&str, u8)> = None;
    let mut seen: Vec<&Syntax> = Vec::new();

    while let Some(arg) = options.next_arg().map_err(|_| superfluous(args[position.get() - 1]))? {
        let opt = match arg {
            Arg::Short(c) => by_short(c)?,
            Arg::Long(name) => by_long(name)?,
            // After `--` the word is a command of its own, not one of ours.
            Arg::Positional(word) if verb.is_none() && !options.opts_ended() => {
                let named = by_name(word)?;
                if named.1 == EACH {
                    return Ok(Command::Each);
                }
                verb = Some(named);
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
            if opt.values.len() > 1 && !(opt.id == Id::Env && first.iter().any(|b| *b == b'=')) {
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

    let Some((word, bit)) = verb else {
        return Err(Error::plain("no command given; try 'selfdock run sh', or 'selfdock --help'"));
    };
    if let Some(opt) = seen.iter().find(|opt| opt.verbs & bit == 0) {
        return Err(Error::refused(named(opt), "not for this command").hint("see 'selfdock --help'"));
    }
    match bit {
        DOCTOR | PS if !request.command.is_empty() => {
            Err(Error::refused(on("{=}", word.as_bytes()), "takes no arguments"))
        }
        DOCTOR => Ok(Command::Doctor),
        PS => Ok(Command::Ps(request.json)),
        ENTER => {
            let pid = request.command.first().ok_or_else(|| {
                Error::refused("enter", "no PID is given").hint("'selfdock ps' lists instances")
            })?;
            let pid = process_id(pid)?;
            request.command.remove(0);
            // `enter -- PID -- CMD` and `enter PID -- CMD` mean the same.
            if request.command.first() == Some(&&b"--"[..]) {
                request.command.remove(0);
            }
            Ok(Command::Enter(pid, request))
        }
        _ => {
            request.build = bit == BUILD;
            Ok(Command::Run(request))
        }
    }
}

fn apply<'a>(r: &mut Request<'a>, opt: &Syntax, first: &'a [u8], second: &'a [u8]) -> Result<()> {
    match opt.id {
        Id::Root => r.roots.push(first),
        Id::Vol => r.mounts.push(Wish::Bind { src: first, dst: second, writable: true }),
        Id::Map => r.mounts.push(Wish::Bind { src: first, dst: second, writable: false }),
        Id::Tmpfs => r.mounts.push(Wish::Tmpfs { options: first, dst: second }),
        Id::Dev => r.mounts.push(Wish::Device { path: first }),
        Id::Mask => r.mounts.push(Wish::Mask { path: first, optional: false }),
        Id::MaskIfExists => r.mounts.push(Wish::Mask { path: first, optional: true }),
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
        Id::Json => r.json = true,
        Id::Seccomp => once(&mut r.seccomp, opt, first)?,
        Id::NewSession => r.new_session = true,
        Id::Abstract => r.abstract_sockets = true,
        Id::NoUserns => r.no_user_namespaces = true,
        Id::OwnCgroup => r.own_group = true,
        Id::Timeout => r.timeout = Some(timeout(first)?),
        Id::Rlimit => r.limits.push(limit(first)?),
        Id::ReportRequired => r.report_required = true,
        Id::Report => once(&mut r.report, opt, first)?,
        Id::Help | Id::Version | Id::Jobs | Id::Null | Id::Group | Id::Halt => {}
    }
    Ok(())
}

fn by_name(word: &[u8]) -> Result<(&'static str, u8)> {
    WORDS.iter().find(|(name, _)| name.as_bytes() == word).copied().ok_or_else(|| {
        Error::refused(on("command {}", word), "unknown").hint("to run a program: selfdock run PROGRAM")
    })
}

fn by_short(c: u8) -> Result<&'static Syntax> {
    let unknown = || Error::refused(on("option {}", &[b'-', c]), "unknown").hint("see 'selfdock --help'");
    SYNTAX.iter().find(|opt| opt.short.is_some_and(|s| s as u32 == u32::from(c))).ok_or_else(unknown)
}

fn by_long(name: &[u8]) -> Result<&'static Syntax> {
    let alias = ALIASES.iter().find(|(word, _)| word.as_bytes() == name).map(|(_, id)| *id);
    SYNTAX.iter().find(|opt| opt.long.as_bytes() == name || alias == Some(opt.id)).ok_or_else(|| {
        let shown = join(&[b"--", name]);
        Error::refused(on("option {}", shown), "unknown").hint("see 'selfdock --help'")
    })
}

fn named(opt: &Syntax) -> Operation<'static> {
    on("option --{=}", opt.long.as_bytes())
}

fn wants(opt: &Syntax) -> Error {
    let mut values: Bytes = b"";
    for (name, _) in opt.values {
        values = join(&[values, b" ", name.as_bytes()]);
    }
    Error::plain(both("option --{=}: wants{=}", opt.long.as_bytes(), values))
}

/// An option that was given a value, and has none.
pub fn superfluous(arg: &[u8]) -> Error {
    Error::refused(on("option {}", arg), "takes no value")
}

fn once<'a>(slot: &mut Option<&'a [u8]>, opt: &Syntax, value: &'a [u8]) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::refused(named(opt), "given twice")),
    }
}

fn number(opt: &Syntax, digits: &[u8]) -> Result<u32> {
    small(digits).ok_or_else(|| {
        Error::refused(both("option --{=} {}", opt.long.as_bytes(), digits), "not a number that fits")
    })
}

/// A PID: a positive number that the kernel could have given. Nothing wraps around.
fn process_id(word: &[u8]) -> Result<u32> {
    small(word).filter(|n| *n > 0).ok_or_else(|| Error::refused(on("enter {}", word), "not a PID"))
}

/// A number that the kernel takes for an int.
fn small(digits: &[u8]) -> Option<u32> {
    whole(digits).and_then(|n| i32::try_from(n).ok()).map(i32::unsigned_abs)
}

fn whole(digits: &[u8]) -> Option<u64> {
    text::number(digits, 10)
}

/// A number with an optional `k`, `M`, `G` or `T` (powers of 1024).
pub fn scaled(value: &[u8]) -> Option<u64> {
    let (digits, shift) = match value.split_last() {
        Some((b'k' | b'K', rest)) => (rest, 10),
        Some((b'm' | b'M', rest)) => (rest, 20),
        Some((b'g' | b'G', rest)) => (rest, 30),
        Some((b't' | b'T', rest)) => (rest, 40),
        _ => (value, 0),
    };
    whole(digits)?.checked_mul(1 << shift)
}

/// `TIME[,GRACE]`. Without grace it is 5 s.
fn timeout(word: &[u8]) -> Result<Timeout> {
    let (time, grace) = match word.iter().position(|b| *b == b',') {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (word, &b"5"[..]),
    };
    let (time, grace) = (duration(time), duration(grace));
    time.filter(|time| *time != Moment::default())
        .zip(grace)
        .map(|(time, grace)| Timeout { time, grace })
        .ok_or_else(|| Error::refused(on("option --timeout {}", word), "not a time, like 1.5 or 10m"))
}

/// Seconds, minutes, hours or days, with a fraction: `1.5`, `10m`. As timeout(1) has it.
fn duration(word: &[u8]) -> Option<Moment> {
    let (number, unit) = match word.split_last() {
        Some((b's', rest)) => (rest, 1),
        Some((b'm', rest)) => (rest, 60),
        Some((b'h', rest)) => (rest, 3600),
        Some((b'd', rest)) => (rest, 86400),
        _ => (word, 1),
    };
    let (seconds, fraction) = match number.iter().position(|b| *b == b'.') {
        Some(0) => (&b"0"[..], &number[1..]),
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &b"0"[..]),
    };
    if fraction.is_empty() {
        return None;
    }
    let mut digits = [b'0'; 9];
    let shown = fraction.get(..9).unwrap_or(fraction);
    digits[..shown.len()].copy_from_slice(shown);
    let parts =
        (whole(seconds), whole(&digits), whole(fraction.get(9..).filter(|f| !f.is_empty()).unwrap_or(b"0")));
    let (Some(seconds), Some(nanos), Some(_)) = parts else { return None };
    // A year is more than any command needs, and less than what overflows.
    let nanos = nanos * unit;
    let seconds = seconds.checked_mul(unit).map(|s| s + nanos / 1_000_000_000).filter(|s| *s <= 366 * 86400);
    let seconds = seconds.and_then(|s| i64::try_from(s).ok())?;
    let nanoseconds = i64::try_from(nanos % 1_000_000_000).ok()?;
    Some(Moment { seconds, nanoseconds })
}

/// `nofile=64`, `as=1G`, `core=unlimited`.
fn limit(word: &[u8]) -> Result<(&'static str, Option<u64>)> {
    let wrong = |why| Error::refused(on("option --rlimit {}", word), why);
    let at = word.iter().position(|b| *b == b'=').ok_or_else(|| wrong("not NAME=VALUE"))?;
    let name = LIMITS
        .iter()
        .find(|name| name.as_bytes() == &word[..=at])
        .ok_or_else(|| wrong("no such limit").hint("'man selfdock' lists them"))?;
    let name = name.strip_suffix('=').unwrap_or(name);
    match &word[at + 1..] {
        b"unlimited" => Ok((name, None)),
        amount => match scaled(amount) {
            None => Err(wrong("not an amount, like 64M or unlimited")),
            some => Ok((name, some)),
        },
    }
}

fn assignment<'a>(first: &'a [u8], second: &'a [u8]) -> Result<EnvChange<'a>> {
    match first.iter().position(|b| *b == b'=') {
        Some(at) => Ok(EnvChange::Set(variable(&first[..at])?, &first[at + 1..])),
        None => Ok(EnvChange::Set(variable(first)?, second)),
    }
}

fn variable(name: &[u8]) -> Result<&[u8]> {
    if name.is_empty() || name.iter().any(|b| *b == b'=') {
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

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
    fn a_time_has_a_unit_and_a_fraction() {
        let at = |word: &str| duration(word.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(at("1.5"), Some((1, 500_000_000)));
        assert_eq!(at("10m"), Some((600, 0)));
        assert_eq!(at("0.25h"), Some((900, 0)));
        assert_eq!(at("2s"), Some((2, 0)));
        assert_eq!(at(".5"), Some((0, 500_000_000)));
        for bad in ["", "-1", "1e3", "x", ".", "1.", "1..2", "99999999999999999999", "400d", "1w"] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_timeout_has_a_time_and_a_grace() {
        let seconds = |word: &str| timeout(word.as_bytes()).map(|t| (t.time.seconds, t.grace.seconds)).ok();
        assert_eq!(seconds("3"), Some((3, 5)));
        assert_eq!(seconds("3,1m"), Some((3, 60)));
        assert_eq!(seconds("3,0"), Some((3, 0)));
        for bad in ["0", "0.0", "0,1", ",1", "1,", "1,x", "1,-1", "1,2,3"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_pid_does_not_wrap_around() {
        for bad in ["0", "-1", "4294967297", "2147483648", "x", "", "1 "] {
            assert!(refusal(&["enter", "--", bad]).contains("not a PID"), "{bad}");
        }
        assert!(
            matches!(parse(&[b"enter", b"12", b"sh"]), Ok(Command::Enter(12, r)) if r.command == [b"sh"])
        );
        assert!(refusal(&["enter"]).contains("no PID"));
        assert!(refusal(&["enter", "-v", "/a", "/b", "1"]).contains("not for this command"));
    }

    #[test]
    fn a_limit_has_a_name_and_an_amount() {
        assert_eq!(limit(b"as=1G").ok(), Some(("as", Some(1 << 30))));
        assert_eq!(limit(b"core=unlimited").ok(), Some(("core", None)));
        for bad in ["as", "as=", "nope=1", "as=x", "as=-1", "cpu=99999999999999999999", "as=99999999T"] {
            assert!(limit(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_two_options_share_a_name() {
        for (i, a) in SYNTAX.iter().enumerate() {
            for b in &SYNTAX[..i] {
                assert!(a.long != b.long && (a.short.is_none() || a.short != b.short) && a.id != b.id);
            }
        }
    }
}
