//! The second program, `selfdock-about`: help, `ps`, `doctor`, `each`, `--explain`, and errors of the command line.
//! None of these needs privilege. Therefore none is in the set-uid program, which hands over to this one
//! ([`crate::handover`]).

pub mod each;
mod doctor;
pub mod explain;
mod help;
pub mod around;
mod data;
mod proxy;
mod fake_root;
pub mod attend;
pub mod group;
mod missing;
mod ps;
pub mod presets;
pub mod front;
pub mod memory;
pub mod network;
pub mod overlay;
mod homes;
pub mod outside;
pub mod profiles;
mod foreign;

use self::around::Surroundings;
use self::attend::{Attendant, Limits};
use self::front::{Around, Line};
use crate::cli::{self, Command};
use crate::containment::Containment;
use crate::creds;
use crate::descriptors::{fill_standard_descriptors, is_placeholder};
use crate::error::{Error, Result, on, say_error};
use crate::files;
use crate::handover::{About, Task};
use crate::options::{BUILD, CHANGES, DOCTOR, EACH, ENTER, HELP, Id, PROFILES, PS, RUN, VERSION, Verb};
use crate::outcome::{self, End};
use crate::sys::{self, Pointers, Start};
use crate::text::c_string;
use alloc::vec::Vec;
use rustix::io::Errno;

/// The start of the program.
pub fn main(start: &Start) -> ! {
    outcome::end(run_command_line(start).unwrap_or_else(|error| End::Exit(error.report())))
}

fn run_command_line(start: &Start) -> Result<End> {
    let mut placeholders = Vec::new();
    fill_standard_descriptors(&mut placeholders)?;
    // Root's own capabilities are given up too, as in the set-uid program, so that all callers see the same.
    let (caller, privilege) = creds::shed()?;
    if let Some(privilege) = privilege {
        privilege.hand_on()?;
    }
    let Some((about, task, words)) = About::take(start, caller) else { return Err(alone()) };
    let words: Vec<&[u8]> = words.iter().map(|word| word.to_bytes()).collect();
    if task == Task::BECOME_ROOT {
        fake_root::become_root(&about, &words)?;
    }
    if task == Task::RELAY_TO_PROXY {
        proxy::become_client(&about, &words)?;
    }
    let line = Line::read(&words, &|name| profiles::read(&about, name))?;
    if task == Task::SAY_WHY_NOT_FOUND {
        return Err(missing::why(&about, &line));
    }
    if line.has(Id::Help) || line.has(Id::Version) {
        let text = help::about(line.name().as_slice())?;
        print(if line.has(Id::Help) { text.as_bytes() } else { cli::VERSION })?;
        return Ok(End::Exit(0));
    }
    let verb = line.verb()?;
    // A request that is understood, and cannot be met, is one that the report tells of.
    let reported = |error| {
        if verb.bit & (RUN | BUILD | ENTER) != 0 && !line.has(Id::Explain) {
            attend::report_no_start(&line, &error);
        }
        error
    };
    line.check_report(&about)?;
    line.check_the_last(&about).map_err(reported)?;
    let line = presets::expanded(line.clone(), &about).map_err(reported)?;
    match verb.bit {
        CHANGES => print(overlay::changes(line.command[0])?.as_bytes())?,
        PS => return ps::print_list(&about, line.has(Id::Json), line.has(Id::Watch)),
        DOCTOR => return doctor::report(&about).map(End::Exit),
        EACH => return each::run(&about, &line, verb),
        HELP => print(help::about(&line.command)?.as_bytes())?,
        PROFILES => {
            let list = profiles::list(&about);
            if list.is_empty() {
                say_error(profiles::none(&about).as_bytes());
            }
            print(list.as_bytes())?;
        }
        VERSION => print(cli::VERSION)?,
        _ => request(&about, &line, verb, &words)?,
    }
    Ok(End::Exit(0))
}

/// Writes text to standard output. It is an error if not all of it could be written.
fn print(text: &[u8]) -> Result<()> {
    let out = sys::standard(1);
    files::write(out, text).map_err(|errno| {
        // A placeholder cannot be written.
        let errno =
            if errno == Errno::INVAL && is_placeholder(out) == Ok(true) { Errno::BADF } else { errno };
        Error::of("write to standard output", errno)
    })
}

