//! What a request asks for, and the request without some of it.

use std::collections::{HashMap, HashSet};

use super::{
    Content, Delivery, Feature, MediaKind, Output, Part, Reasoning, Request, Source, Tool,
    ToolChoice, Untranslatable,
};

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
        all.add(self.temperature.is_some(), Feature::Temperature);
        all.add(self.top_p.is_some(), Feature::TopP);
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
        let thinks = !matches!(self.reasoning, None | Some(Reasoning::Off));
        let is_hidden = thinks && self.shows_thoughts == Some(false);
        all.add(is_hidden, Feature::HiddenThoughts);
        let is_serial = self.parallel_tool_calls == Some(false) && !self.tools.is_empty();
        all.add(is_serial, Feature::SerialTools);
        match &self.output {
            Output::Text => {}
            Output::JsonObject => all.add(true, Feature::JsonObject),
            Output::JsonSchema {
                name, description, ..
            } => {
                all.add(true, Feature::JsonSchema);
                let is_named = name.is_some() || description.is_some();
                all.add(is_named, Feature::SchemaName);
            }
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
            Feature::Temperature => self.temperature = None,
            Feature::TopP => self.top_p = None,
            Feature::TopK => self.top_k = None,
            Feature::PresencePenalty => self.presence_penalty = None,
            Feature::FrequencyPenalty => self.frequency_penalty = None,
            Feature::HiddenThoughts => self.shows_thoughts = None,
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
            Feature::DocumentName => self.each_part(&mut |part| {
                if let Content::Media(media) = &mut part.content {
                    media.name = None;
                }
            }),
            Feature::EarlierCitations => self.each_part(&mut |part| {
                if let Content::Text(text) = &mut part.content {
                    text.citations.clear();
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
                // A text has its name in front of it, where the format has no place for one.
                let is_named = media.name.is_some() && !matches!(media.source, Source::Text(_));
                self.add(is_named, Feature::DocumentName);
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
            Content::Text(text) => {
                self.add(!text.citations.is_empty(), Feature::EarlierCitations);
            }
            Content::ToolCall(call) => self.add(call.is_freeform, Feature::FreeformTools),
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
