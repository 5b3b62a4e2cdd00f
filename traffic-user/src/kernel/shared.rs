//! Array maps mapped into this process: reads and writes without system calls.

use std::{io, marker::PhantomData, os::fd::AsRawFd, ptr::NonNull};

use aya::maps::MapData;

/// The values of a `BPF_F_MMAPABLE` array.
pub(super) struct SharedArray<T> {
    base: NonNull<T>,
    len: usize,
    bytes: usize,
    _values: PhantomData<T>,
}

impl<T> SharedArray<T> {
    /// Maps the `len` values of `map`, whose value type must be `T`.
    ///
    /// # Errors
    /// What `mmap(2)` says.
    pub(super) fn new(map: &MapData, len: usize) -> io::Result<Self> {
        // Values lie 8 bytes aligned, one after the other (`array_map_alloc`).
        let bytes = len * size_of::<T>().next_multiple_of(8);
        // SAFETY: a new mapping of a map's memory; nothing else is at that address.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                std::os::fd::AsFd::as_fd(map.fd()).as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).expect("mmap gives no null page");
        Ok(Self {
            base,
            len,
            bytes,
            _values: PhantomData,
        })
    }

    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The value at `index`. Kernel programs may change it at any time, so it must be accessed
    /// through volatile or atomic operations while the gate is open.
    ///
    /// # Panics
    /// When `index` is not below [`SharedArray::len`].
    pub(super) fn at(&self, index: usize) -> *mut T {
        assert!(index < self.len, "index {index} of {} values", self.len);
        // SAFETY: inside the mapping (checked above).
        unsafe { self.base.as_ptr().add(index) }
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which nothing refers to any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
