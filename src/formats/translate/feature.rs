//! What a request can ask for that not every format can express. Each codec says what its callers call
//! it and whether its providers have it; the rest follows from that, the table in `docs/FORMATS.md` too.

use std::collections::{HashMap, HashSet};

use super::{
    Content, Delivery, MediaKind, Output, Part, Request, Source, Tool, ToolChoice, Untranslatable,
};

/// Something that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Only some of the tools may be called. Elsewhere the others are left out.
    AllowedTools,
    /// A sound in the request.
    Audio,
    /// A key under which requests share a cache.
    CacheKey,
    /// Marks up to which a prompt may be cached.
    CacheMarks,
    /// A document in the request.
    Document,
    /// Citations of a document of the request.
    DocumentCitations,
    /// A document that is a plain text.
    DocumentText,
    /// A document by URL.
    DocumentUrl,
    /// Tools that take a text. Elsewhere they take an object with the text in it.
    FreeformTools,
    /// That a tool must be called.
    ForcedTools,
    /// A penalty for what has come often.
    FrequencyPenalty,
    /// A picture in the request.
    Image,
    /// How closely a picture is looked at.
    ImageDetail,
    /// A picture by URL.
    ImageUrl,
    /// Some JSON object as the response.
    JsonObject,
    /// JSON that matches a schema as the response.
    JsonSchema,
    /// A system message behind others. Elsewhere it joins those in front.
    LaterSystem,
    /// Log probabilities.
    LogProbs,
    /// Keys and values that the provider keeps.
    Metadata,
    /// Earlier thoughts of a model of another API.
    PlainReasoning,
    /// A penalty for what has come before.
    PresencePenalty,
    /// How much the model thinks.
    Reasoning,
    /// A document in what a tool returned.
    ResultDocument,
    /// That a tool failed.
    ResultError,
    /// A picture in what a tool returned.
    ResultImage,
    /// Repeatable sampling.
    Seed,
    /// Tools one at a time.
    SerialTools,
    /// Stop sequences.
    Stop,
    /// A temperature above 1.
    HighTemperature,
    /// Calls that must match the schema.
    StrictTools,
    /// Sampling from the likeliest tokens.
    TopK,
    /// An id of the person who asks.
    User,
    /// How much the model writes.
    Verbosity,
    /// A film in the request.
    Video,
}

/// What becomes of a feature that the provider's format doesn't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The caller's API calls it a hint: it is left out, and the record says so.
    Hint,
    /// The request is refused.
    Must,
}

/// What a format's callers call a feature.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The feature.
    pub feature: Feature,
    /// The field of the request, as the API's reference names it.
    pub name: &'static str,
    /// Whether it can be left out.
    pub need: Need,
}

impl Field {
    /// A field without which a request means something else.
    #[must_use]
    pub const fn must(feature: Feature, name: &'static str) -> Self {
        Self {
            feature,
            name,
            need: Need::Must,
        }
    }

    /// A field that the API calls a hint.
    #[must_use]
    pub const fn hint(feature: Feature, name: &'static str) -> Self {
        Self {
            feature,
            name,
            need: Need::Hint,
        }
    }
}

impl Feature {
    /// All of them, in the order of the documentation's table.
    pub const ALL: [Self; 34] = [
        Self::Image,
        Self::ImageUrl,
        Self::ImageDetail,
        Self::Document,
        Self::DocumentText,
        Self::DocumentUrl,
        Self::DocumentCitations,
        Self::Audio,
        Self::Video,
        Self::LaterSystem,
        Self::StrictTools,
        Self::AllowedTools,
        Self::ForcedTools,
        Self::FreeformTools,
        Self::SerialTools,
        Self::ResultImage,
        Self::ResultDocument,
        Self::ResultError,
        Self::JsonObject,
        Self::JsonSchema,
        Self::Reasoning,
        Self::PlainReasoning,
        Self::Stop,
        Self::HighTemperature,
        Self::TopK,
        Self::Seed,
        Self::PresencePenalty,
        Self::FrequencyPenalty,
        Self::LogProbs,
        Self::Verbosity,
        Self::CacheMarks,
        Self::CacheKey,
        Self::User,
        Self::Metadata,
    ];

