//! Three hosts that talk, each with a capture of its own; one ClickHouse; one report.

use std::{fs, os::unix::process::CommandExt, path::Path, process::Child, time::Instant};

use anyhow::{Context, Result, ensure};
use signal_hook::iterator::Signals;
use traffic_tests::{
    clickhouse::Server,
    lan::Lan,
    netns::{Namespace, VETH},
};

use super::stage::{Player, configure};
use crate::{
    build::{self, Profile},
    process,
};

/// What it leaves in the directory.
pub(super) const FILES: [&str; 4] = [
    "fleet_report.txt",
    "fleet_report.html",
    "fleet_report.json",
    "fleet_histogram.png",
];

const HOSTS: [&str; 3] = ["one", "two", "three"];

/// Captures on three hosts for so many seconds, and reports on all of them. Whether every capture
/// succeeded.
pub(super) fn perform(duration: f64, out: &Path, signals: &mut Signals) -> Result<bool> {
    let lan = Lan::new(3)?;
    // Gone before the namespace that it is in.
    let server = Server::start_within(&lan.bridge)?;
    let url = server.url("traffic");
    traffic(&lan.bridge, &["fleet", "init", "--to", &url])?;
    let players = players(&lan, duration)?;
    let spool = tempfile::tempdir()?;
    let begun = Instant::now();
    let url_of_hosts = url.replace("127.0.0.1", "10.77.0.254");
    let captures = lan.hosts.iter().zip(HOSTS).map(|(host, name)| {
        let spool = spool.path().join(name);
        capture(host, name, &url_of_hosts, &spool, duration)
    });
    let mut captures: Vec<_> = captures.collect::<Result<_>>()?;
    let succeeded = super::wait(&mut captures, signals)?;
    drop(players);
    let since = format!("{}s", begun.elapsed().as_secs() + 1);
    report(&lan.bridge, &url, &since, out)?;
    Ok(succeeded)
}

/// Hosts one and two ask each other everything, host three pings both.
fn players(lan: &Lan, duration: f64) -> Result<Vec<Player>> {
    let [one, two, three] = lan.hosts.as_slice() else {
        unreachable!("three hosts were made");
    };
    configure(one, 1)?;
    configure(two, 2)?;
    Ok(vec![
        Player::peer(one, 1, duration)?,
        Player::peer(two, 2, duration)?,
        Player::ping(three, "10.77.0.1", duration)?,
        Player::ping(three, "fd77::2", duration)?,
    ])
}

fn capture(host: &Namespace, name: &str, url: &str, spool: &Path, duration: f64) -> Result<Child> {
    let mut command = host.command(build::program(Profile::Release));
    command
        .args(["capture", "--interface", VETH, "--host-name", name, "-qq"])
        .args([
            "--duration",
            &format!("{duration}s"),
            "--to",
            url,
            "--spool",
        ])
        .arg(spool)
        // Ctrl-C on the terminal must reach it once: from here.
        .process_group(0);
    process::show(&command);
    command.spawn().context("run traffic")
}

/// The report of all hosts: printed, and into files.
fn report(namespace: &Namespace, url: &str, since: &str, out: &Path) -> Result<()> {
    let [text, html, json, plot] = FILES.map(|file| out.join(file).display().to_string());
    let printed = traffic(
        namespace,
        &[
            "report", "--from", url, "--since", since, "--html", &html, "--json", &json, "--plot",
            &plot,
        ],
    )?;
    print!("{printed}");
    fs::write(&text, printed).with_context(|| format!("write {text}"))
}

/// What `traffic ARGS` prints in a namespace.
fn traffic(namespace: &Namespace, args: &[&str]) -> Result<String> {
    let mut command = namespace.command(build::program(Profile::Release));
    command.args(args);
    process::show(&command);
    let output = command.output().context("run traffic")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "traffic {}: {error}", args[0]);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
