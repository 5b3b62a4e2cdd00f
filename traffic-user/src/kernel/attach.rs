//! Programs on hooks. Nothing that others attached is ever replaced or removed.

use std::{io, os::fd::AsFd as _};

use aya::{
    Ebpf,
    programs::{
        LinkOrder, Program, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        loaded_programs,
        tc::{SchedClassifierLink, TcAttachOptions},
        xdp::XdpLink,
    },
};
use thiserror::Error;

use super::{clsact, interfaces::Interface, load, probe};

/// How a program was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// TC by a link that ends with the process (Linux 6.6).
    Tcx,
    /// TC by a filter of the `clsact` qdisc.
    Clsact,
    /// XDP in the driver.
    XdpNative,
    /// XDP in the stack.
    XdpGeneric,
}

impl HookKind {
    /// Name in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "tc",
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
        }
    }

    /// Whether the hook sees segments of super-frames and tags in metadata.
    #[must_use]
    pub const fn is_tc(self) -> bool {
        matches!(self, Self::Tcx | Self::Clsact)
    }
}

/// Why a program could not be attached.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The program could not be loaded.
    #[error(transparent)]
    Load(#[from] load::LoadError),
    /// There are as many as the maps hold.
    #[error("this run has room for {0} interfaces")]
    NoRoom(usize),
    /// Another program has the hook.
    #[error("XDP on {interface} is taken by {occupant}, which stays (try --hook tc)")]
    XdpTaken {
        /// The interface.
        interface: String,
        /// The program that has it.
        occupant: String,
    },
    /// No way of attaching XDP worked.
    #[error("attach XDP to {interface} (try --hook tc): native: {native}; generic: {generic}")]
    XdpRefused {
        /// The interface.
        interface: String,
        /// Why not in the driver.
        native: String,
        /// Why not in the stack.
        generic: String,
    },
    /// TC refused.
    #[error("attach TC {direction} to {interface}: {reason}")]
    TcRefused {
        /// The interface.
        interface: String,
        /// `ingress` or `egress`.
        direction: &'static str,
        /// Why.
        reason: String,
    },
}

/// A program of the object by type, loaded.
macro_rules! loaded {
    ($ebpf:expr, $name:expr, $kind:ident) => {
        match load::program($ebpf, $name)? {
            Program::$kind(program) => program,
            _ => return Err(load::LoadError::Missing($name).into()),
        }
    };
}

/// A program on a hook. Dropping it detaches.
pub(super) struct Hooked {
    pub(super) kind: HookKind,
    #[expect(dead_code, reason = "the link ends when it is dropped")]
    link: HookLink,
}

#[expect(dead_code, reason = "as above")]
enum HookLink {
    Tc(SchedClassifierLink),
    Xdp(XdpLink),
}

impl Hooked {
    fn tc(kind: HookKind, link: SchedClassifierLink) -> Self {
        let link = HookLink::Tc(link);
        Self { kind, link }
    }

    fn xdp(kind: HookKind, link: XdpLink) -> Self {
        let link = HookLink::Xdp(link);
        Self { kind, link }
    }
}

/// Attaches TC in one direction, before all others; falls back to `clsact` on kernels without
/// tcx. `added` is set when a `clsact` qdisc was made for it.
pub(super) fn tc(
    ebpf: &mut Ebpf,
    interface: &Interface,
    direction: TcAttachType,
    added: &mut bool,
) -> Result<Hooked, AttachError> {
    let (name, label) = match direction {
        TcAttachType::Egress => ("traffic_egress", "egress"),
        TcAttachType::Ingress | TcAttachType::Custom(_) => ("traffic_ingress", "ingress"),
    };
    let program: &mut SchedClassifier = loaded!(ebpf, name, SchedClassifier);
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let attached = program.attach_with_options(&interface.name, direction, order);
    let tcx_error = match attached.and_then(|link| program.take_link(link)) {
        Ok(link) => return Ok(Hooked::tc(HookKind::Tcx, link)),
        Err(error) => error,
    };
    log::debug!("tcx on {}: {tcx_error}", interface.name);
    let refused = |reason: String| AttachError::TcRefused {
        interface: interface.name.clone(),
        direction: label,
        reason,
    };
    if !lacks_tcx(&tcx_error) {
        return Err(refused(reason(&tcx_error)));
    }
    *added |= clsact::prepare(interface).map_err(|error| refused(reason(&error)))?;
    let descriptor = program.fd().map_err(|error| refused(reason(&error)))?;
    clsact::attach(descriptor.as_fd(), interface, direction, *added)
        .map(|link| Hooked::tc(HookKind::Clsact, link))
        .map_err(|error| refused(error.to_string()))
}

/// Kernels before 6.6 do not know the attach type.
fn lacks_tcx(error: &ProgramError) -> bool {
    matches!(
        os_error(error),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)
    )
}

pub(super) fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error)
}

/// The innermost cause, which is the kernel's answer.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// Attaches XDP: in the driver, else in the stack; for frames in several buffers where the kernel
/// knows them.
pub(super) fn xdp(ebpf: &mut Ebpf, interface: &Interface) -> Result<Hooked, AttachError> {
    if let Some(&id) = interface.xdp_programs.first() {
        return Err(AttachError::XdpTaken {
            interface: interface.name.clone(),
            occupant: occupant(id),
        });
    }
    let native = match xdp_mode(ebpf, interface, XdpMode::Driver)? {
        Ok(link) => return Ok(Hooked::xdp(HookKind::XdpNative, link)),
        Err(reason) => reason,
    };
    match xdp_mode(ebpf, interface, XdpMode::Skb)? {
        Ok(link) => Ok(Hooked::xdp(HookKind::XdpGeneric, link)),
        Err(generic) => Err(AttachError::XdpRefused {
            interface: interface.name.clone(),
            native,
            generic,
        }),
    }
}

/// Tries both programs in one mode; the inner error is the kernel's last reason.
fn xdp_mode(
    ebpf: &mut Ebpf,
    interface: &Interface,
    mode: XdpMode,
) -> Result<Result<XdpLink, String>, AttachError> {
    let mut last = "not tried".to_owned();
    let names = ["traffic_xdp_frags", "traffic_xdp"];
    for name in &names[usize::from(!probe::xdp_can_copy_frames())..] {
        let program: &mut Xdp = loaded!(ebpf, name, Xdp);
        let attached = program.attach_to_if_index(interface.ifindex, mode);
        match attached.and_then(|link| program.take_link(link)) {
            Ok(link) => return Ok(Ok(link)),
            Err(error) => {
                log::debug!("{name} on {} in mode {mode:?}: {error}", interface.name);
                last = reason(&error);
            }
        }
    }
    Ok(Err(last))
}

/// Name and id of a program; its id alone where its name may not be asked for.
pub(super) fn occupant(id: u32) -> String {
    let name = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(ToOwned::to_owned));
    match name {
        Some(name) => format!("the program {name} (id {id})"),
        None => format!("the program with id {id}"),
    }
}
