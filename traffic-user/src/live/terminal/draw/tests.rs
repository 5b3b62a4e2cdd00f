use std::{env, fs, sync::Arc};

use ratatui::{Terminal, backend::TestBackend, buffer::Buffer, style::Color};

use super::*;
use crate::live::{terminal::style::Style, view::tests::example};

/// Compares with the screens beside this file; `TRAFFIC_BLESS=1` writes them anew.
#[test]
fn screens_are_as_they_were() {
    for (style, name) in [(Style::COLOURS, "colours"), (Style::PLAIN, "plain")] {
        for (width, height) in [(80, 24), (120, 40)] {
            let screen = text(&render(&screen(style), width, height));
            let file = format!(
                "{}/src/live/terminal/golden/{name}-{width}x{height}.txt",
                env!("CARGO_MANIFEST_DIR")
            );
            if env::var_os("TRAFFIC_BLESS").is_some() {
                fs::write(&file, &screen).unwrap();
            }
            let expected = fs::read_to_string(&file).unwrap();
            assert!(screen == expected, "{file}\n{expected}\nis now\n{screen}");
        }
    }
}

#[test]
fn without_colours_there_are_none() {
    let buffer = render(&screen(Style::PLAIN), 100, 30);
    let plain = |cell: &ratatui::buffer::Cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset);
    assert!(buffer.content().iter().all(plain));
    let buffer = render(&screen(Style::COLOURS), 100, 30);
    assert!(!buffer.content().iter().all(plain));
}

#[test]
fn every_size_of_terminal_is_drawn() {
    let mut screen = screen(Style::COLOURS);
    for is_help in [false, true] {
        screen.is_help = is_help;
        for width in [1, 39, 40, 41, 79, 200] {
            for height in [1, 2, 11, 12, 13, 16, 60] {
                render(&screen, width, height);
            }
        }
    }
}

#[test]
fn a_filter_leaves_rows_out_and_says_so() {
    let mut screen = screen(Style::PLAIN);
    screen.filter = "tcp".to_owned();
    let shown = text(&render(&screen, 100, 30));
    assert!(shown.contains("/ filter (tcp)"));
    assert!(shown.contains("no row has this text"));
    assert!(!shown.contains("\nudp"), "{shown}");
}

#[test]
fn names_cannot_steer_the_terminal() {
    let mut live = example();
    live.report.interfaces[0].name = "\u{1b}[31mred".to_owned();
    let mut screen = Screen::new(Style::PLAIN);
    screen.show(Some(Arc::new(live)));
    let shown = text(&render(&screen, 80, 24));
    assert!(!shown.contains('\u{1b}') && shown.contains("u{1b}"));
}

fn screen(style: Style) -> Screen {
    let mut screen = Screen::new(style);
    screen.show(Some(Arc::new(example())));
    screen
}

fn render(screen: &Screen, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen)).unwrap();
    terminal.backend().buffer().clone()
}

/// The characters, and behind every line its colours: how often each pair occurs in a row.
fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let lines = buffer.content().chunks(width).map(|cells| {
        let symbols: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        let mut runs: Vec<(String, usize)> = Vec::new();
        for cell in cells {
            let look = format!("{:?}/{:?}/{:?}", cell.fg, cell.bg, cell.modifier);
            match runs.last_mut() {
                Some((last, times)) if *last == look => *times += 1,
                _ => runs.push((look, 1)),
            }
        }
        let runs: Vec<String> = runs
            .iter()
            .filter(|(look, _)| look != "Reset/Reset/NONE")
            .map(|(look, times)| format!(" {times}×{look}"))
            .collect();
        format!("{symbols}|{}\n", runs.concat())
    });
    lines.collect()
}
