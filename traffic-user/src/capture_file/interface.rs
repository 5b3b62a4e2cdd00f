//! What a capture file says of its interfaces: what they are in front of their frames, and how they
//! fared behind them.

use std::{borrow::Cow, time::Duration};

use pcap_file::{
    DataLink,
    pcapng::blocks::{
        interface_description::{
            InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
        },
        interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption},
        opt_common::CommonOption,
    },
};

use super::{blocks::SAMPLING, link::LinkType, read::MAX_FRAME_BYTES};

/// What a capture file says about an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceDescription {
    /// Name.
    pub name: String,
    /// What else is known of it; empty for nothing.
    pub description: String,
    /// Hardware address.
    pub mac: Option<[u8; 6]>,
    /// Bits per second.
    pub speed_bps: Option<u64>,
    /// Link type of its frames.
    pub link_type: LinkType,
    /// Most bytes kept of a frame.
    pub snaplen: u32,
    /// Filter expression; empty for none.
    pub filter: String,
    /// One frame in this many is written; 1 for every frame.
    pub sample: u32,
}

impl InterfaceDescription {
    /// An interface of which every frame is written whole, and nothing else is known.
    #[must_use]
    pub fn new(name: &str, link_type: LinkType) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            mac: None,
            speed_bps: None,
            link_type,
            snaplen: MAX_FRAME_BYTES,
            filter: String::new(),
            sample: 1,
        }
    }
}

/// What a capture file says about an interface at the end: counts from the beginning of this file
/// on, so that those of several files add up. `None` where nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStatistics {
    /// Beginning of the file, nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// End of the file, as `start_ns`.
    pub end_ns: u64,
    /// Frames that passed the interface.
    pub received: Option<u64>,
    /// Frames that the interface had no room for.
    pub interface_dropped: Option<u64>,
    /// Frames that the filter let through.
    pub accepted: Option<u64>,
    /// Frames that were not asked for, because of sampling.
    pub sampled_out: Option<u64>,
    /// Frames that found the ring full on the way to the file.
    pub dropped: u64,
    /// Frames that reached the program.
    pub delivered: u64,
}

/// The block that describes `interface`.
pub(super) fn description_block(interface: &InterfaceDescription) -> InterfaceDescriptionBlock<'_> {
    let mut options = vec![
        InterfaceDescriptionOption::IfName(Cow::Borrowed(&interface.name)),
        InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
    ];
    if !interface.description.is_empty() {
        let description = Cow::Borrowed(interface.description.as_str());
        options.push(InterfaceDescriptionOption::IfDescription(description));
    }
    if let Some(mac) = &interface.mac {
        options.push(InterfaceDescriptionOption::IfMacAddr(Cow::Borrowed(mac)));
    }
    if let Some(speed_bps) = interface.speed_bps {
        options.push(InterfaceDescriptionOption::IfSpeed(speed_bps));
    }
    if !interface.filter.is_empty() {
        // The first byte says that a libpcap expression follows.
        let filter = [&[0], interface.filter.as_bytes()].concat();
        options.push(InterfaceDescriptionOption::IfFilter(filter.into()));
    }
    if interface.sample > 1 {
        let comment = format!("{SAMPLING}{}", interface.sample);
        options.push(InterfaceDescriptionOption::Common(CommonOption::Comment(
            comment.into(),
        )));
    }
    InterfaceDescriptionBlock {
        linktype: DataLink::from(interface.link_type.0),
        snaplen: interface.snaplen,
        options,
    }
}

/// The block that says how an interface fared.
pub(super) fn statistics_block(
    interface_id: u32,
    statistics: &InterfaceStatistics,
) -> InterfaceStatisticsBlock<'static> {
    use InterfaceStatisticsOption as Option;
    let end = Duration::from_nanos(statistics.end_ns);
    let known = [
        statistics.received.map(Option::IsbIfRecv),
        statistics.interface_dropped.map(Option::IsbIfDrop),
        statistics.accepted.map(Option::IsbFilterAccept),
        Some(Option::IsbOsDrop(statistics.dropped)),
        Some(Option::IsbUsrDeliv(statistics.delivered)),
        statistics
            .sampled_out
            .filter(|&frames| frames > 0)
            .map(|frames| {
                let comment = format!("sampled out {frames}");
                Option::Common(CommonOption::Comment(comment.into()))
            }),
    ];
    let start = Option::IsbStartTime(Duration::from_nanos(statistics.start_ns));
    InterfaceStatisticsBlock {
        interface_id,
        timestamp: end,
        options: [start, Option::IsbEndTime(end)]
            .into_iter()
            .chain(known.into_iter().flatten())
            .collect(),
    }
}
