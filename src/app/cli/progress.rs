//! What `iris serve` shows in a terminal: how the node joins, where to sign in, and then where
//! the gateway answers, with which models, and a line to try it with.

use std::fmt::Write;

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::json;

use super::{harmless, print_drawn, quoted, table};
use crate::app::{Running, Served};
use crate::base::labels::Labels;
use crate::config::Provider;
use crate::exchange::rules::Rules;
use crate::formats;
use crate::net::tailnet::{State, Status};
use crate::policy::identity::Caller;
use crate::web::alerts;
use crate::web::api::models::whatif;

/// Wider codes do not fit a terminal of the usual size.
const MAX_WIDTH: usize = 78;
/// Models of one provider that are shown.
const MAX_MODELS: usize = 8;

/// Shows what changes, for as long as the gateway runs.
pub(super) async fn show(running: &Running) {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let mut joining = Joining {
        draws: !is_dumb,
        ..Joining::default()
    };
    let mut arrived = Arrived {
        on_tailnet: running.node().is_some(),
        ..Arrived::default()
    };
    running
        .follow(|served, status| {
            print_drawn(
                &status
                    .map(|status| joining.step(status))
                    .unwrap_or_default(),
            );
            print_drawn(&arrived.step(served, &running.rules()));
        })
        .await;
}

/// How the node joins: a line for each state that is new, and the link to sign in at once.
#[derive(Default)]
struct Joining {
    /// Whether the terminal can show a code for a phone.
    draws: bool,
    last: Option<State>,
    link: Option<String>,
    trouble: Option<String>,
}

impl Joining {
    /// What to show of this status; empty if that is known already.
    fn step(&mut self, status: &Status) -> String {
        self.state(status) + &self.trouble(status)
    }

    /// What keeps the node from joining, once.
    fn trouble(&mut self, status: &Status) -> String {
        if status.state == State::Running {
            self.trouble = None;
        }
        let down = status.trouble.as_ref();
        let Some(trouble) = down.filter(|_| status.state != State::Running) else {
            return String::new();
        };
        let words = harmless(&alerts::words(trouble));
        if self.trouble.as_ref() == Some(&words) {
            return String::new();
        }
        let shown = format!("- the control server: {words}\n");
        self.trouble = Some(words);
        shown
    }

    fn state(&mut self, status: &Status) -> String {
        let new = self.last.replace(status.state) != Some(status.state);
        match status.state {
            State::NeedsLogin => match &status.auth_url {
                Some(url) if self.link.as_ref() != Some(url) => {
                    self.link = Some(url.clone());
                    self.sign_in(url)
                }
                None if new && self.link.is_none() => {
                    "- not signed in; asking for a link to sign in at\n".to_owned()
                }
                _ => String::new(),
            },
            _ if !new => String::new(),
            State::NoState => "- starting the node\n".to_owned(),
            State::Starting => "- connecting to the tailnet\n".to_owned(),
            State::NeedsMachineAuth => {
                "- signed in; now an admin of the tailnet has to approve this node\n".to_owned()
            }
            State::Stopped => "- the node has stopped\n".to_owned(),
            State::Running => {
                // A link that comes after this one is a new matter.
                self.link = None;
                let name = harmless(status.dns_name.as_deref().unwrap_or("a node"));
                let addresses: Vec<String> =
                    status.addresses.iter().map(ToString::to_string).collect();
                format!("- on the tailnet as {name} ({})\n", addresses.join(", "))
            }
        }
    }

    fn sign_in(&self, url: &str) -> String {
        let mut out = format!(
            "\nTo add this node to the tailnet, sign in at\n\n  {}\n\n",
            harmless(url)
        );
        // The control server names it; a phone is sent to nothing but an address of the web.
        let web = url.starts_with("https://") || url.starts_with("http://");
        if let Some(code) = (self.draws && web).then(|| code(url)).flatten() {
            out.push_str("or with a phone:\n\n");
            out.push_str(&code);
            out.push('\n');
        }
        out
    }
}

/// A QR code in black on white, whatever the colours of the terminal: not every phone reads an
/// inverted one. `None` where it would be too wide.
fn code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let drawn = code.render::<Dense1x2>().build();
    let fits = |line: &str| line.chars().count() + 2 <= MAX_WIDTH;
    if !drawn.lines().all(fits) {
        return None;
    }
    let lines = drawn.lines();
    let lines = lines.map(|line| format!("  \x1b[30;107m{line}\x1b[0m\n"));
    Some(lines.collect())
}

/// Where the gateway answers: a line for each port that opens, and how to try the first one that
/// serves the expected callers.
#[derive(Default)]
struct Arrived {
    /// Whether callers are expected from there.
    on_tailnet: bool,
    known: usize,
    welcomed: bool,
}

