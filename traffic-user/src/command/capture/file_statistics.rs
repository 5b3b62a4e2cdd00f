//! What the statistics at the end of a capture file say: how its interfaces fared while it was
//! written. Those of all files add up to those of the capture.

use traffic_ebpf::tally::{Counters, Tally};

use crate::{
    capture_file::{Frame, InterfaceStatistics},
    kernel::{Attached, Interfaces},
};

/// What became of an interface's frames since the capture began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fate {
    delivered: u64,
    /// They found the ring full.
    dropped: u64,
    left_out: LeftOut,
}

/// Frames of an interface that no file was meant to have, since the capture began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    filtered_out: u64,
    sampled_out: u64,
    /// The interface had no room for them; `None` where nobody knows.
    missed: Option<u64>,
}

impl LeftOut {
    /// By interface. What interfaces missed is known of those that are still there `now`.
    pub(super) fn of_interfaces(
        places: &[Counters],
        attached: &[Attached],
        now: Option<&Interfaces>,
    ) -> Vec<Self> {
        let missed = |attached: &Attached| {
            let before = &attached.interface;
            let missed = now?.numbered(before.ifindex)?.missed?;
            Some(missed.saturating_sub(before.missed?))
        };
        let interfaces = attached.iter().zip(places.chunks(2));
        interfaces
            .map(|(attached, places)| Self {
                filtered_out: sum(places, Tally::FilteredOut),
                sampled_out: sum(places, Tally::FramesSampledOut),
                missed: missed(attached),
            })
            .collect()
    }
}

impl Fate {
    /// By interface, at the end of a capture.
    pub(super) fn of_interfaces(
        places: &[Counters],
        attached: &[Attached],
        now: &Interfaces,
    ) -> Vec<Self> {
        let left_out = LeftOut::of_interfaces(places, attached, Some(now));
        let interfaces = left_out.into_iter().zip(places.chunks(2));
        interfaces
            .map(|(left_out, places)| {
                let dropped = sum(places, Tally::FramesLost);
                let matched = sum(places, Tally::Matched);
                Self {
                    delivered: matched.saturating_sub(left_out.sampled_out + dropped),
                    dropped,
                    left_out,
                }
            })
            .collect()
    }

    /// What came after `before`, from `start_ns` to `end_ns`.
    fn since(&self, before: &Self, start_ns: u64, end_ns: u64) -> InterfaceStatistics {
        let (now, then) = (&self.left_out, &before.left_out);
        let sampled_out = now.sampled_out.saturating_sub(then.sampled_out);
        let filtered_out = now.filtered_out.saturating_sub(then.filtered_out);
        let delivered = self.delivered.saturating_sub(before.delivered);
        let dropped = self.dropped.saturating_sub(before.dropped);
        let accepted = delivered + dropped + sampled_out;
        let missed_before = then.missed.unwrap_or(0);
        InterfaceStatistics {
            start_ns,
            end_ns,
            received: Some(filtered_out + accepted),
            interface_dropped: now
                .missed
                .map(|missed| missed.saturating_sub(missed_before)),
            accepted: Some(accepted),
            sampled_out: Some(sampled_out),
            dropped,
            delivered,
        }
    }
}

fn sum(places: &[Counters], tally: Tally) -> u64 {
    places.iter().map(|counters| counters.tally(tally)).sum()
}

/// The statistics of one file after the other.
///
/// Frames belong to the file that holds them, those that the ring had no room for to the file of
/// the frame that tells of them. Those that no file was meant to have belong to the file at hand
/// when they were last counted.
#[derive(Debug)]
pub(super) struct FileStatistics(Vec<Account>);

/// Of one interface.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// When its part of the file at hand began, nanoseconds since the Unix epoch.
    start_ns: u64,
    /// As far as it is known.
    now: Fate,
    /// As it was when the file at hand began.
    before: Fate,
}

impl FileStatistics {
    /// Begins the first file of a capture of so many interfaces.
    pub(super) fn begin(interfaces: usize, now_ns: u64) -> Self {
        let mut begun = Self(Vec::new());
        (0..interfaces).for_each(|_| begun.add_interface(now_ns));
        begun
    }

    /// Makes room for one more interface.
    pub(super) fn add_interface(&mut self, now_ns: u64) {
        self.0.push(Account {
            start_ns: now_ns,
            now: Fate::default(),
            before: Fate::default(),
        });
    }

