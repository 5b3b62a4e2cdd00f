//! Pictures for files: PNG and SVG from the same strokes, with no font needed on the host.

mod bitmap;
mod over_time;
mod pen;
mod ranking;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use plotters::prelude::{DrawingBackend, IntoDrawingArea, SVGBackend};
use thiserror::Error;

use self::{
    bitmap::Canvas,
    pen::{Pen, SEPARATOR},
};
use super::{
    Report,
    number::{bits_per_second, count, counted, packets_per_second, printable, seconds},
};

/// Width and height in pixels, where nothing else is asked for.
pub const DEFAULT_SIZE: (u32, u32) = (800, 600);

/// Smallest and largest width and height in pixels.
pub const SIDES: std::ops::RangeInclusive<u32> = 200..=8192;
/// Strokes have whole coordinates on a canvas this many times as wide and high as the picture:
/// SVG looks at it through its view box, PNG averages it, so that bars can be finer than a pixel.
const FINE: u32 = 3;
/// Above this many pixels a PNG is drawn at its own size: it is fine enough, and memory is not.
const FINE_PIXELS: u32 = 4_000_000;

/// What a picture shows, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChartOptions {
    /// What it shows.
    pub kind: ChartKind,
    /// Width and height in pixels, 200 to 8192 each.
    pub size: (u32, u32),
    /// Colours around the data.
    pub theme: Theme,
}

/// What a picture shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChartKind {
    /// Packets over time, stacked by protocol.
    #[default]
    Histogram,
    /// Bits per second over time.
    Throughput,
    /// Packets of each protocol.
    ProtocolShare,
    /// Frames by range of size.
    FrameSizes,
    /// Packets of the most active source addresses.
    TopSources,
}

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
        let extension = path.extension().map(OsStr::to_ascii_lowercase);
        match extension.as_ref().and_then(|e| e.to_str()) {
            Some("png") => Ok(Self::Png),
            Some("svg") => Ok(Self::Svg),
            _ => Err(ChartError::Format {
                path: path.to_owned(),
            }),
        }
    }
}

impl Default for ChartOptions {
    fn default() -> Self {
        Self {
            kind: ChartKind::default(),
            size: DEFAULT_SIZE,
            theme: Theme::default(),
        }
    }
}

impl ChartKind {
    fn title(self) -> &'static str {
        match self {
            Self::Histogram => "Network Traffic Analysis",
            Self::Throughput => "Network Throughput",
            Self::ProtocolShare => "Packets by Protocol",
            Self::FrameSizes => "Frame Sizes",
            Self::TopSources => "Most Active Sources",
        }
    }
}

/// Writes the histogram of packets over time to `path`, as PNG or SVG by its extension.
///
/// # Errors
/// As [`write()`].
pub fn write_histogram(report: &Report, path: &Path, size: (u32, u32)) -> Result<(), ChartError> {
    let options = ChartOptions {
        size,
        ..ChartOptions::default()
    };
    write(report, path, &options)
}

/// Writes a picture to `path`, as PNG or SVG by its extension.
///
/// # Errors
/// [`ChartError`]; nothing is written unless the whole picture could be drawn.
pub fn write(report: &Report, path: &Path, options: &ChartOptions) -> Result<(), ChartError> {
    let picture = encode(report, ChartFormat::from_path(path)?, options)?;
    fs::write(path, picture).map_err(|source| ChartError::Write {
        path: path.to_owned(),
        source,
    })
}

/// The bytes of a picture's file.
///
/// # Errors
/// [`ChartError::Size`], [`ChartError::Draw`].
pub fn encode(
    report: &Report,
    format: ChartFormat,
    options: &ChartOptions,
) -> Result<Vec<u8>, ChartError> {
    match format {
        ChartFormat::Png => png(report, options),
        ChartFormat::Svg => svg(report, options).map(String::into_bytes),
    }
}

/// A picture as a PNG file.
///
/// # Errors
/// [`ChartError::Size`], [`ChartError::Draw`].
pub fn png(report: &Report, options: &ChartOptions) -> Result<Vec<u8>, ChartError> {
    let (width, height) = checked(options.size)?;
    let fine = if width * height > FINE_PIXELS {
        1
    } else {
        FINE
    };
    let mut canvas = Canvas::new(options.size, fine);
    draw(canvas.backend(), report, options, fine)?;
    canvas.encode(options.kind.title()).map_err(draw_error)
}

