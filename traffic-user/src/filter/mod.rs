//! tcpdump's filter language: compiled by libpcap to classic BPF, which runs over frames of files
//! here, and over live frames in the kernel after its translation to eBPF.
//!
//! A filter sees a frame as a capture file holds it: from its link header, with VLAN tags in their
//! places, and never more than [`FILTER_FRAME_BYTES`](traffic_ebpf::config::FILTER_FRAME_BYTES)
//! of it.

mod classic;
mod compile;
mod ebpf;
mod place;
mod reach;
mod run;
mod translate;

#[cfg(test)]
mod tests;

pub use classic::{
    Alu, Compare, Instruction, InvalidProgram, Operand, Program, RawInstruction, Register, Size,
};
pub use compile::{CompileError, compile};
pub use ebpf::Instruction as EbpfInstruction;
pub use place::Place;
pub use translate::{TranslateError, Translated, translate};
