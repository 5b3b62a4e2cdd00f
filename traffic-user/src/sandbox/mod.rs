//! What is left to a process that reads what others wrote: packets, capture files, requests.
//!
//! A [`Policy`] names what a run still needs; each feature that needs something adds it there.
//! [`Policy::enter`] gives up everything else, for good: capabilities (`capabilities(7)`), new
//! privileges (`PR_SET_NO_NEW_PRIVS`), system calls (`seccomp(2)`), and files and addresses
//! (`landlock(7)`, Linux 5.13). Threads that start later are bound as well.

mod capabilities;
mod files;
mod system_calls;

pub use capabilities::become_user;

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use caps::{CapSet, Capability};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags},
    unistd::{AccessFlags, User, faccessat, geteuid},
};
use thiserror::Error;

/// What a run still needs once it has begun. The default is the least: descriptors that are open,
/// memory, threads, time, and reading what the system says about itself.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    user: Option<User>,
    made_in: BTreeSet<PathBuf>,
    overwritten: BTreeSet<PathBuf>,
    read: BTreeSet<PathBuf>,
    terminal: bool,
    clients: bool,
    ports: BTreeSet<u16>,
    kept: Vec<Capability>,
    hooks: bool,
}

impl Policy {
    /// Goes on as this user, with its groups.
    pub fn become_user(&mut self, user: User) {
        self.user = Some(user);
    }

    /// Makes, reads, overwrites and removes files below this directory.
    pub fn make_files_in(&mut self, directory: &Path) {
        self.made_in.insert(directory.to_owned());
    }

    /// Opens and overwrites this file, which is made where there is none; `-` is left out, which
    /// is open.
    ///
    /// # Errors
    /// When the file can neither be opened nor made.
    pub fn overwrite(&mut self, path: &Path) -> io::Result<()> {
        if path != Path::new("-") {
            OpenOptions::new().append(true).create(true).open(path)?;
            self.overwritten.insert(path.to_owned());
        }
        Ok(())
    }

    /// Reads this file, or what is below this directory; one that is missing is left out.
    pub fn read(&mut self, path: &Path) {
        self.read.insert(path.to_owned());
    }

    /// Opens the terminal anew and changes its mode.
    pub fn use_terminal(&mut self) {
        self.terminal = true;
    }

    /// Answers clients of a socket that listens already.
    pub fn accept_clients(&mut self) {
        self.clients = true;
    }

    /// Connects to this port of other hosts, by TCP or UDP. Landlock knows TCP alone: by UDP any
    /// port can be reached.
    pub fn connect_to(&mut self, port: u16) {
        self.ports.insert(port);
    }

    /// What a process needs that holds maps, programs and hooks: these capabilities, `bpf(2)`, and
    /// sockets to ask the kernel about interfaces.
    #[must_use]
    pub fn holding_hooks(kept: Vec<Capability>) -> Self {
        Self {
            kept,
            hooks: true,
            ..Self::default()
        }
    }

    /// Gives up what the policy does not name, for this thread and those that it starts.
    ///
    /// # Errors
    /// [`SandboxError`]. What was given up before the error stays given up.
    pub fn enter(&self) -> Result<Sandbox, SandboxError> {
        let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads != 1 {
            return Err(SandboxError::Threads(threads));
        }
        let files = files::Rules::new(self)?;
        capabilities::drop_bounding()?;
        if let Some(user) = &self.user {
            capabilities::become_user_with_capabilities(user)?;
        }
        capabilities::keep(&self.kept)?;
        for directory in &self.made_in {
            check_directory(directory)?;
        }
        let landlock = files.restrict()?;
        let system_calls = system_calls::restrict(self)?;
        Ok(Sandbox {
            landlock,
            system_calls,
        })
    }
}

/// Whether files can be made in a directory once privileges are given up.
///
/// # Errors
/// [`SandboxError::Directory`] when they cannot.
pub fn check_without_privileges(directory: &Path) -> Result<(), SandboxError> {
    let effective = caps::read(None, CapSet::Effective)?;
    caps::clear(None, CapSet::Effective)?;
    let checked = check_directory(directory);
    caps::set(None, CapSet::Effective, &effective)?;
    checked
}

/// Files are made later and without privileges: better known now.
fn check_directory(directory: &Path) -> Result<(), SandboxError> {
    let access = AccessFlags::W_OK | AccessFlags::X_OK;
    let denied = |source| SandboxError::Directory {
        directory: directory.to_owned(),
        user: User::from_uid(geteuid())
            .ok()
            .flatten()
            .map_or_else(|| geteuid().to_string(), |user| user.name),
        source,
    };
    faccessat(AT_FDCWD, directory, access, AtFlags::AT_EACCESS).map_err(denied)
}

/// Why privileges could not be given up.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// Other threads would keep what this one gives up.
    #[error("the process has {0} threads already")]
    Threads(usize),
    /// Capabilities.
    #[error("drop capabilities: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    /// The user.
    #[error("become the user {name}: {source}")]
    User {
        /// Its name.
        name: String,
        /// What the system said.
        source: Errno,
    },
    /// Files could not be made later on.
    #[error(
        "files are made in {} without privileges, as {user}: {source} (-Z names a user who may; \
         --no-sandbox keeps the privileges)", directory.display()
    )]
    Directory {
        /// Where.
        directory: PathBuf,
        /// As whom.
        user: String,
        /// What the system said.
        source: Errno,
    },
    /// Landlock.
    #[error("restrict files with landlock: {0}")]
    Files(#[from] landlock::RulesetError),
    /// A path of the policy.
    #[error("open {} for landlock: {source}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The filter of system calls.
    #[error("restrict system calls with seccomp: {0}")]
    SystemCalls(#[from] seccompiler::Error),
}

/// What holds from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Version of landlock's interface; `None` where the kernel has none, or has it off.
    pub landlock: Option<i32>,
    /// System calls that are left; `None` where the kernel has no seccomp filters.
    pub system_calls: Option<usize>,
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no capabilities, no new privileges, ")?;
        match self.system_calls {
            Some(count) => write!(f, "{count} system calls, ")?,
            None => write!(f, "all system calls (this kernel has no seccomp filters), ")?,
        }
        match self.landlock {
            Some(version) => write!(f, "files by landlock (version {version})"),
            None => write!(
                f,
                "files by their owner alone (this kernel has no landlock)"
            ),
        }
    }
}
