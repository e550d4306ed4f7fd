//! network: With `--net none` there is a loopback interface and nothing else.

use crate::support::{Cmd, args, nested};
use rstest::rstest;
use std::fs;
use std::net::TcpListener;

fn namespace_outside() -> String {
    fs::read_link("/proc/self/ns/net").unwrap().display().to_string()
}

#[rstest]
#[case::default(args![])]
#[case::asked_for(args!["--net", "host"])]
fn the_network_is_the_hosts<const N: usize>(#[case] options: [std::ffi::OsString; N]) {
    let seen = Cmd::run(options).arg("readlink").arg("/proc/self/ns/net").ok();
    assert_eq!(seen, namespace_outside());
}

#[rstest]
#[case::once(0)]
#[case::nested(1)]
fn with_none_there_is_only_loopback(#[case] depth: usize) {
    let run = Cmd::run(args!["--net", "none"].into_iter().chain(nested(depth, [])));
    let seen = run.sh("tail -n +3 /proc/net/dev | cut -d: -f1; readlink /proc/self/ns/net").ok();
    let (device, namespace) = seen.split_once('\n').unwrap();
    assert_eq!(device.trim(), "lo");
    assert_ne!(namespace, namespace_outside());
}

#[test]
fn with_none_the_hosts_loopback_is_out_of_reach() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}", listener.local_addr().unwrap().port());
    Cmd::run(args!["bash", "-c", &script]).ok();
    assert!(!Cmd::run(args!["-n", "none", "bash", "-c", &script]).output().status.success());
}

#[test]
fn with_none_loopback_is_up() {
    // Nobody listens there. An interface that is down gives another errno.
    let ran = Cmd::run(args!["-n", "none", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9"]).output();
    assert!(ran.stderr.contains("Connection refused"));
}

#[rstest]
fn another_network_is_refused(#[values("", "bridge", "None")] net: &str) {
    Cmd::run(args!["--net", net, "true"]).refused("not 'none', 'host' or 'user'");
}

#[test]
fn a_host_name_is_the_instances_own() {
    let before = nix::unistd::gethostname().unwrap();
    assert_eq!(Cmd::run(args!["--hostname", "inner", "uname", "-n"]).ok(), "inner");
    assert_eq!(nix::unistd::gethostname().unwrap(), before);
    assert_eq!(Cmd::run(args!["uname", "-n"]).ok(), before.to_string_lossy());
}

#[test]
fn a_host_name_that_is_too_long_is_refused() {
    Cmd::run(args!["--hostname", "x".repeat(65), "true"]).refused("not a host name");
}
