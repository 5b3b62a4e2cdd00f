//! From the kernel's running counters to rows that say what each bin added.

use std::collections::HashMap;

use traffic_ebpf::{
    parse::ParseError,
    protocol::Protocol,
    tally::{Count, Counters, IP_VERSIONS, Tally},
};

use super::table::{Bin, Change, Rows, TallyRow, TimelineRow};
use crate::{counts::Leaf, snapshot::Snapshot};

/// The kernel's counters that a ledger needs, by their names in the report.
pub const TALLIES: [(Tally, &str); 8] = [
    (Tally::Seen, "seen"),
    (Tally::FilteredOut, "filtered_out"),
    (Tally::Matched, "matched"),
    (Tally::FramesSampledOut, "frames_sampled_out"),
    (Tally::FramesLost, "frames_lost_ring_full"),
    (Tally::ExcerptsLost, "excerpts_lost"),
    (Tally::WirePackets, "wire_packets"),
    (Tally::WireBytes, "wire_bytes"),
];

/// Begins the name of a tally of packets whose headers were not whole and consistent.
pub const MALFORMED: &str = "malformed:";

/// IP versions in the order of the kernel's counters.
const IP_VERSION: [u8; IP_VERSIONS] = [0, 4, 6];

/// Directions in the order of places.
const DIRECTION: [&str; 2] = ["ingress", "egress"];

/// What was counted up to the end of the last bin.
#[derive(Clone, Debug, Default)]
pub struct Differences {
    cells: HashMap<(usize, Leaf, u8), Count>,
    tallies: HashMap<(usize, &'static str), u64>,
    run: HashMap<&'static str, u64>,
}

impl Differences {
    /// Appends what `snapshot` counted since the last call, per interface (by its number in
    /// `interfaces`), direction, protocol and IP version.
    pub fn timeline(
        &mut self,
        bin: &Bin<'_>,
        interfaces: &[&str],
        snapshot: &Snapshot,
        rows: &mut Rows,
    ) {
        for (place, leaf, ip_version, count) in cells(snapshot) {
            let before = self.cells.entry((place, leaf, ip_version)).or_default();
            let change = |now: u64, before: u64| Change {
                now: now.saturating_sub(before),
                before,
            };
            let packets = change(count.packets, before.packets);
            let bytes = change(count.bytes, before.bytes);
            if packets.now == 0 && bytes.now == 0 {
                continue;
            }
            before.packets += packets.now;
            before.bytes += bytes.now;
            let row = TimelineRow {
                interface: interface(interfaces, place),
                direction: DIRECTION[place % 2],
                protocol: &leaf.to_string(),
                transport: leaf.transport(),
                ip_version,
                packets,
                bytes,
            };
            rows.timeline(bin, &row);
        }
    }

    /// Appends what the kernel's other counters counted since the last call, and what `run` says
    /// of the run as a whole: counters that only grow, by their names.
    pub fn tallies(
        &mut self,
        bin: &Bin<'_>,
        interfaces: &[&str],
        snapshot: &Snapshot,
        run: &[(&'static str, u64)],
        rows: &mut Rows,
    ) {
        for (place, counters) in snapshot.places.iter().enumerate() {
            for (name, malformed, value) in tallies_of(counters) {
                let before = self.tallies.entry((place, name)).or_default();
                let prefix = if malformed { MALFORMED } else { "" };
                let row = TallyRow {
                    interface: interface(interfaces, place),
                    direction: DIRECTION[place % 2],
                    name: &format!("{prefix}{name}"),
                    value: step(before, value),
                };
                tally(bin, &row, rows);
            }
        }
        for (name, value) in run {
            let row = TallyRow {
                interface: "",
                direction: "",
                name,
                value: step(self.run.entry(name).or_default(), *value),
            };
            tally(bin, &row, rows);
        }
    }
}

fn tally(bin: &Bin<'_>, row: &TallyRow<'_>, rows: &mut Rows) {
    if row.value.now > 0 {
        rows.tally(bin, row);
    }
}

fn step(before: &mut u64, value: u64) -> Change {
    let change = Change {
        now: value.saturating_sub(*before),
        before: *before,
    };
    *before += change.now;
    change
}

fn interface<'a>(interfaces: &[&'a str], place: usize) -> &'a str {
    interfaces.get(place / 2).copied().unwrap_or_default()
}

