//! The caller's ids, and the privilege of this process over time. Privilege is a value: it can be raised once, and
//! giving it up consumes it. Each id and each capability set is read back from the kernel.

use crate::error::{Error, OrFail, Result, on};
use crate::text::{Bytes, decimal, join};
use crate::{files, host, sys};
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

/// The real ids of the process that started selfdock. They never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
}

/// The capabilities that may stay permitted after the start. `SYS_ADMIN` is for namespaces and mounts. `NET_ADMIN`
/// brings up loopback in a new network namespace. `SYS_CHROOT` puts the keeper into an empty directory and the
/// command into its root, and enters the mount namespace of an instance. `CHECKPOINT_RESTORE` gives the command the
/// PID of its supervisor. `SETPCAP` takes from a caller with uid 0 what root gets at exec. [`Privilege::raise`] gives
/// up what the request does not need. The installed file grants no others.
const KEPT: CapabilitySet = CapabilitySet::from_bits_retain(host::capability_set());

/// The capabilities in effect while processes are started. `SYS_ADMIN` is not among them: with it the kernel would
/// not apply `RLIMIT_NPROC` to fork. `copy_process()`, kernel/fork.c
const TO_START: CapabilitySet = CapabilitySet::SYS_CHROOT.union(CapabilitySet::CHECKPOINT_RESTORE);

/// The capabilities that the kernel's overlay uses, from the process that mounts it.
const OF_OVERLAYS: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FSETID);

/// Capabilities that are permitted, and not in effect.
#[derive(Debug)]
pub struct Privilege {
    caller: Caller,
    permitted: CapabilitySet,
}

/// `CAP_SYS_ADMIN` is in effect, or set aside, in addition to the caller's own rights. Privileged steps take a
/// reference to this value. [`Privileged::relinquish`] ends it for good.
#[derive(Debug)]
pub struct Privileged {
    caller: Caller,
    /// The capabilities that may be in effect.
    held: CapabilitySet,
    /// Unprivileged mode: the capabilities count only in the instance's own user namespace.
    pub in_own_namespace: bool,
}

/// Gives up everything except what this program is installed for, before it reads any byte of the command line. All
/// ids become the caller's. No capability is in effect. Other processes of the caller cannot trace this one or read
/// its memory.
pub fn shed() -> Result<(Caller, Option<Privilege>)> {
    let (uids, gids) = sys::all_ids().or_fail("read the ids of the caller")?;
    let caller = Caller { uid: uids[0], gid: gids[0] };
    if gids[1..].iter().any(|gid| *gid != caller.gid) {
        return Err(Error::refused("start", "the program is installed set-gid")
            .hint("install it again with 'cargo xtask install'"));
    }
    let of_root = if caller.uid == 0 { CapabilitySet::SETFCAP } else { CapabilitySet::empty() };
    if uids.iter().any(|uid| *uid != caller.uid) {
        become_caller(caller)?;
    }
    let permitted = current()?.permitted & (KEPT | of_root);
    // If file capabilities limit the set-uid bit, the sets have these values already.
    if !are(CapabilitySet::empty(), permitted)? {
        set(CapabilitySet::empty(), permitted)?;
    }
    if permitted.contains(Need::default().capabilities(caller)) && (caller.uid != 0 || can_end_root()?) {
        // The kernel did this at exec, unless fs.suid_dumpable says otherwise.
        become_undumpable()?;
        Ok((caller, Some(Privilege { caller, permitted })))
    } else {
        set(CapabilitySet::empty(), permitted & of_root)?;
        Ok((caller, None))
    }
}

/// Called before a user namespace is made. uid 0 can be mapped in it only if its maker had `SETFCAP` in effect. This
/// capability is root's own, unless the bounding set lacks it. `user_namespaces(7)`
pub fn allow_to_map_root(caller: Caller) -> Result<()> {
    if caller.uid != 0 {
        return Ok(());
    }
    let own = current()?.permitted & CapabilitySet::SETFCAP;
    set(own, own)
}

/// Whether root can map itself in a user namespace. Root gets its own capabilities back only at exec, so this checks
/// what exec would give: the bounding set.
pub fn can_map_root() -> bool {
    rustix::thread::capability_is_in_bounding_set(CapabilitySet::SETFCAP) == Ok(true)
}

