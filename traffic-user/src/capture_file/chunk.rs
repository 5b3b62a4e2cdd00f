//! Parsed packets with the bytes they lie in, so that one thread may parse and another deliver.

use std::{
    io::{self, Read},
    ops::ControlFlow,
};

use super::{
    decode::{Decoder, Parsed, Stop},
    read::{FileFrame, FileInterface, ReadError, ReadSummary},
    window::Window,
};
use crate::record::PacketRecord;

/// Packets that were read and parsed in one go.
#[derive(Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    /// Where the packets' bytes begin in `bytes`.
    offset: usize,
    packets: Vec<Parsed>,
    /// Interfaces that are new.
    interfaces: Vec<FileInterface>,
}

impl Chunk {
    /// Hands the packets to `each`, and adds to `summary` what was delivered.
    pub(super) fn deliver<F>(&mut self, summary: &mut ReadSummary, each: &mut F) -> ControlFlow<()>
    where
        F: FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
    {
        summary.interfaces.append(&mut self.interfaces);
        let bytes = &self.bytes[self.offset..];
        for packet in &self.packets {
            let record = &packet.record;
            let interface = &summary.interfaces[usize::from(record.interface())];
            summary.packets += 1;
            let frame = FileFrame {
                timestamp_ns: record.timestamp_ns(),
                data: &bytes[packet.range()],
                wire_len: record.wire_len(),
                link_type: interface.link_type,
                interface: record.interface(),
                interface_name: interface.name.as_deref(),
                direction: record.direction(),
            };
            each(record, &frame)?;
        }
        ControlFlow::Continue(())
    }
}

/// Reads and parses a file, chunk by chunk.
pub(super) struct Chunks<R> {
    window: Window<R>,
    decoder: Box<dyn Decoder>,
    /// Interfaces that chunks told of.
    told: usize,
}

impl<R: Read> Chunks<R> {
    pub(super) fn new(window: Window<R>, decoder: Box<dyn Decoder>) -> Self {
        Self {
            window,
            decoder,
            told: 0,
        }
    }

    /// Makes `chunk` hold the packets that follow, or at the end perhaps none. Returns how the file
    /// ended, if it did.
    pub(super) fn next(&mut self, chunk: &mut Chunk) -> Option<Result<(), ReadError>> {
        chunk.packets.clear();
        let end = loop {
            let (used, stop) = self.decoder.decode(self.window.bytes(), &mut chunk.packets);
            let fault = match stop {
                Stop::NeedMore => None,
                Stop::Fault(error) => Some(Err(error)),
            };
            if fault.is_some() || !chunk.packets.is_empty() {
                chunk.offset = self.window.hand_over(used, &mut chunk.bytes);
                break fault;
            }
            self.window.consume(used);
            match self.window.fill() {
                Ok(0) if self.window.bytes().is_empty() => break Some(Ok(())),
                Ok(0) => break Some(Err(ReadError::CutShort)),
                Ok(_) => {}
                // A compressed file that ends inside of a frame.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    break Some(Err(ReadError::CutShort));
                }
                Err(error) => break Some(Err(error.into())),
            }
        };
        let known = self.decoder.interfaces();
        let new = known[self.told..].iter();
        chunk
            .interfaces
            .extend(new.map(|known| known.described.clone()));
        self.told = known.len();
        end
    }
}
