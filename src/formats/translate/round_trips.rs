//! Requests that are made up at random keep their meaning on their way through two formats and back.

use super::checks::value;
use super::json::object;
use super::*;
use crate::formats::codecs;

/// Numbers that look random, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| value(self))
    }

    fn text(&mut self) -> String {
        const TEXTS: [&str; 6] = [
            "ahoy",
            "»ü« 日本\n",
            "a \"b\" \\ c",
            "{\"x\":1}",
            " ",
            "data: {}\n\n",
        ];
        let nth = usize::try_from(self.below(6)).unwrap();
        format!("{}{}", TEXTS[nth], self.below(100))
    }

    fn image(&mut self) -> Content {
        let mime = Some("image/png".to_owned());
        let source = match self.below(2) {
            0 => Source::Inline("iVBORw==".to_owned()),
            _ => Source::Inline("AAAA".to_owned()),
        };
        Content::Media(Media::new(MediaKind::Image, mime, source))
    }

    fn tool(&mut self, name: &str) -> Tool {
        let schema = object! {
            "type": "object",
            "properties": object! { "z": object! { "type": "string" }, "a": object! { "type": "number" } },
        };
        Tool {
            name: name.to_owned(),
            description: self.maybe(Self::text),
            parameters: Some(schema.into()),
            ..Tool::default()
        }
    }

    /// A turn of the user, and what the model did before, if it was anything.
    fn exchange(&mut self, nth: u64, request: &mut Request) {
        let user = |parts| Turn::new(Role::User, parts);
        let mut said = vec![Part::text(self.text())];
        said.extend(self.maybe(|dice| Part::new(dice.image())));
        request.turns.push(user(said));
        let (mut calls, mut results) = (Vec::new(), Vec::new());
        for call in 0..self.below(3) {
            let id = format!("call_{nth}_{call}");
            let arguments = object! { "z": self.text(), "a": self.below(9) }.to_string();
            let result = ToolResult {
                id: id.clone(),
                parts: vec![Part::text(self.text())],
                ..ToolResult::default()
            };
            let name = "look".to_owned();
            calls.push(Part::new(Content::ToolCall(ToolCall {
                id,
                name,
                arguments,
                is_freeform: false,
            })));
            results.push(Part::new(Content::ToolResult(result)));
        }
        let text = Part::text(self.text());
        let parts = std::iter::once(text).chain(calls).collect();
        request.turns.push(Turn::new(Role::Assistant, parts));
        if !results.is_empty() {
            request.turns.push(user(results));
        }
    }

    fn request(&mut self) -> Request {
        let mut request = Request {
            model: "m".to_owned(),
            max_tokens: Some(100 + self.below(100)),
            temperature: self.maybe(|_| 0.5),
            top_p: self.maybe(|_| 0.25),
            tools: vec![self.tool("look"), self.tool("now")],
            tool_choice: match self.below(5) {
                0 => None,
                1 => Some(ToolChoice::Auto),
                2 => Some(ToolChoice::None),
                3 => Some(ToolChoice::Required),
                _ => Some(ToolChoice::Named("now".to_owned())),
            },
            ..Request::default()
        };
        if self.below(2) == 0 {
            let turn = Turn::new(Role::System, vec![Part::text(self.text())]);
            request.turns.push(turn);
        }
        for nth in 0..=self.below(3) {
            self.exchange(nth, &mut request);
        }
        let last = Turn::new(Role::User, vec![Part::text(self.text())]);
        request.turns.push(last);
        request.name_results();
        // Converse can't forbid calls where there were some.
        let has_calls = request.turns.iter().flat_map(|turn| &turn.parts);
        let mut has_calls = has_calls.map(|part| &part.content);
        if request.tool_choice == Some(ToolChoice::None)
            && has_calls.any(|content| matches!(content, Content::ToolCall(_)))
        {
            request.tool_choice = None;
        }
        request
    }
}

/// The body for a provider of `to`, of a body of a caller of `from`.
fn through(from: &Codec, to: &Codec, body: &str) -> String {
    let inbound = Inbound {
        path: "",
        query: None,
        model: "m",
        is_streamed: false,
        body: body.as_bytes(),
    };
    let translated = request(from, to, &inbound, "m");
    let translated =
        translated.unwrap_or_else(|why| panic!("{} → {}: {why}\n{body}", from.name, to.name));
    translated.outbound.body.to_string()
}

#[test]
fn requests_keep_their_meaning_there_and_back() {
    let mut dice = Dice(7);
    for _ in 0..60 {
        let made = dice.request();
        let features = made.features("");
        let expresses = |codec: &&Codec| {
            let expressed = codec.expresses;
            !expressed.is_empty() && features.iter().all(|one| expressed.contains(one))
        };
        for caller in codecs().into_iter().filter(expresses) {
            let asked = (caller.write_request)(&made).unwrap().body.to_string();
            for served in codecs().into_iter().filter(expresses) {
                let sent = through(caller, served, &asked);
                let again = through(caller, served, &through(served, caller, &sent));
                let pair = (caller.name, served.name);
                assert_eq!(value(&sent), value(&again), "{pair:?}: {asked}");
            }
        }
    }
}
