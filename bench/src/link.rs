//! Tools on a link: packet rates, loss, CPU time and memory, each beside no tool at all.

mod cases;
mod goals;
mod report;
mod sections;

use std::{
    fs,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Serialize;
use tempfile::TempDir;
use traffic_tests::netns::{VETH, VethOptions, VethPair};

pub(crate) use self::cases::is_installed;
use self::{
    cases::{Case, Kept},
    goals::Goal,
    sections::{Load, Section, sections},
};
use crate::{
    Programs, empty,
    environment::{Environment, output},
    generator::{Generator, PORT, RECEIVER_MAC},
    tool::{Tool, Usage},
};

/// Arguments of `bench link`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Three repetitions of one second, for a first look.
    #[arg(long)]
    quick: bool,
    /// Seconds of traffic in each run; twice as many where little is sent.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    duration: Option<f64>,
    /// Repetitions; every tool has its turn in each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: Option<u16>,
    /// Only sections whose titles have this in them.
    #[arg(long, value_name = "WORDS")]
    only: Option<String>,
    /// Only tools whose names have one of these in them, beside no tool at all; repeat for several.
    #[arg(long, value_name = "WORDS")]
    tool: Vec<String>,
    /// Directory for bench.md and bench.json.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// Directory that capture files are written to and removed from.
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    files: PathBuf,
}

/// Time that a tool has for what was sent, before it is stopped.
const SETTLE: Duration = Duration::from_millis(300);

/// One run of one tool.
#[derive(Clone, Debug, Default, Serialize)]
struct Run {
    repetition: u16,
    /// Frames that the receiving interface counted, and the seconds that sending them took.
    delivered: u64,
    seconds: f64,
    /// Frames that the tool says it has, or that its report or file has.
    captured: Option<u64>,
    /// User and system time while the traffic ran.
    cpu_s: f64,
    peak_bytes: u64,
    /// From the tool's start until it listened.
    start_s: f64,
}

impl Run {
    fn pps(&self) -> f64 {
        self.delivered as f64 / self.seconds
    }

    fn cpu_per_million(&self) -> Option<f64> {
        Some(self.cpu_s * 1e6 / self.captured.filter(|&frames| frames > 0)? as f64)
    }

    /// Share of delivered frames that the tool does not have.
    fn loss_percent(&self) -> Option<f64> {
        let lost = self.delivered.saturating_sub(self.captured?);
        Some(lost as f64 * 100.0 / self.delivered as f64)
    }
}

/// All runs of one tool under one load.
#[derive(Debug, Serialize)]
struct Row {
    case: Case,
    runs: Vec<Run>,
    /// Why there are none.
    skipped: Option<String>,
}

/// All tools under one load.
#[derive(Debug, Serialize)]
struct Table {
    title: &'static str,
    load: Load,
    rows: Vec<Row>,
    goals: &'static [Goal],
}

/// Everything measured.
#[derive(Debug, Serialize)]
struct Measured {
    begin: Environment,
    end: Environment,
    repetitions: u16,
    seconds: f64,
    versions: Vec<String>,
    tables: Vec<Table>,
}

