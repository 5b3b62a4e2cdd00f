//! What continuous integration runs.

use std::process::ExitCode;

use anyhow::Result;

use crate::{lint, test::Test};

pub(crate) fn run() -> Result<ExitCode> {
    lint::run()?;
    Test::with_everything_required().run()
}
