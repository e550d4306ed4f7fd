//! Who calls, and what privilege is held when. Privilege is a value: it can be raised once,
//! and giving it up consumes it; each id and each capability set is read back from the kernel.

use crate::error::{Error, OrFail, Result, on};
use crate::text::{Bytes, decimal, join};
use crate::{files, host, sys};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
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
/// mounts; `NET_ADMIN` to bring loopback up in a new network namespace; `SYS_CHROOT` to put the
/// keeper into an empty directory and the command into its root, and to enter the mount namespace of an instance;
/// `CHECKPOINT_RESTORE` to give the command the PID that its supervisor has; `SETPCAP` to take
/// from a caller with uid 0 what root gets at exec. [`Privilege::raise`] gives up what the
/// request does not need. The installed file grants no others either.
const KEPT: CapabilitySet = CapabilitySet::from_bits_retain(host::capability_set());

/// What is in effect where processes are started. Not `SYS_ADMIN`: with it the kernel would not
/// hold a fork to `RLIMIT_NPROC`. `copy_process()`, kernel/fork.c
const TO_START: CapabilitySet = CapabilitySet::SYS_CHROOT.union(CapabilitySet::CHECKPOINT_RESTORE);

/// What the kernel's overlay takes, of whoever mounts it.
const OF_OVERLAYS: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FSETID);

/// Capabilities that are permitted and not in effect.
#[derive(Debug)]
pub struct Privilege {
    caller: Caller,
    permitted: CapabilitySet,
}

/// `CAP_SYS_ADMIN` is in effect, or has been set aside, on top of the caller's own rights. Privileged steps ask for
/// a reference to it; [`Privileged::relinquish`] ends it for good.
#[derive(Debug)]
pub struct Privileged {
    caller: Caller,
    /// What may be in effect.
    held: CapabilitySet,
    /// It counts in a user namespace of the instance's own only: unprivileged mode.
    pub in_own_namespace: bool,
}

/// Gives up everything but what this program is installed for, before any byte of the
/// command line is looked at: all ids become the caller's, no capability is in effect,
/// other processes of the caller can neither trace this one nor read its memory.
pub fn shed() -> Result<(Caller, Option<Privilege>)> {
    let (uids, gids) = sys::all_ids().or_fail("read the ids of the caller")?;
    let caller = Caller { uid: uids[0], gid: gids[0] };
    if gids[1..].iter().any(|gid| *gid != caller.gid) {
        return Err(Error::refused("start", "the program is installed set-gid")
            .hint("install it again with 'cargo xtask install'"));
    }
    let of_root = if caller.uid == 0 { CapabilitySet::SETFCAP } else { CapabilitySet::empty() };
    let permitted = current()?.permitted & (KEPT | of_root);
    if uids.iter().any(|uid| *uid != caller.uid) {
        become_caller(caller)?;
    }
    // Where file capabilities narrow what the set-uid bit gives, they are so already.
    if !are(CapabilitySet::empty(), permitted)? {
        set(CapabilitySet::empty(), permitted)?;
    }
    if permitted.contains(Need::default().capabilities(caller)) {
        // The kernel made us so at exec, unless fs.suid_dumpable says otherwise.
        become_undumpable()?;
        Ok((caller, Some(Privilege { caller, permitted })))
    } else {
        set(CapabilitySet::empty(), permitted & of_root)?;
        Ok((caller, None))
    }
}

/// Before a user namespace is made: uid 0 is mapped in it only if who made it had `SETFCAP` in effect. It is root's
/// own, who is kept from it by the bounding set otherwise. `user_namespaces(7)`
pub fn allow_to_map_root(caller: Caller) -> Result<()> {
    if caller.uid != 0 {
        return Ok(());
    }
    let own = current()?.permitted & CapabilitySet::SETFCAP;
    set(own, own)
}

/// Whether root could map itself in a user namespace. Its own rights come back at exec only, so this asks for what exec
/// would give: the bounding set.
pub fn can_map_root() -> bool {
    rustix::thread::capability_is_in_bounding_set(CapabilitySet::SETFCAP).unwrap_or(false)
}

/// Sets all four uids to the caller's; the permitted capabilities outlive that.
fn become_caller(caller: Caller) -> Result<()> {
    let uid = rustix::process::Uid::from_raw(caller.uid);
    rustix::thread::set_keep_capabilities(true).or_fail("keep capabilities")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).or_fail("become the caller")?;
    rustix::thread::set_keep_capabilities(false).or_fail("stop keeping capabilities")?;
    verify_ids(caller)
}

