use std::collections::HashMap;

use proptest::prelude::*;
use traffic_ebpf::{
    protocol::Protocol,
    record::{FLAG_EGRESS, FLAG_IPV4, FLAG_IPV6, FLAG_LATER_FRAGMENT, FLAG_VLAN, Headers, Summary},
};

use super::*;
use crate::record::Direction;

const S: u64 = 1_000_000_000;
/// 2023-11-14 22:13:20 UTC.
const START: u64 = 1_700_000_000 * S;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

#[test]
fn a_connection_is_one_flow_with_its_handshake_and_first_response() {
    let mut flows = flows(settings());
    let ms = |n: u64| START + n * 1_000_000;
    let client = tcp(1, 2, 4000, 443);
    let server = tcp(2, 1, 443, 4000).egress();
    for packet in [
        client.at(ms(0)).flags(SYN),
        server.at(ms(20)).flags(SYN | ACK),
        client.at(ms(30)).flags(ACK),
        client.at(ms(31)).flags(PSH | ACK).long(400),
        server.at(ms(60)).flags(ACK),
        server.at(ms(81)).flags(PSH | ACK).long(1500),
        server.at(ms(90)).flags(FIN | ACK),
        client.at(ms(95)).flags(FIN | ACK),
        server.at(ms(99)).flags(ACK),
    ] {
        flows.add(&packet.record());
    }
    flows.tick(ms(99) + 3 * S);
    let ended = ended(&mut flows);
    let [flow] = ended.as_slice() else {
        panic!("{ended:?}");
    };
    assert_eq!(flow.src_addr.to_string(), "10.0.0.1");
    assert_eq!((flow.src_port, flow.dst_port), (4000, 443));
    assert_eq!((flow.forward.packets, flow.reverse.packets), (4, 5));
    assert_eq!(flow.forward.bytes, 3 * 100 + 400);
    assert_eq!(flow.forward.tcp_flags, SYN | ACK | PSH | FIN);
    assert_eq!(flow.forward.direction, Some(Direction::Ingress));
    assert_eq!(flow.reverse.direction, Some(Direction::Egress));
    assert_eq!(flow.handshake_ns, Some(30_000_000));
    assert_eq!(flow.response_ns, Some(50_000_000));
    assert_eq!((flow.first_ns(), flow.last_ns()), (ms(0), ms(99)));
    assert_eq!(flow.end, Some(EndReason::EndOfFlow));
}

#[test]
fn who_sends_a_syn_ack_answers() {
    let mut flows = flows(settings());
    flows.add(&tcp(2, 1, 443, 4000).at(START).flags(SYN | ACK).record());
    flows.add(&tcp(1, 2, 4000, 443).at(START - 9).flags(SYN).record());
    flows.add(&tcp(1, 2, 4000, 443).at(START + 1).flags(ACK).record());
    let flow = &flows.top(9)[0];
    assert_eq!((flow.src_port, flow.dst_port), (4000, 443));
    assert_eq!((flow.end, flow.handshake_ns), (None, Some(10)));
}

#[test]
fn a_new_syn_after_a_reset_is_another_flow() {
    let mut flows = flows(settings());
    for (ms, flags) in [(0, SYN), (1, RST), (2, RST), (3, SYN)] {
        let packet = tcp(1, 2, 4000, 443).at(START + ms * 1_000_000);
        flows.add(&packet.flags(flags).record());
    }
    let ended = ended(&mut flows);
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].packets(), 3);
    assert_eq!(ended[0].end, Some(EndReason::EndOfFlow));
    assert_eq!(flows.counts().live, 1);
}

#[test]
fn a_closed_connection_has_ended_whatever_takes_it_away() {
    let mut flows = flows(FlowSettings {
        max_flows: 1,
        ..settings()
    });
    for port in [1, 2] {
        flows.add(&tcp(1, 2, port, 443).at(START).flags(RST).record());
    }
    flows.finish();
    let ends: Vec<_> = ended(&mut flows).iter().map(|flow| flow.end).collect();
    assert_eq!(ends, [Some(EndReason::EndOfFlow); 2]);
}

#[test]
fn silence_ends_a_flow_with_and_without_packets_after_it() {
    let mut flows = flows(settings());
    flows.add(&udp(1, 2, 9, 53).at(START).record());
    flows.add(&udp(1, 2, 9, 53).at(START + 15 * S).record());
    assert!(ended(&mut flows).is_empty());
    flows.add(&udp(1, 2, 9, 53).at(START + 30 * S + 1).record());
    assert_eq!(ended(&mut flows)[0].packets(), 2);
    flows.tick(START + 45 * S);
    assert!(ended(&mut flows).is_empty());
    flows.tick(START + 46 * S);
    let last = ended(&mut flows);
    assert_eq!((last.len(), last[0].packets()), (1, 1));
    assert_eq!(last[0].end, Some(EndReason::IdleTimeout));
    assert_eq!(flows.counts().live, 0);
}

