//! From arguments to settings.

use std::time::Duration;

use anyhow::{Result, bail};

use super::file::link_type;
use crate::{
    cli::{CaptureArgs, Condition, DEFAULT_SNAPLEN, Hook},
    command::{filter::LiveFilter, selection::selection},
    filter::Translated,
    kernel::{self, Interface, Settings},
};

/// # Errors
/// When the filter does not compile for one of the interfaces.
pub(super) fn settings(args: &CaptureArgs, selected: &[Interface]) -> Result<Settings> {
    Ok(Settings {
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
        filter: filter(args, selected)?,
        diagnostics: args.output.verbose > 1,
    })
}

fn filter(args: &CaptureArgs, selected: &[Interface]) -> Result<Option<Translated>> {
    let Some(expression) = &args.filter.expression else {
        return Ok(None);
    };
    if args.hook == Hook::Xdp && !kernel::xdp_can_copy_frames() {
        bail!("filtering at XDP needs Linux 5.18 (filter with --hook tc)");
    }
    let filter = LiveFilter::new(expression, selected.iter().map(link_type))?;
    filter.translate().map(Some)
}

/// The planned length; `None` = until stopped.
pub(super) fn planned(args: &CaptureArgs) -> Option<Duration> {
    let stops = args.files.autostop.iter().filter_map(|stop| {
        if let Condition::Duration(seconds) = stop {
            Some(Duration::from_secs(u64::from(*seconds)))
        } else {
            None
        }
    });
    let duration = Some(args.duration).filter(|duration| !duration.is_zero());
    stops.chain(duration).min()
}

/// Frames to match; `None` = no limit.
fn count(args: &CaptureArgs) -> Option<u64> {
    let stops = args.files.autostop.iter().filter_map(|stop| {
        if let Condition::Packets(packets) = stop {
            Some(*packets)
        } else {
            None
        }
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

/// The filter and `--protocol` as the report shows them; empty for everything.
pub(super) fn filter_text(args: &CaptureArgs) -> String {
    let expression = args.filter.expression.as_deref();
    let protocols: Vec<String> = args
        .protocols
        .iter()
        .filter(|_| !selection(&args.protocols).is_everything())
        .map(|protocol| format!("{protocol:?}").to_lowercase())
        .collect();
    match (expression, protocols.join(" or ")) {
        (None, protocols) => protocols,
        (Some(expression), protocols) if protocols.is_empty() => expression.to_owned(),
        (Some(expression), protocols) => format!("({expression}) and ({protocols})"),
    }
}
