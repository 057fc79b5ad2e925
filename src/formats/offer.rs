//! The tools that a request offers to the model, with their places, so that some can be taken
//! out and all else stays as it came. Each format says where its tools are and what their names
//! are; what providers could read in two ways is told as such.

use std::ops::Range;

use super::body::inside;
use crate::wire::json;

/// A longer list of tools is unclear; no provider takes as many.
const MOST: usize = 10_000;

/// A tool, or places that hold some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// A tool by its name. One of a provider's own has that of its kind, and a server of tools
    /// is `mcp:` and its name.
    Tool(String),
    /// Something that not everybody would read as the same tool.
    Unclear,
    /// Elements of an array, or members of an object.
    Several(Vec<Span>),
}

/// An element or a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// All of it, a member's key included.
    pub at: Range<usize>,
    /// What it is to those who look for tools.
    pub what: What,
}

/// What a place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It offers tools.
    Offers(Offer),
    /// It makes no sense without those beside it.
    Depends,
    /// Something else.
    Other,
}

impl Default for Offer {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Offer {
    /// Calls `each` with the name of every tool; with none for what is unclear.
    pub fn names<'a>(&'a self, each: &mut dyn FnMut(Option<&'a str>)) {
        match self {
            Self::Tool(name) => each(Some(name)),
            Self::Unclear => each(None),
            Self::Several(spans) => {
                for span in spans {
                    if let What::Offers(offer) = &span.what {
                        offer.names(each);
                    }
                }
            }
        }
    }

    /// Whether no tool is offered.
    fn is_empty(&self) -> bool {
        let mut any = false;
        self.names(&mut |_| any = true);
        !any
    }

    /// The ranges to cut out so that only tools are left whose name is `allowed`; `None` if that
    /// leaves none, though there was one.
    pub fn without(&self, allowed: &dyn Fn(&str) -> bool) -> Option<Vec<Range<usize>>> {
        let spans = match self {
            Self::Tool(name) => return allowed(name).then(Vec::new),
            Self::Unclear => return None,
            Self::Several(spans) => spans,
        };
        let mut cuts = Vec::new();
        let (mut offered, mut left) = (false, false);
        let mut gone: Vec<bool> = Vec::with_capacity(spans.len());
        for span in spans {
            let stays = match &span.what {
                What::Offers(offer) if !offer.is_empty() => {
                    offered = true;
                    let inner = offer.without(allowed);
                    left |= inner.is_some();
                    inner
                }
                _ => Some(Vec::new()),
            };
            gone.push(stays.is_none());
            cuts.extend(stays.into_iter().flatten());
        }
        if offered && !left {
            return None;
        }
        cuts.extend(runs(spans, &gone));
        Some(cuts)
    }
}

/// The ranges of neighbours that go, each with the comma that parts it from what stays.
fn runs(spans: &[Span], gone: &[bool]) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut from = 0;
    while from < spans.len() {
        if !gone[from] {
            from += 1;
            continue;
        }
        let to = (from..spans.len())
            .find(|nth| !gone[*nth])
            .unwrap_or(spans.len());
        cuts.push(match (spans.get(to), from.checked_sub(1)) {
            (Some(next), _) => spans[from].at.start..next.at.start,
            (None, Some(before)) => spans[before].at.end..spans[to - 1].at.end,
            (None, None) => spans[from].at.start..spans[to - 1].at.end,
        });
        from = to;
    }
    cuts
}

/// A whole request. `what` knows its members under `keys`, which are those that offer tools; one
/// that could be taken for them is unclear.
pub(super) fn request(
    body: &[u8],
    keys: &[&str],
    what: impl Fn(&str, Range<usize>) -> Offer,
) -> Offer {
    object(body, 0..body.len(), keys, what)
}