/// A picture as an SVG document that names and describes itself.
///
/// # Errors
/// [`ChartError::Size`], [`ChartError::Draw`].
pub fn svg(report: &Report, options: &ChartOptions) -> Result<String, ChartError> {
    let (width, height) = checked(options.size)?;
    let (canvas_width, canvas_height) = (width * FINE, height * FINE);
    let mut svg = String::new();
    let backend = SVGBackend::with_string(&mut svg, (canvas_width, canvas_height));
    draw(backend, report, options, FINE)?;
    // The library's own root element knows neither the view box nor a name.
    let strokes = svg.split_once('>').map_or("", |(_, strokes)| strokes);
    Ok(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {canvas_width} {canvas_height}" role="img" aria-labelledby="title desc">
<title id="title">{}</title>
<desc id="desc">{}</desc>{strokes}"#,
        options.kind.title(),
        escaped(&summary(report, options.kind)),
    ))
}

fn draw<B: DrawingBackend>(
    backend: B,
    report: &Report,
    options: &ChartOptions,
    fine: u32,
) -> Result<(), ChartError> {
    let pen = Pen::new(options.theme, fine);
    let area = backend.into_drawing_area();
    let kind = options.kind;
    pen.heading(&area, kind.title(), &summary(report, kind))
        .and_then(|top| match kind {
            ChartKind::Histogram => over_time::histogram(&pen, &area, top, report),
            ChartKind::Throughput => over_time::throughput(&pen, &area, top, report),
            ChartKind::ProtocolShare => ranking::protocols(&pen, &area, top, report),
            ChartKind::FrameSizes => ranking::sizes(&pen, &area, top, report),
            ChartKind::TopSources => ranking::sources(&pen, &area, top, report),
        })
        .and_then(|()| area.present())
        .map_err(draw_error)
}

/// One line under the title.
fn summary(report: &Report, kind: ChartKind) -> String {
    let packets = report.totals.packets;
    let about = match report.sampled {
        Some(sampled) => format!("estimated from 1 frame in {}: about ", sampled.sample),
        None => String::new(),
    };
    let mut parts = vec![format!(
        "{about}{} in {}",
        counted(packets, "packet"),
        seconds(report.duration_s)
    )];
    let rates = &report.rates;
    let (bars, note) = match kind {
        ChartKind::Histogram => (true, format!("peak {}", packets_per_second(rates.peak_pps))),
        ChartKind::Throughput => (true, format!("peak {}", bits_per_second(rates.peak_bps))),
        ChartKind::ProtocolShare => (false, String::new()),
        ChartKind::FrameSizes => (false, sizes_note(report)),
        ChartKind::TopSources => (false, sources_note(report)),
    };
    if packets > 0 && !note.is_empty() {
        parts.push(note);
    }
    if packets > 0 && bars {
        let width = seconds(report.timeline.bin_seconds);
        parts.push(format!("bars of {width}"));
    }
    if !report.interfaces.is_empty() {
        parts.push(interface_names(report));
    }
    parts.join(SEPARATOR)
}

fn sources_note(report: &Report) -> String {
    let different = counted(report.unique_sources, "different source");
    match &report.tables_note {
        Some(note) => format!("{different}{SEPARATOR}{}", printable(note)),
        None => different,
    }
}

fn sizes_note(report: &Report) -> String {
    report.sizes.as_ref().map_or_else(String::new, |sizes| {
        format!(
            "half are at most {} bytes, the longest {}",
            count(sizes.median.into()),
            count(sizes.max.into())
        )
    })
}

