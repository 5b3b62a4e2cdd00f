//! Builds and runs the program.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::Args;
use nix::unistd::geteuid;

use crate::{
    build::{self, Profile},
    process,
};

/// Builds the program and runs it, through sudo when not root
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Arguments of `traffic`, after `--`.
    #[arg(last = true)]
    args: Vec<OsString>,
}

impl Run {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let built = build::all(Profile::Release)?;
        // In the caller's directory, so that relative paths mean what they say.
        let mut command = as_root(built.program);
        command.args(self.args);
        process::show(&command);
        // Signals and the exit code are the program's own.
        Err(command.exec()).context("run traffic")
    }
}

/// `program`, through sudo when not root.
pub(crate) fn as_root(program: impl Into<OsString>) -> Command {
    if geteuid().is_root() {
        return Command::new(program.into());
    }
    let mut command = Command::new("sudo");
    command.arg(program.into());
    command
}
