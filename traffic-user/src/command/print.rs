//! `traffic print`: a line per packet of capture files.

use std::{
    io::{self, StdoutLock, Write as _},
    ops::ControlFlow,
    process::ExitCode,
};

use anyhow::{Context as _, Error, Result};

use super::{
    confine,
    input::{self, Input},
};
use crate::{
    capture_file::{FileFrame, ReadError, ReadSummary},
    cli::PrintArgs,
    print::{Packet, Printer},
    sandbox::Policy,
};

/// Prints the packets of the files, one file after the other.
///
/// # Errors
/// When a file cannot be read to its end, or stdout cannot be written. What can be read is printed.
pub(super) fn run(args: &PrintArgs) -> Result<ExitCode> {
    let mut lines = Lines {
        printer: Printer::new(args.style.style()),
        left: args.count.unwrap_or(u64::MAX),
        text: String::new(),
        stdout: io::stdout().lock(),
        failure: None,
    };
    let inputs = input::open(args.read.iter().chain(&args.files))?;
    confine::enter(&Policy::default(), args.sandbox)?;
    let mut failure = None;
    for input in inputs {
        let path = input.path.clone();
        let context = || format!("read {}", path.display());
        match lines.file(input) {
            Err(error) => failure = failure.or(Some(Error::new(error).context(context()))),
            Ok(summary) => {
                let fault = summary
                    .fault
                    .map(|fault| Error::new(fault).context(context()));
                failure = failure.or(fault);
            }
        }
        if let Some(error) = lines.failure.take() {
            return Err(error).context("print packets");
        }
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

struct Lines {
    printer: Printer,
    /// Packets until the end.
    left: u64,
    text: String,
    stdout: StdoutLock<'static>,
    failure: Option<io::Error>,
}

/// Text gathered before it is written.
const TEXT_BYTES: usize = 1 << 16;

impl Lines {
    fn file(&mut self, input: Input) -> Result<ReadSummary, ReadError> {
        // Someone may read along what comes on stdin.
        let live = input.is_stdin();
        let summary = input.read(|_, frame| self.packet(frame, live));
        self.flush();
        summary
    }

    fn packet(&mut self, frame: &FileFrame<'_>, live: bool) -> ControlFlow<()> {
        if self.left == 0 {
            return ControlFlow::Break(());
        }
        self.left -= 1;
        let packet = Packet {
            timestamp_ns: frame.timestamp_ns,
            data: frame.data,
            wire_len: frame.wire_len,
            link_type: frame.link_type,
            origin: None,
        };
        self.printer.print(&packet, &mut self.text);
        if live || self.text.len() >= TEXT_BYTES {
            self.flush();
        }
        if self.failure.is_some() || self.left == 0 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn flush(&mut self) {
        let written = self.stdout.write_all(self.text.as_bytes());
        self.failure = written.and_then(|()| self.stdout.flush()).err();
        self.text.clear();
    }
}
