//! Network interfaces of this network namespace, by rtnetlink.

use std::fs;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, State,
};
use thiserror::Error;

/// `ARPHRD_…` values of `linux/if_arp.h` whose frames begin with an Ethernet header.
const ETHERNET: [u16; 2] = [1, 772];
/// Those whose frames begin with an IP header: PPP, raw IP, the IP tunnels, and none (tun,
/// `WireGuard`).
const IP: [u16; 8] = [512, 519, 768, 769, 776, 778, 823, 0xfffe];
/// `ARPHRD_LOOPBACK`.
const LOOPBACK: u16 = 772;

/// What asks for every interface.
pub const ANY: &str = "any";

/// An interface as it was when it was listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Kernel's number.
    pub ifindex: u32,
    /// `ARPHRD_…` number of `linux/if_arp.h`.
    pub hardware_type: u16,
    /// Largest packet in bytes, without the link header.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// RFC 2863 state: `up`, `down`, `unknown`, ….
    pub state: String,
    /// Driver kind of virtual interfaces: `veth`, `bridge`, ….
    pub kind: Option<String>,
    /// Name that an administrator gave it.
    pub alias: Option<String>,
    /// Ethernet address.
    pub mac: Option<[u8; 6]>,
    /// How many asked for promiscuous mode.
    pub promiscuity: u32,
    /// Ids of the XDP programs attached to it.
    pub xdp_programs: Vec<u32>,
    /// Packets that it counted itself since it exists, received and sent (`rtnl_link_stats64`).
    pub packets: (u64, u64),
    /// Frames that it had no room for since it exists; `None` where it does not say.
    pub missed: Option<u64>,
}

/// What the kernel said when it was asked about interfaces.
#[derive(Debug, Error)]
pub enum InterfaceError {
    /// No interface has this name.
    #[error("unknown network interface {name} (there are: {known})")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// Names that there are.
        known: String,
    },
    /// Frames of this interface cannot be parsed.
    #[error("{name} has link type {hardware_type} (ARPHRD), which is neither Ethernet nor IP")]
    LinkType {
        /// The interface.
        name: String,
        /// `ARPHRD_…`.
        hardware_type: u16,
    },
    /// No interface is up.
    #[error("no network interface is up (name one with --interface)")]
    NoneUp,
    /// rtnetlink.
    #[error("list network interfaces: {0}")]
    Netlink(#[from] rtnetlink::Error),
    /// The netlink socket.
    #[error("open a netlink socket: {0}")]
    Socket(#[from] std::io::Error),
}

impl Interface {
    /// Whether frames begin with an Ethernet header; otherwise with an IP header.
    #[must_use]
    pub fn has_ethernet_headers(&self) -> bool {
        ETHERNET.contains(&self.hardware_type)
    }

    /// Whether its frames can be parsed.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        self.has_ethernet_headers() || IP.contains(&self.hardware_type)
    }

    /// Whether every frame that leaves it arrives on it as well.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.hardware_type == LOOPBACK
    }

    /// libpcap's name of the link type of its frames.
    #[must_use]
    pub fn link_type(&self) -> &'static str {
        if self.has_ethernet_headers() {
            "EN10MB"
        } else {
            "RAW"
        }
    }

    pub(super) fn from_message(message: &LinkMessage) -> Self {
        let mut interface = Self {
            ifindex: message.header.index,
            hardware_type: message.header.link_layer_type.into(),
            up: message.header.flags.contains(LinkFlags::Up),
            state: "unknown".to_owned(),
            ..Self::default()
        };
        for attribute in &message.attributes {
            interface.read(attribute);
        }
        interface
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a link has some eighty attributes, and new kernels add to them"
    )]
    fn read(&mut self, attribute: &LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => self.alias = Some(alias.clone()),
            LinkAttribute::Address(address) => self.mac = address.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => self.mtu = *mtu,
            LinkAttribute::Promiscuity(count) => self.promiscuity = *count,
            LinkAttribute::OperState(state) => state_name(*state).clone_into(&mut self.state),
            LinkAttribute::LinkInfo(infos) => {
                self.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind_name(kind)),
                    _ => None,
                });
            }
            LinkAttribute::Stats64(stats) => {
                self.packets = (stats.rx_packets, stats.tx_packets);
                self.missed = Some(stats.rx_missed_errors);
            }
            LinkAttribute::Xdp(xdp) => {
                self.xdp_programs = xdp
                    .iter()
                    .filter_map(|attribute| match attribute {
                        LinkXdp::ProgId(id) if *id != 0 => Some(*id),
                        _ => None,
                    })
                    .collect();
            }
            _ => {}
        }
    }
}

fn kind_name(kind: &InfoKind) -> String {
    kind.to_string()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is open")]
fn state_name(state: State) -> &'static str {
    match state {
        State::Up => "up",
        State::Down => "down",
        State::LowerLayerDown => "lower-layer-down",
        State::Dormant => "dormant",
        State::NotPresent => "not-present",
        State::Testing => "testing",
        _ => "unknown",
    }
}

/// The interfaces that there are.
#[derive(Clone, Debug, Default)]
pub struct Interfaces(Vec<Interface>);

