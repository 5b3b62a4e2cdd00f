//! Frames of several CPUs, in the order of their time.

use std::mem;

use crate::capture_file::Run;

/// Holds back what other CPUs may still have older frames to.
///
/// A CPU hands its frames up in runs, so that a reply on one may come before the request on another.
/// Beyond [`MOST_RATE`] nothing is held: frames of one CPU are in order then, those of several may
/// lie as far apart as a run takes to fill.
#[derive(Default)]
pub(super) struct InOrder {
    blocks: Vec<u8>,
    held: Vec<Held>,
    /// Bytes that came since this moment, held or not.
    came: u64,
    since_ns: u64,
    hurries: bool,
}

/// A frame among the blocks.
#[derive(Clone, Copy)]
struct Held {
    timestamp_ns: u64,
    at: usize,
    bytes: usize,
}

/// Bytes that are held at most.
const MOST_BYTES: usize = 4 << 20;
/// Bytes per second up to which copying them costs little.
const MOST_RATE: u64 = 128 << 20;
/// The rate is looked at after this time at the earliest.
const RATE_PERIOD_NS: u64 = 10_000_000;
/// No frame waits longer: runs are sent up more often than that.
const MOST_AGE_NS: u64 = 1_000_000_000;

impl InOrder {
    /// Takes a run in; `false` where it is better written at once, after all that is held.
    pub(super) fn hold(&mut self, run: &Run<'_>) -> bool {
        self.came += run.bytes().len() as u64;
        self.hurries |= self.blocks.len() + run.bytes().len() > MOST_BYTES;
        if self.hurries {
            return false;
        }
        let mut at = self.blocks.len();
        self.blocks.extend_from_slice(run.bytes());
        for block in run.blocks() {
            self.held.push(Held {
                timestamp_ns: block.frame.timestamp_ns,
                at,
                bytes: block.bytes,
            });
            at += block.bytes;
        }
        true
    }

    /// Hands on the frames from before `settled_ns`, to which nobody has older ones.
    pub(super) fn settle(&mut self, settled_ns: u64, write: impl FnMut(Run<'_>)) {
        self.look_at_rate(settled_ns);
        // After the clock was set back, what is held would wait until it is there again.
        let is_of_later = |held: &Held| held.timestamp_ns > settled_ns + MOST_AGE_NS;
        if self.held.iter().any(is_of_later) {
            return self.release_all(write);
        }
        self.release(settled_ns, write);
    }

    fn look_at_rate(&mut self, now_ns: u64) {
        let elapsed_ns = now_ns.abs_diff(self.since_ns);
        if elapsed_ns >= RATE_PERIOD_NS {
            let most = u128::from(elapsed_ns) * u128::from(MOST_RATE) / 1_000_000_000;
            self.hurries = u128::from(self.came) > most;
            (self.since_ns, self.came) = (now_ns, 0);
        }
    }

    /// Hands on all that is held.
    pub(super) fn release_all(&mut self, write: impl FnMut(Run<'_>)) {
        self.release(u64::MAX, write);
    }

    fn release(&mut self, before_ns: u64, mut write: impl FnMut(Run<'_>)) {
        if self.held.is_empty() {
            return;
        }
        self.sort();
        let frames = self
            .held
            .partition_point(|held| held.timestamp_ns < before_ns);
        let bytes = self
            .held
            .get(frames)
            .map_or(self.blocks.len(), |held| held.at);
        write(Run::new(&self.blocks[..bytes], frames as u64));
        self.blocks.drain(..bytes);
        self.held.drain(..frames);
        for held in &mut self.held {
            held.at -= bytes;
        }
    }

    /// Puts the blocks in order; those of the same time stay as they came.
    fn sort(&mut self) {
        if self.held.is_sorted_by_key(|held| held.timestamp_ns) {
            return;
        }
        self.held.sort_by_key(|held| held.timestamp_ns);
        let unsorted = mem::take(&mut self.blocks);
        self.blocks.reserve(unsorted.len());
        for held in &mut self.held {
            let at = self.blocks.len();
            let block = &unsorted[held.at..held.at + held.bytes];
            self.blocks.extend_from_slice(block);
            held.at = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An enhanced packet block of one byte with a direction, as the kernel programs lay it out.
    fn block(timestamp_ns: u64) -> Vec<u8> {
        let time = [timestamp_ns >> 32, timestamp_ns & 0xffff_ffff];
        let time = time.map(|word| u32::try_from(word).unwrap());
        let head = [6, 48, 0, time[0], time[1], 1, 1];
        let tail = [2 | 4 << 16, 1, 0, 48];
        let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let [head, tail]: [Vec<u8>; 2] = [bytes(&head), bytes(&tail)];
        [head, vec![0xaa, 0, 0, 0], tail].concat()
    }

    fn run(times: &[u64]) -> Vec<u8> {
        times.iter().copied().flat_map(block).collect()
    }

    fn times(run: Run<'_>) -> Vec<u64> {
        let times: Vec<_> = run.blocks().map(|block| block.frame.timestamp_ns).collect();
        assert_eq!(times.len() as u64, run.frames());
        times
    }

    fn hold(order: &mut InOrder, times: &[u64]) -> bool {
        order.hold(&Run::new(&run(times), times.len() as u64))
    }

    #[test]
    fn frames_of_several_cpus_come_in_order() {
        let mut order = InOrder::default();
        let mut written = Vec::new();
        assert!(hold(&mut order, &[10, 30, 50]));
        assert!(hold(&mut order, &[20, 40, 60]));
        order.settle(45, |run| written.extend(times(run)));
        assert_eq!(written, [10, 20, 30, 40]);
        assert!(hold(&mut order, &[55]));
        order.release_all(|run| written.extend(times(run)));
        assert_eq!(written, [10, 20, 30, 40, 50, 55, 60]);
        order.release_all(|_| panic!("nothing is left"));
    }

    #[test]
    fn nothing_waits_for_a_clock_that_was_set_back() {
        let mut order = InOrder::default();
        let hour = 3_600_000_000_000;
        assert!(hold(&mut order, &[2 * hour, 2 * hour + 1]));
        let mut written = 0;
        order.settle(hour, |run| written += run.frames());
        assert_eq!(written, 2);
    }

    #[test]
    fn a_fast_link_is_not_held_up() {
        let mut order = InOrder::default();
        let second = 1_000_000_000;
        order.settle(second, |_| {});
        let frames: Vec<u64> = (0..30_000).collect();
        assert!(hold(&mut order, &frames));
        order.settle(second + RATE_PERIOD_NS, |run| drop(times(run)));
        assert!(!hold(&mut order, &[1]), "above the rate");
        order.settle(3 * second, |_| {});
        assert!(hold(&mut order, &[1]), "below the rate");
        let many = vec![1; MOST_BYTES / 48];
        assert!(!hold(&mut order, &many), "more than is held");
    }
}
