//! What tshark says about the packets of a file.

use std::{
    fs,
    net::IpAddr,
    path::Path,
    process::{Command, Stdio},
    str::FromStr,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::answer::Answer;

/// Protocols that are dissected: those whose headers are compared. Everything else is switched
/// off, so that no deeper header can stand in for the one that is meant.
const DISSECTED: [&str; 18] = [
    "frame",
    "eth",
    "ethertype",
    "vlan",
    "ieee8021ad",
    "sll",
    "null",
    "raw",
    "chdlc",
    "ppp",
    "arp",
    "ip",
    "ipv6",
    "tcp",
    "udp",
    "sctp",
    "data",
    "_ws.malformed",
];

/// IPv6 extension headers, which are protocols of their own.
const EXTENSION_PREFIX: &str = "ipv6.";

/// Nothing is put together from several packets, and a length of 0 is a super-frame's.
const PREFERENCES: [&str; 8] = [
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "tcp.analyze_sequence_numbers:FALSE",
    "sctp.reassembly:FALSE",
    "ip.tso_support:TRUE",
    "ipv6.tso_support:TRUE",
    "frame.generate_epoch_time:TRUE",
];

/// Runs tshark with a configuration of its own.
pub(crate) struct Tshark {
    config: TempDir,
}

impl Tshark {
    pub(crate) fn new() -> Result<Self> {
        let config = tempfile::tempdir().context("make a configuration directory")?;
        let list = Command::new("tshark").args(["-G", "protocols"]).output()?;
        // Name, short name, filter name.
        let disabled: Vec<&str> = str::from_utf8(&list.stdout)?
            .lines()
            .filter_map(|line| line.split('\t').nth(2))
            .filter(|name| !DISSECTED.contains(name) && !name.starts_with(EXTENSION_PREFIX))
            .collect();
        if disabled.is_empty() {
            bail!("tshark -G protocols printed no protocol");
        }
        fs::write(config.path().join("disabled_protos"), disabled.join("\n"))?;
        Ok(Self { config })
    }

    /// tshark's answer to every packet that it can read in the file at `path`.
    pub(crate) fn answers(&self, path: &Path) -> Result<Vec<Answer>> {
        let mut command = Command::new("tshark");
        command
            .env("WIRESHARK_CONFIG_DIR", self.config.path())
            .args(["-n", "-Q", "-T", "fields", "-r"])
            .arg(path)
            .stdin(Stdio::null());
        for preference in PREFERENCES {
            command.args(["-o", preference]);
        }
        for field in FIELDS {
            command.args(["-e", field]);
        }
        // A damaged file makes tshark fail after it printed the packets in front of the damage.
        let output = command.output().context("run tshark")?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines()
            .map(|line| answer(&Row::new(line)).with_context(|| format!("tshark printed {line:?}")))
            .collect()
    }
}

/// Fields that are asked for, in the order of the columns.
const FIELDS: [&str; 43] = [
    "frame.time_epoch",
    "frame.len",
    "frame.protocols",
    "eth.type",
    "eth.len",
    "eth.invalid_lentype",
    "vlan.id",
    "vlan.etype",
    "vlan.len",
    "ieee8021ad.id",
    "ieee8021ad.svid",
    "ieee8021ad.cvid",
    "ieee8021ah.etype",
    "sll.etype",
    "sll.ltype",
    "sll.gretype",
    "null.type",
    "null.family",
    "chdlc.protocol",
    "ppp.protocol",
    "ip.proto",
    "ip.src",
    "ip.dst",
    "ip.flags.mf",
    "ip.frag_offset",
    "ipv6.nxt",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hopopts.nxt",
    "ipv6.routing.nxt",
    "ipv6.dstopts.nxt",
    "ipv6.fraghdr.nxt",
    "ipv6.fraghdr.offset",
    "ipv6.fraghdr.more",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "udp.srcport",
    "udp.dstport",
    "sctp.srcport",
    "sctp.dstport",
    "frame.number",
    "_ws.malformed",
];

/// One line of output: for each field its values, outermost header first.
struct Row<'a>(Vec<&'a str>);

impl<'a> Row<'a> {
    fn new(line: &'a str) -> Self {
        Self(line.split('\t').collect())
    }

