//! What travels up the ring buffer: batches of summaries, and frames.

use crate::{
    parse::ParseError,
    protocol::{Class, ETHER_TYPE_ARP, Protocol},
};

/// The frame left the host; otherwise it arrived.
pub const FLAG_EGRESS: u8 = 1;
/// IPv4 or IPv6 fragment, the first one included.
pub const FLAG_FRAGMENT: u8 = 1 << 1;
/// Fragment with a non-zero offset: it has no transport header.
pub const FLAG_LATER_FRAGMENT: u8 = 1 << 2;
/// Addresses are IPv4.
pub const FLAG_IPV4: u8 = 1 << 3;
/// Addresses are IPv6.
pub const FLAG_IPV6: u8 = 1 << 4;
/// Addresses are Ethernet (MAC) addresses, because the frame is not IP.
pub const FLAG_MAC: u8 = 1 << 5;
/// At least one VLAN tag: [`Headers::vlan`]`[0]` holds the outer one.
pub const FLAG_VLAN: u8 = 1 << 6;
/// At least two VLAN tags: [`Headers::vlan`]`[1]` holds the second.
pub const FLAG_VLAN_INNER: u8 = 1 << 7;

/// What the parser found in one frame's headers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Source address, network byte order: IPv4 in the first 4 bytes, MAC in the first 6.
    pub src_addr: [u8; 16],
    /// Destination address, as `src_addr`.
    pub dst_addr: [u8; 16],
    /// Network byte order. Source and destination port; type and code of ICMP in the first two
    /// bytes; the IP identification of a later fragment (IPv4 in the last two bytes).
    pub transport: [u8; 4],
    /// `EtherType` after VLAN tags; [`crate::protocol::ETHER_TYPE_LLC`] for 802.3 frames.
    pub ether_type: u16,
    /// VLAN tag control information, outer first: priority (3 bits), DEI (1), VLAN id (12).
    pub vlan: [u16; 2],
    /// Offset of a later fragment in bytes; otherwise 0.
    pub fragment_offset: u16,
    /// IP protocol number after IPv6 extension headers; 0 without an IP header.
    pub ip_proto: u8,
    /// Byte 13 of the TCP header (RFC 9293): CWR ECE URG ACK PSH RST SYN FIN.
    pub tcp_flags: u8,
    /// IPv4 time to live or IPv6 hop limit.
    pub ttl: u8,
    /// `FLAG_…` bits.
    pub flags: u8,
    /// [`ParseError`] code; 0 when every header was whole and consistent.
    pub status: u8,
    /// [`Protocol`] discriminant.
    pub protocol: u8,
}

impl Headers {
    /// Nothing known yet.
    pub const EMPTY: Self = Self {
        ether_type: 0,
        vlan: [0; 2],
        fragment_offset: 0,
        src_addr: [0; 16],
        dst_addr: [0; 16],
        transport: [0; 4],
        ip_proto: 0,
        tcp_flags: 0,
        ttl: 0,
        flags: 0,
        status: 0,
        protocol: Protocol::Unparsed as u8,
    };

