//! Bidirectional flows: what two ends sent each other, from the summaries of their packets.
//!
//! A flow is a 5-tuple (addresses, IP protocol, ports) with both directions together, on one
//! interface and in one VLAN. A request of ICMP and its reply are one flow; fragments behind the
//! first, which have no ports, are a flow of their own. Packets without an IP header belong to none
//! and are counted apart, so that nothing is missing: packets of flows + others = packets taken.
//!
//! A flow ends where it is silent for longer than the idle timeout; a second after FIN in both
//! directions or RST, and at once where a new SYN follows; and where the table is full: then the
//! flow goes that has been silent the longest, as far as the table knows, which is to a sixty-fourth
//! of the idle timeout. The active timeout cuts a long flow into parts. Time is that of the packets,
//! whose order is not relied on, and of [`Flows::tick`].

mod key;
mod live;
mod record;
mod top;
mod wheel;

#[cfg(test)]
mod tests;

use std::{hash::BuildHasher, time::Duration};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use traffic_ebpf::tally::Count;

pub use self::record::{EndReason, FlowRecord, FlowSide};
use self::{
    key::{FlowKey, Side},
    live::LiveFlow,
    top::Top,
    wheel::Wheel,
};
use crate::record::PacketRecord;

/// How long a closed connection is kept, for the segments that still follow.
const CLOSED_LINGER: Duration = Duration::from_secs(1);

/// Flows to look at for one that is still as silent as it was, when one must go.
const EVICTION_TRIES: usize = 8;

/// When flows end, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSettings {
    /// Silence that ends a flow.
    pub idle: Duration,
    /// Age at which a part of a flow is cut off.
    pub active: Duration,
    /// Flows in memory at once; at least 1. Each takes some 250 bytes, when it is there.
    pub max_flows: u32,
    /// Flows that [`Flows::top`] can show of those that have ended.
    pub top: usize,
}

/// What became of the packets, and of the flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Packets of flows, those that go on included.
    pub flows: Count,
    /// Packets without an IP header.
    pub other: Count,
    /// Flows that go on.
    pub live: u64,
    /// Flows, and parts of flows, that ended, by [`EndReason`] in the order of
    /// [`EndReason::ALL`].
    pub ended: [u64; EndReason::ALL.len()],
}

/// Folds header summaries into flows.
#[derive(Clone, Debug)]
pub struct Flows {
    settings: FlowSettings,
    idle_ns: u64,
    active_ns: u64,
    state: RandomState,
    /// Places in `slots`.
    table: HashTable<u32>,
    slots: Vec<Slot>,
    /// Places in `slots` that are free.
    free: Vec<u32>,
    wheel: Wheel,
    next_tick_ns: u64,
    counts: FlowCounts,
    top: Top,
    /// Ended and not taken yet; `None` where nobody takes them.
    ended: Option<Vec<FlowRecord>>,
}

/// A flow, and the ticks at which it was touched.
#[derive(Clone, Debug)]
struct Slot {
    flow: LiveFlow,
    /// When the last packet came; when it was closed, if it is.
    touched: u64,
    /// When its first packet came.
    born: u64,
}

impl Flows {
    /// No flows yet.
    #[must_use]
    pub fn new(settings: FlowSettings) -> Self {
        let wheel = Wheel::new(nanoseconds(settings.idle));
        Self {
            idle_ns: nanoseconds(settings.idle),
            active_ns: nanoseconds(settings.active),
            state: RandomState::default(),
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            next_tick_ns: wheel.next_tick_ns(),
            wheel,
            counts: FlowCounts::default(),
            top: Top::new(settings.top),
            ended: None,
            settings,
        }
    }

    /// The same, keeping every flow that ends for [`Flows::take_ended`].
    #[must_use]
    pub fn keeping_ended(mut self) -> Self {
        self.ended = Some(Vec::new());
        self
    }

    /// When flows end, and how many there are.
    #[must_use]
    pub fn settings(&self) -> &FlowSettings {
        &self.settings
    }