    fn values(&self, field: &str) -> impl Iterator<Item = &'a str> {
        let column = FIELDS.iter().position(|name| *name == field);
        let text = column.and_then(|column| self.0.get(column)).copied();
        text.unwrap_or("")
            .split(',')
            .filter(|value| !value.is_empty())
    }

    fn text(&self, field: &str) -> Option<&'a str> {
        self.values(field).next()
    }

    fn numbers(&self, field: &str) -> impl Iterator<Item = u32> {
        self.values(field).filter_map(number)
    }

    fn number(&self, field: &str) -> Option<u32> {
        self.numbers(field).next()
    }

    fn is_set(&self, field: &str) -> bool {
        self.number(field).is_some_and(|value| value != 0)
    }

    fn address(&self, field: &str) -> Option<IpAddr> {
        IpAddr::from_str(self.text(field)?).ok()
    }

    fn ports(&self, protocol: &str) -> Option<(u16, u16)> {
        let port = |end| u16::try_from(self.number(&format!("{protocol}.{end}port"))?).ok();
        Some((port("src")?, port("dst")?))
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Walks tshark's stack of protocols, from the link header to the first transport header.
fn answer(row: &Row<'_>) -> Result<Answer> {
    let link = link(row);
    let network = network(row);
    let ether_type = link.ether_type.or(network.ether_type);
    let is_port_53 = |ports: (u16, u16)| ports.0 == 53 || ports.1 == 53;
    let class = match (ether_type, network.ip_proto) {
        // The chain of IPv6 headers ended before it named a protocol. In a later fragment it
        // cannot be followed, and its first number counts.
        (Some(0x86dd), Some(0 | 43 | 44 | 60)) if !network.is_later_fragment => {
            "unparsed".to_owned()
        }
        (_, Some(6 | 17)) if network.ports.is_some_and(is_port_53) => "dns".to_owned(),
        (_, Some(proto)) => ip_class(proto),
        (Some(0x0806), None) => "arp".to_owned(),
        // A VLAN tag or an IP header was announced and is not there.
        (None | Some(0x0800 | 0x86dd | 0x8100 | 0x88a8 | 0x9100), None) => "unparsed".to_owned(),
        (Some(other), None) => format!("ethertype-{other:#06x}"),
    };
    Ok(Answer {
        class,
        ether_type,
        vlan_ids: link.vlan_ids,
        ip_version: network.src.map(|src| if src.is_ipv4() { 4 } else { 6 }),
        ip_proto: network.ip_proto,
        src: network.src,
        dst: network.dst,
        fragment: network.fragment,
        ports: network.ports,
        tcp_flags: network.tcp_flags,
        malformed: row
            .text("_ws.malformed")
            .and(stack(row).last())
            .map(str::to_owned),
        wire_len: row.number("frame.len").context("no frame.len")?,
        timestamp_ns: row.text("frame.time_epoch").and_then(nanoseconds),
    })
}

/// Seconds with nine decimals. More decimals are a file's fraction of a whole second or more,
/// which is no time.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    let fraction = (fraction.len() == 9).then(|| fraction.parse::<u64>().ok())??;
    Some(seconds.parse::<u64>().ok()? * 1_000_000_000 + fraction)
}

/// Labels by IANA's protocol numbers.
fn ip_class(proto: u8) -> String {
    let label = match proto {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmp6",
        132 => "sctp",
        other => return format!("ip-proto-{other}"),
    };
    label.to_owned()
}

/// Link header and VLAN tags.
struct Link {
    ether_type: Option<u16>,
    vlan_ids: Vec<u16>,
}

/// What frames with a length instead of a type are filed under.
const LLC: u32 = 0x0004;

fn link(row: &Row<'_>) -> Link {
    let mut ether_type = None;
    let mut vlan_ids = Vec::new();
    let (mut ids, mut types) = (row.numbers("vlan.id"), row.numbers("vlan.etype"));
    let (mut ad_ids, mut ad_types) = (
        row.numbers("ieee8021ad.id"),
        row.numbers("ieee8021ah.etype"),
    );
    let mut lens = row.numbers("vlan.len");
    for layer in stack(row) {
        match layer {
            "eth" => {
                let len = row.number("eth.len").or(row.number("eth.invalid_lentype"));
                ether_type = row.number("eth.type").or(len.map(|_| LLC));
            }
            "sll" => {
                let fields = ["sll.etype", "sll.gretype", "sll.ltype"];
                ether_type = fields.into_iter().find_map(|field| row.number(field));
            }
            "null" => ether_type = null_type(row),
            "chdlc" => ether_type = row.number("chdlc.protocol"),
            "ppp" => ether_type = row.number("ppp.protocol").map(ppp_type),
            "vlan" => {
                vlan_ids.extend(ids.next());
                let field = types.next().or_else(|| lens.next().map(|_| LLC));
                ether_type = field.or(ether_type);
            }
            "ieee8021ad" => {
                // Two S-tags that follow one another are one layer.
                vlan_ids.extend(row.numbers("ieee8021ad.svid"));
                vlan_ids.extend(row.numbers("ieee8021ad.cvid"));
                vlan_ids.extend(ad_ids.next());
                ether_type = ad_types.next().or(ether_type);
            }
            "ip" | "ipv6" | "arp" => break,
            _ => {}
        }
    }
    Link {
        ether_type: ether_type.and_then(|number| u16::try_from(number).ok()),
        vlan_ids: vlan_ids
            .into_iter()
            .filter_map(|id| u16::try_from(id).ok())
            .collect(),
    }
}

