//! Builds the eBPF object, then the program that carries it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    process,
    processor::Processor,
    reproducible,
    setup::{LIBRARIES, Setup},
    toolchain::TARGET,
};

/// The variable through which builds and tests find the object.
pub(crate) const OBJECT_VARIABLE: &str = "TRAFFIC_EBPF_OBJ";

/// Linker flags for a libpcap without its optional capture sources, which would need libraries
/// that no distribution has for static linking. libpcap's table of sources ends where one is null
/// (`capture_source_types` in its pcap.c); the program only compiles filters with it.
const NO_CAPTURE_SOURCES: &str =
    "-Clink-arg=-Wl,--defsym=dbus_create=0,--defsym=dbus_findalldevs=0";

/// Builds the eBPF object and the program `traffic`
#[derive(Args, Debug)]
pub(crate) struct Build {
    /// Optimize the program; the eBPF object always is.
    #[arg(long)]
    release: bool,
    /// Optimize the program, and link every library into it.
    #[arg(long = "static", conflicts_with = "release")]
    is_static: bool,
}

/// How the program is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    Debug,
    Release,
    /// Optimized, and with every library linked in, for this processor: it runs where there is a
    /// kernel.
    Static(Processor),
}

/// What warnings do to the build of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warnings {
    Shown,
    Denied,
}

/// What a build leaves.
#[derive(Debug)]
pub(crate) struct Built {
    /// The eBPF object.
    pub(crate) object: PathBuf,
    /// The program `traffic`.
    pub(crate) program: PathBuf,
}

impl Build {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let profile = match (self.is_static, self.release) {
            (true, _) => Profile::Static(Processor::of_this_machine()?),
            (false, true) => Profile::Release,
            (false, false) => Profile::Debug,
        };
        println!("{}", all(profile)?.program.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Builds the object and the program.
pub(crate) fn all(profile: Profile) -> Result<Built> {
    let object = object(Warnings::Shown)?;
    Setup::default().tools(LIBRARIES)?;
    let mut cargo = match profile {
        Profile::Debug | Profile::Release => cargo(&object),
        Profile::Static(processor) => static_cargo(&object, processor)?,
    };
    cargo
        .args(["build", "--package", "traffic-user", "--bin", "traffic"])
        .arg("--target-dir")
        .arg(process::target());
    if profile != Profile::Debug {
        cargo.arg("--release");
    }
    process::run(&mut cargo)?;
    let program = program(profile);
    Ok(Built { object, program })
}

/// Where the program lies once it was built.
pub(crate) fn program(profile: Profile) -> PathBuf {
    match profile {
        Profile::Debug => process::target().join("debug/traffic"),
        Profile::Release => process::target().join("release/traffic"),
        Profile::Static(processor) => process::target()
            .join(processor.target())
            .join("release/traffic"),
    }
}

/// Cargo for the host, with `object` to embed and to test. Every call names it the same way: a
/// change of the variable makes the program be compiled again.
pub(crate) fn cargo(object: &Path) -> Command {
    let mut cargo = process::cargo();
    cargo.env(OBJECT_VARIABLE, object);
    cargo
}

/// [`cargo`] that links every library into what it builds, tests as well. What it builds lies
/// below `target/` and the processor's name; the bytes are the same from any directory.
pub(crate) fn static_cargo(object: &Path, processor: Processor) -> Result<Command> {
    let mut cargo = cargo(object);
    if processor != Processor::of_this_machine()? {
        processor.cross_build(&mut cargo)?;
    }
    let own = [
        "-Ctarget-feature=+crt-static",
        NO_CAPTURE_SOURCES,
        "-Cstrip=debuginfo",
    ];
    let flags = [&own.map(str::to_owned)[..], &reproducible::paths()].concat();
    // Without a target the flags would be those of procedural macros too, which are not static.
    cargo
        .arg("--config")
        .arg(format!("build.target={:?}", processor.target()));
    reproducible::with_flags(&mut cargo, &flags);
    Ok(cargo)
}

/// Builds the object, unless `TRAFFIC_EBPF_OBJ` names one that was built elsewhere.
pub(crate) fn object(warnings: Warnings) -> Result<PathBuf> {
    if let Some(given) = env::var_os(OBJECT_VARIABLE) {
        return std::path::absolute(&given).with_context(|| format!("find {}", given.display()));
    }
    compile("traffic-bpf", warnings)
}

/// Builds the object that only measurements load.
pub(crate) fn bench_object() -> Result<PathBuf> {
    compile("bench-bpf", Warnings::Shown)
}

fn compile(name: &str, warnings: Warnings) -> Result<PathBuf> {
    let toolchain = Setup::default().toolchain().context("set up eBPF")?;
    let mut cargo = toolchain.context("find an eBPF toolchain")?.cargo();
    let directory = process::target().join("ebpf");
    cargo
        .args(["build", "--release", "-Zbuild-std=core", "--target", TARGET])
        .args(["--package", "traffic-ebpf", "--bin", name])
        .arg("--target-dir")
        .arg(&directory);
    if warnings == Warnings::Denied {
        cargo.args(["-Zwarnings", "--config", "build.warnings=\"deny\""]);
    }
    process::run(&mut cargo)?;
    let object = directory.join(format!("{name}.o"));
    let built = directory.join(TARGET).join("release").join(name);
    copy_if_changed(&built, &object)?;
    Ok(object)
}

/// Copies only what differs, because a newer file would make the program be compiled again.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("write {}", to.display()))
}
