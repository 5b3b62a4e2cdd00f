//! Sets up, builds, demonstrates and tests traffic. One file per command.

mod aside;
mod bench;
mod build;
mod ci;
mod demo;
mod dist;
mod fuzz;
mod lint;
mod process;
mod processor;
mod reproducible;
mod run;
mod setup;
mod test;
mod toolchain;
mod vm;

use std::process::ExitCode;

use clap::Parser;

/// Sets up, builds, demonstrates and tests traffic.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Xtask {
    Setup(setup::Setup),
    Build(build::Build),
    Run(run::Run),
    Demo(demo::Demo),
    Test(test::Test),
    Fuzz(fuzz::Fuzz),
    Vm(vm::Vm),
    Bench(bench::Bench),
    Dist(dist::Dist),
    /// Checks formatting and lints, for the host and for eBPF; warnings are errors
    Lint,
    /// Lints, then tests with everything required
    Ci,
    #[command(hide = true)]
    DemoPeer(demo::peer::Peer),
}

fn main() -> ExitCode {
    let result = match Xtask::parse() {
        Xtask::Setup(setup) => setup.run(),
        Xtask::Build(build) => build.run(),
        Xtask::Run(run) => run.run(),
        Xtask::Demo(demo) => demo.run(),
        Xtask::Test(test) => test.run(),
        Xtask::Fuzz(fuzz) => fuzz.run(),
        Xtask::Vm(vm) => vm.run(),
        Xtask::Bench(bench) => bench.run(),
        Xtask::Dist(dist) => dist.run(),
        Xtask::Lint => lint::run(),
        Xtask::Ci => ci::run(),
        Xtask::DemoPeer(peer) => peer.run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
