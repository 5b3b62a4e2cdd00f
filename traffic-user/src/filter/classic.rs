//! Classic BPF: "The BSD Packet Filter" (`McCanne`, Jacobson 1993), as libpcap's `bpf_filter` runs it.

use std::fmt;

use thiserror::Error;

/// Words of scratch memory.
pub(super) const MEMORY_WORDS: usize = 16;

/// An instruction as libpcap hands it out: `struct bpf_insn` of `pcap/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawInstruction {
    /// Class, size or operation, mode or source.
    pub code: u16,
    /// Instructions to skip where a condition holds.
    pub jt: u8,
    /// Instructions to skip where it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Registers. Both are 32 bits wide and begin as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The accumulator.
    A,
    /// The index register.
    X,
}

/// Bytes that a load takes; longer values are in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 1.
    Byte,
    /// 2.
    Half,
    /// 4.
    Word,
}

impl Size {
    /// Number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
        }
    }
}

/// Right-hand side of arithmetic and comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A constant.
    K(u32),
    /// The index register.
    X,
}

/// Arithmetic on the accumulator, modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alu {
    /// Addition.
    Add,
    /// Subtraction.
    Sub,
    /// Multiplication.
    Mul,
    /// Unsigned division; by an X of 0 it ends the program with no match.
    Div,
    /// Unsigned remainder, as division.
    Mod,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left; by 32 and more the result is 0.
    Lsh,
    /// Shift right, filling with zeros; by 32 and more the result is 0.
    Rsh,
}

/// Unsigned comparisons of the accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Equal.
    Equal,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterEqual,
    /// Any bit of the operand is set.
    AnySet,
}

/// An instruction. A load outside the frame ends the program with no match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// A = the frame's bytes at a constant offset.
    Absolute(Size, u32),
    /// A = the frame's bytes at X + the offset.
    Indirect(Size, u32),
    /// X = 4 × the lower half of the frame's byte at the offset: an IPv4 header's length.
    HeaderLength(u32),
    /// The register = a constant.
    Constant(Register, u32),
    /// The register = bytes on the wire.
    WireLen(Register),
    /// The register = a word of scratch memory.
    Fetch(Register, usize),
    /// A word of scratch memory = the register.
    Store(Register, usize),
    /// A = A op operand.
    Alu(Alu, Operand),
    /// A = -A.
    Negate,
    /// The register = the other register.
    CopyTo(Register),
    /// Goes to an instruction, forwards or backwards.
    Goto(usize),
    /// Goes forwards to one of two instructions.
    Branch(Compare, Operand, usize, usize),
    /// Ends: anything but 0 is a match.
    ReturnConstant(u32),
    /// Ends: an A other than 0 is a match.
    ReturnA,
}

/// A valid program: jumps stay inside it, it cannot run over its end, scratch memory and shifts
/// are in range, and no constant divisor is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    raw: Vec<RawInstruction>,
    instructions: Vec<Instruction>,
}

/// Why instructions are no program.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InvalidProgram {
    /// There are none.
    #[error("the filter program is empty")]
    Empty,
    /// An instruction that does not exist, or with an operand out of range.
    #[error("instruction {index} of the filter program is invalid (code {code:#06x}, k {k:#x})")]
    Instruction {
        /// Its place.
        index: usize,
        /// Its code.
        code: u16,
        /// Its operand.
        k: u32,
    },
    /// The last instruction goes on.
    #[error("the filter program does not end with a return")]
    NoReturn,
}

/// Marks a load whose offset counts from X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Indexed;

impl Instruction {
    /// What the instruction reads of the frame, if it does: from X or from its beginning, offset,
    /// bytes.
    pub(super) fn load(self) -> Option<(Option<Indexed>, u32, u32)> {
        if let Self::Absolute(size, offset) = self {
            Some((None, offset, size.bytes()))
        } else if let Self::Indirect(size, offset) = self {
            Some((Some(Indexed), offset, size.bytes()))
        } else if let Self::HeaderLength(offset) = self {
            Some((None, offset, 1))
        } else {
            None
        }
    }
}

impl Program {
    /// Checks and decodes instructions.
    ///
    /// # Errors
    /// When they are not a valid program.
    pub fn new(raw: &[RawInstruction]) -> Result<Self, InvalidProgram> {
        let decoded = raw.iter().enumerate().map(|(index, instruction)| {
            decode(*instruction, index, raw.len()).ok_or(InvalidProgram::Instruction {
                index,
                code: instruction.code,
                k: instruction.k,
            })
        });
        let instructions: Vec<_> = decoded.collect::<Result<_, _>>()?;
        match instructions.last() {
            None => return Err(InvalidProgram::Empty),
            Some(Instruction::ReturnConstant(_) | Instruction::ReturnA) => {}
            Some(Instruction::Goto(target)) if *target < raw.len() => {}
            Some(_) => return Err(InvalidProgram::NoReturn),
        }
        Ok(Self {
            raw: raw.to_vec(),
            instructions,
        })
    }

