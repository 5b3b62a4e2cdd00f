//! Pictures for files: PNG and SVG from the same strokes, with no font needed on the host.

mod bitmap;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Once,
};

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{
        Shift,
        ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
    },
    prelude::*,
    style::{
        register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};
use thiserror::Error;

use self::bitmap::Canvas;
use super::{
    Report,
    number::{count, per_second, percent, printable, seconds},
    scale::{Ticks, count_label, count_ticks, time_label, time_ticks},
    series::{self, Colour, Series},
};

/// Width and height in pixels, where nothing else is asked for.
pub const DEFAULT_SIZE: (u32, u32) = (800, 600);

/// Smallest and largest width and height in pixels.
const SIDES: std::ops::RangeInclusive<u32> = 200..=8192;
/// Strokes have whole coordinates on a canvas this many times as wide and high as the picture:
/// SVG looks at it through its view box, PNG averages it, so that bars can be finer than a pixel.
const FINE: u32 = 3;
/// Above this many pixels a PNG is drawn at its own size: it is fine enough, and memory is not.
const FINE_PIXELS: u32 = 4_000_000;

/// Colours around the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// Dark on white.
    #[default]
    Light,
    /// Light on near-black.
    Dark,
}

/// A picture's file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChartFormat {
    /// Pixels, 8-bit RGB.
    Png,
    /// Vectors; text in the viewer's sans-serif font.
    Svg,
}

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum ChartError {
    /// The name does not end in a known extension.
    #[error("cannot tell the picture format of {} (allowed: .png, .svg)", path.display())]
    Format {
        /// As given.
        path: PathBuf,
    },
    /// A side is out of bounds.
    #[error("a picture of {width}x{height} pixels is not possible (allowed: {} to {} each way)", SIDES.start(), SIDES.end())]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The drawing library gave up.
    #[error("draw chart: {0}")]
    Draw(String),
    /// The file could not be written.
    #[error("write chart to {}", path.display())]
    Write {
        /// As given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ChartFormat {
    /// Format that the extension of `path` names, in any case of letters.
    ///
    /// # Errors
    /// [`ChartError::Format`] for any other extension.
    pub fn from_path(path: &Path) -> Result<Self, ChartError> {
        let extension = path.extension().map(|e| e.to_ascii_lowercase());
        match extension.as_ref().and_then(|e| e.to_str()) {
            Some("png") => Ok(Self::Png),
            Some("svg") => Ok(Self::Svg),
            _ => Err(ChartError::Format {
                path: path.to_owned(),
            }),
        }
    }
}

/// Writes the histogram of packets over time to `path`, as PNG or SVG by its extension.
///
/// # Errors
/// [`ChartError`]; nothing is written unless the whole picture could be drawn.
pub fn write_histogram(report: &Report, path: &Path, size: (u32, u32)) -> Result<(), ChartError> {
    let picture = match ChartFormat::from_path(path)? {
        ChartFormat::Png => histogram_png(report, size, Theme::Light)?,
        ChartFormat::Svg => histogram_svg(report, size, Theme::Light)?.into_bytes(),
    };
    fs::write(path, picture).map_err(|source| ChartError::Write {
        path: path.to_owned(),
        source,
    })
}

/// The histogram of packets over time as a PNG file.
///
/// # Errors
/// [`ChartError::Size`], [`ChartError::Draw`].
pub fn histogram_png(
    report: &Report,
    size: (u32, u32),
    theme: Theme,
) -> Result<Vec<u8>, ChartError> {
    check_size(size)?;
    let (width, height) = size;
    let fine = if width * height > FINE_PIXELS {
        1
    } else {
        FINE
    };
    let mut canvas = Canvas::new(size, fine);
    draw(canvas.backend(), report, theme, fine)?;
    canvas.encode(TITLE).map_err(draw_error)
}

/// The histogram of packets over time as an SVG document that names and describes itself.
///
/// # Errors
/// [`ChartError::Size`], [`ChartError::Draw`].
pub fn histogram_svg(
    report: &Report,
    size: (u32, u32),
    theme: Theme,
) -> Result<String, ChartError> {
    check_size(size)?;
    let (width, height) = size;
    let mut svg = String::new();
    {
        let backend = SVGBackend::with_string(&mut svg, (width * FINE, height * FINE));
        draw(backend, report, theme, FINE)?;
    }
    let strokes = svg.split_once('>').map_or("", |(_, strokes)| strokes);
    Ok(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {} {}" role="img" aria-labelledby="title desc">
<title id="title">{TITLE}</title>
<desc id="desc">{}</desc>{strokes}"#,
        width * FINE,
        height * FINE,
        escaped(&summary(report)),
    ))
}

