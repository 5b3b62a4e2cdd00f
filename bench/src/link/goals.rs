//! What a row is to reach, and whether it does.

use serde::Serialize;

use super::{
    Row, Run, Table,
    report::{relative, values},
};
use crate::statistics::Estimate;

/// A goal of one row.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Goal {
    /// Name of the row's tool.
    pub(super) tool: &'static str,
    pub(super) measure: Measure,
    pub(super) bound: Bound,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Measure {
    /// Rate delivered, over that with the other tool.
    Delivered(&'static str),
    /// Rate delivered, over that of the same tool under the load with this title.
    DeliveredUnder(&'static str),
    /// Rate captured, over that of the other tool.
    Captured(&'static str),
    /// Worst share of frames that the tool does not have, in percent.
    Loss,
    /// CPU seconds per million frames.
    Cpu,
    /// CPU time per frame, over that of the other tool.
    CpuOf(&'static str),
    /// Percent of one core.
    Core,
    /// Milliseconds from start to listening.
    Start,
    /// Peak resident set in MiB.
    Peak,
}

/// On which side the value must lie.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// The goals of a table with what was measured, as Markdown; empty without goals.
pub(super) fn markdown(table: &Table, tables: &[Table]) -> String {
    let lines: Vec<String> = table
        .goals
        .iter()
        .filter_map(|goal| {
            let estimate = Estimate::of(&goal.values(table, tables)?)?;
            Some(goal.line(&estimate))
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    let head = "| goal | at | measured | |\n|---|--:|--:|---|\n";
    format!("\n{head}{}\n", lines.join("\n"))
}

impl Goal {
    fn line(&self, estimate: &Estimate) -> String {
        let (sign, bound, verdict) = match self.bound {
            Bound::AtLeast(bound) => ("≥", bound, estimate.against_least(bound)),
            Bound::AtMost(bound) => ("≤", bound, estimate.against_most(bound)),
        };
        format!(
            "| {}: {} | {sign} {bound} | {} | {verdict} |",
            self.tool,
            self.measure.text(),
            estimate.text(3)
        )
    }

    /// The values of every repetition; `None` where a tool did not run.
    fn values(&self, table: &Table, tables: &[Table]) -> Option<Vec<f64>> {
        let row = table.row(self.tool)?;
        let values = match self.measure {
            Measure::Delivered(other) => relative(row, table.row(other)?, |run| Some(run.pps())),
            Measure::DeliveredUnder(title) => {
                let other = tables.iter().find(|table| table.title == title)?;
                relative(row, other.row(self.tool)?, |run| Some(run.pps()))
            }
            Measure::Captured(other) => relative(row, table.row(other)?, captured_pps),
            Measure::Loss => vec![
                values(row, Run::loss_percent)
                    .into_iter()
                    .fold(0.0, f64::max),
            ],
            Measure::Cpu => values(row, Run::cpu_per_million),
            Measure::CpuOf(other) => relative(row, table.row(other)?, Run::cpu_per_million),
            Measure::Core => values(row, |run| Some(run.cpu_s / run.seconds * 100.0)),
            Measure::Start => values(row, |run| Some(run.start_s * 1e3)),
            Measure::Peak => values(row, |run| Some(run.peak_bytes as f64 / f64::from(1 << 20))),
        };
        Some(values)
    }
}

fn captured_pps(run: &Run) -> Option<f64> {
    Some(run.captured? as f64 / run.seconds)
}

impl Measure {
    fn text(self) -> String {
        match self {
            Self::Delivered(other) => format!("delivered, over {other}"),
            Self::DeliveredUnder(title) => format!("delivered, over {title}"),
            Self::Captured(other) => format!("captured, over {other}"),
            Self::Loss => "worst loss %".to_owned(),
            Self::Cpu => "CPU s per million".to_owned(),
            Self::CpuOf(other) => format!("CPU time per frame, over {other}"),
            Self::Core => "% of one core".to_owned(),
            Self::Start => "ms to listening".to_owned(),
            Self::Peak => "peak RSS MiB".to_owned(),
        }
    }
}

impl Table {
    fn row(&self, tool: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.case.name == tool && !row.runs.is_empty())
    }
}
