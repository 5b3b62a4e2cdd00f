//! The program `traffic`.

use std::{env, process::ExitCode};

use clap::Parser as _;
use traffic_user::{
    cli::{Cli, ExtcapCli},
    command, diagnostics,
};

fn main() -> ExitCode {
    if ExtcapCli::is_asked(env::args_os()) {
        let answer = command::answer_wireshark(ExtcapCli::parse());
        return answer.unwrap_or_else(|error| command::failed(&error));
    }
    let cli = Cli::parse();
    diagnostics::init(cli.verbosity());
    command::run(cli).unwrap_or_else(|error| command::failed(&error))
}
