//! What is read from a capture file and written again is the same when it is read again.

use std::{io::Cursor, ops::ControlFlow, path::Path};

use traffic_user::{
    capture_file::{
        CaptureWriter, FileFrame, Frame, InterfaceDescription, LinkType, read, read_from,
    },
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

/// Reads a file, writes what it held, and reads that.
pub(crate) fn check(file: &[u8]) {
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
}

fn packet(frame: &FileFrame<'_>) -> Packet {
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
    let describe = |one: &LinkType| InterfaceDescription::new(&one.to_string(), *one);
    let interfaces: Vec<_> = link_types.iter().map(describe).collect();
    let mut writer = CaptureWriter::create(path, &interfaces).expect("memory is writable");
    for packet in packets {
        let number = link_types.iter().position(|one| *one == packet.link_type);
        let number = number.expect("every link type was collected");
        let frame = Frame {
            interface: u16::try_from(number).expect("there are fewer link types"),
            timestamp_ns: packet.timestamp_ns,
            wire_len: packet.wire_len,
            direction: packet.direction,
            dropped: 0,
            data: &packet.data,
        };
        writer.write_frame(&frame).expect("memory is writable");
    }
    writer.finish(&[]).expect("memory is writable");
}
