//! Addresses that get far more packets than they can have asked for.

use std::{collections::HashMap, hash::BuildHasher};

use foldhash::fast::RandomState;
use traffic_ebpf::{
    protocol::Protocol,
    record::{FLAG_IPV4, FLAG_IPV6, Headers},
};

use super::{Kind, SECOND_NS, SYN, Seen, Threshold, Thresholds, distinct::linear_count, filter};
use crate::{
    record::Address,
    report::number::{count, counted},
};

/// Places for addresses that may be flooded; a power of two.
const PLACES: usize = 256;
/// Addresses that are watched closely at a time.
const MAX_VICTIMS: usize = 16;
/// Floods that are kept.
const MAX_FLOODS: usize = 64;
/// Words of the bitmap of sources: 32,768 bits tell 300,000 sources apart.
const SOURCE_WORDS: usize = 512;
/// Up to so many sources hardly ever share a bit.
const FEW_SOURCES: u64 = 20;
/// Packets that are no part of an established connection. The language looks into TCP over IPv4
/// only.
const NEW_PACKETS: &str = "not (ip proto 6 and tcp[13] & 0x10 != 0)";
/// A place without a victim.
const NOBODY: u8 = u8::MAX;

/// Finds addresses that get many packets which nobody has to answer, and watches those.
///
/// In each of 256 places the packets vote: the address that most of them go to stays (Boyer and
/// Moore, 1981), and its votes are a lower bound of its packets. From a quarter of the lowest
/// threshold on it is watched, and everything about it is counted exactly.
#[derive(Clone, Debug)]
pub(super) struct Floods {
    places: Vec<Place>,
    victims: Vec<Victim>,
    state: RandomState,
    /// Votes in a second from which on an address is watched.
    watch_at: u32,
    limits: Limits,
    found: HashMap<(Form, Address), Flood, RandomState>,
}

/// What a flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Syn,
    Udp,
    /// Anything, from made-up sources.
    Spoofed,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    syn_pps: u64,
    udp_pps: u64,
    sources: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    address: [u8; 16],
    votes: u32,
    family: u8,
    victim: u8,
}

const EMPTY: Place = Place {
    address: [0; 16],
    votes: 0,
    family: 0,
    victim: NOBODY,
};

/// What is counted of a watched address in one second.
#[derive(Clone, Debug)]
struct Victim {
    place: usize,
    address: Address,
    start_ns: u64,
    last_ns: u64,
    /// Packets to it that are no part of an established TCP connection.
    packets: u64,
    syn: u64,
    udp: u64,
    /// Packets to it that are part of one.
    established: u64,
    /// Packets from it, other than TCP.
    replies: u64,
    sources: Box<[u64; SOURCE_WORDS]>,
}

/// A flood, over all its seconds.
#[derive(Clone, Copy, Debug)]
struct Flood {
    first_ns: u64,
    last_ns: u64,
    packets: u64,
    peak: u64,
    sources: u64,
}

impl Floods {
    pub(super) fn new(thresholds: &Thresholds) -> Self {
        let limits = Limits {
            syn_pps: thresholds.get(Threshold::SynFloodPps),
            udp_pps: thresholds.get(Threshold::UdpFloodPps),
            sources: thresholds.get(Threshold::SpoofedFloodSources),
        };
        let lowest = limits.syn_pps.min(limits.udp_pps).min(limits.sources);
        Self {
            places: vec![EMPTY; PLACES],
            victims: Vec::new(),
            state: RandomState::default(),
            watch_at: u32::try_from(lowest / 4).unwrap_or(u32::MAX).max(1),
            limits,
            found: HashMap::default(),
        }
    }

    /// Takes a packet. `established`: a TCP packet with ACK, which a scan or flood of new
    /// connections does not have.
    #[inline]
    pub(super) fn packet(&mut self, headers: &Headers, time_ns: u64, tcp: bool, established: bool) {
        if established && self.victims.is_empty() {
            return;
        }
        self.look(headers, time_ns, tcp, established);
    }

