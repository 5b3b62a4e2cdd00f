//! The one door to the kernel: load, attach, gate, ring, counters, clock.
//!
//! A [`Session`] is one capture. Its edges are exact: programs count only while the gate is open;
//! after it closed, [`Session::close`] waits until no program can still be running, and everything
//! that is read then belongs to one moment.

mod attach;
mod bench;
mod broker;
mod clock;
mod clsact;
mod explain;
mod facts;
mod fill;
mod gate;
mod gathered;
mod hooks;
mod host;
mod interfaces;
mod link_events;
mod load;
mod namespace;
mod probe;
mod process;
mod promiscuous;
mod refused;
mod ring;
mod session;
mod shared;
mod slot;
mod snapshot;
mod timer;

pub use attach::{AttachError, HookKind};
pub use bench::{Bench, BenchError, PacketProgram};
pub use clock::ClockStep;
pub use clsact::{Cleanup, Leftover, OwnerState, clean_up};
pub use facts::gather;
pub use hooks::{Attached, HookChoice};
pub use host::{hostname, kernel_release, speed_bps};
pub use interfaces::{ANY, Interface, InterfaceError, Interfaces};
pub use link_events::{LinkEvent, LinkEvents};
pub use load::{Access, LoadError, Settings};
pub use namespace::{NamespaceError, NetworkNamespace};
pub use probe::xdp_can_copy_frames;
pub use process::{Keep, Part};
pub use ring::Sink;
pub use session::{Session, SessionError};
pub use timer::Timer;
