//! See `checks/capture_file.rs`.
#![no_main]

#[path = "../checks/capture_file.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::check(bytes));
