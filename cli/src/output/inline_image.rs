//! Images in the terminal: kitty's graphics protocol, iTerm2's inline images, sixels, or half
//! blocks in 24-bit colour.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use engine::image::RgbImage;
use icy_sixel::SixelImage;

use crate::args::Environment;

/// Most columns and rows of the terminal that an image takes.
const MAX_COLUMNS: u32 = 64;
const MAX_ROWS: u32 = 16;
/// Rows of pixels in a row of text: a character is about twice as high as wide.
const HALVES: u32 = 2;
/// Pixels of a character, at least, where sixels are drawn.
const CELL: (u32, u32) = (8, 16);
/// Most bytes of base64 in one of kitty's escape sequences.
const KITTY_CHUNK: usize = 4096;

/// How a terminal is shown an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// <https://sw.kovidgoyal.net/kitty/graphics-protocol/>
    Kitty,
    /// <https://iterm2.com/documentation-images.html>
    Iterm,
    /// DEC's sixels (VT330/VT340 manual).
    Sixel,
    /// Upper half blocks, whose two halves have a colour each.
    HalfBlocks,
}

impl Protocol {
    /// The protocol of the terminal of this environment, if it shows images at all.
    pub(crate) fn of(environment: Environment<'_>) -> Option<Self> {
        let text = |name| {
            let value = environment.get(name);
            value.map_or_else(String::new, |value| value.to_string_lossy().into_owned())
        };
        let is_set = |name| environment.get(name).is_some();
        let (term, program) = (text("TERM"), text("TERM_PROGRAM"));
        let direct = multiplexer(environment).is_none();
        let kitty = is_set("KITTY_WINDOW_ID")
            || term.contains("kitty")
            || term.contains("ghostty")
            || program == "ghostty";
        let iterm = ["iTerm.app", "WezTerm", "mintty"].contains(&program.as_str())
            || text("LC_TERMINAL") == "iTerm2";
        // Terminals that are known to draw them, by the names that they have in terminfo.
        let sixel = ["foot", "mlterm", "contour", "yaft"]
            .iter()
            .any(|name| term.starts_with(name))
            || term.contains("sixel");
        let true_colour = has_true_colour(environment);
        if term == "dumb" {
            None
        } else if direct && kitty {
            Some(Self::Kitty)
        } else if direct && iterm {
            Some(Self::Iterm)
        } else if direct && sixel {
            Some(Self::Sixel)
        } else if true_colour && !is_set("NO_COLOR") {
            Some(Self::HalfBlocks)
        } else {
            None
        }
    }

    /// Why a terminal shows no images, and what would make it show them.
    pub(crate) fn why_not(environment: Environment<'_>) -> String {
        let is_dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        if is_dumb {
            return "this terminal shows no images: TERM is dumb".to_owned();
        }
        if has_true_colour(environment) {
            return "this terminal shows no images but by colours, and NO_COLOR is set; tip: \
                    unset NO_COLOR"
                .to_owned();
        }
        match multiplexer(environment) {
            Some(name) => format!(
                "{name} keeps images from the terminal; tip: COLORTERM=truecolor has them \
                 drawn in blocks of 24-bit colour, if {name} passes those on (for tmux: set -as \
                 terminal-features ',*:RGB')"
            ),
            None => "this terminal shows no images that this program knows of; tip: if it \
                     shows 24-bit colours, COLORTERM=truecolor has them drawn in blocks"
                .to_owned(),
        }
    }

    /// The bytes that draw an image where the cursor is at the start of a line, and leave it below
    /// the image. With `again`, the image takes the place of the one just drawn.
    /// The terminal is `width` columns wide.
    pub(crate) fn draw(
        self,
        image: &RgbImage,
        png: &[u8],
        number: usize,
        again: bool,
        width: usize,
    ) -> String {
        let (columns, rows) = cells(image, width);
        let mut text = String::new();
        if !again {
            // The room is made first, since the terminal scrolls when it comes to its end.
            text.extend(std::iter::repeat_n('\n', rows as usize));
        }
        let _ = write!(text, "\x1b[{rows}A\r\x1b7");
        match self {
            Self::Kitty => kitty(&mut text, png, columns, rows, number),
            Self::Iterm => {
                let _ = write!(
                    text,
                    "\x1b]1337;File=inline=1;size={};width={columns};height={rows};\
                     preserveAspectRatio=1:{}\x07",
                    png.len(),
                    BASE64.encode(png)
                );
            }
            Self::Sixel => text.push_str(&sixels(image, columns * CELL.0, rows * CELL.1)),
            Self::HalfBlocks => half_blocks(&mut text, image, columns, rows),
        }
        let _ = write!(text, "\x1b8\x1b[{rows}B\r");
        text
    }
}

