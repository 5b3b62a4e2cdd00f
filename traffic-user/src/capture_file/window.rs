//! A piece of a file in memory.

use std::io::{self, Read};

use super::read::ReadError;

/// Bytes of the input that are not consumed yet.
pub(super) struct Window<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// Small enough to stay in the cache between `read` and the parser.
const WINDOW_BYTES: usize = 256 << 10;

impl<R: Read> Window<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; WINDOW_BYTES],
            start: 0,
            end: 0,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// What it holds, and what follows.
    pub(super) fn into_parts(self) -> (Vec<u8>, R) {
        (self.bytes().to_vec(), self.input)
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Consumes `bytes` bytes and gives the buffer away for `other`, to which the rest moves. Returns
    /// where in the buffer those bytes begin.
    pub(super) fn hand_over(&mut self, bytes: usize, other: &mut Vec<u8>) -> usize {
        let start = self.start;
        self.consume(bytes);
        if other.len() < self.buffer.len() {
            other.resize(self.buffer.len(), 0);
        }
        let rest = self.start..self.end;
        other[..rest.len()].copy_from_slice(&self.buffer[rest.clone()]);
        std::mem::swap(&mut self.buffer, other);
        (self.start, self.end) = (0, rest.len());
        start
    }

    /// Reads more bytes, at least one if there is any, and says how many.
    ///
    /// The buffer grows only when one item fills it whole, and items are bounded.
    pub(super) fn fill(&mut self) -> io::Result<usize> {
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
    pub(super) fn magic(&mut self) -> Result<u32, ReadError> {
        match *self.whole_header(4)? {
            [a, b, c, d, ..] => Ok(u32::from_be_bytes([a, b, c, d])),
            _ => Err(ReadError::Empty),
        }
    }

    /// At least the first `len` bytes.
    pub(super) fn whole_header(&mut self, len: usize) -> Result<&[u8], ReadError> {
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
