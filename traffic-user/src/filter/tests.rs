//! Programs run three ways: here, by libpcap, and as eBPF in an interpreter that checks every
//! access to memory.

#[path = "../../../tests/fuzz/checks/libpcap.rs"]
mod libpcap;

use proptest::{collection::vec, prelude::*};
use traffic_ebpf::config::{LINK_ETHERNET, LINK_IP};

use super::{
    classic::{Instruction, InvalidProgram, Program, RawInstruction},
    compile::{CompileError, compile},
    ebpf::{Instruction as EbpfInstruction, code},
    translate::{TranslateError, Translated, translate},
};
use crate::capture_file::LinkType;

/// The translated filter on a frame of a link type.
fn interpret(filter: &Translated, link: u32, frame: &[u8], wire_len: u32) -> bool {
    let needed = usize::try_from(filter.frame_bytes).unwrap();
    let mut frame = frame[..frame.len().min(needed)].to_vec();
    let cap_len = u32::try_from(frame.len()).unwrap();
    let entry = [(2, cap_len), (3, wire_len), (4, link)].map(|(dst, value)| EbpfInstruction {
        code: code::ALU32 | code::MOV,
        dst,
        imm: value.cast_signed(),
        ..EbpfInstruction::NO_OPERATION
    });
    let exit = EbpfInstruction {
        code: 0x95,
        ..EbpfInstruction::NO_OPERATION
    };
    let bytes: Vec<u8> = entry
        .iter()
        .chain(&filter.instructions)
        .chain([&exit])
        .flat_map(|instruction| instruction.to_le_bytes())
        .collect();
    let machine = rbpf::EbpfVmRaw::new(Some(&bytes)).unwrap();
    match machine.execute_program(&mut frame).unwrap() {
        0 => false,
        1 => true,
        other => panic!("the verdict is {other}"),
    }
}

/// Runs a program in all ways; they must agree.
fn verdict(raw: &[RawInstruction], frame: &[u8], wire_len: u32) -> bool {
    let program = Program::new(raw).unwrap();
    let here = program.matches(frame, wire_len);
    assert_eq!(
        here,
        libpcap::selects(raw, frame, wire_len),
        "libpcap:\n{program}"
    );
    let filter = translate(&[(LINK_ETHERNET, &program)]).unwrap();
    let kernel = interpret(&filter, LINK_ETHERNET, frame, wire_len);
    assert_eq!(here, kernel, "eBPF:\n{program}");
    here
}

const fn raw(code: u16, jt: u8, jf: u8, k: u32) -> RawInstruction {
    RawInstruction { code, jt, jf, k }
}

/// Returns whether A is `value` after `program`.
fn leaves(program: &[RawInstruction], frame: &[u8], value: u32) -> bool {
    let end = [
        raw(0x15, 0, 1, value),
        raw(0x06, 0, 0, 1),
        raw(0x06, 0, 0, 0),
    ];
    verdict(&[program, &end].concat(), frame, 1_000)
}

#[test]
fn loads_are_in_network_order_and_end_at_the_last_byte() {
    let frame = [1, 2, 3, 4, 5];
    assert!(leaves(&[raw(0x20, 0, 0, 1)], &frame, 0x0203_0405));
    assert!(leaves(&[raw(0x28, 0, 0, 3)], &frame, 0x0405));
    assert!(leaves(&[raw(0x30, 0, 0, 4)], &frame, 5));
    for (code, offset) in [
        (0x20, 2),
        (0x28, 4),
        (0x30, 5),
        (0x30, u32::MAX),
        (0x20, 262_141),
    ] {
        let program = [raw(code, 0, 0, offset), raw(0x06, 0, 0, 1)];
        assert!(!verdict(&program, &frame, 5), "{code:#x} {offset}");
    }
}

#[test]
fn indexed_loads_do_not_wrap_around() {
    let frame: Vec<u8> = (0..64).collect();
    let indexed = |x: u32, k: u32| [raw(0x01, 0, 0, x), raw(0x50, 0, 0, k)];
    assert!(leaves(&indexed(60, 3), &frame, 63));
    for (x, k) in [
        (61, 3),
        (u32::MAX, 1),
        (1, u32::MAX),
        (u32::MAX - 3, 8),
        (262_143, 1),
    ] {
        let program = [&indexed(x, k)[..], &[raw(0x06, 0, 0, 1)]].concat();
        assert!(!verdict(&program, &frame, 64), "{x} + {k}");
    }
}

