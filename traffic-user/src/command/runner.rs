//! Programs that run beside: of `-z` for complete files, and the browser of `--open`.
//!
//! The process that reads packets cannot start any. Another one does, which was split off before,
//! has the rights of whoever started `traffic` (or of the user of `-Z`), and starts one program
//! alone, on files that are the run's own.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        net::UnixStream,
    },
    path::{Component, Path, PathBuf},
    process::{Child, Command},
    thread,
};

use anyhow::{Context as _, Result};
use nix::unistd::User;

use crate::{
    kernel::{Keep, Part},
    sandbox,
};

/// Starts a program on files.
#[derive(Debug)]
pub(super) struct Runner {
    part: Part,
    program: PathBuf,
}

/// What a runner may do.
pub(super) struct Errand {
    /// What is started, without the file.
    pub(super) command: Command,
    /// The name in messages.
    pub(super) program: PathBuf,
    /// Files lie in or below this directory.
    pub(super) directory: PathBuf,
    /// As whom.
    pub(super) user: Option<User>,
}

impl Runner {
    /// Splits off the process that starts programs.
    ///
    /// # Errors
    /// When that is not possible.
    pub(super) fn new(errand: Errand) -> Result<Self> {
        let program = errand.program.clone();
        let part = Part::start(Keep::Stdout, |line| errand.serve(line));
        let part = part.with_context(|| format!("prepare to run {}", program.display()))?;
        Ok(Self { part, program })
    }

    /// Starts the program on `file`, and does not wait for it.
    pub(super) fn run(&self, file: &Path) {
        let name = file.as_os_str().as_bytes();
        let length = u32::try_from(name.len()).unwrap_or(0);
        let message = [&length.to_le_bytes(), name].concat();
        if let Err(error) = self.part.line().write_all(&message) {
            complain(&self.program, file, &error.to_string());
        }
    }

    /// Waits until every program has ended.
    pub(super) fn join(self) {
        self.part.join();
    }
}

fn complain(program: &Path, file: &Path, what: &str) {
    eprintln!("warning: {} {}: {what}", program.display(), file.display());
}

impl Errand {
    /// Starts the program on every file that is named, and waits for all of them in the end.
    fn serve(mut self, mut line: UnixStream) {
        if let Some(user) = &self.user
            && let Err(error) = sandbox::become_user(user)
        {
            eprintln!("warning: {} is not run: {error}", self.program.display());
            return;
        }
        let mut running = Vec::new();
        while let Ok(file) = next(&mut line) {
            if !is_below(&file, &self.directory) {
                complain(&self.program, &file, "not a file of this run");
                continue;
            }
            match self.start(&file) {
                Err(error) => eprintln!("warning: run {}: {error}", self.program.display()),
                Ok(child) => {
                    let program = self.program.clone();
                    running.push(thread::spawn(move || wait(child, &program, &file)));
                }
            }
        }
        for program in running {
            // It has said why it panicked.
            let _ = program.join();
        }
    }

    fn start(&mut self, file: &Path) -> io::Result<Child> {
        let mut command = Command::new(self.command.get_program());
        command.args(self.command.get_args()).arg(file).spawn()
    }
}

fn wait(mut child: Child, program: &Path, file: &Path) {
    match child.wait() {
        Ok(status) if status.success() => {}
        Ok(status) => complain(program, file, &status.to_string()),
        Err(error) => complain(program, file, &error.to_string()),
    }
}

/// Longest name of a file, as `PATH_MAX`.
const LONGEST: usize = 4096;

fn next(line: &mut UnixStream) -> io::Result<PathBuf> {
    let mut length = [0; 4];
    line.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::other("no file has such a long name"));
    }
    let mut name = vec![0; length];
    line.read_exact(&mut name)?;
    Ok(std::ffi::OsString::from_vec(name).into())
}

/// Whether a file lies in or below a directory, where `.` is that of relative names.
fn is_below(file: &Path, directory: &Path) -> bool {
    let rest = if directory == Path::new(".") {
        Some(file).filter(|file| file.is_relative())
    } else {
        file.strip_prefix(directory).ok()
    };
    rest.is_some_and(|rest| {
        rest.components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_run_lies_in_its_directory() {
        let below = |file, directory| is_below(Path::new(file), Path::new(directory));
        assert!(below("a.pcap", "."));
        assert!(below("./a.pcap", "."));
        assert!(below("/d/e/a.pcap", "/d"));
        assert!(below("../a.pcap", ".."));
        for (file, directory) in [
            ("/etc/shadow", "."),
            ("../a", "."),
            ("/d/../etc/shadow", "/d"),
            ("/etc/shadow", "/d"),
            ("a", "/d"),
        ] {
            assert!(!below(file, directory), "{file} in {directory}");
        }
    }
}