/// The members of the object at `at`, as those of a request.
pub(super) fn object(
    body: &[u8],
    at: Range<usize>,
    keys: &[&str],
    what: impl Fn(&str, Range<usize>) -> Offer,
) -> Offer {
    let Some(members) = json::members(&body[at.clone()]) else {
        return unless_null(body, at);
    };
    let mut seen: Vec<String> = Vec::new();
    let spans = members.into_iter().map(|(key, value)| {
        let (key, value) = (inside(&at, key), inside(&at, value));
        let name = json::string(&body[key.clone()]).unwrap_or_default();
        let offer = match json::variant(&name, keys) {
            None => None,
            Some(wanted) if wanted != name || seen.iter().any(|seen| *seen == name) => {
                Some(Offer::Unclear)
            }
            Some(_) => {
                seen.push(name.to_string());
                Some(what(&name, value.clone()))
            }
        };
        Span {
            at: key.start..value.end,
            what: offer.map_or(What::Other, What::Offers),
        }
    });
    Offer::Several(spans.collect())
}

/// An array of tools, each as `what` understands it.
pub(super) fn list(
    body: &[u8],
    at: Range<usize>,
    what: impl Fn(&[u8], Range<usize>) -> What,
) -> Offer {
    let Some(elements) = json::elements(&body[at.clone()], MOST) else {
        return unless_null(body, at);
    };
    let places = elements.into_iter().map(|element| inside(&at, element));
    let spans = places.map(|at| Span {
        what: what(body, at.clone()),
        at,
    });
    Offer::Several(spans.collect())
}

/// Tools that stand in elements of an array, such as messages and the results of tools: under `key`
/// of each that is an object.
pub(super) fn within(
    body: &[u8],
    at: Range<usize>,
    key: &str,
    what: impl Fn(Range<usize>) -> Offer,
) -> Offer {
    within_any(body, at, &[key], |_, at| what(at))
}

/// The same under several keys.
pub(super) fn within_any(
    body: &[u8],
    at: Range<usize>,
    keys: &[&str],
    what: impl Fn(&str, Range<usize>) -> Offer,
) -> Offer {
    let elements = json::elements(&body[at.clone()], usize::MAX).unwrap_or_default();
    let spans = elements.into_iter().map(|element| {
        let at = inside(&at, element);
        let offer = (body[at.start] == b'{').then(|| object(body, at.clone(), keys, &what));
        Span {
            at,
            what: offer.map_or(What::Other, What::Offers),
        }
    });
    Offer::Several(spans.collect())
}

/// A key that stands for a tool of the provider, unless its value turns it off.
pub(super) fn switch(body: &[u8], at: Range<usize>, name: &str) -> Offer {
    match &body[at] {
        b"null" | b"false" | b"\"\"" => Offer::default(),
        // As xAI's `search_parameters` has it.
        value if is_off(value) => Offer::default(),
        _ => Offer::Tool(name.to_owned()),
    }
}

fn is_off(value: &[u8]) -> bool {
    let fields = json::scan(value, &["mode"]).ok();
    let mode = fields.and_then(|fields| fields.get(0));
    mode.is_some_and(|at| &value[at] == b"\"off\"")
}

/// A request to servers of OpenAI's kind, or another object of its shape: `listed` knows the tools of a
/// list, and `more` what else stands under `keys`.
pub(super) fn of_servers(
    body: &[u8],
    at: Range<usize>,
    keys: &[&str],
    listed: impl Fn(Range<usize>) -> Offer,
    more: impl Fn(&str, Range<usize>) -> Offer,
) -> Offer {
    let keys = [&["tools"], keys, &SWITCHES, &TEMPLATES].concat();
    object(body, at, &keys, |key, at| match key {
        "tools" => listed(at),
        "plugins" => tools(body, at, |plugin| {
            let id = plugin.text(&["id"])?.unwrap_or_default();
            Ok(Some(format!("plugin:{id}")))
        }),
        key if SWITCHES.contains(&key) => switch(body, at, "web_search"),
        key if TEMPLATES.contains(&key) => {
            let keys = ["tools", "functions", "messages"];
            object(body, at, &keys, |key, at| match key {
                "messages" => within(body, at, "tools", &listed),
                _ => listed(at),
            })
        }
        key => more(key, at),
    })
}

