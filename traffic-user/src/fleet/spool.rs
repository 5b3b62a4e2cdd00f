//! Parcels that wait on disk, within a limit.
//!
//! Every run has a directory of its own, locked while it runs. What a run that has ended left
//! behind is taken over by the next that opens the same spool. A parcel is a file that is synced
//! before it counts as written; its checksum tells one that is not whole.

use std::{
    collections::VecDeque,
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::parcel::Parcel;

/// What a file takes at least, in bytes.
const BLOCK: u64 = 4096;
/// Ends the names of parcels.
const SUFFIX: &str = ".parcel";
/// The file in each directory that its user has locked.
const LOCK: &str = "lock";

/// Parcels on disk, oldest first.
pub(super) struct Spool {
    own: Arc<Directory>,
    limit: u64,
    used: u64,
    files: VecDeque<Spooled>,
}

/// A parcel on disk. Its directory is held as long as it is known.
#[derive(Clone)]
pub(super) struct Spooled {
    directory: Arc<Directory>,
    name: String,
    /// Rows in it, as its name says.
    pub(super) rows: u64,
    bytes: u64,
}

/// A run's directory, locked; goes when it is empty.
struct Directory {
    path: PathBuf,
    /// Open from the beginning: the sandbox opens no directories.
    handle: File,
    _lock: File,
}

impl Spool {
    /// Opens the spool in `root` for a run that began at `now_ns`, and takes over what ended runs
    /// left there.
    ///
    /// # Errors
    /// When `root` cannot be made, read or written.
    pub(super) fn open(root: &Path, now_ns: u64, run: u64, limit: u64) -> io::Result<Self> {
        let own = root.join(format!("{now_ns:020}-{run:016x}"));
        fs::create_dir_all(&own)?;
        let held = || io::Error::new(io::ErrorKind::ResourceBusy, "somebody else's run");
        let own = Directory::lock(&own)?.ok_or_else(held)?;
        let mut spool = Self {
            own: Arc::new(own),
            limit,
            used: 0,
            files: VecDeque::new(),
        };
        let mut others: Vec<_> = fs::read_dir(root)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<_>>()?;
        others.retain(|path| path.is_dir() && *path != spool.own.path);
        others.sort();
        for path in others {
            if let Some(directory) = Directory::lock(&path)? {
                spool.adopt(directory)?;
            }
        }
        Ok(spool)
    }

    fn adopt(&mut self, directory: Directory) -> io::Result<()> {
        let directory = Arc::new(directory);
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(rows) = rows_of(&name) else {
                continue;
            };
            found.push(Spooled {
                directory: Arc::clone(&directory),
                name,
                rows,
                bytes: size(entry.metadata()?.len()),
            });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        self.used += found.iter().map(|file| file.bytes).sum::<u64>();
        self.files.extend(found);
        Ok(())
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Rows that wait and are this run's own.
    pub(super) fn own_rows(&self) -> u64 {
        let own = |file: &&Spooled| Arc::ptr_eq(&file.directory, &self.own);
        self.files.iter().filter(own).map(|file| file.rows).sum()
    }

    /// The parcel that has waited longest.
    pub(super) fn oldest(&self) -> Option<Spooled> {
        self.files.front().cloned()
    }

    /// Writes a parcel of this run. Where it does not fit, the oldest make room; returns how many
    /// rows were lost by that, or because the disk does not take it.
    pub(super) fn write(&mut self, parcel: &Parcel) -> u64 {
        let mut lost = 0;
        let bytes = match parcel.to_bytes() {
            Ok(bytes) if size(bytes.len() as u64) <= self.limit => bytes,
            Ok(_) | Err(_) => return parcel.rows(),
        };
        let size = size(bytes.len() as u64);
        while self.used + size > self.limit
            && let Some(oldest) = self.oldest()
        {
            lost += oldest.rows;
            self.remove(&oldest);
        }
        let name = format!("{:012}-{}{SUFFIX}", parcel.sequence, parcel.rows());
        if let Err(error) = self.own.write(&name, &bytes) {
            log::warn!("write {}: {error}", self.own.path.join(&name).display());
            return lost + parcel.rows();
        }
        self.used += size;
        let file = Spooled {
            directory: Arc::clone(&self.own),
            name,
            rows: parcel.rows(),
            bytes: size,
        };
        // A parcel whose sending failed is older than those that were spooled meanwhile.
        let later = |other: &Spooled| {
            Arc::ptr_eq(&other.directory, &file.directory) && other.name > file.name
        };
        let index = self
            .files
            .iter()
            .position(later)
            .unwrap_or(self.files.len());
        self.files.insert(index, file);
        lost
    }

    /// Removes a parcel that was stored, or given up; whether it was still there.
    pub(super) fn remove(&mut self, file: &Spooled) -> bool {
        let same = |other: &Spooled| {
            Arc::ptr_eq(&other.directory, &file.directory) && other.name == file.name
        };
        let Some(index) = self.files.iter().position(same) else {
            return false;
        };
        self.files.remove(index);
        self.used -= file.bytes;
        let path = file.path();
        if let Err(error) = fs::remove_file(&path) {
            log::warn!("remove {}: {error}", path.display());
        }
        true
    }
}

impl Spooled {
    fn path(&self) -> PathBuf {
        self.directory.path.join(&self.name)
    }

    /// Reads the parcel.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub(super) fn read(&self) -> io::Result<Parcel> {
        Parcel::from_bytes(&fs::read(self.path())?)
    }
}

impl Directory {
    /// Locks a directory; `None` where its run goes on.
    fn lock(path: &Path) -> io::Result<Option<Self>> {
        let handle = File::open(path)?;
        let file = File::create(path.join(LOCK))?;
        // It is released when the file is closed.
        match file.try_lock() {
            Ok(()) => Ok(Some(Self {
                path: path.to_owned(),
                handle,
                _lock: file,
            })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Writes a file to disk.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            self.handle.sync_all()
        });
        if written.is_err() {
            // It may not exist.
            let _ = fs::remove_file(&path);
        }
        written
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let parcels = fs::read_dir(&self.path).is_ok_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != LOCK))
        });
        if !parcels {
            // The sandbox lets no directory be removed: then the next run does it.
            let _ = fs::remove_file(self.path.join(LOCK));
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// What a file of so many bytes takes on disk.
fn size(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK).max(BLOCK)
}

