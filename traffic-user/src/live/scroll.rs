//! The last moments as columns of a chart.

use traffic_ebpf::protocol::Protocol;

use super::view::{LiveReport, Sample};
use crate::report::series::{self, Colour, OTHER};

/// What a chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Window {
    /// The last 30 seconds.
    #[default]
    HalfMinute,
    /// The last two minutes.
    TwoMinutes,
    /// The last ten minutes.
    TenMinutes,
    /// Everything since the capture began.
    Run,
}

impl Window {
    /// What is shown after this.
    pub(super) fn next(self) -> Self {
        match self {
            Self::HalfMinute => Self::TwoMinutes,
            Self::TwoMinutes => Self::TenMinutes,
            Self::TenMinutes => Self::Run,
            Self::Run => Self::HalfMinute,
        }
    }

    /// In a title.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::HalfMinute => "last 30 s",
            Self::TwoMinutes => "last 2 min",
            Self::TenMinutes => "last 10 min",
            Self::Run => "whole run",
        }
    }

    fn ns(self) -> Option<u64> {
        match self {
            Self::HalfMinute => Some(30_000_000_000),
            Self::TwoMinutes => Some(120_000_000_000),
            Self::TenMinutes => Some(600_000_000_000),
            Self::Run => None,
        }
    }
}

/// Columns of a chart, oldest first; the last one may be the present.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Columns {
    /// Most packets first.
    pub(super) layers: Vec<Layer>,
    /// Bits per second.
    pub(super) bps: Vec<f64>,
    /// Whether something was lost.
    pub(super) lost: Vec<bool>,
}

/// One protocol's part of every column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) colour: Colour,
    /// Packets per second.
    pub(super) pps: Vec<f64>,
}

impl Columns {
    /// `count` columns of `window`.
    pub(super) fn new(live: &LiveReport, window: Window, count: usize) -> Self {
        match window.ns() {
            Some(window_ns) => recent(&live.samples, window_ns, count),
            None => whole_run(live, count),
        }
    }

    /// Packets per second of all layers in a column.
    pub(super) fn total(&self, column: usize) -> f64 {
        self.layers.iter().map(|layer| layer.pps[column]).sum()
    }
}

/// Columns end at multiples of their width, so that they move on instead of changing their shape.
fn recent(samples: &[Sample], window_ns: u64, count: usize) -> Columns {
    let width_ns = window_ns / u64::try_from(count.max(1)).unwrap_or(u64::MAX);
    let now_ns = samples.last().map_or(0, |sample| sample.elapsed_ns);
    let last_edge = now_ns / width_ns.max(1);
    let mut columns = Columns {
        layers: layers(count),
        bps: vec![0.0; count],
        lost: vec![false; count],
    };
    for column in 0..count {
        let back = u64::try_from(count - column).unwrap_or(u64::MAX);
        let Some(edge) = (last_edge + 1).checked_sub(back).filter(|edge| *edge > 0) else {
            continue;
        };
        let end = at(samples, edge * width_ns);
        let begin = at(samples, (edge - 1) * width_ns);
        let (Some(begin), Some(end)) = (begin, end) else {
            continue;
        };
        columns.fill(column, &begin, &end, width_ns);
    }
    columns.rank();
    columns
}

impl Columns {
    #[expect(clippy::cast_precision_loss, reason = "a chart for the eye")]
    fn fill(&mut self, column: usize, begin: &Sample, end: &Sample, width_ns: u64) {
        let seconds = width_ns as f64 / 1e9;
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        for protocol in Protocol::all() {
            let index = protocol as usize;
            let pps = rate(end.packets[index], begin.packets[index]);
            let layer = self.layers.iter_mut().find(|l| l.name == name(protocol));
            if let Some(layer) = layer {
                layer.pps[column] += pps;
            }
        }
        self.bps[column] = rate(end.bytes, begin.bytes) * 8.0;
        self.lost[column] = end.lost > begin.lost;
    }

    /// Most packets first, what does not occur left out.
    fn rank(&mut self) {
        let sum = |layer: &Layer| layer.pps.iter().sum::<f64>();
        self.layers.retain(|layer| sum(layer) > 0.0);
        self.layers.sort_by(|a, b| sum(b).total_cmp(&sum(a)));
    }
}