/// Measures, prints, and writes both reports.
pub(crate) fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let repetitions = args.repetitions.unwrap_or(if args.quick { 3 } else { 10 });
    let seconds = args.duration.unwrap_or(if args.quick { 1.0 } else { 1.5 });
    let begin = Environment::here();
    let stage = Stage::new(args, programs)?;
    let mut tables: Vec<Table> = sections(seconds)
        .into_iter()
        .filter(|section| is_wanted(section, args.only.as_deref()))
        .map(|section| Table::new(section, &args.tool))
        .collect();
    for repetition in 0..repetitions {
        eprintln!("repetition {} of {repetitions}", repetition + 1);
        for table in &mut tables {
            table.repeat(repetition, &stage);
        }
    }
    let measured = Measured {
        begin,
        end: Environment::here(),
        repetitions,
        seconds,
        versions: versions(),
        tables,
    };
    let markdown = report::markdown(&measured);
    println!("{markdown}");
    fs::create_dir_all(&args.out).with_context(|| format!("make {}", args.out.display()))?;
    fs::write(args.out.join("bench.md"), markdown)?;
    fs::write(
        args.out.join("bench.json"),
        serde_json::to_vec_pretty(&measured)?,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn is_wanted(section: &Section, only: Option<&str>) -> bool {
    only.is_none_or(|words| section.title.contains(words))
}

impl Table {
    fn new(section: Section, tools: &[String]) -> Self {
        let cases = section.cases.into_iter();
        let rows = cases.filter(|case| case.is_wanted(tools)).map(|case| Row {
            skipped: case.missing(),
            case,
            runs: Vec::new(),
        });
        Self {
            title: section.title,
            load: section.load,
            rows: rows.collect(),
            goals: section.goals,
        }
    }

    /// Gives every tool its turn; backwards every other time, so that drift hits all alike.
    fn repeat(&mut self, repetition: u16, stage: &Stage<'_>) {
        let mut order: Vec<&mut Row> = self.rows.iter_mut().collect();
        if repetition % 2 == 1 {
            order.reverse();
        }
        for row in order {
            if row.skipped.is_some() {
                continue;
            }
            match stage.run(&row.case, &self.load, repetition) {
                Ok(run) => {
                    eprintln!(
                        "  {}: {}: {:.0} kpps",
                        self.title,
                        row.case.name,
                        run.pps() / 1e3
                    );
                    row.runs.push(run);
                }
                Err(error) => {
                    eprintln!("  {}: {}: {error:#}", self.title, row.case.name);
                    row.skipped = Some(format!("{error:#}"));
                }
            }
        }
    }
}

/// The link and what lies around it; gone when dropped.
struct Stage<'a> {
    programs: &'a Programs,
    pair: VethPair,
    directory: TempDir,
    /// Where frames to the host go.
    _socket: UdpSocket,
}

impl<'a> Stage<'a> {
    fn new(args: &Args, programs: &'a Programs) -> Result<Self> {
        let pair = VethPair::new(&VethOptions {
            offloads: "",
            ipv6: false,
            ..VethOptions::default()
        })?;
        // With GRO the receiving side polls, without which it takes no frames from XDP. The
        // driver heeds it only while the interface is up (`veth_set_features`).
        pair.right.run(&format!("ethtool -K {VETH} gro on"))?;
        let [a, b, c, d, e, f] = RECEIVER_MAC;
        pair.right.run(&format!(
            "ip link set {VETH} address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"
        ))?;
        // Its buffer fills, and then it drops, as a busy receiver does.
        let socket = pair
            .right
            .within(|| Ok(UdpSocket::bind(("0.0.0.0", PORT))?))?;
        let directory = tempfile::Builder::new()
            .prefix("traffic-bench-")
            .tempdir_in(&args.files)
            .with_context(|| format!("make a directory in {}", args.files.display()))?;
        Ok(Self {
            programs,
            pair,
            directory,
            _socket: socket,
        })
    }

    fn run(&self, case: &Case, load: &Load, repetition: u16) -> Result<Run> {
        let paths = Paths::new(self.directory.path(), self.programs);
        let run = self.measure(case, load, &paths);
        paths.remove();
        Ok(Run { repetition, ..run? })
    }

    fn measure(&self, case: &Case, load: &Load, paths: &Paths) -> Result<Run> {
        let generator = load
            .traffic
            .map(|traffic| Generator::load(&self.pair.left, &traffic, self.programs))
            .transpose()?;
        let tool = self.start(case, paths)?;
        let start_s = tool.as_ref().map_or(0.0, |tool| tool.start.as_secs_f64());
        let before = (self.received()?, usage(tool.as_ref())?);
        let seconds = match generator {
            Some(generator) => generator.send()?.seconds,
            None => idle(load.seconds),
        };
        thread::sleep(SETTLE);
        let after = (self.received()?, usage(tool.as_ref())?);
        let captured = match tool {
            Some(tool) => captured(case.kept, &tool.stop()?, paths)?,
            None => None,
        };
        Ok(Run {
            repetition: 0,
            delivered: after.0 - before.0,
            seconds,
            captured,
            cpu_s: after.1.cpu_s - before.1.cpu_s,
            peak_bytes: after.1.peak_bytes,
            start_s,
        })
    }

