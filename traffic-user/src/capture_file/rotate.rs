//! When a capture file is left for the next one. Times and sizes are arguments.

use jiff::Zoned;

/// When a file is left. Without any limit it never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Before the frame that finds the file longer than this.
    pub bytes: Option<u64>,
    /// When it has so many frames.
    pub frames: Option<u64>,
    /// When its time is over.
    pub period: Option<Period>,
}

/// How long a file lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Length in seconds; at least 1.
    pub seconds: u32,
    /// Periods end where the local time of day is a multiple of their length; otherwise the first
    /// one begins with the capture.
    pub aligned: bool,
}

/// What is to be done with the file at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with it.
    Stay,
    /// Begin the next one.
    Switch,
    /// It was the last: end the capture.
    Stop,
}

/// Decides when to leave a file.
#[derive(Clone, Debug)]
pub struct Rotation {
    limits: Limits,
    /// Files left until the capture ends, this one included.
    files_left: Option<u32>,
    /// When the period of the file ends, nanoseconds since the Unix epoch.
    end_ns: u64,
}

impl Rotation {
    /// Begins the first file at `now`. With `files` the capture ends with so many.
    #[must_use]
    pub fn begin(limits: Limits, files: Option<u32>, now: &Zoned) -> Self {
        let mut rotation = Self {
            limits,
            files_left: files,
            end_ns: nanoseconds(now),
        };
        rotation.end_ns = rotation.end_after(now);
        rotation
    }

    /// When the period of the file at hand ends, nanoseconds since the Unix epoch.
    pub(super) fn end_ns(&self) -> u64 {
        self.end_ns
    }

    /// Whether there is anything that ends a file.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limits != Limits::default()
    }

    /// What to do before a frame with this time, where the file has so many bytes and frames.
    #[inline]
    #[must_use]
    pub fn before_frame(&self, time_ns: u64, bytes: u64, frames: u64) -> Verdict {
        if time_ns >= self.end_ns || self.is_full(bytes, frames) {
            self.leave()
        } else {
            Verdict::Stay
        }
    }

    /// What to do at `time_ns` where no frame waits: a file that is full is left only for a frame.
    #[must_use]
    pub fn without_frame(&self, time_ns: u64, bytes: u64, frames: u64) -> Verdict {
        let verdict = self.before_frame(time_ns, bytes, frames);
        if verdict == Verdict::Switch && time_ns < self.end_ns {
            Verdict::Stay
        } else {
            verdict
        }
    }

    /// Begins the next file at `now`.
    pub fn switch(&mut self, now: &Zoned) {
        self.files_left = self.files_left.map(|files| files.saturating_sub(1));
        self.end_ns = self.end_after(now);
    }

    /// Goes on with the same period after the clock was set by `step_ns`, and it is `now`.
    pub fn clock_was_set(&mut self, step_ns: i64, now: &Zoned) {
        match self.limits.period {
            None => {}
            Some(period) if period.aligned => self.end_ns = self.end_after(now),
            Some(_) => self.end_ns = self.end_ns.saturating_add_signed(step_ns),
        }
    }

    fn is_full(&self, bytes: u64, frames: u64) -> bool {
        self.limits.bytes.is_some_and(|limit| bytes > limit)
            || self.limits.frames.is_some_and(|limit| frames >= limit)
    }

    fn leave(&self) -> Verdict {
        if self.files_left.is_some_and(|files| files <= 1) {
            Verdict::Stop
        } else {
            Verdict::Switch
        }
    }

    /// The first end of a period after `now`. Ends that passed without a file are left out.
    fn end_after(&self, now: &Zoned) -> u64 {
        let Some(period) = self.limits.period else {
            return u64::MAX;
        };
        let length_ns = u64::from(period.seconds) * 1_000_000_000;
        let now_ns = nanoseconds(now);
        let since_ns = if period.aligned {
            let offset_ns = i64::from(now.offset().seconds()) * 1_000_000_000;
            now_ns.saturating_add_signed(offset_ns) % length_ns
        } else {
            // `end_ns` is the end of the last period, or the beginning of the first.
            now_ns.saturating_sub(self.end_ns) % length_ns
        };
        now_ns + (length_ns - since_ns)
    }
}

