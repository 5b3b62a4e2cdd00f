//! What the user has chosen to see.

use std::sync::Arc;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{super::scroll::Window, style::Style};
use crate::{
    live::view::LiveReport,
    report::{AddressRow, flows::FlowRow},
};

/// The state of the view.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) style: Style,
    pub(super) live: Option<Arc<LiveReport>>,
    pub(super) is_paused: bool,
    pub(super) window: Window,
    pub(super) sort: Sort,
    pub(super) tables: Tables,
    pub(super) filter: String,
    /// Whether keys are part of the filter.
    pub(super) is_typing: bool,
    pub(super) is_help: bool,
    /// The last thing that was said.
    pub(super) message: String,
    last_note: String,
}

/// By what the rows of the tables are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Packets,
    Bytes,
    Name,
}

impl Sort {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Name => "name",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Packets => Self::Bytes,
            Self::Bytes => Self::Name,
            Self::Name => Self::Packets,
        }
    }
}

/// Which tables are shown beside the protocols, or the findings instead of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    SourcesAndConversations,
    DestinationsAndPorts,
    /// Only where flows were asked for.
    Flows,
    Findings,
}

/// What the screen asks for.
#[derive(Debug)]
pub(super) enum Action {
    Quit,
    Save(Arc<LiveReport>),
}

/// A row of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Screen {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            live: None,
            is_paused: false,
            window: Window::default(),
            sort: Sort::Packets,
            tables: Tables::SourcesAndConversations,
            filter: String::new(),
            is_typing: false,
            is_help: false,
            message: String::new(),
            last_note: String::new(),
        }
    }

    /// Takes the newest report, unless the user looks at an older one.
    pub(super) fn show(&mut self, live: Option<Arc<LiveReport>>) {
        if !self.is_paused {
            self.live = live.or(self.live.take());
        }
    }

    /// Shows a line that is an answer to the user.
    pub(super) fn say(&mut self, line: String) {
        self.message = line;
    }

    /// Shows a line that was said elsewhere, once.
    pub(super) fn note(&mut self, line: String) {
        if self.last_note != line {
            self.message.clone_from(&line);
            self.last_note = line;
        }
    }

    /// Follows a key.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(Action::Quit);
        }
        if self.is_typing {
            self.type_filter(key.code);
            return None;
        }
        self.message.clear();
        self.choose(key.code)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other keys do nothing")]
    fn choose(&mut self, key: KeyCode) -> Option<Action> {
        match key {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Char('S') => return self.live.clone().map(Action::Save),
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('w') => self.window = self.window.next(),
            KeyCode::Char('?' | 'h') => self.is_help = !self.is_help,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Esc if self.is_help => self.is_help = false,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab => {
                self.tables = match self.tables {
                    Tables::SourcesAndConversations => Tables::DestinationsAndPorts,
                    Tables::DestinationsAndPorts if self.has_flows() => Tables::Flows,
                    Tables::DestinationsAndPorts | Tables::Flows => Tables::Findings,
                    Tables::Findings => Tables::SourcesAndConversations,
                }
            }
            _ => {}
        }
        None
    }

    fn has_flows(&self) -> bool {
        let live = self.live.as_ref();
        live.is_some_and(|live| live.report.flows.is_some())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "other keys do nothing")]
    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) => self.filter.push(c),
            _ => {}
        }
    }

    /// Rows that pass the filter, in the order that was chosen.
    pub(super) fn rows(&self, rows: impl Iterator<Item = Row>) -> Vec<Row> {
        let wanted = self.filter.to_lowercase();
        let mut rows: Vec<Row> = rows
            .filter(|row| row.name.to_lowercase().contains(&wanted))
            .collect();
        match self.sort {
            Sort::Packets => rows.sort_by_key(|row| std::cmp::Reverse(row.packets)),
            Sort::Bytes => rows.sort_by_key(|row| std::cmp::Reverse(row.bytes)),
            Sort::Name => rows.sort_by(|a, b| a.name.cmp(&b.name)),
        }
        rows
    }
}

impl From<&FlowRow> for Row {
    fn from(row: &FlowRow) -> Self {
        Self {
            name: format!("{} {}", row.protocol, row.ends()),
            packets: row.packets,
            bytes: row.bytes,
        }
    }
}

impl From<&AddressRow> for Row {
    fn from(row: &AddressRow) -> Self {
        Self {
            name: row.address.clone(),
            packets: row.packets,
            bytes: row.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_change_what_is_shown() {
        let mut screen = Screen::new(Style::PLAIN);
        press(&mut screen, "pwws");
        assert!(screen.is_paused);
        assert_eq!(
            (screen.window, screen.sort),
            (Window::TenMinutes, Sort::Bytes)
        );
        press(&mut screen, " ?");
        assert!(!screen.is_paused && screen.is_help);
        screen.key(KeyCode::Esc.into());
        assert!(!screen.is_help);
    }

    #[test]
    fn a_filter_is_typed_and_its_letters_are_no_commands() {
        let mut screen = Screen::new(Style::PLAIN);
        press(&mut screen, "/q.1x");
        screen.key(KeyCode::Backspace.into());
        screen.key(KeyCode::Enter.into());
        assert_eq!(screen.filter, "q.1");
        screen.key(KeyCode::Esc.into());
        assert_eq!(screen.filter, "");
    }

    #[test]
    fn rows_are_filtered_and_sorted() {
        let mut screen = Screen::new(Style::PLAIN);
        let row = |name: &str, packets, bytes| Row {
            name: name.to_owned(),
            packets,
            bytes,
        };
        let rows = [row("b", 1, 9), row("A", 3, 1), row("ab", 2, 5)];
        let names = |screen: &Screen| -> Vec<String> {
            let rows = screen.rows(rows.iter().cloned());
            rows.into_iter().map(|row| row.name).collect()
        };
        assert_eq!(names(&screen), ["A", "ab", "b"]);
        press(&mut screen, "s");
        assert_eq!(names(&screen), ["b", "ab", "A"]);
        press(&mut screen, "s/a");
        assert_eq!(names(&screen), ["A", "ab"]);
    }

    #[test]
    fn control_c_quits_even_while_typing() {
        let mut screen = Screen::new(Style::PLAIN);
        press(&mut screen, "/");
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(matches!(screen.key(key), Some(Action::Quit)));
        assert!(screen.key(KeyCode::Char('q').into()).is_none());
    }

    fn press(screen: &mut Screen, keys: &str) {
        for key in keys.chars() {
            screen.key(KeyCode::Char(key).into());
        }
    }
}