/// Does a request that the set-uid program did not understand: explains it, or runs selfdock with plain options.
fn request(about: &About, line: &Line<'_>, verb: &'static Verb, words: &[&[u8]]) -> Result<()> {
    if line.has(Id::Explain) {
        return explain(about, line, verb);
    }
    let mut attendant = None;
    let begun = begin(about, line, verb, &mut attendant);
    let error = begun.map_or_else(|error| error, |plain| become_selfdock(about, &plain, words));
    match attendant {
        Some(attendant) => attendant.give_up(&error),
        None => attend::report_no_start(line, &error),
    }
    Err(error)
}

fn explain(about: &About, line: &Line<'_>, verb: &Verb) -> Result<()> {
    let Command::Run(request) = line.check(verb, about)? else { return Err(alone()) };
    let (plain, around) = line.around()?;
    check_around(about, &plain, &around)?;
    around::foresee(about, &around, &plain)?;
    // It reads the filter, and changes nothing.
    Containment::new(&request)?;
    let rows = explain::rows(about, &request, line.explains_all(), &around, &Limits::of(line)?)?;
    print(explain::text(&rows).as_bytes())
}

/// Refuses `--changes` without a copy, and a copy that cannot be made.
fn check_copies(about: &About, around: &Around<'_>) -> Result<()> {
    if let Some(kept) = around.changes.filter(|_| around.copies.is_empty()) {
        return Err(Error::refused(on("option --changes {}", kept), "there is no --overlay")
            .hint("add --overlay SRC DST"));
    }
    overlay::check(about, &around.copies, around.changes)
}

/// Refuses what can be told from the options around an instance, as also a report in a copy and a descriptor as a
/// volume.
fn check_around(about: &About, plain: &Line<'_>, around: &Around<'_>) -> Result<()> {
    check_copies(about, around)?;
    if around.fake_root && plain.has(Id::NoUserns) {
        let why = "it needs a user namespace, which --no-userns forbids";
        return Err(Error::refused("option --fake-root", why));
    }
    overlay::check_report(about, &around.copies, plain.value(Id::Report))?;
    data::check(plain)
}

/// Makes namespaces, copies, limits and the like. Returns the words for the set-uid program.
fn begin<'a>(
    about: &About,
    line: &Line<'a>,
    verb: &'static Verb,
    attendant: &mut Option<Attendant>,
) -> Result<Vec<&'a [u8]>> {
    let (Command::Run(request) | Command::Enter(_, request)) = line.check(verb, about)? else {
        return Err(alone());
    };
    let limits = Limits::of(line)?;
    let (mut plain, around) = line.around()?;
    check_around(about, &plain, &around)?;
    // Data and report are opened before the copies are made, so that their paths do not lead into a copy.
    let data = data::read(&mut plain, request.timeout)?;
    let stands_in = around.fake_root || around.proxy.is_some();
    if limits.has_any() || (stands_in && line.has(Id::Report)) {
        *attendant = Some(Attendant::new(about, &plain, limits, request.timeout, stands_in)?);
    }
    let unstarted = attendant.as_ref().and_then(Attendant::unstarted);
    Surroundings { about, around: &around, unstarted, plain: &mut plain, data }.make()?;
    if let Some(attendant) = attendant {
        attendant.start(&mut plain)?;
    }
    Ok(plain.words(if around.copies_root { front::by_name(b"build")? } else { verb }))
}

/// Becomes the set-uid program, with signals, descriptors and environment as the caller had them. The set-uid program
/// understands `plain`, and took `words` for another request or for none, so it does not come back here. Returns only
/// on failure.
fn become_selfdock(about: &About, plain: &[&[u8]], words: &[&[u8]]) -> Error {
    let Ok(request) = cli::parse(plain) else { return alone() };
    // `--vol=SRC:DST CMD` is a whole request for the set-uid program, too: CMD is the destination there.
    if cli::parse(words).is_ok_and(|told| alloc::format!("{told:?}") == alloc::format!("{request:?}")) {
        return alone();
    }
    let all = [about.name].into_iter().map(Ok).chain(plain.iter().map(|word| c_string(word)));
    match all.collect::<core::result::Result<Vec<_>, _>>() {
        Err(errno) => Error::of("start", errno),
        Ok(words) => {
            let (argv, envp) = (Pointers::new(&words), Pointers::new(&about.environment));
            let errno = sys::execve(about.program, &argv, &envp);
            Error::of(on("start {}", about.program.to_bytes()), errno)
        }
    }
}

fn alone() -> Error {
    Error::refused("start", "this program is a part of selfdock, which starts it")
        .hint("start 'selfdock' instead")
}
