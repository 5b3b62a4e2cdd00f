//! Builds what measures, and measures.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    build::{self, Profile},
    process,
    run::as_root,
    setup::{BENCH_TOOLS, Setup},
};

/// Measures against an empty program, against other tools, and against other readers
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Arguments of the benchmark: `kernel`, `link` (the default), `read`, `flows` or `fleet`, and
    /// theirs.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<ExitCode> {
        if let Err(error) = Setup::default().tools(BENCH_TOOLS) {
            eprintln!("some peers will be skipped: {error:#}");
        }
        if self.args.first().is_some_and(|what| what == "fleet") {
            Setup::default().clickhouse()?;
        }
        let mut command = self.command()?;
        Err(command.exec()).context("run the benchmark")
    }

    /// Whether no path through the programs costs more than is recorded.
    pub(crate) fn no_path_is_dearer() -> Result<bool> {
        let args = ["kernel", "--check"].map(OsString::from).to_vec();
        let status = Self { args }
            .command()?
            .status()
            .context("run the benchmark")?;
        Ok(status.success())
    }

    /// Builds everything, and shows the command that measures.
    fn command(self) -> Result<Command> {
        let built = build::all(Profile::Release)?;
        let object = build::bench_object()?;
        let mut cargo = build::cargo(&built.object);
        cargo
            .args(["build", "--release", "--package", "traffic-bench"])
            .arg("--target-dir")
            .arg(process::target());
        process::run(&mut cargo)?;
        let mut command = as_root(process::target().join("release/traffic-bench"));
        command
            .arg("--traffic")
            .arg(built.program)
            .arg("--object")
            .arg(object)
            .args(self.args);
        process::show(&command);
        Ok(command)
    }
}
