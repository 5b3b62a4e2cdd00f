//! One packet's way through a program.

use aya_ebpf::helpers::generated::{bpf_spin_lock, bpf_spin_unlock};
use traffic_ebpf::{
    config::{Gate, Interface, LINK_IP, TIMED_RUNS},
    parse::{Link, Tag, parse_into},
    protocol::Protocol,
    record::{Batch, EXCERPT_BYTES, ExcerptHeader, FLAG_EGRESS, Headers, Kind, Summary},
    tally::Tally,
};

use crate::{
    bound, clock,
    context::Hook,
    count::{self, Place},
    emit, filter,
    maps::{COUNTERS, GATE, INTERFACES, TICKETS, config},
    run,
};

/// Which way packets go at a hook.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Ingress,
    Egress,
}

/// Looks at one packet. Whatever happens here, the packet goes on.
#[inline(always)]
pub(crate) fn observe<'a, H: Hook<'a>>(context: &'a H::Context, direction: Direction) {
    // Without a result there is nothing to do: the gate is closed, or the interface is not ours.
    let _ = try_observe::<H>(context, direction);
}

#[inline(always)]
fn try_observe<'a, H: Hook<'a>>(context: &'a H::Context, direction: Direction) -> Option<()> {
    let gate = GATE.get_ptr_mut(0)?;
    // SAFETY: the gate is one aligned value; other CPUs and user space change whole words.
    let opened_ns = unsafe { (&raw const (*gate).opened_ns).read_volatile() };
    if opened_ns == 0 {
        return None;
    }
    let batch = emit::batch()?;
    let started_ns = start_timing(batch);
    // SAFETY: the address of a field of this CPU's value.
    let hook = &H::new(context, unsafe { &raw mut (*batch).join });
    let interface = interface(hook)?;
    let index = interface.number * 2 + u32::from(direction == Direction::Egress);
    let place = Place {
        index,
        counters: COUNTERS.get_ptr_mut(index)?,
    };
    let tag = hook.tag();
    let wire_len = hook.len() + if tag.is_some() { 4 } else { 0 };
    let frame = Frame {
        hook,
        tag,
        wire_len,
        place,
        record: emit::Place::take(batch)?,
        gate,
    };
    frame.observe(&interface, direction, opened_ns);
    frame.record.release();
    if started_ns != 0 {
        frame.place.add(Tally::TimedRuns, 1);
        frame
            .place
            .add(Tally::TimedNs, clock::now_ns() - started_ns);
    }
    Some(())
}

/// The clock in nanoseconds where this frame is to be timed, else 0.
#[inline(always)]
fn start_timing(batch: *mut Batch) -> u64 {
    if config!(timing) == 0 {
        return 0;
    }
    // SAFETY: this CPU's value, and packets of one CPU do not overlap.
    let countdown = unsafe { &mut (*batch).timing_countdown };
    if *countdown != 0 {
        *countdown -= 1;
        return 0;
    }
    *countdown = TIMED_RUNS - 1;
    clock::now_ns()
}

#[inline(always)]
fn interface<'a, H: Hook<'a>>(hook: &H) -> Option<Interface> {
    if config!(single_interface) == 1 {
        return Some(Interface {
            number: 0,
            link: config!(link),
        });
    }
    // SAFETY: an entry is not removed, and replaced only after the last program on its interface
    // has ended or before the first begins.
    unsafe { INTERFACES.get(hook.ifindex()) }.copied()
}

/// Whether `--protocol` takes the frame. Without it the verifier removes the question.
#[inline(always)]
fn is_selected(headers: &Headers) -> bool {
    let selection = config!(selection);
    if selection.is_everything() {
        return true;
    }
    selection.contains(Protocol::from_index(headers.protocol), headers.ip_version())
}

/// Whether the planned time is over: user space closes the gate a moment later.
#[inline(always)]
fn is_over(elapsed_ns: u64) -> bool {
    let planned_ns = config!(planned_ns);
    planned_ns != 0 && elapsed_ns >= planned_ns
}

/// With a limit, takes the next ticket; `false` when all are given out. Who takes the last one
/// closes the gate.
#[inline(always)]
fn take_ticket(gate: *mut Gate, now_ns: u64) -> bool {
    let limit = config!(count_limit);
    if limit == 0 {
        return true;
    }
    let Some(ticket) = next_ticket() else {
        return false;
    };
    if ticket + 1 == limit {
        // SAFETY: the gate is one aligned value of words that are only accessed whole.
        unsafe {
            (&raw mut (*gate).closed_ns).write_volatile(now_ns);
            (&raw mut (*gate).opened_ns).write_volatile(0);
        }
    }
    ticket < limit
}

/// The number of tickets given out before. Under a lock, because instructions that add and return
/// what was there need Linux 5.12, and a lock 5.1.
#[inline(always)]
fn next_ticket() -> Option<u64> {
    let tickets = TICKETS.get_ptr_mut(0)?;
    // SAFETY: the lock and the number it guards lie in one value of a map.
    unsafe {
        let lock = &raw mut (*tickets).lock;
        let taken = &raw mut (*tickets).taken;
        bpf_spin_lock(lock);
        let ticket = taken.read_volatile();
        taken.write_volatile(ticket + 1);
        bpf_spin_unlock(lock);
        Some(ticket)
    }
}