const TITLE: &str = "Network Traffic Analysis";

/// Lengths below are pixels of the picture.
const MARGIN: u32 = 20;
const TITLE_SIZE: u32 = 28;
const TEXT_SIZE: u32 = 18;
const TICK_SIZE: u32 = 17;
const LINE: u32 = 22;
const SWATCH: u32 = 12;

type Area<B> = DrawingArea<B, Shift>;
type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;
type Plot<'a, B> = ChartContext<'a, B, Cartesian2d<Axis, Axis>>;

/// From 0 to `end`, with ticks and labels of our own choice.
struct Axis {
    end: f64,
    ticks: Ticks,
    label: fn(f64, f64) -> String,
}

struct Colours {
    background: RGBColor,
    text: RGBColor,
    faint: RGBColor,
    grid: RGBColor,
    loss: RGBColor,
}

/// What the strokes are made with.
struct Pen<'a> {
    report: &'a Report,
    series: Vec<Series>,
    colours: Colours,
    fine: u32,
}

fn draw<B: DrawingBackend>(
    backend: B,
    report: &Report,
    theme: Theme,
    fine: u32,
) -> Result<(), ChartError> {
    embed_font();
    let pen = Pen {
        report,
        series: series::of(report),
        colours: colours(theme),
        fine,
    };
    let area = backend.into_drawing_area();
    pen.picture(&area)
        .and_then(|()| area.present())
        .map_err(draw_error)
}

