//! Arguments about capture files: when to go on to the next one, and when to stop.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::value::parse_bytes;

/// How frames are written.
#[derive(Args, Clone, Debug, Default)]
pub struct FileArgs {
    /// Write frames to this file: nanosecond pcap for `.pcap`, pcapng for any other name; `-` is
    /// pcapng on stdout.
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Write every frame at once, not within a second.
    #[arg(short = 'U', long, requires = "write")]
    pub packet_buffered: bool,
    /// Compress the file, whose name then ends with `.zst`.
    #[arg(long, value_enum, value_name = "FORMAT", requires = "write")]
    pub compress: Option<Compression>,
    /// Begin another file when one is longer than this, in millions of bytes, or with K, M, G in
    /// binary units. Numbers are put behind the name.
    #[arg(short = 'C', value_name = "SIZE", requires = "write", value_parser = parse_file_size)]
    pub file_size: Option<u64>,
    /// Begin another file whenever the local time is a multiple of so many seconds. The name is a
    /// format of strftime(3).
    #[arg(short = 'G', value_name = "SECONDS", requires = "write", value_parser = clap::value_parser!(u32).range(1..))]
    pub rotate_seconds: Option<u32>,
    /// With -C: keep this many files, overwriting the oldest. With -G: stop after this many.
    #[arg(short = 'W', value_name = "COUNT", requires = "write", value_parser = clap::value_parser!(u32).range(1..))]
    pub file_count: Option<u32>,
    /// Stop when: `duration:SECONDS`, `filesize:KB` (1000 bytes), `files:N`, `packets:N`.
    #[arg(short, long, value_name = "CONDITION", value_parser = parse_condition)]
    pub autostop: Vec<Condition>,
    /// Begin another file, with number and date in its name, when: `filesize:KB` (1000 bytes),
    /// `duration:SECONDS`, `interval:SECONDS` (by the clock), `packets:N`; `files:N` keeps N files
    /// and removes the oldest.
    #[arg(short = 'b', long, value_name = "CONDITION", requires = "write", value_parser = parse_condition)]
    pub ring_buffer: Vec<Condition>,
    /// Run this program with the name of each file that is complete.
    #[arg(short = 'z', value_name = "PROGRAM", requires = "write")]
    pub postrotate: Option<PathBuf>,
    /// Go on as this user once the hooks are attached: files and the program of -z are this user's.
    #[arg(short = 'Z', long, value_name = "USER")]
    pub relinquish_privileges: Option<String>,
}

/// `--compress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// zstd (RFC 8878).
    Zstd,
}

/// A condition of `-a` or `-b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Seconds since the beginning.
    Duration(u32),
    /// Bytes of a file.
    FileSize(u64),
    /// Files.
    Files(u32),
    /// Seconds, by the clock.
    Interval(u32),
    /// Packets.
    Packets(u64),
}

/// Reads `10` (10⁷ bytes), `512K`, `100M`, `1G`.
fn parse_file_size(text: &str) -> Result<u64, String> {
    let bytes = parse_bytes(text, 1_000_000, "10, 512K, 1G")?;
    Some(bytes)
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| "a file has 1 to 2^64 bytes".to_owned())
}

/// Reads `filesize:1000`.
fn parse_condition(text: &str) -> Result<Condition, String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a condition is NAME:VALUE, for example filesize:1000")?;
    let number: u64 = value
        .parse()
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(|| format!("{value} is not a positive number"))?;
    let small = || u32::try_from(number).map_err(|_| format!("{number} is too much"));
    match name {
        "duration" => Ok(Condition::Duration(small()?)),
        "filesize" => Ok(Condition::FileSize(number.saturating_mul(1000))),
        "files" => Ok(Condition::Files(small()?)),
        "interval" => Ok(Condition::Interval(small()?)),
        "packets" => Ok(Condition::Packets(number)),
        _ => Err(format!(
            "unknown condition {name} (there are: duration, filesize, files, interval, packets)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_tcpdumps() {
        assert_eq!(parse_file_size("10"), Ok(10_000_000));
        assert_eq!(parse_file_size("3k"), Ok(3072));
        assert_eq!(parse_file_size("2G"), Ok(2 << 30));
        assert!(parse_file_size("0").is_err());
        assert!(parse_file_size("1T").is_err());
        assert!(parse_file_size("99999999999999999").is_err());
    }

    #[test]
    fn conditions_are_dumpcaps() {
        assert_eq!(parse_condition("filesize:2"), Ok(Condition::FileSize(2000)));
        assert_eq!(parse_condition("files:3"), Ok(Condition::Files(3)));
        assert!(parse_condition("files").is_err());
        assert!(parse_condition("files:0").is_err());
        assert!(parse_condition("sheets:1").is_err());
    }
}
