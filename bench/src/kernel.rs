//! Nanoseconds per packet of every program path (`BPF_PROG_TEST_RUN`), as ratios to a program that
//! does nothing, measured in turn with it.

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf,
    programs::{SchedClassifier, TestRun, TestRunOptions, Xdp},
};
use traffic_ebpf::{config::LINK_ETHERNET, record::Summary};
use traffic_user::kernel::{Access, Bench, PacketProgram, Settings};

use crate::{
    Programs,
    environment::Environment,
    frames::{Sample, samples},
    statistics::{Estimate, median},
};

/// Arguments of `bench kernel`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Fail when a path costs more than docs/bench-kernel.json says, plus a margin for noise.
    #[arg(long, conflicts_with = "record")]
    check: bool,
    /// Write docs/bench-kernel.json from this measurement.
    #[arg(long, conflicts_with = "path")]
    record: bool,
    /// Repetitions, each with the empty program beside it.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    repetitions: u16,
    /// Only paths whose names have all of these words in them; repeat for several.
    #[arg(long, value_name = "WORDS")]
    path: Vec<String>,
}

/// Most runs of a program in one measurement.
const RUNS: u32 = 100_000;
/// Size of the ring: the default of `traffic capture`.
const RING_BYTES: u32 = 16 << 20;
/// What the ring holds at most beside a frame's or excerpt's bytes: headers, and room for a tag.
const ITEM_BYTES: usize = 56;
/// What a path may cost over the recorded ratio: noise between runs of one machine.
const MARGIN: f64 = 1.25;
/// Measurements of one path that may be thrown away because the ring was full.
const TRIES: usize = 20;

/// What a run asks of the programs.
struct Mode {
    name: &'static str,
    summaries: bool,
    snaplen: u32,
    sample: u32,
    /// The frames that are measured; `None` for all.
    frames: Option<&'static [&'static str]>,
}

/// What a path is called in tables and in the record.
fn path_name(program: PacketProgram, mode: &str, frame: &str) -> String {
    format!("{} | {mode} | {frame}", program.name())
}

impl Mode {
    fn measures(&self, sample: &Sample) -> bool {
        let frames = self.frames;
        frames.is_none_or(|frames| frames.contains(&sample.name))
    }

    /// As many runs as fit three quarters of the ring, even if nobody empties it meanwhile.
    fn runs(&self, sample: &Sample) -> u32 {
        let summary = size_of::<Summary>() + 1;
        let frame = if self.snaplen == 0 {
            0
        } else {
            let copied = sample.frame.len().min(self.snaplen as usize);
            copied + ITEM_BYTES
        };
        let is_excerpted = matches!(sample.name, "arp" | "dns");
        let excerpt = if is_excerpted { 512 + ITEM_BYTES } else { 0 };
        let bytes = summary + frame + excerpt;
        let runs = RING_BYTES as usize / 4 * 3 / bytes;
        u32::try_from(runs).unwrap_or(RUNS).min(RUNS)
    }
}

const SHORT_AND_LONG: Option<&[&str]> = Some(&["udp4", "1514 B"]);
const MODES: [Mode; 5] = [
    Mode {
        name: "counters only",
        summaries: false,
        snaplen: 0,
        sample: 1,
        frames: SHORT_AND_LONG,
    },
    Mode {
        name: "summaries",
        summaries: true,
        snaplen: 0,
        sample: 1,
        frames: None,
    },
    Mode {
        name: "+ 1/64 frames of 128 B",
        summaries: true,
        snaplen: 128,
        sample: 64,
        frames: SHORT_AND_LONG,
    },
    Mode {
        name: "+ 128 B of every frame",
        summaries: true,
        snaplen: 128,
        sample: 1,
        frames: SHORT_AND_LONG,
    },
    Mode {
        name: "+ whole frames",
        summaries: true,
        snaplen: 262_144,
        sample: 1,
        frames: SHORT_AND_LONG,
    },
];
const PROGRAMS: [PacketProgram; 3] = [
    PacketProgram::Xdp,
    PacketProgram::XdpFrags,
    PacketProgram::Ingress,
];

/// What one path costs.
#[derive(Debug)]
struct Cost {
    program: PacketProgram,
    mode: &'static str,
    frame: &'static str,
    /// Of one run, in each repetition.
    ns: Vec<f64>,
}

/// A path's cost beside the empty program's.
struct Path {
    name: String,
    null_ns: f64,
    ns: f64,
    ratio: Estimate,
}

