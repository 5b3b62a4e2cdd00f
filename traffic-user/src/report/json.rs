//! The report as JSON; `docs/report.schema.json` describes it.

use super::Report;

/// Pretty-printed JSON that ends with a newline.
///
/// # Panics
/// Never: every map of the report has strings for keys.
#[must_use]
pub fn to_string(report: &Report) -> String {
    let mut json =
        serde_json::to_string_pretty(report).expect("the report has only string keys and numbers");
    json.push('\n');
    json
}
