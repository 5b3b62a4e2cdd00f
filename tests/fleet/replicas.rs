//! Shards whose rows are on several servers.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use traffic_tests::{
    clickhouse::{Cluster, Server},
    lan::Lan,
    wait_until,
};

use crate::{
    agent::{DEADLINE, capture, ledger, ping},
    report::{equal, report},
    tables::{batch_of, flows, flows_of_report, store},
};

/// Two servers in the first shard, one in the second.
const SHARDS: &[usize] = &[2, 1];

/// Hosts of which each shard has some.
const HOSTS: [&str; 3] = ["one", "two", "three"];

/// Whether both servers of the first shard have so many rows of a table.
fn wait_for_copies(servers: &[Server], table: &str, rows: u64) -> Result<()> {
    let sql = format!("SELECT count() FROM t.{table}_local FINAL");
    let has_all = |server: &Server| server.number(&sql).is_ok_and(|count| count == rows);
    wait_until("copies of all rows", DEADLINE, || {
        servers[..2].iter().all(has_all)
    })
    .with_context(|| {
        let counts = servers.iter().map(|server| server.query(&sql));
        format!("{rows} rows of {table}: {:?}", counts.collect::<Vec<_>>())
    })
}

pub(crate) fn a_batch_that_goes_to_two_replicas_is_stored_once() -> Result<()> {
    let cluster = Cluster::start("copies", &[2], None)?;
    ensure!(cluster.init("copies", "t")?.contains("replicated by"));
    ensure!(cluster.init("copies", "t")?.contains("as before"));
    let servers = &cluster.servers;
    for (server, number) in [(0, 0), (1, 0), (1, 1), (0, 1), (0, 1)] {
        let flows = flows("a", 5 * number..5 * number + 5);
        store(&servers[server], &[flows, batch_of("a", number)])?;
    }
    // The table knows them again; a report finds nothing to leave out.
    wait_for_copies(servers, "flows", 10)?;
    for server in servers {
        let counted = server.number("SELECT sum(packets) FROM t.timeline FINAL")?;
        ensure!(counted == 15, "{counted} packets");
        for table in ["timeline_minute", "timeline_hour"] {
            let rolled = "maxMerge(packets_to) - minMerge(packets_from)";
            wait_until("the roll-up's copy", DEADLINE, || {
                let rolled = server.number(&format!("SELECT {rolled} FROM t.{table}_local"));
                rolled.is_ok_and(|packets| packets == 15)
            })?;
        }
    }
    a_failure_before_the_roll_ups_is_made_good(&servers[0])?;
    reports_ask_no_replica_that_is_behind(servers)
}

/// A server that does not get what the other has asks that one.
fn reports_ask_no_replica_that_is_behind(servers: &[Server]) -> Result<()> {
    let before = flows_of_report(&servers[1])?;
    ensure!(before["packets"] == 10 * 7, "{before}");
    servers[1].query("SYSTEM STOP FETCHES")?;
    store(&servers[0], &[flows("a", 10..12)])?;
    wait_until("a replica to be behind", DEADLINE, || {
        let delay = "SELECT max(absolute_delay) FROM system.replicas";
        servers[1].number(delay).is_ok_and(|seconds| seconds > 1)
    })?;
    ensure!(servers[1].number("SELECT count() FROM t.flows_local")? == 10);
    let all = flows_of_report(&servers[1])?;
    ensure!(all["packets"] == 12 * 7, "{all}");
    Ok(())
}

/// A server that stored a batch may fail before its roll-ups have it. It gets the batch again.
fn a_failure_before_the_roll_ups_is_made_good(server: &Server) -> Result<()> {
    server.query("CREATE TABLE t.numbers (number UInt64) ENGINE = Memory")?;
    // By its name it is first among what gets the rows, and fails.
    server.query(
        "CREATE MATERIALIZED VIEW t.a_failure TO t.numbers AS \
         SELECT toUInt64(protocol) AS number FROM t.timeline_local",
    )?;
    let late = batch_of("late", 0);
    ensure!(store(server, std::slice::from_ref(&late)).is_err());
    let late_rows = "SELECT count() FROM t.timeline_local WHERE host = 'late'";
    ensure!(server.number(late_rows)? == 1, "the batch is not there");
    server.query("DROP TABLE t.a_failure")?;
    store(server, &[late])?;
    let rolled = server.number(
        "SELECT maxMerge(packets_to) - minMerge(packets_from) FROM t.timeline_hour \
         WHERE host = 'late'",
    )?;
    ensure!(rolled == 5, "{rolled} packets in the hours");
    Ok(())
}

pub(crate) fn a_replica_that_goes_and_comes_back_misses_nothing() -> Result<()> {
    let lan = Lan::new(3)?;
    let mut cluster = Cluster::start("copies", SHARDS, Some(&lan.bridge))?;
    cluster.init("copies", "t")?;
    let spool = tempfile::tempdir()?;
    let mut captures = Vec::new();
    for (number, (host, name)) in lan.hosts.iter().zip(HOSTS).enumerate() {
        // Hosts send to different servers, none of them to the one that will go.
        let url = cluster.servers[2 * (number % 2)].url("t");
        let url = url.replace("127.0.0.1", "10.77.0.254");
        let spool = spool.path().join(name);
        let options = ["--host-name", name, "--flow-idle", "500ms"];
        captures.push(capture(host, &url, &spool, &options)?);
    }
    let talk = || -> Result<()> {
        ping(&lan.hosts[0], "10.77.0.2", 30)?;
        ping(&lan.hosts[1], "10.77.0.3", 40)?;
        ping(&lan.hosts[2], "10.77.0.1", 50)
    };
    talk()?;
    let copied = "SELECT count() FROM t.flows_local";
    wait_until("copies of flows", DEADLINE, || {
        cluster.servers[1].number(copied).is_ok_and(|rows| rows > 0)
    })?;
    cluster.servers[1].kill()?;
    talk()?;
    let own = captures
        .into_iter()
        .map(|capture| Ok(capture.interrupt()?.report));
    let own: Vec<Value> = own.collect::<Result<_>>()?;
    for report in &own {
        ensure!(ledger(report, "export_lost")? == 0);
        ensure!(ledger(report, "export_waiting")? == 0);
    }
    for server in [0, 2] {
        equal(&report(&cluster.servers[server], &[])?, &own)?;
    }
    let shards = [0, 2].map(|server| cluster.servers[server].number(copied).unwrap_or(0));
    ensure!(shards[0] > 0 && shards[1] > 0, "flows by shard: {shards:?}");
    cluster.servers[1].resume()?;
    for table in ["timeline", "tallies", "captures", "flows"] {
        let rows =
            cluster.servers[0].number(&format!("SELECT count() FROM t.{table}_local FINAL"))?;
        wait_for_copies(&cluster.servers, table, rows)?;
    }
    // What the shard has now comes from the one that was away.
    cluster.servers[0].kill()?;
    for server in [1, 2] {
        equal(&report(&cluster.servers[server], &[])?, &own)?;
    }
    Ok(())
}
