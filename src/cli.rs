//! The command line: turns argv into a [`Command`]. Pure: no system calls.

use crate::error::{Fault, Result, Unsaid, both, on};
use crate::options::{ALIASES, BUILD, ENTER, Id, LIMITS, SYNTAX, Syntax, WORDS};
use crate::sys::Duration;
use crate::text::whole;
use alloc::vec::Vec;

/// The text of `--version`.
pub const VERSION: &[u8] = concat!("selfdock ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// The command of the caller.
#[derive(Debug)]
pub enum Command<'a> {
    /// `--version`
    Version,
    /// `run` and `build`
    Run(Request<'a>),
    /// `enter`, with its PID
    Enter(u32, Request<'a>),
}

/// A request for an instance and its command. Lists are in the order of the command line.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// `build` instead of `run`
    pub build: bool,
    /// `--root`, once for each layer
    pub roots: Vec<&'a [u8]>,
    /// `-v -m -t --dev --mask --mask-if-exists`
    pub mounts: Vec<MountRequest<'a>>,
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
    /// `--seccomp`: a word, or the file of a program ([`Request::filter`])
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
    /// `--rlimit`: name and value; `None` is unlimited
    pub limits: Vec<(&'static str, Option<u64>)>,
    /// `--report`
    pub report: Option<&'a [u8]>,
    /// `--report-required`
    pub report_required: bool,
    /// CMD and its arguments; empty for the shell
    pub command: Vec<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// The filter of system calls that `--seccomp` chooses.
    pub fn filter(&self) -> Filter<&'a [u8]> {
        match self.seccomp {
            None | Some(b"default") => Filter::Default,
            Some(b"none") => Filter::None,
            Some(path) => Filter::And(path),
        }
    }
}

/// A filter of system calls: of a request, or of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter<Own> {
    /// selfdock's own.
    Default,
    /// No filter.
    None,
    /// selfdock's own, and then this filter program.
    And(Own),
}

/// The `--timeout` option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// The time until SIGTERM.
    pub time: Duration,
    /// The time from SIGTERM to SIGKILL.
    pub grace: Duration,
}

