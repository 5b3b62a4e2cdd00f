//! eBPF instructions (RFC 9669): their encoding, and a listing.

use std::fmt;

/// An instruction of eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation or size, source or mode.
    pub code: u8,
    /// Destination register.
    pub dst: u8,
    /// Source register.
    pub src: u8,
    /// Distance of a jump, or offset of a memory access.
    pub offset: i16,
    /// Constant.
    pub imm: i32,
}

/// Classes, sizes, operations and sources.
pub(super) mod code {
    pub(in crate::filter) const LDX_MEM: u8 = 0x61;
    pub(in crate::filter) const STX_MEM: u8 = 0x63;
    pub(in crate::filter) const ALU32: u8 = 0x04;
    pub(in crate::filter) const ALU64: u8 = 0x07;
    pub(in crate::filter) const JMP: u8 = 0x05;
    pub(in crate::filter) const JMP32: u8 = 0x06;
    pub(in crate::filter) const K: u8 = 0x00;
    pub(in crate::filter) const X: u8 = 0x08;
    pub(in crate::filter) const ADD: u8 = 0x00;
    pub(in crate::filter) const AND: u8 = 0x50;
    pub(in crate::filter) const LSH: u8 = 0x60;
    pub(in crate::filter) const NEG: u8 = 0x80;
    pub(in crate::filter) const MOV: u8 = 0xb0;
    pub(in crate::filter) const TO_BE: u8 = 0xdc;
    pub(in crate::filter) const JA: u8 = 0x00;
    pub(in crate::filter) const JEQ: u8 = 0x10;
    pub(in crate::filter) const JGT: u8 = 0x20;
    pub(in crate::filter) const JGE: u8 = 0x30;
    pub(in crate::filter) const JSET: u8 = 0x40;
    pub(in crate::filter) const JNE: u8 = 0x50;
    pub(in crate::filter) const JLT: u8 = 0xa0;
    pub(in crate::filter) const JLE: u8 = 0xb0;
    /// `may_goto` (Linux 6.9): goes to its target when a loop has run for too long.
    pub(in crate::filter) const MAY_GOTO: u8 = 0xe5;
}

impl Instruction {
    /// `if true goto +0`: what the filter slot is made of.
    pub const NO_OPERATION: Self = Self {
        code: code::JMP,
        dst: 0,
        src: 0,
        offset: 0,
        imm: 0,
    };

    /// The bytes of a little-endian object.
    #[must_use]
    pub fn to_le_bytes(self) -> [u8; 8] {
        let [o0, o1] = self.offset.to_le_bytes();
        let [i0, i1, i2, i3] = self.imm.to_le_bytes();
        let registers = self.src << 4 | self.dst;
        [self.code, registers, o0, o1, i0, i1, i2, i3]
    }

    /// Whether the right-hand side is a register.
    fn source(self, prefix: char) -> String {
        if self.code & code::X == 0 {
            format!("{:#x}", self.imm)
        } else {
            format!("{prefix}{}", self.src)
        }
    }

    fn arithmetic(self, f: &mut fmt::Formatter<'_>, prefix: char) -> fmt::Result {
        let dst = self.dst;
        let operator = match self.code & 0xf0 {
            code::NEG => return write!(f, "{prefix}{dst} = -{prefix}{dst}"),
            0xd0 => return write!(f, "r{dst} = be{} r{dst}", self.imm),
            0x00 => "+=",
            0x10 => "-=",
            0x20 => "*=",
            0x30 => "/=",
            0x40 => "|=",
            0x50 => "&=",
            0x60 => "<<=",
            0x70 => ">>=",
            0x90 => "%=",
            0xa0 => "^=",
            _ => "=",
        };
        write!(f, "{prefix}{dst} {operator} {}", self.source(prefix))
    }

    fn jump(self, f: &mut fmt::Formatter<'_>, prefix: char) -> fmt::Result {
        let operator = match self.code & 0xf0 {
            code::JA => return write!(f, "goto {:+}", self.offset),
            code::JEQ => "==",
            code::JGT => ">",
            code::JGE => ">=",
            code::JSET => "&",
            code::JNE => "!=",
            code::JLT => "<",
            code::JLE => "<=",
            _ => return write!(f, "may_goto {:+}", self.offset),
        };
        let (dst, source) = (self.dst, self.source(prefix));
        write!(
            f,
            "if {prefix}{dst} {operator} {source} goto {:+}",
            self.offset
        )
    }

    fn memory(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = match self.code & 0x18 {
            0x00 => 32,
            0x08 => 16,
            0x10 => 8,
            _ => 64,
        };
        let (dst, src, offset) = (self.dst, self.src, self.offset);
        if self.code & 0x07 == code::LDX_MEM & 0x07 {
            write!(f, "r{dst} = *(u{bits} *)(r{src} {offset:+})")
        } else {
            write!(f, "*(u{bits} *)(r{dst} {offset:+}) = r{src}")
        }
    }
}

impl fmt::Display for Instruction {
    /// The kernel verifier's way of writing it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code & 0x07 {
            code::ALU32 => self.arithmetic(f, 'w'),
            code::ALU64 => self.arithmetic(f, 'r'),
            code::JMP => self.jump(f, 'r'),
            code::JMP32 => self.jump(f, 'w'),
            _ => self.memory(f),
        }
    }
}
