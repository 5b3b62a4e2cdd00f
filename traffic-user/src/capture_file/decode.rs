//! From bytes of a file to parsed packets.

use std::ops::Range;

use traffic_ebpf::record::{FLAG_EGRESS, Summary};

use super::{
    link::{Layout, LinkType, parse_frame},
    read::{FileInterface, MAX_FRAME_BYTES, ReadError},
};
use crate::record::PacketRecord;

/// A file format: cuts bytes into packets.
pub(super) trait Decoder: Send {
    /// Takes one item, and the packet if it is one, from the front of `bytes`.
    fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<(&'a [u8], Option<RawPacket<'a>>), Stop>;

    fn interfaces(&self) -> &[Interface];

    /// Takes everything that lies whole in `bytes` and says how many of them that were, and what
    /// comes next. Packets are added to `packets`.
    fn decode(&mut self, bytes: &[u8], packets: &mut Vec<Parsed>) -> (usize, Stop) {
        let mut rest = bytes;
        let stop = loop {
            let packet = match self.next(rest) {
                Err(stop) => break stop,
                Ok((after, packet)) => {
                    rest = after;
                    packet
                }
            };
            let Some(packet) = packet else { continue };
            // The decoder gives no packet of an interface that it does not have.
            let Some(interface) = self.interfaces().get(usize::from(packet.interface)) else {
                continue;
            };
            let Some(layout) = interface.layout else {
                let link_type = interface.described.link_type;
                break Stop::Fault(ReadError::UnsupportedLinkType(link_type));
            };
            packets.push(packet.parse(layout, bytes));
        };
        (bytes.len() - rest.len(), stop)
    }
}

/// One packet of a file.
pub(super) struct RawPacket<'a> {
    pub(super) timestamp_ns: u64,
    pub(super) data: &'a [u8],
    pub(super) wire_len: u32,
    pub(super) interface: u16,
    pub(super) egress: bool,
}

/// A packet, and where its bytes lie.
pub(super) struct Parsed {
    pub(super) record: PacketRecord,
    start: u32,
    len: u32,
}

impl Parsed {
    pub(super) fn range(&self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

impl RawPacket<'_> {
    /// The packet, which lies in `bytes`.
    #[inline]
    fn parse(&self, layout: Layout, bytes: &[u8]) -> Parsed {
        let mut headers = parse_frame(layout, self.data);
        if self.egress {
            headers.flags |= FLAG_EGRESS;
        }
        let record = PacketRecord::new(Summary {
            timestamp_ns: self.timestamp_ns,
            wire_len: self.wire_len,
            interface: self.interface,
            headers,
        });
        let start = self.data.as_ptr().addr() - bytes.as_ptr().addr();
        Parsed {
            record,
            start: u32::try_from(start).expect("a window is smaller"),
            len: u32::try_from(self.data.len()).expect("checked by `check_len`"),
        }
    }
}

/// One interface of a file.
pub(super) struct Interface {
    pub(super) described: FileInterface,
    /// `None` for link types that are not supported.
    pub(super) layout: Option<Layout>,
}

impl Interface {
    pub(super) fn new(name: Option<String>, link_type: LinkType) -> Self {
        Self {
            described: FileInterface {
                name,
                link_type,
                sample: 1,
            },
            layout: link_type.layout(),
        }
    }

    /// The same interface with one frame in `sample` written.
    pub(super) fn sampled(mut self, sample: u32) -> Self {
        self.described.sample = sample;
        self
    }
}

/// Why a [`Decoder`] took nothing.
pub(super) enum Stop {
    /// The item does not lie whole in the bytes.
    NeedMore,
    /// There is no way on.
    Fault(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Fault(error)
    }
}

/// Refuses frames of more than [`MAX_FRAME_BYTES`].
pub(super) fn check_len(claimed: u32) -> Result<(), ReadError> {
    if claimed > MAX_FRAME_BYTES {
        return Err(ReadError::FrameTooLong(claimed));
    }
    Ok(())
}
