//! one-life: However it is started and whatever happens to it, a command lives and ends as without selfdock.

use crate::support::{
    Cmd, Job, Setting, Start, Transcript, Way, args, bin, every_way, is_alive, is_first, is_own, is_stopped,
    own_status, patient, same_as_without, status_of, tree, wait_until,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rstest::rstest;
use std::fs;
use std::time::{Duration, Instant};

/// All signals that can be handled, that is without 9 and 19. SIGCHLD, which the kernel sends to a supervisor for its
/// own children, has its own test.
fn signals() -> impl Iterator<Item = i32> {
    (1..=31).filter(|signal| ![9, CHLD, 19].contains(signal))
}

/// All signals, or the most different ones in settings where more cells would tell little.
fn signals_for(setting: Setting, all: &[Setting]) -> impl Iterator<Item = i32> {
    let all = all.contains(&setting);
    signals().filter(move |signal| all || [1, 2, 13, 15, CONT, 20, 28].contains(signal))
}

/// The default action of a signal. signal(7)
#[derive(PartialEq, Eq)]
enum Default {
    Ends,
    Nothing,
    Stops,
}

fn default_of(signal: i32) -> Default {
    match signal {
        CHLD | CONT | 23 | 28 => Default::Nothing,
        19..=22 => Default::Stops,
        _ => Default::Ends,
    }
}

const CHLD: i32 = 17;
const CONT: i32 = 18;
const TERM: i32 = 15;

/// SIGTTIN, SIGTTOU and SIGTSTP do not stop a session leader, whoever sends them.
const OF_JOBS: [i32; 3] = [20, 21, 22];

// The state in which the tests run.

#[test]
fn the_suite_has_the_signals_of_a_login_shell() {
    let fields = ["SigBlk", "SigIgn"];
    // 32 and 33 belong to the C library, and nobody sends them.
    let sets = |status: &str| -> Vec<u64> {
        let numbers =
            status.lines().filter_map(|line| u64::from_str_radix(line.split_once(':')?.1.trim(), 16).ok());
        numbers.map(|set| set & !(3 << 31)).collect()
    };
    let none = [0, 0];
    // Rust itself ignores SIGPIPE, but not in the programs that it starts.
    let broken_pipe = 1 << (Signal::SIGPIPE as u64 - 1);
    assert_eq!(sets(&own_status(&fields)), [0, broken_pipe], "in the suite");
    assert_eq!(sets(&status_of("thread-self", &fields)), [0, broken_pipe], "in the thread of a test");
    let read = ["grep", "-E", "SigBlk|SigIgn", "/proc/self/status"];
    assert_eq!(sets(&Cmd::program(read.map(Into::into)).ok()), none, "in what a test starts");
    for setting in [Setting::Bare, Setting::Terminal] {
        let transcript = Way::Plain.start(setting).job(&read.map(Into::into)).transcript();
        assert_eq!(sets(&transcript.output.join("\n")), none, "in a job");
    }
}

#[test]
fn the_suite_has_no_terminal() {
    assert!(fs::File::open("/dev/tty").is_err());
    let own = std::process::id().cast_signed();
    assert_eq!(nix::unistd::getsid(None).unwrap().as_raw(), own);
}

// The command ends by itself.

every_way! {
    #[rstest]
    fn a_status_is_the_commands(way, #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting) {
        let start = way.start(setting);
        for status in [0, 1, 7, 125, 126, 127, 255] {
            let script = format!("exit {status}");
            same_as_without(&start, &script, |start| start.sh(&script).transcript());
        }
    }
}

every_way! {
    #[rstest]
    fn a_command_that_cannot_start_has_the_status_that_env_gives(way) {
        let start = way.start(Setting::Bare);
        for command in ["/dev/null", "/", "/no/such/command", "no-such-command"] {
            // The message is not compared.
            let status = |start: &Start| Transcript { output: Vec::new(), ..start.job(&args![command]).transcript() };
            same_as_without(&start, command, status);
        }
    }
}

every_way! {
    #[rstest]
    fn a_signal_to_itself_acts(way, #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting) {
        let start = way.start(setting);
        let tried = |signal: &i32| default_of(*signal) != Default::Stops;
        for signal in signals_for(setting, &[Setting::Bare]).chain([9]).filter(tried) {
            let script = format!("kill -{signal} $$; echo on; exit 3");
            same_as_without(&start, &script, |start| start.sh(&script).transcript());
        }
    }
}

every_way! {
    #[rstest]
    fn abort_alarm_raise_and_a_limit_end_it(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        for action in [&["abort"][..], &["alarm"], &["raise", "15"], &["raise", "10"], &["write-too-much"]] {
            same_as_without(&start, action.last().unwrap(), |start| {
                let transcript = start.probe(action).transcript();
                assert!(transcript.events[0].starts_with("signaled"), "{transcript:?}");
                transcript
            });
        }
    }
}

/// It takes a second of processor time, so it is not run for every way.
#[rstest]
#[case::run(Way::Run)]
#[case::nested(Way::Nested)]
#[case::unprivileged(Way::Unprivileged)]
fn a_limit_of_processor_time_ends_it(#[case] way: Way) {
    let hog = |start: &Start| start.sh("ulimit -S -t 1; while :; do :; done").transcript();
    same_as_without(&way.start(Setting::Bare), "processor time", hog);
}

every_way! {
    #[rstest]
    fn a_reader_that_goes_away_ends_it(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        same_as_without(&start, "a broken pipe", |start| {
            let mut job = start.sh("while :; do echo x; done");
            job.prints("x");
            job.close_output();
            job.transcript()
        });
    }
}

// Signals from outside.

/// The transcript after a signal with its default action.
fn by_default(mut job: Job, signal: i32) -> Transcript {
    match default_of(signal) {
        Default::Ends => {}
        Default::Nothing => {
            job.settle();
            job.tell("end");
        }
        Default::Stops => {
            job.becomes(&format!("stopped {signal}"));
            job.signal(CONT);
            job.becomes("continued");
            job.tell("end");
        }
    }
    job.transcript()
}

/// A command that handles no signals, and reads a line.
fn indifferent(start: &Start) -> Job {
    let mut job = start.sh("echo up; until read x; do :; done; echo $x; exit 4");
    job.prints("up");
    job
}

every_way! {
    #[rstest]
    fn a_signal_to_selfdock_acts_by_default(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        // With a deadline selfdock never stops.
        let tried = |signal: &i32| default_of(*signal) != Default::Stops || setting != Setting::Deadline;
        for signal in signals_for(setting, &[Setting::Bare, Setting::Terminal]).chain([CHLD]).filter(tried) {
            same_as_without(&start, &format!("signal {signal}, by default"), |start| {
                let job = indifferent(start);
                job.signal(signal);
                by_default(job, signal)
            });
        }
    }
}

/// A command that prints a line each time it handles the signal.
fn handling(start: &Start, signal: i32) -> Job {
    let mut job = start.sh(&format!(
        "trap 'echo got' {signal}; x=; echo up; until [ \"$x\" = end ]; do read x; done; exit 7"
    ));
    job.prints("up");
    job
}

/// The transcript after a signal that is handled. A second delivery would be a second line.
fn is_handled(mut job: Job) -> Transcript {
    // A shell runs its handler after the present line, if the signal comes just before the shell waits for input.
    job.prints_at_last("got", "");
    job.settle();
    job.tell("end");
    job.transcript()
}

every_way! {
    #[rstest]
    fn a_signal_to_selfdock_is_handled_once(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        for signal in signals_for(setting, &[Setting::Bare, Setting::Terminal]) {
            same_as_without(&start, &format!("signal {signal}, handled"), |start| {
                let job = handling(start, signal);
                job.signal(signal);
                is_handled(job)
            });
        }
    }
}

every_way! {
    #[rstest]
    fn a_signal_to_the_group_is_handled_once(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        for signal in signals_for(setting, &[Setting::Terminal]) {
            same_as_without(&start, &format!("signal {signal} to the group, handled"), |start| {
                let job = handling(start, signal);
                job.signal_group(signal);
                is_handled(job)
            });
        }
    }
}

every_way! {
    #[rstest]
    fn a_child_signal_that_somebody_sends_is_handled(way) {
        same_as_without(&way.start(Setting::Bare), "SIGCHLD, handled", |start| {
            let job = handling(start, CHLD);
            job.signal(CHLD);
            is_handled(job)
        });
    }
}

every_way! {
    #[rstest]
    fn a_signal_to_the_group_acts_by_default(way, #[values(Setting::Bare, Setting::Terminal)] setting: Setting) {
        let start = way.start(setting);
        for signal in [1, 2, 3, 15, 20, 21, 28] {
            same_as_without(&start, &format!("signal {signal} to the group, by default"), |start| {
                let job = indifferent(start);
                job.signal_group(signal);
                by_default(job, signal)
            });
        }
    }
}

every_way! {
    #[rstest]
    fn an_ignored_signal_does_nothing(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        for signal in signals_for(setting, &[Setting::Bare]).filter(|signal| *signal != CONT) {
            same_as_without(&start, &format!("signal {signal}, ignored"), |start| {
                let script = format!("trap '' {signal}; echo up; until read x; do :; done; echo $x; exit 5");
                let mut job = start.sh(&script);
                job.prints("up");
                job.signal(signal);
                job.settle();
                job.tell("end");
                job.transcript()
            });
        }
    }
}

every_way! {
    #[rstest]
    fn a_blocked_signal_waits(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        let tried = |signal: &i32| default_of(*signal) != Default::Stops;
        for signal in signals_for(setting, &[Setting::Bare]).filter(tried) {
            same_as_without(&start, &format!("signal {signal}, blocked"), |start| {
                let mut job = start.probe(&["blocked", &signal.to_string()]);
                job.prints("up");
                job.signal(signal);
                job.settle();
                job.tell("end");
                job.transcript()
            });
        }
    }
}

every_way! {
    /// S6: first moments.
    #[rstest]
    fn a_signal_right_after_the_start_ends_it(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        let ending = [1, 2, 3, 13, 14, 15, 10, 12];
        for (turn, signal) in ending.into_iter().cycle().enumerate().take(16) {
            same_as_without(&start, &format!("signal {signal} right after the start"), |start| {
                let job = start.job(&args!["sleep", "1000"]);
                // The signals are spread over the building and the first moments of the command.
                std::thread::sleep(Duration::from_micros(90 * turn as u64));
                job.signal(signal);
                job.transcript()
            });
        }
    }
}

every_way! {
    /// S6: first moments.
    #[rstest]
    fn a_stop_right_after_the_start_stops_it(way, #[values(Setting::Bare, Setting::Terminal)] setting: Setting) {
        let start = way.start(setting);
        for turn in 0..12 {
            same_as_without(&start, "a stop right after the start", |start| {
                let mut job = start.job(&args!["sleep", "1000"]);
                std::thread::sleep(Duration::from_micros(100 * turn));
                job.signal(20);
                job.becomes("stopped 20");
                job.signal(CONT);
                job.becomes("continued");
                job.signal(15);
                job.transcript()
            });
        }
    }
}

every_way! {
    /// S6: first moments.
    #[rstest]
    fn a_signal_at_the_first_output_is_the_commands(way) {
        let start = way.start(Setting::Bare);
        for _ in 0..12 {
            same_as_without(&start, "SIGTERM at the first output", |start| {
                let mut job = start.sh("trap '' TERM; echo up; until read x; do :; done; exit 5");
                job.prints("up");
                job.signal(15);
                job.tell("end");
                job.transcript()
            });
        }
    }
}

// Stops.

every_way! {
    #[rstest]
    fn a_stop_of_its_own_stops_selfdock_as_well(
        way,
        #[values(Setting::Bare, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        let leads_a_session = way == Way::NewSession;
        for signal in [19, 20, 21, 22].into_iter().filter(|signal| !leads_a_session || !OF_JOBS.contains(signal)) {
            same_as_without(&start, &format!("a stop by {signal} of its own"), |start| {
                let mut job = start.sh(&format!("kill -{signal} $$; echo on; until read x; do :; done; exit 6"));
                job.becomes(&format!("stopped {signal}"));
                job.signal(CONT);
                job.becomes("continued");
                job.tell("end");
                job.transcript()
            });
        }
    }
}

every_way! {
    #[rstest]
    fn a_stop_and_its_end_can_be_repeated(way, #[values(Setting::Bare, Setting::Terminal)] setting: Setting) {
        let start = way.start(setting);
        same_as_without(&start, "stopped and continued in turn", |start| {
            let mut job = indifferent(start);
            for _ in 0..8 {
                job.signal(20);
                job.becomes("stopped 20");
                job.signal_group(CONT);
                job.becomes("continued");
            }
            job.tell("end");
            job.transcript()
        });
    }
}

/// A command that has stopped itself. When it is continued, it goes on with `script`.
fn stopped_before_its_deadline(start: &Start, script: &str) -> Job {
    let job = start.sh(&format!("kill -STOP $$; {script}"));
    wait_until("the command is stopped", || tree(job.pid()).iter().any(|pid| is_stopped(*pid)));
    job.settle();
    job
}

every_way! {
    /// S3: a stop against the deadline.
    #[rstest]
    fn with_a_deadline_a_stop_stops_nothing_but_the_command(way) {
        let start = way.start(Setting::Deadline);
        let mut job = stopped_before_its_deadline(&start, "exit 6");
        job.signal(CONT);
        // The shell has seen no stop.
        job.becomes("exited 6");
        job.transcript();
    }
}

every_way! {
    /// S3: a stop against the deadline. No shell can continue the command, so a signal that ends it must do that, too.
    #[rstest]
    fn a_command_that_is_stopped_before_its_deadline_can_be_ended(way) {
        let start = way.start(Setting::Deadline);
        let mut job = stopped_before_its_deadline(&start, "sleep 1000");
        job.signal(TERM);
        job.becomes("signaled 15");
        job.transcript();
    }
}

// The command is ended from outside.

/// Adds two processes, one of them in its own session. A joiner gets none, since they would stay in the instance, as
/// they would stay on the machine outside.
fn family(start: &Start) -> Job {
    let others = if start.target().is_some() { "" } else { "sleep 1000 & (sleep 1000 &) ;" };
    let mut job = start.sh(&format!("{others} echo up; until read x; do :; done"));
    job.prints("up");
    job
}

/// Waits until none of these processes is left.
fn are_gone(all: &[i32]) {
    let start = Instant::now();
    wait_until("nothing is left", || !all.iter().any(|pid| is_alive(*pid)));
    assert!(start.elapsed() < patient(Duration::from_secs(5)), "it took {:?}", start.elapsed());
}

/// selfdock's own processes among these.
fn own(all: &[i32]) -> impl Iterator<Item = i32> {
    all.iter().copied().filter(|pid| is_own(*pid))
}

every_way! {
    /// I5: signals, umask; S2: an outlived deadline; S7: terminal taken by what survives.
    #[rstest]
    fn a_killed_supervisor_leaves_nothing(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        // A keeper's children are only orphans, and the witness of `enter` has none.
        let supervises = |pid: &i32| !is_first(*pid) && tree(*pid).len() > 1;
        let supervisors = |all: &[i32]| own(all).filter(supervises).collect::<Vec<_>>();
        let mut depth = 0;
        loop {
            let job = family(&start);
            let all = tree(job.pid());
            let Some(supervisor) = supervisors(&all).get(depth).copied() else { break };
            kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
            are_gone(&all);
            // An outer supervisor sees the end of its command.
            assert_eq!(job.transcript().events, ["signaled 9"]);
            depth += 1;
        }
        assert!(depth > 0, "no supervisor was found");
    }
}

every_way! {
    /// S2: an outlived deadline.
    #[rstest]
    fn a_killed_keeper_ends_all_by_the_same_signal(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        let job = family(&start);
        let all = tree(job.pid());
        let keeper = own(&tree(start.target().unwrap_or(job.pid()))).find(|pid| is_first(*pid));
        kill(Pid::from_raw(keeper.expect("a keeper")), Signal::SIGKILL).unwrap();
        are_gone(&all);
        assert_eq!(job.transcript().events, ["signaled 9"]);
    }
}

every_way! {
    /// S7: terminal taken by what survives.
    #[rstest]
    fn a_closed_terminal_ends_it(way) {
        let start = way.start(Setting::Terminal);
        same_as_without(&start, "a closed terminal", |start| {
            let mut job = start.job(&args!["sh", "-c", "echo up; exec sleep 1000"]);
            job.prints("up");
            job.hang_up();
            job.transcript()
        });
        same_as_without(&start, "a closed terminal, handled", |start| {
            let mut job = start.sh("trap 'echo closed; exit 8' HUP; echo up; until read x; do :; done");
            job.prints("up");
            job.hang_up();
            job.transcript()
        });
    }
}

// Effects after its end.

every_way! {
    #[rstest]
    fn a_report_says_what_a_shell_sees(
        way,
        #[values(Setting::Bare, Setting::Deadline, Setting::Terminal)] setting: Setting,
    ) {
        let start = way.start(setting);
        let file = start.dir().join("report");
        for script in ["exit 0", "exit 7", "kill -9 $$", "kill -TERM $$", "kill -PIPE $$"] {
            same_as_without(&start, script, |start| {
                let _ = fs::remove_file(&file);
                let transcript = start.job_with(&args!["--report", &file], &args!["sh", "-c", script]).transcript();
                if start.way() != Way::Plain {
                    let report = fs::read_to_string(&file).unwrap();
                    let (how, number) = transcript.events[0].split_once(' ').unwrap();
                    let (exit, signal) = if how == "exited" { (number, "null") } else { ("null", number) };
                    let end = format!("\"exit\":{exit},\"signal\":{signal},\"ended_by\":\"command\",");
                    assert!(report.contains(&end), "{transcript:?}: {report}");
                }
                transcript
            });
        }
    }
}

every_way! {
    #[rstest]
    fn five_megabytes_pass_through(way, #[values(Setting::Bare, Setting::Deadline)] setting: Setting) {
        let text: String = (0..655_360).map(|number| format!("{number:07}\n")).collect();
        let seen = way.start(setting).pipe(&args!["cat"]).stdin(text.as_str()).output();
        assert!(seen.stdout == text, "{} of {} bytes", seen.stdout.len(), text.len());
        assert!(seen.status.success() && seen.stderr.is_empty(), "{}", seen.status);
    }
}

every_way! {
    /// S7: terminal taken by what survives.
    #[rstest]
    fn processes_of_a_command_end_with_it(way, #[values(Setting::Bare, Setting::Deadline)] setting: Setting) {
        let start = way.start(setting);
        let mut job = family(&start);
        let all = tree(job.pid());
        job.tell("end");
        job.becomes("exited 0");
        are_gone(&all);
        job.transcript();
    }
}

#[test]
fn without_selfdock_the_probe_does_what_it_says() {
    let probe = |words: &[&str]| Way::Plain.start(Setting::Bare).probe(words).transcript().events;
    assert_eq!(probe(&["abort"]), ["signaled 6"]);
    assert_eq!(probe(&["alarm"]), ["signaled 14"]);
    assert_eq!(probe(&["write-too-much"]), ["signaled 25"]);
    assert!(bin("probe").exists());
}
