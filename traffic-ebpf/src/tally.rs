//! The kernel's counters: what each is, and where it stands.

use crate::{parse::ParseError, protocol::Protocol};

/// A counter per interface and direction. The discriminant is its index in
/// [`Counters::tallies`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tally {
    /// Frames at the hook while the gate was open.
    Seen = 0,
    /// Frames that the filter or `--protocol` left out.
    FilteredOut,
    /// Frames that are counted, summarised and sampled.
    Matched,
    /// Frames between the sampled ones.
    FramesSampledOut,
    /// Sampled frames that found the ring full.
    FramesLost,
    /// Those of them that a later frame of the same place and CPU told of.
    FramesLostTold,
    /// Excerpts of DNS, ARP and fragments that were sent.
    ExcerptsSent,
    /// Excerpts of DNS, ARP and fragments that found the ring full.
    ExcerptsLost,
    /// Packets on the wire: segments of super-frames counted one by one. Only TC knows.
    WirePackets,
    /// Bytes on the wire: each segment with its own headers. Only TC knows.
    WireBytes,
    /// Frames whose run through the program was timed.
    TimedRuns,
    /// Nanoseconds that those runs took, each with one reading of the clock in it.
    TimedNs,
}

impl Tally {
    /// Number of tallies.
    pub const COUNT: usize = Self::TimedNs as usize + 1;
}

/// Frames and their bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Frames as the hook sees them.
    pub packets: u64,
    /// Their bytes, from the link header, without FCS.
    pub bytes: u64,
}

impl core::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// IP versions that protocol counters are kept for: none, 4, 6.
pub const IP_VERSIONS: usize = 3;

/// Index of an IP version (4, 6, or 0 for none) in [`Counters::protocols`].
#[inline(always)]
#[must_use]
pub const fn version_index(ip_version: u8) -> usize {
    match ip_version {
        4 => 1,
        6 => 2,
        _ => 0,
    }
}

/// One CPU's counters of one interface in one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// By [`Tally`].
    pub tallies: [u64; Tally::COUNT],
    /// By [`version_index`] and [`Protocol`]. The numbered classes stand here only for what did
    /// not fit the table of numbers.
    pub protocols: [[Count; Protocol::COUNT]; IP_VERSIONS],
    /// By [`ParseError`] code less one.
    pub errors: [u64; ParseError::ALL.len()],
}

impl Counters {
    /// All zero.
    pub const ZERO: Self = Self {
        tallies: [0; Tally::COUNT],
        protocols: [[Count {
            packets: 0,
            bytes: 0,
        }; Protocol::COUNT]; IP_VERSIONS],
        errors: [0; ParseError::ALL.len()],
    };

    /// The counter of `tally`.
    #[must_use]
    pub const fn tally(&self, tally: Tally) -> u64 {
        self.tallies[tally as usize]
    }

    /// Adds another CPU's counters.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.tallies.iter_mut().zip(other.tallies) {
            *mine += theirs;
        }
        let mine = self.protocols.as_flattened_mut().iter_mut();
        for (mine, theirs) in mine.zip(other.protocols.as_flattened()) {
            *mine += *theirs;
        }
        for (mine, theirs) in self.errors.iter_mut().zip(other.errors) {
            *mine += theirs;
        }
    }
}

/// Key of the per-CPU hash of numbered classes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NumberedKey {
    /// Interface number × 2 + direction for totals; a time slot for the timeline.
    pub place: u32,
    /// IP protocol number or `EtherType`.
    pub number: u16,
    /// [`Protocol`] discriminant.
    pub protocol: u8,
    /// 4, 6, or 0.
    pub ip_version: u8,
}

const _: () = assert!(size_of::<NumberedKey>() == 8);
const _: () = assert!(size_of::<Counters>() == 8 * (Tally::COUNT + 2 * 3 * Protocol::COUNT + 14));
