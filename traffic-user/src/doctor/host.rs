//! Checks of the host.

use super::{Check, Facts};

/// Capabilities by name and number in `linux/capability.h`, and what lacks without them.
const NEEDED: [(&str, u32); 3] = [("CAP_BPF", 39), ("CAP_PERFMON", 38), ("CAP_NET_ADMIN", 12)];
const NET_RAW: u32 = 13;
/// Has the rights of `CAP_BPF` and `CAP_PERFMON` as well.
const SYS_ADMIN: u32 = 21;
const SYS_RESOURCE: u32 = 24;
/// What a capture with the default ring takes of the kernel's memory: the ring, time slots and
/// tables.
const CAPTURE_BYTES: u64 = 96 << 20;
/// Clock sources that are read in some nanoseconds; others take a microsecond or more.
const FAST_CLOCKS: [&str; 4] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
];

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    vec![
        Check::ok("kernel", format!("Linux {}", facts.release)),
        btf(facts),
        jit(facts),
        capabilities(facts),
        memlock(facts),
        memory(facts),
        clock(facts),
        xdp(facts),
    ]
}

fn btf(facts: &Facts) -> Check {
    if facts.btf {
        Check::ok("btf", "the kernel describes its types")
    } else {
        // The programs do without; others' tools do not.
        Check::warning(
            "btf",
            "the kernel does not describe its types: captures work, bpftool shows less of them",
            "a kernel with CONFIG_DEBUG_INFO_BTF",
        )
    }
}

fn jit(facts: &Facts) -> Check {
    match facts.jit {
        Some(0) => Check::warning(
            "jit",
            "eBPF programs are interpreted: each frame takes many times as long",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Some(_) => Check::ok("jit", "eBPF programs are compiled"),
        None => Check::ok("jit", "not known: the setting can be read by root only"),
    }
}

fn has(facts: &Facts, capability: u32) -> bool {
    is_in(facts.capabilities, capability)
}

fn is_in(capabilities: u64, capability: u32) -> bool {
    capabilities >> capability & 1 == 1
}

/// What captures need and is not among `capabilities`.
pub(super) fn missing(capabilities: u64) -> Vec<&'static str> {
    let lacks = |(name, number): &(&str, u32)| {
        let implied = *name != "CAP_NET_ADMIN" && is_in(capabilities, SYS_ADMIN);
        !implied && !is_in(capabilities, *number)
    };
    let missing = NEEDED.into_iter().filter(lacks);
    missing.map(|(name, _)| name).collect()
}

fn capabilities(facts: &Facts) -> Check {
    let missing = missing(facts.capabilities);
    let remedy = format!(
        "sudo setcap cap_bpf,cap_perfmon,cap_net_admin,cap_net_raw+ep {}",
        facts.program
    );
    if !missing.is_empty() {
        let finding = format!("missing: {}", missing.join(", "));
        return Check::problem("capabilities", finding, remedy);
    }
    if !has(facts, NET_RAW) {
        let finding = "missing CAP_NET_RAW: no promiscuous mode (or capture with -p)";
        return Check::warning("capabilities", finding, remedy);
    }
    Check::ok("capabilities", "all that captures need")
}

fn memlock(facts: &Facts) -> Check {
    let limit = match facts.memlock_bytes {
        None => "unlimited".to_owned(),
        Some(bytes) => format!("{} KiB", bytes >> 10),
    };
    match (facts.memory_cgroup, facts.memlock_bytes) {
        (Some(true), _) => Check::ok(
            "memlock",
            "maps are not bound by the limit of locked memory",
        ),
        (None, _) => Check::ok("memlock", "not known: needs the capabilities"),
        (Some(false), Some(bytes)) if bytes < CAPTURE_BYTES && !has(facts, SYS_RESOURCE) => {
            Check::problem(
                "memlock",
                format!("maps count as locked memory before Linux 5.11, limited to {limit}"),
                "ulimit -l unlimited",
            )
        }
        (Some(false), _) => Check::ok(
            "memlock",
            format!("limit of locked memory: {limit}, enough or raised"),
        ),
    }
}

fn memory(facts: &Facts) -> Check {
    match facts.available_bytes {
        Some(bytes) if bytes < CAPTURE_BYTES => Check::problem(
            "memory",
            format!(
                "{} MiB are free, a capture takes {}",
                bytes >> 20,
                CAPTURE_BYTES >> 20
            ),
            "traffic capture -B 1M --bins 10",
        ),
        Some(bytes) if bytes < 4 * CAPTURE_BYTES => Check::warning(
            "memory",
            format!(
                "{} MiB are free, a capture takes {}",
                bytes >> 20,
                CAPTURE_BYTES >> 20
            ),
            "traffic capture -B 4M",
        ),
        Some(bytes) => Check::ok(
            "memory",
            format!("{} MiB are free for rings and tables", bytes >> 20),
        ),
        None => Check::ok("memory", "not known: /proc/meminfo cannot be read"),
    }
}

fn clock(facts: &Facts) -> Check {
    match facts.clock_source.as_deref() {
        Some(source) if FAST_CLOCKS.contains(&source) => Check::ok("clock", source),
        Some(source) => Check::warning(
            "clock",
            format!("{source}: each time stamp may take a microsecond"),
            "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource",
        ),
        None => Check::ok("clock", "not known: /sys cannot be read"),
    }
}

fn xdp(facts: &Facts) -> Check {
    if facts.xdp_copies {
        Check::ok("xdp", "programs at XDP can copy frames")
    } else {
        Check::warning(
            "xdp",
            "programs at XDP cannot copy frames before Linux 5.18: no -w and no filter there",
            "traffic capture --hook tc",
        )
    }
}
