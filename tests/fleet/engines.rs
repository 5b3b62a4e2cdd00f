//! The same statements on Debian's server and on a current engine.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use traffic_tests::clickhouse::{Server, chdb};
use traffic_user::fleet::{
    features::{self, Features},
    parcel::Batch,
    schema::{self, Layout, Retention},
};

use crate::tables::{batch_of, init, store};

/// What runs on the current engine.
const SCRIPT: &str = include_str!("chdb.py");

pub(crate) fn every_statement_means_the_same_to_old_and_current_engines() -> Result<()> {
    let server = Server::start()?;
    init(&server)?;
    let batches = [("a", 0), ("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 1)]
        .map(|(host, number)| batch_of(host, number));
    store(&server, &batches)?;
    let current = Features {
        version: String::new(),
        ttl: true,
        token: true,
        window: true,
    };
    let layout = Layout {
        database: "t".to_owned(),
        cluster: None,
        retention: Retention {
            raw: 36500,
            minute: 36500,
            hour: 36500,
        },
    };
    let directory = tempfile::tempdir()?;
    let mut steps: Vec<String> = vec![features::PROBE.to_owned()];
    steps.extend(schema::statements(&layout, &current));
    steps.push(schema::set_version(&layout));
    for (number, batch) in batches.iter().enumerate() {
        let file = directory.path().join(number.to_string());
        std::fs::write(&file, &batch.rows.bytes)?;
        steps.push(insertion(batch, file.to_str().context("a path is text")?));
    }
    let questions = [
        "SELECT host, sum(packets) AS n FROM t.timeline FINAL GROUP BY host ORDER BY host",
        "SELECT host, maxMerge(packets_to) - minMerge(packets_from) AS n FROM t.timeline_minute \
         GROUP BY host ORDER BY host",
        "SELECT host, maxMerge(packets_to) - minMerge(packets_from) AS n FROM t.timeline_hour \
         GROUP BY host ORDER BY host",
        "SELECT max(version) AS version FROM t.schema_version",
    ];
    let made = steps.len();
    steps.extend(questions.map(str::to_owned));
    let answers = on_chdb(&steps)?;
    let probed: Value = serde_json::from_str(&answers[0])?;
    ensure!(
        probed["ttl"] == 1 && probed["token"] == 1 && probed["window"] == 1,
        "{probed}"
    );
    for (question, current) in questions.iter().zip(&answers[made..]) {
        let old = server.query(&format!("{question} FORMAT JSONEachRow"))?;
        let same = rows(&old)? == rows(current)? && !current.is_empty();
        ensure!(same, "{question}\nold: {old}\ncurrent: {current}");
    }
    Ok(())
}

/// The rows of an answer, numbers as texts.
fn rows(answer: &str) -> Result<Vec<String>> {
    let row = |line: &str| -> Result<String> {
        let row: Value = serde_json::from_str(line)?;
        Ok(row.to_string().replace('"', ""))
    };
    answer
        .lines()
        .filter(|line| !line.is_empty())
        .map(row)
        .collect()
}

/// The statement that the program sends before the rows, with the rows from a file.
fn insertion(batch: &Batch, file: &str) -> String {
    let statement = batch.table.insertion("t");
    statement.replace(
        " FORMAT",
        &format!(
            " FROM INFILE '{file}' SETTINGS insert_distributed_sync = 1, \
             insert_deduplication_token = '{file}' FORMAT"
        ),
    )
}

/// The answers of the current engine to statements, one after the other, as lines of JSON.
fn on_chdb(steps: &[String]) -> Result<Vec<String>> {
    let mut child = Command::new("python3")
        .args(["-c", SCRIPT])
        .env("PYTHONPATH", chdb())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("run python3")?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    stdin.write_all(json!(steps).to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "a statement failed: its words are above"
    );
    let answers: Vec<String> = serde_json::from_slice(&output.stdout)?;
    ensure!(answers.len() == steps.len(), "{} answers", answers.len());
    Ok(answers)
}
