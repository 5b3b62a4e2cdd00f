//! The program of `-z`, and the user of `-Z`.

use std::{
    ffi::CString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use nix::unistd::{User, initgroups, setfsgid, setfsuid};

use crate::{cli::FileArgs, command::UsageError, diagnostics};

/// Runs a program for every complete file, at the lowest priority, beside the capture.
pub(super) struct Postrotate {
    program: PathBuf,
    user: Option<User>,
    running: Vec<(PathBuf, Child)>,
}

impl Postrotate {
    /// The program that `args` name, if they do.
    pub(super) fn new(args: &FileArgs) -> Result<Option<Self>> {
        let Some(program) = args.postrotate.clone() else {
            return Ok(None);
        };
        let name = args.relinquish_privileges.as_deref();
        Ok(Some(Self {
            program,
            user: name.map(user).transpose()?,
            running: Vec::new(),
        }))
    }

    /// Starts the program on `file`.
    pub(super) fn start(&mut self, file: &Path) {
        let mut command = Command::new("nice");
        command
            .args(["-n", "19"])
            .arg(&self.program)
            .arg(file)
            .stdin(Stdio::null());
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        match command.spawn() {
            Ok(child) => self.running.push((file.to_owned(), child)),
            Err(error) => {
                let program = self.program.display();
                diagnostics::say(&format!("warning: run {program}: {error}"));
            }
        }
    }

    /// Sees which have ended, and says so of those that failed.
    pub(super) fn reap(&mut self) {
        let program = &self.program;
        self.running.retain_mut(|(file, child)| {
            let ended = child.try_wait();
            if let Ok(Some(status)) = ended
                && !status.success()
            {
                complain(program, file, &status.to_string());
            }
            matches!(ended, Ok(None))
        });
    }

    /// Waits for all of them.
    pub(super) fn wait(self) {
        for (file, mut child) in self.running {
            match child.wait() {
                Ok(status) if status.success() => {}
                Ok(status) => complain(&self.program, &file, &status.to_string()),
                Err(error) => complain(&self.program, &file, &error.to_string()),
            }
        }
    }
}

fn complain(program: &Path, file: &Path, what: &str) {
    diagnostics::say(&format!(
        "warning: {} {}: {what}",
        program.display(),
        file.display()
    ));
}

fn user(name: &str) -> Result<User> {
    User::from_name(name)
        .with_context(|| format!("look up the user {name}"))?
        .ok_or_else(|| UsageError(format!("there is no user {name}")).into())
}

/// From here on this thread opens files as `name`, and has no privileges over those of others.
/// Other privileges stay: the capture needs them to its end.
pub(super) fn open_files_as(name: &str) -> Result<()> {
    let user = user(name)?;
    let c_name = CString::new(name).context("a user's name has no zero byte")?;
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
