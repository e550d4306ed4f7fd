//! `--proxy`: an instance without a network, from which one Unix socket leads to a proxy. Programs reach proxies by a
//! TCP port, not by a socket. So the second program is started in place of the command. It binds a port of the
//! instance's loopback, starts a relay process that passes each connection on to the socket, and becomes the command.

use super::attend::Unstarted;
use super::fake_root::INSIDE;
use super::front::{Line, Said};
use super::outside::{stand_apart, start_orphan};
use crate::cli::Request;
use crate::command::Command;
use crate::descriptors::number_of;
use crate::error::{Error, OrFail, Result, on};
use crate::files;
use crate::handover::{About, Task};
use crate::installation::second_program;
use crate::options::Id;
use crate::sys::{self, Disposition, dispose, signal};
use crate::text::{c_string, decimal, join};
use core::convert::Infallible;
use core::net::{Ipv4Addr, SocketAddrV4};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    shutdown, socket_with,
};

/// The port. Squid uses the same one.
const PORT: u16 = 3128;

/// The path of the socket in the instance. It is in no image.
pub const SOCKET: &[u8] = b"/dev/shm/selfdock-proxy";

/// The variables that name a proxy. Most programs read the names in small letters. curl reads no other for HTTP.
const VARIABLES: [&[u8]; 4] = [b"http_proxy", b"https_proxy", b"HTTP_PROXY", b"HTTPS_PROXY"];
/// The variables that name what is reached without the proxy.
const DIRECT: [&[u8]; 2] = [b"no_proxy", b"NO_PROXY"];

/// Checks that the proxy is the only way out, and that its socket exists.
pub fn check(socket: &[u8], plain: &Line<'_>) -> Result<()> {
    let failed = on("option --proxy {}", socket);
    if plain.options.iter().rfind(|said| said.opt.id == Id::Net).is_none_or(|net| net.values[0] != b"none") {
        return Err(Error::refused(failed, "CMD could reach the network without it").hint("add --net none"));
    }
    let stat = c_string(socket).and_then(rustix::fs::stat).or_fail(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(Error::refused(failed, "it is not a socket"));
    }
    Ok(())
}

/// Adds the socket and the second program to the instance, and puts the second program before the command.
pub fn put_before<'a>(
    about: &About,
    socket: &'a [u8],
    unstarted: Option<Unstarted<'_>>,
    plain: &mut Line<'a>,
) -> Result<()> {
    check(socket, plain)?;
    let mut say = |id, values| plain.options.extend(Said::new(id, values));
    say(Id::Map, [socket, SOCKET]);
    say(Id::Map, [second_program(about.program.to_bytes())?, INSIDE]);
    let url = join(&[b"http://127.0.0.1:", decimal(PORT)]);
    for name in VARIABLES {
        say(Id::Env, [name, url]);
    }
    for name in DIRECT {
        say(Id::Env, [name, b"localhost,127.0.0.1,::1"]);
    }
    let unstarted = Unstarted::word(unstarted, plain)?;
    plain.command.splice(0..0, [INSIDE, Task::RELAY_TO_PROXY.to_bytes(), INSIDE, unstarted]);
    Ok(())
}

/// In the instance: starts the relay, and becomes the command.
pub fn become_client(about: &About, words: &[&[u8]]) -> Result<Infallible> {
    let [unstarted, command @ ..] = words else {
        return Err(Error::refused("start", "arguments are missing"));
    };
    let unstarted = Unstarted::take(unstarted)?;
    let request = Request { command: command.to_vec(), ..Request::default() };
    let error = match start_relay().and_then(|()| Command::check::<Error>(&request, &about.environment, None))
    {
        Ok(command) => command.exec(),
        Err(error) => error,
    };
    Unstarted::end(unstarted.as_ref(), &error)
}

/// Starts the relay as an orphan. It ends with the instance. The command can look into it, and can open its
/// descriptors. So it has none but the port before the command starts.
fn start_relay() -> Result<()> {
    // How many connections can wait.
    const BACKLOG: i32 = 128;
    let failed = "take the port of the proxy";
    let port = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let port = port.or_fail(failed)?;
    bind(&port, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT)).or_fail(failed)?;
    listen(&port, BACKLOG).or_fail(failed)?;
    let apart = || stand_apart(&[number_of(&port)]);
    start_orphan("start the relay", apart, || u8::from(relay(&port).is_err()))
}

/// Serves each connection by a process. SIGCHLD is ignored, so nobody has to wait for these processes. wait(2)
fn relay(port: &OwnedFd) -> Result<Infallible> {
    let failed = "relay to the proxy";
    dispose(signal::CHLD, Disposition::Ignored).or_fail(failed)?;
    dispose(signal::PIPE, Disposition::Ignored).or_fail(failed)?;
    loop {
        match accept_with(port, SocketFlags::CLOEXEC) {
            // If no process can be started, the connection is closed.
            Ok(client) => drop(sys::start_child(0, || u8::from(lead(&client).is_err()))),
            Err(Errno::INTR | Errno::CONNABORTED | Errno::MFILE | Errno::NFILE | Errno::NOMEM) => {}
            Err(errno) => return Err(Error::of(failed, errno)),
        }
    }
}

/// Passes on the data between a connection and the socket, in both directions.
fn lead(client: &OwnedFd) -> rustix::io::Result<()> {
    let server = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&server, &SocketAddrUnix::new(SOCKET)?)?;
    let both = [client.as_fd(), server.as_fd()];
    let mut is_open = [true, true];
    while is_open != [false, false] {
        let wanted = |at: usize| if is_open[at] { PollFlags::IN } else { PollFlags::empty() };
        let mut ready =
            [PollFd::from_borrowed_fd(both[0], wanted(0)), PollFd::from_borrowed_fd(both[1], wanted(1))];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            done => done?,
        };
        for at in 0..2 {
            let seen = ready[at].revents();
            if is_open[at] && !seen.is_empty() {
                is_open[at] = pass(both[at], both[1 - at])?;
            } else if seen.contains(PollFlags::ERR) {
                return Err(Errno::CONNRESET);
            }
        }
    }
    Ok(())
}

/// Passes on the data that can be read. Returns whether more can come.
fn pass(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let mut buffer = [0u8; 16384];
    let count = rustix::io::read(from, &mut buffer[..])?;
    if count == 0 {
        shutdown(to, Shutdown::Write)?;
        return Ok(false);
    }
    files::write(to, &buffer[..count])?;
    Ok(true)
}
