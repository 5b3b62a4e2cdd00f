//! How a capture ends: the gate closes, what is left is taken, everything is closed and reported.

use std::time::Instant;

use anyhow::{Error, Result, anyhow};

use super::{
    Capture, End, Outside, compare::OwnCounts, describe::on_wire, export::Export,
    file::CaptureFile, file_statistics::Fate, lines::Lines, so_far::run_of, take::Take,
};
use crate::{
    command::{ipfix, packet_log::PacketLog},
    diagnostics,
    fleet::flows::FlowRows,
    kernel::{Attached, Interfaces},
    live::view::{FileSoFar, Moment},
    report::{
        Report,
        assemble::{self, Live, Written},
    },
    snapshot::Snapshot,
};

/// What a capture knows once its gate is closed.
struct Counted {
    started_ns: u64,
    duration_ns: u64,
    attached: Vec<Attached>,
    snapshot: Snapshot,
    /// Interfaces as they are at the end.
    now: Interfaces,
}

impl Capture<'_> {
    /// Closes the gate, takes what is left, detaches, and makes the report. Beside it the failure
    /// that the run is to end with, if any.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub(super) async fn finish(mut self, end: End) -> Result<(Report, Option<Error>)> {
        let snapshot = self.session.close(&mut self.take)?;
        let exported = self.take.finish();
        let counted = self.counted(snapshot).await;
        if let Some(before) = &self.own_counts {
            let own = OwnCounts::of(&counted.attached, &counted.now);
            let differences = own.since(before, &counted.attached, &counted.snapshot);
            self.notes.extend(differences);
        }
        self.session.detach();
        let target = self.take.file.as_ref().map(CaptureFile::target);
        let (written, failure) = close_outputs(&mut self.take, &counted);
        let live = counted.live(!self.args.counters_only, written);
        let run = run_of(self.args, &counted.attached, live, self.notes);
        let mut report = assemble::report(self.take.stages, run);
        ipfix::enter(&mut report.ledger, exported);
        if let Some(export) = self.export {
            counted.export(export, self.take.rows, &mut report);
        }
        counted.publish(&report, target.and_then(FileSoFar::of), &mut self.outside);
        let failure = failure.or_else(|| match end {
            End::Done => None,
            End::Early(message) => Some(anyhow!("{message} during the capture")),
        });
        Ok((report, failure))
    }

    async fn counted(&mut self, snapshot: Snapshot) -> Counted {
        Counted {
            started_ns: self.session.started_ns(),
            duration_ns: self.session.duration_ns(),
            attached: self.session.attached().to_vec(),
            snapshot,
            now: self.events.list().await.unwrap_or_else(|error| {
                log::warn!("{error}");
                Interfaces::default()
            }),
        }
    }
}

impl Counted {
    /// Wall-clock nanoseconds at which the gate closed.
    fn ended_ns(&self) -> u64 {
        self.started_ns + self.duration_ns
    }

    /// What became of the frames, by interface.
    fn fates(&self) -> Vec<Fate> {
        Fate::of_interfaces(&self.snapshot.places, &self.attached, &self.now)
    }

    fn live(&self, summaries: bool, written: Option<Written>) -> Live {
        Live {
            started_ns: self.started_ns,
            duration_ns: self.duration_ns,
            wire: on_wire(&self.snapshot, &self.attached),
            snapshot: self.snapshot.clone(),
            summaries,
            written,
            is_running: false,
        }
    }

    /// Sends the last rows to the database.
    fn export(&self, export: Export, flows: Option<FlowRows>, report: &mut Report) {
        let (attached, snapshot) = (&self.attached, &self.snapshot);
        export.finish(self.duration_ns, attached, snapshot, flows, report);
    }

    /// Gives the last report to the live views.
    fn publish(self, report: &Report, file: Option<FileSoFar>, outside: &mut Outside) {
        if !outside.views.is_watched() {
            return;
        }
        let moment = Moment {
            report: report.clone(),
            elapsed_ns: self.duration_ns,
            snapshot: self.snapshot,
            ring_unread_bytes: 0,
            file,
        };
        outside.views.publish(moment, Instant::now());
    }
}

/// Closes the outputs of the packets: what became of the frames, which are written where there is a
/// file and else printed, and the first failure.
fn close_outputs(take: &mut Take, counted: &Counted) -> (Option<Written>, Option<Error>) {
    let file = take.file.take();
    let file = file.map(|file| file.finish(&counted.fates(), counted.ended_ns()));
    let (written, file_failure) = file.unzip();
    let (printed, lines_failure) = take.lines.take().map(Lines::finish).unzip();
    let log_failure = take.log.take().and_then(|log| PacketLog::finish(log).err());
    let printed = printed.map(|frames| Written { frames, failed: 0 });
    let failure = file_failure.flatten().or(lines_failure.flatten());
    (written.or(printed), failure.or(log_failure))
}

/// tcpdump's closing lines.
pub(super) fn print_counts(report: &Report) {
    let ledger = &report.ledger;
    let lost = ledger.summaries_lost.unwrap_or(0) + ledger.frames_lost.ring_full;
    for line in count_lines(ledger.matched, ledger.seen, lost) {
        diagnostics::say(&line);
    }
}

/// Packets that matched, that the filter looked at, and that the ring had no room for.
pub(super) fn count_lines(matched: u64, seen: u64, lost: u64) -> [String; 3] {
    [
        format!("{matched} packets captured"),
        format!("{seen} packets received by filter"),
        format!("{lost} packets dropped by kernel"),
    ]
}
