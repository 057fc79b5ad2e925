//! The section `access`: what being an admin does not imply.

use super::section;
use super::table::Table;

section! {
    /// Limits of what admins may do.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Access {
        /// Whether an admin may read what others said without a grant with `read_captures`.
        admins_read_captures: bool = true,
        /// References such as `OPENAI_KEY` or `file:/run/secrets/*` that a save through the API may add.
        // Only who can write the file changes them.
        references: Vec<String>,
    }
    check: check
}

impl Access {
    /// Whether a save may add a reference of this name.
    #[must_use]
    pub fn may_refer(&self, name: &str) -> bool {
        self.references
            .iter()
            .any(|pattern| match pattern.strip_suffix('*') {
                // What begins in a folder must not lead out of it.
                Some(start) => name.starts_with(start) && !name.contains(".."),
                None => name == pattern,
            })
    }
}

fn check(read: Access, table: &Table<'_>) -> Option<Access> {
    // A start that is empty would allow everything.
    if read.references.iter().any(|pattern| pattern == "*") {
        table.findings.error(
            table.position("references"),
            &table.path,
            "\"*\" would let admins read every variable and every file: name what they may refer to",
        );
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_named_or_begin_like_one() {
        let access = Access {
            references: vec!["OPENAI_KEY".into(), "file:/run/secrets/*".into()],
            ..Access::default()
        };
        assert!(access.may_refer("OPENAI_KEY") && access.may_refer("file:/run/secrets/a/b"));
        for name in [
            "OPENAI_KEY2",
            "file:/run/secrets/../x",
            "file:/etc/shadow",
            "",
        ] {
            assert!(!access.may_refer(name), "{name}");
        }
    }
}
