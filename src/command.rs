//! The command: its words, environment and directory, and the search for its file. All of this runs with the caller's
//! rights only.

use crate::cli::{EnvChange, Request};
use crate::descriptors::check_descriptors;
use crate::error::{Error, FAILED, Fault, NOT_EXECUTABLE, NOT_FOUND, Result, on};
use crate::files;
use crate::limits::{self, Limit};
use crate::plan::{self, Plan, components};
use crate::sys::{self, Pointers};
use crate::text::{Bytes, c_string, join};
use alloc::vec::Vec;
use core::ffi::CStr;
use rustix::fs::{Access, AtFlags, CWD, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

/// The search path if the environment has no `PATH`.
pub const DEFAULT_PATH: &[u8] = b"/usr/local/bin:/usr/bin:/bin";

/// The advice where no directory of `PATH` has the command.
pub const NOT_IN_PATH: &str = "no directory of PATH in the instance has it";

/// The command to execute.
#[derive(Debug)]
pub struct Command<'a> {
    words: &'a [&'static CStr],
    environment: &'a [&'a CStr],
    directory: &'a [u8],
    chosen: bool,
    /// Whether it is the caller's shell, since no command was given.
    of_shell: bool,
    limits: &'a [Limit],
}

/// Checks a request as far as possible before anything is opened or made. `environment` is the caller's, `cwd` the
/// caller's directory.
pub fn check<'a, E: Fault>(
    request: &Request<'a>,
    environment: &[&'a CStr],
    cwd: Option<&'a [u8]>,
) -> Result<(Plan<'a>, Command<'a>), E> {
    let command = Command::check(request, environment, cwd)?;
    match request.chdir {
        Some(b"") => return Err(E::refused("option --chdir", "the path is empty")),
        Some(dir) if cwd.is_none() && !dir.starts_with(b"/") => {
            return Err(E::refused(on("option --chdir {}", dir), plan::NO_PATH));
        }
        _ => {}
    }
    Ok((plan::make(request, cwd)?, command))
}