    /// Its instructions; jumps hold the index of their target.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// Its instructions as libpcap has them.
    #[must_use]
    pub fn raw(&self) -> &[RawInstruction] {
        &self.raw
    }
}

/// Classes, sizes, modes and operations of `pcap/bpf.h`.
mod code {
    pub(super) const LD: u16 = 0x00;
    pub(super) const LDX: u16 = 0x01;
    pub(super) const ST: u16 = 0x02;
    pub(super) const STX: u16 = 0x03;
    pub(super) const ALU: u16 = 0x04;
    pub(super) const JMP: u16 = 0x05;
    pub(super) const RET: u16 = 0x06;
    pub(super) const MISC: u16 = 0x07;
    pub(super) const H: u16 = 0x08;
    pub(super) const B: u16 = 0x10;
    pub(super) const IMM: u16 = 0x00;
    pub(super) const ABS: u16 = 0x20;
    pub(super) const IND: u16 = 0x40;
    pub(super) const MEM: u16 = 0x60;
    pub(super) const LEN: u16 = 0x80;
    pub(super) const MSH: u16 = 0xa0;
    pub(super) const X: u16 = 0x08;
    pub(super) const A: u16 = 0x10;
    pub(super) const NEG: u16 = 0x80;
    pub(super) const TXA: u16 = 0x80;
}

/// `None` for what is invalid at `index` of `len` instructions.
fn decode(raw: RawInstruction, index: usize, len: usize) -> Option<Instruction> {
    let class = raw.code & 0x07;
    let rest = raw.code & !0x07;
    match class {
        code::LD => load(Register::A, raw),
        code::LDX => load(Register::X, raw),
        code::ST if rest == 0 => Some(Instruction::Store(Register::A, memory(raw.k)?)),
        code::STX if rest == 0 => Some(Instruction::Store(Register::X, memory(raw.k)?)),
        code::ALU if rest == code::NEG => Some(Instruction::Negate),
        code::ALU => arithmetic(raw),
        code::JMP => jump(raw, index, len),
        code::RET => match rest {
            0 => Some(Instruction::ReturnConstant(raw.k)),
            code::A => Some(Instruction::ReturnA),
            _ => None,
        },
        code::MISC => match rest {
            0 => Some(Instruction::CopyTo(Register::X)),
            code::TXA => Some(Instruction::CopyTo(Register::A)),
            _ => None,
        },
        _ => None,
    }
}

fn load(register: Register, raw: RawInstruction) -> Option<Instruction> {
    let size = match raw.code & 0x18 {
        0 => Size::Word,
        code::H => Size::Half,
        code::B => Size::Byte,
        _ => return None,
    };
    let mode = raw.code & !0x1f;
    Some(match (mode, size, register) {
        (code::ABS, _, Register::A) => Instruction::Absolute(size, raw.k),
        (code::IND, _, Register::A) => Instruction::Indirect(size, raw.k),
        (code::MSH, Size::Byte, Register::X) => Instruction::HeaderLength(raw.k),
        (code::IMM, Size::Word, _) => Instruction::Constant(register, raw.k),
        (code::LEN, Size::Word, _) => Instruction::WireLen(register),
        (code::MEM, Size::Word, _) => Instruction::Fetch(register, memory(raw.k)?),
        _ => return None,
    })
}

fn memory(k: u32) -> Option<usize> {
    usize::try_from(k)
        .ok()
        .filter(|index| *index < MEMORY_WORDS)
}

fn operand(raw: RawInstruction) -> Operand {
    if raw.code & code::X == 0 {
        Operand::K(raw.k)
    } else {
        Operand::X
    }
}

fn arithmetic(raw: RawInstruction) -> Option<Instruction> {
    let operand = operand(raw);
    let alu = match raw.code & !0x0f {
        0x00 => Alu::Add,
        0x10 => Alu::Sub,
        0x20 => Alu::Mul,
        0x30 => Alu::Div,
        0x40 => Alu::Or,
        0x50 => Alu::And,
        0x60 => Alu::Lsh,
        0x70 => Alu::Rsh,
        0x90 => Alu::Mod,
        0xa0 => Alu::Xor,
        _ => return None,
    };
    let valid = match (alu, operand) {
        (Alu::Div | Alu::Mod, Operand::K(k)) => k != 0,
        (Alu::Lsh | Alu::Rsh, Operand::K(k)) => k < 32,
        _ => true,
    };
    valid.then_some(Instruction::Alu(alu, operand))
}

