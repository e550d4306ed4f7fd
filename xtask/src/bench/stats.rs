//! Medians and spread.

use serde_json::{Value, json};

/// A summary of many measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub count: usize,
    pub p10: f64,
    pub median: f64,
    pub p90: f64,
}

impl Summary {
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |part: f64| values[(part * last as f64).round() as usize];
        Some(Self { count: values.len(), p10: at(0.1), median: at(0.5), p90: at(0.9) })
    }

    /// A single figure.
    pub fn exactly(value: f64) -> Self {
        Self { count: 1, p10: value, median: value, p90: value }
    }

    pub fn json(&self) -> Value {
        let short = |value: f64| (value * 1000.0).round() / 1000.0;
        json!({ "count": self.count, "p10": short(self.p10), "median": short(self.median),
            "p90": short(self.p90) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let summary = Summary::of((1..=11).rev().map(f64::from).collect());
        assert_eq!(summary, Some(Summary { count: 11, p10: 2.0, median: 6.0, p90: 10.0 }));
        assert_eq!(Summary::of(Vec::new()), None);
    }
}