    /// Folds one packet.
    #[inline]
    pub fn add(&mut self, record: &PacketRecord) {
        if record.timestamp_ns() >= self.next_tick_ns {
            self.turn(record.timestamp_ns());
        }
        let count = Count {
            packets: 1,
            bytes: u64::from(record.wire_len()),
        };
        let Some((key, side)) = FlowKey::of(record) else {
            self.counts.other += count;
            return;
        };
        self.counts.flows += count;
        let hash = self.state.hash_one(key);
        let slots = &self.slots;
        let found = self
            .table
            .find(hash, |&place| slots[place as usize].flow.key == key);
        match found.copied() {
            Some(place) => self.add_to(place, side, record),
            None => self.begin(hash, key, side, record),
        }
    }

    /// Ends the flows that are silent or old at `now_ns` since the Unix epoch: time passes without
    /// packets too. Where the clock was set back by more than the idle timeout, all flows end.
    pub fn tick(&mut self, now_ns: u64) {
        if now_ns.saturating_add(self.idle_ns) < self.next_tick_ns {
            self.finish();
            self.wheel.restart(now_ns);
            self.next_tick_ns = self.wheel.next_tick_ns();
        } else if now_ns >= self.next_tick_ns {
            self.turn(now_ns);
        }
    }

    /// Ends every flow, because the run ends.
    pub fn finish(&mut self) {
        while let Some((place, _)) = self.wheel.first() {
            self.remove(place, EndReason::ForcedEnd);
        }
    }

    /// Gives the flows that ended since the last call.
    pub fn take_ended(&mut self) -> impl Iterator<Item = FlowRecord> {
        self.ended.iter_mut().flat_map(|ended| ended.drain(..))
    }

    /// What became of the packets, and of the flows.
    #[must_use]
    pub fn counts(&self) -> FlowCounts {
        FlowCounts {
            live: self.live().count() as u64,
            ..self.counts
        }
    }

    /// Packets without an IP header so far.
    #[must_use]
    pub fn other(&self) -> Count {
        self.counts.other
    }

    /// At most `count` flows with the most bytes, most first: those that ended, at most as many as
    /// [`FlowSettings::top`], and those that go on.
    #[must_use]
    pub fn top(&self, count: usize) -> Vec<FlowRecord> {
        let mut top = self.top.clone();
        for flow in self.live() {
            top.offer(flow.bytes(), || flow.record(None));
        }
        top.into_sorted(count)
    }

    fn live(&self) -> impl Iterator<Item = &LiveFlow> {
        let places = self.table.iter();
        let flows = places.map(|&place| &self.slots[place as usize].flow);
        flows.filter(|flow| !flow.is_empty())
    }

    #[inline]
    fn add_to(&mut self, place: u32, side: Side, record: &PacketRecord) {
        let slot = &mut self.slots[place as usize];
        match slot.flow.ends_before(record, self.idle_ns, self.active_ns) {
            None => {}
            Some(EndReason::ActiveTimeout) => self.cut(place),
            Some(reason) => {
                let key = slot.flow.key;
                self.remove(place, reason);
                let hash = self.state.hash_one(key);
                return self.begin(hash, key, side, record);
            }
        }
        let now = self.wheel.now();
        let slot = &mut self.slots[place as usize];
        if slot.flow.is_empty() {
            slot.born = now;
        }
        let closed = slot.flow.add(side, record);
        if closed || !slot.flow.is_closed() {
            slot.touched = now;
        }
        if closed {
            self.wheel.remove(place);
            self.schedule(place);
        }
    }

