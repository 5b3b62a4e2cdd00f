//! The root directory of a machine, as an archive for its kernel.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};

use super::{
    kernel::{Kernel, MODULES},
    packages::stdout,
    tools::Tools,
};
use crate::process;

/// The first process.
const INIT: &str = include_str!("init.sh");
/// Programs of this machine that tests run. What is not here, tests there say.
const PROGRAMS: [&str; 17] = [
    "bpftool",
    "cat",
    "chrt",
    "curl",
    "dash",
    "date",
    "ethtool",
    "ip",
    "ping",
    "setcap",
    "setpriv",
    "sleep",
    "taskset",
    "tc",
    "tcpdump",
    "tcpreplay",
    "unshare",
];

/// Files of this machine that tests and programs read, where they are: names of ports and
/// protocols.
const FILES: [&str; 2] = ["/etc/services", "/etc/protocols"];

/// What a machine runs.
#[derive(Debug)]
pub(crate) struct Payload {
    /// The program `traffic`.
    pub(crate) program: PathBuf,
    /// Its eBPF object.
    pub(crate) object: PathBuf,
    /// Test binaries by name.
    pub(crate) tests: Vec<(String, PathBuf)>,
    /// Lines of a test binary's name and its arguments.
    pub(crate) plan: Vec<String>,
}

/// Packs `payload` and what it needs into an archive that every kernel can use.
pub(crate) fn pack(payload: &Payload, tools: &Tools, archive: &Path) -> Result<()> {
    let root = tempfile::tempdir().context("make room for a root directory")?;
    let root = root.path();
    for directory in ["bin", "etc", "tests", "usr/bin", "lib64"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let mut programs = vec![
        (payload.program.clone(), "bin/traffic".to_owned()),
        (
            tools.find("busybox").context("find busybox")?,
            "bin/busybox".to_owned(),
        ),
    ];
    programs.extend(
        payload
            .tests
            .iter()
            .map(|(name, file)| (file.clone(), format!("tests/{name}"))),
    );
    programs.extend(
        PROGRAMS
            .iter()
            .filter_map(|name| Some((process::find(name)?, format!("usr/bin/{name}")))),
    );
    let mut libraries = BTreeSet::new();
    for (file, place) in &programs {
        copy(file, &root.join(place))?;
        libraries.extend(libraries_of(file)?);
    }
    for library in libraries {
        let place = root.join(library.strip_prefix("/")?);
        fs::create_dir_all(place.parent().context("it has a parent")?)?;
        copy(&library, &place)?;
    }
    copy(&payload.object, &root.join("traffic-bpf.o"))?;
    for file in FILES.map(Path::new) {
        if file.exists() {
            copy(file, &root.join(file.strip_prefix("/")?))?;
        }
    }
    fs::write(root.join("init"), INIT)?;
    make_executable(&root.join("init"))?;
    fs::write(root.join("modules"), MODULES.join("\n"))?;
    fs::write(root.join("plan"), payload.plan.join("\n") + "\n")?;
    write_archive(root, tools, File::create(archive)?)
}

/// Writes `shared` and what belongs to `kernel` as one archive: kernels read several in a row.
pub(crate) fn with_modules(
    shared: &Path,
    kernel: &Kernel,
    tools: &Tools,
    archive: &Path,
) -> Result<()> {
    let mut all = File::create(archive).context("write a root directory")?;
    io::copy(&mut File::open(shared)?, &mut all)?;
    write_archive(&kernel.root(), tools, all)
}

/// Packs a whole system with the modules of `kernel`.
pub(crate) fn of_system(
    system: &Path,
    kernel: &Kernel,
    tools: &Tools,
    archive: &Path,
) -> Result<()> {
    // `/lib` is a link there, which a directory in a second archive would replace.
    let modules = system.join("usr/lib/modules");
    fs::create_dir_all(&modules).context("make room for modules")?;
    let mut cp = process::command("cp");
    cp.args(["--recursive", "--no-target-directory"]);
    process::run(cp.arg(kernel.root().join("lib/modules")).arg(&modules))?;
    // Its `modprobe` wants other indexes than that of busybox.
    for release in fs::read_dir(&modules)? {
        let mut depmod = tools.command("depmod");
        depmod.arg("-b").arg(system).arg(release?.file_name());
        stdout(&mut depmod)?;
    }
    write_archive(system, tools, File::create(archive)?)
}

fn copy(file: &Path, to: &Path) -> Result<()> {
    fs::copy(file, to).with_context(|| format!("copy {}", file.display()))?;
    Ok(())
}

fn make_executable(file: &Path) -> Result<()> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(file, mode).context("make the first process executable")
}

/// Libraries that the dynamic linker would load for `program`, and that linker.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let output = process::command("ldd")
        .arg(program)
        .output()
        .context("run ldd")?;
    // A static program has none, and ldd fails.
    let text = String::from_utf8_lossy(&output.stdout);
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(words
        .map(PathBuf::from)
        .filter(|file| file.is_file())
        .collect())
}

/// Writes the files below `root` in the format of `initramfs` (kernel documentation, buffer
/// format).
fn write_archive(root: &Path, tools: &Tools, to: File) -> Result<()> {
    let names = stdout(process::command("find").arg(".").current_dir(root))?;
    let mut child = tools
        .command("busybox")
        .args(["cpio", "-o", "-H", "newc"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(to)
        .stderr(Stdio::null())
        .spawn()
        .context("run busybox")?;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    stdin
        .write_all(names.as_bytes())
        .context("name the files")?;
    drop(stdin);
    ensure!(child.wait()?.success(), "pack {}", root.display());
    Ok(())
}
