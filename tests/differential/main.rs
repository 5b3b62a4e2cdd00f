//! Compares what the file reader says about every packet with what tshark says.

mod answer;
mod formats;
mod generated;
mod kernel;
mod tshark;
mod tshark_rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use traffic_tests::{Need, Test, corpus, corpus_files};
use traffic_user::capture_file::{self, ReadError};

use crate::{
    answer::{Answer, Frame},
    tshark::Tshark,
    tshark_rules::{Example, RULES},
};

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "generated_packets_agree_with_tshark",
            &[Need::Tool("tshark")],
            generated_packets_agree_with_tshark,
        ),
        Test::new(
            "every_form_of_capture_file_agrees_with_tshark",
            &[Need::Tool("tshark")],
            every_form_of_capture_file_agrees_with_tshark,
        ),
        Test::new(
            "every_packet_of_the_corpus_agrees_with_tshark",
            &[Need::Corpus, Need::Tool("tshark")],
            every_packet_of_the_corpus_agrees_with_tshark,
        ),
        Test::new(
            "generated_packets_are_the_same_in_kernel_and_file_reader",
            &[Need::Root, Need::Object],
            kernel::generated_packets_are_the_same,
        ),
        Test::new(
            "every_packet_of_the_corpus_is_the_same_in_kernel_and_file_reader",
            &[Need::Root, Need::Object, Need::Corpus],
            kernel::every_packet_of_the_corpus_is_the_same,
        ),
    ])
}

fn generated_packets_agree_with_tshark() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = |name| directory.path().join(name);
    let (whole, damaged, examples) = (file("whole"), file("damaged"), file("examples"));
    generated::write_whole(&whole)?;
    generated::write_damaged(&damaged, 20_000)?;
    generated::write_examples(&examples)?;
    let report = agree(&[whole, damaged, examples.clone()])?;
    for (number, (rule, _)) in (1..).zip(generated::examples()) {
        report.needs(rule, &examples, number)?;
    }
    Ok(())
}

fn every_form_of_capture_file_agrees_with_tshark() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let files = formats::write(directory.path())?;
    let report = agree(&files)?;
    ensure!(report.files == files.len(), "a file was left out");
    Ok(())
}

fn every_packet_of_the_corpus_agrees_with_tshark() -> Result<()> {
    let files = corpus_files()?;
    let report = agree(&files)?;
    for rule in RULES {
        if let Example::Corpus(name, number) = rule.example {
            let path = corpus().join(name);
            // Another corpus has other files.
            if path.exists() {
                report.needs(rule.name, &path, number)?;
            }
        }
    }
    Ok(())
}

/// Compares all packets of `files`, and prints what was compared.
fn agree(files: &[PathBuf]) -> Result<Report> {
    let report = compare(files)?;
    report.print();
    ensure!(report.packets > 0, "no packet was compared");
    let differ = report.disagreements.len();
    ensure!(differ == 0, "{differ} packets differ");
    Ok(report)
}

/// Outcome of a comparison of many files.
#[derive(Default)]
struct Report {
    files: usize,
    packets: usize,
    /// Files that were not compared, with the reason.
    left_out: Vec<String>,
    disagreements: Vec<String>,
    /// Packets that each rule excused: file and number of the frame.
    excused: BTreeMap<&'static str, BTreeSet<(PathBuf, usize)>>,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.packets += other.packets;
        self.left_out.extend(other.left_out);
        self.disagreements.extend(other.disagreements);
        for (rule, packets) in other.excused {
            self.excused.entry(rule).or_default().extend(packets);
        }
    }

    /// Fails unless `rule` excused frame `number` of `path`: a rule without need is a hole.
    fn needs(&self, rule: &str, path: &Path, number: usize) -> Result<()> {
        let packets = self.excused.get(rule);
        let is_needed = packets.is_some_and(|packets| packets.contains(&(path.to_owned(), number)));
        ensure!(is_needed, "rule \"{rule}\" is not needed by its example");
        Ok(())
    }

    fn print(&self) {
        println!(
            "\ncompared {} packets of {} files",
            self.packets, self.files
        );
        for file in &self.left_out {
            println!("left out: {file}");
        }
        for rule in RULES {
            if let Some(packets) = self.excused.get(rule.name) {
                let packets = packets.len();
                println!(
                    "{packets} packets by rule \"{}\": {}",
                    rule.name, rule.reason
                );
            }
        }
        for line in &self.disagreements {
            println!("{line}");
        }
    }
}

