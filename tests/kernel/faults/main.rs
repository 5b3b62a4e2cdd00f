//! Whatever happens to interfaces, namespaces, files, clocks and the process itself: nothing is
//! lost but what the ledger names, and nothing stays behind.

mod clock;
mod endurance;
mod file;
mod hotplug;
mod killed;
mod long;
mod namespace;
mod starved;

use std::process::ExitCode;

use traffic_tests::{Need, Test};

/// What every test here needs.
const NEEDS: &[Need] = &[Need::Capture];

/// Names and functions of a file's tests.
type Tests = &'static [Test<'static>];

fn main() -> ExitCode {
    let tests = [
        hotplug::TESTS,
        namespace::TESTS,
        killed::TESTS,
        starved::TESTS,
        clock::TESTS,
        endurance::TESTS,
    ];
    traffic_tests::main(&tests.concat())
}