/// Sets all four uids to the caller's, and keeps the permitted capabilities. A caller can have forbidden that
/// (`SECBIT_KEEP_CAPS_LOCKED`): then none is permitted afterwards, as without the set-uid bit.
fn become_caller(caller: Caller) -> Result<()> {
    let uid = rustix::process::Uid::from_raw(caller.uid);
    let kept = match rustix::thread::set_keep_capabilities(true) {
        Err(Errno::PERM) => false,
        set => set.or_fail("keep capabilities").map(|()| true)?,
    };
    rustix::thread::set_thread_res_uid(uid, uid, uid).or_fail("become the caller")?;
    if kept {
        rustix::thread::set_keep_capabilities(false).or_fail("stop keeping capabilities")?;
    }
    verify_ids(caller)
}

/// Whether [`Privileged::relinquish`] can end what root gets at exec: the caller can have locked it as it is.
fn can_end_root() -> Result<bool> {
    let noroot = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
    Ok(secure_bits()? & noroot != CapabilitiesSecureBits::NO_ROOT_LOCKED)
}

impl Privilege {
    /// Gives up everything, unused.
    // It consumes the value.
    #[allow(clippy::unused_self)]
    pub fn discard(self) -> Result<()> {
        hold_nothing()
    }

    /// Whether the privilege suffices. The bounding set of the caller may lack something.
    pub fn suffices(&self, need: Need) -> bool {
        self.permitted.contains(need.capabilities(self.caller))
    }

    /// Gives up the privilege before another program is executed. That program gets root's own capabilities back at
    /// exec, if the caller is root. With `no_new_privs` it would not, so then they stay permitted, with none in
    /// effect.
    pub fn hand_on(self) -> Result<()> {
        let own = self.caller.uid == 0 && rustix::thread::no_new_privs().unwrap_or(false);
        set(
            CapabilitySet::empty(),
            if own { self.permitted } else { self.permitted & CapabilitySet::SETFCAP },
        )
    }

    /// Gives up the privilege in favour of a new user namespace.
    pub fn exchange(self) -> Result<()> {
        set(CapabilitySet::empty(), self.permitted & CapabilitySet::SETFCAP)
    }

    /// Puts `SYS_ADMIN` and the other needed capabilities in effect, and gives up the rest.
    pub fn raise(self, need: Need) -> Result<Privileged> {
        let wanted = need.capabilities(self.caller);
        if !self.suffices(need) {
            return Err(Error::refused("start", "a capability is missing").hint("see 'selfdock doctor'"));
        }
        set(wanted, wanted)?;
        Ok(Privileged { caller: self.caller, held: wanted, in_own_namespace: false })
    }
}

/// What a request needs in addition to `SYS_ADMIN`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Need {
    /// A new network namespace.
    pub network: bool,
    /// To enter the namespaces of an instance, instead of making new ones.
    pub enter: bool,
    /// To mount an overlay in a user namespace. The overlay makes a directory with mode 0 and works in it, and copied
    /// files keep their owner and mode. The capabilities count for files of the caller only.
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

