//! What was measured, as Markdown.

use std::fmt::Write as _;

use super::{Measured, Row, Run, Table, goals};
use crate::statistics::{Estimate, median};

/// Everything as tables, with conditions and commands.
pub(super) fn markdown(measured: &Measured) -> String {
    let mut text = conditions(measured);
    for table in &measured.tables {
        let _ = write!(text, "\n### {}\n\n", capitalized(table.title));
        if table.load.traffic.is_some() {
            loaded(table, &mut text);
        } else {
            idle(table, &mut text);
        }
        text.push_str(&goals::markdown(table, &measured.tables));
        for row in &table.rows {
            if let Some(reason) = &row.skipped {
                let _ = writeln!(text, "\nSkipped: {}: {reason}", row.case.name);
            }
        }
    }
    text.push_str("\nCommands, each behind `taskset --cpu-list 1`:\n\n```\n");
    let mut commands: Vec<String> = Vec::new();
    for row in measured.tables.iter().flat_map(|table| &table.rows) {
        let command = row.case.command();
        if !command.is_empty() && !commands.contains(&command) {
            commands.push(command);
        }
    }
    text.push_str(&commands.join("\n"));
    text.push_str("\n```\n");
    text
}

fn conditions(measured: &Measured) -> String {
    let Measured {
        begin,
        end,
        repetitions,
        seconds,
        versions,
        ..
    } = measured;
    format!(
        "Begun {}; ended {}. {repetitions} repetitions of {seconds} s, every tool in turn in each. \
         A veth pair between two network namespaces; traffic from XDP live frames and its \
         reception on CPU 0, the tool on CPU 1; frames go to a foreign MAC, so that the stack \
         drops them once every monitor has seen them; capture files in memory. Medians with \
         bootstrap 95 % intervals. The sender takes as much of CPU 0 as the monitor leaves, so \
         that `ratio`, packets delivered with the tool over without, is what the monitor costs. \
         CPU time is user and system time while the traffic runs.\n\n{}.\n",
        begin.text(),
        end.text(),
        versions.join("; ")
    )
}

fn loaded(table: &Table, text: &mut String) {
    text.push_str(
        "| tool | delivered kpps | ratio | captured kpps | loss % (worst) | CPU s per million | \
         peak RSS MiB | start ms |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let none = table.rows.iter().find(|row| row.case.line.is_empty());
    for row in table.rows.iter().filter(|row| !row.runs.is_empty()) {
        let pps = |run: &Run| Some(run.pps());
        let ratio = none.map(|none| relative(row, none, pps));
        let ratio = ratio.unwrap_or_default();
        let cells = [
            row.case.name.to_owned(),
            middle(row, 0, |run| Some(run.pps() / 1e3)),
            Estimate::of(&ratio).map_or_else(String::new, |ratio| ratio.text(2)),
            middle(row, 0, |run| Some(run.captured? as f64 / run.seconds / 1e3)),
            loss(row),
            estimate(row, 3, Run::cpu_per_million),
            middle(row, 1, |run| {
                run.captured
                    .map(|_| run.peak_bytes as f64 / f64::from(1 << 20))
            }),
            middle(row, 0, |run| run.captured.map(|_| run.start_s * 1e3)),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

fn idle(table: &Table, text: &mut String) {
    text.push_str("| tool | % of one core | peak RSS MiB | start ms |\n|---|--:|--:|--:|\n");
    for row in table.rows.iter().filter(|row| !row.runs.is_empty()) {
        let cells = [
            row.case.name.to_owned(),
            estimate(row, 2, |run| Some(run.cpu_s / run.seconds * 100.0)),
            middle(row, 1, |run| {
                Some(run.peak_bytes as f64 / f64::from(1 << 20))
            }),
            middle(row, 0, |run| Some(run.start_s * 1e3)),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

/// A row's values over those of another in the same repetitions.
pub(super) fn relative(row: &Row, other: &Row, value: impl Fn(&Run) -> Option<f64>) -> Vec<f64> {
    row.runs
        .iter()
        .filter_map(|run| {
            let same = |other: &&Run| other.repetition == run.repetition;
            let other = other.runs.iter().find(same)?;
            Some(value(run)? / value(other)?)
        })
        .collect()
}

/// Median and worst share of delivered frames that the tool does not have, in percent.
fn loss(row: &Row) -> String {
    let losses = values(row, Run::loss_percent);
    let Some(middle) = median(&losses) else {
        return String::new();
    };
    let worst = losses.iter().copied().fold(0.0, f64::max);
    if worst == 0.0 {
        "0".to_owned()
    } else {
        format!("{middle:.3} ({worst:.3})")
    }
}

fn estimate(row: &Row, digits: usize, value: impl Fn(&Run) -> Option<f64>) -> String {
    Estimate::of(&values(row, value)).map_or_else(String::new, |estimate| estimate.text(digits))
}

fn middle(row: &Row, digits: usize, value: impl Fn(&Run) -> Option<f64>) -> String {
    median(&values(row, value)).map_or_else(String::new, |value| format!("{value:.digits$}"))
}

pub(super) fn values(row: &Row, value: impl Fn(&Run) -> Option<f64>) -> Vec<f64> {
    row.runs.iter().filter_map(value).collect()
}

fn capitalized(title: &str) -> String {
    let mut chars = title.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}
