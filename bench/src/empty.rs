//! A program that does nothing, attached: what XDP costs whoever uses it.

use std::{env, io, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use traffic_tests::netns::VETH;

use crate::Programs;

/// The command that attaches it.
pub(crate) fn command(programs: &Programs) -> Vec<String> {
    let own = env::current_exe().unwrap_or_default();
    let paths = [&own, &programs.traffic, &programs.object].map(|path| path.display().to_string());
    let [own, traffic, object] = paths;
    let words = ["--traffic", &traffic, "--object", &object, "empty"].map(str::to_owned);
    [own].into_iter().chain(words).collect()
}

/// Attaches it until this process is interrupted.
pub(crate) fn run(object: &Path) -> Result<ExitCode> {
    let mut ebpf = Ebpf::load_file(object).with_context(|| format!("load {}", object.display()))?;
    let program = ebpf.program_mut("null_xdp_frags");
    let program: &mut Xdp = program.context("find the empty program")?.try_into()?;
    program.load()?;
    program
        .attach(VETH, XdpMode::Default)
        .context("attach the empty program")?;
    println!("listening on {VETH}");
    // Nothing comes: the process is killed.
    io::stdin().read_line(&mut String::new())?;
    loop {
        std::thread::park();
    }
}
