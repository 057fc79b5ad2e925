//! What the questions of `iris init` are answered with. Each is checked as it is read, so
//! that a person can answer again.

use std::str::FromStr;

use anyhow::Context;
use http::Uri;

use super::provider::Provider;
use crate::base::money::Money;
use crate::config;

pub(super) struct Answers {
    pub(super) tailnet: Tailnet,
    pub(super) providers: Vec<Provider>,
    pub(super) budget: Option<Budget>,
}

pub(super) enum Tailnet {
    Off,
    Node {
        control: Control,
        hostname: Hostname,
        admins: Admins,
    },
}

/// Who runs the tailnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Tailscale,
    /// At this URL.
    Headscale(String),
    /// No tailnet.
    Loopback,
}

impl FromStr for Control {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "tailscale" | "tailscale.com" => return Ok(Self::Tailscale),
            "loopback" => return Ok(Self::Loopback),
            _ => {}
        }
        let url = url(text).with_context(|| {
            format!(
                "{text:?} is neither \"tailscale\" nor \"loopback\" nor a URL such as \
                 https://headscale.example.com"
            )
        })?;
        let host = url.host().unwrap_or_default().to_ascii_lowercase();
        // Its control server, named in full.
        if host == "tailscale.com" || host.ends_with(".tailscale.com") {
            return Ok(Self::Tailscale);
        }
        Ok(Self::Headscale(text.trim_end_matches('/').to_owned()))
    }
}

impl Control {
    /// The name of our grants in the policy of this tailnet. Headscale refuses names in the
    /// tailscale.com domain: there it is one in the server's own.
    pub(super) fn capability(&self) -> String {
        let Self::Headscale(url) = self else {
            return config::CAPABILITY.to_owned();
        };
        let host = url.parse::<Uri>().ok();
        let host = host.as_ref().and_then(Uri::host).unwrap_or_default();
        let is_domain = host.contains('.')
            && !host.starts_with('[')
            && host.parse::<std::net::IpAddr>().is_err();
        let domain = if is_domain { host } else { "iris.internal" };
        format!("{}/cap/ai", domain.to_ascii_lowercase())
    }
}

/// A name that a node may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hostname(pub(super) String);

impl FromStr for Hostname {
    type Err = anyhow::Error;

    /// A control server changes other names: `Ai_Box` would become `ai-box`, and the file would have a
    /// name that doesn't work.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        const LONGEST: usize = 63;
        let name = text.to_ascii_lowercase();
        let name = name.replace(|char: char| !char.is_ascii_alphanumeric(), "-");
        let name = &name[..name.len().min(LONGEST)];
        let name = name.trim_matches('-');
        if name == text && !name.is_empty() {
            return Ok(Self(name.to_owned()));
        }
        let example = if name.is_empty() { "ai" } else { name };
        anyhow::bail!(
            "{text:?} can't be a node's name; use up to {LONGEST} lower-case letters, digits and \
             hyphens, such as {example:?}"
        )
    }
}

/// What each user may spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// As `$5.00`.
    pub(super) amount: String,
    /// `day`, `week` or `month`.
    pub(super) period: &'static str,
}

impl FromStr for Budget {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{text:?} is not a budget, such as 5 for $5 a day, or $50/month");
        let (amount, period) = text.split_once('/').unwrap_or((text, "day"));
        let periods = ["day", "week", "month"];
        let period = periods.into_iter().find(|one| *one == period.trim());
        let amount = amount.trim().trim_start_matches('$');
        let amount = Money::parse(&format!("${amount}")).with_context(wrong)?;
        anyhow::ensure!(
            amount > Money::ZERO,
            "a budget of $0 would refuse every request"
        );
        Ok(Self {
            amount: amount.to_string(),
            period: period.with_context(wrong)?,
        })
    }
}

/// The word for the login of this machine's tailscaled.
pub(super) const ME: &str = "me";

/// Sources of a grant for the people who manage the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Admins(pub(super) Vec<String>);

