//! Checks of an interface.

use super::{Check, Facts, InterfaceFacts};

/// Largest MTU with which a frame fits a page beside what XDP drivers put there: 4096 bytes less
/// 256 before the frame, 320 behind it, and the Ethernet header with a VLAN tag.
const SINGLE_BUFFER_MTU: u32 = 4096 - 256 - 320 - 18;

pub(super) fn checks(interface: &InterfaceFacts, facts: &Facts) -> Vec<Check> {
    let mut checks = vec![link(interface)];
    if interface.supported {
        checks.extend([
            tc(interface),
            xdp(interface),
            mtu(interface, facts),
            joined(interface),
            vlan(interface),
            checksum(interface),
            promiscuity(interface),
        ]);
    }
    for check in &mut checks {
        check.interface = Some(interface.name.clone());
    }
    checks
}

fn link(interface: &InterfaceFacts) -> Check {
    let driver = interface
        .driver
        .as_deref()
        .unwrap_or("no driver of its own");
    if !interface.supported {
        return Check::problem(
            "link",
            format!("{driver}: its frames begin with neither an Ethernet nor an IP header"),
            "another interface",
        );
    }
    if interface.up {
        return Check::ok("link", format!("up, {driver}"));
    }
    let remedy = format!("ip link set {} up", interface.name);
    Check::warning("link", format!("down, {driver}"), remedy)
}

fn tc(interface: &InterfaceFacts) -> Check {
    if interface.stale_filters > 0 {
        let finding = format!("{} filters of killed captures", interface.stale_filters);
        return Check::warning("tc", finding, "traffic cleanup");
    }
    match &interface.tcx {
        None => Check::ok(
            "tc",
            "clsact (tcx needs Linux 6.6, or the rights to ask for it)",
        ),
        Some(others) if others.is_empty() => Check::ok("tc", "tcx, free"),
        Some(others) => Check::ok("tc", format!("tcx, before: {}", others.join(", "))),
    }
}

fn xdp(interface: &InterfaceFacts) -> Check {
    if !interface.ethernet {
        return Check::ok("xdp", "not for frames without Ethernet headers; TC is used");
    }
    if interface.xdp.is_empty() {
        return Check::ok("xdp", "free");
    }
    Check::warning(
        "xdp",
        format!("taken by {}", interface.xdp.join(", ")),
        "traffic capture --hook tc",
    )
}

fn mtu(interface: &InterfaceFacts, facts: &Facts) -> Check {
    let mtu = interface.mtu;
    if mtu <= SINGLE_BUFFER_MTU || !interface.ethernet {
        return Check::ok("mtu", format!("{mtu}"));
    }
    if facts.xdp_copies {
        return Check::ok(
            "mtu",
            format!("{mtu}: at XDP frames lie in several buffers"),
        );
    }
    Check::warning(
        "mtu",
        format!("{mtu}: drivers refuse XDP above about {SINGLE_BUFFER_MTU}"),
        "traffic capture --hook tc",
    )
}

/// GRO and LRO: what TC sees are super-frames.
fn joined(interface: &InterfaceFacts) -> Check {
    let name = &interface.name;
    match (interface.gro, interface.lro) {
        (_, Some(true)) => Check::warning(
            "gro",
            "LRO joins frames in hardware: neither hook sees them as they were on the wire",
            format!("ethtool -K {name} lro off"),
        ),
        (Some(true), _) => Check::ok(
            "gro",
            "GRO joins frames before TC; wire packets are counted beside them, XDP sees each",
        ),
        (Some(false), _) => Check::ok("gro", "frames are not joined"),
        (None, _) => Check::ok("gro", "the driver does not say"),
    }
}

fn vlan(interface: &InterfaceFacts) -> Check {
    let name = &interface.name;
    match interface.vlan_stripping {
        Some(true) => Check::warning(
            "vlan",
            "VLAN tags are moved out of received frames: TC puts them back, XDP does not see them",
            format!("ethtool -K {name} rxvlan off"),
        ),
        Some(false) => Check::ok("vlan", "tags stay in received frames"),
        None => Check::ok("vlan", "the driver does not say"),
    }
}

fn checksum(interface: &InterfaceFacts) -> Check {
    match interface.transmit_checksum {
        Some(true) => Check::ok(
            "checksum",
            "filled in behind the hook: checksums of captured frames that leave look wrong",
        ),
        Some(false) => Check::ok("checksum", "filled in before the hook"),
        None => Check::ok("checksum", "the driver does not say"),
    }
}

fn promiscuity(interface: &InterfaceFacts) -> Check {
    match interface.promiscuity {
        0 => Check::ok("promiscuity", "off; a capture without -p switches it on"),
        count => Check::ok("promiscuity", format!("on, asked for by {count}")),
    }
}
