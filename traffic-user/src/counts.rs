//! Exact counts of every packet by protocol, error and interface.

use std::{collections::BTreeMap, fmt};

use traffic_ebpf::{
    parse::ParseError,
    protocol::{Class, Protocol},
    tally::{Count, Counters, IP_VERSIONS, NumberedKey, version_index},
};

use crate::record::PacketRecord;

/// Numbered classes that are kept apart when packets are counted here; the kernel has its own
/// bound. All 256 IP protocol numbers fit, less those that have a name.
const MAX_NUMBERED: usize = 256;

/// IP versions in the order of [`version_index`].
const IP_VERSION: [u8; IP_VERSIONS] = [0, 4, 6];

/// What one line of the protocol table stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Leaf {
    /// All packets of a class; of the two numbered classes those whose number was not kept.
    Whole(Protocol),
    /// Packets of a numbered class with one number.
    Numbered(Class),
}

impl fmt::Display for Leaf {
    /// `tcp`, `dns`, `ip-proto-89`, `ip-proto-other`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(protocol) if protocol.is_numbered() => {
                write!(f, "{}-other", protocol.label())
            }
            Self::Whole(protocol) => f.write_str(protocol.label()),
            Self::Numbered(class) => class.fmt(f),
        }
    }
}

impl Leaf {
    /// What stands between the network and a class that is known by its port: `tcp`, `udp`;
    /// empty for other classes.
    #[must_use]
    pub const fn transport(self) -> &'static str {
        match self {
            Self::Whole(Protocol::DnsUdp) => Protocol::Udp.label(),
            Self::Whole(Protocol::DnsTcp) => Protocol::Tcp.label(),
            Self::Whole(_) | Self::Numbered(_) => "",
        }
    }

    /// The class whose name and [transport](Self::transport) these are.
    #[must_use]
    pub fn from_names(name: &str, transport: &str) -> Option<Self> {
        let mut whole = Protocol::all().map(Self::Whole);
        whole
            .find(|leaf| leaf.transport() == transport && leaf.to_string() == name)
            .or_else(|| Self::numbered(name))
    }

    fn numbered(name: &str) -> Option<Self> {
        let (prefix, number) = name.rsplit_once('-')?;
        let mut numbered = Protocol::all().filter(|protocol| protocol.is_numbered());
        let protocol = numbered.find(|protocol| protocol.label() == prefix)?;
        let number = match number.strip_prefix("0x") {
            Some(hex) => u16::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        Some(Self::Numbered(Class { protocol, number }))
    }
}

impl From<&NumberedKey> for Leaf {
    fn from(key: &NumberedKey) -> Self {
        Self::Numbered(Class {
            protocol: Protocol::from_index(key.protocol),
            number: key.number,
        })
    }
}

/// Packets and bytes by leaf class, IP version, parse error and interface.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    whole: [[Count; Protocol::COUNT]; IP_VERSIONS],
    numbered: BTreeMap<Class, [Count; IP_VERSIONS]>,
    errors: [u64; ParseError::ALL.len()],
    interfaces: Vec<Count>,
}

impl Counts {
    /// Counts from the kernel: counters summed over CPUs, and the table of numbered classes. A
    /// place, the index in `places` and in [`NumberedKey::place`], is the interface number times
    /// two, plus one for egress.
    #[must_use]
    pub fn from_kernel(places: &[Counters], numbered: &[(NumberedKey, Count)]) -> Self {
        let mut counts = Self::default();
        for (place, counters) in places.iter().enumerate() {
            counts.add_place(place, counters);
        }
        for (key, count) in numbered {
            let Leaf::Numbered(class) = Leaf::from(key) else {
                continue;
            };
            counts.numbered.entry(class).or_default()[version_index(key.ip_version)] += *count;
            let place = usize::try_from(key.place).unwrap_or(usize::MAX);
            *counts.interface_mut(place / 2) += *count;
        }
        counts
    }

    fn add_place(&mut self, place: usize, counters: &Counters) {
        let whole = self.whole.as_flattened_mut().iter_mut();
        for (whole, count) in whole.zip(counters.protocols.as_flattened()) {
            *whole += *count;
        }
        for (error, count) in self.errors.iter_mut().zip(counters.errors) {
            *error += count;
        }
        let interface = self.interface_mut(place / 2);
        for count in counters.protocols.as_flattened() {
            *interface += *count;
        }
    }

    fn interface_mut(&mut self, number: usize) -> &mut Count {
        if number >= self.interfaces.len() {
            self.interfaces.resize(number + 1, Count::default());
        }
        &mut self.interfaces[number]
    }

