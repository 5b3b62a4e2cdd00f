//! The one door to libpcap: from an expression to a program.

use std::{
    io::{self, Write as _},
    os::fd::AsRawFd as _,
};

use pcap::{BpfInstruction, Capture};
use thiserror::Error;
use traffic_ebpf::config::FILTER_FRAME_BYTES;

use super::{
    classic::{InvalidProgram, Program, RawInstruction},
    place::Place,
};
use crate::capture_file::LinkType;

/// Why an expression is no filter.
#[derive(Debug, Error)]
pub enum CompileError {
    /// libpcap refuses it; its own words.
    #[error("{message}{place}")]
    Refused {
        /// What libpcap says.
        message: String,
        /// What it says it of.
        place: Place,
    },
    /// It asks which way a frame went, which frames do not say.
    #[error(
        "inbound and outbound are not in the frame: use --direction in or --direction out instead"
    )]
    Direction,
    /// What libpcap made is not a program.
    #[error("libpcap's program: {0}")]
    Invalid(#[from] InvalidProgram),
    /// libpcap's listing of an instruction cannot be read.
    #[error("libpcap's program has the instruction '{0}'")]
    Instruction(String),
    /// No handle could be made.
    #[error("prepare libpcap: {0}")]
    Handle(#[source] io::Error),
}

/// Compiles an expression of pcap-filter(7) for frames of a link type, as `tcpdump -r` does for a
/// file of that type.
///
/// # Errors
/// When libpcap refuses the expression, or it asks for a direction.
pub fn compile(expression: &str, link_type: LinkType) -> Result<Program, CompileError> {
    let handle = handle(link_type)?;
    let program = handle
        .compile(expression, true)
        .map_err(|error| refused(&handle, expression, &error))?;
    let instructions = program.get_instructions().iter().map(raw);
    let instructions: Vec<_> = instructions.collect::<Result<_, _>>()?;
    Ok(Program::new(&instructions)?)
}

/// A capture file without packets: libpcap then compiles for stored frames, in which nothing
/// stands but what was on the wire.
fn handle(link_type: LinkType) -> Result<Capture<pcap::Offline>, CompileError> {
    let (reader, mut writer) = io::pipe().map_err(CompileError::Handle)?;
    let header = [
        0xa1b2_c3d4,
        4 << 16 | 2,
        0,
        0,
        FILTER_FRAME_BYTES,
        link_type.0,
    ];
    writer
        .write_all(header.map(u32::to_ne_bytes).as_flattened())
        .map_err(CompileError::Handle)?;
    let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
    Capture::from_file(path).map_err(|error| CompileError::Handle(io::Error::other(error)))
}

fn refused(handle: &Capture<pcap::Offline>, expression: &str, error: &pcap::Error) -> CompileError {
    let message = words(error);
    if message.contains("when reading savefiles") {
        return CompileError::Direction;
    }
    let refuse = |other: &str| Some(words(&handle.compile(other, true).err()?));
    let place = Place::find(expression, &message, refuse);
    CompileError::Refused { message, place }
}

/// What libpcap says, without the binding's words around it.
fn words(error: &pcap::Error) -> String {
    if let pcap::Error::PcapError(message) = error {
        message.clone()
    } else {
        error.to_string()
    }
}

/// The binding shows an instruction's fields only as text: code, jt, jf, k.
fn raw(instruction: &BpfInstruction) -> Result<RawInstruction, CompileError> {
    let text = instruction.to_string();
    let fields = || {
        let mut fields = text.split(' ');
        let raw = RawInstruction {
            code: fields.next()?.parse().ok()?,
            jt: fields.next()?.parse().ok()?,
            jf: fields.next()?.parse().ok()?,
            k: fields.next()?.parse().ok()?,
        };
        Some(raw)
    };
    fields().ok_or_else(|| CompileError::Instruction(text.clone()))
}
