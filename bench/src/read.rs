//! Reading a large capture file, beside other readers.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use traffic_user::{
    capture_file::{CaptureWriter, Frame, InterfaceDescription, LinkType},
    record::Direction,
};

use crate::{
    Programs,
    environment::Environment,
    frames::{ipv4, samples},
    link::is_installed,
    statistics::Estimate,
};

/// Arguments of `bench read`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Size of the capture file in megabytes.
    #[arg(long, value_name = "MB", default_value_t = 1100)]
    megabytes: u64,
    /// Repetitions; tshark runs in the first one alone.
    #[arg(long, value_name = "N", default_value_t = 5)]
    repetitions: u16,
    /// Directory for read.md and read.json.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// Directory that the capture file is written to and removed from.
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    files: PathBuf,
}

const TCPDUMP: &str = "tcpdump -r FILE -w /dev/null";
const TSHARK: &str = "tshark -q -z io,phs";
/// How many times as long as `traffic read` a reader is to take at least.
const GOALS: [(&str, f64); 2] = [(TCPDUMP, 1.0), (TSHARK, 30.0)];
/// Share of the file that shows whether memory depends on its size.
const PART: u64 = 8;
/// Source addresses in the file.
const SOURCES: u32 = 10_000;
/// How often the memory of a reader is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// A reader with its arguments.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    command: Vec<String>,
    seconds: Vec<f64>,
    peak_bytes: Vec<f64>,
    skipped: bool,
    /// Runs in the first repetition alone.
    once: bool,
}

/// Everything measured.
#[derive(Debug, Serialize)]
struct Measured {
    environment: Environment,
    bytes: u64,
    packets: u64,
    rows: Vec<Row>,
}

/// Makes the file, measures, prints, and writes both reports.
pub(crate) fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let directory = tempfile::Builder::new()
        .prefix("traffic-bench-")
        .tempdir_in(&args.files)
        .with_context(|| format!("make a directory in {}", args.files.display()))?;
    let whole = directory.path().join("whole.pcapng");
    let part = directory.path().join("part.pcapng");
    let packets = write_capture(&whole, args.megabytes * 1_000_000)?;
    write_capture(&part, args.megabytes * 1_000_000 / PART)?;
    let mut rows = rows(&programs.traffic, &whole, &part);
    for repetition in 0..args.repetitions {
        for row in &mut rows {
            if !row.skipped && (repetition == 0 || !row.once) {
                row.repeat()?;
            }
        }
    }
    let measured = Measured {
        environment: Environment::here(),
        bytes: fs::metadata(&whole)?.len(),
        packets,
        rows,
    };
    let markdown = measured.markdown();
    println!("{markdown}");
    fs::create_dir_all(&args.out).with_context(|| format!("make {}", args.out.display()))?;
    fs::write(args.out.join("read.md"), markdown)?;
    fs::write(
        args.out.join("read.json"),
        serde_json::to_vec_pretty(&measured)?,
    )?;
    Ok(ExitCode::SUCCESS)
}

fn rows(traffic: &Path, whole: &Path, part: &Path) -> Vec<Row> {
    let traffic = traffic.display().to_string();
    let (whole, part) = (whole.display().to_string(), part.display().to_string());
    let row = |name, words: &[&str]| Row {
        name,
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        seconds: Vec::new(),
        peak_bytes: Vec::new(),
        skipped: !Path::new(words[0]).is_file() && !is_installed(words[0]),
        once: words[0] == "tshark",
    };
    vec![
        row("traffic read", &[&traffic, "read", &whole]),
        row(
            "traffic read, an eighth of the file",
            &[&traffic, "read", &part],
        ),
        row(
            TCPDUMP,
            &["tcpdump", "-Z", "root", "-r", &whole, "-w", "/dev/null"],
        ),
        row("capinfos", &["capinfos", &whole]),
        row(
            TSHARK,
            &["tshark", "-n", "-r", &whole, "-q", "-z", "io,phs"],
        ),
    ]
}

