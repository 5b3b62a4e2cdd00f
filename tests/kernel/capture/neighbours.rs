//! Observing changes nothing: programs that are there stay and run, and nothing is left behind.

use std::{collections::BTreeSet, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use traffic_tests::{
    Need, Test,
    netns::{Namespace, VETH},
    program::{Capture, binary},
    wait_until,
};

use crate::{
    Tests,
    ledger::balanced,
    send::{DATAGRAMS, Stage},
};

const NEEDS: &[Need] = &[
    Need::Root,
    Need::Program,
    Need::Tool("ip"),
    Need::Tool("ethtool"),
    Need::Tool("bpftool"),
    Need::Tool("tc"),
];

pub(crate) const TESTS: Tests = &[
    Test::new(
        "other_tc_programs_stay_and_run",
        NEEDS,
        other_tc_programs_stay_and_run,
    ),
    Test::new(
        "an_xdp_hook_that_is_taken_is_not_touched",
        NEEDS,
        an_xdp_hook_that_is_taken_is_not_touched,
    ),
    Test::new("nothing_is_left_behind", NEEDS, nothing_is_left_behind),
];

/// Program ids on the interfaces of a namespace.
fn attached(namespace: &Namespace) -> Result<BTreeSet<u64>> {
    let json: Value = serde_json::from_str(&namespace.run("bpftool -j net list")?)?;
    let mut ids = BTreeSet::new();
    collect_ids(&json, &mut ids);
    Ok(ids)
}

fn collect_ids(value: &Value, ids: &mut BTreeSet<u64>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect_ids(value, ids)),
        Value::Object(fields) => {
            let id = fields.get("prog_id").or_else(|| fields.get("id"));
            ids.extend(id.and_then(Value::as_u64));
            fields.values().for_each(|value| collect_ids(value, ids));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Ids of the programs, maps and links (`kind`) that a process holds.
fn held(kind: &str, process: u32) -> Result<BTreeSet<u64>> {
    let output = Command::new("bpftool")
        .args(["-j", kind, "list"])
        .output()?;
    let json: Value = serde_json::from_slice(&output.stdout)?;
    let all = json.as_array().context("bpftool lists")?.iter();
    Ok(all
        .filter(|object| {
            let processes = object["pids"].as_array().into_iter().flatten();
            processes.into_iter().any(|held| held["pid"] == process)
        })
        .filter_map(|object| object["id"].as_u64())
        .collect())
}

fn exists(kind: &str, id: u64) -> bool {
    Command::new("bpftool")
        .args([kind, "show", "id", &id.to_string()])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn other_tc_programs_stay_and_run() -> Result<()> {
    let stage = Stage::new()?;
    let first = Capture::start(&stage.pair.right, &["-i", VETH, "-Q", "in"])?;
    let alone = attached(&stage.pair.right)?;
    ensure!(alone.len() == 1, "{alone:?}");
    let second = Capture::start(&stage.pair.right, &["-i", VETH, "-Q", "in"])?;
    ensure!(attached(&stage.pair.right)?.is_superset(&alone));
    stage.flood()?.join()?;
    let second = second.interrupt()?;
    ensure!(attached(&stage.pair.right)? == alone);
    stage.flood()?.join()?;
    let first = first.interrupt()?;
    ensure!(balanced(&second.report, false)? == 2 * DATAGRAMS);
    ensure!(balanced(&first.report, false)? == 4 * DATAGRAMS);
    Ok(())
}

fn an_xdp_hook_that_is_taken_is_not_touched() -> Result<()> {
    let stage = Stage::new()?;
    let args = ["-i", VETH, "-Q", "in", "--hook", "xdp"];
    let first = Capture::start(&stage.pair.right, &args)?;
    let alone = attached(&stage.pair.right)?;
    let second = stage
        .pair
        .right
        .command(binary())
        .arg("capture")
        .args(args)
        .output()?;
    let said = String::from_utf8(second.stderr)?;
    ensure!(second.status.code() == Some(1), "{said}");
    ensure!(
        said.lines().count() == 1 && said.contains("traffic_xdp") && said.contains("--hook tc"),
        "{said}"
    );
    ensure!(attached(&stage.pair.right)? == alone);
    stage.numbered(100, Duration::ZERO)?.join()?;
    let first = first.interrupt()?;
    ensure!(balanced(&first.report, false)? == 100);
    Ok(())
}

fn nothing_is_left_behind() -> Result<()> {
    let stage = Stage::new()?;
    let right = &stage.pair.right;
    let state = || -> Result<_> {
        let link = right.run(&format!("ip -d link show {VETH}"))?;
        Ok((attached(right)?, right.run("tc qdisc show")?, link))
    };
    let before = state()?;
    for (hook, signal) in [
        ("tc", Signal::SIGINT),
        ("xdp", Signal::SIGTERM),
        ("tc", Signal::SIGKILL),
        ("xdp", Signal::SIGKILL),
    ] {
        let capture = Capture::start(right, &["-i", VETH, "--hook", hook])?;
        let objects =
            ["prog", "map", "link"].map(|kind| held(kind, capture.id()).map(|ids| (kind, ids)));
        let objects: Vec<_> = objects.into_iter().collect::<Result<_>>()?;
        ensure!(objects.iter().all(|(_, ids)| ids.len() > 1), "{objects:?}");
        ensure!(state()? != before);
        capture.signal(signal)?;
        let captured = capture.finish()?;
        ensure!(captured.status.success() == (signal != Signal::SIGKILL));
        for (kind, ids) in objects {
            // The kernel frees them a grace period later.
            wait_until("the end of every object", Duration::from_secs(5), || {
                !ids.iter().any(|&id| exists(kind, id))
            })?;
        }
        wait_until("the state from before", Duration::from_secs(5), || {
            state().is_ok_and(|now| now == before)
        })
        .with_context(|| format!("{hook}, {signal}: {:?} and not {before:?}", state()))?;
    }
    Ok(())
}
