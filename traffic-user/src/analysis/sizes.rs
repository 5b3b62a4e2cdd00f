//! The distribution of frame sizes.

/// Sizes that have a counter of their own.
const EXACT_SIZES: usize = 1 << 16;

/// The smallest size of each range.
const RANGES: [u32; 10] = [0, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120];

/// Counts frames by size: each byte up to 65,535 by itself, and all longer super-frames together.
#[derive(Clone, Debug)]
pub(crate) struct SizeHistogram {
    counts: Vec<u64>,
    total: u64,
    min: u32,
    max: u32,
}

impl SizeHistogram {
    /// No frames. The 512 KiB of counters take memory only where they are used.
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; EXACT_SIZES + 1],
            total: 0,
            min: u32::MAX,
            max: 0,
        }
    }

    /// Counts a frame of `bytes` bytes.
    #[inline]
    pub(crate) fn add(&mut self, bytes: u32) {
        let index = usize::try_from(bytes).map_or(EXACT_SIZES, |bytes| bytes.min(EXACT_SIZES));
        self.counts[index] += 1;
        self.total += 1;
        self.min = self.min.min(bytes);
        self.max = self.max.max(bytes);
    }

    /// The smallest size; `None` without frames.
    pub(crate) fn min(&self) -> Option<u32> {
        (self.total > 0).then_some(self.min)
    }

    /// The largest size; 0 without frames.
    pub(crate) fn max(&self) -> u32 {
        self.max
    }

    /// Frames by range: smallest size, largest size, frames. The ranges are those of tshark's
    /// packet lengths, and all frames are in one of them.
    pub(crate) fn ranges(&self) -> Vec<(u32, Option<u32>, u64)> {
        let ends = RANGES.iter().skip(1).map(|from| Some(from - 1));
        let ends = ends.chain([None]);
        RANGES
            .iter()
            .zip(ends)
            .map(|(from, to)| {
                let index = |size: u32| usize::try_from(size).map_or(EXACT_SIZES, |size| size);
                let end = to.map_or(self.counts.len(), |to| index(to) + 1);
                (*from, to, self.counts[index(*from)..end].iter().sum())
            })
            .collect()
    }

    /// The smallest size such that at least `percent` percent of the frames are not longer. It is
    /// exact up to 65,535 bytes; beyond, it is the largest size.
    pub(crate) fn percentile(&self, percent: u64) -> u32 {
        let rank = u128::from(self.total) * u128::from(percent);
        let mut upto = 0u128;
        for (size, count) in (0..).zip(&self.counts[..EXACT_SIZES]) {
            upto += u128::from(*count) * 100;
            if upto >= rank && upto > 0 {
                return size;
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_sizes_that_occur() {
        let mut sizes = SizeHistogram::new();
        for size in [60, 60, 60, 1514] {
            sizes.add(size);
        }
        assert_eq!((sizes.min(), sizes.max()), (Some(60), 1514));
        assert_eq!((sizes.percentile(50), sizes.percentile(75)), (60, 60));
        assert_eq!((sizes.percentile(76), sizes.percentile(95)), (1514, 1514));
    }

    #[test]
    fn every_frame_is_in_one_range() {
        let mut sizes = SizeHistogram::new();
        for size in [0, 19, 20, 79, 80, 5119, 5120, 200_000] {
            sizes.add(size);
        }
        let ranges = sizes.ranges();
        let frames: Vec<_> = ranges.iter().map(|(_, _, frames)| *frames).collect();
        assert_eq!(frames, [2, 1, 1, 1, 0, 0, 0, 0, 1, 2]);
        assert_eq!(ranges[9].1, None);
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].1, Some(pair[1].0 - 1));
        }
    }

    #[test]
    fn super_frames_beyond_the_counters_are_the_largest_size() {
        let mut sizes = SizeHistogram::new();
        for size in [65_535, 65_536, 200_000] {
            sizes.add(size);
        }
        assert_eq!(
            (sizes.percentile(33), sizes.percentile(50)),
            (65_535, 200_000)
        );
    }

    #[test]
    fn nothing_counted_has_no_smallest_size() {
        assert_eq!(SizeHistogram::new().min(), None);
    }
}
