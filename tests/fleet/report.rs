//! Reports on many hosts.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use traffic_tests::{clickhouse::Server, lan::Lan, netns::VETH};

use crate::{
    agent::{capture, ledger, ping},
    tables::init,
};

pub(crate) fn the_report_of_three_hosts_is_the_sum_of_their_ledgers() -> Result<()> {
    let lan = Lan::new(3)?;
    let server = Server::start_within(&lan.bridge)?;
    init(&server)?;
    let url = server.url("t").replace("127.0.0.1", "10.77.0.254");
    let spool = tempfile::tempdir()?;
    let names = ["one", "two", "three"];
    let mut captures = Vec::new();
    for (host, name) in lan.hosts.iter().zip(names) {
        let options = ["--host-name", name];
        captures.push(capture(host, &url, spool.path(), &options)?);
    }
    for (from, to) in [(0, 2u8), (1, 3), (2, 1)] {
        ping(
            &lan.hosts[from],
            &format!("10.77.0.{to}"),
            40 + 10 * u32::from(to),
        )?;
    }
    let own = captures
        .into_iter()
        .map(|capture| Ok(capture.interrupt()?.report));
    let own: Vec<Value> = own.collect::<Result<_>>()?;
    let all = report(&server, &[])?;
    equal(&all, &own)?;
    let pairs = all["conversations"].as_array().context("conversations")?;
    let pair = "10.77.0.1 <-> 10.77.0.3";
    let has_pair = pairs.iter().any(|row| row["address"] == pair);
    ensure!(has_pair, "{pairs:?}");
    let hosts = &all["source"]["hosts"];
    ensure!(hosts.as_array().map(Vec::len) == Some(3), "{hosts}");
    page_names_hosts(&server)?;
    equal(&report(&server, &["--host", "two"])?, &own[1..2])?;
    let some = ["--host", "one", "--host", "three", "-i", VETH];
    let report = report(&server, &some)?;
    ensure!(protocols(&[report])? == protocols(&[own[0].clone(), own[2].clone()])?);
    Ok(())
}

/// The page says of each flow on which host it was seen.
fn page_names_hosts(server: &Server) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("report.html");
    report(
        server,
        &["--html", file.to_str().context("a path is text")?],
    )?;
    let page = fs::read_to_string(&file)?;
    let flows = page
        .split_once("<h2>Flows</h2>")
        .context("a table of flows")?
        .1;
    for host in ["one", "two", "three"] {
        let cell = format!("<bdi>{host}:<wbr>{VETH}</bdi>");
        ensure!(flows.contains(&cell), "{host}: {flows}");
    }
    Ok(())
}

/// Whether a report says of the traffic what these say together.
pub(crate) fn equal(report: &Value, own: &[Value]) -> Result<()> {
    for name in [
        "seen",
        "filtered_out",
        "matched",
        "summaries_delivered",
        "summaries_lost",
    ] {
        let own: u64 = own.iter().map(|own| ledger(own, name)).sum::<Result<_>>()?;
        let stored = ledger(report, name)?;
        ensure!(
            stored == own,
            "{name}: {stored} in the report, {own} in the ledgers"
        );
    }
    ensure!(ledger(report, "matched")? > 100, "{}", report["ledger"]);
    ensure!(report["ledger"]["balanced"] == true, "{}", report["ledger"]);
    ensure!(protocols(std::slice::from_ref(report))? == protocols(own)?);
    for name in ["packets", "bytes", "other_packets", "other_bytes"] {
        let of = |report: &Value| report["flows"][name].as_u64().context(name);
        let own: u64 = own.iter().map(of).sum::<Result<_>>()?;
        ensure!(
            of(report)? == own,
            "flows: {name} are not {own}: {}",
            report["flows"]
        );
    }
    ensure!(
        report["flows"]["note"].is_null(),
        "{}",
        report["flows"]["note"]
    );
    let bars = report["timeline"]["bins"].as_array().context("bins")?;
    let bars: u64 = bars.iter().filter_map(Value::as_u64).sum();
    ensure!(bars == ledger(report, "matched")?, "{bars} packets in bars");
    Ok(())
}

/// Packets and bytes by protocol.
fn protocols(reports: &[Value]) -> Result<BTreeMap<String, (u64, u64)>> {
    let mut sums = BTreeMap::new();
    for report in reports {
        for row in report["protocols"].as_array().context("protocols")? {
            let name = row["name"].as_str().context("name")?;
            let sum: &mut (u64, u64) = sums.entry(name.to_owned()).or_default();
            sum.0 += row["packets"].as_u64().context("packets")?;
            sum.1 += row["bytes"].as_u64().context("bytes")?;
        }
    }
    Ok(sums)
}

/// What `traffic report` says of the last hour.
pub(crate) fn report(server: &Server, more: &[&str]) -> Result<Value> {
    let url = server.url("t");
    let options = ["report", "--from", &url, "-qq", "--json", "-"];
    let output = server.traffic(&[&options, more].concat())?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "traffic report: {error}");
    serde_json::from_slice(&output.stdout).context("read the report")
}
