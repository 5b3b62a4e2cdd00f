//! Compares what the kernel programs send up for every packet with what the file reader says of the
//! same bytes. There are no rules here: the two are one parser.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    ops::AddAssign,
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::{Result, ensure};
use traffic_ebpf::{
    config::{LINK_ETHERNET, LINK_IP},
    parse::{Link, parse},
    record::{EXCERPT_BYTES, ExcerptHeader, FLAG_EGRESS, Headers},
};
use traffic_tests::corpus_files;
use traffic_user::{
    capture_file::Run,
    kernel::{Access, Bench, BenchError, PacketProgram, Settings, Sink},
    record::{Direction, PacketRecord},
};

use crate::{answer::Frame, generated, on_all_cpus, read};

pub(crate) fn generated_packets_are_the_same() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = |name| directory.path().join(name);
    let (whole, cut, damaged) = (file("whole"), file("cut"), file("damaged"));
    generated::write_whole(&whole)?;
    generated::write_cut(&cut)?;
    generated::write_damaged(&damaged, 20_000)?;
    agree(&[whole, cut, damaged])
}

pub(crate) fn every_packet_of_the_corpus_is_the_same() -> Result<()> {
    agree(&corpus_files()?)
}

/// A way for a packet through the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    program: PacketProgram,
    buffers: Buffers,
}

/// How the bytes of a packet lie in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Buffers {
    /// In one buffer, as long as they fit.
    One,
    /// All but the first 14 bytes in further ones.
    HeadersBeyond,
    /// The first buffer ends somewhere in the first 80 bytes.
    HeadersApart,
    /// In one, and read as if they were in several.
    Copied,
}

const WAYS: [Way; 8] = [
    Way::new(PacketProgram::Xdp, Buffers::One),
    Way::new(PacketProgram::XdpFrags, Buffers::One),
    Way::new(PacketProgram::XdpFrags, Buffers::HeadersBeyond),
    Way::new(PacketProgram::XdpFrags, Buffers::HeadersApart),
    Way::new(PacketProgram::Ingress, Buffers::One),
    Way::new(PacketProgram::Ingress, Buffers::Copied),
    Way::new(PacketProgram::Egress, Buffers::One),
    Way::new(PacketProgram::Egress, Buffers::Copied),
];

impl Way {
    const fn new(program: PacketProgram, buffers: Buffers) -> Self {
        Self { program, buffers }
    }

    /// Where the first buffer of the packet with this number ends.
    fn linear(self, number: usize, len: usize) -> Option<u32> {
        let end = match self.buffers {
            Buffers::One | Buffers::Copied => return None,
            Buffers::HeadersBeyond => SHORTEST,
            Buffers::HeadersApart => SHORTEST + number % 66,
        };
        u32::try_from(end.min(len)).ok()
    }

    fn name(self) -> String {
        let buffers = match self.buffers {
            Buffers::One => "",
            Buffers::HeadersBeyond => ", headers beyond the first buffer",
            Buffers::HeadersApart => ", headers in two buffers",
            Buffers::Copied => ", headers read as from several buffers",
        };
        format!("{}{buffers}", self.program.name())
    }
}

/// Bytes that `bpf_test_init` wants at least.
const SHORTEST: usize = 14;
/// Bytes that the kernel takes at least of a packet in one buffer.
const ONE_BUFFER: usize = 3_500;
/// Bytes of a frame that are copied up: all.
const SNAPLEN: u32 = 262_144;
/// Bytes that XDP reaches (`bpf_xdp_pointer`); no interface has frames that are much longer.
const XDP_REACH: usize = 0xffff;

/// What was compared.
#[derive(Default)]
struct Report {
    files: usize,
    other_link_types: usize,
    ways: BTreeMap<Way, Count>,
    disagreements: Vec<String>,
}

/// Packets on one way.
#[derive(Clone, Copy, Default)]
struct Count {
    compared: usize,
    /// Too short for the kernel to run a program on: compared as slices.
    too_short: usize,
    /// Too long, likewise.
    too_long: usize,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.compared += other.compared;
        self.too_short += other.too_short;
        self.too_long += other.too_long;
    }
}

