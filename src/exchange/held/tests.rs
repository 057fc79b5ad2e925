//! Which names are found in responses and requests, and how many are kept.

use super::scan::DEEPEST;
use super::*;

const RESPONSES: &str = "openai_responses";

fn remembered(format: &str, response: &str) -> Held {
    let held = Held::default();
    held.remember("a", format)
        .unwrap()
        .read(response.as_bytes());
    held
}

fn named(held: &Held, format: &str, request: &str) -> Option<bool> {
    let holder = held.holder(format, request.as_bytes())?;
    assert_eq!(&*holder.provider, "a");
    Some(holder.is_needed)
}

const RESPONSE: &str = r#"{
  "id": "resp_1", "object": "response", "status": "completed",
  "conversation": { "id": "conv_1" },
  "output": [
    {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA\/b+c=="},
    {"type":"message","id":"msg_1","content":[{"type":"output_text","text":"say \"id\":\"text_1\"",
      "annotations":[{"type":"container_file_citation","container_id":"cntr_1","file_id":"cfile_1"}]}]}
  ]}"#;

#[test]
fn what_a_response_names_is_found_in_requests() {
    for step in [1, 3, 10_000] {
        let held = Held::default();
        let mut remember = held.remember("a", RESPONSES).unwrap();
        for piece in RESPONSE.as_bytes().chunks(step) {
            remember.read(piece);
        }
        let needed = [
            r#"{"previous_response_id":"resp_1","input":"hi"}"#,
            r#"{"conversation":"conv_1"}"#,
            r#"{"conversation":{"id":"conv_1"}}"#,
            r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
            r#"{"input":[{"id":"msg_1","type":"item_reference"}]}"#,
            r#"{"input":[{"type":"reasoning","id":"rs_1","summary":[]}]}"#,
            r#"{"input":[{"type":"reasoning","encrypted_content":"gAAA/b+c=="}]}"#,
            r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#,
            r#"{"tools":[{"container":{"type":"auto","file_ids":["x","cfile_1"]}}]}"#,
            r#"{"input":[{"content":[{"type":"input_file","file_id":"cfile_1"}]}]}"#,
        ];
        let better = [r#"{"input":[{"type":"message","id":"msg_1","role":"assistant"}]}"#];
        let unknown = [
            r#"{"previous_response_id":"resp_2","input":"hi"}"#,
            // Text that reads like JSON is text.
            r#"{"input":"{\"previous_response_id\":\"resp_1\"}"}"#,
            r#"{"previous_response_id":"text_1"}"#,
            r#"{"metadata":{"id":"resp_1"}}"#,
            "",
            r#"{"previous_response_id":"resp_1"#,
        ];
        for (requests, expected) in [
            (&needed[..], Some(true)),
            (&better, Some(false)),
            (&unknown, None),
        ] {
            for request in requests {
                let held = named(&held, RESPONSES, request);
                assert_eq!(held, expected, "{step} {request}");
            }
        }
    }
}

#[test]
fn streams_and_other_formats() {
    let stream = "event: response.created\ndata: {\"response\":{\"id\":\"resp_1\"}}\n\n: \"ping\ndata: {\"x\":1}\n\n";
    let held = remembered(RESPONSES, stream);
    let next = r#"{"previous_response_id":"resp_1"}"#;
    assert_eq!(named(&held, RESPONSES, next), Some(true));
    let messages = "anthropic_messages";
    let response =
        r#"{"id":"msg_1","content":[{"type":"tool_use","id":"toolu_1"}],"container":{"id":"c_1"}}"#;
    let held = remembered(messages, response);
    assert_eq!(named(&held, messages, r#"{"container":"c_1"}"#), Some(true));
    assert_eq!(
        named(&held, messages, r#"{"container":{"id":"c_1"}}"#),
        Some(true)
    );
    let turn = r#"{"messages":[{"content":[{"type":"tool_use","id":"toolu_1"}]}]}"#;
    assert_eq!(named(&held, messages, turn), None);
    let chat = "openai_chat";
    let held = remembered(
        chat,
        r#"{"id":"c","choices":[{"message":{"audio":{"id":"au_1"}}}]}"#,
    );
    let turn = r#"{"messages":[{"role":"assistant","audio":{"id":"au_1"}}]}"#;
    assert_eq!(named(&held, chat, turn), Some(true));
}

#[test]
fn events_are_read_whole_and_in_pieces() {
    let chat = "openai_chat";
    let held = Held::default();
    let mut remember = held.remember("a", chat).unwrap();
    for piece in [
        "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"audio\":{\"id\":\"au_1\"}}}]}\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"aud",
        "io\":{\"id\":\"au_2\"}}}]}\n\n",
        // Nothing that an event has begun goes on in the next one.
        "data: {\"audio\":{\"id\":\n\n",
        "data: {\"content\":\"\\\"id\\\":\\\"au_3\\\"\"}\n\n",
    ] {
        remember.read(piece.as_bytes());
    }
    for (id, expected) in [("au_1", Some(true)), ("au_2", Some(true)), ("au_3", None)] {
        let turn = format!(r#"{{"messages":[{{"role":"assistant","audio":{{"id":"{id}"}}}}]}}"#);
        assert_eq!(named(&held, chat, &turn), expected, "{id}");
    }
}

#[test]
fn what_is_needed_wins_and_the_last_of_equals_counts() {
    let held = Held::default();
    for (provider, id) in [("a", "resp_a"), ("b", "msg_b"), ("c", "msg_c")] {
        let text = format!(r#"{{"id":"{id}"}}"#);
        held.remember(provider, RESPONSES)
            .unwrap()
            .read(text.as_bytes());
    }
    let holder = |request: &str| held.holder(RESPONSES, request.as_bytes()).unwrap();
    let input = r#""input":[{"id":"msg_b"},{"id":"msg_c"}]"#;
    assert_eq!(&*holder(&format!("{{{input}}}")).provider, "c");
    let both = format!(r#"{{"previous_response_id":"resp_a",{input}}}"#);
    assert_eq!(&*holder(&both).provider, "a");
}

#[test]
fn only_formats_with_state_are_scanned() {
    let held = Held::default();
    for format in ["openai_embeddings", "openai_audio", "rerank"] {
        assert!(held.remember("a", format).is_none(), "{format}");
    }
    let numbers = r#"{"data":[0.25, -1e9,null,true],"id":"resp_1"}"#;
    held.remember("a", RESPONSES)
        .unwrap()
        .read(numbers.as_bytes());
    let next = r#"{"temperature":0.5,"n":[1,2],"previous_response_id":"resp_1"}"#;
    assert_eq!(named(&held, RESPONSES, next), Some(true));
}

#[test]
fn there_is_a_bound_on_what_is_remembered() {
    let held = Held::default();
    let ids = |from: usize, to: usize| {
        let ids = (from..to).map(|nth| format!(r#"{{"id":"r{nth}"}}"#));
        ids.collect::<String>()
    };
    held.remember("a", RESPONSES)
        .unwrap()
        .read(ids(0, 2_000).as_bytes());
    assert_eq!(lock(&held.inner).makers.len(), MOST_OF_ONE);
    let provider: Arc<str> = "a".into();
    for name in 0..150_000 {
        held.add(name, &provider);
    }
    assert_eq!(lock(&held.inner).makers.len(), MOST);
    assert_eq!(lock(&held.inner).order.len(), MOST);
    // Depth has no end.
    let mut scan = Scan::default();
    scan.read("[{".repeat(100_000).as_bytes(), &mut |_| {});
    assert!(scan.open.len() <= DEEPEST);
}
