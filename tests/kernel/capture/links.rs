//! Interfaces without Ethernet headers, and loopback.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::fd::AsRawFd,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use traffic_tests::{
    Need, Test,
    ledger::balanced,
    netns::Namespace,
    program::{Capture, binary},
};

use crate::{
    Tests,
    frame::{self, ipv4_udp, ipv6_udp},
};

const NEEDS: &[Need] = &[Need::Capture, Need::Tool("tshark")];

pub(crate) const TESTS: Tests = &[
    Test::new(
        "a_tunnel_without_ethernet_headers_is_counted_and_written",
        NEEDS,
        a_tunnel_without_ethernet_headers_is_counted_and_written,
    ),
    Test::new(
        "mixed_link_types_need_pcapng",
        NEEDS,
        mixed_link_types_need_pcapng,
    ),
    Test::new(
        "loopback_counts_every_packet_once",
        NEEDS,
        loopback_counts_every_packet_once,
    ),
];

const TUNNEL: &str = "tun0";

/// A tunnel whose other end is this process.
struct Tunnel {
    namespace: Namespace,
    device: File,
}

impl Tunnel {
    fn new() -> Result<Self> {
        let namespace = Namespace::new()?;
        namespace.run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1")?;
        namespace.run(&format!("ip tuntap add mode tun name {TUNNEL}"))?;
        namespace.run(&format!("ip link set {TUNNEL} up"))?;
        let device = namespace.within(open_tunnel)?;
        Ok(Self { namespace, device })
    }
}

/// `IFF_TUN` and `IFF_NO_PI` in the width of their field.
const IFF_TUN_NO_PI: libc::c_short = 0x1001;
const _: () = assert!(libc::IFF_TUN | libc::IFF_NO_PI == 0x1001);

/// Takes the other end of the tunnel of this thread's namespace (`TUNSETIFF` of
/// `linux/if_tun.h`).
fn open_tunnel() -> Result<File> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context("open /dev/net/tun")?;
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(TUNNEL.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = IFF_TUN_NO_PI;
    // SAFETY: `request` is an `ifreq`, as the call expects, and outlives it.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    ensure!(result == 0, "{}", std::io::Error::last_os_error());
    Ok(device)
}

fn a_tunnel_without_ethernet_headers_is_counted_and_written() -> Result<()> {
    let mut tunnel = Tunnel::new()?;
    let directory = tempfile::tempdir()?;
    for name in ["tunnel.pcapng", "tunnel.pcap"] {
        let file = directory.path().join(name);
        let path = file.to_str().context("a path in UTF-8")?;
        let capture = Capture::start(&tunnel.namespace, &["-i", TUNNEL, "-w", path])?;
        let packets = [
            ipv4_udp(1, 0),
            ipv6_udp(2, 5),
            ipv4_udp(3, 1400),
            ipv6_udp(4, 1400),
        ];
        for packet in &packets {
            tunnel.device.write_all(packet)?;
        }
        let captured = capture.interrupt()?;
        ensure!(captured.status.success(), "{}", captured.stderr);
        let report = &captured.report;
        ensure!(balanced(report, true)? == 4, "{report}");
        ensure!(report["interfaces"][0]["link_type"] == "RAW");
        let totals = &report["totals"];
        ensure!(totals["ip"] == 2 && totals["ip6"] == 2 && totals["udp"] == 4);
        let frames = frame::read(&file)?;
        ensure!(frames.iter().map(|frame| &frame.data).eq(&packets));
        let fields = [
            "-T", "fields", "-e", "ip.src", "-e", "ipv6.src", "-e", "udp.port",
        ];
        let output = Command::new("tshark")
            .arg("-r")
            .arg(&file)
            .args(fields)
            .output()?;
        let dissected = String::from_utf8(output.stdout)?;
        let expected = "192.0.2.1\t\t9,9\n\t2001:db8::1\t9,9\n".repeat(2);
        ensure!(dissected == expected, "{dissected}");
    }
    Ok(())
}

fn mixed_link_types_need_pcapng() -> Result<()> {
    let tunnel = Tunnel::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("mixed.pcap");
    let output = tunnel
        .namespace
        .command(binary())
        .args(["capture", "-i", "lo", "-i", TUNNEL, "-w"])
        .arg(&file)
        .output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2), "{said}");
    ensure!(
        said.lines().count() == 1 && said.contains("pcapng"),
        "{said}"
    );
    ensure!(!file.exists());

    let file = directory.path().join("mixed.pcapng");
    let path = file.to_str().context("a path in UTF-8")?;
    let capture = Capture::start(&tunnel.namespace, &["-i", "lo", "-i", TUNNEL, "-w", path])?;
    let mut device = &tunnel.device;
    device.write_all(&ipv4_udp(1, 20))?;
    tunnel.namespace.run("ping -q -c 1 127.0.0.1")?;
    let captured = capture.interrupt()?;
    ensure!(captured.status.success(), "{}", captured.stderr);
    ensure!(balanced(&captured.report, true)? == 3);
    let frames = frame::read(&file)?;
    let interfaces: Vec<_> = frames.iter().map(|frame| frame.interface).collect();
    ensure!(interfaces == [1, 0, 0], "{interfaces:?}");
    Ok(())
}

fn loopback_counts_every_packet_once() -> Result<()> {
    let namespace = Namespace::new()?;
    let both = Capture::start(&namespace, &["-i", "lo"])?;
    let xdp = Capture::start(&namespace, &["-i", "lo", "--hook", "xdp"])?;
    let out = Capture::start(&namespace, &["-i", "lo", "-Q", "out"])?;
    namespace.run("ping -q -c 3 -i 0.01 127.0.0.1")?;
    let (both, out, xdp) = (both.interrupt()?, out.interrupt()?, xdp.interrupt()?);
    for captured in [&both, &out, &xdp] {
        ensure!(
            balanced(&captured.report, false)? == 6,
            "{}",
            captured.report["ledger"]
        );
    }
    let hooks = |report: &serde_json::Value| {
        let interface = &report["interfaces"][0];
        (
            interface["ingress_hook"].clone(),
            interface["egress_hook"].clone(),
        )
    };
    ensure!(hooks(&both.report) == ("tcx".into(), serde_json::Value::Null));
    ensure!(hooks(&xdp.report) == ("xdp-generic".into(), serde_json::Value::Null));
    ensure!(hooks(&out.report) == (serde_json::Value::Null, "tcx".into()));
    ensure!(both.stderr.contains("ingress only"), "{}", both.stderr);
    Ok(())
}
