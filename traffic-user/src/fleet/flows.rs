//! Flows that ended, as rows on their way to the database.

use super::table::{FlowRow, Rows};
use crate::flows::FlowRecord;

/// Flows that are sent at once, of some 220 bytes each.
const MOST_FLOWS: u32 = 10_000;

/// Rows of the flows of a run.
#[derive(Debug)]
pub struct FlowRows {
    host: String,
    run: u64,
    now_ns: u64,
    number: u64,
    batches: Vec<Rows>,
}

impl FlowRows {
    /// No rows yet of the run with this number, when it is `now_ns` since the Unix epoch.
    #[must_use]
    pub const fn new(host: String, run: u64, now_ns: u64) -> Self {
        Self {
            host,
            run,
            now_ns,
            number: 0,
            batches: Vec::new(),
        }
    }

    /// Lets time pass. It does not go back, so that the flows of any time have numbers without a
    /// gap.
    pub fn tick(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// Adds a flow of this interface.
    pub fn add(&mut self, interface: &str, flow: &FlowRecord) {
        let is_full = |rows: &Rows| rows.count >= MOST_FLOWS;
        if self.batches.last().is_none_or(is_full) {
            self.batches.push(Rows::default());
        }
        let row = FlowRow {
            host: &self.host,
            run: self.run,
            time_ns: self.now_ns,
            number: self.number,
            interface,
            flow,
        };
        self.number += 1;
        if let Some(rows) = self.batches.last_mut() {
            rows.flow(&row);
        }
    }

    /// Gives batches of rows that are full.
    pub fn take_full(&mut self) -> impl Iterator<Item = Rows> {
        let full = self.batches.len().saturating_sub(1);
        self.batches.drain(..full)
    }

    /// Gives what is left behind those.
    pub fn take_rest(&mut self) -> Rows {
        self.batches.pop().unwrap_or_default()
    }
}
