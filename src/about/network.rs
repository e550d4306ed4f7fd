//! `--net user`: a network of its own that still reaches the outside. The network namespace belongs to the front's user
//! namespace. pasta(1) makes an interface in it. pasta runs outside, as the caller, and passes packets on. Nothing in
//! the instance has a right over this network.

use super::outside::Job;
use super::overlay::Stands;
use crate::creds::{Caller, Privileged};
use crate::error::{Error, OrFail, Result, on};
use crate::files;
use crate::names::RESOLV;
use crate::plan::Tmpfs;
use crate::process::read;
use crate::text::{Bytes, decimal, join, number};
use alloc::vec::Vec;
use rustix::fd::AsFd;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

/// The value of `--net user`.
#[derive(Clone, Debug, Default)]
pub struct Network<'a> {
    /// Ports of the host that lead inside, as pasta takes them.
    tcp: Vec<&'a [u8]>,
    udp: Vec<&'a [u8]>,
    /// Whether the address of the gateway leads to the host's loopback.
    loopback: bool,
}

/// The name server inside, if the host's name server listens on the host's loopback.
const RESOLVER: &[u8] = b"169.254.1.1";

/// The tmpfs for resolv.conf.
const ROOM: Tmpfs = Tmpfs { size: 1 << 20, inodes: 16, mode: 0o755 };

impl<'a> Network<'a> {
    /// Parses the value of `--net`. `None` if it is not `user`.
    pub fn parse(value: &'a [u8]) -> Option<Result<Self>> {
        let rest = value.strip_prefix(b"user")?;
        if !rest.is_empty() && !rest.starts_with(b",") {
            return None;
        }
        let mut network = Self::default();
        for part in rest.split(|b| *b == b',').skip(1) {
            let refuse = |why| Some(Err(Error::refused(on("option --net {}", value), why)));
            match part {
                b"loopback" => network.loopback = true,
                [b't', b'c', b'p', b'=', ports @ ..] if are_ports(ports) => network.tcp.push(ports),
                [b'u', b'd', b'p', b'=', ports @ ..] if are_ports(ports) => network.udp.push(ports),
                _ => return refuse("not user[,tcp=[ADDRESS/]OUTSIDE[:INSIDE]][,udp=...][,loopback]"),
            }
        }
        Some(Ok(network))
    }

    /// The command line of pasta for the network of a process. `find` looks for a program in `PATH`.
    pub fn command(&self, find: impl Fn(&[u8]) -> Option<Bytes>, caller: Caller, pid: Bytes) -> Result<Job> {
        let pasta = find(b"pasta").ok_or_else(|| {
            Error::refused("option --net user: find 'pasta'", "no directory of PATH has it")
                .hint("your distribution has it as 'passt'")
        })?;
        files::open(CWD, TUN, OFlags::RDWR)
            .or_fail(on("option --net user: open {}", TUN))
            .map_err(|e| e.hint_if(Errno::NOENT, NO_TUN).hint_if(Errno::NODEV, NO_TUN))
            .map_err(|e| e.hint_if(Errno::ACCESS, CLOSED_TUN))?;
        let mut words: Vec<Bytes> = Vec::from([pasta, b"--config-net", b"--quiet"]);
        if caller.uid == 0 {
            // Otherwise pasta becomes nobody, who may not enter the namespaces.
            words.extend([&b"--runas"[..], join(&[b"0:", decimal(caller.gid)])]);
        }
        for (option, ports) in [(b"-t", &self.tcp), (b"-u", &self.udp)] {
            for port in ports {
                let is_whole = port.contains(&b'/');
                let port = if is_whole { join(&[port]) } else { join(&[b"127.0.0.1/", port]) };
                words.extend([&option[..], port]);
            }
            if ports.is_empty() {
                words.extend([&option[..], b"none"]);
            }
        }
        words.extend([&b"-T"[..], b"none", b"-U", b"none"]);
        if !self.loopback {
            words.push(b"--no-map-gw");
        }
        if own_resolver().is_some() {
            words.extend([&b"--dns-forward"[..], RESOLVER]);
        }
        words.push(pid);
        Ok(Job { words, pid_option: Some(b"--pid") })
    }