impl Arrived {
    fn step(&mut self, served: &[Served], rules: &Rules) -> String {
        let mut out = String::new();
        for one in &served[self.known.min(served.len())..] {
            let whom = if one.tailnet {
                "the tailnet"
            } else {
                "this machine"
            };
            // Writing to a string does not fail.
            let _ = writeln!(out, "- answering {whom} at {}", one.url);
            if one.tailnet == self.on_tailnet && !self.welcomed {
                self.welcomed = true;
                out.push_str(&welcome(one, rules));
            }
        }
        self.known = served.len();
        out
    }
}

fn welcome(at: &Served, rules: &Rules) -> String {
    let providers = || rules.file.providers.iter().filter(|(_, one)| !one.disabled);
    let models = |(id, provider): (&String, &Provider)| {
        let models = provider.models.iter().take(MAX_MODELS);
        let mut shown: Vec<String> = models.map(|name| harmless(name)).collect();
        if let more @ 1.. = provider.models.len().saturating_sub(MAX_MODELS) {
            shown.push(format!("and {more} more"));
        }
        ["  ".to_owned() + &harmless(id), shown.join(", ")]
    };
    let rows: Vec<[String; 2]> = providers().map(models).collect();
    let url = &at.url;
    if rows.is_empty() {
        return format!(
            "\nThere are no models yet: no provider is configured, and no model server was found \
             on this machine.\n`iris init` writes a configuration. The dashboard: {url}\n\n"
        );
    }
    let mut out = format!("\nModels, by provider:\n\n{}\n", table(&rows));
    let local = Caller::hypothetical("(loopback)", None);
    let asking = whatif::Asking {
        caller: &local,
        person: None,
        labels: &Labels::default(),
    };
    let usable = |model: &str| {
        harmless(model) == model
            && (at.tailnet || whatif::verdict(rules, &asking, formats::DEFAULT, model).allowed)
    };
    let chats = |one: &Provider| formats::DEFAULT.is_spoken_with(one.compatibility.flags());
    let chats = providers().filter(|(_, one)| chats(one));
    match chats
        .flat_map(|(_, one)| &one.models)
        .find(|model| usable(model))
    {
        Some(model) => {
            let on_tailnet = "From a device whose owner a grant names";
            let whence = if at.tailnet { on_tailnet } else { "Try it" };
            let _ = write!(out, "{whence}:\n\n{}\n\n", curl(url, model));
        }
        None if at.tailnet => {}
        None => out.push_str("No grant lets callers on this machine chat with any of them.\n\n"),
    }
    let _ = write!(out, "The dashboard: {url}    Ctrl-C stops the gateway.\n\n");
    out
}