impl Cost {
    fn beside(self, null: &Null) -> Option<Path> {
        let Self {
            program,
            mode,
            frame,
            ns,
        } = self;
        let null_ns = null.mean(program);
        let ratios: Vec<f64> = ns.iter().map(|ns| ns / null_ns).collect();
        Some(Path {
            name: path_name(program, mode, frame),
            null_ns,
            ns: median(&ns)?,
            ratio: Estimate::of(&ratios)?,
        })
    }
}

/// Measures, prints, and compares or records.
pub(crate) fn run(args: &Args, programs: &Programs) -> Result<ExitCode> {
    let mut null = Null::load(programs)?;
    let samples = samples();
    let mut costs = Vec::new();
    for mode in &MODES {
        costs.extend(measure(mode, &samples, &mut null, args)?);
    }
    let paths: Vec<Path> = costs
        .into_iter()
        .filter_map(|cost| cost.beside(&null))
        .collect();
    print(&paths);
    scale(args.repetitions)?;
    if args.record {
        record(&paths)?;
    }
    if args.check {
        return check(&paths);
    }
    Ok(ExitCode::SUCCESS)
}

/// CPUs that produce at once.
const PRODUCERS: usize = 2;

/// Measures summaries from two CPUs at once beside one; nobody takes them meanwhile.
fn scale(repetitions: u16) -> Result<()> {
    let settings = Settings {
        ring_bytes: RING_BYTES,
        ..Settings::default()
    };
    let mut bench = Bench::load(&settings, &[LINK_ETHERNET], Access::of_this_kernel())?;
    let samples = samples();
    let frame = &samples[0].frame;
    let mut factors = Vec::new();
    for _ in 0..repetitions {
        let mut mean = |cpus: usize| -> Result<f64> {
            let times = bench.time_together(PacketProgram::Ingress, frame, RUNS, cpus)?;
            Ok(times.into_iter().map(nanoseconds).sum::<f64>() / cpus as f64)
        };
        let (alone, together) = (mean(1)?, mean(PRODUCERS)?);
        factors.push(PRODUCERS as f64 * alone / together);
    }
    ensure!(bench.lost()? == 0, "measure both CPUs: the ring was full");
    let factor = Estimate::of(&factors).context("there is at least one repetition")?;
    println!(
        "\n{PRODUCERS} CPUs at once make {} times the summaries of one ({}, {}).",
        factor.text(2),
        PacketProgram::Ingress.name(),
        samples[0].name
    );
    Ok(())
}

fn measure(mode: &Mode, samples: &[Sample], null: &mut Null, args: &Args) -> Result<Vec<Cost>> {
    let settings = Settings {
        snaplen: mode.snaplen,
        sample: mode.sample,
        summaries: mode.summaries,
        ring_bytes: RING_BYTES,
        planned: Some(Duration::from_hours(1)),
        ..Settings::default()
    };
    let mut bench = Bench::load(&settings, &[LINK_ETHERNET], Access::of_this_kernel())?;
    let mut costs = Vec::new();
    for program in PROGRAMS {
        for sample in samples {
            let name = path_name(program, mode.name, sample.name);
            let is_wanted = args.path.iter().all(|words| name.contains(words));
            if mode.measures(sample) && is_wanted {
                let repetitions = args.repetitions;
                costs.push(cost(mode, sample, program, &mut bench, null, repetitions)?);
            }
        }
    }
    Ok(costs)
}

fn cost(
    mode: &Mode,
    sample: &Sample,
    program: PacketProgram,
    bench: &mut Bench,
    null: &mut Null,
    repetitions: u16,
) -> Result<Cost> {
    let frame = &sample.frame;
    let runs = mode.runs(sample);
    let wanted = usize::from(repetitions);
    let mut ns = Vec::new();
    for _ in 0..wanted + TRIES {
        if ns.len() == wanted {
            break;
        }
        let lost = bench.lost()?;
        null.measure(program, frame)?;
        let time = bench.time(program, frame, runs)?;
        // A full ring is a shorter way through the program.
        if bench.lost()? == lost {
            ns.push(nanoseconds(time));
        }
    }
    ensure!(
        !ns.is_empty(),
        "measure {}, {}, {}: the ring was full every time",
        program.name(),
        mode.name,
        sample.name
    );
    Ok(Cost {
        program,
        mode: mode.name,
        frame: sample.name,
        ns,
    })
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

fn print(paths: &[Path]) {
    println!("| program | mode | frame | empty ns | ns | ratio (95 %) |");
    println!("|---|---|---|--:|--:|--:|");
    for path in paths {
        println!(
            "| {} | {:.1} | {:.0} | {} |",
            path.name,
            path.null_ns,
            path.ns,
            path.ratio.text(1)
        );
    }
    println!("\n{}", Environment::here().text());
}

fn recorded_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/bench-kernel.json")
}

