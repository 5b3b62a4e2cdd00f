//! From the kernel's monotonic time stamps to wall-clock time.

use std::{
    collections::VecDeque,
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::OnceLock,
};

/// The clock of `bpf_ktime_get_ns` in nanoseconds: `CLOCK_MONOTONIC` outside of time namespaces.
pub(super) fn monotonic_ns() -> u64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    let offset = *OFFSET.get_or_init(|| {
        let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        monotonic_offset_ns(&offsets).unwrap_or(0)
    });
    read(libc::CLOCK_MONOTONIC).wrapping_sub(offset.cast_unsigned())
}

/// What this process's time namespace adds to `CLOCK_MONOTONIC`, and not to the clock of programs
/// in the kernel (`time_namespaces(7)`, Linux 5.6; before, there is no such file).
fn monotonic_offset_ns(offsets: &str) -> Option<i64> {
    let line = offsets
        .lines()
        .find_map(|line| line.strip_prefix("monotonic"))?;
    let mut numbers = line.split_whitespace().map(str::parse::<i64>);
    let (seconds, nanoseconds) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Wall-clock time minus monotonic time, now. Several tries; the one that took least counts.
fn offset_ns() -> i64 {
    let tries = (0..8).map(|_| {
        let before = monotonic_ns();
        let wall = read(libc::CLOCK_REALTIME);
        let after = monotonic_ns();
        let middle = before.midpoint(after);
        (after - before, wall.cast_signed() - middle.cast_signed())
    });
    tries.min().map_or(0, |(_, offset)| offset)
}

/// Nanoseconds that the machine has been asleep since it booted: `CLOCK_BOOTTIME` goes on then, and
/// `CLOCK_MONOTONIC` does not. What a time namespace adds to either stays the same.
fn asleep_ns() -> i64 {
    let monotonic_ns = read(libc::CLOCK_MONOTONIC);
    read(libc::CLOCK_BOOTTIME).cast_signed() - monotonic_ns.cast_signed()
}

/// How the wall clock moved against the clock of time stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// Nanoseconds that it was set by, or went on while the machine slept.
    pub step_ns: i64,
    /// Nanoseconds of sleep; 0 when the clock was set.
    pub slept_ns: u64,
}

/// The two clocks are read one after the other: less than this is no sleep.
const SHORTEST_SLEEP_NS: i64 = 1_000_000;

/// Wall-clock offsets, each with the monotonic moment from which it holds. Slewing by NTP and
/// steps give new ones; time stamps from before keep theirs.
pub(super) struct WallClock {
    offsets: VecDeque<(u64, i64)>,
    asleep_ns: i64,
    step: Option<StepWatch>,
}

/// Offsets remembered: time stamps are at most a few seconds old when they are read.
const REMEMBERED: usize = 64;
/// How often the offset is measured, to follow slewing.
const REFRESH_NS: u64 = 1_000_000_000;

impl WallClock {
    pub(super) fn new() -> Self {
        Self {
            offsets: VecDeque::from([(monotonic_ns(), offset_ns())]),
            asleep_ns: asleep_ns(),
            step: StepWatch::new()
                .inspect_err(|error| log::warn!("steps of the clock go unnoticed: {error}"))
                .ok(),
        }
    }

    /// Follows the clock; call it on every tick. Returns the step when the clock was set, or the
    /// machine slept, since the last call.
    pub(super) fn tick(&mut self) -> Option<ClockStep> {
        let now = monotonic_ns();
        let stepped = self.step.as_ref().is_some_and(StepWatch::stepped);
        let (from, before) = self.offsets.back().copied().unwrap_or_default();
        if !stepped && now < from + REFRESH_NS {
            return None;
        }
        let offset = offset_ns();
        if self.offsets.len() == REMEMBERED {
            self.offsets.pop_front();
        }
        self.offsets.push_back((now, offset));
        stepped.then(|| ClockStep {
            step_ns: offset - before,
            slept_ns: self.take_sleep_ns(),
        })
    }

