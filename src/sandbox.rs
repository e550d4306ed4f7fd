//! The command's side: builds the instance from a copy of the host's mounts, and executes the command.

use crate::advice::{DIRECTORY_ON_FILE, FILE_ON_DIRECTORY, NOT_SHOWN, TOO_MANY};
use crate::command::Command;
use crate::containment::{Containment, Jobs};
use crate::creds::{Caller, Privileged};
use crate::descriptors::close_descriptors;
use crate::dev::{self, Dev, Places};
use crate::error::{Error, OrEnd, OrFail, Result, both, on, say};
use crate::files::{Identity, Kind, identity, open_in};
use crate::host_root::Owner;
use crate::installation::{OpenProgram, OwnFile, Preparations, Programs, open_program};
use crate::keeper::Shared;
use crate::mount::{self, Detached, of_files};
use crate::plan::{Plan, STEPS, Step, Tmpfs, components, is_in_shm};
use crate::procfs::Hidden;
use crate::sources::{Image, OpenSource, Opened, Sources};
use crate::stage::Stage;
use crate::sys::signal::BY_WRITING;
use crate::sys::{self, Attributes};
use alloc::vec::Vec;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// All that the building process needs.
pub struct Job<'a> {
    /// The caller's ids.
    pub caller: Caller,
    /// The mounts of the instance.
    pub plan: Plan<'a>,
    /// The command to execute.
    pub command: Command<'a>,
    /// What the installation has prepared.
    pub prepared: Preparations,
    /// The caller's home, from `HOME`.
    pub home: Option<&'a [u8]>,
    /// selfdock's own file, so that it works inside.
    pub program: Option<OwnFile>,
    /// The host name to set.
    pub hostname: Option<&'a [u8]>,
    /// Restrictions that namespaces do not make.
    pub containment: Containment,
    /// `--no-nest`: no program inside can gain privilege.
    pub no_nest: bool,
    /// Descriptors to pass on besides 0, 1 and 2.
    pub keep_fds: Vec<u32>,
    /// The first two of them become the command's standard output and error.
    pub attended: bool,
}

/// Builds the instance and becomes its command. Returns only on failure.
///
/// No signal is blocked from here on. Signals that the supervisor passes on, and those of a terminal, have their
/// default action until this process is the command, and so end the building.
pub fn become_command(job: Job<'static>, privileged: Privileged, shared: &Shared) -> Error {
    sys::block_only(0).or_fail("unblock signals").or_end();
    let command = build(job, privileged);
    // exec: only after the keeper is ready and the supervisor has given up all privilege
    shared.keeper.wait();
    shared.unprivileged.wait();
    shared.note_building().or_end();
    shared.complete();
    command.exec()
}

