//! Where tshark and the parser may differ, and why.
//!
//! A rule speaks of a protocol, never of a file. It excuses the fields that it names, in packets
//! that `applies` picks by their bytes and by what both sides said.

use crate::answer::{Answer, Field, Frame};

/// One accepted difference.
pub(crate) struct Rule {
    /// What differs.
    pub(crate) name: &'static str,
    /// Why both are right, or why tshark is not.
    pub(crate) reason: &'static str,
    /// A packet where it shows: file below the corpus, number of the frame.
    pub(crate) example: (&'static str, usize),
    /// What may differ.
    pub(crate) fields: &'static [Field],
    /// Whether it holds for a packet: the frame, our answer, tshark's answer.
    pub(crate) applies: fn(&Frame, &Answer, &Answer) -> bool,
}

/// All rules.
pub(crate) const RULES: &[Rule] = &[];
