//! A line per packet while a capture runs: `--print`.

use std::io::{self, ErrorKind, Write as _};

use super::file::link_type;
use crate::{
    capture_file::{Frame, LinkType},
    cli::CaptureArgs,
    kernel::Interface,
    print::{Packet, Printer},
};

/// Prints frames to stdout.
pub(super) struct Lines {
    printer: Printer,
    interfaces: Vec<(String, LinkType)>,
    text: String,
    /// Frames printed, or offered after the reader went away.
    frames: u64,
    failure: Option<io::Error>,
}

impl Lines {
    /// Lines for the frames of `selected`, where `args` ask for them.
    pub(super) fn new(args: &CaptureArgs, selected: &[Interface]) -> Option<Self> {
        args.print.then(|| Self {
            printer: Printer::new(args.print_style.style()),
            interfaces: selected.iter().map(described).collect(),
            text: String::new(),
            frames: 0,
            failure: None,
        })
    }

    /// Expects frames of one more interface.
    pub(super) fn add_interface(&mut self, interface: &Interface) {
        self.interfaces.push(described(interface));
    }

    pub(super) fn frame(&mut self, frame: &Frame<'_>) {
        let Some((name, link_type)) = self.interfaces.get(usize::from(frame.interface)) else {
            return;
        };
        self.frames += 1;
        let packet = Packet {
            timestamp_ns: frame.timestamp_ns,
            data: frame.data,
            wire_len: frame.wire_len,
            link_type: *link_type,
            origin: (self.interfaces.len() > 1).then_some((name.as_str(), frame.direction)),
        };
        self.printer.print(&packet, &mut self.text);
        if self.text.len() >= TEXT_BYTES {
            self.flush();
        }
    }

    /// Writes what is gathered.
    pub(super) fn flush(&mut self) {
        if self.failure.is_none() && !self.text.is_empty() {
            let mut stdout = io::stdout().lock();
            let written = stdout.write_all(self.text.as_bytes());
            self.failure = written.and_then(|()| stdout.flush()).err();
        }
        self.text.clear();
    }

    /// Whether stdout takes nothing more.
    pub(super) fn has_ended(&self) -> bool {
        self.failure.is_some()
    }

    /// Frames printed, and why printing ended early, unless the reader just went away.
    pub(super) fn finish(mut self) -> (u64, Option<anyhow::Error>) {
        self.flush();
        let failure = self
            .failure
            .filter(|error| error.kind() != ErrorKind::BrokenPipe);
        let failure = failure.map(|error| anyhow::Error::new(error).context("print packets"));
        (self.frames, failure)
    }
}

fn described(interface: &Interface) -> (String, LinkType) {
    (interface.name.clone(), link_type(interface))
}

/// Text gathered before it is written.
const TEXT_BYTES: usize = 1 << 16;
