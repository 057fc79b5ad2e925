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
/// [`FormError`] when it isn't a form, or could be read in two ways.
pub fn scan(
    body: &[u8],
    content_type: &str,
    names: &[&str],
) -> Result<Vec<Option<Range<usize>>>, FormError> {
    let mut found = vec![None; names.len()];
    walk(body, content_type, |part| {
        if let Some(nth) = names.iter().position(|name| *name == part.name) {
            if found[nth].is_some() {
                return Err(FormError("a field is given twice"));
            }
            if part.filename.is_some() {
                return Err(FormError("a field of text is sent as a file"));
            }
            if part.is_recoded {
                return Err(FormError("a field of text is not in UTF-8"));
            }
            found[nth] = Some(part.at);
        } else if names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(bare(part.name)))
        {
            return Err(FormError("a field can be mistaken for a known one"));
        } else if part.name == "_charset_" {
            return Err(FormError("a field names a character set for the others"));
        } else if part.is_recoded && part.filename.is_none() {
            return Err(FormError("a field of text is not in UTF-8"));
        }
        Ok(())
    })?;
    Ok(found)
}

/// A part of a form.
pub struct Part<'a> {
    pub name: &'a str,
    /// The name of its file. Some servers take one without for a field.
    pub filename: Option<&'a str>,
    /// The type that it says it has; may be empty.
    pub kind: &'a str,
    /// Where its value stands.
    pub at: Range<usize>,
    /// Its bytes are text in another character set than UTF-8, or may be.
    pub is_recoded: bool,
}

/// All parts.
///
/// # Errors
/// [`FormError`] when it isn't a form.
pub fn parts<'b>(body: &'b [u8], content_type: &str) -> Result<Vec<Part<'b>>, FormError> {
    let mut found = Vec::new();
    walk(body, content_type, |part| {
        found.push(part);
        Ok(())
    })?;
    Ok(found)
}

/// A form with a field that it lacks, or has without a value; `None` if it isn't a form, has a value
/// for the field, or the new value would end the field.
#[must_use]
pub fn with_field(body: &[u8], content_type: &str, name: &str, value: &str) -> Option<Vec<u8>> {
    let boundary = boundary(content_type).ok()?;
    let first = format!("--{boundary}");
    let rest = body.strip_prefix(first.as_bytes())?;
    if value.contains(['\r', '\n']) || value.contains(&first) {
        return None;
    }
    if let Some(at) = scan(body, content_type, &[name]).ok()?.pop().flatten() {
        let is_empty = body[at.clone()].trim_ascii().is_empty();
        return is_empty.then(|| [&body[..at.start], value.as_bytes(), &body[at.end..]].concat());
    }
    let field = format!(
        "{first}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n{first}"
    );
    Some([field.as_bytes(), rest].concat())
}

/// Where the name of a part, or of its file, stands in the body.
#[must_use]
pub fn place(body: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(body.as_ptr().addr());
    start..start + part.len()
}

/// Calls `each` with every part.
fn walk<'b>(
    body: &'b [u8],
    content_type: &str,
    mut each: impl FnMut(Part<'b>) -> Result<(), FormError>,
) -> Result<(), FormError> {
    let boundary = boundary(content_type)?;
    let (first, between) = (format!("--{boundary}"), format!("\r\n--{boundary}"));
    if !body.starts_with(first.as_bytes()) {
        return Err(FormError("it does not begin with its boundary"));
    }
    let mut at = first.len();
    for _ in 0..MAX_PARTS {
        match body.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(b"--") => {
                let rest = &body[at + 2..];
                if rest.is_empty() || rest == b"\r\n" {
                    return Ok(());
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
        each(Part::read(&body[at..at + head], start..start + length)?)?;
        at = start + length + between.len();
    }
    Err(FormError("it has too many parts"))
}

/// The boundary that a content type names (RFC 2046, section 5.1.1). It may name UTF-8 besides:
/// in another character set the same bytes would be other names and other values.
fn boundary(content_type: &str) -> Result<&str, FormError> {
    let mut boundary = None;
    for parameter in content_type.split(';').skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, value) = (name.trim(), unquoted(value.trim()));
        if name.eq_ignore_ascii_case("boundary") && boundary.is_none() {
            boundary = Some(value);
        } else if !(name.eq_ignore_ascii_case("charset") && is_utf8(value)) {
            return Err(FormError(
                "its content type names more than one boundary and UTF-8",
            ));
        }
    }
    let value = boundary.ok_or(FormError("its content type does not name a boundary"))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    if value.is_empty() || value.len() > 70 || !value.bytes().all(plain) {
        return Err(FormError(
            "its boundary is not of the form that all understand",
        ));
    }
    Ok(value)
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
}

fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(charset))
}

/// A name as the most lenient parser may read it: without the marks of a list or of an object, or
/// spaces.
#[must_use]
pub fn bare(name: &str) -> &str {
    let mut steps = name.split(['[', ']', '.']).map(str::trim);
    steps.find(|step| !step.is_empty()).unwrap_or_default()
}

impl<'a> Part<'a> {
    fn read(head: &'a [u8], at: Range<usize>) -> Result<Self, FormError> {
        let head =
            std::str::from_utf8(head).map_err(|_| FormError("a part's head is not UTF-8"))?;
        let (mut disposition, mut kind) = (None, None);
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
            } else if kind.replace(value).is_some() {
                return Err(FormError("a part has two types"));
            }
        }
        let disposition = disposition.ok_or(FormError("a part has no disposition"))?;
        let mut parameters = kind.unwrap_or_default().split(';').skip(1);
        let is_recoded = parameters.any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            !name.trim().eq_ignore_ascii_case("charset") || !is_utf8(unquoted(value.trim()))
        });
        let (name, filename) = disposition_of(disposition)?;
        Ok(Self {
            name,
            filename,
            kind: kind.unwrap_or_default(),
            at,
            is_recoded,
        })
    }
}

/// The two names in `form-data; name="…"` and perhaps `; filename="…"`.
fn disposition_of(text: &str) -> Result<(&str, Option<&str>), FormError> {
    let odd = FormError("a part's disposition is not of the form that all understand");
    let mut rest = text.strip_prefix("form-data").ok_or(odd)?;
    let (mut name, mut filename) = (None, None);
    while let Some(parameter) = rest.trim_start().strip_prefix(';') {
        let (key, quoted) = parameter.trim_start().split_once('=').ok_or(odd)?;
        let value = quoted.strip_prefix('"').ok_or(odd)?;
        let (value, after) = value.split_once('"').ok_or(odd)?;
        if value.contains('\\') {
            return Err(odd);
        }
        match key {
            "name" if name.is_none() => name = Some(value),
            "filename" if filename.is_none() => filename = Some(value),
            _ => return Err(odd),
        }
        rest = after;
    }
    let name = name.filter(|_| rest.trim().is_empty()).ok_or(odd)?;
    Ok((name, filename))
}

#[cfg(test)]
mod tests;
