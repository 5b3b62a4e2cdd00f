//! Strokes that every picture is made of: headings, legends, axes. Lengths are pixels of the
//! picture; the canvas has `fine` times as many.

use std::sync::Once;

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{
        Shift,
        ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
    },
    prelude::*,
    style::{
        register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::Theme;
use crate::report::{scale::Ticks, series::Colour};

pub(super) const MARGIN: u32 = 20;
pub(super) const TEXT_SIZE: u32 = 18;
pub(super) const SEPARATOR: &str = " · ";
const TITLE_SIZE: u32 = 28;
const TICK_SIZE: u32 = 17;
const LINE: u32 = 22;
const SWATCH: u32 = 12;

pub(super) type Area<B> = DrawingArea<B, Shift>;
pub(super) type Failure<B> = DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>;
pub(super) type Drawn<B> = Result<(), Failure<B>>;
pub(super) type Plot<'a, B> = ChartContext<'a, B, Cartesian2d<Axis, Axis>>;

/// What pictures are drawn with.
pub(super) struct Pen {
    pub(super) colours: Colours,
    pub(super) fine: u32,
}

/// Where a picture's data is drawn, and with what.
pub(super) struct Sheet<'a, B: DrawingBackend> {
    pub(super) pen: &'a Pen,
    pub(super) area: &'a Area<B>,
    /// What is above is taken.
    pub(super) top: u32,
}

impl<B: DrawingBackend> Sheet<'_, B> {
    /// What a legend leaves of it.
    pub(super) fn with_legend(&self, entries: &[(String, RGBAColor)]) -> Result<Self, Failure<B>> {
        let top = self.pen.legend(self.area, self.top, entries)?;
        Ok(Self { top, ..*self })
    }
}

/// Colours around the data.
pub(super) struct Colours {
    pub(super) background: RGBColor,
    pub(super) text: RGBColor,
    pub(super) faint: RGBColor,
    pub(super) grid: RGBColor,
    /// Where summaries were lost.
    pub(super) loss: RGBAColor,
}

/// From 0 to `end`, with ticks and labels of our own choice.
pub(super) struct Axis {
    pub(super) end: f64,
    pub(super) ticks: Ticks,
    /// Text of a value, given the distance of ticks.
    pub(super) label: fn(f64, f64) -> String,
}

/// Names of the two axes.
pub(super) struct AxisNames {
    pub(super) x: &'static str,
    pub(super) y: &'static str,
}

/// Where a line of text starts or ends.
#[derive(Clone, Copy)]
pub(super) enum Align {
    /// At the point.
    Left,
    /// It ends there.
    Right,
}

impl Pen {
    pub(super) fn new(theme: Theme, fine: u32) -> Self {
        embed_font();
        Self {
            colours: colours(theme),
            fine,
        }
    }

