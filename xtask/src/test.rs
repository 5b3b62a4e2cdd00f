//! Runs every test and adds up what the test binaries report.

use std::{
    env,
    io::{BufRead, BufReader},
    ops::AddAssign,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    aside,
    bench::Bench,
    build::{self, Built, Profile},
    process,
    setup::{Setup, TEST_TOOLS},
    vm::{Machines, Outcome},
};

/// Runs the tests; one that lacks a privilege or a tool says `not run (needs …)`
#[derive(Args, Debug, Default)]
pub(crate) struct Test {
    /// A test that cannot run has failed.
    #[arg(long)]
    require_all: bool,
    /// Also what takes longer than a few minutes.
    #[arg(long)]
    long: bool,
    /// With --long: minutes at a steady rate.
    #[arg(long, value_name = "N", default_value_t = 30, requires = "long")]
    minutes: u32,
    /// With --long: datagrams a second at that rate.
    #[arg(long, value_name = "N", default_value_t = 20_000, requires = "long")]
    rate: u32,
    /// With --long: times that captures begin and end.
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "long")]
    cycles: u32,
    /// Part of the names of the tests to run.
    filter: Option<String>,
}

/// What the names of tests on other kernels begin with; as a filter it stands for all of them.
const ON_LINUX: &str = "on_linux";

/// What became of the tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Test {
    /// What a continuous integration runs.
    pub(crate) fn with_everything_required() -> Self {
        Self {
            require_all: true,
            ..Self::default()
        }
    }

    pub(crate) fn run(self) -> Result<ExitCode> {
        if let Err(error) = Setup::default().tools(TEST_TOOLS) {
            eprintln!("some tests will not run: {error:#}");
        }
        if let Err(error) = Setup::default().databases() {
            eprintln!("tests of a fleet will not run: {error:#}");
        }
        // Unit tests run with debug assertions; tests of the program run what users run.
        let built = build::all(Profile::Release)?;
        let mut cargo = build::cargo(&built.object);
        cargo
            .args(["test", "--workspace", "--no-fail-fast"])
            .env("TRAFFIC_BIN", &built.program)
            .env("TRAFFIC_TOOLS", aside::directory());
        self.pass_on(&mut cargo)?;
        let mut tally = run(&mut cargo)?;
        if self.long && self.filter.is_none() {
            tally += guard()?;
        }
        if self.filter.as_deref().is_none_or(|part| part == ON_LINUX) {
            tally += self.other_kernels(built)?;
        }
        println!(
            "{} passed, {} failed, {} skipped",
            tally.passed, tally.failed, tally.skipped
        );
        Ok(ExitCode::from(u8::from(tally.failed > 0)))
    }

    fn pass_on(&self, cargo: &mut Command) -> Result<()> {
        if self.require_all {
            cargo.env("TRAFFIC_REQUIRE_ALL", "1");
        }
        if self.long {
            cargo.env("TRAFFIC_LONG", "1");
            cargo.env("TRAFFIC_LONG_MINUTES", self.minutes.to_string());
            cargo.env("TRAFFIC_LONG_RATE", self.rate.to_string());
            cargo.env("TRAFFIC_LONG_CYCLES", self.cycles.to_string());
        }
        if let Some(corpus) = env::var_os("TRAFFIC_CORPUS") {
            // Tests run in the directory of their package.
            cargo.env("TRAFFIC_CORPUS", std::path::absolute(Path::new(&corpus))?);
        }
        if let Some(filter) = &self.filter {
            cargo.args(["--", filter]);
        }
        Ok(())
    }

    /// Boots other kernels and runs tests there.
    fn other_kernels(&self, built: Built) -> Result<Tally> {
        let machines = match Machines::of_test_run(self.long) {
            Ok(machines) => machines,
            Err(error) => return Ok(self.not_run("any", &error)),
        };
        let mut sum = Tally::default();
        for (name, error) in &machines.missing {
            sum += self.not_run(name, error);
        }
        for column in machines.test(built, self.long)? {
            sum += Tally {
                passed: column.count(|outcome| *outcome == Outcome::Passed),
                failed: column.count(|outcome| *outcome == Outcome::Failed),
                skipped: column.count(|outcome| matches!(outcome, Outcome::NotRun(_))),
            };
        }
        Ok(sum)
    }

    /// Says that the tests on a kernel cannot run, in the words of every other test.
    fn not_run(&self, kernel: &str, error: &anyhow::Error) -> Tally {
        let failed = if self.require_all { "FAILED\n" } else { "" };
        println!(
            "test {ON_LINUX}_{kernel} ... {failed}not run (needs a kernel of Debian: {error:#})"
        );
        Tally {
            failed: u64::from(self.require_all),
            skipped: u64::from(!self.require_all),
            ..Tally::default()
        }
    }
}

