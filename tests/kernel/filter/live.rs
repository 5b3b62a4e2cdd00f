//! Filtered captures of live traffic, beside an unfiltered capture of the same traffic.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use traffic_tests::{
    Need,
    netns::{Namespace, VETH, VethOptions, VethPair},
    program::{Capture, Captured, traffic},
};
use traffic_user::capture_file;

use crate::{frames::frames, written};

/// What is captured beside everything.
const FILTERS: [&str; 8] = [
    "tcp port 80",
    "vlan 7",
    "vlan 100 and vlan 7 and udp",
    "ip6 and not vlan",
    "ip[0] & 0xf > 5",
    "greater 800",
    "ether[1400:2] != 0 or arp",
    "ip6 protochain 6",
];

/// Captures with each filter and one without, side by side.
struct Captures {
    everything: (Capture, PathBuf),
    filtered: Vec<(&'static str, Capture, PathBuf)>,
    directory: TempDir,
}

impl Captures {
    /// The unfiltered one ends by itself after `count` frames, if that is given. It was attached
    /// first, so it is the last to see a frame.
    fn start(
        namespace: &Namespace,
        filters: &'static [&'static str],
        options: &[&str],
        count: Option<usize>,
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let start = |number: usize, filter: &[&str]| -> Result<_> {
            let path = directory.path().join(format!("{number}.pcap"));
            let target = path.to_str().context("a temporary path is UTF-8")?;
            let args = [&["-i", VETH, "-d", "0", "-w", target][..], options, filter].concat();
            Ok((Capture::start(namespace, &args)?, path))
        };
        let count = count.map(|count| count.to_string());
        let count = count.as_ref().map(|count| ["-c", count.as_str()]);
        let everything = start(0, count.as_ref().map_or(&[][..], |count| count))?;
        let mut filtered = Vec::new();
        for (number, filter) in (1..).zip(filters) {
            let (capture, path) = start(number, &[filter])?;
            filtered.push((*filter, capture, path));
        }
        Ok(Self {
            everything,
            filtered,
            directory,
        })
    }

    /// Ends all captures and compares what they hold.
    fn compare(self, ends_by_itself: bool) -> Result<()> {
        let (capture, everything) = self.everything;
        let captured = if ends_by_itself {
            capture.finish()?
        } else {
            capture.interrupt()?
        };
        balanced(&captured)?;
        let seen = frames_of(&everything)?.len();
        ensure!(seen > 0, "the unfiltered capture is empty");
        let mut matched = 0;
        for (filter, capture, path) in self.filtered {
            let captured = capture.interrupt()?;
            balanced(&captured)?;
            ensure!(captured.report["source"]["filter"] == filter);
            let expected = kept_by_tcpdump(&everything, filter, self.directory.path())?;
            let got = frames_of(&path)?;
            ensure!(
                got == expected,
                "'{filter}': {} frames, and tcpdump keeps {} of {seen}",
                got.len(),
                expected.len()
            );
            println!("  {filter}: {} of {seen} frames", got.len());
            matched += got.len();
        }
        ensure!(matched > 0, "no filter matched anything");
        Ok(())
    }
}

fn balanced(captured: &Captured) -> Result<()> {
    let ledger = &captured.report["ledger"];
    ensure!(
        captured.status.success() && ledger["balanced"] == true,
        "{}: {ledger}\n{}",
        captured.status,
        captured.stderr
    );
    ensure!(ledger["frames_lost"]["ring_full"] == 0, "{ledger}");
    Ok(())
}

/// Wire length and bytes of the frames of a file, sorted: two captures of one moment agree on what
/// there was, not on the order in which several CPUs wrote it.
fn frames_of(path: &Path) -> Result<Vec<(u32, Vec<u8>)>> {
    let mut frames = Vec::new();
    let summary = capture_file::read(path, |_, frame| {
        frames.push((frame.wire_len, frame.data.to_vec()));
        std::ops::ControlFlow::Continue(())
    })?;
    if let Some(fault) = summary.fault {
        return Err(fault.into());
    }
    frames.sort();
    Ok(frames)
}

