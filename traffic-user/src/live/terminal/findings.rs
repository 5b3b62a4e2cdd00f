//! What was found, in the place of the tables.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span, Text},
    widgets::{Paragraph, Wrap},
};

use super::screen::Screen;
use crate::report::{
    Finding, Report, Severity,
    number::{counted, printable},
};

/// Draws the findings, the worst first, that have the text of the filter.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen, report: &Report, area: Rect) {
    let wanted = screen.filter.to_lowercase();
    let shown = report
        .findings
        .iter()
        .filter(|finding| finding.summary.to_lowercase().contains(&wanted));
    let mut lines = vec![Line::styled("Findings", screen.style.title())];
    lines.extend(shown.flat_map(|finding| both_lines(screen, finding)));
    if report.findings.is_empty() {
        lines.push(Line::raw("none so far"));
    }
    if let Some(note) = &report.findings_note {
        lines.push(Line::styled(note.clone(), screen.style.faint()));
    }
    let text = Paragraph::new(Text::from(lines)).wrap(Wrap { trim: false });
    frame.render_widget(text, area);
}

fn both_lines(screen: &Screen, finding: &Finding) -> [Line<'static>; 2] {
    let style = match finding.severity {
        Severity::Alert | Severity::Warning => screen.style.alarm(),
        Severity::Notice => screen.style.title(),
    };
    [
        Line::from(vec![
            Span::styled(format!(" {} ", finding.severity.label()), style),
            Span::raw(format!(" {}", printable(&finding.summary))),
        ]),
        Line::styled(
            format!("          filter: {}", printable(&finding.filter)),
            screen.style.faint(),
        ),
    ]
}

/// How many there are, for the head of the screen; nothing without findings.
pub(super) fn number(screen: &Screen, report: &Report) -> Option<Span<'static>> {
    let text = match report.findings.len() {
        0 => return None,
        found => format!(" {} ", counted(found as u64, "finding")),
    };
    let is_grave = |finding: &Finding| finding.severity > Severity::Notice;
    Some(if report.findings.iter().any(is_grave) {
        Span::styled(text, screen.style.alarm())
    } else {
        Span::styled(text, screen.style.title())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ratatui::{Terminal, backend::TestBackend};

    use super::super::{draw::draw, screen::Tables, style::Style};
    use super::*;
    use crate::live::view::tests::example;

    #[test]
    fn findings_are_numbered_in_the_head_and_told_in_their_page() {
        let mut live = example();
        live.report.findings = vec![Finding {
            kind: "syn_scan".to_owned(),
            severity: Severity::Warning,
            summary: "10.0.0.9 tried 200 ports\u{1b}[2J".to_owned(),
            addresses: vec!["10.0.0.9".to_owned()],
            first: "2026-03-01T12:00:00.000000000Z".to_owned(),
            last: "2026-03-01T12:00:01.000000000Z".to_owned(),
            packets: 200,
            numbers: std::collections::BTreeMap::new(),
            filter: "src host 10.0.0.9".to_owned(),
        }];
        let mut screen = Screen::new(Style::PLAIN);
        screen.show(Some(Arc::new(live)));
        assert!(shown(&screen).contains(" 1 finding "));
        screen.tables = Tables::Findings;
        let text = shown(&screen);
        assert!(
            text.contains(" warning  10.0.0.9 tried 200 ports\\u{1b}[2J"),
            "{text}"
        );
        assert!(text.contains("filter: src host 10.0.0.9"), "{text}");
    }

    fn shown(screen: &Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, screen)).unwrap();
        terminal.backend().to_string()
    }
}
