//! The promises about speed, and whether this run meets them.

use super::job::{BUBBLEWRAP, FLOOR, PLAIN, SELFDOCK};
use super::sections::{TRIVIAL, a_mount};
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

/// The goals that the sections of this run can check.
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
    add("bubblewrap's time, in selfdock's", pairs(BUBBLEWRAP), 4.0, true);
    add("selfdock's time, in the floor's", pairs(FLOOR).map(|ratio| 1.0 / ratio), 1.35, false);
    // The difference is large, so the drift of the bare command, a tenth of a millisecond, does not matter.
    let slope = find("host-mounts").and_then(|table| a_mount(table, SELFDOCK));
    add("µs for a mount of the host's", slope, 2.0, false);
    let idle = |who| find("memory")?.median(super::memory::ALL, who);
    let idle = idle(SELFDOCK).zip(idle(FLOOR)).map(|(own, floor)| own / floor);
    add("memory of an idle instance, in the floor's", idle, 1.3, false);
    let deepest = find("depth")
        .and_then(|table| table.rows.iter().find(|row| row.case == "30 deep" && row.who == SELFDOCK)?.ratio);
    add("a level of 30, in one alone", deepest.map(|ratio| ratio / 30.0), 1.2, false);
    // These cannot be measured in turns. The bare command shows whether the machine has become slower.
    let crowd = |who| {
        let at = |case| find("alive")?.median(case, who);
        Some(at("5000 alive")? / at("0 alive")?)
    };
    let crowd = crowd(SELFDOCK).zip(crowd(PLAIN)).map(|(own, drift)| own / drift);
    add("an instance beside 5000, in one alone", crowd, 1.2, false);
    goals
}