/// Builds the instance, and ends this process with one line where that fails.
fn build(job: Job<'static>, mut privileged: Privileged) -> Command<'static> {
    privileged.take_up(false).or_end();
    job.containment.begin(&privileged).or_end();
    sys::unshare(job.plan.namespaces())
        .or_fail("start the instance")
        .map_err(|e| e.hint_if(Errno::NOSPC, TOO_MANY))
        .or_end();
    let umask = rustix::process::umask(Mode::empty());
    // open
    let own = open_program(job.program, &privileged).or_end();
    let has_terminal = job.containment.jobs == Jobs::Shared;
    let mut sources = Sources::open(&job.plan, job.prepared, own, has_terminal, &privileged).or_end();
    // build
    let host = matches!(sources.image, Image::Host(_));
    let of_root = if host { of_files(job.plan.writable) } else { Attributes::NONE };
    let mut stage = Stage::begin(privileged, job.plan.writable, of_root).or_end();
    let is_root = job.caller.uid == 0;
    let owner = Owner { uid: job.caller.uid, home: job.home.filter(|_| !is_root) };
    let mut places = Places::IN_ROOT;
    for step in STEPS {
        match step {
            Step::Root => {
                let image = core::mem::take(&mut sources.image);
                set_root(&mut stage, &owner, &sources, image)
            }
            Step::Tmp if host => stage.mount_tmp(),
            Step::Tmp => mount_tmp_of_image(&mut stage),
            Step::Names => core::mem::take(&mut sources.names).show(&mut stage),
            Step::Mounts => {
                let mounts = core::mem::take(&mut sources.mounts);
                let (in_shm, others) = mounts.into_iter().partition(|mount| is_in_shm(mount.dst));
                sources.mounts = in_shm;
                mount_all(&mut stage, others)
            }
            Step::InShm if sources.mounts.is_empty() => Ok(()),
            Step::InShm => stage
                .own(places.shm.to_bytes())
                .and_then(|()| mount_all(&mut stage, core::mem::take(&mut sources.mounts))),
            Step::Dev => {
                let dev = core::mem::replace(&mut sources.dev, Dev::InRoot);
                dev::mount(&mut stage, dev).map(|made| places = made)
            }
            Step::Devpts => mount::devpts_on(stage.privileged(), places.pts).or_fail("mount on '/dev/pts'"),
            Step::Shm => {
                mount::tmpfs_on(stage.privileged(), places.shm, &job.plan.shm).or_fail("mount on '/dev/shm'")
            }
            Step::Devices => dev::show(&mut stage, core::mem::take(&mut sources.devices)),
            Step::Program => {
                let programs = core::mem::take(&mut sources.programs);
                show_programs(&mut stage, programs, job.plan.writable)
            }
            Step::Proc => {
                mount_proc(&mut stage, sources.proc.take(), core::mem::take(&mut sources.hidden), is_root)
            }
        }
        .or_end();
    }
    let (root, privileged) = stage.finish().or_end();
    if let Some(name) = job.hostname {
        sys::sethostname(name).or_fail(on("set the host name {}", name)).or_end();
    }
    if job.plan.own_network {
        sys::loopback_up().or_fail("bring up loopback").or_end();
    }
    let is_there = enter_start_directory(root, &job.command, sources.here).or_end();
    rustix::process::umask(umask);
    job.containment.filter(&privileged).or_end();
    let mut keep_fds = &*job.keep_fds;
    if job.attended {
        keep_fds = redirect_output(keep_fds).or_fail("redirect the output of CMD").or_end();
    }
    // drop
    close_descriptors(keep_fds).or_end();
    privileged.relinquish().or_end();
    if !is_there {
        tell_of_root();
    }
    job.containment.finish(job.no_nest).or_end();
    job.command
}

/// Makes the first two of these descriptors, which are the caller's, standard output and error. Returns the others.
fn redirect_output(fds: &[u32]) -> rustix::io::Result<&[u32]> {
    let [output, error, others @ ..] = fds else { return Err(Errno::BADF) };
    for (from, standard) in [(*output, 1), (*error, 2)] {
        // One that stays as it is may be selfdock's placeholder, which is closed at exec.
        if from != standard {
            sys::redirect(from, standard)?;
        }
    }
    Ok(others)
}

/// Sets the root directory of the instance.
fn set_root(stage: &mut Stage, caller: &Owner<'_>, sources: &Sources, image: Image) -> Result<()> {
    match image {
        Image::Host(root) => return root.show(stage, caller),
        Image::Tree(tree) => {
            let closed = "you may not enter the root filesystem";
            stage.change_root(tree).map_err(|e| e.hint_if(Errno::ACCESS, closed))?;
        }
        Image::Layers(layers) => stage.stack_roots(&layers)?,
    }
    let program = sources.programs.own.iter().map(|own| own.path);
    let mounts = sources.mounts.iter().filter(|mount| !matches!(mount.source, OpenSource::Mask { .. }));
    let names = |path| components(path).next();
    stage.prepare_root([&b"dev"[..], b"etc", b"proc", b"tmp"].into_iter())?;
    stage.prepare_root(program.filter_map(names))?;
    stage.prepare_root(mounts.map(|mount| mount.dst).filter_map(names))
}

fn mount_tmp_of_image(stage: &mut Stage) -> Result<()> {
    let target = stage.mount_point(b"/tmp", Kind::Directory)?;
    if Kind::of(&target) != Ok(Kind::Directory) {
        return Err(Error::refused("mount on '/tmp'", "it is not a directory in the image"));
    }
    // The command would not see a mount there, and nobody could join it.
    if identity(&target) == identity(stage.root()) {
        return Err(Error::refused("mount on '/tmp'", "in the image it leads to the root directory"));
    }
    stage.mount_tmpfs(b"/tmp", &Tmpfs::DEFAULT, target)
}

/// Makes the caller's mounts.
fn mount_all(stage: &mut Stage, mounts: Vec<Opened>) -> Result<()> {
    for Opened { dst, source } in mounts {
        match source {
            OpenSource::Mask { optional } => {
                if !stage.hide(dst)? && !optional {
                    let missing = Error::of(on("mask {}", dst), Errno::NOENT);
                    return Err(missing.hint("--mask-if-exists accepts a missing path"));
                }
            }
            OpenSource::Tmpfs(options) => {
                let target = stage.open_destination(dst, Kind::Directory)?;
                let mounted = stage.mount_tmpfs(dst, &options, target);
                mounted.map_err(|e| e.hint_if(Errno::INVAL, DIRECTORY_ON_FILE))?;
            }
            OpenSource::Bind { src, tree, kind } => {
                let target = stage.open_destination(dst, kind)?;
                let attached =
                    tree.attach(stage.privileged(), &target).or_fail(both("bind {} on {}", src, dst));
                let other = match kind {
                    Kind::Directory => DIRECTORY_ON_FILE,
                    Kind::File => FILE_ON_DIRECTORY,
                };
                let limit = "fs.mount-max is reached";
                attached.map_err(|e| e.hint_if(Errno::INVAL, other).hint_if(Errno::NOSPC, limit))?;
            }
        }
    }
    Ok(())
}

/// Mounts the instance's procfs. It comes last, since it covers the tmpfs that other mounts were copied from.
fn mount_proc(stage: &mut Stage, proc: Option<Detached>, hidden: Hidden, is_root: bool) -> Result<()> {
    let failed = "mount on '/proc'";
    let proc = match proc {
        Some(proc) => {
            let target = stage.own_mount_point("/proc")?;
            proc.attach(stage.privileged(), target).or_fail(failed)?
        }
        // In the host image `/proc` is a directory that only selfdock can have changed.
        None => {
            hidden.mount_on(stage.privileged(), c"/proc").or_fail(failed)?;
            if hidden.is_uncovered() && !is_root {
                return Ok(());
            }
            stage.open(b"/proc", OFlags::DIRECTORY).or_fail(failed)?
        }
    };
    hidden.cover(&proc, stage.privileged(), is_root)
}

/// Binds selfdock's own file at the path that it was started from: the only mount on which a set-uid bit counts. Also
/// binds the second program. In a writable image no mount point is made for them.
fn show_programs(stage: &mut Stage, programs: Programs, writable: bool) -> Result<()> {
    let Programs { own, second } = programs;
    let Some(OpenProgram { path, tree }) = own else { return Ok(()) };
    if writable && is_missing(stage, path) {
        return Ok(());
    }
    match show_file(stage, path, tree) {
        // A file of the image is in the way, or an upgrade has replaced the file since it was opened, and the kernel
        // mounts no file that has no name. Then selfdock is not available inside.
        Err(error) if matches!(error.errno(), Some(Errno::NOTDIR | Errno::NOENT)) => return Ok(()),
        shown => shown?,
    }
    match second {
        Some(OpenProgram { path, tree }) if !writable && is_missing(stage, path) => {
            show_file(stage, path, tree)
        }
        _ => Ok(()),
    }
}

fn is_missing(stage: &Stage, path: &[u8]) -> bool {
    stage.open(path, OFlags::empty()).err() == Some(Errno::NOENT)
}

fn show_file(stage: &mut Stage, path: &[u8], tree: Detached) -> Result<()> {
    let target =
        stage.mount_point(path, Kind::File).map_err(|e| e.hint("with --no-nest it is not needed"))?;
    tree.attach(stage.privileged(), target).or_fail(on("bind selfdock on {}", path)).map(drop)
}

/// Enters the directory in which the command starts. Returns whether it is one that the caller has named or is in.
// Inlined, it takes 400 bytes more.
#[inline(never)]
fn enter_start_directory(root: OwnedFd, command: &Command<'_>, here: Option<Identity>) -> Result<bool> {
    let start = start_directory(&root, command, here)?;
    let is_there = start.is_some() || command.directory() == b"/";
    rustix::process::fchdir(start.unwrap_or(root)).or_fail(on("enter {}", command.directory()))?;
    Ok(is_there)
}

/// The directory in which the command starts: the caller's choice. Otherwise the caller's own directory, if it is the
/// same inside, by the path that the kernel knows or by the one that the shell knows. `None` for the root directory.
fn start_directory(root: &OwnedFd, command: &Command<'_>, here: Option<Identity>) -> Result<Option<OwnedFd>> {
    let dir = command.directory();
    if command.has_chosen_directory() {
        let opened = open_in(root, dir, OFlags::DIRECTORY).or_fail(on("enter {}", dir));
        return opened.map(Some).map_err(|e| e.hint_if(Errno::NOENT, NOT_SHOWN));
    }
    let of_shell = command.shells_directory();
    // Mostly they are equal.
    for path in [dir, of_shell].into_iter().take(if of_shell == dir { 1 } else { 2 }) {
        match open_in(root, path, OFlags::DIRECTORY) {
            Ok(fd) if here.is_some() && identity(&fd).ok() == here => return Ok(Some(fd)),
            _ => {}
        }
    }
    Ok(None)
}

/// Tells who sits at a terminal where the command starts. Others are not told: with nobody to read it, the message
/// could end the run, and `each` would print it for each line.
fn tell_of_root() {
    if [0, 2].into_iter().all(sys::is_terminal) {
        // A terminal with `tostop` would stop a job in the background.
        let _ = sys::block_only(BY_WRITING);
        say(sys::standard(2), b"selfdock: starts in '/': the current directory is not shown (-H shows it)\n");
        let _ = sys::block_only(0);
    }
}
