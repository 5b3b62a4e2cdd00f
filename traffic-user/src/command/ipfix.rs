//! Flows on their way to a collector.

use anyhow::{Context as _, Result};

use crate::{
    cli::FlowArgs,
    flows::Flows,
    ipfix::{Collector, Exported, Exporter, Layout, Overflow, Settings},
    report::Ledger,
    sandbox::Policy,
    stages::Stages,
};

/// The flows that are asked for, of which `top` are shown; `is_stored` where a database asks for
/// them too.
pub(super) fn flows(args: &FlowArgs, top: usize, is_stored: bool) -> Option<Flows> {
    let flows = Flows::new(args.settings(top, is_stored)?);
    Some(if args.ipfix.is_some() || is_stored {
        flows.keeping_ended()
    } else {
        flows
    })
}

/// Opens the way to the collector, if one was named; before privileges are given up.
///
/// # Errors
/// When its name is unknown, or no socket is to be had.
pub(super) fn open(args: &FlowArgs, overflow: Overflow) -> Result<Option<Exporter>> {
    let Some(collector) = &args.ipfix else {
        return Ok(None);
    };
    let settings = Settings {
        collector: collector.clone(),
        domain: args.ipfix_domain,
        layout: if args.ipfix_uniflow {
            Layout::Uniflow
        } else {
            Layout::Biflow
        },
        overflow,
    };
    let exporter = Exporter::open(&settings);
    let exporter = exporter.with_context(|| format!("export flows to {collector} (--ipfix)"))?;
    Ok(Some(exporter))
}

/// Says what the exporter still needs.
pub(super) fn needs(args: &FlowArgs, policy: &mut Policy) {
    let collector = args.ipfix.as_ref();
    if let Some(port) = collector.and_then(Collector::reconnects_to) {
        policy.connect_to(port);
    }
}

/// Begins to export; after privileges were given up.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn begin(exporter: Exporter) -> Result<Exporter> {
    exporter.begin().context("start the export of flows")
}

/// Gives the flows that have ended to the collector.
pub(super) fn export(stages: &mut Stages, exporter: &mut Exporter) {
    for flow in stages.ended_flows() {
        exporter.flow(&flow);
    }
}

/// Enters what became of the flow records.
pub(super) fn enter(ledger: &mut Ledger, exported: Option<Exported>) {
    ledger.ipfix_sent = exported.map(|exported| exported.sent);
    ledger.ipfix_lost = exported.map(|exported| exported.lost);
}
