//! `traffic capture`: from live interfaces to every output.

use std::{
    future::pending,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use traffic_ebpf::{
    parse::Link,
    record::{FLAG_EGRESS, FrameHeader},
    tally::{Count, Tally},
};

use super::{UsageError, interfaces, output::Outputs, progress::Progress, selection::selection};
use crate::{
    capture_file::{
        CaptureWriter, Format, InterfaceDescription, InterfaceStatistics, LinkType, WriteError,
    },
    cli::{CaptureArgs, DEFAULT_SNAPLEN, DirectionArg, Hook},
    kernel::{
        self, Attached, HookChoice, HookKind, Interface, Interfaces, LinkEvent, LinkEvents,
        Promiscuous, Session, Settings, Sink,
    },
    record::{Direction, PacketRecord},
    report::{
        Report, Source,
        assemble::{self, Live, Run, RunTotals, Written},
    },
    snapshot::Snapshot,
    stages::Stages,
};

/// How often waiting batches are sent up, the file is flushed and the clock is looked at. A
/// packet on an idle link is in the live data after at most two ticks.
const TICK: Duration = Duration::from_millis(40);
/// Ticks between two flushes of the capture file: a killed capture loses at most a second.
const TICKS_PER_FLUSH: u32 = 20;

/// Captures until the time is over, the count is reached, or a signal comes.
pub(super) async fn run(args: CaptureArgs) -> Result<ExitCode> {
    if args.list_interfaces {
        return interfaces::run().await;
    }
    let signals = Signals::new()?;
    let outputs = Outputs::new(&args.output, args.write.as_deref())?;
    let selected = Interfaces::list().await?.select(&args.interfaces)?;
    let mut capture = Capture::start(&args, &selected)?;
    capture.announce(&args);
    let end = capture.until_stopped(&args, signals).await?;
    let (report, failure) = capture.finish(&args, end).await?;
    if args.output.quiet == 0 {
        print_counts(&report);
    }
    outputs.write(&report)?;
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => Err(failure),
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
        let take = Take {
            stages: Stages::for_capture(args.output.history),
            links: selected.iter().map(excerpt_link).collect(),
            file,
        };
        Ok(Self {
            session,
            take,
            notes,
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
                    if let Some(end) = self.tick(&ticks, &mut progress)? {
                        break end;
                    }
                    more = self.session.drain(&mut self.take);
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

    /// What is done at every tick; the end if there is one.
    fn tick(&mut self, ticks: &Ticks, progress: &mut Progress) -> Result<Option<End>> {
        self.session.flush_waiting();
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
            if ticks.is_flush() {
                file.flush();
            }
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

/// What takes the items of the ring.
struct Take {
    stages: Stages,
    /// What frames of each interface begin with.
    links: Vec<Link>,
    file: Option<CaptureFile>,
}

impl Sink for Take {
    fn packets(&mut self, records: &[PacketRecord]) {
        self.stages.packets(records);
    }

    fn frame(&mut self, header: &FrameHeader, data: &[u8]) {
        if let Some(file) = &mut self.file {
            file.write(header, data);
        }
    }

    fn excerpt(&mut self, header: &FrameHeader, data: &[u8]) {
        if let Some(&link) = self.links.get(usize::from(header.interface)) {
            self.stages.excerpt(data, link);
        }
    }
}

/// The capture file. The first failure ends writing; counting goes on.
struct CaptureFile {
    writer: CaptureWriter,
    path: String,
    /// Frames that came up the ring.
    offered: u64,
    failure: Option<WriteError>,
}

impl CaptureFile {
    fn write(&mut self, header: &FrameHeader, data: &[u8]) {
        self.offered += 1;
        if self.failure.is_some() {
            return;
        }
        let direction = if header.flags & FLAG_EGRESS == 0 {
            Direction::Ingress
        } else {
            Direction::Egress
        };
        let result = self.writer.write_frame(
            header.interface,
            header.timestamp_ns,
            header.wire_len,
            direction,
            data,
        );
        self.note(result);
    }

    fn flush(&mut self) {
        if self.failure.is_none() {
            let result = self.writer.flush();
            self.note(result);
        }
    }

    fn note(&mut self, result: Result<(), WriteError>) {
        let Err(error) = result else { return };
        if !is_broken_pipe(&error) {
            eprintln!(
                "error: write {}: {error} (counting goes on, no more frames are written)",
                self.path
            );
        }
        self.failure = Some(error);
    }

    fn reader_is_gone(&self) -> bool {
        self.failure.as_ref().is_some_and(is_broken_pipe)
    }

    fn finish(mut self, statistics: &[InterfaceStatistics]) -> (Written, Option<anyhow::Error>) {
        if self.failure.is_none() {
            let result = self.writer.finish(statistics);
            self.note(result);
        }
        let frames = self.writer.frames_written();
        let written = Written {
            frames,
            failed: self.offered - frames,
        };
        let failure = self.failure.filter(|error| !is_broken_pipe(error));
        let failure = failure.map(|error| {
            anyhow::Error::new(error).context(format!(
                "{} holds {frames} of {} frames",
                self.path, self.offered
            ))
        });
        (written, failure)
    }
}

fn is_broken_pipe(error: &WriteError) -> bool {
    std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    })
    .filter_map(|error| error.downcast_ref::<std::io::Error>())
    .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn open_file(args: &CaptureArgs, selected: &[Interface]) -> Result<Option<CaptureFile>> {
    let Some(target) = &args.write else {
        return Ok(None);
    };
    if args.hook == Hook::Xdp && !kernel::xdp_can_copy_frames() {
        bail!("copying frames at XDP needs Linux 5.18 (write with --hook tc)");
    }
    let first = selected.first().map(Interface::link_type);
    let mixed = selected
        .iter()
        .any(|interface| Some(interface.link_type()) != first);
    if mixed && Format::of(target) == Format::Pcap {
        let message = "a .pcap file holds one link type, and the interfaces have several \
                       (name the file .pcapng)";
        return Err(UsageError(message.to_owned()).into());
    }
    let interfaces: Vec<_> = selected
        .iter()
        .map(|interface| InterfaceDescription {
            name: interface.name.clone(),
            link_type: link_type(interface),
            snaplen: snaplen(args),
            filter: filter_text(args),
            sample: args.sample,
        })
        .collect();
    let path = target.display().to_string();
    let writer =
        CaptureWriter::create(target, &interfaces).with_context(|| format!("write {path}"))?;
    Ok(Some(CaptureFile {
        writer,
        path,
        offered: 0,
        failure: None,
    }))
}

fn link_type(interface: &Interface) -> LinkType {
    if interface.has_ethernet_headers() {
        LinkType::ETHERNET
    } else {
        LinkType::RAW
    }
}

fn excerpt_link(interface: &Interface) -> Link {
    if interface.has_ethernet_headers() {
        Link::Ethernet(None)
    } else {
        Link::Ip
    }
}

fn settings(args: &CaptureArgs) -> Settings {
    Settings {
        selection: selection(&args.protocols),
        count: args.count,
        snaplen: if args.write.is_some() {
            snaplen(args)
        } else {
            0
        },
        sample: args.sample,
        summaries: !args.counters_only,
        ring_bytes: args.buffer_size,
        planned: planned(args),
        bins: args.output.bins,
        diagnostics: args.output.verbose > 1,
    }
}

/// The planned length; `None` = until stopped.
fn planned(args: &CaptureArgs) -> Option<Duration> {
    (!args.duration.is_zero()).then_some(args.duration)
}

fn snaplen(args: &CaptureArgs) -> u32 {
    if args.snapshot_length == 0 {
        DEFAULT_SNAPLEN
    } else {
        args.snapshot_length
    }
}

/// `--protocol` as the report shows it; empty for everything.
fn filter_text(args: &CaptureArgs) -> String {
    if selection(&args.protocols).is_everything() {
        return String::new();
    }
    let names: Vec<String> = args
        .protocols
        .iter()
        .map(|protocol| format!("{protocol:?}").to_lowercase())
        .collect();
    names.join(" or ")
}

fn source(args: &CaptureArgs) -> Source {
    Source::Capture {
        filter: filter_text(args),
        sample: args.sample,
        snaplen: snaplen(args),
        host: kernel::hostname(),
        kernel: kernel::kernel_release(),
    }
}

fn interface_row(attached: &Attached) -> assemble::Interface {
    let label = |hook: Option<HookKind>| hook.map(|hook| hook.label().to_owned());
    assemble::Interface {
        name: attached.interface.name.clone(),
        ifindex: attached.interface.ifindex,
        link_type: attached.interface.link_type().to_owned(),
        ingress_hook: label(attached.ingress),
        egress_hook: label(attached.egress),
    }
}

fn hooks(attached: &Attached) -> String {
    let ingress = attached
        .ingress
        .map(|hook| format!("ingress {}", hook.label()));
    let egress = attached
        .egress
        .map(|hook| format!("egress {}", hook.label()));
    ingress
        .into_iter()
        .chain(egress)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What a reader of the numbers must know about where they were counted.
fn notes(attached: &[Attached]) -> Vec<String> {
    let mut notes = Vec::new();
    if attached.len() > 1 {
        notes.push(
            "a packet that crosses several of these interfaces is counted at each".to_owned(),
        );
    }
    for Attached {
        interface,
        ingress,
        egress,
    } in attached
    {
        let name = &interface.name;
        if interface.is_loopback() && egress.is_none() {
            notes.push(format!(
                "{name} is counted on ingress only: what leaves it arrives on it"
            ));
        }
        let xdp = ingress.is_some_and(|hook| !hook.is_tc());
        if xdp && kernel::receive_vlan_offload(name).unwrap_or(false) {
            notes.push(format!(
                "{name} strips VLAN tags before XDP can see them: tagged frames look untagged \
                 (ethtool -K {name} rxvlan off, or --hook tc)"
            ));
        }
        if *ingress == Some(HookKind::XdpGeneric) {
            notes.push(format!(
                "the driver of {name} takes no XDP program: generic XDP is used"
            ));
        }
    }
    notes
}

/// Asks for promiscuous mode; one note where it is not allowed.
fn promiscuous(selected: &[Interface], notes: &mut Vec<String>) -> Vec<Promiscuous> {
    let mut held = Vec::new();
    for interface in selected
        .iter()
        .filter(|interface| interface.has_ethernet_headers())
    {
        match Promiscuous::new(interface.ifindex) {
            Ok(promiscuous) => held.push(promiscuous),
            Err(error) => {
                notes.push(format!(
                    "no promiscuous mode on {}, which needs CAP_NET_RAW: {error} (-p asks for none)",
                    interface.name
                ));
                break;
            }
        }
    }
    held
}

/// Packets on the wire; `None` when a hook cannot know them.
fn on_wire(snapshot: &Snapshot, attached: &[Attached]) -> Option<Count> {
    let all_know = attached
        .iter()
        .flat_map(|attached| [attached.ingress, attached.egress])
        .flatten()
        .all(HookKind::is_tc);
    all_know.then(|| Count {
        packets: snapshot.tally(Tally::WirePackets),
        bytes: snapshot.tally(Tally::WireBytes),
    })
}

/// Interface statistics of the capture file.
fn statistics(
    snapshot: &Snapshot,
    interfaces: usize,
    start_ns: u64,
    duration_ns: u64,
) -> Vec<InterfaceStatistics> {
    let sum = |number: usize, tally: Tally| -> u64 {
        let places = snapshot.places.iter().skip(number * 2).take(2);
        places.map(|counters| counters.tally(tally)).sum()
    };
    (0..interfaces)
        .map(|number| InterfaceStatistics {
            start_ns,
            end_ns: start_ns + duration_ns,
            received: sum(number, Tally::Seen),
            accepted: sum(number, Tally::Matched),
            dropped: sum(number, Tally::FramesLost),
        })
        .collect()
}

/// tcpdump's closing lines.
fn print_counts(report: &Report) {
    let ledger = &report.ledger;
    let lost = ledger.summaries_lost.unwrap_or(0) + ledger.frames_lost.ring_full;
    eprintln!("{} packets captured", ledger.matched);
    eprintln!("{} packets received by filter", ledger.seen);
    eprintln!("{lost} packets dropped by kernel");
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// Regular work.
struct Ticks {
    interval: Interval,
    count: u32,
}

impl Ticks {
    fn new() -> Self {
        let mut interval = interval(TICK);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, count: 0 }
    }

    async fn next(&mut self) {
        self.interval.tick().await;
        self.count = self.count.wrapping_add(1);
    }

    fn is_flush(&self) -> bool {
        self.count.is_multiple_of(TICKS_PER_FLUSH)
    }
}

/// SIGINT, SIGTERM and SIGHUP end the capture; a second SIGINT ends the process at once.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
}

/// Exit code of a process that a second SIGINT ended, as shells have it.
const INTERRUPTED: i32 = 128 + 2;

impl Signals {
    fn new() -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        // In this order: the first signal finds the flag unset, and sets it.
        signal_hook::flag::register_conditional_shutdown(
            libc::SIGINT,
            INTERRUPTED,
            Arc::clone(&interrupted),
        )
        .and_then(|_| signal_hook::flag::register(libc::SIGINT, interrupted))
        .context("watch for SIGINT")?;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("watch for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("watch for SIGTERM")?,
            hang_up: signal(SignalKind::hangup()).ok(),
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = async {
                match &mut self.hang_up {
                    Some(signal) => { signal.recv().await; }
                    None => pending().await,
                }
            } => {}
        }
    }
}

/// The interfaces of the run that still exist.
struct InterfaceWatch {
    present: Vec<Interface>,
    last_gone: Option<String>,
}

impl InterfaceWatch {
    fn new(attached: &[Attached]) -> Self {
        Self {
            present: attached
                .iter()
                .map(|attached| attached.interface.clone())
                .collect(),
            last_gone: None,
        }
    }

    /// Follows an event; a line for the user when it concerns the run.
    fn follow(&mut self, event: &LinkEvent) -> Option<String> {
        match event {
            LinkEvent::Removed { ifindex } => {
                let index = self
                    .present
                    .iter()
                    .position(|interface| interface.ifindex == *ifindex)?;
                let gone = self.present.remove(index);
                self.last_gone = Some(gone.name.clone());
                Some(format!("warning: {} disappeared", gone.name))
            }
            LinkEvent::Changed(changed) => {
                let known = self
                    .present
                    .iter_mut()
                    .find(|interface| interface.ifindex == changed.ifindex)?;
                let was_up = std::mem::replace(&mut known.up, changed.up);
                match (was_up, changed.up) {
                    (true, false) => {
                        Some(format!("warning: {} went down; waiting for it", known.name))
                    }
                    (false, true) => Some(format!("note: {} is up", known.name)),
                    _ => None,
                }
            }
        }
    }

    /// The last interface to go, when none is left.
    fn all_gone(&self) -> Option<String> {
        if self.present.is_empty() {
            self.last_gone.clone()
        } else {
            None
        }
    }
}
