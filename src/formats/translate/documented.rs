//! The tables of `docs/FORMATS.md` on translation. That of pairs comes from the codecs: each sample is written in
//! the caller's format, read and translated.

mod responses;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::json;

use responses::{asking, responses};

use super::checks::{streaming, translated, value as value_of};
use super::drops::{self, Variation};
use super::translation::fit;
use super::*;
use crate::formats::codecs;

/// The formats in which providers are asked for a response.
fn formats() -> Vec<&'static Codec> {
    let all = codecs().into_iter();
    all.filter(|codec| !codec.expresses.is_empty()).collect()
}

fn short(codec: &Codec) -> &'static str {
    let name = codec.name.split_once('_');
    name.map_or(codec.name, |(_, name)| name)
}

/// By which a cell of the table of pairs knows a provider's format.
fn letter(codec: &Codec) -> char {
    match short(codec) {
        // Chat's is C.
        "converse" => 'B',
        name => name.chars().next().unwrap().to_ascii_uppercase(),
    }
}

/// A model that its format is mostly used for, as formats differ in what they take for others.
fn model(codec: &Codec) -> &'static str {
    match short(codec) {
        "messages" => "claude-sonnet-4-5",
        "converse" => "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "generate_content" => "gemini-2.5-flash",
        _ => "m",
    }
}

/// What providers of each format take, and what callers call the rest.
fn taken() -> String {
    let mut table =
        String::from("\n| a request has | taken by providers of | for others |\n|---|---|---|\n");
    for feature in Feature::ALL {
        let formats = formats();
        let takes = formats
            .iter()
            .filter(|codec| codec.expresses.contains(&feature));
        let taken: Vec<&str> = takes.map(|codec| short(codec)).collect();
        let (mut refused, mut left_out) = (Vec::new(), Vec::new());
        for codec in codecs() {
            match codec.field(feature) {
                Some(field) if field.need == Need::Must => refused.push(field.name),
                Some(field) if field.need == Need::Default => {}
                Some(field) => left_out.push(field.name),
                None => {}
            }
        }
        let named = |what: &str, mut names: Vec<&str>| {
            names.sort_unstable();
            names.dedup();
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
        };
        let becomes = match feature {
            Feature::AllowedTools => Some("the other tools are left out".to_owned()),
            Feature::FreeformTools => Some("the tool takes an object with the text".to_owned()),
            Feature::LaterSystem => Some("they join those in front".to_owned()),
            _ if taken.len() == formats.len() => None,
            _ => {
                let both = [named("refused", refused), named("left out", left_out)];
                Some(both.into_iter().flatten().collect::<Vec<_>>().join("; "))
            }
        };
        let (title, taken) = (feature.title(), taken.join(", "));
        let row = format!("| {title} | {taken} | {} |\n", becomes.unwrap_or_default());
        table.push_str(&row);
    }
    table.push('\n');
    table
}

/// A table with a row for each title: a column for each caller's format, and in its cells a place for each
/// provider's.
fn pairs<'a>(
    head: &str,
    titles: impl Iterator<Item = &'a str>,
    cell: impl Fn(usize, &'static Codec) -> String,
) -> String {
    let formats = formats();
    let mut table = format!("\n| {head} |");
    for caller in &formats {
        let _ = write!(table, " {} |", short(caller));
    }
    let _ = write!(table, "\n|---|{}\n", "---|".repeat(formats.len()));
    for (nth, title) in titles.enumerate() {
        let cells = formats.iter().copied().map(|caller| cell(nth, caller));
        let cells: Vec<String> = cells.collect();
        // What no caller can ask for is in no request.
        if cells.iter().all(String::is_empty) {
            continue;
        }
        let _ = write!(table, "| {title} |");
        for cell in cells {
            match cell.as_str() {
                "" => table.push_str("  |"),
                cell => {
                    let _ = write!(table, " `{cell}` |");
                }
            }
        }
        table.push('\n');
    }
    table.push('\n');
    table
}

