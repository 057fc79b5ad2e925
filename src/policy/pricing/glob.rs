//! Patterns of `model_cost_map`, with the meaning of Go's `path.Match`: `*` and `?` stop at a
//! slash, `[a-z]` and `[^a-z]` are classes, a backslash takes the next character as it is.

/// The pattern is malformed; it matches nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// A pattern, parsed.
#[derive(Clone, Debug)]
pub struct Glob(Vec<Chunk>);

/// The part between two stars.
#[derive(Clone, Debug, Default)]
struct Chunk {
    star: bool,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(char),
    Any,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`BadPattern`] for an empty or open class, and for a backslash at the end.
    pub fn new(pattern: &str) -> Result<Self, BadPattern> {
        let mut chars = pattern.chars().peekable();
        let mut chunks = Vec::new();
        let mut chunk = Chunk::default();
        while let Some(char) = chars.next() {
            chunk.parts.push(match char {
                '*' => {
                    // Stars in a row mean the same as one.
                    if !chunk.star || !chunk.parts.is_empty() {
                        chunks.push(std::mem::take(&mut chunk));
                        chunk.star = true;
                    }
                    continue;
                }
                '?' => Part::Any,
                '[' => class(&mut chars)?,
                '\\' => Part::Literal(chars.next().ok_or(BadPattern)?),
                other => Part::Literal(other),
            });
        }
        chunks.push(chunk);
        Ok(Self(chunks))
    }

    /// Whether the pattern matches all of a name.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let mut rest = &name[..];
        for (nth, chunk) in self.0.iter().enumerate() {
            let last = nth + 1 == self.0.len();
            if chunk.star && chunk.parts.is_empty() {
                return !rest.contains(&'/');
            }
            // The first place that fits is taken, and never left again: Go does so too.
            let skips = if chunk.star {
                let slash = rest.iter().position(|char| *char == '/');
                slash.unwrap_or(rest.len())
            } else {
                0
            };
            let found = (0..=skips)
                .filter_map(|skip| chunk.at(&rest[skip..]))
                .find(|tail| !last || tail.is_empty());
            match found {
                Some(tail) => rest = tail,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// A class, after its opening bracket.
fn class(chars: &mut Chars<'_>) -> Result<Part, BadPattern> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
        let low = bound(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() {
            bound(chars)?
        } else {
            low
        };
        ranges.push((low, high));
    }
    Ok(Part::Class { negated, ranges })
}

/// One end of a range.
fn bound(chars: &mut Chars<'_>) -> Result<char, BadPattern> {
    match chars.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => chars.next().ok_or(BadPattern),
        Some(char) => Ok(char),
    }
}

impl Chunk {
    /// What is left of a text that begins with this.
    fn at<'a>(&self, text: &'a [char]) -> Option<&'a [char]> {
        let (head, tail) = text.split_at_checked(self.parts.len())?;
        let fits = self.parts.iter().zip(head).all(|(part, char)| match part {
            Part::Literal(wanted) => wanted == char,
            Part::Any => *char != '/',
            Part::Class { negated, ranges } => {
                let within = ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(char));
                within != *negated
            }
        });
        fits.then_some(tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of Go's own test of `path.Match`, as facts.
    #[test]
    fn as_in_go() {
        for (pattern, name, matches) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^b-d]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("a[^a][^a][^a]b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-]", "-", true),
            ("[x\\-]", "x", true),
            ("[x\\-]", "-", true),
            ("[x\\-]", "z", false),
            ("[\\-x]", "x", true),
            ("[\\-x]", "a", false),
            ("*x", "xxx", true),
            ("", "", true),
            ("", "x", false),
            ("**", "a/b", false),
            ("house-*", "house-big", true),
            ("*/gpt-*", "openai/gpt-5", true),
        ] {
            assert_eq!(
                Glob::new(pattern).unwrap().matches(name),
                matches,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn malformed_patterns() {
        for pattern in [
            "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\", "[a\\",
        ] {
            assert_eq!(Glob::new(pattern).err(), Some(BadPattern), "{pattern}");
        }
    }

    #[test]
    fn many_stars_end_soon() {
        let glob = Glob::new(&"a*".repeat(200)).unwrap();
        assert!(!glob.matches(&("a".repeat(199) + &"b".repeat(2_000))));
    }
}
