//! What the program is linked from, as cargo tells it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{process, processor::Processor};

/// Packages whose code is in the program, or in the eBPF programs that it carries.
const ROOTS: [&str; 2] = ["traffic-user", "traffic-ebpf"];

/// Packages and what each needs.
pub(super) struct Dependencies {
    /// By cargo's identifier.
    pub(super) packages: BTreeMap<String, Package>,
}

/// A package of a registry, or of this workspace.
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    /// An SPDX expression.
    pub(super) licence: String,
    /// Where its source lies.
    manifest: String,
    /// Whether it comes from a registry.
    pub(super) is_foreign: bool,
    /// Identifiers of what it needs.
    pub(super) needs: BTreeSet<String>,
}

impl Dependencies {
    /// Of the program, for `processor`: not what only builds or tests it.
    pub(super) fn of_program(processor: Processor) -> Result<Self> {
        let mut cargo = process::cargo();
        cargo
            .args([
                "metadata",
                "--locked",
                "--format-version=1",
                "--filter-platform",
            ])
            .arg(processor.target());
        let output = process::output(&mut cargo)?.context("find cargo")?;
        ensure!(
            output.status.success(),
            "run cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self::of(&serde_json::from_slice(&output.stdout).context("read cargo metadata")?)
    }

    fn of(metadata: &Value) -> Result<Self> {
        let needs = needs(metadata);
        let all: BTreeMap<&str, &Value> = array(&metadata["packages"])
            .filter_map(|package| Some((package["id"].as_str()?, package)))
            .collect();
        let is_root = |package: &Value| ROOTS.iter().any(|root| package["name"] == *root);
        let mut open: Vec<&str> = all
            .iter()
            .filter(|(_, p)| is_root(p))
            .map(|(id, _)| *id)
            .collect();
        ensure!(open.len() == ROOTS.len(), "cargo metadata lacks a package");
        let mut packages = BTreeMap::new();
        while let Some(id) = open.pop() {
            if packages.contains_key(id) {
                continue;
            }
            let package = Package::of(all[id], needs.get(id).cloned().unwrap_or_default())?;
            open.extend(all.keys().filter(|id| package.needs.contains(**id)));
            packages.insert(id.to_owned(), package);
        }
        Ok(Self { packages })
    }

    /// Name, version, licence and its texts of every package, and of the C libraries.
    pub(super) fn licences(&self) -> Result<String> {
        let mut text = String::from(
            "libpcap (BSD-3-Clause) and the GNU C library (LGPL-2.1-or-later), of the \
             distribution that this\nwas built on, and these packages:\n\n",
        );
        for package in self.packages.values().filter(|package| package.is_foreign) {
            let Package {
                name,
                version,
                licence,
                ..
            } = package;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "== {name} {version}: {licence}\n");
            for file in package.licence_files()? {
                let _ = writeln!(text, "{}\n", file.trim());
            }
        }
        Ok(text)
    }
}

impl Package {
    fn of(package: &Value, needs: BTreeSet<String>) -> Result<Self> {
        let text = |field: &str| {
            let text = package[field].as_str().map(str::to_owned);
            text.with_context(|| format!("{} has no {field}", package["id"]))
        };
        Ok(Self {
            name: text("name")?,
            version: text("version")?,
            licence: text("license")?,
            manifest: text("manifest_path")?,
            is_foreign: package["source"].is_string(),
            needs,
        })
    }

    /// Texts of the files that say under which licence it is.
    fn licence_files(&self) -> Result<Vec<String>> {
        let directory = Path::new(&self.manifest)
            .parent()
            .context("find its source")?;
        let mut names = super::names(directory)?;
        names.retain(|name| {
            let name = name.to_uppercase();
            ["LICENSE", "LICENCE", "COPYING", "NOTICE"]
                .iter()
                .any(|begin| name.starts_with(begin))
        });
        let files = names
            .iter()
            .map(|name| directory.join(name))
            .filter(|path| path.is_file());
        files
            .map(|path| {
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
            })
            .collect()
    }
}

/// What each package is linked with.
fn needs(metadata: &Value) -> BTreeMap<&str, BTreeSet<String>> {
    let is_linked =
        |dependency: &&Value| array(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
    array(&metadata["resolve"]["nodes"])
        .filter_map(|node| {
            let linked = array(&node["deps"]).filter(is_linked);
            let linked =
                linked.filter_map(|dependency| Some(dependency["pkg"].as_str()?.to_owned()));
            Some((node["id"].as_str()?, linked.collect()))
        })
        .collect()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_builds_or_tests_is_left_out() {
        let dependencies = Dependencies::of_program(Processor::X86_64).unwrap();
        let names: BTreeSet<_> = dependencies
            .packages
            .values()
            .map(|p| p.name.as_str())
            .collect();
        for there in ["aya", "aya-ebpf", "clap", "pcap", "libc", "zstd-sys"] {
            assert!(names.contains(there), "{there}");
        }
        for not_there in ["proptest", "rbpf", "cc", "xtask", "traffic-tests"] {
            assert!(!names.contains(not_there), "{not_there}");
        }
        let licences = dependencies.licences().unwrap();
        assert!(licences.contains("\n== aya 0.14.0: MIT OR Apache-2.0\n"));
    }
}
