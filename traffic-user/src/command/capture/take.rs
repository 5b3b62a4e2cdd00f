//! What becomes of the items that come up the ring.

use traffic_ebpf::{parse::Link, record::ExcerptHeader};

use super::{LIVE_ROWS, file::CaptureFile, in_order::InOrder, lines::Lines};
use crate::{
    capture_file::Run,
    cli::CaptureArgs,
    command::{ipfix, packet_log::PacketLog},
    fleet::flows::FlowRows,
    flows::Flows,
    ipfix::{Exported, Exporter},
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
    /// `None` where every frame is written at once.
    order: Option<InOrder>,
    /// Where flows go that end.
    ipfix: Option<Exporter>,
    /// Whether the capture ends with a number of packets, which is not to come late.
    counted: bool,
    /// Where else they go.
    pub(super) rows: Option<FlowRows>,
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
            order: (!args.files.packet_buffered).then(InOrder::default),
            ipfix: None,
            counted: args.count.is_some(),
            rows: None,
        }
    }

    /// Gives the flows that end to `exporter`.
    pub(super) fn export_flows(&mut self, mut exporter: Exporter, interfaces: &[Interface]) {
        for interface in interfaces {
            exporter.interface(interface.ifindex, 1);
        }
        self.ipfix = Some(exporter);
    }

    /// Lets time pass for what goes by it.
    pub(super) fn tick(&mut self, now_ns: u64) {
        self.stages.tick(now_ns);
        if let Some(rows) = &mut self.rows {
            rows.tick(now_ns);
        }
        self.hand_on_flows();
        if let Some(exporter) = &mut self.ipfix {
            exporter.tick(self.stages.flowless());
        }
    }

    /// Frames and summaries from before `settled_ns` have all come.
    pub(super) fn settle(&mut self, settled_ns: u64) {
        if let Some(log) = &mut self.log {
            log.settle(settled_ns, &self.names);
        }
        if let Some(order) = &mut self.order {
            let (file, lines) = (&mut self.file, &mut self.lines);
            order.settle(settled_ns, |run| write_frames(file, lines, run));
        }
    }

    /// Writes the frames that are held back.
    pub(super) fn release_frames(&mut self) {
        if let Some(order) = &mut self.order {
            let (file, lines) = (&mut self.file, &mut self.lines);
            order.release_all(|run| write_frames(file, lines, run));
        }
    }

    /// Gives the flows that have ended to those who want them.
    fn hand_on_flows(&mut self) {
        for flow in self.stages.ended_flows() {
            if let Some(exporter) = &mut self.ipfix {
                exporter.flow(&flow);
            }
            if let Some(rows) = &mut self.rows {
                let name = self.names.get(usize::from(flow.interface));
                rows.add(name.map_or("", String::as_str), &flow);
            }
        }
    }

    /// Ends what goes on, because no more packets come; what became of the flow records.
    pub(super) fn finish(&mut self) -> Option<Exported> {
        self.release_frames();
        if let Some(log) = &mut self.log {
            log.settle(u64::MAX, &self.names);
        }
        self.stages.finish();
        self.hand_on_flows();
        let mut exporter = self.ipfix.take()?;
        exporter.tick(self.stages.flowless());
        Some(exporter.finish())
    }

    /// What became of the flow records so far.
    pub(super) fn exported(&self) -> Option<Exported> {
        self.ipfix.as_ref().map(Exporter::exported)
    }

    /// Whether someone reads along, who is not to wait.
    pub(super) fn is_followed(&self) -> bool {
        let is_stream = self.file.as_ref().is_some_and(CaptureFile::is_stream);
        is_stream || self.lines.is_some() || self.log.is_some() || self.counted
    }

    /// Makes room for one more interface.
    pub(super) fn add(&mut self, args: &CaptureArgs, interface: &Interface) {
        self.links.push(excerpt_link(interface));
        self.names.push(interface.name.clone());
        if let Some(exporter) = &mut self.ipfix {
            exporter.interface(interface.ifindex, 1);
        }
        if let Some(file) = &mut self.file {
            file.add_interface(args, interface);
        }
        if let Some(lines) = &mut self.lines {
            lines.add_interface(interface);
        }
    }
}

impl Sink for Take {
    fn packets(&mut self, records: &[PacketRecord]) {
        self.stages.packets(records);
        self.hand_on_flows();
        if let Some(log) = &mut self.log {
            log.hold(records, &self.names);
        }
    }

    fn frames(&mut self, run: Run<'_>) {
        if self.order.as_mut().is_some_and(|order| order.hold(&run)) {
            return;
        }
        self.release_frames();
        write_frames(&mut self.file, &mut self.lines, run);
    }

    fn excerpt(&mut self, header: &ExcerptHeader, data: &[u8]) {
        if let Some(&link) = self.links.get(usize::from(header.interface)) {
            self.stages.excerpt(header.timestamp_ns, data, link);
        }
    }
}

/// The flows that are asked for, or stored.
fn flows(args: &CaptureArgs) -> Option<Flows> {
    let is_stored = args.export.to.is_some() && !args.counters_only;
    ipfix::flows(
        &args.output.flows,
        args.output.top.max(LIVE_ROWS),
        is_stored,
    )
}

fn write_frames(file: &mut Option<CaptureFile>, lines: &mut Option<Lines>, run: Run<'_>) {
    if let Some(file) = file {
        file.write(run);
    }
    if let Some(lines) = lines {
        for block in run.blocks() {
            lines.frame(&block.frame);
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
