//! Items of the ring, decoded.

use aya::maps::{MapData, RingBuf};
use traffic_ebpf::{
    packet::Packet,
    record::{BATCH_HEADER_BYTES, FrameHeader, Kind, Summary},
};

use super::clock::WallClock;
use crate::record::PacketRecord;

/// What takes the items.
pub trait Sink {
    /// Summaries in the order of one CPU; batches of several CPUs interleave.
    fn packets(&mut self, records: &[PacketRecord]);

    /// A frame for the capture file. `header.timestamp_ns` is wall-clock time.
    fn frame(&mut self, header: &FrameHeader, data: &[u8]);

    /// The first bytes of a DNS or ARP frame or a fragment, as `frame`.
    fn excerpt(&mut self, header: &FrameHeader, data: &[u8]);
}

/// The reading end of the ring.
pub(super) struct RingReader {
    ring: RingBuf<MapData>,
    records: Vec<PacketRecord>,
}

impl RingReader {
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self {
            ring,
            records: Vec::new(),
        }
    }

    /// Gives at most `limit` items to `sink`; returns how many there were.
    pub(super) fn drain(&mut self, limit: usize, clock: &WallClock, sink: &mut dyn Sink) -> usize {
        let mut items = 0;
        while items < limit
            && let Some(item) = self.ring.next()
        {
            deliver(&item, clock, &mut self.records, sink);
            items += 1;
        }
        items
    }

    /// Gives a batch that never reached the ring to `sink`.
    pub(super) fn deliver_batch(&mut self, batch: &[u8], clock: &WallClock, sink: &mut dyn Sink) {
        deliver_batch(batch, clock, &mut self.records, sink);
    }
}

impl std::os::fd::AsRawFd for RingReader {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.ring.as_raw_fd()
    }
}

fn deliver(item: &[u8], clock: &WallClock, records: &mut Vec<PacketRecord>, sink: &mut dyn Sink) {
    let kind = item.read::<[u8; 4]>(0).map(u32::from_ne_bytes);
    match kind.and_then(Kind::from_code) {
        Some(Kind::Batch) => deliver_batch(item, clock, records, sink),
        Some(kind @ (Kind::Frame | Kind::Excerpt)) => {
            let Some(mut header) = item.read::<FrameHeader>(0) else {
                return;
            };
            header.timestamp_ns = clock.wall_ns(header.timestamp_ns);
            let data = &item[size_of::<FrameHeader>()..];
            let data = &data[..data.len().min(header.cap_len as usize)];
            if kind == Kind::Frame {
                sink.frame(&header, data);
            } else {
                sink.excerpt(&header, data);
            }
        }
        None => log::error!("an item of unknown kind in the ring: {kind:?}"),
    }
}

fn deliver_batch(
    batch: &[u8],
    clock: &WallClock,
    records: &mut Vec<PacketRecord>,
    sink: &mut dyn Sink,
) {
    let count = batch.read::<[u8; 4]>(4).map_or(0, u32::from_ne_bytes) as usize;
    records.clear();
    records.extend(
        batch[BATCH_HEADER_BYTES..]
            .chunks_exact(size_of::<Summary>())
            .take(count)
            .filter_map(|bytes| bytes.read::<Summary>(0))
            .map(|mut summary| {
                summary.timestamp_ns = clock.wall_ns(summary.timestamp_ns);
                PacketRecord::new(summary)
            }),
    );
    sink.packets(records);
}
