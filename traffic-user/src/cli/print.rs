//! Arguments about lines per packet.

use std::path::PathBuf;

use clap::Args;

use super::{FilterArgs, SandboxArgs};
use crate::print::{DumpStyle, Style, TimeStyle};

/// What a packet's line shows.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct PrintStyleArgs {
    /// Show the link header.
    #[arg(short = 'e')]
    pub link_header: bool,
    /// Time: none; -tt seconds since 1970; -ttt since the packet before; -tttt with the date;
    /// -ttttt since the first packet.
    #[arg(short = 't', action = clap::ArgAction::Count)]
    pub time: u8,
    /// Show the bytes as hexadecimal digits; -xx with the link header.
    #[arg(short = 'x', action = clap::ArgAction::Count)]
    pub hex: u8,
    /// Show the bytes as hexadecimal digits and text; -XX with the link header.
    #[arg(short = 'X', action = clap::ArgAction::Count)]
    pub hex_and_text: u8,
    /// Show the bytes as text; -AA with the link header.
    #[arg(short = 'A', action = clap::ArgAction::Count)]
    pub text: u8,
}

impl PrintStyleArgs {
    /// The style that they ask for.
    #[must_use]
    pub fn style(self) -> Style {
        Style {
            time: TimeStyle::from_count(self.time),
            link: self.link_header,
            dump: DumpStyle {
                hex: self.hex,
                hex_and_text: self.hex_and_text,
                text: self.text,
            },
        }
    }
}

/// Arguments of `traffic print`.
#[derive(Args, Debug)]
pub struct PrintArgs {
    /// Capture file, pcap or pcapng; `-` is stdin.
    #[arg(value_name = "FILE", required_unless_present = "read")]
    pub files: Vec<PathBuf>,
    /// Capture file, as tcpdump names it.
    #[arg(short, long, value_name = "FILE")]
    pub read: Vec<PathBuf>,
    /// Stop after this many packets.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Do not resolve names. Always so: nothing is resolved.
    #[arg(short = 'n')]
    pub numeric: bool,
    /// Packets to print.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// What to show.
    #[command(flatten)]
    pub style: PrintStyleArgs,
    /// Privileges.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
}
