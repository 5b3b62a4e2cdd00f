//! The page's own histogram: complete without scripts, and the data that the script redraws.

use std::fmt::Write as _;

use serde::Serialize;

use super::Escaped;
use crate::report::{
    Report,
    number::{bytes, count, counted, percent, printable, seconds},
    scale::{Ticks, count_label, count_ticks, time_label, time_ticks},
    series::{self, Series},
};

/// Lengths in CSS pixels; across, everything is in percent, so that it fits any screen.
const TOP: f64 = 8.0;
const PLOT_HEIGHT: f64 = 260.0;
const HEIGHT: f64 = 296.0;
const AXIS_WIDTH: f64 = 52.0;
/// Few enough for a phone, where labels of long runs also have a clock unit.
const TIME_TICKS: u32 = 5;
const LONG_TIME_TICKS: u32 = 2;
const LONG: f64 = 1500.0;
const COUNT_TICKS: u32 = 5;
/// From this many bins on, bars touch.
const NO_GAPS: usize = 200;

/// The figure as HTML, legend included.
pub(super) fn html(report: &Report, series: &[Series]) -> String {
    let scene = Scene::new(report, series);
    format!(
        r#"<figure id="chart">
<ul class="legend">{}</ul>
<p class="axis-name">Number of Packets{}</p>
<div class="plot"><svg class="y" width="{AXIS_WIDTH}" height="{HEIGHT}" aria-hidden="true">{}</svg><svg class="bars" width="100%" height="{HEIGHT}" role="img" aria-label="Packets over time, stacked by protocol">{}{}{}{}</svg></div>
<figcaption class="axis-name">Time Since Start (seconds)</figcaption>
</figure>
"#,
        scene.legend(),
        if report.sampled.is_some() {
            " (estimated)"
        } else {
            ""
        },
        scene.count_axis(),
        scene.grid(),
        scene.losses(),
        scene.bars(),
        scene.time_axis(),
    )
}

/// The timeline as JSON that may stand inside a `script` element.
pub(super) fn data(report: &Report, series: &[Series]) -> String {
    let timeline = &report.timeline;
    let data = Data {
        start: timeline.start.as_deref().map(printable),
        bin_seconds: timeline.bin_seconds,
        bins: &timeline.bins,
        bytes: &timeline.bytes,
        lost: &timeline.lost,
        series: series
            .iter()
            .map(|layer| Layer {
                name: printable(&layer.name),
                colour: layer.colour.to_string(),
                bins: &layer.bins,
                bytes: &layer.bytes,
            })
            .collect(),
    };
    let json = serde_json::to_string(&data).expect("maps with string keys always serialise");
    script_safe(&json)
}

/// `json` without what could end a `script` element or a line of script. Outside strings JSON has
/// none of these characters, and inside strings an escape means the same.
fn script_safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out
}

#[derive(Serialize)]
struct Data<'a> {
    start: Option<String>,
    bin_seconds: f64,
    bins: &'a [u64],
    bytes: &'a [u64],
    lost: &'a [u64],
    series: Vec<Layer<'a>>,
}

#[derive(Serialize)]
struct Layer<'a> {
    name: String,
    colour: String,
    bins: &'a [u64],
    bytes: &'a [u64],
}

struct Scene<'a> {
    report: &'a Report,
    series: &'a [Series],
    time: Ticks,
    counts: Ticks,
    /// Seconds.
    end: f64,
    /// Packets at the upper edge.
    top: f64,
}

impl<'a> Scene<'a> {
    #[expect(clippy::cast_precision_loss, reason = "a thousand bins")]
    fn new(report: &'a Report, series: &'a [Series]) -> Self {
        let timeline = &report.timeline;
        let end = (timeline.bins.len() as f64 * timeline.bin_seconds).max(f64::MIN_POSITIVE);
        let peak = timeline.bins.iter().copied().max().unwrap_or(0);
        let counts = count_ticks(peak, COUNT_TICKS);
        let wanted = if end < LONG {
            TIME_TICKS
        } else {
            LONG_TIME_TICKS
        };
        Self {
            report,
            series,
            time: time_ticks(end, wanted),
            top: counts.values.last().copied().unwrap_or(1.0),
            counts,
            end,
        }
    }