    /// Whether all bits of `flag` are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag == flag
    }

    /// Leaf class with its number.
    #[must_use]
    pub fn class(&self) -> Class {
        let protocol = Protocol::from_index(self.protocol);
        Class {
            protocol,
            number: self.class_number(),
        }
    }

    /// The number that divides a numbered class further; 0 for the others.
    #[inline(always)]
    #[must_use]
    pub const fn class_number(&self) -> u16 {
        if self.protocol == Protocol::OtherIp as u8 {
            self.ip_proto as u16
        } else if self.protocol == Protocol::OtherEther as u8 {
            self.ether_type
        } else {
            0
        }
    }

    /// Why the headers were not whole and consistent, if so.
    #[must_use]
    pub fn error(&self) -> Option<ParseError> {
        ParseError::from_code(self.status)
    }

    /// Whether the addresses are those of an IP header.
    #[inline(always)]
    #[must_use]
    pub const fn has_ip_header(&self) -> bool {
        self.flags & (FLAG_IPV4 | FLAG_IPV6) != 0
    }

    /// 4, 6, or 0 where no IP header was read.
    #[inline(always)]
    #[must_use]
    pub const fn ip_version(&self) -> u8 {
        if self.has(FLAG_IPV4) {
            4
        } else if self.has(FLAG_IPV6) {
            6
        } else {
            0
        }
    }

    /// Source and destination port of TCP, UDP and SCTP, where they were read.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let [a, b, c, d] = self.transport;
        self.has_ports()
            .then(|| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    fn has_ports(&self) -> bool {
        let protocol = Protocol::from_index(self.protocol);
        let kind = protocol.is_tcp() || protocol.is_udp() || protocol == Protocol::Sctp;
        kind && !self.has(FLAG_LATER_FRAGMENT)
            && !matches!(
                self.error(),
                Some(
                    ParseError::NoTransport | ParseError::BadIpv4Length | ParseError::TruncatedIpv4
                )
            )
    }

    /// Byte 13 of the TCP header, where it was read.
    #[must_use]
    pub fn read_tcp_flags(&self) -> Option<u8> {
        let tcp = Protocol::from_index(self.protocol).is_tcp();
        // Only a header that was cut before the byte leaves it 0 with an error.
        (tcp && !self.has(FLAG_LATER_FRAGMENT) && (self.status == 0 || self.tcp_flags != 0))
            .then_some(self.tcp_flags)
    }

    /// ICMP or `ICMPv6` type and code, where they were read.
    #[must_use]
    pub fn icmp_type_code(&self) -> Option<(u8, u8)> {
        let icmp = self.protocol == Protocol::Icmp as u8 || self.protocol == Protocol::Icmp6 as u8;
        (icmp && !self.has(FLAG_LATER_FRAGMENT) && self.status == 0)
            .then_some((self.transport[0], self.transport[1]))
    }

    /// IP identification of a later fragment.
    #[must_use]
    pub fn fragment_id(&self) -> Option<u32> {
        self.has(FLAG_LATER_FRAGMENT)
            .then(|| u32::from_be_bytes(self.transport))
    }

    /// VLAN ids that were read, outer first; at most two.
    pub fn vlan_ids(&self) -> impl Iterator<Item = u16> {
        let count = usize::from(self.has(FLAG_VLAN)) + usize::from(self.has(FLAG_VLAN_INNER));
        self.vlan.into_iter().take(count).map(|tci| tci & 0x0fff)
    }

    /// Whether the frame asks for its first bytes to travel up with it: DNS, ARP, and fragments.
    #[inline(always)]
    #[must_use]
    pub const fn wants_excerpt(&self) -> bool {
        self.protocol == Protocol::DnsUdp as u8
            || self.protocol == Protocol::DnsTcp as u8
            || self.ether_type == ETHER_TYPE_ARP
            || self.has(FLAG_FRAGMENT)
    }
}

/// One frame's header summary.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// In the ring `CLOCK_MONOTONIC` nanoseconds; user space turns it into wall-clock time.
    pub timestamp_ns: u64,
    /// What the headers said. It stands here so that addresses are aligned.
    pub headers: Headers,
    /// Number of the interface in this run, in the order of its interface table.
    pub interface: u16,
    /// Bytes from the link header, without FCS, before any truncation.
    pub wire_len: u32,
}

impl Summary {
    /// All zero.
    pub const EMPTY: Self = Self {
        timestamp_ns: 0,
        wire_len: 0,
        interface: 0,
        headers: Headers::EMPTY,
    };
}

/// Summaries in a full batch.
pub const BATCH_RECORDS: usize = 64;
/// Bytes in front of the records of a [`Batch`].
pub const BATCH_HEADER_BYTES: usize = 64;

/// First four bytes of every item in the ring.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`Batch`], cut after its last record.
    Batch = 1,
    /// A [`RunHeader`] with frames asked for by a capture file.
    Frames = 2,
    /// An [`ExcerptHeader`] with the first [`EXCERPT_BYTES`] of a DNS or ARP frame or a fragment.
    Excerpt = 3,
}

impl Kind {
    /// The kind an item starts with; `None` for a number that is none.
    #[must_use]
    pub const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Self::Batch),
            2 => Some(Self::Frames),
            3 => Some(Self::Excerpt),
            _ => None,
        }
    }
}

/// Nobody works on the batch.
pub const OWNER_NONE: u32 = 0;
/// A packet is being added.
pub const OWNER_PACKET: u32 = 1;
/// The flush program is emptying it.
pub const OWNER_FLUSH: u32 = 2;

