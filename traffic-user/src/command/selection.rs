//! The kernel's form of `--protocol`.

use traffic_ebpf::protocol::{Selection, Selector};

use crate::cli::ProtocolArg;

/// What `--protocol` selects; nothing given is everything, and so is `all` beside others.
#[must_use]
pub(super) fn selection(protocols: &[ProtocolArg]) -> Selection {
    let selectors: Option<Vec<_>> = protocols.iter().copied().map(selector).collect();
    let selectors = selectors.unwrap_or_default();
    selectors
        .into_iter()
        .fold(Selection::default(), Selection::with)
}

/// `None` for everything.
fn selector(protocol: ProtocolArg) -> Option<Selector> {
    Some(match protocol {
        ProtocolArg::Ip => Selector::Ip,
        ProtocolArg::Ip6 => Selector::Ip6,
        ProtocolArg::Tcp => Selector::Tcp,
        ProtocolArg::Udp => Selector::Udp,
        ProtocolArg::Arp => Selector::Arp,
        ProtocolArg::Icmp => Selector::Icmp,
        ProtocolArg::Icmp6 => Selector::Icmp6,
        ProtocolArg::Dns => Selector::Dns,
        ProtocolArg::All => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_beside_others_is_everything() {
        use ProtocolArg::{All, Arp, Tcp};
        assert_eq!(selection(&[]), Selection::default());
        assert_eq!(selection(&[Tcp, All]), Selection::default());
        let both = Selection::default().with(Selector::Tcp).with(Selector::Arp);
        assert_eq!(selection(&[Tcp, Arp]), both);
    }
}