    /// Makes a resolv.conf for the instance, if the host's names a server on the loopback. Returns its path.
    pub fn resolver(privileged: &Privileged, stands: &mut Stands<'_>) -> Result<Option<Bytes>> {
        let Some(text) = own_resolver() else { return Ok(None) };
        let failed = "make a configuration of the resolver";
        let why = "no empty directory was found for it";
        let (path, room) = stands.make(privileged, &ROOM, failed, why)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = files::open(room.as_fd(), b"resolv.conf", flags).or_fail(failed)?;
        files::write(file.as_fd(), text).or_fail(failed)?;
        Ok(Some(join(&[path, b"/resolv.conf"])))
    }
}

/// Lets servers inside bind every port. No other user is in this network, so no port needs protection. ip(7)
pub fn open_all_ports() {
    let file = files::open(CWD, b"/proc/sys/net/ipv4/ip_unprivileged_port_start", OFlags::WRONLY);
    // If the write fails, only ports from 1024 on can be bound.
    let _ = file.and_then(|file| files::write(file.as_fd(), b"0"));
}

/// The device by which pasta makes an interface.
const TUN: &[u8] = b"/dev/net/tun";
const NO_TUN: &str =
    "'modprobe tun' as root creates it; an outer instance needs --dev /dev/net/tun, a container --device";
const CLOSED_TUN: &str = "'chmod 666 /dev/net/tun' as root opens it to all users, as udev does";

/// `[ADDRESS/]OUTSIDE[:INSIDE]`
fn are_ports(word: &[u8]) -> bool {
    let is_port = |digits: &[u8]| number(digits, 10).is_some_and(|port| (1..=65535).contains(&port));
    let ports = match word.iter().rposition(|b| *b == b'/') {
        Some(at) if at > 0 => &word[at + 1..],
        Some(_) => return false,
        None => word,
    };
    ports.split(|b| *b == b':').count() <= 2 && ports.split(|b| *b == b':').all(is_port)
}

/// The host's resolv.conf with [`RESOLVER`] as the server. `None` if the host's names no server on the loopback.
/// resolv.conf(5)
fn own_resolver() -> Option<Bytes> {
    let text = read(RESOLV)?;
    let is_server = |line: &&[u8]| line.starts_with(b"nameserver");
    let is_own = |line: &[u8]| {
        let address = line[b"nameserver".len()..].trim_ascii();
        address.starts_with(b"127.") || address == b"::1"
    };
    let lines = || text.split(|b| *b == b'\n');
    if !lines().filter(is_server).any(is_own) {
        return None;
    }
    let mut own = join(&[b"nameserver ", RESOLVER, b"\n"]);
    for line in lines().filter(|line| !is_server(line) && !line.is_empty()) {
        own = join(&[own, line, b"\n"]);
    }
    Some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_and_an_address_stands_before_them() {
        for (word, are) in [
            ("8080:80", true),
            ("80", true),
            ("0.0.0.0/8080:80", true),
            ("::1/8080", true),
            ("0", false),
            ("65536", false),
            ("80:80:80", false),
            ("/80", false),
            ("a:b", false),
            ("", false),
        ] {
            assert_eq!(are_ports(word.as_bytes()), are, "{word}");
        }
    }

    #[test]
    fn only_user_and_what_belongs_to_it_is_meant() {
        assert!(Network::parse(b"none").is_none() && Network::parse(b"users").is_none());
        let network = Network::parse(b"user,tcp=8080:80,udp=53,loopback,tcp=1").unwrap().unwrap();
        assert_eq!((network.tcp, network.udp), (Vec::from([&b"8080:80"[..], b"1"]), Vec::from([&b"53"[..]])));
        assert!(
            Network::parse(b"user,tcp=x").unwrap().is_err() && Network::parse(b"user,").unwrap().is_err()
        );
    }
}
