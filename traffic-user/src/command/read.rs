//! `traffic read`: a report on capture files.

use std::{
    borrow::Cow,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Error, Result};
use traffic_ebpf::protocol::{Protocol, Selection};

use super::{
    UsageError, confine,
    extract::Extract,
    filter::{self, FileFilter},
    input::{self, Input},
    ipfix,
    output::Outputs,
    packet_log::PacketLog,
    selection::selection,
};
use crate::{
    capture_file::{FileFrame, FileInterface, LinkType, ReadError, ReadSummary},
    cli::ReadArgs,
    ipfix::{Exporter, Overflow},
    record::PacketRecord,
    report::{
        Report, Source,
        assemble::{self, Interface, Run, RunTotals},
    },
    sandbox::{Policy, Sandbox},
    stages::Stages,
};

/// Reads the files one after the other and writes one report on them. What can be read of a
/// damaged file is in the report.
///
/// # Errors
/// When outputs cannot be had, when a file cannot be read to its end, or when an output cannot be
/// written. Without a single readable file there is no report.
pub(super) fn run(args: &ReadArgs) -> Result<ExitCode> {
    confine::protect_files(args.output.file_mode);
    let mut files = Files::open(args)?;
    files.reading.sandbox = confine(args, &mut files)?;
    let exporter = files.reading.exporter.take();
    files.reading.exporter = exporter.map(ipfix::begin).transpose()?;
    files.report(args)
}

/// Gives up what reading does not need.
fn confine(args: &ReadArgs, files: &mut Files) -> Result<Option<Sandbox>> {
    let mut policy = Policy::default();
    files.outputs.hold(&mut policy)?;
    if let Some(path) = &args.write {
        let made = policy.overwrite(path);
        made.with_context(|| format!("write {}", path.display()))?;
    }
    ipfix::needs(&args.output.flows, &mut policy);
    confine::enter(&policy, args.sandbox)
}

/// A run whose outputs can be had.
struct Files {
    inputs: Vec<Input>,
    outputs: Outputs,
    reading: Reading,
}

impl Files {
    fn open(args: &ReadArgs) -> Result<Self> {
        let writes: Vec<_> = args.write.as_deref().into_iter().collect();
        Ok(Self {
            outputs: Outputs::new(&args.output, &writes)?,
            // Without anything to read, files of before stay as they are.
            inputs: input::open(paths(args))?,
            reading: Reading::new(args)?,
        })
    }

    /// Reads the files, and writes the report where one of them could be read.
    fn report(self, args: &ReadArgs) -> Result<ExitCode> {
        let Self {
            inputs,
            outputs,
            mut reading,
        } = self;
        let mut failure = None;
        for input in inputs {
            if let Err(error) = reading.file(input) {
                if error.is::<UsageError>() {
                    return Err(error);
                }
                failure = failure.or(Some(error));
            }
        }
        if let Some(log) = reading.log.take() {
            failure = failure.or(log.finish().err());
        }
        if let Some(extract) = reading.extract.take() {
            extract.finish(&reading.interfaces)?;
        }
        if reading.opened > 0 {
            let files = paths(args).map(|path| path.display().to_string());
            outputs.write(&reading.report(args, files.collect()))?;
        }
        failure.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}

/// The files in the order in which they are read.
fn paths(args: &ReadArgs) -> impl Iterator<Item = &PathBuf> {
    args.read.iter().chain(&args.files)
}

/// Records that the stages take in one go.
const BATCH: usize = 256;

/// Files on their way to a report.
struct Reading {
    stages: Stages,
    /// Records that the stages have not taken yet.
    batch: Vec<PacketRecord>,
    selection: Selection,
    filter: FileFilter,
    extract: Option<Extract>,
    seen: u64,
    filtered_out: u64,
    opened: usize,
    interfaces: Vec<(Interface, LinkType)>,
    log: Option<PacketLog>,
    /// What the log calls the interfaces; those without a packet so far may be missing.
    names: Vec<String>,
    /// Where flows go that end.
    exporter: Option<Exporter>,
    notes: Vec<String>,
    /// What was given up before the first file was read.
    sandbox: Option<Sandbox>,
}

impl Reading {
    fn new(args: &ReadArgs) -> Result<Self> {
        let filter = FileFilter::new(filter::expression(&[], &args.filter)?)?;
        let expression = filter.expression().unwrap_or_default();
        let extract = args.write.as_ref();
        let extract = extract.map(|path| Extract::new(path, expression, paths(args)));
        let only = filter
            .expression()
            .map(|expression| format!("Frames that do not match '{expression}' are filtered out."));
        Ok(Self {
            stages: Stages::for_files(args.output.history)
                .with_findings(args.output.findings())
                .with_flows(ipfix::flows(&args.output.flows, args.output.top, false)),
            batch: Vec::with_capacity(BATCH),
            selection: selection(&args.protocols),
            extract: extract.transpose()?,
            filter,
            seen: 0,
            filtered_out: 0,
            opened: 0,
            interfaces: Vec::new(),
            log: PacketLog::create(args.output.packets.as_deref())?,
            names: Vec::new(),
            exporter: ipfix::open(&args.output.flows, Overflow::Wait)?,
            notes: only.into_iter().collect(),
            sandbox: None,
        })
    }