    fn start(&self, case: &Case, paths: &Paths) -> Result<Option<Tool>> {
        let words = case.words(paths);
        let Some((program, arguments)) = words.split_first() else {
            return Ok(None);
        };
        let mut command = self.pair.right.command("taskset");
        command.args(["--cpu-list", "1", program]).args(arguments);
        Tool::start(&mut command, case.ready).map(Some)
    }

    fn received(&self) -> Result<u64> {
        let path = format!("cat /sys/class/net/{VETH}/statistics/rx_packets");
        let text = self.pair.right.run(&path)?;
        text.trim().parse().context("read rx_packets")
    }
}

/// Where a run's files lie.
struct Paths {
    traffic: PathBuf,
    capture: PathBuf,
    report: PathBuf,
    /// The command that attaches a program that does nothing.
    empty: Vec<String>,
}

impl Paths {
    fn new(directory: &Path, programs: &Programs) -> Self {
        Self {
            traffic: programs.traffic.clone(),
            capture: directory.join("capture"),
            report: directory.join("report.json"),
            empty: empty::command(programs),
        }
    }

    fn remove(&self) {
        for file in [&self.capture, &self.report] {
            // Not every tool writes every file.
            let _ = fs::remove_file(file);
        }
    }
}

fn usage(tool: Option<&Tool>) -> Result<Usage> {
    tool.map_or_else(|| Ok(Usage::default()), Tool::usage)
}

/// Lets time pass on an idle link; returns how much.
fn idle(seconds: f64) -> f64 {
    let start = Instant::now();
    thread::sleep(Duration::from_secs_f64(seconds));
    start.elapsed().as_secs_f64()
}

/// Frames that a tool has, as it says itself.
fn captured(kept: Kept, printed: &str, paths: &Paths) -> Result<Option<u64>> {
    let ledger = match kept {
        Kept::Nothing => return Ok(None),
        Kept::Printed => {
            let count = printed_count(printed);
            return Ok(Some(count.with_context(|| {
                format!("find the number of packets in:\n{printed}")
            })?));
        }
        Kept::Ledger(entry) => entry,
    };
    let text = fs::read(&paths.report).context("read the report of traffic")?;
    let report: serde_json::Value = serde_json::from_slice(&text)?;
    let count = report["ledger"][ledger].as_u64();
    Ok(Some(count.with_context(|| format!("find {ledger}"))?))
}

/// The number in `N packets captured`, or in dumpcap's `Packets received/dropped on interface
/// 'NAME': N/M`.
fn printed_count(printed: &str) -> Option<u64> {
    printed.lines().find_map(|line| {
        let word = if let Some((before, _)) = line.split_once(" packets captured") {
            before.rsplit([' ', '\r']).next()?
        } else {
            let (_, after) = line.split_once("Packets received/dropped on interface ")?;
            after.split_once(": ")?.1.split('/').next()?
        };
        word.parse().ok()
    })
}

/// First lines of what the tools say about themselves.
fn versions() -> Vec<String> {
    ["tcpdump", "dumpcap", "xdpdump", "scapy"]
        .into_iter()
        .filter(|tool| is_installed(tool))
        .map(|tool| match tool {
            "scapy" => {
                let script = "import scapy; print('scapy', scapy.__version__)";
                output("/usr/bin/python3", &["-c", script])
            }
            tool => {
                let printed = Command::new(tool).arg("--version").output();
                let printed = printed.map(|output| [output.stdout, output.stderr].concat());
                let text = String::from_utf8_lossy(&printed.unwrap_or_default()).into_owned();
                format!("{tool}: {}", text.lines().next().unwrap_or_default())
            }
        })
        .collect()
}

/// Reads `3`, `3s`.
fn seconds(text: &str) -> Result<f64, String> {
    text.trim_end_matches('s')
        .parse()
        .ok()
        .filter(|seconds| (0.1..=3600.0).contains(seconds))
        .ok_or_else(|| "not a time from 0.1 to 3600 seconds (example: 3s)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_in_what_tools_print() {
        assert_eq!(printed_count("x\n12 packets captured\n"), Some(12));
        let dumpcap = "Packets received/dropped on interface 'veth0': 34/5 (pcap:5/dumpcap:0)";
        assert_eq!(printed_count(dumpcap), Some(34));
        assert_eq!(printed_count("nothing"), None);
    }
}
