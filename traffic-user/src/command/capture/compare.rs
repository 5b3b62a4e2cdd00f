//! What interfaces counted themselves meanwhile, for those who ask with `-v`.

use traffic_ebpf::tally::Tally;

use crate::{
    kernel::{Attached, InterfaceError, InterfaceQuery},
    snapshot::Snapshot,
};

/// What each interface of the run had counted when the run began.
pub(super) struct OwnCounts {
    query: InterfaceQuery,
    before: Vec<OwnCount>,
}

/// Packets received and sent up to a moment; `None` for an interface that is gone.
type OwnCount = Option<(u64, u64)>;

impl OwnCounts {
    /// Asks the kernel.
    pub(super) async fn begin(attached: &[Attached]) -> Result<Self, InterfaceError> {
        let query = InterfaceQuery::open()?;
        let before = read(&query, attached).await?;
        Ok(Self { query, before })
    }

    /// A line for each interface that was there all the time: what it counted since the beginning,
    /// and what the hooks saw. They differ where frames are joined or split between both places,
    /// or where a direction was not captured.
    pub(super) async fn since(
        &self,
        attached: &[Attached],
        snapshot: &Snapshot,
    ) -> Result<Vec<String>, InterfaceError> {
        let all_now = read(&self.query, attached).await?;
        let seen = |place: usize| {
            let counters = snapshot.places.get(place);
            counters.map_or(0, |counters| counters.tally(Tally::Seen))
        };
        let mut lines = Vec::new();
        for (number, attached) in attached.iter().enumerate() {
            let (Some(before), Some(now)) = (self.before[number], all_now[number]) else {
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
        Ok(lines)
    }
}

async fn read(
    query: &InterfaceQuery,
    attached: &[Attached],
) -> Result<Vec<OwnCount>, InterfaceError> {
    let interfaces = query.list().await?;
    let own = |attached: &Attached| {
        let index = attached.interface.ifindex;
        let mut all = interfaces.iter();
        Some(all.find(|interface| interface.ifindex == index)?.packets)
    };
    Ok(attached.iter().map(own).collect())
}
