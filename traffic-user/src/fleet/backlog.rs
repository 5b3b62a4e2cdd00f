//! What has not been stored yet: in memory while the server answers, else on disk.

use std::{collections::VecDeque, sync::Arc};

use super::{
    parcel::Parcel,
    spool::{Spool, Spooled},
};

/// What may wait in memory, in bytes of rows.
const MEMORY_BYTES: usize = 16 << 20;

/// Parcels, oldest first: those on disk, then those in memory.
pub(super) struct Backlog {
    memory: VecDeque<Arc<Parcel>>,
    spool: Spool,
    /// Rows that were given up.
    pub(super) lost: u64,
}

/// A parcel on its way to the server.
pub(super) struct Next {
    pub(super) parcel: Arc<Parcel>,
    /// Where it is on disk.
    file: Option<Spooled>,
}

impl Backlog {
    pub(super) const fn new(spool: Spool) -> Self {
        Self {
            memory: VecDeque::new(),
            spool,
            lost: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.spool.is_empty()
    }

    /// Rows of this run that wait.
    pub(super) fn own_rows(&self) -> u64 {
        self.spool.own_rows() + self.memory.iter().map(|parcel| parcel.rows()).sum::<u64>()
    }

    /// Takes a new parcel.
    pub(super) fn push(&mut self, parcel: Parcel) {
        self.memory.push_back(Arc::new(parcel));
        let waiting: usize = self.memory.iter().map(|parcel| parcel.bytes()).sum();
        if waiting > MEMORY_BYTES {
            self.spill();
        }
    }

    /// Moves everything to disk.
    pub(super) fn spill(&mut self) {
        for parcel in std::mem::take(&mut self.memory) {
            self.lost += self.spool.write(&parcel);
        }
    }

    /// The oldest parcel. One in memory is handed over; one on disk stays there until it is
    /// stored. Files that cannot be read are given up.
    pub(super) fn next(&mut self) -> Option<Next> {
        while let Some(file) = self.spool.oldest() {
            match file.read() {
                Ok(parcel) => {
                    return Some(Next {
                        parcel: Arc::new(parcel),
                        file: Some(file),
                    });
                }
                Err(error) => {
                    log::warn!("a spooled parcel of {} rows: {error}", file.rows);
                    self.lost += file.rows;
                    self.spool.remove(&file);
                }
            }
        }
        let parcel = self.memory.pop_front()?;
        Some(Next { parcel, file: None })
    }

    /// The server has it.
    pub(super) fn stored(&mut self, next: &Next) {
        if let Some(file) = &next.file
            && !self.spool.remove(file)
        {
            // It had to make room meanwhile, and was counted.
            self.lost = self.lost.saturating_sub(file.rows);
        }
    }

    /// The server does not have it, or did not say so.
    pub(super) fn failed(&mut self, next: &Next) {
        if next.file.is_none() {
            self.lost += self.spool.write(&next.parcel);
        }
        self.spill();
    }
}
