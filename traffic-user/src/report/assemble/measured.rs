//! Totals, bars and ledger, whoever counted them.

use traffic_ebpf::{
    protocol::Protocol,
    tally::{Count, Tally},
};

use super::{Live, Run, RunTotals, Stored};
use crate::{
    analysis::Tables,
    counts::Counts,
    ledger::{Account, Frames, Summaries},
    stages::Totals,
    timeline::Bars,
};

/// Totals and bars.
pub(super) struct Measured {
    pub(super) started_ns: Option<u64>,
    pub(super) duration_ns: u64,
    pub(super) counts: Counts,
    pub(super) bars: Bars,
    pub(super) wire: Option<Count>,
}

/// What was counted of a run, and the ledger of it. `totals` are what the stages counted
/// themselves, and `evicted` packets fell out of the history.
pub(super) fn measure(
    run: &Run,
    totals: Option<&Totals>,
    tables: &Tables,
    evicted: u64,
) -> (Measured, Account) {
    match &run.totals {
        RunTotals::Kernel(live) => {
            let measured = by_kernel(live, run.bins);
            let account = kernel_account(live, &measured.counts, tables.records, evicted);
            (measured, account)
        }
        RunTotals::Files { seen, filtered_out } => {
            let measured = of_files(totals.cloned().unwrap_or_default(), tables, run.bins);
            // The reader counted what it read, `Counts` what matched, and the tables what they
            // were given.
            let account = Account {
                seen: *seen,
                filtered_out: *filtered_out,
                matched: measured.counts.total().packets,
                unparsed: unparsed(&measured.counts),
                summaries: Some(Summaries {
                    delivered: tables.records,
                    lost: 0,
                }),
                history_evicted: evicted,
                ..Account::default()
            };
            (measured, account)
        }
        RunTotals::Stored(stored) => (of_stored(stored), stored.account),
    }
}

fn by_kernel(live: &Live, bins: u32) -> Measured {
    let snapshot = &live.snapshot;
    Measured {
        started_ns: Some(live.started_ns),
        duration_ns: live.duration_ns,
        counts: Counts::from_kernel(&snapshot.places, &snapshot.numbered),
        bars: Bars::from_slots(
            &snapshot.shape,
            snapshot.slots.iter().copied(),
            &snapshot.slot_numbered,
            live.duration_ns,
            bins,
        ),
        wire: live.wire,
    }
}

fn kernel_account(live: &Live, counts: &Counts, delivered: u64, evicted: u64) -> Account {
    let tally = |tally| live.snapshot.tally(tally);
    Account {
        seen: tally(Tally::Seen),
        filtered_out: tally(Tally::FilteredOut),
        matched: tally(Tally::Matched),
        unparsed: unparsed(counts),
        summaries: live.summaries.then(|| Summaries {
            delivered,
            lost: live.snapshot.summaries_lost(),
        }),
        frames: live.written.map(|written| Frames {
            sampled_out: tally(Tally::FramesSampledOut),
            written: written.frames,
            ring_full: tally(Tally::FramesLost),
            write_failed: written.failed,
        }),
        excerpts_lost: tally(Tally::ExcerptsLost),
        history_evicted: evicted,
        is_running: live.is_running,
    }
}

fn of_files(totals: Totals, tables: &Tables, bins: u32) -> Measured {
    Measured {
        started_ns: tables.times_ns.map(|(first, _)| first),
        duration_ns: tables.times_ns.map_or(0, |(first, last)| last - first),
        bars: totals.timeline.bars(bins),
        counts: totals.counts,
        wire: None,
    }
}

fn of_stored(stored: &Stored) -> Measured {
    Measured {
        started_ns: Some(stored.started_ns),
        duration_ns: stored.duration_ns,
        counts: stored.counts.clone(),
        bars: stored.bars.clone(),
        wire: None,
    }
}

fn unparsed(counts: &Counts) -> u64 {
    counts.of(|protocol| protocol == Protocol::Unparsed)
}
