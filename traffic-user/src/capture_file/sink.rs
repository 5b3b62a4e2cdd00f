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

    /// Writes what is gathered. On an error the records that did not fit are dropped, and a
    /// regular file is cut back to its last whole record, so that later ones can follow.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let records = mem::take(&mut self.records);
        let buffer = mem::take(&mut self.buffer);
        let (written, kept, result) = self.write(&buffer, &records);
        self.end += kept;
        if result.is_err() {
            self.cut_back(written > kept);
        }
        self.buffer = buffer;
        self.buffer.clear();
        self.records = records;
        self.records.clear();
        result
    }

    /// Writes records. Says how many bytes went out, and how many of them are whole records.
    fn write(&mut self, buffer: &[u8], records: &[Record]) -> (u64, u64, io::Result<()>) {
        if let Some(kind) = self.broken {
            return (0, 0, Err(kind.into()));
        }
        let Some(zstd) = &mut self.zstd else {
            let (written, result) = write_all(&mut self.file, buffer);
            return (written, self.count(records, written), result);
        };
        if buffer.is_empty() {
            return (0, 0, Ok(()));
        }
        let packed = match zstd.compress(buffer) {
            Ok(packed) => packed,
            Err(error) => return (0, 0, Err(error)),
        };
        let (written, result) = write_all(&mut self.file, &packed);
        // Half a frame of zstd is nothing.
        let kept = if result.is_ok() {
            self.count(records, buffer.len() as u64);
            written
        } else {
            0
        };
        (written, kept, result)
    }

    /// Counts the frames that lie whole in the first `written` bytes, and gives the length of
    /// the whole records there.
    fn count(&mut self, records: &[Record], written: u64) -> u64 {
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
