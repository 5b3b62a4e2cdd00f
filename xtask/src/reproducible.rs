//! What two builds of the same source must agree on, whatever directory they are made in.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use crate::process;

/// Compiler flags that give the directories of this machine names that are the same everywhere.
pub(crate) fn paths() -> Vec<String> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    [
        (Some(process::root().to_owned()), "/traffic"),
        (cargo_home, "/cargo"),
    ]
    .into_iter()
    .filter_map(|(directory, name)| Some((directory?, name)))
    .map(|(directory, name)| format!("--remap-path-prefix={}={name}", directory.display()))
    .collect()
}

/// The time that stands for now, in seconds since 1970: `SOURCE_DATE_EPOCH`, or that of the last
/// commit.
pub(crate) fn epoch() -> Result<String> {
    if let Ok(epoch) = env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    let mut git = process::command("git");
    let output = process::output(git.args(["log", "-1", "--format=%ct"]))?.context("find git")?;
    ensure!(
        output.status.success(),
        "ask git for the last commit: {} (or set SOURCE_DATE_EPOCH)",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Has `cargo` compile with `flags` and none that the environment names.
pub(crate) fn with_flags(cargo: &mut Command, flags: &[String]) {
    cargo
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .arg("--config")
        // Rust and TOML quote texts alike.
        .arg(format!("build.rustflags={flags:?}"));
}
