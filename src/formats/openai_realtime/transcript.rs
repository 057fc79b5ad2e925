//! The turns of a conversation: what was sent since the turn before, and what the model said.

use serde_json::Value;

use crate::formats::transcript::{Conversation, Part, Turn, turn};
use crate::formats::tree::elements;
use crate::formats::{openai, realtime};

pub(super) const CONVERSATION: Conversation = Conversation {
    sent: |request| {
        let messages = elements(&request["messages"]).iter();
        let heard = realtime::heard(request);
        messages.flat_map(sent).chain(heard).collect()
    },
    answered: openai::transcript::RESPONSES.answered,
};

/// What a message of the caller says.
fn sent(message: &Value) -> Vec<Turn> {
    let instructions = |of: &Value| {
        let text = of["instructions"].as_str().map(str::to_owned);
        turn("system", text.map(Part::Text).into_iter().collect())
    };
    match message["type"].as_str().unwrap_or_default() {
        "session.update" => vec![instructions(&message["session"])],
        "conversation.item.create" => vec![openai::transcript::item(&message["item"], "user")],
        "response.create" => {
            let response = &message["response"];
            let mut turns = vec![instructions(response)];
            let items = elements(&response["input"]).iter();
            turns.extend(items.map(|item| openai::transcript::item(item, "user")));
            turns
        }
        _ => Vec::new(),
    }
}
