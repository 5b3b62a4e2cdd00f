//! From classic BPF to the eBPF that goes into the programs' filter slot.
//!
//! On entry `r1` points to the frame, `r2` holds the bytes of it that can be read, `r3` its bytes
//! on the wire and `r4` its link type. The last instruction falls through with the verdict, 1 or
//! 0, in `r0`. `r4` then is A, `r5` is X, and `r0` is what a single instruction needs.
//!
//! Loads are checked one by one, as classic BPF does it. The verifier follows them because `r2` is
//! bounded once: an offset that lies below it lies inside the frame's room.

use std::collections::{BTreeSet, HashMap};

use thiserror::Error;
use traffic_ebpf::config::{FILTER_FRAME_BYTES, FILTER_SLOT};

use super::{
    classic::{Alu, Compare, Instruction as Classic, Operand, Program, Register, Size},
    ebpf::{Instruction, code},
    reach::{Reach, is_outside, reach},
};

const SCRATCH: u8 = 0;
const FRAME: u8 = 1;
const CAP_LEN: u8 = 2;
const WIRE_LEN: u8 = 3;
const LINK: u8 = 4;
const A: u8 = 4;
const X: u8 = 5;
const STACK: u8 = 10;

/// A filter ready for the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// Fits the slot.
    pub instructions: Vec<Instruction>,
    /// Bytes from the frame's beginning that it may read; at least 1.
    pub frame_bytes: u32,
    /// Whether it needs the instruction `may_goto` (Linux 6.9).
    pub has_loop: bool,
}

/// Why a filter cannot be translated.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TranslateError {
    /// It does not fit the slot.
    #[error(
        "the filter is too long: {instructions} eBPF instructions (allowed: {})",
        FILTER_SLOT
    )]
    TooLong {
        /// What it has.
        instructions: usize,
    },
}

/// Translates the programs of one filter, each for the frames of a link type (`LINK_…` of
/// [`traffic_ebpf::config`]). Frames of other link types go to the last one.
///
/// # Errors
/// When the result is too long.
pub fn translate(programs: &[(u32, &Program)]) -> Result<Translated, TranslateError> {
    let reaches: Vec<Reach> = programs.iter().map(|(_, program)| reach(program)).collect();
    let mut assembler = Assembler::default();
    assembler.jump(
        jump64(code::JGT, CAP_LEN, FILTER_FRAME_BYTES),
        Label::Reject,
    );
    if let Some((_, others)) = programs.split_last() {
        for (number, (link, _)) in others.iter().enumerate() {
            assembler.jump(jump64(code::JEQ, LINK, *link), Label::Program(number));
        }
    }
    // The last program begins where the dispatch falls through.
    for (number, (_, program)) in programs.iter().enumerate().rev() {
        assembler.program(number, program, &reaches[number]);
    }
    let instructions = assembler.finish()?;
    let frame_bytes = reaches.iter().map(|reach| reach.frame_bytes).max();
    Ok(Translated {
        instructions,
        frame_bytes: frame_bytes.unwrap_or(0).max(1),
        has_loop: reaches.iter().any(|reach| reach.has_loop),
    })
}

/// Where a jump goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Label {
    /// Where a program begins.
    Program(usize),
    /// An instruction of a program.
    Classic { program: usize, index: usize },
    /// A match.
    Accept,
    /// No match.
    Reject,
}

/// Instructions, and jumps whose distance is not known yet.
#[derive(Default)]
struct Assembler {
    instructions: Vec<Instruction>,
    jumps: Vec<(usize, Label)>,
    places: HashMap<Label, usize>,
}

impl Assembler {
    fn put(&mut self, instruction: Instruction) {
        self.instructions.push(instruction);
    }

    fn jump(&mut self, instruction: Instruction, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.put(instruction);
    }

    fn place(&mut self, label: Label) {
        self.places.insert(label, self.instructions.len());
    }

