//! What a program can reach: which of its instructions, and how far into a frame.

use traffic_ebpf::config::FILTER_FRAME_BYTES;

use super::classic::{Alu, Indexed, Instruction, MEMORY_WORDS, Operand, Program, Register};

/// What a program can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// Whether an instruction can be executed.
    pub(super) instructions: Vec<bool>,
    /// Bytes from the frame's beginning that the program may read; at most
    /// [`FILTER_FRAME_BYTES`].
    pub(super) frame_bytes: u32,
    /// Whether there is a jump backwards.
    pub(super) has_loop: bool,
}

/// The largest values that the registers and the memory can have.
#[derive(Clone, Copy)]
struct Most {
    a: u32,
    x: u32,
    memory: [u32; MEMORY_WORDS],
}

/// Whether a load from `offset` on can never lie inside a frame.
pub(super) fn is_outside(offset: u32, bytes: u32) -> bool {
    u64::from(offset) + u64::from(bytes) > u64::from(FILTER_FRAME_BYTES)
}

/// Goes through the program, with loops as often as that reaches more of it. A program with a loop
/// may read the whole frame.
pub(super) fn reach(program: &Program) -> Reach {
    let instructions = program.instructions();
    let mut states: Vec<Option<Most>> = vec![None; instructions.len()];
    states[0] = Some(Most {
        a: 0,
        x: 0,
        memory: [0; MEMORY_WORDS],
    });
    let mut frame_bytes = 0;
    let mut has_loop = false;
    let mut again = true;
    while again {
        again = false;
        for (index, &instruction) in instructions.iter().enumerate() {
            let Some(mut most) = states[index] else {
                continue;
            };
            frame_bytes = frame_bytes.max(most.read_end(instruction));
            most.step(instruction);
            for target in successors(instruction, index).into_iter().flatten() {
                has_loop |= target <= index;
                again |= target <= index && states[target].is_none();
                join(&mut states[target], &most);
            }
        }
    }
    Reach {
        instructions: states.iter().map(Option::is_some).collect(),
        frame_bytes: if has_loop {
            FILTER_FRAME_BYTES
        } else {
            frame_bytes
        },
        has_loop,
    }
}

/// Where an instruction can go on; nowhere after a return and after a load that never succeeds.
fn successors(instruction: Instruction, index: usize) -> [Option<usize>; 2] {
    if let Some((_, offset, bytes)) = instruction.load()
        && is_outside(offset, bytes)
    {
        return [None, None];
    }
    if let Instruction::Branch(_, _, yes, no) = instruction {
        return [Some(yes), Some(no)];
    }
    if let Instruction::Goto(target) = instruction {
        return [Some(target), None];
    }
    if let Instruction::ReturnConstant(_) | Instruction::ReturnA = instruction {
        return [None, None];
    }
    [Some(index + 1), None]
}

fn join(state: &mut Option<Most>, other: &Most) {
    let Some(state) = state else {
        *state = Some(*other);
        return;
    };
    state.a = state.a.max(other.a);
    state.x = state.x.max(other.x);
    for (mine, theirs) in state.memory.iter_mut().zip(other.memory) {
        *mine = (*mine).max(theirs);
    }
}

impl Most {
    /// The end of what an instruction reads of the frame; 0 where it reads nothing.
    fn read_end(&self, instruction: Instruction) -> u32 {
        let Some((base, offset, bytes)) = instruction.load() else {
            return 0;
        };
        let start = u64::from(offset) + base.map_or(0, |Indexed| u64::from(self.x));
        let end = (start + u64::from(bytes)).min(u64::from(FILTER_FRAME_BYTES));
        u32::try_from(end).unwrap_or(FILTER_FRAME_BYTES)
    }

    fn step(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Absolute(size, _) | Instruction::Indirect(size, _) => {
                self.a = u32::MAX >> (32 - 8 * size.bytes());
            }
            Instruction::HeaderLength(_) => self.x = 0xf << 2,
            Instruction::Constant(to, value) => *self.register(to) = value,
            Instruction::WireLen(to) => *self.register(to) = u32::MAX,
            Instruction::Fetch(to, index) => *self.register(to) = self.memory[index],
            Instruction::Store(from, index) => self.memory[index] = *self.register(from),
            Instruction::Alu(alu, operand) => self.a = self.arithmetic(alu, operand),
            Instruction::Negate => self.a = u32::MAX,
            Instruction::CopyTo(Register::A) => self.a = self.x,
            Instruction::CopyTo(Register::X) => self.x = self.a,
            Instruction::Goto(_)
            | Instruction::Branch(..)
            | Instruction::ReturnConstant(_)
            | Instruction::ReturnA => {}
        }
    }

    fn register(&mut self, register: Register) -> &mut u32 {
        match register {
            Register::A => &mut self.a,
            Register::X => &mut self.x,
        }
    }

    /// The largest result. What can wrap around can be anything.
    fn arithmetic(&self, alu: Alu, operand: Operand) -> u32 {
        let constant = match operand {
            Operand::K(k) => Some(k),
            Operand::X => None,
        };
        let most = constant.unwrap_or(self.x);
        // All bits up to the highest that can be set.
        let bits = |value: u32| u32::MAX.checked_shr(value.leading_zeros()).unwrap_or(0);
        match alu {
            Alu::Add => self.a.saturating_add(most),
            Alu::Sub => u32::MAX,
            Alu::Mul => self.a.saturating_mul(most),
            Alu::Div => self.a / constant.unwrap_or(1),
            Alu::Mod => self.a.min(most.saturating_sub(1)),
            Alu::Or | Alu::Xor => bits(self.a) | bits(most),
            Alu::And => self.a.min(most),
            Alu::Lsh => constant
                .filter(|shift| *shift <= self.a.leading_zeros())
                .map_or(u32::MAX, |shift| self.a.checked_shl(shift).unwrap_or(0)),
            Alu::Rsh => self.a >> constant.unwrap_or(0),
        }
    }
}
