//! The reduced copy against the document itself.

use serde_json::{Value, json};

use super::*;

/// The elements of a list, and the copy of an object.
fn sieved(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>, bool) {
    let mut sieve = Sieve::default();
    let mut elements = Vec::new();
    for piece in pieces {
        sieve.feed(piece, &mut |element| elements.push(element.to_vec()));
    }
    let complete = sieve.is_complete();
    (elements, sieve.finish(), complete)
}

fn copy(document: &str) -> Value {
    let (_, copy, complete) = sieved(&[document.as_bytes()]);
    assert!(complete, "{document:.80}");
    assert!(copy.len() <= 2 * ROOM + RESERVE, "{} bytes", copy.len());
    serde_json::from_slice(&copy).unwrap()
}

#[test]
fn a_short_document_is_copied_however_it_is_cut() {
    let document = r#" {"a" : [ ] , "b":{ },"c":[1,-2.5e3 ,true,{"d\"\\":"\ud83d\ude00 é\n"}, [[ ]]],"":null,"e":"" } "#;
    let whole: Value = serde_json::from_str(document).unwrap();
    let bytes = document.as_bytes();
    for first in 0..bytes.len() {
        for second in first..bytes.len() {
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let (elements, copy, complete) = sieved(&pieces);
            assert!(complete && elements.is_empty());
            let copy: Value = serde_json::from_slice(&copy).unwrap();
            assert_eq!(copy, whole, "cut at {first} and {second}");
        }
    }
}

