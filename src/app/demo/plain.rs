//! The plain demo: a gateway and a provider on loopback, without a tailnet, and what there is to try
//! so that each page has something to show.

use std::fmt::Write;
use std::net::SocketAddr;

/// A configuration for local callers that shows what there is with the demo provider.
#[must_use]
pub fn configuration(provider: SocketAddr, loopback: SocketAddr) -> String {
    include_str!("../../../config/demo.hujson")
        .replace("127.0.0.1:8088", &loopback.to_string())
        .replace("127.0.0.1:8089", &provider.to_string())
}

/// What to do, and the request that does it.
const STEPS: [(&str, &str); 4] = [
    (
        r#"Ask something. "stream": true lets the answer come word by word."#,
        r#"{"model": "demo", "messages": [{"role": "user", "content": "hello"}]}"#,
    ),
    (
        "Let a model call a tool.",
        r#"{"model": "demo-tools", "messages": [{"role": "user", "content": "Zurich"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters":
          {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}}}]}"#,
    ),
    (
        "Name an address: a guard takes it out before the provider sees it.",
        r#"{"model": "good", "messages": [{"role": "user", "content": "Write to ann@example.com."}]}"#,
    ),
    (
        "Paste a key: a guard stops the request.",
        r#"{"model": "demo", "messages": [{"role": "user", "content": "My key is AKIAIOSFODNN7EXAMPLE."}]}"#,
    ),
];

/// Pages, and what is on them after that.
const PAGES: &str = "  Chat           ask more, in the browser; each answer has its cost
  My usage       what it came to, and what is left of the budget
  Requests       who was let through or stopped and why, and what was said
  Tool use       the tool that was called
  Overview       everything by user, model, agent and status
  Providers      how they are; Look for servers finds and adds your own
  Configuration  raise a price, save, and see its history and the audit log
";

/// The tour for a demo at `address`.
#[must_use]
pub fn tour(address: SocketAddr) -> String {
    let mut text = format!(
        "\nThe demo runs at http://{address}, for this machine only. Its pages show what you do.\n\
         A tour:\n"
    );
    for (nth, (what, body)) in STEPS.iter().enumerate() {
        // A string takes all that is written to it.
        let _ = write!(
            text,
            "\n{}. {what}\n\n  curl http://{address}/v1/chat/completions \\\n    \
             -H 'Content-Type: application/json' -H 'X-Session-Id: tour' \\\n    -d '{body}'\n",
            nth + 1
        );
    }
    let _ = write!(text, "\n5. Open http://{address} in a browser:\n\n{PAGES}");
    text
}
