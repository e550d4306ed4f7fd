//! spawn-rate: Starting an instance costs little more than the system calls that it needs.

use crate::support::{bin, prepared, selfdock};
use std::process::Command;
use std::time::Instant;

const BATCHES: usize = 15;
const COUNT: u32 = 40;
/// The highest allowed cost of an instance, as a multiple of the floor. The real cost is much lower, and twice the
/// real cost is above.
const BOUND: f64 = 2.0;

/// The time of a command from start to end, in microseconds.
fn once(command: &mut Command) -> f64 {
    let start = Instant::now();
    for _ in 0..COUNT {
        assert!(command.status().unwrap().success());
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn an_instance_costs_little_more_than_its_system_calls() {
    // The two take turns, so that a machine that slows down affects both.
    let (selfdock, nothing) = (selfdock(), bin("nothing"));
    let (mut floor, mut instance) = (Command::new(bin("floor")), Command::new(&selfdock));
    floor.arg(prepared("root")).arg(prepared("root.list")).arg(&nothing);
    instance.arg("run").arg(&nothing);
    let pairs: Vec<(f64, f64)> = (0..BATCHES).map(|_| (once(&mut floor), once(&mut instance))).collect();
    let (floors, instances) = pairs.into_iter().unzip();
    let (floor, instance) = (median(floors), median(instances));
    println!("floor {floor:.0} µs, instance {instance:.0} µs, ratio {:.2}", instance / floor);
    assert!(instance < floor * BOUND, "floor {floor:.0} µs, instance {instance:.0} µs");
}
