//! DNS answers that nobody asked for, and names that carry data.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher,
};

use foldhash::quality::RandomState;

use super::{Kind, Seen, Threshold, Thresholds, distinct::Distinct, filter, probes::forget};
use crate::{
    dns::Message,
    record::{Address, PacketRecord},
    report::number::counted,
};

/// Questions that are remembered: this many of the newest at least, twice as many at most.
const MAX_QUESTIONS: usize = 32_768;
/// Clients that are watched. When there are more, the less active half is forgotten.
const MAX_CLIENTS: usize = 1024;
/// Domains with long names, as [`MAX_CLIENTS`].
const MAX_DOMAINS: usize = 1024;
/// Answers from this many servers are not the half that is seen of an ordinary conversation.
const MANY_SERVERS: u64 = 4;
/// A second-level label this short is a public suffix: `co.uk`, `com.au`.
const SUFFIX_LABEL: usize = 3;

/// What UDP messages on port 53 showed.
#[derive(Clone, Debug)]
pub(super) struct DnsSigns {
    /// Characters of a long name.
    long: usize,
    state: RandomState,
    asked: HashSet<u64, RandomState>,
    asked_before: HashSet<u64, RandomState>,
    clients: HashMap<Address, Client, RandomState>,
    domains: HashMap<Vec<u8>, Domain, RandomState>,
}

#[derive(Clone, Debug, Default)]
struct Client {
    queries: u64,
    unasked: u64,
    servers: Distinct,
    server: Option<Address>,
    first_ns: u64,
    last_ns: u64,
}

#[derive(Clone, Debug)]
struct Domain {
    queries: u64,
    names: Distinct,
    longest: usize,
    client: Address,
    first_ns: u64,
    last_ns: u64,
}

impl DnsSigns {
    pub(super) fn new(thresholds: &Thresholds) -> Self {
        let long = thresholds.get(Threshold::DnsTunnelLength);
        Self {
            long: usize::try_from(long).unwrap_or(usize::MAX),
            state: RandomState::default(),
            asked: HashSet::default(),
            asked_before: HashSet::default(),
            clients: HashMap::default(),
            domains: HashMap::default(),
        }
    }

    pub(super) fn message(&mut self, record: &PacketRecord, message: &Message) {
        let (Some(src), Some(dst)) = (record.src(), record.dst()) else {
            return;
        };
        let Some((src_port, dst_port)) = record.headers().ports() else {
            return;
        };
        let time_ns = record.timestamp_ns();
        if message.answer.is_some() {
            let asked = self.state.hash_one((dst, dst_port, src, message.id));
            let unasked = !self.asked.contains(&asked) && !self.asked_before.contains(&asked);
            self.answer(time_ns, dst, src, unasked);
        } else {
            let question = self.state.hash_one((src, src_port, dst, message.id));
            self.remember(question);
            self.client(src).queries += 1;
            self.name(time_ns, src, &message.question);
        }
    }

    fn remember(&mut self, question: u64) {
        if self.asked.len() >= MAX_QUESTIONS {
            self.asked_before = std::mem::take(&mut self.asked);
        }
        self.asked.insert(question);
    }

    fn client(&mut self, address: Address) -> &mut Client {
        if self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&address) {
            forget(&mut self.clients, |client| client.queries + client.unasked);
        }
        self.clients.entry(address).or_default()
    }

    fn answer(&mut self, time_ns: u64, client: Address, server: Address, unasked: bool) {
        if !unasked {
            return;
        }
        let hash = self.state.hash_one(server);
        let client = self.client(client);
        if client.unasked == 0 {
            client.first_ns = time_ns;
            client.server = Some(server);
        }
        client.unasked += 1;
        client.last_ns = client.last_ns.max(time_ns);
        client.servers.add(hash);
    }

    fn name(&mut self, time_ns: u64, client: Address, question: &[u8]) {
        let Some((front, domain)) = split(question) else {
            return;
        };
        if front.len() < self.long {
            return;
        }
        if self.domains.len() >= MAX_DOMAINS && !self.domains.contains_key(domain) {
            forget(&mut self.domains, |domain| domain.queries);
        }
        let hash = self.state.hash_one(front);
        let entry = self.domains.entry(domain.to_vec());
        let domain = entry.or_insert_with(|| Domain {
            queries: 0,
            names: Distinct::default(),
            longest: 0,
            client,
            first_ns: time_ns,
            last_ns: time_ns,
        });
        domain.queries += 1;
        domain.names.add(hash);
        domain.longest = domain.longest.max(front.len());
        domain.last_ns = domain.last_ns.max(time_ns);
    }

    pub(super) fn found(&self, thresholds: &Thresholds, all: &mut Vec<Seen>) {
        let least = thresholds.get(Threshold::DnsUnaskedAnswers);
        let mut clients: Vec<_> = self.clients.iter().collect();
        clients.sort_by_key(|(address, _)| **address);
        for (address, client) in clients {
            let both_ways = client.queries > 0 || client.servers.count() >= MANY_SERVERS;
            if client.unasked >= least && both_ways {
                all.push(client.seen(*address));
            }
        }
        let least = thresholds.get(Threshold::DnsTunnelNames);
        let mut domains: Vec<_> = self.domains.iter().collect();
        domains.sort_by_key(|(name, _)| *name);
        for (name, domain) in domains {
            if domain.names.count() >= least {
                all.push(domain.seen(name));
            }
        }
    }
}

