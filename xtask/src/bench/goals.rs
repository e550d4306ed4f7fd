//! What selfdock promises of its speed, and whether this run shows it.

use super::contenders::{BUBBLEWRAP, FLOOR, SELFDOCK};
use super::sections::TRIVIAL;
use super::table::Table;
use serde_json::{Value, json};

pub struct Goal {
    pub text: String,
    pub holds: bool,
}

impl Goal {
    pub fn json(&self) -> Value {
        json!({ "goal": self.text, "holds": self.holds })
    }
}

/// The goals that the sections of this run say something about.
pub fn goals(tables: &[Table]) -> Vec<Goal> {
    let find = |name: &str| tables.iter().find(|table| table.name == name);
    let mut goals = Vec::new();
    let mut add = |what: &str, value: Option<f64>, bound: f64, at_least: bool| {
        let Some(value) = value else { return };
        let holds = if at_least { value >= bound } else { value <= bound };
        let word = if at_least { "at least" } else { "at most" };
        goals.push(Goal { text: format!("{what}: {value:.2}, {word} {bound}"), holds });
    };
    let pairs = |who: &str| {
        let rows = &find("spawn")?.rows;
        rows.iter().find(|row| row.case == TRIVIAL && row.who == who)?.ratio
    };
    add("bubblewrap's time, in selfdock's", pairs(BUBBLEWRAP), 5.0, true);
    add("selfdock's time, in the floor's", pairs(FLOOR).map(|ratio| 1.0 / ratio), 1.35, false);
    let at = |table: &str, case: &str| find(table)?.median(case, SELFDOCK);
    let both = |table, few, many| Some((at(table, few)?, at(table, many)?));
    let slope = both("host-mounts", "0 mounts", "1000 mounts").map(|(few, many)| (many - few) / 1000.0);
    add("µs for a mount of the host's", slope, 2.0, false);
    add("kB for an idle instance, beyond its command's", at("memory", super::memory::ALL), 45.0, false);
    let level = both("depth", "1 deep", "30 deep").map(|(one, thirty)| thirty / 30.0 / one);
    add("a level of 30, in one alone", level, 1.2, false);
    let crowd = both("alive", "0 alive", "5000 alive").map(|(none, many)| many / none);
    add("an instance beside 5000, in one alone", crowd, 1.2, false);
    goals
}
