//! The tools of requests to Bedrock: where `Converse` has them, and where models' vendors do.

use std::ops::Range;

use crate::formats::anthropic_messages as anthropic;
use crate::formats::offer::{self, Offer};

/// Tools of the caller and of the system.
pub(in crate::formats) fn tool_config(body: &[u8], at: Range<usize>) -> Offer {
    offer::object(body, at, &["tools"], |_, at| {
        offer::tools(body, at, |tool| {
            tool.first(&[&["toolSpec", "name"], &["systemTool", "name"]])
        })
    })
}

/// The tools of an object in the shape of a vendor's request.
pub(in crate::formats) fn vendors(body: &[u8], at: Range<usize>) -> Offer {
    let keys = [
        "functions",
        "mcp_servers",
        "toolConfig",
        "container",
        "messages",
    ];
    let listed = |at| {
        offer::tools(body, at, |tool| match tool.text(&["type"])?.as_deref() {
            Some("function") => tool.text(&["function", "name"]),
            _ => tool.first(&[&["name"], &["function", "name"], &["type"]]),
        })
    };
    offer::of_servers(body, at, &keys, listed, |key, at| match key {
        "toolConfig" => tool_config(body, at),
        "container" => anthropic::container(body, at),
        "functions" => listed(at),
        "messages" => offer::within(body, at, "tools", listed),
        _ => offer::tools(body, at, |one| one.text(&["name"])),
    })
}
