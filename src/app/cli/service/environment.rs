//! The file of variables that a service gets: read and changed in the form that systemd
//! (`EnvironmentFile=`) and a shell (`.`) both read, because launchd needs the latter.

use std::ops::Range;

#[derive(Debug, PartialEq, Eq)]
struct Assignment {
    name: String,
    value: String,
    /// Its place in the text, up to the end of its last line.
    at: Range<usize>,
}

pub(super) fn value(text: &str, name: &str) -> Option<String> {
    // Of several assignments the last one counts.
    let last = assignments(text).into_iter().rfind(|one| one.name == name);
    last.map(|one| one.value)
}

/// The text with these values. Comments, other variables and unchanged lines stay as they are.
pub(super) fn with(text: &str, values: &[(String, String)]) -> String {
    let mut out = text.to_owned();
    for (name, value) in values {
        if self::value(&out, name).as_ref() == Some(value) {
            continue;
        }
        let line = format!("{name}={}", quoted(value));
        // Of several assignments the last one counts.
        let old = assignments(&out).into_iter().rfind(|one| one.name == *name);
        if let Some(old) = old {
            out.replace_range(old.at, &line);
        } else {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

/// In double quotes, in which both readers know the same four escapes.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for char in value.chars() {
        if matches!(char, '"' | '\\' | '`' | '$') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
    out
}

fn assignments(text: &str) -> Vec<Assignment> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let line_end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        let line = &text[at..line_end];
        let start = at + (line.len() - line.trim_start().len());
        let is_comment = line.trim_start().starts_with(['#', ';']);
        match line.split_once('=').filter(|_| !is_comment) {
            Some((name, _)) => {
                let (value, end) = read(text, at + name.len() + 1);
                found.push(Assignment {
                    name: name.trim().trim_start_matches("export ").to_owned(),
                    value,
                    at: start..end,
                });
                at = end + 1;
            }
            None => at = line_end + 1,
        }
    }
    found
}

/// A value that begins at `from`, and where its last line ends.
fn read(text: &str, from: usize) -> (String, usize) {
    let mut value = String::new();
    // Blanks at the end of what is not quoted are not part of it.
    let mut kept = 0;
    let mut quote = None;
    let mut chars = text[from..].char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match (quote, char) {
            (None, '\n') => {
                value.truncate(kept);
                return (value, from + at);
            }
            (None, '"' | '\'') => {
                quote = Some(char);
                kept = value.len();
            }
            (Some(open), _) if char == open => {
                quote = None;
                kept = value.len();
            }
            (None | Some('"'), '\\') => {
                let next = chars.next().map(|(_, char)| char);
                let escaped = |next: char| quote.is_none() || "\"\\`$".contains(next);
                match next {
                    Some('\n') | None => {}
                    Some(next) => {
                        if !escaped(next) {
                            value.push('\\');
                        }
                        value.push(next);
                    }
                }
                kept = value.len();
            }
            (None, char) if char.is_whitespace() => {
                if !value.is_empty() {
                    value.push(char);
                }
            }
            (_, char) => {
                value.push(char);
                kept = value.len();
            }
        }
    }
    if quote.is_none() {
        value.truncate(kept);
    }
    (value, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn values_are_read_as_systemd_and_shells_read_them() {
        let text = "# A comment = none\n; another=one\n\nPLAIN=abc  \n  SPACED = with words \n\
                    SINGLE='a \"$b\" \\c'\nDOUBLE=\"a \\\"b\\\" \\$c \\d\"\nLINES=\"one\ntwo\"\n\
                    JOINED=a'b'\"c\"\nGOES_ON=a\\\nb\nTWICE=1\nTWICE=2\nEMPTY=\nLAST=end";
        for (name, wanted) in [
            ("PLAIN", "abc"),
            ("SPACED", "with words"),
            ("SINGLE", "a \"$b\" \\c"),
            ("DOUBLE", "a \"b\" $c \\d"),
            ("LINES", "one\ntwo"),
            ("JOINED", "abc"),
            ("GOES_ON", "ab"),
            ("TWICE", "2"),
            ("EMPTY", ""),
            ("LAST", "end"),
        ] {
            assert_eq!(value(text, name).as_deref(), Some(wanted), "{name}");
        }
        assert_eq!(value(text, "two\""), None);
        assert_eq!(value(text, "another"), None);
    }

    #[test]
    fn a_change_leaves_the_rest_as_it_is() {
        let text = "# Mine\nA='one'\nB=two\nC=\"x\ny\"\n# The end";
        let changed = with(text, &[one("A", "one"), one("C", "z"), one("D", "new")]);
        assert_eq!(
            changed,
            "# Mine\nA='one'\nB=two\nC=\"z\"\n# The end\nD=\"new\"\n"
        );
        assert_eq!(with(&changed, &[one("D", "new")]), changed);
        assert_eq!(with("", &[]), "");
    }

    /// What is written is read back the same, here and by a shell.
    #[test]
    fn hard_values_survive() {
        let hard = "a\"b\\c`d$e 'f' #g\t\nh=i;ü \\\\";
        let text = with("", &[one("KEY", hard), one("NEXT", "n")]);
        assert_eq!(value(&text, "KEY").as_deref(), Some(hard));
        assert_eq!(value(&text, "NEXT").as_deref(), Some("n"));
        let script = format!("{text}printf '%s' \"$KEY\"");
        let shell = std::process::Command::new("sh")
            .args(["-c", &script])
            .output();
        assert_eq!(String::from_utf8(shell.unwrap().stdout).unwrap(), hard);
    }
}