/// Compares `files` on all CPUs.
fn compare(files: &[PathBuf]) -> Result<Report> {
    let report = Mutex::new(Report::default());
    on_all_cpus(files, Tshark::new, |tshark, path| {
        let one = compare_file(tshark, path).with_context(|| path.display().to_string())?;
        report.lock().expect("no thread panicked").add(one);
        Ok(())
    })?;
    Ok(report.into_inner().expect("no thread panicked"))
}

/// Does `work` with every one of `files`, on all CPUs, each with a tool of its own.
fn on_all_cpus<T>(
    files: &[PathBuf],
    tool: impl Fn() -> Result<T> + Sync,
    work: impl Fn(&mut T, &Path) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<()> {
        let mut tool = tool()?;
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(&mut tool, path)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("work does not panic"))
    })
}

fn compare_file(tshark: &Tshark, path: &Path) -> Result<Report> {
    let mut report = Report::default();
    let (frames, fault) = read(path);
    let answers = tshark.answers(path)?;
    if let Some(ReadError::UnsupportedLinkType(link_type)) = fault {
        report
            .left_out
            .push(format!("{} (link type {link_type})", path.display()));
        return Ok(report);
    }
    if frames.is_empty() && answers.is_empty() {
        let reason = fault.map_or("no packets".to_owned(), |fault| fault.to_string());
        report
            .left_out
            .push(format!("{} ({reason})", path.display()));
        return Ok(report);
    }
    if frames.len() != answers.len() {
        report.disagreements.push(format!(
            "{}: {} packets, tshark {} ({fault:?})",
            path.display(),
            frames.len(),
            answers.len()
        ));
    }
    report.files = 1;
    report.packets = frames.len();
    for (index, (frame, theirs)) in frames.iter().zip(&answers).enumerate() {
        compare_packet(&mut report, path, index + 1, frame, theirs);
    }
    Ok(report)
}

fn read(path: &Path) -> (Vec<Frame>, Option<ReadError>) {
    let mut frames = Vec::new();
    let result = capture_file::read(path, |record, frame| {
        frames.push(Frame {
            link_type: frame.link_type,
            timestamp_ns: frame.timestamp_ns,
            wire_len: frame.wire_len,
            data: frame.data.to_vec(),
            headers: *record.headers(),
        });
        ControlFlow::Continue(())
    });
    match result {
        Ok(summary) => (frames, summary.fault),
        Err(error) => (frames, Some(error)),
    }
}

fn compare_packet(report: &mut Report, path: &Path, number: usize, frame: &Frame, theirs: &Answer) {
    let ours = frame.answer();
    let mut differences = ours.differences(theirs);
    for rule in RULES {
        let before = differences.len();
        if differences.iter().any(|field| rule.fields.contains(field))
            && (rule.applies)(frame, &ours, theirs)
        {
            differences.retain(|field| !rule.fields.contains(field));
        }
        if differences.len() < before {
            let packets = report.excused.entry(rule.name).or_default();
            packets.insert((path.to_owned(), number));
        }
    }
    if !differences.is_empty() {
        report.disagreements.push(format!(
            "{} frame {number} differs in {differences:?} (status {:?})\n  ours   {ours}\n  tshark {theirs}\n  link type {} bytes {:02x?}",
            path.display(),
            frame.headers.error(),
            frame.link_type,
            &frame.data[..frame.data.len().min(128)],
        ));
    }
}
