//! The classic pcap format (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html>).

use std::borrow::Cow;

use pcap_file::pcap::{PcapParseError, PcapParser, PcapTsResolution};

use super::{
    link::LinkType,
    read::{Decoder, Interface, RawPacket, ReadError, Stop, check_len},
};

/// Decoder of one classic file.
pub(super) struct Classic {
    parser: PcapParser,
    interface: [Interface; 1],
    /// Nanoseconds in one unit of a record's fraction field.
    fraction_ns: u64,
}

impl Classic {
    pub(super) const HEADER_BYTES: usize = 24;

    /// Whether a file that begins with these bytes has this format, in either byte order, with
    /// microseconds or nanoseconds.
    pub(super) fn is_magic(magic: u32) -> bool {
        matches!(
            magic,
            0xa1b2_c3d4 | 0xd4c3_b2a1 | 0xa1b2_3c4d | 0x4d3c_b2a1
        )
    }

    /// Begins a file with its header: at least [`Self::HEADER_BYTES`].
    pub(super) fn new(header: &[u8]) -> Result<Self, ReadError> {
        let Ok((_, parser)) = PcapParser::new(header) else {
            return Err(ReadError::CutShort);
        };
        let header = parser.header();
        // Before 2.3 the two lengths of a record were swapped; nothing later than 2.4 exists.
        if header.version_major != 2 || !matches!(header.version_minor, 3 | 4) {
            return Err(ReadError::UnsupportedVersion {
                format: "pcap",
                major: header.version_major,
                minor: header.version_minor,
            });
        }
        // The upper bits hold the length of the FCS.
        let link_type = LinkType(u32::from(header.datalink) & 0xffff);
        let interface = Interface::new(None, link_type);
        if interface.layout.is_none() {
            return Err(ReadError::UnsupportedLinkType(link_type));
        }
        Ok(Self {
            fraction_ns: match header.ts_resolution {
                PcapTsResolution::MicroSecond => 1_000,
                PcapTsResolution::NanoSecond => 1,
            },
            parser,
            interface: [interface],
        })
    }
}

impl Decoder for Classic {
    #[inline]
    fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<(&'a [u8], Option<RawPacket<'a>>), Stop> {
        // The raw packet is used because the checked one refuses a frame that is longer than the
        // header's snapshot length, or a fraction of more than a second; both are common.
        let (rest, raw) = match self.parser.next_raw_packet(bytes) {
            Ok(parsed) => parsed,
            Err(PcapParseError::IncompleteBuffer(needed, _)) => {
                check_len(u32::try_from(needed).unwrap_or(u32::MAX))?;
                return Err(Stop::NeedMore);
            }
            Err(PcapParseError::Validation(_)) => return Err(Stop::NeedMore),
        };
        check_len(raw.incl_len)?;
        let Cow::Borrowed(data) = raw.data else {
            // The parser borrows from the slice it is given.
            return Ok((rest, None));
        };
        let seconds = u64::from(raw.ts_sec) * 1_000_000_000;
        let packet = RawPacket {
            timestamp_ns: seconds + u64::from(raw.ts_frac) * self.fraction_ns,
            data,
            wire_len: raw.orig_len,
            interface: 0,
            egress: false,
        };
        Ok((rest, Some(packet)))
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interface
    }
}
