//! A strict scan of a form (RFC 7578) that is held whole. It finds the ranges of a few fields,
//! so that one of them can be replaced and all else travel on byte for byte: parsers give
//! values, not ranges, and read many forms that others read differently. Those are refused.

use std::ops::Range;

use memchr::memmem;

/// Parts of a form at most.
const MAX_PARTS: usize = 256;
/// The head of a part at most.
const MAX_HEAD: usize = 8 * 1024;

/// What is wrong with a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormError(&'static str);

/// The ranges of the values of `names`, in their order, of a body of the type `content_type`.
///
/// # Errors
/// [`FormError`] when it is no form, or one that could be read in two ways.
pub fn scan(
    body: &[u8],
    content_type: &str,
    names: &[&str],
) -> Result<Vec<Option<Range<usize>>>, FormError> {
    let boundary = boundary(content_type)?;
    let (first, between) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    if !body.starts_with(first.as_bytes()) {
        return Err(FormError("it does not begin with its boundary"));
    }
    let mut found = vec![None; names.len()];
    let mut at = first.len();
    for _ in 0..MAX_PARTS {
        match body.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(b"--") => {
                let rest = &body[at + 2..];
                if rest.is_empty() || rest == b"\r\n" {
                    return Ok(found);
                }
                return Err(FormError("there is more after its end"));
            }
            _ => return Err(FormError("a boundary is followed by something else")),
        }
        let head = memmem::find(&body[at..], b"\r\n\r\n")
            .filter(|length| *length <= MAX_HEAD)
            .ok_or(FormError("a part has no end of its head"))?;
        let start = at + head + 4;
        let length = memmem::find(&body[start..], between.as_bytes())
            .ok_or(FormError("a part has no end"))?;
        let part = Part::read(&body[at..at + head])?;
        if let Some(nth) = names.iter().position(|name| *name == part.name) {
            if found[nth].is_some() {
                return Err(FormError("a field is given twice"));
            }
            if part.is_file {
                return Err(FormError("a field of text is sent as a file"));
            }
            found[nth] = Some(start..start + length);
        } else if names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(part.name))
        {
            return Err(FormError("a field differs from a known one in case alone"));
        }
        at = start + length + between.len();
    }
    Err(FormError("it has too many parts"))
}

/// The boundary that a content type names (RFC 2046, section 5.1.1).
fn boundary(content_type: &str) -> Result<&str, FormError> {
    let mut named = content_type.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("boundary")
            .then(|| value.trim())
    });
    let (Some(value), None) = (named.next(), named.next()) else {
        return Err(FormError("its content type does not name one boundary"));
    };
    let value = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    if value.is_empty() || value.len() > 70 || !value.bytes().all(plain) {
        return Err(FormError(
            "its boundary is not of the form that all understand",
        ));
    }
    Ok(value)
}

struct Part<'a> {
    name: &'a str,
    is_file: bool,
}

