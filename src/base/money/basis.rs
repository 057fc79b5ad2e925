//! The lists that prices come from.

/// Whose list a provider's models are priced by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CostBasis {
    /// Anthropic's own API.
    Anthropic,
    /// Azure's OpenAI models, global deployments.
    Azure,
    /// Azure's OpenAI models, deployments within Europe.
    AzureEu,
    /// Amazon Bedrock, where no region is named.
    Bedrock,
    /// Amazon Bedrock in Asia and the Pacific.
    BedrockAp,
    /// Amazon Bedrock in Europe.
    BedrockEu,
    /// Amazon Bedrock in the United States.
    BedrockUs,
    /// Google's Gemini API.
    Google,
    /// OpenAI's own API.
    OpenAi,
    /// `OpenRouter`.
    OpenRouter,
    /// Vercel's AI gateway.
    Vercel,
    /// Google's Vertex AI.
    Vertex,
}

impl CostBasis {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 12] = [
        Self::Anthropic,
        Self::Azure,
        Self::AzureEu,
        Self::Bedrock,
        Self::BedrockAp,
        Self::BedrockEu,
        Self::BedrockUs,
        Self::Google,
        Self::OpenAi,
        Self::OpenRouter,
        Self::Vercel,
        Self::Vertex,
    ];

    /// The word of the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Azure => "azure",
            Self::AzureEu => "azure-eu",
            Self::Bedrock => "bedrock",
            Self::BedrockAp => "bedrock-ap",
            Self::BedrockEu => "bedrock-eu",
            Self::BedrockUs => "bedrock-us",
            Self::Google => "google",
            Self::OpenAi => "openai",
            Self::OpenRouter => "openrouter",
            Self::Vercel => "vercel",
            Self::Vertex => "vertex",
        }
    }

    /// The basis with that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|basis| basis.as_str() == text)
    }

    /// The list without a region, for what a regional one leaves out.
    #[must_use]
    pub const fn without_region(self) -> Option<Self> {
        match self {
            Self::BedrockAp | Self::BedrockEu | Self::BedrockUs => Some(Self::Bedrock),
            Self::AzureEu => Some(Self::Azure),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_are_in_order() {
        for basis in CostBasis::ALL {
            assert_eq!(CostBasis::parse(basis.as_str()), Some(basis));
        }
        assert!(CostBasis::ALL.is_sorted_by_key(|basis| basis.as_str()));
        assert_eq!(CostBasis::parse("OpenAI"), None);
    }
}
