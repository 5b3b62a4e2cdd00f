//! Addresses and pairs of them as keys of the tables.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;
use traffic_ebpf::{
    record::{FLAG_IPV4, FLAG_IPV6},
    tally::Count,
};

use crate::record::Address;

/// An address as a table key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Host {
    pub(super) address: [u8; 16],
    /// `FLAG_IPV4`, `FLAG_IPV6` or `FLAG_MAC`.
    pub(super) family: u8,
}

/// Two addresses as a table key, the lower one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    pub(super) low: [u8; 16],
    pub(super) high: [u8; 16],
    pub(super) family: u8,
}

/// Packets from one address to another that the tables do not have yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) count: Count,
    pub(super) src: [u8; 16],
    pub(super) dst: [u8; 16],
    pub(super) family: u8,
}

/// An empty place in the cache.
pub(super) const NO_FLOW: Flow = Flow {
    count: Count {
        packets: 0,
        bytes: 0,
    },
    src: [0; 16],
    dst: [0; 16],
    family: 0,
};

/// Hash of what two addresses sent each other, in the order given.
#[inline]
pub(super) fn pair_hash(
    state: &FixedState,
    first: &[u8; 16],
    second: &[u8; 16],
    family: u8,
) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u128(u128::from_ne_bytes(*first));
    hasher.write_u128(u128::from_ne_bytes(*second));
    hasher.write_u8(family);
    hasher.finish()
}

impl Hash for Host {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u128(u128::from_ne_bytes(self.address));
        hasher.write_u8(self.family);
    }
}

impl Hash for Pair {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u128(u128::from_ne_bytes(self.low));
        hasher.write_u128(u128::from_ne_bytes(self.high));
        hasher.write_u8(self.family);
    }
}

impl Flow {
    #[inline]
    pub(super) fn source(&self) -> Host {
        Host {
            address: self.src,
            family: self.family,
        }
    }

    #[inline]
    pub(super) fn destination(&self) -> Host {
        Host {
            address: self.dst,
            family: self.family,
        }
    }

    #[inline]
    pub(super) fn pair(&self) -> Pair {
        Pair {
            low: self.src.min(self.dst),
            high: self.src.max(self.dst),
            family: self.family,
        }
    }
}

impl Host {
    #[inline]
    pub(super) fn address(&self) -> Address {
        let [a, b, c, d, e, f, ..] = self.address;
        match self.family {
            FLAG_IPV4 => Address::V4([a, b, c, d]),
            FLAG_IPV6 => Address::V6(self.address),
            _ => Address::Mac([a, b, c, d, e, f]),
        }
    }
}

impl Pair {
    #[inline]
    pub(super) fn label(&self) -> String {
        let family = self.family;
        let [low, high] = [self.low, self.high].map(|address| Host { address, family }.address());
        format!("{low} <-> {high}")
    }
}
