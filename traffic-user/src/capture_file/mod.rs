//! Capture files, pcap and pcapng: reading them into packet records, and writing frames.
//!
//! This is the one place that knows the `pcap-file` crate.

mod blocks;
mod chunk;
mod classic;
mod decode;
mod link;
mod read;
mod rotate;
mod run;
mod sink;
mod window;
mod write;

pub use link::LinkType;
pub use read::{
    BlockFault, FileFrame, FileInterface, MAX_BLOCK_BYTES, MAX_FRAME_BYTES, ReadError, ReadSummary,
    read, read_file, read_from,
};
pub use rotate::{Limits, NameError, Names, Naming, Period, Rotation, Verdict};
pub use run::{Block, Run};
pub use write::{
    CaptureWriter, Format, Frame, InterfaceDescription, InterfaceStatistics, WriteError,
};

#[cfg(test)]
mod tests;