    /// Counts one packet, and says in which leaf class.
    #[inline]
    pub fn add(&mut self, record: &PacketRecord) -> Leaf {
        let headers = record.headers();
        let count = Count {
            packets: 1,
            bytes: u64::from(record.wire_len()),
        };
        let version = version_index(headers.ip_version());
        if let Some(error) = usize::from(headers.status)
            .checked_sub(1)
            .and_then(|index| self.errors.get_mut(index))
        {
            *error += 1;
        }
        *self.interface_mut(usize::from(record.interface())) += count;
        let protocol = Protocol::from_index(headers.protocol);
        if protocol.is_numbered() {
            return self.add_numbered(headers.class(), version, count);
        }
        self.whole[version][protocol as usize] += count;
        Leaf::Whole(protocol)
    }

    fn add_numbered(&mut self, class: Class, version: usize, count: Count) -> Leaf {
        if self.numbered.len() >= MAX_NUMBERED && !self.numbered.contains_key(&class) {
            self.whole[version][class.protocol as usize] += count;
            return Leaf::Whole(class.protocol);
        }
        self.numbered.entry(class).or_default()[version] += count;
        Leaf::Numbered(class)
    }

    /// Counts packets of which class, IP version (4, 6, or 0) and interface, by its number in the
    /// run, are known.
    pub fn add_count(&mut self, interface: usize, leaf: Leaf, ip_version: u8, count: Count) {
        let version = version_index(ip_version);
        *self.interface_mut(interface) += count;
        match leaf {
            Leaf::Whole(protocol) => self.whole[version][protocol as usize] += count,
            Leaf::Numbered(class) => self.numbered.entry(class).or_default()[version] += count,
        }
    }

    /// Counts packets whose headers were not whole and consistent, by the label of the reason;
    /// whether there is such a reason.
    pub fn add_malformed(&mut self, reason: &str, packets: u64) -> bool {
        let mut reasons = ParseError::ALL.iter().zip(&mut self.errors);
        match reasons.find(|(error, _)| error.label() == reason) {
            Some((_, count)) => {
                *count += packets;
                true
            }
            None => false,
        }
    }

    /// Leaf classes that occur, most packets first. DNS over UDP and over TCP are one.
    #[must_use]
    pub fn leaves(&self) -> Vec<(String, Count)> {
        let mut by_name = BTreeMap::<String, Count>::new();
        for (leaf, _, count) in self.cells() {
            *by_name.entry(leaf.to_string()).or_default() += count;
        }
        let mut leaves: Vec<_> = by_name.into_iter().collect();
        leaves.sort_by_key(|(_, count)| std::cmp::Reverse(count.packets));
        leaves
    }

    /// Every leaf class of every IP version (4, 6, or 0 for none) that occurs, each once. DNS over
    /// UDP and over TCP are two.
    pub fn cells(&self) -> impl Iterator<Item = (Leaf, u8, Count)> {
        let whole = IP_VERSION.into_iter().zip(&self.whole);
        let whole = whole.flat_map(|(version, counts)| {
            let leaves = Protocol::all().map(Leaf::Whole).zip(counts);
            leaves.map(move |(leaf, count)| (leaf, version, *count))
        });
        let numbered = self.numbered.iter().flat_map(|(class, counts)| {
            let versions = IP_VERSION.into_iter().zip(counts);
            versions.map(|(version, count)| (Leaf::Numbered(*class), version, *count))
        });
        whole
            .chain(numbered)
            .filter(|(_, _, count)| count.packets > 0)
    }

