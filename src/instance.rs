//! Recognizes running instances, from `/proc` alone. Supervisor and keeper cannot be inspected. So an instance is
//! recognized by a structure that only selfdock makes: a process with two children in a new PID namespace. One child
//! is its PID 1, and cannot be inspected. The other has the PID there that its parent has outside. The kernel lets
//! nobody choose a PID without privilege in the user namespace that owns the PID namespace. `clone(2)`, `set_tid`

use crate::files::{self, Identity};
use crate::process::{self, Process, path};
use rustix::process::Pid;

/// An instance, as it appears from outside.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    /// The supervisor. Its PID is the name of the instance.
    pub supervisor: Process,
    /// The keeper, which is PID 1 inside.
    pub keeper: Process,
    /// The command. Its PID inside is the supervisor's outside.
    pub command: Process,
}

impl Instance {
    /// The instance of a supervisor; `None` if the process is not one. `program` is selfdock's own file, since root
    /// can see the program of processes that others cannot inspect.
    pub fn of(supervisor: Process, program: Option<Identity>) -> Option<Self> {
        let ours = |process: &Process| process.ids == supervisor.ids && is_hidden(process, program);
        if !ours(&supervisor) {
            return None;
        }
        let children = supervisor.children();
        let inside = || children.iter().copied().filter(|child| child.depth == supervisor.depth + 1);
        let keeper = inside().find(|child| child.is_pid1() && ours(child))?;
        // A supervisor that is PID 1 cannot give its PID to the command.
        let named = |child: &Process| child.inner == supervisor.inner || supervisor.is_pid1();
        // If a filter refused the choice of a PID, the command is the first other child.
        let others = || inside().filter(|child| !child.is_pid1());
        let command = others().find(named).or_else(|| others().next())?;
        Some(Instance { supervisor, keeper, command })
    }

    /// The instance of a process. It is found by the nearest ancestor outside. A process of `enter` has another
    /// supervisor as its ancestor, and is found by its PID namespace.
    pub fn around(process: Process, program: Option<Identity>) -> Option<Self> {
        let mut above = process;
        while above.depth >= process.depth {
            let child = above;
            above = Process::read(child.parent?)?;
            // Otherwise the parent has ended, and its PID may be another process's.
            if Process::read(child.pid)?.parent != child.parent {
                return None;
            }
        }
        if let Some(instance) = Instance::of(above, program) {
            return Some(instance);
        }
        let own = namespace(process.pid)?;
        let all = &process::all().ok()?;
        // Other users can have any number of PID namespaces.
        let is_alike = |other: &&Process| other.depth == process.depth && other.ids == process.ids;
        let keepers = all.iter().filter(|other| other.is_pid1() && is_alike(other));
        let supervisors = keepers.filter_map(|keeper| keeper.parent.and_then(Process::read));
        supervisors.filter_map(|supervisor| Instance::of(supervisor, program)).find(|instance| {
            instance.members(all).any(|member| {
                // Its PID may be another process's by now.
                namespace(member.pid) == Some(own)
                    && Process::read(member.pid).is_some_and(|now| now.parent == member.parent)
            })
        })
    }

    /// The processes of the instance without the keeper, the command first. Processes of inner instances are not
    /// included.
    pub fn members<'a>(&self, all: &'a [Process]) -> impl Iterator<Item = &'a Process> {
        let (command, keeper, depth) = (self.command.pid, self.keeper.pid, self.keeper.depth);
        let below = move |process: &&Process| {
            process.depth == depth && process.pid != keeper && is_below(process, &[command, keeper], all)
        };
        let is_command = move |process: &&Process| process.pid == command;
        all.iter().filter(is_command).chain(all.iter().filter(move |p| !is_command(p) && below(p)))
    }
}

/// Whether a process is one of these, or a descendant of one.
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

/// The PID namespace of a process, if the process can be inspected. `namespaces(7)`
fn namespace(pid: Pid) -> Option<Identity> {
    files::identity_of(path(pid, b"ns/pid")).ok()
}
