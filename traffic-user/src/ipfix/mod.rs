//! Flows to a collector: IPFIX (RFC 7011, 7012) over UDP or TCP, both directions of a flow in one
//! record (RFC 5103).
//!
//! [`Exporter`] takes flows on the packets' way and never waits there: it queues them for a thread
//! of its own. `encoder` makes messages of them, and `transport` sends them.

mod element;
mod encoder;
mod exporter;
mod message;
mod transport;

#[cfg(test)]
mod tests;

pub use self::{
    encoder::{Layout, Sampled},
    exporter::{Exported, Exporter, Overflow, Settings},
    transport::{Collector, Protocol},
};