    fn legend(&self) -> String {
        let total = self.report.timeline.bins.iter().sum();
        let mut out = String::new();
        for (index, layer) in self.series.iter().enumerate() {
            let _ = write!(
                out,
                r#"<li data-series="{index}">{} {} <b>{}</b></li>"#,
                swatch(layer.colour),
                Escaped(&layer.name),
                percent(layer.packets, total).replace('<', "&lt;"),
            );
        }
        if self.report.timeline.lost.iter().any(|&lost| lost > 0) {
            out.push_str(r#"<li><svg class="swatch" width="11" height="11" aria-hidden="true"><rect class="loss" width="11" height="11"/></svg> summaries lost here, bars are exact</li>"#);
        }
        out
    }

    fn count_axis(&self) -> String {
        let mut out = String::new();
        for &value in &self.counts.values {
            let _ = write!(
                out,
                r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                AXIS_WIDTH - 8.0,
                self.y(value) + 4.0,
                count_label(value)
            );
        }
        out
    }

    fn grid(&self) -> String {
        let mut out = String::new();
        for &value in &self.counts.values {
            let y = self.y(value);
            let _ = write!(
                out,
                r#"<line class="grid" x1="0" x2="100%" y1="{y:.1}" y2="{y:.1}"/>"#
            );
        }
        out
    }

    fn time_axis(&self) -> String {
        let mut out = String::new();
        for &value in &self.time.values {
            let x = value / self.end * 100.0;
            let anchor = if x < 1.0 {
                "start"
            } else if x > 92.0 {
                "end"
            } else {
                "middle"
            };
            let _ = write!(
                out,
                r#"<line class="tick" x1="{x:.3}%" x2="{x:.3}%" y1="{0}" y2="{1}"/><text x="{x:.3}%" y="{2}" text-anchor="{anchor}">{3}</text>"#,
                TOP + PLOT_HEIGHT,
                TOP + PLOT_HEIGHT + 5.0,
                TOP + PLOT_HEIGHT + 20.0,
                time_label(value, self.time.step)
            );
        }
        out
    }

    fn losses(&self) -> String {
        let mut out = String::new();
        let lost = &self.report.timeline.lost;
        for bin in (0..lost.len()).filter(|&bin| lost[bin] > 0) {
            let (x, width) = self.across(bin, false);
            let _ = write!(
                out,
                r#"<rect class="loss" x="{x:.3}%" width="{width:.3}%" y="{TOP}" height="{PLOT_HEIGHT}"/>"#
            );
        }
        out
    }

    fn bars(&self) -> String {
        (0..self.report.timeline.bins.len())
            .map(|bin| self.bar(bin))
            .collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "pixels are coarser")]
    fn bar(&self, bin: usize) -> String {
        let (x, width) = self.across(bin, false);
        let mut out = format!(
            r#"<g class="bin"><title>{}</title><rect class="hit" x="{x:.3}%" width="{width:.3}%" y="{TOP}" height="{PLOT_HEIGHT}"/>"#,
            Escaped(&self.tooltip(bin))
        );
        let (x, width) = self.across(bin, true);
        let mut foot = 0;
        for layer in self.series.iter().filter(|layer| layer.bins[bin] > 0) {
            let head = foot + layer.bins[bin];
            let (upper, lower) = (self.y(head as f64), self.y(foot as f64));
            let _ = write!(
                out,
                r#"<rect x="{x:.3}%" width="{width:.3}%" y="{upper:.2}" height="{:.2}" fill="{}"/>"#,
                lower - upper,
                layer.colour
            );
            foot = head;
        }
        out.push_str("</g>");
        out
    }

    #[expect(clippy::cast_precision_loss, reason = "a thousand bins")]
    fn tooltip(&self, bin: usize) -> String {
        let timeline = &self.report.timeline;
        let from = bin as f64 * timeline.bin_seconds;
        let mut out = format!(
            "{} to {}: {}, {}",
            seconds(from),
            seconds(from + timeline.bin_seconds),
            counted(timeline.bins[bin], "packet"),
            bytes(timeline.bytes.get(bin).copied().unwrap_or(0))
        );
        for layer in self.series.iter().filter(|layer| layer.bins[bin] > 0) {
            let _ = write!(out, "; {} {}", layer.name, count(layer.bins[bin]));
        }
        if let Some(&lost) = timeline.lost.get(bin).filter(|&&lost| lost > 0) {
            let _ = write!(out, "; {} summaries lost", count(lost));
        }
        out
    }

    /// Left edge and width in percent.
    #[expect(clippy::cast_precision_loss, reason = "a thousand bins")]
    fn across(&self, bin: usize, gap: bool) -> (f64, f64) {
        let bins = self.report.timeline.bins.len();
        let width = 100.0 / bins as f64;
        let x = bin as f64 * width;
        if gap && bins < NO_GAPS {
            (x + width * 0.04, width * 0.92)
        } else {
            (x, width)
        }
    }

    fn y(&self, packets: f64) -> f64 {
        TOP + PLOT_HEIGHT * (1.0 - packets / self.top)
    }
}

/// A small square of a protocol's colour.
pub(super) fn swatch(colour: series::Colour) -> String {
    format!(
        r#"<svg class="swatch" width="11" height="11" aria-hidden="true"><rect width="11" height="11" rx="2" fill="{colour}"/></svg>"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn every_bin_is_a_bar() {
        for bins in [1, 30, 1000] {
            let report = example::with_bins(bins);
            let html = html(&report, &series::of(&report));
            assert_eq!(html.matches(r#"<g class="bin">"#).count(), bins);
        }
    }

    #[test]
    fn bars_are_as_high_as_their_counts() {
        let report = example::with_bins(1);
        let series = series::of(&report);
        let scene = Scene::new(&report, &series);
        let heights: f64 = scene
            .bar(0)
            .split(r#" height=""#)
            .skip(2)
            .filter_map(|rest| rest.split('"').next()?.parse::<f64>().ok())
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let packets = report.timeline.bins[0] as f64;
        assert!((heights - packets / scene.top * PLOT_HEIGHT).abs() < 0.05);
    }

    #[test]
    fn embedded_data_cannot_leave_its_element_and_stays_the_same_data() {
        let name = "</script><!--&\u{2028}\u{2029}\"\\";
        let report = example::hostile(name);
        let json = data(&report, &series::of(&report));
        assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["series"][0]["name"], printable(name));
        assert_eq!(value["bins"].as_array().map(Vec::len), Some(30));
    }

    #[test]
    fn bins_with_losses_are_shaded_and_say_so() {
        let report = example::with_losses();
        let html = html(&report, &series::of(&report));
        assert_eq!(html.matches(r#"<rect class="loss" x="#).count(), 3);
        assert!(html.contains("; 300 summaries lost"));
    }
}
