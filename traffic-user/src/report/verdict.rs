//! Whether a report misses anything, in the words that stand first in it.

use super::{
    Report, Sampled, Source,
    number::{count, counted, percent},
};

/// How much the reader may rely on the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completeness {
    /// Nothing to report on.
    Nothing,
    /// Everything that was asked for is there.
    Complete,
    /// Something was lost, and the report says what.
    Lossy,
    /// The ledger contradicts itself: no number can be relied on.
    Unbalanced,
}

/// The headline of a report.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// What the sentences amount to.
    pub(crate) completeness: Completeness,
    /// The most important first.
    pub(crate) sentences: Vec<String>,
}

/// Judges `report` by its ledger.
pub(crate) fn of(report: &Report) -> Verdict {
    let ledger = &report.ledger;
    let losses = losses(report);
    if !ledger.balanced {
        return Verdict {
            completeness: Completeness::Unbalanced,
            sentences: [vec![unbalanced(report)], losses].concat(),
        };
    }
    if !losses.is_empty() {
        return Verdict {
            completeness: Completeness::Lossy,
            sentences: losses,
        };
    }
    if ledger.matched == 0 {
        return Verdict {
            completeness: Completeness::Nothing,
            sentences: nothing(report),
        };
    }
    Verdict {
        completeness: Completeness::Complete,
        sentences: report
            .sampled
            .map(estimates)
            .into_iter()
            .chain([complete(report)])
            .collect(),
    }
}

fn estimates(sampled: Sampled) -> String {
    format!(
        "Estimates: one frame in {0} was written. Counts and rates below are those of {1} frames, \
         times {0}.",
        sampled.sample,
        count(sampled.packets)
    )
}

fn unbalanced(report: &Report) -> String {
    let ledger = &report.ledger;
    format!(
        "The ledger does not balance: {} frames seen, {} filtered out, {} matched. Do not rely on these numbers.",
        count(ledger.seen),
        count(ledger.filtered_out),
        count(ledger.matched)
    )
}

fn nothing(report: &Report) -> Vec<String> {
    if report.ledger.in_flight.is_some() {
        return vec!["Running: no packets yet.".to_owned()];
    }
    let mut sentences = vec!["No packets captured. No data to analyze.".to_owned()];
    if report.ledger.filtered_out > 0 {
        sentences.push(format!(
            "{} went past; the filter left out all there was.",
            counted(report.ledger.filtered_out, "frame")
        ));
    }
    sentences
}

fn complete(report: &Report) -> String {
    if report.ledger.in_flight.is_some() {
        return format!(
            "Running: every one of {} so far was counted, nothing was lost.",
            counted(report.ledger.matched, "frame")
        );
    }
    let frames = match report.ledger.matched {
        1 => "the one frame".to_owned(),
        matched => format!("every one of {} frames", count(matched)),
    };
    match (&report.source, report.ledger.summaries_delivered) {
        (Source::Files { .. }, _) => format!("Complete: {frames} was read and summarised."),
        (Source::Fleet { .. }, _) => format!("Complete: {frames} was counted and stored."),
        (Source::Capture { .. }, Some(_)) => {
            format!("Complete: {frames} was counted and summarised.")
        }
        (Source::Capture { .. }, None) => format!(
            "Complete: {frames} was counted. Summaries were not asked for, so there are no per-address tables."
        ),
    }
}

fn losses(report: &Report) -> Vec<String> {
    let ledger = &report.ledger;
    let mut sentences = Vec::new();
    if let Some(lost) = ledger.export_lost.filter(|&lost| lost > 0) {
        sentences.push(format!(
            "{} of {} rows for the database were lost: the spool was full.",
            count(lost),
            count(ledger.export_rows.unwrap_or(0))
        ));
    }
    if let Some(lost) = ledger.summaries_lost.filter(|&lost| lost > 0) {
        sentences.push(format!(
            "{} of {} summaries lost ({}): counts and histogram are exact, per-address tables are lower bounds.",
            count(lost),
            count(ledger.matched),
            percent(lost, ledger.matched)
        ));
    }
    let frames = &ledger.frames_lost;
    let frames_lost = frames.ring_full + frames.write_failed;
    if frames_lost > 0 {
        sentences.push(format!(
            "{} missing from the capture file: {} found the ring full, {} could not be written.",
            counted(frames_lost, "frame"),
            count(frames.ring_full),
            count(frames.write_failed)
        ));
    }
    if let Some(lost) = ledger.ipfix_lost.filter(|&lost| lost > 0) {
        sentences.push(format!(
            "{} did not reach the IPFIX collector.",
            counted(lost, "flow record")
        ));
    }
    if ledger.excerpts_lost > 0 {
        sentences.push(format!(
            "{} lost: DNS names are lower bounds.",
            counted(ledger.excerpts_lost, "DNS, ARP or fragment excerpt")
        ));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn loss_comes_first() {
        let verdict = of(&example::with_losses());
        assert_eq!(verdict.completeness, Completeness::Lossy);
        assert!(verdict.sentences[0].starts_with("424 of "));
        assert!(verdict.sentences[0].contains("lower bounds"));
        assert!(verdict.sentences[1].starts_with("30 frames missing"));
        assert!(verdict.sentences[2].starts_with("3 DNS, ARP or fragment excerpts"));
    }

    #[test]
    fn nothing_lost_is_complete() {
        let verdict = of(&example::report());
        assert_eq!(verdict.completeness, Completeness::Complete);
        assert_eq!(verdict.sentences.len(), 1);
    }

    #[test]
    fn a_ledger_that_does_not_balance_is_never_complete() {
        for mut report in [example::report(), example::empty(), example::with_losses()] {
            report.ledger.balanced = false;
            let verdict = of(&report);
            assert_eq!(verdict.completeness, Completeness::Unbalanced);
            assert!(verdict.sentences[0].contains("does not balance"));
        }
    }

    #[test]
    fn no_packets_are_no_fault() {
        let mut report = example::empty();
        report.ledger.seen = 12;
        report.ledger.filtered_out = 12;
        let verdict = of(&report);
        assert_eq!(verdict.completeness, Completeness::Nothing);
        assert_eq!(
            verdict.sentences[0],
            "No packets captured. No data to analyze."
        );
        assert!(verdict.sentences[1].starts_with("12 frames"));
    }
}
