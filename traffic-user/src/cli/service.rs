//! Arguments of `traffic service`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `traffic service`.
#[derive(Args, Debug)]
pub struct ServiceArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: ServiceAction,
}

/// Subcommands of `traffic service`.
#[derive(Debug, Subcommand)]
pub enum ServiceAction {
    /// Writes the unit and, where there is none, /etc/traffic/traffic.toml.
    Install(InstallArgs),
    /// Stops the service and removes the unit; a configuration that was changed stays.
    Remove(RemoveArgs),
}

/// Arguments of `traffic service install`.
#[derive(Args, Debug)]
pub struct InstallArgs {
    /// Where the files go.
    #[command(flatten)]
    pub place: ServicePlace,
    /// Program that the unit starts. Default: this one.
    #[arg(long, value_name = "PATH")]
    pub program: Option<PathBuf>,
    /// Replace a unit that differs.
    #[arg(long)]
    pub force: bool,
}

/// Arguments of `traffic service remove`.
#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// Where the files are.
    #[command(flatten)]
    pub place: ServicePlace,
}

/// Where the files of the service lie.
#[derive(Args, Debug)]
pub struct ServicePlace {
    /// Directory that stands for `/`; systemd is told nothing unless it is.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Directory of the unit, below the root.
    #[arg(long, value_name = "DIR", default_value = "/etc/systemd/system")]
    pub unit_directory: PathBuf,
}
