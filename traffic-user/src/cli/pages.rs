//! Manual pages and completions, made of the definitions of the command line.

use std::{io, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// What `shell` needs to complete `traffic`.
///
/// # Errors
/// When `out` takes no more.
pub fn completions(shell: Shell, out: &mut impl io::Write) -> io::Result<()> {
    // The generator panics where its writer fails.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "traffic", &mut text);
    out.write_all(&text)
}

/// Writes a manual page for `traffic` and for each of its subcommands into `directory`.
///
/// # Errors
/// When a file cannot be written.
pub fn manual(directory: &Path) -> io::Result<()> {
    clap_mangen::generate_to(Cli::command(), directory)
}
