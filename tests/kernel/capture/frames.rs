//! Captured frames are byte for byte those that tcpdump captured of the same traffic.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use traffic_tests::{
    Need, Test,
    netns::{Namespace, VETH, VethOptions, VethPair},
    program::Capture,
    stage::introduce,
};

use crate::{
    NEEDS, Tests,
    frame::{self, Frame, TPID_CUSTOMER, TPID_SERVICE, ethernet, ipv4_udp, ipv6_udp},
    send::{self, MARK},
    tcpdump::{Tcpdump, before},
};

pub(crate) const TESTS: Tests = &[
    Test::new(
        "frames_at_tc_are_those_of_tcpdump",
        NEEDS,
        frames_at_tc_are_those_of_tcpdump,
    ),
    Test::new(
        "frames_at_xdp_are_those_of_tcpdump",
        &[Need::Capture, Need::Tool("tcpdump"), Need::XdpFrames],
        frames_at_xdp_are_those_of_tcpdump,
    ),
    Test::new(
        "tags_in_metadata_are_put_back_on_both_directions",
        NEEDS,
        tags_in_metadata_are_put_back_on_both_directions,
    ),
    Test::new(
        "jumbo_frames_are_those_of_tcpdump",
        NEEDS,
        jumbo_frames_are_those_of_tcpdump,
    ),
    Test::new(
        "super_frames_are_those_of_tcpdump",
        NEEDS,
        super_frames_are_those_of_tcpdump,
    ),
    Test::new(
        "snaplen_cuts_frames_and_nothing_else",
        NEEDS,
        snaplen_cuts_frames_and_nothing_else,
    ),
];

/// Untagged, tagged once and twice, IPv4, IPv6 and neither, from the shortest frame on. The last
/// one is below the shortest that Ethernet has: virtual links carry it.
fn mixture(longest: usize) -> Vec<Vec<u8>> {
    const CUSTOMER: (u16, u16) = (TPID_CUSTOMER, 7);
    const SERVICE: (u16, u16) = (TPID_SERVICE, 100);
    let mut frames = vec![ethernet(&[], 0x88b5, &[])];
    for (mark, bytes) in (1..).zip([0, 1, 17, 18, 100, 470, 1000, longest]) {
        for tags in [
            &[][..],
            &[CUSTOMER],
            &[SERVICE, CUSTOMER],
            &[CUSTOMER, CUSTOMER],
        ] {
            frames.push(ethernet(tags, 0x0800, &ipv4_udp(mark, bytes)));
            frames.push(ethernet(tags, 0x86dd, &ipv6_udp(mark, bytes)));
            frames.push(ethernet(tags, 0x88b5, &ipv4_udp(mark, bytes)));
        }
    }
    frames
}

/// The program and two tcpdumps, one a direction, on one interface.
struct Watch {
    capture: Capture,
    directory: tempfile::TempDir,
    ingress: Tcpdump,
    egress: Tcpdump,
}

/// What a direction gave: our frames, and tcpdump's.
struct Both {
    ours: Vec<Frame>,
    theirs: Vec<Frame>,
}

impl Watch {
    fn start(namespace: &Namespace, interface: &str, args: &[&str]) -> Result<Self> {
        Self::beside(Tcpdump::start, namespace, interface, args)
    }

    fn beside(
        tcpdump: impl Fn(&Namespace, &str, &str, &Path) -> Result<Tcpdump>,
        namespace: &Namespace,
        interface: &str,
        args: &[&str],
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = |name: &str| directory.path().join(name);
        let ingress = tcpdump(namespace, interface, "in", &file("in.pcap"))?;
        let egress = tcpdump(namespace, interface, "out", &file("out.pcap"))?;
        let own = file("traffic.pcapng");
        let own = own.to_str().context("a path in UTF-8")?;
        let args = [&["-i", interface, "-w", own][..], args].concat();
        Ok(Self {
            capture: Capture::start(namespace, &args)?,
            directory,
            ingress,
            egress,
        })
    }

