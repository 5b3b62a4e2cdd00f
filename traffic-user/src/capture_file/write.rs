//! Writes frames to a capture file.

use std::{env, fs, io, path::Path};

use byteorder_slice::LittleEndian;
use pcap_file::{
    DataLink, Endianness,
    pcap::{PcapHeader, PcapTsResolution},
    pcapng::{
        Block, PcapNgBlock, PcapNgState,
        blocks::{
            ENHANCED_PACKET_BLOCK,
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};

use super::{
    interface::{InterfaceDescription, InterfaceStatistics, description_block, statistics_block},
    link::LinkType,
    run::{Block as RunBlock, Run},
    sink::Sink,
};
use crate::record::Direction;

/// Format of a capture file that is written. Both have nanosecond timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Classic pcap: one link type, no interfaces, no directions.
    Pcap,
    /// pcapng.
    Pcapng,
}

impl Format {
    /// The format that a file's name asks for: pcap for `.pcap`, pcapng for everything else. A
    /// `.zst` behind it does not count.
    #[must_use]
    pub fn of(target: &Path) -> Self {
        let plain = if target
            .extension()
            .is_some_and(|extension| extension == "zst")
        {
            target.with_extension("")
        } else {
            target.to_owned()
        };
        if plain
            .extension()
            .is_some_and(|extension| extension == "pcap")
        {
            Self::Pcap
        } else {
            Self::Pcapng
        }
    }
}

/// A frame to be written.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Number of its interface in the file.
    pub interface: u16,
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Bytes on the wire, from the link header.
    pub wire_len: u32,
    /// Which way it went.
    pub direction: Direction,
    /// Frames of its interface lost since the one before it.
    pub dropped: u32,
    /// What was captured.
    pub data: &'a [u8],
}

/// Why a capture file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The operating system refused. What the file holds stays readable.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A classic file has one link type for all of its frames.
    #[error("a .pcap file holds one link type, not both {0} and {1} (any other name is pcapng)")]
    MixedLinkTypes(LinkType, LinkType),
    /// A frame names an interface that was not described.
    #[error("interface {interface} is not described (there are {described})")]
    UnknownInterface {
        /// Number of the interface.
        interface: u16,
        /// Interfaces described.
        described: usize,
    },
}

impl WriteError {
    /// Whether the reader of a pipe went away, which is its right.
    #[must_use]
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Writes one capture file.
///
/// Frames are gathered and written in large pieces. The file is readable at any time up to the
/// last piece, also after an error.
#[derive(Debug)]
pub struct CaptureWriter {
    format: Format,
    sink: Sink,
    link_types: Vec<LinkType>,
    /// What `pcap-file` must know to write blocks that refer to an interface.
    state: PcapNgState,
}

impl CaptureWriter {
    /// Begins a file at `target` in the format that its name asks for, as
    /// [`CaptureWriter::create_as`].
    ///
    /// # Errors
    /// As [`CaptureWriter::create_as`].
    pub fn create(target: &Path, interfaces: &[InterfaceDescription]) -> Result<Self, WriteError> {
        Self::create_as(Format::of(target), target, interfaces)
    }

    /// Begins a file at `target`, emptying one that is there; `-` is stdout, and a name that ends
    /// with `.zst` is compressed. The headers are written at once.
    ///
    /// # Errors
    /// When the file cannot be written, or a classic one is asked for interfaces of several link
    /// types.
    pub fn create_as(
        format: Format,
        target: &Path,
        interfaces: &[InterfaceDescription],
    ) -> Result<Self, WriteError> {
        if format == Format::Pcap {
            one_link_type(interfaces.iter().map(|interface| interface.link_type))?;
        }
        let mut writer = Self {
            format,
            sink: Sink::create(target, is_compressed(target))?,
            link_types: Vec::new(),
            state: PcapNgState::default(),
        };
        match format {
            Format::Pcap => writer.pcap_header(interfaces)?,
            Format::Pcapng => writer.block(&section_header().into_block())?,
        }
        for interface in interfaces {
            writer.add_interface(interface)?;
        }
        writer.flush()?;
        Ok(writer)
    }

