//! user-network: With `--net user` an instance reaches the outside, not the host's loopback, and cannot change that.

use crate::support::machine::Machine;
use crate::support::{Cmd, args, fixture, selfdock, wait_until};
use crate::unprivileged_mode::own_copy;
use rstest::rstest;
use std::ffi::OsString;
use std::io::Read;
use std::net::{TcpListener, TcpStream};

/// The interfaces, and in which network.
const DEVICES: &str = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | wc -l";

#[rstest]
#[case::set_uid(args![])]
#[case::unprivileged(args!["--unprivileged"])]
#[case::of_root(args!["--fake-root"])]
#[case::another_image(args!["--root", fixture("busybox")])]
fn there_is_loopback_and_one_interface_which_nobody_inside_can_change<const N: usize>(
    #[case] options: [OsString; N],
) {
    let machine = Machine::new();
    let busybox = fixture("busybox").join("bin/busybox");
    let change = "for way in '' 'unshare -r'; do for what in 'set lo down' 'set eth0 down' 'add x type dummy'; do \
                  $way /mnt/busybox ip link $what 2>/dev/null && echo changed; done; done; true";
    let words =
        options.into_iter().chain(args!["--net", "user", "-m", busybox, "/mnt/busybox", "run", "sh", "-c"]);
    let seen = machine.cmd(words.chain(args![format!("{DEVICES}; {change}")])).ok();
    assert_eq!(seen, "2");
}

/// pasta would become nobody, who may not enter root's namespaces.
#[rstest]
fn root_has_one_too(#[values("", "--unprivileged")] mode: &str) {
    let machine = Machine::new();
    let words = mode.split_whitespace().map(OsString::from).chain(args!["--net", "user", "run", "sh", "-c"]);
    let cmd = Cmd::under(machine.launcher_as(0), words.chain(args![format!("id -u; {DEVICES}")]));
    assert_eq!(cmd.ok(), "0\n2");
}

#[test]
fn the_hosts_loopback_is_out_of_reach() {
    let (machine, listener) = (Machine::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let gateway = "$(python3 -c 'import struct,socket; print([socket.inet_ntoa(bytes.fromhex(l.split()[2])[::-1]) \
                   for l in open(\"/proc/net/route\") if l.split()[1] == \"00000000\"][0])')";
    let connect = |address: &str| {
        format!("timeout 2 bash -c 'exec 3<>/dev/tcp/'\"{address}\"'/{port}' 2>/dev/null && echo in reach")
    };
    let script = format!("{}; {}; true", connect("127.0.0.1"), connect(gateway));
    assert_eq!(machine.cmd(args!["--net", "user", "run", "bash", "-c", &script]).ok(), "");
    assert_eq!(machine.cmd(args!["--net", "user,loopback", "run", "bash", "-c", &script]).ok(), "in reach");
}

#[rstest]
#[case::alone(args![])]
#[case::of_root(args!["--fake-root"])]
fn a_port_of_the_host_leads_inside_and_ends_with_the_instance<const N: usize>(
    #[case] options: [OsString; N],
) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = include_str!("../programs/serve_port.py");
    let words = args!["--net", format!("user,tcp={free}:80"), "run", "python3", "-c", server];
    let machine = Machine::new();
    let mut running = machine.cmd(options.into_iter().chain(words)).spawn();
    assert_eq!(running.line(), "up");
    let mut said = String::new();
    TcpStream::connect(("127.0.0.1", free)).unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "hello");
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.wait();
    wait_until("nobody listens any more", || TcpStream::connect(("127.0.0.1", free)).is_err());
}

#[test]
fn names_are_asked_for_where_they_can_be_answered() {
    let machine = Machine::new();
    let seen = machine.cmd(args!["--net", "user", "run", "cat", "/etc/resolv.conf"]).ok();
    let outside = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    let is_own = outside.lines().any(|line| line.starts_with("nameserver 127."));
    assert_eq!(seen.contains("nameserver 169.254.1.1"), is_own, "{seen}");
    assert_eq!(seen == outside.trim_end(), !is_own, "{seen}");
}

#[test]
fn it_works_in_an_instance_and_holds_in_one() {
    let machine = Machine::new();
    let words =
        args!["run", "--dev", "/dev/net/tun", selfdock(), "--net", "user", "run", "sh", "-c", DEVICES];
    assert_eq!(machine.cmd(words).ok(), "2");
    let words = args!["--net", "user", "run", selfdock(), "run", "sh", "-c", DEVICES];
    assert_eq!(machine.cmd(words).ok(), "2");
}

