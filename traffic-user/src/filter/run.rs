//! Runs a program over a frame, as libpcap's `bpf_filter` does.
//!
//! libpcap's own function is not called for every packet of a file, because its binding takes no
//! wire length beside the captured bytes.

use super::classic::{Alu, Compare, Instruction, MEMORY_WORDS, Operand, Program, Register, Size};

/// Registers and scratch memory.
struct Machine<'a> {
    frame: &'a [u8],
    wire_len: u32,
    a: u32,
    x: u32,
    memory: [u32; MEMORY_WORDS],
}

/// What comes after an instruction.
enum Next {
    Following,
    At(usize),
    End(bool),
}

impl Program {
    /// Whether the program takes a frame of which `frame` was captured.
    #[must_use]
    pub fn matches(&self, frame: &[u8], wire_len: u32) -> bool {
        let mut machine = Machine {
            frame,
            wire_len,
            a: 0,
            x: 0,
            memory: [0; MEMORY_WORDS],
        };
        let mut at = 0;
        // A valid program cannot run over its end.
        while let Some(instruction) = self.instructions().get(at) {
            match machine.step(*instruction) {
                Some(Next::Following) => at += 1,
                Some(Next::At(target)) => at = target,
                Some(Next::End(verdict)) => return verdict,
                None => return false,
            }
        }
        false
    }
}

impl Machine<'_> {
    /// `None` where the program ends with no match: a load outside the frame, a division by 0.
    fn step(&mut self, instruction: Instruction) -> Option<Next> {
        match instruction {
            Instruction::Absolute(size, offset) => self.a = self.load(size, offset)?,
            Instruction::Indirect(size, offset) => {
                self.a = self.load(size, self.x.checked_add(offset)?)?;
            }
            Instruction::HeaderLength(offset) => {
                self.x = (self.load(Size::Byte, offset)? & 0xf) << 2;
            }
            Instruction::Constant(to, value) => self.set(to, value),
            Instruction::WireLen(to) => self.set(to, self.wire_len),
            Instruction::Fetch(to, index) => self.set(to, self.memory[index]),
            Instruction::Store(Register::A, index) => self.memory[index] = self.a,
            Instruction::Store(Register::X, index) => self.memory[index] = self.x,
            Instruction::Alu(alu, operand) => {
                self.a = arithmetic(alu, self.a, self.value(operand))?;
            }
            Instruction::Negate => self.a = self.a.wrapping_neg(),
            Instruction::CopyTo(Register::X) => self.x = self.a,
            Instruction::CopyTo(Register::A) => self.a = self.x,
            Instruction::Goto(target) => return Some(Next::At(target)),
            Instruction::Branch(compare, operand, yes, no) => {
                let holds = holds(compare, self.a, self.value(operand));
                return Some(Next::At(if holds { yes } else { no }));
            }
            Instruction::ReturnConstant(value) => return Some(Next::End(value != 0)),
            Instruction::ReturnA => return Some(Next::End(self.a != 0)),
        }
        Some(Next::Following)
    }

    fn load(&self, size: Size, offset: u32) -> Option<u32> {
        let bytes = self.frame.get(usize::try_from(offset).ok()?..)?;
        match size {
            Size::Byte => bytes.first().map(|byte| u32::from(*byte)),
            Size::Half => bytes
                .first_chunk()
                .map(|half| u32::from(u16::from_be_bytes(*half))),
            Size::Word => bytes.first_chunk().map(|word| u32::from_be_bytes(*word)),
        }
    }

    fn set(&mut self, register: Register, value: u32) {
        match register {
            Register::A => self.a = value,
            Register::X => self.x = value,
        }
    }

    fn value(&self, operand: Operand) -> u32 {
        match operand {
            Operand::K(k) => k,
            Operand::X => self.x,
        }
    }
}

fn arithmetic(alu: Alu, a: u32, b: u32) -> Option<u32> {
    Some(match alu {
        Alu::Add => a.wrapping_add(b),
        Alu::Sub => a.wrapping_sub(b),
        Alu::Mul => a.wrapping_mul(b),
        Alu::Div => a.checked_div(b)?,
        Alu::Mod => a.checked_rem(b)?,
        Alu::Or => a | b,
        Alu::And => a & b,
        Alu::Xor => a ^ b,
        Alu::Lsh => a.checked_shl(b).unwrap_or(0),
        Alu::Rsh => a.checked_shr(b).unwrap_or(0),
    })
}

const fn holds(compare: Compare, a: u32, b: u32) -> bool {
    match compare {
        Compare::Equal => a == b,
        Compare::Greater => a > b,
        Compare::GreaterEqual => a >= b,
        Compare::AnySet => a & b != 0,
    }
}
