//! IPv4 (RFC 791) and IPv6 (RFC 8200), and which transport they carry.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{Context, be16, be32, bytes, icmp, icmp6, put, tcp, udp};

/// What a transport header stands in.
#[derive(Clone, Copy)]
pub(super) struct Datagram<'a> {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// The addresses were shown already, because something stands between IP and transport.
    pub(super) addresses_shown: bool,
    /// From the transport header, as far as captured.
    pub(super) data: &'a [u8],
    /// Bytes from there on that the IP header claims.
    pub(super) len: usize,
}

impl Datagram<'_> {
    /// `10.0.0.1.80 > 10.0.0.2.1234: `
    pub(super) fn put_endpoints(&self, src_port: u16, dst_port: u16, out: &mut String) {
        if self.addresses_shown {
            put!(out, "{src_port} > {dst_port}: ");
        } else {
            put!(out, "{}.{src_port} > {}.{dst_port}: ", self.src, self.dst);
        }
    }

    /// `10.0.0.1 > 10.0.0.2: `
    fn put_addresses(&self, out: &mut String) {
        if !self.addresses_shown {
            put!(out, "{} > {}: ", self.src, self.dst);
        }
    }
}

const ICMP: u8 = 1;
const IGMP: u8 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
const ESP: u8 = 50;
const ICMP6: u8 = 58;
const OSPF: u8 = 89;
const SCTP: u8 = 132;

/// Puts an IPv4 packet of which `wire_len` bytes were on the wire.
pub(super) fn v4(data: &[u8], wire_len: u32, context: &mut Context<'_>, out: &mut String) {
    if !context.link_shown {
        out.push_str("IP ");
    }
    if v4_packet(data, wire_len as usize, context, out).is_none() {
        out.push_str(" [|ip]");
    }
}

/// `None` where the header is cut short.
fn v4_packet(
    data: &[u8],
    wire_len: usize,
    context: &mut Context<'_>,
    out: &mut String,
) -> Option<()> {
    let header: [u8; 20] = bytes(data, 0)?;
    let header_len = usize::from(header[0] & 15) * 4;
    if header_len < 20 {
        put!(out, "bad-hlen {header_len}");
        return Some(());
    }
    let total_len = match usize::from(be16(data, 2)?) {
        // A super-frame whose length does not fit.
        0 => wire_len,
        total_len => total_len,
    };
    if total_len < header_len {
        put!(out, "bad-len {total_len}");
        return Some(());
    }
    put_missing("ip", total_len, wire_len, out);
    let data = &data[..data.len().min(total_len)];
    let datagram = Datagram {
        src: Ipv4Addr::from(bytes::<4>(data, 12)?).into(),
        dst: Ipv4Addr::from(bytes::<4>(data, 16)?).into(),
        addresses_shown: false,
        data: data.get(header_len..)?,
        len: total_len - header_len,
    };
    let offset = be16(data, 6)? & 0x1fff;
    if offset == 0 {
        transport(header[9], &datagram, context, out);
    } else {
        datagram.put_addresses(out);
        put!(out, "ip-proto-{}", header[9]);
    }
    Some(())
}

fn put_missing(name: &str, claimed: usize, wire_len: usize, out: &mut String) {
    if claimed > wire_len {
        put!(
            out,
            "truncated-{name} - {} bytes missing! ",
            claimed - wire_len
        );
    }
}

/// Puts an IPv6 packet of which `wire_len` bytes were on the wire.
pub(super) fn v6(data: &[u8], wire_len: u32, context: &mut Context<'_>, out: &mut String) {
    if !context.link_shown {
        out.push_str("IP6 ");
    }
    if v6_packet(data, wire_len as usize, context, out).is_none() {
        out.push_str(" [|ip6]");
    }
}

/// Bytes of the fixed header.
const V6_HEADER: usize = 40;

/// `None` where a header is cut short.
fn v6_packet(
    data: &[u8],
    wire_len: usize,
    context: &mut Context<'_>,
    out: &mut String,
) -> Option<()> {
    let total_len = match usize::from(be16(data, 4)?) {
        // A jumbogram or a super-frame.
        0 => wire_len,
        payload_len => V6_HEADER + payload_len,
    };
    put_missing("ip6", total_len, wire_len, out);
    let data = &data[..data.len().min(total_len)];
    let mut datagram = Datagram {
        src: Ipv6Addr::from(bytes::<16>(data, 8)?).into(),
        dst: Ipv6Addr::from(bytes::<16>(data, 24)?).into(),
        addresses_shown: false,
        data: data.get(V6_HEADER..)?,
        len: total_len.saturating_sub(V6_HEADER),
    };
    let mut next = *data.get(6)?;
    while let Some(name) = extension(next) {
        datagram.put_addresses(out);
        datagram.addresses_shown = true;
        out.push_str(name);
        let header_len = match next {
            FRAGMENT => {
                let offset = be16(datagram.data, 2)? & 0xfff8;
                put!(out, "({offset}|{}) ", datagram.len.saturating_sub(8));
                if offset != 0 {
                    out.truncate(out.trim_end().len());
                    return Some(());
                }
                8
            }
            AUTHENTICATION => {
                let (spi, seq) = (be32(datagram.data, 4)?, be32(datagram.data, 8)?);
                put!(out, "(spi=0x{spi:08x},seq=0x{seq:x}): ");
                (usize::from(*datagram.data.get(1)?) + 2) * 4
            }
            _ => (usize::from(*datagram.data.get(1)?) + 1) * 8,
        };
        next = *datagram.data.first()?;
        datagram.data = datagram.data.get(header_len..)?;
        datagram.len = datagram.len.saturating_sub(header_len);
    }
    transport(next, &datagram, context, out);
    Some(())
}

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;