/// A mount that the caller requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MountRequest<'a> {
    Bind { src: &'a [u8], dst: &'a [u8], writable: bool },
    Tmpfs { options: &'a [u8], dst: &'a [u8] },
    Device { path: &'a [u8] },
    Mask { path: &'a [u8], optional: bool },
}

/// A change to the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvChange<'a> {
    /// Set a variable: name and value.
    Set(&'a [u8], &'a [u8]),
    /// Remove a variable.
    Unset(&'a [u8]),
    /// Remove all variables.
    Clear,
}

/// Parses the arguments after the program's name, as far as they are for the set-uid program. Everything else is for
/// the second program, which also reports errors.
pub fn parse<'a>(args: &'a [&'a [u8]]) -> Result<Command<'a>, Unsaid> {
    let mut rest = args;
    let mut request = Request::default();
    let (mut verb, mut known_to, mut ended) = (0, u16::MAX, false);
    while let [word, after @ ..] = rest {
        rest = after;
        match *word {
            b"--" if !ended => ended = true,
            [b'-', b'-', long @ ..] if !ended => {
                let mut parts = long.splitn(2, |b| *b == b'=');
                let opt = by_long(parts.next().unwrap_or_default()).ok_or(Unsaid)?;
                if opt.id == Id::Version {
                    return Ok(Command::Version);
                }
                known_to &= request.take(opt, parts.next(), &mut rest)?;
            }
            [b'-', _, ..] if !ended => {
                let mut letters = &word[1..];
                while let [letter, after @ ..] = letters {
                    let opt = SYNTAX.iter().find(|opt| opt.short == *letter).ok_or(Unsaid)?;
                    if opt.id == Id::Version {
                        return Ok(Command::Version);
                    }
                    let value = Some(after).filter(|after| opt.values > 0 && !after.is_empty());
                    letters = if value.is_some() { b"" } else { after };
                    known_to &= request.take(opt, value, &mut rest)?;
                }
                // `-v SRC:DST` may be Docker's form; after `--vol` SRC and DST are always two words.
                if request.mounts.last().is_some_and(is_in_one_word) {
                    return Err(Unsaid);
                }
            }
            // After `--` the word is CMD, not a command of selfdock.
            _ if verb == 0 && !ended => {
                verb = WORDS.iter().find(|(name, _)| name.as_bytes() == *word).ok_or(Unsaid)?.1;
            }
            [b'@', ..] if !ended => return Err(Unsaid),
            _ => {
                request.command.push(word);
                request.command.extend_from_slice(rest);
                break;
            }
        }
    }
    // Options may stand between PID and CMD.
    let more = verb == ENTER && request.command.get(1).is_some_and(|word| *word != b"--" && is_option(word));
    if known_to & verb == 0 || more {
        return Err(Unsaid);
    }
    request.of(verb)
}

/// Whether the first value of an option includes the second: `-e NAME=VALUE`.
pub fn holds_both(id: Id, first: &[u8]) -> bool {
    id == Id::Env && first.contains(&b'=')
}

/// Whether a source may be a descriptor of the caller's: `/dev/fd/N`, `/dev/stdin`, `/proc/self/fd/N`. The second
/// program reads its data.
pub fn may_be_descriptor(src: &[u8]) -> bool {
    [&b"/dev/fd/"[..], b"/dev/std", b"/proc/self/fd/"].iter().any(|start| src.starts_with(start))
}

/// Whether a destination may end in a mode, in Docker's form: `DST:ro`. With a slash at its end it cannot.
pub fn may_have_mode(dst: &[u8]) -> bool {
    dst.iter().any(|b| *b == b':') && !dst.ends_with(b"/")
}

/// Whether a source may include the destination, in Docker's form.
fn is_in_one_word(mount: &MountRequest<'_>) -> bool {
    matches!(mount, MountRequest::Bind { src, .. } if src.windows(2).any(|two| two == b":/"))
}

/// Whether a word is an option, or a profile.
pub fn is_option(word: &[u8]) -> bool {
    word.len() > 1 && matches!(word[0], b'-' | b'@')
}

impl<'a> Request<'a> {
    /// Takes an option with its values. `value` is a value in the same word; the others follow. Returns the commands
    /// that take the option.
    fn take(
        &mut self,
        opt: &Syntax,
        value: Option<&'a [u8]>,
        rest: &mut &'a [&'a [u8]],
    ) -> Result<u16, Unsaid> {
        let mut next = || rest.split_off_first().copied().ok_or(Unsaid);
        let (mut first, mut second): (&[u8], &[u8]) = (b"", b"");
        match value {
            Some(_) if opt.values == 0 => return Err(Unsaid),
            Some(value) => first = value,
            None if opt.values > 0 => first = next()?,
            None => {}
        }
        let takes_two = opt.values > 1 && !holds_both(opt.id, first);
        if takes_two {
            second = next()?;
        }
        let is_odd = match opt.id {
            // The last word of the line may have been meant as CMD.
            Id::Env => takes_two && rest.is_empty(),
            Id::UnsetEnv | Id::Report => value.is_none() && rest.is_empty(),
            Id::Vol | Id::Map => may_be_descriptor(first) || may_have_mode(second),
            _ => false,
        };
        // The value was forgotten, and an option of this name would be lost.
        let is_dashed = value.is_none() && matches!(first, [b'-', _, ..]) || second.first() == Some(&b'-');
        // A shell leaves `~` as it is in the middle of a word.
        if is_odd || is_dashed || value.is_some() && first.first() == Some(&b'~') {
            return Err(Unsaid);
        }
        self.add(opt.id, opt.long, first, second)?;
        Ok(opt.verbs)
    }

    /// Completes the request for a command word. `enter` takes its PID from the words of the command.
    pub fn of<E: Fault>(mut self, verb: u16) -> Result<Command<'a>, E> {
        if self.report_required && self.report.is_none() {
            return Err(
                E::refused("option --report-required", "there is no --report").hint("add --report FILE")
            );
        }
        if verb != ENTER {
            self.build = verb == BUILD;
            return Ok(Command::Run(self));
        }
        let Some(pid) = self.command.first() else {
            return Err(E::refused("enter", "no PID is given").hint("'selfdock ps' lists instances"));
        };
        let pid = process_id(pid)?;
        self.command.remove(0);
        // `enter -- PID -- CMD` and `enter PID -- CMD` mean the same.
        if self.command.first() == Some(&&b"--"[..]) {
            self.command.remove(0);
        }
        Ok(Command::Enter(pid, self))
    }

    /// Takes a plain option with its values. `name` is its long name.
    pub fn add<E: Fault>(&mut self, id: Id, name: &str, first: &'a [u8], second: &'a [u8]) -> Result<(), E> {
        let bind = |writable| MountRequest::Bind { src: first, dst: second, writable };
        match id {
            Id::Root => self.roots.push(first),
            Id::Vol => self.mounts.push(bind(true)),
            Id::Map => self.mounts.push(bind(false)),
            Id::Tmpfs => self.mounts.push(MountRequest::Tmpfs { options: first, dst: second }),
            Id::Dev => self.mounts.push(MountRequest::Device { path: first }),
            Id::Mask => self.mounts.push(MountRequest::Mask { path: first, optional: false }),
            Id::MaskIfExists => self.mounts.push(MountRequest::Mask { path: first, optional: true }),
            Id::Here => self.here = true,
            Id::Chdir => self.chdir = Some(first),
            Id::Env => self.env.push(assignment(first, second)?),
            Id::UnsetEnv => self.env.push(EnvChange::Unset(unset(first)?)),
            Id::ClearEnv => self.env.push(EnvChange::Clear),
            Id::KeepFd => self.keep_fds.push(number(name, first)?),
            Id::Net => self.own_network = network(first)?,
            Id::Hostname => self.hostname = Some(hostname(first)?),
            Id::NoNest => self.no_nest = true,
            Id::Unprivileged => self.unprivileged = true,
            Id::Seccomp => self.seccomp = Some(first),
            Id::NewSession => self.new_session = true,
            Id::Abstract => self.abstract_sockets = true,
            Id::NoUserns => self.no_user_namespaces = true,
            Id::OwnCgroup => self.own_group = true,
            Id::Timeout => self.timeout = Some(timeout(first)?),
            Id::Rlimit => {
                let new = limit(first)?;
                // Of two values for one limit the second program takes one. Here that would take more room.
                if self.limits.iter().any(|(name, _)| name.as_ptr() == new.0.as_ptr()) {
                    return Err(E::refused(on("option --rlimit {}", first), "given twice"));
                }
                self.limits.push(new);
            }
            Id::ReportRequired => self.report_required = true,
            Id::Report => self.report = Some(first),
            // The set-uid program has no other options.
            _ => {}
        }
        Ok(())
    }
}

