//! The balance of a run: every frame is accounted for once, from counters kept apart.

use crate::report::{FramesLost, Ledger};

/// What each part of the program counted on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Frames at the hooks, or in the files.
    pub seen: u64,
    /// Frames that the filter or `--protocol` left out.
    pub filtered_out: u64,
    /// Frames that were counted.
    pub matched: u64,
    /// Matched frames whose protocol could not be told.
    pub unparsed: u64,
    /// `None` with `--counters-only`.
    pub summaries: Option<Summaries>,
    /// `None` without a capture file.
    pub frames: Option<Frames>,
    /// Excerpts of DNS and ARP frames and fragments that found the ring full.
    pub excerpts_lost: u64,
    /// Records that the bounded history let go.
    pub history_evicted: u64,
    /// Whether the run goes on: then its counters belong to slightly different moments, and
    /// summaries are on their way.
    pub is_running: bool,
}

/// Where summaries went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summaries {
    /// Counted as they arrived in user space.
    pub delivered: u64,
    /// Counted in the kernel where they found the ring full.
    pub lost: u64,
}

/// Where frames for the capture file went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    /// Not asked for, counted in the kernel.
    pub sampled_out: u64,
    /// Counted by the writer.
    pub written: u64,
    /// Counted in the kernel where they found the ring full.
    pub ring_full: u64,
    /// Counted where the writer refused them.
    pub write_failed: u64,
}

impl Account {
    /// The ledger. It is balanced where `seen = filtered_out + matched`; with summaries
    /// `matched = delivered + lost`; and with a capture file
    /// `matched = sampled_out + written + ring_full + write_failed`.
    #[must_use]
    pub fn balance(&self) -> Ledger {
        let frames = self.frames.unwrap_or_default();
        Ledger {
            seen: self.seen,
            filtered_out: self.filtered_out,
            matched: self.matched,
            unparsed: self.unparsed,
            summaries_delivered: self.summaries.map(|summaries| summaries.delivered),
            summaries_lost: self.summaries.map(|summaries| summaries.lost),
            frames_sampled_out: frames.sampled_out,
            frames_written: frames.written,
            frames_lost: FramesLost {
                ring_full: frames.ring_full,
                write_failed: frames.write_failed,
            },
            ipfix_sent: None,
            ipfix_lost: None,
            excerpts_lost: self.excerpts_lost,
            history_evicted: self.history_evicted,
            export_rows: None,
            export_stored: None,
            export_waiting: None,
            export_lost: None,
            in_flight: self.is_running.then(|| self.in_flight()),
            balanced: self.is_running || self.is_balanced(),
        }
    }

    fn in_flight(&self) -> u64 {
        let arrived = self.summaries.map_or(self.matched, |summaries| {
            summaries.delivered + summaries.lost
        });
        self.matched.saturating_sub(arrived)
    }

    fn is_balanced(&self) -> bool {
        let hooks = is_sum(self.seen, &[self.filtered_out, self.matched]);
        let summaries = self
            .summaries
            .is_none_or(|summaries| is_sum(self.matched, &[summaries.delivered, summaries.lost]));
        let frames = self.frames.is_none_or(|frames| {
            let Frames {
                sampled_out,
                written,
                ring_full,
                write_failed,
            } = frames;
            is_sum(
                self.matched,
                &[sampled_out, written, ring_full, write_failed],
            )
        });
        hooks && summaries && frames
    }
}

