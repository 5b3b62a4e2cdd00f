//! One file per subcommand: open a source, run the stages, write the outputs.

pub mod output;
pub mod read;
mod selection;

use thiserror::Error;

/// The command line asks for something that cannot be: exit code 2.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct UsageError(pub String);
