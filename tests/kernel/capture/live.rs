//! What reaches user space while the capture runs.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use traffic_ebpf::record::ExcerptHeader;
use traffic_tests::{
    Test,
    netns::{Namespace, VETH},
    program,
    stage::{DATAGRAMS, Stage},
    wait_until,
};
use traffic_user::{
    capture_file::Run,
    kernel::{HookChoice, Interfaces, Session, Settings, Sink},
    record::PacketRecord,
};

use crate::{NEEDS, Tests};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "a_frame_on_an_idle_link_is_on_stdout_at_once",
        NEEDS,
        a_frame_on_an_idle_link_is_on_stdout_at_once,
    ),
    Test::new(
        "a_summary_on_an_idle_link_does_not_wait_for_its_batch",
        NEEDS,
        a_summary_on_an_idle_link_does_not_wait_for_its_batch,
    ),
    Test::new(
        "batches_in_hand_are_delivered_at_the_end",
        NEEDS,
        batches_in_hand_are_delivered_at_the_end,
    ),
    Test::new(
        "a_reader_that_goes_away_ends_the_capture",
        NEEDS,
        a_reader_that_goes_away_ends_the_capture,
    ),
    Test::new(
        "a_reader_that_never_was_is_no_failure",
        NEEDS,
        a_reader_that_never_was_is_no_failure,
    ),
    Test::new(
        "a_second_interrupt_ends_at_once",
        NEEDS,
        a_second_interrupt_ends_at_once,
    ),
];

/// The longest that a packet waits on an idle link.
const LATENCY: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_secs(10);

/// `traffic capture -w -` whose stdout the test reads itself.
struct Piped {
    child: Child,
    stderr: Receiver<String>,
}

impl Piped {
    fn start(namespace: &Namespace) -> Result<Self> {
        let mut child = namespace
            .command(program::binary())
            .args(["capture", "-i", VETH, "-d", "0", "-w", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut from = child.stderr.take().context("stderr is piped")?;
        let (sender, stderr) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = from.read(&mut buffer) {
                if sender
                    .send(String::from_utf8_lossy(&buffer[..bytes]).into_owned())
                    .is_err()
                {
                    break;
                }
            }
        });
        let piped = Self { child, stderr };
        let mut said = String::new();
        while !said.contains("listening on") {
            said += &piped.stderr.recv_timeout(DEADLINE).context(said.clone())?;
        }
        Ok(piped)
    }

    fn interrupt(&self) -> Result<()> {
        Ok(kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGINT,
        )?)
    }

    /// Exit code and stderr.
    fn end(&mut self, deadline: Duration) -> Result<(Option<i32>, String)> {
        wait_until("the end of traffic capture", deadline, || {
            !matches!(self.child.try_wait(), Ok(None))
        })?;
        Ok((self.child.wait()?.code(), self.stderr.iter().collect()))
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // Both fail when it has ended already, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn a_frame_on_an_idle_link_is_on_stdout_at_once() -> Result<()> {
    const PACKETS: u32 = 9;
    let stage = Stage::new()?;
    let mut piped = Piped::start(&stage.pair.right)?;
    let mut stdout = piped.child.stdout.take().context("stdout is piped")?;
    let (sender, arrivals) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(bytes @ 1..) = stdout.read(&mut buffer) {
            if sender.send((Instant::now(), bytes)).is_err() {
                break;
            }
        }
    });
    let (_, header) = arrivals
        .recv_timeout(DEADLINE)
        .context("the file's header")?;
    ensure!(header > 28);
    let mut waits = Vec::new();
    for _ in 0..PACKETS {
        let sent = Instant::now();
        stage.numbered(1, Duration::ZERO)?.join()?;
        let (arrived, _) = arrivals.recv_timeout(DEADLINE).context("a frame")?;
        waits.push(arrived - sent);
    }
    piped.interrupt()?;
    let (code, said) = piped.end(DEADLINE)?;
    ensure!(code == Some(0), "{said}");
    ensure!(reader.join().is_ok());
    all_but_one_within(LATENCY, waits)
}

/// The machine may be busy with something else once.
fn all_but_one_within(limit: Duration, mut waits: Vec<Duration>) -> Result<()> {
    waits.sort_unstable();
    ensure!(waits.iter().rev().nth(1) <= Some(&limit), "{waits:?}");
    Ok(())
}

/// Notes how long after their time stamps summaries arrive.
#[derive(Default)]
struct Arrivals(Vec<Duration>);

