//! `--gate`: checks what a change must not make worse.

use super::contenders::Contender;
use super::counts::{self, Counts};
use super::job::{FLOOR, SELFDOCK};
use super::pace::Limits;
use super::site::Site;
use crate::run::{Context, Result, root};
use serde_json::{Value, json};
use std::fs;

/// The accepted counts, which are under version control.
const FILE: &str = "ci/counts.json";
/// Page faults depend a little on the addresses that the kernel chooses.
const FAULTS_MORE: u64 = 4;
/// The highest allowed time of an instance, as a multiple of the floor's. The real one is much lower.
const MOST: f64 = 2.0;

const UPDATE: &str = "if this is intended, `cargo xtask bench --gate --accept` stores the new counts";

pub fn gate(site: &Site, accept: bool) -> Result {
    let [floor, now] = [FLOOR, SELFDOCK].map(|name| counts::of(site, Contender::named(name)));
    let now = json(&now?, &floor?);
    let file = root().join(FILE);
    if accept {
        fs::write(&file, format!("{now:#}\n")).context(FILE)?;
        println!("gate: wrote {FILE}");
    }
    let text = fs::read_to_string(&file).context(FILE)?;
    let then: Value = serde_json::from_str(&text).context(FILE)?;
    let mut faults = compare(&then, &now);
    let ratio = ratio(site)?;
    println!("gate: {ratio:.2} times the floor's time, {MOST} at most");
    if ratio > MOST {
        faults.push(format!("an instance takes {ratio:.2} times the floor's time, more than {MOST}"));
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("gate: {}", faults.join("; "))) }
}

/// The number of page faults depends on the kernel, so only those beyond the floor's count.
fn json(counts: &Counts, floor: &Counts) -> Value {
    json!({
        "system_calls": counts.system_calls,
        "mount_calls": counts.mount_calls,
        "page_faults_beyond_the_floor": counts.page_faults.saturating_sub(floor.page_faults),
        "processes": counts.processes,
    })
}

/// Prints the changes, and returns those for the worse.
fn compare(then: &Value, now: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let bounds = [("system_calls", 0), ("mount_calls", 0), ("page_faults_beyond_the_floor", FAULTS_MORE)];
    for (name, slack) in bounds {
        let number = |value: &Value| value[name].as_u64().unwrap_or(0);
        let (then, now) = (number(then), number(now));
        println!("gate: {} {now}, {then} before", name.replace('_', " "));
        if now > then + slack {
            faults.push(format!("{} went from {then} to {now}: {UPDATE}", name.replace('_', " ")));
        } else if now + slack < then {
            println!("gate: fewer than before: `cargo xtask bench --gate --accept` stores the new counts");
        }
    }
    for change in changes(&then["processes"], &now["processes"]) {
        println!("gate: {change}");
    }
    faults
}

/// The calls whose number has changed.
fn changes(then: &Value, now: &Value) -> Vec<String> {
    let empty = Vec::new();
    let list = |value: &Value| value.as_array().unwrap_or(&empty).clone();
    let (then, now) = (list(then), list(now));
    let mut changes = Vec::new();
    for i in 0..then.len().max(now.len()) {
        let calls = |all: &[Value]| all.get(i).and_then(Value::as_object).cloned().unwrap_or_default();
        let (then, now) = (calls(&then), calls(&now));
        let mut names: Vec<&String> = then.keys().chain(now.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let times = |calls: &serde_json::Map<String, Value>| calls.get(name).and_then(Value::as_u64);
            let (then, now) = (times(&then).unwrap_or(0), times(&now).unwrap_or(0));
            if then != now {
                changes.push(format!("process {}: {name} {then} times before, {now} now", i + 1));
            }
        }
    }
    changes
}

fn ratio(site: &Site) -> Result<f64> {
    let jobs = [FLOOR, SELFDOCK].map(|name| Contender::named(name).job(site, &[&site.nothing]));
    let limits = Limits { rounds: 400, milliseconds: 4000, ..Limits::default() };
    let mut notes = Vec::new();
    let rows = site.compare("gate", &jobs, &limits, &mut notes)?;
    let floor = rows.iter().find(|row| row.who == FLOOR).and_then(|row| row.ratio);
    floor.map(|ratio| 1.0 / ratio).ok_or_else(|| notes.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_is_worse() {
        let counts = |calls: u64, faults: u64| {
            json!({ "system_calls": calls, "mount_calls": 3, "page_faults_beyond_the_floor": faults,
                "processes": [{ "close": calls }] })
        };
        assert!(compare(&counts(9, 20), &counts(9, 24)).is_empty());
        assert!(compare(&counts(9, 20), &counts(8, 20)).is_empty());
        assert_eq!(compare(&counts(9, 20), &counts(10, 25)).len(), 2);
        assert_eq!(changes(&counts(9, 0)["processes"], &counts(8, 0)["processes"]).len(), 1);
    }
}