#[test]
fn offsets_beyond_the_reach_of_an_instruction_are_loaded() {
    let mut frame = vec![0; 70_000];
    frame[32_767..32_771].copy_from_slice(&[1, 2, 3, 4]);
    frame[69_996..].copy_from_slice(&[5, 6, 7, 8]);
    assert!(leaves(&[raw(0x20, 0, 0, 32_767)], &frame, 0x0102_0304));
    assert!(leaves(&[raw(0x20, 0, 0, 32_768)], &frame, 0x0203_0400));
    assert!(leaves(&[raw(0x20, 0, 0, 69_996)], &frame, 0x0506_0708));
    let indexed = [raw(0x01, 0, 0, 69_000), raw(0x40, 0, 0, 996)];
    assert!(leaves(&indexed, &frame, 0x0506_0708));
}

#[test]
fn arithmetic_has_32_bits() {
    let a_op = |a: u32, code: u16, k: u32| [raw(0x00, 0, 0, a), raw(code, 0, 0, k)];
    let by_x =
        |a: u32, x: u32, code: u16| [raw(0x01, 0, 0, x), raw(0x00, 0, 0, a), raw(code, 0, 0, 0)];
    assert!(leaves(&a_op(u32::MAX, 0x04, 2), &[], 1));
    assert!(leaves(&a_op(1, 0x14, 2), &[], u32::MAX));
    assert!(leaves(&a_op(0x8000_0001, 0x24, 2), &[], 2));
    assert!(leaves(&a_op(u32::MAX, 0x34, 2), &[], 0x7fff_ffff));
    assert!(leaves(&a_op(u32::MAX, 0x34, u32::MAX), &[], 1));
    assert!(leaves(&a_op(u32::MAX, 0x94, 10), &[], 5));
    assert!(leaves(&a_op(u32::MAX, 0x74, 31), &[], 1));
    assert!(leaves(&a_op(5, 0x84, 0), &[], 5u32.wrapping_neg()));
    assert!(leaves(&by_x(0xffff_ffff, 32, 0x6c), &[], 0));
    assert!(leaves(&by_x(0xffff_ffff, 33, 0x7c), &[], 0));
    assert!(leaves(&by_x(0xffff_ffff, 31, 0x7c), &[], 1));
    assert!(leaves(&by_x(7, 2, 0x3c), &[], 3));
    assert!(leaves(&by_x(7, 4, 0x9c), &[], 3));
}

#[test]
fn division_by_an_x_of_0_is_no_match() {
    for code in [0x3c, 0x9c] {
        let program = [raw(0x00, 0, 0, 7), raw(code, 0, 0, 0), raw(0x06, 0, 0, 1)];
        assert!(!verdict(&program, &[], 0));
    }
}

#[test]
fn scratch_memory_begins_as_0_and_keeps_words() {
    let program = Program::new(&[raw(0x60, 0, 0, 15), raw(0x16, 0, 0, 0)]).unwrap();
    assert!(!program.matches(&[], 0));
    let filter = translate(&[(LINK_ETHERNET, &program)]).unwrap();
    assert!(!interpret(&filter, LINK_ETHERNET, &[], 0));
    let kept = [
        raw(0x01, 0, 0, 0xdead_beef),
        raw(0x03, 0, 0, 15),
        raw(0x00, 0, 0, 1),
        raw(0x02, 0, 0, 14),
        raw(0x60, 0, 0, 15),
    ];
    assert!(leaves(&kept, &[], 0xdead_beef));
}

#[test]
fn header_length_and_wire_length() {
    assert!(leaves(
        &[raw(0xb1, 0, 0, 1), raw(0x87, 0, 0, 0)],
        &[0, 0x4f],
        60
    ));
    assert!(leaves(&[raw(0x80, 0, 0, 0)], &[], 1_000));
    assert!(leaves(
        &[raw(0x81, 0, 0, 0), raw(0x87, 0, 0, 0)],
        &[],
        1_000
    ));
}

