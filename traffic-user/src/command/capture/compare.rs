//! What interfaces counted themselves meanwhile, for those who ask with `-v`.

use traffic_ebpf::tally::Tally;

use crate::{
    kernel::{Attached, Interface, Interfaces},
    snapshot::Snapshot,
};

/// Packets received and sent by each interface of the run up to a moment; `None` for one that is
/// gone.
pub(super) struct OwnCounts(Vec<Option<(u64, u64)>>);

impl OwnCounts {
    /// Of the interfaces that are there now.
    pub(super) fn of(attached: &[Attached], now: &Interfaces) -> Self {
        let own = |attached: &Attached| Some(now.numbered(attached.interface.ifindex)?.packets);
        Self(attached.iter().map(own).collect())
    }

    /// Counts an interface that joined from what it had counted then.
    pub(super) fn add(&mut self, interface: &Interface) {
        self.0.push(Some(interface.packets));
    }

    /// A line for each interface that was there all the time: what it counted since `before`, and
    /// what the hooks saw. They differ where frames are joined or split between both places, or
    /// where a direction was not captured.
    pub(super) fn since(
        &self,
        before: &Self,
        attached: &[Attached],
        snapshot: &Snapshot,
    ) -> Vec<String> {
        let seen = |place: usize| {
            let counters = snapshot.places.get(place);
            counters.map_or(0, |counters| counters.tally(Tally::Seen))
        };
        let mut lines = Vec::new();
        for (number, attached) in attached.iter().enumerate() {
            let (Some(before), Some(now)) = (before.0[number], self.0[number]) else {
                continue;
            };
            lines.push(format!(
                "{} itself counted {} frames in and {} out, the hooks saw {} and {}",
                attached.interface.name,
                now.0.saturating_sub(before.0),
                now.1.saturating_sub(before.1),
                seen(number * 2),
                seen(number * 2 + 1)
            ));
        }
        lines
    }
}