/// Every counter of frames and bytes: place, class, IP version.
fn cells(snapshot: &Snapshot) -> impl Iterator<Item = (usize, Leaf, u8, Count)> {
    let places = snapshot.places.iter().enumerate();
    let whole = places.flat_map(|(place, counters)| {
        let versions = IP_VERSION.into_iter().zip(&counters.protocols);
        versions.flat_map(move |(version, counts)| {
            let leaves = Protocol::all().map(Leaf::Whole).zip(counts);
            leaves.map(move |(leaf, count)| (place, leaf, version, *count))
        })
    });
    let numbered = snapshot.numbered.iter().map(|(key, count)| {
        let place = usize::try_from(key.place).unwrap_or(usize::MAX);
        (place, Leaf::from(key), key.ip_version, *count)
    });
    whole.chain(numbered)
}

/// Name, whether it is the reason of a malformed packet, and value.
fn tallies_of(counters: &Counters) -> impl Iterator<Item = (&'static str, bool, u64)> {
    let errors = ParseError::ALL.iter().zip(counters.errors);
    let errors = errors.map(|(error, count)| (error.label(), true, count));
    TALLIES
        .iter()
        .map(|(tally, name)| (*name, false, counters.tally(*tally)))
        .chain(errors)
}

#[cfg(test)]
mod tests {
    use traffic_ebpf::{tally::version_index, timeline::Shape};

    use super::*;

    const BIN: Bin<'_> = Bin {
        host: "h",
        run: 1,
        start_ns: 0,
        end_ns: 1,
    };

    #[test]
    fn bins_add_up_to_the_counters() {
        let interfaces = ["eth0"];
        let mut differences = Differences::default();
        let mut sizes = Vec::new();
        for packets in [5, 5, 7] {
            let mut rows = Rows::default();
            differences.timeline(&BIN, &interfaces, &snapshot(packets), &mut rows);
            sizes.push(rows.count);
        }
        assert_eq!(sizes, [1, 0, 1]);
        let cell = (1, Leaf::Whole(Protocol::DnsTcp), 4);
        assert_eq!(differences.cells[&cell].packets, 7);
    }

    #[test]
    fn a_row_says_what_was_before_it() {
        let interfaces = ["eth0"];
        let mut differences = Differences::default();
        let mut rows = Rows::default();
        differences.timeline(&BIN, &interfaces, &snapshot(5), &mut rows);
        let mut second = Rows::default();
        differences.timeline(&BIN, &interfaces, &snapshot(7), &mut second);
        let mut expected = Rows::default();
        let change = |now, before| Change { now, before };
        let row = TimelineRow {
            interface: "eth0",
            direction: "egress",
            protocol: "dns",
            transport: "tcp",
            ip_version: 4,
            packets: change(2, 5),
            bytes: change(200, 500),
        };
        expected.timeline(&BIN, &row);
        assert_eq!(second, expected);
    }

    #[test]
    fn tallies_are_by_interface_or_of_the_run() {
        let mut differences = Differences::default();
        let mut rows = Rows::default();
        let mut snapshot = snapshot(5);
        snapshot.places[1].tallies[Tally::Seen as usize] = 9;
        snapshot.places[1].errors[ParseError::TruncatedArp as usize - 1] = 2;
        let run = [("summaries_delivered", 4), ("summaries_lost", 0)];
        differences.tallies(&BIN, &["eth0"], &snapshot, &run, &mut rows);
        assert_eq!(rows.count, 3);
        differences.tallies(&BIN, &["eth0"], &snapshot, &run, &mut rows);
        assert_eq!(rows.count, 3);
    }

    fn snapshot(packets: u64) -> Snapshot {
        let mut egress = Counters::ZERO;
        egress.protocols[version_index(4)][Protocol::DnsTcp as usize] = Count {
            packets,
            bytes: 100 * packets,
        };
        Snapshot {
            places: vec![Counters::ZERO, egress],
            numbered: Vec::new(),
            shape: Shape {
                width_ns: 1,
                half: 1,
                levels: 1,
            },
            slots: Vec::new(),
            slot_numbered: Vec::new(),
        }
    }
}
