//! Ethernet frames that filters look at from every side.

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Frames of many protocols, tags, lengths and options.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut inner = Vec::new();
    for (source, destination) in [(40_000, 80), (80, 40_000), (5_353, 53), (443, 8_080)] {
        for payload in [0, 1, 30, 700, 1_400] {
            inner.push((0x0800, ipv4(&[], TCP, &tcp(source, destination, payload))));
            inner.push((
                0x0800,
                ipv4(&[1; 8], UDP, &udp(source, destination, payload)),
            ));
            inner.push((0x86dd, ipv6(TCP, &tcp(source, destination, payload))));
            inner.push((0x86dd, ipv6(UDP, &udp(source, destination, payload))));
        }
    }
    inner.push((0x0800, ipv4(&[], 1, &[8, 0, 0, 0, 0, 1, 0, 1])));
    inner.push((
        0x0800,
        ipv4(
            &[1; 40],
            132,
            &[11, 92, 11, 93, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        ),
    ));
    inner.push((0x86dd, ipv6(58, &[135, 0, 0, 0, 0, 0, 0, 0])));
    // Hop-by-hop options in front of TCP.
    let options = [&[TCP, 0, 1, 4, 0, 0, 0, 0][..], &tcp(1, 80, 9)].concat();
    inner.push((0x86dd, ipv6(0, &options)));
    inner.push((0x0806, arp()));
    let mut fragment = ipv4(&[], UDP, &udp(1, 53, 100));
    fragment[6..8].copy_from_slice(&[0x20, 0x10]);
    inner.push((0x0800, fragment));
    inner
        .iter()
        .flat_map(|(kind, packet)| tagged(*kind, packet))
        .collect()
}

/// A packet without a tag, with one, and with two.
fn tagged(kind: u16, packet: &[u8]) -> [Vec<u8>; 3] {
    let kind = kind.to_be_bytes();
    let addresses = if kind == [8, 6] {
        [[0xff; 6], [2, 0, 0, 0, 0, 1]]
    } else {
        [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]]
    };
    let addresses = addresses.concat();
    [
        [&addresses[..], &kind, packet].concat(),
        [&addresses[..], &[0x81, 0, 0xe0, 7], &kind, packet].concat(),
        [
            &addresses[..],
            &[0x88, 0xa8, 0, 100, 0x81, 0, 0, 7],
            &kind,
            packet,
        ]
        .concat(),
    ]
}

fn ipv4(options: &[u8], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let [high, low] = length(header + payload.len());
    let version = 0x40 | u8::try_from(header / 4).expect("at most 60");
    let [_, id] = length(payload.len());
    let ttl = 64 - protocol % 3;
    [
        &[version, 0, high, low, 0, id, 0, 0, ttl, protocol, 0, 0][..],
        &[192, 168, 1, 1, 10, 0, 0, 1],
        options,
        payload,
    ]
    .concat()
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = length(payload.len());
    let address = |last: u8| [&[0xfe, 0x80][..], &[0; 13], &[last]].concat();
    [
        &[0x60, 0, 0, 0, high, low, next, 255][..],
        &address(1),
        &address(2),
        payload,
    ]
    .concat()
}

fn tcp(source: u16, destination: u16, payload: usize) -> Vec<u8> {
    // Twelve bytes of options where there is a payload.
    let words: u8 = if payload == 0 { 5 } else { 8 };
    let mut segment = ports(source, destination);
    segment.resize(usize::from(words) * 4, 1);
    segment[12] = words << 4;
    segment[13] = if payload == 0 { 0x02 } else { 0x18 };
    segment.extend(b"GET / HTTP/1.1\r\n".iter().cycle().take(payload));
    segment
}

fn udp(source: u16, destination: u16, payload: usize) -> Vec<u8> {
    let mut datagram = ports(source, destination);
    datagram.extend(length(8 + payload));
    datagram.extend([0, 0]);
    datagram.resize(8 + payload, 0xab);
    datagram
}

fn arp() -> Vec<u8> {
    [
        &[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 168, 1, 1][..],
        &[0, 0, 0, 0, 0, 0, 10, 0, 0, 1],
    ]
    .concat()
}

fn ports(source: u16, destination: u16) -> Vec<u8> {
    [source.to_be_bytes(), destination.to_be_bytes()].concat()
}

fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).expect("a packet").to_be_bytes()
}
