//! Aligned columns, and numbers as people read them.

use super::console::{Paint, Style};

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}
pub use Align::{Left, Right};

/// A table with a head.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<(String, Style)>>,
}

/// Cells longer than this are cut in the middle of the table.
const WIDEST: usize = 60;

impl Table {
    pub fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), rows: vec![] }
    }

    /// Adds a row of as many cells as there are columns.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.styled(cells.map(|cell| (cell, Style::Plain)));
    }

    pub fn styled<const N: usize>(&mut self, cells: [(String, Style); N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.map(|(cell, style)| (cell.replace('\n', " "), style)).into());
    }

    /// The text, indented by two spaces.
    pub fn render(&self, paint: Paint) -> String {
        let last = self.columns.len() - 1;
        // The last column, if on the left, may be as long as it likes.
        let cut = |column: usize, cell: &str| match column == last && self.columns[column].1 == Left {
            true => cell.to_string(),
            false => shortened(cell, WIDEST),
        };
        let width = |i: usize| {
            let cells = self.rows.iter().map(|row| cut(i, &row[i].0).chars().count());
            cells.chain([self.columns[i].0.chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        let mut line = |cells: Vec<(String, Style)>| {
            let mut whole = String::new();
            for (i, (cell, style)) in cells.into_iter().enumerate() {
                let cell = cut(i, &cell);
                let space = " ".repeat(widths[i] - cell.chars().count());
                let cell = paint.paint(style, &cell);
                whole.push_str("  ");
                match self.columns[i].1 {
                    Left => whole.extend([cell, space]),
                    Right => whole.extend([space, cell]),
                }
            }
            text.push_str(whole.trim_end());
            text.push('\n');
        };
        line(self.columns.iter().map(|(name, _)| (name.to_string(), Style::Bold)).collect());
        for row in &self.rows {
            line(row.clone());
        }
        text
    }
}

/// At most `longest` characters; the middle is left out, since layer names begin and end with what tells them apart.
fn shortened(text: &str, longest: usize) -> String {
    let count = text.chars().count();
    if count <= longest {
        return text.into();
    }
    let (head, tail) = ((longest - 1) / 2, longest / 2);
    let chars: Vec<char> = text.chars().collect();
    chars[..head].iter().chain(['…'].iter()).chain(&chars[count - tail..]).collect()
}

/// `13.5 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["bytes", "KiB", "MiB", "GiB"];
    let unit = (0..3).rev().find(|i| n >= 1 << (10 * (i + 1))).map_or(0, |i| i + 1);
    if unit == 0 { format!("{n} bytes") } else { format!("{:.1} {}", n as f64 / (1u64 << (10 * unit)) as f64, UNITS[unit]) }
}

/// `300.8 M`.
pub fn count(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{:.1} k", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", n as f64 / 1e6),
        _ => format!("{:.2} G", n as f64 / 1e9),
    }
}

/// `1 step`, `3 steps`.
pub fn plural(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

/// `f32[1,3,224,224]`.
pub fn tensor_type(dtype: &str, shape: &[impl ToString]) -> String {
    format!("{dtype}[{}]", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

/// A number with about four digits.
pub fn number(x: f64) -> String {
    match x.abs() {
        _ if x == x.trunc() && x.abs() < 1e7 => format!("{x}"),
        1e-3..1e6 => {
            let digits = (3.0 - x.abs().log10().floor()).clamp(0.0, 6.0) as usize;
            format!("{x:.digits$}")
        }
        _ => format!("{x:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(3 << 20)], ["0 bytes", "1023 bytes", "1.5 KiB", "3.0 MiB"]);
        assert_eq!([count(999), count(13_726), count(300_800_000)], ["999", "13.7 k", "300.8 M"]);
        assert_eq!([number(0.0), number(3.0), number(-1.23456), number(1234.567)], ["0", "3", "-1.235", "1235"]);
        assert_eq!([number(0.012345), number(1.5e-7), number(f64::NAN)], ["0.01235", "1.500e-7", "NaN"]);
    }

    #[test]
    fn long_cells_lose_their_middle() {
        let mut table = Table::new(&[("name", Left), ("n", Right)]);
        table.row([format!("{}{}", "a".repeat(50), "b".repeat(50)), "1".into()]);
        let text = table.render(Console::paint_none());
        assert!(text.lines().nth(1).unwrap().contains("a…b"), "{text}");
    }

    struct Console;
    impl Console {
        fn paint_none() -> Paint {
            super::super::console::Console::new(super::super::console::Color::Never, true).paint
        }
    }
}
