//! Reads a capture file from beginning to end, in memory that does not depend on its size.

use std::{
    fs::File,
    io::{self, Read},
    ops::ControlFlow,
    path::Path,
};

use traffic_ebpf::record::{FLAG_EGRESS, Summary};

use super::{
    blocks::Blocks,
    classic::Classic,
    link::{Layout, LinkType, parse_frame},
};
use crate::record::{Direction, PacketRecord};

/// Most bytes of one frame in a file: libpcap's largest snapshot length.
pub const MAX_FRAME_BYTES: u32 = 262_144;
/// Most bytes of one pcapng block: libpcap's and Wireshark's limit.
pub const MAX_BLOCK_BYTES: u32 = 16 << 20;

/// A frame as it lies in the file.
#[derive(Clone, Copy, Debug)]
pub struct FileFrame<'a> {
    /// Nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Bytes that the file holds, from the link header.
    pub data: &'a [u8],
    /// Bytes on the wire, from the link header.
    pub wire_len: u32,
    /// What `data` begins with.
    pub link_type: LinkType,
    /// Index in [`ReadSummary::interfaces`].
    pub interface: u16,
    /// Name of the interface where the file has it.
    pub interface_name: Option<&'a str>,
    /// Which way the frame went; ingress where the file does not say.
    pub direction: Direction,
}

/// An interface that a file names. A classic file has exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileInterface {
    /// Name of the interface where the file has it.
    pub name: Option<String>,
    /// Link type of its frames.
    pub link_type: LinkType,
    /// One frame in this many is there; 1 for every frame.
    pub sample: u32,
}

/// What a file held.
#[derive(Debug)]
pub struct ReadSummary {
    /// Packets delivered.
    pub packets: u64,
    /// Interfaces in file order, those of all sections one after the other.
    pub interfaces: Vec<FileInterface>,
    /// Why reading ended before the end of the file, if it did. The packets in front of that
    /// place were delivered.
    pub fault: Option<ReadError>,
}

/// Why a file, or the rest of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It has no bytes.
    #[error("the file is empty")]
    Empty,
    /// Its first bytes are those of no known format.
    #[error("neither a pcap nor a pcapng file (it begins with {0:#010x})")]
    UnknownFormat(u32),
    /// A version of the format that nobody describes.
    #[error("version {major}.{minor} of the {format} format is not supported")]
    UnsupportedVersion {
        /// `pcap` or `pcapng`.
        format: &'static str,
        /// First number.
        major: u16,
        /// Second number.
        minor: u16,
    },
    /// Packets of a link type that cannot be parsed.
    #[error("link type {number} ({name}) is not supported", number = .0.0, name = .0)]
    UnsupportedLinkType(LinkType),
    /// The file was cut: its last packet or block is not whole.
    #[error("the file is cut short")]
    CutShort,
    /// A packet claims more than [`MAX_FRAME_BYTES`].
    #[error("a packet claims {0} bytes (allowed: {MAX_FRAME_BYTES})")]
    FrameTooLong(u32),
    /// A pcapng block contradicts itself.
    #[error("malformed block: {0}")]
    BadBlock(BlockFault),
}

// Not the error's source, which the words above would then say twice.
impl From<BlockFault> for ReadError {
    fn from(fault: BlockFault) -> Self {
        Self::BadBlock(fault)
    }
}

