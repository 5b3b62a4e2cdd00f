use std::net::{IpAddr, Ipv6Addr};

use super::{
    element::REVERSE,
    encoder::{Cargo, Encoded, Encoder, Layout, Sampled, Statistics},
    transport::{Collector, Protocol},
};
use crate::{
    flows::{EndReason, FlowRecord, FlowSide},
    record::Direction,
};

#[test]
fn collectors_are_named_as_host_port_and_transport() {
    let collector = |text: &str| text.parse::<Collector>();
    let of = |address: &str, protocol| {
        Ok(Collector {
            address: address.to_owned(),
            protocol,
        })
    };
    assert_eq!(
        collector("a.example:4739"),
        of("a.example:4739", Protocol::Udp)
    );
    assert_eq!(collector("[::1]:9/udp"), of("[::1]:9", Protocol::Udp));
    assert_eq!(
        collector("10.0.0.1:4739/tcp"),
        of("10.0.0.1:4739", Protocol::Tcp)
    );
    for wrong in ["", "host", ":4739", "host:", "host:99999", "host:1/sctp"] {
        assert!(collector(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn templates_describe_the_records_that_follow() {
    let mut encoder = Encoder::new(Layout::Biflow, 7);
    let mut out = Vec::new();
    encoder.templates(1000, &mut out);
    encoder.flow(&flow(3, 2), &[], 1000, &mut out);
    encoder.options(&INTERFACES, &Statistics::default(), 1000, &mut out);
    encoder.flush(1000, &mut out);
    let decoded = decode(&out);
    let record = &decoded.records[0];
    assert_eq!(record.template, 259);
    let value = |id, enterprise| record.value(id, enterprise);
    assert_eq!(value(4, 0), 6);
    assert_eq!(value(27, 0), u128::from(Ipv6Addr::LOCALHOST));
    assert_eq!((value(7, 0), value(11, 0)), (4000, 443));
    assert_eq!((value(2, 0), value(2, REVERSE)), (3, 2));
    assert_eq!((value(1, 0), value(1, REVERSE)), (258, 172));
    assert_eq!((value(352, 0), value(352, REVERSE)), (300, 200));
    assert_eq!((value(152, 0), value(153, REVERSE)), (5, 6));
    assert_eq!((value(6, 0), value(136, 0)), (0x1b, 3));
    assert_eq!((value(58, 0), value(245, 0)), (42, 0));
    assert_eq!((value(10, 0), value(14, 0), value(61, 0)), (1, 0, 0));
    let sampling = &decoded.records[2];
    assert_eq!(sampling.template, 260);
    assert_eq!((sampling.value(302, 0), sampling.value(306, 0)), (2, 15));
    assert_eq!(decoded.records[3].value(149, 0), 7);
    assert_eq!(decoded.records.len(), 4);
}

#[test]
fn one_direction_alone_goes_from_who_sent() {
    let mut encoder = Encoder::new(Layout::Biflow, 0);
    let mut out = Vec::new();
    encoder.templates(0, &mut out);
    encoder.flow(&flow(0, 2), &INTERFACES, 0, &mut out);
    encoder.flush(0, &mut out);
    let decoded = decode(&out);
    let [record] = decoded.records.as_slice() else {
        panic!("{} records", decoded.records.len());
    };
    assert_eq!(record.template, 258);
    assert_eq!((record.value(7, 0), record.value(2, 0)), (443, 2));
    assert_eq!(record.value(239, 0), 2);
    assert_eq!((record.value(10, 0), record.value(14, 0)), (0, 5));
}

#[test]
fn without_biflows_each_direction_is_a_record() {
    let mut encoder = Encoder::new(Layout::Uniflow, 0);
    let mut out = Vec::new();
    encoder.templates(0, &mut out);
    encoder.flow(&flow(3, 2), &INTERFACES, 0, &mut out);
    encoder.flush(0, &mut out);
    let decoded = decode(&out);
    let packets: Vec<_> = decoded
        .records
        .iter()
        .map(|r| (r.value(7, 0), r.value(2, 0)))
        .collect();
    assert_eq!(packets, [(4000, 3), (443, 2)]);
    let cargo = out.last().unwrap().cargo;
    assert_eq!((cargo.flows, cargo.packets, cargo.octets), (2, 5, 430));
}

#[test]
fn sequence_numbers_count_data_records_and_begin_again_with_a_session() {
    let mut encoder = Encoder::new(Layout::Biflow, 1);
    let mut out = Vec::new();
    encoder.templates(0, &mut out);
    for _ in 0..100 {
        encoder.flow(&flow(1, 1), &INTERFACES, 0, &mut out);
    }
    encoder.flush(0, &mut out);
    assert!(out.len() > 3);
    let decoded = decode(&out);
    let mut expected = 0;
    for (sequence, records, length) in &decoded.messages {
        assert_eq!(*sequence, expected);
        assert!(*length <= 1400);
        expected += records;
    }
    assert_eq!(expected, 100);
    let cargo: u64 = out.iter().map(|message| message.cargo.flows).sum();
    assert_eq!(cargo, 100);

    encoder.flow(&flow(1, 1), &INTERFACES, 0, &mut out);
    let dropped = encoder.restart();
    assert_eq!(dropped, Cargo::of(&flow(1, 1)));
    out.clear();
    encoder.templates(0, &mut out);
    encoder.flush(0, &mut out);
    assert_eq!(decode(&out).messages[0].0, 0);
}

const INTERFACES: [Sampled; 2] = [
    Sampled {
        ifindex: 5,
        sample: 1,
    },
    Sampled {
        ifindex: 6,
        sample: 16,
    },
];

fn flow(forward: u64, reverse: u64) -> FlowRecord {
    let side = |packets: u64, direction| match packets {
        0 => FlowSide::default(),
        packets => FlowSide {
            packets,
            bytes: 100 * packets,
            ip_bytes: 86 * packets,
            first_ns: 5_999_999,
            last_ns: 6_000_000,
            tcp_flags: 0x1b,
            direction: Some(direction),
            icmp_type_code: None,
        },
    };
    FlowRecord {
        interface: 0,
        vlan: Some(42),
        inner_vlan: None,
        ip_proto: 6,
        src_addr: IpAddr::V6(Ipv6Addr::LOCALHOST),
        dst_addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        src_port: 4000,
        dst_port: 443,
        forward: side(forward, Direction::Ingress),
        reverse: side(reverse, Direction::Egress),
        handshake_ns: None,
        response_ns: None,
        end: Some(EndReason::EndOfFlow),
    }
}

/// What a collector reads.
#[derive(Default)]
struct Decoded {
    /// Sequence number, data records, bytes.
    messages: Vec<(u32, u32, usize)>,
    records: Vec<Record>,
}

struct Record {
    template: u16,
    /// Element, enterprise, value.
    values: Vec<(u16, u32, u128)>,
}

impl Record {
    fn value(&self, id: u16, enterprise: u32) -> u128 {
        let found = self.values.iter().find(|v| (v.0, v.1) == (id, enterprise));
        found.unwrap_or_else(|| panic!("no element {id}")).2
    }
}

type Fields = Vec<(u16, u32, usize)>;

/// Reads messages as RFC 7011 has them, apart from how they were written.
fn decode(messages: &[Encoded]) -> Decoded {
    let mut decoded = Decoded::default();
    let mut templates = std::collections::HashMap::new();
    for Encoded { bytes, .. } in messages {
        assert_eq!(
            (be(bytes, 0, 2), be(bytes, 2, 2)),
            (10, bytes.len() as u128)
        );
        let before = decoded.records.len();
        let mut at = 16;
        while at < bytes.len() {
            let (id, length) = (be(bytes, at, 2), be(bytes, at + 2, 2));
            let set = &bytes[at + 4..at + usize::try_from(length).unwrap()];
            match id {
                2 | 3 => read_templates(set, id == 3, &mut templates),
                _ => read_records(set, u16::try_from(id).unwrap(), &templates, &mut decoded),
            }
            at += 4 + set.len();
        }
        let sequence = u32::try_from(be(bytes, 8, 4)).unwrap();
        let records = u32::try_from(decoded.records.len() - before).unwrap();
        decoded.messages.push((sequence, records, bytes.len()));
    }
    decoded
}

fn read_templates(
    set: &[u8],
    with_scope: bool,
    templates: &mut std::collections::HashMap<u16, Fields>,
) {
    let mut at = 0;
    while at < set.len() {
        let id = u16::try_from(be(set, at, 2)).unwrap();
        let count = be(set, at + 2, 2);
        at += if with_scope { 6 } else { 4 };
        let mut fields = Vec::new();
        for _ in 0..count {
            let (number, length) = (be(set, at, 2), be(set, at + 2, 2));
            at += 4;
            let mut enterprise = 0;
            if number & 0x8000 != 0 {
                enterprise = u32::try_from(be(set, at, 4)).unwrap();
                at += 4;
            }
            let number = u16::try_from(number & 0x7fff).unwrap();
            fields.push((number, enterprise, usize::try_from(length).unwrap()));
        }
        templates.insert(id, fields);
    }
}

fn read_records(
    set: &[u8],
    template: u16,
    templates: &std::collections::HashMap<u16, Fields>,
    decoded: &mut Decoded,
) {
    let mut at = 0;
    while at < set.len() {
        let mut values = Vec::new();
        for (id, enterprise, length) in &templates[&template] {
            values.push((*id, *enterprise, be(set, at, *length)));
            at += length;
        }
        decoded.records.push(Record { template, values });
    }
}

fn be(bytes: &[u8], at: usize, length: usize) -> u128 {
    let bytes = &bytes[at..at + length];
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u128::from(*byte))
}
