//! The tables of one server.

use std::{
    net::{IpAddr, Ipv6Addr},
    ops::Range,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::runtime::Builder;
use traffic_tests::{
    clickhouse::Server,
    program::{binary, traffic},
};
use traffic_user::{
    fleet::{
        features::Features,
        parcel::Batch,
        store::Store,
        table::{Bin, Change, FlowRow, Rows, Table, TimelineRow},
    },
    flows::{EndReason, FlowRecord, FlowSide},
    record::Direction,
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
    ensure!(init(&server)?.contains("tables of version 2 (new)"));
    server.query("INSERT INTO t.tallies (host, value) VALUES ('kept', 1)")?;
    ensure!(init(&server)?.contains("tables of version 2 (as before)"));
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

pub(crate) fn tables_of_version_1_get_what_they_lack() -> Result<()> {
    let server = Server::start()?;
    init(&server)?;
    // As version 1 made them: the other tables are the same since then.
    server.query("DROP TABLE t.flows")?;
    server.query("DROP TABLE t.schema_version")?;
    server.query(
        "CREATE TABLE t.schema_version (version UInt32, time DateTime) ENGINE = MergeTree() \
         ORDER BY version",
    )?;
    server.query("INSERT INTO t.schema_version VALUES (1, now())")?;
    store(&server, &[batch(0)])?;
    let report = ["report", "--from", &server.url("t")];
    let output = server.traffic(&report)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(error.contains("have version 1, not 2"), "{error}");
    ensure!(init(&server)?.contains("tables of version 2 (they had version 1)"));
    store(&server, &[batch(1), flows("a", 0..1)])?;
    let packets = server.number("SELECT sum(packets) FROM t.timeline")?;
    ensure!(packets == 15, "{packets} packets in the timeline");
    ensure!(server.number("SELECT count() FROM t.flows")? == 1);
    ensure!(init(&server)?.contains("as before"));
    Ok(())
}

pub(crate) fn flows_that_come_twice_count_once() -> Result<()> {
    let server = Server::start()?;
    init(&server)?;
    let batches = [flows("a", 0..3), flows("a", 3..5)];
    store(&server, &batches)?;
    let once = flows_of_report(&server)?;
    ensure!(once["packets"] == 5 * 7, "{once}");
    store(&server, &batches[1..])?;
    ensure!(flows_of_report(&server)? == once);
    // A batch that never came, and another that came twice: as many rows as numbers.
    store(&server, &[flows("a", 7..9)])?;
    let stored = flows_of_report(&server)?;
    ensure!(stored["packets"] == 7 * 7, "{stored}");
    server.query("OPTIMIZE TABLE t.flows FINAL")?;
    let rows = server.number("SELECT count() FROM t.flows")?;
    ensure!(rows == 7, "{rows} rows are left on disk");
    Ok(())
}

pub(crate) fn a_large_batch_is_stored_whole() -> Result<()> {
    let server = Server::start()?;
    init(&server)?;
    let batch = flows("a", 0..20_000);
    ensure!(
        batch.rows.bytes.len() > 2 << 20,
        "a batch larger than any buffer"
    );
    store(&server, &[batch])?;
    let numbers = server.query("SELECT count(), max(number) FROM t.flows")?;
    ensure!(numbers == "20000\t19999", "{numbers}");
    Ok(())
}

/// The flows of a report on everything.
pub(crate) fn flows_of_report(server: &Server) -> Result<Value> {
    let url = server.url("t");
    let since = [
        "--since",
        "2027-01-01T00:00:00Z",
        "--until",
        "2027-02-01T00:00:00Z",
    ];
    let options = ["report", "--from", &url, "-qq", "--json", "-"];
    let output = server.traffic(&[&options[..], &since].concat())?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    Ok(report["flows"].clone())
}

/// Flows of a host with these numbers, of 7 packets each: TCP over IPv4, UDP over IPv6 in a VLAN.
pub(crate) fn flows(host: &str, numbers: Range<u64>) -> Batch {
    let mut rows = Rows::default();
    for number in numbers {
        let first_ns = (1_800_000_000 + number) * 1_000_000_000;
        let side = |packets, direction| FlowSide {
            packets,
            bytes: 100 * packets,
            ip_bytes: 86 * packets,
            first_ns,
            last_ns: first_ns + packets,
            direction: Some(direction),
            ..FlowSide::default()
        };
        let is_even = number % 2 == 0;
        let addresses: [IpAddr; 2] = if is_even {
            [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]
        } else {
            [Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into()]
        };
        let flow = FlowRecord {
            interface: 0,
            vlan: (!is_even).then_some(5),
            inner_vlan: None,
            ip_proto: if is_even { 6 } else { 17 },
            src_addr: addresses[0],
            dst_addr: addresses[1],
            src_port: 4000 + u16::try_from(number).unwrap_or(0),
            dst_port: 53,
            forward: side(4, Direction::Egress),
            reverse: side(3, Direction::Ingress),
            handshake_ns: is_even.then_some(5),
            response_ns: None,
            end: Some(EndReason::IdleTimeout),
        };
        rows.flow(&FlowRow {
            host,
            run: 7,
            time_ns: first_ns + 1_000_000_000,
            number,
            interface: "eth0",
            flow: &flow,
        });
    }
    let table = Table::Flows;
    Batch { table, rows }
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
