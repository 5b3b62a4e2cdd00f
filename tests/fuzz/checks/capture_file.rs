//! Any bytes as a capture file: reading ends, in bounded memory, and however the bytes arrive the
//! packets are the same.

use std::{
    io::{self, Read},
    ops::ControlFlow,
};

use traffic_user::capture_file::{MAX_FRAME_BYTES, read_from};

/// Reads a file at once and bit by bit.
pub(crate) fn check(file: &[u8]) {
    let at_once = packets(file);
    assert_eq!(at_once, packets(Trickle(file)));
}

/// A packet's time, length, bytes and parsed headers.
type Packet = (u64, u32, Vec<u8>, String);

/// Every packet, and how reading ended.
fn packets(file: impl Read) -> (Vec<Packet>, String) {
    let mut packets = Vec::new();
    let end = read_from(file, |record, frame| {
        assert!(frame.data.len() <= MAX_FRAME_BYTES as usize);
        assert_eq!(frame.timestamp_ns, record.timestamp_ns());
        let headers = format!("{:?} {:?}", record.headers(), record.interface());
        packets.push((
            frame.timestamp_ns,
            frame.wire_len,
            frame.data.to_vec(),
            headers,
        ));
        ControlFlow::Continue(())
    });
    if let Ok(summary) = &end {
        assert_eq!(summary.packets, packets.len() as u64);
    }
    (packets, format!("{end:?}"))
}

/// Gives one to seven bytes at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = (self.0.len() % 7 + 1).min(buffer.len());
        self.0.read(&mut buffer[..len])
    }
}