    /// Puts the verdicts behind everything and sets the distances of all jumps.
    fn finish(mut self) -> Result<Vec<Instruction>, TranslateError> {
        if self.jumps.iter().any(|(_, to)| *to == Label::Accept) {
            self.place(Label::Accept);
            self.put(constant(SCRATCH, 1));
            self.put(Instruction {
                offset: 1,
                ..Instruction::NO_OPERATION
            });
        }
        self.place(Label::Reject);
        self.put(constant(SCRATCH, 0));
        let instructions = self.instructions.len();
        if instructions > usize::from(FILTER_SLOT) {
            return Err(TranslateError::TooLong { instructions });
        }
        for (from, to) in self.jumps {
            let distance = self.places[&to].wrapping_sub(from + 1).cast_signed();
            self.instructions[from].offset =
                i16::try_from(distance).expect("the slot is shorter than the longest jump");
        }
        Ok(self.instructions)
    }

    fn program(&mut self, number: usize, program: &Program, reach: &Reach) {
        self.place(Label::Program(number));
        self.put(constant(A, 0));
        self.put(constant(X, 0));
        for index in fetched(program) {
            self.put(store(X, index));
        }
        let places = program.instructions().iter().zip(&reach.instructions);
        for (index, (instruction, is_reached)) in places.enumerate() {
            if *is_reached {
                let label = |index| Label::Classic {
                    program: number,
                    index,
                };
                self.place(label(index));
                self.instruction(*instruction, index, label);
            }
        }
    }

    fn instruction(&mut self, instruction: Classic, index: usize, label: impl Fn(usize) -> Label) {
        match instruction {
            Classic::Absolute(size, offset) => {
                if self.check(offset, size.bytes()) {
                    self.absolute(A, size, offset);
                }
            }
            Classic::HeaderLength(offset) => {
                if self.check(offset, 1) {
                    self.absolute(X, Size::Byte, offset);
                    self.put(alu(code::AND, X, 0xf));
                    self.put(alu(code::LSH, X, 2));
                }
            }
            Classic::Indirect(size, offset) => self.indirect(size, offset),
            Classic::Constant(to, value) => self.put(constant(register(to), value)),
            Classic::WireLen(to) => self.put(copy(register(to), WIRE_LEN)),
            Classic::Fetch(to, index) => self.put(fetch(register(to), index)),
            Classic::Store(from, index) => self.put(store(register(from), index)),
            Classic::Alu(alu, operand) => self.arithmetic(alu, operand),
            Classic::Negate => self.put(alu(code::NEG, A, 0)),
            Classic::CopyTo(Register::A) => self.put(copy(A, X)),
            Classic::CopyTo(Register::X) => self.put(copy(X, A)),
            Classic::Goto(target) => {
                if target <= index {
                    self.loop_back();
                }
                self.goto(label(target), label(index + 1));
            }
            Classic::Branch(compare, operand, yes, no) => {
                self.branch(compare, operand, [yes, no, index + 1].map(label));
            }
            Classic::ReturnConstant(0) => self.jump(Instruction::NO_OPERATION, Label::Reject),
            Classic::ReturnConstant(_) => self.jump(Instruction::NO_OPERATION, Label::Accept),
            Classic::ReturnA => {
                self.jump(branch(code::JEQ, Operand::K(0)), Label::Reject);
                self.jump(Instruction::NO_OPERATION, Label::Accept);
            }
        }
    }

    /// Ends with no match unless the bytes lie in the frame; `false` where they never do.
    fn check(&mut self, offset: u32, bytes: u32) -> bool {
        let possible = !is_outside(offset, bytes);
        if possible {
            self.jump(jump64(code::JLT, CAP_LEN, offset + bytes), Label::Reject);
        } else {
            self.jump(Instruction::NO_OPERATION, Label::Reject);
        }
        possible
    }

    /// Loads from a constant offset, after its check.
    fn absolute(&mut self, to: u8, size: Size, offset: u32) {
        if let Ok(offset) = i16::try_from(offset) {
            return self.load(to, size, FRAME, offset);
        }
        self.put(copy64(SCRATCH, FRAME));
        self.put(add64(SCRATCH, offset));
        self.load(to, size, SCRATCH, 0);
    }

