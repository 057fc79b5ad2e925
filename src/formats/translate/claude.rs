//! What Claude's models take, whichever API serves them. It differs from version to version
//! (<https://platform.claude.com/docs/en/about-claude/models/migration-guide>).

use super::{
    Content, Effort, Feature, Object, Part, Reasoning, Request, Role, SealKind, ToolChoice, object,
};

/// The least budget for thinking that Claude takes.
const LEAST_BUDGET: u64 = 1_024;
/// The budget where a model that needs one is to think as much as it finds useful.
const USUAL_BUDGET: u64 = 16_384;

/// A model of Claude's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claude {
    /// Major and minor; `None` where the name doesn't say.
    version: Option<(u8, u8)>,
}

/// The settings of a request that not all of Claude's models take, as its model takes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaudeSettings {
    /// The member `thinking`.
    pub thinking: Option<Object>,
    /// The tokens that the model may think, if `thinking` bounds them.
    pub budget: Option<u64>,
    /// The member `output_config.effort`.
    pub effort: Option<Effort>,
    /// See [`Request::temperature`].
    pub temperature: Option<f64>,
    /// See [`Request::top_p`].
    pub top_p: Option<f64>,
    /// See [`Request::top_k`].
    pub top_k: Option<u64>,
    /// What of the request isn't in them.
    pub left_out: Vec<Feature>,
}

impl Claude {
    /// One whose version isn't known.
    pub const UNKNOWN: Self = Self { version: None };

    /// The model of this name; `None` if the name isn't one of Claude's.
    #[must_use]
    pub fn of(model: &str) -> Option<Self> {
        let model = model.to_ascii_lowercase();
        let (_, name) = model.rsplit_once("claude")?;
        // Behind a colon, Bedrock has the version of its own offer.
        let name = name.split(':').next().unwrap_or_default();
        let mut words = name
            .split(|one: char| !one.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty());
        // Longer numbers are dates.
        let number = |word: &str| word.parse().ok().filter(|_| word.len() <= 2);
        let version = match words.clone().next() {
            Some("instant" | "v1") => Some((1, 0)),
            Some("v2") => Some((2, 0)),
            _ => {
                let major = words.by_ref().find_map(number);
                major.map(|major| (major, words.next().and_then(number).unwrap_or(0)))
            }
        };
        Some(Self { version })
    }

    /// Whether the model is known to be of this version or a later one.
    fn is_since(self, version: (u8, u8)) -> bool {
        self.version.is_some_and(|own| own >= version)
    }

    /// Whether the model is known to be older than this version.
    fn is_before(self, version: (u8, u8)) -> bool {
        self.version.is_some_and(|own| own < version)
    }

    /// Whether the model can think.
    fn can_think(self) -> bool {
        !self.is_before((3, 7))
    }

    /// Whether it thinks up to a budget, rather than as much as it finds useful.
    fn needs_budget(self) -> bool {
        self.is_before((4, 6))
    }

    /// Whether it takes parameters of sampling.
    fn takes_sampling(self) -> bool {
        !self.is_since((4, 7))
    }

    /// Whether it takes a temperature together with `top_p`.
    fn takes_both(self) -> bool {
        self.is_before((4, 1))
    }

    /// Whether it can think in its response to this. A model that must call a tool can't.
    fn may_think(self, request: &Request) -> bool {
        self.can_think() && !forces_call(request)
    }

    /// What the model can't be asked for.
    #[must_use]
    pub fn lacks(self, request: &Request) -> Vec<Feature> {
        let may_think = self.may_think(request);
        let takes_top_k = self.takes_sampling() && !(may_think && thinks(request));
        let lacks = [
            (!may_think, Feature::Reasoning),
            (!takes_top_k, Feature::TopK),
        ];
        let lacks = lacks.into_iter().filter(|(is_lacking, _)| *is_lacking);
        lacks.map(|(_, feature)| feature).collect()
    }

    /// Whether it shows what it thinks unless a request says otherwise.
    #[must_use]
    pub fn shows_thoughts(self) -> bool {
        !self.is_since((4, 7))
    }
}

impl ClaudeSettings {
    /// All that the request has, for models of other vendors behind an API of Claude's.
    #[must_use]
    pub fn asked(request: &Request, turns: &[(Role, Vec<&Part>)], format: &str) -> Self {
        let mut settings = Self::sampling(request);
        match request.reasoning {
            Some(Reasoning::Budget(budget)) => {
                settings.think_up_to(budget, request, turns, format);
            }
            Some(Reasoning::Effort(_) | Reasoning::Adaptive) => {
                settings.think(request, Effort::Max);
            }
            None | Some(Reasoning::Off) => {}
        }
        settings.compared(request)
    }

    /// What of the request the model takes. `turns` are its turns, and `format` is the one that seals its
    /// thoughts.
    #[must_use]
    pub fn of(
        claude: Claude,
        request: &Request,
        turns: &[(Role, Vec<&Part>)],
        format: &str,
    ) -> Self {
        let mut settings = Self::sampling(request);
        if thinks(request) && claude.may_think(request) {
            if claude.needs_budget() {
                let budget = request.reasoning.and_then(Reasoning::budget);
                let budget = budget.unwrap_or(USUAL_BUDGET);
                settings.think_up_to(budget, request, turns, format);
            } else {
                // `xhigh` came with 4.7.
                let is_old = claude.is_before((4, 7));
                settings.think(request, if is_old { Effort::High } else { Effort::XHigh });
            }
        }
        if settings.thinking.is_some() || !claude.takes_sampling() {
            // Many programs always send a temperature. A response without it is better than none.
            settings.temperature = None;
            settings.top_p = None;
            settings.top_k = None;
        } else if settings.temperature.is_some() && !claude.takes_both() {
            settings.top_p = None;
        }
        settings.compared(request)
    }

