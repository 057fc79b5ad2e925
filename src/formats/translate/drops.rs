//! Nothing of a request is lost without a word: whatever a provider's format or its model can't be asked
//! for is refused by name, or named in what was left out.

use super::json::object;
use super::translation::fit;
use super::*;
use crate::formats::codecs;

/// Something that a request may have besides, as `docs/FORMATS.md` calls it, and how it gets it.
pub(super) type Variation = (&'static str, fn(&mut Request));

/// Every field of the form, with values that aren't the APIs' defaults.
pub(super) const ALL: &[Variation] = &[
    ("tools", |request| request.tools.push(tool("more"))),
    ("a tool's description", |request| {
        request.tools[0].description = Some("looks".to_owned());
    }),
    ("a tool's parameters", |request| {
        request.tools[0].parameters = Some(object! { "title": "t" }.into());
    }),
    ("a strict tool", |request| {
        request.tools[0].strict = Some(true);
    }),
    ("a freeform tool", |request| {
        request.tools[0].freeform = Some(Object::default());
    }),
    ("a freeform tool with a grammar", |request| {
        let grammar = object! { "syntax": "lark", "definition": "start: \"a\"" };
        let format = object! { "type": "grammar", "grammar": grammar };
        request.tools[0].freeform = Some(format);
    }),
    ("a cache mark of a tool", |request| {
        request.tools[0].cache = Some(CacheMark::Hour);
    }),
    ("a tool choice: none", |request| {
        request.tool_choice = Some(ToolChoice::None);
    }),
    ("a tool choice: any", |request| {
        request.tool_choice = Some(ToolChoice::Required);
    }),
    ("a tool choice: this tool", |request| {
        request.tool_choice = Some(ToolChoice::Named("look".to_owned()));
    }),
    ("a tool choice: one of these", |request| {
        request.tools.push(tool("more"));
        request.tool_choice = Some(ToolChoice::Allowed {
            names: vec!["look".to_owned()],
            required: true,
        });
    }),
    ("no parallel tool calls", |request| {
        request.parallel_tool_calls = Some(false);
    }),
    ("any JSON as response", |request| {
        request.output = Output::JsonObject;
    }),
    ("a JSON Schema as response", |request| {
        request.output = schema(None, None);
    }),
    ("the name of a schema", |request| {
        request.output = schema(Some("name"), None);
    }),
    ("the description of a schema", |request| {
        request.output = schema(None, Some("for that"));
    }),
    ("no reasoning", |request| {
        request.reasoning = Some(Reasoning::Off);
    }),
    ("reasoning effort", |request| {
        request.reasoning = Some(Reasoning::Effort(Effort::High));
    }),
    ("adaptive reasoning", |request| {
        request.reasoning = Some(Reasoning::Adaptive);
    }),
    ("a budget for reasoning", |request| {
        request.reasoning = Some(Reasoning::Budget(4_000));
    }),
    ("a small budget for reasoning", |request| {
        request.reasoning = Some(Reasoning::Budget(100));
    }),
    ("max tokens", |request| request.max_tokens = Some(3_000)),
    ("a temperature", |request| request.temperature = Some(0.5)),
    ("a temperature above 1", |request| {
        request.temperature = Some(1.5);
    }),
    ("top p", |request| request.top_p = Some(0.5)),
    ("top k", |request| request.top_k = Some(5)),
    ("a seed", |request| request.seed = Some(7_u64.into())),
    ("a presence penalty", |request| {
        request.presence_penalty = Some(0.5);
    }),
    ("a frequency penalty", |request| {
        request.frequency_penalty = Some(0.5);
    }),
    ("a stop sequence", |request| {
        request.stop = vec!["x".to_owned()];
    }),
    ("log probabilities", |request| request.logprobs = Some(0)),
    ("likeliest tokens", |request| request.logprobs = Some(2)),
    ("verbosity", |request| {
        request.verbosity = Some("low".to_owned());
    }),
    ("the id of the user", |request| {
        request.user = Some("ann".to_owned());
    }),
    ("a cache key", |request| {
        request.cache_key = Some("key".to_owned());
    }),
    ("metadata", |request| {
        request.metadata = Some(object! { "a": "b" });
    }),
    ("a system message", |request| {
        request
            .turns
            .insert(0, Turn::new(Role::System, vec![Part::text("s")]));
    }),
    ("a later system message", |request| {
        request
            .turns
            .push(Turn::new(Role::System, vec![Part::text("s")]));
    }),
    ("a cache mark", |request| {
        request.turns[0].parts[0].cache = Some(CacheMark::Default);
    }),
    ("an earlier refusal", |request| {
        said(request, Content::Refusal("no".to_owned()));
    }),
    ("an image", |request| {
        shown(request, media(MediaKind::Image, "image/png"));
    }),
    ("a sound", |request| {
        shown(request, media(MediaKind::Audio, "audio/wav"));
    }),
    ("a video", |request| {
        shown(request, media(MediaKind::Video, "video/mp4"));
    }),
    ("a document", |request| {
        shown(request, media(MediaKind::Document, "application/pdf"));
    }),
    ("a document of plain text", |request| {
        let source = Source::Text("text".to_owned());
        let document = Media::new(MediaKind::Document, Some("text/plain".to_owned()), source);
        shown(request, document);
    }),
    ("an image by URL", |request| {
        shown(request, at_url(MediaKind::Image));
    }),
    ("a document by URL", |request| {
        shown(request, at_url(MediaKind::Document));
    }),
];

/// The same of a picture or a document that is there anyway.
pub(super) const OF_MEDIA: &[Variation] = &[
    ("the detail of an image", |request| {
        medium(request, 0).detail = Some("low".to_owned());
    }),
    ("the name of a document", |request| {
        medium(request, 1).name = Some("name".to_owned());
    }),
    ("citations of a document", |request| {
        medium(request, 1).citations = true;
    }),
];

/// The same of an earlier text, call and result.
pub(super) const OF_HISTORY: &[Variation] = &[
    ("an earlier citation of a web page", |request| {
        cited(request, None);
    }),
    ("an earlier citation of a document", |request| {
        let document = InDocument {
            index: 0,
            unit: Unit::Char,
            start: 0,
            end: 1,
        };
        cited(request, Some(document));
    }),
    ("earlier reasoning of another API's model", |request| {
        let thought = Thought {
            text: "hm".to_owned(),
            seal: None,
        };
        let thought = Part::new(Content::Reasoning(thought));
        request.turns[1].parts.insert(0, thought);
    }),
    ("a second call and its result", |request| {
        let again = |part: &Part| {
            let mut part = part.clone();
            match &mut part.content {
                Content::ToolCall(call) => "d".clone_into(&mut call.id),
                Content::ToolResult(result) => "d".clone_into(&mut result.id),
                _ => {}
            }
            part
        };
        for turn in &mut request.turns[1..3] {
            let more = turn.parts.last().map(again);
            turn.parts.extend(more);
        }
    }),
    ("a failed tool", |request| result(request).is_error = true),
    ("a tool result with an image", |request| {
        returned(request, media(MediaKind::Image, "image/png"));
    }),
    ("a tool result with a document", |request| {
        returned(request, media(MediaKind::Document, "application/pdf"));
    }),
];

/// The same of a request in which the model thinks.
pub(super) const OF_THOUGHT: &[Variation] = &[
    ("no reasoning in the response", |request| {
        request.shows_thoughts = Some(false);
    }),
    ("a temperature", |request| request.temperature = Some(0.5)),
    ("top p", |request| request.top_p = Some(0.5)),
    ("temperature and top p", |request| {
        (request.temperature, request.top_p) = (Some(0.5), Some(0.5));
    }),
    ("a forced call", |request| {
        request.tool_choice = Some(ToolChoice::Required);
    }),
];

/// Models whose vendors or versions differ in what they take.
const MODELS: [&str; 13] = [
    "m",
    "gpt-5.1",
    "gpt-4o",
    "claude-3-5-sonnet-20241022",
    "claude-sonnet-4-5",
    "claude-opus-4-6",
    "claude-opus-4-7",
    "gemini-2.5-flash",
    "gemini-3-pro",
    "us.amazon.nova-2-lite-v1:0",
    "amazon.nova-pro-v1:0",
    "openai.gpt-oss-120b-1:0",
    "mistral.mistral-large",
];

fn tool(name: &str) -> Tool {
    Tool {
        name: name.to_owned(),
        ..Tool::default()
    }
}

fn schema(name: Option<&str>, description: Option<&str>) -> Output {
    Output::JsonSchema {
        name: name.map(str::to_owned),
        description: description.map(str::to_owned),
        schema: object! { "type": "object" }.into(),
        strict: Some(true),
    }
}

fn said(request: &mut Request, content: Content) {
    let turn = Turn::new(Role::Assistant, vec![Part::new(content)]);
    request.turns.push(turn);
}

fn cited(request: &mut Request, document: Option<InDocument>) {
    let url = document.is_none().then(|| "https://a.example".to_owned());
    let citation = Citation {
        url,
        quote: Some("q".to_owned()),
        document,
        ..Citation::default()
    };
    if let Content::Text(text) = &mut request.turns[1].parts[0].content {
        text.citations.push(citation);
    }
}

/// What a tool returned in an earlier turn.
fn result(request: &mut Request) -> &mut ToolResult {
    match &mut request.turns[2].parts[0].content {
        Content::ToolResult(result) => result,
        other => panic!("{other:?}"),
    }
}

fn returned(request: &mut Request, media: Media) {
    result(request).parts.push(Part::new(Content::Media(media)));
}

/// A request with an earlier text, a call and a result.
pub(super) fn with_history() -> Request {
    let mut request = plain();
    said(&mut request, Content::Text(Text::new("said")));
    let call = ToolCall {
        id: "c".to_owned(),
        name: "look".to_owned(),
        ..ToolCall::default()
    };
    let call = Part::new(Content::ToolCall(call));
    request.turns[1].parts.push(call);
    let result = ToolResult {
        id: "c".to_owned(),
        parts: vec![Part::text("r")],
        ..ToolResult::default()
    };
    let parts = vec![Part::new(Content::ToolResult(result))];
    request.turns.push(Turn::new(Role::User, parts));
    request
}

fn media(kind: MediaKind, mime: &str) -> Media {
    Media::new(
        kind,
        Some(mime.to_owned()),
        Source::Inline("AAAA".to_owned()),
    )
}

fn at_url(kind: MediaKind) -> Media {
    Media::new(
        kind,
        None,
        Source::Url("https://a.example/a.pdf".to_owned()),
    )
}

fn shown(request: &mut Request, media: Media) {
    request.turns[0]
        .parts
        .push(Part::new(Content::Media(media)));
}

fn medium(request: &mut Request, nth: usize) -> &mut Media {
    let parts = request.turns[0].parts.iter_mut();
    let mut media = parts.filter_map(|part| match &mut part.content {
        Content::Media(media) => Some(media),
        _ => None,
    });
    media.nth(nth).unwrap()
}

pub(super) fn plain() -> Request {
    Request {
        turns: vec![Turn::new(Role::User, vec![Part::text("hi")])],
        tools: vec![tool("look")],
        ..Request::default()
    }
}

/// A request with an image and a document.
pub(super) fn with_media() -> Request {
    let mut request = plain();
    shown(&mut request, media(MediaKind::Image, "image/png"));
    shown(&mut request, media(MediaKind::Document, "application/pdf"));
    request
}

/// What a provider gets and what was left out, or the field for which the request is refused.
fn sent(
    caller: &Codec,
    served: &Codec,
    request: &Request,
    model: &str,
) -> Result<(String, Vec<String>), String> {
    let fitted = fit(caller, served, request.clone(), model);
    let fitted = fitted.map_err(|refused| refused.field)?;
    Ok((fitted.outbound.body.to_string(), fitted.dropped))
}

/// Whether it is what happens anyway, given what is left out without it: some APIs show thoughts on request
/// alone, there are none to hide where the model doesn't think, on Bedrock, Claude thinks on request alone, and
/// models of Ollama's think unless a request says otherwise.
fn is_default(
    (caller, served): (&Codec, &Codec),
    (request, model): (&Request, &str),
    left_out: &[String],
    variation: &Variation,
) -> bool {
    match variation.0 {
        "no reasoning in the response" => {
            let hidden = caller.field(Feature::HiddenThoughts);
            let thinks = caller.field(Feature::Reasoning);
            let is_quiet = served.name == "openai_responses"
                && matches!(request.reasoning, Some(Reasoning::Effort(_)));
            is_quiet
                || hidden.is_some_and(|field| field.need == Need::Default)
                || thinks.is_some_and(|field| left_out.iter().any(|name| name == field.name))
        }
        "adaptive reasoning" => served.name.starts_with("ollama"),
        "no reasoning" => served.name == "bedrock_converse" && Claude::of(model).is_some(),
        _ => false,
    }
}

/// Without a word a provider gets what it would get without the variation.
fn lost(base: &Request, variations: &[Variation]) -> Vec<String> {
    let mut lost = Vec::new();
    for caller in codecs() {
        for served in codecs().into_iter().filter(|one| one.name != caller.name) {
            for model in MODELS {
                let without = sent(caller, served, base, model);
                let left_out = without.as_ref().map(|(_, dropped)| dropped.clone());
                let left_out = left_out.unwrap_or_default();
                for variation in variations {
                    if is_default((caller, served), (base, model), &left_out, variation) {
                        continue;
                    }
                    let mut request = base.clone();
                    (variation.1)(&mut request);
                    let with = sent(caller, served, &request, model);
                    if with.is_ok() && with == without {
                        let pair = format!("{} → {}", caller.name, served.name);
                        lost.push(format!("{pair}, {model}: {}", variation.0));
                    }
                }
            }
        }
    }
    lost
}

#[test]
fn nothing_is_lost_without_a_word() {
    assert_eq!(lost(&plain(), ALL), Vec::<String>::new());
    assert_eq!(lost(&with_media(), OF_MEDIA), Vec::<String>::new());
    assert_eq!(lost(&with_history(), OF_HISTORY), Vec::<String>::new());
    for reasoning in [
        Reasoning::Adaptive,
        Reasoning::Effort(Effort::High),
        Reasoning::Budget(4_000),
    ] {
        let thinking = Request {
            reasoning: Some(reasoning),
            ..plain()
        };
        assert_eq!(
            lost(&thinking, OF_THOUGHT),
            Vec::<String>::new(),
            "{reasoning:?}"
        );
    }
}

/// A caller who lost the thoughts that led to a call gets a response without new ones, and the record says so.
#[test]
fn thinking_that_is_left_out_is_named() {
    let named = |name: &str| {
        codecs()
            .into_iter()
            .find(|codec| codec.name == name)
            .unwrap()
    };
    let request = Request {
        reasoning: Some(Reasoning::Budget(4_000)),
        ..with_history()
    };
    for served in ["anthropic_messages", "bedrock_converse"] {
        let sent = sent(
            named("openai_chat"),
            named(served),
            &request,
            "claude-sonnet-4-5",
        );
        let (body, dropped) = sent.unwrap();
        assert!(!body.contains("budget_tokens"), "{body}");
        assert_eq!(dropped, ["reasoning_effort"], "{served}");
    }
}
