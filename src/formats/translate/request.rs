//! A request in the form that all formats are translated from and to.

use super::{CacheMark, Json, Object, Part};

/// A request for one response of a model. It has what at least two of the formats can express; anything
/// else is refused or noted in [`dropped`](Self::dropped) where a caller's request is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The model, as the caller named it.
    pub model: String,
    /// How the caller wants the response.
    pub delivery: Delivery,
    /// The conversation. Turns of one role may follow each other; system turns may stand anywhere.
    pub turns: Vec<Turn>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Which of them it may or must call; `None` is the API's default, which is its choice.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several at once; `None` is the API's default, which is yes.
    pub parallel_tool_calls: Option<bool>,
    /// What the text of the response has to be.
    pub output: Output,
    /// How much the model thinks before it responds; `None` is the model's default.
    pub reasoning: Option<Reasoning>,
    /// Whether the caller wants to read what the model thinks; `None` is the API's default.
    pub shows_thoughts: Option<bool>,
    /// The most tokens of the response, those of reasoning included.
    pub max_tokens: Option<u64>,
    /// From 0 to 2, though some formats end at 1.
    pub temperature: Option<f64>,
    /// Nucleus sampling, from 0 to 1.
    pub top_p: Option<f64>,
    /// How many of the likeliest tokens are sampled from.
    pub top_k: Option<u64>,
    /// Makes sampling repeatable, as far as the model can.
    pub seed: Option<Json>,
    /// Against tokens that have come before, from -2 to 2.
    pub presence_penalty: Option<f64>,
    /// Against tokens that have come often, from -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// Texts at which the response ends.
    pub stop: Vec<String>,
    /// Log probabilities of the response's tokens, with those of so many other tokens at each place.
    pub logprobs: Option<u64>,
    /// How much it writes: `low`, `medium`, `high`.
    pub verbosity: Option<String>,
    /// An opaque id of the person who asks.
    pub user: Option<String>,
    /// Requests with the same key share a cache where they can.
    pub cache_key: Option<String>,
    /// Keys and values that the provider keeps with the response.
    pub metadata: Option<Object>,
    /// When its response began, in seconds since 1970, which some formats tell.
    pub created: u64,
    /// Fields of the caller's request that were left out, because its API calls them hints; [`note`] adds
    /// them.
    ///
    /// [`note`]: super::note
    pub dropped: Vec<String>,
}

/// How a caller wants the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// In one piece.
    #[default]
    Whole,
    /// As a stream of events.
    Events {
        /// With an event that has the usage, where the format only sends it on request.
        usage: bool,
    },
    /// As a JSON array whose elements come one after the other, as Gemini has it.
    Array,
}

/// What one side says.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Who says it.
    pub role: Role,
    /// What is said. Reasoning stands before what it led to.
    pub parts: Vec<Part>,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The operator. Developer messages are system messages in all formats but two.
    System,
    /// The operator, with less authority than [`System`](Self::System) where a format has both.
    Developer,
    /// The person. Results of tools stand here too.
    User,
    /// The model.
    Assistant,
}

/// A tool of the caller's that the model may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The JSON Schema of its parameters; `None` if it takes none.
    pub parameters: Option<Json>,
    /// Whether calls must match the schema.
    pub strict: Option<bool>,
    /// The group that it belongs to, whose name the caller has apart from the tool's. The tool's name
    /// begins with it.
    pub namespace: Option<String>,
    /// It takes a text instead of parameters: the `format` of that text, or an empty object.
    pub freeform: Option<Object>,
    /// What stands up to here may be cached.
    pub cache: Option<CacheMark>,
}

/// Which tools a model may or must call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// Any or none.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
    /// Only some of them.
    Allowed {
        /// Their names.
        names: Vec<String>,
        /// Whether at least one must be called.
        required: bool,
    },
}

/// What the text of a response has to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Output {
    /// Any text.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that matches a schema.
    JsonSchema {
        /// The schema's name.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// The JSON Schema.
        schema: Json,
        /// Whether the response must match it.
        strict: Option<bool>,
    },
}

/// How much a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reasoning {
    /// Not at all.
    Off,
    /// As much as the model finds useful, with some effort.
    Effort(Effort),
    /// As much as the model finds useful.
    Adaptive,
    /// Up to so many tokens.
    Budget(u64),
}

