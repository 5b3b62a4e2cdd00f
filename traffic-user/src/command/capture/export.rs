//! A capture's rows on their way to a fleet's database.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{runtime::Builder, time::timeout};

use super::take::Take;
use crate::{
    cli::{CaptureArgs, ExportArgs},
    command::fleet::connect,
    fleet::{
        counters::Differences,
        exporter::{Exported, Exporter, Outbox},
        flows::FlowRows,
        parcel::{Batch, Parcel},
        schema,
        store::{Store, StoreError},
        table::{Bin, CaptureRow, Rows, Table},
    },
    kernel::{self, Attached},
    report::{Ledger, Report},
    sandbox::Policy,
    snapshot::Snapshot,
};

/// Width of the timeline's bins.
const BIN_NS: u64 = 1_000_000_000;
/// Rows wait at most this long for others to be sent with.
const MOST_BINS: u32 = 5;
/// So many rows are sent at once.
const MOST_ROWS: u32 = 50_000;
/// How long a capture waits for a server before it begins without it.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is exported of a run.
pub(super) struct Export {
    exporter: Exporter,
    differences: Differences,
    host: String,
    run: u64,
    started_ns: u64,
    /// End of the last bin, in nanoseconds since the gate opened.
    last_ns: u64,
    bins: u32,
    sequence: u64,
    timeline: Rows,
    tallies: Rows,
}

/// What is ready before the process gives up its privileges; threads are started after that.
pub(super) struct Prepared {
    store: Store,
    outbox: Outbox,
    host: String,
    run: u64,
    /// What the user should know, where the server is away.
    pub(super) note: Option<String>,
}

/// Prepares the export, if one was asked for.
///
/// # Errors
/// When the server says that it will not take the rows, or the spool cannot be used.
pub(super) fn prepare(args: &CaptureArgs) -> Result<Option<Prepared>> {
    let ExportArgs {
        to: Some(target),
        password_file,
        spool,
        spool_size,
        host_name,
    } = &args.export
    else {
        return Ok(None);
    };
    let store = connect(target, password_file.as_deref())?;
    let note = ask(connect(target, password_file.as_deref())?)?;
    let run = RandomState::new().build_hasher().finish();
    let outbox = Outbox::open(spool, *spool_size, (now_ns(), run))
        .with_context(|| format!("export to {target} over {} (--spool)", spool.display()))?;
    Ok(Some(Prepared {
        store,
        outbox,
        host: host_name.clone().unwrap_or_else(kernel::hostname),
        run,
        note,
    }))
}

/// What exporting needs: the server's port, the names of hosts, and the spool.
pub(super) fn needs(args: &ExportArgs, policy: &mut Policy) {
    if let Some(target) = &args.to {
        policy.connect_to(target.port);
        policy.read(Path::new("/etc"));
        policy.make_files_in(&args.spool);
    }
}

/// Looks whether the server has the tables. The threads that this takes, to find its address, end
/// with it.
fn ask(store: Store) -> Result<Option<String>> {
    let asking = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.context("start a runtime")?.block_on(check(&store))
    });
    asking
        .join()
        .map_err(|_| anyhow!("asking the server panicked"))?
}

async fn check(store: &Store) -> Result<Option<String>> {
    let target = store.target();
    let away = |error: &str| {
        Ok(Some(format!(
            "{target} is away ({error}): rows wait in the spool"
        )))
    };
    match timeout(PATIENCE, schema::version(store)).await {
        Err(_) => away(&format!("no answer within {PATIENCE:?}")),
        Ok(Err(StoreError::Unreachable(error))) => away(&error),
        Ok(Err(error)) => Err(error).with_context(|| format!("ask {target}")),
        Ok(Ok(schema::VERSION)) => Ok(None),
        Ok(Ok(0)) => bail!("{target} has no tables (make them: traffic fleet init --to {target})"),
        Ok(Ok(version)) => bail!(
            "the tables of {target} have version {version}, not {} (bring them up to date: traffic \
             fleet init --to {target}, of the newest version in the fleet)",
            schema::VERSION
        ),
    }
}

impl Prepared {
    /// What takes the flows that end.
    pub(super) fn flows(&self) -> FlowRows {
        FlowRows::new(self.host.clone(), self.run, now_ns())
    }

    /// Starts the thread that exports.
    ///
    /// # Errors
    /// When there is none to be had.
    pub(super) fn start(self) -> Result<Export> {
        Ok(Export {
            exporter: self.outbox.start(self.store)?,
            differences: Differences::default(),
            host: self.host,
            run: self.run,
            started_ns: 0,
            last_ns: 0,
            bins: 0,
            sequence: 0,
            timeline: Rows::default(),
            tallies: Rows::default(),
        })
    }
}

impl Export {
    /// The gate is open: the run is entered into the list of captures.
    pub(super) fn begin(&mut self, started_ns: u64, report: &Report) {
        self.started_ns = started_ns;
        let rows = self.capture_row(0, report, "");
        self.send(vec![(Table::Captures, rows)]);
    }

    /// Whether a bin has ended, so many nanoseconds after the gate opened.
    pub(super) fn is_due(&self, elapsed_ns: u64) -> bool {
        (self.started_ns + elapsed_ns) / BIN_NS > (self.started_ns + self.last_ns) / BIN_NS
    }

