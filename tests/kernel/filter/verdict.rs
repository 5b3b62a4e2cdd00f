//! What a program in the kernel says of frames that no interface carried.

use std::{collections::BTreeSet, ops::ControlFlow};

use anyhow::{Context as _, Result, ensure};
use pcap::{Capture, Linktype};
use traffic_ebpf::{config::LINK_ETHERNET, record::ExcerptHeader};
use traffic_tests::{Need, corpus_files};
use traffic_user::{
    capture_file::{self, LinkType, Run},
    filter::{self, Program},
    kernel::{Access, Bench, BenchError, LoadError, PacketProgram, Settings, Sink},
    record::PacketRecord,
};

use crate::{expressions::EXPRESSIONS, frames::frames};

/// Frames of the corpus that an expression is tried on, unless time does not matter.
const SAMPLE: usize = 250;

/// The programs with a filter in their slot.
pub(crate) struct Filtered {
    bench: Bench,
}

impl Filtered {
    pub(crate) fn new(program: &Program) -> Result<Self> {
        let settings = Settings {
            ring_bytes: 1 << 16,
            bins: 1,
            filter: Some(filter::translate(&[(LINK_ETHERNET, program)])?),
            ..Settings::default()
        };
        Ok(Self {
            bench: Bench::load(&settings, &[LINK_ETHERNET], Access::of_this_kernel())?,
        })
    }

    /// Whether the filter takes a frame; `None` for frames that the kernel does not run a program
    /// on. At XDP the first buffer ends after `linear` bytes.
    pub(crate) fn takes(
        &mut self,
        program: PacketProgram,
        frame: &[u8],
        linear: Option<u32>,
    ) -> Result<Option<bool>> {
        let mut summaries = Summaries(0);
        match self.bench.run(program, frame, linear, &mut summaries) {
            Ok(()) => {}
            Err(BenchError::Refused(..)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        ensure!(summaries.0 < 2, "{} summaries of a frame", summaries.0);
        Ok(Some(summaries.0 == 1))
    }
}

struct Summaries(usize);

impl Sink for Summaries {
    fn packets(&mut self, records: &[PacketRecord]) {
        self.0 += records.len();
    }

    fn frames(&mut self, _: Run<'_>) {}

    fn excerpt(&mut self, _: &ExcerptHeader, _: &[u8]) {}
}

/// Frames compared, those that matched, and where the answers differ.
#[derive(Default)]
struct Outcome {
    compared: usize,
    matched: usize,
    not_run: usize,
    differ: Vec<String>,
}

/// The ways through the kernel for the program with a number: loading takes longer than running,
/// so unless time does not matter every other program goes to TC, and the rest to XDP.
pub(crate) fn ways(number: usize) -> Vec<PacketProgram> {
    let all = [PacketProgram::Ingress, PacketProgram::XdpFrags];
    let all = &all[..=usize::from(Need::XdpFrames.is_there())];
    if Need::Long.is_there() {
        all.to_vec()
    } else {
        vec![all[number % all.len()]]
    }
}

/// Where the first buffer of the frame with this number ends at XDP, somewhere in its headers.
pub(crate) fn linear(way: PacketProgram, number: usize, frame: &[u8]) -> Option<u32> {
    let end = u32::try_from((14 + number % 60).min(frame.len())).ok()?;
    (way == PacketProgram::XdpFrags).then_some(end)
}

/// Whether the kernel has no instruction for what the filter does, as for loops before Linux 6.9.
fn is_too_old(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<BenchError>();
    matches!(error, Some(BenchError::Load(LoadError::TooOld { .. })))
}

/// Runs an expression over frames.
fn compare<'a>(
    expression: &str,
    ways: &[PacketProgram],
    frames: impl Iterator<Item = &'a Vec<u8>>,
    outcome: &mut Outcome,
) -> Result<()> {
    let program = filter::compile(expression, LinkType::ETHERNET)?;
    let libpcap = Capture::dead(Linktype::ETHERNET)?.compile(expression, true)?;
    let mut filtered = match Filtered::new(&program) {
        Err(error) if is_too_old(&error) => {
            outcome.not_run += 1;
            return Ok(());
        }
        filtered => filtered?,
    };
    for (number, frame) in frames.enumerate() {
        let expected = libpcap.filter(frame);
        outcome.matched += usize::from(expected);
        for &way in ways {
            match filtered.takes(way, frame, linear(way, number, frame))? {
                None => outcome.not_run += 1,
                Some(verdict) => {
                    outcome.compared += 1;
                    if verdict != expected {
                        outcome.differ.push(format!(
                            "'{expression}' at {}: {verdict}, not {expected}: {:02x?}",
                            way.name(),
                            &frame[..frame.len().min(100)]
                        ));
                    }
                }
            }
        }
        let here = program.matches(frame, u32::try_from(frame.len())?);
        ensure!(here == expected, "'{expression}' in user space: {here}");
    }
    Ok(())
}

/// Over generated frames, and over those of the corpus if there is one.
pub(crate) fn every_expression_takes_the_same_frames_as_libpcap() -> Result<()> {
    let generated = frames();
    let mut found = BTreeSet::new();
    if Need::Corpus.is_there() {
        collect(&mut found)?;
    }
    let found: Vec<Vec<u8>> = found.into_iter().collect();
    let stride = if Need::Long.is_there() {
        1
    } else {
        found.len().div_ceil(SAMPLE).max(1)
    };
    let mut outcome = Outcome::default();
    // Loading takes seconds where each instruction is emulated; the step is odd, so that both ways
    // have their turn.
    let step = if Need::Machine.is_there() { 5 } else { 1 };
    for (number, expression) in EXPRESSIONS.iter().enumerate().step_by(step) {
        // Each expression begins elsewhere, so that together they see many frames.
        let sample = found.iter().skip(number % stride).step_by(stride);
        let frames = generated.iter().chain(sample);
        compare(expression, &ways(number), frames, &mut outcome)
            .with_context(|| format!("expression '{expression}'"))?;
    }
    print!(
        "{} expressions, {} frames of the corpus, {} verdicts, {} frames matched, {} not run, ",
        EXPRESSIONS.len().div_ceil(step),
        found.len(),
        outcome.compared,
        outcome.matched,
        outcome.not_run,
    );
    println!("{} differ", outcome.differ.len());
    ensure!(outcome.compared > 0, "nothing was compared");
    ensure!(
        outcome.differ.is_empty(),
        "{} verdicts differ, for example\n{}",
        outcome.differ.len(),
        outcome.differ[..outcome.differ.len().min(5)].join("\n")
    );
    Ok(())
}

/// Every Ethernet frame of the corpus that the programs can be run on.
fn collect(frames: &mut BTreeSet<Vec<u8>>) -> Result<()> {
    for path in corpus_files()? {
        // Other files lie there too, and captures that end early.
        let _ = capture_file::read(&path, |_, frame| {
            if frame.link_type == LinkType::ETHERNET && frame.data.len() >= 14 {
                frames.insert(frame.data.to_vec());
            }
            ControlFlow::Continue(())
        });
    }
    Ok(())
}
