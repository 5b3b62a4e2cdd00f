//! Runs the fuzz targets, each for a bounded time.

mod kept;
mod seeds;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{build, process, setup::Setup};

/// The targets in `tests/fuzz/`.
const TARGETS: [&str; 5] = ["parse", "capture_file", "round_trip", "dns", "filter"];
/// Longest input. Capture files of this size hold hundreds of packets.
const MAX_BYTES: u32 = 65_536;
/// Seconds after which an input counts as a hang.
const HANG_SECONDS: u32 = 10;
/// Most memory that one allocation may take: twice the largest block of a capture file.
const ALLOCATION_MEBIBYTES: u32 = 32;

/// Runs the fuzz targets, each for a bounded time, beginning with the captures of the corpus
#[derive(Args, Debug)]
pub(crate) struct Fuzz {
    /// Time for each target.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Keep the shortest inputs that reach something new in `tests/fuzz/kept`, where ordinary tests
    /// replay them. Without `TRAFFIC_CORPUS` nothing of other people's captures is among them.
    #[arg(long)]
    keep: bool,
    /// Targets to run; without one, all of them.
    #[arg(value_name = "TARGET", value_parser = TARGETS)]
    targets: Vec<String>,
}

impl Fuzz {
    pub(crate) fn run(self) -> Result<ExitCode> {
        Setup::default().fuzzer()?;
        let empty = no_programs()?;
        if !empty.exists() {
            // Once: a newer file would have everything compiled again.
            fs::write(&empty, "").context("write an empty object")?;
        }
        let captures = env::var_os("TRAFFIC_CORPUS").map(std::path::absolute);
        let captures = captures.transpose().context("find TRAFFIC_CORPUS")?;
        let mut targets: Vec<&str> = self.targets.iter().map(String::as_str).collect();
        if targets.is_empty() {
            targets = TARGETS.to_vec();
        }
        for target in targets {
            self.target(target, captures.as_deref())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn target(&self, target: &str, captures: Option<&Path>) -> Result<()> {
        let found = directory(&format!("found/{target}"))?;
        let failures = directory(&format!("failures/{target}"))?;
        let kept = Path::new("tests/fuzz/kept").join(target);
        kept::unpack(&kept, &found)?;
        let mut cargo = process::cargo();
        cargo
            // The sanitizer's flags are unstable.
            .env("RUSTC_BOOTSTRAP", "1")
            .env(build::OBJECT_VARIABLE, no_programs()?)
            .args(["fuzz", "run", "--fuzz-dir", "tests/fuzz", "--target-dir"])
            .arg(root())
            .arg(target)
            .arg(&found);
        if let Some(captures) = captures {
            cargo.arg(seeds_for(target, captures)?);
        }
        cargo
            .arg("--")
            .arg(format!("-max_total_time={}", self.seconds))
            .arg(format!("-max_len={MAX_BYTES}"))
            .arg(format!("-timeout={HANG_SECONDS}"))
            .arg(format!("-malloc_limit_mb={ALLOCATION_MEBIBYTES}"))
            .arg(format!("-artifact_prefix={}/", failures.display()))
            .arg("-print_final_stats=1");
        process::run(&mut cargo)?;
        if self.keep {
            kept::keep(&found, &kept)?;
        }
        Ok(())
    }
}

/// Inputs to begin with: capture files as they are, or what was cut out of them.
fn seeds_for(target: &str, captures: &Path) -> Result<PathBuf> {
    let cut = match target {
        "parse" | "filter" => seeds::packet,
        "dns" => seeds::dns_message,
        _ => return Ok(captures.to_owned()),
    };
    let seeds = directory(&format!("seeds/{target}"))?;
    seeds::write(captures, &seeds, cut)
        .with_context(|| format!("cut seeds out of {}", captures.display()))?;
    Ok(seeds)
}

/// An object for the library to embed, without programs, which no target loads. It must exist: a
/// file that is missing has Cargo compile the library in every call, twice for each target.
fn no_programs() -> Result<PathBuf> {
    Ok(directory("empty")?.join("traffic-bpf.o"))
}

fn root() -> PathBuf {
    process::target().join("fuzz")
}

fn directory(name: &str) -> Result<PathBuf> {
    let directory = root().join(name);
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    Ok(directory)
}
