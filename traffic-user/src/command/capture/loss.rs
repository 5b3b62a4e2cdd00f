//! `--max-loss`: how much may be missing before a run counts as failed.

use anyhow::{Result, bail};

use crate::report::Ledger;

/// Compares what was lost with what is allowed, in percent.
///
/// # Errors
/// When more of the summaries, or more of the frames that were to be written, was lost.
pub(super) fn check(ledger: &Ledger, allowed: Option<f64>) -> Result<()> {
    let Some(allowed) = allowed else {
        return Ok(());
    };
    let frames_lost = ledger.frames_lost.ring_full + ledger.frames_lost.write_failed;
    let losses = [
        (
            "summaries",
            ledger.summaries_lost.unwrap_or(0),
            ledger.matched,
        ),
        (
            "frames",
            frames_lost,
            ledger.frames_written.saturating_add(frames_lost),
        ),
    ];
    for (what, lost, of) in losses {
        let share = percentage(lost, of);
        if share > allowed {
            bail!("{lost} of {of} {what} lost: {share:.3} % (--max-loss allows {allowed} %)");
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a share of a hundred")]
fn percentage(part: u64, whole: u64) -> f64 {
    if part == 0 {
        return 0.0;
    }
    100.0 * part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::FramesLost;

    fn ledger() -> Ledger {
        Ledger {
            matched: 1000,
            summaries_delivered: Some(990),
            summaries_lost: Some(10),
            frames_sampled_out: 900,
            frames_written: 95,
            frames_lost: FramesLost {
                ring_full: 3,
                write_failed: 2,
            },
            ..Ledger::default()
        }
    }

    #[test]
    fn what_is_allowed_may_be_lost() {
        assert!(check(&ledger(), None).is_ok());
        assert!(check(&ledger(), Some(5.0)).is_ok());
        assert!(check(&Ledger::default(), Some(0.0)).is_ok());
    }

    #[test]
    fn frames_are_measured_against_those_that_were_to_be_written() {
        let error = check(&ledger(), Some(4.9)).unwrap_err().to_string();
        assert!(
            error.starts_with("5 of 100 frames lost: 5.000 %"),
            "{error}"
        );
    }

    #[test]
    fn summaries_are_measured_against_what_matched() {
        let error = check(&ledger(), Some(0.9)).unwrap_err().to_string();
        assert!(error.starts_with("10 of 1000 summaries lost"), "{error}");
    }
}
