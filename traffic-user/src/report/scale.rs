//! Round ticks for axes.

use super::number::group;

/// Where an axis has ticks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ticks {
    /// Distance between two of them.
    pub(super) step: f64,
    /// From 0 up, evenly.
    pub(super) values: Vec<f64>,
}

/// Steps in seconds between the decimal ones and whole days.
const CLOCK_STEPS: [f64; 13] = [
    20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 10_800.0, 21_600.0,
    43_200.0,
];
const DAY: f64 = 86_400.0;

/// About `wanted` ticks from 0 to `end` seconds: decimal below 10 s, then by the clock.
pub(super) fn time_ticks(end: f64, wanted: u32) -> Ticks {
    let rough = end / f64::from(wanted);
    let step = if rough <= 10.0 {
        round_up(rough)
    } else {
        CLOCK_STEPS
            .into_iter()
            .find(|&step| step >= rough)
            .unwrap_or_else(|| DAY * round_up(rough / DAY))
    };
    ticks(end, step)
}

/// About `wanted` ticks from 0 to the first round number that is not below `peak`; whole numbers.
pub(super) fn count_ticks(peak: u64, wanted: u32) -> Ticks {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a picture has fewer than 2^53 rows"
    )]
    let peak = peak.max(1) as f64;
    let step = round_up(peak / f64::from(wanted)).max(1.0);
    ticks((peak / step).ceil() * step, step)
}

/// `1,500`, `0.25`: seconds as they stand at a tick, with the clock unit beside long ones.
pub(super) fn time_label(seconds: f64, step: f64) -> String {
    let decimals = if step >= 1.0 {
        0
    } else {
        // At most 9: a step is never below a nanosecond.
        (1..=9)
            .find(|&decimals| (step * 10f64.powi(decimals)).fract().abs() < 1e-6)
            .unwrap_or(9)
            .unsigned_abs() as usize
    };
    let number = group(&format!("{seconds:.decimals$}"));
    match clock(seconds, step) {
        Some(clock) => format!("{number} ({clock})"),
        None => number,
    }
}

/// `950`, `2,500`, `12k`, `1.5M`: a count at a tick.
pub(super) fn count_label(count: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    if count < 10_000.0 {
        return group(&format!("{count:.0}"));
    }
    UNITS
        .into_iter()
        .find(|&(unit, _)| count >= unit)
        .map_or_else(
            || format!("{count:.0}"),
            |(unit, name)| {
                let number = format!("{:.2}", count / unit);
                let number = number.trim_end_matches('0').trim_end_matches('.');
                format!("{}{name}", group(number))
            },
        )
}

/// `5 min`, `2 h`, `3 d`, where steps are whole minutes, hours or days.
fn clock(seconds: f64, step: f64) -> Option<String> {
    [(DAY, "d"), (3600.0, "h"), (60.0, "min")]
        .into_iter()
        .find(|&(unit, _)| seconds >= unit && step >= 300.0 && (seconds % unit) < 0.5)
        .map(|(unit, name)| format!("{:.0} {name}", seconds / unit))
}

/// The smallest 1, 2 or 5 times a power of ten that is not below `value`.
fn round_up(value: f64) -> f64 {
    let value = value.max(1e-9);
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= value * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

fn ticks(end: f64, step: f64) -> Ticks {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few, from 0 up"
    )]
    let last = (end / step * (1.0 + 1e-9)).floor() as u32;
    let values = (0..=last).map(|index| f64::from(index) * step).collect();
    Ticks { step, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_steps_are_round_at_every_length() {
        for (end, step) in [
            (0.01, 0.002),
            (1.0, 0.2),
            (10.0, 2.0),
            (60.0, 10.0),
            (90.0, 20.0),
            (300.0, 60.0),
            (3600.0, 600.0),
            (86_400.0, 21_600.0),
            (30.0 * DAY, 5.0 * DAY),
        ] {
            let ticks = time_ticks(end, 6);
            assert!((ticks.step / step - 1.0).abs() < 1e-9, "{end} s: {ticks:?}");
            assert!((4..=7).contains(&ticks.values.len()), "{end} s: {ticks:?}");
        }
    }

    #[test]
    fn counts_are_whole_and_cover_the_peak() {
        for peak in [0, 1, 2, 3, 7, 99, 1234, 987_654_321, u64::MAX] {
            let ticks = count_ticks(peak, 5);
            assert!(ticks.step.fract() < f64::EPSILON);
            #[expect(clippy::cast_precision_loss, reason = "compared as the axis does")]
            let peak = peak as f64;
            assert!(ticks.values.last().is_some_and(|last| *last >= peak));
            assert!((2..=7).contains(&ticks.values.len()), "{peak}: {ticks:?}");
        }
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(time_label(0.25, 0.05), "0.25");
        assert_eq!(time_label(0.002, 0.002), "0.002");
        assert_eq!(time_label(40.0, 20.0), "40");
        assert_eq!(time_label(0.0, 600.0), "0");
        assert_eq!(time_label(1800.0, 600.0), "1,800 (30 min)");
        assert_eq!(time_label(7200.0, 3600.0), "7,200 (2 h)");
        assert_eq!(time_label(432_000.0, 432_000.0), "432,000 (5 d)");
        assert_eq!(count_label(950.0), "950");
        assert_eq!(count_label(2500.0), "2,500");
        assert_eq!(count_label(12_500.0), "12.5k");
        assert_eq!(count_label(1_500_000.0), "1.5M");
        assert_eq!(count_label(2e19), "20,000,000T");
    }
}
