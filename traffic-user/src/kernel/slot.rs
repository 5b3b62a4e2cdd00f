//! The filter slot of the object: finding it, and writing a filter into it.

use traffic_ebpf::config::FILTER_SLOT;

use crate::filter::EbpfInstruction;

/// Bytes of an instruction.
const WIDTH: usize = 8;

/// A copy of an object, aligned as the ELF parser wants it.
pub(super) struct Object {
    buffer: Vec<u8>,
    start: usize,
}

impl Object {
    /// Copies `object` and writes `filter` to the end of its slot, where it falls through with its
    /// verdict. `None` when the object has no slot, or when the filter does not fit.
    pub(super) fn with_filter(object: &[u8], filter: &[EbpfInstruction]) -> Option<Self> {
        let room = usize::from(FILTER_SLOT);
        let skip = u16::try_from(room.checked_sub(filter.len())?).ok()?;
        let mut copy = Self::copy(object);
        let bytes = copy.bytes_mut();
        let slot = find(bytes)?;
        let entry = &mut bytes[slot + WIDTH..];
        // The jump of the condition that always holds.
        entry[2..4].copy_from_slice(&skip.to_le_bytes());
        let filter_at = (1 + usize::from(skip)) * WIDTH;
        let (places, _) = entry[filter_at..].as_chunks_mut::<WIDTH>();
        for (place, instruction) in places.iter_mut().zip(filter) {
            *place = instruction.to_le_bytes();
        }
        Some(copy)
    }

    fn copy(object: &[u8]) -> Self {
        const ALIGNMENT: usize = 16;
        let mut buffer = vec![0; object.len() + ALIGNMENT];
        let start = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        buffer[start..start + object.len()].copy_from_slice(object);
        buffer.truncate(start + object.len());
        Self { buffer, start }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }
}

/// Where the slot's first two instructions stand: `r0 = 1` and `if r0 == 1 goto +FILTER_SLOT`.
/// Behind them there is nothing but no-ops.
fn find(object: &[u8]) -> Option<usize> {
    let [low, high] = FILTER_SLOT.to_le_bytes();
    let entry = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x15, 0, low, high, 1, 0, 0, 0];
    let no_operation = EbpfInstruction::NO_OPERATION.to_le_bytes();
    let (instructions, _) = object.as_chunks::<WIDTH>();
    let is_slot = |at: &usize| {
        let behind = &instructions[at + 2..];
        instructions[*at..at + 2].as_flattened() == entry
            && behind.len() >= usize::from(FILTER_SLOT)
            && behind[..usize::from(FILTER_SLOT)]
                .iter()
                .all(|instruction| *instruction == no_operation)
    };
    (0..instructions.len().checked_sub(2)?)
        .find(is_slot)
        .map(|at| at * WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Vec<u8> {
        let [low, high] = FILTER_SLOT.to_le_bytes();
        let mut object = vec![7; 24];
        object.extend([0xb7, 0, 0, 0, 1, 0, 0, 0, 0x15, 0, low, high, 1, 0, 0, 0]);
        for _ in 0..FILTER_SLOT {
            object.extend(EbpfInstruction::NO_OPERATION.to_le_bytes());
        }
        object.extend([9; 16]);
        object
    }

    #[test]
    fn a_filter_stands_at_the_end_of_the_slot_and_is_jumped_to() {
        let filter = [EbpfInstruction {
            imm: 5,
            ..EbpfInstruction::NO_OPERATION
        }; 3];
        let filled = Object::with_filter(&object(), &filter).unwrap();
        let bytes = filled.bytes();
        assert_eq!(bytes.len(), object().len());
        assert_eq!(bytes.as_ptr().align_offset(16), 0);
        assert_eq!(bytes[34..36], (FILTER_SLOT - 3).to_le_bytes());
        let end = bytes.len() - 16;
        assert_eq!(
            bytes[end - 24..end],
            filter.map(EbpfInstruction::to_le_bytes).concat()
        );
        assert_eq!(
            bytes[end - 32..end - 24],
            EbpfInstruction::NO_OPERATION.to_le_bytes()
        );
        assert_eq!(bytes[end..], [9; 16]);
    }

    #[test]
    fn what_does_not_fit_and_objects_without_a_slot_are_refused() {
        let long = vec![EbpfInstruction::NO_OPERATION; usize::from(FILTER_SLOT) + 1];
        assert!(Object::with_filter(&object(), &long).is_none());
        let short = &object()[..object().len() - 32];
        assert!(Object::with_filter(short, &long[..1]).is_none());
    }
}
