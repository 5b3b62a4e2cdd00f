//! From arguments to settings.

use std::time::Duration;

use crate::{
    cli::{CaptureArgs, Condition, DEFAULT_SNAPLEN},
    command::selection::selection,
    kernel::Settings,
};

pub(super) fn settings(args: &CaptureArgs) -> Settings {
    Settings {
        selection: selection(&args.protocols),
        count: count(args),
        snaplen: if args.files.write.is_some() || args.print {
            snaplen(args)
        } else {
            0
        },
        sample: args.sample,
        summaries: !args.counters_only,
        ring_bytes: args.buffer_size,
        planned: planned(args),
        bins: args.output.bins,
        diagnostics: args.output.verbose > 1,
    }
}

/// The planned length; `None` = until stopped.
pub(super) fn planned(args: &CaptureArgs) -> Option<Duration> {
    let stops = args.files.autostop.iter().filter_map(|stop| match stop {
        Condition::Duration(seconds) => Some(Duration::from_secs(u64::from(*seconds))),
        _ => None,
    });
    let duration = Some(args.duration).filter(|duration| !duration.is_zero());
    stops.chain(duration).min()
}

/// Frames to match; `None` = no limit.
fn count(args: &CaptureArgs) -> Option<u64> {
    let stops = args.files.autostop.iter().filter_map(|stop| match stop {
        Condition::Packets(packets) => Some(*packets),
        _ => None,
    });
    stops.chain(args.count).min()
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