impl Pen<'_> {
    fn picture<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        area.fill(&self.colours.background)?;
        let mut top = MARGIN;
        self.text(area, TITLE, (MARGIN, top), TITLE_SIZE, self.colours.text)?;
        top += TITLE_SIZE + 6;
        for line in self.wrap(area, &summary(self.report)) {
            self.text(area, &line, (MARGIN, top), TEXT_SIZE, self.colours.faint)?;
            top += LINE;
        }
        top = self.legend(area, top + 6)?;
        let (_, plot_area) = area.split_vertically(top * self.fine);
        self.plot(&plot_area)
    }

    /// Names of the layers in as many lines as they need; returns where the next thing starts.
    fn legend<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        mut top: u32,
    ) -> Result<u32, DrawingAreaErrorKind<B::ErrorType>> {
        let (width, _) = area.dim_in_pixel();
        let mut left = MARGIN;
        let entries = self.legend_entries();
        for (label, colour) in &entries {
            let entry = SWATCH + 7 + self.text_width(area, label) + 22;
            if left > MARGIN && (left + entry) * self.fine > width {
                left = MARGIN;
                top += LINE;
            }
            let swatch = self.block((left, top + 2), (left + SWATCH, top + 2 + SWATCH));
            area.draw(&Rectangle::new(swatch, colour.filled()))?;
            self.text(
                area,
                label,
                (left + SWATCH + 7, top),
                TEXT_SIZE,
                self.colours.text,
            )?;
            left += entry;
        }
        Ok(if entries.is_empty() { top } else { top + LINE })
    }

    fn legend_entries(&self) -> Vec<(String, RGBAColor)> {
        let total = self.report.timeline.bins.iter().sum();
        let mut entries: Vec<_> = self
            .series
            .iter()
            .map(|layer| {
                let share = percent(layer.packets, total);
                (
                    format!("{} {share}", printable(&layer.name)),
                    paint(layer.colour).to_rgba(),
                )
            })
            .collect();
        let lost = self.report.timeline.lost.iter().any(|&lost| lost > 0);
        if lost {
            let note = "summaries lost here, bars are exact".to_owned();
            entries.push((note, self.loss_shade()));
        }
        entries
    }

    fn plot<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let timeline = &self.report.timeline;
        let end = end_of(self.report);
        let (width, height) = area.dim_in_pixel();
        let peak = timeline.bins.iter().copied().max().unwrap_or(0);
        let label_room = if end < 1500.0 { 120 } else { 150 };
        let x = Axis {
            end,
            ticks: time_ticks(end, (width / self.fine / label_room).max(2)),
            label: time_label,
        };
        let ticks = count_ticks(peak, (height / self.fine / 80).max(2));
        let y_end = ticks.values.last().copied().unwrap_or(1.0);
        let y = Axis {
            end: y_end,
            ticks,
            label: |packets, _| count_label(packets),
        };
        let mut chart = ChartBuilder::on(area)
            .margin_left(MARGIN * self.fine / 2)
            .margin_right(label_room / 3 * self.fine)
            .margin_bottom(MARGIN * self.fine / 2)
            .margin_top(10 * self.fine)
            .x_label_area_size(50 * self.fine)
            .y_label_area_size(76 * self.fine)
            .build_cartesian_2d(x, y)?;
        self.loss(&mut chart, y_end)?;
        self.mesh(&mut chart)?;
        self.bars(&mut chart, y_end)?;
        if timeline.bins.iter().all(|&packets| packets == 0) {
            self.nothing(chart.plotting_area().strip_coord_spec())?;
        }
        Ok(())
    }

    fn mesh<B: DrawingBackend>(&self, chart: &mut Plot<'_, B>) -> Drawn<B> {
        let size = TICK_SIZE * self.fine;
        let text = ("sans-serif", size, &self.colours.text);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(self.colours.grid.stroke_width(self.fine))
            .light_line_style(TRANSPARENT)
            .axis_style(self.colours.faint.stroke_width(self.fine))
            .label_style(text)
            .axis_desc_style(text)
            .x_desc("Time Since Start (seconds)")
            .y_desc("Number of Packets")
            .set_all_tick_mark_size(4 * self.fine)
            .draw()
    }

    fn bars<B: DrawingBackend>(&self, chart: &mut Plot<'_, B>, y_end: f64) -> Drawn<B> {
        let (width, height) = chart.plotting_area().dim_in_pixel();
        let timeline = &self.report.timeline;
        let seconds_per_pixel = end_of(self.report) / f64::from(width.max(1));
        let wide = timeline.bin_seconds > seconds_per_pixel * f64::from(4 * self.fine);
        let gap = if wide {
            seconds_per_pixel * f64::from(self.fine)
        } else {
            0.0
        };
        // A single packet beside a huge peak still shows.
        let least = y_end / f64::from(height.max(1)) * f64::from(self.fine) * 1.5;
        for bin in 0..timeline.bins.len() {
            let (left, right) = span(bin, timeline.bin_seconds);
            for (colour, from, to) in stack(&self.series, bin, least) {
                let corners = [(left + gap / 2.0, from), (right - gap / 2.0, to)];
                chart.draw_series([Rectangle::new(corners, paint(colour).filled())])?;
            }
        }
        Ok(())
    }

    /// Shades bins whose summaries did not all arrive.
    fn loss<B: DrawingBackend>(&self, chart: &mut Plot<'_, B>, y_end: f64) -> Drawn<B> {
        let timeline = &self.report.timeline;
        for bin in (0..timeline.bins.len()).filter(|&bin| timeline.lost.get(bin) > Some(&0)) {
            let (left, right) = span(bin, timeline.bin_seconds);
            let corners = [(left, 0.0), (right, y_end)];
            chart.draw_series([Rectangle::new(corners, self.loss_shade().filled())])?;
        }
        Ok(())
    }

    fn nothing<B: DrawingBackend>(&self, plot: Area<B>) -> Drawn<B> {
        let (width, height) = plot.dim_in_pixel();
        let style = ("sans-serif", 24 * self.fine)
            .into_font()
            .color(&self.colours.faint)
            .pos(Pos::new(HPos::Center, VPos::Center));
        let middle = (pixels(width / 2), pixels(height / 2));
        plot.draw_text("No packets captured", &style, middle)
    }

    fn text<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        text: &str,
        at: (u32, u32),
        size: u32,
        colour: RGBColor,
    ) -> Drawn<B> {
        let style = ("sans-serif", size * self.fine).into_font().color(&colour);
        let at = (pixels(at.0 * self.fine), pixels(at.1 * self.fine));
        area.draw_text(text, &style, at)
    }

    /// Width of a line in pixels of the picture, with room for a viewer's wider font.
    fn text_width<B: DrawingBackend>(&self, area: &Area<B>, text: &str) -> u32 {
        let style = ("sans-serif", TEXT_SIZE * self.fine).into_text_style(area);
        area.estimate_text_size(text, &style)
            .map_or(0, |(width, _)| width * 11 / 10 / self.fine)
    }

    /// `text` at its separators in lines that fit.
    fn wrap<B: DrawingBackend>(&self, area: &Area<B>, text: &str) -> Vec<String> {
        let (width, _) = area.dim_in_pixel();
        let room = (width / self.fine).saturating_sub(2 * MARGIN);
        let mut lines: Vec<String> = Vec::new();
        for part in text.split_inclusive(SEPARATOR) {
            match lines.last_mut() {
                Some(line) if self.text_width(area, &format!("{line}{part}")) <= room => {
                    line.push_str(part);
                }
                _ => lines.push(part.to_owned()),
            }
        }
        lines
    }

    fn block(&self, from: (u32, u32), to: (u32, u32)) -> [(i32, i32); 2] {
        [from, to].map(|(x, y)| (pixels(x * self.fine), pixels(y * self.fine)))
    }

    fn loss_shade(&self) -> RGBAColor {
        self.colours.loss.mix(0.22)
    }
}

