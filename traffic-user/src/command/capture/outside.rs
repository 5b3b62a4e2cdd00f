//! Whom a capture talks to, besides the kernel.

use anyhow::Result;

use super::{live::Views, manager::Manager, stop::Signals};
use crate::{
    cli::CaptureArgs,
    command::ipfix,
    ipfix::{Exporter, Overflow},
};

/// What is opened where the program was started, because the network namespace that is captured may
/// hide it.
pub(super) struct Outside {
    pub(super) signals: Signals,
    pub(super) manager: Manager,
    pub(super) views: Views,
    /// The way to the collector of flows, until flows are exported.
    pub(super) collector: Option<Exporter>,
}

impl Outside {
    /// Opens what `args` ask for.
    ///
    /// # Errors
    /// When something of it cannot be had.
    pub(super) fn open(args: &CaptureArgs) -> Result<Self> {
        Ok(Self {
            signals: Signals::new()?,
            manager: Manager::connect()?,
            views: Views::new(args)?,
            collector: ipfix::open(&args.output.flows, Overflow::Lose)?,
        })
    }
}