    /// What the documentation calls it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::AllowedTools => "some of the tools allowed",
            Self::Audio => "sound",
            Self::CacheKey => "cache key",
            Self::CacheMarks => "cache marks",
            Self::Document => "documents",
            Self::DocumentCitations => "citations of documents",
            Self::DocumentText => "documents of plain text",
            Self::DocumentUrl => "documents by URL",
            Self::ForcedTools => "a tool that must be called",
            Self::FreeformTools => "freeform tools",
            Self::FrequencyPenalty => "frequency penalty",
            Self::HighTemperature => "temperature above 1",
            Self::Image => "images",
            Self::ImageDetail => "detail of images",
            Self::ImageUrl => "images by URL",
            Self::JsonObject => "any JSON as response",
            Self::JsonSchema => "structured output",
            Self::LaterSystem => "system messages behind others",
            Self::LogProbs => "log probabilities",
            Self::Metadata => "metadata",
            Self::PlainReasoning => "earlier reasoning of another API's model",
            Self::PresencePenalty => "presence penalty",
            Self::Reasoning => "reasoning effort or budget",
            Self::ResultDocument => "tool results with documents",
            Self::ResultError => "failed tools",
            Self::ResultImage => "tool results with images",
            Self::Seed => "seed",
            Self::SerialTools => "no parallel tool calls",
            Self::Stop => "stop sequences",
            Self::StrictTools => "strict tools",
            Self::TopK => "top k",
            Self::User => "id of the user",
            Self::Verbosity => "verbosity",
            Self::Video => "video",
        }
    }
}

impl Request {
    /// What it asks for, each once. `served` is the format of the provider, which reads thoughts of its
    /// own models.
    #[must_use]
    pub fn features(&self, served: &str) -> Vec<Feature> {
        let mut all = Found(Vec::new());
        let is_allowed = matches!(self.tool_choice, Some(ToolChoice::Allowed { .. }));
        all.add(is_allowed, Feature::AllowedTools);
        let is_forced = matches!(
            self.tool_choice,
            Some(
                ToolChoice::Required
                    | ToolChoice::Named(_)
                    | ToolChoice::Allowed { required: true, .. }
            )
        );
        all.add(is_forced && !self.tools.is_empty(), Feature::ForcedTools);
        let is_high = self
            .temperature
            .is_some_and(|temperature| temperature > 1.0);
        all.add(is_high, Feature::HighTemperature);
        all.add(self.top_k.is_some(), Feature::TopK);
        all.add(self.seed.is_some(), Feature::Seed);
        all.add(self.presence_penalty.is_some(), Feature::PresencePenalty);
        all.add(self.frequency_penalty.is_some(), Feature::FrequencyPenalty);
        all.add(self.logprobs.is_some(), Feature::LogProbs);
        all.add(!self.stop.is_empty(), Feature::Stop);
        all.add(self.user.is_some(), Feature::User);
        all.add(self.verbosity.is_some(), Feature::Verbosity);
        all.add(self.cache_key.is_some(), Feature::CacheKey);
        all.add(self.metadata.is_some(), Feature::Metadata);
        all.add(self.reasoning.is_some(), Feature::Reasoning);
        let is_serial = self.parallel_tool_calls == Some(false) && !self.tools.is_empty();
        all.add(is_serial, Feature::SerialTools);
        match self.output {
            Output::Text => {}
            Output::JsonObject => all.add(true, Feature::JsonObject),
            Output::JsonSchema { .. } => all.add(true, Feature::JsonSchema),
        }
        for tool in &self.tools {
            all.add(tool.strict == Some(true), Feature::StrictTools);
            all.add(tool.freeform.is_some(), Feature::FreeformTools);
            all.add(tool.cache.is_some(), Feature::CacheMarks);
        }
        let mut is_behind = false;
        for turn in &self.turns {
            all.add(is_behind && turn.role.is_operator(), Feature::LaterSystem);
            is_behind |= !turn.role.is_operator();
            for part in &turn.parts {
                all.part(part, served);
            }
        }
        all.0
    }

    /// Leaves out a feature. Those that no API calls a hint stay.
    pub fn leave_out(&mut self, feature: Feature, served: &str) {
        match feature {
            Feature::Seed => self.seed = None,
            Feature::User => self.user = None,
            Feature::Verbosity => self.verbosity = None,
            Feature::CacheKey => self.cache_key = None,
            Feature::Metadata => self.metadata = None,
            Feature::TopK => self.top_k = None,
            Feature::PresencePenalty => self.presence_penalty = None,
            Feature::FrequencyPenalty => self.frequency_penalty = None,
            Feature::SerialTools => self.parallel_tool_calls = None,
            Feature::Reasoning => self.reasoning = None,
            Feature::StrictTools => self.tools.iter_mut().for_each(|tool| tool.strict = None),
            Feature::CacheMarks => {
                self.tools.iter_mut().for_each(|tool| tool.cache = None);
                self.each_part(&mut |part| part.cache = None);
            }
            Feature::ImageDetail => self.each_part(&mut |part| {
                if let Content::Media(media) = &mut part.content {
                    media.detail = None;
                }
            }),
            Feature::DocumentCitations => self.each_part(&mut |part| {
                if let Content::Media(media) = &mut part.content {
                    media.citations = false;
                }
            }),
            Feature::ResultError => self.each_part(&mut |part| {
                if let Content::ToolResult(result) = &mut part.content {
                    result.is_error = false;
                }
            }),
            Feature::PlainReasoning => {
                for turn in &mut self.turns {
                    turn.parts.retain(|part| !is_foreign_thought(part, served));
                }
                self.turns.retain(|turn| !turn.parts.is_empty());
            }
            _ => {}
        }
    }