const SEPARATOR: &str = " · ";

/// One line under the title.
fn summary(report: &Report) -> String {
    let timeline = &report.timeline;
    let packets: u64 = timeline.bins.iter().sum();
    let mut parts = vec![format!(
        "{} {} in {}",
        count(packets),
        if packets == 1 { "packet" } else { "packets" },
        seconds(end_of_timeline(report))
    )];
    if packets > 0 {
        parts.push(format!("peak {}", per_second(report.rates.peak_pps)));
        parts.push(format!("bars of {}", seconds(timeline.bin_seconds)));
    }
    if !report.interfaces.is_empty() {
        parts.push(interface_names(report));
    }
    parts.join(SEPARATOR)
}

fn interface_names(report: &Report) -> String {
    const SHOWN: usize = 3;
    let names: Vec<String> = report
        .interfaces
        .iter()
        .take(SHOWN)
        .map(|row| printable(&row.name).chars().take(24).collect())
        .collect();
    match report.interfaces.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// Colour, foot and head of what is drawn in a bin, from the bottom up; a bin with packets is at
/// least `least` high.
fn stack(series: &[Series], bin: usize, least: f64) -> Vec<(Colour, f64, f64)> {
    #![expect(clippy::cast_precision_loss, reason = "pixels are coarser")]
    let total: u64 = series.iter().map(|layer| layer.bins[bin]).sum();
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

/// Start and end of a bin in seconds.
fn span(bin: usize, bin_seconds: f64) -> (f64, f64) {
    #![expect(clippy::cast_precision_loss, reason = "a thousand bins")]
    (bin as f64 * bin_seconds, (bin + 1) as f64 * bin_seconds)
}

fn end_of_timeline(report: &Report) -> f64 {
    span(report.timeline.bins.len(), report.timeline.bin_seconds).0
}

/// End of the time axis, which cannot be empty.
fn end_of(report: &Report) -> f64 {
    let end = end_of_timeline(report);
    if end > 0.0 && end.is_finite() {
        end
    } else {
        1.0
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "rounded to a pixel")]
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let length = f64::from(to - from);
        from + (value / self.end * length).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.ticks.values.clone()
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..self.end
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        (self.label)(*value, self.ticks.step)
    }
}