/// Efforts, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Hardly any.
    Minimal,
    /// Little.
    Low,
    /// The usual.
    Medium,
    /// Much.
    High,
    /// More.
    XHigh,
    /// All that the model can.
    Max,
}

impl Effort {
    /// Each with its name in all APIs, and a budget in tokens for those that know nothing else.
    const ALL: [(Self, &'static str, u64); 6] = [
        (Self::Minimal, "minimal", 512),
        (Self::Low, "low", 1_024),
        (Self::Medium, "medium", 4_096),
        (Self::High, "high", 16_384),
        (Self::XHigh, "xhigh", 32_768),
        (Self::Max, "max", 65_536),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The effort of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        Some(all.find(|(_, known, _)| *known == name)?.0)
    }

    /// A budget in tokens that comes close.
    #[must_use]
    pub fn budget(self) -> u64 {
        self.entry().2
    }

    /// The lowest effort whose budget is not below `tokens`, from low to high: most models refuse the
    /// efforts beyond these, that the request doesn't ask for.
    #[must_use]
    pub fn of_budget(tokens: u64) -> Self {
        let mut all = Self::ALL.into_iter();
        let effort = all.find(|(.., budget)| tokens <= *budget);
        effort.map_or(Self::High, |(effort, ..)| {
            effort.clamp(Self::Low, Self::High)
        })
    }

    fn entry(self) -> (Self, &'static str, u64) {
        let mut all = Self::ALL.into_iter();
        all.find(|(effort, ..)| *effort == self)
            .unwrap_or((Self::Medium, "medium", 4_096))
    }
}

impl Reasoning {
    /// Whether a model is known to take `none` as its effort where OpenAI's APIs have efforts. These are
    /// GPT-5.1 and later, but for their variants that always think. Others refuse the word.
    #[must_use]
    pub fn can_be_off(model: &str) -> bool {
        let name = model.rsplit_once('/').map_or(model, |(_, name)| name);
        let Some(rest) = name.strip_prefix("gpt-") else {
            return false;
        };
        let (version, variant) = rest.split_once('-').unwrap_or((rest, ""));
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        let version = major.parse::<u32>().ok().zip(minor.parse::<u32>().ok());
        let is_plain = variant.is_empty()
            || variant.starts_with(|first: char| first.is_ascii_digit())
            || variant.starts_with("mini")
            || variant.starts_with("nano");
        is_plain && version.is_some_and(|version| version >= (5, 1))
    }

    /// The effort, for formats that know no budget; `None` where the model decides.
    #[must_use]
    pub fn effort(self) -> Option<Effort> {
        match self {
            Self::Effort(effort) => Some(effort),
            Self::Budget(tokens) => Some(Effort::of_budget(tokens)),
            Self::Off | Self::Adaptive => None,
        }
    }

    /// The budget in tokens, for formats that know no effort; `None` where the model decides.
    #[must_use]
    pub fn budget(self) -> Option<u64> {
        match self {
            Self::Off => Some(0),
            Self::Effort(effort) => Some(effort.budget()),
            Self::Budget(tokens) => Some(tokens),
            Self::Adaptive => None,
        }
    }
}

impl Tool {
    /// The longest name that is translated, in bytes. Each result of a tool gets a copy of its name, and no
    /// API takes a longer one.
    pub const LONGEST_NAME: usize = 256;
}

impl Turn {
    /// A turn.
    #[must_use]
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts }
    }
}

impl Role {
    /// Whether the operator speaks.
    #[must_use]
    pub fn is_operator(self) -> bool {
        matches!(self, Self::System | Self::Developer)
    }
}

impl Request {
    /// Whether the caller wants a stream.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.delivery != Delivery::Whole
    }

    /// For formats with one system prompt in front: its parts, and the turns without those of the
    /// operator. The prompt has all of the operator's turns, in their order. Turns of one role that
    /// follow each other are one, because some formats take them only in turn.
    #[must_use]
    pub fn with_system_in_front(&self) -> (Vec<&Part>, Vec<(Role, Vec<&Part>)>) {
        let mut system = Vec::new();
        let mut turns: Vec<(Role, Vec<&Part>)> = Vec::new();
        for turn in &self.turns {
            match turns.last_mut() {
                _ if turn.role.is_operator() => system.extend(&turn.parts),
                Some((role, parts)) if *role == turn.role => parts.extend(&turn.parts),
                _ => turns.push((turn.role, turn.parts.iter().collect())),
            }
        }
        (system, turns)
    }
}
