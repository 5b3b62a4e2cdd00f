//! What is read from a capture file and written again is the same when it is read again.
#![no_main]

use std::{io::Cursor, ops::ControlFlow, path::Path};

use libfuzzer_sys::fuzz_target;
use traffic_user::{
    capture_file::{CaptureWriter, InterfaceDescription, LinkType, read, read_from},
    record::Direction,
};

#[derive(Debug, PartialEq)]
struct Packet {
    timestamp_ns: u64,
    wire_len: u32,
    link_type: LinkType,
    direction: Direction,
    data: Vec<u8>,
}

fuzz_target!(|file: &[u8]| {
    let mut packets = Vec::new();
    let _ = read_from(Cursor::new(file), |_, frame| {
        packets.push(packet(frame));
        ControlFlow::Continue(())
    });
    if packets.is_empty() {
        return;
    }
    let directory = tempfile::tempdir_in("/dev/shm").expect("there is memory");
    let path = directory.path().join("again.pcapng");
    write(&path, &packets);
    let mut again = Vec::new();
    let summary = read(&path, |_, frame| {
        again.push(packet(frame));
        ControlFlow::Continue(())
    });
    assert!(summary.expect("it was just written").fault.is_none());
    assert_eq!(packets, again);
});

fn packet(frame: &traffic_user::capture_file::FileFrame<'_>) -> Packet {
    Packet {
        timestamp_ns: frame.timestamp_ns,
        wire_len: frame.wire_len,
        link_type: frame.link_type,
        direction: frame.direction,
        data: frame.data.to_vec(),
    }
}

fn write(path: &Path, packets: &[Packet]) {
    let mut link_types: Vec<LinkType> = packets.iter().map(|packet| packet.link_type).collect();
    link_types.sort_unstable_by_key(|link_type| link_type.0);
    link_types.dedup();
    let interfaces: Vec<_> = link_types
        .iter()
        .map(|&link_type| InterfaceDescription {
            name: link_type.to_string(),
            link_type,
            snaplen: 0,
            filter: String::new(),
            sample: 1,
        })
        .collect();
    let mut writer = CaptureWriter::create(path, &interfaces).expect("memory is writable");
    for packet in packets {
        let number = link_types.iter().position(|one| *one == packet.link_type);
        let number = number.expect("every link type was collected") as u16;
        writer
            .write_frame(
                number,
                packet.timestamp_ns,
                packet.wire_len,
                packet.direction,
                &packet.data,
            )
            .expect("memory is writable");
    }
    writer.finish(&[]).expect("memory is writable");
}
