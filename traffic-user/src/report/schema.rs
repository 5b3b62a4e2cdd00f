//! Checks JSON against the schemas in `docs/`.

use serde_json::Value;

pub(crate) const REPORT: &str = include_str!("../../../docs/report.schema.json");
pub(crate) const PACKET: &str = include_str!("../../../docs/packet.schema.json");

/// What keeps `value` from agreeing with `schema`.
pub(crate) fn problems(schema: &str, value: &Value) -> Vec<String> {
    let root: Value = serde_json::from_str(schema).unwrap();
    let mut problems = Vec::new();
    check(&root, &root, value, "value", &mut problems);
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
            "type" | "const" | "enum" | "minimum" | "maximum" | "properties" | "description"
            | "title" | "$schema" | "$defs" => {}
            other => panic!("the schema uses {other}, which this test does not know"),
        }
    }
}

fn check_choice(root: &Value, rule: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
    let fitting = rule.as_array().unwrap().iter().filter(|choice| {
        let mut found = Vec::new();
        check(root, choice, value, at, &mut found);
        found.is_empty()
    });
    if fitting.count() != 1 {
        problems.push(format!("{at}: no single choice fits"));
    }
}

fn check_keys(root: &Value, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
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
