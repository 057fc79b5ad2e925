//! The chat: what its script needs to know. The script asks the gateway as any client does, so
//! that grants, budgets, guards and records are those of every request.

use std::collections::HashSet;

use maud::html;
use serde_json::json;

use super::place::CHAT;
use super::{Group, Page, Place, Visit, parts};
use crate::exchange::rules::Rules;
use crate::formats;
use crate::policy::access::Permit;
use crate::web::api::chats;
use crate::wire::Rejection;
use http::StatusCode;

/// A model of the picker.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    provider: String,
    model: String,
    /// What people are shown.
    label: String,
    format: &'static str,
}

impl Choice {
    /// The model's full name.
    fn name(&self) -> String {
        format!("{}/{}", self.provider, self.model)
    }
}

/// The models that can be chatted with: those of the configuration's `chat_models`, in its order
/// and by its names, where it has any; else all that are granted.
fn choices(rules: &Rules, permit: &Permit) -> Vec<Choice> {
    let granted = rules.routes.models(permit).filter_map(|found| {
        let spoken = formats::ALL.iter().filter_map(|format| format.chat);
        let spoken = spoken.filter(|chat| found.provider.flags.contains(&chat.flag.name));
        let chat = spoken.min_by_key(|chat| chat.rank)?;
        Some(Choice {
            provider: found.provider.id.to_string(),
            model: found.model.to_owned(),
            label: found.model.to_owned(),
            format: chat.name,
        })
    });
    let mut granted: Vec<Choice> = granted.collect();
    let Some(curated) = &rules.file.chat_models else {
        return granted;
    };
    let mut chosen = Vec::new();
    for wanted in curated {
        let is_it = |choice: &Choice| choice.model == wanted.model || choice.name() == wanted.model;
        let (mut found, rest) = granted.into_iter().partition(is_it);
        granted = rest;
        if let Some(label) = &wanted.label {
            for choice in &mut found {
                choice.label.clone_from(label);
            }
        }
        chosen.append(&mut found);
    }
    chosen
}

/// The full names of the models that can be chatted with; none where the chat is off.
pub(super) fn offered(visit: &Visit<'_>) -> HashSet<String> {
    if !visit.reader.permit.may_chat() {
        return HashSet::new();
    }
    let choices = choices(&visit.reader.rules, &visit.reader.permit);
    choices.iter().map(Choice::name).collect()
}

pub(super) const PLACE: Place =
    Place::for_everyone(CHAT, |visit| Box::pin(async move { page(visit) })).listed(
        "Chat",
        "chat",
        Group::You,
    );

fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    if !visit.reader.permit.may_chat() {
        let why = "access denied: a grant has enable_chat_ui set to false for you";
        return Err(Rejection::new(StatusCode::FORBIDDEN, "no_chat", why));
    }
    let choices = choices(&visit.reader.rules, &visit.reader.permit);
    if choices.is_empty() {
        let body = parts::empty(
            "You don't have access to a chat model yet",
            &html! {
                "Ask your admin for one. The page " a href="/ui/models" { "Models" } " lists what you have."
            },
        );
        return Ok(Page::new("Chat", body));
    }
    let mut providers: Vec<&str> = choices
        .iter()
        .map(|choice| choice.provider.as_str())
        .collect();
    providers.dedup();
    let asked = visit.query.get("model");
    let is_kept = chats::are_kept(&visit.reader);
    // Two people can have the same login, one after the other.
    let known = json!({
        "login": visit.reader.caller.name(),
        "caller": visit.reader.caller.key(),
        "kept": is_kept,
    });
    let body = html! {
        noscript { (parts::notice(parts::Tone::Warn, &html! { "The chat needs JavaScript; the other pages don't." })) }
        div.chat id="chat" data-known=(known) hidden {
            aside.history aria-label="Conversations" {
                button type="button" data-new { "New chat" }
                ul data-history {}
                div data-undo {}
                p.note data-kept {
                    @if is_kept { "Kept by this gateway, visible only to you." }
                    @else { "Kept only in this browser." }
                    " Each turn is recorded like every other request."
                }
            }
            div.talk {
                div.chat-head {
                    label.hidden for="chat-model" { "Model" }
                    select id="chat-model" {
                        @for provider in &providers {
                            optgroup label=(provider) {
                                @for choice in choices.iter().filter(|choice| choice.provider == *provider) {
                                    option value=(choice.name()) data-format=(choice.format)
                                        selected[asked == Some(&choice.name()) || asked == Some(&choice.model)] { (choice.label) }
                                }
                            }
                        }
                    }
                    details.instructions {
                        summary { "Instructions" }
                        textarea id="chat-system" rows="4" aria-label="Instructions for the model" placeholder="What the model should know and how it should answer, in this conversation." {}
                    }
                }
                ol.messages data-messages aria-label="Conversation" tabindex="0" {}
                p.notice.warn data-note role="status" hidden {}
                form.composer data-composer {
                    label.hidden for="chat-input" { "Message" }
                    textarea id="chat-input" rows="3" placeholder="Ask something. Enter sends, Shift Enter makes a new line." autocomplete="off" {}
                    div.composer-foot {
                        span.note data-total {}
                        button type="button" data-stop hidden { "Stop" }
                        button.primary type="submit" { "Send" }
                    }
                }
            }
        }
    };
    Ok(Page::new("Chat", body).scripts(&["chat.js"]).wide())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::policy::identity::Caller;

    fn picked(more: &str) -> Vec<(String, String, &'static str)> {
        let text = format!(
            r#"{{"providers":{{
                "a":{{"baseurl":"http://a","models":["m","n"]}},
                "b":{{"baseurl":"http://b","models":["c"],"compatibility":{{"anthropic_messages":true}}}},
                "e":{{"baseurl":"http://e","models":["x"],"compatibility":{{"bedrock_converse":true}}}},
                "z":{{"baseurl":"http://z","models":["secret"]}}}},
              "grants":[{{"src":["*"],"app":{{"tailscale.com/cap/aperture":[
                {{"role":"user"}},{{"models":"a/**"}},{{"models":"b/**"}},{{"models":"e/**"}}]}}}}]{more}}}"#
        );
        let rules = Rules::compile(config::parse(&text, &|_| None).unwrap(), 1);
        let permit = rules
            .access
            .permit(&Caller::hypothetical("u", None))
            .unwrap();
        let choices = choices(&rules, &permit).into_iter();
        choices
            .map(|one| (one.name(), one.label, one.format))
            .collect()
    }

    fn one(name: &str, label: &str, format: &'static str) -> (String, String, &'static str) {
        (name.to_owned(), label.to_owned(), format)
    }

    #[test]
    fn granted_models_of_formats_that_can_be_chatted_in() {
        assert_eq!(
            picked(""),
            [
                one("a/m", "m", "chat"),
                one("a/n", "n", "chat"),
                one("b/c", "c", "messages")
            ]
        );
    }

    #[test]
    fn the_configuration_picks_orders_and_names_but_grants_nothing() {
        let more = r#","chat_models":["b/c",{"model":"m","name":"The good one"},"z/secret"]"#;
        assert_eq!(
            picked(more),
            [
                one("b/c", "c", "messages"),
                one("a/m", "The good one", "chat")
            ]
        );
        assert_eq!(
            picked(r#","chat_models":{"n":"N"}"#),
            [one("a/n", "N", "chat")]
        );
        assert!(picked(r#","chat_models":[]"#).is_empty());
    }
}