impl Privilege {
    /// Gives everything up without having used it.
    // The value ends with it.
    #[allow(clippy::unused_self)]
    pub fn discard(self) -> Result<()> {
        hold_nothing()
    }

    /// Whether it is enough. A caller's bounding set can lack something.
    pub fn suffices(&self, need: Need) -> bool {
        self.permitted.contains(need.capabilities(self.caller))
    }

    /// Gives it up for another program. Root's own rights come back to it at exec, but for `no_new_privs`: then what
    /// root holds stays permitted, and nothing is in effect.
    pub fn hand_on(self) -> Result<()> {
        let own = self.caller.uid == 0 && rustix::thread::no_new_privs().unwrap_or(false);
        set(CapabilitySet::empty(), if own { self.permitted } else { CapabilitySet::empty() })
    }

    /// Gives it up for a user namespace of one's own.
    pub fn exchange(self) -> Result<()> {
        set(CapabilitySet::empty(), self.permitted & CapabilitySet::SETFCAP)
    }

    /// Puts `SYS_ADMIN` and what else is needed in effect and gives up the rest.
    pub fn raise(self, need: Need) -> Result<Privileged> {
        let wanted = need.capabilities(self.caller);
        if !self.suffices(need) {
            return Err(Error::refused("start", "a capability is missing").hint("see 'selfdock doctor'"));
        }
        set(wanted, wanted)?;
        Ok(Privileged { caller: self.caller, held: wanted, in_own_namespace: false })
    }
}

/// What a request needs beyond `SYS_ADMIN`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Need {
    /// A network namespace of its own.
    pub network: bool,
    /// To move into the namespaces of an instance, instead of making some.
    pub enter: bool,
    /// To lay an overlay over a directory, in a user namespace: it makes a directory of the mode 0 and works in it, and
    /// what it copies keeps its owner and mode. They count for files of the caller's alone.
    pub overlay: bool,
}

impl Need {
    fn capabilities(self, caller: Caller) -> CapabilitySet {
        let mut all = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_CHROOT;
        all.set(CapabilitySet::CHECKPOINT_RESTORE, !self.enter);
        all.set(CapabilitySet::NET_ADMIN, self.network);
        all.set(CapabilitySet::SETPCAP, caller.uid == 0);
        all.set(OF_OVERLAYS, self.overlay);
        all
    }
}

/// The start of an instance in unprivileged mode: this process has a new user namespace of its
/// own and holds every capability there. Maps the caller's ids to themselves and no others,
/// and keeps `SYS_ADMIN` and what is needed. `user_namespaces(7)`: a process may map its own
/// id, and its own gid once setgroups(2) is denied.
pub fn own_user_namespace(caller: Caller, need: Need) -> Result<Privileged> {
    // Its files in /proc belong to root otherwise. Nothing privileged is held or in memory.
    become_dumpable()?;
    write_once(b"/proc/self/setgroups", b"deny")?;
    write_once(b"/proc/self/uid_map", to_itself(caller.uid))?;
    write_once(b"/proc/self/gid_map", to_itself(caller.gid))?;
    become_undumpable()?;
    verify_ids(caller)?;
    let wanted = need.capabilities(caller);
    set(wanted, wanted)?;
    Ok(Privileged { caller, held: wanted, in_own_namespace: true })
}

/// After a move into the user namespace of an instance, where this process holds every
/// capability: keeps what entering needs.
pub fn joined_user_namespace(caller: Caller) -> Result<Privileged> {
    verify_ids(caller)?;
    let wanted = Need { enter: true, ..Need::default() }.capabilities(caller);
    set(wanted, wanted)?;
    Ok(Privileged { caller, held: wanted, in_own_namespace: true })
}

/// An id that is the same inside. `user_namespaces(7)`
fn to_itself(id: u32) -> Bytes {
    let id = decimal(id);
    join(&[id, b" ", id, b" 1"])
}

fn write_once(path: &[u8], text: &[u8]) -> Result<()> {
    let failed = on("map the caller's ids in {}", path);
    let file = files::open(CWD, path, OFlags::WRONLY).or_fail(failed)?;
    let root = "uid 0 cannot be mapped without CAP_SETFCAP; other users can";
    let written = rustix::io::write(&file, text).or_fail(failed);
    let written =
        if text.starts_with(b"0 ") { written.map_err(|e| e.hint_if(Errno::PERM, root)) } else { written };
    match written? {
        n if n == text.len() => Ok(()),
        _ => Err(Error::refused(failed, "the write was cut short")),
    }
}

