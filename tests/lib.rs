//! What the tests share: a harness whose tests can say that they cannot run, network namespaces,
//! and the program under test as a process.
//!
//! A test binary is declared with `harness = false` and its `main` calls [`main`]:
//!
//! ```no_run
//! use traffic_tests::{Need, Test};
//!
//! fn main() -> std::process::ExitCode {
//!     traffic_tests::main(&[Test::new("frames_are_true", &[Need::Root], frames_are_true)])
//! }
//!
//! fn frames_are_true() -> anyhow::Result<()> {
//!     Ok(())
//! }
//! ```

pub mod bpf;
pub mod clickhouse;
pub mod keeper;
pub mod lan;
pub mod ledger;
mod need;
pub mod netns;
pub mod peer;
pub mod program;
pub mod prometheus;
pub mod screen;
pub mod stage;

use std::{
    env,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

pub use need::{Need, corpus, corpus_files};

/// One test: a sentence, what it needs, and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Test<'a> {
    name: &'a str,
    needs: &'a [Need],
    run: fn() -> Result<()>,
}

impl<'a> Test<'a> {
    /// A test that runs where all of `needs` are there.
    #[must_use]
    pub const fn new(name: &'a str, needs: &'a [Need], run: fn() -> Result<()>) -> Self {
        Self { name, needs, run }
    }

    fn outcome(&self, require_all: bool) -> Outcome {
        if let Some((need, missing)) = self.needs.iter().find_map(|n| Some((n, n.missing()?))) {
            let reason = format!("not run (needs {missing})");
            return if require_all && !need.is_choice() {
                Outcome::Failed(reason)
            } else {
                Outcome::Skipped(reason)
            };
        }
        match catch_unwind(AssertUnwindSafe(self.run)) {
            Ok(Ok(())) => Outcome::Passed,
            // With its causes, and a backtrace where RUST_BACKTRACE asks for one.
            Ok(Err(error)) => Outcome::Failed(format!("{error:?}")),
            Err(_) => Outcome::Failed("panicked".to_owned()),
        }
    }
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs `tests` one after the other and prints the closing line `N passed, N failed, N skipped`.
///
/// Arguments: a part of the names to run; `--exact` for the whole name; `--list`. Other options
/// are libtest's and are ignored, because `cargo test` passes the same to every binary. With
/// `TRAFFIC_REQUIRE_ALL` in the environment a test that cannot run has failed, unless all that it
/// needs is time, or a machine of its own.
#[must_use]
pub fn main(tests: &[Test<'_>]) -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let selected = tests.iter().filter(|test| match filter {
        Some(name) if has("--exact") => test.name == name,
        Some(part) => test.name.contains(part.as_str()),
        None => true,
    });
    if has("--list") {
        selected.for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    run(selected)
}

fn run<'a>(tests: impl Iterator<Item = &'a Test<'a>>) -> ExitCode {
    let require_all = env::var_os("TRAFFIC_REQUIRE_ALL").is_some();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for test in tests {
        print!("test {} ... ", test.name);
        // A test that hangs has said its name; a broken stdout shows itself at the next print.
        let _ = std::io::stdout().flush();
        match test.outcome(require_all) {
            Outcome::Passed => {
                passed += 1;
                println!("ok");
            }
            Outcome::Failed(reason) => {
                failed += 1;
                println!("FAILED\n{reason}");
            }
            Outcome::Skipped(reason) => {
                skipped += 1;
                println!("{reason}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ExitCode::from(u8::from(failed > 0))
}

/// Asks `condition` until it holds.
///
/// # Errors
/// When it does not hold within `deadline`; `what` names it.
pub fn wait_until(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let start = Instant::now();
    while !condition() {
        ensure!(
            start.elapsed() < deadline,
            "wait for {what}: not within {deadline:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    const NO_TOOL: &[Need] = &[Need::Tool("no-such-tool")];

    fn words(test: &Test<'_>, require_all: bool) -> String {
        match test.outcome(require_all) {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Failed(reason) => format!("FAILED: {reason}"),
            Outcome::Skipped(reason) => reason,
        }
    }

    #[test]
    fn a_test_that_lacks_something_does_not_pass() {
        let test = Test::new("any", NO_TOOL, || Ok(()));
        assert_eq!(words(&test, false), "not run (needs no-such-tool)");
        assert_eq!(words(&test, true), "FAILED: not run (needs no-such-tool)");
    }

    #[test]
    fn errors_and_panics_are_failures() {
        let errs = Test::new("errs", &[], || Err(anyhow!("no")));
        assert!(words(&errs, false).starts_with("FAILED: no"));
        let panics = Test::new("panics", &[], || panic!("this panic is part of the test"));
        assert_eq!(words(&panics, false), "FAILED: panicked");
        let passes = Test::new("passes", &[], || Ok(()));
        assert_eq!(words(&passes, true), "ok");
    }

    #[test]
    fn waiting_has_an_end() {
        let mut asked = 0;
        let third = || {
            asked += 1;
            asked == 3
        };
        assert!(wait_until("the third", Duration::from_secs(5), third).is_ok());
        let error = wait_until("nothing", Duration::from_millis(20), || false).unwrap_err();
        assert_eq!(error.to_string(), "wait for nothing: not within 20ms");
    }
}
