//! From where on something is a finding.

use std::fmt;

use thiserror::Error;

/// A threshold. The discriminant is its row in the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// TCP targets (address and port) that one source tries within a minute.
    SynScanTargets = 0,
    /// SYN packets per second to one address.
    SynFloodPps,
    /// UDP packets per second to one address.
    UdpFloodPps,
    /// Different sources per second towards one address.
    SpoofedFloodSources,
    /// MAC addresses that claim one IPv4 address.
    ArpConflictMacs,
    /// IPv4 addresses that one host asks for within a minute.
    ArpSweepTargets,
    /// Hosts that one host sends echo requests to within a minute.
    IcmpSweepTargets,
    /// DNS answers to one client that it did not ask for.
    DnsUnaskedAnswers,
    /// Different long names under one domain.
    DnsTunnelNames,
    /// Characters in front of the domain from which on a name is long.
    DnsTunnelLength,
    /// Fragments from one host to another that overlap.
    FragmentOverlaps,
    /// Factor between the packets of a second and the mean of the ten before it.
    RateChangeFactor,
    /// Packets per second that the higher of the two has at least.
    RateChangePps,
}

struct Row {
    threshold: Threshold,
    name: &'static str,
    default: u64,
}

const fn row(threshold: Threshold, name: &'static str, default: u64) -> Row {
    Row {
        threshold,
        name,
        default,
    }
}

/// Names and defaults, in the order of the discriminants (checked below).
const TABLE: [Row; 13] = [
    row(Threshold::SynScanTargets, "syn_scan_targets", 100),
    row(Threshold::SynFloodPps, "syn_flood_pps", 1000),
    row(Threshold::UdpFloodPps, "udp_flood_pps", 5000),
    row(
        Threshold::SpoofedFloodSources,
        "spoofed_flood_sources",
        1000,
    ),
    row(Threshold::ArpConflictMacs, "arp_conflict_macs", 2),
    row(Threshold::ArpSweepTargets, "arp_sweep_targets", 64),
    row(Threshold::IcmpSweepTargets, "icmp_sweep_targets", 32),
    row(Threshold::DnsUnaskedAnswers, "dns_unasked_answers", 20),
    row(Threshold::DnsTunnelNames, "dns_tunnel_names", 50),
    row(Threshold::DnsTunnelLength, "dns_tunnel_length", 40),
    row(Threshold::FragmentOverlaps, "fragment_overlaps", 1),
    row(Threshold::RateChangeFactor, "rate_change_factor", 10),
    row(Threshold::RateChangePps, "rate_change_pps", 1000),
];

const _: () = {
    let mut index = 0;
    while index < TABLE.len() {
        assert!(TABLE[index].threshold as usize == index);
        index += 1;
    }
};

/// A value for each threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds([u64; TABLE.len()]);

/// A threshold of that name does not exist.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no threshold is called {0} (there are: {names})", names = names())]
pub struct UnknownThreshold(pub String);

impl Default for Thresholds {
    fn default() -> Self {
        Self(TABLE.map(|row| row.default))
    }
}

impl Thresholds {
    /// The value of `threshold`.
    #[must_use]
    pub fn get(&self, threshold: Threshold) -> u64 {
        self.0[threshold as usize]
    }

    /// Sets a threshold by its name; 0 is taken for 1.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), UnknownThreshold> {
        let row = TABLE.iter().find(|row| row.name == name);
        let row = row.ok_or_else(|| UnknownThreshold(name.to_owned()))?;
        self.0[row.threshold as usize] = value.max(1);
        Ok(())
    }
}

fn names() -> String {
    let names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
    names.join(", ")
}

impl fmt::Display for Thresholds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (row, value) in TABLE.iter().zip(self.0) {
            writeln!(f, "{}={value}", row.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../docs/findings.md");

    #[test]
    fn every_threshold_is_documented_with_its_default() {
        for row in TABLE {
            let cells = format!("| `{}` | {} |", row.name, row.default);
            assert!(DOCUMENT.contains(&cells), "{cells}");
        }
        for kind in crate::findings::Kind::ALL {
            let label = format!("`{}`", kind.label());
            assert!(DOCUMENT.contains(&label), "{label}");
        }
    }

    #[test]
    fn thresholds_are_set_by_name() {
        let mut thresholds = Thresholds::default();
        thresholds.set("syn_flood_pps", 7).unwrap();
        assert_eq!(thresholds.get(Threshold::SynFloodPps), 7);
        thresholds.set("syn_flood_pps", 0).unwrap();
        assert_eq!(thresholds.get(Threshold::SynFloodPps), 1);
        let error = thresholds.set("flood", 7).unwrap_err();
        assert!(error.to_string().contains("udp_flood_pps"), "{error}");
        assert!(thresholds.to_string().starts_with("syn_scan_targets=100\n"));
    }
}