impl Report {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.other_link_types += other.other_link_types;
        for (way, count) in other.ways {
            *self.ways.entry(way).or_default() += count;
        }
        self.disagreements.extend(other.disagreements);
    }

    fn print(&self) {
        println!("compared the packets of {} files:", self.files);
        for (way, count) in &self.ways {
            let mut line = format!("{}: {} packets", way.name(), count.compared);
            for (number, which) in [(count.too_short, "short"), (count.too_long, "long")] {
                if number != 0 {
                    let _ = write!(
                        line,
                        "; {number} too {which} for TEST_RUN, compared as slices"
                    );
                }
            }
            println!("{line}");
        }
        if self.other_link_types != 0 {
            let number = self.other_link_types;
            println!("{number} packets of other link types: file reader only");
        }
        for line in self.disagreements.iter().take(20) {
            println!("{line}");
        }
    }
}

/// Sends all packets of `files` all ways, on all CPUs, and prints what was compared.
fn agree(files: &[PathBuf]) -> Result<()> {
    let report = Mutex::new(Report::default());
    on_all_cpus(files, Kernel::load, |kernel, path| {
        let one = compare_file(kernel, path);
        report.lock().expect("no thread panicked").add(one);
        Ok(())
    })?;
    let report = report.into_inner().expect("no thread panicked");
    report.print();
    for way in WAYS {
        let compared = report.ways.get(&way).map_or(0, |count| count.compared);
        ensure!(compared > 0, "no packet went through {}", way.name());
    }
    let differ = report.disagreements.len();
    ensure!(differ == 0, "{differ} packets differ");
    Ok(())
}

/// The programs: for Ethernet and for IP, each reading directly and through helpers.
struct Kernel {
    ethernet: [Bench; 2],
    ip: [Bench; 2],
}

impl Kernel {
    fn load() -> Result<Self> {
        let settings = Settings {
            snaplen: SNAPLEN,
            bins: 1,
            ..Settings::default()
        };
        let load = |link, always_copied| {
            let access = Access {
                always_copied,
                ..Access::of_this_kernel()
            };
            Bench::load(&settings, &[link], access)
        };
        let both = |link| anyhow::Ok([load(link, false)?, load(link, true)?]);
        Ok(Self {
            ethernet: both(LINK_ETHERNET)?,
            ip: both(LINK_IP)?,
        })
    }

    fn bench(&mut self, link: Link, buffers: Buffers) -> &mut Bench {
        let benches = if link == Link::Ip {
            &mut self.ip
        } else {
            &mut self.ethernet
        };
        &mut benches[usize::from(buffers == Buffers::Copied)]
    }
}

fn compare_file(kernel: &mut Kernel, path: &Path) -> Report {
    let mut report = Report::default();
    // The comparison with tshark is where files must be read to their end.
    let (frames, _) = read(path);
    for (number, frame) in (1..).zip(&frames) {
        let Some(link) = link(frame) else {
            report.other_link_types += 1;
            continue;
        };
        for way in WAYS {
            let count = report.ways.entry(way).or_default();
            let bench = kernel.bench(link, way.buffers);
            if let Err(error) = compare_packet(bench, count, way, link, number, frame) {
                report.disagreements.push(format!(
                    "{} frame {number}, {}: {error:#}\n  link type {} bytes {:02x?}",
                    path.display(),
                    way.name(),
                    frame.link_type,
                    &frame.data[..frame.data.len().min(128)],
                ));
            }
        }
    }
    report.files = usize::from(report.ways.values().any(|count| count.compared > 0));
    report
}

/// How the kernel sees interfaces with packets of this type; `None` where it has no such.
fn link(frame: &Frame) -> Option<Link> {
    match frame.link_type.0 {
        1 => Some(Link::Ethernet(None)),
        12 | 14 | 101 => Some(Link::Ip),
        _ => None,
    }
}

fn compare_packet(
    bench: &mut Bench,
    count: &mut Count,
    way: Way,
    link: Link,
    number: usize,
    frame: &Frame,
) -> Result<()> {
    let mut expected = frame.headers;
    expected.flags &= !FLAG_EGRESS;
    let mut up = Up::default();
    let linear = way.linear(number, frame.data.len());
    match bench.run(way.program, &frame.data, linear, &mut up) {
        Ok(()) => {}
        Err(BenchError::Refused(..)) => {
            count.add_refused(way.program, &frame.data)?;
            return same_headers(&parse(&frame.data[..], link).headers, &expected);
        }
        Err(error) => return Err(error.into()),
    }
    count.compared += 1;
    if way.program == PacketProgram::Egress {
        expected.flags |= FLAG_EGRESS;
    }
    let reach = match way.program {
        PacketProgram::Xdp | PacketProgram::XdpFrags => XDP_REACH,
        PacketProgram::Ingress | PacketProgram::Egress => usize::MAX,
    };
    up.check(&frame.data, &expected, reach)
}

