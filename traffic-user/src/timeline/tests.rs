use proptest::prelude::*;
use traffic_ebpf::protocol::Class;

use super::*;

const TCP: Leaf = Leaf::Whole(Protocol::Tcp);
const OSPF: Leaf = Leaf::Numbered(Class {
    protocol: Protocol::OtherIp,
    number: 89,
});

/// Slots 0 to 7 are 10 ns wide, 8 to 11 are 20 ns.
const SHAPE: Shape = Shape {
    width_ns: 10,
    half: 4,
    levels: 2,
};

#[test]
fn slots_become_bars_by_their_middle() {
    let slots = [
        (0, slot(Protocol::Tcp, 1)),
        (3, slot(Protocol::Tcp, 2)),
        (4, slot(Protocol::DnsUdp, 4)),
        (7, slot(Protocol::DnsTcp, 8)),
    ];
    let numbered = [(ospf_in_slot(5), count(16))];
    let bars = Bars::from_slots(&SHAPE, slots, &numbered, 80, 2);
    assert_eq!(bars.packets, [3, 28]);
    assert_eq!(bars.bytes, [300, 2800]);
    assert_eq!(bars.lost, [2, 2]);
    assert_eq!(bars.by_protocol["tcp"], [3, 0]);
    assert_eq!(bars.by_protocol["dns"], [0, 12]);
    assert_eq!(bars.by_protocol["ip-proto-89"], [0, 16]);
    assert_eq!(bars.by_protocol.len(), 3);
    assert_eq!(bars.bytes_by_protocol["dns"], [0, 1200]);
    assert_eq!(bars.bytes_by_protocol.len(), 3);
    assert!((bars.width_s() - 40e-9).abs() < 1e-18);
}

#[test]
fn the_slot_in_which_the_gate_closed_counts_up_to_the_close() {
    // Slot 8 covers 80..100 ns; the gate closed at 84 ns, so its middle is 82.
    let bars = Bars::from_slots(&SHAPE, [(8, slot(Protocol::Tcp, 5))], &[], 84, 42);
    assert_eq!(bars.packets[41], 5);
}

#[test]
fn packets_after_the_close_are_in_the_last_bar() {
    let slots = [(0, slot(Protocol::Tcp, 1)), (9, slot(Protocol::Tcp, 5))];
    let bars = Bars::from_slots(&SHAPE, slots, &[(ospf_in_slot(11), count(7))], 40, 4);
    assert_eq!(bars.packets, [1, 0, 0, 12]);
    let bars = Bars::from_slots(&SHAPE, slots, &[], 0, 2);
    assert_eq!(bars.packets, [1, 5]);
}

#[test]
fn the_last_packet_of_a_file_is_in_the_last_bar() {
    let mut timeline = Timeline::default();
    for (time, leaf) in [(130, OSPF), (100, TCP), (109, TCP), (110, TCP), (120, TCP)] {
        timeline.add(time, leaf, 60);
    }
    let bars = timeline.bars(3);
    assert_eq!(bars.span_ns, 30);
    assert_eq!(bars.packets, [2, 1, 2]);
    assert_eq!(bars.bytes, [120, 60, 120]);
    assert_eq!(bars.by_protocol["tcp"], [2, 1, 1]);
    assert_eq!(bars.by_protocol["ip-proto-89"], [0, 0, 1]);
}

#[test]
fn packets_of_one_time_are_in_the_first_bar_of_a_second() {
    let mut timeline = Timeline::default();
    timeline.add(u64::MAX, TCP, 60);
    timeline.add(u64::MAX, TCP, 60);
    let bars = timeline.bars(4);
    assert_eq!(bars.packets, [2, 0, 0, 0]);
    assert!((bars.width_s() - 0.25).abs() < 1e-12);
}

#[test]
fn many_packets_are_spread_as_they_came() {
    let mut timeline = Timeline::default();
    // 200,001 packets, 1 µs apart, from the middle outwards.
    timeline.add(1_000_000_000, TCP, 60);
    for step in 1..=100_000 {
        timeline.add(1_000_000_000 + step * 1000, TCP, 60);
        timeline.add(1_000_000_000 - step * 1000, TCP, 60);
    }
    assert!(timeline.exact.is_empty());
    let bars = timeline.bars(10);
    assert_eq!(bars.span_ns, 200_000_000);
    assert_eq!(bars.packets.iter().sum::<u64>(), 200_001);
    // A slot holds at most 200,001 / 2,048 packets; half of one may stray over each edge.
    for packets in bars.packets {
        assert!(packets.abs_diff(20_000) <= 98, "{packets}");
    }
}

