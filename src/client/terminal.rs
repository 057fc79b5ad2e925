//! What commands write to standard output.

use std::io::Write;

use serde_json::Value;

use crate::base::output;
use crate::wire::text::{harmless_json, harmless_lines};

/// Writes to standard output, without characters that steer a terminal. A reader that has gone away,
/// as after `| head`, ends the command without a complaint.
pub fn print(text: &str) {
    print_drawn(&harmless_lines(text));
}

/// Writes JSON to standard output, as [`print()`] does text.
pub fn print_json(value: &Value) {
    print_drawn(&format!("{}\n", harmless_json(&format!("{value:#}"))));
}

/// The same for text that may steer the terminal, and contains no text of others that does. A running
/// gateway never waits for its terminal.
pub fn print_drawn(text: &str) {
    if let Some(screen) = output::screen() {
        return screen.put(text.as_bytes().to_vec());
    }
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A table with as much room for each column as its widest cell takes.
#[must_use]
pub fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// A row of a table of names and values.
#[must_use]
pub fn row(name: &str, value: impl Into<String>) -> [String; 2] {
    [name.to_owned(), value.into()]
}

/// The first of some names, and how many more there are.
#[must_use]
pub fn first(most: usize, names: &[String]) -> String {
    let more = names.len().saturating_sub(most);
    let text = names[..names.len() - more].join(", ");
    if more > 0 {
        format!("{text} and {more} more")
    } else {
        text
    }
}
