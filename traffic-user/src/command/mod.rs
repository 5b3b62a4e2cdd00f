//! One file per subcommand: open a source, run the stages, write the outputs.

mod ask;
mod capture;
mod cleanup;
mod config;
mod confine;
mod doctor;
mod extcap;
mod extract;
mod filter;
mod fleet;
mod input;
mod interfaces;
mod ipfix;
mod output;
mod packet_log;
mod pages;
mod print;
mod progress;
mod read;
mod report;
mod runner;
mod selection;
mod service;

use std::{io::IsTerminal as _, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};

use crate::{
    capture_file::WriteError,
    cli::{Cli, Command, CommandLineError, ExtcapCli},
    diagnostics,
};

/// Exit code of a wrong command line.
const USAGE: u8 = 2;

/// The command line asks for something that cannot be: exit code 2.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Runs the command that was asked for.
///
/// # Errors
/// What kept the command from its work; the chain says what was being done.
pub fn run(cli: Cli) -> Result<ExitCode> {
    let runtime = runtime()?;
    match cli.command {
        Some(Command::Capture(args)) => runtime.block_on(capture::run(*args)),
        Some(Command::Read(args)) => read::run(&args),
        Some(Command::Extcap(args)) => extcap::install(&args),
        Some(Command::Config(args)) => config::run(&args),
        Some(Command::Service(args)) => service::run(&args),
        Some(Command::Completions { shell }) => pages::completions(shell),
        Some(Command::Man { directory }) => pages::manual(&directory),
        Some(Command::Print(args)) => print::run(&args),
        Some(Command::Doctor(args)) => runtime.block_on(doctor::run(&args)),
        Some(Command::Cleanup(args)) => runtime.block_on(cleanup::run(&args)),
        Some(Command::Report(args)) => runtime.block_on(report::run(&args)),
        Some(Command::Fleet(args)) => runtime.block_on(fleet::run(args.command)),
        Some(Command::Interfaces(args)) => runtime.block_on(interfaces::run(args.netns.as_deref())),
        None if std::io::stdin().is_terminal() => {
            let Some(args) = ask::ask()? else {
                return Ok(ExitCode::SUCCESS);
            };
            runtime.block_on(capture::run(args))
        }
        None => {
            eprint!("{}", Cli::command().render_help());
            Ok(ExitCode::from(USAGE))
        }
    }
}

/// Answers Wireshark, which lists and captures on interfaces through this program.
///
/// # Errors
/// As [`run`].
pub fn answer_wireshark(args: ExtcapCli) -> Result<ExitCode> {
    runtime()?.block_on(extcap::answer(args))
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}

/// The exit code and the line on stderr that an error deserves.
#[must_use]
pub fn failed(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    diagnostics::say(&format!("error: {error:#}"));
    let file = error.downcast_ref::<CommandLineError>();
    if error.is::<UsageError>() || file.is_some_and(CommandLineError::is_usage) {
        ExitCode::from(USAGE)
    } else {
        ExitCode::FAILURE
    }
}

/// Whether the reader of our output went away, which is its right.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let output = cause.downcast_ref::<std::io::Error>();
        let capture_file = cause.downcast_ref::<WriteError>();
        output.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
            || capture_file.is_some_and(WriteError::is_broken_pipe)
    })
}