impl Sink for Arrivals {
    fn packets(&mut self, records: &[PacketRecord]) {
        let after = |record: &PacketRecord| {
            let seen = UNIX_EPOCH + Duration::from_nanos(record.timestamp_ns());
            // The wall clock may have been slewed back by less than that.
            seen.elapsed().unwrap_or_default()
        };
        self.0.extend(records.iter().map(after));
    }

    fn frames(&mut self, _: Run<'_>) {}

    fn excerpt(&mut self, _: &ExcerptHeader, _: &[u8]) {}
}

async fn session() -> Result<Session> {
    let settings = Settings {
        ring_bytes: 1 << 20,
        ..Settings::default()
    };
    let interfaces = Interfaces::list().await?.select(&[VETH.to_owned()])?;
    let mut session = Session::start(&settings, &interfaces, HookChoice::Tc, (true, false))?;
    session.open();
    Ok(session)
}

/// Runs `work` on the right end, as a program with a runtime of its own; in the one thread that
/// there is, because a session splits the process in two.
fn on_the_right<F>(stage: &Stage, work: F) -> Result<()>
where
    F: AsyncFnOnce() -> Result<()>,
{
    stage.pair.right.within_this_thread(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(work())
    })
}

fn a_summary_on_an_idle_link_does_not_wait_for_its_batch() -> Result<()> {
    let stage = Stage::new()?;
    let left = stage.pair.left.name().to_owned();
    on_the_right(&stage, async move || {
        let mut session = session().await?;
        let mut waits = Vec::new();
        for cpu in [0, 1, 0, 1] {
            ping(&left, cpu, 1)?;
            let mut arrivals = Arrivals::default();
            wait_until("the summary", DEADLINE, || {
                session.flush_waiting();
                session.drain(&mut arrivals);
                !arrivals.0.is_empty()
            })?;
            ensure!(arrivals.0.len() == 1, "{} summaries", arrivals.0.len());
            waits.extend(arrivals.0);
        }
        session.detach();
        all_but_one_within(LATENCY, waits)
    })
}

/// Echo requests from the left end, on one CPU, as fast as they are answered.
fn ping(left: &str, cpu: usize, count: u64) -> Result<()> {
    let status = Command::new("taskset")
        .args(["-c", &cpu.to_string(), "ip", "netns", "exec", left])
        .args([
            "ping",
            "-q",
            "-i",
            "0",
            "-c",
            &count.to_string(),
            "10.77.0.2",
        ])
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "ping: {status}");
    Ok(())
}

fn batches_in_hand_are_delivered_at_the_end() -> Result<()> {
    const EACH: u64 = 63 + 64;
    let stage = Stage::new()?;
    let left = stage.pair.left.name().to_owned();
    on_the_right(&stage, async move || {
        let mut session = session().await?;
        for cpu in [0, 1] {
            ping(&left, cpu, EACH)?;
        }
        let mut arrivals = Arrivals::default();
        let snapshot = session.close(&mut arrivals)?;
        ensure!(arrivals.0.len() as u64 == 2 * EACH, "{}", arrivals.0.len());
        ensure!(snapshot.tally(traffic_ebpf::tally::Tally::Matched) == 2 * EACH);
        session.detach();
        Ok(())
    })
}

fn a_reader_that_goes_away_ends_the_capture() -> Result<()> {
    let stage = Stage::new()?;
    let mut piped = Piped::start(&stage.pair.right)?;
    drop(piped.child.stdout.take());
    stage.numbered(3, Duration::ZERO)?.join()?;
    let (code, said) = piped.end(DEADLINE)?;
    ensure!(
        code == Some(0) && !said.contains("error"),
        "{code:?}: {said}"
    );
    Ok(())
}

fn a_reader_that_never_was_is_no_failure() -> Result<()> {
    let stage = Stage::new()?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let output = stage
        .pair
        .right
        .command(program::binary())
        .args(["capture", "-i", VETH, "-d", "0", "-w", "-"])
        .stdout(writer)
        .output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(0) && said.is_empty(), "{said}");
    Ok(())
}

/// Nobody reads the pipe, so that the first interrupt finds the capture in a write that waits.
fn a_second_interrupt_ends_at_once() -> Result<()> {
    let stage = Stage::new()?;
    let mut piped = Piped::start(&stage.pair.right)?;
    stage.flood()?.join()?;
    ensure!(DATAGRAMS * 60 > 1 << 20, "the pipe is full");
    piped.interrupt()?;
    ensure!(
        piped.end(Duration::from_millis(300)).is_err(),
        "the first interrupt ended it"
    );
    piped.interrupt()?;
    let (code, said) = piped.end(Duration::from_secs(1))?;
    ensure!(code == Some(130), "{code:?}: {said}");
    Ok(())
}