/// What becomes of each part of a request.
fn requests() -> String {
    let thinking = Request {
        reasoning: Some(Reasoning::Budget(4_000)),
        ..drops::plain()
    };
    let one = drops::with_history();
    let lists: [(&Request, &[Variation]); 5] = [
        (&drops::plain(), drops::ALL),
        (&drops::with_media(), drops::OF_MEDIA),
        (
            &drops::plain(),
            &[("an earlier call and its result", |request| {
                *request = drops::with_history();
            })],
        ),
        (&one, drops::OF_HISTORY),
        (&thinking, &drops::OF_THOUGHT[..1]),
    ];
    let rows = lists
        .into_iter()
        .flat_map(|(base, list)| list.iter().map(move |variation| (base, variation)));
    let rows: Vec<(&Request, &Variation)> = rows.collect();
    let titles = rows.iter().map(|(_, variation)| variation.0);
    let titles = titles.chain(["reasoning that its provider wrote"]);
    pairs("a request has", titles, |nth, caller| {
        let Some((base, variation)) = rows.get(nth) else {
            let places = formats().into_iter();
            return places.map(|served| comes_back(caller, served)).collect();
        };
        let mut with = Request::clone(base);
        (variation.1)(&mut with);
        let Some((base, after)) = asked(caller, base, &with) else {
            return String::new();
        };
        // A caller's format can need more than the sample has, such as a name for a schema.
        let mut more = after.features("");
        more.retain(|feature| !with.features("").contains(feature));
        let formats = formats().into_iter();
        let places = formats.map(|served| becomes(caller, served, (&base, &after), &more));
        places.collect()
    })
}

/// Both requests as a caller of the format sends them; `None` if its format has no place for what the second has
/// besides.
fn asked(caller: &Codec, base: &Request, with: &Request) -> Option<(Request, Request)> {
    let model = model(caller);
    let sent = |request: &Request| {
        let request = Request {
            model: model.to_owned(),
            ..request.clone()
        };
        let outbound = (caller.write_request)(&request).ok()?;
        let read = (caller.read_request)(&Inbound {
            path: &outbound.path,
            query: outbound.query,
            model,
            is_streamed: false,
            body: outbound.body.to_string().as_bytes(),
        });
        read.ok()
    };
    let (before, after) = (sent(base), sent(with));
    let is_written = before.is_some() && after.is_some();
    if let (Some(before), Some(after)) = (before, after)
        && after != before
        && content(with).is_subset(&content(&after))
    {
        return Some((before, after));
    }
    // A codec writes only what providers take, and not every sample.
    let had = base.features("");
    let features = with.features("").into_iter();
    let mut more = features.filter(|feature| !had.contains(feature));
    let mut has = |feature: Feature| caller.field(feature).is_some();
    let is_there = if is_written {
        more.any(&mut has)
    } else {
        more.all(&mut has)
    };
    is_there.then(|| (base.clone(), with.clone()))
}

/// What a request has, in kinds.
fn content(request: &Request) -> BTreeSet<String> {
    let features = request.features("").into_iter();
    let mut kinds: BTreeSet<String> = features.map(|feature| format!("{feature:?}")).collect();
    for part in request.turns.iter().flat_map(|turn| &turn.parts) {
        let kind = match &part.content {
            Content::Refusal(_) => "a refusal",
            Content::Reasoning(_) => "reasoning",
            Content::ToolCall(_) => "a call",
            Content::ToolResult(_) => "a result",
            Content::Text(_) | Content::Media(_) => continue,
        };
        kinds.insert(kind.to_owned());
    }
    kinds
}

