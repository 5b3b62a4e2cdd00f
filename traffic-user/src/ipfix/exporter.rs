//! Flows to a thread, and from there to the collector.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use traffic_ebpf::tally::Count;

use super::{
    encoder::{Cargo, Encoded, Encoder, Layout, Sampled, Statistics},
    transport::{Collector, Transport},
};
use crate::flows::FlowRecord;

/// Flows that are handed over at once.
const BATCH: usize = 64;
/// Batches that may wait: some 65,000 flows, or 20 MB.
const QUEUE: usize = 1024;
/// A message waits at most this long for more records.
const MESSAGE_AGE: Duration = Duration::from_millis(500);
/// How often templates are repeated over UDP, and statistics everywhere.
const REFRESH: Duration = Duration::from_mins(1);
/// Between two tries to connect.
const RETRY: Duration = Duration::from_secs(1);
/// Messages that leave in a millisecond at most: a burst would overflow the collector's socket.
const PACE: u32 = 16;

/// What is exported, and where to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The collector.
    pub collector: Collector,
    /// `observationDomainId`.
    pub domain: u32,
    /// Both directions in one record, or in two.
    pub layout: Layout,
    /// What happens when flows end faster than they can be sent.
    pub overflow: Overflow,
}

/// What to do with a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Flows are lost, and counted: a capture does not wait.
    Lose,
    /// The reader of a file waits.
    Wait,
}

/// What became of the flow records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Records that were sent.
    pub sent: u64,
    /// Flows and records that were not: the queue was full, or the collector away.
    pub lost: u64,
}

/// Sends flows to a collector.
#[derive(Debug)]
pub struct Exporter {
    queue: SyncSender<Vec<FlowRecord>>,
    batch: Vec<FlowRecord>,
    overflow: Overflow,
    shared: Arc<Shared>,
    worker: Work,
}

/// The other side of the queue, before and after it has its thread.
#[derive(Debug)]
enum Work {
    Waiting(Box<Worker>),
    Running(JoinHandle<()>),
}

/// What both sides of the queue know.
#[derive(Debug, Default)]
struct Shared {
    interfaces: Mutex<Vec<Sampled>>,
    lost: Mutex<Cargo>,
    sent: AtomicU64,
    ignored_packets: AtomicU64,
    ignored_octets: AtomicU64,
    is_ending: AtomicBool,
}

impl Shared {
    fn interfaces(&self) -> MutexGuard<'_, Vec<Sampled>> {
        self.interfaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, Cargo> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exporter {
    /// Opens the way to the collector. Nothing is sent yet.
    ///
    /// # Errors
    /// When the collector's name is unknown, or sockets are not to be had. A collector that is away
    /// is no error: it may come.
    pub fn open(settings: &Settings) -> io::Result<Self> {
        let transport = Transport::open(&settings.collector)?;
        let shared = Arc::new(Shared::default());
        let (queue, flows) = sync_channel(QUEUE);
        let worker = Worker {
            flows,
            shared: Arc::clone(&shared),
            encoder: Encoder::new(settings.layout, settings.domain),
            transport,
            statistics: Statistics::default(),
            sent_before: Cargo::default(),
            refresh_at: Instant::now(),
            has_templates: false,
            paced: 0,
        };
        Ok(Self {
            queue,
            batch: Vec::new(),
            overflow: settings.overflow,
            shared,
            worker: Work::Waiting(Box::new(worker)),
        })
    }

    /// Begins to send, in a thread that has the privileges which this one has left.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn begin(self) -> io::Result<Self> {
        let worker = match self.worker {
            Work::Waiting(worker) => {
                let thread = thread::Builder::new().name("ipfix".to_owned());
                Work::Running(thread.spawn(|| worker.run())?)
            }
            running @ Work::Running(_) => running,
        };
        Ok(Self { worker, ..self })
    }

    /// Adds the next interface of the run: the kernel's number, 0 for one in a file, and one packet
    /// in how many is seen there.
    pub fn interface(&mut self, ifindex: u32, sample: u32) {
        let mut interfaces = self.shared.interfaces();
        interfaces.push(Sampled { ifindex, sample });
    }

    /// Exports a flow, without waiting for the collector unless that was asked for.
    pub fn flow(&mut self, flow: &FlowRecord) {
        self.batch.push(flow.clone());
        if self.batch.len() == BATCH {
            self.hand_over();
        }
    }

    /// Hands over what was gathered. `other` are the packets so far that belong to no flow.
    pub fn tick(&mut self, other: Count) {
        self.shared.ignored_packets.store(other.packets, Relaxed);
        self.shared.ignored_octets.store(other.bytes, Relaxed);
        self.hand_over();
    }

    /// What became of the records so far.
    #[must_use]
    pub fn exported(&self) -> Exported {
        Exported {
            sent: self.shared.sent.load(Relaxed),
            lost: self.shared.lost().flows,
        }
    }

