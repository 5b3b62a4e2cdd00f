//! A server of Prometheus, and what the dashboards ask it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{netns::Namespace, peer};

/// A server in a namespace, on port 9090 of 127.0.0.1; killed when dropped.
#[derive(Debug)]
pub struct Prometheus<'a> {
    namespace: &'a Namespace,
    process: Child,
    _directory: TempDir,
}

impl<'a> Prometheus<'a> {
    /// Starts a server with this configuration.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn start(namespace: &'a Namespace, configuration: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, configuration)?;
        let data = directory.path().join("data");
        let process = peer::command(Some(namespace.name()), "prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg("--web.listen-address=127.0.0.1:9090")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start prometheus")?;
        Ok(Self {
            namespace,
            process,
            _directory: directory,
        })
    }

    /// What it answers to a query.
    ///
    /// # Errors
    /// When it does not answer, or does not understand.
    pub fn ask(&self, query: &str) -> Result<String> {
        let output = self
            .namespace
            .command("promtool")
            .args(["query", "instant", "http://127.0.0.1:9090", query])
            .output()?;
        ensure!(output.status.success(), "{query}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The first value of an answer.
    ///
    /// # Errors
    /// As [`Prometheus::ask`], and when there is none.
    pub fn value(&self, query: &str) -> Result<f64> {
        let text = self.ask(query)?;
        let (_, value) = text
            .split_once("=> ")
            .with_context(|| format!("{query}: no value in {text:?}"))?;
        Ok(value.split(' ').next().unwrap_or_default().parse()?)
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        // Both fail when it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A file of `dashboards/`.
#[must_use]
pub fn dashboard(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboards")).join(name)
}

/// What the panels of the dashboard for Prometheus ask, as [`filled_in`].
///
/// # Errors
/// When it is not what Grafana wants, or has a variable that is not known.
pub fn queries() -> Result<Vec<String>> {
    let dashboard: Value = serde_json::from_slice(&fs::read(dashboard("grafana.json"))?)?;
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().context("panels")? {
        for target in panel["targets"].as_array().context("targets")? {
            let query = filled_in(target["expr"].as_str().context("expr")?);
            ensure!(!query.contains('$'), "an unknown variable: {query}");
            queries.push(query);
        }
    }
    ensure!(queries.len() >= 12, "{} expressions", queries.len());
    Ok(queries)
}

/// As Grafana fills in a query when all hosts and interfaces are chosen, for targets that are
/// scraped every second.
#[must_use]
pub fn filled_in(expression: &str) -> String {
    expression
        .replace("$instance", ".*")
        .replace("$interface", ".*")
        .replace("$__rate_interval", "10s")
        .replace("$__range", "1m")
}

/// Whether a query has no answer before something malformed was seen: there are no series of it.
#[must_use]
pub fn is_about_the_malformed(query: &str) -> bool {
    query.contains("malformed")
}
