//! Instructions that the compiler would not write: bounds that the verifier can see, and an atomic
//! addition.
//!
//! LLVM removes a comparison that it can prove; the verifier, which follows registers and not
//! types, then misses it. Values pass through here between what LLVM knows and the check.

/// One load instruction of the given width.
#[cfg(target_arch = "bpf")]
macro_rules! word {
    ($width:literal, $address:expr, $offset:expr) => {{
        let value: u64;
        core::arch::asm!(
            concat!("{value} = *(", $width, " *)({address} + 0)"),
            value = out(reg) value,
            address = in(reg) $address + $offset,
            options(nostack, preserves_flags, readonly),
        );
        value
    }};
}
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

/// Loads a value from any address, word by word.
///
/// The compiler takes the target for one that traps on unaligned words, and would load bytes. The
/// kernel runs on machines that do not, or emulates it (`CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS`).
///
/// # Safety
/// `address` must be that of `size_of::<T>()` readable bytes, and any bytes a valid `T`.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(address: usize) -> T {
    #[cfg(target_arch = "bpf")]
    {
        #[repr(C, align(8))]
        struct Aligned<T>(core::mem::MaybeUninit<T>);
        let mut value = Aligned(core::mem::MaybeUninit::<T>::uninit());
        let target = (&raw mut value).cast::<u8>();
        let size = size_of::<T>();
        let mut done = 0;
        // SAFETY: every load reads inside the caller's bytes and every store writes inside `value`,
        // which is whole when `done` reaches its size.
        unsafe {
            while size - done >= 8 {
                target
                    .add(done)
                    .cast::<u64>()
                    .write(word!("u64", address, done));
                done += 8;
            }
            if size - done >= 4 {
                target
                    .add(done)
                    .cast::<u32>()
                    .write(word!("u32", address, done) as u32);
                done += 4;
            }
            if size - done >= 2 {
                target
                    .add(done)
                    .cast::<u16>()
                    .write(word!("u16", address, done) as u16);
                done += 2;
            }
            if size - done >= 1 {
                target.add(done).write(word!("u8", address, done) as u8);
            }
            value.0.assume_init()
        }
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's promise.
    unsafe {
        (address as *const T).read_unaligned()
    }
}

/// `value`, and `limit` where that is smaller. What the verifier learns of it stays with the result:
/// before Linux 6.8 it does not carry a comparison over to a copy that lies on the stack already.
#[inline(always)]
fn at_most(value: u64, limit: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut register = value;
        // SAFETY: a comparison, and a move that it may jump over; then the value is in range.
        unsafe {
            core::arch::asm!(
                "if {value} <= {limit} goto +1",
                "{value} = {limit}",
                value = inout(reg) register,
                limit = in(reg) limit,
                options(nomem, nostack),
            );
            core::hint::assert_unchecked(register <= limit);
        }
        register
    }
    #[cfg(not(target_arch = "bpf"))]
    core::cmp::min(core::hint::black_box(value), limit)
}

/// `value` as an index below `limit`; `None` beyond it.
#[inline(always)]
pub(crate) fn index(value: u32, limit: usize) -> Option<usize> {
    if value as usize >= limit {
        return None;
    }
    Some(at_most(u64::from(value), limit as u64 - 1) as usize)
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
