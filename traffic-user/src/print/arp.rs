//! ARP (RFC 826) for IPv4 over Ethernet.

use std::net::Ipv4Addr;

use super::{Context, be16, bytes, put};
use crate::record::Address;

pub(super) fn put(data: &[u8], wire_len: u32, context: &Context<'_>, out: &mut String) {
    if !context.link_shown {
        out.push_str("ARP, ");
    }
    if message(data, out).is_none() {
        out.push_str(" [|arp]");
    }
    put!(out, ", length {wire_len}");
}

/// `None` where the message is cut short.
fn message(data: &[u8], out: &mut String) -> Option<()> {
    let (hardware, protocol) = (be16(data, 0)?, be16(data, 2)?);
    let lengths: [u8; 2] = bytes(data, 4)?;
    let operation = be16(data, 6)?;
    if (protocol, lengths) != (0x0800, [6, 4]) {
        put!(
            out,
            "hardware {hardware} (len {}), protocol 0x{protocol:04x} (len {}), operation {operation}",
            lengths[0],
            lengths[1]
        );
        return Some(());
    }
    let (sender_mac, sender) = (bytes(data, 8)?, Ipv4Addr::from(bytes::<4>(data, 14)?));
    let (target_mac, target) = (bytes(data, 18)?, Ipv4Addr::from(bytes::<4>(data, 24)?));
    match operation {
        1 => {
            put!(out, "Request who-has {target}");
            if target_mac != [0; 6] {
                put!(out, " ({})", Address::Mac(target_mac));
            }
            put!(out, " tell {sender}");
        }
        2 => put!(out, "Reply {sender} is-at {}", Address::Mac(sender_mac)),
        3 => put!(out, "Reverse Request who-is {}", Address::Mac(target_mac)),
        4 => put!(
            out,
            "Reverse Reply {} at {target}",
            Address::Mac(target_mac)
        ),
        _ => put!(out, "operation {operation}, {sender} to {target}"),
    }
    Some(())
}
