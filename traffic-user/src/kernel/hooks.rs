//! The hooks of a capture, by interface: taken, given back, and cleaned up behind.

use aya::{Ebpf, programs::TcAttachType};
use traffic_ebpf::config;

use super::{
    attach::{self, AttachError, HookKind, Hooked},
    clsact, gate, host,
    interfaces::Interface,
    load::{self, LoadError},
};

/// Which hook takes arriving frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookChoice {
    /// TC in both directions.
    Tc,
    /// XDP on ingress, TC on egress.
    Xdp,
}

/// Hooks that an interface got.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The interface; its number in the run is its place in the list.
    pub interface: Interface,
    /// Hook for arriving frames; `None` when they were not asked for.
    pub ingress: Option<HookKind>,
    /// Hook for leaving frames, as `ingress`.
    pub egress: Option<HookKind>,
    /// Whether tags of VLANs are gone before the hook for arriving frames sees them.
    pub strips_vlan_tags: bool,
    /// Why it has no hooks, where the run goes on without it.
    pub refused: Option<String>,
}

/// What holds the programs on an interface's hooks.
type Held = [Option<Hooked>; 2];

/// Every hook of a capture. Dropping them detaches.
pub(super) struct Hooks {
    choice: HookChoice,
    directions: (bool, bool),
    room: usize,
    attached: Vec<Attached>,
    /// As `attached`; `None` for an interface that went away.
    held: Vec<Option<Held>>,
    added_clsact: Vec<u32>,
}

/// Number of an interface that is not counted: no counters have it.
const NOT_COUNTED: u32 = u32::MAX;

impl Hooks {
    /// None yet, and room for so many interfaces.
    pub(super) fn new(choice: HookChoice, directions: (bool, bool), room: usize) -> Self {
        Self {
            choice,
            directions,
            room,
            attached: Vec::new(),
            held: Vec::new(),
            added_clsact: Vec::new(),
        }
    }

    /// Hooks by interface number, also of those that went away.
    pub(super) fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Attaches to an interface, and then has it counted. One that was here before keeps its
    /// number.
    pub(super) fn plug(
        &mut self,
        ebpf: &mut Ebpf,
        interface: &Interface,
    ) -> Result<usize, AttachError> {
        let number = self.number(interface);
        if number == self.room {
            return Err(AttachError::NoRoom(self.room));
        }
        let held = self.attach(ebpf, interface)?;
        register(
            ebpf,
            interface,
            u32::try_from(number).unwrap_or(NOT_COUNTED),
        )?;
        let [ingress, egress] = held.each_ref().map(|hook| Some(hook.as_ref()?.kind));
        let attached = Attached {
            interface: interface.clone(),
            ingress,
            egress,
            strips_vlan_tags: ingress.is_some_and(|hook| !hook.is_tc())
                && host::receive_vlan_offload(&interface.name).unwrap_or(false),
            refused: None,
        };
        if number == self.attached.len() {
            self.attached.push(attached);
            self.held.push(Some(held));
        } else {
            self.attached[number] = attached;
            self.held[number] = Some(held);
        }
        Ok(number)
    }

    /// Has an interface keep a number of the run, without hooks.
    pub(super) fn skip(&mut self, interface: &Interface) {
        self.attached.push(Attached {
            interface: interface.clone(),
            ingress: None,
            egress: None,
            strips_vlan_tags: false,
            refused: None,
        });
        self.held.push(None);
    }

    fn number(&self, interface: &Interface) -> usize {
        let is_back = |(attached, held): (&Attached, &Option<Held>)| {
            let before = &attached.interface;
            held.is_none()
                && before.ifindex == interface.ifindex
                && before.name == interface.name
                && before.hardware_type == interface.hardware_type
        };
        let mut known = self.attached.iter().zip(&self.held);
        known.position(is_back).unwrap_or(self.attached.len())
    }

    fn attach(&mut self, ebpf: &mut Ebpf, interface: &Interface) -> Result<Held, AttachError> {
        let (ingress, egress) = self.directions;
        // On loopback every frame that leaves arrives as well: count it once.
        let egress = egress && !(interface.is_loopback() && ingress);
        let mut added = false;
        let mut tc =
            |ebpf: &mut Ebpf, direction| attach::tc(ebpf, interface, direction, &mut added);
        let ingress = match (ingress, self.choice) {
            (false, _) => None,
            (true, HookChoice::Xdp) => Some(attach::xdp(ebpf, interface)?),
            (true, HookChoice::Tc) => Some(tc(ebpf, TcAttachType::Ingress)?),
        };
        let egress = egress.then(|| tc(ebpf, TcAttachType::Egress)).transpose();
        if added {
            self.added_clsact.push(interface.ifindex);
        }
        Ok([ingress, egress?])
    }

    /// Detaches from an interface that went away, if it was one of these.
    pub(super) fn unplug(&mut self, ebpf: &mut Ebpf, ifindex: u32) -> Result<(), LoadError> {
        let is_it = |(attached, held): (&Attached, &Option<Held>)| {
            held.is_some() && attached.interface.ifindex == ifindex
        };
        let Some(number) = self.attached.iter().zip(&self.held).position(is_it) else {
            return Ok(());
        };
        self.held[number] = None;
        // Its qdiscs went with it.
        self.added_clsact.retain(|added| *added != ifindex);
        // The number may be another interface's one day.
        gate::wait_for_programs();
        register(ebpf, &self.attached[number].interface, NOT_COUNTED)
    }

    /// Detaches everything and removes what was added for it.
    pub(super) fn detach(self) {
        drop(self.held);
        for ifindex in self.added_clsact {
            if let Err(error) = clsact::remove_unused(ifindex) {
                log::warn!("remove the clsact qdisc of interface {ifindex}: {error}");
            }
        }
    }
}

fn register(ebpf: &mut Ebpf, interface: &Interface, number: u32) -> Result<(), LoadError> {
    let link = load::link(interface);
    load::register(ebpf, interface.ifindex, config::Interface { number, link })
}
