//! `--packets`: a line for every packet.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};

use super::output::is_stdout;
use crate::{record::PacketRecord, report::packets};

/// A file of packets. The first failure ends writing; counting goes on.
pub(super) struct PacketLog {
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
            out: BufWriter::with_capacity(1 << 16, out),
            path: name,
            failure: None,
        }))
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
