//! One capture: load, attach, open, drain, close, read, detach.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use aya::{Ebpf, maps::RingBuf};
use aya_log::EbpfLogger;
use nix::unistd::Uid;
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};
use traffic_ebpf::{tally::Counters, timeline::Shape};

use super::{
    attach::AttachError,
    broker::Broker,
    clock::{self, ClockStep, WallClock},
    explain::Explain,
    fill::RingFill,
    gate::GateControl,
    gathered::Gathered,
    hooks::{Attached, HookChoice, Hooks},
    interfaces::Interface,
    load::{self, LoadError, Settings},
    ring::{RingReader, Sink},
    shared::SharedArray,
    snapshot::{self, Counted as _, RunningSlots},
};
use crate::snapshot::Snapshot;

/// Why a session could not start or go on.
#[derive(Debug, Error)]
pub enum SessionError {
    /// Loading, or reading a map.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Attaching.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Splitting the process.
    #[error("start the process that holds the hooks: {0}")]
    Split(std::io::Error),
    /// Waiting for the ring.
    #[error("wait for the ring buffer: {0}")]
    Ring(std::io::Error),
}

/// Time from a frame's time stamp until it is seen to wait on its CPU, with room to spare.
const UNSEEN_NS: u64 = 100_000;

/// What waits on a CPU for a shorter time than this is left to the packets that come: from some
/// thousand a second on they fill the batch. Sending it up takes two processes and the CPU.
const YOUNG_NS: u64 = 10_000_000;

/// Items given to the sink in one go, so that signals and timers are never kept waiting.
const DRAIN_ITEMS: usize = 4096;

/// A capture. Dropping it detaches everything.
pub struct Session {
    broker: Broker,
    attached: Vec<Attached>,
    shape: Shape,
    gate: GateControl,
    gathered: Gathered,
    ring: AsyncFd<RingReader>,
    fill: RingFill,
    most_unread: u64,
    running_slots: RunningSlots,
    clock: WallClock,
    logger: Option<EbpfLogger<Explain>>,
    planned_ns: u64,
    opened_ns: u64,
    closed_ns: u64,
}