    /// The same with what they lack of the request.
    fn compared(mut self, request: &Request) -> Self {
        let thinking = self.thinking.as_ref();
        let has_display =
            thinking.is_some_and(|one| one.members().any(|(key, _)| key == "display"));
        let is_hidden = thinks(request) && request.shows_thoughts == Some(false);
        let lacks = [
            (thinks(request) && thinking.is_none(), Feature::Reasoning),
            (is_hidden && !has_display, Feature::HiddenThoughts),
            (
                request.temperature != self.temperature,
                Feature::Temperature,
            ),
            (request.top_p != self.top_p, Feature::TopP),
            (request.top_k != self.top_k, Feature::TopK),
        ];
        let lacks = lacks.into_iter().filter(|(is_lacking, _)| *is_lacking);
        self.left_out.extend(lacks.map(|(_, feature)| feature));
        self
    }

    /// The parameters of sampling alone.
    #[must_use]
    pub fn sampling(request: &Request) -> Self {
        Self {
            temperature: request.temperature,
            top_p: request.top_p,
            top_k: request.top_k,
            ..Self::default()
        }
    }

    /// Thinks as much as the model finds useful. `most` is the highest effort that it takes below `max`.
    fn think(&mut self, request: &Request, most: Effort) {
        let mut thinking = object! { "type": "adaptive" };
        let display = |shows| if shows { "summarized" } else { "omitted" };
        thinking.put_some("display", request.shows_thoughts.map(display));
        self.thinking = Some(thinking);
        self.effort = match request.reasoning {
            Some(Reasoning::Effort(Effort::Max)) => Some(Effort::Max),
            Some(Reasoning::Effort(effort)) => Some(effort.clamp(Effort::Low, most)),
            // Not all models take the efforts above `high`, and the caller didn't ask for one.
            Some(Reasoning::Budget(budget)) => {
                Some(Effort::of_budget(budget).clamp(Effort::Low, Effort::High))
            }
            _ => None,
        };
    }

    /// Thinks up to a budget, if there is room for one below the bound of the response.
    fn think_up_to(
        &mut self,
        budget: u64,
        request: &Request,
        turns: &[(Role, Vec<&Part>)],
        format: &str,
    ) {
        let bound = request.max_tokens.unwrap_or(u64::MAX);
        let budget = budget.max(LEAST_BUDGET).min(bound.saturating_sub(1));
        // With a budget, Claude wants the thoughts that led to calls of tools. A caller who lost them
        // gets a response without new ones rather than none.
        if budget >= LEAST_BUDGET && !lacks_thoughts(turns, format) {
            self.thinking = Some(object! { "type": "enabled", "budget_tokens": budget });
            self.budget = Some(budget);
        }
    }
}

/// Whether the request asks for thoughts.
fn thinks(request: &Request) -> bool {
    !matches!(request.reasoning, None | Some(Reasoning::Off))
}

/// Whether the model must call a tool.
fn forces_call(request: &Request) -> bool {
    let is_forced = matches!(
        request.tool_choice,
        Some(
            ToolChoice::Required
                | ToolChoice::Named(_)
                | ToolChoice::Allowed { required: true, .. }
        )
    );
    is_forced && !request.tools.is_empty()
}

/// Whether the model is to go on after calls of tools whose thoughts are not there.
fn lacks_thoughts(turns: &[(Role, Vec<&Part>)], format: &str) -> bool {
    let mut turns = turns.iter().rev();
    let last = turns.find(|(role, _)| *role == Role::Assistant);
    last.is_some_and(|(_, parts)| {
        let calls = |part: &&Part| matches!(part.content, Content::ToolCall(_));
        let thinks = |part: &&Part| match &part.content {
            Content::Reasoning(thought) => thought.seal.as_ref().is_some_and(|seal| {
                let mut kinds = [SealKind::Signature, SealKind::Encrypted].into_iter();
                kinds.any(|kind| seal.value_for(format, kind).is_some())
            }),
            _ => false,
        };
        parts.iter().any(calls) && !parts.iter().any(thinks)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_names() {
        for (model, version) in [
            ("claude-opus-4-7", Some((4, 7))),
            ("claude-sonnet-5", Some((5, 0))),
            ("claude-haiku-4-5-20251001", Some((4, 5))),
            ("claude-sonnet-4-20250514", Some((4, 0))),
            ("claude-opus-4@20250514", Some((4, 0))),
            ("claude-3-7-sonnet-latest", Some((3, 7))),
            ("anthropic/claude-sonnet-4.5", Some((4, 5))),
            ("us.anthropic.claude-opus-4-6-v1", Some((4, 6))),
            ("anthropic.claude-3-5-sonnet-20241022-v2:0", Some((3, 5))),
            ("anthropic.claude-3-haiku-20240307-v1:0", Some((3, 0))),
            ("anthropic.claude-v2:1", Some((2, 0))),
            ("anthropic.claude-instant-v1", Some((1, 0))),
            ("anthropic.claude-next-v1:0", None),
            ("Claude-Next", None),
            ("claude", None),
        ] {
            assert_eq!(Claude::of(model), Some(Claude { version }), "{model}");
        }
        assert_eq!(Claude::of("kimi-k2-5"), None);
    }
}
