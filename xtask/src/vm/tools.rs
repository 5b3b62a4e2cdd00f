//! What makes and boots a machine, unpacked below `target/`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::packages::Archive;
use crate::process;

const PACKAGES: [&str; 3] = ["qemu-system-x86", "busybox-static", "kmod"];
/// Where Debian's packages put programs, libraries, and the machine's firmware.
const PROGRAMS: [&str; 4] = ["usr/bin", "bin", "usr/sbin", "sbin"];
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
const FIRMWARE: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

/// The unpacked programs. They are not installed: on some machines that would remove others.
#[derive(Debug)]
pub(crate) struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Those that are there, else fetches them.
    pub(crate) fn find_or_fetch() -> Result<Self> {
        let directory = process::target().join("vm/tools");
        if !directory.is_dir() {
            let parent = directory.parent().context("it has a parent")?;
            fs::create_dir_all(parent).context("make room for tools")?;
            let fresh = tempfile::tempdir_in(parent).context("make room for tools")?;
            Archive::of_this_machine()?.unpack_with_dependencies(&PACKAGES, fresh.path())?;
            fs::rename(fresh.keep(), &directory).context("keep the tools")?;
        }
        Ok(Self { directory })
    }

    /// Where a program lies: among the unpacked ones, else where this machine has it.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        PROGRAMS
            .map(|programs| self.directory.join(programs).join(name))
            .into_iter()
            .find(|file| file.is_file())
            .or_else(|| process::find(name))
    }

    /// A command that finds the unpacked libraries. Programs of a package may be absolute links
    /// into it, so `depmod` is run as what it is a link to.
    pub(crate) fn command(&self, name: &str) -> Command {
        let (program, argv0) = match name {
            "depmod" => ("kmod", Some(name)),
            _ => (name, None),
        };
        let file = self.find(program).unwrap_or_else(|| program.into());
        let mut command = process::command(file);
        if let Some(argv0) = argv0 {
            std::os::unix::process::CommandExt::arg0(&mut command, argv0);
        }
        let libraries = LIBRARIES.map(|libraries| self.directory.join(libraries));
        if let Ok(path) = env::join_paths(libraries) {
            command.env("LD_LIBRARY_PATH", path);
        }
        command
    }

    /// Directories of the unpacked firmware.
    pub(crate) fn firmware(&self) -> impl Iterator<Item = PathBuf> {
        FIRMWARE
            .iter()
            .map(|firmware| self.directory.join(firmware))
            .filter(|directory| Path::is_dir(directory))
    }
}