/// Nanoseconds since the Unix epoch.
pub(super) fn nanoseconds(time: &Zoned) -> u64 {
    u64::try_from(time.timestamp().as_nanosecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, tz::TimeZone};
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: i64) -> Zoned {
        Timestamp::from_second(seconds)
            .unwrap()
            .to_zoned(TimeZone::UTC)
    }

    fn every(seconds: u32, aligned: bool) -> Limits {
        Limits {
            period: Some(Period { seconds, aligned }),
            ..Limits::default()
        }
    }

    #[test]
    fn a_clock_that_is_set_by_an_hour_neither_lengthens_nor_splits_a_file() {
        for (aligned, end) in [(true, 120), (false, 160)] {
            for hour in [3600, -3600_i64] {
                let begun = 36_000 + 100;
                let mut rotation = Rotation::begin(every(60, aligned), None, &at(begun));
                let set = begun + 10 + hour;
                rotation.clock_was_set(hour * 1_000_000_000, &at(set));
                let end = u64::try_from(36_000 + end + hour).unwrap() * SECOND;
                assert_eq!(rotation.before_frame(end - 1, 0, 0), Verdict::Stay);
                assert_eq!(rotation.before_frame(end, 0, 0), Verdict::Switch);
            }
        }
    }

    #[test]
    fn aligned_periods_follow_local_time() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let now = Timestamp::from_second(3600).unwrap().to_zoned(zone);
        let rotation = Rotation::begin(every(86_400, true), None, &now);
        assert_eq!(rotation.end_ns, 22 * 3600 * SECOND);
    }

    #[test]
    fn full_files_wait_for_a_frame() {
        let limits = Limits {
            bytes: Some(100),
            ..Limits::default()
        };
        let rotation = Rotation::begin(limits, None, &at(5));
        assert_eq!(rotation.before_frame(0, 100, 1), Verdict::Stay);
        assert_eq!(rotation.before_frame(0, 101, 1), Verdict::Switch);
        assert_eq!(rotation.without_frame(0, 101, 1), Verdict::Stay);
        let last = Rotation::begin(limits, Some(1), &at(5));
        assert_eq!(last.without_frame(0, 101, 1), Verdict::Stop);
    }

    proptest! {
        /// Whenever switches happen, periods end on the grid, after now, and at most a period on.
        #[test]
        fn periods_do_not_drift(
            seconds in 1u32..100_000,
            aligned in any::<bool>(),
            start in 0i64..4_000_000_000,
            delays in prop::collection::vec(0i64..300_000, 1..50),
        ) {
            let mut now = start;
            let mut rotation = Rotation::begin(every(seconds, aligned), None, &at(now));
            let length = i64::from(seconds);
            for delay in delays {
                let end = i64::try_from(rotation.end_ns / SECOND).unwrap();
                prop_assert!(now < end && end <= now + length);
                let origin = if aligned { 0 } else { start };
                prop_assert_eq!((end - origin) % length, 0);
                now = end + delay;
                rotation.switch(&at(now));
            }
        }

        /// Every frame lands in exactly one file, files are never longer than the limit allows,
        /// and a capture of a limited number of files ends.
        #[test]
        fn frames_are_neither_lost_nor_doubled(
            sizes in prop::collection::vec(1u64..500, 1..200),
            bytes in prop::option::of(1u64..2_000),
            frames in prop::option::of(1u64..20),
            stop in prop::option::of(1u32..5),
        ) {
            let limits = Limits { bytes, frames, period: None };
            let mut rotation = Rotation::begin(limits, stop, &at(0));
            let mut files = vec![(0, 0)];
            let mut stopped = false;
            for size in &sizes {
                let (len, count) = *files.last().unwrap();
                match rotation.before_frame(1, len, count) {
                    Verdict::Stay => {}
                    Verdict::Switch => { rotation.switch(&at(1)); files.push((0, 0)); }
                    Verdict::Stop => stopped = true,
                }
                let file = files.last_mut().unwrap();
                *file = (file.0 + size, file.1 + 1);
                prop_assert!(stopped || bytes.is_none_or(|limit| file.0 <= limit + size));
                prop_assert!(stopped || frames.is_none_or(|limit| file.1 <= limit));
            }
            let total: u64 = files.iter().map(|file| file.1).sum();
            prop_assert_eq!(total, sizes.len() as u64);
            prop_assert!(stop.is_none_or(|stop| files.len() <= stop as usize));
        }
    }
}