#[test]
fn who_sent_first_began_though_another_cpu_hands_up_the_answer_first() {
    for arrival in [[0, 1], [1, 0]] {
        let mut flows = flows(settings());
        let packets = [
            udp(2, 1, 4000, 53).at(START),
            udp(1, 2, 53, 4000).egress().at(START + 1000),
        ];
        for index in arrival {
            flows.add(&packets[index].record());
        }
        flows.finish();
        let ended = ended(&mut flows);
        assert_eq!(ended[0].src_port, 4000);
        assert_eq!(ended[0].response_ns, Some(1000));
    }
}

#[test]
fn the_active_timeout_cuts_and_the_initiator_stays() {
    let mut flows = flows(FlowSettings {
        active: Duration::from_secs(10),
        ..settings()
    });
    flows.add(&udp(1, 2, 4000, 53).at(START).record());
    for second in 1..25 {
        flows.add(&udp(2, 1, 53, 4000).at(START + second * S).record());
    }
    flows.finish();
    let parts = ended(&mut flows);
    let ends: Vec<_> = parts
        .iter()
        .map(|flow| (flow.packets(), flow.end))
        .collect();
    let active = Some(EndReason::ActiveTimeout);
    let forced = Some(EndReason::ForcedEnd);
    assert_eq!(ends.iter().map(|(packets, _)| packets).sum::<u64>(), 25);
    assert_eq!(ends.len(), 3, "{ends:?}");
    assert_eq!([ends[0].1, ends[1].1, ends[2].1], [active, active, forced]);
    assert!(parts.iter().all(|part| part.src_port == 4000));
    assert_eq!(parts[1].forward, FlowSide::default());
}

#[test]
fn time_that_goes_back_does_not_make_a_flow_older_than_the_active_timeout() {
    let mut flows = flows(FlowSettings {
        active: Duration::from_secs(20),
        ..settings()
    });
    for back in 0..5 {
        flows.add(&udp(1, 2, 9, 9).at(START - back * 12 * S).record());
    }
    flows.finish();
    let ended = ended(&mut flows);
    assert_eq!(ended.iter().map(FlowRecord::packets).sum::<u64>(), 5);
    assert!(
        ended
            .iter()
            .all(|flow| flow.last_ns() - flow.first_ns() < 20 * S)
    );
}

#[test]
fn requests_and_replies_of_icmp_are_one_flow() {
    let mut flows = flows(settings());
    let icmp = |src, dst, kind| Packet::new(src, dst, 1, [kind, 0, 0, 0]);
    flows.add(&icmp(1, 2, 8).at(START).record());
    flows.add(&icmp(2, 1, 0).at(START + 7).record());
    flows.add(&icmp(2, 1, 3).at(START + 8).record());
    let top = flows.top(9);
    assert_eq!(top.len(), 2);
    assert_eq!(top[0].forward.icmp_type_code, Some((8, 0)));
    assert_eq!(top[0].reverse.icmp_type_code, Some((0, 0)));
    assert_eq!((top[0].src_port, top[0].response_ns), (0, Some(7)));
    assert_eq!(top[1].forward.icmp_type_code, Some((3, 0)));
}

#[test]
fn later_fragments_have_no_ports_and_no_ip_is_no_flow() {
    let mut flows = flows(settings());
    let mut fragment = udp(1, 2, 4000, 53).at(START);
    fragment.0.headers.flags |= FLAG_LATER_FRAGMENT;
    flows.add(&fragment.record());
    flows.add(&udp(1, 2, 4000, 53).at(START + 1).record());
    flows.add(&PacketRecord::new(Summary {
        wire_len: 60,
        timestamp_ns: START,
        ..Summary::EMPTY
    }));
    let ports: Vec<_> = flows.top(9).iter().map(|flow| flow.src_port).collect();
    assert_eq!(ports, [0, 4000]);
    assert_eq!(
        flows.counts().other,
        Count {
            packets: 1,
            bytes: 60
        }
    );
}

