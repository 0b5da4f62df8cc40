//! Text tables, and days and moments as people read and write them.

use crate::ambient::text::printable;

/// Rows under a heading, each column as wide as its widest cell, two blanks between; the last column is not padded. No cell
/// can steer a terminal or begin a line of its own.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))).collect();
    let mut widths: [usize; N] = heading.map(str::len);
    for row in &rows {
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
    for row in &rows {
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

/// A day.
pub fn date(text: &str) -> Result<time::Date, String> {
    time::Date::parse(text, time::macros::format_description!("[year]-[month]-[day]"))
        .map_err(|_| format!("`{text}` is not a day: write YYYY-MM-DD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_in_its_line() {
        let rows = [["RXA\u{1b}[2J\u{202e}\nRXB".to_owned(), "open\u{9b}".to_owned()]];
        let text = table(["member", "gate"], &rows);
        assert_eq!(text, "member        gate\nRXA\u{fffd}[2J\u{fffd}\u{fffd}RXB  open\u{fffd}\n");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["RXA".to_owned(), "open".to_owned()], ["RXCC".to_owned(), "closed".to_owned()]];
        assert_eq!(table(["member", "gate"], &rows), "member  gate\nRXA     open\nRXCC    closed\n");
    }
}
