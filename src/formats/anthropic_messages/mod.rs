//! Anthropic's messages: `POST /v1/messages` and `POST /v1/messages/count_tokens`.

mod error;
mod meter;
mod session;
mod transcript;

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Value, json};

use super::body;
use super::meter::Assembling;
use super::offer;
use super::openai_chat::{SWITCHES, TEMPLATES, switched, templated};
use super::{
    Call, Chat, Dialect, Flag, Format, Head, Meter, MeteredRequest, Offer, OpaquePlace, Path,
    ProviderState, Splice, known, opening,
};
use crate::base::money::CostBasis;
use crate::wire::Rejection;

pub(in crate::formats) use error::{REFUSALS, refuse};
pub(in crate::formats) use meter::{Events, read};
pub(in crate::formats) use session::of as session;
pub(in crate::formats) use transcript::CONVERSATION;

/// Its path as listings and providers know it.
const ENDPOINT: &str = "/v1/messages";
/// Where tokens are counted without asking the model.
const COUNT: &str = "/v1/messages/count_tokens";

/// Keys whose values only Anthropic can read: signatures on thinking, and thinking itself.
pub(in crate::formats) const OPAQUE: &[&str] =
    &["signature", "encrypted_content", "encrypted_index"];

/// Where they stand in a request: on thinking, in what searches of the provider have found, and in
/// citations of it.
pub(in crate::formats) const OPAQUE_PLACES: &[OpaquePlace] = &[
    OpaquePlace {
        path: &["messages", "*", "content", "*", "signature"],
        kinds: &["thinking"],
    },
    OpaquePlace {
        path: &["messages", "*", "content", "*", "data"],
        kinds: &["redacted_thinking"],
    },
    OpaquePlace {
        path: &[
            "messages",
            "*",
            "content",
            "*",
            "content",
            "*",
            "encrypted_content",
        ],
        kinds: &["web_search_result"],
    },
    OpaquePlace {
        path: &[
            "messages",
            "*",
            "content",
            "*",
            "citations",
            "*",
            "encrypted_index",
        ],
        kinds: &["web_search_result_location"],
    },
];

static FLAG: Flag = Flag {
    name: "anthropic_messages",
    text: "Anthropic messages.",
    is_default: false,
    vendor: Some(CostBasis::Anthropic),
};

/// Anthropic's messages.
pub(super) static FORMAT: Format = Format {
    flags: &[&FLAG],
    endpoint: Some(ENDPOINT),
    paths: &[ENDPOINT, COUNT],
    opaque: OPAQUE,
    opaque_places: OPAQUE_PLACES,
    tools,
    count_response: Some(count_response),
    refusals: REFUSALS,
    state: ProviderState::Named,
    conversation: CONVERSATION,
    lists_for: Some(Dialect::Anthropic),
    export_name: "ant_messages",
    chat: Some(Chat {
        flag: &FLAG,
        name: "messages",
        rank: 1,
    }),
    ..Format::new("anthropic_messages", &known::MESSAGES, understand, meter)
};

/// The response to a request for a count.
pub(in crate::formats) fn count_response(count: u64) -> Value {
    json!({ "input_tokens": count })
}

/// A meter for responses.
pub(in crate::formats) fn meter(request: &MeteredRequest<'_>) -> Box<dyn Meter> {
    Box::new(Assembling::new(Events::default(), read, request))
}

fn understand(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let path = body::target(FORMAT.paths, head.path).unwrap_or(ENDPOINT);
    let fields = body::scan(
        &body,
        &[
            "model",
            "stream",
            "system",
            "messages",
            "metadata",
            "max_tokens",
        ],
    )?;
    let model = body::model(&body, fields.get(0))?;
    let stream = body::flag(&body, fields.get(1), "stream")?;
    let mut choices = known::choices(&body, &fields.members);
    choices.extend(known::models_of_tools(&body, &fields.members));
    Ok(Call {
        stream: stream && path == ENDPOINT,
        choices,
        billed: path == ENDPOINT,
        answer_limit: body::count(&body, fields.get(5)),
        session: fields.get(4).and_then(|at| session::of(&body[at])),
        opening: opened(&body, fields.get(2), fields.get(3)),
        path: Path::Fixed(Cow::Borrowed(path)),
        splice: Splice::at(fields.get(0)),
        ..Call::new(model, body)
    })
}

/// Tools by their name, those of a server by the server's.
pub(in crate::formats) fn tools(body: &[u8]) -> Offer {
    let server = |name: Option<String>| name.map(|name| format!("mcp:{name}"));
    let listed = |at| {
        offer::tools(body, at, |tool| match tool.text(&["type"])?.as_deref() {
            Some("mcp_toolset") => tool.text(&["mcp_server_name"]).map(server),
            _ => tool.first(&[&["name"], &["type"]]),
        })
    };
    let mut keys = vec!["tools", "mcp_servers", "container", "messages", "system"];
    keys.extend(SWITCHES);
    keys.extend(TEMPLATES);
    offer::request(body, &keys, |key, at| match key {
        key if TEMPLATES.contains(&key) => templated(body, at, listed),
        "tools" => listed(at),
        "messages" | "system" => blocks(body, at, &listed, NESTED),
        "container" => container(body, at),
        "mcp_servers" => offer::tools(body, at, |one| one.text(&["name"]).map(server)),
        key => switched(body, at, key),
    })
}

/// Lists in which blocks stand: messages, their content, and that of the results of tools.
const NESTED: usize = 3;

/// Tools in messages and blocks, where some servers look for them as well.
fn blocks(
    body: &[u8],
    at: std::ops::Range<usize>,
    listed: &dyn Fn(std::ops::Range<usize>) -> Offer,
    levels: usize,
) -> Offer {
    offer::within_any(body, at, &["tools", "content"], |key, at| match key {
        "tools" => listed(at),
        _ if levels > 1 => blocks(body, at, listed, levels - 1),
        _ => Offer::default(),
    })
}

/// The skills of a container; one that is used again has those that it was made with.
pub(in crate::formats) fn container(body: &[u8], at: std::ops::Range<usize>) -> Offer {
    if body[at.start] != b'{' {
        return offer::switch(body, at, "container");
    }
    offer::object(body, at, &["skills", "id"], |key, at| match key {
        "id" => offer::switch(body, at, "container"),
        _ => offer::tools(body, at, |skill| {
            let id = skill.text(&["skill_id"])?.unwrap_or_default();
            Ok(Some(format!("skill:{id}")))
        }),
    })
}

type At = Option<std::ops::Range<usize>>;

/// How a conversation of this shape began.
pub(in crate::formats) fn opened(body: &[u8], system: At, messages: At) -> Option<String> {
    opening::of(system.map(|at| &body[at]), &body[messages?])
}

#[cfg(test)]
mod tests;
