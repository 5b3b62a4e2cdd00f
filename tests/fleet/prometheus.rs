//! One Prometheus that scrapes three hosts, with the rules and the dashboard of this repository.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use traffic_tests::{
    lan::Lan,
    netns::VETH,
    program::Capture,
    prometheus::{Prometheus, dashboard, is_about_the_malformed, queries},
    wait_until,
};

use crate::agent::{DEADLINE, ping};

/// Pings from one host to another.
const PINGS: [(usize, usize, u32); 3] = [(0, 1, 30), (1, 2, 40), (2, 0, 50)];
const HOSTS: [&str; 3] = ["one", "two", "three"];

pub(crate) fn one_prometheus_tells_what_three_hosts_count() -> Result<()> {
    let lan = Lan::new(3)?;
    let mut captures = Vec::new();
    for (number, host) in (1..).zip(&lan.hosts) {
        let address = format!("10.77.0.{number}:8080");
        let options = ["-i", VETH, "--listen", &address, "--token", "letmein"];
        captures.push(Capture::start(host, &options)?);
    }
    let server = Prometheus::start(&lan.bridge, &configuration())?;
    wait_for(&server, "count(up == 1)", |value| value >= 3.0)?;
    for (from, to, count) in PINGS {
        ping(&lan.hosts[from], &format!("10.77.0.{}", to + 1), count)?;
    }
    let icmp = "traffic_frames_total{protocol=\"icmp\"}";
    for (number, name) in HOSTS.iter().enumerate() {
        // A host sees the question and the answer of each ping that it sends or gets.
        let pings = PINGS
            .iter()
            .filter(|(from, to, _)| [*from, *to].contains(&number));
        let packets: u32 = pings.map(|(.., count)| 2 * count).sum();
        let query =
            format!("sum by (host) ({icmp}) == {packets} and on (host) up{{host=\"{name}\"}}");
        wait_for(&server, &query, |value| value >= f64::from(packets))?;
    }
    wait_for(&server, &format!("sum({icmp})"), |value| {
        (479.5..480.5).contains(&value)
    })?;
    wait_for(
        &server,
        "count(instance:traffic_bits:rate1m > 0)",
        |value| value >= 3.0,
    )?;
    wait_for(
        &server,
        "count(protocol:traffic_bits:rate1m{protocol=\"icmp\"})",
        |value| value >= 1.0,
    )?;
    answers_the_dashboard(&server)?;
    for (capture, number) in captures.into_iter().zip(0..) {
        let report = capture.interrupt()?.report;
        let rows = report["protocols"].as_array().context("protocols")?;
        let row = rows.iter().find(|row| row["name"] == "icmp");
        let counted = row.context("icmp")?["packets"]
            .as_u64()
            .context("packets")?;
        let name = HOSTS[number];
        let icmp = format!("traffic_frames_total{{protocol=\"icmp\",host=\"{name}\"}}");
        let scraped = server.value(&format!("max_over_time(sum({icmp})[1m:1s])"))?;
        let same = (scraped - f64::from(u32::try_from(counted)?)).abs() < 0.5;
        ensure!(same, "{name}: {scraped} were scraped of {counted}");
    }
    Ok(())
}

pub(crate) fn rules_tell_what_they_should() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let test = directory.path().join("rules.yml");
    let rules = dashboard("prometheus-rules.yml").display().to_string();
    fs::write(&test, include_str!("rules.yml").replace("RULES", &rules))?;
    let output = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&test)
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// Waits until the value of an answer holds.
fn wait_for(server: &Prometheus<'_>, query: &str, holds: impl Fn(f64) -> bool) -> Result<()> {
    wait_until(query, DEADLINE, || server.value(query).is_ok_and(&holds))
}

/// Every query of the dashboard has an answer of all three hosts.
fn answers_the_dashboard(server: &Prometheus<'_>) -> Result<()> {
    for query in queries()? {
        let answer = server.ask(&query)?;
        // Nothing malformed is sent.
        ensure!(
            answer.contains("=> ") || is_about_the_malformed(&query),
            "{query}: {answer}"
        );
        if query.contains("by (instance)") {
            ensure!(answer.lines().count() == 3, "{query}: {answer}");
        }
    }
    Ok(())
}

fn configuration() -> String {
    let target = |(number, host): (u8, &str)| {
        format!("  - targets: ['10.77.0.{number}:8080']\n    labels: {{host: {host}}}\n")
    };
    let targets: String = (1..).zip(HOSTS).map(target).collect();
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: ['{}']\nscrape_configs:\n- job_name: traffic\n  authorization: {{credentials: \
         letmein}}\n  static_configs:\n{targets}",
        dashboard("prometheus-rules.yml").display(),
    )
}
