//! etcdctl's tables: capital headings in the middle, cells to the right, cells of many words
//! broken over lines.

use std::fmt;

/// A cell longer than this is broken between words.
const CELL_WIDTH_MAX: usize = 30;

pub struct Table {
    pub headings: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings: Vec<Vec<String>> = self
            .headings
            .iter()
            .map(|heading| vec![heading.to_uppercase()])
            .collect();
        let rows: Vec<Vec<Vec<String>>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| break_lines(cell)).collect())
            .collect();
        let mut widths = vec![0; headings.len()];
        for row in rows.iter().chain([&headings]) {
            assert_eq!(row.len(), widths.len(), "a cell for every heading");
            for (width, cell) in widths.iter_mut().zip(row) {
                let longest = cell.iter().map(|line| columns(line)).max().unwrap_or(0);
                *width = longest.max(*width);
            }
        }
        write_rule(f, &widths)?;
        write_row(f, &headings, &widths, |text, width| {
            let gap = width - columns(text);
            format!("{}{text}{}", " ".repeat(gap / 2), " ".repeat(gap - gap / 2))
        })?;
        write_rule(f, &widths)?;
        for row in &rows {
            write_row(f, row, &widths, |text, width| {
                format!("{}{text}", " ".repeat(width - columns(text)))
            })?;
        }
        write_rule(f, &widths)
    }
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

fn break_lines(cell: &str) -> Vec<String> {
    if columns(cell) <= CELL_WIDTH_MAX {
        return vec![cell.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in cell.split_whitespace() {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= CELL_WIDTH_MAX => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn write_rule(f: &mut fmt::Formatter<'_>, widths: &[usize]) -> fmt::Result {
    for width in widths {
        write!(f, "+{}", "-".repeat(width + 2))?;
    }
    writeln!(f, "+")
}

fn write_row(
    f: &mut fmt::Formatter<'_>,
    cells: &[Vec<String>],
    widths: &[usize],
    place: impl Fn(&str, usize) -> String,
) -> fmt::Result {
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        for (cell, width) in cells.iter().zip(widths) {
            let text = cell.get(line).map_or("", |text| &text[..]);
            write!(f, "| {} ", place(text, *width))?;
        }
        writeln!(f, "|")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_in_the_middle_cells_to_the_right() {
        let table = Table {
            headings: vec!["Endpoint", "Hash"],
            rows: vec![vec!["127.0.0.1:47379".to_owned(), "334854931".to_owned()]],
        };
        let expected = "\
+-----------------+-----------+
|    ENDPOINT     |   HASH    |
+-----------------+-----------+
| 127.0.0.1:47379 | 334854931 |
+-----------------+-----------+
";
        assert_eq!(table.to_string(), expected);
    }
}