fn record(paths: &[Path]) -> Result<()> {
    let ratios: BTreeMap<&str, f64> = paths
        .iter()
        .map(|path| {
            (
                path.name.as_str(),
                (path.ratio.median * 10.0).round() / 10.0,
            )
        })
        .collect();
    let path = recorded_path();
    let text = serde_json::to_string_pretty(&ratios)? + "\n";
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// Compares with what was recorded.
fn check(paths: &[Path]) -> Result<ExitCode> {
    let file = recorded_path();
    let text = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    let recorded: BTreeMap<String, f64> = serde_json::from_slice(&text)?;
    let mut is_dear = false;
    for Path { name, ratio, .. } in paths {
        let Some(&recorded) = recorded.get(name) else {
            println!("not recorded: {name} (bench kernel --record)");
            is_dear = true;
            continue;
        };
        if exceeds(ratio, recorded) {
            let now = ratio.text(1);
            println!("dearer: {name}: {now} times the empty program, recorded {recorded:.1}");
            is_dear = true;
        }
    }
    if is_dear {
        return Ok(ExitCode::FAILURE);
    }
    println!("no path costs more than recorded");
    Ok(ExitCode::SUCCESS)
}

/// Whether even the low end of the interval lies beyond the margin.
fn exceeds(ratio: &Estimate, recorded: f64) -> bool {
    ratio.low > recorded * MARGIN
}

/// The programs that do nothing, and what they took.
struct Null {
    ebpf: Ebpf,
    /// In nanoseconds.
    times: BTreeMap<&'static str, Vec<f64>>,
}

impl Null {
    fn load(programs: &Programs) -> Result<Self> {
        let path = &programs.object;
        let mut ebpf = Ebpf::load_file(path).with_context(|| format!("load {}", path.display()))?;
        for program in PROGRAMS {
            let name = Self::name(program);
            let program = ebpf.program_mut(name).context("find the empty program")?;
            if name == NULL_TC {
                TryInto::<&mut SchedClassifier>::try_into(program)?.load()?;
            } else {
                TryInto::<&mut Xdp>::try_into(program)?.load()?;
            }
        }
        Ok(Self {
            ebpf,
            times: BTreeMap::new(),
        })
    }

    fn name(program: PacketProgram) -> &'static str {
        match program {
            PacketProgram::Xdp => "null_xdp",
            PacketProgram::XdpFrags => "null_xdp_frags",
            PacketProgram::Ingress | PacketProgram::Egress => NULL_TC,
        }
    }

    /// Runs the program that does nothing in the place of `program`.
    fn measure(&mut self, program: PacketProgram, frame: &[u8]) -> Result<()> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: RUNS,
            ..TestRunOptions::new()
        };
        let name = Self::name(program);
        let program = self.ebpf.program(name).context("it was loaded")?;
        let result = if name == NULL_TC {
            TryInto::<&SchedClassifier>::try_into(program)?.test_run(options)
        } else {
            TryInto::<&Xdp>::try_into(program)?.test_run(options)
        };
        let time = result.with_context(|| format!("run {name}"))?.duration;
        self.times.entry(name).or_default().push(nanoseconds(time));
        Ok(())
    }

    /// Mean of the middle half of all measurements. It is a few nanoseconds, and the kernel gives
    /// whole ones, so that single measurements or their median would be too coarse.
    fn mean(&self, program: PacketProgram) -> f64 {
        let mut times = self.times[Self::name(program)].clone();
        times.sort_by(f64::total_cmp);
        let middle = &times[times.len() / 4..times.len().div_ceil(4) * 3];
        middle.iter().sum::<f64>() / middle.len() as f64
    }
}

const NULL_TC: &str = "null_tc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_dearer_fails() {
        let ratio = |low: f64| Estimate {
            median: low + 1.0,
            low,
            high: low + 2.0,
        };
        assert!(!exceeds(&ratio(4.9), 4.0));
        assert!(exceeds(&ratio(5.1), 4.0));
    }
}
