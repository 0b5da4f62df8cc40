//! Text tables.

/// Rows under a heading, each column as wide as its widest cell, two blanks between; the last column is not padded.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths: [usize; N] = heading.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[&str]| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line(&heading);
    for row in rows {
        text.push_str(&line(&row.each_ref().map(String::as_str)));
    }
    text
}

/// An instant to the second, as people read it.
pub fn moment(at: time::OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_else(|_| at.to_string())
}

/// A date.
pub fn day(at: time::OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_else(|_| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["RXA".to_owned(), "open".to_owned()], ["RXCC".to_owned(), "closed".to_owned()]];
        assert_eq!(table(["member", "gate"], &rows), "member  gate\nRXA     open\nRXCC    closed\n");
    }
}