fn interface_names(report: &Report) -> String {
    const SHOWN: usize = 3;
    const CHARS: usize = 24;
    let names: Vec<String> = report
        .interfaces
        .iter()
        .take(SHOWN)
        .map(|row| printable(&row.name).chars().take(CHARS).collect())
        .collect();
    match report.interfaces.len().saturating_sub(SHOWN) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn checked((width, height): (u32, u32)) -> Result<(u32, u32), ChartError> {
    if SIDES.contains(&width) && SIDES.contains(&height) {
        Ok((width, height))
    } else {
        Err(ChartError::Size { width, height })
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn draw_error(error: impl std::fmt::Display) -> ChartError {
    ChartError::Draw(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{example, series::Colour};

    #[test]
    fn pictures_of_every_kind_of_report() {
        let (directory, keep) = directory();
        fs::create_dir_all(&directory).unwrap();
        for (name, report, options) in pictured() {
            for extension in ["png", "svg"] {
                let path = directory.join(format!("{name}.{extension}"));
                write(&report, &path, &options).unwrap();
                assert!(fs::metadata(&path).unwrap().len() > 1000, "{name}");
            }
        }
        if !keep {
            fs::remove_dir_all(directory).unwrap();
        }
    }

    #[test]
    fn every_bin_is_a_bar_of_its_own_height() {
        for bins in [1, 30, 1000] {
            let report = example::with_bins(bins);
            let picture = svg(&report, &ChartOptions::default()).unwrap();
            let bars = rectangles(&picture, Colour(0x00, 0x72, 0xB2));
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
        let picture = svg(&report, &ChartOptions::default()).unwrap();
        for words in [
            "<title id=\"title\">Network Traffic Analysis</title>",
            "Time Since Start (seconds)",
            "Number of Packets",
            "viewBox=\"0 0 2400 1800\"",
            "width=\"800\" height=\"600\"",
        ] {
            assert!(picture.contains(words), "{words}");
        }
        assert!(!picture.contains("<script") && !picture.contains('\u{1b}'));
        assert_eq!(picture.matches("</svg>").count(), 1);
    }

    #[test]
    fn without_packets_the_picture_says_so() {
        for report in [example::empty(), example::empty_file()] {
            let picture = svg(&report, &ChartOptions::default()).unwrap();
            assert!(picture.contains("No packets captured"));
        }
        let picture = svg(&example::one_packet(), &ChartOptions::default()).unwrap();
        assert!(!picture.contains("No packets captured"));
    }

    #[test]
    fn bins_with_losses_are_shaded() {
        let shade = Colour(0xC6, 0x28, 0x28);
        let picture = svg(&example::with_losses(), &ChartOptions::default()).unwrap();
        assert_eq!(rectangles(&picture, shade).len(), 3 + 1);
        let picture = svg(&example::report(), &ChartOptions::default()).unwrap();
        assert_eq!(rectangles(&picture, shade).len(), 0);
    }

    #[test]
    fn a_png_has_the_size_that_was_asked_for() {
        for size in [DEFAULT_SIZE, (200, 200), (2400, 1800)] {
            let file = png(&example::report(), &sized(size)).unwrap();
            let reader = ::png::Decoder::new(file.as_slice()).read_info().unwrap();
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
        let error = png(&report, &sized((0, 600))).unwrap_err();
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

    #[test]
    fn every_kind_draws_every_report() {
        for kind in [
            ChartKind::Histogram,
            ChartKind::Throughput,
            ChartKind::ProtocolShare,
            ChartKind::FrameSizes,
            ChartKind::TopSources,
        ] {
            for size in [(200, 200), DEFAULT_SIZE, (8192, 200)] {
                let options = ChartOptions {
                    kind,
                    ..sized(size)
                };
                for (report, packets) in [
                    (example::with_protocols(15), true),
                    (example::empty(), false),
                    (example::empty_file(), false),
                ] {
                    let picture = svg(&report, &options).unwrap();
                    let nothing = picture.contains("No packets captured");
                    assert_eq!(nothing, !packets, "{kind:?} {size:?}");
                }
            }
        }
    }

    fn sized(size: (u32, u32)) -> ChartOptions {
        ChartOptions {
            size,
            ..ChartOptions::default()
        }
    }

    fn pictured() -> Vec<(&'static str, Report, ChartOptions)> {
        let histogram = ChartOptions::default();
        let of = |kind| ChartOptions { kind, ..histogram };
        let dark = ChartOptions {
            theme: Theme::Dark,
            ..histogram
        };
        let mut peak = example::report();
        peak.timeline.bins[11] += 2_000_000;
        peak.timeline.by_protocol.get_mut("udp").unwrap()[11] += 2_000_000;
        vec![
            ("demo", example::report(), histogram),
            ("dark", example::with_losses(), dark),
            ("one", example::one_packet(), histogram),
            ("empty", example::empty(), histogram),
            ("empty-file", example::empty_file(), histogram),
            ("thousand", example::with_bins(1000), histogram),
            ("peak", peak, histogram),
            ("fifteen", example::with_protocols(15), histogram),
            ("losses", example::with_losses(), histogram),
            ("short", example::with_duration(0.01), histogram),
            ("hour", example::with_duration(3600.0), histogram),
            ("month", example::with_duration(30.0 * 86_400.0), histogram),
            (
                "throughput",
                example::with_losses(),
                of(ChartKind::Throughput),
            ),
            (
                "share",
                example::with_protocols(15),
                of(ChartKind::ProtocolShare),
            ),
            ("sources", example::with_losses(), of(ChartKind::TopSources)),
            ("sizes", example::with_losses(), of(ChartKind::FrameSizes)),
            (
                "sizes-dark",
                example::report(),
                ChartOptions {
                    theme: Theme::Dark,
                    size: (1200, 500),
                    ..of(ChartKind::FrameSizes)
                },
            ),
        ]
    }

    /// Where pictures go, and whether they stay to be looked at.
    fn directory() -> (PathBuf, bool) {
        let wanted = std::env::var_os("TRAFFIC_PICTURES").map(PathBuf::from);
        let name = format!("traffic-pictures-{}", std::process::id());
        let keep = wanted.is_some();
        let directory = wanted.unwrap_or_else(|| std::env::temp_dir().join(name));
        (directory, keep)
    }
}
