//! `traffic capture`: from live interfaces to every output.

mod compare;
mod describe;
mod export;
mod file;
mod lines;
mod links;
mod live;
mod loss;
mod manager;
mod plan;
mod postrotate;
mod settings;
mod stop;
mod take;
mod watch;

use std::{path::Path, process::ExitCode, time::Instant as Clock};

use anyhow::Result;
use nix::unistd::User;
use tokio::time::Instant;
use traffic_ebpf::tally::{Counters, Tally};

use self::{
    compare::OwnCounts,
    describe::{clock_note, hooks, interface_row, notes, on_wire, promiscuous, source, statistics},
    export::Export,
    file::{CaptureFile, link_type},
    lines::Lines,
    live::Views,
    manager::Manager,
    settings::{joins, planned, settings, snaplen},
    stop::{Request, Signals, Ticks, at},
    take::Take,
    watch::InterfaceWatch,
};
use super::{
    confine,
    filter::{self, LiveFilter},
    interfaces, ipfix,
    output::Outputs,
    packet_log::PacketLog,
    progress::Progress,
};
use crate::{
    capture_file::{InterfaceStatistics, LinkType},
    cli::{CaptureArgs, DirectionArg, Hook},
    diagnostics,
    ipfix::Overflow,
    kernel::{Attached, HookChoice, Interface, Interfaces, LinkEvents, NetworkNamespace, Session},
    live::view::{FileSoFar, Moment},
    report::{
        Report,
        assemble::{self, Live, Run, RunTotals, Written},
    },
    sandbox::Policy,
    snapshot::Snapshot,
};

/// Captures until the time is over, the count is reached, or a signal comes.
pub(super) async fn run(mut args: CaptureArgs) -> Result<ExitCode> {
    if args.list_interfaces {
        return interfaces::run(args.netns.as_deref()).await;
    }
    args.filter.expression = filter::expression(&args.words, &args.filter)?;
    if args.dump_filter {
        return dump_filter(&args).await;
    }
    confine::protect_files(args.output.file_mode);
    let signals = Signals::new()?;
    // Before the namespace is entered, which may hide it.
    let mut manager = Manager::connect()?;
    // Before the namespace is entered: browsers are to reach it from where the program was started,
    // and it is to reach the collector from there.
    let mut views = Views::new(&args)?;
    let exporter = ipfix::open(&args.output.flows, Overflow::Lose)?;
    let namespace = enter(args.netns.as_deref())?;
    let export = export::prepare(&args)?;
    // First, so that no interface disappears unnoticed.
    let events = LinkEvents::subscribe()?;
    let selected = Interfaces::list().await?.select(&args.interfaces)?;
    let user = args.files.relinquish_privileges.as_deref();
    let user = user.map(postrotate::find_user).transpose()?;
    user.as_ref().map_or(Ok(()), postrotate::open_files_as)?;
    let lines = args.print.then_some(Path::new("-"));
    let others: Vec<_> = args
        .files
        .write
        .as_deref()
        .into_iter()
        .chain(lines)
        .collect();
    let mut outputs = Outputs::new(&args.output, &others)?;
    let mut capture = Capture::start(&args, &selected, events, namespace)?;
    if args.output.verbose > 0 {
        let now = capture.events.list().await?;
        capture.own_counts = Some(OwnCounts::of(capture.session.attached(), &now));
    }
    capture.confine(&args, user, &mut outputs)?;
    if let Some(exporter) = exporter {
        capture
            .take
            .export_flows(ipfix::begin(exporter)?, &selected);
    }
    if let Some(export) = export {
        capture.notes.extend(export.note.clone());
        capture.export = Some(export.start()?);
    }
    capture.announce(&args);
    capture.begin_export(&args)?;
    views.show(&args)?;
    manager.ready();
    let end = capture
        .until_stopped(&args, signals, &mut views, &mut manager)
        .await;
    manager.stopping();
    views.leave_terminal();
    let end = end?;
    let (report, failure) = capture.finish(&args, end, &mut views).await?;
    if args.output.quiet == 0 {
        print_counts(&report);
    }
    outputs.write(&report)?;
    match failure {
        Some(failure) => Err(failure),
        None => loss::check(&report.ledger, args.max_loss).map(|()| ExitCode::SUCCESS),
    }
}

/// Rows that tables of live views have at least, to sort and to search.
const LIVE_ROWS: usize = 50;