/// A frame on its way through the program.
struct Frame<'h, H> {
    hook: &'h H,
    tag: Option<Tag>,
    /// With the tag.
    wire_len: u32,
    place: Place,
    record: emit::Place,
    gate: *mut Gate,
}

impl<'a, H: Hook<'a>> Frame<'_, H> {
    /// Filters, parses, selects, and records what matched.
    #[inline(always)]
    fn observe(&self, interface: &Interface, direction: Direction, opened_ns: u64) {
        let timestamp_ns = clock::packet_ns(self.record.batch());
        self.record.begin(timestamp_ns);
        // SAFETY: the summary is this packet's.
        let summary = unsafe { &mut *self.record.summary() };
        let elapsed_ns = summary.timestamp_ns.saturating_sub(opened_ns);
        if is_over(elapsed_ns) {
            return;
        }
        if !filter::takes(self.hook, self.tag, self.wire_len, interface.link) {
            self.place.filtered_out();
            return;
        }
        let header_len = self.parse(interface);
        if !is_selected(&summary.headers) {
            self.place.filtered_out();
            return;
        }
        if direction == Direction::Egress {
            summary.headers.flags |= FLAG_EGRESS;
        }
        summary.wire_len = self.wire_len;
        summary.interface = interface.number as u16;
        if take_ticket(self.gate, summary.timestamp_ns) {
            self.matched(header_len, elapsed_ns);
        }
    }

    /// Fills in the summary's headers; returns the bytes that segments of a super-frame repeat.
    #[inline(always)]
    fn parse(&self, interface: &Interface) -> u32 {
        let link = if interface.link == LINK_IP {
            Link::Ip
        } else {
            Link::Ethernet(self.tag)
        };
        // SAFETY: the summary is this packet's.
        let summary = unsafe { &mut *self.record.summary() };
        let mut header_len = parse_into(self.hook, link, &mut summary.headers);
        bound::barrier();
        let is_short = summary.headers.status != 0 && self.hook.linear_len() < self.hook.len();
        if is_short || config!(always_copied) == 1 {
            self.record.begin(self.summary().timestamp_ns);
            // SAFETY: as above.
            let summary = unsafe { &mut *self.record.summary() };
            header_len = self.hook.parse_copied(link, &mut summary.headers);
        }
        self.hook.join(header_len)
    }

    #[inline(always)]
    fn summary(&self) -> &Summary {
        // SAFETY: the summary is this packet's.
        unsafe { &*self.record.summary() }
    }

    #[inline(always)]
    fn matched(&self, header_len: u32, elapsed_ns: u64) {
        let headers = &self.summary().headers;
        let wire_len = self.summary().wire_len;
        self.place.add(Tally::Seen, 1);
        self.place.add(Tally::Matched, 1);
        self.place.frame(headers, wire_len);
        if let Some((packets, bytes)) = self.hook.on_wire(wire_len, header_len) {
            self.place.add(Tally::WirePackets, packets);
            self.place.add(Tally::WireBytes, bytes);
        }
        if headers.status != 0 {
            self.hook.explain(self.summary());
        }
        count::slot(self.record.batch(), elapsed_ns, headers, wire_len);
        if config!(snaplen) != 0 {
            self.sample();
        }
        if config!(summaries) == 1 {
            if headers.wants_excerpt() {
                self.excerpt();
            }
            self.record.commit();
        }
    }

    /// Sends every `sample`th frame up.
    #[inline(always)]
    fn sample(&self) {
        // SAFETY: this CPU's value, and packets of one CPU do not overlap.
        let countdown = unsafe { &mut (*self.record.batch()).sample_countdown };
        if *countdown != 0 {
            *countdown -= 1;
            self.place.add(Tally::FramesSampledOut, 1);
            return;
        }
        *countdown = config!(sample) - 1;
        let lost = self.place.tally(Tally::FramesLost);
        let told = self.place.tally(Tally::FramesLostTold);
        // SAFETY: the gate is one aligned value of words that are only accessed whole.
        let offset_ns = unsafe { (&raw const (*self.gate).wall_offset_ns).read_volatile() };
        let captured = run::Captured {
            timestamp_ns: self.summary().timestamp_ns.wrapping_add(offset_ns),
            cap_len: self.cap_len(config!(snaplen)),
            wire_len: self.summary().wire_len,
            interface: u32::from(self.summary().interface),
            is_egress: self.summary().headers.has(FLAG_EGRESS),
            lost: (lost - told) as u32,
        };
        if run::frame(self.hook, self.tag, &self.record, &captured) {
            self.place.set(Tally::FramesLostTold, lost);
        } else {
            self.place.add(Tally::FramesLost, 1);
        }
    }

    #[inline(always)]
    fn excerpt(&self) {
        let summary = self.summary();
        let header = ExcerptHeader {
            kind: Kind::Excerpt as u32,
            cap_len: self.cap_len(EXCERPT_BYTES),
            timestamp_ns: summary.timestamp_ns,
            wire_len: summary.wire_len,
            interface: summary.interface,
            flags: summary.headers.flags,
            protocol: summary.headers.protocol,
        };
        let tally = if emit::excerpt(self.hook, self.tag, &header) {
            Tally::ExcerptsSent
        } else {
            Tally::ExcerptsLost
        };
        self.place.add(tally, 1);
    }

    #[inline(always)]
    fn cap_len(&self, limit: u32) -> u32 {
        self.summary().wire_len.min(limit).min(H::REACH)
    }
}