/// What is wrong with a pcapng block.
#[derive(Debug, thiserror::Error)]
pub enum BlockFault {
    /// Its framing.
    #[error(transparent)]
    Format(#[from] pcap_file::pcapng::PcapNgFormatError),
    /// It claims more than [`MAX_BLOCK_BYTES`].
    #[error("{0} bytes (allowed: {MAX_BLOCK_BYTES})")]
    TooLong(u32),
    /// It ends before its fixed fields, or before the packet it claims to hold.
    #[error("it has {got} bytes and needs {needed}")]
    TooShort {
        /// Bytes that its fields claim.
        needed: usize,
        /// Bytes that it has.
        got: usize,
    },
    /// It names an interface that the section does not describe.
    #[error("interface {interface} is not described (the section has {described})")]
    UnknownInterface {
        /// Number in the section.
        interface: u32,
        /// Interfaces in the section.
        described: usize,
    },
    /// The file describes more interfaces than can be numbered.
    #[error("more than {} interfaces", u16::MAX)]
    TooManyInterfaces,
}

/// Reads the capture file at `path`, which may be compressed with zstd, and hands every packet to `each`, in file order, until the
/// file ends or `each` breaks.
///
/// # Errors
/// When nothing can be read: the file does not open, or is no capture file, or (classic pcap) has
/// a link type that is not supported. What stops the reading later is [`ReadSummary::fault`].
pub fn read<F>(path: &Path, each: F) -> Result<ReadSummary, ReadError>
where
    F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
{
    read_from(File::open(path)?, each)
}

/// Reads a capture file from `input`, as [`read`] does. `input` needs no buffer.
///
/// # Errors
/// As [`read`].
pub fn read_from<R, F>(input: R, each: F) -> Result<ReadSummary, ReadError>
where
    R: Read,
    F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
{
    let mut window = Window::new(input);
    if window.magic()? == ZSTD_MAGIC {
        return read_window(Window::new(decompress(window)?), each);
    }
    read_window(window, each)
}

/// First four bytes of a zstd frame (RFC 8878).
const ZSTD_MAGIC: u32 = 0x28b5_2ffd;
/// Logarithm of the most bytes that a compressed file may ask a reader to remember.
const ZSTD_WINDOW_LOG: u32 = 24;

/// What `window` holds and goes on with, decompressed.
fn decompress<R: Read>(window: Window<R>) -> io::Result<impl Read> {
    let begun = io::Cursor::new(window.bytes().to_vec());
    let mut decoder = zstd::Decoder::new(begun.chain(window.input))?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

fn read_window<R, F>(mut window: Window<R>, each: F) -> Result<ReadSummary, ReadError>
where
    R: Read,
    F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
{
    let magic = window.magic()?;
    if magic == Blocks::MAGIC {
        Ok(drive(window, Blocks::new(), each))
    } else if Classic::is_magic(magic) {
        let header = window.whole_header(Classic::HEADER_BYTES)?;
        let classic = Classic::new(header)?;
        window.consume(Classic::HEADER_BYTES);
        Ok(drive(window, classic, each))
    } else {
        Err(ReadError::UnknownFormat(magic))
    }
}

/// A file format: cuts bytes into packets.
pub(super) trait Decoder {
    /// Takes one item, and the packet if it is one, from the front of `bytes`.
    fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<(&'a [u8], Option<RawPacket<'a>>), Stop>;

    fn interfaces(&self) -> &[Interface];
}

/// One packet of a file.
pub(super) struct RawPacket<'a> {
    pub(super) timestamp_ns: u64,
    pub(super) data: &'a [u8],
    pub(super) wire_len: u32,
    pub(super) interface: u16,
    pub(super) egress: bool,
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

/// Why [`deliver_window`] returned.
enum Pause {
    NeedMore,
    Broken,
    Fault(ReadError),
}

fn drive<R, D, F>(mut window: Window<R>, mut decoder: D, mut each: F) -> ReadSummary
where
    R: Read,
    D: Decoder,
    F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
{
    let mut packets = 0;
    let fault = loop {
        let (used, pause) = deliver_window(window.bytes(), &mut decoder, &mut packets, &mut each);
        window.consume(used);
        match pause {
            Pause::Broken => break None,
            Pause::Fault(error) => break Some(error),
            Pause::NeedMore => match window.fill() {
                Ok(0) if window.bytes().is_empty() => break None,
                Ok(0) => break Some(ReadError::CutShort),
                Ok(_) => {}
                // A compressed file that ends inside of a frame.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    break Some(ReadError::CutShort);
                }
                Err(error) => break Some(error.into()),
            },
        }
    };
    let interfaces = decoder.interfaces().iter();
    ReadSummary {
        packets,
        interfaces: interfaces.map(|known| known.described.clone()).collect(),
        fault,
    }
}

/// Delivers what lies whole in `bytes`, and says how many of them that were.
fn deliver_window<D, F>(
    bytes: &[u8],
    decoder: &mut D,
    packets: &mut u64,
    each: &mut F,
) -> (usize, Pause)
where
    D: Decoder,
    F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
{
    let mut rest = bytes;
    let pause = loop {
        let packet = match decoder.next(rest) {
            Err(Stop::NeedMore) => break Pause::NeedMore,
            Err(Stop::Fault(error)) => break Pause::Fault(error),
            Ok((after, packet)) => {
                rest = after;
                packet
            }
        };
        let Some(packet) = packet else { continue };
        // The decoder gives no packet of an interface that it does not have.
        let Some(interface) = decoder.interfaces().get(usize::from(packet.interface)) else {
            continue;
        };
        let link_type = interface.described.link_type;
        let Some(layout) = interface.layout else {
            break Pause::Fault(ReadError::UnsupportedLinkType(link_type));
        };
        *packets += 1;
        if deliver(&packet, &interface.described, layout, each).is_break() {
            break Pause::Broken;
        }
    };
    (bytes.len() - rest.len(), pause)
}

fn deliver<F>(
    packet: &RawPacket<'_>,
    interface: &FileInterface,
    layout: Layout,
    each: &mut F,
) -> ControlFlow<()>
where
    F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
{
    let mut headers = parse_frame(layout, packet.data);
    if packet.egress {
        headers.flags |= FLAG_EGRESS;
    }
    let record = PacketRecord::new(Summary {
        timestamp_ns: packet.timestamp_ns,
        wire_len: packet.wire_len,
        interface: packet.interface,
        headers,
    });
    let frame = FileFrame {
        timestamp_ns: packet.timestamp_ns,
        data: packet.data,
        wire_len: packet.wire_len,
        link_type: interface.link_type,
        interface: packet.interface,
        interface_name: interface.name.as_deref(),
        direction: record.direction(),
    };
    each(&record, &frame)
}

/// Bytes of the input that are not consumed yet.
struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// Small enough to stay in the cache between `read` and the parser.
const WINDOW_BYTES: usize = 256 << 10;

impl<R: Read> Window<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; WINDOW_BYTES],
            start: 0,
            end: 0,
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Reads more bytes, at least one if there is any, and says how many.
    ///
    /// The buffer grows only when one item fills it whole, and items are bounded.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.end, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(bytes) => {
                    self.end += bytes;
                    return Ok(bytes);
                }
            }
        }
    }

    /// The first four bytes.
    fn magic(&mut self) -> Result<u32, ReadError> {
        match *self.whole_header(4)? {
            [a, b, c, d, ..] => Ok(u32::from_be_bytes([a, b, c, d])),
            _ => Err(ReadError::Empty),
        }
    }

    /// At least the first `len` bytes.
    fn whole_header(&mut self, len: usize) -> Result<&[u8], ReadError> {
        while self.bytes().len() < len {
            if self.fill()? == 0 {
                let empty = self.bytes().is_empty();
                return Err(if empty {
                    ReadError::Empty
                } else {
                    ReadError::CutShort
                });
            }
        }
        Ok(self.bytes())
    }
}
