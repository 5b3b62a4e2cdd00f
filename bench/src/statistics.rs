//! Medians, and how sure they are.

use serde::Serialize;

/// A median with its bootstrap 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Samples drawn for an interval.
const RESAMPLES: usize = 2000;

impl Estimate {
    /// Of `values`; `None` without any.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let median = median(values)?;
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .filter_map(|_| {
                let drawn: Vec<f64> = (0..values.len())
                    .map(|_| values[random.below(values.len())])
                    .collect();
                self::median(&drawn)
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        Some(Self {
            median,
            low: medians[RESAMPLES / 40],
            high: medians[RESAMPLES - 1 - RESAMPLES / 40],
        })
    }

    /// What can be said of the goal to reach at least `bound`.
    pub(crate) fn against_least(&self, bound: f64) -> &'static str {
        if self.low >= bound {
            "met"
        } else if self.high < bound {
            "missed"
        } else {
            "undecided"
        }
    }

    /// What can be said of the goal to stay at or below `bound`.
    pub(crate) fn against_most(&self, bound: f64) -> &'static str {
        if self.high <= bound {
            "met"
        } else if self.low > bound {
            "missed"
        } else {
            "undecided"
        }
    }

    /// `0.98 (0.95–1.01)`.
    pub(crate) fn text(&self, digits: usize) -> String {
        let Self { median, low, high } = self;
        format!("{median:.digits$} ({low:.digits$}–{high:.digits$})")
    }
}

/// The value in the middle; `None` without any.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(lower.midpoint(upper))
}

/// Xorshift, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_lie_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn intervals_hold_the_median_and_narrow_with_agreement() {
        let wide = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert!(wide.low <= wide.median && wide.median <= wide.high);
        assert!(wide.low < wide.high);
        let sure = Estimate::of(&[2.0; 5]).unwrap();
        assert_eq!((sure.low, sure.median, sure.high), (2.0, 2.0, 2.0));
    }
}
