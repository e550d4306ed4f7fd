//! The command line as users write it: all commands and options of the table, for both programs. Errors of the
//! command line are reported here, since the set-uid program hands over what it does not understand.

use super::profiles::Lines;
use super::{foreign, network::Network, overlay};
use crate::cli::{Command, Request, holds_both, may_be_descriptor, may_have_mode, scaled};
use crate::command::{self, current_directory};
use crate::error::{Error, Quoted, Result, both, on};
use crate::files;
use crate::handover::About;
use crate::host::lies_in;
use crate::options::{
    ALIASES, BUILD, CHANGES, Complete, EACH, ENTER, FRONT_ALIASES, HELP, Id, OPTIONS, Opt, REPEATABLE, RUN,
    VERBS, Verb,
};
use crate::plan::{TWO_MOUNTS, components, is_host};
use crate::text::{Bytes, bound, c_string, join, number};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ffi::CStr;
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

/// A parsed command line.
#[derive(Clone, Debug, Default)]
pub struct Line<'a> {
    verb: Option<&'static Verb>,
    /// The options, in the order in which they stand.
    pub options: Vec<Said<'a>>,
    /// The words that follow the options.
    pub command: Vec<&'a [u8]>,
    /// Whether the last word of the line is the last value of an option, without the option's name.
    last_is_value: bool,
    /// The first option with Docker's form that names no file.
    named_volume: Option<(&'static Opt, &'a [u8])>,
    /// How many files were read, and how many options were in them.
    files: usize,
    of_files: usize,
}

/// An option with its values.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Its entry in the table.
    pub opt: &'static Opt,
    /// Its values; empty if it has none.
    pub values: [&'a [u8]; 2],
    /// Whether it comes from a file, or from a file that the file names: then the command line, or the file itself, can
    /// replace it.
    pub is_of_file: bool,
}

/// What the second program makes around an instance, without privilege.
#[derive(Clone, Debug, Default)]
pub struct Around<'a> {
    /// The directories to copy.
    pub copies: Vec<overlay::Copy<'a>>,
    /// The places of the volumes that show copies of directories, in the line of plain options.
    pub volumes: Vec<usize>,
    /// Whether one of the copies is the image.
    pub copies_root: bool,
    /// The directory that keeps the changes of the copy.
    pub changes: Option<&'a [u8]>,
    /// `--fake-root`
    pub fake_root: bool,
    /// `--net user`
    pub network: Option<Network<'a>>,
    /// The socket of a proxy.
    pub proxy: Option<&'a [u8]>,
    /// Whether the data of a descriptor is shown.
    pub data: bool,
}

impl Around<'_> {
    /// Whether no namespaces are needed.
    pub fn is_nothing(&self) -> bool {
        self.copies.is_empty() && !self.fake_root && self.network.is_none() && !self.data
    }
}

/// The maximum depth of files that include each other.
const MOST_FILES: usize = 16;

bound! {
    /// The most files that are read in all. Each of two files can name the next one twice, and so on.
    MOST_READ = 256,
    TOO_MANY_READ = "more than ", " files are included in all"
}

bound! {
    /// The most options in files. Those of a kind that counts once are compared with each other.
    MOST_OPTIONS = 4096,
    TOO_MANY_OPTIONS = "more than ", " options are in files"
}

