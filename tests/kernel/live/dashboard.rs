//! The dashboards for Grafana: whole as Grafana's JSON model wants it, and every expression has an
//! answer from a server that has scraped a capture.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use traffic_tests::{
    prometheus::{self, Prometheus, filled_in, is_about_the_malformed, queries},
    wait_until,
};

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;
/// Names of units that Grafana knows
/// (`packages/grafana-data/src/valueFormats/categories.ts`).
const UNITS: [&str; 6] = ["pps", "bps", "bytes", "short", "s", "percentunit"];
const DEADLINE: Duration = Duration::from_secs(30);

/// A dashboard: its file, its uid, the kind of its data source, its other variables.
const DASHBOARDS: [(&str, &str, &str, &[&str]); 2] = [
    (
        "grafana.json",
        "traffic",
        "prometheus",
        &["instance", "interface"],
    ),
    (
        "grafana-clickhouse.json",
        "traffic-fleet",
        "grafana-clickhouse-datasource",
        &["host"],
    ),
];

/// Panels have numbers and places of their own, units that there are, and the data source that
/// the user chooses.
pub(super) fn are_whole() -> Result<()> {
    for (file, uid, source, choices) in DASHBOARDS {
        is_whole(&dashboard(file)?, uid, source, choices).context(file)?;
    }
    Ok(())
}

fn is_whole(dashboard: &Value, uid: &str, source: &str, choices: &[&str]) -> Result<()> {
    ensure!(dashboard["uid"] == uid && dashboard["schemaVersion"].is_u64());
    let variables = list(&dashboard["templating"]["list"])?;
    let names: Vec<_> = variables.iter().map(|one| &one["name"]).collect();
    ensure!(
        names == [&["datasource"][..], choices].concat(),
        "{names:?}"
    );
    ensure!(variables[0]["type"] == "datasource" && variables[0]["query"] == source);
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

/// Asks the server what every panel asks, and what the choices of variables ask.
pub(super) fn has_answers(server: &Prometheus<'_>) -> Result<()> {
    for query in queries()? {
        if !is_about_the_malformed(&query) {
            wait_until(&query, DEADLINE, || server.value(&query).is_ok())?;
        }
    }
    let dashboard = dashboard("grafana.json")?;
    for variable in &list(&dashboard["templating"]["list"])?[1..] {
        let definition = variable["definition"].as_str().context("a definition")?;
        let choice = definition.strip_prefix("label_values(");
        let choice = choice.and_then(|rest| rest.strip_suffix(')'));
        let (series, label) = choice
            .and_then(|choice| choice.rsplit_once(", "))
            .context("a choice")?;
        let query = format!("count({}) by ({label})", filled_in(series));
        ensure!(server.value(&query)? > 0.0, "{query}");
    }
    Ok(())
}

fn dashboard(name: &str) -> Result<Value> {
    let text = fs::read(prometheus::dashboard(name))?;
    Ok(serde_json::from_slice(&text)?)
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
