//! Arguments of what a run writes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{FileModeArgs, FlowArgs};
use crate::{
    findings::{Findings, Thresholds},
    report::chart::{ChartKind, SIDES},
};

/// Outputs that live captures and files share.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// Packets kept in memory, newest first to stay.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub history: usize,
    /// Bars of the histogram.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub bins: u32,
    /// Rows of each table.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Write a picture to this file, `.png` or `.svg`; repeat for several. Kinds: histogram (also
    /// when none is named), throughput, protocols, sizes, sources.
    #[arg(long, value_name = "[KIND=]FILE", value_parser = parse_plot)]
    pub plot: Vec<Plot>,
    /// Width and height of pictures in pixels.
    #[arg(long, value_name = "WxH", default_value = "800x600", value_parser = parse_size)]
    pub plot_size: (u32, u32),
    /// Colours of pictures.
    #[arg(long, value_enum, default_value_t = ThemeArg::Light)]
    pub theme: ThemeArg,
    /// Write the report as one self-contained page; repeat for several.
    #[arg(long, value_name = "FILE")]
    pub html: Vec<PathBuf>,
    /// Write the report as JSON; `-` is stdout; repeat for several.
    #[arg(long, value_name = "FILE")]
    pub json: Vec<PathBuf>,
    /// Write every table of the report as a CSV file into this directory.
    #[arg(long, value_name = "DIR")]
    pub csv: Option<PathBuf>,
    /// Write a line of JSON for every packet whose summary arrives; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    pub packets: Option<PathBuf>,
    /// Who may read them.
    #[command(flatten)]
    pub file_mode: FileModeArgs,
    /// Do not look for scans, floods and other findings.
    #[arg(long)]
    pub no_findings: bool,
    /// From where on something is a finding, as `NAME=VALUE`: `docs/findings.md` lists the names;
    /// repeat for several.
    #[arg(long = "finding-threshold", value_name = "NAME=VALUE", value_parser = parse_threshold)]
    pub finding_thresholds: Vec<(String, u64)>,
    /// Flows.
    #[command(flatten)]
    pub flows: FlowArgs,
    /// Open the HTML report in the browser.
    #[arg(long)]
    pub open: bool,
    /// No progress and no notes; twice: no analysis either, errors only.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub quiet: u8,
    /// Say more; twice: also why packets could not be parsed, and the verifier's words.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl OutputArgs {
    /// The detectors that are asked for.
    ///
    /// # Panics
    /// Never: names of thresholds were checked as they were parsed.
    #[must_use]
    pub fn findings(&self) -> Option<Findings> {
        let mut thresholds = Thresholds::default();
        for (name, value) in &self.finding_thresholds {
            thresholds
                .set(name, *value)
                .expect("the name was checked as it was parsed");
        }
        (!self.no_findings).then(|| Findings::new(thresholds))
    }
}

/// `--plot`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// What it shows.
    pub kind: ChartKind,
    /// Where it goes.
    pub path: PathBuf,
}

/// `--theme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThemeArg {
    /// Dark on white.
    Light,
    /// Light on near-black.
    Dark,
}

/// Reads `top.png`, `sources=top.png`. A name before `=` that is no kind belongs to the path.
#[expect(
    clippy::unnecessary_wraps,
    reason = "what clap asks of a parser that may fail"
)]
fn parse_plot(text: &str) -> Result<Plot, String> {
    let kind = |name| match name {
        "histogram" => Some(ChartKind::Histogram),
        "throughput" => Some(ChartKind::Throughput),
        "protocols" => Some(ChartKind::ProtocolShare),
        "sizes" => Some(ChartKind::FrameSizes),
        "sources" => Some(ChartKind::TopSources),
        _ => None,
    };
    let named = text.split_once('=');
    let named = named.and_then(|(name, path)| Some((kind(name)?, path)));
    let (kind, path) = named.unwrap_or((ChartKind::default(), text));
    Ok(Plot {
        kind,
        path: path.into(),
    })
}

/// Reads `1200x800`.
fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once(['x', 'X', '×']);
    let sides = sides.and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let (width, height) = sides.ok_or("not WIDTHxHEIGHT (example: 1200x800)")?;
    if SIDES.contains(&width) && SIDES.contains(&height) {
        return Ok((width, height));
    }
    Err(format!(
        "a side has {} to {} pixels",
        SIDES.start(),
        SIDES.end()
    ))
}

/// Reads `syn_flood_pps=500`.
fn parse_threshold(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    let value = value
        .parse()
        .map_err(|_| format!("{value} is not a whole number"))?;
    Thresholds::default()
        .set(name, value)
        .map_err(|error| error.to_string())?;
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_have_kinds_and_sizes() {
        let plot = |kind, path: &str| Plot {
            kind,
            path: path.into(),
        };
        for (text, expected) in [
            ("a.png", plot(ChartKind::Histogram, "a.png")),
            ("sources=a.png", plot(ChartKind::TopSources, "a.png")),
            ("sizes=b=c.svg", plot(ChartKind::FrameSizes, "b=c.svg")),
            ("run=1.svg", plot(ChartKind::Histogram, "run=1.svg")),
        ] {
            assert_eq!(parse_plot(text), Ok(expected));
        }
        assert_eq!(parse_size("1200x800"), Ok((1200, 800)));
        for wrong in ["1200", "x", "0x600", "100x600", "9000x600", "-1x2"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