    /// Begins a flow, if need be in the place of another.
    fn begin(&mut self, hash: u64, key: FlowKey, side: Side, record: &PacketRecord) {
        if self.table.len() as u64 >= u64::from(self.settings.max_flows.max(1)) {
            self.evict();
        }
        let now = self.wheel.now();
        let slot = Slot {
            flow: LiveFlow::new(key, side, record),
            touched: now,
            born: now,
        };
        let place = if let Some(place) = self.free.pop() {
            self.slots[place as usize] = slot;
            place
        } else {
            let place = u32::try_from(self.slots.len()).expect("max_flows fits in 32 bits");
            self.slots.push(slot);
            place
        };
        let (slots, state) = (&self.slots, &self.state);
        self.table.insert_unique(hash, place, |&place| {
            state.hash_one(slots[place as usize].flow.key)
        });
        self.schedule(place);
    }

    /// Ends the flow that has been silent the longest, or one that nearly has: packets do not move
    /// flows, so the first in line may have been touched since.
    fn evict(&mut self) {
        for _ in 0..EVICTION_TRIES {
            let Some((place, tick)) = self.wheel.first() else {
                return;
            };
            if self.deadline(place) <= tick {
                break;
            }
            self.wheel.remove(place);
            self.schedule(place);
        }
        if let Some((place, _)) = self.wheel.first() {
            self.remove(place, EndReason::LackOfResources);
        }
    }

    #[cold]
    fn turn(&mut self, now_ns: u64) {
        for place in self.wheel.turn(now_ns) {
            self.look_at(place);
        }
        self.next_tick_ns = self.wheel.next_tick_ns();
    }

    /// Ends a flow that the wheel gave out, or gives it back.
    fn look_at(&mut self, place: u32) {
        let now = self.wheel.now();
        let slot = &self.slots[place as usize];
        if self.silent_until(slot) <= now {
            let reason = slot.flow.silent_end();
            return self.forget(place, reason);
        }
        if !slot.flow.is_empty() && slot.born + self.wheel.ticks(self.active_ns) <= now {
            self.cut(place);
        }
        self.schedule(place);
    }

    fn schedule(&mut self, place: u32) {
        let deadline = self.deadline(place);
        self.wheel.insert(place, deadline);
    }

    /// The tick at which the flow is silent or old.
    fn deadline(&self, place: u32) -> u64 {
        let slot = &self.slots[place as usize];
        let silent = self.silent_until(slot);
        if slot.flow.is_empty() {
            return silent;
        }
        silent.min(slot.born + self.wheel.ticks(self.active_ns))
    }

    fn silent_until(&self, slot: &Slot) -> u64 {
        let idle = self.wheel.ticks(self.idle_ns);
        if slot.flow.is_closed() {
            slot.touched + idle.min(self.wheel.ticks(nanoseconds(CLOSED_LINGER)))
        } else {
            slot.touched + idle
        }
    }

    /// Ends a part of a flow, which goes on.
    fn cut(&mut self, place: u32) {
        self.report(place, EndReason::ActiveTimeout);
        self.slots[place as usize].flow.restart();
    }

    fn remove(&mut self, place: u32, reason: EndReason) {
        self.wheel.remove(place);
        self.forget(place, reason);
    }

    /// Ends a flow that is not in the wheel.
    fn forget(&mut self, place: u32, reason: EndReason) {
        self.report(place, reason);
        let hash = self.state.hash_one(self.slots[place as usize].flow.key);
        if let Ok(entry) = self.table.find_entry(hash, |&other| other == place) {
            entry.remove();
        }
        self.free.push(place);
    }

    fn report(&mut self, place: u32, reason: EndReason) {
        let flow = &self.slots[place as usize].flow;
        if flow.is_empty() {
            return;
        }
        // Nothing was to come of a closed connection, whatever took it away.
        let reason = match reason {
            EndReason::ForcedEnd | EndReason::LackOfResources => flow.end_or(reason),
            EndReason::IdleTimeout | EndReason::ActiveTimeout | EndReason::EndOfFlow => reason,
        };
        self.counts.ended[reason as usize - 1] += 1;
        if let Some(ended) = &mut self.ended {
            ended.push(flow.record(Some(reason)));
        }
        self.top.offer(flow.bytes(), || flow.record(Some(reason)));
    }
}

/// `duration` in nanoseconds, at most 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
