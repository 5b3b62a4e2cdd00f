//! Programs that nobody would write.

use anyhow::{Context as _, Result, ensure};
use traffic_tests::Need;
use traffic_user::filter::{Program, RawInstruction};

use crate::verdict::{Filtered, linear, ways};

/// Programs, unless time does not matter; then twenty times as many.
const PROGRAMS: u64 = 100;
const FRAMES: u64 = 20;

pub(crate) fn random_programs_are_accepted_and_say_the_same_in_the_kernel() -> Result<()> {
    // Loading takes seconds where each instruction is emulated.
    let programs = match (Need::Long.is_there(), Need::Machine.is_there()) {
        (true, _) => 20 * PROGRAMS,
        (false, true) => PROGRAMS / 4,
        (false, false) => PROGRAMS,
    };
    let mut matched = 0;
    for seed in 0..programs {
        let number = usize::try_from(seed)?;
        let mut random = Random(seed);
        let program = Program::new(&program(&mut random))?;
        let mut filtered = Filtered::new(&program)?;
        for _ in 0..FRAMES {
            let frame = frame(&mut random);
            let expected = program.matches(&frame, u32::try_from(frame.len())?);
            let edge = usize::try_from(random.below(60))?;
            for way in ways(number) {
                let verdict = filtered
                    .takes(way, &frame, linear(way, edge, &frame))
                    .with_context(|| format!("program {seed}:\n{program}"))?;
                ensure!(
                    verdict.is_none_or(|verdict| verdict == expected),
                    "program {seed} at {}: not {expected} for {frame:02x?}:\n{program}",
                    way.name()
                );
            }
            matched += u64::from(expected);
        }
    }
    println!(
        "{programs} programs, {} frames, {matched} matched, 0 differ",
        programs * FRAMES
    );
    ensure!(matched > 0, "no program matched anything");
    Ok(())
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).expect("below a u32")
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let count = u32::try_from(choices.len()).expect("a few");
        choices[usize::try_from(self.below(count)).expect("a few")]
    }

    /// Small numbers often, and the edges of what 32 bits hold.
    fn value(&mut self) -> u32 {
        match self.below(4) {
            0 => self.below(u32::MAX),
            1 => self.of(&[0, 1, u32::MAX, 0x8000_0000, 0x7fff_ffff]),
            _ => self.below(100),
        }
    }
}

fn frame(random: &mut Random) -> Vec<u8> {
    let len = 34 + random.below(120);
    // Any network protocol that the kernel does not look into.
    let mut frame: Vec<u8> = (0..len).map(|_| random.next().to_le_bytes()[0]).collect();
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

fn program(random: &mut Random) -> Vec<RawInstruction> {
    let len = 2 + random.below(60);
    let mut program: Vec<_> = (0..len)
        .map(|index| instruction(random, len - index))
        .collect();
    program.push(raw(random.of(&[0x06, 0x16]), 0, 0, 1));
    program.push(raw(0x06, 0, 0, 0));
    program
}

/// An instruction with `rest` instructions and a return behind it.
fn instruction(random: &mut Random, rest: u32) -> RawInstruction {
    let by_x = random.of(&[0x00, 0x08]);
    let skip = |random: &mut Random| u8::try_from(random.below(rest.min(8))).expect("below 8");
    match random.below(12) {
        0..4 => {
            let code = random.of(&[0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xb1]);
            // Loads beyond the frame end a program, so they are few.
            let offset = match random.below(20) {
                0 => random.value(),
                _ => random.below(34),
            };
            raw(code, 0, 0, offset)
        }
        4..6 => {
            let code = random.of(&[0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x94, 0xa4]);
            raw(code | by_x, 0, 0, random.value().max(1))
        }
        6 => raw(random.of(&[0x64, 0x74]) | by_x, 0, 0, random.below(32)),
        7..9 => {
            let code = random.of(&[0x15, 0x25, 0x35, 0x45]);
            raw(code | by_x, skip(random), skip(random), random.value())
        }
        9 => raw(random.of(&[0x60, 0x61, 0x02, 0x03]), 0, 0, random.below(16)),
        10 => raw(random.of(&[0x80, 0x81, 0x84, 0x87]), 0, 0, 0),
        // X stays small, so that loads by it are inside the frame now and then.
        _ => raw(0x01, 0, 0, random.below(40)),
    }
}

const fn raw(code: u16, jt: u8, jf: u8, k: u32) -> RawInstruction {
    RawInstruction { code, jt, jf, k }
}
