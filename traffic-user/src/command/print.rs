//! `traffic print`: a line per packet of capture files.

use std::{
    io::{StdoutLock, Write as _, stdout},
    ops::ControlFlow,
    process::ExitCode,
};

use anyhow::{Error, Result};

use super::{
    confine,
    filter::{self, FileFilter},
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
        filter: FileFilter::new(filter::expression(&[], &args.filter)?)?,
        printer: Printer::new(args.style.style()),
        left: args.count.unwrap_or(u64::MAX),
        text: String::new(),
        stdout: stdout().lock(),
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
            return Err(error);
        }
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

struct Lines {
    filter: FileFilter,
    printer: Printer,
    /// Packets until the end.
    left: u64,
    text: String,
    stdout: StdoutLock<'static>,
    failure: Option<Error>,
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
        match self.filter.takes(frame) {
            Ok(true) => {}
            Ok(false) => return ControlFlow::Continue(()),
            Err(error) => {
                self.failure = Some(error);
                return ControlFlow::Break(());
            }
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
        let written = written.and_then(|()| self.stdout.flush());
        if let Err(error) = written {
            self.failure = Some(Error::new(error).context("print packets"));
        }
        self.text.clear();
    }
}
