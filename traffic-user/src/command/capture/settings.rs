//! From arguments to settings.

use std::time::Duration;

use crate::{
    cli::{CaptureArgs, DEFAULT_SNAPLEN},
    command::selection::selection,
    kernel::Settings,
};

pub(super) fn settings(args: &CaptureArgs) -> Settings {
    Settings {
        selection: selection(&args.protocols),
        count: args.count,
        snaplen: if args.write.is_some() {
            snaplen(args)
        } else {
            0
        },
        sample: args.sample,
        summaries: !args.counters_only,
        ring_bytes: args.buffer_size,
        planned: planned(args),
        bins: args.output.bins,
        timing: args.live || args.listen.is_some(),
        diagnostics: args.output.verbose > 1,
    }
}

/// The planned length; `None` = until stopped.
pub(super) fn planned(args: &CaptureArgs) -> Option<Duration> {
    (!args.duration.is_zero()).then_some(args.duration)
}

pub(super) fn snaplen(args: &CaptureArgs) -> u32 {
    if args.snapshot_length == 0 {
        DEFAULT_SNAPLEN
    } else {
        args.snapshot_length
    }
}

/// `--protocol` as the report shows it; empty for everything.
pub(super) fn filter_text(args: &CaptureArgs) -> String {
    if selection(&args.protocols).is_everything() {
        return String::new();
    }
    let names: Vec<String> = args
        .protocols
        .iter()
        .map(|protocol| format!("{protocol:?}").to_lowercase())
        .collect();
    names.join(" or ")
}
