//! URLs of the document: what is wrong with one, and what of one may be shown. An address can hold
//! a password, and one that can't be read could hold it anywhere.

/// What of an address may stand in a message: scheme and host, and dots for the rest.
pub(super) fn shown(text: &str) -> String {
    let Some((scheme, rest)) = text.trim().split_once("://") else {
        return "…".to_owned();
    };
    if !is_scheme(scheme) {
        return "…".to_owned();
    }
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let host = rest[..end].rsplit('@').next().unwrap_or_default();
    // An @ behind the host can be part of a password that has a slash.
    if rest[end..].contains('@') || !is_host(host) {
        return format!("{scheme}://…");
    }
    let more = match &rest[end..] {
        "" | "/" => &rest[end..],
        _ => "/…",
    };
    format!("{scheme}://{host}{more}")
}

fn is_scheme(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|char: char| char.is_ascii_alphabetic())
        && text.len() <= 24
        && text.bytes().all(inner)
}

/// Whether a text can be a host, or several, with their ports.
fn is_host(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:,[]%".contains(&byte);
    text.bytes().all(inner)
}

/// What is wrong with the URL of an HTTP server, without a word of it.
pub(crate) fn http_problem(text: &str) -> Option<&'static str> {
    let Ok(uri) = text.parse::<http::Uri>() else {
        return Some("is not a valid URL");
    };
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(_) => return Some("has another scheme than http and https"),
        None => return Some("has no scheme; write http:// or https:// in front of the host"),
    }
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    if authority.contains('@') {
        return Some("names a user; a credential belongs in a field of its own");
    }
    None
}

/// What is wrong with a name under which requests come: a host, or the URL of a server in front.
pub(super) fn name_problem(text: &str) -> Option<&'static str> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if text.contains("://") {
        let path = text.parse::<http::Uri>().ok();
        let path = path.as_ref().and_then(http::Uri::path_and_query);
        return http_problem(text).or_else(|| {
            let is_root = path.is_none_or(|path| path.as_str() == "/");
            (!is_root).then_some("has a path; write scheme, host and port alone")
        });
    }
    if text.is_empty() {
        return Some("is empty");
    }
    if text.contains(':') && text.parse::<std::net::Ipv6Addr>().is_err() {
        return Some(
            "has a port; for a proxy in front, write its URL, as in https://ai.example.com",
        );
    }
    (!text.bytes().all(is_name)).then_some("can't be the name of a host")
}

/// The host of such a name.
#[must_use]
pub fn host_of(name: &str) -> &str {
    let Some((_, rest)) = name.split_once("://") else {
        return name;
    };
    let rest = rest.split('/').next().unwrap_or_default();
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, ""));
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        host
    } else {
        rest
    }
}

/// A name as it may stand in a message.
pub(super) fn shown_name(text: &str) -> String {
    if text.contains("://") {
        shown(text)
    } else {
        text.to_owned()
    }
}

/// What is wrong with the URL of a database, without a word of what could be its password.
#[must_use]
pub fn database_problem(url: &str) -> Option<String> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return sqlite_problem(path);
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return postgres_problem(url);
    }
    let wanted = "write sqlite:PATH or postgres://user:password@host/database";
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    Some(match scheme.filter(|scheme| is_scheme(scheme)) {
        Some(scheme) if scheme.starts_with("postgres") => {
            format!("the scheme {scheme:?} is not known; write postgres:// instead")
        }
        Some(scheme) => format!("databases of the kind {scheme:?} are not supported; {wanted}"),
        None if ["host", "user", "password", "dbname"]
            .iter()
            .any(|key| url.contains(&format!("{key}="))) =>
        {
            format!("the form key=value is not supported; {wanted}")
        }
        None => format!("it has no scheme; {wanted}"),
    })
}

