//! Numbers and foreign text as people read them.

use std::time::Duration;

/// `12345` as `12,345`.
pub(crate) fn count(n: u64) -> String {
    group(&n.to_string())
}

/// `1 frame`, `12,345 frames`: `one` is what a single one is called, and takes an s.
pub(crate) fn counted(n: u64, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

/// `1234567.5` as `1,234,567.5`.
pub(crate) fn group(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut out = String::with_capacity(number.len() + number.len() / 3);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

/// `950 B`, `1.21 MB`: decimal units, as networks count.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(crate) fn bytes(n: u64) -> String {
    scaled(n as f64, "B")
}

/// `12.4 Mbit/s`.
pub(crate) fn bits_per_second(bps: f64) -> String {
    scaled(bps, "bit/s")
}

/// `1,240/s`, `0.25/s`.
pub(crate) fn per_second(rate: f64) -> String {
    format!("{}/s", significant(rate))
}

/// `1,240 packets/s`.
pub(crate) fn packets_per_second(rate: f64) -> String {
    format!("{} packets/s", significant(rate))
}

/// `0.0125 s`, `10 s`, `1 h 5 min`, `3 d 4 h`: at most two units.
pub(crate) fn seconds(seconds: f64) -> String {
    /// From how many seconds on, in which units.
    const UNITS: [(f64, f64, &str, f64, &str); 3] = [
        (86_400.0, 86_400.0, "d", 3600.0, "h"),
        (3600.0, 3600.0, "h", 60.0, "min"),
        (120.0, 60.0, "min", 1.0, "s"),
    ];
    let whole = seconds.round();
    let Some((_, big, big_name, small, small_name)) =
        UNITS.into_iter().find(|(least, ..)| whole >= *least)
    else {
        return format!("{} s", significant(seconds));
    };
    let high = (whole / big).floor();
    let low = ((whole - high * big) / small).floor();
    if low > 0.0 {
        format!("{high:.0} {big_name} {low:.0} {small_name}")
    } else {
        format!("{high:.0} {big_name}")
    }
}

/// `01:05`, `2:00:00`: whole seconds, as clocks that run show them.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// `12.5 %` of `whole`; `< 0.1 %` rather than a zero that is none; never `100 %` of less.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0 %".to_owned();
    }
    if part == whole {
        return "100 %".to_owned();
    }
    let share = 100.0 * part as f64 / whole as f64;
    if share < 0.1 {
        "< 0.1 %".to_owned()
    } else if part < whole && share > 99.9 {
        "> 99.9 %".to_owned()
    } else {
        format!("{share:.1} %")
    }
}

/// `text` with what does not print, or turns the direction of writing, shown as an escape.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let directs = matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}' | '\u{feff}' | '\u{fffe}'..='\u{ffff}');
        if c.is_control() || directs {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Three digits or more, no trailing zeros.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let text = fixed(value);
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Three digits or more.
fn fixed(value: f64) -> String {
    // At most 9: nothing here is finer than a nanosecond.
    let decimals = (0..9)
        .find(|&decimals| value.abs() * 10f64.powi(decimals) >= 99.95)
        .unwrap_or(9)
        .unsigned_abs() as usize;
    group(&format!("{value:.decimals$}"))
}

fn scaled(value: f64, unit: &str) -> String {
    const PREFIXES: [(f64, &str); 5] =
        [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (divisor, prefix) = PREFIXES
        .into_iter()
        .find(|(divisor, _)| value >= *divisor)
        .unwrap_or((1.0, ""));
    let digits = match prefix {
        "" => significant(value),
        // As many digits everywhere, so that numbers stand in columns.
        _ => fixed(value / divisor),
    };
    format!("{digits} {prefix}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_units() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(group("1234567.25"), "1,234,567.25");
        assert_eq!(bytes(950), "950 B");
        assert_eq!(bytes(1_214_000), "1.21 MB");
        assert_eq!(bytes(2_000_000), "2.00 MB");
        assert_eq!(counted(1, "frame"), "1 frame");
        assert_eq!(counted(1000, "frame"), "1,000 frames");
        assert_eq!(bits_per_second(12_400_000.0), "12.4 Mbit/s");
        assert_eq!(per_second(0.25), "0.25/s");
        assert_eq!(per_second(1240.4), "1,240/s");
    }

    #[test]
    fn times_have_at_most_two_units() {
        assert_eq!(seconds(0.0), "0 s");
        assert_eq!(seconds(0.0125), "0.0125 s");
        assert_eq!(seconds(10.0), "10 s");
        assert_eq!(seconds(90.0), "90 s");
        assert_eq!(seconds(185.0), "3 min 5 s");
        assert_eq!(seconds(86_400.0), "1 d");
        assert_eq!(seconds(5400.0), "1 h 30 min");
        assert_eq!(seconds(119.9), "2 min");
        assert_eq!(seconds(273_600.0), "3 d 4 h");
        assert_eq!(clock(Duration::from_millis(65_900)), "01:05");
        assert_eq!(clock(Duration::from_hours(2)), "2:00:00");
    }

    #[test]
    fn percentages_hide_no_loss() {
        assert_eq!(percent(0, 10), "0 %");
        assert_eq!(percent(1, 8), "12.5 %");
        assert_eq!(percent(1, 1_000_000), "< 0.1 %");
        assert_eq!(percent(999_999, 1_000_000), "> 99.9 %");
        assert_eq!(percent(8, 8), "100 %");
        assert_eq!(percent(0, 0), "0 %");
    }

    #[test]
    fn text_that_steers_a_terminal_or_a_page_is_shown() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}b"), "a\\u{1b}[31m\\u{202e}b");
        assert_eq!(printable("Grüße 日本"), "Grüße 日本");
    }
}
