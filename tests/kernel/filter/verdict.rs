//! What a program in the kernel says of frames that no interface carried.

use std::{collections::BTreeMap, fs, ops::ControlFlow, path::Path};

use anyhow::{Context as _, Result, ensure};
use pcap::{Capture, Linktype};
use traffic_ebpf::{config::LINK_ETHERNET, protocol::Selection, record::FrameHeader};
use traffic_tests::{Need, corpus};
use traffic_user::{
    capture_file::{self, LinkType},
    filter::{self, Program},
    kernel::{Bench, BenchError, PacketProgram, Settings, Sink, xdp_can_copy_frames},
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
            selection: Selection::default(),
            count: None,
            snaplen: 0,
            sample: 1,
            summaries: true,
            ring_bytes: 1 << 16,
            planned: None,
            bins: 1,
            filter: Some(filter::translate(&[(LINK_ETHERNET, program)])?),
            diagnostics: false,
        };
        Ok(Self {
            bench: Bench::load(&settings, &[LINK_ETHERNET], xdp_can_copy_frames())?,
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

    fn frame(&mut self, _: &FrameHeader, _: &[u8]) {}

    fn excerpt(&mut self, _: &FrameHeader, _: &[u8]) {}
}

/// Frames compared, those that matched, and where the answers differ.
#[derive(Default)]
struct Outcome {
    compared: usize,
    matched: usize,
    not_run: usize,
    differ: Vec<String>,
}

/// Runs an expression over every `stride`th frame, at TC and at XDP in two buffers.
fn compare<'a>(
    expression: &str,
    frames: impl Iterator<Item = &'a Vec<u8>>,
    outcome: &mut Outcome,
) -> Result<()> {
    let program = filter::compile(expression, LinkType::ETHERNET)?;
    let libpcap = Capture::dead(Linktype::ETHERNET)?.compile(expression, true)?;
    let mut filtered = Filtered::new(&program)?;
    for (number, frame) in frames.enumerate() {
        let expected = libpcap.filter(frame);
        outcome.matched += usize::from(expected);
        let linear = u32::try_from((14 + number % 60).min(frame.len()))?;
        for (way, linear) in [
            (PacketProgram::Ingress, None),
            (PacketProgram::XdpFrags, Some(linear)),
        ] {
            match filtered.takes(way, frame, linear)? {
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

/// Compares all expressions; `frames` gives those for the expression with a number.
fn compare_all<'a, I: Iterator<Item = &'a Vec<u8>>>(
    mut frames: impl FnMut(usize) -> I,
) -> Result<()> {
    let mut outcome = Outcome::default();
    for (number, expression) in EXPRESSIONS.iter().enumerate() {
        compare(expression, frames(number), &mut outcome)
            .with_context(|| format!("expression '{expression}'"))?;
    }
    println!(
        "{} expressions, {} verdicts, {} frames matched, {} not run, {} differ",
        EXPRESSIONS.len(),
        outcome.compared,
        outcome.matched,
        outcome.not_run,
        outcome.differ.len()
    );
    ensure!(outcome.compared > 0, "nothing was compared");
    ensure!(
        outcome.differ.is_empty(),
        "{} verdicts differ, for example\n{}",
        outcome.differ.len(),
        outcome.differ[..outcome.differ.len().min(5)].join("\n")
    );
    Ok(())
}

pub(crate) fn every_expression_takes_the_same_frames_as_libpcap() -> Result<()> {
    let frames = frames();
    compare_all(|_| frames.iter())
}

pub(crate) fn every_expression_takes_the_same_frames_of_the_corpus_as_libpcap() -> Result<()> {
    let mut frames = BTreeMap::new();
    collect(&corpus(), &mut frames)?;
    let frames: Vec<Vec<u8>> = frames.into_keys().collect();
    println!("{} different Ethernet frames", frames.len());
    let stride = if Need::Long.is_there() {
        1
    } else {
        frames.len().div_ceil(SAMPLE)
    };
    // Each expression begins elsewhere, so that together they see many frames.
    compare_all(|number| frames.iter().skip(number % stride).step_by(stride))
}

/// Every Ethernet frame of the captures below a directory that the programs can be run on.
fn collect(directory: &Path, frames: &mut BTreeMap<Vec<u8>, ()>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, frames)?;
            continue;
        }
        // Other files lie there too, and captures that end early.
        let _ = capture_file::read(&path, |_, frame| {
            if frame.link_type == LinkType::ETHERNET && frame.data.len() >= 14 {
                frames.insert(frame.data.to_vec(), ());
            }
            ControlFlow::Continue(())
        });
    }
    Ok(())
}
