//! What others are told of a capture that goes on.

use std::time::Instant;

use anyhow::Result;

use super::{
    Capture, LIVE_ROWS,
    describe::{interface_row, on_wire, source},
    file::CaptureFile,
};
use crate::{
    cli::CaptureArgs,
    command::ipfix,
    kernel::Attached,
    live::view::{FileSoFar, Moment},
    report::{
        Report,
        assemble::{self, Live, Run, RunTotals},
    },
    snapshot::Snapshot,
};

impl Capture<'_> {
    /// Gives a report of what there is so far to the live views.
    pub(super) fn publish(&mut self) -> Result<()> {
        let begun = Instant::now();
        let (report, elapsed_ns, snapshot) = self.so_far()?;
        let target = self.take.file.as_ref().map(CaptureFile::target);
        let moment = Moment {
            report,
            elapsed_ns,
            snapshot,
            ring_unread_bytes: self.session.take_most_unread(),
            file: target.and_then(FileSoFar::of),
        };
        self.outside.views.publish(moment, begun);
        Ok(())
    }

    /// Enters the run into the database's list of captures.
    pub(super) fn begin_export(&mut self) -> Result<()> {
        if self.export.is_some() {
            let (report, _, _) = self.so_far()?;
            let started_ns = self.session.started_ns();
            if let Some(export) = &mut self.export {
                export.begin(started_ns, &report);
            }
        }
        Ok(())
    }

    /// Exports what was counted, when a bin has ended.
    pub(super) fn export_bin(&mut self) -> Result<()> {
        let elapsed_ns = self.session.elapsed_ns();
        let Some(export) = &mut self.export else {
            return Ok(());
        };
        if export.is_due(elapsed_ns) {
            let snapshot = self.session.running()?;
            let attached = self.session.attached();
            export.bin(elapsed_ns, attached, &snapshot, &mut self.take);
        }
        for news in export.news() {
            self.note(news);
        }
        Ok(())
    }

    /// The report of what there is so far, how old the capture is, and what the kernel counted.
    fn so_far(&mut self) -> Result<(Report, u64, Snapshot)> {
        let args = self.args;
        let written = self.take.file.as_mut().map(CaptureFile::so_far);
        let elapsed_ns = self.session.elapsed_ns();
        let snapshot = self.session.running()?;
        let attached = self.session.attached();
        let live = Live {
            started_ns: self.session.started_ns(),
            duration_ns: elapsed_ns,
            wire: on_wire(&snapshot, attached),
            snapshot: snapshot.clone(),
            summaries: !args.counters_only,
            written,
            is_running: true,
        };
        let run = Run {
            top: args.output.top.max(LIVE_ROWS),
            ..run_of(args, attached, live, self.notes.clone())
        };
        let mut report = assemble::so_far(&mut self.take.stages, run);
        ipfix::enter(&mut report.ledger, self.take.exported());
        Ok((report, elapsed_ns, snapshot))
    }
}

/// What the report is made of, besides what the packets said.
pub(super) fn run_of(
    args: &CaptureArgs,
    attached: &[Attached],
    live: Live,
    notes: Vec<String>,
) -> Run {
    Run {
        source: source(args),
        interfaces: attached.iter().map(interface_row).collect(),
        totals: RunTotals::Kernel(Box::new(live)),
        bins: args.output.bins,
        top: args.output.top,
        notes,
    }
}
