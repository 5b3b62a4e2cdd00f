//! The tree of protocols: which carried which, from exact counters.

use traffic_ebpf::tally::Count;

use super::HierarchyNode;
use crate::counts::Counts;

/// The tree over all frames: `frame`, the link types, then the protocols as they are nested.
pub(super) fn tree(counts: &Counts, link_types: &str) -> HierarchyNode {
    let mut root = HierarchyNode::named("frame");
    for (leaf, version, count) in counts.cells() {
        let class = leaf.to_string();
        let names = [link_types, network(version), leaf.transport(), &class];
        root.add(names.into_iter().filter(|name| !name.is_empty()), count);
    }
    root.sort();
    root
}

/// Every node with its depth, parents before children.
pub(super) fn flat(root: &HierarchyNode) -> Vec<(usize, &HierarchyNode)> {
    let mut nodes = vec![(0, root)];
    let mut index = 0;
    while let Some(&(depth, node)) = nodes.get(index) {
        index += 1;
        let children = node.children.iter().map(|child| (depth + 1, child));
        nodes.splice(index..index, children);
    }
    nodes
}

impl HierarchyNode {
    fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    fn add<'a>(&mut self, names: impl IntoIterator<Item = &'a str>, count: Count) {
        let mut node = self;
        node.count(count);
        for name in names {
            let index = node.children.iter().position(|child| child.name == name);
            let index = index.unwrap_or_else(|| {
                node.children.push(Self::named(name));
                node.children.len() - 1
            });
            node = &mut node.children[index];
            node.count(count);
        }
    }

    fn count(&mut self, count: Count) {
        self.packets += count.packets;
        self.bytes += count.bytes;
    }

    fn sort(&mut self) {
        self.children
            .sort_by(|a, b| (b.packets, &a.name).cmp(&(a.packets, &b.name)));
        self.children.iter_mut().for_each(Self::sort);
    }
}

fn network(version: u8) -> &'static str {
    match version {
        4 => "ip",
        6 => "ip6",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use traffic_ebpf::{
        protocol::Protocol,
        tally::{Counters, NumberedKey, version_index},
    };

    use super::*;

    #[test]
    fn protocols_are_nested_as_on_the_wire() {
        let mut ingress = Counters::ZERO;
        let mut set = |version, protocol, packets| {
            ingress.protocols[version_index(version)][protocol as usize] = count(packets);
        };
        set(4, Protocol::Tcp, 10);
        set(4, Protocol::DnsTcp, 2);
        set(4, Protocol::DnsUdp, 3);
        set(6, Protocol::Udp, 4);
        set(0, Protocol::Arp, 1);
        let ospf = NumberedKey {
            place: 0,
            number: 89,
            protocol: Protocol::OtherIp as u8,
            ip_version: 6,
        };
        let counts = Counts::from_kernel(&[ingress], &[(ospf, count(5))]);
        let tree = tree(&counts, "EN10MB");
        let shown: Vec<_> = flat(&tree)
            .into_iter()
            .map(|(depth, node)| (depth, node.name.as_str(), node.packets))
            .collect();
        let expected = [
            (0, "frame", 25),
            (1, "EN10MB", 25),
            (2, "ip", 15),
            (3, "tcp", 12),
            (4, "dns", 2),
            (3, "udp", 3),
            (4, "dns", 3),
            (2, "ip6", 9),
            (3, "ip-proto-89", 5),
            (3, "udp", 4),
            (2, "arp", 1),
        ];
        assert_eq!(shown, expected);
        assert_eq!(tree.bytes, 2500);
    }

    #[test]
    fn no_packets_are_a_root_alone() {
        let tree = tree(&Counts::default(), "EN10MB");
        assert_eq!(tree, HierarchyNode::named("frame"));
    }

    fn count(packets: u64) -> Count {
        Count {
            packets,
            bytes: 100 * packets,
        }
    }
}
