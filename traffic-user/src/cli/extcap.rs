//! The command line by which Wireshark calls its helpers (extcap(4)).

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser};

use super::Hook;

/// What Wireshark asks.
#[derive(Debug, Parser)]
#[command(name = "traffic")]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct ExtcapCli {
    /// Which interfaces are there?
    #[arg(long)]
    pub extcap_interfaces: bool,
    /// Version of Wireshark that asks.
    #[arg(long)]
    pub extcap_version: Option<String>,
    /// Which link type do the interface's frames have?
    #[arg(long)]
    pub extcap_dlts: bool,
    /// What can be set for the interface?
    #[arg(long)]
    pub extcap_config: bool,
    /// Capture on the interface.
    #[arg(long, requires = "fifo", requires = "extcap_interface")]
    pub capture: bool,
    /// The interface, as it was listed.
    #[arg(long)]
    pub extcap_interface: Option<String>,
    /// Filter expression.
    #[arg(long)]
    pub extcap_capture_filter: Option<String>,
    /// Where frames go.
    #[arg(long)]
    pub fifo: Option<PathBuf>,
    /// As in `traffic capture`.
    #[arg(long, value_enum, default_value_t = Hook::Auto)]
    pub hook: Hook,
    /// As in `traffic capture`.
    #[arg(long, default_value_t = 0)]
    pub snapshot_length: u32,
    /// As in `traffic capture`.
    #[arg(long, default_value_t = 1)]
    pub sample: u32,
}

impl ExtcapCli {
    /// Whether it is Wireshark that calls.
    pub fn is_asked(args: impl IntoIterator<Item = OsString>) -> bool {
        let mut args = args.into_iter().skip(1);
        args.any(|arg| arg.to_string_lossy().starts_with("--extcap-"))
    }
}

/// Arguments of `traffic extcap`.
#[derive(Args, Debug)]
pub struct ExtcapArgs {
    /// Link this program into the folder where Wireshark looks for interfaces.
    #[arg(long, required = true)]
    pub install: bool,
    /// That folder. Default: the user's, which tshark names; else ~/.local/lib/wireshark/extcap.
    /// Wireshark before 4.2 looks only into its own, or the one that `WIRESHARK_EXTCAP_DIR` names.
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}