    fn look(&mut self, headers: &Headers, time_ns: u64, tcp: bool, established: bool) {
        let family = headers.flags & (FLAG_IPV4 | FLAG_IPV6);
        if family == 0 {
            return;
        }
        let is_watched = !tcp && !self.victims.is_empty();
        let source = is_watched.then(|| hash(&self.state, &headers.src_addr));
        if let Some(source) = source {
            let place = &self.places[index(source)];
            if place.holds(&headers.src_addr, family)
                && let Some(victim) = self.victims.get_mut(usize::from(place.victim))
            {
                victim.replies += 1;
            }
        }
        let index = index(hash(&self.state, &headers.dst_addr));
        let place = &mut self.places[index];
        if !place.vote(&headers.dst_addr, family, established) {
            return;
        }
        if let Some(victim) = self.victims.get_mut(usize::from(place.victim)) {
            let source = source.unwrap_or_else(|| hash(&self.state, &headers.src_addr));
            let over = victim.turn(time_ns);
            victim.take(headers, time_ns, established, source);
            if let Some(over) = over {
                self.judge(&over);
            }
        } else if place.votes >= self.watch_at && self.victims.len() < MAX_VICTIMS {
            self.watch(index, time_ns);
        }
    }

    #[cold]
    fn watch(&mut self, index: usize, time_ns: u64) {
        let place = &mut self.places[index];
        let Some(address) = place.address() else {
            return;
        };
        place.victim = u8::try_from(self.victims.len()).expect("there are few victims");
        self.victims.push(Victim::new(index, address, time_ns));
    }

    /// The second is over: who got few votes is no longer watched.
    pub(super) fn end_second(&mut self) {
        for place in &mut self.places {
            let quiet = place.votes < self.watch_at;
            if quiet || place.victim == NOBODY {
                *place = EMPTY;
            }
            place.votes = 0;
        }
        let quiet: Vec<_> = (0..self.victims.len())
            .filter(|index| self.places[self.victims[*index].place].family == 0)
            .collect();
        for index in quiet.into_iter().rev() {
            let over = self.victims.swap_remove(index);
            self.judge(&over);
        }
        for (index, victim) in (0..).zip(&self.victims) {
            self.places[victim.place].victim = index;
        }
    }

    fn judge(&mut self, victim: &Victim) {
        for (form, packets) in victim.floods(&self.limits) {
            let key = (form, victim.address);
            if self.found.len() >= MAX_FLOODS && !self.found.contains_key(&key) {
                continue;
            }
            let flood = self.found.entry(key).or_insert(Flood {
                first_ns: victim.start_ns,
                last_ns: victim.last_ns,
                packets: 0,
                peak: 0,
                sources: 0,
            });
            flood.first_ns = flood.first_ns.min(victim.start_ns);
            flood.last_ns = flood.last_ns.max(victim.last_ns);
            flood.packets += packets;
            flood.peak = flood.peak.max(packets);
            flood.sources = flood.sources.max(victim.source_count());
        }
    }

    pub(super) fn found(&self, all: &mut Vec<Seen>) {
        let mut now = self.clone();
        for victim in std::mem::take(&mut now.victims) {
            now.judge(&victim);
        }
        let mut floods: Vec<_> = now.found.iter().collect();
        floods.sort_by_key(|(key, _)| **key);
        all.extend(
            floods
                .into_iter()
                .map(|((form, to), flood)| flood.seen(*form, *to)),
        );
    }
}

#[inline]
fn hash(state: &RandomState, address: &[u8; 16]) -> u64 {
    state.hash_one(u128::from_ne_bytes(*address))
}

/// The place of an address with this hash.
#[inline]
fn index(hash: u64) -> usize {
    usize::try_from(hash % PLACES as u64).expect("a small number")
}

impl Place {
    fn holds(&self, address: &[u8; 16], family: u8) -> bool {
        self.address == *address && self.family == family
    }

