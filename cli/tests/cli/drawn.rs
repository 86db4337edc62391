//! Looks at an image: which regions of which colour it has, and what shape they are.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// The colours that the demo model was taught, as its training data draw them.
const COLOURS: [(&str, [u8; 3]); 12] = [
    ("red", [226, 54, 54]),
    ("orange", [250, 142, 28]),
    ("yellow", [252, 214, 58]),
    ("green", [62, 158, 74]),
    ("blue", [40, 104, 222]),
    ("purple", [138, 52, 176]),
    ("pink", [246, 142, 184]),
    ("brown", [122, 80, 54]),
    ("black", [32, 32, 36]),
    ("white", [250, 250, 248]),
    ("gray", [150, 154, 160]),
    ("cyan", [52, 196, 210]),
];

/// Smaller regions are the blend of two colours along an edge.
const SMALLEST: usize = 150;

/// An image as the nearest colour of each pixel.
pub(crate) struct DrawnImage {
    width: usize,
    height: usize,
    colours: Vec<&'static str>,
}

/// Connected pixels of one colour; lengths are fractions of the image's sides.
#[derive(Debug)]
pub(crate) struct Region {
    /// The distance from the left to the middle of its box.
    pub(crate) x: f64,
    /// The distance from the top to the middle of its box.
    pub(crate) y: f64,
    /// Width over height of its box.
    pub(crate) aspect: f64,
    /// The part of its box that it fills: 1 for a square, π/4 for a circle, 1/2 for a triangle.
    pub(crate) fill: f64,
    /// The part of the image that it fills.
    pub(crate) area: f64,
}

impl DrawnImage {
    /// Reads a PNG.
    pub(crate) fn open(path: &Path) -> Self {
        let decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.color_type, png::ColorType::Rgb);
        let colours = pixels.as_chunks::<3>().0.iter().map(nearest).collect();
        Self {
            width: info.width as usize,
            height: info.height as usize,
            colours,
        }
    }

    /// The colour of all four corners.
    #[track_caller]
    pub(crate) fn background(&self) -> &'static str {
        let (right, bottom) = (self.width - 1, self.height - 1);
        let corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)];
        let colours = corners.map(|(x, y)| self.colours[y * self.width + x]);
        assert!(
            colours.iter().all(|colour| *colour == colours[0]),
            "{colours:?}"
        );
        colours[0]
    }

    /// The regions of a colour, from left to right.
    pub(crate) fn regions(&self, colour: &str) -> Vec<Region> {
        let mut seen = vec![false; self.colours.len()];
        let mut regions = Vec::new();
        for start in 0..self.colours.len() {
            if seen[start] || self.colours[start] != colour {
                continue;
            }
            let pixels = self.flood(start, &mut seen);
            if pixels.len() >= SMALLEST {
                regions.push(self.region(&pixels));
            }
        }
        regions.sort_by(|a, b| a.x.total_cmp(&b.x));
        regions
    }

    fn flood(&self, start: usize, seen: &mut [bool]) -> Vec<usize> {
        let mut found = vec![start];
        seen[start] = true;
        let mut next = 0;
        while let Some(&pixel) = found.get(next) {
            next += 1;
            let (x, y) = (pixel % self.width, pixel / self.width);
            let neighbours = [
                (x > 0).then(|| pixel - 1),
                (x + 1 < self.width).then(|| pixel + 1),
                (y > 0).then(|| pixel - self.width),
                (y + 1 < self.height).then(|| pixel + self.width),
            ];
            for neighbour in neighbours.into_iter().flatten() {
                if !seen[neighbour] && self.colours[neighbour] == self.colours[start] {
                    seen[neighbour] = true;
                    found.push(neighbour);
                }
            }
        }
        found
    }

    fn region(&self, pixels: &[usize]) -> Region {
        let columns = || pixels.iter().map(|pixel| pixel % self.width);
        let rows = || pixels.iter().map(|pixel| pixel / self.width);
        let (left, right) = (columns().min().unwrap(), columns().max().unwrap() + 1);
        let (top, bottom) = (rows().min().unwrap(), rows().max().unwrap() + 1);
        let (across, down) = ((right - left) as f64, (bottom - top) as f64);
        Region {
            x: (left + right) as f64 / 2.0 / self.width as f64,
            y: (top + bottom) as f64 / 2.0 / self.height as f64,
            aspect: across / down,
            fill: pixels.len() as f64 / (across * down),
            area: pixels.len() as f64 / self.colours.len() as f64,
        }
    }
}

fn nearest(pixel: &[u8; 3]) -> &'static str {
    let distance = |colour: &[u8; 3]| -> u32 {
        colour
            .iter()
            .zip(pixel)
            .map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2))
            .sum()
    };
    let (name, _) = COLOURS
        .iter()
        .min_by_key(|(_, colour)| distance(colour))
        .unwrap();
    name
}
