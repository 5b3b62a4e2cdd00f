//! Agents that send what they count.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use traffic_tests::{
    clickhouse::Server,
    netns::{Namespace, VETH, VethOptions, VethPair},
    program::{Capture, traffic},
    wait_until,
};

use crate::tables::init;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A network without any traffic but what is sent on purpose.
const SILENT: VethOptions<'_> = VethOptions {
    mtu: 1500,
    offloads: "",
    ipv6: false,
};

/// Two hosts, a server, and a spool.
pub(crate) struct Scene {
    // Dropped in this order: a namespace lives as long as a process in it.
    pub(crate) server: Server,
    pub(crate) pair: VethPair,
    pub(crate) spool: TempDir,
}

impl Scene {
    pub(crate) fn new() -> Result<Self> {
        let pair = VethPair::new(&SILENT)?;
        let server = Server::start_within(&pair.left)?;
        init(&server)?;
        Ok(Self {
            pair,
            server,
            spool: tempfile::tempdir()?,
        })
    }

    /// Starts a capture on the left host.
    pub(crate) fn capture(&self, more: &[&str]) -> Result<Capture> {
        capture(
            &self.pair.left,
            &self.server.url("t"),
            self.spool.path(),
            more,
        )
    }

    /// Sends `count` pings, each answered: twice as many packets.
    pub(crate) fn ping(&self, count: u32) -> Result<()> {
        ping(&self.pair.left, "10.77.0.2", count)
    }

    /// Waits until the server has at least so many packets of ICMP.
    pub(crate) fn wait_for(&self, packets: u64) -> Result<()> {
        let sql = "SELECT sum(packets) FROM t.timeline FINAL WHERE protocol = 'icmp'";
        wait_until("packets in the tables", DEADLINE, || {
            let timeline = self.server.number(sql).unwrap_or(0);
            timeline.min(self.tally("matched").unwrap_or(0)) >= packets
        })
    }

    /// What the server says of the ledger's `name`.
    pub(crate) fn tally(&self, name: &str) -> Result<u64> {
        self.server.number(&format!(
            "SELECT sum(n) FROM (SELECT max(value_before + value) - min(value_before) AS n \
             FROM t.tallies WHERE name = '{name}' GROUP BY run, interface, direction)"
        ))
    }

    /// Packets of flows.
    pub(crate) fn flow_packets(&self) -> Result<u64> {
        let sql = "SELECT sum(forward_packets + reverse_packets) FROM t.flows FINAL";
        self.server.number(sql)
    }

    /// Packets and bytes in the timeline.
    pub(crate) fn timeline(&self) -> Result<(u64, u64)> {
        let sum = |column| {
            let sql = format!("SELECT sum({column}) FROM t.timeline FINAL");
            self.server.number(&sql)
        };
        Ok((sum("packets")?, sum("bytes")?))
    }
}

/// Starts a capture in a namespace that sends to `url`.
pub(crate) fn capture(
    namespace: &Namespace,
    url: &str,
    spool: &Path,
    more: &[&str],
) -> Result<Capture> {
    let spool = spool.to_str().context("the spool's path is text")?;
    let options = ["-i", VETH, "--to", url, "--spool", spool];
    Capture::start(namespace, &[&options, more].concat())
}

pub(crate) fn ping(namespace: &Namespace, address: &str, count: u32) -> Result<()> {
    namespace.run(&format!("ping -q -c {count} -i 0.01 {address}"))?;
    Ok(())
}

/// A number of the ledger of a report.
pub(crate) fn ledger(report: &Value, name: &str) -> Result<u64> {
    let value = &report["ledger"][name];
    value.as_u64().with_context(|| format!("{name}: {value}"))
}

pub(crate) fn what_is_stored_is_the_ledger() -> Result<()> {
    let scene = Scene::new()?;
    let capture = scene.capture(&["--host-name", "left"])?;
    scene.ping(150)?;
    let captured = capture.interrupt()?;
    let report = &captured.report;
    let matched = ledger(report, "matched")?;
    ensure!(matched >= 300, "{matched} packets were captured");
    let bytes = report["totals"]["bytes"].as_u64().context("bytes")?;
    ensure!(
        scene.timeline()? == (matched, bytes),
        "{:?}",
        scene.timeline()?
    );
    for name in ["seen", "matched", "summaries_delivered"] {
        let (stored, counted) = (scene.tally(name)?, ledger(report, name)?);
        ensure!(
            stored == counted,
            "{name}: {stored} stored, {counted} counted"
        );
    }
    let flows = scene.flow_packets()?;
    let flowless = scene.tally("flowless_packets")?;
    ensure!(
        flows >= 300 && flows + flowless == ledger(report, "summaries_delivered")?,
        "{flows} packets in flows, {flowless} in none"
    );
    let rows = ledger(report, "export_rows")?;
    ensure!(
        rows > 0 && ledger(report, "export_stored")? == rows,
        "{}",
        report["ledger"]
    );
    let stored = scene
        .server
        .query("SELECT host, ended_ns > started_ns, ledger FROM t.captures FINAL FORMAT TSVRaw")?;
    let (head, stored) = stored.rsplit_once('\t').context("columns")?;
    ensure!(head == "left\t1", "{head}");
    let stored: Value = serde_json::from_str(stored)?;
    ensure!(stored["matched"] == report["ledger"]["matched"], "{stored}");
    Ok(())
}

pub(crate) fn a_server_without_tables_is_known_before_the_capture() -> Result<()> {
    let server = Server::start()?;
    let spool = tempfile::tempdir()?;
    let spool = spool.path().to_str().context("the spool's path is text")?;
    let to = server.url("t");
    let output = traffic(&[
        "capture", "-i", "lo", "-d", "1s", "--to", &to, "--spool", spool,
    ])?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && error.contains("traffic fleet init --to"),
        "{error}"
    );
    Ok(())
}

pub(crate) fn what_a_killed_agent_sent_is_there() -> Result<()> {
    let scene = Scene::new()?;
    let capture = scene.capture(&["--flow-idle", "200ms"])?;
    scene.ping(50)?;
    scene.wait_for(100)?;
    wait_until("the flow of the pings", DEADLINE, || {
        scene.flow_packets().is_ok_and(|packets| packets >= 100)
    })?;
    capture.signal(Signal::SIGKILL)?;
    let captured = capture.finish()?;
    ensure!(!captured.status.success(), "{}", captured.status);
    let (packets, _) = scene.timeline()?;
    ensure!(
        packets >= 100 && scene.tally("matched")? >= 100,
        "{packets}"
    );
    ensure!(scene.flow_packets()? >= 100);
    let ended = scene
        .server
        .query("SELECT ended_ns FROM t.captures FINAL")?;
    ensure!(ended == "0", "a killed run has not ended: {ended}");
    Ok(())
}
