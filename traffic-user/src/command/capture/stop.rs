//! When a capture ends, and what is done until then.

use std::{
    future::pending,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};

/// How often waiting batches are sent up, the file is flushed and the clock is looked at. A
/// packet on an idle link is in the live data after at most two ticks.
const TICK: Duration = Duration::from_millis(40);
/// Ticks between two flushes of the capture file: a killed capture loses at most a second.
const TICKS_PER_FLUSH: u32 = 20;

pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Regular work.
pub(super) struct Ticks {
    interval: Interval,
    count: u32,
}

impl Ticks {
    pub(super) fn new() -> Self {
        let mut interval = interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, count: 0 }
    }

    pub(super) async fn next(&mut self) {
        self.interval.tick().await;
        self.count = self.count.wrapping_add(1);
    }

    pub(super) fn is_flush(&self) -> bool {
        self.count.is_multiple_of(TICKS_PER_FLUSH)
    }
}

/// SIGINT, SIGTERM and SIGHUP end the capture; a second SIGINT ends the process at once.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
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
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("watch for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("watch for SIGTERM")?,
            hang_up: signal(SignalKind::hangup()).ok(),
        })
    }

    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = async {
                match &mut self.hang_up {
                    Some(signal) => { signal.recv().await; }
                    None => pending().await,
                }
            } => {}
        }
    }
}
