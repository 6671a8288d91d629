//! One figure: a JSON line as soon as it is known, and a row of the table at the end.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Shown for what it tells.
    None,
}

impl Goal {
    fn met(self, score: f64) -> Option<bool> {
        match self {
            Self::AtLeast(bound) => Some(score >= bound),
            Self::AtMost(bound) => Some(score <= bound),
            Self::None => None,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {}", short(bound)),
            Self::AtMost(bound) => format!("≤ {}", short(bound)),
            Self::None => String::new(),
        }
    }
}

/// One figure.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    /// What was measured.
    pub(super) name: &'static str,
    /// Ours, with its unit.
    pub(super) ours: f64,
    pub(super) unit: &'static str,
    /// Of the one it is compared with.
    pub(super) theirs: Option<(&'static str, f64)>,
    /// What the goal speaks of; often the ratio of the two.
    pub(super) score: f64,
    pub(super) goal: Goal,
    /// Whatever else helps to judge it.
    pub(super) more: Value,
}

/// All figures so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// Keeps a figure and prints its JSON line.
    pub(super) fn add(&mut self, figure: Figure) {
        let mut line = Map::new();
        line.insert("figure".into(), figure.name.into());
        line.insert("ours".into(), rounded(figure.ours));
        line.insert("unit".into(), figure.unit.into());
        if let Some((name, value)) = figure.theirs {
            line.insert(name.into(), rounded(value));
        }
        line.insert("score".into(), rounded(figure.score));
        if let Some(met) = figure.goal.met(figure.score) {
            line.insert("goal".into(), figure.goal.shown().into());
            line.insert("met".into(), met.into());
        }
        if let Value::Object(more) = &figure.more {
            line.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        println!("{}", Value::Object(line));
        self.figures.push(figure);
    }

    /// Our value of a figure that was added before.
    pub(super) fn value(&self, name: &str) -> f64 {
        self.figures
            .iter()
            .find(|figure| figure.name == name)
            .map_or(f64::NAN, |figure| figure.ours)
    }

    /// The table, and the names of the figures that miss their goal.
    pub(super) fn table(&self) -> (String, Vec<&'static str>) {
        let mut out = String::new();
        let mut missed = Vec::new();
        let rows: Vec<[String; 5]> = self
            .figures
            .iter()
            .map(|figure| {
                let verdict = match figure.goal.met(figure.score) {
                    Some(true) => "good",
                    Some(false) => {
                        missed.push(figure.name);
                        "MISSED"
                    }
                    None => "",
                };
                [
                    figure.name.to_owned(),
                    format!("{} {}", short(figure.ours), figure.unit),
                    figure.theirs.map_or_else(String::new, |(name, value)| {
                        format!("{name} {}", short(value))
                    }),
                    short(figure.score),
                    format!("{} {verdict}", figure.goal.shown())
                        .trim()
                        .to_owned(),
                ]
            })
            .collect();
        let head = ["figure", "ours", "beside", "score", "goal"].map(str::to_owned);
        let width = |column: usize| {
            rows.iter()
                .chain([&head])
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..5).map(width).collect();
        for row in [&head].into_iter().chain(&rows) {
            for (cell, width) in row.iter().zip(&widths) {
                let padding = " ".repeat(width - cell.chars().count() + 2);
                let _infallible = write!(out, "{cell}{padding}");
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        (out, missed)
    }
}

fn rounded(value: f64) -> Value {
    if value.abs() >= 100.0 {
        json!(value.round())
    } else {
        json!((value * 1000.0).round() / 1000.0)
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => {
            let text = format!("{value:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_named_in_the_table() {
        let mut report = Report::default();
        for (name, score) in [("pages", 0.95), ("files", 0.5)] {
            report.figures.push(Figure {
                name,
                ours: 123_456.0,
                unit: "req/CPU s",
                theirs: Some(("nginx", 99.0)),
                score,
                goal: Goal::AtLeast(0.9),
                more: Value::Null,
            });
        }
        let (table, missed) = report.table();
        assert_eq!(missed, ["files"]);
        assert!(
            table.contains("123456 req/CPU s")
                && table.contains("≥ 0.9 good")
                && table.contains("MISSED"),
            "{table}"
        );
    }
}
