//! Processors that the program is built for: this machine's, and others, with Debian's cross
//! compiler.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::{process, setup::Setup, vm::Archive};

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Processor {
    /// 64-bit x86.
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit ARM.
    #[value(name = "aarch64")]
    Aarch64,
}

impl Processor {
    /// This machine's.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn of_this_machine() -> Result<Self> {
        match env::consts::ARCH {
            "x86_64" => Ok(Self::X86_64),
            "aarch64" => Ok(Self::Aarch64),
            other => bail!("build for {other}, which is neither x86_64 nor aarch64"),
        }
    }

    /// As the compiler names it.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// As Debian names it.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// What Debian's names of its tools begin with.
    const fn gnu(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
        }
    }

    /// qemu's program that runs programs for this processor on another.
    pub(crate) const fn emulator(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-x86_64-static",
            Self::Aarch64 => "qemu-aarch64-static",
        }
    }

    /// Has `cargo`, which builds for this processor on a machine with another, find compiler and
    /// libraries; installs what is missing.
    pub(crate) fn cross_build(self, cargo: &mut Command) -> Result<()> {
        let gnu = self.gnu();
        let compiler = format!("gcc-{}", gnu.replace('_', "-"));
        let library = format!("libc6-dev-{}-cross", self.debian());
        let setup = Setup::default();
        setup.tools(&[&compiler, &library, "qemu-user-static"])?;
        setup.step(process::command("rustup").args(["target", "add", self.target()]))?;
        let variable = self.target().replace('-', "_").to_uppercase();
        cargo
            .env(
                format!("CARGO_TARGET_{variable}_LINKER"),
                format!("{gnu}-gcc"),
            )
            .env("LIBPCAP_LIBDIR", self.libpcap()?)
            // Otherwise a program that asks the library is built for the other processor, and run.
            .env("LIBPCAP_VER", "1.10.3");
        Ok(())
    }

    /// The directory of this processor's libpcap, unpacked below `target/`.
    fn libpcap(self) -> Result<PathBuf> {
        let directory = process::target().join("cross").join(self.debian());
        let libraries = directory.join("usr/lib").join(self.gnu());
        if !libraries.join("libpcap.a").is_file() {
            let parent = Path::new(&directory).parent().context("it has a parent")?;
            fs::create_dir_all(parent).context("make room for libraries")?;
            let archive = Archive::of_processor(self.debian())?;
            archive.unpack(&["libpcap0.8-dev".to_owned()], &directory)?;
        }
        Ok(libraries)
    }
}
