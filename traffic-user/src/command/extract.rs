//! The capture file that `traffic read -w` writes.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{UsageError, output::is_stdout};
use crate::{
    capture_file::{CaptureWriter, FileFrame, Frame, InterfaceDescription, LinkType, WriteError},
    report::assemble::Interface,
};

/// Frames on their way from capture files to another one. They keep interface, time and direction.
pub(super) struct Extract {
    path: PathBuf,
    /// What the interfaces of the file say of the filter.
    filter: String,
    /// Begun with its first interface, because that gives a `.pcap` its link type.
    writer: Option<CaptureWriter>,
    /// Numbers in the file by numbers in the run.
    numbers: HashMap<u16, u16>,
}

impl Extract {
    /// A file at `path`, which must be none of those that are read.
    ///
    /// # Errors
    /// [`UsageError`] when it is.
    pub(super) fn new<'a>(
        path: &Path,
        filter: &str,
        mut read: impl Iterator<Item = &'a PathBuf>,
    ) -> Result<Self> {
        let is_same = |other: &PathBuf| match (path.canonicalize(), other.canonicalize()) {
            (Ok(path), Ok(other)) => path == other,
            _ => false,
        };
        if !is_stdout(path) && read.any(is_same) {
            let message = format!("{} cannot be read and written at once", path.display());
            return Err(UsageError(message).into());
        }
        Ok(Self {
            path: path.to_owned(),
            filter: filter.to_owned(),
            writer: None,
            numbers: HashMap::new(),
        })
    }

    /// Writes a frame of the interface with the number `interface` in the run.
    ///
    /// # Errors
    /// When the file cannot be written, or cannot hold a second link type.
    pub(super) fn frame(
        &mut self,
        interface: u16,
        name: &str,
        frame: &FileFrame<'_>,
    ) -> Result<()> {
        let result = self.try_frame(interface, name, frame);
        result.map_err(|error| self.explain(error))
    }

    fn try_frame(
        &mut self,
        interface: u16,
        name: &str,
        frame: &FileFrame<'_>,
    ) -> Result<(), WriteError> {
        let number = match self.numbers.get(&interface) {
            Some(number) => *number,
            None => self.add(interface, name, frame.link_type)?,
        };
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        writer.write_frame(&Frame {
            interface: number,
            timestamp_ns: frame.timestamp_ns,
            wire_len: frame.wire_len,
            direction: frame.direction,
            dropped: 0,
            data: frame.data,
        })
    }

    /// Describes an interface, and begins the file with the first.
    fn add(&mut self, interface: u16, name: &str, link_type: LinkType) -> Result<u16, WriteError> {
        let description = InterfaceDescription {
            filter: self.filter.clone(),
            ..InterfaceDescription::new(name, link_type)
        };
        let number = match &mut self.writer {
            Some(writer) => writer.add_interface(&description)?,
            none => {
                *none = Some(CaptureWriter::create(&self.path, &[description])?);
                0
            }
        };
        self.numbers.insert(interface, number);
        Ok(number)
    }

    /// Ends the file. Without a single frame it has the first of `interfaces`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn finish(mut self, interfaces: &[(Interface, LinkType)]) -> Result<()> {
        let result = match interfaces.first() {
            Some((first, link_type)) if self.writer.is_none() => {
                self.add(0, &first.name, *link_type).map(|_| ())
            }
            _ => Ok(()),
        };
        let ended = result.and_then(|()| match &mut self.writer {
            Some(writer) => writer.finish(&[]),
            None => Ok(()),
        });
        ended.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: WriteError) -> anyhow::Error {
        let error = match error {
            WriteError::Io(error) => anyhow::Error::new(error),
            WriteError::MixedLinkTypes(..) | WriteError::UnknownInterface { .. } => {
                anyhow::Error::new(error)
            }
        };
        error.context(format!("write {}", self.path.display()))
    }
}