impl FromStr for Admins {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let separates = |char: char| char == ',' || char.is_whitespace();
        let names = text.split(separates).filter(|name| !name.is_empty());
        let names: Vec<String> = names.map(str::to_owned).collect();
        anyhow::ensure!(!names.is_empty(), "name at least one admin");
        anyhow::ensure!(
            !names.iter().any(|name| name == "*"),
            "\"*\" would make everybody an admin; name people, such as you@example.com"
        );
        Ok(Self(names))
    }
}

/// A URL of the web.
fn url(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let host = uri.host().is_some_and(|host| !host.is_empty());
    // A query or a name and password would end up in the file without a meaning there.
    let plain = uri.query().is_none() && !text.contains('@');
    (web && host && plain).then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tailnet_is_tailscales_or_at_a_url_or_none() {
        let control = |text: &str| text.parse::<Control>();
        assert_eq!(control("tailscale").unwrap(), Control::Tailscale);
        assert_eq!(
            control("https://login.tailscale.com/").unwrap(),
            Control::Tailscale
        );
        assert_eq!(control("loopback").unwrap(), Control::Loopback);
        let headscale = control("https://hs.example.com/").unwrap();
        assert_eq!(
            headscale,
            Control::Headscale("https://hs.example.com".to_owned())
        );
        for wrong in [
            "headscale",
            "ftp://hs",
            "https://",
            "https://me:pw@hs",
            "http://hs/?x",
        ] {
            assert!(control(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn capabilities_of_headscale_are_outside_of_tailscales_domain() {
        for (url, expected) in [
            ("https://HS.Example.com:8443", "hs.example.com/cap/ai"),
            ("http://10.0.0.1:8080", "iris.internal/cap/ai"),
            ("http://[::1]:8080", "iris.internal/cap/ai"),
            ("http://headscale:8080", "iris.internal/cap/ai"),
        ] {
            let control: Control = url.parse().unwrap();
            assert_eq!(control.capability(), expected, "{url}");
        }
        assert_eq!(Control::Tailscale.capability(), config::CAPABILITY);
    }

    #[test]
    fn names_are_checked_when_they_are_given() {
        for name in ["ai-2", "ai", "2"] {
            assert_eq!(name.parse::<Hostname>().unwrap().0, name);
            let document = format!(r#"{{"tailnet":{{"hostname":"{name}"}}}}"#);
            assert!(config::parse(&document, &|_| None).is_ok(), "{name}");
        }
        for (wrong, suggested) in [
            ("Ai_Box", "ai-box"),
            ("a b", "a-b"),
            ("", "ai"),
            ("-ai-", "ai"),
            ("ai.example.com", "ai-example-com"),
            ("\u{fc}", "ai"),
        ] {
            let error = wrong.parse::<Hostname>().unwrap_err().to_string();
            assert!(error.ends_with(&format!("{suggested:?}")), "{error}");
            assert!(error.starts_with(&format!("{wrong:?}")), "{error}");
        }
        assert!("a".repeat(64).parse::<Hostname>().is_err());
        let admins: Admins = "a@example.com, group:ops".parse().unwrap();
        assert_eq!(admins.0, ["a@example.com", "group:ops"]);
        assert!("*".parse::<Admins>().is_err() && " , ".parse::<Admins>().is_err());
    }

    #[test]
    fn budgets_are_dollars_a_day_unless_they_say_otherwise() {
        for (text, amount, period) in [
            ("5", "$5.00", "day"),
            ("$2.5", "$2.50", "day"),
            ("$50/month", "$50.00", "month"),
            ("10 / week", "$10.00", "week"),
        ] {
            let budget: Budget = text.parse().unwrap();
            assert_eq!((budget.amount.as_str(), budget.period), (amount, period));
        }
        for wrong in ["", "five", "-1", "5/year", "0", "$0.00/day", "5 EUR"] {
            assert!(wrong.parse::<Budget>().is_err(), "{wrong}");
        }
    }
}
