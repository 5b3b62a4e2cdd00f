//! Instructions that the compiler would not write: bounds that the verifier can see, and an atomic
//! addition.
//!
//! LLVM removes a comparison that it can prove; the verifier, which follows registers and not
//! types, then misses it. Values pass through here between what LLVM knows and the check.

/// `value`, of which the compiler knows nothing any more.
#[inline(always)]
pub(crate) fn opaque(value: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut register = u64::from(value);
        // SAFETY: a move that keeps the register as it is. (An empty sequence would leave two line
        // records for one instruction, which the kernel refuses.)
        unsafe {
            core::arch::asm!("{0} = {0}", inout(reg) register, options(nomem, nostack, preserves_flags));
        }
        register as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    core::hint::black_box(value)
}

/// A packet pointer that the compiler must not compute again: the verifier knows the range that was
/// checked only for this one.
#[inline(always)]
pub(crate) fn pointer(address: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut register = address;
        // SAFETY: a move that keeps the register as it is.
        unsafe {
            core::arch::asm!("{0} = {0}", inout(reg) register, options(nomem, nostack, preserves_flags));
        }
        register
    }
    #[cfg(not(target_arch = "bpf"))]
    core::hint::black_box(address)
}

/// `value` as an index below `limit`; `None` beyond it.
#[inline(always)]
pub(crate) fn index(value: u32, limit: usize) -> Option<usize> {
    let value = opaque(value) as usize;
    (value < limit).then_some(value)
}

/// A length from 1 to `limit`, which must be a power of two; `value` itself when it is in range.
#[inline(always)]
pub(crate) fn length(value: u32, limit: u32) -> u32 {
    (opaque(value.wrapping_sub(1)) & (limit - 1)) + 1
}

/// Keeps the compiler from moving memory accesses across: an interrupt on this CPU may look.
#[inline(always)]
pub(crate) fn barrier() {
    #[cfg(target_arch = "bpf")]
    // SAFETY: a jump to the next instruction, which the kernel removes; without `nomem` it orders
    // memory accesses for the compiler.
    unsafe {
        core::arch::asm!("goto +0", options(nostack, preserves_flags));
    }
}

/// Adds to a word in one instruction.
///
/// # Safety
/// `word` must point to an aligned word in a map.
#[inline(always)]
pub(crate) unsafe fn add(word: *mut u64, amount: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: one atomic instruction on the caller's word.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({word} + 0) += {amount}",
            amount = in(reg) amount,
            word = in(reg) word,
            options(nostack),
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's word is aligned and valid.
    unsafe {
        core::sync::atomic::AtomicU64::from_ptr(word)
            .fetch_add(amount, core::sync::atomic::Ordering::Relaxed);
    }
}

/// Adds to a word that other CPUs also add to, and returns what it was (Linux 5.12).
///
/// The target's own atomics lack read-modify-write operations.
///
/// # Safety
/// `word` must point to an aligned word in a map.
#[inline(always)]
pub(crate) unsafe fn fetch_add(word: *mut u64, amount: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = amount;
        // SAFETY: one atomic instruction on the caller's word.
        unsafe {
            core::arch::asm!(
                "{value} = atomic_fetch_add((u64 *)({word} + 0), {value})",
                value = inout(reg) value,
                word = in(reg) word,
                options(nostack),
            );
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's word is aligned and valid.
    unsafe {
        core::sync::atomic::AtomicU64::from_ptr(word)
            .fetch_add(amount, core::sync::atomic::Ordering::Relaxed)
    }
}
