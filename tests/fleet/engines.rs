//! The same statements on Debian's server and on a current engine.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use traffic_tests::{
    clickhouse::{Server, chdb},
    prometheus::dashboard,
};
use traffic_user::fleet::{
    cluster::{self, Cluster},
    features::{self, Features},
    parcel::Batch,
    query::Question,
    schema::{self, Layout, Retention},
    table::{Bin, CaptureRow, Change, Rows, Table, TallyRow},
};

use crate::tables::{batch_of, flows, init, store};

/// What runs on the current engine.
const SCRIPT: &str = include_str!("chdb.py");

pub(crate) fn every_statement_means_the_same_to_old_and_current_engines() -> Result<()> {
    let server = Server::start()?;
    init(&server)?;
    let batches = [("a", 0), ("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 1)]
        .map(|(host, number)| batch_of(host, number));
    let more = [
        tally(),
        tally(),
        run(0),
        run(9),
        flows("a", 0..9),
        flows("b", 0..2),
    ];
    let batches = [&batches[..], &more].concat();
    store(&server, &batches)?;
    let current = Features {
        version: String::new(),
        ttl: true,
        token: true,
        window: true,
        views: true,
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
    let asked = ASKED
        .iter()
        .flat_map(|(seconds, filter)| question(*seconds, *filter).statements("t"));
    let questions: Vec<String> = questions
        .map(str::to_owned)
        .into_iter()
        .chain(asked)
        .chain(dashboard_statements()?)
        .collect();
    let made = steps.len();
    steps.extend(questions.iter().cloned());
    steps.extend(of_clusters(&layout, &current));
    let answers = on_chdb(&steps)?;
    let probed: Value = serde_json::from_str(&answers[0])?;
    ensure!(
        ["ttl", "token", "window", "views"].map(|name| probed[name] == 1) == [true; 4],
        "{probed}"
    );
    for (question, current) in questions.iter().zip(&answers[made..]) {
        let old = server.query(&format!("{question} FORMAT JSONEachRow"))?;
        let same = rows(&old)? == rows(current)? && !current.is_empty();
        ensure!(same, "{question}\nold: {old}\ncurrent: {current}");
    }
    let of_clusters = made + questions.len();
    for (statement, answer) in steps[of_clusters..].iter().zip(&answers[of_clusters..]) {
        let lacks_keeper = answer == "NO_ZOOKEEPER";
        ensure!(
            !answer.is_empty() && lacks_keeper == statement.starts_with("CREATE"),
            "{statement}\n{answer}"
        );
    }
    Ok(())
}

/// What is asked and made with a cluster. The engine on its own has none, and no keeper: it reads
/// every statement, and refuses replicated tables for want of a keeper alone.
fn of_clusters(layout: &Layout, current: &Features) -> Vec<String> {
    let layout = Layout {
        cluster: Some(Cluster {
            name: "two".to_owned(),
            is_replicated: true,
        }),
        ..layout.clone()
    };
    let statements = schema::statements(&layout, current);
    let read = statements.iter().map(|one| format!("EXPLAIN AST {one}"));
    let replicated = statements
        .iter()
        .filter(|one| one.contains("ENGINE = Replicated"));
    let replicated = replicated.map(|one| one.replace("{shard}", "1").replace("{replica}", "a"));
    [cluster::probe("two", "t")]
        .into_iter()
        .chain(read)
        .chain(replicated)
        .collect()
}

/// The statements of the dashboard, as Grafana would send them.
fn dashboard_statements() -> Result<Vec<String>> {
    let text = std::fs::read(dashboard("grafana-clickhouse.json"))?;
    let board: Value = serde_json::from_slice(&text)?;
    let of = |value: &Value| value.as_str().map(str::to_owned).context("a statement");
    let mut statements = vec![of(&board["templating"]["list"][1]["query"]["rawSql"])?];
    for panel in board["panels"].as_array().context("panels")? {
        statements.push(of(&panel["targets"][0]["rawSql"])?);
    }
    let sent = |statement: String| {
        let tables = Table::ALL.iter().fold(statement, |statement, table| {
            let name = table.name();
            statement.replace(&format!("FROM {name}"), &format!("FROM t.{name}"))
        });
        tables
            .replace(
                "$__timeFilter(time)",
                "time >= toDateTime(1799990000) AND time <= toDateTime(1800009999)",
            )
            .replace("$__interval_s", "60")
            .replace("${host:sqlstring}", "'a','b'")
    };
    Ok(statements.into_iter().map(sent).collect())
}

/// The host of the other rows.
const BIN: Bin<'_> = Bin {
    host: "a",
    run: 7,
    start_ns: 1_800_000_000_000_000_000,
    end_ns: 1_800_000_001_000_000_000,
};

fn tally() -> Batch {
    let mut rows = Rows::default();
    for name in ["seen", "excerpts_lost"] {
        let row = TallyRow {
            interface: "eth0",
            direction: "ingress",
            name,
            value: Change { now: 3, before: 4 },
        };
        rows.tally(&BIN, &row);
    }
    let table = Table::Tallies;
    Batch { table, rows }
}

/// The run of all rows, as it was when it was this old.
fn run(seconds: u64) -> Batch {
    let mut rows = Rows::default();
    rows.capture(&CaptureRow {
        host: BIN.host,
        run: BIN.run,
        started_ns: BIN.start_ns,
        ended_ns: BIN.start_ns + seconds,
        updated_ns: BIN.start_ns + seconds,
        version: "traffic 1",
        settings: "{}",
        interfaces: "[]",
        ledger: "",
    });
    let table = Table::Captures;
    Batch { table, rows }
}

/// Seconds of time that are answered from seconds, minutes and hours.
const ASKED: [(u64, Option<&str>); 4] = [
    (60, None),
    (
        60,
        Some("src net 10.0.0.0/8 and tcp or vlan 5 and not src port 53 and (ip6 or ip proto 6)"),
    ),
    (86_400, None),
    (10_000_000, None),
];

fn question(seconds: u64, filter: Option<&str>) -> Question {
    let middle = 1_800_000_000;
    Question {
        since_ns: (middle - seconds / 2) * 1_000_000_000,
        until_ns: (middle + seconds / 2) * 1_000_000_000,
        hosts: vec!["a".to_owned(), "b".to_owned()],
        interfaces: vec!["eth0".to_owned()],
        bars: 30,
        filter: filter.map(|filter| filter.parse().expect("a filter")),
        top: 10,
    }
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
