//! TCP (RFC 9293), with sequence numbers relative to the beginning of the connection.

use std::{collections::HashMap, net::IpAddr};

use super::{be16, be32, bytes, dns, ip::Datagram, put};

const FIN: u8 = 1;
const SYN: u8 = 1 << 1;
const RST: u8 = 1 << 2;
const ACK: u8 = 1 << 4;
const URG: u8 = 1 << 5;
/// What each flag is called, from the lowest bit on.
const FLAGS: [char; 8] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W'];

/// Port of DNS.
const DOMAIN: u16 = 53;

/// `None` where the header is cut short.
pub(super) fn put(datagram: &Datagram<'_>, flows: &mut Flows, out: &mut String) -> Option<()> {
    let data = datagram.data;
    let (src_port, dst_port) = (be16(data, 0)?, be16(data, 2)?);
    datagram.put_endpoints(src_port, dst_port, out);
    let [offset, flags] = bytes(data, 12)?;
    let header_len = usize::from(offset >> 4) * 4;
    put!(out, "Flags [");
    put_flags(flags, out);
    out.push(']');
    if header_len < 20 {
        put!(out, " [bad hdr length {header_len} - too short, < 20]");
        return Some(());
    }
    if header_len > datagram.len {
        put!(
            out,
            " [bad hdr length {header_len} - too long, > {}]",
            datagram.len
        );
        return Some(());
    }
    let len = datagram.len - header_len;
    let (src, dst) = ((datagram.src, src_port), (datagram.dst, dst_port));
    let (raw_seq, raw_ack) = (be32(data, 4)?, be32(data, 8)?);
    let (seq, ack) = flows.relative(src, dst, flags, (raw_seq, raw_ack));
    if len > 0 || flags & (SYN | FIN | RST) != 0 {
        put!(out, ", seq {seq}");
        if len > 0 {
            put!(
                out,
                ":{}",
                seq.wrapping_add(u32::try_from(len).unwrap_or(0))
            );
        }
    }
    if flags & ACK != 0 {
        put!(out, ", ack {ack}");
    }
    put!(out, ", win {}", be16(data, 14)?);
    if flags & URG != 0 {
        put!(out, ", urg {}", be16(data, 18)?);
    }
    if header_len > 20 {
        put!(out, ", options [");
        // Edges of selective acknowledgements are shown as the acknowledgement is.
        put_options(data.get(20..header_len)?, raw_ack.wrapping_sub(ack), out);
        out.push(']');
    }
    put!(out, ", length {len}");
    let payload = data.get(header_len..).unwrap_or_default();
    if (src_port == DOMAIN || dst_port == DOMAIN) && payload.len() > 2 {
        dns::put(&payload[2..], len.saturating_sub(2), out);
    }
    Some(())
}

fn put_flags(flags: u8, out: &mut String) {
    let set = FLAGS
        .iter()
        .enumerate()
        .filter(|(bit, _)| flags >> bit & 1 == 1);
    if flags == 0 {
        out.push_str("none");
    }
    out.extend(set.map(|(_, flag)| flag));
}

fn put_options(mut options: &[u8], first_ack: u32, out: &mut String) {
    let mut separator = "";
    while let Some((&kind, rest)) = options.split_first() {
        out.push_str(separator);
        separator = ",";
        if kind <= 1 {
            out.push_str(if kind == 0 { "eol" } else { "nop" });
            options = rest;
            if kind == 0 {
                return;
            }
            continue;
        }
        let value = rest.first().and_then(|len| {
            let len = usize::from(*len);
            Some((options.get(2..len)?, options.get(len..)?))
        });
        let Some((value, behind)) = value else {
            out.push_str("[bad opt]");
            return;
        };
        put_option(kind, value, first_ack, out);
        options = behind;
    }
}

fn put_option(kind: u8, value: &[u8], first_ack: u32, out: &mut String) {
    match (kind, value) {
        (2, &[a, b]) => put!(out, "mss {}", u16::from_be_bytes([a, b])),
        (3, &[shift]) => put!(out, "wscale {shift}"),
        (4, []) => out.push_str("sackOK"),
        (5, blocks) if blocks.len().is_multiple_of(8) => {
            put!(out, "sack {} ", blocks.len() / 8);
            for block in blocks.chunks_exact(8) {
                let edge = |offset| be32(block, offset).unwrap_or(0).wrapping_sub(first_ack);
                put!(out, "{{{}:{}}}", edge(0), edge(4));
            }
        }
        (8, &[a, b, c, d, e, f, g, h]) => {
            let (value, echo) = ([a, b, c, d], [e, f, g, h]);
            let (value, echo) = (u32::from_be_bytes(value), u32::from_be_bytes(echo));
            put!(out, "TS val {value} ecr {echo}");
        }
        _ => {
            put!(out, "unknown-{kind}");
            if !value.is_empty() {
                out.push_str(" 0x");
                for byte in value {
                    put!(out, "{byte:02x}");
                }
            }
        }
    }
}

type Endpoint = (IpAddr, u16);

/// The first sequence numbers of connections, by their two ends in order.
#[derive(Debug, Default)]
pub(super) struct Flows(HashMap<(Endpoint, Endpoint), [u32; 2]>);

/// Connections remembered. Beyond them all are forgotten, and numbers are absolute once.
const MAX_FLOWS: usize = 65_536;

impl Flows {
    /// Sequence and acknowledgement number as they are shown: those of the first segment with
    /// an acknowledgement, and of each with SYN, as they are; later ones relative to them.
    fn relative(
        &mut self,
        src: Endpoint,
        dst: Endpoint,
        flags: u8,
        (seq, ack): (u32, u32),
    ) -> (u32, u32) {
        if flags & ACK == 0 {
            return (seq, ack);
        }
        let forward = src <= dst;
        let key = if forward { (src, dst) } else { (dst, src) };
        let known = self.0.get(&key).filter(|_| flags & SYN == 0);
        if let Some(&[low, high]) = known {
            let (mine, theirs) = if forward { (low, high) } else { (high, low) };
            return (seq.wrapping_sub(mine), ack.wrapping_sub(theirs));
        }
        if self.0.len() >= MAX_FLOWS {
            self.0.clear();
        }
        let (mine, theirs) = (seq, ack.wrapping_sub(1));
        let first = if forward {
            [mine, theirs]
        } else {
            [theirs, mine]
        };
        self.0.insert(key, first);
        (seq, ack)
    }
}