proptest! {
    #[test]
    fn bins_sum_to_packets_from_the_kernel(
        slots in prop::collection::vec((0u32..20, 0u64..100), 0..40),
        numbered in prop::collection::vec((0u32..20, 0u64..100), 0..10),
        span in 0u64..1000,
        bins in 1u32..50,
    ) {
        let total: u64 = slots.iter().chain(&numbered).map(|(_, packets)| packets).sum();
        let numbered: Vec<_> =
            numbered.iter().map(|(slot, n)| (ospf_in_slot(*slot), count(*n))).collect();
        let slots = slots.into_iter().map(|(index, n)| (index, slot(Protocol::Udp, n)));
        let bars = Bars::from_slots(&SHAPE, slots, &numbered, span, bins);
        prop_assert_eq!(bars.packets.len(), bins as usize);
        prop_assert_eq!(bars.packets.iter().sum::<u64>(), total);
        prop_assert_eq!(bars.by_protocol.values().flatten().sum::<u64>(), total);
        prop_assert_eq!(bars.bytes.iter().sum::<u64>(), 100 * total);
    }

    #[test]
    fn folded_slots_lose_nothing_and_stay_near(
        times in prop::collection::vec(
            prop_oneof![0u64..1000, any::<u64>(), 1_000_000_000u64..2_000_000_000],
            1..200,
        ),
        bins in 1u32..40,
    ) {
        let mut exact = Timeline::default();
        let mut slots = Slots::new(times[0], times[0]);
        let (mut first, mut last) = (times[0], times[0]);
        for (time, leaf) in times.iter().zip([TCP, OSPF].into_iter().cycle()) {
            exact.add(*time, leaf, 60);
            (first, last) = (first.min(*time), last.max(*time));
            let moment = Moment { time_ns: *time, bytes: 60, leaf };
            slots.add(moment, first, last);
            prop_assert_eq!(slots.base, first >> slots.shift);
        }
        let folded = Timeline { first_ns: first, last_ns: last, exact: vec![], slots: Some(slots) };
        let (exact, folded) = (exact.bars(bins), folded.bars(bins));
        let count = times.len() as u64;
        prop_assert_eq!(folded.packets.iter().sum::<u64>(), count);
        prop_assert_eq!(folded.bytes.iter().sum::<u64>(), 60 * count);
        for (name, series) in &exact.by_protocol {
            let total = folded.by_protocol[name].iter().sum::<u64>();
            prop_assert_eq!(total, series.iter().sum::<u64>());
            let bytes = folded.bytes_by_protocol[name].iter().sum::<u64>();
            prop_assert_eq!(bytes, 60 * total);
        }
        // Running totals differ only by what lies within one slot of the edge.
        let slot = (last - first) / 2047 + 1;
        for bar in 1..u128::from(bins) {
            let edge = u128::from(first) + bar * u128::from(exact.span_ns) / u128::from(bins);
            let near = times.iter().filter(|t| u128::from(**t).abs_diff(edge) <= u128::from(slot));
            let upto = |bars: &Bars| bars.packets[..bar as usize].iter().sum::<u64>();
            prop_assert!(upto(&exact).abs_diff(upto(&folded)) <= near.count() as u64);
        }
    }
}

fn slot(protocol: Protocol, packets: u64) -> SlotCounts {
    let mut counts = SlotCounts {
        protocols: [Count::default(); Protocol::COUNT],
        lost: 1,
        reserved: 0,
    };
    counts.protocols[protocol as usize] = count(packets);
    counts
}

fn ospf_in_slot(place: u32) -> NumberedKey {
    NumberedKey {
        place,
        number: 89,
        protocol: Protocol::OtherIp as u8,
        ip_version: 4,
    }
}

fn count(packets: u64) -> Count {
    Count {
        packets,
        bytes: 100 * packets,
    }
}
