//! Measures what `traffic` costs: nanoseconds of its programs per packet, packet rates and CPU
//! time beside other tools, reading of capture files beside other readers, and a fleet's database.
#![expect(
    clippy::cast_precision_loss,
    reason = "numbers of packets, bytes and measurements are far below 2^52"
)]

mod empty;
mod environment;
mod fleet;
mod flows;
mod frames;
mod generator;
mod kernel;
mod link;
mod read;
mod statistics;
mod tool;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures what traffic costs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", args_conflicts_with_subcommands = false)]
struct Cli {
    /// The program `traffic`.
    #[arg(long, hide = true)]
    traffic: PathBuf,
    /// The object of the measuring programs.
    #[arg(long, hide = true)]
    object: PathBuf,
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    link: link::Args,
}

/// What is measured; without a word, `link`.
#[derive(Debug, Subcommand)]
enum What {
    /// Nanoseconds per packet of every program path, as ratios to an empty program
    Kernel(kernel::Args),
    /// Packet rates, loss, CPU time and memory beside other tools
    Link(link::Args),
    /// Summaries per second into flows, on one core
    Flows(flows::Args),
    /// Rows from an agent, replay of its spool, and reports on many stored flows
    Fleet(fleet::Args),
    /// Reading a large capture file beside other readers
    Read(read::Args),
    #[command(hide = true)]
    Generate(generator::Args),
    #[command(hide = true)]
    Empty,
}

/// What all measurements need.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The program `traffic`.
    pub(crate) traffic: PathBuf,
    /// The object of the measuring programs.
    pub(crate) object: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(cli).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(cli: Cli) -> Result<ExitCode> {
    let programs = Programs {
        traffic: cli.traffic,
        object: cli.object,
    };
    match cli.what.unwrap_or(What::Link(cli.link)) {
        What::Kernel(args) => kernel::run(&args, &programs),
        What::Link(args) => link::run(&args, &programs),
        What::Flows(args) => flows::run(&args),
        What::Fleet(args) => fleet::run(&args, &programs),
        What::Read(args) => read::run(&args, &programs),
        What::Empty => empty::run(&programs.object),
        What::Generate(args) => generator::run(&args, &programs.object),
    }
}