    /// Takes what was counted up to `elapsed_ns` after the gate opened.
    pub(super) fn bin(
        &mut self,
        elapsed_ns: u64,
        attached: &[Attached],
        snapshot: &Snapshot,
        take: &mut Take,
    ) {
        let flowless = take.stages.flowless();
        let run = [
            ("summaries_delivered", take.stages.delivered()),
            ("summaries_lost", snapshot.summaries_lost()),
            ("flowless_packets", flowless.packets),
            ("flowless_bytes", flowless.bytes),
        ];
        self.count(elapsed_ns, attached, snapshot, &run);
        self.bins += 1;
        if let Some(rows) = &mut take.rows {
            self.flows(rows);
        }
        if self.bins >= MOST_BINS || self.timeline.count >= MOST_ROWS {
            let rest = take.rows.as_mut().map(FlowRows::take_rest);
            self.send(vec![(Table::Flows, rest.unwrap_or_default())]);
        }
    }

    /// Sends the flows of which there are enough.
    fn flows(&mut self, rows: &mut FlowRows) {
        for batch in rows.take_full() {
            self.push(vec![(Table::Flows, batch)]);
        }
    }

    /// What the user should know.
    pub(super) fn news(&self) -> Vec<String> {
        self.exporter.news()
    }

    /// Sends what is left, with the last flows and the report's ledger, and enters into that what
    /// became of the rows.
    pub(super) fn finish(
        mut self,
        duration_ns: u64,
        attached: &[Attached],
        snapshot: &Snapshot,
        flows: Option<FlowRows>,
        report: &mut Report,
    ) {
        self.count(duration_ns, attached, snapshot, &run_tallies(report));
        let rest = flows.map(|mut flows| {
            self.flows(&mut flows);
            flows.take_rest()
        });
        enter(&mut report.ledger, self.exporter.exported());
        let ended_ns = self.started_ns + duration_ns;
        let ledger = json(&report.ledger);
        let rows = self.capture_row(ended_ns, report, &ledger);
        self.send(vec![
            (Table::Flows, rest.unwrap_or_default()),
            (Table::Captures, rows),
        ]);
        let (exported, news) = self.exporter.finish();
        enter(&mut report.ledger, exported);
        report.notes.extend(news);
    }

    fn count(
        &mut self,
        elapsed_ns: u64,
        attached: &[Attached],
        snapshot: &Snapshot,
        run: &[(&'static str, u64)],
    ) {
        let interfaces: Vec<_> = attached.iter().map(|a| a.interface.name.as_str()).collect();
        let bin = Bin {
            host: &self.host,
            run: self.run,
            start_ns: self.started_ns + self.last_ns,
            end_ns: self.started_ns + elapsed_ns,
        };
        let Self {
            differences,
            timeline,
            tallies,
            ..
        } = self;
        differences.timeline(&bin, &interfaces, snapshot, timeline);
        differences.tallies(&bin, &interfaces, snapshot, run, tallies);
        self.last_ns = elapsed_ns;
    }

    fn capture_row(&self, ended_ns: u64, report: &Report, ledger: &str) -> Rows {
        let mut rows = Rows::default();
        rows.capture(&CaptureRow {
            host: &self.host,
            run: self.run,
            started_ns: self.started_ns,
            ended_ns,
            updated_ns: now_ns(),
            version: &report.generator,
            settings: &json(&report.source),
            interfaces: &json(&report.interfaces),
            ledger,
        });
        rows
    }

    /// Sends what was counted, and `more`.
    fn send(&mut self, more: Vec<(Table, Rows)>) {
        let mut batches = vec![
            (Table::Timeline, std::mem::take(&mut self.timeline)),
            (Table::Tallies, std::mem::take(&mut self.tallies)),
        ];
        batches.extend(more);
        self.push(batches);
        self.bins = 0;
    }

    fn push(&mut self, batches: Vec<(Table, Rows)>) {
        let batches = batches.into_iter().filter(|(_, rows)| rows.count > 0);
        self.exporter.push(Parcel {
            run: self.run,
            sequence: self.sequence,
            batches: batches.map(|(table, rows)| Batch { table, rows }).collect(),
        });
        self.sequence += 1;
    }
}

/// Counters of the run as a whole, by their names in the ledger.
fn run_tallies(report: &Report) -> [(&'static str, u64); 7] {
    let ledger = &report.ledger;
    let flowless = report.flows.as_ref();
    let flowless = flowless.map(|flows| (flows.other_packets, flows.other_bytes));
    let (flowless_packets, flowless_bytes) = flowless.unwrap_or_default();
    [
        (
            "summaries_delivered",
            ledger.summaries_delivered.unwrap_or(0),
        ),
        ("summaries_lost", ledger.summaries_lost.unwrap_or(0)),
        ("flowless_packets", flowless_packets),
        ("flowless_bytes", flowless_bytes),
        ("frames_written", ledger.frames_written),
        ("frames_lost_write_failed", ledger.frames_lost.write_failed),
        ("history_evicted", ledger.history_evicted),
    ]
}

fn enter(ledger: &mut Ledger, exported: Exported) {
    ledger.export_rows = Some(exported.rows);
    ledger.export_stored = Some(exported.stored);
    ledger.export_waiting = Some(exported.waiting);
    ledger.export_lost = Some(exported.lost);
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("reports hold texts and numbers alone")
}

fn now_ns() -> u64 {
    u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0)
}
