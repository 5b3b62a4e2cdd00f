//! A packet's bytes below its line.

use super::put;

/// Which bytes are shown, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpStyle {
    /// 0 = no, 1 = from the network header, 2 and more = from the link header: `-x`, `-xx`.
    pub hex: u8,
    /// With text beside, as `hex`: `-X`, `-XX`.
    pub hex_and_text: u8,
    /// As text, from the network header: `-A`; from the link header: `-AA`.
    pub text: u8,
}

/// A packet's bytes.
pub(super) struct Dump<'a> {
    /// From the link header.
    pub(super) frame: &'a [u8],
    /// From the network header.
    pub(super) network: &'a [u8],
}

/// Bytes of a line.
const LINE_BYTES: usize = 16;
/// Columns of their hexadecimal digits, in groups of two bytes.
const HEX_COLUMNS: usize = 40;

impl Dump<'_> {
    pub(super) fn put(&self, style: DumpStyle, out: &mut String) {
        if style.hex_and_text > 0 {
            put_hex(self.bytes(style.hex_and_text), true, out);
        } else if style.hex > 0 {
            put_hex(self.bytes(style.hex), false, out);
        } else if style.text > 0 {
            put_text(self.bytes(style.text), out);
        }
    }

    fn bytes(&self, count: u8) -> &[u8] {
        if count > 1 { self.frame } else { self.network }
    }
}

fn put_hex(bytes: &[u8], with_text: bool, out: &mut String) {
    for (number, line) in bytes.chunks(LINE_BYTES).enumerate() {
        put!(out, "\t0x{:04x}: ", number * LINE_BYTES);
        let begin = out.len();
        for pair in line.chunks(2) {
            out.push(' ');
            for byte in pair {
                put!(out, "{byte:02x}");
            }
        }
        if with_text {
            let columns = out.len() - begin;
            put!(out, "{:1$}", "", HEX_COLUMNS.saturating_sub(columns) + 2);
            let shown = |byte: &u8| if byte.is_ascii_graphic() { *byte } else { b'.' };
            out.extend(line.iter().map(|byte| char::from(shown(byte))));
        }
        out.push('\n');
    }
}

/// White space stays, a carriage return before a line feed is left out.
fn put_text(bytes: &[u8], out: &mut String) {
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\r' if bytes.get(index + 1) == Some(&b'\n') => {}
            b'\t' | b' ' | b'\n' => out.push(char::from(byte)),
            _ if byte.is_ascii_graphic() => out.push(char::from(byte)),
            _ => out.push('.'),
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stand_in_groups_of_two() {
        let bytes: Vec<u8> = (0x30..0x43).collect();
        let shown = |style| {
            let dump = Dump {
                frame: &bytes,
                network: &bytes[16..],
            };
            let mut out = String::new();
            dump.put(style, &mut out);
            out
        };
        let style = DumpStyle::default();
        assert_eq!(shown(style), "");
        assert_eq!(shown(DumpStyle { hex: 1, ..style }), "\t0x0000:  4041 42\n");
        assert_eq!(
            shown(DumpStyle {
                hex_and_text: 2,
                ..style
            }),
            "\t0x0000:  3031 3233 3435 3637 3839 3a3b 3c3d 3e3f  0123456789:;<=>?\n\
             \t0x0010:  4041 42                                  @AB\n"
        );
        assert_eq!(shown(DumpStyle { text: 1, ..style }), "@AB\n");
    }
}