/// The program that keeps escape sequences that it does not know from the terminal, if there is
/// one.
fn multiplexer(environment: Environment<'_>) -> Option<&'static str> {
    let term = environment.get("TERM").unwrap_or_default();
    let term = term.to_string_lossy();
    if environment.get("TMUX").is_some() || term.starts_with("tmux") {
        Some("tmux")
    } else if environment.get("STY").is_some() || term.starts_with("screen") {
        Some("screen")
    } else {
        None
    }
}

/// Tells whether the terminal says that it has 24-bit colours.
fn has_true_colour(environment: Environment<'_>) -> bool {
    let value = environment.get("COLORTERM").unwrap_or_default();
    value == "truecolor" || value == "24bit"
}

/// Columns and rows of text for an image, as large as the limits and the terminal let it be.
fn cells(image: &RgbImage, terminal: usize) -> (u32, u32) {
    let (width, height) = (image.width.max(1), image.height.max(1));
    let most = u32::try_from(terminal).unwrap_or(MAX_COLUMNS);
    let most = most.saturating_sub(1).clamp(1, MAX_COLUMNS);
    let columns = (MAX_ROWS * HALVES * width / height).clamp(1, most);
    let rows = (columns * height).div_ceil(width * HALVES);
    (columns, rows.clamp(1, MAX_ROWS))
}

/// Sends the file in chunks. A second image of the same number replaces the first; no answer is
/// asked for, and the cursor stays.
fn kitty(text: &mut String, png: &[u8], columns: u32, rows: u32, number: usize) {
    let encoded = BASE64.encode(png);
    let chunks = encoded.as_bytes().chunks(KITTY_CHUNK);
    let last = chunks.len().saturating_sub(1);
    let id = (std::process::id() & 0xffff) << 12 | (number as u32 & 0xfff) | 1 << 28;
    for (index, chunk) in chunks.enumerate() {
        let more = u8::from(index < last);
        let keys = match index {
            0 => format!("a=T,f=100,q=2,C=1,i={id},p=1,c={columns},r={rows},m={more}"),
            _ => format!("m={more}"),
        };
        let _ = write!(
            text,
            "\x1b_G{keys};{}\x1b\\",
            String::from_utf8_lossy(chunk)
        );
    }
}

/// The image at another size, as sixels; nothing where it has no pixels.
fn sixels(image: &RgbImage, width: u32, height: u32) -> String {
    let mut pixels = Vec::with_capacity(4 * (width * height) as usize);
    for row in 0..height {
        for column in 0..width {
            let (x, y) = (column * image.width / width, row * image.height / height);
            let at = 3 * (y * image.width + x) as usize;
            pixels.extend_from_slice(image.pixels.get(at..at + 3).unwrap_or(&[0; 3]));
            pixels.push(u8::MAX);
        }
    }
    let image = SixelImage::from_rgba(pixels, width as usize, height as usize);
    image.encode().unwrap_or_default()
}

fn half_blocks(text: &mut String, image: &RgbImage, columns: u32, rows: u32) {
    let pixel = |column: u32, line: u32| {
        let x = (2 * column + 1) * image.width / (2 * columns);
        let y = (2 * line + 1) * image.height / (2 * rows * HALVES);
        let at = 3 * (y * image.width + x) as usize;
        match image.pixels.get(at..at + 3) {
            Some(&[red, green, blue]) => (red, green, blue),
            _ => (0, 0, 0),
        }
    };
    for row in 0..rows {
        if row > 0 {
            text.push_str("\r\n");
        }
        for column in 0..columns {
            let (upper, lower) = (pixel(column, HALVES * row), pixel(column, HALVES * row + 1));
            let _ = write!(
                text,
                "\x1b[38;2;{};{};{};48;2;{};{};{}m\u{2580}",
                upper.0, upper.1, upper.2, lower.0, lower.1, lower.2
            );
        }
        text.push_str("\x1b[0m");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ffi::OsString;

    use super::{Protocol, RgbImage, SixelImage, cells};
    use crate::args::Environment;

    fn image(width: u32, height: u32) -> RgbImage {
        RgbImage {
            width,
            height,
            pixels: (0..3 * width * height).map(|value| value as u8).collect(),
        }
    }

    fn protocol(variables: &[(&str, &str)]) -> Option<Protocol> {
        let look_up = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Protocol::of(Environment(&look_up))
    }

    #[test]
    fn terminals_are_known_by_their_variables() {
        use Protocol::{HalfBlocks, Iterm, Kitty, Sixel};
        let colour = ("COLORTERM", "truecolor");
        for (variables, expected) in [
            (&[][..], None),
            (&[("TERM", "xterm-256color")], None),
            (&[("TERM", "xterm-kitty")], Some(Kitty)),
            (&[("TERM_PROGRAM", "ghostty")], Some(Kitty)),
            (&[("TERM_PROGRAM", "iTerm.app"), colour], Some(Iterm)),
            (&[("TERM_PROGRAM", "WezTerm")], Some(Iterm)),
            (&[("TERM", "foot"), colour], Some(Sixel)),
            (&[("TERM", "mlterm-256color")], Some(Sixel)),
            (&[("TERM", "alacritty"), colour], Some(HalfBlocks)),
            (&[colour, ("NO_COLOR", "1")], None),
            (&[colour, ("TERM", "dumb")], None),
            (&[("TERM", "xterm-kitty"), ("STY", "1.x")], None),
            (&[("KITTY_WINDOW_ID", "1"), ("TMUX", "x")], None),
            (
                &[("TERM", "xterm-kitty"), ("TMUX", "x"), colour],
                Some(HalfBlocks),
            ),
        ] {
            assert_eq!(protocol(variables), expected, "{variables:?}");
        }
    }

    #[test]
    fn what_would_show_images_is_named() {
        let why = |variables: &[(&str, &str)]| {
            let look_up = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            Protocol::why_not(Environment(&look_up))
        };
        for (variables, parts) in [
            (
                &[("TERM", "xterm-kitty"), ("TMUX", "x")][..],
                ["tmux", "COLORTERM=truecolor"],
            ),
            (
                &[("TERM", "screen-256color")],
                ["screen keeps", "COLORTERM=truecolor"],
            ),
            (
                &[("TERM", "xterm")],
                ["shows no images", "COLORTERM=truecolor"],
            ),
            (
                &[("COLORTERM", "24bit"), ("NO_COLOR", "1")],
                ["shows no images", "unset NO_COLOR"],
            ),
            (
                &[("TERM", "dumb"), ("TMUX", "x")],
                ["shows no images", "TERM is dumb"],
            ),
        ] {
            for part in parts {
                assert!(
                    why(variables).contains(part),
                    "{variables:?}: {}",
                    why(variables)
                );
            }
        }
    }

    #[test]
    fn images_keep_their_shape_within_the_limits() {
        assert_eq!(cells(&image(32, 32), 80), (32, 16));
        assert_eq!(cells(&image(166, 166), 80), (32, 16));
        assert_eq!(cells(&image(40, 24), 80), (53, 16));
        assert_eq!(cells(&image(100, 2), 80), (64, 1));
        assert_eq!(cells(&image(1, 1000), 80), (1, 16));
        // A narrow terminal has less room.
        assert_eq!(cells(&image(40, 24), 40), (39, 12));
        assert_eq!(cells(&image(40, 24), 0), (1, 1));
    }

    #[test]
    fn kitty_gets_the_file_in_chunks() {
        let png = vec![7; 5000];
        let text = Protocol::Kitty.draw(&image(8, 8), &png, 3, false, 80);
        assert!(text.starts_with(&"\n".repeat(16)));
        assert_eq!(text.matches("\x1b_G").count(), 2);
        assert!(text.contains(",m=1;") && text.contains("\x1b_Gm=0;"));
        let again = Protocol::Kitty.draw(&image(8, 8), &png, 3, true, 80);
        assert!(text.ends_with(&again), "the same image in the same place");
    }

    #[test]
    fn iterm_gets_the_file_and_its_size() {
        let text = Protocol::Iterm.draw(&image(8, 8), b"png", 0, true, 80);
        let sequence = "\x1b]1337;File=inline=1;size=3;width=32;height=16;";
        assert!(text.contains(sequence) && text.contains(":cG5n\x07"));
    }

    #[test]
    fn sixels_hold_the_image_at_the_size_of_its_characters() {
        let text = Protocol::Sixel.draw(&image(8, 8), &[], 0, true, 80);
        let (_, sequence) = text.split_once("\x1b7").unwrap();
        let (sequence, _) = sequence.split_once("\x1b8").unwrap();
        let drawn = SixelImage::decode(sequence.as_bytes()).unwrap();
        // The last band of six rows is not full.
        assert_eq!(
            (drawn.width, drawn.height.div_euclid(6)),
            (256, 256 / 6 + 1)
        );
        // The first pixel is 0, 1, 2, and the last 189, 190, 191; palettes are not exact.
        let near = |at: usize, expected: u8| drawn.pixels[at].abs_diff(expected) < 24;
        assert!(near(0, 0) && near(4 * 256 * 256 - 4, 189));
    }

    #[test]
    fn half_blocks_show_two_pixels_a_character() {
        let mut tall = image(1, 32);
        tall.pixels = (0..96).collect();
        let text = Protocol::HalfBlocks.draw(&tall, &[], 0, true, 80);
        assert_eq!(text.matches('\u{2580}').count(), 16);
        assert!(text.contains("\x1b[38;2;0;1;2;48;2;3;4;5m\u{2580}"));
        assert!(text.contains("\x1b[38;2;90;91;92;48;2;93;94;95m\u{2580}\x1b[0m"));
    }
}
