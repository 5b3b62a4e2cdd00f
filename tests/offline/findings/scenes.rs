//! Traffic that deserves a finding, and traffic that does not.

use crate::frames::{ACK, RST, SYN, Timed, arp, datagram, dns, echo_request, fragment, tcp, udp};

/// A capture, and what is to be found in it.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// In order.
    pub(crate) kinds: &'static [&'static str],
    pub(crate) frames: fn() -> Vec<Timed>,
}

const fn scene(
    name: &'static str,
    kinds: &'static [&'static str],
    frames: fn() -> Vec<Timed>,
) -> Scene {
    Scene {
        name,
        kinds,
        frames,
    }
}

pub(crate) const SCENES: &[Scene] = &[
    scene("port_scan", &["syn_scan"], port_scan),
    scene("host_scan_ipv6", &["syn_scan"], host_scan_ipv6),
    scene("syn_flood", &["syn_flood"], syn_flood),
    scene("udp_flood", &["udp_flood"], udp_flood),
    scene(
        "spoofed_flood",
        &["spoofed_flood", "syn_flood"],
        spoofed_flood,
    ),
    scene("arp_conflict", &["arp_conflict"], arp_conflict),
    scene("arp_sweep", &["arp_sweep"], arp_sweep),
    scene("icmp_sweep", &["icmp_sweep"], icmp_sweep),
    scene("icmp6_sweep", &["icmp_sweep"], icmp6_sweep),
    scene("dns_answers", &["dns_unasked_answers"], dns_answers),
    scene("dns_tunnel", &["dns_tunnel"], dns_tunnel),
    scene("teardrop", &["fragment_overlap"], teardrop),
    scene("jump", &["rate_change"], jump),
    scene("silence", &["rate_change"], silence),
];

const VICTIM: &str = "10.0.0.5";

/// 300 ports, of which 3 answer.
fn port_scan() -> Vec<Timed> {
    let probe = |port: u16| {
        let time_us = u64::from(port) * 10_000;
        let answer = if port.is_multiple_of(100) {
            SYN | ACK
        } else {
            RST | ACK
        };
        [
            (time_us, tcp("10.0.0.66", VICTIM, (40_000, port), SYN)),
            (
                time_us + 50,
                tcp(VICTIM, "10.0.0.66", (port, 40_000), answer),
            ),
        ]
    };
    (1..=300).flat_map(probe).collect()
}

/// One port of 200 hosts that do not answer.
fn host_scan_ipv6() -> Vec<Timed> {
    let probe = |host: u64| {
        let to = format!("2001:db8::1:{host:x}");
        let frame = tcp("2001:db8::66", &to, (40_000, 22), SYN);
        (host * 20_000, frame)
    };
    (1..=200).map(probe).collect()
}

/// 3,000 SYN packets within a second from 50 hosts.
fn syn_flood() -> Vec<Timed> {
    let packet = |n: u16| {
        let from = format!("192.0.2.{}", n % 50 + 1);
        (u64::from(n) * 300, tcp(&from, VICTIM, (n, 80), SYN))
    };
    (0..3000).map(packet).collect()
}

/// 12,000 datagrams within a second and a half.
fn udp_flood() -> Vec<Timed> {
    let packet = |n: u64| (n * 125, udp("192.0.2.1", VICTIM, (4000, 5000), &[0; 64]));
    (0..12_000).map(packet).collect()
}

/// 4,000 SYN packets within a second, each from another address.
fn spoofed_flood() -> Vec<Timed> {
    let packet = |n: u16| {
        let [a, b, c, d] = u32::from(n)
            .wrapping_mul(1_048_573)
            .wrapping_add(0x0b00_0001)
            .to_be_bytes();
        let from = format!("{a}.{b}.{c}.{d}");
        (u64::from(n) * 225, tcp(&from, VICTIM, (n, 80), SYN))
    };
    (0..4000).map(packet).collect()
}

fn arp_conflict() -> Vec<Timed> {
    let claim = |n: u64, mac| (n * 1_000_000, arp(2, mac, [10, 0, 0, 1], [10, 0, 0, 9]));
    vec![
        claim(0, [2, 0, 0, 0, 0, 1]),
        claim(1, [2, 0, 0, 0, 0, 1]),
        claim(2, [2, 0, 0, 0, 0, 0x66]),
    ]
}

fn arp_sweep() -> Vec<Timed> {
    let request = |host: u8| {
        let frame = arp(1, [2, 0, 0, 0, 0, 0x66], [10, 0, 0, 66], [10, 0, 0, host]);
        (u64::from(host) * 20_000, frame)
    };
    (1..=254).filter(|host| *host != 66).map(request).collect()
}