    /// Loads from X + `offset`. What is checked is the end of the bytes, and they are read back
    /// from there: the verifier then knows both bounds of the same register.
    fn indirect(&mut self, size: Size, offset: u32) {
        let bytes = size.bytes();
        if is_outside(offset, bytes) {
            return self.jump(Instruction::NO_OPERATION, Label::Reject);
        }
        self.put(copy(SCRATCH, X));
        self.put(add64(SCRATCH, offset + bytes));
        // Before Linux 6.8 the verifier learns nothing from comparing two registers.
        self.jump(
            jump64(code::JGT, SCRATCH, FILTER_FRAME_BYTES),
            Label::Reject,
        );
        let past_the_end = Instruction {
            code: code::JMP | code::JGT | code::X,
            dst: SCRATCH,
            src: CAP_LEN,
            ..Instruction::NO_OPERATION
        };
        self.jump(past_the_end, Label::Reject);
        self.put(Instruction {
            code: code::ALU64 | code::ADD | code::X,
            dst: SCRATCH,
            src: FRAME,
            ..Instruction::NO_OPERATION
        });
        let back = match size {
            Size::Byte => -1,
            Size::Half => -2,
            Size::Word => -4,
        };
        self.load(A, size, SCRATCH, back);
    }

    /// Loads a value in network byte order.
    fn load(&mut self, to: u8, size: Size, base: u8, offset: i16) {
        let (width, bits) = match size {
            Size::Byte => (0x10, 8),
            Size::Half => (0x08, 16),
            Size::Word => (0x00, 32),
        };
        self.put(Instruction {
            code: code::LDX_MEM | width,
            dst: to,
            src: base,
            offset,
            imm: 0,
        });
        if size != Size::Byte {
            self.put(Instruction {
                code: code::TO_BE,
                dst: to,
                imm: bits,
                ..Instruction::NO_OPERATION
            });
        }
    }

    /// What stands before a jump backwards. Through memory that it does not follow the verifier
    /// forgets what it knows of A and X, which would be something else in every round.
    fn loop_back(&mut self) {
        self.put(copy64(SCRATCH, FRAME));
        self.put(add64(SCRATCH, FILTER_FRAME_BYTES));
        for (register, offset) in [(A, 8), (X, 12)] {
            self.put(Instruction {
                code: code::STX_MEM,
                dst: SCRATCH,
                src: register,
                offset,
                imm: 0,
            });
            self.put(Instruction {
                code: code::LDX_MEM,
                dst: register,
                src: SCRATCH,
                offset,
                imm: 0,
            });
        }
        self.jump(may_goto(), Label::Reject);
    }

    fn arithmetic(&mut self, operation: Alu, operand: Operand) {
        if operand == Operand::X {
            match operation {
                Alu::Div | Alu::Mod => self.jump(x_is(code::JEQ, 0), Label::Reject),
                // eBPF takes the shift modulo 32; 0 stays 0 then.
                Alu::Lsh | Alu::Rsh => {
                    self.put(Instruction {
                        offset: 1,
                        ..x_is(code::JLT, 32)
                    });
                    self.put(constant(A, 0));
                }
                Alu::Add | Alu::Sub | Alu::Mul | Alu::Or | Alu::And | Alu::Xor => {}
            }
        }
        let code = match operation {
            Alu::Add => 0x00,
            Alu::Sub => 0x10,
            Alu::Mul => 0x20,
            Alu::Div => 0x30,
            Alu::Or => 0x40,
            Alu::And => 0x50,
            Alu::Lsh => 0x60,
            Alu::Rsh => 0x70,
            Alu::Mod => 0x90,
            Alu::Xor => 0xa0,
        };
        self.put(match operand {
            Operand::K(k) => alu(code, A, k),
            Operand::X => Instruction {
                code: code::ALU32 | code | code::X,
                dst: A,
                src: X,
                ..Instruction::NO_OPERATION
            },
        });
    }

