//! What an exchange comes to, in tables.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::config;
use crate::exchange::attempt::{Attempt, Reached};
use crate::exchange::entry::{self, Ticket};
use crate::exchange::rules::{Asker, Rules};
use crate::policy::identity::Caller;
use crate::policy::route::{Route, Traffic};

const SIZES: Sizes = Sizes {
    density: Density::TEXT,
    request: 400,
    response: 4_000,
};

fn completed(mut reading: Reading, ending: &Ending, status: u16, sizes: Sizes) -> Tokens {
    complete(&mut reading, ending, status, sizes);
    reading.tokens
}

#[test]
fn what_nobody_counted_is_estimated_where_a_provider_charges() {
    let left = Ending::ClientLeft;
    let done = Ending::Complete;
    let failed = Ending::ProviderFailed("overloaded".to_owned());
    let cut = Ending::ProviderCut("it broke off".to_owned());
    let late = Ending::TimedOut("too slow".to_owned());
    let revoked = Ending::Revoked("no grant".to_owned());
    let none = (None, None);
    let all = (Some(100), Some(1_000));
    for (counts, ending, status, response, expected) in [
        (none, &done, 200, 4_000, all),
        (none, &done, 200, 0, none),
        (none, &done, 204, 0, none),
        (none, &failed, 503, 0, none),
        (none, &failed, 200, 80, none),
        (none, &failed, 302, 80, none),
        (none, &cut, 200, 80, none),
        (none, &left, 0, 0, (Some(100), None)),
        (none, &left, 200, 4_000, all),
        (none, &late, 504, 0, (Some(100), None)),
        (none, &left, 429, 80, none),
        (none, &revoked, 200, 4_000, all),
        // What embeds writes nothing.
        ((Some(7), None), &done, 200, 4_000, (Some(7), None)),
        ((None, Some(7)), &done, 200, 4_000, (Some(100), Some(7))),
        ((Some(7), Some(8)), &done, 200, 4_000, (Some(7), Some(8))),
    ] {
        let sizes = Sizes { response, ..SIZES };
        let tokens = completed(counted(counts.0, counts.1), ending, status, sizes);
        let what = format!("{counts:?} {ending:?} {status}");
        assert_eq!((tokens.input, tokens.output), expected, "{what}");
        assert_eq!(tokens.estimated, counts != expected, "{what}");
    }
}

#[test]
fn bytes_stand_for_what_the_format_holds() {
    for (density, expected) in [
        (Density::VECTORS, (Some(100), None)),
        (Density::PICTURES, (Some(100), Some(4))),
        (Density::SPEECH, (Some(100), Some(6))),
        (Density::TRANSCRIPT, (Some(1), Some(1_000))),
    ] {
        let sizes = Sizes { density, ..SIZES };
        let tokens = completed(Reading::default(), &Ending::Complete, 200, sizes);
        assert_eq!((tokens.input, tokens.output), expected, "{density:?}");
    }
}

#[test]
fn a_sum_alone_is_never_exceeded() {
    // The request stands for 100 tokens, the response for 1,000.
    for (total, expected) in [
        (12, (1, 11)),
        (0, (0, 0)),
        (1_100, (100, 1_000)),
        (5_000, (100, 4_900)),
        (u64::MAX, (100, u64::MAX - 100)),
    ] {
        let reading = Reading {
            total: Some(total),
            ..Reading::default()
        };
        let tokens = completed(reading, &Ending::Complete, 200, SIZES);
        let (input, output) = expected;
        assert_eq!((tokens.input, tokens.output), (Some(input), Some(output)));
        assert!(tokens.estimated, "{total}");
    }
    let reading = Reading {
        total: Some(50),
        density: Some(Density::VECTORS),
        ..Reading::default()
    };
    let tokens = completed(reading, &Ending::Complete, 200, SIZES);
    assert_eq!((tokens.input, tokens.output), (Some(50), None));
}

#[test]
fn a_generated_response_is_charged_for_what_it_wrote() {
    let reading = Reading {
        finish_reason: Some("stop".to_owned()),
        ..counted(Some(5), None)
    };
    let tokens = completed(reading, &Ending::Complete, 200, SIZES);
    assert_eq!((tokens.output, tokens.estimated), (Some(1_000), true));
}

