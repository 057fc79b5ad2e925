//! What counts as the same beginning of a conversation.

use super::*;

fn opening(instructions: &str, messages: &str) -> Option<u64> {
    let instructions = Some(instructions.as_bytes()).filter(|text| !text.is_empty());
    of(instructions, Some(messages.as_bytes()))
}

#[test]
fn the_turns_of_a_conversation_share_its_opening() {
    let first = br#"[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]"#;
    let second = br#"[{"content":"be brief","role":"system"}, {"role":"user","content":"hi"},
        {"role":"assistant","content":"hello"},{"role":"user","content":"more"}]"#;
    let opening = of(None, Some(first)).unwrap();
    assert_eq!(of(None, Some(second)).unwrap(), opening);
    let other = br#"[{"role":"system","content":"be brief"},{"role":"user","content":"ho"}]"#;
    assert_ne!(of(None, Some(other)).unwrap(), opening);
    assert_ne!(of(Some(b"\"more\""), Some(first)).unwrap(), opening);
}

#[test]
fn the_same_text_in_every_form_is_one_opening() {
    let forms = [
        ("", r#""caf\u00e9?""#),
        ("", r#"["café?"]"#),
        ("", r#"[{"role":"user","content":"café?"}]"#),
        (
            "",
            r#"[{"type":"message","role":"user","content":"café?"},{"type":"reasoning"}]"#,
        ),
        (
            "",
            r#"[{"role":"user","content":[{"type":"text","text":"café?"}]}]"#,
        ),
        (
            "",
            r#"[{"role":"user","content":[{"text":"café?","cache_control":{"type":"ephemeral"},"type":"text"}]}]"#,
        ),
        (
            "",
            r#"[{"role":"user","content":[{"type":"input_text","text":"café?"}]}]"#,
        ),
        (
            "",
            r#"[{"role":"user","content":[{"text":"café?"},{"cachePoint":{"type":"default"}}]}]"#,
        ),
        ("", r#"[{"role":"user","parts":[{"text":"café?"}]}]"#),
        ("", r#"[{"parts":[{"text":"café?"}]}]"#),
        ("", r#"{"parts":[{"text":"café?"}]}"#),
        (
            "",
            r#"[{"type":"function_call_output","call_id":"c","output":"1"},{"role":"user","content":"café?"}]"#,
        ),
    ];
    let first = opening(forms[0].0, forms[0].1).unwrap();
    for (instructions, messages) in forms {
        assert_eq!(opening(instructions, messages), Some(first), "{messages}");
    }
}

#[test]
fn the_same_instructions_in_every_form_are_one_opening() {
    let user = r#"{"role":"user","content":"hi"}"#;
    let list = format!("[{user}]");
    let inside = |message: &str| format!("[{message},{user}]");
    let forms = [
        (r#""be brief, it is 10:22""#, list.clone()),
        (r#""be brief, it is 11:05""#, list.clone()),
        (
            r#"[{"type":"text","text":"be brief, it is 10:22"}]"#,
            list.clone(),
        ),
        (
            r#"[{"type":"text","text":"be brief, it is 10:22","cache_control":{}}]"#,
            list.clone(),
        ),
        (
            r#"[{"text":"be brief, it is 10:22"},{"cachePoint":{"type":"default"}}]"#,
            list.clone(),
        ),
        (
            r#"{"parts":[{"text":"be brief, it is 10:22"}]}"#,
            list.clone(),
        ),
        (
            r#"{"role":"system","parts":[{"text":"be brief, it is 10:22"}]}"#,
            list,
        ),
        (
            "",
            inside(r#"{"role":"system","content":"be brief, it is 10:22"}"#),
        ),
        (
            "",
            inside(
                r#"{"role":"developer","content":[{"type":"input_text","text":"be brief, it is 9:00"}]}"#,
            ),
        ),
    ];
    let first = opening(forms[0].0, &forms[0].1).unwrap();
    for (instructions, messages) in &forms {
        let found = opening(instructions, messages);
        assert_eq!(found.as_ref(), Some(&first), "{instructions} {messages}");
    }
    let other = opening(r#""be long, it is 10:22""#, &format!("[{user}]"));
    assert_ne!(other.unwrap(), first);
}

#[test]
fn the_same_parts_in_every_form_are_one_opening() {
    let user = |part: &str| format!(r#"[{{"role":"user","content":[{part}]}}]"#);
    let parts = |part: &str| format!(r#"[{{"role":"user","parts":[{part}]}}]"#);
    for same in [
        [
            user(r#"{"type":"image_url","image_url":{"url":"https://h/a.png"}}"#),
            user(r#"{"type":"image_url","image_url":{"url":"https:\/\/h/a.png","detail":"auto"}}"#),
            user(r#"{"image_url":{"detail":null, "url":"https://h/a.png"},"type":"image_url"}"#),
            user(r#"{"type":"image_url","image_url":"https://h/a.png"}"#),
        ],
        [
            user(r#"{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}"#),
            user(r#"{"type":"input_audio","input_audio":{"format":"wav", "data":"AA"}}"#),
            user(r#"{"type":"input_audio","input_audio":{"data":"AA","format":"wav","id":null}}"#),
            user(
                r#"{"type":"input_audio","cache_control":{},"input_audio":{"data":"AA","format":"wav"}}"#,
            ),
        ],
        [
            parts(r#"{"inlineData":{"mimeType":"image/png","data":"AA"}}"#),
            parts(r#"{"inline_data":{"mime_type":"image/png","data":"AA"}}"#),
            parts(r#"{"inlineData":{"mime_type":"image/png","data":"AA"}}"#),
            parts(r#"{"inline_data":{"data":"AA","mimeType":"image/png"}}"#),
        ],
        [
            parts(r#"{"fileData":{"fileUri":"gs://b/f","mimeType":"text/plain"}}"#),
            parts(r#"{"file_data":{"file_uri":"gs://b/f","mime_type":"text/plain"}}"#),
            parts(r#"{"file_data":{"fileUri":"gs://b/f","mime_type":"text/plain"}}"#),
            parts(
                r#"{"fileData":{"mimeType":"text/plain","fileUri":"gs://b/f","displayName":null}}"#,
            ),
        ],
        [
            user(r#"{"type":"tool_use","name":"f","input":{"a":1,"b":[2]}}"#),
            user(r#"{"type":"tool_use","name":"f","input":{ "b" : [ 2 ], "a" : 1 }}"#),
            user(r#"{"type":"tool_use","name":"f","input":"{\"a\":1,\"b\":[2]}"}"#),
            user(r#"{"type":"tool_use","name":"f","input":"{\"b\": [2],  \"a\": 1}"}"#),
        ],
    ] {
        let found = same.each_ref().map(|one| opening("", one).unwrap());
        assert!(
            found.iter().all(|one| *one == found[0]),
            "{same:?} {found:?}"
        );
    }
    for (one, other) in [
        (
            user(r#"{"type":"image_url","image_url":{"url":"u","detail":"high"}}"#),
            user(r#"{"type":"image_url","image_url":{"url":"u"}}"#),
        ),
        (
            user(r#"{"type":"x","a":["b","c"]}"#),
            user(r#"{"type":"x","a":["b"],"c":""}"#),
        ),
    ] {
        assert_ne!(opening("", &one), opening("", &other), "{one}");
    }
}

#[test]
fn what_says_nothing_is_as_if_it_were_left_out() {
    let user = r#"[{"role":"user","content":"hi"}]"#;
    let plain = opening("", user);
    for instructions in ["null", r#""""#, "[]", r#"[{"type":"text","text":""}]"#] {
        assert_eq!(opening(instructions, user), plain, "{instructions}");
    }
    let call = |content: &str| {
        format!(
            r#"[{{"role":"assistant",{content}"tool_calls":[]}},{{"role":"user","content":"hi"}}]"#
        )
    };
    for content in [
        "",
        r#""content":null,"#,
        r#""content":"","#,
        r#""content":[],"#,
    ] {
        assert_eq!(opening("", &call(content)), plain, "{content}");
    }
    let billed = |sum: &str| {
        let header = format!("x-anthropic-billing-header: cc_version=2.1; cch={sum};");
        format!(r#"[{{"type":"text","text":"{header}"}},{{"type":"text","text":"be brief"}}]"#)
    };
    assert_eq!(
        opening(&billed("a1b2c"), user),
        opening(&billed("ffe01"), user)
    );
}

#[test]
fn what_differs_is_another_opening() {
    let image = |data: &str| {
        format!(
            r#"[{{"role":"user","content":[{{"type":"image","source":{{"data":"{data}"}}}},{{"type":"text","text":"what"}}]}}]"#
        )
    };
    let all = [
        r#"[{"role":"user","content":"1"}]"#.to_owned(),
        r#"[{"role":"user","content":"2"}]"#.to_owned(),
        r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#
            .to_owned(),
        r#"[{"role":"user","content":"ab"}]"#.to_owned(),
        r#"[{"role":"assistant","content":"1"},{"role":"user","content":"1"}]"#.to_owned(),
        image("AAAA"),
        image("BBBB"),
    ];
    let mut found: Vec<u64> = all.iter().map(|one| opening("", one).unwrap()).collect();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), all.len());
    // The same image with its keys in another order, and a mark.
    let moved = r#"[{"role":"user","content":[{"cache_control":{},"source":{"data":"AAAA"},"type":"image"},{"type":"text","text":"what"}]}]"#;
    assert_eq!(opening("", moved), opening("", &image("AAAA")));
}

#[test]
fn without_a_user_there_is_none() {
    for messages in [
        "[]",
        r#"[{"role":"system","content":"x"}]"#,
        r#"[{"type":"function_call_output","call_id":"c","output":"1"}]"#,
        "[1]",
        "",
    ] {
        assert_eq!(of(None, Some(messages.as_bytes())), None, "{messages}");
    }
    assert!(of(None, Some(br#""just text""#)).is_some());
}
