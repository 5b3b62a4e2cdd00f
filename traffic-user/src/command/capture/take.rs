//! What becomes of the items that come up the ring.

use anyhow::{Context as _, Result, bail};
use traffic_ebpf::{
    parse::Link,
    record::{FLAG_EGRESS, FrameHeader},
};

use super::settings::{filter_text, snaplen};
use crate::{
    capture_file::{
        CaptureWriter, Format, InterfaceDescription, InterfaceStatistics, LinkType, WriteError,
    },
    cli::{CaptureArgs, Hook},
    command::UsageError,
    kernel::{self, Interface, Sink},
    record::{Direction, PacketRecord},
    report::assemble::Written,
    stages::Stages,
};

/// What takes the items of the ring.
pub(super) struct Take {
    pub(super) stages: Stages,
    /// What frames of each interface begin with.
    links: Vec<Link>,
    pub(super) file: Option<CaptureFile>,
}

impl Take {
    pub(super) fn new(
        args: &CaptureArgs,
        interfaces: &[Interface],
        file: Option<CaptureFile>,
    ) -> Self {
        Self {
            stages: Stages::for_capture(args.output.history),
            links: interfaces.iter().map(excerpt_link).collect(),
            file,
        }
    }
}

impl Sink for Take {
    fn packets(&mut self, records: &[PacketRecord]) {
        self.stages.packets(records);
    }

    fn frame(&mut self, header: &FrameHeader, data: &[u8]) {
        if let Some(file) = &mut self.file {
            file.write(header, data);
        }
    }

    fn excerpt(&mut self, header: &FrameHeader, data: &[u8]) {
        if let Some(&link) = self.links.get(usize::from(header.interface)) {
            self.stages.excerpt(data, link);
        }
    }
}

/// The capture file. The first failure ends writing; counting goes on.
pub(super) struct CaptureFile {
    writer: CaptureWriter,
    path: String,
    /// Frames that came up the ring.
    offered: u64,
    failure: Option<WriteError>,
}

impl CaptureFile {
    fn write(&mut self, header: &FrameHeader, data: &[u8]) {
        self.offered += 1;
        if self.failure.is_some() {
            return;
        }
        let direction = if header.flags & FLAG_EGRESS == 0 {
            Direction::Ingress
        } else {
            Direction::Egress
        };
        let result = self.writer.write_frame(
            header.interface,
            header.timestamp_ns,
            header.wire_len,
            direction,
            data,
        );
        self.note(result);
    }

    /// Writes what was gathered: to a file when `is_due`, to a stream always.
    pub(super) fn flush(&mut self, is_due: bool) {
        if self.failure.is_none() && (is_due || self.writer.is_stream()) {
            let result = self.writer.flush();
            self.note(result);
        }
    }

    fn note(&mut self, result: Result<(), WriteError>) {
        let Err(error) = result else { return };
        if !is_broken_pipe(&error) {
            eprintln!(
                "error: write {}: {error} (counting goes on, no more frames are written)",
                self.path
            );
        }
        self.failure = Some(error);
    }

    pub(super) fn reader_is_gone(&self) -> bool {
        self.failure.as_ref().is_some_and(is_broken_pipe)
    }

    pub(super) fn finish(
        mut self,
        statistics: &[InterfaceStatistics],
    ) -> (Written, Option<anyhow::Error>) {
        if self.failure.is_none() {
            let result = self.writer.finish(statistics);
            self.note(result);
        }
        let frames = self.writer.frames_written();
        let written = Written {
            frames,
            failed: self.offered - frames,
        };
        let failure = self.failure.filter(|error| !is_broken_pipe(error));
        let failure = failure.map(|error| {
            anyhow::Error::new(error).context(format!(
                "{} holds {frames} of {} frames",
                self.path, self.offered
            ))
        });
        (written, failure)
    }
}

pub(super) fn is_broken_pipe(error: &WriteError) -> bool {
    std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    })
    .filter_map(|error| error.downcast_ref::<std::io::Error>())
    .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

pub(super) fn open_file(args: &CaptureArgs, selected: &[Interface]) -> Result<Option<CaptureFile>> {
    let Some(target) = &args.write else {
        return Ok(None);
    };
    if args.hook == Hook::Xdp && !kernel::xdp_can_copy_frames() {
        bail!("copying frames at XDP needs Linux 5.18 (write with --hook tc)");
    }
    let first = selected.first().map(Interface::link_type);
    let mixed = selected
        .iter()
        .any(|interface| Some(interface.link_type()) != first);
    if mixed && Format::of(target) == Format::Pcap {
        let message = "a .pcap file holds one link type, and the interfaces have several \
                       (name the file .pcapng)";
        return Err(UsageError(message.to_owned()).into());
    }
    let interfaces: Vec<_> = selected
        .iter()
        .map(|interface| InterfaceDescription {
            name: interface.name.clone(),
            link_type: link_type(interface),
            snaplen: snaplen(args),
            filter: filter_text(args),
            sample: args.sample,
        })
        .collect();
    let path = target.display().to_string();
    let writer =
        CaptureWriter::create(target, &interfaces).with_context(|| format!("write {path}"))?;
    Ok(Some(CaptureFile {
        writer,
        path,
        offered: 0,
        failure: None,
    }))
}

pub(super) fn link_type(interface: &Interface) -> LinkType {
    if interface.has_ethernet_headers() {
        LinkType::ETHERNET
    } else {
        LinkType::RAW
    }
}

pub(super) fn excerpt_link(interface: &Interface) -> Link {
    if interface.has_ethernet_headers() {
        Link::Ethernet(None)
    } else {
        Link::Ip
    }
}
