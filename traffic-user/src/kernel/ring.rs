//! Items of the ring, decoded.

use aya::maps::{MapData, RingBuf};
use traffic_ebpf::{
    packet::Packet,
    record::{BATCH_HEADER_BYTES, ExcerptHeader, Kind, RunHeader, Summary},
};

use super::clock::WallClock;
use crate::{capture_file::Run, record::PacketRecord};

/// What takes the items.
pub trait Sink {
    /// Summaries in the order of one CPU; batches of several CPUs interleave.
    fn packets(&mut self, records: &[PacketRecord]);

    /// Frames of one CPU for the capture file.
    fn frames(&mut self, run: Run<'_>);

    /// The first bytes of a DNS or ARP frame or a fragment. `header.timestamp_ns` is wall-clock
    /// time.
    fn excerpt(&mut self, header: &ExcerptHeader, data: &[u8]);
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
        Some(Kind::Frames) => deliver_run(item, sink),
        Some(Kind::Excerpt) => {
            let Some(mut header) = item.read::<ExcerptHeader>(0) else {
                return;
            };
            header.timestamp_ns = clock.wall_ns(header.timestamp_ns);
            let data = &item[size_of::<ExcerptHeader>()..];
            sink.excerpt(&header, &data[..data.len().min(header.cap_len as usize)]);
        }
        None => log::error!("an item of unknown kind in the ring: {kind:?}"),
    }
}

/// Gives a run of frames, with its header, to `sink`.
pub(super) fn deliver_run(item: &[u8], sink: &mut dyn Sink) {
    let Some(header) = item.read::<RunHeader>(0) else {
        return;
    };
    let blocks = &item[size_of::<RunHeader>()..];
    let bytes = blocks.len().min(header.bytes as usize);
    sink.frames(Run::new(&blocks[..bytes], u64::from(header.frames)));
}

fn deliver_batch(
    batch: &[u8],
    clock: &WallClock,
    records: &mut Vec<PacketRecord>,
    sink: &mut dyn Sink,
) {
    let count = batch.read::<[u8; 4]>(4).map_or(0, u32::from_ne_bytes) as usize;
    let (summaries, _) = batch[BATCH_HEADER_BYTES..].as_chunks::<{ size_of::<Summary>() }>();
    records.clear();
    records.extend(summaries.iter().take(count).map(|bytes| {
        let mut summary: Summary = bytes.read(0).expect("the bytes are those of one");
        summary.timestamp_ns = clock.wall_ns(summary.timestamp_ns);
        PacketRecord::new(summary)
    }));
    sink.packets(records);
}
