//! From arguments to settings.

use std::time::Duration;

use anyhow::{Result, bail};

use super::file::link_type;
use crate::{
    capture_file::{Format, LinkType},
    cli::{CaptureArgs, Condition, DEFAULT_SNAPLEN, Hook},
    command::{filter::LiveFilter, selection::selection},
    filter::Translated,
    kernel::{self, Interface, Settings},
};

/// What the kernel is asked for, and the link types of frames that it can take.
///
/// # Errors
/// When the filter does not compile for one of the interfaces.
pub(super) fn settings(
    args: &CaptureArgs,
    selected: &[Interface],
) -> Result<(Settings, Vec<LinkType>)> {
    let (filter, link_types) = filter(args, link_types(args, selected))?;
    let settings = Settings {
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
        timing: args.live || args.listen.is_some(),
        filter,
        diagnostics: args.output.verbose > 1,
        joins: joins(args),
    };
    Ok((settings, link_types))
}

/// Whether interfaces may join the capture while it runs.
pub(super) fn joins(args: &CaptureArgs) -> bool {
    args.interfaces.iter().any(|name| name == kernel::ANY)
}

/// Link types of the interfaces first, then those that others may join with.
struct LinkTypes {
    needed: Vec<LinkType>,
    others: Vec<LinkType>,
}

fn link_types(args: &CaptureArgs, selected: &[Interface]) -> LinkTypes {
    let mut needed: Vec<LinkType> = Vec::new();
    for link_type in selected.iter().map(link_type) {
        if !needed.contains(&link_type) {
            needed.push(link_type);
        }
    }
    // A .pcap file has one.
    let single = args.files.write.as_deref().map(Format::of) == Some(Format::Pcap);
    let others = if joins(args) && !single {
        let all = [LinkType::ETHERNET, LinkType::RAW].into_iter();
        all.filter(|one| !needed.contains(one)).collect()
    } else {
        Vec::new()
    };
    LinkTypes { needed, others }
}

/// The filter, and the link types that it is for: also those that may join, where it says
/// something about them and there is room for it.
fn filter(args: &CaptureArgs, wanted: LinkTypes) -> Result<(Option<Translated>, Vec<LinkType>)> {
    let LinkTypes { mut needed, others } = wanted;
    let Some(expression) = &args.filter.expression else {
        needed.extend(others);
        return Ok((None, needed));
    };
    if args.hook == Hook::Xdp && !kernel::xdp_can_copy_frames() {
        bail!("filtering at XDP needs Linux 5.18 (filter with --hook tc)");
    }
    let translate = |link_types: &[LinkType]| {
        LiveFilter::new(expression, link_types.iter().copied())?.translate()
    };
    let all = [needed.clone(), others].concat();
    if let Ok(filter) = translate(&all) {
        return Ok((Some(filter), all));
    }
    Ok((Some(translate(&needed)?), needed))
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
