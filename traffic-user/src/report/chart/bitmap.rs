//! Pixels: a canvas finer than the picture, and its PNG file.

use plotters::prelude::{BitMapBackend, DrawingBackend};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind,
};

/// A picture in the making.
pub(super) struct Canvas {
    pixels: Vec<u8>,
    size: (u32, u32),
    fine: u32,
}

impl Canvas {
    /// A canvas for a picture of `size`, `fine` times as wide and high.
    pub(super) fn new(size: (u32, u32), fine: u32) -> Self {
        Self {
            pixels: vec![0; byte_len(size.0 * fine, size.1 * fine)],
            size,
            fine,
        }
    }

    /// What to draw with, in pixels of the canvas.
    pub(super) fn backend(&mut self) -> Lowered<'_> {
        let size = (self.size.0 * self.fine, self.size.1 * self.fine);
        Lowered(BitMapBackend::with_buffer(&mut self.pixels, size))
    }

    /// The picture as a PNG file that carries its title.
    pub(super) fn encode(&self, title: &str) -> Result<Vec<u8>, png::EncodingError> {
        encode_png(
            &average(&self.pixels, self.size, self.fine),
            self.size,
            title,
        )
    }
}

type Failure = <BitMapBackend<'static> as DrawingBackend>::ErrorType;
type Drawn = Result<(), DrawingErrorKind<Failure>>;

/// A bitmap whose text stands where SVG's would: the drawing library puts the baseline at half
/// the font size, which is above the middle of its own layout box.
pub(super) struct Lowered<'a>(BitMapBackend<'a>);

impl DrawingBackend for Lowered<'_> {
    type ErrorType = Failure;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Drawn {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Drawn {
        self.0.present()
    }

    fn draw_pixel(&mut self, at: BackendCoord, colour: BackendColor) -> Drawn {
        self.0.draw_pixel(at, colour)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        self.0.draw_rect(from, to, style, fill)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a font size in pixels")]
    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        (x, y): BackendCoord,
    ) -> Drawn {
        // SVG's baseline is 0.76 em below the top, and an em is the size by 1.24.
        let down = ((0.76 / 1.24 - 0.5) * style.size()).round() as i32;
        let (dx, dy) = style.transform().transform(0, down);
        self.0.draw_text(text, style, (x + dx, y + dy))
    }
}

/// Bytes of an RGB picture.
fn byte_len(width: u32, height: u32) -> usize {
    3 * width as usize * height as usize
}

/// Each pixel of the picture from the `fine` by `fine` pixels of the canvas that it covers.
fn average(canvas: &[u8], (width, height): (u32, u32), fine: u32) -> Vec<u8> {
    let fine = fine as usize;
    let row = 3 * width as usize * fine;
    let mut picture = Vec::with_capacity(byte_len(width, height));
    for y in 0..height as usize {
        for x in 0..width as usize {
            for channel in 0..3 {
                let corner = y * fine * row + x * fine * 3 + channel;
                let sum: usize = (0..fine * fine)
                    .map(|i| usize::from(canvas[corner + i / fine * row + i % fine * 3]))
                    .sum();
                let mean = sum / (fine * fine);
                picture.push(u8::try_from(mean).unwrap_or(u8::MAX));
            }
        }
    }
    picture
}

fn encode_png(
    pixels: &[u8],
    (width, height): (u32, u32),
    title: &str,
) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Default);
    encoder.set_filter(png::FilterType::Up);
    encoder.add_text_chunk("Title".to_owned(), title.to_owned())?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file)
}