impl<'a> Line<'a> {
    /// Parses the words after the program's name. Words after `--help` or `--version` are ignored.
    ///
    /// `files` reads the options of `@FILE`.
    pub fn read(words: &'a [&'a [u8]], files: &dyn Fn(&[u8]) -> Result<Lines>) -> Result<Self> {
        let mut line = Line::default();
        let (mut rest, mut ended) = (words, false);
        while let [word, after @ ..] = rest {
            rest = after;
            match *word {
                b"--" if !ended => ended = true,
                [b'-', _, ..] if !ended && !line.asks_about(word) => {
                    let taken = line.take_options(word, &mut rest);
                    taken.map_err(|error| line.took_otherwise().unwrap_or(error))?;
                }
                [b'@', name @ ..] if !ended && !name.is_empty() => line.take_file(name, files, &[])?,
                // After `--` the word is CMD, not a command of selfdock.
                _ if line.verb.is_none() && !ended => {
                    let is_of_bind = |said: &Said<'_>| matches!(said.opt.id, Id::Bind | Id::BindRo);
                    if word.starts_with(b"/") && line.options.last().is_some_and(is_of_bind) {
                        let what = on("command {}", word);
                        return Err(
                            Error::refused(what, "unknown").hint("for SRC DST use -v SRC DST, or -m SRC DST")
                        );
                    }
                    let verb = by_name(word);
                    line.verb = Some(verb.map_err(|error| line.took_otherwise().unwrap_or(error))?);
                }
                _ => {
                    line.command.push(word);
                    let is_enter = line.verb.is_some_and(|verb| verb.bit == ENTER);
                    if is_enter && line.command.len() == 1 && !ended {
                        // Options may stand between PID and CMD.
                        line.command.push(b"--");
                        continue;
                    }
                    line.command.extend_from_slice(rest);
                    break;
                }
            }
            if line.has(Id::Help) || line.has(Id::Version) {
                break;
            }
        }
        line.settle(0);
        Ok(line)
    }

    /// Whether an option is the word of `help`.
    fn asks_about(&self, option: &[u8]) -> bool {
        let is_general = matches!(option, b"-h" | b"--help" | b"-V" | b"--version");
        self.verb.is_some_and(|verb| verb.bit == HELP) && !is_general
    }

    /// Leaves one value of each option that can have only one. What stands here itself replaces what comes from a file;
    /// otherwise the last one counts.
    ///
    /// `start` is the first option of this place: the command line, or a file.
    fn settle(&mut self, start: usize) {
        let all = self.options.split_off(start);
        for (at, said) in all.iter().enumerate() {
            let is_stronger = |(place, other): (usize, &Said<'_>)| match (other.is_of_file, said.is_of_file) {
                (false, true) => true,
                (true, false) => false,
                _ => place > at,
            };
            let is_replaced = |other: (usize, &Said<'_>)| is_of_one(other.1, said) && is_stronger(other);
            if is_single(said) && all.iter().enumerate().any(is_replaced) {
                continue;
            }
            // A variable that this place sets or removes by name stays so, whatever a file behind it says.
            let mut place = self.options.len();
            if said.is_of_file && changes_environment(said) {
                for (at, before) in self.options.iter().enumerate().skip(start).rev() {
                    match changes_environment(before) {
                        true if before.is_of_file || !names_variable(before) => break,
                        true => place = at,
                        false => {}
                    }
                }
            }
            self.options.insert(place, *said);
        }
    }

    /// Takes the options of a file, and of files that it includes.
    ///
    /// `around` are the files that include this one.
    fn take_file(
        &mut self,
        name: &[u8],
        files: &dyn Fn(&[u8]) -> Result<Lines>,
        around: &[&[u8]],
    ) -> Result<()> {
        let failed = on("read the options in {}", name);
        if around.contains(&name) {
            return Err(Error::refused(failed, "it includes itself"));
        }
        if around.len() == MOST_FILES {
            return Err(Error::refused(failed, "more than 16 files include each other"));
        }
        if self.files == MOST_READ {
            return Err(Error::refused(failed, TOO_MANY_READ));
        }
        self.files += 1;
        let all = [around, &[name]].concat();
        let start = self.options.len();
        for (place, words) in files(name)? {
            let mut rest: &'a [&'a [u8]] = words;
            while let [word, after @ ..] = rest {
                rest = after;
                match *word {
                    [b'-', _, ..] if *word != b"--" => self.take_counted(word, &mut rest, name),
                    [b'@', name @ ..] if !name.is_empty() => self.take_file(name, files, &all),
                    word => Err(Error::refused(on("{}", word), "not an option")),
                }
                .map_err(|error| error.within(on("{}", place)))?;
            }
            self.last_is_value = false;
        }
        self.settle(start);
        self.options[start..].iter_mut().for_each(|said| said.is_of_file = true);
        Ok(())
    }

    /// Takes a word of a file, and counts its options.
    fn take_counted(&mut self, word: &'a [u8], rest: &mut &'a [&'a [u8]], file: &[u8]) -> Result<()> {
        let before = self.options.len();
        self.take_options(word, rest)?;
        self.of_files += self.options.len() - before;
        if self.of_files > MOST_OPTIONS {
            return Err(Error::refused(on("read the options in {}", file), TOO_MANY_OPTIONS));
        }
        Ok(())
    }

    /// Takes a word with options, and their values from the words that follow.
    fn take_options(&mut self, word: &'a [u8], rest: &mut &'a [&'a [u8]]) -> Result<()> {
        if let [b'-', b'-', long @ ..] = word {
            let mut parts = long.splitn(2, |b| *b == b'=');
            let name = parts.next().unwrap_or_default();
            let value = parts.next();
            let opt = by_long(self.name(), name, value.or(rest.first().copied()))?;
            check_tilde(opt, value)?;
            if matches!(opt.id, Id::Vol | Id::Map) && name == opt.long.as_bytes() {
                // Like the set-uid program: after the long name, SRC may have a colon in it.
                let said = match (value, *rest) {
                    (Some(src), [dst, after @ ..]) => Some((src, *dst, after)),
                    (None, [src, dst, after @ ..]) => Some((*src, *dst, after)),
                    _ => None,
                };
                if let Some((src, dst @ [b'/', ..], after)) = said {
                    if value.is_none() {
                        check_value(opt, 0, src)?;
                    }
                    self.options.push(Said { opt, values: [src, dst], is_of_file: false });
                    (*rest, self.last_is_value) = (after, after.is_empty());
                    return Ok(());
                }
            }
            if opt.id == Id::Explain && value == Some(b"all") {
                self.options.push(Said { opt, values: [b"all", b""], is_of_file: false });
                return Ok(());
            }
            if opt.id == Id::Home {
                if value == Some(b"") {
                    let error = Error::refused("option --home", "DIR is empty");
                    return Err(error.hint("write --home for an empty home that is discarded"));
                }
                let dir = value.unwrap_or_else(|| directory_of_home(rest));
                self.options.push(Said { opt, values: [dir, b""], is_of_file: false });
                return Ok(());
            }
            if value.is_some() && opt.values.is_empty() {
                let error = Error::refused(on("option --{=}", opt.long.as_bytes()), "takes no value");
                let is_explain = opt.id == Id::Explain;
                return Err(if is_explain { error.hint("the only one is --explain=all") } else { error });
            }
            return self.take(opt, value, rest);
        }
        let mut letters = &word[1..];
        while let [letter, after @ ..] = letters {
            let next = if after.is_empty() { rest.first().copied() } else { Some(after) };
            let opt = by_short(self.name(), word, *letter, next)?;
            let value = Some(after).filter(|after| !opt.values.is_empty() && !after.is_empty());
            check_tilde(opt, value)?;
            letters = if value.is_some() { b"" } else { after };
            self.take(opt, value, rest)?;
        }
        Ok(())
    }

    fn take(&mut self, opt: &'static Opt, value: Option<&'a [u8]>, rest: &mut &'a [&'a [u8]]) -> Result<()> {
        let mut next =
            |missing: usize| rest.split_off_first().copied().ok_or_else(|| needs_values(opt, missing));
        let mut values: [&[u8]; 2] = [b"", b""];
        if !opt.values.is_empty() {
            values[0] = value.map_or_else(|| next(0), Ok)?;
            if value.is_none() {
                check_value(opt, 0, values[0])?;
            }
            if let Some(said) = Said::of_one_word(opt, values[0])? {
                let src = said.values[0];
                if !src.contains(&b'/') && files::lstat(CWD, src).is_err() {
                    self.named_volume = self.named_volume.or(Some((opt, values[0])));
                }
                self.options.push(said);
                return Ok(());
            }
            if opt.values.len() > 1 && !holds_both(opt.id, values[0]) {
                values[1] = next(1)?;
                check_value(opt, 1, values[1])?;
                self.last_is_value = rest.is_empty();
            } else if opt.values.len() == 1 && value.is_none() {
                self.last_is_value = rest.is_empty();
            }
        }
        self.options.push(Said { opt, values, is_of_file: false });
        Ok(())
    }

    /// A better error for a line that fails: an option took a word as its value that was not meant so.
    fn took_otherwise(&self) -> Option<Error> {
        self.took_from_another().or_else(|| self.took_as_filter()).or_else(|| self.took_as_value())
    }

    /// The error for an option that has another meaning in another program, with a value that only that one takes.
    fn took_from_another(&self) -> Option<Error> {
        let is_batch = self.verb.is_some_and(|verb| verb.bit == EACH);
        self.options.iter().find_map(|said| foreign::of_same_name(said.opt, said.values, is_batch))
    }

    /// The error for a line in which `--seccomp` stands without a value, as firejail has it, and took CMD.
    fn took_as_filter(&self) -> Option<Error> {
        let Said { opt, values: [word, _], .. } = self.options.last()?;
        let is_file = || matches!(*word, b"none" | b"default") || files::lstat(CWD, word).is_ok();
        if opt.id != Id::Seccomp || is_file() {
            return None;
        }
        let what = both("option --{=}: took {} as FILE", opt.long.as_bytes(), word);
        Some(Error::refused(what, "no such file").hint("write --seccomp default CMD"))
    }

    /// The error for a line in which the last option took the command of selfdock as its value: `-e NAME run CMD`, or
    /// `-v run CMD`.
    fn took_as_value(&self) -> Option<Error> {
        let Said { opt, values, .. } = self.options.last()?;
        let (name, [first, second]) = (opt.long.as_bytes(), *values);
        let last = if second.is_empty() { first } else { second };
        let (verb, took) = match (by_name(last), by_name(first)) {
            (Ok(verb), _) if opt.id == Id::Env => (verb, format!("{} as VALUE", Quoted(last))),
            (Ok(verb), _) => (verb, format!("{}", Quoted(last))),
            (_, Ok(verb)) if !second.starts_with(b"/") => {
                (verb, format!("{} and {}", Quoted(first), Quoted(second)))
            }
            _ => return None,
        };
        let what = both("option --{=}: took {=}", name, took.as_bytes());
        let form = [b"write --", name, foreign::values(opt), b" ", verb.name.as_bytes()];
        let hint = if opt.id == Id::Env { foreign::ONE_WORD } else { foreign::hint(&form) };
        Some(Error::refused(what, "no command is left").hint(hint))
    }

    /// Whether `--explain=all` was given.
    pub fn explains_all(&self) -> bool {
        self.all(Id::Explain).any(|said| said.values[0] == b"all")
    }

    /// Whether the root filesystem is the host image.
    pub fn is_of_host(&self) -> bool {
        let mut roots = self.all(Id::Root).map(|said| said.values[0]);
        match (roots.next(), roots.next()) {
            (root, None) => root.is_none_or(is_host),
            _ => false,
        }
    }

    /// Whether an option was given.
    pub fn has(&self, id: Id) -> bool {
        self.options.iter().any(|said| said.opt.id == id)
    }

    /// Whether the caller mounts or hides something on this path, or on a directory above it.
    pub fn covers(&self, place: &[u8]) -> bool {
        self.options.iter().any(|said| match said.opt.id {
            Id::Vol | Id::Map | Id::Tmpfs => is_in_place(place, said.values[1]),
            Id::Mask | Id::MaskIfExists => is_in_place(place, said.values[0]),
            Id::Here => current_directory().is_some_and(|dir| is_in_place(place, dir)),
            _ => false,
        })
    }

    /// Whether the caller mounts or hides something on this very path.
    pub fn takes(&self, place: &[u8]) -> bool {
        self.options.iter().any(|said| match said.opt.id {
            Id::Vol | Id::Map | Id::Tmpfs => is_same_place(place, said.values[1]),
            Id::Mask | Id::MaskIfExists => is_same_place(place, said.values[0]),
            _ => false,
        })
    }

    /// The option that puts something else in the place of a file, if one does. Of several the deepest counts.
    pub fn hides(&self, file: &[u8]) -> Option<&Said<'a>> {
        let place = |said: &Said<'a>| match said.opt.id {
            Id::Vol | Id::Map | Id::Tmpfs => Some(said.values[1]),
            Id::Mask | Id::MaskIfExists => Some(said.values[0]),
            _ => None,
        };
        let is_over = |place| {
            is_in_place(file, place)
                || overlay::real_path(place).is_some_and(|place| is_in_place(file, place))
        };
        let over = self.options.iter().filter(|said| place(said).is_some_and(is_over));
        over.max_by_key(|said| place(said).map_or(0, |place| components(place).count()))
    }

    /// The name of the command, if it was given.
    pub fn name(&self) -> Option<&[u8]> {
        self.verb.map(|verb| verb.name.as_bytes())
    }

    /// The command. It is an error if the command does not take all options.
    pub fn verb(&self) -> Result<&'static Verb> {
        let Some(verb) = self.verb else {
            return Err(self.took_otherwise().unwrap_or_else(|| self.lacks_verb()));
        };
        if let Some(said) = self.options.iter().find(|said| !has_option(verb, said.opt)) {
            return Err(belongs_to_another(verb, said.opt));
        }
        if !self.command.is_empty() && verb.usage.find("CMD").is_none() && verb.bit & (HELP | CHANGES) == 0 {
            return Err(Error::refused(on("{=}", verb.name.as_bytes()), "takes no arguments"));
        }
        if verb.bit == CHANGES && self.command.len() != 1 {
            return Err(
                Error::refused("changes", "needs one DIR").hint("the directory that --changes DIR made")
            );
        }
        if verb.bit == HELP && self.command.len() > 1 {
            return Err(Error::refused("help", "takes at most one command"));
        }
        Ok(verb)
    }

    /// The error for a line without a command of selfdock.
    fn lacks_verb(&self) -> Error {
        let [word, rest @ ..] = &*self.command else {
            return Error::plain("no command given; try 'selfdock run sh', or 'selfdock --help'");
        };
        let (verb, cmd) = match by_name(word) {
            Ok(verb) => (verb.name, rest.first().copied().unwrap_or(b"CMD")),
            Err(_) => ("run", *word),
        };
        let cmd = foreign::typed(cmd);
        let form = [b"write selfdock ", verb.as_bytes(), b" -- ", cmd.as_bytes()];
        Error::plain(on("no command given: {} stands after --", word)).hint(foreign::hint(&form))
    }

    /// The line in plain options, and what the second program makes around the instance. A copy of a directory becomes
    /// a volume. A copy of the image becomes the root filesystem of a `build`.
    pub fn around(&self) -> Result<(Line<'a>, Around<'a>)> {
        let mut around = Around {
            changes: self.value(Id::Changes),
            fake_root: self.has(Id::FakeRoot),
            proxy: self.value(Id::Proxy),
            data: self.all(Id::Map).any(|map| may_be_descriptor(map.values[0])),
            ..Around::default()
        };
        let mut options = Vec::new();
        for [src, dst] in self.all(Id::Overlay).map(|said| said.values) {
            self.check_alone(dst)?;
            around.copies.push(self.copy(src, dst)?);
            if !is_same_place(dst, b"/") {
                continue;
            }
            if core::mem::replace(&mut around.copies_root, true) {
                return Err(Error::refused(on("option --overlay {} /", src), "given twice"));
            }
            if !self.has(Id::Root) {
                options.extend(Said::new(Id::Root, [src, b""]));
            }
        }
        if let Some(network) = self.all(Id::Net).next_back().and_then(|net| Network::parse(net.values[0])) {
            around.network = Some(network?);
        }
        for said in &self.options {
            let Some(plain) = self.plain(said, &around) else { continue };
            if said.opt.id == Id::Overlay {
                around.volumes.push(options.len());
            }
            options.push(plain);
        }
        Ok((Line { options, command: self.command.clone(), ..*self }, around))
    }

    /// Refuses another mount in the place of a copy. The set-uid program could not tell a volume from the copy.
    fn check_alone(&self, place: &[u8]) -> Result<()> {
        let is_again = |said: &&Said<'_>| match said.opt.id {
            Id::Vol | Id::Map | Id::Overlay => is_same_place(said.values[1], place),
            Id::Here => current_directory().is_some_and(|dir| is_same_place(dir, place)),
            _ => false,
        };
        if is_same_place(place, b"/") || self.options.iter().filter(is_again).count() <= 1 {
            return Ok(());
        }
        let place = components(place).fold(&b""[..], |path, name| join(&[path, b"/", name]));
        Err(Error::refused(on("mount on {}", place), TWO_MOUNTS))
    }

    /// The copy that `--overlay SRC DST` makes.
    fn copy(&self, src: &'a [u8], dst: &[u8]) -> Result<overlay::Copy<'a>> {
        let mut room = None;
        for [options, place] in self.all(Id::Tmpfs).map(|said| said.values) {
            if !is_same_place(place, dst) {
                continue;
            }
            let wanted = overlay::room(options)?;
            if room.replace(wanted).is_some_and(|other| other != wanted) {
                return Err(Error::refused(on("mount on {}", place), TWO_MOUNTS));
            }
            if self.has(Id::Changes) {
                let what = both("option --tmpfs {} {}", options, place);
                return Err(Error::refused(what, "--changes keeps the changes of the copy, and no tmpfs")
                    .hint("leave out one of the two options"));
            }
        }
        let room = room.unwrap_or(overlay::ROOM);
        let source = if is_same_place(dst, b"/") { self.image(src)? } else { overlay::Source::Dir(src) };
        Ok(overlay::Copy { source, room })
    }

    /// What the set-uid program gets of an option, if these things are made around the instance.
    fn plain(&self, said: &Said<'a>, around: &Around<'_>) -> Option<Said<'a>> {
        let is_root = rustix::process::getuid().is_root();
        let is_room = |place| self.all(Id::Overlay).any(|copy| is_same_place(copy.values[1], place));
        match said.opt.id {
            Id::Overlay if is_same_place(said.values[1], b"/") => None,
            Id::Overlay => Said::new(Id::Vol, said.values),
            Id::Tmpfs if is_room(said.values[1]) => None,
            Id::Changes | Id::FakeRoot | Id::Proxy | Id::OutputLimit | Id::Memory | Id::Pids | Id::Cpus => {
                None
            }
            Id::Net if around.network.is_some() || Network::parse(said.values[0]).is_some() => None,
            // selfdock is started in a user namespace already, so it needs no privilege. With --fake-root and for root
            // as the caller, it could not map the caller's ids a second time.
            // Nor could an instance be entered whose network belongs to another user namespace than its mounts.
            Id::Unprivileged
                if around.fake_root || around.network.is_some() || (is_root && !around.is_nothing()) =>
            {
                None
            }
            _ => Some(*said),
        }
    }

    /// What a copy of the image is of.
    fn image(&self, src: &'a [u8]) -> Result<overlay::Source<'a>> {
        let roots: Vec<&[u8]> = self.all(Id::Root).map(|said| said.values[0]).collect();
        match (is_same_place(src, b"/"), &*roots) {
            (true, []) => Ok(overlay::Source::Host),
            (true, [root]) if is_same_place(root, b"/") => Ok(overlay::Source::Host),
            (true, _) => Ok(overlay::Source::Roots(roots)),
            (false, []) => Ok(overlay::Source::Roots(Vec::from([src]))),
            (false, _) => Err(Error::refused(on("option --overlay {} /", src), "--root names another image")
                .hint("-o / / copies what --root names")),
        }
    }

    /// All options of one kind.
    fn all(&self, id: Id) -> impl DoubleEndedIterator<Item = &Said<'a>> {
        self.options.iter().filter(move |said| said.opt.id == id)
    }

    /// The first value of an option, which is the only one if only one counts.
    pub fn value(&self, id: Id) -> Option<&'a [u8]> {
        self.all(id).next().map(|said| said.values[0])
    }

    /// The words for the set-uid program.
    pub fn words(&self, verb: &Verb) -> Vec<&'a [u8]> {
        let mut all: Vec<&[u8]> = self.options.iter().flat_map(Said::words).collect();
        all.push(verb.name.as_bytes());
        let (pid, mut command) = self.command.split_at(usize::from(verb.bit == ENTER));
        all.extend(pid);
        if !pid.is_empty() && command.first() == Some(&&b"--"[..]) {
            command = &command[1..];
        }
        if !command.is_empty() {
            all.push(b"--");
            all.extend(command);
        }
        all
    }

    /// Refuses a report in the place of a program, which was probably meant as CMD. Unlike other refusals this one must
    /// not be reported: the report would replace the program.
    pub fn check_report(&self, about: &About) -> Result<()> {
        match self.options.last() {
            Some(Said { opt, values: [file, _], is_of_file: false })
                if opt.id == Id::Report
                    && self.command.is_empty()
                    && self.last_is_value
                    && !may_be_descriptor(file)
                    && number(file, 10).is_none()
                    && (is_program(file) || self.is_program_for_file(about, opt, file)) =>
            {
                Err(took_as_value(opt, file))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a line in which CMD was probably taken as a value of an option, or a value as CMD. Otherwise a shell
    /// would start instead of CMD.
    pub fn check_the_last(&self, about: &About) -> Result<()> {
        if let Some((opt, word)) = self.named_volume {
            let what = both("option --{=} {}", opt.long.as_bytes(), word);
            return Err(Error::refused(what, "selfdock has no named volumes")
                .hint("SRC must be a file or a directory"));
        }
        if let Some(error) = self.took_from_another() {
            return Err(error);
        }
        self.check_destinations(about)?;
        match self.options.last() {
            Some(Said { opt, values: [_, last], .. })
                if opt.id == Id::Env && self.last_is_value && program(about, last).is_some() =>
            {
                let what = both("option --{=}: took {} as VALUE", opt.long.as_bytes(), last);
                Err(Error::refused(what, "no CMD is left").hint(foreign::ONE_WORD))
            }
            Some(Said { opt, values: [name, _], .. })
                if matches!(opt.id, Id::Pass | Id::UnsetEnv)
                    && self.command.is_empty()
                    && command::variable(&about.environment, name).is_none()
                    && program(about, name).is_some() =>
            {
                let what = both("option --{=}: took {} as NAME", opt.long.as_bytes(), name);
                let form = [b"write --", opt.long.as_bytes(), foreign::values(opt), b" CMD"];
                Err(Error::refused(what, "no CMD is left").hint(foreign::hint(&form)))
            }
            Some(Said { opt, values: [file, _], is_of_file: false })
                if self.command.is_empty()
                    && opt.id != Id::Report
                    && self.is_program_for_file(about, opt, file) =>
            {
                Err(took_as_value(opt, file))
            }
            Some(Said { opt, .. }) if matches!(opt.id, Id::Bind | Id::BindRo) => {
                let refuse = |what| {
                    Err(Error::refused(what, "the option takes one PATH")
                        .hint("for SRC DST use -v SRC DST, or -m SRC DST"))
                };
                let name = opt.long.as_bytes();
                match self.command.first().filter(|word| word.starts_with(b"/")) {
                    Some(dir) if c_string(dir).is_ok_and(is_directory) => {
                        refuse(both("option --{=}: {} is a directory, not CMD", name, dir))
                    }
                    Some(file) if self.is_nowhere(file) => {
                        refuse(both("option --{=}: {} does not exist, and is not CMD", name, file))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Whether an option took the name of a program, which was probably meant as CMD, for a file: there is none of this
    /// name.
    fn is_program_for_file(&self, about: &About, opt: &Opt, value: &[u8]) -> bool {
        let takes_file = matches!(opt.values, [(_, Complete::File | Complete::Directory)]);
        let has_command = self.verb.is_some_and(|verb| verb.bit & (RUN | BUILD | ENTER) != 0);
        takes_file
            && has_command
            && !value.contains(&b'/')
            && files::lstat(CWD, value).is_err()
            && program(about, value).is_some()
    }

    /// Refuses a DST that is an option or a program.
    fn check_destinations(&self, about: &About) -> Result<()> {
        for Said { opt, values: [src, dst], .. } in &self.options {
            let has_dst = matches!(opt.id, Id::Vol | Id::Map | Id::Tmpfs | Id::Overlay);
            if has_dst && opt.id != Id::Tmpfs && src != dst {
                check_mode(opt, src, dst)?;
            }
            if has_dst && matches!(dst, [b'-' | b'@', ..]) {
                let what = both("option --{=}: took {} as DST", opt.long.as_bytes(), dst);
                let form = [b"write --", opt.long.as_bytes(), foreign::values(opt)];
                return Err(Error::refused(what, "not an absolute path").hint(foreign::hint(&form)));
            }
            if has_dst && !dst.starts_with(b"/") && program(about, dst).is_some() {
                let what = both("option --{=}: took {} as DST", opt.long.as_bytes(), dst);
                if opt.id == Id::Map && scaled(src).is_some() && files::lstat(CWD, src).is_err() {
                    let form = [b"for a limit of memory write --memory ", *src];
                    return Err(Error::refused(what, "not an absolute path").hint(foreign::hint(&form)));
                }
                let form = [b"write --", opt.long.as_bytes(), foreign::values(opt), b" CMD"];
                return Err(Error::refused(what, "not an absolute path").hint(foreign::hint(&form)));
            }
        }
        Ok(())
    }

    /// Whether there is no such file outside, and nothing that the caller mounts can have it.
    fn is_nowhere(&self, path: &[u8]) -> bool {
        let is_image = self.has(Id::Root) || self.covers(b"/");
        let is_shown = |said: &Said<'_>| {
            let dst =
                if matches!(said.opt.id, Id::Bind | Id::BindRo) { said.values[0] } else { said.values[1] };
            !dst.is_empty() && lies_in(path, dst)
        };
        !is_image && files::lstat(CWD, path).err() == Some(Errno::NOENT) && !self.options.iter().any(is_shown)
    }

    /// The request for the set-uid program, after all checks.
    pub fn check(&self, verb: &Verb, about: &About) -> Result<Command<'a>> {
        let command = self.request(verb)?;
        match &command {
            Command::Run(request) => {
                let cwd = command::current_directory();
                command::check::<Error>(request, &about.environment, cwd).map(drop)?;
            }
            Command::Enter(_, request) => {
                command::Command::check::<Error>(request, &about.environment, None).map(drop)?;
            }
            Command::Version => {}
        }
        Ok(command)
    }

    /// The request for the set-uid program, without the checks of the environment.
    pub fn request(&self, verb: &Verb) -> Result<Command<'a>> {
        let mut request = Request { command: self.command.clone(), ..Request::default() };
        let (plain, around) = self.around()?;
        for said in &plain.options {
            let [first, second] = said.plain_values();
            request.add::<Error>(said.opt.id, said.opt.long, first, second)?;
        }
        request.of(if around.copies_root { BUILD } else { verb.bit })
    }
}

impl<'a> Said<'a> {
    /// An option with its values.
    pub fn new(id: Id, values: [&'a [u8]; 2]) -> Option<Self> {
        OPTIONS.iter().find(|opt| opt.id == id).map(|opt| Said { opt, values, is_of_file: false })
    }

    /// Parses `-v SRC:DST[:ro]`, Docker's form, unless a file has this name. `-m` and `-o` have the same form.
    fn of_one_word(opt: &'static Opt, word: &'a [u8]) -> Result<Option<Self>> {
        let Some(at) = word.windows(2).position(|two| two == b":/") else { return Ok(None) };
        if !matches!(opt.id, Id::Vol | Id::Map | Id::Overlay) || files::lstat(CWD, word).is_ok() {
            return Ok(None);
        }
        let mut rest = word[at + 1..].splitn(2, |b| *b == b':');
        let (src, dst) = (&word[..at], rest.next().unwrap_or_default());
        let mut id = opt.id;
        for mode in rest.next().unwrap_or(b"rw").split(|b| *b == b',') {
            match mode {
                b"ro" if id == Id::Overlay => {
                    let what = both("option --{=} {}", opt.long.as_bytes(), word);
                    return Err(Error::refused(what, "a copy is writable").hint("-m SRC DST is read-only"));
                }
                b"ro" => id = Id::Map,
                b"rw" | b"z" | b"Z" | b"cached" | b"consistent" | b"delegated" => {}
                _ => {
                    let what = both("option --{=} {}", opt.long.as_bytes(), word);
                    return Err(Error::refused(what, "neither SRC:DST nor SRC:DST:ro"));
                }
            }
        }
        Ok(Said::new(id, [src, dst]))
    }

    /// The values for the set-uid program: a DST that could end in a mode gets a slash.
    fn plain_values(&self) -> [&'a [u8]; 2] {
        let [first, second] = self.values;
        let is_odd = matches!(self.opt.id, Id::Vol | Id::Map) && may_have_mode(second);
        [first, if is_odd { join(&[second, b"/"]) } else { second }]
    }

    /// The option as words for the set-uid program, in a form with only one meaning.
    pub fn words(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (mut values, mut said) = (self.opt.values.len(), Said { values: self.plain_values(), ..*self });
        if self.opt.id == Id::Env {
            values = 1;
            if !holds_both(Id::Env, self.values[0]) {
                said.values[0] = join(&[self.values[0], b"=", self.values[1]]);
            }
        }
        let (name, [first, _]) = (self.opt.long.as_bytes(), said.values);
        // The set-uid program takes it for an option in a word of its own.
        let is_joined = values > 0 && matches!(first, [b'-', _, ..]);
        let option = if is_joined { join(&[b"--", name, b"=", first]) } else { join(&[b"--", name]) };
        [option].into_iter().chain(said.values.into_iter().take(values).skip(usize::from(is_joined)))
    }
}

/// Whether only one option of this kind counts.
fn is_single(said: &Said<'_>) -> bool {
    match said.opt.id {
        Id::Home | Id::Rlimit => true,
        id => !said.opt.values.is_empty() && !REPEATABLE.contains(&id),
    }
}

/// Whether two options are of one kind; if they set a limit, of the same one.
fn is_of_one(other: &Said<'_>, said: &Said<'_>) -> bool {
    let is_limit = said.opt.id == Id::Rlimit;
    other.opt.id == said.opt.id && (!is_limit || is_of_one_limit(other.values[0], said.values[0]))
}

fn is_of_one_limit(one: &[u8], other: &[u8]) -> bool {
    one.split(|b| *b == b'=').next() == other.split(|b| *b == b'=').next()
}

fn changes_environment(said: &Said<'_>) -> bool {
    matches!(said.opt.id, Id::Env | Id::UnsetEnv | Id::ClearEnv | Id::NoSecrets)
}

/// Whether an option for the environment sets or removes one variable, by its name.
fn names_variable(said: &Said<'_>) -> bool {
    said.opt.id == Id::Env || (said.opt.id == Id::UnsetEnv && !is_pattern(said.values[0]))
}

/// Whether a name is a pattern for names of variables.
pub fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|b| matches!(b, b'*' | b'?'))
}

/// Whether a command takes an option. `each` also takes those of `run`.
pub fn has_option(verb: &Verb, opt: &Opt) -> bool {
    let of_run = verb.bit == EACH && opt.verbs & RUN != 0 && opt.id != Id::Explain;
    opt.verbs == 0 || of_run || opt.verbs & verb.bit != 0
}

/// The error for an option that a command does not take.
fn belongs_to_another(verb: &Verb, opt: &Opt) -> Error {
    let name = verb.name.as_bytes();
    let owner = VERBS.iter().find(|owner| owner.bit == opt.verbs).map(|owner| owner.name.as_bytes());
    let hint = match owner {
        _ if verb.bit == EACH && opt.id == Id::Explain => "use --explain with run",
        Some(owner) => foreign::hint(&[b"it belongs to '", owner, b"'"]),
        None => foreign::hint(&[b"see 'selfdock help ", name, b"'"]),
    };
    Error::refused(on("option --{=}", opt.long.as_bytes()), "not for this command").hint(hint)
}

/// Refuses `-v SRC DST:ro`, which Docker's users expect to be read-only.
fn check_mode(opt: &Opt, src: &[u8], dst: &[u8]) -> Result<()> {
    let Some(place) = without_read_only(dst) else { return Ok(()) };
    let what = both("option --{=}: took {} as DST", opt.long.as_bytes(), dst);
    let [from, to] = [src, place].map(foreign::typed);
    let form = [b"for read-only write -m ", from.as_bytes(), b" ", to.as_bytes()];
    Err(Error::refused(what, "a mode stands only in the form SRC:DST:ro").hint(foreign::hint(&form)))
}

/// The part of a destination before a mode of Docker's that includes `ro`. `None` if it has no such mode.
fn without_read_only(dst: &[u8]) -> Option<&[u8]> {
    let at = dst.iter().rposition(|b| *b == b':')?;
    dst[at + 1..].split(|b| *b == b',').any(|word| word == b"ro").then_some(&dst[..at])
}

/// Whether two absolute paths are the same, as they are written.
fn is_same_place(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(b"/") && other.starts_with(b"/") && components(one).eq(components(other))
}

/// Whether an absolute path equals another or lies in it, as they are written.
fn is_in_place(path: &[u8], dir: &[u8]) -> bool {
    let mut path = components(path);
    dir.starts_with(b"/") && components(dir).all(|name| path.next() == Some(name))
}

/// Takes a directory that follows `--home`. It cannot be CMD, since a directory cannot be executed.
fn directory_of_home<'a>(rest: &mut &'a [&'a [u8]]) -> &'a [u8] {
    let Some(word) = rest.first().filter(|word| word.contains(&b'/')) else { return b"" };
    if !c_string(word).is_ok_and(is_directory) {
        return b"";
    }
    *rest = &rest[1..];
    word
}

fn is_directory(path: &CStr) -> bool {
    rustix::fs::stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Finds a command by its name.
pub fn by_name(word: &[u8]) -> Result<&'static Verb> {
    VERBS.iter().find(|verb| verb.name.as_bytes() == word).ok_or_else(|| foreign::unknown_command(word))
}

/// Finds an option by its name, with its dashes or without.
pub fn option_by_name(word: &[u8]) -> Result<&'static Opt> {
    match word {
        [b'-', b'-', name @ ..] => by_long(None, name, None),
        [b'-', letter, ..] => by_short(None, word, *letter, None),
        name => by_long(None, name, None),
    }
}

/// Finds an option. `verb` is the command, and `value` is what could be its value, for the error.
fn by_short(verb: Option<&[u8]>, word: &[u8], c: u8, value: Option<&[u8]>) -> Result<&'static Opt> {
    let found = OPTIONS.iter().find(|opt| opt.short.is_some_and(|short| short as u32 == u32::from(c)));
    found.ok_or_else(|| foreign::unknown_option(verb, word, &[b'-', c], value))
}

fn by_long(verb: Option<&[u8]>, name: &[u8], value: Option<&[u8]>) -> Result<&'static Opt> {
    let alias =
        ALIASES.iter().chain(FRONT_ALIASES).find(|(word, _)| word.as_bytes() == name).map(|(_, id)| *id);
    let found = OPTIONS.iter().find(|opt| opt.long.as_bytes() == name || alias == Some(opt.id));
    found.ok_or_else(|| foreign::unknown_option(verb, b"", join(&[b"--", name]), value))
}

/// Refuses `--home=~/x`: a shell replaces `~` only at the start of a word, and hands this on as it is.
fn check_tilde(opt: &Opt, value: Option<&[u8]>) -> Result<()> {
    let is_path = |(_, complete): &(&str, Complete)| matches!(complete, Complete::File | Complete::Directory);
    let takes_path = opt.id == Id::Home || opt.values.first().is_some_and(is_path);
    let Some(value @ [b'~', rest @ ..]) = value.filter(|_| takes_path) else { return Ok(()) };
    // A file in the current directory can have this name.
    if !matches!(rest, [] | [b'/', ..]) || files::lstat(CWD, b"~").is_ok() {
        return Ok(());
    }
    let what = both("option --{=} {}", opt.long.as_bytes(), value);
    let rest = if rest.is_empty() { String::new() } else { foreign::typed(rest) };
    let form = [b"write --", opt.long.as_bytes(), b"=\"$HOME\"", rest.as_bytes()];
    Err(Error::refused(what, "the shell replaces ~ only at the start of a word").hint(foreign::hint(&form)))
}

/// The error for an option without all its values.
fn needs_values(opt: &Opt, missing: usize) -> Error {
    let error = Error::plain(both("option --{=}: needs{=}", opt.long.as_bytes(), foreign::values(opt)));
    match opt.values.get(missing) {
        Some((name, _)) if missing > 0 => error.hint(foreign::hint(&[name.as_bytes(), b" is missing"])),
        _ => error,
    }
}

/// Refuses an option as a value in a word of its own: the value was forgotten, and that option would be lost without a
/// word. What is not absolute is no DST, and is refused as such.
fn check_value(opt: &Opt, which: usize, word: &[u8]) -> Result<()> {
    let (name, value) = (opt.long.as_bytes(), opt.values[which].0);
    let is_option = match word {
        [b'-', b'-', long @ ..] => {
            let long = long.split(|b| *b == b'=').next();
            let aliases = ALIASES.iter().chain(FRONT_ALIASES).map(|(alias, _)| *alias);
            OPTIONS.iter().map(|other| other.long).chain(aliases).any(|other| Some(other.as_bytes()) == long)
        }
        [b'-', letter, ..] => {
            which == 0 && OPTIONS.iter().any(|other| other.short == Some(char::from(*letter)))
        }
        _ => false,
    };
    if !is_option || value == "DST" {
        return Ok(());
    }
    let what = both("option --{=}: took {}", name, word);
    let why = Error::refused(what, "it is an option");
    let form = if which > 0 {
        foreign::ONE_WORD.as_bytes().to_vec()
    } else {
        [b"write --", name, b"=", foreign::typed(word).as_bytes()].concat()
    };
    Err(why.hint(foreign::hint(&[value.as_bytes(), b" is missing; if it is meant so, ", &form])))
}

/// The error if an option took CMD for its value.
fn took_as_value(opt: &Opt, file: &[u8]) -> Error {
    let name = opt.long.as_bytes();
    let what = both("option --{=}: took {} as its value", name, file);
    let path = foreign::typed(join(&[b"./", file]));
    let mut form = alloc::vec![b"write --", name, foreign::values(opt), b" CMD"];
    if files::lstat(CWD, file).is_err() {
        form.extend([b", or ", path.as_bytes(), b" for a file of this name"]);
    }
    Error::refused(what, "no CMD is left").hint(foreign::hint(&form))
}

/// Finds a program in the caller's `PATH`, as the caller.
pub fn program(about: &About, name: &[u8]) -> Option<Bytes> {
    program_in(&about.environment, name)
}

/// Finds a program in the `PATH` of this environment, as the caller.
pub fn program_in(environment: &[&CStr], name: &[u8]) -> Option<Bytes> {
    let path = command::variable(environment, b"PATH").unwrap_or(command::DEFAULT_PATH);
    let file = |dir: &[u8]| join(&[if dir.is_empty() { b"." } else { dir }, b"/", name]);
    path.split(|b| *b == b':').map(file).find(|file| is_program(file))
}

/// Whether the caller can execute a file.
pub fn is_program(path: &[u8]) -> bool {
    c_string(path).is_ok_and(|path| {
        rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::empty()).is_ok()
            && rustix::fs::stat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::options::{Class, SYNTAX, WORDS};

    /// A reader of files that finds none.
    fn none(name: &[u8]) -> Result<Lines> {
        Err(Error::refused(on("profile {}", name), "no such profile"))
    }

    fn refusal(words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let read = Line::read(&words, &none)
            .and_then(|line| line.verb().and_then(|verb| line.request(verb)).map(drop));
        format!("{}", read.expect_err("accepted"))
    }

    #[test]
    fn errors_name_what_is_wrong() {
        assert!(refusal(&["sh"]).contains("selfdock run sh"));
        assert!(refusal(&[]).contains("selfdock run sh"));
        assert!(refusal(&["run", "--nope"]).contains("option --nope: unknown"));
        assert!(refusal(&["run", "-v", "/a"]).contains("SRC DST"));
        assert!(refusal(&["run", "--here=x"]).contains("takes no value"));
        assert!(refusal(&["run", "-e", "=x"]).contains("not a name"));
        assert!(refusal(&["run", "--keep-fd", "4294967297"]).contains("number"));
        assert!(refusal(&["run", "-n", "some"]).contains("not 'none'"));
        assert!(refusal(&["--", "run"]).contains("no command"));
        assert!(refusal(&["enter"]).contains("no PID"));
        assert!(refusal(&["enter", "-v", "/a", "/b", "1"]).contains("not for this command"));
        assert!(refusal(&["ps", "x"]).contains("takes no arguments"));
    }

    #[test]
    fn a_mode_that_includes_ro_is_recognized_at_the_end() {
        for (dst, place) in [
            ("/a:ro", Some("/a")),
            ("/a:b:ro", Some("/a:b")),
            ("/a:z,ro", Some("/a")),
            ("/a:ro,Z", Some("/a")),
            ("/a:rom", None),
            ("/a:b,rw", None),
            ("/a,ro", None),
            ("/a:ro/b", None),
            ("/a:ro/", None),
        ] {
            assert_eq!(without_read_only(dst.as_bytes()), place.map(str::as_bytes), "{dst}");
        }
    }

    #[test]
    fn a_destination_with_a_colon_comes_back_to_the_set_uid_program() {
        let words = Said::new(Id::Vol, [b"/a", b"/b:c"]).unwrap().words().chain([&b"run"[..]]);
        let words: Vec<&[u8]> = words.collect();
        assert_eq!(words, [&b"--vol"[..], b"/a", b"/b:c/", b"run"]);
        assert!(cli::parse(&words).is_ok() && cli::parse(&[b"-v", b"/a", b"/b:c", b"run"]).is_err());
    }

    #[test]
    fn a_pid_does_not_wrap_around() {
        for bad in ["0", "-1", "4294967297", "2147483648", "x", "", "1 "] {
            assert!(refusal(&["enter", "--", bad]).contains("not a PID"), "{bad}");
        }
    }

    #[test]
    fn options_of_enter_stand_before_and_after_the_pid() {
        for words in [
            &[&b"enter"[..], b"-C", b"/", b"12", b"ls", b"-x"][..],
            &[b"enter", b"12", b"-C", b"/", b"ls", b"-x"],
            &[b"enter", b"12", b"-C", b"/", b"--", b"ls", b"-x"],
        ] {
            let line = Line::read(words, &none).unwrap();
            let Ok(Command::Enter(12, request)) = line.request(line.verb().unwrap()) else { panic!() };
            assert_eq!((request.chdir, &request.command[..]), (Some(&b"/"[..]), &[&b"ls"[..], b"-x"][..]));
        }
    }

    #[test]
    fn a_file_holds_options_and_other_files() {
        let files = |name: &[u8]| {
            let line = |words: &'static [&'static [u8]]| (&b"here:1"[..], words);
            Ok(match name {
                b"a" => alloc::vec![line(&[b"-C", b"/x"]), line(&[b"@b", b"-H"])],
                b"b" => alloc::vec![line(&[b"--net=none"])],
                b"loop" => alloc::vec![line(&[b"@loop"])],
                b"word" => alloc::vec![line(&[b"-H", b"sh"])],
                b"half" => alloc::vec![line(&[b"-v", b"/x"]), line(&[b"/y"])],
                _ => return none(name),
            })
        };
        let line = Line::read(&[b"@a", b"run", b"@b", b"--", b"@c"], &files).unwrap();
        let said: Vec<&str> = line.options.iter().map(|said| said.opt.long).collect();
        assert_eq!((&said[..], &line.command[..]), (&["chdir", "here", "net"][..], &[&b"@c"[..]][..]));
        let refusal =
            |word: &str| format!("{}", Line::read(&[word.as_bytes()], &files).expect_err("accepted"));
        assert_eq!(refusal("@loop"), "'here:1': read the options in 'loop': it includes itself");
        assert!(refusal("@word").contains("'here:1': 'sh': not an option"));
        assert!(refusal("@half").contains("'here:1': option --vol: needs SRC DST"));
        assert!(refusal("@none").contains("no such profile"));
    }

    #[test]
    fn the_set_uid_program_knows_the_plain_options_and_no_others() {
        for opt in OPTIONS {
            assert_eq!(SYNTAX.iter().any(|s| s.id == opt.id), opt.class == Class::Plain, "--{}", opt.long);
        }
        for verb in VERBS {
            assert_eq!(WORDS.iter().any(|(name, _)| *name == verb.name), verb.class == Class::Plain);
        }
    }

    /// C7: unprivileged features in the set-uid program. It tries all lines of three and four of these words.
    #[test]
    fn both_programs_parse_a_plain_line_alike() {
        const SOME: &[&[u8]] = &[
            b"run",
            b"enter",
            b"12",
            b"-",
            b"--",
            b"-H",
            b"-vH",
            b"-Hv",
            b"-ea=b",
            b"--env=a",
            b"--here",
            b"--net=none",
            b"--here=",
            b"--",
            b"@f",
            b"-V",
            b"--own-cgroup",
        ];
        let mut understood = 0;
        for number in 0..SOME.len().pow(4) {
            let words: Vec<&[u8]> =
                (0..4).map(|place| SOME[number / SOME.len().pow(place) % SOME.len()]).collect();
            for words in [&words[..], &words[..3]] {
                let Ok(plain) = cli::parse(words) else { continue };
                let line = Line::read(words, &none).unwrap();
                understood += 1;
                if line.has(Id::Version) {
                    assert!(matches!(plain, Command::Version), "{words:?}");
                    continue;
                }
                let here = line.request(line.verb().unwrap()).unwrap();
                assert_eq!(format!("{plain:?}"), format!("{here:?}"), "{words:?}");
            }
        }
        assert!(understood > 1000);
    }
}
