//! What reaches a caller of a response.

use super::super::checks::{framing, streamed, through, whole, written};
use super::*;

/// Something that a response may have, and how it gets it.
type Sample = (&'static str, fn(&mut Response));

const RESPONSES: &[Sample] = &[
    ("text", |_| {}),
    ("a call of a tool", |response| {
        response.parts = vec![call("c")];
        response.stop = Stop::ToolUse;
    }),
    ("several calls", |response| {
        response.parts = vec![call("c"), call("d")];
        response.stop = Stop::ToolUse;
    }),
    ("reasoning", |response| {
        let thought = Thought {
            text: "hm".to_owned(),
            seal: None,
        };
        response
            .parts
            .insert(0, Part::new(Content::Reasoning(thought)));
    }),
    ("a refusal", |response| {
        response.parts = vec![Part::new(Content::Refusal("no".to_owned()))];
        response.stop = Stop::Refused;
    }),
    ("an image", |response| {
        let png = Some("image/png".to_owned());
        let image = Media::new(MediaKind::Image, png, Source::Inline("AAAA".to_owned()));
        response.parts.push(Part::new(Content::Media(image)));
    }),
    ("a citation of a web page", |response| {
        let url = Some("https://a.example/".to_owned());
        cites(
            response,
            Citation {
                url,
                ..Citation::default()
            },
        );
    }),
    ("a citation of a document", |response| {
        let document = Some(InDocument {
            index: 0,
            unit: Unit::Char,
            start: 0,
            end: 1,
        });
        cites(
            response,
            Citation {
                document,
                ..Citation::default()
            },
        );
    }),
    ("log probabilities", |response| {
        let token = LogProb {
            token: "ahoy".to_owned(),
            logprob: -0.5,
            ..LogProb::default()
        };
        if let Content::Text(text) = &mut response.parts[0].content {
            text.logprobs.push(token);
        }
    }),
    ("the end: max tokens", |response| {
        response.stop = Stop::MaxTokens;
    }),
    ("the end: a full context", |response| {
        response.stop = Stop::ContextFull;
    }),
    ("the end: this stop sequence", |response| {
        response.stop = Stop::Sequence(Some("x".to_owned()));
    }),
    ("the end: refused", |response| response.stop = Stop::Refused),
    ("tokens read and written", |response| {
        (response.usage.input, response.usage.output) = (Some(30), Some(20));
    }),
    ("tokens read from a cache", |response| {
        (response.usage.input, response.usage.cache_read) = (Some(30), Some(10));
    }),
    ("tokens written to a cache", |response| {
        (response.usage.input, response.usage.cache_write) = (Some(30), Some(10));
    }),
    ("tokens of reasoning", |response| {
        (response.usage.output, response.usage.reasoning) = (Some(30), Some(10));
    }),
];

fn call(id: &str) -> Part {
    Part::new(Content::ToolCall(ToolCall {
        id: id.to_owned(),
        name: "look".to_owned(),
        arguments: "{}".to_owned(),
        is_freeform: false,
    }))
}

fn cites(response: &mut Response, citation: Citation) {
    if let Content::Text(text) = &mut response.parts[0].content {
        text.citations.push(citation);
    }
}

/// A request for all that a response can have.
pub(super) fn asking() -> Request {
    Request {
        shows_thoughts: Some(true),
        logprobs: Some(0),
        ..streaming()
    }
}

/// What reaches a caller of a response, in words.
fn told(response: &Response) -> BTreeSet<String> {
    let mut told = BTreeSet::from([format!("{:?}", response.stop)]);
    let mut calls = 0;
    for part in &response.parts {
        match &part.content {
            Content::Text(text) => {
                told.insert(format!("text: {}", text.text));
                for citation in &text.citations {
                    told.insert(format!("cited: {:?} {:?}", citation.url, citation.document));
                }
                let tokens = text.logprobs.iter().map(|one| &one.token);
                told.extend(tokens.map(|token| format!("token: {token}")));
            }
            Content::ToolCall(_) => calls += 1,
            Content::Reasoning(thought) => {
                told.insert(format!("thought: {}", thought.text));
            }
            Content::Refusal(text) => {
                told.insert(format!("refused: {text}"));
            }
            Content::Media(media) => {
                told.insert(format!("media: {:?}", media.url()));
            }
            Content::ToolResult(_) => {}
        }
    }
    told.insert(format!("{calls} calls"));
    let usage = &response.usage;
    for (name, count) in [
        ("read", usage.input),
        ("from a cache", usage.cache_read),
        ("to a cache", usage.cache_write),
        ("written", usage.output),
        ("thought", usage.reasoning),
    ] {
        if let Some(count) = count.filter(|count| *count > 0) {
            told.insert(format!("{name}: {count}"));
        }
    }
    told
}

/// Which parts of responses arrive, streamed or not.
pub(super) fn responses() -> String {
    let plain = Response {
        id: Some("id-1".to_owned()),
        model: Some("m".to_owned()),
        parts: vec![Part::text("ahoy")],
        ..Response::default()
    };
    let titles = RESPONSES.iter().map(|sample| sample.0);
    pairs("a response has", titles, |nth, caller| {
        let mut with = plain.clone();
        (RESPONSES[nth].1)(&mut with);
        let said = told(&with);
        let before = if nth == 0 {
            BTreeSet::new()
        } else {
            told(&plain)
        };
        let more: BTreeSet<String> = said.difference(&before).cloned().collect();
        let place = |served: &'static Codec| {
            if caller.name == served.name {
                return '.';
            }
            let [whole, streamed] =
                arrives(served, caller, &with).map(|response| more.is_subset(&told(&response)));
            let pair = [served, caller].map(short);
            assert_eq!(whole, streamed, "{pair:?}: {more:?}");
            if whole { letter(served) } else { '-' }
        };
        formats().into_iter().map(place).collect()
    })
}

/// What a caller reads of a provider's response, whole and streamed.
fn arrives(served: &'static Codec, caller: &'static Codec, response: &Response) -> [Response; 2] {
    let body = (served.write_response)(&asking(), response.clone());
    let read = whole(served, body.to_string().as_bytes());
    let body = (caller.write_response)(&asking(), read);
    let read = whole(caller, body.to_string().as_bytes());
    let stream = written(served, &asking(), response.clone());
    let framed = (served, framing(served));
    let stream = through(framed, caller, &asking(), &[&stream]);
    let streamed = streamed(caller, framing(caller), &stream).unwrap();
    [read, streamed]
}