fn by_long(name: &[u8]) -> Option<&'static Syntax> {
    let alias = ALIASES.iter().find(|(word, _)| word.as_bytes() == name).map(|(_, id)| *id);
    SYNTAX.iter().find(|opt| opt.long.as_bytes() == name || alias == Some(opt.id))
}

fn number<E: Fault>(name: &str, digits: &[u8]) -> Result<u32, E> {
    small(digits).ok_or_else(|| {
        E::refused(both("option --{=} {}", name.as_bytes(), digits), "not a descriptor number")
    })
}

/// Parses a PID, which fits a positive int. No number wraps around.
fn process_id<E: Fault>(word: &[u8]) -> Result<u32, E> {
    small(word).filter(|n| *n > 0).ok_or_else(|| E::refused(on("enter {}", word), "not a PID"))
}

/// Parses a number that fits an int.
pub fn small(digits: &[u8]) -> Option<u32> {
    whole(digits).and_then(|n| i32::try_from(n).ok()).map(i32::unsigned_abs)
}

/// Parses a number with an optional `k`, `M`, `G` or `T` (powers of 1024).
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

/// Parses `TIME[,GRACE]`. The default of GRACE is 5 s.
fn timeout<E: Fault>(word: &[u8]) -> Result<Timeout, E> {
    let (time, grace) = match word.iter().position(|b| *b == b',') {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (word, &b"5"[..]),
    };
    let (time, grace) = (duration(time), duration(grace));
    time.filter(|time| *time != Duration::default())
        .zip(grace)
        .map(|(time, grace)| Timeout { time, grace })
        .ok_or_else(|| {
            let why = "not a time of more than 0 and at most 366d, such as 1.5 or 10m";
            E::refused(on("option --timeout {}", word), why)
        })
}