fn jump(raw: RawInstruction, index: usize, len: usize) -> Option<Instruction> {
    let inside = |target: usize| (target < len).then_some(target);
    let compare = match raw.code & !0x0f {
        // libpcap's `protochain` is a loop: the distance is signed.
        0x00 if raw.code & code::X == 0 => {
            let distance = isize::try_from(raw.k.cast_signed()).ok()?;
            let target = (index + 1).checked_add_signed(distance)?;
            return Some(Instruction::Goto(inside(target)?));
        }
        0x10 => Compare::Equal,
        0x20 => Compare::Greater,
        0x30 => Compare::GreaterEqual,
        0x40 => Compare::AnySet,
        _ => return None,
    };
    let target = |skip: u8| inside(index + 1 + usize::from(skip));
    Some(Instruction::Branch(
        compare,
        operand(raw),
        target(raw.jt)?,
        target(raw.jf)?,
    ))
}

impl fmt::Display for Program {
    /// The listing of `tcpdump -d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, instruction) in self.instructions.iter().enumerate() {
            let (name, operand) = words(*instruction);
            write!(f, "({index:03}) {name:<8} ")?;
            if let Instruction::Branch(_, _, yes, no) = instruction {
                writeln!(f, "{operand:<16} jt {yes}\tjf {no}")?;
            } else {
                writeln!(f, "{operand}")?;
            }
        }
        Ok(())
    }
}

/// Name and operand of an instruction in a listing.
fn words(instruction: Instruction) -> (&'static str, String) {
    match instruction {
        Instruction::Absolute(size, k) => (load_name(size), format!("[{k}]")),
        Instruction::Indirect(size, k) => (load_name(size), format!("[x + {k}]")),
        Instruction::HeaderLength(k) => ("ldxb", format!("4*([{k}]&0xf)")),
        Instruction::Constant(to, k) => (register_load(to), format!("#{k:#x}")),
        Instruction::WireLen(to) => (register_load(to), "#pktlen".to_owned()),
        Instruction::Fetch(to, index) => (register_load(to), format!("M[{index}]")),
        Instruction::Store(Register::A, index) => ("st", format!("M[{index}]")),
        Instruction::Store(Register::X, index) => ("stx", format!("M[{index}]")),
        Instruction::Alu(alu, Operand::X) => (alu_name(alu), "x".to_owned()),
        Instruction::Alu(alu, Operand::K(k)) => (alu_name(alu), alu_constant(alu, k)),
        Instruction::Negate => ("neg", String::new()),
        Instruction::CopyTo(Register::X) => ("tax", String::new()),
        Instruction::CopyTo(Register::A) => ("txa", String::new()),
        Instruction::Goto(target) => ("ja", target.to_string()),
        Instruction::Branch(compare, Operand::X, ..) => (compare_name(compare), "x".to_owned()),
        Instruction::Branch(compare, Operand::K(k), ..) => {
            (compare_name(compare), format!("#{k:#x}"))
        }
        Instruction::ReturnConstant(k) => ("ret", format!("#{k}")),
        Instruction::ReturnA => ("ret", String::new()),
    }
}

const fn load_name(size: Size) -> &'static str {
    match size {
        Size::Byte => "ldb",
        Size::Half => "ldh",
        Size::Word => "ld",
    }
}

const fn register_load(to: Register) -> &'static str {
    match to {
        Register::A => "ld",
        Register::X => "ldx",
    }
}

const fn alu_name(alu: Alu) -> &'static str {
    match alu {
        Alu::Add => "add",
        Alu::Sub => "sub",
        Alu::Mul => "mul",
        Alu::Div => "div",
        Alu::Mod => "mod",
        Alu::Or => "or",
        Alu::And => "and",
        Alu::Xor => "xor",
        Alu::Lsh => "lsh",
        Alu::Rsh => "rsh",
    }
}

/// Bit masks are hexadecimal.
fn alu_constant(alu: Alu, k: u32) -> String {
    match alu {
        Alu::Or | Alu::And | Alu::Xor => format!("#{k:#x}"),
        Alu::Add | Alu::Sub | Alu::Mul | Alu::Div | Alu::Mod | Alu::Lsh | Alu::Rsh => {
            format!("#{k}")
        }
    }
}

const fn compare_name(compare: Compare) -> &'static str {
    match compare {
        Compare::Equal => "jeq",
        Compare::Greater => "jgt",
        Compare::GreaterEqual => "jge",
        Compare::AnySet => "jset",
    }
}
