//! Packets from the kernel, or from capture files, to a report.
//!
//! One packet, one way: a source ([`kernel`](https://docs.rs/aya) or [`capture_file`]) gives
//! [`record::PacketRecord`]s; pure stages fold them; [`report`] shows the result.

pub mod analysis;
pub mod capture_file;
pub mod cli;
pub mod command;
pub mod counts;
pub mod diagnostics;
pub mod dns;
pub mod doctor;
pub mod filter;
pub mod findings;
pub mod fleet;
pub mod flows;
pub mod history;
pub mod ipfix;
pub mod kernel;
pub mod ledger;
pub mod live;
pub mod print;
pub mod record;
pub mod report;
pub mod sandbox;
pub mod snapshot;
pub mod stages;
pub mod timeline;
