//! The screen, top to bottom.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    text::{Line, Span, Text},
    widgets::{Block, Clear, Paragraph, Sparkline},
};

use super::{
    super::{scroll::Columns, view::LiveReport},
    findings,
    histogram::Histogram,
    screen::{Row, Screen, Sort, Tables},
};
use crate::report::{
    Report, Source,
    number::{bits_per_second, bytes, clock, count, counted, per_second, percent, printable},
    verdict::{self, Completeness},
};

const HELP: &str = "\
p, space   pause, go on
w          window of the charts: 30 s, 2 min, 10 min, whole run
s          order of the tables: packets, bytes, name
/          show only rows with a text; Esc shows all again
Tab        other tables: sources and conversations,
           destinations and ports, flows (--flows), findings
S          save the report as it is now: page and JSON
?, h       this help
q, Ctrl-C  end the capture and print its report";
const HELP_SIZE: (u16, u16) = (66, 11);
/// Below this a table has no room for all its columns.
const NARROW: usize = 40;
/// Below this the screen has no room for what it is to show.
const SMALLEST: (u16, u16) = (40, 12);

/// Draws the screen.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let area = frame.area();
    let Some(live) = screen.live.as_deref() else {
        frame.render_widget(Paragraph::new("waiting for the first packets…"), area);
        return;
    };
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        small(frame, live);
        return;
    }
    let [head, charts, tables, ledger, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(4),
        Constraint::Length(1),
    ])
    .areas(area);
    header(frame, screen, live, head);
    draw_charts(frame, screen, live, charts);
    draw_tables(frame, screen, &live.report, tables);
    draw_ledger(frame, screen, live, ledger);
    footer(frame, screen, foot);
    if screen.is_help {
        help(frame, screen);
    }
}

/// A terminal that is too small shows the numbers alone.
fn small(frame: &mut Frame<'_>, live: &LiveReport) {
    let (pps, bps) = live.rates();
    let lines = [
        counted(live.report.totals.packets, "packet"),
        per_second(pps),
        bits_per_second(bps),
        format!("{} lost", count(lost(&live.report))),
    ];
    frame.render_widget(Paragraph::new(lines.join("\n")), frame.area());
}

fn header(frame: &mut Frame<'_>, screen: &Screen, live: &LiveReport, area: Rect) {
    let style = screen.style;
    let report = &live.report;
    let mut names: Vec<String> = report
        .interfaces
        .iter()
        .map(|row| printable(&row.name))
        .collect();
    if let Source::Capture { filter, .. } = &report.source
        && !filter.is_empty()
    {
        names.push(format!("[{}]", printable(filter)));
    }
    let mut first = vec![
        Span::styled("traffic ", style.title()),
        Span::raw(names.join(" ")),
    ];
    if screen.is_paused {
        first.push(Span::raw("  "));
        first.push(Span::styled(" paused ", style.alarm()));
    }
    let (pps, bps) = live.rates();
    let second = Line::from(
        [
            Span::styled(count(report.totals.packets), style.title()),
            Span::raw(match report.totals.packets {
                1 => " packet  ",
                _ => " packets  ",
            }),
            Span::styled(bytes(report.totals.bytes), style.title()),
            Span::raw("  now "),
            Span::styled(per_second(pps), style.title()),
            Span::raw("  "),
            Span::styled(bits_per_second(bps), style.title()),
            Span::raw("  "),
            lost_span(screen, report),
        ]
        .into_iter()
        .chain([Span::raw("  ")])
        .chain(findings::number(screen, report))
        .collect::<Vec<_>>(),
    );
    let clock = clock_line(live);
    let [left, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width(&clock))])
            .areas(Rect { height: 1, ..area });
    frame.render_widget(Line::from(first), left);
    frame.render_widget(Line::from(clock).alignment(Alignment::Right), right);
    frame.render_widget(second, line_of(area, 1));
}

fn lost_span(screen: &Screen, report: &Report) -> Span<'static> {
    match lost(report) {
        0 => Span::styled("nothing lost", screen.style.good()),
        lost => Span::styled(format!(" {} lost ", count(lost)), screen.style.alarm()),
    }
}

/// Summaries, frames and excerpts that are missing.
fn lost(report: &Report) -> u64 {
    let ledger = &report.ledger;
    let frames = &ledger.frames_lost;
    ledger.summaries_lost.unwrap_or(0)
        + frames.ring_full
        + frames.write_failed
        + ledger.excerpts_lost
}

/// `01:05 of 05:00, 03:55 left`.
fn clock_line(live: &LiveReport) -> String {
    let elapsed = Duration::try_from_secs_f64(live.report.duration_s).unwrap_or_default();
    match live.planned {
        None => clock(elapsed),
        Some(planned) => {
            // Both count whole seconds, so that they add up.
            let elapsed = Duration::from_secs(elapsed.as_secs());
            let left = clock(planned.saturating_sub(elapsed));
            format!("{} of {}, {left} left", clock(elapsed), clock(planned))
        }
    }
}