    fn take_sleep_ns(&mut self) -> u64 {
        let before = std::mem::replace(&mut self.asleep_ns, asleep_ns());
        let slept = Some(self.asleep_ns - before).filter(|slept| *slept >= SHORTEST_SLEEP_NS);
        slept.map_or(0, i64::unsigned_abs)
    }

    /// Wall-clock time minus monotonic time, in nanoseconds, for time stamps from now on.
    pub(super) fn offset_ns(&self) -> i64 {
        self.offsets.back().map_or(0, |&(_, offset)| offset)
    }

    /// Nanoseconds since the Unix epoch of a monotonic time stamp.
    pub(super) fn wall_ns(&self, monotonic_ns: u64) -> u64 {
        let offset = self
            .offsets
            .iter()
            .rev()
            .find(|&&(from, _)| from <= monotonic_ns)
            .or_else(|| self.offsets.front())
            .map_or(0, |&(_, offset)| offset);
        monotonic_ns.saturating_add_signed(offset)
    }
}

/// A timer that the kernel cancels when the wall clock is set (`timerfd_create(2)`).
struct StepWatch(OwnedFd);

impl StepWatch {
    fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked below.
        let fd = unsafe {
            libc::timerfd_create(libc::CLOCK_REALTIME, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nothing else owns.
        let watch = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        watch.arm()?;
        Ok(watch)
    }

    /// Arms the timer for a day that does not come.
    fn arm(&self) -> io::Result<()> {
        let never = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: libc::timespec {
                tv_sec: libc::time_t::MAX / 4_000_000_000,
                tv_nsec: 0,
            },
        };
        let flags = libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET;
        // SAFETY: `never` is valid for the call; the old value is not asked for.
        let result = unsafe {
            libc::timerfd_settime(
                self.0.as_raw_fd(),
                flags,
                &raw const never,
                std::ptr::null_mut(),
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Whether the clock was set since the last call.
    fn stepped(&self) -> bool {
        let mut expirations = [0u8; 8];
        // SAFETY: the buffer has the eight bytes that the call writes.
        let read = unsafe {
            libc::read(
                self.0.as_raw_fd(),
                expirations.as_mut_ptr().cast(),
                expirations.len(),
            )
        };
        let cancelled =
            read < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ECANCELED);
        if cancelled && let Err(error) = self.arm() {
            log::warn!("steps of the clock go unnoticed from now on: {error}");
        }
        cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_read() {
        let offsets = "monotonic     -86400         5\nboottime             7         0\n";
        assert_eq!(monotonic_offset_ns(offsets), Some(-86_399_999_999_995));
        assert_eq!(monotonic_offset_ns(""), None);
    }

    #[test]
    fn time_stamps_follow_a_clock_that_is_set_by_an_hour_both_ways() {
        const HOUR: i64 = 3_600_000_000_000;
        let clock = WallClock {
            offsets: VecDeque::from([(0, HOUR), (1_000, 2 * HOUR), (2_000, 0)]),
            asleep_ns: 0,
            step: None,
        };
        let wall = [500, 1_500, 2_500].map(|time| clock.wall_ns(time).cast_signed());
        assert_eq!(wall, [HOUR + 500, 2 * HOUR + 1_500, 2_500]);
    }

    #[test]
    fn sleep_is_told_from_a_clock_that_was_set() {
        let mut clock = WallClock::new();
        assert_eq!(clock.take_sleep_ns(), 0);
        clock.asleep_ns -= 3_000_000_000;
        let slept_ns = clock.take_sleep_ns();
        assert!(
            (2_999_000_000..3_001_000_000).contains(&slept_ns),
            "{slept_ns}"
        );
        assert_eq!(clock.take_sleep_ns(), 0);
    }

    #[test]
    fn time_stamps_keep_the_offset_of_their_time() {
        let clock = WallClock {
            offsets: VecDeque::from([(100, 1_000), (200, 5_000)]),
            asleep_ns: 0,
            step: None,
        };
        assert_eq!(clock.wall_ns(50), 1_050);
        assert_eq!(clock.wall_ns(199), 1_199);
        assert_eq!(clock.wall_ns(200), 5_200);
    }
}