    /// Goes to `yes` or `no`; one of them can be what follows.
    fn branch(&mut self, compare: Compare, operand: Operand, [yes, no, next]: [Label; 3]) {
        let (holds, fails) = match compare {
            Compare::Equal => (code::JEQ, Some(code::JNE)),
            Compare::Greater => (code::JGT, Some(code::JLE)),
            Compare::GreaterEqual => (code::JGE, Some(code::JLT)),
            Compare::AnySet => (code::JSET, None),
        };
        match fails {
            _ if yes == no => {}
            Some(fails) if yes == next => return self.jump(branch(fails, operand), no),
            _ => self.jump(branch(holds, operand), yes),
        }
        self.goto(no, next);
    }

    fn goto(&mut self, to: Label, next: Label) {
        if to != next {
            self.jump(Instruction::NO_OPERATION, to);
        }
    }
}

/// The words of scratch memory that a program reads.
fn fetched(program: &Program) -> BTreeSet<usize> {
    let instructions = program.instructions().iter();
    let words = instructions.filter_map(|instruction| {
        if let Classic::Fetch(_, index) = instruction {
            Some(*index)
        } else {
            None
        }
    });
    words.collect()
}

const fn register(register: Register) -> u8 {
    match register {
        Register::A => A,
        Register::X => X,
    }
}

/// 32-bit operations clear the upper half of a register.
const fn alu(operation: u8, dst: u8, k: u32) -> Instruction {
    Instruction {
        code: code::ALU32 | operation | code::K,
        dst,
        imm: k.cast_signed(),
        ..Instruction::NO_OPERATION
    }
}

const fn constant(dst: u8, value: u32) -> Instruction {
    alu(code::MOV, dst, value)
}

const fn copy(dst: u8, src: u8) -> Instruction {
    Instruction {
        code: code::ALU32 | code::MOV | code::X,
        dst,
        src,
        ..Instruction::NO_OPERATION
    }
}

const fn copy64(dst: u8, src: u8) -> Instruction {
    Instruction {
        code: code::ALU64 | code::MOV | code::X,
        ..copy(dst, src)
    }
}

/// `k` is below 2^31.
const fn add64(dst: u8, k: u32) -> Instruction {
    Instruction {
        code: code::ALU64 | code::ADD | code::K,
        ..alu(code::ADD, dst, k)
    }
}

/// A comparison of all 64 bits; `k` is below 2^31.
const fn jump64(comparison: u8, dst: u8, k: u32) -> Instruction {
    Instruction {
        code: code::JMP | comparison | code::K,
        dst,
        imm: k.cast_signed(),
        ..Instruction::NO_OPERATION
    }
}

/// A comparison of A (Linux 5.1).
const fn branch(comparison: u8, operand: Operand) -> Instruction {
    match operand {
        Operand::K(k) => Instruction {
            code: code::JMP32 | comparison | code::K,
            dst: A,
            imm: k.cast_signed(),
            ..Instruction::NO_OPERATION
        },
        Operand::X => Instruction {
            code: code::JMP32 | comparison | code::X,
            dst: A,
            src: X,
            ..Instruction::NO_OPERATION
        },
    }
}

const fn x_is(comparison: u8, k: u32) -> Instruction {
    Instruction {
        dst: X,
        ..branch(comparison, Operand::K(k))
    }
}

const fn may_goto() -> Instruction {
    Instruction {
        code: code::MAY_GOTO,
        ..Instruction::NO_OPERATION
    }
}

/// Where a word of scratch memory lies, from the stack's top.
fn word(index: usize) -> i16 {
    i16::try_from(index).map_or(0, |index| -4 * (index + 1))
}

fn store(src: u8, index: usize) -> Instruction {
    Instruction {
        code: code::STX_MEM,
        dst: STACK,
        src,
        offset: word(index),
        imm: 0,
    }
}

fn fetch(dst: u8, index: usize) -> Instruction {
    Instruction {
        code: code::LDX_MEM,
        dst,
        src: STACK,
        offset: word(index),
        imm: 0,
    }
}
