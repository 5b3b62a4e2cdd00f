//! `traffic read`: a report on capture files.

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use anyhow::{Context, Error, Result};
use traffic_ebpf::protocol::{Protocol, Selection};

use super::{
    output::{Outputs, is_stdout},
    selection,
};
use crate::{
    capture_file::{self, FileFrame, FileInterface, ReadError, ReadSummary},
    cli::ReadArgs,
    record::PacketRecord,
    report::{
        Report, Source,
        assemble::{self, Interface, Run, RunTotals},
    },
    stages::Stages,
};

/// Reads the files one after the other and writes one report on them. What can be read of a
/// damaged file is in the report.
///
/// # Errors
/// When outputs cannot be had, when a file cannot be read to its end, or when an output cannot be
/// written. Without a single readable file there is no report.
pub fn run(args: &ReadArgs) -> Result<()> {
    let outputs = Outputs::new(&args.output, None)?;
    let mut reading = Reading::new(args);
    let paths: Vec<_> = args.read.iter().chain(&args.files).collect();
    let mut failure = None;
    for path in &paths {
        if let Err(error) = reading.file(path) {
            failure = failure.or(Some(error));
        }
    }
    if reading.opened > 0 {
        let files = paths.iter().map(|path| path.display().to_string());
        outputs.write(&reading.report(args, files.collect()))?;
    }
    failure.map_or(Ok(()), Err)
}

/// Files on their way to a report.
struct Reading {
    stages: Stages,
    selection: Selection,
    seen: u64,
    filtered_out: u64,
    opened: usize,
    interfaces: Vec<Interface>,
    notes: Vec<String>,
}

impl Reading {
    fn new(args: &ReadArgs) -> Self {
        Self {
            stages: Stages::for_files(args.output.history),
            selection: selection(&args.protocols),
            seen: 0,
            filtered_out: 0,
            opened: 0,
            interfaces: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let summary = self
            .packets(path)
            .with_context(|| format!("read {}", path.display()))?;
        self.opened += 1;
        let describe = |interface| describe(path, interface);
        self.interfaces
            .extend(summary.interfaces.into_iter().map(describe));
        let Some(fault) = summary.fault else {
            return Ok(());
        };
        let place = format!("{} after {} packets", path.display(), summary.packets);
        self.notes
            .push(format!("Reading ended early in {place}: {fault}."));
        Err(Error::new(fault).context(format!("read {place}")))
    }

    fn packets(&mut self, path: &Path) -> Result<ReadSummary, ReadError> {
        let first_interface = self.interfaces.len();
        let each = |record: &PacketRecord, frame: &FileFrame<'_>| {
            let number = first_interface + usize::from(frame.interface);
            self.packet(
                record.on_interface(u16::try_from(number).unwrap_or(u16::MAX)),
                frame,
            );
            ControlFlow::Continue(())
        };
        if is_stdout(path) {
            capture_file::read_from(io::stdin().lock(), each)
        } else {
            capture_file::read(path, each)
        }
    }

    fn packet(&mut self, record: PacketRecord, frame: &FileFrame<'_>) {
        self.seen += 1;
        let headers = record.headers();
        let protocol = Protocol::from_index(headers.protocol);
        if !self.selection.contains(protocol, headers.ip_version()) {
            self.filtered_out += 1;
            return;
        }
        self.stages.packets(std::slice::from_ref(&record));
        if headers.wants_excerpt()
            && let Some(link) = frame.link_type.link(frame.data)
        {
            self.stages.excerpt(frame.data, link);
        }
    }

    fn report(self, args: &ReadArgs, files: Vec<String>) -> Report {
        let run = Run {
            source: Source::Files { files },
            interfaces: self.interfaces,
            totals: RunTotals::Files {
                seen: self.seen,
                filtered_out: self.filtered_out,
            },
            bins: args.output.bins,
            top: args.output.top,
            notes: self.notes,
        };
        assemble::report(self.stages, run)
    }
}

/// An interface without a name is called after its file.
fn describe(path: &Path, interface: FileInterface) -> Interface {
    let file_name = || path.file_name().map_or_else(|| path.into(), PathBuf::from);
    let name = interface.name;
    Interface {
        name: name.unwrap_or_else(|| file_name().display().to_string()),
        ifindex: 0,
        link_type: interface.link_type.to_string(),
        ingress_hook: None,
        egress_hook: None,
    }
}
