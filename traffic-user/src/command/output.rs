//! Writes a report everywhere it was asked for.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    UsageError,
    runner::{Errand, Runner},
};
use crate::{
    cli::{OutputArgs, Plot, ThemeArg},
    report::{
        Report,
        chart::{self, ChartFormat, ChartOptions, Theme},
        csv, html, json, text,
    },
    sandbox::Policy,
};

/// The page that `--open` writes when no other was asked for.
pub(super) const DEFAULT_PAGE: &str = "network_traffic_analysis.html";

/// Where a report goes.
#[derive(Debug)]
pub(super) struct Outputs {
    plots: Vec<(Target, ChartFormat, ChartOptions)>,
    pages: Vec<Target>,
    json: Vec<Target>,
    csv: Option<PathBuf>,
    open: bool,
    browser: Option<Runner>,
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
        let plots: Result<Vec<_>> = args.plot.iter().map(|plot| picture(plot, args)).collect();
        let plots = plots?;
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
        let pages: Vec<_> = pages.into_iter().map(Target::new).collect();
        let json: Vec<_> = args.json.iter().cloned().map(Target::new).collect();
        let pictures = plots.iter().map(|(target, ..)| target);
        let packets = args.packets.clone().map(Target::new);
        let files = json.iter().chain(pictures).chain(&pages).chain(&packets);
        files.into_iter().try_for_each(Target::check_writable)?;
        Ok(Self {
            plots,
            csv: args.csv.clone(),
            pages,
            json,
            open: args.open,
            browser: None,
            text: args.quiet < 2,
            stdout_has_data: on_stdout > 0,
        })
    }

    /// Opens the files, so that they can be written when nothing can be opened any more.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub(super) fn hold(&mut self, policy: &mut Policy) -> Result<()> {
        if let Some(directory) = &self.csv {
            make_directory(directory)?;
            policy.make_files_in(directory);
        }
        if self.open {
            self.browser = browser(&self.pages[0].path)?;
        }
        let pictures = self.plots.iter_mut().map(|(target, ..)| target);
        let mut files = self.json.iter_mut().chain(pictures).chain(&mut self.pages);
        files.try_for_each(Target::hold)
    }

    /// Writes `report` everywhere. One output that fails does not keep the others from being
    /// written.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn write(&self, report: &Report) -> Result<()> {
        let mut results = Vec::new();
        for (target, format, options) in &self.plots {
            let picture = chart::encode(report, *format, options);
            let written = picture.map_err(Into::into);
            results.push(written.and_then(|picture| target.write(&picture)));
        }
        for target in &self.pages {
            results.push(target.write(html::render(report).as_bytes()));
        }
        if let Some(directory) = &self.csv {
            results.push(write_csv(report, directory));
        }
        for target in &self.json {
            results.push(target.write(json::to_string(report).as_bytes()));
        }
        // The terminal last: a reader that went away must not cost a file.
        results.push(self.print(report));
        if self.open {
            self.show(&self.pages[0].path);
        }
        results.into_iter().collect()
    }

    /// Shows a page in the browser, and does not wait for that.
    fn show(&self, page: &Path) {
        match &self.browser {
            Some(browser) => browser.run(page),
            None => log::warn!("no display to open {} on", page.display()),
        }
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

/// A file that is written once, at the end; `-` is stdout.
#[derive(Debug)]
struct Target {
    path: PathBuf,
    held: Option<File>,
}

impl Target {
    fn new(path: PathBuf) -> Self {
        Self { path, held: None }
    }

    fn describe(&self) -> String {
        if is_stdout(&self.path) {
            "write to stdout".to_owned()
        } else {
            format!("write {}", self.path.display())
        }
    }

    /// Finds out whether the file can be written, without leaving a trace, so that a wrong path is
    /// known before the run.
    fn check_writable(&self) -> Result<()> {
        if is_stdout(&self.path) {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let created = options.write(true).create_new(true).open(&self.path);
        let result = match created {
            Ok(_) => fs::remove_file(&self.path),
            // Opening a pipe waits for its reader, who would take closing it for the end.
            Err(_) if self.is_pipe() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                OpenOptions::new().append(true).open(&self.path).map(drop)
            }
            Err(error) => Err(error),
        };
        result.with_context(|| self.describe())
    }

    fn is_pipe(&self) -> bool {
        let metadata = self.path.metadata();
        metadata.is_ok_and(|metadata| metadata.file_type().is_fifo())
    }

    /// Opens the file, and leaves what is in it until [`Target::write`].
    fn hold(&mut self) -> Result<()> {
        if is_stdout(&self.path) {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let opened = options.open(&self.path).with_context(|| self.describe())?;
        self.held = Some(opened);
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        let written = match &self.held {
            _ if is_stdout(&self.path) => io::stdout().write_all(bytes),
            None => fs::write(&self.path, bytes),
            Some(file) => overwrite(file, bytes),
        };
        written.with_context(|| self.describe())
    }
}

/// What is no regular file has no length to cut.
fn overwrite(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        file.set_len(0)?;
    }
    file.write_all(bytes)?;
    if metadata.nlink() == 0 {
        return Err(io::Error::other("it was removed during the run"));
    }
    Ok(())
}

fn make_directory(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))
}

fn write_csv(report: &Report, directory: &Path) -> Result<()> {
    // Where privileges were given up, it was made before.
    if !directory.is_dir() {
        make_directory(directory)?;
    }
    for table in csv::tables(report) {
        let path = directory.join(table.name).with_extension("csv");
        fs::write(&path, table.to_string()).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn picture(plot: &Plot, args: &OutputArgs) -> Result<(Target, ChartFormat, ChartOptions)> {
    let format = ChartFormat::from_path(&plot.path);
    let format = format.map_err(|error| UsageError(error.to_string()))?;
    let options = ChartOptions {
        kind: plot.kind,
        size: args.plot_size,
        theme: match args.theme {
            ThemeArg::Light => Theme::Light,
            ThemeArg::Dark => Theme::Dark,
        },
    };
    Ok((Target::new(plot.path.clone()), format, options))
}

/// What will show a page in the browser, where there is a display.
fn browser(page: &Path) -> Result<Option<Runner>> {
    let display = ["DISPLAY", "WAYLAND_DISPLAY"];
    if display.iter().all(|name| env::var_os(name).is_none()) {
        return Ok(None);
    }
    Runner::new(Errand {
        command: Command::new("xdg-open"),
        program: "xdg-open".into(),
        directory: page
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .map_or_else(|| ".".into(), Path::to_owned),
        user: None,
    })
    .map(Some)
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
        let pages = |args| -> Vec<PathBuf> {
            let outputs = outputs(args, None).unwrap();
            outputs.pages.into_iter().map(|page| page.path).collect()
        };
        assert_eq!(pages(&["--open"]), [Path::new(DEFAULT_PAGE)]);
        let named = pages(&["--open", "--html", "a.html"]);
        assert_eq!(named, [Path::new("a.html")]);
        assert!(pages(&[]).is_empty());
    }

    fn outputs(args: &[&str], capture_file: Option<&str>) -> Result<Outputs> {
        let args = ["traffic", "read", "a.pcap"].iter().chain(args);
        let Some(Subcommand::Read(args)) = Cli::try_parse_from(args).unwrap().command else {
            panic!("not read");
        };
        Outputs::new(&args.output, capture_file.map(Path::new).as_slice())
    }
}