fn sqlite_problem(rest: &str) -> Option<String> {
    if rest == ":memory:" {
        return None;
    }
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.starts_with(':') {
        return Some("it has no path; write sqlite:PATH or sqlite::memory:".to_owned());
    }
    path.contains('?')
        .then(|| "a sqlite: URL has no options; write sqlite:PATH".to_owned())
}

#[cfg(not(feature = "postgres"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "as where there is something to check"
)]
fn postgres_problem(_: &str) -> Option<String> {
    Some("this program was built without PostgreSQL; write sqlite:PATH".to_owned())
}

#[cfg(feature = "postgres")]
fn postgres_problem(url: &str) -> Option<String> {
    postgres(url).err()
}

/// The URL of a `PostgreSQL` server, as its driver takes it. Certificates and the names in them
/// are always verified where TLS is used, so the modes that ask for that are `require`.
///
/// # Errors
/// What is wrong with it, without a word of what could be its password.
#[cfg(feature = "postgres")]
pub fn postgres(url: &str) -> Result<tokio_postgres::Config, String> {
    use std::error::Error;
    use tokio_postgres::config::{Host, TargetSessionAttrs};

    const ESCAPES: &str =
        "in the user name and the password, write %40 for @, %3A for : and %25 for %";
    let (url, root) = postgres_root(url)?;
    let plain = url
        .replace("sslmode=verify-full", "sslmode=require")
        .replace("sslmode=verify-ca", "sslmode=require")
        .replace(
            "target_session_attrs=primary",
            "target_session_attrs=read-write",
        );
    let config: tokio_postgres::Config =
        plain.parse().map_err(|error: tokio_postgres::Error| {
            // The cause names options and kinds of mistakes, and quotes no values.
            let cause = error.source().map(ToString::to_string);
            let cause = cause.unwrap_or_else(|| "it can't be read".to_owned());
            format!("{cause}; {ESCAPES}")
        })?;
    if config.get_hosts().is_empty() {
        return Err("it names no host".to_owned());
    }
    if config.get_target_session_attrs() == TargetSessionAttrs::ReadOnly {
        return Err(
            "\"target_session_attrs\" is read-only, and Iris writes records; leave it out"
                .to_owned(),
        );
    }
    let is_odd = |host: &Host| matches!(host, Host::Tcp(name) if name.is_empty() || !is_host(name));
    if config.get_hosts().iter().any(is_odd) {
        return Err(format!("its host is not the name of a host; {ESCAPES}"));
    }
    if root.is_some() && config.get_ssl_mode() != tokio_postgres::config::SslMode::Require {
        return Err("sslrootcert has no effect without TLS; add sslmode=require".to_owned());
    }
    Ok(config)
}

