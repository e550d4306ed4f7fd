//! What the second program makes around an instance. It has the caller's rights and no privilege. It makes a user
//! namespace and others, and starts selfdock in them. Such an instance is in unprivileged mode, even if selfdock is
//! set-uid.

use super::attend::Unstarted;
use super::data::{self, in_the_limit_of_a_file};
use super::fake_root::{self, Ids};
use super::front::{self, Around, Line, Said};
use super::homes;
use super::network::{self, Network};
use super::outside::{self, Job};
use super::overlay::{self, Copy, Source, Stands};
use super::proxy;
use crate::advice::TOO_MANY;
use crate::cli::may_be_descriptor;
use crate::command::current_directory;
use crate::creds::{self, Caller, Need, Privileged};
use crate::error::{Error, OrFail, Result, both, on};
use crate::files::{self, Kind};
use crate::handover::About;
use crate::host::{lies_in, places};
use crate::mount::{find, make_private};
use crate::names::RESOLV;
use crate::options::Id;
use crate::plan::{TWO_MOUNTS, components};
use crate::process::pid_digits;
use crate::sys::{self, Attributes, namespace};
use crate::text::{Bytes, join};
use alloc::vec::Vec;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

/// What the second program makes around an instance, and what it takes for that.
pub struct Surroundings<'a, 's> {
    pub about: &'s About,
    pub around: &'s Around<'a>,
    /// The pipe for the message of a second program that could not become the command.
    pub unstarted: Option<Unstarted<'s>>,
    /// The line in plain options. What is made adds options to it.
    pub plain: &'s mut Line<'a>,
    /// The data of descriptors.
    pub data: data::Read,
}

impl Surroundings<'_, '_> {
    /// Makes everything around the instance. Afterwards this process has given up its rights in the namespaces.
    pub fn make(mut self) -> Result<()> {
        if !self.around.is_nothing() {
            make_with_namespaces(&mut self)?;
        }
        let Some(socket) = self.around.proxy else { return Ok(()) };
        proxy::put_before(self.about, socket, self.unstarted, self.plain)
    }
}

/// Refuses what [`Surroundings::make`] would refuse, as far as that can be told from files. Makes nothing.
pub fn foresee(about: &About, around: &Around<'_>, plain: &Line<'_>) -> Result<()> {
    overlay::foresee(&around.copies, around.changes)?;
    if let Some(network) = &around.network {
        let pid = pid_digits(rustix::process::getpid());
        network.command(|name| front::program(about, name), about.caller, pid)?;
    }
    if around.fake_root {
        Ids::find(about)?;
    }
    // selfdock mounts these itself.
    let (of_proxy, of_both) = (around.proxy.is_some(), around.fake_root || around.proxy.is_some());
    for (is_needed, place) in [(of_both, fake_root::INSIDE), (of_proxy, proxy::SOCKET)] {
        if is_needed && plain.takes(place) {
            return Err(Error::refused(on("mount on {}", place), TWO_MOUNTS));
        }
    }
    around.proxy.map_or(Ok(()), |socket| proxy::check(socket, plain))
}

