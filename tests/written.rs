//! Frames in a capture file. Tests that use the library have it as a module of theirs.

use std::path::Path;

use anyhow::Result;
use traffic_user::{
    capture_file::{CaptureWriter, Frame, InterfaceDescription, LinkType},
    record::Direction,
};

/// Writes frames of Ethernet that came in at `eth0`: the first at `begin_ns`, each `step_ns` after
/// the one before.
pub(crate) fn write(path: &Path, frames: &[Vec<u8>], begin_ns: u64, step_ns: u64) -> Result<()> {
    let interface = InterfaceDescription::new("eth0", LinkType::ETHERNET);
    let mut writer = CaptureWriter::create(path, &[interface])?;
    for (index, data) in (0u64..).zip(frames) {
        writer.write_frame(&Frame {
            interface: 0,
            timestamp_ns: begin_ns + index * step_ns,
            wire_len: u32::try_from(data.len())?,
            direction: Direction::Ingress,
            dropped: 0,
            data,
        })?;
    }
    Ok(writer.finish(&[])?)
}