/// One provider with a price of 1 and 2 dollars for a million tokens; a dearer model beside it.
fn rules() -> Rules {
    let text = r#"{"providers":{"p":{"baseurl":"http://p","models":["m"]}},
        "prices":{"m":{"input":"1","output":"2"},"big":{"input":"10","output":"20"}},
        "grants":[{"src":["*"],"app":{"tailscale.com/cap/aperture":[{"role":"user"},{"models":"**"}]}}]}"#;
    Rules::compile(config::parse(text, &|_| None).unwrap(), 1)
}

/// What is known of a request with status `status`, of which `sent` bytes reached the caller.
fn facts(status: u16, sent: u64, reached: Option<Reached>) -> Facts {
    let rules = rules();
    let caller = Arc::new(Caller::hypothetical("ann@x.org", None));
    let permit = rules.access.cached_permit(&caller).unwrap();
    let (head, ()) = http::Request::post("/v1/chat/completions")
        .body(())
        .unwrap()
        .into_parts();
    let asker = Asker { caller, permit };
    let mut entry = entry::new(Ticket::new(), crate::formats::ALL[0], &asker, &head);
    entry.status = status;
    entry.response_bytes = sent;
    let mut facts = Facts::new(entry, rules.file.routing);
    if let Some(reached) = reached {
        let route = Route {
            provider: Arc::clone(&rules.routes.providers()[0]),
            model: "m".into(),
            reasons: Arc::new([]),
            spares: false,
        };
        facts.name(&route);
        let terms = rules.terms(&asker, &route);
        facts.attempts.push(Attempt {
            key: 0,
            refused_keys: 0,
            is_native: true,
            is_unpriced: false,
            own_credential: false,
            price: Some(Price {
                format: "openai_chat",
                quote: Arc::clone(&terms.quote),
                mode: Mode::Standard,
                prices: Arc::clone(&rules.prices),
                density: Density::TEXT,
                asked_bytes: 400,
            }),
            route,
            terms,
            translation: None,
            translated: None,
            unsealed: None,
            hold: None,
            after: None,
            reached,
            chosen_ms: 0.0,
            before_ms: 0.0,
            headers: Vec::new(),
            in_head: Tokens::default(),
        });
    }
    facts
}

fn asked() -> Reached {
    let provider = Arc::clone(&rules().routes.providers()[0]);
    Reached::Asked(Traffic::default().open(&provider, "m"))
}

fn counted(input: Option<u64>, output: Option<u64>) -> Reading {
    Reading {
        tokens: Tokens {
            input,
            output,
            ..Tokens::default()
        },
        ..Reading::default()
    }
}

fn ended(ending: Ending, reading: Reading, length: u64) -> Ended {
    let metered = Metered {
        reading,
        length,
        ..Metered::default()
    };
    Ended { ending, metered }
}

/// What an exchange comes to: its outcome, nanodollars, and tokens.
fn comes_to(reached: Option<Reached>, status: u16, mut ended: Ended) -> (Outcome, i64, i64) {
    let facts = facts(status, ended.metered.length, reached);
    let error = ended.ending.error().map(str::to_owned);
    let settled = settle(&facts, &mut ended);
    assert_eq!(settled.error, error);
    let (spent, cost) = (settled.spent(), settled.cost.unwrap());
    assert_eq!(spent.cost, Some(Money::from_nanodollars(cost)));
    (settled.outcome, cost, spent.tokens)
}