/// Prints the filter for the interfaces that were named; without a name, for Ethernet.
async fn dump_filter(args: &CaptureArgs) -> Result<ExitCode> {
    let link_types = if args.interfaces.is_empty() {
        vec![LinkType::ETHERNET]
    } else {
        enter(args.netns.as_deref())?;
        let selected = Interfaces::list().await?.select(&args.interfaces)?;
        selected.iter().map(link_type).collect()
    };
    let expression = args.filter.expression.as_deref().unwrap_or_default();
    LiveFilter::new(expression, link_types.into_iter())?.dump()
}

/// Enters the network namespace that was asked for, if one was.
fn enter(asked: Option<&str>) -> Result<Option<NetworkNamespace>> {
    Ok(asked.map(NetworkNamespace::enter).transpose()?)
}

/// Waits for the end of a namespace; for ever without one.
async fn ended(namespace: Option<&NetworkNamespace>) -> String {
    match namespace {
        Some(namespace) => namespace.ended().await,
        None => std::future::pending().await,
    }
}

/// Why a capture ended.
enum End {
    /// As planned, or because it was told to.
    Done,
    /// What was captured went away.
    Early(String),
}

/// A running capture.
struct Capture {
    session: Session,
    take: Take,
    notes: Vec<String>,
    events: LinkEvents,
    /// As they were before the gate opened; only with `-v`.
    own_counts: Option<OwnCounts>,
    export: Option<Export>,
    /// Link types of frames that can be taken.
    link_types: Vec<LinkType>,
    /// The one that it is in, where one was asked for.
    namespace: Option<NetworkNamespace>,
}

impl Capture {
    fn start(
        args: &CaptureArgs,
        selected: &[Interface],
        events: LinkEvents,
        namespace: Option<NetworkNamespace>,
    ) -> Result<Self> {
        // A filter that does not compile leaves an old file as it is.
        let (settings, link_types) = settings(args, selected)?;
        let file = CaptureFile::open(args, selected)?;
        let log = PacketLog::create(args.output.packets.as_deref())?;
        let directions = match args.direction {
            DirectionArg::In => (true, false),
            DirectionArg::Out => (false, true),
            DirectionArg::Inout => (true, true),
        };
        let hook = match args.hook {
            Hook::Auto | Hook::Tc => HookChoice::Tc,
            Hook::Xdp => HookChoice::Xdp,
        };
        let session = Session::start(&settings, selected, hook, directions)?;
        let mut notes = notes(session.attached());
        if !args.no_promiscuous_mode {
            notes.extend(promiscuous(&session, session.attached()));
        }
        Ok(Self {
            session,
            take: Take::new(args, selected, file, log),
            notes,
            events,
            own_counts: None,
            export: None,
            link_types,
            namespace,
        })
    }

    /// Gives up what the capture does not need from here on, in both of its processes.
    fn confine(&self, args: &CaptureArgs, user: Option<User>, outputs: &mut Outputs) -> Result<()> {
        let mut policy = Policy::default();
        outputs.hold(&mut policy)?;
        if let Some(file) = &self.take.file {
            file.needs(&mut policy);
        }
        live::needs(args, &mut policy);
        ipfix::needs(&args.output.flows, &mut policy);
        export::needs(&args.export, &mut policy);
        if !args.sandbox.no_sandbox {
            let user = user.as_ref().map(|user| user.uid);
            self.session.seal(joins(args), user)?;
        }
        if let Some(user) = user {
            policy.become_user(user);
        }
        confine::enter(&policy, args.sandbox)?;
        Ok(())
    }

