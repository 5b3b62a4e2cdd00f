//! A capture of mixed traffic on a network of its own.

mod dns;
mod fleet;
pub(crate) mod peer;
mod stage;
mod tagged;

use std::{
    env, fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ExitCode},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use signal_hook::{
    consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use traffic_tests::netns::VETH;

use crate::{
    build::{self, Profile},
    process,
    run::as_root,
    setup::{DEMO_TOOLS, Setup},
};
use stage::Stage;

/// What the capture leaves in the directory.
const FILES: [&str; 5] = [
    "captured_packets.pcapng",
    "network_traffic_analysis.html",
    "histogram.png",
    "histogram.svg",
    "report.json",
];

/// Captures mixed traffic on a network of its own and leaves file, analysis and histogram
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Time to capture: seconds, with or without `s`.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = seconds)]
    duration: f64,
    /// Where the programs attach.
    #[arg(long, value_enum, default_value_t = Hook::Tc)]
    hook: Hook,
    /// Directory for the files.
    #[arg(long, value_name = "DIR", default_value = "demo-output")]
    out: PathBuf,
    /// Three hosts that send to one ClickHouse, and a report of all three.
    #[arg(long, conflicts_with = "hook")]
    fleet: bool,
    /// Use the program as it was built last.
    #[arg(long)]
    no_build: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hook {
    Tc,
    Xdp,
}

impl Demo {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if !self.no_build {
            Setup::default().tools(DEMO_TOOLS)?;
            if self.fleet {
                Setup::default().tools(&["curl"])?;
                Setup::default().clickhouse()?;
            }
            build::all(Profile::Release)?;
        }
        if geteuid().is_root() {
            self.perform()
        } else {
            self.run_as_root()
        }
    }

    /// Only the capture needs root; the build does not.
    fn run_as_root(self) -> Result<ExitCode> {
        let mut command = as_root(env::current_exe().context("find this program")?);
        command
            .args(["demo", "--no-build", "--duration"])
            .arg(self.duration.to_string())
            .arg("--out")
            .arg(self.out);
        if self.fleet {
            command.arg("--fleet");
        } else {
            command.args(["--hook", self.hook.name()]);
        }
        process::show(&command);
        Err(command.exec()).context("run the demonstration as root")
    }

    fn perform(self) -> Result<ExitCode> {
        // From here on signals end the capture, and the namespaces go whatever happens.
        let mut signals = Signals::new([SIGCHLD, SIGHUP, SIGINT, SIGTERM])?;
        let files: &[&str] = if self.fleet { &fleet::FILES } else { &FILES };
        let files: Vec<_> = files.iter().map(|file| self.out.join(file)).collect();
        fs::create_dir_all(&self.out).with_context(|| format!("make {}", self.out.display()))?;
        for file in files.iter().filter(|file| file.exists()) {
            fs::remove_file(file).with_context(|| format!("remove {}", file.display()))?;
        }
        let succeeded = if self.fleet {
            fleet::perform(self.duration, &self.out, &mut signals)?
        } else {
            let stage = Stage::new(self.duration)?;
            let mut captures = [self.start_capture(&stage)?];
            wait(&mut captures, &mut signals)?
        };
        give_back(&self.out, &files)?;
        if !succeeded {
            return Ok(ExitCode::FAILURE);
        }
        for file in &files {
            ensure!(
                file.exists(),
                "the demonstration left no {}",
                file.display()
            );
            eprintln!("{}", file.display());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn start_capture(&self, stage: &Stage) -> Result<Child> {
        let [frames, page, png, svg, json] = FILES.map(|file| self.out.join(file));
        let mut command = stage.left().command(build::program(Profile::Release));
        command
            .args(["capture", "--interface", VETH, "--hook", self.hook.name()])
            .args(["--duration", &format!("{}s", self.duration)])
            .arg("--write")
            .arg(frames)
            .arg("--html")
            .arg(page)
            .arg("--plot")
            .arg(png)
            .arg("--plot")
            .arg(svg)
            .arg("--json")
            .arg(json)
            // Ctrl-C on the terminal must reach it once: from here.
            .process_group(0);
        process::show(&command);
        command.spawn().context("run traffic")
    }
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }
}

/// Waits for the end of the captures; other signals are handed on to them. Whether all succeeded.
fn wait(captures: &mut [Child], signals: &mut Signals) -> Result<bool> {
    let pids = captures.iter().map(|capture| i32::try_from(capture.id()));
    let pids: Vec<_> = pids
        .collect::<Result<_, _>>()
        .context("process ids are positive")?;
    let mut succeeded = true;
    for (place, capture) in captures.iter_mut().enumerate() {
        // It may have ended before the signals were looked at.
        let mut status = capture.try_wait()?;
        while status.is_none() {
            for signal in signals.wait() {
                if signal != SIGCHLD {
                    stop(&pids[place..]);
                }
            }
            status = capture.try_wait()?;
        }
        let status = status.context("wait for the capture")?;
        if !status.success() {
            eprintln!("traffic capture: {status}");
            succeeded = false;
        }
    }
    Ok(succeeded)
}

/// Stops processes that have not been waited for.
fn stop(pids: &[i32]) {
    for pid in pids {
        // It fails for one that has ended already.
        let _ = kill(Pid::from_raw(*pid), Signal::SIGINT);
    }
}

/// Hands the files to the user who called sudo.
fn give_back(directory: &Path, files: &[PathBuf]) -> Result<()> {
    let id = |name| env::var(name).ok()?.parse().ok();
    let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) else {
        return Ok(());
    };
    chown(directory, Some(user), Some(group))?;
    for file in files.iter().filter(|file| file.exists()) {
        chown(file, Some(user), Some(group))?;
    }
    Ok(())
}

/// Reads `10`, `10s`, `2.5s`.
fn seconds(text: &str) -> Result<f64, String> {
    text.strip_suffix('s')
        .unwrap_or(text)
        .parse()
        .ok()
        .filter(|seconds| (0.1..=86_400.0).contains(seconds))
        .ok_or_else(|| "not a time from 0.1 to 86400 seconds (example: 10s)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds() {
        assert_eq!(seconds("10s"), Ok(10.0));
        assert_eq!(seconds("2.5"), Ok(2.5));
        assert!(seconds("0").is_err());
        assert!(seconds("inf").is_err());
        assert!(seconds("NaN").is_err());
        assert!(seconds("soon").is_err());
    }
}