/// The URL of a `PostgreSQL` server without `sslrootcert`, which the driver doesn't know, and the
/// file that it names. `system` stands for this machine's store, as for other clients.
///
/// # Errors
/// What is wrong with it, without a word of what could be a password.
#[cfg(feature = "postgres")]
pub fn postgres_root(url: &str) -> Result<(String, Option<std::path::PathBuf>), String> {
    // The driver takes everything in front of the first @ for user and password.
    let start = url.find('@').unwrap_or_default();
    let Some(query) = url[start..].find('?').map(|at| start + at + 1) else {
        return Ok((url.to_owned(), None));
    };
    let mut root = None;
    let mut kept = Vec::new();
    for pair in url[query..].split('&') {
        let Some(value) = pair.strip_prefix("sslrootcert=") else {
            kept.push(pair);
            continue;
        };
        let path = percent_encoding::percent_decode_str(value).decode_utf8();
        let path = path.map_err(|_| "its sslrootcert is not text".to_owned())?;
        root = match path.as_ref() {
            "" => return Err("its sslrootcert names no file".to_owned()),
            "system" => None,
            path => Some(path.into()),
        };
    }
    let query_start = if kept.is_empty() { query - 1 } else { query };
    Ok((format!("{}{}", &url[..query_start], kept.join("&")), root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_an_address_holds_no_secret() {
        for (text, expected) in [
            ("ftp://x", "ftp://x"),
            ("https://h:1/", "https://h:1/"),
            (
                "https://hooks.test/services/T0/CANARY",
                "https://hooks.test/…",
            ),
            ("https://u:CANARY@h/x", "https://h/…"),
            ("https://u:CAN/ARY@h", "https://…"),
            ("https://CANARY pw@h y", "https://…"),
            ("//u:CANARY@h", "…"),
            ("hooks.test/CANARY", "…"),
            ("CANARY key://h", "…"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn urls_of_databases_are_good_or_what_is_wrong_is_said() {
        for good in [
            "sqlite:iris.db",
            "sqlite:///var/lib/iris.db",
            "sqlite::memory:",
            #[cfg(feature = "postgres")]
            "postgres://iris:p%40ss@db.test:5433/records?sslmode=verify-full",
            #[cfg(feature = "postgres")]
            "postgresql://iris@[::1]/x",
            #[cfg(feature = "postgres")]
            "postgres://iris@a,b:5433/x",
            #[cfg(feature = "postgres")]
            "postgres://iris@a,b/x?target_session_attrs=primary",
            // The driver takes everything in front of the first @ for user and password.
            #[cfg(feature = "postgres")]
            "postgres://iris:12/a?b#c@h/x",
            #[cfg(feature = "postgres")]
            "postgres:///records?host=/run/postgresql",
            #[cfg(feature = "postgres")]
            "postgres://iris@h/x?sslrootcert=/etc/iris/db.pem&sslmode=verify-full",
            #[cfg(feature = "postgres")]
            "postgres://iris@h/x?sslmode=require&sslrootcert=system",
        ] {
            assert_eq!(database_problem(good), None, "{good}");
        }
        for (wrong, says) in [
            ("mysql://iris:CANARY@h/x", "the kind \"mysql\""),
            ("postgresql+asyncpg://iris:CANARY@h/x", "write postgres://"),
            ("host=h user=iris password=CANARY", "key=value"),
            ("iris:CANARY@h/x", "no scheme"),
            ("", "no scheme"),
            ("sqlite:", "no path"),
            ("sqlite:a?CANARY", "no options"),
            #[cfg(feature = "postgres")]
            ("postgres://iris:CAN@ARY@h/x", "%40 for @"),
            #[cfg(feature = "postgres")]
            ("postgres://iris:CANARY@h/x?sslmode=some", "sslmode"),
            #[cfg(feature = "postgres")]
            ("postgres://iris:CANARY@h:port/x", "port"),
            #[cfg(feature = "postgres")]
            ("postgres://iris:CANARY@h h/x", "name of a host"),
            #[cfg(feature = "postgres")]
            (
                "postgres://iris:CANARY@h/x?target_session_attrs=read-only",
                "leave it out",
            ),
            #[cfg(feature = "postgres")]
            ("postgres:///records", "no host"),
            #[cfg(feature = "postgres")]
            (
                "postgres://iris:CANARY@h/x?sslrootcert=/ca.pem",
                "add sslmode=require",
            ),
            #[cfg(feature = "postgres")]
            (
                "postgres://iris:CANARY@h/x?sslmode=require&sslrootcert=",
                "names no file",
            ),
        ] {
            let problem = database_problem(wrong).expect(wrong);
            assert!(problem.contains(says), "{wrong}: {problem}");
            assert!(
                !problem.contains("CANARY") && !problem.contains("ARY"),
                "{problem}"
            );
        }
    }

    #[test]
    fn urls_of_servers_are_good_or_what_is_wrong_is_said() {
        assert_eq!(http_problem("https://h:1/x?a=b"), None);
        for (wrong, says) in [
            ("h:1", "no scheme"),
            ("h", "no scheme"),
            ("ftp://h", "scheme"),
            ("http://u:p@h", "names a user"),
            ("http://h x", "not a valid URL"),
        ] {
            assert!(http_problem(wrong).expect(wrong).contains(says), "{wrong}");
        }
    }
}