    /// Leaves out the tools that may not be called, for formats that can't say so otherwise.
    pub fn keep_allowed_tools(&mut self) {
        if let Some(ToolChoice::Allowed { names, required }) = self.tool_choice.take() {
            let names: HashSet<String> = names.into_iter().collect();
            self.tools.retain(|tool| names.contains(&tool.name));
            self.tool_choice = Some(if required {
                ToolChoice::Required
            } else {
                ToolChoice::Auto
            });
        }
    }

    /// Refuses names of tools that are too long to copy: see [`Tool::LONGEST_NAME`].
    ///
    /// # Errors
    /// If a tool or a call has such a name.
    pub fn check_names(&self) -> Result<(), Untranslatable> {
        let parts = self.turns.iter().flat_map(|turn| &turn.parts);
        let called = parts.filter_map(|part| match &part.content {
            Content::ToolCall(call) => Some(&call.name),
            _ => None,
        });
        let mut names = self.tools.iter().map(|tool| &tool.name).chain(called);
        if names.any(|name| name.len() > Tool::LONGEST_NAME) {
            let why = "of a tool is longer than 256 bytes";
            return Err(Untranslatable::new("name", why));
        }
        Ok(())
    }

    /// Names the tool in each result, after the call that it answers.
    pub fn name_results(&mut self) {
        let mut names = HashMap::new();
        for turn in &mut self.turns {
            for part in &mut turn.parts {
                match &mut part.content {
                    Content::ToolCall(call) => {
                        names.insert(call.id.clone(), call.name.clone());
                    }
                    Content::ToolResult(result) if result.name.is_none() => {
                        result.name = names.get(&result.id).cloned();
                    }
                    _ => {}
                }
            }
        }
    }

    /// Whether the stream has to have the usage.
    #[must_use]
    pub fn wants_usage(&self) -> bool {
        self.delivery == Delivery::Events { usage: true }
    }

    fn each_part(&mut self, change: &mut dyn FnMut(&mut Part)) {
        for part in self.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
            change(part);
            if let Content::ToolResult(result) = &mut part.content {
                result.parts.iter_mut().for_each(&mut *change);
            }
        }
    }
}

/// Whether it is a thought that a provider of this format can't check or read.
fn is_foreign_thought(part: &Part, served: &str) -> bool {
    match &part.content {
        Content::Reasoning(thought) => {
            let seal = thought.seal.as_ref();
            seal.is_none_or(|seal| seal.format != served)
        }
        _ => false,
    }
}

struct Found(Vec<Feature>);

impl Found {
    fn add(&mut self, is_used: bool, feature: Feature) {
        if is_used && !self.0.contains(&feature) {
            self.0.push(feature);
        }
    }

    fn part(&mut self, part: &Part, served: &str) {
        self.add(part.cache.is_some(), Feature::CacheMarks);
        self.add(is_foreign_thought(part, served), Feature::PlainReasoning);
        match &part.content {
            Content::Media(media) => {
                self.add(media.detail.is_some(), Feature::ImageDetail);
                self.add(media.citations, Feature::DocumentCitations);
                let feature = match (media.kind, &media.source) {
                    (MediaKind::Audio, _) => Feature::Audio,
                    (MediaKind::Video, _) => Feature::Video,
                    (MediaKind::Image, Source::Url(_)) => Feature::ImageUrl,
                    (MediaKind::Image, _) => Feature::Image,
                    (MediaKind::Document, Source::Url(_)) => Feature::DocumentUrl,
                    (MediaKind::Document, Source::Text(_)) => Feature::DocumentText,
                    (MediaKind::Document, Source::Inline(_)) => Feature::Document,
                };
                self.add(true, feature);
            }
            Content::ToolResult(result) => {
                self.add(result.is_error, Feature::ResultError);
                for media in result.media() {
                    let feature = match media.kind {
                        MediaKind::Image => Feature::ResultImage,
                        _ => Feature::ResultDocument,
                    };
                    self.add(true, feature);
                }
                for part in &result.parts {
                    self.part(part, served);
                }
            }
            _ => {}
        }
    }
}
