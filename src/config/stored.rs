//! Secrets that a person has just typed: a configuration names them before they are anywhere, and they
//! go into files that only their owner can read.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::load::resolve;
use super::{Finding, Loaded, parse};
use crate::base::atomic_file;
use crate::base::secret::Secret;

/// Parses a text as if it stood in the file at `path`. What `typed` has a value for need not be in
/// the environment or in a file yet.
///
/// # Errors
/// As [`parse`].
pub fn check_with(
    text: &str,
    path: &Path,
    typed: &[(String, Secret)],
) -> Result<Loaded, Vec<Finding>> {
    parse(text, &|name| {
        let secret = typed.iter().find(|(reference, _)| reference == name);
        match secret {
            Some((_, secret)) => Some(secret.expose().to_owned()),
            None => resolve(name, path.parent()),
        }
    })
}

/// Whether what stands in `${…}` has a value for a configuration at `path`.
#[must_use]
pub fn is_there(reference: &str, path: &Path) -> bool {
    resolve(reference, path.parent()).is_some_and(|value| !value.is_empty())
}

/// Writes a secret to a new file, in a folder that is made if need be; both are for their owner
/// alone.
///
/// # Errors
/// As the system gives them. A file that is there stays as it is.
pub fn store(path: &Path, secret: &Secret) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder)?;
    }
    let line = format!("{}\n", secret.expose());
    atomic_file::create(path, line.as_bytes(), 0o600)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_typed_secret_counts_before_it_is_stored_and_stays_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/p.key");
        let reference = format!("file:{}", path.display());
        let text = format!(
            r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["m"],"apikey":"${{{reference}}}"}}}}}}"#
        );
        let config = dir.path().join("iris.hujson");
        assert!(check_with(&text, &config, &[]).is_err());
        let secret = Secret::new("sk-typed".to_owned());
        let typed = [(reference.clone(), secret.clone())];
        let read = check_with(&text, &config, &typed).unwrap().file;
        assert_eq!(read.providers["p"].apikey, secret);
        assert!(!is_there(&reference, &config));

        store(&path, &secret).unwrap();
        assert!(is_there(&reference, &config));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let read = check_with(&text, &config, &[]).unwrap().file;
        assert_eq!(read.providers["p"].apikey, secret);
        let other = Secret::new("other".to_owned());
        assert!(store(&path, &other).is_err(), "it stays as it is");
    }
}
