//! `--packets`: a line for every packet.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    mem,
    path::Path,
};

use anyhow::{Context, Result};

use super::output::is_stdout;
use crate::{record::PacketRecord, report::packets};

/// Packets that are held at most: beyond, those of several CPUs may be out of order.
const MOST_HELD: usize = 1 << 18;
/// No packet waits longer: batches are sent up more often than that.
const MOST_AGE_NS: u64 = 1_000_000_000;

/// A file of packets. The first failure ends writing; counting goes on.
pub(super) struct PacketLog {
    /// Packets to which other CPUs may still have older ones.
    held: Vec<PacketRecord>,
    out: BufWriter<Box<dyn Write>>,
    path: String,
    failure: Option<io::Error>,
}

impl PacketLog {
    /// Begins the file; `-` is stdout.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(super) fn create(path: Option<&Path>) -> Result<Option<Self>> {
        let Some(path) = path else {
            return Ok(None);
        };
        let name = path.display().to_string();
        let out: Box<dyn Write> = if is_stdout(path) {
            Box::new(io::stdout().lock())
        } else {
            Box::new(File::create(path).with_context(|| format!("write {name}"))?)
        };
        Ok(Some(Self {
            held: Vec::new(),
            out: BufWriter::with_capacity(1 << 16, out),
            path: name,
            failure: None,
        }))
    }

    /// Takes in `records` of one CPU, which [`PacketLog::settle`] writes.
    pub(super) fn hold(&mut self, records: &[PacketRecord], interfaces: &[String]) {
        self.held.extend_from_slice(records);
        if self.held.len() > MOST_HELD {
            self.settle(u64::MAX, interfaces);
        }
    }

    /// Writes what is held from before `settled_ns`, to which no older packets will come, in the
    /// order of its time.
    pub(super) fn settle(&mut self, settled_ns: u64, interfaces: &[String]) {
        let mut held = mem::take(&mut self.held);
        held.sort_by_key(PacketRecord::timestamp_ns);
        // After the clock was set back, what is held would wait until it is there again.
        let was_set_back = held
            .last()
            .is_some_and(|last| last.timestamp_ns() > settled_ns.saturating_add(MOST_AGE_NS));
        let settled = if was_set_back {
            held.len()
        } else {
            held.partition_point(|record| record.timestamp_ns() < settled_ns)
        };
        self.write(&held[..settled], interfaces);
        held.drain(..settled);
        self.held = held;
    }

    /// Writes a line for each of `records`; `interfaces` are names by number.
    pub(super) fn write(&mut self, records: &[PacketRecord], interfaces: &[String]) {
        for record in records {
            if self.failure.is_some() {
                return;
            }
            let line = packets::line(record, interfaces);
            let result = self.out.write_all(line.as_bytes());
            self.note(result);
        }
    }

    /// Hands what is buffered to the system.
    pub(super) fn flush(&mut self) {
        if self.failure.is_none() {
            let result = self.out.flush();
            self.note(result);
        }
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failure = Some(error);
        }
    }

    /// Whether who reads the packets went away, which is its right.
    pub(super) fn reader_is_gone(&self) -> bool {
        let kind = self.failure.as_ref().map(io::Error::kind);
        kind == Some(io::ErrorKind::BrokenPipe)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush();
        let failure = self.failure.map_or(Ok(()), Err);
        failure.with_context(|| format!("write {}", self.path))
    }
}