/// What a provider gets of what the second request has besides the first and `more`: see the text above the
/// table.
fn becomes(
    caller: &Codec,
    served: &Codec,
    (base, with): (&Request, &Request),
    more: &[Feature],
) -> char {
    if caller.name == served.name {
        return '.';
    }
    let sent = |request: &Request| fit(caller, served, request.clone(), model(served));
    // The name of a document, say, is refused with the document.
    let (Ok(without), Ok(sent)) = (sent(base), sent(with)) else {
        return 'x';
    };
    let beside: Vec<_> = more.iter().filter_map(|one| caller.field(*one)).collect();
    let is_named = sent.dropped.iter().any(|name| {
        !without.dropped.contains(name) && !beside.iter().any(|field| field.name == *name)
    });
    if is_named || sent.outbound.body == without.outbound.body {
        return '-';
    }
    let named = Request {
        model: model(served).to_owned(),
        ..with.clone()
    };
    let lacks = (served.lacks)(&named);
    let had = base.features(served.name);
    let mut features = with.features(served.name).into_iter();
    let is_as_it_was = features.all(|feature| {
        had.contains(&feature)
            || more.contains(&feature)
            || served.expresses.contains(&feature) && !lacks.contains(&feature)
    });
    let letter = letter(served);
    if is_as_it_was {
        letter
    } else {
        letter.to_ascii_lowercase()
    }
}

/// Whether reasoning of a provider's model comes back to it, if a caller sends back what it got.
fn comes_back(caller: &Codec, served: &Codec) -> char {
    if caller.name == served.name {
        return '.';
    }
    let (kind, value) = match short(served) {
        "chat" => (SealKind::Signature, "reasoning_content"),
        "ollama" => (SealKind::Signature, "thinking"),
        "responses" => (SealKind::Encrypted, "c2ln"),
        _ => (SealKind::Signature, "c2ln"),
    };
    let thought = Thought {
        text: "hm".to_owned(),
        seal: Some(Seal::new(served.name, kind, value)),
    };
    let response = Response {
        parts: vec![Part::new(Content::Reasoning(thought)), Part::text("ahoy")],
        ..Response::default()
    };
    let said = value_of(&(caller.write_response)(&asking(), response));
    let user = json!({ "role": "user", "content": "hi" });
    let asked = match short(caller) {
        "chat" => json!({ "messages": [user, said["choices"][0]["message"], user] }),
        "ollama" => json!({ "messages": [user, said["message"], user] }),
        "messages" => {
            let turn = json!({ "role": "assistant", "content": said["content"] });
            json!({ "max_tokens": 9, "messages": [user, turn, user] })
        }
        "responses" => {
            let mut input = vec![user.clone()];
            input.extend(said["output"].as_array().unwrap().iter().cloned());
            input.push(user);
            json!({ "input": input })
        }
        "converse" => {
            let user = json!({ "role": "user", "content": [{ "text": "hi" }] });
            json!({ "messages": [user, said["output"]["message"], user] })
        }
        _ => {
            let user = json!({ "role": "user", "parts": [{ "text": "hi" }] });
            json!({ "contents": [user, said["candidates"][0]["content"], user] })
        }
    };
    let Ok((sent, _)) = translated(caller, served, &asked) else {
        return 'x';
    };
    let is_there = sent.to_string().contains(value);
    if is_there { letter(served) } else { '-' }
}

/// Rewrites the tables where `IRIS_WRITE_DOCS` is set.
#[test]
fn the_table_of_the_documentation_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/FORMATS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = (
        "<!-- What follows is generated: `just reference` -->\n",
        "<!-- Up to here -->",
    );
    let (mut out, mut rest) = (String::new(), text.as_str());
    for table in [taken(), requests(), responses()] {
        let (before, after) = rest.split_once(begin).expect("a mark in docs/FORMATS.md");
        let (_, after) = after.split_once(end).expect("the end of a table");
        let _ = write!(out, "{before}{begin}{table}{end}");
        rest = after;
    }
    out.push_str(rest);
    if std::env::var_os("IRIS_WRITE_DOCS").is_some() {
        return std::fs::write(path, out).unwrap();
    }
    assert!(
        out == text,
        "docs/FORMATS.md is stale: run `just reference`"
    );
}
