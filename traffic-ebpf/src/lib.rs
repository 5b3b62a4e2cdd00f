//! The contract between the eBPF programs and user space.
//!
//! Everything here is `no_std` and compiled three times: into the kernel programs, into the
//! loader and file reader, and into the tests and fuzz targets. There is one parser ([`parse`])
//! and one table per concept: [`protocol`], [`tally`], [`timeline`].
//!
//! Integers in the shared records are in host byte order, because both sides run on the same
//! machine; addresses stay as they were on the wire.
#![no_std]
#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets and sizes are far below 2^32, and checked conversions cost kernel instructions"
)]

pub mod config;
pub mod object;
pub mod packet;
pub mod parse;
pub mod protocol;
pub mod record;
pub mod tally;
pub mod timeline;
