//! How long the long tests are. `cargo xtask test --long` sets it; without, they are short.

use std::{env, time::Duration};

/// Times that whole captures begin and end.
pub(crate) fn cycles() -> u32 {
    number("TRAFFIC_LONG_CYCLES").unwrap_or(8)
}

/// Times that a capture is killed.
pub(crate) fn kills() -> u32 {
    (cycles() / 3).clamp(6, 300)
}

/// Time that a capture runs at a steady rate.
pub(crate) fn steady() -> Duration {
    let minutes = number("TRAFFIC_LONG_MINUTES");
    minutes.map_or(Duration::from_secs(6), |minutes| {
        Duration::from_mins(minutes.into())
    })
}

/// Datagrams a second of that time.
pub(crate) fn rate() -> u32 {
    number("TRAFFIC_LONG_RATE").unwrap_or(20_000)
}

/// Tells what a long test measured; short ones measure nothing worth telling.
pub(crate) fn tell(measured: &str) {
    if number("TRAFFIC_LONG_CYCLES").is_some() {
        println!("{measured}");
    }
}

fn number(name: &str) -> Option<u32> {
    env::var(name).ok()?.parse().ok()
}
