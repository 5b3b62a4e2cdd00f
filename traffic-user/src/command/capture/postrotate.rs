//! The program of `-z`, and the user of `-Z`.

use std::{
    ffi::CString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::unistd::{User, initgroups, setfsgid, setfsuid};

use crate::{
    cli::FileArgs,
    command::{
        UsageError,
        runner::{Errand, Runner},
    },
};

/// Runs a program for every complete file, at the lowest priority, beside the capture.
pub(super) struct Postrotate(Runner);

impl Postrotate {
    /// The program that `args` name, if they do; the files lie below `directory`.
    pub(super) fn new(args: &FileArgs, directory: PathBuf) -> Result<Option<Self>> {
        let Some(program) = args.postrotate.clone() else {
            return Ok(None);
        };
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(&program);
        let user = args.relinquish_privileges.as_deref();
        let errand = Errand {
            command,
            program,
            directory,
            user: user.map(find_user).transpose()?,
        };
        Ok(Some(Self(Runner::new(errand)?)))
    }

    /// Starts the program on `file`.
    pub(super) fn start(&self, file: &Path) {
        self.0.run(file);
    }

    /// Waits for all of them.
    pub(super) fn wait(self) {
        self.0.join();
    }
}

/// The user with this name.
pub(super) fn find_user(name: &str) -> Result<User> {
    User::from_name(name)
        .with_context(|| format!("look up the user {name}"))?
        .ok_or_else(|| UsageError(format!("there is no user {name}")).into())
}

/// From here on this thread opens files as `user`, and has no privileges over those of others.
/// Other privileges stay until the hooks are attached.
pub(super) fn open_files_as(user: &User) -> Result<()> {
    let name = &user.name;
    let c_name = CString::new(name.as_str()).context("a user's name has no zero byte")?;
    initgroups(&c_name, user.gid).with_context(|| format!("take the groups of {name}"))?;
    setfsgid(user.gid);
    setfsuid(user.uid);
    // The call says who it was before: the second one says whether the first one worked.
    if setfsuid(user.uid) == user.uid {
        Ok(())
    } else {
        anyhow::bail!("open files as {name}: the operation is not permitted")
    }
}
