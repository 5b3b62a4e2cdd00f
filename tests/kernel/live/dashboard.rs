//! The dashboard for Grafana: whole as Grafana's JSON model wants it, and every expression has an
//! answer from a server that has scraped a capture.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use traffic_tests::{netns::Namespace, wait_until};

use super::answer;

const DASHBOARD: &str = include_str!("../../../dashboards/grafana.json");
/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;
/// Names of units that Grafana knows
/// (`packages/grafana-data/src/valueFormats/categories.ts`).
const UNITS: [&str; 5] = ["pps", "bps", "short", "s", "percentunit"];
const DEADLINE: Duration = Duration::from_secs(30);

/// Panels have numbers and places of their own, units that there are, and the data source that
/// the user chooses.
pub(super) fn is_whole() -> Result<()> {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    ensure!(dashboard["uid"] == "traffic" && dashboard["schemaVersion"].is_u64());
    let variables = list(&dashboard["templating"]["list"])?;
    let names: Vec<_> = variables.iter().map(|one| &one["name"]).collect();
    ensure!(names == ["datasource", "instance", "interface"]);
    ensure!(variables[0]["type"] == "datasource" && variables[0]["query"] == "prometheus");
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard["panels"])? {
        let title = panel["title"].as_str().context("a title")?;
        ensure!(
            ids.insert(panel["id"].as_u64()),
            "{title}: its id is another's"
        );
        ensure!(panel["datasource"]["uid"] == "${datasource}", "{title}");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        ensure!(
            unit.is_some_and(|unit| UNITS.contains(&unit)),
            "{title}: {unit:?}"
        );
        for cell in cells(&panel["gridPos"])? {
            ensure!(cell.0 < COLUMNS, "{title} is beyond the grid");
            ensure!(taken.insert(cell), "{title} covers another panel");
        }
    }
    Ok(())
}

/// Asks the server in `namespace` what every panel asks, and what the choices of variables ask.
pub(super) fn has_answers(namespace: &Namespace) -> Result<()> {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let mut asked = 0;
    for panel in list(&dashboard["panels"])? {
        for target in list(&panel["targets"])? {
            let expression = target["expr"].as_str().context("an expression")?;
            let query = filled_in(expression);
            ensure!(
                !query.contains('$'),
                "a variable that is not known: {query}"
            );
            // Of what is malformed there are no series before there is something.
            if !query.contains("malformed") {
                wait_until(&query, DEADLINE, || answer(namespace, &query).is_ok())?;
            }
            asked += 1;
        }
    }
    ensure!(asked >= 12, "{asked} expressions");
    for variable in &list(&dashboard["templating"]["list"])?[1..] {
        let definition = variable["definition"].as_str().context("a definition")?;
        let choice = definition.strip_prefix("label_values(");
        let choice = choice.and_then(|rest| rest.strip_suffix(')'));
        let (series, label) = choice
            .and_then(|choice| choice.rsplit_once(", "))
            .context("a choice")?;
        let query = format!("count({}) by ({label})", filled_in(series));
        ensure!(answer(namespace, &query)? > 0.0, "{query}");
    }
    Ok(())
}

/// As Grafana fills in a query when all hosts and interfaces are chosen.
fn filled_in(expression: &str) -> String {
    expression
        .replace("$instance", ".*")
        .replace("$interface", ".*")
        .replace("$__rate_interval", "4s")
        .replace("$__range", "30s")
}

/// Column and row of each cell that a panel covers.
fn cells(place: &Value) -> Result<Vec<(u64, u64)>> {
    let side = |name: &str| place[name].as_u64().with_context(|| name.to_owned());
    let (x, y, width, height) = (side("x")?, side("y")?, side("w")?, side("h")?);
    ensure!(width > 0 && height > 0);
    let columns = x..x + width;
    Ok(columns
        .flat_map(|column| (y..y + height).map(move |row| (column, row)))
        .collect())
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().context("a list")
}
