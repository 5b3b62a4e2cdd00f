//! Reads a capture file from beginning to end, in memory that does not depend on its size.

use std::{
    fs::File,
    io::{self, Read},
    ops::ControlFlow,
    path::Path,
    sync::mpsc,
    thread,
};

use super::{
    blocks::Blocks,
    chunk::{Chunk, Chunks},
    classic::Classic,
    decode::Decoder,
    link::LinkType,
    window::Window,
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
#[derive(Debug, Default)]
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
    #[error(
        "the file is cut short: its last packet or block is not whole, as when its writer was \
         killed"
    )]
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

/// Reads the capture file at `path`, which may be compressed with zstd, and hands every packet to
/// `each`, in file order, until the file ends or `each` breaks. Of a regular file a second thread
/// reads and parses ahead, by a bounded amount.
///
/// # Errors
/// When nothing can be read: the file does not open, or is no capture file, or (classic pcap) has
/// a link type that is not supported. What stops the reading later is [`ReadSummary::fault`].
pub fn read<F>(path: &Path, each: F) -> Result<ReadSummary, ReadError>
where
    F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
{
    read_file(File::open(path)?, each)
}

/// Reads an open capture file, as [`read`] does.
///
/// # Errors
/// As [`read`].
pub fn read_file<F>(file: File, each: F) -> Result<ReadSummary, ReadError>
where
    F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
{
    if !file.metadata()?.is_file() {
        return read_from(file, each);
    }
    let mut window = Window::new(file);
    if window.magic()? == ZSTD_MAGIC {
        return read_ahead(begin(Window::new(decompress(window)?))?, each);
    }
    read_ahead(begin(window)?, each)
}

/// Reads a capture file from `input`, as [`read`] does, packets as soon as they are there. `input`
/// needs no buffer.
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
        return Ok(read_here(begin(Window::new(decompress(window)?))?, each));
    }
    Ok(read_here(begin(window)?, each))
}

/// First four bytes of a zstd frame (RFC 8878).
const ZSTD_MAGIC: u32 = 0x28b5_2ffd;
/// Logarithm of the most bytes that a compressed file may ask a reader to remember.
const ZSTD_WINDOW_LOG: u32 = 24;

/// What `window` holds and goes on with, decompressed.
fn decompress<R: Read>(window: Window<R>) -> io::Result<impl Read + use<R>> {
    let (begun, input) = window.into_parts();
    let mut decoder = zstd::Decoder::new(io::Cursor::new(begun).chain(input))?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// Takes the file header.
fn begin<R: Read>(mut window: Window<R>) -> Result<Chunks<R>, ReadError> {
    let magic = window.magic()?;
    let decoder: Box<dyn Decoder> = if magic == Blocks::MAGIC {
        Box::new(Blocks::new())
    } else if Classic::is_magic(magic) {
        let header = window.whole_header(Classic::HEADER_BYTES)?;
        let classic = Classic::new(header)?;
        window.consume(Classic::HEADER_BYTES);
        Box::new(classic)
    } else {
        return Err(ReadError::UnknownFormat(magic));
    };
    Ok(Chunks::new(window, decoder))
}

/// Reads, parses and delivers by turns.
fn read_here<R, F>(mut chunks: Chunks<R>, mut each: F) -> ReadSummary
where
    R: Read,
    F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
{
    let mut chunk = Chunk::default();
    let mut summary = ReadSummary::default();
    loop {
        let end = chunks.next(&mut chunk);
        if chunk.deliver(&mut summary, &mut each).is_break() {
            return summary;
        }
        if let Some(end) = end {
            summary.fault = end.err();
            return summary;
        }
    }
}

/// Chunks on their way between the threads.
const CHUNKS_AHEAD: usize = 3;

/// Delivers while another thread reads and parses what follows.
fn read_ahead<R, F>(mut chunks: Chunks<R>, mut each: F) -> Result<ReadSummary, ReadError>
where
    R: Read + Send,
    F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
{
    thread::scope(|scope| {
        let (parsed, to_deliver) = mpsc::channel();
        let (delivered, to_fill) = mpsc::channel();
        for _ in 0..CHUNKS_AHEAD {
            // The other end lives.
            let _ = delivered.send(Chunk::default());
        }
        thread::Builder::new().spawn_scoped(scope, move || {
            for mut chunk in to_fill {
                let end = chunks.next(&mut chunk);
                let is_over = end.is_some();
                if parsed.send((chunk, end)).is_err() || is_over {
                    return;
                }
            }
        })?;
        let mut summary = ReadSummary::default();
        for (mut chunk, end) in to_deliver {
            if chunk.deliver(&mut summary, &mut each).is_break() {
                break;
            }
            summary.fault = end.and_then(Result::err);
            // Nobody wants it any more at the end.
            let _ = delivered.send(chunk);
        }
        Ok(summary)
    })
}
