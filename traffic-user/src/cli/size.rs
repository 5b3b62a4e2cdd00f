//! Sizes on the command line.

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
}
