//! `traffic cleanup`: what captures that were killed left behind.

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    cli::CleanupArgs,
    kernel::{Interfaces, NetworkNamespace, OwnerState, clean_up},
};

/// Removes what is left of processes that have ended, and tells what is in use.
pub(super) async fn run(args: &CleanupArgs) -> Result<ExitCode> {
    args.netns
        .as_deref()
        .map(NetworkNamespace::enter)
        .transpose()?;
    let interfaces = Interfaces::list().await?;
    let done = if args.dry_run {
        "would remove"
    } else {
        "removed"
    };
    let mut out = std::io::stdout().lock();
    let mut found = 0;
    for interface in interfaces.iter() {
        let name = &interface.name;
        let cleanup = clean_up(interface, args.dry_run)
            .with_context(|| format!("clean up {name} (needs CAP_NET_ADMIN: run as root)"))?;
        found += cleanup.filters.len();
        for filter in &cleanup.filters {
            let (direction, pid) = (&filter.direction, filter.pid);
            let fate = match filter.owner {
                OwnerState::Ended => format!("{done}: process {pid} has ended"),
                OwnerState::Alive => format!("stays: process {pid} uses it"),
                OwnerState::OutOfSight => format!(
                    "stays: process {pid} belongs to another PID namespace (if it has ended: tc \
                     filter del dev {name} {direction})"
                ),
            };
            writeln!(out, "{name}: {direction} filter {fate}").context("write to stdout")?;
        }
        if cleanup.qdisc {
            writeln!(
                out,
                "{name}: {done} the clsact qdisc, which was made for captures"
            )
            .context("write to stdout")?;
        }
    }
    if found == 0 {
        writeln!(out, "nothing was left behind").context("write to stdout")?;
    }
    Ok(ExitCode::SUCCESS)
}
