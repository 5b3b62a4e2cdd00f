//! What a capture does until it ends.

use anyhow::Result;
use tokio::time::Instant;
use traffic_ebpf::tally::{Counters, Tally};

use super::{
    Capture, End,
    describe::clock_note,
    file::CaptureFile,
    file_statistics::LeftOut,
    finish::count_lines,
    lines::Lines,
    settings::planned,
    stop::{Request, Ticks, at},
};
use crate::{command::packet_log::PacketLog, kernel::NetworkNamespace};

impl Capture<'_> {
    /// Moves packets until something ends the capture.
    pub(super) async fn until_stopped(&mut self) -> Result<End> {
        let end = self.follow_events().await;
        self.progress.finish();
        self.outside.manager.stopping();
        self.outside.views.leave_terminal();
        end
    }

    async fn follow_events(&mut self) -> Result<End> {
        let deadline = planned(self.args).map(|time| Instant::now() + time);
        let mut ticks = Ticks::new();
        let mut more = false;
        loop {
            let prompt = self.is_followed();
            tokio::select! {
                biased;
                request = self.outside.signals.next() => {
                    if self.follow(request)? {
                        return Ok(End::Done);
                    }
                }
                () = at(deadline) => return Ok(End::Done),
                () = self.outside.views.stopped() => return Ok(End::Done),
                event = self.events.next() => {
                    if let Some(end) = self.follow_link(event)? {
                        return Ok(end);
                    }
                }
                message = ended(self.namespace.as_ref()) => return Ok(End::Early(message)),
                ticked = ticks.next(prompt) => {
                    ticked?;
                    let counters = self.due_counters()?;
                    self.account(&ticks, counters.as_deref()).await?;
                    more = self.tick(&ticks, counters.as_deref())?;
                    if self.has_ended() {
                        return Ok(End::Done);
                    }
                }
                readable = self.session.readable(), if !more => {
                    readable?;
                    more = self.drain();
                }
                () = tokio::task::yield_now(), if more => {
                    more = self.drain();
                }
            }
        }
    }

    /// Whether somebody follows the capture, who is not to wait.
    fn is_followed(&self) -> bool {
        self.take.is_followed() || self.outside.views.is_watched()
    }

    /// Does what a signal asks for; whether that is to end.
    fn follow(&mut self, request: Request) -> Result<bool> {
        match (request, &mut self.take.file) {
            (Request::HangUp, Some(file)) if file.rotates() => file.rotate(),
            (Request::Stop | Request::HangUp, _) => return Ok(true),
            (Request::Flush, Some(_)) => {
                self.drain();
                if let Some(file) = &mut self.take.file {
                    file.flush();
                }
            }
            (Request::Flush, None) => {}
            (Request::Counts, _) => {
                for line in counts_so_far(&self.session.counters()?) {
                    self.progress.say(&line);
                }
            }
        }
        Ok(false)
    }

    /// Takes what is in the ring; whether there is more.
    fn drain(&mut self) -> bool {
        let settled_ns = self.session.settled_ns();
        let more = self.session.drain(&mut self.take);
        if !more {
            self.take.settle(settled_ns);
        }
        more
    }

    /// The kernel's counters, where somebody is to be told of them at this tick: reading them is a
    /// request to the process that holds the hooks.
    fn due_counters(&self) -> Result<Option<Vec<Counters>>> {
        let file = self.take.file.as_ref();
        let is_due = file.is_some_and(CaptureFile::rotates)
            || self.progress.is_due()
            || self.outside.manager.is_due();
        Ok(is_due.then(|| self.session.counters()).transpose()?)
    }

    /// Does what is done regularly; whether there is more in the ring.
    fn tick(&mut self, ticks: &Ticks, counters: Option<&[Counters]>) -> Result<bool> {
        self.session.check()?;
        self.session.flush_waiting();
        self.follow_clock();
        let more = self.drain();
        self.take.tick(self.session.now_ns());
        self.tick_outputs(ticks.is_flush(), more);
        if let Some(counters) = counters.filter(|_| self.progress.is_due()) {
            let summaries_lost = self.session.summaries_lost()?;
            self.progress.draw(counters, summaries_lost);
        }
        if self.outside.views.is_due() {
            self.publish()?;
        }
        self.export_bin()?;
        if let Some(counters) = counters.filter(|_| self.outside.manager.is_due()) {
            let counts = counts_so_far(counters).join(", ");
            self.outside.manager.alive(&counts);
        }
        Ok(more)
    }

    /// Tells the file at hand, where it is not the only one, what is in none.
    async fn account(&mut self, ticks: &Ticks, counters: Option<&[Counters]>) -> Result<()> {
        let file = self.take.file.as_mut().filter(|file| file.rotates());
        let (Some(file), Some(places)) = (file, counters) else {
            return Ok(());
        };
        // The list of all interfaces of the machine is not for every tick.
        let now = if ticks.is_flush() {
            self.events.list().await.ok()
        } else {
            None
        };
        let attached = self.session.attached();
        file.learn(&LeftOut::of_interfaces(places, attached, now.as_ref()));
        Ok(())
    }

    /// Notes when the clock was set, or the machine slept.
    fn follow_clock(&mut self) {
        let Some(step) = self.session.tick_clock() else {
            return;
        };
        if let Some(file) = &mut self.take.file {
            file.clock_was_set(step.step_ns);
        }
        self.note(clock_note(step));
    }

    /// Hands on what the outputs gathered: every time where a reader waits for it, else when it is
    /// time to `flush`. Frames wait while there is `more` to come.
    fn tick_outputs(&mut self, flush: bool, more: bool) {
        if let Some(file) = &mut self.take.file {
            if !more {
                file.tick();
            }
            if file.is_stream() || flush {
                file.flush();
            }
            if flush {
                file.look_after();
            }
        }
        if let Some(log) = self.take.log.as_mut().filter(|_| flush) {
            log.flush();
        }
        if let Some(lines) = &mut self.take.lines {
            lines.flush();
        }
    }

    /// Whether the kernel has counted enough, or an output takes no more.
    fn has_ended(&self) -> bool {
        let take = &self.take;
        take.file.as_ref().is_some_and(CaptureFile::has_ended)
            || take.log.as_ref().is_some_and(PacketLog::reader_is_gone)
            || take.lines.as_ref().is_some_and(Lines::has_ended)
            || !self.session.is_open()
    }

    /// Tells the user something now, and again in the report.
    pub(super) fn note(&mut self, note: String) {
        self.progress.say(&format!("note: {note}"));
        self.notes.push(note);
    }
}

/// tcpdump's closing lines while the capture goes on; lost are frames, because only the end tells
/// how many summaries are.
fn counts_so_far(counters: &[Counters]) -> [String; 3] {
    let sum = |tally| counters.iter().map(|place| place.tally(tally)).sum();
    count_lines(
        sum(Tally::Matched),
        sum(Tally::Seen),
        sum(Tally::FramesLost),
    )
}

/// Waits for the end of a namespace; for ever without one.
async fn ended(namespace: Option<&NetworkNamespace>) -> String {
    match namespace {
        Some(namespace) => namespace.ended().await,
        None => std::future::pending().await,
    }
}
