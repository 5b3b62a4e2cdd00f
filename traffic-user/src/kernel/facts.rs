//! Facts about this host for `traffic doctor`.

use std::{fs, io, path::Path};

use aya::{
    programs::{ProgramType, TcAttachType},
    sys::{BpfHelper, is_helper_supported},
};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::{OwnerState, attach, clsact, host, interfaces::Interface, probe};
use crate::doctor::{self, Facts, InterfaceFacts};

/// Gathers what concerns captures on `interfaces`. What cannot be read stays unknown.
#[must_use]
pub fn gather(interfaces: &[Interface]) -> Facts {
    Facts {
        release: host::kernel_release(),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        jit: number("/proc/sys/net/core/bpf_jit_enable"),
        capabilities: capabilities(),
        program: std::env::current_exe()
            .map_or_else(|_| "traffic".to_owned(), |path| path.display().to_string()),
        memlock_bytes: memlock_bytes(),
        memory_cgroup: charges_memory_cgroup(),
        available_bytes: available_bytes(),
        clock_source: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        xdp_copies: probe::xdp_can_copy_frames(),
        interfaces: interfaces.iter().map(interface_facts).collect(),
    }
}

fn interface_facts(interface: &Interface) -> InterfaceFacts {
    let name = &interface.name;
    InterfaceFacts {
        name: name.clone(),
        up: interface.up,
        ethernet: interface.has_ethernet_headers(),
        supported: interface.is_supported(),
        mtu: interface.mtu,
        driver: driver(interface),
        promiscuity: interface.promiscuity,
        xdp: interface
            .xdp_programs
            .iter()
            .copied()
            .map(attach::occupant)
            .collect(),
        tcx: tcx(interface),
        stale_filters: stale_filters(interface),
        gro: host::offload(name, host::Offload::Gro).ok(),
        lro: host::offload(name, host::Offload::Lro).ok(),
        vlan_stripping: host::receive_vlan_offload(name).ok(),
        transmit_checksum: host::offload(name, host::Offload::TransmitChecksum).ok(),
    }
}

/// The driver that the device names, else the kind of virtual interface.
fn driver(interface: &Interface) -> Option<String> {
    if let Some(kind) = &interface.kind {
        return Some(kind.clone());
    }
    if interface.is_loopback() {
        return Some("loopback".to_owned());
    }
    let link = fs::read_link(format!("/sys/class/net/{}/device/driver", interface.name)).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

fn tcx(interface: &Interface) -> Option<Vec<String>> {
    let mut programs = Vec::new();
    for direction in [TcAttachType::Ingress, TcAttachType::Egress] {
        programs.extend(probe::tcx_programs(interface.ifindex, direction).ok()?);
    }
    Some(programs.into_iter().map(attach::occupant).collect())
}

fn stale_filters(interface: &Interface) -> usize {
    let found = clsact::clean_up(interface, true).unwrap_or_default();
    let ended = found
        .filters
        .iter()
        .filter(|filter| filter.owner == OwnerState::Ended);
    ended.count()
}

/// `RLIMIT_MEMLOCK`; `None` when there is no limit.
fn memlock_bytes() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

/// The limit of locked memory in bytes, where it binds the maps of this process, which lacks no
/// capability. A kernel that does not bind them says so to processes that have them.
pub(super) fn limit_of_maps() -> Option<u64> {
    let limit = memlock_bytes()?;
    let is_free =
        doctor::lacks_for_captures(capabilities()) || charges_memory_cgroup() == Some(true);
    (!is_free).then_some(limit)
}

/// Whether maps are charged to the memory cgroup: asked by a helper of the same release, as libbpf
/// does (`probe_memcg_account`).
fn charges_memory_cgroup() -> Option<bool> {
    let helper = BpfHelper::BPF_FUNC_ktime_get_coarse_ns;
    is_helper_supported(ProgramType::SocketFilter, helper).ok()
}

/// `CapEff` of `proc_pid_status(5)`.
fn capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// `MemAvailable` of `proc_meminfo(5)`.
fn available_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

fn number(path: &str) -> Option<u32> {
    line(path)?.parse().ok()
}

fn line(path: &str) -> Option<String> {
    let text: io::Result<String> = fs::read_to_string(path);
    Some(text.ok()?.trim().to_owned())
}
