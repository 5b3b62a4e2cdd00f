//! Arguments that concern many hosts.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{OutputArgs, value::parse_bytes};
use crate::fleet::{
    filter::Filter,
    target::{Target, is_name},
};

/// Where a capture sends its rows.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// Send the traffic as rows to ClickHouse: `clickhouse://[USER@]HOST[:PORT]/DB`, or
    /// `clickhouses://` for TLS; the port is that of HTTP. The password is read from
    /// `TRAFFIC_CLICKHOUSE_PASSWORD` or --password-file. Builds flows, except with --counters-only.
    #[arg(long, value_name = "URL", group = "flow_use")]
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

/// Arguments of `traffic report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The database, as for `traffic capture --to`.
    #[arg(long, value_name = "URL")]
    pub from: Target,
    /// Read the password from the first line of this file.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Begin of the time: so long ago, as `1h`, `30m` or `7d`, or a moment, as
    /// `2026-01-31T12:00:00Z`.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_moment)]
    pub since: Moment,
    /// End of the time, likewise. Default: now.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub until: Option<Moment>,
    /// Host to report on; repeat for several. Default: all.
    #[arg(long = "host", value_name = "NAME")]
    pub hosts: Vec<String>,
    /// Interface of those hosts; repeat for several. Default: all.
    #[arg(short, long = "interface", value_name = "NAME")]
    pub interfaces: Vec<String>,
    /// Only packets of flows that this selects, in the language of tcpdump: `host`, `net`, `port`,
    /// `portrange` with `src` and `dst`, `tcp`, `udp`, `sctp`, `icmp`, `icmp6`, `igmp`, `ip`, `ip6`,
    /// `proto`, `vlan`, `and`, `or`, `not`. Everything in the report is then told by stored flows.
    #[arg(short, long, value_name = "EXPR")]
    pub filter: Option<Filter>,
    /// What to write and print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A moment on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long ago.
    Ago(Duration),
    /// Nanoseconds since the Unix epoch.
    At(u64),
}

impl Moment {
    /// Nanoseconds since the Unix epoch, when it is `now_ns`.
    #[must_use]
    pub fn at_ns(self, now_ns: u64) -> u64 {
        match self {
            Self::Ago(time) => {
                let ago_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                now_ns.saturating_sub(ago_ns)
            }
            Self::At(time_ns) => time_ns,
        }
    }
}

/// Reads `1h`, `7d`, `2026-01-31T12:00:00Z`.
fn parse_moment(text: &str) -> Result<Moment, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        let time_ns = u64::try_from(time.as_nanosecond());
        return time_ns
            .map(Moment::At)
            .map_err(|_| "before 1970".to_owned());
    }
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u64>().ok());
    let ago = match days {
        Some(days) if days <= MAX_DAYS => Duration::from_hours(24 * days),
        Some(_) => return Err(format!("more than {MAX_DAYS} days ago")),
        None => super::value::parse_duration(text)?,
    };
    Ok(Moment::Ago(ago))
}

/// A hundred years.
const MAX_DAYS: u64 = 36500;

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
    /// Spread the rows over the shards of this cluster, as the servers' configuration names it;
    /// replicated by the servers of each shard, where it tells them of a keeper.
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
    parse_bytes(text, 1, "1G, 512M")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ago_or_in_the_calendar() {
        let hours = |hours| Ok(Moment::Ago(Duration::from_hours(hours)));
        assert_eq!(parse_moment("1h"), hours(1));
        assert_eq!(parse_moment("7d"), hours(168));
        let moment = parse_moment("2026-01-31T12:00:00Z").unwrap();
        assert_eq!(moment.at_ns(0), 1_769_860_800_000_000_000);
        assert_eq!(
            Moment::Ago(Duration::from_secs(1)).at_ns(5_000_000_000),
            4_000_000_000
        );
        for wrong in ["", "yesterday", "1960-01-01T00:00:00Z", "99999999d"] {
            assert!(parse_moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cluster_is_a_plain_name() {
        assert!(parse_cluster("two_shards").is_ok());
        assert!(parse_cluster("a, b").is_err());
    }
}
