#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]

use std::{
    fmt::Write as _,
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use proptest::prelude::*;

use super::*;
use crate::record::{Address, Direction, PacketRecord};

/// A frame as it went into a file, or came out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    interface: u16,
    timestamp_ns: u64,
    wire_len: u32,
    direction: Direction,
    data: Vec<u8>,
}

#[test]
fn empty_files_are_valid() {
    for name in ["empty.pcap", "empty.pcapng"] {
        let file = Scratch::new(name);
        let mut writer = CaptureWriter::create(&file.0, &[interface(LinkType::RAW)]).unwrap();
        writer.finish(&[statistics()]).unwrap();
        let (frames, summary) = read_file(&file.0);
        assert_eq!(frames, []);
        assert!(summary.fault.is_none());
        assert_eq!(summary.interfaces[0].link_type, LinkType::RAW);
    }
}

#[test]
fn a_classic_file_holds_one_link_type() {
    let file = Scratch::new("mixed.pcap");
    let mixed = [interface(LinkType::ETHERNET), interface(LinkType::RAW)];
    let error = CaptureWriter::create(&file.0, &mixed).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a .pcap file holds one link type, not both EN10MB and RAW (any other name is pcapng)"
    );
    assert!(!file.0.exists());
    let mut writer = CaptureWriter::create(&file.0, &mixed[..1]).unwrap();
    assert!(writer.add_interface(&mixed[1]).is_err());
    assert_eq!(writer.add_interface(&mixed[0]).unwrap(), 1);
}