    /// Describes one more interface and gives its number: 0 for the first, and so on.
    ///
    /// # Errors
    /// When the file cannot be written, or a `.pcap` has another link type.
    pub fn add_interface(&mut self, interface: &InterfaceDescription) -> Result<u16, WriteError> {
        match self.format {
            Format::Pcap => {
                let others = self.link_types.iter().copied();
                one_link_type(others.chain([interface.link_type]))?;
            }
            Format::Pcapng => self.block(&description_block(interface).into_block())?,
        }
        self.link_types.push(interface.link_type);
        // Interfaces of a machine are far fewer.
        Ok(u16::try_from(self.link_types.len() - 1).unwrap_or(u16::MAX))
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// When the file cannot be written, or the interface was not described.
    #[inline]
    pub fn write_frame(&mut self, frame: &Frame<'_>) -> Result<(), WriteError> {
        if usize::from(frame.interface) >= self.link_types.len() {
            return Err(WriteError::UnknownInterface {
                interface: frame.interface,
                described: self.link_types.len(),
            });
        }
        match self.format {
            Format::Pcap => {
                self.sink
                    .add(RECORD_HEADER_BYTES + frame.data.len(), true, |buffer| {
                        frame.record(buffer);
                    })?;
            }
            Format::Pcapng => {
                let bytes = frame.block_bytes();
                self.sink
                    .add(bytes, true, |buffer| frame.block(bytes, buffer))?;
            }
        }
        Ok(())
    }

    /// Adds frames as the kernel programs hand them up: as they are, where that is the format.
    ///
    /// # Errors
    /// When the file cannot be written, or an interface of a `.pcap` was not described.
    pub fn write_run(&mut self, run: &Run<'_>) -> Result<(), WriteError> {
        match self.format {
            Format::Pcap => run
                .blocks()
                .try_for_each(|block| self.write_frame(&block.frame)),
            Format::Pcapng => {
                let lengths = run.blocks().map(|block| block.bytes);
                let written = self.sink.write_through(run.bytes(), run.frames(), lengths);
                Ok(written?)
            }
        }
    }

    /// Bytes that a frame of a run will take in the file; of a compressed file none until it is
    /// written.
    #[inline]
    #[must_use]
    pub fn bytes_of(&self, block: &RunBlock<'_>) -> u64 {
        let bytes = match self.format {
            _ if self.sink.is_compressed() => 0,
            Format::Pcap => RECORD_HEADER_BYTES + block.frame.data.len(),
            Format::Pcapng => block.bytes,
        };
        bytes as u64
    }

    /// Whether the reader of a pipe has closed its end.
    #[must_use]
    pub fn reader_is_gone(&self) -> bool {
        self.sink.reader_is_gone()
    }

    /// Bytes of the file with what is gathered; of a compressed file without.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sink.bytes()
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        Ok(self.sink.flush()?)
    }

    /// Whether somebody may be reading along: the output is a pipe, a socket or a terminal.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.sink.is_stream()
    }

    /// Frames that lie whole in the file. Those that were gathered since the last flush are not
    /// among them, and after an error those that did not fit never will be.
    #[must_use]
    pub fn frames_written(&self) -> u64 {
        self.sink.frames_written()
    }

    /// Ends the file with the statistics of each interface, in the order of their numbers; pcapng
    /// only. To be called once, after the last frame.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&mut self, statistics: &[InterfaceStatistics]) -> Result<(), WriteError> {
        if self.format == Format::Pcapng {
            for (number, statistics) in (0..).zip(statistics) {
                self.block(&statistics_block(number, statistics).into_block())?;
            }
        }
        self.flush()
    }

    fn pcap_header(&mut self, interfaces: &[InterfaceDescription]) -> Result<(), WriteError> {
        let link_type = interfaces.first().map(|first| first.link_type);
        let header = PcapHeader {
            snaplen: interfaces.iter().map(|one| one.snaplen).max().unwrap_or(0),
            datalink: DataLink::from(link_type.unwrap_or(LinkType::ETHERNET).0),
            ts_resolution: PcapTsResolution::NanoSecond,
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        self.sink.add(24, false, |buffer| {
            header.write_to(buffer).expect("a vector takes everything");
        })?;
        Ok(())
    }

    /// Adds a block that is no packet.
    fn block(&mut self, block: &Block<'_>) -> Result<(), WriteError> {
        let mut bytes = Vec::new();
        block
            .write_to::<LittleEndian, _>(&self.state, &mut bytes)
            .map_err(io::Error::other)?;
        self.state.update_from_block(block);
        self.sink.add(bytes.len(), false, |buffer| {
            buffer.extend_from_slice(&bytes);
        })?;
        Ok(())
    }
}

