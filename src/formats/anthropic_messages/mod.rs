//! Anthropic's messages: `POST /v1/messages` and `POST /v1/messages/count_tokens`.

mod attached;
mod error;
mod meter;
mod session;
mod transcript;
mod translate;

use bytes::Bytes;
use serde_json::{Value, json};

use super::assembly::Assembling;
use super::body;
use super::offer;
use super::{
    Call, Chat, Dialect, Flag, Format, Goes, Head, Meter, MeteredRequest, Offer, OpaquePlace,
    ProviderState, known, opening,
};
use crate::base::money::CostBasis;
use crate::wire::Rejection;

pub(in crate::formats) use error::REFUSALS;
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
        path: "messages.*.content.*.signature",
        kinds: &["thinking"],
        goes: Goes::Message,
    },
    OpaquePlace {
        path: "messages.*.content.*.data",
        kinds: &["redacted_thinking"],
        goes: Goes::Message,
    },
    OpaquePlace {
        path: "messages.*.content.*.content.*.encrypted_content",
        kinds: &["web_search_result"],
        goes: Goes::Element,
    },
    OpaquePlace {
        path: "messages.*.content.*.citations.*.encrypted_index",
        kinds: &["web_search_result_location"],
        goes: Goes::Element,
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
    turns: &["messages"],
    codec: Some(&translate::CODEC),
    delivery_keys: &["stream"],
    attaching: Some(attached::ATTACHING),
    needed_headers: &[("anthropic-version", "2023-06-01")],
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
    let path = FORMAT.target(head.path).unwrap_or(ENDPOINT);
    let keys = [
        "model",
        "stream",
        "system",
        "messages",
        "metadata",
        "max_tokens",
    ];
    let (mut call, fields) = Call::of_json(path, body, &keys)?;
    call.add_models_of_tools(&fields);
    let value = |nth| call.value(&fields, nth);
    Ok(Call {
        stream: call.stream && path == ENDPOINT,
        billed: path == ENDPOINT,
        answer_limit: body::count(value(5)),
        session: value(4).and_then(session::of),
        opening: opening::of(value(2), value(3)),
        ..call
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
    let keys = ["mcp_servers", "container", "messages", "system"];
    offer::of_servers(body, 0..body.len(), &keys, listed, |key, at| match key {
        "container" => container(body, at),
        "mcp_servers" => offer::tools(body, at, |one| one.text(&["name"]).map(server)),
        _ => blocks(body, at, &listed, NESTED),
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

#[cfg(test)]
mod tests;