/// Rows of the parcel with this name; `None` for another file.
fn rows_of(name: &str) -> Option<u64> {
    let (_, rows) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    rows.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::parcel::tests::parcel, *};

    #[test]
    fn parcels_come_back_in_their_order_in_the_next_run() {
        let root = Root::new("order");
        let mut spool = Spool::open(&root.0, 1, 7, 1 << 20).unwrap();
        for sequence in [2, 3, 1] {
            assert_eq!(spool.write(&parcel(sequence, 10, 100)), 0);
        }
        assert_eq!(spool.own_rows(), 30);
        drop(spool);
        let mut next = Spool::open(&root.0, 2, 8, 1 << 20).unwrap();
        assert_eq!(next.own_rows(), 0);
        for sequence in [1, 2, 3] {
            let file = next.oldest().unwrap();
            assert_eq!(file.read().unwrap(), parcel(sequence, 10, 100));
            next.remove(&file);
        }
        assert!(next.is_empty());
        drop(next);
        assert_eq!(fs::read_dir(&root.0).unwrap().count(), 0);
    }

    #[test]
    fn a_run_that_goes_on_keeps_its_parcels() {
        let root = Root::new("lock");
        let mut first = Spool::open(&root.0, 1, 7, 1 << 20).unwrap();
        first.write(&parcel(1, 10, 100));
        let second = Spool::open(&root.0, 2, 8, 1 << 20).unwrap();
        assert!(second.is_empty());
        assert!(!first.is_empty());
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let root = Root::new("limit");
        let mut spool = Spool::open(&root.0, 1, 7, 3 * BLOCK).unwrap();
        for sequence in 1..=3 {
            assert_eq!(spool.write(&parcel(sequence, 10, 100)), 0);
        }
        assert_eq!(spool.write(&parcel(4, 10, 100)), 10);
        assert_eq!(spool.oldest().unwrap().read().unwrap().sequence, 2);
        let mut noise = parcel(5, 1000, 0);
        let mut state = 1u64;
        noise.batches[0].rows.bytes.resize_with(20_000, || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_le_bytes()[7]
        });
        assert_eq!(spool.write(&noise), 1000);
        assert_eq!(spool.own_rows(), 30);
    }

    #[test]
    fn half_a_parcel_of_a_killed_run_is_noticed() {
        let root = Root::new("half");
        let killed = root.0.join("00000000000000000001-0000000000000007");
        fs::create_dir_all(&killed).unwrap();
        let bytes = parcel(1, 10, 100).to_bytes().unwrap();
        let half = &bytes[..bytes.len() / 2];
        fs::write(killed.join("000000000001-10.parcel"), half).unwrap();
        let mut spool = Spool::open(&root.0, 2, 8, 1 << 20).unwrap();
        let file = spool.oldest().unwrap();
        assert!(file.read().is_err());
        assert_eq!(file.rows, 10);
        spool.remove(&file);
        drop((file, spool));
        assert!(!killed.exists());
    }

    /// A directory that goes with everything in it.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Self {
            let name = format!("traffic-spool-{}-{name}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            // A test that failed early may have left none.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
