//! Formatting, clippy, the warnings of the eBPF build, and documentation.

use std::{path::Path, process::ExitCode};

use anyhow::Result;

use crate::{
    build::{self, Warnings},
    process,
    setup::Setup,
};

pub(crate) fn run() -> Result<ExitCode> {
    Setup::default().lints()?;
    process::run(process::cargo().args(["fmt", "--all", "--check"]))?;
    // Clippy sees the eBPF program as the host compiles it; the compiler's own lints are
    // checked where it is compiled for the kernel.
    let object = build::object(Warnings::Denied)?;
    process::run(
        build::cargo(&object)
            .args(["clippy", "--workspace", "--all-targets"])
            .args(["--", "--deny=warnings"]),
    )?;
    process::run(
        build::cargo(&object)
            .args(["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "--deny=warnings"),
    )?;
    fuzz_targets(&object)?;
    Ok(ExitCode::SUCCESS)
}

/// The fuzz targets, which are a workspace of their own. They are compiled for the host without a
/// sanitizer and linked with nothing, so that neither an unstable compiler nor libFuzzer is needed.
fn fuzz_targets(object: &Path) -> Result<()> {
    let manifest = ["--manifest-path", "tests/fuzz/Cargo.toml"];
    process::run(
        process::cargo()
            .arg("fmt")
            .args(manifest)
            .args(["--", "--check"]),
    )?;
    process::run(
        build::cargo(object)
            .arg("clippy")
            .args(manifest)
            .args(["--locked", "--target-dir"])
            .arg(process::target())
            // Anything but libFuzzer's source, which needs a C++ compiler.
            .env(
                "CUSTOM_LIBFUZZER_PATH",
                process::target().join("libfuzzer.a"),
            )
            .args(["--", "--deny=warnings"]),
    )
}
