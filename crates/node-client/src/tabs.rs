//! Columns out of text with tabs, as Go's `text/tabwriter` makes them: kubectl's tables and descriptions are written through it.
//!
//! A cell ends with a tab; what follows the last tab of a line is no cell. A column is a run of neighbouring lines that have a cell in
//! the same place, and is as wide as its widest cell and the padding.

#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Of a column with its padding.
    min_width: usize,
    padding: usize,
}

/// Of `kubectl get`.
pub(crate) const TABLE: Style = Style {
    min_width: 6,
    padding: 3,
};
/// Of `kubectl describe`.
pub(crate) const DESCRIPTION: Style = Style {
    min_width: 0,
    padding: 2,
};

/// `text` with its tabs replaced by spaces.
pub(crate) fn align(text: &str, style: Style) -> String {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let mut out = String::with_capacity(text.len() * 2);
    align_column(&lines, &mut Vec::new(), style, &mut out);
    out
}

/// Rows as a table; `widths` remembers columns from one table to the next and is made wider if need be.
pub(crate) fn table(rows: &[Vec<String>], widths: &mut Vec<usize>) -> String {
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
            let width = (cell.chars().count() + TABLE.padding).max(TABLE.min_width);
            match widths.get_mut(column) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            out.push_str(cell);
            if column + 1 < row.len() {
                pad(widths[column], cell, &mut out);
            }
        }
        out.push('\n');
    }
    out
}

fn pad(width: usize, cell: &str, out: &mut String) {
    let used = cell.chars().count();
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
}

fn align_column(lines: &[Vec<&str>], widths: &mut Vec<usize>, style: Style, out: &mut String) {
    let column = widths.len();
    let has_cell = |line: &Vec<&str>| column + 1 < line.len();
    let mut rest = lines;
    while !rest.is_empty() {
        let before = rest.iter().take_while(|line| !has_cell(line)).count();
        write_lines(&rest[..before], widths, out);
        rest = &rest[before..];
        let block = rest.iter().take_while(|line| has_cell(line)).count();
        if block == 0 {
            break;
        }
        let widest = rest[..block]
            .iter()
            .map(|line| line[column].chars().count() + style.padding)
            .max();
        widths.push(style.min_width.max(widest.unwrap_or(0)));
        align_column(&rest[..block], widths, style, out);
        widths.pop();
        rest = &rest[block..];
    }
}

fn write_lines(lines: &[Vec<&str>], widths: &[usize], out: &mut String) {
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(column) {
                pad(*width, cell, out);
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_description_end_where_a_line_has_none() {
        let text = "Name:\ta\nNamespace:\tb\nIPs:\n  IP:\tc\nConditions:\n  Type\tStatus\n  Ready \tTrue \n";
        let want = "Name:       a\nNamespace:  b\nIPs:\n  IP:  c\nConditions:\n  Type    Status\n  Ready   True \n";
        assert_eq!(align(text, DESCRIPTION), want);
    }

    #[test]
    fn columns_of_a_table_are_at_least_six_wide() {
        let rows = |rows: &[&[&str]]| -> Vec<Vec<String>> {
            rows.iter()
                .map(|row| row.iter().map(|cell| (*cell).to_owned()).collect())
                .collect()
        };
        let mut widths = Vec::new();
        let first = table(
            &rows(&[&["NAME", "IP", "AGE"], &["hello", "10.0.0.1", "5s"]]),
            &mut widths,
        );
        assert_eq!(first, "NAME    IP         AGE\nhello   10.0.0.1   5s\n");
        // A row that comes later is in line with what was printed before.
        let later = table(&rows(&[&["x", "y", "9s"]]), &mut widths);
        assert_eq!(later, "x       y          9s\n");
    }
}
