//! One packet's way through a program.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_log_ebpf::debug;
use traffic_ebpf::{
    config::{Gate, Interface, LINK_IP},
    parse::{Link, Tag, parse_into},
    protocol::Protocol,
    record::{Batch, EXCERPT_BYTES, FLAG_EGRESS, FrameHeader, Headers, Kind, Summary},
    tally::Tally,
};

use crate::{
    bound,
    context::Hook,
    count::{self, Place},
    emit,
    maps::{COUNTERS, GATE, INTERFACES, config},
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
    // SAFETY: the address of a field of this CPU's value.
    let hook = &H::new(context, unsafe { &raw mut (*batch).current.join });
    let interface = interface(hook)?;
    let index = interface.number * 2 + u32::from(direction == Direction::Egress);
    let place = Place {
        index,
        counters: COUNTERS.get_ptr_mut(index)?,
    };
    let tag = hook.tag();
    let link = if interface.link == LINK_IP {
        Link::Ip
    } else {
        Link::Ethernet(tag)
    };
    // SAFETY: this CPU's value, and packets of one CPU do not overlap.
    let summary = unsafe { &mut (*batch).current.record };
    let headers = &mut summary.headers;
    let mut header_len = parse_into(hook, link, headers);
    bound::barrier();
    let is_short = headers.status != 0 && hook.linear_len() < hook.len();
    if is_short || config!(always_copied) == 1 {
        header_len = hook.parse_copied(link, headers);
    }
    let protocol = Protocol::from_index(headers.protocol);
    if !config!(selection).contains(protocol, headers.ip_version()) {
        place.add(Tally::Seen, 1);
        place.add(Tally::FilteredOut, 1);
        return None;
    }
    if direction == Direction::Egress {
        headers.flags |= FLAG_EGRESS;
    }
    // SAFETY: the helper only reads the clock.
    summary.timestamp_ns = unsafe { bpf_ktime_get_ns() };
    summary.wire_len = hook.len() + if tag.is_some() { 4 } else { 0 };
    summary.interface = interface.number as u16;
    let elapsed_ns = summary.timestamp_ns.saturating_sub(opened_ns);
    if is_over(elapsed_ns) || !take_ticket(gate, summary.timestamp_ns) {
        return None;
    }
    let frame = Frame {
        hook,
        place,
        tag,
        header_len,
        batch,
    };
    frame.record(elapsed_ns);
    Some(())
}

#[inline(always)]
fn interface<'a, H: Hook<'a>>(hook: &H) -> Option<Interface> {
    if config!(single_interface) == 1 {
        return Some(Interface {
            number: 0,
            link: config!(link),
        });
    }
    // SAFETY: entries are never removed or changed while programs run.
    unsafe { INTERFACES.get(hook.ifindex()) }.copied()
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
    // SAFETY: the gate is one aligned value of words that are only accessed whole.
    let ticket = unsafe { bound::fetch_add(&raw mut (*gate).tickets, 1) };
    if ticket + 1 == limit {
        // SAFETY: as above.
        unsafe {
            (&raw mut (*gate).closed_ns).write_volatile(now_ns);
            (&raw mut (*gate).opened_ns).write_volatile(0);
        }
    }
    ticket < limit
}

/// A matched frame.
struct Frame<'h, H> {
    hook: &'h H,
    place: Place,
    tag: Option<Tag>,
    header_len: u32,
    /// This CPU's state, with the packet's summary in `current`.
    batch: *mut Batch,
}

impl<'a, H: Hook<'a>> Frame<'_, H> {
    #[inline(always)]
    fn summary(&self) -> &Summary {
        // SAFETY: this CPU's value, and packets of one CPU do not overlap.
        unsafe { &(*self.batch).current.record }
    }

    #[inline(always)]
    fn record(&self, elapsed_ns: u64) {
        let headers = &self.summary().headers;
        let wire_len = self.summary().wire_len;
        self.place.add(Tally::Seen, 1);
        self.place.add(Tally::Matched, 1);
        self.place.frame(headers, wire_len);
        if let Some((packets, bytes)) = self.hook.on_wire(wire_len, self.header_len) {
            self.place.add(Tally::WirePackets, packets);
            self.place.add(Tally::WireBytes, bytes);
        }
        if headers.status != 0 {
            self.explain(headers);
        }
        count::slot(self.batch, elapsed_ns, headers, wire_len);
        if config!(snaplen) != 0 {
            self.sample();
        }
        if config!(summaries) == 1 {
            if headers.wants_excerpt() {
                self.excerpt();
            }
            emit::summary(self.batch);
        }
    }

    /// Sends every `sample`th frame up.
    #[inline(always)]
    fn sample(&self) {
        // SAFETY: this CPU's value, and packets of one CPU do not overlap.
        let countdown = unsafe { &mut (*self.batch).sample_countdown };
        if *countdown != 0 {
            *countdown -= 1;
            self.place.add(Tally::FramesSampledOut, 1);
            return;
        }
        *countdown = config!(sample) - 1;
        let header = self.header(Kind::Frame, config!(snaplen));
        if !emit::frame(self.hook, self.tag, &header) {
            self.place.add(Tally::FramesLost, 1);
        }
    }

    #[inline(always)]
    fn excerpt(&self) {
        let header = self.header(Kind::Excerpt, EXCERPT_BYTES);
        let tally = if emit::excerpt(self.hook, self.tag, &header) {
            Tally::ExcerptsSent
        } else {
            Tally::ExcerptsLost
        };
        self.place.add(tally, 1);
    }

    #[inline(always)]
    fn header(&self, kind: Kind, limit: u32) -> FrameHeader {
        FrameHeader {
            kind: kind as u32,
            cap_len: self.summary().wire_len.min(limit).min(H::REACH),
            timestamp_ns: self.summary().timestamp_ns,
            wire_len: self.summary().wire_len,
            interface: self.summary().interface,
            flags: self.summary().headers.flags,
            protocol: self.summary().headers.protocol,
            reserved: 0,
        }
    }

    /// Says why headers were not whole, when the loader asked for diagnostics; otherwise the
    /// verifier removes it.
    #[inline(always)]
    fn explain(&self, headers: &Headers) {
        debug!(
            self.hook.context(),
            "interface {}: {} bytes, ethertype {:x}: parse error {}",
            self.summary().interface,
            self.summary().wire_len,
            headers.ether_type,
            headers.status
        );
    }
}
