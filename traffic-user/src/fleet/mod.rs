//! Many hosts' captures in one ClickHouse.
//!
//! A capture sends rows of four [tables](table::Table) and never waits for the server: rows that
//! cannot be stored at once wait on disk. Everything is stored so that receiving it twice changes
//! nothing:
//!
//! - `timeline` and `tallies` hold counters as Prometheus does: beside the packets of a bin stands
//!   what had been counted before it. Over any range `max(before + packets) - min(before)` is the
//!   number of packets, whether a row is there once or twice, and also where a row between is
//!   missing. The roll-ups keep just these maxima and minima.
//! - `flows` numbers the flows of a run, in the order of their time: a question counts them, and
//!   leaves out what came twice only where numbers and count do not agree.
//! - `captures` keeps the newest row of a run.
//!
//! Every table's engine is a `ReplacingMergeTree` over what makes a row unique, so that rows that
//! came twice also go away on disk.

mod backlog;
pub mod cluster;
pub mod counters;
pub mod exporter;
pub mod features;
pub mod filter;
pub mod flow_query;
pub mod flows;
pub mod parcel;
pub mod query;
pub mod schema;
mod spool;
pub mod store;
pub mod table;
pub mod target;
