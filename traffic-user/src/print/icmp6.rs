//! `ICMPv6` (RFC 4443), neighbour discovery (RFC 4861), multicast listeners (RFC 3810).

use std::net::Ipv6Addr;

use super::{be16, be32, bytes, ip::Datagram, put};

/// `None` where the message is cut short.
pub(super) fn put(datagram: &Datagram<'_>, out: &mut String) -> Option<()> {
    let data = datagram.data;
    let [kind, code] = bytes(data, 0)?;
    let address = |offset| bytes::<16>(data, offset).map(Ipv6Addr::from);
    out.push_str("ICMP6, ");
    match kind {
        1 => unreachable(code, data, out)?,
        2 => put!(out, "packet too big, mtu {}", be32(data, 4)?),
        3 if code == 0 => put!(
            out,
            "time exceeded in-transit for {}",
            address(ORIGINAL + 24)?
        ),
        3 => put!(out, "ip6 reassembly time exceeded"),
        4 => put!(out, "parameter problem - octet {}", be32(data, 4)?),
        128 | 129 => {
            let name = if kind == 128 { "request" } else { "reply" };
            let (id, seq) = (be16(data, 4)?, be16(data, 6)?);
            put!(out, "echo {name}, id {id}, seq {seq}");
        }
        130 => {
            let version = if datagram.len >= 28 { 2 } else { 1 };
            put!(out, "multicast listener query v{version}");
        }
        131 => put!(
            out,
            "multicast listener report max resp delay: {} addr: {}",
            be16(data, 4)?,
            address(8)?
        ),
        132 => put!(
            out,
            "multicast listener done max resp delay: {} addr: {}",
            be16(data, 4)?,
            address(8)?
        ),
        133 => put!(out, "router solicitation"),
        134 => put!(out, "router advertisement"),
        135 => put!(out, "neighbor solicitation, who has {}", address(8)?),
        136 => put!(out, "neighbor advertisement, tgt is {}", address(8)?),
        137 => put!(out, "redirect, {} to {}", address(24)?, address(8)?),
        143 => {
            let records = be16(data, 6)?;
            put!(
                out,
                "multicast listener report v2, {records} group record(s)"
            );
        }
        _ => put!(out, "type-#{kind}"),
    }
    put!(out, ", length {}", datagram.len);
    Some(())
}

/// Offset of the packet that an error is about.
const ORIGINAL: usize = 8;

fn unreachable(code: u8, data: &[u8], out: &mut String) -> Option<()> {
    let dst = bytes::<16>(data, ORIGINAL + 24).map(Ipv6Addr::from)?;
    out.push_str("destination unreachable, ");
    match code {
        0 => put!(out, "unreachable route {dst}"),
        1 => put!(out, "unreachable prohibited {dst}"),
        2 => put!(out, "beyond scope {dst}"),
        3 => put!(out, "unreachable address {dst}"),
        4 => {
            let port = be16(data, ORIGINAL + 42)?;
            let name = match data.get(ORIGINAL + 6)? {
                6 => "tcp",
                17 => "udp",
                _ => "protocol",
            };
            put!(out, "unreachable port, {dst} {name} port {port}");
        }
        _ => put!(out, "code-#{code} {dst}"),
    }
    Some(())
}
