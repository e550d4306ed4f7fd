//! The program that `cargo xtask torture` and the suite run as root: it starts selfdock under a tracer, and under load.
//! It is static, so that it runs in any root filesystem.
#![forbid(unsafe_code)]

mod faults;
mod host;
mod load;
mod modes;
mod tracer;

#[path = "../../../xtask/src/bench/names.rs"]
mod names;

use std::ffi::OsString;
use std::fmt::Display;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

type Result<T = ()> = std::result::Result<T, String>;

/// Puts the name of the failed operation before the reason.
trait Context<T> {
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let name = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    let done = match name.to_str() {
        Some("faults") => faults::main(&args),
        Some("load") => load::main(&args),
        Some("inject") => faults::inject(&args),
        Some("traced") => become_other(&args, true),
        Some("as") => become_other(&args, false),
        _ => Err(format!("what is '{}'?", name.display())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The user who starts selfdock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Tester,
    Root,
}

/// The paths that the starter of this program names.
fn told(name: &str) -> Result<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set"))
}

fn selfdock() -> Result<PathBuf> {
    told("SELFDOCK")
}

fn fixture(name: &str) -> Result<PathBuf> {
    told("SELFDOCK_FIXTURES").map(|dir| dir.join(name))
}

/// A command line that `who` starts, in a process group of its own like a shell with job control. `how` is `traced` or
/// `as`.
fn start_as(how: &str, who: Who, words: &[OsString]) -> Result<Command> {
    let user = match who {
        Who::Tester => std::env::var("SELFDOCK_USER").context("SELFDOCK_USER")?,
        Who::Root => "0:0:0".to_owned(),
    };
    let mut command = Command::new("/proc/self/exe");
    command.arg(how).arg(user).args(words).current_dir("/").process_group(0);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", told("HOME")?);
    Ok(command)
}

/// `traced|as UID:GID:GROUP PROGRAM ARG...`: becomes this user, and then the program. With `traced` the parent becomes
/// the tracer first, while this process is still root: only then a tracer can follow the start of a set-uid program.
fn become_other(args: &[OsString], traced: bool) -> Result {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let [user, program, args @ ..] = args else { return Err("traced USER PROGRAM".to_owned()) };
    let ids: Vec<u32> = user.to_str().unwrap_or_default().split(':').flat_map(str::parse).collect();
    let [uid, gid, group] = ids[..] else { return Err(format!("not UID:GID:GROUP: {}", user.display())) };
    if traced {
        nix::sys::ptrace::traceme().context("be traced")?;
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setgroups(&[Gid::from_raw(group)]).context("set groups")?;
    setresgid(gid, gid, gid).context("set the group")?;
    setresuid(uid, uid, uid).context("set the user")?;
    if traced {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).context("wait for the tracer")?;
    }
    let error = Command::new(program).args(args).exec();
    Err(format!("{}: {error}", program.display()))
}