#[test]
fn long_texts_are_cut_between_characters() {
    for unit in [
        "a",
        "é",
        "😀",
        r"\n",
        r"\u00e9",
        r"\ud83d\ude00",
        r"\\",
        r#"\""#,
    ] {
        for before in 0..13 {
            let text = format!("{}{}", "x".repeat(before), unit.repeat(2 * MAX_TEXT));
            let copy = copy(&format!(r#"{{"k":"{text}","usage":1}}"#));
            let whole: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            let kept = copy["k"].as_str().unwrap();
            assert!(
                whole.starts_with(kept) && kept.len() > MAX_TEXT / 8,
                "{unit}"
            );
            assert_eq!(copy["usage"], 1);
        }
    }
}

#[test]
fn what_stands_before_and_behind_large_parts_is_kept() {
    let big = "A".repeat(600 << 10);
    let vector = vec!["0.123456789"; 384].join(",");
    let vectors = vec![format!(r#"{{"index":0,"embedding":[{vector}]}}"#); 300].join(",");
    let texts = vec![format!(r#"{{"b64_json":"{}"}}"#, "A".repeat(2048)); 400].join(",");
    let nested = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let logprob = r#"{"token":"x","logprob":-0.1,"top_logprobs":[{"token":"y","bytes":[1,2,3]}]}"#;
    let logprobs = vec![logprob; 6000].join(",");
    let large = [
        format!("\"{big}\""),
        format!("[{vectors}]"),
        format!("[{texts}]"),
        nested,
        format!(r#"{{"content":[{logprobs}]}}"#),
        format!(r#"{{"{big}":1}}"#),
        format!("[{}]", vec!["{}"; 150_000].join(",")),
        "9".repeat(300 << 10),
    ];
    let usage = r#"{"prompt_tokens":7,"details":{"cached":3}}"#;
    for one in &large {
        for document in [
            format!(r#"{{"usage":{usage},"data":{one}}}"#),
            format!(r#"{{"data":{one},"usage":{usage}}}"#),
            format!(r#"{{"a":{one},"b":{one},"c":[{one},{one}],"usage":{usage}}}"#),
        ] {
            let expected: Value = serde_json::from_str(usage).unwrap();
            assert_eq!(copy(&document)["usage"], expected, "{document:.60}");
        }
        let inner = copy(&format!(
            r#"{{"type":"t","response":{{"output":[{{"r":{one}}}],"usage":{usage}}}}}"#
        ));
        assert_eq!(inner["response"]["usage"]["prompt_tokens"], 7);
        let ended = copy(&format!(
            r#"{{"choices":[{{"index":0,"x":{one},"finish_reason":"stop"}}]}}"#
        ));
        assert_eq!(ended["choices"][0]["finish_reason"], "stop");
    }
    // However many large members stand before it.
    let many: Vec<String> = (0..40)
        .map(|nth| format!(r#""{nth}":[{texts}],"#))
        .collect();
    let many = many.concat();
    let copy = copy(&format!(r#"{{{many}"usage":{usage}}}"#));
    assert_eq!(copy["usage"]["details"]["cached"], 3);
}

#[test]
fn elements_of_a_list_are_handed_over_one_by_one() {
    let big = "A".repeat(2 << 20);
    let list = format!(
        r#" [ {{"n":1,"data":"{big}"}} , {{"n":2}},3,"x",[4], {{"n":5,"error":{{"message":"m"}}}},{{"n":"#
    );
    let (elements, rest, complete) = sieved(&[list.as_bytes()]);
    let read: Vec<Value> = elements
        .iter()
        .map(|element| serde_json::from_slice(element).unwrap())
        .collect();
    assert_eq!(read[0]["n"], 1);
    assert_eq!(read[0]["data"].as_str().unwrap().len(), MAX_TEXT);
    assert_eq!(
        read[1..],
        [
            json!({"n":2}),
            json!(3),
            json!("x"),
            json!([4]),
            json!({"n":5,"error":{"message":"m"}})
        ]
    );
    assert!(rest.is_empty() && !complete);
    // Each has the room of a document of its own.
    let element = format!(
        r#"{{"x":[{}],"usage":9}}"#,
        vec![r#"{"y":"z"}"#; 40_000].join(",")
    );
    let list = format!("[{}]", vec![element; 5].join(","));
    let (elements, _, complete) = sieved(&[list.as_bytes()]);
    assert!(complete);
    assert_eq!(elements.len(), 5);
    for element in elements {
        let read: Value = serde_json::from_slice(&element).unwrap();
        assert_eq!(read["usage"], 9);
    }
}

#[test]
fn a_document_that_breaks_off_is_copied_as_far_as_it_came() {
    let document = r#"{"usage":{"a":1,"b":[true,{"c":"d\u00e9"}]},"e":"fé","g":123}"#;
    for at in 1..document.len() {
        let (_, copy, complete) = sieved(&[&document.as_bytes()[..at]]);
        assert!(!complete);
        let copy: Value = serde_json::from_slice(&copy)
            .unwrap_or_else(|error| panic!("{error}: {}", &document[..at.min(40)]));
        if at > 44 {
            assert_eq!(copy["usage"]["a"], 1, "cut at {at}");
        }
    }
}

#[test]
fn oddities_lose_only_themselves() {
    for (document, expected) in [
        (r#"{"a":NaN,"b":1}"#, json!({"a":null,"b":1})),
        (r#"{"a":-Infinity,"b":1}"#, json!({"a":null,"b":1})),
        (r#"{"a":1e999,"b":1}"#, json!({"a":null,"b":1})),
        (r#"{"a":"x\ud800y","b":1}"#, json!({"a":"x","b":1})),
        (r#"{"a":"x\qy","b":1}"#, json!({"a":"x","b":1})),
        ("{\"a\":\"x\ny\",\"b\":1}", json!({"a":"x y","b":1})),
        (r#"{"\ud800":1,"b":1}"#, json!({"b":1})),
        ("{\"a\tb\":1,\"b\":1}", json!({"b":1})),
        ("\u{feff}{\"b\":1} trailing", json!({"b":1})),
    ] {
        assert_eq!(copy(document), expected, "{document}");
    }
    let (_, copy, complete) = sieved(&[b"{\"a\":\"x\xffy\",\"b\":1}"]);
    assert!(complete);
    assert_eq!(copy, br#"{"a":"x","b":1}"#);
    for (document, expected) in [
        ("", ""),
        ("RIFF....", ""),
        ("\"text\"", ""),
        ("12", ""),
        (r#"{"a":1]"#, r#"{"a":1}"#),
        (r#"{"a":1,}"#, r#"{"a":1}"#),
        (r#"{"a" 1}"#, "{}"),
    ] {
        let (_, copy, complete) = sieved(&[document.as_bytes()]);
        assert_eq!(String::from_utf8(copy).unwrap(), expected, "{document}");
        assert!(!complete);
    }
}
