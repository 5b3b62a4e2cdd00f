//! Servers that go away, hang and come back.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::agent::{DEADLINE, Scene, ledger};

pub(crate) fn a_server_that_is_killed_and_comes_back_misses_nothing() -> Result<()> {
    let mut scene = Scene::new()?;
    // Flows end before, while and after the server is away.
    let mut capture = scene.capture(&["--flow-idle", "500ms"])?;
    scene.ping(50)?;
    scene.wait_for(100)?;
    scene.server.kill()?;
    scene.ping(50)?;
    capture.wait_for_note("rows wait in the spool", DEADLINE)?;
    scene.server.resume()?;
    capture.wait_for_note("answers again", DEADLINE)?;
    scene.ping(50)?;
    let captured = capture.interrupt()?;
    let matched = ledger(&captured.report, "matched")?;
    let (packets, _) = scene.timeline()?;
    ensure!(
        matched >= 300 && packets == matched,
        "{packets} of {matched}"
    );
    ensure!(scene.tally("seen")? == ledger(&captured.report, "seen")?);
    let told = scene.flow_packets()? + scene.tally("flowless_packets")?;
    ensure!(told == matched, "{told} of {matched} packets in flows");
    ensure!(ledger(&captured.report, "export_lost")? == 0);
    ensure!(ledger(&captured.report, "export_waiting")? == 0);
    Ok(())
}

pub(crate) fn what_waits_at_the_end_is_sent_by_the_next_capture() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.server.kill()?;
    let capture = scene.capture(&[])?;
    scene.ping(50)?;
    let first = capture.interrupt()?.report;
    ensure!(ledger(&first, "export_waiting")? == ledger(&first, "export_rows")?);
    scene.server.resume()?;
    let second = scene.capture(&["--duration", "1s"])?.finish()?.report;
    let matched = ledger(&first, "matched")? + ledger(&second, "matched")?;
    let (packets, _) = scene.timeline()?;
    ensure!(
        matched >= 100 && packets == matched,
        "{packets} of {matched}"
    );
    let runs = scene
        .server
        .number("SELECT count() FROM t.captures FINAL WHERE ended_ns > 0")?;
    ensure!(runs == 2, "{runs} runs have ended");
    Ok(())
}

pub(crate) fn a_server_that_hangs_does_not_slow_the_capture() -> Result<()> {
    let scene = Scene::new()?;
    let capture = scene.capture(&[])?;
    scene.server.set_running(false)?;
    scene.ping(400)?;
    let begun = Instant::now();
    let captured = capture.interrupt()?;
    ensure!(
        begun.elapsed() < DEADLINE,
        "the end took {:?}",
        begun.elapsed()
    );
    let report = &captured.report;
    ensure!(ledger(report, "seen")? >= 800 && ledger(report, "summaries_lost")? == 0);
    ensure!(ledger(report, "export_lost")? == 0);
    ensure!(ledger(report, "export_waiting")? > 0);
    scene.server.set_running(true)?;
    let second = scene.capture(&["--duration", "1s"])?.finish()?.report;
    let matched = ledger(report, "matched")? + ledger(&second, "matched")?;
    let (packets, _) = scene.timeline()?;
    ensure!(packets == matched, "{packets} of {matched}");
    Ok(())
}

pub(crate) fn a_full_spool_is_in_the_ledger() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.server.kill()?;
    // Room for one parcel: the first, which says that there is a capture, goes for the last.
    let capture = scene.capture(&["--spool-size", "4K"])?;
    scene.ping(10)?;
    let captured = capture.interrupt()?;
    let report = &captured.report;
    let [rows, waiting, lost] =
        ["export_rows", "export_waiting", "export_lost"].map(|name| ledger(report, name));
    let (rows, waiting, lost) = (rows?, waiting?, lost?);
    ensure!(
        lost > 0 && rows == waiting + lost,
        "{rows}, {waiting}, {lost}"
    );
    ensure!(
        captured.stderr.contains("packets captured"),
        "{}",
        captured.stderr
    );
    Ok(())
}
