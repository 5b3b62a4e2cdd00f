//! Fragments that cover the same bytes of a datagram (RFC 791, RFC 5722, RFC 1858).

use std::collections::HashMap;

use foldhash::quality::RandomState;
use traffic_ebpf::{
    parse::Link,
    protocol::{ETHER_TYPE_IPV4, ETHER_TYPE_IPV6},
};

use super::{Kind, SECOND_NS, Seen, Threshold, Thresholds, be16, filter, network};
use crate::record::Address;

/// Datagrams whose fragments are kept; when there are more, the older half is forgotten.
const MAX_DATAGRAMS: usize = 1024;
/// Fragments that are kept of a datagram.
const MAX_FRAGMENTS: usize = 64;
/// Pairs of hosts that are kept.
const MAX_PAIRS: usize = 64;
/// RFC 8200 gives a datagram 60 seconds; identifications of busy hosts come again sooner.
const LIFETIME_NS: u64 = 30 * SECOND_NS;
/// IPv6 headers that are followed to the fragment header.
const MAX_EXTENSIONS: usize = 8;

/// Datagrams in pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragments {
    datagrams: HashMap<Key, Datagram, RandomState>,
    pairs: HashMap<(Address, Address), Overlaps, RandomState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: Address,
    dst: Address,
    id: u32,
    protocol: u8,
}

#[derive(Clone, Debug)]
struct Datagram {
    first_ns: u64,
    /// First byte and the byte after the last.
    pieces: Vec<(u32, u32)>,
    overlaps: u64,
}

#[derive(Clone, Copy, Debug)]
struct Overlaps {
    fragments: u64,
    datagrams: u64,
    first_ns: u64,
    last_ns: u64,
    /// Of one of the datagrams.
    id: u32,
}

struct Fragment {
    key: Key,
    start: u32,
    end: u32,
}

impl Fragments {
    /// Looks at the frame if it is a fragment.
    pub(super) fn excerpt(&mut self, time_ns: u64, frame: &[u8], link: Link) {
        let Some(fragment) = Fragment::read(frame, link) else {
            return;
        };
        if self.datagrams.len() >= MAX_DATAGRAMS && !self.datagrams.contains_key(&fragment.key) {
            self.forget();
        }
        let new = || Datagram {
            first_ns: time_ns,
            pieces: Vec::new(),
            overlaps: 0,
        };
        let datagram = self.datagrams.entry(fragment.key).or_insert_with(new);
        if time_ns.abs_diff(datagram.first_ns) > LIFETIME_NS {
            *datagram = new();
        }
        if !datagram.add(fragment.start, fragment.end) {
            return;
        }
        let (first_ns, new_datagram) = (datagram.first_ns, datagram.overlaps == 1);
        let pair = (fragment.key.src, fragment.key.dst);
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains_key(&pair) {
            return;
        }
        let overlaps = self.pairs.entry(pair).or_insert(Overlaps {
            fragments: 0,
            datagrams: 0,
            first_ns,
            last_ns: time_ns,
            id: fragment.key.id,
        });
        overlaps.fragments += 1;
        overlaps.datagrams += u64::from(new_datagram);
        overlaps.first_ns = overlaps.first_ns.min(first_ns);
        overlaps.last_ns = overlaps.last_ns.max(time_ns);
    }

    /// Lets the older half go.
    fn forget(&mut self) {
        let mut times: Vec<_> = self.datagrams.values().map(|d| d.first_ns).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.datagrams.retain(|_, d| d.first_ns > median);
    }

    pub(super) fn found(&self, thresholds: &Thresholds, all: &mut Vec<Seen>) {
        let least = thresholds.get(Threshold::FragmentOverlaps);
        let mut pairs: Vec<_> = self.pairs.iter().collect();
        pairs.sort_by_key(|(pair, _)| **pair);
        for ((src, dst), overlaps) in pairs {
            if overlaps.fragments < least {
                continue;
            }
            all.push(Seen {
                kind: Kind::FragmentOverlap,
                summary: format!(
                    "Overlapping fragments from {src} to {dst}: {} in {} of their datagrams (one \
                     has identification {:#x})",
                    overlaps.fragments, overlaps.datagrams, overlaps.id
                ),
                addresses: vec![*src, *dst],
                first_ns: overlaps.first_ns,
                last_ns: overlaps.last_ns,
                packets: overlaps.fragments,
                numbers: vec![("datagrams", overlaps.datagrams)],
                filter: format!(
                    "{} and {} and {}",
                    filter::from(*src),
                    filter::to(*dst),
                    filter::fragment(*src)
                ),
            });
        }
    }
}

impl Datagram {
    /// Whether the piece overlaps another one. The same piece again is a copy: the link, or a
    /// second interface, repeated it.
    fn add(&mut self, start: u32, end: u32) -> bool {
        if self.pieces.contains(&(start, end)) {
            return false;
        }
        let mut pieces = self.pieces.iter();
        let overlaps = pieces.any(|(from, to)| start < *to && *from < end);
        if self.pieces.len() < MAX_FRAGMENTS {
            self.pieces.push((start, end));
        }
        self.overlaps += u64::from(overlaps);
        overlaps
    }
}

impl Fragment {
    fn read(frame: &[u8], link: Link) -> Option<Self> {
        let (ether_type, offset) = network(frame, link)?;
        let packet = frame.get(offset..)?;
        match ether_type {
            ETHER_TYPE_IPV4 => Self::read_v4(packet),
            ETHER_TYPE_IPV6 => Self::read_v6(packet),
            _ => None,
        }
    }

    fn read_v4(packet: &[u8]) -> Option<Self> {
        let header_len = u32::from(packet.first()? & 0x0f) * 4;
        let len = u32::from(be16(packet, 2)?).checked_sub(header_len)?;
        let flags = be16(packet, 6)?;
        let key = Key {
            src: Address::V4(*packet.get(12..)?.first_chunk()?),
            dst: Address::V4(*packet.get(16..)?.first_chunk()?),
            id: be16(packet, 4)?.into(),
            protocol: *packet.get(9)?,
        };
        Self::new(key, u32::from(flags & 0x1fff) * 8, flags & 0x2000 != 0, len)
    }

    fn read_v6(packet: &[u8]) -> Option<Self> {
        let payload_len = usize::from(be16(packet, 4)?);
        let mut next = *packet.get(6)?;
        let mut offset = 40;
        for _ in 0..MAX_EXTENSIONS {
            match next {
                44 => break,
                0 | 43 | 60 => {
                    next = *packet.get(offset)?;
                    offset += 8 * (1 + usize::from(*packet.get(offset + 1)?));
                }
                _ => return None,
            }
        }
        if next != 44 {
            return None;
        }
        let position = be16(packet, offset + 2)?;
        let id = packet.get(offset + 4..)?.first_chunk()?;
        let key = Key {
            src: Address::V6(*packet.get(8..)?.first_chunk()?),
            dst: Address::V6(*packet.get(24..)?.first_chunk()?),
            id: u32::from_be_bytes(*id),
            // RFC 8200: only addresses and identification tell datagrams apart.
            protocol: 0,
        };
        let len = (40 + payload_len).checked_sub(offset + 8)?;
        let len = u32::try_from(len).ok()?;
        Self::new(key, u32::from(position & 0xfff8), position & 1 == 1, len)
    }

    /// `None` for a whole datagram and for an empty piece.
    fn new(key: Key, start: u32, more: bool, len: u32) -> Option<Self> {
        let end = start + len;
        (len > 0 && (start > 0 || more)).then_some(Self { key, start, end })
    }
}