fn stack<'a>(row: &Row<'a>) -> impl Iterator<Item = &'a str> {
    row.text("frame.protocols").unwrap_or("").split(':')
}

/// `EtherType` of a BSD address family.
fn null_type(row: &Row<'_>) -> Option<u32> {
    let by_family = row.number("null.family").map(|family| match family {
        2 => 0x0800,
        24 | 28 | 30 => 0x86dd,
        16 => 0x809b,
        23 => 0x8137,
        _ => 0,
    });
    row.number("null.type").or(by_family)
}

/// `EtherType` of a PPP protocol.
fn ppp_type(protocol: u32) -> u32 {
    match protocol {
        0x0021 => 0x0800,
        0x0057 => 0x86dd,
        0x0281 => 0x8847,
        0x0283 => 0x8848,
        _ => 0x880b,
    }
}

/// Layers of IPv6 extension headers, and what names the next header in each.
const EXTENSIONS: [(&str, &str); 4] = [
    ("ipv6.hopopts", "ipv6.hopopts.nxt"),
    ("ipv6.routing", "ipv6.routing.nxt"),
    ("ipv6.dstopts", "ipv6.dstopts.nxt"),
    ("ipv6.fraghdr", "ipv6.fraghdr.nxt"),
];

/// Outermost IP header and what follows it.
#[derive(Default)]
struct Network {
    ether_type: Option<u16>,
    ip_proto: Option<u8>,
    src: Option<IpAddr>,
    dst: Option<IpAddr>,
    fragment: bool,
    is_later_fragment: bool,
    ports: Option<(u16, u16)>,
    tcp_flags: u8,
}

fn network(row: &Row<'_>) -> Network {
    let mut layers = stack(row).skip_while(|layer| !matches!(*layer, "ip" | "ipv6"));
    let mut network = match layers.next() {
        Some("ip") => ipv4(row),
        Some("ipv6") => ipv6(row),
        _ => return Network::default(),
    };
    let mut transport = layers.next();
    if network.ether_type == Some(0x0800) {
        // Only after IPv6 are these extension headers.
        return with_transport(row, network, transport);
    }
    let mut offsets = row.numbers("ipv6.fraghdr.offset");
    let mut mores = row.numbers("ipv6.fraghdr.more");
    let mut chains = EXTENSIONS.map(|(layer, field)| (layer, row.numbers(field)));
    while let Some(layer) = transport.filter(|layer| layer.starts_with(EXTENSION_PREFIX)) {
        let chain = chains.iter_mut().find(|(known, _)| *known == layer);
        if let Some(next) = chain.and_then(|(_, numbers)| numbers.next()) {
            network.ip_proto = u8::try_from(next).ok();
        }
        if layer == "ipv6.fraghdr" {
            network.is_later_fragment |= offsets.next().is_some_and(|offset| offset != 0);
            network.fragment |= network.is_later_fragment || mores.next() == Some(1);
        }
        transport = layers.next();
    }
    with_transport(row, network, transport)
}

fn with_transport(row: &Row<'_>, mut network: Network, transport: Option<&str>) -> Network {
    if let Some(name @ ("tcp" | "udp" | "sctp")) = transport {
        network.ports = row.ports(name);
        if name == "tcp" {
            // The low byte: above it stand the data offset's reserved bits.
            network.tcp_flags = (row.number("tcp.flags").unwrap_or(0) & 0xff) as u8;
        }
    }
    network
}

fn ipv4(row: &Row<'_>) -> Network {
    Network {
        ether_type: Some(0x0800),
        ip_proto: row
            .number("ip.proto")
            .and_then(|proto| u8::try_from(proto).ok()),
        src: row.address("ip.src"),
        dst: row.address("ip.dst"),
        fragment: row.is_set("ip.flags.mf") || row.is_set("ip.frag_offset"),
        ..Network::default()
    }
}

fn ipv6(row: &Row<'_>) -> Network {
    Network {
        ether_type: Some(0x86dd),
        ip_proto: row
            .number("ipv6.nxt")
            .and_then(|proto| u8::try_from(proto).ok()),
        src: row.address("ipv6.src"),
        dst: row.address("ipv6.dst"),
        ..Network::default()
    }
}