#[test]
fn what_is_no_program_is_refused() {
    let ret = raw(0x06, 0, 0, 0);
    assert_eq!(Program::new(&[]), Err(InvalidProgram::Empty));
    assert_eq!(
        Program::new(&[raw(0x00, 0, 0, 0)]),
        Err(InvalidProgram::NoReturn)
    );
    let invalid = [
        raw(0x15, 1, 0, 0),            // jump over the end
        raw(0x05, 0, 0, 1),            // as above
        raw(0x05, 0, 0, u32::MAX - 1), // before the beginning
        raw(0x34, 0, 0, 0),            // division by 0
        raw(0x94, 0, 0, 0),
        raw(0x64, 0, 0, 32), // shift by the whole width
        raw(0x60, 0, 0, 16), // beyond scratch memory
        raw(0x02, 0, 0, 16),
        raw(0x21, 0, 0, 0), // X from the frame
        raw(0x06 | 0x18, 0, 0, 0),
        raw(0x55, 0, 0, 0),
        raw(0xff, 0, 0, 0),
    ];
    for instruction in invalid {
        let result = Program::new(&[instruction, ret]);
        assert!(
            matches!(result, Err(InvalidProgram::Instruction { index: 0, .. })),
            "{instruction:?}: {result:?}"
        );
    }
}

#[test]
fn programs_that_do_not_fit_the_slot_are_refused() {
    let mut raw_program = vec![raw(0x50, 0, 0, 0); 4_000];
    raw_program.push(raw(0x06, 0, 0, 1));
    let program = Program::new(&raw_program).unwrap();
    let result = translate(&[(LINK_ETHERNET, &program)]);
    assert!(
        matches!(result, Err(TranslateError::TooLong { .. })),
        "{result:?}"
    );
}

#[test]
fn every_link_type_has_its_own_program() {
    let ethernet = compile("udp", LinkType::ETHERNET).unwrap();
    let ip = compile("udp", LinkType::RAW).unwrap();
    let filter = translate(&[(LINK_ETHERNET, &ethernet), (LINK_IP, &ip)]).unwrap();
    let mut packet = [0; 28];
    packet[0] = 0x45;
    packet[9] = 17;
    let frame = [&[0; 12][..], &[8, 0], &packet].concat();
    for (link, bytes, expected) in [
        (LINK_ETHERNET, &frame[..], true),
        (LINK_ETHERNET, &packet[..], false),
        (LINK_IP, &packet[..], true),
        (LINK_IP, &frame[..], false),
    ] {
        assert_eq!(interpret(&filter, link, bytes, 100), expected, "{link}");
    }
}

#[test]
fn filters_read_only_as_far_as_they_must() {
    let bytes = |expression| {
        let program = compile(expression, LinkType::ETHERNET).unwrap();
        translate(&[(LINK_ETHERNET, &program)]).unwrap().frame_bytes
    };
    assert_eq!(bytes("arp"), 14);
    assert_eq!(bytes("greater 100"), 1);
    assert_eq!(bytes("tcp port 80"), 14 + 60 + 4);
    assert_eq!(
        bytes("tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420"),
        14 + 60 + 60 + 4
    );
    assert_eq!(bytes("ether[1400:4] = 1"), 1_404);
    assert_eq!(bytes("ip[ip[2:2] - 1] = 0"), 262_144);
}

#[test]
fn libpcap_says_what_is_wrong() {
    let message = |expression| match compile(expression, LinkType::ETHERNET) {
        Err(error) => error.to_string(),
        Ok(program) => panic!("{program}"),
    };
    assert!(message("tcp port").contains("syntax error"));
    assert!(message("port nosuchservice").contains("nosuchservice"));
    assert!(message("tcp[0] / 0 = 1").contains("division by zero"));
    for expression in ["inbound", "outbound", "not inbound and tcp"] {
        let result = compile(expression, LinkType::ETHERNET);
        assert!(
            matches!(result, Err(CompileError::Direction)),
            "{expression}"
        );
    }
}

#[test]
fn listings_are_those_of_tcpdump() {
    let program = compile("ip[6:2] & 0x1fff != 0", LinkType::ETHERNET).unwrap();
    let expected = "(000) ldh      [12]\n\
                    (001) jeq      #0x800           jt 2\tjf 5\n\
                    (002) ldh      [20]\n\
                    (003) jset     #0x1fff          jt 4\tjf 5\n\
                    (004) ret      #262144\n\
                    (005) ret      #0\n";
    assert_eq!(program.to_string(), expected);
}

