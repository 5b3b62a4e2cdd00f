//! The software bill of materials, in `CycloneDX` 1.5.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{
    Release,
    dependencies::{Dependencies, Package},
};
use crate::process;

/// C libraries of the distribution that are linked in: Debian's package, name, licence.
const LIBRARIES: [(&str, &str, &str); 2] = [
    ("libpcap0.8-dev", "libpcap", "BSD-3-Clause"),
    ("libc6-dev", "glibc", "LGPL-2.1-or-later"),
];

/// The bill of `dependencies` and of the distribution's libraries, the same bytes each time.
pub(super) fn write(dependencies: &Dependencies, release: &Release) -> Result<String> {
    let mut components: Vec<Value> = dependencies
        .packages
        .values()
        .filter(|package| package.is_foreign)
        .map(component)
        .collect();
    components.extend(LIBRARIES.iter().map(library));
    let linked = dependencies.packages.values().map(|package| {
        let needs = package
            .needs
            .iter()
            .filter_map(|id| dependencies.packages.get(id));
        json!({"ref": reference(package), "dependsOn": needs.map(reference).collect::<Vec<_>>()})
    });
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": timestamp(&release.epoch)?,
            "component": {
                "type": "application",
                "bom-ref": "traffic-user",
                "name": "traffic",
                "version": release.version,
                "licenses": [{"expression": "MIT OR Apache-2.0"}],
                "components": [{
                    "type": "library",
                    "bom-ref": "traffic-ebpf",
                    "name": "traffic-ebpf",
                    "version": release.version,
                    "licenses": [{"expression": "(MIT OR Apache-2.0) AND GPL-2.0-only"}],
                }],
            },
        },
        "components": components,
        "dependencies": linked.collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

fn component(package: &Package) -> Value {
    json!({
        "type": "library",
        "bom-ref": reference(package),
        "name": package.name,
        "version": package.version,
        // An older way to write OR.
        "licenses": [{"expression": package.licence.replace('/', " OR ")}],
        "purl": reference(package),
    })
}

/// A package URL, or the name of a package of this workspace.
fn reference(package: &Package) -> String {
    let Package { name, version, .. } = package;
    if package.is_foreign {
        format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
    } else {
        name.clone()
    }
}

/// A library of the distribution; without dpkg its version is not known.
fn library((package, name, licence): &(&str, &str, &str)) -> Value {
    let mut query = process::command("dpkg-query");
    query.args(["--show", "--showformat", "${Version}", package]);
    let output = process::output(&mut query).ok().flatten();
    let version = output.filter(|output| output.status.success());
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    json!({
        "type": "library",
        "bom-ref": name,
        "name": name,
        "version": version.unwrap_or_default(),
        "licenses": [{"expression": licence}],
    })
}

/// Seconds since 1970 as RFC 3339 has it.
fn timestamp(epoch: &str) -> Result<String> {
    let mut date = Command::new("date");
    date.args(["--utc", "+%Y-%m-%dT%H:%M:%SZ", "--date"])
        .arg(format!("@{epoch}"));
    let output = process::output(&mut date)?.context("find date")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use cyclonedx_bom::{
        models::bom::{Bom, SpecVersion},
        validation::Validate,
    };

    use super::*;
    use crate::processor::Processor;

    #[test]
    fn the_bill_is_valid_cyclonedx_and_names_everything_once() {
        let dependencies = Dependencies::of_program(Processor::X86_64).unwrap();
        let release = Release {
            version: "1.2.3",
            epoch: "0".to_owned(),
            processor: Processor::X86_64,
        };
        let text = write(&dependencies, &release).unwrap();
        assert_eq!(text, write(&dependencies, &release).unwrap());
        assert!(text.contains("\"1970-01-01T00:00:00Z\""));
        let bill = Bom::parse_from_json(text.as_bytes()).unwrap();
        let result = bill.validate_version(SpecVersion::V1_5);
        assert!(result.passed(), "{result:?}");
        let components = bill.components.unwrap().0;
        let foreign = dependencies
            .packages
            .values()
            .filter(|package| package.is_foreign);
        assert_eq!(components.len(), foreign.count() + LIBRARIES.len());
    }
}