    /// Background, title and summary; returns the height they took.
    pub(super) fn heading<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        title: &str,
        summary: &str,
    ) -> Result<u32, Failure<B>> {
        area.fill(&self.colours.background)?;
        let style = self.style(TITLE_SIZE, self.colours.text);
        area.draw_text(title, &style, self.point(MARGIN, MARGIN))?;
        let mut top = MARGIN + TITLE_SIZE + 6;
        for line in self.wrap(area, summary) {
            let style = self.style(TEXT_SIZE, self.colours.faint);
            area.draw_text(&line, &style, self.point(MARGIN, top))?;
            top += LINE;
        }
        Ok(top + 6)
    }

    /// Labels with their colours from `top` down, in as many lines as they need; returns where
    /// the next thing starts.
    pub(super) fn legend<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        mut top: u32,
        entries: &[(String, RGBAColor)],
    ) -> Result<u32, Failure<B>> {
        let (width, _) = self.size(area);
        let style = self.style(TEXT_SIZE, self.colours.text);
        let mut left = MARGIN;
        for (label, colour) in entries {
            let entry = SWATCH + 7 + self.text_width(area, label) + 22;
            if left > MARGIN && left + entry > width {
                left = MARGIN;
                top += LINE;
            }
            let swatch = [
                self.point(left, top + 2),
                self.point(left + SWATCH, top + 2 + SWATCH),
            ];
            area.draw(&Rectangle::new(swatch, colour.filled()))?;
            area.draw_text(label, &style, self.point(left + SWATCH + 7, top))?;
            left += entry;
        }
        Ok(if entries.is_empty() { top } else { top + LINE })
    }

    /// Coordinates over `area`, with room for labels of `label_width` at the bottom.
    pub(super) fn plot<'a, B: DrawingBackend>(
        &self,
        area: &'a Area<B>,
        (x, y): (Axis, Axis),
        label_width: u32,
    ) -> Result<Plot<'a, B>, Failure<B>> {
        ChartBuilder::on(area)
            .margin_left(MARGIN * self.fine / 2)
            .margin_right(label_width * 2 / 5 * self.fine)
            .margin_bottom(MARGIN * self.fine / 2)
            .margin_top(10 * self.fine)
            .x_label_area_size(50 * self.fine)
            .y_label_area_size(76 * self.fine)
            .build_cartesian_2d(x, y)
    }

    /// Grid lines, ticks and names; a name that is longer than its axis is left out.
    pub(super) fn mesh<B: DrawingBackend>(
        &self,
        chart: &mut Plot<'_, B>,
        names: &AxisNames,
    ) -> Drawn<B> {
        let text = self.style(TICK_SIZE, self.colours.text);
        let area = chart.plotting_area().strip_coord_spec();
        let (width, height) = self.size(&area);
        let fitting = |name: &'static str, room: u32| {
            let fits = self.text_width(&area, name) <= room;
            if fits { name } else { "" }
        };
        let (x_name, y_name) = (fitting(names.x, width), fitting(names.y, height));
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(self.colours.grid.stroke_width(self.fine))
            .light_line_style(TRANSPARENT)
            .axis_style(self.colours.faint.stroke_width(self.fine))
            .label_style(text.clone())
            .axis_desc_style(text)
            .x_desc(x_name)
            .y_desc(y_name)
            .set_all_tick_mark_size(4 * self.fine)
            .draw()
    }

    /// Says in the middle of `area` that there is nothing to show.
    pub(super) fn nothing<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B> {
        let (width, height) = self.size(area);
        let style = self
            .style(24, self.colours.faint)
            .pos(Pos::new(HPos::Center, VPos::Center));
        let middle = self.point(width / 2, height / 2);
        area.draw_text("No packets captured", &style, middle)
    }

    /// A line of text whose middle is at the height of `at`.
    pub(super) fn label<B: DrawingBackend>(
        &self,
        area: &Area<B>,
        text: &str,
        (x, y): (u32, u32),
        align: Align,
    ) -> Drawn<B> {
        let horizontal = match align {
            Align::Left => HPos::Left,
            Align::Right => HPos::Right,
        };
        let style = self
            .style(TICK_SIZE, self.colours.text)
            .pos(Pos::new(horizontal, VPos::Center));
        area.draw_text(text, &style, self.point(x, y))
    }

    /// Width of a line, with room for a viewer's wider font.
    pub(super) fn text_width<B: DrawingBackend>(&self, area: &Area<B>, text: &str) -> u32 {
        let style = self.style(TEXT_SIZE, self.colours.text);
        area.estimate_text_size(text, &style)
            .map_or(0, |(width, _)| width * 11 / 10 / self.fine)
    }

    /// Width and height.
    pub(super) fn size<B: DrawingBackend>(&self, area: &Area<B>) -> (u32, u32) {
        let (width, height) = area.dim_in_pixel();
        (width / self.fine, height / self.fine)
    }

    /// Of the canvas.
    pub(super) fn point(&self, x: u32, y: u32) -> (i32, i32) {
        let length = |n: u32| i32::try_from(n * self.fine).unwrap_or(i32::MAX);
        (length(x), length(y))
    }

    fn style(&self, size: u32, colour: RGBColor) -> TextStyle<'static> {
        ("sans-serif", size * self.fine).into_font().color(&colour)
    }

    /// `text` at its separators in lines that fit.
    fn wrap<B: DrawingBackend>(&self, area: &Area<B>, text: &str) -> Vec<String> {
        let (width, _) = self.size(area);
        let room = width.saturating_sub(2 * MARGIN);
        let mut lines: Vec<String> = Vec::new();
        for part in text.split_inclusive(SEPARATOR) {
            match lines.last_mut() {
                Some(line) if self.text_width(area, &format!("{line}{part}")) <= room => {
                    line.push_str(part);
                }
                _ => lines.push(part.to_owned()),
            }
        }
        let end = SEPARATOR.trim_end();
        lines
            .iter()
            .map(|line| line.trim_end().trim_end_matches(end).to_owned())
            .collect()
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "rounded to a pixel")]
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let length = f64::from(to - from);
        from + (value / self.end * length).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.ticks.values.clone()
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..self.end
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        (self.label)(*value, self.ticks.step)
    }
}

/// A series' colour for the drawing library.
pub(super) fn paint(colour: Colour) -> RGBColor {
    RGBColor(colour.0, colour.1, colour.2)
}

fn colours(theme: Theme) -> Colours {
    match theme {
        Theme::Light => Colours {
            background: WHITE,
            text: RGBColor(0x1B, 0x1F, 0x24),
            faint: RGBColor(0x5A, 0x63, 0x6E),
            grid: RGBColor(0xE3, 0xE6, 0xEA),
            loss: RGBColor(0xC6, 0x28, 0x28).mix(0.22),
        },
        Theme::Dark => Colours {
            background: RGBColor(0x14, 0x17, 0x1B),
            text: RGBColor(0xE6, 0xE9, 0xED),
            faint: RGBColor(0x9A, 0xA3, 0xAE),
            grid: RGBColor(0x2C, 0x31, 0x38),
            loss: RGBColor(0xFF, 0x6B, 0x6B).mix(0.28),
        },
    }
}

/// The drawing library finds fonts by name only among those given to it.
fn embed_font() {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        let font = epaint_default_fonts::UBUNTU_LIGHT;
        let registered = register_font("sans-serif", FontStyle::Normal, font);
        assert!(registered.is_ok(), "the embedded font is a font");
    });
}