    /// Both directions up to the mark.
    fn stop(self) -> Result<[Both; 2]> {
        let theirs = [self.ingress.until(MARK)?, self.egress.until(MARK)?];
        let captured = self.capture.interrupt()?;
        ensure!(captured.status.success(), "{}", captured.stderr);
        ensure!(captured.report["ledger"]["balanced"] == true);
        let ours = frame::read(&self.directory.path().join("traffic.pcapng"))?;
        ensure!(captured.report["ledger"]["frames_written"] == ours.len());
        let (egress, ingress): (Vec<_>, Vec<_>) = ours.into_iter().partition(|frame| frame.egress);
        let [their_ingress, their_egress] = theirs;
        Ok([
            Both {
                ours: before(ingress, MARK),
                theirs: their_ingress,
            },
            Both {
                ours: before(egress, MARK),
                theirs: their_egress,
            },
        ])
    }
}

impl Both {
    /// Same frames in the same order; at least `least` of them.
    fn agree(&self, what: &str, least: usize) -> Result<()> {
        for (at, (ours, theirs)) in self.ours.iter().zip(&self.theirs).enumerate() {
            ensure!(
                ours.data == theirs.data && ours.wire_len == theirs.wire_len,
                "{what}: frame {at} is {} of {} bytes {:02x?} and not {} of {} bytes {:02x?}",
                ours.data.len(),
                ours.wire_len,
                &ours.data[..ours.data.len().min(64)],
                theirs.data.len(),
                theirs.wire_len,
                &theirs.data[..theirs.data.len().min(64)]
            );
        }
        let (ours, theirs) = (self.ours.len(), self.theirs.len());
        ensure!(
            ours == theirs,
            "{what}: {ours} frames, and tcpdump {theirs}"
        );
        ensure!(ours >= least, "{what}: only {ours} of {least} frames");
        Ok(())
    }
}

fn silent(mtu: u32, offloads: &str) -> Result<VethPair> {
    let pair = VethPair::new(&VethOptions {
        mtu,
        offloads,
        ipv6: false,
    })?;
    introduce(&pair)?;
    Ok(pair)
}

/// Replays the mixture from left to right and compares what both ends captured.
fn replay_agrees(offloads: &str, args: &[&str], longest: usize, mtu: u32) -> Result<()> {
    let pair = silent(mtu, offloads)?;
    let frames = mixture(longest);
    let left = Watch::start(&pair.left, VETH, args)?;
    let right = Watch::start(&pair.right, VETH, args)?;
    send::replay(&pair.left, VETH, &frames)?;
    send::mark(&pair)?;
    let [_, sent] = left.stop()?;
    let [received, _] = right.stop()?;
    sent.agree(&format!("{offloads}: egress"), frames.len())?;
    received.agree(&format!("{offloads}: ingress"), frames.len())?;
    for (frame, captured) in frames.iter().zip(&received.ours) {
        ensure!(*frame == captured.data, "captured what was not sent");
    }
    Ok(())
}

fn frames_at_tc_are_those_of_tcpdump() -> Result<()> {
    for offloads in ["rxvlan off txvlan off", "rxvlan on txvlan on"] {
        replay_agrees(offloads, &["--hook", "tc"], 1444, 1500)?;
    }
    Ok(())
}

fn frames_at_xdp_are_those_of_tcpdump() -> Result<()> {
    for offloads in ["rxvlan off txvlan off", "rxvlan off txvlan off gro on"] {
        replay_agrees(offloads, &["--hook", "xdp"], 1444, 1500)?;
    }
    Ok(())
}

fn jumbo_frames_are_those_of_tcpdump() -> Result<()> {
    let xdp = Need::XdpFrames.is_there().then_some("xdp");
    for hook in ["tc"].into_iter().chain(xdp) {
        replay_agrees("rxvlan off txvlan off", &["--hook", hook], 8944, 9000)?;
    }
    Ok(())
}

