//! Capture files made to hurt: reading them ends soon, in bounded memory, with what they hold.

mod blocks;
mod files;
mod replay;

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeValLike as _,
};
use traffic_tests::{Need, Test, program::binary};

use crate::files::{End, FILES};

fn main() -> ExitCode {
    traffic_tests::main(&[
        Test::new(
            "reports_on_hostile_files_are_made_soon_in_bounded_memory",
            &[Need::Program],
            reports_on_hostile_files_are_made_soon_in_bounded_memory,
        ),
        Test::new(
            "hostile_files_are_printed_soon_in_bounded_memory",
            &[Need::Program],
            hostile_files_are_printed_soon_in_bounded_memory,
        ),
        Test::new("kept_inputs_hold", &[], replay::kept_inputs_hold),
    ])
}

/// Most processor time for one file, by a program as users run it; one that was built without
/// optimisation may take longer.
fn allowed() -> Duration {
    let unoptimised = binary()
        .components()
        .any(|part| part.as_os_str() == "debug");
    Duration::from_secs(if unoptimised { 15 } else { 2 })
}

/// Most resident memory in KiB.
const MEMORY_KIB: i64 = 200 << 10;

fn reports_on_hostile_files_are_made_soon_in_bounded_memory() -> Result<()> {
    each(&["read", "-qq", "--html", "/dev/null", "--json", "/dev/null"])
}

fn hostile_files_are_printed_soon_in_bounded_memory() -> Result<()> {
    each(&["print", "-e", "-X"])
}

fn each(args: &[&str]) -> Result<()> {
    let directory = tempfile::tempdir()?;
    for (name, make, end) in FILES {
        let path = directory.path().join(name);
        fs::write(&path, make())?;
        one(args, &path, *end).with_context(|| (*name).to_owned())?;
        fs::remove_file(&path)?;
    }
    Ok(())
}

fn one(args: &[&str], path: &Path, end: End) -> Result<()> {
    let errors = path.with_extension("stderr");
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let status = Command::new(binary())
        .args(args)
        .arg(path)
        .stdout(Stdio::null())
        .stderr(File::create(&errors)?)
        .status()?;
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let said = fs::read_to_string(&errors)?;
    let spent = |usage: Usage| {
        let time = usage.user_time() + usage.system_time();
        Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0))
    };
    let took = spent(after).saturating_sub(spent(before));
    match end {
        End::Read => ensure!(status.code() == Some(0), "{status}: {said}"),
        End::Fault(part) => {
            ensure!(status.code() == Some(1), "{status}: {said}");
            ensure!(said.contains(part), "no '{part}' in: {said}");
        }
    }
    ensure!(took < allowed(), "{took:?}");
    // The most that any file so far has taken.
    ensure!(after.max_rss() < MEMORY_KIB, "{} KiB", after.max_rss());
    Ok(())
}
