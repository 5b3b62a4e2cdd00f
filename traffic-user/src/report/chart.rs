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
    pen::{Pen, SEPARATOR, Sheet},
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
        .and_then(|top| {
            let sheet = &Sheet {
                pen: &pen,
                area: &area,
                top,
            };
            match kind {
                ChartKind::Histogram => over_time::histogram(sheet, report),
                ChartKind::Throughput => over_time::throughput(sheet, report),
                ChartKind::ProtocolShare => ranking::protocols(sheet, report),
                ChartKind::FrameSizes => ranking::sizes(sheet, report),
                ChartKind::TopSources => ranking::sources(sheet, report),
            }
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
mod tests;
