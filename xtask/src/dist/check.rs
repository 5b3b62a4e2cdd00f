//! Two builds agree, and the package installs, runs and goes away again.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{SUMS, empty, names, service};
use crate::{
    process,
    setup::{CHECK_TOOLS, Setup},
};

/// The Debian release in which the package is tried.
const DEBIAN: &str = "bookworm";
/// What dpkg and its programs write for themselves.
const OF_DPKG: [&str; 3] = ["var/lib/dpkg", "var/log", "var/cache"];
/// Captures four frames of a namespace of its own, inside the directory that is its argument.
const CAPTURE: &str = "\
set -e
mount -t proc proc \"$1/proc\"
mount -t sysfs sysfs \"$1/sys\"
ip link set lo up
ping -q -c 50 -i 0.1 127.0.0.1 >\"$1/dev/null\" &
chroot \"$1\" traffic capture -i lo -c 4 -d 20 --max-loss 0 -w /tmp/four.pcapng
kill $!
chroot \"$1\" traffic read /tmp/four.pcapng | grep '^4 packets'
rm \"$1/tmp/four.pcapng\"
";

/// Builds the last commit twice, leaves one of them in `out`, and tries the package.
pub(super) fn run(out: &Path) -> Result<()> {
    Setup::default().tools(CHECK_TOOLS)?;
    let directory = process::target().join("dist-check");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    let result = compared(&directory, out).and_then(|()| installs(&directory, out));
    // They hold gigabytes.
    fs::remove_dir_all(&directory)?;
    result
}

fn compared(directory: &Path, out: &Path) -> Result<()> {
    let one = build(&directory.join("one"))?;
    let two = build(&directory.join("another-path/two"))?;
    for name in names(&one)? {
        let same = fs::read(one.join(&name))? == fs::read(two.join(&name))?;
        ensure!(
            same,
            "{name} differs between {} and {}",
            one.display(),
            two.display()
        );
        println!("same bytes: {name}");
    }
    empty(out)?;
    for name in names(&one)? {
        fs::copy(one.join(&name), out.join(&name))?;
    }
    Ok(())
}

/// Builds a clone of the last commit; where its packages are.
fn build(clone: &Path) -> Result<PathBuf> {
    let mut git = process::command("git");
    git.args(["clone", "--quiet"])
        .arg(process::root())
        .arg(clone);
    process::run(&mut git)?;
    let mut cargo = process::cargo();
    process::run(cargo.current_dir(clone).args(["xtask", "dist"]))?;
    Ok(clone.join("target/dist"))
}

/// Installs, runs and removes the package in `out` in a new Debian system.
fn installs(directory: &Path, out: &Path) -> Result<()> {
    let package = names(out)?
        .into_iter()
        .find(|name| Path::new(name).extension().is_some_and(|end| end == "deb"));
    let package = package.context("find the package")?;
    let sums = fs::read_to_string(out.join(SUMS))?;
    ensure!(sums.contains(&package), "{SUMS} lacks {package}");
    let system = directory.join("system");
    let mut debootstrap = process::command("debootstrap");
    debootstrap
        .args(["--variant=minbase", "--include", service::PACKAGES, DEBIAN])
        .arg(&system);
    process::run(&mut debootstrap)?;
    // Hundreds of megabytes that nobody reads.
    inside(&system, &["apt-get", "clean"])?;
    let before = files(&system)?;
    fs::copy(out.join(&package), system.join("tmp").join(&package))?;
    inside(&system, &["dpkg", "--install", &format!("/tmp/{package}")])?;
    fs::remove_file(system.join("tmp").join(&package))?;
    inside(&system, &["traffic", "--version"])?;
    inside(
        &system,
        &["traffic", "config", "check", "/etc/traffic/traffic.toml"],
    )?;
    let mut capture = process::command("unshare");
    capture.args(["--net", "--mount", "sh", "-c", CAPTURE, "sh"]);
    process::run(capture.arg(&system))?;
    service::check(&system, directory)?;
    inside(&system, &["dpkg", "--purge", "traffic"])?;
    let after = files(&system)?;
    let left: Vec<_> = before.symmetric_difference(&after).collect();
    ensure!(left.is_empty(), "the package left or took {left:?}");
    println!("installed, ran and went away: {package}");
    Ok(())
}

fn inside(system: &Path, words: &[&str]) -> Result<()> {
    process::run(process::command("chroot").arg(system).args(words))
}

/// Every path below `system`, but for what dpkg keeps.
fn files(system: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open = vec![system.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            let below = path.strip_prefix(system)?;
            if OF_DPKG.iter().any(|own| below.starts_with(own)) {
                continue;
            }
            found.insert(below.to_owned());
            if entry.file_type()?.is_dir() {
                open.push(path);
            }
        }
    }
    Ok(found)
}
