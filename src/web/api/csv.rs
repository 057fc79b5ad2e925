//! Tables as CSV (RFC 4180), for spreadsheets.

use http::{HeaderValue, Response, header};

use crate::wire::Body;

/// A table with a head.
pub(super) struct Csv {
    out: String,
}

/// A column: its name, and what a row has in it.
pub(super) type Column<R> = (&'static str, fn(&R) -> String);

impl Csv {
    /// A table of rows.
    pub(super) fn of<R>(columns: &[Column<R>], rows: &[R]) -> Self {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let mut csv = Self::new(&names);
        for row in rows {
            csv.row(columns.iter().map(|(_, cell)| cell(row)));
        }
        csv
    }

    /// A table with these columns.
    pub(super) fn new(columns: &[&str]) -> Self {
        let mut csv = Self { out: String::new() };
        csv.row(columns.iter().map(|column| (*column).to_owned()));
        csv
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        for (nth, cell) in cells.into_iter().enumerate() {
            if nth > 0 {
                self.out.push(',');
            }
            self.cell(&cell);
        }
        self.out.push_str("\r\n");
    }

    fn cell(&mut self, text: &str) {
        // Spreadsheets take a cell that begins like this for a formula.
        let formula =
            text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
        if !formula && !text.contains([',', '"', '\r', '\n']) {
            self.out.push_str(text);
            return;
        }
        self.out.push('"');
        if formula {
            self.out.push('\'');
        }
        self.out.push_str(&text.replace('"', "\"\""));
        self.out.push('"');
    }

    /// The answer to a request for it.
    pub(super) fn respond(self, name: &str) -> Response<Body> {
        let mut response = super::respond("text/csv; charset=utf-8", self.out);
        let headers = response.headers_mut();
        let disposition = format!("attachment; filename=\"{name}.csv\"");
        if let Ok(disposition) = HeaderValue::from_str(&disposition) {
            headers.insert(header::CONTENT_DISPOSITION, disposition);
        }
        response
    }
}

/// A cell that may be empty.
pub(super) fn known(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A time in unix milliseconds, as in RFC 3339.
pub(super) fn time(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .unwrap_or_default()
        .to_string()
}

/// Nanodollars as dollars, exact.
pub(super) fn dollars(nano: i64) -> String {
    let sign = if nano < 0 { "-" } else { "" };
    let nano = nano.unsigned_abs();
    format!("{sign}{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_cells_and_never_become_formulas() {
        let mut csv = Csv::new(&["a", "b"]);
        csv.row(["=HYPERLINK(\"x\")".to_owned(), "-1.5".to_owned()]);
        csv.row(["one, \"two\"\nthree".to_owned(), "@cmd".to_owned()]);
        assert_eq!(
            csv.out,
            "a,b\r\n\"'=HYPERLINK(\"\"x\"\")\",-1.5\r\n\"one, \"\"two\"\"\nthree\",\"'@cmd\"\r\n"
        );
    }
}
