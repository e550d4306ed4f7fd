//! The results of a section: rows for people and for programs.

use super::stats::Summary;
use serde_json::{Value, json};
use std::fmt::Write;

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// The case: `100 mounts`.
    pub case: String,
    /// The case as a number, if a chart can be drawn over it.
    pub x: Option<f64>,
    /// The measured program: `bubblewrap`.
    pub who: String,
    pub value: Summary,
    /// Its ratio to selfdock's figure, pair by pair.
    pub ratio: Option<f64>,
}

/// All results of a section.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub rows: Vec<Row>,
    pub notes: Vec<String>,
}

impl Table {
    pub fn new(name: &'static str, title: &'static str, unit: &'static str) -> Self {
        Self { name, title, unit, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a figure that was not measured in pairs.
    pub fn add(&mut self, case: impl Into<String>, who: impl Into<String>, value: Summary) {
        self.rows.push(Row { case: case.into(), x: None, who: who.into(), value, ratio: None });
    }

    /// The median of a case.
    pub fn median(&self, case: &str, who: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.case == case && row.who == who);
        row.map(|row| row.value.median)
    }

    pub fn text(&self) -> String {
        let mut text = format!("\n{} ({})\n", self.title, self.unit);
        let widest = |of: fn(&Row) -> &str| self.rows.iter().map(|row| of(row).chars().count()).max();
        let case = widest(|row| &row.case).unwrap_or(0);
        let who = widest(|row| &row.who).unwrap_or(0);
        let ratios = self.rows.iter().any(|row| row.ratio.is_some());
        let head = if ratios { "  × selfdock" } else { "" };
        let _ = writeln!(
            text,
            "  {:case$}  {:who$}  {:>10}  {:>10}  {:>10}{head}",
            "", "", "median", "p10", "p90"
        );
        let mut last = "";
        for row in &self.rows {
            let name = if row.case == last { "" } else { &row.case };
            last = &row.case;
            let Summary { median, p10, p90, .. } = row.value;
            let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:>12.2}"));
            let (median, p10, p90) = (short(median), short(p10), short(p90));
            let line = format!("  {name:case$}  {:who$}  {median:>10}  {p10:>10}  {p90:>10}{ratio}", row.who);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        text
    }

    pub fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({ "case": row.case, "x": row.x, "who": row.who, "value": row.value.json(),
                "times_selfdock": row.ratio })
        });
        json!({ "name": self.name, "title": self.title, "unit": self.unit, "notes": self.notes,
            "rows": rows.collect::<Vec<_>>() })
    }
}

/// A figure with three significant digits.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
