//! What becomes of the items that come up the ring.

use traffic_ebpf::{parse::Link, record::ExcerptHeader};

use super::{LIVE_ROWS, file::CaptureFile, lines::Lines};
use crate::{
    capture_file::Run,
    cli::CaptureArgs,
    command::packet_log::PacketLog,
    flows::{FlowSink, Flows},
    kernel::{Interface, Sink},
    record::PacketRecord,
    stages::Stages,
};

/// What takes the items of the ring.
pub(super) struct Take {
    pub(super) stages: Stages,
    /// What frames of each interface begin with.
    links: Vec<Link>,
    /// Their names.
    names: Vec<String>,
    pub(super) file: Option<CaptureFile>,
    pub(super) log: Option<PacketLog>,
    pub(super) lines: Option<Lines>,
    /// Who takes the flows that end.
    flow_sinks: Vec<Box<dyn FlowSink>>,
}

impl Take {
    pub(super) fn new(
        args: &CaptureArgs,
        interfaces: &[Interface],
        file: Option<CaptureFile>,
        log: Option<PacketLog>,
    ) -> Self {
        Self {
            stages: Stages::for_capture(args.output.history)
                .with_findings(args.output.findings())
                .with_flows(flows(args)),
            links: interfaces.iter().map(excerpt_link).collect(),
            names: interfaces.iter().map(|i| i.name.clone()).collect(),
            file,
            log,
            lines: Lines::new(args, interfaces),
            flow_sinks: Vec::new(),
        }
    }

    /// Lets time pass for what goes by it.
    pub(super) fn tick(&mut self, now_ns: u64) {
        self.stages.tick(now_ns);
        self.give_flows();
    }

    /// Ends what goes on, because no more packets come.
    pub(super) fn finish(&mut self) {
        self.stages.finish();
        self.give_flows();
    }

    fn give_flows(&mut self) {
        for flow in self.stages.ended_flows() {
            for sink in &mut self.flow_sinks {
                sink.flow(&flow);
            }
        }
    }

    /// Makes room for one more interface.
    pub(super) fn add(&mut self, args: &CaptureArgs, interface: &Interface) {
        self.links.push(excerpt_link(interface));
        self.names.push(interface.name.clone());
        if let Some(file) = &mut self.file {
            file.add_interface(args, interface);
        }
        if let Some(lines) = &mut self.lines {
            lines.add_interface(interface);
        }
    }
}

fn flows(args: &CaptureArgs) -> Option<Flows> {
    let settings = args.output.flows.settings(args.output.top.max(LIVE_ROWS))?;
    Some(Flows::new(settings))
}

impl Sink for Take {
    fn packets(&mut self, records: &[PacketRecord]) {
        self.stages.packets(records);
        self.give_flows();
        if let Some(log) = &mut self.log {
            log.write(records, &self.names);
        }
    }

    fn frames(&mut self, run: Run<'_>) {
        if let Some(file) = &mut self.file {
            file.write(run);
        }
        if let Some(lines) = &mut self.lines {
            for block in run.blocks() {
                lines.frame(&block.frame);
            }
        }
    }

    fn excerpt(&mut self, header: &ExcerptHeader, data: &[u8]) {
        if let Some(&link) = self.links.get(usize::from(header.interface)) {
            self.stages.excerpt(header.timestamp_ns, data, link);
        }
    }
}

pub(super) fn excerpt_link(interface: &Interface) -> Link {
    if interface.has_ethernet_headers() {
        Link::Ethernet(None)
    } else {
        Link::Ip
    }
}
