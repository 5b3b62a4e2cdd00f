//! The pcapng format (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-04.html>).
//!
//! `pcap-file` frames the blocks. Their fields are read here, because its typed blocks refuse
//! what other readers accept (a comment that is not UTF-8, picosecond timestamps), allocate for
//! every packet with options, and keep every interface block of a file in memory.

use std::borrow::Cow;

use byteorder_slice::{BigEndian, LittleEndian};
use pcap_file::pcapng::{
    RawBlock, RawBlockParseError,
    blocks::{
        ENHANCED_PACKET_BLOCK, INTERFACE_DESCRIPTION_BLOCK, PACKET_BLOCK, SECTION_HEADER_BLOCK,
        SIMPLE_PACKET_BLOCK,
    },
};

use super::{
    decode::{Decoder, Interface, RawPacket, Stop, check_len},
    link::LinkType,
    read::{BlockFault, MAX_BLOCK_BYTES, ReadError},
};

/// Decoder of one pcapng file.
pub(super) struct Blocks {
    order: Order,
    /// Of all sections.
    interfaces: Vec<Interface>,
    /// As `interfaces`.
    clocks: Vec<Clock>,
    /// Where the current section begins in `interfaces`.
    section: usize,
    /// Time of the last packet that had one.
    timestamp_ns: u64,
}

/// Byte order of a section.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

/// Comment on an interface of which one frame in so many was written.
pub(super) const SAMPLING: &str = "sampling=1/";

/// Bytes kept of an interface name, so that many interfaces with long names stay small.
const MAX_NAME_BYTES: usize = 256;

/// Option codes.
const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;
const EPB_FLAGS: u16 = 2;

impl Blocks {
    /// First four bytes of a file: the type of a section header block, a palindrome.
    pub(super) const MAGIC: u32 = SECTION_HEADER_BLOCK;

    pub(super) fn new() -> Self {
        Self {
            order: Order::Little,
            interfaces: Vec::new(),
            clocks: Vec::new(),
            section: 0,
            timestamp_ns: 0,
        }
    }