fn colours(theme: Theme) -> Colours {
    match theme {
        Theme::Light => Colours {
            background: WHITE,
            text: RGBColor(0x1B, 0x1F, 0x24),
            faint: RGBColor(0x5A, 0x63, 0x6E),
            grid: RGBColor(0xE3, 0xE6, 0xEA),
            loss: RGBColor(0xC6, 0x28, 0x28),
        },
        Theme::Dark => Colours {
            background: RGBColor(0x14, 0x17, 0x1B),
            text: RGBColor(0xE6, 0xE9, 0xED),
            faint: RGBColor(0x9A, 0xA3, 0xAE),
            grid: RGBColor(0x2C, 0x31, 0x38),
            loss: RGBColor(0xFF, 0x6B, 0x6B),
        },
    }
}

fn paint(colour: Colour) -> RGBColor {
    RGBColor(colour.0, colour.1, colour.2)
}

fn check_size((width, height): (u32, u32)) -> Result<(), ChartError> {
    if SIDES.contains(&width) && SIDES.contains(&height) {
        Ok(())
    } else {
        Err(ChartError::Size { width, height })
    }
}

/// The drawing library finds fonts by name only among those given to it.
fn embed_font() {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        let font = epaint_default_fonts::UBUNTU_LIGHT;
        let registered = register_font("sans-serif", FontStyle::Normal, font);
        assert!(registered.is_ok(), "the embedded font is a font");
    });
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn pixels(length: u32) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