/// One CPU's working state: its batch, and what it caches between packets.
///
/// Only that CPU writes it while the gate is open; user space reads `count` to see which CPUs
/// have records in hand.
#[repr(C, align(64))]
pub struct Batch {
    /// [`Kind::Batch`].
    pub kind: u32,
    /// Records in `records`, 0 to [`BATCH_RECORDS`].
    pub count: u32,
    /// `OWNER_…`: who works on the batch right now.
    pub owner: u32,
    /// Frames to skip until the next sampled one.
    pub sample_countdown: u32,
    /// Index of the time slot that covers `slot_start_ns..slot_end_ns`.
    pub slot: u32,
    /// Where a value is stored and read back, so that the verifier forgets what it knows of it.
    pub join: u32,
    /// Nanoseconds since the gate opened.
    pub slot_start_ns: u64,
    /// Nanoseconds since the gate opened.
    pub slot_end_ns: u64,
    /// Frames to leave untimed until the next timed one.
    pub timing_countdown: u32,
    /// Packets that may still be given the time of `clock_ns`.
    pub clock_countdown: u32,
    /// Ticks of the kernel when `clock_ns` was read.
    pub clock_tick: u64,
    /// `CLOCK_MONOTONIC` nanoseconds when the clock was last read, where packets share readings.
    pub clock_ns: u64,
    /// The records, oldest first; the one at `count` is being written. The last is for a packet
    /// that arrives while the flush program works on the others: it travels alone.
    pub records: [Summary; BATCH_RECORDS + 1],
}

/// A batch of one record: the same bytes, without the room for more.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Single {
    /// [`Kind::Batch`].
    pub kind: u32,
    /// 1.
    pub count: u32,
    /// Explicit padding up to [`BATCH_HEADER_BYTES`].
    pub reserved: [u64; 7],
    /// The record.
    pub record: Summary,
}

/// Bytes of a DNS or ARP frame or a fragment that travel up whatever the sampling.
pub const EXCERPT_BYTES: u32 = 512;

/// What stands in front of an excerpt in the ring. The item may be longer than the excerpt.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExcerptHeader {
    /// [`Kind::Excerpt`].
    pub kind: u32,
    /// Bytes of the frame that follow.
    pub cap_len: u32,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub timestamp_ns: u64,
    /// As [`Summary::wire_len`].
    pub wire_len: u32,
    /// As [`Summary::interface`].
    pub interface: u16,
    /// As [`Headers::flags`].
    pub flags: u8,
    /// As [`Headers::protocol`].
    pub protocol: u8,
}

/// What stands in front of frames in the ring. They follow as they will lie in a capture file:
/// enhanced packet blocks of pcapng, little-endian, with the interface's number in this run and
/// nanoseconds since the Unix epoch. The item may be longer than they are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunHeader {
    /// [`Kind::Frames`].
    pub kind: u32,
    /// Bytes of the blocks that follow.
    pub bytes: u32,
    /// Number of the blocks.
    pub frames: u32,
    /// Explicit padding.
    pub reserved: u32,
}

/// Bytes of frames that a CPU gathers before they travel up.
pub const RUN_BYTES: usize = 32 << 10;
/// Longest frame that is gathered; longer ones travel alone. A power of two.
pub const GATHERED_BYTES: usize = 2048;
/// Bytes of a block in front of the frame: type, length, interface, time (8), both lengths.
pub const BLOCK_HEADER_BYTES: usize = 28;
/// Bytes of a block behind the frame and its padding: the flags option, the end of options, the
/// length.
pub const BLOCK_TRAILER_BYTES: usize = 16;
/// Bytes of the option that tells how many frames were lost, where some were.
pub const DROP_COUNT_BYTES: usize = 12;
/// Most bytes of a block without its frame: padding, and a tag's shift beyond what is captured.
pub const BLOCK_EXTRA_BYTES: usize =
    BLOCK_HEADER_BYTES + 3 + DROP_COUNT_BYTES + BLOCK_TRAILER_BYTES + 17;

/// Frames that one CPU gathers.
///
/// Only that CPU writes them while the gate is open; user space reads `frames` of the header to
/// see which CPUs have some in hand.
#[repr(C, align(64))]
pub struct Run {
    /// What is there.
    pub header: RunHeader,
    /// The blocks; the room beyond [`RUN_BYTES`] is for the verifier, which does not see that
    /// offset and length together stay below.
    pub blocks: [u8; RUN_BYTES + GATHERED_BYTES + 2 * BLOCK_EXTRA_BYTES],
}

const _: () = assert!(size_of::<Headers>() == 50);
const _: () = assert!(size_of::<Summary>() == 64);
const _: () = assert!(size_of::<Single>() == BATCH_HEADER_BYTES + 64);
const _: () = assert!(size_of::<Batch>() == BATCH_HEADER_BYTES + 64 * (BATCH_RECORDS + 1));
const _: () = assert!(core::mem::offset_of!(Batch, records) == BATCH_HEADER_BYTES);
const _: () = assert!(size_of::<ExcerptHeader>() == 24);
const _: () = assert!(size_of::<RunHeader>() == 16);
