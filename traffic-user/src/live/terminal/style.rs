//! Colours, and what stands for them where there are none.

use std::env;

use ratatui::style::{Color, Modifier, Style as Painted};

use crate::report::series::Colour;

/// Cells of layers without colours, the most frequent first.
const GLYPHS: [char; 8] = ['█', '▒', '░', '#', '+', '=', '-', '.'];

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    colours: bool,
}

impl Style {
    pub(super) const COLOURS: Self = Self { colours: true };
    pub(super) const PLAIN: Self = Self { colours: false };

    /// No colours with `NO_COLOR` (<https://no-color.org>) or on a terminal that is dumb.
    pub(super) fn of_environment() -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        if is_set("NO_COLOR") || env::var_os("TERM").is_some_and(|term| term == "dumb") {
            Self::PLAIN
        } else {
            Self::COLOURS
        }
    }

    pub(super) fn has_colours(self) -> bool {
        self.colours
    }

    /// The character of a layer, by its rank.
    pub(super) fn glyph(self, rank: usize) -> char {
        if self.colours {
            GLYPHS[0]
        } else {
            GLYPHS[rank.min(GLYPHS.len() - 1)]
        }
    }

    pub(super) fn layer(self, colour: Colour) -> Painted {
        self.foreground(indexed(colour))
    }

    pub(super) fn layer_on(self, colour: Colour, below: Colour) -> Painted {
        if self.colours {
            self.layer(colour).bg(indexed(below))
        } else {
            Painted::new()
        }
    }

    #[expect(
        clippy::unused_self,
        reason = "bold in every style, asked for like the others"
    )]
    pub(super) fn title(self) -> Painted {
        Painted::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn faint(self) -> Painted {
        if self.colours {
            self.foreground(Color::Indexed(245))
        } else {
            Painted::new()
        }
    }

    /// What must not be overlooked.
    pub(super) fn alarm(self) -> Painted {
        if self.colours {
            Painted::new()
                .fg(Color::Indexed(231))
                .bg(Color::Indexed(160))
        } else {
            Painted::new().add_modifier(Modifier::REVERSED)
        }
    }

    pub(super) fn good(self) -> Painted {
        self.foreground(Color::Indexed(35))
    }

    pub(super) fn bar(self) -> Painted {
        self.foreground(Color::Indexed(67))
    }

    fn foreground(self, colour: Color) -> Painted {
        if self.colours {
            Painted::new().fg(colour)
        } else {
            Painted::new()
        }
    }
}

/// The nearest colour of the 6 × 6 × 6 cube, which terminals of 256 colours have.
fn indexed(Colour(red, green, blue): Colour) -> Color {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let nearest = |value: u8| {
        let distance = |index: &u8| STEPS[usize::from(*index)].abs_diff(value);
        (0..6u8).min_by_key(distance).unwrap_or(0)
    };
    Color::Indexed(16 + 36 * nearest(red) + 6 * nearest(green) + nearest(blue))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_the_nearest_of_the_cube() {
        assert_eq!(indexed(Colour(0, 0, 0)), Color::Indexed(16));
        assert_eq!(indexed(Colour(255, 255, 255)), Color::Indexed(231));
        assert_eq!(indexed(Colour(0x00, 0x72, 0xB2)), Color::Indexed(25));
    }
}