impl Session {
    /// Loads the programs and attaches them to `interfaces`. They count nothing yet.
    ///
    /// Where interfaces may join ([`Settings::joins`]), one that refuses is left out, and
    /// [`Attached::refused`] says why.
    ///
    /// # Errors
    /// When the kernel refuses a program, a map or a hook. Nothing stays attached then.
    pub fn start(
        settings: &Settings,
        interfaces: &[Interface],
        hook: HookChoice,
        directions: (bool, bool),
    ) -> Result<Self, SessionError> {
        let links: Vec<u32> = interfaces.iter().map(load::link).collect();
        let loaded = load::load(settings, &links)?;
        let mut ebpf = loaded.ebpf;
        let logger = settings
            .diagnostics
            .then(|| EbpfLogger::init_with_logger(&mut ebpf, Explain))
            .transpose();
        let logger = logger.unwrap_or_else(|error| {
            log::warn!("diagnostics of the programs: {error}");
            None
        });
        let ring =
            RingBuf::try_from(take(&mut ebpf, "RING")?).map_err(|source| LoadError::Map {
                name: "RING",
                source,
            })?;
        // SAFETY: the ring keeps its descriptor open until after this call.
        let fill = RingFill::new(unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) });
        let fill = fill.map_err(|source| LoadError::Mmap {
            name: "RING",
            source,
        })?;
        // SAFETY: the reader owns the map's descriptor, which stays open and the same for as long
        // as the reader lives.
        let ring =
            unsafe { AsyncFd::register_with_interest(RingReader::new(ring), Interest::READABLE) };
        let ring = ring.map_err(|error| SessionError::Ring(error.into()))?;
        if settings.summaries || settings.snaplen > 0 {
            load::program(&mut ebpf, "traffic_flush")?;
        }
        let gate = GateControl::new(share(&ebpf, "GATE", 1)?);
        let gathered = Gathered::new(&ebpf, loaded.cpus, settings.snaplen > 0)?;
        let hooks = Hooks::new(hook, directions, loaded.room);
        let broker = Broker::start(ebpf, hooks).map_err(SessionError::Split)?;
        let mut session = Self {
            shape: loaded.shape,
            gate,
            gathered,
            ring,
            fill,
            most_unread: 0,
            running_slots: RunningSlots::default(),
            clock: WallClock::new(),
            logger,
            planned_ns: settings.planned.map_or(u64::MAX, load::nanoseconds),
            opened_ns: 0,
            closed_ns: 0,
            broker,
            attached: Vec::new(),
        };
        session.plug_all(interfaces, settings.joins)?;
        Ok(session)
    }

    /// Where interfaces may join, goes on without those that refuse, unless all do.
    fn plug_all(&mut self, interfaces: &[Interface], joins: bool) -> Result<(), SessionError> {
        let mut refusals = Vec::new();
        for interface in interfaces {
            match self.plug(interface) {
                Err(SessionError::Load(LoadError::Refused(reason))) if joins => {
                    let skipped = self.broker.skip(interface, reason.clone())?;
                    self.attached.push(skipped);
                    refusals.push(reason);
                }
                plugged => drop(plugged?),
            }
        }
        match refusals.pop() {
            Some(last) if refusals.len() + 1 == interfaces.len() => {
                Err(LoadError::Refused(last).into())
            }
            _ => Ok(()),
        }
    }

    /// Takes in an interface that appeared, or came back: it counts from here on. Returns its number.
    ///
    /// # Errors
    /// When the kernel refuses a hook, or the run has no room for another interface. Nothing of it
    /// is counted then.
    pub fn plug(&mut self, interface: &Interface) -> Result<usize, SessionError> {
        let (number, attached) = self.broker.plug(interface)?;
        match self.attached.get_mut(number) {
            Some(before) => *before = attached,
            None => self.attached.push(attached),
        }
        Ok(number)
    }

    /// Lets go of an interface that went away; what it counted stays.
    ///
    /// # Errors
    /// When a map cannot be written.
    pub fn unplug(&mut self, ifindex: u32) -> Result<(), SessionError> {
        Ok(self.broker.unplug(ifindex)?)
    }

    /// Has an interface pass frames for other hosts up, until it is unplugged or the run ends.
    ///
    /// # Errors
    /// `EPERM` without `CAP_NET_RAW`.
    pub fn promiscuous(&self, ifindex: u32) -> Result<(), SessionError> {
        Ok(self.broker.promiscuous(ifindex)?)
    }

    /// Has the process that holds the hooks give up what it does not need any more, and go on as
    /// `user`. Where interfaces may join, it keeps what attaching to them needs.
    ///
    /// # Errors
    /// When it cannot.
    pub fn seal(&self, joins: bool, user: Option<Uid>) -> Result<(), SessionError> {
        Ok(self.broker.seal(joins, user)?)
    }

    /// Sees whether the process that holds the hooks is still there.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self) -> Result<(), SessionError> {
        Ok(self.broker.check()?)
    }

    /// Hooks by interface number.
    #[must_use]
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Opens the gate: from here on every frame counts.
    pub fn open(&mut self) {
        self.gate.set_wall_offset(self.clock.offset_ns());
        self.opened_ns = self.gate.open();
    }

    /// Whether the gate is open. With a count it closes by itself.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.gate.is_open()
    }

    /// Wall-clock nanoseconds at which the gate opened.
    #[must_use]
    pub fn started_ns(&self) -> u64 {
        self.clock.wall_ns(self.opened_ns)
    }

    /// Nanoseconds from gate open to gate close.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.closed_ns.saturating_sub(self.opened_ns)
    }

    /// Waits until the kernel asks for attention, because much is unread in the ring.
    ///
    /// # Errors
    /// When the descriptor cannot be polled.
    pub async fn readable(&self) -> Result<(), SessionError> {
        let mut guard = self.ring.readable().await.map_err(SessionError::Ring)?;
        guard.clear_ready();
        Ok(())
    }

    /// Gives what is in the ring to `sink`, at most some thousand items; returns whether there may
    /// be more.
    pub fn drain(&mut self, sink: &mut dyn Sink) -> bool {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        self.most_unread = self.most_unread.max(self.fill.bytes());
        let ring = self.ring.get_mut();
        let mut items = ring.drain(DRAIN_ITEMS, &self.clock, sink);
        if items < DRAIN_ITEMS && self.gate.take_wake() {
            items += ring.drain(DRAIN_ITEMS - items, &self.clock, sink);
        }
        items == DRAIN_ITEMS
    }

    /// Sends up what waits on CPUs where no packet pushes it on. Call it on every tick.
    pub fn flush_waiting(&mut self) {
        let before_ns = clock::monotonic_ns().saturating_sub(YOUNG_NS);
        for cpu in self.gathered.waiting(before_ns, &self.clock) {
            if let Err(error) = self.broker.flush(cpu) {
                log::debug!("flush CPU {cpu}: {error}");
            }
        }
    }

    /// Follows the wall clock. Call it on every tick. Returns the step when the clock was set, or
    /// the machine slept.
    pub fn tick_clock(&mut self) -> Option<ClockStep> {
        let step = self.clock.tick();
        self.gate.set_wall_offset(self.clock.offset_ns());
        step
    }

    /// Counters so far, by interface number × 2 + direction.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn counters(&self) -> Result<Vec<Counters>, SessionError> {
        Ok(self.broker.counters(self.attached.len())?)
    }

    /// Summaries that found the ring full so far.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn summaries_lost(&mut self) -> Result<u64, SessionError> {
        let now_ns = self.elapsed_ns();
        let slots = &mut self.running_slots;
        Ok(snapshot::read_lost(
            &self.broker,
            self.shape,
            slots,
            now_ns,
        )?)
    }

    /// Everything that the kernel counted so far, in a time that does not grow with the run: slots
    /// of the past are remembered. The numbers belong to slightly different moments.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn running(&mut self) -> Result<Snapshot, SessionError> {
        let now_ns = self.elapsed_ns();
        let interfaces = self.attached().len();
        let slots = &mut self.running_slots;
        Ok(snapshot::read_running(
            &self.broker,
            self.shape,
            interfaces,
            slots,
            now_ns,
        )?)
    }

    /// Nanoseconds since the gate opened.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        clock::monotonic_ns().saturating_sub(self.opened_ns)
    }

    /// Wall-clock nanoseconds since the Unix epoch, as time stamps of packets that arrive now.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.clock.wall_ns(clock::monotonic_ns())
    }

    /// Frames and summaries from before this moment, in wall-clock nanoseconds, are all in the ring:
    /// CPUs send theirs up in runs and batches of their own. A program that takes longer than a tenth
    /// of a millisecond from a frame's time stamp to its place in the run, because something else got
    /// its CPU, is not allowed for.
    #[must_use]
    pub fn settled_ns(&self) -> u64 {
        let now_ns = self.now_ns().saturating_sub(UNSEEN_NS);
        let waiting = self.gathered.oldest_ns(&self.clock);
        waiting.map_or(now_ns, |oldest| oldest.min(now_ns))
    }

    /// The most bytes that were unread in the ring at once since the last call, as seen whenever
    /// it was about to be read.
    pub fn take_most_unread(&mut self) -> u64 {
        std::mem::take(&mut self.most_unread)
    }

    /// Closes the gate, waits until no program is running, and gives everything that is still on
    /// its way to `sink`. Afterwards the kernel's numbers belong to one moment.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn close(&mut self, sink: &mut dyn Sink) -> Result<Snapshot, SessionError> {
        let over_ns = self.opened_ns.saturating_add(self.planned_ns);
        self.closed_ns = self.gate.close().min(over_ns);
        while self.drain(sink) {}
        let ring = self.ring.get_mut();
        self.gathered.deliver(ring, &self.clock, sink);
        Ok(snapshot::read(
            &self.broker,
            self.shape,
            self.attached().len(),
        )?)
    }

    /// Detaches everything and removes what was added for it.
    pub fn detach(self) {
        self.broker.detach();
    }
}

pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, LoadError> {
    ebpf.take_map(name).ok_or(LoadError::Missing(name))
}

/// Maps an array of the object into this process.
pub(super) fn share<T>(
    ebpf: &Ebpf,
    name: &'static str,
    len: usize,
) -> Result<SharedArray<T>, LoadError> {
    let Some(aya::maps::Map::Array(map)) = ebpf.map(name) else {
        return Err(LoadError::Missing(name));
    };
    SharedArray::new(map, len).map_err(|source| LoadError::Mmap { name, source })
}