#[rstest]
#[case::no_port("user,tcp=x", "not user[,tcp=[ADDRESS/]OUTSIDE[:INSIDE]]")]
#[case::no_word("user,", "not user[,")]
fn what_is_not_understood_is_refused(#[case] net: &str, #[case] why: &str) {
    Cmd::new(args!["--net", net, "run", "true"]).refused(why);
}

#[test]
fn what_is_missing_is_said() {
    let machine = Machine::new();
    let run = machine.cmd(args!["--net", "user", "run", "true"]).env("PATH", "/usr/sbin:/nosuch");
    run.refused("find 'pasta': no directory of PATH has it; your distribution has it as 'passt'");
    // In an instance there is no such device unless it is shown.
    let inner = args!["run", selfdock(), "--net", "user", "run", "true"];
    machine
        .cmd(inner)
        .refused("open '/dev/net/tun': no such file or directory (ENOENT); 'modprobe tun' as root");
}

/// The oracle is pasta alone.
#[rstest]
fn what_pasta_refuses_is_said_in_one_line(
    #[values(&[][..], &["--unprivileged"], &["--fake-root"])] options: &[&str],
    #[values(false, true)] inside: bool,
) {
    let (machine, taken) = (Machine::new(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = taken.local_addr().unwrap().port().to_string();
    let alone = args!["pasta", "--config-net", "--quiet", "-t", format!("127.0.0.1/{port}"), "true"];
    let said = Cmd::program(machine.launcher().into_iter().chain(alone)).output().stderr;
    let reason = said.lines().last().unwrap_or_default().trim_end_matches('.');
    assert!(reason.contains(&port), "{said}");
    let outer = args!["run", "--dev", "/dev/net/tun", selfdock()];
    let outer = outer.into_iter().filter(|_| inside && !options.contains(&"--fake-root"));
    let words = outer.chain(options.iter().map(Into::into));
    let words = words.chain(args!["--net", format!("user,tcp={port}"), "run", "true"]);
    machine.cmd(words).refused(&format!("pasta' outside: {reason}\n"));
}

/// The program, which may not be installed, is in the user namespace of the network: with no right for the command.
#[rstest]
#[case::set_uid(&[], true, "")]
#[case::unprivileged(&[], true, "--unprivileged")]
#[case::not_installed(&[], false, "")]
#[case::without_new_privileges(&["setpriv", "--no-new-privs"], true, "--hostname=x")]
#[case::not_installed_without_new_privileges(&["setpriv", "--no-new-privs"], false, "--no-userns")]
fn it_can_be_entered(#[case] launcher: &[&str], #[case] installed: bool, #[case] option: &str) {
    let (machine, (_dir, own)) = (Machine::new(), own_copy());
    let program = if installed { selfdock() } else { own };
    let before = machine.launcher().into_iter().chain(launcher.iter().map(Into::into));
    let options = args!["--net=user", option].into_iter().filter(|option| !option.is_empty());
    let words = before.chain(args![program]).chain(options).chain(args!["run", "cat"]);
    let instance = Cmd::program(words).spawn().that_repeats();
    let pid = instance.pid().to_string();
    let script =
        format!("{DEVICES}; grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/$$/status /proc/{pid}/status | cut -f2");
    let seen = Cmd::program(args![program, "enter", pid, "sh", "-c", script]).ok();
    assert_eq!(seen, format!("2{}", "\n0000000000000000".repeat(8)));
}

/// The attendant is made by a process with the capabilities of the namespaces around the instance.
#[test]
fn no_attendant_holds_a_capability() {
    let machine = Machine::new();
    let words = args![selfdock(), "--net", "user", "--output-limit", "1M", "run", "cat"];
    let _instance = Cmd::program(machine.launcher().into_iter().chain(words)).spawn().that_repeats();
    // Those of other tests count as well.
    let all = "for dir in /proc/[0-9]*; do
                   [ \"$(cat $dir/comm)\" != attendant ] || grep -E 'Cap(Inh|Prm|Eff|Amb)' $dir/status
               done 2>/dev/null | cut -f2 | sort -u";
    assert_eq!(Cmd::program(args!["sh", "-c", all]).ok(), "0000000000000000");
}

/// pasta does not start if it has to ignore SIGPIPE.
#[test]
fn a_program_in_python_can_execute_selfdock() {
    let exec = args!["python3", "-c", "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"];
    let machine = Machine::new();
    let words = machine.launcher().into_iter().chain(exec);
    let words = words.chain(args![selfdock(), "--net", "user", "run", "sh", "-c", DEVICES]);
    assert_eq!(Cmd::program(words).ok(), "2");
}