#[test]
fn interfaces_can_be_added_between_frames() {
    let file = Scratch::new("added.pcapng");
    let mut writer = CaptureWriter::create(&file.0, &[interface(LinkType::ETHERNET)]).unwrap();
    let first = frame(0, &[1; 60]);
    write_frame(&mut writer, &first).unwrap();
    let number = writer.add_interface(&interface(LinkType::RAW)).unwrap();
    let second = frame(number, &[0x45; 33]);
    write_frame(&mut writer, &second).unwrap();
    let unknown = frame(2, &[]);
    assert!(matches!(
        write_frame(&mut writer, &unknown),
        Err(WriteError::UnknownInterface {
            interface: 2,
            described: 2
        })
    ));
    writer.finish(&[statistics(), statistics()]).unwrap();
    assert_eq!(writer.frames_written(), 2);
    let (frames, summary) = read_file(&file.0);
    assert_eq!(frames, [first, second]);
    assert_eq!(summary.interfaces[0].name.as_deref(), Some("eth0"));
    assert_eq!(summary.interfaces[1].link_type, LinkType::RAW);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_at_once() {
    let error = CaptureWriter::create(Path::new("/dev/full"), &[]).unwrap_err();
    assert!(matches!(error, WriteError::Io(error) if error.kind() == io::ErrorKind::StorageFull));
    let error = CaptureWriter::create(Path::new("/nowhere/file.pcapng"), &[]).unwrap_err();
    assert!(matches!(error, WriteError::Io(error) if error.kind() == io::ErrorKind::NotFound));
}

#[test]
fn a_cut_file_gives_every_packet_before_the_cut() {
    for name in ["cut.pcap", "cut.pcapng"] {
        let frames = [frame(0, &[1; 60]), frame(0, &[2; 61]), frame(0, &[3; 62])];
        let bytes = written(name, &frames[..2]);
        let whole = written(name, &frames);
        for len in bytes.len()..=whole.len() {
            let (read, summary) = read_bytes(&whole[..len]).unwrap();
            let is_whole = len == bytes.len() || len == whole.len();
            assert_eq!(read.len(), if len == whole.len() { 3 } else { 2 });
            assert_eq!(
                matches!(summary.fault, Some(ReadError::CutShort)),
                !is_whole
            );
        }
    }
}

#[test]
fn what_is_no_capture_file_is_named_so() {
    let message = |bytes: &[u8]| read_bytes(bytes).unwrap_err().to_string();
    assert_eq!(message(&[]), "the file is empty");
    for cut in [&[0xa1, 0xb2], &classic(1, &[])[..20]] {
        assert!(message(cut).starts_with("the file is cut short: "));
    }
    assert_eq!(
        message(b"GET / HTTP/1.1"),
        "neither a pcap nor a pcapng file (it begins with 0x47455420)"
    );
    let mut version = classic(1, &[]);
    version[4] = 3;
    assert_eq!(
        message(&version),
        "version 3.4 of the pcap format is not supported"
    );
    assert_eq!(
        message(&classic(105, &[])),
        "link type 105 (IEEE802_11) is not supported"
    );
    assert_eq!(
        message(&classic(60_000, &[])),
        "link type 60000 (LINKTYPE_60000) is not supported"
    );
}

#[test]
fn unsupported_link_types_stop_at_their_first_packet() {
    let bytes = [
        section(),
        description(1),
        description(105),
        enhanced(0, &[1; 14]),
        enhanced(1, &[1; 14]),
    ]
    .concat();
    let (frames, summary) = read_bytes(&bytes).unwrap();
    assert_eq!(frames.len(), 1);
    assert!(matches!(
        summary.fault,
        Some(ReadError::UnsupportedLinkType(LinkType(105)))
    ));
}

#[test]
fn claims_beyond_the_limits_are_refused_before_they_are_believed() {
    let (_, summary) = read_bytes(&classic(1, &[0, 0, u32::MAX, 60])).unwrap();
    assert!(matches!(
        summary.fault,
        Some(ReadError::FrameTooLong(u32::MAX))
    ));
    let long = [&section()[..], &[6, 0, 0, 0, 0, 0, 0, 0x40], &[0; 64]].concat();
    let (_, summary) = read_bytes(&long).unwrap();
    assert!(matches!(
        summary.fault,
        Some(ReadError::BadBlock(BlockFault::TooLong(_)))
    ));
    // A length of 0 would be read for ever.
    let empty = [&section()[..], &[6, 0, 0, 0, 0, 0, 0, 0], &[0; 64]].concat();
    let (_, summary) = read_bytes(&empty).unwrap();
    assert!(matches!(
        summary.fault,
        Some(ReadError::BadBlock(BlockFault::Format(_)))
    ));
    let mut claims = enhanced(0, &[1; 14]);
    claims[20] = 200;
    let (_, summary) = read_bytes(&[section(), description(1), claims].concat()).unwrap();
    assert!(matches!(
        summary.fault,
        Some(ReadError::BadBlock(BlockFault::TooShort {
            needed: 220,
            ..
        }))
    ));
}

#[test]
fn interfaces_are_counted_up_to_a_limit() {
    let mut bytes = section();
    bytes.extend(description(1).repeat(usize::from(u16::MAX) + 2));
    let (_, summary) = read_bytes(&bytes).unwrap();
    assert!(matches!(
        summary.fault,
        Some(ReadError::BadBlock(BlockFault::TooManyInterfaces))
    ));
    let (_, summary) = read_bytes(&[section(), enhanced(3, &[1; 14])].concat()).unwrap();
    assert_eq!(
        summary.fault.unwrap().to_string(),
        "malformed block: interface 3 is not described (the section has 0)"
    );
}

#[test]
fn sections_number_their_interfaces_anew() {
    let one = [section(), description(1), enhanced(0, &[1; 14])].concat();
    let two = [section(), description(101), enhanced(0, &[0x45; 20])].concat();
    let (frames, summary) = read_bytes(&[one, two].concat()).unwrap();
    assert_eq!(summary.interfaces.len(), 2);
    assert_eq!((frames[0].interface, frames[1].interface), (0, 1));
}

#[test]
fn simple_packets_take_the_time_of_the_packet_before() {
    let simple = block(3, &[&70_u32.to_le_bytes()[..], &[7; 72]].concat());
    let bytes = [section(), description(1), enhanced(0, &[1; 14]), simple].concat();
    let (frames, _) = read_bytes(&bytes).unwrap();
    assert_eq!(frames[1].timestamp_ns, frames[0].timestamp_ns);
    assert_eq!((frames[1].wire_len, frames[1].data.len()), (70, 70));
}

#[test]
fn linux_cooked_headers_know_sender_and_direction() {
    let header = |kind: u8, ether_type: u16| {
        let [high, low] = ether_type.to_be_bytes();
        [
            &[0, kind, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, high, low][..],
            &[0; 28],
        ]
        .concat()
    };
    for (kind, direction) in [(0, Direction::Ingress), (4, Direction::Egress)] {
        let arp = header(kind, 0x0806);
        let bytes = [section(), description(113), enhanced(0, &arp)].concat();
        let mut seen = 0;
        read_from(&bytes[..], |record, frame| {
            seen += 1;
            assert_eq!(frame.direction, direction);
            assert_eq!(record.direction(), direction);
            assert_eq!(record.src(), Some(Address::Mac([2, 0, 0, 0, 0, 1])));
            assert_eq!(record.dst(), None);
            assert_eq!(record.headers().ether_type, 0x0806);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, 1);
    }
}

#[test]
fn reading_ends_when_it_is_told_to() {
    let bytes = written("told.pcap", &[frame(0, &[1; 60]), frame(0, &[2; 60])]);
    let summary = read_from(&bytes[..], |_, _| ControlFlow::Break(())).unwrap();
    assert_eq!(summary.packets, 1);
    assert!(summary.fault.is_none());
}

proptest! {
    #[test]
    fn files_give_back_what_was_written(frames in prop::collection::vec(any_frame(), 0..40)) {
        let bytes = written("round.pcapng", &frames);
        let (read, summary) = read_bytes(&bytes).unwrap();
        prop_assert!(summary.fault.is_none());
        prop_assert_eq!(&read, &frames);
        // A classic file has seconds of 32 bits, and no directions.
        let frames: Vec<_> = frames
            .into_iter()
            .map(|frame| Frame {
                timestamp_ns: frame.timestamp_ns % 4_000_000_000_000_000_000,
                direction: Direction::Ingress,
                interface: 0,
                ..frame
            })
            .collect();
        let bytes = written("round.pcap", &frames);
        let (read, summary) = read_bytes(&bytes).unwrap();
        prop_assert!(summary.fault.is_none());
        prop_assert_eq!(&read, &frames);
    }

    #[test]
    fn damaged_files_end_in_a_fault_or_in_packets(
        changes in prop::collection::vec((0_usize..400, any::<u8>()), 0..6),
        cut in 0_usize..500,
        is_classic in any::<bool>(),
    ) {
        let name = if is_classic { "damaged.pcap" } else { "damaged.pcapng" };
        let mut bytes = written(name, &[frame(0, &[1; 60]), frame(0, &[2; 61])]);
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(cut);
        if let Ok((frames, summary)) = read_bytes(&bytes) {
            prop_assert_eq!(frames.len() as u64, summary.packets);
            prop_assert!(frames.iter().all(|frame| frame.data.len() <= bytes.len()));
        }
    }

    #[test]
    fn any_input_ends(
        magic in prop::sample::select(vec![0x0a0d_0d0a_u32, 0xd4c3_b2a1, 0x4d3c_b2a1, 0]),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = read_bytes(&[&magic.to_be_bytes()[..], &bytes].concat());
    }
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let data = prop::collection::vec(any::<u8>(), 0..2_000);
    (0_u16..2, any::<u64>(), any::<u32>(), any::<bool>(), data).prop_map(
        |(interface, timestamp_ns, wire_len, out, data)| Frame {
            interface,
            timestamp_ns,
            wire_len,
            direction: if out {
                Direction::Egress
            } else {
                Direction::Ingress
            },
            data,
        },
    )
}

fn frame(interface: u16, data: &[u8]) -> Frame {
    Frame {
        interface,
        timestamp_ns: 1_700_000_000_123_456_789,
        wire_len: data.len() as u32,
        direction: Direction::Ingress,
        data: data.to_vec(),
    }
}

fn interface(link_type: LinkType) -> InterfaceDescription {
    InterfaceDescription {
        filter: "tcp".to_owned(),
        sample: 64,
        ..InterfaceDescription::new("eth0", link_type)
    }
}

fn statistics() -> InterfaceStatistics {
    InterfaceStatistics {
        start_ns: 1,
        end_ns: 2,
        received: Some(3),
        accepted: Some(2),
        dropped: 1,
        ..InterfaceStatistics::default()
    }
}

fn write_frame(writer: &mut CaptureWriter, frame: &Frame) -> Result<(), WriteError> {
    let Frame {
        interface,
        timestamp_ns,
        wire_len,
        direction,
        ref data,
    } = *frame;
    writer.write_frame(&super::Frame {
        interface,
        timestamp_ns,
        wire_len,
        direction,
        dropped: 0,
        data,
    })
}

/// The bytes of a file of Ethernet frames.
fn written(name: &str, frames: &[Frame]) -> Vec<u8> {
    let file = Scratch::new(name);
    let interfaces = [interface(LinkType::ETHERNET), interface(LinkType::ETHERNET)];
    let mut writer = CaptureWriter::create(&file.0, &interfaces).unwrap();
    for frame in frames {
        write_frame(&mut writer, frame).unwrap();
    }
    writer.flush().unwrap();
    fs::read(&file.0).unwrap()
}

fn read_file(path: &Path) -> (Vec<Frame>, ReadSummary) {
    read_bytes(&fs::read(path).unwrap()).unwrap()
}

fn read_bytes(bytes: &[u8]) -> Result<(Vec<Frame>, ReadSummary), ReadError> {
    let mut frames = Vec::new();
    let summary = read_from(bytes, |record, frame| {
        assert_eq!(record.timestamp_ns(), frame.timestamp_ns);
        assert_eq!(record.interface(), frame.interface);
        frames.push(Frame {
            interface: frame.interface,
            timestamp_ns: frame.timestamp_ns,
            wire_len: frame.wire_len,
            direction: frame.direction,
            data: frame.data.to_vec(),
        });
        ControlFlow::Continue(())
    })?;
    Ok((frames, summary))
}

/// A classic file with these words behind its header.
fn classic(link_type: u32, words: &[u32]) -> Vec<u8> {
    let header = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, link_type];
    header
        .iter()
        .chain(words)
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

fn section() -> Vec<u8> {
    let words = [0x1a2b_3c4d_u32, 1, u32::MAX, u32::MAX];
    block(0x0a0d_0d0a, words.map(u32::to_le_bytes).as_flattened())
}

fn description(link_type: u32) -> Vec<u8> {
    block(1, [link_type, 0].map(u32::to_le_bytes).as_flattened())
}

fn enhanced(interface: u32, data: &[u8]) -> Vec<u8> {
    let len = data.len() as u32;
    let words = [interface, 0x0005_0000, 0, len, len];
    let mut body = words.map(u32::to_le_bytes).as_flattened().to_vec();
    body.extend(data);
    body.resize(body.len().next_multiple_of(4), 0);
    block(6, &body)
}

/// A file that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("traffic-{}-{number}-{name}", process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_run_is_written_as_its_frames_are_one_by_one() {
    let frames: Vec<_> = (0..40)
        .map(|number| frame(0, &vec![7; number * 37]))
        .collect();
    let blocks = written("blocks.pcapng", &frames);
    let header = written("blocks.pcapng", &[]).len();
    let run = Run::new(&blocks[header..], frames.len() as u64);
    for name in ["run.pcapng", "run.pcap"] {
        let file = Scratch::new(name);
        let interfaces = [interface(LinkType::ETHERNET), interface(LinkType::ETHERNET)];
        let mut writer = CaptureWriter::create(&file.0, &interfaces).unwrap();
        let empty = writer.bytes();
        writer.write_run(&run).unwrap();
        let blocks: u64 = run.blocks().map(|block| writer.bytes_of(&block)).sum();
        assert_eq!(writer.bytes(), empty + blocks);
        writer.finish(&[]).unwrap();
        assert_eq!(writer.frames_written(), 40);
        assert_eq!(fs::read(&file.0).unwrap(), written(name, &frames));
    }
}

/// Everything that is read, by this thread alone and with another that reads ahead.
fn both_ways(bytes: &[u8]) -> [String; 2] {
    let file = Scratch::new("ahead");
    fs::write(&file.0, bytes).unwrap();
    let read_all = |ahead: bool| {
        let mut text = String::new();
        let each = |record: &PacketRecord, frame: &FileFrame<'_>| {
            writeln!(text, "{record:?} {frame:?}").unwrap();
            ControlFlow::Continue(())
        };
        let summary = if ahead {
            read(&file.0, each)
        } else {
            read_from(bytes, each)
        };
        format!("{text}{summary:?}")
    };
    [read_all(true), read_all(false)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Files of some windows, cut anywhere.
    #[test]
    fn reading_ahead_changes_nothing(
        lengths in prop::collection::vec(0usize..2000, 1..1500),
        name in prop::sample::select(vec!["a.pcap", "a.pcapng", "a.pcapng.zst"]),
        cut in prop::option::of(0.0f64..1.0),
    ) {
        let file = Scratch::new(name);
        let mut writer = CaptureWriter::create(&file.0, &[interface(LinkType::ETHERNET)]).unwrap();
        for (number, length) in lengths.iter().enumerate() {
            if number == 700 {
                let _ = writer.add_interface(&interface(LinkType::ETHERNET));
            }
            let data = vec![number as u8; *length];
            write_frame(&mut writer, &frame(u16::from(number > 700), &data)).unwrap();
        }
        writer.finish(&[]).unwrap();
        let mut bytes = fs::read(&file.0).unwrap();
        if let Some(cut) = cut {
            bytes.truncate((bytes.len() as f64 * cut) as usize);
        }
        let [ahead, here] = both_ways(&bytes);
        prop_assert!(ahead == here, "{ahead}\n\n{here}");
    }
}
