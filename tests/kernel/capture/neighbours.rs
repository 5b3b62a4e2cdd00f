//! Observing changes nothing: programs that are there stay and run, and nothing is left behind.

use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use traffic_tests::{
    Need, Test,
    bpf::{children, exists, held},
    ledger::balanced,
    netns::{Namespace, VETH},
    program::{Capture, binary},
    stage::{DATAGRAMS, Stage},
    wait_until,
};

use crate::Tests;

const NEEDS: &[Need] = &[Need::Capture, Need::Tool("bpftool"), Need::Tool("tc")];

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
    Test::new(
        "only_filters_of_killed_captures_are_removed",
        NEEDS,
        only_filters_of_killed_captures_are_removed,
    ),
    Test::new("nothing_is_left_behind", NEEDS, nothing_is_left_behind),
];

/// How an interface looks from outside, with its XDP program.
fn link(namespace: &Namespace) -> Result<String> {
    namespace.run(&format!("ip -d link show {VETH}"))
}

fn other_tc_programs_stay_and_run() -> Result<()> {
    let stage = Stage::new()?;
    let first = Capture::start(&stage.pair.right, &["-i", VETH, "-Q", "in"])?;
    let second = Capture::start(&stage.pair.right, &["-i", VETH, "-Q", "in"])?;
    stage.flood()?.join()?;
    let second = second.interrupt()?;
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
    let before = link(&stage.pair.right)?;
    ensure!(before.contains("prog/xdp"), "{before}");
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
    ensure!(link(&stage.pair.right)? == before);
    stage.numbered(100, Duration::ZERO)?.join()?;
    let first = first.interrupt()?;
    ensure!(balanced(&first.report, false)? == 100);
    Ok(())
}

fn nothing_is_left_behind() -> Result<()> {
    let stage = Stage::new()?;
    let right = &stage.pair.right;
    let state = || Ok::<_, Error>((right.run("tc qdisc show")?, link(right)?));
    let before = state()?;
    for (hook, signal) in [
        ("tc", Signal::SIGINT),
        ("xdp", Signal::SIGTERM),
        ("tc", Signal::SIGKILL),
        ("xdp", Signal::SIGKILL),
    ] {
        let capture = Capture::start(right, &["-i", VETH, "--hook", hook])?;
        let objects = held(capture.id())?;
        let by_filter = !filters(right)?.is_empty();
        let links = match (by_filter, hook) {
            (false, _) => 2,
            (true, "xdp") => 1,
            (true, _) => 0,
        };
        for (kind, least) in [("link", links), ("map", 2), ("prog", 2)] {
            let count = objects.iter().filter(|(of, _)| *of == kind).count();
            ensure!(count >= least, "{hook}: {count} of kind {kind}");
        }
        ensure!(objects.iter().all(|(kind, id)| exists(kind, *id)));
        capture.signal(signal)?;
        let captured = capture.finish()?;
        ensure!(captured.status.success() == (signal != Signal::SIGKILL));
        // The kernel frees them a grace period later.
        wait_until("the end of every object", Duration::from_secs(5), || {
            !objects.iter().any(|(kind, id)| exists(kind, *id))
        })?;
        wait_until("the state from before", Duration::from_secs(5), || {
            state().is_ok_and(|now| now == before)
        })
        .with_context(|| format!("{hook}, {signal}: {:?} and not {before:?}", state()))?;
    }
    Ok(())
}

/// Filters of ours that the qdisc of the interface holds: on kernels without tcx.
fn filters(namespace: &Namespace) -> Result<String> {
    let [ingress, egress] = ["ingress", "egress"]
        .map(|direction| namespace.run(&format!("tc filter show dev {VETH} {direction}")));
    let both = ingress? + &egress?;
    let ours = both.lines().filter(|line| line.contains(" traffic_"));
    Ok(ours.collect::<Vec<_>>().join("\n"))
}

fn clean_up(namespace: &Namespace, args: &[&str]) -> Result<String> {
    let output = namespace
        .command(binary())
        .arg("cleanup")
        .args(args)
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

/// The process that holds the hooks of a capture.
fn holder(capture: &Capture) -> Result<u32> {
    let children = children(capture.id())?;
    ensure!(children.len() == 1, "{children:?}");
    Ok(children[0])
}

fn only_filters_of_killed_captures_are_removed() -> Result<()> {
    let stage = Stage::new()?;
    let right = &stage.pair.right;
    let before = right.run("tc qdisc show")?;
    let live = Capture::start(right, &["-i", VETH])?;
    let of_live = filters(right)?;
    let killed_one = || -> Result<u32> {
        let killed = Capture::start(right, &["-i", VETH])?;
        let holder = holder(&killed)?;
        // Neither notices that the other is killed, so nobody gives the hooks back.
        killed.signal(Signal::SIGSTOP)?;
        kill(Pid::from_raw(holder.try_into()?), Signal::SIGKILL)?;
        killed.signal(Signal::SIGKILL)?;
        killed.finish()?;
        Ok(holder)
    };
    let killed = killed_one()?;
    let left = filters(right)?;
    let told = clean_up(right, &["--dry-run"])?;
    ensure!(filters(right)? == left, "it only tells");
    // With tcx the kernel has removed everything.
    let lines = if of_live.is_empty() { 0 } else { 2 };
    let would = format!("would remove: process {killed} has ended");
    ensure!(told.matches(&would).count() == lines, "{told}");
    let removed = clean_up(right, &[])?;
    let stays = format!("stays: process {} uses it", holder(&live)?);
    ensure!(removed.matches("removed: ").count() == lines, "{removed}");
    ensure!(removed.matches(&stays).count() == lines, "{removed}");
    ensure!(filters(right)? == of_live);
    killed_one()?;
    let next = Capture::start(right, &["-i", VETH])?;
    ensure!(filters(right)?.lines().count() == 2 * lines);
    live.interrupt()?;
    next.interrupt()?;
    ensure!(filters(right)?.is_empty() && right.run("tc qdisc show")? == before);
    ensure!(clean_up(right, &[])? == "nothing was left behind\n");
    Ok(())
}
