//! Tables and their cells as HTML.

use std::fmt::Write as _;

use super::{Escaped, not_known};
use crate::report::number::{bytes, count, percent};

/// A titled table.
pub(super) struct Table<'a> {
    pub(super) title: &'a str,
    /// Under the title; may be empty.
    pub(super) note: &'a str,
    /// Headings; empty where the column needs none.
    pub(super) columns: &'a [&'a str],
    /// As many cells each as there are columns.
    pub(super) rows: Vec<Vec<Cell>>,
}

/// What stands in a table.
pub(super) enum Cell {
    /// As it is.
    Text(String),
    /// An address or a name, in a fixed pitch.
    Code(String),
    /// An exact count.
    Count(u64),
    /// Shown with three digits; exact when pointed at.
    Bytes(u64),
    /// Part and whole.
    Share(u64, u64),
    /// Not known, and why.
    Unknown(&'static str),
    /// Already HTML.
    Markup(String),
}

impl Table<'_> {
    /// A table that the script makes sortable and searchable; nothing without rows.
    pub(super) fn card(&self) -> String {
        self.sortable("sortable")
    }

    /// As [`Table::card`], of counts that are never estimates.
    pub(super) fn exact_card(&self) -> String {
        self.sortable("sortable exact")
    }

    fn sortable(&self, class: &str) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        self.html(class, &self.headings())
    }

    /// A table whose order is its meaning.
    pub(super) fn plain(&self) -> String {
        self.html("plain", &self.plain_headings())
    }

    /// As [`Table::plain`], of numbers that are never estimates.
    pub(super) fn exact(&self) -> String {
        self.html("plain exact", &self.plain_headings())
    }

    fn plain_headings(&self) -> String {
        if self.columns.iter().all(|column| column.is_empty()) {
            String::new()
        } else {
            self.headings()
        }
    }

    fn headings(&self) -> String {
        let cells: String = self
            .columns
            .iter()
            .map(|column| match *column {
                "" => "<td></td>".to_owned(),
                "Packets" | "Packets back" | "Bytes" | "Bytes back" | "Frames" | "Queries"
                | "Messages" => {
                    format!("<th scope=\"col\" class=\"n\">{column}</th>")
                }
                _ => format!("<th scope=\"col\">{column}</th>"),
            })
            .collect();
        format!("<thead><tr>{cells}</tr></thead>\n")
    }

    fn html(&self, class: &str, headings: &str) -> String {
        let mut out = format!("<section class=\"card\"><h2>{}</h2>\n", self.title);
        if !self.note.is_empty() {
            let _ = writeln!(out, "<p class=\"note\">{}</p>", Escaped(self.note));
        }
        let _ = writeln!(
            out,
            "<div class=\"scroll\"><table class=\"{class}\">\n{headings}<tbody>"
        );
        for row in &self.rows {
            let cells: String = row.iter().map(Cell::html).collect();
            let _ = writeln!(out, "<tr>{cells}</tr>");
        }
        out.push_str("</tbody></table></div></section>\n");
        out
    }
}

impl Cell {
    fn html(&self) -> String {
        match self {
            Self::Text(text) => format!("<td><bdi>{}</bdi></td>", Escaped(text)),
            Self::Code(text) => format!("<td class=\"code\"><bdi>{}</bdi></td>", breakable(text)),
            Self::Count(n) => format!("<td class=\"n\" data-v=\"{n}\">{}</td>", count(*n)),
            Self::Bytes(n) => format!(
                "<td class=\"n\" data-v=\"{n}\" title=\"{} bytes\">{}</td>",
                count(*n),
                bytes(*n)
            ),
            Self::Share(part, whole) => share(*part, *whole),
            Self::Unknown(why) => format!("<td class=\"n\">{}</td>", Escaped(&not_known(why))),
            Self::Markup(html) => format!("<td>{html}</td>"),
        }
    }
}

/// Escaped, with places to break a line behind the dots of names and the colons of addresses;
/// IPv4 addresses stay whole.
fn breakable(text: &str) -> String {
    let escaped = Escaped(text).to_string();
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        let splits_number = rest.peek().is_none_or(char::is_ascii_digit);
        if c == ':' || (c == '.' && !splits_number) {
            out.push_str("<wbr>");
        }
    }
    out
}

/// A bar and its percentage.
#[expect(clippy::cast_precision_loss, reason = "a bar of a hundred steps")]
fn share(part: u64, whole: u64) -> String {
    let width = 100.0 * part as f64 / whole.max(1) as f64;
    format!(
        r#"<td class="share" data-v="{part}"><svg width="56" height="8" aria-hidden="true"><rect class="track" width="100%" height="8" rx="2"/><rect class="part" width="{width:.1}%" height="8" rx="2"/></svg><span>{}</span></td>"#,
        Escaped(&percent(part, whole))
    )
}
