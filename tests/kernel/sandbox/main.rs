//! What a capture can still do once it reads packets: as little as its work needs.

mod attack;
mod run;

use std::process::ExitCode;

use traffic_tests::Test;

fn main() -> ExitCode {
    if let Some(code) = attack::attacker() {
        return code;
    }
    traffic_tests::main(&[attack::TESTS, run::TESTS].concat())
}

/// Names and functions of a file's tests.
type Tests = &'static [Test<'static>];
