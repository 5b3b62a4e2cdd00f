//! Writes a report everywhere it was asked for.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use super::UsageError;
use crate::{
    cli::{OutputArgs, Plot, ThemeArg},
    report::{
        Report,
        chart::{self, ChartFormat, ChartOptions, Theme},
        csv, html, json, text,
    },
};

/// The page that `--open` writes when no other was asked for.
pub(super) const DEFAULT_PAGE: &str = "network_traffic_analysis.html";

/// Where a report goes.
#[derive(Clone, Debug)]
pub(super) struct Outputs {
    plots: Vec<(PathBuf, ChartOptions)>,
    pages: Vec<PathBuf>,
    json: Vec<PathBuf>,
    csv: Option<PathBuf>,
    open: bool,
    text: bool,
    stdout_has_data: bool,
}

impl Outputs {
    /// What `args` ask for, beside `others` that are written meanwhile.
    ///
    /// # Errors
    /// When a picture's name does not say its format, two outputs want stdout ([`UsageError`]), or a
    /// file cannot be written; known before anything is captured or read.
    pub(super) fn new(args: &OutputArgs, others: &[&Path]) -> Result<Self> {
        for plot in &args.plot {
            ChartFormat::from_path(&plot.path).map_err(|error| UsageError(error.to_string()))?;
        }
        let json = args.json.iter().map(PathBuf::as_path);
        let packets = args.packets.as_deref();
        let on_stdout = json
            .chain(packets)
            .chain(others.iter().copied())
            .filter(|path| is_stdout(path));
        let on_stdout = on_stdout.count();
        if on_stdout > 1 {
            let message = "only one output can be written to stdout";
            return Err(UsageError(message.to_owned()).into());
        }
        let mut pages = args.html.clone();
        if args.open && pages.is_empty() {
            pages.push(DEFAULT_PAGE.into());
        }
        let plots = args.plot.iter().map(|plot| &plot.path);
        for path in args.json.iter().chain(plots).chain(&pages) {
            check_writable(path)?;
        }
        if let Some(directory) = &args.csv {
            fs::create_dir_all(directory)
                .with_context(|| format!("make {}", directory.display()))?;
        }
        Ok(Self {
            plots: args.plot.iter().map(|plot| picture(plot, args)).collect(),
            csv: args.csv.clone(),
            pages,
            json: args.json.clone(),
            open: args.open,
            text: args.quiet < 2,
            stdout_has_data: on_stdout > 0,
        })
    }

    /// Writes `report` everywhere. One output that fails does not keep the others from being
    /// written.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn write(&self, report: &Report) -> Result<()> {
        let mut results = Vec::new();
        for (path, options) in &self.plots {
            let written = chart::write(report, path, options);
            results.push(written.map_err(Into::into));
        }
        for path in &self.pages {
            let page = html::render(report);
            let written = fs::write(path, page);
            results.push(written.with_context(|| format!("write {}", path.display())));
        }
        if let Some(directory) = &self.csv {
            results.push(write_csv(report, directory));
        }
        for path in &self.json {
            results.push(write_json(report, path));
        }
        // The terminal last: a reader that went away must not cost a file.
        results.push(self.print(report));
        if self.open {
            results.push(open(&self.pages[0]));
        }
        results.into_iter().collect()
    }

    fn print(&self, report: &Report) -> Result<()> {
        if !self.text {
            return Ok(());
        }
        let text = text::render(report);
        if self.stdout_has_data {
            io::stderr().write_all(text.as_bytes())
        } else {
            io::stdout().write_all(text.as_bytes())
        }
        .context("print the analysis")
    }
}

/// Whether a path stands for stdout.
#[must_use]
pub(super) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Finds out whether a file can be written, without leaving a trace, so that a wrong path is known
/// before the run.
fn check_writable(path: &Path) -> Result<()> {
    if is_stdout(path) {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).open(path);
    let result = match created {
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().append(true).open(path).map(drop)
        }
        Err(error) => Err(error),
    };
    result.with_context(|| format!("write {}", path.display()))
}

fn write_json(report: &Report, path: &Path) -> Result<()> {
    let json = json::to_string(report);
    if is_stdout(path) {
        return io::stdout()
            .write_all(json.as_bytes())
            .context("write JSON to stdout");
    }
    fs::write(path, json).with_context(|| format!("write {}", path.display()))
}

fn write_csv(report: &Report, directory: &Path) -> Result<()> {
    for table in csv::tables(report) {
        let path = directory.join(table.name).with_extension("csv");
        fs::write(&path, table.to_string()).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn picture(plot: &Plot, args: &OutputArgs) -> (PathBuf, ChartOptions) {
    let options = ChartOptions {
        kind: plot.kind,
        size: args.plot_size,
        theme: match args.theme {
            ThemeArg::Light => Theme::Light,
            ThemeArg::Dark => Theme::Dark,
        },
    };
    (plot.path.clone(), options)
}

/// Shows a page in the browser, where there is a display.
fn open(page: &Path) -> Result<()> {
    let display = ["DISPLAY", "WAYLAND_DISPLAY"];
    if display.iter().all(|name| env::var_os(name).is_none()) {
        log::warn!("no display to open {} on", page.display());
        return Ok(());
    }
    Command::new("xdg-open")
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
        .with_context(|| format!("open {} with xdg-open", page.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command as Subcommand};

    #[test]
    fn stdout_carries_one_output() {
        let both = ["--json", "-"];
        assert!(outputs(&both, None).unwrap().stdout_has_data);
        assert!(
            !outputs(&["--json", "a.json"], None)
                .unwrap()
                .stdout_has_data
        );
        assert!(outputs(&[], Some("-")).unwrap().stdout_has_data);
        assert!(outputs(&both, Some("-")).is_err());
        assert!(outputs(&["--packets", "-", "--json", "-"], None).is_err());
    }

    #[test]
    fn pictures_have_a_known_format() {
        assert!(outputs(&["--plot", "a.svg", "--plot", "b.PNG"], None).is_ok());
        let refused = outputs(&["--plot", "a.gif"], None).unwrap_err();
        assert!(refused.to_string().contains("a.gif"), "{refused}");
    }

    #[test]
    fn open_writes_a_page() {
        assert_eq!(
            outputs(&["--open"], None).unwrap().pages,
            [Path::new(DEFAULT_PAGE)]
        );
        let named = outputs(&["--open", "--html", "a.html"], None).unwrap();
        assert_eq!(named.pages, [Path::new("a.html")]);
        assert!(outputs(&[], None).unwrap().pages.is_empty());
    }

    fn outputs(args: &[&str], capture_file: Option<&str>) -> Result<Outputs> {
        let args = ["traffic", "read", "a.pcap"].iter().chain(args);
        let Some(Subcommand::Read(args)) = Cli::try_parse_from(args).unwrap().command else {
            panic!("not read");
        };
        Outputs::new(&args.output, capture_file.map(Path::new).as_slice())
    }
}