fn one_link_type(link_types: impl Iterator<Item = LinkType>) -> Result<(), WriteError> {
    let mut first = None;
    for link_type in link_types {
        let first = *first.get_or_insert(link_type);
        if first != link_type {
            return Err(WriteError::MixedLinkTypes(first, link_type));
        }
    }
    Ok(())
}

fn is_compressed(target: &Path) -> bool {
    target
        .extension()
        .is_some_and(|extension| extension == "zst")
}

/// Bytes in front of the data in a classic file.
const RECORD_HEADER_BYTES: usize = 16;
/// Bytes of an enhanced packet block in front of the data.
const BLOCK_HEADER_BYTES: usize = 28;
/// Bytes behind the data and its padding: the flags option, the end of options, the length.
const BLOCK_TRAILER_BYTES: usize = 16;
/// Bytes of the drop count option, where frames were dropped.
const DROP_COUNT_BYTES: usize = 12;

#[expect(
    clippy::cast_possible_truncation,
    reason = "a frame is bounded by the snapshot length; of a timestamp each half is meant"
)]
impl Frame<'_> {
    /// A record of a classic file with nanoseconds. Seconds beyond 2106 do not fit its field.
    #[inline]
    fn record(&self, buffer: &mut Vec<u8>) {
        let seconds = u32::try_from(self.timestamp_ns / 1_000_000_000).unwrap_or(u32::MAX);
        let fraction = (self.timestamp_ns % 1_000_000_000) as u32;
        let words = [seconds, fraction, self.data.len() as u32, self.wire_len];
        buffer.extend_from_slice(words.map(u32::to_le_bytes).as_flattened());
        buffer.extend_from_slice(self.data);
    }

    fn block_bytes(&self) -> usize {
        let dropped = if self.dropped == 0 {
            0
        } else {
            DROP_COUNT_BYTES
        };
        BLOCK_HEADER_BYTES + self.data.len().next_multiple_of(4) + dropped + BLOCK_TRAILER_BYTES
    }

    /// An enhanced packet block. `pcap-file` would go through it twice and allocate its options.
    #[inline]
    fn block(&self, bytes: usize, buffer: &mut Vec<u8>) {
        let len = bytes as u32;
        let header: [u32; BLOCK_HEADER_BYTES / 4] = [
            ENHANCED_PACKET_BLOCK,
            len,
            u32::from(self.interface),
            (self.timestamp_ns >> 32) as u32,
            self.timestamp_ns as u32,
            self.data.len() as u32,
            self.wire_len,
        ];
        buffer.extend_from_slice(header.map(u32::to_le_bytes).as_flattened());
        buffer.extend_from_slice(self.data);
        let padding = self.data.len().next_multiple_of(4) - self.data.len();
        buffer.extend_from_slice(&[0; 3][..padding]);
        if self.dropped != 0 {
            // Option 4 (drop count) of 8 bytes.
            let option: [u32; DROP_COUNT_BYTES / 4] = [8 << 16 | 4, self.dropped, 0];
            buffer.extend_from_slice(option.map(u32::to_le_bytes).as_flattened());
        }
        // Option 2 (flags) of 4 bytes: bits 0 and 1 are the direction.
        let flags = match self.direction {
            Direction::Ingress => 1,
            Direction::Egress => 2,
        };
        let trailer: [u32; BLOCK_TRAILER_BYTES / 4] = [4 << 16 | 2, flags, 0, len];
        buffer.extend_from_slice(trailer.map(u32::to_le_bytes).as_flattened());
    }
}

fn section_header() -> SectionHeaderBlock<'static> {
    let mut options = vec![SectionHeaderOption::Hardware(hardware().into())];
    if let Ok(release) = fs::read_to_string("/proc/sys/kernel/osrelease") {
        let system = format!("Linux {}", release.trim());
        options.push(SectionHeaderOption::OS(system.into()));
    }
    let application = concat!("traffic ", env!("CARGO_PKG_VERSION"));
    options.push(SectionHeaderOption::UserApplication(application.into()));
    SectionHeaderBlock {
        endianness: Endianness::Little,
        options,
        ..SectionHeaderBlock::default()
    }
}

/// The processor's name, as Wireshark has it; its architecture where it has none.
fn hardware() -> String {
    let known = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    known
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name.trim().to_owned())
        .next()
        .unwrap_or_else(|| env::consts::ARCH.to_owned())
}
