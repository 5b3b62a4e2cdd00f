//! Regular wake-ups.

use std::{io, os::fd::OwnedFd, time::Duration};

use nix::{
    errno::Errno,
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    unistd,
};
use tokio::io::{Interest, unix::AsyncFd};

/// A timer of the kernel's. tokio's own wakes the process twice or more for a period, because its
/// wheel moves a timer from slot to slot, and once for every time that it is set.
pub struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// A timer that expires at once, and then once in a `period`.
    ///
    /// # Errors
    /// What `timerfd_create(2)` and `timerfd_settime(2)` say.
    pub fn every(period: Duration) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let at_once = TimeSpec::new(0, 1);
        timer.set(
            Expiration::IntervalDelayed(at_once, period.into()),
            TimerSetTimeFlags::empty(),
        )?;
        // SAFETY: the timer owns its descriptor, which stays open and the same for as long as it
        // lives.
        let registered =
            unsafe { AsyncFd::register_with_interest(timer.into(), Interest::READABLE) };
        Ok(Self(registered?))
    }

    /// Waits for the next expiry. Several that nobody waited for are one.
    ///
    /// # Errors
    /// When the descriptor cannot be polled or read.
    pub async fn next(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            // The kernel starts the next period when the last expiry is read (`timerfd_read`).
            let read = unistd::read(guard.get_inner(), &mut [0; 8]);
            guard.clear_ready();
            match read {
                Ok(_) => return Ok(()),
                Err(Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_timer_expires_at_once_and_then_once_in_a_period() {
        let period = Duration::from_millis(20);
        let start = Instant::now();
        let timer = Timer::every(period).unwrap();
        timer.next().await.unwrap();
        let first = start.elapsed();
        for _ in 0..5 {
            timer.next().await.unwrap();
        }
        assert!(first < 3 * period, "{first:?}");
        assert!(start.elapsed() > 4 * period);
    }
}
