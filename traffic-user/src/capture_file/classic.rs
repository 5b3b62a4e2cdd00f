//! The classic pcap format (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html>).
//!
//! `pcap-file` reads the file header. The records are read here, because it knows only version
//! 2.4 of them, and refuses frames longer than the header's snapshot length.

use pcap_file::{
    Endianness,
    pcap::{PcapParser, PcapTsResolution},
};

use super::{
    decode::{Decoder, Interface, RawPacket, Stop, check_len},
    link::LinkType,
    read::ReadError,
};

/// Decoder of one classic file.
pub(super) struct Classic {
    order: Endianness,
    interface: [Interface; 1],
    /// Nanoseconds in one unit of a record's fraction field.
    fraction_ns: u64,
    lengths: Lengths,
}

/// How the two lengths of a record stand.
#[derive(Clone, Copy)]
enum Lengths {
    CapturedFirst,
    /// Before version 2.3.
    OriginalFirst,
    /// Version 2.3 was written both ways; the captured length is the smaller.
    Either,
}

/// Seconds, fraction, captured length, original length.
const RECORD_BYTES: usize = 16;

impl Classic {
    pub(super) const HEADER_BYTES: usize = 24;

    /// Whether a file that begins with these bytes has this format, in either byte order, with
    /// microseconds or nanoseconds.
    pub(super) fn is_magic(magic: u32) -> bool {
        matches!(magic, 0xa1b2_c3d4 | 0xd4c3_b2a1 | 0xa1b2_3c4d | 0x4d3c_b2a1)
    }

    /// Begins a file with its header: at least [`Self::HEADER_BYTES`].
    pub(super) fn new(header: &[u8]) -> Result<Self, ReadError> {
        let Ok((_, parser)) = PcapParser::new(header) else {
            return Err(ReadError::CutShort);
        };
        let header = parser.header();
        let lengths = match (header.version_major, header.version_minor) {
            (2, 0..=2) => Lengths::OriginalFirst,
            (2, 3) => Lengths::Either,
            (2, 4) => Lengths::CapturedFirst,
            (major, minor) => {
                return Err(ReadError::UnsupportedVersion {
                    format: "pcap",
                    major,
                    minor,
                });
            }
        };
        // The upper bits hold the length of the FCS.
        let link_type = LinkType(u32::from(header.datalink) & 0xffff);
        let interface = Interface::new(None, link_type);
        if interface.layout.is_none() {
            return Err(ReadError::UnsupportedLinkType(link_type));
        }
        Ok(Self {
            order: header.endianness,
            fraction_ns: match header.ts_resolution {
                PcapTsResolution::MicroSecond => 1_000,
                PcapTsResolution::NanoSecond => 1,
            },
            interface: [interface],
            lengths,
        })
    }

    #[inline]
    fn u32(&self, bytes: [u8; 4]) -> u32 {
        match self.order {
            Endianness::Big => u32::from_be_bytes(bytes),
            Endianness::Little => u32::from_le_bytes(bytes),
        }
    }
}

impl Decoder for Classic {
    #[inline]
    fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<(&'a [u8], Option<RawPacket<'a>>), Stop> {
        let (record, rest) = bytes
            .split_first_chunk::<RECORD_BYTES>()
            .ok_or(Stop::NeedMore)?;
        let [
            s0,
            s1,
            s2,
            s3,
            f0,
            f1,
            f2,
            f3,
            a0,
            a1,
            a2,
            a3,
            b0,
            b1,
            b2,
            b3,
        ] = *record;
        let (a, b) = (self.u32([a0, a1, a2, a3]), self.u32([b0, b1, b2, b3]));
        let (captured, wire_len) = match self.lengths {
            Lengths::CapturedFirst => (a, b),
            Lengths::OriginalFirst => (b, a),
            Lengths::Either => (a.min(b), a.max(b)),
        };
        check_len(captured)?;
        let (data, rest) = rest
            .split_at_checked(captured as usize)
            .ok_or(Stop::NeedMore)?;
        let seconds = u64::from(self.u32([s0, s1, s2, s3]));
        let fraction = u64::from(self.u32([f0, f1, f2, f3]));
        let packet = RawPacket {
            timestamp_ns: seconds * 1_000_000_000 + fraction * self.fraction_ns,
            data,
            wire_len,
            interface: 0,
            egress: false,
        };
        Ok((rest, Some(packet)))
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interface
    }
}
