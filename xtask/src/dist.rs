//! Makes what users install: a program without dependencies, as an archive and as a Debian package.

mod archive;
mod check;
mod debian;
mod dependencies;
mod files;
mod sbom;
mod service;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::{dependencies::Dependencies, files::Files};
use crate::{
    build::{self, Profile},
    process,
    processor::Processor,
    reproducible,
    setup::{DIST_TOOLS, Setup},
};

/// Makes an archive and a Debian package with the static program
#[derive(Args, Debug)]
pub(crate) struct Dist {
    /// Where the files go.
    #[arg(long, value_name = "DIR", default_value = "target/dist")]
    out: PathBuf,
    /// Build for this processor, with Debian's cross compiler, and not for this machine's.
    #[arg(long, value_enum, conflicts_with = "check")]
    processor: Option<Processor>,
    /// Build the last commit twice in different directories, compare the bytes, and install, run
    /// and remove the package in a new Debian system, also under systemd. Takes half an hour, and
    /// root.
    #[arg(long)]
    check: bool,
}

/// What a release is called and when it was made.
#[derive(Clone, Debug)]
struct Release {
    version: &'static str,
    /// Seconds since 1970: of the last commit.
    epoch: String,
    processor: Processor,
}

impl Dist {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let out = std::path::absolute(process::root().join(&self.out))?;
        Setup::default().tools(DIST_TOOLS)?;
        if self.check {
            check::run(&out)?;
        } else {
            let processor = self.processor.map_or_else(Processor::of_this_machine, Ok)?;
            make(&out, processor)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes everything anew below `out`.
fn make(out: &Path, processor: Processor) -> Result<()> {
    let release = Release {
        version: env!("CARGO_PKG_VERSION"),
        epoch: reproducible::epoch()?,
        processor,
    };
    let built = build::all(Profile::Static(processor))?;
    let own = Processor::of_this_machine()?;
    let teller = if processor == own {
        built.program.clone()
    } else {
        runs(&built.program, processor)?;
        build::all(Profile::Static(own))?.program
    };
    empty(out)?;
    let dependencies = Dependencies::of_program(processor)?;
    let bill = sbom::write(&dependencies, &release)?;
    let licences = dependencies.licences()?;
    let files = Files {
        program: &built.program,
        teller: &teller,
        bill: &bill,
        licences: &licences,
        release: &release,
    };
    archive::make(&files, out)?;
    debian::make(&files, out)?;
    let name = format!("traffic-{}.cdx.json", release.version);
    fs::write(out.join(name), &bill).context("write the bill of materials")?;
    sums(out)
}

/// Has a program for another processor say its version.
fn runs(program: &Path, processor: Processor) -> Result<()> {
    let mut emulator = process::command(processor.emulator());
    let output = process::output(emulator.arg(program).arg("--version"))?;
    let output = output.with_context(|| format!("find {}", processor.emulator()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = format!("traffic {}\n", env!("CARGO_PKG_VERSION"));
    ensure!(output.status.success() && said == expected, "{output:?}");
    Ok(())
}

/// Removes what an earlier run left in `directory`, and makes it.
fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        let is_ours = directory.join(SUMS).exists() || fs::read_dir(directory)?.next().is_none();
        ensure!(is_ours, "{} holds other files", directory.display());
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))
}

const SUMS: &str = "SHA256SUMS";

/// Writes the checksums of all files in `out`, for `sha256sum --check`.
fn sums(out: &Path) -> Result<()> {
    let names = names(out)?;
    let mut command = process::command("sha256sum");
    let output = process::output(command.current_dir(out).args(&names))?;
    let output = output.context("find sha256sum")?;
    ensure!(output.status.success(), "run sha256sum: {}", output.status);
    fs::write(out.join(SUMS), &output.stdout).context("write the checksums")?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// Names in `directory`, sorted.
fn names(directory: &Path) -> Result<Vec<String>> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
