//! Frames to measure with.

/// A frame and its name in tables.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) frame: Vec<u8>,
}

/// One frame of every kind that takes a way of its own through the programs.
pub(crate) fn samples() -> Vec<Sample> {
    let udp4 = ipv4(60, 17, 5000);
    let tcp4 = ipv4(60, 6, 5000);
    let vlan = [&udp4[..12], &[0x81, 0, 0, 7], &udp4[12..]].concat();
    [
        ("udp4", udp4),
        ("tcp4", tcp4),
        ("tcp6", tcp6()),
        ("vlan", vlan),
        ("1514 B", ipv4(1514, 17, 5000)),
        ("arp", arp()),
        ("dns", ipv4(60, 17, 53)),
    ]
    .into_iter()
    .map(|(name, frame)| Sample { name, frame })
    .collect()
}

/// An IPv4 frame of `len` bytes to a MAC that nobody here has, from 198.18.0.0 to 10.77.0.2. Ports
/// and the bytes behind them are the same for UDP and TCP.
pub(crate) fn ipv4(len: u16, protocol: u8, dst_port: u16) -> Vec<u8> {
    let mut frame = vec![0; usize::from(len)];
    frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 0x77, 2, 0, 0, 0, 0, 0x78]);
    frame[12..14].copy_from_slice(&[8, 0]);
    let ip = &mut frame[14..];
    ip[0] = 0x45;
    ip[2..4].copy_from_slice(&(len - 14).to_be_bytes());
    ip[8] = 64;
    ip[9] = protocol;
    ip[12..16].copy_from_slice(&[198, 18, 0, 0]);
    ip[16..20].copy_from_slice(&[10, 77, 0, 2]);
    let sum = checksum(&ip[..20]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip[20..22].copy_from_slice(&4000_u16.to_be_bytes());
    ip[22..24].copy_from_slice(&dst_port.to_be_bytes());
    ip[24..26].copy_from_slice(&(len - 34).to_be_bytes());
    if protocol == 6 {
        ip[32] = 0x50;
        ip[33] = 0x10;
    }
    frame
}

/// An IPv6 frame with a TCP acknowledgement.
fn tcp6() -> Vec<u8> {
    let mut frame = vec![0; 74];
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame[14] = 0x60;
    frame[19] = 20;
    frame[20] = 6;
    frame[21] = 64;
    frame[22] = 0x20;
    frame[38] = 0x20;
    frame[54..58].copy_from_slice(&[0x0f, 0xa0, 0x13, 0x88]);
    frame[66] = 0x50;
    frame[67] = 0x10;
    frame
}

/// A padded ARP request.
fn arp() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 0x78, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.resize(60, 0);
    frame
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_sum_to_nothing() {
        assert_eq!(checksum(&ipv4(594, 17, 1)[14..34]), 0);
    }
}
