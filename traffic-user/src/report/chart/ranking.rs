//! Protocol share, top sources and frame sizes: one bar per name.

use plotters::prelude::*;

use super::pen::{Align, Area, Drawn, MARGIN, Pen, Sheet, paint};
use crate::report::{
    Report, Sizes,
    number::{count, percent, printable},
    series::{self, Colour},
};

/// From row to row: at least enough for the text, at most what still looks like one table.
const ROW_HEIGHT: u32 = 34;
const ROW_HEIGHT_MAX: u32 = 100;
/// Columns of names and of counts take at most this part of the width.
const NAME_PART: u32 = 3;
const PLAIN: Colour = Colour(0x00, 0x72, 0xB2);

struct Row {
    name: String,
    packets: u64,
    colour: Colour,
}

impl Row {
    fn new(name: &str, packets: u64) -> Self {
        Self {
            name: printable(name),
            packets,
            colour: PLAIN,
        }
    }
}

/// A bar per leaf class.
pub(super) fn protocols<B: DrawingBackend>(sheet: &Sheet<'_, B>, report: &Report) -> Drawn<B> {
    let series = series::of(report);
    let rows = report.protocols.iter().map(|row| Row {
        colour: series::colour_of(&row.name, &series),
        ..Row::new(&row.name, row.packets)
    });
    bars(sheet, &rows.collect::<Vec<_>>(), report.totals.packets)
}

/// A bar per source address.
pub(super) fn sources<B: DrawingBackend>(sheet: &Sheet<'_, B>, report: &Report) -> Drawn<B> {
    let rows = report.sources.iter();
    let rows = rows.map(|row| Row::new(&row.address, row.packets));
    bars(sheet, &rows.collect::<Vec<_>>(), report.totals.packets)
}

/// A bar per range of frame sizes, the smallest first.
pub(super) fn sizes<B: DrawingBackend>(sheet: &Sheet<'_, B>, report: &Report) -> Drawn<B> {
    let ranges = report.sizes.iter().flat_map(Sizes::occupied);
    let rows = ranges.map(|range| Row::new(&format!("{} bytes", range.label()), range.packets));
    let rows: Vec<_> = rows.collect();
    bars(sheet, &rows, rows.iter().map(|row| row.packets).sum())
}

fn bars<B: DrawingBackend>(
    &Sheet { pen, area, top }: &Sheet<'_, B>,
    rows: &[Row],
    total: u64,
) -> Drawn<B> {
    let (width, height) = pen.size(area);
    let fitting = (height.saturating_sub(top + MARGIN) / ROW_HEIGHT) as usize;
    let shown = &rows[..rows.len().min(fitting.max(1))];
    if shown.is_empty() {
        return pen.nothing(area);
    }
    let numbers: Vec<String> = shown
        .iter()
        .map(|row| format!("{}  {}", count(row.packets), percent(row.packets, total)))
        .collect();
    let widest = |texts: &mut dyn Iterator<Item = &String>| {
        let widest = texts.map(|text| pen.text_width(area, text)).max();
        widest.unwrap_or(0).min(width / NAME_PART)
    };
    let left = MARGIN + widest(&mut shown.iter().map(|row| &row.name)) + 10;
    let right = width - MARGIN - widest(&mut numbers.iter()) - 10;
    let longest = shown.iter().map(|row| row.packets).max().unwrap_or(0);
    let room = height.saturating_sub(top + MARGIN) / u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let row_height = room.clamp(ROW_HEIGHT, ROW_HEIGHT_MAX);
    let bar_height = row_height * 9 / 17;
    let mut middle = top + row_height / 2 + 4;
    for (row, number) in shown.iter().zip(&numbers) {
        let name = shortened(pen, area, &row.name, width / NAME_PART);
        pen.label(area, &name, (left - 10, middle), Align::Right)?;
        let length = part(row.packets, longest, right - left);
        let bar = [
            pen.point(left, middle - bar_height / 2),
            pen.point(left + length, middle + bar_height / 2),
        ];
        area.draw(&Rectangle::new(bar, paint(row.colour).filled()))?;
        pen.label(area, number, (left + length + 8, middle), Align::Left)?;
        middle += row_height;
    }
    hidden(pen, area, rows.len() - shown.len(), (left, middle))
}

/// Says how many rows had no room.
fn hidden<B: DrawingBackend>(pen: &Pen, area: &Area<B>, rows: usize, at: (u32, u32)) -> Drawn<B> {
    if rows == 0 {
        return Ok(());
    }
    pen.label(area, &format!("and {rows} more"), at, Align::Left)
}

/// `text` with its end cut off so that it fits.
fn shortened<B: DrawingBackend>(pen: &Pen, area: &Area<B>, text: &str, room: u32) -> String {
    let mut chars: Vec<char> = text.chars().take(200).collect();
    let mut short: String = chars.iter().collect();
    while pen.text_width(area, &short) > room && chars.pop().is_some() {
        short = chars.iter().collect::<String>() + "…";
    }
    short
}

/// `length` for `whole`, at least a pixel for what is there.
fn part(value: u64, whole: u64, length: u32) -> u32 {
    let part = u128::from(value) * u128::from(length) / u128::from(whole.max(1));
    u32::try_from(part)
        .unwrap_or(length)
        .max(u32::from(value > 0))
}
