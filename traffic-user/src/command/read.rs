//! `traffic read`: from capture files to every output.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use traffic_ebpf::protocol::{Protocol, Selection};

use super::{capture::selection, output::Outputs};
use crate::{
    capture_file::{self, FileFrame, FileInterface},
    cli::ReadArgs,
    record::PacketRecord,
    report::{
        Source,
        assemble::{self, Run, RunTotals},
    },
    stages::Stages,
};

/// Reads the files one after the other, and reports on all of them together.
pub(super) fn run(args: &ReadArgs) -> Result<ExitCode> {
    let outputs = Outputs::prepare(&args.output, false)?;
    let files: Vec<&PathBuf> = args.files.iter().chain(&args.read).collect();
    let mut reading = Reading {
        stages: Stages::for_files(args.output.history),
        selection: selection(&args.protocols),
        interfaces: Vec::new(),
        seen: 0,
        filtered_out: 0,
    };
    let mut failure = None;
    for path in &files {
        if let Err(error) = reading.file(path) {
            // What was read so far still makes a report.
            if reading.seen == 0 && files.len() == 1 {
                return Err(error);
            }
            eprintln!("warning: {error:#}");
            failure.get_or_insert(error);
        }
    }
    let run = Run {
        source: Source::Files {
            files: files
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        },
        interfaces: reading.interfaces,
        totals: RunTotals::Files {
            seen: reading.seen,
            filtered_out: reading.filtered_out,
        },
        bins: args.output.bins,
        top: args.output.top,
        notes: failure.iter().map(|error| format!("{error:#}")).collect(),
    };
    outputs.write(&assemble::report(reading.stages, run))?;
    Ok(if failure.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

struct Reading {
    stages: Stages,
    selection: Selection,
    interfaces: Vec<assemble::Interface>,
    seen: u64,
    filtered_out: u64,
}

impl Reading {
    fn file(&mut self, path: &Path) -> Result<()> {
        let base = u16::try_from(self.interfaces.len()).unwrap_or(u16::MAX);
        let doing = || format!("read {}", path.display());
        let summary = capture_file::read(path, |record, frame| {
            self.packet(
                &record.on_interface(base.saturating_add(frame.interface)),
                frame,
            );
            ControlFlow::Continue(())
        })
        .with_context(doing)?;
        let rows = summary
            .interfaces
            .iter()
            .map(|interface| row(interface, path));
        self.interfaces.extend(rows);
        match summary.fault {
            None => Ok(()),
            Some(fault) => {
                let packets = summary.packets;
                Err(fault)
                    .with_context(|| format!("read {} after {packets} packets", path.display()))
            }
        }
    }

    fn packet(&mut self, record: &PacketRecord, frame: &FileFrame<'_>) {
        self.seen += 1;
        let headers = record.headers();
        let protocol = Protocol::from_index(headers.protocol);
        if !self.selection.contains(protocol, headers.ip_version()) {
            self.filtered_out += 1;
            return;
        }
        self.stages.packets(std::slice::from_ref(record));
        if headers.wants_excerpt()
            && let Some(link) = frame.link_type.start(frame.data)
        {
            self.stages.excerpt(frame.data, link);
        }
    }
}

fn row(interface: &FileInterface, path: &Path) -> assemble::Interface {
    let file_name = || {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    assemble::Interface {
        name: interface.name.clone().unwrap_or_else(file_name),
        ifindex: 0,
        link_type: interface.link_type.to_string(),
        ingress_hook: None,
        egress_hook: None,
    }
}
