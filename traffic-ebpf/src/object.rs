//! What every object of programs ends with.

/// A panic that does not happen, and the license that lets programs call GPL-only helpers, such as
/// the clock. Compiled for the host, where lints see the programs, an empty `main` instead.
#[macro_export]
macro_rules! end_of_object {
    () => {
        #[cfg(target_arch = "bpf")]
        #[panic_handler]
        fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
            loop {}
        }

        #[cfg(target_arch = "bpf")]
        #[unsafe(link_section = "license")]
        #[unsafe(no_mangle)]
        static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

        #[cfg(not(target_arch = "bpf"))]
        fn main() {}
    };
}
