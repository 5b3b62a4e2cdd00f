//! Network namespaces: entering one, and noticing its end.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use nix::{
    sched::{CloneFlags, setns},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};

/// Where `ip netns` keeps names (`ip-netns(8)`).
const NAMES: &str = "/run/netns";

/// Why a network namespace cannot be entered.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// It has no such name.
    #[error("unknown network namespace {name} (there are: {known})")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names that there are.
        known: String,
    },
    /// There is no such process.
    #[error("no process has the id {0}, whose network namespace was asked for")]
    NoProcess(u32),
    /// It may not be entered.
    #[error(
        "entering the network namespace {0} needs CAP_SYS_ADMIN, and for that of another user's \
         process CAP_SYS_PTRACE (run as root)"
    )]
    NotPermitted(String),
    /// Something else.
    #[error("enter the network namespace {name}: {source}")]
    Other {
        /// What was asked for.
        name: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// A network namespace that was named on the command line.
#[derive(Debug)]
pub struct NetworkNamespace {
    name: String,
    end: End,
}

/// What tells of its end. The namespace itself does not end while a capture is inside.
#[derive(Debug)]
enum End {
    /// The file that names it is removed (`inotify(7)` of its folder).
    Name {
        path: PathBuf,
        inode: u64,
        removals: AsyncFd<File>,
    },
    /// The process ends (`pidfd_open(2)`, Linux 5.3).
    Process(AsyncFd<File>),
}

impl NetworkNamespace {
    /// Moves the calling thread into the namespace `asked` for: a name of `ip netns`, the id of a
    /// process inside, or the path of a file that stands for it. The thread stays there: sockets
    /// and hooks that it opens from then on belong to it, those from before do not.
    ///
    /// # Errors
    /// When there is no such namespace, or without `CAP_SYS_ADMIN`.
    pub fn enter(asked: &str) -> Result<Self, NamespaceError> {
        let place = Place::of(asked);
        let explain = |error| explain(asked, &place, error);
        let file = File::open(place.path()).map_err(explain)?;
        let end = place.end(&file).map_err(explain)?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| explain(error.into()))?;
        Ok(Self {
            name: asked.to_owned(),
            end,
        })
    }

    /// Waits until its name is removed or its process has ended; returns what happened.
    pub async fn ended(&self) -> String {
        match &self.end {
            End::Name {
                path,
                inode,
                removals,
            } => {
                while path.metadata().is_ok_and(|file| file.ino() == *inode) {
                    let Ok(mut guard) = removals.readable().await else {
                        return std::future::pending().await;
                    };
                    // What the events say does not matter: the name is looked at again.
                    let _ = guard.get_inner().read(&mut [0; 4096]);
                    guard.clear_ready();
                }
                format!("the network namespace {} was deleted", self.name)
            }
            End::Process(process) => {
                if process.readable().await.is_err() {
                    return std::future::pending().await;
                }
                format!("the process {} ended", self.name)
            }
        }
    }
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Path(PathBuf),
    Process(u32),
}

impl Place {
    /// A path has a slash; a name goes before a process id.
    fn of(asked: &str) -> Self {
        if asked.contains('/') {
            return Self::Path(asked.into());
        }
        let named = Path::new(NAMES).join(asked);
        match asked.parse() {
            Ok(process) if !is_there(&named) => Self::Process(process),
            _ => Self::Path(named),
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Path(path) => path.clone(),
            Self::Process(process) => format!("/proc/{process}/ns/net").into(),
        }
    }

    fn end(&self, file: &File) -> io::Result<End> {
        match self {
            Self::Path(path) => {
                let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
                let folder = path.parent().unwrap_or(Path::new("/"));
                let removals = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM;
                watch.add_watch(folder, removals)?;
                Ok(End::Name {
                    path: path.clone(),
                    inode: file.metadata()?.ino(),
                    removals: readable(OwnedFd::from(watch).into())?,
                })
            }
            Self::Process(process) => {
                let process = open_process(*process)?;
                Ok(End::Process(readable(process.into())?))
            }
        }
    }
}

fn open_process(process: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers; the result is checked below.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn readable(descriptor: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: the file owns its descriptor, which stays open and the same for as long as it lives.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    Ok(registered?)
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn explain(asked: &str, place: &Place, error: io::Error) -> NamespaceError {
    let name = asked.to_owned();
    match (error.raw_os_error(), place) {
        (Some(libc::ENOENT | libc::ESRCH), Place::Process(process)) => {
            NamespaceError::NoProcess(*process)
        }
        (Some(libc::ENOENT), Place::Path(_)) => NamespaceError::Unknown {
            name,
            known: known(),
        },
        (Some(libc::EPERM | libc::EACCES), _) => NamespaceError::NotPermitted(name),
        _ => NamespaceError::Other {
            name,
            source: error,
        },
    }
}

fn known() -> String {
    let entries = fs::read_dir(NAMES).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    if names.is_empty() {
        return "none with a name; a process id is taken as well".to_owned();
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ids_and_paths_are_told_apart() {
        assert_eq!(Place::of("17"), Place::Process(17));
        assert_eq!(Place::of("blue"), Place::Path("/run/netns/blue".into()));
        let path = "/run/docker/netns/default";
        assert_eq!(Place::of(path), Place::Path(path.into()));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = NetworkNamespace::enter("no-such-namespace").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("unknown network namespace no-such-namespace"),
            "{error}"
        );
        let error = NetworkNamespace::enter("4194999").unwrap_err();
        assert!(matches!(error, NamespaceError::NoProcess(4_194_999)));
    }
}
