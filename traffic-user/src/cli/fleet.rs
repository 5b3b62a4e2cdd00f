//! Arguments that concern many hosts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::fleet::target::{Target, is_name};

/// Where a capture sends its rows.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// Send the traffic as rows to ClickHouse: `clickhouse://[USER@]HOST[:PORT]/DB`, or
    /// `clickhouses://` for TLS; the port is that of HTTP. The password is read from
    /// `TRAFFIC_CLICKHOUSE_PASSWORD` or --password-file.
    #[arg(long, value_name = "URL")]
    pub to: Option<Target>,
    /// Read the password for --to from the first line of this file.
    #[arg(long, value_name = "FILE", requires = "to")]
    pub password_file: Option<PathBuf>,
    /// Directory in which rows wait while the server is away; the next capture with the same
    /// directory sends what was left.
    #[arg(long, value_name = "DIR", requires = "to", default_value = DEFAULT_SPOOL)]
    pub spool: PathBuf,
    /// What rows that wait may take on disk; K, M, G are binary. The oldest make room, and are
    /// counted in the ledger.
    #[arg(long, value_name = "SIZE", requires = "to", default_value = "1G", value_parser = parse_size)]
    pub spool_size: u64,
    /// Name of this host in the database. Default: its host name.
    #[arg(long, value_name = "NAME", requires = "to")]
    pub host_name: Option<String>,
}

/// Where rows wait by default.
const DEFAULT_SPOOL: &str = "/var/lib/traffic/spool";

/// Arguments of `traffic fleet`.
#[derive(Args, Debug)]
pub struct FleetArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: FleetCommand,
}

/// What can be done to a fleet's database.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Makes the tables, or brings older ones up to date.
    Init(InitArgs),
}

/// Arguments of `traffic fleet init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The database, as for `traffic capture --to`; with --cluster every server of the cluster.
    #[arg(long, value_name = "URL", required = true)]
    pub to: Vec<Target>,
    /// Spread the rows over the shards of this cluster, as the servers' configuration names it.
    #[arg(long, value_name = "NAME", value_parser = parse_cluster)]
    pub cluster: Option<String>,
    /// Read the password from the first line of this file.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Days for which rows are kept as captures sent them.
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub keep: u32,
    /// Days for which the sums per minute are kept.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub keep_minutes: u32,
    /// Days for which the sums per hour are kept, and which captures there were.
    #[arg(long, value_name = "DAYS", default_value_t = 730, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub keep_hours: u32,
}

/// Takes a name that SQL takes without quotes.
fn parse_cluster(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("a cluster's name is a letter, then letters, digits and _".to_owned())
    }
}

/// Reads `512M`, `4096` (bytes).
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 1,
        "K" | "KIB" => 1 << 10,
        "M" | "MIB" => 1 << 20,
        "G" | "GIB" => 1 << 30,
        other => return Err(format!("unknown unit {other} (allowed: K, M, G)")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "not a size (examples: 1G, 512M)".to_owned())?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        assert_eq!(parse_size("4096"), Ok(4096));
        for wrong in ["", "1T", "x", "99999999999G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cluster_is_a_plain_name() {
        assert!(parse_cluster("two_shards").is_ok());
        assert!(parse_cluster("a, b").is_err());
    }
}
