//! ICMP (RFC 792) for IPv4.

use std::net::Ipv4Addr;

use super::{be16, bytes, ip::Datagram, put};

/// `None` where the message is cut short.
pub(super) fn put(datagram: &Datagram<'_>, out: &mut String) -> Option<()> {
    let data = datagram.data;
    let [kind, code] = bytes(data, 0)?;
    out.push_str("ICMP ");
    match kind {
        0 | 8 => {
            let name = if kind == 8 { "request" } else { "reply" };
            let (id, seq) = (be16(data, 4)?, be16(data, 6)?);
            put!(out, "echo {name}, id {id}, seq {seq}");
        }
        3 => unreachable(code, data, out)?,
        4 => put!(out, "source quench"),
        5 => {
            let gateway = Ipv4Addr::from(bytes::<4>(data, 4)?);
            let what = match code {
                0 => "net",
                1 => "host",
                2 => "tos net",
                _ => "tos host",
            };
            put!(out, "redirect {} to {what} {gateway}", original_dst(data)?);
        }
        9 => put!(out, "router advertisement"),
        10 => put!(out, "router solicitation"),
        11 if code == 0 => put!(out, "time exceeded in-transit"),
        11 if code == 1 => put!(out, "ip reassembly time exceeded"),
        11 => put!(out, "time exceeded-#{code}"),
        12 => put!(out, "parameter problem - octet {}", data.get(4)?),
        13 | 14 => {
            let name = if kind == 13 { "query" } else { "reply" };
            let (id, seq) = (be16(data, 4)?, be16(data, 6)?);
            put!(out, "time stamp {name} id {id} seq {seq}");
        }
        17 => put!(out, "address mask request"),
        18 => put!(out, "address mask reply"),
        _ => put!(out, "type-#{kind}"),
    }
    put!(out, ", length {}", datagram.len);
    Some(())
}

/// Offset of the packet that an error is about.
const ORIGINAL: usize = 8;

fn original_dst(data: &[u8]) -> Option<Ipv4Addr> {
    bytes::<4>(data, ORIGINAL + 16).map(Ipv4Addr::from)
}

fn unreachable(code: u8, data: &[u8], out: &mut String) -> Option<()> {
    let dst = original_dst(data)?;
    match code {
        0 => put!(out, "net {dst} unreachable"),
        1 => put!(out, "host {dst} unreachable"),
        2 => put!(
            out,
            "{dst} protocol {} unreachable",
            data.get(ORIGINAL + 9)?
        ),
        3 => {
            let header_len = usize::from(data.get(ORIGINAL)? & 15) * 4;
            let port = be16(data, ORIGINAL + header_len + 2)?;
            match data.get(ORIGINAL + 9)? {
                6 => put!(out, "{dst} tcp port {port} unreachable"),
                17 => put!(out, "{dst} udp port {port} unreachable"),
                protocol => put!(out, "{dst} protocol {protocol} port {port} unreachable"),
            }
        }
        4 => {
            put!(out, "{dst} unreachable - need to frag");
            match be16(data, 6)? {
                0 => {}
                mtu => put!(out, " (mtu {mtu})"),
            }
        }
        5 => put!(out, "{dst} unreachable - source route failed"),
        6 => put!(out, "net {dst} unreachable - unknown"),
        7 => put!(out, "host {dst} unreachable - unknown"),
        9 => put!(out, "net {dst} unreachable - admin prohibited"),
        10 => put!(out, "host {dst} unreachable - admin prohibited"),
        13 => put!(out, "host {dst} unreachable - admin prohibited filter"),
        _ => put!(out, "{dst} unreachable - #{code}"),
    }
    Some(())
}
