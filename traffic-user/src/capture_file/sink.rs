//! A buffered output that never ends inside a record.

use std::{
    fmt,
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    mem,
    os::fd::AsFd,
    path::Path,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;

/// Where whole records go.
pub(super) struct Sink {
    file: File,
    /// A regular file can be cut back to its last whole record.
    is_regular: bool,
    /// Records not written yet.
    buffer: Vec<u8>,
    /// Makes a frame of the zstd format (RFC 8878) of what is written at once.
    zstd: Option<zstd::bulk::Compressor<'static>>,
    /// Lengths of the records in `buffer` and whether each is a frame.
    records: Vec<Record>,
    /// Where the file ends.
    end: u64,
    frames_written: u64,
    /// A stream that took half of a record takes nothing more.
    broken: Option<io::ErrorKind>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    bytes: usize,
    is_frame: bool,
}

impl Sink {
    /// Opens `target`, emptying a file that is there; `-` is stdout.
    pub(super) fn create(target: &Path, compressed: bool) -> io::Result<Self> {
        let mut file = if target == Path::new("-") {
            File::from(io::stdout().as_fd().try_clone_to_owned()?)
        } else {
            File::create(target)?
        };
        let is_regular = file.metadata()?.is_file();
        let zstd = compressed.then(|| zstd::bulk::Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL));
        Ok(Self {
            zstd: zstd.transpose()?,
            end: if is_regular {
                file.stream_position()?
            } else {
                0
            },
            file,
            is_regular,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            records: Vec::new(),
            frames_written: 0,
            broken: None,
        })
    }

    /// Whether someone reads along: a pipe, a FIFO, a terminal.
    pub(super) fn is_stream(&self) -> bool {
        !self.is_regular
    }

    /// Whether the reader of a pipe has closed its end.
    pub(super) fn reader_is_gone(&self) -> bool {
        let mut ends = [PollFd::new(self.file.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        self.is_stream()
            && poll(&mut ends, PollTimeout::ZERO).is_ok()
            && ends[0]
                .revents()
                .is_some_and(|events| events.intersects(gone))
    }

    /// Length of the file when all is written; compressed, what it has by now.
    #[inline]
    pub(super) fn bytes(&self) -> u64 {
        match self.zstd {
            None => self.end + self.buffer.len() as u64,
            Some(_) => self.end,
        }
    }

    /// Whether what is written is packed.
    #[inline]
    pub(super) fn is_compressed(&self) -> bool {
        self.zstd.is_some()
    }

    /// Frames that lie whole in the file.
    pub(super) fn frames_written(&self) -> u64 {
        self.frames_written
    }

    /// Adds one record of at most `bytes` bytes, which `encode` appends to the buffer.
    #[inline]
    pub(super) fn add(
        &mut self,
        bytes: usize,
        is_frame: bool,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        if self.buffer.len() + bytes > BUFFER_BYTES {
            self.flush()?;
        }
        let before = self.buffer.len();
        encode(&mut self.buffer);
        self.records.push(Record {
            bytes: self.buffer.len() - before,
            is_frame,
        });
        Ok(())
    }

    /// Writes `frames` records that lie one after the other in `bytes`, behind what is gathered,
    /// from where they lie. `lengths` are those of the records.
    pub(super) fn write_through(
        &mut self,
        bytes: &[u8],
        frames: u64,
        lengths: impl Iterator<Item = usize>,
    ) -> io::Result<()> {
        self.flush()?;
        let records = lengths.map(|bytes| Record {
            bytes,
            is_frame: true,
        });
        self.write_whole(bytes, frames, records)
    }

    /// Writes what is gathered. On an error the records that did not fit are dropped, and a
    /// regular file is cut back to its last whole record, so that later ones can follow.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let records = mem::take(&mut self.records);
        let buffer = mem::take(&mut self.buffer);
        let frames = records.iter().filter(|record| record.is_frame).count();
        let result = self.write_whole(&buffer, frames as u64, records.iter().copied());
        self.buffer = buffer;
        self.buffer.clear();
        self.records = records;
        self.records.clear();
        result
    }

    /// Writes records, `frames` of which are frames. Only where not all go out they are looked at
    /// one by one.
    fn write_whole(
        &mut self,
        bytes: &[u8],
        frames: u64,
        records: impl Iterator<Item = Record>,
    ) -> io::Result<()> {
        let (written, result) = self.write(bytes);
        if result.is_ok() {
            self.frames_written += frames;
            self.end += written;
            return result;
        }
        // Half a frame of zstd is nothing.
        let kept = match self.zstd {
            None => self.count(records, written),
            Some(_) => 0,
        };
        self.end += kept;
        self.cut_back(written > kept);
        result
    }

    /// Writes bytes, packed where that is asked for. Says how many went out.
    fn write(&mut self, bytes: &[u8]) -> (u64, io::Result<()>) {
        if let Some(kind) = self.broken {
            return (0, Err(kind.into()));
        }
        let Some(zstd) = &mut self.zstd else {
            return write_all(&mut self.file, bytes);
        };
        if bytes.is_empty() {
            return (0, Ok(()));
        }
        match zstd.compress(bytes) {
            Ok(packed) => write_all(&mut self.file, &packed),
            Err(error) => (0, Err(error)),
        }
    }

    /// Counts the frames that lie whole in the first `written` bytes, and gives the length of
    /// the whole records there.
    fn count(&mut self, records: impl Iterator<Item = Record>, written: u64) -> u64 {
        let mut kept = 0;
        for record in records {
            let end = kept + record.bytes as u64;
            if end > written {
                break;
            }
            kept = end;
            self.frames_written += u64::from(record.is_frame);
        }
        kept
    }

    fn cut_back(&mut self, is_torn: bool) {
        let cut = self.is_regular
            && self.file.set_len(self.end).is_ok()
            && self.file.seek(SeekFrom::Start(self.end)).is_ok();
        if is_torn && !cut {
            self.broken = Some(io::ErrorKind::BrokenPipe);
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("file", &self.file)
            .field("compressed", &self.zstd.is_some())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Who wants to know of an error flushes before.
        let _ = self.flush();
    }
}

/// Like [`Write::write_all`], and says how many bytes went out before an error.
fn write_all(file: &mut File, bytes: &[u8]) -> (u64, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written as u64, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written as u64, Err(error)),
        }
    }
    (written as u64, Ok(()))
}
