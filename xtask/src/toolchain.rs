//! The compiler and the linker that make the eBPF object: finding them, and asking them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::process;

/// The eBPF target, little endian.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
const LINKER: &str = "bpf-linker";
/// Where Debian's compiler lives.
const DEBIAN: &str = "/usr";

/// A compiler with the source of its `core`, and a linker that reads its bitcode.
#[derive(Debug)]
pub(crate) struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

/// A compiler with the source of its `core`.
#[derive(Debug)]
pub(crate) struct Compiler {
    sysroot: PathBuf,
}

impl Toolchain {
    /// The first compiler and linker here that work together; rustup's before Debian's.
    pub(crate) fn find() -> Option<Self> {
        compilers().into_iter().find_map(|compiler| {
            let linker = linkers()
                .into_iter()
                .find(|linker| compiler.works_with(linker))?;
            Some(Self { compiler, linker })
        })
    }

    /// A cargo command with everything set that the object needs.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = process::command(self.compiler.program("cargo"));
        command
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env("RUSTC", self.compiler.program("rustc"))
            // `build-std` is unstable, and so is the target.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker)
            // It would go before RUSTFLAGS.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", self.flags().join(" "));
        command
    }

    fn flags(&self) -> Vec<String> {
        let mut flags = vec![
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            // 32-bit operations and jumps: Linux 5.1.
            "-Ctarget-cpu=v3".to_owned(),
        ];
        // Programs may read memory at any address; without this they read words byte by byte.
        // Told to the linker, which makes the code: the compiler calls the feature unstable.
        let feature = "allows-misaligned-mem-access";
        if stdout(process::command(&self.linker).arg("--help"))
            .is_some_and(|help| help.contains(feature))
        {
            flags.push(format!("-Clink-arg=--cpu-features=+{feature}"));
        }
        flags
    }
}

impl Compiler {
    /// The first compiler here that has its source; rustup's before Debian's.
    pub(crate) fn find() -> Option<Self> {
        compilers().into_iter().next()
    }

    /// Major version of the LLVM that it writes bitcode with.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) fn llvm_major(&self) -> Result<String> {
        self.ask(&["-vV"])
            .and_then(|text| {
                let version = text
                    .lines()
                    .find_map(|l| l.strip_prefix("LLVM version: "))?;
                Some(version.split('.').next()?.to_owned())
            })
            .with_context(|| format!("ask {} for its LLVM", self.program("rustc").display()))
    }

    fn at(sysroot: PathBuf) -> Option<Self> {
        let source = sysroot.join("lib/rustlib/src/rust/library/core");
        let compiler = Self { sysroot };
        (source.is_dir() && compiler.program("cargo").is_file()).then_some(compiler)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(name)
    }

    fn ask(&self, args: &[&str]) -> Option<String> {
        let mut rustc = process::command(self.program("rustc"));
        stdout(rustc.args(args))
    }

    /// Whether `linker` makes an eBPF object of this compiler's bitcode. Tried out, because a
    /// linker does not tell which LLVM it was built with.
    fn works_with(&self, linker: &Path) -> bool {
        let directory = process::target().join("ebpf/probe");
        let source = directory.join("probe.rs");
        let bitcode = directory.join("probe.bc");
        let program =
            "#![no_std]\n#[unsafe(no_mangle)]\npub extern \"C\" fn probe() -> u32 {\n    0\n}\n";
        if fs::create_dir_all(&directory).is_err() || fs::write(&source, program).is_err() {
            return false;
        }
        let mut rustc = process::command(self.program("rustc"));
        rustc
            .args(["--edition=2024", "--crate-type=lib", "--emit=llvm-bc", "-o"])
            .args([&bitcode, &source]);
        let mut link = process::command(linker);
        link.args(["--target=bpfel", "--export=probe", "-o"])
            .args([&directory.join("probe.o"), &bitcode]);
        succeeds(&mut rustc) && succeeds(&mut link)
    }
}

/// Where a linker is built that must not replace the one on `PATH`.
pub(crate) fn private_tools() -> PathBuf {
    process::target().join("tools")
}

/// Every linker here.
pub(crate) fn linkers() -> Vec<PathBuf> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    let installed = [cargo_home, Some(private_tools())]
        .into_iter()
        .flatten()
        .map(|root| root.join("bin").join(LINKER))
        .filter(|file| file.is_file());
    process::find(LINKER).into_iter().chain(installed).collect()
}

fn compilers() -> Vec<Compiler> {
    let active = stdout(process::command("rustc").args(["--print", "sysroot"]))
        .map(|sysroot| PathBuf::from(sysroot.trim()));
    active
        .into_iter()
        .chain([PathBuf::from(DEBIAN)])
        .filter_map(Compiler::at)
        .collect()
}

fn stdout(command: &mut Command) -> Option<String> {
    let output = process::output(command).ok()??;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
