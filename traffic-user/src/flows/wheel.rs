//! Which flow is due when: lists of flows by the time at which to look at them again.

/// Slots of the wheel. A power of two, because the bits of a word say which slots hold anything.
const SLOTS: u32 = u128::BITS;
/// Ticks to a timeout: the precision of timeouts is a part in so many.
const TICKS_PER_TIMEOUT: u64 = 64;
/// End of a list.
const NONE: u32 = u32::MAX;

/// A hashed timer wheel (Varghese and Lauck, 1987) that is visited lazily: a packet only changes
/// its flow, and the flow moves on when its slot comes up.
#[derive(Clone, Debug)]
pub(super) struct Wheel {
    heads: [u32; SLOTS as usize],
    occupied: u128,
    links: Vec<Link>,
    tick_ns: u64,
    now: u64,
}

/// A flow's neighbours in its slot.
#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    slot: u32,
}

impl Wheel {
    /// A wheel for timeouts of at most `longest_ns`.
    pub(super) fn new(longest_ns: u64) -> Self {
        Self {
            heads: [NONE; SLOTS as usize],
            occupied: 0,
            links: Vec::new(),
            tick_ns: (longest_ns / TICKS_PER_TIMEOUT).max(1),
            now: 0,
        }
    }

    /// The tick at hand.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Ticks that are no shorter than `duration_ns`.
    pub(super) fn ticks(&self, duration_ns: u64) -> u64 {
        duration_ns / self.tick_ns + 1
    }

    /// Nanoseconds since the Unix epoch at which the next tick begins.
    pub(super) fn next_tick_ns(&self) -> u64 {
        (self.now + 1).saturating_mul(self.tick_ns)
    }

    /// Goes to the tick of `time_ns`; returns the flows of all slots that came up, whose order is
    /// that of the slots.
    pub(super) fn turn(&mut self, time_ns: u64) -> Vec<u32> {
        let to = time_ns / self.tick_ns;
        let steps = to.saturating_sub(self.now).min(u64::from(SLOTS));
        let mut due = Vec::new();
        for step in 1..=steps {
            let slot = slot_of(self.now + step);
            while let Some(flow) = self.head(slot) {
                self.remove(flow);
                due.push(flow);
            }
        }
        self.now = to.max(self.now);
        due
    }

    /// Sets the tick to that of `time_ns`, in the past or in the future. The wheel is empty.
    pub(super) fn restart(&mut self, time_ns: u64) {
        debug_assert_eq!(self.occupied, 0, "flows would wait for a tick that is over");
        self.now = time_ns / self.tick_ns;
    }

    /// Looks at `flow` again at `tick`; at the next tick where that is over.
    pub(super) fn insert(&mut self, flow: u32, tick: u64) {
        let furthest = self.now + u64::from(SLOTS) - 1;
        let slot = slot_of(tick.clamp(self.now + 1, furthest));
        let next = std::mem::replace(&mut self.heads[slot as usize], flow);
        let link = Link {
            previous: NONE,
            next,
            slot,
        };
        let place = flow as usize;
        if place == self.links.len() {
            self.links.push(link);
        } else {
            self.links[place] = link;
        }
        if next != NONE {
            self.links[next as usize].previous = flow;
        }
        self.occupied |= 1 << slot;
    }

    /// Takes a flow out.
    pub(super) fn remove(&mut self, flow: u32) {
        let Link {
            previous,
            next,
            slot,
        } = self.links[flow as usize];
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        if previous == NONE {
            self.heads[slot as usize] = next;
        } else {
            self.links[previous as usize].next = next;
        }
        if self.heads[slot as usize] == NONE {
            self.occupied &= !(1 << slot);
        }
    }

    /// A flow of the slot that comes up first, and the tick at which it does.
    pub(super) fn first(&self) -> Option<(u32, u64)> {
        let next = self.now + 1;
        let ahead = self.occupied.rotate_right(slot_of(next)).trailing_zeros();
        let flow = self.head(slot_of(next + u64::from(ahead % SLOTS)))?;
        Some((flow, next + u64::from(ahead)))
    }

    fn head(&self, slot: u32) -> Option<u32> {
        let head = self.heads[slot as usize];
        (head != NONE).then_some(head)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a remainder of a number of 32 bits"
)]
fn slot_of(tick: u64) -> u32 {
    (tick % u64::from(SLOTS)) as u32
}
