//! Filters over stored flows, and over a capture file of the same packets.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use traffic_tests::{
    clickhouse::Server,
    netns::{VETH, VethOptions, VethPair},
    program::Capture,
};

use crate::{agent::ledger, tables::init, written};

/// Tags stay where libpcap looks for them.
const LINK: VethOptions<'_> = VethOptions {
    mtu: 1500,
    offloads: "rxvlan off txvlan off",
    ipv6: false,
};

const FILTERS: [&str; 22] = [
    "ip",
    "ip6",
    "host 10.1.0.2 and ip",
    "src host 10.1.0.2 and ip",
    "dst host 10.1.0.3 or 10.1.0.4 and ip",
    "net 10.1.0.0/30 and not icmp and ip",
    "ip6 and src net 2001:db8::/126",
    "port 53",
    "src port 53",
    "tcp dst port 443",
    "udp port 53 or tcp port 80",
    "portrange 2000-2010",
    "tcp or udp and ip6",
    "icmp or icmp6",
    "not port 443 and ip and not icmp",
    "src and dst port 53",
    "ip proto 47",
    "sctp",
    "vlan",
    "vlan 5 and tcp",
    "vlan 7 and vlan 9 and host 10.1.0.3",
    "tcp port 443 or vlan 5",
];

pub(crate) fn a_filter_selects_what_it_selects_in_a_capture_file() -> Result<()> {
    let pair = VethPair::new(&LINK)?;
    let server = Server::start_within(&pair.left)?;
    init(&server)?;
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    let (sent, taken, spool) = (path("sent"), path("taken.pcapng"), path("spool"));
    let frames = frames();
    written::write(&sent, &frames, 1_700_000_000_000_000_000, 0)?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path is text");
    let (url, taken, spool) = (server.url("t"), text(&taken)?, text(&spool)?);
    let options = ["-i", VETH, "--to", &url, "--spool", &spool, "-w", &taken];
    let capture = Capture::start(&pair.left, &options)?;
    pair.right.run(&format!(
        "tcpreplay -q --topspeed -i {VETH} {}",
        text(&sent)?
    ))?;
    let report = capture.interrupt()?.report;
    let all = ledger(&report, "matched")?;
    ensure!(
        all == u64::try_from(frames.len())?,
        "{all} packets were captured"
    );
    for filter in FILTERS {
        let stored = filtered(&server, filter)?;
        let selected = ledger(&stored, "matched")?;
        let expected = count(&taken, filter)?;
        ensure!(
            selected == expected && (1..all).contains(&expected),
            "{filter}: {selected} of flows, {expected} of the file's {all}"
        );
        let bars = stored["timeline"]["bins"].as_array().context("bins")?;
        let bars: u64 = bars.iter().filter_map(Value::as_u64).sum();
        ensure!(bars == selected, "{filter}: {bars} packets in bars");
        ensure!(
            stored["flows"]["packets"] == selected,
            "{filter}: {}",
            stored["flows"]
        );
    }
    let output = server.traffic(&["report", "--from", &url, "-f", "tcp[13] & 2 != 0"])?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2) && error.contains("traffic capture -f"),
        "{error}"
    );
    Ok(())
}

/// The report on the packets of stored flows that a filter selects.
fn filtered(server: &Server, filter: &str) -> Result<Value> {
    let url = server.url("t");
    let options = ["report", "--from", &url, "-qq", "--json", "-", "-f", filter];
    let output = server.traffic(&options)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{filter}: {error}");
    serde_json::from_slice(&output.stdout).context("read the report")
}

/// Packets of a file that tcpdump selects.
fn count(file: &str, filter: &str) -> Result<u64> {
    let output = Command::new("tcpdump")
        .args(["--count", "-r", file, filter])
        .output()
        .context("run tcpdump")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split(' ').next().unwrap_or_default();
    number
        .parse()
        .with_context(|| format!("{filter}: {output:?}"))
}

/// Questions and answers of several hosts over every protocol, without tags, with one and two.
fn frames() -> Vec<Vec<u8>> {
    const TAGS: [&[u16]; 4] = [&[], &[5], &[6], &[7, 9]];
    let mut frames = Vec::new();
    for host in 2..8u8 {
        for tags in TAGS {
            for (protocol, port) in [(6, 443), (6, 80), (17, 53), (132, 443), (1, 8), (47, 0)] {
                let own = 2000 + u16::from(host);
                let ports = if port == 53 && host == 2 {
                    (53, 53)
                } else {
                    (own, port)
                };
                for version in [4, 6] {
                    frames.push(frame(tags, version, protocol, (host, 1), ports));
                    if host % 2 == 0 {
                        frames.push(frame(
                            tags,
                            version,
                            protocol,
                            (1, host),
                            (ports.1, ports.0),
                        ));
                    }
                }
            }
        }
        frames.push([&[2; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[0; 50]].concat());
    }
    frames
}

/// A frame from one host of 10.1.0.0/24 or `2001:db8::/32` to another; ICMP are echoes of IPv4 or
/// IPv6.
fn frame(tags: &[u16], version: u8, protocol: u8, hosts: (u8, u8), ports: (u16, u16)) -> Vec<u8> {
    let mut payload = vec![0; 40];
    payload[..2].copy_from_slice(&ports.0.to_be_bytes());
    payload[2..4].copy_from_slice(&ports.1.to_be_bytes());
    let protocol = match (protocol, version) {
        (1, 6) => 58,
        (protocol, _) => protocol,
    };
    match protocol {
        1 | 58 => payload[..2].copy_from_slice(&[if protocol == 1 { 8 } else { 128 }, 0]),
        6 => payload[12] = 0x50,
        17 => payload[4..6].copy_from_slice(&40u16.to_be_bytes()),
        _ => {}
    }
    let address = |host| [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[host]].concat();
    let header = if version == 4 {
        let ends = [10, 1, 0, hosts.0, 10, 1, 0, hosts.1];
        [&[0x45, 0, 0, 60, 0, 0, 0, 0, 64, protocol, 0, 0][..], &ends].concat()
    } else {
        [
            &[0x60, 0, 0, 0, 0, 40, protocol, 64][..],
            &address(hosts.0),
            &address(hosts.1),
        ]
        .concat()
    };
    let tags = tags
        .iter()
        .flat_map(|id| [&[0x81, 0][..], &id.to_be_bytes()].concat());
    let ether_type: &[u8] = if version == 4 { &[8, 0] } else { &[0x86, 0xdd] };
    let ends = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    let tags: Vec<u8> = tags.collect();
    [&ends[..], &tags, ether_type, &header, &payload].concat()
}
