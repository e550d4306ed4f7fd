//! `--rlimit`: the classic limits of a process. setrlimit(2).
#![forbid(unsafe_code)]

use crate::error::{Error, OrFail, Result, on};
use alloc::vec::Vec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A limit to set.
pub type Limit = (Resource, Rlimit, &'static str);

/// Checks the limits that are asked for against the caller's: nobody can go above the hard
/// limit, and privilege is not used to.
pub fn check(wishes: &[(&'static str, Option<u64>)]) -> Result<Vec<Limit>> {
    let mut limits = Vec::with_capacity(wishes.len());
    for (name, value) in wishes {
        let failed = on("set the limit {=}", name.as_bytes());
        let resource = resource(name).ok_or_else(|| Error::refused(failed, "no such limit"))?;
        let hard = getrlimit(resource).maximum;
        if hard.is_some_and(|hard| value.is_none_or(|value| value > hard)) {
            return Err(Error::refused(failed, "above the caller's hard limit").hint("'ulimit -H' shows it"));
        }
        limits.push((resource, Rlimit { current: *value, maximum: *value }, *name));
    }
    Ok(limits)
}

/// Sets them for this process: right before the command, as they would bind selfdock too.
pub fn set(limits: &[Limit]) -> Result<()> {
    for (resource, limit, name) in limits {
        setrlimit(*resource, *limit).or_fail(on("set the limit {=}", name.as_bytes()))?;
    }
    Ok(())
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::LIMITS;

    #[test]
    fn every_limit_of_the_command_line_is_known() {
        assert!(LIMITS.iter().all(|name| resource(name.trim_end_matches('=')).is_some()));
    }
}