impl Client {
    fn seen(&self, address: Address) -> Seen {
        let unasked = self.unasked;
        let servers = self.servers.count().min(unasked);
        Seen {
            kind: Kind::DnsUnasked,
            summary: format!(
                "{address} got {} from {}{} that it had not asked",
                counted(unasked, "DNS answer"),
                self.servers.about(),
                counted(servers, "server")
            ),
            addresses: [Some(address), self.server].into_iter().flatten().collect(),
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            packets: unasked,
            numbers: vec![("servers", servers), ("queries", self.queries)],
            filter: format!("udp src port 53 and {}", filter::to(address)),
        }
    }
}

impl Domain {
    fn seen(&self, name: &[u8]) -> Seen {
        let names = self.names.count();
        Seen {
            kind: Kind::DnsTunnel,
            summary: format!(
                "{} asked for {}{} under {} (the longest has {} characters in front of it)",
                self.client,
                self.names.about(),
                counted(names, "long name"),
                crate::dns::presentation(name).0,
                self.longest
            ),
            addresses: vec![self.client],
            first_ns: self.first_ns,
            last_ns: self.last_ns,
            packets: self.queries,
            numbers: vec![("names", names), ("longest", self.longest as u64)],
            filter: format!("udp dst port 53 and {}", filter::from(self.client)),
        }
    }
}

/// What stands in front of the registered domain of a question, and the domain: both with length
/// octets. `None` for reverse lookups, which are long by nature, and names without a front.
fn split(question: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut starts = Vec::new();
    let mut position = 0;
    while let Some(&len) = question.get(position).filter(|len| **len > 0) {
        starts.push(position);
        position += 1 + usize::from(len);
    }
    // The final 0 belongs to the domain; the type behind it does not.
    let name = question.get(..=position)?;
    let top = name.get(*starts.last()?..)?;
    if top == b"\x04arpa\0" {
        return None;
    }
    let second = *starts.len().checked_sub(2).and_then(|i| starts.get(i))?;
    let is_suffix = usize::from(name[second]) <= SUFFIX_LABEL && starts.len() > 2;
    let labels = if is_suffix { 3 } else { 2 };
    let domain = *starts.get(starts.len().checked_sub(labels)?)?;
    (domain > 0).then(|| name.split_at(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registered_domain_is_split_off() {
        let split = |name: &'static [u8]| split(name);
        assert_eq!(
            split(b"\x01a\x02bc\x07example\x03com\0\0\x01"),
            Some((&b"\x01a\x02bc"[..], &b"\x07example\x03com\0"[..]))
        );
        assert_eq!(
            split(b"\x01a\x07example\x02co\x02uk\0\0\x01"),
            Some((&b"\x01a"[..], &b"\x07example\x02co\x02uk\0"[..]))
        );
        for name in [
            &b"\0\0\x01"[..],
            b"\x03com\0\0\x01",
            b"\x07example\x03com\0\0\x01",
            b"\x01b\x08ip6\x04arpa\0",
            b"\x01a\x01b\x03ip6\x04arpa\0\0\x0c",
        ] {
            assert_eq!(super::split(name), None, "{name:?}");
        }
    }
}
