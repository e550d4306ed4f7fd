//! Who calls, and what privilege is held when. Privilege is a value: it can be raised once,
//! and giving it up consumes it; each id and each capability set is read back from the kernel.
#![forbid(unsafe_code)]

use crate::error::{Error, OrFail, Result};
use crate::sys;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

/// The real ids of the process that started selfdock. They stay what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What may be kept past the start, in the permitted set: `SYS_ADMIN` for namespaces and
/// mounts, `NET_ADMIN` to bring loopback up in a new network namespace. [`Privilege::raise`]
/// gives up what the request does not need.
const KEPT: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::NET_ADMIN);

/// Capabilities that are permitted and not in effect.
#[derive(Debug)]
pub struct Privilege {
    caller: Caller,
    permitted: CapabilitySet,
}

/// `CAP_SYS_ADMIN` is in effect, on top of the caller's own rights. Privileged steps ask for
/// a reference to it; [`Privileged::relinquish`] ends it for good.
#[derive(Debug)]
pub struct Privileged {
    caller: Caller,
}

/// Gives up everything but what this program is installed for, before any byte of the
/// command line is looked at: all ids become the caller's, no capability is in effect,
/// other processes of the caller can neither trace this one nor read its memory.
pub fn shed() -> Result<(Caller, Option<Privilege>)> {
    let (uids, gids) = sys::all_ids().or_fail("read the ids of the caller")?;
    let caller = Caller {
        uid: uids[0],
        gid: gids[0],
    };
    if gids[1..].iter().any(|gid| *gid != caller.gid) {
        return Err(Error::refused("start", "installed set-gid")
            .hint("set it up again with 'cargo xtask install'"));
    }
    let permitted = current()?.permitted & KEPT;
    if uids.iter().any(|uid| *uid != caller.uid) {
        become_caller(caller)?;
    }
    set(CapabilitySet::empty(), permitted)?;
    if permitted.contains(CapabilitySet::SYS_ADMIN) {
        // The kernel made us so at exec, unless fs.suid_dumpable says otherwise.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .or_fail("become undumpable")?;
        Ok((caller, Some(Privilege { caller, permitted })))
    } else {
        set(CapabilitySet::empty(), CapabilitySet::empty())?;
        Ok((caller, None))
    }
}

/// Sets all four uids to the caller's; the permitted capabilities outlive that.
fn become_caller(caller: Caller) -> Result<()> {
    let uid = rustix::process::Uid::from_raw(caller.uid);
    rustix::thread::set_keep_capabilities(true).or_fail("keep capabilities")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).or_fail("become the caller")?;
    rustix::thread::set_keep_capabilities(false).or_fail("keep no more capabilities")?;
    verify_ids(caller)
}

impl Privilege {
    /// Puts `SYS_ADMIN` and `more` in effect and gives up the rest.
    pub fn raise(self, more: CapabilitySet) -> Result<Privileged> {
        let wanted = (CapabilitySet::SYS_ADMIN | more) & self.permitted;
        if !wanted.contains(more) {
            return Err(
                Error::refused("start", "a capability is missing").hint("see 'selfdock --help'")
            );
        }
        set(wanted, wanted)?;
        Ok(Privileged {
            caller: self.caller,
        })
    }
}

impl Privileged {
    /// Gives up everything, and makes sure of it: no capability in any set that the process
    /// could use, no id but the caller's, no flag that would bring capabilities back.
    pub fn relinquish(self) -> Result<()> {
        set(CapabilitySet::empty(), CapabilitySet::empty())?;
        verify_ids(self.caller)?;
        let bits = rustix::thread::capabilities_secure_bits().or_fail("read the securebits")?;
        if bits.intersects(CapabilitiesSecureBits::KEEP_CAPS) {
            return Err(Error::refused(
                "give up privilege",
                "the kernel would still keep capabilities",
            ));
        }
        Ok(())
    }
}

/// Sets the capability sets and reads them back. An empty inheritable set empties the
/// ambient one too. capabilities(7).
fn set(effective: CapabilitySet, permitted: CapabilitySet) -> Result<()> {
    let wanted = CapabilitySets {
        effective,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, wanted).or_fail("set capabilities")?;
    if current()? != wanted {
        return Err(Error::refused(
            "set capabilities",
            "they did not change as asked",
        ));
    }
    Ok(())
}

fn current() -> Result<CapabilitySets> {
    rustix::thread::capabilities(None).or_fail("read capabilities")
}

fn verify_ids(caller: Caller) -> Result<()> {
    let ids = sys::all_ids().or_fail("read the ids")?;
    if ids != ([caller.uid; 4], [caller.gid; 4]) {
        return Err(Error::refused(
            "become the caller",
            "the ids did not change as asked",
        ));
    }
    Ok(())
}