impl Row {
    fn repeat(&mut self) -> Result<()> {
        let start = Instant::now();
        let mut reader = Reader(
            Command::new(&self.command[0])
                .args(&self.command[1..])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .with_context(|| format!("start {}", self.command[0]))?,
        );
        let mut peak = 0.0_f64;
        let status = loop {
            if let Some(status) = reader.0.try_wait()? {
                break status;
            }
            peak = peak.max(peak_bytes(reader.0.id()).unwrap_or(0.0));
            thread::sleep(LOOK);
        };
        ensure!(status.success(), "{}: {status}", self.command.join(" "));
        self.seconds.push(start.elapsed().as_secs_f64());
        self.peak_bytes.push(peak);
        Ok(())
    }
}

/// A reader; killed on drop.
struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Largest resident set so far; `None` once the process has ended.
fn peak_bytes(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024.0)
}

impl Measured {
    fn markdown(&self) -> String {
        let mut text = format!(
            "{}. A pcapng file of {} MB with {} packets in memory. Medians with bootstrap 95 % \
             intervals.\n\n| reader | seconds | million packets/s | peak RSS MiB | time, traffic \
             read = 1 |\n|---|--:|--:|--:|--:|\n",
            self.environment.text(),
            self.bytes / 1_000_000,
            self.packets,
        );
        let ours = Estimate::of(&self.rows[0].seconds);
        for row in &self.rows {
            let (Some(seconds), Some(peak)) =
                (Estimate::of(&row.seconds), Estimate::of(&row.peak_bytes))
            else {
                let _ = writeln!(text, "| {} | not installed: skipped | | | |", row.name);
                continue;
            };
            let is_part = row.name.contains("eighth");
            let share = if is_part { PART as f64 } else { 1.0 };
            let relative = ours.filter(|_| !is_part).map_or_else(String::new, |ours| {
                format!("{:.2}", seconds.median / ours.median)
            });
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {:.1} | {relative} |",
                row.name,
                seconds.text(2),
                self.packets as f64 / share / seconds.median / 1e6,
                peak.median / f64::from(1 << 20),
            );
        }
        text + &self.goals()
    }

    fn goals(&self) -> String {
        let mut text = "\n| goal | at least | measured | |\n|---|--:|--:|---|\n".to_owned();
        for (name, bound) in GOALS {
            let ours = self.rows[0].seconds.iter();
            let row = self.rows.iter().find(|row| row.name == name);
            let ratios: Vec<f64> = row
                .into_iter()
                .flat_map(|row| row.seconds.iter().zip(ours.clone()))
                .map(|(theirs, ours)| theirs / ours)
                .collect();
            let Some(ratio) = Estimate::of(&ratios) else {
                continue;
            };
            let _ = writeln!(
                text,
                "| time of {name}, over traffic read | {bound} | {} | {} |",
                ratio.text(2),
                ratio.against_least(bound)
            );
        }
        text
    }
}

/// Writes a capture of at least `bytes`: the mix of sizes from many sources, and now and then every
/// other kind of frame. Returns the number of packets.
fn write_capture(path: &Path, bytes: u64) -> Result<u64> {
    let interface = InterfaceDescription::new("veth0", LinkType::ETHERNET);
    let mut writer = CaptureWriter::create(path, &[interface])
        .with_context(|| format!("write {}", path.display()))?;
    let mut mix: Vec<Vec<u8>> = [60, 60, 594, 60, 60, 594, 1514, 60, 594, 60, 594, 60]
        .into_iter()
        .map(|len| ipv4(len, if len == 594 { 6 } else { 17 }, 5000))
        .collect();
    let others = samples();
    let (mut packets, mut written) = (0_u64, 0_u64);
    while written < bytes {
        let number = usize::try_from(packets)?;
        let other = &others[number / 64 % others.len()].frame;
        let count = mix.len();
        let frame = &mut mix[number % count];
        let source = 0xc612_0000 + u32::try_from(packets % u64::from(SOURCES))?;
        frame[26..30].copy_from_slice(&source.to_be_bytes());
        let frame = if number % 64 == 63 { other } else { frame };
        // 1 µs apart.
        let timestamp_ns = 1_700_000_000_000_000_000 + packets * 1000;
        writer.write_frame(&Frame {
            interface: 0,
            timestamp_ns,
            wire_len: u32::try_from(frame.len())?,
            direction: Direction::Ingress,
            dropped: 0,
            data: frame,
        })?;
        packets += 1;
        written += frame.len() as u64 + 44;
    }
    writer.finish(&[])?;
    Ok(packets)
}