fn is_sum(total: u64, parts: &[u64]) -> bool {
    u128::from(total) == parts.iter().map(|part| u128::from(*part)).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BALANCED: Account = Account {
        seen: 110,
        filtered_out: 10,
        matched: 100,
        unparsed: 3,
        summaries: Some(Summaries {
            delivered: 95,
            lost: 5,
        }),
        frames: Some(Frames {
            sampled_out: 50,
            written: 40,
            ring_full: 7,
            write_failed: 3,
        }),
        excerpts_lost: 2,
        history_evicted: 60,
        is_running: false,
    };

    #[test]
    fn what_is_on_its_way_is_not_missing() {
        let running = Account {
            seen: 130,
            matched: 120,
            is_running: true,
            ..BALANCED
        };
        let ledger = running.balance();
        assert_eq!((ledger.in_flight, ledger.balanced), (Some(20), true));
        assert_eq!(BALANCED.balance().in_flight, None);
    }

    #[test]
    fn what_adds_up_is_balanced() {
        let ledger = BALANCED.balance();
        assert!(ledger.balanced);
        assert_eq!(
            (ledger.seen, ledger.filtered_out, ledger.matched),
            (110, 10, 100)
        );
        assert_eq!(
            (ledger.summaries_delivered, ledger.summaries_lost),
            (Some(95), Some(5))
        );
        assert_eq!((ledger.frames_sampled_out, ledger.frames_written), (50, 40));
        assert_eq!(
            (
                ledger.frames_lost.ring_full,
                ledger.frames_lost.write_failed
            ),
            (7, 3)
        );
        assert_eq!(
            (
                ledger.unparsed,
                ledger.excerpts_lost,
                ledger.history_evicted
            ),
            (3, 2, 60)
        );
    }

    #[test]
    fn a_frame_missing_at_the_hook_is_noticed() {
        assert!(
            !Account {
                seen: 111,
                ..BALANCED
            }
            .balance()
            .balanced
        );
        assert!(
            !Account {
                filtered_out: 9,
                ..BALANCED
            }
            .balance()
            .balanced
        );
    }

    #[test]
    fn a_missing_summary_is_noticed() {
        let summaries = Some(Summaries {
            delivered: 94,
            lost: 5,
        });
        assert!(
            !Account {
                summaries,
                ..BALANCED
            }
            .balance()
            .balanced
        );
    }

    #[test]
    fn a_missing_frame_of_the_file_is_noticed() {
        let frames = BALANCED.frames.unwrap();
        for wrong in [
            Frames {
                sampled_out: 49,
                ..frames
            },
            Frames {
                written: 41,
                ..frames
            },
            Frames {
                ring_full: 8,
                ..frames
            },
            Frames {
                write_failed: 2,
                ..frames
            },
        ] {
            let frames = Some(wrong);
            assert!(
                !Account { frames, ..BALANCED }.balance().balanced,
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn without_summaries_and_file_only_the_hook_must_add_up() {
        let account = Account {
            summaries: None,
            frames: None,
            ..BALANCED
        };
        let ledger = account.balance();
        assert!(ledger.balanced);
        assert_eq!(
            (ledger.summaries_delivered, ledger.summaries_lost),
            (None, None)
        );
        assert_eq!(ledger.frames_written, 0);
    }

    #[test]
    fn sums_that_overflow_are_not_balanced() {
        let account = Account {
            seen: 99,
            filtered_out: u64::MAX,
            ..BALANCED
        };
        assert!(!account.balance().balanced);
    }

    proptest! {
        #[test]
        fn any_single_error_is_noticed(
            filtered_out in 0u64..1000,
            parts in any::<[u16; 4]>(),
            lost in 0u64..1000,
            field in 0usize..9,
            error in 1u64..50,
        ) {
            let [sampled_out, written, ring_full, write_failed] = parts.map(u64::from);
            let matched = sampled_out + written + ring_full + write_failed;
            let lost = lost.min(matched);
            let mut numbers = [
                filtered_out + matched, filtered_out, matched,
                matched - lost, lost,
                sampled_out, written, ring_full, write_failed,
            ];
            prop_assert!(account(numbers).balance().balanced);
            numbers[field] += error;
            prop_assert!(!account(numbers).balance().balanced);
        }
    }

    fn account(numbers: [u64; 9]) -> Account {
        let [seen, filtered_out, matched, delivered, lost, frames @ ..] = numbers;
        let [sampled_out, written, ring_full, write_failed] = frames;
        Account {
            seen,
            filtered_out,
            matched,
            summaries: Some(Summaries { delivered, lost }),
            frames: Some(Frames {
                sampled_out,
                written,
                ring_full,
                write_failed,
            }),
            ..Account::default()
        }
    }
}
