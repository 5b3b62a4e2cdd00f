//! What is said about a capture: where it was made, how, and what to know about it.

use std::time::Duration;

use traffic_ebpf::tally::{Count, Tally};

use super::settings::{filter_text, snaplen};
use crate::{
    cli::CaptureArgs,
    kernel::{self, Attached, ClockStep, HookKind, Session},
    report::{Source, assemble},
    snapshot::Snapshot,
};

pub(super) fn source(args: &CaptureArgs) -> Source {
    Source::Capture {
        filter: filter_text(args),
        sample: args.sample,
        snaplen: snaplen(args),
        host: kernel::hostname(),
        kernel: kernel::kernel_release(),
    }
}

pub(super) fn interface_row(attached: &Attached) -> assemble::Interface {
    let label = |hook: Option<HookKind>| hook.map(|hook| hook.label().to_owned());
    assemble::Interface {
        name: attached.interface.name.clone(),
        ifindex: attached.interface.ifindex,
        // The kernel counts every frame.
        sample: 1,
        link_type: attached.interface.link_type().to_owned(),
        ingress_hook: label(attached.ingress),
        egress_hook: label(attached.egress),
    }
}

pub(super) fn hooks(attached: &Attached) -> String {
    let ingress = attached
        .ingress
        .map(|hook| format!("ingress {}", hook.label()));
    let egress = attached
        .egress
        .map(|hook| format!("egress {}", hook.label()));
    ingress
        .into_iter()
        .chain(egress)
        .collect::<Vec<_>>()
        .join(", ")
}

/// What a reader of the numbers must know about where they were counted.
pub(super) fn notes(attached: &[Attached]) -> Vec<String> {
    let mut notes = Vec::new();
    let captured = attached.iter().filter(|one| one.refused.is_none());
    if captured.count() > 1 {
        notes.push(
            "a packet that crosses several of these interfaces is counted at each".to_owned(),
        );
    }
    notes.extend(attached.iter().flat_map(interface_notes));
    notes
}

/// What must be known about one of them.
pub(super) fn interface_notes(attached: &Attached) -> Vec<String> {
    let Attached {
        interface,
        ingress,
        egress,
        strips_vlan_tags,
        refused,
    } = attached;
    let mut notes = Vec::new();
    let name = &interface.name;
    if let Some(reason) = refused {
        return vec![format!("{name} is not captured: {reason}")];
    }
    if !interface.up {
        notes.push(format!("{name} is down: it carries nothing until it is up"));
    }
    if interface.is_loopback() && egress.is_none() {
        notes.push(format!(
            "{name} is counted on ingress only: what leaves it arrives on it"
        ));
    }
    if *strips_vlan_tags {
        notes.push(format!(
            "{name} strips VLAN tags before XDP can see them: tagged frames look untagged \
             (ethtool -K {name} rxvlan off, or --hook tc)"
        ));
    }
    if *ingress == Some(HookKind::XdpGeneric) {
        notes.push(format!(
            "the driver of {name} takes no XDP program: generic XDP is used"
        ));
    }
    notes
}

/// What a step of the clock does to the run.
pub(super) fn clock_note(step: ClockStep) -> String {
    let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
    if step.slept_ns > 0 {
        return format!(
            "the machine slept for {:.3} s during the capture; time stamps go on with the clock, \
             durations leave it out",
            seconds(step.slept_ns)
        );
    }
    let sign = if step.step_ns < 0 { '-' } else { '+' };
    format!(
        "the clock was set by {sign}{:.3} s during the capture; time stamps follow it",
        seconds(step.step_ns.unsigned_abs())
    )
}

/// Asks for promiscuous mode; one note where it is not allowed.
pub(super) fn promiscuous(session: &Session, attached: &[Attached]) -> Option<String> {
    let mut attached = attached.iter();
    attached.find_map(
        |Attached {
             interface, refused, ..
         }| {
            if !interface.has_ethernet_headers() || refused.is_some() {
                return None;
            }
            let error = session.promiscuous(interface.ifindex).err()?;
            Some(format!(
                "no promiscuous mode on {}, which needs CAP_NET_RAW: {error} (-p asks for none)",
                interface.name
            ))
        },
    )
}

/// Packets on the wire; `None` when a hook cannot know them.
pub(super) fn on_wire(snapshot: &Snapshot, attached: &[Attached]) -> Option<Count> {
    let all_know = attached
        .iter()
        .flat_map(|attached| [attached.ingress, attached.egress])
        .flatten()
        .all(HookKind::is_tc);
    all_know.then(|| Count {
        packets: snapshot.tally(Tally::WirePackets),
        bytes: snapshot.tally(Tally::WireBytes),
    })
}
