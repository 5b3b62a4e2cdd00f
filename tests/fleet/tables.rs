//! The tables of one server.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tokio::runtime::Builder;
use traffic_tests::{
    clickhouse::Server,
    program::{binary, traffic},
};
use traffic_user::fleet::{
    features::Features,
    parcel::Batch,
    store::Store,
    table::{Bin, Change, Rows, Table, TimelineRow},
};

pub(crate) fn init(server: &Server) -> Result<String> {
    let output = server.traffic(&["fleet", "init", "--to", &server.url("t")])?;
    ensure!(
        output.status.success(),
        "traffic fleet init: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Sends batches one after the other.
pub(crate) fn store(server: &Server, batches: &[Batch]) -> Result<()> {
    let store = Store::new(&server.url("t").parse()?, None);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let features = Features::probe(&store).await?;
        for batch in batches {
            store.insert(batch, "token", &features).await?;
        }
        Ok(())
    })
}

pub(crate) fn tables_are_made_once_and_kept() -> Result<()> {
    let server = Server::start()?;
    ensure!(init(&server)?.contains("tables of version 1 (new)"));
    server.query("INSERT INTO t.tallies (host, value) VALUES ('kept', 1)")?;
    ensure!(init(&server)?.contains("tables of version 1 (as before)"));
    let kept = server.number("SELECT count() FROM t.tallies WHERE host = 'kept'")?;
    ensure!(kept == 1, "{kept} rows were kept");
    server.query("INSERT INTO t.schema_version VALUES (99, now())")?;
    let output = traffic(&["fleet", "init", "--to", &server.url("t")])?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && error.contains("newer than this program's"),
        "{error}"
    );
    Ok(())
}

pub(crate) fn a_batch_that_comes_twice_counts_once() -> Result<()> {
    let server = Server::start()?;
    init(&server)?;
    store(&server, &[batch(0), batch(0), batch(1), batch(1), batch(1)])?;
    let stored = server.number("SELECT sum(packets) FROM t.timeline FINAL")?;
    ensure!(stored == 15, "{stored} packets in the timeline");
    for table in ["timeline_minute", "timeline_hour"] {
        let rolled = server.number(&format!(
            "SELECT maxMerge(packets_to) - minMerge(packets_from) FROM t.{table}"
        ))?;
        ensure!(rolled == 15, "{rolled} packets in {table}");
    }
    server.query("OPTIMIZE TABLE t.timeline FINAL")?;
    let rows = server.number("SELECT count() FROM t.timeline")?;
    ensure!(rows == 2, "{rows} rows are left on disk");
    Ok(())
}

/// The row of one bin of host `a`: 5 packets in bin 0, 10 in bin 1.
pub(crate) fn batch(number: u64) -> Batch {
    batch_of("a", number)
}

/// The same of another host.
pub(crate) fn batch_of(host: &str, number: u64) -> Batch {
    let start_ns = (1_800_000_000 + number) * 1_000_000_000;
    let bin = Bin {
        host,
        run: 7,
        start_ns,
        end_ns: start_ns + 1_000_000_000,
    };
    let count = Change {
        now: 5 + 5 * number,
        before: 5 * number,
    };
    let row = TimelineRow {
        interface: "eth0",
        direction: "ingress",
        protocol: "tcp",
        transport: "",
        ip_version: 4,
        packets: count,
        bytes: count,
    };
    let mut rows = Rows::default();
    rows.timeline(&bin, &row);
    let table = Table::Timeline;
    Batch { table, rows }
}

pub(crate) fn a_password_comes_from_a_file_or_the_environment() -> Result<()> {
    let server = Server::start()?;
    let url = server.url("t").replace("127", "agent@127");
    let init = |password: Option<&str>, file: Option<&str>| -> Result<(bool, String)> {
        let mut command = Command::new(binary());
        command.args(["fleet", "init", "--to", &url]);
        command.env_remove("TRAFFIC_CLICKHOUSE_PASSWORD");
        if let Some(password) = password {
            command.env("TRAFFIC_CLICKHOUSE_PASSWORD", password);
        }
        if let Some(file) = file {
            command.args(["--password-file", file]);
        }
        let output = command.output().context("run traffic fleet init")?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.success(), error))
    };
    let (accepted, error) = init(None, None)?;
    ensure!(!accepted && error.contains("assword"), "{error}");
    let (accepted, error) = init(Some("secret"), None)?;
    ensure!(accepted, "{error}");
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("password");
    std::fs::write(&file, "secret\n")?;
    let (accepted, error) = init(Some("wrong"), file.to_str())?;
    ensure!(accepted, "{error}");
    let output = traffic(&["fleet", "init", "--to", "clickhouse://a:secret@h/t"])?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2) && error.contains("does not belong into the address"),
        "{error}"
    );
    Ok(())
}
