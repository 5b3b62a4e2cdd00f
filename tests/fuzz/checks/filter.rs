//! Any classic BPF program over any bytes: our interpreter, libpcap's, and the translation to eBPF
//! (run by an interpreter that checks every access to memory) agree.

#[path = "libpcap.rs"]
mod libpcap;

use traffic_ebpf::config::LINK_ETHERNET;
use traffic_user::filter::{EbpfInstruction, Program, RawInstruction, translate};

/// Every opcode of `net/bpf.h` that a filter may hold, so that most inputs are programs.
const CODES: [u16; 43] = [
    0x00, 0x01, 0x02, 0x03, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x61, 0x80, 0x81, 0xb1, 0x04,
    0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64, 0x6c, 0x74, 0x7c, 0x84,
    0x94, 0x9c, 0xa4, 0xac, 0x05, 0x15, 0x1d, 0x25, 0x35, 0x45, 0x07,
];
/// `BPF_ST`, `BPF_RET | BPF_A`, `BPF_JMP | BPF_JA`.
const STORE: u16 = 0x02;
const RETURN: u16 = 0x16;
const JUMP: u16 = 0x05;
/// Instructions at most.
const LONGEST: usize = 64;

/// Checks the program at the beginning of `input` over the frame behind it.
pub(crate) fn check(input: &[u8]) {
    let Some((&[len, high, low], rest)) = input.split_first_chunk() else {
        return;
    };
    let len = usize::from(len) % LONGEST + 1;
    let Some((words, frame)) = rest.split_at_checked(len * 7) else {
        return;
    };
    let raw = instructions(words);
    let Ok(program) = Program::new(&raw) else {
        return;
    };
    let wire_len = u32::from(u16::from_be_bytes([high, low]));
    let here = program.matches(frame, wire_len);
    assert_eq!(
        here,
        libpcap::selects(&raw, frame, wire_len),
        "libpcap: {program}"
    );
    // A program may be too long, or reach further than filters can.
    if let Ok(filter) = translate(&[(LINK_ETHERNET, &program)]) {
        let needed = usize::try_from(filter.frame_bytes).expect("a frame fits into memory");
        let seen = &frame[..frame.len().min(needed)];
        let kernel = interpret(&filter.instructions, seen, wire_len);
        assert_eq!(here, kernel, "eBPF: {program}");
    }
}

/// A program of these words, seven bytes each. libpcap leaves its memory as it finds it: every cell
/// is stored before anything is fetched.
fn instructions(words: &[u8]) -> Vec<RawInstruction> {
    let raw = |code, k| RawInstruction {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let stores = (0..16).map(|cell| raw(STORE, cell));
    let program = stores.chain(words.chunks(7).map(instruction));
    program.chain([raw(RETURN, 0)]).collect()
}

fn instruction(bytes: &[u8]) -> RawInstruction {
    let [code, jt, jf, k @ ..] = bytes else {
        unreachable!("chunks have seven bytes")
    };
    let k = u32::from_be_bytes(k.try_into().expect("four are left of seven"));
    let operation = CODES[usize::from(*code) % CODES.len()];
    RawInstruction {
        code: operation,
        jt: jt % 8,
        jf: jf % 8,
        k: match operation {
            // A jump back, as of `protochain`, could go round for ever, in every interpreter.
            JUMP => k % 8,
            // Offsets and cells of memory; large numbers are rare and interesting.
            _ if code & 0x80 == 0 => k % 256,
            _ => k,
        },
    }
}

/// Runs a translated filter, whose frame is in r1, captured bytes in r2, wire bytes in r3, link
/// type in r4.
fn interpret(filter: &[EbpfInstruction], frame: &[u8], wire_len: u32) -> bool {
    const MOVE_32: u8 = 0xb4;
    const EXIT: u8 = 0x95;
    let mut frame = frame.to_vec();
    let cap_len = u32::try_from(frame.len()).expect("an input is short");
    let mut bytes = Vec::new();
    for (register, value) in [(2, cap_len), (3, wire_len), (4, LINK_ETHERNET)] {
        bytes.extend([MOVE_32, register, 0, 0]);
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(
        filter
            .iter()
            .flat_map(|instruction| instruction.to_le_bytes()),
    );
    bytes.extend([EXIT, 0, 0, 0, 0, 0, 0, 0]);
    let machine = rbpf::EbpfVmRaw::new(Some(&bytes)).expect("the interpreter knows all of it");
    match machine
        .execute_program(&mut frame)
        .expect("every access is inside the frame")
    {
        0 => false,
        1 => true,
        other => panic!("the verdict is {other}"),
    }
}