/// A line for a shell that asks a model something.
fn curl(url: &str, model: &str) -> String {
    let body = format!(
        r#"{{"model": {}, "messages": [{{"role": "user", "content": "hello"}}]}}"#,
        json!(model)
    );
    format!(
        "  curl {url}/v1/chat/completions \\\n    -H 'Content-Type: application/json' \\\n    -d {}",
        quoted(&body)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const LINK: &str = "https://login.tailscale.com/a/1a2b3c4d5e6f";

    fn status(state: State, link: Option<&str>) -> Status {
        Status {
            state,
            auth_url: link.map(str::to_owned),
            dns_name: Some("ai.tail.test".to_owned()),
            addresses: vec!["100.64.0.5".parse().unwrap()],
            ..Status::default()
        }
    }

    #[test]
    fn each_state_is_told_once_and_the_link_as_it_comes() {
        let mut joining = Joining::default();
        let sequence = [
            (State::NoState, None, "- starting"),
            (State::NoState, None, ""),
            (State::NeedsLogin, None, "- not signed in"),
            (State::NeedsLogin, Some(LINK), LINK),
            (State::NeedsLogin, Some(LINK), ""),
            // Between two links there may be none for a moment.
            (State::NeedsLogin, None, ""),
            (
                State::NeedsLogin,
                Some("https://x.test/2"),
                "https://x.test/2",
            ),
            (State::NeedsMachineAuth, None, "approve this node"),
            (State::Starting, None, "- connecting"),
            (State::Running, None, "as ai.tail.test (100.64.0.5)"),
            (State::Running, None, ""),
            // The key has expired.
            (
                State::NeedsLogin,
                Some("https://x.test/2"),
                "https://x.test/2",
            ),
            (State::Running, None, "as ai.tail.test"),
            (State::Stopped, None, "has stopped"),
        ];
        for (nth, (state, link, expected)) in sequence.into_iter().enumerate() {
            let shown = joining.step(&status(state, link));
            assert!(shown.contains(expected), "{nth}: {shown}");
            assert_eq!(shown.is_empty(), expected.is_empty(), "{nth}: {shown}");
        }
    }

    #[test]
    fn a_phone_is_sent_to_the_web_only() {
        let shown = |draws, link: &str| {
            let mut joining = Joining {
                draws,
                ..Joining::default()
            };
            joining.step(&status(State::NeedsLogin, Some(link)))
        };
        let drawn = shown(true, LINK);
        assert!(drawn.contains("or with a phone") && drawn.contains("\x1b[30;107m"));
        for odd in [
            "tel:110",
            "\x1b]0;title\x07https://x.test",
            &format!("https://{}", "x".repeat(900)),
        ] {
            let shown = shown(true, odd);
            assert!(
                !shown.contains('\x1b') && !shown.contains("phone"),
                "{shown}"
            );
        }
        assert!(!shown(false, LINK).contains('\x1b'));
    }

    /// The modules of a drawn code, read back from its half blocks.
    fn modules(drawn: &str) -> Vec<Vec<bool>> {
        let mut rows = Vec::new();
        for line in drawn.lines() {
            let line = line.strip_prefix("  \x1b[30;107m").unwrap();
            let line = line.strip_suffix("\x1b[0m").unwrap();
            rows.push(line.chars().map(|char| "▀█".contains(char)).collect());
            rows.push(line.chars().map(|char| "▄█".contains(char)).collect());
        }
        rows
    }

    #[test]
    fn the_code_is_whole_and_has_its_margin() {
        let code = QrCode::with_error_correction_level(LINK, EcLevel::L).unwrap();
        let width = code.width();
        let drawn = modules(&super::code(LINK).unwrap());
        for (y, row) in drawn.iter().enumerate() {
            assert_eq!(row.len(), width + 8);
            for (x, dark) in row.iter().enumerate() {
                let inside = (4..width + 4).contains(&x) && (4..width + 4).contains(&y);
                let expected = inside && code[(x - 4, y - 4)] == qrcode::Color::Dark;
                assert_eq!(*dark, expected, "{x}, {y}");
            }
        }
    }

    fn rules(src: &str) -> Rules {
        let document = json!({
            "tailnet": { "mode": "off" },
            "providers": {
                "claude": { "baseurl": "http://c", "models": ["opus"], "compatibility": { "anthropic_messages": true } },
                "gpu": { "baseurl": "http://g", "models": ["it's", "b", "c", "d", "e", "f", "g", "h", "i", "j"] },
                "off": { "baseurl": "http://o", "models": ["hidden"], "disabled": true },
            },
            "grants": [{ "src": [src], "app": { config::CAPABILITY: [{ "role": "user" }, { "models": "**" }] } }],
        });
        Rules::compile(config::parse(&document.to_string(), &|_| None).unwrap(), 1)
    }

    fn served(url: &str, tailnet: bool) -> Served {
        Served {
            url: url.to_owned(),
            tailnet,
        }
    }

    #[test]
    fn how_to_try_it_is_told_once_it_answers_those_whom_it_is_for() {
        let rules = rules("*");
        let mut arrived = Arrived {
            on_tailnet: true,
            ..Arrived::default()
        };
        let mut all = vec![served("http://127.0.0.1:8088", false)];
        let local = arrived.step(&all, &rules);
        assert_eq!(local, "- answering this machine at http://127.0.0.1:8088\n");
        all.push(served("http://ai", true));
        let welcome = arrived.step(&all, &rules);
        assert!(
            welcome.contains("curl http://ai/v1/chat/completions"),
            "{welcome}"
        );
        assert!(welcome.contains(r#"{"model": "it'\''s","#), "{welcome}");
        assert!(welcome.contains("f, g, h, and 2 more"), "{welcome}");
        assert!(
            welcome.contains("claude  opus") && !welcome.contains("hidden"),
            "{welcome}"
        );
        all.push(served("https://ai.tail.test", true));
        let more = arrived.step(&all, &rules);
        assert_eq!(more, "- answering the tailnet at https://ai.tail.test\n");
        assert_eq!(arrived.step(&all, &rules), "");
    }

    #[test]
    fn a_line_that_would_be_refused_is_not_shown() {
        let at = [served("http://127.0.0.1:8088", false)];
        let welcome = |src: &str| Arrived::default().step(&at, &rules(src));
        assert!(welcome("(loopback)").contains("curl http://127.0.0.1:8088/"));
        let refused = welcome("alice@example.com");
        assert!(
            !refused.contains("curl") && refused.contains("No grant lets"),
            "{refused}"
        );
    }
}
