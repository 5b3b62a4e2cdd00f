//! libpcap's interpreter, which its binding does not offer for any program and wire length.

use super::RawInstruction;

/// Whether a program that was checked to be valid selects the frame.
pub(crate) fn selects(program: &[RawInstruction], frame: &[u8], wire_len: u32) -> bool {
    #[repr(C)]
    struct Insn {
        code: u16,
        jt: u8,
        jf: u8,
        k: u32,
    }
    unsafe extern "C" {
        fn bpf_filter(program: *const Insn, frame: *const u8, wire_len: u32, cap_len: u32) -> u32;
    }
    let instructions = program.iter();
    let program: Vec<Insn> = instructions
        .map(|&RawInstruction { code, jt, jf, k }| Insn { code, jt, jf, k })
        .collect();
    let cap_len = u32::try_from(frame.len()).expect("an input is short");
    // SAFETY: `struct bpf_insn` of `pcap/bpf.h`; the program was checked to be valid, so that it
    // ends with a return, and the function reads `cap_len` bytes of the frame at most.
    unsafe { bpf_filter(program.as_ptr(), frame.as_ptr(), wire_len, cap_len) != 0 }
}
