//! Addresses that several hosts claim by ARP, and hosts that ask for many (RFC 826, RFC 5227).

use std::collections::HashMap;

use foldhash::quality::RandomState;
use traffic_ebpf::{parse::Link, protocol::ETHER_TYPE_ARP};

use super::{
    Kind, SECOND_NS, Seen, Threshold, Thresholds, be16, network,
    probes::{Probe, Probes},
};
use crate::{record::Address, report::number::counted};

/// IPv4 addresses whose claims are kept; what comes later is not looked at.
const MAX_ADDRESSES: usize = 4096;
/// Claims that are kept of an address.
const MAX_CLAIMS: usize = 8;
/// After this time an address may have gone to another host.
const REASSIGNED_NS: u64 = 300 * SECOND_NS;

/// Who claims what.
#[derive(Clone, Debug, Default)]
pub(super) struct Arp {
    claims: HashMap<[u8; 4], Claims, RandomState>,
    requests: Probes,
}

#[derive(Clone, Debug, Default)]
struct Claims {
    claims: Vec<Claim>,
    /// A host claimed the address soon after another one had.
    conflict: bool,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    mac: [u8; 6],
    packets: u64,
    first_ns: u64,
    last_ns: u64,
}

struct Message {
    request: bool,
    sender_mac: [u8; 6],
    sender: [u8; 4],
    target: [u8; 4],
}

impl Arp {
    /// Looks at the frame if it is ARP.
    pub(super) fn excerpt(&mut self, time_ns: u64, frame: &[u8], link: Link) {
        let Some(message) = Message::read(frame, link) else {
            return;
        };
        // Gratuitous ARP asks for the sender's own address, and a probe has no sender.
        if message.request && message.sender != message.target {
            self.requests.add(&Probe {
                time_ns,
                src: Address::Mac(message.sender_mac),
                dst: Address::V4(message.target),
                port: 0,
            });
        }
        if message.sender == [0; 4] {
            return;
        }
        if self.claims.len() < MAX_ADDRESSES || self.claims.contains_key(&message.sender) {
            let claims = self.claims.entry(message.sender).or_default();
            claims.add(message.sender_mac, time_ns);
        }
    }

    pub(super) fn found(&self, thresholds: &Thresholds, all: &mut Vec<Seen>) {
        self.requests.arp_sweeps(thresholds, all);
        let least = thresholds.get(Threshold::ArpConflictMacs);
        let mut claims: Vec<_> = self.claims.iter().collect();
        claims.sort_by_key(|(address, _)| **address);
        for (address, claims) in claims {
            if claims.conflict && claims.claims.len() as u64 >= least {
                all.push(claims.seen(Address::V4(*address)));
            }
        }
    }
}

impl Claims {
    fn add(&mut self, mac: [u8; 6], time_ns: u64) {
        let recent = |claim: &Claim| time_ns.abs_diff(claim.last_ns) < REASSIGNED_NS;
        let mut others = self.claims.iter().filter(|claim| claim.mac != mac);
        self.conflict |= others.any(recent);
        if let Some(claim) = self.claims.iter_mut().find(|claim| claim.mac == mac) {
            claim.packets += 1;
            claim.last_ns = claim.last_ns.max(time_ns);
        } else if self.claims.len() < MAX_CLAIMS {
            self.claims.push(Claim {
                mac,
                packets: 1,
                first_ns: time_ns,
                last_ns: time_ns,
            });
        }
    }

    fn seen(&self, address: Address) -> Seen {
        let claims = self.claims.iter();
        let names: Vec<_> = claims
            .map(|claim| {
                format!(
                    "{} ({})",
                    Address::Mac(claim.mac),
                    counted(claim.packets, "time")
                )
            })
            .collect();
        let macs = self.claims.iter().map(|claim| Address::Mac(claim.mac));
        Seen {
            kind: Kind::ArpConflict,
            summary: format!("{address} is claimed by {}", names.join(" and ")),
            addresses: [address].into_iter().chain(macs).collect(),
            first_ns: self.claims.iter().map(|c| c.first_ns).min().unwrap_or(0),
            last_ns: self.claims.iter().map(|c| c.last_ns).max().unwrap_or(0),
            packets: self.claims.iter().map(|claim| claim.packets).sum(),
            numbers: vec![("macs", self.claims.len() as u64)],
            filter: format!("arp src host {address}"),
        }
    }
}

impl Message {
    /// A request or reply for IPv4 over Ethernet.
    fn read(frame: &[u8], link: Link) -> Option<Self> {
        let (ether_type, offset) = network(frame, link)?;
        let arp = frame.get(offset..)?;
        let kind = [be16(arp, 0)?, be16(arp, 2)?, be16(arp, 4)?];
        let operation = be16(arp, 6)?;
        if ether_type != ETHER_TYPE_ARP
            || kind != [1, 0x0800, 0x0604]
            || !matches!(operation, 1 | 2)
        {
            return None;
        }
        Some(Self {
            request: operation == 1,
            sender_mac: *arp.get(8..)?.first_chunk()?,
            sender: *arp.get(14..)?.first_chunk()?,
            target: *arp.get(24..)?.first_chunk()?,
        })
    }
}
