//! The command line: clap types only. The doc comments are the help text.

mod config;
mod extcap;
mod files;
mod fleet;
mod flows;
mod output;
mod pages;
mod print;
mod sandbox;
mod service;
mod value;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::ArgPredicate};

pub use clap_complete::Shell;
pub use config::{
    CommandLineError, ConfigAction, ConfigArgs, Problem, check as check_config,
    example as example_config,
};
pub use extcap::{ExtcapArgs, ExtcapCli};
pub use files::{Compression, Condition, FileArgs};
pub use fleet::{ExportArgs, FleetArgs, FleetCommand, InitArgs, Moment, ReportArgs};
pub use flows::FlowArgs;
pub use output::{OutputArgs, Plot, ThemeArg};
pub use pages::{completions, manual};
pub use print::{PrintArgs, PrintStyleArgs};
pub use sandbox::{FileModeArgs, SandboxArgs};
pub use service::{InstallArgs, RemoveArgs, ServiceAction, ServiceArgs, ServicePlace};

use self::value::{parse_address, parse_buffer_size, parse_duration, parse_percentage};

/// Captures, counts and reports packets that eBPF programs classify in the kernel.
///
/// Without arguments on a terminal it asks what to capture.
#[derive(Debug, Parser)]
#[command(name = "traffic", version, arg_required_else_help = false)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// `-v` minus `-q`.
    #[must_use]
    pub fn verbosity(&self) -> i16 {
        let output = match &self.command {
            Some(Command::Capture(args)) => &args.output,
            Some(Command::Read(args)) => &args.output,
            Some(Command::Report(args)) => &args.output,
            Some(
                Command::Print(_)
                | Command::Extcap(_)
                | Command::Config(_)
                | Command::Doctor(_)
                | Command::Cleanup(_)
                | Command::Service(_)
                | Command::Completions { .. }
                | Command::Man { .. }
                | Command::Interfaces(_)
                | Command::Fleet(_),
            )
            | None => return 0,
        };
        i16::from(output.verbose) - i16::from(output.quiet)
    }
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Captures from live interfaces.
    Capture(Box<CaptureArgs>),
    /// Reports on capture files (pcap and pcapng).
    Read(Box<ReadArgs>),
    /// Prints a line per packet of capture files, as tcpdump does.
    Print(PrintArgs),
    /// Checks a file of `traffic capture --config`, or prints one to begin with.
    Config(ConfigArgs),
    /// Installs or removes a systemd service that captures.
    Service(ServiceArgs),
    /// Prints what a shell needs to complete this command line.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Writes manual pages into a directory.
    Man {
        /// The directory.
        directory: PathBuf,
    },
    /// Makes Wireshark list these interfaces.
    Extcap(ExtcapArgs),
    /// Lists interfaces and the hooks they can take.
    Interfaces(InterfacesArgs),
    /// Tells what this host lets a capture do, and what mends what it does not.
    Doctor(DoctorArgs),
    /// Removes what killed captures left on kernels before 6.6.
    Cleanup(CleanupArgs),
    /// Reports on what captures of many hosts stored.
    Report(Box<ReportArgs>),
    /// Prepares a database for many hosts' captures.
    Fleet(FleetArgs),
}

/// Arguments of `traffic interfaces`.
#[derive(Args, Debug)]
pub struct InterfacesArgs {
    /// List those of this network namespace: a name of `ip netns`, the id of a process inside, or a
    /// path such as `/run/docker/netns/…`. Needs `CAP_SYS_ADMIN`.
    #[arg(long, value_name = "NAME|PID")]
    pub netns: Option<String>,
}

/// Arguments of `traffic doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Look at this interface; repeat for several. Default: all that are up.
    #[arg(short, long, value_name = "NAME")]
    pub interface: Vec<String>,
    /// Write JSON; `docs/doctor.schema.json` describes it.
    #[arg(long)]
    pub json: bool,
    /// Look inside this network namespace, as `traffic interfaces` does.
    #[arg(long, value_name = "NAME|PID")]
    pub netns: Option<String>,
}

/// Arguments of `traffic cleanup`.
#[derive(Args, Debug)]
pub struct CleanupArgs {
    /// Only tell what would be removed.
    #[arg(long)]
    pub dry_run: bool,
    /// Clean up inside this network namespace, as `traffic interfaces` does.
    #[arg(long, value_name = "NAME|PID")]
    pub netns: Option<String>,
}

