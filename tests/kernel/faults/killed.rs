//! SIGKILL at any moment.

use std::{
    fs::File,
    ops::ControlFlow,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, ensure};
use traffic_tests::{
    Need, Test,
    bpf::{exists, held},
    netns::VETH,
    program::binary,
    stage::Stage,
    wait_until,
};
use traffic_user::capture_file::{self, ReadError};

use crate::{Tests, long};

const NEEDS: &[Need] = &[Need::Capture, Need::Tool("bpftool"), Need::Tool("tc")];

pub(crate) const TESTS: Tests = &[Test::new(
    "killed_at_any_moment_it_leaves_nothing_but_a_readable_file",
    NEEDS,
    killed_at_any_moment_it_leaves_nothing_but_a_readable_file,
)];

/// Longer than starting takes; more where each instruction is emulated.
fn latest() -> Duration {
    Duration::from_millis(if Need::Machine.is_there() { 8000 } else { 900 })
}

fn killed_at_any_moment_it_leaves_nothing_but_a_readable_file() -> Result<()> {
    let stage = Stage::new()?;
    let right = &stage.pair.right;
    let state = || {
        let link = right.run(&format!("ip -d link show {VETH}"))?;
        Ok::<_, Error>((right.run("tc qdisc show")?, link))
    };
    let before = state()?;
    let directory = tempfile::tempdir()?;
    let times = long::kills();
    let mut held_objects = 0;
    for time in 0..times {
        let hooks = &["tc", "xdp"][..=usize::from(Need::XdpFrames.is_there())];
        let hook = hooks[time as usize % hooks.len()];
        let file = directory.path().join(format!("{time}.pcapng"));
        // Each a step later than the one before, over everything that happens.
        let moment = latest() * (time + 1) / times;
        let objects = kill_at(&stage, hook, &file, moment)?;
        held_objects += objects.len();
        wait_until("the end of every object", Duration::from_secs(10), || {
            !objects.iter().any(|(kind, id)| exists(kind, *id))
        })
        .with_context(|| format!("{hook}, {moment:?}: {objects:?}"))?;
        wait_until("the state from before", Duration::from_secs(10), || {
            state().is_ok_and(|now| now == before)
        })
        .with_context(|| format!("{hook}, {moment:?}: {:?} and not {before:?}", state()))?;
        is_readable(&file)?;
    }
    ensure!(held_objects > 0, "it was never killed while it captured");
    Ok(())
}

/// Starts a capture of datagrams that keep coming, and kills it. Returns what it held then.
fn kill_at(
    stage: &Stage,
    hook: &str,
    file: &Path,
    moment: Duration,
) -> Result<Vec<traffic_tests::bpf::Object>> {
    let begun = Instant::now();
    let mut process = stage
        .pair
        .right
        .command(binary())
        .args(["capture", "-i", VETH, "--hook", hook, "-d", "0", "-w"])
        .arg(file)
        .stdin(Stdio::null())
        .stderr(File::create(file.with_extension("stderr"))?)
        .spawn()?;
    let sender = stage.numbered(200, moment / 200)?;
    thread::sleep(moment.saturating_sub(begun.elapsed()));
    let objects = held(process.id())?;
    process.kill()?;
    process.wait()?;
    sender.join()?;
    Ok(objects.into_iter().collect())
}

/// Not there yet, not begun, whole, or cut inside of the last block.
fn is_readable(file: &Path) -> Result<()> {
    if !file.exists() {
        return Ok(());
    }
    match capture_file::read(file, |_, _| ControlFlow::Continue(())) {
        Ok(summary) => {
            let fault = summary.fault;
            ensure!(
                matches!(fault, None | Some(ReadError::CutShort)),
                "{fault:?}"
            );
        }
        Err(ReadError::Empty) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
