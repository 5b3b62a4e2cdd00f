//! `traffic capture`: from live interfaces to every output.

mod begin;
mod compare;
mod describe;
mod export;
mod file;
mod file_statistics;
mod finish;
mod in_order;
mod lines;
mod links;
mod live;
mod loss;
mod manager;
mod outside;
mod plan;
mod postrotate;
mod running;
mod settings;
mod so_far;
mod stop;
mod take;
mod watch;

use std::process::ExitCode;

use anyhow::Result;

use self::{
    compare::OwnCounts, export::Export, file::link_type, outside::Outside, take::Take,
    watch::InterfaceWatch,
};
use super::{
    confine,
    filter::{self, LiveFilter},
    interfaces,
    progress::Progress,
};
use crate::{
    capture_file::LinkType,
    cli::CaptureArgs,
    kernel::{Interfaces, LinkEvents, NetworkNamespace, Session},
    sandbox::Sandbox,
};

/// Captures until the time is over, the count is reached, or a signal comes.
pub(super) async fn run(mut args: CaptureArgs) -> Result<ExitCode> {
    if args.list_interfaces {
        return interfaces::run(args.netns.as_deref()).await;
    }
    args.filter.expression = filter::expression(&args.words, &args.filter)?;
    if args.dump_filter {
        return dump_filter(&args).await;
    }
    confine::protect_files(args.output.file_mode);
    let outside = Outside::open(&args)?;
    let (mut capture, outputs) = Capture::begin(&args, outside).await?;
    let end = capture.until_stopped().await?;
    let (report, failure) = capture.finish(end).await?;
    if args.output.quiet == 0 {
        finish::print_counts(&report);
    }
    outputs.write(&report)?;
    match failure {
        Some(failure) => Err(failure),
        None => loss::check(&report.ledger, args.max_loss).map(|()| ExitCode::SUCCESS),
    }
}

/// Rows that tables of live views have at least, to sort and to search.
const LIVE_ROWS: usize = 50;

/// A running capture.
struct Capture<'a> {
    args: &'a CaptureArgs,
    session: Session,
    take: Take,
    notes: Vec<String>,
    events: LinkEvents,
    watch: InterfaceWatch,
    /// As they were before the gate opened; only with `-v`.
    own_counts: Option<OwnCounts>,
    export: Option<Export>,
    /// What the process that reads packets has given up; `None` with `--no-sandbox`.
    sandbox: Option<Sandbox>,
    /// Link types of frames that can be taken.
    link_types: Vec<LinkType>,
    /// The one that it is in, where one was asked for.
    namespace: Option<NetworkNamespace>,
    outside: Outside,
    progress: Progress,
}

/// Why a capture ended.
enum End {
    /// As planned, or because it was told to.
    Done,
    /// What was captured went away.
    Early(String),
}

/// Prints the filter for the interfaces that were named; without a name, for Ethernet.
async fn dump_filter(args: &CaptureArgs) -> Result<ExitCode> {
    let link_types = if args.interfaces.is_empty() {
        vec![LinkType::ETHERNET]
    } else {
        enter(args.netns.as_deref())?;
        let selected = Interfaces::list().await?.select(&args.interfaces)?;
        selected.iter().map(link_type).collect()
    };
    let expression = args.filter.expression.as_deref().unwrap_or_default();
    LiveFilter::new(expression, link_types.into_iter())?.dump()
}

/// Enters the network namespace that was asked for, if one was.
fn enter(asked: Option<&str>) -> Result<Option<NetworkNamespace>> {
    Ok(asked.map(NetworkNamespace::enter).transpose()?)
}
