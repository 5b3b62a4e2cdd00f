//! Hosts on a bridge.

use anyhow::Result;

use crate::netns::{Namespace, VETH};

/// Hosts with 10.77.0.1, 10.77.0.2, … and `fd77::1`, `fd77::2`, … at their [`VETH`].
#[derive(Debug)]
pub struct Lan {
    /// The hosts, in the order of their addresses.
    pub hosts: Vec<Namespace>,
    /// What joins them: 10.77.0.254 is there as well.
    pub bridge: Namespace,
}

impl Lan {
    /// Makes so many hosts.
    ///
    /// # Errors
    /// When `ip` is missing or refuses.
    pub fn new(hosts: u8) -> Result<Self> {
        let bridge = Namespace::new()?;
        bridge.run("ip link add br0 type bridge")?;
        bridge.run("ip link set br0 up")?;
        bridge.run("ip address add 10.77.0.254/24 dev br0")?;
        let hosts = (1..=hosts).map(|number| host(&bridge, number));
        Ok(Self {
            hosts: hosts.collect::<Result<_>>()?,
            bridge,
        })
    }
}

fn host(bridge: &Namespace, number: u8) -> Result<Namespace> {
    let host = Namespace::new()?;
    let (port, name) = (format!("port{number}"), host.name());
    bridge.run(&format!(
        "ip link add {port} type veth peer name {VETH} netns {name}"
    ))?;
    bridge.run(&format!("ip link set {port} master br0 up"))?;
    host.run(&format!("ip link set {VETH} up"))?;
    host.run(&format!("ip address add 10.77.0.{number}/24 dev {VETH}"))?;
    // Without duplicate address detection the address can be used at once.
    host.run(&format!(
        "ip address add fd77::{number}/64 dev {VETH} nodad"
    ))?;
    Ok(host)
}