fn icmp_sweep() -> Vec<Timed> {
    let request = |host: u64| {
        let frame = echo_request("10.0.0.66", &format!("10.0.0.{host}"));
        (host * 20_000, frame)
    };
    (1..=100).filter(|host| *host != 66).map(request).collect()
}

fn icmp6_sweep() -> Vec<Timed> {
    let request = |host: u64| {
        let frame = echo_request("2001:db8::66", &format!("2001:db8::1:{host:x}"));
        (host * 20_000, frame)
    };
    (1..=100).map(request).collect()
}

/// 60 answers from six servers, of which the client asked for none.
fn dns_answers() -> Vec<Timed> {
    let answer = |n: u16| {
        let server = format!("198.51.100.{}", n % 6 + 1);
        let message = dns(n, true, "big.example.com");
        let frame = udp(&server, VICTIM, (53, 5353), &message);
        (u64::from(n) * 10_000, frame)
    };
    (0..60).map(answer).collect()
}

/// 80 names of 60 characters, each asked for and answered.
fn dns_tunnel() -> Vec<Timed> {
    let exchange = |n: u16| {
        let name = format!("{:060}.t.example.com", u32::from(n) * 7919);
        let time_us = u64::from(n) * 100_000;
        let asked = udp(
            "10.0.0.66",
            "10.0.0.53",
            (40_000, 53),
            &dns(n, false, &name),
        );
        let answered = udp("10.0.0.53", "10.0.0.66", (53, 40_000), &dns(n, true, &name));
        [(time_us, asked), (time_us + 900, answered)]
    };
    (0..80).flat_map(exchange).collect()
}

/// The second fragment ends inside the first.
fn teardrop() -> Vec<Timed> {
    let (src, dst) = ([10, 0, 0, 66], [10, 0, 0, 5]);
    vec![
        (
            0,
            fragment(src, dst, (7, 0, true), &datagram((1, 2), &[0; 28])),
        ),
        (100, fragment(src, dst, (7, 24, false), &[0; 4])),
    ]
}

/// Twelve seconds of 100 packets, then two of 3,000.
fn jump() -> Vec<Timed> {
    let packet = |time_us| (time_us, tcp("10.0.0.1", VICTIM, (40_000, 80), ACK));
    let slow = (0..1200).map(|n| packet(n * 10_000));
    let fast = (0..6000).map(|n| packet(12_000_000 + n * 333));
    slow.chain(fast).collect()
}

/// Eleven seconds of 2,000 packets, then two seconds of none.
fn silence() -> Vec<Timed> {
    let packet = |time_us| (time_us, tcp("10.0.0.1", VICTIM, (40_000, 80), ACK));
    let busy = (0..22_000).map(|n| packet(n * 500));
    busy.chain([packet(13_500_000)]).collect()
}

/// A host that visits many servers, resolves names, pings, and gets large datagrams in pieces.
pub(crate) fn ordinary() -> Vec<Timed> {
    let mut frames = Vec::new();
    for n in 0..150u16 {
        let time_us = u64::from(n) * 300_000;
        let server = format!("203.0.113.{}", n + 1);
        let name = format!("www{n}.example.net");
        let port = 40_000 + n;
        let client = "10.0.0.7";
        let ports = (port, 443);
        let back = (443, port);
        frames.extend([
            (
                time_us,
                udp(client, "10.0.0.53", (port, 53), &dns(n, false, &name)),
            ),
            (
                time_us + 100,
                udp("10.0.0.53", client, (53, port), &dns(n, true, &name)),
            ),
            (time_us + 200, tcp(client, &server, ports, SYN)),
            (time_us + 300, tcp(&server, client, back, SYN | ACK)),
            (time_us + 400, tcp(client, &server, ports, ACK)),
            (time_us + 500, tcp(&server, client, back, ACK)),
        ]);
        if n < 20 {
            let to = [10, 0, 0, 7];
            let first = datagram((2049, 700), &[0; 1472]);
            let pieces = [
                fragment([10, 0, 0, 9], to, (n, 0, true), &first),
                fragment([10, 0, 0, 9], to, (n, 1480, false), &[0; 400]),
            ];
            let pieces = pieces.into_iter().zip([600, 610]);
            // Each piece is seen twice, as on two interfaces.
            for (piece, after) in pieces {
                frames.push((time_us + after, piece.clone()));
                frames.push((time_us + after + 1, piece));
            }
            let host = u8::try_from(n).expect("fewer than 20");
            let mac = [2, 0, 0, 0, 1, host];
            frames.push((time_us + 700, arp(1, mac, [10, 0, 1, host], [10, 0, 0, 1])));
            frames.push((time_us + 800, echo_request(client, "10.0.0.1")));
        }
    }
    frames
}
