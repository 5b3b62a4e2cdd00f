//! The program `traffic`.

use std::process::ExitCode;

use clap::Parser as _;
use traffic_user::{cli::Cli, command, diagnostics};

fn main() -> ExitCode {
    let cli = Cli::parse();
    diagnostics::init(cli.verbosity());
    command::run(cli).unwrap_or_else(|error| command::failed(&error))
}