fn draw_charts(frame: &mut Frame<'_>, screen: &Screen, live: &LiveReport, area: Rect) {
    const AXIS: u16 = 9;
    let spark_height = (area.height / 5).clamp(1, 3);
    let [title, spark, legend, stack] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(spark_height),
        Constraint::Length(1),
        Constraint::Fill(1),
    ])
    .areas(area);
    let right = |area: Rect| Rect {
        x: area.x + AXIS,
        width: area.width.saturating_sub(AXIS),
        ..area
    };
    let columns = Columns::new(live, screen.window, usize::from(right(stack).width));
    let most_bps = columns.bps.iter().copied().fold(0.0, f64::max);
    let label = format!("bits/s, {}", screen.window.label());
    frame.render_widget(Span::styled(label, screen.style.title()), title);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates are not below 0 and far below 2^64"
    )]
    let data: Vec<u64> = columns.bps.iter().map(|bps| *bps as u64).collect();
    let sparkline = Sparkline::default().data(&data).style(screen.style.bar());
    frame.render_widget(sparkline, right(spark));
    axis(frame, screen, line_of(spark, 0), AXIS, most_bps);

    frame.render_widget(legend_line(screen, &columns), legend);
    let most = (0..columns.bps.len())
        .map(|column| columns.total(column))
        .fold(0.0, f64::max);
    axis(frame, screen, line_of(stack, 0), AXIS, most);
    axis(
        frame,
        screen,
        line_of(stack, stack.height / 2),
        AXIS,
        most / 2.0,
    );
    let histogram = Histogram {
        columns: &columns,
        style: screen.style,
        top: most.max(f64::MIN_POSITIVE),
    };
    frame.render_widget(histogram, right(stack));
}

/// What a height stands for, at the left edge.
fn axis(frame: &mut Frame<'_>, screen: &Screen, area: Rect, width: u16, value: f64) {
    let label = format!("{} ", short(value));
    let line = Line::styled(label, screen.style.faint()).alignment(Alignment::Right);
    frame.render_widget(
        line,
        Rect {
            width: width.min(area.width),
            ..area
        },
    );
}

/// `12.3 k`, for axes.
fn short(value: f64) -> String {
    let text = bits_per_second(value);
    text.trim_end_matches("bit/s").trim_end().to_owned()
}

fn legend_line(screen: &Screen, columns: &Columns) -> Line<'static> {
    let sum = |values: &[f64]| values.iter().sum::<f64>();
    let all: f64 = columns.layers.iter().map(|layer| sum(&layer.pps)).sum();
    let mut spans = vec![Span::styled("packets/s  ", screen.style.title())];
    for (rank, layer) in columns.layers.iter().enumerate() {
        let glyph = screen.style.glyph(rank).to_string();
        spans.push(Span::styled(glyph, screen.style.layer(layer.colour)));
        let share = match 100.0 * sum(&layer.pps) / all {
            share if share > 0.0 && share < 0.5 => "<1".to_owned(),
            share => format!("{share:.0}"),
        };
        let name = printable(&layer.name);
        spans.push(Span::raw(format!(" {name} {share} %  ")));
    }
    Line::from(spans)
}

fn draw_tables(frame: &mut Frame<'_>, screen: &Screen, report: &Report, area: Rect) {
    let pair = match screen.tables {
        Tables::SourcesAndConversations => [
            ("Sources", &report.sources),
            ("Conversations", &report.conversations),
        ],
        Tables::DestinationsAndPorts | Tables::Flows => [
            ("Destinations", &report.destinations),
            ("Ports", &report.ports),
        ],
        Tables::Findings => return findings::draw(frame, screen, report, area),
    };
    let [left, gap_and_right] =
        Layout::horizontal([Constraint::Percentage(35), Constraint::Fill(1)]).areas(area);
    let right = Rect {
        x: gap_and_right.x + 2,
        width: gap_and_right.width.saturating_sub(2),
        ..gap_and_right
    };
    let all = report.totals.packets;
    let protocols = report.protocols.iter().map(|row| Row {
        name: row.name.clone(),
        packets: row.packets,
        bytes: row.bytes,
    });
    table(
        frame,
        screen,
        "Protocols",
        screen.rows(protocols),
        all,
        left,
    );
    if let (Tables::Flows, Some(flows)) = (screen.tables, &report.flows) {
        let title = format!("Flows ({} live)", count(flows.live));
        let rows = screen.rows(flows.rows.iter().map(Row::from));
        return table(frame, screen, &title, rows, all, right);
    }
    let [upper, lower] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(right);
    for ((title, rows), area) in pair.into_iter().zip([upper, lower]) {
        let rows = screen.rows(rows.iter().map(Row::from));
        table(frame, screen, title, rows, all, area);
    }
}

