//! See `checks/round_trip.rs`.
#![no_main]

#[path = "../checks/round_trip.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::check(bytes));
