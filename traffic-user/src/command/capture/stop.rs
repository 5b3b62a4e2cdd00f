//! When a capture ends, and what is done until then.

use std::{
    fs,
    future::pending,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use crate::kernel::Timer;

/// How often waiting batches are sent up and the clock is looked at while somebody follows the
/// capture: a packet on an idle link is in the live data after at most two ticks.
const TICK: Duration = Duration::from_millis(40);
/// The same while nobody does: a wake-up of an idle processor costs as much as thousands of packets.
const TICK_UNWATCHED: Duration = Duration::from_millis(200);
/// Files are flushed at the first tick after this time. With the ticks that a frame waits for in the
/// kernel and for its turn, that keeps what a killed capture loses below a second.
const FLUSH: Duration = Duration::from_millis(300);

pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Regular work.
pub(super) struct Ticks {
    /// With its period.
    timer: Option<(Duration, Timer)>,
    /// When a tick was last one to flush at.
    flushed: Instant,
    is_flush: bool,
}

impl Ticks {
    pub(super) fn new() -> Self {
        Self {
            timer: None,
            flushed: Instant::now(),
            is_flush: false,
        }
    }

    /// Waits for the next tick; `prompt` where somebody follows the capture. The first comes at once.
    pub(super) async fn next(&mut self, prompt: bool) -> Result<()> {
        let period = if prompt { TICK } else { TICK_UNWATCHED };
        let timer = match self.timer.take() {
            Some((of, timer)) if of == period => timer,
            _ => Timer::every(period).context("make a timer")?,
        };
        let (_, timer) = self.timer.insert((period, timer));
        timer.next().await.context("wait for a timer")?;
        let now = Instant::now();
        self.is_flush = now.duration_since(self.flushed) >= FLUSH;
        if self.is_flush {
            self.flushed = now;
        }
        Ok(())
    }

    pub(super) fn is_flush(&self) -> bool {
        self.is_flush
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGINT, SIGTERM: end the capture.
    Stop,
    /// SIGHUP: go on to the next file; end the capture where there is none.
    HangUp,
    /// SIGUSR1: print counts and go on.
    Counts,
    /// SIGUSR2: write what is gathered.
    Flush,
}

/// The signals that a capture follows. A second SIGINT ends the process at once.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` where whoever started the program has it ignored, as `nohup` does.
    hang_up: Option<Signal>,
    counts: Signal,
    flush: Signal,
}

/// Exit code of a process that a second SIGINT ended, as shells have it.
pub(super) const INTERRUPTED: i32 = 128 + 2;

impl Signals {
    pub(super) fn new() -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        // In this order: the first signal finds the flag unset, and sets it.
        signal_hook::flag::register_conditional_shutdown(
            libc::SIGINT,
            INTERRUPTED,
            Arc::clone(&interrupted),
        )
        .and_then(|_| signal_hook::flag::register(libc::SIGINT, interrupted))
        .context("watch for SIGINT")?;
        let watch = |kind| signal(kind).context("watch for signals");
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            hang_up: (!is_ignored(libc::SIGHUP))
                .then(|| watch(SignalKind::hangup()))
                .transpose()?,
            counts: watch(SignalKind::user_defined1())?,
            flush: watch(SignalKind::user_defined2())?,
        })
    }

    pub(super) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.terminate.recv() => Request::Stop,
            () = receive(&mut self.hang_up) => Request::HangUp,
            _ = self.counts.recv() => Request::Counts,
            _ = self.flush.recv() => Request::Flush,
        }
    }
}

async fn receive(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => pending().await,
    }
}

/// Whether the process was started with a signal ignored: proc(5), `SigIgn`.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