/// Compares the cost of the programs with what is recorded.
fn guard() -> Result<Tally> {
    let holds = Bench::no_path_is_dearer()?;
    let verdict = if holds { "ok" } else { "FAILED" };
    println!("test no_path_through_the_programs_is_dearer_than_recorded ... {verdict}");
    Ok(Tally {
        passed: u64::from(holds),
        failed: u64::from(!holds),
        skipped: 0,
    })
}

/// Runs `cargo test` and hands its output on, but for the closing lines of single binaries.
fn run(cargo: &mut Command) -> Result<Tally> {
    process::show(cargo);
    let mut child = cargo
        .stdout(Stdio::piped())
        .spawn()
        .context("run cargo test")?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut sum = Tally::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("read the output of cargo test")?;
        let line = String::from_utf8_lossy(&line);
        if let Some(tally) = Tally::of_harness(&line) {
            sum += tally;
            continue;
        }
        if let Some(tally) = Tally::of_libtest(&line) {
            sum += tally;
        }
        println!("{line}");
    }
    let status = child.wait()?;
    // A binary that did not build or was killed has closed with no line.
    if !status.success() && sum.failed == 0 {
        sum.failed = 1;
    }
    Ok(sum)
}

impl Tally {
    /// From `N passed, N failed, N skipped`.
    fn of_harness(line: &str) -> Option<Self> {
        let [passed, failed, skipped] = counts(line, ", ", [" passed", " failed", " skipped"])?;
        Some(Self {
            passed,
            failed,
            skipped,
        })
    }

    /// From `test result: ok. N passed; N failed; N ignored; …`.
    fn of_libtest(line: &str) -> Option<Self> {
        let (_, counted) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let [passed, failed, skipped] = counts(counted, "; ", [" passed", " failed", " ignored"])?;
        Some(Self {
            passed,
            failed,
            skipped,
        })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The numbers before `names`, which stand at the beginning of `line`.
fn counts(line: &str, separator: &str, names: [&str; 3]) -> Option<[u64; 3]> {
    let mut parts = line.split(separator);
    let mut counts = [0; 3];
    for (count, name) in counts.iter_mut().zip(names) {
        *count = parts.next()?.strip_suffix(name)?.parse().ok()?;
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_understood() {
        let expected = Tally {
            passed: 12,
            failed: 3,
            skipped: 4,
        };
        assert_eq!(
            Tally::of_harness("12 passed, 3 failed, 4 skipped"),
            Some(expected)
        );
        assert_eq!(
            Tally::of_libtest(
                "test result: FAILED. 12 passed; 3 failed; 4 ignored; 0 measured; 0 filtered out; \
                 finished in 0.01s"
            ),
            Some(expected)
        );
    }

    #[test]
    fn other_lines_are_not() {
        for line in ["test a ... ok", "12 passed", "running 3 tests", ""] {
            assert_eq!(Tally::of_harness(line), None);
            assert_eq!(Tally::of_libtest(line), None);
        }
    }
}
