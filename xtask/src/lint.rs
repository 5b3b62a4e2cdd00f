//! Formatting, clippy, the warnings of the eBPF build, and documentation.

use std::process::ExitCode;

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
    Ok(ExitCode::SUCCESS)
}
