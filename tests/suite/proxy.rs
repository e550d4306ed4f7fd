//! proxy: Without a network, programs reach by a proxy's socket what the proxy leads to, and nothing else.

use crate::support::machine::Machine;
use crate::support::{Cmd, args, fixture, scratch, selfdock};
use rstest::rstest;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use tempfile::TempDir;

/// A proxy that answers each request with its first line.
pub struct Echo {
    _dir: TempDir,
    pub socket: PathBuf,
}

impl Echo {
    pub fn new() -> Self {
        let dir = scratch();
        let socket = dir.path().join("proxy");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            listener.incoming().map_while(Result::ok).for_each(|client| answer(&client))
        });
        Self { _dir: dir, socket }
    }
}

fn answer(client: &UnixStream) {
    let mut lines = BufReader::new(client).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let _ = lines.find(String::is_empty);
    let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{first}", first.len());
    // The client need not wait for it.
    let _ = (&mut &*client).write_all(head.as_bytes());
}

const GET: &str = "for n in 1 2 3; do curl -s http://a.test/$n; echo; done";
const GOT: &str = "GET http://a.test/1 HTTP/1.1\nGET http://a.test/2 HTTP/1.1\nGET http://a.test/3 HTTP/1.1";

#[rstest]
#[case::set_uid(args![])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::in_a_copy(args!["-o", "/", "/"])]
fn programs_find_it<const N: usize>(#[case] options: [OsString; N]) {
    let echo = Echo::new();
    let words =
        options.into_iter().chain(args!["--net", "none", "--proxy", echo.socket, "run", "sh", "-c", GET]);
    assert_eq!(Cmd::new(words).ok(), GOT);
}

#[test]
fn it_works_in_another_image() {
    let echo = Echo::new();
    let words = args!["--root", fixture("busybox"), "--net", "none", "--proxy", echo.socket, "run"];
    assert_eq!(Cmd::new(words).sh("wget -q -O - http://a.test/").ok(), "GET http://a.test/ HTTP/1.1");
}

#[test]
fn it_works_nested_and_for_a_root_of_ones_own() {
    let echo = Echo::new();
    let inner =
        args!["run", "-v", echo.socket, "/tmp/p", selfdock(), "--net", "none", "--proxy", "/tmp/p", "run"];
    assert_eq!(Cmd::new(inner).sh(GET).ok(), GOT);
    let words = args!["--fake-root", "--net", "none", "--proxy", echo.socket, "run", "sh", "-c", GET];
    let machine = Machine::new();
    assert_eq!(machine.cmd(words).ok(), GOT);
}

/// R1: report. The relay can be looked into. It has no pipe by which the command could say that it was not started.
#[rstest]
fn a_command_cannot_forge_its_report(#[values("", "--unprivileged")] mode: &str) {
    let echo = Echo::new();
    for _ in 0..12 {
        let words = args!["--net", "none", "--proxy", echo.socket, "--report", "2", "--output-limit", "1k"];
        let words = args![mode].into_iter().filter(|word| !word.is_empty()).chain(words);
        let ran =
            Cmd::new(words.chain(args!["run", fixture("bin/probe"), "write-to-pipes"])).output().exits(0);
        assert_eq!(ran.stdout.trim_end(), "0");
        assert!(ran.stderr.contains("\"started\":true,") && !ran.stderr.contains("forged"), "{}", ran.stderr);
    }
}

#[test]
fn the_command_is_what_it_is_without_and_there_is_no_other_way_out() {
    let echo = Echo::new();
    let run = || Cmd::new(args!["--net", "none", "--proxy", echo.socket, "run"]);
    let script =
        "ls /proc/self/fd | wc -l; tail -n +3 /proc/net/dev | wc -l; tr '\\0' ' ' < /proc/$$/cmdline";
    let seen = run().sh(script).ok();
    assert!(seen.starts_with("4\n1\nsh -c"), "{seen}");
    run().arg("nosuch").output().exits(127);
    run().sh("exit 3").output().exits(3);
    run().sh("kill -9 $$").output().dies_by(9);
}

/// The end of either side is passed on by itself.
#[test]
fn a_connection_is_led_in_both_directions_to_its_end() {
    let (dir, text) = (scratch(), "x".repeat(1 << 20));
    let socket = dir.path().join("proxy");
    let listener = UnixListener::bind(&socket).unwrap();
    let length = text.len();
    let server = std::thread::spawn(move || {
        let (mut client, mut got) = (listener.accept().unwrap().0, Vec::new());
        client.read_to_end(&mut got).unwrap();
        client.write_all(text.as_bytes()).unwrap();
        got.len()
    });
    let script = include_str!("../programs/exchange_data.py");
    let words = args!["--net", "none", "--proxy", socket, "run", "python3", "-c", script];
    assert_eq!(Cmd::new(words).ok(), length.to_string());
    assert_eq!(server.join().unwrap(), 3_000_000);
}

#[rstest]
#[case::a_network(args![], "CMD could reach the network without it; add --net none")]
#[case::the_hosts(args!["--net", "none", "--net", "host"], "CMD could reach the network without it")]
fn with_another_network_it_is_refused<const N: usize>(#[case] options: [OsString; N], #[case] why: &str) {
    let echo = Echo::new();
    Cmd::new(options.into_iter().chain(args!["--proxy", echo.socket, "run", "true"])).refused(why);
}

#[rstest]
#[case::missing("/no/such", "no such file or directory (ENOENT)")]
#[case::a_file("/etc/passwd", "it is not a socket")]
fn what_is_no_socket_is_refused(#[case] socket: &str, #[case] why: &str) {
    Cmd::new(args!["--net", "none", "--proxy", socket, "run", "true"]).refused(why);
}
