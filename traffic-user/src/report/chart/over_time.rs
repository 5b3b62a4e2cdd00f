//! Histogram and throughput: the timeline from left to right.

use plotters::prelude::*;

use super::pen::{Axis, AxisNames, Drawn, Pen, Plot, Sheet, paint};
use crate::report::{
    Report, Timeline,
    number::{percent, printable},
    scale::{count_label, count_ticks, time_label, time_ticks},
    series::{self, Colour, Series},
};

/// Room of a tick's label; longer runs have the clock unit beside the seconds.
const LABEL_WIDTH: u32 = 120;
const LONG_LABEL_WIDTH: u32 = 150;
const LONG_S: f64 = 1500.0;
const LABEL_HEIGHT: u32 = 80;
/// For what has no protocol.
const PLAIN: Colour = Colour(0x00, 0x72, 0xB2);

/// Packets per bin, stacked by protocol, below the sheet's top.
pub(super) fn histogram<B: DrawingBackend>(sheet: &Sheet<'_, B>, report: &Report) -> Drawn<B> {
    let series = series::of(report);
    let sheet = sheet.with_legend(&legend(sheet.pen, report, &series))?;
    let names = AxisNames {
        x: "Time Since Start (seconds)",
        y: "Number of Packets",
    };
    bars(&sheet, &report.timeline, &series, &names)
}

/// Bits per second in each bin, below the sheet's top.
pub(super) fn throughput<B: DrawingBackend>(sheet: &Sheet<'_, B>, report: &Report) -> Drawn<B> {
    let sheet = sheet.with_legend(&legend(sheet.pen, report, &[]))?;
    let bins = bits_per_second(&report.timeline);
    let series = [Series {
        name: String::new(),
        colour: PLAIN,
        packets: 0,
        bytes: Vec::new(),
        bins,
    }];
    let names = AxisNames {
        x: "Time Since Start (seconds)",
        y: "Bits per Second",
    };
    bars(&sheet, &report.timeline, &series, &names)
}

/// Length of the timeline in seconds; an axis cannot be empty.
pub(super) fn end_of(timeline: &Timeline) -> f64 {
    let (end, _) = span(timeline.bins.len(), timeline.bin_seconds);
    if end > 0.0 && end.is_finite() {
        end
    } else {
        1.0
    }
}

fn legend(pen: &Pen, report: &Report, series: &[Series]) -> Vec<(String, RGBAColor)> {
    let timeline = &report.timeline;
    let total = timeline.bins.iter().sum();
    let mut entries: Vec<_> = series
        .iter()
        .map(|layer| {
            let share = percent(layer.packets, total);
            let label = format!("{} {share}", printable(&layer.name));
            (label, paint(layer.colour).to_rgba())
        })
        .collect();
    if timeline.lost.iter().any(|&lost| lost > 0) {
        let note = "summaries lost here, bars are exact".to_owned();
        entries.push((note, pen.colours.loss));
    }
    entries
}

fn bars<B: DrawingBackend>(
    &Sheet { pen, area, top }: &Sheet<'_, B>,
    timeline: &Timeline,
    series: &[Series],
    names: &AxisNames,
) -> Drawn<B> {
    let (_, area) = area.split_vertically(top * pen.fine);
    let end = end_of(timeline);
    let label_width = if end < LONG_S {
        LABEL_WIDTH
    } else {
        LONG_LABEL_WIDTH
    };
    let (width, height) = pen.size(&area);
    let x = Axis {
        end,
        ticks: time_ticks(end, (width / label_width).max(2)),
        label: time_label,
    };
    let ticks = count_ticks(peak(series), (height / LABEL_HEIGHT).max(2));
    let y_end = ticks.values.last().copied().unwrap_or(1.0);
    let y = Axis {
        end: y_end,
        ticks,
        label: |value, _| count_label(value),
    };
    let mut chart = pen.plot(&area, (x, y), label_width)?;
    shade_losses(pen, &mut chart, timeline, y_end)?;
    pen.mesh(&mut chart, names)?;
    stacks(pen, &mut chart, timeline, series, y_end)?;
    if peak(series) == 0 {
        pen.nothing(&chart.plotting_area().strip_coord_spec())?;
    }
    Ok(())
}

fn stacks<B: DrawingBackend>(
    pen: &Pen,
    chart: &mut Plot<'_, B>,
    timeline: &Timeline,
    series: &[Series],
    y_end: f64,
) -> Drawn<B> {
    let (width, height) = chart.plotting_area().dim_in_pixel();
    let pixel_s = end_of(timeline) / f64::from(width.max(1)) * f64::from(pen.fine);
    let gap = if timeline.bin_seconds > 4.0 * pixel_s {
        pixel_s
    } else {
        0.0
    };
    // A single packet beside a huge peak still shows.
    let least = y_end / f64::from(height.max(1)) * f64::from(pen.fine) * 1.5;
    for bin in 0..timeline.bins.len() {
        let (left, right) = span(bin, timeline.bin_seconds);
        for (colour, from, to) in stack(series, bin, least) {
            let corners = [(left + gap / 2.0, from), (right - gap / 2.0, to)];
            chart.draw_series([Rectangle::new(corners, paint(colour).filled())])?;
        }
    }
    Ok(())
}

/// Shades bins whose summaries did not all arrive.
fn shade_losses<B: DrawingBackend>(
    pen: &Pen,
    chart: &mut Plot<'_, B>,
    timeline: &Timeline,
    y_end: f64,
) -> Drawn<B> {
    for bin in (0..timeline.bins.len()).filter(|&bin| timeline.lost.get(bin) > Some(&0)) {
        let (left, right) = span(bin, timeline.bin_seconds);
        let corners = [(left, 0.0), (right, y_end)];
        chart.draw_series([Rectangle::new(corners, pen.colours.loss.filled())])?;
    }
    Ok(())
}

/// Colour, foot and head of what is drawn in a bin, from the bottom up; a bin with packets is at
/// least `least` high.
fn stack(series: &[Series], bin: usize, least: f64) -> Vec<(Colour, f64, f64)> {
    #![expect(clippy::cast_precision_loss, reason = "pixels are coarser")]
    let total = height_of(series, bin);
    let stretch = (least / (total.max(1) as f64)).max(1.0);
    let mut foot = 0;
    let mut layers = Vec::with_capacity(series.len());
    for layer in series.iter().filter(|layer| layer.bins[bin] > 0) {
        let head = foot + layer.bins[bin];
        layers.push((layer.colour, foot as f64 * stretch, head as f64 * stretch));
        foot = head;
    }
    layers
}

fn peak(series: &[Series]) -> u64 {
    let bins = series.first().map_or(0, |layer| layer.bins.len());
    (0..bins)
        .map(|bin| height_of(series, bin))
        .max()
        .unwrap_or(0)
}

fn height_of(series: &[Series], bin: usize) -> u64 {
    series.iter().map(|layer| layer.bins[bin]).sum()
}

/// Start and end of a bin in seconds.
fn span(bin: usize, bin_seconds: f64) -> (f64, f64) {
    #![expect(clippy::cast_precision_loss, reason = "a thousand bins")]
    (bin as f64 * bin_seconds, (bin + 1) as f64 * bin_seconds)
}

fn bits_per_second(timeline: &Timeline) -> Vec<u64> {
    #![expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "pixels are coarser, and rates are positive"
    )]
    let mut bits: Vec<u64> = timeline
        .bytes
        .iter()
        .map(|&bytes| (bytes as f64 * 8.0 / timeline.bin_seconds.max(1e-9)).round() as u64)
        .collect();
    bits.resize(timeline.bins.len(), 0);
    bits
}