    fn file(&mut self, input: Input) -> Result<()> {
        let mut failure = None;
        let path = input.path.clone();
        let path = path.as_path();
        let summary = self
            .packets(input, &mut failure)
            .with_context(|| format!("read {}", path.display()))?;
        if let Some(error) = failure {
            return Err(error);
        }
        self.opened += 1;
        for interface in summary.interfaces {
            // A filter that does not compile is refused even where there are no frames.
            self.filter.check(interface.link_type)?;
            let link_type = interface.link_type;
            if let Some(exporter) = &mut self.exporter {
                exporter.interface(0, interface.sample);
            }
            self.interfaces
                .push((describe(path, &interface), link_type));
        }
        let Some(fault) = summary.fault else {
            return Ok(());
        };
        let place = format!("{} after {} packets", path.display(), summary.packets);
        self.notes
            .push(format!("Reading ended early in {place}: {fault}."));
        Err(Error::new(fault).context(format!("read {place}")))
    }

    /// Takes in the packets of a file, up to the first that cannot be handled.
    fn packets(
        &mut self,
        input: Input,
        failure: &mut Option<Error>,
    ) -> Result<ReadSummary, ReadError> {
        let first_interface = self.interfaces.len();
        let path = input.path.clone();
        let each = |record: &PacketRecord, frame: &FileFrame<'_>| {
            let number = first_interface + usize::from(frame.interface);
            let record = record.on_interface(u16::try_from(number).unwrap_or(u16::MAX));
            match self.packet(&path, record, frame) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    *failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let summary = input.read(each);
        self.settle();
        summary
    }

    #[inline]
    fn packet(&mut self, path: &Path, record: PacketRecord, frame: &FileFrame<'_>) -> Result<()> {
        self.seen += 1;
        let headers = record.headers();
        let protocol = Protocol::from_index(headers.protocol);
        let selected = self.selection.contains(protocol, headers.ip_version());
        if !self.filter.takes(frame)? || !selected {
            self.filtered_out += 1;
            return Ok(());
        }
        if let Some(extract) = &mut self.extract {
            let name = interface_name(path, frame.interface_name);
            extract.frame(record.interface(), &name, frame)?;
        }
        if self.log.is_some() {
            self.learn_name(path, record.interface(), frame);
        }
        let wants_excerpt = headers.wants_excerpt();
        self.batch.push(record);
        if wants_excerpt || self.batch.len() == BATCH {
            self.settle();
        }
        if wants_excerpt && let Some(link) = frame.link_type.link(frame.data) {
            self.stages.excerpt(record.timestamp_ns(), frame.data, link);
        }
        Ok(())
    }

    fn learn_name(&mut self, path: &Path, interface: u16, frame: &FileFrame<'_>) {
        let interface = usize::from(interface);
        if self.names.len() <= interface {
            self.names.resize(interface + 1, String::new());
        }
        if self.names[interface].is_empty() {
            self.names[interface] = interface_name(path, frame.interface_name).into_owned();
        }
    }

    /// Gives the stages what was gathered.
    fn settle(&mut self) {
        self.stages.packets(&self.batch);
        if let Some(exporter) = &mut self.exporter {
            ipfix::export(&mut self.stages, exporter);
        }
        if let Some(log) = &mut self.log {
            log.write(&self.batch, &self.names);
        }
        self.batch.clear();
    }

    fn report(mut self, args: &ReadArgs, files: Vec<String>) -> Report {
        self.stages.finish();
        let exported = self.exporter.map(|mut exporter| {
            ipfix::export(&mut self.stages, &mut exporter);
            exporter.tick(self.stages.flowless());
            exporter.finish()
        });
        let run = Run {
            source: Source::Files { files },
            interfaces: self.interfaces.into_iter().map(|(row, _)| row).collect(),
            totals: RunTotals::Files {
                seen: self.seen,
                filtered_out: self.filtered_out,
            },
            bins: args.output.bins,
            top: args.output.top,
            notes: self.notes,
            sandbox: self.sandbox,
        };
        let mut report = assemble::report(self.stages, run);
        ipfix::enter(&mut report.ledger, exported);
        report
    }
}

/// An interface without a name is called after its file.
fn interface_name<'a>(path: &'a Path, name: Option<&'a str>) -> Cow<'a, str> {
    let file_name = path.file_name().unwrap_or(path.as_os_str());
    name.map_or_else(|| file_name.to_string_lossy(), Cow::Borrowed)
}

fn describe(path: &Path, interface: &FileInterface) -> Interface {
    Interface {
        name: interface_name(path, interface.name.as_deref()).into_owned(),
        ifindex: 0,
        sample: interface.sample,
        link_type: interface.link_type.to_string(),
        ingress_hook: None,
        egress_hook: None,
    }
}

#[cfg(test)]
mod tests;