impl<'a> Command<'a> {
    /// Checks the command alone.
    pub fn check<E: Fault>(
        request: &Request<'a>,
        environment: &[&'a CStr],
        cwd: Option<&'a [u8]>,
    ) -> Result<Self, E> {
        check_descriptors(&request.keep_fds)?;
        Command::new(request, environment, cwd)
    }

    /// Makes the command of a request. `environment` is the caller's, `cwd` the caller's directory.
    fn new<E: Fault>(
        request: &Request<'a>,
        environment: &[&'a CStr],
        cwd: Option<&'a [u8]>,
    ) -> Result<Self, E> {
        let environment = change(environment, &request.env)?.leak();
        let mut words = Vec::with_capacity(request.command.len().max(1));
        for word in &request.command {
            words.push(string(word)?);
        }
        let of_shell = words.is_empty();
        if of_shell {
            words.push(string(variable(environment, b"SHELL").filter(|s| !s.is_empty()).unwrap_or(b"sh"))?);
        }
        let directory = match request.chdir {
            Some(dir) if dir.starts_with(b"/") => dir,
            Some(dir) => {
                let cwd = cwd.unwrap_or(b"/");
                join(&[cwd, if cwd.len() == 1 { b"" } else { b"/" }, dir])
            }
            None => cwd.unwrap_or(b"/"),
        };
        let limits = limits::check(&request.limits)?.leak();
        let chosen = request.chdir.is_some() || request.here;
        Ok(Command { words: words.leak(), environment, directory, chosen, of_shell, limits })
    }

    /// The command and its arguments.
    pub fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.words.iter().map(|word| word.to_bytes())
    }

    /// The directory to start in.
    pub fn directory(&self) -> &[u8] {
        self.directory
    }

    /// The path that a shell has for its directory, in `PWD`. It can lead through links, or to another directory.
    pub fn shells_directory(&self) -> &[u8] {
        variable(self.environment, b"PWD").unwrap_or(self.directory)
    }

    /// Whether the caller chose this directory, by `-C` or as a volume by `-H`.
    pub fn has_chosen_directory(&self) -> bool {
        self.chosen
    }

    /// Becomes the command. Returns only on failure. execve(2), exec(3).
    pub fn exec(&self) -> Error {
        let argv = Pointers::new(self.words);
        let envp = Pointers::new(self.environment);
        if let Err(error) = limits::set(self.limits) {
            return error;
        }
        let name = self.words[0].to_bytes();
        // An empty name is not searched for. execvp(3)
        if name.is_empty() || name.contains(&b'/') {
            let errno = self.attempt(self.words[0], &argv, &envp);
            // The image may lack the caller's shell.
            if self.of_shell && errno == Errno::NOENT && !is_there(self.words[0]) {
                sys::execve(c"/bin/sh", &Pointers::new(&[c"sh"]), &envp);
            }
            return Self::failure(self.words[0], errno);
        }
        let path = variable(self.environment, b"PATH").unwrap_or(DEFAULT_PATH);
        let mut denied = None;
        for dir in path.split(|b| *b == b':') {
            let dir: &[u8] = if dir.is_empty() { b"." } else { dir };
            let Ok(file) = c_string(join(&[dir, b"/", name])) else {
                continue;
            };
            match self.attempt(file, &argv, &envp) {
                Errno::NOENT if is_there(file) => return Self::failure(file, Errno::NOENT),
                Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => {}
                Errno::ACCESS => denied = Some(file),
                errno => return Self::failure(file, errno),
            }
        }
        match denied {
            Some(file) => Self::failure(file, Errno::ACCESS),
            None => Error::of(on("run {}", name), Errno::NOENT).hint(NOT_IN_PATH).status(NOT_FOUND),
        }
    }

    /// Tries one file. A text without `#!` is given to the shell, as execvp(3) does.
    fn attempt(&self, file: &CStr, argv: &Pointers<'_>, envp: &Pointers<'_>) -> Errno {
        let errno = sys::execve(file, argv, envp);
        if errno != Errno::NOEXEC {
            return errno;
        }
        let mut script = self.words.to_vec();
        script[0] = file;
        script.insert(0, c"sh");
        sys::execve(c"/bin/sh", &Pointers::new(&script), envp)
    }

    fn failure(file: &CStr, errno: Errno) -> Error {
        let error = Error::of(on("run {}", file.to_bytes()), errno);
        match errno {
            Errno::NOENT if is_there(file) => error
                .hint("the file exists, but the interpreter that it names does not")
                .status(NOT_EXECUTABLE),
            Errno::NOENT | Errno::NOTDIR => error.status(NOT_FOUND),
            Errno::ACCESS if is_directory(file) => error.hint("it is a directory").status(NOT_EXECUTABLE),
            Errno::ACCESS if is_on_noexec(file) => {
                error.hint("it lies on a mount that executes nothing (noexec)").status(NOT_EXECUTABLE)
            }
            Errno::TOOBIG | Errno::NOMEM | Errno::AGAIN => error.status(FAILED),
            _ => error.status(NOT_EXECUTABLE),
        }
    }
}

/// The path of the current directory, if it has one.
pub fn current_directory() -> Option<Bytes> {
    let path: Bytes = sys::getcwd().ok()?.leak();
    // getcwd(2) returns `(unreachable)/...` for a directory outside the root directory.
    path.starts_with(b"/").then_some(path)
}

fn is_there(file: &CStr) -> bool {
    rustix::fs::accessat(CWD, file, Access::EXISTS, AtFlags::empty()).is_ok()
}

fn is_directory(file: &CStr) -> bool {
    files::open(CWD, file.to_bytes(), OFlags::PATH | OFlags::DIRECTORY).is_ok()
}

fn is_on_noexec(file: &CStr) -> bool {
    rustix::fs::statvfs(file).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

fn string<E: Fault>(bytes: &[u8]) -> Result<&'static CStr, E> {
    c_string(bytes).map_err(|_| E::refused(on("argument {}", bytes), "contains a NUL byte"))
}

/// Applies the changes to the caller's environment, in order.
pub fn change<'a, E: Fault>(environment: &[&'a CStr], changes: &[EnvChange<'a>]) -> Result<Vec<&'a CStr>, E> {
    let mut all = environment.to_vec();
    for change in changes {
        match change {
            EnvChange::Clear => all.clear(),
            EnvChange::Unset(name) | EnvChange::Set(name, _) => {
                all.retain(|entry| value(entry, name).is_none());
            }
        }
        if let EnvChange::Set(name, new) = change {
            all.push(string(join(&[name, b"=", new]))?);
        }
    }
    Ok(all)
}

fn value<'e>(entry: &'e CStr, name: &[u8]) -> Option<&'e [u8]> {
    entry.to_bytes().strip_prefix(name)?.strip_prefix(b"=")
}

/// The path in `HOME`, without empty components and `.`.
pub fn home(environment: &[&CStr]) -> Option<Bytes> {
    let home = variable(environment, b"HOME").filter(|home| home.starts_with(b"/"))?;
    let mut tidy: Bytes = b"";
    for name in components(home) {
        tidy = join(&[tidy, b"/", name]);
    }
    Some(tidy)
}

/// The value of a variable of the environment.
pub fn variable<'e>(environment: &[&'e CStr], name: &[u8]) -> Option<&'e [u8]> {
    environment.iter().find_map(|entry| value(entry, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_apply_in_order() {
        let caller = [c"A=1", c"AB=2", c"C=3"];
        let changed = change::<Error>(
            &caller,
            &[EnvChange::Unset(b"A"), EnvChange::Set(b"C", b"x"), EnvChange::Set(b"A", b"")],
        );
        let text: Vec<_> = changed.unwrap().iter().map(|e| e.to_bytes().to_vec()).collect();
        assert_eq!(text, [&b"AB=2"[..], b"C=x", b"A="]);
        let cleared = change::<Error>(&caller, &[EnvChange::Clear, EnvChange::Set(b"Z", b"1")]).unwrap();
        assert_eq!(cleared.len(), 1);
    }

    #[test]
    fn without_a_command_it_is_the_shell() {
        let request = Request::default();
        let with = Command::new::<Error>(&request, &[c"SHELL=/bin/zsh"], None).unwrap();
        assert_eq!(with.words, [c"/bin/zsh"]);
        assert_eq!(Command::new::<Error>(&request, &[], None).unwrap().words, [c"sh"]);
    }
}
