//! What a host lets a capture do: facts, and what they mean. Pure; `kernel` gathers the facts.

mod host;
mod interface;
#[cfg(test)]
mod tests;

use serde::Serialize;

/// Version of the JSON that `traffic doctor --json` writes.
const SCHEMA_VERSION: u32 = 1;

/// What was found out about the host and its interfaces.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Release, as `uname -r`.
    pub release: String,
    /// Whether the kernel describes its types (`/sys/kernel/btf/vmlinux`).
    pub btf: bool,
    /// `net.core.bpf_jit_enable`; `None` where it cannot be read.
    pub jit: Option<u32>,
    /// Effective capabilities by number (`capabilities(7)`).
    pub capabilities: u64,
    /// Path of this program.
    pub program: String,
    /// Soft limit of locked memory in bytes; `None` = unlimited.
    pub memlock_bytes: Option<u64>,
    /// Whether the memory of maps is charged to the memory cgroup, and not to that limit (Linux
    /// 5.11); `None` where the kernel does not answer.
    pub memory_cgroup: Option<bool>,
    /// Bytes that can be had without swapping; `None` where it cannot be read.
    pub available_bytes: Option<u64>,
    /// Source of the kernel's clock.
    pub clock_source: Option<String>,
    /// Whether XDP programs can read frames in several buffers (Linux 5.18).
    pub xdp_copies: bool,
    /// Interfaces that were asked for.
    pub interfaces: Vec<InterfaceFacts>,
}

/// What was found out about an interface.
#[derive(Clone, Debug)]
pub struct InterfaceFacts {
    /// Name.
    pub name: String,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether its frames begin with an Ethernet header.
    pub ethernet: bool,
    /// Whether its frames can be parsed at all.
    pub supported: bool,
    /// Largest packet in bytes, without the link header.
    pub mtu: u32,
    /// Driver, or kind of virtual interface.
    pub driver: Option<String>,
    /// How many asked for promiscuous mode.
    pub promiscuity: u32,
    /// Programs at XDP, named.
    pub xdp: Vec<String>,
    /// Programs at tcx in both directions, named; `None` where there is no tcx.
    pub tcx: Option<Vec<String>>,
    /// Filters of captures whose process has ended.
    pub stale_filters: usize,
    /// Whether what was received is joined into super-frames in software (GRO).
    pub gro: Option<bool>,
    /// The same in hardware (LRO).
    pub lro: Option<bool>,
    /// Whether received VLAN tags are moved out of the frame.
    pub vlan_stripping: Option<bool>,
    /// Whether the checksums of frames that leave are filled in by the hardware.
    pub transmit_checksum: Option<bool>,
}

/// Whether something that captures need is not among these capabilities.
pub(crate) fn lacks_for_captures(capabilities: u64) -> bool {
    !host::missing(capabilities).is_empty()
}

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing to do.
    Ok,
    /// Captures work, and not as well or as expected.
    Warning,
    /// Captures do not work.
    Problem,
}

/// One line of the diagnosis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// The interface; none for the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// How good it is.
    pub state: State,
    /// What was found.
    pub finding: String,
    /// Command, or advice, that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self {
            name,
            interface: None,
            state: State::Ok,
            finding: finding.into(),
            remedy: None,
        }
    }

    fn warning(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            state: State::Warning,
            remedy: Some(remedy.into()),
            ..Self::ok(name, finding)
        }
    }

    fn problem(name: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            state: State::Problem,
            remedy: Some(remedy.into()),
            ..Self::ok(name, finding)
        }
    }
}

/// The diagnosis; `docs/doctor.schema.json` describes its JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Version of this format.
    pub schema_version: u32,
    /// The worst state of all checks.
    pub state: State,
    /// Every check: those of the host, then by interface.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// Judges `facts`.
    #[must_use]
    pub fn new(facts: &Facts) -> Self {
        let mut checks = host::checks(facts);
        for interface in &facts.interfaces {
            checks.extend(interface::checks(interface, facts));
        }
        let state = checks.iter().map(|check| check.state).max();
        Self {
            schema_version: SCHEMA_VERSION,
            state: state.unwrap_or(State::Ok),
            checks,
        }
    }
}
