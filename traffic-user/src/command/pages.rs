//! `traffic completions` and `traffic man`.

use std::{fs, io, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::cli::{self, Shell};

/// Prints what `shell` needs to complete the command line.
pub(super) fn completions(shell: Shell) -> Result<ExitCode> {
    cli::completions(shell, &mut io::stdout()).context("write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Writes manual pages into `directory`.
pub(super) fn manual(directory: &Path) -> Result<ExitCode> {
    fs::create_dir_all(directory)
        .and_then(|()| cli::manual(directory))
        .with_context(|| format!("write manual pages into {}", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}