/// Parses seconds, minutes, hours or days, with a fraction: `1.5`, `10m`. The syntax is that of timeout(1).
fn duration(word: &[u8]) -> Option<Duration> {
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
    // What is less than a nanosecond does not count, but has to be digits.
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut digits = [b'0'; 9];
    let shown = fraction.get(..9).unwrap_or(fraction);
    digits[..shown.len()].copy_from_slice(shown);
    let (Some(seconds), Some(nanos)) = (whole(seconds), whole(&digits)) else { return None };
    // A year is more than any command needs, and does not overflow.
    let nanos = nanos * unit;
    let seconds = seconds.checked_mul(unit).map(|s| s + nanos / 1_000_000_000).filter(|s| *s <= 366 * 86400);
    let seconds = seconds.and_then(|s| i64::try_from(s).ok())?;
    let nanoseconds = i64::try_from(nanos % 1_000_000_000).ok()?;
    Some(Duration { seconds, nanoseconds })
}

/// Parses `nofile=64`, `as=1G`, `core=unlimited`.
fn limit<E: Fault>(word: &[u8]) -> Result<(&'static str, Option<u64>), E> {
    let wrong = |why| E::refused(on("option --rlimit {}", word), why);
    let at = word.iter().position(|b| *b == b'=').ok_or_else(|| wrong("not of the form NAME=VALUE"))?;
    let name = LIMITS
        .iter()
        .find(|name| name.as_bytes() == &word[..at])
        .ok_or_else(|| wrong("no such limit").hint("'man selfdock' lists them"))?;
    match &word[at + 1..] {
        b"unlimited" => Ok((name, None)),
        amount => match scaled(amount) {
            None => Err(wrong("not an amount such as 64M or unlimited")),
            some => Ok((name, some)),
        },
    }
}

fn assignment<'a, E: Fault>(first: &'a [u8], second: &'a [u8]) -> Result<EnvChange<'a>, E> {
    match first.iter().position(|b| *b == b'=') {
        Some(at) => Ok(EnvChange::Set(variable_name(&first[..at])?, &first[at + 1..])),
        None => Ok(EnvChange::Set(variable_name(first)?, second)),
    }
}

/// Checks the name of a variable.
pub fn variable_name<E: Fault>(name: &[u8]) -> Result<&[u8], E> {
    if name.is_empty() || name.iter().any(|b| *b == b'=') {
        return Err(E::refused(on("variable {}", name), "not a name"));
    }
    Ok(name)
}

/// Parses a name to remove. A pattern is for the second program, which looks up its names.
fn unset<E: Fault>(name: &[u8]) -> Result<&[u8], E> {
    if name.iter().any(|b| matches!(b, b'*' | b'?')) {
        return Err(E::refused(on("variable {}", name), "a pattern, not a name"));
    }
    variable_name(name)
}

fn network<E: Fault>(word: &[u8]) -> Result<bool, E> {
    match word {
        b"none" => Ok(true),
        b"host" => Ok(false),
        _ => Err(E::refused(on("option --net {}", word), "not 'none', 'host' or 'user'")),
    }
}

