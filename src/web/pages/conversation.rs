//! A captured request, read like a chat.

use maud::{Markup, html};

use super::{format, parts};
use crate::formats::transcript::{self, Part, Turn};
use crate::records::Capture;

/// Characters of one part that are shown.
const SHOWN: usize = 64 << 10;
/// Characters beyond which a part is folded.
const FOLDED: usize = 2_000;

pub(super) fn show(api: &str, capture: &Capture) -> Markup {
    let said = transcript::read(api, &capture.request_body, &capture.response_body);
    if said.sent.is_empty() && said.answered.is_empty() {
        return parts::empty(
            "This does not read like a conversation",
            &html! { "The bodies are under Request and Response." },
        );
    }
    html! {
        @if !said.offered.is_empty() {
            details.offered {
                summary { (format::count(said.offered.len() as u64, "tool", "tools")) " offered" }
                p { @for name in &said.offered { code { (name) } " " } }
            }
        }
        ol.turns aria-label="Conversation" {
            @for turn in &said.sent { (one(turn, false)) }
            @for turn in &said.answered { (one(turn, true)) }
        }
        @if said.answered.is_empty() {
            (parts::notice(parts::Tone::Plain, &html! { "There is no answer on record that reads like one." }))
        }
    }
}

fn one(turn: &Turn, is_answer: bool) -> Markup {
    let side = match turn.role.as_str() {
        "user" => "user",
        "assistant" | "model" => "assistant",
        "system" | "developer" => "system",
        _ => "tool",
    };
    html! {
        li class={ "turn " (side) @if is_answer { " answer" } } {
            p.role { (turn.role) @if is_answer { " · answer" } }
            @for part in &turn.parts { (piece(part)) }
        }
    }
}

fn piece(part: &Part) -> Markup {
    match part {
        Part::Text(text) => long(text, "said"),
        Part::Thought(text) => html! {
            details.thought { summary { "Reasoning" } (long(text, "said")) }
        },
        Part::Call { name, input } => html! {
            div.call {
                p.what { "calls " code { (name) } }
                pre.json tabindex="0" role="region" aria-label={ "Input of " (name) } {
                    (super::json::body(input.as_bytes()).0)
                }
            }
        },
        Part::Result { of, text, failed } => html! {
            div.result {
                p.what {
                    @if *failed { (parts::badge(parts::Tone::Bad, "failed")) " " }
                    "result" @if !of.is_empty() { " of " code { (of) } }
                }
                (long(text, "output"))
            }
        },
        Part::Other(kind) => html! { p.other { (parts::badge(parts::Tone::Plain, kind)) } },
    }
}

/// Text with its line breaks; a long one is folded.
fn long(text: &str, class: &str) -> Markup {
    let end = text.floor_char_boundary(SHOWN);
    let shown = &text[..end];
    let body = html! {
        div class=(class) { (shown) }
        @if end < text.len() { p.under { "Cut here; the capture has all of it." } }
    };
    if text.len() <= FOLDED {
        return body;
    }
    let first = shown
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    let first: String = first.chars().take(100).collect();
    html! {
        details.long {
            summary { (first) "… " span.note { (format::compact(text.len() as u64)) " characters" } }
            (body)
        }
    }
}