impl Count {
    fn add_refused(&mut self, program: PacketProgram, data: &[u8]) -> Result<()> {
        let len = data.len();
        if len < shortest(program, data) {
            self.too_short += 1;
        } else {
            ensure!(len > ONE_BUFFER, "the kernel refuses {len} bytes");
            self.too_long += 1;
        }
        Ok(())
    }
}

/// Bytes that the kernel wants: at TC `bpf_prog_test_run_skb` asks for a whole IP header behind
/// an `EtherType` of IP.
fn shortest(program: PacketProgram, data: &[u8]) -> usize {
    let is_tc = matches!(program, PacketProgram::Ingress | PacketProgram::Egress);
    match data.get(12..SHORTEST) {
        Some([0x08, 0x00]) if is_tc => SHORTEST + 20,
        Some([0x86, 0xdd]) if is_tc => SHORTEST + 40,
        _ => SHORTEST,
    }
}

/// What came up for one packet.
#[derive(Default)]
struct Up {
    records: Vec<PacketRecord>,
    frames: Vec<Captured>,
    excerpts: Vec<(ExcerptHeader, Vec<u8>)>,
}

/// A frame for a capture file.
struct Captured {
    timestamp_ns: u64,
    wire_len: u32,
    direction: Direction,
    data: Vec<u8>,
}

impl Sink for Up {
    fn packets(&mut self, records: &[PacketRecord]) {
        self.records.extend_from_slice(records);
    }

    fn frames(&mut self, run: Run<'_>) {
        self.frames.extend(run.blocks().map(|block| Captured {
            timestamp_ns: block.frame.timestamp_ns,
            wire_len: block.frame.wire_len,
            direction: block.frame.direction,
            data: block.frame.data.to_vec(),
        }));
    }

    fn excerpt(&mut self, header: &ExcerptHeader, data: &[u8]) {
        self.excerpts.push((*header, data.to_vec()));
    }
}

impl Up {
    /// Fails unless it is one summary with these headers, the frame's first `reach` bytes, and an
    /// excerpt where the headers want one.
    fn check(&self, data: &[u8], expected: &Headers, reach: usize) -> Result<()> {
        let [record] = &self.records[..] else {
            anyhow::bail!("{} summaries", self.records.len());
        };
        same_headers(record.headers(), expected)?;
        let wire_len = record.wire_len() as usize;
        ensure!(wire_len == data.len(), "wire length {wire_len}");
        let [frame] = &self.frames[..] else {
            anyhow::bail!("{} frames", self.frames.len());
        };
        ensure!(
            frame.data == data[..data.len().min(reach)],
            "the frame has other bytes: {:02x?}",
            frame.data
        );
        ensure!(
            frame.wire_len == record.wire_len()
                && frame.timestamp_ns == record.timestamp_ns()
                && frame.direction == record.direction(),
            "the frame has other lengths, time or direction"
        );
        let start = &data[..data.len().min(EXCERPT_BYTES as usize)];
        match &self.excerpts[..] {
            [] => ensure!(!expected.wants_excerpt(), "no excerpt"),
            [excerpt] if expected.wants_excerpt() => same_excerpt(excerpt, record, start)?,
            excerpts => anyhow::bail!("{} excerpts", excerpts.len()),
        }
        Ok(())
    }
}

fn same_headers(kernel: &Headers, expected: &Headers) -> Result<()> {
    ensure!(
        kernel == expected,
        "the kernel says {kernel:?}, the file reader {expected:?}"
    );
    Ok(())
}

fn same_excerpt(
    (header, bytes): &(ExcerptHeader, Vec<u8>),
    record: &PacketRecord,
    data: &[u8],
) -> Result<()> {
    ensure!(bytes == data, "the excerpt has other bytes: {bytes:02x?}");
    ensure!(
        header.wire_len == record.wire_len()
            && header.timestamp_ns == record.timestamp_ns()
            && header.flags == record.headers().flags
            && header.protocol == record.headers().protocol,
        "the excerpt says {header:?}"
    );
    Ok(())
}
