//! The archive, for every distribution.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::files::Files;
use crate::process;

/// Makes `traffic-VERSION-TARGET-static.tar.gz`, which unpacks into a directory of that name.
pub(super) fn make(files: &Files<'_>, out: &Path) -> Result<()> {
    let release = files.release;
    let target = release.processor.target();
    let name = format!("traffic-{}-{target}-static", release.version);
    let directory = out.join(&name);
    files.lay_out(&directory)?;
    let epoch = &release.epoch;
    let mut tar = process::command("tar");
    tar.arg("--create")
        .args(["--format=ustar", "--sort=name", "--numeric-owner"])
        .args(["--owner=0", "--group=0", "--mode=u=rwX,go=rX"])
        .arg(format!("--mtime=@{epoch}"))
        // gzip writes the time, unless it is told not to.
        .arg("--use-compress-program=gzip --best --no-name")
        .arg("--directory")
        .arg(out)
        .arg("--file")
        .arg(out.join(format!("{name}.tar.gz")))
        .arg(&name);
    process::run(&mut tar)?;
    fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))
}
