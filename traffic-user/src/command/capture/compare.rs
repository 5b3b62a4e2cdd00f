//! What interfaces counted themselves meanwhile, for those who ask with `-v`.

use traffic_ebpf::tally::Tally;

use crate::{
    kernel::{Attached, InterfaceError, Interfaces},
    snapshot::Snapshot,
};

/// Packets received and sent by each interface of the run up to a moment; `None` for one that is
/// gone.
pub(super) struct OwnCounts(Vec<Option<(u64, u64)>>);

impl OwnCounts {
    /// Asks the kernel.
    pub(super) async fn read(attached: &[Attached]) -> Result<Self, InterfaceError> {
        let interfaces = Interfaces::list().await?;
        let own = |attached: &Attached| {
            let index = attached.interface.ifindex;
            let mut all = interfaces.iter();
            Some(all.find(|interface| interface.ifindex == index)?.packets)
        };
        Ok(Self(attached.iter().map(own).collect()))
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