fn make_with_namespaces(all: &mut Surroundings<'_, '_>) -> Result<()> {
    let (about, around, unstarted) = (all.about, all.around, all.unstarted);
    let (plain, data) = (&mut *all.plain, core::mem::take(&mut all.data));
    // Errors are reported before anything is made.
    let kept = overlay::prepare(&around.copies, around.changes)?;
    let pid = pid_digits(rustix::process::getpid());
    let find = |name: &[u8]| front::program(about, name);
    let served =
        around.network.as_ref().map(|network| network.command(find, about.caller, pid)).transpose()?;
    let ids = if around.fake_root { Some(fake_root::Ids::find(about)?) } else { None };
    let needs_network = served.is_some() || plain.value(Id::Net) == Some(b"none");
    let (caller, privileged) = namespaces(about, ids.as_ref(), pid, served, needs_network)?;
    // A dumpable process can open /proc/self/fd. Its rights count only for what belongs to the caller.
    creds::become_dumpable()?;
    make_private(Attributes::NONE)?;
    let mut stands = Stands::new(about, data::named_outside(plain));
    let points = mount_points(about, around, plain);
    let image = in_the_limit_of_a_file(|| {
        let (copies, kept) = (&around.copies, kept.as_ref());
        let paths = overlay::lay_over(about, caller, &privileged, copies, kept, &points, &mut stands)?;
        let image = name_copies(around, &paths, plain);
        // `ps` can find a relative root filesystem by its mounts, but not in a copy.
        for said in plain.options.iter_mut().filter(|said| said.opt.id == Id::Root) {
            if !said.values[0].starts_with(b"/") && overlay::is_in_copy(about, &around.copies, said.values[0])
            {
                said.values[0] = overlay::real_path(said.values[0]).unwrap_or(said.values[0]);
            }
        }
        data.show(&privileged, &mut stands, plain)?;
        if around.network.is_some() {
            network::open_all_ports();
            if let Some(path) = Network::resolver(&privileged, &mut stands)? {
                plain.options.extend(Said::new(Id::Map, [path, RESOLV]));
            }
        }
        show_bare_host(&privileged, &stands, plain)?;
        Ok(image)
    })?;
    if let Some((source, image)) = image {
        show_root(about, source, image, plain)?;
    }
    // With --fake-root selfdock is started as uid 0. Then it does not recognize the caller's homes.
    if around.fake_root && !around.copies_root && plain.is_of_host() {
        hide_homes(about, overlay::list(about)?, plain)?;
    }
    match ids {
        // There selfdock is started as root again. It maps no ids a second time, which the kernel would refuse.
        None if about.caller.uid == 0 => privileged.hand_on(),
        // If selfdock is not installed, it would make a user namespace of its own. The network would belong to another
        // one than the mounts then, and nobody could enter the instance.
        None if around.network.is_some() => privileged.bequeath(),
        None => privileged.relinquish(),
        Some(ids) => {
            Ids::put_before(about, ids.start_mapper()?, unstarted, plain)?;
            // At exec, selfdock gets the rights of the namespace's root again, and gives them up itself.
            privileged.renounce()
        }
    }
}

/// The mount points that a copy of an image needs.
fn mount_points(about: &About, around: &Around<'_>, plain: &Line<'_>) -> Vec<(Bytes, Kind)> {
    let Some(image) = around.copies.iter().find_map(Copy::roots) else { return Vec::new() };
    let is_said = |path: &[u8]| plain.options.iter().any(|said| said.values[1] == path);
    let names = overlay::names_of_copy(about, image, plain.value(Id::Net) == Some(b"none"), is_said);
    let place = |said: &Said<'_>| {
        let [src, dst] = said.values;
        let kind = match said.opt.id {
            Id::Tmpfs => Kind::Directory,
            // A descriptor is shown as a file.
            Id::Vol | Id::Map if may_be_descriptor(src) => Kind::File,
            Id::Vol | Id::Map => find(src, OFlags::empty()).and_then(Kind::of).ok()?,
            Id::Here => return current_directory().map(|dir| (dir, Kind::Directory)),
            _ => return None,
        };
        let path = components(dst).fold(&b""[..], |path, name| join(&[path, b"/", name]));
        (dst.starts_with(b"/") && !path.is_empty()).then_some((path, kind))
    };
    overlay::mount_points_of_copy(image, &names, plain.options.iter().filter_map(place))
}

/// Makes the namespaces. In the user namespace the caller keeps its ids, or is root. With `no_new_privs` root has later
/// only what this process holds. So this process holds what selfdock needs to make a network.
fn namespaces(
    about: &About,
    ids: Option<&Ids>,
    pid: Bytes,
    served: Option<Job>,
    needs_network: bool,
) -> Result<(Caller, Privileged)> {
    let network = if served.is_some() { namespace::NETWORK } else { 0 };
    let mut commands = Vec::new();
    if let Some(ids) = ids {
        commands.extend(ids.commands(about.caller, pid));
    }
    commands.extend(served);
    let outside =
        if commands.is_empty() { None } else { Some(outside::start(&commands, &about.environment)?) };
    creds::allow_to_map_root(about.caller)?;
    let none = "user namespaces are disabled here; 'selfdock doctor' says why";
    sys::unshare(namespace::USER | namespace::MOUNT | network)
        .or_fail("make a user namespace")
        .map_err(|e| e.hint_if(Errno::PERM, none).hint_if(Errno::NOSPC, TOO_MANY))?;
    let need = Need { overlay: true, network: needs_network, ..Need::default() };
    // Otherwise this process's files in /proc belong to root.
    creds::become_dumpable()?;
    if ids.is_none() {
        let privileged = creds::own_user_namespace(about.caller, need)?;
        // A helper that joins the namespaces from outside must be able to inspect this process.
        creds::become_dumpable()?;
        if let Some(outside) = outside {
            outside.finish()?;
        }
        return Ok((about.caller, privileged));
    }
    if let Some(outside) = outside {
        outside.finish()?;
    }
    Ok((Caller { uid: 0, gid: 0 }, creds::root_of_user_namespace(need)?))
}