impl<'a> Part<'a> {
    fn read(head: &'a [u8]) -> Result<Self, FormError> {
        let head =
            std::str::from_utf8(head).map_err(|_| FormError("a part's head is not UTF-8"))?;
        let mut disposition = None;
        for line in head.split("\r\n") {
            if line.contains(['\r', '\n', '\0']) || line.starts_with([' ', '\t']) {
                return Err(FormError("a part's head has an odd line"));
            }
            let (name, value) = line
                .split_once(':')
                .ok_or(FormError("a part's head has a line without a colon"))?;
            if name.eq_ignore_ascii_case("content-disposition") {
                if disposition.replace(value.trim()).is_some() {
                    return Err(FormError("a part has two dispositions"));
                }
            } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
                return Err(FormError("a part has a transfer encoding"));
            } else if !name.eq_ignore_ascii_case("content-type") {
                return Err(FormError("a part's head has an unknown field"));
            }
        }
        let disposition = disposition.ok_or(FormError("a part has no disposition"))?;
        Self::disposition(disposition)
    }

    /// `form-data; name="…"` and perhaps `; filename="…"`.
    fn disposition(text: &'a str) -> Result<Self, FormError> {
        let odd = FormError("a part's disposition is not of the form that all understand");
        let mut rest = text.strip_prefix("form-data").ok_or(odd)?;
        let (mut name, mut is_file) = (None, false);
        while let Some(parameter) = rest.trim_start().strip_prefix(';') {
            let (key, quoted) = parameter.trim_start().split_once('=').ok_or(odd)?;
            let value = quoted.strip_prefix('"').ok_or(odd)?;
            let (value, after) = value.split_once('"').ok_or(odd)?;
            if value.contains('\\') {
                return Err(odd);
            }
            match key {
                "name" if name.is_none() => name = Some(value),
                "filename" if !is_file => is_file = true,
                _ => return Err(odd),
            }
            rest = after;
        }
        if !rest.trim().is_empty() {
            return Err(odd);
        }
        Ok(Self {
            name: name.ok_or(odd)?,
            is_file,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=X";

    fn part(head: &str, body: &str) -> String {
        format!("--X\r\n{head}\r\n\r\n{body}\r\n")
    }

    fn model(form: &str) -> Result<Option<String>, FormError> {
        let found = scan(form.as_bytes(), KIND, &["model"])?;
        Ok(found[0].clone().map(|at| form[at].to_owned()))
    }

    #[test]
    fn finds_a_field_among_others() {
        let file = part(
            "Content-Disposition: form-data; name=\"file\"; filename=\"a b.wav\"\r\nContent-Type: audio/wav",
            "RIFF\r\n-X\r\n\r\nmodel",
        );
        let field = part("content-disposition: form-data; name=\"model\"", "m");
        assert_eq!(
            model(&format!("{file}{field}--X--\r\n")).unwrap().unwrap(),
            "m"
        );
        assert_eq!(model(&format!("{file}--X--")).unwrap(), None);
        let quoted = scan(b"--X--", "multipart/form-data; boundary=\"X\"", &[]);
        assert!(quoted.is_ok());
    }

    #[test]
    fn what_parsers_read_differently_is_refused() {
        let field = part("Content-Disposition: form-data; name=\"model\"", "m");
        let end = "--X--\r\n";
        for form in [
            format!("{field}{field}{end}"),
            format!(
                "{field}{}{end}",
                part("Content-Disposition: form-data; name=\"Model\"", "x")
            ),
            format!("preamble\r\n{field}{end}"),
            format!("{field}{end}epilogue"),
            field.clone(),
            field.replace("\r\n", "\n") + end,
            format!(
                "{}{end}",
                part(
                    "Content-Disposition: form-data; name=\"model\"; filename=\"m\"",
                    "m"
                )
            ),
            format!(
                "{}{end}",
                part("Content-Disposition: form-data; name=model", "m")
            ),
            format!(
                "{}{end}",
                part("Content-Disposition: form-data; name=\"mo\\del\"", "m")
            ),
            format!(
                "{}{end}",
                part(
                    "Content-Disposition: form-data; name=\"model\"; name=\"x\"",
                    "m"
                )
            ),
            format!(
                "{}{end}",
                part("Content-Disposition: form-data; name*=UTF-8''model", "m")
            ),
            format!(
                "{}{end}",
                part(
                    "Content-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=\"model\"",
                    "bQ=="
                )
            ),
            format!(
                "{}{end}",
                part("Content-Disposition: form-data;\r\n name=\"model\"", "m")
            ),
            format!("--X \r\n{}", &field[5..]) + end,
        ] {
            assert!(model(&form).is_err(), "{form:?}");
        }
        for kind in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=X; boundary=Y",
        ] {
            assert!(scan(b"--X--", kind, &[]).is_err(), "{kind}");
        }
    }

    #[test]
    fn damaged_forms_do_no_harm() {
        let field = part("Content-Disposition: form-data; name=\"model\"", "m");
        let form = format!("{field}{field}--X--\r\n").into_bytes();
        for at in 0..form.len() {
            let _ = scan(&form[..at], KIND, &["model"]);
            let mut changed = form.clone();
            changed[at] ^= 0x20;
            let _ = scan(&changed, KIND, &["model"]);
        }
    }
}
