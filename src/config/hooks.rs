//! The section `hooks`: who is asked before a request goes on, or told after it.

use std::time::Duration;

use super::address;
use super::certificates::{self, Certificates};
use super::declare::{Choice, Holds};
use super::provider::Authorization;
use super::readers::{Trimmed, Words};
use super::table::Table;
use super::{section, words};
use crate::base::secret::Secret;

section! {
    /// A webhook.
    #[derive(Clone, Debug)]
    pub struct Hook {
        /// Where to post.
        #[key(required, holds = Holds::Webhook, example = r#""http://judge:8080/""#)]
        url: String => Trimmed,
        /// Credential.
        apikey: Secret,
        /// The header that carries it.
        written as "authorization": String = "bearer".to_owned() => Words(&[
            "bearer", "x-api-key", "x-goog-api-key", "hec", "cf-aig-authorization", "",
        ]),
        /// How long it may take; `"0"` leaves ten minutes.
        timeout: Duration = Duration::from_secs(5),
        /// Kept, but not used.
        disabled: bool,
        /// Whether the request goes on when the hook has failed.
        fail_policy: FailPolicy,
        /// Higher is asked first.
        preference: i64,
        /// Certificates, as PEM, that the server is trusted by instead of this machine's store: of its authority, or exactly its own. The file is read again when it changes.
        #[key(holds = Holds::Destination, example = r#""${file:/etc/iris/ca.pem}""#)]
        ca: Option<Certificates>,
    }
    beside {
        /// The header that carries the credential.
        authorization: Authorization,
    }
    check: check
}

words! {
    /// What a failure of a hook means for the request.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum FailPolicy {
        /// It goes on.
        #[default]
        Open = "fail_open",
        /// It ends.
        Closed = "fail_closed",
    }
}

fn check(mut read: Hook, table: &Table<'_>) -> Hook {
    let (name, url) = (table.name, &read.url);
    if url.is_empty() {
        table.warn(format!("hook {name} has no url configured"));
    } else if !url.starts_with("http://") && !url.starts_with("https://") {
        let shown = address::shown(url);
        let message =
            format!("hook {name} has invalid URL scheme (must be http:// or https://): {shown}");
        table.warn_at("url", message);
    } else if let Some(problem) = address::http_problem(url) {
        table.warn_at("url", format!("the url of hook {name} {problem}"));
    }
    // Only what goes to AWS can be signed for it.
    let known = Authorization::of_word(&read.written).filter(|way| *way != Authorization::AwsSigv4);
    read.authorization = known.unwrap_or_else(|| {
        let text = &read.written;
        table.warn(format!(
            "hook {name} has invalid authorization type: {text}"
        ));
        Authorization::Bearer
    });
    certificates::check_tls(read.ca.as_ref(), url, table);
    read
}