fn table(
    frame: &mut Frame<'_>,
    screen: &Screen,
    title: &str,
    rows: Vec<Row>,
    all: u64,
    area: Rect,
) {
    const PACKETS: usize = 11;
    const SHARE: usize = 7;
    const BYTES: usize = 8;
    let width = usize::from(area.width);
    // A narrow table has the numbers that it is sorted by.
    let (packets_width, bytes_width) = match (width < NARROW, screen.sort) {
        (false, _) => (PACKETS, BYTES),
        (true, Sort::Bytes) => (0, BYTES),
        (true, Sort::Packets | Sort::Name) => (PACKETS, 0),
    };
    let name_width = width.saturating_sub(packets_width + SHARE + bytes_width);
    let cell = |text: &str, width: usize| match width {
        0 => String::new(),
        _ => format!("{text:>width$}"),
    };
    let cells = |name: &str, packets: &str, share: &str, bytes: &str| {
        let name = shortened(name, name_width);
        let packets = cell(packets, packets_width);
        let bytes = cell(bytes, bytes_width);
        format!("{name:<name_width$}{packets}{share:>SHARE$}{bytes}")
    };
    let title = cells(title, "packets", "share", "bytes");
    let mut lines = vec![Line::styled(title, screen.style.title())];
    if rows.is_empty() && !screen.filter.is_empty() {
        lines.push(Line::styled("no row has this text", screen.style.faint()));
    }
    lines.extend(rows.into_iter().map(|row| {
        let share = percent(row.packets, all);
        let name = printable(&row.name);
        Line::raw(cells(&name, &count(row.packets), &share, &bytes(row.bytes)))
    }));
    frame.render_widget(Text::from(lines), area);
}

/// `text` in `width` columns, its middle left out where it is longer.
fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let head = width.saturating_sub(1).div_ceil(2);
    let tail = width.saturating_sub(1 + head);
    let begin: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{begin}…{end}")
}

fn draw_ledger(frame: &mut Frame<'_>, screen: &Screen, live: &LiveReport, area: Rect) {
    let report = &live.report;
    let ledger = &report.ledger;
    let verdict = verdict::of(report);
    let style = match verdict.completeness {
        Completeness::Lossy | Completeness::Unbalanced => screen.style.alarm(),
        Completeness::Complete | Completeness::Nothing => screen.style.good(),
    };
    let frames = &ledger.frames_lost;
    let summaries = |value: Option<u64>| value.map_or("–".to_owned(), count);
    let kept = format!(
        "seen {}  filtered out {}  counted {}  written {}",
        count(ledger.seen),
        count(ledger.filtered_out),
        count(ledger.matched),
        count(ledger.frames_written),
    );
    let lost = format!(
        "lost: summaries {}  frames: ring full {}, not written {}  excerpts {}",
        summaries(ledger.summaries_lost),
        count(frames.ring_full),
        count(frames.write_failed),
        count(ledger.excerpts_lost),
    );
    let lines = vec![
        Line::styled(verdict.sentences.join(" "), style),
        Line::raw(kept),
        Line::raw(lost),
        Line::styled(cost_line(live), screen.style.faint()),
    ];
    frame.render_widget(Text::from(lines), area);
}

/// Own cost.
fn cost_line(live: &LiveReport) -> String {
    let cost = &live.cost;
    let program = cost
        .ns_per_packet()
        .map_or_else(|| "–".to_owned(), |ns| format!("{ns:.0} ns"));
    format!(
        "own cost: {program} per packet  {:.0} % of a CPU  ring {} full  view {:.1} ms",
        cost.cpu_share * 100.0,
        percent(cost.ring_unread_bytes, cost.ring_bytes),
        cost.snapshot.as_secs_f64() * 1000.0,
    )
}

fn footer(frame: &mut Frame<'_>, screen: &Screen, area: Rect) {
    let line = if screen.is_typing {
        Line::raw(format!("show rows with: {}█", printable(&screen.filter)))
    } else if !screen.message.is_empty() {
        Line::styled(printable(&screen.message), screen.style.title())
    } else {
        let mut line = format!("p pause  w window  s by {}  / filter", screen.sort.label());
        if !screen.filter.is_empty() {
            line.push_str(" (");
            line.push_str(&printable(&screen.filter));
            line.push(')');
        }
        line.push_str("  Tab tables  S save  ? help  q quit");
        Line::styled(line, screen.style.faint())
    };
    frame.render_widget(line, area);
}

fn help(frame: &mut Frame<'_>, screen: &Screen) {
    let area = frame.area();
    let (width, height) = (HELP_SIZE.0.min(area.width), HELP_SIZE.1.min(area.height));
    let area = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(Span::styled(" Keys ", screen.style.title()));
    frame.render_widget(Paragraph::new(HELP).block(block), area);
}

/// One line of an area.
fn line_of(area: Rect, line: u16) -> Rect {
    Rect {
        y: area.y + line.min(area.height.saturating_sub(1)),
        height: area.height.min(1),
        ..area
    }
}

fn width(text: &str) -> u16 {
    u16::try_from(text.chars().count()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
