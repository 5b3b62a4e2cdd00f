//! How full the ring is: the positions that the kernel shows in front of its data.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// Reads the positions of writer and reader.
pub(super) struct RingFill {
    /// Two pages: the reader's position begins the first, the writer's the second (`struct
    /// bpf_ringbuf`).
    base: NonNull<u8>,
    page: usize,
}

impl RingFill {
    /// Maps the positions of the ring behind `fd`.
    ///
    /// # Errors
    /// What `mmap(2)` says.
    pub(super) fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: the call takes no pointers.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
            .map_err(io::Error::other)?;
        // SAFETY: a new mapping for reading; nothing else is at that address.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                2 * page,
                libc::PROT_READ,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).expect("mmap gives no null page");
        Ok(Self { base, page })
    }

    /// Bytes that are written and not read.
    pub(super) fn bytes(&self) -> u64 {
        let consumer = self.position(0);
        self.position(self.page).saturating_sub(consumer)
    }

    fn position(&self, offset: usize) -> u64 {
        // SAFETY: an aligned word of the mapping, which lives as long as `self`; the kernel stores
        // it whole, as `unsigned long`, and the program runs on 64 bits alone.
        let position = unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) };
        position.load(Ordering::Acquire)
    }
}

impl Drop for RingFill {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, which nothing refers to any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), 2 * self.page) };
    }
}
