//! What every package holds.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::Release;
use crate::process;

/// Texts of the repository that users get.
const TEXTS: [&str; 5] = [
    "README.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-GPL2",
    "LICENSE-MIT",
];
const SHELLS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/traffic"),
    ("fish", "fish/vendor_completions.d/traffic.fish"),
    ("zsh", "zsh/vendor-completions/_traffic"),
];

/// What goes into a package.
pub(super) struct Files<'a> {
    pub(super) program: &'a Path,
    /// The same program for this machine, which prints its manual and completions.
    pub(super) teller: &'a Path,
    /// The software bill of materials.
    pub(super) bill: &'a str,
    /// Licences of everything that was linked.
    pub(super) licences: &'a str,
    pub(super) release: &'a Release,
}

impl Files<'_> {
    /// Lays everything out below `prefix`, as below `/usr`.
    pub(super) fn lay_out(&self, prefix: &Path) -> Result<()> {
        self.install_program(&prefix.join("bin/traffic"))?;
        self.manual(&prefix.join("share/man/man1"))?;
        for (shell, path) in SHELLS {
            let text = self.output(&["completions", shell])?;
            write(&prefix.join("share").join(path), &text)?;
        }
        let documents = prefix.join("share/doc/traffic");
        for name in TEXTS {
            let text = fs::read_to_string(process::root().join(name))
                .with_context(|| format!("read {name}"))?;
            write(&documents.join(name), &text)?;
        }
        write(&documents.join("copyright"), &self.copyright())?;
        write(&documents.join("traffic.cdx.json"), self.bill)
    }

    fn install_program(&self, to: &Path) -> Result<()> {
        create(to.parent())?;
        fs::copy(self.program, to).with_context(|| format!("write {}", to.display()))?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn manual(&self, directory: &Path) -> Result<()> {
        create(Some(directory))?;
        let mut traffic = process::command(self.teller);
        process::run(traffic.arg("man").arg(directory))?;
        let mut gzip = process::command("gzip");
        gzip.args(["--best", "--no-name", "--recursive"]);
        process::run(gzip.arg(directory))
    }

    /// What the program prints.
    fn output(&self, args: &[&str]) -> Result<String> {
        let mut traffic = process::command(self.teller);
        let output = process::output(traffic.args(args))?.context("find the program")?;
        String::from_utf8(output.stdout).context("read what the program printed")
    }

    fn copyright(&self) -> String {
        format!(
            "traffic {}, copyright the traffic authors. The program is under the MIT licence \
             (LICENSE-MIT)\nor the Apache licence 2.0 (LICENSE-APACHE), at your choice; its eBPF \
             programs are also under the\nGPL, version 2 (LICENSE-GPL2). It contains:\n\n{}",
            self.release.version, self.licences
        )
    }
}

fn create(directory: Option<&Path>) -> Result<()> {
    let directory = directory.map_or_else(PathBuf::new, Path::to_owned);
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))
}

/// Writes a file that everybody may read, and its directory.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    create(path.parent())?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
