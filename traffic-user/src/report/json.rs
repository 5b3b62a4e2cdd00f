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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::{
        assemble::tests::{capture_report, files_report},
        example, schema,
    };

    #[test]
    fn reports_agree_with_the_schema() {
        for report in [
            capture_report(3),
            files_report(&[1, 2], 2),
            files_report(&[], 0),
            example::report(),
        ] {
            let problems = problems(&serde_json::from_str(&to_string(&report)).unwrap());
            assert!(problems.is_empty(), "{problems:#?}");
        }
    }

    #[test]
    fn what_differs_from_the_schema_is_noticed() {
        let good: Value = serde_json::from_str(&to_string(&capture_report(3))).unwrap();
        let changes: [fn(&mut Value); 8] = [
            |report| drop(report.as_object_mut().unwrap().remove("ledger")),
            |report| report["extra"] = Value::Null,
            |report| report["ledger"]["frames_lost"]["extra"] = Value::Null,
            |report| report["timeline"]["bins"][0] = Value::from(-1),
            |report| report["timeline"]["by_protocol"]["tcp"] = Value::from("1"),
            |report| report["sources"][0]["address"] = Value::Null,
            |report| report["source"]["kind"] = Value::from("files"),
            |report| report["sizes"] = Value::from(1.5),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut report = good.clone();
            change(&mut report);
            assert!(!problems(&report).is_empty(), "change {index}");
        }
        assert!(!problems(&Value::from(1)).is_empty());
    }

    #[test]
    fn optional_numbers_are_null() {
        let report: Value = serde_json::from_str(&to_string(&files_report(&[], 0))).unwrap();
        assert_eq!(report["totals"]["wire_packets"], Value::Null);
        assert_eq!(report["started"], Value::Null);
        assert_eq!(report["sizes"], Value::Null);
        assert_eq!(report["ledger"]["summaries_lost"], 0);
        assert_eq!(report["source"]["kind"], "files");
    }

    fn problems(report: &Value) -> Vec<String> {
        schema::problems(schema::REPORT, report)
    }
}