fn kept_by_tcpdump(file: &Path, filter: &str, directory: &Path) -> Result<Vec<(u32, Vec<u8>)>> {
    let kept = directory.join("kept.pcap");
    let output = Command::new("tcpdump")
        .args(["-n", "-r"])
        .arg(file)
        .arg("-w")
        .arg(&kept)
        .arg(filter)
        .output()
        .context("run tcpdump")?;
    ensure!(
        output.status.success(),
        "tcpdump: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    frames_of(&kept)
}

/// Sends frames as they are.
fn replay(namespace: &Namespace, frames: &[Vec<u8>], directory: &Path) -> Result<()> {
    let path = directory.join("replay.pcap");
    written::write(&path, frames, 1_000_000_000, 0)?;
    let path = path.to_str().context("a temporary path is UTF-8")?;
    namespace.run(&format!("tcpreplay --quiet --pps=2000 -i {VETH} {path}"))?;
    Ok(())
}

pub(crate) fn a_filtered_capture_is_what_tcpdump_keeps_of_an_unfiltered_one() -> Result<()> {
    let xdp = &["-Q", "in", "--hook", "xdp"][..];
    let xdp = Need::XdpFrames.is_there().then_some(xdp);
    for options in [&["-Q", "in"][..]].into_iter().chain(xdp) {
        // Two programs cannot share a hook at XDP, so they stand at the two ends of the link: what
        // leaves one end arrives at the other.
        let pair = VethPair::new(&VethOptions {
            ipv6: false,
            ..VethOptions::default()
        })?;
        let frames = frames();
        if options.contains(&"xdp") {
            one_by_one(&pair, &frames, options)?;
        } else {
            let captures = Captures::start(&pair.right, &FILTERS, options, Some(frames.len()))?;
            replay(&pair.left, &frames, captures.directory.path())?;
            captures.compare(true)?;
        }
    }
    Ok(())
}

/// One filter after the other at XDP, each beside an unfiltered capture at TC of the same end: TC
/// sees a frame after XDP, with its tag in metadata.
fn one_by_one(pair: &VethPair, frames: &[Vec<u8>], options: &[&str]) -> Result<()> {
    for filter in FILTERS.into_iter().step_by(2) {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        let (everything, got) = (path("everything.pcap"), path("got.pcap"));
        let text = |path: &Path| path.display().to_string();
        let count = frames.len().to_string();
        let args = ["-i", VETH, "-Q", "in", "-d", "0", "-c", &count, "-w"];
        let all = Capture::start(&pair.right, &[&args[..], &[&text(&everything)]].concat())?;
        let args = ["-i", VETH, "-d", "0", "-w"];
        let target = text(&got);
        let args = [&args[..], &[target.as_str()], options, &[filter]].concat();
        let some = Capture::start(&pair.right, &args)?;
        replay(&pair.left, frames, directory.path())?;
        balanced(&all.finish()?)?;
        balanced(&some.interrupt()?)?;
        let expected = kept_by_tcpdump(&everything, filter, directory.path())?;
        let got = frames_of(&got)?;
        ensure!(
            got == expected,
            "'{filter}' at XDP: {} frames, and tcpdump keeps {}",
            got.len(),
            expected.len()
        );
        println!("  {filter} at XDP: {} of {count} frames", got.len());
    }
    Ok(())
}

pub(crate) fn super_frames_in_several_buffers_are_filtered_whole() -> Result<()> {
    const BYTES: usize = 2 << 20;
    const FILTERS: [&str; 4] = [
        "greater 10000",
        "ether[9000] = 0x5a",
        "ip[ip[2:2] - 1] = 0x5a",
        "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x5a5a5a5a and len > 3000",
    ];
    let pair = VethPair::new(&VethOptions::default())?;
    let listener = pair
        .right
        .within(|| Ok(TcpListener::bind("10.77.0.2:7000")?))?;
    let captures = Captures::start(&pair.left, &FILTERS, &["-Q", "out"], None)?;
    let receiver = pair.right.spawn(1, move || {
        let (mut stream, _) = listener.accept()?;
        let mut received = Vec::new();
        Ok(stream.read_to_end(&mut received)?)
    })?;
    pair.left.within(|| {
        let address = "10.77.0.2:7000".parse()?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
        stream.write_all(&vec![0x5a; BYTES])?;
        stream.shutdown(Shutdown::Write)?;
        // The end of the other side: nothing is on its way any more.
        Ok(stream.read_to_end(&mut Vec::new())?)
    })?;
    ensure!(receiver.join()? == BYTES);
    captures.compare(false)
}

/// A program at the other end of the interface `tun0`, which takes packets and says nothing.
struct Tunnel(Child);

impl Tunnel {
    fn new(namespace: &Namespace) -> Result<Self> {
        // TUNSETIFF with IFF_TUN and IFF_NO_PI of linux/if_tun.h; it ends with its stdin.
        let script = "import fcntl, struct, sys\n\
            tun = open('/dev/net/tun', 'r+b', buffering=0)\n\
            fcntl.ioctl(tun, 0x400454ca, struct.pack('16sH', b'tun0', 0x1001))\n\
            print('ready', flush=True)\n\
            sys.stdin.read()";
        let mut child = namespace
            .command("python3")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("run python3")?;
        let stdout = child.stdout.take().context("stdout is piped")?;
        let tunnel = Self(child);
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready)?;
        ensure!(ready.trim() == "ready", "the tunnel said '{ready}'");
        Ok(tunnel)
    }

    fn close(&mut self) -> Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait()?;
        ensure!(status.success(), "the tunnel: {status}");
        Ok(())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // It ends by itself; after `close` it has ended.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

pub(crate) fn interfaces_of_several_link_types_have_a_filter_each() -> Result<()> {
    let pair = VethPair::new(&VethOptions::default())?;
    let mut tunnel = Tunnel::new(&pair.left)?;
    pair.left.run("ip link set tun0 up")?;
    pair.left.run("ip address add 10.78.0.1/24 dev tun0")?;
    let args = ["-i", "tun0", "-i", VETH, "-Q", "out", "-d", "0", "icmp"];
    let capture = Capture::start(&pair.left, &args)?;
    // Nobody answers in the tunnel.
    let unanswered = pair.left.run("ping -q -c 2 -i 0.2 -W 1 10.78.0.2");
    ensure!(unanswered.is_err(), "somebody answers in the tunnel");
    pair.left.run("ping -q -c 3 -i 0.2 -W 5 10.77.0.2")?;
    let captured = capture.interrupt()?;
    tunnel.close()?;
    balanced(&captured)?;
    let matched: Vec<_> = captured.report["interfaces"]
        .as_array()
        .context("the report has interfaces")?
        .iter()
        .map(|interface| interface["packets"].as_u64())
        .collect();
    ensure!(matched == [Some(2), Some(3)], "{matched:?}");
    Ok(())
}

pub(crate) fn listings_are_those_of_tcpdump() -> Result<()> {
    for expression in crate::expressions::EXPRESSIONS {
        let ours = traffic(&[
            "capture",
            "--dump-filter",
            &format!("--filter={expression}"),
        ])?;
        ensure!(ours.status.success(), "'{expression}': {}", ours.status);
        let theirs = Command::new("tcpdump")
            .args(["-y", "EN10MB", "-d", "--", expression])
            .output()?;
        ensure!(theirs.status.success(), "tcpdump -d '{expression}'");
        ensure!(
            ours.stdout.starts_with(&theirs.stdout),
            "'{expression}':\n{}\n{}",
            String::from_utf8_lossy(&ours.stdout),
            String::from_utf8_lossy(&theirs.stdout)
        );
    }
    Ok(())
}
