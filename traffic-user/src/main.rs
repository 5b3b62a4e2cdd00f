//! The program `traffic`.

use std::{env, process::ExitCode};

use clap::Parser as _;
use traffic_user::{
    cli::{Cli, CommandLineError, ExtcapCli},
    command, diagnostics,
};

fn main() -> ExitCode {
    if ExtcapCli::is_asked(env::args_os()) {
        let answer = command::answer_wireshark(ExtcapCli::parse());
        return answer.unwrap_or_else(|error| command::failed(&error));
    }
    let cli = match Cli::from_command_line(env::args_os()) {
        Ok(cli) => cli,
        Err(CommandLineError::Refused(error)) => error.exit(),
        Err(error) => return command::failed(&error.into()),
    };
    diagnostics::init(cli.verbosity());
    command::run(cli).unwrap_or_else(|error| command::failed(&error))
}
