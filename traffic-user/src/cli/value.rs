//! How sizes, times, addresses and percentages are written on the command line.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

/// Reads `10`, in units of `plain` bytes, or `512K`, `100M`, `1G`: powers of 1024 bytes.
///
/// # Errors
/// When it is no size; the message names `examples`.
pub(super) fn parse_bytes(text: &str, plain: u64, examples: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => plain,
        "K" | "KIB" => 1 << 10,
        "M" | "MIB" => 1 << 20,
        "G" | "GIB" => 1 << 30,
        other => return Err(format!("unknown unit {other} (allowed: K, M, G)")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("not a size (examples: {examples})"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "too large".to_owned())
}

/// Reads `90`, `1.5s`, `250ms`, `5m`, `2h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit {other} (allowed: ms, s, m, h)")),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| "not a time (examples: 60, 90s, 5m)".to_owned())?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

/// Reads `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `8080`.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let port = text
        .strip_prefix("localhost:")
        .or(text.strip_prefix(':'))
        .unwrap_or(text);
    if let Ok(port) = port.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    text.parse()
        .map_err(|_| "not an address (examples: 127.0.0.1:8080, [::1]:8080, 8080)".to_owned())
}

/// Reads `0`, `0.1`, `5%`.
pub(super) fn parse_percentage(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    number
        .parse()
        .ok()
        .filter(|percentage| (0.0..=100.0).contains(percentage))
        .ok_or_else(|| "not a percentage (0 to 100)".to_owned())
}

/// The smallest ring has room for some batches of summaries and for jumbo frames.
const MIN_BUFFER_BYTES: u32 = 64 << 10;

/// Reads `16M`, `4096` (KiB); rounds up to a power of two.
pub(super) fn parse_buffer_size(text: &str) -> Result<u32, String> {
    let bytes = parse_bytes(text, 1 << 10, "16M, 4096")?;
    Some(bytes)
        .filter(|bytes| (1..=1 << 30).contains(bytes))
        .and_then(|bytes| u32::try_from(bytes.next_power_of_two()).ok())
        .map(|bytes| bytes.max(MIN_BUFFER_BYTES))
        .ok_or_else(|| "a ring buffer holds 64K to 1G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let parse = |text| parse_bytes(text, 1_000, "1G");
        assert_eq!(parse("3"), Ok(3_000));
        assert_eq!(parse("3k"), Ok(3072));
        assert_eq!(parse("2MiB"), Ok(2 << 20));
        assert_eq!(parse("1G"), Ok(1 << 30));
        for wrong in ["", "1T", "x", "-1", "99999999999G"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert!(parse_duration("-1").is_err());
        assert!(parse_duration("5 parsecs").is_err());
    }

    #[test]
    fn a_port_alone_is_on_loopback() {
        for text in ["8080", ":8080", "localhost:8080", "127.0.0.1:8080"] {
            assert_eq!(parse_address(text), Ok(([127, 0, 0, 1], 8080).into()));
        }
        assert!(parse_address("[::1]:8080").is_ok_and(|address| address.is_ipv6()));
        for text in ["example.org:80", "127.0.0.1", "70000", ""] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_end_at_a_hundred() {
        assert_eq!(parse_percentage("0"), Ok(0.0));
        assert_eq!(parse_percentage("0.5%"), Ok(0.5));
        for wrong in ["-1", "101", "NaN", "few"] {
            assert!(parse_percentage(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn buffer_sizes_are_powers_of_two() {
        assert_eq!(parse_buffer_size("16M"), Ok(16 << 20));
        assert_eq!(parse_buffer_size("64"), Ok(64 << 10));
        assert_eq!(parse_buffer_size("4"), Ok(64 << 10));
        assert_eq!(parse_buffer_size("100K"), Ok(128 << 10));
        assert!(parse_buffer_size("0").is_err());
        assert!(parse_buffer_size("3G").is_err());
    }
}
