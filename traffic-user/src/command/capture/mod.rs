//! `traffic capture`: from live interfaces to every output.

mod compare;
mod describe;
mod loss;
mod settings;
mod stop;
mod take;
mod watch;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

use self::{
    compare::OwnCounts,
    describe::{hooks, interface_row, notes, on_wire, promiscuous, source, statistics},
    settings::{planned, settings, snaplen},
    stop::{Signals, Ticks, at},
    take::{Take, open_file},
    watch::InterfaceWatch,
};
use super::{interfaces, output::Outputs, progress::Progress};
use crate::{
    cli::{CaptureArgs, DirectionArg, Hook},
    kernel::{HookChoice, Interface, Interfaces, LinkEvents, Promiscuous, Session},
    report::{
        Report,
        assemble::{self, Live, Run, RunTotals},
    },
};

/// Captures until the time is over, the count is reached, or a signal comes.
pub(super) async fn run(args: CaptureArgs) -> Result<ExitCode> {
    if args.list_interfaces {
        return interfaces::run().await;
    }
    let signals = Signals::new()?;
    let outputs = Outputs::new(&args.output, args.write.as_deref())?;
    let selected = Interfaces::list().await?.select(&args.interfaces)?;
    let mut capture = Capture::start(&args, &selected)?;
    if args.output.verbose > 0 {
        capture.own_counts = Some(OwnCounts::read(capture.session.attached()).await?);
    }
    capture.announce(&args);
    let end = capture.until_stopped(&args, signals).await?;
    let (report, failure) = capture.finish(&args, end).await?;
    if args.output.quiet == 0 {
        print_counts(&report);
    }
    outputs.write(&report)?;
    match failure {
        Some(failure) => Err(failure),
        None => loss::check(&report.ledger, args.max_loss).map(|()| ExitCode::SUCCESS),
    }
}

/// Why a capture ended.
enum End {
    /// As planned, or because it was told to.
    Done,
    /// The reader of the capture file on stdout went away.
    ReaderGone,
    /// Its last interface went away.
    InterfaceGone(String),
}

/// A running capture.
struct Capture {
    session: Session,
    take: Take,
    notes: Vec<String>,
    /// As they were before the gate opened; only with `-v`.
    own_counts: Option<OwnCounts>,
    _promiscuous: Vec<Promiscuous>,
}

impl Capture {
    fn start(args: &CaptureArgs, selected: &[Interface]) -> Result<Self> {
        let file = open_file(args, selected)?;
        let directions = match args.direction {
            DirectionArg::In => (true, false),
            DirectionArg::Out => (false, true),
            DirectionArg::Inout => (true, true),
        };
        let hook = match args.hook {
            Hook::Auto | Hook::Tc => HookChoice::Tc,
            Hook::Xdp => HookChoice::Xdp,
        };
        let session = Session::start(&settings(args), selected, hook, directions)?;
        let mut notes = notes(session.attached());
        let promiscuous = if args.no_promiscuous_mode {
            Vec::new()
        } else {
            promiscuous(selected, &mut notes)
        };
        Ok(Self {
            session,
            take: Take::new(args, selected, file),
            notes,
            own_counts: None,
            _promiscuous: promiscuous,
        })
    }

    /// Says what is being captured, as tcpdump does, and opens the gate.
    fn announce(&mut self, args: &CaptureArgs) {
        self.session.open();
        if args.output.quiet > 0 {
            return;
        }
        for attached in self.session.attached() {
            eprintln!(
                "listening on {} ({}), link-type {}, snapshot length {} bytes",
                attached.interface.name,
                hooks(attached),
                attached.interface.link_type(),
                snaplen(args)
            );
        }
        for note in &self.notes {
            eprintln!("note: {note}");
        }
    }

