//! The ledger of a JSON report.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A number of the ledger.
///
/// # Errors
/// When it has none of this name.
pub fn entry(report: &Value, path: &str) -> Result<u64> {
    report
        .pointer(&format!("/ledger/{path}"))
        .and_then(Value::as_u64)
        .with_context(|| format!("ledger/{path} in {}", report["ledger"]))
}

/// Holds every identity of the ledger against its entries, and the sums of the tables and of the
/// histogram against `matched`. Returns `matched`.
///
/// # Errors
/// When one does not hold.
pub fn balanced(report: &Value, has_file: bool) -> Result<u64> {
    let matched = entry(report, "matched")?;
    let sum =
        |paths: &[&str]| -> Result<u64> { paths.iter().map(|path| entry(report, path)).sum() };
    ensure!(report["ledger"]["balanced"] == true);
    ensure!(entry(report, "seen")? == sum(&["filtered_out", "matched"])?);
    if !report["ledger"]["summaries_lost"].is_null() {
        ensure!(matched == sum(&["summaries_delivered", "summaries_lost"])?);
    }
    if has_file {
        let frames = sum(&[
            "frames_sampled_out",
            "frames_written",
            "frames_lost/ring_full",
            "frames_lost/write_failed",
        ])?;
        ensure!(matched == frames, "{frames} frames of {matched}");
    }
    let numbers = |value: &Value| -> u64 {
        let list = value.as_array().into_iter().flatten();
        list.filter_map(Value::as_u64).sum()
    };
    let rows = |table: &str| -> u64 {
        let rows = report[table].as_array().into_iter().flatten();
        rows.filter_map(|row| row["packets"].as_u64()).sum()
    };
    let timeline = &report["timeline"];
    let by_protocol = timeline["by_protocol"].as_object();
    let by_protocol: u64 = by_protocol
        .into_iter()
        .flatten()
        .map(|(_, bins)| numbers(bins))
        .sum();
    for (what, sum) in [
        ("bins", numbers(&timeline["bins"])),
        ("bins by protocol", by_protocol),
        ("protocols", rows("protocols")),
        ("interfaces", rows("interfaces")),
    ] {
        ensure!(sum == matched, "{what} sum to {sum}, and {matched} matched");
    }
    Ok(matched)
}
