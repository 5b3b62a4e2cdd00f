//! Frames as the kernel programs hand them up: enhanced packet blocks of pcapng, one after another.

use super::write::Frame;
use crate::record::Direction;

/// Frames of one CPU, in the order in which it saw them.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    blocks: &'a [u8],
    frames: u64,
}

/// A frame of a run.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// What it says.
    pub frame: Frame<'a>,
    /// Bytes of the block.
    pub bytes: usize,
}

/// Where the length of the frame begins in a block, its wire length, and the frame itself.
const CAPTURED: usize = 20;
const WIRE: usize = 24;
const DATA: usize = 28;
/// The drop count option, where it is.
const DROP_COUNT: u32 = 8 << 16 | 4;

impl<'a> Run<'a> {
    /// The `frames` frames in `blocks`.
    #[must_use]
    pub fn new(blocks: &'a [u8], frames: u64) -> Self {
        Self { blocks, frames }
    }

    /// The bytes, as they lie in a file.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.blocks
    }

    /// Number of frames.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The frames one by one, up to the first that is not whole.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'a>> {
        let mut rest = self.blocks;
        std::iter::from_fn(move || {
            let block = Block::first(rest)?;
            rest = &rest[block.bytes..];
            Some(block)
        })
    }

    /// The first `bytes` bytes, which hold `frames` frames, and the rest.
    pub(crate) fn split(&self, bytes: usize, frames: u64) -> (Self, Self) {
        let (first, rest) = self.blocks.split_at(bytes);
        (
            Self::new(first, frames),
            Self::new(rest, self.frames - frames),
        )
    }
}

impl<'a> Block<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let word = |offset| {
            let word = bytes.get(offset..)?.first_chunk()?;
            Some(u32::from_le_bytes(*word))
        };
        let len = usize::try_from(word(4)?).ok()?;
        let captured = usize::try_from(word(CAPTURED)?).ok()?;
        let data = bytes.get(DATA..DATA + captured)?;
        let options = DATA + captured.next_multiple_of(4);
        let (dropped, flags) = if word(options)? == DROP_COUNT {
            (word(options + 4)?, word(options + 16)?)
        } else {
            (0, word(options + 4)?)
        };
        (len >= options && len <= bytes.len()).then_some(())?;
        let frame = Frame {
            interface: u16::try_from(word(8)?).ok()?,
            timestamp_ns: u64::from(word(12)?) << 32 | u64::from(word(16)?),
            wire_len: word(WIRE)?,
            direction: if flags & 3 == 2 {
                Direction::Egress
            } else {
                Direction::Ingress
            },
            dropped,
            data,
        };
        Some(Self { frame, bytes: len })
    }
}
