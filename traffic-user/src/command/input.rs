//! Capture files that are read: opened before anything is read, because nothing is opened later.

use std::{
    fs::File,
    io,
    ops::ControlFlow,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::output::is_stdout;
use crate::{
    capture_file::{self, FileFrame, ReadError, ReadSummary},
    record::PacketRecord,
};

/// A capture file, or why it cannot be read.
pub(super) struct Input {
    pub(super) path: PathBuf,
    opened: io::Result<File>,
}

/// Opens files; `-` is stdin.
///
/// # Errors
/// When none can be opened. Where one can, the others say why they cannot when they are read.
pub(super) fn open<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Result<Vec<Input>> {
    allow_many_files();
    let opened = |path: &Path| {
        if is_stdout(path) {
            return Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?));
        }
        File::open(path)
    };
    let input = |path: &PathBuf| Input {
        path: path.clone(),
        opened: opened(path),
    };
    let mut inputs: Vec<Input> = paths.map(input).collect();
    if inputs.iter().all(|input| input.opened.is_err())
        && let Some(Input { path, opened }) = inputs.drain(..).next()
    {
        opened.with_context(|| format!("read {}", path.display()))?;
    }
    Ok(inputs)
}

/// What is allowed at most, and not what programs with `select(2)` can bear.
fn allow_many_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        log::debug!("raise the limit of open files: {error}");
    }
}

impl Input {
    /// Reads the file, as [`capture_file::read_file`] does.
    ///
    /// # Errors
    /// As it has; or why the file could not be opened.
    pub(super) fn read(
        self,
        each: impl FnMut(&PacketRecord, &FileFrame<'_>) -> ControlFlow<()>,
    ) -> Result<ReadSummary, ReadError> {
        capture_file::read_file(self.opened?, each)
    }

    /// Whether it is stdin, where someone may be writing along.
    pub(super) fn is_stdin(&self) -> bool {
        is_stdout(&self.path)
    }
}
