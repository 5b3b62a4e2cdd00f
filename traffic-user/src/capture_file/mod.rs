//! Capture files, pcap and pcapng: reading them into packet records, and writing frames.
//!
//! This is the one place that knows the `pcap-file` crate.

mod blocks;
mod chunk;
mod classic;
mod decode;
mod interface;
mod link;
mod names;
mod read;
mod rotate;
mod run;
mod sink;
mod window;
mod write;

pub use interface::{InterfaceDescription, InterfaceStatistics};
pub use link::LinkType;
pub use names::{NameError, Names, Naming};
pub use read::{
    BlockFault, FileFrame, FileInterface, MAX_BLOCK_BYTES, MAX_FRAME_BYTES, ReadError, ReadSummary,
    read, read_file, read_from,
};
pub use rotate::{Limits, Period, Rotation, Verdict};
pub use run::{Block, Run};
pub use write::{CaptureWriter, Format, Frame, WriteError};

#[cfg(test)]
mod tests;