/// Keys by which the tools of a provider are turned on: OpenAI's search, `OpenRouter`'s plugins, and
/// the searches of xAI, Qwen, Groq and Perplexity.
const SWITCHES: [&str; 7] = [
    "web_search_options",
    "plugins",
    "search_parameters",
    "enable_search",
    "search_options",
    "search_settings",
    "search_mode",
];

/// What servers give to the template of a prompt by name, in place of their own.
const TEMPLATES: [&str; 2] = ["chat_template_args", "chat_template_kwargs"];

/// What is neither an object nor an array where one should be.
fn unless_null(body: &[u8], at: Range<usize>) -> Offer {
    if &body[at] == b"null" {
        Offer::default()
    } else {
        Offer::Unclear
    }
}

/// An array of tools that are objects, each with the name that `name` finds. One without is no
/// tool, but a mark between tools.
pub(super) fn tools(
    body: &[u8],
    at: Range<usize>,
    name: impl Fn(Tool<'_>) -> Result<Option<String>, Unclear>,
) -> Offer {
    list(body, at, |body, at| match name(Tool(&body[at])) {
        Ok(Some(name)) => What::Offers(Offer::Tool(name)),
        Ok(None) => What::Depends,
        Err(Unclear) => What::Offers(Offer::Unclear),
    })
}

/// Not everybody would read the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unclear;

/// One tool, as it stands in the request.
#[derive(Clone, Copy)]
pub(super) struct Tool<'a>(&'a [u8]);