    /// Sends what is left, for some seconds at most where the collector is away.
    #[must_use]
    pub fn finish(mut self) -> Exported {
        self.hand_over();
        self.shared.is_ending.store(true, Relaxed);
        let Self {
            queue,
            shared,
            worker,
            ..
        } = self;
        drop(queue);
        match worker {
            Work::Waiting(worker) => worker.give_up(),
            Work::Running(thread) => {
                if thread.join().is_err() {
                    log::error!("the thread that exports flows failed");
                }
            }
        }
        Exported {
            sent: shared.sent.load(Relaxed),
            lost: shared.lost().flows,
        }
    }

    fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let refused = match self.overflow {
            Overflow::Wait => self.queue.send(batch).map_err(|error| error.0),
            Overflow::Lose => self.queue.try_send(batch).map_err(|error| match error {
                TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
            }),
        };
        if let Err(batch) = refused {
            lose(&self.shared, &batch);
        }
    }
}

fn lose(shared: &Shared, flows: &[FlowRecord]) {
    for flow in flows {
        shared.lost().add(Cargo::of(flow));
    }
}

/// The other side of the queue.
#[derive(Debug)]
struct Worker {
    flows: Receiver<Vec<FlowRecord>>,
    shared: Arc<Shared>,
    encoder: Encoder,
    transport: Transport,
    statistics: Statistics,
    /// What was in the last message.
    sent_before: Cargo,
    refresh_at: Instant,
    /// Whether the collector has been told the templates of this session.
    has_templates: bool,
    paced: u32,
}

impl Worker {
    /// Sends until the queue is closed and empty, or the collector is away at the end.
    fn run(mut self) {
        loop {
            if !self.connect() {
                return self.give_up();
            }
            match self.flows.recv_timeout(MESSAGE_AGE) {
                Ok(batch) => self.batch(&batch),
                Err(RecvTimeoutError::Timeout) => self.batch(&[]),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.refresh_at = Instant::now();
        self.batch(&[]);
    }

    /// Waits for a connection; `false` when the run ends without one.
    fn connect(&mut self) -> bool {
        while !self.transport.is_connected() {
            self.has_templates = false;
            let cargo = self.encoder.restart();
            self.shared.lost().add(cargo);
            if let Err(error) = self.transport.reconnect() {
                log::debug!("connect to the collector: {error}");
                if self.shared.is_ending.load(Relaxed) {
                    return false;
                }
                thread::sleep(RETRY);
            }
        }
        true
    }

    /// Counts everything that still waits as lost.
    fn give_up(self) {
        for batch in &self.flows {
            lose(&self.shared, &batch);
        }
    }

    /// Sends flows, and what else is due. An empty batch ends the message in the making.
    fn batch(&mut self, flows: &[FlowRecord]) {
        let (mut out, time_s) = (Vec::new(), now_s());
        let interfaces = self.shared.interfaces().clone();
        let is_due = Instant::now() >= self.refresh_at;
        if !self.has_templates || is_due && self.transport.is_lossy() {
            self.encoder.templates(time_s, &mut out);
            self.has_templates = true;
        }
        for flow in flows {
            self.encoder.flow(flow, &interfaces, time_s, &mut out);
        }
        if flows.len() < BATCH {
            self.encoder.flush(time_s, &mut out);
        }
        self.send(&mut out);
        if is_due {
            self.refresh_at = Instant::now() + REFRESH;
            let statistics = self.statistics();
            self.encoder
                .options(&interfaces, &statistics, time_s, &mut out);
            self.encoder.flush(time_s, &mut out);
            self.send(&mut out);
        }
    }

    fn statistics(&self) -> Statistics {
        let lost = *self.shared.lost();
        Statistics {
            ignored_packets: self.shared.ignored_packets.load(Relaxed),
            ignored_octets: self.shared.ignored_octets.load(Relaxed),
            lost_flows: lost.flows,
            lost_packets: lost.packets,
            lost_octets: lost.octets,
            ..self.statistics
        }
    }

    fn send(&mut self, messages: &mut Vec<Encoded>) {
        for Encoded { bytes, cargo } in messages.drain(..) {
            let mut sent = self.transport.send(&bytes);
            if self.transport.is_lossy() && is_refused(&sent) {
                // This is news of the message before; it says nothing about this one.
                let before = std::mem::take(&mut self.sent_before);
                self.shared.lost().add(before);
                self.shared.sent.fetch_sub(before.flows, Relaxed);
                self.statistics.flow_records -= before.flows;
                sent = self.transport.send(&bytes);
            }
            if let Err(error) = sent {
                log::debug!("send flows to the collector: {error}");
                self.shared.lost().add(cargo);
                continue;
            }
            self.shared.sent.fetch_add(cargo.flows, Relaxed);
            self.statistics.messages += 1;
            self.statistics.flow_records += cargo.flows;
            self.statistics.octets += bytes.len() as u64;
            self.sent_before = cargo;
            self.pace();
        }
    }

    fn pace(&mut self) {
        self.paced += 1;
        if self.paced.is_multiple_of(PACE) && self.transport.is_lossy() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn is_refused(sent: &io::Result<()>) -> bool {
    let error = sent.as_ref().err();
    error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Seconds since the Unix epoch; the export time of RFC 7011 wraps in 2106.
fn now_s() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs());
    u32::try_from(seconds & u64::from(u32::MAX)).expect("cut to 32 bits")
}
