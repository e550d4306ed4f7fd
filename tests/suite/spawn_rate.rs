use crate::support::{Dock, args, bin, selfdock};
use std::process::Command;
use std::time::Instant;

const BATCHES: usize = 15;
const COUNT: u32 = 40;
/// How many times the floor an instance may cost. It is a good deal less; twice as much would be more.
const BOUND: f64 = 2.0;

/// Microseconds that an instance takes, from outside.
fn selfdock_once() -> f64 {
    let (selfdock, nothing) = (selfdock(), bin("nothing"));
    let start = Instant::now();
    for _ in 0..COUNT {
        assert!(Command::new(&selfdock).arg("run").arg(&nothing).status().unwrap().success());
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(COUNT)
}

/// Microseconds that the bare system calls take.
fn floor_once() -> f64 {
    Dock::program(args![bin("floor"), COUNT.to_string(), bin("nothing")]).ok().parse().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn an_instance_costs_little_more_than_its_system_calls() {
    // In turns, so that a machine that becomes slower does so for both.
    let pairs: Vec<(f64, f64)> = (0..BATCHES).map(|_| (floor_once(), selfdock_once())).collect();
    let (floors, instances) = pairs.into_iter().unzip();
    let (floor, instance) = (median(floors), median(instances));
    println!("floor {floor:.0} µs, instance {instance:.0} µs, ratio {:.2}", instance / floor);
    assert!(instance < floor * BOUND, "floor {floor:.0} µs, instance {instance:.0} µs");
}
