//! VLAN-tagged frames (IEEE 802.1Q), as a capture file to be replayed.

use std::io::Write;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

const TPID_CUSTOMER: u16 = 0x8100;
const TPID_SERVICE: u16 = 0x88a8;
const VLAN: u16 = 7;
const OUTER_VLAN: u16 = 100;
const ETHER_TYPE_IPV4: u16 = 0x0800;
const PROTOCOL_UDP: u8 = 17;
/// Discard: RFC 863.
const PORT: u16 = 9;
const PAYLOAD: &[u8] = b"a frame with a VLAN tag";

/// A pcap file of a frame with one tag and a frame with two, sent by `host`, 1 or 2.
pub(super) fn capture_file(host: u8) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::new().context("make a temporary file")?;
    file.write_all(&pcap(&[
        frame(host, &[(TPID_CUSTOMER, VLAN)]),
        frame(host, &[(TPID_SERVICE, OUTER_VLAN), (TPID_CUSTOMER, VLAN)]),
    ]))?;
    file.flush()?;
    Ok(file)
}

/// pcap-savefile(5), version 2.4, big endian, Ethernet.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = vec![0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([0, 0, 0xff, 0xff, 0, 0, 0, 1]);
    for frame in frames {
        // The time does not matter: tcpreplay paces by packets.
        file.extend([0; 8]);
        let len = [
            0,
            0,
            0,
            u8::try_from(frame.len()).expect("frames are short"),
        ];
        file.extend([len, len].concat());
        file.extend(frame);
    }
    file
}

fn frame(host: u8, tags: &[(u16, u16)]) -> Vec<u8> {
    // Locally administered addresses of nobody: the frame is seen, and goes no further.
    let mut frame = vec![2, 0, 0, 0, 0, 3 - host, 2, 0, 0, 0, 0, host];
    for (tpid, vlan) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend(ETHER_TYPE_IPV4.to_be_bytes());
    frame.extend(ipv4(host, &udp()));
    frame
}

/// RFC 791, no options.
fn ipv4(host: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(20 + payload.len()).expect("packets are short");
    let mut packet = vec![0x45, 0, 0, len, 0, 0, 0, 0, 64, PROTOCOL_UDP, 0, 0];
    packet.extend([10, 77, 7, host, 10, 77, 7, 3 - host]);
    let checksum = checksum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// RFC 768; a checksum of 0 is none.
fn udp() -> Vec<u8> {
    let len = u16::try_from(8 + PAYLOAD.len()).expect("the payload is short");
    let fields = [PORT, PORT, len, 0].map(u16::to_be_bytes);
    [&fields.concat(), PAYLOAD].concat()
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2);
    let sum = words.fold(0u32, |sum, word| {
        sum + u32::from(u16::from_be_bytes([word[0], word[1]]))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(folded).expect("ten words carry at most once")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_with_its_checksum_sums_to_zero() {
        assert_eq!(checksum(&ipv4(1, &udp())[..20]), 0);
        assert_eq!(checksum(&ipv4(2, &udp())[..20]), 0);
    }

    #[test]
    fn tags_stand_after_the_addresses() {
        let frame = frame(1, &[(TPID_SERVICE, OUTER_VLAN), (TPID_CUSTOMER, VLAN)]);
        assert_eq!(frame[12..22], [0x88, 0xa8, 0, 100, 0x81, 0, 0, 7, 8, 0]);
    }
}
