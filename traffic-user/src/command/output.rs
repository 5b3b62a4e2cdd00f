//! Writes the report to everything that was asked for.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::UsageError;
use crate::{
    cli::OutputArgs,
    report::{Report, chart, chart::ChartFormat, html, json, text},
};

/// Size of charts in pixels.
const CHART_SIZE: (u32, u32) = (800, 600);
/// Page that `--open` shows when `--html` names none.
const DEFAULT_PAGE: &str = "network_traffic_analysis.html";

/// The outputs of a run, found writable before it began.
pub(super) struct Outputs {
    plots: Vec<PathBuf>,
    pages: Vec<PathBuf>,
    json: Vec<PathBuf>,
    open: bool,
    /// The analysis is printed: on stderr where stdout carries data.
    analysis: Option<Stream>,
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

impl Outputs {
    /// Checks what was asked for. `stdout_is_taken` where a capture file goes to stdout.
    ///
    /// # Errors
    /// [`UsageError`] for a chart of unknown kind or two outputs on stdout; otherwise when a file
    /// cannot be written.
    pub(super) fn prepare(args: &OutputArgs, stdout_is_taken: bool) -> Result<Self> {
        for path in &args.plot {
            ChartFormat::from_path(path).map_err(|error| UsageError(error.to_string()))?;
        }
        let on_stdout = args.json.iter().filter(|path| is_stdout(path)).count();
        if on_stdout + usize::from(stdout_is_taken) > 1 {
            return Err(UsageError("only one output can go to stdout".to_owned()).into());
        }
        let mut pages = args.html.clone();
        if args.open && pages.is_empty() {
            pages.push(PathBuf::from(DEFAULT_PAGE));
        }
        for path in args.plot.iter().chain(&pages).chain(&args.json) {
            check_writable(path)?;
        }
        let stream = if stdout_is_taken || on_stdout != 0 {
            Stream::Stderr
        } else {
            Stream::Stdout
        };
        Ok(Self {
            plots: args.plot.clone(),
            pages,
            json: args.json.clone(),
            open: args.open,
            analysis: (args.quiet < 2).then_some(stream),
        })
    }

    /// Writes them all, the files first: a closed pipe on stdout must not cost a file.
    pub(super) fn write(&self, report: &Report) -> Result<()> {
        let mut first_error = None;
        let mut note = |result: Result<()>| {
            if let Err(error) = result {
                first_error.get_or_insert(error);
            }
        };
        for path in &self.plots {
            note(chart::write_histogram(report, path, CHART_SIZE).map_err(Into::into));
        }
        for path in &self.pages {
            note(write_file(path, &html::render(report)));
        }
        for path in &self.json {
            let text = json::to_string(report) + "\n";
            note(if is_stdout(path) {
                print(Stream::Stdout, &text)
            } else {
                write_file(path, &text)
            });
        }
        if let Some(stream) = self.analysis {
            note(print(stream, &text::render(report)));
        }
        if self.open
            && let Some(page) = self.pages.first()
        {
            open_page(page);
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// Whether a path stands for stdout.
pub(super) fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens a file for writing without changing it, so that a wrong path is known before the run.
fn check_writable(path: &Path) -> Result<()> {
    if is_stdout(path) {
        return Ok(());
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map(drop)
        .with_context(|| format!("write {}", path.display()))
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn print(stream: Stream, text: &str) -> Result<()> {
    match stream {
        Stream::Stdout => std::io::stdout().lock().write_all(text.as_bytes()),
        Stream::Stderr => std::io::stderr().lock().write_all(text.as_bytes()),
    }
    .context("print the report")
}

/// Shows a page in the browser, where there is a display.
fn open_page(page: &Path) {
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    if !has_display {
        log::info!("no display: open {} yourself", page.display());
        return;
    }
    let opener = Command::new("xdg-open")
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = opener {
        log::warn!("open {} with xdg-open: {error}", page.display());
    }
}