fn hostname<E: Fault>(name: &[u8]) -> Result<&[u8], E> {
    let fits = (1..=64).contains(&name.len());
    if fits && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'.') {
        return Ok(name);
    }
    let what = on("option --hostname {}", name);
    Err(E::refused(what, "not a host name").hint("1 to 64 letters, digits, dots and dashes"))
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

    #[test]
    fn options_stand_before_or_after_the_word_run() {
        let mount = MountRequest::Bind { src: b"/a", dst: b"/b", writable: true };
        assert_eq!(request(&[b"-v", b"/a", b"/b", b"run", b"sh"]).mounts, [mount]);
        assert_eq!(request(&[b"run", b"-v", b"/a", b"/b", b"sh"]).mounts, [mount]);
        assert_eq!(request(&[b"run", b"--vol=/a", b"/b", b"sh"]).mounts, [mount]);
        assert_eq!(request(&[b"run", b"-v/a", b"/b", b"sh"]).mounts, [mount]);
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
    fn what_is_not_understood_is_left_to_the_second_program() {
        for words in [
            "sh",
            "",
            "run --nope",
            "run -Z",
            "run -v /a",
            "run --here=x",
            "run --rlimit nofile=1 --rlimit nofile=2 sh",
            "run -e =x x",
            "run --keep-fd 4294967297",
            "run -n some",
            "-- run",
            "ps",
            "each cat",
            "--help",
            "run --explain sh",
            "run -hV sh",
            "enter",
            "enter -v /a /b 1",
            "enter 1 -C / sh",
            "enter 1 @file",
            "run @file sh",
            "run -j 3 x",
            "run --net none --own-cgroup sh",
            "run -m /dev/fd/3 /x sh",
            "run -m /proc/self/fd/3 /x sh",
            "run --map=/dev/stdin /x sh",
            "run --report --no-userns sh",
            "run -e A --no-userns sh",
            "run --env=A --no-userns sh",
            "run --changes -H sh",
        ] {
            let words: Vec<&[u8]> = words.split_whitespace().map(str::as_bytes).collect();
            assert_eq!(parse(&words).map(drop), Err(Unsaid), "{words:?}");
        }
        assert_eq!(request(&[b"run", b"--", b"@file"]).command, [b"@file"]);
        assert!(matches!(parse(&[b"run", b"-HV", b"--nope"]), Ok(Command::Version)));
    }

    #[test]
    fn of_several_values_the_last_counts() {
        for words in [
            "-C /a -C /b",
            "--report a --report b",
            "--seccomp none --seccomp b",
            "--hostname a --hostname b",
        ] {
            let words: Vec<&[u8]> = words.split(' ').chain(["run", "sh"]).map(str::as_bytes).collect();
            let request = request(&words);
            let all = [request.chdir, request.report, request.seccomp, request.hostname];
            let last = all.into_iter().flatten().next().unwrap();
            assert_eq!(last.strip_prefix(b"/").unwrap_or(last), b"b", "{words:?}");
        }
    }

    #[test]
    fn letters_stand_together() {
        let mount = MountRequest::Bind { src: b"/a", dst: b"/b", writable: true };
        let request = request(&[b"-Hv/a", b"/b", b"-nnone", b"run"]);
        assert!(request.here && request.own_network && request.mounts == [mount]);
    }

    #[test]
    fn a_time_has_a_unit_and_a_fraction() {
        let at = |word: &str| duration(word.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(at("1.5"), Some((1, 500_000_000)));
        assert_eq!(at("10m"), Some((600, 0)));
        assert_eq!(at("0.25h"), Some((900, 0)));
        assert_eq!(at("2s"), Some((2, 0)));
        assert_eq!(at(".5"), Some((0, 500_000_000)));
        assert_eq!(at("0.3333333333333333333333333333333333333333"), Some((0, 333_333_333)));
        for bad in
            ["", "-1", "1e3", "x", ".", "1.", "1..2", "1.0000000000x", "99999999999999999999", "400d", "1w"]
        {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_timeout_has_a_time_and_a_grace() {
        let seconds =
            |word: &str| timeout::<Unsaid>(word.as_bytes()).map(|t| (t.time.seconds, t.grace.seconds)).ok();
        assert_eq!(seconds("3"), Some((3, 5)));
        assert_eq!(seconds("3,1m"), Some((3, 60)));
        assert_eq!(seconds("3,0"), Some((3, 0)));
        for bad in ["0", "0.0", "0,1", ",1", "1,", "1,x", "1,-1", "1,2,3"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_pid_stands_before_the_command() {
        for words in [
            &[&b"enter"[..], b"12", b"sh"][..],
            &[b"enter", b"--", b"12", b"sh"],
            &[b"enter", b"12", b"--", b"sh"],
        ] {
            assert!(matches!(parse(words), Ok(Command::Enter(12, r)) if r.command == [b"sh"]));
        }
        assert!(parse(&[b"enter", b"0"]).is_err());
    }

    #[test]
    fn a_limit_has_a_name_and_an_amount() {
        assert_eq!(limit::<Unsaid>(b"as=1G").ok(), Some(("as", Some(1 << 30))));
        assert_eq!(limit::<Unsaid>(b"core=unlimited").ok(), Some(("core", None)));
        for bad in ["as", "as=", "nope=1", "as=x", "as=-1", "cpu=99999999999999999999", "as=99999999T"] {
            assert!(limit::<Unsaid>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_two_options_share_a_name() {
        for (i, a) in SYNTAX.iter().enumerate() {
            for b in &SYNTAX[..i] {
                assert!(a.long != b.long && (a.short == 0 || a.short != b.short) && a.id != b.id);
            }
        }
    }
}
