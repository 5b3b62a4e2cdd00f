//! What the timeline's bars are stacked from, and the colours of protocols: one table for
//! pictures and pages.

use super::{Report, Timeline};

/// Red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour(pub(super) u8, pub(super) u8, pub(super) u8);

/// One layer of the stacked bars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    /// Protocol, or [`OTHER`].
    pub(super) name: String,
    /// Same protocol, same colour, in every picture of a report.
    pub(super) colour: Colour,
    /// Packets per bin of the timeline.
    pub(super) bins: Vec<u64>,
    /// Bytes per bin.
    pub(super) bytes: Vec<u64>,
    /// Sum of `bins`.
    pub(super) packets: u64,
}

/// Layers at most, [`OTHER`] included: more could not be told apart.
pub(super) const MAX_SERIES: usize = 8;
/// Layer of everything that has none of its own.
pub(super) const OTHER: &str = "other";

/// Okabe and Ito's colours for those who see colours differently
/// (<https://jfly.uni-koeln.de/color/>), the most frequent protocols first.
const FIXED: [(&str, Colour); 8] = [
    ("tcp", Colour(0x00, 0x72, 0xB2)),
    ("udp", Colour(0xE6, 0x9F, 0x00)),
    ("dns", Colour(0x00, 0x9E, 0x73)),
    ("icmp", Colour(0xD5, 0x5E, 0x00)),
    ("icmp6", Colour(0x56, 0xB4, 0xE9)),
    ("arp", Colour(0xCC, 0x79, 0xA7)),
    ("igmp", Colour(0xF0, 0xE4, 0x42)),
    ("unparsed", Colour(0x55, 0x5B, 0x66)),
];
/// Paul Tol's muted scheme (<https://sronpersonalpages.nl/~pault/>), for any other name.
const SPARE: [Colour; 8] = [
    Colour(0x33, 0x22, 0x88),
    Colour(0x44, 0xAA, 0x99),
    Colour(0x88, 0x22, 0x55),
    Colour(0xDD, 0xCC, 0x77),
    Colour(0x11, 0x77, 0x33),
    Colour(0xCC, 0x66, 0x77),
    Colour(0x99, 0x99, 0x33),
    Colour(0xAA, 0x44, 0x99),
];
const OTHER_COLOUR: Colour = Colour(0xA9, 0xAF, 0xB8);

/// The layers of `report`'s timeline, most packets first, [`OTHER`] last. In every bin they sum
/// to `timeline.bins` and `timeline.bytes`.
pub(super) fn of(report: &Report) -> Vec<Series> {
    let timeline = &report.timeline;
    let mut ranked: Vec<(&String, u64)> = timeline
        .by_protocol
        .iter()
        .map(|(name, bins)| (name, bins.iter().sum()))
        .filter(|&(_, packets)| packets > 0)
        .collect();
    ranked.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    if ranked.len() > MAX_SERIES {
        ranked.truncate(MAX_SERIES - 1);
    }
    let mut series = Vec::with_capacity(MAX_SERIES);
    for (name, packets) in ranked {
        series.push(Series {
            name: name.clone(),
            colour: colour(name, &series),
            bins: padded(&timeline.by_protocol[name], timeline.bins.len()),
            bytes: padded(
                timeline
                    .bytes_by_protocol
                    .get(name)
                    .map_or(&[], Vec::as_slice),
                timeline.bins.len(),
            ),
            packets,
        });
    }
    series.extend(rest(timeline, &series));
    series
}

/// Colour of a protocol in the tables beside a chart of `series`.
pub(super) fn colour_of(name: &str, series: &[Series]) -> Colour {
    series
        .iter()
        .find(|layer| layer.name == name)
        .map_or(OTHER_COLOUR, |layer| layer.colour)
}

/// The fixed colour of `name`; without one, a spare that its name chooses and no layer has yet.
fn colour(name: &str, taken: &[Series]) -> Colour {
    if let Some((_, colour)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        return *colour;
    }
    let start = name.bytes().map(usize::from).sum::<usize>();
    (0..SPARE.len())
        .map(|step| SPARE[(start + step) % SPARE.len()])
        .find(|spare| taken.iter().all(|layer| layer.colour != *spare))
        .unwrap_or(OTHER_COLOUR)
}

/// What `series` leaves of each bin; `None` if nothing.
fn rest(timeline: &Timeline, series: &[Series]) -> Option<Series> {
    let left = |totals: &[u64], of: fn(&Series) -> &[u64]| -> Vec<u64> {
        (0..timeline.bins.len())
            .map(|bin| {
                let shown: u64 = series.iter().map(|layer| of(layer)[bin]).sum();
                let total = totals.get(bin).copied().unwrap_or(0);
                total.saturating_sub(shown)
            })
            .collect()
    };
    let bins = left(&timeline.bins, |layer| &layer.bins);
    let bytes = left(&timeline.bytes, |layer| &layer.bytes);
    let packets = bins.iter().sum();
    (packets > 0).then(|| Series {
        name: OTHER.to_owned(),
        colour: OTHER_COLOUR,
        bins,
        bytes,
        packets,
    })
}

fn padded(bins: &[u64], len: usize) -> Vec<u64> {
    bins.iter()
        .copied()
        .chain(std::iter::repeat(0))
        .take(len)
        .collect()
}

impl std::fmt::Display for Colour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn layers_sum_to_the_bins() {
        for report in [
            example::report(),
            example::with_protocols(15),
            example::with_bins(1000),
        ] {
            let series = of(&report);
            for (bin, &packets) in report.timeline.bins.iter().enumerate() {
                let stacked: u64 = series.iter().map(|layer| layer.bins[bin]).sum();
                assert_eq!(stacked, packets, "bin {bin}");
                let stacked: u64 = series.iter().map(|layer| layer.bytes[bin]).sum();
                assert_eq!(stacked, report.timeline.bytes[bin], "bytes of bin {bin}");
            }
        }
    }

    #[test]
    fn more_protocols_than_colours_share_a_layer() {
        let series = of(&example::with_protocols(15));
        assert_eq!(series.len(), MAX_SERIES);
        assert_eq!(series.last().map(|layer| layer.name.as_str()), Some(OTHER));
    }

    #[test]
    fn eight_protocols_need_no_other() {
        let series = of(&example::with_protocols(8));
        assert_eq!(series.len(), 8);
        assert!(series.iter().all(|layer| layer.name != OTHER));
    }

    #[test]
    fn colours_differ() {
        let series = of(&example::with_protocols(15));
        for (index, layer) in series.iter().enumerate() {
            assert!(series[..index].iter().all(|l| l.colour != layer.colour));
        }
        assert_eq!(colour_of("tcp", &series), FIXED[0].1);
    }

    #[test]
    fn protocols_missing_from_the_layers_are_not_dropped() {
        let mut report = example::report();
        report.timeline.by_protocol.clear();
        let series = of(&report);
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].packets, report.totals.packets);
    }
}
