use super::*;
use crate::report::{
    InterfaceRow,
    assemble::tests::{capture_report, files_report},
    example,
};

#[test]
fn a_capture_with_losses_says_so_first() {
    let text = render(&capture_report(3));
    assert_eq!(text, EXPECTED, "{text}");
}

#[test]
fn without_packets_there_is_nothing_to_analyze() {
    let text = render(&files_report(&[], 2));
    let start = "No packets captured. No data to analyze.\n\nLedger: balanced\n  seen  ";
    assert!(text.starts_with(start), "{text}");
    assert!(text.ends_with("\n\nNote: A note.\n"), "{text}");
}

#[test]
fn complete_reports_say_that_nothing_was_lost() {
    let text = render(&files_report(&[0, 2_000_000_000], 2));
    let start = "Complete: every one of 2 frames was read and summarised.\n2 packets, 200 bytes";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains("\nFile                  a.pcap\n"));
}

#[test]
fn a_ledger_that_does_not_balance_is_in_the_first_line() {
    let mut report = files_report(&[0, 1], 2);
    report.ledger.balanced = false;
    let text = render(&report);
    assert!(first_line(&text).starts_with("The ledger does not balance"));
    assert!(text.contains("\nLedger: NOT BALANCED\n"));
}

#[test]
fn no_line_exceeds_80_columns() {
    let mut report = capture_report(3);
    let longest = "2001:db8:1111:2222:3333:4444:5555:6666";
    report.conversations[0].address = format!("{longest} <-> {longest}");
    report.sources[0].address = longest.to_owned();
    report.sources[0].bytes = u64::MAX / 1000;
    report.tables_note = Some("word ".repeat(60));
    report.findings = example::report().findings;
    report.findings[0].summary = format!("{longest} asked {longest} for {longest}");
    report.findings[0].filter = format!("src host {longest} and dst host {longest}");
    report.dns = example::report().dns;
    report.tcp_flags = example::report().tcp_flags;
    for line in render(&report).lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn names_cannot_move_the_cursor() {
    let mut report = capture_report(3);
    report.dns_names[0].name = "a\u{1b}[2Jb\u{202e}c".to_owned();
    report.interfaces.push(InterfaceRow {
        name: "eth\r\n0".to_owned(),
        ..report.interfaces[0].clone()
    });
    let text = render(&report);
    assert!(text.contains(r"a\u{1b}[2Jb\u{202e}c A"));
    assert!(text.contains(r"eth\u{d}\u{a}0 (EN10MB, in tcx)"));
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
}

#[test]
fn flows_name_their_interface_where_there_are_several() {
    let mut report = example::report();
    assert!(render(&report).contains("veth0, 3.6 s, "));
    report.interfaces.truncate(1);
    assert!(!render(&report).contains("veth0, 3.6 s, "));
}

#[test]
fn findings_come_before_the_tables() {
    let report = example::report();
    let text = render(&report);
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}:\n{text}"));
    assert!(place("\nALERT 198.51.100.7 got") < place("\nWARNING 192.0.2.66 tried"));
    assert!(place("\n  filter  dst host 198.51.100.7 and tcp") < place("\nProtocols"));
    assert!(place("\n    tcp  ") > place("\nProtocol hierarchy"));
    assert!(place("DNS answers: 89, 9 of them failures (NOERROR 80, ") > 0);
    assert!(place("\nPSH ACK  ") > place("\nTCP flags"));
    assert!(place("\n40–79 bytes  ") > place("\nFrame sizes  "));
}

#[test]
fn bars_show_anything_above_zero() {
    let shown: String = [0, 1, 50, 51, 99, 100]
        .map(|packets| block(packets, 100))
        .iter()
        .collect();
    assert_eq!(shown, " ▁▄▅██");
    assert_eq!(block(u64::MAX, u64::MAX), '█');
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap()
}

const EXPECTED: &str = "\
1 of 4 summaries lost (25.0 %): counts and histogram are exact, per-address
tables are lower bounds.
1 frame missing from the capture file: 0 found the ring full, 1 could not be
written.
4 packets, 300 bytes in 2 s

Findings
Findings were not looked for.

Host                  h, Linux 6.1.0
Sandbox               no capabilities, no new privileges, 93 system calls, files
                      by landlock (version 4)
Filter                --protocol dns
Started               2023-11-14T22:13:20.000000000Z
First packet          2023-11-14T22:13:20.100000000Z
Last packet           2023-11-14T22:13:20.500000001Z

Interfaces                                        packets                  bytes
eth0 (EN10MB, in tcx)                                   4                    300

Protocols                                         packets                  bytes
dns                                50.0 %               2                    200
ip-proto-89                        25.0 %               1                     90
unparsed                           25.0 %               1                     10
total                                                   4                    300

Among them            IPv4 2, IPv6 1, TCP 0, UDP 2 (both with DNS)
On the wire           5 packets, 360 bytes
All other numbers count frames as the hook sees them: a super-frame that the
kernel or the NIC has joined or will split (GRO, TSO) is one frame.

Protocol hierarchy                                packets                  bytes
frame                                                   4                    300
  EN10MB                                                4                    300
    ip                                                  2                    200
      udp                                               2                    200
        dns                                             2                    200
    ip6                                                 1                     90
      ip-proto-89                                       1                     90
    unparsed                                            1                     10

Malformed headers                                 packets
truncated_link_header                                   1

Tables, sizes and times are lower bounds: 1 packet missing from them.

Source addresses: 1 different                     packets                  bytes
0.0.0.0                                                 3                    300

Destination addresses                             packets                  bytes
0.0.0.0                                                 3                    300

Conversations                                     packets                  bytes
0.0.0.0 <-> 0.0.0.0                                     3                    300

Ports (each packet's lower one)                   packets                  bytes
53/udp                                                  3                    300

DNS queries: 1 (A 1)
DNS answers: 0

DNS names                             queries  answers
ab A                                        1

Frame sizes                                       packets
80–159 bytes                        100 %               3

Frame sizes (bytes)   min 100, median 100, p95 100, max 100
Packet rate           mean 2 packets/s, peak 4 packets/s
Bit rate              mean 1.20 kbit/s, peak 3.20 kbit/s

Packets over time, 0.5 s each, at most 2
█  █

Note: A note.

Ledger: balanced
  seen                                             7
    filtered out                                   3
    matched                                        4
      of them unparsed                             1
  summaries delivered                              3
  summaries lost                                   1
  frames written                                   3
  frames sampled out                               0
  frames lost, ring full                           0
  frames lost, write failed                        1
  excerpts lost                                    0
  history evicted                                  2
";
