//! Stacked columns of block characters.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    widgets::Widget,
};

use super::{super::scroll::Columns, style::Style};

/// Heights of which a cell can show as many.
const EIGHTHS: u16 = 8;
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws one column of cells for each of its columns.
pub(super) struct Histogram<'a> {
    pub(super) columns: &'a Columns,
    pub(super) style: Style,
    /// What the upper edge stands for; above 0.
    pub(super) top: f64,
}

impl Widget for Histogram<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        for (column, x) in (0..self.columns.bps.len()).zip(area.left()..area.right()) {
            let edges = self.edges(column, area.height);
            for (row, y) in (area.top()..area.bottom()).rev().enumerate() {
                let bottom = u16::try_from(row).unwrap_or(u16::MAX) * EIGHTHS;
                self.cell(&edges, bottom, Position { x, y }, buffer);
            }
            if self.columns.lost[column] && area.height > 0 {
                let mark = &mut buffer[(x, area.top())];
                mark.set_char('!').set_style(self.style.alarm());
            }
        }
    }
}

impl Histogram<'_> {
    /// Upper edges of the layers in eighths of a cell.
    fn edges(&self, column: usize, height: u16) -> Vec<u16> {
        let eighths = f64::from(height * EIGHTHS);
        let mut sum = 0.0;
        let layers = self.columns.layers.iter();
        layers
            .map(|layer| {
                sum += layer.pps[column];
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "between 0 and the height of a terminal"
                )]
                let edge = (sum / self.top * eighths).round().clamp(0.0, eighths) as u16;
                // What is there is seen.
                if sum > 0.0 { edge.max(1) } else { edge }
            })
            .collect()
    }

    /// Draws the cell that begins `bottom` eighths above the ground: its lowest layer as a block,
    /// and behind it the layer that follows.
    fn cell(&self, edges: &[u16], bottom: u16, at: Position, buffer: &mut Buffer) {
        let Some(first) = edges.iter().position(|edge| *edge > bottom) else {
            return;
        };
        let height = (edges[first] - bottom).min(EIGHTHS);
        let colour = self.columns.layers[first].colour;
        let cell = &mut buffer[at];
        if !self.style.has_colours() {
            if height >= EIGHTHS / 2 || bottom == 0 {
                cell.set_char(self.style.glyph(first));
            }
            return;
        }
        cell.set_char(BLOCKS[usize::from(height)]);
        let next = edges.iter().position(|edge| *edge > edges[first]);
        cell.set_style(match next {
            Some(next) if height < EIGHTHS => {
                let behind = self.columns.layers[next].colour;
                self.style.layer_on(colour, behind)
            }
            _ => self.style.layer(colour),
        });
    }
}