/// Shows the host's root directory without the stands to the options that show it.
fn show_bare_host(privileged: &Privileged, stands: &Stands<'_>, plain: &mut Line<'_>) -> Result<()> {
    let mut host = None;
    // `/` alone as a root filesystem is the host image.
    let is_host = plain.is_of_host();
    let shows = |said: &&mut Said<'_>| match said.opt.id {
        Id::Vol | Id::Map => true,
        id => id == Id::Root && !is_host,
    };
    for said in plain.options.iter_mut().filter(shows) {
        let [src, dst] = said.values;
        // selfdock itself has something to say about a source that cannot be opened.
        let Ok(root) = find(src, OFlags::empty()) else { continue };
        if files::path_of(&root).ok() == Some(b"/") {
            if host.is_none() {
                host = match said.opt.id {
                    Id::Root => stands.bare_host(privileged, &root, on("use the root filesystem {}", src)),
                    _ => stands.bare_host(privileged, &root, both("bind {} on {}", src, dst)),
                }?;
            }
            said.values[0] = host.unwrap_or(src);
        }
    }
    Ok(())
}

/// Puts the paths of copies into the options that show them. Returns the copy of the image, with its path.
fn name_copies<'s, 'a>(
    around: &'s Around<'a>,
    paths: &[Bytes],
    plain: &mut Line<'a>,
) -> Option<(&'s Source<'a>, Bytes)> {
    let mut image = None;
    let mut options = around.volumes.iter();
    for (copy, path) in around.copies.iter().zip(paths.iter().copied()) {
        match &copy.source {
            Source::Dir(_) => {
                if let Some(at) = options.next() {
                    plain.options[*at].values[0] = path;
                }
            }
            source => image = Some((source, path)),
        }
    }
    image
}

/// Makes the copy of the image the root filesystem.
fn show_root<'a>(about: &About, source: &Source<'_>, image: Bytes, plain: &mut Line<'a>) -> Result<()> {
    let say = |plain: &mut Line<'a>, id, values| plain.options.extend(Said::new(id, values));
    plain.options.retain(|said| said.opt.id != Id::Root);
    say(plain, Id::Root, [image, b""]);
    if !matches!(source, Source::Host) {
        let is_said = |path: &[u8]| plain.options.iter().any(|said| said.values[1] == path);
        let names = overlay::names_of_copy(about, &[image], plain.value(Id::Net) == Some(b"none"), is_said);
        for names in names {
            say(plain, Id::Map, names.into());
        }
        return Ok(());
    }
    if files::identity_of(SYSTEM).is_ok() {
        if plain.covers(SYSTEM) {
            // What the caller mounts or hides is there in the host image, too.
            overlay::make_directory(image, SYSTEM).or_fail(on("make the directory {}", SYSTEM))?;
        } else {
            say(plain, Id::Map, [SYSTEM, SYSTEM]);
        }
    }
    let list = overlay::list(about)?;
    hide_homes(about, list, plain)?;
    let is_chosen = plain.has(Id::Chdir) || plain.has(Id::Here);
    // selfdock itself finds out whether the directory is in a mount of the caller.
    let is_shown = |dir: &Bytes| places(list).any(|place| lies_in(dir, place)) && !plain.covers(dir);
    if let Some(dir) = current_directory().filter(is_shown).filter(|_| !is_chosen) {
        let inside = join(&[image, dir]);
        if files::open(CWD, inside, OFlags::PATH | OFlags::DIRECTORY).is_ok() {
            say(plain, Id::Chdir, [dir, b""]);
        }
    }
    Ok(())
}

/// Hides the caller's homes, as an instance of the host image does, unless the caller mounts something there.
fn hide_homes(about: &About, list: &[u8], plain: &mut Line<'_>) -> Result<()> {
    for home in homes::hidden(about, list)? {
        if !plain.covers(home) {
            plain.options.extend(Said::new(Id::MaskIfExists, [home, b""]));
        }
    }
    Ok(())
}

/// The description of the machine. It is one of [`crate::host::SHOWN`], but lies in no directory that can be copied.
const SYSTEM: &[u8] = b"/sys/devices/system";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::SHOWN;

    #[test]
    fn what_is_shown_beside_a_copy_is_what_the_host_image_shows() {
        let shown = |(dir, names): &(&str, &str)| {
            names.split(' ').any(|name| join(&[dir.as_bytes(), name.as_bytes()]) == SYSTEM)
        };
        assert!(SHOWN.iter().any(shown));
    }
}