#[test]
fn interfaces_and_vlans_are_kept_apart() {
    let mut flows = flows(settings());
    let packet = udp(1, 2, 4000, 53).at(START);
    flows.add(&packet.record());
    flows.add(&packet.record().on_interface(1));
    for priority_and_id in [7, 0xa007, 8] {
        let mut tagged = packet;
        tagged.0.headers.flags |= FLAG_VLAN;
        tagged.0.headers.vlan[0] = priority_and_id;
        flows.add(&tagged.record());
    }
    let top = flows.top(9);
    let vlans: Vec<_> = top.iter().map(|f| (f.vlan, f.packets())).collect();
    assert_eq!(vlans, [(Some(7), 2), (None, 1), (Some(8), 1), (None, 1)]);
}

#[test]
fn the_flow_that_was_silent_the_longest_makes_room() {
    let mut flows = flows(FlowSettings {
        max_flows: 3,
        ..settings()
    });
    for (second, port) in [(0, 1), (1, 2), (2, 3), (3, 1), (4, 4)] {
        flows.add(&udp(1, 2, port, 53).at(START + second * S).record());
    }
    let evicted = ended(&mut flows);
    assert_eq!(evicted.len(), 1);
    assert_eq!(evicted[0].src_port, 2);
    assert_eq!(evicted[0].end, Some(EndReason::LackOfResources));
    assert_eq!(flows.counts().live, 3);
}

#[test]
fn flows_expire_in_the_order_of_their_last_packets() {
    let mut flows = flows(settings());
    for port in 1..=20u16 {
        flows.add(
            &udp(1, 2, port, 53)
                .at(START + u64::from(port) * S / 2)
                .record(),
        );
    }
    // The first is the last now.
    flows.add(&udp(1, 2, 1, 53).at(START + 11 * S).record());
    let mut order = Vec::new();
    for tenth in 0..400 {
        flows.tick(START + 11 * S + tenth * S / 10);
        order.extend(ended(&mut flows).iter().map(|flow| flow.src_port));
    }
    let expected: Vec<u16> = (2..=20).chain([1]).collect();
    assert_eq!(order, expected);
}

#[test]
fn a_clock_that_was_set_back_ends_all_flows_once() {
    let mut flows = flows(settings());
    flows.add(&udp(1, 2, 1, 53).at(START).record());
    flows.tick(START - 3600 * S);
    assert_eq!(ended(&mut flows)[0].end, Some(EndReason::ForcedEnd));
    flows.add(&udp(1, 2, 1, 53).at(START - 3600 * S).record());
    flows.tick(START - 3600 * S + 16 * S);
    assert_eq!(ended(&mut flows)[0].end, Some(EndReason::IdleTimeout));
}

