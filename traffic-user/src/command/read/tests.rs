use std::fs;

use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::{
    cli::{Cli, Command},
    report::schema,
};

#[test]
fn files_become_one_report() {
    let dir = Directory::new();
    let first = dir.write("a.pcap", &pcap(&[(1, &dns()), (2, &arp())]));
    let second = dir.write("b.pcap", &pcap(&[(5, &arp())]));
    let (result, report) = dir.read(&[&first, &second]);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(report["ledger"]["seen"], 3);
    assert_eq!(report["ledger"]["balanced"], true);
    assert_eq!(report["protocols"][0]["name"], "arp");
    assert_eq!(report["interfaces"][0]["packets"], 2);
    assert_eq!(report["interfaces"][1]["packets"], 1);
    assert_eq!(report["interfaces"][1]["name"], "b.pcap");
    assert_eq!(report["dns_names"][0]["name"], "ab");
    assert_eq!(report["duration_s"], 4.0);
    assert_eq!(report["source"]["files"][1], second.as_str());
}

#[test]
fn what_protocol_leaves_out_is_counted() {
    let dir = Directory::new();
    let file = dir.write("a.pcap", &pcap(&[(1, &dns()), (2, &arp())]));
    let (result, report) = dir.read(&[&file, "--protocol", "dns"]);
    assert!(result.is_ok(), "{result:?}");
    let ledger = &report["ledger"];
    assert_eq!(
        (&ledger["filtered_out"], &ledger["matched"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn a_cut_file_is_reported_up_to_the_cut() {
    let dir = Directory::new();
    let whole = pcap(&[(1, &dns()), (2, &arp())]);
    let cut = dir.write("a.pcap", &whole[..whole.len() - 1]);
    let (result, report) = dir.read(&[&cut]);
    let error = format!("{:#}", result.unwrap_err());
    assert!(
        error.contains("a.pcap after 1 packets: the file is cut short: its last packet"),
        "{error}"
    );
    assert_eq!(report["ledger"]["matched"], 1);
    assert!(report["notes"][0].as_str().unwrap().contains("cut short"));
}

#[test]
fn no_readable_file_is_no_report() {
    let dir = Directory::new();
    let text = dir.write("a.txt", b"not a capture file");
    let (result, report) = dir.read(&[&text]);
    let error = format!("{:#}", result.unwrap_err());
    assert!(
        error.contains("a.txt: neither a pcap nor a pcapng file"),
        "{error}"
    );
    assert_eq!(report, Value::Null);
}

#[test]
fn what_is_written_agrees_with_the_schemas() {
    let dir = Directory::new();
    let file = dir.write("a.pcap", &pcap(&[(1, &dns()), (2, &arp()), (3, &[1, 2])]));
    let packets = dir.0.path().join("packets.jsonl");
    let packets_path = packets.to_str().unwrap();
    let (result, report) = dir.read(&[&file, "--flows", "--packets", packets_path]);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        schema::problems(schema::REPORT, &report),
        Vec::<String>::new()
    );
    let lines = fs::read_to_string(packets).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        assert_eq!(
            schema::problems(schema::PACKET, line),
            Vec::<String>::new(),
            "{line}"
        );
    }
    assert_eq!(lines[0]["protocol"], "dns");
    assert_eq!(lines[0]["interface"], "a.pcap");
    assert_eq!(lines[0]["src"], "10.0.0.1");
    assert_eq!(lines[0]["dst_port"], 53);
    assert_eq!(lines[0]["time"], "1970-01-01T00:00:01.000000000Z");
    assert_eq!(lines[1]["src"], "02:00:00:00:00:01");
    assert_eq!(lines[2]["error"], "truncated_link_header");
    assert!(lines[2].get("src").is_none());
}

#[test]
fn flows_and_what_is_not_ip_are_all_packets() {
    let dir = Directory::new();
    let file = dir.write("a.pcap", &pcap(&[(1, &dns()), (2, &arp()), (3, &dns())]));
    let tables = dir.0.path().join("tables");
    let (result, report) = dir.read(&[&file, "--flows", "--csv", tables.to_str().unwrap()]);
    assert!(result.is_ok(), "{result:?}");
    let flows = &report["flows"];
    assert_eq!(
        (&flows["packets"], &flows["other_packets"]),
        (&2.into(), &1.into())
    );
    assert_eq!(
        (&flows["bytes"], &flows["other_bytes"]),
        (&124.into(), &42.into())
    );
    assert_eq!(flows["ended"]["forced_end"], 1);
    let row = &flows["rows"][0];
    assert_eq!(
        (&row["src"], &row["dst_port"]),
        (&"10.0.0.1".into(), &53.into())
    );
    assert_eq!(
        (&row["forward"]["ip_bytes"], &row["duration_s"]),
        (&96.into(), &2.0.into())
    );
    let csv = fs::read_to_string(tables.join("flows.csv")).unwrap();
    let line = csv.lines().nth(1).unwrap();
    assert!(
        line.starts_with("a.pcap,,,udp,10.0.0.1,99,10.0.0.2,53,1970-"),
        "{line}"
    );
    assert!(line.ends_with(",,forced_end"), "{line}");
}

#[test]
fn every_table_is_a_file() {
    let dir = Directory::new();
    let file = dir.write("a.pcap", &pcap(&[(1, &dns()), (2, &arp())]));
    let tables = dir.0.path().join("new/tables");
    let (result, _) = dir.read(&[&file, "--csv", tables.to_str().unwrap()]);
    assert!(result.is_ok(), "{result:?}");
    let protocols = fs::read_to_string(tables.join("protocols.csv")).unwrap();
    assert_eq!(
        protocols,
        "protocol,packets,bytes\r\narp,1,42\r\ndns,1,62\r\n"
    );
    let names = fs::read_to_string(tables.join("dns_names.csv")).unwrap();
    assert_eq!(names, "name,type,queries,answers\r\nab,A,1,\r\n");
    assert_eq!(fs::read_dir(tables).unwrap().count(), 18);
}

/// Removed with everything in it.
struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Runs the command; the report is null where none was written.
    fn read(&self, args: &[&str]) -> (Result<ExitCode>, Value) {
        let json = self.0.path().join("report.json");
        let output = ["-qq", "--json", json.to_str().unwrap()];
        let args = ["traffic", "read"].iter().chain(args).chain(&output);
        let Some(Command::Read(args)) = Cli::try_parse_from(args).unwrap().command else {
            panic!("not read");
        };
        let result = Files::open(&args).and_then(|files| files.report(&args));
        let report =
            fs::read(json).map_or(Value::Null, |json| serde_json::from_slice(&json).unwrap());
        (result, report)
    }
}

/// A little-endian classic file of Ethernet frames, by second.
fn pcap(frames: &[(u32, &[u8])]) -> Vec<u8> {
    let header = [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 262_144, 1];
    let mut file: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (second, frame) in frames {
        let len = u32::try_from(frame.len()).unwrap();
        file.extend(
            [*second, 0, len, len]
                .iter()
                .flat_map(|word| word.to_le_bytes()),
        );
        file.extend_from_slice(frame);
    }
    file
}

fn arp() -> Vec<u8> {
    [
        &[0xff; 6][..],
        &[2, 0, 0, 0, 0, 1, 8, 6],
        &[0, 1, 8, 0, 6, 4, 0, 1],
        &[0; 20],
    ]
    .concat()
}

fn dns() -> Vec<u8> {
    let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x02ab\0\0\x01\0\x01";
    let ip = [
        0x45, 0, 0, 48, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    [
        &[0; 12][..],
        &[8, 0],
        &ip,
        &[0, 99, 0, 53, 0, 28, 0, 0],
        query,
    ]
    .concat()
}
