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

    /// Gives the stages what was gathered.
    fn settle(&mut self) {
        self.stages.packets(&self.batch);
        if let Some(exporter) = &mut self.exporter {
            ipfix::export(&mut self.stages, exporter);
        }
        if let Some(log) = &mut self.log {
            log.write(&self.batch, &[]);
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
mod tests {
    use std::fs;

    use clap::Parser;
    use serde_json::Value;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        report::schema,
    };

    #[test]
    fn files_become_one_report() {
        let dir = Directory::new("one_report");
        let first = dir.write("a.pcap", &pcap(&[(1, &dns()), (2, &arp())]));
        let second = dir.write("b.pcap", &pcap(&[(5, &arp())]));
        let (result, report) = dir.read(&[&first, &second]);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(report["ledger"]["seen"], 3);
        assert_eq!(report["ledger"]["balanced"], true);
        assert_eq!(report["protocols"][0]["name"], "arp");
        assert_eq!(report["interfaces"][0]["packets"], 2);
        assert_eq!(report["interfaces"][1]["packets"], 1);
        assert_eq!(report["interfaces"][1]["name"], "b.pcap");
        assert_eq!(report["dns_names"][0]["name"], "ab");
        assert_eq!(report["duration_s"], 4.0);
        assert_eq!(report["source"]["files"][1], second.as_str());
    }

    #[test]
    fn what_protocol_leaves_out_is_counted() {
        let dir = Directory::new("protocol");
        let file = dir.write("a.pcap", &pcap(&[(1, &dns()), (2, &arp())]));
        let (result, report) = dir.read(&[&file, "--protocol", "dns"]);
        assert!(result.is_ok(), "{result:?}");
        let ledger = &report["ledger"];
        assert_eq!(
            (&ledger["filtered_out"], &ledger["matched"]),
            (&1.into(), &1.into())
        );
    }

    #[test]
    fn a_cut_file_is_reported_up_to_the_cut() {
        let dir = Directory::new("cut");
        let whole = pcap(&[(1, &dns()), (2, &arp())]);
        let cut = dir.write("a.pcap", &whole[..whole.len() - 1]);
        let (result, report) = dir.read(&[&cut]);
        let error = format!("{:#}", result.unwrap_err());
        assert!(
            error.contains("a.pcap after 1 packets: the file is cut short: its last packet"),
            "{error}"
        );
        assert_eq!(report["ledger"]["matched"], 1);
        assert!(report["notes"][0].as_str().unwrap().contains("cut short"));
    }

    #[test]
    fn no_readable_file_is_no_report() {
        let dir = Directory::new("unreadable");
        let text = dir.write("a.txt", b"not a capture file");
        let (result, report) = dir.read(&[&text]);
        let error = format!("{:#}", result.unwrap_err());
        assert!(
            error.contains("a.txt: neither a pcap nor a pcapng file"),
            "{error}"
        );
        assert_eq!(report, Value::Null);
    }

    #[test]
    fn what_is_written_agrees_with_the_schemas() {
        let dir = Directory::new("schemas");
        let file = dir.write("a.pcap", &pcap(&[(1, &dns()), (2, &arp()), (3, &[1, 2])]));
        let packets = dir.0.join("packets.jsonl");
        let packets_path = packets.to_str().unwrap();
        let (result, report) = dir.read(&[&file, "--flows", "--packets", packets_path]);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(
            schema::problems(schema::REPORT, &report),
            Vec::<String>::new()
        );
        let lines = fs::read_to_string(packets).unwrap();
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        for line in &lines {
            assert_eq!(
                schema::problems(schema::PACKET, line),
                Vec::<String>::new(),
                "{line}"
            );
        }
        assert_eq!(lines[0]["protocol"], "dns");
        assert_eq!(lines[0]["src"], "10.0.0.1");
        assert_eq!(lines[0]["dst_port"], 53);
        assert_eq!(lines[0]["time"], "1970-01-01T00:00:01.000000000Z");
        assert_eq!(lines[1]["src"], "02:00:00:00:00:01");
        assert_eq!(lines[2]["error"], "truncated_link_header");
        assert!(lines[2].get("src").is_none());
    }

    #[test]
    fn flows_and_what_is_not_ip_are_all_packets() {
        let dir = Directory::new("flows");
        let file = dir.write("a.pcap", &pcap(&[(1, &dns()), (2, &arp()), (3, &dns())]));
        let tables = dir.0.join("tables");
        let (result, report) = dir.read(&[&file, "--flows", "--csv", tables.to_str().unwrap()]);
        assert!(result.is_ok(), "{result:?}");
        let flows = &report["flows"];
        assert_eq!(
            (&flows["packets"], &flows["other_packets"]),
            (&2.into(), &1.into())
        );
        assert_eq!(
            (&flows["bytes"], &flows["other_bytes"]),
            (&124.into(), &42.into())
        );
        assert_eq!(flows["ended"]["forced_end"], 1);
        let row = &flows["rows"][0];
        assert_eq!(
            (&row["src"], &row["dst_port"]),
            (&"10.0.0.1".into(), &53.into())
        );
        assert_eq!(
            (&row["forward"]["ip_bytes"], &row["duration_s"]),
            (&96.into(), &2.0.into())
        );
        let csv = fs::read_to_string(tables.join("flows.csv")).unwrap();
        let line = csv.lines().nth(1).unwrap();
        assert!(
            line.starts_with("a.pcap,,,udp,10.0.0.1,99,10.0.0.2,53,1970-"),
            "{line}"
        );
        assert!(line.ends_with(",,forced_end"), "{line}");
    }

    #[test]
    fn every_table_is_a_file() {
        let dir = Directory::new("tables");
        let file = dir.write("a.pcap", &pcap(&[(1, &dns()), (2, &arp())]));
        let tables = dir.0.join("new/tables");
        let (result, _) = dir.read(&[&file, "--csv", tables.to_str().unwrap()]);
        assert!(result.is_ok(), "{result:?}");
        let protocols = fs::read_to_string(tables.join("protocols.csv")).unwrap();
        assert_eq!(
            protocols,
            "protocol,packets,bytes\r\narp,1,42\r\ndns,1,62\r\n"
        );
        let names = fs::read_to_string(tables.join("dns_names.csv")).unwrap();
        assert_eq!(names, "name,type,queries,answers\r\nab,A,1,\r\n");
        assert_eq!(fs::read_dir(tables).unwrap().count(), 18);
    }

    /// Removed with everything in it.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("traffic-read-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, bytes: &[u8]) -> String {
            let path = self.0.join(name);
            fs::write(&path, bytes).unwrap();
            path.to_str().unwrap().to_owned()
        }

        /// Runs the command; the report is null where none was written.
        fn read(&self, args: &[&str]) -> (Result<ExitCode>, Value) {
            let json = self.0.join("report.json");
            let output = ["-qq", "--json", json.to_str().unwrap()];
            let args = ["traffic", "read"].iter().chain(args).chain(&output);
            let Some(Command::Read(args)) = Cli::try_parse_from(args).unwrap().command else {
                panic!("not read");
            };
            let result = Files::open(&args).and_then(|files| files.report(&args));
            let report =
                fs::read(json).map_or(Value::Null, |json| serde_json::from_slice(&json).unwrap());
            (result, report)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// A little-endian classic file of Ethernet frames, by second.
    fn pcap(frames: &[(u32, &[u8])]) -> Vec<u8> {
        let header = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 1];
        let mut file: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        for (second, frame) in frames {
            let len = u32::try_from(frame.len()).unwrap();
            file.extend(
                [*second, 0, len, len]
                    .iter()
                    .flat_map(|word| word.to_le_bytes()),
            );
            file.extend_from_slice(frame);
        }
        file
    }

    fn arp() -> Vec<u8> {
        [
            &[0xff; 6][..],
            &[2, 0, 0, 0, 0, 1, 8, 6],
            &[0, 1, 8, 0, 6, 4, 0, 1],
            &[0; 20],
        ]
        .concat()
    }

    fn dns() -> Vec<u8> {
        let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x02ab\0\0\x01\0\x01";
        let ip = [
            0x45, 0, 0, 48, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        [
            &[0; 12][..],
            &[8, 0],
            &ip,
            &[0, 99, 0, 53, 0, 28, 0, 0],
            query,
        ]
        .concat()
    }
}