    /// Moves packets until something ends the capture.
    async fn until_stopped(&mut self, args: &CaptureArgs, mut signals: Signals) -> Result<End> {
        let planned = planned(args);
        let deadline = planned.map(|time| Instant::now() + time);
        let mut ticks = Ticks::new();
        let mut events = LinkEvents::subscribe()?;
        let mut watch = InterfaceWatch::new(self.session.attached());
        let mut progress = Progress::new(planned, args.output.quiet > 0);
        let mut more = false;
        let end = loop {
            tokio::select! {
                biased;
                () = signals.stop() => break End::Done,
                () = at(deadline) => break End::Done,
                event = events.next() => {
                    if let Some(message) = watch.follow(&event) {
                        progress.say(&message);
                    }
                    if let Some(name) = watch.all_gone() {
                        break End::InterfaceGone(name);
                    }
                }
                () = ticks.next() => {
                    self.session.flush_waiting();
                    more = self.session.drain(&mut self.take);
                    if let Some(end) = self.tick(&ticks, &mut progress)? {
                        break end;
                    }
                }
                readable = self.session.readable(), if !more => {
                    readable?;
                    more = self.session.drain(&mut self.take);
                }
                () = tokio::task::yield_now(), if more => {
                    more = self.session.drain(&mut self.take);
                }
            }
        };
        progress.finish();
        Ok(end)
    }

    /// What is done at every tick, once the ring was drained; the end if there is one.
    fn tick(&mut self, ticks: &Ticks, progress: &mut Progress) -> Result<Option<End>> {
        if let Some(step_ns) = self.session.tick_clock() {
            let note = format!(
                "the clock was set by {:+.3} s during the capture; time stamps follow it",
                Duration::from_nanos(step_ns.unsigned_abs()).as_secs_f64()
                    * if step_ns < 0 { -1.0 } else { 1.0 }
            );
            progress.say(&format!("note: {note}"));
            self.notes.push(note);
        }
        if let Some(file) = &mut self.take.file {
            file.flush(ticks.is_flush());
            if file.reader_is_gone() {
                return Ok(Some(End::ReaderGone));
            }
        }
        if progress.is_due() {
            progress.draw(&self.session.counters()?);
        }
        Ok((!self.session.is_open()).then_some(End::Done))
    }

    /// Closes the gate, takes what is left, detaches, and makes the report. Beside it the failure
    /// that the run is to end with, if any.
    async fn finish(
        mut self,
        args: &CaptureArgs,
        end: End,
    ) -> Result<(Report, Option<anyhow::Error>)> {
        let snapshot = self.session.close(&mut self.take)?;
        let started_ns = self.session.started_ns();
        let duration_ns = self.session.duration_ns();
        let attached = self.session.attached().to_vec();
        if let Some(before) = &self.own_counts {
            match OwnCounts::read(&attached).await {
                Ok(now) => self.notes.extend(now.since(before, &attached, &snapshot)),
                Err(error) => log::warn!("what the interfaces counted: {error}"),
            }
        }
        self.session.detach().await;
        let statistics = statistics(&snapshot, attached.len(), started_ns, duration_ns);
        let (written, mut failure) = match self.take.file {
            None => (None, None),
            Some(file) => {
                let (written, failure) = file.finish(&statistics);
                (Some(written), failure)
            }
        };
        if let End::InterfaceGone(name) = end {
            failure.get_or_insert_with(|| anyhow::anyhow!("{name} disappeared during the capture"));
        }
        let live = Live {
            started_ns,
            duration_ns,
            wire: on_wire(&snapshot, &attached),
            snapshot,
            summaries: !args.counters_only,
            written,
        };
        let run = Run {
            source: source(args),
            interfaces: attached.iter().map(interface_row).collect(),
            totals: RunTotals::Kernel(Box::new(live)),
            bins: args.output.bins,
            top: args.output.top,
            notes: self.notes,
        };
        Ok((assemble::report(self.take.stages, run), failure))
    }
}

/// tcpdump's closing lines.
fn print_counts(report: &Report) {
    let ledger = &report.ledger;
    let lost = ledger.summaries_lost.unwrap_or(0) + ledger.frames_lost.ring_full;
    eprintln!("{} packets captured", ledger.matched);
    eprintln!("{} packets received by filter", ledger.seen);
    eprintln!("{lost} packets dropped by kernel");
}
