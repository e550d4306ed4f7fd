use crate::support::{Dock, args, scratch};
use rstest::rstest;
use std::fs;

/// Reads a field of a report with a real JSON reader.
fn field(report: &str, name: &str) -> String {
    let script = format!("import json, sys; print(json.load(sys.stdin)[{name:?}])");
    Dock::program(args!["python3", "-c", script]).stdin(report).ok()
}

#[rstest]
#[case::ends(args!["sleep", "1000"], 124)]
#[case::needs_a_kill(args!["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], 137)]
#[case::stopped(args!["sh", "-c", "kill -STOP $$ & sleep 1000"], 124)]
fn a_command_ends_in_time<const N: usize>(#[case] words: [std::ffi::OsString; N], #[case] code: i32) {
    Dock::run(args!["--timeout", "0.2"].into_iter().chain(words)).output().exits(code);
}

#[test]
fn a_command_that_is_in_time_has_its_own_status() {
    Dock::run(args!["--timeout", "10m"]).sh("exit 5").output().exits(5);
}

#[rstest]
fn what_is_no_time_is_refused(#[values("", "0", "-1", "x", "1w", "99999999999999999999")] time: &str) {
    Dock::run(args!["--timeout", time, "true"]).refused("not a time");
}

#[rstest]
#[case("nofile=40", "-n", "40")]
#[case("cpu=7", "-t", "7")]
#[case("core=0", "-c", "0")]
#[case("as=1G", "-v", "1048576")]
fn a_limit_is_set(#[case] limit: &str, #[case] option: &str, #[case] shown: &str) {
    let run =
        Dock::run(args!["--rlimit", limit, "bash", "-c", format!("ulimit -S {option}; ulimit -H {option}")]);
    assert_eq!(run.ok(), format!("{shown}\n{shown}"));
}

#[rstest]
#[case("nofile=4000000000", "hard limit")]
#[case("nofile=unlimited", "hard limit")]
#[case("nofile", "NAME=VALUE")]
#[case("nofiles=3", "no such limit")]
#[case("nofile=x", "not an amount")]
fn a_limit_that_cannot_be_is_refused(#[case] limit: &str, #[case] words: &str) {
    Dock::run(args!["--rlimit", limit, "true"]).refused(words);
}

#[rstest]
#[case("exit 7", "7", "None", "command")]
#[case("kill -9 $$; sleep 9", "None", "9", "command")]
fn the_report_tells_how_it_ended(
    #[case] script: &str,
    #[case] exit: &str,
    #[case] signal: &str,
    #[case] by: &str,
) {
    let dir = scratch();
    let file = dir.path().join("report");
    Dock::run(args!["--report", &file]).sh(script).output();
    let report = fs::read_to_string(&file).unwrap();
    let seen = ["exit", "signal", "ended_by"].map(|name| field(&report, name));
    assert_eq!(seen, [exit, signal, by], "{report}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn the_report_tells_of_time_and_memory() {
    let dir = scratch();
    let file = dir.path().join("report");
    fs::write(&file, "older").unwrap();
    let eat = "x = bytearray(64 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1";
    Dock::run(args!["--report", &file, "python3", "-c", eat]).ok();
    let report = fs::read_to_string(&file).unwrap();
    assert!(field(&report, "peak_memory_kib").parse::<u64>().unwrap() > 64 << 10, "{report}");
    assert!(field(&report, "minor_faults").parse::<u64>().unwrap() > 16_000, "{report}");
    assert!(field(&report, "wall_seconds").parse::<f64>().unwrap() > 0.0, "{report}");
    // Which of the two a page fault counts as is the kernel's clock tick's choice.
    let processor =
        ["user_seconds", "system_seconds"].map(|name| field(&report, name).parse::<f64>().unwrap());
    assert!(processor.iter().sum::<f64>() > 0.0, "{report}");
}

#[test]
fn the_report_tells_of_a_timeout_and_goes_to_a_descriptor() {
    let ran = Dock::run(args!["--report", "2", "--timeout", "0.1", "sleep", "9"]).output().exits(124);
    assert_eq!(
        (field(&ran.stderr, "ended_by").as_str(), field(&ran.stderr, "exit").as_str()),
        ("timeout", "124")
    );
}

#[rstest]
#[case("/no/such/dir/report", "ENOENT")]
#[case("/usr/report", "EACCES")]
#[case("77", "EBADF")]
#[case("/tmp/", "not the name of a file")]
fn a_report_that_cannot_be_written_is_refused_before_the_command_runs(
    #[case] target: &str,
    #[case] words: &str,
) {
    Dock::run(args!["--report", target]).sh("echo ran").refused(words);
}

#[test]
fn a_report_is_written_whole_or_not_at_all() {
    let dir = scratch();
    let file = dir.path().join("report");
    let mut instance = Dock::run(args!["--report", &file, "cat"]).spawn().that_repeats();
    instance.signal(nix::sys::signal::Signal::SIGKILL);
    instance.wait();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
