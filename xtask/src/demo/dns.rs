//! As much of DNS (RFC 1035) as the demonstration speaks.

/// Length of the header.
const HEADER: usize = 12;
const TYPE_A: u16 = 1;
/// RFC 3596.
pub(super) const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
/// Names under it do not exist: RFC 6761.
const NO_SUCH_DOMAIN: &[u8] = b"\x07invalid\0";
const NXDOMAIN: u8 = 3;

/// The record types that [`answer`] has.
pub(super) const TYPES: [u16; 2] = [TYPE_A, TYPE_AAAA];

/// A recursive query for `name`, whose labels are shorter than 64 bytes.
pub(super) fn query(id: u16, name: &str, record_type: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    message.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).expect("labels are short"));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(record_type.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

/// The answer to a query with one question; `None` when it is not understood.
pub(super) fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let name_len = 1 + query.get(HEADER..)?.iter().position(|&byte| byte == 0)?;
    let question = query.get(HEADER..HEADER + name_len + 4)?;
    let (name, fields) = question.split_at(name_len);
    let address: &[u8] = match u16::from_be_bytes([fields[0], fields[1]]) {
        // Addresses for documentation: RFC 5737, RFC 3849.
        TYPE_A => &[192, 0, 2, 80],
        TYPE_AAAA => &[
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80,
        ],
        _ => return None,
    };
    let exists = !name.ends_with(NO_SUCH_DOMAIN);
    let code = if exists { 0 } else { NXDOMAIN };
    let mut message = query[..2].to_vec();
    // Response, recursion desired and available; one question; an answer where there is one.
    message.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(exists), 0, 0, 0, 0]);
    message.extend(question);
    if exists {
        // The name of the question, by its offset.
        message.extend([0xc0, 0x0c]);
        message.extend(fields);
        message.extend(300u32.to_be_bytes());
        message.extend([0, u8::try_from(address.len()).ok()?]);
        message.extend(address);
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_answered() {
        let query = query(0x1234, "a.example", TYPE_A);
        assert_eq!(
            query,
            b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01"
        );
        let mut expected = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0".to_vec();
        expected.extend(&query[HEADER..]);
        expected.extend(b"\xc0\x0c\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x50");
        assert_eq!(answer(&query), Some(expected));
    }

    #[test]
    fn a_name_that_does_not_exist_has_no_answer() {
        let query = query(1, "nothing.invalid", TYPE_AAAA);
        let answer = answer(&query).unwrap();
        assert_eq!(answer[3] & 0x0f, NXDOMAIN);
        assert_eq!(answer[HEADER..], query[HEADER..]);
    }

    #[test]
    fn cut_queries_are_not_understood() {
        let query = query(1, "a.example", TYPE_A);
        for len in 0..query.len() {
            assert_eq!(answer(&query[..len]), None);
        }
    }
}
