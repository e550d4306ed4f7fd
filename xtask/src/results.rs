//! The table at the end of a run: property, number of tests, result.

use crate::properties::{PROPERTIES, Property, of_test};
use crate::run::{Context, Result};
use crate::suite::{Outcome, Verdict};
use serde_json::{Value, json};
use std::path::Path;

/// How many lines of a failed test's output are printed after the table.
const LINES_OF_A_FAILURE: usize = 25;

struct Row<'a> {
    property: &'a Property,
    passed: usize,
    /// Failed and ignored ones.
    faulty: Vec<&'a str>,
}

impl Row<'_> {
    fn is_ok(&self) -> bool {
        self.passed > 0 && self.faulty.is_empty()
    }

    fn result(&self) -> String {
        match (self.passed, self.faulty.len()) {
            (0, 0) => "NO TEST".into(),
            (_, 0) => "ok".into(),
            (_, faults) => format!("{faults} FAILED"),
        }
    }

    fn json(&self) -> Value {
        json!({
            "property": self.property.name,
            "promise": self.property.promise,
            "tests": self.passed + self.faulty.len(),
            "passed": self.passed,
            "failed": self.faulty,
            "result": if self.is_ok() { "ok" } else { "failed" },
        })
    }
}

/// Prints the table and what failed tests said, and writes the table to `file`. Fails unless every property has
/// passed. If a filter chose the tests (`partial`), only their properties count.
pub fn report(outcomes: &[Outcome], partial: bool, file: Option<&Path>) -> Result {
    let rows: Vec<Row> = PROPERTIES
        .iter()
        .map(|property| row(property, outcomes))
        .filter(|row| !partial || row.passed + row.faulty.len() > 0)
        .collect();
    println!("\n{:<22}{:>6}  result", "property", "tests");
    for row in &rows {
        println!("{:<22}{:>6}  {}", row.property.name, row.passed + row.faulty.len(), row.result());
    }
    // Repeated at the end, where a reader of a long log looks first.
    for failed in outcomes.iter().filter(|outcome| !outcome.said.is_empty()) {
        println!("\n{} failed:", failed.test);
        failed.said.iter().take(LINES_OF_A_FAILURE).for_each(|line| println!("{line}"));
    }
    let homeless: Vec<&str> =
        outcomes.iter().map(|o| o.test.as_str()).filter(|test| of_test(test).is_none()).collect();
    let ok = rows.iter().all(Row::is_ok) && homeless.is_empty() && !rows.is_empty();
    if let Some(file) = file {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        let text =
            json!({ "result": if ok { "ok" } else { "failed" }, "partial": partial, "properties": rows });
        std::fs::write(file, format!("{text:#}\n")).context(format_args!("write '{}'", file.display()))?;
    }
    if !homeless.is_empty() {
        return Err(format!("tests of no property: {}", homeless.join(", ")));
    }
    if ok { Ok(()) } else { Err("not every property holds; see the table".into()) }
}

fn row<'a>(property: &'static Property, outcomes: &'a [Outcome]) -> Row<'a> {
    let of_it = |o: &&Outcome| of_test(&o.test).is_some_and(|p| p.name == property.name);
    let (passed, faulty): (Vec<&Outcome>, Vec<&Outcome>) =
        outcomes.iter().filter(of_it).partition(|o| o.verdict == Verdict::Passed);
    Row { property, passed: passed.len(), faulty: faulty.iter().map(|o| o.test.as_str()).collect() }
}