impl Interfaces {
    /// Lists them.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn list() -> Result<Self, InterfaceError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection);
        let listed = Self::ask(&handle).await;
        connection.abort();
        Ok(listed?)
    }

    /// Lists them through a connection that is there.
    pub(super) async fn ask(handle: &rtnetlink::Handle) -> Result<Self, rtnetlink::Error> {
        let links: Vec<_> = handle.link().get().execute().try_collect().await?;
        let mut interfaces: Vec<_> = links.iter().map(Interface::from_message).collect();
        interfaces.sort_by_key(|interface| interface.ifindex);
        Ok(Self(interfaces))
    }

    /// All of them, by ifindex.
    pub fn iter(&self) -> impl Iterator<Item = &Interface> {
        self.0.iter()
    }

    /// The one with this number.
    #[must_use]
    pub fn numbered(&self, ifindex: u32) -> Option<&Interface> {
        self.iter().find(|interface| interface.ifindex == ifindex)
    }

    /// The ones that `names` ask for: `any` is every one that is up and can be parsed; none is the
    /// default one.
    ///
    /// # Errors
    /// When a name is unknown or its frames cannot be parsed, or nothing is up.
    pub fn select(&self, names: &[String]) -> Result<Vec<Interface>, InterfaceError> {
        let mut selected: Vec<Interface> = Vec::new();
        for name in names {
            let found: Vec<&Interface> = if name == ANY {
                self.iter()
                    .filter(|interface| interface.up && interface.is_supported())
                    .collect()
            } else {
                vec![self.named(name)?]
            };
            for interface in found {
                if !selected.contains(interface) {
                    selected.push(interface.clone());
                }
            }
        }
        if names.is_empty() {
            selected.push(self.default_one().ok_or(InterfaceError::NoneUp)?.clone());
        }
        if selected.is_empty() {
            return Err(InterfaceError::NoneUp);
        }
        Ok(selected)
    }

    fn named(&self, name: &str) -> Result<&Interface, InterfaceError> {
        let interface = self
            .iter()
            .find(|interface| interface.name == name)
            .ok_or_else(|| {
                let known: Vec<&str> = self
                    .iter()
                    .map(|interface| interface.name.as_str())
                    .collect();
                InterfaceError::Unknown {
                    name: name.to_owned(),
                    known: known.join(", "),
                }
            })?;
        if !interface.is_supported() {
            return Err(InterfaceError::LinkType {
                name: name.to_owned(),
                hardware_type: interface.hardware_type,
            });
        }
        Ok(interface)
    }

    /// The interface of the default route, else the first that is up and not loopback.
    fn default_one(&self) -> Option<&Interface> {
        default_route()
            .and_then(|name| self.iter().find(|interface| interface.name == name))
            .filter(|interface| interface.is_supported())
            .or_else(|| {
                self.iter().find(|interface| {
                    interface.up && !interface.is_loopback() && interface.is_supported()
                })
            })
    }
}

/// Interface of the default route in this thread's network namespace, IPv4 first
/// (`proc_pid_net(5)`).
fn default_route() -> Option<String> {
    let ipv4 = fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
    let ipv6 = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    default_ipv4(&ipv4).or_else(|| default_ipv6(&ipv6))
}

fn default_ipv4(table: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, destination, _, _, _, _, _, mask, ..] = fields[..] else {
            return None;
        };
        (destination == "00000000" && mask == "00000000").then(|| name.to_owned())
    })
}

fn default_ipv6(table: &str) -> Option<String> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [destination, prefix_len, _, _, next_hop, _, _, _, _, name] = fields[..] else {
            return None;
        };
        let is_zero = |address: &str| address.bytes().all(|digit| digit == b'0');
        (is_zero(destination) && prefix_len == "00" && !is_zero(next_hop)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_names_its_interface() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth1\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n\
                     eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(default_ipv4(table), Some("eth0".to_owned()));
        assert_eq!(default_ipv4("Iface\n"), None);
    }

    #[test]
    fn an_unreachable_ipv6_default_is_not_a_route() {
        let zero = "0".repeat(32);
        let line = |next_hop: &str, name: &str| {
            format!("{zero} 00 {zero} 00 {next_hop} ffffffff 00000001 00000000 00200200 {name}\n")
        };
        let table = line(&zero, "lo") + &line("fe80000000000000000000000000001a", "eth0");
        assert_eq!(default_ipv6(&table), Some("eth0".to_owned()));
    }

    #[tokio::test]
    async fn loopback_is_listed() {
        let interfaces = Interfaces::list().await.unwrap();
        let loopback = interfaces.named("lo").unwrap();
        assert!(loopback.is_loopback());
        assert!(loopback.has_ethernet_headers());
    }

    #[tokio::test]
    async fn an_unknown_name_is_an_error_that_names_the_known() {
        let interfaces = Interfaces::list().await.unwrap();
        let error = interfaces
            .select(&["eth99".to_owned()])
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("unknown network interface eth99"),
            "{error}"
        );
        assert!(error.contains("lo"), "{error}");
    }
}
