//! Interfaces that come and go during a capture.

use std::collections::HashSet;

use crate::kernel::{Attached, Interface, LinkEvent};

/// What an event means for the run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// One is no longer there.
    Left { ifindex: u32, message: String },
    /// One is there that the run could take in.
    Joined(Interface),
    /// Something for the user to know, also when the capture is over.
    Note(String),
    /// Something for the user to know now.
    News(String),
}

/// The interfaces of the run that still exist.
pub(super) struct InterfaceWatch {
    present: Vec<Interface>,
    /// Whether others may join.
    joins: bool,
    /// Numbers of those that were there and could not.
    refused: HashSet<u32>,
    last_gone: Option<String>,
}

impl InterfaceWatch {
    pub(super) fn new(attached: &[Attached], joins: bool) -> Self {
        Self {
            present: attached
                .iter()
                .map(|attached| attached.interface.clone())
                .collect(),
            joins,
            refused: HashSet::new(),
            last_gone: None,
        }
    }

    /// Follows an event: what concerns the run, in the order to be done.
    pub(super) fn follow(&mut self, event: LinkEvent) -> Vec<Change> {
        match event {
            LinkEvent::Removed { ifindex, moved } => {
                self.left(ifindex, moved).into_iter().collect()
            }
            LinkEvent::Changed(interface) => self.changed(interface),
            LinkEvent::Listed(interfaces) => {
                let is_gone =
                    |known: &&Interface| interfaces.iter().all(|one| !is_same(one, known));
                let gone: Vec<u32> = self.present.iter().filter(is_gone).map(index).collect();
                let mut changes: Vec<Change> = gone
                    .into_iter()
                    .filter_map(|ifindex| self.left(ifindex, false))
                    .collect();
                for interface in interfaces.iter() {
                    changes.extend(self.changed(interface.clone()));
                }
                changes
            }
        }
    }

    fn left(&mut self, ifindex: u32, moved: bool) -> Option<Change> {
        self.refused.remove(&ifindex);
        let place = self.present.iter().position(|one| one.ifindex == ifindex)?;
        let gone = self.present.remove(place);
        let message = if moved {
            format!("{} moved to another network namespace", gone.name)
        } else {
            format!("{} disappeared", gone.name)
        };
        self.last_gone = Some(message.clone());
        Some(Change::Left { ifindex, message })
    }

    fn changed(&mut self, now: Interface) -> Vec<Change> {
        let Some(known) = self.present.iter_mut().find(|one| is_same(one, &now)) else {
            let joins = self.joins && now.is_supported() && !self.refused.contains(&now.ifindex);
            return joins.then_some(Change::Joined(now)).into_iter().collect();
        };
        let before = std::mem::replace(known, now);
        let mut changes = Vec::new();
        if before.name != known.name {
            let names = format!("{} was renamed to {}", before.name, known.name);
            changes.push(Change::Note(names));
        }
        match (before.up, known.up) {
            (true, false) => {
                changes.push(Change::News(format!(
                    "{} went down; waiting for it",
                    known.name
                )));
            }
            (false, true) => changes.push(Change::News(format!("{} is up", known.name))),
            _ => {}
        }
        changes
    }

    /// Says that an interface was taken in.
    pub(super) fn joined(&mut self, interface: Interface) {
        self.present.push(interface);
    }

    /// Says that an interface could not be taken in. It is not offered again.
    pub(super) fn refused(&mut self, ifindex: u32) {
        self.refused.insert(ifindex);
    }

    /// What became of the last interface, when none is left and none can join.
    pub(super) fn all_gone(&self) -> Option<String> {
        if self.present.is_empty() && !self.joins {
            self.last_gone.clone()
        } else {
            None
        }
    }
}

fn is_same(one: &Interface, other: &Interface) -> bool {
    one.ifindex == other.ifindex
}

fn index(interface: &Interface) -> u32 {
    interface.ifindex
}
