//! Interfaces as they come, change and go, by rtnetlink.

use futures_util::{Stream, StreamExt as _};
use rtnetlink::{
    MulticastGroup,
    packet_core::NetlinkPayload,
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage},
    },
};
use tokio::task::JoinHandle;

use super::interfaces::{Interface, InterfaceError, Interfaces};

/// Something that happened to an interface.
#[derive(Clone, Debug)]
pub enum LinkEvent {
    /// It is no longer in this network namespace.
    Removed {
        /// Its number.
        ifindex: u32,
        /// Whether it went to another namespace, where it goes on.
        moved: bool,
    },
    /// It appeared, was set up or down, or changed otherwise.
    Changed(Interface),
    /// Events were lost (`ENOBUFS` of `netlink(7)`); this is what there is now.
    Listed(Interfaces),
}

/// Changes of interfaces as they happen, from the subscription on.
pub struct LinkEvents {
    messages: Messages,
    handle: rtnetlink::Handle,
    connection: JoinHandle<()>,
}

type Payload = NetlinkPayload<RouteNetlinkMessage>;
type Messages = std::pin::Pin<Box<dyn Stream<Item = Payload>>>;

impl LinkEvents {
    /// Subscribes to the network namespace that the calling thread is in.
    ///
    /// # Errors
    /// When the netlink socket cannot be opened.
    pub fn subscribe() -> Result<Self, InterfaceError> {
        let (connection, handle, messages) =
            rtnetlink::new_multicast_connection(&[MulticastGroup::Link])?;
        Ok(Self {
            messages: Box::pin(messages.map(|(message, _)| message.payload)),
            handle,
            connection: tokio::spawn(connection),
        })
    }

    /// The next change; waits for ever when the subscription broke.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other messages are not about links"
    )]
    pub async fn next(&mut self) -> LinkEvent {
        while let Some(payload) = self.messages.next().await {
            let event = match payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => removed(&link),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => changed(&link),
                NetlinkPayload::Overrun(_) => self.list_again().await,
                _ => None,
            };
            if let Some(event) = event {
                return event;
            }
        }
        log::warn!("interfaces that come and go are not noticed any more");
        std::future::pending().await
    }

    /// Lists the interfaces of the namespace.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    pub async fn list(&self) -> Result<Interfaces, InterfaceError> {
        Ok(Interfaces::ask(&self.handle).await?)
    }

    async fn list_again(&self) -> Option<LinkEvent> {
        self.list()
            .await
            .inspect_err(|error| log::warn!("list network interfaces again: {error}"))
            .ok()
            .map(LinkEvent::Listed)
    }
}

impl Drop for LinkEvents {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn removed(link: &LinkMessage) -> Option<LinkEvent> {
    let is_new_place =
        |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::NewNetnsId(_));
    is_about_the_interface(link).then(|| LinkEvent::Removed {
        ifindex: link.header.index,
        moved: link.attributes.iter().any(is_new_place),
    })
}

fn changed(link: &LinkMessage) -> Option<LinkEvent> {
    is_about_the_interface(link).then(|| LinkEvent::Changed(Interface::from_message(link)))
}

/// Whether a message is about the interface itself. With `AF_BRIDGE` it is about its place in a
/// bridge: leaving that is not the end of an interface.
fn is_about_the_interface(link: &LinkMessage) -> bool {
    link.header.interface_family == AddressFamily::Unspec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_a_bridge_is_not_the_end_of_an_interface() {
        let mut link = LinkMessage::default();
        link.header.index = 7;
        link.header.interface_family = AddressFamily::Bridge;
        assert!(removed(&link).is_none() && changed(&link).is_none());
        link.header.interface_family = AddressFamily::Unspec;
        assert!(matches!(
            removed(&link),
            Some(LinkEvent::Removed {
                ifindex: 7,
                moved: false
            })
        ));
        link.attributes.push(LinkAttribute::NewNetnsId(1));
        assert!(matches!(
            removed(&link),
            Some(LinkEvent::Removed { moved: true, .. })
        ));
    }
}