    /// All packets and their bytes: the sum of the leaf classes.
    #[must_use]
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        for (_, _, count) in self.cells() {
            total += count;
        }
        total
    }

    /// Packets of IP version `version` (4 or 6).
    #[must_use]
    pub fn ip(&self, version: u8) -> u64 {
        self.cells()
            .filter(|(_, of, _)| *of == version)
            .map(|(_, _, count)| count.packets)
            .sum()
    }

    /// Packets of the classes that `belongs` takes, those without a number of their own apart.
    #[must_use]
    pub fn of(&self, belongs: impl Fn(Protocol) -> bool) -> u64 {
        self.cells()
            .filter(|(leaf, _, _)| matches!(leaf, Leaf::Whole(protocol) if belongs(*protocol)))
            .map(|(_, _, count)| count.packets)
            .sum()
    }

    /// Packets whose headers were not whole and consistent, by reason, without the reasons that
    /// do not occur.
    #[must_use]
    pub fn malformed(&self) -> BTreeMap<String, u64> {
        ParseError::ALL
            .iter()
            .zip(self.errors)
            .filter(|(_, count)| *count > 0)
            .map(|(error, count)| (error.label().to_owned(), count))
            .collect()
    }

    /// Packets and bytes of the interface with this number in the run.
    #[must_use]
    pub fn interface(&self, number: usize) -> Count {
        self.interfaces.get(number).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use traffic_ebpf::record::{FLAG_IPV4, Headers, Summary};

    use super::*;

    #[test]
    fn classes_are_known_by_their_names() {
        let numbered = [(Protocol::OtherIp, 89), (Protocol::OtherEther, 0x88cc)]
            .map(|(protocol, number)| Leaf::Numbered(Class { protocol, number }));
        for leaf in Protocol::all().map(Leaf::Whole).chain(numbered) {
            let name = leaf.to_string();
            assert_eq!(
                Leaf::from_names(&name, leaf.transport()),
                Some(leaf),
                "{name}"
            );
        }
        for name in ["", "quic", "ip-proto-", "tcp-7", "ethertype-0xfffff"] {
            assert_eq!(Leaf::from_names(name, ""), None, "{name}");
        }
    }

    #[test]
    fn kernel_counters_become_leaves_that_sum_to_the_total() {
        let mut ingress = Counters::ZERO;
        ingress.protocols[version_index(4)][Protocol::DnsUdp as usize] = count(3, 300);
        ingress.protocols[version_index(6)][Protocol::DnsTcp as usize] = count(2, 200);
        ingress.protocols[version_index(4)][Protocol::OtherIp as usize] = count(1, 50);
        ingress.errors[ParseError::TruncatedArp as usize - 1] = 4;
        let mut egress = Counters::ZERO;
        egress.protocols[0][Protocol::Arp as usize] = count(9, 378);
        let ospf = NumberedKey {
            place: 2,
            number: 89,
            protocol: Protocol::OtherIp as u8,
            ip_version: 6,
        };
        let places = [ingress, egress, Counters::ZERO, Counters::ZERO];
        let counts = Counts::from_kernel(&places, &[(ospf, count(7, 700))]);

        let expected = [
            ("arp", 9, 378),
            ("ip-proto-89", 7, 700),
            ("dns", 5, 500),
            ("ip-proto-other", 1, 50),
        ];
        let leaves = counts.leaves();
        let leaves: Vec<_> = leaves
            .iter()
            .map(|(name, count)| (name.as_str(), count.packets, count.bytes))
            .collect();
        assert_eq!(leaves, expected);
        assert_eq!(counts.total(), count(22, 1628));
        assert_eq!((counts.ip(4), counts.ip(6)), (4, 9));
        assert_eq!(
            (counts.of(Protocol::is_tcp), counts.of(Protocol::is_udp)),
            (2, 3)
        );
        assert_eq!(counts.interface(0), count(15, 928));
        assert_eq!(counts.interface(1), count(7, 700));
        assert_eq!(counts.interface(2), Count::default());
        assert_eq!(counts.malformed(), [("truncated_arp".to_owned(), 4)].into());
    }

    #[test]
    fn numbers_beyond_the_bound_are_counted_together() {
        let mut counts = Counts::default();
        for ether_type in 0x8000..0x8000 + 300 {
            counts.add(&frame(ether_type));
            counts.add(&frame(ether_type));
        }
        assert_eq!(counts.total(), count(600, 36_000));
        let leaves = counts.leaves();
        assert_eq!(leaves.len(), MAX_NUMBERED + 1);
        let rest = count(
            2 * (300 - MAX_NUMBERED as u64),
            120 * (300 - MAX_NUMBERED as u64),
        );
        assert_eq!(leaves[0], ("ethertype-other".to_owned(), rest));
        assert_eq!(leaves[1], ("ethertype-0x8000".to_owned(), count(2, 120)));
    }

    #[test]
    fn protocol_zero_over_ipv4_is_not_the_rest() {
        let mut counts = Counts::default();
        let headers = Headers {
            protocol: Protocol::OtherIp as u8,
            flags: FLAG_IPV4,
            status: ParseError::BadIpv4Length as u8,
            ..Headers::EMPTY
        };
        let leaf = counts.add(&record(headers));
        assert_eq!(leaf.to_string(), "ip-proto-0");
        assert_eq!(counts.ip(4), 1);
        assert_eq!(counts.malformed()["bad_ipv4_length"], 1);
    }

    fn frame(ether_type: u16) -> PacketRecord {
        record(Headers {
            ether_type,
            protocol: Protocol::OtherEther as u8,
            ..Headers::EMPTY
        })
    }

    fn record(headers: Headers) -> PacketRecord {
        PacketRecord::new(Summary {
            wire_len: 60,
            headers,
            ..Summary::EMPTY
        })
    }

    fn count(packets: u64, bytes: u64) -> Count {
        Count { packets, bytes }
    }
}
