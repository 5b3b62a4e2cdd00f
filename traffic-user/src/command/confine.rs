//! Gives up what the run does not need any more.

use anyhow::{Context as _, Result};
use nix::sys::stat::{Mode, umask};

use crate::{
    cli::{FileModeArgs, SandboxArgs},
    sandbox::{Policy, Sandbox},
};

/// Files that are made from now on can be used by whom `--file-mode` names; directories by the
/// same.
pub(super) fn protect_files(args: FileModeArgs) {
    umask(Mode::from_bits_truncate(mask(args.file_mode)));
}

/// Who may read a file may search a directory.
fn mask(file_mode: u32) -> u32 {
    let search = (file_mode & 0o444) >> 2;
    !(file_mode | search) & 0o777
}

/// Enters the sandbox, unless `args` keep the process out of it; says what holds.
pub(super) fn enter(policy: &Policy, args: SandboxArgs) -> Result<Option<Sandbox>> {
    if args.no_sandbox {
        log::warn!("--no-sandbox: privileges are kept that are not needed any more");
        return Ok(None);
    }
    let sandbox = policy.enter().context("give up privileges")?;
    log::info!("sandbox: {sandbox}");
    Ok(Some(sandbox))
}

#[cfg(test)]
mod tests {
    #[test]
    fn directories_can_be_searched_by_those_who_read_their_files() {
        for (file_mode, mask) in [(0o600, 0o077), (0o640, 0o027), (0o666, 0), (0o620, 0o057)] {
            assert_eq!(super::mask(file_mode), mask);
        }
    }
}