#[test]
fn a_loop_is_reached_as_a_whole() {
    let program = compile("ip6 protochain 6", LinkType::ETHERNET).unwrap();
    let filter = translate(&[(LINK_ETHERNET, &program)]).unwrap();
    assert!(filter.has_loop);
    assert_eq!(filter.frame_bytes, 262_144);
    let backwards = program.instructions().iter().enumerate();
    let backwards = backwards
        .filter(|(index, instruction)| matches!(instruction, Instruction::Goto(to) if to <= index));
    let may_gotos = filter.instructions.iter();
    let may_gotos = may_gotos.filter(|instruction| instruction.code == code::MAY_GOTO);
    assert_eq!(backwards.count(), may_gotos.count());
    // Hop-by-hop options, then TCP.
    let mut frame = [0; 70];
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame[14] = 0x60;
    frame[54] = 6;
    assert!(program.matches(&frame, 70));
    frame[54] = 17;
    assert!(!program.matches(&frame, 70));
    assert!(!program.matches(&frame[..54], 70));
}

/// Any instruction but a return, for a place with `rest` instructions behind it.
fn instruction(rest: u8) -> impl Strategy<Value = RawInstruction> {
    const LOADS: [u16; 7] = [0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xb1];
    const ALU: [u16; 10] = [0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x94, 0xa4];
    const JUMPS: [u16; 4] = [0x15, 0x25, 0x35, 0x45];
    const OTHERS: [u16; 6] = [0x80, 0x81, 0x84, 0x07, 0x87, 0x00];
    let value = prop_oneof![0..80_u32, any::<u32>(), Just(u32::MAX), Just(0)];
    let skip = 0..rest.max(1);
    prop_oneof![
        6 => (prop::sample::select(&LOADS[..]), prop_oneof![9 => 0..90_u32, 1 => any::<u32>()])
            .prop_map(|(code, k)| raw(code, 0, 0, k)),
        4 => (prop::sample::select(&ALU[..]), any::<bool>(), value.clone()).prop_map(
            |(code, by_x, k)| {
                let k = if matches!(code, 0x64 | 0x74) { k % 32 } else { k.max(1) };
                raw(code | if by_x { 0x08 } else { 0 }, 0, 0, k)
            }
        ),
        4 => (prop::sample::select(&JUMPS[..]), any::<bool>(), value.clone(), skip.clone(), skip.clone())
            .prop_map(|(code, by_x, k, jt, jf)| {
                raw(code | if by_x { 0x08 } else { 0 }, jt, jf, k)
            }),
        1 => skip.prop_map(|k| raw(0x05, 0, 0, u32::from(k))),
        2 => (prop::sample::select(&OTHERS[..]), value.clone()).prop_map(|(code, k)| raw(code, 0, 0, k)),
        2 => (prop::sample::select(&[0x60_u16, 0x61, 0x02, 0x03][..]), 0..16_u32)
            .prop_map(|(code, k)| raw(code, 0, 0, k)),
    ]
}

prop_compose! {
    /// A valid program that writes all of scratch memory before anything else: libpcap leaves in it
    /// what happens to be there.
    fn program()(len in 1..40_u8)(
        body in (0..len).map(move |index| instruction(len - index)).collect::<Vec<_>>(),
        memory in any::<u32>(),
        end in prop_oneof![Just(raw(0x16, 0, 0, 0)), Just(raw(0x06, 0, 0, 1))],
    ) -> Vec<RawInstruction> {
        let mut program = vec![raw(0x00, 0, 0, memory)];
        program.extend((0..16).map(|word| raw(0x02, 0, 0, word)));
        program.extend(body);
        program.extend([end, raw(0x06, 0, 0, 0)]);
        program
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn random_programs_say_the_same_in_all_ways(
        program in program(),
        frames in vec((vec(any::<u8>(), 0..100), any::<u16>()), 4),
    ) {
        for (frame, wire_len) in frames {
            verdict(&program, &frame, u32::from(wire_len));
        }
    }

    #[test]
    fn any_instructions_are_refused_or_run(
        raw_program in vec((any::<u16>(), any::<u8>(), any::<u8>(), any::<u32>()), 0..12),
        frame in vec(any::<u8>(), 0..40),
    ) {
        let raw_program: Vec<_> = raw_program
            .into_iter()
            .map(|(code, jt, jf, k)| raw(code & 0xff, jt % 8, jf % 8, k % 64))
            .chain([raw(0x06, 0, 0, 1)])
            .collect();
        if let Ok(program) = Program::new(&raw_program) {
            let filter = translate(&[(LINK_ETHERNET, &program)]).unwrap();
            prop_assert_eq!(
                program.matches(&frame, 40),
                interpret(&filter, LINK_ETHERNET, &frame, 40)
            );
        }
    }
}
