//! The Debian package.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context, Result};

use super::files::{Files, write};
use crate::process;

const CONFIGURATION: &str = "/etc/traffic/traffic.toml\n";

/// systemd hears of the unit; nothing starts by itself, because it would capture.
const AFTER: &str = "\
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
";

/// A running service ends before its program goes away.
const BEFORE_REMOVAL: &str = "\
#!/bin/sh
set -e
if [ \"$1\" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now traffic.service
fi
";

/// Makes `traffic_VERSION_ARCHITECTURE.deb`.
pub(super) fn make(files: &Files<'_>, out: &Path) -> Result<()> {
    let root = out.join("deb");
    files.lay_out(&root.join("usr"))?;
    let mut service = process::command(files.teller);
    service
        .args(["service", "install", "--program", "/usr/bin/traffic"])
        .args(["--unit-directory", "/lib/systemd/system", "--root"]);
    process::run(service.arg(&root))?;
    let architecture = files.release.processor.debian();
    let debian = root.join("DEBIAN");
    write(&debian.join("control"), &control(files, architecture))?;
    write(&debian.join("conffiles"), CONFIGURATION)?;
    for (name, script) in [
        ("postinst", AFTER),
        ("postrm", AFTER),
        ("prerm", BEFORE_REMOVAL),
    ] {
        write(&debian.join(name), script)?;
        fs::set_permissions(debian.join(name), fs::Permissions::from_mode(0o755))?;
    }
    readable(&root)?;
    let name = format!("traffic_{}_{architecture}.deb", files.release.version);
    let mut dpkg = process::command("dpkg-deb");
    dpkg.env("SOURCE_DATE_EPOCH", &files.release.epoch)
        .args(["--root-owner-group", "-Zxz", "--build"])
        .arg(&root)
        .arg(out.join(name));
    process::run(&mut dpkg)?;
    fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))
}

fn control(files: &Files<'_>, architecture: &str) -> String {
    format!(
        "Package: traffic\n\
         Version: {}\n\
         Architecture: {architecture}\n\
         Maintainer: The traffic authors <traffic@localhost>\n\
         Section: net\n\
         Priority: optional\n\
         Description: packet monitor for fast links, in eBPF\n \
         Counts and classifies every frame in the kernel, at XDP and TC; writes capture\n \
         files, reports and live views. The systemd service it brings is not started.\n",
        files.release.version
    )
}

/// Gives directories and files the same permissions whatever the umask is.
fn readable(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let mode = fs::metadata(&path)?.permissions().mode();
        let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        if path.is_dir() {
            readable(&path)?;
        }
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