fn draw_error(error: impl std::fmt::Display) -> ChartError {
    ChartError::Draw(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn pictures_of_every_kind_of_report() {
        for (name, report) in pictured() {
            for extension in ["png", "svg"] {
                let path = directory().join(format!("{name}.{extension}"));
                write_histogram(&report, &path, DEFAULT_SIZE).unwrap();
            }
        }
    }

    fn pictured() -> Vec<(&'static str, Report)> {
        let mut peak = example::report();
        peak.timeline.bins[11] += 2_000_000;
        peak.timeline.by_protocol.get_mut("udp").unwrap()[11] += 2_000_000;
        vec![
            ("demo", example::report()),
            ("one", example::one_packet()),
            ("empty", example::empty()),
            ("empty-file", example::empty_file()),
            ("thousand", example::with_bins(1000)),
            ("peak", peak),
            ("fifteen", example::with_protocols(15)),
            ("losses", example::with_losses()),
            ("short", example::with_duration(0.01)),
            ("hour", example::with_duration(3600.0)),
            ("month", example::with_duration(30.0 * 86_400.0)),
        ]
    }

    #[test]
    fn every_bin_is_a_bar_of_its_own_height() {
        for bins in [1, 30, 1000] {
            let report = example::with_bins(bins);
            let svg = histogram_svg(&report, DEFAULT_SIZE, Theme::Light).unwrap();
            let bars = rectangles(&svg, Colour(0x00, 0x72, 0xB2));
            // One more is the legend's.
            assert_eq!(bars.len(), bins + 1);
            let tcp = &report.timeline.by_protocol["tcp"];
            for pair in [(0, bins - 1), (0, bins / 2), (bins / 3, bins / 2)] {
                let (a, b) = (f64::from(bars[pair.0 + 1]), f64::from(bars[pair.1 + 1]));
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let expected = tcp[pair.0] as f64 / tcp[pair.1] as f64;
                assert!((a / b - expected).abs() < 0.02, "{pair:?}: {a} / {b}");
            }
        }
    }

    #[test]
    fn the_svg_names_describes_and_escapes() {
        let report = example::hostile("</desc><script>&\u{1b}");
        let svg = histogram_svg(&report, DEFAULT_SIZE, Theme::Light).unwrap();
        for words in [
            "<title id=\"title\">Network Traffic Analysis</title>",
            "Time Since Start (seconds)",
            "Number of Packets",
            "viewBox=\"0 0 2400 1800\"",
            "width=\"800\" height=\"600\"",
        ] {
            assert!(svg.contains(words), "{words}");
        }
        assert!(!svg.contains("<script") && !svg.contains('\u{1b}'));
        assert_eq!(svg.matches("</svg>").count(), 1);
    }

    #[test]
    fn without_packets_the_picture_says_so() {
        for report in [example::empty(), example::empty_file()] {
            let svg = histogram_svg(&report, DEFAULT_SIZE, Theme::Dark).unwrap();
            assert!(svg.contains("No packets captured"));
        }
        let svg = histogram_svg(&example::one_packet(), DEFAULT_SIZE, Theme::Light).unwrap();
        assert!(!svg.contains("No packets captured"));
    }

    #[test]
    fn bins_with_losses_are_shaded() {
        let shade = Colour(0xC6, 0x28, 0x28);
        let svg = histogram_svg(&example::with_losses(), DEFAULT_SIZE, Theme::Light).unwrap();
        assert_eq!(rectangles(&svg, shade).len(), 3 + 1);
        let svg = histogram_svg(&example::report(), DEFAULT_SIZE, Theme::Light).unwrap();
        assert_eq!(rectangles(&svg, shade).len(), 0);
    }

    #[test]
    fn a_png_has_the_size_that_was_asked_for() {
        for size in [DEFAULT_SIZE, (200, 200), (2400, 1800)] {
            let file = histogram_png(&example::report(), size, Theme::Light).unwrap();
            let reader = png::Decoder::new(file.as_slice()).read_info().unwrap();
            assert_eq!(reader.info().size(), size);
        }
    }

    #[test]
    fn impossible_pictures_are_refused_by_name() {
        let report = example::report();
        let error = write_histogram(&report, Path::new("a.jpg"), DEFAULT_SIZE).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot tell the picture format of a.jpg (allowed: .png, .svg)"
        );
        assert!(ChartFormat::from_path(Path::new("png")).is_err());
        assert_eq!(
            ChartFormat::from_path(Path::new("A.SVG")).unwrap(),
            ChartFormat::Svg
        );
        let error = histogram_png(&report, (0, 600), Theme::Light).unwrap_err();
        assert!(error.to_string().contains("0x600"), "{error}");
        let nowhere = Path::new("/nonexistent/a.svg");
        let error = write_histogram(&report, nowhere, DEFAULT_SIZE).unwrap_err();
        assert_eq!(error.to_string(), "write chart to /nonexistent/a.svg");
    }

    /// Heights of the rectangles filled with `colour`, in order.
    fn rectangles(svg: &str, colour: Colour) -> Vec<u32> {
        let fill = format!("fill=\"{}\"", colour.to_string().to_uppercase());
        svg.split("<rect ")
            .skip(1)
            .filter(|tag| tag.contains(&fill))
            .filter_map(|tag| {
                let (_, height) = tag.split_once("height=\"")?;
                height.split('"').next()?.parse().ok()
            })
            .collect()
    }

    fn directory() -> PathBuf {
        std::env::var_os("TRAFFIC_PICTURES").map_or_else(std::env::temp_dir, PathBuf::from)
    }
}
