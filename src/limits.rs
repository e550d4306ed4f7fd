//! `--rlimit`: the resource limits of a process. setrlimit(2).

use crate::error::{Fault, OrFail, Result, on};
use crate::options::LIMITS;
use crate::sys;
use alloc::vec::Vec;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

/// A limit to set, with its name.
pub type Limit = (Resource, Rlimit, &'static str);

/// Checks the requested limits against the caller's. Nobody can go above the hard limit, and selfdock does not use
/// its privilege for that.
pub fn check<E: Fault>(requested: &[(&'static str, Option<u64>)]) -> Result<Vec<Limit>, E> {
    let mut limits = Vec::with_capacity(requested.len());
    for (name, value) in requested {
        let failed = on("option --rlimit {}", name.as_bytes());
        let resource = resource(name).ok_or_else(|| E::refused(failed, "no such limit"))?;
        let hard = getrlimit(resource).maximum;
        if hard.is_some_and(|hard| value.is_none_or(|value| value > hard)) {
            return Err(E::refused(failed, "above your hard limit").hint("see 'ulimit -Ha'"));
        }
        // The hard limit is one second more if possible, so that SIGXCPU comes before SIGKILL and shows what ended
        // the command.
        let more = u64::from(resource == Resource::Cpu);
        let maximum = value.map(|value| value.saturating_add(more).min(hard.unwrap_or(u64::MAX)));
        limits.push((resource, Rlimit { current: *value, maximum }, *name));
    }
    Ok(limits)
}

/// Sets the limits of this process, right before exec, since they would limit selfdock, too.
pub fn set(limits: &[Limit]) -> Result<()> {
    for (resource, limit, name) in limits {
        setrlimit(*resource, *limit).or_fail(on("set the limit {=}", name.as_bytes()))?;
    }
    Ok(())
}

/// All limits of a process, by their numbers: the kernel's `RLIM_NLIMITS`.
pub type All = [sys::Limit; 16];

/// The limits of another process.
pub fn of(pid: Pid) -> Result<All> {
    let mut all = [[0; 2]; _];
    for (number, limit) in all.iter_mut().enumerate() {
        *limit = sys::limit(Some(pid), number, None).or_fail("read the limits of the instance")?;
    }
    Ok(all)
}

/// Lowers the limits of this process to those of another one, where these are lower.
pub fn take_on(theirs: &All) -> Result<()> {
    let failed = "apply the limits of the instance";
    for (number, [soft, hard]) in theirs.iter().enumerate() {
        let ours = sys::limit(None, number, None).or_fail(failed)?;
        let hard = ours[1].min(*hard);
        let new = [hard.min(*soft).min(ours[0]), hard];
        if new != ours {
            sys::limit(None, number, Some(&new)).or_fail(failed)?;
        }
    }
    Ok(())
}

/// The resources of [`LIMITS`], in the same order.
const RESOURCES: [Resource; LIMITS.len()] = [
    Resource::As,
    Resource::Core,
    Resource::Cpu,
    Resource::Data,
    Resource::Fsize,
    Resource::Memlock,
    Resource::Msgqueue,
    Resource::Nofile,
    Resource::Nproc,
    Resource::Rss,
    Resource::Sigpending,
    Resource::Stack,
];

fn resource(name: &str) -> Option<Resource> {
    let at = LIMITS.iter().position(|limit| *limit == name)?;
    RESOURCES.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn every_limit_of_the_command_line_is_the_one_it_is_called() {
        for name in LIMITS {
            assert_eq!(format!("{:?}", resource(name).unwrap()).to_lowercase(), *name);
        }
    }
}
