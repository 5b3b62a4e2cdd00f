//! Whatever happens to interfaces, namespaces, files, clocks and the process itself: nothing is
//! lost but what the ledger names, and nothing stays behind.

mod file;
mod hotplug;
mod namespace;

use std::process::ExitCode;

use traffic_tests::{Need, Test};

/// What every test here needs.
const NEEDS: &[Need] = &[Need::Capture];

/// Names and functions of a file's tests.
type Tests = &'static [Test<'static>];

fn main() -> ExitCode {
    traffic_tests::main(&[hotplug::TESTS, namespace::TESTS].concat())
}
