//! What is repeated ten thousand times, or goes on for half an hour, leaks nothing. The short form
//! is the same with other numbers.

use std::{
    env, fs,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, ensure};
use tokio::runtime::Builder;
use traffic_tests::{
    Need, Test,
    bpf::{children, exists, held},
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
        CYCLES,
        &[Need::Capture, Need::Tool("bpftool")],
        attaching_and_detaching_leaks_nothing,
    ),
    Test::new(
        "memory_is_flat_at_a_steady_rate",
        NEEDS,
        memory_is_flat_at_a_steady_rate,
    ),
];

/// What a process has at a moment.
#[derive(Debug)]
struct Holdings {
    descriptors: usize,
    /// Programs, maps and links, with those of its children.
    objects: usize,
    resident_kib: u64,
}

impl Holdings {
    fn of(process: u32) -> Result<Self> {
        Ok(Self {
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
            objects: held(process)?.len(),
            resident_kib: resident_kib(process)?,
        })
    }
}

/// Resident memory of a process in KiB (`proc(5)`, `VmRSS`).
fn resident_kib(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("VmRSS")?.parse()?)
}

struct Nobody;

impl Sink for Nobody {
    fn packets(&mut self, _: &[PacketRecord]) {}
    fn frames(&mut self, _: traffic_user::capture_file::Run<'_>) {}
    fn excerpt(&mut self, _: &traffic_ebpf::record::ExcerptHeader, _: &[u8]) {}
}

/// Processes that share many cycles: most of a cycle is waiting for grace periods of the kernel.
const SHARES: u32 = 4;
/// Tells one of them that it is.
const SHARE: &str = "TRAFFIC_LONG_SHARE";
const CYCLES: &str = "attaching_and_detaching_leaks_nothing";

fn attaching_and_detaching_leaks_nothing() -> Result<()> {
    if long::cycles() > 100 && env::var_os(SHARE).is_none() {
        return in_processes(long::cycles().div_ceil(SHARES));
    }
    let pair = VethPair::new(&VethOptions::default())?;
    pair.right.within_this_thread(|| {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(cycles())
    })
}

/// This test in several processes at once, each with so many cycles in a namespace of its own. Each
/// looks for leaks of its own.
fn in_processes(cycles: u32) -> Result<()> {
    let start = |_| {
        let mut share = Command::new(env::current_exe()?);
        share.args([CYCLES, "--exact"]).env(SHARE, "1");
        share.env("TRAFFIC_LONG_CYCLES", cycles.to_string());
        Ok(share
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?)
    };
    let shares = (0..SHARES).map(start).collect::<Result<Vec<Child>>>()?;
    // Every one is waited for, whatever becomes of the others.
    let ended: Vec<_> = shares.into_iter().map(Child::wait_with_output).collect();
    ended.into_iter().try_for_each(|output| passed(&output?))
}

fn passed(share: &Output) -> Result<()> {
    let said = String::from_utf8_lossy(&share.stdout);
    let complained = String::from_utf8_lossy(&share.stderr);
    ensure!(
        share.status.success() && said.contains("1 passed"),
        "{}: {said}{complained}",
        share.status
    );
    // Not its closing line, which stands for a test that is counted.
    let measured = said.lines().filter(|line| line.contains(" cycles in "));
    measured.for_each(long::tell);
    Ok(())
}

/// Whole sessions, each loaded, attached, opened, detached from one interface and attached again,
/// closed and detached.
async fn cycles() -> Result<()> {
    let interfaces = Interfaces::list().await?.select(&[VETH.to_owned()])?;
    // Memory that is kept for the next time is there after the first few.
    for time in 0..4 {
        cycle(&interfaces, time)?;
    }
    let before = Holdings::of(std::process::id())?;
    let begun = Instant::now();
    let mut objects = Vec::new();
    for time in 0..long::cycles() {
        objects = cycle(&interfaces, time)?;
    }
    let after = Holdings::of(std::process::id())?;
    long::tell(&format!(
        "{} cycles in {:.0?}: {before:?} before, {after:?} after",
        long::cycles(),
        begun.elapsed()
    ));
    let grown = after.resident_kib.saturating_sub(before.resident_kib);
    // A leak of a kilobyte a cycle shows in the long form, one of a map in both.
    ensure!(
        grown < 1024 + u64::from(long::cycles()) / 4,
        "{before:?} became {after:?}"
    );
    ensure!(
        after.descriptors == before.descriptors && after.objects == 0,
        "{before:?} became {after:?}"
    );
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
    // A tenth of the rate in each tenth of a second.
    let send = || -> Result<()> {
        let begun = Instant::now();
        stage.numbered(long::rate() / 10, Duration::ZERO)?.join()?;
        thread::sleep(Duration::from_millis(100).saturating_sub(begun.elapsed()));
        Ok(())
    };
    let seconds = u32::try_from(long::steady().as_secs())?;
    let warm_up = (seconds / 3).clamp(2, 60);
    let holder = children(capture.id())?;
    let holder = *holder.first().context("the process that holds the hooks")?;
    let now = || Ok::<_, Error>([Holdings::of(capture.id())?, Holdings::of(holder)?]);
    let mut before = now()?;
    for passed in 0..seconds {
        if passed == warm_up {
            before = now()?;
        }
        (0..10).try_for_each(|_| send())?;
    }
    let after = now()?;
    long::tell(&format!(
        "{seconds} s at {} a second, reader and holder: {before:?} after {warm_up} s, {after:?} \
         at the end",
        long::rate()
    ));
    let captured = capture.interrupt()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    let matched = balanced(&captured.report, false)?;
    ensure!(
        matched == u64::from(seconds) * u64::from(long::rate() / 10 * 10),
        "{matched}"
    );
    ensure!(entry(&captured.report, "summaries_lost")? == 0);
    for (before, after) in before.iter().zip(&after) {
        ensure!(
            after.resident_kib < before.resident_kib + 2048
                && after.descriptors == before.descriptors
                && after.objects == before.objects,
            "{before:?} became {after:?}"
        );
    }
    Ok(())
}
