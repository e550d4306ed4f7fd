//! How a running instance is known, from `/proc` alone. A supervisor and its keeper hide from
//! everyone, so it is by what only selfdock makes: two children in a PID namespace of their own,
//! of which one is its PID 1 and cannot be looked at, and the other has there the PID that its
//! parent has outside. The kernel lets nobody choose a PID without privilege in the user
//! namespace to which the PID namespace belongs. `clone(2)`, `set_tid`

use crate::files::{self, Identity};
use crate::process::{self, Process, path};
use rustix::process::Pid;

/// An instance, from outside.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    /// Its name is the PID of this one.
    pub supervisor: Process,
    /// PID 1 inside.
    pub keeper: Process,
    /// The same PID inside as the supervisor has outside.
    pub command: Process,
}

impl Instance {
    /// The instance of a supervisor, if it is one. `program` is selfdock's own file, as which root
    /// sees what others cannot look at.
    pub fn of(supervisor: Process, program: Option<Identity>) -> Option<Self> {
        let ours = |process: &Process| process.ids == supervisor.ids && is_hidden(process, program);
        if !ours(&supervisor) {
            return None;
        }
        let children = supervisor.children();
        let inside = || children.iter().copied().filter(|child| child.depth == supervisor.depth + 1);
        let keeper = inside().find(|child| child.first() && ours(child))?;
        // The first process of a container cannot hand its PID on.
        let named = |child: &Process| child.inner == supervisor.inner || supervisor.first();
        // Where a filter kept it from choosing, it is the first of the others.
        let others = || inside().filter(|child| !child.first());
        let command = others().find(named).or_else(|| others().next())?;
        Some(Instance { supervisor, keeper, command })
    }

    /// The instance that a process lives in: through the nearest one above it that does not. A
    /// process of `enter` has another supervisor above it, and is known by its PID namespace.
    pub fn around(process: Process, program: Option<Identity>) -> Option<Self> {
        let mut above = process;
        while above.depth >= process.depth {
            above = Process::read(above.parent?)?;
        }
        if let Some(instance) = Instance::of(above, program) {
            return Some(instance);
        }
        let own = namespace(process.pid)?;
        let all = &process::all().ok()?;
        let keepers = all.iter().filter(|other| other.first() && other.depth == process.depth);
        let supervisors = keepers.filter_map(|keeper| keeper.parent.and_then(Process::read));
        supervisors
            .filter_map(|supervisor| Instance::of(supervisor, program))
            .find(|instance| instance.members(all).any(|member| namespace(member.pid) == Some(own)))
    }

    /// The processes in it but the keeper, the command first; not those of instances inside.
    pub fn members<'a>(&self, all: &'a [Process]) -> impl Iterator<Item = &'a Process> {
        let (command, keeper, depth) = (self.command.pid, self.keeper.pid, self.keeper.depth);
        let below = move |process: &&Process| {
            process.depth == depth && process.pid != keeper && is_below(process, &[command, keeper], all)
        };
        let is_command = move |process: &&Process| process.pid == command;
        all.iter().filter(is_command).chain(all.iter().filter(move |p| !is_command(p) && below(p)))
    }
}

/// Whether a process is one of these, or comes from one.
pub fn is_below(process: &Process, ancestors: &[Pid], all: &[Process]) -> bool {
    let mut at = *process;
    for _ in 0..all.len() {
        if ancestors.contains(&at.pid) {
            return true;
        }
        let Some(parent) = at.parent.and_then(|pid| all.iter().find(|other| other.pid == pid)) else {
            return false;
        };
        at = *parent;
    }
    false
}

fn is_hidden(process: &Process, program: Option<Identity>) -> bool {
    process.program().is_none_or(|shown| Some(shown) == program)
}

/// The PID namespace of a process, if it can be looked at. `namespaces(7)`
fn namespace(pid: Pid) -> Option<Identity> {
    files::identity_of(path(pid, b"ns/pid")).ok()
}
