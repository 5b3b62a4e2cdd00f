//! What is repeated ten thousand times, or goes on for half an hour, leaks nothing. The short form
//! is the same with other numbers.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Builder;
use traffic_tests::{
    Need, Test,
    bpf::{exists, held},
    ledger::{balanced, entry},
    netns::{VETH, VethOptions, VethPair},
    program::Capture,
    stage::Stage,
    wait_until,
};
use traffic_user::{
    kernel::{HookChoice, Interface, Interfaces, Session, Settings, Sink},
    record::PacketRecord,
};

use crate::{NEEDS, Tests, long};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "attaching_and_detaching_leaks_nothing",
        &[Need::Capture, Need::Tool("bpftool")],
        attaching_and_detaching_leaks_nothing,
    ),
    Test::new(
        "memory_is_flat_at_a_steady_rate",
        NEEDS,
        memory_is_flat_at_a_steady_rate,
    ),
];

/// Resident memory of a process in KiB (`proc(5)`, `VmRSS`).
fn resident_kib(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("VmRSS")?.parse()?)
}

fn descriptors() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

struct Nobody;

impl Sink for Nobody {
    fn packets(&mut self, _: &[PacketRecord]) {}
    fn frames(&mut self, _: traffic_user::capture_file::Run<'_>) {}
    fn excerpt(&mut self, _: &traffic_ebpf::record::ExcerptHeader, _: &[u8]) {}
}

fn attaching_and_detaching_leaks_nothing() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    pair.right.within_this_thread(|| {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(cycles())
    })
}

/// Whole sessions, each loaded, attached, opened, detached from one interface and attached again,
/// closed and detached.
async fn cycles() -> Result<()> {
    let interfaces = Interfaces::list().await?.select(&[VETH.to_owned()])?;
    // Memory that is kept for the next time is there after the first few.
    for time in 0..4 {
        cycle(&interfaces, time)?;
    }
    let (descriptors_before, memory_before) = (descriptors()?, resident_kib(std::process::id())?);
    let mut objects = Vec::new();
    for time in 0..long::cycles() {
        objects = cycle(&interfaces, time)?;
    }
    let memory = resident_kib(std::process::id())?;
    let grown = memory.saturating_sub(memory_before);
    // A leak of a kilobyte a cycle shows in the long form, one of a map in both.
    ensure!(
        grown < 4096 + u64::from(long::cycles()) / 4,
        "{memory_before} KiB became {memory}"
    );
    ensure!(
        descriptors()? == descriptors_before,
        "{descriptors_before} became {}",
        descriptors()?
    );
    ensure!(held(std::process::id())?.is_empty());
    wait_until("the end of every object", Duration::from_secs(10), || {
        !objects.iter().any(|(kind, id)| exists(kind, *id))
    })
}

/// Returns what the session held.
fn cycle(interfaces: &[Interface], time: u32) -> Result<Vec<traffic_tests::bpf::Object>> {
    let hook = [HookChoice::Tc, HookChoice::Xdp][usize::from(time % 2 == 1)];
    let settings = Settings {
        joins: true,
        ring_bytes: 1 << 16,
        ..Settings::default()
    };
    let mut session = Session::start(&settings, interfaces, hook, (true, true))?;
    session.open();
    let objects = held(std::process::id())?;
    ensure!(objects.len() > 10, "{objects:?}");
    session.unplug(interfaces[0].ifindex)?;
    ensure!(session.plug(&interfaces[0])? == 0, "it got another number");
    session.close(&mut Nobody)?;
    session.detach();
    Ok(objects.into_iter().collect())
}

fn memory_is_flat_at_a_steady_rate() -> Result<()> {
    let stage = Stage::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("steady.pcapng");
    let path = file.to_str().context("a path in UTF-8")?;
    // A ring of files, so that the disk stays as it is.
    let args = [
        "-i", VETH, "-Q", "in", "-d", "0", "-w", path, "-C", "4M", "-W", "3",
    ];
    let capture = Capture::start(&stage.pair.right, &args)?;
    let second = |count: u32| -> Result<()> {
        let begun = Instant::now();
        stage.numbered(count, Duration::ZERO)?.join()?;
        thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
        Ok(())
    };
    let seconds = u32::try_from(long::steady().as_secs())?;
    let warm_up = (seconds / 3).clamp(2, 60);
    let mut after_warm_up = 0;
    for passed in 0..seconds {
        if passed == warm_up {
            after_warm_up = resident_kib(capture.id())?;
        }
        second(PER_SECOND)?;
    }
    let memory = resident_kib(capture.id())?;
    let captured = capture.interrupt()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    let matched = balanced(&captured.report, false)?;
    ensure!(
        matched == u64::from(seconds) * u64::from(PER_SECOND),
        "{matched}"
    );
    ensure!(entry(&captured.report, "summaries_lost")? == 0);
    ensure!(
        memory < after_warm_up + 2048,
        "{after_warm_up} KiB became {memory}"
    );
    Ok(())
}

/// Datagrams a second.
const PER_SECOND: u32 = 20_000;