    /// Says what is being captured, as tcpdump does, and opens the gate.
    fn announce(&mut self, args: &CaptureArgs) {
        self.session.open();
        if args.output.quiet > 0 {
            return;
        }
        let attached = self.session.attached().iter();
        for attached in attached.filter(|one| one.refused.is_none()) {
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
    async fn until_stopped(
        &mut self,
        args: &CaptureArgs,
        mut signals: Signals,
        views: &mut Views,
        manager: &mut Manager,
    ) -> Result<End> {
        let planned = planned(args);
        let deadline = planned.map(|time| Instant::now() + time);
        let mut ticks = Ticks::new();
        let mut watch = InterfaceWatch::new(self.session.attached(), joins(args));
        let mut progress = Progress::new(planned, args.output.quiet > 0 || args.live);
        let mut more = false;
        let end = loop {
            tokio::select! {
                biased;
                request = signals.next() => {
                    if self.follow(request, &progress)? {
                        break End::Done;
                    }
                }
                () = at(deadline) => break End::Done,
                () = views.stopped() => break End::Done,
                event = self.events.next() => {
                    if let Some(end) = self.follow_link(args, event, &mut watch, &progress)? {
                        break end;
                    }
                }
                message = ended(self.namespace.as_ref()) => break End::Early(message),
                () = ticks.next() => {
                    self.before_tick(&progress)?;
                    more = self.session.drain(&mut self.take);
                    self.take.tick(self.session.now_ns());
                    if self.tick(&ticks, more, &mut progress)? {
                        break End::Done;
                    }
                    if views.is_due() {
                        self.publish(args, views)?;
                    }
                    self.export(&progress)?;
                    if manager.is_due() {
                        manager.alive(&counts_so_far(&self.session.counters()?).join(", "));
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

    /// Does what a signal asks for; whether that is to end.
    fn follow(&mut self, request: Request, progress: &Progress) -> Result<bool> {
        match (request, &mut self.take.file) {
            (Request::HangUp, Some(file)) if file.rotates() => file.rotate(),
            (Request::Stop | Request::HangUp, _) => return Ok(true),
            (Request::Flush, Some(_)) => {
                self.session.drain(&mut self.take);
                if let Some(file) = &mut self.take.file {
                    file.flush();
                }
            }
            (Request::Flush, None) => {}
            (Request::Counts, _) => {
                for line in counts_so_far(&self.session.counters()?) {
                    progress.say(&line);
                }
            }
        }
        Ok(false)
    }

    /// Sends up what waits in the kernel, and follows the clock.
    fn before_tick(&mut self, progress: &Progress) -> Result<()> {
        self.session.check()?;
        self.session.flush_waiting();
        if let Some(step) = self.session.tick_clock() {
            if let Some(file) = &mut self.take.file {
                file.clock_was_set(step.step_ns);
            }
            let note = clock_note(step);
            progress.say(&format!("note: {note}"));
            self.notes.push(note);
        }
        Ok(())
    }

    /// What is done at every tick, with `more` in the ring; whether that is the end.
    fn tick(&mut self, ticks: &Ticks, more: bool, progress: &mut Progress) -> Result<bool> {
        if let Some(file) = &mut self.take.file {
            if !more {
                file.tick();
            }
            if file.is_stream() || ticks.is_flush() {
                file.flush();
            }
            if ticks.is_flush() {
                file.look_after();
            }
            if file.has_ended() {
                return Ok(true);
            }
        }
        if let Some(log) = &mut self.take.log {
            if ticks.is_flush() {
                log.flush();
            }
            if log.reader_is_gone() {
                return Ok(true);
            }
        }
        if let Some(lines) = &mut self.take.lines {
            lines.flush();
            if lines.has_ended() {
                return Ok(true);
            }
        }
        if progress.is_due() {
            let summaries_lost = self.session.summaries_lost()?;
            progress.draw(&self.session.counters()?, summaries_lost);
        }
        Ok(!self.session.is_open())
    }

    /// Enters the run into the list of captures.
    fn begin_export(&mut self, args: &CaptureArgs) -> Result<()> {
        if self.export.is_some() {
            let (report, _, _) = self.so_far(args)?;
            let started_ns = self.session.started_ns();
            if let Some(export) = &mut self.export {
                export.begin(started_ns, &report);
            }
        }
        Ok(())
    }

    /// Exports what was counted, when a bin has ended.
    fn export(&mut self, progress: &Progress) -> Result<()> {
        let elapsed_ns = self.session.elapsed_ns();
        let Some(export) = &mut self.export else {
            return Ok(());
        };
        if export.is_due(elapsed_ns) {
            let snapshot = self.session.running()?;
            let delivered = self.take.stages.delivered();
            export.bin(elapsed_ns, self.session.attached(), &snapshot, delivered);
        }
        for note in export.news() {
            progress.say(&format!("note: {note}"));
            self.notes.push(note);
        }
        Ok(())
    }

    /// Gives a report of what there is so far to the live views.
    fn publish(&mut self, args: &CaptureArgs, views: &mut Views) -> Result<()> {
        let begun = Clock::now();
        let (report, elapsed_ns, snapshot) = self.so_far(args)?;
        let moment = Moment {
            report,
            elapsed_ns,
            snapshot,
            ring_unread_bytes: self.session.take_most_unread(),
            file: self
                .take
                .file
                .as_ref()
                .map(CaptureFile::target)
                .and_then(FileSoFar::of),
        };
        views.publish(moment, begun);
        Ok(())
    }

    /// The report of what there is so far, how old the capture is, and what the kernel counted.
    fn so_far(&mut self, args: &CaptureArgs) -> Result<(Report, u64, Snapshot)> {
        let written = self.take.file.as_mut().map(CaptureFile::so_far);
        let elapsed_ns = self.session.elapsed_ns();
        let snapshot = self.session.running()?;
        let attached = self.session.attached();
        let live = Live {
            started_ns: self.session.started_ns(),
            duration_ns: elapsed_ns,
            wire: on_wire(&snapshot, attached),
            snapshot: snapshot.clone(),
            summaries: !args.counters_only,
            written,
            is_running: true,
        };
        let run = Run {
            top: args.output.top.max(LIVE_ROWS),
            ..run_of(args, attached, live, self.notes.clone())
        };
        let mut report = assemble::so_far(&mut self.take.stages, run);
        ipfix::enter(&mut report.ledger, self.take.exported());
        Ok((report, elapsed_ns, snapshot))
    }

    /// Closes the gate, takes what is left, detaches, and makes the report. Beside it the failure
    /// that the run is to end with, if any.
    async fn finish(
        mut self,
        args: &CaptureArgs,
        end: End,
        views: &mut Views,
    ) -> Result<(Report, Option<anyhow::Error>)> {
        let snapshot = self.session.close(&mut self.take)?;
        let exported = self.take.finish();
        let started_ns = self.session.started_ns();
        let duration_ns = self.session.duration_ns();
        let attached = self.session.attached().to_vec();
        let now = self.events.list().await.unwrap_or_else(|error| {
            log::warn!("{error}");
            Interfaces::default()
        });
        if let Some(before) = &self.own_counts {
            let own = OwnCounts::of(&attached, &now);
            self.notes.extend(own.since(before, &attached, &snapshot));
        }
        self.session.detach();
        let last = (views.is_watched() || self.export.is_some()).then(|| snapshot.clone());
        let target = self.take.file.as_ref().map(CaptureFile::target);
        let statistics = statistics(&snapshot, &attached, &now, started_ns, duration_ns);
        let (written, mut failure) = frames_taken(self.take.file, self.take.lines, &statistics);
        if let Some(Err(error)) = self.take.log.map(PacketLog::finish) {
            failure.get_or_insert(error);
        }
        if let End::Early(message) = end {
            failure.get_or_insert_with(|| anyhow::anyhow!("{message} during the capture"));
        }
        let live = Live {
            started_ns,
            duration_ns,
            wire: on_wire(&snapshot, &attached),
            snapshot,
            summaries: !args.counters_only,
            written,
            is_running: false,
        };
        let run = run_of(args, &attached, live, self.notes);
        let mut report = assemble::report(self.take.stages, run);
        ipfix::enter(&mut report.ledger, exported);
        if let (Some(export), Some(snapshot)) = (self.export, &last) {
            export.finish(duration_ns, &attached, snapshot, &mut report);
        }
        if let Some(snapshot) = last {
            let moment = Moment {
                report: report.clone(),
                elapsed_ns: duration_ns,
                snapshot,
                ring_unread_bytes: 0,
                file: target.and_then(FileSoFar::of),
            };
            views.publish(moment, Clock::now());
        }
        Ok((report, failure))
    }
}

fn run_of(args: &CaptureArgs, attached: &[Attached], live: Live, notes: Vec<String>) -> Run {
    Run {
        source: source(args),
        interfaces: attached.iter().map(interface_row).collect(),
        totals: RunTotals::Kernel(Box::new(live)),
        bins: args.output.bins,
        top: args.output.top,
        notes,
    }
}

/// What became of the frames: they are written where there is a file, else printed.
fn frames_taken(
    file: Option<CaptureFile>,
    lines: Option<Lines>,
    statistics: &[InterfaceStatistics],
) -> (Option<Written>, Option<anyhow::Error>) {
    let printed = lines.map(Lines::finish);
    match (file, printed) {
        (None, None) => (None, None),
        (Some(file), printed) => {
            let (written, failure) = file.finish(statistics);
            (
                Some(written),
                failure.or(printed.and_then(|(_, failure)| failure)),
            )
        }
        (None, Some((frames, failure))) => (Some(Written { frames, failed: 0 }), failure),
    }
}

/// tcpdump's closing lines.
fn print_counts(report: &Report) {
    let ledger = &report.ledger;
    let lost = ledger.summaries_lost.unwrap_or(0) + ledger.frames_lost.ring_full;
    for line in count_lines(ledger.matched, ledger.seen, lost) {
        diagnostics::say(&line);
    }
}

fn count_lines(matched: u64, seen: u64, lost: u64) -> [String; 3] {
    [
        format!("{matched} packets captured"),
        format!("{seen} packets received by filter"),
        format!("{lost} packets dropped by kernel"),
    ]
}

/// The same lines while the capture goes on; lost are frames, because only the end tells how many
/// summaries are.
fn counts_so_far(counters: &[Counters]) -> [String; 3] {
    let sum = |tally| counters.iter().map(|place| place.tally(tally)).sum();
    count_lines(
        sum(Tally::Matched),
        sum(Tally::Seen),
        sum(Tally::FramesLost),
    )
}
