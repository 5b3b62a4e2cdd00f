//! Tools of the tests that are unpacked beside the system: they are never installed, and no
//! service of theirs is started.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{process, setup::Setup};

/// Debian's server, and what it needs that is not installed.
const CLICKHOUSE: &str = "clickhouse-server";
/// Debian's keeper of replicas, which is Java, with what it does not start without.
const ZOOKEEPER: &str = "libzookeeper-java";
const ZOOKEEPER_NEEDS: [&str; 3] = [
    "libdropwizard-metrics-java",
    "libslf4j-java",
    "libsnappy-java",
];
/// What runs it, where there is no other Java.
const JAVA: &[&str] = &["default-jre-headless"];
/// A current engine of the same database, as a library of Python.
const CHDB: &str = "chdb-core==26.9.0";
/// What installs that.
const CHDB_TOOLS: &[&str] = &["python3", "python3-pip"];

/// Where the tools are: `clickhouse/` and `zookeeper/` have the folders of Debian's packages,
/// `chdb/` modules of Python.
pub(crate) fn directory() -> PathBuf {
    process::target().join("tools")
}

impl Setup {
    /// Makes sure of both engines that the tests of a fleet need, and of the keeper.
    pub(crate) fn databases(&self) -> Result<()> {
        self.clickhouse()?;
        self.zookeeper()?;
        self.chdb()
    }

    /// Makes sure of Debian's server.
    pub(crate) fn clickhouse(&self) -> Result<()> {
        self.unpack("clickhouse", || needed(CLICKHOUSE))
    }

    /// Makes sure of Debian's keeper.
    fn zookeeper(&self) -> Result<()> {
        if process::find("java").is_none() {
            self.tools(JAVA)?;
        }
        self.unpack("zookeeper", || {
            let is_known = needed(ZOOKEEPER)?.is_some();
            let packages = [&[ZOOKEEPER], &ZOOKEEPER_NEEDS[..]].concat();
            Ok(is_known.then(|| packages.into_iter().map(str::to_owned).collect()))
        })
    }

    /// Makes sure of a directory with what is in packages; they are not known where the machine has
    /// no lists of packages.
    fn unpack(&self, name: &str, packages: impl Fn() -> Result<Option<Vec<String>>>) -> Result<()> {
        let unpacked = directory().join(name);
        if unpacked.exists() || process::find("dpkg").is_none() {
            return Ok(());
        }
        let packages = if let Some(packages) = packages()? {
            packages
        } else {
            self.administrate(&["apt-get", "update"])?;
            let found = packages()?;
            let known = found.is_some() || self.is_dry_run();
            ensure!(known, "no package for {name}");
            found.unwrap_or_default()
        };
        let half = directory().join(format!("{name}.half"));
        if half.exists() {
            fs::remove_dir_all(&half).with_context(|| format!("remove {}", half.display()))?;
        }
        fs::create_dir_all(&half).with_context(|| format!("make {}", half.display()))?;
        let mut download = process::command("apt-get");
        download.arg("download").args(&packages).current_dir(&half);
        self.step(&mut download)?;
        for package in files(&half)? {
            let mut unpack = process::command("dpkg");
            unpack.arg("--extract").arg(&package).arg(&half);
            self.step(&mut unpack)?;
            fs::remove_file(&package)?;
        }
        if self.is_dry_run() {
            return Ok(());
        }
        fs::rename(&half, &unpacked).with_context(|| format!("make {}", unpacked.display()))
    }

    /// Makes sure of the current engine.
    fn chdb(&self) -> Result<()> {
        let unpacked = directory().join("chdb");
        if unpacked.exists() {
            return Ok(());
        }
        self.tools(CHDB_TOOLS)?;
        let half = directory().join("chdb.half");
        let mut install = process::command("python3");
        install
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(&half)
            .arg(CHDB);
        self.step(&mut install)?;
        if self.is_dry_run() {
            return Ok(());
        }
        fs::rename(&half, &unpacked).with_context(|| format!("make {}", unpacked.display()))
    }
}

/// What installing `package` would install; `None` where it is not known.
fn needed(package: &str) -> Result<Option<Vec<String>>> {
    let mut simulate = process::command("apt-get");
    simulate.args(["install", "--simulate", "--no-install-recommends", package]);
    let output = process::output(&mut simulate)?.context("find apt-get")?;
    if !output.status.success() {
        return Ok(None);
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let installed = lines.lines().filter_map(|line| line.strip_prefix("Inst "));
    let mut packages: Vec<String> = installed
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect();
    if packages.is_empty() {
        // It is installed: its files are wanted here as well.
        packages.push(package.to_owned());
        packages.push("clickhouse-common".to_owned());
    }
    Ok(Some(packages))
}

/// The packages in a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let paths: Vec<PathBuf> = paths.collect::<Result<_>>()?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|end| end == "deb");
    Ok(paths.into_iter().filter(is_package).collect())
}
