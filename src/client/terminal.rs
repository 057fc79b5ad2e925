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

/// The same for a text that is to steer the terminal, and has nothing of others in it that does.
/// A running gateway never waits for its terminal.
pub fn print_drawn(text: &str) {
    if let Some(screen) = output::screen() {
        return screen.put(text.as_bytes().to_vec());
    }
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A table with as much room for each column as its widest cell takes.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|nth| {
            rows.iter()
                .filter_map(|row| row.get(nth))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}
