//! The time in front of a line.

use jiff::{Timestamp, tz::TimeZone};

use super::put;

/// How times are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeStyle {
    /// Local time of day.
    #[default]
    TimeOfDay,
    /// Not at all: `-t`.
    None,
    /// Seconds since the Unix epoch: `-tt`.
    Epoch,
    /// Since the packet before: `-ttt`.
    SincePrevious,
    /// Local date and time: `-tttt`.
    Date,
    /// Since the first packet: `-ttttt`.
    SinceFirst,
}

impl TimeStyle {
    /// The style for so many `-t`.
    #[must_use]
    pub fn from_count(count: u8) -> Self {
        match count {
            0 => Self::TimeOfDay,
            1 => Self::None,
            2 => Self::Epoch,
            3 => Self::SincePrevious,
            4 => Self::Date,
            _ => Self::SinceFirst,
        }
    }
}

/// Shows times, one packet's after the other.
#[derive(Debug)]
pub(super) struct Times {
    style: TimeStyle,
    zone: TimeZone,
    first_ns: Option<u64>,
    previous_ns: Option<u64>,
}

impl Times {
    pub(super) fn new(style: TimeStyle, zone: TimeZone) -> Self {
        Self {
            style,
            zone,
            first_ns: None,
            previous_ns: None,
        }
    }

    pub(super) fn put(&mut self, time_ns: u64, out: &mut String) {
        let first_ns = *self.first_ns.get_or_insert(time_ns);
        let previous_ns = self.previous_ns.replace(time_ns).unwrap_or(time_ns);
        match self.style {
            TimeStyle::None => {}
            TimeStyle::TimeOfDay => put!(out, "{} ", self.local(time_ns, "%H:%M:%S%.6f")),
            TimeStyle::Date => put!(out, "{} ", self.local(time_ns, "%F %H:%M:%S%.6f")),
            TimeStyle::Epoch => {
                let micros = time_ns / 1000;
                put!(out, "{}.{:06} ", micros / 1_000_000, micros % 1_000_000);
            }
            TimeStyle::SincePrevious => put_since(previous_ns, time_ns, out),
            TimeStyle::SinceFirst => put_since(first_ns, time_ns, out),
        }
    }

    fn local(&self, time_ns: u64, format: &str) -> String {
        let time = Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or_default();
        let zoned = time.to_zoned(self.zone.clone());
        zoned.strftime(format).to_string()
    }
}

fn put_since(before_ns: u64, time_ns: u64, out: &mut String) {
    let sign = if time_ns < before_ns { '-' } else { ' ' };
    let micros = time_ns.abs_diff(before_ns) / 1000;
    let seconds = micros / 1_000_000;
    put!(
        out,
        "{sign}{:02}:{:02}:{:02}.{:06} ",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros % 1_000_000
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_of_time() {
        let day = 1_700_000_000_123_456_789;
        let shown = |style| {
            let mut times = Times::new(style, TimeZone::UTC);
            let mut out = String::new();
            for time in [day, day + 1_500_000_000, day + 1_250_000_000] {
                times.put(time, &mut out);
            }
            out
        };
        assert_eq!(
            shown(TimeStyle::TimeOfDay),
            "22:13:20.123456 22:13:21.623456 22:13:21.373456 "
        );
        assert_eq!(shown(TimeStyle::from_count(1)), "");
        assert_eq!(
            shown(TimeStyle::from_count(2)),
            "1700000000.123456 1700000001.623456 1700000001.373456 "
        );
        assert_eq!(
            shown(TimeStyle::from_count(3)),
            " 00:00:00.000000  00:00:01.500000 -00:00:00.250000 "
        );
        assert!(shown(TimeStyle::from_count(4)).starts_with("2023-11-14 22:13:20.123456 "));
        assert!(shown(TimeStyle::from_count(5)).ends_with(" 00:00:01.250000 "));
    }
}