    fn frame<'a>(&self, bytes: &'a [u8]) -> Result<(&'a [u8], RawBlock<'a>), Stop> {
        let parsed = match self.order {
            Order::Big => RawBlock::from_slice::<BigEndian>(bytes),
            Order::Little => RawBlock::from_slice::<LittleEndian>(bytes),
        };
        match parsed {
            Ok((_, block)) if block.initial_len > MAX_BLOCK_BYTES => {
                Err(BlockFault::TooLong(block.initial_len).into())
            }
            Ok(parsed) => Ok(parsed),
            Err(RawBlockParseError::IncompleteBuffer(needed, _)) => {
                let needed = u32::try_from(needed).unwrap_or(u32::MAX);
                if needed > MAX_BLOCK_BYTES {
                    return Err(BlockFault::TooLong(needed).into());
                }
                Err(Stop::NeedMore)
            }
            Err(RawBlockParseError::InvalidFormat(error)) => Err(BlockFault::Format(error).into()),
        }
    }

    /// Begins a section: byte-order magic, major and minor version.
    fn section_header(&mut self, body: Fields<'_>) -> Result<(), Stop> {
        let magic = Fields {
            order: Order::Big,
            ..body
        };
        self.order = match magic.u32(0)? {
            0x1a2b_3c4d => Order::Big,
            _ => Order::Little,
        };
        let body = Fields {
            order: self.order,
            ..body
        };
        let (major, minor) = (body.u16(4)?, body.u16(6)?);
        // Minor version 2 was written by mistake and is the same.
        if major != 1 || !matches!(minor, 0 | 2) {
            return Err(Stop::Fault(ReadError::UnsupportedVersion {
                format: "pcapng",
                major,
                minor,
            }));
        }
        self.section = self.interfaces.len();
        Ok(())
    }

    /// Adds an interface: link type, reserved, snapshot length, options.
    fn interface_description(&mut self, body: Fields<'_>) -> Result<(), Stop> {
        if self.interfaces.len() > usize::from(u16::MAX) {
            return Err(BlockFault::TooManyInterfaces.into());
        }
        let link_type = LinkType(u32::from(body.u16(0)?));
        let snaplen = body.u32(4)?;
        let mut clock = Clock::new(snaplen);
        let mut name = None;
        let mut sample = 1;
        for (code, value) in body.options(8) {
            match (code, value.bytes) {
                (IF_NAME, bytes) => {
                    let kept = &bytes[..bytes.len().min(MAX_NAME_BYTES)];
                    name = Some(String::from_utf8_lossy(kept).into_owned());
                }
                (OPTION_COMMENT, comment) => sample = sampling(comment).unwrap_or(sample),
                (IF_TSRESOL, &[resolution]) => clock.set_resolution(resolution),
                (IF_TSOFFSET, _) => clock.offset_s = value.u64(0)?.cast_signed(),
                _ => {}
            }
        }
        let interface = Interface::new(name, link_type);
        self.interfaces.push(interface.sampled(sample));
        self.clocks.push(clock);
        Ok(())
    }

    /// Interface (4), timestamp (8), captured length, original length, data, options.
    fn enhanced_packet<'a>(&mut self, body: Fields<'a>) -> Result<RawPacket<'a>, Stop> {
        let interface = body.u32(0)?;
        self.timed_packet(interface, body)
    }

    /// As the enhanced packet block, which replaced it, with a drop count beside the interface.
    fn obsolete_packet<'a>(&mut self, body: Fields<'a>) -> Result<RawPacket<'a>, Stop> {
        let interface = u32::from(body.u16(0)?);
        self.timed_packet(interface, body)
    }

    fn timed_packet<'a>(
        &mut self,
        interface: u32,
        body: Fields<'a>,
    ) -> Result<RawPacket<'a>, Stop> {
        let (index, clock) = self.interface(interface)?;
        let units = u64::from(body.u32(4)?) << 32 | u64::from(body.u32(8)?);
        self.timestamp_ns = clock.nanoseconds(units);
        let captured = body.u32(12)?;
        check_len(captured)?;
        let captured = captured as usize;
        let data = body.slice(20, captured)?;
        Ok(RawPacket {
            timestamp_ns: self.timestamp_ns,
            data,
            wire_len: body.u32(16)?,
            interface: index,
            egress: body.egress(20 + captured.next_multiple_of(4)),
        })
    }

    /// Original length, data; of the first interface, without a time: it gets that of the packet
    /// before it.
    fn simple_packet<'a>(&mut self, body: Fields<'a>) -> Result<RawPacket<'a>, Stop> {
        let (index, clock) = self.interface(0)?;
        let wire_len = body.u32(0)?;
        let captured = match clock.snaplen {
            0 => wire_len,
            snaplen => wire_len.min(snaplen),
        };
        check_len(captured)?;
        Ok(RawPacket {
            timestamp_ns: self.timestamp_ns,
            data: body.slice(4, captured as usize)?,
            wire_len,
            interface: index,
            egress: false,
        })
    }

    /// Index and clock of an interface of the section.
    #[inline]
    fn interface(&self, number: u32) -> Result<(u16, Clock), Stop> {
        let index = self.section.saturating_add(number as usize);
        let index_u16 = u16::try_from(index).ok();
        match (index_u16, self.clocks.get(index)) {
            (Some(index), Some(clock)) => Ok((index, *clock)),
            _ => Err(BlockFault::UnknownInterface {
                interface: number,
                described: self.clocks.len() - self.section,
            }
            .into()),
        }
    }
}

impl Decoder for Blocks {
    #[inline]
    fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<(&'a [u8], Option<RawPacket<'a>>), Stop> {
        let (rest, block) = self.frame(bytes)?;
        let Cow::Borrowed(bytes) = block.body else {
            // The parser borrows from the slice it is given.
            return Ok((rest, None));
        };
        let body = Fields {
            bytes,
            order: self.order,
        };
        let packet = match block.type_ {
            ENHANCED_PACKET_BLOCK => Some(self.enhanced_packet(body)?),
            SIMPLE_PACKET_BLOCK => Some(self.simple_packet(body)?),
            PACKET_BLOCK => Some(self.obsolete_packet(body)?),
            INTERFACE_DESCRIPTION_BLOCK => {
                self.interface_description(body)?;
                None
            }
            SECTION_HEADER_BLOCK => {
                self.section_header(body)?;
                None
            }
            _ => None,
        };
        Ok((rest, packet))
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }
}

impl From<BlockFault> for Stop {
    fn from(fault: BlockFault) -> Self {
        Self::Fault(fault.into())
    }
}

