//! Finds or installs what building eBPF needs, and the tools that the tests compare with.

use std::{
    env,
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
    process::{Command, ExitCode},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use nix::unistd::geteuid;

use crate::{
    process,
    toolchain::{self, Compiler, Toolchain},
};

/// Debian's compiler with the source of its library.
const COMPILER_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// Debian's packages that exclude those.
const EXCLUDED_PACKAGES: [&str; 3] = ["rustc", "cargo", "rustup"];
/// What bpf-linker is built with, beside LLVM.
const LINKER_PACKAGES: [&str; 4] = ["g++", "libxml2-dev", "libzstd-dev", "zlib1g-dev"];
const LINKER_VERSION: &str = "0.13.0";
const FUZZER_VERSION: &str = "0.13.2";
/// What libFuzzer is built with.
const FUZZER_PACKAGES: &[&str] = &["g++"];
/// What the program links: libpcap compiles filter expressions.
pub(crate) const LIBRARIES: &[&str] = &["libpcap-dev"];
/// What the demonstration makes its network and its traffic with.
pub(crate) const DEMO_TOOLS: &[&str] =
    &["ethtool", "iproute2", "iputils-ping", "procps", "tcpreplay"];
/// What the tests use.
pub(crate) const TEST_TOOLS: &[&str] = &[
    "bpftool",
    "chromium",
    "curl",
    "ethtool",
    "iproute2",
    "iputils-ping",
    "netbase",
    "nfdump",
    "openssl",
    "pmacct",
    "procps",
    "prometheus",
    "python3-scapy",
    "systemd",
    "tcpdump",
    "tcpreplay",
    "tmux",
    "tshark",
    "util-linux",
    "xdp-tools",
];

/// What makes packages.
pub(crate) const DIST_TOOLS: &[&str] = &[
    "coreutils",
    "dpkg",
    "git",
    "gzip",
    "libc6-dev",
    "tar",
    "xz-utils",
];
/// What tries packages.
pub(crate) const CHECK_TOOLS: &[&str] = &["debootstrap", "iproute2", "iputils-ping", "util-linux"];
/// What the benchmark compares with, and makes its network with.
pub(crate) const BENCH_TOOLS: &[&str] = &[
    "ethtool",
    "iproute2",
    "procps",
    "python3-scapy",
    "tcpdump",
    "tshark",
    "util-linux",
    "xdp-tools",
];

/// Whether this process has fetched the lists of packages.
static UPDATED: AtomicBool = AtomicBool::new(false);

/// Finds or installs everything; the other commands run what they need of it
#[derive(Args, Debug, Default)]
pub(crate) struct Setup {
    /// Use sudo without asking; so does CI=true.
    #[arg(long, short)]
    yes: bool,
    /// Show the commands, run none of them.
    #[arg(long)]
    dry_run: bool,
}

impl Setup {
    pub(crate) fn run(self) -> Result<ExitCode> {
        self.lints()?;
        if self.toolchain()?.is_some() {
            eprintln!("eBPF: a compiler and a linker are there and work together");
        }
        if self.tools(&[LIBRARIES, TEST_TOOLS].concat())? {
            eprintln!("tools: all there");
        }
        self.databases()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Whether commands are shown alone.
    pub(crate) const fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Makes sure of rustfmt and clippy, which rustup's minimal profile leaves out.
    pub(crate) fn lints(&self) -> Result<()> {
        for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
            let output = process::output(process::cargo().args([subcommand, "--version"]))?;
            if !output.is_some_and(|output| output.status.success()) {
                self.step(process::command("rustup").args(["component", "add", component]))?;
            }
        }
        Ok(())
    }

    /// Makes sure of `cargo fuzz`.
    pub(crate) fn fuzzer(&self) -> Result<()> {
        self.tools(FUZZER_PACKAGES)?;
        let output = process::output(process::cargo().args(["fuzz", "--version"]))?;
        if output.is_some_and(|output| output.status.success()) {
            return Ok(());
        }
        let version = ["cargo-fuzz", "--version", FUZZER_VERSION, "--locked"];
        self.step(process::cargo().arg("install").args(version))
    }

    /// Makes sure of a compiler and a linker for eBPF. `None` only in a dry run.
    pub(crate) fn toolchain(&self) -> Result<Option<Toolchain>> {
        if let Some(toolchain) = Toolchain::find() {
            return Ok(Some(toolchain));
        }
        if Compiler::find().is_none() {
            self.install_compiler()?;
        }
        let llvm = match Compiler::find() {
            Some(compiler) => compiler.llvm(),
            None if self.dry_run => toolchain::OLDEST_LLVM,
            None => bail!("the compiler that was just installed is not usable"),
        };
        // A linker may have waited for its compiler.
        if let Some(toolchain) = Toolchain::find() {
            return Ok(Some(toolchain));
        }
        self.install_linker(llvm)?;
        let toolchain = Toolchain::find();
        ensure!(
            self.dry_run || toolchain.is_some(),
            "bpf-linker was installed and does not read the compiler's bitcode (LLVM {llvm})"
        );
        Ok(toolchain)
    }

    /// Makes sure of Debian packages. Whether all are there; a machine without Debian's package
    /// manager is told their names, and tests that miss one say so.
    pub(crate) fn tools(&self, packages: &[&str]) -> Result<bool> {
        let Some(missing) = missing_packages(packages)? else {
            eprintln!("tools: no dpkg here; make sure of {}", packages.join(", "));
            return Ok(false);
        };
        self.apt_install(&missing)?;
        Ok(missing.is_empty() || !self.dry_run)
    }

    fn install_compiler(&self) -> Result<()> {
        if process::find("rustup").is_some() {
            let added =
                self.step(process::command("rustup").args(["component", "add", "rust-src"]));
            match added {
                Ok(()) if Compiler::find().is_some() => return Ok(()),
                Ok(()) => eprintln!("# if that is of no use, Debian's compiler:"),
                Err(error) => eprintln!("{error:#}: taking Debian's compiler instead"),
            }
        }
        let Some(missing) = missing_packages(&COMPILER_PACKAGES)? else {
            bail!("install the source of the Rust library: rustup component add rust-src");
        };
        let excluded = installed(&EXCLUDED_PACKAGES)?;
        ensure!(
            excluded.is_empty(),
            "install {}: these exclude {}, which are installed and are not removed for you; \
             remove them, or give rustup's toolchain its rust-src component",
            missing.join(", "),
            excluded.join(", ")
        );
        self.apt_install(&missing)
    }

    fn install_linker(&self, llvm: u32) -> Result<()> {
        let llvm_dev = format!("llvm-{llvm}-dev");
        let mut packages = LINKER_PACKAGES.to_vec();
        packages.push(&llvm_dev);
        match missing_packages(&packages)? {
            Some(missing) => self.apt_install(&missing)?,
            None => eprintln!("# needs LLVM {llvm} with its headers"),
        }
        let mut install = process::cargo();
        let prefix = format!("/usr/lib/llvm-{llvm}");
        if Path::new(&prefix).exists() || self.dry_run {
            install.env("LLVM_PREFIX", prefix);
        }
        install
            .args(["install", "bpf-linker", "--version", LINKER_VERSION])
            .args(["--locked", "--no-default-features", "--features"])
            .arg(format!("llvm-{llvm}"));
        if !toolchain::linkers().is_empty() {
            eprintln!("# the bpf-linker that is here reads other bitcode; it stays as it is");
            install.arg("--root").arg(toolchain::private_tools());
        }
        self.step(&mut install)
    }

    fn apt_install(&self, packages: &[String]) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        if !UPDATED.swap(true, Ordering::Relaxed) {
            self.administrate(&["apt-get", "update"])?;
        }
        let options = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "install"];
        // Nothing that is installed goes away for it.
        let options = [
            &options[..],
            &["--yes", "--no-install-recommends", "--no-remove"],
        ];
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        self.administrate(&[&["env"], &options.concat()[..], &packages].concat())
    }

    /// Runs a command as root.
    pub(crate) fn administrate(&self, words: &[&str]) -> Result<()> {
        let root = geteuid().is_root();
        let words = [if root { &[][..] } else { &["sudo"] }, words].concat();
        let mut command = process::command(words[0]);
        command.args(&words[1..]);
        if !root && !self.dry_run {
            self.ask(&command)?;
        }
        self.step(&mut command)
    }

    fn ask(&self, command: &Command) -> Result<()> {
        if self.yes || env::var_os("CI").is_some_and(|ci| ci == "true") {
            return Ok(());
        }
        process::show(command);
        ensure!(
            io::stdin().is_terminal(),
            "this needs root: run it yourself, or `cargo xtask setup --yes`"
        );
        eprint!("Run this? [Y/n] ");
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        let yes = matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes");
        ensure!(
            yes && answer.ends_with('\n'),
            "not installed: the answer was no"
        );
        Ok(())
    }

    /// Runs a command, or shows it alone.
    pub(crate) fn step(&self, command: &mut Command) -> Result<()> {
        if self.dry_run {
            process::show(command);
            return Ok(());
        }
        process::run(command)
    }
}

/// Those of `packages` that are not installed; `None` without dpkg.
fn missing_packages(packages: &[&str]) -> Result<Option<Vec<String>>> {
    if process::find("dpkg-query").is_none() {
        return Ok(None);
    }
    let installed = installed(packages)?;
    let missing = packages
        .iter()
        .map(|package| (*package).to_owned())
        .filter(|package| !installed.contains(package))
        .collect();
    Ok(Some(missing))
}

/// Those of `packages` that are installed.
fn installed(packages: &[&str]) -> Result<Vec<String>> {
    let mut query = process::command("dpkg-query");
    query
        .args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"])
        .args(packages);
    // It fails when it does not know one of them; what it knows is printed all the same.
    let output = process::output(&mut query)?.context("find dpkg-query")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("installed "))
        .map(str::to_owned)
        .collect())
}
