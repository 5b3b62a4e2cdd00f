//! Interfaces that come and go during a capture.

use crate::kernel::{Attached, Interface, LinkEvent};

/// The interfaces of the run that still exist.
pub(super) struct InterfaceWatch {
    present: Vec<Interface>,
    last_gone: Option<String>,
}

impl InterfaceWatch {
    pub(super) fn new(attached: &[Attached]) -> Self {
        Self {
            present: attached
                .iter()
                .map(|attached| attached.interface.clone())
                .collect(),
            last_gone: None,
        }
    }

    /// Follows an event; a line for the user when it concerns the run.
    pub(super) fn follow(&mut self, event: &LinkEvent) -> Option<String> {
        match event {
            LinkEvent::Removed { ifindex } => {
                let index = self
                    .present
                    .iter()
                    .position(|interface| interface.ifindex == *ifindex)?;
                let gone = self.present.remove(index);
                self.last_gone = Some(gone.name.clone());
                Some(format!("{} disappeared", gone.name))
            }
            LinkEvent::Changed(changed) => {
                let known = self
                    .present
                    .iter_mut()
                    .find(|interface| interface.ifindex == changed.ifindex)?;
                let was_up = std::mem::replace(&mut known.up, changed.up);
                match (was_up, changed.up) {
                    (true, false) => Some(format!("{} went down; waiting for it", known.name)),
                    (false, true) => Some(format!("{} is up", known.name)),
                    _ => None,
                }
            }
        }
    }

    /// The last interface to go, when none is left.
    pub(super) fn all_gone(&self) -> Option<String> {
        if self.present.is_empty() {
            self.last_gone.clone()
        } else {
            None
        }
    }
}
