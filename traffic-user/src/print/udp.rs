//! UDP (RFC 768).

use super::{be16, dns, ip::Datagram, put};

/// Port of DNS.
const DOMAIN: u16 = 53;
/// Bytes of the header.
const HEADER: usize = 8;

/// `None` where the header is cut short.
pub(super) fn put(datagram: &Datagram<'_>, out: &mut String) -> Option<()> {
    let data = datagram.data;
    let (src_port, dst_port) = (be16(data, 0)?, be16(data, 2)?);
    datagram.put_endpoints(src_port, dst_port, out);
    let len = match usize::from(be16(data, 4)?) {
        // A super-frame, or an IPv6 jumbogram.
        0 => datagram.len,
        len => len,
    };
    let Some(payload_len) = len.checked_sub(HEADER) else {
        put!(out, "truncated-udplength {len}");
        return Some(());
    };
    if len > datagram.len {
        let there = datagram.len.saturating_sub(HEADER);
        put!(out, "UDP, bad length {payload_len} > {there}");
        return Some(());
    }
    let payload = data.get(HEADER..)?;
    if src_port == DOMAIN || dst_port == DOMAIN {
        dns::put(payload, payload_len, out);
    } else {
        put!(out, "UDP, length {payload_len}");
    }
    Some(())
}
