//! The second program, `selfdock-about`: help, `ps`, `doctor`, `each`, `--explain`, and what is wrong with a command
//! line. None of them takes privilege, so none is in the set-uid program, which hands over to this one.
//!
//! It is started as `selfdock-about MODE SELFDOCK ...`: the mode that `selfdock run` would be
//! in, the path of the set-uid program, and the words that followed its name.

use crate::cli::{self, Command};
use crate::creds::{self, Privilege};
use crate::descriptors::fill_standard_descriptors;
use crate::error::{Error, Result, say};
use crate::front::Line;
use crate::handover::{About, Mode};
use crate::options::{DOCTOR, EACH, Id, PS, Verb};
use crate::sys::{self, Start};
use crate::{doctor, each, explain, help, ps};
use alloc::vec::Vec;

/// Everything from the first instruction in Rust on.
pub fn main(start: &Start) -> ! {
    match go(start) {
        Ok(status) => sys::exit(status),
        Err(error) => sys::exit(error.report()),
    }
}

fn go(start: &Start) -> Result<u8> {
    let mut placeholders = Vec::new();
    fill_standard_descriptors(&mut placeholders)?;
    // What root has by itself is given up too, as the set-uid program does: what is told is
    // then the same for all.
    let (caller, privilege) = creds::shed()?;
    privilege.map_or(Ok(()), Privilege::hand_on)?;
    let args = start.args();
    let [_, mode, program, words @ ..] = &*args else { return Err(alone()) };
    let mode = Mode::of(mode).ok_or_else(alone)?;
    let about = About { caller, mode, program, environment: start.environment() };
    let words: Vec<&[u8]> = words.iter().map(|word| word.to_bytes()).collect();
    let line = Line::read(&words)?;
    if line.has(Id::Help) || line.has(Id::Version) {
        let text = help::text();
        say(sys::standard(1), if line.has(Id::Help) { text.as_bytes() } else { cli::VERSION });
        return Ok(0);
    }
    let verb = line.verb()?;
    match verb.bit {
        PS => say(sys::standard(1), ps::text(&about, line.has(Id::Json))?.as_bytes()),
        DOCTOR => return doctor::report(&about),
        EACH => return each::run(&about, &line, verb),
        _ => request(&about, &line, verb)?,
    }
    Ok(0)
}

/// What the set-uid program did not understand, or what it would do.
fn request(about: &About, line: &Line<'_>, verb: &Verb) -> Result<()> {
    match line.check(verb, about)? {
        Command::Run(request) if line.has(Id::Explain) => {
            say(sys::standard(1), explain::text(about, &request, line.explains_all())?.as_bytes());
            Ok(())
        }
        _ => Err(alone()),
    }
}

fn alone() -> Error {
    Error::refused("start", "selfdock starts this program when it is needed").hint("see 'selfdock --help'")
}
