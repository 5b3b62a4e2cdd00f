//! Real captures in network namespaces, compared with tcpdump, with the kernel's own counters, and
//! with what was sent.

mod failures;
mod frame;
mod frames;
mod ledger;
mod links;
mod live;
mod neighbours;
mod send;
mod tcpdump;
mod time;

use std::process::ExitCode;

use traffic_tests::{Need, Test};

/// What every test here needs.
const NEEDS: &[Need] = &[
    Need::Capture,
    Need::Tool("tcpdump"),
    Need::Tool("tcpreplay"),
];

fn main() -> ExitCode {
    let tests = [
        frames::TESTS,
        time::TESTS,
        ledger::TESTS,
        live::TESTS,
        neighbours::TESTS,
        links::TESTS,
        failures::TESTS,
    ]
    .concat();
    traffic_tests::main(&tests)
}

/// Names and functions of a file's tests.
type Tests = &'static [Test<'static>];