/// What an extension header is called.
fn extension(next: u8) -> Option<&'static str> {
    Some(match next {
        0 => "HBH ",
        43 => "RT6 ",
        FRAGMENT => "frag ",
        AUTHENTICATION => "AH",
        60 => "DSTOPT ",
        _ => return None,
    })
}

fn transport(protocol: u8, datagram: &Datagram<'_>, context: &mut Context<'_>, out: &mut String) {
    let (name, whole) = match protocol {
        TCP => ("tcp", tcp::put(datagram, context.flows, out)),
        UDP => ("udp", udp::put(datagram, out)),
        SCTP => ("sctp", sctp(datagram, out)),
        _ => {
            datagram.put_addresses(out);
            let data = datagram.data;
            match protocol {
                ICMP => ("icmp", icmp::put(datagram, out)),
                ICMP6 => ("icmp6", icmp6::put(datagram, out)),
                IGMP => ("igmp", igmp(data, out)),
                GRE => ("gre", gre(datagram, out)),
                ESP => ("esp", esp(datagram, out)),
                OSPF => ("ospf", ospf(datagram, out)),
                59 => {
                    put!(out, "no next header");
                    ("", Some(()))
                }
                _ => {
                    put!(out, " ip-proto-{protocol} {}", datagram.len);
                    ("", Some(()))
                }
            }
        }
    };
    if whole.is_none() {
        put!(out, " [|{name}]");
    }
}

/// RFC 9260: only ports.
fn sctp(datagram: &Datagram<'_>, out: &mut String) -> Option<()> {
    let (src, dst) = (be16(datagram.data, 0)?, be16(datagram.data, 2)?);
    datagram.put_endpoints(src, dst, out);
    put!(out, "sctp, length {}", datagram.len);
    Some(())
}

/// RFC 1112, 2236, 3376.
fn igmp(data: &[u8], out: &mut String) -> Option<()> {
    let group = |offset| bytes::<4>(data, offset).map(Ipv4Addr::from);
    let kind = *data.first()?;
    match kind {
        0x11 if data.len() >= 12 => put_group("igmp query v3", group(4)?, out),
        0x11 if data.get(1)? == &0 => put_group("igmp query v1", group(4)?, out),
        0x11 => put_group("igmp query v2", group(4)?, out),
        0x12 => put!(out, "igmp v1 report {}", group(4)?),
        0x16 => put!(out, "igmp v2 report {}", group(4)?),
        0x17 => put!(out, "igmp leave {}", group(4)?),
        0x22 => put!(out, "igmp v3 report, {} group record(s)", be16(data, 6)?),
        _ => put!(out, "igmp-{kind:#x}"),
    }
    Some(())
}

fn put_group(what: impl Display, group: Ipv4Addr, out: &mut String) {
    put!(out, "{what}");
    if !group.is_unspecified() {
        put!(out, " [gaddr {group}]");
    }
}

/// RFC 2784, RFC 2890.
fn gre(datagram: &Datagram<'_>, out: &mut String) -> Option<()> {
    let data = datagram.data;
    let (flags, protocol) = (be16(data, 0)?, be16(data, 2)?);
    put!(out, "GREv{}, ", flags & 7);
    // Checksum, key and sequence number are there where their bits are set.
    let mut offset = if flags & 0x8000 == 0 { 4 } else { 8 };
    if flags & 0x2000 != 0 {
        put!(out, "key=0x{:x}, ", be32(data, offset)?);
        offset += 4;
    }
    if flags & 0x1000 != 0 {
        put!(out, "seq {}, ", be32(data, offset)?);
    }
    put!(out, "length {}: gre-proto-0x{protocol:x}", datagram.len);
    Some(())
}

/// RFC 4303.
fn esp(datagram: &Datagram<'_>, out: &mut String) -> Option<()> {
    let (spi, seq) = (be32(datagram.data, 0)?, be32(datagram.data, 4)?);
    put!(
        out,
        "ESP(spi=0x{spi:08x},seq=0x{seq:x}), length {}",
        datagram.len
    );
    Some(())
}

/// RFC 2328, RFC 5340.
fn ospf(datagram: &Datagram<'_>, out: &mut String) -> Option<()> {
    let [version, kind] = bytes(datagram.data, 0)?;
    let name = match kind {
        1 => "Hello",
        2 => "Database Description",
        3 => "LS-Request",
        4 => "LS-Update",
        5 => "LS-Ack",
        _ => "unknown packet type",
    };
    put!(out, "OSPFv{version}, {name}, length {}", datagram.len);
    Some(())
}
