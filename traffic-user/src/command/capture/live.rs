//! The live views of a capture.

use std::{future::pending, time::Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::settings::planned;
use crate::{
    cli::CaptureArgs,
    live::{
        terminal::Terminal,
        view::{LiveReport, Moment, Publisher},
    },
    report::{html, json},
};

/// What shows the capture while it runs.
pub(super) struct Views {
    publisher: Publisher,
    terminal: Option<Terminal>,
}

impl Views {
    /// Nothing is shown yet.
    pub(super) fn new(args: &CaptureArgs) -> Self {
        let ring_bytes = u64::from(args.buffer_size);
        Self {
            publisher: Publisher::new(planned(args), args.output.top, ring_bytes),
            terminal: None,
        }
    }

    /// Shows what was asked for.
    ///
    /// # Errors
    /// When `--live` has no terminal.
    pub(super) fn show(&mut self, args: &CaptureArgs) -> Result<()> {
        if args.live {
            let reports = self.publisher.source().subscribe();
            let terminal = Terminal::start(reports, Box::new(save));
            self.terminal = Some(terminal.context("show the capture live (--live)")?);
        }
        Ok(())
    }

    /// Waits until a user wants the capture to end.
    pub(super) async fn stopped(&self) {
        match &self.terminal {
            Some(terminal) => terminal.stopped().await,
            None => pending().await,
        }
    }

    /// Gives the terminal back.
    pub(super) fn leave_terminal(&mut self) {
        self.terminal = None;
    }

    /// Whether somebody waits for a report.
    pub(super) fn is_due(&self) -> bool {
        self.publisher.is_due()
    }

    /// Gives a report, whose making began at `begun`, to whoever looks.
    pub(super) fn publish(&mut self, moment: Moment, begun: Instant) {
        self.publisher.publish(moment, begun);
    }
}

/// Writes the report as it is, as a page and as JSON; says where, or why not.
fn save(live: &LiveReport) -> String {
    let report = live.trimmed();
    let name = format!("traffic-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let page = format!("{name}.html");
    let data = format!("{name}.json");
    let written = std::fs::write(&page, html::render(&report))
        .and_then(|()| std::fs::write(&data, json::to_string(&report)));
    match written {
        Ok(()) => format!("saved {page} and {data}"),
        Err(error) => format!("save {page}: {error}"),
    }
}
