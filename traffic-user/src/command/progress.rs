//! The line on the terminal while a capture runs.

use std::{
    fmt::Write as _,
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use traffic_ebpf::tally::{Counters, Tally};

use crate::{
    diagnostics,
    report::number::{bytes as bytes_text, clock, count, counted},
};

/// How often the line is drawn anew.
const PERIOD: Duration = Duration::from_millis(500);

/// A progress bar with rates and losses; nothing where stderr is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    planned: Option<Duration>,
    started: Instant,
    drawn: Instant,
    packets: u64,
    bytes: u64,
}

impl Progress {
    /// A bar for a run of `planned` length; `None` runs until it is stopped.
    pub(super) fn new(planned: Option<Duration>, quiet: bool) -> Self {
        let shown = !quiet && std::io::stderr().is_terminal();
        let target = if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let template = match planned {
            Some(_) => "{prefix} {wide_bar:.green} {msg}",
            None => "{prefix} {spinner}  {msg}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is constant");
        let length = planned.and_then(|time| u64::try_from(time.as_millis()).ok());
        let now = Instant::now();
        Self {
            bar: ProgressBar::with_draw_target(length, target).with_style(style),
            planned,
            started: now,
            drawn: now,
            packets: 0,
            bytes: 0,
        }
    }

    /// Whether it is time for [`Progress::draw`].
    pub(super) fn is_due(&self) -> bool {
        !self.bar.is_hidden() && self.drawn.elapsed() >= PERIOD
    }

    /// Shows rates since the last call, and what was lost so far.
    pub(super) fn draw(&mut self, counters: &[Counters], summaries_lost: u64) {
        let (mut packets, mut bytes, mut frames_lost) = (0, 0, 0);
        for place in counters {
            packets += place.tally(Tally::Matched);
            frames_lost += place.tally(Tally::FramesLost);
            bytes += place
                .protocols
                .as_flattened()
                .iter()
                .map(|count| count.bytes)
                .sum::<u64>();
        }
        let seconds = self.drawn.elapsed().as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate for the eye"
            )]
            let rate = (now.saturating_sub(before) as f64 / seconds) as u64;
            rate
        };
        let elapsed = self.started.elapsed();
        let mut message = self.planned.map_or_else(String::new, |planned| {
            format!("{} left  ", clock(planned.saturating_sub(elapsed)))
        });
        let _ = write!(
            message,
            "{}  {}/s  {}/s",
            counted(packets, "packet"),
            count(rate(packets, self.packets)),
            bytes_text(rate(bytes, self.bytes)),
        );
        for (what, lost) in [("summaries", summaries_lost), ("frames", frames_lost)] {
            if lost != 0 {
                let _ = write!(message, "  {} {what} lost", count(lost));
            }
        }
        (self.packets, self.bytes, self.drawn) = (packets, bytes, Instant::now());
        self.bar.set_prefix(clock(elapsed));
        self.bar
            .set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        self.bar.set_message(message);
        self.bar.tick();
    }

    /// Prints a line above the bar.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| diagnostics::say(line));
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
