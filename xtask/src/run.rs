//! Functions that run other programs, and errors that name the operation.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub type Result<T = ()> = std::result::Result<T, String>;

/// Names what failed, before the reason.
pub trait Context<T> {
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// The variable in which cargo names the directory of the package.
const PACKAGE: &str = "CARGO_MANIFEST_DIR";

/// The top directory of the project, from cargo at run time. A path from build time would be wrong in a copy of a
/// checkout with built files.
pub fn root() -> PathBuf {
    let package = std::env::var_os(PACKAGE).expect("started by `cargo xtask`");
    Path::new(&package).parent().expect("xtask/ has a parent").to_owned()
}

pub fn help(text: &str) -> Result {
    print!("{text}");
    Ok(())
}

/// Handles `--help`. Returns true if the help was requested and printed.
pub fn wants_help(args: &mut pico_args::Arguments, text: &str) -> bool {
    let wanted = args.contains(["-h", "--help"]);
    if wanted {
        print!("{text}");
    }
    wanted
}

/// Refuses arguments that the subcommand does not know.
pub fn no_more(args: pico_args::Arguments) -> Result {
    match args.finish().first() {
        None => Ok(()),
        Some(extra) => Err(unexpected(extra)),
    }
}

/// The message for an argument that the subcommand does not know.
pub fn unexpected(extra: &std::ffi::OsStr) -> String {
    format!("unexpected argument '{}'; see --help", extra.display())
}

/// Runs a command to its end. It has our standard output.
pub fn run(command: &mut Command) -> Result {
    let status = command.status().context(line(command))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", line(command))) }
}

/// Runs a command and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let done = command.stderr(Stdio::inherit()).output().context(line(command))?;
    if !done.status.success() {
        return Err(format!("{}: {}", line(command), done.status));
    }
    String::from_utf8(done.stdout).context(line(command))
}

/// The command line, for messages.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Fails before anything is built, if this user cannot become root. sudo may ask for a password.
pub fn can_become_root() -> Result {
    let asked = is_root() || Command::new("sudo").arg("-v").status().is_ok_and(|status| status.success());
    let advice = "a set-uid program only works installed, and installing it takes root: run this as root, or as a user \
                  who may use sudo";
    if asked { Ok(()) } else { Err(advice.into()) }
}

/// This program again, as root, for the few steps that need privilege.
pub fn again_as_root() -> Result<Command> {
    let exe = std::env::current_exe().context("find the running program")?;
    let mut package = OsString::from(PACKAGE);
    package.push("=");
    package.push(root().join("xtask"));
    let mut command = Command::new("sudo");
    command.args(["--", "env"]).arg(package).arg(exe);
    Ok(command)
}