#[test]
fn the_largest_are_kept_whether_they_ended_or_not() {
    let mut flows = flows(FlowSettings {
        top: 2,
        ..settings()
    });
    for (second, port, bytes) in [(0, 1, 500), (0, 2, 900), (0, 3, 700), (60, 4, 800)] {
        let packet = udp(1, 2, port, 53).at(START + second * S).long(bytes);
        flows.add(&packet.record());
    }
    let ports: Vec<_> = flows.top(2).iter().map(|flow| flow.src_port).collect();
    assert_eq!(ports, [2, 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_missing_and_nothing_is_twice(
        packets in packets(),
        max_flows in 1u32..12,
        idle in 1u64..30,
        active in 1u64..60,
    ) {
        let settings = FlowSettings {
            idle: Duration::from_secs(idle),
            active: Duration::from_secs(active),
            max_flows,
            top: 3,
        };
        let mut flows = flows(settings);
        let mut fed: HashMap<_, Count> = HashMap::new();
        for packet in &packets {
            let record = packet.record();
            flows.add(&record);
            prop_assert!(flows.table.len() <= max_flows as usize);
            prop_assert!(flows.slots.len() <= max_flows as usize);
            *fed.entry(directed(&record)).or_default() += Count {
                packets: 1,
                bytes: u64::from(record.wire_len()),
            };
        }
        flows.finish();
        let mut told: HashMap<_, Count> = HashMap::new();
        for flow in ended(&mut flows) {
            let (src, dst) = ((flow.src_addr, flow.src_port), (flow.dst_addr, flow.dst_port));
            for (ends, side) in [((src, dst), flow.forward), ((dst, src), flow.reverse)] {
                if side.packets > 0 {
                    let Count { packets, bytes } = Count { packets: side.packets, bytes: side.bytes };
                    *told.entry((flow.ip_proto, ends)).or_default() += Count { packets, bytes };
                }
            }
            prop_assert!(flow.last_ns() - flow.first_ns() <= active.max(idle) * S + idle * S);
        }
        prop_assert_eq!(flows.counts().live, 0);
        prop_assert_eq!(told, fed);
    }

    #[test]
    fn the_order_of_packets_does_not_change_the_key(packet in packet()) {
        let (key, side) = FlowKey::of(&packet.record()).unwrap();
        let Packet(mut back) = packet;
        std::mem::swap(&mut back.headers.src_addr, &mut back.headers.dst_addr);
        let [a, b, c, d] = back.headers.transport;
        back.headers.transport = [c, d, a, b];
        let (same, other_side) = FlowKey::of(&Packet(back).record()).unwrap();
        prop_assert_eq!(key, same);
        prop_assert!(other_side != side || key.source(0) == key.source(1));
    }

    #[test]
    fn any_summary_at_any_time_is_taken(
        times in prop::collection::vec(any::<u64>(), 1..60),
        packet in packet(),
    ) {
        let mut flows = flows(FlowSettings { max_flows: 2, ..settings() });
        for time in &times {
            flows.add(&packet.at(*time).record());
            flows.tick(time.rotate_left(7));
        }
        flows.finish();
        let packets: u64 = ended(&mut flows).iter().map(FlowRecord::packets).sum();
        prop_assert_eq!(packets, times.len() as u64);
    }
}

type Directed = (u8, ((std::net::IpAddr, u16), (std::net::IpAddr, u16)));

/// What a packet is told as.
fn directed(record: &PacketRecord) -> Directed {
    let (key, side) = FlowKey::of(record).unwrap();
    let end = |side| (key.source(side), key.source_port(side));
    (key.ip_proto(), (end(side), end(1 - side)))
}

fn packets() -> impl Strategy<Value = Vec<Packet>> {
    prop::collection::vec(packet(), 0..200)
}

/// Few hosts and ports, so that flows meet again.
fn packet() -> impl Strategy<Value = Packet> {
    (
        (1u8..4, 1u8..4),
        (1u16..4, 1u16..4),
        prop::sample::select(vec![6u8, 17, 132, 47]),
        0u64..200,
        any::<u8>(),
        40u32..2000,
    )
        .prop_map(|((src, dst), (from, to), proto, second, flags, len)| {
            let ports = u32::from(from) << 16 | u32::from(to);
            let packet = Packet::new(src, dst, proto, ports.to_be_bytes());
            let packet = packet.at(START + second * S).long(len);
            if proto == 6 {
                packet.flags(flags)
            } else {
                packet
            }
        })
}

fn settings() -> FlowSettings {
    FlowSettings {
        idle: Duration::from_secs(15),
        active: Duration::from_mins(30),
        max_flows: 1000,
        top: 10,
    }
}

fn flows(settings: FlowSettings) -> Flows {
    Flows::new(settings).keeping_ended()
}

fn ended(flows: &mut Flows) -> Vec<FlowRecord> {
    flows.take_ended().collect()
}

/// A packet to be.
#[derive(Clone, Copy, Debug)]
struct Packet(Summary);

fn tcp(src: u8, dst: u8, src_port: u16, dst_port: u16) -> Packet {
    let ports = u32::from(src_port) << 16 | u32::from(dst_port);
    Packet::new(src, dst, 6, ports.to_be_bytes())
}

fn udp(src: u8, dst: u8, src_port: u16, dst_port: u16) -> Packet {
    let ports = u32::from(src_port) << 16 | u32::from(dst_port);
    Packet::new(src, dst, 17, ports.to_be_bytes())
}

impl Packet {
    /// From `10.0.0.src`; hosts above 2 speak IPv6.
    fn new(src: u8, dst: u8, ip_proto: u8, transport: [u8; 4]) -> Self {
        let mut headers = Headers {
            ip_proto,
            transport,
            flags: if src.max(dst) > 2 {
                FLAG_IPV6
            } else {
                FLAG_IPV4
            },
            protocol: Protocol::from_ip_proto(ip_proto) as u8,
            ..Headers::EMPTY
        };
        headers.src_addr[..4].copy_from_slice(&[10, 0, 0, src]);
        headers.dst_addr[..4].copy_from_slice(&[10, 0, 0, dst]);
        Self(Summary {
            timestamp_ns: START,
            wire_len: 100,
            headers,
            ..Summary::EMPTY
        })
    }

    fn at(mut self, time_ns: u64) -> Self {
        self.0.timestamp_ns = time_ns;
        self
    }

    fn flags(mut self, flags: u8) -> Self {
        self.0.headers.tcp_flags = flags;
        self
    }

    fn long(mut self, bytes: u32) -> Self {
        self.0.wire_len = bytes;
        self
    }

    fn egress(mut self) -> Self {
        self.0.headers.flags |= FLAG_EGRESS;
        self
    }

    fn record(self) -> PacketRecord {
        PacketRecord::new(self.0)
    }
}
