//! Packets of classic capture files, one per file, for fuzz targets to begin with.

use std::{fs, path::Path};

use anyhow::Result;

/// What a target wants of a packet; empty for nothing.
pub(super) type Cut = fn(&[u8]) -> &[u8];

/// Length of a file's header, and of a packet's.
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// Ethernet, IPv4 without options, UDP.
const UDP_HEADERS: usize = 14 + 20 + 8;

/// The whole packet.
pub(super) fn packet(packet: &[u8]) -> &[u8] {
    packet
}

/// The payload of a UDP datagram to or from port 53.
pub(super) fn dns_message(packet: &[u8]) -> &[u8] {
    match packet.split_at_checked(UDP_HEADERS) {
        Some((headers, payload)) if headers[34..38].chunks(2).any(|port| port == [0, 53]) => {
            payload
        }
        _ => &[],
    }
}

/// Writes what `cut` takes of the packets of every capture file below `from` into `to`.
pub(super) fn write(from: &Path, to: &Path, cut: Cut) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_dir() {
            write(&path, to, cut)?;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for (number, packet) in packets(&fs::read(&path)?).enumerate() {
            let seed = cut(packet);
            if !seed.is_empty() {
                fs::write(to.join(format!("{name}.{number}")), seed)?;
            }
        }
    }
    Ok(())
}

/// The packets of a classic capture file in either byte order; none of other files.
fn packets(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let number = match file.first_chunk() {
        Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) => u32::from_le_bytes,
        _ => u32::from_be_bytes,
    };
    let is_capture = file.starts_with(&[0xa1, 0xb2]) || file.get(2..4) == Some(&[0xb2, 0xa1]);
    let mut rest = file.get(FILE_HEADER..).filter(|_| is_capture);
    std::iter::from_fn(move || {
        let (header, after) = rest?.split_at_checked(PACKET_HEADER)?;
        let len = number(*header[8..].first_chunk()?);
        let (packet, after) = after.split_at_checked(usize::try_from(len).ok()?)?;
        rest = Some(after);
        Some(packet)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_cut_out_of_capture_files() {
        let header = [&[0xd4, 0xc3, 0xb2, 0xa1][..], &[0; 20]].concat();
        let packet = [&[0; 8][..], &[3, 0, 0, 0, 3, 0, 0, 0], b"abc"].concat();
        let file = [&header[..], &packet, &packet, &packet[..18]].concat();
        let found: Vec<_> = packets(&file).collect();
        assert_eq!(found, [b"abc", b"abc"]);
        assert_eq!(packets(b"something else").count(), 0);
    }
}
