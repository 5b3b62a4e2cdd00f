//! Any bytes as DNS over UDP and TCP: the table stays printable, and counts no message twice.

use traffic_user::dns::DnsTable;

/// Takes a payload as a datagram, and as a segment.
pub(crate) fn check(payload: &[u8]) {
    let mut table = DnsTable::default();
    table.add_datagram(payload);
    assert!(messages(&table) <= 1);
    let mut table = DnsTable::default();
    table.add_segment(payload);
    // Two bytes of length, a header, a root name.
    assert!(messages(&table) <= payload.len() as u64 / 15 + 1);
}

fn messages(table: &DnsTable) -> u64 {
    let questions = table.top(usize::MAX);
    let counts = questions.iter().map(|question| {
        let text = [&question.name, &question.record_type];
        assert!(
            text.iter()
                .all(|text| text.bytes().all(|byte| byte.is_ascii_graphic())),
            "{question:?}"
        );
        let answers = question.answers.iter().map(|(_, count)| count);
        question.queries + answers.sum::<u64>()
    });
    counts.sum::<u64>() + table.other()
}
