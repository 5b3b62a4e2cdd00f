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
    use crate::report::assemble::tests::{capture_report, files_report};

    const SCHEMA: &str = include_str!("../../../docs/report.schema.json");

    #[test]
    fn reports_agree_with_the_schema() {
        for report in [
            capture_report(3),
            files_report(&[1, 2], 2),
            files_report(&[], 0),
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
        let root: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut problems = Vec::new();
        check(&root, &root, report, "report", &mut problems);
        problems
    }

    /// The part of JSON Schema 2020-12 that the schema uses.
    fn check(root: &Value, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
        for (keyword, rule) in schema.as_object().expect("a schema is an object") {
            match keyword.as_str() {
                "$ref" => {
                    let pointer = rule.as_str().unwrap().trim_start_matches('#');
                    check(root, root.pointer(pointer).unwrap(), value, at, problems);
                }
                "oneOf" | "anyOf" => check_choice(root, rule, value, at, problems),
                "type" if !has_type(rule, value) => problems.push(format!("{at}: not {rule}")),
                "enum" if !rule.as_array().unwrap().contains(value) => {
                    problems.push(format!("{at}: none of {rule}"));
                }
                "const" if rule != value => problems.push(format!("{at}: not {rule}")),
                "minimum" if value.as_f64() < rule.as_f64() && value.is_number() => {
                    problems.push(format!("{at}: below {rule}"));
                }
                "maximum" if value.as_f64() > rule.as_f64() && value.is_number() => {
                    problems.push(format!("{at}: above {rule}"));
                }
                "required" => {
                    let missing = rule
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|key| key.as_str().unwrap());
                    let missing = missing.filter(|key| value.get(key).is_none());
                    problems.extend(missing.map(|key| format!("{at}: no {key}")));
                }
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        check(root, rule, item, &format!("{at}[]"), problems);
                    }
                }
                "additionalProperties" => check_keys(root, schema, value, at, problems),
                "type" | "const" | "enum" | "minimum" | "maximum" | "properties"
                | "description" | "title" | "$schema" | "$defs" => {}
                other => panic!("the schema uses {other}, which this test does not know"),
            }
        }
    }

    fn check_choice(
        root: &Value,
        rule: &Value,
        value: &Value,
        at: &str,
        problems: &mut Vec<String>,
    ) {
        let fitting = rule.as_array().unwrap().iter().filter(|choice| {
            let mut found = Vec::new();
            check(root, choice, value, at, &mut found);
            found.is_empty()
        });
        if fitting.count() != 1 {
            problems.push(format!("{at}: no single choice fits"));
        }
    }

    fn check_keys(
        root: &Value,
        schema: &Value,
        value: &Value,
        at: &str,
        problems: &mut Vec<String>,
    ) {
        for (key, value) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{key}");
            let known = schema.get("properties").and_then(|known| known.get(key));
            let rule = known.unwrap_or(&schema["additionalProperties"]);
            if *rule == Value::Bool(false) {
                problems.push(format!("{at}: unknown"));
            } else {
                check(root, rule, value, &at, problems);
            }
        }
    }

    fn has_type(rule: &Value, value: &Value) -> bool {
        let one = std::slice::from_ref(rule);
        let types = rule.as_array().map_or(one, Vec::as_slice);
        types.iter().any(|name| match name.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("unknown type {other}"),
        })
    }
}