    /// Whether the place is the address's own. Established connections do not vote.
    #[inline]
    fn vote(&mut self, address: &[u8; 16], family: u8, established: bool) -> bool {
        if self.holds(address, family) {
            self.votes += u32::from(!established);
            return true;
        }
        if established || self.victim != NOBODY {
            return false;
        }
        if self.votes > 0 {
            self.votes -= 1;
            return false;
        }
        self.address = *address;
        self.family = family;
        self.votes = 1;
        true
    }

    fn address(&self) -> Option<Address> {
        let [a, b, c, d, ..] = self.address;
        match self.family {
            FLAG_IPV4 => Some(Address::V4([a, b, c, d])),
            FLAG_IPV6 => Some(Address::V6(self.address)),
            _ => None,
        }
    }
}

impl Victim {
    fn new(place: usize, address: Address, time_ns: u64) -> Self {
        Self {
            place,
            address,
            start_ns: time_ns,
            last_ns: time_ns,
            packets: 0,
            syn: 0,
            udp: 0,
            established: 0,
            replies: 0,
            sources: Box::new([0; SOURCE_WORDS]),
        }
    }

    #[inline]
    fn take(&mut self, headers: &Headers, time_ns: u64, established: bool, source: u64) {
        if established {
            self.established += 1;
            return;
        }
        let protocol = Protocol::from_index(headers.protocol);
        self.last_ns = self.last_ns.max(time_ns);
        self.packets += 1;
        self.syn += u64::from(protocol.is_tcp() && headers.tcp_flags & SYN != 0);
        self.udp += u64::from(protocol.is_udp());
        let bit = usize::try_from(source % (SOURCE_WORDS as u64 * 64)).expect("a small number");
        self.sources[bit / 64] |= 1 << (bit % 64);
    }

    /// Begins a new second if the old one is over, and gives that.
    #[inline]
    fn turn(&mut self, time_ns: u64) -> Option<Self> {
        if time_ns.saturating_sub(self.start_ns) < SECOND_NS {
            return None;
        }
        let new = Self::new(self.place, self.address, time_ns);
        Some(std::mem::replace(self, new))
    }

    fn source_count(&self) -> u64 {
        linear_count(&self.sources[..]).min(self.packets)
    }

    /// What this second was, with the packets of it.
    fn floods(&self, limits: &Limits) -> Vec<(Form, u64)> {
        let mut floods = Vec::new();
        if self.syn >= limits.syn_pps && self.established < self.syn {
            floods.push((Form::Syn, self.syn));
        }
        if self.udp >= limits.udp_pps && self.replies * 10 < self.udp {
            floods.push((Form::Udp, self.udp));
        }
        let answered = (self.established + self.replies) * 2 >= self.packets;
        let sources = self.source_count();
        if !answered && sources >= limits.sources && sources * 2 >= self.packets {
            floods.push((Form::Spoofed, self.packets));
        }
        floods
    }
}

impl Form {
    fn kind(self) -> Kind {
        match self {
            Self::Syn => Kind::SynFlood,
            Self::Udp => Kind::UdpFlood,
            Self::Spoofed => Kind::SpoofedFlood,
        }
    }
}

impl Flood {
    fn seen(&self, form: Form, to: Address) -> Seen {
        let (peak, sources) = (self.peak, self.sources);
        let (what, then, protocol) = match form {
            Form::Syn => ("SYN packets", "and less other TCP", filter::syn(to)),
            Form::Udp => ("UDP packets", "and answered less than a tenth", "udp"),
            Form::Spoofed => ("packets", "as if their addresses were made up", NEW_PACKETS),
        };
        let about = if sources > FEW_SOURCES { "about " } else { "" };
        let summary = format!(
            "{to} got up to {} {what} in a second from {about}{}, {then}",
            count(peak),
            counted(sources, "source")
        );
        let expression = format!("{} and {protocol}", filter::to(to));
        Seen {
            kind: form.kind(),
            summary,
            addresses: vec![to],
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            packets: self.packets,
            numbers: vec![("peak_pps", peak), ("sources", sources)],
            filter: expression,
        }
    }
}
