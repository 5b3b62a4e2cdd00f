//! The gate that gives a capture its edges.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use traffic_ebpf::config::Gate;

use super::{clock, shared::SharedArray};

/// `MEMBARRIER_CMD_GLOBAL` (`membarrier(2)`, Linux 4.3): returns after an RCU grace period.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
/// How long a program can run at most where the kernel has no such barrier (`nohz_full`).
const LONGEST_RUN: Duration = Duration::from_millis(200);

/// The gate's words.
pub(super) struct GateControl(SharedArray<Gate>);

impl GateControl {
    pub(super) fn new(gate: SharedArray<Gate>) -> Self {
        Self(gate)
    }

    /// Opens the gate and returns the moment, in `CLOCK_MONOTONIC` nanoseconds.
    pub(super) fn open(&self) -> u64 {
        let now_ns = clock::monotonic_ns();
        self.opened().store(now_ns, Ordering::Release);
        now_ns
    }

    /// Whether programs count. A capture with a limit closes its gate by itself.
    pub(super) fn is_open(&self) -> bool {
        self.opened().load(Ordering::Acquire) != 0
    }

    /// Closes the gate, waits until no program can still be running, and returns the moment it
    /// closed.
    pub(super) fn close(&self) -> u64 {
        let now_ns = clock::monotonic_ns();
        self.opened().store(0, Ordering::SeqCst);
        wait_for_programs();
        let by_itself_ns = self.closed().load(Ordering::Acquire);
        if by_itself_ns == 0 {
            now_ns
        } else {
            by_itself_ns
        }
    }

    /// Tells the programs what to add to their clock for wall-clock time.
    pub(super) fn set_wall_offset(&self, offset_ns: i64) {
        // SAFETY: as in `opened`.
        let word = unsafe { AtomicU64::from_ptr(&raw mut (*self.0.at(0)).wall_offset_ns) };
        word.store(offset_ns.cast_unsigned(), Ordering::Release);
    }

    /// Says that the ring was emptied, so that the kernel wakes again; whether it had woken since
    /// the last time. What came in meanwhile must be looked for once more.
    pub(super) fn take_wake(&self) -> bool {
        self.woken().load(Ordering::Relaxed) != 0 && self.woken().swap(0, Ordering::SeqCst) != 0
    }

    fn woken(&self) -> &AtomicU64 {
        // SAFETY: as in `opened`.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.0.at(0)).woken) }
    }

    fn opened(&self) -> &AtomicU64 {
        // SAFETY: an aligned word of the mapping, which lives as long as `self`; every access to
        // it is atomic.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.0.at(0)).opened_ns) }
    }

    fn closed(&self) -> &AtomicU64 {
        // SAFETY: as in `opened`.
        unsafe { AtomicU64::from_ptr(&raw mut (*self.0.at(0)).closed_ns) }
    }
}

/// XDP and TC programs run inside RCU read-side sections, so a grace period outlasts them.
pub(super) fn wait_for_programs() {
    // SAFETY: the command takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        log::debug!("membarrier: {}", io::Error::last_os_error());
        thread::sleep(LONGEST_RUN);
    }
}