/// Sets up the new user namespace of this process, in unprivileged mode. The process has every capability there. This
/// maps the caller's ids to themselves and no others, and keeps `SYS_ADMIN` and what the request needs.
/// `user_namespaces(7)`: a process may map its own uid, and its own gid once setgroups(2) is denied.
pub fn own_user_namespace(caller: Caller, need: Need) -> Result<Privileged> {
    // The files of an undumpable process in /proc belong to root. This process has no privilege, and nothing
    // privileged in its memory.
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

/// Sets up the user namespace in which [`--fake-root`](crate::about) has had ids mapped, and in which this process is
/// uid 0. Keeps `SYS_ADMIN`, what the request needs, and what mapping the ids once more needs.
pub fn root_of_user_namespace(need: Need) -> Result<Privileged> {
    let caller = Caller { uid: 0, gid: 0 };
    verify_ids(caller)?;
    let to_map = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETFCAP;
    let wanted = need.capabilities(caller) | to_map;
    set(wanted, wanted)?;
    Ok(Privileged { caller, held: wanted, in_own_namespace: true })
}

/// Called after entering the user namespace of an instance, where this process has every capability. Keeps what
/// entering needs.
pub fn joined_user_namespace(caller: Caller) -> Result<Privileged> {
    verify_ids(caller)?;
    let wanted = Need { enter: true, ..Need::default() }.capabilities(caller);
    set(wanted, wanted)?;
    Ok(Privileged { caller, held: wanted, in_own_namespace: true })
}

/// The map of an id to itself. `user_namespaces(7)`
fn to_itself(id: u32) -> Bytes {
    let id = decimal(id);
    join(&[id, b" ", id, b" 1"])
}

fn write_once(path: &[u8], text: &[u8]) -> Result<()> {
    let failed = on("map your ids in {}", path);
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
    /// A copy for a child process, which has a copy of the capabilities.
    #[must_use]
    pub fn for_child(&self) -> Self {
        Privileged { caller: self.caller, held: self.held, in_own_namespace: self.in_own_namespace }
    }

    /// Leaves in effect only what starting a process needs. In the child [`Privileged::take_up`] restores the rest.
    pub fn set_aside(&self) -> Result<()> {
        set(self.held & TO_START, self.held)
    }

    /// Puts everything in effect, except what only [`Keeper::start`](crate::keeper::Keeper::start) and the choice of
    /// a PID need.
    pub fn take_up(&mut self, enter: bool) -> Result<()> {
        if !enter {
            self.held.remove(CapabilitySet::CHECKPOINT_RESTORE);
        }
        set(self.held, self.held)
    }

    /// Runs `act` with no capability in effect. Files of the caller and of images are opened and read in this way.
    /// Some files of the kernel show more to a process with `SYS_ADMIN`.
    pub fn without<T>(&self, act: impl FnOnce() -> T) -> Result<T> {
        set(CapabilitySet::empty(), self.held)?;
        let done = act();
        set(self.held, self.held)?;
        Ok(done)
    }

    /// Gives up everything, in a process that never executes another program.
    pub fn renounce(self) -> Result<()> {
        hold_nothing()?;
        verify_ids(self.caller)
    }

    /// Gives up what root gets back when another program is executed. With `no_new_privs` root gets nothing back, so
    /// then the capabilities stay permitted, with none in effect.
    pub fn hand_on(self) -> Result<()> {
        let none = CapabilitySet::empty();
        set(none, if rustix::thread::no_new_privs().unwrap_or(false) { self.held } else { none })?;
        verify_ids(self.caller)
    }

    /// Hands what selfdock may hold on to the next program, as ambient capabilities. They count only in the user
    /// namespace that this process has made. If a policy forbids that, the next program gets nothing. capabilities(7)
    pub fn bequeath(self) -> Result<()> {
        let (kept, failed) = (self.held & KEPT, "hand on capabilities");
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
        rustix::thread::set_capabilities(None, sets).or_fail(failed)?;
        for capability in kept.iter() {
            match rustix::thread::configure_capability_in_ambient_set(capability, true) {
                Err(Errno::PERM) => return self.relinquish(),
                raised => raised.or_fail(failed)?,
            }
        }
        verify_ids(self.caller)
    }

    /// Gives up everything, and verifies it: no capability is in any set that the process could use, no id differs
    /// from the caller's, and no flag would bring capabilities back. A caller with uid 0 would get them back at exec;
    /// `NOROOT` prevents that for good. File capabilities still work, but count on selfdock's own file only.
    /// capabilities(7).
    pub fn relinquish(self) -> Result<()> {
        let noroot = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
        let mut wanted = secure_bits()?.difference(CapabilitiesSecureBits::KEEP_CAPS);
        if self.caller.uid == 0 {
            // The capabilities may be set aside.
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

/// Gives up all permitted capabilities, in a process that never executes another program.
pub fn hold_nothing() -> Result<()> {
    set(CapabilitySet::empty(), CapabilitySet::empty())
}

/// Protects this process from other processes of the caller. `PR_SET_DUMPABLE`, prctl(2).
pub fn become_undumpable() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).or_fail("become undumpable")
}

/// Lets its owner inspect this process, as any other one.
pub fn become_dumpable() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).or_fail("become dumpable")
}

fn secure_bits() -> Result<CapabilitiesSecureBits> {
    rustix::thread::capabilities_secure_bits().or_fail("read the securebits")
}

/// Sets the capability sets, and reads them back. An empty inheritable set empties the ambient set, too.
/// capabilities(7).
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

/// Sees that all four uids and gids are the caller's.
pub fn verify_ids(caller: Caller) -> Result<()> {
    let ids = sys::all_ids().or_fail("read the ids")?;
    if ids != ([caller.uid; 4], [caller.gid; 4]) {
        let why = "the ids are not the caller's, or were mapped to others";
        return Err(Error::refused("become the caller", why));
    }
    Ok(())
}