impl Tool<'_> {
    /// The string that a path of keys leads to, if it leads to one.
    pub(super) fn text(self, path: &[&str]) -> Result<Option<String>, Unclear> {
        let mut value = self.0;
        for key in path {
            if value.first() != Some(&b'{') {
                // An element that isn't an object isn't a known kind of tool.
                return if value.len() == self.0.len() {
                    Err(Unclear)
                } else {
                    Ok(None)
                };
            }
            let fields = json::scan(value, &[key]).map_err(|_| Unclear)?;
            match fields.get(0) {
                Some(at) => value = &value[at],
                None => return Ok(None),
            }
        }
        Ok(json::string(value).map(std::borrow::Cow::into_owned))
    }

    /// The name that all of several paths agree on, as far as they lead to one.
    pub(super) fn agreed(self, paths: &[&[&str]]) -> Result<Option<String>, Unclear> {
        let mut agreed: Option<String> = None;
        for path in paths {
            let text = self.text(path)?;
            if agreed.is_some() && text.is_some() && agreed != text {
                return Err(Unclear);
            }
            agreed = agreed.or(text);
        }
        Ok(agreed)
    }

    /// The first string that one of several paths leads to.
    pub(super) fn first(self, paths: &[&[&str]]) -> Result<Option<String>, Unclear> {
        for path in paths {
            if let Some(text) = self.text(path)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use crate::formats;

    /// The request without tools whose name does not begin with `ok`; nothing if none is left.
    fn stripped(kind: &'static str, body: &str) -> Option<String> {
        let known = formats::named(kind);
        let offer = known.unwrap().tools(body.as_bytes());
        let mut cuts = offer.without(&|name| name.starts_with("ok"))?;
        cuts.sort_by_key(|cut| std::cmp::Reverse(cut.start));
        let mut body = body.to_owned();
        for cut in cuts {
            body.replace_range(cut, "");
        }
        serde_json::from_str::<serde_json::Value>(&body).expect("it is still JSON");
        Some(body)
    }

    #[test]
    fn each_format_loses_the_tools_that_are_not_allowed_and_nothing_else() {
        for (kind, body, left) in [
            (
                "openai_chat",
                r#"{"tools":[{"type":"function","function":{"name":"ok1"}}, {"type":"function","function":{"name":"no"}}],"tool_choice":"auto","model":"m"}"#,
                r#"{"tools":[{"type":"function","function":{"name":"ok1"}}],"tool_choice":"auto","model":"m"}"#,
            ),
            (
                "openai_chat",
                r#"{"tools":[{"type":"function","function":{"name":"no"}}], "functions":[{"name":"ok"},{"name":"no"}],"model":"m"}"#,
                r#"{"functions":[{"name":"ok"}],"model":"m"}"#,
            ),
            (
                "openai_responses",
                r#"{"model":"m","tools":[{"type":"web_search"},{"type":"mcp","server_label":"x"},{"type":"function","name":"ok"},{"type":"custom","name":"no"}]}"#,
                r#"{"model":"m","tools":[{"type":"function","name":"ok"}]}"#,
            ),
            (
                "anthropic_messages",
                r#"{"mcp_servers":[{"name":"x"}],"tools":[{"name":"ok"},{"type":"web_search_1","name":"web_search"},{"type":"mcp_toolset","mcp_server_name":"x"}],"model":"m"}"#,
                r#"{"tools":[{"name":"ok"}],"model":"m"}"#,
            ),
            (
                "gemini_generate_content",
                r#"{"contents":[],"tools":[{"functionDeclarations":[{"name":"no"}]},{"functionDeclarations":[{"name":"ok"},{"name":"no"}],"googleSearch":{}}],"toolConfig":{}}"#,
                r#"{"contents":[],"tools":[{"functionDeclarations":[{"name":"ok"}]}],"toolConfig":{}}"#,
            ),
            (
                "bedrock_converse",
                r#"{"messages":[],"toolConfig":{"tools":[{"toolSpec":{"name":"no"}},{"toolSpec":{"name":"ok"}},{"cachePoint":{}}],"toolChoice":{"any":{}}},"additionalModelRequestFields":{"tools":[{"name":"computer"}]}}"#,
                r#"{"messages":[],"toolConfig":{"tools":[{"toolSpec":{"name":"ok"}},{"cachePoint":{}}],"toolChoice":{"any":{}}}}"#,
            ),
            (
                "bedrock_model_invoke",
                r#"{"messages":[],"tools":[{"name":"ok"},{"name":"no"}]}"#,
                r#"{"messages":[],"tools":[{"name":"ok"}]}"#,
            ),
            (
                "bedrock_model_invoke",
                r#"{"functions":[{"name":"ok"},{"name":"no"}]}"#,
                r#"{"functions":[{"name":"ok"}]}"#,
            ),
            (
                "openai_embeddings",
                r#"{"input":"x","tools":[{"name":"no"}]}"#,
                r#"{"input":"x","tools":[{"name":"no"}]}"#,
            ),
            (
                "gemini_generate_content",
                r#"{"contents":[],"cachedContent":""}"#,
                r#"{"contents":[],"cachedContent":""}"#,
            ),
            (
                "anthropic_messages",
                r#"{"container":"","model":"m"}"#,
                r#"{"container":"","model":"m"}"#,
            ),
            ("openai_chat", r#"{"tools":null}"#, r#"{"tools":null}"#),
            ("openai_chat", r#"{"tools":[]}"#, r#"{"tools":[]}"#),
        ] {
            assert_eq!(
                stripped(kind, body).as_deref(),
                Some(left),
                "{kind}: {body}"
            );
        }
        for body in [
            r#"{"tools":[{"name":"no"}]}"#,
            r#"{"tools":[{"name":"ok","Name":"no"}]}"#,
        ] {
            assert_eq!(stripped("google_raw_predict", body), None);
        }
        let cached = r#"{"contents":[],"cachedContent":"c"}"#;
        assert_eq!(stripped("gemini_generate_content", cached), None);
    }
}
