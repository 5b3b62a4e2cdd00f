//! Every finding from a capture that deserves it, and few from captures that do not.

mod frames;
mod scenes;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use traffic_tests::{Need, Test, corpus_files, program::traffic};

use crate::scenes::{SCENES, Scene};

/// Findings in this many of a hundred captures of ordinary traffic would be too many to look at.
const MAX_PERCENT: usize = 5;

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "every_kind_of_finding_is_found",
            &[Need::Program],
            every_kind_of_finding_is_found,
        ),
        Test::new(
            "every_filter_selects_the_packets_of_its_finding",
            &[Need::Program, Need::Tool("tcpdump")],
            every_filter_selects_the_packets_of_its_finding,
        ),
        Test::new(
            "ordinary_traffic_has_no_findings",
            &[Need::Program],
            ordinary_traffic_has_no_findings,
        ),
        Test::new(
            "thresholds_and_the_switch_hold",
            &[Need::Program],
            thresholds_and_the_switch_hold,
        ),
        Test::new(
            "captures_of_the_corpus_have_few_findings",
            &[Need::Program, Need::Corpus],
            captures_of_the_corpus_have_few_findings,
        ),
    ])
}

fn every_kind_of_finding_is_found() -> Result<()> {
    for scene in SCENES {
        let directory = tempfile::tempdir()?;
        let file = scene.write(&directory)?;
        let report = read(&file, &[])?;
        let found = kinds(&report);
        ensure!(
            found == scene.kinds,
            "{}: found {found:?}, not {:?}:\n{:#}",
            scene.name,
            scene.kinds,
            report["findings"]
        );
        for finding in findings(&report) {
            for key in ["summary", "first", "last", "filter"] {
                let text = finding[key].as_str().unwrap_or_default();
                ensure!(!text.is_empty(), "{}: no {key} in {finding:#}", scene.name);
            }
            // The second of a change may have no packets at all.
            let packets = finding["packets"].as_u64() > Some(0);
            ensure!(packets || finding["kind"] == "rate_change", "{finding:#}");
            ensure!(finding["first"].as_str() <= finding["last"].as_str());
        }
    }
    Ok(())
}

fn every_filter_selects_the_packets_of_its_finding() -> Result<()> {
    for scene in SCENES {
        let directory = tempfile::tempdir()?;
        let file = scene.write(&directory)?;
        let report = read(&file, &[])?;
        for finding in findings(&report) {
            let filter = finding["filter"].as_str().context("a filter is text")?;
            let selected = count(&file, filter)?;
            let packets = finding["packets"]
                .as_u64()
                .context("packets are a number")?;
            // A conflict's packets include those of all claimants; a change's are all of a second.
            ensure!(
                selected >= packets,
                "{}: '{filter}' selects {selected} of {packets} packets",
                scene.name
            );
        }
    }
    Ok(())
}

fn ordinary_traffic_has_no_findings() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = Scene {
        name: "ordinary",
        kinds: &[],
        frames: scenes::ordinary,
    }
    .write(&directory)?;
    let report = read(&file, &[])?;
    ensure!(kinds(&report).is_empty(), "{:#}", report["findings"]);
    ensure!(report["findings_note"].is_null());
    Ok(())
}

fn thresholds_and_the_switch_hold() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = SCENES[0].write(&directory)?;
    let higher = ["--finding-threshold", "syn_scan_targets=5000"];
    ensure!(kinds(&read(&file, &higher)?).is_empty());
    let report = read(&file, &["--no-findings"])?;
    ensure!(kinds(&report).is_empty());
    ensure!(report["findings_note"] == "Findings were not looked for.");
    for wrong in ["syn_scan_targets", "syn_scan_targets=many", "flood=3"] {
        let output = traffic(&["read", "a.pcap", "--finding-threshold", wrong])?;
        ensure!(
            output.status.code() == Some(2),
            "{wrong}: {}",
            output.status
        );
    }
    Ok(())
}

fn captures_of_the_corpus_have_few_findings() -> Result<()> {
    let files = corpus_files()?;
    let (mut captures, mut with_findings) = (0, 0);
    let mut by_kind = BTreeMap::<String, usize>::new();
    for file in &files {
        let Ok(report) = read(file, &[]) else {
            continue;
        };
        captures += 1;
        with_findings += usize::from(!findings(&report).is_empty());
        for finding in findings(&report) {
            let kind = finding["kind"].as_str().unwrap_or_default();
            *by_kind.entry(kind.to_owned()).or_default() += 1;
            println!(
                "  {}: {kind}: {}",
                file.file_name().unwrap_or_default().display(),
                finding["summary"]
            );
        }
    }
    println!("  {with_findings} of {captures} captures have findings: {by_kind:?}");
    ensure!(captures > 0, "no capture could be read");
    ensure!(
        with_findings * 100 <= captures * MAX_PERCENT,
        "{with_findings} of {captures} captures have findings"
    );
    Ok(())
}

/// The JSON report on a capture file. What can be read of a damaged file counts.
fn read(file: &Path, args: &[&str]) -> Result<Value> {
    let mut all = vec!["read", "-qq", "--json", "-"];
    all.extend(args);
    let file = file.to_str().context("the path is UTF-8")?;
    all.push(file);
    let output = traffic(&all)?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("read {file}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn findings(report: &Value) -> &[Value] {
    report["findings"].as_array().map_or(&[], Vec::as_slice)
}

/// Kinds of the findings, each once, in order.
fn kinds(report: &Value) -> Vec<&str> {
    let mut kinds: Vec<_> = findings(report)
        .iter()
        .filter_map(|finding| finding["kind"].as_str())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Packets that tcpdump's filter selects.
fn count(file: &Path, filter: &str) -> Result<u64> {
    let output = Command::new("tcpdump")
        .args(["-n", "--count", "-r"])
        .arg(file)
        .arg(filter)
        .output()
        .context("run tcpdump")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let count = text.split_whitespace().next().and_then(|n| n.parse().ok());
    count.with_context(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("tcpdump '{filter}': {text}{errors}")
    })
}

impl Scene {
    fn write(&self, directory: &TempDir) -> Result<PathBuf> {
        let path = directory.path().join(format!("{}.pcap", self.name));
        let mut frames = (self.frames)();
        frames.sort_by_key(|(time_us, _)| *time_us);
        fs::write(&path, frames::pcap(&frames))?;
        Ok(path)
    }
}
