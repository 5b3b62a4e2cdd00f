//! Debian packages, unpacked below `target/` and never installed: kernels that are not this
//! machine's, and what boots them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::process;

/// Suites that hold the kernels: 5.10, 6.1, 6.12, and the newest.
const SUITES: [(&str, &str); 4] = [
    ("debian", "bullseye"),
    ("debian", "bookworm"),
    ("debian-security", "bookworm-security"),
    ("debian", "sid"),
];
/// Makes `apt-get indextargets` print the addresses that this machine takes packages from.
const MIRRORS: &str = "--format=$(REPO_URI)";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Lists of packages in a directory of their own; the machine's stay as they are.
#[derive(Debug)]
pub(crate) struct Archive {
    options: Vec<String>,
}

impl Archive {
    /// Fetches the lists that this machine takes its own packages from.
    ///
    /// # Errors
    /// Without apt.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let directory = room("machine")?;
        Self {
            options: options(&directory),
        }
        .updated()
    }

    /// As [`Archive::of_this_machine`], of packages for another processor, which Debian calls
    /// `architecture`.
    ///
    /// # Errors
    /// Without apt.
    pub(crate) fn of_processor(architecture: &str) -> Result<Self> {
        let directory = room(architecture)?;
        let mut options = options(&directory);
        options.extend([
            format!("APT::Architecture={architecture}"),
            format!("APT::Architectures={architecture}"),
        ]);
        Self { options }.updated()
    }

    /// Fetches the lists of every suite that holds a kernel.
    ///
    /// # Errors
    /// Without apt, or without Debian's keys and mirrors.
    pub(crate) fn of_kernels() -> Result<Self> {
        ensure!(
            Path::new(KEYRING).exists(),
            "find {KEYRING} (install debian-archive-keyring)"
        );
        let directory = room("kernels")?;
        let sources = directory.join("sources.list");
        let mirrors = stdout(process::command("apt-get").args(["indextargets", MIRRORS]))?;
        let lines: Vec<String> = SUITES
            .iter()
            .map(|(archive, suite)| {
                let mirror = mirror(&mirrors, archive)?;
                Ok(format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"))
            })
            .collect::<Result<_>>()?;
        fs::write(&sources, lines.concat()).context("write the sources of packages")?;
        let mut options = options(&directory);
        options.extend([
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
        ]);
        Self { options }.updated()
    }

    /// With today's lists. Those that cannot be fetched are missing: their packages are not found.
    fn updated(self) -> Result<Self> {
        let mut update = self.apt("apt-get");
        update.args(["--quiet=2", "update"]);
        process::show(&update);
        let status = update.status().context("run apt-get")?;
        if !status.success() {
            eprintln!("# some lists of packages could not be fetched");
        }
        Ok(self)
    }

    /// A command of apt that sees these lists only.
    fn apt(&self, program: &str) -> Command {
        let mut command = process::command(program);
        command.args(self.options.iter().flat_map(|option| ["-o", option]));
        command
    }

    /// Names of packages that begin with `prefix`.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let text = stdout(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Names of packages that `package` depends on.
    pub(crate) fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let text = stdout(
            self.apt("apt-cache")
                .args(["depends", "--important", package]),
        )?;
        let names = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).collect())
    }

    /// Downloads `packages` and unpacks them into `directory`.
    pub(crate) fn unpack(&self, packages: &[String], directory: &Path) -> Result<()> {
        let downloads = tempfile::tempdir().context("make room for packages")?;
        let mut download = self.apt("apt-get");
        download.args(["--quiet=2", "download"]).args(packages);
        process::run(download.current_dir(downloads.path()))?;
        for package in files(downloads.path())? {
            let mut unpack = process::command("dpkg-deb");
            unpack.arg("--extract").arg(&package).arg(directory);
            let output = unpack.output().context("run dpkg-deb")?;
            ensure!(output.status.success(), "unpack {}", package.display());
        }
        Ok(())
    }

    /// [`Archive::unpack`], with everything that `packages` need and that is not installed here.
    /// The machine stays as it is.
    pub(crate) fn unpack_with_dependencies(
        &self,
        packages: &[&str],
        directory: &Path,
    ) -> Result<()> {
        let mut simulate = self.apt("apt-get");
        simulate.args(["install", "--simulate", "--no-install-recommends"]);
        let text = stdout(simulate.args(packages))?;
        let missing: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
            .map(str::to_owned)
            .collect();
        self.unpack(&missing, directory)
    }
}

/// A directory for lists of packages.
fn room(name: &str) -> Result<PathBuf> {
    ensure!(
        process::find("apt-get").is_some() && process::find("dpkg-deb").is_some(),
        "find apt-get and dpkg-deb, which fetch and unpack Debian's packages"
    );
    let directory = process::target().join("vm/apt").join(name);
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(directory.join(part)).context("make room for lists of packages")?;
    }
    Ok(directory)
}

/// The mirror of `archive` among `mirrors`, one a line.
fn mirror<'a>(mirrors: &'a str, archive: &str) -> Result<&'a str> {
    mirrors
        .lines()
        .find(|uri| uri.trim_end_matches('/').rsplit('/').next() == Some(archive))
        .with_context(|| format!("find a mirror of {archive} among the sources of apt"))
}

/// The options that have apt write below `directory` alone, and give up where nobody answers.
fn options(directory: &Path) -> Vec<String> {
    let directory = directory.display();
    vec![
        format!("Dir::State::lists={directory}/lists"),
        format!("Dir::Cache={directory}/cache"),
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        "Acquire::Languages=none".to_owned(),
        // The user's own files are no other user's to read.
        "APT::Sandbox::User=".to_owned(),
        "Debug::NoLocking=1".to_owned(),
        "Acquire::http::Timeout=20".to_owned(),
        "Acquire::Retries=2".to_owned(),
    ]
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    entries.collect()
}

/// What a command says, when it succeeds.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("run {name}"))?;
    ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
