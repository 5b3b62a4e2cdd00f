//! Lines per packet beside tcpdump's, on frames made here.

#[path = "../written.rs"]
mod written;

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use traffic_tests::{Need, Test, program::traffic};

const NEEDS: &[Need] = &[Need::Program, Need::Tool("tcpdump")];

fn main() -> ExitCode {
    traffic_tests::main(&[Test::new(
        "lines_are_those_of_tcpdump",
        NEEDS,
        lines_are_those_of_tcpdump,
    )])
}

/// All options that change what a line shows.
const STYLES: [&[&str]; 9] = [
    &[],
    &["-e"],
    &["-t"],
    &["-tt"],
    &["-ttt"],
    &["-tttt"],
    &["-ttttt"],
    &["-x"],
    &["-XX"],
];

fn lines_are_those_of_tcpdump() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("frames.pcap");
    let frames = frames();
    written::write(&path, &frames, 1_700_000_000_000_001_000, 1_234_567_000)?;
    let file = path.display().to_string();
    for style in STYLES {
        let theirs = Command::new("tcpdump")
            .args(["-n", "-r", &file])
            .args(style)
            .output()?;
        let ours = traffic(&[&["print", "-n", &file][..], style].concat())?;
        ensure!(ours.status.success(), "{ours:?}");
        let (theirs, ours) = (text(&theirs.stdout), text(&ours.stdout));
        for (theirs, ours) in theirs.lines().zip(ours.lines()) {
            ensure!(
                theirs == ours,
                "{style:?}\ntcpdump: {theirs}\ntraffic: {ours}"
            );
        }
        ensure!(theirs.lines().count() == ours.lines().count(), "{style:?}");
        ensure!(ours.lines().count() >= frames.len());
    }
    compare_filtered(&file)
}

/// The lines of frames that match an expression are those that tcpdump prints with it.
fn compare_filtered(file: &str) -> Result<()> {
    let filter = "udp or arp";
    let theirs = Command::new("tcpdump")
        .args(["-n", "-r", file, filter])
        .output()?;
    let ours = traffic(&["print", file, "-f", filter])?;
    let (theirs, ours) = (text(&theirs.stdout), text(&ours.stdout));
    ensure!(theirs == ours, "tcpdump: {theirs}\ntraffic: {ours}");
    ensure!(ours.lines().count() > 1, "{ours}");
    Ok(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A frame of each shape of line.
fn frames() -> Vec<Vec<u8>> {
    let syn = segment(
        0x02,
        10,
        0,
        &[
            2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
        ],
        b"",
    );
    let syn_ack = segment(0x12, 500, 11, &[2, 4, 5, 180], b"");
    let data = segment(
        0x18,
        11,
        501,
        &[1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8],
        b"hello",
    );
    let sack = segment(0x10, 16, 501, &[1, 1, 5, 10, 0, 0, 1, 250, 0, 0, 2, 0], b"");
    let reset = segment(0x04, 16, 0, &[], b"");
    let urgent = segment(0x39, 16, 501, &[], b"!");
    let query = b"\x30\x39\x01\0\0\x01\0\0\0\0\0\x01\x07example\x03com\0\0\x01\0\x01\0\0\x29\x10\0\0\0\0\0\0\0";
    let answer = b"\x30\x39\x81\x83\0\x01\0\x01\0\0\0\0\x07example\x03com\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x01\x02\x03\x04";
    let original = ipv4(17, 0, &datagram(5353, 9, b""));
    let ipv6 = |next: u8, payload: &[u8]| ethernet(0x86dd, &self::ipv6(next, payload));
    let ip = |protocol: u8, payload: &[u8]| ethernet(0x0800, &ipv4(protocol, 0, payload));
    vec![
        ip(6, &syn),
        ip(6, &syn_ack),
        ip(6, &data),
        ip(6, &sack),
        ip(6, &reset),
        ip(6, &urgent),
        ip(17, &datagram(4000, 5000, b"payload")),
        ip(17, &datagram(4000, 53, query)),
        ip(17, &datagram(53, 4000, answer)),
        ip(1, &[8, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4]),
        ip(1, &[&[3, 3, 0, 0, 0, 0, 0, 0][..], &original].concat()),
        ip(1, &[&[3, 1, 0, 0, 0, 0, 0, 0][..], &original].concat()),
        ip(1, &[&[3, 4, 0, 0, 0, 0, 5, 120][..], &original].concat()),
        ip(1, &[&[11, 0, 0, 0, 0, 0, 0, 0][..], &original].concat()),
        ip(2, &[0x16, 0, 0, 0, 224, 0, 0, 251]),
        ip(50, &[0, 0, 0, 7, 0, 0, 0, 8, 1, 2, 3, 4]),
        ip(253, &[1, 2, 3]),
        ethernet(0x0800, &ipv4(17, 0x2000, &datagram(1, 2, &[0; 24]))),
        ethernet(0x0800, &ipv4(17, 185, &[0; 24])),
        ipv6(6, &syn),
        ipv6(17, &datagram(4000, 5000, b"payload")),
        ipv6(58, &[128, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4]),
        ipv6(58, &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &[0xfd; 16]].concat()),
        ipv6(
            0,
            &[
                &[58, 0, 5, 2, 0, 0, 1, 0][..],
                &[143, 0, 0, 0, 0, 0, 0, 1],
                &[0; 20],
            ]
            .concat(),
        ),
        ipv6(
            44,
            &[&[17, 0, 0, 1, 0, 0, 0, 9][..], &datagram(1, 2, &[0; 8])].concat(),
        ),
        ipv6(44, &[&[17, 0, 0, 16, 0, 0, 0, 9][..], &[0; 8]].concat()),
        ethernet(0x0806, &arp(1)),
        ethernet(0x0806, &arp(2)),
        ethernet(
            0x8100,
            &[&[0x20, 7, 8, 0][..], &ipv4(17, 0, &datagram(1, 2, b"x"))].concat(),
        ),
        ethernet(
            0x88a8,
            &[&[0, 7, 0x81, 0, 0, 8, 8, 6][..], &arp(1)].concat(),
        ),
    ]
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    [&addresses[..], &ether_type.to_be_bytes(), payload].concat()
}

fn len16(len: usize) -> [u8; 2] {
    u16::try_from(len)
        .expect("test frames are short")
        .to_be_bytes()
}

fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![
        0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    header[2..4].copy_from_slice(&len16(20 + payload.len()));
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    [&header[..], payload].concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b] = len16(payload.len());
    let header = [0x60, 0, 0, 0, a, b, next, 64];
    let host = |number| [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number];
    [&header[..], &host(1), &host(2), payload].concat()
}

fn segment(flags: u8, seq: u32, ack: u32, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let offset = u8::try_from((20 + options.len()) / 4 * 16).expect("at most 60 bytes");
    // The answer comes from the other end.
    let ports = if flags == 0x12 {
        [0, 81, 0x10, 0xe1]
    } else {
        [0x10, 0xe1, 0, 81]
    };
    let (seq, ack) = (seq.to_be_bytes(), ack.to_be_bytes());
    let end = [offset, flags, 250, 240, 0, 0, 0, 3];
    [&ports[..], &seq, &ack, &end, options, payload].concat()
}

fn datagram(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let ports = [src.to_be_bytes(), dst.to_be_bytes()];
    let ends = [len16(8 + payload.len()), [0, 0]];
    [ports.as_flattened(), ends.as_flattened(), payload].concat()
}

fn arp(operation: u8) -> Vec<u8> {
    let header = [
        0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1,
    ];
    [&header[..], &[0; 6], &[10, 0, 0, 2]].concat()
}
