//! The compiler and the linker that make the eBPF object: finding them, and asking them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{process, reproducible};

/// The eBPF target, little endian.
pub(crate) const TARGET: &str = "bpfel-unknown-none";
const LINKER: &str = "bpf-linker";
/// Flags of the eBPF build: BTF for the kernel, and 32-bit operations and jumps (Linux 5.1). Blocks
/// stay in the order of the source: the compiler would let the end of a loop fall through to its
/// middle, and before Linux 6.8 the verifier only follows jumps back (`visit_insn`).
const FLAGS: [&str; 4] = [
    "-Cdebuginfo=2",
    "-Clink-arg=--btf",
    "-Clink-arg=--llvm-args=-disable-block-placement",
    "-Ctarget-cpu=v3",
];
/// Where Debian's compiler lives.
const DEBIAN: &str = "/usr";
/// LLVM of the oldest compiler that the workspace allows.
pub(crate) const OLDEST_LLVM: u32 = 22;

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
    llvm: u32,
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
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &self.linker);
        let flags = [&FLAGS.map(str::to_owned)[..], &reproducible::paths()].concat();
        reproducible::with_flags(&mut command, &flags);
        command
    }
}

impl Compiler {
    /// The first compiler here that has its source; rustup's before Debian's.
    pub(crate) fn find() -> Option<Self> {
        compilers().into_iter().next()
    }

    /// Major version of the LLVM that it writes bitcode with.
    pub(crate) fn llvm(&self) -> u32 {
        self.llvm
    }

    /// The compiler in `sysroot`, if it has its source and is new enough.
    fn at(sysroot: PathBuf) -> Option<Self> {
        if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
            return None;
        }
        let version = stdout(process::command(sysroot.join("bin/rustc")).arg("-vV"))?;
        let llvm = version
            .lines()
            .find_map(|line| line.strip_prefix("LLVM version: "))?
            .split('.')
            .next()?
            .parse()
            .ok()?;
        (llvm >= OLDEST_LLVM).then_some(Self { sysroot, llvm })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(name)
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