impl Privileged {
    /// The same for a child process, which has its own copy of what this process holds.
    #[must_use]
    pub fn for_child(&self) -> Self {
        Privileged { caller: self.caller, held: self.held, in_own_namespace: self.in_own_namespace }
    }

    /// Leaves in effect only what starting processes takes; [`Privileged::take_up`] has the rest
    /// in effect again, in a child.
    pub fn set_aside(&self) -> Result<()> {
        set(self.held & TO_START, self.held)
    }

    /// Has all of it in effect but what only [`Keeper::start`](crate::keeper::Keeper::start) and
    /// the choice of a PID need.
    pub fn take_up(&mut self, enter: bool) -> Result<()> {
        if !enter {
            self.held.remove(CapabilitySet::CHECKPOINT_RESTORE);
        }
        set(self.held, self.held)
    }

    /// Does something with no capability in effect: whatever the caller or an image has made is
    /// opened and read so. Some files of the kernel show more to whoever has `SYS_ADMIN`.
    pub fn without<T>(&self, act: impl FnOnce() -> T) -> Result<T> {
        set(CapabilitySet::empty(), self.held)?;
        let done = act();
        set(self.held, self.held)?;
        Ok(done)
    }

    /// Gives up everything, in a process that never becomes another program.
    pub fn renounce(self) -> Result<()> {
        hold_nothing()?;
        verify_ids(self.caller)
    }

    /// Gives up everything, and makes sure of it: no capability in any set that the process
    /// could use, no id but the caller's, no flag that would bring capabilities back. A
    /// caller with uid 0 would get them back at exec; `NOROOT` ends that for good, and leaves
    /// file capabilities, which count on selfdock's own file only. capabilities(7).
    pub fn relinquish(self) -> Result<()> {
        let noroot = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
        let mut wanted = secure_bits()?.difference(CapabilitiesSecureBits::KEEP_CAPS);
        if self.caller.uid == 0 {
            // It may have been set aside.
            set(self.held, self.held)?;
            wanted |= noroot;
            rustix::thread::set_capabilities_secure_bits(wanted).or_fail("end the rights of root")?;
        }
        set(CapabilitySet::empty(), CapabilitySet::empty())?;
        verify_ids(self.caller)?;
        if secure_bits()? != wanted {
            return Err(Error::refused("give up privilege", "the kernel would still keep capabilities"));
        }
        Ok(())
    }
}

/// Gives up what may be permitted, in a process that never becomes another program.
pub fn hold_nothing() -> Result<()> {
    set(CapabilitySet::empty(), CapabilitySet::empty())
}

/// Hides this process from the others of the caller. `PR_SET_DUMPABLE`, prctl(2).
pub fn become_undumpable() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).or_fail("become undumpable")
}

/// Lets its owner look at this process, as at any other.
pub fn become_dumpable() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).or_fail("become dumpable")
}

fn secure_bits() -> Result<CapabilitiesSecureBits> {
    rustix::thread::capabilities_secure_bits().or_fail("read the securebits")
}

/// Sets the capability sets and reads them back. An empty inheritable set empties the
/// ambient one too. capabilities(7).
fn set(effective: CapabilitySet, permitted: CapabilitySet) -> Result<()> {
    let wanted = CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, wanted).or_fail("set capabilities")?;
    if !are(effective, permitted)? {
        return Err(Error::refused("set capabilities", "the kernel did not set them"));
    }
    Ok(())
}

/// Whether the capability sets are these, and nothing is inheritable.
fn are(effective: CapabilitySet, permitted: CapabilitySet) -> Result<bool> {
    Ok(current()? == CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() })
}

fn current() -> Result<CapabilitySets> {
    rustix::thread::capabilities(None).or_fail("read capabilities")
}

fn verify_ids(caller: Caller) -> Result<()> {
    let ids = sys::all_ids().or_fail("read the ids")?;
    if ids != ([caller.uid; 4], [caller.gid; 4]) {
        let why = "the ids are not the caller's, or were mapped to others";
        return Err(Error::refused("become the caller", why));
    }
    Ok(())
}