/// What a comment `sampling=1/N` says: one frame in N is there.
fn sampling(comment: &[u8]) -> Option<u32> {
    let rate = comment.strip_prefix(SAMPLING.as_bytes())?;
    let rate = std::str::from_utf8(rate).ok()?.parse().ok()?;
    (rate > 0).then_some(rate)
}

/// The fields of a block in its byte order.
#[derive(Clone, Copy)]
struct Fields<'a> {
    bytes: &'a [u8],
    order: Order,
}

impl<'a> Fields<'a> {
    #[inline]
    fn slice(self, offset: usize, len: usize) -> Result<&'a [u8], Stop> {
        let end = offset + len;
        self.bytes.get(offset..end).ok_or_else(|| {
            BlockFault::TooShort {
                needed: end,
                got: self.bytes.len(),
            }
            .into()
        })
    }

    #[inline]
    fn array<const N: usize>(self, offset: usize) -> Result<[u8; N], Stop> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.slice(offset, N)?);
        if self.order == Order::Big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    #[inline]
    fn u16(self, offset: usize) -> Result<u16, Stop> {
        Ok(u16::from_le_bytes(self.array(offset)?))
    }

    #[inline]
    fn u32(self, offset: usize) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array(offset)?))
    }

    fn u64(self, offset: usize) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array(offset)?))
    }

    /// The options from `offset` on, up to the first that is not whole.
    fn options(self, offset: usize) -> impl Iterator<Item = (u16, Fields<'a>)> {
        let mut offset = offset;
        std::iter::from_fn(move || {
            let code = self.u16(offset).ok().filter(|code| *code != OPTION_END)?;
            let len = usize::from(self.u16(offset + 2).ok()?);
            let bytes = self.slice(offset + 4, len).ok()?;
            offset += 4 + len.next_multiple_of(4);
            Some((code, Fields { bytes, ..self }))
        })
    }

    /// Whether the flags among a packet's options say outbound.
    #[inline]
    fn egress(self, options: usize) -> bool {
        self.options(options)
            .find(|(code, _)| *code == EPB_FLAGS)
            .and_then(|(_, value)| value.u32(0).ok())
            .is_some_and(|flags| flags & 3 == 2)
    }
}

/// How an interface counts time, and what else packets need of it.
#[derive(Clone, Copy)]
struct Clock {
    unit: Unit,
    /// Seconds to add to every timestamp.
    offset_s: i64,
    /// Most bytes of a frame; 0 = no limit.
    snaplen: u32,
}

/// Length of a timestamp's unit.
#[derive(Clone, Copy)]
enum Unit {
    /// So many nanoseconds.
    Nanoseconds(u64),
    /// So many of them are a nanosecond; `None` for more than fit.
    PerNanosecond(Option<u64>),
    /// 2 to the minus this, in seconds.
    BinarySeconds(u8),
}

impl Clock {
    /// Microseconds, unless an option says otherwise.
    fn new(snaplen: u32) -> Self {
        Self {
            unit: Unit::Nanoseconds(1_000),
            offset_s: 0,
            snaplen,
        }
    }

    /// Sets the unit from `if_tsresol`: a negative power of 10, or with the top bit of 2.
    fn set_resolution(&mut self, resolution: u8) {
        let exponent = resolution & 0x7f;
        self.unit = if resolution & 0x80 != 0 {
            Unit::BinarySeconds(exponent)
        } else if exponent <= 9 {
            Unit::Nanoseconds(10_u64.pow(u32::from(9 - exponent)))
        } else {
            Unit::PerNanosecond(10_u64.checked_pow(u32::from(exponent - 9)))
        };
    }

    /// Nanoseconds since the Unix epoch; times outside of what fits become the nearest that does.
    #[inline]
    fn nanoseconds(self, units: u64) -> u64 {
        let since_offset = match self.unit {
            Unit::Nanoseconds(length) => units.saturating_mul(length),
            Unit::PerNanosecond(count) => count.map_or(0, |count| units / count),
            Unit::BinarySeconds(exponent) => {
                let nanoseconds = (u128::from(units) * 1_000_000_000) >> exponent;
                u64::try_from(nanoseconds).unwrap_or(u64::MAX)
            }
        };
        if self.offset_s == 0 {
            return since_offset;
        }
        let sum = i128::from(since_offset) + i128::from(self.offset_s) * 1_000_000_000;
        u64::try_from(sum.max(0)).unwrap_or(u64::MAX)
    }
}