/// A bridge passes on what it received with the tag in metadata: so it leaves.
fn tags_in_metadata_are_put_back_on_both_directions() -> Result<()> {
    for offload in ["on", "off"] {
        let pair = silent(1500, "")?;
        for line in [
            // Without IPv6 and snooping nothing is sent but by the test.
            "sysctl -qw net.ipv6.conf.default.disable_ipv6=1",
            "ip link add br0 type bridge mcast_snooping 0",
            "ip link add out0 type veth peer name out1",
            "ip link set out1 up",
        ] {
            pair.right.run(line)?;
        }
        pair.right.run(&format!(
            "ethtool -K out0 rxvlan {offload} txvlan {offload}"
        ))?;
        for line in [
            "ip link set out0 master br0 up",
            "ip link set veth0 master br0",
            "ip link set br0 up",
        ] {
            pair.right.run(line)?;
        }
        let frames = mixture(1000);
        let arriving = Watch::start(&pair.right, VETH, &[])?;
        let leaving = Watch::start(&pair.right, "out0", &[])?;
        send::replay(&pair.left, VETH, &frames)?;
        send::replay(&pair.left, VETH, &[ethernet(&[], 0x88b5, MARK)])?;
        send::replay(&pair.right, VETH, &[ethernet(&[], 0x88b5, MARK)])?;
        send::replay(&pair.right, "out1", &[ethernet(&[], 0x88b5, MARK)])?;
        let [arrived, _] = arriving.stop()?;
        let [_, left] = leaving.stop()?;
        arrived.agree("bridge, ingress", frames.len())?;
        left.agree("bridge, egress", frames.len())?;
    }
    Ok(())
}

/// Joined by the sender, or by GRO. Where the device does not segment, the kernel does so between TC
/// and tcpdump's place.
fn super_frames_are_those_of_tcpdump() -> Result<()> {
    let watch =
        |namespace: &Namespace| Watch::beside(Tcpdump::start_at_full_length, namespace, VETH, &[]);
    for (offloads, as_sent) in [("tso on gro on", true), ("tso off gro on", false)] {
        let pair = silent(1500, offloads)?;
        let left = watch(&pair.left)?;
        let right = watch(&pair.right)?;
        send::bulk(&pair, "10.77.0.2:5001", 4 << 20)?;
        send::mark(&pair)?;
        let [answers, sent] = left.stop()?;
        let [received, answered] = right.stop()?;
        answers.agree(&format!("{offloads}: answers, ingress"), 10)?;
        answered.agree(&format!("{offloads}: answers, egress"), 10)?;
        received.agree(&format!("{offloads}: data, ingress"), 60)?;
        if as_sent {
            sent.agree(&format!("{offloads}: data, egress"), 60)?;
        }
        let longest = received.ours.iter().map(|frame| frame.data.len()).max();
        // Before Linux 5.13 veth joins frames only for XDP; the need is of a later one.
        if as_sent || Need::XdpFrames.is_there() {
            ensure!(longest > Some(20_000), "no super-frame: {longest:?}");
        }
    }
    Ok(())
}

fn snaplen_cuts_frames_and_nothing_else() -> Result<()> {
    const SNAPLENS: [usize; 10] = [1, 14, 15, 16, 17, 64, 96, 128, 129, 1500];
    let pair = silent(1500, "")?;
    let directory = tempfile::tempdir()?;
    let full = Tcpdump::start(&pair.right, VETH, "in", &directory.path().join("full.pcap"))?;
    let path = |snaplen: usize| directory.path().join(format!("{snaplen}.pcapng"));
    let mut captures = Vec::new();
    for snaplen in SNAPLENS {
        let file = path(snaplen);
        let file = file.to_str().context("a path in UTF-8")?;
        let number = snaplen.to_string();
        let args = ["-i", VETH, "-Q", "in", "-s", &number, "-w", file];
        captures.push(Capture::start(&pair.right, &args)?);
    }
    send::replay(&pair.left, VETH, &mixture(1460))?;
    send::mark(&pair)?;
    let full = full.until(MARK)?;
    for (snaplen, capture) in SNAPLENS.into_iter().zip(captures) {
        let captured = capture.interrupt()?;
        ensure!(captured.status.success(), "{}", captured.stderr);
        agree_up_to(snaplen, &full, &path(snaplen))?;
    }
    Ok(())
}

fn agree_up_to(snaplen: usize, full: &[Frame], file: &Path) -> Result<()> {
    let cut = frame::read(file)?;
    ensure!(cut.len() >= full.len(), "snaplen {snaplen}: frames missing");
    for (at, (cut, whole)) in cut.iter().zip(full).enumerate() {
        let kept = &whole.data[..whole.data.len().min(snaplen)];
        ensure!(
            cut.data == kept && cut.wire_len == whole.wire_len,
            "snaplen {snaplen}: frame {at} is {:02x?} and not {kept:02x?}",
            cut.data
        );
    }
    Ok(())
}