/// Arguments of `traffic capture`.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub struct CaptureArgs {
    /// Take flags from this TOML file, whose keys are their long names; flags of the command line
    /// go before it. `traffic config example` prints one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Capture only what matches this expression, as tcpdump takes it (see pcap-filter(7)); decided
    /// in the kernel, with VLAN tags in their places.
    #[arg(value_name = "FILTER", conflicts_with_all = ["expression", "filter_file"])]
    pub words: Vec<String>,
    /// The same in one argument, or from a file.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Print the filter as classic BPF, as tcpdump -d does, then as eBPF, and exit.
    #[arg(long)]
    pub dump_filter: bool,
    /// Interface to capture on; repeat for several, `any` for all that are up and for those that
    /// appear while it runs. Default: the interface of the
    /// default route, else the first that is up and not loopback.
    #[arg(short, long = "interface", value_name = "NAME")]
    pub interfaces: Vec<String>,
    /// Capture inside this network namespace: a name of `ip netns`, the id of a process inside, or a
    /// path such as `/run/docker/netns/…`. Files and `--listen` stay outside. Needs `CAP_SYS_ADMIN`.
    #[arg(long, value_name = "NAME|PID")]
    pub netns: Option<String>,
    /// Where the programs attach: auto = TC in both directions; xdp = XDP on ingress (native,
    /// then generic) and TC on egress.
    #[arg(long, value_enum, default_value_t = Hook::Auto)]
    pub hook: Hook,
    /// Direction to capture.
    #[arg(short = 'Q', long, value_enum, default_value_t = DirectionArg::Inout)]
    pub direction: DirectionArg,
    /// Protocol to count and capture, decided in the kernel; repeat for several.
    #[arg(long = "protocol", value_enum, value_name = "NAME")]
    pub protocols: Vec<ProtocolArg>,
    /// Time to capture: `90`, `60s`, `5m`, `2h`; a bare number is seconds; 0 = until stopped,
    /// which is the default with -C, -G, -a, -b or --to.
    #[arg(short, long, value_name = "TIME", default_value = "60s", default_value_ifs = ROTATION, value_parser = parse_duration)]
    pub duration: Duration,
    /// Stop after this many matched frames.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Bytes kept of every written frame; 0 = the default.
    #[arg(short, long, value_name = "N", default_value_t = DEFAULT_SNAPLEN, value_parser = clap::value_parser!(u32).range(..=i64::from(DEFAULT_SNAPLEN)))]
    pub snapshot_length: u32,
    /// Write one frame in N; counters and histogram stay unsampled.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: u32,
    /// Count only: totals and histogram, no per-address tables.
    #[arg(long)]
    pub counters_only: bool,
    /// How to write frames.
    #[command(flatten)]
    pub files: FileArgs,
    /// Print a line per packet on stdout, as tcpdump does.
    #[arg(long)]
    pub print: bool,
    /// What those lines show.
    #[command(flatten)]
    pub print_style: PrintStyleArgs,
    /// Show the capture in the terminal while it runs; `?` there lists the keys.
    #[arg(long, conflicts_with = "print")]
    pub live: bool,
    /// Show the capture in browsers while it runs, at this address: `127.0.0.1:8080`, or a port
    /// alone. There are also `/report.json`, `/histogram.png`, `/capture.pcapng` and `/metrics`.
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub listen: Option<SocketAddr>,
    /// What clients of `--listen` must show: text, or `@FILE` to read it from a file, which other
    /// users of this machine do not see. Needed for an address that is not loopback.
    #[arg(long, value_name = "TOKEN", requires = "listen")]
    pub token: Option<String>,
    /// Where to send the traffic as rows.
    #[command(flatten)]
    pub export: ExportArgs,
    /// Do not put interfaces into promiscuous mode.
    #[arg(short = 'p', long)]
    pub no_promiscuous_mode: bool,
    /// Size of the ring buffer, rounded up to a power of two of at least 64K; a bare number is KiB;
    /// K, M, G are binary.
    #[arg(short = 'B', long, value_name = "SIZE", default_value = "16M", value_parser = parse_buffer_size)]
    pub buffer_size: u32,
    /// Fail with exit code 1 when more than this percentage of summaries or of frames to write was
    /// lost.
    #[arg(long, value_name = "PCT", value_parser = parse_percentage)]
    pub max_loss: Option<f64>,
    /// Privileges.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// List interfaces and exit.
    #[arg(short = 'D', long)]
    pub list_interfaces: bool,
    /// Do not resolve names. Always so: nothing is resolved.
    #[arg(short = 'n')]
    pub numeric: bool,
    /// What to write and print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A filter expression.
#[derive(Args, Clone, Debug)]
pub struct FilterArgs {
    /// Take only what matches this expression of tcpdump's filter language.
    #[arg(
        short = 'f',
        long = "filter",
        value_name = "EXPR",
        conflicts_with = "filter_file"
    )]
    pub expression: Option<String>,
    /// Read the filter expression from this file.
    #[arg(short = 'F', value_name = "FILE")]
    pub filter_file: Option<PathBuf>,
}

/// Arguments of `traffic read`.
#[derive(Args, Debug)]
pub struct ReadArgs {
    /// Capture file, pcap or pcapng; several are read one after the other.
    #[arg(value_name = "FILE", required_unless_present = "read")]
    pub files: Vec<PathBuf>,
    /// Capture file, as tcpdump names it.
    #[arg(short, long, value_name = "FILE")]
    pub read: Vec<PathBuf>,
    /// Protocol to count; repeat for several.
    #[arg(long = "protocol", value_enum, value_name = "NAME")]
    pub protocols: Vec<ProtocolArg>,
    /// Filter.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Write the frames that match to this file: nanosecond pcap for `.pcap`, pcapng for any other
    /// name; `-` is pcapng on stdout.
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Privileges.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// What to write and print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments with which a capture goes on until they, or a signal, end it.
const ROTATION: [(&str, ArgPredicate, &str); 5] = [
    ("to", ArgPredicate::IsPresent, "0"),
    ("file_size", ArgPredicate::IsPresent, "0"),
    ("rotate_seconds", ArgPredicate::IsPresent, "0"),
    ("autostop", ArgPredicate::IsPresent, "0"),
    ("ring_buffer", ArgPredicate::IsPresent, "0"),
];

/// tcpdump's default snapshot length.
pub const DEFAULT_SNAPLEN: u32 = 262_144;

/// `--hook`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Hook {
    /// TC in both directions.
    Auto,
    /// TC in both directions.
    Tc,
    /// XDP on ingress, TC on egress.
    Xdp,
}

/// `--direction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DirectionArg {
    /// Arriving frames.
    In,
    /// Leaving frames.
    Out,
    /// Both.
    Inout,
}

/// `--protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// TCP, with DNS over TCP.
    Tcp,
    /// UDP, with DNS over UDP.
    Udp,
    /// ARP.
    Arp,
    /// ICMP for IPv4.
    Icmp,
    /// ICMP for IPv6.
    Icmp6,
    /// Port 53 on UDP or TCP.
    Dns,
    /// Everything.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
