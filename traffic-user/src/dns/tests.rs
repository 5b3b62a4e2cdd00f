use proptest::prelude::*;

use super::*;

const QUERY: u8 = 0x01;
const ANSWER: u8 = 0x81;

#[test]
fn queries_and_answers_are_counted_by_name_and_type() {
    let mut table = DnsTable::default();
    table.add_datagram(&message(QUERY, 0x20, b"\x03wWw\x07Example\x03com\0", 1));
    table.add_datagram(&message(ANSWER, 0x80, b"\x03www\x07example\x03com\0", 1));
    table.add_datagram(&message(ANSWER, 0x83, b"\x03www\x07example\x03com\0", 1));
    table.add_datagram(&message(QUERY, 0, b"\0", 65));
    table.add_datagram(&message(QUERY, 0, b"\0", 65));
    table.add_datagram(&message(QUERY, 0, b"\0", 4711));
    let answers = [("NOERROR", 1), ("NXDOMAIN", 1)].map(|(code, n)| (code.to_owned(), n));
    let expected = [
        question(".", "HTTPS", 2, &[]),
        question("www.example.com", "A", 1, &answers),
        question(".", "TYPE4711", 1, &[]),
    ];
    assert_eq!(table.top(10), expected);
    let types = [("A", 1), ("HTTPS", 2), ("TYPE4711", 1)];
    assert_eq!(
        table.record_types(),
        types.map(|(name, n)| (name.to_owned(), n)).into()
    );
    let codes = [("NOERROR", 1), ("NXDOMAIN", 1)];
    assert_eq!(
        table.response_codes(),
        codes.map(|(name, n)| (name.to_owned(), n)).into()
    );
    assert_eq!(table.top(1), expected[..1]);
}

#[test]
fn a_cut_message_still_gives_its_name() {
    let whole = message(QUERY, 0, b"\x02ab\0", 28);
    for (len, record_type) in [
        (20, "AAAA"),
        (19, "AAAA"),
        (18, "AAAA"),
        (17, "?"),
        (16, "?"),
    ] {
        let mut table = DnsTable::default();
        table.add_datagram(&whole[..len]);
        assert_eq!(table.top(9), [question("ab", record_type, 1, &[])], "{len}");
    }
    let mut table = DnsTable::default();
    table.add_datagram(&whole[..15]);
    assert!(table.top(9).is_empty());
}

#[test]
fn names_have_no_control_characters() {
    let mut table = DnsTable::default();
    table.add_datagram(&message(QUERY, 0, b"\x07a.b\\\x1b \xff\x03<b>\0", 1));
    assert_eq!(table.top(1)[0].name, r"a\.b\\\027\032\255.<b>");
}

#[test]
fn a_segment_may_hold_several_messages_and_the_start_of_one() {
    let mut segment = Vec::new();
    for name in [&b"\x01a\0"[..], b"\x01b\0", b"\x01c\0"] {
        let message = message(QUERY, 0, name, 1);
        segment.extend_from_slice(&u16::try_from(message.len()).unwrap().to_be_bytes());
        segment.extend_from_slice(&message);
    }
    let mut table = DnsTable::default();
    table.add_segment(&segment[..segment.len() - 4]);
    let names: Vec<_> = table
        .top(9)
        .into_iter()
        .map(|q| (q.name, q.record_type))
        .collect();
    let name = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
    assert_eq!(names, [name("a", "A"), name("b", "A"), name("c", "?")]);
}

#[test]
fn what_is_no_standard_query_is_ignored() {
    let mut table = DnsTable::default();
    let good = message(QUERY, 0, b"\x01a\0", 1);
    let with = |position: usize, byte: u8| {
        let mut message = good.clone();
        message[position] = byte;
        message
    };
    // An update, a set reserved bit, no question, two, a pointer for a name, class 0.
    for bad in [
        with(2, 0x28),
        with(3, 0x40),
        with(5, 0),
        with(5, 2),
        with(12, 0xc0),
        with(18, 0),
    ] {
        table.add_datagram(&bad);
    }
    // Padding behind an empty segment.
    table.add_segment(&[0; 6]);
    assert!(table.top(9).is_empty());
}

#[test]
fn a_name_ends_at_255_bytes() {
    let label = [&[63][..], &[b'x'; 63]].concat();
    let longest = [&label[..], &label, &label, &[61], &[b'y'; 61], &[0]].concat();
    assert_eq!(name_len(&longest), Some(255));
    let longer = [&label[..], &label, &label, &[62], &[b'y'; 62], &[0]].concat();
    assert_eq!(name_len(&longer), None);
}

#[test]
fn names_beyond_the_bound_are_counted_together() {
    let mut table = DnsTable::default();
    for record_type in 0..10_003 {
        table.add_datagram(&message(QUERY, 0, b"\x01a\0", record_type));
        table.add_datagram(&message(QUERY, 0, b"\x01a\0", 0));
    }
    assert_eq!(table.other(), 3);
    assert_eq!(table.top(usize::MAX).len(), MAX_QUESTIONS);
    assert_eq!(table.top(1)[0].queries, 10_004);
}

proptest! {
    #[test]
    fn any_bytes_are_survived_and_shown_in_printable_ascii(
        payload in prop::collection::vec(any::<u8>(), 0..600),
        flags in any::<[u8; 2]>(),
    ) {
        let mut table = DnsTable::default();
        table.add_segment(&payload);
        table.add_datagram(&payload);
        table.add_datagram(&[&[0, 0, flags[0] & 0x87, flags[1] & 0xbf, 0, 1, 0, 0, 0, 0, 0, 0][..], &payload].concat());
        for question in table.top(usize::MAX) {
            prop_assert!(question.name.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
            prop_assert!(question.name.len() <= 4 * MAX_NAME_BYTES);
        }
    }

    /// simple-dns reads what it knows the same way.
    #[test]
    fn another_parser_agrees(
        labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..8),
        record_type in prop::sample::select(vec![1u16, 16, 28, 33, 65, 255]),
    ) {
        let labels: Vec<_> = labels.into_iter().map(simple_dns::Label::new_unchecked).collect();
        let name = simple_dns::Name::new_with_labels(&labels);
        let mut packet = simple_dns::Packet::new_query(7);
        packet.questions.push(simple_dns::Question::new(
            name.clone(),
            record_type.try_into().unwrap(),
            simple_dns::CLASS::IN.into(),
            false,
        ));
        let mut table = DnsTable::default();
        table.add_datagram(&packet.build_bytes_vec().unwrap());
        let top = table.top(1);
        let shown = simple_dns::Name::new(&top[0].name).unwrap();
        let lower = name.as_bytes().map(<[u8]>::to_ascii_lowercase).collect::<Vec<_>>();
        prop_assert_eq!(shown.as_bytes().collect::<Vec<_>>(), lower);
    }
}

fn message(flags: u8, code: u8, name: &[u8], record_type: u16) -> Vec<u8> {
    let header = [0x12, 0x34, flags, code, 0, 1, 0, 0, 0, 0, 0, 0];
    [&header, name, &record_type.to_be_bytes(), &[0, 1]].concat()
}

fn question(name: &str, kind: &str, queries: u64, answers: &[(String, u64)]) -> Question {
    Question {
        name: name.to_owned(),
        record_type: kind.to_owned(),
        queries,
        answers: answers.to_vec(),
    }
}