#[test]
fn what_a_provider_did_is_paid() {
    let none = Reading::default;
    let (left, done) = (Ending::ClientLeft, Ending::Complete);
    let failed = || Ending::ProviderFailed("overloaded".to_owned());
    let counts = ended(done.clone(), counted(Some(1_000), Some(500)), 80);
    let expected = (Outcome::Complete, 2_000_000, 1_500);
    assert_eq!(comes_to(Some(asked()), 200, counts), expected);
    // A response with an empty body doesn't mean that the caller left, and costs nothing.
    let empty = ended(done, none(), 0);
    let expected = (Outcome::Complete, 0, 0);
    assert_eq!(comes_to(Some(asked()), 204, empty), expected);
    // A caller who leaves pays for what was read, and for what was written until then.
    for (status, length, cost, tokens) in [(0, 0, 100_000, 100), (200, 4_000, 2_100_000, 1_100)] {
        let expected = (Outcome::ClientClosed, cost, tokens);
        let ended = ended(left.clone(), none(), length);
        assert_eq!(comes_to(Some(asked()), status, ended), expected);
    }
    // An error is free, unless it counts something.
    for (reading, cost, tokens) in [
        (none(), 0, 0),
        (counted(Some(1_000), Some(0)), 1_000_000, 1_000),
    ] {
        let expected = (Outcome::UpstreamError, cost, tokens);
        assert_eq!(
            comes_to(Some(asked()), 500, ended(failed(), reading, 80)),
            expected
        );
    }
}

#[test]
fn where_no_provider_was_asked_nothing_is_paid() {
    let why = || "why".to_owned();
    let over = |worked| Some(Reached::Over { worked });
    let chosen = Some(Reached::Chosen);
    let (refused, failed) = (Outcome::Refused, Outcome::Failed);
    for (reached, status, ending, outcome, tokens) in [
        (None, 403, Ending::Refused(why()), refused, 0),
        (chosen, 429, Ending::Refused(why()), refused, 0),
        (over(false), 502, Ending::Unreachable(why()), failed, 0),
        // One that was silent has read the request.
        (
            over(true),
            504,
            Ending::TimedOut(why()),
            Outcome::TimedOut,
            100,
        ),
        (over(true), 500, Ending::Panicked(why()), failed, 0),
    ] {
        let ended = ended(ending, Reading::default(), 0);
        let expected = (outcome, tokens * 1_000, tokens);
        assert_eq!(comes_to(reached, status, ended), expected, "{status}");
    }
}

#[test]
fn a_dearer_model_is_charged_and_said_to_be() {
    for (used, cost) in [("m", 1_000_000), ("big", 10_000_000), ("", 1_000_000)] {
        let facts = facts(200, 80, Some(asked()));
        let reading = Reading {
            model: Some(used.to_owned()),
            ..counted(Some(1_000), Some(0))
        };
        let settled = settle(&facts, &mut ended(Ending::Complete, reading, 80));
        assert_eq!(settled.cost, Some(cost), "{used:?}");
        assert_eq!(settled.dearer.is_some(), used == "big", "{used:?}");
    }
}

#[test]
fn the_entry_gets_what_the_response_says() {
    let mut facts = facts(200, 80, Some(asked()));
    facts.attempts[0].in_head.input = Some(7);
    let tool = ToolCall {
        name: "search".to_owned(),
        params: "{}".to_owned(),
    };
    let reading = Reading {
        finish_reason: Some("tool_calls".to_owned()),
        tool_calls: vec![tool.clone(), tool],
        ..Reading::default()
    };
    let settled = settle(&facts, &mut ended(Ending::Complete, reading, 80));
    assert_eq!(
        settled.tokens.input,
        Some(7),
        "the head counts what the body doesn't"
    );
    let tools = settled.complete(&mut facts.entry);
    assert_eq!((tools.len(), facts.entry.tool_calls), (2, 2));
    assert_eq!(facts.entry.finish_reason.as_deref(), Some("tool_calls"));
    assert_eq!(facts.entry.outcome, Outcome::Complete);
}

#[test]
fn a_capture_keeps_what_there_is_room_for() {
    let kept = || Kept {
        capture: Some(Capture {
            request_body: Bytes::from_static(b"{}"),
            ..Capture::default()
        }),
        room: 4,
        ..Kept::default()
    };
    for (body, expected, truncated) in [("four", "four", false), ("longer", "long", true)] {
        let metered = Metered {
            body: Bytes::from_static(body.as_bytes()),
            raw: Some(Bytes::from_static(body.as_bytes())),
            ..Metered::default()
        };
        let capture = captured(&mut kept(), metered).unwrap();
        assert_eq!(capture.response_body, expected);
        assert_eq!(capture.raw.as_deref(), Some(expected.as_bytes()));
        assert_eq!(capture.truncated, truncated);
    }
    let none = captured(&mut Kept::default(), Metered::default());
    assert!(none.is_none(), "where captures are not kept");
}
