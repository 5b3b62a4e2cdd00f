//! The capture in two processes. One holds hooks, programs and maps, and with them what privileges
//! are left; it never sees a packet. The other reads packets, and asks the first for the little
//! that it cannot do. When either ends, however it ends, so does the other.

mod serve;
mod wire;

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::AsFd as _, unix::net::UnixStream},
};

use aya::Ebpf;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::Uid,
};
use traffic_ebpf::{
    tally::{Count, Counters, NumberedKey},
    timeline::SlotCounts,
};

use self::{
    serve::Holder,
    wire::{DONE, Query, Request, get},
};
use super::{
    hooks::{Attached, Hooks},
    interfaces::Interface,
    load::LoadError,
    process::{Keep, Part},
    snapshot::{Class, Counted},
};

/// The process that holds the hooks.
pub(super) struct Broker(Part);

impl Broker {
    /// Starts it. From here on this process has neither programs nor maps, but for what it mapped.
    ///
    /// # Errors
    /// When the process cannot be split.
    pub(super) fn start(ebpf: Ebpf, hooks: Hooks) -> io::Result<Self> {
        let holder = Holder {
            ebpf,
            hooks,
            promiscuous: Vec::new(),
        };
        Part::start(Keep::Bpf, |line| holder.serve(line)).map(Self)
    }

    /// Attaches to an interface; its number and hooks.
    pub(super) fn plug(&self, interface: &Interface) -> Result<(usize, Attached), LoadError> {
        let mut answer = self.ask(&Request::Plug(interface.clone()))?;
        let number: Vec<u32> = get(&mut answer).map_err(gone)?;
        let mut bytes = [0; 3];
        answer.read_exact(&mut bytes).map_err(gone)?;
        let [ingress, egress, strips_vlan_tags] = bytes;
        let attached = Attached {
            interface: interface.clone(),
            ingress: wire::hook(ingress),
            egress: wire::hook(egress),
            strips_vlan_tags: strips_vlan_tags != 0,
            refused: None,
        };
        let number = number.first().copied().unwrap_or(u32::MAX);
        Ok((number as usize, attached))
    }

    /// Has an interface that refused its hooks keep the next number; what is known of it.
    pub(super) fn skip(
        &self,
        interface: &Interface,
        reason: String,
    ) -> Result<Attached, LoadError> {
        self.ask(&Request::Skip(interface.clone()))?;
        Ok(Attached {
            interface: interface.clone(),
            ingress: None,
            egress: None,
            strips_vlan_tags: false,
            refused: Some(reason),
        })
    }

    pub(super) fn unplug(&self, ifindex: u32) -> Result<(), LoadError> {
        self.ask(&Request::Unplug(ifindex)).map(drop)
    }

    pub(super) fn promiscuous(&self, ifindex: u32) -> Result<(), LoadError> {
        self.ask(&Request::Promiscuous(ifindex)).map(drop)
    }

    /// As [`Request::Seal`].
    pub(super) fn seal(&self, joins: bool, user: Option<Uid>) -> Result<(), LoadError> {
        let user = user.map(Uid::as_raw);
        self.ask(&Request::Seal { joins, user }).map(drop)
    }

    pub(super) fn flush(&self, cpu: u32) -> Result<(), LoadError> {
        self.ask(&Request::Flush(cpu)).map(drop)
    }

    /// Detaches from everything, and waits until that is done.
    pub(super) fn detach(self) {
        if let Err(error) = self.ask(&Request::Detach) {
            log::warn!("detach: {error}");
        }
        self.0.join();
    }

    /// Sees whether it is still there.
    pub(super) fn check(&self) -> Result<(), LoadError> {
        let mut line = [PollFd::new(self.0.line().as_fd(), PollFlags::POLLIN)];
        // It says nothing unasked: whatever there is, is its end.
        match poll(&mut line, PollTimeout::ZERO) {
            Ok(0) | Err(_) => Ok(()),
            Ok(_) => Err(LoadError::BrokerGone),
        }
    }

    fn ask(&self, request: &Request) -> Result<&UnixStream, LoadError> {
        let mut line = self.0.line();
        line.write_all(&request.encode()).map_err(gone)?;
        let mut verdict = [0];
        line.read_exact(&mut verdict).map_err(gone)?;
        if verdict == [DONE] {
            return Ok(line);
        }
        let mut words = vec![0; wire::count(&mut line).map_err(gone)?];
        line.read_exact(&mut words).map_err(gone)?;
        Err(LoadError::Refused(
            String::from_utf8_lossy(&words).into_owned(),
        ))
    }
}

/// The line to the process that holds the hooks broke.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn gone(error: io::Error) -> LoadError {
    log::debug!("the line to the process that holds the hooks: {error}");
    LoadError::BrokerGone
}

impl Counted for Broker {
    fn counters(&self, interfaces: usize) -> Result<Vec<Counters>, LoadError> {
        let interfaces = u32::try_from(interfaces).unwrap_or(u32::MAX);
        get(&mut self.ask(&Request::Read(Query::Counters(interfaces)))?).map_err(gone)
    }

    fn slots(&self, first: u32, last: u32) -> Result<Vec<(u32, SlotCounts)>, LoadError> {
        let mut answer = self.ask(&Request::Read(Query::Slots(first, last)))?;
        let indexes: Vec<u32> = get(&mut answer).map_err(gone)?;
        let counts = get(&mut answer).map_err(gone)?;
        Ok(indexes.into_iter().zip(counts).collect())
    }

    fn numbered(&self, class: Class) -> Result<Vec<(NumberedKey, Count)>, LoadError> {
        let mut answer = self.ask(&Request::Read(Query::Numbered(class)))?;
        let keys: Vec<NumberedKey> = get(&mut answer).map_err(gone)?;
        let counts = get(&mut answer).map_err(gone)?;
        Ok(keys.into_iter().zip(counts).collect())
    }
}