    /// Counts a frame of the file at hand.
    #[inline]
    pub(super) fn count(&mut self, frame: &Frame<'_>) {
        if let Some(account) = self.0.get_mut(usize::from(frame.interface)) {
            account.now.delivered += 1;
            account.now.dropped += u64::from(frame.dropped);
        }
    }

    /// Takes in what is left out by now, by interface.
    pub(super) fn learn(&mut self, left_out: &[LeftOut]) {
        for (account, now) in self.0.iter_mut().zip(left_out) {
            let missed = now.missed.or(account.now.left_out.missed);
            account.now.left_out = LeftOut { missed, ..*now };
        }
    }

    /// Ends the file at hand, and begins the next one.
    pub(super) fn end_file(&mut self, now_ns: u64) -> Vec<InterfaceStatistics> {
        let end = |account: &mut Account| {
            let ended = account.now.since(&account.before, account.start_ns, now_ns);
            account.start_ns = now_ns;
            account.before = account.now;
            ended
        };
        self.0.iter_mut().map(end).collect()
    }

    /// Ends the last file: it has what the others do not have of the whole capture.
    pub(super) fn end_capture(&self, capture: &[Fate], now_ns: u64) -> Vec<InterfaceStatistics> {
        let interfaces = capture.iter().zip(&self.0);
        interfaces
            .map(|(whole, account)| whole.since(&account.before, account.start_ns, now_ns))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Direction;

    /// What happens to a capture of one interface.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// A frame comes, behind so many that were dropped.
        Frame(u32),
        /// So many more are left out, and it is told.
        LeftOut(u64),
        /// The file ends.
        Switch,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_u32).prop_map(Step::Frame),
            1 => (0..9_u64).prop_map(Step::LeftOut),
            1 => Just(Step::Switch),
        ]
    }

    fn left_out(frames: u64) -> LeftOut {
        LeftOut {
            filtered_out: 2 * frames,
            sampled_out: frames,
            missed: Some(3 * frames),
        }
    }

    fn frame(dropped: u32) -> Frame<'static> {
        Frame {
            interface: 0,
            timestamp_ns: 0,
            wire_len: 0,
            direction: Direction::Ingress,
            dropped,
            data: &[],
        }
    }

    proptest! {
        /// Whenever files end, their statistics add up to those of the capture, and each is
        /// consistent.
        #[test]
        fn files_add_up_to_the_capture(
            steps in prop::collection::vec(step(), 0..60),
            untold in 0..9_u64,
        ) {
            let mut statistics = FileStatistics::begin(1, 0);
            let mut capture = Fate::default();
            let mut files = Vec::new();
            let mut left = 0;
            for step in steps {
                match step {
                    Step::Frame(dropped) => {
                        capture.delivered += 1;
                        capture.dropped += u64::from(dropped);
                        statistics.count(&frame(dropped));
                    }
                    Step::LeftOut(frames) => {
                        left += frames;
                        statistics.learn(&[left_out(left)]);
                    }
                    Step::Switch => files.extend(statistics.end_file(1)),
                }
            }
            // What is found out at the end only.
            capture.dropped += untold;
            capture.left_out = left_out(left + untold);
            files.extend(statistics.end_capture(&[capture], 2));

            let whole = capture.since(&Fate::default(), 0, 2);
            let sum = |of: fn(&InterfaceStatistics) -> u64| files.iter().map(of).sum::<u64>();
            prop_assert_eq!(sum(|file| file.delivered), whole.delivered);
            prop_assert_eq!(sum(|file| file.dropped), whole.dropped);
            prop_assert_eq!(Some(sum(|file| file.received.unwrap())), whole.received);
            prop_assert_eq!(Some(sum(|file| file.accepted.unwrap())), whole.accepted);
            prop_assert_eq!(Some(sum(|file| file.sampled_out.unwrap())), whole.sampled_out);
            let missed = sum(|file| file.interface_dropped.unwrap_or(0));
            prop_assert_eq!(Some(missed), whole.interface_dropped);
            for file in &files {
                let parts = file.delivered + file.dropped + file.sampled_out.unwrap();
                prop_assert_eq!(file.accepted, Some(parts));
                prop_assert!(file.received >= file.accepted);
            }
        }
    }
}
