use traffic_ebpf::record::{Headers, Summary};

use super::*;

#[test]
fn packets_are_counted_by_address_conversation_and_lower_port() {
    let mut analysis = Analysis::default();
    analysis.add(&tcp(1000, [10, 0, 0, 1], [10, 0, 0, 2], (50_000, 443), 60));
    analysis.add(&tcp(
        3000,
        [10, 0, 0, 2],
        [10, 0, 0, 1],
        (443, 50_000),
        1514,
    ));
    analysis.add(&tcp(2000, [10, 0, 0, 1], [10, 0, 0, 3], (50_001, 443), 74));
    analysis.add(&arp(4000));
    let tables = analysis.tables(10);
    assert_eq!(tables.records, 4);
    assert_eq!(
        (tables.unique_sources, tables.unique_sources_error),
        (3, None)
    );
    let sources = [
        ("10.0.0.1", 2, 134),
        ("10.0.0.2", 1, 1514),
        ("02:00:00:00:00:01", 1, 42),
    ];
    assert_eq!(rows(&tables.sources), sources);
    let destinations = [
        ("10.0.0.1", 1, 1514),
        ("10.0.0.3", 1, 74),
        ("10.0.0.2", 1, 60),
        ("ff:ff:ff:ff:ff:ff", 1, 42),
    ];
    assert_eq!(rows(&tables.destinations), destinations);
    let conversations = [
        ("10.0.0.1 <-> 10.0.0.2", 2, 1574),
        ("10.0.0.1 <-> 10.0.0.3", 1, 74),
        ("02:00:00:00:00:01 <-> ff:ff:ff:ff:ff:ff", 1, 42),
    ];
    assert_eq!(rows(&tables.conversations), conversations);
    assert_eq!(rows(&tables.ports), [("443/tcp", 3, 1648)]);
    let sizes = FrameSizes {
        min: 42,
        median: 60,
        p95: 1514,
        max: 1514,
        ranges: vec![
            (0, Some(19), 0),
            (20, Some(39), 0),
            (40, Some(79), 3),
            (80, Some(159), 0),
            (160, Some(319), 0),
            (320, Some(639), 0),
            (640, Some(1279), 0),
            (1280, Some(2559), 1),
            (2560, Some(5119), 0),
            (5120, None, 0),
        ],
    };
    assert_eq!(tables.sizes, Some(sizes));
    assert_eq!(tables.times_ns, Some((1000, 4000)));
}

#[test]
fn packets_without_an_address_are_only_measured() {
    let mut analysis = Analysis::default();
    analysis.add(&record(5, 10, Headers::EMPTY));
    let tables = analysis.tables(10);
    assert_eq!((tables.records, tables.unique_sources), (1, 0));
    assert_eq!(tables.sources, Table::default());
    assert_eq!(tables.sizes.map(|sizes| sizes.median), Some(10));
}

#[test]
fn no_packets_have_no_sizes_and_no_times() {
    let tables = Analysis::default().tables(10);
    assert_eq!((tables.sizes, tables.times_ns), (None, None));
}

#[test]
fn the_same_bytes_of_another_family_are_another_address() {
    let mut analysis = Analysis::default();
    let address = [2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for flags in [FLAG_IPV4, FLAG_IPV6, FLAG_MAC] {
        let headers = Headers {
            src_addr: address,
            flags,
            ..Headers::EMPTY
        };
        analysis.add(&record(1, 60, headers));
    }
    let tables = analysis.tables(10);
    assert_eq!(tables.unique_sources, 3);
    assert_eq!(
        rows(&tables.sources),
        [
            ("2.0.0.0", 1, 60),
            ("200:0:1::", 1, 60),
            ("02:00:00:00:00:01", 1, 60)
        ]
    );
}

#[test]
fn beyond_the_bound_sources_are_estimated_and_rows_say_what_they_miss() {
    let mut analysis = Analysis::with_capacity(896, 896);
    for number in 0..20_000u32 {
        analysis.add(&tcp(1, number.to_be_bytes(), [10, 0, 0, 2], (1, 2), 60));
        analysis.add(&tcp(1, [10, 0, 0, 1], [10, 0, 0, 2], (1, 2), 60));
    }
    let tables = analysis.tables(1);
    assert!(
        tables.unique_sources.abs_diff(20_001) < 660,
        "{}",
        tables.unique_sources
    );
    assert!(tables.unique_sources_error.is_some());
    assert!((1..=90).contains(&tables.sources.max_missed));
    let (address, count) = &tables.sources.rows[0];
    assert_eq!(address, "10.0.0.1");
    assert!(20_000 - count.packets <= tables.sources.max_missed);
    assert_eq!(
        rows(&tables.destinations),
        [("10.0.0.2", 40_000, 2_400_000)]
    );
    assert_eq!(tables.destinations.max_missed, 0);
}

#[test]
fn the_bound_itself_is_exact() {
    let mut analysis = Analysis::with_capacity(100, 100);
    for number in 0..100u32 {
        analysis.add(&tcp(1, number.to_be_bytes(), [10, 0, 0, 2], (1, 2), 60));
    }
    let tables = analysis.tables(1);
    assert_eq!(
        (tables.unique_sources, tables.unique_sources_error),
        (100, None)
    );
    assert_eq!(tables.sources.max_missed, 0);
}

#[test]
fn flows_that_share_a_cache_line_are_not_mixed() {
    let mut analysis = Analysis::default();
    for _ in 0..3 {
        for last in 0..=255 {
            for third in 0..4 {
                analysis.add(&tcp(1, [10, 0, third, last], [10, 1, 0, 1], (1, 2), 60));
            }
        }
    }
    let tables = analysis.tables(2000);
    assert_eq!(tables.sources.rows.len(), 1024);
    assert!(
        tables
            .sources
            .rows
            .iter()
            .all(|(_, count)| count.packets == 3)
    );
}

fn rows(table: &Table) -> Vec<(&str, u64, u64)> {
    let rows = table.rows.iter();
    rows.map(|(label, count)| (label.as_str(), count.packets, count.bytes))
        .collect()
}

fn tcp(time_ns: u64, src: [u8; 4], dst: [u8; 4], ports: (u16, u16), bytes: u32) -> PacketRecord {
    let mut headers = Headers {
        flags: FLAG_IPV4,
        protocol: Protocol::Tcp as u8,
        ..Headers::EMPTY
    };
    headers.src_addr[..4].copy_from_slice(&src);
    headers.dst_addr[..4].copy_from_slice(&dst);
    headers.transport[..2].copy_from_slice(&ports.0.to_be_bytes());
    headers.transport[2..].copy_from_slice(&ports.1.to_be_bytes());
    record(time_ns, bytes, headers)
}

fn arp(time_ns: u64) -> PacketRecord {
    let mut headers = Headers {
        flags: FLAG_MAC,
        protocol: Protocol::Arp as u8,
        ..Headers::EMPTY
    };
    headers.src_addr[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    headers.dst_addr[..6].copy_from_slice(&[0xff; 6]);
    record(time_ns, 42, headers)
}

fn record(timestamp_ns: u64, wire_len: u32, headers: Headers) -> PacketRecord {
    PacketRecord::new(Summary {
        timestamp_ns,
        wire_len,
        headers,
        ..Summary::EMPTY
    })
}
