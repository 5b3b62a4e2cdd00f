//! The part that holds the hooks. It trusts no request, and reads no packets.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
};

use aya::{
    Ebpf,
    programs::{Program, RawTracePointRunOptions, TestRun as _},
};
use caps::{CapSet, Capability, errors::CapsError};
use nix::unistd::{Uid, User};

use super::{
    super::{
        attach::HookKind, hooks::Hooks, load::LoadError, promiscuous::Promiscuous,
        snapshot::Counted as _,
    },
    wire::{self, Query, REQUEST_BYTES, Request},
};
use crate::sandbox::Policy;

/// Maps, programs, and everything that is undone at the end.
pub(super) struct Holder {
    pub(super) ebpf: Ebpf,
    pub(super) hooks: Hooks,
    pub(super) promiscuous: Vec<(u32, Promiscuous)>,
}

impl Holder {
    /// Answers until the other part goes away, makes no sense, or has enough; then detaches.
    pub(super) fn serve(mut self, mut line: UnixStream) {
        let mut bytes = [0; REQUEST_BYTES];
        let mut asked_to_end = false;
        while !asked_to_end && line.read_exact(&mut bytes).is_ok() {
            let Some(request) = Request::decode(&bytes) else {
                log::error!("the process that reads packets asked for nonsense: detaching");
                break;
            };
            asked_to_end = request == Request::Detach;
            if asked_to_end {
                break;
            }
            let answer = self.answer(&request).unwrap_or_else(|refusal| {
                let mut answer = vec![wire::REFUSED];
                let length = u32::try_from(refusal.len()).unwrap_or(0);
                answer.extend_from_slice(&length.to_le_bytes());
                answer.extend_from_slice(refusal.as_bytes());
                answer
            });
            if line.write_all(&answer).is_err() {
                break;
            }
        }
        self.hooks.detach();
        if asked_to_end {
            // The other part has gone on without it if this fails.
            let _ = line.write_all(&[wire::DONE]);
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Vec<u8>, String> {
        let mut answer = vec![wire::DONE];
        match request {
            Request::Plug(interface) => {
                let plugged = self.hooks.plug(&mut self.ebpf, interface);
                let number = plugged.map_err(|error| error.to_string())?;
                let attached = &self.hooks.attached()[number];
                wire::put(&mut answer, &[u32::try_from(number).unwrap_or(u32::MAX)]);
                answer.push(wire::hook_code(attached.ingress));
                answer.push(wire::hook_code(attached.egress));
                answer.push(u8::from(attached.strips_vlan_tags));
            }
            Request::Skip(interface) => self.hooks.skip(interface),
            Request::Unplug(ifindex) => {
                self.promiscuous.retain(|(held, _)| held != ifindex);
                let unplugged = self.hooks.unplug(&mut self.ebpf, *ifindex);
                unplugged.map_err(|error| error.to_string())?;
            }
            Request::Promiscuous(ifindex) => {
                let held = Promiscuous::new(*ifindex).map_err(|error| error.to_string())?;
                self.promiscuous.push((*ifindex, held));
            }
            Request::Seal { joins, user } => self.seal(*joins, *user)?,
            Request::Flush(cpu) => self.flush(*cpu),
            Request::Read(query) => {
                let read = self.read(*query, &mut answer);
                read.map_err(|error| error.to_string())?;
            }
            // The conversation is over then.
            Request::Detach => {}
        }
        Ok(answer)
    }

    fn read(&self, query: Query, answer: &mut Vec<u8>) -> Result<(), LoadError> {
        match query {
            Query::Counters(interfaces) => {
                wire::put(answer, &self.ebpf.counters(interfaces as usize)?);
            }
            Query::Slots(first, last) => {
                let slots = self.ebpf.slots(first, last)?;
                let (indexes, counts): (Vec<_>, Vec<_>) = slots.into_iter().unzip();
                wire::put(answer, &indexes);
                wire::put(answer, &counts);
            }
            Query::Numbered(class) => {
                let numbered = self.ebpf.numbered(class)?;
                let (keys, counts): (Vec<_>, Vec<_>) = numbered.into_iter().unzip();
                wire::put(answer, &keys);
                wire::put(answer, &counts);
            }
        }
        Ok(())
    }

    fn flush(&mut self, cpu: u32) {
        let Some(Program::RawTracePoint(flush)) = self.ebpf.program_mut("traffic_flush") else {
            return;
        };
        let options = RawTracePointRunOptions {
            cpu: Some(cpu),
            ..RawTracePointRunOptions::new()
        };
        // A CPU that went offline keeps its batch; it is read when the capture ends.
        if let Err(error) = flush.test_run(options) {
            log::debug!("flush CPU {cpu}: {error}");
        }
    }

    /// Keeps what detaching, and interfaces that may join, still need.
    fn seal(&mut self, joins: bool, user: Option<u32>) -> Result<(), String> {
        let needed = self.needed(joins).map_err(|error| error.to_string())?;
        let mut policy = Policy::holding_hooks(needed);
        if let Some(id) = user {
            let user = User::from_uid(Uid::from_raw(id)).map_err(|error| error.to_string())?;
            policy.become_user(user.ok_or_else(|| format!("there is no user {id}"))?);
        }
        if joins {
            // Where TC is attached by filters, their names tell whose process still runs.
            policy.read(Path::new("/proc"));
        }
        policy.enter().map(drop).map_err(|error| error.to_string())
    }

    fn needed(&self, joins: bool) -> Result<Vec<Capability>, CapsError> {
        if joins {
            return Ok(vec![
                Capability::CAP_BPF,
                Capability::CAP_NET_ADMIN,
                Capability::CAP_NET_RAW,
                Capability::CAP_PERFMON,
            ]);
        }
        let mut needed = Vec::new();
        let mut hooks = self.hooks.attached().iter();
        if hooks.any(|hooks| [hooks.ingress, hooks.egress].contains(&Some(HookKind::Clsact))) {
            needed.push(Capability::CAP_NET_ADMIN);
        }
        if self.reading_needs_privileges()? {
            needed.push(Capability::CAP_BPF);
        }
        Ok(needed)
    }

    /// Whether maps can be read with capabilities in force alone, as before Linux 5.19.
    fn reading_needs_privileges(&self) -> Result<bool, CapsError> {
        let effective = caps::read(None, CapSet::Effective)?;
        caps::clear(None, CapSet::Effective)?;
        let is_refused = self.ebpf.counters(1).is_err();
        caps::set(None, CapSet::Effective, &effective)?;
        Ok(is_refused)
    }
}