/// Layers without packets, each name once.
fn layers(count: usize) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    for protocol in Protocol::all() {
        let name = name(protocol);
        if layers.iter().all(|layer| layer.name != name) {
            layers.push(Layer {
                name: name.to_owned(),
                colour: series::colour_of_name(name),
                pps: vec![0.0; count],
            });
        }
    }
    layers
}

fn name(protocol: Protocol) -> &'static str {
    if protocol.is_numbered() {
        OTHER
    } else {
        protocol.label()
    }
}

/// What was counted up to `ns`, in proportion between two samples; `None` before the first.
fn at(samples: &[Sample], ns: u64) -> Option<Sample> {
    let after = samples.partition_point(|sample| sample.elapsed_ns < ns);
    let end = samples.get(after).or(samples.last())?;
    if end.elapsed_ns <= ns {
        return Some(*end);
    }
    let begin = samples.get(after.checked_sub(1)?)?;
    let between = |from: u64, to: u64| {
        let share = u128::from(to.saturating_sub(from)) * u128::from(ns - begin.elapsed_ns)
            / u128::from(end.elapsed_ns - begin.elapsed_ns);
        from + u64::try_from(share).unwrap_or(u64::MAX)
    };
    let mut sample = Sample {
        elapsed_ns: ns,
        bytes: between(begin.bytes, end.bytes),
        lost: begin.lost,
        ..Sample::ZERO
    };
    for (index, packets) in sample.packets.iter_mut().enumerate() {
        *packets = between(begin.packets[index], end.packets[index]);
    }
    Some(sample)
}

/// Bins of the report, each as many columns as fit.
#[expect(clippy::cast_precision_loss, reason = "a chart for the eye")]
fn whole_run(live: &LiveReport, count: usize) -> Columns {
    let timeline = &live.report.timeline;
    let bins = timeline.bins.len();
    if bins == 0 {
        return recent(&[], 1, count);
    }
    let bin = |column: usize| column * bins / count.max(1);
    let spread = |values: &[u64], factor: f64| -> Vec<f64> {
        let value = |column| values.get(bin(column)).copied().unwrap_or(0) as f64;
        let seconds = timeline.bin_seconds.max(f64::MIN_POSITIVE);
        (0..count)
            .map(|column| value(column) * factor / seconds)
            .collect()
    };
    let layers = series::of(&live.report).into_iter().map(|series| Layer {
        pps: spread(&series.bins, 1.0),
        name: series.name,
        colour: series.colour,
    });
    Columns {
        layers: layers.collect(),
        bps: spread(&timeline.bytes, 8.0),
        lost: (0..count)
            .map(|column| timeline.lost.get(bin(column)).is_some_and(|lost| *lost > 0))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_hold_what_was_counted_in_their_time() {
        let samples: Vec<_> = (0..=40)
            .map(|quarter| sample(quarter * 250, quarter * 25))
            .collect();
        let columns = recent(&samples, 10_000_000_000, 10);
        assert_eq!(columns.layers.len(), 1);
        assert_eq!(columns.layers[0].name, "tcp");
        assert_eq!(columns.layers[0].pps, [100.0; 10]);
        assert_eq!(columns.bps, [48_000.0; 10]);
    }

    #[test]
    fn columns_before_the_beginning_are_empty() {
        let samples = [Sample::ZERO, sample(1000, 50), sample(2000, 100)];
        let columns = recent(&samples, 4_000_000_000, 4);
        assert_eq!(columns.layers[0].pps, [0.0, 0.0, 50.0, 50.0]);
    }

    #[test]
    fn unfinished_columns_wait() {
        let samples = [Sample::ZERO, sample(1900, 190)];
        let columns = recent(&samples, 4_000_000_000, 4);
        assert_eq!(columns.layers[0].pps, [0.0, 0.0, 0.0, 100.0]);
    }

    #[test]
    fn losses_are_marked_where_they_were_noticed() {
        let mut lossy = sample(2000, 20);
        lossy.lost = 7;
        let columns = recent(&[Sample::ZERO, sample(1000, 10), lossy], 2_000_000_000, 2);
        assert_eq!(columns.lost, [false, true]);
    }

    fn sample(ms: u64, packets: u64) -> Sample {
        let mut sample = Sample {
            elapsed_ns: ms * 1_000_000,
            bytes: packets * 60,
            ..Sample::ZERO
        };
        sample.packets[Protocol::Tcp as usize] = packets;
        sample
    }
}
